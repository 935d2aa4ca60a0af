"""Where tau comes from: the distributions of the neurons' time constants.

A distribution is a name of `DISTRIBUTIONS`, where each is described, a name with parameters
(``normal:mean=1,sd=0.3``), one value per unit, or any frozen distribution of `scipy.stats`.

What ``low`` and ``high`` do is a condition, not a clip (a clipped sample piles up at its bounds):
with F the cumulative distribution of the parent, the one without bounds, the quantiles are ::

    tau(q) = F^-1(F(low) + q (F(high) - F(low))),        E[g(tau)] = int_0^1 g(tau(q)) dq

``mean``, ``sd``, ``shape`` and ``cv0`` are the parent's, as in SciPy; `parse_tau` says what the
bounds leave of them. All means are about 1 s, and yet the distributions differ in more than their
spread: in the mean *rate* E[1/tau], which sets how fast the average unit answers an input.

vanilla, normal, uniform and bimodal are the poster's, which gives the normal no bounds: these are
ours. The gamma's shape is that of Perez-Nieves et al. (2021), Nature Communications 12, 5791.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn import checks, specs
from tau_rnn.checks import check_integer, check_number, nearest, shown
from tau_rnn.specs import (
    parameters_of,
    read_scipy,
    read_values,
    scipy_text,
    spec_text,
    value_text,
)  # fmt: skip

__all__ = ["parse_tau", "sample_tau", "truncate"]

#: Bounds of every time constant and parameter: others make no sense, and all squares are finite.
_RANGE = {"least": 1e-9, "most": 1e9}
#: The least share of a distribution within its bounds: F is rounded to 1e-16, its quantiles to
#: 1e-16 / share. And the least width between its 5 and 95 % quantiles, relative to the latter.
_LEAST_SHARE = _LEAST_WIDTH = 1e-6


class Family(NamedTuple):
    """A named distribution: a line for a reader, and its parameters, all > 0, with their defaults.

    ``parent`` gives the scipy.stats distribution of these parameters, which is truncated to low and
    high; without it the parameters' values stand for equal shares of the units.
    """

    about: str
    parameters: Mapping[str, float] = MappingProxyType({})
    parent: Callable[..., Any] | None = None


def _scipy(name: str, *args, **kwargs):
    from scipy import stats  # takes a second: no earlier than needed

    return getattr(stats, name)(*args, **kwargs)


def _lognormal(mean, cv0, **bounds):
    variance = np.logaddexp(0, 2 * math.log(cv0))  # of ln tau: ln(1 + cv0^2), without overflow
    return _scipy("lognorm", math.sqrt(variance), scale=mean * math.exp(-variance / 2))


#: The distributions by name, as ``--help`` shows them. A new one is a new entry here.
DISTRIBUTIONS: dict[str, Family] = {
    "vanilla": Family("every unit 1 s"),
    "normal": Family(
        "mean 1 s, sd 0.2 s, truncated to [0.1, 1.9] s",
        {"mean": 1.0, "sd": 0.2, "low": 0.1, "high": 1.9},
        lambda mean, sd, **bounds: specs.normal(mean, sd),
    ),
    "uniform": Family(
        "uniform on [0.1, 1.9] s", {"low": 0.1, "high": 1.9},
        lambda low, high: _scipy("uniform", low, high - low),
    ),
    "bimodal": Family("0.5 s or 1.5 s, in equal halves", {"low": 0.5, "high": 1.5}),
    "lognormal": Family(
        "mean 1 s, CV (cv0) 0.5, truncated to [0.1, 10] s",
        {"mean": 1.0, "cv0": 0.5, "low": 0.1, "high": 10.0}, _lognormal,
    ),
    "gamma": Family(
        "mean 1 s, shape 3, truncated to [0.1, 10] s",
        {"mean": 1.0, "shape": 3.0, "low": 0.1, "high": 10.0},
        lambda mean, shape, **bounds: _scipy("gamma", shape, scale=mean / shape),
    ),
    "constant": Family("every unit the same: constant:0.61", {"value": 1.0}),
    "values": Family("one per unit: values:0.5,1.5,..."),
    "file": Family("one per unit, from a .npy or text file: file:PATH"),
    "scipy": Family("any of scipy.stats: scipy:weibull_min:c=2, and bounds: low=0.1,high=5"),
}  # fmt: skip


class _TauDistribution:
    """A distribution of time constants; see what `parse_tau` returns."""

    text: str | None
    support: Any
    mean: Any
    cv: Any
    mean_rate: Any

    def ppf(self, q: ArrayLike) -> Any:
        """Quantile function: tau (s) below which a fraction ``q`` in [0, 1) of the units lies."""
        raise NotImplementedError

    def __str__(self) -> str:
        low, high = self.support
        return (
            f"{self.text or 'a distribution'}: mean {self.mean:.3f} s, CV {self.cv:.3f}, "
            f"E[1/tau] {self.mean_rate:.3f} per s, within [{low:g}, {high:g}] s"
        )


class Fixed(_TauDistribution):
    """Given values (s), the i-th one for unit i; with a text, each for an equal share of the units.

    Of an odd number of units of `bimodal` one is left over: its quantile lies around 1/2, on either
    side with equal chance, so the rng decides which half gets one more.
    """

    def __init__(self, values, source: str = "", text: str | None = None):
        self.name = f"tau from {source}" if source else "tau"
        values = checks.check_array(self.name, values, ("n_units",), finite=False)
        each = enumerate(values.astype(float).tolist())
        self.values = tuple(check_number(f"{self.name} of unit {i}", v, **_RANGE) for i, v in each)
        self.per_unit, self.text = text is None, text or f"values:{value_text(self.values)}"
        self.support = min(self.values), max(self.values)
        self.mean = float(np.mean(self.values))
        self.cv = float(np.std(self.values)) / self.mean if len(set(self.values)) > 1 else 0.0
        self.mean_rate = float(np.mean(1 / np.asarray(self.values)))

    def ppf(self, q):
        index = np.floor(np.asarray(q, dtype=float) * len(self.values)).astype(int)
        return np.sort(self.values)[np.minimum(index, len(self.values) - 1)]


class _Truncated(_TauDistribution):
    """A frozen distribution of scipy.stats, ``make()``, on the condition low <= tau <= high."""

    def __init__(self, text: str | None, make: Callable[[], Any], low=None, high=None):
        self.text, self._make, self._low, self._high = text, make, low, high

    @cached_property
    def parent(self):
        return self._make()

    @cached_property
    def support(self):
        least, most = map(float, self.parent.support())
        return max(least, self._low or least), min(most, self._high or most)

    @cached_property
    def _levels(self):
        return self.parent.cdf(self.support)

    def ppf(self, q):
        below, above = self._levels
        tau = self.parent.ppf(below + np.asarray(q) * (above - below))
        return np.clip(tau, *self.support)  # within already, but for rounding where F is about 1

    @cached_property
    def mean(self):
        whole = self.support == self.parent.support()
        return float(self.parent.mean()) if whole else self._expectation(lambda tau: tau)

    @cached_property
    def cv(self):
        if self.support == self.parent.support():
            sd = float(self.parent.std())
            return sd / self.mean if math.isfinite(sd) else math.inf
        return math.sqrt(self._expectation(lambda tau: (tau - self.mean) ** 2)) / self.mean

    @cached_property
    def mean_rate(self):
        if self.support[0] == 0:  # finite if the density goes to 0 like a power of tau
            near, nearer = self.parent.pdf(np.array([1e-30, 1e-60]) * self.parent.median())
            if nearer > 0.9 * near:
                return math.inf
        return self._expectation(lambda tau: 1 / tau)

    def _expectation(self, g) -> float:
        """E[g(tau)] = int g(tau(q)) (dq/dz) dz with z = ln(q / (1 - q)).

        In z every distribution is about as wide. SciPy's ``expect`` integrates over tau and can
        miss a narrow one: it gives 0.9 for the mean of norm(1, 1e-5) on [0.1, 1.9].
        """
        from scipy.integrate import quad
        from scipy.special import expit

        def integrand(z):
            return expit(z) * expit(-z) * float(g(self.ppf(expit(z))))

        precision = {"epsabs": 0, "epsrel": 1e-11, "limit": 500, "full_output": 1}
        # Beyond 33, where 1 - q is 5e-15, the rounding of q would place the quantiles.
        value, error, *_ = quad(integrand, -700, 33, points=(-37, -5, 0, 5), **precision)
        if not error <= 1e-6 * value:
            raise ValueError(f"tau: the moments of {self.text} cannot be computed to 1e-6")
        return value

    @np.errstate(all="ignore")  # of parameters that give no distribution
    def check(self, name: str) -> _Truncated:
        """The distribution itself; a ValueError that begins with the name if it gives no tau."""
        if np.size(self.parent.median()) > 1:
            raise ValueError(f"{name}: must be one distribution, got an array of them")
        (low, high), median = self.support, self.parent.median()
        (below, above), (first, last) = self._levels, self.ppf([0.05, 0.95])
        if not np.isfinite(median):
            problem = f"its parameters give no distribution, its median is {median}"
        elif low < 0 or (low == 0 and below > 0):
            cut = "tau_rnn.taus.truncate(dist, low=0.1) cuts it"
            problem = f"must give tau > 0 s only, but can give {low:g}; {cut}"
        elif self._low is not None and self._high is not None and not self._low < self._high:
            problem = f"low must be below high, got low={self._low:g}, high={self._high:g}"
        elif not above - below >= _LEAST_SHARE:
            problem = f"only {above - below:.2g} of it lie within [{low:g}, {high:g}] s"
        elif not last - first > _LEAST_WIDTH * last:
            problem = f"is too narrow, {first:.9g} to {last:.9g} s; take constant:{last:g}"
        else:
            return self
        raise ValueError(f"{name}: {problem}")


def stratified_quantiles(n_units, rng):
    """(N,) quantiles, one unit per stratum: q = (permutation(n) + uniform(n)) / n.

    Each q_i alone is uniform on [0, 1), yet together they cover it evenly, one in each interval
    [k/n, (k+1)/n): the histogram of tau of a network of 100 units looks like its distribution.
    """
    checks.check_generator(rng)
    n = check_integer("n_units", n_units, 1)
    checks.check_fits(n_units=n)
    stratum = rng.permutation(n)
    q = (stratum + rng.random(n)) / n
    # stratum + u may round up to the next stratum, which would unbalance the halves of `bimodal`.
    return np.minimum(q, np.nextafter((stratum + 1) / n, 0.0))


def sample_tau(dist: Any, n_units: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the time constants of a network's units, tau_i = ppf(q_i).

    The quantiles q (see `stratified_quantiles`) depend on the rng alone. So with rngs in the same
    state, unit i has the same quantile in every distribution (comparisons are paired unit by unit),
    and every distribution leaves the rng in the same state, ``vanilla`` and arrays included.

    Parameters
    ----------
    dist : as `parse_tau` takes it; given values are used in their order
    n_units : number of units N
    rng : numpy.random.Generator

    Returns
    -------
    tau : (N,) float64 array, in s, all > 0

    Raises
    ------
    ValueError
        If `parse_tau` refuses dist, ``n_units`` < 1, or there are not as many values as units.

    Examples
    --------
    >>> sorted(sample_tau("bimodal", 4, np.random.default_rng(0)).tolist())
    [0.5, 0.5, 1.5, 1.5]
    >>> from scipy import stats
    >>> sample_tau(stats.gamma(3, scale=1 / 3), 4, np.random.default_rng(0)).shape
    (4,)
    """
    dist = parse_tau(dist)
    q = stratified_quantiles(n_units, rng)
    if isinstance(dist, Fixed) and dist.per_unit:
        if len(dist.values) != q.size:
            given = f"{dist.name}: has {len(dist.values)} values"
            raise ValueError(f"{given}, but the network has {q.size} units")
        return np.array(dist.values)
    tau = np.asarray(dist.ppf(q), dtype=float)
    if not (np.isfinite(tau) & (tau > 0)).all():  # without bounds, quantiles may underflow
        raise ValueError(f"tau: must be finite and > 0 s, got {tau.min():g} from {dist.text}")
    return tau


def parse_tau(spec: Any) -> _TauDistribution:
    """The distribution of tau that a text, an object or an array stands for.

    Parameters
    ----------
    spec : a text that begins with a name of `DISTRIBUTIONS`, one tau (s) per unit (an array, or the
        path of a file), a frozen distribution of scipy.stats, or what this function returned

    Returns
    -------
    the distribution: its ``text``, the shortest that this function reads as it, or None; its
    ``support`` (s), and its ``mean``, ``cv`` and ``mean_rate``, which is E[1/tau] (1/s)

    Raises
    ------
    ValueError
        For an unknown name or parameter, and what can give tau that are not finite and > 0.

    Examples
    --------
    >>> parse_tau("normal:mean=1,sd=0.30").text
    'normal:sd=0.3'
    >>> print(parse_tau("gamma"))  # the numbers are exact to 1e-9
    gamma: mean 1.003 s, CV 0.574, E[1/tau] 1.450 per s, within [0.1, 10] s
    """
    if isinstance(spec, _TauDistribution):
        return spec
    spec = f"file:{spec}" if isinstance(spec, os.PathLike) else spec
    if isinstance(spec, str):
        name, _, path = (part.strip() for part in spec.partition(":"))
        if name.lower() == "file" and path:  # it is read again each time: it may have changed
            return Fixed(read_values(path), source=f"file:{path}")
        return _from_text(spec)
    if hasattr(spec, "ppf") or hasattr(spec, "icdf"):
        return truncate(spec)
    if not hasattr(spec, "__len__"):
        raise ValueError(
            "tau: must be a name, an array of shape (n_units,) or a frozen distribution of "
            f"scipy.stats, got {shown(spec)}; one tau for all units is 'constant:0.61'"
        )
    return Fixed(spec)


def truncate(dist: Any, low: float | None = None, high: float | None = None) -> _TauDistribution:
    """A continuous, frozen distribution of scipy.stats on the condition low <= tau <= high.

    Parameters
    ----------
    dist : of `scipy.stats`, with its parameters
    low, high : bounds in s; None for those of the distribution, and none below 0

    Returns
    -------
    the distribution, as `parse_tau` returns one

    Raises
    ------
    ValueError
        If it is not continuous, a bound is not > 0, or less than a millionth of it lies within.

    Examples
    --------
    >>> from scipy import stats
    >>> truncate(stats.norm(1, 0.5), 0.2, 3).text
    'scipy:norm:loc=1,scale=0.5,low=0.2,high=3'
    """
    from scipy import stats

    name = str(getattr(dist, "name", None))  # one that is frozen has none
    if isinstance(dist, stats.rv_continuous) and not dist.shapes:
        dist = dist()  # a histogram, or one with all its parameters as they are by default
    if not isinstance(getattr(dist, "dist", None), stats.rv_continuous):
        what = "a continuous distribution of scipy.stats with its parameters, as stats.gamma(3)"
        raise ValueError(f"tau: must be {what}, got {shown(dist)}")
    given = [("low", low), ("high", high)]
    bounds = {k: check_number(k, v, **_RANGE) for k, v in given if v is not None}
    truncated = _Truncated(scipy_text(dist, bounds), lambda: dist, **bounds)
    advice = f" (not frozen; freeze it: scipy.stats.{name}(1, 0.3))" * hasattr(stats, name)
    return truncated.check(f"tau: {dist.dist.name}{advice}")


@lru_cache(maxsize=256)
def _from_text(spec: str) -> _TauDistribution:
    name, colon, rest = (part.strip() for part in spec.partition(":"))
    name = name.lower()
    if name not in DISTRIBUTIONS:
        raise ValueError(f"tau: unknown distribution {spec!r}; {nearest(name, DISTRIBUTIONS)}")
    if not rest and (colon or name in ("file", "values", "scipy")):
        raise ValueError(f"{spec!r}: nothing follows the colon")
    if name == "values":
        return Fixed([check_number("tau: values", text) for text in rest.split(",")])
    if name == "scipy":
        frozen, bounds = read_scipy(rest, spec)
        return truncate(frozen, **bounds)
    if name == "constant" and "=" not in rest:
        rest = f"value={rest}" if rest else ""
    _, usual, parent = DISTRIBUTIONS[name]
    given = parameters_of(rest, usual, spec)
    values = {k: check_number(f"{name}: {k}", given.get(k, usual[k]), **_RANGE) for k in usual}
    if "low" in values and not values["low"] < values["high"]:
        low, high = values["low"], values["high"]
        raise ValueError(f"{name}: low must be below high, got low={low:g}, high={high:g}")
    changed = {k: value for k, value in values.items() if value != usual[k]}
    if parent is None:
        text = spec_text(name, changed).replace("constant:value=", "constant:")
        text = "vanilla" if text == "constant" else text
        return Fixed(list(values.values()) or [1.0], text=text)
    text = spec_text(name, changed)
    dist = _Truncated(text, lambda: parent(**values), values["low"], values["high"])
    return dist.check(text) if changed else dist  # the defaults are right without SciPy's import
