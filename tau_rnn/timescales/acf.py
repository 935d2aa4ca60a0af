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

import numpy as np

from tau_rnn.checks import check_dt, check_integer


def timescale_of_decay(decay, dt):
    """Timescale of a quantity that is multiplied by `decay` at every step: -dt / ln(decay).

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
        Timescale (s), of the shape of `decay`.

    Raises
    ------
    ValueError
        If dt <= 0 or a factor is outside (0, 1).
    """
    decay = np.asarray(decay, dtype=float)
    dt = check_dt(dt)
    if not np.all((decay > 0) & (decay < 1)):
        raise ValueError(f"decay must lie strictly between 0 and 1, got {decay!r}")
    return -dt / np.log(decay)


def group_labels(conditions, n_trials):
    """Index of each trial's condition (n_trials,) and the number of trials of each condition."""
    if conditions is None:
        return np.zeros(n_trials, dtype=int), np.array([n_trials])
    conditions = np.asarray(conditions)
    if conditions.shape != (n_trials,):
        raise ValueError(
            f"conditions must hold one label per trial, shape ({n_trials},), "
            f"got shape {conditions.shape}"
        )
    try:
        _, group, counts = np.unique(conditions, return_inverse=True, return_counts=True)
    except TypeError:
        raise ValueError(
            "conditions must be numbers or strings, which can be sorted; "
            f"got labels {conditions[:3].tolist()}, ..."
        ) from None
    if n_trials > 1 and counts.max() == 1:
        raise ValueError(
            "conditions must leave two trials or more in at least one condition, "
            f"got {n_trials} trials with {n_trials} different labels"
        )
    return group.reshape(-1), counts


def centred(rates, group, center):
    """Subtract the mean of each condition at each time and, for "trial", each trial's own mean.

    A single trial has no condition mean to subtract; only its own mean is.
    """
    rates = np.asarray(rates, dtype=float)
    n_trials = rates.shape[0]
    if n_trials == 1:
        y = rates.copy()
    elif group.max() == 0:
        y = rates - rates.mean(axis=0)
    else:
        y = np.empty_like(rates)
        for g in range(group.max() + 1):
            members = group == g
            y[members] = rates[members] - rates[members].mean(axis=0)
    if center == "trial":
        y -= y.mean(axis=1, keepdims=True)
    return y


def trial_autocovariance(y, n_lags):
    """c_m(k) = sum_t y_t y_(t+k) / (n - k) of every trial, by FFT.

    Parameters
    ----------
    y : ndarray, shape (..., time)
        Centred series.
    n_lags : int
        Lags 0 .. n_lags - 1 are returned.

    Returns
    -------
    ndarray, shape (..., n_lags)
    """
    from scipy import fft

    n = y.shape[-1]
    size = fft.next_fast_len(n + n_lags - 1, real=True)  # zeros enough: lags do not wrap around
    spectrum = fft.rfft(y, size, axis=-1)
    power = spectrum.real**2 + spectrum.imag**2
    return fft.irfft(power, size, axis=-1)[..., :n_lags] / (n - np.arange(n_lags))


def add_trial_means(c, y, means):
    """Autocovariance of y + mean from that of y, for y of mean zero; last axes lags and time.

    sum_t (y_t + m)(y_(t+k) + m) / K = c(k) + m (Y_K - Y_k) / K + m^2, with Y_j the sum of the
    first j samples and K = n - k. Cheaper than a second FFT, and loses nothing where offsets are
    large, since they are added, not subtracted.
    """
    n = y.shape[-1]
    k = np.arange(n)
    Y = np.concatenate([np.zeros(y.shape[:-1] + (1,)), np.cumsum(y, axis=-1)], axis=-1)
    edges = (Y[..., :0:-1] - Y[..., :n]) / (n - k)
    return c + means[..., None] * (edges + means[..., None])


def check_rates(rates):
    """The rates as a float array (trials, time, units), or ValueError."""
    rates = np.asarray(rates)
    if rates.ndim != 3 or 0 in rates.shape:
        raise ValueError(
            "rates must have shape (trials, time, units) with no empty axis, "
            f"got shape {rates.shape}"
        )
    if np.iscomplexobj(rates) or not np.issubdtype(rates.dtype, np.number):
        raise ValueError(f"rates must be real numbers, got dtype {rates.dtype}")
    return rates.astype(float, copy=False)


def autocovariance(rates, *, conditions=None, center="trial", n_lags=None):
    """Autocovariance of each unit, pooled over trials.

    c(k) = (1/M) sum_m (1/(n - k)) sum_t y_mt y_m(t+k), where y is `rates` less the mean of its
    condition at each time (the PSTH) and, with ``center="trial"``, less each trial's own mean.
    The expected value is `expected_acf` of the true autocovariance for "trial", and the true
    autocovariance itself for "psth", both times (1 - C/M), with C conditions, for M > 1 trials.

    Parameters
    ----------
    rates : array_like, shape (trials, time, units)
        Firing rates, without burn-in: dropping it is the caller's work.
    conditions : array_like, shape (trials,), optional
        Labels; the mean is subtracted within each. None: all trials are of one condition.
    center : {"trial", "psth"}
        See above. A single trial has no PSTH: only its own mean can be subtracted.
    n_lags : int, optional
        Lags 0 .. n_lags - 1 are returned; all of them (time) if None.

    Returns
    -------
    ndarray, shape (n_lags, units)

    Raises
    ------
    ValueError
        For a wrong shape, label array, `center` or `n_lags`; for "psth" with a single trial.
    """
    rates = check_rates(rates)
    n_trials, n, n_units = rates.shape
    if center not in ("trial", "psth"):
        raise ValueError(f'center must be "trial" or "psth", got {center!r}')
    if center == "psth" and n_trials == 1:
        raise ValueError('center="psth" needs two trials or more, got 1; use center="trial"')
    n_lags = n if n_lags is None else check_integer("n_lags", n_lags, 1)
    if n_lags > n:
        raise ValueError(f"n_lags must be between 1 and time = {n}, got {n_lags}")
    group, _ = group_labels(conditions, n_trials)
    y = centred(rates, group, center)
    acov = np.empty((n_lags, n_units))
    for i in range(n_units):  # unit by unit: the per-trial functions of one unit stay small
        acov[:, i] = trial_autocovariance(np.ascontiguousarray(y[:, :, i]), n_lags).mean(axis=0)
    return acov


def expected_acf(acov, n, n_trials=None):
    """Expected autocovariance of trials of n samples whose own mean was subtracted.

    With y = x - (mean of x over the trial), c(k) = sum_t y_t y_(t+k) / (n - k) and K = n - k,

        E c(k) = gamma(k) - 2 S_K / K + S_n / n,
        S_K    = (1/n) sum_(i<=K) sum_(j<=n) gamma(i - j),

    which is the mean of the k-th diagonal of H R H, with R_ij = gamma(i - j) and H = 1 - 1/n the
    centring matrix. Subtracting the mean over M trials as well multiplies it by (1 - 1/M). For an
    Ornstein-Uhlenbeck process gamma(k) = s2 phi^k, phi = exp(-dt/tau), the sum is

        S_K = s2/(n (1 - phi)) [K (1 + phi) - (phi + phi^(k+1)) (1 - phi^K) / (1 - phi)].

    The map is linear in gamma, so it serves mixtures and damped cosines; it sends constants to
    zero, so trial-to-trial offsets drop out; and white noise of variance s2, gamma = s2 delta_k0,
    becomes s2 (delta_k0 - 1/n).

    Parameters
    ----------
    acov : array_like, shape (..., n)
        True autocovariance gamma(0) .. gamma(n - 1), lags along the last axis.
    n : int
        Samples per trial.
    n_trials : int, optional
        M, if the mean over M trials was subtracted at each time too.

    Returns
    -------
    ndarray, shape (..., n)

    Raises
    ------
    ValueError
        If the last axis of `acov` has not length n, or n_trials < 1.
    """
    gamma = np.asarray(acov, dtype=float)
    if gamma.ndim == 0 or gamma.shape[-1] != n:
        raise ValueError(f"acov must have n = {n} lags along its last axis, got {gamma.shape}")
    if n_trials is not None and n_trials < 1:
        raise ValueError(f"n_trials must be >= 1, got {n_trials}")
    running = np.cumsum(gamma, axis=-1)
    # Row sums of R / n: sample i sees lags 0..i backwards and 0..n-1-i forwards, lag 0 once.
    row = (running + running[..., ::-1] - gamma[..., :1]) / n
    S = np.cumsum(row, axis=-1)  # S[..., K - 1] is S_K
    K = n - np.arange(n)
    expected = gamma - 2 * S[..., ::-1] / K + S[..., -1:] / n
    return expected if n_trials is None else expected * (1 - 1 / n_trials)


def linear_network_acf(A, Q, lags):
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
    """
    from scipy.linalg import expm, solve_continuous_lyapunov

    A, Q, lags = (_real(name, v) for name, v in (("A", A), ("Q", Q), ("lags", lags)))
    if A.ndim != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(f"A must be square, got shape {A.shape}")
    if Q.shape != A.shape or not np.allclose(Q, Q.T, atol=1e-8 * np.abs(Q).max()):
        raise ValueError(f"Q must be symmetric and of the shape of A, {A.shape}, got {Q.shape}")
    variances = np.linalg.eigvalsh(Q)
    if variances[0] < -1e-10 * np.abs(variances).max():  # less is rounding
        raise ValueError(f"Q must be a covariance; its least eigenvalue is {variances[0]:.3g}")
    if lags.ndim != 1 or np.any(lags < 0):
        raise ValueError("lags must be a one-dimensional array of times >= 0 s")
    slowest = np.linalg.eigvals(A).real.max()
    if not slowest < 0:
        raise ValueError(f"A must be stable; its largest real eigenvalue part is {slowest:.3g}")
    P = solve_continuous_lyapunov(A, -Q)
    return np.stack([np.diagonal(expm(A * s) @ P) for s in lags])


def _real(name, values):
    """A real, finite float array that is not empty, or a ValueError."""
    values = np.asarray(values)
    if values.size == 0 or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ValueError(
            f"{name} must be an array of finite real numbers, "
            f"got dtype {values.dtype} and shape {values.shape}"
        )
    return values.astype(float, copy=False)
