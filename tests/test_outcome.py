"""A run is trained, evaluated and measured by its own configuration, and by its own streams."""

import dataclasses
from itertools import islice

import numpy as np
import pytest
from scipy.stats import spearmanr

from tau_rnn.experiment import RunConfig, iterate, run_one, summarise_run
from tau_rnn.experiment.outcome import begin
from tau_rnn.experiment.run import draw_tau, outputs, set_up, streams
from tau_rnn.measures import measure_run, spontaneous_rates
from tau_rnn.measures.run import LONGEST, measurable
from tau_rnn.model import forward, init_params, private_noise
from tau_rnn.tasks import make_task
from tau_rnn.timescales import fit_timescales
from tau_rnn.training import TrainConfig, start, training_steps

#: No field of what training, noise and measures depend on has its default here.
OTHER = RunConfig(
    units=8, steps=3, batch=5, dt=0.05, lr=0.01, seed=1, task="integrate_and_remember",
    dist="uniform", optimizer="sgd", momentum=0.8, lr_scale="tau", clip=0.05, rate_penalty=0.1,
    phi="relu", method="euler", burn_in=3.0, test_trials=40, eval_every=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return run_one(OTHER, parts=("weights", "alignment"))


def test_a_run_trains_with_its_own_settings_task_and_streams():
    settings = TrainConfig(
        batch=5, optimizer="sgd", lr=0.01, momentum=0.8, clip=0.05, lr_scale="tau",
        rate_penalty=0.1, phi="relu", method="euler",
    )  # fmt: skip
    task, rngs = make_task("integrate_and_remember", dt=0.05), streams(1)
    tau = draw_tau(OTHER, rngs["tau"])
    initial = init_params(
        8, task.n_in, task.n_out, tau, rngs["weights"], gain=0.8, dtype=np.float32
    )
    state = start(initial, settings, 0.05, rngs["trials"], rngs["noise"])
    norms = []
    for expected in islice(training_steps(state, task, settings), 3):
        norms.append(expected.grad_norm)
    assert min(norms) > settings.clip  # or a run without clipping would be the same
    *_, last = iterate(OTHER)
    np.testing.assert_array_equal(last.training.theta, expected.theta)
    assert last.history[-1]["grad_norm"] == expected.grad_norm


def test_a_run_is_evaluated_with_its_own_phi():
    setup, rng = set_up(OTHER), streams(1)["test_noise"]
    params, held_out = setup.initial, setup.test
    T, B = held_out.trials.u.shape[:2]
    sigma = OTHER.make_task().noise
    noise = private_noise(params, 0.05, sigma, T, B, rng, method="euler")
    y = forward(params, held_out.trials.u, 0.05, phi="relu", method="euler", noise=noise).y
    # Single precision, and products that BLAS may split otherwise in batches.
    np.testing.assert_allclose(outputs(setup, params), y, rtol=1e-4, atol=1e-5)


def test_effective_timescales_are_of_the_own_activity_around_trial_means(result):
    for when, params in (("before", result.initial), ("after", result.final)):
        rates = spontaneous_rates(
            params, 0.05, streams(1)["analysis"], sigma=OTHER.make_task().noise, n_trials=40,
            duration=20.0, burn_in=3.0, phi="relu", method="euler",
        )  # fmt: skip
        fit = fit_timescales(rates, 0.05, center="trial", ci=None)
        np.testing.assert_array_equal(result.units[f"tau_eff_{when}"], fit.tau)
        tau_eff, _ = measurable(fit.tau, fit.flag)
        spread = np.std(np.log(tau_eff), ddof=1)
        assert result.metrics[f"tau_eff_sd_log_{when}"] == pytest.approx(spread, rel=1e-12)
        correlation = spearmanr(params.tau, tau_eff).statistic
        assert result.metrics[f"tau_eff_correlation_{when}"] == pytest.approx(correlation)
    assert not np.array_equal(result.units["tau_eff_before"], result.units["tau_eff_after"])


def test_alignments_are_those_of_the_measures_with_the_own_phi_and_stream(result):
    measures = measure_run(
        result.initial, result.final, OTHER.make_task(), rng=streams(1)["measures"], phi="relu",
        method="euler", parts=("alignment",),
    )  # fmt: skip
    for name in ("kernel_alignment", "representation_alignment"):
        assert result.metrics[name] == getattr(measures, name)


def test_a_timescale_that_is_too_long_counts_as_the_longest():
    longest = LONGEST
    tau = np.array([0.5, 5 * longest, np.nan, np.nan, 1.0])
    flags = ["", "nugget", "exceeds_trial,nugget", "constant", "exceeds_trial"]
    found, long = measurable(tau, flags)
    np.testing.assert_array_equal(found, [0.5, longest, longest, np.nan, longest])
    assert long.tolist() == [False, True, True, False, True]


def test_the_last_five_evaluations_are_five():
    config = OTHER.replace(steps=7)
    *_, last = iterate(config)
    for k, row in enumerate(last.history):
        row["accuracy"], row["loss"] = k / 10, float(k)
    metrics = summarise_run(config, last, parts=()).metrics
    assert metrics["accuracy_last5"] == pytest.approx(0.5)  # of 0.3 to 0.7
    assert metrics["loss_last5"] == pytest.approx(5)


def test_what_is_measured_beside_training_is_what_is_measured_after_it():
    parts = ("weights", "decoding", "effective")
    begun = begin(set_up(OTHER), parts)
    *_, last = iterate(OTHER)
    found = summarise_run(OTHER, last, parts, begun=begun).metrics
    assert found == run_one(OTHER, parts=parts).metrics | {"seconds": found["seconds"]}
    assert found["decode_every_value_stimulus"] > 0


def test_the_defaults_are_those_that_the_documentation_states():
    config = dataclasses.asdict(RunConfig())
    assert config == {
        "task": "multi_timescale", "dist": "normal", "rescale_tau": "none", "units": 100,
        "steps": 400, "batch": 32, "dt": 0.05, "lr": 0.003, "gain": 0.8, "seed": 0,
        "train": ("W", "W_in", "b", "W_out", "b_out"), "optimizer": "adam", "momentum": 0.9,
        "lr_scale": "none", "clip": 1.0, "rate_penalty": 0.0, "phi": "tanh",
        "method": "exponential", "dtype": "float32", "test_trials": 512, "eval_every": 20,
        "burn_in": 20.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
        "init": "random", "connectivity": "full",
    }  # fmt: skip
