"""From results to effects: every condition, every paired comparison, and how they are written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.experiment.conditions import label, matched_reference, reference
from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.metrics import METRICS, Metric, metric, scores_of
from tau_rnn.experiment.outcome import RunResult
from tau_rnn.experiment.statistics import (
    Effect,
    at_matched_loss,
    median,
    median_interval,
    paired_t,
    steps_effect,
)

__all__ = ["effects"]

#: Of the metrics: what conditions are compared in, and the changes within a run.
BETWEEN = tuple(key for row in METRICS if row.compared for key in row.keys)
WITHIN = tuple((row, *row.change) for row in METRICS if row.change)
ITSELF = "itself"  # the reference of a change within a run
VANILLA, MATCHED = "vanilla", "matched homogeneous"
_MATCHED_LOSS, _STEPS = "weight_change_at_matched_loss", "steps_to_criterion"


class Row(NamedTuple):
    """One comparison: what is compared with what, in which quantity, and the effect.

    Attributes
    ----------
    task : its name
    condition, reference : what is compared, and with what
    kind : which reference that is: `VANILLA`, `MATCHED` or `ITSELF`
    metric : the quantity, a key of `tau_rnn.experiment.metrics`
    unit : of the effect
    effect : Effect
    group : the configuration of the condition, with seed 0
    """

    task: str
    condition: str
    reference: str
    kind: str
    metric: str
    unit: str
    effect: Effect
    group: RunConfig

    @property
    def scale(self) -> str:
        """The scale of the effect as tables name it."""
        return "difference of ln" if self.unit == "ln" else "difference"


def grouped(results: Iterable[RunResult]) -> dict[RunConfig, dict[int, RunResult]]:
    """Results by condition, then by seed. The key is the configuration with seed 0."""
    groups: dict[RunConfig, dict[int, RunResult]] = {}
    for result in results:
        groups.setdefault(result.config.replace(seed=0), {})[result.config.seed] = result
    return groups


def effects(results: Iterable[RunResult], configs: Iterable[RunConfig] = ()) -> list[Row]:
    """All paired comparisons: with vanilla, with the matched homogeneous network, and within runs.

    A pair that lacks a run counts as missing in every effect it belongs to.

    Parameters
    ----------
    results : of the runs that are complete
    configs : of all runs that were asked for, so that those that failed are known

    Returns
    -------
    list of Row

    Examples
    --------
    >>> def run(dist, seed, accuracy):
    ...     config, metrics = RunConfig(dist=dist, seed=seed), {"accuracy_last5": accuracy}
    ...     history = [{"loss": 1.0, "weight_change": 0.0}]
    ...     return RunResult(config, metrics, history, None, None, {})
    >>> runs = [run("constant", 0, 0.70), run("constant", 1, 0.72),
    ...         run("uniform", 0, 0.75), run("uniform", 1, 0.77)]
    >>> [row] = [row for row in effects(runs) if row.metric == "accuracy_last5"]
    >>> row.condition, row.reference, round(row.effect.estimate, 3)
    ('uniform', 'vanilla', 0.05)
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
    pairs = [(runs.get(seed), partners.get(seed)) for seed in sorted(seeds)]
    whole = [(a, b) for a, b in pairs if a is not None and b is not None]
    lacking = len(pairs) - len(whole)
    rows = []
    for key in _compared(runs.values()):
        effect = compare(metric(key), whole)
        effect = effect._replace(missing=effect.missing + lacking)
        rows.append(_row(group, label(other), kind, metric(key), effect))
    return rows


def _compared(runs: Iterable[RunResult]) -> list[str]:
    """What runs can be compared in: what they have, and their scores that have no declaration."""
    runs = list(runs)
    scores = [name for run in runs for name in scores_of(run.history)]
    there = {name for run in runs for name in run.metrics} | {_MATCHED_LOSS}
    return [key for key in dict.fromkeys((*BETWEEN, *scores)) if key in there and key != "loss"]


def _row(group: RunConfig, reference: str, kind: str, row: Metric, effect: Effect) -> Row:
    return Row(group.task, label(group), reference, kind, row.key, unit_of(row), effect, group)


def unit_of(row: Metric) -> str:
    """The unit of an effect in a metric."""
    return "ln" if row.scale == "ratio" else ""


def compare(row: Metric, pairs: Sequence[tuple[Any, Any]]) -> Effect:
    """The effect over pairs of runs in a metric; of steps to criterion, by ranks."""
    if row.key == _STEPS:
        sides = zip(*pairs) if pairs else ((), ())
        return steps_effect(*([run.metrics.get(_STEPS) for run in side] for side in sides))
    return paired_t([difference(row, a, b) for a, b in pairs])


def difference(row: Metric, a, b) -> float:
    """The difference of a pair of runs in a metric, of its logarithms where it is a ratio."""
    if row.key == _MATCHED_LOSS:
        return row.difference(*at_matched_loss(a.history, b.history)[:2])
    return row.difference(a.metrics.get(row.key), b.metrics.get(row.key))


def _within(group, runs, lacking) -> list[Row]:
    rows = []
    for row, after, before in WITHIN:
        values = [(r.metrics.get(after), r.metrics.get(before)) for r in runs.values()]
        if all(a is None or b is None for a, b in values):
            continue  # a homogeneous network has no correlation with its tau
        effect = paired_t([row.difference(a, b) for a, b in values])
        effect = effect._replace(missing=effect.missing + lacking)
        rows.append(_row(group, ITSELF, ITSELF, row, effect))
    return rows


class _Level(NamedTuple):
    """The mean of a quantity in a condition and its 95 % t interval, over seeds."""

    task: str
    condition: str
    metric: str
    effect: Effect
    group: RunConfig


def levels(results: Iterable[RunResult], metrics: Sequence[str]) -> list[_Level]:
    """Mean of each metric in each condition.

    Of the steps to criterion it is the median over all runs; one that never reached it is infinite.
    A metric that no run of a condition has is left out.

    >>> runs = [RunResult(RunConfig(seed=seed), {"accuracy": value}, [], None, None, {})
    ...         for seed, value in enumerate((0.7, 0.8, 0.9))]
    >>> [level] = levels(runs, ["accuracy"])
    >>> level.condition, round(level.effect.estimate, 3)
    ('normal', 0.8)
    """
    rows = []
    for group, runs in grouped(results).items():
        there = {name for run in runs.values() for name in run.metrics}
        for key in (key for key in metrics if key in there):
            effect = level_of(key, [r.metrics.get(key) for r in runs.values()])
            if effect.n:
                rows.append(_Level(group.task, label(group), key, effect, group))
    return rows


def level_of(key: str, values: Sequence[float | None]) -> Effect:
    """Mean of a metric over runs, or the median of steps to criterion; n is 0 if none has it."""
    if key != _STEPS:
        return paired_t(values)._replace(p=math.nan)
    steps = np.array([math.inf if v is None else v for v in values], float)
    never = int(np.isinf(steps).sum())
    return Effect(median(steps), *median_interval(steps), math.nan, len(steps), never=never)


# --- an effect in words and numbers ---------------------------------------------------------------


def size(quantity: str | Metric, effect: Effect) -> str:
    """An effect in words: per cent, percentage points, or the change of a standard deviation.

    >>> size("weight_change", Effect(-0.1, -0.2, 0.0, 0.04, 20))
    '-9.5 % (-18.1 to 0.0)'
    """
    row = metric(quantity) if isinstance(quantity, str) else quantity
    digits = 3 if row.scale == "difference" else 1
    middle, low, high = (number(row.shown(v), digits, signed=True) for v in effect[:3])
    words = f"{middle} {row.shown_unit}"
    return words if math.isnan(effect.low) else f"{words} ({low} to {high})"  # nan: of one pair


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A number for a table."""
    if value is None or value != value:
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text if float(text) else text.lstrip("+-")  # a 0.0 has no sign


def interval(effect: Effect, *, signed: bool = True, digits: int = 3) -> str:
    """``estimate [low, high]``; the estimate alone where there are too few pairs for the rest."""
    middle = number(effect.estimate, digits, signed=signed)
    if effect.low != effect.low or (effect.low in (0, -math.inf) and effect.high == math.inf):
        return middle  # an interval from (0 or) -inf to inf says nothing
    low, high = (number(v, digits, signed=signed) for v in (effect.low, effect.high))
    return f"{middle} [{low}, {high}]"


def p_text(p: float) -> str:
    """A p value for a table."""
    if p is None or p != p:
        return "-"
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.1 else f"{p:.2f}"
