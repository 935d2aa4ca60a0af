"""Where tau comes from: the distributions of the neurons' time constants.

Every distribution is a small frozen dataclass with the quantile function ``ppf(q)`` (the inverse
of its cumulative distribution), its exact ``mean`` (s), coefficient of variation ``cv`` and
``mean_rate`` = E[1/tau] (1/s), and a text form that :func:`parse_tau` reads back::

    vanilla        every unit 1 s                                             (poster)
    normal         mean 1 s, sd 0.2 s, truncated to [0.1, 1.9] s              (poster)
    uniform        on [0.1, 1.9] s                                            (poster)
    bimodal        0.5 s or 1.5 s, in equal halves                            (poster)
    lognormal      mean 1 s, CV 0.5 before truncation to [0.1, 10] s          (our choice)
    gamma          shape 3 [1]_, mean 1 s, truncated to [0.1, 10] s           (our choice)
    constant:0.61  every unit 0.61 s
    values:0.5,1   the values themselves, one per unit
    file:PATH      the values in a .npy or text file, one per unit

Parameters follow the name: ``normal:mean=1,sd=0.3``, ``bimodal:low=0.2,high=1.8``.

All of them have mean 1 s by default, and yet they differ in more than their spread: the mean
*rate* E[1/tau], which sets how fast the average unit answers an input, grows with it.

=========  ====  =====  ============
name       mean  CV     E[1/tau]
=========  ====  =====  ============
vanilla    1.00  0.000  1.00
normal     1.00  0.200  1.05
uniform    1.00  0.520  1.64
bimodal    1.00  0.500  1.33
lognormal  1.00  0.500  1.25
gamma      1.00  0.574  1.45
=========  ====  =====  ============

Truncation is a condition on the quantile, never a clip: a clipped sample piles up at its bounds.
``mean`` is the mean *after* truncation: the median of the untruncated parent is placed so that it
holds exactly (for the symmetric default of ``normal`` it stays at 1 s).

References
----------
.. [1] Perez-Nieves, N., Leung, V. C. H., Dragotti, P. L. & Goodman, D. F. M. (2021). Neural
   heterogeneity promotes robust learning. Nature Communications 12, 5791.
"""

from __future__ import annotations

import difflib
import math
import operator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np


class Summary(NamedTuple):
    """What a table says of a distribution of tau (see :func:`describe`)."""

    spec: str
    mean: float  # s
    cv: float
    mean_rate: float  # E[1/tau], 1/s
    low: float  # s, smallest possible tau
    high: float  # s, largest possible tau


class TauDistribution:
    """What all distributions of tau have in common: the text form and the checks."""

    name: ClassVar[str]
    about: ClassVar[str]

    # Either a field (the families that are placed by their mean) or a property of a subclass.
    mean: Any

    def ppf(self, q):
        """Quantile function: tau (s) below which a fraction ``q`` in [0, 1) of the units lies."""
        raise NotImplementedError

    @property
    def cv(self) -> float:
        """Coefficient of variation, sd[tau] / E[tau]."""
        raise NotImplementedError

    @property
    def mean_rate(self) -> float:
        """E[1/tau] in 1/s."""
        raise NotImplementedError

    @property
    def support(self) -> tuple[float, float]:
        """Smallest and largest possible tau (s)."""
        return self.low, self.high  # type: ignore[attr-defined]

    def __post_init__(self):
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, bool) or not _is_positive(value):
                raise ValueError(
                    f"{self.name}: {field.name} must be a finite number > 0, got {value!r}"
                )
            object.__setattr__(self, field.name, float(value))
        low, high = self.support
        if low > high or (low == high and not isinstance(self, Constant)):
            raise ValueError(f"{self.name}: low must be below high, got low={low:g}, high={high:g}")

    def __str__(self) -> str:
        changed = [
            f"{f.name}={_number(getattr(self, f.name))}"
            for f in fields(self)  # type: ignore[arg-type]
            if getattr(self, f.name) != f.default
        ]
        return self.name + (":" + ",".join(changed) if changed else "")


@dataclass(frozen=True)
class Constant(TauDistribution):
    """Every unit has the same tau, ``value`` (s). ``vanilla`` is ``Constant(1.0)``."""

    value: float = 1.0
    name: ClassVar[str] = "constant"
    about: ClassVar[str] = "every unit the same tau: vanilla = 1 s, constant:0.61 = 0.61 s"

    def ppf(self, q):
        return np.full(np.shape(q), self.value)

    @property
    def mean(self) -> float:
        return self.value

    @property
    def cv(self) -> float:
        return 0.0

    @property
    def mean_rate(self) -> float:
        return 1.0 / self.value

    @property
    def support(self) -> tuple[float, float]:
        return self.value, self.value

    def __str__(self) -> str:
        return "vanilla" if self.value == 1.0 else f"constant:{_number(self.value)}"


@dataclass(frozen=True)
class Uniform(TauDistribution):
    """tau uniform on [low, high] (s)."""

    low: float = 0.1
    high: float = 1.9
    name: ClassVar[str] = "uniform"
    about: ClassVar[str] = "uniform on [low, high] = [0.1, 1.9] s"

    def ppf(self, q):
        return self.low + (self.high - self.low) * np.asarray(q, dtype=float)

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def cv(self) -> float:
        return (self.high - self.low) / math.sqrt(12) / self.mean

    @property
    def mean_rate(self) -> float:
        return math.log(self.high / self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Bimodal(TauDistribution):
    """tau is ``low`` for one half of the units and ``high`` for the other half (s).

    With stratified quantiles an even number of units is split into exactly equal halves. With an
    odd number one unit is left over: its quantile lies in the stratum around 1/2, on either side
    with equal chance, so the rng decides which half gets one more, and the mean is unbiased.
    """

    low: float = 0.5
    high: float = 1.5
    name: ClassVar[str] = "bimodal"
    about: ClassVar[str] = "low = 0.5 s for one half of the units, high = 1.5 s for the other half"

    def ppf(self, q):
        return np.where(np.asarray(q) < 0.5, self.low, self.high)

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def cv(self) -> float:
        return (self.high - self.low) / (self.high + self.low)

    @property
    def mean_rate(self) -> float:
        return (1 / self.low + 1 / self.high) / 2


class _Truncated(TauDistribution):
    """A parent distribution, conditioned on low <= tau <= high and placed by its mean.

    With F the parent's cumulative distribution, Q its inverse and M_k(m) = E[tau^k; low <= tau <=
    high] the parent's partial moments for the median m,

        ppf(q) = Q(F(low) + q (F(high) - F(low))),        E[tau^k] = M_k / M_0,

    and m solves M_1(m) / M_0(m) = mean. The parent's median must lie within the bounds, so that
    neither tail beyond them holds more than half of the parent.
    """

    mean: float
    low: float
    high: float

    def _cdf(self, tau, median):
        raise NotImplementedError

    def _inverse(self, p, median):
        raise NotImplementedError

    def _partial_moment(self, k: int, median: float) -> float:
        raise NotImplementedError

    def __post_init__(self):
        super().__post_init__()
        least, most = (
            self._partial_moment(1, m) / self._partial_moment(0, m) for m in self.support
        )
        if not least < self.mean < most:
            raise ValueError(
                f"{self.name}: mean must lie in ({least:.4g}, {most:.4g}) s for these parameters "
                f"and bounds [{self.low:g}, {self.high:g}] s, got {self.mean:g}"
            )

    def ppf(self, q):
        median = _parent_median(self)
        p_low, p_high = self._cdf(self.low, median), self._cdf(self.high, median)
        return self._inverse(p_low + np.asarray(q, dtype=float) * (p_high - p_low), median)

    def _moment(self, k: int) -> float:
        median = _parent_median(self)
        return float(self._partial_moment(k, median) / self._partial_moment(0, median))

    @property
    def cv(self) -> float:
        return math.sqrt(self._moment(2) - self.mean**2) / self.mean

    @property
    def mean_rate(self) -> float:
        return self._moment(-1)


@lru_cache(maxsize=256)
def _parent_median(dist: _Truncated) -> float:
    """Median of the untruncated parent for which the truncated mean is ``dist.mean``."""
    from scipy.optimize import brentq

    def excess(m):
        return dist._partial_moment(1, m) / dist._partial_moment(0, m) - dist.mean

    return float(brentq(excess, dist.low, dist.high, xtol=1e-15, rtol=1e-15))


@dataclass(frozen=True)
class Normal(_Truncated):
    """Normal with standard deviation ``sd`` (s) before truncation; scipy.stats.truncnorm.

    E[1/tau] has no closed form: it is integrated numerically (relative error below 1e-10).
    """

    mean: float = 1.0
    sd: float = 0.2
    low: float = 0.1
    high: float = 1.9
    name: ClassVar[str] = "normal"
    about: ClassVar[str] = "normal with mean = 1 s, sd = 0.2 s, truncated to [0.1, 1.9] s"

    def _cdf(self, tau, median):
        from scipy.special import ndtr

        return ndtr((tau - median) / self.sd)

    def _inverse(self, p, median):
        from scipy.special import ndtri

        return median + self.sd * ndtri(p)

    def _partial_moment(self, k, median):
        a, b = (self.low - median) / self.sd, (self.high - median) / self.sd
        mass = self._cdf(self.high, median) - self._cdf(self.low, median)
        if k == 0:
            return mass
        if k == -1:
            from scipy.integrate import quad

            # Beyond 40 sd the density is below the smallest float64.
            a, b = max(a, -40.0), min(b, 40.0)
            return quad(
                lambda z: _normal_density(z) / (median + self.sd * z),
                a, b, points=[0.0] if a < 0 < b else None, epsabs=0, epsrel=1e-11, limit=200,
            )[0]
        first = _normal_density(a) - _normal_density(b)  # E[z; a <= z <= b]
        if k == 1:
            return median * mass + self.sd * first
        second = mass + a * _normal_density(a) - b * _normal_density(b)  # E[z^2; a <= z <= b]
        return median**2 * mass + 2 * median * self.sd * first + self.sd**2 * second


@dataclass(frozen=True)
class LogNormal(_Truncated):
    """log tau is normal; ``cv0`` is the coefficient of variation before truncation.

    The bounds keep the fastest unit slower than two steps of 0.05 s and the slowest within reach
    of a trial of some seconds; with the defaults they cut off 2e-6 of the parent.
    """

    mean: float = 1.0
    cv0: float = 0.5
    low: float = 0.1
    high: float = 10.0
    name: ClassVar[str] = "lognormal"
    about: ClassVar[str] = "log-normal with mean = 1 s, cv0 = 0.5, truncated to [0.1, 10] s"

    @property
    def _sigma(self) -> float:
        return math.sqrt(math.log1p(self.cv0**2))

    def _cdf(self, tau, median):
        from scipy.special import ndtr

        return ndtr(math.log(tau / median) / self._sigma)

    def _inverse(self, p, median):
        from scipy.special import ndtri

        return median * np.exp(self._sigma * ndtri(p))

    def _partial_moment(self, k, median):
        from scipy.special import ndtr

        s = self._sigma
        a, b = math.log(self.low / median) / s, math.log(self.high / median) / s
        return median**k * math.exp((k * s) ** 2 / 2) * (ndtr(b - k * s) - ndtr(a - k * s))


@dataclass(frozen=True)
class Gamma(_Truncated):
    """Gamma of a given ``shape`` > 1 (for shape <= 1 the parent's E[1/tau] is infinite)."""

    mean: float = 1.0
    shape: float = 3.0
    low: float = 0.1
    high: float = 10.0
    name: ClassVar[str] = "gamma"
    about: ClassVar[str] = "gamma with shape = 3, mean = 1 s, truncated to [0.1, 10] s"

    def __post_init__(self):
        if _is_positive(self.shape) and self.shape <= 1:
            raise ValueError(f"gamma: shape must be > 1, got {self.shape:g}")
        super().__post_init__()

    def _scale(self, median):
        from scipy.special import gammaincinv

        return median / gammaincinv(self.shape, 0.5)

    def _cdf(self, tau, median):
        from scipy.special import gammainc

        return gammainc(self.shape, tau / self._scale(median))

    def _inverse(self, p, median):
        from scipy.special import gammaincinv

        return self._scale(median) * gammaincinv(self.shape, p)

    def _partial_moment(self, k, median):
        from scipy.special import gammainc, poch

        theta = self._scale(median)
        mass = gammainc(self.shape + k, self.high / theta) - gammainc(
            self.shape + k, self.low / theta
        )
        return theta**k * poch(self.shape, k) * mass  # poch(a, k) = Gamma(a + k) / Gamma(a)


@dataclass(frozen=True)
class Fixed(TauDistribution):
    """Given values (s): unit i gets the i-th one. ``source`` is where they came from."""

    values: tuple[float, ...]
    source: str = ""
    name: ClassVar[str] = "values"
    about: ClassVar[str] = "values:0.5,1.5,... or file:PATH (.npy or text), one tau per unit"

    def __post_init__(self):
        where = f"tau from {self.source}" if self.source else "tau"
        try:
            values = np.asarray(self.values, dtype=float)
        except (TypeError, ValueError):
            raise ValueError(f"{where} must be numbers, got {self.values!r}") from None
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"{where} must have the shape (n_units,), got {values.shape}")
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if bad.size:
            raise ValueError(
                f"{where} must be finite and > 0 s, got {values[bad[0]]:g} for unit {bad[0]}"
                + (f" and {bad.size - 1} more" if bad.size > 1 else "")
            )
        object.__setattr__(self, "values", tuple(values.tolist()))

    def ppf(self, q):
        index = np.floor(np.asarray(q, dtype=float) * len(self.values)).astype(int)
        return np.sort(self.values)[np.minimum(index, len(self.values) - 1)]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def cv(self) -> float:
        return float(np.std(self.values) / np.mean(self.values))

    @property
    def mean_rate(self) -> float:
        return float(np.mean(1 / np.asarray(self.values)))

    @property
    def support(self) -> tuple[float, float]:
        return min(self.values), max(self.values)

    def __str__(self) -> str:
        return self.source or "values:" + ",".join(_number(v) for v in self.values)


#: The distributions by the name that the command line and :func:`parse_tau` know.
DISTRIBUTIONS: dict[str, type[TauDistribution]] = {
    "vanilla": Constant,
    "normal": Normal,
    "uniform": Uniform,
    "bimodal": Bimodal,
    "lognormal": LogNormal,
    "gamma": Gamma,
    "constant": Constant,
    "values": Fixed,
    "file": Fixed,
}


def stratified_quantiles(n_units, rng):
    """One quantile per unit, one unit per stratum: q = (permutation(n) + uniform(n)) / n.

    Each q_i alone is uniform on [0, 1), yet together they cover it evenly, one in each interval
    [k/n, (k+1)/n): the histogram of tau of a network of 100 units looks like its distribution.

    Parameters
    ----------
    n_units : int
        Number of units, at least 1.
    rng : numpy.random.Generator
        Two arrays of ``n_units`` numbers are drawn from it.

    Returns
    -------
    (N,) float64 array
    """
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a numpy.random.Generator, got {type(rng).__name__}")
    try:
        n = operator.index(n_units)
    except TypeError:
        raise ValueError(f"n_units must be an integer >= 1, got {n_units!r}") from None
    if n < 1:
        raise ValueError(f"n_units must be an integer >= 1, got {n_units!r}")
    stratum = rng.permutation(n)
    q = (stratum + rng.random(n)) / n
    # stratum + u may round up to the next stratum, which would unbalance the halves of `bimodal`.
    return np.minimum(q, np.nextafter((stratum + 1) / n, 0.0))


def sample_tau(dist, n_units, rng):
    """Draw the time constants of a network's units.

    The quantiles (see :func:`stratified_quantiles`) depend on the rng alone, and each distribution
    maps them through its quantile function: tau_i = ppf(q_i). So with rngs in the same state, unit
    i has the same quantile in every distribution (comparisons are paired unit by unit), and every
    distribution leaves the rng in the same state, ``vanilla`` and arrays included.

    Parameters
    ----------
    dist : str, TauDistribution or array_like of shape (N,)
        A specification as :func:`parse_tau` takes it. Given values are used in their order.
    n_units : int
        Number of units N.
    rng : numpy.random.Generator

    Returns
    -------
    tau : (N,) float64 array, in s, all > 0

    Raises
    ------
    ValueError
        For an unknown distribution, bad parameters, ``n_units`` < 1, values that are not finite
        and positive, or a number of values other than ``n_units``.

    Examples
    --------
    >>> tau = sample_tau("bimodal", 4, np.random.default_rng(0))
    >>> sorted(tau.tolist())
    [0.5, 0.5, 1.5, 1.5]
    """
    dist = parse_tau(dist)
    q = stratified_quantiles(n_units, rng)
    if not isinstance(dist, Fixed):
        return dist.ppf(q)
    if len(dist.values) != q.size:
        where = f" from {dist.source}" if dist.source else ""
        raise ValueError(
            f"tau{where} has {len(dist.values)} values, but the network has {q.size} units"
        )
    return np.array(dist.values)


def parse_tau(spec):
    """The distribution of tau that a text, an object or an array stands for.

    Parameters
    ----------
    spec : str, TauDistribution or array_like
        ``"normal"``, ``"normal:mean=1,sd=0.3"``, ``"constant:0.61"``, ``"values:0.5,1.5"``,
        ``"file:PATH"``, an object that already is a distribution, or one tau (s) per unit.

    Returns
    -------
    TauDistribution
        ``str()`` of it is the shortest text that gives an equal object again (parameters that
        have their default are left out: ``str(parse_tau("normal:mean=1"))`` is ``"normal"``).

    Raises
    ------
    ValueError
        Naming what was given, what is allowed and the nearest valid name.
    """
    if isinstance(spec, TauDistribution):
        return spec
    if not isinstance(spec, str):
        return Fixed(spec)
    name, colon, rest = spec.strip().partition(":")
    name = name.strip().lower()
    if name not in DISTRIBUTIONS:
        raise ValueError(
            f"unknown distribution of tau {spec!r}{_nearest(name, DISTRIBUTIONS)}; "
            f"allowed: {', '.join(DISTRIBUTIONS)}"
        )
    if colon and not rest.strip():
        raise ValueError(f"{spec!r}: nothing follows the colon")
    if name == "vanilla":
        if rest:
            raise ValueError(f"{spec!r}: vanilla has no parameters; for another tau: constant:0.61")
        return Constant()
    if name == "file":
        return _from_file(rest.strip(), spec)
    if name == "values":
        return Fixed(tuple(_to_float(text, spec) for text in rest.split(",")))
    if name == "constant" and "=" not in rest:
        return Constant(_to_float(rest, spec))
    return DISTRIBUTIONS[name](**_parameters(name, rest, spec))


def describe(dist):
    """Mean (s), CV, E[1/tau] (1/s) and range (s) of a distribution, as a :class:`Summary`.

    These are exact properties of the distribution, not of a sample of it.
    """
    dist = parse_tau(dist)
    return Summary(str(dist), float(dist.mean), dist.cv, dist.mean_rate, *dist.support)


def _parameters(name, rest, spec):
    known = [f.name for f in fields(DISTRIBUTIONS[name])]
    options = {}
    for item in rest.split(",") if rest else []:
        key, equals, text = (part.strip() for part in item.partition("="))
        if not equals:
            raise ValueError(f"{spec!r}: expected parameter=number after {name}, got {item!r}")
        if key not in known:
            raise ValueError(
                f"{spec!r}: {name} has no parameter {key!r}{_nearest(key, known)}; "
                f"allowed: {', '.join(known)}"
            )
        if key in options:
            raise ValueError(f"{spec!r}: {key} is given twice")
        options[key] = _to_float(text, spec)
    return options


def _from_file(path, spec):
    if not path:
        raise ValueError(f"{spec!r}: file needs a path, as in file:taus.npy")
    try:
        if Path(path).suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            values = np.loadtxt(path, ndmin=1)
    except (OSError, ValueError) as error:
        raise ValueError(f"{spec!r}: cannot read time constants from it: {error}") from error
    return Fixed(values, source=f"file:{path}")


def _to_float(text, spec):
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{spec!r}: {text.strip()!r} is not a number") from None


def _nearest(name, allowed):
    close = difflib.get_close_matches(name, allowed, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _is_positive(value) -> bool:
    try:
        return math.isfinite(value) and value > 0
    except TypeError:
        return False


def _normal_density(z):
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _number(value: float) -> str:
    """The shortest text that reads back as exactly this number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
