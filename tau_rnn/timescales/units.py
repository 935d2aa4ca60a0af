"""The steps of `fit.fit_units`, each for rates x (units, trials, time) of units that share gaps.

Estimates are arrays with a unit axis by name: `by_likelihood` makes them all, `by_window` puts its
own in the place of some, `report` says what they come to.
"""

from __future__ import annotations

import numpy as np

from tau_rnn.timescales import moments as mo
from tau_rnn.timescales.evidence import DRIFT, first_lag, hull, one_exponential
from tau_rnn.timescales.mixtures import choose
from tau_rnn.timescales.recordings import MIN_SAMPLES
from tau_rnn.timescales.result import MISFIT

__all__: list[str] = []

APART = 0.3  # of the way to an end of the interval, in log tau: the window's is another number
FEW = 3.0  # a variance that so few of many trials hold tells nothing of the others


def scaled(x, plan):
    """Rates whose largest is 1, 0 in the gaps; the scale; a flag where nothing can be fitted."""
    d, options = plan.designs, plan.options
    x = np.where(d[0].mask, x, 0.0)
    wrong = np.isinf(x).any(axis=(1, 2))
    x[wrong] = 0
    size = np.abs(x).max(axis=(1, 2))
    x /= np.where(size > 0, size, 1)[:, None, None]  # squares stay in range
    flat = np.abs(d[1].centred(x)).max(axis=(1, 2)) <= 1e-12  # of the largest rate: rounding
    short = d[0].mask.sum(axis=1).max() < MIN_SAMPLES or d[0].weight < 1e-9
    short |= options.model == "two_exp" and plan.few
    flag = np.where(short, "too_few_samples", np.where(flat, "constant", ""))
    return x, size, np.where(wrong, "nonfinite", flag)


def lines(x, slopes, plan):
    """Units from whose trials a line is taken: where slopes show, if that leaves no misfit."""
    options = plan.options
    lined = np.full(len(x), options.detrend == "linear")
    i = np.flatnonzero(slopes)
    if options.detrend == "auto" and options.center == "auto" and len(i):
        lined[i] = one_exponential(plan.modes(x[i], 2), "linear", options)["p_fit"] > MISFIT
    return lined


def by_likelihood(m, x, lined, offsets, plan):
    """Estimates of every unit, m its modes less means: one exponential, or a mixture."""
    mode0 = {"trial": "out", "psth": "in", "auto": "free"}[plan.options.center]
    if x.shape[1] == 1 or plan.options.model == "cos":
        mode0 = "out"
    e: dict[str, np.ndarray] = {}
    for which, kind, order in ((lined, "linear", 2), (~lined, mode0, 1)):
        i = np.flatnonzero(which)
        if len(i):
            own = m.take(i) if order == 1 else plan.modes(x[i], 2)
            for name, values in _by_likelihood(own, kind, order, offsets[i], plan).items():
                e.setdefault(name, np.empty((len(x), *values.shape[1:]), values.dtype))[i] = values
    return e


def _by_likelihood(m, mode0, order, offsets, plan):
    options = plan.options
    n_units, none = len(offsets), np.full(len(offsets), np.nan)
    psth = (mode0 == "in") | ((mode0 == "free") & ~offsets)
    e = one_exponential(m, mode0, options, plan.designs[0].dof) | {
        "model": np.full(n_units, "exp", dtype="<U10"),
        "estimator": np.full(n_units, "likelihood", dtype="<U10"),
        "frequency": np.zeros(n_units),
        "second_ci": np.stack([none, none], axis=1),
        "order": np.where(psth, 0, order),
        "offsets": offsets,
        "dc_ratio": none,
    }
    design = plan.designs[2 if order == 2 else 0]
    mixed = options.model != "exp" and not (options.model == "auto" and plan.few)
    for u in range(n_units) if mixed else ():
        found = choose(m.take([u]), mode0, e["deviance"][u], design, options)
        if found is not None:
            inside = found.pop("inside")
            e["order"][u] = 0 if inside else order
            r = found["dc_ratio"]  # power of mode 0, found / predicted
            outside = r > 1 and m.weight * (r - 1 - np.log(r)) > DRIFT
            e["offsets"][u] &= outside if mode0 == "out" else not inside
            for name, value in found.items():
                e[name][u] = value
    return e


def doubts(e, x, slopes, lined, plan):
    """Intervals (units, 2) of the other reading, where offsets or a line show and are left in.

    Either may be the nuisance or the signal; NaN where there is no doubt.
    """
    out = np.full((len(x), 2), np.nan)
    offsets = e["offsets"] & (plan.options.center == "psth") & (plan.options.model != "cos")
    for doubt, order, kind in ((slopes & ~lined, 2, "linear"), (offsets, 1, "out")):
        i = np.flatnonzero(doubt)
        if len(i):
            other = one_exponential(plan.modes(x[i], order), kind, plan.options)
            out[i] = hull(out[i], other["interval"])
    return out


def by_window(e, y, acf, plan, d):
    """The window's estimates where they count, of centred rates y of design d."""
    options = plan.options
    e["first"] = np.zeros(len(y), dtype=int)
    if options.model == "exp":
        e["first"] = first_lag(acf, e["silent"], d, options)
        misfit = (e["first"] > 0) | (~e["silent"] & ~(e["p_fit"] >= MISFIT))
        wanted = misfit | (options.estimator == "window")
        seen = np.flatnonzero(wanted | (~e["silent"] & (options.ci == "auto")))
        if len(seen):
            some = {name: values[seen] for name, values in e.items()}
            w = plan.window(d.order)
            windows(some, y[seen], acf[seen], misfit[seen], wanted[seen], w, options)
            for name, values in some.items():
                e[name][seen] = values
    energy = np.sum(y**2, axis=2)
    behind = energy.sum(axis=1) ** 2 / np.sum(energy**2, axis=1)  # trials that hold the variance
    e["few"], e["behind"] = behind < min(FEW, len(y[0]) / 8), behind / len(y[0])
    e["silent"] |= e["few"]


def windows(e, y, acf, misfit, wanted, w, options):
    """The windows of units that want its estimate, or are asked whether it agrees with theirs.

    Where it is another number, several timescales may have been taken for one: the interval then
    holds both.
    """
    found, start, last = mo.by_window(y, acf, e["first"], w, options)
    tau, one, (low, high) = found["tau"][:, 0], e["tau"][:, 0], e["interval"].T
    fast = tau < options.dt  # or noise, if that is not ruled out
    near_low, near_high = (one ** (1 - APART) * end**APART for end in (low, high))
    apart = (tau < near_low) | (tau > near_high)
    for name, values in found.items():
        e[name][wanted] = values[wanted]
    e["estimator"][wanted] = "window"
    for i in np.flatnonzero(np.where(wanted, fast | (options.ci is not None), apart)):
        starts = {start[i], max(start[i], fast[i] * (options.use_lag0 == "auto"))}
        if misfit[i] and start[i] < 2 and options.min_lag == "auto":
            starts |= {start[i] + 1}  # noise that is not white, or means over bins
        ends = [mo.interval(y[i], first, last[i], w, options) for first in starts]
        if not misfit[i] and options.ci != "bootstrap":
            ends.append(e["interval"][i])  # the likelihood's, which is not refuted
        e["interval"][i] = np.min(ends, axis=0)[0], np.max(ends, axis=0)[1]
