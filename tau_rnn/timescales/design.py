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
        self.members = np.eye(group.max() + 1)[:, group]  # (conditions, trials), 0 and 1
        self.count = np.maximum(self.members @ mask, 1)  # trials behind each condition mean
        self.dof = n_trials - len(self.members)
        if n_trials == 1:  # it would be its own mean: none is subtracted
            self.count[:], self.dof = np.inf, 1
        self.pairs = np.round(products(mask.astype(float)))
        self.kept = self._kept()
        self.weight = self.kept[0] / self.n  # independent trials behind each mode

    def with_order(self, order):
        """The same trials with other trends."""
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
        y = np.where(self.mask, x, 0.0)
        if offsets_first and self.order and not self.whole:
            y -= self.mask * self._offsets(y)[..., None]
        y = self._less_means(y)
        for b in self.basis[: self.order]:
            y -= b * np.einsum("...t,...t->...", b, y)[..., None]
        return y

    def means(self, y):
        """Mean of each condition (..., conditions, time) of rates that are 0 in the gaps."""
        return self.members @ y / self.count

    def _less_means(self, y):
        means = self.means(y)
        y = y - (means if len(self.members) == 1 else means[..., self.group, :])
        return y if self.whole else y * self.mask

    def _offsets(self, y):
        """Offsets of trials (..., trials) beside the means of conditions, by least squares."""
        m, of_one = self.mask.astype(float), self.members.T @ self.members
        normal = np.diag(m.sum(axis=1)) - of_one * (m / (self.members.T @ self.count) @ m.T)
        # Offsets that a condition shares are in its mean: 0 of the normal matrix, but for rounding.
        return self._less_means(y).sum(axis=-1) @ np.linalg.pinv(normal, 1e-10, hermitian=True)

    @cached_property
    def basis(self):
        """Orthonormal trends of each trial over its samples (2, trials, time)."""
        time, count = np.arange(self.n), np.maximum(self.mask.sum(axis=1, keepdims=True), 1)
        line = self.mask * (time - (self.mask @ time)[:, None] / count)
        size = np.linalg.norm(line, axis=1, keepdims=True)  # 0 of a sample alone
        return np.stack([self.mask / np.sqrt(count), line / np.maximum(size, 0.1)])

    # --- expectations ---

    def _shares(self, rows):
        """Of each condition: share of R_st that its mean leaves, and trials with both samples."""
        for members, count in zip(self.members > 0, self.count):
            m, own = self.mask[members].astype(float), count[rows, None]
            both = m[:, rows].T @ m
            yield 1 - 1 / own - 1 / count + both / (own * count), both

    @cached_property
    def _all_shares(self):
        """Those of any two samples, of which every covariance makes use."""
        return [share for share, _ in self._shares(np.arange(self.n))]

    def _left(self, rows):
        """What condition means leave of the trials with samples at t and t + k (rows of t, k)."""
        left = np.add.reduce([share * both for share, both in self._shares(rows)])
        ahead = rows[:, None] + np.arange(self.n)
        return np.where(ahead < self.n, np.take_along_axis(left, ahead % self.n, axis=1), 0)

    def _kept(self):
        """The same over all t, for each lag (n,)."""
        if self.whole or len(self.mask) == 1:
            return self.pairs * self.dof / len(self.mask)
        blocks = np.array_split(np.arange(self.n), self.n**2 // ROWS + 1)
        return np.add.reduce([self._left(rows).sum(axis=0) for rows in blocks])

    def _lost(self, gamma):
        """Trends b, and u = R b - 1/2 sum_c c (c' R b) over the trends c of that trial.

        b u' + u b' is what the subtraction of the trends takes from R; see `expected_acf`. One
        trial stands for all where none has gaps.
        """
        from scipy.linalg import matmul_toeplitz, toeplitz

        B = self.basis[: self.order, : 1 if self.whole else None]
        if self.whole or len(self.mask) == 1 or self.n > EXACT:
            share = self.kept.sum() / self.pairs.sum() * len(self.mask) / B.shape[1]
            RB = share * matmul_toeplitz(gamma, np.concatenate(B).T).T.reshape(B.shape)
        else:
            RB, R = np.empty(B.shape), toeplitz(gamma)
            for members, share in zip(self.members > 0, self._all_shares):
                RB[:, members] = B[:, members] @ (R * share)
        RB *= self.mask[: B.shape[1]]
        half = np.einsum("cmt,cbm->bmt", B, np.einsum("cms,bms->cbm", B, RB)) / 2
        return np.concatenate(B), np.concatenate(RB - half)

    def expected_acf(self, gamma):
        """Expected autocovariance (..., n) of centred data, per product that the means leave.

        gamma(k) less, with the orthonormal trends B of a trial and covariance R of its samples,
        the k-th diagonal of R B B' + B B' R - B (B' R B) B', summed over trials; gamma where no
        product is left.
        """
        gamma = np.asarray(gamma, dtype=float)
        if self.order == 1 and self.whole:
            return subtracted_mean(gamma)
        if self.order == 0:
            return gamma
        lost = np.empty(gamma.shape)
        for i in np.ndindex(gamma.shape[:-1]):
            b, u = self._lost(gamma[i])
            lost[i] = (products(b + u) - products(b - u)) / 2  # b with u, and u with b
        return gamma - lost / np.where(self.kept > 1e-9, self.kept, np.inf)

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
        for row, g in zip(A, gamma if self.order else ()):
            b, u = (fft.dct(v, norm="ortho") for v in self._lost(g))
            row -= 2 * np.sum(b * u, axis=0) / self.weight
        return np.maximum(A, 1e-12)  # what is divided by: 0 but for rounding, of a variance of 1

    @cached_property
    def _mode_products(self):
        """sum over trials and t of what is left of d_j(t) d_j(t + k), both ways (k, j)."""
        from scipy import fft

        n = self.n
        left = self._left(np.arange(n)).T
        lag, w = np.arange(n)[:, None], np.pi * np.arange(n) / n
        edges = (np.exp(1j * w * (lag + 1)) * fft.fft(left, axis=1).conj()).real
        B = (np.cos(w * lag) * left.sum(axis=1, keepdims=True) + edges) / n
        B[:, 0] /= 2
        B[1:] *= 2
        return B


def power(y):
    """Power of each mode (..., n), the squared orthonormal cosine transform along time."""
    from scipy import fft

    return fft.dct(y, norm="ortho") ** 2


def mode_power(gamma):
    """`Design.expected_power` of whole trials without a trend, for gamma (..., n)."""
    from scipy import fft

    n = gamma.shape[-1]
    k, w = np.arange(n), np.pi * np.arange(n) / n
    cosines = fft.rfft(gamma * (1 - k / n), 2 * n)[:, :n].real
    sines = -fft.rfft(gamma, 2 * n)[:, :n].imag  # 0 at w = 0
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


def products(a, b=None):
    """sum over trials and t of a(t) b(t + k), for k = 0 .. n - 1: (..., n) of (..., trials, n).

    Without b: those of a with itself.
    """
    from scipy import fft

    n = a.shape[-1]
    size = fft.next_fast_len(2 * n, real=True)
    A = fft.rfft(a, size)
    B = A if b is None else fft.rfft(b, size)
    return fft.irfft(np.sum(A.conj() * B, axis=-2), size)[..., :n]


def along(f, points):
    """Cubic spline of f (points, ...) along its points, of which f is given a few at a time."""
    from scipy.interpolate import CubicSpline

    parts = [f(points[i : i + 8]) for i in range(0, len(points), 8)]
    return CubicSpline(points, np.concatenate(parts), axis=0)
