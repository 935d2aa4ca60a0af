"""The tests of the claims in plain words, one sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tau_rnn.experiment.claims import CLAIMS, Claim, Control, Finding, over_tasks, word, word_for
from tau_rnn.experiment.metrics import metric
from tau_rnn.experiment.statistics import Effect

__all__: list[str] = []


def size(key: str, effect: Effect) -> str:
    """An effect in words: per cent, percentage points, or the change of a standard deviation.

    >>> size("weight_change", Effect(-0.1, -0.2, 0.0, 0.04, 20))
    '-9.5 % (-18.1 to +0.0)'
    """
    unit, texts = unit_and_numbers(key, effect)
    if math.isnan(effect.low):  # one pair has no interval
        return f"{texts[0]} {unit}"
    return f"{texts[0]} {unit} ({texts[1]} to {texts[2]})"


def unit_and_numbers(key: str, effect: Effect) -> tuple[str, list[str]]:
    """The unit of an effect in words, and its estimate and ends as texts."""
    row = metric(key)
    digits = 3 if row.scale == "difference" else 1
    return row.shown_unit, [f"{row.shown(v):+.{digits}f}" for v in effect[:3]]


def sentence(test: Finding) -> str:
    """One test in a sentence: the effect, what each control leaves of it, and the verdict."""
    within = test.metric == "tau_eff_spread"
    compared = "after training against before" if within else "against vanilla"
    text = (
        f"{test.task}, {test.dist}: {metric(test.metric).label} {compared}: "
        f"{size(test.metric, test.effect)}."
    )
    for control in test.controls:
        text += f" {_control(test, control)}"
    return f"{text} **{test.verdict[0].upper()}{test.verdict[1:]}.**"


def _control(test: Finding, control: Control) -> str:
    if control.survives:
        side = "on the claimed side"
    elif control.effect.low <= 0 <= control.effect.high:
        side = "interval includes 0"
    else:
        side = "on the other side"
    name = control.name[0].upper() + control.name[1:]
    return f"{name}: {size(test.metric, control.effect)}, {side}."


def claims_in_brief(tests: Iterable[Finding]) -> list[tuple[Claim, str, str, str]]:
    """Each claim and task that was tested: (claim, task, one word, one sentence with numbers)."""
    tests = list(tests)
    found = []
    for claim in CLAIMS:
        for task in dict.fromkeys(t.task for t in tests):
            mine = [t for t in tests if (t.claim.number, t.task) == (claim.number, task)]
            if mine:
                found.append((claim, task, word_for(mine), brief(mine)))
    return found


def brief(tests: list[Finding]) -> str:
    """The tests of one claim in one task, in one sentence.

    One distribution comes with its numbers: vanilla where the claim is about it, else uniform, the
    most diverse. The others have a word.
    """
    outcomes: dict[str, tuple[str, ...]] = {}
    for t in tests:
        outcomes[t.dist] = (*outcomes.get(t.dist, ()), t.verdict)
    lead = next((d for d in ("vanilla", "uniform") if d in outcomes), tests[0].dist)
    mine = [t for t in tests if t.dist == lead]
    several = len(mine) > 1
    when = [metric(t.metric).label.rpartition(", ")[2] for t in mine]
    agreed = len(set(outcomes[lead])) == 1
    sizes = [f"{f'{name} ' * several}{size(t.metric, t.effect)}" + f": {t.verdict}" * (not agreed)
             for name, t in zip(when, mine)]  # fmt: skip
    sizes[-1] += f": {outcomes[lead][0]}" * agreed
    parts = [f"{lead.capitalize()}{',' * several} {'; '.join(sizes)}"]
    others: dict[tuple[str, ...], list[str]] = {}
    rest = [dist for dist in outcomes if dist != lead]
    for dist in sorted(rest, key=lambda d: outcomes[d] != outcomes[lead]):  # same as lead first
        others.setdefault(outcomes[dist], []).append(dist)
    for outcome, dists in others.items():
        said = [word(one) for one in outcome]
        names = " and ".join(filter(None, (", ".join(dists[:-1]), dists[-1])))
        if outcome == outcomes[lead]:
            parts.append(f"{names} likewise")
        elif len(set(said)) == 1:
            parts.append(f"{names}: {said[0]}")
        else:
            each = "; ".join(f"{name}, {one}" for name, one in zip(when, said))
            parts.append(f"{names}: {each}")
    return "; ".join(parts) + "."


def reading(tests: Iterable[Finding]) -> str:
    """All claims in plain words: first over the tasks, then test by test."""
    tests = list(tests)
    overall = over_tasks(tests)
    parts = []
    for claim in CLAIMS:
        mine = [t for t in tests if t.claim.number == claim.number]
        if not mine:
            continue
        parts.append(f"### Claim {claim.number}. {claim.text}")
        lines = []
        for key in claim.metrics:
            for dist in claim.dists:
                said = overall.get((claim.number, key, dist))
                if said:
                    about = f", by the {metric(key).label}" if len(claim.metrics) > 1 else ""
                    lines.append(f"- {dist}{about}: **{said}**")
        for dist in claim.dists:
            both = [overall.get((claim.number, key, dist)) for key in claim.metrics]
            if len(set(both)) > 1 and None not in both:
                lines.append(f"- {dist}, all in all: **depends on the measure**")
        parts.append("\n".join(lines))
        parts.append("\n".join(f"- {sentence(t)}" for t in mine))
    return "\n\n".join(parts)
