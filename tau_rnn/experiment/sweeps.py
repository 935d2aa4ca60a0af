"""Many runs over any executor: what is stored is not computed again, and nothing is lost.

The executor computes; the parent alone writes to the store, each result as soon as it is there. So
a sweep that is killed has lost at most the runs that were being computed, and the same sweep
started again computes these and no other. It holds the lock of each run that it has handed out: two
sweeps over the same runs share them.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, CancelledError, Future, wait
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tau_rnn.experiment import store as stores
from tau_rnn.experiment.config import EXPERIMENT_VERSION, RunConfig
from tau_rnn.experiment.executors import Engine, make_engine
from tau_rnn.experiment.files import StoreError, made_folder
from tau_rnn.experiment.locks import Held
from tau_rnn.experiment.outcome import RunResult, run_one
from tau_rnn.experiment.unfinished import Entry, Work, damage, entry, set_aside, tidy
from tau_rnn.training import NonFiniteLoss

__all__ = ["Event", "Sweep", "SweepStopped", "sweep", "work"]

LOST_TWICE = 2  # a run that its executor lost this often is not tried again
BARREN = 3  # executors in a row that broke without a single result
LOOK_SECONDS = 0.5  # from one look at the runs that another process computes to the next


class SweepStopped(StoreError):
    """A sweep could not go on after it had begun. What it had computed is stored."""


class Event(NamedTuple):
    """What a sweep tells its progress function.

    Attributes
    ----------
    kind : "stored" (was there already), "done", "failed", or "note" (only a text)
    done, total : runs dealt with, failed ones included, and all runs
    config : of the run, or None
    text : the error or the note
    seconds_left : an estimate, or None while there is nothing to base it on
    """

    kind: str
    done: int
    total: int
    config: RunConfig | None = None
    text: str = ""
    seconds_left: float | None = None


class Sweep(NamedTuple):
    """What became of a sweep.

    Attributes
    ----------
    configs : the runs, each once, in the order given
    folders : config -> folder of each run that is complete
    failures : config -> error of each that failed
    computed, reused : how many were computed, and how many were stored already
    set_aside : folders that damaged entries were renamed to
    """

    configs: tuple[RunConfig, ...]
    folders: dict[RunConfig, Path]
    failures: dict[RunConfig, str]
    computed: int
    reused: int
    set_aside: tuple[Path, ...]

    def load(self) -> list[RunResult]:
        """The complete runs, read from the store, in the order of the configurations."""
        return [stores.load_run(self.folders[c]) for c in self.configs if c in self.folders]


def sweep(
    configs: Iterable[RunConfig],
    executor=None,
    *,
    store,
    progress: Callable[[Event], object] | None = None,
    force: bool = False,
) -> Sweep:
    """Compute the runs that the store does not hold.

    Parameters
    ----------
    configs : RunConfigs; a repeated one counts once
    executor : None (in this process), a `concurrent.futures.Executor`, or an `Engine`
        (`process_engine`, `dask_engine`), which is opened again if it breaks: a run whose worker
        was killed is then tried once more
    store : folder of the results; it is made if it is not there
    progress : called with an `Event` after each run
    force : compute and overwrite what is stored as well

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
        If the store cannot be written to any more. What was stored before stays.
    """
    engine = make_engine(executor)
    configs = _checked(configs)
    with made_folder(store) as folder:
        job = _Job(configs, folder, progress, force)
        try:
            _run(job, engine)
        finally:
            job.close()
    return Sweep(
        job.configs, job.folders, job.failures, job.computed, job.reused, tuple(job.set_aside)
    )


def _checked(configs) -> tuple[RunConfig, ...]:
    if not isinstance(configs, Iterable):
        raise ValueError(f"configs: must be RunConfigs, got {configs!r}, which is no sequence")
    configs = tuple(configs)
    for config in configs:
        if not isinstance(config, RunConfig):
            raise ValueError(f"configs: must be RunConfigs, got {config!r}")
    return tuple(dict.fromkeys(configs))


def _run(job: _Job, engine: Engine) -> None:
    barren = 0
    while job.queue or job.elsewhere:
        if not job.queue:
            job.look_elsewhere()
            continue
        settled = len(job.folders) + len(job.failures)
        _drain(job, engine)
        barren = 0 if len(job.folders) + len(job.failures) > settled else barren + 1
        if barren >= BARREN:
            while job.queue:
                job.fail(job.queue.popleft(), f"{engine.name}: broke {BARREN} times in a row")
        elif job.queue:
            job.note(f"a worker of {engine.name} died; starting again with what is missing")


def work(version: int, settings: dict) -> RunResult | str:
    """Compute one run, in a worker, whose code must be of the version that asks for it.

    The error of a run that fails is returned as a text: what a future raises is then always about
    the executor, such as a worker that died, and the run deserves another try.
    """
    if version != EXPERIMENT_VERSION:
        return f"its worker has version {EXPERIMENT_VERSION} of the experiment, not {version}"
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # training checks, and says where
            return run_one(RunConfig.from_json(settings))
    except NonFiniteLoss as error:  # its own message is of parameters that a sweep does not keep
        what = f"step {error.step}: the {error.what} is not finite"
        return f"NonFiniteLoss: {what} (a smaller learning rate may help)"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _drain(job: _Job, engine: Engine) -> None:
    """Compute the queue until it is empty or the executor breaks; lost runs are queued again."""
    flying: dict[Future, RunConfig] = {}
    with engine.open() as executor:
        broken = False
        while not broken and (job.queue or flying):
            broken = _fill(job, engine, executor, flying)
            ready, _ = wait(flying, timeout=1.0, return_when="FIRST_COMPLETED")
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
            if not (broken or engine.local):  # the workers shall not wait for the disk
                broken = _fill(job, engine, executor, flying)
            for config, outcome in outcomes:
                job.settle(config, outcome)
        for future, config in flying.items():  # the executor broke
            if _succeeded(future):
                job.settle(config, future.result())
            else:
                job.lose(config, "the worker process died while it computed this run")


def _succeeded(future: Future) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _fill(job: _Job, engine: Engine, executor, flying) -> bool:
    """Hand the executor as many runs as it takes; returns whether it is broken."""
    while job.queue and len(flying) < engine.slots:
        config = job.queue.popleft()
        if not job.begin(config):
            continue
        try:
            future = executor.submit(work, EXPERIMENT_VERSION, config.to_json())
        except (BrokenExecutor, RuntimeError):  # RuntimeError: it was shut down
            job.queue.appendleft(config)
            return True
        flying[future] = config
    return False


class _Job:
    """The state of a sweep, and what it does to the store."""

    def __init__(self, configs, store: Path, progress, force: bool):
        self.configs, self.store, self.progress, self.force = configs, store, progress, force
        self.folders: dict[RunConfig, Path] = {}
        self.failures: dict[RunConfig, str] = {}
        self.computed = self.reused = 0
        self.set_aside: list[Path] = []
        self.strikes: Counter[RunConfig] = Counter()
        self.works: dict[RunConfig, Work] = {}
        self.queue: deque[RunConfig] = deque()
        self.elsewhere: list[RunConfig] = []  # computed by other processes
        self.told: set[RunConfig] = set()
        for config in configs:
            if force or not self.take_stored(config):
                self.queue.append(config)
        self.began = time.monotonic()

    def close(self) -> None:
        """Give back what was not finished."""
        for held in self.works.values():
            held.close()

    def take_stored(self, config: RunConfig) -> bool:
        """Whether the run is in the store, whole."""
        folder = stores.find(self.store, config)
        if folder is None or damage(folder, config):
            return False
        if config in self.works:
            self.works[config].discard()
        else:
            tidy(self.store, config)
        self.folders[config] = folder
        self.reused += 1
        self.tell("stored", config)
        return True

    def begin(self, config: RunConfig) -> bool:
        """Whether the run is to be computed here and now, under its lock."""
        if config in self.works:  # a second attempt
            return True
        try:
            held = Work(self.store, config)
        except Held as holder:
            self.elsewhere.append(config)
            if config not in self.told:
                self.told.add(config)
                self.note(f"is being computed by {holder}; its result is awaited", config)
            return False
        except OSError as error:
            raise self.stopped(error) from None
        self.works[config] = held
        if not self.force:
            self.clear_places(config)
            if self.take_stored(config):  # another process was faster
                self.works.pop(config).close()
                return False
        return True

    def clear_places(self, config: RunConfig) -> None:
        """Set aside what is damaged in the places of a run."""
        for folder in stores.places(self.store, config):
            old = entry(folder)
            problem = damage(folder, config)
            aside = set_aside(old) if problem else None
            if aside:
                self.set_aside.append(aside)
                self.note(f"damaged: {problem}; set aside as {aside.name}", config)

    def look_elsewhere(self) -> None:
        """Take the runs that other processes have finished; queue those that they gave up."""
        time.sleep(LOOK_SECONDS)
        waiting, self.elsewhere = self.elsewhere, []
        for config in waiting:
            if not self.take_stored(config) and self.begin(config):
                self.queue.append(config)

    def lose(self, config: RunConfig, why: str) -> None:
        """Queue a run again that the executor lost, but not a second time."""
        self.strikes[config] += 1
        if self.strikes[config] < LOST_TWICE:
            self.queue.append(config)
        else:
            self.fail(config, f"{why}, twice")

    def settle(self, config: RunConfig, outcome: RunResult | str) -> None:
        """Publish a result, or record an error."""
        if isinstance(outcome, str):
            self.fail(config, outcome)
            return
        held = self.works[config]
        try:
            made = held.new_run()
            stores.write_run(made, outcome)
            self.folders[config] = held.publish(made, *self.wanted(config))
        except OSError as error:
            raise self.stopped(error) from None
        except ValueError as error:  # something else is in its place
            self.fail(config, str(error))
            return
        self.works.pop(config).close()
        self.computed += 1
        self.tell("done", config)

    def wanted(self, config: RunConfig) -> tuple[list[Path], Entry | None]:
        """The places of a new run, the best first, and what it may replace.

        It takes the plain name if all but its task, distribution and seed are the defaults.
        """
        plain, keyed = stores.places(self.store, config)
        there = stores.find(self.store, config) if self.force else None
        if there:
            return [there, keyed], entry(there)
        default = config.changed.keys() <= {"task", "dist", "seed"}
        return ([plain, keyed] if default else [keyed]), None

    def stopped(self, error: OSError) -> StoreError:
        why = error.strerror or error
        if not self.computed:
            return StoreError(f"{self.store}: cannot hold results ({why})")
        return SweepStopped(
            f"{self.store}: cannot be written to ({why}); {len(self.folders)} of "
            f"{len(self.configs)} runs are stored and stay, and the same command goes on from there"
        )

    def fail(self, config: RunConfig, error: str) -> None:
        """Record a failed run."""
        self.failures[config] = error
        if config in self.works:
            with self.works.pop(config) as held, contextlib.suppress(OSError):
                held.fail(error)  # the summary names the failure in any case
        self.tell("failed", config, error)

    def note(self, text: str, config: RunConfig | None = None) -> None:
        self.tell("note", config, text)

    def tell(self, kind, config, text="") -> None:
        if self.progress is None:
            return
        total, done = len(self.configs), len(self.folders) + len(self.failures)
        left = None
        if self.computed:
            left = (time.monotonic() - self.began) / (done - self.reused) * (total - done)
        self.progress(Event(kind, done, total, config, text, left))
