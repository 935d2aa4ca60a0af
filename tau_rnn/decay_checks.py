"""What the trials say about a fit: noise at lag 0, offsets, oscillation, intervals.

Internals of `timescales`. Everything here compares a mean over trials with its spread over trials,
which needs no model of how the lags are correlated with each other.
"""

from typing import NamedTuple

import numpy as np

from . import decay_models as dm

Z_NUGGET, MIN_NUGGET = 3.0, 0.02  # standard errors; fraction of the variance below which it is idle
Z_SIGNAL = 4.0  # standard errors of white noise
Z_DIP, MIN_DIP = 5.0, 0.1  # standard errors; fraction of the amplitude
EPS = 1e-4  # step in log tau of central differences of smooth shapes
TINY = np.finfo(float).tiny


class Rows(NamedTuple):
    """Exponential fits of several units whose autocovariances were centred in one way."""

    c_trials: np.ndarray  # (rows, M, n)
    fit: dm.ExpFit
    lag0: np.ndarray  # (rows,) whether lag 0 was used
    nugget: np.ndarray  # (rows,) variance of white observation noise, 0 where none shows
    influence: np.ndarray  # (rows, M, 2)
    s: dm.Setting

    def take(self, rows):
        fit = dm.ExpFit(*(field[rows] for field in self.fit))
        own = (field[rows] for field in (self.lag0, self.nugget, self.influence))
        return Rows(self.c_trials[rows], fit, *own, self.s)


def fit_center(c_trials, center, o):
    """Fit every row with and without lag 0 and keep what the presence of a nugget asks for."""
    n = c_trials.shape[-1]
    s = dm.Setting(n, o.dt, center, o.window)
    c = c_trials.mean(axis=1)
    without = dm.fit_exp(c, s, False)
    moved = dm.influence(without, c_trials, s, False)
    nugget, shows = nugget_at_lag0(c_trials, without, moved, s)
    noisy = np.full(len(c), not o.use_lag0)
    if o.use_lag0 == "auto":
        noisy = shows & o.enough & (signal(c, without, s, c_trials.shape[1]) > Z_SIGNAL)
    if noisy.all():
        return Rows(c_trials, without, ~noisy, nugget, moved, s)
    fit = dm.fit_exp(c, s, True)
    fit = dm.ExpFit(*(np.where(noisy, a, b) for a, b in zip(without, fit)))
    moved = dm.influence(fit, c_trials, s, ~noisy)
    return Rows(c_trials, fit, ~noisy, np.where(noisy, nugget, 0.0), moved, s)


def nugget_at_lag0(c_trials, fit, moved, s):
    """Variance of white observation noise at lag 0, and whether there is any.

    Two signs are asked for, since a unit with several timescales gives the first alone: lag 0
    above the fit to the other lags, and a jump of c at lag 0 against its extrapolation from lags
    1 to 3 (less what the fitted exponential itself shows of it).
    """
    share = 1 - 1 / s.n if s.center == "trial" else 1.0
    lag0 = [dm.expectation(dm.decay(fit.log_tau + e, s), s)[:, :4] for e in (0, EPS, -EPS)]
    slope = fit.amplitude[:, None] * (lag0[1] - lag0[2]) / (2 * EPS)
    d = c_trials - c_trials.mean(axis=1, keepdims=True)
    excess = c_trials[:, :, :4].mean(axis=1) - fit.amplitude[:, None] * lag0[0]
    spread = (
        d[:, :, :4] - moved[:, :, :1] * lag0[0][:, None] - moved[:, :, 1:] * slope[:, None]
    )  # (rows, M, 4): each trial's contribution to `excess`
    third = np.array([1.0, -3.0, 3.0, -1.0])
    total = np.maximum(c_trials[:, :, 0].mean(axis=1), TINY)
    shows = np.ones(len(total), dtype=bool)
    for found, by_trial in ((excess[:, 0], spread[:, :, 0]), (excess @ third, spread @ third)):
        shows &= (found > Z_NUGGET * standard_error(by_trial)) & (found > MIN_NUGGET * total)
    return np.maximum(excess[:, 0] / share, 0), shows


def standard_error(by_trial):
    """Standard error of a mean over trials (rows,) from contributions (rows, M)."""
    n_trials = by_trial.shape[1]
    return np.sqrt(np.sum(by_trial**2, axis=1) / (n_trials * max(n_trials - 1, 1)))


def offsets(rows, p, dof):
    """Variance of the trial means against the fit of E: ratio, and its log in standard errors."""
    s, fit = rows.s, rows.fit
    squares = p.mean(axis=2) ** 2 / dof  # (rows, M)
    found = squares.mean(axis=1)
    mean_var = [variance_of_mean(fit.log_tau + e, s) for e in (0, EPS, -EPS)]
    predicted = (fit.amplitude * mean_var[0] + rows.nugget / s.n) / dof
    slope = fit.amplitude * (mean_var[1] - mean_var[2]) / (2 * EPS)
    predicted, found = np.maximum(predicted, TINY), np.maximum(found, TINY)
    da, dlog_tau = rows.influence[:, :, 0], rows.influence[:, :, 1]
    moved = da * mean_var[0][:, None] + dlog_tau * slope[:, None]
    by_trial = squares / found[:, None] - 1 - moved / (dof * predicted[:, None])
    ratio = found / predicted
    return ratio, np.log(ratio) / np.maximum(standard_error(by_trial), TINY)


def variance_of_mean(log_tau, s):
    """Variance of the mean of s.n samples of a unit-variance exponential process."""
    gamma = dm.decay(log_tau, s)
    k = np.arange(s.n)
    return (2 * gamma @ (s.n - k) - s.n) / s.n**2


def signal(c, fit, s, n_trials):
    """Weighted sum of the shape times c at lags >= 1, in standard errors of white noise (rows,)."""
    w = dm.lag_weights(fit.k_max, False, s)
    f = dm.exp_shape(fit.log_tau, s)
    found = np.sum(w * f * dm.without_nugget(c, s), axis=1)
    noise = np.sqrt(np.sum(w * w * f * f / (s.n - np.arange(s.n)), axis=1) / n_trials)
    return found / np.maximum(c[:, 0] * noise, TINY)


def oscillates(gamma_hat, c_trials, fit, s, enough):
    """Whether the autocovariance, its bias undone, falls clearly below zero (rows,)."""
    n_trials = c_trials.shape[1]
    if enough:
        error = c_trials.std(axis=1, ddof=1) / np.sqrt(n_trials)
    else:  # Bartlett's large-lag standard error of an exponential
        q = dm.decay(fit.log_tau, s)[:, 1:2] ** 2
        products = n_trials * (s.n - np.arange(s.n))
        error = fit.amplitude[:, None] * np.sqrt((1 + q) / (1 - q) / products)
    k = np.arange(s.n) <= 0.75 * s.n  # beyond, few products are left
    dip = (gamma_hat < -Z_DIP * error) & (gamma_hat < -MIN_DIP * fit.amplitude[:, None]) & k
    return dip.any(axis=1)


def bootstrap_exp(rows, resamples):
    """Percentile 95 % interval of tau (rows, 2) over resampled trials; 0 and inf for the bounds."""
    interval = np.empty((len(rows.c_trials), 2))
    for i, c_trials in enumerate(rows.c_trials):
        c = resamples @ c_trials / len(c_trials)
        fit = dm.fit_exp(
            c, rows.s, rows.lag0[i], k_max=rows.fit.k_max[i], iterations=3, refine=False
        )
        tau = np.where(fit.bound == 0, np.exp(fit.log_tau), np.where(fit.bound > 0, np.inf, 0))
        interval[i] = percentile_interval(tau)
    return interval


def percentile_interval(samples):
    """2.5 % and 97.5 % points; order statistics, so that infinities stay what they are."""
    return np.quantile(samples, (0.025, 0.975), method="inverted_cdf")
