"""The page poster_claims.md: two screens, every number from the tables."""

from __future__ import annotations

from pathlib import Path

from _evidence_figures import draw_all
from _evidence_runs import PARTS, TASKS

from tau_rnn.experiment.claims_data import effect_of, findings, pick
from tau_rnn.experiment.files import write_text
from tau_rnn.experiment.reading import size
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


def page(tables, figures: list[str]) -> str:
    """The text of the page."""
    runs, tests = tables["runs"], findings(tables["claims"])
    made = [part for part in PARTS if pick(runs, part=part)]
    n = len({r["key"] for r in runs})

    def figure(name: str, text: str) -> list[str]:
        return [f"![{text}](figures/{name}.png)"] if f"{name}.png" in figures else []

    parts = [
        "# The poster's four claims: what came out",
        f"{n} runs, 20 seeds a condition in parts 1 and 2 A, B, 10 elsewhere; "
        "[protocol](poster_claims_protocol.md) first, every number in "
        "[tau_rnn/evidence](../tau_rnn/evidence).",
        *figure("claims", "Each claim in both tasks: effects, filled, and controls, open, with "
                "95 % intervals"),
        claims_table(tests),
    ]  # fmt: skip
    if "degree" in made:
        parts += ["## Claim 1", degree_text(tables, "log_mean_loss")]
    if "homogeneous" in made:
        parts += [best_text(tables, "log_mean_loss"), *figure("claims_speed", "Mean loss")]
        parts += ["## Claim 2", degree_text(tables, "accuracy_last5")]
        parts += [best_text(tables, "accuracy_last5"), *figure("claims_accuracy", "Accuracy")]
    if "degree" in made:
        parts += ["## Claim 3", degree_text(tables, MATCHED_LOSS),
                  *figure("claims_weights", "Change of W")]  # fmt: skip
    parts += ["## Claim 4", *figure("claims_spread", "Spread of effective timescales")]
    return "\n\n".join(parts) + "\n"


def write_page(tables, folder: Path) -> str:
    """Draw the figures and write the page into a folder; returns its text."""
    figures = draw_all(tables, folder / "figures")
    text = page(tables, [path.name for path in figures])
    write_text(folder / "poster_claims.md", text)
    return text
