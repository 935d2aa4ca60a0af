"""A catalogue of mistakes: `tau_rnn.bptt.plain_backward`, and the one-line slips that spoil it.

Each mistake is an edit of its source, so that it can be read as a diff, run, and written to a file
for the command line. It shares no line with `tau_rnn.gradcheck.known_errors`.
"""

from __future__ import annotations

import inspect
from typing import NamedTuple

from tau_rnn.bptt import plain_backward
from tau_rnn.model import NONLINEARITIES

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


MISTAKES = {
    "W untransposed": Mistake(
        "(dc @ W)", "(dc @ W.T)", ADJOINT, "W is not transposed", 1
    ),
    "leak missing": Mistake(
        "(1 - alpha) * dx + slope[t]", "slope[t]", ADJOINT, "leak term (1 - alpha) dx[t+1]", 1
    ),
    "leak through phi": Mistake(
        "(1 - alpha) * dx + slope[t] * (dc @ W)", "slope[t] * ((1 - alpha) * dx + dc @ W)",
        ADJOINT, "leak term is multiplied by phi'", 1, KINKED,
    ),
    "leak is alpha": Mistake(
        "(1 - alpha) * dx", "alpha * dx", ADJOINT, "alpha where 1 - alpha belongs", 1
    ),
    "alpha missing in the adjoint": Mistake(
        "(dc @ W)", "(dx @ W)", ADJOINT, "alpha is missing in the recurrent term", 1
    ),
    "alpha doubled in the adjoint": Mistake(
        "(dc @ W)", "((alpha * dc) @ W)", ADJOINT, "alpha is doubled (alpha^2) in the recurrent", 1
    ),
    "alpha after W": Mistake(
        "(dc @ W)", "alpha * (dx @ W)", ADJOINT, "alpha is multiplied after W^T", 1
    ),
    "alpha missing in dW": Mistake("dW += dc.T", "dW += dx.T", ("W",), "alpha is missing"),
    "alpha missing in db": Mistake("db += dc", "db += dx", ("b",), "alpha is missing"),
    "alpha doubled in dW_in": Mistake(
        "dW_in += dc.T", "dW_in += (alpha * dc).T", ("W_in",), "alpha is doubled"
    ),
    "phi' at t+1": Mistake(
        "slope[t] * (dc", "slope[t + 1] * (dc", ADJOINT, "wrong time, t+1 instead of t", 1, KINKED
    ),
    "phi' missing": Mistake(
        "slope[t] * (dc @ W)", "dc @ W", ADJOINT, "phi' is missing in the recurrent term", 1, KINKED
    ),
    "phi' missing in the readout": Mistake(
        "slope[t + 1] * (dy", "(dy", ADJOINT, "phi' is missing where the readout enters", 0, KINKED
    ),
    "phi' of x": Mistake(
        ".derivative(r)", ".derivative(x)", ADJOINT, "is given the state x", 0, CURVED
    ),
    "readout one step late": Mistake(
        "slope[t + 1] * (dy[t] @ W_out)", "slope[t + 1] * (dy[t - 1] @ W_out)",
        ADJOINT, "readout is shifted by one step", 0,
    ),
    "readout one step early": Mistake(
        "slope[t + 1] * (dy[t] @ W_out)",
        "slope[t + 1] * (dy[t + 1] @ W_out if t + 1 < T else 0)",
        ADJOINT, "readout is shifted by one step", 0,
    ),
    "readout of the old rates": Mistake(
        "dy[t].T @ r[t + 1]", "dy[t].T @ r[t]", ("W_out",), "readout is shifted by one step"
    ),
    "rates one step late in dW": Mistake(
        "dW += dc.T @ r[t]", "dW += dc.T @ r[t + 1]", ("W",), "r[t+1] is used where r[t] belongs"
    ),
    "dW transposed": Mistake(
        "dW += dc.T @ r[t]", "dW += r[t].T @ dc", ("W",), "the result is transposed"
    ),
    "mean over the batch": Mistake(
        "return Params(dW, dW_in, db, dW_out, db_out, dx0, dtau)",
        "return Params(*(g / B for g in (dW, dW_in, db, dW_out, db_out, dx0, dtau)))",
        (*ADJOINT, "W_out", "b_out"), "averaged over the batch",
    ),
    "mean over the batch in db_out": Mistake(
        "db_out += dy[t].sum(axis=0)", "db_out += dy[t].mean(axis=0)",
        ("b_out",), "averaged over the batch",
    ),
    "sum over the batch twice": Mistake(
        "return Params(dW,", "return Params(B * dW,", ("W",), "too large by the number of trials"
    ),
    "bias summed over units": Mistake(
        "db += dc.sum(axis=0)", "db += dc.sum()", ("b",), "summed over units"
    ),
    "wrong sign": Mistake(
        "dW_in += dc.T", "dW_in -= dc.T", ("W_in",), "wrong sign"
    ),
    "wrong sign of dalpha/dtau": Mistake(
        "* dalpha_dtau", "* -dalpha_dtau", ("tau",), "wrong sign"
    ),
    "dtau without 1/tau": Mistake(
        "* dalpha_dtau", "* dalpha_dtau * tau", ("tau",), "1/tau of dalpha/dtau is missing"
    ),
    "dtau of Euler": Mistake(
        "dalpha_dtau = -(1 - alpha) * dt / tau**2", "dalpha_dtau = -alpha / tau",
        ("tau",), "dalpha/dtau is that of Euler", methods=("exponential",),
    ),
    "alpha of Euler": Mistake(
        "alpha = 1 - np.exp(-dt / tau)", "alpha = dt / tau",
        ADJOINT, "but the method is exponential", 1, methods=("exponential",),
    ),
    "dtau without the leak": Mistake("(current - x[t])", "current", ("tau",), "leak is missing"),
    "dtau without the noise": Mistake(
        "if traj.noise is not None:", "if False:", ("tau",), "noise is missing"
    ),
    "not added up": Mistake(
        "dW_out += dy", "dW_out = dy", ("W_out",), "overwritten at each step"
    ),
    "dx0 one step early": Mistake(
        "dx0 = dx_next", "dx0 = dx", ("x0",), "stops one step early"
    ),
    "last step left out": Mistake(
        "reversed(range(T))", "reversed(range(T - 1))", (*ADJOINT, "W_out", "b_out"),
        "the last step is left out", 0,
    ),
    "first step left out": Mistake(
        "reversed(range(T))", "reversed(range(1, T))", (*ADJOINT, "W_out", "b_out"),
        "one step early|first step is left out",
    ),
    "dtau not computed": Mistake(
        "dtau += (dx * (current - x[t])).sum(axis=0) * dalpha_dtau", "pass", ("tau",), "it is zero"
    ),
    "dx0 not computed": Mistake(
        "dx0 = dx_next.sum(axis=0)", "dx0 = np.zeros(N)", ("x0",), "it is zero"
    ),
    "mean over time and trials": Mistake(
        "return Params(dW, dW_in, db, dW_out, db_out, dx0, dtau)",
        "return Params(*(g / (T * B) for g in (dW, dW_in, db, dW_out, db_out, dx0, dtau)))",
        (*ADJOINT, "W_out", "b_out"), "averaged over",
    ),
    "one step of backpropagation": Mistake(
        "dx_next = (1 - alpha) * dx + slope[t] * (dc @ W)", "dx_next = np.zeros((B, N))",
        ADJOINT, "nothing is passed back", 1,
    ),
    "truncated after twelve steps": Mistake(
        "dx_next = (1 - alpha) * dx + slope[t] * (dc @ W)",
        "dx_next = (1 - alpha) * dx + slope[t] * (dc @ W) if t != T - 12 else np.zeros((B, N))",
        ADJOINT, "truncated backpropagation", 12,
    ),
}  # fmt: skip
