"""The verdict: `check_backward`, its report, and the command that marks a reader's file."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from tau_rnn.discretisation import DEFAULT_METHOD
from tau_rnn.gradcheck.derivatives import (
    numerical_gradient,
)
from tau_rnn.gradcheck.diagnosis import (
    ADJOINT_FIELDS,
    SAME,
    Departure,
    Network,
    ask,
    conditions,
    departure,
    departure_of,
    distance,
    draw_network,
    explain,
    last_adjoint_is_wrong,
    reach,
)
from tau_rnn.model import METHODS, NONLINEARITIES, Array, Nonlinearity, Params, nonlinearity

__all__ = ["GradientReport", "check_backward", "first_nonfinite"]


@dataclass(frozen=True)
class GradientReport:
    """The verdict on a backward; ``print(report)`` is a page to read.

    Attributes
    ----------
    errors : field -> relative error ``sum(abs(g - exact)) / sum(abs(exact))`` on the network where
        it is largest; inf where there is nothing to compare
    diagnosis : field -> what is wrong with it, for the wrong fields alone
    departure : where the adjoint leaves the right one, counted back from the end: it is right at
        dx[T], ..., dx[T - departure + 1] and wrong at dx[T - departure]. None if it never does, or
        if the gradients do not tell.
    networks : descriptions of the networks it was tried on
    phi, method, rtol : as given
    """

    errors: dict[str, float]
    diagnosis: dict[str, str]
    departure: int | None
    networks: tuple[str, ...]
    phi: str
    method: str
    rtol: float

    @property
    def ok(self) -> bool:
        """Whether every field is right."""
        return not self.diagnosis

    def __str__(self) -> str:
        n, wrong = len(self.errors), len(self.diagnosis)
        verdict = f"all {n} gradients are right" if self.ok else f"{wrong} of {n} gradients wrong"
        lines = [
            f"{verdict}  (phi = {self.phi}, method = {self.method})",
            f"against a complex step, on {len(self.networks)} random networks; "
            f"a relative error up to {self.rtol:g} passes",
            "",
            "gradient    relative error",
        ]
        for name, error in self.errors.items():
            mark = "WRONG" if name in self.diagnosis else "right"
            lines.append(f"d{name:<10} {error:<15.1e} {mark}")
        together: dict[str, list[str]] = {}
        for name, sentences in self.diagnosis.items():
            for sentence in sentences.split("\n"):
                together.setdefault(sentence, []).append(f"d{name}")
        for sentence, names in together.items():
            lines += ["", f"{', '.join(names)}:"]
            lines += textwrap.wrap(sentence, 96, initial_indent="  ", subsequent_indent="  ")
        if self.departure is not None:
            lines += ["", _where(self.departure)]
        return "\n".join(lines)


def check_backward(
    backward: Callable,
    *,
    phi: str | Nonlinearity = "tanh",
    method: str = DEFAULT_METHOD,
    rng: np.random.Generator | int | None = None,
    rtol: float = 1e-10,
) -> GradientReport:
    """Check a backward against complex steps, and say what is wrong with it.

    Parameters
    ----------
    backward : function (params, traj, dy) -> gradients, as `tau_rnn.bptt.backward`: params is a
        Params, traj the Trajectory that `forward` returned, dy (T, B, n_out) is dLoss/dy. It
        returns a Params; a dict (keys ``"W"`` or ``"dW"``, ...) or any sequence of seven arrays
        in the order of the fields of Params will do.
    phi, method : what the networks are simulated with; the function finds them in traj
    rng : numpy.random.Generator that draws the networks, or a seed; 0 by default
    rtol : largest relative error that passes

    Returns
    -------
    GradientReport

    Raises
    ------
    ValueError
        If backward is not a function, phi or method is unknown, or rtol is not positive. What
        backward itself raises does not pass through: the report says so.

    Notes
    -----
    Nothing is read from the source of backward, and `tau_rnn.bptt` is not used: see `diagnosis`.
    """
    if not callable(backward):
        raise ValueError(f"backward: must be a function (params, traj, dy), got {backward!r}")
    if not (np.isfinite(rtol) and rtol > 0):
        raise ValueError(f"rtol: must be a positive number, got {rtol}")
    phi_name = nonlinearity(phi).name
    try:
        rng = np.random.default_rng(0 if rng is None else rng)
    except (TypeError, ValueError):
        raise ValueError(
            f"rng: must be a numpy.random.Generator or a seed >= 0, got {rng!r}"
        ) from None

    def draw(**sizes) -> Network:
        return draw_network(rng, **sizes, phi=phi, method=method)

    networks = [
        draw(N=5, T=5, B=3),
        draw(N=4, T=6, B=2, n_in=3, n_out=1, noisy=False),
        draw(N=1, T=1, B=1, n_in=1, n_out=1),
        draw(N=4, T=60, B=1),
    ]
    errors = dict.fromkeys(Params._fields, 0.0)
    said: dict[str, str] = {}
    answers = []
    for network in networks:
        traj = network.run()
        if not np.isfinite(traj.y).all():
            t = first_nonfinite(traj.x)
            said = dict.fromkeys(errors, f"the loss is not finite: x is first so at t = {t}")
            errors = dict.fromkeys(errors, np.inf)
            return GradientReport(errors, said, None, (str(network),), phi_name, method, rtol)
        exact = numerical_gradient(network.loss, network.params)._asdict()
        answers.append(ask(backward, network, exact))
        for name, problem in answers[-1].problems.items():
            said.setdefault(name, f"{problem} [{network}]")
            errors[name] = np.inf
        for name, g in answers[-1].grads.items():
            errors[name] = max(errors[name], distance(g, exact[name]))
    left_at = None
    wrong = [name for name, error in errors.items() if error > rtol]
    if wrong:
        more, left_at = _diagnose(backward, draw, networks, answers, errors, wrong)
        said = {name: "\n".join(filter(None, [said.get(name), more.get(name)])) for name in wrong}
    return GradientReport(errors, said, left_at, tuple(map(str, networks)), phi_name, method, rtol)


def first_nonfinite(values: Array) -> int | None:
    """Index along the first axis (time) where a value is first inf or nan, or None."""
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    return int(bad.argmax()) if bad.any() else None


def _diagnose(backward, draw, networks, answers, errors, wrong):
    """Sentences for the wrong fields, and the number of steps after which the adjoint departs."""
    long = networks[-1]
    given = {name: [a.grads[name] for a in answers if name in a.grads] for name in wrong}
    nonfinite = [name for name in wrong if not all(np.isfinite(g).all() for g in given[name])]
    first = reach(backward, long, nonfinite).nonfinite if nonfinite else {}
    sentences = {name: _not_finite(first.get(name)) for name in nonfinite}

    # On short networks a slip is either reproduced to rounding or not; errors do not grow.
    short = [k for k, network in enumerate(networks) if 1 < len(network.u) < 10]
    seen = []
    for name in wrong:
        pairs = [(answers[k].grads.get(name), networks[k].exact()[name]) for k in short]
        if name not in nonfinite and any(distance(g, e) > SAME for g, e in pairs if g is not None):
            seen.append(name)
    found = explain([networks[k] for k in short], [answers[k] for k in short], seen)
    for shared, own in found:
        for name, words in own.items():
            # What the readout's own gradients are made of contains no adjoint.
            parts = [f"in the adjoint, {s.words}" for s in shared if name in ADJOINT_FIELDS]
            parts += [f"in d{name} itself, {each}" for each in words]
            sentences[name] = "\n".join(parts)

    unexplained = [name for name in wrong if name not in sentences and np.isfinite(errors[name])]
    left = Departure(None)
    # Where all but dx0 have slips of their own, the adjoint that they hold is the right one.
    doubtful = set(unexplained) & set(ADJOINT_FIELDS) not in (set(), {"x0"})
    if any(shared for shared, _ in found) or doubtful:
        left = departure(backward, long, not any(own.get("W_in") for _, own in found))
        if left.steps == 0 and "W_in" in unexplained and not last_adjoint_is_wrong(backward, long):
            left = Departure(None)
    known = [departure_of(shared, long) for shared, _ in found if shared]
    if known:
        left = left._replace(steps=min((n for n in known if n is not None), default=None))
    if unexplained:
        k = reach(backward, long, unexplained).wrong
        where = conditions(backward, draw)
    for name in unexplained:
        if name in ADJOINT_FIELDS and left.cut_off and left.steps:
            last = "step" if left.steps == 1 else f"{left.steps} steps"
            sentences[name] = (
                f"what comes from the last {last} is right, what comes from further back is "
                "missing (truncated backpropagation)"
            )
        elif errors[name] < 1e-5:
            sentences[name] = (
                f"nearly right, to {errors[name]:.0e}: is something in single precision, or a "
                "finite difference?"
            )
        elif name in seen or name not in k:
            right = ", ".join(sorted(where[name])) or "none of the special cases that were tried"
            sentences[name] = f"no known slip gives it; it is right with: {right}"
        else:
            sentences[name] = (
                f"right in runs of up to {k[name] - 1} steps, wrong in runs of {k[name]} and more"
            )
    return sentences, left.steps


def _not_finite(steps: int | None) -> str:
    if steps is None:
        return "not finite (inf or nan)"
    where = "the last step" if steps == 1 else f"{steps - 1} steps before the last"
    return f"not finite (inf or nan), first in what comes from {where}".replace("1 steps", "1 step")


def _where(departure: int) -> str:
    if departure == 0:
        return "The adjoint is wrong from its first value on: dx[T], at the end of the run."
    good = "dx[T]" if departure == 1 else f"dx[T] to dx[T-{departure - 1}]"
    return (
        f"Counting back from the end, the adjoint is right at {good} and leaves the right one at "
        f"dx[T-{departure}]."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m tau_rnn.gradcheck FILE``: exit status 0 if right, 1 if wrong, 2 if unusable."""
    parser = argparse.ArgumentParser(
        prog="python -m tau_rnn.gradcheck",
        description="Check a hand-derived backward(params, traj, dy); say what is wrong with it.",
        epilog="exit status: 0 every gradient is right, 1 some are wrong, 2 the file is unusable",
    )
    parser.add_argument("file", type=Path, help="Python file that defines the function")
    parser.add_argument("--function", default="backward", help="its name (default: backward)")
    parser.add_argument("--phi", default="tanh", help=f"{', '.join(NONLINEARITIES)} (default tanh)")
    parser.add_argument(
        "--method", default=DEFAULT_METHOD, help=f"{', '.join(METHODS)} (default {DEFAULT_METHOD})"
    )
    parser.add_argument("--rtol", type=float, default=1e-10, help="bar (default 1e-10)")
    parser.add_argument("--seed", type=int, default=0, help="draws other networks (default 0)")
    args = parser.parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):  # a name that the terminal cannot show is no error
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        backward = _load(args.file, args.function)
        report = check_backward(
            backward, phi=args.phi, method=args.method, rng=args.seed, rtol=args.rtol
        )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        print(f"{args.file}: {report}", flush=True)
    except BrokenPipeError:  # the other end of the pipe has read enough; the status still tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if report.ok else 1


def _load(path: Path, name: str) -> Callable:
    """The function of that name in a Python file, or a ValueError that says why there is none."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    module = ModuleType("tau_rnn_reader")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look a module up
    sys.path.insert(0, str(path.resolve().parent))  # it may import what lies beside it
    try:
        # Compiled anew: the cache of imports would take an edit within a second for none.
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:  # a sys.exit(0) must not pass for "right"
        last = traceback.format_exception_only(error)[-1].strip()
        raise ValueError(f"{path}: cannot be imported: {last}") from error
    finally:
        sys.path.pop(0)
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{path}: defines no function {name!r} (see --function)")
    return function
