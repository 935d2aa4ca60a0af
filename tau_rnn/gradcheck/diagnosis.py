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

from tau_rnn.gradcheck.adjoint import READERS, first_wrong_step, read_adjoint, truncated
from tau_rnn.gradcheck.answers import SAME, Network, agrees, ask, distance
from tau_rnn.gradcheck.recipe import ADJOINT_FIELDS, FIELDS
from tau_rnn.gradcheck.report import Finding, listed, merged
from tau_rnn.gradcheck.search import ZERO, Asked, Explanation, Own, explain

__all__: list[str] = []

_NEARLY = 1e-5  # errors below it are those of single precision, or of a finite difference


def diagnose(
    backward: Callable, draw: Callable[..., Network], asked: Sequence[Asked], wrong: Sequence[str]
) -> tuple[list[Finding], int | None]:
    """Findings for the wrong fields of a backward, and the first wrong step of its adjoint.

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
    kept = [name for name in FIELDS if name not in broken and _right(name, short)]
    found = explain(short, seen, kept)
    findings += _named(found)

    # Does what was found hold in a long run as well? And if not, is it the adjoint that differs?
    run, own = long.run_with(found.shared), dict.fromkeys(kept, Own()) | found.own
    late = [
        name
        for name in own
        if name in long.grads and not agrees(long.grads[name], own[name].gradient(name, run))
    ]
    unnamed = [name for name in seen if name not in found.own]
    reading = None
    if late or set(READERS) <= set(unnamed):
        reading = read_adjoint(backward, draw(N=70, T=60, B=1, n_in=60), found, own)
    if reading and reading.cut_off:
        findings.append(truncated([f for f in ADJOINT_FIELDS if f in (*late, *unnamed)], reading))
        late, unnamed = ([f for f in names if f not in ADJOINT_FIELDS] for names in (late, unnamed))
    unnamed += [name for name in late if name in wrong]
    if unnamed:
        # The right adjoint is in right gradients, and in those whose own formula has a slip.
        right = [*kept, *(f for f in found.own if not (found.shared or found.own[f].sums))]
        holders = [f for f in ADJOINT_FIELDS if f in right and f not in (*late, *broken)]
        findings += _facts(backward, draw, asked, unnamed, found, holders)
    return findings, first_wrong_step(asked, found, reading)


def _right(name: str, asked: Sequence[Asked]) -> bool:
    """Whether a gradient was given, and is right, on all of these networks."""
    return all(name in a.grads and agrees(a.grads[name], a.exact[name]) for a in asked)


def _peculiar(backward, asked, wrong) -> tuple[list[Finding], list[str]]:
    """What needs no search: not finite, nearly right, another gradient. And the fields left."""
    findings, left = [], []
    answered = {name: [a for a in asked if name in a.grads] for name in wrong}
    endless = [f for f in wrong if not all(_finite(a.grads[f]) for a in answered[f])]
    first = shortest_wrong_run(backward, asked[3].network, endless, _finite)
    for name in wrong:
        error = max(distance(a.grads[name], a.exact[name]) for a in answered[name])
        if name in endless:
            findings.append(_not_finite(name, first.get(name)))
        elif error < _NEARLY:
            words = f"nearly right, to {error:.0e}: is something in single precision, or a finite "
            findings.append(Finding("precision", (name,), words + "difference?", error))
        elif other := _copied(name, asked, [a.exact for a in asked]):
            words = f"what is returned for d{name} is the gradient of {other}: mind the order"
            findings.append(Finding("copy", (name,), words, other))
        else:
            left.append(name)
    return findings, left


def _copied(name: str, asked: Sequence[Asked], arrays: Sequence[dict]) -> str | None:
    """The other field whose entry in these arrays is what was given for this one."""
    given = [(a.grads[name], its) for a, its in zip(asked, arrays) if name in a.grads]
    for other in FIELDS:
        if other != name and any(g.any() for g, _ in given):
            pairs = [(g, its.get(other)) for g, its in given]
            if all(h is not None and g.shape == h.shape and agrees(g, h) for g, h in pairs):
                return other
    return None


def _finite(given, right=None) -> bool:
    return bool(np.isfinite(given).all())


def _not_finite(name: str, steps: int | None) -> Finding:
    words = "not finite (inf or nan)"
    if steps is not None:
        before = f"{steps - 1} steps before the last".replace("1 steps", "1 step")
        words += f", first in what comes from {'the last step' if steps == 1 else before}"
    return Finding("nonfinite", (name,), words, steps)


def _named(found: Explanation) -> list[Finding]:
    """One finding for each slip, of all the fields that have it."""
    held = tuple(f for f in ADJOINT_FIELDS if f in found.own and ZERO not in found.own[f].sums)
    named = [Finding("slip", held, slip.words, slip.name, slip.equation) for slip in found.shared]
    for name in FIELDS:
        own = found.own.get(name, Own())
        named += [Finding("own", (name,), s.words, s.name, s.equation) for s in own.slips]
        named += [Finding("sum", (name,), s.words, s.name) for s in own.sums]
    return merged(named)


# --- what is known of a gradient that no known slip produces -------------------------------------


def shortest_wrong_run(
    backward: Callable, network: Network, names: Sequence[str], right: Callable = agrees
) -> dict[str, int]:
    """The last 1, 2, 3, ... steps of a run of one trial: with how many does each go wrong?

    dW, dW_in, db and dtau of the last k steps contain dx[T], ..., dx[T-k+1], and dx0 is dx[T-k]:
    what is right at k - 1 and wrong at k is wrong in what comes from k - 1 steps before the last.
    """
    found: dict[str, int] = {}
    for k in range(1, len(network.u) + 1):
        if len(found) == len(names):
            break
        part = network.last(k)
        exact = part.exact()
        for name, given in ask(backward, part, exact).grads.items():
            if name in names and not right(given, exact[name]):
                found.setdefault(name, k)
    return found


def _facts(
    backward: Callable,
    draw: Callable[..., Network],
    asked: Sequence[Asked],
    names: Sequence[str],
    found: Explanation,
    holders: Sequence[str],
) -> list[Finding]:
    """All that is known of gradients that no known slip produces."""
    shortest = shortest_wrong_run(backward, draw(N=12, T=40, B=1), names)
    where, nearly = conditions(backward, draw)
    stated = []

    def state(name: str, kind: str, words: str, value=None) -> None:
        stated.append(Finding(kind, (name,), words, value))

    for name in names:
        more = "in a long run there is a further error, which no known slip produces"
        state(name, "unnamed", more if name in found.own else "no known slip produces it")
        if twin := _copied(name, asked, [a.grads for a in asked]):
            state(name, "copy", f"it is the same array as d{twin}", twin)
        factors = _factors(name, asked)
        if factors and np.ptp(factors) <= 1e-9 * abs(factors[0]):
            words = f"each entry is {factors[0]:.6g} times the right one"
            state(name, "factor", words, factors[0])
        elif factors:
            words = "all entries of a run are wrong by the same factor, which differs from run "
            state(name, "factor", words + "to run")
        if holders and name in ADJOINT_FIELDS:
            words = f"{listed(holders)} hold the right adjoint, so look at the formula of d{name}"
            if name == "x0":
                words = f"{listed(holders)} hold the right adjoint, dx[T] to dx[1]: look at the "
                words += "step to dx[0], and at what is returned"
            state(name, "adjoint_right", words, tuple(holders))
        if (k := shortest.get(name, 1)) > 1:
            steps = "1 step" if k == 2 else f"{k - 1} steps"
            words = f"right in runs of up to {steps}, wrong in runs of {k} and more"
            state(name, "short_runs", words, k)
        if where.get(name):
            words = f"it is right with: {', '.join(where[name])}"
            state(name, "right_when", words, tuple(where[name]))
        elif name in where:
            words, value = _at_worst(name, asked)
            tried = f"wrong in every special case that was tried: {words}"
            state(name, "smallest", tried, value)
        else:
            state(name, "example", *_at_worst(name, asked))
        if name in nearly:
            words = "it is nearly right where dt is much smaller than tau: the error falls with dt"
            state(name, "small_steps", words)
    return merged(stated)


def _at_worst(name: str, asked: Sequence[Asked]) -> tuple[str, tuple[float, float]]:
    """The most wrong entry on the smallest network that has one, in words, and the right one."""
    wrong = [a for a in asked if name in a.grads and not _right(name, [a])]
    each = min(wrong, key=lambda a: a.traj.x.size)
    given, right = each.grads[name], each.exact[name]
    where = tuple(int(k) for k in np.unravel_index(np.abs(given - right).argmax(), right.shape))
    a, b = float(given[where]), float(right[where])
    entry = f"d{name}[{', '.join(map(str, where))}]"
    return f"with {each.network}, {entry} is {a:.4g}, and {b:.4g} is right", (a, b)


def _factors(name: str, asked: Sequence[Asked]) -> list[float]:
    """For each network, the factor by which all entries are wrong alike; empty if some are not."""
    factors = []
    for each in asked:
        given, right = each.grads.get(name), each.exact[name]
        if given is None:
            return []
        factor = float((given * right).sum() / (right**2).sum()) if right.any() else 1.0
        if not agrees(given, factor * right):
            return []
        factors += [factor] * bool(right.any())
    return factors


def conditions(backward: Callable, draw: Callable[..., Network]):
    """For each field that is wrong on a network of no special kind, those on which it is right.

    And those of them that are nearly right where dt is much smaller than tau.
    """
    base = draw(N=4, T=6, B=3)
    p = base.params
    whole = 50 if base.method == "exponential" else 1  # dt / tau with which alpha is 1

    def scaled(ratio: float) -> Network:
        return base._replace(params=p._replace(tau=p.tau / ratio))

    tried: dict[str, Network] = {
        "one unit, step and trial": draw(N=1, T=1, B=1, n_in=1, n_out=1),
        "a single step": draw(N=4, T=1, B=3),
        "a single trial": draw(N=4, T=6, B=1),
        "a single unit": draw(N=1, T=6, B=3),
        "a single output": draw(N=4, T=6, B=3, n_out=1),
        "a loss of the last output alone": base._replace(
            dy=base.dy * (np.arange(6) == 5)[:, np.newaxis, np.newaxis]
        ),
        "a symmetric W": base._replace(params=p._replace(W=p.W + p.W.T)),
        "W = 0": base._replace(params=p._replace(W=0 * p.W)),
        "equal time constants": base._replace(params=p._replace(tau=0 * p.tau + p.tau.mean())),
        "alpha = 1": base._replace(params=p._replace(tau=0 * p.tau + base.dt / whole)),
        "a linear phi": base._replace(phi="linear"),
        "no noise": base._replace(noise=None),
        "no input": base._replace(u=0 * base.u),
        "x0 = 0": base._replace(params=p._replace(x0=0 * p.x0)),
        "b = 0": base._replace(params=p._replace(b=0 * p.b)),
    }

    def errors(network: Network) -> dict[str, float]:
        right = network.exact()
        given = ask(backward, network, right).grads
        return {f: distance(g, right[f]) if right[f].any() else np.inf for f, g in given.items()}

    # What is right here is wrong only in longer runs, and special networks say nothing of those.
    where: dict[str, list[str]] = {f: [] for f, error in errors(base).items() if error > SAME}
    for words, network in tried.items():
        for name, error in errors(network).items():
            if name in where and error < SAME:
                where[name].append(words)
    coarse, fine = errors(scaled(1e-3)), errors(scaled(1e-6))
    return where, {f for f in where if f in fine and fine[f] < min(1e-4, 0.01 * coarse[f])}
