"""Test settings: one BLAS thread, hypothesis profiles and the marker for slow tests."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from types import SimpleNamespace

import hypothesis
import pytest

# "Same configuration, same bits" is a promise for one number of threads, and the processes of a
# sweep use one. BLAS reads it when NumPy is loaded.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["VECLIB_MAXIMUM_THREADS"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")  # no windows

hypothesis.settings.register_profile(
    "default", derandomize=True, deadline=None, max_examples=12, print_blob=True
)
hypothesis.settings.register_profile(
    "many", hypothesis.settings.get_profile("default"), max_examples=40
)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("default")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow as well")


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


@pytest.fixture(scope="session", autouse=True)
def running_chapters(request, tmp_path_factory):
    """Chapters that run beside the other tests, from the start: chapter -> its future and folder.

    A suite that is shared out by pytest-xdist runs each chapter where it is tested.
    """
    from chapter_runs import Forked, run_chapter, run_python

    folders = {
        item.callspec.params["chapter"]: tmp_path_factory.mktemp("chapter")
        for item in request.session.items
        if item.name.startswith("test_chapter_runs_prints") and not item.get_closest_marker("skip")
    }
    if not folders or "PYTEST_XDIST_WORKER" in os.environ:
        yield {}
        return
    python = Forked() if hasattr(os, "fork") else run_python
    with ThreadPoolExecutor(1) as pool:
        yield {c: (pool.submit(run_chapter, c, f, python), f) for c, f in folders.items()}
        pool.shutdown(cancel_futures=True)
    if isinstance(python, Forked):
        python.close()
