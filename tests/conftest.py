"""Test settings: one BLAS thread, hypothesis profiles and the marker for slow tests."""

import gc
import os
from functools import wraps
from types import SimpleNamespace

import hypothesis
import pytest
from second_process import pytest_runtestloop  # noqa: F401, a hook

# "Same configuration, same bits" is a promise for one number of threads, and the processes of a
# sweep use one. BLAS reads it when NumPy is loaded.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["VECLIB_MAXIMUM_THREADS"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")  # no windows

hypothesis.settings.register_profile(
    "default", derandomize=True, deadline=None, max_examples=8, print_blob=True
)
hypothesis.settings.register_profile(
    "many", hypothesis.settings.get_profile("default"), max_examples=40
)
hypothesis.settings.register_profile(  # for mutants: the smallest case that fails is not sought
    "mutants",
    hypothesis.settings.get_profile("default"),
    max_examples=12,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("default")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


def pytest_collection():
    gc.disable()


def pytest_collection_finish():
    """What is collected stays to the end: the garbage collector need not look at it again."""
    gc.freeze()
    gc.set_threshold(100_000)  # figures make many objects, and few of them in circles
    gc.enable()


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow: run with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def networks_once():
    """`check_backward` draws the same networks of a seed, whatever it is to check.

    Their complex steps, their adjoints with each slip, and the sums of these are taken once.
    """
    import numpy as np

    from tau_rnn.gradcheck import check, numerical_gradient, search

    known, totals, with_slips = {}, search._totals, search.Asked.run_with

    def once(key, function, *args):
        if key not in known:
            known[key] = function(*args)
        return known[key]

    def of(network):
        parts = (*network.params, *network[1:])
        return tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in parts)

    def exact(loss, params):
        return once(of(loss.__self__), numerical_gradient, loss, params)

    @wraps(with_slips)
    def run_with(asked, shared=()):
        key = (of(asked.network), *map(id, shared))
        run = once(key, with_slips, asked, shared)
        return SimpleNamespace(**vars(run) | {"dx": run.dx.copy()}, key=key)

    def plain_totals(field, run, slips=()):
        if slips or not hasattr(run, "key"):
            return totals(field, run, slips)
        # The adjoint may have been read off the gradients since.
        return once((field, run.key, run.dx.tobytes()), totals, field, run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "numerical_gradient", exact)
        patch.setattr(search.Asked, "run_with", run_with)
        patch.setattr(search, "_totals", plain_totals)
        yield


@pytest.fixture(scope="module")
def few_measures():
    """For files that ask for it: what a run measures, it measures on few trials."""
    from stored import measured_briefly

    with measured_briefly():
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """A process that is killed leaves to the kernel what it wrote: `os.fsync` is for power cuts."""
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(os, "fsync"):
            patch.setattr(os, "fsync", lambda descriptor: os.fstat(descriptor) and None)
        yield


@pytest.fixture(scope="session")
def python_for_chapters():
    """Runs a script in a process of its own, which need not import what most chapters import."""
    from chapter_runs import Forked, run_python

    if not hasattr(os, "fork"):
        yield run_python
        return
    python = Forked()
    yield python
    python.close()
