"""A damped cosine a exp(-t/tau) cos(2 pi f t), for units that oscillate.

The search starts from the best point of a full grid over (tau, f), which one FFT per tau supplies,
and walks to the optimum of the exact expected autocovariance from there.
"""

from __future__ import annotations

import numpy as np

from tau_rnn.timescales import shapes as sh

N_TAU = 30  # grid of log tau, from dt to 3 n dt
ITERATIONS = 4  # of the window
ROUNDS = 12  # of the 3 x 3 stencil, which shrinks when its middle is best


def cos_shape(log_tau, frequency, s):
    """Expected autocovariance (..., n) of damped cosines of unit amplitude."""
    wave = np.cos(2 * np.pi * np.asarray(frequency)[..., None] * s.dt * np.arange(s.n))
    return sh.without_nugget(sh.expectation(sh.decay(log_tau, s) * wave, s), s)


def start(c, w, s):
    """Best (log tau, frequency) of the grid for rows c (rows, n), the centring left aside."""
    from scipy import fft

    size = fft.next_fast_len(4 * s.n, real=True)
    n_rows = len(c)
    top = np.full(n_rows, -np.inf)
    log_tau, frequency = np.zeros(n_rows), np.zeros(n_rows)
    # cos^2 = (1 + cos 2x)/2: the sum of w envelope^2 cos^2 is the transform at twice the frequency
    twice = 2 * np.arange(size // 2 + 1)
    twice = np.minimum(twice, size - twice)
    for theta in np.linspace(np.log(s.dt), np.log(3 * s.n * s.dt), N_TAU):
        envelope = sh.decay(theta, s)
        num = np.maximum(fft.rfft(w * c * envelope, size, axis=-1).real, 0)
        power = fft.rfft(w * envelope**2, size, axis=-1).real
        gain = num**2 / np.maximum(0.5 * (power[:, :1] + power[:, twice]), sh.TINY)
        best = gain.argmax(axis=1)
        value = gain[np.arange(n_rows), best]
        better = value > top
        top = np.where(better, value, top)
        log_tau = np.where(better, theta, log_tau)
        frequency = np.where(better, best / (size * s.dt), frequency)
    return log_tau, frequency


def walk(c, w, log_tau, frequency, steps, s):
    """Climb from (log_tau, frequency) in a 3 x 3 stencil that is halved where its middle is best.

    Returns log tau, frequency and amplitude, each (rows,).
    """
    rows = np.arange(len(c))
    step_theta, step_f = (np.broadcast_to(step, rows.shape).astype(float) for step in steps)
    moves = np.array([(i, j) for i in (0, -1, 1) for j in (0, -1, 1)])  # ties stay in the middle
    for _ in range(ROUNDS):
        theta = log_tau[:, None] + step_theta[:, None] * moves[:, 0]
        f = np.abs(frequency[:, None] + step_f[:, None] * moves[:, 1])
        shape = cos_shape(theta, f, s)  # (rows, 9, n)
        num = np.einsum("rn,rmn->rm", w * c, shape)
        square = np.einsum("rn,rmn->rm", w, shape**2)
        best = (np.maximum(num, 0) ** 2 / square).argmax(axis=1)
        log_tau, frequency = theta[rows, best], f[rows, best]
        amplitude = num[rows, best] / square[rows, best]
        shrink = np.where(best == 0, 0.4, 1.0)
        step_theta, step_f = step_theta * shrink, step_f * shrink
    return log_tau, frequency, amplitude


def cos_decay(rows, resamples, dof):
    """Damped cosines as a Decay, lags up to window * tau (a period at least), iterated."""
    s, n_rows = rows.s, len(rows.c_trials)
    c = rows.c_trials.mean(axis=1)
    free = sh.without_nugget(c, s)
    k_max = np.full(n_rows, float(s.n - 1))
    grid = (0.5 * np.log(3 * s.n) / N_TAU, 0.125 / (s.n * s.dt))  # half the spacing of `start`
    for _ in range(ITERATIONS):
        used = k_max
        w = sh.lag_weights(used, rows.lag0, s)
        log_tau, frequency = start(free, w, s)
        log_tau, frequency, amplitude = walk(free, w, log_tau, frequency, grid, s)
        tau = np.exp(log_tau)
        k_max = sh.window_lags(tau, s)
        period = np.ceil(1 / np.maximum(frequency * s.dt, 1 / s.n))
        k_max = np.clip(np.maximum(k_max, period), 1, s.n - 1)
        if np.array_equal(k_max, used):
            break
    interval = np.full((n_rows, 2), np.nan)
    for i in range(n_rows) if resamples is not None else ():
        of = sh.without_nugget(resamples @ rows.c_trials[i] / rows.c_trials.shape[1], s)
        theta, f = np.full(len(of), log_tau[i]), np.full(len(of), frequency[i])
        of_theta, _, _ = walk(of, w[i : i + 1], theta, f, (0.2, 0.1 / tau[i]), s)
        interval[i] = sh.percentile_interval(np.exp(of_theta), rows.c_trials.shape[1], dof)
    wave = np.cos(2 * np.pi * frequency[:, None] * s.dt * np.arange(s.n))
    at0 = sh.expectation(sh.decay(log_tau, s) * wave, s)[:, 0]
    excess = np.maximum((c[:, 0] - amplitude * at0) / sh.noise_shape(s)[0], 0)
    limit = np.log(3 * s.n * s.dt)
    return sh.Decay(
        np.full(n_rows, "cos", dtype=object),
        np.stack([log_tau, log_tau], axis=1),
        np.stack([amplitude, np.zeros(n_rows)], axis=1),
        frequency,
        np.where(rows.lag0, 0.0, excess),
        used,
        np.where(log_tau > limit, 1, 0),
        interval,
    )
