"""The estimator: from rates of repeated trials to one timescale per unit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.checks import check_dt, nearest
from tau_rnn.timescales import evidence, mixture
from tau_rnn.timescales import shapes as sh
from tau_rnn.timescales.autocovariance import (
    add_trial_means,
    centred,
    check_rates,
    group_labels,
    trial_autocovariance,
)
from tau_rnn.timescales.cosine import cos_decay
from tau_rnn.timescales.single import fit_exp

MODELS = ("exp", "two_exp", "cos", "auto")
MIN_SAMPLES = 10  # per trial
MIN_TRIALS = 10  # beyond the number of conditions, for anything that needs a spread over trials
MIN_RESAMPLED = 5  # the same, for the bootstrap
Z_OFFSETS = 1.64  # one-sided 5 %: the intended false-alarm rate of the automatic switch
CHUNK = 2**20  # numbers held at once in the autocovariances of single trials (8 MB: the cache)


class TimescaleResult(NamedTuple):
    """Effective timescales of all units, as `fit_timescales` returns them."""

    tau: np.ndarray  # (units,) s; NaN where it could not be estimated
    tau_ci: np.ndarray  # (units, 2) s, 95 %; 0 or inf where that end is open
    amplitude: np.ndarray  # (units,) variance of the decaying part, gamma(0)
    tau_1e: np.ndarray  # (units,) s, first 1/e crossing of the autocovariance with its bias undone
    tau_integral: np.ndarray  # (units,) s, its integral up to the first zero crossing
    lags: np.ndarray  # (lags,) s
    acf: np.ndarray  # (lags, units) autocovariance as computed
    acf_fit: np.ndarray  # (lags, units) its fitted expectation
    n_trials: int
    window_used: np.ndarray  # (units,) s, last lag of the fit
    center_used: np.ndarray  # (units,) "trial" or "psth"
    dc_ratio: np.ndarray  # (units,) variance of trial means, found / predicted
    flag: np.ndarray  # (units,) comma-separated words, "" where all is well
    model_used: np.ndarray  # (units,) "exp", "two_exp" or "cos"
    tau_fast: np.ndarray  # (units,) s, the faster of two exponentials, else NaN
    fraction_slow: np.ndarray  # (units,) share of the slower one in gamma(0), else NaN
    frequency: np.ndarray  # (units,) Hz, of a damped cosine, else NaN


def fit_timescales(
    rates,
    dt,
    *,
    conditions=None,
    center="auto",
    model="exp",
    window=2.0,
    use_lag0="auto",
    ci="bootstrap",
    n_boot=200,
    seed=0,
):
    """Effective timescale of each unit from repeated trials of its firing rate.

    Parameters
    ----------
    rates : array_like, shape (trials, time, units)
        Firing rates, without burn-in.
    dt : float
        Step (s).

    Returns
    -------
    TimescaleResult
    """
    rates, dt = check_rates(rates), check_dt(dt)
    _check_options(len(rates), center, model, window, use_lag0, ci, n_boot)
    group, counts = group_labels(conditions, len(rates))
    if len(counts) > 1 and counts.min() == 1:  # nothing is left of a trial alone in its condition
        rates = rates[counts[group] > 1]
        group, counts = group_labels(group[counts[group] > 1], len(rates))
    n_trials, n, n_units = rates.shape
    dof = n_trials - len(counts)
    resamples = None
    if ci is not None and dof >= MIN_RESAMPLED:
        rng = np.random.default_rng(seed)
        resamples = rng.multinomial(n_trials, np.full(n_trials, 1 / n_trials), size=n_boot)
    options = _Options(dt, window, center, model, use_lag0, dof, dof >= MIN_TRIALS, resamples)
    n_chunk = max(1, CHUNK // (n_trials * n))
    parts = [
        _fit_chunk(rates[:, :, first : first + n_chunk], group, options)
        for first in range(0, n_units, n_chunk)
    ]
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    joined["acf"], joined["acf_fit"] = joined["acf"].T, joined["acf_fit"].T
    return TimescaleResult(lags=np.arange(n) * dt, n_trials=n_trials, **joined)


class _Options(NamedTuple):
    """The checked arguments of `fit_timescales`, shared by all units."""

    dt: float
    window: float
    center: str
    model: str
    use_lag0: object
    dof: int  # trials less conditions
    enough: bool  # trials, for anything that needs a spread over trials
    resamples: np.ndarray | None  # (n_boot, M) how often each trial is drawn


def _check_options(n_trials, center, model, window, use_lag0, ci, n_boot):
    choices = {"center": (center, ("auto", "trial", "psth")), "model": (model, MODELS)}
    for name, (given, allowed) in choices.items():
        if given not in allowed:
            raise ValueError(f"{name}: got {given!r}; {nearest(given, allowed)}")
    if use_lag0 not in ("auto", True, False):
        raise ValueError(f'use_lag0 must be "auto", True or False, got {use_lag0!r}')
    if ci not in ("bootstrap", None):
        raise ValueError(f'ci must be "bootstrap" or None, got {ci!r}')
    if center == "psth" and n_trials == 1:
        raise ValueError('center="psth" needs two trials or more, got 1; use center="trial"')
    _check_window(window)
    if n_boot < 1:
        raise ValueError(f"n_boot must be >= 1, got {n_boot!r}")


def _check_window(window):
    if not (np.isfinite(window) and window > 0):
        raise ValueError(f"window must be a finite number > 0 (of timescales), got {window!r}")
    return float(window)


def _prepare(rates, group):
    """Units as rows (units, M, n), scaled to deviations of at most 1, and what cannot be used."""
    n = rates.shape[1]
    x = np.moveaxis(rates, 2, 0).copy()
    flag = np.full(len(x), "", dtype=object)
    finite = np.isfinite(x).all(axis=(1, 2))
    flag[~finite] = "nonfinite"
    x[~finite] = 0
    size = np.abs(x).max(axis=(1, 2))
    x = x / np.where(size > 0, size, 1)[:, None, None]  # squares neither overflow nor vanish
    p = np.moveaxis(centred(np.moveaxis(x, 0, 2), group, "psth"), 2, 0)
    means = p.mean(axis=2)
    y = p - means[:, :, None]
    flat = np.abs(y).max(axis=(1, 2)) <= 1e-12  # of the largest rate: rounding, not fluctuation
    flag[(flag == "") & (n < MIN_SAMPLES)] = "too_few_samples"
    flag[(flag == "") & flat] = "constant"
    return y, means, size, flag


def _fit_chunk(rates, group, o):
    """Everything of TimescaleResult that has a unit axis, as a dict of arrays, units first."""
    n_trials, n, _ = rates.shape
    y, means, size, flag = _prepare(rates, group)
    out = _blank(len(flag), n)
    live = np.flatnonzero(flag == "")
    if len(live):
        s = sh.Setting(n, o.dt, "trial", o.window)
        c_trials = trial_autocovariance(y[live], n)
        rows = evidence.fit_center(c_trials, s, o.use_lag0, o.dof, o.enough)
        ratio, z = _judge_offsets(rows, means[live], o)
        drift = o.enough & (z > Z_OFFSETS)
        psth = np.full(len(live), o.center == "psth")
        if o.center == "auto" and o.enough and o.model != "cos":
            psth = ~drift
        if not psth.all():
            own = rows.take(~psth)
            _report(out, flag, own, *_decays(own, o), live[~psth], o)
        if psth.any():
            units = live[psth]
            c_trials = add_trial_means(c_trials[psth], y[units], means[units])
            s = s._replace(center="psth")
            rows = evidence.fit_center(c_trials, s, o.use_lag0, o.dof, o.enough)
            _report(out, flag, rows, *_decays(rows, o), units, o)
        out["dc_ratio"][live] = ratio
        for i in live[drift]:
            flag[i] = ",".join(filter(None, [flag[i], "dc_drift"]))
    kept = o.dof / n_trials if n_trials > 1 else 1.0  # of a variance, by subtracting means
    with np.errstate(over="ignore", under="ignore"):  # variances of rates near 1e+-200
        out["amplitude"] *= size**2 / kept
        out["acf"] *= size[:, None] ** 2
        out["acf_fit"] *= size[:, None] ** 2
    out["flag"] = flag.astype(str)
    return out


def _judge_offsets(rows, means, o):
    """`evidence.offsets` under the model asked for."""
    if o.model == "cos":
        decay = cos_decay(rows, None, o.dof)
        predicted = sh.variance_of_mean(decay.gamma(rows.s), rows.s) + decay.nugget / rows.s.n
        ratio, _ = evidence.compare_offsets(means, predicted, np.zeros(means.shape), o.dof)
        return ratio, np.zeros(len(means))
    ratio, z = evidence.offsets(rows, means, o.dof)
    if o.model != "exp":
        one = evidence.exp_decay(rows, None, o.dof)
        decay, used = mixture.replace_by_pairs(rows, one, o.dof, None, o.model == "two_exp")
        pairs, pair_ratio, pair_z = mixture.pair_offsets(rows, decay, used, means, o.dof)
        ratio[pairs], z[pairs] = pair_ratio, pair_z
    return ratio, z


def _decays(rows, o):
    """The decay of each row under the model asked for, and whether it has too few trials for it."""
    few = np.zeros(len(rows.c_trials), dtype=bool)
    if o.model == "cos":
        return cos_decay(rows, o.resamples, o.dof), few
    decay = evidence.exp_decay(rows, o.resamples, o.dof)
    if o.model != "exp":
        forced = o.model == "two_exp"
        decay, used = mixture.replace_by_pairs(rows, decay, o.dof, o.resamples, forced)
        few[[i for i, bins in used.items() if bins is None]] = forced
    return decay, few


def _blank(n_units, n):
    """Results of units that cannot be fitted, to be filled in for those that can."""
    names = ("tau", "amplitude", "tau_1e", "tau_integral", "window_used", "dc_ratio")
    names += ("tau_fast", "fraction_slow", "frequency")
    out = {name: np.full(n_units, np.nan) for name in names}
    out |= {name: np.full((n_units, n), np.nan) for name in ("acf", "acf_fit")}
    out["tau_ci"] = np.full((n_units, 2), np.nan)
    out["center_used"] = np.full(n_units, "trial")
    out["model_used"] = np.full(n_units, "", dtype="<U7")
    return out


def _report(out, flag, rows, decay, few, units, o):
    """Fill in `out` and `flag` at `units` from their fitted `rows` and `decay`."""
    s, n_trials = rows.s, rows.c_trials.shape[1]
    c = rows.c_trials.mean(axis=1)
    tau = np.exp(decay.log_tau[:, 0])
    gamma = decay.gamma(s)
    expected = sh.expectation(gamma, s)
    acf_fit = expected + decay.nugget[:, None] * sh.noise_shape(s)
    gamma_hat = c - acf_fit + gamma  # the bias of the fit taken from the data
    amplitude = decay.amplitude.sum(axis=1)

    shape = sh.without_nugget(expected, s)
    silent = ~(evidence.signal(c, shape, decay.k_max, s, n_trials) > evidence.Z_SIGNAL)
    first = sh.without_nugget(c, s)[:, 1]
    negative = silent & (first < -evidence.Z_DIP * c[:, 0] / np.sqrt(n_trials * (s.n - 1)))
    wavy = np.zeros(len(units), dtype=bool)
    if o.model != "cos":
        args = gamma_hat, rows.c_trials, amplitude, decay.log_tau[:, 0], s, o.enough
        wavy = ~silent & ~few & evidence.oscillates(*args)
    resolved = ~silent & ~wavy & ~few
    words = {
        "too_few_samples": few,
        "no_positive_decay": negative & ~few,
        "unresolved": ~few & ~negative & (silent | (resolved & (tau < s.dt))),
        "oscillatory": wavy,
        "exceeds_trial": resolved & (tau > s.n * s.dt / 3),
        "nugget": resolved & (decay.nugget > 0) & (o.use_lag0 == "auto"),
    }
    for row, unit in enumerate(units):
        flag[unit] = ",".join(word for word, given in words.items() if given[row])
    interval = decay.interval.copy()
    interval[words["unresolved"], 0] = 0
    interval[words["unresolved"] & silent, 1] = s.dt
    interval[words["exceeds_trial"], 1] = np.inf
    interval[few | negative | wavy] = np.nan
    lost = ~resolved | (decay.bound != 0)

    pair, wave = decay.model == "two_exp", decay.model == "cos"
    found = {
        "tau": tau,
        "amplitude": amplitude,
        "tau_1e": sh.first_crossing(gamma_hat, np.exp(-1)) * s.dt,
        "tau_integral": sh.integral(gamma_hat) * s.dt,
        "tau_fast": np.where(pair, np.exp(decay.log_tau[:, 1]), np.nan),
        "fraction_slow": np.where(pair, decay.amplitude[:, 0] / amplitude, np.nan),
        "frequency": np.where(wave, decay.frequency, np.nan),
    }
    for name, values in found.items():
        out[name][units] = np.where(lost, np.nan, values)
    out["tau_ci"][units], out["acf"][units], out["acf_fit"][units] = interval, c, acf_fit
    out["window_used"][units] = decay.k_max * s.dt
    out["center_used"][units], out["model_used"][units] = s.center, decay.model


def timescale_of_acf(acov, dt, *, window=2.0):
    """The timescale that `fit_timescales` aims at, for a true autocovariance given exactly.

    A unit with several timescales has no single one: the exponential fitted over lags up to
    `window` times its own tau, weighted as in `fit_timescales`, *defines* it. Compare estimates on
    a network with this number for its exact autocovariance (`linear_network_acf`).

    Parameters
    ----------
    acov : array_like, shape (lags, units)
        gamma(0), gamma(dt), ...; as many lags as a trial has samples.
    dt : float
        Step (s).
    window : float
        As in `fit_timescales`.

    Returns
    -------
    ndarray, shape (units,)
        Timescales (s); NaN where the autocovariance is not positive at lag 0 or the search ends at
        a bound.
    """
    acov = np.asarray(acov, dtype=float)
    if acov.ndim != 2 or len(acov) < MIN_SAMPLES or not np.isfinite(acov).all():
        raise ValueError(
            f"acov must be finite, of shape (lags, units) with lags >= {MIN_SAMPLES}, "
            f"got shape {acov.shape}"
        )
    s = sh.Setting(len(acov), check_dt(dt), "psth", _check_window(window))
    tau = np.full(acov.shape[1], np.nan)
    live = acov[0] > 0
    if live.any():
        fit = fit_exp((acov[:, live] / acov[0, live]).T, s, True)
        tau[live] = np.where(fit.bound == 0, np.exp(fit.log_tau), np.nan)
    return tau
