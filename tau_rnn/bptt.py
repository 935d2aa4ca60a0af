r"""Backpropagation through time, derived by hand.

Notation: ``d<name>`` is dLoss/d<name> and has the shape of ``<name>``. The simulation, Eq. 3.1::

    x[t+1] = (1 - alpha) * x[t] + alpha * c[t],   c[t] = W r[t] + W_in u[t] + b + noise[t]
    y[t]   = W_out r[t+1] + b_out,                r[t] = phi(x[t])

**The adjoint.** A change of x[t] reaches the loss in only two ways. One goes through the leak to
x[t+1]; the other goes through r[t], which enters both x[t+1] (by W) and y[t-1] (by W_out). The
chain rule adds them up (Eqs. 3.4 and 3.5)::

    dr_j[t] = sum_i dx_i[t+1] alpha_i W_ij + sum_k dy_k[t-1] W_out_kj
    dx_j[t] = (1 - alpha_j) dx_j[t+1] + phi'(x_j[t]) dr_j[t]

starting from dx[T+1] = 0 at the end; at t = 0 there is no output y[-1], so its term is absent.
W appears transposed: forward, unit j drives unit i through W_ij; backward, unit j collects from
all units i that it drove.

**The parameters** (Eqs. 3.7 to 3.10). Every step uses the same parameters, so their gradients add
up over time t and trials (not written). From the current c in x[t+1]::

    dW_ij    = alpha_i raw_ij,      raw_ij    = sum_t dx_i[t+1] r_j[t]
    dW_in_ik = alpha_i raw_in_ik,   raw_in_ik = sum_t dx_i[t+1] u_k[t]
    db_i     = alpha_i raw_b_i,     raw_b_i   = sum_t dx_i[t+1]
    dW_out_kj = sum_t dy_k[t] r_j[t+1],  db_out_k = sum_t dy_k[t],  dx0 = dx[0]

**The time constants** (Eqs. 3.11 to 3.13). With the noise current held fixed, x[t+1] depends on
tau_i through alpha_i alone, with slope c_i[t] - x_i[t]::

    dalpha_i = sum_t dx_i[t+1] (c_i[t] - x_i[t])
             = sum_j raw_ij W_ij + sum_k raw_in_ik W_in_ik + raw_b_i b_i
               + sum_t dx_i[t+1] (noise_i[t] - x_i[t])

The second line costs almost nothing, since the sums over time are those of dW, dW_in and db. Then::

    dtau_i = dalpha_i * dalpha_i/dtau_i,   dalpha_i/dtau_i = -alpha_i / tau_i              (Euler)
                                                           = -(1 - alpha_i) dt / tau_i^2   (exp.)

**Private noise that follows tau** (Eq. 6.10). `noise.private_noise` scales its current to tau, by
s = sqrt((2 - alpha) / alpha) with d ln(s)/dalpha = -1 / (alpha (2 - alpha)). The current enters
x[t+1] multiplied by alpha, so where tau is trained, dalpha_i has one more term::

    dalpha_i gains -sum_t dx_i[t+1] noise_i[t] / (2 - alpha_i)

**Cost.** One product with W per step on the way back, as on the way forward, and one product for
dW: about twice the simulation. The trajectory is the only large memory.

Reference: Werbos, Proc. IEEE 78, 1550 (1990), for the method; the derivation is written out in
tutorials/03_bptt_by_hand.md, where the equations have their numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn._layout import by_rows, product_with
from tau_rnn._tape import check_tape, chunks_backwards
from tau_rnn.checks import check_array, check_shapes
from tau_rnn.discretisation import alpha, alpha_slope
from tau_rnn.model import Array, Params, ParamsLike, Trajectory, check_params, fields_of, with_ones
from tau_rnn.nonlinearities import nonlinearity

__all__ = ["backward", "plain_backward", "tangent"]

# Rows (steps times trials) of one chunk: long enough for efficient products, short enough that a
# chunk stays in the cache while it is worked on.
CHUNK_ROWS = 1024


def plain_backward(params: Params, traj: Trajectory, dy: Array) -> Params:
    """The gradient, line by line as in the derivation: read this first.

    It returns what ``backward(params, traj, dy)`` returns, and takes a few times as long: it
    checks nothing, keeps no buffers, and adds up each sum step by step.

    Parameters
    ----------
    params : Params that `forward` was given
    traj : Trajectory that it returned, with all states kept
    dy : (T, B, n_out) dLoss/dy

    Returns
    -------
    Params : dLoss/d of each parameter, in its shape

    Examples
    --------
    >>> from tau_rnn import forward, init_params
    >>> rng = np.random.default_rng(0)
    >>> params = init_params(5, 2, 1, 1.0, rng)
    >>> traj = forward(params, rng.standard_normal((4, 3, 2)), 0.1)
    >>> plain, fast = plain_backward(params, traj, traj.y), backward(params, traj, traj.y)
    >>> all(np.allclose(a, b, rtol=1e-12) for a, b in zip(plain, fast))
    True
    """
    W, W_in, b, W_out, b_out, x0, tau = params
    x, r, u, dt = traj.x, traj.r, traj.u, traj.dt
    slope = nonlinearity(traj.phi).derivative(r)
    if traj.method == "euler":
        alpha = dt / tau
        dalpha_dtau = -alpha / tau
    else:
        alpha = 1 - np.exp(-dt / tau)
        dalpha_dtau = -(1 - alpha) * dt / tau**2
    dW, dW_in, db = np.zeros_like(W), np.zeros_like(W_in), np.zeros_like(b)
    dW_out, db_out, dtau = np.zeros_like(W_out), np.zeros_like(b_out), np.zeros_like(tau)
    T, B, N = x.shape[0] - 1, x.shape[1], x.shape[2]
    dx_next = np.zeros((B, N))
    for t in reversed(range(T)):
        dW_out += dy[t].T @ r[t + 1]  # Eq. 3.9
        db_out += dy[t].sum(axis=0)
        dx = dx_next + slope[t + 1] * (dy[t] @ W_out)  # dx[t+1] is complete: Eqs. 3.4, 3.5
        dc = alpha * dx
        dW += dc.T @ r[t]  # Eq. 3.7
        dW_in += dc.T @ u[t]  # Eq. 3.8
        db += dc.sum(axis=0)
        current = r[t] @ W.T + u[t] @ W_in.T + b
        if traj.noise is not None:
            current = current + traj.noise[t]
        dtau += (dx * (current - x[t])).sum(axis=0) * dalpha_dtau  # 3.11, 3.12
        dx_next = (1 - alpha) * dx + slope[t] * (dc @ W)  # Eqs. 3.4, 3.5, all but the readout
    dx0 = dx_next.sum(axis=0)  # Eq. 3.10
    return Params(dW, dW_in, db, dW_out, db_out, dx0, dtau)


def backward(
    params: ParamsLike, traj: Trajectory, dy: ArrayLike, *, dr: ArrayLike | None = None,
    dx_end: ArrayLike | None = None, noise_follows_tau: bool = False, return_dx0: bool = False,
) -> Any:  # fmt: skip
    r"""Gradient of the loss with respect to every parameter, by backpropagation through time.

    .. math::

        dr[t] &= W^\top (\alpha\, dx[t+1]) + W_{out}^\top dy[t-1] \\
        dx[t] &= (1 - \alpha)\, dx[t+1] + \phi'(x[t])\, dr[t] \\
        dW &= \sum_t (\alpha\, dx[t+1])\, r[t]^\top

    and so on for the other parameters: see the derivation at the head of this module, and
    `plain_backward`, which does the same line by line. `tangent` is the same derivative in the
    forward direction. The noise current is held fixed, as if it did not depend on tau, unless
    ``noise_follows_tau`` is set.

    Parameters
    ----------
    params : Params that `forward` was given
    traj : Trajectory that `forward` returned
    dy : (T, B, n_out) dLoss/dy
    dr : (T+1, B, N) dLoss/dr where the loss depends on rates directly (`rate_penalty`), or None
    dx_end : (B, N) dLoss/dx[T] through what comes after the end, as the dx0 of a later segment
        (see the example), or None for nothing
    noise_follows_tau : True where the noise is that of `private_noise` for these params: dtau then
        includes the change of its size with tau (Eq. 6.10); `train` sets it where tau is trained
    return_dx0 : whether to return dLoss/dx[0] of each trial as well

    Returns
    -------
    gradient : Params, dLoss/dfield for all seven fields, summed over time and trials. Where
        `forward` was given ``x0``, the states did not start from params.x0, whose gradient is 0.
    dx0 : (B, N), where ``return_dx0`` is set: the gradient of each trial's own initial state

    Raises
    ------
    ValueError
        If traj is not a Trajectory, dy, dr, dx_end or params do not fit it, or phi has no
        derivative.

    Notes
    -----
    In double precision the relative errors are some 1e-13, in single precision some 1e-6. dtau has
    fewer digits where a network is nearly at rest for most of a run: there the two sums of
    Eq. 3.13 nearly cancel. After 2000 steps of constant input with tau = 0.1 s,
    errors of 5e-4 to 2e-3 were seen in single precision.

    Examples
    --------
    A long sequence in two segments. The second starts where the first one ended, and hands the
    gradient of its initial states back:

    >>> from tau_rnn import forward, init_params, mse
    >>> rng = np.random.default_rng(0)
    >>> p, u = init_params(5, 2, 1, 0.5, rng), rng.standard_normal((40, 3, 2))
    >>> first = forward(p, u[:20], 0.1)
    >>> second = forward(p, u[20:], 0.1, x0=first.x[-1])
    >>> ones = np.ones((20, 3, 1))
    >>> later, dx0 = backward(p, second, ones, return_dx0=True)
    >>> sooner = backward(p, first, ones, dx_end=dx0)
    >>> whole = backward(p, forward(p, u, 0.1), np.ones((40, 3, 1)))
    >>> all(np.allclose(a + b, c) for a, b, c in zip(sooner, later, whole))
    True
    """
    params = check_params(params)
    phi = check_tape(params, traj)
    (T, B, _), N, n_out = traj.u.shape, len(params.b), len(params.b_out)
    dy = check_array("dy", dy, (T, B, n_out), may_be_complex=True)
    dr, dx_end = _optional("dr", dr, (T + 1, B, N)), _optional("dx_end", dx_end, (B, N))
    a = alpha(params.tau, traj.dt, traj.method)
    both = back_through(params, traj, a, phi, dy, dr, dx_end, noise_follows_tau)
    return both if return_dx0 else both[0]


def back_through(params, traj, a, phi, dy, dr, dx_end, noise_follows_tau):
    """`backward` without its checks: the gradient, and dx0; a is alpha, phi a Nonlinearity."""
    (T, B, _), N = traj.u.shape, len(params.b)
    dtype = np.result_type(traj.x, *params, dy, *(d for d in (dr, dx_end) if d is not None))
    dy = np.ascontiguousarray(dy, dtype)
    aW, leak = by_rows(a[:, np.newaxis] * params.W), np.full((B, N), 1 - a)
    inputs, sums = with_ones(traj.u, dtype), _no_sums(params, dtype)
    through_W, through_leak = np.zeros((2, B, N), dtype)
    if dx_end is not None:
        through_leak += dx_end

    # A chunk at a time, so that each sum over time is one product over all rows of a chunk. One
    # block of memory for both arrays, since the C library hands two back to the system.
    C = min(max(1, CHUNK_ROWS // B), traj.checkpoint_every or T)
    dx, slope = np.empty((2, C, B, N), dtype)
    for start, stop, x, r in chunks_backwards(params, a, traj, C):
        n, now = stop - start, slice(start, stop)
        phi.derivative(r[1:], out=slope[:n])
        # np.dot, since np.matmul is five times slower where there is only one output.
        np.dot(_rows(dy[now]), params.W_out, out=_rows(dx[:n]))
        if dr is not None:
            dx[:n] += dr[start + 1 : stop + 1]
        _adjoint(dx[:n], slope[:n], aW, leak, through_W, through_leak)
        noise = None if traj.noise is None else traj.noise[now]
        _add_sums(sums, dx[:n], dy[now], x, r, inputs[now], noise)

    if dr is not None:
        through_W += dr[0]
    dx0 = phi.derivative(r[0]) * through_W + through_leak  # Eqs. 3.4 and 3.5 without an output
    x0 = dx0.sum(axis=0) if traj.x0 is None else np.zeros(N, dtype)
    gradient = _gradient(params, traj, a, sums, noise_follows_tau)
    return gradient._replace(b_out=dy.sum(axis=(0, 1)), x0=x0), dx0


def _adjoint(dx, slope, aW, leak, through_W, through_leak) -> None:
    """The recursion, from the last step to the first, in place.

    dx[t] comes with what reaches r[t] from the outside, W_out^T dy[t-1] + dLoss/dr[t], and leaves
    as dLoss/dx[t]. through_W and through_leak hold the two ways from dx[t+1] back to time t.
    """
    dot = product_with(aW)
    for dx_t, slope_t in zip(dx[::-1], slope[::-1]):
        dx_t += through_W  # dr[t], Eq. 3.4
        dx_t *= slope_t
        dx_t += through_leak  # dx[t], Eq. 3.5
        dot(dx_t, aW, out=through_W)  # W^T (alpha dx[t]), the first term of Eq. 3.4
        np.multiply(leak, dx_t, out=through_leak)  # (1 - alpha) dx[t], the first of Eq. 3.5


class _Sums(NamedTuple):
    """The sums over time and trials in Eqs. 3.7 to 3.13, without alpha; added up in place."""

    raw: Array  # (N, N) sum of dx[t+1] r[t]
    raw_in_b: Array  # (N, n_in + 1) sum of dx[t+1] [u[t], 1]
    dW_out: Array  # (n_out, N) sum of dy[t] r[t+1]
    raw_x: Array  # (N,) sum of dx[t+1] x[t]
    raw_noise: Array  # (N,) sum of dx[t+1] noise[t]


def _no_sums(params: Params, dtype) -> _Sums:
    N, n_in = params.W_in.shape
    shapes = (N, N), (N, n_in + 1), params.W_out.shape, (N,), (N,)
    return _Sums(*(np.zeros(shape, dtype) for shape in shapes))


def _add_sums(sums: _Sums, dx, dy, x, r, inputs, noise) -> None:
    """Add n steps: dx[t+1], dy[t], x[t], inputs[t] and noise[t] of each, r from t to t + n."""
    raw, raw_in_b, dW_out, raw_x, raw_noise = sums
    dx_next, dy = _rows(dx), _rows(dy)
    raw += dx_next.T @ _rows(r[:-1])  # Eq. 3.7
    raw_in_b += dx_next.T @ _rows(inputs)  # Eq. 3.8
    dW_out += dy.T @ _rows(r[1:])  # Eq. 3.9
    raw_x += np.einsum("ti,ti->i", dx_next, _rows(x))  # Eq. 3.13
    if noise is not None:
        raw_noise += np.einsum("ti,ti->i", dx_next, _rows(noise))


def _gradient(params: Params, traj: Trajectory, a, sums: _Sums, noise_follows_tau) -> Params:
    """The gradients from the sums; those of b_out and x0 are still missing."""
    W, W_in, b, _, b_out, x0, tau = params
    raw, raw_in_b, dW_out, raw_x, raw_noise = sums
    raw_in, raw_b, rows = raw_in_b[:, :-1], raw_in_b[:, -1], a[:, np.newaxis]
    dalpha = (raw * W).sum(axis=1) + (raw_in * W_in).sum(axis=1) + raw_b * b + raw_noise - raw_x
    if noise_follows_tau:
        dalpha -= raw_noise / (2 - a)  # Eq. 6.10
    dtau = dalpha * alpha_slope(tau, a, traj.dt, traj.method)  # Eq. 3.12
    return Params(rows * raw, rows * raw_in, a * raw_b, dW_out, b_out, x0, dtau)


def tangent(
    params: ParamsLike, traj: Trajectory, dparams: ParamsLike, *, du: ArrayLike | None = None
) -> Array:
    r"""Directional derivative of the outputs: forward mode, derived by hand.

    With a dot for the derivative along the direction ``dparams``,

    .. math::

        \dot x[t+1] &= (1 - \alpha)\,\dot x[t] + \alpha\,(W \dot r[t] + \dot W r[t]
            + \dot W_{in} u[t] + \dot b) + \dot\alpha\,(c[t] - x[t]) \\
        \dot y[t] &= W_{out}\,\dot r[t+1] + \dot W_{out}\, r[t+1] + \dot b_{out},
            \qquad \dot r[t] = \phi'(x[t])\,\dot x[t]

    from the product rule, starting at xdot[0] = x0dot (0 where `forward` was given
    x0). It shares no line with `backward`, and for every dy the two must agree:
    sum(dy * tangent(v)) = sum(backward(dy) * v), to rounding.

    Parameters
    ----------
    params : Params that `forward` was given
    traj : Trajectory that `forward` returned, with all states kept
    dparams : Params, the direction v
    du : (T, B, n_in) direction of the inputs, or None for zero

    Returns
    -------
    (T, B, n_out) directional derivative of y

    Raises
    ------
    ValueError
        If a shape does not fit, a value is not finite, or the trajectory keeps only checkpoints.

    Examples
    --------
    >>> from tau_rnn import forward, init_params
    >>> rng = np.random.default_rng(0)
    >>> params = init_params(5, 2, 1, 1.0, rng)
    >>> traj = forward(params, rng.standard_normal((4, 3, 2)), 0.1)
    >>> v = Params(*(rng.standard_normal(p.shape) for p in params))
    >>> there = (traj.y * tangent(params, traj, v)).sum()
    >>> back = sum((g * d).sum() for g, d in zip(backward(params, traj, traj.y), v))
    >>> bool(np.isclose(there, back, rtol=1e-12))
    True
    """
    W, W_in, b, W_out, b_out, _, tau = params = check_params(params)
    dparams = fields_of(dparams, "dparams")
    dparams = Params(
        *(
            check_array(f"dparams.{name}", given, may_be_complex=True)
            for name, given in zip(Params._fields, dparams)
        )
    )
    v_W, v_W_in, v_b, v_W_out, v_b_out, v_x0, v_tau = dparams
    check_shapes("dparams.", dparams, "", params)
    phi = check_tape(params, traj)
    if traj.checkpoint_every is not None:
        raise ValueError("traj: tangent needs every state; call forward without checkpoint_every")
    x, r, u, noise = traj.x, traj.r, traj.u, traj.noise
    T, B, _ = u.shape
    a = alpha(tau, traj.dt, traj.method)
    v_a = alpha_slope(tau, a, traj.dt, traj.method) * v_tau
    slope = phi.derivative(r)
    du = _optional("du", du, u.shape)
    dtype = np.result_type(x, *params, *dparams, *([] if du is None else [du]))
    v_y = np.empty((T, B, len(b_out)), dtype)
    v_x = np.tile(v_x0.astype(dtype), (B, 1))
    if traj.x0 is not None:  # the trials start from states of their own
        v_x[...] = 0
    for t in range(T):
        c = r[t] @ W.T + u[t] @ W_in.T + b
        if noise is not None:
            c = c + noise[t]
        v_r = slope[t] * v_x
        v_c = v_r @ W.T + r[t] @ v_W.T + u[t] @ v_W_in.T + v_b
        if du is not None:
            v_c = v_c + du[t] @ W_in.T
        v_x = (1 - a) * v_x + a * v_c + v_a * (c - x[t])
        v_y[t] = (slope[t + 1] * v_x) @ W_out.T + r[t + 1] @ v_W_out.T + v_b_out
    return v_y


def _rows(a: Array) -> Array:
    """(steps, trials, columns) as (steps * trials, columns): one row for each step and trial."""
    return a.reshape(a.shape[0] * a.shape[1], a.shape[2])


def _optional(name: str, given, shape) -> Array | None:
    return None if given is None else check_array(name, given, shape, may_be_complex=True)
