"""The likelihood of one exponential and white noise, mode by mode.

The cosine transform makes the samples of a slow process nearly independent: mode j of trial m is
normal with variance V_j = a e_j(tau) + b w_j, where e_j and w_j are the expected powers of an
exponential of amplitude 1 and of white noise (`Design.expected_power`, exact). With P_j the power
found, pooled over the trials and divided by their number less the conditions, M - C,

    D(tau, a, b) = (M - C) sum_j [log V_j + P_j / V_j]

is -2 log likelihood. A mean of each trial lives in mode 0 alone, so leaving that mode out is what
subtracting the mean comes to. a and b are found for every tau by iterated least squares; a sharp
search over tau then needs no starting values.

References
----------
Sykulski et al. (2019), Biometrika 106:251, for likelihoods of exact expected powers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tau_rnn.timescales.design import along, power
from tau_rnn.timescales.moments import parabola_top

__all__: list[str] = []

N_TAU, N_FINE, N_CLOSE = 96, 25, 7  # grids of log tau: coarse, fine, close to the best
COARSE = [*range(0, N_TAU - 1, 2), N_TAU - 1]  # both ends of the search and every other point
N_RATIO = 21  # grid of noise over signal
SHORTEST, LONGEST = 0.3, 20.0  # ends of the search: 0.3 dt, 20 n dt
SINGLE, RATIO = 100, 1.02  # modes kept apart; beyond, bins in which V hardly changes
BINNED = 0.75  # of the least power: what a mean over bins takes from all modes, at most
FEWEST = 5  # bins that tell a decay from noise
WIDE = 30.0  # of D above its least: what the fine grid spans
TINY = 1e-60  # variance of silence, where the largest rate is 1: its fourth power is not 0


class Modes(NamedTuple):
    """Power of units in bins of modes, and what is expected of it.

    found : (units, bins) mean power in each bin, per independent trial
    by_trial : (units, trials, bins) the same of each trial
    sizes : (bins,) modes in each bin
    weight : independent trials
    log_tau : (N_TAU,) the grid
    shapes : callable, log tau (...) -> (..., bins), of exponentials of amplitude 1
    noise : (bins,) of white noise of variance 1
    """

    found: np.ndarray
    by_trial: np.ndarray
    sizes: np.ndarray
    weight: float
    log_tau: np.ndarray
    shapes: Callable[..., np.ndarray]
    noise: np.ndarray

    def variance(self, log_tau, a, b):
        """V of one exponential and noise in each unit (units, bins)."""
        return a[:, None] * self.shapes(log_tau) + b[:, None] * self.noise

    def take(self, units):
        """Some of the units."""
        return self._replace(found=self.found[units], by_trial=self.by_trial[units])

    def only(self, kept):
        """Some of the bins."""
        return self._replace(
            found=self.found[..., kept],
            by_trial=self.by_trial[..., kept],
            sizes=self.sizes[kept],
            shapes=lambda at: self.shapes(at)[..., kept],
            noise=self.noise[kept],
        )

    def slower(self, share):
        """The slowest modes, a share of them."""
        k = int(np.sum(np.cumsum(self.sizes) <= share * self.sizes.sum()))
        return self.only(slice(max(k, FEWEST)))


def bins(n):
    """First mode of each bin, and how many it holds."""
    edges = [*range(min(n, SINGLE))]
    while edges[-1] * RATIO + 1 < n:
        edges.append(int(edges[-1] * RATIO + 1))
    return np.array(edges), np.diff([*edges, n]).astype(float)


def binned(values):
    """Means over bins along the last axis."""
    first, sizes = bins(values.shape[-1])
    return np.add.reduceat(values, first, axis=-1) / sizes


def expected(design, dt):
    """The grid of log tau, the expected powers along it as a spline, and those of white noise."""
    n = design.n
    lags = dt * np.arange(n)

    def log_power(at):
        return np.log(binned(design.expected_power(np.exp(-lags / np.exp(at[:, None])))))

    log_tau = np.linspace(np.log(SHORTEST * dt), np.log(LONGEST * n * dt), N_TAU)
    spline = along(log_power, log_tau)
    noise = binned(design.expected_power(np.eye(1, n)))[0]
    return log_tau, lambda at: np.exp(spline(at)), noise


def modes(y, design, powers):
    """The `Modes` of centred rates y (units, trials, time); `powers` as `expected` gives them."""
    by_trial = binned(power(y))
    found = by_trial.sum(axis=1) / design.weight
    return Modes(found, by_trial, bins(design.n)[1], design.weight, *powers)


class Profile(NamedTuple):
    """Units fitted at each log tau of a grid of their own.

    log_tau : (units, K)
    deviance : (units, K) the least D
    least : (units,) the least D, between two points of the grid
    best : log tau, a and b there, each (units,)
    """

    log_tau: np.ndarray
    deviance: np.ndarray
    least: np.ndarray
    best: tuple


def counted(m, mode0):
    """Modes in each bin that count (bins,): `mode0` is "in", "out", "free" or "linear".

    "in": mode 0 counts. "out": it does not (trial means subtracted). "free": it counts with what
    offsets add. "linear": modes 0 and 1 are left out. With a "+", mode 1 counts with what slopes
    add, which is nearly all in it. See `free` for those with an addition.
    """
    w = m.sizes.copy()
    w[: {"in": 0, "linear": 2}.get(mode0.rstrip("+"), 1)] = 0
    w[free(mode0)] = 0
    return w


def free(mode0):
    """Modes to whose variance something unknown and positive is added: the excess found, if any."""
    return [0] * mode0.startswith("free") + [1] * mode0.endswith("+")


def deviance(m, mode0, V):
    """D of units (units, [K,] bins) with variances V."""
    found = m.found if V.ndim == 2 else m.found[:, None]
    D = (np.log(V) + found / V) @ counted(m, mode0)
    for j in free(mode0):
        granted = np.maximum(V[..., j], found[..., j])
        D += np.log(granted) + found[..., j] / granted
    return m.weight * D


def coarse(m, kinds):
    """Least D and its noise-to-signal ratio on the coarse grid, {(mode0, noisy): (D, ratio)}.

    The same variances serve all units and kinds, so that the sums over modes are matrix products.
    """
    E = m.shapes(m.log_tau[COARSE])
    ratio = np.r_[0.0, np.geomspace(1e-4, 1e4, N_RATIO)]
    V = E[:, None] + ratio[:, None] * m.noise  # (tau, ratio, bins)
    out = {}
    for mode0, noisy in kinds:
        w = counted(m, mode0)
        number = w.sum()
        a = np.maximum((w / V) @ m.found.T / number, TINY)  # (tau, ratio, units)
        D = (np.log(V) @ w)[..., None] + number * (np.log(a) + 1)
        for j in free(mode0):
            P = m.found[:, j] / V[..., j, None]
            granted = np.maximum(a, P)
            D += np.log(granted * V[..., j, None]) + P / granted
        D = m.weight * (D if noisy else D[:, :1])
        out[mode0, noisy] = D.min(axis=1).T, ratio[D.argmin(axis=1)].T
    return out


def variances(m, mode0, E, ratio, rounds):
    """Least D, a and b for exponentials E (units, K, bins), from noise-to-signal ratios (units, K).

    Iterated weighted least squares of the powers on (E, noise): Fisher's scoring; after a step that
    would raise D a shorter one is tried. A ratio of None means no noise.
    """
    found, noise, noisy = m.found[:, :, None], m.noise, ratio is not None
    sizes = counted(m, mode0)
    ratio = np.zeros(E.shape[:2]) if ratio is None else ratio
    least = 1e-12 * np.mean(m.found, axis=1)[:, None] + TINY
    V = E + ratio[..., None] * noise
    a = np.maximum(((sizes / V) @ found)[..., 0] / sizes.sum(), least)
    best, step = [deviance(m, mode0, a[..., None] * V), a, ratio * a], np.ones(a.shape)
    for _ in range(rounds):
        V = best[1][..., None] * E + best[2][..., None] * noise
        w = sizes / V**2
        for j in free(mode0):
            w[..., j] = (found[:, j] < V[..., j]) / V[..., j] ** 2
        wE = w * E
        ee, ef = np.einsum("ukb,ukb->uk", wE, E), (wE @ found)[..., 0]
        b = np.zeros(ee.shape)
        a = ef / ee
        if noisy:
            en, nn, nf = wE @ noise, w @ noise**2, (w @ (noise[:, None] * found))[..., 0]
            det = np.maximum(ee * nn - en**2, 1e-12 * ee * nn)
            a2, b = (nn * ef - en * nf) / det, (ee * nf - en * ef) / det
            b = np.where(a2 < 0, nf / nn, b)
            a = np.where(b < 0, a, a2)
            b = np.maximum(b, 0)
        a = np.maximum(a, least)
        a, b = (old + step * (new - old) for new, old in zip((a, b), best[1:]))
        D = deviance(m, mode0, a[..., None] * E + b[..., None] * noise)
        better = D < best[0]
        step = np.where(better, 1.0, step / 4)
        best = [np.where(better, new, old) for new, old in zip((D, a, b), best)]
    return best


def fit(m, kinds, wide=0):
    """The `Profile` of every unit for each of the kinds (mode0, noisy).

    The first `wide` of them have grids that reach as far as an interval; the others' are for the
    search alone.
    """
    starts = coarse(m, kinds)
    return [_refined(m, kind, starts[kind], i < wide) for i, kind in enumerate(kinds)]


def _refined(m, kind, start, wide):
    """From the coarse grid, its D and ratio (units, points), to finer ones around its best."""
    (mode0, noisy), (D, ratio) = kind, start
    at, rows = np.broadcast_to(m.log_tau[COARSE], D.shape), np.arange(len(D))
    rough = 0.05 * np.ptp(D, axis=1, keepdims=True)  # the ratios of the coarse grid are far apart
    middle = (WIDE, N_FINE, 5) if wide else (0, N_CLOSE, 3)
    for span, n_points, rounds in ((WIDE + rough, N_FINE, 2), middle, (0, N_CLOSE, 5)):
        low = D <= D.min(axis=1, keepdims=True) + span
        first = np.maximum(low.argmax(axis=1) - 1, 0)
        last = np.minimum(D.shape[1] - low[:, ::-1].argmax(axis=1), D.shape[1] - 1)
        fine = np.linspace(at[rows, first], at[rows, last], n_points, axis=1)
        if noisy:
            near = np.abs(fine[:, :, None] - at[:, None]).argmin(axis=2)
            ratio = np.take_along_axis(ratio, near, axis=1)
        E = m.shapes(fine)
        if mode0.endswith("+") and noisy:
            E = E - BINNED * (E / m.noise).min(axis=-1, keepdims=True) * m.noise
        D, a, b = variances(m, mode0, E, ratio if noisy else None, rounds)
        at, ratio = fine, b / a
        if n_points == N_FINE:
            grid, least_there = fine, D
    return Profile(grid, least_there, *_peak(at, D, a, b))


def white(m, mode0):
    """Least D of white noise alone (units,)."""
    w = counted(m, mode0)
    level = (m.found / m.noise) @ w / w.sum()
    return deviance(m, mode0, np.maximum(level, TINY)[:, None] * m.noise)


def _peak(log_tau, D, a, b):
    """The least D of each unit and (log tau, a, b) there, from the parabola of three points."""
    rows, i = np.arange(len(D)), D.argmin(axis=1)
    inner = np.clip(i, 1, D.shape[1] - 2)
    left, mid, right = (D[rows, inner + j] for j in (-1, 0, 1))
    shift = np.where(i == inner, parabola_top(-left, -mid, -right), 0)
    other = i + np.sign(shift).astype(int)
    values = (v[rows, i] + abs(shift) * (v[rows, other] - v[rows, i]) for v in (log_tau, a, b))
    return D[rows, i] - 0.5 * (left - 2 * mid + right) * shift**2, tuple(values)


def interval(p, m, height):
    """Where D lies within `height` (units,) of its least: (units, 2) s, 0 or inf where open."""
    out = np.empty((len(p.deviance), 2))
    for u, (theta, D) in enumerate(zip(p.log_tau, p.deviance - p.least[:, None])):
        inside = np.flatnonzero(max(height[u], D.min()) >= D)  # the best point in any case
        root, top = np.sqrt(np.maximum(D, 0)), np.sqrt(height[u])  # D is nearly a parabola
        for side, i, j in ((0, inside[0], inside[0] - 1), (1, inside[-1], inside[-1] + 1)):
            if 0 <= j < N_FINE:
                share = max((top - root[i]) / (root[j] - root[i]), 0)
                out[u, side] = np.exp(theta[i] + share * (theta[j] - theta[i]))
            elif abs(theta[i] - m.log_tau[-side]) < 1e-9:  # the end of the search
                out[u, side] = (0.0, np.inf)[side]
            else:
                out[u, side] = np.exp(theta[i])
    return out


def spread(m, mode0, log_tau, a, b):
    """Variance of the score for log tau over trials, over that of normal samples (units,).

    Trials that differ more than samples of one process do (one burst in forty trials, a gain)
    know less than their number says; D is divided by this. At least 1; 1 for under five trials.
    """
    n_trials = m.by_trial.shape[1]
    if n_trials < 5:
        return np.ones(len(log_tau))
    V, up, down = (m.variance(log_tau + e, a, b) for e in (0, 1e-3, -1e-3))
    w = np.broadcast_to(counted(m, mode0), V.shape).copy()
    for j in free(mode0):
        w[:, j] = m.found[:, j] < V[:, j]
    noise = b[:, None] * m.noise
    J = np.stack([(up - down) / 2e-3, V - noise, noise], axis=1) / V[:, None]
    information = (J * w[:, None]) @ J.swapaxes(1, 2)
    # what a and b cannot explain, but for a factor
    u = w * np.einsum("ui,uib->ub", np.linalg.pinv(information)[:, :, 0], J)
    score = np.einsum("umb,ub->um", m.by_trial, u / V)
    score -= score.mean(axis=1, keepdims=True)
    theory = 2 * m.weight * np.sum(u**2 / m.sizes, axis=1)
    found = n_trials / m.weight * np.sum(score**2, axis=1)
    return np.maximum(found / np.maximum(theory, TINY), 1.0)


def goodness(m, mode0, V, parameters):
    """Probability of a misfit as large as this one, were the model true (units,).

    The powers over their variances are averaged in bands of modes, narrow where modes are slow;
    Wilson and Hilferty's cube root makes each nearly normal, and the sum of squares is chi-square
    with bands - parameters degrees of freedom.
    """
    from scipy.special import chdtrc

    first, n_bins = int(np.sum(counted(m, mode0) == 0)), len(m.sizes)
    wider = np.geomspace(first + 4, n_bins, 9, endpoint=False)
    edges = np.unique(np.r_[first : first + 4, wider].astype(int))
    number = np.add.reduceat(m.sizes, edges)
    ratio = np.add.reduceat(m.sizes * m.found / V, edges, axis=1) / number
    spread = 2 / (9 * m.weight * number)
    z = (np.cbrt(ratio) - (1 - spread)) / np.sqrt(spread)
    free = len(edges) - np.asarray(parameters)
    return np.where(free > 0, chdtrc(free, np.sum(z**2, axis=1)), np.nan)
