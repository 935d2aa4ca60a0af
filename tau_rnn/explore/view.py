r"""Sliders over one network: how tau, gain, delay and dt shape its activity and its gradient.

``python -m tau_rnn.explore`` opens a window with Matplotlib's own widgets; the page docs/explore of
the site has the same sliders. `explore` computes every number that either of them draws. It needs
NumPy alone, so that a browser has little to load.

The network is untrained and without bias: ``x = 0`` is a fixed point, around which one step is (Eq.
3.1 with the slope 1 of tanh at 0)::

    x[t+1] = M x[t],    M = 1 + diag(alpha) (W - 1) = 1 + diag(alpha tau) J,

with J the Jacobian of the differential equation (`tau_rnn.measures.dynamics.jacobian`). Driven by
private noise of covariance Q = diag(alpha (2 - alpha)) (Eq. 1.9), the linear network has the
stationary covariance P and, k steps apart, the covariance M^k P. With M = V diag(mu) V^-1 both take
a few products::

    P = M P M^T + Q,    (V^-1 P V^-H)_ij = (V^-1 Q V^-H)_ij / (1 - mu_i conj(mu_j)),
    (M^k P)_ii = sum_j V_ij mu_j^k (V^-1 P)_ji.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.bptt import backward
from tau_rnn.checks import (
    check_integer,
    check_number,
    check_settings,
    documented,
    setting,
)
from tau_rnn.discretisation import alpha
from tau_rnn.measures.dynamics import jacobian
from tau_rnn.model import Array, Params, forward, init_params
from tau_rnn.taus import stratified_quantiles

__all__ = ["Sliders", "explore"]

#: One trial (s): rest, the stimulus, the delay, the report.
_REST, _STIMULUS, _REPORT = 0.2, 0.5, 0.5
#: The autocorrelation is computed up to this lag and about so often (s).
_LONGEST_LAG, _LAG = 10.0, 0.05
#: Bounds of the normal and the lognormal distribution (s), those of `tau_rnn.taus`.
_BOUNDS = {"normal": (0.1, 1.9), "lognormal": (0.1, 10.0)}
#: Least and largest value and the step of each slider.
RANGES = {
    "width": (0.0, 0.5, 0.01),
    "gain": (0.0, 1.5, 0.01),
    "delay": (0.0, 3.0, 0.1),
    "dt": (0.02, 0.2, 0.01),
}
#: Said instead of an autocorrelation.
_STILL = "none: a mode grows, so no state is stationary"
#: The fastest, the middle and the slowest third of the units: names, colours, lines.
THIRDS = (("fastest", "#B35806", "-"), ("middle", "#707070", "--"), ("slowest", "#542788", "-."))


def _slider(name: str, default: float, text: str, unit: str = ""):
    least, most, _ = RANGES[name]
    return setting(default, text, partial(check_number, least=least, most=most), unit=unit)


def _half_width(sd: float) -> float:
    """Of the uniform distribution of this sd (s), in digits that fit into a text."""
    return round(math.sqrt(3) * sd, 4)


@documented
@dataclass(frozen=True, kw_only=True)
class Sliders:
    """What the sliders set. A value out of its range raises a ValueError.

    Examples
    --------
    >>> Sliders(gain=1.2).gain, Sliders().gain
    (1.2, 0.8)
    """

    dist: str = setting(
        "lognormal", "distribution of tau",
        allowed=("normal", "uniform", "bimodal", "lognormal"),
    )  # fmt: skip
    width: float = _slider("width", 0.5, "sd of tau before truncation; the mean is 1 s", "s")
    gain: float = _slider("gain", 0.8, "gain of the recurrent weights")
    delay: float = _slider("delay", 1.0, "delay between stimulus and report", "s")
    dt: float = _slider("dt", 0.05, "time step", "s")
    dynamics: str = setting(
        "discrete", "eigenvalues of one step or of the velocity", allowed=("discrete", "continuous")
    )
    n_units: int = setting(50, "number of units", partial(check_integer, least=3, most=200))
    seed: int = setting(0, "of the network", partial(check_integer, least=0))

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def tau(self) -> str:
        """The same distribution as `tau_rnn.sample_tau` takes it.

        >>> Sliders(dist="bimodal", width=0.4).tau
        'bimodal:low=0.6,high=1.4'
        """
        w = self.width
        if w == 0:
            return "vanilla"
        if self.dist in _BOUNDS:
            return f"{self.dist}:{'sd' if self.dist == 'normal' else 'cv0'}={w:.12g}"
        half = w if self.dist == "bimodal" else _half_width(w)
        return f"{self.dist}:low={1 - half:.12g},high={1 + half:.12g}"


class _Panel(NamedTuple):
    """What frames a panel: title, labels of the axes, a note, limits, and "x", "y" or "xy" in log.

    ``z`` is the limit of the colours, where there are any.
    """

    title: str
    x: str
    y: str
    note: str
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    log: str = ""
    z: float = 0.0


class View(NamedTuple):
    """Everything that is shown. Units go from the fastest to the slowest, thirds likewise.

    Attributes
    ----------
    tau : (N,) time constants in s
    time : (T+1,) of a trial in s
    stimulus, report : (2,) their start and end in s
    rates : (T+1, N) in the trial
    adjoint : (T+1, 3) root mean square over the units of each third of dL/dx[t], where L is the
        mean output in the report
    eigenvalues : (N,) complex, of M (discrete) or of J in 1/s (continuous); see the module's head
    slowest : time constant in s of the mode that decays last; negative where it grows
    lags : (K,) in s
    autocorrelation : (K, 3) mean over the units of each third, driven by noise; nan where a mode
        grows, since there is no stationary state then
    effective : (N,) lag in s at which a unit's autocorrelation has fallen to 1/e, tau itself for a
        unit alone; nan where it has not by the last lag, or there is no stationary state
    thirds : names of the thirds, with their mean tau
    third : (N,) which of them a unit is in: 0, 1 or 2
    panels : what frames each of the five: title, labels, a note and limits
    """

    tau: Array
    time: Array
    stimulus: tuple[float, float]
    report: tuple[float, float]
    rates: Array
    adjoint: Array
    eigenvalues: Array
    slowest: float
    lags: Array
    autocorrelation: Array
    effective: Array
    thirds: tuple[str, ...]
    third: Array
    panels: dict[str, _Panel]


def explore(settings: Sliders) -> View:
    """Everything that the explorer shows for these settings.

    The network is that of ``sample_tau(settings.tau, n_units, rng)``, sorted, and then
    ``init_params(n_units, 1, 1, tau, rng, gain=gain)``, with rng = default_rng(seed): the sliders
    keep each unit's quantile and the weights but for their gain, and change nothing else.

    Parameters
    ----------
    settings : Sliders

    Returns
    -------
    View

    Examples
    --------
    Without recurrence, a unit's effective timescale is its own:

    >>> view = explore(Sliders(gain=0, n_units=10))
    >>> bool(np.allclose(view.effective, view.tau))
    True
    """
    rng, dt = np.random.default_rng(settings.seed), settings.dt
    tau = _time_constants(settings, np.sort(stratified_quantiles(settings.n_units, rng)))
    params = init_params(settings.n_units, 1, 1, tau, rng, gain=settings.gain)
    epochs = np.cumsum([round(t / dt) for t in (_REST, _STIMULUS, settings.delay, _REPORT)])
    rates, dx = _trial(params, epochs, dt)
    thirds = np.array_split(np.arange(settings.n_units), 3)

    a, J = alpha(tau, dt), jacobian(params, np.zeros(settings.n_units))
    mu, V = np.linalg.eig(np.eye(settings.n_units) + (a * tau)[:, np.newaxis] * J)
    eigenvalues = mu if settings.dynamics == "discrete" else np.linalg.eigvals(J)
    lags, acf = _autocorrelation(mu, V, a * (2 - a), dt)
    view = View(
        tau=tau,
        time=np.arange(epochs[-1] + 1) * dt,
        stimulus=(epochs[0] * dt, epochs[1] * dt),
        report=(epochs[2] * dt, epochs[3] * dt),
        rates=rates,
        adjoint=np.stack([np.sqrt(np.mean(dx[:, k] ** 2, axis=1)) for k in thirds], axis=1),
        eigenvalues=eigenvalues.astype(complex),
        slowest=_slowest(eigenvalues, settings),
        lags=lags,
        autocorrelation=np.stack([acf[:, k].mean(axis=1) for k in thirds], axis=1),
        effective=_fall(lags, acf),
        thirds=tuple(
            f"{name} third, {tau[k].mean():.2f} s" for (name, _, _), k in zip(THIRDS, thirds)
        ),
        third=np.repeat(np.arange(3), [len(k) for k in thirds]),
        panels={},
    )
    return view._replace(panels=_panels(view, settings))


def _time_constants(settings: Sliders, q: Array) -> Array:
    """What `sample_tau` gives for these quantiles: a browser would load SciPy for this alone."""
    w, normal = settings.width, NormalDist()
    if w == 0:
        return np.ones(len(q))
    if settings.dist == "bimodal":
        return np.where(q < 0.5, 1 - w, 1 + w)
    if settings.dist == "uniform":
        return 1 + _half_width(w) * (2 * q - 1)
    low, high = _BOUNDS[settings.dist]
    mean, sd = 1.0, w
    if settings.dist == "lognormal":  # mean and sd of ln tau
        sd = math.sqrt(math.log1p(w**2))
        low, high, mean = math.log(low), math.log(high), -(sd**2) / 2
    below, above = (normal.cdf((bound - mean) / sd) for bound in (low, high))
    z = np.array([normal.inv_cdf(below + k * (above - below)) for k in q])
    return np.exp(mean + sd * z) if settings.dist == "lognormal" else mean + sd * z


def _trial(params: Params, epochs, dt: float) -> tuple[Array, Array]:
    """Rates (T+1, N) of a trial and dL/dx (T+1, N), L the mean output in the report.

    `backward` returns sums over the adjoint, not the adjoint. So each step has an input of its own
    that is 1 then and has no weights: it changes nothing, and dW_in is alpha dx[t+1] (Eq. 3.8).
    """
    start, stop, ask, end = epochs
    u, dy = np.zeros((end, 1, 1 + end)), np.zeros((end, 1, 1))
    u[start:stop, 0, 0], u[:, 0, 1:], dy[ask:] = 1, np.eye(end), 1 / (end - ask)
    params = params._replace(W_in=np.pad(params.W_in, ((0, 0), (0, end))))
    traj = forward(params, u, dt)
    gradient = backward(params, traj, dy)
    later = gradient.W_in[:, 1:].T / alpha(params.tau, dt)
    return traj.r[:, 0], np.vstack([gradient.x0, later])


def _autocorrelation(mu, V, Q, dt: float) -> tuple[Array, Array]:
    """Lags (K,) and the stationary autocorrelation (K, N) of x[t+1] = V mu V^-1 x[t] + noise."""
    stride = max(1, round(_LAG / dt))
    lags = np.arange(round(_LONGEST_LAG / (stride * dt)) + 1) * stride * dt
    if np.abs(mu).max() >= 1:
        return lags, np.full((len(lags), len(mu)), np.nan)
    inverse = np.linalg.inv(V)
    P = (inverse * Q) @ inverse.conj().T / (1 - np.outer(mu, mu.conj()))
    powers = np.ones((len(lags), len(mu)), mu.dtype)
    np.cumprod(np.tile(mu**stride, (len(lags) - 1, 1)), axis=0, out=powers[1:])
    acov = (powers @ (V * (P @ V.conj().T).T).T).real
    return lags, acov / acov[0]


def _fall(lags: Array, acf: Array) -> Array:
    """First lag (N,) at which each column of acf is 1/e, nan where it stays above.

    Between two lags it falls like an exponential, or like a line where it crosses 0 as well.
    """
    below, units = acf < math.exp(-1), np.arange(acf.shape[1])
    at = np.maximum(below.argmax(axis=0), 1)
    before, here = acf[at - 1, units], acf[at, units]
    line = (before - math.exp(-1)) / np.where(below.any(axis=0), before - here, np.nan)
    positive = np.where(here > 0, here, np.nan)
    curve = (np.log(before) + 1) / (np.log(before) - np.log(positive))
    share = np.where(np.isfinite(line) & (here > 0), curve, line)
    return lags[at - 1] + share * (lags[at] - lags[at - 1])


def _slowest(eigenvalues: Array, settings: Sliders) -> float:
    """Time constant in s of the mode that decays last, negative where it grows."""
    if settings.dynamics == "discrete":
        rate = math.log(np.abs(eigenvalues).max()) / settings.dt
    else:
        rate = float(np.real(eigenvalues).max())
    return -1 / rate if rate else math.inf


def _panels(view: View, settings: Sliders) -> dict[str, _Panel]:
    trial, what = (0.0, float(view.time[-1])), "one step"
    per_s, (re, im) = "", _square(view.eigenvalues, 1.0)
    if settings.dynamics == "continuous":
        what, per_s, (re, im) = "the velocity", " (1/s)", _square(view.eigenvalues, 0.0)
    grows, beyond = view.slowest < 0, int(np.isnan(view.effective).sum())
    change = f"{'grows' if grows else 'decays'} by a factor e"
    mode = f"slowest mode: {change} in {abs(view.slowest):.3g} s"
    late = f"{beyond} of {settings.n_units} units: beyond {_LONGEST_LAG:g} s"
    late = late if beyond else "line: effective = intrinsic"
    still = np.isfinite(view.autocorrelation).all()
    top = float(view.adjoint.max())
    decades = np.log10([max(float(view.adjoint.min()), 1e-4 * top), top])
    return {
        "rates": _Panel(
            "Rates in one trial", "time (s)", "unit, from fast (top) to slow",
            "dotted: stimulus on, off, report", trial, (settings.n_units + 0.5, 0.5),
            z=float(np.abs(view.rates).max()),
        ),
        "adjoint": _Panel(
            "The adjoint, flowing back from the report", "time (s)", "rms of dL/dx over units",
            "L: mean output in the report (shaded)", trial,
            (float(10 ** math.floor(decades[0])), float(10 ** math.ceil(decades[1]))), "y",
        ),
        "eigenvalues": _Panel(
            f"Eigenvalues of {what}", f"real part{per_s}", f"imaginary part{per_s}", mode, re, im
        ),
        "autocorrelation": _Panel(
            "Autocorrelation, driven by noise", "lag (s)", "autocorrelation",
            "dotted: 1/e" if still else _STILL, (0.0, 5.0), (-0.2, 1.0),
        ),
        "effective": _Panel(
            "Effective timescale: autocorrelation at 1/e", "intrinsic tau (s)",
            "effective timescale (s)", late if still else _STILL, (0.1, 10.0), (0.1, 10.0), "xy",
        ),
    }  # fmt: skip


def _square(eigenvalues: Array, edge: float):
    """Limits of the real and the imaginary axis, of equal length, with the edge of stability."""
    across, up = np.real(eigenvalues), np.imag(eigenvalues)
    left, right = min(across.min(), edge), max(across.max(), edge)
    half = 1.1 * max((right - left) / 2, np.abs(up).max())
    middle = (left + right) / 2
    return (float(middle - half), float(middle + half)), (float(-half), float(half))


def frame(**settings) -> dict[str, Any]:
    """`explore` for the page: its view as a dict, and eigenvalues as (N, 2) real numbers.

    >>> frame(width=0, n_units=3)["tau"]
    array([1., 1., 1.])
    """
    shown = explore(Sliders(**settings))._asdict()
    shown["eigenvalues"] = np.stack([shown["eigenvalues"].real, shown["eigenvalues"].imag], axis=1)
    shown["panels"] = {name: panel._asdict() for name, panel in shown["panels"].items()}
    return shown
