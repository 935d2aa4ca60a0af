"""The tests of the claims in plain words, one sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tau_rnn.experiment.claims import CLAIMS, Claim, Control, Finding, over_tasks, word_for
from tau_rnn.experiment.statistics import Effect

SHORT_NAMES = {"weight_change": "last step", "weight_change_at_matched_loss": "same loss"}
#: What a quantity is called in a sentence.
NAMES = {
    "log_mean_loss": "mean loss over training",
    "accuracy_last5": "accuracy",
    "weight_change": "change of W after the last step",
    "weight_change_at_matched_loss": "change of W at the same loss",
    "tau_eff_spread": "spread of the effective timescales",
}


def size(metric: str, effect: Effect) -> str:
    """An effect in words: per cent, percentage points, or the change of a standard deviation.

    >>> size("weight_change", Effect(-0.1, -0.2, 0.0, 0.04, 20))
    '-9.5 % (-18.1 to +0.0)'
    """
    unit, texts = unit_and_numbers(metric, effect)
    if math.isnan(effect.low):  # one pair has no interval
        return f"{texts[0]} {unit}"
    return f"{texts[0]} {unit} ({texts[1]} to {texts[2]})"


def unit_and_numbers(metric: str, effect: Effect) -> tuple[str, list[str]]:
    """The unit of an effect in words, and its estimate and ends as texts."""
    values = effect.estimate, effect.low, effect.high
    if metric == "tau_eff_spread":
        return "in sd of ln tau_eff", [f"{v:+.3f}" for v in values]
    if metric.startswith("accuracy"):
        return "percentage points", [f"{100 * v:+.1f}" for v in values]
    return "%", [f"{100 * math.expm1(v):+.1f}" for v in values]


def sentence(test: Finding) -> str:
    """One test in a sentence: the effect, what each control leaves of it, and the verdict."""
    within = test.metric == "tau_eff_spread"
    compared = "after training against before" if within else "against vanilla"
    text = (
        f"{test.task}, {test.dist}: {NAMES[test.metric]} {compared}: "
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
    """The tests of one claim in one task, in one sentence: every effect, then the outcomes."""
    parts = []
    for metric in dict.fromkeys(t.metric for t in tests):
        some = [t for t in tests if t.metric == metric]
        unit = unit_and_numbers(metric, some[0].effect)[0].removeprefix("in ")
        sizes = (
            f"{t.dist} {{}} ({{}} to {{}})".format(*unit_and_numbers(metric, t.effect)[1])
            for t in some
        )
        parts.append(f"{NAMES[metric]} ({unit}): " + ", ".join(sizes))
    several = len(parts) > 1
    outcomes: dict[str, list[str]] = {}
    for t in tests:
        about = f"{t.dist}, {SHORT_NAMES.get(t.metric, t.metric)}" if several else t.dist
        outcomes.setdefault(t.verdict, []).append(about)
    if len(outcomes) == 1:
        parts += list(outcomes)
    else:
        parts += [f"{said} ({'; '.join(about)})" for said, about in outcomes.items()]
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


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
        for metric in claim.metrics:
            for dist in claim.dists:
                said = overall.get((claim.number, metric, dist))
                if said:
                    about = f", by the {NAMES[metric]}" if len(claim.metrics) > 1 else ""
                    lines.append(f"- {dist}{about}: **{said}**")
        for dist in claim.dists:
            both = [overall.get((claim.number, metric, dist)) for metric in claim.metrics]
            if len(set(both)) > 1 and None not in both:
                lines.append(f"- {dist}, all in all: **depends on the measure**")
        parts.append("\n".join(lines))
        parts.append("\n".join(f"- {sentence(t)}" for t in mine))
    return "\n\n".join(parts)
