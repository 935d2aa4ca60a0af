"""The command line: ``python -m tau_rnn.run --dist normal``.

One run is trained, shown and stored; several distributions, seeds or tasks at once are a sweep.
"""

from __future__ import annotations

import io
import itertools
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tau_rnn.checks import nearest
from tau_rnn.cli.options import build_parser, settings_given
from tau_rnn.cli.progress import (
    Progress,
    duration,
    interruptions,
    lasting_output,
    plain_warnings,
)
from tau_rnn.experiment.conditions import POSTER
from tau_rnn.tasks import TASKS

_LINES_EVERY = 25  # steps between two lines where the output is not a terminal
_QUICK = {"steps": 200, "dt": 0.1}  # what --quick sets, unless it is given

if TYPE_CHECKING:
    from tau_rnn.experiment.run import RunState, Setup
    from tau_rnn.experiment.unfinished import Entry

__all__: list[str] = []

_ELSEWHERE = "move it away, or choose another --out"
_WAYS_ON = f"{_ELSEWHERE}; --force overwrites it"


def main(argv=None) -> int:
    """Run the command line; returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal cannot show is not an error; each line can be read at once.
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    with lasting_output() as lost:
        status = run(argv)
    for why in lost:
        print(f"tau_rnn.run: output: {why}; what was computed is stored", file=sys.stderr)
    return status or len(lost[:1])


def run(argv) -> int:
    """What `main` does, whatever becomes of its output."""
    parser = build_parser()
    args = parser.parse_args(argv)
    # What follows loads SciPy's parts and the tasks, which --help should not wait for.
    from tau_rnn.experiment import RunConfig

    quick = args.quick
    named = [POSTER if name == "all" else (name,) for name in getattr(args, "dist", ["normal"])]
    dists = list(dict.fromkeys(dist for group in named for dist in group))
    task = getattr(args, "task", "multi_timescale")
    tasks = list(TASKS) if task == "both" else [task]
    if ":" not in task and task not in (*TASKS, "both"):
        hint = f"{nearest(task, (*TASKS, 'both'))}, or my_task.py:MyTask"
        parser.error(f"--task: unknown task {task!r}; {hint}")
    seeds = args.seeds if args.seeds is not None else 3 if quick else 1
    for name, value in (("--seeds", seeds), ("--workers", args.workers)):
        if value is not None and value < 1:
            parser.error(f"{name}: must be an integer >= 1, got {value}")
    shared_out = args.workers is not None and args.workers > 1
    if args.scheduler and shared_out:
        parser.error("--workers: counts processes of this machine, not of the --scheduler")
    if not 0 <= args.checkpoint_seconds < float("inf"):
        parser.error(f"--checkpoint-seconds: must be >= 0, got {args.checkpoint_seconds}")
    shared: dict[str, Any] = {"task": tasks[0], "dist": dists[0], **(_QUICK if quick else {})}
    try:
        bases = [RunConfig(**(shared | settings)) for settings in settings_given(args)]
        one = len(bases) * len(dists) * len(tasks) * seeds == 1
        if one and args.controls is None and not quick:
            if args.scheduler or shared_out:
                parser.error("--workers, --scheduler: a single run cannot be divided")
            with plain_warnings():
                return single(bases[0], args)
        return several(bases, dists, tasks if len(tasks) > 1 else [bases[0].task], seeds, args)
    except ValueError as error:
        parser.error(str(error))
    except MemoryError as error:
        parser.error(f"not enough memory: {error}")
    except KeyboardInterrupt:
        print("\ntau_rnn.run: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"tau_rnn.run: {error}; what was done before is kept", file=sys.stderr)
    return 1


def several(bases, dists, tasks, seeds, args) -> int:
    """A sweep over distributions, tasks and seeds."""
    from tau_rnn.cli.sweep import run_sweep
    from tau_rnn.experiment.conditions import sweep_configs
    from tau_rnn.experiment.executors import usable_cores
    from tau_rnn.experiment.outcome import BASIC_MEASURES
    from tau_rnn.measures.run import PARTS

    # --controls alone means the usual ones.
    controls = True if args.controls == [] else args.controls or ()
    configs = [
        config
        for base in bases
        for config in sweep_configs(
            base, dists, range(base.seed, base.seed + seeds), tasks, controls
        )
    ]
    workers = min(args.workers or usable_cores(), len(configs))
    return run_sweep(
        configs, out=args.out, workers=workers, scheduler=args.scheduler,
        progress=None if args.quiet else print, figures=not args.no_figure, force=args.force,
        parts=BASIC_MEASURES if args.measures is None else args.measures or PARTS,
    )  # fmt: skip


def single(config, args) -> int:
    """One run: train it, or show the stored one."""
    from tau_rnn.experiment.files import Held, StoreError, made_folder
    from tau_rnn.experiment.run import set_up
    from tau_rnn.experiment.unfinished import Work

    if _show_stored(config, args):
        return 0
    target = find_place(config, args)
    setup = set_up(config)  # whatever is wrong with it is said before anything is written
    with made_folder(args.out) as out:
        try:
            work = Work(out, config)
        except Held as holder:
            print(f"tau_rnn.run: this run is being computed by {holder}", file=sys.stderr)
            return 1
        except OSError as error:
            raise StoreError(f"--out: cannot write to {out} ({error.strerror})") from None
        with work:
            # Another process may have finished it before the lock was taken.
            return 0 if _show_stored(config, args) else _compute(work, setup, target, args)


def _show_stored(config, args) -> bool:
    """Show the stored result of a run; returns whether there is one."""
    from tau_rnn.experiment import load_run, store
    from tau_rnn.experiment.files import StoreError
    from tau_rnn.experiment.unfinished import tidy

    folder = None if args.force else store.find(args.out, config)
    if folder is None:
        return False
    try:
        result = load_run(folder)
    except StoreError as error:
        raise StoreError(f"{error}; {_WAYS_ON}") from None
    tidy(args.out, config)
    _print_table(result)
    bare = "" if args.no_figure or (folder / "figure.png").exists() else ", with figures"
    print(f"This is the stored result of {folder} (--force computes it again{bare}).")
    return True


class _Target(NamedTuple):
    """Where the result is to go: the places, best first; what it may replace; and a note."""

    places: list[Path]
    old: Entry | None = None
    note: str = ""


def find_place(config, args) -> _Target:
    """Where the result is to go; a StoreError if something other than a run is there."""
    from tau_rnn.experiment import store
    from tau_rnn.experiment.files import StoreError
    from tau_rnn.experiment.unfinished import entry

    plain, keyed = store.places(args.out, config)
    own, note = store.find(args.out, config), ""
    if own:  # --force
        return _Target([own, keyed], entry(own))
    for folder in (plain, keyed):
        if not os.path.lexists(folder) or (folder.is_dir() and not os.listdir(folder)):
            return _Target([folder, keyed], None, note)
        is_run = (folder / "config.json").exists()
        if args.force and is_run:
            return _Target([folder, keyed], entry(folder))
        try:
            different = config.differences(store.stored_config(folder))
        except StoreError as error:
            raise StoreError(f"{error}; {_WAYS_ON if is_run else _ELSEWHERE}") from None
        said = ", ".join(f"{k} {b!r} there, {a!r} here" for k, (a, b) in different.items())
        note = f"{plain} holds a run with other settings ({said}): this one goes to {keyed}."
    raise StoreError(f"{keyed}: holds a run with other settings; {_WAYS_ON}")


def _start_of(work, args) -> tuple[RunState | None, str]:
    """The state that the run goes on from, and what is said about it."""
    from tau_rnn.experiment import load_run, store
    from tau_rnn.experiment.unfinished import load_state

    config, checkpoint = work.config, work.checkpoint
    if args.force:
        return None, ""
    if checkpoint.exists():
        saved = work.load()
        step = saved.training.step
        if args.resume:
            return saved, f"Continuing from step {step}."
        raise ValueError(
            f"{checkpoint} is of a run that was interrupted at step {step} of {config.steps}: "
            "--resume continues it, --force starts again"
        )
    if not args.resume:
        return None, ""
    shorter = store.shorter_run(work.store, config)
    if shorter is None:
        return None, "Continuing from step 0: there is no checkpoint yet."
    folder, steps = shorter
    load_run(folder)  # a damaged one is refused by name
    if not (folder / store.STATE).exists():
        return None, f"Starting at step 0: {folder} was computed in a sweep, which keeps no state."
    saved = load_state(folder / store.STATE, config.replace(steps=steps))
    return saved, f"Continuing from step {steps}, where {folder} ended."


def _compute(work, setup: Setup, target: _Target, args) -> int:
    """Train a run, with a checkpoint every few seconds, and store and show its result."""
    from tau_rnn.experiment import iterate
    from tau_rnn.experiment.outcome import begin
    from tau_rnn.training import NonFiniteLoss

    config, tau = work.config, setup.initial.tau
    saved, said = _start_of(work, args)
    if not args.quiet:
        print(
            f"Training {config.units} units on {config.task_label} for {config.steps} steps of "
            f"{config.batch} trials, dt = {config.dt:g} s.\n"
            f"tau ~ {config.dist_label}: mean {tau.mean():.2f} s, range {tau.min():.2f} to "
            f"{tau.max():.2f} s, CV {tau.std() / tau.mean():.2f}, mean of 1/tau "
            f"{(1 / tau).mean():.2f} per s. Seed {config.seed}. Results go to {target.places[0]}."
        )
        for line in filter(None, (target.note, said)):
            print(line)
    progress = Progress(config.steps, "step", None if args.quiet else print)
    states = iterate(config, saved, progress.doing, setup)
    state = saved or next(states)
    parts, _ = _parts(config, args)
    begun = begin(setup._replace(initial=state.initial), parts, progress.phase)
    kept = "The same command with --resume continues from there."

    def last_checkpoint():
        return f"; the last checkpoint is kept. {kept}" if work.checkpoint.exists() else ""

    try:
        state, interrupted = train(work, states, state, progress, args)
        if not interrupted:
            return _finish_run(work, state, begun, target, progress, args)
        where = f"step {state.training.step} of {config.steps}"
        return _ended(progress, 130, f"Interrupted after {where}, which is saved. {kept}")
    except KeyboardInterrupt:
        return _ended(progress, 130, f"tau_rnn.run: interrupted{last_checkpoint()}")
    except NonFiniteLoss as error:
        work.fail(str(error), error.params)
        return _ended(progress, 1, f"tau_rnn.run: {error}; see {work.folder / 'last_good.npz'}")
    except (OSError, ValueError, MemoryError) as error:
        what = "not enough memory: " if isinstance(error, MemoryError) else ""
        return _ended(progress, 1, f"tau_rnn.run: {what}{error}{last_checkpoint()}")


def _ended(progress, status: int, why: str) -> int:
    """Say why a run ended before its end; returns the exit status."""
    progress.close()
    print(why, file=sys.stderr)
    return status


def train(work, states, state, progress, args):
    """Make the steps; returns the last state, and whether Ctrl-C ended them."""
    began = written = time.monotonic()
    first = state.training.step
    with interruptions() as interrupted:
        for latest in itertools.chain([state], states):
            state = latest
            show_step(progress, state, state.training.step - first, time.monotonic() - began)
            if interrupted:
                break
            if time.monotonic() - written >= args.checkpoint_seconds:
                work.save(state)
                written = time.monotonic()
        # Also when all steps are made: what follows takes some seconds, and may be interrupted.
        work.save(state)
    return state, bool(interrupted)


def show_step(progress, state, done: int, seconds: float) -> None:
    """Show the state after a step; ``done`` steps were made in the seconds."""
    step, last = state.training.step, state.history[-1]
    loss = state.training.loss
    text = f"loss {last['loss'] if loss != loss else loss:.4f}"  # none before the first step
    if "accuracy" in last:
        text += f"  accuracy {last['accuracy']:.3f}"
    rate = ""
    if done and seconds > 0:
        left = (progress.total - step) * seconds / done
        rate = f"{done / seconds:.{0 if done > 9 * seconds else 1}f} steps/s  {duration(left)} left"
    progress.show(step, text, rate, due=step % _LINES_EVERY == 0 or step == progress.total)


def _parts(config, args) -> tuple[tuple[str, ...], ...]:
    """What is measured of a run, and what is left out since its network is too large."""
    from tau_rnn.experiment.outcome import FULL_MEASURES
    from tau_rnn.measures.run import PARTS, within_bounds

    asked = FULL_MEASURES if args.measures is None else args.measures or PARTS
    return within_bounds(config.units, asked)


def _finish_run(work, state, begun, target: _Target, progress, args) -> int:
    """Measure, draw, publish and show a run that has made all its steps."""
    from tau_rnn.experiment import store, summarise_run
    from tau_rnn.experiment.unfinished import state_bytes

    parts, left_out = _parts(work.config, args)
    result = summarise_run(work.config, state, parts, progress.phase, begun)
    made = work.new_run()
    if not args.no_figure:
        draw(result, made, progress.phase)
    store.write_run(made, result, state_bytes(work.config, state))
    folder = work.publish(made, target.places, target.old)
    progress.close()
    _print_table(result)
    if left_out:
        print(f"Not measured in a network of {work.config.units} units: {', '.join(left_out)}.")
    if folder != target.places[0]:
        print(f"{target.places[0]} has meanwhile been taken by a run with other settings.")
    print(f"Results: {folder}")
    if not args.no_figure:
        print(f"Look at {folder / 'figure.png'}, and at measures.png: what training changed.")
    return 0


def draw(result, folder: Path, tell) -> None:
    """Write the two figures of a run: the run itself, and what training changed."""
    tell("figure.png")
    from tau_rnn.plotting import color_of, plot_run, save
    from tau_rnn.plotting.measures import plot_measures
    from tau_rnn.plotting.style import files_only

    files_only()
    save(plot_run(result), folder / "figure.png")
    tell("measures.png")
    title = f"What training changed: {result.title}"
    page = plot_measures(result.measures, title=title, color=color_of(result.config.dist))
    save(page, folder / "measures.png")


def _print_table(result) -> None:
    """The numbers of a run, before and after training."""
    from tau_rnn.experiment.outcome import NO_ACCURACY

    m = result.metrics
    print(f"\n{result.title}\n{result.table}\n  {m['steps']} steps in {m['seconds']:.1f} s\n")
    if "accuracy" not in m:
        print(f"  {NO_ACCURACY}\n")
    for part, what in (result.measures.left_out if result.measures else {}).items():
        print(f"  Left out: {part.replace('_', ' ')}, which needs `{what}`, see tau_rnn.tasks.own.")
