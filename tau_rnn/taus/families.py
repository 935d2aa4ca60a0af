"""Distributions of tau that need no special function: constant, uniform, bimodal, given values."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np


class TauDistribution(ABC):
    """What all distributions of tau have in common: the text form and the checks.

    A distribution is a frozen dataclass of its parameters, numbers > 0 with defaults. One of your
    own needs ``name``, `ppf`, ``mean``, `cv`, `mean_rate` and `support` (or fields low and high).

    ``mean`` is E[tau] in s: a field of the families that are placed by it, a property of others.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    mean: Any

    @abstractmethod
    def ppf(self, q):
        """Quantile function: tau (s) below which a fraction ``q`` in [0, 1) of the units lies."""

    @property
    @abstractmethod
    def cv(self) -> float:
        """Coefficient of variation, sd[tau] / E[tau]."""

    @property
    @abstractmethod
    def mean_rate(self) -> float:
        """E[1/tau] in 1/s."""

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


@dataclass(frozen=True)
class Fixed(TauDistribution):
    """Given values (s): unit i gets the i-th one. ``source`` is where they came from."""

    values: tuple[float, ...]
    source: str = ""
    name: ClassVar[str] = "values"
    about: ClassVar[str] = "values:0.5,1.5,... or file:PATH (.npy or text), one tau per unit"

    def __post_init__(self):
        where = f"tau from {self.source}:" if self.source else "tau:"
        try:
            values = np.asarray(self.values)
        except ValueError:  # a ragged list
            values = np.asarray(None)
        if values.dtype.kind not in "iuf":
            raise ValueError(f"{where} must be real numbers, got {self.values!r}")
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"{where} must have the shape (n_units,), got {values.shape}")
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if bad.size:
            raise ValueError(
                f"{where} must be finite and > 0 s, got {values[bad[0]]:g} for unit {bad[0]}"
                + (f" and {bad.size - 1} more" if bad.size > 1 else "")
            )
        object.__setattr__(self, "values", tuple(values.astype(float).tolist()))

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


def _is_positive(value) -> bool:
    try:
        return math.isfinite(value) and value > 0
    except TypeError:
        return False


def _number(value: float) -> str:
    """The shortest text that reads back as exactly this number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
