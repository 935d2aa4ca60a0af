"""The command line: ``python -m tau_rnn.run --dist normal``.

One run is trained, shown and stored; several distributions, seeds or tasks at once are a sweep.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tau_rnn.checks import nearest
from tau_rnn.cli.options import build_parser, settings_given
from tau_rnn.experiment.conditions import POSTER
from tau_rnn.tasks import TASKS

QUICK = {"steps": 200, "dt": 0.1}  # what --quick sets, unless it is given


def main(argv=None) -> int:
    """Run the command line; returns the exit status."""
    if hasattr(sys.stdout, "reconfigure"):  # a name that the terminal cannot show is no error
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = build_parser()
    args = parser.parse_args(argv)
    # What follows loads SciPy's parts and the tasks, which --help should not wait for.
    from tau_rnn.cli.progress import plain_warnings
    from tau_rnn.experiment import RunConfig

    quick = args.quick
    named = [POSTER if name == "all" else (name,) for name in getattr(args, "dist", ["normal"])]
    dists = list(dict.fromkeys(dist for group in named for dist in group))
    task = getattr(args, "task", "multi_timescale")
    tasks = list(TASKS) if task == "both" else [task]
    if task not in (*TASKS, "both"):
        parser.error(f"--task: unknown task {task!r}; {nearest(task, (*TASKS, 'both'))}")
    seeds = args.seeds if args.seeds is not None else 3 if quick else 1
    for name, value in (("--seeds", seeds), ("--workers", args.workers)):
        if value is not None and value < 1:
            parser.error(f"{name}: must be an integer >= 1, got {value}")
    shared_out = args.workers is not None and args.workers > 1
    if args.scheduler and shared_out:
        parser.error("--workers: counts processes of this machine, not of the --scheduler")
    if not 0 <= args.checkpoint_seconds < float("inf"):
        parser.error(f"--checkpoint-seconds: must be >= 0, got {args.checkpoint_seconds}")
    shared: dict[str, Any] = {"task": tasks[0], "dist": dists[0], **(QUICK if quick else {})}
    try:
        bases = [RunConfig(**(shared | settings)) for settings in settings_given(args)]
        one = len(bases) * len(dists) * len(tasks) * seeds == 1
        if one and args.controls is None and not quick:
            if args.scheduler or shared_out:
                parser.error("--workers, --scheduler: a single run has nothing to share out")
            with plain_warnings():
                return single(bases[0], args)
        return several(bases, dists, tasks, seeds, args)
    except ValueError as error:
        parser.error(str(error))
    except MemoryError as error:
        parser.error(f"not enough memory: {error}")
    except KeyboardInterrupt:
        print("\ntau_rnn.run: interrupted; what was done before is kept", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"tau_rnn.run: {error}; what was done before is kept", file=sys.stderr)
    return 1


def several(bases, dists, tasks, seeds, args) -> int:
    """A sweep over distributions, tasks and seeds."""
    from tau_rnn.cli.sweep import run_sweep, sweep_configs
    from tau_rnn.experiment.executors import usable_cores

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
    )  # fmt: skip


def single(config, args) -> int:
    """One run: train it, or show the stored one."""
    from tau_rnn.experiment import store

    folder = find_folder(config, args)
    if store.stored_key(folder) == config.key and store.is_complete(folder) and not args.force:
        result = store.load_run(folder)
        print_table(result)
        bare = "" if args.no_figure or (folder / "figure.png").exists() else ", with figures"
        print(f"This is the stored result of {folder} (--force computes it anew{bare}).")
        return 0
    saved = None
    if args.resume and (folder / "checkpoint.npz").exists():
        saved = store.load_checkpoint(folder, config)
    elif (folder / "checkpoint.npz").exists() and not args.force:
        step = store.load_checkpoint(folder, config).training.step
        raise ValueError(
            f"{folder} holds a run that was interrupted at step {step} of {config.steps}: "
            "--resume goes on with it, --force starts again"
        )
    return compute(config, folder, saved, args)


def find_folder(config, args) -> Path:
    """Where the run is, or is to go; a ValueError if something else is in its place."""
    from tau_rnn.experiment import store

    folder = store.find(args.out, config)
    if store.stored_key(folder) == config.key:
        return folder
    folder = Path(args.out) / store.run_name(config)
    if not folder.exists():
        return folder
    if folder.is_dir() and all(file.suffix == ".part" for file in folder.iterdir()):
        return folder  # empty, or of a run that was killed while it wrote its first file
    if args.force and (folder / "config.json").exists():
        return folder
    other = store.stored_config(folder)  # a StoreError if this is no run at all
    differences = ", ".join(
        f"{name} {theirs!r} there, {mine!r} here"
        for name, (mine, theirs) in config.differences(other).items()
    )
    raise ValueError(
        f"{folder} holds a run with other settings ({differences or 'an older version'}); "
        "choose another --out, or --force overwrites it"
    )


def compute(config, folder: Path, saved, args) -> int:
    """Train a run, with a checkpoint every few seconds, and store and show its result."""
    from tau_rnn.cli.progress import Progress, interruptions
    from tau_rnn.experiment import iterate, store, summarise_run
    from tau_rnn.experiment.files import write_arrays
    from tau_rnn.experiment.outcome import FULL_MEASURES
    from tau_rnn.experiment.run import build_network
    from tau_rnn.training import NonFiniteLoss

    tau = (saved.initial if saved else build_network(config)).tau
    if not args.quiet:
        print(
            f"Training {config.units} units on {config.task} for {config.steps} steps of "
            f"{config.batch} trials, dt = {config.dt:g} s.\n"
            f"tau ~ {config.dist_label}: mean {tau.mean():.2f} s, range {tau.min():.2f} to "
            f"{tau.max():.2f} s. Seed {config.seed}. Results go to {folder}."
        )
        if args.resume:
            at = saved.training.step if saved else "0: there is no checkpoint yet"
            print(f"Going on from step {at}.")
    try:
        store.begin(folder, config)
    except OSError as error:
        raise ValueError(f"--out: cannot write to {folder} ({error.strerror})") from None
    state = saved
    progress = Progress(config.steps, quiet=args.quiet)
    written = time.monotonic()
    with interruptions() as interrupted:
        try:
            for state in iterate(config, saved):
                progress.show(state)
                if interrupted:
                    break
                if time.monotonic() - written >= args.checkpoint_seconds:
                    store.save_checkpoint(folder, config, state)
                    written = time.monotonic()
        except NonFiniteLoss as error:
            progress.close()
            write_arrays(folder / "last_good.npz", error.params._asdict())
            print(f"tau_rnn.run: {error}; see {folder / 'last_good.npz'}", file=sys.stderr)
            return 1
        progress.close()
        # Also when all steps are made: what follows takes some seconds, and may be interrupted.
        store.save_checkpoint(folder, config, state)
    if interrupted:
        print(
            f"Interrupted after step {state.training.step} of {config.steps}, which is saved. "
            "The same command with --resume goes on from there.",
            file=sys.stderr,
        )
        return 130
    result = summarise_run(config, state, FULL_MEASURES)
    if not args.no_figure:
        draw(result, folder)
    store.save_run(folder, result)
    print_table(result)
    print(f"Results: {folder}")
    if not args.no_figure:
        print(f"Look at {folder / 'figure.png'}, and at measures.png: what training changed.")
    return 0


def draw(result, folder: Path) -> None:
    """Write the two figures of a run: the run itself, and what training changed."""
    from tau_rnn.plotting import color_of, files_only, plot_run, save
    from tau_rnn.plotting.measures import plot_measures

    files_only()
    config = result.config
    save(plot_run(result), folder / "figure.png")
    title = f"What training changed: {config.task}, tau ~ {config.dist_label}, seed {config.seed}"
    page = plot_measures(result.measures, title=title, color=color_of(config.dist))
    save(page, folder / "measures.png")


def print_table(result) -> None:
    """The numbers of a run, before and after training."""
    m, history = result.metrics, result.history
    rows = [("", "before", "after")]

    def row(name, before, after, form=".3f"):
        shown = (format(v, form) if isinstance(v, (int, float)) else "-" for v in (before, after))
        rows.append((name, *shown))

    for name in history[0]:
        if name not in ("step", "train_loss", "grad_norm", "weight_change"):
            row(name.replace("_", " "), history[0][name], m[name])
    row("accuracy, mean of last five evaluations", None, m["accuracy_last5"])
    row("accuracy with tau shuffled over the units", None, m["accuracy_shuffled_tau"])
    criterion = result.config.make_task().criterion
    row(f"steps to accuracy {criterion:g}", None, m["steps_to_criterion"], "d")
    row("change of W, relative to its norm", None, m["weight_change"])
    row("effective timescale, median (s)", m["tau_eff_median_before"], m["tau_eff_median_after"])
    row("effective timescales, sd of ln", m["tau_eff_sd_log_before"], m["tau_eff_sd_log_after"])
    row(
        "units whose timescale is too long to tell",
        m["tau_eff_too_long_before"],
        m["tau_eff_too_long_after"],
        "d",
    )
    row("units without an effective timescale", m["tau_eff_unfitted_before"],
        m["tau_eff_unfitted_after"], "d")  # fmt: skip
    if "rank_needed" in m:
        row("rank of the change of W that the task needs", None, m["rank_needed"], ".0f")
    row("representation alignment with before", None, m["representation_alignment"])
    row("kernel alignment with before", None, m["kernel_alignment"])
    width = max(len(r[0]) for r in rows)
    print(f"\n{result.config.task}, tau ~ {result.config.dist_label}, seed {result.config.seed}")
    for name, before, after in rows:
        print(f"  {name:<{width}}  {before:>8}  {after:>8}")
    print(f"  {m['steps']} steps in {m['seconds']:.1f} s\n")
