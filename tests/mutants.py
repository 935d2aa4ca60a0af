"""Change one operator or number of the code at a time, and see whether a test goes red.

    python tests/mutants.py tau_rnn/timescales             60 mutants drawn at random
    python tests/mutants.py tau_rnn/bptt.py --most 500     all of them, if there are not more
    python tests/mutants.py tau_rnn/losses.py --tests tests/test_losses.py

Works on a copy of the project, and prints the mutants that no test noticed: either a test is
missing, or the line does nothing, or the change is one that makes no difference. Exit status 0
whatever lived: reading the list is the point.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Tests that hold a file or a room, quickest first; what is not here needs --tests.
TESTS = {
    "timescales": ["test_timescales_pieces", "test_timescales"],
    "gradcheck": ["test_gradcheck", "test_gradients"],
    "measures": ["test_measures"],
    "tasks": ["test_tasks"],
    "experiment": ["test_pinned_runs", "test_statistics", "test_effects", "test_outcome",
                   "test_storage", "test_experiment", "test_sweep"],
    "bptt": ["test_gradients", "test_speed_paths", "test_model"],
    "model": ["test_model", "test_speed_paths", "test_gradients"],
    "noise": ["test_speed_paths", "test_model"],
    "nonlinearities": ["test_model", "test_gradients", "test_speed_paths"],
    "discretisation": ["test_model", "test_gradients"],
    "initial": ["test_initial", "test_model"],
    "losses": ["test_losses", "test_gradients"],
    "training": ["test_training", "test_config", "test_own_tasks"],
    "parametrization": ["test_training"],
    "optimizers": ["test_training"],
    "_layout": ["test_speed_paths"],
    "_tape": ["test_gradients", "test_speed_paths", "test_model"],
    "experiment/store": ["test_store"],
    "taus": ["test_taus"],
}  # fmt: skip
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Every mutant of a source: its line, what was changed, and the whole new source."""
    tree = ast.parse(source)
    for node in ast.walk(tree):  # texts of errors and annotations are not logic
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                setattr(node, name, None if name == "returns" else ast.Name("object", ast.Load()))
    silent = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Raise, ast.JoinedStr))
        for inner in ast.walk(node)
    }
    for place, node in enumerate(ast.walk(tree)):
        for k, what in enumerate(changes(node)):
            if id(node) not in silent and what is not None:
                other = copy.deepcopy(tree)
                twin = next(n for i, n in enumerate(ast.walk(other)) if i == place)
                apply(twin, k)
                new = ast.unparse(ast.fix_missing_locations(other))
                yield getattr(node, "lineno", 0), what, new


def changes(node) -> list[str | None]:
    """What can be changed in a node, in words."""
    if isinstance(node, ast.Compare):
        names = [(type(op), SWAPS.get(type(op))) for op in node.ops]
        return [new and f"{old.__name__} -> {new.__name__}" for old, new in names]
    if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in SWAPS:
        if isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant):
            if isinstance(node.left.value, str):
                return []
        return [f"{type(node.op).__name__} -> {SWAPS[type(node.op)].__name__}"]
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        return [f"{node.value} -> {other(node.value)}"]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        return [f"without {type(node.op).__name__}"]
    if isinstance(node, ast.Attribute) and node.attr == "T":
        return ["without .T"]
    return []


def other(value):
    """Another number of the same kind."""
    return (not value) if isinstance(value, bool) else value + 1 if value != 1 else 2


def apply(node, k: int) -> None:
    """Make the k-th change of `changes` in place."""
    if isinstance(node, ast.Compare):
        node.ops[k] = SWAPS[type(node.ops[k])]()
    elif isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)):
        node.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.Constant):
        node.value = other(node.value)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node.op = ast.UAdd()
    elif isinstance(node, ast.UnaryOp):
        node.operand = ast.UnaryOp(ast.Not(), node.operand)  # not not: the truth of the operand
    else:
        node.attr = "real"  # a transpose left out, in an expression of the same type


def suite(target: Path) -> list[str]:
    """The test files that hold a file or folder."""
    place = target.relative_to(ROOT / "tau_rnn").with_suffix("").as_posix()
    names = TESTS.get(place, TESTS.get(place.split("/")[0], []))
    return [
        str(path.relative_to(ROOT))
        for name in names
        for path in sorted((ROOT / "tests").glob(f"{name}*.py"))
    ]


def main(argv=None) -> int:
    """Try the mutants and print those that live."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", type=Path, help="a file or folder of tau_rnn")
    parser.add_argument("--most", type=int, default=60, help="mutants drawn (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
    parser.add_argument("--tests", nargs="+", help="test files, in place of those of the room")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for one (default 300)")
    args = parser.parse_args(argv)
    target = args.target.resolve()
    files = sorted(target.rglob("*.py")) if target.is_dir() else [target]
    tests = args.tests or suite(target)
    if not tests:
        parser.error(f"--tests: no test files are known for {args.target}")
    found = [(file, *m) for file in files for m in mutants(file.read_text(encoding="utf-8"))]
    chosen = random.Random(args.seed).sample(found, min(args.most, len(found)))
    lived = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "__pycache__", "runs"))
        environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        options = ["-q", "-x", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
        command = [sys.executable, "-m", "pytest", *options, *tests]

        def passes() -> bool:
            try:
                done = subprocess.run(
                    command, cwd=tree, env=environment, capture_output=True, timeout=args.timeout
                )
            except subprocess.TimeoutExpired:  # a mutant that hangs is noticed
                return False
            return done.returncode == 0

        if not passes():
            parser.error(f"the tests do not pass without a mutant: {' '.join(tests)}")
        for file, line, what, source in sorted(chosen, key=lambda m: (m[0], m[1])):
            place = tree / file.relative_to(ROOT)
            right = place.read_text(encoding="utf-8")
            place.write_text(source, encoding="utf-8")
            if passes():
                lived += 1
                print(f"lives: {file.relative_to(ROOT)}:{line}: {what}", flush=True)
            place.write_text(right, encoding="utf-8")
    print(f"{lived} of {len(chosen)} mutants live (of {len(found)} that can be made)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
