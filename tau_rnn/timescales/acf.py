"""Autocovariance of repeated trials: as computed, as expected, and exact.

Subtracting a trial's own mean biases its autocovariance, and more trials do not help: at a trial
length of five timescales a plain exponential fit is wrong by about half. The cure is to know the
bias. `expected_acf` gives it in closed form, `fit_timescales` fits with it.

References
----------
Marriott & Pope (1954) and Kendall (1954), Biometrika 41, for the bias of serial correlations.
Zeraati, Engel & Levina (2022), Nature Computational Science 2:193, for its effect on timescales.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import check_array, check_choice, check_dt, check_integer, check_size, shown
from tau_rnn.timescales.design import Design, products
from tau_rnn.timescales.recordings import recorded

__all__ = ["autocovariance", "expected_acf", "linear_network_acf", "timescale_of_decay"]


def timescale_of_decay(decay: ArrayLike, dt: float) -> np.ndarray:
    """Timescale of a quantity that is multiplied by ``decay`` at every step: -dt / ln(decay).

    The Euler trap: a leaky unit stepped as x += alpha * (-x + input) with alpha = dt/tau decays by
    1 - alpha a step, so its true timescale is -dt/ln(1 - alpha), which is *shorter* than tau
    (by half a step to first order). Compare estimates on such a unit with
    ``timescale_of_decay(1 - dt / tau, dt)``, not with tau. Exponential Euler has no such trap:
    ``timescale_of_decay(exp(-dt / tau), dt) == tau``.

    Parameters
    ----------
    decay : array_like
        Factor per step, 0 < decay < 1.
    dt : float
        Step (s).

    Returns
    -------
    ndarray or float
        Timescale (s), of the shape of ``decay``.

    Raises
    ------
    ValueError
        If dt <= 0 or a factor is outside (0, 1).

    Examples
    --------
    An Euler unit of 1 s, stepped by 0.1 s, decays faster than its tau says:

    >>> round(float(timescale_of_decay(1 - 0.1 / 1.0, 0.1)), 3)
    0.949
    """
    decay = check_array("decay", decay).astype(float)
    dt = check_dt(dt)
    if not np.all((decay > 0) & (decay < 1)):
        raise ValueError(f"decay: must lie strictly between 0 and 1, got {shown(decay)}")
    return -dt / np.log(decay)


def check_psth(center, n_trials):
    """Refuse to subtract from a single trial all that it is."""
    if center == "psth" and n_trials == 1:
        raise ValueError('center: "psth" needs two trials or more, got 1; use "trial"')


def autocovariance(
    rates: Any, *, conditions: ArrayLike | None = None, center: str = "trial",
    detrend: str = "constant", n_lags: int | None = None,
) -> np.ndarray:  # fmt: skip
    """Autocovariance of each unit, pooled over trials.

    c(k) = (1/K) sum_m sum_t y_mt y_m(t+k) over the K products of samples that are both there, M
    (n - k) where none is missing. y is ``rates`` less the mean of its condition at each time (the
    PSTH) and, with ``center="trial"``, less each trial's own mean (or line). The expected value is
    `expected_acf` of the true autocovariance for "trial", and the true autocovariance itself for
    "psth", both times (1 - C/M), with C conditions, for M > 1 whole trials.

    Parameters
    ----------
    rates : array_like, shape (trials, time, units), or a list of arrays (time_i, units)
        Firing rates, without burn-in: dropping it is the caller's work. NaN and masked values are
        gaps; a trial without a sample does not count.
    conditions : array_like, shape (trials,), optional
        Labels; the mean is subtracted within each. None: all trials are of one condition.
    center : {"trial", "psth"}
        See above. A single trial has no PSTH: only its own mean can be subtracted.
    detrend : {"constant", "linear"}
        What is subtracted from each trial with ``center="trial"``: its mean, or a straight line.
    n_lags : int, optional
        Lags 0 .. n_lags - 1 are returned; all of them (time) if None.

    Returns
    -------
    ndarray, shape (n_lags, units)
        NaN at lags at which no two samples are there.

    Raises
    ------
    ValueError
        For a wrong shape, label array, option or ``n_lags``; for "psth" with a single trial.

    Examples
    --------
    >>> rates = [[[1.0], [3.0], [1.0], [3.0]], [[5.0], [3.0], [5.0], [3.0]]]
    >>> autocovariance(rates, center="psth", n_lags=3).ravel()
    array([2., 0., 2.])
    """
    x, group = recorded(rates, conditions)
    check_size("rates", x)
    n_trials, n, n_units = x.shape
    check_choice("center", center, ("trial", "psth"))
    check_choice("detrend", detrend, ("constant", "linear"))
    check_psth(center, n_trials)
    n_lags = n if n_lags is None else check_integer("n_lags", n_lags, 1, n)
    order = 0 if center == "psth" else 1 + (detrend == "linear")
    acov, there = np.empty((n, n_units)), np.isfinite(x)
    design = Design(there[:, :, 0], group, order)
    for i in range(n_units):
        if not np.array_equal(design.mask, there[:, :, i]):
            design = Design(there[:, :, i], group, order)
        y = design.centred(x[:, :, i], offsets_first=False)
        acov[:, i] = products(y) / np.where(design.pairs > 0, design.pairs, np.nan)
    return acov[:n_lags]


def expected_acf(
    acov: ArrayLike, n: int, n_trials: int | None = None, *, detrend: str = "constant"
) -> np.ndarray:
    """Expected autocovariance of trials of n samples whose own mean was subtracted.

    With y = x - (mean of x over the trial), c(k) = sum_t y_t y_(t+k) / (n - k) and K = n - k::

        E c(k) = gamma(k) - 2 S_K / K + S_n / n,
        S_K    = (1/n) sum_(i<=K) sum_(j<=n) gamma(i - j),

    which is the mean of the k-th diagonal of H R H, with R_ij = gamma(i - j) and H = 1 - 1/n the
    centring matrix. Subtracting the mean over M trials as well multiplies it by (1 - 1/M). For an
    Ornstein-Uhlenbeck process gamma(k) = s2 phi^k, phi = exp(-dt/tau), the sum is::

        S_K = s2/(n (1 - phi)) [K (1 + phi) - (phi + phi^(k+1)) (1 - phi^K) / (1 - phi)].

    The map is linear in gamma, so it serves mixtures and damped cosines; it sends constants to
    zero, so trial-to-trial offsets drop out; and white noise of variance s2, gamma = s2 delta_k0,
    becomes s2 (delta_k0 - 1/n).

    With ``detrend="linear"``, H projects on what is orthogonal to the constant and the line: with
    orthonormal trends b, H = 1 - sum b b', and the k-th diagonal of H R H is taken as before.

    Parameters
    ----------
    acov : array_like, shape (..., n)
        True autocovariance gamma(0) .. gamma(n - 1), lags along the last axis.
    n : int
        Samples per trial.
    n_trials : int, optional
        M, if the mean over M trials was subtracted at each time too.
    detrend : {"constant", "linear"}
        What was subtracted from each trial.

    Returns
    -------
    ndarray, shape (..., n)

    Raises
    ------
    ValueError
        If the last axis of ``acov`` has not length n, or n_trials < 1.

    Examples
    --------
    White noise of which each trial's mean was subtracted looks anticorrelated by 1/n:

    >>> expected_acf([1.0, 0.0, 0.0, 0.0], 4)
    array([ 0.75, -0.25, -0.25, -0.25])
    """
    gamma = check_array("acov", acov).astype(float)
    n = check_integer("n", n, 1)
    if gamma.shape[-1:] != (n,):
        raise ValueError(f"acov: must have n = {n} lags along its last axis, got {gamma.shape}")
    left = 1.0 if n_trials is None else 1 - 1 / check_integer("n_trials", n_trials, 1)
    check_choice("detrend", detrend, ("constant", "linear"))
    whole = np.ones((1, n), dtype=bool)
    design = Design(whole, np.zeros(1, dtype=int), 1 + (detrend == "linear"))
    return design.expected_acf(gamma) * left


def linear_network_acf(A: ArrayLike, Q: ArrayLike, lags: ArrayLike) -> np.ndarray:
    """Exact stationary autocovariance of each unit of dx = A x dt + dw, cov(dw) = Q dt.

    The stationary covariance P solves the Lyapunov equation A P + P A^T + Q = 0, and the
    autocovariance matrix at lag s >= 0 is expm(A s) P; its diagonal is returned. For the network of
    these tutorials without nonlinearity, A = diag(1/tau) (W - 1).

    Parameters
    ----------
    A : array_like, shape (N, N)
        Drift (1/s); every eigenvalue has a negative real part.
    Q : array_like, shape (N, N)
        Noise covariance per second, symmetric and positive semidefinite.
    lags : array_like, shape (n_lags,)
        Lags (s), >= 0.

    Returns
    -------
    ndarray, shape (n_lags, N)

    Raises
    ------
    ValueError
        For wrong shapes, values that are not finite and real, negative lags, a Q that is no
        covariance, or an unstable A (it has no stationary state).

    Examples
    --------
    Two units of 0.5 and 2 s without recurrence: each decays with its own time constant.

    >>> A, Q = np.diag([-2.0, -0.5]), np.diag([4.0, 1.0])
    >>> linear_network_acf(A, Q, [0.0, 1.0]).round(3)
    array([[1.   , 1.   ],
           [0.135, 0.607]])
    """
    from scipy.linalg import expm, solve_continuous_lyapunov

    A = check_array("A", A, ("N", "N")).astype(float)
    check_array("A", A, (len(A), len(A)))
    Q = check_array("Q", Q, A.shape).astype(float)
    lags = check_array("lags", lags, ("lags",))
    if not np.allclose(Q, Q.T, atol=1e-8 * np.abs(Q).max()):
        raise ValueError("Q: must be symmetric, got an array that is not")
    variances = np.linalg.eigvalsh(Q)
    if variances[0] < -1e-10 * np.abs(variances).max():  # less is rounding
        raise ValueError(f"Q: must be a covariance, got an eigenvalue of {variances[0]:.3g}")
    if np.any(lags < 0):
        raise ValueError(f"lags: must be times >= 0 s, got {lags.min():g}")
    slowest = np.linalg.eigvals(A).real.max()
    if not slowest < 0:
        raise ValueError(f"A: must be stable, got an eigenvalue of real part {slowest:.3g}")
    P = solve_continuous_lyapunov(A, -Q)
    return np.stack([np.diagonal(expm(A * s) @ P) for s in lags])
