"""Running a chapter of the tutorials in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

from tutorial_lint import ROOT, TUTORIALS

OURS = ["-Werror", "-Wignore::DeprecationWarning", "-Werror::DeprecationWarning:__main__"]


def run_python(arguments, folder):
    """A child process without display, on one core, in which every warning is an error.

    Of deprecations only those of the chapter's own code (``__main__``) count: an older matplotlib
    meets newer libraries, and what it says of them is not for our reader to mend.
    """
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **one, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    # 300 s: only to end a chapter that hangs.
    return subprocess.run(
        [sys.executable, *OURS, *map(str, arguments)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def folder_for(chapter, tmp_path):
    """An empty place to run in, so that a run cannot lean on the figures of an earlier one."""
    if (TUTORIALS / "data").exists():
        shutil.copytree(TUTORIALS / "data", tmp_path / "data")
    (tmp_path / "figures").mkdir()
    return tmp_path


def run_chapter(chapter, folder):
    """Run a chapter in a folder of its own: how it ended, and what each of its blocks printed."""
    record = folder_for(chapter, folder) / "record.json"
    done = run_python(
        [TUTORIALS / "run.py", chapter.name[:2], "--into", folder, "--record", record], folder
    )
    return done, json.loads(record.read_text())[chapter.name] if done.returncode == 0 else {}
