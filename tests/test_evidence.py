"""The evidence: the tables say what the page, README and chapter 8 quote, and how they are made."""

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tau_rnn.experiment import RunConfig, load_claims
from tau_rnn.experiment.claims import CLAIMS, effect_of, findings, pick, word
from tau_rnn.experiment.statistics import paired_t

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "validation"))

import _evidence_effects as made  # noqa: E402
import _evidence_runs as runs  # noqa: E402
import _evidence_untrained as before  # noqa: E402
import time_step  # noqa: E402
from _evidence_csv import refresh  # noqa: E402
from _evidence_page import page, settings_page  # noqa: E402

BASE = RunConfig(burn_in=5.0)


@pytest.fixture(scope="module")
def tables():
    return load_claims()


def test_the_tables_are_there_by_name_and_hold_numbers(tables):
    assert {"claims", "effects", "conditions", "runs"} <= set(tables)
    for name, rows in tables.items():
        assert rows, name
        assert all(row.keys() == rows[0].keys() for row in rows)
    run = tables["runs"][0]
    assert isinstance(run["seed"], int) and isinstance(run["log_mean_loss"], float)
    assert isinstance(run["key"], str) and len(run["key"]) == 12


def test_the_confirmation_is_that_of_the_protocol(tables):
    tests = findings(tables["claims"])
    assert len(tests) == sum(len(c.metrics) * len(c.dists) for c in CLAIMS) * 2 == 28
    assert len(pick(tables["runs"], part="confirmation")) % 34 == 0  # whole seeds
    assert all(len(t.controls) == (4 if t.claim.number == 4 else 3) for t in tests)
    rows = pick(tables["claims"], role="claim")
    assert [row["word"] for row in rows] == [word(t.verdict) for t in tests]


def test_effects_follow_from_the_runs(tables):
    """The table of effects again, from the table of runs."""
    for task in runs.TASKS:
        some = pick(tables["runs"], part="confirmation", task=task, rescale_tau="none",
                    lr_scale="none", gain=0.8)  # fmt: skip
        for metric, ratio in (("log_mean_loss", False), ("weight_change", True)):
            a, b = (
                {r["seed"]: r[metric] for r in pick(some, dist=d)} for d in ("uniform", "vanilla")
            )
            d = [math.log(a[s] / b[s]) if ratio else a[s] - b[s] for s in a]
            (row,) = pick(tables["effects"], part="confirmation", task=task, condition="uniform",
                          reference="vanilla", metric=metric)  # fmt: skip
            assert effect_of(row)[:3] == pytest.approx(paired_t(d)[:3], abs=2e-5)  # six digits


def test_slopes_follow_from_the_runs(tables):
    for task in runs.TASKS:
        for held, name in (("none", ""), ("harmonic", ", leak rate held")):
            values = []
            for h in runs.DEGREES:
                some = pick(tables["runs"], part="degree", task=task,
                            dist=runs.spread_around_1(h),
                            rescale_tau="none" if h == 0 else held)  # fmt: skip
                values.append([r["log_mean_loss"] for r in sorted(some, key=lambda r: r["seed"])])
            slopes = np.polyfit(runs.DEGREES, np.array(values), 1)[0]
            (row,) = pick(tables["effects"], kind="slope", task=task, metric="log_mean_loss",
                          condition=f"uniform on 1 +- h{name}")  # fmt: skip
            assert len(slopes) == row["n"] == 20
            assert effect_of(row)[:3] == pytest.approx(paired_t(slopes)[:3], abs=2e-5)


def done(config, loss, steps=400):
    """A run whose loss is constant: a stored one without a store."""
    row = {"loss": loss, "accuracy": 0.5, "weight_change": loss}
    history = [{"step": step, **row} for step in (0, steps)]
    return runs.Done(config, steps, runs.reached(history, 0.9), history)


def test_what_a_run_reached():
    history = [
        {"step": s, "loss": loss, "accuracy": 1 - loss, "weight_change": s / 10}
        for s, loss in ((0, 0.5), (10, 0.3), (20, 0.05))
    ]
    found = runs.reached(history, 0.9)
    assert found["log_mean_loss"] == pytest.approx(math.log((0.4 + 0.175) / 2))
    assert found["steps_to_criterion"] == 20
    assert found["weight_change"] == 2
    assert found["loss_last5"] == pytest.approx(0.85 / 3)
    assert runs.reached(history[:2], 0.9)["steps_to_criterion"] is None


def test_a_slope_is_that_of_each_seed():
    """ln mean loss falls by 0.2 + 0.01 seed per unit h, and by nothing with the leak rate held."""
    plan = runs.FULL._replace(new_seeds=range(6))
    some = []
    for config in runs.degree(plan):
        h = next(h for h in runs.DEGREES if runs.spread_around_1(h) == config.dist)
        slope = -0.2 - 0.01 * config.seed if config.rescale_tau == "none" else 0.0
        some.append(done(config, math.exp(slope * h)))
    rows = made.slopes(plan, some)
    for task in runs.TASKS:
        plain, held = (r for r in rows if r["kind"] == "slope" and r["task"] == task
                       and r["metric"] == "log_mean_loss")  # fmt: skip
        assert plain["estimate"] == pytest.approx(-0.225)
        assert plain["note"] == "monotone" and held["note"] == "not monotone"
        assert held["estimate"] == pytest.approx(0, abs=1e-12)
    assert len([r for r in rows if r["p_holm"] is not None]) == 16


def test_the_best_homogeneous_network_is_chosen_on_other_seeds():
    """In the first half of the seeds 0.61 s is best, in the second 1.3 s; elsewhere loss is 1."""
    plan = runs.FULL._replace(new_seeds=range(4))
    best = {0: "constant:0.61", 1: "constant:0.61", 2: "constant:1.3", 3: "constant:1.3"}
    some = [
        done(c, 0.5 if c.dist == best[c.seed] else 0.8 if c.dist == "uniform" else 1.0)
        for c in runs.homogeneous(plan)
    ]
    rows = pick(made.against_best(plan, some), task=runs.TASKS[0], metric="loss_last5",
                condition="uniform")  # fmt: skip
    other, same = rows
    # Chosen on the first half: 0.61 s, which is no better than any other in the second.
    assert other["kind"] == "best, other seeds" and other["note"] == "tau 1.3 and 0.61 s"
    assert other["estimate"] == pytest.approx(math.log(0.8))
    # Chosen on all seeds: 0.61 s, best in half of them.
    assert same["estimate"] == pytest.approx(math.log(0.8) - math.log(0.5) / 2)
    assert same["p_holm"] is None and other["p_holm"] is not None


def test_untrained_networks_are_compared_in_pairs():
    """Uniform is 0.1 + 0.01 seed nearer than vanilla (in ln), and as near as the fast one."""
    plan = runs.FULL._replace(new_seeds=range(5))
    rows = []
    for config in before.networks(plan):
        nearer = 0.1 + 0.01 * config.seed if config.dist != "vanilla" else 0.0
        distance = math.exp(1 + config.seed - nearer)
        row = {k: getattr(config, k) for k in ("key", "task", "dist", "rescale_tau", "seed")}
        keys = (*(quantity.key for quantity in before.COMPARED), "reach", "untrained_loss")
        rows.append({**row, **dict.fromkeys(keys, 2.0),
                     before.DISTANCES[0]: math.inf if config.seed == 0 else distance})  # fmt: skip
    differences = before.differences(plan, rows)
    table = pick(differences, metric=before.DISTANCES[0], task=runs.TASKS[1])
    plain, rescaled, matched, fast = table
    assert (plain["n"], plain["missing"]) == (4, 1)  # seed 0 has no distance
    assert plain["estimate"] == pytest.approx(-0.125) == rescaled["estimate"] == fast["estimate"]
    assert (matched["condition"], matched["reference"]) == ("uniform", "constant:0.61")
    assert matched["estimate"] == pytest.approx(0, abs=1e-12)
    tested = [r for r in differences if r["p_holm"] is not None]
    assert len(tested) == 6 and {r["condition"] for r in tested} == {"uniform"}
    levels = before.levels(plan, rows)
    assert {r["estimate"] for r in levels if r["metric"] == "slow_modes"} == {2.0}


def test_pairs_without_a_partner_are_missing():
    some = [done(BASE.replace(dist=d, seed=s), 1 + s + (d == "uniform"))
            for d in ("vanilla", "uniform") for s in range(4)]  # fmt: skip
    table, _ = made.between("a", some[:-1])
    (row,) = pick(table, metric="loss_last5")
    assert (row["n"], row["missing"]) == (3, 1)
    expected = np.mean([math.log((2 + s) / (1 + s)) for s in range(3)])
    assert row["estimate"] == pytest.approx(expected)


def test_a_part_replaces_its_rows_and_no_others(tmp_path):
    path = tmp_path / "runs.csv"
    refresh(path, "b", [{"part": "b", "x": 1.0}], ["a", "b"])
    refresh(path, "b", [{"part": "b", "x": 0.123456789}], ["a", "b"])
    refresh(path, "a", [{"part": "a", "x": None, "y": 2}], ["a", "b"])
    assert path.read_text() == "part,x,y\na,,2\nb,0.123457,\n"


def test_long_runs_are_looked_at_on_the_way():
    parts = {name: make(runs.FULL) for name, make in runs.PARTS.items()}
    sizes = {name: len(configs) for name, configs in parts.items()}
    assert (sizes["confirmation"], sizes["degree"], sizes["homogeneous"]) == (680, 280, 400)
    assert {c.steps for c in parts["lasting"]} == {1600}
    shared = set(parts["homogeneous"]) & set(parts["degree"])
    assert {c.dist for c in shared} == {"vanilla", "uniform"}


def test_a_refined_path_is_the_same_path():
    rng = np.random.default_rng(0)
    xi = rng.standard_normal((50, 40, 10))
    fine = time_step.refined(xi, 8, rng)
    np.testing.assert_allclose(time_step.coarser(fine, 8), xi, rtol=1e-12, atol=1e-12)
    # Variance 1 and no correlation between small steps: 160000 draws, 5 standard errors.
    assert abs(fine.var() - 1) < 5 * math.sqrt(2 / fine.size)
    assert abs(np.mean(fine[1:] * fine[:-1])) < 5 / math.sqrt(fine.size)


def test_the_page_of_the_time_step_is_what_its_table_says(tables):
    text = (ROOT / "validation" / "time_step.md").read_text(encoding="utf-8")
    assert time_step.page(tables["time_step"]) == text


def test_the_page_is_two_screens():
    text = (ROOT / "validation" / "poster_claims.md").read_text(encoding="utf-8")
    assert 0 < len(text.split()) <= 900


def test_the_page_is_what_the_tables_say(tables):
    folder = ROOT / "validation"
    figures = [path.name for path in (folder / "figures").glob("claims*.png")]
    assert page(tables, figures) == (folder / "poster_claims.md").read_text(encoding="utf-8")
    settings = (folder / "poster_claims_settings.md").read_text(encoding="utf-8")
    assert settings_page(tables) == settings
    (row,) = pick(tables["effects"], part="units-200", task="multi_timescale", kind="vanilla",
                  condition="uniform", metric="accuracy_last5")  # fmt: skip
    accuracy = "{estimate:+.1f} ({low:+.1f} to {high:+.1f})".format_map(
        {key: 100 * row[key] for key in ("estimate", "low", "high")}
    )
    (line, _) = (line for line in settings.splitlines() if line.startswith("| 200 units"))
    assert accuracy in line


def test_every_result_in_the_readme_is_that_of_the_tables(tables):
    """Each number where it stands in its sentence, and no number besides."""
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    results = text.partition("This is what came out")[2].partition("On a cluster")[0]
    multi, both = runs.TASKS
    ours, best = "vanilla", "best homogeneous, other seeds"
    quotes = (
        ("lowers the loss over training by {} % in `multi_timescale`", multi, "uniform", ours, 1),
        ("and by {} % in `integrate_and_remember`, and the wider", both, "uniform", ours, 1),
        ("the loss over training is {} % higher with uniform tau", multi, "uniform", best, 1),
        ("and uniform is {} % below the best homogeneous", both, "uniform", best, 1),
        ("in `integrate_and_remember` accuracy rises by {} points (uniform) and", both,
         "uniform", ours, 2),
        ("and {} points (bimodal", both, "bimodal", ours, 2),
        ("by {} points (uniform) even against the best", both, "uniform", best, 2),
        ("a harder version of that task uniform gains {} points",
         runs.RunConfig(task=runs.HARDER).task, "uniform", ours, 2),
    )  # fmt: skip
    said = []
    for sentence, task, dist, reference, claim in quotes:
        (metric,) = CLAIMS[claim - 1].metrics
        some = pick(tables["effects"], task=task, condition=dist, metric=metric)
        row = next(r for r in some if r["reference"] == reference)
        value = math.expm1(row["estimate"]) if claim == 1 else row["estimate"]
        said.append(f"{abs(100 * value):.1f}")
        assert sentence.format(said[-1]) in results
    (row,) = pick(tables["effects"], task=multi, condition="uniform", reference=best,
                  metric="log_mean_loss")  # fmt: skip
    assert row["note"] == "tau 0.4 s, end of the grid"
    assert sorted(re.findall(r"\d+\.\d+", results)) == sorted([*said, "0.4"])
