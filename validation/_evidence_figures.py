"""The figures of the page, from the tables alone. matplotlib is imported inside functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _evidence_runs import DEGREES, HOMOGENEOUS, TASKS, constant, spread_around_1
from _evidence_untrained import COMPARED as UNTRAINED

from tau_rnn.experiment.claims import effect_of, findings, pick
from tau_rnn.experiment.conditions import POSTER
from tau_rnn.experiment.effects import VANILLA
from tau_rnn.experiment.metrics import Metric, metric

LARGEST = 150_000  # bytes
MATCHED_LOSS = "weight_change_at_matched_loss"
HELD = ", rescale_tau=harmonic"


def draw_all(tables: dict[str, list[dict]], folder: Path) -> list[Path]:
    """Draw every figure for which the tables have the numbers; returns their paths."""
    from tau_rnn.plotting import in_style, save
    from tau_rnn.plotting.effects import plot_claims
    from tau_rnn.plotting.style import files_only

    files_only()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with in_style():
        figures = {"claims": plot_claims(findings(tables["claims"]))}
        for name, metrics in (
            ("speed", ("log_mean_loss",)), ("accuracy", ("accuracy_last5",)),
            ("weights", ("weight_change", MATCHED_LOSS)),
        ):  # fmt: skip
            figures[f"claims_{name}"] = plot_claims(findings(tables["claims"]), metrics)
        if pick(tables["effects"], part="degree"):
            figures["claims_weights"] = degree_figure(tables, ("weight_change", MATCHED_LOSS))
        if pick(tables["effects"], part="homogeneous"):
            for name, metric in (("speed", "log_mean_loss"), ("accuracy", "accuracy_last5")):
                figures[f"claims_{name}"] = degree_figure(tables, (metric,), homogeneous=True)
        figures["claims_spread"] = spread_figure(tables)
        if any(pick(tables["effects"], part=part) for part, *_ in REACH[1:]):
            figures["claims_reach"] = reach_figure(tables)
        if pick(tables["effects"], part="untrained"):
            figures["claims_untrained"] = untrained_figure(tables)
    for name, figure in figures.items():
        paths.append(save(figure, folder / f"{name}.png", largest=LARGEST))
    return paths


def axis_label(quantity: Metric) -> str:
    """What an axis of differences says."""
    unit = quantity.shown_unit.removeprefix("percentage ") or "number"
    return f"{quantity.label},\ndifference ({unit})"


def as_shown(row, quantity: Metric) -> list[float]:
    """The estimate and the ends of the interval of a row, as figures show differences."""
    return [quantity.shown(value) for value in effect_of(row)[:3]]


def error_bars(axis, x, rows, quantity: Metric | None = None, **style) -> None:
    """Estimates with their intervals; a row that is None is a reference at 0."""
    y = np.array([[0.0] * 3 if r is None else as_shown(r, quantity) if quantity else
                  [r["estimate"], r["low"], r["high"]] for r in rows], float)  # fmt: skip
    axis.errorbar(x, y[:, 0], (y[:, 0] - y[:, 1], y[:, 2] - y[:, 0]), capsize=2, **style)


def degree_panel(axis, tables, task: str, key: str) -> None:
    """Difference from h = 0 over h, as it is and with the leak rate held."""
    from tau_rnn.plotting import color_of

    rows = pick(tables["effects"], part="degree", task=task, metric=key, kind=VANILLA)
    by_name = {r["condition"]: r for r in rows}
    for suffix, face, text, nudge in (
        ("", color_of("uniform"), "as it is", -0.012), (HELD, "white", "mean leak rate held", 0.012)
    ):  # fmt: skip
        found = [None, *(by_name[spread_around_1(h) + suffix] for h in DEGREES[1:])]
        style = {"color": color_of("uniform"), "mfc": face, "ls": "--" if suffix else "-"}
        error_bars(axis, np.array(DEGREES) + nudge, found, metric(key), marker="o",
                   label=text, **style)  # fmt: skip
    axis.axhline(0, color="black", lw=0.8, zorder=0)
    axis.set(xticks=DEGREES, xlabel="h: tau uniform on 1 - h to 1 + h s",
             ylabel=axis_label(metric(key)))  # fmt: skip


def homogeneous_panel(axis, tables, task: str, key: str) -> None:
    """Level of homogeneous networks over tau, and the diverse ones as bands."""
    from tau_rnn.plotting import color_of

    rows = pick(tables["conditions"], part="homogeneous", task=task, metric=key)
    by_name = {r["condition"]: r for r in rows}
    found = [by_name[constant(tau)] for tau in HOMOGENEOUS]
    error_bars(axis, HOMOGENEOUS, found, color="#444444", marker="o", label="homogeneous")
    for dist in POSTER[1:]:
        row = by_name[dist]
        axis.axhspan(row["low"], row["high"], color=color_of(dist), alpha=0.18, lw=0)
        axis.axhline(row["estimate"], color=color_of(dist), lw=1.3, label=dist)
    axis.set(xscale="log", xlabel="tau of the homogeneous network (s)", ylabel=metric(key).heading)
    axis.set_xticks(HOMOGENEOUS, [f"{t:g}" for t in HOMOGENEOUS])
    axis.minorticks_off()


def best_panel(axis, tables, task: str, key: str) -> None:
    """Diverse networks minus the best homogeneous one, chosen on other or on the same seeds."""
    from tau_rnn.plotting import color_of

    quantity = metric(key)
    for k, dist in enumerate(POSTER[1:]):
        for which, face, nudge in (("other", color_of(dist), -0.14), ("same", "white", 0.14)):
            (row,) = pick(tables["effects"], part="homogeneous", task=task, metric=key,
                          condition=dist, kind=f"best, {which} seeds")  # fmt: skip
            estimate, *ends = as_shown(row, quantity)
            axis.plot(ends, [k + nudge] * 2, color=color_of(dist), lw=1.4)
            axis.plot(estimate, k + nudge, "o", ms=5, color=color_of(dist), mfc=face)
    axis.axvline(0, color="black", lw=0.8, zorder=0)
    axis.set_yticks(range(len(POSTER) - 1), POSTER[1:])
    axis.set(ylim=(len(POSTER) - 0.8, -0.5), xlabel=axis_label(quantity))
    for which, face in (("other seeds", "#444444"), ("the same seeds", "white")):
        axis.plot([], [], "o", color="#444444", mfc=face, ms=5, label=f"chosen on {which}")


def degree_figure(tables, metrics, *, homogeneous: bool = False):
    """A row of panels for each task: degree, and where wanted the homogeneous networks."""
    from tau_rnn.plotting import new_figure

    columns = len(metrics) + 2 * homogeneous
    figure, axes = new_figure(len(TASKS), columns, figsize=(4 * columns, 5.2),
                              layout="constrained", squeeze=False)  # fmt: skip
    for line, task in zip(axes, TASKS):
        for axis, key in zip(line, metrics):
            degree_panel(axis, tables, task, key)
        line[0].set_title(task, loc="left")
        if homogeneous:
            homogeneous_panel(line[-2], tables, task, metrics[0])
            best_panel(line[-1], tables, task, metrics[0])
            line[-1].set_title("minus the best homogeneous network", loc="left")
    for axis in axes[0]:
        axis.legend(loc="lower left" if axis is axes[0, -1] and homogeneous else "best")
    return figure


def spread_figure(tables):
    """What training does to the spread of timescales, for each burn-in, gain and treatment."""
    from tau_rnn.plotting import color_of, new_figure

    rows = pick(tables["effects"], part="confirmation", metric="tau_eff_spread")
    figure, axes = new_figure(1, len(TASKS), figsize=(9, 3.8), layout="constrained")
    cases = (("5 s", ""), ("20 s", ""), ("60 s", ""), ("5 s", ", gain=1"))
    treatments = (
        ("", {"mfc": None, "ls": "-"}), (", longest left out", {"mfc": "white", "ls": ":"})
    )  # fmt: skip
    for axis, task in zip(axes, TASKS):
        for k, dist in enumerate(POSTER):
            for suffix, style in treatments:
                found = [
                    pick(rows, task=task, condition=dist + gain, note=f"burn-in {wait}{suffix}")[0]
                    for wait, gain in cases
                ]
                x = np.arange(len(cases)) + 0.11 * (k - 1.5) + (0.045 if suffix else 0)
                style = {"color": color_of(dist), "lw": 1.2, "marker": "o", "ms": 4, **style}
                error_bars(axis, x[:3], found[:3], label=None if suffix else dist, **style)
                error_bars(axis, x[3:], found[3:], **style)
        axis.axhline(0, color="black", lw=0.8, zorder=0)
        axis.set_xticks(range(len(cases)), ["5 s", "20 s", "60 s", "5 s,\ngain 1"])
        axis.set(title=task, xlabel="burn-in that is dropped, at initial gain 0.8 or 1")
    axes[0].set_ylabel("sd of ln tau_eff, after - before")
    for suffix, style in treatments:
        text = suffix[2:].replace("longest", "longest timescales") or "longest timescales capped"
        axes[0].plot([], [], color="#444444", marker="o", ms=4, label=text, **style)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return figure


#: Part C: (part, steps, what it is called).
REACH = (
    ("degree", 400, "defaults, 20 seeds"), ("lasting", 400, "400 steps"),
    ("lasting", 800, "800 steps"), ("lasting", 1600, "1,600 steps"),
    ("tau-trained", 400, "tau trained"), ("dt-0.1", 400, "dt = 0.1 s"),
    ("harder", 400, "harder task"), ("lr-0.001", 400, "lr 0.001"), ("lr-0.009", 400, "lr 0.009"),
    ("gain-1.0", 400, "gain 1"), ("gain-1.2", 400, "gain 1.2"),
    ("units-50", 400, "50 units"), ("units-200", 400, "200 units"),
)  # fmt: skip


def reach_rows(tables, task: str, part: str, steps: int, metric: str, held: bool) -> list[dict]:
    """Uniform minus vanilla in a setting, as it is or with the leak rate held; none if not run."""
    return [
        r for r in pick(tables["effects"], kind=VANILLA, part=part, steps=steps, metric=metric)
        if r["task"].startswith(task) and r["condition"].startswith("uniform")
        and ":" not in r["condition"] and ("harmonic" in r["condition"]) == held
    ]  # fmt: skip


def reach_figure(tables):
    """Uniform against vanilla, as it is and with the leak rate held; one thing is changed."""
    from tau_rnn.plotting import color_of, new_figure

    quantities = [
        metric(key) for key in ("log_mean_loss", "loss_last5", "accuracy_last5", MATCHED_LOSS)
    ]
    figure, axes = new_figure(len(TASKS), len(quantities), figsize=(11, 6.6), layout="constrained",
                              sharex="col", sharey="row")  # fmt: skip
    for line, task in zip(axes, TASKS):
        settings = [
            s for s in REACH if reach_rows(tables, task, s[0], s[1], "log_mean_loss", False)
        ]
        for axis, quantity in zip(line, quantities):
            for k, (part, steps, _) in enumerate(settings):
                for held in (False, True):
                    for row in reach_rows(tables, task, part, steps, quantity.key, held):
                        estimate, *ends = as_shown(row, quantity)
                        y = k + (0.16 if held else -0.16)
                        axis.plot(ends, [y, y], color=color_of("uniform"), lw=1.4)
                        axis.plot(estimate, y, "o", ms=5, color=color_of("uniform"),
                                  mfc="white" if held else None)  # fmt: skip
            axis.axvline(0, color="black", lw=0.8)
            axis.set_yticks(range(len(settings)), [name for *_, name in settings])
            axis.set_ylim(len(settings) - 0.4, -0.6)
            axis.set_xlabel(axis_label(quantity) if task == TASKS[-1] else "")
        line[0].set_title(task, loc="left")
    for text, face in (("as it is", color_of("uniform")), ("mean leak rate held", "white")):
        axes[0, 0].plot([], [], "o", ms=5, color=color_of("uniform"), mfc=face, label=text)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


#: Comparisons of untrained networks: condition, reference, what it is called.
BEFORE = (
    ("uniform", "vanilla", "uniform - vanilla"),
    ("uniform, rescale_tau=harmonic", "vanilla", "the same, rescaled to\nvanilla's leak rate"),
    ("uniform", "constant:0.61", "uniform - constant 0.61 s,\nof its leak rate"),
    ("constant:0.61", "vanilla", "constant 0.61 s - vanilla"),
)  # fmt: skip


def untrained_figure(tables):
    """What differs between networks before training."""
    from tau_rnn.plotting import new_figure

    rows = pick(tables["effects"], part="untrained")
    columns = UNTRAINED[:4]
    figure, axes = new_figure(1, len(columns), figsize=(11, 3.4), sharey=True,
                              layout="constrained")  # fmt: skip
    for axis, quantity in zip(axes, columns):
        for task, marker, nudge in zip(TASKS, "os", (-0.14, 0.14)):
            for k, (condition, reference, _) in enumerate(BEFORE):
                for row in pick(rows, task=task, metric=quantity.key, condition=condition,
                                reference=reference):  # fmt: skip
                    estimate, *ends = as_shown(row, quantity)
                    face = None if k == 0 else "white"
                    axis.plot(ends, [k + nudge] * 2, color="#444444", lw=1.4)
                    axis.plot(estimate, k + nudge, marker, ms=5, color="#444444", mfc=face)
        axis.axvline(0, color="black", lw=0.8)
        axis.set_yticks(range(len(BEFORE)), [name for *_, name in BEFORE])
        axis.set_ylim(len(BEFORE) - 0.4, -0.6)
        axis.set_xlabel(axis_label(quantity))
    for task, marker in zip(TASKS, "os"):
        axes[0].plot([], [], marker, ms=5, color="#444444", label=task)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
