"""The estimator: from rates of repeated trials to one timescale per unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import check_callable, check_dt, check_integer
from tau_rnn.timescales.design import products
from tau_rnn.timescales.evidence import Plan, drifts
from tau_rnn.timescales.options import check_options
from tau_rnn.timescales.recordings import recorded
from tau_rnn.timescales.result import TimescaleResult, blank, report
from tau_rnn.timescales.units import by_likelihood, by_window, hull, scaled

__all__ = ["fit_timescales"]

CHUNK = 2**21  # numbers of rates held at once (16 MB)
UNITS, SEARCHES = 64, 8  # most units of a job; where each unit has a search or resamples of its own


def fit_timescales(
    rates: Any,
    dt: float,
    *,
    conditions: ArrayLike | None = None,
    center: str = "auto",
    detrend: str = "auto",
    model: str = "exp",
    estimator: str = "auto",
    window: float = 2.0,
    min_lag: float | str = "auto",
    use_lag0: bool | str = "auto",
    ci: str | None = "auto",
    level: float = 0.95,
    n_boot: int = 200,
    seed: int | np.random.Generator = 0,
    workers: int = 1,
    progress: Callable[..., object] | None = None,
) -> TimescaleResult:
    """Effective timescale of each unit, from repeated trials of its firing rate.

    Two estimators of the same number. The *likelihood* of one exponential and white noise,
    a exp(-t/tau) + b delta_t0, mode by mode of a cosine transform (`likelihood`), with offsets of
    trials as one more variance: the most precise where this is what was recorded. The *window*: the
    autocovariance pooled over trials, fitted by its own *expected value* (`expected_acf`)::

        minimise sum_k K_k [c(k) - a f_tau(k)]^2 over a and tau, for min_lag <= k dt <= window tau,

    with K_k products at lag k; this defines the timescale of a unit that has several
    (`timescale_of_acf`). "auto" takes the likelihood unless it is refuted (``p_fit < 0.01``) or
    short lags are left out. A unit with several timescales that the data do not refute gets a
    likelihood estimate that is too short (by 3 to 11 % in simulated networks, by a third for two
    timescales far apart): give ``center`` where that matters. Where the window finds another
    number, the interval holds both. Timescales of single trials are never averaged. What both do
    in simulated recordings stands in ``validation/timescale_recovery.py``.

    Parameters
    ----------
    rates : array_like, shape (trials, time, units), or a list of arrays (time_i, units)
        Firing rates or spike counts (`bin_spikes`). NaN and masked values are gaps; trials of a
        list may differ in length. A trial without a sample does not count, nor do times at either
        end at which a unit has none in any trial. Dropping the burn-in is the caller's work: a
        transient that differs between trials is taken for a slow fluctuation. What
        `tau_rnn.forward` returns is (time, batch, unit): pass ``np.swapaxes(traj.r, 0, 1)``. Rates
        are read as samples; that they are means over bins is granted in the interval alone, since
        it makes estimates too long where bins are as wide as tau (``min_lag=1``: it does not).
    dt : float
        Step (s).
    conditions : array_like, shape (trials,), optional
        Labels. The mean over the trials of a condition (PSTH) is subtracted at each time; trials
        alone in their condition are left out. None: all trials are of one condition.
    center : {"auto", "trial", "psth"}
        What is subtracted besides the condition mean. "trial": each trial's own mean (or line);
        safe under offsets that differ between trials. "psth": nothing; less variable in short
        trials, ruined by offsets. "auto": offsets are granted a variance of their own, which costs
        nearly nothing where there are none; ``center_used`` says whether they showed (one-sided
        test at 4 %), and the window subtracts what that says. Units with several timescales have a
        shorter one under "trial" (see `timescale_of_acf`) and look like units with offsets: compare
        their estimates for one ``center_used`` only.
    detrend : {"auto", "constant", "linear"}
        What "trial" subtracts from each trial: its mean, or a straight line. "auto": a line where
        one shows (at 1 %), ``center`` is "auto" and nothing remains to be explained; else the mean,
        but then the interval grants lines a variance of their own, whether they show or not (in
        trials of about one length).
    model : {"exp", "two_exp", "cos", "auto"}
        "exp": one exponential. "two_exp": two; ``tau`` is the slow one. Where a second one explains
        nothing (chi-square at 5 %) one is returned (``model_used``); one that decays within dt is
        noise as far as samples can tell: ``tau_fast`` is NaN. "auto": one or two, by BIC. "cos": a
        damped cosine exp(-t/tau) cos(2 pi f t). Two exponentials need 24 trials more than
        conditions and 20 samples.
    estimator : {"auto", "likelihood", "window"}
        See above; "auto" is "window" where ``center`` is given: both are part of a definition.
        Only "exp" has a window, and lags that are left out.
    window : float
        Lags up to ``window * tau`` are fitted, iterated until it agrees with the tau found.
    min_lag : "auto", int or float
        First lag of the window, in samples (int) or seconds (float): lags below it are left out,
        so that refractoriness and smoothing kernels do not decide. "auto": all lags, but from the
        highest peak on where that lies clearly above lag 1 (flag "min_lag"), if any correlation is
        found. Smoothing leaves no peak: give the length of its kernel.
    use_lag0 : {"auto", True, False}
        Whether white observation noise is ruled out (True), granted (False), or granted where it
        shows: at 5 %, at 1 % where tau is about dt, since such a decay is nearly noise itself. The
        interval grants it unless it is ruled out, and noise that is stronger at high frequencies
        where that seems so: spikes are refractory.
    ci : {"auto", "bootstrap", None}
        Interval. "auto": where the log likelihood is within its chi-square quantile of the top,
        widened where trials vary more than the model says; for the window, and where its number
        lies further than a third of the way to an end, percentiles over ``n_boot`` resamplings of
        trials (of stretches of them where trials are few) besides, and alone where the likelihood
        is refuted. "bootstrap": resampled trials alone. None: NaN.
    level : float
        Of the interval, from 0.01 to below 1.
    n_boot : int
        Bootstrap samples.
    seed : int or numpy.random.Generator
        For the bootstrap.
    workers : int
        Threads that share the units.
    progress : callable, optional
        Called with (units done, units) now and then.

    Returns
    -------
    TimescaleResult
        ``flag`` holds for each unit none or several of these words, with commas between them:

        ==================  ======================================================================
        constant            nothing fluctuates from trial to trial; NaN
        nonfinite           inf among the rates; NaN
        too_few_samples     fewer than 10 samples, or too few trials for "two_exp"; NaN
        no_positive_decay   successive samples are anticorrelated; NaN
        no_power            no correlation found, and a weak one may have escaped: NaN, [0, inf).
                            Or the estimate is below dt, and its interval reaches beyond; NaN if
                            the search ended at its bound
        unresolved          tau is below dt, as is its whole interval, whose lower end is 0; NaN if
                            the search ended at its bound, and NaN and [0, dt] if no correlation
                            shows although a hundredth of the variance would have
        oscillatory         the autocovariance falls clearly below 0: use "cos"; NaN
        exceeds_trial       tau > T/3, T from the first to the last sample of the longest trial:
                            upper end infinite; NaN if the search ended at its bound
        nugget              white noise, or a second decay within dt, was found and left out
        misfit              the model is refuted (``p_fit < 0.01``): the window decides; other
                            models have no interval below 0.001
        min_lag             lags below a peak were left out: refractoriness
        dc_drift            trial means vary more than tau explains: offsets, or a slower component
        trend               lines through trials do: a drift, or a slower component (not a second
                            exponential that was fitted). The interval grants both
        gain                the condition mean is larger in some trials than in others (seen with
                            "exp" only). The modes with little of this mean decide where this is
                            much, or all are refuted; else the interval holds what they say, too
        ==================  ======================================================================

    Raises
    ------
    ValueError
        For wrong shapes, labels, options or dt; never for a unit that cannot be fitted.

    Notes
    -----
    Identical trials leave nothing after the condition mean ("constant"): rates need noise, or
    trials that differ, for an autocorrelation *within* trials to exist.

    The Euler trap: a leaky unit stepped by ``x += dt/tau * (-x + ...)`` decays by 1 - dt/tau a
    step, so its true timescale is -dt/ln(1 - dt/tau) (`timescale_of_decay`), not tau.

    Gaps enter exactly: the products that are there are counted, and expected, those lost to
    changing condition means included (beyond 2048 samples, averaged over time). Offsets and
    condition means are fitted together before; what that costs is of order 1 / trials. Where many
    samples are missing here and there, intervals are too wide (by half where 50 % are), and
    ``p_fit`` sees little.

    What no interval grants: fluctuations in proportion to a mean that changes within trials, as of
    counts (a tenth to a third of simulated units excluded tau), or a sine of a period near the
    trial's length (half or more, flagged or not); two timescales far apart, or a unit that is
    active in a few episodes in all (a tenth to a quarter).

    References
    ----------
    Murray et al. (2014), Nature Neuroscience 17:1661, for the measurement. The bias of serial
    correlations: Marriott & Pope (1954), Biometrika 41:390. Likelihoods of expected powers:
    Sykulski et al. (2019), Biometrika 106:251.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.signal import lfilter
    >>> noise = np.random.default_rng(0).standard_normal((100, 600, 2))
    >>> rates = lfilter([1.0], [1.0, -np.exp(-0.01 / 0.3)], noise, axis=1)[:, 100:]  # tau = 0.3 s
    >>> result = fit_timescales(rates, 0.01)
    >>> bool(np.all(abs(result.tau - 0.3) < 0.06))
    True
    """
    from concurrent.futures import ThreadPoolExecutor

    (rates, group), dt = recorded(rates, conditions), check_dt(dt)
    options = check_options(
        len(rates), rates.shape[1], dt, center=center, detrend=detrend, model=model,
        estimator=estimator, window=window, min_lag=min_lag, use_lag0=use_lag0, ci=ci,
        level=level, n_boot=n_boot, seed=seed,
    )  # fmt: skip
    workers = check_integer("workers", workers, 1)
    tell = check_callable("progress", (lambda *_: None) if progress is None else progress)
    n_trials, n, n_units = rates.shape
    used = group[in_company(group)] if n_trials > 1 else group
    out = blank(n_units, n)
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        each = map if workers == 1 else pool.map
        for units in each(lambda job: fit_units(rates, job, out), _jobs(rates, group, options)):
            done += units
            tell(done, n_units)
    out["acf"], out["acf_fit"] = out["acf"].T, out["acf_fit"].T
    out |= {name: v.astype(str) for name, v in out.items() if v.dtype == object}
    return TimescaleResult(
        lags=np.arange(n) * dt, n_trials=len(used), n_conditions=len(np.unique(used)), **out
    )


def _jobs(rates, group, options):
    """Units with the same gaps, their (trials, time) and the plan they share, not many at once."""
    there = ~np.isnan(rates)
    patterns: dict[bytes, list[int]] = {}
    for unit in range(rates.shape[2]):
        patterns.setdefault(there[:, :, unit].tobytes(), []).append(unit)
    many = UNITS if options.model == "exp" and options.ci != "bootstrap" else SEARCHES
    for units in patterns.values():
        mask = there[:, :, units[0]]
        where = observed(mask, group, options.center)
        _, own_group = np.unique(group[where[0]], return_inverse=True)
        plan = Plan(mask[np.ix_(*where)], own_group, options)
        size = min(many, max(1, CHUNK // (len(where[0]) * len(where[1]))))
        for i in range(0, len(units), size):
            yield np.array(units[i : i + size]), where, plan


def observed(mask, group, center):
    """Indices of the trials, and of the times, of a unit with samples mask to be fitted.

    Nothing is left of a trial alone in its condition. All stay where no other would.
    """
    seen = mask.any(axis=1)
    if seen.sum() > 1 or center == "psth":
        seen[seen] = in_company(group[seen])
    if not seen.any():
        return np.arange(len(mask)), np.arange(mask.shape[1])
    times = np.flatnonzero(mask[seen].any(axis=0))
    return np.flatnonzero(seen), np.arange(times[0], times[-1] + 1)


def in_company(group):
    """Which trials have another one in their condition."""
    return np.bincount(group)[group] > 1


def fit_units(rates, job, out):
    """The algorithm, in order, for some units; returns how many. Results go into `out`."""
    units, where, plan = job
    # What cannot be fitted has a flag and nothing else.
    x, size, flag = scaled(np.moveaxis(rates, 2, 0)[np.ix_(units, *where)], plan)
    out["flag"][units] = flag
    live = flag == ""
    if live.any():
        x = x[live]
        # Do offsets of trials show, do slopes? Then the likelihood of one exponential and noise,
        # or of the mixture that was asked for, without what shows.
        m = plan.modes(x, 1)
        e = by_likelihood(m, x, drifts(m, plan.options), plan)
        # The window of lags where the likelihood is refuted; then what both come to.
        for order in np.unique(e["order"]):
            i = np.flatnonzero(e["order"] == order)
            some, d = {name: values[i] for name, values in e.items()}, plan.designs[order]
            y = d.centred(x[i])
            acf = np.array([products(u) for u in y]) / np.maximum(d.kept, 1e-9)  # bounds memory
            by_window(some, y, acf, plan, d)
            some["interval"] = hull(some["interval"], some["doubts"])
            for name, values in report(acf, some, d, plan.options, size[live][i]).items():
                at = (units[live][i], *map(slice, np.shape(values)[1:]))  # further lags stay NaN
                out[name][at] = values
    return len(units)
