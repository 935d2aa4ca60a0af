"""The options of the command line, and what --help says."""

from __future__ import annotations

import argparse
import sys

EPILOG = """\
distributions of the time constants tau (seconds):
  vanilla          every unit 1 s
  normal           mean 1, sd 0.2, truncated to [0.1, 1.9]
  uniform          uniform on [0.1, 1.9]
  bimodal          0.5 or 1.5, in equal halves
  lognormal, gamma, constant:0.61, file:PATH, and parameters as in normal:mean=1,sd=0.3
  all              the first four, one after the other

controls:
  matched          homogeneous networks with the mean leak rate of each distribution
  harmonic         tau rescaled to harmonic mean 1 s
  lr-tau, lr-inverse-tau
                   learning rate of row i proportional to tau_i, to 1/tau_i
  gain             initial gain 1.0
  recurrent, train-all, train-tau
                   train W alone, x0 and tau as well, tau as well
  lr-grid          a third of the learning rate, and three times
  sgd              stochastic gradient descent with momentum

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


class Renamed(argparse.Action):
    """An option whose old names still work, with a note; its new name is the first."""

    def __call__(self, parser, namespace, values, option_string=None):
        new = self.option_strings[0]
        if option_string != new:
            print(f"tau_rnn.run: note: {option_string} is now {new}", file=sys.stderr)
        setattr(namespace, self.dest, values)


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
        "--rescale-tau",
        "--match",
        action=Renamed,
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
    add("--seeds", type=int, metavar="M", help="seeds K, K+1, ..., K+M-1 (default: 1)")
    add(
        "--workers",
        type=int,
        metavar="P",
        help="processes, each with one BLAS thread (default: one a core; 1: this one)",
    )
    add(
        "--scheduler",
        metavar="ADDRESS",
        help="address of a Dask scheduler, as tcp://host:8786 (extra: cluster)",
    )
    add(
        "--controls",
        nargs="*",
        metavar="NAME",
        help="add control conditions: those named (see below), or without a name matched, "
        "harmonic, lr-tau, gain",
    )
    add(
        "--quick",
        action="store_true",
        help="a sweep in about a minute: 3 seeds, 200 steps, dt = 0.1 s, unless given",
    )
    return parser  # fmt: skip
