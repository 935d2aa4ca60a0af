"""Test settings: one BLAS thread, hypothesis profiles and the marker for slow tests."""

import os

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
