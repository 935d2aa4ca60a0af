"""The store of results: one folder per run, which appears whole or not at all::

    <store>/<task>-<dist>-seed<k>/            or, for other settings, ...-<key>/
        config.json     all settings, the key, and the versions that computed it
        history.csv     one row for each evaluation
        initial.npz     Params before training, by field name
        final.npz       Params after it
        units.npz       per-unit arrays
        state.npz       of a single run: enough to train it for more steps
        metrics.json    the numbers, and under "files" the size and digest of each file above
        figure.png      where figures were asked for, with measures.png
    <store>/.unfinished/<key>/                while a run is computed, see `unfinished`

A run is found by its key, the hash of its configuration, and never by its name alone. What is read
is what was written: `load_run` compares every digest, and opens no file but those of the run.
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
from tau_rnn.checks import check_array, check_number
from tau_rnn.experiment.config import EXPERIMENT_VERSION, RunConfig
from tau_rnn.experiment.files import (
    LARGEST_TEXT,
    StoreError,
    array_bytes,
    arrays_from,
    csv_text,
    json_bytes,
    json_from,
    read_bytes,
    sha256,
    write_bytes,
)
from tau_rnn.experiment.outcome import RunResult
from tau_rnn.model import Params

__all__ = ["load_run"]

_FORMAT, FORMAT_VERSION = "tau_rnn run", 2
#: The files that metrics.json vouches for.
_DATA = ("config.json", "history.csv", "initial.npz", "final.npz", "units.npz")
STATE = "state.npz"
_AGAIN = "compute the run again"


# --- names ---------------------------------------------------------------------------------------


def run_name(config: RunConfig) -> str:
    """``<task>-<dist>-seed<k>``, with characters that a file system may refuse replaced."""
    task, dist = (
        name if len(name) <= 40 else f"{name[:31]}-{config.key[:8]}"
        for name in (
            re.sub(r"[^A-Za-z0-9_.,=+-]", "_", text) for text in (config.task_label, config.dist)
        )
    )
    return f"{task}-{dist}-seed{config.seed}"


def places(store, config: RunConfig) -> tuple[Path, Path]:
    """Where a run may lie: under its plain name, or under its name and key."""
    name = run_name(config)
    return Path(store) / name, Path(store) / f"{name}-{config.key}"


def find(store, config: RunConfig) -> Path | None:
    """The folder that holds a run, by its plain name or its name and key; None if there is none."""
    return next((f for f in places(store, config) if stored_key(f) == config.key), None)


def shorter_run(store, config: RunConfig) -> tuple[Path, int] | None:
    """The longest finished run that differs in having fewer steps, and its steps; or None."""
    found = []
    for path in Path(store).glob("*/config.json"):
        with contextlib.suppress(StoreError):
            other = stored_config(path.parent)
            fewer = other.steps < config.steps and ".damaged-" not in path.parent.name
            if fewer and other.replace(steps=config.steps) == config:
                found.append((other.steps, path.parent))
    return max(found)[::-1] if found else None


# --- writing -------------------------------------------------------------------------------------


def write_run(folder, result: RunResult, state: bytes | None = None) -> None:
    """Write the files of a finished run into a folder that no one else reads yet.

    ``state`` is the content of state.npz, or None. A ValueError says that the result is not one of
    its configuration, as `load_run` would find.
    """
    folder, config = Path(folder), result.config
    _check(result)
    contents = {
        "config.json": json_bytes(
            {
                "format": _FORMAT,
                "format_version": FORMAT_VERSION,
                "experiment_version": EXPERIMENT_VERSION,
                "key": config.key,
                "settings": config.to_json(),
                "versions": versions(),
            }
        ),
        "history.csv": csv_text(result.history).encode(),
        "initial.npz": array_bytes(result.initial._asdict()),
        "final.npz": array_bytes(result.final._asdict()),
        "units.npz": array_bytes(result.units),
    }
    if state is not None:
        contents[STATE] = state
    for name, content in contents.items():
        write_bytes(folder / name, content)
    metrics = json.loads(json_bytes(result.metrics))
    files = {
        name: {"bytes": len(content), "sha256": sha256(content)}
        for name, content in contents.items()
    }
    files["metrics.json"] = {"sha256": _own_digest(metrics, files)}
    write_bytes(folder / "metrics.json", json_bytes({**metrics, "files": files}))


def versions() -> dict[str, str]:
    """The versions that computed a result."""
    import scipy

    return {
        "tau_rnn": tau_rnn.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def _own_digest(metrics: dict[str, Any], files: dict[str, Any]) -> str:
    """The digest of what metrics.json says, however it is laid out."""
    others = {name: files[name] for name in files if name != "metrics.json"}
    return sha256(json.dumps([metrics, others], sort_keys=True).encode())


# --- reading -------------------------------------------------------------------------------------


def stored_key(folder) -> str | None:
    """The key of the run in a folder, or None if there is none that can be read."""
    with contextlib.suppress(FileNotFoundError, StoreError):
        key = config_of(read_bytes(Path(folder) / "config.json", LARGEST_TEXT), folder)["key"]
        return key if isinstance(key, str) else None
    return None


def stored_config(folder) -> RunConfig:
    """The configuration of the run in a folder; a StoreError says why there is none."""
    return _settings_of(_read(folder, "config.json", LARGEST_TEXT), folder)


def _read(folder, name: str, most: int) -> bytes:
    try:
        return read_bytes(Path(folder) / name, most)
    except FileNotFoundError:
        what = "no run is stored here" if name == "config.json" else "the stored run is not whole"
        raise StoreError(f"{folder}: {what} ({name} is missing)") from None


def config_of(content: bytes, folder) -> dict[str, Any]:
    """What a config.json says; a StoreError if it is not that of a run."""
    path = Path(folder) / "config.json"
    stored = json_from(content, path)
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT or "key" not in stored:
        raise StoreError(f"{path}: not the configuration of a run of tau_rnn")
    return stored


def _settings_of(content: bytes, folder) -> RunConfig:
    """The configuration, if this version computes the same from it, under the same key."""
    path = Path(folder) / "config.json"
    stored = config_of(content, folder)
    for name, what, current in (
        ("format_version", "format version", FORMAT_VERSION),
        ("experiment_version", "version of the experiment", EXPERIMENT_VERSION),
    ):
        if stored.get(name) != current:
            raise StoreError(
                f"{path}: {what} {stored.get(name)}, this tau_rnn has {current}; {_AGAIN}"
            )
    try:
        with np.errstate(all="ignore"):
            config = RunConfig.from_json(stored["settings"])
    except Exception as error:  # whatever a foreign text does to the parts of a configuration
        raise StoreError(f"{path}: {error}") from None
    if config.key != stored["key"] or config.to_json() != stored["settings"]:
        raise StoreError(f"{path}: the settings are not those of its key")
    return config


def load_run(path: str | Path) -> RunResult:
    """Read a run back, after its digests are compared. It opens no file but those of the run.

    Parameters
    ----------
    path : folder of the run, ``<out>/<task>-<dist>-seed<k>``

    Returns
    -------
    RunResult

    Raises
    ------
    StoreError (a ValueError)
        If there is no run, or a file of it is not what was written: the message names the file.

    Examples
    --------
    >>> load_run("nowhere")
    Traceback (most recent call last):
    ...
    tau_rnn.experiment.files.StoreError: nowhere: no run is stored here (config.json is missing)
    """
    if not isinstance(path, (str, os.PathLike)):
        raise StoreError(f"path: must be the folder of a run, got {path!r}")
    folder = Path(path)
    content = _read(folder, "config.json", LARGEST_TEXT)
    config = _settings_of(content, folder)
    metrics, files = _vouched(folder)
    contents = {name: _verified(folder, name, files[name]) for name in files}
    if contents["config.json"] != content:
        raise StoreError(f"{folder / 'config.json'}: changed while it was read")
    history = _history_from(contents["history.csv"], folder / "history.csv")
    initial, final = (
        _params_from(contents[name], folder / name) for name in ("initial.npz", "final.npz")
    )
    units = arrays_from(contents["units.npz"], folder / "units.npz")
    result = RunResult(config, metrics, history, initial, final, units)
    try:
        _check(result)
    except ValueError as error:
        raise StoreError(f"{folder}: {error}") from None
    return result


def _vouched(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metrics, and what metrics.json says of the other files."""
    path = folder / "metrics.json"
    metrics = json_from(_read(folder, "metrics.json", LARGEST_TEXT), path)
    try:
        files = metrics.pop("files")
        own = files.pop("metrics.json")["sha256"]
        if own != _own_digest(metrics, files):
            raise StoreError(f"{path}: not as it was written (its digest differs)")
        if not {*_DATA} <= {*files} <= {*_DATA, STATE}:
            raise StoreError(f"{path}: does not vouch for the files of a run")
        files = {k: (int(file["bytes"]), str(file["sha256"])) for k, file in files.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path}: not the metrics of a run of tau_rnn") from None
    return metrics, files


def _verified(folder: Path, name: str, expected: tuple[int, str]) -> bytes:
    size, digest = expected
    content = _read(folder, name, size)
    if len(content) != size or sha256(content) != digest:
        raise StoreError(
            f"{folder / name}: not as it was written (metrics.json has the digest of another file)"
        )
    return content


def _params_from(content: bytes, path: Path) -> Params:
    arrays = arrays_from(content, path, Params._fields)
    if len(arrays) != len(Params._fields):
        raise StoreError(f"{path}: holds more than the fields of Params")
    return Params(**arrays)


def _history_from(content: bytes, path: Path) -> list[dict[str, float]]:
    try:
        rows = csv.DictReader(io.StringIO(content.decode(), newline=""))
        return [{k: int(v) if k == "step" else float(v) for k, v in row.items()} for row in rows]
    except (TypeError, ValueError, csv.Error) as error:
        raise StoreError(f"{path}: not the history of a run ({error})") from None


# --- checking ------------------------------------------------------------------------------------


def _check(result: RunResult) -> None:
    """Raise a ValueError that names what does not belong to a run of this configuration."""
    config, metrics, history, initial, final, units, _ = result
    _check_history(config, history)
    for name, value in {"loss": None, "steps": None, "seconds": None, **metrics}.items():
        if value is not None or name in ("loss", "steps", "seconds"):
            check_number(f"metrics.json: {name}", None if isinstance(value, str) else value)
    if metrics["steps"] != config.steps or metrics["loss"] != history[-1]["loss"]:
        raise ValueError("metrics.json: the steps and the loss are not those of the history")
    for name, params in (("initial.npz", initial), ("final.npz", final)):
        check_network(config, name, params)
    if any(a.shape != b.shape for a, b in zip(initial, final)):
        raise ValueError("final.npz: not the shapes of initial.npz")
    for name, values in units.items():
        if values.dtype.kind not in "fU" or values.shape != (config.units,):
            raise ValueError(
                f"units.npz: {name}: must be {config.units} numbers or texts, got "
                f"{values.dtype} of shape {values.shape}"
            )


def _check_history(config: RunConfig, history: list[dict[str, float]]) -> None:
    expected = [*range(0, config.steps, config.eval_every), config.steps]
    if [row.get("step") for row in history] != expected:
        raise ValueError(f"history.csv: not the evaluations of a run of {config.steps} steps")
    for row in history:
        missing = {"train_loss", "loss", "grad_norm", "weight_change"} - row.keys()
        if missing or row.keys() != history[0].keys():
            raise ValueError(f"history.csv: lacks {', '.join(sorted(missing)) or 'columns'}")
        check_number("history.csv: loss", row["loss"])


def check_network(config: RunConfig, file: str, params: Params) -> None:
    """Raise a ValueError that names the file and field that does not suit the configuration."""
    N = config.units
    shapes: tuple[tuple[int | str, ...], ...] = (
        (N, N), (N, "n_in"), (N,), ("n_out", N), ("n_out",), (N,), (N,)
    )  # fmt: skip
    for field, values, shape in zip(Params._fields, params, shapes):
        check_array(f"{file}: {field}", values, shape)
        if values.dtype != config.dtype:
            raise ValueError(f"{file}: {field}: must be {config.dtype}, got {values.dtype}")
    if len(params.b_out) != len(params.W_out):
        raise ValueError(f"{file}: W_out and b_out do not have the same number of outputs")
    check_number(f"{file}: smallest tau", params.tau.min(), above=0)
