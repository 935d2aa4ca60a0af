"""Exactly simulated units of known timescale, and the estimators in common use.

Shared by both pages of timescale_recovery.py and the benchmark of the same subject.
"""

from __future__ import annotations

import warnings

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


def murray(x, dt, from_peak=False):
    """Exponential with offset fitted to the across-trial autocovariance (Murray et al. 2014)."""
    acf = autocovariance(x, center="psth" if len(x) > 1 else "trial")
    n = len(acf)
    taus = np.full(x.shape[2], np.nan)
    for i, c in enumerate((acf / acf[0]).T):
        first = 1 + int(np.nanargmax(c[1 : n // 2])) if from_peak else 1
        lags = np.arange(first, n // 2)
        lags = lags[np.isfinite(c[lags])]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # no covariance: tau stands
            try:
                p, _ = curve_fit(
                    lambda t, a, tau, b: a * (np.exp(-t / tau) + b),
                    dt * lags, c[lags], p0=[1, 0.1 * n * dt, 0],
                    bounds=([0, 0.1 * dt, -10], [10, 10 * n * dt, 10]),
                )  # fmt: skip
                taus[i] = p[1]
            except (RuntimeError, TypeError):  # no convergence, or too few lags
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


def ar1_psth(x, dt):
    """-dt / ln of the lag-1 autocorrelation, the condition mean alone subtracted."""
    acf = autocovariance(x, center="psth" if len(x) > 1 else "trial")
    return timescale_of_decay(np.clip(acf[1] / acf[0], 1e-9, 1 - 1e-9), dt)


def murray_from_peak(x, dt):
    """`murray` from the first peak of the autocovariance on, as the paper fits refractory cells."""
    return murray(x, dt, from_peak=True)


def kalman(x, dt):
    """AR(1) and white noise by the Kalman filter of statsmodels, after the PSTH, trials pooled.

    Trials follow one another in one series, in which the state starts anew at each.
    """
    from scipy.optimize import minimize
    from statsmodels.tsa.statespace.kalman_filter import KalmanFilter

    y = x - np.nanmean(x, axis=0) if len(x) > 1 else x - np.nanmean(x)
    last = np.arange(y[:, :, 0].size) % y.shape[1] == y.shape[1] - 1
    taus = []
    for unit in np.moveaxis(y, 2, 0):
        series = KalmanFilter(1, 1, 1)
        series.bind((unit / np.nanstd(unit)).reshape(-1, 1))
        series["design", 0, 0] = series["selection", 0, 0] = 1.0

        def minus_log_likelihood(p, series=series):
            phi, variance, noise = 1 / (1 + np.exp(-p[0])), np.exp(p[1]), np.exp(p[2])
            series["transition"] = np.where(last, 0.0, phi)[None, None]
            series["state_cov"] = np.where(last, 1.0, 1 - phi**2)[None, None] * variance
            series["obs_cov"] = np.array([[noise]])
            series.initialize_known(np.zeros(1), np.array([[variance]]))
            return -series.loglike()

        simplex = [[2, -1, -1], [0, -1, -1], [2, 1, -1], [2, -1, 1]]
        best = minimize(minus_log_likelihood, simplex[0], method="Nelder-Mead",
                        options={"initial_simplex": simplex, "xatol": 2e-2, "fatol": 2e-2},
                        )  # fmt: skip
        taus.append(timescale_of_decay(np.clip(1 / (1 + np.exp(-best.x[0])), 1e-9, 1 - 1e-9), dt))
    return np.array(taus)


def mr_estimator(x, dt):
    """mrestimator: coefficients of trials separated, exponential with offset; no gaps."""
    import logging

    import mrestimator as mre

    logging.getLogger("mrestimator").setLevel(logging.CRITICAL + 1)
    if np.isnan(x).any():
        return np.full(x.shape[2], np.nan)
    taus = []
    for unit in np.moveaxis(x, 2, 0):
        try:
            r = mre.coefficients(unit, method="ts", dt=1e3 * dt, steps=(1, x.shape[1] // 2))
            taus.append(mre.fit(r, fitfunc="exponential_offset").tau / 1e3)
        except Exception:  # a fit of theirs that fails has no estimate
            taus.append(np.nan)
    return np.array(taus)
