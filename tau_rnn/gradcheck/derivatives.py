r"""Derivatives from the values of a function alone: complex steps and central differences.

For a loss L(p) and a direction v in parameter space, the derivative along v is (Eq. 4.1)::

    d/de L(p + e v) = sum_k g_k v_k,     g = dLoss/dp

and each side is computed without the other: the right side from a gradient under test, the left
side from the loss alone, by a complex step or by a central difference. Errors are measured in
units of ``sum |g_k v_k|`` (Eq. 4.2), not of the sum itself: the terms may cancel, and a sum near
zero would fake an error or hide one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import (
    check_array,
    check_callable,
    check_generator,
    check_number,
    check_shapes,
    shown,
)
from tau_rnn.model import Array, Params, check_params, fields_of

__all__ = [
    "central_difference",
    "complex_step",
    "numerical_gradient",
    "random_direction",
    "relative_error",
    "step_sweep",
]

# A derivative below this, relative to f, is rounding: that of a product with the conjugate, say.
_NOTHING = 1e-12


def complex_step(
    f: Callable[[Params], Any], params: Params, direction: Params, h: float = 1e-20
) -> float:
    r"""Derivative of f along a direction, without a difference and its cancellation (Eq. 4.5).

    .. math:: \frac{d}{d\varepsilon} f(p + \varepsilon v) = \frac{\mathrm{Im}\, f(p + i h v)}{h}
              + O(h^2)

    Since nothing is subtracted, h can be so small that the O(h^2) is below rounding error. The
    premise is that f is analytic at params: no abs, conjugate, norm or real part. Where the result
    has no imaginary part, f either does not depend on the direction or breaks the premise; two more
    values of f, a central difference, show which.

    Parameters
    ----------
    f : function of a Params that returns one number, analytic at params
    params : Params, real
    direction : Params, v
    h : size of the step

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If f does not return one number, or drops the imaginary part although it depends on the
        direction.

    References
    ----------
    .. [1] Squire & Trapp, SIAM Review 40, 110 (1998).

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> params = init_params(3, 1, 1, 1.0, np.random.default_rng(0))
    >>> v = params._replace(W=0 * params.W, W_in=0 * params.W_in, W_out=0 * params.W_out)
    >>> complex_step(lambda p: np.sum(p.tau**3), params, v)  # v moves only tau, by v.tau = 1
    9.0
    """
    params, direction = _checked(f, params, direction)
    h = check_number("h", h, above=0, most=1)
    value = _number(f(_shifted(params, direction, 1j * h)))
    if abs(value.imag) <= _NOTHING * h * abs(value.real):
        _check_that_it_is_flat(f, params, direction, value)
    return float(value.imag / h)


def central_difference(
    f: Callable[[Params], Any], params: Params, direction: Params, h: float = 1e-5
) -> float:
    r"""Derivative of f along a direction from two values of f (Eq. 4.3).

    .. math:: \frac{f(p + h v) - f(p - h v)}{2 h} = \frac{d}{d\varepsilon} f(p + \varepsilon v)
              + O(h^2) + O(\epsilon_{mach} / h)

    Parameters
    ----------
    f : function of a Params that returns one real number
    params, direction : Params, p and v
    h : size of the step; about eps^(1/3) = 6e-6 is best where f and its derivatives are of order 1

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If f does not return one real number.

    Examples
    --------
    Of f = sum(b^2) at b = 3, in the direction b = (1, 0):

    >>> params = Params(*(np.full(2, float(k)) for k in range(1, 8)))
    >>> direction = Params(*(np.zeros(2) for _ in params))._replace(b=np.array([1.0, 0.0]))
    >>> round(central_difference(lambda p: (p.b**2).sum(), params, direction), 6)
    6.0
    """
    params, direction = _checked(f, params, direction)
    h = check_number("h", h, above=0, most=1)
    above, below = (_number(f(_shifted(params, direction, e)), real=True) for e in (h, -h))
    return float((above - below) / (2 * h))


class StepSweep(NamedTuple):
    """Relative error of a derivative for every step h: a "U" for differences, flat for complex."""

    h: Array
    central: Array
    complex: Array


def step_sweep(
    f: Callable[[Params], Any], params: Params, direction: Params, steps: ArrayLike | None = None,
    exact: float | None = None,
) -> StepSweep:  # fmt: skip
    """Errors of `central_difference` and `complex_step` over a range of steps.

    A central difference is inexact where h is large (the O(h^2) of the Taylor series) and noisy
    where it is small (two nearly equal numbers are subtracted): its error draws a "U".

    Parameters
    ----------
    f, params, direction : as for `complex_step`
    steps : (n,) step sizes; 1e-20 to 0.1 by default
    exact : the right derivative, for instance ``sum(g * v)`` with the g of `backward`; the complex
        step at h = 1e-20 by default

    Returns
    -------
    StepSweep

    Raises
    ------
    ValueError
        If the exact derivative is zero or not finite, so that no error is relative to it.

    Examples
    --------
    >>> params = Params(*(np.ones(2) for _ in range(7)))
    >>> sweep = step_sweep(lambda p: np.sin(p.b).sum(), params, params, steps=[1e-12, 1e-5, 0.1])
    >>> int(np.argmin(sweep.central)), bool(sweep.complex[0] < 1e-14)
    (1, True)
    """
    steps = np.logspace(-20, -1, 39) if steps is None else check_array("steps", steps, ("n",))
    exact = complex_step(f, params, direction) if exact is None else check_number("exact", exact)
    if exact == 0:
        raise ValueError("exact: a relative error needs a derivative != 0, got 0")
    errors = [
        [abs(method(f, params, direction, h) - exact) / abs(exact) for h in steps]
        for method in (central_difference, complex_step)
    ]
    return StepSweep(steps, *map(np.array, errors))


def random_direction(
    params: Params, rng: np.random.Generator, fields: str | Iterable[str] | None = None
) -> Params:
    """A random direction in parameter space, zero outside the given fields.

    Entries are standard normal, those of tau times tau: time constants of milliseconds and of
    minutes are then changed alike, and a small step cannot make one negative.

    Parameters
    ----------
    params : Params, for the shapes
    rng : numpy.random.Generator
    fields : names of the fields that move, or one name; all seven by default

    Returns
    -------
    Params

    Raises
    ------
    ValueError
        If a name is not a field of Params.

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> params = init_params(2, 1, 1, 0.5, np.random.default_rng(0))
    >>> v = random_direction(params, np.random.default_rng(0), "tau")
    >>> bool(v.tau.all()), bool(v.b.any())
    (True, False)
    """
    fields = (fields,) if isinstance(fields, str) else fields
    fields = Params._fields if fields is None else fields
    several = isinstance(fields, (tuple, list, set, frozenset))
    if not (several and {*map(str, fields)} <= {*Params._fields}):
        raise ValueError(f"fields: must be among {', '.join(Params._fields)}, got {shown(fields)}")
    params, rng = check_params(params), check_generator(rng)
    v = Params(*(rng.standard_normal(np.shape(p)) for p in params))
    v = v._replace(tau=v.tau * np.real(params.tau))
    return Params(*(e if name in fields else 0 * e for name, e in zip(Params._fields, v)))


def inner(g: Params, v: Params) -> tuple[float, float]:
    """``sum(g * v)`` over all parameters, and ``sum(abs(g * v))``, the scale of its rounding."""
    terms = np.concatenate([np.ravel(a * b) for a, b in zip(g, v)])
    return float(terms.sum()), float(np.abs(terms).sum())


def relative_error(g: Params, v: Params, derivative: float) -> float:
    """``abs(sum(g * v) - derivative) / sum(abs(g * v))``; inf if they differ and every g v is 0.

    Parameters
    ----------
    g : Params, the gradient
    v : Params, the direction
    derivative : along the direction, as by `complex_step`

    Returns
    -------
    float

    Examples
    --------
    >>> ones = Params(*(np.ones(1) for _ in range(7)))
    >>> relative_error(ones, ones, 14.0)  # all gradients together give 7
    1.0
    """
    total, scale = inner(*_pair("g", g, "v", v))
    derivative = check_number("derivative", derivative)
    difference = abs(total - derivative)
    return 0.0 if difference == 0 else difference / scale if scale > 0 else np.inf


def numerical_gradient(f: Callable[[Params], Any], params: Params, h: float = 1e-20) -> Params:
    """The whole gradient of f by one complex step for each number in params (slow, exact).

    Parameters
    ----------
    f : function of a Params that returns one number, complex where a field is
    params : Params at which the gradient is taken
    h : size of the step

    Returns
    -------
    Params, the derivative of f with respect to each number

    Raises
    ------
    ValueError
        As `complex_step`.

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> params = init_params(2, 1, 1, 0.5, np.random.default_rng(0))
    >>> numerical_gradient(lambda p: (p.tau**2).sum(), params).tau
    array([1., 1.])
    """
    params, h = _checked(f, params, params)[0], check_number("h", h, above=0, most=1)
    z = Params(*(np.array(p, complex) for p in params))
    g = Params(*(np.empty(np.shape(p)) for p in params))
    value = 0j
    for entries, out in zip(z, g):
        for k in np.ndindex(entries.shape):
            entries[k] += 1j * h
            value = _number(f(z))
            out[k] = value.imag / h
            entries[k] = np.real(entries[k])
    # Wherever it is 0, f must be flat: one direction through all these entries shows it.
    v = random_direction(params, np.random.default_rng(0))
    zero = [np.abs(a * b) <= _NOTHING * abs(value.real) for a, b in zip(g, v)]
    if any(map(np.any, zero)):
        _check_that_it_is_flat(f, params, Params(*map(np.multiply, v, zero)), value)
    return g


def _checked(f, params, direction) -> tuple[Params, Params]:
    check_callable("f", f)
    return _pair("params", params, "direction", direction)


def _pair(name0: str, given0, name1: str, given1) -> tuple[Params, Params]:
    """Two Params of real numbers and the same shapes."""
    first, second = (
        Params(
            *(
                check_array(f"{name}.{field}", value)
                for field, value in zip(Params._fields, fields_of(given, name))
            )
        )
        for name, given in ((name0, given0), (name1, given1))
    )
    check_shapes(f"{name1}.", second, f"{name0}.", first)
    return first, second


def _shifted(params: Params, direction: Params, step: complex) -> Params:
    return Params(*(p + step * v for p, v in zip(params, direction)))


def _number(value, real: bool = False) -> Any:
    """The value of f as a NumPy number."""
    kinds = "biuf" if real else "biufc"
    array = None if isinstance(value, (tuple, list)) else np.asarray(value)
    if array is None or array.shape != () or array.dtype.kind not in kinds:
        what = f"a {type(value).__name__}"
        if isinstance(value, (tuple, list)):
            what += f" of {len(value)} (mse returns the loss and its derivative: take mse(...)[0])"
        elif array is not None and array.shape != ():
            what = f"an array of shape {array.shape}"
        raise ValueError(f"f: must return one {'real ' if real else ''}number, got {what}")
    return array[()]


def _check_that_it_is_flat(f, params: Params, direction: Params, value) -> None:
    """Raise a ValueError if f, whose complex step is 0, depends on the direction after all."""
    h = 1e-5
    above, below = (_number(f(_shifted(params, direction, e))) for e in (h, -h))
    size = max(abs(above), abs(below))
    # Two values of a function that does not depend on the direction differ by its rounding alone:
    # 1e-12 leaves room for some thousand operations.
    if not abs(above - below) > 1e-12 * size:
        return
    result = "a complex number without an imaginary part"
    if not np.iscomplexobj(value):
        result = f"the real number {value:.6g}"
    raise ValueError(
        f"f: must be analytic, got {result} for complex parameters, although a central difference "
        f"along the same direction is {(above - below) / (2 * h):.3g}. abs, a norm, a conjugate "
        "(np.vdot), .real, float() or a kink loses the imaginary part, and the derivative with "
        "it: write the function without them, or use central_difference"
    )
