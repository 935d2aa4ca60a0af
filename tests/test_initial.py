"""W before training: of the rank, the norm and the eigenvalues that its text says."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.run import build_network
from tau_rnn.initial import Init, parse_init
from tau_rnn.model import init_params

N = 30


def network(init, seed=0, gain=0.8):
    return init_params(N, 2, 1, 1.0, np.random.default_rng(seed), gain=gain, init=init)


@given(rank=st.integers(1, N), seed=st.integers(0, 2**32))
def test_rank_keeps_the_largest_singular_values_and_the_norm(rank, seed):
    W, plain = network(f"rank:{rank}", seed).W, network("random", seed).W
    s, expected = (np.linalg.svd(a, compute_uv=False) for a in (W, plain))
    assert (s[rank:] < 1e-12 * s[0]).all()
    np.testing.assert_allclose(s[:rank] / s[0], expected[:rank] / expected[0], rtol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(W), np.linalg.norm(plain), rtol=1e-12)
    # Those directions are the random matrix's own: what is left of it is orthogonal to W.
    assert abs(np.sum(W * plain) - np.linalg.norm(W) * np.linalg.norm(expected[:rank])) < 1e-10


@given(rank=st.integers(1, 5), strength=st.floats(-3, 3), seed=st.integers(0, 2**32))
def test_structure_is_added_to_the_random_weights(rank, strength, seed):
    init = f"random+rank:{rank},strength={strength!r}"
    P = network(init, seed).W - network("random", seed).W
    eigenvalues = np.sort(np.linalg.eigvalsh((P + P.T) / 2))
    expected = np.sort([0.0] * (N - rank) + [strength] * rank)
    np.testing.assert_allclose(P, P.T, atol=1e-12)
    np.testing.assert_allclose(eigenvalues, expected, atol=1e-12)


def test_strong_structure_is_an_outlier_of_the_spectrum():
    for seed in range(3):
        W = network("random+rank:1,strength=3", seed).W
        real = np.sort(np.linalg.eigvals(W).real)
        assert 2.5 < real[-1] < 3.5 and real[-2] < 1.3


@pytest.mark.parametrize("init", ["rank:3", "random+rank:2"])
def test_all_but_W_is_that_of_the_random_network(init):
    mine, plain = network(init), network("random")
    assert all(map(np.array_equal, mine[1:], plain[1:]))
    assert not np.array_equal(mine.W, plain.W)


def test_no_random_weights_have_no_rank():
    assert not network("rank:3", gain=0).W.any()


@pytest.mark.parametrize("text", ["random", "rank:5", "random+rank:1", "random+rank:2,strength=2"])
def test_texts_read_back(text):
    assert parse_init(text).text == text and parse_init(parse_init(text)) == parse_init(text)
    assert RunConfig(init=text).init == text


def test_a_default_strength_is_left_out():
    assert RunConfig(init="random+rank: 2, strength=1.0").init == "random+rank:2"
    assert parse_init("random+rank:2") == Init("random+rank", 2, 1.0)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ("rnak:3", "init: unknown 'rnak:3'; did you mean 'rank:K'"),
        ("rank", "init: rank: must be an integer >= 1, got ''"),
        ("rank:0", "init: rank: must be an integer >= 1, got 0"),
        ("rank:2.5", "init: rank: must be an integer >= 1, got '2.5'"),
        ("rank:2,strength=3", "init: rank:2,strength=3': no parameter 'strength'; it has none"),
        ("random+rank:2,strenth=3", "no parameter 'strenth'; did you mean 'strength'"),
        ("random+rank:2,strength=x", "init: strength: must be a finite number, got 'x'"),
        ("random:2", "init: random takes no parameters, got 'random:2'"),
        (5, "init: must be a text such as random, rank:K"),
        (f"rank:{N + 1}", f"init: rank must be <= {N}, the number of units, got {N + 1}"),
    ],
)
def test_what_is_wrong_is_said(init, message):
    with pytest.raises(ValueError, match=message):
        network(init)


# --- runs ----------------------------------------------------------------------------------------


def test_a_run_starts_from_its_init():
    config = RunConfig(units=N, init="rank:2")
    mine, plain = build_network(config), build_network(config.replace(init="random"))
    assert np.linalg.matrix_rank(mine.W, tol=1e-4) == 2  # float32
    assert all(map(np.array_equal, mine[1:], plain[1:]))


def test_runs_that_were_stored_before_keep_their_keys_and_load():
    # Computed by the version that had neither field.
    assert RunConfig().key == "4972eb9b900a"
    assert RunConfig(dist="uniform", seed=3000, train="+tau", burn_in=5).key == "532bfd906ff5"
    stored = RunConfig().to_json()
    assert not {"init", "connectivity"} & stored.keys()
    assert RunConfig.from_json(stored) == RunConfig()
    other = RunConfig(init="rank:5", connectivity="full")
    assert json.loads(json.dumps(other.to_json()))["init"] == "rank:5"
    assert "connectivity" not in other.to_json() and other.key != RunConfig().key
    assert other.differences(RunConfig()) == {"init": ("rank:5", "random")}
