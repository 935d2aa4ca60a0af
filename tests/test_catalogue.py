"""The marker on a catalogue of slips, and on pairs of them: caught, named, and nothing false said.

What is true of a mistake is known from its source: the slips it consists of (`Mistake.names`), and
its adjoint, which a copy of the source records. So each statement of a report can be decided.
"""

import re

import numpy as np
from mistakes import MISTAKES, compiled

from tau_rnn.gradcheck import check_backward
from tau_rnn.gradcheck.answers import agrees, ask, draw_network
from tau_rnn.gradcheck.facts import conditions
from tau_rnn.gradcheck.known_errors import PLACES
from tau_rnn.gradcheck.recipe import scene

NAMED = {"slip", "own", "sum", "truncated", "copy"}


def two(first: str, second: str) -> str | None:
    """The source with both mistakes, None where one is in the way of the other."""
    source = MISTAKES[first].source
    old, new = MISTAKES[second].old, MISTAKES[second].new
    return source.replace(old, new) if source.count(old) == 1 else None


def recorded(source: str, network):
    """The adjoint of a source: t -> dx[t], for each t at which it computes one."""
    name = "        dc = "
    assert source.count(name) == 1
    backward = compiled(source.replace(name, f"        SEEN[t + 1] = dx.copy()\n{name}"))
    seen = backward.__globals__["SEEN"] = {}
    traj = network.run()
    backward(network.params, traj, network.dy)
    return seen, scene(network.params, traj, network.dy).dx


def first_wrong(source: str, phi: str, method: str) -> int | None:
    """Where the adjoint of a source leaves the right one, counted back from the end."""
    found = []
    for seed, T, N in ((11, 40, 5), (12, 6, 9)):
        network = draw_network(np.random.default_rng(seed), N, T, 2, phi=phi, method=method)
        seen, right = recorded(source, network)
        wrong = [T - t for t in range(1, T + 1) if t in seen and not agrees(seen[t], right[t])]
        missing = [T - t for t in range(2, T + 1) if t not in seen]  # dx[1] may be left out
        found += wrong + missing
    return min(found, default=None)


def statement(finding, field) -> str:
    """A finding on a field as `Mistake.names` has it."""
    if finding.kind in ("slip", "truncated"):
        return f"adjoint: {'truncated' if finding.kind == 'truncated' else finding.value}"
    copy = "copy of " if finding.kind == "copy" else ""
    return f"{field}: {copy}{finding.value}"


def consists_of(statement: str, names) -> bool:
    """Whether slips of these names make a statement true: "everywhere" is in both places."""
    place = r"(in the recurrent term|where the readout enters)$"
    everywhere = re.sub(place, "everywhere", statement)
    both = [statement.replace("everywhere", place) for place in PLACES if place != "everywhere"]
    return statement in names or everywhere in names or set(both) <= set(names)


def is_true(finding, source, names, phi, method) -> bool:
    """Whether what a finding states holds of a source that consists of these slips."""
    backward = compiled(source)

    def draw(seed=5, **sizes):
        return draw_network(np.random.default_rng(seed), **sizes, phi=phi, method=method)

    def given(name, network):
        exact = network.exact()
        return ask(backward, network, exact).grads[name], exact[name]

    def right(name, network) -> bool:
        return agrees(*given(name, network))

    if finding.value == "zero":
        return not any(given(name, draw(N=5, T=5, B=3))[0].any() for name in finding.fields)
    if finding.kind == "factor":
        network = draw(N=5, T=5, B=3)
        pairs = [given(name, network) for name in finding.fields]
        factors = [finding.value or (g * right).sum() / (right**2).sum() for g, right in pairs]
        return all(agrees(g, c * right) for c, (g, right) in zip(factors, pairs))
    if finding.kind in NAMED:
        return all(consists_of(statement(finding, f), names) for f in finding.fields)
    if finding.kind == "first_wrong_step":
        return finding.value == first_wrong(source, phi, method)
    if finding.kind == "adjoint_right":
        return first_wrong(source, phi, method) is None
    if finding.kind == "short_runs":
        long = draw(N=4, T=60, B=1)
        k = finding.value
        return all(
            right(f, long.last(k - 1)) and not right(f, long.last(k)) for f in finding.fields
        )
    if finding.kind == "right_when":
        where, _ = conditions(backward, draw)
        return all(set(finding.value) <= set(where[name]) for name in finding.fields)
    if finding.kind == "small_steps":
        _, nearly = conditions(backward, draw)
        return set(finding.fields) <= nearly
    if finding.kind == "smallest":
        return not any(right(name, draw(N=5, T=5, B=3)) for name in finding.fields)
    return finding.kind == "unnamed"


def verdict(source, names, phi, method):
    """(caught, named, false statements, empty explanations) of one source."""
    report = check_backward(compiled(source), phi=phi, method=method)
    named = {f for finding in report.findings if finding.kind in NAMED for f in finding.fields}
    false = [f for f in report.findings if not is_true(f, source, names, phi, method)]
    empty = [
        field
        for field in report.diagnosis
        if all(f.kind == "unnamed" for f in report.findings if field in f.fields)
    ]
    return report, not report.ok, named >= set(report.diagnosis), false, empty
