"""The page poster_claims.md: two screens, every number from the tables."""

from __future__ import annotations

from pathlib import Path

from _evidence_effects import CLAIMED
from _evidence_figures import REACH, draw_all, reach_rows
from _evidence_runs import PARTS, TASKS
from _evidence_untrained import FAST, TESTED
from _evidence_untrained import PART as UNTRAINED

from tau_rnn.experiment.claims import CLAIMS, LEVEL, effect_of, findings, on_side, pick
from tau_rnn.experiment.conditions import POSTER
from tau_rnn.experiment.effects import number, size
from tau_rnn.experiment.files import write_text
from tau_rnn.experiment.metrics import Metric, metric
from tau_rnn.experiment.report import claims_table, grid


def cost(tables) -> str:
    """What the runs took, in words."""
    seconds = {r["key"]: r["seconds"] for r in tables["runs"] if r["seconds"] is not None}
    return f"{sum(seconds.values()) / 3600:.1f} core hours in all"


def shown(row, quantity: Metric | None = None) -> str:
    """The effect in a row with its interval, in words."""
    text = size(quantity or row["metric"], effect_of(row))
    return text.replace("percentage points", "points").replace("in sd of ln tau_eff ", "")


def is_shown(row, sign: int) -> bool:
    """Whether an effect is there after Holm's correction, with the sign that is claimed."""
    p = row["p_holm"]  # None: too few pairs
    return p is not None and p < LEVEL and row["estimate"] * sign > 0


# --- per claim -----------------------------------------------------------------------------------


def slope(tables, task: str, metric: str, held: bool = False):
    """A row of the slopes over h."""
    name = "uniform on 1 +- h" + (", leak rate held" if held else "")
    (row,) = pick(tables["effects"], task=task, metric=metric, kind="slope", condition=name)
    return row


def degree_word(plain, held) -> str:
    """One word for the slopes of a measure in a task, as the protocol says."""
    there = [is_shown(row, CLAIMED[row["metric"]]) for row in (plain, held)]
    return "open" if not there[0] else "shown" if there[1] else "confounded"


def degree_text(tables, task: str, metric: str, name: str) -> str:
    """What the slope of a measure is in a task."""
    rows = [slope(tables, task, metric), slope(tables, task, metric, held=True)]
    plain, held = map(shown, rows)
    return f"{name} {plain} **{degree_word(*rows)}**; held, {held}."


def monotone_text(tables) -> str:
    """Whether the slopes that are shown are those of measures that are monotone in h."""
    rows = [r for r in pick(tables["effects"], kind="slope")
            if is_shown(r, CLAIMED[r["metric"]])]  # fmt: skip
    bent = [f"{r['metric']} in {r['task']}" for r in rows if r["note"] != "monotone"]
    return "Slopes shown are monotone" + (f", but {', '.join(bent)}." if bent else ".")


def best_text(tables, task: str, key: str) -> str:
    """How the diverse networks compare with the best homogeneous one in a task."""
    came: dict[str, list[str]] = {}
    for dist in POSTER[1:]:
        (row,) = pick(tables["effects"], task=task, metric=key, condition=dist,
                      kind="best, other seeds")  # fmt: skip
        sign = metric(key).better
        word = "better" if is_shown(row, sign) else "worse" if is_shown(row, -sign) else "open"
        if dist == "uniform":
            lead, numbers = word, f"{shown(row)}, **{word}**"
            chosen = row["note"]
            if " and " in chosen:  # the halves of the seeds chose differently
                chosen = f"{chosen.replace(' and ', ' or ')}, half the seeds each"
        else:
            came.setdefault(word, []).append(dist)
    others = ", ".join(
        f"{' and '.join(dists)} {'likewise' if word == lead else word}"
        for word, dists in came.items()
    )
    return f"Uniform against the best homogeneous ({chosen}): {numbers}; {others}."


def claim_text(tables, claim, made: list[str]) -> str:
    """What was found on a claim beyond its tests: a line for each task."""
    if claim.number == 4:
        return spread_text(tables)
    if "degree" not in made:
        return ""
    names = ["Per unit h"] if claim.number < 3 else ["Last step", "Same loss"]
    lines = []
    for task in TASKS:
        said = [degree_text(tables, task, m, n) for m, n in zip(claim.metrics, names)]
        if claim.number < 3 and "homogeneous" in made:
            said.append(best_text(tables, task, claim.metrics[0]))
        if claim.number == 2 and "homogeneous" in made:
            (row,) = pick(tables["effects"], task=task, metric="loss_last5", condition="uniform",
                          kind="best, other seeds")  # fmt: skip
            said[-1] = f"{said[-1][:-1]}; loss at the end {shown(row)}."
        lines.append(f"- {task}: {' '.join(said)}")
    intro = ["Tau is uniform on 1 - h to 1 + h s; held: rescaled to vanilla's leak "
             f"rate. {monotone_text(tables)}"] if claim.number == 1 else []  # fmt: skip
    return "\n\n".join([*intro, "\n".join(lines)])


def spread_text(tables) -> str:
    """How the spread of timescales depends on how it is measured."""
    task, said = TASKS[0], []
    for dist in ("vanilla", "uniform"):
        (row,) = pick(tables["effects"], part="confirmation", task=task, condition=dist,
                      metric="tau_eff_spread", note="burn-in 60 s, longest left out")  # fmt: skip
        said.append(f"{dist} {shown(row)}")
    return (
        f"The poster speaks of {task} alone. There, after a burn-in of 60 s and without the "
        f"longest timescales: {', '.join(said)}.{reversed_text(tables)}"
    )


def reversed_text(tables) -> str:
    """Where a control turns the change of the spread around."""
    found: dict[str, list[str]] = {}
    for t in findings(tables["claims"]):
        for control in t.controls:
            if t.claim.number == 4 and on_side(-1, control.effect):
                found.setdefault(f"{t.task}, {control.name}", []).append(t.dist)
    return "".join(f" {where}: {' and '.join(dists)} below 0." for where, dists in found.items())


# --- beyond the claims ---------------------------------------------------------------------------


def untrained_text(tables) -> str:
    """Whether diverse networks are closer to a solution before training."""
    said = []
    for task in TASKS:
        each = []
        for quantity in TESTED:
            rows = pick(tables["effects"], part=UNTRAINED, task=task, metric=quantity.key)
            plain, *held = rows[:3]  # rescaled, and against the homogeneous network
            left = [on_side(-1, effect_of(row)) for row in held]
            word = ("farther" if is_shown(plain, 1) else "open" if not is_shown(plain, -1)
                    else "shown" if all(left) else "partly" if any(left)
                    else "confounded")  # fmt: skip
            each.append(f"{shown(plain, quantity)} **{word}**")
        said.append(f"{task}: {', '.join(each)}.")
    return (
        "The poster says: diverse networks start closer to the dynamics needed. Uniform minus "
        "vanilla (less is closer): loss of the best linear readout; least change "
        "of W, to first order, that leaves 30 % of the squared error; 10 %. "
        f"{' '.join(said)}\n\n{modes_text(tables)}"
    )


def modes_text(tables) -> str:
    """How many more slow modes diverse networks have; numbers, for the protocol has no word."""
    said = []
    for task in TASKS:
        rows = pick(tables["effects"], part=UNTRAINED, task=task, metric="slow_modes")
        each = (f"{row['estimate']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f})"
                for row in rows[:3])  # fmt: skip
        said.append(f"{task}: {', '.join(each)}.")
    return (
        "Modes that outlast the longest delay (more is closer), uniform minus vanilla; "
        f"held; minus {FAST}. {' '.join(said)}"
    )


def reach_text(tables, made: list[str]) -> str:
    """In how many settings an effect is there, and what some of them say."""
    parts = ["[Table](poster_claims_settings.md): one thing changed at a time, 10 seeds, no tests."]
    said = []
    for task in TASKS:
        counts = []
        for held in (False, True):
            found = [row for part, steps, _ in REACH for row in
                     reach_rows(tables, task, part, steps, "log_mean_loss", held)]  # fmt: skip
            below = sum(on_side(-1, effect_of(row)) for row in found)
            counts.append(below)
        said.append(f"{task} {counts[0]} of {len(found)} rows, held {counts[1]}")
    parts.append(f"Intervals of uniform's mean loss below 0: {'; '.join(said)}.")
    last = [reach_rows(tables, task, "lasting", 1600, "loss_last5", False) for task in TASKS]
    if all(last):
        each = (f"{task} {shown(row)}" for task, (row,) in zip(TASKS, last))
        parts.append(f"Loss at the end of 1,600 steps: {', '.join(each)}.")
    if "harder" in made:
        (plain,), (held,) = (reach_rows(tables, TASKS[0], "harder", 400, "accuracy_last5", h)
                             for h in (False, True))  # fmt: skip
        level = pick(tables["conditions"], part="harder", metric="accuracy_last5",
                     condition="vanilla")[0]  # fmt: skip
        parts.append(f"Without a ceiling (harder {TASKS[0]}, vanilla at {level['estimate']:.2f}): "
                     f"accuracy {shown(plain)}, held {shown(held)}.")  # fmt: skip
    return " ".join(parts)


def settings_page(tables) -> str:
    """Signs and sizes of uniform's effects in every setting, as Markdown."""
    metrics = ("log_mean_loss", "accuracy_last5", "weight_change_at_matched_loss")
    parts = [
        "# The poster's claims in other settings",
        "Uniform minus vanilla with one setting changed at a time, 95 % intervals, 10 seeds (20 in "
        "the first line, 3000 to 3019; the table of poster_claims.md has 2000 to 2019), no tests. "
        "Held: tau rescaled to vanilla's mean leak rate. Bold: the interval excludes 0. Drawn in "
        "the [page of the claims](poster_claims.md#how-far-it-reaches); "
        "`python validation/poster_claims.py` writes both.",
    ]
    for task in TASKS:
        lines = []
        for part, steps, name in REACH:
            found = [reach_rows(tables, task, part, steps, key, held)
                     for key in metrics for held in (False, True)]  # fmt: skip
            if all(found):
                (level,) = (
                    row for row in pick(tables["conditions"], part=part, steps=steps,
                                        metric="accuracy_last5")
                    if row["task"].startswith(task) and row["condition"].startswith("vanilla")
                )  # fmt: skip
                lines.append([name, f"{level['estimate']:.2f}",
                              *(bold_off_zero(row) for (row,) in found)])  # fmt: skip
        names = "mean loss", "accuracy, points", "change of W, same loss"
        head = [f"{name}{held}" for name in names for held in ("", ", held")]
        parts += [f"## {task}", grid(["setting", "accuracy of vanilla", *head], lines)]
    if pick(tables["conditions"], part="tau-trained"):
        parts.append(trained_tau_text(tables))
    return "\n\n".join(parts) + "\n"


def bold_off_zero(row) -> str:
    """An effect with its interval, bold where that excludes 0."""
    text = shown(row)
    if "0.0" in text.strip(")").replace("(", "").split():  # one that rounds to zero: more decimals
        quantity = metric(row["metric"])
        values = (quantity.shown(v) for v in effect_of(row)[:3])
        middle, low, high = (number(v, 2, signed=True) for v in values)
        text = f"{middle} {quantity.shown_unit} ({low} to {high})"
    text = text.replace(" percentage points", "").replace(" points", "")
    return f"**{text}**" if row["low"] > 0 or row["high"] < 0 else text


def trained_tau_text(tables) -> str:
    """What time constants look like that are trained as well."""
    spread = []
    for task in TASKS:
        rows = pick(tables["conditions"], part="tau-trained", task=task, metric="tau_sd")
        (row,) = (r for r in rows if r["condition"].startswith("vanilla"))
        spread.append(f"{row['estimate']:.2f} s ({task})")
    return f"Trained tau, at first 1 s, get an sd of {' and '.join(spread)}."


def time_step_text(tables) -> str:
    """What a smaller time step changes."""
    rows = [r for r in tables["time_step"] if r["output_difference"]]
    accuracy = {(r["task"], r["dist"]): r["accuracy"] for r in tables["time_step"]
                if not r["output_difference"]}  # fmt: skip
    change = max(abs(r["accuracy"] - accuracy[r["task"], r["dist"]]) for r in rows)
    return (
        f"With [smaller time steps](time_step.md), accuracy changes by at most "
        f"{100 * change:.1f} points, correctness in {100 * max(r['flipped'] for r in rows):.1f} % "
        "of trials."
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
    partly = f" **{done} of its 20 seeds so far.**" if done < 20 else ""
    return (
        f"Part 1 was run twice, now with exact private noise:{partly} {inside} of {len(tests)} "
        "first estimates lie in today's intervals."
    )


def page(tables, figures: list[str]) -> str:
    """The text of the page."""
    made = [part for part in (*PARTS, UNTRAINED) if pick(tables["effects"], part=part)]
    n = len({r["key"] for r in tables["runs"]})

    def figure(name: str, text: str) -> list[str]:
        return [f"![{text}](figures/{name}.png)"] if f"{name}.png" in figures else []

    parts = [
        "# The poster's four claims: what came out",
        f"{n:,} runs (table: {seeds_of(tables, 'confirmation')}), after a "
        "[protocol](poster_claims_protocol.md) that says what each word means. The words allow for "
        "the number of tests; the intervals do not. All numbers: "
        "[tau_rnn/evidence](../tau_rnn/evidence).",
        first_run_text(tables),
        *figure("claims", "Claims: effects and controls"),
        claims_table(findings(tables["claims"])),
    ]  # fmt: skip
    for claim, name in zip(CLAIMS, ("speed", "accuracy", "weights", "spread")):
        title = f"{claim.short[0].upper()}{claim.short[1:]}"
        parts += [f"## {claim.number}. {title}", claim_text(tables, claim, made)]
        parts += figure(f"claims_{name}", f"Claim {claim.number}")
    if UNTRAINED in made:
        parts += ["## Closer before training?", untrained_text(tables),
                  *figure("claims_untrained", "Before training")]  # fmt: skip
    if "claims_reach.png" in figures:
        parts += ["## How far it reaches", reach_text(tables, made),
                  *figure("claims_reach", "One thing changed")]  # fmt: skip
    if "structure" in tables:
        parts += ["## What else", "[Low rank, Dale's law, a hierarchy, two populations]"
                  "(structure.md)."]  # fmt: skip
    parts.append("## Limits")
    if "time_step" in tables:
        parts.append(time_step_text(tables))
    lacking = [part for part in (*PARTS, UNTRAINED) if part not in made]
    if lacking:
        parts.append(f"Not run yet: {', '.join(lacking)}.")
    parts.append(
        "`python validation/poster_claims.py` writes this page; `--part NAME` makes a "
        f"part's runs ({cost(tables)})."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def write_page(tables, folder: Path) -> str:
    """Draw the figures and write the page into a folder; returns its text."""
    figures = draw_all(tables, folder / "figures")
    text = page(tables, [path.name for path in figures])
    write_text(folder / "poster_claims.md", text)
    write_text(folder / "poster_claims_settings.md", settings_page(tables))
    return text
