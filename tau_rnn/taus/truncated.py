"""Distributions of tau that are truncated to an interval and placed by their mean."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from tau_rnn.taus.families import TauDistribution, _is_positive


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

    @abstractmethod
    def _cdf(self, tau, median):
        """F(tau) of the parent with this median."""

    @abstractmethod
    def _inverse(self, p, median):
        """Q(p) of the parent with this median."""

    @abstractmethod
    def _partial_moment(self, k: int, median: float) -> float:
        """M_k of the parent with this median."""

    def __post_init__(self):
        super().__post_init__()
        least, most = (
            self._partial_moment(1, m) / self._partial_moment(0, m) for m in self.support
        )
        if not least < self.mean < most:
            raise ValueError(
                f"{self.name}: mean must lie in ({least:.8g}, {most:.8g}) s for these parameters "
                f"and bounds [{self.low:g}, {self.high:g}] s, got {self.mean:g}"
            )

    def ppf(self, q):
        median = _parent_median(self)
        p_low, p_high = self._cdf(self.low, median), self._cdf(self.high, median)
        tau = self._inverse(p_low + np.asarray(q, dtype=float) * (p_high - p_low), median)
        # Within the bounds already, but for rounding where F is 0 or 1 to its last digit.
        return np.clip(tau, self.low, self.high)

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

    def excess(m):
        return dist._partial_moment(1, m) / dist._partial_moment(0, m) - dist.mean

    if excess(dist.mean) == 0:  # a symmetric parent with symmetric bounds
        return dist.mean
    from scipy.optimize import brentq

    return float(brentq(excess, dist.low, dist.high, xtol=1e-15, rtol=1e-15))


@dataclass(frozen=True)
class Normal(_Truncated):
    """Normal with standard deviation ``sd`` (s) before truncation.

    The same as scipy.stats.truncnorm (a test compares them), without the second that importing
    scipy.stats takes.

    E[1/tau] has no closed form: it is integrated numerically (relative error below 1e-10).
    """

    mean: float = 1.0
    sd: float = 0.2
    low: float = 0.1
    high: float = 1.9
    name: ClassVar[str] = "normal"
    about: ClassVar[str] = "normal with mean = 1 s, sd = 0.2 s, truncated to [0.1, 1.9] s"

    def __post_init__(self):
        # Wider, the moments below would be differences of nearly equal numbers.
        widest = 10 * (self.high - self.low) if _is_positive(self.high - self.low) else math.inf
        if _is_positive(self.sd) and self.sd > widest:
            raise ValueError(
                f"normal: sd must be at most {widest:g} s, 10 times the width of [low, high] "
                f"(beyond that: uniform), got {self.sd:g}"
            )
        if _is_positive(self.sd) and _is_positive(self.mean) and self.sd < 1e-6 * self.mean:
            raise ValueError(
                f"normal: sd must be at least a millionth of the mean, {1e-6 * self.mean:g} s "
                f"(below that: constant), got {self.sd:g}"
            )
        super().__post_init__()

    @property
    def cv(self) -> float:
        # Var = sd^2 Var[z | a <= z <= b]: nothing of the size of mean^2 is subtracted.
        a, b = ((bound - _parent_median(self)) / self.sd for bound in self.support)
        mass, first, second = self._moments_of_z(a, b)
        return self.sd * math.sqrt(second / mass - (first / mass) ** 2) / self.mean

    @staticmethod
    def _moments_of_z(a, b):
        """E[z^k; a <= z <= b] of a standard normal z for k = 0, 1, 2."""
        from scipy.special import ndtr

        mass = ndtr(b) - ndtr(a)
        first = _normal_density(a) - _normal_density(b)
        return mass, first, mass + a * _normal_density(a) - b * _normal_density(b)

    def _cdf(self, tau, median):
        from scipy.special import ndtr

        return ndtr((tau - median) / self.sd)

    def _inverse(self, p, median):
        from scipy.special import ndtri

        return median + self.sd * ndtri(p)

    def _partial_moment(self, k, median):
        if k == -1:
            from scipy.integrate import quad

            def density(s):  # of 1/tau, over s = log tau: smooth even where tau is near 0
                return _normal_density((math.exp(s) - median) / self.sd) / self.sd

            # Beyond 40 sd the density is below the smallest float64.
            bounds = max(self.low, median - 40 * self.sd), min(self.high, median + 40 * self.sd)
            s_low, s_high = map(math.log, bounds)
            peak = [math.log(median)] if s_low < math.log(median) < s_high else None
            return quad(density, s_low, s_high, points=peak, epsabs=0, epsrel=1e-11, limit=500)[0]
        mass, first, _ = self._moments_of_z(*((end - median) / self.sd for end in self.support))
        return mass if k == 0 else median * mass + self.sd * first


@dataclass(frozen=True)
class LogNormal(_Truncated):
    """log tau is normal; ``cv0``, at most 1e6, is the coefficient of variation before truncation.

    The bounds keep the fastest unit slower than two steps of 0.05 s and the slowest within reach
    of a trial of some seconds; with the defaults they cut off 2e-6 of the parent.
    """

    mean: float = 1.0
    cv0: float = 0.5
    low: float = 0.1
    high: float = 10.0
    name: ClassVar[str] = "lognormal"
    about: ClassVar[str] = "log-normal with mean = 1 s, cv0 = 0.5, truncated to [0.1, 10] s"

    def __post_init__(self):
        if _is_positive(self.cv0) and self.cv0 > 1e6:
            raise ValueError(f"lognormal: cv0 must be at most 1e6, got {self.cv0:g}")
        super().__post_init__()

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


def _normal_density(z):
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
