"""What the data say: which centring, which noise, which lags, and how far a likelihood reaches."""

from __future__ import annotations

from functools import cache

import numpy as np

from tau_rnn.timescales import likelihood as lk
from tau_rnn.timescales import moments as mo
from tau_rnn.timescales.design import Design

__all__: list[str] = []

MIN_PAIR = 24  # trials beyond the number of conditions, for two exponentials; and 20 samples
SIMPLER = 2.7  # rise of D below which noise is left out: 5 %, one-sided; SIGNAL where tau is
AS_FAST = 1.25  # below this many steps, since such a decay is nearly noise itself
SIGNAL = 9.2  # fall of D that an exponential must bring: 1 %
BLUE = 1.0  # standard errors of the fast modes' noise above that of the slow ones
DRIFT, TREND = 3.0, 5.4  # the same for offsets and slopes: 4 % and 1 %, one-sided
Z_PEAK = 3.5  # standard errors


class Plan:
    """What the units with one pattern of gaps share: designs, expected powers, windows."""

    def __init__(self, mask, group, options):
        plain = Design(mask, group, 0)
        designs = [plain, *(plain.with_order(order) for order in (1, 2))]
        self.options, self.designs = options, designs
        self.few = designs[0].dof < MIN_PAIR or designs[0].n < 20  # for two exponentials
        self.powers = cache(lambda order: lk.expected(designs[order], options.dt))
        self.window = cache(lambda order: mo.Window(designs[order], options.dt, options.window))

    def modes(self, y, order):
        """Modes less each trial's line (order 2), or its mean (1): then mode 0 is that before."""

        def modes_of(order):
            d = self.designs[order]
            return lk.modes(d.centred(y), d, self.powers(order))

        if order == 2:
            return modes_of(2)
        means = modes_of(0)
        if self.designs[0].whole:  # a mean lives in mode 0 alone
            return means
        own = modes_of(1)
        own.found[:, 0], own.by_trial[:, :, 0] = means.found[:, 0], means.by_trial[:, :, 0]
        own.noise[0] = means.noise[0]

        def shapes(at, first=means.shapes, rest=own.shapes):
            return np.concatenate([first(at)[..., :1], rest(at)[..., 1:]], axis=-1)

        return own._replace(shapes=shapes)


def one_exponential(m, mode0, options, dof=0):
    """Estimates by name of one exponential, with noise where it shows.

    The interval grants noise unless it is ruled out. `dof` independent trials are resampled.
    """
    from scipy.special import chdtri

    noises = [True, False] if options.use_lag0 == "auto" else [not options.use_lag0]
    asked = options.ci is not None
    with_slopes = asked and options.detrend == "auto" and mode0 != "linear"
    kinds = [(mode0 + "+", noises[0])] * with_slopes + [(mode0, noisy) for noisy in noises]
    profiles = lk.fit(m, kinds, wide=asked * (with_slopes + 1))
    p = profiles[with_slopes:]
    rise = p[-1].least - p[0].least
    simple = rise < np.where(np.exp(p[0].best[0]) < AS_FAST * options.dt, SIGNAL, SIMPLER)
    full, bare = p[0].best, p[-1].best
    log_tau, a, b = (np.where(simple, new, old) for new, old in zip(bare, full))
    D = np.where(simple, p[-1].least, p[0].least)
    noisy = rise > SIGNAL if options.use_lag0 == "auto" else b > 0
    wide = lk.spread(m, mode0, *full)
    if asked:
        height = chdtri(1, 1 - options.level) * wide
        interval = hull(*(lk.interval(q, m, height) for q in (profiles[0], p[0])))
        interval = hull(interval, _without_fast_modes(m, mode0, rise > SIGNAL, height))
    else:
        interval = np.full((len(D), 2), np.nan)
        below = np.flatnonzero(np.exp(log_tau) < options.dt)  # where flags are said by it
        if len(below):
            granted = options._replace(ci="auto")
            interval[below] = one_exponential(m.take(below), mode0, granted)["interval"]
    if options.ci == "bootstrap" and dof >= mo.MIN_RESAMPLED:
        for i in range(len(rise)):
            granted = bool(noises[0] and not simple[i])
            interval[i] = _resampled(m.take([i]), mode0, granted, dof, options)
    silent = lk.white(m, mode0) - p[0].least < SIGNAL * wide
    tau, edge = np.exp(log_tau), m.log_tau[1] - m.log_tau[0]
    return {
        "tau": np.stack([tau, tau], axis=1),
        "amplitude": np.stack([a, 0 * a], axis=1),
        "noise": b,
        "noisy": noisy,
        "deviance": D,
        "interval": interval,
        "p_fit": lk.goodness(m, mode0, m.variance(log_tau, a, b), 2 + (b > 0)),
        "silent": silent,
        "bound": (log_tau > m.log_tau[-1] - edge).astype(int) - (log_tau < m.log_tau[0] + edge),
    }


def _without_fast_modes(m, mode0, noisy, height):
    """Intervals (units, 2) of the slower half of modes, where the noise of the others is larger.

    Noise that is not white, as of refractory spikes in wide bins; NaN elsewhere.
    """
    out = np.full((len(noisy), 2), np.nan)
    i = np.flatnonzero(noisy)
    if len(i):
        some = m.take(i)
        slow = some.slower(0.5)
        (p,) = lk.fit(slow, [(mode0, True)], wide=1)
        w = lk.counted(m, mode0)
        w[: len(slow.sizes)] = 0
        excess = (some.found / some.variance(*p.best) - 1) @ w * np.sqrt(m.weight / (2 * w.sum()))
        out[i] = np.where((excess > BLUE)[:, None], lk.interval(p, m, height[i]), np.nan)
    return out


def hull(a, b):
    """The intervals (units, 2) that hold both of two; NaN holds nothing."""
    return np.stack([np.fmin(a[:, 0], b[:, 0]), np.fmax(a[:, 1], b[:, 1])], axis=1)


def _resampled(m, mode0, noisy, dof, options):
    """Percentile interval (2,) of one unit over resampled trials."""
    n_trials = m.by_trial.shape[1]
    found = mo.draws(n_trials, options) @ m.by_trial[0] / m.weight
    tau = np.exp(lk.fit(m._replace(found=found), [(mode0, noisy)])[0].best[0])
    tau[tau > 0.99 * np.exp(m.log_tau[-1])] = np.inf
    tau[tau < 1.01 * np.exp(m.log_tau[0])] = 0
    return mo.percentile_interval(tau, n_trials, dof, options.level)


def drifts(m, options):
    """Ratio of the power of mode 0 to its prediction, and whether offsets, and slopes, show.

    Modes about as fast as the lags that are to be left out are left out too.
    """
    if options.min_lag != "auto":
        m = m.slower(1 / max(2 * options.min_lag, 1))
    p = lk.fit(m, [(kind, options.use_lag0 is not True) for kind in ("in", "out", "linear")])
    shows = []
    for j, (less, more, height) in enumerate(zip(p, p[1:], (DRIFT, TREND))):
        V = m.variance(*more.best)[:, j]
        P = np.maximum(m.found[:, j], lk.TINY)
        gain = less.least - more.least - m.weight * (np.log(P) + 1)
        shows.append((P > V) & (gain > height))
        if j == 0:
            ratio = P / V
    return ratio, *shows


def first_lag(c, silent, design, options):
    """First lag to use of each unit, from a peak that is not at lag 1 where asked to.

    Not where nothing is found: among many lags some peak of rare spikes stands out.
    """
    n_units, n = c.shape
    if options.min_lag != "auto":
        return np.full(n_units, min(options.min_lag, n - 2))
    k = np.arange(n)
    near = (k >= 1) & (k <= n // 3) & (design.kept > 0)
    top = np.where(near, c, -np.inf).argmax(axis=1)
    rows, error = np.arange(n_units), c[:, 0] / np.sqrt(np.maximum(design.kept[1], 1))
    dip = c[rows, top] - c[:, 1] > Z_PEAK * np.sqrt(2) * error
    return np.where(dip & (c[rows, top] > Z_PEAK * error) & ~silent, top, 0)
