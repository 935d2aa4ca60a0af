"""Figures of a sweep. matplotlib is imported inside functions only, through tau_rnn.plotting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tau_rnn.checks import check_path
from tau_rnn.experiment.conditions import label, setting_of
from tau_rnn.experiment.effects import effects, grouped
from tau_rnn.experiment.metrics import metric
from tau_rnn.experiment.outcome import RunResult
from tau_rnn.experiment.statistics import change_at_loss, mean_band, median
from tau_rnn.measures.run import LONGEST, measurable
from tau_rnn.plotting.effects import FOREST, plot_forest
from tau_rnn.plotting.style import check_kinds, color_of, new_figure, plain_log_ticks, save, styled
from tau_rnn.tasks.spec import parse_task

__all__ = ["plot_sweep"]

#: Dashes of conditions that share a colour and a control, in the order in which they appear.
DASHES: tuple = tuple((0, on_off) for on_off in ((5, 1.5), (1, 1), (5, 1, 1, 1), (9, 2), (3, 3)))
_CONSTANT = color_of("constant")


def plot_sweep(results: Sequence[RunResult], folder: str | Path) -> list[Path]:
    """Draw all figures of a sweep into a folder; returns their paths.

    The first setting of the sweep (the gain, learning rate and so on of its first run) is drawn;
    the plot of all effects has the others, too.

    Parameters
    ----------
    results : of the sweep
    folder : created where it is missing

    Returns
    -------
    list of paths

    Raises
    ------
    ValueError
        If there is no result, or folder is no path.

    Examples
    --------
    >>> from tau_rnn import RunConfig, run_one
    >>> config = RunConfig(units=4, steps=1, dt=0.1, batch=2, test_trials=4)
    >>> [path.name for path in plot_sweep([run_one(config, parts=())], "figures")][:2]
    ['learning.png', 'weight_change.png']
    """
    results, folder = check_kinds("results", results, RunResult), check_path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    first = setting_of(results[0].config)
    main = [r for r in results if setting_of(r.config) == first.replace(task=r.config.task)]
    figures = {
        "learning": plot_learning(main),
        "weight_change": plot_weight_change(main),
    }
    timed = [r for r in main if "tau_eff_after" in r.units]  # a task without noise has none
    if timed:
        figures["timescales"] = plot_timescales(timed)
    scored = [r for r in main if "steps_to_criterion" in r.metrics]
    if scored:
        figures["steps_to_criterion"] = plot_steps(scored)
    rows = [row for row in effects(results) if row.metric in FOREST]
    if rows:
        figures["effects"] = plot_forest(rows)
    return [save(figure, folder / f"{name}.png") for name, figure in figures.items()]


def _tasks(results) -> list[str]:
    return list(dict.fromkeys(r.config.task for r in results))


def _conditions(results, task):
    """(group, runs) of a task, plain conditions before controls."""
    groups = grouped(r for r in results if r.config.task == task)
    return sorted(groups.items(), key=lambda item: len(label(item[0]).split(", ")))


def _styles(conditions) -> dict:
    """Line style of each condition: the colour of its distribution, dashes for its control.

    Homogeneous controls, and what would look like another condition, take the next dash.
    """
    styles: dict = {}
    looks: set = set()
    for group, _ in conditions:
        color = color_of(group.dist)
        scaled = group.lr_scale != "none"
        dash: object = "--" if group.rescale_tau != "none" else ":" if scaled else "-"
        if group.dist.startswith("constant") or (color, dash) in looks:
            # The first two look like "--" and ":", which a control of one colour may have.
            order = DASHES if color == _CONSTANT else (*DASHES[2:], *DASHES[:2])
            free = [d for d in order if (color, d) not in looks]
            dash = free[0] if free else dash
        looks.add((color, dash))
        styles[group] = {"color": color, "ls": dash, "lw": 1.5}
    return styles


def _plain(conditions):
    """The distributions themselves and the homogeneous controls."""
    shown = [(g, runs) for g, runs in conditions if g.rescale_tau == g.lr_scale == "none"]
    return shown or conditions


def _mean_line(axis, group, runs, name: str, style) -> None:
    """The mean of a column of the histories; with its band, which would hide lines of controls."""
    histories = [run.history for run in runs.values()]
    steps = [row["step"] for row in histories[0]]
    mean, low, high = mean_band([[row[name] for row in history] for history in histories])
    axis.plot(steps, mean, label=label(group), **style)
    if group.rescale_tau == group.lr_scale == "none" and not group.dist.startswith("constant"):
        axis.fill_between(steps, low, high, color=color_of(group.dist), alpha=0.18, lw=0)


def _caption(results) -> str:
    seeds = {r.config.seed for r in results}
    return f"{len(seeds)} seeds" if len(seeds) > 1 else "1 seed"


@styled
def plot_learning(results: Sequence[RunResult]):
    """Held-out loss and accuracy against the step: mean over seeds and 95 % t band."""
    tasks = _tasks(results)
    figure, axes = new_figure(2, len(tasks), figsize=(4.9 * len(tasks) + 1.6, 6.4), squeeze=False,
                              sharex="col", layout="constrained")  # fmt: skip
    for column, task in enumerate(tasks):
        top, bottom = axes[:, column]
        conditions = _plain(_conditions(results, task))
        styles = _styles(conditions)
        for group, runs in conditions:
            for axis, name in ((top, "loss"), (bottom, "accuracy")):
                if name not in next(iter(runs.values())).history[0]:
                    continue  # a task of your own without a score
                _mean_line(axis, group, runs, name, styles[group])
        top.set_yscale("log")
        plain_log_ticks(top, "y")
        top.set_title(parse_task(task).label)
        top.set_ylabel("held-out mean squared error")
        bottom.set_ylabel("held-out accuracy")
        bottom.set_xlabel("training step")
        bottom.set_ylim(0, 1.02)
        bottom.axhline(0.9, color="black", lw=0.7, ls=(0, (1, 3)))
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper")
    figure.suptitle(
        f"Learning: mean over {_caption(results)}, and 95 % band of the distributions; dotted: "
        "criterion",
        x=0.01, ha="left",
    )  # fmt: skip
    return figure


@styled
def plot_steps(results: Sequence[RunResult]):
    """Steps to accuracy 0.9, each pair a line from vanilla; runs that never reached it on top."""
    from matplotlib.ticker import MaxNLocator

    tasks = _tasks(results)
    figure, axes = new_figure(1, len(tasks), figsize=(5.6 * len(tasks), 4.6), squeeze=False,
                              layout="constrained")  # fmt: skip
    for axis, task in zip(axes[0], tasks):
        conditions = _plain(_conditions(results, task))
        last = max(r.metrics["steps"] for _, runs in conditions for r in runs.values())
        never_at = 1.13 * last
        places = np.array([
            [_place(runs.get(seed), never_at) for _, runs in conditions]
            for seed in sorted({s for _, runs in conditions for s in runs})
        ])  # fmt: skip
        # Each seed has its own offset from the middle, so that equal values show.
        shift = np.linspace(-0.15, 0.15, len(places)) if len(places) > 1 else np.zeros(1)
        for seed_shift, row in zip(shift, places):
            x = np.arange(len(conditions)) + seed_shift
            axis.plot(x, row, color="#D5D5D5", lw=0.6, zorder=0)
            for k, (group, _) in enumerate(conditions):
                mark = "^" if row[k] == never_at else "o"
                axis.plot(x[k], row[k], mark, ms=4.5, color=color_of(group.dist), mec="none")
        for k, (_, runs) in enumerate(conditions):
            steps = np.array([_place(r, math.inf) for r in runs.values()], float)
            middle = min(median(steps), never_at)  # infinite where half or more never reached it
            axis.plot([k - 0.3, k + 0.3], [middle] * 2, color="black", lw=1.5)
        axis.axhline(1.06 * last, color="#BBBBBB", lw=0.7)
        axis.set_ylim(0, 1.2 * last)
        ticks = [t for t in MaxNLocator(5).tick_values(0, last) if 0 <= t <= last]
        axis.set_yticks([*ticks, never_at], [*(f"{t:g}" for t in ticks), "never"])
        axis.set_xticks(range(len(conditions)), [label(g).replace(", ", "\n") for g, _ in
                                                 conditions], rotation=20)  # fmt: skip
        axis.set_title(parse_task(task).label)
        axis.set_ylabel(metric("steps_to_criterion").label)
    figure.suptitle("Steps to criterion: one point per seed, joined by a line; bars are medians",
                    x=0.01, ha="left")  # fmt: skip
    return figure


def _place(run: RunResult | None, never_at: float) -> float:
    if run is None:
        return math.nan
    steps = run.metrics["steps_to_criterion"]
    return never_at if steps is None else steps


@styled
def plot_weight_change(results: Sequence[RunResult]):
    """Norm of the change of W against the step, and against the held-out loss."""
    tasks = _tasks(results)
    figure, axes = new_figure(2, len(tasks), figsize=(4.9 * len(tasks) + 1.8, 7.2), squeeze=False,
                              layout="constrained")  # fmt: skip
    for column, task in enumerate(tasks):
        top, bottom = axes[:, column]
        conditions = _conditions(results, task)
        styles = _styles(conditions)
        some = [r for _, runs in conditions for r in runs.values()]
        for group, runs in conditions:
            _mean_line(top, group, runs, "weight_change", styles[group])
            losses, changes = change_against_loss(list(runs.values()), _loss_levels(some))
            bottom.plot(losses, changes, **styles[group])
        bottom.set_xscale("log")
        bottom.invert_xaxis()
        plain_log_ticks(bottom, "x")
        top.set_title(parse_task(task).label)
        top.set_xlabel("training step")
        bottom.set_xlabel("held-out loss, as it falls")
        for axis in (top, bottom):
            axis.set_ylim(bottom=0)
            axis.set_ylabel("norm of the change of W\nrelative to the initial W")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside right upper", fontsize=8)
    figure.suptitle(
        f"Change of the recurrent weights, mean over {_caption(results)}: at the same step (top, "
        "with 95 % band of the distributions)\nand at the same loss (bottom, where all runs "
        "reached it)", x=0.01, ha="left",
    )  # fmt: skip
    return figure


def _loss_levels(results: Sequence[RunResult]):
    """Losses from the largest that all runs start above to the lowest that all of them reach."""
    high = min(r.history[0]["loss"] for r in results)
    low = max(min(row["loss"] for row in r.history) for r in results)
    return np.geomspace(high, low, 40) if low < high else np.array([high])


def change_against_loss(results: Sequence[RunResult], levels):
    """Mean over runs of the change of W where each run's loss first reaches each level."""
    changes = [[change_at_loss(level, r.history) for level in levels] for r in results]
    return levels, np.mean(changes, axis=0)


@styled
def plot_timescales(results: Sequence[RunResult]):
    """Effective timescales of all units before and after training, one row per condition."""
    tasks = _tasks(results)
    rows = max(len(_plain(_conditions(results, task))) for task in tasks)
    figure, axes = new_figure(rows, len(tasks), figsize=(4.6 * len(tasks) + 1.2, 0.9 + 1.1 * rows),
                              squeeze=False, sharex=True, layout="constrained")  # fmt: skip
    pooled = {id(run): [_timescales(run, when) for when in ("before", "after")] for run in results}
    every = np.concatenate([v for pair in pooled.values() for v in pair])
    bins = np.geomspace(max(0.04, every.min()), every.max() * 1.02, 45) if every.size else 10
    for column, task in enumerate(tasks):
        conditions = _plain(_conditions(results, task))
        for axis, (group, runs) in zip(axes[:, column], conditions):
            before, after = (
                np.concatenate([pooled[id(r)][k] for r in runs.values()]) for k in (0, 1)
            )
            axis.hist(before, bins, color="#BBBBBB")
            axis.hist(after, bins, histtype="step", lw=1.5, color=color_of(group.dist))
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
        last.set_xlabel(f"effective timescale (s); last bar: {LONGEST:.1f} s or more")
        axes[0, column].set_title(parse_task(task).label)
    figure.legend(*_before_after_handles(), loc="outside right upper")
    figure.suptitle(f"Units of all networks ({_caption(results)}), noise-driven, no input; "
                    "sd: of each network, mean over seeds",
                    x=0.01, ha="left")  # fmt: skip
    return figure


def _before_after_handles():
    from matplotlib.patches import Patch

    patches = [Patch(color="#BBBBBB"), Patch(fill=False, edgecolor="black", lw=1.5)]
    return patches, ["before training", "after"]


def _timescales(run: RunResult, when: str):
    tau = measurable(run.units[f"tau_eff_{when}"], run.units[f"tau_eff_flag_{when}"])[0]
    return tau[np.isfinite(tau)]


def _mean_of(runs, name) -> str:
    values = [r.metrics[name] for r in runs.values() if r.metrics[name] is not None]
    return f"{np.mean(values):.2f}" if values else "-"
