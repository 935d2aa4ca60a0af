"""The tasks: what the network sees, what it should answer, and how well it did.

A task of this package is a frozen dataclass of durations (s), dt (s) and noise levels.
``task.trials(batch_size, rng)`` draws trials, a pure function of the rng; ``task.accuracy(y,
trials)`` scores outputs. See `tau_rnn.tasks.own` for what one of your own needs.

======================  ====================================================================
multi_timescale         remember a fast pattern and slow evidence, report the one that a brief
                        cue asks for (:class:`MultiTimescaleMemory`)
integrate_and_remember  integrate noisy evidence and remember a sample, report both at once
                        (:class:`IntegrateAndRemember`)
======================  ====================================================================

The poster (Higgs, Siddiqui and Langdon) describes each in one sentence; the epochs, cues and
numbers are this project's reading and choice.
"""

from __future__ import annotations

from tau_rnn.tasks.base import Epochs, Trials
from tau_rnn.tasks.integrate_and_remember import IntegrateAndRemember
from tau_rnn.tasks.multi_timescale import MultiTimescaleMemory
from tau_rnn.tasks.own import check_task
from tau_rnn.tasks.spec import TASKS, make_task

__all__ = [
    "TASKS",
    "Epochs",
    "IntegrateAndRemember",
    "MultiTimescaleMemory",
    "Trials",
    "check_task",
    "make_task",
]
