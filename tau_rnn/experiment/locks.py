"""A lock that one process holds, and that the system releases when its holder dies.

Where neither ``fcntl`` nor ``msvcrt`` exists (a browser), and on a file system without locks,
nothing is excluded: every process gets the lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Any

fcntl: Any = None
msvcrt: Any = None
with contextlib.suppress(ImportError):
    import fcntl
with contextlib.suppress(ImportError):
    import msvcrt

__all__: list[str] = []

_FAR = 2**30  # Windows forbids reading a locked byte: lock one far past the text
_ATTEMPTS = 1000  # all but the first are needed only while others remove the folder


class Held(RuntimeError):
    """Another process, or another thread of this one, holds the lock; the message says which."""


class Lock:
    """An exclusive lock on a file, held until `release`.

    Parameters
    ----------
    root : folder that must exist
    path : of the file, relative to root; it is made, and its folders with it

    Raises
    ------
    Held
        If another holds it.
    OSError
        If the file cannot be made.
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
