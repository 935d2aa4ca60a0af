"""What a sweep does to the store: it takes what is stored, and publishes what it computes.

The parent alone writes, each result as soon as it is there. It holds the lock of each run that it
has handed out: two sweeps over the same runs share them.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from pathlib import Path
from typing import NamedTuple

from tau_rnn.experiment import store as stores
from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.files import Held, StoreError
from tau_rnn.experiment.outcome import RunResult
from tau_rnn.experiment.unfinished import Entry, Work, damage, entry, set_aside, tidy

__all__: list[str] = []

_LOST_TWICE = 2  # a run that its executor lost this often is not tried again
_LOOK_SECONDS = 0.5  # from one look at the runs that another process computes to the next


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


class Job:
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
                self.note(f"is being computed by {holder}; waiting for its result", config)
            return False
        except OSError as error:
            if self.computed or self.works:
                raise self.unwritable(error) from None
            raise StoreError(f"{self.store}: cannot hold results ({error.strerror})") from None
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
        time.sleep(_LOOK_SECONDS)
        waiting, self.elsewhere = self.elsewhere, []
        for config in waiting:
            if not self.take_stored(config) and self.begin(config):
                self.queue.append(config)

    def lose(self, config: RunConfig, why: str) -> None:
        """Queue a run again that the executor lost, but not a second time."""
        self.strikes[config] += 1
        if self.strikes[config] < _LOST_TWICE:
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
            raise self.unwritable(error) from None
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

    def stopped(self, why: str) -> SweepStopped:
        """The error of a sweep that had begun."""
        return SweepStopped(
            f"{why}; {len(self.folders)} of {len(self.configs)} runs are stored and stay; the "
            "same command continues from there"
        )

    def unwritable(self, error: OSError) -> SweepStopped:
        """The error of a sweep that cannot store a run."""
        return self.stopped(f"{self.store}: cannot be written to ({error.strerror or error})")

    def fail(self, config: RunConfig, error: str) -> None:
        """Record a failed run."""
        self.failures[config] = error
        if config in self.works:
            with self.works.pop(config) as held, contextlib.suppress(OSError):
                held.fail(error)  # the summary names the failure in any case
        self.tell("failed", config, error)

    def note(self, text: str, config: RunConfig | None = None) -> None:
        """Tell the progress function something that is not a result."""
        self.tell("note", config, text)

    def tell(self, kind, config, text="") -> None:
        """Call the progress function."""
        if self.progress is None:
            return
        total, done = len(self.configs), len(self.folders) + len(self.failures)
        left = None
        if self.computed:
            left = (time.monotonic() - self.began) / (done - self.reused) * (total - done)
        self.progress(Event(kind, done, total, config, text, left))
