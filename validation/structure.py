"""Structure from the poster's references: low rank, Dale's law, a hierarchy, two populations.

    python validation/structure.py --runs     the runs of part 3 of the protocol, and their rows
    python validation/structure.py            structure.md and its figure, from the rows
    python validation/structure.py --quick    tiny runs: that it all works

About 15 minutes of one core. What is stored in runs/structure is not computed again; the rows are
those of tau_rnn/evidence/structure.csv (means and differences) and structure_runs.csv.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _evidence_csv import EVIDENCE, refresh

from tau_rnn.experiment import RunConfig, sweep
from tau_rnn.experiment.claims import load_claims, pick
from tau_rnn.experiment.files import write_text
from tau_rnn.experiment.metrics import metric
from tau_rnn.experiment.outcome import BASIC_MEASURES, RunResult
from tau_rnn.experiment.report import grid
from tau_rnn.experiment.statistics import paired_t
from tau_rnn.measures.run import measurable

HERE = Path(__file__).resolve().parent
SEEDS, TINY_SEEDS = range(3000, 3010), range(2)
FULL = RunConfig()
TINY = RunConfig(units=9, steps=6, eval_every=2, batch=4, dt=0.1, test_trials=32, burn_in=2.0)
ADDED = "random+rank:1,strength=1.5"
BLOCKS = {"rising": (0.5, 1.0, 1.5), "equal": (1.0, 1.0, 1.0), "falling": (1.5, 1.0, 0.5)}
QUANTITIES, MOMENTS = ("pulse_sum", "integral"), ("stimulus", "delay")
POPULATIONS = {"bimodal": "0.5 and 1.5 s", "bimodal:low=0.2,high=1.8": "0.2 and 1.8 s"}
DALE, SPARSE = "dale:0.8", "sparse:0.1"
#: part -> condition -> what differs from the defaults.
CONDITIONS: dict[str, dict[str, dict[str, Any]]] = {
    "hierarchy": {name: {"connectivity": "hierarchy:3"} for name in BLOCKS},
    "populations": {dist: {"dist": dist} for dist in POPULATIONS},
    "rank": {
        f"{dist}, {init}": {"dist": dist, "init": init}
        for dist, inits in (
            ("vanilla", ("random", "rank:1", "rank:5", ADDED)), ("uniform", ("random", "rank:5")),
        )
        for init in inits
    },
    "signs": {
        f"{dist}, {name}": {"dist": dist, "connectivity": name}
        for name in ("full", DALE, SPARSE)
        for dist in ("vanilla", "uniform")
    },
}  # fmt: skip
MEASURES = {"populations": ("weights", "lesions", "decoding")}


def blocks(units: int) -> list[np.ndarray]:
    """The units of the three blocks, as `tau_rnn.connectivity` has them."""
    return np.array_split(np.arange(units), 3)


def configs(part: str, base: RunConfig, seeds) -> dict[str, list[RunConfig]]:
    """The runs of each condition of a part, one a seed."""
    found = {}
    for name, changes in CONDITIONS[part].items():
        if part == "hierarchy":
            taus = zip(BLOCKS[name], blocks(base.units))
            changes = {**changes, "dist": np.concatenate([[tau] * len(b) for tau, b in taus])}
        found[name] = [base.replace(seed=seed, **changes) for seed in seeds]
    return found


def numbers(part: str, result: RunResult) -> dict[str, float | None]:
    """What is compared of a run."""
    m = result.metrics
    names = ["log_mean_loss", "accuracy_last5"]
    if part == "rank":
        names += ["kernel_alignment", "representation_alignment", "weight_change", "effective_rank"]
    row = {name: m[name] for name in names}
    if part == "hierarchy":
        for when in ("before", "after"):
            levels = block_levels(result.units, when)
            row |= {f"ln_tau_block{k + 1}_{when}": level for k, level in enumerate(levels)}
            row[f"ln_tau_rise_{when}"] = levels[-1] - levels[0]
        row["ln_tau_rise_gain"] = row["ln_tau_rise_after"] - row["ln_tau_rise_before"]
    if part == "populations":
        silenced = {which: m[f"lesion_{which}_0.5"] for which in ("slowest", "fastest", "random")}
        row |= {f"without_{which}": accuracy for which, accuracy in silenced.items()}
        row["without_slow_minus_fast"] = silenced["slowest"] - silenced["fastest"]
        row["without_slow_minus_random"] = silenced["slowest"] - silenced["random"]
        row["without_fast_minus_random"] = silenced["fastest"] - silenced["random"]
        for quantity in QUANTITIES:
            for moment in MOMENTS:
                slow, fast = (m[f"decode_{g}_{quantity}_{moment}"] for g in ("slow", "fast"))
                row |= {f"decode_slow_{quantity}_{moment}": slow,
                        f"decode_fast_{quantity}_{moment}": fast,
                        f"decode_slow_minus_fast_{quantity}_{moment}": slow - fast}  # fmt: skip
    return row


def block_levels(units: dict[str, np.ndarray], when: str) -> list[float]:
    """Mean of ln effective timescale (s) in each block, over the units that have one."""
    tau, _ = measurable(units[f"tau_eff_{when}"], units[f"tau_eff_flag_{when}"])
    ln_tau = np.log(tau)
    return [float(np.nanmean(ln_tau[b])) if np.isfinite(ln_tau[b]).any() else math.nan
            for b in blocks(len(tau))]  # fmt: skip


#: part -> (condition, what it is compared with).
COMPARED = {
    "rank": (
        *((f"vanilla, {init}", "vanilla, random") for init in ("rank:1", "rank:5", ADDED)),
        ("uniform, rank:5", "uniform, random"),
        ("uniform, random", "vanilla, random"),
        ("uniform, rank:5", "vanilla, rank:5"),
    ),
    "signs": (
        *((f"vanilla, {name}", "vanilla, full") for name in (DALE, SPARSE)),
        *((f"uniform, {n}", f"vanilla, {n}") for n in ("full", DALE, SPARSE)),
    ),
    "hierarchy": (("rising", "equal"), ("falling", "equal")),
    "populations": (("bimodal:low=0.2,high=1.8", "bimodal"),),
}  # fmt: skip


def effect_rows(part: str, found: dict[str, list[dict]]) -> list[dict[str, Any]]:
    """Means of every number in every condition, and the paired differences."""
    rows = []
    for name, runs in found.items():
        for key in runs[0]:
            rows.append(effect_row(part, name, "", key, "mean", [run[key] for run in runs]))
    for name, other in COMPARED[part]:
        for key in found[name][0]:
            row, pairs = metric(key), zip(found[name], found[other], strict=True)
            scale = "difference of ln" if row.scale == "ratio" else "difference"
            d = [row.difference(a[key], b[key]) for a, b in pairs]
            rows.append(effect_row(part, name, other, key, scale, d))
    return rows


def effect_row(part, condition, reference, key, scale, values) -> dict[str, Any]:
    e = paired_t(values)
    row = {"part": part, "condition": condition, "reference": reference, "metric": key}
    return {**row, "scale": scale, "estimate": e.estimate, "low": e.low, "high": e.high, "n": e.n}


def make(base: RunConfig, seeds, store, folder: Path, say: Callable[..., object] = print) -> bool:
    """Make the runs of every part, and refresh their rows; returns whether all are complete."""
    complete = True
    for part in CONDITIONS:
        conditions = configs(part, base, seeds)
        todo = [config for runs in zip(*conditions.values()) for config in runs]  # seed by seed
        done = sweep(todo, store=store, parts=MEASURES.get(part, BASIC_MEASURES))
        say(f"{part}: {done.computed} runs computed, {done.reused} stored, "
            f"{len(done.failures)} failed", flush=True)  # fmt: skip
        complete &= not done.failures
        by_config = {result.config: result for result in done.load()}
        whole = [k for k in range(len(seeds))
                 if all(runs[k] in by_config for runs in conditions.values())]  # fmt: skip
        found = {name: [numbers(part, by_config[runs[k]]) for k in whole]
                 for name, runs in conditions.items()}  # fmt: skip
        of_runs = [
            {"part": part, "key": runs[k].key, "condition": name, "seed": runs[k].seed, **row}
            for name, runs in conditions.items()
            for k, row in zip(whole, found[name])
        ]
        refresh(folder / "structure_runs.csv", part, of_runs, list(CONDITIONS))
        refresh(folder / "structure.csv", part, effect_rows(part, found), list(CONDITIONS))
    return complete


# --- the figure ----------------------------------------------------------------------------------


def draw(rows: list[dict], path: Path) -> Path:
    """A panel for each part that was made: estimates with their 95 % intervals."""
    from tau_rnn.plotting import new_figure, save
    from tau_rnn.plotting.style import files_only, in_style

    files_only()
    panels = {"hierarchy": _hierarchy, "populations": _populations, "rank": _rank, "signs": _signs}
    with in_style():
        figure, axes = new_figure(2, 2, figsize=(10, 7.2), layout="constrained")
        for axis, (part, panel) in zip(axes.flat, panels.items()):
            if some := pick(rows, part=part):
                panel(axis, some)
            else:
                axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    return save(figure, path, largest=150_000)


def _hierarchy(axis, rows) -> None:
    for k, (name, color) in enumerate(zip(BLOCKS, ("#0072b2", "#444444", "#d55e00"))):
        for when, style in (("before", {"ls": ":", "mfc": "white"}), ("after", {"ls": "-"})):
            found = [one(rows, name, f"ln_tau_block{b}_{when}") for b in (1, 2, 3)]
            _points(axis, np.arange(1, 4) + 0.05 * (k - 1), found, np.exp, color=color,
                    label=f"tau {name}, {when} training", **style)  # fmt: skip
    axis.set(title="Three blocks in a row", xlabel="block", xticks=(1, 2, 3), yscale="log",
             ylabel="effective timescale (s)")  # fmt: skip
    axis.set_yticks(ticks := (1, 1.5, 2, 2.5), [f"{t:g}" for t in ticks])
    axis.minorticks_off()
    axis.set_ylim(bottom=0.55)
    axis.legend(fontsize=8, ncols=2, loc="lower center", columnspacing=1)


def _populations(axis, rows) -> None:
    decoded = [f"decode_slow_minus_fast_{q}_{m}" for q in QUANTITIES for m in MOMENTS]
    for k, (dist, name) in enumerate(POPULATIONS.items()):
        found = [one(rows, dist, metric) for metric in ("without_slow_minus_fast", *decoded)]
        _points(axis, np.arange(5) + 0.15 * k, found, ls="none", label=name,
                color=("#0072b2", "#d55e00")[k])  # fmt: skip
    axis.set_xticks(np.arange(5) + 0.07, [
        "accuracy\nwithout them", "R^2 pulses,\nstimulus", "R^2 pulses,\ndelay",
        "R^2 evidence,\nstimulus", "R^2 evidence,\ndelay",
    ], fontsize=8)  # fmt: skip
    axis.axhline(0, color="black", lw=0.8)
    axis.set(title="Two populations", ylabel="slow minus fast")
    axis.legend(fontsize=8)


def _rank(axis, rows) -> None:
    pairs = COMPARED["rank"][:4]  # with random W of the same distribution
    for k, (name, color) in enumerate((("kernel", "#0072b2"), ("representation", "#d55e00"))):
        found = [one(rows, condition, f"{name}_alignment", other) for condition, other in pairs]
        _points(axis, np.arange(4) + 0.15 * k, found, ls="none", color=color, label=name)
    names = [name.replace(", ", "\n").replace(",", ",\n") for name, _ in pairs]
    axis.set_xticks(np.arange(4) + 0.07, names, fontsize=8)
    axis.axhline(0, color="black", lw=0.8)
    axis.set(title="Initial W of low rank, against random W",
             ylabel="alignment, difference (below 0: richer)")  # fmt: skip
    axis.legend(fontsize=8)


def _signs(axis, rows) -> None:
    names = ("full", DALE, SPARSE)
    for k, name in enumerate(names):
        found = [one(rows, f"uniform, {name}", "log_mean_loss", f"vanilla, {name}")]
        _points(axis, [k], found, lambda v: 100 * np.expm1(v), color="#444444")
    axis.set_xticks(range(len(names)), names)
    axis.axhline(0, color="black", lw=0.8)
    axis.set(title="Dale's law and sparse W", ylabel="mean loss, uniform - vanilla (%)")


def one(rows: list[dict], condition: str, name: str, reference: str = "") -> dict:
    """The row of a part's metric, its mean or its difference from the reference."""
    (row,) = pick(rows, condition=condition, metric=name, reference=reference)
    return row


def _points(axis, x, rows, show=lambda v: v, **style) -> None:
    y, low, high = (show(np.array([r[name] for r in rows])) for name in ("estimate", "low", "high"))
    axis.errorbar(x, y, (y - low, high - y), capsize=2, marker="o", **style)


# --- the page ------------------------------------------------------------------------------------


DIFFERENCE, PERCENT, POINTS = "difference", "%", "points"
#: part -> title, what the reference found, and the rows that are shown: what, condition,
#: reference, metric and unit.
SHOWN: dict[str, tuple[str, str, list[tuple[str, str, str, str, str]]]] = {
    "hierarchy": (
        "A hierarchy of three blocks",
        "Murray et al. (2014): intrinsic timescales rise along the hierarchy of cortex.",
        [
            *(
                (f"ln effective timescale, last block minus first, {when} training: tau {name}",
                 name, "", f"ln_tau_rise_{when}", DIFFERENCE)
                for when in ("before", "after") for name in BLOCKS
            ),
            *((f"mean loss over training, {name} against equal", name, "equal", "log_mean_loss",
               PERCENT) for name in ("rising", "falling")),
        ],
    ),
    "populations": (
        "A slow and a fast population",
        "Kurikawa (2025): slow units encode inputs more weakly, and the memory needs them more.",
        [
            *(
                (f"R^2 of the {what}, end of the {moment}, slow minus fast units: {name}", dist, "",
                 f"decode_slow_minus_fast_{quantity}_{moment}", DIFFERENCE)
                for dist, name in POPULATIONS.items()
                for quantity, what in zip(QUANTITIES, ("pulses", "evidence"))
                for moment in MOMENTS
            ),
            *((f"accuracy without {a} units minus without {b} units: {name}", dist, "",
               f"without_{a}_minus_{b}", POINTS)
              for dist, name in POPULATIONS.items()
              for a, b in (("slow", "fast"), ("slow", "random"), ("fast", "random"))),
        ],
    ),
    "rank": (
        "Initial W of low rank",
        "Liu et al. (2024): W of low rank and the same norm learns more richly: kernel and "
        "representation move further. Mastrogiuseppe & Ostojic (2018) add low rank to random W.",
        [
            *(
                (f"{what}, {init} against random", f"vanilla, {init}", "vanilla, random", key, unit)
                for init in ("rank:1", "rank:5", ADDED)
                for what, key, unit in (
                    ("kernel alignment", "kernel_alignment", DIFFERENCE),
                    ("representation alignment", "representation_alignment", DIFFERENCE),
                    ("change of W", "weight_change", PERCENT),
                    ("mean loss over training", "log_mean_loss", PERCENT),
                )
            ),
            *((f"mean loss, uniform against vanilla: {init}", f"uniform, {init}",
               f"vanilla, {init}", "log_mean_loss", PERCENT) for init in ("random", "rank:5")),
        ],
    ),
    "signs": (
        "Dale's law and sparse W",
        "Song, Yang & Wang (2016): networks under Dale's law, and sparse ones, learn as well.",
        [
            *(
                (f"{what}, {name} against full W", f"vanilla, {name}", "vanilla, full", key, unit)
                for name in (DALE, SPARSE)
                for what, key, unit in (
                    ("accuracy at the end", "accuracy_last5", POINTS),
                    ("mean loss over training", "log_mean_loss", PERCENT),
                )
            ),
            *(
                (f"{what}, uniform against vanilla: {name}", f"uniform, {name}",
                 f"vanilla, {name}", key, unit)
                for what, key, unit in (
                    ("mean loss", "log_mean_loss", PERCENT),
                    ("accuracy", "accuracy_last5", POINTS),
                )
                for name in ("full", DALE, SPARSE)
            ),
        ],
    ),
}  # fmt: skip
#: part -> what came out here.
FOUND = {
    "hierarchy": "**Not from position alone.** Here effective timescales rise where the time "
    "constants do, and fall where they fall, and training halves that slope; where all time "
    "constants are equal, they fall a little after training. But no network learnt to use the cue: "
    "all end at an accuracy of 0.75, 0.5 where the two memories differ.",
    "populations": "**One half of it.** Here, too, the memory needs the slow units more than the "
    "fast ones: without them accuracy falls further. Against as many random units this is shown "
    "for 0.2 and 1.8 s, not for 0.5 and 1.5 s. But slow units do not encode more weakly: "
    "both quantities are read better from slow units than from fast ones, at the end of the "
    "stimulus as at the end of the delay, the more so the further apart the two time constants.",
    "rank": "**In part.** By the protocol's criterion, kernel alignment with rank 5, it is not "
    "seen: the interval includes 0. But representations move further with rank 5 and rank 1, and "
    "with rank 1 the kernel does as well, though no change of W is shown to be larger. Rank 1 "
    "added to random W made no difference that these seeds show. Uniform is ahead of vanilla with "
    "rank 5, too.",
    "signs": "**Not within 400 steps.** Both learn more slowly here and end lower, a little under "
    "Dale's law, 10 points with a tenth of the weights. Uniform stays ahead of vanilla in mean "
    "loss, less so with sparse W, and its accuracy is higher in both. The leak rate is not held.",
}


def cell_of(row: dict, unit: str) -> str:
    """An estimate with its interval, bold where that excludes 0."""
    values = [row[name] for name in ("estimate", "low", "high")]
    if unit == PERCENT:
        values = [100 * math.expm1(value) for value in values]
    scale, digits = {POINTS: (100, 1), PERCENT: (1, 0)}.get(unit, (1, 2))
    digits += any(round(scale * value, digits) == 0 for value in values)  # tell 0 from small
    middle, low, high = (f"{scale * value:+.{digits}f}" for value in values)
    suffix = f" {unit}" if unit in (PERCENT, POINTS) else ""
    text = f"{middle}{suffix} ({low} to {high})"
    return f"**{text}**" if row["low"] > 0 or row["high"] < 0 else text


def page(rows: list[dict]) -> str:
    """What the references found, and what came out here."""
    parts = [
        "# Structure: what the poster's references suggest",
        "Four small experiments in `multi_timescale`, after part 3 of the "
        "[protocol](poster_claims_protocol.md). Differences are paired by seed; 95 % intervals "
        "(bold: excludes 0); no tests. Every number is in "
        "[structure.csv](../tau_rnn/evidence/structure.csv). "
        "`python validation/structure.py` writes this page from it, `--runs` makes the runs.",
        "![Panels: effective timescale by block; slow minus fast population; alignment by "
        "initial W; uniform against vanilla under Dale's law and sparse W]"
        "(figures/structure.png)",
    ]
    for part, (title, reference, lines) in SHOWN.items():
        some, table = pick(rows, part=part), []
        for what, condition, other, name, unit in lines if some else ():
            row = one(some, condition, name, other)
            table.append((what, cell_of(row, unit)))
        if table:
            head = (f"{row['n']} seeds", "estimate (95 % interval)")
            parts += [f"## {title}", reference, FOUND.get(part, ""), grid(head, table)]
    return "\n\n".join(filter(None, parts)) + "\n"


# --- the command ---------------------------------------------------------------------------------


def quick() -> int:
    """Every part with tiny runs; returns the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        complete = make(TINY, TINY_SEEDS, folder / "store", folder, say=lambda *a, **k: None)
        tables = load_claims(folder)
        rows = tables["structure"]
        figure = draw(rows, folder / "structure.png")
        checks = [
            ("every tiny run is complete", complete),
            ("a row for each run", len(tables["structure_runs"])
             == len(TINY_SEEDS) * sum(map(len, CONDITIONS.values()))),
            ("differences for each comparison",
             {(r["condition"], r["reference"]) for r in rows if r["reference"]}
             == {pair for pairs in COMPARED.values() for pair in pairs}),
            ("a figure", figure.stat().st_size > 0),
            ("a page with a section for each part", page(rows).count("\n## ") == len(SHOWN)),
        ]  # fmt: skip
    for what, good in checks:
        print(f"{'ok  ' if good else 'FAIL'}  {what}")
    return 0 if all(good for _, good in checks) else 1


def main(argv=None) -> int:
    """Make the runs, or page and figure; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", action="store_true", help="make the runs and their rows as well")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), metavar="K",
                        help=f"of the {len(SEEDS)} seeds, the first K")  # fmt: skip
    parser.add_argument("--store", default="runs/structure", metavar="FOLDER",
                        help="where the runs are kept (default: runs/structure)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny runs, nothing written")
    args = parser.parse_args(argv)
    if args.quick:
        return quick()
    if args.runs and not make(FULL, SEEDS[: args.seeds], args.store, EVIDENCE):
        return 1
    rows = load_claims()["structure"]
    draw(rows, HERE / "figures" / "structure.png")
    write_text(HERE / "structure.md", page(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
