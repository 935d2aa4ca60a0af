"""A run, step by step: what it is made of, its training and its evaluations."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.checks import shown
from tau_rnn.connectivity import Connectivity, impose, make_connectivity
from tau_rnn.discretisation import alpha
from tau_rnn.experiment.config import RunConfig
from tau_rnn.losses import mse
from tau_rnn.measures import weight_change
from tau_rnn.model import Array, Params, forward, init_params
from tau_rnn.noise import noise_scale, standard_noise
from tau_rnn.parametrization import unconstrain
from tau_rnn.tasks import Trials
from tau_rnn.taus import sample_tau
from tau_rnn.training import TrainingState, start, training_steps

__all__ = ["RunState", "build_network", "iterate"]

STREAMS = ("tau", "weights", "trials", "noise", "test_trials", "test_noise", "analysis", "measures",
           "connectivity")  # fmt: skip
EVALUATION_BATCH = 128


# --- what a run is made of -----------------------------------------------------------------------


class _HeldOut(NamedTuple):
    """The held-out trials of a run with the standard normal part of their private noise."""

    trials: Trials
    noise: Array  # (T, B, N), of size 1


class Setup(NamedTuple):
    """What a run is made of, each drawn once from its configuration.

    ``streams`` are its generators as they were spawned, see `Setup.rng`; ``initial`` is the network
    before training; ``test`` is the same for every distribution of one seed and every evaluation;
    ``connectivity`` is what the network obeys, None where every weight may exist.
    """

    config: RunConfig
    task: Any
    streams: dict[str, np.random.Generator]
    initial: Params
    test: _HeldOut
    connectivity: Connectivity | None = None

    def rng(self, name: str) -> np.random.Generator:
        """A stream from its start, however often it is asked for."""
        return copy.deepcopy(self.streams[name])


def streams(seed: int) -> dict[str, np.random.Generator]:
    """Independent generators by name, spawned from one seed."""
    children = np.random.SeedSequence(seed).spawn(len(STREAMS))
    return {k: np.random.Generator(np.random.SFC64(s)) for k, s in zip(STREAMS, children)}


def set_up(config: RunConfig) -> Setup:
    """Draw what a run is made of; a ValueError if its tau do not suit dt or the training."""
    if not isinstance(config, RunConfig):
        raise ValueError(f"config: must be a RunConfig, got {shown(config)}")
    task, spawned = config.make_task(), streams(config.seed)
    rngs, dtype = copy.deepcopy(spawned), np.dtype(config.dtype)
    initial, connectivity = _network(config, task, rngs)
    trials = task.trials(config.test_trials, rngs["test_trials"], dtype=dtype)
    shape = (*trials.u.shape[:2], config.units)
    test = _HeldOut(trials, standard_noise(shape, initial.tau.dtype, rngs["test_noise"]))
    return Setup(config, task, spawned, initial, test, connectivity)


def build_network(config: RunConfig) -> Params:
    """The untrained network of a run.

    Parameters
    ----------
    config : RunConfig

    Returns
    -------
    Params

    Raises
    ------
    ValueError
        If its tau do not suit dt or the training.

    Examples
    --------
    >>> build_network(RunConfig(units=5, dist="bimodal", seed=1)).tau.tolist()
    [0.5, 1.5, 1.5, 1.5, 0.5]
    """
    return _network(config, config.make_task(), streams(config.seed))[0]


def _network(config: RunConfig, task, rngs) -> tuple[Params, Connectivity | None]:
    tau = draw_tau(config, rngs["tau"])
    alpha(tau, config.dt, config.method)
    if "tau" in config.train:
        unconstrain(tau, config.dt)
    with np.errstate(over="ignore"):
        params = init_params(
            config.units, task.n_in, task.n_out, tau, rngs["weights"],
            gain=config.gain, dtype=np.dtype(config.dtype), init=config.init,
        )  # fmt: skip
    if not np.isfinite(params.W).all():
        raise ValueError(f"gain: {config.gain:g} is too large for weights of {config.dtype}")
    connectivity = make_connectivity(
        config.connectivity, config.units, task.n_in, task.n_out, rngs["connectivity"]
    )
    return (params if connectivity is None else impose(params, connectivity)), connectivity


def draw_tau(config: RunConfig, rng) -> Array:
    """The run's time constants (N,) in s, rescaled where ``rescale_tau`` says so."""
    tau = sample_tau(config.dist, config.units, rng)
    if config.rescale_tau == "harmonic":
        tau = tau * np.mean(1 / tau)
    return tau


# --- its steps and evaluations -------------------------------------------------------------------


class RunState(NamedTuple):
    """A run between two steps: enough to go on from.

    Its arrays, lists and generators are those of the run, which goes on with them: keep a
    ``copy.deepcopy`` of a state that you want to go on from, or to look at, later.

    Attributes
    ----------
    training : TrainingState
    initial : Params before training
    history : a dict for each evaluation
    losses : training losses since the last evaluation
    seconds : spent so far
    setup : Setup; None in a state that was read from a checkpoint

    Examples
    --------
    >>> config = RunConfig(units=4, steps=2, dt=0.1, batch=2, test_trials=4)
    >>> [state.training.step for state in iterate(config)]
    [0, 1, 2]
    """

    training: TrainingState
    initial: Params
    history: list[dict[str, float]]
    losses: list[float]  # training losses since the last evaluation
    seconds: float
    setup: Setup | None = None


def iterate(
    config: RunConfig,
    saved: RunState | None = None,
    tell: Callable[[str], object] | None = None,
    setup: Setup | None = None,
) -> Iterator[RunState]:
    """Run step by step, yielding the state at the start and after each step.

    Parameters
    ----------
    config : RunConfig
    saved : the last state that an earlier call yielded, a deep copy of an earlier one, or one of
        `unfinished.load_state`; the run continues from there, on the same machine bit for bit as
        if never interrupted. The last state of the same run with fewer steps will do as well
    tell : called with the name of what comes next between two steps, such as "evaluation"
    setup : of `set_up`, where it has been called already

    Yields
    ------
    RunState
        At the start, and after each step.

    Raises
    ------
    NonFiniteLoss
        See `tau_rnn.training.training_steps`.

    Examples
    --------
    >>> config = RunConfig(units=5, steps=2, dt=0.1, batch=2, test_trials=4)
    >>> [state.training.step for state in iterate(config)]
    [0, 1, 2]
    """
    began = time.perf_counter()
    setup = setup or set_up(config)
    if saved is None:
        rngs = setup.rng("trials"), setup.rng("noise")
        training = start(setup.initial, config, config.dt, *rngs)
        state = RunState(training, setup.initial, [], [], 0.0, setup)
    else:
        setup = setup._replace(initial=saved.initial)
        state, began = saved._replace(setup=setup), began - saved.seconds
    history, losses = state.history, state.losses
    tell = tell or (lambda name: None)
    tell("evaluation")
    if not history:
        history.append(_evaluation(setup, state))
        yield state._replace(seconds=time.perf_counter() - began)
    if state.training.step >= config.steps:
        return
    if history[-1]["step"] % config.eval_every:  # the last evaluation of a run that was shorter
        history.pop()
    for training in training_steps(state.training, setup.task, config, setup.connectivity):
        losses.append(training.loss)
        state = state._replace(training=training)
        if training.step % config.eval_every == 0 or training.step == config.steps:
            tell("evaluation")
            history.append(_evaluation(setup, state))
            if training.step % config.eval_every == 0:  # a longer run would go on with them
                losses.clear()
        yield state._replace(seconds=time.perf_counter() - began)
        if training.step >= config.steps:
            return


def evaluate(setup: Setup, params: Params) -> dict[str, float]:
    """``loss`` of a network on the held-out trials of a run, and what ``task.scores`` gives."""
    y, trials = outputs(setup, params), setup.test.trials
    loss, _ = mse(y, trials.target, trials.mask)
    return {"loss": loss, **setup.task.scores(y, trials)}


def outputs(setup: Setup, params: Params) -> Array:
    """Outputs (T, B, n_out) of a network on the held-out trials, its private noise on."""
    config, task, (trials, xi) = setup.config, setup.task, setup.test
    size = task.noise * noise_scale(params.tau, config.dt, config.method)  # tau may be trained
    y: Any = np.empty((*trials.u.shape[:2], len(params.b_out)), params.W.dtype)
    for i in range(0, y.shape[1], EVALUATION_BATCH):
        some = slice(i, i + EVALUATION_BATCH)
        u, noise = trials.u[:, some], xi[:, some] * size
        y[:, some] = forward(
            params, u, config.dt, phi=config.phi, method=config.method, noise=noise,
            checkpoint_every=16,  # of the states none is used, so they stay in the cache
        ).y  # fmt: skip
    return y


def _evaluation(setup: Setup, state: RunState) -> dict[str, float]:
    training, losses = state.training, state.losses
    return {
        "step": training.step,
        "train_loss": float(np.mean(losses)) if losses else float("nan"),
        **evaluate(setup, training.params),
        "grad_norm": training.grad_norm,
        "weight_change": weight_change(setup.initial.W, training.params.W).relative,
    }
