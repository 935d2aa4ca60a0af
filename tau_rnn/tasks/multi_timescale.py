"""The multi-timescale working-memory task: a fast pattern and slow evidence, one to be reported."""

from __future__ import annotations

from dataclasses import Field, dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tau_rnn.checks import check_array, check_number
from tau_rnn.tasks.base import DelayedReport, Trials, fraction

__all__ = ["MultiTimescaleMemory"]


class MemoryLabels(NamedTuple):
    """What is true of each trial; every field an array (B,).

    Attributes
    ----------
    pattern : +-1, sign of the sum of the pulses
    evidence : +-1, sign of the realised integral of the evidence
    cue : which one to report: 0 pattern, 1 evidence
    answer : +-1, the label of the cued one
    conflict : bool: the two labels differ
    pulse_sum : sum of the pulses' amplitudes
    coherence : mean of the evidence before noise
    integral : realised integral of the evidence over the stimulus (s)
    """

    pattern: np.ndarray
    evidence: np.ndarray
    cue: np.ndarray
    answer: np.ndarray
    conflict: np.ndarray
    pulse_sum: np.ndarray
    coherence: np.ndarray
    integral: np.ndarray


@dataclass(frozen=True, kw_only=True)
class MultiTimescaleMemory(DelayedReport):
    """Two memories on two timescales, and a brief cue that says which one to report.

    ======================  ============  =====================================================
    channel 0, pattern      stimulus      ``n_pulses`` pulses of +-``pulse_amplitude`` (signs
                                          drawn), each at the start of its own slot
    channel 1, evidence     stimulus      coherence +-c, c drawn from ``coherences``, plus white
                                          noise of sd `DelayedReport.noise_per_step`
    channel 2 or 3, cue     cue           1 on channel 2: report the pattern, the sign of the sum
                                          of its pulses; on channel 3: report the evidence, the
                                          sign of its realised integral (noise included)
    ======================  ============  =====================================================

    The target is 0 before the response and the answer, +1 or -1, throughout it; a trial is
    correct if the decision has the answer's sign (a decision of exactly 0 is none, and wrong).

    Guessing scores 0.5. A network that ignores the cue and always reports the same memory scores
    0.75, since the labels agree in half of the trials; ``conflict_accuracy``, over the trials
    whose labels differ, is then 0.5. So the criterion is an accuracy of 0.9.

    The number of pulses is odd so that their sum is never 0; a realised integral of exactly 0 (of
    probability 0 with noise) counts as +1.

    Parameters are those of `DelayedReport` and

    Parameters
    ----------
    slot : duration of a slot, which holds one pulse at most (s)
    pulse : duration of a pulse (s)
    n_pulses : number of pulses, odd
    pulse_amplitude : their size
    coherences : the sizes of the coherence
    cue : duration of the cue, which starts with the response (s)

    Examples
    --------
    >>> task = MultiTimescaleMemory(dt=0.1, delay_max=1.5)
    >>> trials = task.trials(100, np.random.default_rng(0))
    >>> task.accuracy(trials.target, trials)
    1.0
    """

    slot: float = 0.2
    pulse: float = 0.1
    n_pulses: int = 5
    pulse_amplitude: float = 2.0
    coherences: tuple[float, ...] = (0.2, 0.4, 0.8)
    cue: float = 0.2

    name: ClassVar[str] = "multi_timescale"
    inputs: ClassVar[tuple[str, ...]] = ("pattern", "evidence", "cue: pattern", "cue: evidence")
    outputs: ClassVar[tuple[str, ...]] = ("answer",)
    remembered: ClassVar[tuple[str, ...]] = ("pulse_sum", "integral")
    _durations: ClassVar[tuple[str, ...]] = (*DelayedReport._durations, "slot", "pulse", "cue")
    _within: ClassVar = {**DelayedReport._within, "pulse": "slot", "cue": "response"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._steps(self.stimulus) % self._steps(self.slot):
            raise ValueError(
                f"{self.name}: slot must divide stimulus = {self.stimulus:g}, got {self.slot:g}"
            )
        if self.n_pulses % 2 == 0 or self.n_pulses > self.n_slots:
            raise ValueError(
                f"{self.name}: n_pulses must be odd (an even number could sum to 0) and at most "
                f"the number of slots, {self.n_slots}; got {self.n_pulses}"
            )

    @classmethod
    def checked(cls, field: Field[Any], value: Any) -> Any:
        """The value of a field in its type; coherences are a tuple of numbers."""
        if field.name != "coherences":
            return super().checked(field, value)
        name = f"{cls.name}: coherences"
        values = check_array(name, value if hasattr(value, "__len__") else [value], ("n",))
        return tuple(check_number(name, c, above=0) for c in values.tolist())

    @property
    def n_slots(self) -> int:
        """Number of slots in the stimulus."""
        return self._steps(self.stimulus) // self._steps(self.slot)

    def trials(
        self, batch_size: int, rng: np.random.Generator, *, dtype: DTypeLike = np.float64
    ) -> Trials:
        """Draw a batch of trials; labels are `MemoryLabels`. See `DelayedReport.trials`."""
        epochs, since_go = self._timeline(batch_size, rng, self.cue, dtype)
        T, B = since_go.shape
        start, end = epochs.stimulus[0]  # the same in every trial

        # Random keys, sorted, give each trial a random order of the slots: distinct slots.
        slots = rng.random((self.n_slots, B)).argsort(axis=0)[: self.n_pulses]
        amplitude = self.pulse_amplitude * _random_sign(rng, (self.n_pulses, B))
        per_slot = np.zeros((self.n_slots, B))
        np.put_along_axis(per_slot, slots, amplitude, axis=0)

        coherence = rng.choice(self.coherences, size=B) * _random_sign(rng, B)
        evidence = self._evidence(coherence, rng)
        cue = rng.integers(2, size=B)

        u = np.zeros((T, B, self.n_in), dtype)
        stimulus = u[start:end].reshape(self.n_slots, -1, B, self.n_in)  # (slot, step in it, ...)
        stimulus[:, : self._steps(self.pulse), :, 0] = per_slot[:, np.newaxis]
        u[start:end, :, 1] = evidence
        cue_on = (since_go >= 0) & (since_go < self._steps(self.cue))
        u[:, :, 2] = cue_on & (cue == 0)
        u[:, :, 3] = cue_on & (cue == 1)

        pulse_sum, integral = amplitude.sum(axis=0), evidence.sum(axis=0) * self.dt
        pattern, sign = _sign(pulse_sum), _sign(integral)
        answer = np.where(cue == 0, pattern, sign)
        labels = MemoryLabels(
            pattern, sign, cue, answer, pattern != sign, pulse_sum, coherence, integral
        )
        responding = (since_go >= 0) & (since_go < self._steps(self.response))
        target = np.where(responding, answer, 0).astype(dtype)[:, :, np.newaxis]
        return Trials(u, target, self._weights(since_go, dtype), labels, epochs)

    def scores(self, y: ArrayLike, trials: Trials) -> dict[str, float]:
        """Fractions of correct trials, for outputs y (T, B, 1).

        ``accuracy`` of all; ``conflict_accuracy`` of those whose labels differ;
        ``pattern_accuracy`` and ``evidence_accuracy`` of those that ask for the one or the other;
        nan where the batch has no such trial.
        """
        labels = trials.labels
        correct = self.decision(y, trials)[:, 0] * labels.answer > 0
        return {
            "accuracy": fraction(correct),
            "conflict_accuracy": fraction(correct, labels.conflict),
            "pattern_accuracy": fraction(correct, labels.cue == 0),
            "evidence_accuracy": fraction(correct, labels.cue == 1),
        }


def _random_sign(rng, size):
    return 2 * rng.integers(2, size=size) - 1


def _sign(value):
    return np.where(value >= 0, 1, -1)
