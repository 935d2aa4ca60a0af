"""Where the runs of a sweep are computed: here, in processes, or on a Dask cluster.

An `Engine` opens a `concurrent.futures.Executor` and says how many runs to hand it at a time. It
can be opened again, which is what lets a sweep outlive an executor whose worker was killed.
"""

from __future__ import annotations

import contextlib
import numbers
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

from tau_rnn._threads import THREAD_VARIABLES
from tau_rnn.checks import check_integer

__all__: list[str] = []

CONNECT_SECONDS = 6.0
_SLOTS = 200  # runs handed out at a time to workers of an unknown number; each holds an open lock
_UNGUARDED = 77  # exit status of a worker whose script would start the sweep again
GUARD = (
    "sweep: the worker processes import this script, which starts the sweep again; put the call "
    'under `if __name__ == "__main__":`'
)


class Engine(NamedTuple):
    """Opens an executor, as often as it is needed.

    Attributes
    ----------
    open : returns a context manager that gives the executor
    slots : how many runs the executor is given at a time
    name : for messages
    local : whether ``submit`` computes the run before it returns
    why_idle : is given the executor and says why nothing is being computed, "" if something may be;
        None if that is always so
    """

    open: Callable[[], contextlib.AbstractContextManager[Executor]]
    slots: int
    name: str
    local: bool = False
    why_idle: Callable[[Any], str] | None = None


def make_engine(executor) -> Engine:
    """The engine of what `sweep` is given as its executor; an Engine is taken as it is.

    An executor that is given open stays open, and can't be opened again if it breaks. Of something
    else a ValueError says what it lacks.
    """
    if isinstance(executor, Engine):
        return executor
    if executor is None:
        return Engine(lambda: contextlib.nullcontext(_Here()), 1, "this process", True)
    if isinstance(executor, numbers.Number):
        return process_engine(check_integer("executor", executor, 1))
    if callable(getattr(executor, "get_executor", None)):  # a Dask client
        if getattr(executor, "asynchronous", False):
            raise ValueError("executor: the Dask client is asynchronous; give one that is not")
        executor = executor.get_executor()
    if not callable(getattr(executor, "submit", None)):
        raise ValueError(
            "executor: must be None, a number of processes, a concurrent.futures.Executor or a "
            f"Dask Client; this {type(executor).__name__} has no method submit"
        )
    why_idle = _why_idle if hasattr(executor, "_client") else None
    name = type(executor).__name__
    return Engine(lambda: contextlib.nullcontext(executor), _SLOTS, name, why_idle=why_idle)


class _Here(Executor):
    """Computes at once, in this process. Ctrl-C is not a result: it goes to the caller."""

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


# --- processes -----------------------------------------------------------------------------------


def usable_cores() -> int:
    """How many cores this process may use: one where there are no other processes."""
    if not _has_processes():
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _has_processes() -> bool:
    """Whether this system can start processes; a browser cannot."""
    try:
        import _multiprocessing  # noqa: F401
    except ImportError:
        return False
    return True


def process_engine(workers: int) -> Engine:
    """Processes on this machine, each with one BLAS thread.

    They are started afresh ("spawn"): forked ones would inherit a BLAS that is already loaded, and
    its threads. So a script that sweeps needs the usual ``if __name__ == "__main__":``.
    """
    workers = check_integer("workers", workers, 1)
    if not _has_processes():
        raise ValueError(f"workers: must be 1, since there are no processes here, got {workers}")
    return Engine(lambda: _processes(workers), workers, f"{workers} processes")


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    earlier = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    others = set(multiprocessing.active_children())
    # The workers start one by one as runs are submitted and inherit what is set by then.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        # A run may take long; after Ctrl-C nobody wants to wait for its end.
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def leave_if_unguarded() -> None:
    """End a worker that is only importing its parent's script, which then starts a sweep."""
    process = sys.modules.get("multiprocessing.process")
    if process and getattr(process.current_process(), "_inheriting", False):
        raise SystemExit(_UNGUARDED)


def was_unguarded(executor) -> bool:
    """Whether a pool broke since its workers ended in `leave_if_unguarded`."""
    workers = list((getattr(executor, "_processes", None) or {}).values())
    end = time.monotonic() + 2.0
    for worker in workers:
        # The pool's own thread may have taken the exit status, and is about to write it down.
        while worker.exitcode is None and time.monotonic() < end:
            worker.join(0.01)
            time.sleep(0.01)
    return any(worker.exitcode == _UNGUARDED for worker in workers)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent does, however it ended."""
    import multiprocessing
    import signal
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow():
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


# --- Dask ----------------------------------------------------------------------------------------


def dask_engine(address: str) -> Engine:
    """The workers of a Dask scheduler at an address such as ``tcp://host:8786``.

    Dask itself gives the run of a worker that died to another. The workers need tau_rnn installed.
    A ValueError is raised when it is opened, if the scheduler does not answer within 6 s.
    """
    name = f"the Dask scheduler {address}"
    return Engine(lambda: _dask(address), _SLOTS, name, why_idle=_why_idle)


@contextlib.contextmanager
def _dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            "scheduler: Dask is not installed; pip install 'tau_rnn[cluster]'"
        ) from None
    with _quiet_log():
        if why := _no_scheduler(address):
            raise ValueError(f"scheduler: cannot reach {address!r} ({why})")
        with Client(address, timeout=CONNECT_SECONDS, set_as_default=False) as client:
            yield client.get_executor()


@contextlib.contextmanager
def _quiet_log() -> Iterator[None]:
    """Dask logs at length what is said here in one line: that the scheduler is gone."""
    import logging

    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    logs = [logging.getLogger(name) for name in (*names, "tornado")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, levels):
            log.setLevel(level)


def _why_idle(executor) -> str:
    """Why a Dask cluster computes nothing: it does not answer, or it has no workers."""
    import asyncio

    client = executor._client
    try:
        workers = client.sync(client.scheduler.ncores, callback_timeout=CONNECT_SECONDS)
    except (asyncio.TimeoutError, TimeoutError):
        return f"the Dask scheduler has not answered for {CONNECT_SECONDS:g} s"
    except Exception:  # it is gone, which the futures say better
        return ""
    return "" if workers else "the Dask scheduler has no workers"


def _no_scheduler(address: str) -> str:
    """Why no Dask scheduler answers at an address, or "" if one does.

    A `Client` does not survive a server of another kind: it waits forever for one that says
    nothing, and takes the answer of one that does for the size of a message.
    """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from distributed.core import connect
    from distributed.security import Security

    async def shake_hands():
        security = Security().get_connection_args("client")
        comm = await connect(address, timeout=CONNECT_SECONDS, **security)
        await comm.close()

    def ask():
        asyncio.run(asyncio.wait_for(shake_hands(), CONNECT_SECONDS))

    try:
        with ThreadPoolExecutor(1) as thread:  # this one may have an event loop that runs
            thread.submit(ask).result()
    except (asyncio.TimeoutError, TimeoutError):
        return f"no Dask scheduler answered within {CONNECT_SECONDS:g} s"
    except MemoryError:
        return "what answers is no Dask scheduler"
    except Exception as error:  # whatever the other side's bytes did to Dask
        return " ".join(str(error).split()) or type(error).__name__
    return ""
