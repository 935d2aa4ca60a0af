"""What was recorded and what is subtracted, and what both do to a true autocovariance.

Nothing is assumed about gaps: a sample that is missing stands as 0 after centring, and the
expectations here count the products that are there.
"""

from __future__ import annotations

from copy import copy
from functools import cached_property

import numpy as np

__all__: list[str] = []

EXACT = 2048  # samples; beyond, the places of gaps are averaged over time
ROWS = 2**22  # numbers held at once in expectations


class Design:
    """Trials with their gaps (mask: trials, time), conditions (group: trials), and what is
    subtracted from each trial besides condition means, by `order`: 0 nothing, 1 its mean, 2 a line.
    """

    def __init__(self, mask, group, order):
        self.mask, self.group, self.order = mask, group, order
        n_trials, self.n = mask.shape
        self.whole = bool(mask.all())
        self.n_conditions = int(group.max()) + 1
        self.shared = n_trials > 1  # whether a condition mean is subtracted
        self.dof = n_trials - self.n_conditions if self.shared else 1
        self.pairs = np.round(products(mask.astype(float)))
        self.kept = self._kept()
        self.weight = self.kept[0] / self.n  # independent trials behind each mode

    def with_order(self, order):
        """The same trials with other trends; made before trends of this one are."""
        other = copy(self)
        other.order = order
        return other

    @cached_property
    def span(self):
        """Samples from the first to the last of a trial, in the trial where they are most."""
        ends = self.n - self.mask[:, ::-1].argmax(axis=1)
        return int((ends - self.mask.argmax(axis=1)).max())

    # --- data ---

    def centred(self, x, offsets_first=True):
        """Rates (..., trials, time) less condition means and each trial's trend; 0 in the gaps.

        With gaps the mean over changing trials would pick up their offsets: these go first.
        """
        mask = self.mask
        y = x.copy() if self.whole else np.where(mask, x, 0.0)
        if self.shared:
            if offsets_first and not self.whole and self.order:
                y = y - mask * self._offsets(y)[..., None]
            for g in range(self.n_conditions):
                members = self.group == g if self.n_conditions > 1 else slice(None)
                count = np.maximum(mask[members].sum(axis=0), 1)
                mean = y[..., members, :].sum(axis=-2) / count
                y[..., members, :] -= (1.0 if self.whole else mask[members]) * mean[..., None, :]
        for b in self.basis:
            y -= b * np.einsum("...t,...t->...", b, y)[..., None]
        return y

    def _offsets(self, y):
        """Offsets of trials (..., trials) beside the means of conditions, by least squares."""
        m = self.mask.astype(float)
        rest, normal = y.copy(), np.diag(m.sum(axis=1))
        for g in range(self.n_conditions):
            members = np.flatnonzero(self.group == g)
            count = np.maximum(m[members].sum(axis=0), 1)
            rest[..., members, :] -= (y[..., members, :].sum(-2) / count)[..., None, :]
            normal[np.ix_(members, members)] -= (m[members] / count) @ m[members].T
        return np.sum(m * rest, axis=-1) @ np.linalg.pinv(normal, hermitian=True)

    @cached_property
    def basis(self):
        """Orthonormal trends of each trial over its samples, each (trials, time)."""
        time, count = np.arange(self.n), np.maximum(self.mask.sum(axis=1, keepdims=True), 1)
        line = self.mask * (time - (self.mask @ time)[:, None] / count)
        size = np.linalg.norm(line, axis=1, keepdims=True)
        return [self.mask / np.sqrt(count), line / np.where(size > 0, size, 1)][: self.order]

    # --- expectations ---

    def _share(self, rows, condition):
        """Share of R_st left by the condition mean (rows, n), for samples that are both there."""
        m = self.mask[self.group == condition].astype(float)
        count = np.maximum(m.sum(axis=0), 1)
        both = m[:, rows].T @ m
        return 1 - 1 / count[rows, None] - 1 / count + both / (count[rows, None] * count), both

    def _kept(self):
        """Sum over trials of what the condition mean leaves of the products at each lag (n,)."""
        if self.whole or not self.shared:
            return self.pairs * self.dof / len(self.mask)
        total = np.zeros(self.n)
        for g in range(self.n_conditions):
            for rows in np.array_split(np.arange(self.n), self.n**2 // ROWS + 1):
                share, both = self._share(rows, g)
                lag = np.arange(self.n) - rows[:, None]
                ahead = lag >= 0
                total += np.bincount(lag[ahead], (share * both)[ahead], self.n)
        return total

    def _lost(self, gamma):
        """Trials for which each row stands, and pairs of vectors (rows, n): see `expected_acf`.

        The pairs (b, u) are the trends b of a trial and u = R b - 1/2 sum_c c (c' R b), so that
        b u' + u b' is what the subtraction of the trends takes from R.
        """
        from scipy.linalg import matmul_toeplitz, toeplitz

        basis, trials = self.basis, 1.0
        if self.whole:
            basis, trials = [b[:1] for b in basis], self.dof
            times = [matmul_toeplitz(gamma, b.T).T for b in basis]
        elif not self.shared or self.n > EXACT:
            times = [self.mask * matmul_toeplitz(gamma, b.T).T for b in basis]
        else:
            times = [np.zeros_like(b) for b in basis]
            R = toeplitz(gamma)
            for g, share in enumerate(self._shares):
                members, left = self.group == g, R * share
                for b, t in zip(basis, times):
                    t[members] = b[members] @ left
            times = [self.mask * t for t in times]
        halves = [
            sum(c * np.sum(c * Rb, axis=-1, keepdims=True) for c in basis) / 2 for Rb in times
        ]
        return trials, [(b, Rb - half) for b, Rb, half in zip(basis, times, halves)]

    @cached_property
    def _shares(self):
        """The `_share` of any two samples in each condition."""
        return [self._share(np.arange(self.n), g)[0] for g in range(self.n_conditions)]

    def expected_acf(self, gamma):
        """Expected autocovariance (..., n) of centred data, per product that the means leave.

        gamma(k) less, with the orthonormal trends B of a trial and covariance R of its samples,
        the k-th diagonal of R B B' + B B' R - B (B' R B) B', summed over trials.
        """
        gamma = np.asarray(gamma, dtype=float)
        if self.order == 0:
            return gamma
        if self.order == 1 and self.whole:
            return subtracted_mean(gamma)
        out = np.empty(gamma.shape)
        for i in np.ndindex(gamma.shape[:-1]):
            trials, pairs = self._lost(gamma[i])
            lost = sum(both_ways(b, u) for b, u in pairs)
            out[i] = gamma[i] - trials * lost / np.maximum(self.kept, 1e-300)
        return np.where(self.kept > 1e-9, out, 0.0)

    def expected_power(self, gamma):
        """Expected power (..., n) of the modes of `power` of centred data, per independent trial.

        The modes are d_j(t) = sqrt(2/n) cos(pi j (t + 1/2) / n), and 1/sqrt(n) for j = 0. The power
        of d_j in a covariance R is sum_k gamma(k) sum_t d_j(t) d_j(t + k), which two fast Fourier
        transforms supply.
        """
        from scipy import fft

        gamma = np.atleast_2d(np.asarray(gamma, dtype=float))
        n = self.n
        if self.whole or n > EXACT:
            A = mode_power(gamma * self.kept / (self.weight * (n - np.arange(n))))
        else:
            A = gamma @ self._mode_products / self.weight
        if self.order == 0:
            return A
        for row, g in zip(A, gamma):
            trials, pairs = self._lost(g)
            for b, u in pairs:
                gone = fft.dct(b, norm="ortho") * fft.dct(u, norm="ortho")
                row -= 2 * trials * gone.sum(axis=0) / self.weight
        return np.maximum(A, 1e-12 * gamma[:, :1])

    @cached_property
    def _mode_products(self):
        """sum over trials and t of what is left of d_j(t) d_j(t + k), both ways (k, j)."""
        from scipy import fft

        n = self.n
        at = np.zeros((n, n))  # (k, t): trials, less condition means, with samples at t and t + k
        for g in range(self.n_conditions):
            share, both = self._share(np.arange(n), g)
            left = share * both if self.shared else both
            for k in range(n):
                at[k, : n - k] += np.diagonal(left, k)
        lag, w = np.arange(n)[:, None], np.pi * np.arange(n) / n
        edges = (np.exp(1j * w * (lag + 1)) * fft.fft(at, axis=1).conj()).real
        B = (np.cos(w * lag) * at.sum(axis=1, keepdims=True) + edges) / n
        B[:, 0] = at.sum(axis=1) / n
        B[1:] *= 2
        return B


def power(y):
    """Power of each mode (..., n), the squared orthonormal cosine transform along time."""
    from scipy import fft

    return fft.dct(y, norm="ortho", axis=-1) ** 2


def mode_power(gamma):
    """`Design.expected_power` of whole trials without a trend, for gamma (..., n)."""
    from scipy import fft

    n = gamma.shape[-1]
    k, w = np.arange(n), np.pi * np.arange(n) / n
    cosines = fft.rfft(gamma * (1 - k / n), 2 * n, axis=-1)[:, :n].real
    sines = -fft.rfft(gamma, 2 * n, axis=-1)[:, :n].imag  # 0 at w = 0
    return 2 * cosines - gamma[:, :1] - 2 * sines / (n * np.where(w > 0, np.sin(w), 1))


def subtracted_mean(gamma):
    """gamma(k) - 2 S_K / K + S_n / n, Eq. 7.7: see `expected_acf`."""
    n = gamma.shape[-1]
    running = np.cumsum(gamma, axis=-1)
    # Row sums of R / n: sample i sees lags 0..i backwards and 0..n-1-i forwards, lag 0 once.
    row = (running + running[..., ::-1] - gamma[..., :1]) / n
    S = np.cumsum(row, axis=-1)  # S[..., K - 1] is S_K
    K = n - np.arange(n)
    return gamma - 2 * S[..., ::-1] / K + S[..., -1:] / n


def products(y):
    """sum over trials and t of y(t) y(t + k), for k = 0 .. n - 1: (..., n) of (..., trials, n)."""
    from scipy import fft

    n = y.shape[-1]
    size = fft.next_fast_len(2 * n, real=True)
    power = np.empty((*y.shape[:-2], size // 2 + 1))
    for i in np.ndindex(y.shape[:-2]):  # one unit at a time: spectra of trials are large
        spectrum = fft.rfft(y[i], size, axis=-1)
        power[i] = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    return fft.irfft(power, size, axis=-1)[..., :n]


def correlate(a, b):
    """sum_t a(t) b(t + k) for k = 0 .. n - 1, along the last axis."""
    from scipy import fft

    n = a.shape[-1]
    size = fft.next_fast_len(2 * n, real=True)
    product = fft.rfft(a, size, axis=-1).conj() * fft.rfft(b, size, axis=-1)
    return fft.irfft(product, size, axis=-1)[..., :n]


def both_ways(a, b):
    """sum over trials and t of a(t) b(t + k) + b(t) a(t + k), for k = 0 .. n - 1."""
    from scipy import fft

    n = a.shape[-1]
    size = fft.next_fast_len(2 * n, real=True)
    A, B = fft.rfft(a, size, axis=-1), fft.rfft(b, size, axis=-1)
    return fft.irfft(2 * (A.real * B.real + A.imag * B.imag).sum(axis=0), size)[:n]


def along(f, points):
    """Cubic spline of f (points, ...) along its points, of which f is given a few at a time."""
    from scipy.interpolate import CubicSpline

    parts = [f(points[i : i + 8]) for i in range(0, len(points), 8)]
    return CubicSpline(points, np.concatenate(parts), axis=0)
