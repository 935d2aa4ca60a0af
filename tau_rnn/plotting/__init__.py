"""Figures. The only room that imports matplotlib, and only inside functions."""

from tau_rnn.plotting.run import example_trials, plot_run
from tau_rnn.plotting.style import COLORS, OTHER_COLOR, color_of, files_only, new_figure, save

__all__ = [
    "COLORS",
    "OTHER_COLOR",
    "color_of",
    "example_trials",
    "files_only",
    "new_figure",
    "plot_run",
    "save",
]
