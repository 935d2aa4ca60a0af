"""Figures of paired effects, and of the claims. matplotlib is imported inside functions only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from textwrap import fill
from typing import Any

from tau_rnn.checks import check_choice
from tau_rnn.experiment.claims import Finding
from tau_rnn.experiment.effects import ITSELF, MATCHED, Row
from tau_rnn.experiment.metrics import metric
from tau_rnn.plotting.style import check_kinds, color_of, new_figure, styled
from tau_rnn.tasks.spec import parse_task

__all__ = ["plot_claims"]

#: Columns of the figure.
FOREST = (
    "log_mean_loss", "steps_to_criterion", "accuracy_last5", "weight_change",
    "weight_change_at_matched_loss", "tau_eff_spread",
)  # fmt: skip


@styled
def plot_forest(rows: Sequence[Row]):
    """All paired effects with their 95 % intervals: from vanilla, and from the matched network.

    Parameters
    ----------
    rows : of `tau_rnn.experiment.effects.effects`

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> from tau_rnn import RunConfig
    >>> from tau_rnn.experiment.statistics import paired_t
    >>> config, effect = RunConfig(dist="uniform"), paired_t([0.04, 0.05, 0.06])
    >>> row = Row(config.task, "uniform", "constant", "vanilla", FOREST[0], "", effect, config)
    >>> figure = plot_forest([row])
    """
    from matplotlib.ticker import MaxNLocator

    tasks = list(dict.fromkeys(r.task for r in rows))
    names = list(dict.fromkeys(_forest_name(r) for r in rows))
    figure, axes = new_figure(
        len(tasks), len(FOREST), squeeze=False, sharey=True, layout="constrained",
        figsize=(2.5 * len(FOREST) + 1.6, len(tasks) * max(1.9, 0.9 + 0.2 * len(names))),
    )  # fmt: skip
    for i, task in enumerate(tasks):
        for axis, key in zip(axes[i], FOREST):
            axis.axvline(0, color="black", lw=0.8)
            some = [r for r in rows if r.task == task and r.metric == key]
            ends = [v for r in some for v in r.effect[:3] if math.isfinite(v)]
            edge = 1.15 * max(map(abs, ends), default=1.0) or 1.0
            for row in some:
                _forest_row(axis, names.index(_forest_name(row)), row, edge)
            if i == 0:
                axis.set_title(fill(metric(key).title, 26), fontsize=9)
            axis.set_yticks(range(len(names)), names, fontsize=8)
            axis.set_ylim(len(names) - 0.5, -0.5)
            axis.xaxis.set_major_locator(MaxNLocator(4))
            axis.grid(axis="y", color="#EEEEEE", lw=0.8)
            axis.set_axisbelow(True)
        axes[i, 0].set_ylabel(parse_task(task).label, fontweight="bold")
    figure.suptitle(
        "Paired effects with 95 % intervals. Filled: difference from vanilla (of the same gain); "
        "open: from the homogeneous network of the same mean leak rate; diamonds: after minus "
        "before training; arrows: to infinity",
        x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _forest_name(row: Row) -> str:
    if row.kind == MATCHED:
        return f"{row.condition} - {row.reference.split(', ')[0]}"
    return row.condition


def _forest_row(axis, y: int, row: Row, edge: float) -> None:
    effect, color = row.effect, color_of(row.group.dist)
    if math.isnan(effect.estimate):
        return
    middle, low, high = (min(max(v, -edge), edge) for v in effect[:3])
    if math.isfinite(effect.low) or math.isfinite(effect.high):
        axis.plot([low, high], [y, y], color=color, lw=1.6)
        for end in (effect.low, effect.high):
            if math.isinf(end):  # of steps to criterion, where runs never reached it
                axis.plot(math.copysign(edge, end), y, ">" if end > 0 else "<", ms=5, color=color)
    if math.isinf(effect.estimate):  # the arrow has said so
        return
    face = "white" if row.kind == MATCHED else color
    axis.plot(middle, y, "D" if row.kind == ITSELF else "o", ms=5, color=color, mfc=face)


#: Controls: start of the name -> marker, and what it is.
_CONTROL_MARKERS = {
    "against const": ("o", "against the homogeneous network of the same leak rate"),
    "rescaled": ("s", "rescaled to the leak rate of vanilla, against vanilla"),
    "learning rate": ("^", "learning rate proportional to tau, against vanilla"),
    "initial gain": ("D", "initial gain 1"),
    "burn-in": ("v", "burn-in 20 s (upper), 60 s (lower)"),
    "longest": ("P", "longest timescales left out"),
}


@styled
def plot_claims(tests: Sequence[Finding], metrics: Sequence[str] = ()) -> Any:
    """The tests of the claims (filled) and their controls (open) with 95 % intervals.

    Parameters
    ----------
    tests : of `tau_rnn.experiment.claims.judge`, or `claims.findings`
    metrics : the quantities that are shown, a column each; () for all that were tested

    Returns
    -------
    matplotlib Figure with a row of axes for each task, or a column where there is one quantity

    Raises
    ------
    ValueError
        If there are no tests, or a quantity was not tested.

    Examples
    --------
    >>> from tau_rnn.experiment.claims import findings, load_claims
    >>> figure = plot_claims(findings(load_claims()["claims"])[:1])
    >>> len(figure.axes)
    1
    """
    from matplotlib.lines import Line2D

    tests = check_kinds("tests", tests, Finding)
    tasks = list(dict.fromkeys(t.task for t in tests))
    tested = list(dict.fromkeys(t.metric for t in tests))
    metrics = [check_choice("metrics", name, tested) for name in metrics] or tested
    claims = {t.metric: t.claim for t in tests}
    shape = (len(tasks), len(metrics)) if len(metrics) > 1 else (1, len(tasks))
    figure, axes = new_figure(
        *shape, squeeze=False, layout="constrained", sharex=len(metrics) == 1,
        figsize=(1.2 + (2.4 if len(metrics) > 1 else 3.6) * shape[1], 0.9 + 2.7 * shape[0]),
    )  # fmt: skip
    axes = axes if len(metrics) > 1 else axes.T
    used: dict[str, Line2D] = {}
    for line, task in zip(axes, tasks):
        for axis, key in zip(line, metrics):
            row, claim = metric(key), claims[key]
            some = [t for t in tests if (t.metric, t.task) == (key, task)]
            for k, test in enumerate(some):
                points = [("o", test.effect, color_of(test.dist))]
                for control in test.controls:
                    start = next(s for s in _CONTROL_MARKERS if control.name.startswith(s))
                    marker, what = _CONTROL_MARKERS[start]
                    points.append((marker, control.effect, "white"))
                    used[what] = Line2D([], [], color="#444444", marker=marker, mfc="white", ms=5)
                for j, (marker, effect, face) in enumerate(points):
                    y = k + (0.68 / max(len(points), 4)) * (j - (len(points) - 1) / 2)
                    axis.plot([row.shown(effect.low), row.shown(effect.high)], [y, y],
                              color=color_of(test.dist), lw=1.4)  # fmt: skip
                    axis.plot(row.shown(effect.estimate), y, marker, color=color_of(test.dist),
                              mfc=face, ms=5)  # fmt: skip
            axis.axvline(0, color="black", lw=0.8)
            axis.set_yticks(range(len(some)), [t.dist for t in some])
            axis.set_ylim(len(some) - 0.4, -0.6)
            if len(metrics) == 1:
                axis.set(title=parse_task(task).label, xlabel=f"{row.label} ({row.shown_unit})")
            else:
                question = f"{claim.number}. {row.label}: {'more' if claim.sign > 0 else 'less'}?"
                axis.set_title(fill(question, 24) if task == tasks[0] else "")
                axis.set_xlabel(row.shown_unit if task == tasks[-1] else "")
        if len(metrics) > 1:
            line[0].set_ylabel(parse_task(task).label, fontweight="bold")
    filled = Line2D([], [], color="#444444", marker="o", ms=5)
    over_training = " (4: after against before training)" * ("tau_eff_spread" in metrics)
    figure.legend(
        [filled, *used.values()],
        [f"the claim: against vanilla{over_training}", *used],
        loc="outside lower center", ncols=2,
    )  # fmt: skip
    return figure
