"""The store of results: one folder a run, each file whole, metrics.json last.

    <store>/<task>-<dist>-seed<k>/            or, for other settings, ...-<key>/
        config.json     all settings, the key, and the versions that computed it
        history.csv     one row for each evaluation
        initial.npz     Params before training, by field name
        final.npz       Params after it
        units.npz       per-unit arrays
        metrics.json    the numbers; it is written last, so a run that has it is complete
        checkpoint.npz  only while the run is not complete: enough to go on from
        error.json      only where the run failed in a sweep: why
        figure.png      where figures were asked for, with measures.png
        last_good.npz   only where the loss was not finite: the last Params that gave a finite one

A run is found by its key, the hash of its configuration, and never by its name alone.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np

import tau_rnn
from tau_rnn.experiment.config import EXPERIMENT_VERSION, RunConfig
from tau_rnn.experiment.files import (
    StoreError,
    generator_from,
    generator_state,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    write_text,
)
from tau_rnn.experiment.outcome import RunResult
from tau_rnn.experiment.run import RunState
from tau_rnn.model import Params
from tau_rnn.training import TrainingState

FORMAT, FORMAT_VERSION = "tau_rnn run", 1
CHECKPOINT = "tau_rnn checkpoint"
#: What a run may leave beside config.json and metrics.json.
FILES = (
    "checkpoint.npz", "history.csv", "initial.npz", "final.npz", "units.npz", "error.json",
    "figure.png", "measures.png", "last_good.npz",
)  # fmt: skip


def run_name(config: RunConfig) -> str:
    """``<task>-<dist>-seed<k>``, with characters that a file system may refuse replaced."""
    dist = re.sub(r"[^A-Za-z0-9.,=+-]", "_", config.dist)
    dist = dist if len(dist) <= 40 else f"{dist[:31]}-{config.key[:8]}"
    return f"{config.task}-{dist}-seed{config.seed}"


def places(store, config: RunConfig) -> tuple[Path, Path]:
    """Where a run may lie: under its plain name, or under its name and key."""
    name = run_name(config)
    return Path(store) / name, Path(store) / f"{name}-{config.key}"


def find(store, config: RunConfig) -> Path:
    """The folder of a run in a store: the one that holds it, or else the one to write it to.

    A run may lie under its plain name or under its name and key. A new run takes the plain name
    if all but its task, distribution and seed are the defaults, and its name and key otherwise.
    """
    plain, keyed = places(store, config)
    for folder in (plain, keyed):
        if stored_key(folder) == config.key:
            return folder
    default = RunConfig(task=config.task, dist=config.dist, seed=config.seed)
    return plain if config == default and not (plain / "config.json").exists() else keyed


def stored_key(folder) -> str | None:
    """The key of the run in a folder, or None if there is none that can be read."""
    with contextlib.suppress(OSError, StoreError):
        stored = read_json(Path(folder) / "config.json")
        if isinstance(stored, dict) and stored.get("format") == FORMAT:
            return stored.get("key")
    return None


def stored_config(folder) -> RunConfig:
    """The configuration of the run in a folder; a StoreError says why there is none."""
    path = Path(folder) / "config.json"
    try:
        stored = read_json(path)
    except FileNotFoundError:
        raise StoreError(f"{folder}: no run is stored here (config.json is missing)") from None
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise StoreError(f"{path}: not the configuration of a run of tau_rnn")
    if stored.get("format_version") != FORMAT_VERSION:
        raise StoreError(
            f"{path}: format version {stored.get('format_version')}, this tau_rnn reads "
            f"{FORMAT_VERSION}"
        )
    try:
        return RunConfig.from_json(stored["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: {error}") from None


def is_complete(folder) -> bool:
    """Whether a run in this folder was finished."""
    return (Path(folder) / "metrics.json").exists()


def begin(folder, config: RunConfig) -> None:
    """Make the folder of a run and write its configuration; what else was there is not its own.

    So a run that is overwritten and killed leaves no old numbers under the new configuration. The
    other files of a run of the same configuration are kept: its checkpoint above all.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stale = () if stored_key(folder) == config.key else FILES
    for name in ("metrics.json", *stale):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder / name)
    write_json(
        folder / "config.json",
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "experiment_version": EXPERIMENT_VERSION,
            "key": config.key,
            "settings": config.to_json(),
            "versions": versions(),
        },
    )


def versions() -> dict[str, str]:
    """The versions that computed a result."""
    import scipy

    return {
        "tau_rnn": tau_rnn.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def save_run(folder, result: RunResult) -> None:
    """Write a complete run. A reader never takes the old numbers for the new ones."""
    folder = Path(folder)
    begin(folder, result.config)
    write_arrays(folder / "initial.npz", result.initial._asdict())
    write_arrays(folder / "final.npz", result.final._asdict())
    write_arrays(folder / "units.npz", result.units)
    write_text(folder / "history.csv", _history_text(result.history))
    write_json(folder / "metrics.json", result.metrics)
    for name in ("checkpoint.npz", "error.json"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder / name)
    for part in folder.glob(".*.part"):  # of writes that were killed
        part.unlink(missing_ok=True)


def save_failure(folder, config: RunConfig, error: str) -> None:
    """Record why a run failed; it is not complete, and a sweep tries it again."""
    begin(folder, config)
    write_json(Path(folder) / "error.json", {"key": config.key, "error": error})


def damage(folder, config: RunConfig) -> str | None:
    """What is wrong with the entry of a run, or None: it is whole, unfinished, or another run's.

    An unfinished run (config.json, and no metrics.json) is not damaged, and neither is a folder
    without config.json: its writer was killed before the first file, or it is not a run's.
    """
    folder = Path(folder)
    try:
        stored = read_json(folder / "config.json")
        if not isinstance(stored, dict):
            return f"{folder / 'config.json'}: not the configuration of a run of tau_rnn"
        if stored.get("key") != config.key or not is_complete(folder):
            return None
        result = load_run(folder)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return f"{folder}: is a file, not the folder of a run"
    except StoreError as error:
        return str(error)
    if result.config != config:
        return f"{folder / 'config.json'}: the settings are not those of its key"
    return None


def set_aside(folder) -> Path:
    """Rename an entry to the first free ``<name>.damaged-<k>``; returns the new path."""
    folder = Path(folder)
    k = 1
    while (aside := folder.with_name(f"{folder.name}.damaged-{k}")).exists():
        k += 1
    return folder.rename(aside)


def load_run(path) -> RunResult:
    """Read a run back.

    Parameters
    ----------
    path : folder of the run, ``<out>/<task>-<dist>-seed<k>``

    Raises
    ------
    StoreError (a ValueError)
        If there is no complete run, or a file of it is damaged: the message names the file.
    """
    folder = Path(path)
    config = stored_config(folder)
    if not is_complete(folder):
        raise StoreError(f"{folder}: the run is not complete (metrics.json is missing)")
    try:
        metrics = read_json(folder / "metrics.json")
        if not (isinstance(metrics, dict) and "accuracy" in metrics and _are_numbers(metrics)):
            raise StoreError(f"{folder / 'metrics.json'}: not the metrics of a run")
        history = _read_history(folder / "history.csv")
        initial, final = (
            Params(**{k: v for k, v in read_arrays(folder / name, Params._fields).items()})
            for name in ("initial.npz", "final.npz")
        )
        units = read_arrays(folder / "units.npz")
    except FileNotFoundError as error:
        raise StoreError(f"{error.filename}: missing from a stored run") from None
    except TypeError as error:
        raise StoreError(f"{folder}: initial.npz or final.npz is foreign ({error})") from None
    last = history[-1]["step"] if history else 0
    if last != config.steps:
        raise StoreError(
            f"{folder / 'history.csv'}: ends at step {last}, the run has {config.steps} steps"
        )
    for name, params in (("initial.npz", initial), ("final.npz", final)):
        if params.W.shape != (config.units, config.units):
            raise StoreError(
                f"{folder / name}: W has the shape {params.W.shape}, the run {config.units} units"
            )
    return RunResult(config, metrics, history, initial, final, units)


def save_checkpoint(folder, config: RunConfig, state: RunState) -> None:
    """Write all that the run needs to go on, every random state included, in one atomic file."""
    training = state.training
    meta = {
        "format": CHECKPOINT,
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
    write_arrays(Path(folder) / "checkpoint.npz", arrays)


def load_checkpoint(folder, config: RunConfig) -> RunState:
    """Read a checkpoint back, or say in a StoreError what is wrong with it."""
    path = Path(folder) / "checkpoint.npz"
    names = [f"{part}_{f}" for part in ("params", "initial") for f in Params._fields]
    try:
        arrays = read_arrays(path, ["meta", "theta", "moments", *names])
        meta = json.loads(str(arrays["meta"]))
        if meta.get("format") != CHECKPOINT or meta.get("format_version") != FORMAT_VERSION:
            raise StoreError(f"{path}: not a checkpoint of this version of tau_rnn")
        if meta["key"] != config.key:
            raise StoreError(f"{path}: the checkpoint of another run (other settings)")
        params, initial = (
            Params(**{f: arrays[f"{part}_{f}"] for f in Params._fields})
            for part in ("params", "initial")
        )
        training = TrainingState(
            meta["step"], params, arrays["theta"], arrays["moments"],
            generator_from(meta["trials_rng"]), generator_from(meta["noise_rng"]),
            meta["loss"], meta["grad_norm"],
        )  # fmt: skip
        return RunState(training, initial, meta["history"], meta["losses"], meta["seconds"])
    except FileNotFoundError:
        raise StoreError(f"{path}: there is no checkpoint to resume from") from None
    except StoreError as error:
        about = "" if str(path) in str(error) else f"{path}: "
        raise StoreError(f"{about}{error}") from None
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise StoreError(f"{path}: not a checkpoint of tau_rnn ({error!r})") from None


def _are_numbers(metrics: dict[str, Any]) -> bool:
    return all(value is None or isinstance(value, (int, float)) for value in metrics.values())


def _history_text(history: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    return text.getvalue()


def _read_history(path) -> list[dict[str, float]]:
    with open(path, newline="", encoding="utf-8") as file:
        try:
            return [
                {k: int(v) if k == "step" else float(v) for k, v in row.items()}
                for row in csv.DictReader(file)
            ]
        except (TypeError, ValueError) as error:
            raise StoreError(f"{path}: not the history of a run ({error})") from None
