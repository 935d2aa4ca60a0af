"""The poster's four distributions, pinned unit by unit: stored evidence stands on these values.

``python tests/test_pinned_taus.py`` stores them anew.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from tau_rnn.taus import sample_tau

STORED = Path(__file__).parent / "data" / "pinned_taus.json"
POSTER = ("vanilla", "normal", "uniform", "bimodal")
DRAWS = {"7 units": (7, 0), "100 units": (100, 1)}  # number of units, seed


def values(dist, draw):
    n_units, seed = DRAWS[draw]
    return sample_tau(dist, n_units, np.random.default_rng(seed))


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("dist", POSTER)
def test_the_same_rng_gives_the_units_the_tau_that_are_stored(dist, draw):
    stored = json.loads(STORED.read_text())[dist][draw]
    np.testing.assert_allclose(values(dist, draw), stored, rtol=1e-14)


if __name__ == "__main__":
    table = {dist: {draw: values(dist, draw).tolist() for draw in DRAWS} for dist in POSTER}
    STORED.write_text(json.dumps(table, indent=1) + "\n")
