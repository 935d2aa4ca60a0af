"""Is the time step small enough? Trained networks simulated again at dt/2, dt/4 and dt/8.

    python validation/time_step.py                        the page, from the CSV
    python validation/time_step.py --store runs/claims    the rows, from poster_claims.py's networks
    python validation/time_step.py --quick                two small networks, nothing written

Each network answers the trials of its own test set again with a smaller step. Its inputs are held
within each step of dt. Its noise is the same path, refined: with k small steps for each large one,
xi_j = xi / sqrt(k) + z_j - mean(z), which has variance 1 and whose sum over the k is sqrt(k) xi.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from _evidence_csv import EVIDENCE, refresh
from _evidence_runs import FULL, PARTS, TASKS, is_complete, place

from tau_rnn.experiment import RunConfig, load_run, run_one
from tau_rnn.experiment.claims import load_claims
from tau_rnn.experiment.files import write_text
from tau_rnn.experiment.report import grid
from tau_rnn.experiment.run import EVALUATION_BATCH, set_up
from tau_rnn.model import forward
from tau_rnn.noise import noise_scale

HERE = Path(__file__).resolve().parent
FINER = (1, 2, 4, 8)
SEEDS = 5
#: Column -> its heading, its factor and its format.
COLUMNS = {
    "task": ("task", None, ""), "dist": ("dist", None, ""), "dt": ("dt (ms)", 1000, "g"),
    "accuracy": ("accuracy", 1, ".4f"),
    "flipped": ("trials whose correctness changes", 100, ".2f"),
    "output_difference": ("rms difference of the outputs", 100, ".1f"),
}  # fmt: skip


def refined(xi, k: int, rng):
    """Noise (T, B, N) of variance 1 with k steps for each, (k T, B, N), along the same path."""
    z = rng.standard_normal((len(xi), k, *xi.shape[1:]), dtype=xi.dtype)
    z += xi[:, np.newaxis] / np.sqrt(k) - z.mean(axis=1, keepdims=True)
    return z.reshape(k * len(xi), *xi.shape[1:])


def coarser(xi, k: int):
    """Noise along the same path with k times fewer steps."""
    return xi.reshape(len(xi) // k, k, *xi.shape[1:]).sum(axis=1) / np.sqrt(k)


def correct(task, y, trials):
    """Which trials (B,) outputs y answer correctly."""
    decision, labels = task.decision(y, trials), trials.labels
    if task.name == "multi_timescale":
        return decision[:, 0] * labels.answer > 0
    error = decision - np.stack([labels.evidence, labels.value], axis=1)
    return (np.abs(error) <= task.tolerance).all(axis=1)


def again(config: RunConfig, params) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """For each number of smaller steps: outputs at the times of the large ones, correct trials."""
    setup = set_up(config)
    task, test = setup.task, setup.test
    rng, finest = np.random.default_rng(config.seed), FINER[-1]
    outputs: dict[int, list] = {k: [] for k in FINER}
    for start in range(0, test.noise.shape[1], EVALUATION_BATCH):
        some = slice(start, start + EVALUATION_BATCH)
        xi = refined(test.noise[:, some], finest, rng)
        for k in FINER:
            dt = config.dt / k
            size = task.noise * noise_scale(params.tau, dt, config.method)
            noise = coarser(xi, finest // k) * size.astype(xi.dtype)
            u = np.repeat(test.trials.u[:, some], k, axis=0)
            y = forward(params, u, dt, phi=config.phi, method=config.method, noise=noise).y
            outputs[k].append(y[k - 1 :: k])
    whole = {k: np.concatenate(parts, axis=1) for k, parts in outputs.items()}
    return {k: (y, correct(task, y, test.trials)) for k, y in whole.items()}


def rows_of(config: RunConfig, networks) -> list[dict]:
    """One row for each time step: means over the networks of one condition."""
    found = [again(c, params) for c, params in networks]
    rows = []
    for k in FINER:
        flips = [np.mean(f[k][1] != f[1][1]) for f in found]
        differences = [np.sqrt(np.mean((f[k][0] - f[1][0]) ** 2) / np.mean(f[1][0] ** 2))
                       for f in found]  # fmt: skip
        rows.append({
            "part": "time-step", "task": config.task, "dist": config.dist, "dt": config.dt / k,
            "networks": len(found), "accuracy": float(np.mean([f[k][1].mean() for f in found])),
            "flipped": float(np.mean(flips)), "output_difference": float(np.mean(differences)),
        })  # fmt: skip
    return rows


def table(rows) -> str:
    """The rows as Markdown."""
    lines = []
    for row in rows:
        lines.append([])
        for column, (_, factor, how) in COLUMNS.items():
            value = row[column] if factor is None else f"{factor * row[column]:{how}}"
            lines[-1].append(value + " %" if factor == 100 else value)
    return grid([name for name, _, _ in COLUMNS.values()], lines)


def answer(rows) -> str:
    """The largest change of each kind, in words."""
    accuracy = {(r["task"], r["dist"]): r["accuracy"] for r in rows if not r["output_difference"]}
    change = max(abs(r["accuracy"] - accuracy[r["task"], r["dist"]]) for r in rows)
    flipped, outputs = (max(r[name] for r in rows) for name in ("flipped", "output_difference"))
    return (
        f"**For networks that are trained, yes:** with smaller steps accuracy changes by at most "
        f"{100 * change:.1f} points, correctness changes in at most {100 * flipped:.1f} % of the "
        f"trials, and outputs differ by up to {100 * outputs:.1f} % of their rms. What training "
        "with a larger one changes, 100 ms, is among the "
        "[other settings](poster_claims_settings.md)."
    )


def page(rows) -> str:
    """The text of time_step.md."""
    parts = [
        "# Is the time step small enough?",
        answer(rows),
        " ".join(__doc__.split("\n\n")[2].split()),
        f"Means of {SEEDS} networks of the confirmation in each row, trained at dt = "
        f"{1000 * FULL.base.dt:g} ms. Outputs are compared at the ends of the large steps.",
        table(rows),
        "This file is written by `validation/time_step.py` from "
        "[time_step.csv](../tau_rnn/evidence/time_step.csv).",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def quick() -> int:
    """Two small networks; returns the exit status."""
    small = RunConfig(units=12, steps=20, dt=0.1, test_trials=32, batch=8, burn_in=2.0)
    rows = []
    for task in TASKS:
        result = run_one(small.replace(task=task, dist="uniform"), parts=())
        rows += rows_of(result.config, [(result.config, result.final)])
    xi = np.random.default_rng(0).standard_normal((3, 4, 5))
    path = coarser(refined(xi, 8, np.random.default_rng(1)), 8)
    same = np.allclose(path, xi, rtol=1e-10)
    print(table(rows))
    print(f"{'ok  ' if same else 'FAIL'}  the refined path is the path")
    good = all(np.isfinite(row["output_difference"]) for row in rows)
    print(f"{'ok  ' if good else 'FAIL'}  every difference is a number")
    return 0 if same and good else 1


def main(argv=None) -> int:
    """Write the page, with --store its rows as well; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two small runs, nothing written")
    parser.add_argument("--store", metavar="FOLDER",
                        help="make the rows, from this store of poster_claims.py")  # fmt: skip
    args = parser.parse_args(argv)
    if args.quick:
        return quick()
    if args.store and not make(args.store):
        return 2
    write_text(HERE / "time_step.md", page(load_claims()["time_step"]))
    return 0


def make(store: str) -> bool:
    """Simulate the stored networks again and write their rows; False if the store lacks runs."""
    plain = [c for c in PARTS["confirmation"](FULL) if c.dist in ("vanilla", "uniform")
             and (c.gain, c.rescale_tau, c.lr_scale) == (FULL.base.gain, "none", "none")
             and c.seed < FULL.old_seeds[SEEDS]]  # fmt: skip
    if not all(is_complete(place(store, c)) for c in plain):
        print(f"time_step.py: {store} lacks runs; make them with validation/poster_claims.py "
              "--part confirmation", file=sys.stderr)  # fmt: skip
        return False
    rows = []
    for task in TASKS:
        for dist in ("vanilla", "uniform"):
            some = [c for c in plain if (c.task, c.dist) == (task, dist)]
            rows += rows_of(some[0], [(c, load_run(place(store, c)).final) for c in some])
    refresh(EVIDENCE / "time_step.csv", "time-step", rows, ["time-step"])
    return True


if __name__ == "__main__":
    sys.exit(main())
