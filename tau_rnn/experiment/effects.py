"""From results to tables: every condition, and every paired comparison between conditions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tau_rnn.experiment.conditions import label, matched_reference, reference
from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.outcome import RunResult
from tau_rnn.experiment.statistics import (
    Effect,
    at_matched_loss,
    ln_ratio,
    median,
    median_interval,
    paired_t,
    steps_effect,
)

#: Quantities that are compared between conditions: name -> (unit of the effect, what it is).
BETWEEN = {
    "log_mean_loss": ("ln", "ln of the mean held-out loss over training"),
    "steps_to_criterion": ("ln", "steps to accuracy 0.9 (median; ranks; censored runs kept)"),
    "loss_last5": ("ln", "held-out loss, mean of the last five evaluations"),
    "accuracy": ("", "accuracy after the last step"),
    "accuracy_last5": ("", "accuracy, mean of the last five evaluations"),
    "weight_change": ("ln", "norm of the change of W after the last step"),
    "weight_change_at_matched_loss": (
        "ln",
        "norm of the change of W at the lowest loss that both runs of a pair reach",
    ),
    "effective_rank": ("ln", "effective rank of the change of W"),
    "representation_alignment": ("", "alignment of the representation with that before training"),
    "kernel_alignment": ("", "alignment of the tangent kernel with that before training"),
    "tau_eff_sd_log_before": ("", "sd of ln effective timescale before training"),
    "tau_eff_sd_log_after": ("", "sd of ln effective timescale after training"),
}
#: Scores that only one of the tasks has.
SCORES = {
    "conflict_accuracy": ("", "accuracy on trials whose two labels differ"),
    "pattern_accuracy": ("", "accuracy on trials that ask for the fast pattern"),
    "evidence_accuracy": ("", "accuracy of the slow evidence"),
    "value_accuracy": ("", "accuracy of the remembered value"),
    "evidence_rmse": ("ln", "root mean squared error of the evidence"),
    "value_rmse": ("ln", "root mean squared error of the remembered value"),
}
#: Changes within a run: name -> (unit, metric, metric it is compared with, what it is).
WITHIN = {
    "tau_eff_spread": (
        "",
        "tau_eff_sd_log_after",
        "tau_eff_sd_log_before",
        "sd of ln effective timescale, after minus before training",
    ),
    "tau_eff_lengthening": (
        "ln",
        "tau_eff_median_after",
        "tau_eff_median_before",
        "median effective timescale, after against before training",
    ),
    "tau_eff_correlation_gain": (
        "",
        "tau_eff_correlation_after",
        "tau_eff_correlation_before",
        "Spearman correlation of effective and intrinsic timescale, after minus before",
    ),
    "shuffling_tau": (
        "",
        "accuracy_shuffled_tau",
        "accuracy",
        "accuracy with tau shuffled over the units, minus accuracy",
    ),
}
ITSELF = "itself"  # the reference of a change within a run
VANILLA, MATCHED = "vanilla", "matched homogeneous"


class Row(NamedTuple):
    """One comparison: what is compared with what, in which quantity, and the effect.

    ``group`` is the configuration of the condition with seed 0; ``kind`` says which reference it
    is: `VANILLA`, `MATCHED` or `ITSELF`.
    """

    task: str
    condition: str
    reference: str
    kind: str
    metric: str
    unit: str
    effect: Effect
    group: RunConfig


def what_is(metric: str) -> str:
    """A quantity in words."""
    if metric in WITHIN:
        return WITHIN[metric][3]
    return {**BETWEEN, **SCORES}[metric][1]


def grouped(results: Iterable[RunResult]) -> dict[RunConfig, dict[int, RunResult]]:
    """Results by condition, then by seed. The key is the configuration with seed 0."""
    groups: dict[RunConfig, dict[int, RunResult]] = {}
    for result in results:
        groups.setdefault(result.config.replace(seed=0), {})[result.config.seed] = result
    return groups


def effects(results: Iterable[RunResult], configs: Iterable[RunConfig] = ()) -> list[Row]:
    """All paired comparisons: with vanilla, with the matched homogeneous network, and within runs.

    A pair of which a run is not there counts as missing in every effect it belongs to.

    Parameters
    ----------
    results : of the runs that are complete
    configs : of all runs that were asked for, so that those that failed are known
    """
    groups = grouped(results)
    asked: dict[RunConfig, set[int]] = {group: set(runs) for group, runs in groups.items()}
    for config in configs:
        asked.setdefault(config.replace(seed=0), set()).add(config.seed)
    rows: list[Row] = []
    for group, runs in groups.items():
        partners = ((VANILLA, reference(group)), (MATCHED, matched_reference(group)))
        for kind, other in partners:
            if other is not None and other != group and other in groups:
                seeds = asked[group] | asked[other]
                rows += _between(group, runs, kind, other, groups[other], seeds)
        rows += _within(group, runs, len(asked[group]) - len(runs))
    return rows


def _between(group, runs, kind, other, partners, seeds) -> list[Row]:
    pairs = [(runs.get(s), partners.get(s)) for s in sorted(seeds)]
    whole = [(a, b) for a, b in pairs if a is not None and b is not None]
    lacking = len(pairs) - len(whole)
    metrics = {k: v for k, v in SCORES.items() if any(k in a.metrics for a in runs.values())}
    rows = []
    for metric, (unit, _) in {**BETWEEN, **metrics}.items():
        scored = "accuracy" in metric or metric == "steps_to_criterion"
        if scored and not any(metric in r.metrics for r in runs.values()):
            continue  # a task of one's own without a score
        if metric == "steps_to_criterion":
            steps = [[r.metrics[metric] for r in run] for run in zip(*whole)] or [[], []]
            effect = steps_effect(*steps)
        else:
            effect = paired_t([difference(metric, unit, a, b) for a, b in whole])
        effect = effect._replace(missing=effect.missing + lacking)
        rows.append(
            Row(group.task, label(group), label(other), kind, metric, unit, effect, group)
        )
    return rows


def difference(metric: str, unit: str, a: RunResult, b: RunResult) -> float:
    """The difference of a pair in a quantity, of its logarithms where the unit is "ln"."""
    if metric == "weight_change_at_matched_loss":
        return ln_ratio(*at_matched_loss(a.history, b.history)[:2])
    return _difference(metric, unit, a.metrics.get(metric), b.metrics.get(metric))


def _difference(name: str, unit: str, a, b) -> float:
    if a is None or b is None:
        return math.nan
    return ln_ratio(a, b) if unit == "ln" and not name.startswith("log_") else a - b


def _within(group, runs, lacking) -> list[Row]:
    rows = []
    for metric, (unit, after, before, _) in WITHIN.items():
        values = [(r.metrics.get(after), r.metrics.get(before)) for r in runs.values()]
        if all(a is None or b is None for a, b in values):
            continue  # a homogeneous network has no correlation with its tau
        effect = paired_t([_difference(metric, unit, a, b) for a, b in values])
        effect = effect._replace(missing=effect.missing + lacking)
        rows.append(Row(group.task, label(group), ITSELF, ITSELF, metric, unit, effect, group))
    return rows


class Level(NamedTuple):
    """The mean of a quantity in a condition and its 95 % t interval, over seeds."""

    task: str
    condition: str
    metric: str
    effect: Effect
    group: RunConfig


def levels(results: Iterable[RunResult], metrics: Sequence[str]) -> list[Level]:
    """Mean of each metric in each condition. Steps to criterion: the median over all runs, a run
    that never got there as infinite."""
    rows = []
    for group, runs in grouped(results).items():
        for metric in metrics:
            values = [r.metrics.get(metric) for r in runs.values()]
            if metric == "steps_to_criterion":
                steps = np.array([math.inf if v is None else v for v in values], float)
                never = int(np.isinf(steps).sum())
                effect = Effect(median(steps), *median_interval(steps), math.nan, len(steps),
                                never=never)  # fmt: skip
            elif all(v is None for v in values):
                continue
            else:
                effect = paired_t(values)._replace(p=math.nan)
            rows.append(Level(group.task, label(group), metric, effect, group))
    return rows
