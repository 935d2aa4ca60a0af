"""The tasks: what the network sees, what it should answer, and how well it did.

A task is a frozen dataclass of durations (s), dt (s) and noise levels. ``task.trials(batch_size,
rng)`` draws trials, a pure function of the rng; ``task.accuracy(y, trials)`` scores outputs.

======================  ====================================================================
multi_timescale         remember a fast pattern and slow evidence, report the one that a brief
                        cue asks for (:class:`MultiTimescaleMemory`)
integrate_and_remember  integrate noisy evidence and remember a sample, report both at once
                        (:class:`IntegrateAndRemember`)
======================  ====================================================================
"""

from __future__ import annotations

from dataclasses import fields

from tau_rnn.checks import nearest
from tau_rnn.tasks.base import DelayedReport, Epochs, Trials
from tau_rnn.tasks.integrate_and_remember import IntegrateAndRemember, IntegrateLabels
from tau_rnn.tasks.multi_timescale import MemoryLabels, MultiTimescaleMemory

__all__ = [
    "TASKS",
    "DelayedReport",
    "Epochs",
    "IntegrateAndRemember",
    "IntegrateLabels",
    "MemoryLabels",
    "MultiTimescaleMemory",
    "Trials",
    "make_task",
]

#: The tasks by name.
TASKS: dict[str, type[DelayedReport]] = {
    task.name: task for task in (MultiTimescaleMemory, IntegrateAndRemember)
}


def make_task(name: str, **options) -> DelayedReport:
    """The task of that name, with the given fields in place of their defaults.

    Raises
    ------
    ValueError
        For an unknown task or field (with the nearest valid name) or a bad value.

    Examples
    --------
    >>> make_task("multi_timescale", dt=0.1).n_steps
    52
    """
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(f"task: unknown task {name!r}; {nearest(name, TASKS)}")
    known = [field.name for field in fields(TASKS[name])]
    for option in options:
        if option not in known:
            raise ValueError(f"{name}: no parameter {option!r}; {nearest(option, known)}")
    return TASKS[name](**options)
