r"""Private noise: a current of its own for each unit, trial and step.

Drawing normal numbers one by one (a ziggurat) can cost nearly as much as all else in a training
step. A simulation in steps needs less than that: only the distribution of many small increments
matters, and for Euler's method weak convergence holds for *any* independent increments with the
first moments of the normal ones, even for plus or minus one (Kloeden & Platen, Numerical Solution
of Stochastic Differential Equations, 1992, section 14.1). Here xi takes 65536 values, so close to
normal that a Kolmogorov-Smirnov test at the 5 % level would need 2e10 draws to see a difference,
and each draw is 16 random bits that look one of them up.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import (
    check_array,
    check_buffer,
    check_fits,
    check_generator,
    check_integer,
    check_number,
    shown,
)
from tau_rnn.discretisation import DEFAULT_METHOD, alpha

__all__ = ["noise_scale", "private_noise"]

Array = np.ndarray

#: Numbers drawn at once: few enough to stay in the cache while they are looked up and scaled.
CHUNK = 2**16


@cache
def normal_table(dtype=np.float64) -> Array:
    r"""The standard normal distribution in 65536 equally likely values, read-only.

    Cut the normal distribution into K = 65536 slices of probability 1/K at the quantiles
    :math:`q_k = \Phi^{-1}(k/K)`. Each slice is replaced by its mean,

    .. math:: z_k = K \int_{q_k}^{q_{k+1}} z\, \varphi(z)\, dz
                  = K\,(\varphi(q_k) - \varphi(q_{k+1})), \qquad k = 0 \dots K-1

    and all are scaled by 1 + 7.4e-7 so that the variance is 1 exactly.

    Mean and all odd moments are 0, the excess kurtosis is -1.7e-4, the largest value is 4.39, and
    the distribution function is within 9.6e-6 of the normal one everywhere.

    Returns
    -------
    (65536,) increasing values
    """
    table = _slice_means().astype(dtype)
    table.flags.writeable = False
    return table


@cache
def _slice_means() -> Array:
    """The values of `normal_table` in double precision."""
    from statistics import NormalDist

    K, normal = 2**16, NormalDist()
    cuts = np.array([normal.inv_cdf(k / K) for k in range(1, K)])
    density = np.exp(-0.5 * cuts**2) / np.sqrt(2 * np.pi)
    z = -K * np.diff(density, prepend=0, append=0)
    z = (z - z[::-1]) / 2  # the two halves mirror each other to the last bit
    return z / np.sqrt(np.mean(z**2))


def noise_scale(tau: ArrayLike, dt: float, method: str = DEFAULT_METHOD) -> Array:
    r"""Size of the noise current that gives an isolated unit the standard deviation 1 (Eq. 1.9).

    .. math:: s(\alpha) = \sqrt{\frac{2 - \alpha}{\alpha}}, \qquad
              \frac{d \ln s}{d\alpha} = -\frac{1}{\alpha\,(2 - \alpha)}

    An isolated unit that is driven by s times white noise xi of variance 1 has
    ``x[t+1] = (1 - alpha) x[t] + alpha s xi[t]``. Its variance v no longer changes when::

        v = (1 - alpha)^2 v + alpha^2 s^2,   so   v = alpha^2 s^2 / (alpha (2 - alpha)) = 1

    for every tau and dt and for both methods, which differ in alpha alone.

    Parameters
    ----------
    tau : (N,) time constants in seconds
    dt : time step in seconds
    method : as for `forward`

    Returns
    -------
    (N,) array in the dtype of tau

    Examples
    --------
    >>> noise_scale([0.1, 1.0], 0.1, method="euler")  # sqrt(1 / 1) and sqrt(1.9 / 0.1)
    array([1.        , 4.35889894])
    """
    a = alpha(tau, dt, method)
    return np.sqrt((2 - a) / a)


def private_noise(
    params: Any, dt: float, sigma: float, T: int, B: int, rng: np.random.Generator, *,
    method: str = DEFAULT_METHOD, out: Array | None = None,
) -> Array:  # fmt: skip
    r"""White noise current, independent for each unit, trial and step (Eq. 1.9).

    .. math:: \eta_i[t] = \sigma \sqrt{\frac{2 - \alpha_i}{\alpha_i}}\; \xi_i[t],
              \qquad \xi \sim N(0, 1)

    The state of an isolated unit then has the stationary standard deviation sigma, exactly, for
    every tau, dt and method (derived in `noise_scale`), so that no distribution of tau is favoured
    by being noisier or quieter. The current depends on tau, which matters where tau is trained:
    see ``noise_follows_tau`` of `tau_rnn.bptt.backward`.

    xi takes the 65536 equally likely values of `normal_table`: its variance is 1 exactly and it is
    never beyond 4.39. Drawing took 0.22 to 0.45 of the time of ``rng.standard_normal``, less
    for larger arrays.

    Parameters
    ----------
    params : Params, or a mapping with its fields, of which tau and its dtype are used
    dt : time step in seconds
    sigma : standard deviation of the state of an isolated unit, >= 0
    T, B : numbers of time steps and trials
    rng : numpy.random.Generator, which alone decides the numbers
    method : as for `forward`
    out : contiguous (T, B, N) array of the dtype of tau to fill, or None

    Returns
    -------
    (T, B, N) noise current in the units of x

    Raises
    ------
    ValueError
        If sigma is negative or not finite, T or B is negative, rng is no Generator, or out does
        not fit.

    Examples
    --------
    An isolated unit that is driven by it has the standard deviation sigma, whatever its tau:

    >>> from tau_rnn import forward, init_params
    >>> params = init_params(2, 1, 1, [0.1, 1.0], np.random.default_rng(0), gain=0)
    >>> noise = private_noise(params, 0.05, 0.2, 400, 200, np.random.default_rng(1))
    >>> traj = forward(params, np.zeros((400, 200, 1)), 0.05, noise=noise)
    >>> traj.x[-100:].std(axis=(0, 1)).round(1)
    array([0.2, 0.2])
    """
    # A Python float: a NumPy number would decide the dtype.
    sigma = check_number("sigma", sigma, least=0)
    tau = params.get("tau") if isinstance(params, Mapping) else getattr(params, "tau", None)
    if tau is None:
        raise ValueError(f"params: must be a Params or have a tau, got {shown(params)}")
    tau = check_array("tau", tau, ("N",), may_be_complex=True)
    T, B = check_integer("T", T, 0), check_integer("B", B, 0)
    check_fits(T=T, B=B, N=len(tau))
    check_generator(rng)
    scale = sigma * noise_scale(tau, dt, method)
    dtype = scale.dtype if scale.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    return standard_noise((T, B, len(scale)), dtype, rng, scale.real.astype(dtype), out=out)


def standard_noise(shape, dtype, rng, scale: ArrayLike = 1.0, *, out=None) -> Array:
    """Draw xi of `private_noise`: independent, variance 1, times a scale for each unit.

    Parameters
    ----------
    shape : (T, B, N)
    dtype : float32 or float64
    rng : numpy.random.Generator
    scale : number, or (N,) array of the dtype
    out : contiguous array of this shape and dtype to fill, or None

    Returns
    -------
    (T, B, N) array
    """
    noise = check_buffer("out:", out, shape, dtype)
    xi = normal_table(np.dtype(dtype).name)
    steps = max(1, CHUNK // max(1, shape[1] * shape[2]))
    for start in range(0, shape[0], steps):
        part = noise[start : start + steps]
        # Four draws of 16 bits from each 64-bit number. mode="clip" only spares a copy: no index
        # of 16 bits is out of range.
        bits = rng.integers(2**64, size=-(-part.size // 4), dtype=np.uint64).view(np.uint16)
        np.take(xi, bits[: part.size].reshape(part.shape), out=part, mode="clip")
        part *= scale
    return noise
