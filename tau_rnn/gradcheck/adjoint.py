"""The adjoint that a backward has in it, read off its gradients, and where it goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.gradcheck.answers import Network, agrees, ask, distance
from tau_rnn.gradcheck.recipe import step_back
from tau_rnn.gradcheck.report import Finding
from tau_rnn.gradcheck.search import Asked, Explanation, Own

__all__: list[str] = []

READERS = ("W", "W_in", "b", "tau")  # the gradients that hold dx[T] .. dx[1]; dx0 is dx[0]
_READ = 1e-6  # precision to which an adjoint is read off: solving for it from dW costs digits


class _Reading(NamedTuple):
    """The adjoint that all gradients imply, compared with the steps of a recipe."""

    steps: int | None  # the first from the end that does not follow the recipe: dx[T - steps]
    cut_off: bool  # whether nothing is passed back at each such step


def read_adjoint(
    backward: Callable, network: Network, found: Explanation, own: Mapping[str, Own]
) -> _Reading | None:
    """Read the adjoint off the gradients, step by step, if they all imply the same one.

    The network has one trial, and an input of its own for each step, 1 at this step and else 0:
    dW_in = alpha dx[t+1] in the column of input t. With more units than steps, dW is solved for
    the same. Either is believed only if dW, dW_in, db and dtau all follow from it.

    What multiplies the adjoint of each unit by a factor of its own may as well be in the formulas
    of all gradients. So the same is done with another run: where the first wrong value is the
    right one times factors, and these are the same for both, nothing is said.
    """
    T = len(network.u)
    first = network._replace(u=np.eye(T)[:, np.newaxis])
    second = first._replace(
        dy=np.roll(first.dy, 1, axis=2),
        noise=None if first.noise is None else np.roll(first.noise, 1, axis=2),
    )
    read = [_run_as_read(backward, each, found, own) for each in (first, second)]
    if None in read:
        return None
    (run, right), (other, right_other) = read
    reading = _compare(run, T)
    if reading.steps is not None and not reading.cut_off:
        t = T - reading.steps
        if distance(run.dx[t] * right_other[t], other.dx[t] * right[t]) < _READ:
            return None
    return reading


def _run_as_read(backward, network, found, own) -> Any:
    """The run with the adjoint that the gradients imply, and the right one; None if they differ."""
    exact = network.exact()
    grads = ask(backward, network, exact).grads
    run = Asked(network, network.run(), grads, exact).run_with(found.shared)
    right = run.dx.copy()
    own = {name: own.get(name, Own()) for name in READERS}
    if not all(name in grads and np.isfinite(grads[name]).all() for name in READERS):
        return None
    candidates = []
    if own["W_in"] == Own():
        candidates.append(grads["W_in"].T / run.alpha)
    if own["W"] == Own():
        candidates.append((np.linalg.pinv(run.r[:-1, 0].T) @ grads["W"].T) / run.alpha)
    for candidate in candidates:
        run.dx[1:-2, 0] = candidate
        # Formulas that read more than dx, dr for instance, imply an adjoint in another way.
        if all(distance(grads[name], own[name].gradient(name, run)) < _READ for name in READERS):
            return run, right
    return None


def _compare(run, T: int) -> _Reading:
    """At which steps does the adjoint of a run not follow from the step after it?"""
    off, cut = [], []
    for t in range(T, 0, -1):
        _, passed, dx = step_back(run, t)
        if not distance(run.dx[t], dx) < _READ:
            off.append(T - t)
            cut.append(distance(run.dx[t], dx - passed) < _READ)
    return _Reading(off[0] if off else None, bool(off) and all(cut))


def first_wrong_step(asked, found: Explanation, reading: _Reading | None) -> int | None:
    """Where the adjoint leaves the right one, as far as the gradients tell."""
    steps = [reading.steps] if reading else []
    for each in asked if found.shared else ():
        given, right = each.run_with(found.shared).dx, each.run_with().dx
        T = len(each.network.u)
        differ = (n for n in range(T + 1) if not agrees(given[T - n], right[T - n]))
        steps.append(next(differ, None))
    return min((n for n in steps if n is not None), default=None)


def truncated(fields: Sequence[str], reading: _Reading) -> Finding:
    """The finding that nothing is passed back beyond the last steps."""
    last = "step" if reading.steps == 1 else f"{reading.steps} steps"
    words = (
        f"what comes from the last {last} is right, what comes from further back is missing "
        "(truncated backpropagation)"
    )
    return Finding("truncated", tuple(fields), words, reading.steps, "3.5")
