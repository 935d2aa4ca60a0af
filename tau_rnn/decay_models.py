"""Least-squares fits of decay models to autocovariances, many at once: internals of `timescales`.

Every function works on rows: one row is one autocovariance c (lags,) to be fitted, of one unit or
of one bootstrap sample. Amplitudes enter linearly and are profiled out, which leaves a search over
log tau on a grid that covers every resolvable value: no starting values, no local minima.
"""

from typing import NamedTuple

import numpy as np

from .autocovariance import expected_acf

N_GRID = 400  # log tau, spacing about 0.03 for 500 samples; refined to 1e-6 afterwards
SHORTEST, LONGEST = 0.05, 20.0  # ends of the search: 0.05 dt (decay factor 2e-9), 20 n dt
MIN_LAGS = 4  # the window never shrinks below lags 0..4


class Setting(NamedTuple):
    """What all rows of a fit share."""

    n: int  # samples per trial
    dt: float  # s
    center: str  # "trial" or "psth": what was subtracted before c was computed
    window: float  # lags up to window * tau


class ExpFit(NamedTuple):
    """Rows of a = amplitude and tau = exp(log_tau), over lags 0..k_max."""

    log_tau: np.ndarray
    amplitude: np.ndarray
    k_max: np.ndarray
    bound: np.ndarray  # -1 or 1 where the search ended at its lower or upper end, else 0


def expectation(gamma, s):
    """What `gamma` (..., n) is expected to look like after the centring of setting `s`."""
    return expected_acf(gamma, s.n) if s.center == "trial" else gamma


def without_nugget(c, s):
    """A combination of lags that white observation noise touches at lag 0 only.

    Noise of variance b adds b (delta_k0 - 1/n) after subtraction of the trial mean, so
    c(k) + c(0)/(n - 1) is free of it for k >= 1; without that subtraction c(k) itself is. Data and
    shapes go through this same linear map, so that leaving lag 0 out is all that noise asks for.
    """
    return c if s.center == "psth" else c + c[..., :1] / (s.n - 1)


def decay(log_tau, s):
    """exp(-t/tau) at every lag (rows, n)."""
    return np.exp(-s.dt * np.arange(s.n) / np.exp(np.asarray(log_tau))[..., None])


def exp_shape(log_tau, s):
    """Expected autocovariance (rows, n) of exponentials of unit amplitude, free of noise."""
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


def log_tau_grid(s):
    return np.linspace(np.log(SHORTEST * s.dt), np.log(LONGEST * s.n * s.dt), N_GRID)


def first_crossing(c, level):
    """First lag (fractional, linear between lags) at which rows of c fall below level * c(0).

    NaN where a row never does.
    """
    scaled = c / c[..., :1] - level
    below = scaled < 0
    k = below.argmax(axis=-1)
    before = np.take_along_axis(scaled, np.maximum(k - 1, 0)[..., None], -1)[..., 0]
    at = np.take_along_axis(scaled, k[..., None], -1)[..., 0]
    crossing = k - 1 + before / np.where(before == at, 1, before - at)
    return np.where(below.any(axis=-1), crossing, np.nan)


def profile(c, w, F):
    """Gain in explained sum of squares (rows, grid) of a * F with the best a >= 0."""
    num = np.maximum((w * c) @ F.T, 0)
    return num**2 / (w @ (F**2).T)


def fit_exp(c, s, lag0, *, k_max=None, iterations=15, refine=True):
    """Fit a * exp(-t/tau) in expectation to rows of c, lags up to window * tau, iterated.

    Parameters
    ----------
    c : ndarray, shape (rows, n)
    s : Setting
    lag0 : bool or ndarray of bool, shape (rows,)
        False: lag 0 is left out.
    k_max : array_like, shape (rows,), optional
        Window of the first iteration; from the 1/e crossing if None.
    iterations : int
        At most so many, ended early once no window changes.
    refine : bool
        Polish log tau from the grid's parabola (error near 1e-4) to 1e-6.

    Returns
    -------
    ExpFit
    """
    theta = log_tau_grid(s)
    F = exp_shape(theta, s)
    if k_max is None:
        crossing = np.nan_to_num(first_crossing(c, np.exp(-1)), nan=s.n - 1.0)
        k_max = window_lags(crossing * s.dt, s)
    k_max = np.broadcast_to(np.asarray(k_max, dtype=float), c.shape[:1])
    c = without_nugget(c, s)
    for _ in range(iterations):
        used = k_max
        n_lags = int(used.max()) + 1  # the rest has no weight
        w = lag_weights(used, lag0, s)[:, :n_lags]
        gain = profile(c[:, :n_lags], w, F[:, :n_lags])
        best = gain.argmax(axis=1)
        k_max = window_lags(np.exp(theta[best]), s)
        if np.array_equal(k_max, used):
            break
    bound = np.where(best == 0, -1, np.where(best == N_GRID - 1, 1, 0))
    rows = np.arange(len(c))
    inner = np.clip(best, 1, N_GRID - 2)
    step = theta[1] - theta[0]
    log_tau = theta[inner] + step * parabola_top(*(gain[rows, inner + j] for j in (-1, 0, 1)))
    for h in (0.1 * step, 0.01 * step) if refine else ():
        gains = [row_gain(c[:, :n_lags], w, log_tau + j * h, s) for j in (-1, 0, 1)]
        log_tau = log_tau + h * parabola_top(*gains)
    f = exp_shape(log_tau, s)[:, :n_lags]
    amplitude = np.sum(w * f * c[:, :n_lags], axis=1) / np.sum(w * f * f, axis=1)
    return ExpFit(log_tau, amplitude, used, bound)


def row_gain(c, w, log_tau, s):
    """`profile` at one log tau per row."""
    f = exp_shape(log_tau, s)[:, : c.shape[1]]
    return np.maximum(np.sum(w * f * c, axis=1), 0) ** 2 / np.sum(w * f * f, axis=1)


def parabola_top(left, middle, right):
    """Abscissa of the top of the parabola through (-1, left), (0, middle), (1, right), in [-1, 1].

    Where the three points have no top inside, the higher neighbour (or 0 on a flat top).
    """
    curvature = left - 2 * middle + right
    slope = 0.5 * (left - right)
    top = slope / np.where(curvature < 0, curvature, np.inf)
    uphill = np.where(right > left, 1.0, np.where(left > right, -1.0, 0.0))
    return np.clip(np.where(curvature < 0, top, uphill), -1, 1)


def influence(fit, c_trials, s, lag0):
    """Contribution of each trial to (amplitude, log tau): first order, shape (rows, trials, 2).

    The least-squares solution moves by (J' w J)^-1 J' w dc for a change dc of the autocovariance;
    the spread of these contributions over trials gives standard errors that assume nothing about
    how the lags are correlated.
    """
    eps = 1e-4
    f = exp_shape(fit.log_tau, s)
    slope = (exp_shape(fit.log_tau + eps, s) - exp_shape(fit.log_tau - eps, s)) / (2 * eps)
    J = np.stack([f, fit.amplitude[:, None] * slope], axis=1)  # (rows, 2, n)
    Jw = J * lag_weights(fit.k_max, lag0, s)[:, None, :]
    gram = Jw @ np.swapaxes(J, 1, 2)
    gain = np.linalg.pinv(gram) @ Jw  # pinv: a fit at its bound has a flat direction
    d = without_nugget(c_trials, s)
    d = d - d.mean(axis=1, keepdims=True)
    return d @ np.swapaxes(gain, 1, 2)
