"""Adam, SGD, and the clipping of gradients, on one flat vector theta of all that is trained.

Adam (Kingma & Ba 2015), with gradient g and step k = 1, 2, and so on::

    m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
    theta <- theta - lr * m / (1 - beta1^k) / (sqrt(v / (1 - beta2^k)) + eps)

SGD with momentum::

    m <- momentum m + g                   theta <- theta - lr * m
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["update"]


def largest_of(vector) -> float:
    """The largest absolute value; nan where there is one."""
    return max(float(vector.max()), -float(vector.min()))


def norm_of(vector) -> float:
    """The Euclidean norm, even where the squares would overflow or vanish."""
    largest = largest_of(vector)
    if not 0 < largest < np.inf:
        return largest
    scaled = vector / largest
    return largest * float(np.sqrt(scaled @ scaled))


def clip_to(vector, norm: float, longest: float) -> None:
    """Scale a vector to a norm in place; in double precision, where 1 / norm is a normal number."""
    np.multiply(vector, longest / norm, out=vector, dtype=np.float64, casting="same_kind")


def update(
    theta: np.ndarray, gradient: np.ndarray, moments: np.ndarray, step: int, rates: Any,
    settings: Any,
) -> None:  # fmt: skip
    """One update of theta and of the moments, in place: the equations at the head of the module.

    Parameters
    ----------
    theta : (n,) what is trained
    gradient : (n,) of the loss
    moments : (2, n) m and v of Adam; of SGD, the velocity and zeros
    step : which one, from 1
    rates : learning rate, or (n,) one for each element
    settings : `tau_rnn.training.TrainConfig`, whose optimizer and its constants are used

    Examples
    --------
    >>> from tau_rnn.training import TrainConfig
    >>> theta, moments = np.zeros(2), np.zeros((2, 2))
    >>> update(theta, np.array([1.0, -2.0]), moments, 1, 0.1, TrainConfig())
    >>> theta.round(6)  # Adam's first step is lr times the sign
    array([-0.1,  0.1])
    """
    m, v = moments
    if settings.optimizer == "sgd":
        m *= settings.momentum
        m += gradient
        theta -= (rates * m).astype(theta.dtype, copy=False)
        return
    beta1, beta2 = settings.beta1, settings.beta2
    m *= beta1
    m += (1 - beta1) * gradient
    v *= beta2
    v += (1 - beta2) * gradient * gradient
    root = v / (1 - beta2**step)
    np.sqrt(root, out=root)  # in place: new memory costs more than the root
    root += settings.eps
    theta -= (rates * (m / (1 - beta1**step)) / root).astype(theta.dtype, copy=False)
