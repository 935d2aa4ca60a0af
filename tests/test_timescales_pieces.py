"""The pieces of the estimator of timescales, each against a sum or a search written out."""

from __future__ import annotations

from copy import copy
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import optimize, stats
from scipy.fft import idct
from scipy.signal import lfilter

from tau_rnn.timescales import TimescaleResult, fit_timescales, units
from tau_rnn.timescales import fit as fit_module
from tau_rnn.timescales import likelihood as lk
from tau_rnn.timescales import moments as mo
from tau_rnn.timescales.design import Design, products
from tau_rnn.timescales.evidence import (
    Plan,
    _resampled,
    _without_fast_modes,
    drifts,
    first_lag,
    hull,
    one_exponential,
)
from tau_rnn.timescales.mixtures import choose, fit_mixture, powers, starts
from tau_rnn.timescales.options import check_options
from tau_rnn.timescales.result import blank, report

DT = 0.05
seeds = st.integers(0, 2**32 - 1)


def ou(seed, tau=0.3, n=100, n_trials=40, n_units=2):
    """Exactly sampled Ornstein-Uhlenbeck units of variance 1 (trials, time, units)."""
    phi = np.exp(-DT / tau)
    e = np.random.default_rng(seed).standard_normal((n_trials, n, n_units))
    e[:, 1:] *= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], e, axis=1)


def design(n_trials=40, n=100, order=0):
    return Design(np.ones((n_trials, n), dtype=bool), np.zeros(n_trials, dtype=int), order)


def options(n_trials=40, n=100, **given):
    defaults = {"center": "auto", "detrend": "auto", "model": "exp", "estimator": "auto",
                "window": 2.0, "min_lag": "auto", "use_lag0": "auto", "ci": "auto", "level": 0.95,
                "n_boot": 20, "seed": 0}  # fmt: skip
    return check_options(n_trials, n, DT, **(defaults | given))


def exact_modes(gamma, n_trials=40):
    """Modes whose powers are the expected ones."""
    d = design(n=len(gamma))
    found = lk.binned(d.expected_power(gamma))
    sizes = lk.bins(d.n)[1]
    return lk.Modes(found, found[:, None], sizes, float(n_trials), *lk.expected(d, DT))


# --- sums ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 99, 100, 101, 102, 137, 1000])
def test_bins_hold_every_mode_once(n):
    first, sizes = lk.bins(n)
    assert first[0] == 0 and first[-1] + sizes[-1] == n
    np.testing.assert_array_equal(first[1:], first[:-1] + sizes[:-1])
    np.testing.assert_array_equal(sizes[:99], 1)
    assert (sizes <= 0.02 * first + 1).all()  # V hardly changes within a bin
    values = np.random.default_rng(n).standard_normal((3, n))
    parts = np.split(values, first[1:], axis=1)
    np.testing.assert_allclose(lk.binned(values), np.stack([p.mean(1) for p in parts], axis=1))


@example(n=80, n_trials=10, last=2, seed=0)
@given(n=st.integers(20, 90), n_trials=st.integers(2, 30), last=st.integers(1, 6), seed=seeds)
def test_parts_for_the_bootstrap_add_up_to_the_autocovariance(n, n_trials, last, seed):
    y = np.random.default_rng(seed).standard_normal((n_trials, n))
    d = design(n_trials, n)
    n_lags = min(n, 25)
    parts = mo.by_parts(y, d, n_lags, last)
    pieces, rest = divmod(len(parts), n_trials)
    assert rest == 0
    whole = products(y)[:n_lags] / d.kept[:n_lags]
    np.testing.assert_allclose(parts.mean(axis=0), whole, atol=1e-12)
    # Stretches of four windows or more where trials are few, about forty parts in all.
    wanted = 1 if n_trials > 20 else max(1, min(n // (4 * last + 1), -(-40 // n_trials)))
    assert pieces == wanted
    product = y[0, : -(-n // pieces) - 1] * y[0, 1 : -(-n // pieces)]
    if pieces == 1:  # products of neighbours, of the first trial alone
        assert parts[0, 1] == pytest.approx(product.sum() * n_trials / d.kept[1])


def test_the_interval_of_few_resamples_is_all_of_them():
    # A tail of 0.0107 of 21 is less than one sample; of 187 or more, the second.
    tail = stats.norm.cdf(np.sqrt(12 / 11) * stats.t.ppf(0.025, 11))
    enough = int(np.ceil(2 / tail)) - 1
    for n, rank in ((20, 1), (enough - 1, 1), (enough, 2)):
        found = mo.percentile_interval(np.arange(1.0, n + 1), 12, 11, 0.95)
        assert found == (rank, n + 1 - rank)


@given(order=st.integers(0, 2), gaps=st.sampled_from([0.0, 0.3]), seed=seeds)
def test_centring_leaves_nothing_of_means_and_trends(order, gaps, seed):
    rng = np.random.default_rng(seed)
    group, time = np.arange(9) % 2, np.arange(40)
    mask = rng.random((9, 40)) >= gaps
    course = rng.standard_normal((2, 40))[group]  # what the trials of a condition share
    x = 5 * course + (order > 0) * rng.standard_normal((9, 1))
    slopes = rng.standard_normal((9, 1)) * time
    if order == 2 and not gaps:  # means and lines are taken out together where none is missing
        x = x + slopes
    d = Design(mask, group, order)
    np.testing.assert_allclose(d.centred(x), 0, atol=1e-9)
    if order == 2:  # and lines in any case
        np.testing.assert_allclose(Design(mask[:1], group[:1], 2).centred(slopes[:1]), 0, atol=1e-9)


def test_nothing_is_left_of_a_trial_of_one_sample_nor_less_a_line_of_one_of_two():
    mask = np.zeros((4, 9), dtype=bool)
    mask[0], mask[1, 4], mask[2, 4:6] = True, True, True
    x = np.random.default_rng(0).standard_normal((4, 9))
    for order in (1, 2):
        y = Design(mask, np.zeros(4, dtype=int), order).centred(x, offsets_first=False)
        np.testing.assert_allclose(y[1 : 1 + order], 0, atol=1e-12)


def test_with_gaps_neither_trials_nor_times_have_a_mean_left():
    rng = np.random.default_rng(2)  # with which rounding passes for an offset, if it is let
    d = Design(rng.random((40, 120)) >= 0.03, np.zeros(40, dtype=int), 1)
    y = d.centred(rng.standard_normal((3, 40, 120)))
    np.testing.assert_allclose(y.sum(axis=-1), 0, atol=1e-9)
    # Offsets and the course of the condition are fitted together.
    np.testing.assert_allclose(y.sum(axis=-2), 0, atol=1e-9)


def test_draws_are_resamples():
    drawn = mo.draws(12, options(n_boot=300))
    assert drawn.shape == (300, 12) and (drawn.sum(axis=1) == 12).all()
    assert drawn.mean(axis=0) == pytest.approx(1, abs=0.25)  # 4 standard errors


@given(first=st.integers(0, 4), level=st.floats(0.1, 0.9), seed=seeds)
def test_first_crossing_is_on_the_line_between_two_lags(first, level, seed):
    c = np.exp(-np.arange(30) / 6) + 0.05 * np.random.default_rng(seed).standard_normal(30)
    found = mo.first_crossing(c[None], level, np.array([first]))[0]
    top = level * c[first]
    below = [k for k in range(first, 30) if c[k] < top]
    if not below:
        assert np.isnan(found)
    else:
        assert np.interp(found, np.arange(30), c) == pytest.approx(top)
        assert below[0] - 1 <= found <= below[0]


def test_a_curve_that_never_falls_has_no_crossing_and_its_integral_is_a_trapezium():
    c = np.array([[2.0, 2.0, 2.0, 2.0], [4.0, 2.0, -1.0, 3.0], [0.0, 1.0, 1.0, 1.0]])
    assert np.isnan(mo.first_crossing(c, 0.5)[0])
    assert mo.first_crossing(c, 0.75)[1] == pytest.approx(0.5)
    # 1/2 + 1 + 1 + 1 and 1/2 + 1/2 of the first sample; nothing at lag 0 has no integral
    np.testing.assert_allclose(mo.integral(c), [3.5, 1.0, -0.5])


@given(top=st.floats(-0.99, 0.99), height=st.floats(-5, 5), bend=st.floats(0.1, 10))
def test_the_top_of_a_parabola(top, height, bend):
    at = [height - bend * (x - top) ** 2 for x in (-1, 0, 1)]
    assert mo.parabola_top(*at) == pytest.approx(top, abs=1e-9)
    assert mo.parabola_top(*(-np.array(at) + 0.0)) == np.sign(at[0] - at[2])  # it has a floor


def test_a_parabola_whose_top_lies_outside_ends_at_the_higher_neighbour():
    assert mo.parabola_top(0.0, 3.0, 5.0) == 1 and mo.parabola_top(5.0, 3.0, 0.0) == -1
    assert mo.parabola_top(1.0, 1.0, 1.0) == 0


# --- the window ---------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1])
def test_the_window_has_the_least_squares_of_its_lags(order):
    d = design(order=order)
    w = mo.Window(d, DT, 2.0)
    c = np.exp(-DT * np.arange(100) / 0.4) + 0.5 * np.exp(-DT * np.arange(100) / 2)
    c = np.atleast_2d(d.expected_acf(c))
    fit = mo.fit_window(c, w, np.array([0]))
    used, k = int(fit.last[0]), np.arange(100)

    def squares(log_tau):
        f = d.expected_acf(np.exp(-DT * k / np.exp(log_tau)))[: used + 1]
        f, own = (v - v[0] * np.r_[w.noise[1], w.noise[1:]][: used + 1] / w.noise[0]
                  for v in (f, c[0, : used + 1]))  # fmt: skip
        K = d.kept[: used + 1]
        a = np.sum(K * f * own) / np.sum(K * f * f)
        return np.sum(K * (own - a * f) ** 2), a

    least, a = squares(fit.log_tau[0])
    assert fit.amplitude[0] == pytest.approx(a)
    assert all(squares(fit.log_tau[0] + step)[0] > least for step in (-0.003, 0.003))
    assert abs(used - 2 * np.exp(fit.log_tau[0]) / DT) < 2  # tau on the grid: 3 %, and one lag


def test_the_window_says_at_which_end_its_search_stopped():
    d = design()
    w = mo.Window(d, DT, 2.0)
    k = np.arange(100)
    rows = np.stack([np.ones(100), np.eye(1, 100)[0], np.exp(-k * DT / 0.3), 1 + 0.01 * k])
    fit = mo.fit_window(rows, w, np.zeros(4, dtype=int))
    np.testing.assert_array_equal(fit.bound, [1, -1, 0, 1])
    assert fit.last[0] == 99 and fit.last[1] == 4
    assert np.exp(w.theta[0]) == pytest.approx(0.05 * DT)
    assert np.exp(w.theta[-1]) == pytest.approx(20 * 100 * DT)
    # One step of the grid from its end is an answer.
    near = mo.fit_window(np.exp(-k * DT / np.exp(w.theta[-2]))[None], w, np.array([0]))
    assert near.bound[0] == 0


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_shapes_of_the_grid_reach_as_far_as_the_lags_asked_for(order):
    w = mo.Window(design(n=400, order=order), DT, 2.0)
    for n, built in ((5, 10), (8, 10), (60, 120), (10, 120), (400, 400)):
        exact = w.shapes(w.theta, n)
        # Cubic in log tau, through points 0.1 apart.
        np.testing.assert_allclose(w.on_grid(n), exact, atol=3e-7)
        assert w.grid.shape == (len(w.theta), built)


def test_the_window_starts_where_the_autocovariance_has_fallen_to_1_e():
    w, k = mo.Window(design(n=400), DT, 2.0), DT * np.arange(400)
    c = 0.3 * np.exp(-k / 6) + 0.7 * np.exp(-k / 0.2)  # three windows agree with themselves
    crossing = optimize.brentq(lambda t: np.interp(t, k, c) - np.exp(-1), 0, 1)
    lasts = (None, np.ceil(2 * crossing / DT), 4, 399)
    found, same, short, long = (
        np.exp(mo.fit_window(c[None], w, np.array([0]), last=last).log_tau[0]) for last in lasts
    )
    assert found == same and 1.1 * short < found < long / 1.1


@given(tau=st.floats(0.01, 50), first=st.integers(0, 30), most=st.integers(5, 99))
def test_the_last_lag_of_a_window(tau, first, most):
    last = mo.Window(design(), DT, 2.0).last_lag(np.array([tau]), np.array([first]), most)[0]
    assert last == min(max(np.ceil(2 * tau / DT), first + 4), most)


def test_noise_at_lag_0_is_nothing_to_the_free_combination():
    for order in (0, 1, 2):
        d = design(order=order)
        w = mo.Window(d, DT, 2.0)
        gamma = np.exp(-DT * np.arange(100) / 0.4)
        with_noise = gamma + 3 * np.eye(1, 100)[0]
        a, b = (w.free_of_noise(d.expected_acf(g)) for g in (gamma, with_noise))
        np.testing.assert_allclose(a[1:], b[1:], atol=1e-12)
        assert b[0] > a[0] + 2.5


def test_the_window_takes_fast_units_for_fast_and_noise_for_noise():
    clean = ou(0, tau=DT, n=200, n_trials=60, n_units=60)
    fast = fit_timescales(clean, DT, center="psth", ci=None)
    # The extrapolation of later lags to lag 0 is too uncertain here to show noise: one in ten.
    assert sum("nugget" in flag for flag in fast.flag) <= 1
    # Whether the noise is a part of the variance or nearly all of it.
    for variance in (0.3, 9.0):
        noise = np.sqrt(variance) * np.random.default_rng(1).standard_normal((60, 200, 20))
        rates = ou(0, n=200, n_trials=60, n_units=20) + noise
        noisy = fit_timescales(rates, DT, center="psth", ci=None)
        assert all("nugget" in flag for flag in noisy.flag)
        np.testing.assert_allclose(noisy.acf_fit[0], noisy.acf[0])  # the rest of lag 0 is noise
        assert noisy.amplitude.mean() == pytest.approx(1, abs=0.1)
    # Ten trials show it too, in more than half of the units.
    few = ou(0, n_trials=10, n_units=60)
    few = few + np.sqrt(0.3) * np.random.default_rng(2).standard_normal(few.shape)
    found = fit_timescales(few, DT, center="psth", ci=None)
    assert np.mean(["nugget" in flag for flag in found.flag]) > 0.4


# --- the likelihood -----------------------------------------------------------------------------


def test_a_decay_within_a_step_is_not_split_into_a_slower_one_and_noise():
    clean = ou(5, tau=DT, n=400, n_units=60)
    auto, ruled_out = (fit_timescales(clean, DT, ci=None, use_lag0=u) for u in ("auto", True))
    np.testing.assert_allclose(auto.tau, ruled_out.tau, rtol=1e-3)


def parabola(center, width, low, high, n_units=1):
    theta = np.linspace(low, high, lk.N_FINE)
    D = 100 + ((theta - center) / width) ** 2
    return lk.Profile(theta[None], D[None], np.array([100.0]), (np.array([center]),) * 3)


def test_the_slower_modes_are_a_share_of_them():
    n, d = 300, design(n_trials=4, n=300)
    y = np.random.default_rng(0).standard_normal((2, 4, n))
    modes = lk.modes(y, d, lk.expected(d, DT))
    slow = modes.slower(0.5)
    k = len(slow.sizes)
    assert slow.sizes.sum() <= n / 2 < slow.sizes.sum() + modes.sizes[k]
    for part, whole in ((slow.found, modes.found), (slow.noise, modes.noise),
                        (slow.by_trial, modes.by_trial),
                        (slow.shapes(np.zeros(3)), modes.shapes(np.zeros(3)))):  # fmt: skip
        np.testing.assert_array_equal(part, whole[..., :k])
    assert len(modes.slower(0.001).sizes) == 5
    assert len(simple_modes(np.ones(20)).slower(0.5).sizes) == 10


def test_an_interval_ends_where_the_deviance_has_risen():
    modes = lk.Modes(None, None, None, 1.0, np.linspace(-4, 4, lk.N_TAU), None, None)
    low, high = np.log(lk.interval(parabola(0.3, 0.2, -2, 2), modes, np.array([4.0])))[0]
    # D is a parabola, its root a line, which is interpolated without error.
    assert (low, high) == pytest.approx((0.3 - 0.4, 0.3 + 0.4))
    # The grid ends inside the search: the last point; at the end of the search: open.
    inside = lk.interval(parabola(0.3, 0.2, 0.1, 0.5), modes, np.array([9.0]))[0]
    assert inside == pytest.approx(np.exp([0.1, 0.5]))
    np.testing.assert_array_equal(
        lk.interval(parabola(0.0, 9.0, -4, 4), modes, np.array([9.0]))[0], [0, np.inf]
    )
    # One end of the search is not the other; half a step before it is not there.
    for low, high, ends in ((-4, 3.5, [0, np.exp(3.5)]), (-3.5, 4, [np.exp(-3.5), np.inf])):
        found = lk.interval(parabola(0.0, 9.0, low, high), modes, np.array([9.0]))
        assert found[0] == pytest.approx(ends)
    # Between the last point inside and the next, of each unit by itself, on a line of the root
    theta = np.linspace(0.1, 2.5, lk.N_FINE)
    D = np.array([[9.0, 1, *[0.01] * 21, 0.16, 1], [9.0, *[0.3] * 23, 9]])
    two = lk.Profile(np.stack([theta] * 2), D, np.zeros(2), ())
    ends = np.log(lk.interval(two, modes, np.array([0.25, 4.0])))
    np.testing.assert_allclose(ends[0], [0.3 - 0.1 * 0.4 / 0.9, 2.4 + 0.1 * 0.1 / 0.6])
    root = np.sqrt(0.3)
    share = 0.1 * (2 - root) / (3 - root)
    np.testing.assert_allclose(ends[1], [0.2 - share, 2.4 + share])
    # Less than the rise from the top to the best point of the grid: that point
    np.testing.assert_allclose(np.log(lk.interval(two, modes, np.full(2, 1e-4))[0]), [0.3, 2.3])


def simple_modes(found, n_trials=50, sizes=None, noise=None):
    """Modes of white noise of variance 1 expected: a unit for each row of `found`."""
    found = np.atleast_2d(found)
    one = np.ones(found.shape[1])
    shapes = lambda at: np.ones((*np.shape(at), found.shape[1]))  # noqa: E731
    sizes, noise = (one if given is None else given for given in (sizes, noise))
    return lk.Modes(found, found[:, None], sizes, float(n_trials), np.zeros(2), shapes, noise)


@pytest.mark.parametrize(
    ("mode0", "left_out", "granted"),
    [("in", [], []), ("out", [0], []), ("free", [0], [0]), ("linear", [0, 1], []),
     ("in+", [1], [1]), ("out+", [0, 1], [1]), ("free+", [0, 1], [0, 1])],
)  # fmt: skip
def test_modes_that_count(mode0, left_out, granted):
    sizes = np.where(np.arange(30) < 25, 1.0, 3.0)
    noise = np.linspace(2, 0.5, 30)
    found = noise * np.random.default_rng(0).gamma(25, 1 / 25, (3, 30))
    m = simple_modes(found, sizes=sizes, noise=noise)
    w = np.where(np.isin(np.arange(30), left_out), 0, sizes)
    np.testing.assert_array_equal(lk.counted(m, mode0), w)
    np.testing.assert_array_equal(m.sizes, sizes)
    level = (m.found / noise) @ w / w.sum()  # of noise alone, the most likely
    V = np.full((3, 30), 1.3)
    null = level[:, None] * noise
    written, alone = (50 * (np.log(v) + m.found / v) @ w for v in (V, null))
    for j in granted:  # offsets or slopes have what the mode has too much
        for which, v in ((written, V), (alone, null)):
            top = np.maximum(v[:, j], m.found[:, j])
            which += 50 * (np.log(top) + m.found[:, j] / top)
    np.testing.assert_allclose(lk.deviance(m, mode0, V), written)
    several = lk.deviance(m, mode0, np.stack([V, 2 * V], axis=1))
    np.testing.assert_allclose(several[:, 0], written)
    np.testing.assert_allclose(several[:, 1], lk.deviance(m, mode0, 2 * V))
    np.testing.assert_allclose(lk.white(m, mode0), alone)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_powers_of_trials_and_what_is_expected_of_them(order):
    group, n = np.array([0, 0, 0, 1, 1]), 130
    d = Design(np.ones((5, n), dtype=bool), group, order)
    y = np.random.default_rng(0).standard_normal((2, 5, n))
    log_tau, shapes, noise = lk.expected(d, DT)
    assert np.exp(log_tau[[0, -1]]) == pytest.approx([0.3 * DT, 20 * n * DT])
    m = lk.modes(y, d, (log_tau, shapes, noise))
    j, t = np.arange(n)[:, None], np.arange(n) + 0.5
    wave = np.sqrt(np.where(j == 0, 1, 2) / n) * np.cos(np.pi * j * t / n)
    P = (y @ wave.T) ** 2
    last = int(m.sizes[-1])  # modes of the last bin
    for mode in (0, 7, 98):
        np.testing.assert_allclose(m.by_trial[..., mode], P[..., mode], atol=1e-12)
    np.testing.assert_allclose(m.by_trial[..., -1], P[..., -last:].mean(axis=-1))
    np.testing.assert_allclose(m.found, m.by_trial.sum(axis=1) / 3)  # five trials, two means
    # Between its knots the spline keeps to what is expected, exactly, of an exponential.
    between = (log_tau[1:] + log_tau[:-1])[::9] / 2
    exact = d.expected_power(np.exp(-DT * np.arange(n) / np.exp(between[:, None])))
    seen = np.arange(len(noise)) >= order  # what is 0 but for rounding has no logarithm to follow
    np.testing.assert_allclose(shapes(between)[:, seen], lk.binned(exact)[:, seen], rtol=1e-4)
    white = lk.binned(d.expected_power(np.eye(1, n)))[0] if order == 2 else seen
    np.testing.assert_allclose(noise, white, atol=1e-10)
    V = m.variance(between[:2], np.array([2.0, 0.0]), np.array([0.5, 3.0]))
    np.testing.assert_allclose(V, [2 * shapes(between[0]) + 0.5 * noise, 3 * noise])


@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("mode0", ["in", "out", "free", "linear", "in+", "free+"])
def test_the_coarse_grid_has_the_least_deviance_of_its_ratios(mode0, noisy):
    m = exact_modes(np.exp(-DT * np.arange(150) / 0.4) + 0.5 * np.eye(1, 150)[0])
    m = m._replace(noise=np.linspace(0.5, 2, len(m.noise)))  # such as gaps make it
    m.found[:, :3] *= np.array([3.0, 0.5, 2.0])
    D, ratio = lk.coarse(m, [(mode0, noisy)])[mode0, noisy]
    w = lk.counted(m, mode0)
    ratios = np.r_[0, np.geomspace(1e-4, 1e4, lk.N_RATIO)] if noisy else [0.0]
    for i in (0, 20, 30, len(lk.COARSE) - 1):
        V = m.shapes(m.log_tau[lk.COARSE[i]]) + np.outer(ratios, m.noise)
        a = (m.found / V) @ w / w.sum()
        each = [lk.deviance(m, mode0, (a * V.T).T[[j]])[0] for j in range(len(V))]
        assert D[0, i] == pytest.approx(min(each)) and ratio[0, i] == ratios[np.argmin(each)]


def rough_modes(seed, n_units=8, n_trials=40, n=120):
    """Modes of one exponential and noise, each with the errors of few trials."""
    gamma = np.exp(-DT * np.arange(n) / 0.4)
    m = exact_modes(gamma, n_trials)
    noise = np.linspace(0.7, 1.4, len(m.noise))  # not the same in all modes, as with gaps
    found = m.found + 0.5 * noise
    found = found * np.random.default_rng(seed).gamma(5, 1 / 5, (n_units, len(noise)))
    return m._replace(found=found, by_trial=found[:, None], noise=noise)


KINDS = [("in", True), ("in", False), ("out", True), ("free", True), ("free", False),
         ("linear", True), ("free+", True), ("in+", True), ("out+", False)]  # fmt: skip


@pytest.mark.parametrize(("mode0", "noisy"), KINDS)
def test_the_search_finds_the_least_deviance_there_is(mode0, noisy):
    m = rough_modes(1)
    m.found[1:4, :2] *= 5  # offsets and slopes
    m.found[4] = m.found[4, ::-1]  # anticorrelated
    m.found[5] = m.found[5] / m.found[5].mean() ** 3 * m.shapes(np.log(6 * DT)) ** 2  # smooth
    m.found[6] = m.found[7] / m.shapes(np.log(0.4))  # noise
    m.found[7] *= 1e-3
    (p,) = lk.fit(m, [(mode0, noisy)], wide=1)
    w, everywhere = lk.counted(m, mode0), np.linspace(m.log_tau[0], m.log_tau[-1], 60)

    def shapes(log_tau):
        E = m.shapes(log_tau)
        if mode0.endswith("+") and noisy:  # a part of the noise goes with the exponential
            E = E - 0.75 * (E / m.noise).min(axis=-1, keepdims=True) * m.noise
        return E

    for u in range(8):
        log_tau, a, b = (value[u] for value in p.best)
        ratios = b / a * np.geomspace(0.05, 20, 61) if b > 0 else np.geomspace(1e-4, 1, 9)

        def brute(log_tau, u=u, ratio=np.r_[0, ratios] if noisy else 0 * ratios[:1]):
            """Least D over noise to signal, the best amplitude written out."""
            V = shapes(log_tau)[:, None] + ratio[:, None] * m.noise
            V *= ((m.found[u] / V) @ w / w.sum())[..., None]
            D = lk.deviance(m.take([u]), mode0, V.reshape(1, -1, V.shape[-1]))
            return D.reshape(len(log_tau), -1).min(axis=1)

        assert p.least[u] <= brute(everywhere).min() + 2e-3
        assert p.least[u] <= p.deviance[u].min() + 2e-3
        assert (p.deviance[u, ::4] <= brute(p.log_tau[u, ::4]) + 2e-3).all()
        V = a * shapes(log_tau[None]) + b * m.noise
        assert lk.deviance(m.take([u]), mode0, V)[0] == pytest.approx(p.least[u], abs=2e-3)
        # The profile reaches as far as D is within 30 of its least.
        ends = p.log_tau[u, [0, -1]], everywhere[[0, -1]]
        assert ((p.deviance[u, [0, -1]] > p.least[u] + 30) | np.isclose(*ends)).all()


@pytest.mark.parametrize("tau", [0.06, 0.4, 5.0])
@pytest.mark.parametrize("wide", [0, 1])
def test_the_search_finds_what_is_expected_of_many_trials(tau, wide):
    gamma = 2 * np.exp(-DT * np.arange(300) / tau) + 0.5 * np.eye(1, 300)[0]
    for trials in (1000, 100_000):
        m = exact_modes(gamma, trials)
        for mode0 in ("in", "out", "linear"):
            (p,) = lk.fit(m, [(mode0, True)], wide=wide)
            # Parabolas of finite steps: a thousandth, where a thousand trials know 3 %
            np.testing.assert_allclose([v[0] for v in p.best], [np.log(tau), 2, 0.5], atol=2e-3)
            exact = lk.deviance(m, mode0, m.found)
            np.testing.assert_allclose(p.least, exact, rtol=0, atol=3e-5 * trials)


@pytest.mark.parametrize(("mode0", "noisy"), KINDS)
def test_amplitude_and_noise_have_the_least_deviance_for_each_tau(mode0, noisy):
    m = rough_modes(2)
    m.found[0, :3] *= 4
    m.found[1] = m.shapes(np.log(0.4))  # no noise at all
    E = np.broadcast_to(m.shapes(np.log([0.1, 0.4, 2.0])), (8, 3, m.found.shape[1]))
    ratio = np.full((8, 3), 0.5) if noisy else None
    D, a, b = lk.variances(m, mode0, E, ratio, 0)  # to start from: the best one of this ratio
    w, V = lk.counted(m, mode0), E + 0.5 * noisy * m.noise
    np.testing.assert_allclose(a, (m.found[:, None] / V) @ w / w.sum())
    np.testing.assert_allclose(b, 0.5 * a * noisy)
    D, a, b = lk.variances(m, mode0, E, ratio, 12)

    def at(a, b):
        return lk.deviance(m, mode0, a[..., None] * E + b[..., None] * m.noise)

    np.testing.assert_allclose(D, at(a, b), rtol=1e-12)
    for h in (0.99, 1.01):
        assert (at(h * a, b) > D).all()
        assert (at(a, h * b) > D)[b > 1e-6 * a].all()
    assert (at(a, b + 0.01 * a) > D).all() == noisy and (noisy or not b.any())
    assert not noisy or (b[1, 0] == 0 and (b > 0).any())  # too fast: noise would make it worse
    # Powers that are those of an exponential and noise
    exact = m._replace(found=(2 * E + 0.3 * m.noise)[:, 1])
    if noisy:
        _, a, b = lk.variances(exact, mode0, E[:, 1:2], np.full((8, 1), 20.0), 8)
        np.testing.assert_allclose([a, b], [np.full((8, 1), 2), np.full((8, 1), 0.3)], rtol=1e-6)


@pytest.mark.parametrize(("mode0", "noisy"), KINDS)
def test_a_resample_of_silent_trials_costs_no_other_its_estimate(mode0, noisy):
    m = rough_modes(3, n_units=2)
    m.found[1] = 0  # no warning, that is: an error here
    silent, alone = (lk.fit(some, [(mode0, noisy)])[0] for some in (m, m.take([0])))
    assert np.isfinite(silent.least).all() and np.isfinite(silent.best).all()
    np.testing.assert_allclose([b[0] for b in silent.best], [b[0] for b in alone.best], rtol=1e-6)
    assert np.isfinite(lk.white(m, mode0)).all()


def test_the_peak_of_a_grid_is_that_of_the_parabola_through_it():
    x = np.linspace(0, 1, 7)
    top = np.array([[0.31], [0.5], [0.86], [-0.3], [1.2], [0.2]])
    grid, D = np.broadcast_to(x, (6, 7)), 5 + 4 * (x - top) ** 2
    least, (at, a, b) = lk._peak(grid, D, 2 * grid, 1 - grid)
    best = top[:, 0].clip(0, 1)
    np.testing.assert_allclose(least, [5, 5, 5, 5.36, 5.16, 5])
    np.testing.assert_allclose([at, a, b], [best, 2 * best, 1 - best], atol=1e-12)


@pytest.mark.parametrize("b", [0.3, 0.0])
@pytest.mark.parametrize("mode0", ["in", "out", "free"])
def test_trials_that_differ_in_tau_know_less_of_it(mode0, b):
    log_tau, h = np.log([0.4, 0.4]), np.linspace(-1.0, 1.8, 12)  # twelve trials
    m = exact_modes(np.exp(-DT * np.arange(150) / 0.4), 10)  # of two conditions
    m = m._replace(noise=np.linspace(0.7, 1.4, len(m.noise)))
    m.found[:] += b * m.noise
    a, b = np.ones(2), np.full(2, b)
    V = m.variance(log_tau, a, b)[0]
    slope = (m.variance(log_tau + 1e-4, a, b) - m.variance(log_tau - 1e-4, a, b))[0] / 2e-4

    def spread(by_trial, found=0.9 * m.found):
        """Of the second of two units."""
        by_trial = np.stack([by_trial[::-1] ** 2, by_trial * 10 / 12])
        own = m._replace(found=np.concatenate([2 * found, found]), by_trial=by_trial)
        return lk.spread(own, mode0, log_tau, a, b)[1]

    # V of trial i has log tau + h_i, to first order: the score varies by the square of the
    # information left for log tau once a (and b) are fitted; its expected variance is that once.
    noise = b[0] * m.noise
    J = np.stack([slope, V - noise, noise][: 2 + (b[0] > 0)]) / V
    w = np.where(np.arange(len(V)) < (mode0 == "out"), 0, m.sizes)
    left = 1 / np.linalg.inv(J * w @ J.T)[0, 0]
    known = np.var(h) * left / 2
    assert known > 1.5
    assert spread(V + h[:, None] * slope) == pytest.approx(known, rel=1e-3)
    assert spread(V + 0.1 * h[:, None] * slope) == 1  # no less than samples of one process do
    # Trials that differ in their amplitudes or noise only know as much of tau as others.
    for other in (V - noise, noise):
        assert spread(V + h[:, None] * other) == 1
    if mode0 == "free":  # mode 0 has too much: that is the offsets'
        w[0] = 0
        left = 1 / np.linalg.inv(J * w @ J.T)[0, 0]
        known = np.var(h) * left / 2
        assert spread(V + h[:, None] * slope, 1.1 * m.found) == pytest.approx(known, rel=1e-3)
    # Four trials cannot tell.
    for few, told in ((4, False), (5, True)):
        assert (spread(V + 9 * h[:few, None] * slope) > 1) == told


def test_goodness_is_the_chi_square_of_cube_roots():
    sizes = np.array([1.0, 1, 1, 1, 3])
    found = np.random.default_rng(0).gamma(3, 1 / 3, (4, 5))
    k = 6 * sizes  # samples behind each power
    z = (np.cbrt(found / 2) - 1 + 2 / (9 * k)) / np.sqrt(2 / (9 * k))
    for parameters in (0, 2, 4):
        p = lk.goodness(simple_modes(found, 6, sizes), "in", 2 * np.ones((4, 5)), parameters)
        np.testing.assert_allclose(p, stats.chi2.sf(np.sum(z**2, axis=1), 5 - parameters))
    # Four modes alone, then nine bands of more and more of them, each of which is one power.
    many, V = np.ones((1, 400)), np.ones((1, 400))
    told = [np.isfinite(lk.goodness(simple_modes(many), "in", V, p)[0]) for p in (12, 13)]
    assert told == [True, False]
    wave = 1 + 0.5 * (-1.0) ** np.arange(400)
    calm, loud = (np.where(np.arange(400) >= first, wave, 1) for first in (100, 0))
    p = [lk.goodness(simple_modes(found), "in", V, 0)[0] for found in (many, calm, loud)]
    assert p[1] > 0.999 > 0.01 > p[2]


@pytest.mark.parametrize("mode0", ["in", "out", "linear"])
def test_goodness_is_uniform_under_the_model_and_small_beside_it(mode0):
    rng = np.random.default_rng(1)
    found = rng.gamma(25, 1 / 25, (4000, 60))
    V = np.ones((4000, 60))
    p = lk.goodness(simple_modes(found), mode0, V, 0)
    shares = [np.mean(p < level) for level in (0.01, 0.1, 0.5, 0.9)]
    # binomial errors 0.002, 0.005, 0.008, 0.005; the cube root of Wilson and Hilferty costs less
    np.testing.assert_allclose(shares, [0.01, 0.1, 0.5, 0.9], atol=0.02)
    # Each parameter takes a degree of freedom, and where none is left nothing is told.
    fewer = lk.goodness(simple_modes(found), mode0, V, 3)
    assert (fewer < p).all() and np.isnan(lk.goodness(simple_modes(found), mode0, V, 40)).all()
    # What mode 0 (and 1) have is nothing to a likelihood that leaves them out.
    first = {"in": 0, "out": 1, "linear": 2}[mode0]
    moved = found.copy()
    moved[:, :first] *= 9
    np.testing.assert_array_equal(lk.goodness(simple_modes(moved), mode0, V, 0), p)
    moved[:, first] *= 9
    assert (lk.goodness(simple_modes(moved), mode0, V, 0) < 1e-6).mean() > 0.99


# --- evidence -----------------------------------------------------------------------------------


def with_noise(m, signal, noise):
    """The same modes with another amplitude and with white noise."""
    found = signal * m.found + noise * m.noise
    return m._replace(found=found, by_trial=found[:, None])


@pytest.mark.parametrize(
    ("tau", "asked", "heights", "least"),
    [(0.3, "auto", (2.6, 2.8, 9.1, 9.3), 2.7), (1.2 * DT, "auto", (9.1, 9.3), 9.2),
     (1.4 * DT, "auto", (2.6, 2.8), 2.7), (0.3, False, (0.1,), 0.0)],
)  # fmt: skip
def test_noise_is_left_out_where_it_lowers_the_deviance_by_little(tau, asked, heights, least):
    clean = exact_modes(np.exp(-DT * np.arange(100) / tau), n_trials=200)

    def fits(noise):
        return lk.fit(with_noise(clean, 1, noise), [("free", True), ("free", False)])

    def fall(noise):
        noisy, bare = fits(noise)
        return bare.least[0] - noisy.least[0]

    for height in heights:
        noise = optimize.brentq(lambda b, h=height: fall(b) - h, 0, 1, xtol=1e-5)
        e = one_exponential(with_noise(clean, 1, noise), "free", options(use_lag0=asked, ci=None))
        fitted = fits(noise)[height < least]
        assert e["deviance"] == fitted.least and (e["noise"][0] > 0) == (height > least)
        np.testing.assert_array_equal(np.log(e["tau"]), fitted.best[0][0])
        assert e["amplitude"].tolist() == [[fitted.best[1][0], 0]] and e["noise"] == fitted.best[2]
        assert e["noisy"][0] == (height > 9.2 or asked is False)  # which a flag says


@pytest.mark.parametrize("mode0", ["in", "out"])
def test_a_unit_is_silent_where_a_decay_explains_little_more_than_noise(mode0):
    clean = exact_modes(np.exp(-DT * np.arange(100) / 0.3))

    def fall(signal):
        m = with_noise(clean, signal, 1)
        return lk.white(m, mode0)[0] - lk.fit(m, [(mode0, True)])[0].least[0]

    for height, silent in ((9.1, True), (9.3, False)):
        signal = optimize.brentq(lambda a, h=height: fall(a) - h, 0, 1, xtol=1e-5)
        found = one_exponential(with_noise(clean, signal, 1), mode0, options(ci=None))
        assert found["silent"][0] == silent


@pytest.mark.parametrize("mode0", ["in", "out"])
@pytest.mark.parametrize(("detrend", "level"), [("constant", 0.95), ("constant", 0.5),
                                                ("auto", 0.95)])  # fmt: skip
def test_an_interval_is_where_the_deviance_is_within_its_quantile(mode0, detrend, level):
    m = with_noise(exact_modes(np.exp(-DT * np.arange(100) / 0.3)), 1, 0)
    m.found[:, 1] *= 1.3  # as slopes do
    first, P = int(mode0 == "out"), m.found[0]

    def deviance(log_tau, slopes):
        E, alone = m.shapes(log_tau), [1] * slopes

        def of(log_a):
            V = np.exp(log_a) * E
            V[alone] = np.maximum(V, P)[alone]
            return 40 * np.sum((np.log(V) + P / V)[first:])

        return optimize.minimize_scalar(of, bounds=(-1, 1), options={"xatol": 1e-7}).fun

    def ends(slopes):
        best = optimize.minimize_scalar(deviance, bounds=(-3, 1), args=slopes)
        above = lambda t: deviance(t, slopes) - best.fun - stats.chi2.ppf(level, 1)  # noqa: E731
        return [optimize.brentq(above, best.x, best.x + side, xtol=1e-5) for side in (-1, 2)]

    each = np.array([ends(slopes) for slopes in {False, detrend == "auto"}])
    o = options(detrend=detrend, level=level, use_lag0=True)
    e = one_exponential(m, mode0, o)
    found = np.log(e["interval"][0])
    assert e["noise"] == 0 and not e["noisy"]  # it was ruled out
    # The root of D is a line, but for a few per cent of its length.
    np.testing.assert_allclose(found, [each[:, 0].min(), each[:, 1].max()], atol=0.005)


def test_an_interval_that_is_not_asked_for_is_known_where_flags_need_it():
    for tau in (0.8 * DT, 1.2 * DT):
        m = exact_modes(np.exp(-DT * np.arange(100) / tau))
        asked, not_asked = (one_exponential(m, "free", options(ci=ci))["interval"]
                            for ci in ("auto", None))  # fmt: skip
        np.testing.assert_array_equal(not_asked, asked if tau < DT else [[np.nan, np.nan]])


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_resamples_are_fits_to_trials_drawn(noise):
    x = ou(4, n_trials=12) + noise * np.random.default_rng(0).standard_normal((12, 100, 2))
    o = options(12, ci="bootstrap")
    plan = Plan(np.ones((12, 100), dtype=bool), np.zeros(12, dtype=int), o)
    m = plan.modes(np.moveaxis(x, 2, 0), 1)
    found = one_exponential(m, "free", o, dof=11)
    few, auto = one_exponential(m, "free", o, dof=4), one_exponential(m, "free", options(12))
    best = np.log(found["tau"][:, 0]), found["amplitude"][:, 0], found["noise"]
    number = 3 if noise else 2  # of parameters: tau, a, and b
    p_fit = lk.goodness(m, "free", m.variance(*best), number)
    np.testing.assert_allclose(found["p_fit"], p_fit, rtol=1e-9)
    np.testing.assert_array_equal(few["interval"], auto["interval"])  # too few to resample
    assert (one_exponential(m, "free", o, dof=5)["interval"] != auto["interval"]).any()
    for unit in range(2):
        taus = []
        for count in mo.draws(12, o):
            drawn = m.take([unit])
            drawn = drawn._replace(found=count @ drawn.by_trial / 11)
            (p,) = lk.fit(drawn, [("free", noise > 0)])
            taus.append(np.exp(p.best[0][0]))
        expected = mo.percentile_interval(np.array(taus), 12, 11, 0.95)
        np.testing.assert_allclose(found["interval"][unit], expected, rtol=1e-6)


def test_trials_that_differ_widen_an_interval_and_ask_for_more_to_be_heard():
    exact = exact_modes(np.exp(-DT * np.arange(100) / 0.3))
    tilt = np.where(np.arange(100) < 20, 1, -0.5)  # every other trial is slower
    sizes = 1 + 0.9 * np.where(np.arange(40) % 2, 1, -1)[:, None] * tilt

    def unequal(m):
        return m._replace(by_trial=m.found[:, None] * sizes)

    m = unequal(with_noise(exact, 1, 0))
    (p,) = lk.fit(m, [("in", False)], wide=1)
    wide = lk.spread(m, "in", *p.best)
    assert wide > 1.2
    e = one_exponential(m, "in", options(detrend="constant", use_lag0=True))
    expected = lk.interval(p, m, stats.chi2.ppf(0.95, 1) * wide)
    np.testing.assert_allclose(e["interval"], expected)
    for signal, silent in ((0.05, True), (0.1, False)):
        m = unequal(with_noise(exact, signal, 1))
        (p,) = lk.fit(m, [("in", True)])
        fall = lk.white(m, "in") - p.least
        assert fall > 9.2 and (fall < 9.2 * lk.spread(m, "in", *p.best)) == silent
        assert one_exponential(m, "in", options(ci=None))["silent"] == silent


def test_resamples_at_an_end_of_the_search_are_open():
    o, (shortest, longest) = options(12), (0.3 * DT, 20 * 100 * DT)
    for tau, found in ((longest / 0.98, np.inf), (0.98 * longest, 0.98 * longest), (0.3, 0.3),
                       (1.02 * shortest, 1.02 * shortest), (0.9 * shortest, 0)):  # fmt: skip
        m = exact_modes(np.exp(-DT * np.arange(100) / tau), n_trials=12)
        m = m._replace(by_trial=np.repeat(m.by_trial, 12, axis=1))
        ends = _resampled(m, "in", False, 11, o)
        assert ends == (pytest.approx(found, rel=2e-3), pytest.approx(found, rel=2e-3))


def test_fast_modes_whose_noise_is_the_stronger_are_left_out_of_an_interval():
    m = exact_modes(np.exp(-DT * np.arange(300) / 0.3) + 0.5 * np.eye(1, 300)[0])
    slow = m.slower(0.5)
    k, height = len(slow.sizes), np.array([3.84])
    (p,) = lk.fit(slow, [("in", True)], wide=1)
    alone = lk.interval(p, slow, height)
    # Of 150 modes or so of 40 trials, standard error sqrt(2 / 40 / number).
    error = np.sqrt(2 / 40 / m.sizes[k:].sum())
    for more, interval in ((0.95, [np.nan]), (1.05, alone)):
        found = m.found * np.where(np.arange(len(m.sizes)) < k, 1, 1 + more * error)
        loud = m._replace(found=found, by_trial=found[:, None])
        for noisy in (True, False):
            left = _without_fast_modes(loud, "in", np.array([noisy]), height)
            np.testing.assert_allclose(left[0], interval[0] if noisy else np.nan)


def test_the_first_lag_is_that_of_a_clear_peak():
    d, o = design(), options()
    k = np.arange(100)
    smooth = np.exp(-k / 10)
    dip = np.where((k == 1) | (k == 2), -0.2, smooth)
    late = smooth + (k == 40)  # beyond a third of the trial a peak is none
    error = 1 / np.sqrt(d.kept[1])
    weak = np.where(k == 1, smooth - 0.5 * error - smooth[1] + smooth[2], smooth)
    rows = np.stack([smooth, dip, late, weak])
    np.testing.assert_array_equal(first_lag(rows, False, d, o), [0, 3, 0, 0])
    np.testing.assert_array_equal(first_lag(rows, True, d, o), 0)  # nor where nothing was found
    np.testing.assert_array_equal(first_lag(rows, False, d, options(min_lag=7)), 7)
    np.testing.assert_array_equal(first_lag(rows[:, :6], False, d, options(min_lag=7)), 4)
    d.kept = np.where(k > 1, 4 * d.kept, d.kept)  # the standard error is that of lag 1
    # 3.5 standard errors of a difference are clear, and of the peak itself
    for size, first in ((3.45, 0), (3.55, 3)):
        row = 0.3 * np.where(k == 0, 1 / 0.3, (k == 3) + 0.0)
        row[1] = row[3] - size * np.sqrt(2) * error
        row[2] = row[1]
        alone = np.where(k == 3, size * error, np.where(k == 0, 1, -0.5))
        np.testing.assert_array_equal(first_lag(np.stack([row, alone]), False, d, o), first)
    for at, first in ((33, 33), (34, 0)):  # in the first third
        assert first_lag(0.1 * smooth[None] + (k == at) * 0.8, False, d, o)[0] == first
    assert first_lag(np.where(k == 3, 0.9, 0.1 * smooth)[None], False, d, o)[0] == 3
    d.kept = np.where(k == 3, 0, d.kept)  # no product there, whatever it says
    assert first_lag(np.where(k == 3, 0.9, 0.1 * smooth)[None], False, d, o)[0] == 0


@pytest.mark.parametrize(("mode", "height"), [(0, 3.0), (1, 5.4)])
def test_offsets_and_slopes_show_where_one_mode_has_too_much(mode, height):
    m = exact_modes(np.exp(-DT * np.arange(400) / 0.3), n_trials=100)
    m = m._replace(found=np.repeat(m.found, 6, axis=0), by_trial=np.repeat(m.by_trial, 6, axis=0))
    factors = np.array([1.0, 1.2, 1.3, 1.6, 3.0, 0.5])
    m.found[:, mode] *= factors
    ratio, *shows = drifts(m, options())
    # The rise of D at that mode, were the other parameters the same: they give way a little.
    rise = np.where(factors > 1, 100 * (factors - 1 - np.log(factors)), 0)
    assert (rise < 0.9 * height).sum() >= 3 and (rise > 1.3 * height).sum() >= 2
    np.testing.assert_array_equal(shows[mode][rise < height], False)
    np.testing.assert_array_equal(shows[mode][rise > 1.3 * height], True)
    if mode == 0:
        np.testing.assert_allclose(ratio, factors, rtol=0.01)
    else:
        assert not shows[0].any()


@pytest.mark.parametrize("use_lag0", ["auto", True])
@pytest.mark.parametrize(("mode", "height"), [(0, 3.0), (1, 5.4)])
def test_a_drift_is_a_fall_of_the_deviance_that_a_variance_of_its_own_brings(
    mode, height, use_lag0
):
    noise = 0.0 if use_lag0 is True else 0.5
    exact = exact_modes(np.exp(-DT * np.arange(100) / 0.3) + noise * np.eye(1, 100)[0])
    kinds = [(kind, use_lag0 is not True) for kind in ("in", "out", "linear")[mode : mode + 2]]

    def raised(more):
        found = exact.found * np.where(np.arange(100) == mode, more, 1)
        m = exact._replace(found=found, by_trial=found[:, None])
        counts, does_not = lk.fit(m, kinds)
        own = 40 * (np.log(found[0, mode]) + 1)
        return m, counts.least[0] - does_not.least[0] - own, does_not

    for fall in (height - 0.1, height + 0.1):
        more = optimize.brentq(lambda g, h=fall: raised(g)[1] - h, 1, 9, xtol=1e-3)
        m, _, p = raised(more)
        ratio, *shows = drifts(m, options(use_lag0=use_lag0))
        assert shows[mode][0] == (fall > height)
        if mode == 0:
            assert ratio[0] == m.found[0, 0] / m.variance(*p.best)[0, 0]
    # Too little there falls as much, and is no drift.
    assert raised(0.1)[1] > height and not drifts(raised(0.1)[0], options())[1 + mode][0]


def test_drifts_are_looked_for_in_modes_slower_than_the_lags_left_out():
    exact = exact_modes(np.exp(-DT * np.arange(100) / 0.3))
    for min_lag, kept in (("auto", 100), (0, 100), (1, 50), (4, 12)):  # of 100, 1 / (2 min_lag)
        loud = exact.found * np.where(np.arange(100) < kept, 1, 50)
        m = exact._replace(found=loud, by_trial=loud[:, None])
        ratio, *_ = drifts(m, options(min_lag=min_lag))
        assert ratio[0] == pytest.approx(1, rel=0.01)
        m.found[:, kept - 1] *= 50  # which the last of those kept would
        assert abs(drifts(m, options(min_lag=min_lag))[0][0] - 1) > 0.05


def test_an_estimate_at_an_end_of_the_search_is_a_bound():
    m = exact_modes(np.exp(-DT * np.arange(100) / 0.3))
    step = m.log_tau[1] - m.log_tau[0]
    for first, last, bound in ((0.9, 9, -1), (1.1, 9, 0), (9, 1.1, 0), (9, 0.9, 1)):
        # The grid of a search that ends so many steps beyond 0.3 s.
        grid = np.log(0.3) + step * np.linspace(-first, last, lk.N_TAU)
        grid = np.r_[grid[0], grid[0] + step, grid[2:-2], grid[-1] - step, grid[-1]]
        e = one_exponential(m._replace(log_tau=grid), "in", options(ci=None))
        assert e["bound"] == bound and e["tau"][0, 0] == pytest.approx(0.3, rel=0.02)


def test_resamples_are_fitted_with_noise_where_noise_shows():
    noise = np.random.default_rng(0).standard_normal((40, 100, 2))
    for rates in (ou(3) + noise, ou(3)):
        ends = {
            ci: fit_timescales(rates, DT, ci=ci, n_boot=60).tau_ci for ci in ("auto", "bootstrap")
        }
        # 60 resamples of 40 trials know the ends to a sixth or so; fitted without noise, the first
        # rates would have them below a third of tau.
        np.testing.assert_allclose(np.log(ends["bootstrap"]), np.log(ends["auto"]), atol=0.25)
    # The second show none, so that resamples grant none: their interval is no wider.
    assert (ends["bootstrap"][:, 1] < ends["auto"][:, 1] * 1.05).all()


def test_a_plan_knows_when_trials_are_too_few_for_two_exponentials():
    for n_trials, n, few in ((25, 20, False), (24, 20, True), (25, 19, True)):
        plan = Plan(np.ones((n_trials, n), dtype=bool), np.zeros(n_trials, int), options())
        assert plan.few is few
        result = fit_timescales(ou(0, 0.2, n, n_trials, 1), DT, model="two_exp", ci=None)
        assert all(("too_few_samples" in flag) == few for flag in result.flag)


def test_with_gaps_mode_0_is_that_before_the_means_of_trials_are_subtracted():
    mask = np.random.default_rng(0).random((12, 60)) > 0.2
    plan = Plan(mask, np.zeros(12, dtype=int), options(12, 60))
    x = np.moveaxis(ou(8, n=60, n_trials=12), 2, 0)
    m = plan.modes(x, 1)
    log_tau = np.log([0.2, 0.5])
    for first, order in ((0, 0), (1, 1)):
        d = plan.designs[order]
        own = lk.modes(d.centred(x), d, plan.powers(order))
        at = slice(0, 1) if first == 0 else slice(1, None)
        for name in ("found", "by_trial", "noise"):
            np.testing.assert_array_equal(getattr(m, name)[..., at], getattr(own, name)[..., at])
        np.testing.assert_array_equal(m.shapes(log_tau)[:, at], own.shapes(log_tau)[:, at])


@pytest.mark.parametrize(
    ("n", "given_options", "most"),
    [(10, {}, 64), (1024, {}, 32), (10, {"model": "two_exp"}, 8), (10, {"ci": "bootstrap"}, 8)],
)
def test_jobs_hold_16_MB_of_rates_and_few_units(n, given_options, most):
    rates = np.broadcast_to(0.0, (64, n, 150))
    jobs = list(fit_module._jobs(rates, np.zeros(64, int), options(64, n, **given_options)))
    sizes = [len(job[0]) for job in jobs]
    assert set(sizes[:-1]) == {most} and sizes[-1] <= most
    np.testing.assert_array_equal(np.concatenate([job[0] for job in jobs]), np.arange(150))


def test_two_trials_of_two_conditions_leave_nothing():
    rates = ou(0, n_trials=2)
    with pytest.raises(ValueError, match="at least one condition, got 2 trials with 2"):
        fit_timescales(rates, DT, conditions=["a", "b"])
    one = fit_timescales(rates[:1], DT, conditions=["a"], ci=None)
    np.testing.assert_array_equal(one.tau, fit_timescales(rates[:1], DT, ci=None).tau)


def test_short_trials_of_many_are_a_swap_of_axes():
    with pytest.raises(ValueError, match="swapaxes"):
        fit_timescales(np.zeros((100, 9, 2)), DT)
    assert list(fit_timescales(np.zeros((99, 9, 2)), DT).flag) == ["too_few_samples"] * 2
    assert np.isfinite(fit_timescales(ou(0, n=10, n_trials=100), DT, ci=None).tau).all()


def test_lines_alone_fluctuate_and_go_with_a_line():
    lines = np.linspace(-1, 1, 100)[:, np.newaxis] * np.arange(12.0)[:, np.newaxis, np.newaxis]
    assert "constant" not in fit_timescales(lines, DT, ci=None).flag[0]
    wave = np.cos(np.arange(100)[:, np.newaxis] + np.arange(12.0)[:, np.newaxis, np.newaxis])
    rates = 9 * lines + wave * ou(0, tau=2.0, n_trials=12)
    taken = fit_timescales(rates, DT, model="cos", detrend="linear", ci=None)
    assert list(taken.detrend_used) == ["linear"] * 2
    np.testing.assert_allclose(taken.frequency, 1 / (2 * np.pi * DT), rtol=0.02)


@pytest.mark.parametrize(("detrend", "order"), [("linear", 2), ("constant", 0)])
def test_a_mixture_is_expected_as_it_was_centred(monkeypatch, detrend, order):
    seen = []

    def spy(m, mode0, D_one, design, o):
        seen.append((mode0, design.order))  # of means, mode 0 alone knows: it is left out

    monkeypatch.setattr(units, "choose", spy)
    result = fit_timescales(ou(0), DT, model="cos", detrend=detrend, ci=None)
    assert seen == [("linear" if order else "out", order)] * 2
    assert list(result.model_used) == ["exp"] * 2  # nothing was chosen


def test_a_first_lag_in_samples_is_checked_against_the_trial():
    rates = ou(0, n_units=1)
    assert fit_timescales(rates, DT, min_lag=3, ci=None).min_lag_used[0] == pytest.approx(0.15)
    assert options(min_lag=0.15).min_lag == 3 and options(min_lag=0.151).min_lag == 4
    assert options(center="trial").estimator == "window"
    assert options().estimator == "likelihood"


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [("window", 0.1, 0), ("level", 0.01, 0.0099), ("level", 0.999, 1), ("n_boot", 1, 0),
     ("min_lag", 0, -1), ("min_lag", 99, 100), ("min_lag", 0.0, -0.1)],
)  # fmt: skip
def test_options_are_taken_up_to_their_bounds(name, taken, refused):
    assert getattr(options(**{name: taken}), name) == taken
    with pytest.raises(ValueError, match=name):
        options(**{name: refused})


def test_options_that_have_no_sense_together_are_refused_and_the_others_are_not():
    for name, some in (("detrend", {"center": "psth", "detrend": "linear"}),
                       ("estimator", {"model": "cos", "estimator": "window"}),
                       ("min_lag", {"model": "cos", "min_lag": 1}),
                       ("min_lag: .* and < 5, got 5", {"min_lag": 5.0})):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            options(**some)
    options(center="psth", detrend="constant")
    options(detrend="linear", estimator="window", min_lag=1)
    options(model="cos", min_lag=0)
    assert options(use_lag0=np.True_).use_lag0 is True
    assert options(use_lag0=False).use_lag0 is False


def test_seeds_are_as_different_as_they_are_given():
    assert len({options(seed=seed).seed for seed in range(500)}) == 500
    rng = np.random.default_rng(0)
    assert options(seed=rng).seed != options(seed=rng).seed


def test_a_cosine_is_looked_for_where_the_power_is():
    d, k = design(n=400), np.arange(400) * DT
    first, sizes = lk.bins(400)
    for f in (1.0, 2.0, 8.0):  # of which the last lies in a bin of several modes
        m = exact_modes(np.exp(-k / 0.8) * np.cos(2 * np.pi * f * k))
        pairs = starts("cos", m, d, DT)
        bin = np.searchsorted(first, 2 * 400 * DT * f, "right") - 1
        middle = np.mean(first[bin] + np.arange(sizes[bin])) / (2 * 400 * DT)
        assert 2 <= len(pairs) <= 4
        for slow, frequency in pairs:
            assert np.exp(frequency) == pytest.approx(middle)
            assert np.exp(slow) * np.exp(frequency) in (pytest.approx(0.3), pytest.approx(1.0))
    for slow, fast in starts("two_exp", m, d, DT):
        assert np.log(DT) - 1e-9 <= fast < slow <= np.log(400 * DT / 3) + 1e-9


def test_a_cosine_has_half_a_wave_in_the_trial_at_least_and_two_samples_a_wave():
    d, k, o = design(100, 300), np.arange(300), options(100, 300, model="cos")
    for slow, frequency in ((np.exp(-k / 60), 0.5 / (300 * DT)), ((-0.98) ** k, 0.5 / DT)):
        found = choose(exact_modes(slow, n_trials=100), "out", -np.inf, d, o)  # as was asked for
        assert found["frequency"] == pytest.approx(frequency, 1e-4)


@pytest.mark.parametrize("center", ["auto", "trial"])
def test_a_second_exponential_is_no_slope_and_no_offset(center):
    rates = ou(3, tau=0.1, n=200, n_trials=100, n_units=12) + ou(
        4, tau=1.0, n=200, n_trials=100, n_units=12
    )
    result = fit_timescales(rates, DT, model="two_exp", center=center)
    assert set(result.model_used) == {"two_exp"}
    assert not any("trend" in flag for flag in result.flag)
    assert sum("dc_drift" in flag for flag in result.flag) <= 2
    holds = (result.tau_ci[:, 0] <= 1.0) & (result.tau_ci[:, 1] >= 1.0)
    # Not stretched to what one exponential says of rates with two.
    assert holds.sum() >= 10 and np.median(result.tau_ci[:, 0]) > 0.4


def test_offsets_beside_two_exponentials():
    k, d, o = DT * np.arange(150), design(100, 150), options(100, 150, model="two_exp")
    exact = exact_modes(0.5 * np.exp(-k) + 0.5 * np.exp(-k / 0.15), n_trials=100)

    def times(g):
        """Mode 0 has g times what it should."""
        found = exact.found * np.where(np.arange(exact.found.shape[1]) == 0, g, 1)
        return exact._replace(found=found, by_trial=found[:, None])

    def rise(g):
        """Of D where mode 0 has no variance of its own."""
        m = times(g)
        inside, outside = (fit_mixture("two_exp", m, d, DT, kind, True) for kind in ("in", "out"))
        own = 100 * (np.log(m.found[0, 0]) + 1)
        return inside.deviance - outside.deviance - own

    for height, inside in ((2.5, True), (2.9, False)):
        g = optimize.brentq(lambda g, height=height: rise(g) - height, 1.1, 3, xtol=1e-2)
        found = choose(times(g), "free", np.inf, d, o)
        assert found["inside"] == inside and found["model"] == "two_exp"
    assert found["dc_ratio"] == pytest.approx(g, rel=0.02)  # without offsets: those left them out
    # Too little in mode 0 is no sign of offsets.
    assert rise(0.4) > 3 and choose(times(0.4), "free", np.inf, d, o)["inside"]
    # One exponential that is as good, by 6 in D, is enough.
    best = fit_mixture("two_exp", exact, d, DT, "in", True).deviance
    assert choose(exact, "free", best + 5.9, d, o) is None
    assert choose(exact, "free", best + 6.1, d, o) is not None
    # "auto": by two parameters of BIC.
    price, auto = 2 * np.log(100 * 150), options(100, 150, model="auto")
    assert choose(exact, "free", best + price - 0.1, d, auto) is None
    assert choose(exact, "free", best + price + 0.1, d, auto) is not None


@pytest.mark.parametrize("model", ["two_exp", "cos"])
@pytest.mark.parametrize("mode0", ["in", "out"])
def test_errors_of_mixtures_are_those_of_the_curvature(model, mode0):
    k, d = DT * np.arange(300), design(100, 300)
    wave = np.cos(2 * np.pi * k) if model == "cos" else 1
    m = exact_modes(0.6 * np.exp(-k) * wave + 0.4 * np.exp(-k / 0.15) * (model == "two_exp")
                    + 0.1 * np.eye(1, 300)[0], n_trials=100)  # fmt: skip
    mix = fit_mixture(model, m, d, DT, mode0, True)
    best = np.r_[mix.shape, np.log([*mix.amplitude, mix.noise])]

    def D(p):
        V = np.exp(p[2:-1]) @ powers(model, p[:2], m, d, DT) + np.exp(p[-1]) * m.noise
        return lk.deviance(m, mode0, V[None])[0]

    steps = 1e-3 * np.eye(len(best))
    H = [[(D(best + i + j) - D(best + i - j) - D(best - i + j) + D(best - i - j)) / 4e-6
          for i in steps] for j in steps]  # fmt: skip
    error = np.sqrt(np.diagonal(np.linalg.inv(np.array(H) / 2)))[:2]  # D is -2 log likelihood
    np.testing.assert_allclose(mix.error, error, rtol=0.01)
    o = options(100, 300, model=model, level=0.9, center="trial" if mode0 == "out" else "psth")
    found = choose(m, mode0, np.inf, d, o)
    ends = np.exp(mix.shape[:, None] + 1.6449 * mix.error[:, None] * [-1, 1])
    np.testing.assert_allclose([found["interval"], found["second_ci"]], ends, rtol=1e-4)
    if model == "two_exp":
        np.testing.assert_allclose(found["tau"], np.exp(mix.shape))
        assert found["frequency"] == 0 and found["amplitude"] == tuple(mix.amplitude)
    else:
        assert (found["tau"], found["frequency"]) == tuple(np.exp(mix.shape))
        assert found["amplitude"] == (mix.amplitude[0], 0)
    assert found["noise"] == mix.noise and found["noisy"] and not found["silent"]
    assert found["p_fit"] > 0.999 and found["bound"] == 0 and found["inside"] == (mode0 == "in")


@pytest.mark.parametrize(("model", "noise", "n_parameters"),
                         [("two_exp", "auto", 5), ("two_exp", True, 4), ("cos", False, 4),
                          ("cos", True, 3)])  # fmt: skip
def test_each_parameter_of_a_mixture_takes_a_degree_of_freedom(model, noise, n_parameters):
    k, d = DT * np.arange(100), design(100)
    exact = exact_modes(0.6 * np.exp(-k) + 0.4 * np.exp(-k / 0.15) + (noise is not True) * (k == 0))
    m = exact._replace(found=exact.found * np.random.default_rng(0).gamma(50, 1 / 50, (1, 100)))
    found = choose(m, "in", np.inf, d, options(model=model, use_lag0=noise))
    mix = fit_mixture(model, m, d, DT, "in", noise is not True)
    p, fewer = (lk.goodness(m, "in", mix.V[None], n)[0] for n in (n_parameters, n_parameters - 1))
    assert found["p_fit"] == p < fewer


def test_a_second_decay_within_a_step_is_counted_as_noise():
    k, d = DT * np.arange(300), design(100, 300)
    m = exact_modes(0.6 * np.exp(-k) + 0.4 * np.exp(-k / (0.5 * DT)), n_trials=100)
    mix = fit_mixture("two_exp", m, d, DT, "in", False)
    found = choose(m, "in", np.inf, d, options(100, 300, model="two_exp", use_lag0=True))
    assert np.exp(mix.shape[1]) < DT and found["noisy"]
    assert found["amplitude"] == (mix.amplitude[0], 0) and found["noise"] == mix.amplitude[1]
    for share, noisy in ((0.06, True), (0.005, False)):  # a few percent, whatever the variance
        m = exact_modes(0.01 * ((1 - share) * np.exp(-k) + share * (k == 0)), n_trials=100)
        found = choose(m, "in", np.inf, d, options(100, 300, model="cos"))
        assert found["noise"] == pytest.approx(0.01 * share, 0.1) and found["noisy"] == noisy


def test_an_interval_beyond_three_trials_is_open():
    k, d, o = DT * np.arange(60), design(100, 60), options(100, 60, model="cos")
    # The search ends at 9 s; the upper ends of three waves are 8.3 s, 9.5 s and beyond.
    for tau, is_open, bound in ((7.2, False, 0), (8.1, True, 0), (10.8, True, 1)):
        m = exact_modes(np.exp(-k / tau) * np.cos(2 * np.pi * k), n_trials=100)
        found = choose(m, "out", np.inf, d, o)
        assert found["tau"] == pytest.approx(min(tau, 9.0), 1e-3) and found["bound"] == bound
        assert found["interval"][0] < tau and np.isinf(found["interval"][1]) == is_open


# --- steps of units -----------------------------------------------------------------------------


def test_rates_are_scaled_and_those_that_cannot_be_fitted_are_flagged():
    waves = np.cos(np.arange(30) + np.arange(12)[:, None])
    lines = np.arange(30) * np.arange(12)[:, None] / 1000
    x = np.stack([-8 * waves, 5 + 8e-12 * waves, 5 + 2e-12 * waves, 0 * waves, waves, lines])
    x[4, 3, 7] = np.inf
    mask = np.ones((12, 30), dtype=bool)
    mask[2, 20:] = False
    x[:, 2, 20:] = np.nan
    plan = Plan(mask, np.zeros(12, dtype=int), options(12, 30))
    scaled, size, flag = units.scaled(x, plan)
    # A fluctuation of 1e-12 of the largest rate is rounding.
    assert flag.tolist() == ["", "", "constant", "constant", "nonfinite", ""]
    np.testing.assert_allclose(size, [8 * np.abs(waves[mask]).max(), 5, 5, 0, 0, 0.319])
    for unit in (0, 5):
        np.testing.assert_array_equal(scaled[unit][mask], x[unit][mask] / size[unit])
    assert not scaled[:, ~mask].any() and not scaled[3:5].any()


def test_samples_are_too_few_in_short_trials_and_where_no_two_trials_have_the_same():
    x = np.random.default_rng(0).standard_normal((1, 2, 20))
    for first, second, flag in ((20, 10, ""), (10, 10, "too_few_samples"), (12, 11, "")):
        mask = np.stack([np.arange(20) < first, np.arange(20) >= 20 - second])
        plan = Plan(mask, np.zeros(2, dtype=int), options(2, 20))
        assert units.scaled(x, plan)[2][0] == flag
    for longest, flag in ((9, "too_few_samples"), (10, "")):
        mask = np.arange(20) < np.array([[longest], [8]])
        assert units.scaled(x, Plan(mask, np.zeros(2, dtype=int), options(2, 20)))[2][0] == flag


def exact_rates(times, n=100, group=None):
    """Forty trials whose modes have exactly the power of 0.3 s, `times` that of some: {mode: ...}.

    So they have in every condition. The power is given too.
    """
    group = np.zeros(40, dtype=int) if group is None else group
    z = np.random.default_rng(0).standard_normal((40, n))
    for own in (group == g for g in np.unique(group)):
        z[own] -= z[own].mean(axis=0)
        z[own] *= np.sqrt((own.sum() - 1) / np.sum(z[own] ** 2, axis=0))
    power = design(n=n).expected_power(np.exp(-DT * np.arange(n) / 0.3))[0]
    power[list(times)] *= list(times.values())
    return idct(z * np.sqrt(power), norm="ortho"), power


@cache
def plan_of(shape, group, mask):
    """What units share that have these conditions and gaps; the same for all options here."""
    mask = np.frombuffer(mask, dtype=bool).reshape(shape)
    return Plan(mask, np.array(group), options(*shape))


def fitted(x, group=None, mask=None, **given):
    """Estimates of one unit, from x (trials, time), 0 in the gaps, and its modes."""
    group = np.zeros(len(x), dtype=int) if group is None else group
    mask = np.ones(x.shape, dtype=bool) if mask is None else mask
    plan = copy(plan_of(x.shape, tuple(group), mask.tobytes()))
    plan.options = o = options(*x.shape, **given)
    m = plan.modes(x[None], 1)
    return units.by_likelihood(m, x[None], drifts(m, o), plan), m


def wave(n, j):
    """A mean in mode j alone, of power 1."""
    return idct(np.eye(n)[j], norm="ortho")


def test_what_is_subtracted_follows_from_what_is_asked_and_found():
    for more in (1.0, 4.0):
        x, _ = exact_rates({0: more})
        for center, order in (("trial", 1), ("psth", 0), ("auto", int(more > 1))):
            e, m = fitted(x, center=center)
            assert e["order"] == order and e["offsets"] == (more > 1) and not e["slopes"]
            assert e["dc_ratio"][0] == pytest.approx(more, rel=0.01)
            # The reading that is left out: offsets are signal to "psth", but may be a nuisance.
            without = one_exponential(m, "out", options())["interval"]
            other = without if center == "psth" and more > 1 else [[np.nan, np.nan]]
            np.testing.assert_array_equal(e["doubts"], other)
        e, _ = fitted(x, center="psth", model="cos")
        assert e["order"] == 1 and np.isnan(e["doubts"]).all()
    e, m = fitted(9 + x[:1])  # a trial alone: its mean is its rate, and nothing of it drifts
    assert e["order"] == 1 and not e["offsets"] and np.isnan(e["dc_ratio"])
    assert e["deviance"] == one_exponential(m, "out", options())["deviance"]
    pair = fitted(x[:2])[0]
    assert pair["order"] == 0 and np.isfinite(pair["dc_ratio"])


@pytest.mark.parametrize(("p_fit", "lined"), [(0.011, True), (0.009, False)])
def test_a_line_is_taken_out_where_slopes_show_and_a_line_explains_the_rest(p_fit, lined):
    d = design(order=2)
    powers = lk.expected(d, DT)

    def line(more, ci):
        x = exact_rates({0: 60.0, 1: 9.0, 30: more})[0]
        m = lk.modes(d.centred(x[None]), d, powers)
        return x, one_exponential(m, "linear", options(ci=ci))

    more = optimize.brentq(lambda g: line(g, None)[1]["p_fit"][0] - p_fit, 1, 20, xtol=1e-3)
    x, rest = line(more, "auto")
    without = fitted(x, ci=None)[1]
    for asked, takes in (({}, lined), ({"detrend": "constant"}, False),
                         ({"center": "trial"}, False), ({"detrend": "linear"}, True)):  # fmt: skip
        e, _ = fitted(x, **asked)
        assert e["slopes"] and e["order"] == (2 if takes else 1)
        if takes:
            for name in ("tau", "noise", "interval", "p_fit"):
                np.testing.assert_array_equal(e[name], rest[name])
            assert np.isnan(e["doubts"]).all()
        else:
            np.testing.assert_array_equal(e["doubts"], rest["interval"])
            kind = "out" if "center" in asked else "free"
            one = one_exponential(without, kind, options(ci=None))
            np.testing.assert_array_equal(e["tau"], one["tau"])


def mixture(monkeypatch, x, given, **changed):
    """Estimates of x where that is what `choose` finds."""
    found = {"model": "two_exp", "tau": (0.9, 0.1), "inside": False, "dc_ratio": 1.0} | changed
    monkeypatch.setattr(units, "choose", lambda *_: found)
    return fitted(x, **{"model": "two_exp", "ci": None} | given)[0]


def test_offsets_and_slopes_beside_a_mixture(monkeypatch):
    x, _ = exact_rates({0: 60.0, 1: 9.0})
    constant = {"detrend": "constant"}
    for inside in (True, False):  # "free": a mixture knows whether offsets lower D
        e = mixture(monkeypatch, x, constant, inside=inside, dc_ratio=9.0)
        assert e["offsets"] == (not inside) and e["order"] == (0 if inside else 1)
        assert e["dc_ratio"] == 9 and e["tau"].tolist() == [[0.9, 0.1]] and e["slopes"] == [False]
    # "out": offsets show where D falls by more than 3 of 39 (r - 1 - log r), from r = 1.43 on.
    for r, shows in ((0.3, False), (1.41, False), (1.45, True)):
        e = mixture(monkeypatch, x, {"center": "trial"}, dc_ratio=r)
        assert e["offsets"] == shows and e["order"] == 1
    x0, _ = exact_rates({})
    assert not mixture(monkeypatch, x0, {"center": "trial"}, dc_ratio=9.0)["offsets"]
    # What ends within a third of the trial, 1.667 s, is no slope; a wave explains none.
    for tau, model, slopes in ((1.66, "two_exp", False), (1.67, "two_exp", True),
                               (0.1, "cos", True)):  # fmt: skip
        e = mixture(monkeypatch, x, constant, tau=(tau, 0.1), model=model)
        assert e["slopes"] == slopes and np.isnan(e["doubts"]).all()
    e = mixture(monkeypatch, x, {"detrend": "linear"}, dc_ratio=9.0)
    assert e["order"] == 2 and e["dc_ratio"] == fitted(x, ci=None)[0]["dc_ratio"]  # of means
    for n_trials, model in ((24, "exp"), (25, "two_exp")):
        assert mixture(monkeypatch, x[:n_trials], {"model": "auto"})["model"] == model
    pair, alone = (mixture(monkeypatch, x[:n], {"model": "cos"}, dc_ratio=9.0) for n in (2, 1))
    assert pair["dc_ratio"] == 9
    assert np.isnan(alone["dc_ratio"]) and not alone["offsets"]


@pytest.mark.parametrize(("j", "n"), [(90, 100), (3, 100), (130, 160)])
def test_a_gain_shows_where_a_mean_varies_by_more_than_the_modes_without_it_say(j, n):
    def gain(more):
        x, power = exact_rates({j: more}, n)
        mean = 1 + 3 * np.sqrt(power[j]) * wave(n, j)
        without, with_mean = (fitted(x + mean_of_all)[0] for mean_of_all in (1, mean))
        assert not without["gain"][0] and np.isnan(without["doubts"]).all()
        return with_mean, without

    # 39 independent trials: a rise of 3 in D, 39 (r - 1 - log r), at r = 1.431
    for more, shows in ((0.2, False), (1.0, False), (1.42, False), (1.55, True)):
        e, without = gain(more)
        assert e["gain"][0] == shows
        np.testing.assert_allclose(e["tau"], without["tau"])
        # What the other modes say is the other reading: with their exact powers, 0.3 s.
        assert np.isnan(e["doubts"]).all() != shows
    low, high = e["doubts"][0]
    assert low < 0.3 < high and (low, high) != tuple(e["interval"][0])
    # It is the first where the mean varies four times as much, or one exponential is refuted.
    for more in (3.9, 4.1):
        e, without = gain(more)
        np.testing.assert_allclose(e["doubts"], [[low, high]], rtol=1e-6)
        if more > 4 or without["p_fit"][0] < 0.01:
            assert e["tau"][0, 0] == pytest.approx(0.3, rel=1e-3) and e["p_fit"][0] > 0.999
            np.testing.assert_array_equal(e["interval"], e["doubts"])
        else:
            for name in ("tau", "amplitude", "noise", "interval", "p_fit"):
                np.testing.assert_allclose(e[name], without[name])
    assert (without["p_fit"][0] < 0.01) == (j == 3)  # one mode of three, or of a band of many


@pytest.mark.parametrize("order", [0, 1])
def test_the_window_finds_nothing_below_four_standard_errors_of_white_noise(order):
    d, o = design(order=order), options(use_lag0=False)
    w = mo.Window(d, DT, 2.0)
    f = w.shapes(np.log(0.3), 13)[1:]  # lags 1 to 12 are twice 0.3 s
    least = 4 / np.sqrt(np.sum(d.kept[1:13] * f**2))
    for a, silent in ((0.9 * least, True), (1.1 * least, False)):
        gamma = a * np.exp(-DT * np.arange(100) / 0.3) + (1 - a) * np.eye(1, 100)[0]
        c = d.expected_acf(gamma)
        found, start, _ = mo.by_window(np.zeros((1, 40, 100)), c[None], np.zeros(1, int), w, o)
        assert start == 1 and found["silent"] == silent
        assert found["tau"][0, 0] == pytest.approx(0.3, rel=1e-4)
        assert found["noise"][0] == pytest.approx(1 - a, rel=1e-4)


@pytest.mark.parametrize("more", [1.45, 1.52, 1.56, 1.7])
def test_a_gain_is_more_than_all_modes_say_too(more):
    x, power = exact_rates({3: more})
    e, m = fitted(x + 3 * np.sqrt(power[3]) * wave(100, 3))
    V = m.variance(np.log(e["tau"][:, 0]), e["amplitude"][:, 0], e["noise"])
    r = m.found[0, 3] / V[0, 3]
    assert 1 < r < more  # they take some of it for a slower decay
    assert e["gain"][0] == (39 * (r - 1 - np.log(r)) > 3)


@pytest.mark.parametrize("conditions", [1, 2])
def test_a_mean_is_one_where_its_power_stands_out_of_what_trials_leave_of_noise(conditions):
    group = np.arange(40) % conditions
    x, power = exact_rates({30: 3.0}, group=group)
    # Two conditions: the first alone has it.
    mean = np.where(group == 0, np.sqrt(conditions * power[30]), 0)[:, None] * wave(100, 30)
    least = 0.25 + 6 * conditions / (40 - conditions)
    for size, shows in ((0.99 * least, False), (1.01 * least, True)):
        assert fitted(x + np.sqrt(size) * mean, group)[0]["gain"][0] == shows


def test_a_gain_of_conditions_with_means_of_their_own_is_theirs_together():
    group = np.arange(40) % 2
    for more, shows in ((1.43, False), (1.52, True)):  # 38 independent trials: r = 1.437
        x, power = exact_rates({20: more, 30: more}, group=group)
        mean = np.stack([wave(100, j) * np.sqrt(power[j]) for j in (20, 30)])
        assert fitted(x + 3 * mean[group], group)[0]["gain"][0] == shows


def test_a_gain_is_that_of_the_samples_that_are_there():
    group = np.arange(40) % 2
    mask = np.ones((40, 100), dtype=bool)
    mask[1::2, 60:] = False  # of a condition without a course, which ends early
    for more, shows in ((1.2, False), (2.2, True)):  # 30.4 independent trials: r = 1.72
        x, power = exact_rates({20: more}, group=group)
        x[::2] += 3 * np.sqrt(power[20]) * wave(100, 20)
        found = [fitted(np.where(mask, x + base, 0), group, mask)[0] for base in (0, 50)]
        for e in found:  # a level that all share is no course, wherever it ends
            assert e["gain"][0] == shows
        np.testing.assert_allclose(found[0]["doubts"], found[1]["doubts"])


def test_a_gain_needs_more_than_five_modes_without_the_mean():
    for first, shows in ((5, False), (6, True)):
        x, power = exact_rates({}, n=30)
        s = idct(np.where(np.arange(30) >= first, 9 * np.sqrt(power), 0), norm="ortho")
        x += s * np.linspace(-1, 1, 40)[:, None]
        assert fitted(x + s)[0]["gain"][0] == shows


def test_rates_whose_means_are_subtracted_may_have_a_gain():
    for j in (1, 90):
        x, power = exact_rates({0: 0.0, j: 4.1})  # nothing in mode 0 but rounding, as of the mean
        e, _ = fitted(x + 3 * np.sqrt(power[j]) * wave(100, j), center="trial")
        assert e["gain"][0] and e["tau"][0, 0] == pytest.approx(0.3, rel=1e-3)


def test_doubts_of_slopes_and_of_gains_are_granted_together():
    x, power = exact_rates({1: 5.0, 90: 3.0})
    x = x + 3 * np.sqrt(power[90]) * wave(100, 90)
    e, m = fitted(x, detrend="constant")
    assert e["slopes"][0] and e["gain"][0]
    o = options(detrend="constant")
    other = one_exponential(m.only(np.arange(100) != 90), "out", o)["interval"]
    line = fitted(x, detrend="linear")[0]["interval"]
    np.testing.assert_allclose(e["doubts"], hull(other, line))
    assert (other[0] != line[0]).all()


# --- the report ---------------------------------------------------------------------------------


def estimates(tau=0.3, **changed):
    """What `report` takes, of one unit that is sound."""
    full, tau = np.ones(1), np.broadcast_to(tau, 2)
    e = {
        "model": np.array(["exp"], dtype="<U10"), "estimator": np.array(["likelihood"]),
        "tau": full[:, None] * tau,
        "amplitude": np.stack([full, 0 * full], axis=1), "frequency": 0 * full, "noise": 0 * full,
        "noisy": full < 0, "interval": full[:, None] * tau[0] * [0.5, 2], "few": full < 0,
        "behind": full, "second_ci": np.full((1, 2), np.nan), "p_fit": 0.5 * full,
        "silent": full < 0, "bound": np.zeros(1, dtype=int), "offsets": full < 0,
        "slopes": full < 0, "gain": full < 0, "dc_ratio": full, "first": np.zeros(1, dtype=int),
    }  # fmt: skip
    for name, value in changed.items():
        e[name][:] = value
    return e


def told(d=None, o=None, acf=None, **changed):
    """The report of one unit, as scalars by name."""
    d, e = d or design(), estimates(**changed)
    acf = d.expected_acf(np.exp(-DT * np.arange(d.n) / e["tau"][0, 0])) if acf is None else acf
    return {k: v if isinstance(v, str) else v[0]
            for k, v in report(acf[None], e, d, o or options(), np.ones(1)).items()}  # fmt: skip


def test_a_sound_unit_is_reported_as_it_is():
    r = told()
    assert r["flag"] == "" and r["tau"] == 0.3 and r["amplitude"] == 1
    np.testing.assert_allclose(r["tau_ci"], [0.15, 0.6])
    assert r["tau_1e"] == pytest.approx(0.3, rel=0.01)
    # a trapezium of step dt: dt / 2 coth(dt / 2 tau)
    assert r["tau_integral"] == pytest.approx(DT / 2 / np.tanh(DT / 0.6), rel=1e-6)
    assert r["window_used"] == pytest.approx(0.6) and r["min_lag_used"] == 0
    assert r["center_used"] == "psth" and r["detrend_used"] == "constant"
    assert np.isnan([r["tau_fast"], r["fraction_slow"], r["frequency"]]).all()
    whole = {"lags", "n_trials", "n_conditions"}
    assert set(r) == set(TimescaleResult._fields) - whole == set(blank(1, 5))


def test_what_is_reported_counts_the_products_that_are_there():
    acf = np.linspace(1, 0.1, 100)
    np.testing.assert_allclose(told(design(1), acf=acf)["acf"], acf)  # whose trial has all products
    few, other = design(), np.exp(-DT * np.arange(100) / 0.2)
    few.kept = few.pairs = np.where(np.arange(100) < 50, 0.5, 0)  # half a product tells, none not
    for acf in (other, np.where(np.arange(100) < 50, other, 9.0)):
        r = told(few, acf=acf)
        np.testing.assert_allclose([r["tau_1e"], r["tau_integral"]], 0.2, rtol=0.01)


def test_the_window_reported_is_that_of_this_tau():
    for use_lag0, lag in ((True, 0), ("auto", 0), (False, DT)):
        assert told(o=options(use_lag0=use_lag0))["min_lag_used"] == lag
    assert told(noise=0.1)["min_lag_used"] == DT and told(first=4)["min_lag_used"] == 4 * DT
    # The last lag of a window is at least four beyond its first, and not beyond lag 4095.
    for lags, d, changed in ((4, None, {"tau": DT}), (5, None, {"tau": DT, "noise": 0.1}),
                             (11, None, {"tau": DT, "first": 7}),
                             (99, None, {"tau": 80 * DT}), (99, None, {"tau": DT, "first": 98}),
                             (4095, design(2, 5000), {"tau": 4000 * DT})):  # fmt: skip
        assert told(d, **changed)["window_used"] == pytest.approx(lags * DT)


@pytest.mark.parametrize(
    ("word", "sound", "flagged"),
    [
        ("exceeds_trial", {"tau": 100 * DT / 3}, {"tau": 100 * DT / 3 + 1e-9}),
        ("no_power", {"tau": DT}, {"tau": 0.99 * DT}),  # its interval reaches beyond dt
        ("unresolved", {"tau": 0.501 * DT}, {"tau": DT / 2}),  # its interval ends at dt
        ("unresolved", {}, {"tau": 0.4 * DT}),  # or before
        ("nugget", {"noise": 0.5}, {"noise": 0.5, "noisy": True}),
        ("nugget", {"noisy": True, "first": 1}, {"noisy": True, "first": 0}),
        ("misfit", {"p_fit": 0.01}, {"p_fit": 0.0099}),
        ("min_lag", {"first": 1}, {"first": 2}),
        ("dc_drift", {}, {"offsets": True}),
        ("trend", {}, {"slopes": True}),
        ("gain", {}, {"gain": True}),
    ],
)
def test_flags_and_what_they_open(word, sound, flagged):
    assert word not in told(**sound)["flag"].split(",")
    r = told(**flagged)
    assert r["flag"] == word and np.isfinite(r["tau"])
    assert r["tau_ci"][0] == (0 if word == "unresolved" else pytest.approx(r["tau"] / 2))
    assert r["tau_ci"][1] == (np.inf if word == "exceeds_trial" else pytest.approx(2 * r["tau"]))


def test_lags_and_noise_that_were_asked_for_are_no_news():
    assert told(o=options(min_lag=2), first=2)["flag"] == ""
    assert told(o=options(use_lag0=False), noisy=True)["flag"] == ""
    assert told(o=options(model="two_exp"), noisy=True, model="two_exp")["flag"] == "nugget"


def test_an_estimate_never_leaves_its_interval_nor_an_end_of_the_search_its_name():
    assert tuple(told(interval=[0.4, 0.5])["tau_ci"]) == (0.3, 0.5)
    assert tuple(told(interval=[0.1, 0.2])["tau_ci"]) == (0.1, 0.3)
    assert np.isnan(told(o=options(ci=None))["tau_ci"]).all()
    for bound in (-1, 1):
        r = told(bound=bound)
        assert np.isnan(r["tau"]) and np.isfinite(r["tau_ci"]).all()


def test_a_refuted_mixture_has_no_interval_to_tell_whether_it_is_resolved():
    pair = {"model": "two_exp", "tau": [DT / 2, DT / 4], "p_fit": 0.0009, "noisy": True}
    r = told(o=options(model="two_exp"), **pair)
    assert r["flag"] == "nugget,misfit" and np.isnan(r["tau_ci"]).all()
    assert told(o=options(model="two_exp"), **pair | {"p_fit": 0.001})["flag"] == \
        "unresolved,nugget,misfit"


def test_nothing_found_is_lack_of_power_unless_little_would_have_shown():
    r = told(silent=True, interval=[0.2, 0.4])
    assert r["flag"] == "no_power" and np.isnan(r["tau"])
    np.testing.assert_array_equal(r["tau_ci"], [0, np.inf])
    # White noise is ruled out: what it looks like is then a decay within the step, if data say so.
    for high, few, word in ((DT, False, "unresolved"), (1.01 * DT, False, "no_power"),
                            (DT, True, "no_power")):  # fmt: skip
        r = told(tau=DT / 2, silent=True, interval=[0, high], few=few, o=options(use_lag0=True))
        assert r["flag"] == word and np.isnan(r["tau"])
        np.testing.assert_array_equal(r["tau_ci"], [0, DT if high == DT and not few else np.inf])
    # A hundredth of the variance that decays within dt stands out by 5 standard errors from
    # 250,000 / (e^-2 / (1 - e^-2)) = 1,597,264 products on.
    for n_trials, word in ((15_900, "no_power"), (16_050, "unresolved")):
        big = design(2)
        big.kept = big.pairs = np.where(np.arange(100) == 1, 100.0 * n_trials, 1e9)
        assert told(big, silent=True)["flag"] == word
    assert told(big, silent=True, few=True)["flag"] == "no_power"  # one trial holds the variance


def test_anticorrelation_and_waves_have_no_tau():
    k = np.arange(100)
    error = 1 / np.sqrt(design().kept[1])
    for size, word in ((4.99, ""), (5.01, "no_positive_decay")):
        acf = np.eye(1, 100)[0]
        acf[1] = -size * error
        r = told(acf=acf, tau=0.06)
        assert r["flag"] == word and np.isnan(r["tau"]) == bool(word)
        assert np.isnan(r["tau_ci"]).all() == bool(word)
    # Refractoriness that is left out says nothing; a cosine may well be negative at lag 1.
    assert told(acf=acf, tau=0.06, first=1)["flag"] == "no_positive_decay"
    assert told(acf=acf, tau=0.06, first=2)["flag"] == "min_lag"
    assert told(acf=acf, model="cos", o=options(model="cos"))["flag"] == ""
    wave = np.exp(-k * DT / 0.5) * np.cos(2 * np.pi * k * DT)
    r = told(acf=wave)
    assert r["flag"] == "oscillatory" and np.isnan(r["tau"]) and np.isnan(r["tau_ci"]).all()
    assert told(acf=wave, silent=True)["flag"] == "no_power"
    same = told(acf=wave, tau=0.5, model="cos", frequency=1.0, o=options(model="cos"))
    assert same["flag"] == "" and same["frequency"] == 1
    np.testing.assert_allclose(same["acf_fit"], wave * 39 / 40, atol=1e-12)
    # Bartlett's standard error of a lag beyond those that are correlated, for 100 trials
    some, sound = design(101), np.exp(-k * DT / 0.3)
    error = np.sqrt((1 + 2 * np.sum(sound[1:] ** 2)) / some.kept[30])
    for size, word in ((4.98, ""), (5.02, "oscillatory")):
        assert told(some, acf=np.where(k == 30, -size * error, sound))["flag"] == word
        # Where an eighth of the trials hold the variance, it is known half as well as by half.
        for behind, worse in ((0.5, 1), (0.125, 2)):
            acf = np.where(k == 30, -worse * size * error, sound)
            assert told(some, acf=acf, behind=behind)["flag"] == word
    # A dip of less than a tenth of the variance, or beyond three quarters of the trial, is none.
    big = design(4000)
    assert told(big, acf=np.where(k == 30, -0.09, sound))["flag"] == ""
    assert told(big, acf=np.where(k == 30, -0.11, sound))["flag"] == "oscillatory"
    assert told(big, acf=np.where(k == 76, -0.5, sound))["flag"] == ""
    assert told(big, acf=np.where(k == 75, -0.5, sound))["flag"] == "oscillatory"
    # Nor are lags below the first.
    assert told(big, acf=np.where(k == 2, -0.5, sound), first=3)["flag"] == "min_lag"
    assert told(big, acf=np.where(k == 3, -0.5, sound), first=3)["flag"] == "oscillatory"


def test_two_exponentials_are_reported_with_their_shares():
    pair = {"model": "two_exp", "tau": [0.9, 0.1], "amplitude": [0.6, 0.2],
            "second_ci": [0.05, 0.2], "interval": [0.5, 1.5]}  # fmt: skip
    o, one = options(model="two_exp"), np.ones(1)
    k = DT * np.arange(100)
    acf = 0.6 * np.exp(-k / 0.9) + 0.2 * np.exp(-k / 0.1)
    d = design()
    r = report(acf[None], estimates(**pair), d, o, 10 * one)
    assert r["tau"] == 0.9 and r["tau_fast"] == 0.1 and r["flag"][0] == ""
    assert r["amplitude"][0] == pytest.approx(80) and r["fraction_slow"][0] == pytest.approx(0.75)
    np.testing.assert_array_equal(r["tau_fast_ci"], [[0.05, 0.2]])
    np.testing.assert_allclose(r["acf"][0], 100 * acf * 39 / 40)
    np.testing.assert_allclose(r["acf_fit"], r["acf"])
    assert np.isnan(r["frequency"]).all() and np.isnan(r["frequency_ci"]).all()
    fast = {"amplitude": [0.6, 0.0], "noisy": True}  # a second decay within dt is noise
    hidden = report(acf[None], estimates(**pair | fast), d, o, one)
    assert hidden["flag"][0] == "nugget" and np.isnan(hidden["tau_fast"][0])
    assert np.isnan(hidden["tau_fast_ci"]).all() and np.isnan(hidden["fraction_slow"][0])
    # One in a thousand refutes a mixture, which then has no interval.
    for p, gone in ((0.001, False), (0.0009, True)):
        r = report(acf[None], estimates(**pair | {"p_fit": p}), d, o, one)
        assert np.isnan(r["tau_ci"]).all() == np.isnan(r["tau_fast_ci"]).all() == gone


# --- the window's part --------------------------------------------------------------------------


def windowed(monkeypatch, tau, start, given, **changed):
    """Estimates of three units of which the second is as told, and what was resampled.

    The window finds `tau` of the second, from lag `start` on, and 0.3 s of the others; resamples
    from lag k on find the interval (0.4 - k / 100, 1 + k). The first one is silent.
    """
    others = estimates(silent=True), estimates(**changed), estimates()
    e = {name: np.concatenate([other[name] for other in others]) for name in others[0]}
    o, calls = options(**given), []
    y = np.random.default_rng(0).standard_normal((3, 40, 100))
    plan = Plan(np.ones((40, 100), dtype=bool), np.zeros(40, dtype=int), o)

    def by_window(some, acf, first, w, o):
        own = np.array([np.array_equal(one, y[1]) for one in some])
        found = {"tau": np.where(own, tau, 0.3)[:, None] * [1, 1], "noise": np.where(own, 9, 8)}
        return found, np.where(own, start, first), np.where(own, 7, 5)

    def interval(own, first, last, w, o):
        if np.array_equal(own, y[1]):
            assert last == 7
            calls.append(int(first))
        return 0.4 - first / 100, 1.0 + first

    monkeypatch.setattr(mo, "by_window", by_window)
    monkeypatch.setattr(mo, "interval", interval)
    acf = np.repeat(np.exp(-DT * np.arange(100) / 0.3)[None], 3, axis=0)
    units.by_window(e, y, acf, plan, plan.designs[0])
    return e, sorted(calls)


@pytest.mark.parametrize(
    ("given", "changed", "tau", "start", "estimator", "resampled", "granted"),
    [
        # Within 0.3 of the way to an end of (0.15, 0.6), on a logarithmic scale: it is the same.
        ({}, {}, 0.244, 0, "likelihood", [], True),
        ({}, {}, 0.243, 0, "likelihood", [0], True),
        ({}, {}, 0.369, 0, "likelihood", [], True),
        ({}, {}, 0.370, 0, "likelihood", [0], True),
        ({}, {}, 0.9 * DT, 0, "likelihood", [0, 1], True),  # or noise
        ({}, {}, DT, 0, "likelihood", [0], True),
        ({"use_lag0": True}, {}, 0.9 * DT, 0, "likelihood", [0], True),  # which is ruled out
        ({"ci": None}, {}, 0.243, 0, "likelihood", [], True),
        ({"ci": "bootstrap"}, {}, 0.243, 0, "likelihood", [], True),
        # Refuted: the window's, with other noise than white.
        ({}, {"p_fit": 0.0099}, 0.3, 0, "window", [0, 1], False),
        ({}, {"p_fit": 0.0099}, 0.3, 1, "window", [1, 2], False),
        ({}, {"p_fit": 0.0099}, 0.3, 2, "window", [2], False),
        ({}, {"p_fit": np.nan}, 0.3, 0, "window", [0, 1], False),
        ({}, {"p_fit": 0.01}, 0.3, 0, "likelihood", [], True),
        ({"min_lag": 0}, {"p_fit": 0.0099}, 0.3, 0, "window", [0], False),
        ({"min_lag": 1}, {}, 0.3, 1, "window", [1], False),
        ({"min_lag": 2}, {}, 0.3, 2, "window", [2], False),
        # Nothing found: there is nothing to refute.
        ({}, {"p_fit": 0.0099, "silent": True}, 0.1, 0, "likelihood", [], True),
        # Asked for.
        ({"estimator": "window"}, {}, 0.3, 0, "window", [0], True),
        ({"estimator": "window"}, {"silent": True}, 0.3, 0, "window", [0], True),
        ({"estimator": "window", "ci": "bootstrap"}, {}, 0.3, 0, "window", [0], False),
        ({"estimator": "window", "ci": None}, {}, 0.3, 0, "window", [], True),
        ({"estimator": "window", "ci": None}, {}, 0.9 * DT, 0, "window", [0, 1], True),  # for flags
        ({"model": "two_exp"}, {"p_fit": 0.0099}, 0.1, 0, "likelihood", [], True),
    ],
)
def test_the_window_counts_where_the_likelihood_is_refuted_or_disagrees(
    monkeypatch, given, changed, tau, start, estimator, resampled, granted
):
    e, calls = windowed(monkeypatch, tau, start, given, **changed)
    assert e["estimator"][1] == estimator and calls == resampled
    assert e["tau"][1].tolist() == ([tau, tau] if estimator == "window" else [0.3, 0.3])
    assert e["noise"][1] == (9 if estimator == "window" else 0)
    ends = [(0.15, 0.6)] * granted + [(0.4 - k / 100, 1 + k) for k in resampled]
    assert tuple(e["interval"][1]) == (min(low for low, _ in ends), max(high for _, high in ends))
    asked = "estimator" in given or given.get("min_lag", 0) > 0
    assert set(e["estimator"][[0, 2]]) == ({"window"} if asked else {"likelihood"})
    assert asked or e["interval"][[0, 2]].tolist() == [[0.15, 0.6]] * 2
    assert e["first"].tolist() == [given.get("min_lag", 0)] * 3


@pytest.mark.parametrize(("n_trials", "least"), [(40, 3), (16, 2)])
def test_a_variance_that_three_trials_hold_or_one_in_eight_says_nothing(n_trials, least):
    e = estimates()
    e = {name: np.repeat(values, 3, axis=0) for name, values in e.items()}
    energy = np.zeros((3, n_trials))
    energy[:2, :least] = energy[2] = 1
    energy[0, least] = 0.1  # a little more than that,
    energy[1, 0] = 1.1  # and a little less
    y = np.sqrt(energy)[:, :, None] * np.cos(np.arange(100))
    plan = Plan(np.ones((n_trials, 100), dtype=bool), np.zeros(n_trials, int), options(ci=None))
    units.by_window(e, y, np.ones((3, 100)), plan, plan.designs[0])
    assert e["few"].tolist() == e["silent"].tolist() == [False, True, False]
    number = [(least + 0.1) ** 2 / (least + 0.01), (least + 0.1) ** 2 / (least + 0.21), n_trials]
    np.testing.assert_allclose(e["behind"], np.array(number) / n_trials)
