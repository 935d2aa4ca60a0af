"""One exponential fitted to the autocovariance within a window: what defines a timescale.

The amplitude enters linearly and is profiled out, which leaves a one-dimensional search on a grid
that covers every resolvable tau: in a given window no starting values, no local minima. The window
starts at the 1/e crossing of c and follows the tau found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import check_array, check_choice, check_dt, check_number, check_size
from tau_rnn.timescales.design import Design, along, products

__all__ = ["timescale_of_acf"]

N_GRID = 400  # of log tau: spacing about 0.03 for 500 samples; refined to 1e-6 afterwards
KNOT = 3  # every third is computed, the others lie on a spline (to 2e-7; 3 divides N_GRID - 1)
SHORTEST, LONGEST = 0.05, 20.0  # ends of the search: 0.05 dt (decay factor 2e-9), 20 n dt
MIN_LAGS = 4  # the window never shrinks below so many lags
MAX_LAGS = 4096  # nor grows beyond so many
MIN_RESAMPLED = 5  # trials beyond the number of conditions, or stretches of them, to resample
MIN_SHAPES = 3  # trials are copies of fewer: participation ratio of their principal components
JUMP, Z_JUMP = np.array([1.0, -3.0, 3.0, -1.0]), 4.0  # of lag 0 over the next; standard errors
WORSE = 8.0  # squared errors of white noise that a fit to all lags costs the later ones
Z_SIGNAL = 4.0  # standard errors of white noise
TINY = 1e-300


class Window:
    """The grid and its shapes for one design, and how far a window reaches in timescales."""

    def __init__(self, design, dt, reach):
        self.design, self.dt, self.reach = design, dt, reach
        self.n_lags = min(design.n, MAX_LAGS)
        ends = np.log(SHORTEST * dt), np.log(LONGEST * design.n * dt)
        self.theta = np.linspace(*ends, N_GRID)
        self.noise = design.expected_acf(np.eye(1, design.n)[0])[: self.n_lags]
        self.pairs = design.kept[: self.n_lags]
        self.grid = np.empty((N_GRID, 0))  # shapes, over as many lags as were asked for

    def expected(self, log_tau, n_lags):
        """Expected autocovariance (..., n_lags) of exponentials of amplitude 1."""
        lags = self.dt * np.arange(self.design.n if self.design.order else n_lags)
        gamma = np.exp(-lags / np.exp(np.asarray(log_tau))[..., None])
        return self.design.expected_acf(gamma)[..., :n_lags]

    def shapes(self, log_tau, n_lags):
        """`expected`, through `free_of_noise`."""
        return self.free_of_noise(self.expected(log_tau, n_lags))

    def on_grid(self, n_lags):
        """`shapes` (N_GRID, n_lags) of the grid."""
        grid = self.grid
        if n_lags > grid.shape[1]:
            most = min(2 * n_lags, self.n_lags)  # windows grow
            spline = along(lambda at: self.shapes(at, most), self.theta[::KNOT])
            grid = self.grid = spline(self.theta)
        return grid[:, :n_lags]

    def free_of_noise(self, c):
        """A combination of lags that white observation noise touches at lag 0 only.

        Subtracting the trial mean turns noise of variance b into b (delta_k0 - 1/n), so that
        c(k) + c(0) / (n - 1) is free of it for k >= 1. Data and shapes go through the same map.
        """
        share = self.noise[: c.shape[-1]] / self.noise[0]
        return c - c[..., :1] * np.r_[share[1], share[1:]]

    def last_lag(self, tau, first, most):
        """Last lag of the window of each tau (rows,), at least MIN_LAGS beyond the first lag."""
        least = np.minimum(first + MIN_LAGS, most)
        return np.clip(np.ceil(self.reach * tau / self.dt), least, most)

    def weights(self, first, last):
        """Products behind each lag of the windows first..last, 0 outside: (rows, longest)."""
        k = np.arange(int(last.max()) + 1)
        inside = (k >= np.asarray(first)[:, None]) & (k <= last[:, None])
        return np.where(inside, self.pairs[: len(k)], 0.0)


class Fit(NamedTuple):
    """Rows of a = amplitude and tau = exp(log_tau), fitted over lags first..last."""

    log_tau: np.ndarray
    amplitude: np.ndarray
    last: np.ndarray
    bound: np.ndarray  # -1 or 1 where the search ended at its lower or upper end, else 0


def fit_window(c, w, first, *, last=None, iterations=15, refine=True):
    """The `Fit` of a * exp(-t/tau) to rows of c (rows, lags), lags first to reach * tau, iterated.

    Minimises sum_k K_k (c(k) - a f_tau(k))^2 over a >= 0 and tau, with K_k the number of products
    and f the expectation of exp(-t/tau) after centring. The window starts from `last`, or at the
    1/e crossing. `refine` polishes log tau from the grid's parabola (error near 1e-4) to 1e-6;
    without it there is no amplitude.
    """
    c = c[:, : w.n_lags]
    most = c.shape[1] - 1
    if last is None:
        crossing = np.nan_to_num(first_crossing(c, np.exp(-1), first), nan=most)
        last = w.last_lag(crossing * w.dt, first, most)
    last = np.broadcast_to(np.asarray(last, dtype=float), c.shape[:1])
    c = w.free_of_noise(c)
    for _ in range(iterations):
        used = last
        K = w.weights(first, used)
        n = K.shape[1]
        f = w.on_grid(n)
        gain = np.maximum((K * c[:, :n]) @ f.T, 0) ** 2 / np.maximum(K @ (f**2).T, TINY)
        best = gain.argmax(axis=1)
        last = w.last_lag(np.exp(w.theta[best]), first, most)
        if np.array_equal(last, used):
            break
    bound = np.where(best == 0, -1, np.where(best == N_GRID - 1, 1, 0))
    rows, inner = np.arange(len(c)), np.clip(best, 1, N_GRID - 2)
    step = w.theta[1] - w.theta[0]
    log_tau = w.theta[inner] + step * parabola_top(*(gain[rows, inner + j] for j in (-1, 0, 1)))

    def projected(log_tau):
        """Amplitude of each row, and what it takes from the sum of squares."""
        f = w.shapes(log_tau, n)
        inner = np.sum(K * f * c[:, :n], axis=1)
        a = inner / np.maximum(np.sum(K * f * f, axis=1), TINY)
        return a, a * inner

    for h in (0.1 * step, 0.01 * step) if refine else ():
        gains = [projected(log_tau + j * h)[1] for j in (-1, 0, 1)]
        log_tau = log_tau + h * parabola_top(*gains)
    amplitude = projected(log_tau)[0] if refine else np.full(len(c), np.nan)
    return Fit(log_tau, amplitude, used, bound)


def draws(n_parts, options):
    """How often each of the parts is drawn in each bootstrap sample (n_boot, parts)."""
    rng = np.random.default_rng(options.seed)
    return rng.multinomial(n_parts, np.full(n_parts, 1 / n_parts), size=options.n_boot)


def percentile_interval(samples, n_parts, dof, level):
    """Percentile interval of bootstrap samples, by order statistics (infinities stay).

    The bootstrap of M trials is too narrow by sqrt(dof/M), since trials about one mean shrink
    together, and by the step from Student's t to the normal; the levels are moved outwards by both
    (the expanded percentile interval of Hesterberg 2015, The American Statistician 69:371).
    """
    from scipy.special import ndtr, stdtrit

    samples = np.sort(samples)
    tail = ndtr(np.sqrt(n_parts / dof) * stdtrit(dof, (1 - level) / 2))
    rank = max(int(tail * (len(samples) + 1)), 1)
    return samples[rank - 1], samples[len(samples) - rank]


def first_crossing(c, level, first=0):
    """First lag (fractional) at which rows of c fall below level * c(first), NaN where none."""
    rows, k = np.arange(len(c)), np.arange(c.shape[1])
    first = np.broadcast_to(first, len(c))
    top = level * c[rows, first]
    below = (c < top[:, None]) & (k >= first[:, None])
    at = below.argmax(axis=-1)
    before, here = c[rows, at - 1], c[rows, at]
    fall = np.where(before > here, before - here, 1)
    return np.where(below.any(axis=-1), at - 1 + (before - top) / fall, np.nan)


def integral(gamma):
    """Trapezoidal sum of gamma(k)/gamma(0) up to the first zero crossing (rows,), in samples."""
    positive = np.cumprod(gamma > 0, axis=1)
    return np.sum(positive * gamma, axis=1) / np.where(gamma[:, 0] > 0, gamma[:, 0], np.inf) - 0.5


def parabola_top(left, middle, right):
    """Abscissa of the top of the parabola through (-1, left), (0, middle), (1, right), in [-1, 1].

    Where the three points have no top inside: the higher neighbour, or 0 on a flat stretch.
    """
    curvature = left - 2 * middle + right
    top = 0.5 * (left - right) / np.where(curvature < 0, curvature, -np.inf)
    return np.clip(np.where(curvature < 0, top, np.sign(right - left)), -1, 1)


def by_parts(y, design, n_lags, last):
    """Autocovariances (parts, lags) of one unit, for the bootstrap: trials, or stretches of few."""
    pieces = 1
    if design.dof < 20:
        pieces = int(np.clip(design.n // (4 * last + 1), 1, np.ceil(40 / len(y))))
    starts = np.linspace(0, design.n, pieces + 1).astype(int)
    parts = np.zeros((pieces, len(y), n_lags))
    for part, start, stop in zip(parts, starts[:-1], starts[1:]):
        whole = y[:, start : stop + n_lags]
        begins = np.where(np.arange(whole.shape[1]) < stop - start, whole, 0)
        found = products(begins[:, None], whole[:, None])[:, :n_lags]
        part[:, : found.shape[1]] = found
    scale = len(y) * pieces / np.maximum(design.kept[:n_lags], 1e-9)
    return parts.reshape(-1, n_lags) * scale


def by_window(y, c, first, w, options):
    """The window's exponential of units, as values of what `units` collects; its lags.

    Lag 0 is left out where it stands out, its jump over the next three lags less that of the fit to
    later lags, and where the fit to all lags is the worse one for the later lags: it is not for
    units as fast as the step, of which the later lags know little.
    """
    d, later = w.design, np.maximum(first, 1)
    whole, fit = fit_window(c, w, 0 * later), fit_window(c, w, later)
    K = w.weights(later, fit.last)
    n = K.shape[1]
    left, rest = (
        c[:, :n] - s.amplitude[:, None] * w.expected(s.log_tau, n) for s in (whole, fit)
    )
    head = np.stack([np.sum(y[..., : d.n - k] * y[..., k:], axis=-1) for k in range(4)], axis=-1)
    by_trial = (head - head.mean(axis=1, keepdims=True)) @ JUMP * y.shape[1] / d.kept[0]
    error = np.sqrt(np.sum(by_trial**2, axis=1) / (y.shape[1] * d.dof))
    worse = np.sum(K * (left**2 - rest**2), axis=1)
    shows = (rest[:, :4] @ JUMP > Z_JUMP * error) & (worse > WORSE * c[:, 0] ** 2)
    noise = np.maximum(rest[:, 0], 0) / w.noise[0]
    lag0 = (first == 0) & (~shows if options.use_lag0 == "auto" else bool(options.use_lag0))
    fit = Fit(*(np.where(lag0, a, b) for a, b in zip(whole, fit)))
    start = np.where(lag0, 0, later)
    K = w.weights(later, fit.last)
    n = K.shape[1]
    f = w.shapes(fit.log_tau, n)
    signal = np.sum(K * f * w.free_of_noise(c[:, :n]), axis=1)
    signal /= np.maximum(c[:, 0] * np.sqrt(np.sum(K * f**2, axis=1)), TINY)
    tau = np.exp(fit.log_tau)
    found = {
        "tau": np.stack([tau, tau], axis=1),
        "amplitude": np.stack([fit.amplitude, 0 * tau], axis=1),
        "noise": np.where(lag0, 0.0, noise),
        "noisy": ~lag0 & (noise > 0),
        "silent": ~(signal > Z_SIGNAL),
        "bound": fit.bound,
    }
    return found, start, fit.last


def interval(y, first, last, w, options):
    """Percentile interval (2,) of one unit; open where the parts cannot tell.

    They are too few to resample, or trials are copies of one or two: tau is then the same again and
    again, more sharply than so many samples of any process could tell it.
    """
    need = int(min(w.n_lags, max(4 * last, 50)))
    parts = by_parts(y, w.design, need, int(last))
    dof = len(parts) * w.design.dof // len(y)
    if dof < MIN_RESAMPLED:
        return 0.0, np.inf
    c = draws(len(parts), options) / len(parts) @ parts
    rows = np.full(options.n_boot, first)
    fit = fit_window(c, w, rows, last=last, iterations=3, refine=False)
    choices: Any = 0.0, np.exp(fit.log_tau), np.inf
    tau = np.choose(fit.bound + 1, choices)
    low, high = percentile_interval(tau, len(parts), dof, options.level)
    middle, sharp = np.median(tau), 1 / np.sqrt(w.design.mask.sum())
    if low > (1 - sharp) * middle or high < (1 + sharp) * middle:
        gram = y @ y.T
        if np.trace(gram) ** 2 < MIN_SHAPES * np.sum(gram**2):
            return 0.0, np.inf
    return low, high


def timescale_of_acf(
    acov: ArrayLike, dt: float, *, window: float = 2.0, center: str = "psth"
) -> np.ndarray:
    """The timescale that defines a unit, for a true autocovariance given exactly.

    A unit with several timescales has no single one: the exponential fitted over lags up to
    ``window`` times its own tau, weighted by the products behind each lag, *defines* it, together
    with what was subtracted: the mean of a trial takes part of a slow component with it, so "trial"
    gives such a unit a shorter timescale than "psth". A unit with one timescale has the same under
    both. `fit_timescales` estimates this number; where one exponential and white noise explain all
    that was recorded it does so by their likelihood, which is more precise.
    The window is iterated from the 1/e crossing; a mixture of very different timescales may have
    several windows that agree with themselves. Compare estimates on a network with this number for
    its exact autocovariance (`linear_network_acf`), centred as they were (``center_used``).

    Parameters
    ----------
    acov : array_like, shape (lags, units)
        gamma(0), gamma(dt), ...; as many lags as a trial has samples.
    dt : float
        Step (s).
    window : float
        As in `fit_timescales`.
    center : {"psth", "trial"}
        As in `fit_timescales`.

    Returns
    -------
    ndarray, shape (units,)
        Timescales (s); NaN where the autocovariance is not positive at lag 0 or the search ends at
        a bound.

    Raises
    ------
    ValueError
        For a wrong shape, dt, window or center.

    Examples
    --------
    A unit of 1 s, and one of which half the variance has 0.1 s:

    >>> lags = 0.05 * np.arange(200)[:, np.newaxis]
    >>> slow, fast = np.exp(-lags), np.exp(-lags / 0.1)
    >>> timescale_of_acf(np.hstack([slow, (slow + fast) / 2]), 0.05).round(2)
    array([1.  , 0.53])
    """
    acov = check_array("acov", acov, finite=False).astype(float)
    check_size("acov", acov)
    if acov.ndim != 2 or len(acov) <= MIN_LAGS or not np.isfinite(acov).all():
        raise ValueError(
            f"acov: must be finite, of shape (lags, units) with lags > {MIN_LAGS}, "
            f"got shape {acov.shape}"
        )
    check_choice("center", center, ("psth", "trial"))
    whole = np.ones((1, len(acov)), dtype=bool)
    design = Design(whole, np.zeros(1, dtype=int), int(center == "trial"))
    w = Window(design, check_dt(dt), check_number("window", window, above=0))
    tau = np.full(acov.shape[1], np.nan)
    live = acov[0] > 0
    if live.any():
        c = design.expected_acf((acov[:, live] / acov[0, live]).T)
        fit = fit_window(c, w, np.zeros(live.sum(), dtype=int))
        tau[live] = np.where(fit.bound == 0, np.exp(fit.log_tau), np.nan)
    return tau
