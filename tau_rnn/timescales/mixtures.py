"""Two exponentials, and a damped cosine: several parameters, found by scipy.optimize.

The same likelihood of the modes as for one exponential (`likelihood`), written as a sum of squares
so that `scipy.optimize.least_squares` can find its least: with V_j = a e_j + ... + b w_j,

    D = constant + sum_j r_j^2,  r_j^2 = (M - C) n_j [P_j/V_j - 1 - log(P_j/V_j)],

the sign of r_j that of P_j - V_j.

Intervals are those of the curvature of D, on a logarithmic scale.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.timescales import likelihood as lk

__all__: list[str] = []

OFFSET = 2.7  # fall of D at which offsets are taken to be there: 5 %, one-sided
LONGEST = 3.0  # end of the search: 3 n dt
PAIR = 6.0  # fall of D that a second exponential that was asked for must bring: 5 %


class Mixture(NamedTuple):
    """One unit: values of the shape and of the variances, D and standard errors of the shape."""

    shape: np.ndarray  # (2,) log tau, and log tau of the faster one or log frequency
    amplitude: np.ndarray  # (1,) or (2,)
    noise: float
    deviance: float
    error: np.ndarray  # (2,)
    V: np.ndarray  # (bins,)


def powers(model, shape, m, design, dt):
    """Expected powers (parts, bins) of the components of amplitude 1."""
    if model == "two_exp":
        return m.shapes(np.asarray(shape))
    k = dt * np.arange(design.n)
    gamma = np.exp(-k / np.exp(shape[0])) * np.cos(2 * np.pi * np.exp(shape[1]) * k)
    return lk.binned(design.expected_power(gamma))


def starts(model, m, design, dt):
    """Pairs to start from: a slow and a fast one, or the highest peak of the power."""
    if model == "two_exp":
        inner = np.log(dt * np.geomspace(1, design.n / 3, 6))
        return [(s, f) for s in inner for f in inner if s > f]
    mode, sizes = lk.bins(design.n)
    frequency = (mode + (sizes - 1) / 2) / (2 * design.n * dt)
    smooth = np.convolve(m.found[0], np.ones(3), mode="same")
    top = frequency[2 + np.argmax((smooth * np.sqrt(frequency))[2:])]  # above a decay's slope
    return [(np.log(c / top), np.log(top)) for c in (0.3, 1.0)]


def fit_mixture(model, m, design, dt, mode0, noisy):
    """The `Mixture` of the one unit of `m`."""
    from scipy.optimize import least_squares

    P, w = m.found[0], lk.counted(m, mode0)
    scale = np.log(np.sum(w * P) / np.sum(w) + lk.TINY)
    n_parts = 2 if model == "two_exp" else 1
    tau = m.log_tau[0], np.log(LONGEST * design.n * dt)
    limits = [tau, np.log([0.5 / (design.n * dt), 0.5 / dt]) if model == "cos" else tau]
    limits += [(scale - 14 - np.log(design.n), scale + 6)] * (n_parts + noisy)
    low, high = np.transpose(limits)

    def variance(p):
        parts = powers(model, p[:2], m, design, dt)
        return np.exp(p[2:]) @ [*parts, *[m.noise] * noisy]

    def residuals(p):
        ratio = np.maximum(P, lk.TINY) / variance(p)
        square = np.maximum(m.weight * w * (ratio - 1 - np.log(ratio)), 0)
        return np.sign(ratio - 1) * np.sqrt(square)

    begins = []
    for pair in starts(model, m, design, dt):
        p = np.r_[pair, np.zeros(n_parts + noisy)]  # equal shares
        p[2:] = np.log(np.sum(w * P / variance(p)) / np.sum(w))
        begins.append(np.clip(p, low, high))
    begins.sort(key=lambda p: np.linalg.norm(residuals(p)))
    fits = [least_squares(residuals, p, bounds=(low, high), ftol=1e-10, max_nfev=200)
            for p in begins[:2]]  # fmt: skip
    best = min(fits, key=lambda f: f.cost)
    p, V = best.x, variance(best.x)
    D = lk.deviance(m, mode0, V[None])[0]
    error = np.sqrt(np.diagonal(np.linalg.pinv(best.jac.T @ best.jac)).clip(0))
    slow = [1, 0] if model == "two_exp" and p[0] < p[1] else [0, 1]
    amplitude = np.exp(p[2:])[slow[:n_parts]]
    return Mixture(p[slow], amplitude, np.exp(p[-1]) if noisy else 0.0, D, error[slow], V)


def choose(m, mode0, D_one, design, options):
    """The mixture of one unit as values of what `units` collects; None where one is enough.

    `D_one` is that of one exponential. Offsets that mode 0 may have ("free") are granted where they
    lower D, as for one exponential.
    """
    from scipy.special import ndtri

    model = "cos" if options.model == "cos" else "two_exp"
    noisy = options.use_lag0 is not True
    mix = fit_mixture(model, m, design, options.dt, mode0, noisy)
    if mode0 == "free":
        inside = fit_mixture(model, m, design, options.dt, "in", noisy)
        if inside.deviance < mix.deviance + OFFSET:
            mix, mode0 = inside, "in"
    price = {"auto": 2 * np.log(m.weight * m.sizes.sum()), "two_exp": PAIR, "cos": -np.inf}
    if mix.deviance + price[options.model] > D_one:
        return None
    end = LONGEST * design.n * options.dt
    pair, tau = model == "two_exp", np.exp(mix.shape)
    hidden = pair and tau[1] < options.dt  # within a step: noise, as far as samples can tell
    half = ndtri(0.5 + options.level / 2) * mix.error
    ends = np.exp(np.clip(mix.shape[:, None] + half[:, None] * [-1, 1], -700, 700))
    return {
        "model": model,
        "tau": tau if pair else tau[0],
        "amplitude": (mix.amplitude[0], mix.amplitude[1] if pair and not hidden else 0.0),
        "frequency": 0.0 if pair else tau[1],
        "noise": mix.noise + (mix.amplitude[1] if hidden else 0.0),
        "noisy": hidden or mix.noise > 0.02 * m.found[0, 1:].mean(),
        "interval": (ends[0, 0], ends[0, 1] if ends[0, 1] < end else np.inf),
        "second_ci": ends[1],
        "p_fit": lk.goodness(m, mode0, mix.V[None], (5 if pair else 4) - (mix.noise == 0))[0],
        "silent": False,
        "bound": int(tau[0] > 0.99 * end),
        "inside": mode0 == "in",
        "dc_ratio": m.found[0, 0] / mix.V[0] if mode0 != "linear" else np.nan,
    }
