"""Does the spread of effective timescales (claim 4) survive a longer burn-in? A follow-up.

    python validation/burn_in.py --store runs/claims --workers 2     writes validation/burn_in.md
    python validation/burn_in.py --quick                             two small runs, nothing written

The protocol drops the first 5 s of the spontaneous activity before it measures timescales. A
trained network that starts at x = 0 may drift for longer than that towards a state which need not
be the same in every trial, and a drift within a trial looks like a slow fluctuation. This was
noticed on other seeds while the runs of the protocol were under way, so it is exploratory: it
measures the stored networks again, with longer burn-ins and all else as in the protocol. It changes
no verdict of poster_claims.md; it says how far the one on claim 4 can be trusted.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from tau_rnn.experiment import RunConfig, load_run, run_one
from tau_rnn.experiment.files import write_text
from tau_rnn.experiment.outcome import measurable, unit_table
from tau_rnn.experiment.statistics import paired_t

HERE = Path(__file__).resolve().parent
BURN_INS = (5.0, 20.0, 60.0)  # s


def spreads(result) -> list[tuple[float, float]]:
    """sd of ln effective timescale before and after training, for each burn-in."""
    found = []
    for seconds in BURN_INS:
        config = result.config.replace(burn_in=seconds)
        units = unit_table(config, result.initial, result.final)
        pair = []
        for when in ("before", "after"):
            tau, _ = measurable(units[f"tau_eff_{when}"], units[f"tau_eff_flag_{when}"])
            pair.append(float(np.log(tau[np.isfinite(tau)]).std(ddof=1)))
        found.append((pair[0], pair[1]))
    return found


def spreads_of(folder: str) -> list[tuple[float, float]]:
    """`spreads` of a stored run."""
    return spreads(load_run(folder))


def plain(config: RunConfig) -> bool:
    """Whether a run has no control but the initial gain, and one of the four distributions."""
    poster = config.dist in ("vanilla", "normal", "uniform", "bimodal")
    return poster and config.rescale_tau == "none" and config.lr_scale == "none"


def table(groups) -> str:
    """A Markdown table: mean change of the spread with its 95 % interval, for each burn-in."""
    head = "| task | tau | gain | runs |" + "".join(f" burn-in {s:g} s |" for s in BURN_INS)
    lines = [head, "|---" * (4 + len(BURN_INS)) + "|"]
    for (task, dist, gain), rows in groups.items():
        cells = []
        for k in range(len(BURN_INS)):
            changes = np.array([row[k][1] - row[k][0] for row in rows])
            if len(changes) < 2:
                cells.append(f"{changes.mean():+.3f}")
                continue
            effect = paired_t(changes)
            cells.append(f"{effect.estimate:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]")
        lines.append(f"| {task} | {dist} | {gain:g} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def reading(groups) -> str:
    """In words: in how many rows the sign of the change does not depend on the burn-in."""
    same = 0
    for rows in groups.values():
        found = [paired_t([row[k][1] - row[k][0] for row in rows]) for k in range(len(BURN_INS))]
        sides = {1 if e.low > 0 else -1 if e.high < 0 else 0 for e in found}
        same += len(sides) == 1
    return (
        f"In {same} of {len(groups)} rows the interval lies on the same side of 0, or across it, "
        "with every burn-in."
    )


def quick() -> int:
    """Two small runs through the same code; returns the exit status."""
    small = RunConfig(units=12, steps=20, dt=0.1, test_trials=32, batch=8)
    groups = {}
    for dist in ("vanilla", "uniform"):
        result = run_one(small.replace(dist=dist), parts=())
        groups[small.task, dist, small.gain] = [spreads(result)]
    print(table(groups))
    good = all(np.isfinite(row).all() for rows in groups.values() for row in rows)
    print(f"{'ok  ' if good else 'FAIL'}  every spread is a number")
    return 0 if good else 1


def main(argv=None) -> int:
    """Measure the stored runs again; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two small runs, nothing written")
    parser.add_argument("--store", default="runs/claims", help="of validation/poster_claims.py")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    args = parser.parse_args(argv)
    if args.quick:
        return quick()
    chosen = {}
    for path in sorted(Path(args.store).glob("*/metrics.json")):
        config = load_run(path.parent).config
        if plain(config):
            chosen[path.parent] = config
    if not chosen:
        print(f"burn_in.py: {args.store} holds no runs; make them with validation/poster_claims.py",
              file=sys.stderr)  # fmt: skip
        return 2
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(spreads_of, map(str, chosen), chunksize=4))
    groups: dict = {}
    for config, row in zip(chosen.values(), rows):
        groups.setdefault((config.task, config.dist, config.gain), []).append(row)
    order = ("vanilla", "normal", "uniform", "bimodal")
    groups = dict(sorted(groups.items(), key=lambda g: (g[0][0], g[0][2], order.index(g[0][1]))))
    text = "\n\n".join([
        "# Claim 4 again, with longer burn-ins (exploratory)",
        " ".join(__doc__.split("\n\n")[2].split()),
        "Change of the sd over units of ln effective timescale, after minus before training: mean "
        "over seeds with its 95 % t interval.",
        table(groups),
        reading(groups),
        f"{len(rows)} stored runs, each measured with {len(BURN_INS)} burn-ins. This file is "
        "written by `validation/burn_in.py`.",
    ])  # fmt: skip
    write_text(HERE / "burn_in.md", text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
