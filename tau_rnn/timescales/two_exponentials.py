"""Two exponentials, and BIC to decide whether there are two.

The lags of an autocovariance are strongly correlated, so residual sums of squares over lags cannot
weigh one model against another. Here the lags are averaged in a few logarithmic bins and whitened
with the covariance of the bins over trials; the chi-square that remains is -2 log likelihood of the
mean over M trials, and BIC = chi-square + (number of parameters) * log M.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tau_rnn.timescales import shapes as sh
from tau_rnn.timescales.diagnostics import compare_offsets
from tau_rnn.timescales.exponential import log_tau_grid

MAX_BINS, TRIALS_PER_BIN, MIN_BINS = 14, 4, 6
LAST_LAG = 0.6  # of a trial; beyond, too few products
N_COARSE, N_STENCIL = 64, 5  # log tau grid of all pairs; stencil of its refinement
SHORTEST, LONGEST = 0.3, 3.0  # ends of that grid: 0.3 dt, 3 n dt
PARAMETERS = {"exp": 2, "two_exp": 4}  # and one more for a nugget
DEGENERATE = 1e-9  # 1 - (cosine)^2 below which two shapes are one


class Bins(NamedTuple):
    """A linear map from the lags of one unit to whitened bins, and back to its noise."""

    average: np.ndarray  # (bins, n)
    whiten: np.ndarray  # (bins, bins), inverse Cholesky factor of the covariance of the mean
    noise: np.ndarray  # (bins,) direction of white observation noise, whitened, of unit length
    nugget: bool  # whether that direction is projected out

    def __call__(self, c):
        """Rows (..., n) as whitened bins (..., bins)."""
        z = c @ self.average.T @ self.whiten.T
        return z - (z @ self.noise)[..., None] * self.noise if self.nugget else z

    def exponentials(self, log_tau, s):
        """Whitened bins of exponentials of unit amplitude (..., bins)."""
        return self(sh.expectation(sh.decay(log_tau, s), s))


class Pair(NamedTuple):
    """Rows of two exponentials, the slow one first, and the chi-square they explain."""

    log_tau: np.ndarray  # (rows, 2)
    amplitude: np.ndarray  # (rows, 2)
    gain: np.ndarray  # (rows,), 0 where no pair has two positive amplitudes


def pair_grid(s):
    """The grid of log tau whose pairs are searched."""
    return np.linspace(np.log(SHORTEST * s.dt), np.log(LONGEST * s.n * s.dt), N_COARSE)


def make_bins(c_trials, dof, s):
    """Bins of one unit from its autocovariances of single trials (M, n); None if M is too small."""
    n_bins = min(MAX_BINS, dof // TRIALS_PER_BIN, int(LAST_LAG * s.n) // 2)
    if n_bins < MIN_BINS:
        return None
    edges = np.unique(np.round(np.geomspace(1, LAST_LAG * s.n, n_bins)).astype(int))
    average = np.zeros((len(edges), s.n))
    average[0, 0] = 1
    for i, (first, last) in enumerate(pairwise(edges)):
        average[i + 1, first:last] = 1 / (last - first)
    binned = c_trials @ average.T
    # The inverse of an estimated covariance is too large by this factor on average (Hartlap 2007).
    cov = np.cov(binned, rowvar=False) / len(binned) * dof / (dof - len(edges) - 1)
    scale = np.sqrt(np.diagonal(cov))
    if not np.all(scale > 0):
        return None
    # A ridge above rounding: the bins of a very slow unit are nearly the same number.
    factor = np.linalg.cholesky(cov / np.outer(scale, scale) + 1e-10 * np.eye(len(cov)))
    whiten = np.linalg.inv(factor) / scale
    noise = whiten @ average @ sh.noise_shape(s)
    return Bins(average, whiten, noise / np.linalg.norm(noise), False)


def pair_gain(num1, num2, g11, g12, g22):
    """Chi-square explained by the best a1, a2 on two shapes (0 unless both > 0), and a1, a2."""
    det = g11 * g22 - g12**2
    sound = det > DEGENERATE * g11 * g22
    det = np.where(sound, det, 1)
    a1, a2 = (g22 * num1 - g12 * num2) / det, (g11 * num2 - g12 * num1) / det
    return np.where(sound & (a1 > 0) & (a2 > 0), a1 * num1 + a2 * num2, 0), a1, a2


def single_gain(z, bins, s):
    """Chi-square explained by the best single exponential, for rows z (rows, bins)."""
    F = bins.exponentials(log_tau_grid(s), s)
    return (np.maximum(z @ F.T, 0) ** 2 / np.sum(F * F, axis=1)).max(axis=1)


def fit_pair(z, bins, s, rounds=6):
    """Best pair of exponentials for rows z (rows, bins): all pairs of a grid, then a stencil."""
    theta = pair_grid(s)
    F = bins.exponentials(theta, s)
    slow, fast = np.tril_indices(N_COARSE, -1)
    gram, num = F @ F.T, z @ F.T
    square = np.diagonal(gram)
    products = square[slow], gram[slow, fast], square[fast]
    gain, _, _ = pair_gain(num[:, slow], num[:, fast], *products)
    best = gain.argmax(axis=1)
    at = np.stack([theta[slow[best]], theta[fast[best]]], axis=1)
    half = theta[1] - theta[0]
    rows = np.arange(len(z))
    for _ in range(rounds):  # move to the best of a 5 x 5 stencil, then halve it
        steps = np.linspace(-half, half, N_STENCIL)
        G = bins.exponentials(at[:, :, None] + steps, s)  # (rows, 2, 5, bins)
        num = np.einsum("rb,rijb->rij", z, G)
        square = np.einsum("rijb,rijb->rij", G, G)
        cross = np.einsum("rib,rjb->rij", G[:, 0], G[:, 1])
        products = square[:, 0, :, None], cross, square[:, 1, None, :]
        gain, a1, a2 = pair_gain(num[:, 0, :, None], num[:, 1, None, :], *products)
        i, j = np.divmod(gain.reshape(len(z), -1).argmax(axis=1), N_STENCIL)
        i, j = (np.where(gain[rows, i, j] > 0, m, N_STENCIL // 2) for m in (i, j))
        at = at + np.stack([steps[i], steps[j]], axis=1)
        half /= 2
    amplitude = np.stack([a1[rows, i, j], a2[rows, i, j]], axis=1)
    slow_first = np.argsort(-at, axis=1, kind="stable")  # two of nearly one tau may have crossed
    at, amplitude = (np.take_along_axis(v, slow_first, axis=1) for v in (at, amplitude))
    return Pair(at, amplitude, gain[rows, i, j])


def choose(c, bins, s, n_trials, use_lag0, forced):
    """The model of lowest BIC for one autocovariance c (n,): its bins and its pair (or None)."""
    best = (np.inf, bins, None)
    for nugget in (False, True) if use_lag0 == "auto" else (not use_lag0,):
        with_noise = bins._replace(nugget=nugget)
        z = with_noise(c[None])
        total, pair = np.sum(z**2), fit_pair(z, with_noise, s)
        cost = nugget * np.log(n_trials)
        two = total - pair.gain[0] + cost + PARAMETERS["two_exp"] * np.log(n_trials)
        one = total - single_gain(z, with_noise, s)[0] + cost
        one += PARAMETERS["exp"] * np.log(n_trials)
        if pair.gain[0] > 0 and two < best[0]:
            best = (two, with_noise, pair)
        if not forced and one < best[0]:
            best = (one, with_noise, None)
    return best[1], best[2]


def replace_by_pairs(rows, decay, dof, resamples, use_lag0, forced):
    """Put two exponentials in the place of one where BIC (or, if `forced`, the user) asks for them.

    Of two exponentials of which one decays within a step, that one is white noise as far as samples
    can tell: it becomes a nugget, its amplitude 0.

    Parameters
    ----------
    rows : Rows
    decay : Decay
        The single exponentials of `rows`.
    dof : int
        Trials less conditions.
    resamples : ndarray, shape (n_boot, M), or None
    use_lag0 : bool or "auto"
    forced : bool
        Two exponentials wherever two positive amplitudes exist.

    Returns
    -------
    decay : Decay
    used : dict
        For each row with two exponentials its Bins; None for rows with too few trials to tell.
    """
    s, theta = rows.s, pair_grid(rows.s)
    used: dict[int, Bins | None] = {}
    for i, c_trials in enumerate(rows.c_trials):
        bins = make_bins(c_trials, dof, s)
        if bins is None:
            used[i] = None
            continue
        c = c_trials.mean(axis=0)
        bins, pair = choose(c, bins, s, len(c_trials), use_lag0, forced)
        if pair is None:
            continue
        used[i] = bins
        interval = np.full((1, 2), np.nan)
        if resamples is not None:
            of = fit_pair(bins(resamples @ c_trials / len(c_trials)), bins, s, rounds=2)
            found = (of.gain > 0) & (of.log_tau[:, 0] < theta[-1])
            slow = np.where(found, np.exp(of.log_tau[:, 0]), np.inf)
            interval[0] = sh.percentile_interval(slow, len(c_trials), dof)
        slow, fast = pair.log_tau[0]
        hidden = fast < np.log(s.dt)
        amplitude = pair.amplitude * [1, not hidden]
        at0 = sh.expectation(sh.decay(pair.log_tau[0], s), s)[:, 0]
        excess = (c[0] - amplitude[0] @ at0) / sh.noise_shape(s)[0]
        nugget = np.array([max(excess, 0.0) if bins.nugget or hidden else 0.0])
        zero, last = np.zeros(1), np.array([int(LAST_LAG * s.n)])
        bound = np.array([1 if slow >= theta[-1] else -1 if slow <= theta[1] else 0])
        name = np.array(["two_exp"], dtype=object)
        row = sh.Decay(name, pair.log_tau, amplitude, zero, nugget, last, bound, interval)
        decay = decay.put(np.array([i]), row)
    return decay, used


def pair_offsets(rows, decay, used, means, dof):
    """`offsets` of the rows that have two exponentials: their indices, ratios and z."""
    s = rows.s
    pairs = {i: bins for i, bins in used.items() if bins is not None}
    index = np.array(list(pairs), dtype=int)
    moved = np.empty((len(index), rows.c_trials.shape[1]))
    theta, a = decay.log_tau[index], decay.amplitude[index]
    variance = [sh.variance_of_mean(sh.decay(theta + e, s), s) for e in (0, sh.EPS, -sh.EPS)]
    slope = a * (variance[1] - variance[2]) / (2 * sh.EPS)
    for row, i in enumerate(index):
        bins, d = pairs[i], rows.c_trials[i] - rows.c_trials[i].mean(axis=0)
        shape, up, down = (
            bins.exponentials(theta[row] + e, s) for e in (0, sh.EPS, -sh.EPS)
        )  # (2, bins) each
        J = np.concatenate([shape, a[row][:, None] * (up - down) / (2 * sh.EPS)])
        by_trial = bins(d) @ np.linalg.pinv(J)  # (M, 4): amplitudes, log taus
        moved[row] = by_trial @ np.concatenate([variance[0][row], slope[row]])
    predicted = np.sum(a * variance[0], axis=1) + decay.nugget[index] / s.n
    ratio, z = compare_offsets(means[index], predicted, moved, dof)
    return index, ratio, z
