"""The arguments of `fit_timescales`, checked once for all units."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.checks import check_choice, check_integer, check_number, generator_of
from tau_rnn.timescales.acf import check_psth

__all__: list[str] = []

ROUNDING = 1e-6  # of seconds that are a number of samples: those of float32 are taken too


class Options(NamedTuple):
    """See `fit_timescales`."""

    dt: float
    window: float
    center: str
    model: str
    estimator: str  # "likelihood" or "window"
    use_lag0: object
    detrend: str
    min_lag: object  # samples, or "auto"
    ci: str | None
    level: float
    n_boot: int
    seed: int


LAG0 = {"auto": "auto", "True": True, "False": False}
CHECKS: dict[str, Callable[..., Any]] = {
    "center": partial(check_choice, allowed=("auto", "trial", "psth")),
    "detrend": partial(check_choice, allowed=("auto", "constant", "linear")),
    "model": partial(check_choice, allowed=("exp", "two_exp", "cos", "auto")),
    "estimator": partial(check_choice, allowed=("auto", "likelihood", "window")),
    "window": partial(check_number, above=0),
    "use_lag0": lambda name, value: LAG0[check_choice(name, str(value), LAG0)],
    "ci": partial(check_choice, allowed=("auto", "bootstrap", None)),
    "level": partial(check_number, least=0.01, below=1),
    "n_boot": partial(check_integer, least=1),
    "seed": lambda name, value: generator_of(value, name).integers(2**63),
}


def check_options(n_trials, n, dt, min_lag, **given):
    """The `Options` for n_trials trials of n samples."""
    checked = {name: CHECKS[name](name, value) for name, value in given.items()}
    o = Options(dt, min_lag=_first_lag(min_lag, n, dt), **checked)
    check_psth(o.center, n_trials)
    if o.center == "psth" and o.detrend == "linear":
        raise ValueError('detrend: must be "constant" with center="psth", got "linear"')
    if o.model != "exp" and o.estimator == "window":
        raise ValueError(f'estimator: must be "auto" or "likelihood" with model={o.model!r}')
    if o.model != "exp" and o.min_lag not in ("auto", 0):
        raise ValueError(f'min_lag: must be "auto" or 0 with model={o.model!r}')
    if o.estimator == "auto":
        o = o._replace(estimator="likelihood" if o.center == "auto" else "window")
    return o


def _first_lag(min_lag, n, dt):
    """In samples, or "auto"."""
    if str(min_lag) == "auto":
        return "auto"
    if isinstance(min_lag, np.ndarray):
        min_lag = min_lag[()]
    if not isinstance(min_lag, (int, np.integer)):  # seconds: the first lag that is not below
        seconds = check_number("min_lag", min_lag, least=0, below=n * dt)
        min_lag = np.ceil(seconds / dt * (1 - ROUNDING))
    return check_integer("min_lag", min_lag, 0, n - 1)
