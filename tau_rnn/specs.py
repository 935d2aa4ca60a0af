"""Texts like ``normal:mean=1,sd=0.3``: a name and parameters, as they are typed and stored."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tau_rnn.checks import check_number, nearest

__all__: list[str] = []


def parameters_of(text: str, known: Iterable[str], spec: str) -> dict[str, str]:
    """The parameters of ``mean=1,sd=0.3`` by name, each value still a text.

    A comma without an equals sign after it belongs to the value. A ValueError shows the whole
    ``spec`` if a name is missing, not ``known``, or given twice.

    >>> parameters_of("delay_max=3,coherences=0.2,0.4", ["delay_max", "coherences"], "...")
    {'delay_max': '3', 'coherences': '0.2,0.4'}
    """
    known, key = list(known), ""
    given: dict[str, str] = {}
    for item in text.split(",") if text.strip() else []:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals and not key:
            raise ValueError(f"{spec!r}: expected parameter=value, got {item!r}")
        if not equals:
            given[key] += f",{item.strip()}"
            continue
        if name not in known:
            hint = nearest(name, known) if known else "it has none"
            raise ValueError(f"{spec!r}: no parameter {name!r}; {hint}")
        if name in given:
            raise ValueError(f"{spec!r}: {name} is given twice")
        key, given[name] = name, value
    return given


def spec_text(name: str, parameters: Mapping[str, object]) -> str:
    """The text of a name and its parameters.

    >>> spec_text("normal", {"sd": 0.3, "low": 0.2}), spec_text("uniform", {})
    ('normal:sd=0.3,low=0.2', 'uniform')
    """
    given = ",".join(f"{key}={value_text(value)}" for key, value in parameters.items())
    return f"{name}:{given}" if given else name


def value_text(value) -> str:
    """The shortest text that reads back as exactly this number, these numbers, or this word.

    >>> value_text(1.0), value_text(0.1 + 0.2), value_text((0.5, 2.0))
    ('1', '0.30000000000000004', '0.5,2')
    """
    if isinstance(value, (tuple, list)):
        return ",".join(map(value_text, value))
    if isinstance(value, (str, bool, int)) or value is None:
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def normal(mean: float, sd: float):
    """A normal distribution, as `tau_rnn.taus` takes one of scipy.stats, without its import.

    >>> round(float(normal(1.0, 0.2).cdf(1.2)), 3)
    0.841
    """
    from scipy.special import ndtr, ndtri

    return SimpleNamespace(
        support=lambda: (-math.inf, math.inf),
        median=lambda: mean,
        cdf=lambda x: ndtr((np.asarray(x) - mean) / sd),
        ppf=lambda q: ndtri(q) * sd + mean,
    )


def read_scipy(text: str, spec: str):
    """The frozen distribution of scipy.stats of ``gamma:a=3,scale=0.33``, and its bounds.

    ``spec`` is the whole text, for messages.

    >>> read_scipy("gamma:a=3,low=0.1", "...")[1]
    {'low': 0.1}
    """
    from scipy import stats

    name, _, rest = (part.strip() for part in text.partition(":"))
    generic: Any = getattr(stats, name, None)
    if not isinstance(generic, stats.rv_continuous):
        raise ValueError(f"{spec!r}: {name!r} is not a continuous distribution of scipy.stats")
    known = _parameter_names(generic)
    given = {
        key: check_number(f"{spec!r}: {key}", value)
        for key, value in parameters_of(rest, [*known, "low", "high"], spec).items()
    }
    bounds = {key: given.pop(key) for key in ("low", "high") if key in given}
    missing = [key for key in known[:-2] if key not in given]
    if missing:
        raise ValueError(f"{spec!r}: {name} also needs {', '.join(missing)}")
    return generic(**given), bounds


def read_values(path: str) -> np.ndarray:
    """One tau (s) per unit, from a .npy file or a text."""
    try:
        if Path(path).suffix == ".npy":
            return np.load(path, allow_pickle=False)
        text = Path(path).read_text(encoding="utf-8")
        return np.array([float(word) for word in text.replace(",", " ").split()])
    except UnicodeDecodeError:
        raise ValueError(f"tau: must be a .npy file or a text, got {path!r}") from None
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"tau: cannot read time constants from {path!r}: {error}") from error


@np.errstate(all="ignore")
def scipy_text(frozen, bounds: Mapping[str, float]) -> str | None:
    """What `read_scipy` reads after ``scipy:``, with it; None if it would give other quantiles.

    >>> from scipy import stats
    >>> scipy_text(stats.gamma(3, scale=0.5), {})
    'scipy:gamma:a=3,scale=0.5'
    """
    from scipy import stats

    name, names, q = frozen.dist.name, _parameter_names(frozen.dist), np.linspace(0.05, 0.95, 7)
    values = {**dict(zip(names, frozen.args)), **frozen.kwds}
    try:
        values = {key: float(values[key]) for key in names if key in values}
        same = np.array_equal(getattr(stats, name)(**values).ppf(q), frozen.ppf(q))
    except (AttributeError, TypeError, ValueError):  # not of scipy.stats, or an array of parameters
        return None
    return spec_text(f"scipy:{name}", {**values, **bounds}) if same else None


def _parameter_names(generic) -> list[str]:
    return [*re.findall(r"\w+", generic.shapes or ""), "loc", "scale"]
