"""The one entrance for arguments: numbers with bounds, arrays with shapes, names, generators.

Every check returns the value in the type that the code goes on with, or raises a ValueError that
reads "name: must be ..., got ...". A configuration is a dataclass whose fields are declared by
`setting`, each with its check.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

__all__: list[str] = []

_Class = TypeVar("_Class", bound=type)

LARGEST = 1e100  # of a number in an array: products of a few larger ones would overflow
MOST_NUMBERS = 10**11  # of an array (800 GB): a size beyond it is a typing mistake


def nearest(given: object, allowed: Iterable[object]) -> str:
    """Say which names are allowed, and which of them is nearest to the one given.

    >>> nearest("tahn", ["tanh", "relu"])
    "did you mean 'tanh'? Allowed: tanh, relu"
    """
    names = list(map(str, allowed))
    plain, text = {name.casefold(): name for name in names}, str(given).casefold()
    close = difflib.get_close_matches(text, plain, n=1, cutoff=0.5)
    close = close or [name for name in plain if text and name.startswith(text)]
    hint = f"did you mean {plain[close[0]]!r}? " if close else ""
    return f"{hint}Allowed: {', '.join(names)}"


def check_number(name: str, value, *, above=None, least=None, below=None, most=None) -> float:
    """The value as a finite Python float within its bounds.

    Parameters
    ----------
    name : of the argument
    value : a real number or its text; NumPy scalars and 0-d arrays are accepted, bools are not
    above, least : the value must be > above, >= least
    below, most : the value must be < below, <= most

    Raises
    ------
    ValueError
        If it is not a real number, not finite, or out of bounds.

    Examples
    --------
    >>> check_number("momentum", 1, least=0, below=1)
    Traceback (most recent call last):
    ...
    ValueError: momentum: must be a finite number >= 0 and < 1, got 1
    """
    number = _real(value)
    low = number > above if above is not None else least is None or number >= least
    high = number < below if below is not None else most is None or number <= most
    if not (math.isfinite(number) and low and high):
        limits = ((">", above), (">=", least), ("<", below), ("<=", most))
        bounds = " and ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)
        what = f"a finite number {bounds}".rstrip()
        raise ValueError(f"{name}: must be {what}, got {shown(value)}")
    return number


def _real(value, may_be_text: bool = True) -> float:
    """The value as a float, nan if it is not a real number."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, (numbers.Real, str)) or isinstance(value, (bool, np.bool_)):
        return math.nan
    if isinstance(value, str) and not may_be_text:
        return math.nan
    try:
        return float(value)
    except ValueError:  # a text that is not a number
        return math.nan
    except OverflowError:  # 10**400
        return math.inf


def check_integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The value as an int within its bounds; 3.0 is an integer, True is not.

    Raises
    ------
    ValueError
        If it is not an integer, or out of bounds.

    Examples
    --------
    >>> check_integer("batch", 2.5, 1)
    Traceback (most recent call last):
    ...
    ValueError: batch: must be an integer >= 1, got 2.5
    """
    number = _real(value, may_be_text=False)
    if most is None and number > sys.maxsize:  # which no array could have
        most = sys.maxsize
    if not (number.is_integer() and value >= least and (most is None or value <= most)):
        upper = "" if most is None else f" and <= {most}"
        raise ValueError(f"{name}: must be an integer >= {least}{upper}, got {shown(value)}")
    return int(value)


def check_dt(dt) -> float:
    """The time step as a Python float; a ValueError unless it is a positive finite number."""
    return check_number("dt", dt, above=0)


def check_fits(**lengths: int) -> None:
    """Raise a ValueError that names the longest axis if no array could have these lengths."""
    if math.prod(lengths.values()) > MOST_NUMBERS:
        name = max(lengths, key=lengths.__getitem__)
        given = " x ".join(map(str, lengths.values()))
        raise ValueError(f"{name}: not enough memory for {given} numbers")


def check_choice(name: str, value, allowed: Iterable[Any]) -> Any:
    """The value if it is one of the names (or None) allowed, else an error with the nearest.

    >>> check_choice("method", "euler", ("euler", "exponential"))
    'euler'
    """
    names = list(allowed)
    if not (isinstance(value, (str, type(None))) and value in names):
        raise ValueError(f"{name}: unknown {shown(value)}; {nearest(value, names)}")
    return value


def check_generator(rng) -> np.random.Generator:
    """The generator; a ValueError if it is not a numpy.random.Generator."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng: must be a numpy.random.Generator, got {type(rng).__name__}")
    return rng


def generator_of(rng, name: str = "rng") -> np.random.Generator:
    """The generator, or a new one of a seed; a ValueError if it is neither."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}: must be a numpy.random.Generator or a seed >= 0, got {shown(rng)}"
        ) from None


def check_dtype(dtype, *, may_be_complex: bool = False, name: str = "dtype") -> np.dtype:
    """The dtype; a ValueError unless it is float32 or float64 (or complex, where that may be)."""
    try:
        given = np.dtype(dtype)
    except TypeError:
        given = None
    if given is None or not np.issubdtype(given, np.inexact if may_be_complex else np.floating):
        kinds = "floating or complex" if may_be_complex else "floating"
        raise ValueError(f"{name}: must be a {kinds} dtype, got {shown(dtype)}")
    return given


def check_callable(name: str, function) -> Callable:
    """The function; a ValueError if it can't be called."""
    if not callable(function):
        raise ValueError(f"{name}: must be a function, got {shown(function)}")
    return function


def check_path(name: str, path) -> Path:
    """The path of a file or folder, which need not be there."""
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise ValueError(f"{name}: must be a path, got {shown(path)}")
    return Path(path)


class Checkpoints(np.ndarray):
    """States or rates at every k-th time step: `check_array` refuses to take them for all steps."""


def check_array(
    name: str,
    values,
    shape: tuple[int | str, ...] | None = None,
    *,
    may_be_complex: bool = False,
    finite: bool = True,
    largest: float = LARGEST,
) -> np.ndarray:
    """The values as an array of numbers of the right shape; it is not copied if it is one.

    Parameters
    ----------
    name : of the argument
    values : array or nested sequences of numbers
    shape : lengths of the axes; a name stands for any length >= 1, ``("T", "B", 3)``. None: any
    may_be_complex : whether complex numbers are taken (for the complex step)
    finite : whether nan and inf are refused
    largest : absolute value beyond which finite values are refused with them

    Raises
    ------
    ValueError
        If the values are ragged, not numbers, masked, checkpoints, complex, not finite, or the
        shape is wrong.

    Examples
    --------
    >>> check_array("u", np.zeros((5, 2)), ("T", "B", 3))
    Traceback (most recent call last):
    ...
    ValueError: u: must have shape (T, B, 3), got (5, 2)
    """
    if np.ma.isMaskedArray(values):
        raise ValueError(
            f"{name}: must not be a masked array, whose mask would be lost; fill it first "
            "(values.filled(...))"
        )
    if isinstance(values, Checkpoints):
        raise ValueError(
            f"{name}: must hold every time step, got those of checkpoints alone; call forward "
            "without checkpoint_every"
        )
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{name}: must be an array of numbers, got a ragged {type(values).__name__}"
        ) from None
    if array.dtype.kind not in ("biufc" if may_be_complex else "biuf"):
        kind = "numbers" if may_be_complex or array.dtype.kind != "c" else "real numbers"
        got = f"an array of dtype {array.dtype}" if array.ndim else shown(values)
        raise ValueError(f"{name}: must hold {kind}, got {got}")
    if shape is not None:
        fits = array.ndim == len(shape) and all(
            n >= 1 if isinstance(axis, str) else n == axis for n, axis in zip(array.shape, shape)
        )
        if not fits:
            axes = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
            raise ValueError(f"{name}: must have shape ({axes}), got {array.shape}")
    if finite:
        check_finite(name, array, largest)
    return array


def check_shapes(prefix: str, given, like_prefix: str, like) -> None:
    """Raise a ValueError that names the first field of given without the shape of that of like."""
    for field, array, other in zip(like._fields, given, like):
        if array.shape != other.shape:
            shape = f"the shape of {like_prefix}{field}, {other.shape}"
            raise ValueError(f"{prefix}{field}: must have {shape}, got {array.shape}")


def check_buffer(name: str, given, shape, dtype) -> np.ndarray:
    """The array to write into: the one given, if it fits and is contiguous, or a new one."""
    if given is None:
        return np.empty(shape, dtype)
    if not isinstance(given, np.ndarray):
        raise ValueError(f"{name} must be an array, got {shown(given)}")
    if given.shape != shape or given.dtype != dtype or not given.flags.c_contiguous:
        raise ValueError(
            f"{name} must be a contiguous {np.dtype(dtype)} array of shape {shape}, "
            f"got {given.dtype} of shape {given.shape}"
        )
    return given


def check_buffers(out, dtype, **shapes) -> list[np.ndarray]:
    """The arrays of a Trajectory to write into, by name, or new ones; see `check_buffer`."""
    return [check_buffer(f"out: {k}", getattr(out, k, out), shapes[k], dtype) for k in shapes]


def check_finite(name: str, values: np.ndarray, largest: float = LARGEST) -> None:
    """Raise a ValueError that names the argument and the first inf, nan or value > largest."""
    # The sum of squares is one fast pass; only if it is not finite is it worth looking closely.
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.vdot(values, values)
    if not np.isfinite(total):
        _refuse_any(name, values, ~np.isfinite(values), "finite")
        check_size(name, values, largest)


def check_size(name: str, values: np.ndarray, largest: float = LARGEST) -> None:
    """Raise a ValueError if a value is beyond the largest; nan and inf pass."""
    size = np.abs(values).astype(float)
    _refuse_any(name, values, np.isfinite(size) & (size > largest), f"within {largest:g}")


def _refuse_any(name: str, values: np.ndarray, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"{name}: every value must be {what}, got {values[where]} at index {where}"
        )


def shown(value: Any, longest: int = 60) -> str:
    """A value as an error message shows it: its repr in one line, cut where it is long.

    >>> shown("a" * 100, 10)
    "'aaaaaa..."
    """
    if isinstance(value, int) and abs(value) >= 10**longest:  # Python refuses to print the longest
        return "an integer of over 60 digits"
    if isinstance(value, np.ndarray) and value.size > 4:
        return f"an array of shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


# --- configurations ------------------------------------------------------------------------------


def setting(
    default,
    text: str,
    check: Callable[[str, Any], Any] | None = None,
    *,
    allowed: Iterable[str] = (),
    unit: str = "",
    several: bool = False,
    later: bool = False,
) -> Any:
    """A field of a configuration, declared once: its check, docs and option are made from it.

    Parameters
    ----------
    default : its default
    text : what it is, for `documented` and ``--help``
    check : called with the name and a value, returns the value or raises a ValueError; None: the
        value must be one of ``allowed``
    allowed : names that may be given
    unit : of a number
    several : whether the command line takes several values and runs each
    later : whether it was added when runs had been stored: it enters a run's stored settings and
        key only where it differs from its default, so that theirs stay what they were
    """
    allowed = tuple(allowed)
    about = {"text": text, "allowed": allowed, "unit": unit, "several": several, "later": later}
    about["check"] = check or functools.partial(check_choice, allowed=allowed)
    return dataclasses.field(default=default, metadata=about)


def check_names(config: type, names: Iterable[str]) -> None:
    """Raise a ValueError that says which field is nearest if one of the names is not a field."""
    known = [field.name for field in dataclasses.fields(config)]
    for name in names:
        if name not in known:
            raise ValueError(f"{config.__name__}: unknown field {name!r}; {nearest(name, known)}")


def check_settings(config) -> None:
    """Replace every field of a configuration by what its check returns."""
    for field in dataclasses.fields(config):
        value = field.metadata["check"](field.name, getattr(config, field.name))
        object.__setattr__(config, field.name, value)


def documented(config: _Class) -> _Class:
    """The configuration with an Attributes section in its docstring; it refuses unknown fields."""
    about, title, examples = inspect.cleandoc(config.__doc__ or "").partition("Examples\n")
    lines = [about.rstrip(), "", "Attributes", "----------"]
    for field in dataclasses.fields(config):
        lines += [f"{field.name} : {type_name(field)}", f"    {explained(field)}"]
    config.__doc__ = "\n".join([*lines, "", title + examples]).rstrip() + "\n"
    made = config.__init__  # type: ignore[misc]

    @functools.wraps(made)
    def init(self, *args, **settings):
        check_names(config, settings)
        made(self, *args, **settings)

    config.__init__ = init  # type: ignore[misc]
    return config


def type_name(field: dataclasses.Field) -> str:
    """The type of a setting, as written."""
    return field.type if isinstance(field.type, str) else field.type.__name__


def explained(field: dataclasses.Field) -> str:
    """What a setting is, the names allowed, its unit and its default."""
    about, default = field.metadata, field.default
    allowed = f": {', '.join(about['allowed'])}" if about["allowed"] else ""
    unit = f"{about['unit']}, " if about["unit"] else ""
    default = ",".join(default) if isinstance(default, tuple) else default
    return f"{about['text']}{allowed} ({unit}default: {default})"
