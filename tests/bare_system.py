"""A run and a sweep where the system lacks what a browser lacks: `test_unfinished` starts it."""

import contextlib
import importlib
import io
import os
import pkgutil
import subprocess  # noqa: F401  SciPy needs these, whatever the system
import sys
import threading
import unittest  # noqa: F401

MISSING = {"fcntl", "msvcrt", "signal", "resource", "multiprocessing", "_multiprocessing"}


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

import tau_rnn  # noqa: E402
from tau_rnn import RunConfig, run, sweep  # noqa: E402

for module in pkgutil.walk_packages(tau_rnn.__path__, "tau_rnn."):
    if not module.name.endswith(("__main__", "strategies")):  # strategies needs hypothesis
        importlib.import_module(module.name)
assert tau_rnn.check_backward(tau_rnn.backward, rtol=1e-10).ok

OUT = ["--out", sys.argv[1], "--no-figure"]
SMALL = ["--units", "4", "--steps", "3", "--batch", "2", "--dt", "0.1", *OUT]
assert run.main(SMALL) == 0
assert "scipy.stats" not in sys.modules  # the first command is not to wait for it
assert run.main([*SMALL, "--steps", "5", "--resume"]) == 0
done = sweep([RunConfig(units=4, steps=2, dt=0.1, seed=s) for s in range(2)], store=sys.argv[1])
assert len(done.load()) == 2
with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.suppress(SystemExit):
    run.main([*SMALL, "--seeds", "2", "--workers", "2"])
assert said.getvalue().strip() == (
    "tau_rnn.run: workers: must be 1, since there are no processes here, got 2"
)
assert run.main([*SMALL, "--seeds", "2", "--out", f"{sys.argv[1]}-sweep"]) == 0
