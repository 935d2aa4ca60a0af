"""A hyperparameter is one field: its key, checks, docs, option and training are made from it."""

import dataclasses
import inspect
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

import tau_rnn
from tau_rnn.checks import check_names, check_number, check_settings, documented, setting
from tau_rnn.cli.options import build_parser, settings_given
from tau_rnn.experiment.config import RunConfig
from tau_rnn.tasks import make_task
from tau_rnn.training import NonFiniteLoss, TrainConfig, start, training_steps

FIELDS = {field.name: field for field in dataclasses.fields(RunConfig)}


@documented
@dataclass(frozen=True, kw_only=True)
class Wider(RunConfig):
    """A configuration with one more hyperparameter."""

    warm_up: float = setting(
        0.5, "share of the steps", partial(check_number, least=0, below=1), unit="of all"
    )


def test_a_field_reaches_the_checks_the_key_the_docs_and_json():
    assert Wider(warm_up="0.25").warm_up == 0.25
    with pytest.raises(ValueError, match="warm_up: must be a finite number >= 0 and < 1, got 1"):
        Wider(warm_up=1)
    with pytest.raises(ValueError, match="Wider: unknown field 'warm'; did you mean 'warm_up'"):
        Wider().replace(warm=0.1)
    assert Wider(warm_up=0.1).key != Wider().key
    assert Wider.from_json(Wider(warm_up=0.1).to_json()) == Wider(warm_up=0.1)
    assert "warm_up : float\n    share of the steps (of all, default: 0.5)\n" in Wider.__doc__


def test_a_field_that_is_added_later_enters_the_key_where_it_is_not_the_default():
    @documented
    @dataclass(frozen=True, kw_only=True)
    class Later(RunConfig):
        """A configuration with one more hyperparameter, when runs are stored."""

        warm_up: float = setting(
            0.5, "share of the steps", partial(check_number, least=0, below=1), later=True
        )

    assert Later().to_json() == RunConfig().to_json() and Later().key == RunConfig().key
    assert Later.from_json(RunConfig().to_json()) == Later()
    assert Later(warm_up=0.1).to_json() == {**RunConfig().to_json(), "warm_up": 0.1}
    assert Later(warm_up=0.1).key == Wider(warm_up=0.1).key  # as of a field that always was there
    assert Later.from_json(Later(warm_up=0.1).to_json()) == Later(warm_up=0.1)


def test_a_field_reaches_the_command_line():
    parser = build_parser(Wider)
    assert "--warm-up X" in parser.format_help()
    assert "share of the steps (of all, default: 0.5)" in " ".join(parser.format_help().split())
    args = parser.parse_args(["--warm-up", "0.1", "--lr", "0.1", "0.2", "--task", "both"])
    expected = [{"warm_up": 0.1, "lr": lr} for lr in (0.1, 0.2)]
    assert settings_given(args, Wider) == expected
    assert settings_given(parser.parse_args([]), Wider) == [{}]


def test_a_run_is_trained_by_its_own_configuration():
    # The training settings of a run are the run's fields: nothing is copied from one to the other.
    assert issubclass(RunConfig, TrainConfig)
    params, task = network(), make_task("multi_timescale", dt=0.1)
    state = start(params, Wider(lr=0.5, batch=2), task.dt, *rngs())
    wider = next(training_steps(state, task, Wider(lr=0.5, batch=2)))
    config = TrainConfig(lr=0.5, batch=2)
    plain = next(training_steps(start(params, config, task.dt, *rngs()), task, config))
    np.testing.assert_array_equal(wider.theta, plain.theta)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_declared_whole(name):
    field = FIELDS[name]
    assert {"text", "allowed", "unit", "several", "check", "later"} <= field.metadata.keys()
    assert f"\n{name} : {field.type}\n    {field.metadata['text']}" in RunConfig.__doc__
    help_text = build_parser().format_help()
    assert f"--{name.replace('_', '-')} " in help_text
    for wrong in (None, float("nan"), object(), [[1], [1, 2]], 10**400, -1, "no such thing", {}):
        with pytest.raises(ValueError, match=rf"^({name}|tau)\b|no such thing"):
            RunConfig(**{name: wrong})


def test_the_defaults_pass_their_own_checks():
    for config in (TrainConfig, RunConfig):
        assert config() == config(**{f.name: f.default for f in dataclasses.fields(config)})


def test_no_setting_stands_in_two_classes():
    own = RunConfig.__annotations__.keys() & TrainConfig.__annotations__.keys()
    assert not own


def test_configurations_of_other_classes_are_checked_alike():
    @documented
    @dataclass(frozen=True)
    class Small:
        how: str = setting("a", "a way", allowed=("a", "b"))

        def __post_init__(self):
            check_settings(self)

    assert Small("b").how == "b" and "how : str\n    a way: a, b (default: a)\n" in Small.__doc__
    with pytest.raises(ValueError, match=r"how: unknown 'c'; .*Allowed: a, b"):
        Small("c")
    with pytest.raises(ValueError, match="Small: unknown field 'haw'; did you mean 'how'"):
        check_names(Small, ["how", "haw"])
    with pytest.raises(ValueError, match="Small: unknown field 'haw'; did you mean 'how'"):
        Small(haw="a")
    with pytest.raises(ValueError, match="RunConfig: unknown field 'distt'; did you mean 'dist'"):
        RunConfig(distt="uniform")


# --- train ---------------------------------------------------------------------------------------


def network(n_units=6):
    task, rng = make_task("multi_timescale", dt=0.1), np.random.default_rng(3)
    return tau_rnn.init_params(n_units, task.n_in, task.n_out, 1.0, rng)


def rngs():
    return [np.random.default_rng([1, k]) for k in range(2)]


class Echo:
    """Repeat the input; the least that a task has."""

    dt = 0.1

    def trials(self, n, rng, *, dtype):
        from types import SimpleNamespace

        u = rng.standard_normal((12, n, 3)).astype(dtype)
        return SimpleNamespace(u=u, target=u.mean(axis=2, keepdims=True), mask=np.ones((12, n)))


def test_train_makes_the_steps_of_training_steps():
    task, params = make_task("multi_timescale", dt=0.1), network()
    kept = [p.copy() for p in params]
    trained, history = tau_rnn.train(
        params, task, 4, rng=np.random.default_rng(5), lr=0.02, batch=3, train="+tau"
    )
    config = TrainConfig(lr=0.02, batch=3, train="+tau")
    seeds = np.random.default_rng(5).integers(2**63, size=2)
    state = start(params, config, task.dt, *map(np.random.default_rng, seeds))
    states, rows = training_steps(state, task, config), []
    for _ in range(4):
        state = next(states)
        rows.append({"step": state.step, "loss": state.loss, "grad_norm": state.grad_norm})
    assert history == rows and [row["step"] for row in rows] == [1, 2, 3, 4]
    for mine, theirs, before, given in zip(trained, state.params, kept, params, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_array_equal(given, before)
    assert not np.array_equal(trained.tau, params.tau)


def test_train_takes_a_task_of_ones_own_and_learns_it():
    rng = np.random.default_rng(0)
    params = tau_rnn.init_params(10, 3, 1, 0.2, rng)
    trained, history = tau_rnn.train(params, Echo(), 60, rng=rng, lr=0.02)
    losses = [row["loss"] for row in history]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert isinstance(trained, tau_rnn.Params)


def test_training_twice_with_one_generator_draws_other_trials():
    rng = np.random.default_rng(0)
    params = tau_rnn.init_params(10, 3, 1, 0.2, rng)
    first, second = (tau_rnn.train(params, Echo(), 1, rng=rng)[1] for _ in range(2))
    assert first != second


def test_no_step_returns_the_network_that_was_given():
    trained, history = tau_rnn.train(network(), Echo(), 0, rng=np.random.default_rng(0))
    assert history == [] and all(map(np.array_equal, trained, network()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lrr": 0.1}, "TrainConfig: unknown field 'lrr'; did you mean 'lr'"),
        ({"lr": -1}, "lr: must be a finite number > 0, got -1"),
        ({"rng": 3}, "rng: must be a numpy.random.Generator, got int"),
        ({"steps": 1.5}, "steps: must be an integer >= 0, got 1.5"),
        ({"train": "tua"}, "did you mean 'tau'"),
    ],
)
def test_train_says_what_is_wrong(arguments, message):
    given = {"steps": 2, "rng": np.random.default_rng(0), **arguments}
    with pytest.raises(ValueError, match=message):
        tau_rnn.train(network(), Echo(), **given)


def test_a_loss_that_is_not_finite_is_an_error():
    with pytest.raises(NonFiniteLoss):
        tau_rnn.train(network(), make_task("multi_timescale", dt=0.1), 5,
                      rng=np.random.default_rng(0), lr=1e308, batch=2)


def test_the_signature_is_the_settled_one():
    parameters = inspect.signature(tau_rnn.train).parameters
    assert list(parameters) == ["params", "task", "steps", "rng", "connectivity", "settings"]
    assert parameters["rng"].kind is inspect.Parameter.KEYWORD_ONLY
