"""The marker: is a hand-derived gradient right, and if not, what is wrong with it?

`check_backward` tests any function with the signature of `tau_rnn.bptt.backward`, ours or a
reader's, against complex steps, and says in words what is wrong. From the shell, on a
file that defines a function ``backward``::

    python -m tau_rnn.gradcheck my_bptt.py

The numerical derivatives it rests on (`complex_step`, `central_difference`, ...) are here as well.
"""

from typing import TYPE_CHECKING

from tau_rnn._lazy import lazy_names

if TYPE_CHECKING:
    from tau_rnn.gradcheck.check import GradientReport, check_backward
    from tau_rnn.gradcheck.derivatives import (
        central_difference,
        complex_step,
        numerical_gradient,
        random_direction,
        relative_error,
        step_sweep,
    )

__all__ = [
    "GradientReport",
    "central_difference",
    "check_backward",
    "complex_step",
    "numerical_gradient",
    "random_direction",
    "relative_error",
    "step_sweep",
]

__getattr__, __dir__ = lazy_names(__name__)
