"""What is wrong with a gradient, found by test.

Three kinds of evidence, from outside, without reading the code under test:

1. *Which slip reproduces it?* Every slip of `known_errors`, and every two, is carried out; what
   gives the wrong gradient to rounding, on networks drawn at random, is the diagnosis.
2. *Is the adjoint right, and from which step on is it wrong?* Five gradients hold it, and a
   statement about it is made only where each of the five allows it. With an input that is a pulse
   of its own at each step, dW_in shows the adjoint step by step.
3. *When is it right?* Failing the first, the gradient is tried where a term cannot matter: equal
   time constants, a symmetric W, no noise, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tau_rnn.gradcheck.adjoint import READERS, first_wrong_step, read_adjoint, truncated, where
from tau_rnn.gradcheck.answers import Network, agrees, distance
from tau_rnn.gradcheck.facts import facts, shortest_wrong_run
from tau_rnn.gradcheck.recipe import ADJOINT_FIELDS, FIELDS
from tau_rnn.gradcheck.report import Finding
from tau_rnn.gradcheck.search import ZERO, Asked, Explanation, Own, explain

__all__: list[str] = []

_NEARLY = 1e-5  # errors below it are those of single precision, or of a finite difference


def diagnose(
    backward: Callable, draw: Callable[..., Network], asked: Sequence[Asked], wrong: Sequence[str]
) -> list[Finding]:
    """Findings for the wrong fields of a backward.

    Parameters
    ----------
    backward : the function under test
    draw : draws a network, as `draw_network` without its rng
    asked : what it answered on two short networks, the smallest one, and a long one
    wrong : names of the fields that it gave, and that are not right
    """
    short, long = asked[:2], asked[3]
    findings, wrong = _peculiar(backward, asked, wrong)
    broken = {name for finding in findings for name in finding.fields}
    # On short networks a slip is either reproduced to rounding or not; errors do not grow.
    seen = [name for name in wrong if not _right(name, short)]
    kept = [name for name in FIELDS if name not in broken | set(seen) and _right(name, short)]
    found = explain(short, seen, kept)
    findings += _named(found)

    # Does what was found hold in a long run as well? And if not, is it the adjoint that differs?
    s = long.scene(found.shared)
    own = {name: Own() for name in kept} | found.own
    late = [f for f in own if f in long.grads and not agrees(long.grads[f], own[f].of(f, s))]
    unnamed = [name for name in seen if name not in found.own]
    reading = None
    if late or set(READERS) <= set(unnamed):
        reading = read_adjoint(backward, draw(N=70, T=60, B=1, n_in=60), found, own)
    if reading and reading.cut_off:
        findings.append(truncated([f for f in ADJOINT_FIELDS if f in (*late, *unnamed)], reading))
        late, unnamed = ([f for f in names if f not in ADJOINT_FIELDS] for names in (late, unnamed))
    unnamed += [name for name in late if name in wrong]
    if unnamed:
        holders = _holders(kept, found, [*late, *broken])
        findings += facts(backward, draw, asked, unnamed, found, holders)
    step = first_wrong_step(asked, found, reading)
    if step is not None:
        held = tuple(name for name in ADJOINT_FIELDS if name in wrong)
        findings.append(Finding("first_wrong_step", held, where(step), step))
    return findings


def _right(name: str, asked: Sequence[Asked]) -> bool:
    """Whether a gradient was given, and is right, on all of these networks."""
    pairs = [(a.grads.get(name), a.exact[name]) for a in asked]
    return all(given is not None and agrees(given, right) for given, right in pairs)


def _peculiar(backward, asked, wrong) -> tuple[list[Finding], list[str]]:
    """What needs no search: not finite, nearly right, another gradient. And the fields left."""
    findings, left = [], []
    given = {name: [(a.grads[name], a.exact) for a in asked if name in a.grads] for name in wrong}
    endless = [f for f in wrong if not all(np.isfinite(g).all() for g, _ in given[f])]
    first = shortest_wrong_run(backward, asked[3].network, endless).nonfinite if endless else {}
    for name in wrong:
        error = max(distance(g, exact[name]) for g, exact in given[name])
        if name in endless:
            findings.append(_not_finite(name, first.get(name)))
        elif error < _NEARLY:
            words = f"nearly right, to {error:.0e}: is something in single precision, or a finite "
            findings.append(Finding("precision", (name,), words + "difference?", error))
        elif other := _is_gradient_of(name, given[name]):
            words = f"what is returned for d{name} is the gradient of {other}: mind the order"
            findings.append(Finding("copy", (name,), words, other))
        else:
            left.append(name)
    return findings, left


def _is_gradient_of(name: str, given) -> str | None:
    """The other field whose right gradient this is."""
    for other in FIELDS:
        if other != name and all(
            g.shape == exact[other].shape and agrees(g, exact[other]) for g, exact in given
        ):
            return other if any(g.any() for g, _ in given) else None
    return None


def _not_finite(name: str, steps: int | None) -> Finding:
    words = "not finite (inf or nan)"
    if steps is not None:
        before = f"{steps - 1} steps before the last".replace("1 steps", "1 step")
        words += f", first in what comes from {'the last step' if steps == 1 else before}"
    return Finding("nonfinite", (name,), words, steps)


def _named(found: Explanation) -> list[Finding]:
    """One finding for each slip, of all the fields that have it."""
    held = tuple(f for f in ADJOINT_FIELDS if f in found.own and ZERO not in found.own[f].sums)
    findings = [Finding("slip", held, s.words, s.name, s.equation) for s in found.shared]
    together: dict = {}
    for name in (name for name in FIELDS if name in found.own):
        own = found.own[name]
        for slip in own.slips:
            together.setdefault(("own", slip.name, slip.words, slip.equation), []).append(name)
        for each in own.sums:
            together.setdefault(("sum", each.name, each.words, ""), []).append(name)
    for (kind, name, words, equation), fields in together.items():
        findings.append(Finding(kind, tuple(fields), words, name, equation))
    return findings


def _holders(kept: Sequence[str], found: Explanation, but: Sequence[str]) -> list[str]:
    """The fields that hold the right adjoint: right ones, and those with slips of their own."""
    own = {} if found.shared else {f: o for f, o in found.own.items() if not o.sums}
    return [f for f in ADJOINT_FIELDS if f in (*kept, *own) and f not in but]
