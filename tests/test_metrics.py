"""Metrics: each is declared once, and that reaches the run, its table, the report and --help."""

import json
from pathlib import Path

import numpy as np
import pytest

from tau_rnn.cli.options import build_parser
from tau_rnn.experiment import RunConfig, effects, metrics, outcome, report, run_one
from tau_rnn.experiment.claims import CLAIMS
from tau_rnn.experiment.effects import BETWEEN, WITHIN
from tau_rnn.experiment.metrics import METRICS, TABLE, Metric, metric
from tau_rnn.measures.run import PARTS
from tau_rnn.plotting.effects import FOREST

pytestmark = pytest.mark.usefixtures("few_measures")

TINY = RunConfig(units=6, steps=4, batch=4, dt=0.1, test_trials=20, eval_every=2, burn_in=1.0)
PINNED = json.loads((Path(__file__).parent / "data" / "pinned_runs.json").read_text())


@pytest.fixture(scope="module")
def whole():
    return run_one(TINY, PARTS)


def declared(key) -> list[Metric]:
    return [row for row in METRICS if metrics._words(row.key, key) is not None]


def test_every_metric_of_a_run_is_declared(whole):
    for key in whole.metrics:
        assert declared(key), key
        row = metric(key)
        assert row.label and row.text and "<" not in row.label + row.text, key


def test_every_declaration_is_of_something(whole):
    keys = {row.key for key in whole.metrics for row in declared(key)[:1]}
    other = {"value_accuracy", "evidence_rmse", "value_rmse"}  # scores of the other task
    compared = {row.key for row in METRICS if row.change}
    compared |= {"weight_change_at_matched_loss", "tau_eff_spread_of_short"}
    assert keys | other | compared == {row.key for row in METRICS}
    assert not keys & compared


def test_no_key_label_or_text_stands_twice():
    for field in ("key", "label"):
        values = [getattr(row, field) for row in METRICS]
        assert len(set(values)) == len(values)


def test_no_number_is_stored_twice():
    # Metrics that agree in all four runs are one metric under two names.
    columns = {}
    for key in PINNED["adam"]["metrics"]:
        values = [run["metrics"].get(key) for run in PINNED.values()]
        numbers = [v for v in values if isinstance(v, float) and v not in (0, 1)]
        if len(numbers) > 2:
            columns[key] = [np.nan if v is None else v for v in values]
    names = list(columns)
    twins = [
        (a, b)
        for k, a in enumerate(names)
        for b in names[k + 1 :]
        if np.allclose(columns[a], columns[b], rtol=1e-9, equal_nan=True)
    ]
    assert twins == []


def test_what_refers_to_a_metric_finds_it():
    keys = {key for row in METRICS for key in row.keys}
    for name in (*BETWEEN, *FOREST, *report.SHOWN, *report.CHANGED, *report.TIMESCALES):
        assert name in keys
    assert {key for claim in CLAIMS for key in claim.metrics} <= keys
    assert set(TABLE) <= {row.key for row in METRICS}
    for row, after, before in WITHIN:
        assert {after, before} <= keys and row.change == (after, before)
    for claim in CLAIMS:  # a claim says that something is better, or changes in a direction
        assert {metric(key).better for key in claim.metrics} <= {claim.sign, 0}


def test_a_metric_is_one_row(monkeypatch):
    row = Metric(
        "largest_weight_<when>", "largest weight", "largest |W_ij|", decimals=2, scale="ratio",
        value=lambda run, when: float(np.abs(run.setup.initial.W).max()) + (when == "after"),
        compared=True,
    )  # fmt: skip
    measured = Metric(
        "second_direction", "second direction", "second singular value of dW", decimals=2,
        measured=("spectrum", lambda spectrum: spectrum.singular_values[1]), compared=True,
    )  # fmt: skip
    for module in (metrics, outcome):
        monkeypatch.setattr(module, "METRICS", (row, measured, *METRICS))
    monkeypatch.setattr(outcome, "TABLE", (*TABLE, row.key, measured.key))
    monkeypatch.setattr(effects, "BETWEEN", (*row.keys, measured.key, *BETWEEN))
    pairs = [(dist, seed) for dist in ("vanilla", "uniform") for seed in (0, 1)]
    results = [run_one(TINY.replace(dist=dist, seed=seed)) for dist, seed in pairs]
    first = results[0]
    largest = np.abs(first.initial.W).max()
    assert first.metrics["largest_weight_before"] == pytest.approx(largest)
    assert f"largest weight  {largest:>18.2f}  {largest + 1:>8.2f}".split() in [
        line.split() for line in first.table.splitlines()
    ]
    second = first.metrics["second_direction"]
    assert second == float(first.measures.spectrum.singular_values[1])
    assert f"second direction - {second:.2f}".split() in [
        line.split() for line in first.table.splitlines()
    ]
    assert "largest weight" in first._repr_html_() and "largest |W_ij|" in first._repr_html_()
    compared = [r for r in effects.effects(results) if r.metric == "largest_weight_after"]
    assert [(r.condition, r.unit) for r in compared] == [("uniform", "ln")]
    assert any(r.metric == "second_direction" for r in effects.effects(results))
    text = report.level_table(results, TINY.task, ("largest_weight_before", "second_direction"))
    assert "largest weight, before" in text and "second direction" in text


@pytest.mark.parametrize(
    "key, a, b, difference, shown, unit",
    [
        ("loss", 2.0, 1.0, np.log(2), 100, "%"),
        ("log_mean_loss", -1.0, -1.5, 0.5, 100 * np.expm1(0.5), "%"),
        ("accuracy", 0.75, 0.5, 0.25, 25, "percentage points"),
        ("tau_eff_spread", 0.75, 0.5, 0.25, 0.25, "in sd of ln tau_eff"),
        ("loss", None, 1.0, np.nan, np.nan, "%"),
        ("loss", 0.0, 1.0, np.nan, np.nan, "%"),
        ("accuracy", 0.5, None, np.nan, np.nan, "percentage points"),
    ],
)
def test_differences_are_those_of_the_scale(key, a, b, difference, shown, unit):
    row = metric(key)
    assert row.difference(a, b) == pytest.approx(difference, rel=1e-12, nan_ok=True)
    assert row.shown(difference) == pytest.approx(shown, rel=1e-12, nan_ok=True)
    assert row.shown_unit == unit


def test_a_score_of_ones_own_task_is_named_by_its_key():
    assert metric("hit_rate").label == "hit rate" and metric("hit_rate").scale == "difference"
    assert metric("left_accuracy").scale == "points" and metric("left_accuracy").better == 1


def test_headings_say_when():
    assert metric("tau_eff_sd_log_after").heading == "effective timescale, sd of ln, after"
    assert metric("log_mean_loss").heading == "ln mean loss over training"
    assert metric("decode_slow_pulse_sum_delay").label == "R^2 of pulse_sum, slow units, delay"


def test_the_representation_of_a_result_is_short(whole):
    assert repr(whole) == (
        "RunResult(multi_timescale, tau ~ normal, seed 0: accuracy "
        f"{whole.metrics['accuracy']:.3f} after 4 steps, {len(whole.metrics)} metrics)"
    )
    html = whole._repr_html_()
    assert html.startswith("<table><caption>multi_timescale, tau ~ normal, seed 0</caption>")
    assert html.count("<tr>") == len(whole.table.splitlines())
    assert f"<td>{whole.history[0]['loss']:.3f}</td><td>{whole.metrics['loss']:.3f}</td>" in html


def test_help_explains_the_table(whole):
    words = " ".join(build_parser().format_help().split())
    for row, _, _ in outcome.table_rows(whole.metrics, whole.history):
        assert row.label in words
