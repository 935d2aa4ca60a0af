"""What is known of a gradient that no known slip produces: when it is right, and where not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tau_rnn.gradcheck.answers import SAME, Network, agrees, ask, distance
from tau_rnn.gradcheck.recipe import ADJOINT_FIELDS, FIELDS
from tau_rnn.gradcheck.report import Finding, listed
from tau_rnn.gradcheck.search import Asked, Explanation

__all__: list[str] = []

_SEVERAL_FACTORS = "which differs from run to run"


class _Shortest(NamedTuple):
    """The smallest number of last steps at which the gradient of a field goes wrong."""

    wrong: dict[str, int]  # fields that are wrong then, or not finite
    nonfinite: dict[str, int]  # fields that are not finite then


def shortest_wrong_run(backward: Callable, network: Network, names: Sequence[str]) -> _Shortest:
    """Try the last 1, 2, 3, ... steps of a run of one trial, until all the names have gone wrong.

    dW, dW_in, db and dtau of the last k steps contain dx[T], ..., dx[T-k+1], and dx0 is dx[T-k]:
    what is right at k - 1 and wrong at k is wrong in what comes from k - 1 steps before the last.
    """
    found = _Shortest({}, {})
    for k in range(1, len(network.u) + 1):
        part = network.last(k)
        right = part.exact()
        for name, g in ask(backward, part, right).grads.items():
            if not np.isfinite(g).all():
                found.nonfinite.setdefault(name, k)
            if not agrees(g, right[name]):
                found.wrong.setdefault(name, k)
        if found.wrong.keys() >= set(names):
            break
    return found


def facts(
    backward: Callable,
    draw: Callable[..., Network],
    asked: Sequence[Asked],
    names: Sequence[str],
    found: Explanation,
    holders: Sequence[str],
) -> list[Finding]:
    """All that is known of gradients that no known slip produces."""
    shortest = shortest_wrong_run(backward, draw(N=12, T=40, B=1), names).wrong
    where, nearly = conditions(backward, draw)
    stated: dict[tuple, list[str]] = {}

    def state(name: str, kind: str, words: str, value=None) -> None:
        stated.setdefault((kind, words, value), []).append(name)

    for name in names:
        more = "in a long run there is more, which no known slip produces"
        state(name, "unnamed", more if name in found.own else "no known slip produces it")
        if twin := _twin(name, asked):
            state(name, "copy", f"it is the same array as d{twin}", twin)
        factor = _factor(name, asked)
        if factor == _SEVERAL_FACTORS:
            state(name, "factor", f"all entries of a run are wrong by one factor, {factor}")
        elif factor:
            state(name, "factor", f"each entry is {factor:.6g} times the right one", factor)
        if holders and name == "x0":
            words = f"{listed(holders)} hold the right adjoint, dx[T] to dx[1]: look at the step "
            state(name, "adjoint_right", words + "to dx[0], and at what is returned", (*holders,))
        elif holders and name in ADJOINT_FIELDS:
            words = f"{listed(holders)} hold the right adjoint, so look at the formula of d{name}"
            state(name, "adjoint_right", words, tuple(holders))
        if shortest.get(name, 1) > 1:
            k = shortest[name]
            steps = "1 step" if k == 2 else f"{k - 1} steps"
            words = f"right in runs of up to {steps}, wrong in runs of {k} and more"
            state(name, "short_runs", words, k)
        if where.get(name):
            words = f"it is right with: {', '.join(where[name])}"
            state(name, "right_when", words, tuple(where[name]))
        else:
            state(name, *_at_worst(name, asked, everywhere=name in where))
        if name in nearly:
            words = "it is nearly right where dt is much smaller than tau: the error falls with dt"
            state(name, "small_steps", words)
    return [Finding(kind, tuple(f), words, value) for (kind, words, value), f in stated.items()]


def _at_worst(name: str, asked: Sequence[Asked], everywhere: bool) -> tuple[str, str, tuple]:
    """Kind, words and value of the most wrong entry, on the smallest network that has one."""
    answered = [a for a in asked if name in a.grads]
    wrong = [a for a in answered if not agrees(a.grads[name], a.exact[name])]
    each = min(wrong, key=lambda a: a.traj.x.size)
    given, right = each.grads[name], each.exact[name]
    where = tuple(int(k) for k in np.unravel_index(np.abs(given - right).argmax(), right.shape))
    a, b = float(given[where]), float(right[where])
    entry = f"d{name}[{', '.join(map(str, where))}]"
    words = f"with {each.network}, {entry} is {a:.4g}, and {b:.4g} is right"
    if everywhere:
        return "smallest", f"wrong in each special case that was tried: {words}", (a, b)
    return "example", words, (a, b)


def _twin(name: str, asked: Sequence[Asked]) -> str | None:
    """The other field for which the same array was returned."""
    for other in FIELDS:
        if other != name and all({name, other} <= a.grads.keys() for a in asked):
            pairs = [(a.grads[name], a.grads[other]) for a in asked]
            if all(np.array_equal(g, h) for g, h in pairs) and any(g.any() for g, _ in pairs):
                return other
    return None


def _factor(name: str, asked: Sequence[Asked]) -> float | str | None:
    """The factor by which all entries are wrong alike."""
    factors = []
    for each in asked:
        if name not in each.grads:
            return None
        given, right = each.grads[name], each.exact[name]
        if right.any():
            factors.append(float((given * right).sum() / (right**2).sum()))
        if not agrees(given, factors[-1] * right if right.any() else right):
            return None
    alike = np.ptp(factors) < 1e-9 * abs(factors[0])
    return factors[0] if alike else _SEVERAL_FACTORS


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
        "one unit, one step, one trial": draw(N=1, T=1, B=1, n_in=1, n_out=1),
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
