"""From the rates of some units to their timescales: the steps of `fit_timescales` in order."""

from __future__ import annotations

import numpy as np

from tau_rnn.timescales import likelihood as lk
from tau_rnn.timescales import moments as mo
from tau_rnn.timescales.design import products
from tau_rnn.timescales.evidence import drifts, first_lag, one_exponential
from tau_rnn.timescales.mixtures import choose
from tau_rnn.timescales.result import MISFIT, blank, report

__all__: list[str] = []

MIN_SAMPLES = 10  # per trial
FEW = 3.0  # a variance that so few of many trials hold tells nothing of the others
MIN_PAIR = 24  # trials beyond the number of conditions, for two exponentials; and 20 samples


def fit_units(x, plan):
    """Everything of TimescaleResult that has a unit axis, for rates x (units, trials, time)."""
    d = plan.designs
    mask, n = d[0].mask, x.shape[2]
    out = blank(len(x), n)
    size = np.abs(np.where(mask, x, 0)).max(axis=(1, 2))
    x = np.where(mask, x, 0) / np.where(size > 0, size, 1)[:, None, None]  # squares stay in range
    flat = np.abs(d[1].centred(x)).max(axis=(1, 2)) <= 1e-12  # of the largest rate: rounding
    short = mask.sum(axis=1).max() < MIN_SAMPLES or d[0].weight < 1e-9
    out["flag"][:] = np.where(short, "too_few_samples", np.where(flat, "constant", ""))
    live = np.flatnonzero(out["flag"] == "")
    if len(live):
        x = x[live]
        e, offsets, slopes = estimate(x, plan)
        for order in np.unique(e["order"]):
            i = np.flatnonzero(e["order"] == order)
            some = {name: values[i] for name, values in e.items()}
            found = finish(x[i], some, plan, order, offsets[i], slopes[i])
            for name, values in found.items():
                out[name][live[i]] = values
        with np.errstate(over="ignore", under="ignore"):  # variances of rates near 1e+-200
            for _ in range(2):  # not by size^2, which may be inf where a variance is 0
                out["amplitude"] *= size
                out["acf"] *= size[:, None]
                out["acf_fit"] *= size[:, None]
    return out


def estimate(x, plan):
    """Likelihood fits of every unit, the trend that each asks for, and offsets and slopes seen."""
    o, n_trials = plan.o, x.shape[1]
    m = plan.modes(x, 1)
    ratio, offsets, slopes = drifts(m, o)
    lined = np.full(len(x), o.detrend == "linear")
    if o.detrend == "auto" and o.center == "auto" and slopes.any():
        i = np.flatnonzero(slopes)  # a line is taken out where that leaves nothing unexplained
        rest = plan.modes(x[i], 2)
        line = one_exponential(rest, "linear", o)
        lined[i] = lk.goodness(rest, "linear", line.power(rest), line.parameters) > MISFIT
    mode0 = {"trial": "out", "psth": "in", "auto": "free"}[o.center]
    if n_trials == 1 or o.model == "cos":
        mode0 = "out"
    e: dict[str, np.ndarray] = {}
    for which, kind, order in ((lined, "linear", 2), (~lined, mode0, 1)):
        i = np.flatnonzero(which)
        if len(i):
            own = m.take(i) if order == 1 else plan.modes(x[i], 2)
            for name, values in _by_likelihood(own, kind, order, offsets, i, plan).items():
                e.setdefault(name, np.empty((len(x), *values.shape[1:]), values.dtype))[i] = values
    known = ~np.isnan(e["dc_ratio"])
    e["dc_ratio"] = np.where(n_trials == 1, np.nan, np.where(known, e["dc_ratio"], ratio))
    # Offsets or a line may be the nuisance or the signal: the interval grants both.
    doubts = [(slopes & ~lined, 2, "linear"), (offsets & (mode0 == "in"), 1, "out")]
    for doubt, order, kind in doubts if o.ci is not None else ():
        i = np.flatnonzero(doubt)
        if len(i):
            other = one_exponential(plan.modes(x[i], order), kind, o).interval
            e["doubt"][i] = hull(e["doubt"][i], other)
    return e, offsets, slopes


def _by_likelihood(m, mode0, order, offsets, i, plan):
    """One exponential or a mixture in each unit of `m`; `offsets` of units `i` may be withdrawn."""
    o, n = plan.o, plan.designs[0].n
    one = one_exponential(m, mode0, o, plan.designs[0].dof)
    tau, none = np.exp(one.log_tau), np.full((len(i), 2), np.nan)
    edge = m.log_tau[1] - m.log_tau[0]
    over, under = one.log_tau > m.log_tau[-1] - edge, one.log_tau < m.log_tau[0] + edge
    psth = np.full(len(i), mode0 == "in") | ((mode0 == "free") & ~offsets[i])
    few = o.model in ("two_exp", "auto") and (plan.designs[0].dof < MIN_PAIR or n < 20)
    e = {
        "model": np.full(len(i), "exp", dtype="<U10"),
        "tau": np.stack([tau, tau], axis=1),
        "amplitude": np.stack([one.a, 0 * one.a], axis=1),
        "frequency": np.zeros(len(i)),
        "noise": one.b,
        "noisy": one.noisy,
        "interval": one.interval,
        "doubt": none,
        "second_ci": none.copy(),
        "p_fit": lk.goodness(m, mode0, one.power(m), one.parameters),
        "silent": one.silent,
        "bound": over.astype(int) - under,
        "order": np.where(psth, 0, order),
        "few": np.full(len(i), few and o.model == "two_exp"),
        "dc_ratio": np.full(len(i), np.nan),
    }
    for u in range(len(i)) if o.model != "exp" and not few else ():
        found = choose(m.take([u]), mode0, one.D[u], plan.designs[2 if order == 2 else 0], o)
        if found is None:
            continue
        inside = found.pop("inside")
        for name, value in found.items():
            e[name][u] = value
        e["order"][u] = 0 if inside else order
        offsets[i[u]] &= not inside
    return e


def finish(x, e, plan, order, offsets, slopes):
    """The window's estimates where they count, and the report, for units of one centring."""
    o, d = plan.o, plan.designs[order]
    y = d.centred(x)
    acf = np.where(d.kept > 1e-9, products(y) / np.maximum(d.kept, 1e-9), 0.0)
    energy = np.sum(y**2, axis=2)
    behind = energy.sum(axis=1) ** 2 / np.sum(energy**2, axis=1)  # trials that hold the variance
    first = first_lag(acf, d, o)
    e["estimator"], e["first"] = np.full(len(x), "likelihood", dtype="<U10"), first
    if o.model == "exp":
        misfit = (first > 1) | (~e["silent"] & ~(e["p_fit"] >= MISFIT))
        i = np.flatnonzero(misfit | (o.estimator == "window"))
        if len(i):
            own = (misfit[i] | (o.ci == "bootstrap")) & (o.ci is not None)
            found = mo.by_window(y[i], acf[i], first[i], plan.window(order), o, own)
            for name, values in found.items():
                e[name][i] = values
            e["estimator"][i] = "window"
    e["silent"] |= behind < min(FEW, len(y[0]) / 8)
    e["interval"] = hull(e["interval"], e["doubt"])
    return report(acf, e, d, o, offsets, slopes)


def hull(a, b):
    """The intervals (units, 2) that hold both of two; NaN holds nothing."""
    return np.stack([np.fmin(a[:, 0], b[:, 0]), np.fmax(a[:, 1], b[:, 1])], axis=1)
