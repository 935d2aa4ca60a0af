"""What the tasks share: a trial's timeline, its weights, the decision read from the outputs.

Every trial has the epochs::

    fixation | stimulus | delay (its length is drawn) | response

and all trials of a batch share one array of T steps, sized by the longest delay: after its own
response a shorter trial has input 0, target 0 and weight 0. Step t covers t dt to (t + 1) dt;
an epoch is a half-open range of steps, [start, end).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import Field, dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tau_rnn.checks import check_dtype, check_generator, check_integer, check_number

__all__ = ["DelayedReport", "Epochs", "Trials"]

_SHORTEST = 1e-9  # s, of a time step


class Epochs(NamedTuple):
    """Steps [start, end) of each trial's epochs, each an integer array (B, 2).

    ``epochs.delay[b]`` is (start, end) of the delay of trial b; times are ``dt`` times that. The
    signal to answer begins with the response. ``cue`` is how long it lasts: briefly in
    multi_timescale (the first 0.2 s of the response), throughout the response in
    integrate_and_remember (where it is a go signal).

    Attributes
    ----------
    fixation, stimulus, delay, cue, response : (B, 2) first step, and the one after the last

    Examples
    --------
    >>> from tau_rnn import make_task
    >>> task = make_task("multi_timescale", dt=0.1)
    >>> epochs = task.trials(1, np.random.default_rng(0)).epochs
    >>> bool(epochs.delay[0, 1] == epochs.response[0, 0])
    True
    """

    fixation: np.ndarray
    stimulus: np.ndarray
    delay: np.ndarray
    cue: np.ndarray
    response: np.ndarray


class Trials(NamedTuple):
    """A batch of B trials of T steps.

    ``mask`` weights the squared error at each step. In the tasks of this package it is
    ``pre_weight`` (0.2) before the response, 0 in the grace at its start, 1 in the rest of it, 0
    after it, all divided by their sum over the trial. So each trial's weights sum to 1, and
    :func:`tau_rnn.losses.mse`, which divides by the sum of all weights, is a mean over trials in
    which short and long delays count the same.

    Attributes
    ----------
    u : (T, B, n_in) inputs
    target : (T, B, n_out) what the outputs should be
    mask : (T, B) weights >= 0
    labels : one array (B,) per label, MemoryLabels or IntegrateLabels; None in a task without any
    epochs : Epochs, the steps at which each part of a trial starts and ends; None if it has none

    Examples
    --------
    >>> from tau_rnn import make_task
    >>> trials = make_task("multi_timescale", dt=0.1).trials(2, np.random.default_rng(0))
    >>> trials.u.shape, trials.target.shape, trials.mask.sum(axis=0).round(9).tolist()
    ((52, 2, 4), (52, 2, 1), [1.0, 1.0])
    """

    u: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    labels: Any = None
    epochs: Any = None


class Channels:
    """The numbers of a task's inputs and outputs, from their names."""

    @property
    def n_in(self: Any) -> int:
        """Number of input channels."""
        return len(self.inputs)

    @property
    def n_out(self: Any) -> int:
        """Number of outputs."""
        return len(self.outputs)


@dataclass(frozen=True, kw_only=True)
class DelayedReport(Channels, ABC):
    """Base of the tasks. Durations are in seconds, each a whole multiple of ``dt``.

    Parameters
    ----------
    dt : time step
    fixation, stimulus : durations before and of the stimulus
    delay_min, delay_max : the delay is drawn uniformly from the multiples of dt in this range,
        both ends included
    response : duration of the response
    grace : start of the response that has weight 0, time to react
    decision_window : end of the response over which the outputs are averaged to read a decision
    pre_weight : weight of the target 0 before the response, relative to the response's
    evidence_sd : sd of the white noise on the evidence after averaging over ``evidence_time``
    evidence_time : see evidence_sd
    noise : sigma of the private noise of the units, on in training and in tests alike. It is not
        part of the trials: `tau_rnn.noise.private_noise` draws it.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or ``dt`` does not divide a duration (all that it does
        not divide are named).

    Examples
    --------
    >>> from tau_rnn import make_task
    >>> task = make_task("multi_timescale", dt=0.1, delay_max=1.0)
    >>> isinstance(task, DelayedReport), task.n_steps
    (True, 42)
    """

    dt: float = 0.05
    fixation: float = 0.2
    stimulus: float = 2.0
    delay_min: float = 1.0
    delay_max: float = 2.0
    response: float = 1.0
    grace: float = 0.3
    decision_window: float = 0.4
    pre_weight: float = 0.2
    evidence_sd: float = 0.5
    evidence_time: float = 0.1
    noise: float = 0.2

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]  # names of the input channels
    outputs: ClassVar[tuple[str, ...]]  # names of the outputs
    remembered: ClassVar[tuple[str, ...]] = ()  # labels of the quantities that are to be remembered
    criterion: ClassVar[float] = 0.9  # accuracy at which the task counts as learned
    _durations: ClassVar[tuple[str, ...]] = (
        "fixation", "stimulus", "delay_min", "delay_max", "response", "grace", "decision_window",
    )
    _within: ClassVar[dict[str, str]] = {"decision_window": "response"}  # not longer than
    _may_be_zero: ClassVar[tuple[str, ...]] = (
        "fixation", "delay_min", "delay_max", "grace", "pre_weight", "evidence_sd", "noise",
    )

    def __post_init__(self) -> None:
        for field in fields(self):
            value = self.checked(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        check_number(f"{self.name}: dt", self.dt, least=_SHORTEST)
        undivided = [
            f"{name} = {getattr(self, name):g}"
            for name in self._durations
            if not _divides(self.dt, getattr(self, name))
        ]
        if undivided:
            raise ValueError(
                f"{self.name}: dt must divide every duration (s), but dt = {self.dt:g} does not "
                f"divide {', '.join(undivided)}"
            )
        if self.delay_min > self.delay_max:
            raise ValueError(
                f"{self.name}: delay_min must not exceed delay_max, "
                f"got {self.delay_min:g} > {self.delay_max:g}"
            )
        if self.grace >= self.response:
            raise ValueError(
                f"{self.name}: grace must be below response = {self.response:g}, "
                f"got {self.grace:g}"
            )
        for name, longer in self._within.items():
            value, most = getattr(self, name), getattr(self, longer)
            if value > most:
                limit = f"must not exceed {longer} = {most:g}"
                raise ValueError(f"{self.name}: {name} {limit}, got {value:g}")

    @classmethod
    def checked(cls, field: Field[Any], value: Any) -> Any:
        """The value of a field in its type; a ValueError if it could not be one in any task."""
        name, may_be_zero = f"{cls.name}: {field.name}", field.name in cls._may_be_zero
        if field.type in (int, "int"):
            return check_integer(name, value, 0 if may_be_zero else 1)
        return check_number(name, value, **({"least": 0} if may_be_zero else {"above": 0}))

    @property
    def n_steps(self) -> int:
        """T, the steps of a trial with the longest delay."""
        return self._steps(self.fixation, self.stimulus, self.delay_max, self.response)

    @property
    def noise_per_step(self) -> float:
        """Sd of the white evidence noise at one step, evidence_sd sqrt(evidence_time / dt).

        White noise has no sd of its own, only one per averaging time. Scaled like this its mean
        over ``evidence_time`` has sd ``evidence_sd`` for every dt, and its integral over S seconds
        has sd evidence_sd sqrt(evidence_time S): the difficulty does not depend on dt.
        """
        return self.evidence_sd * math.sqrt(self.evidence_time / self.dt)

    @abstractmethod
    def trials(
        self, batch_size: int, rng: np.random.Generator, *, dtype: DTypeLike = np.float64
    ) -> Trials:
        """Draw a batch of independent trials.

        Parameters
        ----------
        batch_size : B, at least 1
        rng : the only source of randomness: the same state gives the same trials
        dtype : of u, target and mask (the labels are computed and kept in float64)

        Returns
        -------
        Trials
        """

    def decision(self, y: ArrayLike, trials: Trials) -> np.ndarray:
        """Mean output over the last ``decision_window`` of each trial's response.

        Parameters
        ----------
        y : (T, B, n_out) outputs

        Returns
        -------
        (B, n_out) float64 array
        """
        y = np.asarray(y)
        if y.shape != trials.target.shape:
            raise ValueError(
                f"y: must have the shape (T, B, n_out) = {trials.target.shape} of the trials, "
                f"got {y.shape}"
            )
        end = trials.epochs.response[:, 1]
        steps = end - np.arange(1, self._steps(self.decision_window) + 1)[:, np.newaxis]
        return y[steps, np.arange(end.size)].mean(axis=0, dtype=np.float64)

    def accuracy(self, y: ArrayLike, trials: Trials) -> float:
        """Fraction of the trials that outputs y (T, B, n_out) answer correctly."""
        return self.scores(y, trials)["accuracy"]

    @abstractmethod
    def scores(self, y: ArrayLike, trials: Trials) -> dict[str, float]:
        """``accuracy`` and the task's more detailed scores; nan where no trial counts."""

    def _steps(self, *durations: float) -> int:
        return sum(round(duration / self.dt) for duration in durations)

    def _timeline(self, batch_size, rng, cue: float, dtype):
        """Draw the delays; epochs, and (T, B) the step of each trial counted from its go."""
        check_generator(rng)
        check_dtype(dtype)
        B = check_integer("batch_size", batch_size, 1)
        delay = rng.integers(self._steps(self.delay_min), self._steps(self.delay_max) + 1, size=B)
        start = np.full(B, self._steps(self.fixation))
        end = start + self._steps(self.stimulus)
        go = end + delay
        epochs = Epochs(
            fixation=np.stack([np.zeros_like(start), start], axis=1),
            stimulus=np.stack([start, end], axis=1),
            delay=np.stack([end, go], axis=1),
            cue=np.stack([go, go + self._steps(cue)], axis=1),
            response=np.stack([go, go + self._steps(self.response)], axis=1),
        )
        return epochs, np.arange(self.n_steps)[:, np.newaxis] - go

    def _weights(self, since_go, dtype):
        """(T, B) weights of the squared error (see `Trials`); since_go as from `_timeline`."""
        # What weight a step has depends on its distance from the go alone: one look-up.
        before, during = self.n_steps, self._steps(self.response)
        weight = np.zeros(2 * self.n_steps)
        weight[:before] = self.pre_weight
        weight[before + self._steps(self.grace) : before + during] = 1.0
        mask = weight[since_go + before]
        mask /= mask.sum(axis=0)
        return mask.astype(dtype, copy=False)

    def _evidence(self, coherence, rng):
        """(S, B) evidence over the S steps of the stimulus: constant coherence and white noise."""
        evidence = rng.standard_normal((self._steps(self.stimulus), coherence.size))
        evidence *= self.noise_per_step
        evidence += coherence
        return evidence


def fraction(correct, among=None) -> float:
    """Mean of a boolean array over the trials in ``among`` (nan if there are none)."""
    chosen = correct if among is None else correct[among]
    return float(chosen.mean()) if chosen.size else math.nan


def _divides(dt: float, duration: float) -> bool:
    steps = duration / dt
    if duration > 0 and round(steps) == 0:
        return False
    return abs(steps - round(steps)) <= 1e-9 * max(1.0, steps)
