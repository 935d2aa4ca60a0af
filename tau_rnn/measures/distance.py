r"""How far an untrained network is from a solution, to first order.

**The linearised distance to a solution** [1]_. To first order a change dW of the recurrent weights
changes the outputs by J dW. With e the errors of the outputs that count, and both e and the rows of
J times the root of their weights, the least change that leaves a fraction q of the squared error is

.. math:: \min_{dW} \|dW\|_F \quad\text{with}\quad \|e - J\, dW\|^2 = q\, \|e\|^2.

Its Lagrangian is that of ridge regression, so that with the tangent kernel K = J J^T

.. math:: dW = J^\top (K + \lambda)^{-1} e, \qquad e - J\,dW = \lambda\,(K + \lambda)^{-1} e

and what is left grows with lambda from the part of e that K cannot reach to all of it: one root
gives lambda. In the eigenvectors of K, with eigenvalues k_i and c_i the components of e,

.. math:: q = \frac{\sum_i c_i^2\, \lambda^2/(k_i + \lambda)^2}{\sum_i c_i^2}, \qquad
          \|dW\|_F^2 = \sum_i \frac{k_i\, c_i^2}{(k_i + \lambda)^2}.

References
----------
.. [1] Jacot, A., Gabriel, F. & Hongler, C. (2018). Neural tangent kernel: convergence and
   generalization in neural networks. NeurIPS 31.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.bptt import backward
from tau_rnn.checks import check_array, check_integer
from tau_rnn.discretisation import DEFAULT_METHOD
from tau_rnn.losses import mse
from tau_rnn.measures._shared import Array, double_params, ratio, weights_of_outputs
from tau_rnn.measures.alignment import tangent_kernel
from tau_rnn.model import forward
from tau_rnn.nonlinearities import Nonlinearity

__all__: list[str] = []

MOST_OUTPUTS = 6000  # of a tangent kernel that is held in memory, 300 MB
_ROUNDING = 1e-10  # below which, relative to the largest, an eigenvalue of a kernel counts as 0


class LinearDistance(NamedTuple):
    """The least change of W, to first order, that leaves some fraction of the squared error.

    Attributes
    ----------
    fractions : (F,) of the squared error that is left
    absolute : (F,) norm of the least change, ||dW||_F; inf where no change leaves so little
    relative : (F,) the same over ||W||_F; nan where that is zero
    reach : the least fraction that any change leaves, to first order
    loss : of the network as it is, weighted mean squared error
    change : (F, N, N) the least changes; nan where there is none
    """

    fractions: Array
    absolute: Array
    relative: Array
    reach: float
    loss: float
    change: Array


def linear_distance(
    params, u, target, mask, dt, *, fractions=(0.1, 0.3), phi: str | Nonlinearity = "tanh",
    method=DEFAULT_METHOD, noise=None,
) -> LinearDistance:  # fmt: skip
    r"""How far is a solution, in the tangent space of the network as it is.

    .. math:: \min_{dW} \|dW\|_F \quad\text{with}\quad
              \sum m\,(y + J\,dW - y^*)^2 = q \sum m\,(y - y^*)^2

    Only W changes; W_in, b, W_out, b_out and tau stay. ``fractions`` are q; the mask is (T, B) or
    (T, B, n_out). With A outputs that count, at most 6000, the kernel takes A^2 N^2 operations and
    its eigenvectors some 10 A^3: 2 s (multi_timescale) to 10 s (integrate_and_remember) for N = 100
    and 16 trials.

    >>> from tau_rnn import init_params
    >>> rng = np.random.default_rng(0)
    >>> params, u = init_params(8, 1, 1, 1.0, rng), rng.standard_normal((20, 4, 1))
    >>> found = linear_distance(params, u, np.ones((20, 4, 1)), np.ones((20, 4)), 0.1)
    >>> bool(found.absolute[0] > found.absolute[1] > 0)  # a tenth of the error costs more
    True
    """
    from scipy.optimize import brentq

    params = double_params("params", params)
    traj = forward(params, check_array("u", u), dt, phi=phi, method=method, noise=noise)
    target = check_array("target", target, traj.y.shape, finite=False).astype(float)
    weights, target = weights_of_outputs(mask, target)
    q = check_array("fractions", fractions, ("F",)).astype(float)
    if (q <= 0).any() or (q >= 1).any():
        raise ValueError(f"fractions: must be above 0 and below 1, got {q}")
    where = np.nonzero(weights)
    check_integer("mask: the number of outputs that count", len(where[0]), 1, MOST_OUTPUTS)
    root = np.sqrt(weights[where])
    e = root * (target - traj.y)[where]
    if not e.any():
        raise ValueError("target: must differ from the outputs of the network")
    kernel = tangent_kernel(params, traj, np.stack(where, axis=1)[:, [1, 0, 2]])
    k, Q = np.linalg.eigh(root[:, np.newaxis] * kernel * root)
    k, c = np.maximum(k, 0), Q.T @ e
    reached = k > _ROUNDING * k[-1]

    def left(log_lam) -> float:
        part = 1 / (1 + k[reached] * np.exp(-log_lam))
        return float((c[~reached] @ c[~reached] + np.square(c[reached] * part).sum()) / (c @ c))

    reach = left(-np.inf) if reached.any() else 1.0
    change = np.full((len(q), *params.W.shape), np.nan)
    for f, fraction in enumerate(q):
        if fraction <= reach:
            continue
        low, high = np.log(k[reached][0]) - 40, np.log(k[-1]) + 40
        lam = np.exp(brentq(lambda x, goal=fraction: left(x) - goal, low, high, xtol=1e-12))
        dy = np.zeros(weights.shape)
        dy[where] = root * (Q[:, reached] @ (c[reached] / (k[reached] + lam)))
        change[f] = backward(params, traj, dy).W  # J^T (K + lambda)^-1 e
    norms = np.linalg.norm(change, axis=(1, 2))
    absolute = np.where(np.isfinite(norms), norms, np.inf)
    loss = mse(traj.y, target, weights)[0]
    relative = ratio(absolute, np.linalg.norm(params.W))
    return LinearDistance(q, absolute, relative, reach, loss, change)
