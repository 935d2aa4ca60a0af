"""The options of the command line, and what --help says."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import Field
from typing import Any

from tau_rnn import __version__
from tau_rnn.checks import explained, type_name
from tau_rnn.experiment.conditions import CONTROLS
from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.metrics import METRICS, TABLE, Metric
from tau_rnn.measures.run import PARTS
from tau_rnn.taus import DISTRIBUTIONS
from tau_rnn.training import TrainConfig

__all__: list[str] = []

#: Earlier names of options, by setting.
_OLD_NAMES = {"rescale_tau": "--match"}
#: What the command line takes besides the values of a setting.
_MORE = {
    "dist": "; all: the poster's four",
    "task": "; both: one after the other",
}

_EPILOG = """\
distributions of the time constants tau (seconds):
{distributions}
  all              the first four, one after the other
Parameters follow a colon, as in normal:mean=1,sd=0.3.

controls:
{controls}

numbers in the table of a run:
{metrics}

examples:
  python -m tau_rnn.run --dist normal
  python -m tau_rnn.run --dist uniform --task integrate_and_remember --seed 3
  python -m tau_rnn.run --dist all --seeds 16 --workers 2 --task both --controls

A run is stored in OUT/<task>-<dist>-seed<k>/, or with its key after the name where that is taken,
and never overwritten without --force: the same command again shows the stored result. Exit status:
0 done, 1 something failed (what was computed is kept), 2 bad arguments (nothing is written), 130
interrupted (what was done is kept; --resume continues).
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message):
        self.exit(2, f"tau_rnn.run: {' '.join(message.split())}\n")


def _explained(row: Metric) -> str:
    text = f"{row.label}: {row.text.replace('<when>', 'before and after')}"
    return textwrap.fill(text, 79, initial_indent="  ", subsequent_indent="      ")


class _Renamed(argparse.Action):
    """An option whose old name still works, with a note; its new name is the first."""

    def __call__(self, parser, namespace, values, option_string=None):
        new = self.option_strings[0]
        if option_string != new:
            print(f"tau_rnn.run: note: {option_string} is now {new}", file=sys.stderr)
        setattr(namespace, self.dest, values)


def _listed(items: Iterable[tuple[str, str]]) -> str:
    return "\n".join(
        textwrap.fill(text, 79, initial_indent=f"  {name:<15}  ", subsequent_indent=" " * 19)
        for name, text in items
    )


def _metavar(field: Field) -> str:
    """What stands for the value of an option: N or X, of seconds, or the setting's own word."""
    number = {"int": "N", "float": "SECONDS" if field.metadata["unit"] == "s" else "X"}
    return number.get(type_name(field), "NAME" if "_" in field.name else field.name.upper())


def _add_settings(group, fields: Iterable[Field]) -> None:
    # An option that is not given is not among the parsed arguments.
    for field in fields:
        name = f"--{field.name.replace('_', '-')}"
        old = _OLD_NAMES.get(field.name)
        group.add_argument(
            *([name, old] if old else [name]),
            action=_Renamed if old else "store",
            nargs="+" if field.metadata["several"] else None,
            type={"int": int, "float": float}.get(type_name(field), str),
            default=argparse.SUPPRESS,
            metavar=_metavar(field),
            help=(explained(field) + _MORE.get(field.name, "")).replace("%", "%%"),
        )


def build_parser(config: type[TrainConfig] = RunConfig) -> _Parser:
    """The options of the command line: one for every field of a configuration, and a few more."""
    parser = _Parser(
        prog="python -m tau_rnn.run",
        description="Train rate networks with diverse intrinsic time constants by hand-derived "
        "backpropagation through time.",
        epilog=_EPILOG.format(
            controls=_listed(CONTROLS.items()),
            distributions=_listed((name, family.about) for name, family in DISTRIBUTIONS.items()),
            metrics="\n".join(_explained(row) for row in METRICS if row.key in TABLE),
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tau_rnn {__version__}")
    how = [field.name for field in dataclasses.fields(TrainConfig)]
    whole = dataclasses.fields(config)
    _add_settings(parser.add_argument_group("the run"), (f for f in whole if f.name not in how))
    _add_settings(parser.add_argument_group("training"), (f for f in whole if f.name in how))

    add = parser.add_argument_group("results").add_argument
    add("--out", default="runs", metavar="FOLDER", help="where results go (default: runs)")
    add(
        "--resume",
        action="store_true",
        help="continue a run that was interrupted, or give a finished one more --steps (but not "
        "one that a sweep computed: its state is not stored)",
    )
    add("--force", action="store_true", help="compute again, and overwrite a stored result")
    add(
        "--checkpoint-seconds",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="time between two checkpoints of a run (default: 5); 0: one after every step",
    )
    add("--no-figure", action="store_true", help="no figures")
    add("--quiet", action="store_true", help="print only the results")

    add(
        "--measures",
        nargs="*",
        choices=PARTS,
        metavar="PART",
        help=f"what to measure of the change: {', '.join(PARTS)}; with no name, all (default: "
        "all for a single run, weights and alignment for each run of a sweep)",
    )

    add = parser.add_argument_group("sweeps").add_argument
    add("--seeds", type=int, metavar="N", help="how many seeds, from --seed on (default: 1)")
    add(
        "--workers",
        type=int,
        metavar="N",
        help="processes, each with one BLAS thread (default: one per core; 1: this process)",
    )
    add(
        "--scheduler",
        metavar="ADDRESS",
        help="address of a Dask scheduler, such as tcp://host:8786 (extra: cluster)",
    )
    add(
        "--controls",
        nargs="*",
        metavar="NAME",
        help="add control conditions: those named (see below); with no name, matched, "
        "harmonic, lr-tau, gain",
    )
    add(
        "--quick",
        action="store_true",
        help="a sweep in about a minute: 3 seeds, 200 steps, dt = 0.1 s, unless given",
    )
    return parser


def settings_given(args: argparse.Namespace, config=RunConfig) -> list[dict[str, Any]]:
    """The settings among parsed arguments, but for task and dist: one dict for each combination."""
    names = {field.name for field in dataclasses.fields(config)} - {"task", "dist"}
    given = {name: value for name, value in vars(args).items() if name in names}
    grid = itertools.product(*(v if isinstance(v, list) else [v] for v in given.values()))
    return [dict(zip(given, point)) for point in grid]
