"""A task of your own: what it must have, what it may have, and one check of what it gives.

A task needs its time step and trials; all else is optional, and what needs it is left out::

    class Echo:
        dt = 0.1                                            # s

        def trials(self, batch_size, rng, dtype=np.float64):
            u = rng.standard_normal((30, batch_size, 1))    # (time, batch, input)
            target = np.roll(u, 5, axis=0)                  # (time, batch, output)
            mask = np.ones((30, batch_size))                # weight of each step's squared error
            return Trials(u, target, mask)

====================================  ==========================================================
``noise`` (default 0)                 sigma of the units' private noise
``accuracy(y, trials)``               0 to 1; or ``scores(y, trials)``, a dict with "accuracy"
``criterion``                         accuracy at which the task counts as learned
``name``, ``inputs``, ``outputs``     names, of the task and of its channels
``labels`` and ``epochs`` of Trials   what is true of each trial, and when each part of it is
``remembered``                        labels of the quantities that are to be remembered
``decision_window``                   s at the end of the response over which outputs are read
====================================  ==========================================================
"""

from __future__ import annotations

import inspect
from functools import cached_property
from traceback import walk_tb
from typing import Any

import numpy as np

from tau_rnn.checks import check_array, check_dt, check_number, shown
from tau_rnn.tasks.base import Channels, DelayedReport, Trials

__all__ = ["check_task"]

#: Trials that are drawn to look at what a task gives.
_LOOK = 3


def check_task(task: Any, dt: float | None = None, *, look: bool = True) -> Any:
    """The task in the form that everything in this package uses.

    Parameters
    ----------
    task : a task of this package, or one of your own
    dt : the time step that it must have, if any
    look : whether to draw a few trials now, instead of waiting for the first that are used

    Returns
    -------
    The task itself if it is one of this package, and an `OwnTask` otherwise.

    Raises
    ------
    ValueError
        Saying what is missing or wrong.

    Examples
    --------
    >>> class Mine:
    ...     def trials(self, batch_size, rng, dtype): ...
    >>> check_task(Mine())
    Traceback (most recent call last):
    ...
    ValueError: task: Mine has no dt, its time step in s
    """
    of_package = isinstance(task, DelayedReport) and type(task).__module__.startswith("tau_rnn.")
    task = task if of_package or isinstance(task, OwnTask) else OwnTask(task)
    if look and isinstance(task, OwnTask):
        task.channels  # noqa: B018 (it is computed once)
    if dt is not None and not np.isclose(task.dt, check_dt(dt), rtol=1e-9, atol=0):
        raise ValueError(f"task: {task.name} has dt = {task.dt:g} s, and the run has dt = {dt:g} s")
    return task


class OwnTask(Channels):
    """A task of your own with all that is optional filled in; see `check_task`.

    Attributes
    ----------
    task : the task as it was given; what is not named here is read from it
    name, dt, noise, remembered : as those of `DelayedReport`
    criterion : accuracy at which the task counts as learned, or None
    """

    def __init__(self, task):
        kind = task.__name__ if isinstance(task, type) else type(task).__name__
        if isinstance(task, type):
            raise ValueError(f"task: {kind} is a class; give an instance of it, {kind}()")
        if not callable(getattr(task, "trials", None)):
            made = f"; make_task({task!r}, dt=...) makes one" if isinstance(task, str) else ""
            raise ValueError(f"task: {kind} has no method trials(batch_size, rng, dtype=...){made}")
        if not hasattr(task, "dt"):
            raise ValueError(f"task: {kind} has no dt, its time step in s")
        self.task, self.name = task, str(getattr(task, "name", kind))
        self.dt = check_number(f"task: dt of {kind}", task.dt, above=0)
        self.noise = check_number(f"task: noise of {kind}", getattr(task, "noise", 0), least=0)
        self.criterion = getattr(task, "criterion", None)
        if self.criterion is not None:
            self.criterion = check_number(f"task: criterion of {kind}", self.criterion)
        self.remembered = tuple(getattr(task, "remembered", ()))
        if not _takes(task.trials, "dtype"):
            raise ValueError(
                f"task: {kind}.trials must take the keyword dtype: "
                "def trials(self, batch_size, rng, dtype=np.float64)"
            )
        self._kind, self._seen = kind, False

    @cached_property
    def channels(self) -> dict[str, tuple[str, ...]]:
        """The names of the "inputs" and "outputs", found by a look at a few trials."""
        rngs = np.random.default_rng(0), np.random.default_rng(0)
        try:
            batches = [self.task.trials(_LOOK, rng, dtype=np.float32) for rng in rngs]
        except Exception as error:
            *_, (frame, line) = walk_tb(error.__traceback__)
            where = f"{frame.f_code.co_filename}, line {line}"
            raise ValueError(
                f"task: {self._kind}.trials failed with {type(error).__name__}: {error} ({where})"
            ) from error
        first, second = (_check_trials(batch, _LOOK, self._kind) for batch in batches)
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first[:3], second[:3])):
            raise ValueError(
                f"task: {self._kind}.trials must draw from its rng alone: two generators in the "
                "same state gave different trials"
            )
        self._scored = "accuracy" in self.scores(np.zeros_like(first.target), first)
        return {
            "inputs": self._names("n_in", "inputs", first.u.shape[2]),
            "outputs": self._names("n_out", "outputs", first.target.shape[2]),
        }

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return self.channels["inputs"]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.channels["outputs"]

    @property
    def accuracy(self):
        """The function of outputs y and trials; an AttributeError if the task has no such score."""
        if self.channels and self._scored:
            return lambda y, trials: self.scores(y, trials)["accuracy"]
        raise AttributeError("accuracy")

    def _names(self, number: str, names: str, n: int) -> tuple[str, ...]:
        """The names of the n inputs or outputs that the trials have."""
        name = names[:-1]
        usual = (name,) if n == 1 else tuple(f"{name} {k}" for k in range(n))
        given = getattr(self.task, names, usual)
        given = (given,) if isinstance(given, str) else tuple(given)
        for what, m in ((number, getattr(self.task, number, n)), (f"len({names})", len(given))):
            if m != n:
                raise ValueError(
                    f"task: {self._kind} has {what} = {m}, and its trials have {n} {names}"
                )
        return given

    def trials(self, batch_size, rng, *, dtype=np.float64) -> Trials:
        """Draw trials, in the dtype asked for whatever the task itself gives."""
        given = self.task.trials(batch_size, rng, dtype=dtype)
        if not self._seen:
            _check_trials(given, batch_size, self._kind)
            self._seen = True
        return _as_trials(given, np.dtype(dtype))

    def scores(self, y, trials) -> dict[str, float]:
        """The task's scores of outputs y (T, B, n_out), by name; empty if it has none."""
        given = getattr(trials, "given", trials)
        if hasattr(self.task, "scores"):
            found = dict(self.task.scores(y, given))
        elif hasattr(self.task, "accuracy"):
            found = {"accuracy": self.task.accuracy(y, given)}
        else:
            found = {}
        where = f"of {self.name}"
        return {str(name): _as_score(f"task: {name} {where}", v) for name, v in found.items()}

    def __getattr__(self, name):
        if name == "accuracy" or name.startswith("__") or "task" not in vars(self):
            raise AttributeError(name)
        return getattr(self.task, name)

    def __repr__(self) -> str:
        return f"OwnTask({self.task!r})"


class _OwnTrials(Trials):
    """Trials of a task of your own, with the object it returned, which its scores are given."""

    given: Any


def _as_trials(given, dtype) -> Trials:
    arrays = (np.asarray(getattr(given, name)) for name in ("u", "target", "mask"))
    u, target, mask = (array.astype(dtype, copy=False) for array in arrays)
    labels, epochs = getattr(given, "labels", None), getattr(given, "epochs", None)
    trials = _OwnTrials(u, target, mask, labels, epochs)
    trials.given = given
    return trials


def _check_trials(given, batch_size: int, name: str = "task") -> Trials:
    """The trials that a task gave, as `Trials`; a ValueError says what is wrong with them."""
    where = f"task: {name}.trials must return"
    missing = [field for field in ("u", "target", "mask") if not hasattr(given, field)]
    if missing:
        raise ValueError(
            f"{where} tau_rnn.tasks.Trials(u, target, mask), or an object with these three, got "
            + (f"a {type(given).__name__} of {len(given)}" if isinstance(given, tuple) else "")
            + (shown(given) if not isinstance(given, tuple) else "")
            + (f" without {', '.join(missing)}" if len(missing) < 3 else "")
        )
    what = f"task: {name}.trials:"
    u = check_array(f"{what} u", given.u, ("T", "B", "n_in"))
    target = check_array(f"{what} target", given.target, ("T", "B", "n_out"), finite=False)
    mask = check_array(f"{what} mask", given.mask)
    T, B = u.shape[:2]
    if T == batch_size != B:  # another number of trials than asked for is the task's own affair
        expected = f"(time, trials, inputs) = (T, {batch_size}, n_in)"
        raise ValueError(f"{what} u: must be {expected}, got {u.shape}; swap the first two axes")
    if target.shape[:2] != (T, B):
        raise ValueError(
            f"{what} target: must be (T, B, n_out) = ({T}, {B}, n_out), got {target.shape}"
        )
    if mask.shape not in ((T, B), target.shape):
        raise ValueError(f"{what} mask: must be (T, B) = ({T}, {B}), got {mask.shape}")
    if (mask < 0).any() or not mask.any():
        raise ValueError(f"{what} mask: must be >= 0, and not 0 everywhere")
    weights = mask.reshape(T, B, -1)
    check_array(f"{what} target", np.where(weights > 0, target, 0))
    return _as_trials(given, u.dtype)


def _as_score(name: str, value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: must be a number, got {shown(value)}") from None


def _takes(function, keyword: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin, of which nothing is known
        return True
    positional_only = inspect.Parameter.POSITIONAL_ONLY
    return any(
        p.kind is inspect.Parameter.VAR_KEYWORD or (p.name == keyword and p.kind != positional_only)
        for p in parameters
    )
