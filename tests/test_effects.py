"""Conditions, their controls and pairs, the effects between them, and what is said of those."""

import json

import numpy as np
import pytest

from tau_rnn.experiment import RunConfig, run_one
from tau_rnn.experiment.claims import CLAIMS, LEAK, Control, Finding, judge, judged
from tau_rnn.experiment.conditions import (
    CONTROLS,
    DEFAULT_CONTROLS,
    POSTER,
    describe_matched,
    label,
    matched_constant,
    matched_reference,
    reference,
    sweep_configs,
)
from tau_rnn.experiment.effects import ITSELF, MATCHED, VANILLA, effects, levels, size
from tau_rnn.experiment.report import sentence
from tau_rnn.experiment.statistics import Effect
from tau_rnn.experiment.sweeps import Sweep
from tau_rnn.taus import parse_tau

pytestmark = pytest.mark.usefixtures("few_measures")

BASE = RunConfig(units=8, steps=6, batch=4, test_trials=16, dt=0.1, eval_every=2)
TASK = ["multi_timescale"]


# --- conditions and their pairing ----------------------------------------------------------------


@pytest.mark.parametrize("dist", ["normal", "uniform", "bimodal", "gamma", "uniform:low=0.5"])
def test_the_matched_network_has_the_mean_leak_rate(dist):
    matched, exact = parse_tau(matched_constant(dist)), 1 / parse_tau(dist).mean_rate
    assert matched.cv == 0
    assert abs(matched.mean - exact) <= 0.005 + 1e-12  # it is rounded to 0.01 s


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, "uniform"),
        ({"lr_scale": "tau"}, "uniform, lr~tau"),
        ({"lr_scale": "inverse-tau"}, "uniform, lr~1/tau"),
        ({"rescale_tau": "harmonic", "gain": 1.0}, "uniform, rescale_tau=harmonic, gain=1"),
        ({"train": "+tau"}, "uniform, train=+tau"),
        ({"train": "recurrent"}, "uniform, train=W"),
    ],
)
def test_a_condition_is_named_by_what_is_not_usual(changes, expected):
    assert label(RunConfig(dist="uniform", **changes)) == expected


def test_the_default_conditions():
    configs = sweep_configs(BASE, POSTER, [5], TASK, True)
    # Four distributions; three matched, three harmonic, three lr ~ tau; the four at gain 1.
    assert len(configs) == len(set(configs)) == 4 + 3 + 3 + 3 + 4
    assert {c.dist for c in configs} >= {"constant:0.61", "constant:0.75", "constant:0.96"}
    # Each has its references in the sweep.
    for config in configs:
        assert reference(config) in configs
        assert matched_reference(config) in {*configs, None} or config.gain == 1.0
    assert len({label(c) for c in configs}) == len(configs)


CHANGES = {
    "matched": [{"dist": "constant:0.61"}],
    "harmonic": [{"rescale_tau": "harmonic"}],
    "lr-tau": [{"lr_scale": "tau"}],
    "lr-inverse-tau": [{"lr_scale": "inverse-tau"}],
    "gain": [{"gain": 1.0}],
    "recurrent": [{"train": "recurrent"}],
    "train-all": [{"train": "all"}],
    "train-tau": [{"train": "+tau"}],
    "lr-grid": [{"lr": 0.001}, {"lr": 0.009}],
    "sgd": [{"optimizer": "sgd", "lr": 0.1}],
}


@pytest.mark.parametrize("name", CONTROLS)
def test_every_control_changes_what_it_says(name):
    uniform = BASE.replace(dist="uniform", lr=0.003)
    configs = sweep_configs(uniform, ["uniform"], [0], TASK, [name])
    added = [c for c in configs if c.dist != "vanilla" and c != uniform]
    assert added == [uniform.replace(**change) for change in CHANGES[name]]
    assert len({label(c) for c in configs}) == len(configs)


def test_a_sweep_goes_seed_by_seed_so_that_it_always_has_whole_pairs():
    tasks = [*TASK, "integrate_and_remember"]
    configs = sweep_configs(BASE, ["vanilla"], [0, 1], tasks)
    assert [(c.seed, c.task) for c in configs] == [(s, t) for s in (0, 1) for t in tasks]


@pytest.mark.parametrize("change", [{"rescale_tau": "harmonic"}, {"lr_scale": "tau"}])
def test_whatever_a_sweep_matches_or_scales_is_compared_with_plain_vanilla(change):
    configs = sweep_configs(
        BASE.replace(**change), ["vanilla", "uniform"], range(2), TASK, ["matched"]
    )
    assert configs == [
        config for s in range(2) for config in (BASE.replace(dist="vanilla", seed=s),
                                                BASE.replace(dist="uniform", seed=s, **change))
    ]  # fmt: skip
    rows = effects(fake_results(configs, lambda _: {}))
    assert {r.kind for r in rows if r.group.dist == "uniform"} == {VANILLA, ITSELF}


def test_where_tau_is_trained_vanilla_is_scaled_as_well():
    base = BASE.replace(train="+tau")
    configs = sweep_configs(base.replace(lr_scale="tau"), ["vanilla", "uniform"], [0], TASK)
    assert configs[0] == base.replace(dist="vanilla", lr_scale="tau") == reference(configs[1])
    added = sweep_configs(base, ["vanilla", "uniform"], [0], TASK, ["lr-tau"])[2:]
    assert added == [base.replace(dist=d, lr_scale="tau") for d in ("vanilla", "uniform")]


@pytest.mark.parametrize("train", ["default", "+tau", "recurrent"])
@pytest.mark.parametrize("lr_scale", ["none", "tau"])
@pytest.mark.parametrize("rescale_tau", ["none", "harmonic"])
def test_every_run_of_a_sweep_has_its_reference_in_it(train, lr_scale, rescale_tau):
    base = BASE.replace(train=train, lr_scale=lr_scale, rescale_tau=rescale_tau)
    configs = sweep_configs(base, ["vanilla", "uniform"], [0], TASK, list(CONTROLS))
    assert all(reference(config) in configs for config in configs)
    assert all(config == reference(config) for config in configs if config.dist == "vanilla")


def test_a_setting_is_one_whatever_is_matched_and_scaled():
    base = BASE.replace(train="+tau")
    configs = sweep_configs(base, ["vanilla", "uniform"], range(2), TASK, True)
    results = fake_results(configs, lambda config: {"accuracy": 0.5 + 0.01 * config.seed})
    done = Sweep(tuple(configs), {}, {}, 0, 0, ())
    found = judged(done.configs, effects(results, configs))
    assert [first.gain for first, _ in found] == [0.8]  # one family, and its controls
    assert {c.name for _, tests in found for t in tests for c in t.controls} >= {
        "learning rate ~ tau", "rescaled to harmonic mean 1 s", "against constant:0.61",
    }  # fmt: skip


def test_given_values_are_not_all_named_in_a_sentence():
    config = BASE.replace(dist="values:0.5,1,1.5,1,1,1,1,1")
    assert describe_matched(config).startswith("constant:0.92 has the mean leak rate of 8 given")


def test_controls_need_vanilla():
    configs = sweep_configs(BASE, ["uniform"], [0], TASK, ["harmonic"])
    assert [label(c) for c in configs] == ["vanilla", "uniform", "uniform, rescale_tau=harmonic"]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"controls": ["harmonics"]}, "controls: unknown 'harmonics'; did you mean 'harmonic'"),
        ({"dists": ["unifrom"]}, "did you mean 'uniform'"),
        ({"tasks": ["integrate"]}, "task: unknown task"),
    ],
)
def test_unknown_conditions(change, message):
    options = {"dists": ["uniform"], "tasks": TASK, "controls": (), **change}
    with pytest.raises(ValueError, match=message):
        sweep_configs(BASE, options["dists"], [0], options["tasks"], options["controls"])


@pytest.mark.parametrize("change", [{"rescale_tau": "harmonic"}, {"lr_scale": "tau"},
                                    {"lr_scale": "inverse-tau"}])  # fmt: skip
def test_vanilla_is_the_reference_of_its_own_controls(change):
    # All tau are 1 s, so neither rescaling nor scaled learning rates change a bit.
    plain, changed = (
        run_one(BASE.replace(dist="vanilla")),
        run_one(BASE.replace(dist="vanilla", **change)),
    )
    assert all(np.array_equal(a, b) for a, b in zip(plain.final, changed.final))
    assert json.dumps(plain.history) == json.dumps(changed.history)


def fake_results(configs, metrics_of):
    """Results with given metrics, whose histories fall from 1 to the loss of the run."""
    template = run_one(BASE)
    made = []
    for config in configs:
        metrics = {**template.metrics, **metrics_of(config)}
        change = metrics["weight_change"] / 6
        rows = [
            {**template.history[0], "step": s, "loss": 1 - s / 10, "weight_change": change * s}
            for s in (0, 2, 4, 6)
        ]
        made.append(template._replace(config=config, metrics=metrics, history=rows))
    return made


def test_effects_are_paired_by_seed():
    configs = sweep_configs(BASE, ["vanilla", "uniform"], range(6), TASK, True)

    def metrics_of(config):
        # The seed's own level is far larger than what uniform adds to it.
        wiggle = 0.001 * (-1) ** config.seed
        extra = 0.01 + wiggle if config.dist == "uniform" else 0.0
        change = np.exp(config.seed + (0.2 + wiggle if config.dist == "uniform" else 0))
        return {"accuracy_last5": config.seed / 10 + extra, "weight_change": change,
                "steps_to_criterion": 100 + config.seed}  # fmt: skip

    results = fake_results(configs, metrics_of)
    rows = {(r.condition, r.kind, r.metric): r for r in effects(results[:-1])}
    accuracy = rows["uniform", VANILLA, "accuracy_last5"].effect
    assert accuracy.estimate == pytest.approx(0.01, abs=1e-12)
    assert accuracy.low > 0.008 and accuracy.n == 6
    change = rows["uniform", VANILLA, "weight_change"].effect
    assert change.estimate == pytest.approx(0.2, abs=1e-12)
    matched = rows["uniform", VANILLA, "weight_change_at_matched_loss"].effect
    assert matched.estimate == pytest.approx(0.2, abs=1e-12)  # the same fraction of the way
    assert rows["uniform", MATCHED, "accuracy_last5"].reference == "constant:0.61"
    assert rows["vanilla", ITSELF, "tau_eff_spread"].effect.n == 6
    # The last run, uniform at gain 1 of seed 5, was left out: its pair is missing, and says so.
    # The median of 100 to 105 steps itself, not the mean of their logarithms.
    (level,) = (v.effect for v in levels(results, ["steps_to_criterion"])
                if v.condition == "vanilla")  # fmt: skip
    assert (level.estimate, level.low, level.high, level.n) == (102.5, 100, 105, 6)
    gain = rows["uniform, gain=1", VANILLA, "accuracy_last5"].effect
    assert (gain.n, gain.missing) == (5, 1)
    steps = rows["uniform, gain=1", VANILLA, "steps_to_criterion"].effect
    assert (steps.n, steps.missing) == (5, 1)


def test_judge_tells_an_effect_from_its_control():
    configs = sweep_configs(BASE, POSTER, range(8), TASK, DEFAULT_CONTROLS)
    rng = np.random.default_rng(0)

    def metrics_of(config):
        # Loss that follows the mean leak rate alone, accuracy that follows diversity alone.
        tau = parse_tau(config.dist)
        rate = 1.0 if config.rescale_tau == "harmonic" else tau.mean_rate
        noise = rng.normal(0, 0.005)
        return {"log_mean_loss": -rate + noise, "accuracy_last5": 0.5 + tau.cv / 4 + noise,
                "weight_change": 1 + abs(noise)}  # fmt: skip

    tests = judge(effects(fake_results(configs, metrics_of)), BASE, TASK)
    verdicts = {(t.claim.number, t.dist): t.verdict for t in tests if t.metric != "weight_change"}
    assert verdicts[1, "uniform"] == "not shown once the mean leak rate is held"
    assert verdicts[1, "bimodal"] == "not shown once the mean leak rate is held"
    assert verdicts[2, "uniform"] == verdicts[2, "bimodal"] == "shown"
    assert len(tests) == 3 + 3 + 4 + 4
    # Two controls of the leak rate and one of the learning rate; the other gain of claim 4.
    assert [len(t.controls) for t in tests] == [3] * 10 + [1] * 4
    for test in tests[:3]:
        matched, harmonic, rate = (c.effect.estimate for c in test.controls)
        expected = 1 - parse_tau(test.dist).mean_rate
        assert test.effect.estimate == pytest.approx(expected, abs=0.01)  # noise of sd 0.005
        assert rate == pytest.approx(expected, abs=0.01)
        assert abs(matched) < 0.02 and abs(harmonic) < 0.01  # tau is rounded to 0.01 s in the first


def test_effects_have_the_sign_the_unit_and_the_pairs_that_they_say():
    seeds = {"vanilla": (3, 4, 7), "uniform": (4, 7)}  # the first pair is missing, not the last
    configs = [BASE.replace(dist=dist, seed=s) for dist in seeds for s in seeds[dist]]

    def metrics_of(config):
        more = config.dist == "uniform"
        return {
            "accuracy": 0.5 + 0.1 * more + config.seed,
            "loss_last5": config.seed * (0.5 if more else 1.0),
            "steps_to_criterion": None if more and config.seed == 7 else 100 * config.seed,
            "accuracy_shuffled_tau": 0.3 + 0.1 * more + config.seed,
            "tau_eff_median_before": 1.0, "tau_eff_median_after": 2.0,
            "tau_eff_sd_log_before": 0.2, "tau_eff_sd_log_after": 0.5,
        }  # fmt: skip

    results = fake_results(configs, metrics_of)
    rows = {(r.condition, r.kind, r.metric): r.effect for r in effects(results)}
    accuracy = rows["uniform", VANILLA, "accuracy"]
    assert accuracy.estimate == pytest.approx(0.1)
    assert (accuracy.n, accuracy.missing) == (2, 1)
    loss = rows["uniform", VANILLA, "loss_last5"]
    assert loss.estimate == pytest.approx(np.log(0.5))  # not of runs that stand in one place
    steps = rows["uniform", VANILLA, "steps_to_criterion"]
    assert (steps.estimate, steps.never, steps.never_reference) == (np.inf, 1, 0)
    within = {m: rows["uniform", ITSELF, m].estimate
              for m in ("tau_eff_spread", "tau_eff_lengthening", "shuffling_tau")}  # fmt: skip
    assert within == pytest.approx(
        {"tau_eff_spread": 0.3, "tau_eff_lengthening": np.log(2), "shuffling_tau": -0.2}
    )
    (level,) = (v.effect for v in levels(results, ["steps_to_criterion"])
                if v.condition == "uniform")  # fmt: skip
    assert (level.estimate, level.n, level.never) == (np.inf, 2, 1)


def test_a_run_without_a_number_is_missing_and_leaves_the_others():
    configs = [BASE.replace(dist="uniform", seed=s) for s in range(3)]
    results = fake_results(configs, lambda config: {
        "tau_eff_correlation_before": 0.1,
        "tau_eff_correlation_after": None if config.seed == 0 else 0.4,
    })  # fmt: skip
    (row,) = (r for r in effects(results) if r.metric == "tau_eff_correlation_gain")
    assert (row.effect.n, row.effect.missing) == (2, 1)


@pytest.mark.parametrize("failed", [{("uniform", 1)}, {("uniform", 1), ("vanilla", 1)}])
def test_pairs_whose_runs_failed_are_missing(failed):
    configs = [BASE.replace(dist=d, seed=s) for s in range(4) for d in ("vanilla", "uniform")]
    results = fake_results([c for c in configs if (c.dist, c.seed) not in failed], lambda _: {})
    rows = {(r.condition, r.kind, r.metric): r.effect for r in effects(results, configs)}
    for metric in ("log_mean_loss", "steps_to_criterion"):
        assert rows["uniform", VANILLA, metric].missing == 1
    assert rows["uniform", ITSELF, "tau_eff_spread"].missing == 1
    assert rows["vanilla", ITSELF, "tau_eff_spread"].missing == len(failed) - 1


def test_the_claims_are_those_of_the_poster():
    assert [(c.number, c.sign) for c in CLAIMS] == [(1, -1), (2, +1), (3, -1), (4, +1)]


def test_a_setting_is_judged_whatever_its_own_gain_and_the_base_that_is_given():
    base = BASE.replace(gain=1.0)
    configs = sweep_configs(base, ["vanilla", "uniform"], range(4), TASK, ["gain"])
    results = fake_results(configs, lambda config: {
        "tau_eff_sd_log_after": 0.5 + 0.01 * config.seed, "tau_eff_sd_log_before": 0.2,
    })  # fmt: skip
    tests = judge(effects(results), base.replace(rescale_tau="harmonic", lr_scale="tau"), TASK)
    controls = [[c.name for c in t.controls] for t in tests if t.claim.number == 4]
    assert controls == [["initial gain 0.8"]] * 2  # its own gain is no control of it


def test_a_control_of_one_pair_tells_nothing():
    configs = sweep_configs(BASE, ["vanilla", "uniform"], range(6), TASK)
    configs += sweep_configs(BASE, ["uniform"], [0], TASK, ["harmonic"])

    def metrics_of(config):
        return {"log_mean_loss": -1.0 * (config.dist == "uniform") + 0.01 * config.seed**2}

    tests = judge(effects(fake_results(configs, metrics_of)), BASE, TASK)
    (first,) = (t for t in tests if t.claim.number == 1)
    assert (first.controls, first.verdict) == ((), "shown, controls not run")


def test_a_sentence_says_what_is_left_with_each_control():
    up, null = Effect(0.3, 0.2, 0.4, 0.01, 9), Effect(0.05, -0.1, 0.2, 0.5, 9)
    down = Effect(-0.3, -0.4, -0.2, 0.01, 9)
    controls = (
        Control("initial gain 1", LEAK, null, False), Control("other", LEAK, up, True),
        Control("third", LEAK, down, False),
    )  # fmt: skip
    spread = Finding(CLAIMS[3], "tau_eff_spread", "uniform", *TASK, up, 0.01, controls, "shown")
    said = sentence(spread)
    assert "after training against before: +0.300 in sd of ln tau_eff (+0.200 to" in said
    unit = "in sd of ln tau_eff"
    assert f"Initial gain 1: +0.050 {unit} (-0.100 to +0.200), interval includes 0." in said
    assert f"Other: +0.300 {unit} (+0.200 to +0.400), on the claimed side." in said
    assert f"Third: -0.300 {unit} (-0.400 to -0.200), on the other side." in said
    assert said.endswith("**Shown.**")
    loss = Finding(CLAIMS[0], "log_mean_loss", "uniform", *TASK, up, 0.01, (), "not shown")
    assert "mean loss over training against vanilla: +35.0 % (+22.1 to +49.2)." in sentence(loss)


def test_one_pair_has_an_effect_and_no_interval():
    one = Effect(-0.1, np.nan, np.nan, np.nan, 1)
    assert size("weight_change", one) == "-9.5 %"
    assert size("accuracy_last5", one) == "-10.0 percentage points"
    assert size("tau_eff_spread", one) == "-0.100 in sd of ln tau_eff"
    # What rounds to zero has no sign.
    near = Effect(-0.0003, -0.002, 0.0001, 0.5, 20)
    assert size("accuracy_last5", near) == "0.0 percentage points (-0.2 to 0.0)"
