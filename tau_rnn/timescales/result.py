"""What comes out: the result, its flags, and the intervals they open."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.timescales import moments as mo

__all__ = ["TimescaleResult"]

MISFIT = 0.01  # probability of a misfit below which it is flagged
REFUTED = 1e-3  # and below which a mixture has no interval
Z_CLEAR = 5.0  # standard errors
MIN_DIP = 0.1  # of the amplitude
# Products before "nothing" is an answer: a hundredth of the variance would have stood out. At
# tau = dt, where it does so least, the sum of squared correlations is 1 / (e^2 - 1).
ENOUGH = (Z_CLEAR / 0.01) ** 2 * (np.exp(2) - 1)


class TimescaleResult(NamedTuple):
    """Effective timescales of all units, as `fit_timescales` returns them.

    Attributes
    ----------
    tau : (units,) s; NaN where it could not be estimated
    tau_ci : (units, 2) interval in s; 0 or inf where that end is open; it always holds tau
    amplitude : (units,) variance of the decaying part, gamma(0)
    tau_1e : (units,) s, first 1/e crossing of the autocovariance with its bias undone
    tau_integral : (units,) s, the integral of the same up to its first zero crossing, over gamma(0)
    lags : (lags,) s
    acf : (lags, units) autocovariance as computed; NaN beyond the samples of a unit
    acf_fit : (lags, units) its fitted expectation
    n_trials, n_conditions : trials that were used, and their conditions; a trial without a sample,
        or alone in its condition, is not
    window_used : (units,) s, last lag of the window of this tau
    center_used : (units,) "trial" or "psth"
    dc_ratio : (units,) variance of trial means, found / predicted; NaN for one trial
    flag : (units,) words with commas between them, "" where all is well; see `fit_timescales`
    model_used : (units,) "exp", "two_exp" or "cos"; "" where nothing was fitted
    tau_fast : (units,) s, the faster of two exponentials; NaN below dt, or if there is only one
    fraction_slow : (units,) share of the slower one in gamma(0), else NaN
    frequency : (units,) Hz, of a damped cosine, else NaN
    tau_fast_ci, frequency_ci : (units, 2) their intervals, else NaN
    p_fit : (units,) probability of a misfit as large as the one found, were the model true
    estimator_used : (units,) "likelihood" of all modes, or "window": the lags from min_lag_used to
        window_used; "" where nothing was fitted
    min_lag_used : (units,) s, first lag of the window
    detrend_used : (units,) "constant" or "linear"

    Examples
    --------
    >>> from tau_rnn import fit_timescales
    >>> rng, decay = np.random.default_rng(0), np.exp(-0.05 / 0.2)
    >>> x = rng.standard_normal((20, 100, 1))
    >>> for t in range(1, 100):
    ...     x[:, t] = decay * x[:, t - 1] + np.sqrt(1 - decay**2) * x[:, t]
    >>> result = fit_timescales(x, dt=0.05)
    >>> bool(result.tau_ci[0, 0] < 0.2 < result.tau_ci[0, 1]), result.flag.tolist()
    (True, [''])
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
    tau_fast_ci: np.ndarray
    frequency_ci: np.ndarray
    p_fit: np.ndarray
    estimator_used: np.ndarray
    min_lag_used: np.ndarray
    detrend_used: np.ndarray
    n_conditions: int


WORDS = {"center_used": "trial", "detrend_used": "constant", "model_used": "",
         "estimator_used": "", "flag": ""}  # fmt: skip


def blank(n_units, n):
    """Results of units that cannot be fitted, to be filled in for those that can."""
    names = [name for name in TimescaleResult._fields if name != "lags" and name[:2] != "n_"]
    axes = {name: (2,) for name in names if name.endswith("_ci")} | {"acf": (n,), "acf_fit": (n,)}
    out = {name: np.full((n_units, *axes.get(name, ())), np.nan) for name in names}
    return out | {name: np.full(n_units, word, dtype=object) for name, word in WORDS.items()}


def report(acf, e, d, options, size):
    """What is told of units: `e`, their estimates by name, and `acf` (units, n), of design `d`.

    Both are those of rates divided by `size` (units,).
    """
    n, dt, tau = d.n, options.dt, e["tau"][:, 0]
    k, pairs = np.arange(n), np.maximum(d.kept, 1e-9)
    parts = e["amplitude"][:, :, None] * np.exp(-k * dt / e["tau"][:, :, None])
    gamma = parts.sum(axis=1) * np.cos(2 * np.pi * e["frequency"][:, None] * dt * k)
    fitted = d.expected_acf(gamma + e["noise"][:, None] * (k == 0))
    debiased = gamma + np.where(d.kept > 1e-9, acf - fitted, 0)
    total, first = e["amplitude"].sum(axis=1), e["first"]

    white = acf[:, 0] / np.sqrt(pairs[1])  # standard error of c(k) where nothing is correlated
    negative = (acf[:, 1] < -Z_CLEAR * white) & (first <= 1) & (options.model != "cos")
    squares = 2 * np.sum(gamma[:, 1:] ** 2, axis=1) + acf[:, 0] ** 2
    error = np.sqrt((squares / np.minimum(2 * e["behind"], 1))[:, None] / pairs)
    seen = (k >= first[:, None]) & (k <= 0.75 * n)
    dip = (debiased < -Z_CLEAR * error) & (debiased < -MIN_DIP * total[:, None]) & seen
    nothing = e["silent"] & ~negative
    wavy = dip.any(axis=1) & ~nothing & ~negative & (e["model"] == "exp") & ~e["gain"]
    lost = nothing | negative | wavy
    refuted = ~lost & (e["p_fit"] < REFUTED) & (e["model"] != "exp")  # nothing else to go by
    low, high = np.fmin(e["interval"][:, 0], tau), np.fmax(e["interval"][:, 1], tau)
    fast = np.where(nothing, options.use_lag0 is True, ~lost & ~refuted & (tau < dt))
    below = ((nothing & (pairs[1] > ENOUGH)) | (fast & (high <= dt))) & ~e["few"]
    long = ~lost & (tau > d.span * dt / 3)
    asked = options.use_lag0 == "auto" or options.model in ("two_exp", "auto")
    words = {
        "no_positive_decay": negative,
        "no_power": (nothing | fast) & ~below,
        "unresolved": below,
        "oscillatory": wavy,
        "exceeds_trial": long,
        "nugget": ~lost & (first == 0) & e["noisy"] & asked,
        "misfit": ~lost & (e["p_fit"] < MISFIT),
        "min_lag": ~lost & (first > 1) & (options.min_lag == "auto"),
        "dc_drift": e["offsets"],
        "trend": e["slopes"],
        "gain": e["gain"],
    }
    low = np.where(below | nothing, 0, low)
    high = np.where(below & nothing, dt, np.where(nothing | long, np.inf, high))
    found = ~lost & (e["bound"] == 0)
    ends = ~negative & ~wavy & ~refuted & (options.ci is not None)
    pair, wave = found & (e["amplitude"][:, 1] > 0), found & (e["model"] == "cos")
    kept, most = d.kept / np.maximum(d.pairs, 1), min(n, mo.MAX_LAGS) - 1
    start = np.maximum(first, (e["noise"] > 0) | (options.use_lag0 is False))
    window = np.clip(np.ceil(options.window * tau / dt), start + mo.MIN_LAGS, most)
    with np.errstate(over="ignore"):  # variances of rates near 1e200
        # not by size^2, which may be inf where a variance is 0
        amplitude = total * size * size
        acf, fitted = (v * kept * size[:, None] * size[:, None] for v in (acf, fitted))
    return {
        "tau": only(found, tau),
        "tau_ci": only(ends, np.stack([low, high], axis=1)),
        "amplitude": only(found, amplitude),
        "tau_1e": only(found, mo.first_crossing(debiased, np.exp(-1)) * dt),
        "tau_integral": only(found, mo.integral(debiased) * dt),
        "tau_fast": only(pair, e["tau"][:, 1]),
        "tau_fast_ci": only(pair & ends, e["second_ci"]),
        "fraction_slow": only(pair, e["amplitude"][:, 0]) / total,
        "frequency": only(wave, e["frequency"]),
        "frequency_ci": only(wave & ends, e["second_ci"]),
        "acf": acf,
        "acf_fit": fitted,
        "window_used": window * dt,
        "min_lag_used": start * dt,
        "center_used": "trial" if d.order else "psth",
        "detrend_used": "linear" if d.order == 2 else "constant",
        "dc_ratio": e["dc_ratio"],
        "p_fit": e["p_fit"],
        "model_used": e["model"],
        "estimator_used": e["estimator"],
        "flag": [",".join(w for w, given in words.items() if given[i]) for i in range(len(tau))],
    }


def only(units, values):
    """Values of some units, NaN for the others."""
    return np.where(units if values.ndim == 1 else units[:, None], values, np.nan)
