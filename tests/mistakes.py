"""A catalogue of mistakes: `tau_rnn.bptt.plain_backward`, and the one-line slips that spoil it.

Each mistake is an edit of its source, so that it can be read as a diff, run, and written to a file
for the command line. It shares no line with `tau_rnn.gradcheck.known_errors`.
"""

from __future__ import annotations

import inspect
from typing import NamedTuple

from tau_rnn.bptt import plain_backward
from tau_rnn.model import NONLINEARITIES, Params

_LINES = inspect.getsource(plain_backward).splitlines(keepends=True)
_BODY = next(k for k, line in enumerate(_LINES) if k > 1 and line.strip() == '"""') + 1
#: `plain_backward` without its docstring, as a reader would hand it in.
RIGHT = (
    "import numpy as np\n\nfrom tau_rnn.model import Params, nonlinearity\n\n\n"
    "def backward(params, traj, dy):\n" + "".join(_LINES[_BODY:])
)

CURVED = ("tanh", "softplus", "sigmoid")  # phi' is a number of its own at every state
KINKED = (*CURVED, "relu")  # phi' is not the same everywhere
EVERY = tuple(NONLINEARITIES)
ADJOINT = ("W", "W_in", "b", "x0", "tau")
METHODS = ("euler", "exponential")


class Mistake(NamedTuple):
    """An edit of RIGHT, and what a marker must say of it."""

    old: str
    new: str
    wrong: tuple[str, ...]  # the fields that come out wrong
    says: str  # what the diagnosis of each of them must contain: one of these, with | between
    departure: int | None = None  # where the adjoint departs, counted back from the end
    phis: tuple[str, ...] = EVERY  # where the slip matters
    methods: tuple[str, ...] = METHODS
    names: tuple[str, ...] = ()  # the slips it consists of: "adjoint: name" or "field: name"

    @property
    def source(self) -> str:
        assert RIGHT.count(self.old) == 1, self.old
        return RIGHT.replace(self.old, self.new)

    def backward(self):
        return compiled(self.source)


def compiled(source: str):
    namespace: dict = {}
    exec(compile(source, "reader.py", "exec"), namespace)
    return namespace["backward"]


def everywhere(name: str) -> tuple[str, ...]:
    """A slip in adding up that all seven fields have."""
    return tuple(f"{field}: {name}" for field in Params._fields)


MISTAKES = {
    "W untransposed": Mistake(
        "(dc @ W)",
        "(dc @ W.T)",
        ADJOINT,
        "W is not transposed",
        1,
        names=("adjoint: W untransposed",),
    ),
    "leak missing": Mistake(
        "(1 - alpha) * dx + slope[t]",
        "slope[t]",
        ADJOINT,
        "leak term (1 - alpha) dx[t+1]",
        1,
        names=("adjoint: leak missing",),
    ),
    "leak through phi": Mistake(
        "(1 - alpha) * dx + slope[t] * (dc @ W)",
        "slope[t] * ((1 - alpha) * dx + dc @ W)",
        ADJOINT,
        "leak term is multiplied by phi'",
        1,
        KINKED,
        names=("adjoint: leak through phi",),
    ),
    "leak is alpha": Mistake(
        "(1 - alpha) * dx",
        "alpha * dx",
        ADJOINT,
        "alpha where 1 - alpha belongs",
        1,
        names=("adjoint: leak alpha",),
    ),
    "alpha missing in the adjoint": Mistake(
        "(dc @ W)",
        "(dx @ W)",
        ADJOINT,
        "alpha is missing in the recurrent term",
        1,
        names=("adjoint: recurrent alpha missing",),
    ),
    "alpha doubled in the adjoint": Mistake(
        "(dc @ W)",
        "((alpha * dc) @ W)",
        ADJOINT,
        "alpha is doubled (alpha^2) in the recurrent",
        1,
        names=("adjoint: recurrent alpha doubled",),
    ),
    "alpha after W": Mistake(
        "(dc @ W)",
        "alpha * (dx @ W)",
        ADJOINT,
        "alpha is multiplied after W^T",
        1,
        names=("adjoint: alpha after W",),
    ),
    "alpha missing in dW": Mistake(
        "dW += dc.T", "dW += dx.T", ("W",), "alpha is missing", names=("W: alpha missing",)
    ),
    "alpha missing in db": Mistake(
        "db += dc", "db += dx", ("b",), "alpha is missing", names=("b: alpha missing",)
    ),
    "alpha doubled in dW_in": Mistake(
        "dW_in += dc.T",
        "dW_in += (alpha * dc).T",
        ("W_in",),
        "alpha is doubled",
        names=("W_in: alpha doubled",),
    ),
    "phi' at t+1": Mistake(
        "slope[t] * (dc",
        "slope[t + 1] * (dc",
        ADJOINT,
        "wrong time, t+1 instead of t",
        1,
        KINKED,
        names=("adjoint: phi' at t+1 in the recurrent term",),
    ),
    "phi' missing": Mistake(
        "slope[t] * (dc @ W)",
        "dc @ W",
        ADJOINT,
        "phi' is missing in the recurrent term",
        1,
        KINKED,
        names=("adjoint: phi' missing in the recurrent term",),
    ),
    "phi' missing in the readout": Mistake(
        "slope[t + 1] * (dy",
        "(dy",
        ADJOINT,
        "phi' is missing where the readout enters",
        0,
        KINKED,
        names=("adjoint: phi' missing where the readout enters",),
    ),
    "phi' of x": Mistake(
        ".derivative(r)",
        ".derivative(x)",
        ADJOINT,
        "is given the state x",
        0,
        CURVED,
        names=("adjoint: phi' of x everywhere",),
    ),
    "readout one step late": Mistake(
        "slope[t + 1] * (dy[t] @ W_out)",
        "slope[t + 1] * (dy[t - 1] @ W_out)",
        ADJOINT,
        "readout is shifted by one step",
        0,
        names=("adjoint: readout wraps",),
    ),
    "readout one step early": Mistake(
        "slope[t + 1] * (dy[t] @ W_out)",
        "slope[t + 1] * (dy[t + 1] @ W_out if t + 1 < T else 0)",
        ADJOINT,
        "readout is shifted by one step",
        0,
        names=("adjoint: readout late but at 0",),
    ),
    "readout of the old rates": Mistake(
        "dy[t].T @ r[t + 1]",
        "dy[t].T @ r[t]",
        ("W_out",),
        "readout is shifted by one step",
        names=("W_out: r[t]",),
    ),
    "rates one step late in dW": Mistake(
        "dW += dc.T @ r[t]",
        "dW += dc.T @ r[t + 1]",
        ("W",),
        "r[t+1] is used where r[t] belongs",
        names=("W: r[t+1]",),
    ),
    "dW transposed": Mistake(
        "dW += dc.T @ r[t]",
        "dW += r[t].T @ dc",
        ("W",),
        "the result is transposed",
        names=("W: transposed",),
    ),
    "mean over the batch": Mistake(
        "return Params(dW, dW_in, db, dW_out, db_out, dx0, dtau)",
        "return Params(*(g / B for g in (dW, dW_in, db, dW_out, db_out, dx0, dtau)))",
        (*ADJOINT, "W_out", "b_out"),
        "averaged over the batch",
        names=everywhere("batch mean"),
    ),
    "mean over the batch in db_out": Mistake(
        "db_out += dy[t].sum(axis=0)",
        "db_out += dy[t].mean(axis=0)",
        ("b_out",),
        "averaged over the batch",
        names=("b_out: batch mean",),
    ),
    "sum over the batch twice": Mistake(
        "return Params(dW,",
        "return Params(B * dW,",
        ("W",),
        "too large by the number of trials",
        names=("W: batch twice",),
    ),
    "bias summed over units": Mistake(
        "db += dc.sum(axis=0)",
        "db += dc.sum()",
        ("b",),
        "summed over units",
        names=("b: summed over units",),
    ),
    "wrong sign": Mistake(
        "dW_in += dc.T", "dW_in -= dc.T", ("W_in",), "wrong sign", names=("W_in: sign",)
    ),
    "wrong sign of dalpha/dtau": Mistake(
        "* dalpha_dtau", "* -dalpha_dtau", ("tau",), "wrong sign", names=("tau: sign",)
    ),
    "dtau without 1/tau": Mistake(
        "* dalpha_dtau",
        "* dalpha_dtau * tau",
        ("tau",),
        "1/tau of dalpha/dtau is missing",
        names=("tau: 1/tau missing",),
    ),
    "dtau of Euler": Mistake(
        "dalpha_dtau = -(1 - alpha) * dt / tau**2",
        "dalpha_dtau = -alpha / tau",
        ("tau",),
        "dalpha/dtau is that of Euler",
        methods=("exponential",),
        names=("tau: -alpha/tau",),
    ),
    "alpha of Euler": Mistake(
        "alpha = 1 - np.exp(-dt / tau)",
        "alpha = dt / tau",
        ADJOINT,
        "but the method is exponential",
        1,
        methods=("exponential",),
        names=("adjoint: alpha of Euler",),
    ),
    "dtau without the leak": Mistake(
        "(current - x[t])", "current", ("tau",), "leak is missing", names=("tau: leak missing",)
    ),
    "dtau without the noise": Mistake(
        "if traj.noise is not None:",
        "if False:",
        ("tau",),
        "noise is missing",
        names=("tau: noise missing",),
    ),
    "not added up": Mistake(
        "dW_out += dy",
        "dW_out = dy",
        ("W_out",),
        "overwritten at each step",
        names=("W_out: overwritten",),
    ),
    "dx0 one step early": Mistake(
        "dx0 = dx_next", "dx0 = dx", ("x0",), "stops one step early", names=("x0: dx[1]",)
    ),
    "last step left out": Mistake(
        "reversed(range(T))",
        "reversed(range(T - 1))",
        (*ADJOINT, "W_out", "b_out"),
        "the last step is left out",
        0,
        names=("adjoint: last step", "W_out: last step", "b_out: last step"),
    ),
    "first step left out": Mistake(
        "reversed(range(T))",
        "reversed(range(1, T))",
        (*ADJOINT, "W_out", "b_out"),
        "one step early|first step is left out",
        names=(
            "W: first step",
            "W_in: first step",
            "b: first step",
            "W_out: first step",
            "b_out: first step",
            "tau: first step",
            "x0: dx[1] passed",
        ),
    ),
    "dtau not computed": Mistake(
        "dtau += (dx * (current - x[t])).sum(axis=0) * dalpha_dtau",
        "pass",
        ("tau",),
        "it is zero",
        names=("tau: zero",),
    ),
    "dx0 not computed": Mistake(
        "dx0 = dx_next.sum(axis=0)", "dx0 = np.zeros(N)", ("x0",), "it is zero", names=("x0: zero",)
    ),
    "mean over time and trials": Mistake(
        "return Params(dW, dW_in, db, dW_out, db_out, dx0, dtau)",
        "return Params(*(g / (T * B) for g in (dW, dW_in, db, dW_out, db_out, dx0, dtau)))",
        (*ADJOINT, "W_out", "b_out"),
        "averaged over",
        names=everywhere("time and batch mean"),
    ),
    "slope of tanh": Mistake(
        "nonlinearity(traj.phi).derivative(r)",
        "1 - r**2",
        ADJOINT,
        "slope of tanh, 1 - r^2",
        0,
        ("softplus", "relu", "sigmoid", "linear"),
        names=("adjoint: phi' of tanh everywhere",),
    ),
    "leak is 1 + alpha": Mistake(
        "(1 - alpha) * dx +",
        "(1 + alpha) * dx +",
        ADJOINT,
        "1 + alpha where 1 - alpha belongs",
        1,
        names=("adjoint: leak 1 + alpha",),
    ),
    "wrong sign of the recurrent term": Mistake(
        "+ slope[t] * (dc",
        "- slope[t] * (dc",
        ADJOINT,
        "recurrent term has the wrong sign",
        1,
        names=("adjoint: recurrent sign",),
    ),
    "alpha of the sender and W untransposed": Mistake(
        "(dc @ W)",
        "alpha * (dx @ W.T)",
        ADJOINT,
        "W is not transposed",
        1,
        names=("adjoint: alpha after W", "adjoint: W untransposed"),
    ),
    "alpha missing everywhere": Mistake(
        "dc = alpha * dx",
        "dc = dx",
        ADJOINT,
        "factor alpha is missing",
        1,
        names=(
            "adjoint: recurrent alpha missing",
            "W: alpha missing",
            "W_in: alpha missing",
            "b: alpha missing",
        ),
    ),
    "Euler whatever the method": Mistake(
        'if traj.method == "euler":',
        "if True:",
        ADJOINT,
        "alpha is dt/tau (Euler)",
        1,
        methods=("exponential",),
        names=("adjoint: Euler",),
    ),
    "adjoint before its output": Mistake(
        "dc = alpha * dx",
        "dc = alpha * dx_next",
        ADJOINT,
        "before the part of the output",
        1,
        names=(
            "adjoint: recurrent too soon",
            "W: dx without output",
            "W_in: dx without output",
            "b: dx without output",
        ),
    ),
    "dr in place of dx": Mistake(
        "dW += dc.T @ r[t]",
        "dr = dy[t] @ W_out + (old @ W if t < T - 1 else 0); old = dc; dW += (alpha * dr).T @ r[t]",
        ("W",),
        "dr, the derivative of the rate, is used",
        names=("W: dr",),
    ),
    "inputs one step late": Mistake(
        "dW_in += dc.T @ u[t]",
        "dW_in += dc.T @ u[min(t + 1, T - 1)]",
        ("W_in",),
        "u[t+1] is used where u[t] belongs",
        names=("W_in: u[t+1] repeat",),
    ),
    "current of the next step": Mistake(
        "(current - x[t])",
        "(current - x[t + 1])",
        ("tau",),
        "x[t+1] is used where x[t] belongs",
        names=("tau: x[t+1]",),
    ),
    "rates of the next step in the current": Mistake(
        "current = r[t] @",
        "current = r[t + 1] @",
        ("tau",),
        "r[t+1] is used where r[t] belongs in",
        names=("tau: r[t+1]",),
    ),
    "alpha twice in dtau": Mistake(
        "dtau += (dx *",
        "dtau += (dc *",
        ("tau",),
        "a factor alpha has slipped in",
        names=("tau: alpha",),
    ),
    "dx0 returned for dtau": Mistake(
        "dx0, dtau)",
        "dx0, dx0)",
        ("tau",),
        "is the gradient of x0",
        names=("tau: copy of x0",),
    ),
    "db returned for dx0": Mistake(
        "dx0, dtau)",
        "db, dtau)",
        ("x0",),
        "is the gradient of b",
        names=("x0: copy of b",),
    ),
    "dx0 of the first trial": Mistake(
        "dx0 = dx_next.sum(axis=0)",
        "dx0 = dx_next[0]",
        ("x0",),
        "only the first trial counts",
        names=("x0: first trial",),
    ),
    "one step of backpropagation": Mistake(
        "dx_next = (1 - alpha) * dx + slope[t] * (dc @ W)",
        "dx_next = np.zeros((B, N))",
        ADJOINT,
        "nothing is passed back",
        1,
        names=("adjoint: nothing passed back",),
    ),
    "truncated after twelve steps": Mistake(
        "dx_next = (1 - alpha) * dx + slope[t] * (dc @ W)",
        "dx_next = (1 - alpha) * dx + slope[t] * (dc @ W) if t != T - 12 else np.zeros((B, N))",
        ADJOINT,
        "truncated backpropagation",
        12,
        names=("adjoint: truncated",),
    ),
}
