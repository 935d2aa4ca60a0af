"""``python -m tau_rnn.gradcheck FILE``: mark a file that defines a function ``backward``."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import tau_rnn
from tau_rnn.discretisation import DEFAULT_METHOD, METHODS
from tau_rnn.gradcheck.answers import ask
from tau_rnn.gradcheck.check import check_backward
from tau_rnn.nonlinearities import NONLINEARITIES

__all__: list[str] = []

RIGHT, WRONG, UNUSABLE = 0, 1, 2
#: Seconds without a result after which the command says where it is: a loop may never end.
PATIENCE = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report on a file. Exit status: 0 if right, 1 if wrong, 2 if unusable.

    The file runs in a process of its own, which writes its report to a file that only this one
    knows: whatever the reader's code prints, and however it ends, without a report there is no
    verdict.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    args = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal can't show is not an error
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "report.json"
        call = "from tau_rnn.gradcheck.__main__ import report; report()"
        command = [sys.executable, "-c", call, str(written), *argv]
        root = str(Path(tau_rnn.__file__).parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        status = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}).returncode
        if not written.exists():
            error = f"{args.file}: ended with status {status} before it could be judged"
            print(error, file=sys.stderr)
            return UNUSABLE
        verdict = json.loads(written.read_text(encoding="utf-8"))
    if "error" in verdict:
        print(verdict["error"], file=sys.stderr)
        return UNUSABLE
    try:
        print(f"{args.file}: {verdict['text']}", flush=True)
    except BrokenPipeError:  # the other end of the pipe has read enough; the status still tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return verdict["status"]


def report() -> None:
    """What the process of the reader's file runs: check it, and write the report."""
    written, args = Path(sys.argv[1]), _parser().parse_args(sys.argv[2:])
    timer = threading.Timer(PATIENCE, _say_where, [args.file, threading.get_ident()])
    timer.start()
    try:
        backward = _load(args.file, args.function)
        found = check_backward(
            backward, phi=args.phi, method=args.method, rng=args.seed, rtol=args.rtol
        )
        text = str(found)
        if args.explain and found.explained():
            text += f"\n\n{found.explained()}"
        status = RIGHT if found.ok else WRONG if found.usable else UNUSABLE
        verdict = {"status": status, "text": text}
    except ValueError as error:
        verdict = {"error": str(error)}
    finally:
        timer.cancel()
    written.write_text(json.dumps(verdict), encoding="utf-8")


def _say_where(file: Path, thread: int) -> None:
    """Name the line of the reader's file that runs, and the network it was given."""
    where = ""
    for frame, line in traceback.walk_stack(sys._current_frames()[thread]):
        if not where and frame.f_code.co_filename == str(file):
            where = f" in line {line}"
        if frame.f_code is ask.__code__:
            where += f" (network with {frame.f_locals['network']})"
    print(f"{file}: still{where} after {PATIENCE:g} s; Ctrl-C ends it", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tau_rnn.gradcheck",
        description="Check a hand-derived backward(params, traj, dy); say what is wrong with it.",
        epilog="exit status: 0 every gradient is right, 1 some are wrong, 2 the file is unusable",
    )
    parser.add_argument("file", type=Path, help="Python file that defines the function")
    parser.add_argument(
        "--function", default="backward", help="name of the function (default: backward)"
    )
    parser.add_argument(
        "--phi", default="tanh", help=f"rate function: {', '.join(NONLINEARITIES)} (default: tanh)"
    )
    parser.add_argument(
        "--method", default=DEFAULT_METHOD,
        help=f"integration: {', '.join(METHODS)} (default: {DEFAULT_METHOD})",
    )  # fmt: skip
    parser.add_argument(
        "--explain", action="store_true", help="also print the equations that are violated"
    )
    parser.add_argument(
        "--rtol", type=float, default=1e-10,
        help="largest relative error that passes (default: 1e-10)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random networks (default: 0)"
    )
    return parser


def _load(path: Path, name: str) -> Callable:
    """The function of that name in a Python file, or a ValueError that says why there is none."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    module = ModuleType("tau_rnn_reader")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look a module up
    sys.path.insert(0, str(path.resolve().parent))  # it may import from its folder
    try:
        # Compiled here: the cache of imports would miss an edit made within a second.
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:  # a sys.exit(0) must not pass for "right"
        last = traceback.format_exception_only(error)[-1].strip()
        raise ValueError(f"{path}: cannot be imported: {last}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{path}: defines no function {name!r} (see --function)")
    return function


if __name__ == "__main__":
    raise SystemExit(main())
