"""Weights that may not exist stay 0, signs stay, and the gradient is that of the other weights."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tau_rnn
from tau_rnn.connectivity import (
    Connectivity,
    check_connectivity,
    impose,
    make_connectivity,
    parse_connectivity,
)
from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.outcome import run_one
from tau_rnn.experiment.run import build_network, iterate, set_up
from tau_rnn.gradcheck import complex_step, random_direction
from tau_rnn.gradcheck.derivatives import inner
from tau_rnn.model import Params, forward, init_params
from tau_rnn.tasks import make_task
from tau_rnn.training import TrainConfig, start, training_steps

N = 9
TASK = make_task("multi_timescale", dt=0.1)
MASKED = ("W", "W_in", "W_out")
TEXTS = ("dale:0.7", "sparse:0.3", "hierarchy:3")


def drawn(seed, signs=(-1, 0, 1)) -> Connectivity:
    """Random masks and signs."""
    rng = np.random.default_rng(seed)
    shapes = {"W": (N, N), "W_in": (N, TASK.n_in), "W_out": (TASK.n_out, N)}
    masks = {name: rng.random(shape) < 0.6 for name, shape in shapes.items()}
    return Connectivity(**masks, signs=rng.choice(signs, N))


def network(connectivity, seed=0) -> Params:
    rng = np.random.default_rng(seed)
    tau = rng.uniform(0.2, 2, N)
    return impose(init_params(N, TASK.n_in, TASK.n_out, tau, rng), connectivity)


def forbidden(params, connectivity):
    """Every weight that may not exist."""
    return np.concatenate([getattr(params, f)[~getattr(connectivity, f)] for f in MASKED])


def fixed(trials):
    """TASK, whose batches are all the one given."""

    class Same:
        dt, noise = TASK.dt, 0.0

        def trials(self, n, rng, *, dtype):
            return trials

    return Same()


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_step_follows_the_directional_derivative_along_every_allowed_direction(seed):
    connectivity, rng = drawn(seed, signs=(0,)), np.random.default_rng(seed)
    params, trials = network(connectivity, seed), TASK.trials(5, rng)
    config = TrainConfig(optimizer="sgd", momentum=0, lr=1, clip=1e30, train="default,x0")
    state = start(params, config, TASK.dt, rng, rng)
    after = next(training_steps(state, fixed(trials), config, connectivity)).params
    descent = Params(*(p - q for p, q in zip(params, after)))

    def loss(p):  # `mse` without what is not analytic
        error = forward(p, trials.u, TASK.dt).y - trials.target
        weights = trials.mask[:, :, np.newaxis]
        return (weights * error**2).sum() / (trials.mask.sum() * TASK.n_out)

    for _ in range(4):
        v = random_direction(params, rng, config.train)
        allowed = v._replace(**{f: getattr(v, f) * getattr(connectivity, f) for f in MASKED})
        found, scale = inner(descent, allowed)
        assert abs(found - complex_step(loss, params, allowed)) < 1e-10 * scale
    assert (forbidden(descent, connectivity) == 0).all()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@given(seed=st.integers(0, 2**32), train=st.sampled_from(["default", "recurrent", "all", "W_in"]))
def test_after_every_step_forbidden_weights_are_0_and_signs_the_same(optimizer, seed, train):
    connectivity, rng = drawn(seed), np.random.default_rng(seed)
    config = TrainConfig(optimizer=optimizer, lr=0.3, batch=2, train=train)  # most signs would flip
    state = start(network(connectivity, seed), config, TASK.dt, rng, rng)
    states = training_steps(state, TASK, config, connectivity)
    for _ in range(4):
        state = next(states)
        assert (forbidden(state.params, connectivity) == 0).all()
        assert (state.params.W * connectivity.signs >= 0).all()
        moments = [state.params] if "tau" in config.train else []
        for moment in state.moments:
            views, first = {}, 0
            for f in config.train:
                value = getattr(state.params, f)
                views[f] = moment[first : first + value.size].reshape(value.shape)
                first += value.size
            moments.append(state.params._replace(**views))
        for moment in moments:
            assert (forbidden(moment, connectivity) == 0).all()


def test_a_weight_that_would_change_its_sign_is_0_and_may_grow_again():
    connectivity = Connectivity(signs=np.ones(N))
    rng, config = np.random.default_rng(0), TrainConfig(lr=0.05, batch=4)
    states = training_steps(
        start(network(connectivity), config, TASK.dt, rng, rng), TASK, config, connectivity
    )
    zero = [next(states).params.W == 0 for _ in range(30)]
    assert any(z.any() for z in zero)
    assert any((a & ~b).any() for a, b in pairwise(zero))


def test_all_weights_allowed_is_training_without_a_connectivity():
    params = network(Connectivity())
    plain, all_allowed = (
        tau_rnn.train(params, TASK, 3, rng=np.random.default_rng(1), connectivity=c)[0]
        for c in (None, Connectivity())
    )
    assert all(map(np.array_equal, plain, all_allowed))


def test_training_learns_under_every_connectivity():
    for text in TEXTS:
        rng = np.random.default_rng(0)
        connectivity = make_connectivity(text, 24, TASK.n_in, TASK.n_out, rng)
        params = impose(init_params(24, TASK.n_in, TASK.n_out, 0.5, rng), connectivity)
        _, history = tau_rnn.train(params, TASK, 60, rng=rng, lr=0.01, connectivity=connectivity)
        losses = [row["loss"] for row in history]
        assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10]), text


@pytest.mark.parametrize(
    ("connectivity", "message"),
    [
        ("dale:0.8", "connectivity: must be a Connectivity, got 'dale:0.8'"),
        (Connectivity(W=np.eye(N)), "W: must be 0 where connectivity.W is; `tau_rnn.conn"),
        (Connectivity(W_out=np.zeros((1, N))), "W_out: must be 0 where connectivity.W_out is"),
        (Connectivity(signs=np.ones(N)), "W: must have the sign of connectivity.signs"),
        (Connectivity(W=np.ones((N, 2))), r"connectivity.W: must have shape \(9, 9\), got"),
        (Connectivity(signs=np.full(N, 2)), "connectivity.signs: must be -1, 0 or 1"),
    ],
)
def test_what_does_not_fit_is_refused(connectivity, message):
    params = init_params(N, TASK.n_in, TASK.n_out, 1.0, np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        tau_rnn.train(params, TASK, 1, rng=np.random.default_rng(0), connectivity=connectivity)


# --- making and imposing -------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32))
def test_imposing_gives_a_network_that_obeys_of_the_same_norm(seed):
    connectivity, rng = drawn(seed), np.random.default_rng(seed)
    params = init_params(N, TASK.n_in, TASK.n_out, 1.0, rng)
    kept = [p.copy() for p in params]
    obeys = impose(params, connectivity)
    assert (forbidden(obeys, connectivity) == 0).all()
    assert (obeys.W * connectivity.signs >= 0).all()
    assert ((obeys.W != 0) == connectivity.W).all()
    np.testing.assert_allclose(np.linalg.norm(obeys.W), np.linalg.norm(params.W), rtol=1e-12)
    for name in ("W_in", "W_out"):
        mask = getattr(connectivity, name)
        np.testing.assert_array_equal(getattr(obeys, name)[mask], getattr(params, name)[mask])
    assert all(map(np.array_equal, kept, params))
    assert all(map(np.array_equal, obeys[2:3] + obeys[4:], params[2:3] + params[4:]))


def test_dale_balances_excitation_and_inhibition():
    rng = np.random.default_rng(0)
    connectivity = make_connectivity("dale:0.8", 50, 2, 1, rng)
    np.testing.assert_array_equal(connectivity.signs, [1] * 40 + [-1] * 10)
    W = impose(init_params(50, 2, 1, 1.0, rng), connectivity).W
    assert abs(W.sum()) < 1e-12 * np.abs(W).sum()


def test_sparse_and_hierarchical_masks():
    rng = np.random.default_rng(0)
    sparse = make_connectivity("sparse:0.1", 200, 2, 1, rng)
    assert abs(sparse.W.mean() - 0.1) < 0.008  # 5 standard errors
    W, W_in, W_out, signs = make_connectivity("hierarchy:3", 7, 2, 1, rng)
    block = np.array([0, 0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(W, np.abs(block[:, np.newaxis] - block) <= 1)
    np.testing.assert_array_equal(W_in, np.stack([block == 0] * 2, axis=1))
    np.testing.assert_array_equal(W_out, [block == 2])
    assert signs is None and make_connectivity("full", 7, 2, 1, rng) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dal:0.8", "connectivity: unknown 'dal:0.8'; did you mean 'dale:F'"),
        ("dale", "connectivity: unknown 'dale'; did you mean 'dale:F'"),
        ("dale:", "connectivity: dale: must be a finite number > 0 and < 1, got ''"),
        ("dale:1.2", "connectivity: dale: must be a finite number > 0 and < 1, got '1.2'"),
        ("sparse:0", "connectivity: sparse: must be a finite number > 0 and < 1, got '0'"),
        ("hierarchy:1", "connectivity: hierarchy: must be an integer >= 2, got 1"),
        ("hierarchy:2.5", "connectivity: hierarchy: must be an integer >= 2, got 2.5"),
        ("full:1", "connectivity: unknown 'full:1'"),
        (3, "connectivity: must be a text such as dale:0.8, got 3"),
    ],
)
def test_texts_that_are_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        parse_connectivity(text)


def test_more_blocks_than_units_are_refused():
    with pytest.raises(ValueError, match="hierarchy:4 needs at least 4 units, got 3"):
        build_network(RunConfig(units=3, connectivity="hierarchy:4"))


# --- runs ----------------------------------------------------------------------------------------

SMALL = RunConfig(units=12, steps=6, dt=0.1, batch=4, test_trials=40, eval_every=3, burn_in=2.0)


@pytest.mark.parametrize("text", TEXTS)
def test_a_run_obeys_its_connectivity(text, few_measures):
    config = SMALL.replace(connectivity=text, lr=0.05)
    setup, result = set_up(config), run_one(config, parts=())
    assert all(map(np.array_equal, setup.initial, build_network(config)))
    connectivity = check_connectivity(setup.connectivity, setup.initial)
    for params in (result.initial, result.final):
        assert (forbidden(params, connectivity) == 0).all()
        assert (params.W * connectivity.signs >= 0).all()
    assert not np.array_equal(result.initial.W, result.final.W)


def test_a_run_that_goes_on_keeps_its_connectivity():
    config = SMALL.replace(connectivity="sparse:0.3")
    *_, whole = iterate(config)
    states = iterate(config)
    for _ in range(4):
        half = next(states)
    *_, again = iterate(config, half._replace(setup=None))
    np.testing.assert_array_equal(again.training.theta, whole.training.theta)


def test_one_seed_gives_one_mask_whatever_else_is_set():
    config = SMALL.replace(connectivity="sparse:0.3")
    first, same, other = (
        set_up(config.replace(**c)).connectivity.W
        for c in ({}, {"dist": "uniform", "gain": 2}, {"seed": 1})
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_a_rank_and_a_connectivity_are_not_given_both():
    with pytest.raises(ValueError, match="init: 'rank:2' would lose its rank under connectivity="):
        SMALL.replace(init="rank:2", connectivity="dale:0.8")
