"""What comes out: the result, its flags, and the intervals they open."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.timescales import diagnostics
from tau_rnn.timescales import shapes as sh
from tau_rnn.timescales.exponential import LONGEST


class TimescaleResult(NamedTuple):
    """Effective timescales of all units, as `fit_timescales` returns them.

    Attributes
    ----------
    tau : (units,) s; NaN where it could not be estimated
    tau_ci : (units, 2) 95 % interval in s; 0 or inf where that end is open
    amplitude : (units,) variance of the decaying part, gamma(0)
    tau_1e : (units,) s, first 1/e crossing of the autocovariance with its bias undone
    tau_integral : (units,) s, the integral of the same up to its first zero crossing, over gamma(0)
    lags : (lags,) s
    acf : (lags, units) autocovariance as computed
    acf_fit : (lags, units) its fitted expectation
    n_trials : number of trials that were used
    window_used : (units,) s, last lag of the fit
    center_used : (units,) "trial" or "psth"
    dc_ratio : (units,) variance of trial means, found / predicted; NaN for one trial
    flag : (units,) words with commas between them, "" where all is well; see `fit_timescales`
    model_used : (units,) "exp", "two_exp" or "cos"; "" where nothing was fitted
    tau_fast : (units,) s, the faster of two exponentials; NaN below dt, or if there is only one
    fraction_slow : (units,) share of the slower one in gamma(0), else NaN
    frequency : (units,) Hz, of a damped cosine, else NaN
    """

    tau: np.ndarray
    tau_ci: np.ndarray
    amplitude: np.ndarray
    tau_1e: np.ndarray
    tau_integral: np.ndarray
    lags: np.ndarray
    acf: np.ndarray
    acf_fit: np.ndarray
    n_trials: int
    window_used: np.ndarray
    center_used: np.ndarray
    dc_ratio: np.ndarray
    flag: np.ndarray
    model_used: np.ndarray
    tau_fast: np.ndarray
    fraction_slow: np.ndarray
    frequency: np.ndarray


class Options(NamedTuple):
    """The checked arguments of `fit_timescales`, shared by all units."""

    dt: float
    window: float
    center: str
    model: str
    use_lag0: object
    dof: int  # trials less conditions
    enough: bool  # trials, for anything that needs a spread over trials
    resamples: np.ndarray | None  # (n_boot, M) how often each trial is drawn


def blank(n_units, n):
    """Results of units that cannot be fitted, to be filled in for those that can."""
    names = ["tau", "amplitude", "tau_1e", "tau_integral", "window_used", "dc_ratio"]
    names += ["tau_fast", "fraction_slow", "frequency"]
    out = {name: np.full(n_units, np.nan) for name in names}
    out |= {name: np.full((n_units, n), np.nan) for name in ("acf", "acf_fit")}
    out["tau_ci"] = np.full((n_units, 2), np.nan)
    out["center_used"] = np.full(n_units, "trial")
    out["model_used"] = np.full(n_units, "", dtype="<U7")
    return out


def report(out, flag, rows, decay, few, units, o):
    """Fill in `out` and `flag` at `units` from their fitted `rows` and `decay`."""
    s, n_trials = rows.s, rows.c_trials.shape[1]
    c = rows.c_trials.mean(axis=1)
    tau = np.exp(decay.log_tau[:, 0])
    gamma = decay.gamma(s)
    expected = sh.expectation(gamma, s)
    acf_fit = expected + decay.nugget[:, None] * sh.noise_shape(s)
    gamma_hat = c - acf_fit + gamma  # the bias of the fit taken from the data
    amplitude = decay.amplitude.sum(axis=1)

    pair = (decay.model == "two_exp") & (decay.amplitude[:, 1] > 0)
    hidden = (decay.model == "two_exp") & ~pair  # the faster one decays within a step

    shape = sh.without_nugget(expected, s)
    silent = ~(diagnostics.signal(c, shape, decay.k_max, s, n_trials) > diagnostics.Z_SIGNAL)
    first = sh.without_nugget(c, s)[:, 1]
    negative = silent & (first < -diagnostics.Z_DIP * c[:, 0] / np.sqrt(n_trials * (s.n - 1)))
    wavy = np.zeros(len(units), dtype=bool)
    if o.model != "cos":
        args = gamma_hat, rows.c_trials, amplitude, decay.log_tau[:, 0], s, o.enough
        wavy = ~silent & ~few & diagnostics.oscillates(*args)
    resolved = ~silent & ~wavy & ~few
    words = {
        "too_few_samples": few,
        "no_positive_decay": negative & ~few,
        "unresolved": ~few & ~negative & (silent | (resolved & (tau < s.dt))),
        "oscillatory": wavy,
        "exceeds_trial": resolved & (tau > s.n * s.dt / 3),
        "nugget": resolved & (decay.nugget > 0) & (hidden | (o.use_lag0 == "auto")),
    }
    for row, unit in enumerate(units):
        flag[unit] = ",".join(word for word, given in words.items() if given[row])
    interval = decay.interval.copy()  # its lower end is not beyond what was searched
    interval[:, 0] = np.minimum(interval[:, 0], LONGEST * s.n * s.dt)
    interval[words["unresolved"], 0] = 0
    interval[words["unresolved"] & silent, 1] = s.dt
    interval[words["exceeds_trial"], 1] = np.inf
    interval[few | negative | wavy] = np.nan
    lost = ~resolved | (decay.bound != 0)

    wave = decay.model == "cos"
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
