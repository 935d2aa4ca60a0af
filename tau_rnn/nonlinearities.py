"""Rate functions phi, each with its derivative as a function of the rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tau_rnn.checks import nearest

Array = np.ndarray


class Nonlinearity(NamedTuple):
    """A rate function ``r = phi(x)`` and its derivative *as a function of r*.

    Both write their result into an ``out`` array where one is given, and both accept complex
    arguments, which is what the complex step needs. Writing phi' in terms of r is what lets
    `backward` do without x.
    """

    name: str
    function: Callable[..., Array]
    derivative: Callable[..., Array]


def _tanh(x, out=None):
    x = np.asarray(x)
    if x.dtype != np.float64:
        return np.tanh(x, out=out)
    # tanh |x| = (1 - t) / (1 + t) with t = e^(-2|x|) takes half the time of np.tanh in double
    # precision, but cancels towards 0; there np.tanh fills in, so that the relative error stays
    # below 2e-13 everywhere. In single precision nothing would be gained, and in complex numbers
    # the complex step needs np.tanh.
    t = np.abs(x, out=np.empty_like(x))
    small = t < 2**-10
    t *= -2
    np.exp(t, out=t)
    r = np.subtract(1, t, out=np.empty_like(x))
    t += 1
    r /= t
    r[small] = np.tanh(x[small])
    return np.copysign(r, x, out=out)


def _tanh_slope(r, out=None):
    out = np.multiply(r, r, out=out)
    return np.subtract(1, out, out=out)


def _relu(x, out=None):
    x = np.asarray(x)
    if np.iscomplexobj(x):  # where the real part is 0, np.maximum goes by the imaginary one
        return np.multiply(x, x.real > 0, out=out)
    return np.maximum(x, 0, out=out)


def _relu_slope(r, out=None):
    return np.greater(r.real, 0, out=np.empty_like(r) if out is None else out)


def _softplus(x, out=None):
    # log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): no overflow at either end.
    x = np.asarray(x)
    rest = np.log1p(np.exp(np.where(x.real < 0, x, -x)))
    positive = np.where(x.real < 0, 0, x) if np.iscomplexobj(x) else np.maximum(x, 0)
    return np.add(positive, rest, out=out)


def _softplus_slope(r, out=None):
    out = np.expm1(np.negative(r, out=out), out=out)  # phi' = 1 - e^-r
    return np.negative(out, out=out)


def _sigmoid(x, out=None):
    # 1 / (1 + e^-x) = (1 + tanh(x / 2)) / 2, which cannot overflow.
    out = np.tanh(np.multiply(x, 0.5, out=out), out=out)
    return np.multiply(np.add(out, 1, out=out), 0.5, out=out)


def _sigmoid_slope(r, out=None):
    return np.multiply(r, np.subtract(1, r, out=out), out=out)


def _linear(x, out=None):
    return np.positive(x, out=out)


def _linear_slope(r, out=None):
    out = np.empty_like(r) if out is None else out
    out[...] = 1
    return out


NONLINEARITIES: dict[str, Nonlinearity] = {
    "tanh": Nonlinearity("tanh", _tanh, _tanh_slope),
    "relu": Nonlinearity("relu", _relu, _relu_slope),
    "softplus": Nonlinearity("softplus", _softplus, _softplus_slope),
    "sigmoid": Nonlinearity("sigmoid", _sigmoid, _sigmoid_slope),
    "linear": Nonlinearity("linear", _linear, _linear_slope),
}


def nonlinearity(phi: str | Nonlinearity) -> Nonlinearity:
    """Look up a nonlinearity by name; a `Nonlinearity` is returned as it is.

    Raises
    ------
    ValueError
        If the name is unknown; the message gives the nearest valid one. If a function of a
        `Nonlinearity` does not fill the ``out`` that it is given.
    """
    if isinstance(phi, Nonlinearity):
        if phi != NONLINEARITIES.get(phi.name):
            _check_fills_out(phi)
        return phi
    if isinstance(phi, str) and phi in NONLINEARITIES:
        return NONLINEARITIES[phi]
    raise ValueError(f"phi: unknown nonlinearity {phi!r}; {nearest(phi, NONLINEARITIES)}")


def _check_fills_out(phi: Nonlinearity) -> None:
    # A function that ignored out would leave what happens to be in memory, without an error.
    value = np.full(1, 0.5)
    for what, function in (("function", phi.function), ("derivative", phi.derivative)):
        if function is None:  # a phi without a derivative can be simulated
            continue
        out = np.full(1, np.nan)
        try:
            function(value, out=out)
        except TypeError as error:
            raise ValueError(f"phi: the {what} of {phi.name!r} must take out=: {error}") from None
        except (ValueError, IndexError):  # it has parameters of each unit, and needs them all
            continue
        if np.isnan(out).any():
            raise ValueError(
                f"phi: the {what} of {phi.name!r} must write its result into out, as in "
                "lambda x, out=None: np.sin(x, out=out)"
            )
        value = out
