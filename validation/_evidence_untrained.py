"""What networks have before training, and what differs between them, as the protocol says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from _evidence_effects import effect_row
from _evidence_runs import TASKS, Plan, crossed, processes

from tau_rnn.experiment import RunConfig
from tau_rnn.experiment.conditions import label, matched_constant
from tau_rnn.experiment.effects import MATCHED, VANILLA, Row
from tau_rnn.experiment.run import set_up
from tau_rnn.experiment.statistics import holm, paired_t
from tau_rnn.measures import measure_untrained

PART = "untrained"
FRACTIONS = (0.3, 0.1)  # of the squared error that a change of W leaves
DISTANCES = tuple(f"distance_to_{100 * q:g}_percent" for q in FRACTIONS)
#: Quantities that are compared in pairs: name -> whether their logarithms are.
COMPARED = {"readout_loss": True, **dict.fromkeys(DISTANCES, True), "slow_modes": False,
            "longest_mode": True}  # fmt: skip
TESTED = ("readout_loss", *DISTANCES)
FAST = matched_constant("uniform")
KINDS: tuple[dict[str, str], ...] = (
    {"dist": "vanilla"}, {"dist": "uniform"}, {"dist": "uniform", "rescale_tau": "harmonic"},
    {"dist": str(FAST)},
)  # fmt: skip
#: Comparisons by their place in KINDS: kind, condition, reference.
PAIRS = ((VANILLA, 1, 0), (VANILLA, 2, 0), (MATCHED, 1, 3), (VANILLA, 3, 0))


def base(plan: Plan) -> RunConfig:
    """Their settings: a larger dt, since the cost of the distance grows with its third power."""
    return plan.base.replace(dt=0.1)


def networks(plan: Plan) -> list[RunConfig]:
    """The configurations of the networks, none of which is trained."""
    return crossed(base(plan), plan.new_seeds, TASKS, KINDS)


def measured(settings: dict) -> dict[str, Any]:
    """What a network has before training: its row of untrained.csv, made in a worker."""
    config = RunConfig.from_json(settings)
    setup = set_up(config)
    found = measure_untrained(setup.initial, setup.task, rng=setup.rng("analysis"), phi=config.phi,
                              method=config.method, fractions=FRACTIONS)  # fmt: skip
    longest = np.abs(found.modes.timescales).max(initial=0.0)  # of the slow ones; 0: there is none
    return {
        "part": PART, "key": config.key, "task": config.task, "dist": config.dist,
        "rescale_tau": config.rescale_tau, "seed": config.seed,
        "readout_loss": found.readout.loss,
        **dict(zip(DISTANCES, found.distance.relative.tolist())),
        "reach": found.distance.reach, "untrained_loss": found.distance.loss,
        "slow_modes": found.modes.number, "longest_mode": float(longest) or math.nan,
        "kind_of_rest": found.modes.kind,
    }  # fmt: skip


def measure_all(plan: Plan, workers: int) -> list[dict[str, Any]]:
    """The rows of untrained.csv."""
    with processes(workers) as pool:
        return list(pool.map(measured, [c.to_json() for c in networks(plan)]))


def differences(plan: Plan, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Paired differences as rows of effects.csv, and Holm's p over the six tests."""
    by_network = {row["key"]: row for row in rows}

    def values(kind: dict, task: str, metric: str) -> np.ndarray:
        found = [by_network[base(plan).replace(task=task, seed=seed, **kind).key][metric]
                 for seed in plan.new_seeds]  # fmt: skip
        v = np.array([math.nan if x is None else x for x in found], float)
        return np.where(np.isfinite(v), np.log(v) if COMPARED[metric] else v, math.nan)

    table, family = [], []
    for task in TASKS:
        for metric, logarithm in COMPARED.items():
            for kind, a, b in PAIRS:
                effect = paired_t(values(KINDS[a], task, metric) - values(KINDS[b], task, metric))
                names = (label(base(plan).replace(task=task, **KINDS[k])) for k in (a, b))
                row = Row(task, *names, kind, metric, "ln" if logarithm else "", effect, base(plan))
                table.append(effect_row(PART, row, 0))
                if metric in TESTED and (a, b) == (1, 0):
                    family.append(table[-1])
    for row, p in zip(family, holm([row["p"] for row in family])):
        row["p_holm"] = float(p)
    return table


def levels(plan: Plan, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean of each quantity in each condition, as rows of conditions.csv."""
    table = []
    for task in TASKS:
        for kind in KINDS:
            config = base(plan).replace(task=task, **kind)
            some = [r for r in rows if (r["task"], r["dist"], r["rescale_tau"])
                    == (task, config.dist, config.rescale_tau)]  # fmt: skip
            for metric in (*COMPARED, "reach", "untrained_loss"):
                effect = paired_t([r[metric] for r in some])
                if effect.n:
                    table.append({
                        "part": PART, "task": task, "condition": label(config), "steps": 0,
                        "metric": metric, "estimate": effect.estimate, "low": effect.low,
                        "high": effect.high, "n": effect.n, "never": 0,
                    })  # fmt: skip
    return table
