"""What comes in: rates with gaps, trials of unequal length, spike times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import MOST_NUMBERS, check_array, check_dt, check_integer, shown

__all__ = ["bin_spikes"]

MIN_SAMPLES = 10  # per trial
AXES = "(trials, time, units)"


def as_rates(rates, conditions=None):
    """Rates, or a list of trials, as a float array (trials, time, units) with NaN in the gaps.

    `conditions` serve the error alone: labels that fit the second axis give a swap away.
    """
    if hasattr(rates, "_fields"):  # a NamedTuple is a tuple of other things
        hint = "; pass np.swapaxes(traj.r, 0, 1)" if "r" in rates._fields else ""
        raise ValueError(
            f"rates: must be an array {AXES} or a list, got a {type(rates).__name__}{hint}"
        )
    axes = {_ndim(r) for r in rates} if isinstance(rates, (list, tuple)) else set()
    if axes == {1}:
        raise ValueError(
            "rates: trials of a list must have shape (time_i, units), got one-dimensional ones; "
            "those of one unit are [r[:, np.newaxis] for r in rates]"
        )
    if axes == {2}:
        trials = [_filled("rates", r) for r in rates]
        units = {r.shape[1] for r in trials}
        if len(units) > 1:
            raise ValueError(
                "rates: trials of a list must have shape (time_i, units) with the same units, "
                f"got {shown([r.shape for r in trials])}"
            )
        x = np.full((len(trials), max(len(r) for r in trials), units.pop()), np.nan)
        for into, trial in zip(x, trials):
            into[: len(trial)] = trial
    else:
        x = _filled("rates", rates)
    if x.ndim != 3 or 0 in x.shape:
        hint = "; one trial is rates[np.newaxis], one unit is rates[:, :, np.newaxis]"
        hint = hint if x.ndim == 2 and 0 not in x.shape else ""
        raise ValueError(
            f"rates: must have shape {AXES} with no empty axis, got shape {x.shape}{hint}"
        )
    swap = f"rates: must have shape {AXES}, got {x.shape}"
    labels = 0 if conditions is None else len(np.atleast_1d(np.asarray(conditions, dtype=object)))
    if labels == x.shape[1] != x.shape[0]:
        raise ValueError(
            f"{swap} and {labels} conditions, one for each entry of axis 1: is it (time, batch, "
            "unit)? Then pass np.swapaxes(rates, 0, 1)"
        )
    if x.shape[1] < MIN_SAMPLES and x.shape[0] >= 100:
        raise ValueError(
            f"{swap}, trials of {x.shape[1]} samples: is it (time, batch, unit)? Then pass "
            "np.swapaxes(rates, 0, 1)"
        )
    return x


def _ndim(values):
    """Number of axes, NaN if the values are ragged."""
    try:
        return np.ndim(values)
    except ValueError:
        return np.nan


def _filled(name, values):
    """Values as floats, NaN where they are masked."""
    mask = np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else None
    x = check_array(name, np.ma.getdata(values) if mask is not None else values, finite=False)
    x = x.astype(float, copy=False)
    return x if mask is None else np.where(mask, np.nan, x)


def bin_spikes(times: Any, dt: float, windows: ArrayLike) -> np.ndarray:
    """Firing rates from spike times: spikes in bins of ``dt``, divided by ``dt``.

    Parameters
    ----------
    times : nested sequences of spike times (s)
        ``times[trial][unit]`` with one window for all trials, on each trial's own clock; or
        ``times[unit]`` of one long recording with a list of windows, each of which is a trial.
    dt : float
        Width of a bin (s).
    windows : (start, stop), or a sequence of them, shape (trials, 2)
        In seconds. A spike at ``start`` counts, one at ``stop`` does not; a last bin that does not
        fit is dropped. Trials of a list may differ in length: the shorter ones end in NaN, which
        `fit_timescales` takes as gaps.

    Returns
    -------
    ndarray, shape (trials, time, units)
        Rates in Hz.

    Raises
    ------
    ValueError
        For spike times that are not finite numbers, trials that differ in units, a window that
        holds no bin.

    Examples
    --------
    >>> bin_spikes([[0.05, 0.12, 0.19], [0.31]], 0.1, [(0.0, 0.2), (0.2, 0.4)])[:, :, 0]
    array([[10., 20.],
           [ 0.,  0.]])
    """
    dt = check_dt(dt)
    windows = check_array("windows", windows)
    one = windows.shape == (2,)
    if not one and (windows.ndim != 2 or windows.shape[1] != 2 or len(windows) == 0):
        raise ValueError(
            f"windows: must be (start, stop) or have shape (trials, 2), got shape {windows.shape}"
        )
    bounds = windows.reshape(-1, 2).astype(float)
    late = np.spacing(np.abs(bounds).max(axis=1)) / dt  # rounding of late clocks, in bins
    n_bins = np.floor((bounds[:, 1] - bounds[:, 0]) / dt * (1 + 1e-12) + 1e-9 + 2 * late)
    if n_bins.min() < 1:
        start, stop = bounds[n_bins.argmin()]
        what = f"hold a bin of {dt:g} s at least" if start < stop else "start before they stop"
        raise ValueError(f"windows: must {what}, got ({start:g}, {stop:g})")
    check_integer("windows: the largest number of bins", float(n_bins.max()), 1, MOST_NUMBERS)
    n_bins = n_bins.astype(int)
    if one:
        trials = [[_spikes(u, f"times[{i}][{j}]") for j, u in enumerate(_units(t, f"times[{i}]"))]
                  for i, t in enumerate(_units(times, "times"))]  # fmt: skip
        bounds, n_bins = np.repeat(bounds, len(trials), 0), np.repeat(n_bins, len(trials))
    else:
        units = [_spikes(u, f"times[{j}]") for j, u in enumerate(_units(times, "times"))]
        trials = [units] * len(bounds)
    if len({len(t) for t in trials}) > 1:
        raise ValueError(
            f"times: every trial must have the same units, got {shown([len(t) for t in trials])}"
        )
    rates = np.full((len(trials), n_bins.max(), len(trials[0])), np.nan)
    for trial, (units, (start, _), n) in enumerate(zip(trials, bounds, n_bins)):
        edges = start + dt * np.arange(n + 1)
        # A time on an edge, as 3 * 0.1, belongs to the bin it opens.
        edges -= 1e-9 * dt + 2 * np.spacing(abs(edges[-1]))
        for unit, spikes in enumerate(units):
            rates[trial, :n, unit] = np.diff(np.searchsorted(spikes, edges)) / dt
    return rates


def _units(values, name):
    one = getattr(values, "ndim", 1) == 0 or np.ma.isMaskedArray(values)
    if one or isinstance(values, str) or not hasattr(values, "__len__") or len(values) == 0:
        raise ValueError(f"{name}: must be a sequence that is not empty, got {shown(values)}")
    return values


def _spikes(values, name):
    """Sorted spike times of one unit in one trial."""
    if _ndim(values) != 1 or np.asarray(values).dtype == object:
        raise ValueError(
            f"{name}: must be a one-dimensional array of spike times, got {shown(values)}; "
            "times[trial][unit] goes with one window, times[unit] with a list of windows"
        )
    return np.sort(
        check_array(name, np.asarray(values, dtype=float) if len(values) == 0 else values)
    )
