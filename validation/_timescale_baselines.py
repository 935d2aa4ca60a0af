"""Exactly simulated units of known timescale, and the estimators in common use.

Shared by timescale_recovery.py and the benchmark of the same subject; no check of its own.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm, solve_continuous_lyapunov
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.signal import lfilter

from tau_rnn.timescales import autocovariance, timescale_of_decay

N_TRIALS = 100

# --- what is simulated --------------------------------------------------------------------------


def ou(rng, n_units, tau, T, dt, n_trials=N_TRIALS):
    """Stationary Ornstein-Uhlenbeck units of variance 1, exactly sampled (trials, time, units)."""
    n, phi = round(T / dt), np.exp(-dt / tau)
    e = rng.standard_normal((n_trials, n, n_units))
    e[:, 1:] *= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], e, axis=1)


def damped_cosine(rng, n_units, tau, frequency, T, dt, n_trials=N_TRIALS):
    """Units with autocovariance exp(-t/tau) cos(2 pi f t): real part of a complex OU process."""
    n, pole = round(T / dt), np.exp((-1 / tau + 2j * np.pi * frequency) * dt)
    e = rng.standard_normal((2, n_trials, n, n_units))
    e = e[0] + 1j * e[1]
    e[:, 1:] *= np.sqrt(1 - abs(pole) ** 2)
    return lfilter([1.0], [1.0, -pole], e, axis=1).real


def linear_network(rng, A, Q, T, dt, n_trials=N_TRIALS):
    """Stationary trials of dx = A x dt + dw, cov(dw) = Q dt, exactly sampled."""
    P = solve_continuous_lyapunov(A, -Q)
    F = expm(A * dt)
    step = np.linalg.cholesky(P - F @ P @ F.T)
    x = np.empty((n_trials, round(T / dt), len(A)))
    x[:, 0] = rng.standard_normal((n_trials, len(A))) @ np.linalg.cholesky(P).T
    for t in range(1, x.shape[1]):
        x[:, t] = x[:, t - 1] @ F.T + rng.standard_normal((n_trials, len(A))) @ step.T
    return x


# --- baselines ----------------------------------------------------------------------------------


def murray(x, dt):
    """Exponential with offset fitted to the across-trial autocovariance (Murray et al. 2014)."""
    acf = autocovariance(x, center="psth")
    n = len(acf)
    t = dt * np.arange(1, n // 2)
    taus = np.full(x.shape[2], np.nan)
    for i, c in enumerate((acf / acf[0]).T):
        try:
            p, _ = curve_fit(
                lambda t, a, tau, b: a * (np.exp(-t / tau) + b),
                t, c[1 : n // 2], p0=[1, 0.1 * n * dt, 0],
                bounds=([0, 0.1 * dt, -10], [10, 10 * n * dt, 10]),
            )  # fmt: skip
            taus[i] = p[1]
        except (RuntimeError, OptimizeWarning):
            pass
    return taus


def per_trial(x, dt):
    """Plain exponential fitted to each trial's own autocorrelation, then averaged over trials."""
    n = x.shape[1]
    k = np.arange(n // 2)
    grid = np.geomspace(0.3 * dt, 10 * n * dt, 200)
    F = np.exp(-k * dt / grid[:, None])
    taus = []
    for trial in x:
        c = autocovariance(trial[None])[: n // 2].T
        taus.append(grid[(np.maximum(c @ F.T, 0) ** 2 / np.sum(F**2, axis=1)).argmax(axis=1)])
    return np.mean(taus, axis=0)


def first_1e(x, dt):
    """First 1/e crossing of the pooled autocorrelation, trial means subtracted."""
    acf = autocovariance(x)
    return (acf < acf[0] / np.e).argmax(axis=0) * dt


def ar1(x, dt):
    """-dt / ln of the lag-1 autocorrelation, trial means subtracted."""
    acf = autocovariance(x)
    return timescale_of_decay(np.clip(acf[1] / acf[0], 1e-9, 1 - 1e-9), dt)
