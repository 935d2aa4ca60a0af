"""Checks of arguments that several measures share."""

from __future__ import annotations

import numpy as np

from tau_rnn.checks import check_finite, check_number
from tau_rnn.model import Params, check_params

Array = np.ndarray


def real_array(name: str, values, *, ndim: int | None = None) -> Array:
    """values as a float64 array, or a ValueError if it is complex, empty or not finite."""
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name}: must be an array of real numbers, got dtype {values.dtype}")
    if ndim is not None and values.ndim != ndim:
        raise ValueError(f"{name}: must have {ndim} axes, got shape {values.shape}")
    if values.ndim == 0 or values.size == 0:
        raise ValueError(f"{name}: must be an array with at least one value, got {values.shape}")
    values = values.astype(np.float64)
    check_finite(name, values)
    return values


def real_pair(name0: str, a0, name1: str, a1, *, ndim: int | None = None) -> tuple[Array, Array]:
    """Two real arrays of one shape: what was before training and what is after it."""
    a0, a1 = real_array(name0, a0, ndim=ndim), real_array(name1, a1, ndim=ndim)
    if a0.shape != a1.shape:
        raise ValueError(f"{name1}: must have the shape of {name0}, {a0.shape}, got {a1.shape}")
    return a0, a1


def real_params(name: str, params) -> Params:
    """params in float64, or a ValueError: the measures take no derivative by complex step."""
    params = check_params(params)
    for field, value in zip(Params._fields, params):
        if np.iscomplexobj(value):
            raise ValueError(f"{name}.{field}: must be real, got dtype {value.dtype}")
    return Params(*(p.astype(np.float64) for p in params))


def real_params_pair(name0: str, params0, name1: str, params1) -> tuple[Params, Params]:
    """Two networks of the same sizes."""
    params0, params1 = real_params(name0, params0), real_params(name1, params1)
    for field, value0, value1 in zip(Params._fields, params0, params1):
        if value0.shape != value1.shape:
            raise ValueError(
                f"{name1}.{field}: must have the shape of {name0}.{field}, {value0.shape}, "
                f"got {value1.shape}"
            )
    return params0, params1


def fraction_of(name: str, value) -> float:
    """A number in (0, 1]."""
    value = check_number(name, value)
    if not 0 < value <= 1:
        raise ValueError(f"{name}: must be > 0 and <= 1, got {value:g}")
    return value


def ratio(a, b) -> Array:
    """a / b with nan, and no warning, where b is 0."""
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0)


def fast_to_slow(tau: Array, rng: np.random.Generator) -> Array:
    """The units from fast to slow, (N,) indices; units of equal tau come in a random order."""
    return np.lexsort((rng.random(len(tau)), tau))
