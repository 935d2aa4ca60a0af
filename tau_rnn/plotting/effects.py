"""One figure of all paired effects. matplotlib is imported inside functions only."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tau_rnn.experiment.effects import ITSELF, MATCHED, Row
from tau_rnn.plotting.style import color_of, new_figure, styled

#: Columns of the figure: metric -> title.
FOREST = {
    "log_mean_loss": "mean loss over training (ln)",
    "steps_to_criterion": "steps to accuracy 0.9 (ln)",
    "accuracy_last5": "accuracy",
    "weight_change": "change of W, last step (ln)",
    "weight_change_at_matched_loss": "change of W, same loss (ln)",
    "tau_eff_spread": "sd of ln effective timescale,\nafter - before training",
}


@styled
def plot_forest(rows: Sequence[Row]):
    """All paired effects with their 95 % intervals: from vanilla, and from the matched network."""
    from matplotlib.ticker import MaxNLocator

    tasks = list(dict.fromkeys(r.task for r in rows))
    names = list(dict.fromkeys(_forest_name(r) for r in rows))
    figure, axes = new_figure(
        len(tasks), len(FOREST), squeeze=False, sharey=True, layout="constrained",
        figsize=(2.5 * len(FOREST) + 1.6, len(tasks) * max(1.9, 0.9 + 0.2 * len(names))),
    )  # fmt: skip
    for i, task in enumerate(tasks):
        for axis, (metric, title) in zip(axes[i], FOREST.items()):
            axis.axvline(0, color="black", lw=0.8)
            some = [r for r in rows if r.task == task and r.metric == metric]
            ends = [v for r in some for v in r.effect[:3] if math.isfinite(v)]
            edge = 1.15 * max(map(abs, ends), default=1.0) or 1.0
            for row in some:
                _forest_row(axis, names.index(_forest_name(row)), row, edge)
            if i == 0:
                axis.set_title(title, fontsize=9)
            axis.set_yticks(range(len(names)), names, fontsize=8)
            axis.set_ylim(len(names) - 0.5, -0.5)
            axis.xaxis.set_major_locator(MaxNLocator(4))
            axis.grid(axis="y", color="#EEEEEE", lw=0.8)
            axis.set_axisbelow(True)
        axes[i, 0].set_ylabel(task, fontweight="bold")
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
    e, color = row.effect, color_of(row.group.dist)
    if math.isnan(e.estimate):
        return
    middle, low, high = (min(max(v, -edge), edge) for v in e[:3])
    if math.isfinite(e.low) or math.isfinite(e.high):
        axis.plot([low, high], [y, y], color=color, lw=1.6)
        for end in (e.low, e.high):
            if math.isinf(end):  # of steps to criterion, where runs never got there
                axis.plot(math.copysign(edge, end), y, ">" if end > 0 else "<", ms=5, color=color)
    if math.isinf(e.estimate):  # the arrow has said so
        return
    face = "white" if row.kind == MATCHED else color
    axis.plot(middle, y, "D" if row.kind == ITSELF else "o", ms=5, color=color, mfc=face)
