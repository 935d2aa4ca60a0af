"""Integration and memory at once: report the mean of noisy evidence and a remembered value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tau_rnn.tasks.base import DelayedReport, Trials, fraction

__all__ = ["IntegrateAndRemember"]


class IntegrateLabels(NamedTuple):
    """What is true of each trial; every field an array (B,).

    Attributes
    ----------
    evidence : realised mean of the evidence: what output 0 should report
    value : the remembered value v: what output 1 should report
    coherence : mean of the evidence before noise
    sample_start : step at which the sample begins
    """

    evidence: np.ndarray
    value: np.ndarray
    coherence: np.ndarray
    sample_start: np.ndarray


@dataclass(frozen=True, kw_only=True)
class IntegrateAndRemember(DelayedReport):
    """Integrate evidence while remembering a brief sample; report both after a delay.

    ====================  ================  ================================================
    channel 0, evidence   stimulus          mean c ~ U(-1, 1) plus white noise of sd
                                            `DelayedReport.noise_per_step`
    channel 1, sample     within stimulus   ``sample_gain`` v for ``sample`` seconds,
                                            v ~ U(-1, 1), at a random time
    channel 2, go         response          1
    ====================  ================  ================================================

    In the response output 0 should be the realised mean of the evidence (noise included) and
    output 1 should be v, both at once; before it the targets are 0. A trial is correct if both
    decisions are within ``tolerance`` of their targets; each output has its own accuracy too.

    The best constant outputs are 0 and 0 and score 0.04 (see `chance`). With the default settings
    and seed 0, training the readout alone reached 0.21, and training all weights 0.91.

    Parameters are those of `DelayedReport` (with a delay in [1, 3] s and private noise 0.1) and

    Parameters
    ----------
    sample : duration of the sample (s)
    sample_gain : its amplitude for v = 1
    tolerance : largest error that is still correct

    Examples
    --------
    >>> task = IntegrateAndRemember(dt=0.1, delay_max=1.5)
    >>> trials = task.trials(100, np.random.default_rng(0))
    >>> task.accuracy(trials.target, trials)
    1.0
    """

    delay_max: float = 3.0
    noise: float = 0.1
    sample: float = 0.2
    sample_gain: float = 2.0
    tolerance: float = 0.2

    name: ClassVar[str] = "integrate_and_remember"
    inputs: ClassVar[tuple[str, ...]] = ("evidence", "sample", "go")
    outputs: ClassVar[tuple[str, ...]] = ("mean of evidence", "remembered value")
    remembered: ClassVar[tuple[str, ...]] = ("evidence", "value")
    _durations: ClassVar[tuple[str, ...]] = (*DelayedReport._durations, "sample")
    _within: ClassVar = {**DelayedReport._within, "sample": "stimulus"}

    @property
    def chance(self) -> float:
        r"""Accuracy of the best constant outputs, which are 0 and 0.

        With s = evidence_sd sqrt(evidence_time / stimulus) the sd of the noise in the mean, n ~
        N(0, s^2) and d the tolerance,

        .. math:: P(|v| \le d)\, P(|c + n| \le d), \qquad P(|v| \le d) = \min(d, 1), \qquad
                  P(|c + n| \le d) = \tfrac12 \int_{-1}^{1}
                  \left[\Phi\!\left(\tfrac{d - c}{s}\right) -
                        \Phi\!\left(\tfrac{-d - c}{s}\right)\right] dc,

        and as E[(z + n)^+] = z Phi(z/s) + s phi(z/s) =: g(z), the integral is
        g(1 + d) - g(1 - d) - g(-1 + d) + g(-1 - d), halved. 0.0400 with the defaults.
        """
        from scipy.special import ndtr

        d = self.tolerance
        s = self.evidence_sd * math.sqrt(self.evidence_time / self.stimulus)
        if s == 0:
            return min(d, 1.0) ** 2

        def g(z):
            return z * ndtr(z / s) + s * math.exp(-((z / s) ** 2) / 2) / math.sqrt(2 * math.pi)

        return min(d, 1.0) * (g(1 + d) - g(1 - d) - g(-1 + d) + g(-1 - d)) / 2

    def trials(
        self, batch_size: int, rng: np.random.Generator, *, dtype: DTypeLike = np.float64
    ) -> Trials:
        """Draw a batch of trials; labels are `IntegrateLabels`. See `DelayedReport.trials`."""
        epochs, since_go = self._timeline(batch_size, rng, self.response, dtype)
        T, B = since_go.shape
        start, end = epochs.stimulus[0]  # the same in every trial

        coherence = rng.uniform(-1, 1, size=B)
        evidence = self._evidence(coherence, rng)
        value = rng.uniform(-1, 1, size=B)
        sample_steps = self._steps(self.sample)
        sample_start = rng.integers(start, end - sample_steps + 1, size=B)

        responding = (since_go >= 0) & (since_go < self._steps(self.response))
        since_sample = np.arange(T)[:, np.newaxis] - sample_start
        sampling = (since_sample >= 0) & (since_sample < sample_steps)
        u = np.zeros((T, B, self.n_in), dtype)
        u[start:end, :, 0] = evidence
        u[:, :, 1] = np.where(sampling, self.sample_gain * value, 0)
        u[:, :, 2] = responding

        labels = IntegrateLabels(evidence.mean(axis=0), value, coherence, sample_start)
        target = np.empty((T, B, self.n_out), dtype)
        target[:, :, 0] = np.where(responding, labels.evidence, 0)
        target[:, :, 1] = np.where(responding, labels.value, 0)
        return Trials(u, target, self._weights(since_go, dtype), labels, epochs)

    def scores(self, y: ArrayLike, trials: Trials) -> dict[str, float]:
        """Fractions of correct trials and errors, for outputs y (T, B, 2).

        ``accuracy``: both decisions within ``tolerance`` of their targets; ``evidence_accuracy``
        and ``value_accuracy``: each output's own; ``evidence_rmse`` and ``value_rmse``: root mean
        squared errors of the decisions.
        """
        labels = trials.labels
        error = self.decision(y, trials) - np.stack([labels.evidence, labels.value], axis=1)
        within = np.abs(error) <= self.tolerance
        rmse = np.sqrt((error**2).mean(axis=0))
        return {
            "accuracy": fraction(within.all(axis=1)),
            "evidence_accuracy": fraction(within[:, 0]),
            "value_accuracy": fraction(within[:, 1]),
            "evidence_rmse": float(rmse[0]),
            "value_rmse": float(rmse[1]),
        }
