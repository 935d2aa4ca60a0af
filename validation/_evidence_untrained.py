"""What networks have before training, and what differs between them, as the protocol says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from _evidence_effects import effect_row, level_row
from _evidence_runs import TASKS, Plan, crossed, processes

from tau_rnn.experiment import RunConfig
from tau_rnn.experiment.conditions import label, matched_constant
from tau_rnn.experiment.effects import MATCHED, VANILLA, Row, level_of, unit_of
from tau_rnn.experiment.metrics import Metric
from tau_rnn.experiment.run import set_up
from tau_rnn.experiment.statistics import holm, paired_t
from tau_rnn.measures import measure_untrained

PART = "untrained"
FRACTIONS = (0.3, 0.1)  # of the squared error that a change of W leaves
#: Quantities that are compared in pairs; the first three are tested.
COMPARED = (
    Metric("readout_loss", "loss of a linear readout", "of the best one, before training",
           scale="ratio", better=-1),
    *(Metric(f"distance_to_{100 * q:g}_percent", f"distance, {100 * q:g} % error left",
             "least change of W, to first order", scale="ratio", better=-1) for q in FRACTIONS),
    Metric("slow_modes", "modes slower than the delay", "their number"),
    Metric("longest_mode", "slowest mode", "its timescale", unit="s", scale="ratio"),
)  # fmt: skip
TESTED = COMPARED[:3]
DISTANCES = tuple(quantity.key for quantity in TESTED[1:])
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

    def values(kind: dict, task: str, key: str) -> list[float | None]:
        return [by_network[base(plan).replace(task=task, seed=seed, **kind).key][key]
                for seed in plan.new_seeds]  # fmt: skip

    table, family = [], []
    for task in TASKS:
        for quantity in COMPARED:
            for kind, a, b in PAIRS:
                pairs = zip(*(values(KINDS[k], task, quantity.key) for k in (a, b)))
                effect = paired_t([quantity.difference(x, y) for x, y in pairs])
                names = (label(base(plan).replace(task=task, **KINDS[k])) for k in (a, b))
                row = Row(task, *names, kind, quantity.key, unit_of(quantity), effect, base(plan))
                table.append(effect_row(PART, row, 0))
                if quantity in TESTED and (a, b) == (1, 0):
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
            for key in (*(quantity.key for quantity in COMPARED), "reach", "untrained_loss"):
                effect = level_of(key, [r[key] for r in some])
                if effect.n:
                    table.append(level_row(PART, config, key, effect, 0))
    return table
