"""Figures. The only room that imports matplotlib, and only inside functions.

Its parts are loaded when a name of theirs is used: a new figure needs no experiment.
"""

from typing import TYPE_CHECKING

from tau_rnn._lazy import lazy_names

if TYPE_CHECKING:
    from tau_rnn.plotting.effects import plot_claims
    from tau_rnn.plotting.measures import plot_measures
    from tau_rnn.plotting.run import plot_run
    from tau_rnn.plotting.style import color_of, in_style, new_figure, save
    from tau_rnn.plotting.sweep import plot_sweep
    from tau_rnn.plotting.timescales import plot_timescales

__all__ = [
    "color_of",
    "in_style",
    "new_figure",
    "plot_claims",
    "plot_measures",
    "plot_run",
    "plot_sweep",
    "plot_timescales",
    "save",
]

__getattr__, __dir__ = lazy_names(__name__)
