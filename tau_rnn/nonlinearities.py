"""Rate functions phi, each with its derivative as a function of the rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tau_rnn.checks import nearest, shown

__all__ = ["NONLINEARITIES", "Nonlinearity", "nonlinearity"]

Array = np.ndarray


class Nonlinearity(NamedTuple):
    """A rate function ``r = phi(x)`` and its derivative *as a function of r*.

    Both take an array and, by keyword, an array ``out`` to write the result into, and keep the
    dtype (float32 or float64; complex as well where the complex step is to be used). Writing phi'
    in terms of r lets `backward` do without x. With ``derivative=None`` a network can be simulated,
    but it has no gradient.

    The contract is checked when a nonlinearity of your own is first used, see `nonlinearity`.

    Attributes
    ----------
    name : what messages call it
    function : phi, takes x
    derivative : phi', takes r; or None

    Examples
    --------
    >>> arctan = Nonlinearity(
    ...     "arctan",
    ...     lambda x, out=None: np.arctan(x, out=out),
    ...     lambda r, out=None: np.square(np.cos(r, out=out), out=out),  # 1 / (1 + x^2) = cos^2 r
    ... )
    >>> nonlinearity(arctan) is arctan
    True
    """

    name: str
    function: Callable[..., Array]
    derivative: Any  # as function, or None


def _tanh_slope(r, out=None):
    out = np.multiply(r, r, out=out)
    return np.subtract(1, out, out=out)


def _relu(x, out=None):
    x = np.asarray(x)
    if np.iscomplexobj(x):  # where the real part is 0, np.maximum goes by the imaginary one
        return np.multiply(x, np.real(x) > 0, out=out)
    return np.maximum(x, 0, out=out)


def _relu_slope(r, out=None):
    return np.greater(r.real, 0, out=np.empty_like(r) if out is None else out)


def _softplus(x, out=None):
    # log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): no overflow at either end.
    x = np.asarray(x)
    rest = np.log1p(np.exp(np.where(np.real(x) < 0, x, -x)))
    positive = np.where(np.real(x) < 0, 0, x) if np.iscomplexobj(x) else np.maximum(x, 0)
    return np.add(positive, rest, out=out)


def _softplus_slope(r, out=None):
    out = np.expm1(np.negative(r, out=out), out=out)  # phi' = 1 - e^-r
    return np.negative(out, out=out)


def _sigmoid(x, out=None):
    # 1 / (1 + e^-x) for x >= 0 and e^x / (1 + e^x) below: neither overflows, and small rates keep
    # their relative accuracy, which (1 + tanh(x / 2)) / 2 would lose.
    x = np.asarray(x)
    negative = np.real(x) < 0
    e = np.exp(np.where(negative, x, -x))
    return np.divide(np.where(negative, e, 1), 1 + e, out=out)


def _sigmoid_slope(r, out=None):
    return np.multiply(r, np.subtract(1, r, out=out), out=out)


def _linear(x, out=None):
    return np.positive(x, out=out)


def _linear_slope(r, out=None):
    out = np.empty_like(r) if out is None else out
    out[...] = 1
    return out


#: The nonlinearities by name. A new one is a new entry here.
NONLINEARITIES: dict[str, Nonlinearity] = {
    "tanh": Nonlinearity("tanh", np.tanh, _tanh_slope),
    "relu": Nonlinearity("relu", _relu, _relu_slope),
    "softplus": Nonlinearity("softplus", _softplus, _softplus_slope),
    "sigmoid": Nonlinearity("sigmoid", _sigmoid, _sigmoid_slope),
    "linear": Nonlinearity("linear", _linear, _linear_slope),
}


def nonlinearity(
    phi: str | Nonlinearity, n_units: int | None = None, dtype: DTypeLike = np.float64
) -> Nonlinearity:
    """Look up a nonlinearity by name; a `Nonlinearity` is returned unchanged.

    One of your own is checked when a network first uses it: whether both functions fill ``out``,
    keep shape and dtype and leave their argument alone, and whether the derivative is that of the
    function, by a central difference.

    Parameters
    ----------
    phi : a name, or a Nonlinearity
    n_units : the number of units that use it, since a function may have parameters of each, or
        None to look it up without a check
    dtype : the dtype that they use it in

    Returns
    -------
    Nonlinearity

    Raises
    ------
    ValueError
        If the name is unknown (the message gives the nearest valid one), phi is something else, or
        a `Nonlinearity` breaks its contract.

    Examples
    --------
    The derivative is a function of the rate:

    >>> tanh = nonlinearity("tanh")
    >>> rate = tanh.function(np.array([0.0, 2.0]))
    >>> tanh.derivative(rate).round(3)
    array([1.   , 0.071])
    """
    if isinstance(phi, Nonlinearity):
        if n_units is not None and phi != NONLINEARITIES.get(phi.name):
            _check_contract(phi, n_units, np.dtype(dtype))
        return phi
    if isinstance(phi, str) and phi in NONLINEARITIES:
        return NONLINEARITIES[phi]
    near = nearest(getattr(phi, "__name__", phi), NONLINEARITIES)
    raise ValueError(
        f"phi: unknown nonlinearity {shown(phi)}; {near}, or a "
        "Nonlinearity(name, function, derivative) of your own"
    )


def differentiable(
    phi: str | Nonlinearity, n_units: int | None = None, dtype: DTypeLike = np.float64
) -> Nonlinearity:
    """`nonlinearity`, with a ValueError if it has no derivative."""
    found = nonlinearity(phi, n_units, dtype)
    if found.derivative is None:
        raise ValueError(
            f"phi: {found.name!r} has no derivative, which a gradient needs; give one, "
            "Nonlinearity(name, function, derivative)"
        )
    return found


# States at which a contract is checked; round numbers, where kinks lie, are left out.
_STATES = np.array([-2.73, -6.31, -0.97, -0.57, -0.23, 0.19, 0.47, 0.83, 1.37, 2.11, 6.73])
# What has been checked, by the identity of the functions, which are kept so that it stays theirs.
_CHECKED: dict[tuple, Nonlinearity] = {}


def _check_contract(phi: Nonlinearity, n_units: int, dtype) -> None:
    key = id(phi.function), id(phi.derivative), n_units, dtype
    if key in _CHECKED:
        return
    x = np.repeat(_STATES[:, np.newaxis], n_units, axis=1)
    try:
        r = _fill(phi.name, "function", phi.function, x.astype(dtype))
        if phi.derivative is not None:  # complex states of a complex step are only simulated
            _fill(phi.name, "derivative", phi.derivative, np.real(r).copy())
            _check_derivative(phi, x)
    except (TypeError, IndexError) as error:
        raise ValueError(f"phi: {phi.name!r} cannot be computed: {error}") from error
    _CHECKED[key] = phi


def _fill(name: str, what: str, function, values: Array) -> Array:
    """function(values, out=...), after a check that it is what the contract says."""
    subject = f"phi: the {what} of {name!r} must"
    if not callable(function):
        raise ValueError(f"{subject} be a function, got {shown(function)}")
    kept, out = values.copy(), np.full_like(values, np.nan)
    with np.errstate(all="ignore"):
        plain = np.asarray(function(values))
        if plain.shape != values.shape or plain.dtype != values.dtype:
            raise ValueError(
                f"{subject} keep shape and dtype, {values.shape} and {values.dtype}, got "
                f"{plain.shape} and {plain.dtype}"
            )
        try:
            function(values, out=out)
        except TypeError as error:
            raise ValueError(f"{subject} take out=: {error}") from None
    if not np.array_equal(values, kept, equal_nan=True):
        raise ValueError(f"{subject} leave its argument unchanged")
    if not np.array_equal(plain, out, equal_nan=True):
        raise ValueError(
            f"{subject} write its result into out, as in lambda x, out=None: np.sin(x, out=out)"
        )
    return out


def _check_derivative(phi: Nonlinearity, x: Array) -> None:
    h, derivative = 1e-5, phi.derivative
    with np.errstate(all="ignore"):
        r = phi.function(x)
        exact = (phi.function(x + h) - phi.function(x - h)) / (2 * h)
        of_r, of_x = derivative(r), derivative(x)  # the second is the classical mistake
    # The difference is right to rounding, 1e-16 / h, and to h^2: 1e-10 for functions of order 1.
    wrong, x_is_wrong = (
        np.isfinite(exact) & ~(np.abs(slope - exact) <= 1e-5 * (1 + np.abs(exact)))
        for slope in (of_r, of_x)
    )
    if wrong.any():
        k = tuple(np.argwhere(wrong)[0])
        hint = "" if x_is_wrong.any() else "; yours is right as one of x"
        raise ValueError(
            f"phi: the derivative of {phi.name!r} must be that of its function, as a function of "
            f"the rate (1 - r**2 for tanh){hint}: at x = {x[k]:g}, r = {r[k]:.4g} it must be "
            f"{exact[k]:.4g}, got {of_r[k]:.4g}"
        )
