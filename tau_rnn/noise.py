"""Private noise: a current of its own for each unit, trial and step."""

from __future__ import annotations

import numpy as np

from tau_rnn.discretisation import alpha

Array = np.ndarray


def private_noise(params, dt, sigma, T, B, rng, *, method="euler", out=None) -> Array:
    r"""White noise current, independent for each unit, trial and step.

    .. math:: \eta_i[t] = \sigma \sqrt{2/\alpha_i}\; \xi_i[t], \qquad \xi \sim N(0, 1)

    An isolated unit then has the stationary variance sigma^2 / (1 - alpha_i / 2), about sigma^2
    for *every* tau, so that no distribution of tau is favoured by being noisier or quieter.

    Parameters
    ----------
    params : Params, of which tau and the dtype are used
    dt : time step in seconds
    sigma : standard deviation of the state of an isolated unit, >= 0
    T, B : numbers of time steps and trials
    rng : numpy.random.Generator
    method : as for `forward`
    out : (T, B, N) array of the dtype of tau to fill, or None

    Returns
    -------
    (T, B, N) noise current in the units of x

    Raises
    ------
    ValueError
        If sigma is negative or not finite, or T or B is negative.
    """
    if not (np.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma: must be finite and >= 0, got {sigma}")
    for name, n in (("T", T), ("B", B)):
        if int(n) != n or n < 0:
            raise ValueError(f"{name}: must be a whole number >= 0, got {n}")
    tau = np.asarray(params.tau)
    scale = sigma * np.sqrt(2 / alpha(tau, dt, method))
    dtype = scale.dtype if scale.dtype in (np.float32, np.float64) else np.float64
    noise = rng.standard_normal((T, B, len(tau)), dtype=dtype, out=out)
    noise *= scale
    return noise
