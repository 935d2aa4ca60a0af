"""Unfinished runs: where a run is computed, and how it is published::

    <store>/.unfinished/<key>/
        lock            held by the process that computes the run
        checkpoint.npz  of a single run: enough to go on from, bit for bit
        error.json      why it failed, if it did
        last_good.npz   where the loss was not finite: the last Params that gave a finite one
        run-<...>/      the finished run while its files are written
        old-<name>/     what the finished run replaces

A run is computed in a folder of its own, named by its key: runs of different settings never share
one. One process works in it. The system releases its lock when it dies, and what it left is cleaned
by the next process that takes the lock, and by no other. A finished run is published by one rename.
If its plain name is taken by then, it is published under its name and key.

The rename needs a store that is one file system. A folder that is not empty is never renamed over:
neither POSIX nor Windows does that. Where a run replaces an entry (``--force``), the old one is
renamed out of the way first; a reader in between finds none, and where the writer is killed in
between, the next one puts it back. Windows renames no folder while another program has a file of it
open: the rename is tried again for two seconds, and after that fails with the checkpoint kept. On a
network file system a rename is one step of the server. Without locks (see `files`) two processes of
the same settings both compute the run, and the first to finish publishes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tau_rnn.checks import check_array, check_integer, check_number, check_path, shown
from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.files import (
    LARGEST_TEXT,
    Held,
    Lock,
    StoreError,
    array_bytes,
    arrays_from,
    generator_from,
    generator_state,
    json_bytes,
    made_folder,
    read_bytes,
    sync_folder,
    write_bytes,
)
from tau_rnn.experiment.outcome import RunResult
from tau_rnn.experiment.run import RunState
from tau_rnn.experiment.store import (
    FORMAT_VERSION,
    check_network,
    config_of,
    load_run,
    stored_key,
    write_run,
)
from tau_rnn.model import Params
from tau_rnn.training import TrainingState

__all__ = ["save_run"]

_UNFINISHED = ".unfinished"
WAITS = (0.1, 0.2, 0.4, 0.6, 0.7)  # s between attempts to rename on Windows


# --- entries -------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """What stood in a place of the store at one moment: another folder there is not this one."""

    folder: Path
    identity: tuple[int, int, str | None] | None


def entry(folder) -> Entry:
    """What is in a place now."""
    folder = Path(folder)
    try:
        status = os.lstat(folder)
    except (OSError, ValueError):
        return Entry(folder, None)
    return Entry(folder, (status.st_dev, status.st_ino, stored_key(folder)))


def take_away(old: Entry, to) -> bool:
    """Rename an entry, unless another has taken its place; returns whether it was done."""
    try:
        os.rename(old.folder, to)
    except FileNotFoundError:
        return False
    if entry(to).identity == old.identity:
        return True
    os.rename(to, old.folder)
    return False


def set_aside(old: Entry) -> Path | None:
    """Rename an entry to the first free ``<name>.damaged-<k>``; None if it is no longer there."""
    k = 1
    while os.path.lexists(aside := old.folder.with_name(f"{old.folder.name}.damaged-{k}")):
        k += 1
    return aside if take_away(old, aside) else None


def damage(folder, config: RunConfig) -> str | None:
    """What is wrong with the entry of a run, or None: it is whole, not there, or another run's.

    A folder without config.json is not an entry.
    """
    folder = Path(folder)
    if not os.path.lexists(folder):
        return None
    if not folder.is_dir():
        return f"{folder}: is not the folder of a run"
    try:
        content = read_bytes(folder / "config.json", LARGEST_TEXT)
        if config_of(content, folder)["key"] == config.key:
            load_run(folder)
    except FileNotFoundError:
        return None
    except StoreError as error:
        return str(error)
    return None


# --- work ----------------------------------------------------------------------------------------


class Work:
    """The folder in which this process alone computes a run. A context manager: it closes itself.

    The store must exist. `Held` is raised if another process computes this run, an OSError if the
    store cannot be written to.
    """

    def __init__(self, store, config: RunConfig):
        self.store, self.config = Path(store), config
        self._lock = Lock(self.store, Path(_UNFINISHED, config.key, "lock"))
        self.folder = self._lock.path.parent
        self.checkpoint = self.folder / "checkpoint.npz"
        self._clean()

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Give the folder back; it stays if it holds a checkpoint or an error."""
        self._lock.release()
        for folder in (self.folder, self.folder.parent):
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()

    def _clean(self) -> None:
        """Remove what a writer that was killed has left, and put back what it was to replace."""
        for path in self.folder.iterdir():
            if path.name.startswith("old-"):
                with contextlib.suppress(OSError):  # the new one has its place
                    os.rename(path, self.store / path.name[4:])
            if path.name.startswith(("old-", "run-")):
                shutil.rmtree(path, ignore_errors=True)
            elif path.name.endswith(".part"):
                path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove everything but the lock."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path != self._lock.path:
                path.unlink(missing_ok=True)

    def save(self, state: RunState) -> None:
        """Write a checkpoint, replacing the previous one."""
        write_bytes(self.checkpoint, state_bytes(self.config, state))

    def load(self) -> RunState:
        """The state of the checkpoint; a StoreError if there is none that can be used."""
        return load_state(self.checkpoint, self.config)

    def fail(self, error: str, last_good: Params | None = None) -> None:
        """Record why the run failed, in the place of its checkpoint: it would fail again."""
        self.discard()
        if last_good is not None:
            write_bytes(self.folder / "last_good.npz", array_bytes(last_good._asdict()))
        why = {"key": self.config.key, "error": error}
        write_bytes(self.folder / "error.json", json_bytes(why))

    def new_run(self) -> Path:
        """An empty folder for the files of the finished run."""
        folder = self.folder / f"run-{os.urandom(4).hex()}"
        folder.mkdir()
        return folder

    def publish(self, made: Path, wanted, old: Entry | None = None) -> Path:
        """Give the finished run its place, remove what was needed to get there; returns the place.

        ``made`` is of `new_run`; of the folders ``wanted``, the best first, the first that is free
        is taken; ``old`` may be replaced, if it is still there. A StoreError says that something
        else is in every place.
        """
        for folder in wanted:
            if self._put(made, folder, old):
                sync_folder(self.store)
                self.discard()
                return folder
        raise StoreError(f"{folder}: something else is in the place of this run; move it away")

    def _put(self, made: Path, folder: Path, old: Entry | None) -> bool:
        if _renamed(made, folder):
            return True
        if old is None or old.folder != folder:
            # Without locks, another process may have computed the same.
            return stored_key(folder) == self.config.key
        aside = self.folder / f"old-{folder.name}"
        if not take_away(old, aside):
            return False
        try:
            return _renamed(made, folder)
        except OSError:
            os.rename(aside, folder)
            raise


def tidy(store, config: RunConfig) -> None:
    """Remove what is left of a run that was killed after it had been published."""
    if Path(store, _UNFINISHED, config.key).exists():
        with contextlib.suppress(Held, OSError), Work(store, config) as work:
            work.discard()
    with contextlib.suppress(OSError):  # there is none, or other runs are in it
        Path(store, _UNFINISHED).rmdir()


def _renamed(folder: Path, to: Path) -> bool:
    """Rename a folder; False if something that is not an empty folder is there already."""
    for wait in (*WAITS, None):
        try:
            os.rename(folder, to)
            return True
        except OSError as error:
            if os.path.lexists(to):
                return False
            if os.name != "nt" or wait is None or not isinstance(error, PermissionError):
                raise
            time.sleep(wait)
    return False


def save_run(folder: str | Path, result: RunResult) -> None:
    """Store a run in a folder, whole or not at all; a run that is there is replaced.

    Parameters
    ----------
    folder : of the run; it is made, with those above it
    result : RunResult, as `run_one` returns it

    Raises
    ------
    Held
        If another process computes this run in the same store.
    StoreError
        If something other than a run is there.
    ValueError
        If the result is not one of its configuration.

    Examples
    --------
    >>> from tau_rnn import RunConfig, load_run, run_one
    >>> result = run_one(RunConfig(units=5, steps=2, dt=0.1, batch=2, test_trials=4), parts=())
    >>> save_run("a_run", result)
    >>> load_run("a_run").config == result.config
    True
    """
    folder = check_path("folder", folder)
    if not isinstance(result, RunResult):
        raise ValueError(f"result: must be a RunResult, got {shown(result)}")
    old = entry(folder)
    empty = folder.is_dir() and not os.listdir(folder)
    if os.path.lexists(folder) and stored_key(folder) is None and not empty:
        raise StoreError(f"{folder}: holds something other than a run of tau_rnn; move it away")
    with made_folder(folder.parent) as store, Work(store, result.config) as work:
        made = work.new_run()
        write_run(made, result)
        work.publish(made, [folder], old)


# --- checkpoints: of an unfinished run, and state.npz of a finished one --------------------------

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
