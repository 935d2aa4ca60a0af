"""What comes in: rates with gaps, trials of unequal length, spike times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import MOST_NUMBERS, check_array, check_dt, check_integer, shown

__all__ = ["bin_spikes"]

MIN_SAMPLES = 10  # per trial
AXES = "(trials, time, units)"


def recorded(rates, conditions):
    """Rates as `as_rates` gives them, and the index of each trial's condition.

    Trials without a sample are left out, unless there are no others.
    """
    x = as_rates(rates)
    labels = np.zeros(len(x)) if conditions is None else conditions
    try:
        _, group = np.unique(labels, return_inverse=True)
    except (TypeError, ValueError):  # of kinds that cannot be sorted, or ragged
        raise ValueError(
            f"conditions: must be numbers or strings, got {shown(conditions)}"
        ) from None
    if np.shape(labels) != (len(x),):
        raise ValueError(
            f"conditions: must hold one label per trial, shape ({len(x)},), got shape "
            f"{np.shape(labels)}; if rates are (time, batch, unit), pass np.swapaxes(rates, 0, 1)"
        )
    seen = ~np.isnan(x).all(axis=(1, 2))
    if seen.any() and not seen.all():
        x = x[seen]
        _, group = np.unique(group[seen], return_inverse=True)
    if group.max() + 1 == len(x) > 1:
        raise ValueError(
            "conditions: must leave two trials or more in at least one condition, "
            f"got {len(x)} trials with {len(x)} different labels"
        )
    return x, group


def as_rates(rates):
    """Rates, or a list of trials, as a float array (trials, time, units) with NaN in the gaps."""
    if hasattr(rates, "_fields"):  # a NamedTuple is a tuple of other things
        raise ValueError(
            f"rates: must be an array {AXES} or a list, got a {type(rates).__name__}; "
            "from forward, pass np.swapaxes(traj.r, 0, 1)"
        )
    if isinstance(rates, (list, tuple)):
        trials = [_filled(r) for r in rates]
        if {r.ndim for r in trials} != {2} or len({r.shape[1] for r in trials}) > 1:
            raise ValueError(
                "rates: trials of a list must have shape (time_i, units) with the same units, got "
                f"{shown([r.shape for r in trials])}; one unit is [r[:, np.newaxis] for r in rates]"
            )
        x = np.full((len(trials), max(map(len, trials)), trials[0].shape[1]), np.nan)
        for into, trial in zip(x, trials):
            into[: len(trial)] = trial
    else:
        x = _filled(rates)
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(
            f"rates: must have shape {AXES} with no empty axis, got shape {x.shape}; "
            "one trial is rates[np.newaxis], one unit is rates[:, :, np.newaxis]"
        )
    if x.shape[1] < MIN_SAMPLES and x.shape[0] >= 100:
        raise ValueError(
            f"rates: must have shape {AXES}, got {x.shape}, trials of {x.shape[1]} samples: is it "
            "(time, batch, unit)? Then pass np.swapaxes(rates, 0, 1)"
        )
    return x


def _filled(values):
    """Rates as floats, NaN where they are masked."""
    masked = np.ma.isMaskedArray(values)
    x = np.asarray(check_array("rates", values.data if masked else values, finite=False), float)
    return np.where(values.mask, np.nan, x) if masked else x


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
    windows = check_array("windows", windows).astype(float)
    bounds = check_array("windows", np.atleast_2d(windows), ("trials", 2))
    if windows.ndim == 1:
        trials = [[_spikes(*unit) for unit in _entries(*t)] for t in _entries("times", times)]
    else:
        trials = [[_spikes(*unit) for unit in _entries("times", times)]] * len(bounds)
    if len({len(t) for t in trials}) > 1:
        raise ValueError(
            f"times: every trial must have the same units, got {shown([len(t) for t in trials])}"
        )
    bounds = np.broadcast_to(bounds, (len(trials), 2))
    near = 1e-13 * np.abs(bounds).max(axis=1)  # of an edge: a time as 3 * 0.1 is on it
    n_bins = np.floor((bounds[:, 1] - bounds[:, 0] + near) / dt)
    if n_bins.min() < 1:
        start, stop = bounds[n_bins.argmin()]
        raise ValueError(
            f"windows: must start before they stop and hold a bin of {dt:g} s at least, "
            f"got ({start:g}, {stop:g})"
        )
    check_integer("windows: the largest number of bins", float(n_bins.max()), 1, MOST_NUMBERS)
    n_bins = n_bins.astype(int)
    rates = np.full((len(trials), n_bins.max(), len(trials[0])), np.nan)
    for trial, n in enumerate(n_bins):
        edges = bounds[trial, 0] + dt * np.arange(n + 1) - near[trial]
        for unit, spikes in enumerate(trials[trial]):
            rates[trial, :n, unit] = np.diff(np.searchsorted(spikes, edges)) / dt
    return rates


def _entries(name, values):
    """The entries of a sequence with their names."""
    entries = list(values) if np.iterable(values) else []
    if not entries:
        raise ValueError(f"{name}: must be a sequence that is not empty, got {shown(values)}")
    return [(f"{name}[{i}]", entry) for i, entry in enumerate(entries)]


def _spikes(name, values):
    """Sorted spike times of one unit in one trial."""
    try:
        times = check_array(name, values)
        check_array(name, times, (times.size,))
    except ValueError as error:
        raise ValueError(
            f"{error}; times[trial][unit] goes with one window, times[unit] with a list of windows"
        ) from None
    return np.sort(times)
