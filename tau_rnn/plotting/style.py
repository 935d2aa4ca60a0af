"""How every figure looks: colours, the style, and saving.

matplotlib's settings are the user's. The style holds while a figure is drawn and while it is saved,
and never longer.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar, cast

from tau_rnn.experiment.files import replacing

__all__ = ["color_of", "in_style", "new_figure", "save"]

#: One colour for each distribution, everywhere (Okabe & Ito's palette: safe for colour-blind eyes).
COLORS = {
    "vanilla": "#0072B2",
    "normal": "#E69F00",
    "uniform": "#009E73",
    "bimodal": "#CC79A7",
    "constant": "#56B4E9",
    "lognormal": "#D55E00",
    "gamma": "#8C6D1F",
}
OTHER_COLOR = "#444444"
#: Ticks of a loss, from which `plain_log_ticks` chooses.
_LOSS_TICKS = (1, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001)
_Draw = TypeVar("_Draw", bound=Callable[..., Any])

#: What differs from matplotlib's own defaults.
STYLE: Any = {
    "figure.dpi": 100,
    "savefig.dpi": 110,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # else every axes lays out its ticks once more, to place the title
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.hinting": "none",  # letters evenly spaced, and a figure drawn in four fifths of the time
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "tau_rnn",
}


def color_of(dist: str) -> str:
    """The colour of a distribution, whatever its parameters: ``"normal:sd=0.3"`` is normal.

    Parameters
    ----------
    dist : text of a distribution of tau

    Returns
    -------
    str

    Examples
    --------
    >>> color_of("normal:sd=0.3") == color_of("normal") != color_of("uniform")
    True
    """
    return COLORS.get(str(dist).split(":")[0], OTHER_COLOR)


def in_style() -> AbstractContextManager[None]:
    """The project's style within a ``with`` block, whatever the user's; theirs again after it.

    Returns
    -------
    context manager

    Examples
    --------
    >>> with in_style():
    ...     figure, axes = new_figure(1, 2)
    """
    import matplotlib.style

    return matplotlib.style.context(["default", STYLE])


def styled(draw: _Draw) -> _Draw:
    """Decorate a function that draws a figure: it draws in the project's style, and only it."""

    @functools.wraps(draw)
    def drawn(*args, **kwargs):
        with in_style():
            return draw(*args, **kwargs)

    return cast("_Draw", drawn)


def new_figure(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """``plt.subplots`` with the project's sizes in the user's colours; it changes no setting.

    Parameters
    ----------
    *args, **kwargs : as ``plt.subplots`` takes them

    Returns
    -------
    figure, axes : of Matplotlib

    Examples
    --------
    >>> figure, axis = new_figure(figsize=(6, 3), layout="constrained")
    """
    import matplotlib
    import matplotlib.pyplot as plt

    with matplotlib.rc_context(STYLE):
        return plt.subplots(*args, **kwargs)


def check_kind(name: str, value: Any, kind: type) -> Any:
    """The value, a ValueError unless it is of a kind that another function of ours makes."""
    from tau_rnn.checks import shown  # which a new figure does not need

    if not isinstance(value, kind):
        raise ValueError(f"{name}: must be a {kind.__name__}, got {shown(value)}")
    return value


def check_kinds(name: str, values: Any, kind: type) -> list[Any]:
    """At least one value of the kind, in a sequence."""
    values = [check_kind(name, value, kind) for value in check_kind(name, values, Sequence)]
    if not values:
        raise ValueError(f"{name}: must hold at least one {kind.__name__}")
    return values


def plain_log_ticks(axes, which: str, ticks=_LOSS_TICKS) -> None:
    """Ticks of a logarithmic axis as plain numbers: those that are within its limits.

    Parameters
    ----------
    axes : matplotlib Axes, its data drawn and its limits set
    which : "x" or "y"
    ticks : to choose from; where fewer than two fit, the axis is divided evenly
    """
    low, high = sorted(getattr(axes, f"get_{which}lim")())
    shown = [t for t in ticks if low <= t <= high]
    if len(shown) < 2:  # a narrow range: as many digits as it takes
        step = (high - low) / 4
        shown = [float(f"{low + k * step:.3g}") for k in (1, 2, 3)]
    getattr(axes, f"set_{which}ticks")(shown, [f"{t:g}" for t in shown])
    axes.minorticks_off()


def save(figure: Any, path: str | Path, *, largest: int | None = None) -> Path:
    """Write a figure to a file, atomically and without a date, and close it.

    Parameters
    ----------
    figure : matplotlib Figure
    path : of the file; its ending says the format
    largest : size of a PNG in bytes that colours, then resolution, are reduced to meet

    Returns
    -------
    the path

    Raises
    ------
    ValueError
        If figure is no Figure, or path no path.

    Examples
    --------
    >>> figure, axis = new_figure(figsize=(1, 1))
    >>> save(figure, "empty.png").name
    'empty.png'
    """
    import matplotlib.figure
    import matplotlib.pyplot as plt

    from tau_rnn.checks import check_path

    path = check_path("path", path)
    figure = check_kind("figure", figure, matplotlib.figure.Figure)
    kind = path.suffix[1:] or "png"
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    for dpi in (STYLE["savefig.dpi"], 90, 75, 60):
        with in_style(), replacing(path) as file:
            figure.savefig(file, format=kind, metadata=metadata, dpi=dpi)
        if largest is None or kind != "png" or path.stat().st_size <= largest:
            break
        _reduce_colors(path)
        if path.stat().st_size <= largest:
            break
    plt.close(figure)
    return path


def _reduce_colors(path: Path) -> None:
    from PIL import Image  # matplotlib itself needs it

    with Image.open(path) as image:  # 128 colours are enough for lines and pale bands
        small = image.convert("RGB").quantize(128)
    with replacing(path) as file:
        small.save(file, "png", optimize=True)


def files_only() -> None:
    """Draw without windows from now on, unless the environment names a backend."""
    import matplotlib

    if not os.environ.get("MPLBACKEND"):
        matplotlib.use("Agg")
