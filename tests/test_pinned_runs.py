"""Four tiny runs, pinned: their history, final parameters and metrics are those stored before.

A change of structure leaves every number as it was. Where a change of the mathematics is meant to
move them, raise `EXPERIMENT_VERSION`, store them anew with ``python tests/test_pinned_runs.py`` and
say in the changelog why they moved.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.outcome import run_one
from tau_rnn.measures.run import PARTS

STORED = Path(__file__).parent / "data" / "pinned_runs.json"
SMALL = {"units": 12, "steps": 20, "batch": 8, "dt": 0.1, "dtype": "float64", "test_trials": 64,
         "eval_every": 10, "burn_in": 2.0}  # fmt: skip
RUNS = {
    "adam": {"task": "multi_timescale", "dist": "normal"},
    "sgd": {
        "task": "integrate_and_remember", "dist": "uniform", "rescale_tau": "harmonic",
        "lr_scale": "tau", "optimizer": "sgd", "lr": 0.05, "seed": 1,
    },
    "all trained": {
        "task": "multi_timescale", "dist": "bimodal", "train": "all", "phi": "softplus",
        "rate_penalty": 0.01, "seed": 2,
    },
    "euler": {
        "task": "integrate_and_remember", "dist": "vanilla", "method": "euler", "gain": 1.2,
        "train": "recurrent", "seed": 3,
    },
}  # fmt: skip


def numbers(name):
    result = run_one(RunConfig(**RUNS[name], **SMALL), PARTS)
    metrics = {k: v for k, v in result.metrics.items() if k != "seconds"}
    final = {k: v.tolist() for k, v in result.final._asdict().items()}
    return {"history": result.history, "final": final, "metrics": metrics}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_gives_the_numbers_that_are_stored(name):
    stored, now = json.loads(STORED.read_text())[name], numbers(name)
    # 20 steps of training magnify the rounding of another BLAS kernel or NumPy to about 1e-9.
    close = {"rtol": 1e-6, "atol": 1e-9}
    for field, value in stored["final"].items():
        np.testing.assert_allclose(now["final"][field], value, **close, err_msg=field)
    for row, expected in zip(now["history"], stored["history"], strict=True):
        np.testing.assert_allclose(list(row.values()), list(expected.values()), **close)
        assert list(row) == list(expected)
    assert now["metrics"].keys() == stored["metrics"].keys()
    for metric, value in stored["metrics"].items():
        if value is None:
            assert now["metrics"][metric] is None, metric
        else:
            np.testing.assert_allclose(now["metrics"][metric], value, **close, err_msg=metric)


if __name__ == "__main__":
    STORED.write_text(json.dumps({name: numbers(name) for name in RUNS}, indent=1) + "\n")
