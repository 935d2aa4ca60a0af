"""The marker on a catalogue of slips, and on pairs of them: caught, named, and nothing false said.

What is true of a mistake is known from its source: the slips it consists of (`Mistake.names`), and
its adjoint, which a copy of the source records. So each statement of a report can be decided.
"""

import itertools
import re
from typing import NamedTuple

import numpy as np
import pytest
from mistakes import MISTAKES, RIGHT, compiled

from tau_rnn.gradcheck import check_backward
from tau_rnn.gradcheck.answers import agrees, ask, draw_network
from tau_rnn.gradcheck.diagnosis import conditions
from tau_rnn.gradcheck.known_errors import PLACES
from tau_rnn.gradcheck.recipe import run_of
from tau_rnn.gradcheck.report import Finding

pytestmark = pytest.mark.usefixtures("networks_once")

TWELVE = (
    "W untransposed", "leak is alpha", "phi' at t+1", "slope of tanh", "Euler whatever the method",
    "alpha missing in dW", "inputs one step late", "bias summed over units",
    "readout of the old rates", "dx0 one step early", "wrong sign of dalpha/dtau",
    "mean over the batch",
)  # fmt: skip
#: Pairs of which one uses what the other spoils, so that they are other slips than the two.
MIXED = {
    ("dx0 one step early", "last step left out"),  # there is no dx
    ("dx0 one step early", "first step left out"),
    ("adjoint before its output", "alpha twice in dtau"),  # its dc is that of the adjoint
    ("leak missing", "adjoint before its output"),  # what is passed back begins as 0, and stays 0
    ("readout one step late", "first step left out"),  # the step that wraps is the first
    ("last step left out", "dr in place of dx"),  # it raises
    ("last step left out", "one step of backpropagation"),  # only the sums lose that step
}

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
    return seen, run_of(network.params, traj, network.dy).dx


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


def consists_of(statement: str, names, field: str) -> bool:
    """Whether slips of these names make a statement on a field true; "everywhere" is in both."""
    place = r"(in the recurrent term|where the readout enters)$"
    everywhere = re.sub(place, "everywhere", statement)
    both = [statement.replace("everywhere", place) for place in PLACES if place != "everywhere"]
    copy = re.fullmatch(r"(\w+): copy of (\w+)", statement)  # of two that are the same array
    turned = f"{copy[2]}: copy of {copy[1]}" if copy else None
    # What happens at 0 shows in dx0 alone.
    if {"x0: zero", "x0: dx[1]", "adjoint: nothing passed back"} & set(names):
        names = {name.removesuffix(" but at 0") for name in names} | set(names)
    # Euler's method has two formulas: tau reads both, the others only that of alpha.
    if "adjoint: alpha of Euler" in names and (field != "tau" or "tau: -alpha/tau" in names):
        names = {*names, "adjoint: Euler"}
    return bool({statement, everywhere, turned} & set(names)) or set(both) <= set(names)


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
        return all(consists_of(statement(finding, f), names, f) for f in finding.fields)
    if finding.kind == "adjoint_right":
        return first_wrong(source, phi, method) is None
    if finding.kind == "short_runs":
        long = draw(N=12, T=40, B=1)
        k = finding.value
        return all(
            right(f, long.last(k - 1)) and not right(f, long.last(k)) for f in finding.fields
        )
    if finding.kind == "right_when":
        where, _ = conditions(backward, draw)
        return all(set(finding.value) <= set(where.get(name, [])) for name in finding.fields)
    if finding.kind == "small_steps":
        _, nearly = conditions(backward, draw)
        return set(finding.fields) <= nearly
    if finding.kind == "smallest":
        return not any(right(name, draw(N=5, T=5, B=3)) for name in finding.fields)
    if finding.kind == "example":
        return not any(right(name, draw(N=4, T=60, B=1)) for name in finding.fields)
    return finding.kind == "unnamed"


class Verdict(NamedTuple):
    """What a report on one source is worth."""

    caught: bool
    named: bool  # whether each wrong gradient has a slip that is named
    false: list  # findings, and a first wrong step, that are not true of the source
    empty: list  # gradients of which nothing is said but that no known slip gives them


def verdict(source, names, phi, method) -> Verdict:
    """Check a source that consists of slips of these names."""
    report = check_backward(compiled(source), phi=phi, method=method)
    named = {f for finding in report.findings if finding.kind in NAMED for f in finding.fields}
    said = {
        field: [f for f in report.findings if field in f.fields and f.kind != "unnamed"]
        for field in report.diagnosis
    }
    assert all(f.words for f in report.findings) and all(report.diagnosis.values())
    false = [f for f in report.findings if not is_true(f, source, names, phi, method)]
    if report.first_wrong_step not in (None, first_wrong(source, phi, method)):
        false.append(report.first_wrong_step)
    empty = [field for field, findings in said.items() if not findings]
    return Verdict(not report.ok, named >= set(report.diagnosis), false, empty)


def judge(cases) -> None:
    """Every one caught, nine in ten named, nothing false, nothing empty."""
    verdicts = {key: verdict(*case) for key, case in cases.items()}
    assert [key for key, v in verdicts.items() if not v.caught] == []
    assert {key: v.false for key, v in verdicts.items() if v.false} == {}
    assert {key: v.empty for key, v in verdicts.items() if v.empty} == {}
    unnamed = [key for key, v in verdicts.items() if not v.named]
    assert len(unnamed) <= 0.1 * len(verdicts), unnamed


def test_every_slip_is_caught_and_nine_in_ten_are_named():
    cases = {}
    for k, (name, mistake) in enumerate(MISTAKES.items()):
        phi = mistake.phis[k % len(mistake.phis)]
        method = mistake.methods[k % len(mistake.methods)]
        cases[name, phi, method] = mistake.source, mistake.names, phi, method
    assert len(cases) >= 30
    judge(cases)


@pytest.mark.slow
def test_every_pair_of_twelve_is_caught_and_nine_in_ten_are_named():
    cases = {}
    for first, second in itertools.combinations(TWELVE, 2):
        names = MISTAKES[first].names + MISTAKES[second].names
        cases[first, second] = two(first, second), names, "softplus", "exponential"
    assert len(cases) == 66
    judge(cases)


SETTINGS = (
    ("tanh", "exponential"), ("softplus", "euler"), ("relu", "exponential"), ("sigmoid", "euler"),
)  # fmt: skip
EVERY = 8  # a setting has 1,000 to 1,500 pairs, and each takes a tenth of a second


@pytest.mark.slow
@pytest.mark.parametrize("part", range(len(SETTINGS)))
def test_pairs_of_the_catalogue(part):
    """An eighth of the pairs in each setting, and not the same: half of them in all."""
    phi, method = SETTINGS[part]
    use = [n for n, m in MISTAKES.items() if phi in m.phis and method in m.methods]
    cases = {}
    for first, second in itertools.combinations(use, 2):
        source = two(first, second)
        # Where each edits what the other has written, their slips may be others than the two.
        if source is not None and source == two(second, first) and (first, second) not in MIXED:
            names = MISTAKES[first].names + MISTAKES[second].names
            cases[first, second] = source, names, phi, method
    assert len(cases) > 1000
    judge(dict([*cases.items()][part::EVERY]))


# Slips of which nothing is known to the marker


UNKNOWN = {
    "a wrong power of alpha": [("dc = alpha * dx", "dc = alpha**1.5 * dx")],
    "the mean of alpha": [("dc = alpha * dx", "dc = alpha.mean() * dx")],
    "W squared": [("(dc @ W)", "(dc @ (W * W))")],
    "W squared, and all scaled": [
        ("(dc @ W)", "(dc @ (W * W))"),
        ("dx0, dtau)", "dx0, dtau)))"),
        ("return Params(dW", "return Params(*(3.3 * g for g in (dW"),
    ],
    "W squared, and those with the adjoint scaled by powers of alpha": [
        ("(dc @ W)", "(alpha * dx @ (W * W))"),
        ("dc = alpha * dx", "dc = alpha**1.5 * dx"),
        ("dtau += (dx *", "dtau += (alpha**0.5 * dx *"),
    ],
    "the slope of the readout": [("slope[t + 1] * (dy", "slope[t + 1] ** 2 * (dy")],
    "a discount": [("(1 - alpha) * dx +", "0.9 * (1 - alpha) * dx +")],
    "a discount of dW_in alone": [("dW_in += dc.T", "dW_in += 0.9 ** (T - t) * dc.T")],
    "dW clipped": [("return Params(dW,", "return Params(dW.clip(-0.1, 0.1),")],
    "all clipped": [
        ("dx0, dtau)", "dx0, dtau)))"),
        ("return Params(dW", "return Params(*(g / (1 + abs(g).sum()) for g in (dW"),
    ],
    "dtau of c": [("(current - x[t])", "(current - x[t] ** 2)")],
    "every second step": [("dx_next = (1", "dx_next = t % 2 * (1")],
    "a long truncation and another slip": [
        ("dx_next = (1 - alpha)", "dx_next = (t != T - 12) * (1 - alpha)"),
        ("dW += dc.T @ r[t]", "dW += dc.T @ r[t] ** 3"),
    ],
}  # fmt: skip


#: Variants of others in UNKNOWN.
VARIANTS = (
    "the mean of alpha", "W squared, and all scaled", "a discount of dW_in alone", "all clipped",
)  # fmt: skip


@pytest.mark.parametrize("phi", ["tanh", pytest.param("relu", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in VARIANTS else ()) for n in UNKNOWN]
)
def test_of_an_unknown_slip_something_is_said_and_nothing_false(name, phi):
    if (name, phi) == ("the slope of the readout", "relu"):
        return  # 0 and 1 are their own squares
    source = RIGHT
    for old, new in UNKNOWN[name]:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    found = verdict(source, (), phi, "exponential")
    assert found.caught and not found.false and not found.empty


def test_the_judge_can_tell_what_is_false():
    source, names = MISTAKES["wrong sign"].source, MISTAKES["wrong sign"].names
    for kind, fields, value, true in [
        ("slip", ("W_in",), "W untransposed", False),
        ("own", ("W_in",), "alpha missing", False),
        ("sum", ("W_in",), "sign", True),
        ("sum", ("W_in",), "zero", False),
        ("adjoint_right", ("W_in",), ("W",), True),
        ("short_runs", ("W_in",), 3, False),
        ("right_when", ("W_in",), ("no noise",), False),
        ("factor", ("W_in",), -1.0, True),
        ("factor", ("W_in",), 2.0, False),
        ("small_steps", ("W_in",), None, False),
        ("smallest", ("W_in",), None, True),
        ("smallest", ("W",), None, False),
    ]:
        finding = Finding(kind, fields, "", value)
        assert is_true(finding, source, names, "tanh", "exponential") == true, finding
    wrong = MISTAKES["W untransposed"].source
    assert not is_true(Finding("adjoint_right", ("b",), "", ("W",)), wrong, (), "tanh", "euler")
    assert first_wrong(source, "tanh", "euler") is None and first_wrong(wrong, "tanh", "euler") == 1
    late = "adjoint: readout late but at 0"
    for names, field, kind, value, true in [
        ((late,), "W", "slip", "readout late", False),
        ((late, "x0: dx[1]"), "W", "slip", "readout late", True),
        (("tau: copy of x0",), "x0", "copy", "tau", True),
        (("tau: copy of x0",), "b", "copy", "tau", False),
        (("adjoint: alpha of Euler",), "W", "slip", "Euler", True),
        (("adjoint: alpha of Euler",), "tau", "slip", "Euler", False),
    ]:
        assert is_true(Finding(kind, (field,), "", value), RIGHT, names, "tanh", "euler") == true
