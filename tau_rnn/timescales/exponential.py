"""One exponential: a profile search over log tau, for many autocovariances at once.

The amplitude enters linearly and is profiled out, which leaves a one-dimensional search on a grid
that covers every resolvable tau: in a given window no starting values, no local minima. The window
starts at the 1/e crossing of c and follows the tau found.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tau_rnn.checks import check_dt, check_number, nearest
from tau_rnn.timescales import shapes as sh

N_GRID = 400  # of log tau: spacing about 0.03 for 500 samples; refined to 1e-6 afterwards
CENTERS = ("psth", "trial")
SHORTEST, LONGEST = 0.05, 20.0  # ends of the search: 0.05 dt (decay factor 2e-9), 20 n dt


class ExpFit(NamedTuple):
    """Rows of a = amplitude and tau = exp(log_tau), fitted over lags 0..k_max."""

    log_tau: np.ndarray
    amplitude: np.ndarray
    k_max: np.ndarray
    bound: np.ndarray  # -1 or 1 where the search ended at its lower or upper end, else 0


def log_tau_grid(s):
    """The grid of the search."""
    return np.linspace(np.log(SHORTEST * s.dt), np.log(LONGEST * s.n * s.dt), N_GRID)


def check_window(window):
    """The window as a float, or a ValueError if it is not positive and finite."""
    value = check_number("window", window)
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"window must be a finite number > 0 (of timescales), got {window!r}")
    return value


@lru_cache(maxsize=4)
def grid_shapes(s):
    """The grid and its shapes (grid, n), kept: every chunk and bootstrap of a call uses them."""
    theta = log_tau_grid(s)
    F = sh.exp_shape(theta, s)
    F.flags.writeable = False
    return theta, F


def fit_exp(c, s, lag0, *, k_max=None, iterations=15, refine=True):
    """Fit a * exp(-t/tau) in expectation to rows of c, lags up to window * tau, iterated.

    Minimises sum_k (n - k) (c(k) - a f_tau(k))^2 over a >= 0 and tau, with f the expectation of
    exp(-t/tau) after the centring of `s`.

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
    theta, F = grid_shapes(s)
    if k_max is None:
        crossing = np.nan_to_num(sh.first_crossing(c, np.exp(-1)), nan=s.n - 1.0)
        k_max = sh.window_lags(crossing * s.dt, s)
    k_max = np.broadcast_to(np.asarray(k_max, dtype=float), c.shape[:1])
    c = sh.without_nugget(c, s)
    for _ in range(iterations):
        used = k_max
        n_lags = int(used.max()) + 1  # the rest has no weight
        w = sh.lag_weights(used, lag0, s)[:, :n_lags]
        f = F[:, :n_lags]
        gain = np.maximum((w * c[:, :n_lags]) @ f.T, 0) ** 2 / (w @ (f**2).T)
        best = gain.argmax(axis=1)
        k_max = sh.window_lags(np.exp(theta[best]), s)
        if np.array_equal(k_max, used):
            break
    bound = np.where(best == 0, -1, np.where(best == N_GRID - 1, 1, 0))
    rows = np.arange(len(c))
    inner = np.clip(best, 1, N_GRID - 2)
    step = theta[1] - theta[0]
    log_tau = theta[inner] + step * sh.parabola_top(*(gain[rows, inner + j] for j in (-1, 0, 1)))
    c = c[:, :n_lags]
    for h in (0.1 * step, 0.01 * step) if refine else ():
        gains = []
        for j in (-1, 0, 1):
            f = sh.exp_shape(log_tau + j * h, s)[:, :n_lags]
            gains.append(np.sum(w * f * c, axis=1) ** 2 / np.sum(w * f * f, axis=1))
        log_tau = log_tau + h * sh.parabola_top(*gains)
    f = sh.exp_shape(log_tau, s)[:, :n_lags]
    amplitude = np.sum(w * f * c, axis=1) / np.sum(w * f * f, axis=1)
    return ExpFit(log_tau, amplitude, used, bound)


def influence(fit, c_trials, s, lag0):
    """Contribution of each trial to (amplitude, log tau): first order, shape (rows, trials, 2).

    The least-squares solution moves by (J' w J)^-1 J' w dc for a change dc of the autocovariance;
    the spread of these contributions over trials gives standard errors that assume nothing about
    how the lags are correlated.
    """
    f = sh.exp_shape(fit.log_tau, s)
    up, down = (sh.exp_shape(fit.log_tau + e, s) for e in (sh.EPS, -sh.EPS))
    J = np.stack([f, fit.amplitude[:, None] * (up - down) / (2 * sh.EPS)], axis=1)  # (rows, 2, n)
    Jw = J * sh.lag_weights(fit.k_max, lag0, s)[:, None, :]
    gain = np.linalg.pinv(Jw @ np.swapaxes(J, 1, 2)) @ Jw  # pinv: flat directions at a bound
    if s.center == "trial":  # the adjoint of `without_nugget`, cheaper than mapping every trial
        gain[..., 0] += gain.sum(axis=2) / (s.n - 1)
    moved = c_trials @ np.swapaxes(gain, 1, 2)
    return moved - moved.mean(axis=1, keepdims=True)


def timescale_of_acf(acov, dt, *, window=2.0, center="psth"):
    """The timescale that `fit_timescales` aims at, for a true autocovariance given exactly.

    A unit with several timescales has no single one: the exponential fitted over lags up to
    `window` times its own tau, weighted as in `fit_timescales`, *defines* it, together with what
    was subtracted: the mean of a trial takes part of a slow component with it, so "trial" gives
    such a unit a shorter timescale than "psth". A unit with one timescale has the same under both.
    The window is iterated from the 1/e crossing; a mixture of very different timescales may have
    several windows that agree with themselves. Compare estimates on a network with this number for
    its exact autocovariance (`linear_network_acf`), centred as they were (`center_used`).

    Parameters
    ----------
    acov : array_like, shape (lags, units)
        gamma(0), gamma(dt), ...; as many lags as a trial has samples.
    dt : float
        Step (s).
    window : float
        As in `fit_timescales`.
    center : {"psth", "trial"}
        As in `fit_timescales`.

    Returns
    -------
    ndarray, shape (units,)
        Timescales (s); NaN where the autocovariance is not positive at lag 0 or the search ends at
        a bound.

    Raises
    ------
    ValueError
        For a wrong shape, dt, window or center.
    """
    acov = np.asarray(acov, dtype=float)
    if acov.ndim != 2 or len(acov) <= sh.MIN_LAGS or not np.isfinite(acov).all():
        raise ValueError(
            f"acov must be finite, of shape (lags, units) with lags > {sh.MIN_LAGS}, "
            f"got shape {acov.shape}"
        )
    if center not in CENTERS:
        raise ValueError(f"center: got {center!r}; {nearest(center, CENTERS)}")
    s = sh.Setting(len(acov), check_dt(dt), center, check_window(window))
    tau = np.full(acov.shape[1], np.nan)
    live = acov[0] > 0
    if live.any():
        fit = fit_exp(sh.expectation((acov[:, live] / acov[0, live]).T, s), s, True)
        tau[live] = np.where(fit.bound == 0, np.exp(fit.log_tau), np.nan)
    return tau
