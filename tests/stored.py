"""What the tests of stored runs share: a tiny run, equality to the last bit, child processes."""

import os
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tau_rnn.experiment import RunConfig, RunResult, outcome
from tau_rnn.experiment.files import (
    LARGEST_TEXT,
    array_bytes,
    arrays_from,
    json_bytes,
    json_from,
    read_bytes,
    write_bytes,
)
from tau_rnn.measures import run as measures_run
from tau_rnn.measures.effective_tau import spontaneous_rates


def tau_of_one_lag(params, dt, rng, **options):
    """In place of `effective_tau`, whose fits take most of the time of a tiny run."""
    rates = spontaneous_rates(params, dt, rng, **options)
    rates = rates - rates.mean(axis=1, keepdims=True)
    now, next_ = ((rates[:, :-1] * r).sum((0, 1)) for r in (rates[:, :-1], rates[:, 1:]))
    rho = np.where(next_ > 0, np.minimum(next_ / now, 0.99), np.nan)
    flag = np.where(np.isnan(rho), "no_positive_decay", "")
    return SimpleNamespace(tau=-dt / np.log(rho), flag=flag)


@contextmanager
def measured_briefly():
    """Where its numbers are not the point, a run is measured on few and short trials."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcome, "ACTIVITY_TRIALS", 2)
        patch.setattr(outcome, "ACTIVITY_SECONDS", 4.0)
        patch.setattr(outcome, "effective_tau", tau_of_one_lag)
        few = {"n_trials": 8, "n_test": 64, "n_times": 2, "n_starts": 4}
        patch.setattr(measures_run, "_SIZES", few)
        yield


TINY = RunConfig(units=8, steps=10, dt=0.1, batch=4, test_trials=40, eval_every=4, lr=0.02)


def read_json(path):
    """JSON as `load_run` reads it."""
    return json_from(read_bytes(path, LARGEST_TEXT), path)


def read_arrays(path, names=None):
    """The arrays of an .npz file as `load_run` reads them."""
    return arrays_from(read_bytes(path), path, names)


def write_json(path, value):
    """JSON as a run is stored."""
    write_bytes(path, json_bytes(value))


def write_arrays(path, arrays):
    """An .npz file as a run is stored."""
    write_bytes(path, array_bytes(arrays))


def bits(arrays):
    return [np.asarray(a).tobytes() for a in arrays]


def same(a: RunResult, b: RunResult) -> bool:
    """Equal to the last bit, but for the time it took."""
    timeless = ({k: v for k, v in r.metrics.items() if k != "seconds"} for r in (a, b))
    return (
        a.config == b.config
        and len(set(map(repr, timeless))) == 1
        and repr(a.history) == repr(b.history)
        and all(bits(x) == bits(y) for x, y in ((a.initial, b.initial), (a.final, b.final)))
        and list(a.units) == list(b.units)
        and bits(a.units.values()) == bits(b.units.values())
    )


def contents(folder) -> dict[str, bytes]:
    """The bytes of every file below a folder."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()
    }


def runs_in(store) -> list[Path]:
    """The folders of a store that hold what looks like a finished run."""
    return sorted(p.parent for p in Path(store).glob("*/config.json"))


def fork(function, *arguments) -> int:
    """Call a function in a child of this process, which has all modules loaded; returns its pid.

    The child says nothing, and ends with the status that the function returns, or 70 if it raises.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        sys.stdout = sys.stderr = open(os.devnull, "w")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = function(*arguments) or 0
    finally:
        os._exit(status)


def printed(function, *arguments, stdout=None, **text) -> tuple[int, str, str]:
    """Call a function as if it were a program: its exit status, output and errors.

    It runs in a child, which need not import everything again. ``stdout`` is a path, if the output
    is to go there; ``text`` is as for `open`.
    """
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(stdout or Path(folder, "out")), Path(folder, "err")]

        def child():
            for number, place in enumerate(places, start=1):
                os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT), number)
            sys.stdout, sys.stderr = (open(k, "w", **text) for k in (1, 2))
            try:
                status = function(*arguments)
            except SystemExit as ended:
                status = ended.code
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
            return status

        status = status_of(fork(child))
        return status, *(p.read_text("utf-8") if p.is_file() else "" for p in places)


def status_of(pid: int) -> int:
    """The exit status of a child when it has ended; -9 if it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at(call: int, function, *arguments) -> int:
    """Call a function in a child that is killed before its n-th change of the file system."""
    changes = ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync", "write")

    def child():
        left = [call]

        def deadly(change):
            def wrapper(*args, **kwargs):
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*args, **kwargs)

            return wrapper

        for name in changes:
            setattr(os, name, deadly(getattr(os, name)))
        return function(*arguments)

    return status_of(fork(child))
