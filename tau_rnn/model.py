r"""The network: its parameters, its differential equation, and its simulation.

The state of unit i obeys (seconds everywhere; Eq. 2.1)::

    tau_i dx_i/dt = -x_i + sum_j W_ij phi(x_j) + sum_k W_in_ik u_k + b_i,      r = phi(x)

and is simulated by (Eq. 3.1)::

    x[t+1] = (1 - alpha) x[t] + alpha (W r[t] + W_in u[t] + b + noise[t])
    y[t]   = W_out r[t+1] + b_out

with alpha_i = dt / tau_i (Euler) or 1 - exp(-dt / tau_i) (exponential Euler, which holds the
recurrent and external input constant during a step and solves the leak exactly).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tau_rnn._layout import by_rows, product_with
from tau_rnn.checks import (
    Checkpoints,
    check_array,
    check_buffers,
    check_dtype,
    check_fits,
    check_generator,
    check_integer,
    check_number,
)
from tau_rnn.discretisation import DEFAULT_METHOD, METHODS, Array, alpha
from tau_rnn.initial import parse_init
from tau_rnn.noise import private_noise
from tau_rnn.nonlinearities import NONLINEARITIES, Nonlinearity, nonlinearity

__all__ = [
    "METHODS", "NONLINEARITIES", "Nonlinearity", "Params", "Trajectory", "alpha", "forward",
    "init_params", "nonlinearity", "private_noise", "velocity",
]  # fmt: skip


class Params(NamedTuple):
    """All that training may change. Gradients, moments and perturbations are Params as well.

    Weights are (to, from): ``W[i, j]`` is the weight from unit j to unit i.

    Attributes
    ----------
    W : (N, N) recurrent weights
    W_in : (N, n_in) input weights
    b : (N,) bias current
    W_out : (n_out, N) readout weights
    b_out : (n_out,) readout bias
    x0 : (N,) state at time 0, the same for every trial
    tau : (N,) intrinsic time constants in seconds

    Examples
    --------
    >>> params = init_params(3, 2, 1, [0.5, 1.0, 2.0], np.random.default_rng(0))
    >>> params.W_in.shape, params.tau
    ((3, 2), array([0.5, 1. , 2. ]))
    >>> params._replace(tau=2 * params.tau).tau
    array([1., 2., 4.])
    """

    W: Array
    W_in: Array
    b: Array
    W_out: Array
    b_out: Array
    x0: Array
    tau: Array


#: What stands for parameters: a Params, seven arrays in its order, or a mapping with its fields.
ParamsLike = Sequence[ArrayLike] | Mapping[str, ArrayLike]


class Trajectory(NamedTuple):
    """What `forward` did: the result a reader plots and the tape that `backward` needs, in one.

    Attributes
    ----------
    x : (T+1, B, N) states; ``x[0]`` is x0, ``x[t+1]`` is the state after input ``u[t]``
    r : (T+1, B, N) rates, phi(x)
    y : (T, B, n_out) outputs, ``y[t] = W_out r[t+1] + b_out``
    u, dt, phi, method, noise : as `forward` was given them
    checkpoint_every : None, or k where only the states at the times 0, k, 2k, ... < T are kept:
        then x and r are (ceil(T/k), B, N) and `backward` recomputes what lies between
    x0 : (B, N) states that `forward` was given to start from, or None for params.x0

    Examples
    --------
    >>> params = init_params(3, 1, 1, 1.0, np.random.default_rng(0))
    >>> traj = forward(params, np.ones((4, 2, 1)), dt=0.1)
    >>> traj.x.shape, traj.y.shape, np.allclose(traj.r, np.tanh(traj.x))
    ((5, 2, 3), (4, 2, 1), True)
    """

    x: Array
    r: Array
    y: Array
    u: Array
    dt: float
    phi: Any
    method: str
    noise: Array | None = None
    checkpoint_every: int | None = None
    x0: Array | None = None


def fields_of(params, argument: str = "params") -> Params:
    """A Params of what has its seven fields: a Params, seven arrays in order, or a mapping."""
    fields, given, must = Params._fields, type(params).__name__, "be a Params with"
    if isinstance(params, Mapping):
        if all(f in params for f in fields):
            return Params(*(params[f] for f in fields))
        must = "have the fields"
        given = f"a mapping with the keys {', '.join(map(str, params)) or 'none'}"
    else:
        try:
            return Params(*params)
        except TypeError:
            if isinstance(params, (str, list, tuple)) or getattr(params, "ndim", 0) != 0:
                given += f" of length {len(params)}"
    raise ValueError(f"{argument}: must {must} {', '.join(fields)}, got {given}")


def check_params(params, argument: str = "params") -> Params:
    """The seven fields as arrays, or a ValueError that names the one that is not right.

    params may be a Params, seven arrays in its order, or a mapping with its fields, such as
    ``np.load("final.npz")``.
    """
    given = zip(Params._fields, fields_of(params, argument))
    arrays = Params(*(check_array(name, a, may_be_complex=True) for name, a in given))
    W, W_in, b, W_out, b_out, x0, tau = arrays
    if W.ndim != 2 or W.shape[0] != W.shape[1] or W.shape[0] == 0:
        raise ValueError(f"W: must be square (N, N) with N >= 1, got shape {W.shape}")
    N = W.shape[0]
    if W_in.ndim != 2:
        raise ValueError(f"W_in: must be (N, n_in) = ({N}, n_in), got shape {W_in.shape}")
    if W_out.ndim != 2:
        raise ValueError(f"W_out: must be (n_out, N) = (n_out, {N}), got shape {W_out.shape}")
    n_in, n_out = W_in.shape[1], W_out.shape[0]
    shapes = (N, N), (N, n_in), (N,), (n_out, N), (n_out,), (N,), (N,)
    for name, value, shape in zip(Params._fields, arrays, shapes):
        if value.shape != shape:
            raise ValueError(f"{name}: must have shape {shape} for N = {N}, got {value.shape}")
    return arrays


def velocity(
    params: Params, x: ArrayLike, u: ArrayLike, *, phi: str | Nonlinearity = "tanh",
    noise: ArrayLike | None = None,
) -> Array:  # fmt: skip
    r"""The right-hand side of the differential equation, dx/dt (Eq. 2.1).

    .. math:: \dot x_i = \frac{1}{\tau_i}\Big(-x_i + \sum_j W_{ij}\,\phi(x_j)
              + \sum_k W^{in}_{ik} u_k + b_i + \eta_i\Big)

    Parameters
    ----------
    params : Params
    x : (..., N) states
    u : (..., n_in) inputs
    phi : name of the nonlinearity, or a `Nonlinearity`
    noise : (..., N) noise current eta, or None

    Returns
    -------
    (..., N) velocities, per second

    Raises
    ------
    ValueError
        If a shape does not fit, a value is not finite, or tau is not positive.

    Examples
    --------
    >>> params = init_params(2, 1, 1, 0.5, np.random.default_rng(0), gain=0)
    >>> velocity(params, [1.0, -1.0], [0.0])  # no recurrence: -x / tau
    array([-2.,  2.])
    """
    W, W_in, b, _, _, _, tau = check_params(params)
    if not (np.real(tau) > 0).all():
        raise ValueError(f"tau: every time constant must be positive (seconds), got {tau}")
    given = {"x": x, "u": u, "noise": np.zeros_like(b) if noise is None else noise}
    x, u, noise = (check_array(name, a, may_be_complex=True) for name, a in given.items())
    for name, a, axis, n in zip(given, (x, u, noise), ("N", "n_in", "N"), (*W_in.shape, len(b))):
        if a.shape[-1:] != (n,):
            fits = f"(..., {axis}) with {axis} = {n}"
            raise ValueError(f"{name}: must be {fits}, got shape {a.shape}")
    try:
        np.broadcast_shapes(x.shape[:-1], u.shape[:-1], noise.shape[:-1])
    except ValueError:
        raise ValueError(
            f"x, u, noise: all axes but the last must fit, got shapes {x.shape}, {u.shape} and "
            f"{noise.shape}"
        ) from None
    phi_of = nonlinearity(phi, len(b), np.result_type(x, np.float32)).function
    return (phi_of(x) @ W.T + u @ W_in.T + b - x + noise) / tau


def init_params(
    n_units: int, n_in: int, n_out: int, tau: ArrayLike, rng: np.random.Generator, *,
    gain: float = 0.8, dtype: DTypeLike = np.float64, init: str = "random",
) -> Params:  # fmt: skip
    """Draw the parameters of an untrained network.

    W ~ N(0, gain^2 / N), W_in ~ N(0, 1), W_out ~ N(0, 0.25 / N); b, b_out and x0 are zero. An
    autonomous tanh network of equal tau is silent for gain < 1 and chaotic for gain > 1 when N is
    large [1]_. The draws do not depend on tau, gain or init, so one seed gives paired networks.

    Parameters
    ----------
    n_units, n_in, n_out : numbers of units N, inputs and outputs, all >= 1
    tau : (N,) time constants in seconds, or a number for all units
    rng : numpy.random.Generator
    gain : spectral radius of W for large N, >= 0
    dtype : floating dtype of every field
    init : how W is made of these weights: "random" leaves them, "rank:K" takes their K largest
        singular values at equal norm, "random+rank:K,strength=1" adds structure (`tau_rnn.initial`)

    Returns
    -------
    Params

    Raises
    ------
    ValueError
        If a size is below 1, gain is negative or not finite, tau does not fit, rng is no Generator,
        dtype is one of integers, or init is unknown or of a rank above n_units.

    References
    ----------
    .. [1] Sompolinsky, Crisanti & Sommers, Phys. Rev. Lett. 61, 259 (1988).

    Examples
    --------
    >>> params = init_params(3, 2, 1, [0.1, 0.5, 2.0], np.random.default_rng(0))
    >>> params.W.shape, params.W_in.shape, params.W_out.shape
    ((3, 3), (3, 2), (1, 3))
    """
    sizes = {"n_units": n_units, "n_in": n_in, "n_out": n_out}
    n_units, n_in, n_out = (check_integer(name, n, 1) for name, n in sizes.items())
    gain, made = check_number("gain", gain, least=0), parse_init(init)
    for name, n in zip(sizes, (n_units, n_in, n_out)):
        check_fits(**{name: n, "N": n_units})
    check_generator(rng)
    check_dtype(dtype, may_be_complex=True)
    if isinstance(tau, str):
        raise ValueError(f"tau: must be numbers; sample_tau({tau!r}, {n_units}, rng) draws them")
    tau = check_array("tau", tau)
    if tau.shape not in ((), (n_units,)):
        raise ValueError(f"tau: must be a number or have shape ({n_units},), got {tau.shape}")
    if not (tau > 0).all():
        raise ValueError(f"tau: every time constant must be positive and finite, got {tau}")
    W = rng.standard_normal((n_units, n_units)) * (gain / np.sqrt(n_units))
    W_in = rng.standard_normal((n_units, n_in))
    W_out = rng.standard_normal((n_out, n_units)) * (0.5 / np.sqrt(n_units))
    zeros, tau = np.zeros(n_units), np.broadcast_to(tau, (n_units,))
    params = Params(made.weights(W, rng), W_in, zeros, W_out, np.zeros(n_out), zeros, tau)
    return Params(*(np.array(p, dtype=dtype) for p in params))


def forward(
    params: ParamsLike, u: ArrayLike, dt: float, *, phi: str | Nonlinearity = "tanh",
    method: str = DEFAULT_METHOD, noise: ArrayLike | None = None, x0: ArrayLike | None = None,
    checkpoint_every: int | None = None, out: Trajectory | None = None,
) -> Trajectory:  # fmt: skip
    r"""Simulate the network (Eq. 3.1).

    .. math::

        x[t+1] &= (1 - \alpha)\, x[t] + \alpha\,(W r[t] + W_{in} u[t] + b + \eta[t]) \\
        y[t] &= W_{out}\, r[t+1] + b_{out}, \qquad r = \phi(x)

    Parameters
    ----------
    params : Params
    u : (T, B, n_in) inputs
    dt : time step in seconds
    phi : name of the nonlinearity (tanh, relu, softplus, sigmoid, linear), or a `Nonlinearity`
    method : "euler" or "exponential", see `alpha`
    noise : (T, B, N) noise current eta (see `private_noise`), or None
    x0 : (B, N) state from which each trial starts, such as ``x[-1]`` of an earlier segment, or
        None for params.x0
    checkpoint_every : None, or k to keep only every k-th state, for sequences whose trajectory
        would not fit into memory; `backward` then simulates each stretch of k steps once more
    out : a Trajectory of an earlier call, whose arrays x, r and y are reused

    Returns
    -------
    Trajectory, in the promoted dtype of params, u, noise and x0 (float32, float64 or complex128)

    Raises
    ------
    ValueError
        If a shape does not fit, a value is not finite, tau or dt is not positive, an Euler step
        is unstable, or phi or method is unknown.

    Examples
    --------
    >>> params = init_params(2, 1, 1, [0.5, 2.0], np.random.default_rng(0))
    >>> traj = forward(params, np.ones((10, 3, 1)), 0.1)  # 10 steps, 3 trials
    >>> traj.x.shape, traj.y.shape
    ((11, 3, 2), (10, 3, 1))
    """
    params = check_params(params)
    u, noise = check_drive(params, u, noise)
    if x0 is not None:
        x0 = check_array("x0", x0, (u.shape[1], len(params.b)), may_be_complex=True)
    if checkpoint_every is not None:
        checkpoint_every = min(check_integer("checkpoint_every", checkpoint_every, 1), len(u))
    a = alpha(params.tau, dt, method)
    return simulate(params, u, dt, a, phi, method, noise, x0, checkpoint_every, out)


def simulate(params, u, dt, a, phi, method, noise, x0=None, every=None, out=None) -> Trajectory:
    """`forward` without its checks, of arguments that have passed them; a is alpha."""
    (T, B, _), N, n_out = u.shape, len(params.b), len(params.b_out)
    whole, k = every is None, every or T
    given = (value for value in (noise, x0) if value is not None)
    dtype = np.result_type(*params, u, np.float32, *given)
    phi_of = nonlinearity(phi, N, dtype).function
    states = (T + 1 if whole else -(-T // k), B, N)
    x, r, y = check_buffers(out, dtype, x=states, r=states, y=(T, B, n_out))
    # A run that keeps everything is one stretch of T steps, written straight into x and r.
    xs, rs = (x, r) if whole else np.empty((2, k + 1, B, N), dtype)
    xs[0] = params.x0 if x0 is None else x0
    phi_of(xs[0], out=rs[0])
    for start in range(0, T, k):
        if not whole:
            x[start // k], r[start // k] = xs[0], rs[0]
        now = slice(start, start + k)  # the last stretch may be shorter
        drive = None if noise is None else noise[now]
        integrate(params, a, phi_of, u[now], drive, xs, rs, y[now])
        if not whole:
            xs[0], rs[0] = xs[k], rs[k]
    y += params.b_out
    if not whole:
        x, r = x.view(Checkpoints), r.view(Checkpoints)
    return Trajectory(x, r, y, u, dt, phi, method, noise, every, x0)


def integrate(params, a, phi_of, u, noise, x, r, y=None) -> None:
    """Fill x[1:T+1], r[1:T+1] and y, but for b_out: the time loop of `forward`, without its checks.

    Inputs are projected and outputs read by one product for a block of steps that is still in the
    cache: a step is one product with W, whose rows are scaled by alpha once, and a few passes.
    """
    (T, B, _), N = u.shape, x.shape[2]
    # [u, 1] [alpha W_in, alpha b]^T is the drive of every step; x[t+1] starts from it.
    inputs, weights = with_ones(u, x.dtype), a * np.vstack([params.W_in.T, params.b])
    aW_T = by_rows(by_rows(a[:, np.newaxis] * params.W).T)  # with gaps, its copy is faster too
    leak, gain = np.full((B, N), 1 - a), np.full((B, N), a)
    dot, current = product_with(aW_T), np.empty_like(x[0])
    steps = max(1, 512 // B)  # of a block of some 512 rows
    for start in range(0, T, steps):
        stop = min(start + steps, T)
        rows, now, after = (stop - start) * B, slice(start, stop), slice(start + 1, stop + 1)
        np.dot(inputs[now].reshape(rows, -1), weights, out=x[after].reshape(rows, N))
        for t in range(start, stop):
            x_next = x[t + 1]
            x_next += dot(r[t], aW_T, out=current)
            x_next += np.multiply(leak, x[t], out=current)
            if noise is not None:
                x_next += np.multiply(gain, noise[t], out=current)
            phi_of(x_next, out=r[t + 1])
        if y is not None:
            np.dot(r[after].reshape(rows, N), params.W_out.T, out=y[now].reshape(rows, y.shape[2]))


def with_ones(u: Array, dtype) -> Array:
    """Append a constant input 1 to u (T, B, n_in): the bias b is the weight of that input."""
    return np.concatenate([u, np.ones((*u.shape[:2], 1))], axis=2, dtype=dtype)


def check_drive(params: Params, u, noise=None) -> tuple[Array, Array | None]:
    """The inputs and the noise current, a ValueError if they do not fit the params."""
    u = check_array("u", u, may_be_complex=True)
    N, n_in = params.W_in.shape
    if u.ndim != 3 or u.shape[2] != n_in or 0 in u.shape[:2]:
        raise ValueError(
            f"u: must be (T, B, n_in) with T >= 1, B >= 1 and n_in = {n_in}, got shape {u.shape}"
        )
    if noise is not None:
        noise = check_array("noise", noise, may_be_complex=True)
        if noise.shape != (*u.shape[:2], N):
            raise ValueError(
                f"noise: must be (T, B, N) = {(*u.shape[:2], N)} or None, got shape {noise.shape}"
            )
    return u, noise
