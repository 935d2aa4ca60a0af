r"""Where the network rests, or nearly so, under a constant input: fixed points and slow points.

Around a fixed point x* the ODE is linear, d(x - x*)/dt = J (x - x*), with

.. math:: J_{ij} = \frac{-\delta_{ij} + W_{ij}\,\phi'(x_j)}{\tau_i}

An eigenvalue lambda of J is a mode that decays with the time constant -1/Re(lambda). If all
are short compared with the delay, the point is a point attractor, whose memory is which point it
is; if one is long and the rest short, a line attractor, along which a graded value can be held.

A *slow point* [1]_ is a minimum of the speed where the speed is small but not 0, like the ghost of
two fixed points that have just annihilated each other: the state lingers there. With F = tau dx/dt,
a minimum of F^2 has (dF/dx)^T F = 0. So J is singular there: one mode neither grows nor decays.
This holds for a smooth phi: with relu a search can also stop at a kink, where J is not singular.

References
----------
.. [1] Sussillo, D. & Barak, O. (2013). Opening the black box: low-dimensional dynamics in
   high-dimensional recurrent neural networks. Neural Computation 25, 626-649.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import check_array, check_number
from tau_rnn.measures._shared import Array, double_params
from tau_rnn.model import ParamsLike, forward, velocity
from tau_rnn.nonlinearities import Nonlinearity, differentiable

__all__ = ["FixedPoints", "fixed_points"]

#: A search ends where a step, or what it takes off F^2, is this small a part.
_PRECISION = 1e-13
_ROUNDING = 1e-15  # of F, and of J^T J, whose diagonal is about 1
_MOST_STEPS = 1000

#: How long a delay is drawn out, so that the network comes to rest (s).
_RELAXATION = 30.0


class FixedPoints(NamedTuple):
    """n points, the one that most starts reached first.

    Attributes
    ----------
    x : (n, N) the points
    speed : (n,) root mean square over units of the velocity there, per second
    eigenvalues : (n, N) of the Jacobian, complex, per second; the largest real part first
    timescales : (n, N) -1/Re(eigenvalue) in seconds, in that order: positive where the mode
        decays, negative where it grows (by e in that time), inf where it does neither
    kind : (n,) "attractor" (all modes decay), "saddle", "repeller" (all grow) or "marginal" (some
        mode does neither, and none grows) of fixed points; "slow" of slow points
    n_slow : (n,) number of modes with abs(timescale) > slow: 0 for a point, 1 for a line, ...
    n_starts : (n,) how many starts reached the point
    reached : (starts,) which point each start reached, -1 for none
    slow : what counted as slow in ``n_slow``, in seconds

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> params = init_params(2, 1, 1, [0.5, 2.0], np.random.default_rng(0), gain=0)
    >>> points = fixed_points(params, [0.0], [[0.5, 0.5]])  # no recurrence: it comes to rest at 0
    >>> points.kind.tolist(), points.timescales.round(6).tolist()
    (['attractor'], [[2.0, 0.5]])
    """

    x: Array
    speed: Array
    eigenvalues: Array
    timescales: Array
    kind: Array
    n_slow: Array
    n_starts: Array
    reached: Array
    slow: float


def jacobian(params, x, *, phi: str | Nonlinearity = "tanh") -> Array:
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

    Examples
    --------
    Without recurrence every unit decays with its own time constant:

    >>> from tau_rnn import init_params
    >>> params = init_params(2, 1, 1, [0.5, 2.0], np.random.default_rng(0), gain=0)
    >>> jacobian(params, np.zeros(2)) + 0
    array([[-2. ,  0. ],
           [ 0. , -0.5]])
    """
    W, _, b, _, _, _, tau = double_params("params", params)
    x = _states("x", x, len(b))
    if not (tau > 0).all():
        raise ValueError(f"tau: every time constant must be positive (seconds), got {tau}")
    rule = differentiable(phi, len(b))
    slope = rule.derivative(rule.function(x))
    return (W * slope[..., np.newaxis, :] - np.eye(len(b))) / tau[:, np.newaxis]


def fixed_points(
    params: ParamsLike, u: ArrayLike, starts: ArrayLike, *, phi: str | Nonlinearity = "tanh",
    slow: float | None = None, max_speed: float = 0.02, tol: float = 1e-9, distinct: float = 0.01,
) -> FixedPoints:  # fmt: skip
    r"""Fixed points and slow points under a constant input, sought from many starts.

    Minimises F^2 with F = -x + W phi(x) + W_in u + b, the velocity times tau, from each start, by
    Levenberg-Marquardt steps with the analytic Jacobian: it ends in a zero or in a minimum (or,
    with relu, at a kink). On a line of fixed points it ends in the one next to the start. Where it
    ends need not be where the dynamics would go from that start, and unstable points are found as
    well; it cannot show that no other point exists.

    Parameters
    ----------
    params : Params
    u : (n_in,) constant input; zeros for a delay
    starts : (starts, N) states to begin at, such as those of trials during the delay
    phi : nonlinearity, by name or as a `Nonlinearity`
    slow : modes slower than this count in ``n_slow`` (s), or None for 10 times the longest tau
    max_speed : root mean square velocity (per second) up to which the end of a search is kept as a
        slow point; 0 for fixed points only
    tol : largest abs(F) of any unit at a fixed point
    distinct : root mean square difference over units beyond which two points are two; starts less
        than a tenth of it apart share one search

    Returns
    -------
    FixedPoints, with n = 0 where no start succeeded

    Raises
    ------
    ValueError
        If a shape does not fit, a value is not finite or not real, or an option is not positive.

    Notes
    -----
    1 to 5 ms for each start at N = 100; the time goes with N^3.

    Examples
    --------
    A unit that excites itself with w = 2 rests at 0, unstably, and at +-1.915, where x = 2 tanh x:

    >>> from tau_rnn import Params
    >>> one, none = np.ones(1), np.zeros(1)
    >>> unit = Params(2 * np.eye(1), np.zeros((1, 1)), none, np.eye(1), none, none, one)
    >>> points = fixed_points(unit, [0.0], [[-1.0], [0.01], [1.0]])
    >>> points.x[:, 0].round(3).tolist(), points.kind.tolist()
    ([-1.915, 0.0, 1.915], ['attractor', 'repeller', 'attractor'])
    """
    params = double_params("params", params)
    N, n_in = params.W_in.shape
    starts = _states("starts", starts, N, ndim=2)
    u = check_array("u", u, (n_in,)).astype(float)
    slow = check_number("slow", 10 * params.tau.max() if slow is None else slow, above=0)
    max_speed = check_number("max_speed", max_speed, least=0)
    tol = check_number("tol", tol, above=0)
    distinct = check_number("distinct", distinct, above=0)

    ends: list[Array] = []
    for k, start in enumerate(starts):  # the delay brings many trials to nearly the same state
        apart = _rms(starts[:k] - start)
        twin = int(apart.argmin()) if k and apart.min() < distinct / 10 else None
        ends.append(_descend(params, u, start, phi) if twin is None else ends[twin])
    found: list[Array] = []
    reached = np.full(len(starts), -1)
    for k, x in enumerate(ends):
        v = velocity(params, x, u, phi=phi)
        if np.abs(v * params.tau).max() > tol and _rms(v) > max_speed:
            continue
        near = [i for i, y in enumerate(found) if _rms(x - y) <= distinct]
        reached[k] = near[0] if near else len(found)
        if not near:
            found.append(x)

    n_starts = np.bincount(reached[reached >= 0], minlength=len(found))
    order = np.argsort(-n_starts, kind="stable")
    place = np.append(np.argsort(order), -1)  # the last entry keeps -1 at -1
    x = np.array(found).reshape(-1, N)[order]
    if len(x) == 0:
        none, modes = np.empty(0), np.empty((0, N))
        return FixedPoints(
            x, none, modes.astype(complex), modes, none.astype(str), none.astype(int),
            none.astype(int), reached, slow,
        )  # fmt: skip
    v = velocity(params, x, u, phi=phi)
    fixed = np.abs(v * params.tau).max(axis=1) <= tol
    eigenvalues = np.linalg.eigvals(jacobian(params, x, phi=phi)).astype(complex)
    eigenvalues = np.take_along_axis(eigenvalues, np.argsort(-np.real(eigenvalues), axis=1), axis=1)
    # Rounding moves an eigenvalue of 0 to about 1e-16 of the largest: it is 0 all the same.
    rate = np.real(eigenvalues)
    rate = rate * (np.abs(rate) > 1e-12 / params.tau.min())
    timescales = np.divide(-1.0, rate, out=np.full(rate.shape, np.inf), where=rate != 0)
    kind = np.array([_kind(r) if f else "slow" for r, f in zip(rate, fixed)])
    n_slow = (np.abs(timescales) > slow).sum(axis=1)
    return FixedPoints(
        x, _rms(v), eigenvalues, timescales, kind, n_slow, n_starts[order], place[reached], slow
    )


def delay_points(params, task, trials, most, run) -> FixedPoints:
    """Fixed points of the delay, sought from where it ends and from where it would lead."""
    go = trials.epochs.delay[:most, 1]
    T, B, n_in = trials.u[:, :most].shape
    u = np.zeros((T + round(_RELAXATION / task.dt), B, n_in))
    before_go = np.arange(T)[:, np.newaxis, np.newaxis] < go[:, np.newaxis]
    u[:T] = np.where(before_go, trials.u[:, :most], 0)
    x = forward(params, u, task.dt, **run).x
    starts = np.concatenate([x[go, np.arange(B)], x[-1]])
    return fixed_points(params, np.zeros(n_in), starts, phi=run["phi"], slow=task.delay_max)


def _descend(params, u, start, phi) -> Array:
    """Where the search for a zero of F, or a minimum of F^2, ends (Levenberg-Marquardt).

    A step solves (J^T J + lambda) step = -J^T F with lambda in proportion to F^2 [1]_. So it is
    Newton's near a fixed point, and small along a line of fixed points, where J^T J is singular.

    References
    ----------
    .. [1] Yamashita, N. & Fukushima, M. (2001). On the rate of convergence of the
       Levenberg-Marquardt method. Computing Supplementum 15, 239-249.
    """
    rule, drive = differentiable(phi, len(start)), params.W_in @ u + params.b
    one = np.eye(len(start))
    x, r = start, rule.function(start)
    F, damping = params.W @ r + drive - x, 0.01
    for _ in range(_MOST_STEPS):
        J, squared = params.W * rule.derivative(r) - one, F @ F
        gradient, gram = J.T @ F, J.T @ J
        while True:
            step = np.linalg.solve(gram + (damping * squared + _ROUNDING) * one, -gradient)
            expected = squared - np.square(F + J @ step).sum()
            small = np.linalg.norm(step) <= _PRECISION * np.linalg.norm(x)
            if small or expected <= _PRECISION * squared or squared <= _ROUNDING**2:
                return x
            r_next = rule.function(x + step)
            F_next = params.W @ r_next + drive - (x + step)
            gain = (squared - F_next @ F_next) / expected
            if gain < 0.25:
                damping *= 4
            elif gain > 0.75:
                damping = max(damping / 4, 1e-8)
            if gain > 1e-4:
                x, r, F = x + step, r_next, F_next
                break
    return x


def _rms(values: Array) -> Array:
    return np.sqrt((values**2).mean(axis=-1))


def _kind(rate: Array) -> str:
    if (rate < 0).all():
        return "attractor"
    if (rate > 0).all():
        return "repeller"
    return "saddle" if (rate > 0).any() else "marginal"


def _states(name: str, x, N: int, ndim=None) -> Array:
    x = check_array(name, x)
    if x.ndim != (ndim or x.ndim) or x.ndim == 0 or x.shape[-1] != N or x.size == 0:
        axes = "(starts, N)" if ndim else "(..., N)"
        raise ValueError(f"{name}: must be {axes} with N = {N}, got shape {x.shape}")
    return x.astype(float)
