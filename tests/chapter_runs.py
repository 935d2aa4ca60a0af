"""Running a chapter of the tutorials in a process and a folder of its own."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path

from tutorial_lint import ROOT, TUTORIALS

OURS = ["-Werror", "-Wignore::DeprecationWarning", "-Werror::DeprecationWarning:__main__"]
SECONDS = 300  # only to end a chapter that hangs
#: What most chapters import, and what takes the time: a second for each of them.
HEAVY = (
    "matplotlib.pyplot", "matplotlib.backends.backend_svg", "scipy.optimize", "scipy.signal",
    "scipy.stats", "tau_rnn.experiment", "tau_rnn.gradcheck", "tau_rnn.measures",
    "tau_rnn.plotting", "tau_rnn.timescales",
)  # fmt: skip


def environment():
    """One core, and no display."""
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **one, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}


def run_python(arguments, folder):
    """A child process without display, on one core, in which every warning is an error.

    Of deprecations only those of the chapter's own code (``__main__``) count: an older matplotlib
    meets newer libraries, and what it says of them is not for our reader to mend.
    """
    return subprocess.run(
        [sys.executable, *OURS, *map(str, arguments)],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=SECONDS,
    )  # fmt: skip


class Forked:
    """`run_python` for scripts, from a process that has imported the heavy modules already."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, *OURS, __file__], env=environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip

    def __call__(self, arguments, folder):
        self.process.stdin.write(json.dumps([[*map(str, arguments)], str(folder)]) + "\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline() or 1)
        printed = ((folder / name).read_text(encoding="utf-8") for name in ("out", "err"))
        return subprocess.CompletedProcess(arguments, status, *printed)

    def close(self):
        self.process.kill()  # other children of this process may hold its input open
        self.process.wait()


def answer_forked():
    """The other side: for each line, a script's arguments and a folder, print its exit status."""
    for name in HEAVY:
        importlib.import_module(name)
    for line in sys.stdin:
        arguments, folder = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(run_here(arguments, Path(folder)))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def run_here(arguments, folder) -> int:
    """Run a script as if Python had been started with it; its exit status."""
    signal.alarm(SECONDS)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), descriptor)
    sys.argv[:] = arguments
    try:
        runpy.run_path(arguments[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def folder_for(chapter, tmp_path):
    """An empty place to run in, so that a run cannot lean on the figures of an earlier one."""
    if (TUTORIALS / "data").exists():
        shutil.copytree(TUTORIALS / "data", tmp_path / "data")
    (tmp_path / "figures").mkdir()
    return tmp_path


def run_chapter(chapter, folder, python=run_python):
    """Run a chapter in a folder of its own: how it ended, and what each of its blocks printed."""
    record = folder_for(chapter, folder) / "record.json"
    done = python(
        [TUTORIALS / "run.py", chapter.name[:2], "--into", folder, "--record", record], folder
    )
    return done, json.loads(record.read_text())[chapter.name] if done.returncode == 0 else {}


if __name__ == "__main__":
    answer_forked()
