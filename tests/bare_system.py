"""A run and a sweep where the system lacks what a browser lacks: `test_unfinished` starts it."""

import os
import subprocess  # noqa: F401  SciPy needs these, whatever the system
import sys
import threading
import unittest  # noqa: F401

MISSING = {"fcntl", "msvcrt", "signal", "resource", "multiprocessing", "_multiprocessing", "tqdm"}


class Missing:
    """Finds none of the modules that are missing."""

    def find_spec(self, name, path=None, target=None):
        if name in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def refuse(self):
    raise RuntimeError("can't start new thread")


sys.meta_path.insert(0, Missing())
for module in MISSING:
    sys.modules.pop(module, None)
for name in ("fsync", "fork", "register_at_fork", "sched_getaffinity", "O_NOFOLLOW", "O_NONBLOCK"):
    if hasattr(os, name):
        delattr(os, name)
threading.Thread.start = refuse

from tau_rnn import RunConfig, run, sweep  # noqa: E402

OUT = ["--out", sys.argv[1], "--no-figure"]
SMALL = ["--units", "4", "--steps", "3", "--batch", "2", "--dt", "0.1", *OUT]
assert run.main(SMALL) == 0
assert run.main([*SMALL, "--steps", "5", "--resume"]) == 0
done = sweep([RunConfig(units=4, steps=2, dt=0.1, seed=s) for s in range(2)], store=sys.argv[1])
assert len(done.load()) == 2
