"""The arguments of `fit_timescales`, checked once for all units."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.checks import check_choice, check_integer, check_number, shown
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


CHOICES = {
    "center": ("auto", "trial", "psth"),
    "detrend": ("auto", "constant", "linear"),
    "model": ("exp", "two_exp", "cos", "auto"),
    "estimator": ("auto", "likelihood", "window"),
    "ci": ("auto", "bootstrap", None),
}


def check_options(n_trials, n, dt, **given):
    """The `Options` for n_trials trials of n samples."""
    for name, allowed in CHOICES.items():
        check_choice(name, given[name], allowed)
    center, lag0, first = given["center"], given["use_lag0"], given["min_lag"]
    if not (isinstance(lag0, (bool, np.bool_)) or (isinstance(lag0, str) and lag0 == "auto")):
        raise ValueError(f'use_lag0: must be "auto", True or False, got {shown(lag0)}')
    check_psth(center, n_trials)
    if center == "psth" and given["detrend"] == "linear":
        raise ValueError('detrend: must be "constant" with center="psth", got "linear"')
    if given["model"] != "exp" and given["estimator"] == "window":
        raise ValueError(f'estimator: must be "auto" or "likelihood" with model={given["model"]!r}')
    if given["estimator"] == "auto":
        given["estimator"] = "likelihood" if center == "auto" else "window"
    if isinstance(first, np.ndarray) and first.ndim == 0:
        first = first[()]
    if not (isinstance(first, str) and first == "auto"):
        if not isinstance(first, (int, np.integer)):  # seconds: the first lag that is not below
            longest = (n - 1) * dt * (1 + ROUNDING)
            samples = check_number("min_lag", first, least=0, most=longest) / dt
            first = int(np.ceil(samples * (1 - ROUNDING)))
        first = check_integer("min_lag", first, 0, n - 1)
        if first > 0 and given["model"] != "exp":
            raise ValueError(f'min_lag: must be "auto" or 0 with model={given["model"]!r}')
    try:
        seed = int(np.random.default_rng(given["seed"]).integers(2**63))
    except (TypeError, ValueError):
        raise ValueError(
            f"seed: must be an integer >= 0 or a numpy.random.Generator, got {shown(given['seed'])}"
        ) from None
    numbers = {
        "window": check_number("window", given["window"], above=0),
        "level": check_number("level", given["level"], least=0.01, below=1),
        "n_boot": check_integer("n_boot", given["n_boot"], 1),
        "use_lag0": lag0 if isinstance(lag0, str) else bool(lag0),
        "min_lag": first,
        "seed": seed,
    }
    return Options(dt, **(given | numbers))
