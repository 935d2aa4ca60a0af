r"""Where the network comes to rest: fixed points under a constant input, and how slow they are.

Around a fixed point x* the ODE is linear, d(x - x*)/dt = J (x - x*), with

.. math:: J_{ij} = \frac{-\delta_{ij} + W_{ij}\,\phi'(x_j)}{\tau_i}

An eigenvalue lambda of J is a mode that decays with the time constant -1/Re(lambda). All of them
short beside the delay: a point attractor, whose memory is which point it is. One of them long, the
rest short: a line attractor, along which a graded value can be held [1]_.

References
----------
.. [1] Sussillo, D. & Barak, O. (2013). Opening the black box: low-dimensional dynamics in
   high-dimensional recurrent neural networks. Neural Computation 25, 626-649.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.measures.checking import Array, real_array, real_params
from tau_rnn.model import velocity
from tau_rnn.nonlinearities import nonlinearity


class FixedPoints(NamedTuple):
    """n fixed points, the one that most starts came to first.

    Attributes
    ----------
    x : (n, N) the points
    residual : (n,) largest |-x + W r + W_in u + b| at the point: how exactly it is one
    eigenvalues : (n, N) of the Jacobian, complex, per second; the largest real part first
    timescales : (n, N) -1/Re(eigenvalue) in seconds, so the slowest decay first: positive where
        the mode decays, negative (the time in which it grows by e) where it is unstable, inf
        where it does neither
    kind : (n,) "attractor" (all modes decay), "saddle", "repeller" (all grow), or "marginal" (no
        mode grows, and one does not decay either)
    n_slow : (n,) number of modes with abs(timescale) > slow: 0 for a point, 1 for a line, ...
    n_starts : (n,) how many starts came to the point
    reached : (starts,) which point each start came to, -1 for none
    slow : what counted as slow, in seconds
    """

    x: Array
    residual: Array
    eigenvalues: Array
    timescales: Array
    kind: Array
    n_slow: Array
    n_starts: Array
    reached: Array
    slow: float


def jacobian(params, x, *, phi="tanh") -> Array:
    r"""Jacobian of the ODE, how the velocity changes with the state.

    .. math:: J_{ij} = \frac{\partial \dot x_i}{\partial x_j}
              = \frac{-\delta_{ij} + W_{ij}\,\phi'(x_j)}{\tau_i}

    The input does not enter: it only moves the states at which J is taken.

    Parameters
    ----------
    params : Params
    x : (..., N) states
    phi : nonlinearity, by name or as a `Nonlinearity`

    Returns
    -------
    (..., N, N) per second

    Raises
    ------
    ValueError
        If a shape does not fit, a value is not finite or not real, or tau is not positive.
    """
    W, _, b, _, _, _, tau = real_params("params", params)
    x = _states("x", x, len(b))
    if not (tau > 0).all():
        raise ValueError(f"tau: every time constant must be positive (seconds), got {tau}")
    rule = nonlinearity(phi)
    slope = rule.derivative(rule.function(x))
    return (W * slope[..., np.newaxis, :] - np.eye(len(b))) / tau[:, np.newaxis]


def fixed_points(
    params, u, starts, *, phi="tanh", slow=None, tol=1e-9, distinct=1e-3
) -> FixedPoints:
    r"""Fixed points of the network under a constant input, by root finding from many starts.

    Solves -x + W phi(x) + W_in u + b = 0, which is velocity times tau = 0, with
    `scipy.optimize.root` (hybrid Powell, analytic Jacobian), and with `least_squares` from the
    same start where that fails. What is found need not be where the dynamics would go from that
    start, and unstable points are found as well; that no other point exists is never shown.

    Parameters
    ----------
    params : Params
    u : (n_in,) constant input; zeros for a delay
    starts : (starts, N) states to begin at, such as those of trials during the delay
    phi : nonlinearity, by name or as a `Nonlinearity`
    slow : modes slower than this count in ``n_slow`` (s), or None for 10 times the longest tau
    tol : largest abs(-x + W r + W_in u + b) of a unit at which the search has succeeded
    distinct : root-mean-square difference over units beyond which two solutions are two points

    Returns
    -------
    FixedPoints, with n = 0 where no start succeeded

    Raises
    ------
    ValueError
        If a shape does not fit, a value is not finite or not real, or slow, tol or distinct is
        not positive.
    """
    params = real_params("params", params)
    N, n_in = params.W_in.shape
    starts = _states("starts", starts, N, ndim=2)
    u = real_array("u", u, ndim=1)
    if len(u) != n_in:
        raise ValueError(f"u: must be (n_in,) = ({n_in},), got shape {u.shape}")
    slow = 10 * float(params.tau.max()) if slow is None else float(slow)
    for name, value in (("slow", slow), ("tol", tol), ("distinct", distinct)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: must be positive and finite, got {value}")

    found: list[Array] = []
    reached = np.full(len(starts), -1)
    for k, start in enumerate(starts):
        x = _solve(params, u, start, phi, tol)
        if x is None:
            continue
        near = [i for i, y in enumerate(found) if np.sqrt(np.mean((x - y) ** 2)) <= distinct]
        reached[k] = near[0] if near else len(found)
        if not near:
            found.append(x)

    n_starts = np.bincount(reached[reached >= 0], minlength=len(found))
    order = np.argsort(-n_starts, kind="stable")
    place = np.append(np.argsort(order), -1)  # the last entry keeps -1 at -1
    x = np.array(found).reshape(-1, N)[order]
    eigenvalues = np.linalg.eigvals(jacobian(params, x, phi=phi)) if len(x) else np.empty((0, N))
    eigenvalues = eigenvalues.astype(complex)
    eigenvalues = np.take_along_axis(eigenvalues, np.argsort(-eigenvalues.real, axis=1), axis=1)
    # Rounding moves a zero eigenvalue to about 1e-16 of the largest: such a mode does not decay.
    rate = eigenvalues.real * (np.abs(eigenvalues.real) > 1e-12 / params.tau.min())
    timescales = np.divide(-1.0, rate, out=np.full(rate.shape, np.inf), where=rate != 0)
    return FixedPoints(
        x,
        np.abs(_current(params, u, x, phi)).max(axis=1) if len(x) else np.empty(0),
        eigenvalues,
        timescales,
        np.array([_kind(r) for r in rate], dtype="<U9"),
        (np.abs(timescales) > slow).sum(axis=1),
        n_starts[order],
        place[reached],
        slow,
    )


def _current(params, u, x, phi):
    return velocity(params, x, u, phi=phi) * params.tau


def _solve(params, u, start, phi, tol):
    """A fixed point found from this start, or None."""
    from scipy.optimize import least_squares, root

    def current(x):
        return _current(params, u, x, phi)

    def slope(x):
        return jacobian(params, x, phi=phi) * params.tau[:, np.newaxis]

    x = root(current, start, jac=slope, tol=1e-13).x
    if not _is_zero(current, x, tol):
        x = least_squares(current, start, jac=slope, xtol=1e-15, ftol=1e-15, gtol=1e-15).x
    return x if _is_zero(current, x, tol) else None


def _is_zero(function, x, tol) -> bool:
    return bool(np.isfinite(x).all() and np.abs(function(x)).max() <= tol)


def _kind(rate: Array) -> str:
    if (rate < 0).all():
        return "attractor"
    if (rate > 0).all():
        return "repeller"
    return "saddle" if (rate > 0).any() else "marginal"


def _states(name: str, x, N: int, ndim=None) -> Array:
    x = real_array(name, x, ndim=ndim)
    if x.shape[-1] != N:
        raise ValueError(f"{name}: must be (..., N) with N = {N}, got shape {x.shape}")
    return x
