"""Figures. The only room that imports matplotlib, and only inside functions.

Its parts are loaded when a name of theirs is used: a new figure needs no experiment.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tau_rnn.plotting.effects import plot_claims, plot_forest
    from tau_rnn.plotting.measures import plot_measures
    from tau_rnn.plotting.run import example_trials, plot_run
    from tau_rnn.plotting.style import (
        COLORS,
        OTHER_COLOR,
        STYLE,
        color_of,
        files_only,
        in_style,
        new_figure,
        save,
        styled,
    )
    from tau_rnn.plotting.sweep import plot_sweep

__all__ = [
    "COLORS",
    "OTHER_COLOR",
    "STYLE",
    "color_of",
    "example_trials",
    "files_only",
    "in_style",
    "new_figure",
    "plot_claims",
    "plot_forest",
    "plot_measures",
    "plot_run",
    "plot_sweep",
    "save",
    "styled",
]

_PAGES = {
    "example_trials": "run",
    "plot_claims": "effects",
    "plot_forest": "effects",
    "plot_measures": "measures",
    "plot_run": "run",
    "plot_sweep": "sweep",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PAGES.get(name, 'style')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
