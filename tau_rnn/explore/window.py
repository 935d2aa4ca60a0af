"""The window of ``python -m tau_rnn.explore``: it draws the numbers of `explore`."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np

from tau_rnn.explore.view import RANGES, THIRDS, Sliders, View, explore
from tau_rnn.plotting.style import in_style, new_figure

__all__: list[str] = []


class Window:
    """Panels, sliders and choices, by the name of their field in `View` and `Sliders`.

    >>> window = Window()
    >>> window.sliders["gain"].set_val(0.5)
    >>> window.settings.gain
    0.5
    """

    def __init__(self, settings: Sliders | None = None):
        self.settings = settings or Sliders()
        with in_style():
            self.figure, grid = new_figure(2, 3, figsize=(13, 7.5))
            self.figure.subplots_adjust(0.05, 0.08, 0.98, 0.92, 0.22, 0.38)
            names = ("rates", "adjoint", "eigenvalues", "autocorrelation", "effective")
            self.axes: dict[str, Any] = dict(zip(names, grid.flat))
            self.drawn = _drawn(self.axes)
            self.choices, self.sliders = _widgets(grid[1, 2], self.settings)
        for radio in self.choices.values():
            radio.on_clicked(lambda _: self.follow())
        for slider in self.sliders.values():
            slider.drawon = False  # all is drawn once, below
            slider.on_changed(lambda _: self.follow())
        self.follow()

    def follow(self) -> None:
        """Compute and draw what the widgets are set to."""
        moved: dict[str, Any] = {name: slider.val for name, slider in self.sliders.items()}
        moved |= {name: radio.value_selected for name, radio in self.choices.items()}
        self.settings = replace(self.settings, **moved)
        view = explore(self.settings)
        for name, panel in view.panels.items():
            axis = self.axes[name]
            axis.set_title(f"{panel.title}\n{panel.note}", loc="left")
            axis.set(xlabel=panel.x, ylabel=panel.y, xlim=panel.xlim, ylim=panel.ylim)
        _draw(self.drawn, view, self.settings.dynamics)
        self.figure.canvas.draw_idle()


def _widgets(corner, settings: Sliders) -> tuple[dict[str, Any], dict[str, Any]]:
    from matplotlib.widgets import RadioButtons, Slider

    corner.set_axis_off()
    about = {field.name: field.metadata for field in fields(settings)}
    choices, sliders = {}, {}
    for name, x, title in (("dist", 0.0, "distribution of tau"), ("dynamics", 0.55, "eigenvalues")):
        axis = corner.inset_axes((x, 0.58, 0.45, 0.42), title=title)
        allowed = about[name]["allowed"]
        active = allowed.index(getattr(settings, name))
        axis.set_frame_on(False)
        choices[name] = RadioButtons(axis, allowed, active, activecolor=THIRDS[2][1])
    for k, (name, (least, most, step)) in enumerate(RANGES.items()):
        axis = corner.inset_axes((0.12, 0.38 - 0.13 * k, 0.7, 0.08))
        sliders[name] = Slider(
            axis, name, least, most, valinit=getattr(settings, name), valstep=step,
            valfmt=f"%.2f {about[name]['unit']}", color=THIRDS[2][1],
        )  # fmt: skip
    return choices, sliders


def _drawn(axes) -> dict[str, Any]:
    """Everything that `_draw` moves, and what stands still."""
    from matplotlib.patches import Rectangle

    rates, back, plane, decay, scatter = axes.values()
    still = {"color": "#707070", "lw": 0.8}
    dotted = {"color": "black", "lw": 0.8, "ls": ":"}
    back.set_yscale("log")
    decay.axhline(math.exp(-1), **dotted)
    scatter.set(xscale="log", yscale="log")
    for ticks in (scatter.set_xticks, scatter.set_yticks):
        ticks((0.1, 0.3, 1, 3, 10), ("0.1", "0.3", "1", "3", "10"))
    scatter.plot((0.1, 10), (0.1, 10), **still)
    looks = [{"color": color, "ls": line} for _, color, line in THIRDS]
    drawn = {
        "rates": rates.imshow([[0]], aspect="auto", cmap="RdBu_r", interpolation="nearest"),
        "edges": [rates.axvline(0, **dotted) for _ in range(3)],
        "report": back.add_patch(
            Rectangle((0, 0), 1, 1, color="#E5E5E5", lw=0, transform=back.get_xaxis_transform())
        ),
        "adjoint": [back.plot([], [], **look)[0] for look in looks],
        "edge": plane.plot([], [], **still)[0],
        "eigenvalues": plane.plot([], [], "o", ms=3, color="black")[0],
        "autocorrelation": [decay.plot([], [], **look)[0] for look in looks],
        "effective": [scatter.plot([], [], marker, ms=4, color=color)[0]
                      for marker, (_, color, _) in zip("os^", THIRDS)],
    }  # fmt: skip
    names = [name for name, _, _ in THIRDS]
    drawn["legend"] = back.legend(drawn["adjoint"], names, loc="lower left").texts
    return drawn


def _draw(drawn, view: View, dynamics: str) -> None:
    z, half = view.panels["rates"].z, view.time[1] / 2
    drawn["rates"].set(
        data=view.rates.T, clim=(-z, z),
        extent=(-half, view.time[-1] + half, len(view.tau) + 0.5, 0.5),
    )  # fmt: skip
    for line, edge in zip(drawn["edges"], (*view.stimulus, view.report[0])):
        line.set_xdata([edge, edge])
    start, end = view.report
    drawn["report"].set(x=start, width=end - start)
    for k, name in enumerate(view.thirds):
        drawn["adjoint"][k].set_data(view.time, view.adjoint[:, k])
        drawn["legend"][k].set_text(name)
        drawn["autocorrelation"][k].set_data(view.lags, view.autocorrelation[:, k])
        units = view.third == k
        drawn["effective"][k].set_data(view.tau[units], view.effective[units])
    drawn["eigenvalues"].set_data(np.real(view.eigenvalues), np.imag(view.eigenvalues))
    around, far = np.linspace(0, 2 * np.pi, 721), 1e9
    circle = np.cos(around), np.sin(around)
    drawn["edge"].set_data(*(circle if dynamics == "discrete" else ([0, 0], [-far, far])))
