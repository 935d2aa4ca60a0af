"""Many runs over any executor: what is stored is not computed again, and nothing is lost.

The executor computes, and the parent alone writes to the store. So a sweep that is
killed has lost at most the runs that were being computed, and the same sweep started again computes
these and no other.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, CancelledError, Future, wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.checks import check_callable, check_path, shown
from tau_rnn.experiment import store as stores
from tau_rnn.experiment.config import EXPERIMENT_VERSION, RunConfig
from tau_rnn.experiment.executors import (
    GUARD,
    Engine,
    leave_if_unguarded,
    make_engine,
    was_unguarded,
)
from tau_rnn.experiment.files import made_folder
from tau_rnn.experiment.jobs import Event, Job
from tau_rnn.experiment.outcome import BASIC_MEASURES, RunResult, run_one
from tau_rnn.measures.run import check_parts, within_bounds
from tau_rnn.training import NonFiniteLoss

__all__ = ["Sweep", "sweep"]

_BARREN = 3  # executors in a row that broke without a single result
IDLE_LOOK, IDLE_LIMIT = 5.0, 300.0  # s of silence until it is looked at, and until it is too long


class Sweep(NamedTuple):
    """What became of a sweep.

    Attributes
    ----------
    configs : the runs, each once, in the order given
    folders : config -> folder of each run that is complete
    failures : config -> error of each that failed
    computed, reused : how many were computed, and how many were stored already
    set_aside : folders that damaged entries were renamed to

    Examples
    --------
    >>> done = sweep([], store="none")
    >>> done.configs, done.computed, done.failures
    ((), 0, {})
    """

    configs: tuple[RunConfig, ...]
    folders: dict[RunConfig, Path]
    failures: dict[RunConfig, str]
    computed: int
    reused: int
    set_aside: tuple[Path, ...]

    def __repr__(self) -> str:
        return (
            f"Sweep({len(self.configs)} runs: {self.computed} computed, {self.reused} stored "
            f"already, {len(self.failures)} failed)"
        )

    def load(self) -> list[RunResult]:
        """The complete runs, read from the store, in the order of the configurations."""
        return [stores.load_run(self.folders[c]) for c in self.configs if c in self.folders]


def sweep(
    configs: Iterable[RunConfig],
    executor: Any = None,
    *,
    store: str | Path,
    progress: Callable[[Event], object] | None = None,
    force: bool = False,
    parts: Iterable[str] = BASIC_MEASURES,
) -> Sweep:
    """Compute the runs that the store does not hold.

    Parameters
    ----------
    configs : RunConfigs; a repeated one counts once
    executor : None (in this process), a number of processes, a `concurrent.futures.Executor`, a
        Dask ``Client``, or an `Engine` (`executors.process_engine`, `executors.dask_engine`).
        Processes and an Engine are opened again if they break: a run whose worker was killed is
        then tried once more
    store : folder of the results; it is made if it is not there
    progress : called with an `Event` after each run
    force : compute and overwrite what is stored as well
    parts : what is measured of the change, see `tau_rnn.measures.measure_run`. A run that is stored
        is taken as it is, whatever was measured of it; ``force`` measures it again

    Returns
    -------
    Sweep
        A run that raised an error is in its ``failures``, and ``.unfinished/<key>/error.json`` in
        the store says why; the others go on. It counts as missing when the sweep is started again.
        A run that another process computes is taken from the store when it is there.

    Raises
    ------
    ValueError
        If an argument is wrong, or the executor cannot be opened, such as an unreachable scheduler.
    SweepStopped (a StoreError)
        If the store cannot be written to any more, or the scheduler is gone or has computed nothing
        for 5 minutes. What was stored before stays.
    RuntimeError
        If the script that calls it is run again by the workers: the message says what to do.

    Examples
    --------
    >>> config = RunConfig(units=5, steps=2, dt=0.1, batch=2, test_trials=4)
    >>> done = sweep([config], store="runs")
    >>> done.computed, len(done.load())
    (1, 1)
    """
    leave_if_unguarded()
    engine = make_engine(executor)
    configs, parts, store = _checked(configs), check_parts(parts), check_path("store", store)
    if progress is not None:
        check_callable("progress", progress)
    with made_folder(store) as folder:
        job = Job(configs, folder, progress, force)
        try:
            _run(job, engine, parts)
        finally:
            job.close()
    return Sweep(
        job.configs, job.folders, job.failures, job.computed, job.reused, tuple(job.set_aside)
    )


def _checked(configs: Any) -> tuple[RunConfig, ...]:
    wanted = "configs: must be a list of RunConfigs, got"
    listed = isinstance(configs, Iterable) and not isinstance(configs, str)
    if not listed or getattr(configs, "ndim", 1) == 0:
        raise ValueError(f"{wanted} {shown(configs)}")
    configs = tuple(configs)
    for config in configs:
        if not isinstance(config, RunConfig):
            raise ValueError(f"{wanted} one that holds {shown(config)}")
    return tuple(dict.fromkeys(configs))


def _run(job: Job, engine: Engine, parts) -> None:
    barren, opened = 0, False
    while job.queue or job.elsewhere:
        if not job.queue:
            job.look_elsewhere()
            continue
        settled = len(job.folders) + len(job.failures)
        with contextlib.ExitStack() as stack:
            try:
                executor = stack.enter_context(engine.open())
            except ValueError as error:
                raise job.stopped(str(error)) if opened else error from None
            opened = True
            _drain(job, engine, executor, parts)
        barren = 0 if len(job.folders) + len(job.failures) > settled else barren + 1
        if barren >= _BARREN:
            while job.queue:
                job.fail(job.queue.popleft(), f"{engine.name}: broke {_BARREN} times in a row")
        elif job.queue:
            job.note(f"{engine.name} broke; starting again with what is missing")


def work(version: int, settings: dict, parts) -> RunResult | str:
    """Compute one run, in a worker, whose code must be of the version that asks for it.

    The error of a run that fails is returned as a text: what a future raises is then always about
    the executor, such as a worker that died, and the run deserves another try.
    """
    if version != EXPERIMENT_VERSION:
        return f"its worker has version {EXPERIMENT_VERSION} of the experiment, not {version}"
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # training checks, and says where
            config = RunConfig.from_json(settings)
            return run_one(config, within_bounds(config.units, parts)[0])
    except NonFiniteLoss as error:  # its own message is of parameters that a sweep does not keep
        what = f"step {error.step}: the {error.what} is not finite"
        return f"NonFiniteLoss: {what} (a smaller learning rate may help)"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _drain(job: Job, engine: Engine, executor, parts) -> None:
    """Compute the queue until it is empty or the executor breaks; lost runs are queued again."""
    flying: dict[Future, RunConfig] = {}
    silence = _Silence(job, engine, executor)
    broken = False
    while not broken and (job.queue or flying):
        broken = _fill(job, engine, executor, flying, parts)
        ready, _ = wait(flying, timeout=1.0, return_when="FIRST_COMPLETED")
        silence.look(not ready)
        outcomes = []
        for future in ready:
            config = flying.pop(future)
            try:
                outcomes.append((config, future.result()))
            except (BrokenExecutor, CancelledError):
                broken = True
                job.lose(config, "the worker process died while it computed this run")
            except Exception as error:
                job.lose(config, f"{engine.name}: {type(error).__name__}: {error}")
        if not (broken or engine.local):  # the workers must not wait for the disk
            broken = _fill(job, engine, executor, flying, parts)
        for config, outcome in outcomes:
            job.settle(config, outcome)
    if broken and was_unguarded(executor):
        raise RuntimeError(GUARD)
    for future, config in flying.items():  # the executor broke
        if _succeeded(future):
            job.settle(config, future.result())
        else:
            job.lose(config, "the worker process died while it computed this run")


class _Silence:
    """Watches an executor from which nothing comes: says why, and gives up after some minutes."""

    def __init__(self, job: Job, engine: Engine, executor):
        self.job, self.engine, self.executor = job, engine, executor
        self.heard, self.idle = time.monotonic(), 0.0

    def look(self, silent: bool) -> None:
        now = time.monotonic()
        if not silent:
            self.heard, self.idle = now, 0.0
        if self.engine.why_idle is None or now - self.heard < IDLE_LOOK:
            return
        why, self.heard = self.engine.why_idle(self.executor), now
        if not why:
            self.idle = 0.0
        elif not self.idle:
            self.idle = now
            limit = f"{IDLE_LIMIT / 60:g} minutes"
            self.job.note(f"nothing is being computed: {why}; waiting for up to {limit}")
        elif now - self.idle >= IDLE_LIMIT:
            raise self.job.stopped(f"nothing was computed for {IDLE_LIMIT / 60:g} minutes: {why}")


def _succeeded(future: Future) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _fill(job: Job, engine: Engine, executor, flying, parts) -> bool:
    """Hand the executor as many runs as it takes; returns whether it is broken."""
    while job.queue and len(flying) < engine.slots:
        config = job.queue.popleft()
        if not job.begin(config):
            continue
        try:
            future = executor.submit(work, EXPERIMENT_VERSION, config.to_json(), parts)
        except (BrokenExecutor, RuntimeError):  # RuntimeError: it was shut down
            job.queue.appendleft(config)
            return True
        if not isinstance(future, Future):
            raise ValueError(
                f"executor: submit of {engine.name} must return a concurrent.futures.Future, got "
                f"{type(future).__name__}"
            )
        flying[future] = config
    return False
