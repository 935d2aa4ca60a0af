"""The page poster_claims.md: two screens, every number from the tables."""

from __future__ import annotations

from pathlib import Path

from _evidence_figures import draw_all
from _evidence_runs import PARTS, TASKS

from tau_rnn.experiment.claims_data import effect_of, findings, pick
from tau_rnn.experiment.files import write_text
from tau_rnn.experiment.reading import size, unit_and_numbers
from tau_rnn.experiment.report import claims_table

MATCHED_LOSS = "weight_change_at_matched_loss"


def shown(row, metric: str | None = None) -> str:
    """The effect in a row with its interval, in words."""
    return size(metric or row["metric"], effect_of(row))


def slope(tables, task: str, metric: str, held: bool = False):
    """A row of the slopes over h."""
    name = "uniform on 1 +- h" + (", leak rate held" if held else "")
    (row,) = pick(tables["effects"], task=task, metric=metric, kind="slope", condition=name)
    return row


def degree_text(tables, metric: str) -> str:
    """What the slopes of a measure are in both tasks."""
    said = []
    for task in TASKS:
        plain, held = slope(tables, task, metric), slope(tables, task, metric, held=True)
        steps = [r["note"] for r in (plain, held)]
        form = steps[0] if steps[0] == steps[1] else f"{steps[0]}; held, {steps[1]}"
        said.append(f"{task} {shown(plain)}, leak rate held {shown(held)} ({form})")
    return "Per unit h: " + "; ".join(said) + "."


def best_text(tables, metric: str, dist: str = "uniform") -> str:
    """How a diverse network compares with the best homogeneous one."""
    said = []
    for task in TASKS:
        other, same = (
            pick(tables["effects"], task=task, metric=metric, condition=dist, kind=f"best, {s}")[0]
            for s in ("other seeds", "same seeds")
        )
        said.append(f"{task} {shown(other)} ({other['note']}; same seeds {shown(same)})")
    return f"{dist.capitalize()} against the best homogeneous network: " + "; ".join(said) + "."


def control_text(tables, metric: str) -> str:
    """What the controls leave of the effect of the uniform distribution."""
    said = []
    for t in findings(tables["claims"]):
        if (t.metric, t.dist) == (metric, "uniform"):
            unit = unit_and_numbers(metric, t.effect)[0]
            left = "; ".join(
                f"{c.name} {{}} ({{}} to {{}})".format(*unit_and_numbers(metric, c.effect)[1])
                for c in t.controls
            )
            said.append(f"Controls of uniform in {t.task} ({unit}): {left}.")
    return " ".join(said)


def spread_text(tables) -> str:
    """How the spread of timescales depends on the burn-in."""
    said = []
    for task in TASKS:
        for dist in ("vanilla", "uniform"):
            rows = [
                pick(tables["effects"], part="confirmation", task=task, condition=dist,
                     metric="tau_eff_spread", note=f"burn-in {wait} s")[0] for wait in (5, 20, 60)
            ]  # fmt: skip
            numbers = ", ".join(f"{r['estimate']:+.2f}" for r in rows)
            said.append(f"{task}, {dist} {numbers}")
    return "With 5, 20 and 60 s of burn-in: " + "; ".join(said) + " (in sd of ln tau_eff)."


def time_step_text(tables) -> str:
    """What a smaller time step changes."""
    rows = [r for r in tables["time_step"] if r["output_difference"]]
    accuracy = {(r["task"], r["dist"]): r["accuracy"] for r in tables["time_step"]
                if not r["output_difference"]}  # fmt: skip
    change = max(abs(r["accuracy"] - accuracy[r["task"], r["dist"]]) for r in rows)
    return (
        f"With dt/2 to dt/8, {100 * max(r['flipped'] for r in rows):.1f} % of the decisions of "
        f"trained networks flip at most, accuracy changes by {100 * change:.1f} points at most, "
        f"and outputs differ by {100 * max(r['output_difference'] for r in rows):.0f} % rms "
        "([time_step.md](time_step.md))."
    )


def seeds_of(tables, part: str) -> str:
    """The seeds of a part in words."""
    seeds = sorted({r["seed"] for r in pick(tables["runs"], part=part)})
    return f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}"


def first_run_text(tables) -> str:
    """How the first run compares, and how much of the second is done."""
    done = len({r["seed"] for r in pick(tables["runs"], part="confirmation")})
    if "first_run" not in tables:
        return ""
    tests, inside = findings(tables["claims"]), 0
    for t in tests:
        (row,) = pick(tables["first_run"], claim=t.claim.number, metric=t.metric, task=t.task,
                      dist=t.dist)  # fmt: skip
        inside += t.effect.low <= row["estimate"] <= t.effect.high
    partly = (
        f"Part 1 is being run again since the private noise is exact: **{done} of its 20 seeds so "
        "far**, so intervals are wider than in the first run, and words may change. "
        if done < 20 else ""
    )  # fmt: skip
    return partly + (
        f"{inside} of the {len(tests)} estimates of the first run (20 seeds, first_run.csv) lie in "
        "today's intervals."
    )


def page(tables, figures: list[str]) -> str:
    """The text of the page."""
    made = [part for part in PARTS if pick(tables["runs"], part=part)]
    n = len({r["key"] for r in tables["runs"]})

    def figure(name: str, text: str) -> list[str]:
        return [f"![{text}](figures/{name}.png)"] if f"{name}.png" in figures else []

    asked = {"degree": "degree", "homogeneous": "the best homogeneous network"}
    parts = [
        "# The poster's four claims: what came out",
        f"{n} runs ({seeds_of(tables, 'confirmation')}, for the table), after a "
        "[protocol](poster_claims_protocol.md), which says what each word means. Every number is "
        "in [tau_rnn/evidence](../tau_rnn/evidence). Filled: the claim. Open: controls.",
        first_run_text(tables),
        *figure("claims", "Each claim in both tasks: the effect, filled, and its controls, open, "
                "with 95 % intervals"),
        claims_table(findings(tables["claims"])),
    ]  # fmt: skip
    for number, metric, name in (
        (1, "log_mean_loss", "speed"),
        (2, "accuracy_last5", "accuracy"),
        (3, MATCHED_LOSS, "weights"),
    ):
        texts = [degree_text(tables, metric) if "degree" in made else control_text(tables, metric)]
        if "homogeneous" in made and number < 3:
            texts.append(best_text(tables, metric))
        texts += figure(f"claims_{name}", f"Claim {number}: effects and 95 % intervals")
        parts += [f"## Claim {number}", *texts]
    parts += ["## Claim 4", spread_text(tables),
              *figure("claims_spread", "Claim 4: spread, by burn-in and initial gain")]  # fmt: skip
    reach = [part for part in made if part not in ("confirmation", *asked)]
    if reach:
        parts += [
            "## How far it reaches",
            "Uniform against vanilla, filled, and with the leak rate held, open: 10 seeds unless "
            "said, no tests.",
            *figure("claims_reach", "Uniform against vanilla with one thing changed"),
        ]
    parts.append("## Limits")
    if "time_step" in tables:
        parts.append(time_step_text(tables))
    lacking = [part for part in PARTS if part not in made]
    if lacking:
        parts.append(f"Not run yet: {', '.join(lacking)}.")
    parts.append(
        "`python validation/poster_claims.py --part NAME --workers 2` makes the runs of a part "
        "(about 4 s of one core each at 400 steps and 100 units) and its rows; without arguments "
        "it writes this page from the rows."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def write_page(tables, folder: Path) -> str:
    """Draw the figures and write the page into a folder; returns its text."""
    figures = draw_all(tables, folder / "figures")
    text = page(tables, [path.name for path in figures])
    write_text(folder / "poster_claims.md", text)
    return text
