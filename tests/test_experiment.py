"""The experiment: configurations, runs that are pure functions of them, pairing, the store."""

import copy
import dataclasses
import json
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from stored import bits
from stored import same as same_result

from tau_rnn.experiment import RunConfig, RunResult, iterate, run_one, summarise_run
from tau_rnn.experiment.run import (
    STREAMS,
    build_network,
    draw_tau,
    evaluate,
    outputs,
    set_up,
    streams,
)
from tau_rnn.model import NONLINEARITIES, Nonlinearity, Params, forward, private_noise
from tau_rnn.noise import noise_scale
from tau_rnn.taus import sample_tau, truncate
from tau_rnn.training import NonFiniteLoss

DISTS = ("vanilla", "normal", "uniform", "bimodal", "lognormal", "gamma", "constant:0.61")
TINY = RunConfig(units=8, steps=10, dt=0.1, batch=4, test_trials=40, eval_every=4, lr=0.02)
#: For every field, another value than TINY's.
OTHERS = {
    "task": "integrate_and_remember", "dist": "uniform", "rescale_tau": "harmonic", "units": 9,
    "steps": 11, "batch": 5, "dt": 0.05, "lr": 0.01, "gain": 1.1, "seed": 1, "train": ("W",),
    "optimizer": "sgd", "momentum": 0.8, "lr_scale": "tau", "clip": 0.5, "rate_penalty": 0.1,
    "phi": "relu", "method": "euler", "dtype": "float64", "test_trials": 41, "eval_every": 5,
    "burn_in": 5.0, "beta1": 0.5, "beta2": 0.9, "eps": 1e-6,
    "init": "rank:2", "connectivity": "dale:0.8",
}  # fmt: skip


@pytest.fixture(scope="module")
def result() -> RunResult:
    return run_one(TINY)


# --- configurations ------------------------------------------------------------------------------


def test_others_are_all_fields_and_differ():
    defaults = {f.name: getattr(TINY, f.name) for f in dataclasses.fields(RunConfig)}
    assert OTHERS.keys() == defaults.keys()
    assert all(defaults[name] != value for name, value in OTHERS.items())


def plain(config, name):
    value = getattr(config, name)
    return list(value) if isinstance(value, tuple) else value


@given(st.sets(st.sampled_from(sorted(OTHERS))).filter(lambda s: not s >= {"init", "connectivity"}))
def test_a_configuration_survives_json_and_pickle(names):
    config = TINY.replace(**{name: OTHERS[name] for name in names})
    text = json.dumps(config.to_json(), allow_nan=False)
    for back in (RunConfig.from_json(json.loads(text)), pickle.loads(pickle.dumps(config))):
        assert back == config and hash(back) == hash(config) and back.key == config.key
    assert set(config.differences(TINY)) == names
    for name, (mine, theirs) in config.differences(TINY).items():
        assert (mine, theirs) == (plain(config, name), plain(TINY, name))


def test_every_field_is_part_of_the_key():
    keys = Counter(
        [TINY.key, *(TINY.replace(**{name: value}).key for name, value in OTHERS.items())]
    )
    assert len(keys) == 1 + len(OTHERS)
    assert all(len(key) == 12 and int(key, 16) >= 0 for key in keys)


def test_the_version_of_the_experiment_is_part_of_the_key(monkeypatch):
    before = TINY.key
    monkeypatch.setattr("tau_rnn.experiment.config.EXPERIMENT_VERSION", -1)
    assert TINY.key != before


@pytest.mark.parametrize(
    "a, b",
    [
        ({"dist": "normal:mean=1,sd=0.2"}, {"dist": "normal"}),
        ({"dist": "constant:1"}, {"dist": "vanilla"}),
        ({"train": "default"}, {}),
        ({"train": ["b_out", "W_out"]}, {"train": "readout"}),
        ({"lr": 1}, {"lr": 1.0}),
        ({"dt": np.float64(0.1)}, {"dt": 0.1}),
        ({"units": np.int64(8)}, {"units": 8}),
        ({"seed": 2.0}, {"seed": 2}),
    ],
)
def test_two_ways_to_say_the_same_are_one_configuration(a, b):
    assert TINY.replace(**a) == TINY.replace(**b) and TINY.replace(**a).key == TINY.replace(**b).key


def test_a_file_of_tau_counts_by_its_values(tmp_path):
    path = tmp_path / "tau.txt"
    path.write_text(" ".join(["0.5"] * 8))
    first = TINY.replace(dist=f"file:{path}")
    path.rename(tmp_path / "other.txt")
    assert TINY.replace(dist=f"file:{tmp_path / 'other.txt'}").key == first.key
    path.write_text(" ".join(["0.6"] * 8))
    assert TINY.replace(dist=f"file:{path}").key != first.key
    np.testing.assert_array_equal(build_network(first).tau, np.full(8, 0.5, np.float32))


def test_a_distribution_of_scipy_is_stored_as_its_text():
    config = TINY.replace(dist=stats.gamma(3, scale=1 / 3))
    assert config.dist == "scipy:gamma:a=3,scale=0.3333333333333333"
    assert RunConfig.from_json(config.to_json()) == config
    assert TINY.replace(dist=truncate(stats.expon(), 0.1, 5)).dist == "scipy:expon:low=0.1,high=5"


def test_a_distribution_without_a_text_is_refused():
    dist = stats.rv_histogram(np.histogram([0.5, 1, 1.5], bins=3))
    with pytest.raises(ValueError, match=r"dist: a run stores the text .* give its values"):
        RunConfig(dist=dist)
    rng = np.random.default_rng(0)
    values = sample_tau(dist, 8, rng)
    assert draw_tau(TINY.replace(dist=values), rng).tolist() == values.tolist()


def test_a_nonlinearity_of_ones_own_is_no_run_of_the_one_of_that_name():
    message = r"phi: a run stores the name .* this 'tanh' is not one of"
    with pytest.raises(ValueError, match=message):
        RunConfig(phi=Nonlinearity("tanh", np.sin, np.cos))
    assert RunConfig(phi=NONLINEARITIES["relu"]).phi == "relu"


@pytest.mark.parametrize("dtype", [np.float64, np.dtype("float64"), "float64"])
def test_a_dtype_is_stored_by_its_name(dtype):
    assert TINY.replace(dtype=dtype).key == TINY.replace(dtype="float64").key


def test_a_copy_of_a_state_goes_on_from_where_it_was_made():
    config, kept = TINY.replace(steps=6, eval_every=1), None
    for last in iterate(config):
        if last.training.step == 3:
            kept = copy.deepcopy(last)
    *_, again = iterate(config, kept)
    np.testing.assert_array_equal(again.training.theta, last.training.theta)
    assert [row["step"] for row in again.history] == list(range(7))


def test_a_configuration_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TINY.units = 9
    assert TINY.replace(units=9) == dataclasses.replace(TINY, units=9) != TINY


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("task", "multi_timescales", "unknown task .* did you mean 'multi_timescale'"),
        ("dist", "nromal", "unknown distribution 'nromal'; did you mean 'normal'"),
        ("dist", "normal:sd=-1", "sd"),
        ("dist", "constant:0", "constant"),
        ("dist", "file:nowhere.npy", "cannot read .*nowhere"),
        ("rescale_tau", "harmonics", "rescale_tau: unknown 'harmonics'; did you mean 'harmonic'"),
        ("phi", "tahn", "did you mean 'tanh'"),
        ("method", "exponental", "method: unknown .* did you mean 'exponential'"),
        ("optimizer", "adams", "optimizer: .* did you mean 'adam'"),
        ("lr_scale", "taus", "lr_scale: .* did you mean 'tau'"),
        ("dtype", "flaot32", "dtype: unknown 'flaot32'; did you mean 'float32'"),
        ("dtype", "complex128", "dtype: .* Allowed: float32, float64"),
        ("train", "W,Win", "train: .*'Win'; did you mean 'W_in'"),
        ("train", [], "train: names no parameter"),
        ("units", 0, "units: must be an integer >= 1, got 0"),
        ("units", 8.5, "units: .* got 8.5"),
        ("units", True, "units: .* got True"),
        ("units", "many", "units: .* got 'many'"),
        ("steps", float("inf"), "steps: .* got inf"),
        ("steps", -1, "steps: .* got -1"),
        ("batch", float("nan"), "batch: .* got nan"),
        ("seed", -1, "seed: must be an integer >= 0"),
        ("test_trials", 0, "test_trials"),
        ("eval_every", 0, "eval_every"),
        ("burn_in", -1.0, "burn_in"),
        ("burn_in", float("inf"), "burn_in"),
        ("dt", 0, "dt: must be a finite number > 0"),
        ("dt", float("nan"), "dt"),
        ("dt", 0.03, "dt = 0.03"),
        ("lr", 0, "lr: must be a finite number > 0"),
        ("lr", "fast", "lr: must be a finite number > 0, got 'fast'"),
        ("gain", -0.1, "gain: must be a finite number >= 0"),
        ("gain", float("inf"), "gain"),
        ("momentum", 1, "momentum"),
        ("clip", 0, "clip"),
        ("rate_penalty", -1, "rate_penalty"),
    ],
)
def test_a_bad_field_is_refused_by_name(field, value, message):
    with pytest.raises(ValueError, match=message):
        RunConfig(**{field: value})


def test_an_unknown_field_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown field 'unit'; did you mean 'units'"):
        RunConfig.from_json({"unit": 8})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method": "euler", "dist": "constant:0.04"}, "dt: an Euler step of 0.1 s is unstable"),
        ({"train": "+tau", "dist": "constant:0.08"}, "tau: to be trained"),
        ({"dist": "values:1,2,3"}, "tau: has 3 values, but the network has 8 units"),
    ],
)
def test_tau_that_do_not_suit_the_run_are_refused_before_it_starts(changes, message):
    with pytest.raises(ValueError, match=message):
        build_network(TINY.replace(**changes))


# --- pairing -------------------------------------------------------------------------------------


def test_streams_are_independent_of_each_other_and_reproducible():
    drawn = {k: rng.integers(2**62) for k, rng in streams(3).items()}
    assert list(drawn) == list(STREAMS) and len(set(drawn.values())) == len(STREAMS)
    again, other = streams(3), streams(4)
    for name in reversed(STREAMS):  # whichever is drawn from first
        assert again[name].integers(2**62) == drawn[name] != other[name].integers(2**62)


PAIRS = [
    *({"dist": dist} for dist in DISTS if dist != "normal"),
    {"rescale_tau": "harmonic"},
    {"train": "+tau"},
    {"lr_scale": "tau"},
]


@pytest.mark.parametrize("changes", PAIRS, ids=lambda c: "-".join(map(str, c.values())))
def test_runs_that_differ_in_tau_share_weights_trials_and_noise(changes):
    config = TINY.replace(dtype="float64", seed=5)
    pair = config, config.replace(**changes)
    a, b = map(build_network, pair)
    for field in ("W", "W_in", "b", "W_out", "b_out", "x0"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    for x, y in zip(*(set_up(c).test for c in pair)):
        assert bits(leaves(x)) == bits(leaves(y))
    # The training trials and the noise of each step come from generators that stay in step.
    for x, y in zip(*(iterate(c.replace(steps=3)) for c in pair)):
        for name in ("trials_rng", "noise_rng"):
            one, two = (getattr(s.training, name).bit_generator.state for s in (x, y))
            assert repr(one) == repr(two)
    noises = [
        private_noise(p, c.dt, 0.2, 6, 2, streams(5)["noise"], method=c.method)
        / noise_scale(p.tau, c.dt, c.method)
        for p, c in zip((a, b), pair)
    ]
    np.testing.assert_allclose(*noises, rtol=1e-12)


def leaves(value):
    return [x for item in value for x in leaves(item)] if isinstance(value, tuple) else [value]


@pytest.mark.parametrize("dist", ["uniform", "lognormal", "gamma"])
def test_units_keep_their_quantile_of_tau(dist):
    a, b = (build_network(TINY.replace(dist=d, units=40)).tau for d in ("normal", dist))
    np.testing.assert_array_equal(a.argsort(), b.argsort())


def test_another_seed_changes_everything():
    a, b = (build_network(TINY.replace(seed=seed)) for seed in (0, 1))
    for field in ("W", "W_in", "W_out", "tau"):
        assert not np.isclose(getattr(a, field), getattr(b, field)).any()
    tests = [set_up(TINY.replace(seed=seed)).test for seed in (0, 1)]
    assert not np.array_equal(tests[0].trials.u, tests[1].trials.u)


def test_the_held_out_trials_and_noise_are_not_those_of_training():
    config = TINY.replace(batch=40)
    held_out = set_up(config).test
    rngs, task = streams(config.seed), config.make_task()
    first_batch = task.trials(40, rngs["trials"], dtype=np.float32)
    assert held_out.trials.u.shape == first_batch.u.shape
    evidence = [x.u[5, :, 1] for x in (held_out.trials, first_batch)]  # every trial has its own
    assert not np.isin(*evidence).any()
    noise = private_noise(
        build_network(config.replace(dist="vanilla")), config.dt, task.noise,
        *held_out.noise.shape[:2], rngs["noise"], method=config.method,
    )  # fmt: skip
    # Of two independent arrays of the 65536 values of the noise one in 65536 agrees.
    assert np.mean(held_out.noise == noise) < 1e-3


def test_matching_gives_a_harmonic_mean_of_one_second():
    rng = np.random.default_rng(0)
    tau = draw_tau(TINY.replace(dist="uniform", rescale_tau="harmonic"), rng)
    np.testing.assert_allclose(np.mean(1 / tau), 1, rtol=1e-12)
    plain = sample_tau("uniform", 8, np.random.default_rng(0))
    np.testing.assert_allclose(tau / plain, tau[0] / plain[0], rtol=1e-12)


# --- runs ----------------------------------------------------------------------------------------


def test_the_same_configuration_gives_the_same_bits(result):
    again = run_one(TINY)
    assert same_result(result, again)
    assert result.metrics["seconds"] > 0 and again.metrics["seconds"] > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "float64", "task": "integrate_and_remember", "train": "all", "lr_scale": "tau"},
        {"dist": "vanilla", "phi": "relu", "method": "euler", "optimizer": "sgd", "gain": 0.0},
    ],
    ids=["float64, all fields", "vanilla, relu, sgd"],
)
def test_runs_of_other_settings(changes):
    config = TINY.replace(**changes)
    r = run_one(config)
    assert all(p.dtype == np.dtype(config.dtype) for p in (*r.initial, *r.final))
    for name in Params._fields:
        moved = not np.array_equal(getattr(r.initial, name), getattr(r.final, name))
        assert moved == (name in config.train), name
    assert all(np.isfinite(row["loss"]) and 0 <= row["accuracy"] <= 1 for row in r.history)
    json.dumps(r.metrics)
    if config.dist == "vanilla":
        assert r.metrics["tau_eff_correlation_after"] is None
    if config.gain == 0:
        assert np.isnan(r.metrics["weight_change"])


def test_metrics_are_those_of_the_history_and_of_the_networks(result):
    m, history = result.metrics, result.history
    assert [row["step"] for row in history] == [0, 4, 8, 10] and m["steps"] == 10
    task_scores = ("conflict_accuracy", "pattern_accuracy", "evidence_accuracy")
    for name in ("accuracy", "loss", "weight_change", *task_scores):
        assert m[name] == history[-1][name]
    assert m["accuracy_initial"] == history[0]["accuracy"]
    assert m["loss_initial"] == history[0]["loss"]
    for name in ("accuracy", "loss"):
        mean = sum(row[name] for row in history) / 4  # of the last five there are four
        assert m[f"{name}_last5"] == pytest.approx(mean, rel=1e-12)
    losses = [row["loss"] for row in history]
    area = sum(
        (b - a) * (x + y) / 2 for a, b, x, y in zip([0, 4, 8], [4, 8, 10], losses, losses[1:])
    )
    assert m["log_mean_loss"] == pytest.approx(np.log(area / 10), rel=1e-12)
    W0, W = (p.W.astype(float) for p in (result.initial, result.final))
    change = np.sqrt(((W - W0) ** 2).sum() / (W0**2).sum())
    assert m["weight_change"] == pytest.approx(change, rel=1e-12)
    rows = np.sqrt(((W - W0) ** 2).sum(axis=1))
    np.testing.assert_allclose(result.units["weight_change"], rows, rtol=1e-12)
    scores = evaluate(set_up(TINY), result.final)
    assert all(m[name] == value for name, value in scores.items())
    for when in ("before", "after"):
        tau_eff = result.units[f"tau_eff_{when}"]
        assert tau_eff.shape == (8,) and np.isfinite(tau_eff).all()
        median = m[f"tau_eff_median_{when}"]
        assert median == pytest.approx(np.exp(np.median(np.log(tau_eff))), rel=1e-12)
        assert m[f"tau_eff_unfitted_{when}"] == 0
    np.testing.assert_array_equal(result.units["tau_before"], result.initial.tau)


@pytest.mark.parametrize(
    "accuracies, expected",
    [([0.5, 0.9, 0.7, 1.0], 4), ([0.95, 0.5, 0.5, 0.5], 0), ([0.5, 0.8, 0.89, 0.899], None)],
)
def test_steps_to_criterion_is_the_first_evaluation_at_nine_tenths(accuracies, expected):
    *_, last = iterate(TINY)
    for row, accuracy in zip(last.history, accuracies):
        row["accuracy"] = accuracy
    result = summarise_run(TINY, last, parts=())
    assert result.metrics["steps_to_criterion"] == expected
    # A result stays what it is if the training goes on.
    assert not np.shares_memory(result.final.W, last.training.theta)


def test_the_training_loss_is_the_mean_since_the_last_evaluation():
    losses = [state.training.loss for state in iterate(TINY)]
    *_, last = iterate(TINY)
    rows = last.history
    assert np.isnan(rows[0]["train_loss"]) and np.isnan(losses[0]) and len(losses) == 11
    for row, since in zip(rows[1:], (losses[1:5], losses[5:9], losses[9:])):
        assert row["train_loss"] == pytest.approx(np.mean(since), rel=1e-12)


@pytest.mark.parametrize("method", ["euler", "exponential"])
def test_outputs_of_the_held_out_trials_are_those_of_forward_with_private_noise(method):
    # test_trials beyond one batch of an evaluation, and not a multiple of it.
    config = TINY.replace(dtype="float64", method=method, test_trials=130)
    setup = set_up(config)
    params, task, held_out = setup.initial, setup.task, setup.test
    T, B = held_out.trials.u.shape[:2]
    # As private_noise draws it for these tau, from the same stream.
    noise = private_noise(
        params, config.dt, task.noise, T, B, streams(config.seed)["test_noise"], method=method
    )
    y = forward(params, held_out.trials.u, config.dt, method=method, noise=noise).y
    np.testing.assert_allclose(outputs(setup, params), y, rtol=1e-9, atol=1e-12)


def test_accuracy_with_shuffled_tau_is_that_of_permuted_networks(result):
    setup, rng = set_up(TINY), streams(TINY.seed)["analysis"]
    accuracies = []
    for _ in range(3):
        tau = rng.permutation(result.final.tau)
        accuracies.append(evaluate(setup, result.final._replace(tau=tau))["accuracy"])
    assert result.metrics["accuracy_shuffled_tau"] == pytest.approx(np.mean(accuracies), rel=1e-12)


def test_a_run_that_diverges_says_so():
    with pytest.raises(NonFiniteLoss, match="step 1: the update is not finite"):
        run_one(TINY.replace(lr=1e39))


# --- what training achieves ----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("dist", ["vanilla", "normal", "uniform", "bimodal"])
def test_every_distribution_learns_the_memory_task(dist):
    *_, last = iterate(RunConfig(dist=dist))
    assert last.training.step == 400
    assert last.history[-1]["accuracy"] >= 0.95


@pytest.mark.slow
def test_training_the_readout_alone_does_not_solve_the_integration_task():
    *_, readout = iterate(RunConfig(task="integrate_and_remember", train="readout", dt=0.1))
    *_, all_weights = iterate(RunConfig(task="integrate_and_remember", dt=0.1))
    chance, learned = readout.history[0]["accuracy"], readout.history[-1]["accuracy"]
    assert chance < learned < 0.5 < all_weights.history[-1]["accuracy"]
    assert readout.history[-1]["weight_change"] == 0
