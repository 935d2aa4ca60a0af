"""Which units carry the task: lesions, decoding, and their time constants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tau_rnn.gradcheck.strategies import cases
from tau_rnn.measures import (
    accuracy_on,
    decode,
    decode_by_tau,
    effective_tau,
    lesion_by_tau,
    spontaneous_rates,
    tau_spread,
)
from tau_rnn.measures.decoding import aligned
from tau_rnn.measures.effective_tau import spread_change
from tau_rnn.measures.lesions import lesion
from tau_rnn.measures.run import LONGEST
from tau_rnn.model import Params, forward, init_params, private_noise
from tau_rnn.tasks import make_task

# The whole space of networks includes coarse Euler steps, of which `alpha` warns.
pytestmark = pytest.mark.filterwarnings("ignore:dt = :RuntimeWarning")

seeds = st.integers(0, 2**32 - 1)


def weights_heard(params):
    """A score that says who is still heard: the sum of the readout weights."""
    return float(params.W_out.sum())


# --- lesions ------------------------------------------------------------------------------------


@given(cases(max_units=6), st.data())
def test_a_lesion_is_the_network_without_these_units(case, data):
    N = len(case.params.b)
    silent = np.array(data.draw(st.lists(st.booleans(), min_size=N, max_size=N)))
    heard = ~silent
    y = case.run(lesion(case.params, silent)).y
    if not heard.any():
        np.testing.assert_array_equal(y, np.broadcast_to(case.params.b_out, y.shape))
        return
    W, W_in, b, W_out, b_out, x0, tau = case.params
    without = Params(
        W[np.ix_(heard, heard)],
        W_in[heard],
        b[heard],
        W_out[:, heard],
        b_out,
        x0[heard],
        tau[heard],
    )
    noise = None if case.noise is None else case.noise[:, :, heard]
    smaller = forward(without, case.u, case.dt, phi=case.phi, method=case.method, noise=noise)
    np.testing.assert_allclose(y, smaller.y, rtol=1e-10, atol=1e-11)
    same = lesion(case.params, np.flatnonzero(silent))
    for a, b in zip(same, lesion(case.params, silent)):
        np.testing.assert_array_equal(a, b)


def test_a_lesion_leaves_the_given_network_as_it_was():
    params = init_params(4, 1, 1, 1.0, np.random.default_rng(0))
    before = params.W.copy()
    lesion(params, [1, 2])
    np.testing.assert_array_equal(params.W, before)
    for a, b in zip(lesion(params, []), params):
        np.testing.assert_array_equal(a, b)


def test_lesion_by_tau_takes_the_slowest_and_the_fastest():
    rng = np.random.default_rng(0)
    tau = np.array([0.3, 2.0, 0.1, 1.0])
    params = init_params(4, 1, 1, tau, rng)._replace(W_out=np.array([[1.0, 10, 100, 1000]]))
    curve = lesion_by_tau(params, weights_heard, rng, fractions=(0, 0.25, 0.5, 1), n_random=30)
    np.testing.assert_array_equal(curve.n_silenced, [0, 1, 2, 4])
    np.testing.assert_array_equal(curve.slowest, [1111, 1101, 101, 0])
    np.testing.assert_array_equal(curve.fastest, [1111, 1011, 1010, 0])
    assert curve.random.shape == (30, 4) and (curve.random[:, 0] == 1111).all()
    assert set(curve.random[:, 1]) == {1110, 1101, 1011, 111}
    other = lesion_by_tau(params, weights_heard, rng, fractions=(0.25,), n_random=1, tau=-tau)
    assert other.slowest == [1011]


def test_units_that_share_a_tau_are_silenced_in_a_random_order():
    rng = np.random.default_rng(0)
    params = init_params(4, 1, 1, np.array([0.5, 0.5, 1.5, 1.5]), rng)
    params = params._replace(W_out=np.array([[0.0, 1, 10, 20]]))
    curve = lesion_by_tau(params, weights_heard, rng, fractions=(0.25, 0.5), n_random=400)
    # Without one slow unit 11 or 21 remain; the mean of 400 draws has a standard error of 0.25.
    assert curve.slowest[0] == pytest.approx(16, abs=1.2) and curve.slowest[1] == 1
    assert curve.fastest[0] == pytest.approx(30.5, abs=0.13) and curve.fastest[1] == 30


def test_without_different_tau_there_are_no_slow_units():
    rng = np.random.default_rng(0)
    params = init_params(5, 1, 1, 1.0, rng)
    curve = lesion_by_tau(params, weights_heard, rng, n_random=2)
    assert np.isnan(curve.slowest).all() and np.isnan(curve.fastest).all()
    assert np.isfinite(curve.random).all()


def test_accuracy_on_is_the_task_accuracy_with_the_same_noise():
    task = make_task("integrate_and_remember", dt=0.1)
    rng = np.random.default_rng(0)
    params = init_params(10, task.n_in, task.n_out, 1.0, rng)
    trials = task.trials(20, rng)
    noise = private_noise(params, task.dt, 0.1, *trials.u.shape[:2], rng, method="exponential")
    accuracy = accuracy_on(task, trials, noise=noise, phi="relu", method="exponential")
    traj = forward(params, trials.u, task.dt, phi="relu", method="exponential", noise=noise)
    assert accuracy(params) == task.accuracy(traj.y, trials)


def test_accuracy_is_simulated_in_the_precision_asked_for():
    task = make_task("integrate_and_remember", dt=0.1)
    rng = np.random.default_rng(0)
    params, seen = init_params(10, task.n_in, task.n_out, 1.0, rng), []
    trials = task.trials(20, rng)
    noise = private_noise(params, task.dt, 0.1, *trials.u.shape[:2], rng)

    class Recorded:
        dt = task.dt

        def accuracy(self, y, given):
            seen.append((y.dtype, given is trials))
            return task.accuracy(y, given)

    scores = [
        accuracy_on(Recorded(), trials, noise=noise, dtype=dtype)(params)
        for dtype in (None, np.float64, np.float32)
    ]
    assert seen == [(np.float64, True), (np.float64, True), (np.float32, True)]
    assert scores[0] == scores[1] == scores[2]  # no decision is within rounding of its threshold
    with pytest.raises(ValueError, match=r"dtype: .*int"):
        accuracy_on(task, trials, dtype=int)


# --- decoding -----------------------------------------------------------------------------------


def ridge_by_the_normal_equations(X, y, X_new, lam):
    Z = np.column_stack([np.ones(len(X)), X])
    penalty = lam * np.diag([0.0] + [1.0] * X.shape[1])
    w = np.linalg.solve(Z.T @ Z + penalty, Z.T @ y)
    return np.column_stack([np.ones(len(X_new)), X_new]) @ w


@given(seeds, st.integers(8, 12), st.integers(1, 15), st.integers(2, 4))
def test_decoding_is_ridge_with_the_penalty_of_least_leave_one_out_error(seed, B, n, n_folds):
    """Brute force: normal equations, and a fit for each trial left out."""
    rng = np.random.default_rng(seed)
    rates, y = rng.standard_normal((2, B, n)), rng.standard_normal((B, 2))
    penalties = (0.01, 0.3, 10.0)
    found = decode(rates, y, np.random.default_rng(seed), n_folds=n_folds, penalties=penalties)
    folds = np.random.default_rng(seed).permutation(B) % n_folds
    for t in range(2):
        predicted = np.empty_like(y)
        for fold in range(n_folds):
            train = np.flatnonzero(folds != fold)
            X, X_new = rates[t][train], rates[t][folds == fold]
            s2 = np.linalg.svd(X - X.mean(0), compute_uv=False) ** 2
            for q in range(2):
                target = y[train, q]
                errors = []
                for penalty in penalties:
                    # The penalty is set by all training trials, as the closed form has it.
                    lam = penalty * s2.mean()
                    left_out = [
                        ridge_by_the_normal_equations(
                            np.delete(X, i, 0), np.delete(target, i), X[i : i + 1], lam
                        )[0]
                        for i in range(len(train))
                    ]
                    errors.append(np.mean((target - left_out) ** 2))
                lam = penalties[int(np.argmin(errors))] * s2.mean()
                predicted[folds == fold, q] = ridge_by_the_normal_equations(X, target, X_new, lam)
        exact = 1 - ((y - predicted) ** 2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)
        # The normal equations square the condition number of the rates.
        np.testing.assert_allclose(found[t], exact, rtol=1e-7, atol=1e-7)


def test_what_is_there_is_decoded_and_what_is_not_is_not():
    rng = np.random.default_rng(1)
    rates = rng.standard_normal((3, 200, 10))
    y = np.stack([rates[1] @ rng.standard_normal(10) + 3, rng.standard_normal(200)], axis=1)
    r2 = decode(rates, y, rng)
    assert r2[1, 0] > 1 - 1e-8  # the smallest penalty, 1e-6, leaves an error of its square
    assert (np.delete(r2.ravel(), 2) < 0.05).all()
    np.testing.assert_allclose(decode(rates, y[:, 0], rng)[1], 1, atol=1e-8)


def test_noise_of_known_size_gives_the_known_r2():
    """y = x + noise of the same variance: the best decoder has R^2 = 1/2."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((1, 4000, 1))
    y = x[0, :, 0] + rng.standard_normal(4000)
    # The standard error of R^2 at 4000 trials is about 0.012.
    assert decode(x, y, rng)[0] == pytest.approx(0.5, abs=0.04)


def test_more_units_than_trials_do_not_win_by_fitting_noise():
    rng = np.random.default_rng(3)
    rates, y = rng.standard_normal((20, 40, 100)), rng.standard_normal((40, 5))
    chosen, interpolating = decode(rates, y, rng), decode(rates, y, rng, penalties=(1e-6,))
    # At chance R^2 is about -1/40; a decoder that fits the training trials exactly does worse.
    assert -0.15 < chosen.mean() < 0.05
    assert interpolating.mean() < chosen.mean() - 0.1


def test_a_fit_that_leaves_no_residual_does_not_win():
    """More units than trials, next to no penalty: residual and 1 - leverage are rounding errors."""
    rng = np.random.default_rng(3)
    rates, y = rng.standard_normal((20, 40, 100)), rng.standard_normal((40, 2))
    found, expected = (
        decode(rates, y, np.random.default_rng(0), penalties=penalties)
        for penalties in ((1e-15, 10.0), (10.0,))
    )
    np.testing.assert_array_equal(found, expected)


@given(seeds, st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_r2_ignores_units_of_measurement(seed, scale, shift):
    rng = np.random.default_rng(seed)
    rates, y = rng.standard_normal((2, 20, 3)), rng.standard_normal(20)
    y = y + rates[0, :, 0]
    value = decode(rates, y, np.random.default_rng(seed))
    other = decode(scale * rates + shift, scale * y - shift, np.random.default_rng(seed))
    # Adding up to 10 to numbers of size 1e-3 costs them four digits.
    np.testing.assert_allclose(other, value, rtol=1e-6, atol=1e-6)


def test_constant_rates_and_constant_targets_give_nan():
    rng = np.random.default_rng(0)
    rates = rng.standard_normal((3, 20, 4))
    rates[1] = rates[1, 0]
    y = np.stack([rng.standard_normal(20), np.full(20, 0.1)], axis=1)
    r2 = decode(rates, y, rng)
    np.testing.assert_array_equal(np.isnan(r2), [[False, True], [True, True], [False, True]])


def test_rates_that_are_constant_in_training_trials_alone_predict_the_mean():
    rates = np.zeros((1, 8, 2))
    rates[0, 0] = 1  # differs in one trial, so that the fold with that trial trains on zeros
    r2 = decode(rates, np.arange(8.0), np.random.default_rng(0), n_folds=4)
    assert np.isfinite(r2).all()


def test_decoding_by_tau_tells_slow_from_fast():
    rng = np.random.default_rng(5)
    tau = np.array([2.0, 0.1, 1.5, 0.2, 1.8, 0.3])
    rates = rng.standard_normal((4, 100, 6))
    y = np.stack([rates[2, :, 4], rates[3, :, 1]], axis=1)  # in a slow unit, then in a fast one
    found = decode_by_tau(rates, y, tau, rng, n_random=2)
    assert found.n_units == 3 and found.random.shape == (2, 4, 2)
    assert found.slow[2, 0] > 0.99 and found.fast[2, 0] < 0.1
    assert found.fast[3, 1] > 0.99 and found.slow[3, 1] < 0.1
    assert found.every[2, 0] > 0.99 and found.every[3, 1] > 0.99
    whole = decode_by_tau(rates, y, tau, rng, fraction=1.0, n_random=1)
    for group in (whole.slow, whole.fast, whole.random[0]):
        # The same units in another order, in the same folds.
        np.testing.assert_allclose(group, whole.every, rtol=1e-9, atol=1e-9)
    assert np.isnan(decode_by_tau(rates, y, np.ones(6), rng, n_random=1).slow).all()


def test_aligned_cuts_each_trial_at_its_own_start():
    values = np.arange(60).reshape(10, 3, 2)
    cut = aligned(values, np.array([0, 4, 7]), 3)
    for b, start in enumerate((0, 4, 7)):
        np.testing.assert_array_equal(cut[:, b], values[start : start + 3, b])


# --- effective time constants -------------------------------------------------------------------


def test_spontaneous_rates_are_a_simulation_after_the_burn_in():
    params = init_params(3, 2, 1, 1.0, np.random.default_rng(0))
    rates = spontaneous_rates(
        params, 0.1, np.random.default_rng(1), sigma=0.3, n_trials=4, duration=2.0, burn_in=1.0
    )
    noise = private_noise(params, 0.1, 0.3, 30, 4, np.random.default_rng(1))
    traj = forward(params, np.zeros((30, 4, 2)), 0.1, noise=noise)
    np.testing.assert_array_equal(rates, np.swapaxes(traj.r[11:], 0, 1))
    longer = spontaneous_rates(params, 0.1, np.random.default_rng(1), n_trials=1, duration=1.0)
    assert longer.shape == (1, 10, 3)


def test_effective_tau_of_unconnected_units_is_their_own():
    """Without recurrence a linear unit has the time constant -dt / ln(1 - alpha) = tau."""
    tau = np.array([0.2, 0.5, 1.0])
    params = init_params(3, 1, 1, tau, np.random.default_rng(0), gain=0)
    result = effective_tau(
        params, 0.02, np.random.default_rng(1), phi="linear", method="exponential",
        n_trials=100, duration=10.0,
    )  # fmt: skip
    # 100 trials of 10 s estimate tau = 1 s with a standard error of about 5 %.
    np.testing.assert_allclose(result.tau, tau, rtol=0.15)


@given(seeds, st.integers(3, 40), st.booleans())
def test_tau_spread_against_plain_formulas(seed, n, ties):
    rng = np.random.default_rng(seed)
    intrinsic = rng.choice([0.5, 1.5], n) if ties else rng.uniform(0.1, 2, n)
    effective = intrinsic * rng.lognormal(0, 0.5, n)
    effective[n // 2 :][rng.random(n - n // 2) < 0.2] = np.nan
    spread = tau_spread(intrinsic, effective, rng, n_boot=50)
    known = np.isfinite(effective)
    a, b = intrinsic[known], effective[known]
    assert (spread.n_units, spread.n_left_out) == (known.sum(), (~known).sum())
    if len(b) < 3:
        assert np.isnan(spread.cv.value)
        return
    assert spread.cv.value == pytest.approx(np.std(b, ddof=1) / np.mean(b))
    assert spread.sd_log.value == pytest.approx(np.std(np.log(b), ddof=1))
    low, high = np.percentile(b, [10, 90])
    assert spread.quantile_range.value == pytest.approx(high - low)
    if np.ptp(a) > 0:
        assert spread.rank_correlation.value == pytest.approx(spearmanr(a, b).statistic)
    else:
        assert np.isnan(spread.rank_correlation.value)
    for estimate in (spread.cv, spread.sd_log, spread.quantile_range):
        assert estimate.low <= estimate.high


def test_intervals_cover_the_truth():
    """sd of ln tau is 0.5 and Spearman's rho of the pairs is 0.6, by construction."""
    rng = np.random.default_rng(0)
    rho = 2 * np.sin(np.pi * 0.6 / 6)  # Pearson's of Gaussian pairs whose Spearman's is 0.6
    inside = np.zeros(3)
    for _ in range(200):
        a, b, c = rng.standard_normal((3, 100))
        b = rho * a + np.sqrt(1 - rho**2) * b
        spread = tau_spread(np.exp(a), np.exp(0.5 * b), rng, n_boot=200)
        change = spread_change(np.exp(0.25 * (b + c)), np.exp(0.5 * b), rng, n_boot=200)
        truths = (0.5, 0.6, np.log(2 / np.sqrt(2)))
        for k, estimate in enumerate((spread.sd_log, spread.rank_correlation, change)):
            inside[k] += estimate.low <= truths[k] <= estimate.high
    # 95 % intervals by percentiles at n = 100 are somewhat short; 200 runs have an error of 2 %.
    assert (inside / 200 > 0.88).all() and (inside / 200 < 1).all()


def test_a_wider_spread_after_training_is_a_positive_change():
    rng = np.random.default_rng(0)
    before = rng.lognormal(0, 0.3, 50)
    after = before**3
    change = spread_change(before, after, rng)
    # ln sd(3 ln tau) - ln sd(ln tau) is ln 3 in every bootstrap sample too, if units are paired.
    np.testing.assert_allclose(change, np.log(3), rtol=1e-12)
    after[:10], before[-5:] = np.nan, np.nan
    np.testing.assert_allclose(spread_change(before, after, rng), np.log(3), rtol=1e-12)


def test_equal_and_missing_time_constants_give_nan():
    rng = np.random.default_rng(0)
    varied = rng.uniform(0.5, 1, 10)
    assert np.isnan(tau_spread(np.ones(10), varied, rng).rank_correlation).all()
    assert np.isnan(tau_spread(varied, np.ones(10), rng).rank_correlation).all()
    assert tau_spread(varied, np.ones(10), rng).sd_log.value == 0
    assert np.isnan(spread_change(np.ones(10), varied, rng)).all()
    assert np.isnan(spread_change(varied, np.ones(10), rng)).all()
    for n in (7, 10, 50, 99):  # logarithms whose mean is rounded differ from it a little
        for equal in (np.full(n, LONGEST), np.full(n, 0.1), np.full(n, 0.7)):
            varied = rng.uniform(0.5, 1, n)
            assert tau_spread(varied, equal, rng).sd_log == (0, 0, 0)
            assert np.isnan(spread_change(equal, varied, rng)).all()
            assert np.isnan(spread_change(varied, equal, rng)).all()
    nothing = tau_spread(varied, np.full(len(varied), np.nan), rng)
    assert nothing.n_left_out == 99 and np.isnan(nothing.cv).all()


def test_the_burn_in_is_ten_times_the_longest_tau():
    params = init_params(3, 2, 1, np.array([0.2, 0.5, 0.4]), np.random.default_rng(0))
    a, b = (
        spontaneous_rates(params, 0.1, np.random.default_rng(1), n_trials=2, duration=1.0, **given)
        for given in ({}, {"burn_in": 5.0})
    )
    np.testing.assert_array_equal(a, b)


def test_what_would_never_end_is_refused():
    rng = np.random.default_rng(0)
    params = init_params(4, 1, 1, np.arange(1.0, 5), rng)
    rates, y, tau = rng.standard_normal((2, 8, 3)), np.arange(8.0), np.arange(1.0, 4)
    for call, words in [
        (lambda n: decode_by_tau(rates, y, tau, rng, n_random=n, n_folds=2), "n_random.*<= 10000"),
        (lambda n: lesion_by_tau(params, weights_heard, rng, n_random=n), "n_random.*<= 10000"),
        (lambda n: tau_spread(tau, tau, rng, n_boot=n), "n_boot.*<= 100000"),
        (lambda n: spread_change(tau, tau, rng, n_boot=n), "n_boot.*<= 100000"),
        (lambda n: spontaneous_rates(params, 0.1, rng, n_trials=n), "n_trials.*<= 10000"),
        (lambda n: spontaneous_rates(params, 0.1, rng, duration=n), "duration.*<= 100000"),
        (lambda n: spontaneous_rates(params, 0.1, rng, burn_in=n), "burn_in.*<= 100000"),
    ]:
        for much in (1e20, 10**400):
            with pytest.raises(ValueError, match=f"{words}, got"):
                call(much)


def test_bad_arguments_are_refused():
    rng = np.random.default_rng(0)
    params = init_params(4, 1, 1, np.arange(1.0, 5), rng)
    rates, y, tau = np.ones((2, 8, 3)), np.arange(8.0), np.ones(3)
    task = make_task("multi_timescale", dt=0.1)
    for call, words in [
        (lambda: lesion(params, [4]), "units.*N - 1 = 3"),
        (lambda: lesion(params, [-1]), "units.*-1"),
        (lambda: lesion(params, [0.5]), "units.*whole"),
        (lambda: lesion(params, [True, False]), r"units.*\(4,\)"),
        (lambda: lesion_by_tau(params, weights_heard, rng, fractions=[1.1]), "fractions.*1.1"),
        (lambda: lesion_by_tau(params, weights_heard, rng, n_random=0), "n_random.*0"),
        (lambda: lesion_by_tau(params, weights_heard, rng, tau=[1.0]), r"tau.*\(4,\)"),
        (lambda: accuracy_on(task, task.trials(2, rng))(params), "u: "),
        (lambda: decode(rates[0], y, rng), r"rates.*\(time, trials, units\)"),
        (lambda: decode(rates, y[:5], rng), "targets.*8 trials"),
        (lambda: decode(rates, y * np.nan, rng), "targets.*nan"),
        (lambda: decode(rates, y, rng, n_folds=1), "n_folds.*1"),
        (lambda: decode(rates, y, rng, n_folds="five"), "n_folds.*integer.*five"),
        (lambda: decode(rates, y, rng, n_folds=np.nan), "n_folds.*integer.*nan"),
        (lambda: decode(rates, y, rng, n_folds=5), "n_folds.*at most"),
        (lambda: decode(rates, y, rng, n_folds=4, penalties=[0.0]), "penalties"),
        (lambda: decode_by_tau(rates, y, tau[:2], rng), r"tau.*\(3,\)"),
        (lambda: decode_by_tau(rates, y, tau, rng, fraction=1.5), "fraction.*1.5"),
        (lambda: decode_by_tau(rates, y, tau, rng, n_random=0), "n_random"),
        (lambda: aligned(rates, [0] * 7, 1), "starts"),
        (lambda: aligned(rates, [0] * 8, 3), "starts.*values has 2"),
        (lambda: aligned(rates, [0.0] * 8, 1), "starts.*whole"),
        (lambda: spontaneous_rates(params, 0.1, rng, duration=0), "duration"),
        (lambda: spontaneous_rates(params, 0.1, rng, burn_in=-1), "burn_in.*-1"),
        (lambda: spontaneous_rates(params, 0, rng), "dt"),
        (lambda: tau_spread(tau, tau[:2], rng), "effective.*shape"),
        (lambda: tau_spread(tau, -tau, rng), "effective.*positive"),
        (lambda: tau_spread(tau, tau * np.inf, rng), "effective.*finite"),
        (lambda: tau_spread(tau, tau, rng, n_boot=0), "n_boot"),
        (lambda: tau_spread(tau, tau, 1), "rng: .*int"),
        (lambda: spread_change(tau, tau, 1), "rng: .*int"),
        (lambda: decode(rates, y, 1, n_folds=2), "rng: .*int"),
        (lambda: decode_by_tau(rates, y, tau, 1, n_folds=2), "rng: .*int"),
        (lambda: lesion_by_tau(params, lambda _: 0.5, 1), "rng: .*int"),
        (lambda: spontaneous_rates(params, 0.1, rng, duration=None), "duration: .*None"),
        (lambda: spread_change(tau, tau[:2], rng), "after.*shape"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
