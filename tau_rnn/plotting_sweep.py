"""Figures of a sweep. matplotlib is imported inside functions only, through tau_rnn.plotting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tau_rnn.experiment.controls import label, reference
from tau_rnn.experiment.effects import ITSELF, MATCHED, Row, effects, grouped
from tau_rnn.experiment.outcome import RunResult, measurable
from tau_rnn.experiment.statistics import mean_band
from tau_rnn.plotting import OTHER_COLOR, color_of, new_figure, save

#: Line styles of conditions that share the colour of their distribution.
MATCHED_STYLE, SCALED_STYLE, OTHER_STYLE = "--", ":", "-."
#: Rows of the forest plot: metric -> title.
FOREST = {
    "log_area_under_loss": "mean loss over training (ln)",
    "steps_to_criterion": "steps to accuracy 0.9 (ln)",
    "accuracy_last5": "accuracy",
    "weight_change": "change of W, last step (ln)",
    "weight_change_at_matched_loss": "change of W, same loss (ln)",
    "tau_eff_spread": "sd of ln effective timescale,\nafter - before training",
}
_NEVER = "never"


def plot_sweep(results: Sequence[RunResult], folder) -> list[Path]:
    """Draw all figures of a sweep into a folder; returns their paths.

    The first setting of the sweep (the gain, learning rate and so on of its first run) is drawn;
    the forest plot has the others, too.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    first = reference(results[0].config)
    main = [r for r in results if _setting(r) == first.but(task=r.config.task, seed=0)]
    paths = [
        save(plot_learning(main), folder / "learning.png"),
        save(plot_steps(main), folder / "steps_to_criterion.png"),
        save(plot_weight_change(main), folder / "weight_change.png"),
        save(plot_timescales(main), folder / "timescales.png"),
    ]
    rows = effects(results)
    if rows:
        paths.append(save(plot_forest(rows), folder / "effects.png"))
    return paths


def _setting(result: RunResult):
    return reference(result.config).but(seed=0)


def _tasks(results) -> list[str]:
    return list(dict.fromkeys(r.config.task for r in results))


def _conditions(results, task):
    """(group, runs) of a task, plain conditions before controls."""
    groups = grouped(r for r in results if r.config.task == task)
    return sorted(groups.items(), key=lambda item: len(label(item[0]).split(", ")))


def _style(group) -> dict:
    style = "-"
    if group.match != "none":
        style = MATCHED_STYLE
    elif group.lr_scale != "none":
        style = SCALED_STYLE
    return {"color": color_of(group.dist), "ls": style, "lw": 1.5}


def _plain(conditions):
    """The distributions themselves and the homogeneous controls: five lines a reader can follow."""
    shown = [(g, runs) for g, runs in conditions if g.match == "none" and g.lr_scale == "none"]
    return shown or conditions


def _caption(results) -> str:
    seeds = {r.config.seed for r in results}
    return f"{len(seeds)} seeds" if len(seeds) > 1 else "1 seed"


def plot_learning(results: Sequence[RunResult]):
    """Held-out loss and accuracy against the step: mean over seeds and 95 % t band."""
    tasks = _tasks(results)
    figure, axes = new_figure(2, len(tasks), figsize=(5.4 * len(tasks), 6.4), squeeze=False,
                              sharex="col", layout="constrained")  # fmt: skip
    for column, task in enumerate(tasks):
        top, bottom = axes[:, column]
        for group, runs in _plain(_conditions(results, task)):
            steps = [row["step"] for row in next(iter(runs.values())).history]
            for axis, name in ((top, "loss"), (bottom, "accuracy")):
                mean, low, high = mean_band(
                    [[row[name] for row in r.history] for r in runs.values()]
                )
                axis.plot(steps, mean, label=label(group), **_style(group))
                axis.fill_between(steps, low, high, color=color_of(group.dist), alpha=0.18, lw=0)
        top.set_yscale("log")
        top.set_title(task)
        top.set_ylabel("held-out mean squared error")
        bottom.set_ylabel("held-out accuracy")
        bottom.set_xlabel("training step")
        bottom.set_ylim(0, 1.02)
        bottom.axhline(0.9, color="black", lw=0.7, ls=(0, (1, 3)))
        top.legend()
    figure.suptitle(f"Learning: mean and 95 % band over {_caption(results)}", x=0.01, ha="left")
    return figure


def plot_steps(results: Sequence[RunResult]):
    """Steps to accuracy 0.9, each pair a line from vanilla; runs that never got there on top."""
    tasks = _tasks(results)
    figure, axes = new_figure(1, len(tasks), figsize=(5.6 * len(tasks), 4.6), squeeze=False,
                              layout="constrained")  # fmt: skip
    for axis, task in zip(axes[0], tasks):
        conditions = _plain(_conditions(results, task))
        last = max(r.metrics["steps"] for _, runs in conditions for r in runs.values())
        never_at = 1.13 * last
        base = dict(conditions).get(reference(conditions[0][0]), {})
        for x, (group, runs) in enumerate(conditions):
            for k, (seed, run) in enumerate(sorted(runs.items())):
                value = run.metrics["steps_to_criterion"]
                y = never_at if value is None else value
                # Each seed has its own place beside the middle, so that equal values show.
                jitter = 0.3 * ((k + 0.5) / len(runs) - 0.5)
                partner = base.get(seed)
                if partner is not None and x > 0:
                    start = partner.metrics["steps_to_criterion"]
                    axis.plot([0.2, x - 0.2], [never_at if start is None else start, y],
                              color="#BBBBBB", lw=0.5, zorder=0) if x == 1 else None  # fmt: skip
                axis.plot(x + jitter, y, "o" if value is not None else "^", ms=4.5,
                          color=color_of(group.dist), mec="none")  # fmt: skip
            ordered = sorted(
                never_at if r.metrics["steps_to_criterion"] is None
                else r.metrics["steps_to_criterion"] for r in runs.values()
            )  # fmt: skip
            axis.plot([x - 0.25, x + 0.25], [np.median(ordered)] * 2, color="black", lw=1.5)
        axis.axhline(1.06 * last, color="#BBBBBB", lw=0.7)
        ticks = [t for t in axis.get_yticks() if 0 <= t <= last]
        axis.set_yticks([*ticks, never_at], [*(f"{t:g}" for t in ticks), _NEVER])
        axis.set_ylim(0, 1.2 * last)
        axis.set_xticks(range(len(conditions)), [label(g).replace(", ", "\n") for g, _ in
                                                 conditions], rotation=20)  # fmt: skip
        axis.set_title(task)
        axis.set_ylabel("training steps to accuracy 0.9")
    figure.suptitle("Steps to criterion: one point a seed, bars are medians", x=0.01, ha="left")
    return figure


def plot_weight_change(results: Sequence[RunResult]):
    """Norm of the change of W against the step, and against the held-out loss."""
    tasks = _tasks(results)
    figure, axes = new_figure(2, len(tasks), figsize=(5.4 * len(tasks), 7.2), squeeze=False,
                              layout="constrained")  # fmt: skip
    for column, task in enumerate(tasks):
        top, bottom = axes[:, column]
        conditions = _conditions(results, task)
        some = [r for _, runs in conditions for r in runs.values()]
        for group, runs in conditions:
            rows = list(runs.values())
            steps = [row["step"] for row in rows[0].history]
            mean, low, high = mean_band(
                [[row["weight_change"] for row in r.history] for r in rows]
            )
            top.plot(steps, mean, label=label(group), **_style(group))
            if group.match == "none" and group.lr_scale == "none":
                top.fill_between(steps, low, high, color=color_of(group.dist), alpha=0.18, lw=0)
            losses, changes = change_against_loss(rows, loss_levels(some))
            bottom.plot(losses, changes, **_style(group))
        bottom.set_xscale("log")
        bottom.invert_xaxis()
        ticks = [t for t in (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01)
                 if bottom.get_xlim()[1] <= t <= bottom.get_xlim()[0]]  # fmt: skip
        bottom.set_xticks(ticks, [f"{t:g}" for t in ticks])
        bottom.minorticks_off()
        top.set_title(task)
        top.set_xlabel("training step")
        bottom.set_xlabel("held-out loss, as it falls")
        for axis in (top, bottom):
            axis.set_ylim(bottom=0)
            axis.set_ylabel("norm of the change of W\nrelative to the initial W")
        top.legend(fontsize=7)
    figure.suptitle(
        f"Change of the recurrent weights, {_caption(results)}: at the same step (top) and at the "
        "same loss (bottom, where all runs got to it)", x=0.01, ha="left",
    )  # fmt: skip
    return figure


def loss_levels(results: Sequence[RunResult], points: int = 40):
    """Losses from the largest that all runs start above to the lowest that all of them reach."""
    high = min(r.history[0]["loss"] for r in results)
    low = max(min(row["loss"] for row in r.history) for r in results)
    return np.geomspace(high, low, points) if low < high else np.array([high])


def change_against_loss(results: Sequence[RunResult], levels):
    """Mean over runs of the change of W where each run's loss first reaches each level."""
    from tau_rnn.experiment.statistics import _where_loss_reaches

    changes = [
        [_where_loss_reaches(level, r.history, "weight_change") for level in levels]
        for r in results
    ]
    return levels, np.mean(changes, axis=0)


def plot_timescales(results: Sequence[RunResult]):
    """Effective timescales of all units before and after training, one row a condition."""
    tasks = _tasks(results)
    rows = max(len(_plain(_conditions(results, task))) for task in tasks)
    figure, axes = new_figure(rows, len(tasks), figsize=(5.2 * len(tasks), 0.5 + 1.25 * rows),
                              squeeze=False, sharex=True, layout="constrained")  # fmt: skip
    pooled = {
        id(run): [_pooled([run], when) for when in ("before", "after")] for run in results
    }
    every = np.concatenate([v for pair in pooled.values() for v in pair])
    bins = np.geomspace(max(0.04, every.min()), every.max() * 1.02, 45) if every.size else 10
    for column, task in enumerate(tasks):
        conditions = _plain(_conditions(results, task))
        for axis, (group, runs) in zip(axes[:, column], conditions):
            before, after = (
                np.concatenate([pooled[id(r)][k] for r in runs.values()]) for k in (0, 1)
            )
            axis.hist(before, bins, color="#BBBBBB", label="before", density=False)
            axis.hist(after, bins, histtype="step", lw=1.5, color=color_of(group.dist),
                      label="after")  # fmt: skip
            axis.set_xscale("log")
            axis.set_yticks([])
            sds = [_mean_of(runs, f"tau_eff_sd_log_{w}") for w in ("before", "after")]
            axis.annotate(f"{label(group)}\nsd of ln {sds[0]} → {sds[1]}", (0.02, 0.96),
                          xycoords="axes fraction", va="top", fontsize=8)  # fmt: skip
        for axis in axes[len(conditions):, column]:
            axis.set_visible(False)
        last = axes[len(conditions) - 1, column]
        ticks = (0.1, 0.2, 0.5, 1, 2, 5)
        last.set_xticks(ticks, [f"{t:g}" for t in ticks])
        last.minorticks_off()
        last.tick_params(labelbottom=True)
        last.set_xlabel("effective timescale (s)")
        axes[0, column].set_title(task)
        axes[0, column].legend(loc="upper right")
    figure.suptitle(f"Units of all networks ({_caption(results)}), noise-driven, no input",
                    x=0.01, ha="left")  # fmt: skip
    return figure


def _pooled(runs, when):
    values = [
        measurable(r.units[f"tau_eff_{when}"], r.units[f"tau_eff_flag_{when}"])[0] for r in runs
    ]
    tau = np.concatenate(values)
    return tau[np.isfinite(tau)]


def _mean_of(runs, name) -> str:
    values = [r.metrics[name] for r in runs.values() if r.metrics[name] is not None]
    return f"{np.mean(values):.2f}" if values else "-"


def plot_forest(rows: Sequence[Row]):
    """All paired effects with their 95 % intervals: from vanilla, and from the matched network."""
    tasks = list(dict.fromkeys(r.task for r in rows))
    chosen = [r for r in rows if r.metric in FOREST]
    names = list(dict.fromkeys(_forest_name(r) for r in chosen))
    figure, axes = new_figure(
        len(tasks), len(FOREST), squeeze=False, sharey=True, layout="constrained",
        figsize=(2.9 * len(FOREST) + 1.6, len(tasks) * (0.9 + 0.22 * len(names))),
    )  # fmt: skip
    for i, task in enumerate(tasks):
        for axis, (metric, title) in zip(axes[i], FOREST.items()):
            axis.axvline(0, color="black", lw=0.8)
            for row in (r for r in chosen if r.task == task and r.metric == metric):
                _forest_row(axis, names.index(_forest_name(row)), row)
            if i == 0:
                axis.set_title(title, fontsize=9)
            axis.set_yticks(range(len(names)), names, fontsize=8)
            axis.set_ylim(len(names) - 0.5, -0.5)
            axis.grid(axis="y", color="#EEEEEE", lw=0.8)
            axis.set_axisbelow(True)
        axes[i, 0].set_ylabel(task, fontweight="bold")
    figure.suptitle(
        "Paired effects with 95 % intervals. Filled: difference from vanilla; open: from the "
        "homogeneous network of the same mean leak rate; arrow: beyond the axis",
        x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _forest_name(row: Row) -> str:
    if row.kind == MATCHED:
        return f"{row.condition} - {row.reference.split(', ')[0]}"
    return row.condition


def _forest_row(axis, y: int, row: Row) -> None:
    e, color = row.effect, color_of(row.group.dist) or OTHER_COLOR
    if not math.isfinite(e.estimate):
        if math.isinf(e.estimate):
            axis.annotate(">" if e.estimate > 0 else "<", (0.97 if e.estimate > 0 else 0.03, y),
                          xycoords=("axes fraction", "data"), color=color, va="center",
                          ha="center")  # fmt: skip
        return
    if math.isfinite(e.low) and math.isfinite(e.high):
        axis.plot([e.low, e.high], [y, y], color=color, lw=1.6)
    face = "white" if row.kind == MATCHED else color
    marker = "D" if row.kind == ITSELF else "o"
    axis.plot(e.estimate, y, marker, ms=5, color=color, mfc=face)
