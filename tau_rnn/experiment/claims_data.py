"""The numbers of the confirmation, as committed in ``tau_rnn/evidence``.

``validation/poster_claims.py`` writes them from its runs; its page, chapter 8, the
README's test and the browser read them here, so that every number is stated once.

=================  ==============================================================================
claims.csv         the tests of the poster's claims: effect, Holm's p, outcome and word; a row for
                   each control of a test follows it
effects.csv        every paired comparison: with vanilla, with the homogeneous network of the same
                   leak rate, within runs, slopes over diversity, with the best homogeneous network
conditions.csv     mean of every quantity in every condition
runs.csv           every run: settings and metrics
timescales.csv     effective timescales of the runs of claim 4, before and after training
structure.csv      part 3 of the protocol (a hierarchy, two populations, low rank, Dale's law): its
                   means and paired differences; structure_runs.csv has its runs
untrained.csv      what the networks have before training: readout, slow modes, distance
time_step.csv      trained networks simulated again with smaller time steps
=================  ==============================================================================
"""

from __future__ import annotations

import csv
import math
from importlib import resources
from pathlib import Path
from typing import Any

from tau_rnn.experiment.claims import CLAIMS, Control, Finding, on_side
from tau_rnn.experiment.statistics import Effect

__all__ = ["findings", "load_claims", "pick"]

#: Columns that stay text whatever they hold.
_TEXTS = frozenset((
    "part", "key", "task", "condition", "reference", "kind", "metric", "scale", "note", "dist",
    "rescale_tau", "lr_scale", "train", "longest", "role", "control", "holds", "outcome", "word",
    "kind_of_rest",
))  # fmt: skip


def load_claims(folder=None) -> dict[str, list[dict[str, Any]]]:
    """The committed numbers of the confirmation: one list of dicts for each CSV file, by name.

    Numbers are numbers (whole ones int), an empty cell is None.

    Parameters
    ----------
    folder : of the tables; None for those that come with tau_rnn

    Returns
    -------
    dict of lists : ``claims``, ``effects``, ``conditions``, ``runs``, ``timescales``, ...; see the
        table at the head of this module

    Examples
    --------
    >>> first = load_claims()["claims"][0]
    >>> first["claim"], first["metric"], first["task"], first["dist"], first["role"]
    (1, 'log_mean_loss', 'multi_timescale', 'normal', 'claim')
    """
    folder = resources.files("tau_rnn") / "evidence" if folder is None else Path(folder)
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".csv")), key=lambda f: f.name)
    tables = {}
    for file in files:
        rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines())
        tables[file.name.removesuffix(".csv")] = [
            {name: _value(name, text) for name, text in row.items()} for row in rows
        ]
    return tables


def _value(name: str, text: str) -> Any:
    if name in _TEXTS:
        return text
    if text == "":
        return None
    try:
        return int(text)
    except ValueError:
        return float(text)


def pick(rows: list[dict[str, Any]], **wanted) -> list[dict[str, Any]]:
    """The rows whose columns have the wanted values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def findings(rows: list[dict[str, Any]]) -> list[Finding]:
    """The tests of claims.csv as `tau_rnn.experiment.claims.judge` gave them."""
    tests: list[Finding] = []
    for row in rows:
        effect = effect_of(row)
        if row["role"] == "claim":
            claim = CLAIMS[row["claim"] - 1]
            tests.append(Finding(claim, row["metric"], row["dist"], row["task"], effect,
                                 row["p_holm"], (), row["outcome"]))  # fmt: skip
        else:
            last = tests[-1]
            survives = on_side(last.claim.sign, effect)
            control = Control(row["control"], row["holds"], effect, survives)
            tests[-1] = last._replace(controls=(*last.controls, control))
    return tests


def effect_of(row: dict[str, Any]) -> Effect:
    """The effect in a row of claims.csv or effects.csv."""
    values: list[Any] = [math.nan if row[f] is None else row[f] for f in Effect._fields]
    return Effect(*values)
