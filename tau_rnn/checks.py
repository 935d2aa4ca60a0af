"""Checks of arguments, and the words of their error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np


def nearest(given: object, allowed: Iterable[str]) -> str:
    """Say which names are allowed, and which of them is nearest to the one given.

    >>> nearest("tahn", ["tanh", "relu"])
    "did you mean 'tanh'? Allowed: tanh, relu"
    """
    names = list(allowed)
    plain, text = {name.casefold(): name for name in names}, str(given).casefold()
    close = difflib.get_close_matches(text, plain, n=1, cutoff=0.5)
    close = close or [name for name in plain if text and name.startswith(text)]
    hint = f"did you mean {plain[close[0]]!r}? " if close else ""
    return f"{hint}Allowed: {', '.join(names)}"


def check_dt(dt) -> float:
    """The time step as a Python float, or a ValueError if it is not a positive finite number."""
    try:
        value = float(dt)
    except (TypeError, ValueError):
        value = np.nan
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"dt: the time step must be a positive finite number of seconds, got {dt}")
    return value


def check_whole(name: str, value, least: int) -> int:
    """The value as an int, or a ValueError if it is not a whole number that is large enough."""
    try:
        good = not isinstance(value, bool) and int(value) == value and value >= least
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise ValueError(f"{name}: must be a whole number >= {least}, got {value!r}")
    return int(value)


def check_number(name: str, value) -> float:
    """The value as a float, or a ValueError if it is not a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: must be a number, got {value!r}") from None


def check_generator(rng) -> np.random.Generator:
    """The generator, or a ValueError if it is none."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng: must be a numpy.random.Generator, got {type(rng).__name__}")
    return rng


def check_dtype(dtype, *, may_be_complex: bool = False) -> None:
    """Raise a ValueError unless dtype is a floating one (or a complex one, where that may be)."""
    try:
        good = np.issubdtype(np.dtype(dtype), np.inexact if may_be_complex else np.floating)
    except TypeError:
        good = False
    if not good:
        kinds = "floating or complex" if may_be_complex else "floating"
        raise ValueError(f"dtype: must be a {kinds} dtype, got {dtype!r}")


def check_finite(name: str, values: np.ndarray) -> None:
    """Raise a ValueError that names the argument if a value is no number, inf or nan."""
    if values.dtype.kind not in "biufc":
        raise ValueError(f"{name}: must hold numbers, got an array of dtype {values.dtype}")
    # The sum of squares is one fast pass; only if it is not finite is it worth looking closely.
    if not np.isfinite(np.vdot(values, values)) and not np.isfinite(values).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(
            f"{name}: every value must be finite, got {values[where]} at index {where}"
        )
