r"""Backpropagation through time, derived by hand.

Notation: ``d<name>`` is dLoss/d<name> and has the shape of ``<name>``. The simulation (Eq. 3.1) is

    x[t+1] = (1 - alpha) * x[t] + alpha * c[t],   c[t] = W r[t] + W_in u[t] + b + noise[t]
    y[t]   = W_out r[t+1] + b_out,                r[t] = phi(x[t])

**The adjoint.** A change of x[t] reaches the loss on two ways only. One goes through the leak to
x[t+1]; the other goes through r[t], which enters both x[t+1] (by W) and y[t-1] (by W_out). The
chain rule adds them up (Eqs. 3.4 and 3.5):

    dr_j[t] = sum_i dx_i[t+1] alpha_i W_ij + sum_k dy_k[t-1] W_out_kj
    dx_j[t] = (1 - alpha_j) dx_j[t+1] + phi'(x_j[t]) dr_j[t]

starting from dx[T+1] = 0 at the end; at t = 0 there is no output y[-1], so its term is absent.
W appears transposed: forward, unit j drives unit i through W_ij; backward, unit j collects from
all units i that it drove.

**The parameters** (Eqs. 3.7 to 3.10). Every step uses the same parameters, so their gradients add
up over time t and trials (not written). From the current c in x[t+1]:

    dW_ij    = alpha_i raw_ij,      raw_ij    = sum_t dx_i[t+1] r_j[t]
    dW_in_ik = alpha_i raw_in_ik,   raw_in_ik = sum_t dx_i[t+1] u_k[t]
    db_i     = alpha_i raw_b_i,     raw_b_i   = sum_t dx_i[t+1]
    dW_out_kj = sum_t dy_k[t] r_j[t+1],  db_out_k = sum_t dy_k[t],  dx0 = dx[0]

**The time constants** (Eqs. 3.11 to 3.13). With the noise current held fixed, x[t+1] depends on
tau_i through alpha_i alone, with slope c_i[t] - x_i[t]:

    dalpha_i = sum_t dx_i[t+1] (c_i[t] - x_i[t])
             = sum_j raw_ij W_ij + sum_k raw_in_ik W_in_ik + raw_b_i b_i
               + sum_t dx_i[t+1] (noise_i[t] - x_i[t])

The second line costs almost nothing, since the sums over time are those of dW, dW_in and db. Then

    dtau_i = dalpha_i * dalpha_i/dtau_i,   dalpha_i/dtau_i = -alpha_i / tau_i              (Euler)
                                                           = -(1 - alpha_i) dt / tau_i^2   (exp.)

**Private noise that follows tau** (Eq. 6.10). `noise.private_noise` scales its current to tau, by
s = sqrt((2 - alpha) / alpha) with d ln(s)/dalpha = -1 / (alpha (2 - alpha)). The current enters
x[t+1] multiplied by alpha, so where tau is trained, dalpha_i has one more term:

    dalpha_i gains -sum_t dx_i[t+1] noise_i[t] / (2 - alpha_i)

**Cost.** One product with W per step on the way back, as on the way forth, and one product for dW:
about twice the simulation. The trajectory is the only large memory.

Reference: Werbos, Proc. IEEE 78, 1550 (1990), for the method; the derivation is written out in
tutorials/03_bptt_by_hand.md, where the equations have their numbers.
"""

from __future__ import annotations

import numpy as np

from tau_rnn.checks import check_finite
from tau_rnn.discretisation import alpha, alpha_slope
from tau_rnn.model import (
    Array,
    Params,
    Trajectory,
    _buffers,
    check_params,
    integrate,
    nonlinearity,
    with_ones,
)

# Rows (steps times trials) of one chunk: long enough for efficient products, short enough that a
# chunk stays in the cache while it is worked on.
CHUNK_ROWS = 1024


def backward(params, traj, dy, *, dr=None, noise_follows_tau=False, out=None) -> Params:
    r"""Gradient of the loss with respect to every parameter, by backpropagation through time.

    .. math::

        dr[t] &= W^\top (\alpha\, dx[t+1]) + W_{out}^\top dy[t-1] \\
        dx[t] &= (1 - \alpha)\, dx[t+1] + \phi'(x[t])\, dr[t] \\
        dW &= \sum_t (\alpha\, dx[t+1])\, r[t]^\top

    and so on for the other parameters: see the derivation at the head of this module. The noise
    current is held fixed, as if it did not depend on tau, unless ``noise_follows_tau`` is set.

    Parameters
    ----------
    params : Params that `forward` was given
    traj : Trajectory that `forward` returned
    dy : (T, B, n_out) dLoss/dy
    dr : (T+1, B, N) dLoss/dr where the loss depends on rates directly (`rate_penalty`), or None
    noise_follows_tau : True where the noise is that of `private_noise` for these params: dtau then
        includes the change of its size with tau (Eq. 6.10); `train` sets it where tau is trained
    out : a Params of an earlier call whose arrays are to be filled again

    Returns
    -------
    Params : dLoss/dfield for all seven fields, summed over time and trials

    Raises
    ------
    ValueError
        If dy, dr or params do not fit the trajectory.

    See Also
    --------
    tangent : the same derivative in the forward direction.
    """
    W, W_in, b, W_out, b_out, _, tau = params = check_params(params)
    u, noise, phi = traj.u, traj.noise, nonlinearity(traj.phi)
    (T, B, n_in), N, n_out = u.shape, len(b), len(b_out)
    _check_tape(params, traj)
    dy, dr = np.asarray(dy), None if dr is None else np.asarray(dr)
    dtype = np.result_type(traj.x, dy, *params, *([] if dr is None else [dr]))
    dy = _check_derivative("dy", dy, (T, B, n_out), dtype)
    dr = None if dr is None else _check_derivative("dr", dr, (T + 1, B, N), dtype)
    a = alpha(tau, traj.dt, traj.method)
    aW, leak = a[:, np.newaxis] * W, np.tile(1 - a, (B, 1))
    shapes = [p.shape for p in params]
    grads = Params(*_buffers("out", out, Params._fields, shapes, dtype))
    dW, dW_in, db, dW_out, db_out, dx0, dtau = grads

    # The sums over time are taken chunk by chunk, each as one product over all its rows.
    C = min(max(1, CHUNK_ROWS // B), traj.checkpoint_every or T)
    inputs = with_ones(u, dtype)
    raw, raw_in_b = np.zeros((N, N), dtype), np.zeros((N, n_in + 1), dtype)
    raw_x, raw_noise = np.zeros((2, N), dtype)  # sum_t dx[t+1] x[t] and sum_t dx[t+1] noise[t]
    dW_out[...] = 0
    # dx[k] holds dLoss/dx[start + 1 + k] and slope[k] phi'(x[start + 1 + k]); one block of memory
    # for both, since the C library hands two back to the system after every call.
    dx, slope = np.empty((2, C + 1, B, N), dtype)
    dx[0] = 0  # nothing comes after the end
    current = np.empty((B, N), dtype)
    dxs, slopes = list(dx), list(slope)  # views of the time slices, made once
    for start, stop, x, r in _chunks_backwards(params, a, traj, C):
        n = stop - start
        phi.derivative(r[1:], out=slope[:n])
        dxs[n][...] = dxs[0]  # dx[stop + 1]
        # np.dot, since np.matmul is five times slower where there is only one output.
        np.dot(_rows(dy[start:stop]), W_out, out=_rows(dx[:n]))
        if dr is not None:
            dx[:n] += dr[start + 1 : stop + 1]
        for k in reversed(range(n)):
            dx_t = dxs[k]
            dx_t += np.dot(dxs[k + 1], aW, out=current)
            dx_t *= slopes[k]
            dx_t += np.multiply(leak, dxs[k + 1], out=current)

        dx_next = _rows(dx[:n])  # dx[t+1] for t = start .. stop-1
        raw += dx_next.T @ _rows(r[:-1])
        raw_in_b += dx_next.T @ _rows(inputs[start:stop])
        dW_out += _rows(dy[start:stop]).T @ _rows(r[1:])
        raw_x += np.einsum("ti,ti->i", dx_next, _rows(x))
        if noise is not None:
            raw_noise += np.einsum("ti,ti->i", dx_next, _rows(noise[start:stop]))

    dx_0 = dxs[0] @ aW
    if dr is not None:
        dx_0 += dr[0]
    dx_0 *= phi.derivative(r[0])
    dx_0 += leak * dxs[0]
    np.sum(dx_0, axis=0, out=dx0)
    np.sum(dy, axis=(0, 1), out=db_out)

    raw_in, raw_b = raw_in_b[:, :-1], raw_in_b[:, -1]
    np.multiply(a[:, np.newaxis], raw, out=dW)
    np.multiply(a[:, np.newaxis], raw_in, out=dW_in)
    np.multiply(a, raw_b, out=db)
    dalpha = (raw * W).sum(axis=1) + (raw_in * W_in).sum(axis=1) + raw_b * b + raw_noise - raw_x
    if noise_follows_tau:
        dalpha -= raw_noise / (2 - a)
    np.multiply(dalpha, alpha_slope(tau, a, traj.dt, traj.method), out=dtau)
    return grads


def tangent(params, traj, dparams, *, du=None) -> Array:
    r"""Directional derivative of the outputs: forward mode, derived by hand.

    With a dot for the derivative along the direction ``dparams``,

    .. math::

        \dot x[t+1] &= (1 - \alpha)\,\dot x[t] + \alpha\,(W \dot r[t] + \dot W r[t]
            + \dot W_{in} u[t] + \dot b) + \dot\alpha\,(c[t] - x[t]) \\
        \dot y[t] &= W_{out}\,\dot r[t+1] + \dot W_{out}\, r[t+1] + \dot b_{out},
            \qquad \dot r[t] = \phi'(x[t])\,\dot x[t]

    from the product rule, starting at xdot[0] = x0dot. It shares no line with `backward`, and for
    every dy the two must agree: sum(dy * tangent(v)) = sum(backward(dy) * v), to rounding.

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
    """
    W, W_in, b, W_out, b_out, _, tau = params = check_params(params)
    try:
        dparams = Params(*map(np.asarray, dparams))
    except TypeError:
        fields, given = ", ".join(Params._fields), type(dparams).__name__
        raise ValueError(f"dparams: must be a Params with {fields}, got {given}") from None
    v_W, v_W_in, v_b, v_W_out, v_b_out, v_x0, v_tau = dparams
    for name, value, given in zip(Params._fields, params, dparams):
        if given.shape != value.shape:
            raise ValueError(
                f"dparams.{name}: must have the shape of {name}, {value.shape}, got {given.shape}"
            )
        check_finite(f"dparams.{name}", given)
    _check_tape(params, traj)
    if traj.checkpoint_every is not None:
        raise ValueError("traj: tangent needs every state; call forward without checkpoint_every")
    x, r, u, noise = traj.x, traj.r, traj.u, traj.noise
    T, B, _ = u.shape
    a = alpha(tau, traj.dt, traj.method)
    v_a = alpha_slope(tau, a, traj.dt, traj.method) * v_tau
    slope = nonlinearity(traj.phi).derivative(r)
    dtype = np.result_type(x, *dparams, *([] if du is None else [np.asarray(du)]))
    if du is not None:
        du = _check_derivative("du", du, u.shape, dtype)
    v_y = np.empty((T, B, len(b_out)), dtype)
    v_x = np.tile(v_x0.astype(dtype), (B, 1))
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


def _chunks_backwards(params: Params, a: Array, traj: Trajectory, steps: int):
    """(start, stop, x[start:stop], r[start:stop+1]) of each chunk of a run, the last one first.

    Where only every k-th state was kept, each stretch of k steps is simulated once more, and its
    chunks follow. A run that kept everything is one stretch.
    """
    T, every = len(traj.u), traj.checkpoint_every
    k = every or T
    x, r = traj.x, traj.r
    if every:
        x, r = np.empty((2, k + 1, *traj.x.shape[1:]), traj.x.dtype)
    for first in reversed(range(0, T, k)):
        last = min(first + k, T)
        n = last - first
        if every:
            x[0], r[0] = traj.x[first // k], traj.r[first // k]
            noise = None if traj.noise is None else traj.noise[first:last]
            phi_of = nonlinearity(traj.phi).function
            integrate(params, a, phi_of, traj.u[first:last], noise, x[: n + 1], r[: n + 1])
        for start in reversed(range(0, n, steps)):
            stop = min(start + steps, n)
            yield first + start, first + stop, x[start:stop], r[start : stop + 1]


def _check_tape(params: Params, traj: Trajectory) -> None:
    T, B, n_in = traj.u.shape
    k = traj.checkpoint_every
    shape = (T + 1 if k is None else -(-T // k), B, len(params.b))
    if traj.x.shape != shape or traj.r.shape != shape or n_in != params.W_in.shape[1]:
        raise ValueError(
            f"traj: x and r of shape {traj.x.shape} and u of shape {traj.u.shape} do not fit "
            f"params with N = {len(params.b)} and n_in = {params.W_in.shape[1]}; "
            "give the params that forward was called with"
        )


def _check_derivative(name: str, given, shape, dtype) -> Array:
    given = np.asarray(given)
    if given.shape != shape:
        raise ValueError(f"{name}: must have shape {shape}, got {given.shape}")
    check_finite(name, given)
    return np.ascontiguousarray(given, dtype)
