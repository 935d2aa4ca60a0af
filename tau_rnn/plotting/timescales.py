"""One unit's timescale: what was computed, what was fitted, and what the subtraction did."""

from __future__ import annotations

from typing import Any

import numpy as np

from tau_rnn.checks import check_integer, shown
from tau_rnn.plotting.style import COLORS, new_figure, styled
from tau_rnn.timescales.result import TimescaleResult

__all__ = ["plot_timescales"]

SHOWN = 5.0  # timescales of lags that are shown
_FIT = COLORS["lognormal"]


@styled
def plot_timescales(result: TimescaleResult, unit: int = 0, axis: Any = None) -> Any:
    """The autocovariance of a unit, its fit, what centring did to it, and the interval of tau.

    Parameters
    ----------
    result : TimescaleResult
    unit : int
        Index of the unit.
    axis : matplotlib Axes, optional
        What to draw on; a new figure if None.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If there is no such unit, or the result is not one of `fit_timescales`.

    Examples
    --------
    >>> import numpy as np
    >>> from tau_rnn import fit_timescales
    >>> walk = np.cumsum(np.random.default_rng(0).standard_normal((20, 100, 1)), axis=1)
    >>> plot_timescales(fit_timescales(walk, 0.1)).get_xlabel()
    'lag (s)'
    """
    if not isinstance(result, TimescaleResult):
        raise ValueError(f"result: must be that of fit_timescales, got {shown(result)}")
    unit = check_integer("unit", unit, -len(result.tau), len(result.tau) - 1)
    if axis is None:
        _, axis = new_figure(figsize=(5, 3.2), layout="constrained")
    ink = axis.xaxis.label.get_color()  # the user's axes may be dark
    there = np.isfinite(result.acf[:, unit])
    there = there if there.any() else np.ones(len(there), dtype=bool)
    lags, acf, fit = (v[there] for v in (result.lags, result.acf[:, unit], result.acf_fit[:, unit]))
    tau, (low, high) = result.tau[unit], result.tau_ci[unit]
    known = np.isfinite(tau)
    end = min(lags[-1], max(SHOWN * tau, 12 * lags[1])) if known else 0.75 * lags[-1]
    near = (lags <= end) & np.isfinite(acf)
    used = lags >= result.min_lag_used[unit] - 1e-9 * lags[-1]
    if not known:
        used = lags > 0
    extra = [0.0]
    axis.axhline(0, color="0.8", lw=0.8, zorder=0)
    for which, face, label in ((used, ink, "computed"), (~used, "none", None)):
        at = near & which
        axis.plot(lags[at], acf[at], "o", ms=3, mfc=face, mec=ink, mew=0.8, label=label)
    if known:
        at = near & used  # noise at lag 0 would hide the rest
        axis.plot(lags[at], fit[at], color=_FIT, lw=1.8, label="fit, after centring")
        if result.model_used[unit] == "exp":
            lost = result.n_conditions / result.n_trials if result.n_trials > 1 else 0.0
            scale = result.amplitude[unit] * (1 - lost)  # to the condition means
            axis.plot(lags[near], scale * np.exp(-lags[near] / tau), "--", color=_FIT, lw=1.2,
                      label="fit, before centring")  # fmt: skip
            extra = [0.0, 1.05 * scale]
        _interval(axis, tau, low, high, end, ink)
    inside = np.concatenate([acf[near & used], extra])
    pad = 0.08 * max(np.ptp(inside), 1e-300)
    axis.set_ylim(inside.min() - 2 * pad, inside.max() + pad)
    axis.set(xlabel="lag (s)", ylabel="autocovariance", xlim=(-0.02 * end, 1.02 * end))
    axis.set_title(_title(result, unit, tau, low, high))
    if known:
        axis.legend(loc="upper right", labelcolor=ink)
    return axis


def _interval(axis, tau, low, high, end, ink):
    """tau and its interval as a bar at the foot of the axis; an arrow where the end is open."""
    at = axis.get_xaxis_transform()
    axis.plot([tau], [0.06], "|", color=ink, ms=9, mew=1.5, transform=at)
    if np.isfinite(low):
        axis.plot([low, min(high, end)], [0.06, 0.06], color=ink, lw=2, transform=at)
        if high > end:
            axis.plot([end], [0.06], ">", color=ink, ms=5, transform=at)


def _title(result, unit, tau, low, high):
    name = f"unit {unit}: " + (f"τ = {tau:.3g} s" if np.isfinite(tau) else "no timescale")
    if np.isfinite(low):
        name += f", interval {low:.3g} to " + (f"{high:.3g} s" if np.isfinite(high) else "∞")
    p, flag = result.p_fit[unit], result.flag[unit].replace(",", ", ").replace("_", " ")
    below = [f"fit p = {p:.2g}"] * bool(np.isfinite(p)) + [flag] * bool(flag)
    return "\n".join([name, "; ".join(below)]).rstrip()
