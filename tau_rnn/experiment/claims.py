"""The poster's four claims: what is measured, which control would explain it, and the verdict.

The rules are those of validation/poster_claims_protocol.md, where they were written down before
the runs that they judge. What the confirmation found is committed in ``tau_rnn/evidence``:
``validation/poster_claims.py`` writes it from its runs; its page, chapter 8, the README's test and
the browser read it by `load_claims`, so that every number is stated once.

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
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.experiment.conditions import POSTER, matched_constant, setting_of
from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.effects import ITSELF, MATCHED, VANILLA, Row
from tau_rnn.experiment.statistics import Effect, holm
from tau_rnn.tasks.spec import parse_task

__all__ = ["CLAIMS", "findings", "load_claims", "pick"]

LEVEL = 0.05  # of the family of all tests, by Holm's method
_LONGER_BURN_INS = (20.0, 60.0)  # s, the controls of claim 4
# What a control takes away.
LEAK, RATE = "the mean leak rate", "each unit's learning rate"
GAIN, MEASURE = "the initial gain", "how timescales are measured"
#: One word for each outcome that has one.
_WORDS = {
    "shown": "shown",
    "shown, controls not run": "uncontrolled",
    "not shown": "open",
    "the opposite": "opposite",
    "too few pairs": "unknown",
}


class Claim(NamedTuple):
    """A claim of the poster.

    Attributes
    ----------
    number, text : as the report names it
    short : the same in a few words, for tables
    metrics : quantities that decide, each judged by itself
    sign : +1 or -1, the direction of the effect that is claimed
    dists : the distributions that it is about
    """

    number: int
    text: str
    short: str
    metrics: tuple[str, ...]
    sign: int
    dists: tuple[str, ...]


#: The poster's claims, each with the comparisons that decide it.
CLAIMS = (
    Claim(1, "Diverse time constants make training more efficient.",
          "faster training: mean loss",
          ("log_mean_loss",), -1, POSTER[1:]),
    Claim(2, "Diverse time constants make the trained network perform better.",
          "better performance: accuracy",
          ("accuracy_last5",), +1, POSTER[1:]),
    Claim(3, "Uniform and bimodal time constants need smaller changes of the recurrent weights.",
          "smaller changes of W",
          ("weight_change", "weight_change_at_matched_loss"), -1, ("uniform", "bimodal")),
    Claim(4, "Training spreads the effective timescales, even where all time constants are equal.",
          "wider spread of effective timescales",
          ("tau_eff_spread",), +1, POSTER),
)  # fmt: skip


class Control(NamedTuple):
    """A control of a test: its effect, and whether the claimed effect is still there."""

    name: str
    explains: str
    effect: Effect
    survives: bool


class Finding(NamedTuple):
    """A test of the family: one claim, one quantity, one distribution, one task."""

    claim: Claim
    metric: str
    dist: str
    task: str
    effect: Effect
    p_holm: float
    controls: tuple[Control, ...]
    verdict: str

    @property
    def task_label(self) -> str:
        """The task as tables name it, without its path and hash."""
        return parse_task(self.task).label


def judge(rows: Iterable[Row], base: RunConfig, tasks: Iterable[str]) -> list[Finding]:
    """All tests of the family that the rows allow, with Holm's p values and verdicts.

    ``base`` is the setting that is judged: its task, dist and seed do not matter.

    >>> from tau_rnn.experiment.statistics import paired_t
    >>> base = RunConfig(dist="uniform")
    >>> lower = paired_t([-0.5, -0.4, -0.6, -0.5])
    >>> row = Row(base.task, "uniform", "constant", VANILLA, "log_mean_loss", "ln", lower, base)
    >>> [test] = judge([row], base, [base.task])
    >>> test.claim.number, test.verdict
    (1, 'shown, controls not run')
    """
    table = {(r.group, r.kind, r.metric): r.effect for r in rows}
    family = []
    for claim in CLAIMS:
        for metric in claim.metrics:
            for task in tasks:
                for dist in claim.dists:
                    group = base.replace(
                        task=task, dist=dist, seed=0, rescale_tau="none", lr_scale="none"
                    )
                    kind = ITSELF if claim.number == 4 else VANILLA
                    effect = table.get((group, kind, metric))
                    if effect is not None:
                        controls = tuple(_controls(claim, metric, group, table))
                        family.append((claim, metric, group, effect, controls))
    adjusted = holm([effect.p for *_, effect, _ in family])
    return [
        Finding(claim, metric, group.dist, group.task, effect, float(p), controls,
                verdict(claim.sign, effect, float(p), controls))
        for (claim, metric, group, effect, controls), p in zip(family, adjusted)
    ]  # fmt: skip


def judged(
    configs: Iterable[RunConfig], rows: Sequence[Row]
) -> list[tuple[RunConfig, list[Finding]]]:
    """The settings of a sweep, each with its family of tests.

    A setting that is there as a control of another, such as the other gain, has no controls of its
    own and is no family: its effects are in the tables. Where no setting has controls of the mean
    leak rate or the learning rate, each is a family.
    """
    configs = tuple(configs)
    tasks = list(dict.fromkeys(c.task for c in configs))
    settings: dict[RunConfig, RunConfig] = {}
    for config in configs:
        settings.setdefault(setting_of(config).replace(task=tasks[0]), config)
    found = [(first, judge(rows, first, tasks)) for first in settings.values()]
    controlled = [
        (first, tests)
        for first, tests in found
        if any(t.controls for t in tests if t.metric != "tau_eff_spread")
    ]
    return controlled or found


def _controls(claim: Claim, metric: str, group: RunConfig, table) -> Iterable[Control]:
    if claim.number == 4:
        other = group.replace(gain=1.0 if group.gain != 1.0 else 0.8)
        wanted = [(f"initial gain {other.gain:g}", GAIN, other, ITSELF, metric)]
        wanted += [
            (f"burn-in {wait:g} s", MEASURE, group.replace(burn_in=wait), ITSELF, metric)
            for wait in _LONGER_BURN_INS
            if wait > group.burn_in
        ]
        wanted += [("longest timescales left out", MEASURE, group, ITSELF, f"{metric}_of_short")]
    else:
        harmonic, scaled = group.replace(rescale_tau="harmonic"), group.replace(lr_scale="tau")
        wanted = [
            (f"against {matched_constant(group.dist)}", LEAK, group, MATCHED, metric),
            ("rescaled to harmonic mean 1 s", LEAK, harmonic, VANILLA, metric),
            ("learning rate ~ tau", RATE, scaled, VANILLA, metric),
        ]
    for name, explains, config, kind, quantity in wanted:
        effect = table.get((config, kind, quantity))
        if effect is not None and np.isfinite(effect.low):
            yield Control(name, explains, effect, on_side(claim.sign, effect))


def on_side(sign: int, effect: Effect) -> bool:
    """Whether the whole 95 % interval lies on the claimed side of zero."""
    return bool((effect.low if sign > 0 else -effect.high) > 0)


def verdict(sign: int, effect: Effect, p_holm: float, controls: Iterable[Control]) -> str:
    """What a test says, and no more.

    =============================  ==============================================================
    too few pairs                  for a p value
    not shown                      Holm's p >= 0.05
    the opposite                   Holm's p < 0.05, in the other direction
    shown, controls not run        Holm's p < 0.05 as claimed, and there is no control
    shown                          ... and the interval is on the claimed side in every control
    not shown once ... is held     ... but the interval is there in no control that holds this
    shown in part: ...             ... and two controls that hold the same thing disagree
    not shown with ...             ... but not with this gain, or measured like this (claim 4)
    =============================  ==============================================================
    """
    controls = list(controls)
    if not np.isfinite(p_holm):
        return "too few pairs"
    if p_holm >= LEVEL:
        return "not shown"
    if effect.estimate * sign < 0:
        return "the opposite"
    if not controls:
        return "shown, controls not run"
    lost = [c.name for c in controls if c.explains in (GAIN, MEASURE) and not c.survives]
    if lost:
        return f"not shown with {' or '.join(lost)}"
    reasons = {c.explains: [d.survives for d in controls if d.explains == c.explains]
               for c in controls}  # fmt: skip
    gone = [reason for reason, survives in reasons.items() if not any(survives)]
    if gone:
        return f"not shown once {' or '.join(gone)} is held"
    mixed = [reason for reason, survives in reasons.items() if not all(survives)]
    return f"shown in part: the controls of {' and '.join(mixed)} disagree" if mixed else "shown"


def word(outcome: str) -> str:
    """The one word for a verdict.

    >>> word("not shown once the mean leak rate is held"), word("not shown with burn-in 60 s")
    ('confounded', 'conditional')
    """
    starts = {"not shown once": "confounded", "not shown with": "conditional", "shown in": "partly"}
    longer = (w for start, w in starts.items() if outcome.startswith(start))
    return _WORDS.get(outcome) or next(longer)


def word_for(tests: Iterable[Finding]) -> str:
    """The one word for several tests: theirs if they agree, else "mixed"."""
    words = {word(test.verdict) for test in tests}
    return words.pop() if len(words) == 1 else "mixed"


def over_tasks(tests: Iterable[Finding]) -> dict[tuple[int, str, str], str]:
    """The verdict of each claim, metric and distribution over the tasks that were run."""
    found: dict[tuple[int, str, str], dict[str, str]] = {}
    for test in tests:
        key = (test.claim.number, test.metric, test.dist)
        found.setdefault(key, {})[test.task] = test.verdict
    return {
        key: next(iter(by_task.values()))
        if len(set(by_task.values())) == 1
        else "depends on the task: "
        + "; ".join(f"{parse_task(task).label}: {verdict}" for task, verdict in by_task.items())
        for key, by_task in found.items()
    }


# --- what the confirmation found -----------------------------------------------------------------

#: Columns that stay text whatever they hold.
_TEXTS = frozenset((
    "part", "key", "task", "condition", "reference", "kind", "metric", "scale", "note", "dist",
    "rescale_tau", "lr_scale", "train", "longest", "role", "control", "holds", "outcome", "word",
    "kind_of_rest",
))  # fmt: skip


def load_claims(folder: str | Path | None = None) -> dict[str, list[dict[str, Any]]]:
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
    tables_in = resources.files("tau_rnn") / "evidence" if folder is None else Path(folder)
    files = [file for file in tables_in.iterdir() if file.name.endswith(".csv")]
    tables = {}
    for file in sorted(files, key=lambda file: file.name):
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


def pick(rows: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """The rows whose columns have the wanted values.

    Parameters
    ----------
    rows : a table of `load_claims`
    **wanted : columns and their values

    Returns
    -------
    list of dicts

    Examples
    --------
    >>> pick([{"dist": "normal", "seed": 0}, {"dist": "uniform", "seed": 1}], dist="uniform")
    [{'dist': 'uniform', 'seed': 1}]
    """
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def findings(rows: list[dict[str, Any]]) -> list[Finding]:
    """The tests of claims.csv as `tau_rnn.experiment.claims.judge` gave them.

    Parameters
    ----------
    rows : ``load_claims()["claims"]``, or those of one task

    Returns
    -------
    list of Finding : each test, with its controls

    Examples
    --------
    >>> test = findings(load_claims()["claims"])[0]
    >>> test.claim.number, test.metric, test.dist
    (1, 'log_mean_loss', 'normal')
    """
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
