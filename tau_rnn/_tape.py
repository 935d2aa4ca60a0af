"""The trajectory as a tape: whether it fits the params, and its steps, the last ones first."""

from __future__ import annotations

import numpy as np

from tau_rnn.checks import check_integer
from tau_rnn.model import Array, Params, Trajectory, integrate
from tau_rnn.nonlinearities import Nonlinearity, differentiable, nonlinearity

__all__: list[str] = []


def check_tape(params: Params, traj: Trajectory) -> Nonlinearity:
    """The trajectory's phi; a ValueError unless it is a Trajectory, and of these params."""
    if not isinstance(traj, Trajectory):
        raise ValueError(
            f"traj: must be the Trajectory that forward returned, got {type(traj).__name__}"
        )
    k, (N, n_in) = traj.checkpoint_every, params.W_in.shape
    if k is not None:
        check_integer("traj.checkpoint_every", k, 1)
    T, B = np.shape(traj.u)[:2]
    stored = (T + 1 if k is None else -(-T // k), B, N)
    shapes = {"x": stored, "r": stored, "u": (T, B, n_in)}
    if traj.noise is not None:
        shapes["noise"] = (T, B, N)
    for name, shape in shapes.items():
        if np.shape(getattr(traj, name)) != shape:
            raise ValueError(
                f"traj: {name} must have shape {shape} for params with N = {N} and n_in = {n_in}, "
                f"got {np.shape(getattr(traj, name))}; give the params that forward was called with"
            )
    return differentiable(traj.phi, N, traj.x.dtype)


def chunks_backwards(params: Params, a: Array, traj: Trajectory, steps: int):
    """(start, stop, x[start:stop], r[start:stop+1]) of each chunk of a run, the last one first.

    Where only every k-th state was kept, each stretch of k steps is simulated once more, and its
    chunks follow. A run that kept everything is one stretch.
    """
    T, every = len(traj.u), traj.checkpoint_every
    k = every or T
    x, r = traj.x, traj.r
    if every:
        x, r = np.empty((2, k + 1, *traj.x.shape[1:]), traj.x.dtype)
    phi_of = nonlinearity(traj.phi).function
    for first in reversed(range(0, T, k)):
        last = min(first + k, T)
        n = last - first
        if every:
            x[0], r[0] = traj.x[first // k], traj.r[first // k]
            noise = None if traj.noise is None else traj.noise[first:last]
            integrate(params, a, phi_of, traj.u[first:last], noise, x, r)
        for start in reversed(range(0, n, steps)):
            stop = min(start + steps, n)
            yield first + start, first + stop, x[start:stop], r[start : stop + 1]
