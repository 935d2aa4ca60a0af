"""The examples in docstrings run, and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import tau_rnn

MODULES = sorted(m.name for m in pkgutil.walk_packages(tau_rnn.__path__, "tau_rnn."))


@pytest.mark.filterwarnings("ignore:dt = :RuntimeWarning")  # an example of Euler's method
@pytest.mark.parametrize("name", [m for m in MODULES if not m.endswith("__main__")])
def test_examples_in_docstrings_run(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    # A window is not painted again for each slider that an example moves.
    monkeypatch.setattr("matplotlib.backend_bases.FigureCanvasBase.draw_idle", lambda canvas: None)
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0, f"{found.failed} of {found.attempted}"
    assert found.attempted or not name.startswith("tau_rnn.measures.") or name.endswith("_shared")
