"""The command line: ``python -m tau_rnn.run --dist normal``.

One run is trained, shown and stored; several distributions, seeds or tasks at once are a sweep.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

EPILOG = """\
distributions of the time constants tau (seconds):
  vanilla          every unit 1 s
  normal           mean 1, sd 0.2, truncated to [0.1, 1.9]
  uniform          uniform on [0.1, 1.9]
  bimodal          0.5 or 1.5, in equal halves
  lognormal, gamma, constant:0.61, file:PATH, and parameters as in normal:mean=1,sd=0.3
  all              the four above, one after the other

examples:
  python -m tau_rnn.run --dist normal
  python -m tau_rnn.run --dist uniform --task integrate_and_remember --seed 3
  python -m tau_rnn.run --dist all --seeds 16 --workers 2 --task both --controls

A run is stored in OUT/<task>-<dist>-seed<k>/ and never overwritten without --force: the same
command again shows the stored result. Exit status: 0 done, 1 a run failed, 2 bad arguments,
130 interrupted (what was done is kept; --resume goes on).
"""
TASKS = ("multi_timescale", "integrate_and_remember")
POSTER = ("vanilla", "normal", "uniform", "bimodal")


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message):
        self.exit(2, f"tau_rnn.run: {' '.join(message.split())}\n")


def build_parser() -> Parser:
    """The options of the command line."""
    parser = Parser(
        prog="python -m tau_rnn.run",
        description="Train rate networks with diverse intrinsic time constants by hand-derived "
        "backpropagation through time.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument_group("the run").add_argument
    add(
        "--dist",
        nargs="+",
        default=["normal"],
        metavar="DIST",
        help="distribution of tau, or several, or all (default: normal)",
    )
    add(
        "--task",
        default=TASKS[0],
        metavar="TASK",
        help=f"{TASKS[0]} (default), {TASKS[1]}, or both",
    )
    add("--units", type=int, default=100, metavar="N", help="number of units (default: 100)")
    add("--steps", type=int, metavar="K", help="training steps (default: 400)")
    add("--batch", type=int, default=32, metavar="B", help="trials in a step (default: 32)")
    add(
        "--dt",
        type=float,
        metavar="S",
        help="time step in seconds (default: 0.05); it must divide the durations of the task",
    )
    add(
        "--lr",
        type=float,
        nargs="+",
        default=[0.003],
        metavar="LR",
        help="learning rate, or several for a grid (default: 0.003)",
    )
    add(
        "--gain",
        type=float,
        nargs="+",
        default=[0.8],
        metavar="G",
        help="initial spectral radius of W, or several for a grid (default: 0.8)",
    )
    add("--seed", type=int, default=0, metavar="K", help="first seed (default: 0)")
    add(
        "--train",
        default="default",
        metavar="NAMES",
        help="what is trained: names of W, W_in, b, W_out, b_out, x0, tau with commas between, or "
        "default (the first five), recurrent (W), readout (W_out, b_out), all; +tau adds tau to "
        "the default",
    )
    add("--optimizer", default="adam", metavar="NAME", help="adam (default) or sgd (momentum 0.9)")
    add(
        "--match",
        default="none",
        metavar="HOW",
        help="harmonic: rescale tau to harmonic mean 1 s, so that the mean leak rate is the same "
        "(default: none)",
    )
    add(
        "--lr-scale",
        default="none",
        metavar="HOW",
        help="tau or inverse-tau: learning rate of row i of W, W_in, b times tau_i or 1/tau_i "
        "(default: none)",
    )
    add(
        "--phi",
        default="tanh",
        metavar="NAME",
        help="rate function: tanh (default), relu, softplus, sigmoid, linear",
    )
    add(
        "--method",
        default="exponential",
        metavar="NAME",
        help="integration: exponential (default) or euler",
    )
    add("--dtype", default="float32", metavar="TYPE", help="float32 (default) or float64")

    add = parser.add_argument_group("results").add_argument
    add("--out", default="runs", metavar="FOLDER", help="where results go (default: runs)")
    add("--resume", action="store_true", help="go on with a run that was interrupted")
    add("--force", action="store_true", help="overwrite a stored result")
    add(
        "--checkpoint-seconds",
        type=float,
        default=5.0,
        metavar="S",
        help="time from one checkpoint of a run to the next (default: 5); 0: after every step",
    )
    add("--no-figure", action="store_true", help="no figures")
    add("--quiet", action="store_true", help="print the results only")

    add = parser.add_argument_group("sweeps").add_argument
    add("--seeds", type=int, default=1, metavar="M", help="seeds K, K+1, ..., K+M-1 (default: 1)")
    add(
        "--workers",
        type=int,
        default=1,
        metavar="P",
        help="processes, each with one BLAS thread (default: 1)",
    )
    add(
        "--scheduler",
        metavar="ADDRESS",
        help="address of a Dask scheduler, as tcp://host:8786 (extra: cluster)",
    )
    add(
        "--controls",
        action="store_true",
        help="add the control conditions: homogeneous networks of uniform's mean leak rate, "
        "matched leak rates, learning rates scaled by tau, ...",
    )
    add(
        "--quick",
        action="store_true",
        help="a sweep in about a minute: 3 seeds, 200 steps, dt = 0.1 s, unless given",
    )
    return parser  # fmt: skip


def main(argv=None) -> int:
    """Run the command line; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    # What follows loads SciPy's parts and the tasks, which --help should not wait for.
    from tau_rnn.experiment import RunConfig
    from tau_rnn.progress import plain_warnings

    quick = args.quick
    dists = list(POSTER) if args.dist == ["all"] else args.dist
    tasks = list(TASKS) if args.task == "both" else [args.task]
    seeds = 3 if quick and args.seeds == 1 else args.seeds
    for name, value, least in (("--seeds", seeds, 1), ("--workers", args.workers, 1)):
        if value < least:
            parser.error(f"{name}: must be a whole number >= {least}, got {value}")
    if not 0 <= args.checkpoint_seconds < float("inf"):
        parser.error(f"--checkpoint-seconds: must be >= 0, got {args.checkpoint_seconds}")
    try:
        bases = [
            RunConfig(
                task=tasks[0], dist=dists[0], match=args.match, units=args.units,
                steps=args.steps if args.steps is not None else 200 if quick else 400,
                batch=args.batch, dt=args.dt if args.dt is not None else 0.1 if quick else 0.05,
                lr=lr, gain=gain, seed=args.seed, train=args.train, optimizer=args.optimizer,
                lr_scale=args.lr_scale, phi=args.phi, method=args.method, dtype=args.dtype,
            )
            for gain in args.gain for lr in args.lr
        ]  # fmt: skip
        if len(bases) * len(dists) * len(tasks) * seeds == 1 and not (args.controls or quick):
            if args.scheduler or args.workers > 1:
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
    from tau_rnn.experiment.command import run_sweep, sweep_configs

    configs = [
        config
        for base in bases
        for config in sweep_configs(
            base, dists, range(base.seed, base.seed + seeds), tasks, controls=args.controls
        )
    ]
    return run_sweep(
        configs, out=args.out, workers=args.workers, scheduler=args.scheduler,
        progress=None if args.quiet else print, figures=not args.no_figure, force=args.force,
    )  # fmt: skip


def single(config, args) -> int:
    """One run: train it, or show the stored one."""
    from tau_rnn.experiment import store

    folder = find_folder(config, args)
    if store.stored_key(folder) == config.key and store.is_complete(folder) and not args.force:
        result = store.load_run(folder)
        print_table(result)
        print(f"This is the stored result of {folder} (--force computes it anew).")
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
    from tau_rnn.experiment import finish, iterate, store
    from tau_rnn.experiment.outcome import FULL_MEASURES
    from tau_rnn.experiment.running import initial_params
    from tau_rnn.progress import Progress, interruptions
    from tau_rnn.storage import write_arrays
    from tau_rnn.training import NonFiniteLoss

    tau = (saved.initial if saved else initial_params(config)).tau
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
    result = finish(config, state, FULL_MEASURES)
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
    from tau_rnn.plotting import color_of, plot_run, save
    from tau_rnn.plotting_measures import plot_measures

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


if __name__ == "__main__":
    sys.exit(main())
