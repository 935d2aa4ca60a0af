"""Test settings: one BLAS thread, hypothesis profiles and the marker for slow tests."""

import os
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import pytest

# "Same configuration, same bits" is a promise for one number of threads, and the processes of a
# sweep use one. BLAS reads it when NumPy is loaded.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["VECLIB_MAXIMUM_THREADS"] = "1"
os.environ.setdefault("MPLBACKEND", "Agg")  # no windows

hypothesis.settings.register_profile(
    "default", derandomize=True, deadline=None, max_examples=40, print_blob=True
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
def exact_gradients_once():
    """`check_backward` draws the same networks of a seed: their complex steps are taken once."""
    import numpy as np

    from tau_rnn.gradcheck import check, numerical_gradient

    known = {}

    def once(loss, params):
        network = loss.__self__
        parts = (*network.params, *network[1:])
        key = tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in parts)
        if key not in known:
            known[key] = numerical_gradient(loss, params)
            for array in known[key]:
                array.flags.writeable = False
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "numerical_gradient", once)
        yield


@pytest.fixture(scope="session", autouse=True)
def running_chapters(request, tmp_path_factory):
    """Chapters that run beside the other tests, from the start: chapter -> its future and folder.

    A suite that is shared out by pytest-xdist runs each chapter where it is tested.
    """
    from chapter_runs import run_chapter

    folders = {
        item.callspec.params["chapter"]: tmp_path_factory.mktemp("chapter")
        for item in request.session.items
        if item.name.startswith("test_chapter_runs_prints") and not item.get_closest_marker("skip")
    }
    with ThreadPoolExecutor(1) as pool:
        beside = {} if "PYTEST_XDIST_WORKER" in os.environ else folders
        yield {c: (pool.submit(run_chapter, c, folder), folder) for c, folder in beside.items()}
        pool.shutdown(cancel_futures=True)
