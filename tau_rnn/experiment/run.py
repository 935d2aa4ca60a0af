"""A run, step by step: its random streams, its test set, its training and its evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tau_rnn.discretisation import alpha
from tau_rnn.experiment.config import RunConfig
from tau_rnn.losses import mse
from tau_rnn.model import Array, Params, forward, init_params
from tau_rnn.noise import noise_scale, standard_noise
from tau_rnn.parametrization import unconstrain
from tau_rnn.tasks import Trials
from tau_rnn.taus import sample_tau
from tau_rnn.training import TrainingState, start, training_steps

STREAMS = ("tau", "weights", "trials", "noise", "test_trials", "test_noise", "analysis", "measures")
EVALUATION_BATCH = 128


class RunState(NamedTuple):
    """A run between two steps: enough to go on from. ``history`` has a row for each evaluation.

    Its arrays, lists and generators are those of the run, which goes on with them: keep a
    ``copy.deepcopy`` of a state that you want to go on from, or to look at, later.
    """

    training: TrainingState
    initial: Params
    history: list[dict[str, float]]
    losses: list[float]  # training losses since the last evaluation
    seconds: float


def streams(seed: int) -> dict[str, np.random.Generator]:
    """Independent generators by name, spawned from one seed."""
    children = np.random.SeedSequence(seed).spawn(len(STREAMS))
    return {k: np.random.Generator(np.random.SFC64(s)) for k, s in zip(STREAMS, children)}


def draw_tau(config: RunConfig, rng) -> Array:
    """The run's time constants (N,) in s, rescaled where ``rescale_tau`` says so."""
    tau = sample_tau(config.dist, config.units, rng)
    if config.rescale_tau == "harmonic":
        tau = tau * np.mean(1 / tau)
    return tau


def build_network(config: RunConfig) -> Params:
    """The untrained network of a run; a ValueError if its tau do not suit dt or the training."""
    rngs, task = streams(config.seed), config.make_task()
    tau = draw_tau(config, rngs["tau"])
    alpha(tau, config.dt, config.method)
    if "tau" in config.train:
        unconstrain(tau, config.dt)
    with np.errstate(over="ignore"):
        params = init_params(
            config.units, task.n_in, task.n_out, tau, rngs["weights"],
            gain=config.gain, dtype=np.dtype(config.dtype),
        )  # fmt: skip
    if not np.isfinite(params.W).all():
        raise ValueError(f"gain: {config.gain:g} is too large for weights of {config.dtype}")
    return params


class HeldOut(NamedTuple):
    """The held-out trials of a run with the standard normal part of their private noise."""

    trials: Trials
    noise: Array  # (T, B, N), of size 1


def make_held_out(config: RunConfig, params: Params) -> HeldOut:
    """The run's test set: the same for every distribution of one seed, and in every evaluation."""
    rngs, task = streams(config.seed), config.make_task()
    trials = task.trials(config.test_trials, rngs["test_trials"], dtype=np.dtype(config.dtype))
    shape = (*trials.u.shape[:2], len(params.tau))
    return HeldOut(trials, standard_noise(shape, params.tau.dtype, rngs["test_noise"]))


def outputs(config: RunConfig, params: Params, test: HeldOut) -> Array:
    """Outputs (T, B, n_out) of a network on the test set, its private noise on."""
    dt, method = config.dt, config.method
    size = config.make_task().noise * noise_scale(params.tau, dt, method)  # tau may be trained
    y = np.empty((*test.trials.u.shape[:2], len(params.b_out)), params.W.dtype)
    traj = None
    for i in range(0, y.shape[1], EVALUATION_BATCH):
        some = slice(i, i + EVALUATION_BATCH)
        u, noise = np.ascontiguousarray(test.trials.u[:, some]), test.noise[:, some] * size
        fits = traj is not None and traj.y.shape[1] == u.shape[1]
        traj = forward(
            params, u, dt, phi=config.phi, method=method, noise=noise, out=traj if fits else None
        )
        y[:, some] = traj.y
    return y


def evaluate(config: RunConfig, params: Params, test: HeldOut, task=None) -> dict[str, float]:
    """Loss and the task's scores of a network on the test set of a run.

    Parameters
    ----------
    config : RunConfig
    params : Params, the network
    test : HeldOut, from `make_held_out` (config, initial parameters)
    task : the task of config, made anew if None

    Returns
    -------
    dict of ``loss`` and what ``task.scores`` gives: ``accuracy`` and the scores of its parts
    """
    task = task or config.make_task()
    y = outputs(config, params, test)
    loss, _ = mse(y, test.trials.target, test.trials.mask)
    return {"loss": loss, **task.scores(y, test.trials)}


def iterate(
    config: RunConfig,
    saved: RunState | None = None,
    tell: Callable[[str], object] | None = None,
) -> Iterator[RunState]:
    """Run step by step; hands over the state at the start and after each step.

    Parameters
    ----------
    config : RunConfig
    saved : a state that an earlier call handed over last, a deep copy of an earlier one, or one
        of `checkpoints.load_state`; the run goes on from there, bit for bit as if it had not been
        interrupted. The last state of the same run with fewer steps is one as well
    tell : called with what is done between two steps, such as "evaluation", before it is

    Raises
    ------
    NonFiniteLoss
        See `tau_rnn.training.training_steps`.
    """
    task = config.make_task()
    began = time.perf_counter()
    if saved is None:
        initial, rngs = build_network(config), streams(config.seed)
        training = start(initial, config, config.dt, rngs["trials"], rngs["noise"])
        state = RunState(training, initial, [], [], 0.0)
    else:
        state, began = saved, began - saved.seconds
    initial, history, losses = state.initial, state.history, state.losses
    tell = tell or (lambda name: None)
    tell("evaluation")
    test = make_held_out(config, initial)
    if not history:
        history.append(_evaluation(config, state, test, task))
        yield state._replace(seconds=time.perf_counter() - began)
    if state.training.step >= config.steps:
        return
    if history[-1]["step"] % config.eval_every:  # the last evaluation of a run that was shorter
        history.pop()
    for training in training_steps(state.training, task, config):
        losses.append(training.loss)
        state = RunState(training, initial, history, losses, time.perf_counter() - began)
        if training.step % config.eval_every == 0 or training.step == config.steps:
            tell("evaluation")
            history.append(_evaluation(config, state, test, task))
            if training.step % config.eval_every == 0:  # a longer run would go on with them
                losses.clear()
        yield state._replace(seconds=time.perf_counter() - began)
        if training.step >= config.steps:
            return


def _evaluation(config, state: RunState, test: HeldOut, task) -> dict[str, float]:
    training, initial, _, losses, _ = state
    return {
        "step": training.step,
        "train_loss": float(np.mean(losses)) if losses else float("nan"),
        **evaluate(config, training.params, test, task),
        "grad_norm": training.grad_norm,
        "weight_change": relative_change(initial.W, training.params.W),
    }


def relative_change(W0, W1) -> float:
    """||W1 - W0||_F / ||W0||_F in float64; nan where W0 is zero."""
    W0, W1 = np.asarray(W0, float), np.asarray(W1, float)
    size = np.linalg.norm(W0)
    return float(np.linalg.norm(W1 - W0) / size) if size > 0 else float("nan")
