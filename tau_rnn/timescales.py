"""Effective timescales: the decay time of the autocorrelation of each unit's firing rate.

`fit_timescales` fits the *expected value of what was computed* (see `expected_acf`), so that the
subtraction of trial means, which makes plain exponential fits wrong by half at realistic trial
lengths, costs nothing. The estimators, by what is subtracted before the autocovariance is taken:

- ``center="trial"`` (E): condition mean and each trial's own mean; expected-autocovariance fit.
  Safe under common drive, trial-to-trial offsets and conditions of different mean.
- ``center="psth"`` (P): condition mean only; plain exponential without offset. Less variable where
  the trial is short, but trial-to-trial offsets ruin it.
- ``center="auto"``: P where the trial means vary no more than the fit of E predicts, else E.
"""

from typing import NamedTuple

import numpy as np

from . import decay_checks as checks
from . import decay_models as dm
from .autocovariance import (
    autocovariance,
    centred,
    check_rates,
    expected_acf,
    group_labels,
    linear_network_acf,
    timescale_of_decay,
    trial_autocovariance,
)

__all__ = [
    "TimescaleResult",
    "autocovariance",
    "expected_acf",
    "fit_timescales",
    "linear_network_acf",
    "timescale_of_decay",
]

MIN_SAMPLES = 10  # per trial
MIN_TRIALS = 10  # beyond the number of conditions, for anything that needs a spread over trials
Z_OFFSETS = 1.64  # one-sided 5 %: the intended false-alarm rate of the automatic switch
CHUNK = 2**23  # numbers held at once in the autocovariances of single trials (64 MB)


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
    rates = check_rates(rates, dt)
    n_trials, n, n_units = rates.shape
    group, counts = group_labels(conditions, n_trials)
    _check_options(n_trials, center, model, window, use_lag0, ci, n_boot)
    rng = np.random.default_rng(seed)
    options = _Options(
        float(dt),
        float(window),
        center,
        model,
        use_lag0,
        n_conditions=len(counts),
        enough=n_trials - len(counts) >= MIN_TRIALS,
        resamples=_resamples(group, n_boot, rng) if ci == "bootstrap" and n_trials > 1 else None,
    )
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
    n_conditions: int
    enough: bool  # trials, for anything that needs a spread over trials
    resamples: np.ndarray | None


def _check_options(n_trials, center, model, window, use_lag0, ci, n_boot):
    choices = {
        "center": (center, ("auto", "trial", "psth")),
        "model": (model, ("exp",)),
        "use_lag0": (use_lag0, ("auto", True, False)),
        "ci": (ci, ("bootstrap", None)),
    }
    for name, (given, allowed) in choices.items():
        if not any(given is a or (isinstance(a, str) and given == a) for a in allowed):
            raise ValueError(f"{name} must be one of {allowed}, got {given!r}")
    if center == "psth" and n_trials == 1:
        raise ValueError('center="psth" needs two trials or more, got 1; use center="trial"')
    if not (np.isfinite(window) and window > 0):
        raise ValueError(f"window must be > 0 (timescales), got {window!r}")
    if n_boot < 1:
        raise ValueError(f"n_boot must be >= 1, got {n_boot!r}")


def _resamples(group, n_boot, rng):
    """How often each trial is drawn in each bootstrap sample, within its condition (n_boot, M)."""
    drawn = np.zeros((n_boot, len(group)))
    for g in range(group.max() + 1):
        members = np.flatnonzero(group == g)
        drawn[:, members] = rng.multinomial(
            len(members), np.full(len(members), 1 / len(members)), size=n_boot
        )
    return drawn


def _prepare(rates, group):
    """Units as rows (units, M, n), scaled to deviations of at most 1, and what cannot be used."""
    n = rates.shape[1]
    x = np.ascontiguousarray(np.moveaxis(rates, 2, 0))
    flag = np.full(len(x), "", dtype=object)
    finite = np.isfinite(x).all(axis=(1, 2))
    flag[~finite] = "nonfinite"
    x[~finite] = 0
    size = np.abs(x).max(axis=(1, 2))
    x = x / np.where(size > 0, size, 1)[:, None, None]  # squares neither overflow nor vanish
    x = np.moveaxis(x, 0, 2)
    y = np.moveaxis(centred(x, group, "trial"), 2, 0)
    flat = np.abs(y).max(axis=(1, 2)) <= 1e-12  # of the largest rate: rounding, not fluctuation
    flag[finite & flat] = "constant"
    if n < MIN_SAMPLES:
        flag[flag == ""] = "too_few_samples"
    p = np.moveaxis(centred(x, group, "psth"), 2, 0)
    return p, y, size, flag


def _fit_chunk(rates, group, o):
    """Everything of TimescaleResult that has a unit axis, as a dict of arrays, units first."""
    n_trials, n, _ = rates.shape
    p, y, size, flag = _prepare(rates, group)
    out = _blank(len(flag), n)
    live = np.flatnonzero(flag == "")
    dof = 1 - o.n_conditions / n_trials if n_trials > 1 else 1.0
    if len(live):
        rows = checks.fit_center(trial_autocovariance(y[live], n), "trial", o)
        out["dc_ratio"][live], z_offsets = checks.offsets(rows, p[live], dof)
        drift = o.enough & (z_offsets > Z_OFFSETS)
        use_psth = np.full(len(live), o.center == "psth")
        if o.center == "auto" and o.enough:
            use_psth = ~drift
        _report(out, flag, rows.take(~use_psth), live[~use_psth], o)
        if use_psth.any():
            c_trials = trial_autocovariance(p[live[use_psth]], n)
            _report(out, flag, checks.fit_center(c_trials, "psth", o), live[use_psth], o)
        for i in live[drift]:
            flag[i] = ",".join(filter(None, [flag[i], "dc_drift"]))
    out["amplitude"] *= size**2 / dof
    out["acf"] *= size[:, None] ** 2
    out["acf_fit"] *= size[:, None] ** 2
    out["flag"] = flag.astype(str)
    return out


def _blank(n_units, n):
    """Results of units that cannot be fitted, to be filled in for those that can."""
    names = ("tau", "amplitude", "tau_1e", "tau_integral", "window_used", "dc_ratio")
    out = {name: np.full(n_units, np.nan) for name in names}
    out |= {name: np.full((n_units, n), np.nan) for name in ("acf", "acf_fit")}
    out["tau_ci"] = np.full((n_units, 2), np.nan)
    out["center_used"] = np.full(n_units, "trial")
    return out


def _report(out, flag, rows, units, o):
    """Fill in `out` and `flag` at `units` from their fitted `rows`."""
    if len(units) == 0:
        return
    s, fit, n_trials = rows.s, rows.fit, rows.c_trials.shape[1]
    trial_length = s.n * s.dt
    c = rows.c_trials.mean(axis=1)
    tau = np.exp(fit.log_tau)
    gamma = fit.amplitude[:, None] * dm.decay(fit.log_tau, s)
    delta = dm.expectation(np.eye(1, s.n)[0], s)
    acf_fit = dm.expectation(gamma, s) + rows.nugget[:, None] * delta
    gamma_hat = c - acf_fit + gamma
    interval = np.full((len(units), 2), np.nan)
    if o.resamples is not None:
        interval = checks.bootstrap_exp(rows, o.resamples)

    silent = checks.signal(c, fit, s, n_trials) < checks.Z_SIGNAL
    step = c[:, 1] + (c[:, 0] / (s.n - 1) if s.center == "trial" else 0)
    negative = silent & (step < -checks.Z_DIP * c[:, 0] / np.sqrt(n_trials * (s.n - 1)))
    wavy = ~silent & checks.oscillates(gamma_hat, rows.c_trials, fit, s, o.enough)
    words = {
        "no_positive_decay": negative,
        "unresolved": ~negative & (silent | (tau < s.dt)),
        "oscillatory": wavy,
        "exceeds_trial": ~silent & ~wavy & (tau > trial_length / 3),
        "nugget": ~rows.lag0 & (rows.nugget > 0) & (o.use_lag0 == "auto"),
    }
    for row, unit in enumerate(units):
        flag[unit] = ",".join(word for word, given in words.items() if given[row])
    interval[words["unresolved"], 0] = 0
    interval[silent, 1] = s.dt
    interval[words["exceeds_trial"], 1] = np.inf
    interval[negative | wavy] = np.nan
    lost = silent | wavy | (fit.bound != 0)
    out["tau"][units] = np.where(lost, np.nan, tau)
    out["tau_ci"][units] = interval
    out["amplitude"][units] = np.where(lost, np.nan, fit.amplitude)
    out["tau_1e"][units] = np.where(lost, np.nan, dm.first_crossing(gamma_hat, np.exp(-1)) * s.dt)
    out["tau_integral"][units] = np.where(lost, np.nan, _integral(gamma_hat) * s.dt)
    out["acf"][units], out["acf_fit"][units] = c, acf_fit
    out["window_used"][units] = fit.k_max * s.dt
    out["center_used"][units] = s.center


def _integral(gamma):
    """Trapezoidal sum of gamma(k)/gamma(0) up to the first zero crossing (rows,), in samples."""
    positive = np.cumprod(gamma > 0, axis=1)
    return np.sum(positive * gamma, axis=1) / np.where(gamma[:, 0] > 0, gamma[:, 0], np.inf) - 0.5
