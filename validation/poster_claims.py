"""The poster's four claims, tested as validation/poster_claims_protocol.md says.

    python validation/poster_claims.py                  all 680 runs, then poster_claims.md
    python validation/poster_claims.py --workers 2      the same in two processes
    python validation/poster_claims.py --quick          a few tiny runs: only that it all works

What the store holds is not computed again, so the first line also draws the figures and writes the
tables anew from a finished store. Exit status: 0 if every run is complete (--quick: and every check
of the machinery passes), 1 if not. The science is not part of it: a claim that fails is a result.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from tau_rnn.cli.sweep import Shown, engine_for
from tau_rnn.experiment import RunConfig
from tau_rnn.experiment.claims import CLAIMS, judge
from tau_rnn.experiment.conditions import (
    DEFAULT_CONTROLS,
    POSTER,
    describe_matched,
    matched_constant,
    sweep_configs,
)
from tau_rnn.experiment.config import EXPERIMENT_VERSION
from tau_rnn.experiment.effects import effects, what_is
from tau_rnn.experiment.files import write_text
from tau_rnn.experiment.reading import reading
from tau_rnn.experiment.report import (
    CHANGED,
    LEVELS,
    METHOD,
    SCORED,
    TIMESCALE_TEXT,
    TIMESCALES,
    VERDICTS,
    effect_table,
    level_table,
    verdict_table,
)
from tau_rnn.experiment.sweeps import Sweep, sweep
from tau_rnn.tasks import TASKS
from tau_rnn.taus import parse_tau

HERE = Path(__file__).resolve().parent
SEEDS = range(2000, 2020)
PROTOCOL = RunConfig(burn_in=5.0)  # all else is the default
LARGEST_FIGURE = 150_000  # bytes
#: What is shown beside the quantities of the claims.
SHOWN = (
    "log_mean_loss", "steps_to_criterion", "loss_last5", "accuracy_last5",
    "conflict_accuracy", "pattern_accuracy", "evidence_accuracy", "value_accuracy",
    "weight_change", "weight_change_at_matched_loss", "tau_eff_spread", "tau_eff_lengthening",
    "tau_eff_correlation_gain", "shuffling_tau", "effective_rank", "representation_alignment",
    "kernel_alignment",
)  # fmt: skip


def confirmation() -> list[RunConfig]:
    """The runs of the protocol."""
    return sweep_configs(PROTOCOL, POSTER, SEEDS, TASKS, DEFAULT_CONTROLS)


def write_result(done: Sweep, base: RunConfig, folder: Path, figures: list[Path]) -> list:
    """Write poster_claims.md into a folder; returns the tests."""
    results = done.results()
    rows = effects(results, done.configs)
    tests = judge(rows, base, TASKS)
    seeds = sorted({c.seed for c in done.configs})
    pairs = [(dist, matched_constant(dist)) for dist in POSTER[1:]]
    parts = [
        "# The poster's four claims: what came out",
        f"{len(done.folders)} of {len(done.configs)} runs are complete, {len(done.failures)} "
        f"failed; seeds {seeds[0]} to {seeds[-1]}, {base.steps} steps, {base.units} units, dt = "
        f"{base.dt:g} s. Computed with version {EXPERIMENT_VERSION} of the experiment. "
        "The hypotheses, measures, controls and rules were written down before, in "
        "[poster_claims_protocol.md](poster_claims_protocol.md), where it also says what is the "
        "poster's and what is our choice. An exploratory study with other seeds and other code "
        "came first; it suggested the measures and the controls, and its numbers are not used. "
        "How far claim 4 depends on the time that is dropped before timescales are measured was "
        "looked at afterwards, in [burn_in.md](burn_in.md). Effective timescales are those of the "
        "fluctuations around the mean of each trial, which makes a unit with a slow component "
        "faster than it is (`timescale_of_acf`): spreads may be larger than measured. "
        "The p values of steps to accuracy 0.9, which are in no test of the family, were corrected "
        "after a first version of this page, where rounding kept equal ratios from being ties. "
        "This file is written by `validation/poster_claims.py` from the stored runs.",
    ]
    parts += [f"- failed: {c.task}, {c.dist}, seed {c.seed}: {e}" for c, e in done.failures.items()]
    parts += ["## Each claim in words", VERDICTS, reading(tests)]
    parts += ["## The tests", METHOD,
              f"Holm's p values are over the family of all {len(tests)} tests.",
              verdict_table(tests)]  # fmt: skip
    parts += [
        "## All conditions",
        ". ".join(describe_matched(base.replace(dist=d)) for d in POSTER[1:]) + ".",
        f"This is the leak rate of the equation. A step of {base.dt:g} s takes alpha = 1 - "
        "exp(-dt/tau) of a state away, and the means of alpha/dt (1/s) differ a little: "
        + ", ".join(
            f"{dist} {leak_of_steps(dist, base.dt):.3f}" for dist in ("vanilla", *sum(pairs, ()))
        ) + ".",
    ]
    for task in TASKS:
        parts += [f"### {task}", LEVELS]
        parts += [level_table(results, task, *which) for which in ((), (SCORED,), (CHANGED,))]
        parts += [TIMESCALE_TEXT, level_table(results, task, TIMESCALES)]
    parts.append("## All paired effects")
    for task in TASKS:
        for metric in SHOWN:
            chosen = [r for r in rows if r.task == task and r.metric == metric]
            if chosen:
                parts += [f"### {task}: {what_is(metric)}", effect_table(chosen)]
    parts.append("## Figures")
    for path in figures:
        parts.append(f"![{path.stem}]({path.relative_to(folder).as_posix()})")
    write_text(folder / "poster_claims.md", "\n\n".join(p.strip() for p in parts) + "\n")
    return tests


def leak_of_steps(dist: str, dt: float) -> float:
    """Mean over the distribution of what a step takes away of a state, per second."""
    tau = parse_tau(dist).ppf((np.arange(100_000) + 0.5) / 100_000)
    return float(-np.expm1(-dt / tau).mean() / dt)


def draw(results, folder: Path) -> list[Path]:
    """Draw the figures of a sweep as claims_*.png, small enough to be committed."""
    from tau_rnn.plotting import files_only
    from tau_rnn.plotting.sweep import plot_sweep

    files_only()
    return plot_sweep(results, folder, prefix="claims_", largest=LARGEST_FIGURE)


def quick(workers: int) -> int:
    """A few tiny runs through the whole machinery; returns the exit status."""
    base = RunConfig(units=8, steps=20, eval_every=5, batch=8, dt=0.1, test_trials=32)
    configs = sweep_configs(base, POSTER, range(2), TASKS, DEFAULT_CONTROLS)
    checks: list[tuple[str, bool]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, text = folder / "store", folder / "poster_claims.md"
        shown = Shown(print)
        done = sweep(configs, engine_for(workers), store=store, progress=shown.show)
        figures = draw(done.results(), folder / "figures")
        tests = write_result(done, base, folder, figures)
        first = text.read_text(encoding="utf-8")
        expected = sum(len(c.metrics) * len(c.dists) for c in CLAIMS) * len(TASKS)
        sizes = [path.stat().st_size for path in figures]
        again = sweep(configs, store=store)
        write_result(again, base, folder, figures)
        checks += [
            (f"all {len(configs)} runs are complete", len(done.folders) == len(configs)),
            (f"the family has {expected} tests", len(tests) == expected),
            ("every test has a p value", all(0 <= t.p_holm <= 1 for t in tests)),
            ("every test has its controls", all(t.controls for t in tests)),
            ("five figures of at most 150 kB", len(sizes) == 5 and max(sizes) <= LARGEST_FIGURE),
            ("the second time nothing is computed", again.computed == 0),
            ("the store gives the same text again", text.read_text(encoding="utf-8") == first),
            ("the confirmation has 680 runs", len(confirmation()) == 680),
        ]
    for what, good in checks:
        print(f"{'ok  ' if good else 'FAIL'}  {what}")
    return 0 if all(good for _, good in checks) else 1


def main(argv=None) -> int:
    """Run the confirmation, or with --quick the machinery; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few tiny runs, nothing written")
    parser.add_argument("--store", default="runs/claims", metavar="FOLDER",
                        help="where the runs are kept (default: runs/claims)")  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, metavar="P", help="processes")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler instead")
    args = parser.parse_args(argv)
    if args.quick:
        return quick(args.workers)
    shown = Shown(print)
    try:
        done = sweep(confirmation(), engine_for(args.workers, args.scheduler), store=args.store,
                     progress=shown.show)  # fmt: skip
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on from there.", file=sys.stderr)
        return 130
    except ValueError as error:
        print(f"poster_claims: {error}", file=sys.stderr)
        return 2
    finally:
        shown.close()
    figures = draw(done.results(), HERE / "figures")
    tests = write_result(done, PROTOCOL, HERE, figures)
    print(verdict_table(tests))
    print(f"{done.computed} runs computed, {done.reused} were stored, {len(done.failures)} failed")
    return 1 if done.failures else 0


if __name__ == "__main__":
    sys.exit(main())
