"""Which known slips give a wrong gradient? Each of them is carried out, and so is every pair.

A slip in the adjoint is only considered if every gradient that is right stays right with it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from tau_rnn.gradcheck.answers import Network, agrees, tolerance
from tau_rnn.gradcheck.known_errors import OWN, SHARED, SUMS, Slip, Sum, edits_of
from tau_rnn.gradcheck.recipe import ADJOINT_FIELDS, RECIPE, Run, run_of
from tau_rnn.model import Array, Trajectory

__all__: list[str] = []

#: The order of the search: how many shared slips, and how many of each gradient's own, at most.
_ROUNDS = ((0, 1), (1, 0), (0, 2), (1, 1), (2, 0), (1, 2), (2, 1))


#: Ways to add up terms: the right one, each wrong one, and two at once.
ZERO = next(each for each in SUMS if each.name == "zero")
_ADDED_UP = [sums for size in (0, 1, 2) for sums in itertools.combinations(SUMS, size)]


class Asked(NamedTuple):
    """A network, what was answered for it, and the right answer."""

    network: Network
    traj: Trajectory
    grads: dict[str, Array]
    exact: dict[str, Array]

    def run_with(self, shared: Sequence[Slip] = ()) -> Run:
        """What the formulas read, with these slips in the adjoint."""
        n = self.network
        return run_of(n.params, self.traj, n.dy, RECIPE | edits_of(shared))


class Own(NamedTuple):
    """What is wrong in the formula of one gradient: slips, and wrong ways to add up its terms."""

    slips: tuple[Slip, ...] = ()
    sums: tuple[Sum, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all of them."""
        return *(slip.name for slip in self.slips), *(each.name for each in self.sums)

    def gradient(self, field: str, run: Run) -> Array:
        """The gradient of the field with these slips, in a run."""
        return _totals(field, run, self.slips)[_ADDED_UP.index(self.sums)]


class Explanation(NamedTuple):
    """The slips that together give the wrong gradients: shared ones, and those of each field."""

    shared: tuple[Slip, ...]
    own: dict[str, Own]  # a field that is absent is not explained

    def cost(self, fields: Sequence[str]) -> int:
        """The number of different slips; a field without an explanation counts for four."""
        different = {name for own in self.own.values() for name in own.names}
        return len(self.shared) + len(different) + 4 * (len(fields) - len(self.own))


def explain(asked: Sequence[Asked], wrong: Sequence[str], right: Sequence[str]) -> Explanation:
    """The fewest slips that give the wrong gradients, each to rounding on every network.

    Parameters
    ----------
    asked : what was asked, and what was answered
    wrong : names of the fields to explain
    right : names of the fields that are right, which no slip in the adjoint may change
    """
    plain = _Attempt(asked, ())
    readout = plain.own([name for name in wrong if name not in ADJOINT_FIELDS], 2)
    # A gradient of zeros is just that, whatever the adjoint is.
    some = {name for each in asked for name, given in each.grads.items() if given.any()}
    zero = {name: Own((), (ZERO,)) for name in wrong if name not in some}
    wrong = [name for name in wrong if name in ADJOINT_FIELDS and name not in zero]
    right = [name for name in right if name in ADJOINT_FIELDS]
    best = Explanation((), {})
    if wrong:
        possible = [slip for slip in SHARED if _may_be(asked[0], (slip,), wrong, right)]
        for size, limit in _ROUNDS:
            if len(best.own) == len(wrong) and best.cost(wrong) <= size + limit:
                break  # nothing that is new in this round costs less
            for shared in _compatible(possible, size):
                if not (size and right) or _may_be(asked[0], shared, wrong, right):
                    attempt = _Attempt(asked, shared)
                    # Slips in the adjoint show in some gradient whose own formula is right.
                    if not size or any(attempt.fits(name, ()).any() for name in wrong):
                        found = Explanation(shared, attempt.own(wrong, limit))
                        best = min(best, found, key=lambda each: each.cost(wrong))
    zero |= _Attempt(asked, best.shared).own(list(zero), 0)  # but with these slips it may be 0
    return Explanation(best.shared, zero | readout | best.own)


def _totals(field: str, run: Run, slips: Sequence[Slip] = ()) -> Array:
    """The gradient of a field with these slips, for each way in ``_ADDED_UP``."""
    run = Run(**{**vars(run), "recipe": run.recipe | edits_of(slips)})
    terms = run.recipe[field](run)
    T, B = run.dy.shape[:2]
    flat = terms.reshape(terms.shape[0] * B, -1)
    return (_weights(len(terms), T, B) @ flat).reshape(-1, *terms.shape[2:])


@cache
def _weights(n: int, T: int, B: int) -> Array:
    """(len(ADDED_UP), n * B) weights of the terms, all 1 in the first row."""
    rows = np.ones((len(_ADDED_UP), n, B))
    for row, sums in zip(rows, _ADDED_UP):
        for each in sums:
            row *= each.weights(n, T, B)
    return rows.reshape(len(rows), -1)


def _compatible(slips: Sequence[Slip], size: int) -> Iterator[tuple[Slip, ...]]:
    """Sets of slips of which no two edit the same entry."""
    for chosen in itertools.combinations(slips, size):
        if len(edits_of(chosen)) == sum(len(slip.edits) for slip in chosen):
            yield chosen


def _may_be(asked: Asked, shared: Sequence[Slip], wrong, right) -> bool:
    """Whether slips in the adjoint leave the right gradients right, and change a wrong one."""
    run = asked.run_with(shared)
    plain = {name: run.recipe[name](run).sum((0, 1)) for name in (*wrong, *right)}
    return all(agrees(plain[name], asked.exact[name]) for name in right) and any(
        not agrees(plain[name], asked.exact[name]) for name in wrong
    )


class _Attempt:
    """Given slips in the adjoint, what must be wrong with each gradient's own formula?"""

    def __init__(self, asked: Sequence[Asked], shared: Sequence[Slip]):
        self.asked, self.shared = asked, shared
        self.runs: dict[int, Run] = {}

    def own(self, fields: Sequence[str], limit: int) -> dict[str, Own]:
        """The slips of each field, up to a limit; without those for which there are none.

        Where several do equally well, the one that most fields share.
        """
        several = {name: self.all_of(name, limit) for name in fields}
        named = Counter(own.names for each in several.values() for own in each)
        return {
            name: max(each, key=lambda own: named[own.names])
            for name, each in several.items()
            if each
        }

    def all_of(self, field: str, limit: int) -> list[Own]:
        """All explanations of one field that need the fewest slips, up to a limit."""
        found: dict[int, list[Own]] = {cost: [] for cost in range(limit + 1)}
        for size in range(limit + 1):
            for slips in _compatible(OWN[field], size):
                for k in np.flatnonzero(self.fits(field, slips)):
                    own = Own(slips, _ADDED_UP[k])
                    found.setdefault(len(own.names), []).append(own)
            if found[size]:
                return found[size]
        return []

    def fits(self, field: str, slips: Sequence[Slip]) -> Array:
        """For each way to add up, whether it gives what was answered on every network."""
        fits = np.ones(len(_ADDED_UP), bool)
        compared = False
        for k, asked in enumerate(self.asked):
            if field in asked.grads and fits.any():
                if k not in self.runs:
                    self.runs[k] = asked.run_with(self.shared)
                given, compared = asked.grads[field], True
                candidates = _totals(field, self.runs[k], slips)
                axes = tuple(range(1, candidates.ndim))
                differences = np.abs(candidates - given).sum(axes)
                size = np.abs(candidates).sum(axes)
                fits &= (differences == 0) | (differences < tolerance(given) * size)
        return fits & compared
