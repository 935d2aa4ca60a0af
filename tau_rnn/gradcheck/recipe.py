"""The gradient as a recipe, one function for each part of its derivation.

    dr[t] = W^T (alpha dx[t+1]) + W_out^T dy[t-1]                                      (Eq. 3.4)
    dx[t] = (1 - alpha) dx[t+1] + phi'(x[t]) dr[t],    t = T .. 0,    dx[T+1] = 0      (Eq. 3.5)
    dfield = sum of terms over time and trials                                  (Eqs. 3.7 to 3.12)

A slip is an edit of the recipe, several slips are several edits, and any of them can be carried out
and compared with a gradient. The derivation is at the head of `bptt`. Written apart from it and for
clarity alone: with no edit it is one more independent implementation of the gradient, and a test
holds it to that.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from tau_rnn.discretisation import alpha
from tau_rnn.model import Params
from tau_rnn.nonlinearities import nonlinearity

__all__: list[str] = []

FIELDS = Params._fields
ADJOINT_FIELDS = ("W", "W_in", "b", "x0", "tau")  # those whose gradient holds the adjoint

#: The equations that a report cites: number -> the equation as text; all are in chapter 3.
EQUATIONS = {
    "3.4": "dr_j[t] = sum_i W_ij alpha_i dx_i[t+1] + sum_k W_out_kj dy_k[t-1]",
    "3.5": "dx_j[t] = (1 - alpha_j) dx_j[t+1] + phi'(x_j[t]) dr_j[t],  dx[T+1] = 0",
    "3.7": "dW_ij = sum_t alpha_i dx_i[t+1] r_j[t]",
    "3.8": "dW_in_ik = sum_t alpha_i dx_i[t+1] u_k[t],  db_i = sum_t alpha_i dx_i[t+1]",
    "3.9": "dW_out_kj = sum_t dy_k[t] r_j[t+1],  db_out_k = sum_t dy_k[t]",
    "3.10": "dx0_i = dx_i[0]",
    "3.11": "dalpha_i = sum_t dx_i[t+1] (c_i[t] - x_i[t]),  c = W r + W_in u + b + noise",
    "3.12": "dtau_i = dalpha_i dalpha_i/dtau_i,  dalpha/dtau = -alpha/tau (Euler) or "
    "-(1 - alpha) dt/tau^2 (exponential)",
}
#: The equation of each gradient's own formula.
EQUATION_OF = {
    "W": "3.7", "W_in": "3.8", "b": "3.8", "W_out": "3.9", "b_out": "3.9", "x0": "3.10",
    "tau": "3.11",
}  # fmt: skip


class Run(SimpleNamespace):
    """What the formulas read, by the names of the derivation.

    The fields of Params; x, r, u, noise, dt, method and dy of the run; phi, a Nonlinearity; the
    recipe, and what ``_ONCE`` names of it. The adjoint is dx[t] for t = 0 .. T and zero after the
    end; dr is it where phi' has not been applied, and `passed` what dx[t+1] passes back, that is
    dx without what the output puts in: all (T+3, B, N).
    """


def shifted(a, k, ends="repeat"):
    """a[t + k]: where there is no such entry the end is repeated, wrapped around, or zero."""
    at = np.arange(len(a)) + k
    if ends == "wrap":
        return a[at % len(a)]
    inside = (at >= 0) & (at < len(a)) if ends == "zero" else np.ones(len(a), bool)
    return a[np.clip(at, 0, len(a) - 1)] * inside.reshape(-1, *[1] * (a.ndim - 1))


def output(run, t):
    """dy[t], zero where there is no such output."""
    return run.dy[t] if 0 <= t < len(run.dy) else np.zeros_like(run.dy[0])


def _parts(run, *names):
    """The parts of the recipe that do not change with the time of the adjoint."""
    return [run.recipe[name](run) for name in names]


def _terms(field):
    """Terms (T, B, ...) of a gradient: gain times post, and of a weight times pre."""

    def terms(run):
        gain, post = _parts(run, f"{field}.gain", f"{field}.post")
        product = gain * post
        if f"{field}.pre" in run.recipe:  # (T, B, to, from)
            (pre,) = _parts(run, f"{field}.pre")
            product = product[..., np.newaxis] * pre[..., np.newaxis, :]
        return run.recipe[f"{field}.turn"](product)

    return terms


def _tau_terms(run):
    """Terms (T, B, N) of dtau: dx[t+1] (c[t] - x[t]) dalpha/dtau."""
    gain, post, state, slope, scale = _parts(
        run, "tau.gain", "tau.post", "tau.state", "tau.slope", "tau.scale"
    )
    currents = _parts(run, "tau.recurrent", "tau.inputs", "tau.bias", "tau.noise")
    c = sum(currents, start=np.zeros_like(run.x[:-1]))
    return gain * post * (run.recipe["tau.shift"](c) - state) * slope * scale


def _same(a):
    """What leaves the terms as they are."""
    return a


def one(run):
    """No factor."""
    return 1.0


def _adjoint(run):
    """dx[t+1] for t = 0 .. T-1."""
    return run.dx[1:-2]


RECIPE: dict[str, Callable] = {
    "alpha": lambda run: alpha(run.tau, run.dt, run.method),
    "alpha_slope": lambda run: (
        -run.alpha / run.tau if run.method == "euler" else -(1 - run.alpha) * run.dt / run.tau**2
    ),
    # The adjoint: what the units that are driven send back, through which weights, times what.
    "driven": lambda run, t: run.alpha * run.dx[t + 1],
    "back": lambda run: run.W,
    "driver": one,
    "slope": lambda run: run.phi.derivative(run.r),
    "slope_recurrent": lambda run: run.slope,
    "leak": lambda run, t: (1 - run.alpha) * run.dx[t + 1],
    "output": lambda run, t: output(run, t - 1),
    "slope_readout": lambda run: run.slope,
    # The gradients, each from its parts.
    "W": _terms("W"), "W.gain": lambda run: run.alpha, "W.post": _adjoint,
    "W.pre": lambda run: run.r[:-1], "W.turn": _same,
    "W_in": _terms("W_in"), "W_in.gain": lambda run: run.alpha, "W_in.post": _adjoint,
    "W_in.pre": lambda run: run.u, "W_in.turn": _same,
    "b": _terms("b"), "b.gain": lambda run: run.alpha, "b.post": _adjoint, "b.turn": _same,
    "W_out": _terms("W_out"), "W_out.gain": one, "W_out.post": lambda run: run.dy,
    "W_out.pre": lambda run: run.r[1:], "W_out.turn": _same,
    "b_out": _terms("b_out"), "b_out.gain": one, "b_out.post": lambda run: run.dy,
    "b_out.turn": _same,
    "x0": _terms("x0"), "x0.gain": one, "x0.post": lambda run: run.dx[:1], "x0.turn": _same,
    "tau": _tau_terms, "tau.gain": one, "tau.post": _adjoint, "tau.state": lambda run: run.x[:-1],
    "tau.slope": lambda run: run.alpha_slope, "tau.scale": one, "tau.shift": _same,
    "tau.recurrent": lambda run: run.r[:-1] @ run.W.T, "tau.inputs": lambda run: run.u @ run.W_in.T,
    "tau.bias": lambda run: run.b, "tau.noise": lambda run: run.noise,
}  # fmt: skip


#: The entries that are evaluated once, in this order.
_ONCE = ("alpha", "alpha_slope", "slope", "back", "driver", "slope_recurrent", "slope_readout")


def run_of(params, traj, dy, recipe=RECIPE) -> Run:
    """The run of a network, its adjoint solved by a recipe."""
    run = Run(**dict(zip(FIELDS, params)), recipe=recipe)
    run.x, run.r, run.u, run.dt, run.method = traj.x, traj.r, traj.u, traj.dt, traj.method
    run.dy, run.phi = dy, nonlinearity(traj.phi)
    run.noise = np.zeros_like(run.x[:-1]) if traj.noise is None else traj.noise
    for name in _ONCE:
        setattr(run, name, recipe[name](run))
    run.dx, run.dr, run.passed = np.zeros((3, len(dy) + 3, *run.x.shape[1:]))
    for t in reversed(range(len(dy) + 1)):
        run.dr[t], run.passed[t], run.dx[t] = step_back(run, t)
    return run


def step_back(run, t):
    """dr[t], what dx[t+1] passes back, and dx[t], from dx[t+1]."""
    recurrent = run.driver * (run.recipe["driven"](run, t) @ run.back)
    readout = run.recipe["output"](run, t) @ run.W_out
    passed = run.recipe["leak"](run, t) + run.slope_recurrent[t] * recurrent
    return recurrent + readout, passed, passed + run.slope_readout[t] * readout


def gradient(params, traj, dy, edits: dict[str, Callable] | None = None) -> dict:
    """dLoss/dfield for every field, right if the recipe is not edited."""
    recipe = RECIPE | (edits or {})
    run = run_of(params, traj, dy, recipe)
    return {name: recipe[name](run).sum((0, 1)) for name in FIELDS}
