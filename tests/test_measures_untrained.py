"""What an untrained network has, against brute force: explicit Jacobians and fits row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from test_measures_alignment import jacobian_by_tangent

from tau_rnn.bptt import tangent
from tau_rnn.gradcheck.strategies import cases, make_case
from tau_rnn.losses import mse
from tau_rnn.measures import measure_untrained
from tau_rnn.measures.distance import linear_distance
from tau_rnn.measures.untrained import ridge_readout, slow_modes
from tau_rnn.model import Params, forward, init_params
from tau_rnn.noise import private_noise
from tau_rnn.tasks import TASKS, make_task

# The whole space of networks includes coarse Euler steps, of which `alpha` warns.
pytestmark = pytest.mark.filterwarnings("ignore:dt = :RuntimeWarning")

seeds = st.integers(0, 2**32 - 1)


# --- distance -----------------------------------------------------------------------------------


def wanted(case, seed=9):
    """Targets and weights for a case; where a weight is 0 the target is nan."""
    rng = case.rng(seed)
    shape = case.run().y.shape
    mask = rng.uniform(0.1, 1, shape) * (rng.random(shape) < 0.7)
    mask[0, 0, 0] = 1
    return np.where(mask > 0, rng.standard_normal(shape), np.nan), mask


def weighted(case, target, mask):
    """e and J (A, N^2), each row times the root of its weight, by forward mode."""
    traj = case.run()
    J, on = jacobian_by_tangent(case.params, traj), mask > 0
    root = np.sqrt(mask[on])
    return root * (target - traj.y)[on], root[:, None] * J[on].reshape(on.sum(), -1)


def least_norm(e, J, q):
    """Of w with |e - J w|^2 <= q |e|^2: the largest of its lower bounds (Lagrange's dual).

    For any nu > 0 the norm is at least the least value of |w|^2 + nu (|e - J w|^2 - q |e|^2).
    """

    def bound(nu):
        rows = np.vstack([np.eye(J.shape[1]), np.sqrt(nu) * J])
        right = np.append(np.zeros(J.shape[1]), np.sqrt(nu) * e)
        w = np.linalg.lstsq(rows, right)[0]
        return w @ w + nu * (np.square(e - J @ w).sum() - q * (e @ e))

    scale = np.linalg.norm(J, 2) ** 2
    best = max(np.arange(-3, 14, 0.25), key=lambda k: bound(10**k / scale))
    fine = max(np.linspace(best - 0.25, best + 0.25, 101), key=lambda k: bound(10**k / scale))
    return np.sqrt(bound(10**fine / scale))


@given(cases(max_units=4, max_steps=5))
def test_the_least_change_leaves_just_the_error_that_it_may(case):
    target, mask = wanted(case)
    e, J = weighted(case, target, mask)
    found = linear_distance(
        case.params, case.u, target, mask, case.dt, fractions=(0.1, 0.3, 0.8), **case.options
    )
    assert found.loss == pytest.approx((e @ e) / mask.sum(), rel=1e-10)
    for q, size, change in zip(found.fractions, found.absolute, found.change):
        if np.isinf(size):
            # Nothing leaves so little: the best of all changes leaves more.
            best = e - J @ np.linalg.lstsq(J, e, rcond=1e-5)[0]
            assert (best @ best) >= q * (e @ e) * (1 - 1e-5) and found.reach >= q
            continue
        dw = change.ravel()
        rest = e - J @ dw
        # Eigenvalues of K are exact to 1e-16 of the largest, and the least that count are 1e-10.
        assert (rest @ rest) / (e @ e) == pytest.approx(q, rel=1e-5)
        assert size == pytest.approx(np.linalg.norm(dw), rel=1e-12)
    assert (np.diff(found.absolute[np.isfinite(found.absolute)]) < 0).all()


@pytest.mark.parametrize("phi", ["tanh", "softplus", "linear"])
@pytest.mark.parametrize("method", ["euler", "exponential"])
@pytest.mark.parametrize("seed", range(3))
def test_no_change_that_leaves_as_little_is_shorter_than_the_dual_allows(seed, method, phi):
    case = make_case(seed, N=2 + seed, T=6, B=3, n_out=1 + seed % 2, phi=phi, method=method)
    target, mask = wanted(case)
    e, J = weighted(case, target, mask)
    found = linear_distance(
        case.params, case.u, target, mask, case.dt, fractions=(0.1, 0.5, 0.9), **case.options
    )
    # A change of a thousand times W says that the eigenvalues of K span as many digits as it has.
    sensible = [(q, size) for q, size in zip(found.fractions, found.absolute) if size < 1000]
    assert sensible
    for q, size in sensible:  # the grid of the dual ends at 1e-5 of its bound
        assert size == pytest.approx(least_norm(e, J, q), rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_change_is_shorter(seed):
    """Against a general solver of constrained problems, which knows nothing of kernels."""
    case = make_case(seed, N=3, T=5, B=2, n_out=1)
    target, mask = wanted(case)
    e, J = weighted(case, target, mask)
    found = linear_distance(
        case.params, case.u, target, mask, case.dt, fractions=(0.5,), **case.options
    )
    constraint = {"type": "ineq", "fun": lambda w: 0.5 * (e @ e) - np.square(e - J @ w).sum()}
    start = np.linalg.lstsq(J, e)[0]
    least = minimize(
        lambda w: w @ w, start, jac=lambda w: 2 * w, constraints=constraint, method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )  # fmt: skip
    assert found.absolute[0] == pytest.approx(np.sqrt(least.fun), rel=1e-4)
    assert found.relative[0] == found.absolute[0] / np.linalg.norm(case.params.W)


def test_near_the_network_the_change_does_what_it_says():
    """Where the error is small, outputs are linear in W: the network itself leaves a tenth."""
    case = make_case(4, N=8, T=12, B=3, n_out=2)
    traj = case.run()
    direction = Params(*(np.zeros_like(p) for p in case.params))
    direction.W[:] = case.rng(5).standard_normal((8, 8))
    for size in (1e-3, 1e-4):
        target = traj.y + size * tangent(case.params, traj, direction)
        mask = np.ones(traj.y.shape[:2])
        found = linear_distance(case.params, case.u, target, mask, case.dt, **case.options)
        for q, change in zip(found.fractions, found.change):
            y = case.run(case.params._replace(W=case.params.W + change)).y
            left = mse(y, target, mask)[0] / found.loss
            assert left == pytest.approx(q, rel=30 * size)  # of second order in the change


def test_where_nothing_is_heard_no_change_helps():
    case = make_case(1, N=5, T=6, B=3)
    silent = case.params._replace(W_out=0 * case.params.W_out)
    target = np.ones(case.run(silent).y.shape)
    found = linear_distance(silent, case.u, target, target, case.dt, **case.options)
    assert found.reach == 1 and np.isinf(found.absolute).all() and np.isnan(found.change).all()


def test_blocks_of_the_kernel_change_nothing(monkeypatch):
    case = make_case(5, N=5, T=7, B=4)
    target, mask = wanted(case)
    arguments = case.params, case.u, target, mask, case.dt
    whole = linear_distance(*arguments, **case.options)
    monkeypatch.setattr("tau_rnn.measures.alignment.BLOCK_BYTES", 8 * 5 * 7 * 3)
    blocked = linear_distance(*arguments, **case.options)
    np.testing.assert_allclose(blocked.absolute, whole.absolute, rtol=1e-9)


# --- readout ------------------------------------------------------------------------------------


def ridge_by_rows(X, y, w, lam):
    """Weights and constant of a weighted ridge regression, row by row, the constant free."""
    rows = [np.append(np.sqrt(a) * x, np.sqrt(a)) for x, a in zip(X, w)]
    extra = [np.append(np.sqrt(lam) * row, 0) for row in np.eye(X.shape[1])]
    right = np.append(np.sqrt(w) * y, np.zeros(X.shape[1]))
    return np.linalg.lstsq(np.array(rows + extra), right)[0]


@given(seeds, st.integers(6, 8), st.integers(1, 4), st.booleans())
def test_the_readout_is_ridge_with_the_penalty_of_an_inner_cross_validation(seed, B, N, by_output):
    rng = np.random.default_rng(seed)
    T, n_folds, penalties = 4, 3, (0.01, 0.3, 10.0)
    rates, target = rng.standard_normal((T, B, N)), rng.standard_normal((T, B, 2))
    target[..., 0] += rates[..., 0]
    mask = rng.uniform(0.1, 1, (T, B, 2) if by_output else (T, B))
    mask[0] = 0
    found = ridge_readout(
        rates, target, mask, np.random.default_rng(seed), n_folds=n_folds, penalties=penalties
    )
    fold_of = np.random.default_rng(seed).permutation(B) % n_folds
    expected = np.empty_like(target)
    for k in range(2):
        w = mask[..., k] if by_output else mask

        def fit(kept, penalty, w=w, k=k):
            X, weight = rates[:, kept].reshape(-1, N), w[:, kept].ravel()
            lam = penalty * (weight @ (X**2).mean(axis=1))
            return ridge_by_rows(X, target[:, kept, k].ravel(), weight, lam)

        for fold in range(n_folds):
            errors = []
            for penalty in penalties:
                error = 0.0
                for inner in range(n_folds):
                    if inner != fold:
                        b = fit((fold_of != fold) & (fold_of != inner), penalty)
                        test = fold_of == inner
                        missed = rates[:, test] @ b[:-1] + b[-1] - target[:, test, k]
                        error += (w[:, test] * missed**2).sum()
                errors.append(error)
            b = fit(fold_of != fold, penalties[int(np.argmin(errors))])
            test = fold_of == fold
            expected[:, test, k] = rates[:, test] @ b[:-1] + b[-1]
    np.testing.assert_allclose(found.y, expected, rtol=1e-7, atol=1e-9)
    assert found.loss == pytest.approx(mse(expected, target, mask)[0], rel=1e-9)
    for k in range(2):
        w = mask[..., k] if by_output else mask
        middle = (w * target[..., k]).sum() / w.sum()
        total = (w * (target[..., k] - middle) ** 2).sum()
        r2 = 1 - (w * (target[..., k] - expected[..., k]) ** 2).sum() / total
        assert found.r2[k] == pytest.approx(r2, rel=1e-9)


def test_a_readout_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    rates = rng.standard_normal((5, 60, 4))
    target = np.stack([rates[..., 1] - 2, rng.standard_normal((5, 60)), np.full((5, 60), 0.3)], 2)
    target[0] = np.nan  # where nothing counts
    mask = np.ones((5, 60))
    mask[0] = 0
    found = ridge_readout(rates, target, mask, rng)
    assert found.r2[0] > 1 - 1e-9 and found.r2[1] < 0.05 and np.isnan(found.r2[2])
    silent = ridge_readout(0 * rates, target, mask, rng)  # a constant is all that is left
    np.testing.assert_allclose(silent.y[..., 2], 0.3)
    assert silent.r2[0] < 0


# --- slow modes ---------------------------------------------------------------------------------


@given(seeds, st.integers(1, 10), st.sampled_from([0.0, 0.8, 1.5]))
def test_slow_modes_are_those_of_the_jacobian_at_rest(seed, N, gain):
    """An untrained tanh network rests at 0, where J = (W - 1)/tau."""
    rng = np.random.default_rng(seed)
    params = init_params(N, 2, 1, rng.uniform(0.2, 3, N), rng, gain=gain)
    found = slow_modes(params, 1.5)
    exact = -1 / np.linalg.eigvals((params.W - np.eye(N)) / params.tau[:, None]).real
    slow = exact[np.abs(exact) > 1.5]
    assert found.number == len(slow)
    order = np.argsort(-np.abs(slow), kind="stable")
    np.testing.assert_allclose(found.timescales, slow[order], rtol=1e-6)
    assert found.kind == ("attractor" if (exact > 0).all() else
                          "repeller" if (exact < 0).all() else "saddle")  # fmt: skip


def test_a_network_that_never_rests_has_no_modes():
    """relu, w = 1, b = 1: dx/dt = 1 for every x >= 0."""
    one = np.ones(1)
    params = Params(np.ones((1, 1)), np.zeros((1, 1)), one, np.ones((1, 1)), one, 2 * one, one)
    number, timescales, kind = slow_modes(params, 1.0, phi="relu")
    assert (number, timescales.tolist(), kind) == (0, [], "none")


# --- all three ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_an_untrained_network_is_measured_on_trials_of_its_task(name, monkeypatch):
    task = make_task(name, dt=0.1)
    rng = np.random.default_rng(0)
    params = init_params(10, task.n_in, task.n_out, rng.uniform(0.2, 2, 10), rng)
    m = measure_untrained(params, task, rng=np.random.default_rng(3), n_trials=30, n_near=2)
    draws = np.random.default_rng(3)
    trials, near = task.trials(30, draws), task.trials(2, draws)
    noise = private_noise(params, task.dt, task.noise, *trials.u.shape[:2], draws)
    r = forward(params, trials.u, task.dt, noise=noise).r[1:]
    expected = ridge_readout(r, trials.target, trials.mask, draws)
    assert m.readout.loss == expected.loss
    assert m.modes.number == slow_modes(params, task.delay_max).number
    direct = linear_distance(params, near.u, near.target, near.mask, task.dt)
    np.testing.assert_array_equal(m.distance.absolute, direct.absolute)
    assert np.isfinite(direct.absolute).all() and direct.absolute[0] > direct.absolute[1] > 0


def test_a_task_of_ones_own_needs_inputs_targets_and_weights_alone():
    class Own:
        dt = 0.1

        def trials(self, n, rng, dtype=float):
            u = rng.standard_normal((8, n, 1))
            given = make_task("multi_timescale", dt=0.1).trials(n, rng)
            return given._replace(u=u, target=np.cumsum(u, axis=0), mask=np.ones((8, n)))

    params = init_params(6, 1, 1, 1.0, np.random.default_rng(0))
    m = measure_untrained(params, Own(), rng=np.random.default_rng(1), n_trials=20, n_near=3)
    assert m.modes is None and m.readout.r2[0] > 0.1


def test_bad_arguments_are_refused(monkeypatch):
    rng = np.random.default_rng(0)
    case = make_case(0, N=3, T=4, B=5, n_out=1)
    y = case.run().y
    ones, target = np.ones(y.shape[:2]), y + 1
    rates = rng.standard_normal((4, 5, 3))

    def distance(target=target, mask=ones, **options):
        return linear_distance(case.params, case.u, target, mask, case.dt, **options)

    for call, words in [
        (lambda: ridge_readout(rates[0], target, ones, rng), r"rates.*\(T, B, N\)"),
        (lambda: ridge_readout(rates, target[:3], ones, rng), r"target.*\(4, 5, n_out\)"),
        (lambda: ridge_readout(rates, target, ones[:3], rng), "mask.*got shape"),
        (lambda: ridge_readout(rates, target, -ones, rng), "mask.*>= 0"),
        (lambda: ridge_readout(rates, target, 0 * ones, rng), "mask.*every fold"),
        (lambda: ridge_readout(rates, target * np.nan, ones, rng), "target.*nan"),
        (lambda: ridge_readout(rates, target, ones, rng, n_folds=2), "n_folds.*>= 3"),
        (lambda: ridge_readout(rates, target, ones, rng, n_folds=6), "n_folds.*<= 5"),
        (lambda: ridge_readout(rates, target, ones, rng, penalties=[0]), "penalties.*> 0"),
        (lambda: ridge_readout(rates, target, ones, 1), "rng: .*int"),
        (lambda: slow_modes(case.params, 0), "delay.*> 0"),
        (lambda: distance(fractions=(0, 0.5)), "fractions.*above 0"),
        (lambda: distance(fractions=(1.0,)), "fractions.*below 1"),
        (lambda: distance(target=target[..., [0, 0]]), "target.*shape"),
        (lambda: distance(mask=0 * ones), "mask: the number of outputs.*>= 1"),
        (lambda: distance(target=case.run().y, **case.options), "target.*differ"),
        (lambda: measure_untrained(case.params, None, rng=rng, n_near=0), "n_near.*0"),
        (lambda: measure_untrained(case.params, None, rng=rng, n_trials=2), "n_trials.*2"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    monkeypatch.setattr("tau_rnn.measures.distance.MOST_OUTPUTS", 10)
    with pytest.raises(ValueError, match=r"mask: the number of outputs.*<= 10"):
        distance()
