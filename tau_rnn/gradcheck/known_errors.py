r"""The recipe of backpropagation through time, and the classical slips as edits to it.

The recipe is a table: how each step size, each term of the adjoint and each parameter's gradient
is made. A slip replaces one entry or two, so that any slip, and any two, can be *carried out*, and
the marker (`diagnosis`) can say which of them reproduces a given wrong gradient to rounding.

    dx[t] = recurrent[t] + leak[t] + readout[t],    t = T .. 0,    dx[T+1] = 0     (Eqs. 3.4, 3.5)
    dfield = sum of terms over time and trials                                      (3.7 to 3.12)

The derivation is at the head of `bptt`. Written apart from it and for clarity alone: with no slip
it is one more independent implementation of the gradient, and a test holds it to that.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from tau_rnn.discretisation import alpha
from tau_rnn.nonlinearities import nonlinearity

FIELDS = ("W", "W_in", "b", "W_out", "b_out", "x0", "tau")


class Slip(NamedTuple):
    """One mistake: what it is in words, and the entries of the recipe that it replaces."""

    words: str
    edits: dict[str, Callable]


def outer(post, pre):
    """Terms (T, B, to, from) of a weight's gradient."""
    return post[..., :, np.newaxis] * pre[..., np.newaxis, :]


def current_minus_state(s, recurrent=1, external=1, bias=1, noise=1, leak=1):
    """c[t] - x[t], with a switch for each of its terms; (T, B, N)."""
    c = recurrent * (s.r[:-1] @ s.W.T) + external * (s.u @ s.W_in.T) + bias * s.b
    return c + noise * s.noise - leak * s.x[:-1]


def to_tau(s, terms, slope=None):
    """Terms (T, B, N) of dtau: dx[t+1] (c[t] - x[t]) dalpha/dtau, or with another slope."""
    return s.dx[1:-1] * terms * (s.da if slope is None else slope)


def shifted(a, k):
    """a[t + k], with the ends repeated: what a loop that is off by k steps would read."""
    return a[np.clip(np.arange(len(a)) + k, 0, len(a) - 1)]


def zero(s, t):
    """A term of the adjoint that is missing."""
    return np.zeros_like(s.dx[t])


def readout(s, t, k=0, slope=None):
    """phi'(x[t]) (W_out^T dy[t-1+k]), zero where there is no such output."""
    if not 0 <= t - 1 + k < len(s.dy) or t == 0 >= k:
        return zero(s, t)
    return (s.slope[t] if slope is None else slope) * (s.dy[t - 1 + k] @ s.W_out)


RECIPE: dict[str, Callable] = {
    "alpha": lambda s: alpha(s.tau, s.dt, s.method),
    "slope": lambda s: s.phi.derivative(s.r),
    "recurrent": lambda s, t: s.slope[t] * ((s.a * s.dx[t + 1]) @ s.W),
    "leak": lambda s, t: (1 - s.a) * s.dx[t + 1],
    "readout": readout,
    "W": lambda s: outer(s.a * s.dx[1:-1], s.r[:-1]),
    "W_in": lambda s: outer(s.a * s.dx[1:-1], s.u),
    "b": lambda s: s.a * s.dx[1:-1],
    "W_out": lambda s: outer(s.dy, s.r[1:]),
    "b_out": lambda s: s.dy,
    "x0": lambda s: s.dx[:1],
    "tau": lambda s: to_tau(s, current_minus_state(s)),
}

# Slips in what all gradients share: step sizes, slopes, and the adjoint.
SHARED = (
    Slip(
        "W is not transposed: unit j collects from all units i that it drives, "
        "sum_i alpha_i dx_i[t+1] W_ij",
        {"recurrent": lambda s, t: s.slope[t] * ((s.a * s.dx[t + 1]) @ s.W.T)},
    ),
    Slip(
        "the leak term (1 - alpha) dx[t+1] is missing",
        {"leak": zero},
    ),
    Slip(
        "the factor alpha is missing in the recurrent term",
        {"recurrent": lambda s, t: s.slope[t] * (s.dx[t + 1] @ s.W)},
    ),
    Slip(
        "the factor alpha is doubled (alpha^2) in the recurrent term",
        {"recurrent": lambda s, t: s.slope[t] * ((s.a**2 * s.dx[t + 1]) @ s.W)},
    ),
    Slip(
        "alpha is multiplied after W^T instead of before it: it must be alpha_i of the unit that "
        "is driven, not alpha_j of the unit that drives (the same only if all tau are equal)",
        {"recurrent": lambda s, t: s.slope[t] * s.a * (s.dx[t + 1] @ s.W)},
    ),
    Slip(
        "phi' of the recurrent term is taken at the wrong time, t+1 instead of t",
        {"recurrent": lambda s, t: shifted(s.slope, 1)[t] * ((s.a * s.dx[t + 1]) @ s.W)},
    ),
    Slip(
        "phi' of the recurrent term is taken at the wrong time, t-1 instead of t",
        {"recurrent": lambda s, t: shifted(s.slope, -1)[t] * ((s.a * s.dx[t + 1]) @ s.W)},
    ),
    Slip(
        "phi' is missing in the recurrent term",
        {"recurrent": lambda s, t: (s.a * s.dx[t + 1]) @ s.W},
    ),
    Slip(
        "the recurrent term, through W, is missing",
        {"recurrent": zero},
    ),
    Slip(
        "the recurrent term has the wrong sign",
        {"recurrent": lambda s, t: -s.slope[t] * ((s.a * s.dx[t + 1]) @ s.W)},
    ),
    Slip(
        "nothing is passed back from dx[t+1] to dx[t]: neither the leak nor the recurrent term",
        {"recurrent": zero, "leak": zero},
    ),
    Slip(
        "the leak term has alpha where 1 - alpha belongs",
        {"leak": lambda s, t: s.a * s.dx[t + 1]},
    ),
    Slip(
        "the leak term has 1 where 1 - alpha belongs",
        {"leak": lambda s, t: s.dx[t + 1]},
    ),
    Slip(
        "the leak term is multiplied by phi': the leak acts on x, not on phi(x)",
        {"leak": lambda s, t: s.slope[t] * (1 - s.a) * s.dx[t + 1]},
    ),
    Slip(
        "the readout is shifted by one step: dy[t] enters dx[t], but y[t] reads x[t+1]",
        {"readout": lambda s, t: readout(s, t, 1)},
    ),
    Slip(
        "the readout is shifted by one step: dy[t] enters dx[t] (t > 0), but y[t] reads x[t+1]",
        {"readout": lambda s, t: zero(s, t) if t == 0 else readout(s, t, 1)},
    ),
    Slip(
        "the readout is shifted by one step: dy[t-2] enters dx[t], but y[t-1] reads x[t]",
        {"readout": lambda s, t: readout(s, t, -1)},
    ),
    Slip(
        "the readout is shifted by one step, and wraps around at the start (dy[-1] is the last "
        "entry): dy[t-2] enters dx[t], but y[t-1] reads x[t]",
        {"readout": lambda s, t: zero(s, t) if t == 0 else s.slope[t] * (s.dy[t - 2] @ s.W_out)},
    ),
    Slip(
        "an output y[-1] that does not exist is read at t = 0 (dy[-1] is the last entry)",
        {"readout": lambda s, t: s.slope[t] * (s.dy[t - 1] @ s.W_out)},
    ),
    Slip(
        "phi' is missing where the readout enters",
        {"readout": lambda s, t: readout(s, t, slope=1)},
    ),
    Slip(
        "phi' is taken at the wrong time where the readout enters, t-1 instead of t",
        {"readout": lambda s, t: readout(s, t, slope=shifted(s.slope, -1)[t])},
    ),
    Slip(
        "the readout enters at the last step alone",
        {"readout": lambda s, t: readout(s, t) if t == len(s.dy) else zero(s, t)},
    ),
    Slip(
        "the last step is left out: dx[T] is not phi'(x[T]) W_out^T dy[T-1]",
        {"readout": lambda s, t: zero(s, t) if t == len(s.dy) else readout(s, t)},
    ),
    Slip(
        "phi' is missing everywhere",
        {"slope": lambda s: np.ones_like(s.r)},
    ),
    Slip(
        "phi' is taken at the wrong time everywhere, t+1 instead of t",
        {"slope": lambda s: shifted(s.phi.derivative(s.r), 1)},
    ),
    Slip(
        "phi' is taken at the wrong time everywhere, t-1 instead of t",
        {"slope": lambda s: shifted(s.phi.derivative(s.r), -1)},
    ),
    Slip(
        "phi', a function of the rate r, is given the state x",
        {"slope": lambda s: s.phi.derivative(s.x)},
    ),
    Slip(
        "alpha is dt/tau (Euler), but the method is exponential: 1 - exp(-dt/tau)",
        {"alpha": lambda s: s.dt / s.tau},
    ),
)

NO_ALPHA, TWICE_ALPHA = "the factor alpha is missing", "the factor alpha is doubled (alpha^2)"
EARLY = "dx[t] is used where dx[t+1] belongs"

# Slips in the formula of one parameter, given the adjoint.
OWN: dict[str, tuple[Slip, ...]] = {
    "W": (
        Slip(NO_ALPHA, {"W": lambda s: outer(s.dx[1:-1], s.r[:-1])}),
        Slip(TWICE_ALPHA, {"W": lambda s: outer(s.a**2 * s.dx[1:-1], s.r[:-1])}),
        Slip("r[t+1] is used where r[t] belongs",
             {"W": lambda s: outer(s.a * s.dx[1:-1], s.r[1:])}),
        Slip("the state x is used where the rate r belongs",
             {"W": lambda s: outer(s.a * s.dx[1:-1], s.x[:-1])}),
        Slip("the result is transposed: W_ij is the weight from j to i",
             {"W": lambda s: outer(s.r[:-1], s.a * s.dx[1:-1])}),
        Slip("alpha is that of unit j, where the weight comes from, not of i, where it goes to",
             {"W": lambda s: outer(s.dx[1:-1], s.a * s.r[:-1])}),
        Slip(EARLY, {"W": lambda s: outer(s.a * s.dx[:-2], s.r[:-1])}),
    ),
    "W_in": (
        Slip(NO_ALPHA, {"W_in": lambda s: outer(s.dx[1:-1], s.u)}),
        Slip(TWICE_ALPHA, {"W_in": lambda s: outer(s.a**2 * s.dx[1:-1], s.u)}),
        Slip("u[t-1] is used where u[t] belongs, and wraps around at the start",
             {"W_in": lambda s: outer(s.a * s.dx[1:-1], np.roll(s.u, 1, axis=0))}),
        Slip("u[t+1] is used where u[t] belongs",
             {"W_in": lambda s: outer(s.a * s.dx[1:-2], s.u[1:])}),
        Slip(EARLY, {"W_in": lambda s: outer(s.a * s.dx[:-2], s.u)}),
    ),
    "b": (
        Slip(NO_ALPHA, {"b": lambda s: s.dx[1:-1]}),
        Slip(TWICE_ALPHA, {"b": lambda s: s.a**2 * s.dx[1:-1]}),
        Slip(EARLY, {"b": lambda s: s.a * s.dx[:-2]}),
        Slip("it is summed over units as well as over time and trials",
             {"b": lambda s: np.ones_like(s.b) * (s.a * s.dx[1:-1]).sum(-1, keepdims=True)}),
        Slip("it is averaged over units",
             {"b": lambda s: np.ones_like(s.b) * (s.a * s.dx[1:-1]).mean(-1, keepdims=True)}),
    ),
    "W_out": (
        Slip("r[t] is used where r[t+1] belongs: y[t] reads the state after the step (the readout "
             "is shifted by one step)", {"W_out": lambda s: outer(s.dy, s.r[:-1])}),
        Slip("the state x is used where the rate r belongs",
             {"W_out": lambda s: outer(s.dy, s.x[1:])}),
        Slip("a factor phi' has slipped in",
             {"W_out": lambda s: outer(s.dy, s.slope[1:] * s.r[1:])}),
    ),
    "b_out": (
        Slip("it is summed over outputs as well as over time and trials",
             {"b_out": lambda s: np.ones_like(s.dy) * s.dy.sum(-1, keepdims=True)}),
        Slip("it is averaged over outputs",
             {"b_out": lambda s: np.ones_like(s.dy) * s.dy.mean(-1, keepdims=True)}),
    ),
    "x0": (
        Slip("it stops one step early: it is dx[1], not dx[0]", {"x0": lambda s: s.dx[1:2]}),
        Slip("it stops one step early: it is what dx[2] passes back to dx[1], not dx[0]",
             {"x0": lambda s: s.dx[1:2] - readout(s, 1)}),
        Slip("it is averaged over time steps: there is only one dx[0]",
             {"x0": lambda s: s.dx[:1] / len(s.dy)}),
        Slip("a factor alpha has slipped in", {"x0": lambda s: s.a * s.dx[:1]}),
        Slip("a factor phi' has slipped in: x0 is a state, not a rate",
             {"x0": lambda s: s.slope[:1] * s.dx[:1]}),
    ),
    "tau": (
        Slip("the factor 1/tau of dalpha/dtau is missing",
             {"tau": lambda s: to_tau(s, current_minus_state(s), s.da * s.tau)}),
        Slip("the factor dalpha/dtau is missing: this is the gradient of alpha",
             {"tau": lambda s: to_tau(s, current_minus_state(s), 1)}),
        Slip("dalpha/dtau is that of Euler, -alpha/tau, but the method is exponential",
             {"tau": lambda s: to_tau(s, current_minus_state(s), -s.a / s.tau)}),
        Slip("dalpha/dtau is that of Euler, -dt/tau^2, but the method is exponential",
             {"tau": lambda s: to_tau(s, current_minus_state(s), -s.dt / s.tau**2)}),
        Slip("dalpha/dtau is divided by tau once too often",
             {"tau": lambda s: to_tau(s, current_minus_state(s), s.da / s.tau)}),
        Slip("the leak is missing: it needs c[t] - x[t], not the current c[t] alone",
             {"tau": lambda s: to_tau(s, current_minus_state(s, leak=0))}),
        Slip("the noise is missing in the current c[t]",
             {"tau": lambda s: to_tau(s, current_minus_state(s, noise=0))}),
        Slip("the bias is missing in the current c[t]",
             {"tau": lambda s: to_tau(s, current_minus_state(s, bias=0))}),
        Slip("the inputs are missing in the current c[t]",
             {"tau": lambda s: to_tau(s, current_minus_state(s, external=0))}),
        Slip("the recurrent input is missing in the current c[t]",
             {"tau": lambda s: to_tau(s, current_minus_state(s, recurrent=0))}),
        Slip("x[t+1] is used where x[t] belongs in c[t] - x[t]",
             {"tau": lambda s: to_tau(s, current_minus_state(s) + s.x[:-1] - s.x[1:])}),
        Slip("x[t+1] - x[t] is used for c[t] - x[t]: it is alpha times that",
             {"tau": lambda s: to_tau(s, s.x[1:] - s.x[:-1])}),
    ),
}  # fmt: skip

# What can go wrong with any gradient when its terms (T, B, ...) are added up.
SUMS: tuple[tuple[str, Callable], ...] = (
    ("it is zero: is it computed, and returned?", lambda terms: 0 * terms.sum((0, 1))),
    ("it has the wrong sign", lambda terms: -terms.sum((0, 1))),
    ("it is averaged over the batch; dy already holds whatever mean the loss takes, so trials "
     "are summed", lambda terms: terms.mean(1).sum(0)),
    ("it is too large by the number of trials: the sum over the batch is taken where dy already "
     "holds it", lambda terms: terms.sum((0, 1)) * terms.shape[1]),
    ("it is averaged over time where time steps are summed", lambda terms: terms.mean(0).sum(0)),
    ("it is averaged over time and trials where both are summed", lambda terms: terms.mean((0, 1))),
    ("it is twice the right one", lambda terms: 2 * terms.sum((0, 1))),
    ("it is half the right one", lambda terms: terms.sum((0, 1)) / 2),
    ("it is overwritten at each step instead of added up (= for +=)",
     lambda terms: terms[0].sum(0)),
    ("only the first trial counts", lambda terms: terms[:, 0].sum(0)),
    ("only the last trial counts", lambda terms: terms[:, -1].sum(0)),
    ("the last step is left out of the sum over time", lambda terms: terms[:-1].sum((0, 1))),
    ("the first step is left out of the sum over time", lambda terms: terms[1:].sum((0, 1))),
)  # fmt: skip


def scene(params, traj, dy, recipe=RECIPE) -> SimpleNamespace:
    """Everything the formulas read, by the names of the derivation, with the adjoint solved."""
    s = SimpleNamespace(**dict(zip(FIELDS, params)))
    s.x, s.r, s.u, s.dt, s.method, s.dy = traj.x, traj.r, traj.u, traj.dt, traj.method, dy
    s.noise = 0 if traj.noise is None else traj.noise
    s.phi = nonlinearity(traj.phi)
    s.a, s.slope = recipe["alpha"](s), recipe["slope"](s)
    # As a reader writes it, with the alpha that is in use.
    s.da = -s.a / s.tau if s.method == "euler" else -(1 - s.a) * s.dt / s.tau**2
    s.dx = np.zeros((len(dy) + 2, *s.x.shape[1:]))
    for t in reversed(range(len(dy) + 1)):
        s.dx[t] = sum(recipe[term](s, t) for term in ("recurrent", "leak", "readout"))
    return s


def recipe_with(slips) -> dict[str, Callable]:
    """The recipe with these slips made."""
    return RECIPE | {name: edit for slip in slips for name, edit in slip.edits.items()}


def gradient(params, traj, dy, slips=()) -> dict[str, np.ndarray]:
    """dLoss/dfield for every field, right if there are no slips."""
    recipe = recipe_with(slips)
    s = scene(params, traj, dy, recipe)
    return {name: recipe[name](s).sum((0, 1)) for name in FIELDS}
