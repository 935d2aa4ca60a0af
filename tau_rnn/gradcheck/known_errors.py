"""A catalogue of known slips, one row each: its name, its words, and its edits of the recipe.

``SHARED`` are slips in what all gradients share: step sizes, slopes and the adjoint. ``OWN`` are
those in the formula of one gradient, given the adjoint, and ``SUMS`` those of adding up its terms
over time and trials. A new slip is a new row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from tau_rnn.gradcheck.recipe import one, output, shifted
from tau_rnn.nonlinearities import NONLINEARITIES

__all__: list[str] = []


class Slip(NamedTuple):
    """One mistake: its name, what it is in words, and the entries of the recipe it replaces."""

    name: str
    words: str
    edits: dict[str, Callable]
    equation: str = ""


class Sum(NamedTuple):
    """A mistake in adding up: the weight of the term of each step and trial, 1 if right."""

    name: str
    words: str
    weights: Callable  # (number of terms in time, T, B) -> array that broadcasts to (terms, B)


def edits_of(slips: Iterable[Slip]) -> dict[str, Callable]:
    """All entries of the recipe that these slips replace."""
    return {name: edit for slip in slips for name, edit in slip.edits.items()}


# --- slips in what all gradients share: step sizes, slopes and the adjoint ----------------------

PLACES = {
    "everywhere": ("slope_recurrent", "slope_readout"),
    "in the recurrent term": ("slope_recurrent",),
    "where the readout enters": ("slope_readout",),
}
_SLOPES = (
    ("missing", "phi' is missing {}", lambda run: np.ones_like(run.r)),
    ("at t+1", "phi' is taken at the wrong time, t+1 instead of t, {}",
     lambda run: shifted(run.slope, 1)),
    ("at t-1", "phi' is taken at the wrong time, t-1 instead of t, {}",
     lambda run: shifted(run.slope, -1)),
    ("of x", "phi', a function of the rate r, is given the state x {}",
     lambda run: run.phi.derivative(run.x)),
    *((f"of {name}", f"phi' is the slope of {name}, {formula}, {{}}, whatever phi is: ask traj.phi",
       lambda run, name=name: NONLINEARITIES[name].derivative(run.r))
      for name, formula in (("tanh", "1 - r^2"), ("sigmoid", "r (1 - r)"), ("relu", "r > 0"),
                            ("softplus", "1 - e^-r"))),
)  # fmt: skip


def _slopes():
    for what, words, slope in _SLOPES:
        for place, edited in PLACES.items():
            # Another function everywhere leaves room for a wrong time of it in some place.
            parts = ("slope",) if "of" in what and place == "everywhere" else edited
            yield Slip(
                f"phi' {what} {place}", words.format(place), dict.fromkeys(parts, slope), "3.5"
            )


SHARED: tuple[Slip, ...] = (
    Slip("W untransposed", "W is not transposed: unit j collects from all units i that it drives, "
         "sum_i alpha_i dx_i[t+1] W_ij", {"back": lambda run: run.W.T}, "3.4"),
    Slip("leak missing", "the leak term (1 - alpha) dx[t+1] is missing",
         {"leak": lambda run, t: 0 * run.dx[t]}, "3.5"),
    Slip("leak alpha", "the leak term has alpha where 1 - alpha belongs",
         {"leak": lambda run, t: run.alpha * run.dx[t + 1]}, "3.5"),
    Slip("leak 1", "the leak term has 1 where 1 - alpha belongs",
         {"leak": lambda run, t: run.dx[t + 1]}, "3.5"),
    Slip("leak 1 + alpha", "the leak term has 1 + alpha where 1 - alpha belongs",
         {"leak": lambda run, t: (1 + run.alpha) * run.dx[t + 1]}, "3.5"),
    Slip("leak sign", "the leak term (1 - alpha) dx[t+1] has the wrong sign",
         {"leak": lambda run, t: (run.alpha - 1) * run.dx[t + 1]}, "3.5"),
    Slip("leak late", "the leak term takes dx[t+2] where dx[t+1] belongs",
         {"leak": lambda run, t: (1 - run.alpha) * run.dx[t + 2]}, "3.5"),
    Slip("leak too soon", "the leak term takes dx[t+1] before the part of the output y[t] is added "
         "to it", {"leak": lambda run, t: (1 - run.alpha) * run.passed[t + 1]}, "3.5"),
    Slip("leak through phi", "the leak term is multiplied by phi': the leak acts on x, not phi(x)",
         {"leak": lambda run, t: run.slope_recurrent[t] * (1 - run.alpha) * run.dx[t + 1]}, "3.5"),
    Slip("recurrent alpha missing", "the factor alpha is missing in the recurrent term",
         {"driven": lambda run, t: run.dx[t + 1]}, "3.4"),
    Slip("recurrent alpha doubled", "the factor alpha is doubled (alpha^2) in the recurrent term",
         {"driven": lambda run, t: run.alpha**2 * run.dx[t + 1]}, "3.4"),
    Slip("alpha after W", "alpha is multiplied after W^T instead of before it: it must be alpha_i "
         "of the unit that is driven, not alpha_j of the unit that drives (the same only if all "
         "tau are equal)",
         {"driven": lambda run, t: run.dx[t + 1], "driver": lambda run: run.alpha}, "3.4"),
    Slip("recurrent missing", "the recurrent term, through W, is missing",
         {"driver": lambda run: 0.0}, "3.4"),
    Slip("recurrent sign", "the recurrent term has the wrong sign",
         {"driver": lambda run: -1.0}, "3.4"),
    Slip("recurrent late", "the recurrent term takes dx[t+2] where dx[t+1] belongs",
         {"driven": lambda run, t: run.alpha * run.dx[t + 2]}, "3.4"),
    Slip("recurrent too soon", "the recurrent term takes dx[t+1] before the part of the output "
         "y[t] is added to it", {"driven": lambda run, t: run.alpha * run.passed[t + 1]}, "3.4"),
    Slip("nothing passed back", "nothing is passed back from dx[t+1] to dx[t]: neither the leak "
         "nor the recurrent term",
         {"driver": lambda run: 0.0, "leak": lambda run, t: 0 * run.dx[t]}, "3.5"),
    Slip("readout late", "the readout is shifted by one step: dy[t] enters dx[t], but y[t] reads "
         "x[t+1]", {"output": lambda run, t: output(run, t)}, "3.4"),
    Slip("readout late but at 0", "the readout is shifted by one step: dy[t] enters dx[t] (t > 0), "
         "but y[t] reads x[t+1]", {"output": lambda run, t: output(run, t if t else -1)}, "3.4"),
    Slip("readout early", "the readout is shifted by one step: dy[t-2] enters dx[t], but y[t-1] "
         "reads x[t]", {"output": lambda run, t: output(run, t - 2)}, "3.4"),
    Slip("readout wraps", "the readout is shifted by one step, and wraps around at the start "
         "(dy[-1] is the last entry): dy[t-2] enters dx[t], but y[t-1] reads x[t]",
         {"output": lambda run, t: run.dy[t - 2] if t else output(run, -1)}, "3.4"),
    Slip("readout at 0", "an output y[-1] that does not exist is read at t = 0 (dy[-1] is the last "
         "entry)", {"output": lambda run, t: run.dy[t - 1]}, "3.4"),
    Slip("readout at the end", "the readout enters at the last step alone",
         {"output": lambda run, t: output(run, t - 1 if t == len(run.dy) else -1)}, "3.4"),
    Slip("last step", "the last step is left out: dx[T] is not phi'(x[T]) W_out^T dy[T-1]",
         {"output": lambda run, t: output(run, t - 1 if t < len(run.dy) else -1)}, "3.5"),
    *_slopes(),
    Slip("Euler", "alpha is dt/tau (Euler), but the method is exponential: 1 - exp(-dt/tau); read "
         "traj.method, or check it with --method euler",
         {"alpha": lambda run: run.dt / run.tau,
          "alpha_slope": lambda run: -run.dt / run.tau**2}, "3.12"),
    Slip("exponential", "alpha is 1 - exp(-dt/tau), but the method is Euler's: dt/tau; read "
         "traj.method, or check it with --method exponential",
         {"alpha": lambda run: -np.expm1(-run.dt / run.tau),
          "alpha_slope": lambda run: -np.exp(-run.dt / run.tau) * run.dt / run.tau**2}, "3.12"),
    Slip("alpha of Euler", "alpha is dt/tau (Euler), but the method is exponential: "
         "1 - exp(-dt/tau)", {"alpha": lambda run: run.dt / run.tau}, "3.12"),
)  # fmt: skip


# --- slips in the formula of one gradient, given the adjoint ------------------------------------

_ENDS = (("repeat", ", and the end is read twice"), ("wrap", ", and wraps around at the end"),
        ("zero", ""))  # fmt: skip


def _other_times(part, symbol, read, k, endings=_ENDS):
    """Slips that read the entry k steps off, for each way to treat the end."""
    said = f"{symbol}[t{k:+d}] is used where {symbol}[t] belongs"
    for ends, words in endings:
        yield Slip(f"{symbol}[t{k:+d}] {ends}", said + words,
                   {part: lambda run, ends=ends: shifted(read(run), k, ends)})  # fmt: skip


def _own_adjoint(field, partner):
    """Slips in which adjoint a gradient takes; `partner` is what it is multiplied by."""
    post = f"{field}.post"
    return (
        Slip("dx[t]", "dx[t] is used where dx[t+1] belongs", {post: lambda run: run.dx[:-3]}),
        Slip("dx[t+2]", f"{partner} is paired with dx[t+2] where dx[t+1] belongs",
             {post: lambda run: run.dx[2:-1]}),
        Slip("dr", "dr, the derivative of the rate, is used where dx, that of the state, belongs: "
             "dx = ... + phi' dr", {post: lambda run: run.dr[1:-2]}),
        Slip("dx without output", "dx[t+1] is used before the part of the output y[t] is added to "
             "it", {post: lambda run: run.passed[1:-2]}),
    )  # fmt: skip


def _gain(field):
    """Slips in the factor alpha."""
    gain = f"{field}.gain"
    return (
        Slip("alpha missing", "the factor alpha is missing", {gain: one}),
        Slip("alpha doubled", "the factor alpha is doubled (alpha^2)",
             {gain: lambda run: run.alpha**2}),
    )  # fmt: skip


def _over(axis):
    """Slips of a bias that adds up what it should keep apart."""
    field = {"units": "b", "outputs": "b_out"}[axis]
    return tuple(
        Slip(f"{verb} over {axis}", f"it is {verb} over {axis}{rest}",
             {f"{field}.turn": lambda a, f=f: np.ones_like(a) * f(a, -1, keepdims=True)})
        for verb, rest, f in (("summed", " as well as over time and trials", np.sum),
                              ("averaged", "", np.mean))
    )  # fmt: skip


def _currents(k):
    """Slips in which the current is that of another step: as a whole, or each of its parts."""
    said = f"c[t{k:+d}] is used where c[t] belongs in c[t] - x[t]"
    for ends, words in _ENDS:
        yield Slip(
            f"c[t{k:+d}] {ends}",
            said + words,
            {"tau.shift": lambda c, ends=ends: shifted(c, k, ends)},
        )
        if (k, ends) == (-1, "repeat"):
            continue  # its parts are the same
        yield Slip(f"c[t{k:+d}] {ends} in parts", said + words,
                   {"tau.recurrent": lambda run, ends=ends: shifted(run.r, k, ends)[:-1] @ run.W.T,
                    "tau.inputs": lambda run, ends=ends: shifted(run.u, k, ends) @ run.W_in.T,
                    "tau.noise": lambda run, ends=ends: shifted(run.noise, k, ends)})  # fmt: skip


OWN: dict[str, tuple[Slip, ...]] = {
    "W": (
        *_gain("W"), *_own_adjoint("W", "r[t]"),
        Slip("r[t+1]", "r[t+1] is used where r[t] belongs", {"W.pre": lambda run: run.r[1:]}),
        Slip("r[t-1]", "r[t-1] is used where r[t] belongs, and wraps around at the start",
             {"W.pre": lambda run: shifted(run.r, -1, "wrap")[:-1]}),
        Slip("x", "the state x is used where the rate r belongs",
             {"W.pre": lambda run: run.x[:-1]}),
        Slip("transposed", "the result is transposed: W_ij is the weight from j to i",
             {"W.turn": lambda terms: terms.swapaxes(-1, -2)}),
        Slip("alpha of the sender", "alpha is that of unit j, where the weight comes from, not of "
             "i, where it goes to", {"W.gain": one, "W.pre": lambda run: run.alpha * run.r[:-1]}),
    ),
    "W_in": (
        *_gain("W_in"), *_own_adjoint("W_in", "u[t]"),
        *_other_times("W_in.pre", "u", lambda run: run.u, 1),
        *_other_times("W_in.pre", "u", lambda run: run.u, -1, _ENDS[:2]),  # the third is dx[t+2]
    ),
    # Without dx[t+2]: with nothing to multiply it, that is to leave out the first step.
    "b": (*_gain("b"), *(slip for slip in _own_adjoint("b", "") if slip.name != "dx[t+2]"),
          *_over("units")),
    "W_out": (
        Slip("r[t]", "r[t] is used where r[t+1] belongs: y[t] reads the state after the step (the "
             "readout is shifted by one step)", {"W_out.pre": lambda run: run.r[:-1]}),
        Slip("x", "the state x is used where the rate r belongs",
             {"W_out.pre": lambda run: run.x[1:]}),
        Slip("phi'", "a factor phi' has slipped in",
             {"W_out.pre": lambda run: run.slope_readout[1:] * run.r[1:]}),
    ),
    "b_out": _over("outputs"),
    "x0": (
        Slip("dx[1]", "it stops one step early: it is dx[1], not dx[0]",
             {"x0.post": lambda run: run.dx[1:2]}),
        Slip("dx[1] passed", "it stops one step early: it is what dx[2] passes back to dx[1], not "
             "dx[0]", {"x0.post": lambda run: run.passed[1:2]}),
        Slip("alpha", "a factor alpha has slipped in", {"x0.gain": lambda run: run.alpha}),
        Slip("phi'", "a factor phi' has slipped in: x0 is a state, not a rate",
             {"x0.gain": lambda run: run.slope_recurrent[0]}),
        Slip("right step", "it is the right step back from dx[1], but this dx[1] is wrong",
             {"x0.post": lambda run: ((1 - run.alpha) * run.dx[1] + run.phi.derivative(run.r[0])
                                    * ((run.alpha * run.dx[1]) @ run.W))[np.newaxis]}),
        Slip("dr", "dr[0], the derivative of the rate, is used where dx[0] belongs",
             {"x0.post": lambda run: run.dr[:1]}),
    ),
    "tau": (
        *_own_adjoint("tau", "c[t] - x[t]"),
        Slip("alpha", "a factor alpha has slipped in (x[t+1] - x[t], if that is used, is "
             "alpha times c[t] - x[t])", {"tau.gain": lambda run: run.alpha}),
        Slip("1/tau missing", "the factor 1/tau of dalpha/dtau is missing",
             {"tau.scale": lambda run: run.tau}, "3.12"),
        Slip("dalpha/dtau missing", "the factor dalpha/dtau is missing: this is the gradient of "
             "alpha", {"tau.slope": one}, "3.12"),
        Slip("-alpha/tau", "dalpha/dtau is that of Euler, -alpha/tau, but the method is "
             "exponential", {"tau.slope": lambda run: -run.alpha / run.tau}, "3.12"),
        Slip("-dt/tau^2", "dalpha/dtau is that of Euler, -dt/tau^2, but the method is exponential",
             {"tau.slope": lambda run: -run.dt / run.tau**2}, "3.12"),
        Slip("1/tau^2", "dalpha/dtau is divided by tau once too often",
             {"tau.scale": lambda run: 1 / run.tau}, "3.12"),
        Slip("leak missing", "the leak is missing: it needs c[t] - x[t], not the current c[t] "
             "alone", {"tau.state": lambda run: 0}),
        *(Slip(f"{part} missing", f"the {words} missing in the current c[t]",
               {f"tau.{part}": lambda run: 0})
          for part, words in (("noise", "noise is"), ("bias", "bias is"), ("inputs", "inputs are"),
                              ("recurrent", "recurrent input is"))),
        Slip("x[t+1]", "x[t+1] is used where x[t] belongs in c[t] - x[t]",
             {"tau.state": lambda run: run.x[1:]}),
        Slip("r[t+1]", "r[t+1] is used where r[t] belongs in c[t]",
             {"tau.recurrent": lambda run: run.r[1:] @ run.W.T}),
        *_currents(1), *_currents(-1),
    ),
}  # fmt: skip

# What can go wrong with any gradient when its terms (T, B, ...) are added up.
SUMS: tuple[Sum, ...] = (
    Sum("zero", "it is zero: is it computed, and returned?", lambda n, T, B: 0.0),
    Sum("sign", "it has the wrong sign", lambda n, T, B: -1.0),
    Sum("batch mean", "it is averaged over the batch; dy already holds whatever mean the loss "
        "takes, so trials are summed", lambda n, T, B: 1 / B),
    Sum("batch twice", "it is too large by the number of trials: the sum over the batch is taken "
        "where dy already holds it", lambda n, T, B: B),
    Sum("time mean", "it is averaged over time where time steps are summed",
        lambda n, T, B: 1 / T),
    Sum("time and batch mean", "it is averaged over time and trials where both are summed",
        lambda n, T, B: 1 / (T * B)),
    Sum("twice", "it is twice the right one", lambda n, T, B: 2.0),
    Sum("half", "it is half the right one", lambda n, T, B: 0.5),
    Sum("overwritten", "it is overwritten at each step instead of added up (= for +=)",
        lambda n, T, B: (np.arange(n) == 0)[:, np.newaxis]),
    Sum("last step only", "only the last step counts: are the others added up (+=)?",
        lambda n, T, B: (np.arange(n) == n - 1)[:, np.newaxis]),
    Sum("first trial", "only the first trial counts", lambda n, T, B: np.arange(B) == 0),
    Sum("last trial", "only the last trial counts", lambda n, T, B: np.arange(B) == B - 1),
    Sum("last step", "the last step is left out of the sum over time",
        lambda n, T, B: (np.arange(n) < n - 1)[:, np.newaxis]),
    Sum("first step", "the first step is left out of the sum over time",
        lambda n, T, B: (np.arange(n) > 0)[:, np.newaxis]),
)  # fmt: skip
