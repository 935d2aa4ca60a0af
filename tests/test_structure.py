"""Part 3 of the protocol: its rows follow from its runs, and its runs are those of the protocol."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from tau_rnn.experiment import load_claims
from tau_rnn.experiment.claims import pick
from tau_rnn.experiment.run import set_up
from tau_rnn.experiment.statistics import paired_t

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "validation"))

import structure


def test_the_runs_are_those_of_the_protocol():
    counts = {part: sum(map(len, structure.configs(part, structure.FULL, structure.SEEDS).values()))
              for part in structure.CONDITIONS}  # fmt: skip
    assert counts == {"hierarchy": 30, "populations": 20, "rank": 60, "signs": 60}  # 20 are shared


def test_tau_rises_or_falls_over_the_blocks_of_the_connectivity():
    for name, taus in structure.BLOCKS.items():
        (config,) = structure.configs("hierarchy", structure.TINY, [0])[name]
        setup = set_up(config)
        first, last = setup.connectivity.W_in[:, 0], setup.connectivity.W_out[0]
        assert set(setup.initial.tau[first]) == {np.float32(taus[0])}
        assert set(setup.initial.tau[last]) == {np.float32(taus[-1])}
        middle = setup.initial.tau[~first & ~last]
        assert len(middle) == 3 and set(middle) == {np.float32(taus[1])}


def test_the_level_of_a_block_is_the_mean_of_ln_tau_over_its_units_that_have_one():
    units = {"tau_eff_after": np.array([1, 2, 3, math.nan, 100, 100.0, math.nan]),
             "tau_eff_flag_after": np.array([""] * 7)}  # fmt: skip
    first, middle, last = structure.block_levels(units, "after")  # 3, 2 and 2 units
    assert first == pytest.approx(np.log(6) / 3)
    assert middle == last == pytest.approx(np.log(20 / 3))  # longer ones count as a third of 20 s


def test_differences_are_paired_by_seed_and_of_logarithms_where_they_are_ratios():
    found = {name: [{"weight_change": 2.0 * k, "accuracy_last5": 0.1 * k} for k in (1, 2, 3)]
             for name in structure.CONDITIONS["rank"]}  # fmt: skip
    low = [{"weight_change": 3.0 * k, "accuracy_last5": 0.2} for k in (1, 2, 3)]
    found["vanilla, rank:5"] = low
    rows = structure.effect_rows("rank", found)
    change, accuracy = (
        pick(rows, condition="vanilla, rank:5", reference="vanilla, random", metric=m)[0]
        for m in ("weight_change", "accuracy_last5")
    )
    assert change["scale"] == "difference of ln"
    assert change["estimate"] == pytest.approx(np.log(1.5))
    assert accuracy["estimate"] == pytest.approx(0.0) and accuracy["n"] == 3
    mean = pick(rows, condition="vanilla, random", reference="", metric="accuracy_last5")[0]
    assert mean["estimate"] == pytest.approx(0.2)


def test_the_committed_rows_follow_from_the_committed_runs():
    tables = load_claims()
    for part, conditions in structure.CONDITIONS.items():
        runs = pick(tables["structure_runs"], part=part)
        found = {name: pick(runs, condition=name) for name in conditions}
        seeds = {tuple(run["seed"] for run in some) for some in found.values()}
        assert seeds == {tuple(structure.SEEDS)}
        rows = pick(tables["structure"], part=part)
        for row in pick(rows, reference=""):
            values = [run[row["metric"]] for run in found[row["condition"]]]
            expected = paired_t(values)
            for name in ("estimate", "low", "high"):
                np.testing.assert_allclose(row[name], getattr(expected, name), rtol=1e-3, atol=1e-5)
        keys = {run["key"] for run in runs}
        configs = structure.configs(part, structure.FULL, structure.SEEDS)
        assert keys == {c.key for some in configs.values() for c in some}


def test_the_page_is_what_the_rows_say():
    text = (structure.HERE / "structure.md").read_text(encoding="utf-8")
    assert text == structure.page(load_claims()["structure"])
