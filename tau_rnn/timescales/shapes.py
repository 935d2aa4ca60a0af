"""Shapes of autocovariances and the setting in which they are fitted.

Every function works on rows: one row is one autocovariance c (lags,) to be fitted, of one unit or
of one bootstrap sample.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.timescales.acf import expected_acf

MIN_LAGS = 4  # the window never shrinks below lags 0..4
EPS = 1e-4  # step in log tau of central differences of smooth shapes
TINY = np.finfo(float).tiny


class Setting(NamedTuple):
    """What all rows of a fit share."""

    n: int  # samples per trial
    dt: float  # s
    center: str  # "trial" or "psth": what was subtracted before c was computed
    window: float  # lags up to window * tau


class Decay(NamedTuple):
    """A fitted autocovariance of each row: sum_j a_j exp(-t/tau_j) cos(2 pi f t), plus noise."""

    model: np.ndarray  # (rows,) "exp", "two_exp" or "cos"
    log_tau: np.ndarray  # (rows, 2), the slow one first
    amplitude: np.ndarray  # (rows, 2), the second 0 unless the model is "two_exp"
    frequency: np.ndarray  # (rows,) Hz, 0 unless the model is "cos"
    nugget: np.ndarray  # (rows,) variance of white observation noise
    k_max: np.ndarray  # (rows,) last lag used
    bound: np.ndarray  # (rows,) -1 or 1 where the search ended at its lower or upper end, else 0
    interval: np.ndarray  # (rows, 2) s, of the slow tau; NaN where none was asked for

    def gamma(self, s: Setting) -> np.ndarray:
        """The fitted true autocovariance (rows, n), without noise."""
        parts = self.amplitude[:, :, None] * decay(self.log_tau, s)
        wave = np.cos(2 * np.pi * self.frequency[:, None] * s.dt * np.arange(s.n))
        return parts.sum(axis=1) * wave

    def put(self, rows: np.ndarray, other: Decay) -> Decay:
        """A copy in which `rows` (indices) are those of `other`."""
        fields = [field.copy() for field in self]
        for mine, theirs in zip(fields, other):
            mine[rows] = theirs
        return Decay(*fields)


def expectation(gamma, s):
    """What `gamma` (..., n) is expected to look like after the centring of setting `s`."""
    return expected_acf(gamma, s.n) if s.center == "trial" else gamma


def noise_shape(s):
    """Expected autocovariance (n,) of white noise of unit variance."""
    return expectation(np.eye(1, s.n)[0], s)


def without_nugget(c, s):
    """A combination of lags that white observation noise touches at lag 0 only.

    Noise of variance b adds b (delta_k0 - 1/n) after subtraction of the trial mean, so
    c(k) + c(0)/(n - 1) is free of it for k >= 1; without that subtraction c(k) itself is. Data and
    shapes go through this same linear map, so that leaving lag 0 out is all that noise asks for.
    """
    return c if s.center == "psth" else c + c[..., :1] / (s.n - 1)


def decay(log_tau, s):
    """exp(-t/tau) at every lag (..., n)."""
    return np.exp(-s.dt * np.arange(s.n) / np.exp(np.asarray(log_tau))[..., None])


def exp_shape(log_tau, s):
    """Expected autocovariance (..., n) of exponentials of unit amplitude, through the map above."""
    return without_nugget(expectation(decay(log_tau, s), s), s)


def lag_weights(k_max, lag0, s):
    """Weights (rows, n): the number of products behind each lag, zero outside the window."""
    k = np.arange(s.n)
    w = np.where(k <= np.asarray(k_max)[..., None], s.n - k, 0).astype(float)
    w[..., 0] *= lag0
    return w


def window_lags(tau, s):
    """Last lag of the window for each tau."""
    return np.clip(np.ceil(s.window * tau / s.dt), min(MIN_LAGS, s.n - 1), s.n - 1)


def variance_of_mean(gamma, s):
    """Variance of the mean of n samples with autocovariance `gamma` (..., n)."""
    return (2 * gamma @ (s.n - np.arange(s.n)) - s.n * gamma[..., 0]) / s.n**2


def first_crossing(c, level):
    """First lag (fractional, linear between lags) at which rows of c fall below level * c(0).

    NaN where a row never does.
    """
    below = c < level * c[..., :1]
    k = below.argmax(axis=-1)
    at = np.take_along_axis(c, k[..., None], -1)[..., 0]
    before = np.take_along_axis(c, np.maximum(k - 1, 0)[..., None], -1)[..., 0]
    fall = np.where(before > at, before - at, 1)
    return np.where(below.any(axis=-1), k - 1 + (before - level * c[..., 0]) / fall, np.nan)


def integral(gamma):
    """Trapezoidal sum of gamma(k)/gamma(0) up to the first zero crossing (rows,), in samples."""
    positive = np.cumprod(gamma > 0, axis=1)
    return np.sum(positive * gamma, axis=1) / np.where(gamma[:, 0] > 0, gamma[:, 0], np.inf) - 0.5


def parabola_top(left, middle, right):
    """Abscissa of the top of the parabola through (-1, left), (0, middle), (1, right), in [-1, 1].

    Where the three points have no top inside: the higher neighbour, or 0 on a flat stretch.
    """
    curvature = left - 2 * middle + right
    top = 0.5 * (left - right) / np.where(curvature < 0, curvature, -np.inf)
    return np.clip(np.where(curvature < 0, top, np.sign(right - left)), -1, 1)


def standard_error(by_trial, dof):
    """Standard error of a mean over trials (rows,) from contributions (rows, M) of mean zero.

    With C condition means subtracted, the squares of residual trials of one condition are
    correlated by 1/(trials in it - 1)^2: the mean varies like one of dof = M - C, not M.
    """
    return np.sqrt(np.sum(by_trial**2, axis=1) / (by_trial.shape[1] * max(dof, 1)))


def percentile_interval(samples, n_trials, dof):
    """95 % percentile interval of bootstrap samples, by order statistics (infinities stay).

    The bootstrap of M trials is too narrow by sqrt(dof/M) (see `standard_error`) and by the step
    from Student's t to the normal; the levels are moved outwards by both (the expanded percentile
    interval of Hesterberg 2015, The American Statistician 69:371).
    """
    from scipy.special import ndtr, stdtrit

    samples = np.sort(samples)
    level = ndtr(np.sqrt(n_trials / dof) * stdtrit(dof, 0.025))
    rank = max(int(level * (len(samples) + 1)), 1)
    return samples[rank - 1], samples[len(samples) - rank]
