"""From continuous time to steps: how far each unit moves in one step, and its slope in tau."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import check_array, check_dt, nearest

__all__ = ["METHODS", "alpha", "alpha_slope"]

Array = np.ndarray
#: How a time step is taken: its ``alpha``, in `alpha`.
METHODS = ("euler", "exponential")
#: The default wherever a function takes a method: exact for the leak, and stable for every dt.
DEFAULT_METHOD = "exponential"


def alpha(tau: ArrayLike, dt: float, method: str = DEFAULT_METHOD) -> Array:
    r"""Fraction of the way to its input that each unit moves in one step (Eqs. 1.5 and 1.6).

    .. math:: \alpha_i = dt/\tau_i \;\text{(euler)}, \qquad
              \alpha_i = 1 - e^{-dt/\tau_i} \;\text{(exponential)}

    Parameters
    ----------
    tau : (N,) time constants in seconds, > 0
    dt : time step in seconds, > 0
    method : "euler" or "exponential"

    Returns
    -------
    (N,) array in the dtype of tau

    Raises
    ------
    ValueError
        If tau or dt is not positive and finite, the method is unknown, or an Euler step has
        alpha > 2, where even an isolated unit diverges since abs(1 - alpha) > 1.

    Warns
    -----
    RuntimeWarning
        If an Euler step has dt > min(tau) / 2.

    Examples
    --------
    >>> alpha([0.1, 1.0], 0.05, "euler")
    array([0.5 , 0.05])
    >>> alpha([0.1, 1.0], 0.05).round(4)
    array([0.3935, 0.0488])
    """
    dt = check_dt(dt)
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"method: unknown method {method!r}; {nearest(method, METHODS)}")
    tau = check_array("tau", tau, may_be_complex=True, finite=False)
    if not np.issubdtype(tau.dtype, np.inexact):
        tau = tau.astype(float)
    # Comparing the real part keeps the complex step usable through tau.
    if not (np.isfinite(tau).all() and (np.real(tau) > 0).all()):
        raise ValueError(
            f"tau: every time constant must be positive and finite (seconds), got {tau}"
        )
    if method == "euler":
        a = dt / tau
        if tau.size and np.real(a).max() > 2:
            raise ValueError(
                f"dt: an Euler step of {dt:g} s is unstable for tau = {np.real(tau).min():g} s "
                "(alpha = dt/tau > 2); use dt <= min(tau)/2 or method='exponential'"
            )
        if tau.size and np.real(a).max() > 0.5:
            warnings.warn(
                f"dt = {dt:g} s is more than half of the shortest tau = {np.real(tau).min():g} s: "
                "Euler steps are inaccurate there; use a smaller dt or method='exponential'",
                RuntimeWarning,
                stacklevel=3,
            )
        return a
    return -np.expm1(-dt / tau)


def alpha_slope(tau: Array, a: Array, dt: float, method: str) -> Array:
    """dalpha/dtau: -alpha/tau (Euler), -(1 - alpha) dt/tau^2 (exponential), Eq. 3.12.

    1 - alpha is computed as e^(-dt/tau): the difference would have no digits left where dt >> tau.

    Parameters
    ----------
    tau : (N,) time constants in seconds
    a : (N,) their alpha
    dt : time step in seconds
    method : "euler" or "exponential", the one of alpha

    Returns
    -------
    (N,) slopes in 1/s, all negative: a slower unit moves less

    Examples
    --------
    >>> tau = np.array([0.1, 1.0])
    >>> alpha_slope(tau, alpha(tau, 0.05, "euler"), 0.05, "euler")
    array([-5.  , -0.05])
    """
    return -a / tau if method == "euler" else -np.exp(-dt / tau) * float(dt) / tau**2
