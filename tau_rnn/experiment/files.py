"""Files that are whole or not there: atomic writes, and reading that names what is wrong.

A file is written beside its place, flushed to the disk, and renamed into it. So whoever reads it,
and whenever the writer is killed, finds the old file or the new one, never a part. No pickle.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np


class StoreError(ValueError):
    """A stored file is damaged, foreign, or belongs to something else. The message names it."""


@contextlib.contextmanager
def replacing(path) -> Iterator[IO[bytes]]:
    """Open a file to be written; it takes the place of ``path`` when the block ends well."""
    path = Path(path)
    name = path.with_name(f".{path.name}.{os.urandom(8).hex()}.part")
    try:
        with open(name, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # The new name itself must reach the disk as well. Windows cannot open folders.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path, value: Any) -> None:
    """Write JSON atomically; nan and inf become null, since JSON has no such numbers."""
    write_text(path, json.dumps(_plain(value), indent=2, allow_nan=False) + "\n")


def _plain(value):
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def read_json(path) -> Any:
    """Read JSON; a StoreError names a file that is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StoreError(f"{path}: not a whole JSON file ({error})") from None


def write_arrays(path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an .npz file atomically."""
    with replacing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_arrays(path, names=None) -> dict[str, np.ndarray]:
    """Read an .npz file, whole; a StoreError names a file that is damaged or lacks a name."""
    try:
        with zipfile.ZipFile(path) as file:
            # Each member is read to its end, where its checksum is compared, before it is parsed:
            # a damaged header could ask for fewer bytes than there are.
            members = {name.removesuffix(".npy"): file.read(name) for name in file.namelist()}
        arrays = {k: np.lib.format.read_array(io.BytesIO(v)) for k, v in members.items()}
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError):
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise StoreError(f"{path}: damaged, or not an .npz file ({error})") from None
    missing = [name for name in names or () if name not in arrays]
    if missing:
        raise StoreError(f"{path}: lacks {', '.join(missing)}")
    return arrays


def generator_state(rng: np.random.Generator) -> dict:
    """The whole state of a generator as JSON-ready numbers."""
    return _plain(rng.bit_generator.state)


def generator_from(state: Mapping) -> np.random.Generator:
    """The generator that goes on from a state of `generator_state`; a StoreError if it is none."""
    try:
        kind = getattr(np.random, str(state["bit_generator"]), None)
        if not (isinstance(kind, type) and issubclass(kind, np.random.BitGenerator)):
            raise StoreError(f"unknown random generator {state['bit_generator']!r}")
        bits = kind()
        restored = dict(state)
        restored["state"] = {
            k: np.array(v, dtype=np.uint64) if isinstance(v, list) else v
            for k, v in state["state"].items()
        }
        bits.state = restored
    except StoreError:
        raise
    except (
        ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise StoreError(f"not the state of a random generator ({error!r})") from None
    return np.random.Generator(bits)
