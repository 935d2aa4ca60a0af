"""Effective timescales: the closed form, what the fit must not depend on, what it must refuse."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from scipy.signal import lfilter

from tau_rnn.timescales import (
    autocovariance,
    expected_acf,
    fit_timescales,
    linear_network_acf,
    mixtures,
    timescale_of_acf,
    timescale_of_decay,
)
from tau_rnn.timescales import fit as fit_module
from tau_rnn.timescales import likelihood as lk
from tau_rnn.timescales import moments as mo
from tau_rnn.timescales.design import Design
from tau_rnn.timescales.mixtures import fit_mixture

DT = 0.02
seeds = st.integers(0, 2**32 - 1)


def ou(seed, n_units=8, tau=0.2, n=250, dt=DT, n_trials=60):
    """Exactly sampled stationary Ornstein-Uhlenbeck units (trials, time, units)."""
    phi = np.exp(-dt / tau)
    e = np.random.default_rng(seed).standard_normal((n_trials, n, n_units))
    e[:, 1:] *= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], e, axis=1)


def whole(n, order):
    """One trial without gaps."""
    return Design(np.ones((1, n), dtype=bool), np.zeros(1, dtype=int), order)


def positive_definite(rng, n):
    """A random positive-definite sequence gamma(0..n-1): a mixture of cosines."""
    return np.cos(np.outer(np.arange(n), rng.uniform(0, np.pi, 5))) @ rng.exponential(size=5)


def words(result, unit=0):
    return set(filter(None, result.flag[unit].split(",")))


# --- the closed form ----------------------------------------------------------------------------


@given(n=st.integers(1, 60), seed=seeds)
def test_expected_acf_is_the_mean_diagonal_of_HRH(n, seed):
    gamma = positive_definite(np.random.default_rng(seed), n)
    R = gamma[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))]
    H = np.eye(n) - 1 / n
    brute = [np.diagonal(H @ R @ H, k).mean() for k in range(n)]
    np.testing.assert_allclose(expected_acf(gamma, n), brute, atol=1e-12 * gamma[0])


@given(n=st.integers(2, 12), M=st.integers(2, 5), seed=seeds)
def test_expected_acf_over_trials_is_the_joint_centring_of_trials_and_time(n, M, seed):
    gamma = positive_definite(np.random.default_rng(seed), n)
    R = gamma[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))]
    C = np.kron(np.eye(M) - 1 / M, np.eye(n) - 1 / n)
    joint = (C @ np.kron(np.eye(M), R) @ C).reshape(M, n, M, n)
    for m in range(M):
        brute = [np.diagonal(joint[m, :, m], k).mean() for k in range(n)]
        np.testing.assert_allclose(expected_acf(gamma, n, M), brute, atol=1e-12 * gamma[0])


@given(n=st.integers(2, 300), tau=st.floats(0.3, 500), s2=st.floats(0.01, 100))
def test_expected_acf_of_an_OU_process_has_the_written_sum(n, tau, s2):
    phi, k = np.exp(-1 / tau), np.arange(n)
    K = n - k
    S = s2 / (n * (1 - phi)) * (K * (1 + phi) - (phi + phi ** (k + 1)) * (1 - phi**K) / (1 - phi))
    written = s2 * phi**k - 2 * S / K + S[0] / n
    # The written sum divides by (1 - phi)^2, which costs digits at large tau.
    atol = 1e-13 * s2 / (1 - phi) ** 2 + 1e-13 * s2
    np.testing.assert_allclose(expected_acf(s2 * phi**k, n), written, rtol=0, atol=atol)


@given(n=st.integers(2, 80), a=st.floats(-10, 10), b=st.floats(-10, 10), seed=seeds)
def test_expected_acf_is_linear_and_sends_constants_to_zero(n, a, b, seed):
    rng = np.random.default_rng(seed)
    f, g = rng.standard_normal((2, n))
    together = expected_acf(a * f + b * g, n)
    np.testing.assert_allclose(
        together, a * expected_acf(f, n) + b * expected_acf(g, n), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(expected_acf(np.full(n, a), n), 0, atol=1e-12)
    delta = np.eye(1, n)[0]
    np.testing.assert_allclose(expected_acf(delta, n), delta - 1 / n, atol=1e-14)
    np.testing.assert_allclose(expected_acf(np.stack([f, g]), n)[1], expected_acf(g, n))
    np.testing.assert_array_equal(expected_acf(f, n, 1), 0)  # of one trial its mean leaves nothing


def test_mean_autocovariance_of_simulated_trials_is_the_expected_one():
    x = ou(0, n_units=40, tau=0.5, n=60, n_trials=200)
    expected = expected_acf(np.exp(-DT * np.arange(60) / 0.5), 60, 200)
    found = autocovariance(x)
    error = found.std(axis=1, ddof=1) / np.sqrt(40)
    # 60 correlated standard scores: 5 is out of reach by chance; a plain exponential is off by 50.
    assert np.abs((found.mean(axis=1) - expected) / error).max() < 5


# --- the autocovariance -------------------------------------------------------------------------


@pytest.mark.parametrize("center", ["trial", "psth"])
def test_autocovariance_is_the_sum_of_products(center):
    rng = np.random.default_rng(3)
    x, labels = rng.standard_normal((7, 11, 2)), np.array(list("aabbbab"))
    y = x.copy()
    for label in "ab":
        y[labels == label] -= x[labels == label].mean(axis=0)
    if center == "trial":
        y -= y.mean(axis=1, keepdims=True)
    found = autocovariance(x, conditions=labels, center=center, n_lags=6)
    assert found.shape == (6, 2)
    for k in range(6):
        np.testing.assert_allclose(
            found[k], np.mean(y[:, : 11 - k] * y[:, k:], axis=(0, 1)), atol=1e-14
        )


@given(n=st.integers(3, 60), n_trials=st.integers(2, 8), seed=seeds)
def test_trial_constants_and_a_common_time_course_leave_the_autocovariance(n, n_trials, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_trials, n, 2))
    moved = x + rng.standard_normal((n_trials, 1, 2)) + rng.standard_normal((1, n, 2))
    np.testing.assert_allclose(autocovariance(moved), autocovariance(x), rtol=0, atol=1e-12)


# --- invariances of the fit ---------------------------------------------------------------------


@pytest.mark.parametrize("model", ["exp", pytest.param("auto", marks=pytest.mark.slow)])
def test_tau_does_not_depend_on_scale_order_of_trials_or_direction_of_time(model):
    x = ou(1, n_units=2, n=120, n_trials=40)
    rng = np.random.default_rng(2)
    options = {"ci": None, "model": model}
    tau = fit_timescales(x, DT, **options).tau
    assert np.isfinite(tau).all()
    for same in (x * 1e-6, x * 1e6, x * 1e-150, -x, x[rng.permutation(len(x))], x[:, ::-1]):
        np.testing.assert_allclose(fit_timescales(same, DT, **options).tau, tau, rtol=1e-8)
    np.testing.assert_allclose(fit_timescales(x, 7 * DT, **options).tau, 7 * tau, rtol=1e-8)
    shifted = x + rng.standard_normal((len(x), 1, 2)) * 5 + rng.standard_normal((1, 120, 2))
    np.testing.assert_allclose(
        fit_timescales(shifted, DT, center="trial", **options).tau,
        fit_timescales(x, DT, center="trial", **options).tau,
        rtol=1e-8,
    )


def test_amplitude_is_the_variance_whatever_the_number_of_conditions():
    x = 3 * ou(2, n_units=20, n_trials=80)
    for labels in (None, np.arange(80) % 40):
        found = fit_timescales(x, DT, conditions=labels, ci=None).amplitude.mean()
        # 20 units x 80 trials x 12 independent samples: 9 +- 0.1; half of it would be lost
        # to 40 conditions if their means were not accounted for.
        assert abs(found / 9 - 1) < 0.05


def test_units_are_independent_of_each_other_and_of_chunks(monkeypatch):
    x = ou(3, n_units=5)
    together = fit_timescales(x, DT, n_boot=20)
    monkeypatch.setattr(fit_module, "CHUNK", 1)
    apart = fit_timescales(x, DT, n_boot=20)
    for name, a, b in zip(together._fields, together, apart):
        if isinstance(a, np.ndarray) and a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-9, err_msg=name)
        else:
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_rates_are_left_as_they_were():
    x = ou(4, n_units=1)
    x[0, 0, 0] = np.nan
    before = x.copy()
    fit_timescales(x, DT, n_boot=2)
    np.testing.assert_array_equal(x, before)


# --- exact recovery from exact autocovariances --------------------------------------------------


@given(
    tau=st.floats(0.03, 4.0),
    center=st.sampled_from(["trial", "psth"]),
    noise=st.sampled_from([0.0, 0.5]),
    window=st.sampled_from([1.0, 2.0, 4.0]),
    min_lag=st.sampled_from([0, 3]),
)
def test_an_exact_expectation_gives_tau_back(tau, center, noise, window, min_lag):
    design = whole(200, int(center == "trial"))
    w = mo.Window(design, DT, window)
    gamma = 2 * np.exp(-DT * np.arange(200) / tau) + noise * np.eye(1, 200)[0]
    first = np.array([max(min_lag, int(noise > 0))])
    fit = mo.fit_window(np.atleast_2d(design.expected_acf(gamma)), w, first)
    # The search polishes log tau to 1e-6 of itself; a slow unit under "trial" has a flat optimum.
    np.testing.assert_allclose(np.exp(fit.log_tau), tau, rtol=1e-4)
    np.testing.assert_allclose(fit.amplitude, 2, rtol=1e-3)
    assert fit.bound[0] == 0
    # The window agrees with the tau it gave, up to the spacing of the grid (3 %) and one lag.
    assert abs(fit.last[0] - w.last_lag(np.array([tau]), first, 199)[0]) <= 0.03 * fit.last[0] + 1


def modes_of(gamma, design, n_trials=100):
    """Modes whose powers are exactly the expected ones."""
    log_tau, shapes, noise = lk.expected(design, DT)
    found, sizes = lk.binned(design.expected_power(gamma)), lk.bins(design.n)[1]
    return lk.Modes(found, found[:, None], sizes, float(n_trials), log_tau, shapes, noise)


@pytest.mark.parametrize("mode0", ["in", "out", "free", "linear"])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.5, 5.0])
@pytest.mark.parametrize("tau", [0.03, 0.2, 1.0, 4.0])
def test_exact_powers_give_tau_and_both_variances_back(tau, noise, mode0):
    design = whole(250, 0)
    m = modes_of(2 * np.exp(-DT * np.arange(250) / tau) + noise * np.eye(1, 250)[0], design)
    (found,) = lk.fit(m, [(mode0, noise > 0)])
    log_tau, a, b = found.best
    # Parabolas of a grid over which D rises by 30: a tenth of a standard error, 1 in D.
    V = 2 * m.shapes(np.log([tau])) + noise * m.noise
    assert abs(found.least - lk.deviance(m, mode0, V))[0] < 0.02
    np.testing.assert_allclose(np.exp(log_tau), tau, rtol=4e-2)
    np.testing.assert_allclose([a[0], b[0]], [2, noise], rtol=4e-2, atol=2e-3)


def noisy_modes(gamma, design, n_units=8, n_trials=40):
    """Modes of units whose powers scatter about the expected ones as those of normal samples do."""
    m = modes_of(gamma, design, n_trials)
    half = n_trials * m.sizes / 2
    powers = m.found * np.random.default_rng(0).gamma(half, 1 / half, (n_units, len(half)))
    return m._replace(found=powers, by_trial=powers[:, None])


def descend(D, start):
    """A least of D near the start, found by a search of another kind."""
    return optimize.minimize(D, start, method="Nelder-Mead", options={"fatol": 1e-6, "xatol": 1e-5})


@pytest.mark.parametrize("mode0", ["in", "out", "free", "linear"])
@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("wide", [True, False])
def test_the_search_for_one_exponential_ends_at_the_least_deviance(mode0, noisy, wide):
    design = whole(300, 0)
    m = noisy_modes(np.exp(-DT * np.arange(300) / 0.3) + 0.3 * noisy * np.eye(1, 300)[0], design)
    (found,) = lk.fit(m, [(mode0, noisy)], wide)
    for u, (log_tau, a, b) in enumerate(zip(*found.best)):
        one = m.take([u])

        def D(p, one=one):
            noise = np.exp(p[2]) * one.noise if noisy else 0
            return lk.deviance(one, mode0, np.exp(p[1]) * one.shapes(p[:1]) + noise)[0]

        best = descend(D, np.log([np.exp(log_tau), a, b][: 2 + noisy]))
        # A tenth of a standard error, 0.06 at least, of log tau is 0.01 in D: parabolas miss less.
        assert abs(found.least[u] - best.fun) < 0.01
        assert abs(log_tau - best.x[0]) < 0.006


def test_a_pair_found_in_the_other_order_changes_places_with_its_variances(monkeypatch):
    starts = mixtures.starts
    monkeypatch.setattr(mixtures, "starts", lambda *given: [p[::-1] for p in starts(*given)])
    test_an_exact_mixture_gives_both_timescales_back()


def test_both_variances_are_best_wherever_an_interval_may_end():
    design = whole(50, 0)
    gamma = 0.05 * np.exp(-DT * np.arange(50) / 0.12) + 0.95 * np.eye(1, 50)[0]
    m = noisy_modes(gamma, design, n_units=12)
    (p,) = lk.fit(m, [("free", True)], wide=1)
    for u in range(12):
        one = m.take([u])
        for log_tau, found in zip(p.log_tau[u, ::2], p.deviance[u, ::2]):
            E = one.shapes(np.array([log_tau]))

            def D(q, one=one, E=E):
                return lk.deviance(one, "free", np.exp(q[0]) * E + np.exp(q[1]) * one.noise)[0]

            if found < p.least[u] + 7:
                # 0.12; without shorter steps, 0.4: the height of an interval is 3.8
                assert found - descend(D, np.log([0.1, 0.9])).fun < 0.2


@pytest.mark.parametrize("noisy", [True, False])
def test_the_search_for_two_exponentials_ends_at_the_least_deviance(noisy):
    design, k = whole(300, 0), DT * np.arange(300)
    gamma = 0.6 * np.exp(-k / 1.0) + 0.4 * np.exp(-k / 0.1) + 0.1 * noisy * np.eye(1, 300)[0]
    m = noisy_modes(gamma, design, n_units=3)
    for u in range(3):
        one = m.take([u])
        mix = fit_mixture("two_exp", one, design, DT, "in", noisy)

        def D(p, one=one):
            V = np.exp(p[2:4]) @ one.shapes(p[:2]) + (np.exp(p[4]) * one.noise if noisy else 0)
            return lk.deviance(one, "in", V[None])[0]

        start = [*mix.shape, *np.log([*mix.amplitude, mix.noise][: 2 + noisy])]
        assert mix.deviance - descend(D, start).fun < 1e-4


def test_an_exact_mixture_gives_both_timescales_back():
    design, k = whole(250, 0), DT * np.arange(250)
    gamma = 7 * np.exp(-k / 1.0) + 3 * np.exp(-k / 0.1) + 2 * np.eye(1, 250)[0]
    for mode0 in ("in", "out"):
        mix = fit_mixture("two_exp", modes_of(gamma, design), design, DT, mode0, True)
        np.testing.assert_allclose(np.exp(mix.shape), [1.0, 0.1], rtol=1e-3)
        np.testing.assert_allclose([*mix.amplitude, mix.noise], [7, 3, 2], rtol=1e-3)


@pytest.mark.parametrize(("tau", "f"), [(0.5, 1.0), (0.3, 6.0), (1.0, 0.8), (0.2, 2.0)])
def test_an_exact_damped_cosine_gives_tau_and_frequency_back(tau, f):
    design, k = whole(250, 0), DT * np.arange(250)
    gamma = np.exp(-k / tau) * np.cos(2 * np.pi * f * k)
    mix = fit_mixture("cos", modes_of(gamma, design), design, DT, "out", False)
    np.testing.assert_allclose(np.exp(mix.shape), [tau, f], rtol=1e-3)
    np.testing.assert_allclose(mix.amplitude, 1, rtol=1e-3)


# --- recovery from simulated units --------------------------------------------------------------


@pytest.mark.parametrize("center", ["auto", "trial", "psth"])
@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_recovers_the_timescale_of_OU_units(center, tau):
    result = fit_timescales(ou(5, n_units=40, tau=tau), DT, center=center, ci=None)
    # RMS error of one unit is 6 % and 13 %; the mean of 40 is known to about 2 %. Plain fits of
    # trial-centred autocovariances are off by 10 % and 40 %.
    assert abs(result.tau.mean() / tau - 1) < 0.05
    assert abs(result.tau_1e.mean() / tau - 1) < 0.07  # less precise: one lag decides
    assert abs(result.tau_integral.mean() / tau - 1) < 0.15  # stops at a noisy first zero
    misfit = result.acf[:15] - result.acf_fit[:15]
    assert np.abs(misfit.mean(axis=1)).max() < 0.05


def test_offsets_are_found_and_drop_out():
    x = ou(6, n_units=20)
    offset = np.random.default_rng(0).standard_normal((60, 1, 20))
    clean, moved = (fit_timescales(rates, DT, ci=None) for rates in (x, x + offset))
    assert np.mean(clean.center_used == "psth") > 0.85  # 5 % false alarms
    assert np.all(moved.center_used == "trial")
    assert all("dc_drift" in words(moved, i) for i in range(20))
    assert abs(np.median(clean.dc_ratio) - 1) < 0.15 and np.median(moved.dc_ratio) > 5
    assert abs(moved.tau.mean() / 0.2 - 1) < 0.05
    forced = fit_timescales(x + offset, DT, center="psth", ci=None)
    assert np.median(forced.tau) > 1 and "dc_drift" in words(forced)


def test_conditions_of_different_mean_and_a_common_drive_drop_out():
    x, rng = ou(7, n_units=40), np.random.default_rng(1)
    labels = np.array(["left", "right", "none"])[np.arange(60) % 3]
    means = 3 * rng.standard_normal((3, 250, 40))
    _, group = np.unique(labels, return_inverse=True)
    result = fit_timescales(x + means[group], DT, conditions=labels, ci=None)
    np.testing.assert_allclose(
        result.tau, fit_timescales(x, DT, conditions=labels, ci=None).tau, rtol=1e-8
    )
    assert abs(result.tau.mean() / 0.2 - 1) < 0.05


def test_trials_alone_in_their_condition_are_left_out():
    x = ou(8, n_units=2, n_trials=42)
    labels = np.r_[np.arange(40) % 2, 7, 8]
    result = fit_timescales(x, DT, conditions=labels, n_boot=20)
    same = fit_timescales(x[:40], DT, conditions=labels[:40], n_boot=20)
    assert result.n_trials == 40
    np.testing.assert_array_equal(result.tau_ci, same.tau_ci)


def test_observation_noise_is_noticed_and_left_out():
    x = ou(9, n_units=20)
    noisy = x + np.sqrt(0.3) * np.random.default_rng(2).standard_normal(x.shape)
    result, clean = fit_timescales(noisy, DT, ci=None), fit_timescales(x, DT, ci=None)
    assert all("nugget" in words(result, i) for i in range(20))
    assert not any("nugget" in words(clean, i) for i in range(20))
    assert abs(result.tau.mean() / 0.2 - 1) < 0.05
    assert abs(result.amplitude.mean() - 1) < 0.05
    naive = fit_timescales(noisy, DT, ci=None, use_lag0=True)
    assert naive.tau.mean() < 0.92 * result.tau.mean()  # what is avoided


def test_units_as_fast_as_the_step_are_not_taken_for_noise():
    fast = fit_timescales(ou(30, 100, tau=DT, n=60, n_trials=12), DT, ci=None)
    # The jump at lag 0 must exceed three standard errors; without that, 37 % are taken for noise.
    assert sum("nugget" in words(fast, i) for i in range(100)) < 10


def test_a_second_timescale_is_not_taken_for_noise():
    x = np.sqrt(0.5) * (ou(18, 30, 0.1, n_trials=100) + ou(19, 30, 1.0, n_trials=100))
    result = fit_timescales(x, DT, center="trial", ci=None)
    # Lag 0 lies above the fit to the others, but without a jump.
    assert sum("nugget" in words(result, i) for i in range(30)) <= 3


@pytest.mark.slow
def test_two_timescales_are_told_from_one():
    x = np.sqrt(0.5) * (ou(10, 15, 0.1, n_trials=100) + ou(11, 15, 1.0, n_trials=100))
    result = fit_timescales(x, DT, model="auto", ci=None)
    assert np.all(result.model_used == "two_exp")
    assert abs(result.tau.mean() - 1) < 0.2 and abs(result.tau_fast.mean() / 0.1 - 1) < 0.1
    assert abs(result.fraction_slow.mean() - 0.5) < 0.1
    single = fit_timescales(ou(12, 15, 0.5, n_trials=100), DT, model="auto", ci=None)
    assert np.mean(single.model_used == "exp") > 0.9
    assert np.isnan(single.tau_fast[single.model_used == "exp"]).all()


def test_a_second_decay_within_the_step_is_noise_and_no_answer():
    noise = 0.7 * np.random.default_rng(5).standard_normal((60, 250, 5))
    x = ou(31, 5, tau=0.5) + noise
    for use_lag0 in ("auto", True, False):
        result = fit_timescales(x, DT, model="two_exp", use_lag0=use_lag0, ci=None)
        # NaN, or a weak second decay that noise in the estimates suggests: never less than dt.
        assert not np.any(result.tau_fast < DT)
        hidden = np.isfinite(result.tau) & np.isnan(result.tau_fast)
        assert all("nugget" in words(result, i) for i in np.flatnonzero(hidden))
        assert np.isnan(result.fraction_slow[hidden]).all()
        # Where noise is projected out, a forced second decay may split the one there is, or be
        # as slow as the search goes (NaN).
        assert abs(np.nanmedian(result.tau) / 0.5 - 1) < 0.1
        if use_lag0 is False:
            continue  # noise is projected out: there need be no second decay
        assert hidden.mean() > 0.5
        assert abs(result.amplitude[hidden].mean() - 1) < 0.1  # without the 0.49 of the noise
        misfit = (result.acf - result.acf_fit)[:, hidden].mean(axis=1)
        assert np.abs(misfit[:15]).max() < 0.06  # lag 0 included


@pytest.mark.slow
def test_two_exponentials_are_ordered_and_never_the_end_of_the_search():
    rng = np.random.default_rng(6)
    walk = np.cumsum(rng.standard_normal((60, 250, 12)), axis=1)
    ramp = np.linspace(0, 1, 250)[:, None] * rng.standard_normal((60, 1, 12))
    ramp += 0.1 * rng.standard_normal((60, 250, 12))
    end = 3 * 250 * DT
    lost = 0
    for x in (walk, ramp):
        result = fit_timescales(x, DT, model="two_exp", n_boot=20)
        lost += np.isnan(result.tau).sum()
        pair = result.model_used == "two_exp"
        assert not np.any(result.tau[pair] >= end) and not np.any(result.tau < result.tau_fast)
        low, high = result.tau_ci[pair].T
        assert not np.any(np.isfinite(high) & (high >= end)) and not np.any(low > high)
        known = "exceeds_trial", "oscillatory", "trend"  # a ramp is a line, and it is taken out
        assert all(any(word in f for word in known) for f in result.flag)
    assert lost < 24


def test_two_exponentials_use_lag_0_as_asked():
    x = np.sqrt(0.5) * (ou(32, 6, 0.1, n_trials=100) + ou(33, 6, 1.0, n_trials=100))
    x += np.sqrt(0.3) * np.random.default_rng(7).standard_normal(x.shape)
    options = {"model": "two_exp", "ci": None, "center": "trial"}
    without, naive = (fit_timescales(x, DT, use_lag0=use, **options) for use in (False, True))
    assert abs(without.tau_fast.mean() / 0.1 - 1) < 0.2
    # With lag 0, noise of variance 0.3 passes for a part of the faster decay, or for all of it.
    assert np.nan_to_num(naive.tau_fast).mean() < 0.8 * without.tau_fast.mean()


def test_a_damped_cosine_and_the_flag_of_one_who_did_not_ask_for_it():
    pole = np.exp((-1 / 0.5 + 2j * np.pi) * DT)
    e = np.random.default_rng(3).standard_normal((2, 80, 250, 8))
    e = e[0] + 1j * e[1]
    e[:, 1:] *= np.sqrt(1 - abs(pole) ** 2)
    x = lfilter([1.0], [1.0, -pole], e, axis=1).real
    result = fit_timescales(x, DT, model="cos", n_boot=20)
    assert abs(result.tau.mean() / 0.5 - 1) < 0.07 and abs(result.frequency.mean() - 1) < 0.02
    assert np.all(result.tau_ci[:, 0] < result.tau) and np.all(result.tau < result.tau_ci[:, 1])
    plain = fit_timescales(x, DT, ci=None)
    assert np.all(plain.flag == "oscillatory") and np.isnan(plain.tau).all()


def test_intervals_are_reproducible_and_hold_the_truth_as_often_as_they_say():
    x = ou(13, n_units=60)
    result = fit_timescales(x, DT)
    low, high = result.tau_ci.T
    # 60 intervals of 95 %: fewer than 50 or all far too wide would be 4 standard errors away.
    assert 50 <= np.sum((low <= 0.2) & (0.2 <= high))
    assert np.median(high / low) < 1.6
    few = x[:, :, :10]
    again, other_seed = (fit_timescales(few, DT, seed=seed).tau_ci for seed in (0, 1))
    np.testing.assert_array_equal(again, fit_timescales(few, DT).tau_ci)
    # The bootstrap is for those of which the window says something else.
    assert 5 <= np.sum((again == other_seed).all(axis=1)) < 10
    np.testing.assert_allclose(again, result.tau_ci[:10], rtol=1e-9)
    assert np.isnan(fit_timescales(few, DT, ci=None).tau_ci).all()


# --- units that cannot be fitted ----------------------------------------------------------------


def awkward(n_trials=40, n=200):
    """One unit for each flag, and a sound one at the end."""
    rng = np.random.default_rng(4)
    white = rng.standard_normal((n_trials, n + 1))
    x = ou(14, 7, n=n, n_trials=n_trials)
    x[:, :, 0] = 3.0
    x[3, 7, 1] = np.inf
    x[:, :, 2] = white[:, 1:]
    x[:, :, 3] = np.diff(white, axis=1)
    x[:, :, 4] = np.cumsum(white[:, 1:], axis=1)
    x[:, :, 5] = np.sin(np.arange(n))  # the same in every trial: nothing fluctuates
    return x


def test_what_cannot_be_fitted_is_flagged_and_never_a_bound():
    result = fit_timescales(awkward(), DT, n_boot=50)
    flags = ["constant", "nonfinite", "no_power", "no_positive_decay"]
    assert list(result.flag[:4]) == flags
    assert "exceeds_trial" in words(result, 4) and result.flag[5] == "constant"
    assert result.flag[6] == ""
    assert np.isnan(result.tau[[0, 1, 2, 3, 5]]).all()
    np.testing.assert_array_equal(result.tau_ci[2], [0, np.inf])
    ruled_out = fit_timescales(awkward(), DT, use_lag0=True)  # white is then faster than the step
    assert "unresolved" in words(ruled_out, 2)
    np.testing.assert_array_equal(ruled_out.tau_ci[2], [0, DT])
    assert 0 < result.tau_ci[4, 0] < np.inf and result.tau_ci[4, 1] == np.inf
    assert abs(result.tau[6] / 0.2 - 1) < 0.3
    short = fit_timescales(awkward()[:, :9], DT, n_boot=5)
    assert short.flag[6] == "too_few_samples" and np.isnan(short.tau).all()


def test_a_timescale_below_the_step_has_an_open_interval():
    result = fit_timescales(ou(15, 4, tau=0.6 * DT, n_trials=200), DT, n_boot=50)
    assert all("unresolved" in words(result, i) for i in range(4))
    assert np.all(result.tau_ci[:, 0] == 0)


def test_two_exponentials_from_too_few_trials():
    result = fit_timescales(ou(16, 2, n_trials=12), DT, model="two_exp", n_boot=5)
    assert list(result.flag) == ["too_few_samples"] * 2 and np.isnan(result.tau).all()
    fallback = fit_timescales(ou(16, 2, n_trials=12), DT, model="auto", n_boot=5)
    assert list(fallback.model_used) == ["exp"] * 2 and np.isfinite(fallback.tau).all()


@given(
    n_trials=st.one_of(st.integers(1, 14), st.integers(26, 40)),
    n=st.integers(1, 40),
    kind=st.sampled_from(
        ["normal", "huge", "tiny", "binary", "nan", "constant", "walk", "step", "zigzag", "mixed"]
    ),
    model=st.sampled_from(["exp", "two_exp", "cos", "auto"]),
    center=st.sampled_from(["auto", "trial"]),
    use_lag0=st.sampled_from(["auto", True, False]),
    seed=seeds,
)
def test_no_rates_raise_or_warn(n_trials, n, kind, model, center, use_lag0, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n_trials, n, 2))
    x = {
        "normal": x,
        "huge": x * 1e300,
        "tiny": x * 1e-300,
        "binary": (x > 1).astype(int),
        "nan": np.where(x > 2, np.nan, x),
        "constant": np.ones_like(x),
        "walk": np.cumsum(x, axis=1),
        "mixed": x * 10 ** rng.uniform(-300, 300, (n_trials, 1, 1)),
        "zigzag": x[:, :1] * (-1.0) ** np.arange(n)[:, None],
        "step": np.repeat(x[:, :1], n, axis=1) * (np.arange(n)[:, None] > n // 2),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit_timescales(
            x, DT, model=model, center=center, use_lag0=use_lag0, n_boot=4, seed=seed
        )
    assert result.tau.shape == (2,) and result.acf.shape == (n, 2)
    lost = np.isnan(result.tau)
    assert np.all(result.flag[lost] != ""), "an estimate that is missing says why"
    assert np.all(result.tau[~lost] > 0)
    assert not np.any(result.tau_ci[:, 0] > result.tau_ci[:, 1])


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("rates", lambda x: fit_timescales(x[0], DT)),
        ("rates", lambda x: fit_timescales(x[:0], DT)),
        ("rates", lambda x: fit_timescales(x + 1j, DT)),
        ("dt", lambda x: fit_timescales(x, 0)),
        ("dt", lambda x: fit_timescales(x, np.nan)),
        ("conditions", lambda x: fit_timescales(x, DT, conditions=[1, 2])),
        ("conditions", lambda x: fit_timescales(x, DT, conditions=range(len(x)))),
        ("center", lambda x: fit_timescales(x, DT, center="trail")),
        ("center", lambda x: fit_timescales(x[:1], DT, center="psth")),
        ("model", lambda x: fit_timescales(x, DT, model="exponential")),
        ("window", lambda x: fit_timescales(x, DT, window=0)),
        ("use_lag0", lambda x: fit_timescales(x, DT, use_lag0="yes")),
        ("use_lag0", lambda x: fit_timescales(x, DT, use_lag0=np.array([True, False]))),
        ("ci", lambda x: fit_timescales(x, DT, ci="normal")),
        ("n_boot", lambda x: fit_timescales(x, DT, n_boot=0)),
        ("n_boot", lambda x: fit_timescales(x, DT, n_boot=2.5)),
        ("window", lambda x: fit_timescales(x, DT, window="wide")),
        ("center", lambda x: timescale_of_acf(np.ones((30, 1)), DT, center="auto")),
        ("n_lags", lambda x: autocovariance(x, n_lags=2.5)),
        ("n_lags", lambda x: autocovariance(x, n_lags="three")),
        ("n_lags", lambda x: autocovariance(x, n_lags=21)),
        ("Q", lambda x: linear_network_acf(-np.eye(2), 1e-9 * np.array([[2, 1], [0, 2]]), [0.0])),
        ("seed", lambda x: fit_timescales(ou(17, 1, n_trials=9), DT, seed="x")),
        ("seed", lambda x: fit_timescales(ou(17, 1, n_trials=9), DT, seed=-1)),
        ("conditions", lambda x: fit_timescales(x, DT, conditions=[None, None, "a", "a"])),
        ("n_lags", lambda x: autocovariance(x, n_lags=0)),
        ("center", lambda x: autocovariance(x, center="auto")),
        ("acov", lambda x: expected_acf(np.ones(3), 4)),
        ("n_trials", lambda x: expected_acf(np.ones(3), 3, 0)),
        ("decay", lambda x: timescale_of_decay(1.0, DT)),
        ("decay", lambda x: timescale_of_decay(0.0, DT)),
        ("acov", lambda x: timescale_of_acf(np.ones(30), DT)),
        ("A", lambda x: linear_network_acf(0.5 * np.eye(2), np.eye(2), [0.0])),
        ("A: must be stable", lambda x: linear_network_acf(np.zeros((2, 2)), np.eye(2), [0.0])),
        ("A", lambda x: linear_network_acf(-np.ones((2, 3)), np.eye(2), [0.0])),
        ("Q", lambda x: linear_network_acf(-np.eye(2), np.eye(3), [0.0])),
        ("Q", lambda x: linear_network_acf(-np.eye(2), -np.eye(2), [0.0])),
        ("A", lambda x: linear_network_acf(np.full((2, 2), np.nan), np.eye(2), [0.0])),
        ("A", lambda x: linear_network_acf(1j * np.eye(2), np.eye(2), [0.0])),
        ("lags", lambda x: linear_network_acf(-np.eye(2), np.eye(2), [-1.0])),
        ("lags", lambda x: linear_network_acf(-np.eye(2), np.eye(2), [np.nan])),
        ("lags", lambda x: linear_network_acf(-np.eye(2), np.eye(2), [])),
    ],
)
def test_wrong_arguments_are_named(argument, call):
    with pytest.raises(ValueError, match=argument):
        call(ou(17, n_units=1, n_trials=4, n=20))


# --- what comes out is in the units it says, and the statistics behind it ------------------------


def test_lags_and_windows_are_in_seconds():
    result = fit_timescales(1000 * ou(1, n_units=4), DT, ci=None)
    np.testing.assert_allclose(result.lags, DT * np.arange(250))
    # The window is the last lag not beyond 2 tau of the iteration before the last one.
    np.testing.assert_allclose(result.window_used, 2 * result.tau, atol=0.05 * 0.2 + DT)
    assert np.abs(result.acf_fit[0] / result.acf[0] - 1).max() < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["likelihood", "window"])
def test_bootstrap_intervals_are_reproducible_and_hold_the_truth(estimator):
    rates = ou(13, n_units=30)
    options = {"ci": "bootstrap", "estimator": estimator, "n_boot": 100}
    a = fit_timescales(rates, DT, seed=1, **options).tau_ci
    few = rates[..., :2]  # units are resampled together, and fitted apart
    seeds_of = np.random.default_rng(1), 2
    b, c = (fit_timescales(few, DT, seed=s, **options).tau_ci for s in seeds_of)
    np.testing.assert_array_equal(a[:2], b)
    assert not np.array_equal(b, c)
    assert np.sum((a[:, 0] <= 0.2) & (0.2 <= a[:, 1])) >= 25
    # as wide as the estimates of the 30 units scatter, whose sd is known to 13 %
    scatter = 2 * 1.96 * np.std(np.log(fit_timescales(rates, DT, estimator=estimator).tau))
    assert 0.7 < np.median(np.log(a[:, 1] / a[:, 0])) / scatter < 1.4


def test_too_few_parts_to_resample_have_an_open_interval():
    options = {"center": "trial", "ci": "bootstrap", "n_boot": 20}
    few, more = (
        fit_timescales(ou(2, 3, tau=0.4, n=60, n_trials=m), DT, **options) for m in (4, 30)
    )
    assert np.isfinite(few.tau).all() and (few.tau_ci == [0, np.inf]).all()
    assert np.isfinite(more.tau_ci).all() and (more.tau_ci[:, 0] > 0).all()


def test_trials_that_differ_widen_intervals_as_much_in_bins_as_mode_by_mode(monkeypatch):
    x = np.concatenate([ou(1, 4, tau=0.1, n=500), ou(2, 4, tau=0.6, n=500)])
    y = np.moveaxis(x - x.mean(axis=0), 2, 0)
    design, found = Design(np.ones((120, 500), dtype=bool), np.zeros(120, dtype=int), 0), []
    for single in (lk.SINGLE, 500):
        monkeypatch.setattr(lk, "SINGLE", single)
        m = lk.modes(y, design, lk.expected(design, DT))
        best = lk.fit(m, [("in", True)])[0].best
        found.append(lk.spread(m, "in", *best))
    assert found[0].min() > 2
    np.testing.assert_allclose(*found, rtol=0.02)


def test_the_levels_of_an_interval_are_moved_outwards():
    # 12 trials less one mean: Phi(sqrt(12/11) t) = 0.0107 with t the 2.5 % point of 11 degrees of
    # freedom, which is the tenth of 999 samples.
    samples = np.arange(1.0, 1000)
    level = stats.norm.cdf(np.sqrt(12 / 11) * stats.t.ppf(0.025, 11))
    assert (
        mo.percentile_interval(samples[::-1], 12, 11, 0.95) == (int(1000 * level), 990) == (10, 990)
    )


def cosines(seed, noise=0.0):
    """Damped cosines of tau = 0.5 s and 1 Hz, and white observation noise."""
    pole = np.exp((-1 / 0.5 + 2j * np.pi) * DT)
    rng = np.random.default_rng(seed)
    e = rng.standard_normal((80, 250, 8)) + 1j * rng.standard_normal((80, 250, 8))
    e[:, 1:] *= np.sqrt(1 - abs(pole) ** 2)
    x = lfilter([1.0], [1.0, -pole], e, axis=1).real
    return x + noise * rng.standard_normal(x.shape)


@pytest.mark.slow
def test_a_cosine_without_offsets_has_none_and_its_noise_is_found():
    assert not any("dc_drift" in words(fit_timescales(cosines(3), DT, model="cos", ci=None), i)
                   for i in range(8))  # fmt: skip
    noisy = fit_timescales(cosines(3, noise=0.5), DT, model="cos", ci=None, use_lag0=False)
    # The variance of the noise, 0.25, is part of the fitted autocovariance at lag 0.
    assert np.abs(noisy.acf - noisy.acf_fit)[0].max() < 0.02


def test_the_end_of_the_search_for_a_cosine_is_no_answer():
    walks = np.cumsum(np.random.default_rng(6).standard_normal((60, 250, 5)), axis=1)
    result = fit_timescales(walks, DT, model="cos", ci=None)
    assert not (result.tau > 3 * 250 * DT).any()


def test_two_timescales_are_no_offsets():
    # A single exponential predicts too little variance of trial means; the pair predicts it.
    slow, fast = (ou(seed, 8, tau, n_trials=100) for seed, tau in ((11, 1.0), (10, 0.1)))
    result = fit_timescales(np.sqrt(0.5) * (slow + fast), DT, model="auto", ci=None)
    assert np.mean(result.center_used == "psth") > 0.8
    assert np.median(result.dc_ratio) == pytest.approx(1, abs=0.15)


# --- exact references ---------------------------------------------------------------------------


def test_linear_network_of_one_unit_and_of_a_rotation():
    lags = np.array([0.0, 0.1, 0.5, 2.0])
    one = linear_network_acf([[-1 / 0.4]], [[2.0]], lags)
    np.testing.assert_allclose(one[:, 0], 0.4 * np.exp(-lags / 0.4), rtol=1e-12)
    w = 2 * np.pi
    both = linear_network_acf([[-2, -w], [w, -2]], np.eye(2), lags)
    expected = 0.25 * np.exp(-2 * lags) * np.cos(w * lags)
    np.testing.assert_allclose(both, np.stack([expected, expected], axis=1), atol=1e-14)


@given(N=st.integers(1, 8), seed=seeds)
def test_linear_network_is_the_stationary_state_of_its_own_step(N, seed):
    rng = np.random.default_rng(seed)
    G = rng.standard_normal((N, N))
    A = G - (np.linalg.eigvals(G).real.max() + 0.5) * np.eye(N)
    B = rng.standard_normal((N, N))
    variance, slope = linear_network_acf(A, B @ B.T, [0.0, 1e-7])
    # d(diag P)/dt = 2 diag(A P) + diag(Q) = 0, and the ACF starts with slope diag(A P).
    found = (slope - variance) / 1e-7
    scale = np.abs(variance).max() * np.abs(A).sum() ** 2
    # a one-sided difference of step 1e-7: its curvature and the rounding of its numerator
    np.testing.assert_allclose(found, -0.5 * np.sum(B**2, axis=1), atol=1e-6 * scale)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_noise_that_is_shared_or_absent_has_a_covariance_and_a_negative_one_none(scale):
    A, shared = -np.eye(3), np.ones((3, 3))  # of rank 1, whose smallest eigenvalues are rounding
    np.testing.assert_allclose(linear_network_acf(A, scale * shared, [0.0]), scale / 2)
    np.testing.assert_array_equal(linear_network_acf(A, 0 * shared, [0.0, 1.0]), 0)
    for Q in (np.diag([-1e-3, 1, 1]), np.eye(3) - 0.4 * shared):  # 1 - 3 * 0.4 < 0
        with pytest.raises(ValueError, match="Q: must be a covariance"):
            linear_network_acf(A, scale * Q, [0.0])


def test_the_effective_timescale_of_an_exact_autocovariance():
    t = DT * np.arange(300)
    acov = np.stack(
        [np.exp(-t / 0.3), 5 * np.exp(-t / 1.2), np.exp(-t) + np.exp(-t / 0.1), 0 * t], axis=1
    )
    aim = timescale_of_acf(acov, DT)
    np.testing.assert_allclose(aim[:2], [0.3, 1.2], rtol=1e-6)  # the polish of the search
    assert 0.1 < aim[2] < 1 and np.isnan(aim[3])
    longer = timescale_of_acf(acov, DT, window=4.0)
    np.testing.assert_allclose(longer[:2], [0.3, 1.2], rtol=1e-6)
    assert longer[2] > aim[2], "a mixture has the timescale its window gives it"


def test_a_mixture_has_the_timescale_of_its_centring():
    # The mean of a trial takes part of the slow component with it.
    taus, n = (0.1, 1.0), 250
    t = DT * np.arange(n)
    acov = np.stack([sum(np.exp(-t / tau) / 2 for tau in taus), np.exp(-t / 0.4)], axis=1)
    aims = {center: timescale_of_acf(acov, DT, center=center) for center in ("psth", "trial")}
    assert aims["trial"][0] < 0.8 * aims["psth"][0]
    np.testing.assert_allclose(aims["trial"][1], aims["psth"][1], rtol=1e-6)
    parts = [ou(k, n_units=20, tau=tau, n=n, n_trials=200) for k, tau in enumerate(taus)]
    rates = np.sqrt(0.5) * sum(parts)
    for center, aim in aims.items():
        found = fit_timescales(rates, DT, center=center, ci=None).tau
        # Standard error of the mean over 20 units about 2 %; the centrings differ by 37 %.
        np.testing.assert_allclose(found.mean(), aim[0], rtol=0.06)


@pytest.mark.parametrize("estimator", ["likelihood", "window"])
def test_a_unit_far_slower_than_its_trials_has_no_upper_end(estimator):
    rates = ou(3, n_units=15, tau=200.0, n_trials=40)
    result = fit_timescales(rates, DT, n_boot=60, estimator=estimator)
    low, high = result.tau_ci.T
    # A line through each trial may be taken for a drift, in a hundredth of the units or a few more.
    assert np.mean(["exceeds_trial" in words(result, i) for i in range(15)]) > 0.9
    assert np.mean(np.isinf(high)) > 0.9
    assert not np.any(low > 100)  # 20 trials: the end of the search


def test_the_search_reaches_its_ends_and_says_so():
    lags = DT * np.arange(100)
    low, high = np.log(0.3 * DT), np.log(20 * 100 * DT)
    for tau, end in ((1e-3 * DT, low), (1e4, high)):
        m = modes_of(np.exp(-lags / tau), whole(100, 0), n_trials=10)
        (p,) = lk.fit(m, [("out", True)], wide=1)
        assert p.best[0][0] == pytest.approx(end, abs=0.02)
        side = int(end == high)
        assert lk.interval(p, m, np.array([3.84]))[0, side] == (0.0, np.inf)[side]


@pytest.mark.parametrize("window", ["2", np.float32(2)])
def test_a_window_given_as_text_is_a_number(window):
    rates = ou(4, n_units=2, n_trials=30, n=200)
    a, b = (fit_timescales(rates, DT, window=w, ci=None) for w in (window, 2.0))
    np.testing.assert_array_equal(a.tau, b.tau)


@given(tau=st.floats(0.1, 10), dt=st.floats(1e-3, 0.05))
def test_the_euler_trap(tau, dt):
    np.testing.assert_allclose(timescale_of_decay(np.exp(-dt / tau), dt), tau, rtol=1e-9)
    euler = timescale_of_decay(1 - dt / tau, dt)
    assert euler < tau
    # the next term of the series, (dt/tau)^2 / 12 and beyond
    np.testing.assert_allclose(euler, tau - dt / 2, atol=0.2 * dt**2 / tau)
