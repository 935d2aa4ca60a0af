"""A sweep as the command line runs it: progress, a table, files, an exit status."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tau_rnn.cli.progress import Progress, duration
from tau_rnn.experiment.claims import judged
from tau_rnn.experiment.conditions import label, setting_parts
from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.effects import effects
from tau_rnn.experiment.executors import dask_engine, make_engine
from tau_rnn.experiment.files import StoreError, write_text
from tau_rnn.experiment.jobs import Event, SweepStopped
from tau_rnn.experiment.outcome import BASIC_MEASURES, remark
from tau_rnn.experiment.report import claims_table, level_table, report_text, write_tables
from tau_rnn.experiment.sweeps import Sweep, sweep
from tau_rnn.measures.run import within_bounds

__all__: list[str] = []

_LINE_SECONDS = 2.0  # at most one plain line of progress in this time


def run_sweep(
    configs: Iterable[RunConfig],
    *,
    out,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[str], object] | None = print,
    figures: bool = True,
    force: bool = False,
    parts: Iterable[str] = BASIC_MEASURES,
) -> int:
    """Run a sweep into the store ``out``, print its table, and write its report there.

    Returns the exit status: 0 if all runs are complete, 1 if one failed, 130 if it was interrupted.
    A ValueError says in one line that the scheduler can't be reached or the store written to.
    """
    configs = list(dict.fromkeys(configs))
    if not configs:
        raise ValueError("configs: a sweep needs at least one run")
    engine = dask_engine(scheduler) if scheduler else make_engine(workers if workers > 1 else None)
    if progress:
        runs = "1 run" if len(configs) == 1 else f"{len(configs)} runs"
        progress(f"{runs}, computed in {engine.name}; results go to {out}.")
    shown = Progress(len(configs), "run", progress)
    try:
        done = sweep(configs, engine, store=out, progress=_Events(shown), force=force, parts=parts)
        return _report(done, out, shown, figures, parts)
    except KeyboardInterrupt:
        shown.close()
        print(
            f"\nInterrupted. What was computed is stored in {out}; the same command continues "
            "from there.", file=sys.stderr,
        )  # fmt: skip
        return 130
    except SweepStopped as error:
        shown.close()
        print(f"tau_rnn.run: {error}", file=sys.stderr)
        return 1
    finally:
        shown.close()


def _report(done: Sweep, out, shown: Progress, figures: bool, parts) -> int:
    """Print the tables of a sweep and write its files; returns the exit status."""
    out = Path(out)
    try:
        return _write_report(done, done.load(), out, shown, figures, parts)
    except (OSError, StoreError, MemoryError) as error:
        shown.close()
        print(f"tau_rnn.run: {error}; the runs are stored in {out}", file=sys.stderr)
        return 1


def _write_report(done: Sweep, results, out: Path, shown: Progress, figures, parts) -> int:
    for config, error in done.failures.items():
        print(f"failed: {label(config)}, {config.task_label}, seed {config.seed}: {error}",
              file=sys.stderr)  # fmt: skip
    drawn: list[str] = []
    if results:
        for setting, tests in judged(done.configs, effects(results, done.configs)):
            if tests:
                title = ", ".join(["The poster's claims", *setting_parts(setting)])
                print(f"\n{title}\n\n{claims_table(tests, bold='')}")
        for task, name in {c.task: c.task_label for c in done.configs}.items():
            print(f"\n{name}: means over seeds with 95 % intervals (steps: median)\n")
            print(level_table(results, task))
            if said := remark(r for r in results if r.config.task == task):
                print(f"\n{said}")
        if figures:
            from tau_rnn.plotting.style import files_only
            from tau_rnn.plotting.sweep import plot_sweep

            files_only()
            drawn = [p.relative_to(out).as_posix() for p in plot_sweep(results, out / "figures")]
    write_tables(out, done, results)
    write_text(out / "report.md", report_text(done, results, drawn))
    largest = max(done.configs, key=lambda config: config.units)
    _, left_out = within_bounds(largest.units, parts)
    if left_out:
        print(f"\nNot measured in networks of {largest.units} units: {', '.join(left_out)}.")
    failed = f", {len(done.failures)} failed" if done.failures else ""
    print(
        f"\n{done.computed} runs computed, {done.reused} were stored already{failed}.\n"
        f"Results: {out / 'report.md'} (effects and tests), summary.csv, effects.csv"
        + (", figures/" if drawn else "")
    )
    return 1 if done.failures else 0


class _Events:
    """Shows the events of a sweep: notes at once, and how far it is every two seconds."""

    def __init__(self, shown: Progress):
        self.shown, self.last = shown, -_LINE_SECONDS

    def __call__(self, event: Event) -> None:
        name = f"{label(event.config)}, seed {event.config.seed}" if event.config else ""
        if event.kind in ("note", "failed"):
            what = "failed: " if event.kind == "failed" else ""
            self.shown.note(f"{what}{name}{': ' if name else ''}{event.text}")
            if event.kind == "note":
                return
        now = time.monotonic()
        due = now - self.last >= _LINE_SECONDS or event.done == event.total
        left = "" if event.seconds_left is None else f"{duration(event.seconds_left)} left"
        what = f"{event.config.task_label}, {name}" if event.config else ""
        self.shown.show(event.done, what, left, due=due)
        self.last = now if due else self.last
