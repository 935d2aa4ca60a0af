"""How every figure looks: colours, the style, and saving. It imports no other room."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tau_rnn.experiment.files import replacing

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
STYLE: Any = {
    "figure.dpi": 100,
    "savefig.dpi": 110,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "tau_rnn",
}


def color_of(dist: str) -> str:
    """The colour of a distribution, whatever its parameters: ``"normal:sd=0.3"`` is normal."""
    return COLORS.get(str(dist).split(":")[0], OTHER_COLOR)


def save(figure, path, *, largest: int | None = None) -> Path:
    """Write a figure to a file, atomically and without a date, and close it.

    Parameters
    ----------
    figure : matplotlib Figure
    path : of the file; its ending says the format
    largest : bytes that a PNG shall not exceed: colours, then resolution are reduced to get there
    """
    import matplotlib.pyplot as plt

    path = Path(path)
    kind = path.suffix[1:] or "png"
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    for dpi in (STYLE["savefig.dpi"], 90, 75, 60):
        with replacing(path) as file:
            figure.savefig(file, format=kind, facecolor="white", metadata=metadata, dpi=dpi)
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


def new_figure(*args, **kwargs):
    """``plt.subplots`` in the project's style, which later figures of the process keep."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(STYLE)
    return plt.subplots(*args, **kwargs)
