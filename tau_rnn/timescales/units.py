"""The steps of `fit.fit_units`, each for rates x (units, trials, time) of units that share gaps.

Estimates are arrays with a unit axis by name: `by_likelihood` makes them all, `by_window` puts its
own in the place of some, `report` says what they come to.
"""

from __future__ import annotations

import numpy as np

from tau_rnn.timescales import likelihood as lk
from tau_rnn.timescales import moments as mo
from tau_rnn.timescales.design import power
from tau_rnn.timescales.evidence import DRIFT, first_lag, hull, one_exponential
from tau_rnn.timescales.mixtures import choose
from tau_rnn.timescales.recordings import MIN_SAMPLES
from tau_rnn.timescales.result import MISFIT

__all__: list[str] = []

APART = 0.3  # of the way to an end of the interval, in log tau: the window's is another number
SHAPED = 0.25  # power of the condition mean over that of trials: a gain of 0.3 adds 2 % there
CLEAR = 4.0  # variance found over predicted, from which modes without the mean are closer to tau
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


def by_likelihood(m, x, drift, plan):
    """Estimates of every unit, m its modes less means: one exponential, or the mixture asked for.

    A line is taken out where slopes show, if that leaves no misfit. Where offsets or slopes show
    and are left in, either may be the nuisance or the signal: "doubts" (units, 2) is the interval
    of the other reading, else NaN.
    """
    options, n_units, n_trials = plan.options, len(x), x.shape[1]
    ratio, offsets, slopes = drift
    if n_trials == 1:  # its mean is its rate
        ratio, offsets = np.nan * ratio, offsets & False
    mode0 = {"trial": "out", "psth": "in", "auto": "free"}[options.center]
    if n_trials == 1 or options.model == "cos":
        mode0 = "out"
    psth = (mode0 == "in") | ((mode0 == "free") & ~offsets)
    none, dof = np.full((n_units, 2), np.nan), plan.designs[0].dof
    e = one_exponential(m, mode0, options, dof) | {
        "model": np.full(n_units, "exp", dtype="<U10"),
        "estimator": np.full(n_units, "likelihood", dtype="<U10"),
        "frequency": np.zeros(n_units),
        "second_ci": none.copy(),
        "order": np.where(psth, 0, 1),
        "offsets": offsets,
        "slopes": slopes,
        "dc_ratio": ratio,
        "gain": np.zeros(n_units, dtype=bool),
        "doubts": none,
    }
    lined = np.full(n_units, options.detrend == "linear")
    i = np.flatnonzero(slopes | lined)
    if len(i):
        line = one_exponential(plan.modes(x[i], 2), "linear", options, dof)
        if options.detrend == options.center == "auto":
            lined[i] = line["p_fit"] > MISFIT
        e["doubts"][i] = line["interval"]
        for name, values in line.items():
            e[name][lined] = values[lined[i]]
        e["order"][lined] = 2
    if options.model != "exp" and not (options.model == "auto" and plan.few):
        _mixtures(e, m, x, mode0, lined, plan)
    e["doubts"][lined | ~slopes] = np.nan
    i = np.flatnonzero(offsets & (options.center == "psth") & (options.model != "cos"))
    if len(i):
        other = one_exponential(m.take(i), "out", options)
        e["doubts"][i] = hull(e["doubts"][i], other["interval"])
    if options.model == "exp":
        _gains(e, m, x, plan)
    return e


def _mixtures(e, m, x, mode0, lined, plan):
    """Puts mixtures in the place of one exponential where they explain more."""
    third = plan.designs[0].span * plan.options.dt / 3
    for u in range(len(x)):
        own = plan.modes(x[[u]], 2) if lined[u] else m.take([u])
        kind, design = "linear" if lined[u] else mode0, plan.designs[2 * lined[u]]
        found = choose(own, kind, e["deviance"][u], design, plan.options)
        if found is not None:
            inside, r = found.pop("inside"), found.pop("dc_ratio")  # of power: found / predicted
            if x.shape[1] > 1 and not lined[u]:
                e["dc_ratio"][u] = r
            e["offsets"][u] &= _exceeds(r, m.weight) if kind == "out" else not inside
            e["order"][u] = 0 if inside else 1 + lined[u]
            for name, value in found.items():
                e[name][u] = value
            # What a second exponential explains that ends within the trial is no slope.
            e["slopes"][u] &= found["model"] != "two_exp" or e["tau"][u, 0] > third


def _gains(e, m, x, plan):
    """Flags units whose condition mean is larger in some trials than in others.

    The modes that hold little of the mean are fitted by themselves, and their V says how much a
    projection on the mean s should vary, sum_j S_j V_j, with S_j the power of s in mode j. Where
    it varies more, and more than the V of all modes says, theirs is the other reading; the first
    one where it varies much more, or where that of all modes is refuted.
    """
    d = plan.designs[1]
    s, known = d.means(x), d.means(d.mask)  # 1 where a trial of the condition has a sample, else 0
    length = np.maximum(known.sum(axis=1), 1)
    s -= known * (s.sum(axis=2) / length)[..., None]
    share = d.members @ d.mask.sum(axis=1) / length * d.n / d.pairs[0]
    S = np.einsum("c,ucb->ub", share, lk.binned(power(s)))
    along = d.members.T * (d.centred(x) @ s.swapaxes(1, 2))
    projected = np.sum(along**2, axis=(1, 2)) / m.weight
    chance = 6 * len(d.members) / m.weight  # of a mean that is noise, over the power of trials
    calm = S <= (SHAPED + chance) * m.found
    calm[:, 0] = True
    for u in np.flatnonzero(~calm.all(axis=1) & (calm.sum(axis=1) > lk.FEWEST)):
        own = m.take([u])
        one = one_exponential(own.only(calm[u]), "out", plan.options._replace(detrend="constant"))
        least, r = sorted(
            projected[u] / (own.variance(np.log(v["tau"][:, 0]), v["amplitude"][:, 0], v["noise"])
                            @ (m.sizes * S[u]))[0]
            for v in (one, {name: e[name][[u]] for name in one})
        )  # fmt: skip
        e["gain"][u] = _exceeds(least, m.weight)
        if e["gain"][u]:
            e["doubts"][u] = hull(e["doubts"][[u]], one["interval"])[0]
            if r > CLEAR or e["p_fit"][u] < MISFIT:
                for name, values in one.items():
                    e[name][u] = values[0]


def _exceeds(r, weight):
    """Whether power is more than predicted: found / predicted, over independent trials."""
    return r > 1 and weight * (r - 1 - np.log(r)) > DRIFT


def by_window(e, y, acf, plan, d):
    """The window's estimates where they count, of centred rates y of design d.

    Where its number is another one than the likelihood's, several timescales may have been taken
    for one: the interval then holds both.
    """
    options = plan.options
    energy = np.sum(y**2, axis=2)
    behind = energy.sum(axis=1) ** 2 / np.sum(energy**2, axis=1)  # trials that hold the variance
    e["few"], e["behind"] = behind < min(FEW, len(y[0]) / 8), behind / len(y[0])
    e["first"] = np.zeros(len(y), dtype=int)
    if options.model == "exp":
        e["first"] = first_lag(acf, e["silent"], d, options)
        misfit = (e["first"] > 0) | (~e["silent"] & ~(e["p_fit"] >= MISFIT))
        wanted = misfit | (options.estimator == "window")
        seen = np.flatnonzero(wanted | (~e["silent"] & (options.ci == "auto")))
        if len(seen):
            _windows(e, seen, y, acf, misfit, wanted, plan.window(d.order), options)
    e["silent"] |= e["few"]


def _windows(e, seen, y, acf, misfit, wanted, w, options):
    found, start, last = mo.by_window(y[seen], acf[seen], e["first"][seen], w, options)
    tau, one, (low, high) = found["tau"][:, 0], e["tau"][seen, 0], e["interval"][seen].T
    fast = tau < options.dt  # or noise, if that is not ruled out
    near_low, near_high = (one ** (1 - APART) * end**APART for end in (low, high))
    apart = (tau < near_low) | (tau > near_high)
    taken = wanted[seen]
    for name, values in found.items():
        e[name][wanted] = values[taken]
    e["estimator"][wanted] = "window"
    asks = np.where(taken, fast | (options.ci is not None), apart)
    for i, u in zip(np.flatnonzero(asks), seen[asks]):
        starts = {start[i], max(start[i], fast[i] * (options.use_lag0 == "auto"))}
        if misfit[u] and start[i] < 2 and options.min_lag == "auto":
            starts |= {start[i] + 1}  # noise that is not white, or means over bins
        ends = [mo.interval(y[u], first, last[i], w, options) for first in starts]
        if not misfit[u] and options.ci != "bootstrap":
            ends.append(e["interval"][u])  # the likelihood's, which is not refuted
        e["interval"][u] = np.min(ends, axis=0)[0], np.max(ends, axis=0)[1]
