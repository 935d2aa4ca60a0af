"""Effective against intrinsic time constants: does the network's activity mirror its tau?

The intrinsic tau of a unit is a parameter; its effective one is the decay time of the
autocorrelation of its rate in the noise-driven network, which the recurrence changes. Intervals
here are over the units of *one* network (percentile bootstrap), not over networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import (
    check_array,
    check_dt,
    check_generator,
    check_integer,
    check_number,
    check_size,
)
from tau_rnn.discretisation import DEFAULT_METHOD
from tau_rnn.measures._shared import (
    MOST_BOOTSTRAPS,
    MOST_DRAWS,
    Array,
    double_params,
    ranks,
    ratio,
)
from tau_rnn.model import ParamsLike, forward
from tau_rnn.noise import private_noise
from tau_rnn.nonlinearities import Nonlinearity

__all__ = ["TauSpread", "effective_tau", "spontaneous_rates", "tau_spread"]

#: Steps of a simulation; more are a typing mistake.
_MOST_STEPS = 1_000_000


class _Estimate(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


class TauSpread(NamedTuple):
    """How effective time constants spread, and whether they follow the intrinsic ones.

    Attributes
    ----------
    rank_correlation : Spearman's, of effective with intrinsic tau; nan where one is constant
    cv : standard deviation of the effective tau over their mean
    sd_log : standard deviation of ln effective tau, which single very slow units move less
    quantile_range : from the 10 % to the 90 % quantile, in seconds
    n_units : units that count; the others have no estimate (nan)
    n_left_out : how many those are

    Examples
    --------
    >>> spread = tau_spread([0.5, 1.0, 1.5], [0.6, 1.1, np.nan], np.random.default_rng(0))
    >>> spread.n_units, spread.n_left_out
    (2, 1)
    """

    rank_correlation: _Estimate
    cv: _Estimate
    sd_log: _Estimate
    quantile_range: _Estimate
    n_units: int
    n_left_out: int


class EffectiveTau(NamedTuple):
    """Effective time constants before and after training.

    Attributes
    ----------
    before, after : (N,) effective tau in seconds; cut where it is too long for the runs, nan where
        there is no estimate
    flag_before, flag_after : (N,) warning flags of `fit_timescales`, "" where there is none
    spread_before, spread_after : spread of these, and their correlation with the intrinsic tau
    change : of the sd of ln tau, see `spread_change`
    """

    before: Array
    after: Array
    flag_before: Array
    flag_after: Array
    spread_before: TauSpread
    spread_after: TauSpread
    change: _Estimate


def spontaneous_rates(
    params: ParamsLike,
    dt: float,
    rng: np.random.Generator,
    *,
    sigma: float = 0.2,
    n_trials: int = 50,
    duration: float = 20.0,
    burn_in: float | None = None,
    phi: str | Nonlinearity = "tanh",
    method: str = DEFAULT_METHOD,
) -> Array:
    """Rates of the network driven by private noise alone, without input.

    Parameters
    ----------
    params : Params
    dt : time step in seconds
    rng : numpy.random.Generator of the noise
    sigma : size of the noise, see `tau_rnn.noise.private_noise`
    n_trials : number of independent runs
    duration : of what is returned, in seconds
    burn_in : what is simulated before that and dropped, in seconds; None for 10 times the longest
        tau
    phi, method : as for `tau_rnn.model.forward`

    Returns
    -------
    (n_trials, time, N) rates, as `tau_rnn.timescales.fit_timescales` takes them

    Raises
    ------
    ValueError
        If a size or duration is out of range.

    Notes
    -----
    Recurrence makes some units slow: after training, effective time constants of 10 s and more
    occur in networks whose longest tau is 2 s. Runs of 5 s left a third to a half of their units
    with ``exceeds_trial``; runs of 20 s left none to a third.

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> params = init_params(5, 1, 1, 0.5, np.random.default_rng(0))
    >>> spontaneous_rates(params, 0.1, np.random.default_rng(1), n_trials=3, duration=2.0).shape
    (3, 20, 5)
    """
    params = double_params("params", params)
    dt = check_dt(dt)
    burn_in = 10 * float(params.tau.max()) if burn_in is None else burn_in
    duration = check_number("duration", duration, least=dt, most=_MOST_STEPS * dt)
    burn_in = check_number("burn_in", burn_in, least=0, most=_MOST_STEPS * dt)
    n_trials = check_integer("n_trials", n_trials, 1, MOST_DRAWS)
    n, n_burn = round(duration / dt), round(burn_in / dt)
    noise = private_noise(params, dt, sigma, n_burn + n, n_trials, rng, method=method)
    u = np.zeros((n_burn + n, n_trials, params.W_in.shape[1]))
    traj = forward(params, u, dt, phi=phi, method=method, noise=noise)
    return np.ascontiguousarray(np.swapaxes(traj.r[n_burn + 1 :], 0, 1))


def effective_tau(
    params: ParamsLike, dt: float, rng: np.random.Generator, *, center: str = "trial",
    ci: str | None = None, **options: Any,
) -> Any:  # fmt: skip
    """`tau_rnn.timescales.fit_timescales` of `spontaneous_rates`.

    Parameters
    ----------
    params, dt, rng : see `spontaneous_rates`
    center, ci : see `tau_rnn.timescales.fit_timescales`. The default subtracts the mean of each
        trial: a trained network may settle in another state in each, and its timescale is that of
        its fluctuations there. A unit with a slow component seems faster for it
        (see `tau_rnn.timescales.timescale_of_acf`)
    **options : further options of `spontaneous_rates`

    Returns
    -------
    TimescaleResult

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> params = init_params(2, 1, 1, [0.2, 1.0], np.random.default_rng(0), gain=0)
    >>> fit = effective_tau(params, 0.05, np.random.default_rng(1))  # no recurrence: tau itself
    >>> bool(np.allclose(fit.tau, [0.2, 1.0], rtol=0.2))
    True
    """
    from tau_rnn.timescales import fit_timescales

    rates = spontaneous_rates(params, dt, rng, **options)
    return fit_timescales(rates, dt, center=center, ci=ci)


def tau_spread(
    intrinsic: ArrayLike, effective: ArrayLike, rng: np.random.Generator, *, n_boot: int = 1000
) -> TauSpread:
    """Spread of the effective time constants and their rank correlation with the intrinsic ones.

    Parameters
    ----------
    intrinsic : (N,) tau in seconds, positive
    effective : (N,) effective tau in seconds, positive; nan where a unit has none: it is left out
    rng : numpy.random.Generator of the bootstrap
    n_boot : number of bootstrap samples of the units

    Returns
    -------
    TauSpread. With fewer than 3 units everything is nan; the rank correlation is nan where all
    units have the same tau.

    Raises
    ------
    ValueError
        If the shapes differ or a time constant is not positive.

    Examples
    --------
    >>> spread = tau_spread([0.5, 1.0, 1.5], [0.6, 1.1, 1.9], np.random.default_rng(0))
    >>> round(spread.rank_correlation.value, 3), spread.n_units, spread.n_left_out
    (1.0, 3, 0)
    """
    known, a, b = _known("intrinsic", intrinsic, "effective", effective)
    draws = _draws(len(b), rng, n_boot)
    return TauSpread(
        _bootstrap(_rank_correlation, draws, a, b),
        _bootstrap(_cv, draws, b),
        _bootstrap(_sd_log, draws, b),
        _bootstrap(_quantile_range, draws, b),
        int(known.sum()),
        int((~known).sum()),
    )


def spread_change(
    before: ArrayLike, after: ArrayLike, rng: np.random.Generator, *, n_boot: int = 1000
) -> _Estimate:
    r"""Did training spread the effective time constants?

    .. math:: \ln \frac{\mathrm{sd}(\ln \tau^{after})}{\mathrm{sd}(\ln \tau^{before})}

    A unit with nan in either is left out of both. It is nan with fewer than 3 units or equal tau.

    >>> before = np.array([0.5, 1.0, 2.0])
    >>> round(spread_change(before, before**2, np.random.default_rng(0)).value, 3)  # ln 2
    0.693
    """
    _, a, b = _known("before", before, "after", after)
    return _bootstrap(_log_sd_ratio, _draws(len(b), rng, n_boot), a, b)


def compare_effective(
    intrinsic: Sequence[Array], effective: Sequence[Array], flags: Sequence[Array], seed: int
) -> EffectiveTau:
    """Effective against intrinsic time constants, before and after training.

    All three are pairs (before, after): time constants in seconds as for `tau_spread`, and warning
    flags of `fit_timescales`. The bootstraps draw the same units, by the seed.
    """
    before, after = effective
    return EffectiveTau(
        before,
        after,
        flag_before=flags[0],
        flag_after=flags[1],
        spread_before=tau_spread(intrinsic[0], before, np.random.default_rng(seed)),
        spread_after=tau_spread(intrinsic[1], after, np.random.default_rng(seed)),
        change=spread_change(before, after, np.random.default_rng(seed)),
    )


def _bootstrap(statistic, draws, *samples) -> _Estimate:
    """The statistic of the samples and the 2.5 and 97.5 % quantiles of it in the draws of units."""
    if len(samples[0]) < 3:
        return _Estimate(np.nan, np.nan, np.nan)
    value = float(statistic(*samples))
    resampled = statistic(*(sample[draws] for sample in samples))
    resampled = resampled[np.isfinite(resampled)]  # a draw of equal units has no correlation
    if not np.isfinite(value) or len(resampled) == 0:
        return _Estimate(np.nan, np.nan, np.nan)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return _Estimate(value, float(low), float(high))


# Each statistic is taken along the last axis, so that all draws are done at once.


def _rank_correlation(a, b):
    a, b = ranks(a), ranks(b)
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    return ratio((a * b).sum(axis=-1), np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1)))


def _cv(tau):
    return tau.std(axis=-1, ddof=1) / tau.mean(axis=-1)


def _sd_log(tau):
    equal = (tau == tau[..., :1]).all(axis=-1)  # where the rounding of their mean would show
    return np.where(equal, 0.0, np.log(tau).std(axis=-1, ddof=1))


def _quantile_range(tau):
    return np.quantile(tau, 0.9, axis=-1) - np.quantile(tau, 0.1, axis=-1)


def _log_sd_ratio(before, after):
    sd = ratio(_sd_log(after), _sd_log(before))
    return np.log(sd, out=np.full(sd.shape, np.nan), where=sd > 0)


def _draws(n: int, rng, n_boot) -> Array:
    n_boot = check_integer("n_boot", n_boot, 1, MOST_BOOTSTRAPS)
    return check_generator(rng).integers(max(n, 1), size=(n_boot, n))


def _known(name0: str, tau0, name1: str, tau1) -> tuple[Array, Array, Array]:
    """Which units have both time constants, and these."""
    taus = [check_array(name, tau, ("N",), finite=False).astype(float)
            for name, tau in ((name0, tau0), (name1, tau1))]  # fmt: skip
    for name, tau in zip((name0, name1), taus):
        check_size(name, tau)
        if (tau <= 0).any() or np.isinf(tau).any():
            raise ValueError(f"{name}: must be positive and finite (seconds), or nan, got {tau}")
    (a, b) = taus
    if a.shape != b.shape:
        raise ValueError(f"{name1}: must have the shape of {name0}, {a.shape}, got {b.shape}")
    known = np.isfinite(a) & np.isfinite(b)
    return known, a[known], b[known]
