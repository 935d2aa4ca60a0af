"""From runs to effects: pairs with vanilla, slopes, the best homogeneous network, and the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from _evidence_runs import (
    DEGREES,
    HOMOGENEOUS,
    TASKS,
    Done,
    Plan,
    constant,
    place,
    spread_around_1,
)

from tau_rnn.experiment import RunConfig, load_run
from tau_rnn.experiment.claims import CLAIMS, Finding, judge, pick, word
from tau_rnn.experiment.conditions import POSTER, label, matched_reference, reference
from tau_rnn.experiment.effects import (
    ITSELF,
    MATCHED,
    VANILLA,
    Row,
    compare,
    difference,
    level_of,
    unit_of,
)
from tau_rnn.experiment.metrics import Metric, metric
from tau_rnn.experiment.outcome import ACTIVITY_SECONDS, ACTIVITY_TRIALS
from tau_rnn.experiment.run import streams
from tau_rnn.experiment.statistics import (
    Effect,
    holm,
    paired_t,
)
from tau_rnn.measures.run import measurable

BURN_INS = (5.0, 20.0, 60.0)  # s
LONGEST = ("capped", "left out")
#: Quantities that are compared in pairs.
COMPARED = tuple(map(metric, (
    "log_mean_loss", "loss_last5", "accuracy_last5", "steps_to_criterion", "weight_change",
    "weight_change_at_matched_loss", "conflict_accuracy", "pattern_accuracy", "evidence_accuracy",
    "value_accuracy",
)))  # fmt: skip
#: The sign that a claim gives to the slope over diversity.
CLAIMED = {key: claim.sign for claim in CLAIMS[:3] for key in claim.metrics}
#: What the best homogeneous network is best in.
BEST_IN = ("log_mean_loss", "loss_last5", "accuracy_last5")


class Pairs(NamedTuple):
    """A condition and what it is compared with, seed by seed."""

    group: RunConfig
    kind: str
    other: RunConfig
    runs: list[tuple[Done | None, Done | None]]


def by_condition(done: Iterable[Done]) -> dict[tuple[RunConfig, int], dict[int, Done]]:
    """Runs by condition (the configuration with seed 0) and steps, then by seed."""
    groups: dict[tuple[RunConfig, int], dict[int, Done]] = {}
    for run in done:
        groups.setdefault((run.config.replace(seed=0), run.steps), {})[run.config.seed] = run
    return groups


def between(part: str, done: Sequence[Done]) -> tuple[list[dict[str, Any]], list[Row]]:
    """Every condition against vanilla, and against the homogeneous network of its leak rate."""
    groups = by_condition(done)
    table, rows = [], []
    for (group, steps), runs in groups.items():
        for kind, other in ((VANILLA, reference(group)), (MATCHED, matched_reference(group))):
            partners = groups.get((other, steps)) if other is not None else None
            if partners is None or other == group:
                continue
            pairs = [(runs[s], partners[s]) for s in sorted(set(runs) & set(partners))]
            lacking = len(set(runs) ^ set(partners))
            for quantity in COMPARED:
                effect = compare(quantity, pairs)
                if effect.n == 0:
                    continue
                effect = effect._replace(missing=effect.missing + lacking)
                rows.append(Row(group.task, label(group), label(other), kind, quantity.key,
                                unit_of(quantity), effect, group))  # fmt: skip
                table.append(effect_row(part, rows[-1], steps))
    return table, rows


def effect_row(part: str, row: Row, steps: int, note: str = "") -> dict[str, Any]:
    """A comparison as a row of effects.csv; `p_holm` is filled in where it belongs to a family."""
    return {
        "part": part, "task": row.task, "condition": row.condition, "reference": row.reference,
        "kind": row.kind, "metric": row.metric, "scale": row.scale, "steps": steps,
        **row.effect._asdict(), "p_holm": None, "note": note,
    }  # fmt: skip


# --- part 1: the claims --------------------------------------------------------------------------


def timescale_rows(settings: dict, store: str) -> list[dict[str, Any]]:
    """The rows of timescales.csv of a stored run, in a worker: no training is needed.

    After the run's own burn-in, its effective timescales are stored; after longer ones they are
    measured, where the initial gain is the usual one.
    """
    config = RunConfig.from_json(settings)
    result = load_run(place(store, config))
    about = {"part": "confirmation", "key": config.key,
             **{k: getattr(config, k) for k in ("task", "dist", "gain", "seed")}}  # fmt: skip
    rows: list[dict[str, Any]] = []
    waits = BURN_INS if config.gain == RunConfig().gain else BURN_INS[:1]
    found = {wait: {longest: {} for longest in LONGEST} for wait in waits}
    for when, params in (("before", result.initial), ("after", result.final)):
        measured = {config.burn_in: [result.units[f"tau_eff_{when}"],
                                     result.units[f"tau_eff_flag_{when}"]]}  # fmt: skip
        measured |= longer_burn_ins(config, params, waits[1:])
        for wait in waits:
            tau, too_long = measurable(*measured[wait])
            for longest in LONGEST:
                kept = tau[np.isfinite(tau) & ~(too_long & (longest == "left out"))]
                found[wait][longest] |= {
                    f"sd_{when}": float(np.log(kept).std(ddof=1)) if len(kept) > 1 else np.nan,
                    f"median_{when}": float(np.median(kept)),
                    f"too_long_{when}": int(too_long.sum()),
                    f"unfitted_{when}": int((~np.isfinite(tau)).sum()),
                }
    for wait, both in found.items():
        rows += [{**about, "burn_in": wait, "longest": k, **v} for k, v in both.items()]
    return rows


def longer_burn_ins(config: RunConfig, params, waits) -> dict[float, list[np.ndarray]]:
    """Effective timescales and their flags after some burn-ins, of one simulation."""
    from tau_rnn.measures import spontaneous_rates
    from tau_rnn.timescales import fit_timescales

    if not waits:
        return {}
    rates = spontaneous_rates(
        params, config.dt, streams(config.seed)["analysis"], sigma=config.make_task().noise,
        n_trials=ACTIVITY_TRIALS, duration=waits[-1] - waits[0] + ACTIVITY_SECONDS,
        burn_in=waits[0], phi=config.phi, method=config.method,
    )  # fmt: skip
    found = {}
    for wait in waits:
        start, length = (round(s / config.dt) for s in (wait - waits[0], ACTIVITY_SECONDS))
        fit = fit_timescales(rates[:, start : start + length], config.dt, center="trial", ci=None)
        found[wait] = [fit.tau, np.asarray(fit.flag, str)]
    return found


def is_plain(config: RunConfig) -> bool:
    """Whether claim 4 is about a run: one of the poster's distributions and no other control."""
    plain = config.rescale_tau == config.lr_scale == "none"
    return plain and config.dist in POSTER


def spreads(base: RunConfig, timescales: Iterable[dict[str, Any]]) -> tuple[list[dict], list[Row]]:
    """What training does to the spread of effective timescales (claim 4)."""
    groups: dict[RunConfig, dict[str, list[float]]] = {}
    for row in timescales:
        config = base.replace(task=row["task"], dist=row["dist"], gain=row["gain"],
                              burn_in=row["burn_in"])  # fmt: skip
        key = "tau_eff_spread" + ("_of_short" if row["longest"] == "left out" else "")
        change = row["sd_after"] - row["sd_before"]
        groups.setdefault(config, {}).setdefault(key, []).append(change)
    rows = [
        Row(config.task, label(config), "before training", ITSELF, key, "", paired_t(changes),
            config)
        for config, found in groups.items()
        for key, changes in found.items()
    ]  # fmt: skip
    table = []
    for r in rows:
        short = ", longest left out" if r.metric.endswith("_of_short") else ""
        note = f"burn-in {r.group.burn_in:g} s{short}"
        named = r._replace(metric="tau_eff_spread")
        table.append(effect_row("confirmation", named, base.steps, note))
    return table, rows


def claims_table(tests: Iterable[Finding]) -> list[dict[str, Any]]:
    """The tests of the claims as rows of claims.csv: the claim, then each of its controls."""
    table = []
    for t in tests:
        about = {"claim": t.claim.number, "task": t.task, "dist": t.dist, "metric": t.metric}
        outcome = {"p_holm": t.p_holm, "outcome": t.verdict, "word": word(t.verdict)}
        table.append({**about, "role": "claim", "control": "", "holds": "",
                      **t.effect._asdict(), **outcome})  # fmt: skip
        for c in t.controls:
            table.append({**about, "role": "control", "control": c.name, "holds": c.explains,
                          **c.effect._asdict()})  # fmt: skip
    return table


def confirmation(plan: Plan, done: Sequence[Done], timescales) -> tuple[list[dict], list[Finding]]:
    """All effects of part 1, and the tests of the claims."""
    table, rows = between("confirmation", done)
    more, spread = spreads(plan.base, timescales)
    tests = judge([*rows, *spread], plan.base, TASKS)
    table += more
    for t in tests:
        kind = ITSELF if t.claim.number == 4 else VANILLA
        wanted = {"task": t.task, "condition": t.dist, "kind": kind, "metric": t.metric}
        notes = ("", f"burn-in {plan.base.burn_in:g} s")
        (row,) = (r for r in pick(table, **wanted) if r["note"] in notes)
        row["p_holm"] = t.p_holm
    return table, tests


# --- part 2 --------------------------------------------------------------------------------------


def slopes(plan: Plan, done: Sequence[Done]) -> list[dict[str, Any]]:
    """Slope per unit h of every measure, as it is and with the leak rate held, and each step."""
    groups, base = by_condition(done), plan.base.replace(seed=0)
    family, table = [], []
    for task in TASKS:
        first = groups[base.replace(task=task, dist="vanilla"), base.steps]
        for key in CLAIMED:
            for held in ("none", "harmonic"):
                change = np.zeros((len(first), len(DEGREES)))
                for k, h in enumerate(DEGREES[1:], start=1):
                    config = base.replace(task=task, dist=spread_around_1(h), rescale_tau=held)
                    runs = groups[config, base.steps]
                    change[:, k] = [difference(metric(key), runs[s], first[s])
                                    for s in sorted(first)]  # fmt: skip
                family.append(slope_rows(base, task, key, held == "harmonic", change))
    adjusted = holm([rows[0]["p"] for rows in family])
    for rows, p in zip(family, adjusted):
        rows[0]["p_holm"] = float(p)
        table += rows
    return table


def slope_rows(base, task: str, key: str, held: bool, change) -> list[dict[str, Any]]:
    """The slope over h of differences (seeds, degrees) from h = 0, then its steps."""
    h = np.array(DEGREES)
    slope = (change * (h - h.mean())).sum(axis=1) / np.sum((h - h.mean()) ** 2)
    steps = np.diff(change.mean(axis=0)) * CLAIMED[key]
    note = "monotone" if (steps > 0).all() else "not monotone"
    condition = "uniform on 1 +- h" + (", leak rate held" if held else "")
    unit = unit_of(metric(key))
    rows = [Row(task, condition, "per unit h", "slope", key, unit, paired_t(slope), base)]
    for k in range(1, len(h)):
        reference_name = f"step from {h[k - 1]:g} to {h[k]:g}"
        effect = paired_t(change[:, k] - change[:, k - 1])
        rows.append(Row(task, condition, reference_name, "step", key, unit, effect, base))
    return [effect_row("degree", row, base.steps, note if k == 0 else "")
            for k, row in enumerate(rows)]  # fmt: skip


def against_best(plan: Plan, done: Sequence[Done]) -> list[dict[str, Any]]:
    """Each diverse network against the best homogeneous one, chosen on other or the same seeds."""
    groups, base = by_condition(done), plan.base.replace(seed=0)
    seeds, half = list(plan.new_seeds), len(plan.new_seeds) // 2
    halves = [(seeds[half:], seeds[:half]), (seeds[:half], seeds[half:])]  # choose on, judge on
    table, family = [], []
    for task in TASKS:
        def runs_of(dist, task=task):
            return groups[base.replace(task=task, dist=dist), base.steps]

        for quantity in map(metric, BEST_IN):
            for dist in POSTER[1:]:
                for name, folds in (("other seeds", halves), ("same seeds", [(seeds, seeds)])):
                    changes, chosen = [], []
                    for choose_on, judge_on in folds:
                        tau = best(quantity, choose_on, runs_of)
                        chosen.append(tau)
                        a, b = runs_of(dist), runs_of(constant(tau))
                        changes += [difference(quantity, a[s], b[s]) for s in judge_on]
                    row = Row(task, dist, f"best homogeneous, {name}", f"best, {name}",
                              quantity.key, unit_of(quantity), paired_t(changes), base)  # fmt: skip
                    ends = {HOMOGENEOUS[0], HOMOGENEOUS[-1]} & set(chosen)
                    note = "tau " + " and ".join(f"{t:g}" for t in dict.fromkeys(chosen)) + " s"
                    note += ", end of the grid" if ends else ""
                    table.append(effect_row("homogeneous", row, base.steps, note))
                    if name == "other seeds":
                        family.append(table[-1])
    for row, p in zip(family, holm([row["p"] for row in family])):
        row["p_holm"] = float(p)
    return table


def best(quantity: Metric, seeds, runs_of: Callable[[str], dict[int, Done]]) -> float:
    """The tau (s) of the homogeneous network with the best mean of a quantity over some seeds."""
    logarithms = quantity.scale == "ratio" and not quantity.logarithmic

    def mean(tau):
        values = [runs_of(constant(tau))[s].metrics[quantity.key] for s in seeds]
        return np.mean(np.log(values) if logarithms else values)

    return max(HOMOGENEOUS, key=lambda tau: quantity.better * mean(tau))


# --- levels --------------------------------------------------------------------------------------


def levels(part: str, done: Sequence[Done]) -> list[dict[str, Any]]:
    """Mean of each quantity in each condition; of steps to criterion, the median."""
    table = []
    for (group, steps), runs in by_condition(done).items():
        for key in dict.fromkeys(k for r in runs.values() for k in r.metrics if k != "seconds"):
            effect = level_of(key, [r.metrics.get(key) for r in runs.values()])
            if effect.n:
                table.append(level_row(part, group, key, effect, steps))
    return table


def level_row(part: str, group: RunConfig, key: str, effect: Effect, steps: int) -> dict[str, Any]:
    """The level of a quantity in a condition as a row of conditions.csv."""
    values = {name: getattr(effect, name) for name in ("estimate", "low", "high", "n", "never")}
    return {"part": part, "task": group.task, "condition": label(group), "steps": steps,
            "metric": key, **values}  # fmt: skip
