"""Files that are whole or not there, reading that names what is wrong, and locks.

A file is written next to its place, flushed to disk, and renamed into it. Whenever the writer is
killed, a reader finds the old file or the new one, never a part. Reading opens only regular files,
no link, folder or pipe; a compressed file that claims to hold far more than it has is refused. No
pickle.

A lock is held by one process, and the system releases it when its holder dies. Where neither
``fcntl`` nor ``msvcrt`` exists (a browser), and on a file system without locks, nothing is
excluded: every process gets the lock.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

fcntl: Any = None
msvcrt: Any = None
with contextlib.suppress(ImportError):
    import fcntl
with contextlib.suppress(ImportError):
    import msvcrt

__all__ = ["StoreError"]

LARGEST_TEXT, LARGEST = 2**26, 2**36  # bytes of a text, and of any file
_COMPRESSED = 2**24  # bytes by which the arrays of a small compressed file may exceed it


class StoreError(ValueError):
    """A stored file is damaged, foreign, or belongs to something else. The message names it.

    Examples
    --------
    >>> from tau_rnn import load_run
    >>> try:
    ...     load_run("nowhere")
    ... except StoreError as error:
    ...     print(error)
    nowhere: no run is stored here (config.json is missing)
    """


# --- writing -------------------------------------------------------------------------------------


@contextlib.contextmanager
def replacing(path) -> Iterator[IO[bytes]]:
    """Open a file to be written; it takes the place of ``path`` when the block ends well."""
    path = Path(path)
    name = path.with_name(f".{path.name}.{os.urandom(8).hex()}.part")
    try:
        with open(name, "xb") as file:
            yield file
            file.flush()
            if hasattr(os, "fsync"):  # a browser has none
                os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_folder(path.parent)


def sync_folder(folder) -> None:
    """Let the names in a folder reach the disk as well, where the system can do that."""
    if os.name == "posix" and hasattr(os, "fsync"):  # Windows cannot open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def made_folder(path) -> Iterator[Path]:
    """A folder for results, made if it is not there, and removed if it was made in vain."""
    made: list[Path] = []
    try:
        path = Path(path)
        for folder in reversed((path, *path.parents)):
            if not folder.exists():
                folder.mkdir(exist_ok=True)
                made.append(folder)
        if not path.is_dir():
            raise NotADirectoryError
    except (OSError, TypeError, ValueError) as error:
        _remove_empty(made)
        why = getattr(error, "strerror", None) or str(error) or "it is not a folder"
        raise StoreError(f"{path}: cannot hold results ({why})") from None
    try:
        yield path
    finally:
        _remove_empty(made)


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):  # one is not empty
        for folder in reversed(folders):
            folder.rmdir()


def write_bytes(path, content: bytes) -> None:
    """Write a file atomically."""
    with replacing(path) as file:
        file.write(content)


def write_text(path, text: str) -> None:
    """Write a text file atomically."""
    write_bytes(path, text.encode())


def json_bytes(value: Any) -> bytes:
    """A value as JSON; nan and inf become null, since JSON has no such numbers."""
    return (json.dumps(plain(value), indent=2, allow_nan=False) + "\n").encode()


def array_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of an .npz file of these arrays."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Rows as CSV: these columns, or those of the first row."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns or [*rows[0]], extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def plain(value) -> Any:
    """A value made of what JSON has: Python's numbers, None for nan and inf, dicts and lists."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def sha256(content: bytes) -> str:
    """The SHA-256 digest of a content, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


# --- reading -------------------------------------------------------------------------------------


def read_bytes(path, most: int = LARGEST) -> bytes:
    """The content of a regular file of at most so many bytes; a link is not followed.

    Raises FileNotFoundError, or a StoreError that says why it cannot be read.
    """
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{path}: is not a regular file")
        if status.st_size > most:
            raise StoreError(f"{path}: has {status.st_size} bytes, more than {most}")
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, StoreError):
        raise
    except (OSError, MemoryError) as error:
        what = getattr(error, "strerror", None) or "too large for the memory"
        raise StoreError(f"{path}: cannot be read ({what})") from None
    except ValueError as error:  # a null byte in the path
        raise StoreError(f"{str(path)!r}: cannot be read ({error})") from None


def json_from(content: bytes, path) -> Any:
    """The value of a JSON text; a StoreError names the file that it was read from."""
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError, MemoryError) as error:  # also of numbers of 5,000 digits
        raise StoreError(f"{path}: not a whole JSON file ({error})") from None


def arrays_from(content: bytes, path, names=None) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; a StoreError names the file that it was read from."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            claimed = sum(member.file_size for member in file.infolist())
            if claimed > len(content) + _COMPRESSED:
                raise ValueError(f"{len(content)} bytes claim to hold {claimed}")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("it holds other files")
    except Exception as error:  # whatever the bytes of another program do to the parsers
        raise StoreError(f"{path}: damaged, or not an .npz file ({error})") from None
    missing = [name for name in names or () if name not in arrays]
    if missing:
        raise StoreError(f"{path}: lacks {', '.join(missing)}")
    return arrays


# --- random generators ---------------------------------------------------------------------------


def generator_state(rng: np.random.Generator) -> dict:
    """The whole state of a generator as JSON-ready numbers."""
    return plain(rng.bit_generator.state)


def generator_from(state: Mapping) -> np.random.Generator:
    """The generator of a state of `generator_state`; a StoreError if it is not one."""
    try:
        kind = getattr(np.random, state["bit_generator"], None)
        if not (isinstance(kind, type) and issubclass(kind, np.random.BitGenerator)):
            raise ValueError(f"unknown random generator {state['bit_generator']!r}")
        bits = kind()
        inner = {k: np.array(v, np.uint64) if isinstance(v, list) else v
                 for k, v in state["state"].items()}  # fmt: skip
        bits.state = {**state, "state": inner}
        return np.random.Generator(bits)
    except Exception as error:  # whatever a foreign file holds in its place
        raise StoreError(f"not the state of a random generator ({error!r})") from None


# --- locks ---------------------------------------------------------------------------------------

_FAR = 2**30  # Windows forbids reading a locked byte: lock one far past the text
_ATTEMPTS = 1000  # all but the first are needed only while others remove the folder


class Held(RuntimeError):
    """Another process, or another thread of this one, holds the lock; the message says which."""


class Lock:
    """An exclusive lock on a file, held until `release`, or `Held` is raised.

    ``root`` must exist; the folders of ``path``, which is relative to it, are made.
    """

    def __init__(self, root, path):
        self.path = Path(root, path)
        for _ in range(_ATTEMPTS):
            try:
                for folder in reversed(Path(path).parents[:-1]):
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(Path(root, folder))
                flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
                self._descriptor: int | None = os.open(self.path, flags, 0o666)
            except FileNotFoundError:
                if os.path.isdir(root):  # its last holder removed the folder just now
                    continue
                raise
            if not _locked(self._descriptor):
                holder = os.read(self._descriptor, 100).decode(errors="replace").strip()
                self._close()
                raise Held(holder or "another process")
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._descriptor), os.stat(self.path)):
                    break
            self._close()  # its last holder removed the file after it was opened here
        else:
            raise OSError(errno.ENOENT, "cannot be made", str(self.path))
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"process {os.getpid()}".encode())
        _held.add(self)

    def release(self) -> None:
        """Remove the file and give the lock back; the folder stays."""
        if os.name == "nt":  # Windows removes no file that is open, not even another's
            self._close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        _held.discard(self)


def _locked(descriptor: int) -> bool:
    """Whether the lock could be taken, or the system has no locks."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt is not None:
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return True


_held: set[Lock] = set()


def _forget() -> None:
    # A forked worker would hold the lock of its parent's run for as long as it lives.
    for lock in list(_held):
        lock._close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
