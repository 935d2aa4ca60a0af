"""A run between two steps, as a file: all that it needs to go on, bit for bit on the same machine.

It is the checkpoint of an unfinished run, and ``state.npz`` of a finished one, from which it can be
trained for more steps.
"""

from __future__ import annotations

import json

import numpy as np

from tau_rnn.checks import check_array, check_integer, check_number
from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.files import (
    StoreError,
    array_bytes,
    arrays_from,
    generator_from,
    generator_state,
    read_bytes,
)
from tau_rnn.experiment.run import RunState
from tau_rnn.experiment.store import FORMAT_VERSION, check_network
from tau_rnn.model import Params
from tau_rnn.training import TrainingState

__all__: list[str] = []

_FORMAT = "tau_rnn checkpoint"


def state_bytes(config: RunConfig, state: RunState) -> bytes:
    """The content of a checkpoint: every array and every random state."""
    training = state.training
    meta = {
        "format": _FORMAT,
        "format_version": FORMAT_VERSION,
        "key": config.key,
        "step": training.step,
        "trials_rng": generator_state(training.trials_rng),
        "noise_rng": generator_state(training.noise_rng),
        "history": state.history,
        "losses": state.losses,
        "seconds": state.seconds,
        "loss": training.loss,
        "grad_norm": training.grad_norm,
    }
    arrays = {"meta": np.array(json.dumps(meta)), "theta": training.theta}
    arrays["moments"] = training.moments
    arrays |= {f"params_{k}": v for k, v in training.params._asdict().items()}
    arrays |= {f"initial_{k}": v for k, v in state.initial._asdict().items()}
    return array_bytes(arrays)


def load_state(path, config: RunConfig) -> RunState:
    """Read a checkpoint of this configuration, or say in a StoreError what is wrong with it."""
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        raise StoreError(f"{path}: there is no checkpoint to resume from") from None
    names = [f"{part}_{f}" for part in ("params", "initial") for f in Params._fields]
    arrays = arrays_from(content, path, ["meta", "theta", "moments", *names])
    try:
        meta = json.loads(str(arrays["meta"]))
        if meta.get("format") != _FORMAT or meta.get("format_version") != FORMAT_VERSION:
            raise StoreError("not a checkpoint of this version of tau_rnn")
        if meta["key"] != config.key:
            raise StoreError("the checkpoint of another run (other settings)")
        params, initial = (
            Params(**{f: arrays[f"{part}_{f}"] for f in Params._fields})
            for part in ("params", "initial")
        )
        training = TrainingState(
            check_integer("step", meta["step"], 0, config.steps),
            params, arrays["theta"], arrays["moments"],
            generator_from(meta["trials_rng"]), generator_from(meta["noise_rng"]),
            float(meta["loss"]), float(meta["grad_norm"]),
        )  # fmt: skip
        losses = [check_number("losses", loss) for loss in meta["losses"]]
        history = [dict(row) for row in meta["history"]]
        for row in history:
            check_integer("history", row["step"], 0, training.step)
        seconds = check_number("seconds", meta["seconds"], least=0)
        _check(config, training, initial)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None
    except Exception as error:  # whatever a foreign file holds in the place of its parts
        raise StoreError(f"{path}: not a checkpoint of tau_rnn ({error})") from None
    return RunState(training, initial, history, losses, seconds)


def _check(config: RunConfig, training: TrainingState, initial: Params) -> None:
    """Raise a ValueError unless every array has the shape and the type that training needs."""
    check_network(config, "params", training.params)
    check_network(config, "initial", initial)
    n = sum(getattr(initial, field).size for field in config.train)
    for name, values, shape in (
        ("theta", training.theta, (n,)),
        ("moments", training.moments, (2, n)),
    ):
        if check_array(name, values, shape).dtype != config.dtype:
            raise ValueError(f"{name}: must be {config.dtype}, got {values.dtype}")
