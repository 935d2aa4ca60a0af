"""What a sweep says: summary.csv, effects.csv, report.md, and a table for the screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tau_rnn.experiment.claims import (
    CLAIMS,
    Claim,
    Control,
    Finding,
    judged,
    over_tasks,
    word,
    word_for,
)
from tau_rnn.experiment.conditions import (
    describe_matched,
    is_diverse,
    label,
    matched_constant,
    setting_parts,
)
from tau_rnn.experiment.effects import ITSELF, Row, effects, interval, levels, number, p_text, size
from tau_rnn.experiment.files import csv_text, write_text
from tau_rnn.experiment.metrics import metric, scores_of
from tau_rnn.experiment.outcome import RunResult, remark
from tau_rnn.experiment.statistics import Effect
from tau_rnn.experiment.sweeps import Sweep
from tau_rnn.measures.run import LONGEST
from tau_rnn.taus import parse_tau

__all__ = ["table_of_runs"]

#: Columns of the table on the screen and of the first table of the report.
SHOWN = (
    "accuracy_last5", "steps_to_criterion", "log_mean_loss", "weight_change",
    "tau_eff_sd_log_before", "tau_eff_sd_log_after",
)  # fmt: skip
#: Columns of the table of what training changed.
CHANGED = (
    "weight_change", "effective_rank", "representation_alignment", "kernel_alignment", "accuracy",
    "accuracy_shuffled_tau",
)  # fmt: skip
#: Columns of the table of effective timescales.
TIMESCALES = tuple(
    f"tau_eff_{name}_{when}"
    for name in ("median", "correlation", "too_long", "unfitted")
    for when in ("before", "after")
)
_METHOD = """\
Runs of one seed share their weights, quantiles of tau, trials and noise, and are compared in pairs.
An effect is the mean of the paired differences with a 95 % t interval and the p value of the
paired t test; differences marked ln are of natural logarithms: -0.10 is about 10 % less. Steps to
criterion are compared by ranks (an exact signed-rank test, in which a run that never reached
it ranks as slower than all others and a pair in which neither did counts for neither side). Their
estimate is the median of the paired ln ratios with the interval between two order statistics. The
change of W at matched loss is taken at the lowest held-out loss that both runs of a pair reach,
interpolated between evaluations.
"""
_VERDICTS = """\
An effect is first a number with its interval. It is *shown* where Holm's p < 0.05 in the claimed
direction (against vanilla; claim 4: after against before training) and the 95 % interval lies on
the claimed side in every control as well (*shown, controls not run*, if there is none). It is *not
shown once* something *is held* where no control that holds it has its interval on that side, which
does not prove that this is the reason; *shown in part* where two controls of the same thing
disagree; *not shown with* another gain or measure (claim 4). It is *the opposite* where p < 0.05 in
the other direction, and *not shown* where p >= 0.05, which does not prove that there is none: see
the interval. In a word: shown, confounded, partly, conditional, opposite, open (not shown), and
mixed where tests of one claim and task differ.

The controls: `constant:...` are homogeneous networks of the same mean leak rate; in
`rescale_tau=harmonic` tau is rescaled to harmonic mean 1 s, which is the mean leak rate of vanilla;
in `lr~tau` the learning rate of each unit is proportional to its tau; `gain` is that of the initial
W.
"""
_LEVELS = """\
Means over seeds with 95 % t intervals; of steps to accuracy 0.9 the median, a run that never
reached it counts as longer than all. Last five: mean of the last five evaluations. Timescales: sd
over units of ln effective timescale.
"""
#: Columns of effects.csv.
_EFFECT_COLUMNS = (
    "task", "condition", "reference", "metric", "scale", *Effect._fields, "p_holm",
)  # fmt: skip
_TIMESCALE_TEXT = f"""\
Effective timescales of the noise-driven activity without input: the median over units, the Spearman
correlation with the intrinsic tau, and how many units of a network had one too long for the trials,
which counts as {LONGEST:.1f} s, or none that could be estimated, which is left out:
"""


def table_of_runs(
    sweep: Sweep, results: Sequence[RunResult] | None = None
) -> list[dict[str, Any]]:
    """One row for each run of a sweep, failed and missing ones included: config and metrics.

    Parameters
    ----------
    sweep : Sweep, which names every run that was asked for
    results : of those that are complete; default: `Sweep.load`

    Returns
    -------
    list of dicts, which ``pandas.DataFrame`` takes

    Examples
    --------
    >>> from tau_rnn import RunConfig
    >>> config = RunConfig(dist="uniform")
    >>> failed = Sweep((config,), {}, {config: "NonFiniteLoss: step 3"}, 0, 0, ())
    >>> [row] = table_of_runs(failed, [])
    >>> row["condition"], row["status"], row["error"]
    ('uniform', 'failed', 'NonFiniteLoss: step 3')
    """
    results = sweep.load() if results is None else results
    by_config = {r.config: r for r in results}
    metrics = list(dict.fromkeys(k for r in results for k in r.metrics))
    rows = []
    for config in sweep.configs:
        result = by_config.get(config)
        row: dict[str, Any] = {"condition": label(config)}
        row |= {**asdict(config), "train": "+".join(config.train), "key": config.key}
        row["status"] = "ok" if result else "failed"
        row["error"] = sweep.failures.get(config, "")
        row |= {name: (result.metrics.get(name) if result else None) for name in metrics}
        rows.append(row)
    return rows


def _csv_text(rows: Sequence[dict[str, Any]], columns: Sequence[str] = ()) -> str:
    """Rows as CSV; None and nan are empty cells."""
    return csv_text([{k: "" if v is None or v != v else v for k, v in row.items()} for row in rows],
                    columns)  # fmt: skip


def grid(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown that reads well as plain text, too."""
    table = [list(map(str, head)), *(list(map(str, row)) for row in rows)]
    widths = [max(len(row[k]) for row in table) for k in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |" for row in table]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


# --- the report ----------------------------------------------------------------------------------


def level_table(results: Sequence[RunResult], task: str, shown=SHOWN) -> str:
    """Means of each condition of a task in some metrics, with 95 % intervals.

    What no run of the task has is left out.
    """
    some = [r for r in results if r.config.task == task]
    conditions: dict[str, dict[str, Any]] = {}
    for level in levels(some, list(shown)):
        conditions.setdefault(level.condition, {})[level.metric] = level.effect
    columns = [metric(key) for key in shown if any(key in c for c in conditions.values())]
    rows = []
    for name, found in conditions.items():
        cells = [name, str(max(effect.n for effect in found.values()))]
        for column in columns:
            effect, digits = found.get(column.key), column.mean_decimals
            text = "-" if effect is None else interval(effect, signed=False, digits=digits)
            if effect is not None and effect.never:
                text = text.replace("inf", "never") + f"; {effect.never} never"
            cells.append(text)
        rows.append(cells)
    return grid(["condition", "runs", *(column.heading for column in columns)], rows)


def _scores(results: Sequence[RunResult], task: str) -> list[str]:
    histories = (r.history for r in results if r.config.task == task)
    scores = dict.fromkeys(name for history in histories for name in scores_of(history))
    return ["loss_last5", *(name for name in scores if name != "loss")]


def _effect_table(rows: Iterable[Row]) -> str:
    """Paired effects, one line each."""
    lines = []
    for row in rows:
        effect = row.effect
        remarks = []
        if effect.never or effect.never_reference:
            remarks.append(f"never: {effect.never}, reference {effect.never_reference}")
        if effect.missing:
            remarks.append(f"{effect.missing} missing")
        what = row.condition if row.kind == ITSELF else f"{row.condition} - {row.reference}"
        told = interval(effect), row.unit, p_text(effect.p), effect.n, "; ".join(remarks)
        lines.append([what, *told])
    return grid(["comparison", "effect [95 %]", "scale", "p", "pairs", "remarks"], lines)


def claims_table(tests: Iterable[Finding], bold: str = "**") -> str:
    """Each claim in each task: one word, between `bold`, and one sentence with its numbers."""
    lines, named = [], set()
    for claim, task, said, sentence in claims_in_brief(tests):
        text = str(claim.number) if claim in named else f"{claim.number}. {claim.short}"
        lines.append((text, task, f"{bold}{said}{bold}", sentence))
        named.add(claim)
    return grid(["claim", "task", "in a word", "what was found (95 % interval)"], lines)


def _verdict_table(tests: Iterable[Finding]) -> str:
    """The family of tests: effect, Holm's p value, controls and verdict."""
    lines = []
    for t in tests:
        controls = "; ".join(f"{c.name}: {interval(c.effect)}" for c in t.controls) or "not run"
        lines.append(
            [t.claim.number, t.task_label, t.dist, t.metric, interval(t.effect), p_text(t.p_holm),
             controls, t.verdict]
        )  # fmt: skip
    head = ["claim", "task", "tau", "quantity", "effect [95 %]", "p (Holm)", "controls", "verdict"]
    return grid(head, lines)


def report_text(sweep: Sweep, results: Sequence[RunResult], figures: Sequence[str] = ()) -> str:
    """The report of a sweep, in Markdown."""
    rows = effects(results, sweep.configs)
    names = {c.task: c.task_label for c in sweep.configs}
    parts = ["# Networks with diverse time constants: what the runs say", _what_was_run(sweep)]
    if sweep.failures:
        lines = (f"- {label(c)}, {c.task_label}, seed {c.seed}: {error}"
                 for c, error in sweep.failures.items())  # fmt: skip
        parts += ["## Runs that failed", "\n".join(lines)]
    parts += ["## How to read the numbers", _METHOD]
    for task, name in names.items():
        said = remark(r for r in results if r.config.task == task)
        parts += [f"## {name}: each condition", f"{_LEVELS}\n{said}", level_table(results, task)]
        parts += ["Scores of its parts:", level_table(results, task, _scores(results, task))]
        parts += ["What training changed:", level_table(results, task, CHANGED)]
        if any(TIMESCALES[0] in r.metrics for r in results if r.config.task == task):
            parts += [_TIMESCALE_TEXT, level_table(results, task, TIMESCALES)]
    for setting, tests in judged(sweep.configs, rows):
        if tests:
            parts += [", ".join(["## The poster's claims", *setting_parts(setting)]),
                      claims_table(tests), _VERDICTS, reading(tests), "### The tests",
                      f"Holm's p values are over the family of these {len(tests)} tests.",
                      _verdict_table(tests)]  # fmt: skip
    for task in names:
        parts.append(f"## {names[task]}: all paired effects")
        for key in dict.fromkeys(r.metric for r in rows if r.task == task):
            chosen = [r for r in rows if r.task == task and r.metric == key]
            parts += [f"### {key}: {metric(key).text}", _effect_table(chosen)]
    if figures:
        parts += ["## Figures", *(f"![{Path(f).stem}]({f})" for f in figures)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _what_was_run(sweep: Sweep) -> str:
    first = sweep.configs[0]
    seeds = sorted({c.seed for c in sweep.configs})
    shown = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
    shared = {
        f.name: getattr(first, f.name)
        for f in fields(first)
        if f.name not in ("task", "dist", "seed")
        and len({getattr(c, f.name) for c in sweep.configs}) == 1
    }
    lines = [
        f"{len(sweep.folders)} of {len(sweep.configs)} runs are complete, "
        f"{len(sweep.failures)} failed. {len(seeds)} seeds ({shown}).",
        "All of them have " + ", ".join(
            f"{k} = {'+'.join(v) if isinstance(v, tuple) else v}" for k, v in shared.items()
        ) + ".",
    ]  # fmt: skip
    one_of = {c.dist: c for c in reversed(sweep.configs)}  # a run of each distribution
    dists = {dist: one_of[dist] for dist in dict.fromkeys(c.dist for c in sweep.configs)}
    table = []
    for dist, config in dists.items():
        law = parse_tau(dist)
        cells = (number(v, 2) for v in (law.mean, law.cv, law.mean_rate))
        table.append([config.dist_label, *cells])
    lines.append(grid(["tau", "mean (s)", "CV", "E[1/tau] (1/s)"], table))
    matched = [
        describe_matched(config)
        for dist, config in dists.items()
        if is_diverse(dist) and matched_constant(dist) in dists
    ]
    return "\n\n".join(lines + (["; ".join(matched) + "."] if matched else []))


def write_tables(out, sweep: Sweep, results: Sequence[RunResult]) -> None:
    """Write summary.csv and effects.csv, with Holm's p where an effect is one of the family."""
    rows, runs = effects(results, sweep.configs), table_of_runs(sweep, results)
    tests = (test for _, tests in judged(sweep.configs, rows) for test in tests)
    adjusted = {id(test.effect): test.p_holm for test in tests}  # each row has its own effect
    table = [
        {**row._asdict(), **row.effect._asdict(), "scale": row.scale,
         "p_holm": adjusted.get(id(row.effect))}
        for row in rows
    ]  # fmt: skip
    write_text(Path(out, "summary.csv"), _csv_text(runs))
    write_text(Path(out, "effects.csv"), _csv_text(table, _EFFECT_COLUMNS))


# --- the claims in words -------------------------------------------------------------------------


def sentence(test: Finding) -> str:
    """One test in a sentence: the effect, what each control leaves of it, and the verdict."""
    within = test.metric == "tau_eff_spread"
    compared = "after training against before" if within else "against vanilla"
    text = (
        f"{test.task_label}, {test.dist}: {metric(test.metric).label} {compared}: "
        f"{size(test.metric, test.effect)}."
    )
    for control in test.controls:
        text += f" {_control(test, control)}"
    return f"{text} **{test.verdict[0].upper()}{test.verdict[1:]}.**"


def _control(test: Finding, control: Control) -> str:
    if control.survives:
        side = "on the claimed side"
    elif control.effect.low <= 0 <= control.effect.high:
        side = "interval includes 0"
    else:
        side = "on the other side"
    name = control.name[0].upper() + control.name[1:]
    return f"{name}: {size(test.metric, control.effect)}, {side}."


def claims_in_brief(tests: Iterable[Finding]) -> list[tuple[Claim, str, str, str]]:
    """Each claim and task that was tested: (claim, task, one word, one sentence with numbers)."""
    tests = list(tests)
    found = []
    for claim in CLAIMS:
        for task in dict.fromkeys(t.task for t in tests):
            mine = [t for t in tests if (t.claim.number, t.task) == (claim.number, task)]
            if mine:
                found.append((claim, mine[0].task_label, word_for(mine), brief(mine)))
    return found


def brief(tests: list[Finding]) -> str:
    """The tests of one claim in one task, in one sentence.

    One distribution comes with its numbers: vanilla where the claim is about it, else uniform, the
    most diverse. The others have a word.
    """
    outcomes: dict[str, tuple[str, ...]] = {}
    for t in tests:
        outcomes[t.dist] = (*outcomes.get(t.dist, ()), t.verdict)
    lead = next((d for d in ("vanilla", "uniform") if d in outcomes), tests[0].dist)
    mine = [t for t in tests if t.dist == lead]
    several = len(mine) > 1
    when = [metric(t.metric).label.rpartition(", ")[2] for t in mine]
    agreed = len(set(outcomes[lead])) == 1
    sizes = [f"{f'{name} ' * several}{size(t.metric, t.effect)}" + f": {t.verdict}" * (not agreed)
             for name, t in zip(when, mine)]  # fmt: skip
    sizes[-1] += f": {outcomes[lead][0]}" * agreed
    parts = [f"{lead.capitalize()}{',' * several} {'; '.join(sizes)}"]
    others: dict[tuple[str, ...], list[str]] = {}
    rest = [dist for dist in outcomes if dist != lead]
    for dist in sorted(rest, key=lambda d: outcomes[d] != outcomes[lead]):  # same as lead first
        others.setdefault(outcomes[dist], []).append(dist)
    for outcome, dists in others.items():
        said = [word(one) for one in outcome]
        names = " and ".join(filter(None, (", ".join(dists[:-1]), dists[-1])))
        if outcome == outcomes[lead]:
            parts.append(f"{names} likewise")
        elif len(set(said)) == 1:
            parts.append(f"{names}: {said[0]}")
        else:
            each = "; ".join(f"{name}, {one}" for name, one in zip(when, said))
            parts.append(f"{names}: {each}")
    return "; ".join(parts) + "."


def reading(tests: Iterable[Finding]) -> str:
    """All claims in plain words: first over the tasks, then test by test."""
    tests = list(tests)
    overall = over_tasks(tests)
    parts = []
    for claim in CLAIMS:
        mine = [t for t in tests if t.claim.number == claim.number]
        if not mine:
            continue
        parts.append(f"### Claim {claim.number}. {claim.text}")
        lines = []
        for key in claim.metrics:
            for dist in claim.dists:
                said = overall.get((claim.number, key, dist))
                if said:
                    about = f", by the {metric(key).label}" if len(claim.metrics) > 1 else ""
                    lines.append(f"- {dist}{about}: **{said}**")
        for dist in claim.dists:
            both = [overall.get((claim.number, key, dist)) for key in claim.metrics]
            if len(set(both)) > 1 and None not in both:
                lines.append(f"- {dist}, all in all: **depends on the measure**")
        parts.append("\n".join(lines))
        parts.append("\n".join(f"- {sentence(t)}" for t in mine))
    return "\n\n".join(parts)
