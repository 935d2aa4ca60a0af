"""What the trials say about a fit: noise at lag 0, offsets, oscillation, intervals.

Everything here compares a mean over trials with its spread over trials, which needs no model of
how the lags are correlated with each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.timescales import shapes as sh
from tau_rnn.timescales.exponential import ExpFit, fit_exp, influence

Z_NUGGET, MIN_NUGGET = 3.0, 0.02  # standard errors; fraction of the variance below which it is idle
Z_SIGNAL = 4.0  # standard errors of white noise
Z_DIP, MIN_DIP = 5.0, 0.1  # standard errors; fraction of the amplitude
LEAST = 1e-40  # variance that a fit without amplitude predicts; those of rates are above 1e-24


class Rows(NamedTuple):
    """Exponential fits of several units whose autocovariances were centred in one way."""

    c_trials: np.ndarray  # (rows, M, n)
    fit: ExpFit
    lag0: np.ndarray  # (rows,) whether lag 0 was used
    nugget: np.ndarray  # (rows,) variance of white observation noise, 0 where none shows
    influence: np.ndarray  # (rows, M, 2)
    s: sh.Setting

    def take(self, rows: np.ndarray) -> Rows:
        """Some of the rows."""
        fit = ExpFit(*(field[rows] for field in self.fit))
        lag0, nugget, moved = self.lag0[rows], self.nugget[rows], self.influence[rows]
        return Rows(self.c_trials[rows], fit, lag0, nugget, moved, self.s)


def fit_center(c_trials, s, use_lag0, dof, enough):
    """Fit every row with and without lag 0 and keep what the presence of a nugget asks for.

    Parameters
    ----------
    c_trials : ndarray, shape (rows, M, n)
    s : Setting
    use_lag0 : bool or "auto"
    dof : int
        Trials less conditions.
    enough : bool
        Whether these are trials enough to tell a nugget; without them "auto" means True.
    """
    c = c_trials.mean(axis=1)
    without = fit_exp(c, s, False)
    moved = influence(without, c_trials, s, False)
    nugget, shows = nugget_at_lag0(c_trials, without, moved, s, dof)
    noisy = np.full(len(c), not use_lag0)
    if use_lag0 == "auto":
        shape = sh.exp_shape(without.log_tau, s)
        heard = signal(c, shape, without.k_max, s, c_trials.shape[1]) > Z_SIGNAL
        noisy = shows & heard & enough
    if noisy.all():
        return Rows(c_trials, without, ~noisy, nugget, moved, s)
    fit = fit_exp(c, s, True)
    fit = ExpFit(*(np.where(noisy, a, b) for a, b in zip(without, fit)))
    moved = influence(fit, c_trials, s, ~noisy)
    return Rows(c_trials, fit, ~noisy, np.where(noisy, nugget, 0.0), moved, s)


def nugget_at_lag0(c_trials, fit, moved, s, dof):
    """Variance of white observation noise at lag 0 (rows,), and whether there is any (rows,).

    Two signs are asked for, since a unit with several timescales gives the first alone: lag 0
    above the fit to the other lags, and a jump of c at lag 0 against its extrapolation from lags
    1 to 3 (less what the fitted exponential itself shows of it).
    """
    share = sh.noise_shape(s)[0]
    at, up, down = (
        sh.expectation(sh.decay(fit.log_tau + e, s), s)[:, :4] for e in (0, sh.EPS, -sh.EPS)
    )
    slope = fit.amplitude[:, None] * (up - down) / (2 * sh.EPS)
    first = c_trials[:, :, :4]
    mean = first.mean(axis=1)
    excess = mean - fit.amplitude[:, None] * at
    by_trial = first - mean[:, None] - moved[:, :, :1] * at[:, None]
    by_trial -= moved[:, :, 1:] * slope[:, None]  # (rows, M, 4): what each trial adds to `excess`
    shows = np.ones(len(mean), dtype=bool)
    for combination in ([1.0, 0.0, 0.0, 0.0], [1.0, -3.0, 3.0, -1.0]):
        found, error = excess @ combination, sh.standard_error(by_trial @ combination, dof)
        shows &= (found > Z_NUGGET * error) & (found > MIN_NUGGET * mean[:, 0])
    return np.maximum(excess[:, 0] / share, 0), shows


def offsets(rows, means, dof):
    """Variance of the trial means against what the fit of E predicts.

    Parameters
    ----------
    rows : Rows
        Fits with center "trial".
    means : ndarray, shape (rows, M)
        Trial means of the rates less their condition mean.
    dof : int
        Trials less conditions.

    Returns
    -------
    ratio, z : ndarray, shape (rows,)
        Found / predicted, and its logarithm in standard errors.
    """
    s, fit = rows.s, rows.fit
    at, up, down = (
        sh.variance_of_mean(sh.decay(fit.log_tau + e, s), s) for e in (0, sh.EPS, -sh.EPS)
    )
    slope = fit.amplitude * (up - down) / (2 * sh.EPS)
    moved = rows.influence[:, :, 0] * at[:, None] + rows.influence[:, :, 1] * slope[:, None]
    return compare_offsets(means, fit.amplitude * at + rows.nugget / s.n, moved, dof)


def compare_offsets(means, predicted, moved, dof):
    """`offsets` from the predicted variance (rows,) and each trial's influence on it (rows, M)."""
    squares = means**2
    found = np.maximum(squares.mean(axis=1), sh.TINY)
    predicted = np.maximum(predicted, LEAST)
    by_trial = squares / found[:, None] - 1 - moved / predicted[:, None]
    ratio = found / predicted
    return ratio, np.log(ratio) / np.maximum(sh.standard_error(by_trial, dof), 1e-12)


def signal(c, shape, k_max, s, n_trials):
    """Weighted sum of the shape times c at lags >= 1, in standard errors of white noise (rows,)."""
    w = sh.lag_weights(k_max, False, s)
    found = np.sum(w * shape * sh.without_nugget(c, s), axis=1)
    noise = np.sqrt(np.sum((w * shape) ** 2 / (s.n - np.arange(s.n)), axis=1) / n_trials)
    return found / np.maximum(c[:, 0] * noise, sh.TINY)


def oscillates(gamma_hat, c_trials, amplitude, log_tau, s, enough):
    """Whether the autocovariance, its bias undone, falls clearly below zero (rows,)."""
    n_trials = c_trials.shape[1]
    if enough:
        error = c_trials.std(axis=1, ddof=1) / np.sqrt(n_trials)
    else:  # Bartlett's large-lag standard error of an exponential
        q = np.exp(-2 * s.dt / np.exp(log_tau))[:, None]
        products = n_trials * (s.n - np.arange(s.n))
        error = amplitude[:, None] * np.sqrt((1 + q) / (1 - q) / products)
    k = np.arange(s.n) <= 0.75 * s.n  # beyond, few products are left
    dip = (gamma_hat < -Z_DIP * error) & (gamma_hat < -MIN_DIP * amplitude[:, None]) & k
    return dip.any(axis=1)


def exp_decay(rows, resamples, dof):
    """The exponential fits as a Decay, with percentile intervals over resampled trials."""
    fit, n_rows = rows.fit, len(rows.c_trials)
    interval = np.full((n_rows, 2), np.nan)
    if resamples is not None:
        for i, c_trials in enumerate(rows.c_trials):
            c = resamples @ c_trials / len(c_trials)
            of = fit_exp(c, rows.s, rows.lag0[i], k_max=fit.k_max[i], iterations=3, refine=False)
            tau = np.where(of.bound == 0, np.exp(of.log_tau), np.where(of.bound > 0, np.inf, 0))
            interval[i] = sh.percentile_interval(tau, len(c_trials), dof)
    return sh.Decay(
        np.full(n_rows, "exp", dtype=object),
        np.stack([fit.log_tau, fit.log_tau], axis=1),
        np.stack([fit.amplitude, np.zeros(n_rows)], axis=1),
        np.zeros(n_rows),
        rows.nugget,
        fit.k_max,
        fit.bound,
        interval,
    )
