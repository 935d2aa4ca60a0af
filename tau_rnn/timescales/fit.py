"""The estimator: from rates of repeated trials to one timescale per unit."""

from __future__ import annotations

import numpy as np

from tau_rnn.checks import check_dt, check_integer, nearest
from tau_rnn.timescales import diagnostics, two_exponentials
from tau_rnn.timescales import shapes as sh
from tau_rnn.timescales.acf import (
    add_trial_means,
    centred,
    check_rates,
    group_labels,
    trial_autocovariance,
)
from tau_rnn.timescales.cosine import cos_decay
from tau_rnn.timescales.exponential import CENTERS, check_window
from tau_rnn.timescales.result import Options, TimescaleResult, blank, report

MODELS = ("exp", "two_exp", "cos", "auto")
MIN_SAMPLES = 10  # per trial
MIN_TRIALS = 10  # beyond the number of conditions, for anything that needs a spread over trials
MIN_RESAMPLED = 5  # the same, for the bootstrap
Z_OFFSETS = 1.64  # one-sided 5 %: the intended false-alarm rate of the automatic switch
CHUNK = 2**20  # numbers held at once in the autocovariances of single trials (8 MB: the cache)


def fit_timescales(
    rates,
    dt,
    *,
    conditions=None,
    center="auto",
    model="exp",
    window=2.0,
    use_lag0="auto",
    ci="bootstrap",
    n_boot=200,
    seed=0,
):
    """Effective timescale of each unit, from repeated trials of its firing rate.

    The autocovariance c(k) = sum_t y_t y_(t+k) / (n - k), pooled over trials, is fitted by its own
    *expected value* under gamma(t) = a exp(-t/tau) (`expected_acf`), not by a plain exponential:

        minimise  sum_k (n - k) [c(k) - a f_tau(k)]^2   over a and tau, for k dt <= window * tau.

    The amplitude is profiled out and log tau searched over every resolvable value, so that a window
    has no starting values and no local minima; the window itself starts at the 1/e crossing.
    Timescales of single trials are never averaged.

    Parameters
    ----------
    rates : array_like, shape (trials, time, units)
        Firing rates. Dropping the burn-in is the caller's work: a transient that differs between
        trials is taken for a slow fluctuation.
    dt : float
        Step (s).
    conditions : array_like, shape (trials,), optional
        Labels. The mean over the trials of a condition (PSTH) is subtracted at each time; trials
        alone in their condition are left out. None: all trials are of one condition.
    center : {"auto", "trial", "psth"}
        What is subtracted besides the condition mean. "trial": each trial's own mean; safe under
        trial-to-trial offsets. "psth": nothing; less variable in short trials, ruined by offsets.
        "auto": per unit, "psth" where the trial means vary no more than the "trial" fit predicts
        (one-sided test at 5 %), else "trial". In simulations of 100 trials (2.5 to 20 s, tau up to
        a fifth of that) units without offsets got "trial" in 5 % of cases; units with offsets of
        0.1, 0.3 and 1 standard deviations kept "psth" in 63, 20 and 0 %. The misses are
        those where an offset hides among slow fluctuations: at worst (0.3, with tau = T/5) their
        mean bias was 18 %, that of all units 10 %. Units with several timescales have a shorter
        one under "trial" (see `timescale_of_acf`), and look like units with offsets: ask for
        "psth" where there are no offsets, and compare units of one `center_used` only. Needs 10
        trials more than conditions, or is "trial"; always "trial" for the model "cos".
    model : {"exp", "two_exp", "cos", "auto"}
        "exp": one exponential. "two_exp": two; `tau` is the slow one, and where no pair with two
        positive amplitudes exists, one is returned (`model_used` says so). A faster one that decays
        within dt is noise as far as samples can tell: `tau_fast` is NaN. "auto": one or two, by
        BIC. "cos": a damped cosine exp(-t/tau) cos(2 pi f t). Two exponentials need 24 trials more
        than conditions and 20 samples.
    window : float
        Lags up to ``window * tau`` are fitted, iterated until it agrees with the tau found. A unit
        with several timescales has the timescale that window and centring give it (see
        `timescale_of_acf`), so both are always reported. Two exponentials use 0.6 trials.
    use_lag0 : {"auto", True, False}
        Whether lag 0 takes part. "auto": not where white observation noise (a nugget) shows. For
        the model "cos" that is judged from the exponential fit, which can miss it: say False where
        there is noise.
    ci : {"bootstrap", None}
        95 % percentile interval over `n_boot` resamplings of trials, with the centring and model
        found, and from the window found, which may move with the resample. Needs 5 trials more
        than conditions; NaN otherwise. In simulations of 100 trials it held the truth in 94 to
        96 % of cases. With fewer it misses slow units, nearly always from below: at tau = T/5 it
        held in 92, 89 and 86 % of cases with 40, 20 and 12 trials, and in 94, 94 and 92 % at T/25
        (1000 units each).
    n_boot : int
        Bootstrap samples.
    seed : int or numpy.random.Generator
        For the bootstrap.

    Returns
    -------
    TimescaleResult
        `flag` holds for each unit none or several of these words, with commas between them:

        ==================  ======================================================================
        constant            nothing fluctuates from trial to trial; NaN
        nonfinite           inf or nan among the rates; NaN
        too_few_samples     fewer than 10 samples, or too few trials for "two_exp"; NaN
        no_positive_decay   successive samples are anticorrelated; NaN
        unresolved          tau < dt: lower end of the interval 0; NaN if no correlation shows
        oscillatory         the autocovariance falls clearly below 0: use "cos"; NaN
        exceeds_trial       tau > T/3: upper end infinite; NaN if the search ended at its bound
        nugget              observation noise, or a second decay within dt, was found and left out;
                            tau is sound
        dc_drift            trial means vary more than tau explains. Offsets or drift: tau is sound
                            under "trial", not under "psth". A slower component: "trial" gives a
                            shorter tau than "psth", see `timescale_of_acf`
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

    References
    ----------
    Murray et al. (2014), Nature Neuroscience 17:1661, for the measurement. The bias of serial
    correlations: Marriott & Pope (1954), Biometrika 41:390.

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
    rates, dt = check_rates(rates), check_dt(dt)
    window = check_window(window)
    _check_options(len(rates), center, model, use_lag0, ci, n_boot)
    group, counts = group_labels(conditions, len(rates))
    if len(counts) > 1 and counts.min() == 1:  # nothing is left of a trial alone in its condition
        rates = rates[counts[group] > 1]
        group, counts = group_labels(group[counts[group] > 1], len(rates))
    n_trials, n, n_units = rates.shape
    dof = n_trials - len(counts)
    resamples = None
    if ci is not None and dof >= MIN_RESAMPLED:
        shares = np.full(n_trials, 1 / n_trials)
        resamples = _generator(seed).multinomial(n_trials, shares, size=int(n_boot))
    options = Options(dt, window, center, model, use_lag0, dof, dof >= MIN_TRIALS, resamples)
    n_chunk = max(1, CHUNK // (n_trials * n))
    parts = [
        _fit_chunk(rates[:, :, first : first + n_chunk], group, options)
        for first in range(0, n_units, n_chunk)
    ]
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    joined["acf"], joined["acf_fit"] = joined["acf"].T, joined["acf_fit"].T
    return TimescaleResult(lags=np.arange(n) * dt, n_trials=n_trials, **joined)


def _check_options(n_trials, center, model, use_lag0, ci, n_boot):
    choices = {"center": (center, ("auto", *CENTERS)), "model": (model, MODELS)}
    for name, (given, allowed) in choices.items():
        if given not in allowed:
            raise ValueError(f"{name}: got {given!r}; {nearest(given, allowed)}")
    auto = isinstance(use_lag0, str) and use_lag0 == "auto"
    if not (auto or isinstance(use_lag0, (bool, np.bool_))):
        raise ValueError(f'use_lag0 must be "auto", True or False, got {use_lag0!r}')
    if ci not in ("bootstrap", None):
        raise ValueError(f'ci must be "bootstrap" or None, got {ci!r}')
    if center == "psth" and n_trials == 1:
        raise ValueError('center="psth" needs two trials or more, got 1; use center="trial"')
    check_integer("n_boot", n_boot, 1)


def _generator(seed):
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"seed: must be an integer >= 0 or a numpy.random.Generator, got {seed!r}"
        ) from None


def _prepare(rates, group):
    """Units as rows (units, M, n), scaled to deviations of at most 1, and what cannot be used."""
    n = rates.shape[1]
    x = np.moveaxis(rates, 2, 0).copy()
    flag = np.full(len(x), "", dtype=object)
    finite = np.isfinite(x).all(axis=(1, 2))
    flag[~finite] = "nonfinite"
    x[~finite] = 0
    size = np.abs(x).max(axis=(1, 2))
    x = x / np.where(size > 0, size, 1)[:, None, None]  # squares neither overflow nor vanish
    p = np.moveaxis(centred(np.moveaxis(x, 0, 2), group, "psth"), 2, 0)
    means = p.mean(axis=2)
    y = p - means[:, :, None]
    flat = np.abs(y).max(axis=(1, 2)) <= 1e-12  # of the largest rate: rounding, not fluctuation
    flag[(flag == "") & (n < MIN_SAMPLES)] = "too_few_samples"
    flag[(flag == "") & flat] = "constant"
    return y, means, size, flag


def _fit_chunk(rates, group, o):
    """Everything of TimescaleResult that has a unit axis, as a dict of arrays, units first."""
    n_trials, n, _ = rates.shape
    y, means, size, flag = _prepare(rates, group)
    out = blank(len(flag), n)
    live = np.flatnonzero(flag == "")
    if len(live):
        s = sh.Setting(n, o.dt, "trial", o.window)
        c_trials = trial_autocovariance(y[live], n)
        rows = diagnostics.fit_center(c_trials, s, o.use_lag0, o.dof, o.enough)
        ratio, z = _judge_offsets(rows, means[live], o)
        drift = o.enough & (z > Z_OFFSETS)
        psth = np.full(len(live), o.center == "psth")
        if o.center == "auto" and o.enough and o.model != "cos":
            psth = ~drift
        if not psth.all():
            own = rows.take(~psth)
            decay, few = _decays(own, o)
            report(out, flag, own, decay, few, live[~psth], o)
        if psth.any():
            units = live[psth]
            c_trials = add_trial_means(c_trials[psth], y[units], means[units])
            s = s._replace(center="psth")
            rows = diagnostics.fit_center(c_trials, s, o.use_lag0, o.dof, o.enough)
            decay, few = _decays(rows, o)
            report(out, flag, rows, decay, few, units, o)
        if n_trials > 1:  # of one trial the condition mean is the trial, and not subtracted
            out["dc_ratio"][live] = ratio
        for i in live[drift]:
            flag[i] = ",".join(filter(None, [flag[i], "dc_drift"]))
    kept = o.dof / n_trials if n_trials > 1 else 1.0  # of a variance, by subtracting means
    with np.errstate(over="ignore", under="ignore"):  # variances of rates near 1e+-200
        out["amplitude"] /= kept
        for _ in range(2):  # not by size^2, which may be inf where a variance is 0
            out["amplitude"] *= size
            out["acf"] *= size[:, None]
            out["acf_fit"] *= size[:, None]
    out["flag"] = flag.astype(str)
    return out


def _judge_offsets(rows, means, o):
    """`diagnostics.offsets` under the model asked for."""
    if o.model == "cos":
        decay = cos_decay(rows, None, o.dof)
        predicted = sh.variance_of_mean(decay.gamma(rows.s), rows.s) + decay.nugget / rows.s.n
        ratio, _ = diagnostics.compare_offsets(means, predicted, np.zeros(means.shape), o.dof)
        return ratio, np.zeros(len(means))
    ratio, z = diagnostics.offsets(rows, means, o.dof)
    if o.model != "exp":
        one = diagnostics.exp_decay(rows, None, o.dof)
        decay, used = two_exponentials.replace_by_pairs(
            rows, one, o.dof, None, o.use_lag0, o.model == "two_exp"
        )
        pairs, pair_ratio, pair_z = two_exponentials.pair_offsets(rows, decay, used, means, o.dof)
        ratio[pairs], z[pairs] = pair_ratio, pair_z
    return ratio, z


def _decays(rows, o):
    """The decay of each row under the model asked for, and whether it has too few trials for it."""
    few = np.zeros(len(rows.c_trials), dtype=bool)
    if o.model == "cos":
        return cos_decay(rows, o.resamples, o.dof), few
    decay = diagnostics.exp_decay(rows, o.resamples, o.dof)
    if o.model != "exp":
        forced = o.model == "two_exp"
        decay, used = two_exponentials.replace_by_pairs(
            rows, decay, o.dof, o.resamples, o.use_lag0, forced
        )
        few[[i for i, bins in used.items() if bins is None]] = forced
    return decay, few
