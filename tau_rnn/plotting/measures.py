"""One page on what training changed, from what `tau_rnn.measures.measure_run` returned."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tau_rnn.measures import TrainingMeasures
from tau_rnn.plotting.style import OTHER_COLOR, check_kind, new_figure, styled

__all__ = ["plot_measures"]

# Told apart by line style or marker as well as by colour.
SLOW, FAST, RANDOM, BEFORE = "#D55E00", "#0072B2", "#707070", "#909090"
N_MODES, LONGEST_SHOWN = 10, 100.0  # s
_KINDS = {"slow": "slow point", "marginal": "marginal point"}


@styled
def plot_measures(measures: TrainingMeasures, *, title: str = "", color: str = OTHER_COLOR) -> Any:
    """Weights, rank, alignments, lesions, decoding and fixed points on one page.

    Effective timescales are on the page of the run, see `tau_rnn.plotting.plot_run`.

    Parameters
    ----------
    measures : TrainingMeasures; what was not measured is left out
    title : what the page is about
    color : of the network, that of its distribution of tau (`tau_rnn.plotting.color_of`)

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        If nothing was measured, or measures is None, as those of a run that was read from a store.

    Examples
    --------
    >>> tau = np.ones(3)
    >>> found = TrainingMeasures(tau, tau, representation_alignment=0.9, kernel_alignment=0.8)
    >>> figure = plot_measures(found, title="three units")
    """
    if measures is None:
        raise ValueError(
            "measures: None; a stored run holds their numbers alone (result.metrics), and "
            "tau_rnn.measures.measure_run measures its networks again"
        )
    panels = _panels(check_kind("measures", measures, TrainingMeasures), color)
    if not panels:
        raise ValueError(
            "measures: nothing that this page draws was measured (effective timescales are on "
            "the page of the run)"
        )
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    width, height = 3.4 * columns, 3.1 * rows + 0.35
    # Positions are fixed: a layout engine would take longer than the drawing itself.
    figure, axes = new_figure(
        rows, columns, figsize=(width, height), squeeze=False,
        gridspec_kw={
            "left": 0.75 / width, "right": 1 - 0.12 / width, "wspace": 0.75 / 2.65,
            "top": 1 - 0.65 / height, "bottom": 0.5 / height, "hspace": 0.8 / 2.3,
        },
    )  # fmt: skip
    for axis, draw in zip(axes.ravel(), panels):
        draw(axis)
    for axis in axes.ravel()[len(panels) :]:
        axis.remove()
    if title:
        figure.suptitle(
            title, x=0.01, y=1 - 0.1 / height, va="top", ha="left", fontsize=12, fontweight="bold"
        )
    remarks = [measures.note[:1].upper() + measures.note[1:]] if measures.note else []
    if measures.left_out:
        names = ", ".join(measures.left_out).replace("_", " ")
        remarks.append(f"Left out, since the task lacks what they need: {names}")
    figure.text(0.01, 1 - 0.31 / height, ". ".join(remarks), va="top", fontsize=8)
    return figure


def _panels(m: TrainingMeasures, color) -> list[Callable]:
    panels: list[Callable] = []
    if m.weights is not None:
        panels += [
            partial(_weight_change, m=m, color=color),
            partial(_singular_values, m=m, color=color),
        ]
    if m.rank is not None:
        panels.append(partial(_rank, curve=m.rank, color=color))
    if m.representation_alignment is not None:
        panels.append(partial(_alignments, m=m, color=color))
    if m.lesions is not None:
        panels.append(partial(_lesions, curve=m.lesions))
    if m.fixed_points_after is not None:
        panels.append(partial(_modes, m=m, color=color))
    if m.decoding is not None:
        quantities = range(len(m.decoding.quantities))
        panels += [partial(_decoding, d=m.decoding, q=q) for q in quantities]
    return panels


def _weight_change(axis, m, color):
    tau = _spread_if_equal(m.tau_before)
    axis.scatter(tau, m.weights["W"].absolute_per_row, s=14, color=color, alpha=0.8, lw=0)
    axis.set_xlim(0, max(2.0, 1.05 * tau.max()))
    axis.set_ylim(bottom=0)
    axis.set_xlabel("intrinsic time constant tau (s)")
    axis.set_ylabel("change of incoming weights (norm)")
    axis.set_title(f"Change of W: {m.weights['W'].relative:.2f} of its norm")


def _singular_values(axis, m, color):
    s = m.spectrum.singular_values
    axis.plot(np.arange(1, len(s) + 1), s, "o-", color=color, ms=3, lw=1)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("number k of the direction")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_ylabel("singular value of the change of W")
    axis.set_title(f"Directions: effective rank {m.spectrum.effective_rank:.1f}")


def _rank(axis, curve, color):
    axis.plot(curve.ranks, curve.accuracy, "o-", color=color, ms=3, lw=1)
    axis.set_xscale("symlog", linthresh=10)
    ticks = [k for k in (0, 2, 4, 6, 8, 10, 20, 50, 100, 200, 500, 1000) if k <= curve.ranks[-1]]
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.minorticks_off()
    axis.set_ylim(0, 1.03)
    axis.set_xlabel("rank to which the change of W is cut")
    axis.set_ylabel("accuracy on test trials")
    if np.isfinite(curve.needed):
        axis.axvline(curve.needed, color="black", ls=":", lw=0.8)
    needed = f"{curve.needed:.0f}" if np.isfinite(curve.needed) else "not defined"
    axis.set_title(f"Rank that the task needs: {needed}")


def _alignments(axis, m, color):
    values = [m.representation_alignment, m.kernel_alignment]
    bars = axis.bar(["representation", "tangent kernel"], np.nan_to_num(values), 0.5, color=color)
    axis.bar_label(bars, [f"{v:.2f}" if np.isfinite(v) else "not defined" for v in values])
    axis.set_ylim(0, 1.1)
    axis.set_ylabel("alignment with before training")
    axis.set_title("Rebuilt (0) or only rescaled (1)")


def _lesions(axis, curve):
    random = curve.random.T
    low, high = np.quantile(random, [0.1, 0.9], axis=1)
    axis.fill_between(curve.fractions, low, high, color=RANDOM, alpha=0.25, lw=0)
    label = "random (band: 80 %)"
    axis.plot(curve.fractions, random.mean(1), "o:", color=RANDOM, ms=3, label=label)
    if np.isfinite(curve.slowest).all():
        axis.plot(curve.fractions, curve.slowest, "s-", color=SLOW, ms=4, label="slowest")
        axis.plot(curve.fractions, curve.fastest, "^--", color=FAST, ms=4, label="fastest")
    axis.set_xlim(0, 1.05 * curve.fractions.max())
    axis.set_ylim(0, 1.03)
    axis.set_xlabel("fraction of units silenced")
    axis.set_ylabel("accuracy on test trials")
    axis.set_title("Which units the task needs")
    axis.legend()


def _modes(axis, m, color):
    for points, which, shade in (
        (m.fixed_points_before, "before", BEFORE),
        (m.fixed_points_after, "after", color),
    ):
        for k in range(min(len(points.x), 3)):
            timescales = points.timescales[k]
            timescales = timescales[np.argsort(-np.abs(timescales), kind="stable")][:N_MODES]
            number, size = np.arange(1, len(timescales) + 1), np.abs(timescales)
            size = np.minimum(size, LONGEST_SHOWN)
            axis.plot(
                number, size, marker="o^s"[k], ls=("-", "--", ":")[k], color=shade, ms=4, lw=1,
                label=f"{which}: {_KINDS.get(points.kind[k], points.kind[k])}",
            )  # fmt: skip
            grows = timescales < 0
            axis.plot(number[grows], size[grows], "o^s"[k], color=shade, mfc="white", ms=4)
    axis.axhline(m.fixed_points_after.slow, color="black", lw=0.8, ls=":")
    axis.set_yscale("log")
    axis.set_ylim(0.1, 1.3 * LONGEST_SHOWN)
    ticks = [0.1, 1, 10, 100]
    axis.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axis.minorticks_off()
    axis.set_xlabel("mode, from slow to fast (hollow: it grows)")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_ylabel(f"time constant (s; {LONGEST_SHOWN:g}: or longer)")
    axis.set_title("Modes in the delay (dotted: its longest)")
    axis.legend()


def _decoding(axis, d, q):
    from matplotlib.lines import Line2D

    # The response of every trial follows its own delay: it is drawn after a gap.
    shift = d.time[-1] + 0.5
    last = shift + d.go_time[-1]
    for time, r2, untrained in (
        (d.time, d.after, d.before),
        (shift + d.go_time, d.go_after, d.go_before),
    ):
        random = r2.random[:, :, q].mean(axis=0)
        axis.plot(time, random, ":", color=RANDOM, lw=1.5)
        axis.plot(time, r2.slow[:, q], "-", color=SLOW, lw=1.5)
        axis.plot(time, r2.fast[:, q], "--", color=FAST, lw=1.5)
        axis.plot(time, untrained.random[:, :, q].mean(axis=0), "-.", color=BEFORE, lw=1)
    axis.vlines(d.stimulus, -0.1, 1.03, color="black", lw=0.8, ls=":")
    axis.fill_between([d.time[-1], shift], -0.1, 1.03, color="#EEEEEE", lw=0)
    axis.set_ylim(-0.1, 1.45)  # the legend is above all curves
    axis.set_yticks(np.arange(0, 1.01, 0.2))
    whole = np.arange(0, d.time[-1] + 1e-9)
    axis.set_xticks(
        [*whole, shift, last], [*(f"{t:g}" for t in whole), "go", f"+{d.go_time[-1]:g}"]
    )
    axis.set_xlabel("time in the stimulus, then from the go (s)")
    axis.set_ylabel("cross-validated R²")
    axis.set_title(f"Decoding {d.quantities[q].replace('_', ' ')} from {d.after.n_units} units")
    styles = {"slowest": (SLOW, "-"), "fastest": (FAST, "--"), "random": (RANDOM, ":")}
    if np.isnan(d.after.slow[:, q]).all():
        styles = {"random": (RANDOM, ":")}
    styles["random, untrained"] = (BEFORE, "-.")
    lines = [Line2D([], [], color=c, ls=ls) for c, ls in styles.values()]
    axis.legend(lines, list(styles), loc="upper left", ncol=2)


def _spread_if_equal(tau):
    """The points of a homogeneous network would fall on one line: draw them side by side."""
    return tau * np.linspace(0.97, 1.03, len(tau)) if np.ptp(tau) == 0 else tau
