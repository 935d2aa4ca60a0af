r"""How far training moved the weights, and along how many directions.

With :math:`\Delta W = W_1 - W_0` and its singular values :math:`s_1 \ge s_2 \ge \dots`,

.. math::

    \Delta W = \sum_k s_k\, u_k v_k^\top, \qquad
    \text{effective rank} = \frac{(\sum_k s_k^2)^2}{\sum_k s_k^4}

Through a term of rank one the network reads its rates along v_k and writes into its state along
u_k. Where the effective rank is small, what was learned lives in few directions, although training
may change every weight [1]_; how many of them the task needs is what `accuracy_by_rank` asks.

References
----------
.. [1] Schuessler, F., Mastrogiuseppe, F., Dubreuil, A., Ostojic, S. & Barak, O. (2020). The
   interplay between randomness and structure during learning in RNNs. NeurIPS 33.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import check_array, check_integer, check_number
from tau_rnn.measures._shared import Array, pair_of, params_pair, ratio
from tau_rnn.model import Params

__all__ = [
    "ChangeSpectrum",
    "OutlierEigenvalues",
    "WeightChange",
    "outlier_eigenvalues",
    "spectrum_of_change",
    "weight_change",
]

_ENOUGH = 0.95  # of the accuracy at full rank counts as doing the task


class WeightChange(NamedTuple):
    """What `weight_change` returns; a row of W holds what one unit receives.

    Attributes
    ----------
    absolute : norm of the change, ||W1 - W0||_F
    relative : the same over ||W0||_F; nan where W0 is zero (as b and b_out are at the start)
    absolute_per_row : (rows,) norm of the change of each row
    relative_per_row : (rows,) the same over the row's norm in W0; nan where that is zero

    Examples
    --------
    >>> weight_change([[3.0, 0.0], [0.0, 4.0]], [[3.0, 0.0], [0.0, 5.0]]).relative
    0.2
    """

    absolute: float
    relative: float
    absolute_per_row: Array
    relative_per_row: Array


class ChangeSpectrum(NamedTuple):
    """Singular value decomposition of a change of weights, dW = left diag(singular_values) right.

    Attributes
    ----------
    singular_values : (K,) descending, K = min(dW.shape)
    effective_rank : (sum s^2)^2 / sum s^4, between 1 and K; nan where dW is zero
    left : (rows, K) u_k as columns, nan where dW is zero
    right : (K, columns) v_k as rows, nan where dW is zero

    Examples
    --------
    >>> spectrum_of_change(np.zeros((2, 2)), np.diag([3.0, 0.0])).effective_rank
    1.0
    """

    singular_values: Array
    effective_rank: float
    left: Array
    right: Array


class InputOutputOverlap(NamedTuple):
    """Fraction of the squared length of u_k and v_k inside the input and the output space.

    Attributes
    ----------
    left_in, right_in : (k,) of u_k and of v_k in the span of the columns of W_in
    left_out, right_out : (k,) of u_k and of v_k in the span of the rows of W_out
    chance_in, chance_out : expectation for a random direction, rank(W_in)/N and rank(W_out)/N
    """

    left_in: Array
    left_out: Array
    right_in: Array
    right_out: Array
    chance_in: float
    chance_out: float


class OutlierEigenvalues(NamedTuple):
    """Eigenvalues of W outside the disc of the circular law.

    Attributes
    ----------
    radius : beyond which an eigenvalue is an outlier, (1 + margin) ||W0||_F / sqrt(N)
    before, after : complex outliers of W0 and W1, the largest modulus first

    Examples
    --------
    >>> round(outlier_eigenvalues(np.eye(4), 2 * np.eye(4)).radius, 3)
    1.15
    """

    radius: float
    before: Array
    after: Array


class RankCurve(NamedTuple):
    """Accuracy of the trained network with the change of W cut to rank k.

    Attributes
    ----------
    ranks : (n,) tested k, from 0 (W as it was) to N (W as trained)
    accuracy : (n,)
    needed : smallest tested k from which on every accuracy is at least 95 % of the last one; nan
        where the last one is nan
    """

    ranks: Array
    accuracy: Array
    needed: float


def weight_change(W0: ArrayLike, W1: ArrayLike) -> WeightChange:
    r"""Size of the change from W0 to W1.

    .. math:: \|W_1 - W_0\|_F, \qquad \|W_1 - W_0\|_F / \|W_0\|_F

    Parameters
    ----------
    W0, W1 : (rows, ...) arrays of the same shape, before and after training

    Returns
    -------
    WeightChange

    Raises
    ------
    ValueError
        If the shapes differ, an array is empty or a value is not finite or not real.

    Examples
    --------
    >>> change = weight_change([[3.0, 0.0], [0.0, 4.0]], [[3.0, 0.0], [0.0, 5.0]])
    >>> change.absolute, change.relative, change.absolute_per_row.tolist()
    (1.0, 0.2, [0.0, 1.0])
    """
    W0, W1 = pair_of(W0, W1)
    if W0.ndim == 0 or W0.size == 0:
        raise ValueError(f"W0: must have at least one value on an axis, got shape {W0.shape}")
    rows = W0.reshape(len(W0), -1)
    change = (W1 - W0).reshape(len(W0), -1)
    absolute, per_row = np.linalg.norm(change), np.linalg.norm(change, axis=1)
    return WeightChange(
        float(absolute),
        float(ratio(absolute, np.linalg.norm(rows))),
        per_row,
        ratio(per_row, np.linalg.norm(rows, axis=1)),
    )


def weight_change_by_group(params0, params1) -> dict[str, WeightChange]:
    """`weight_change` of each of the seven fields of Params, by name.

    Row i of every field belongs to unit i (of W_out and b_out: to output i).

    >>> from tau_rnn import init_params
    >>> before = init_params(4, 1, 1, 1.0, np.random.default_rng(0))
    >>> weight_change_by_group(before, before._replace(tau=2 * before.tau))["tau"].relative
    1.0
    """
    params0, params1 = params_pair("params0", params0, "params1", params1)
    return {name: weight_change(p0, p1) for name, p0, p1 in zip(Params._fields, params0, params1)}


def spectrum_of_change(W0: ArrayLike, W1: ArrayLike) -> ChangeSpectrum:
    """Singular values, singular vectors and effective rank of W1 - W0 (see this module's head).

    Parameters
    ----------
    W0, W1 : (rows, columns) matrices of the same shape

    Returns
    -------
    ChangeSpectrum. Where W1 = W0 there is no direction of change: the effective rank and all
    singular vectors are nan.

    Raises
    ------
    ValueError
        If the shapes differ, or a value is not finite or not real.

    Examples
    --------
    >>> W = np.zeros((3, 3))
    >>> spectrum = spectrum_of_change(W, W + np.diag([2.0, 2.0, 0.0]))
    >>> spectrum.singular_values.tolist(), spectrum.effective_rank
    ([2.0, 2.0, 0.0], 2.0)
    """
    W0, W1 = pair_of(W0, W1, ("rows", "columns"))
    left, s, right = np.linalg.svd(W1 - W0, full_matrices=False)
    if s[0] == 0:
        return ChangeSpectrum(s, np.nan, np.full_like(left, np.nan), np.full_like(right, np.nan))
    power = (s / s[0]) ** 2  # scaled, so that no fourth power overflows or vanishes
    return ChangeSpectrum(s, float(power.sum() ** 2 / (power**2).sum()), left, right)


def input_output_overlap(spectrum: ChangeSpectrum, W_in, W_out, *, k=5) -> InputOutputOverlap:
    r"""Do the leading directions of the change lie along the inputs and the readout?

    .. math:: \|Q^\top u_k\|^2, \qquad Q \text{ an orthonormal basis of the columns of } W_{in}
              \text{ (or of the rows of } W_{out})

    The leading k directions count. It is nan where the change is zero.

    >>> W_in, W_out = np.eye(3)[:, :1], np.eye(3)[2:]
    >>> spectrum = spectrum_of_change(np.zeros((3, 3)), W_in @ W_out)  # from readout to input
    >>> overlap = input_output_overlap(spectrum, W_in, W_out, k=1)
    >>> overlap.left_in.tolist(), overlap.right_out.tolist(), round(overlap.chance_in, 3)
    ([1.0], [1.0], 0.333)
    """
    from scipy.linalg import orth

    N = len(spectrum.left)
    if spectrum.left.shape != (N, N):
        raise ValueError(
            f"spectrum: must be of a square change of weights, got {spectrum.left.shape}"
        )
    W_in = check_array("W_in", W_in, (N, "n_in")).astype(float)
    W_out = check_array("W_out", W_out, ("n_out", N)).astype(float)
    k = check_integer("k", k, 1, N)
    basis_in, basis_out = orth(W_in), orth(W_out.T)
    u, v = spectrum.left[:, :k], spectrum.right[:k].T
    (left_in, right_in), (left_out, right_out) = (
        [((basis.T @ vectors) ** 2).sum(axis=0) for vectors in (u, v)]
        for basis in (basis_in, basis_out)
    )
    return InputOutputOverlap(
        left_in, left_out, right_in, right_out, basis_in.shape[1] / N, basis_out.shape[1] / N
    )


def outlier_eigenvalues(
    W0: ArrayLike, W1: ArrayLike, *, margin: float = 0.15
) -> OutlierEigenvalues:
    r"""Eigenvalues of W0 and W1 outside the disc that a random matrix fills.

    Independent entries of variance g^2/N have their eigenvalues in the disc of radius g (circular
    law); :math:`\|W_0\|_F/\sqrt N` estimates g. A low-rank change adds single eigenvalues outside
    it [1]_. The edge of the disc is not sharp: of 2000 Gaussian matrices with N = 100, 10 % had an
    eigenvalue beyond 1.1 times the estimate, and 1.4 % beyond 1.15 times, the default.

    Parameters
    ----------
    W0, W1 : (N, N) recurrent weights before and after training
    margin : how far beyond the estimated g, as a fraction of it, an outlier begins

    Returns
    -------
    OutlierEigenvalues

    Raises
    ------
    ValueError
        If the shapes differ or are not square, or margin is negative or not finite.

    References
    ----------
    .. [1] Mastrogiuseppe, F. & Ostojic, S. (2018). Linking connectivity, dynamics, and computations
       in low-rank recurrent neural networks. Neuron 99, 609-623.

    Examples
    --------
    >>> outlier_eigenvalues(np.eye(4), np.diag([3.0, 1.0, 1.0, 1.0])).after.tolist()
    [(3+0j)]
    """
    W0, W1 = pair_of(W0, W1, ("rows", "columns"))
    N = len(W0)
    if W0.shape != (N, N):
        raise ValueError(f"W0: must be square, got shape {W0.shape}")
    margin = check_number("margin", margin, least=0)
    radius = (1 + margin) * np.linalg.norm(W0) / np.sqrt(N)
    outside = []
    for values in np.linalg.eigvals([W0, W1]).astype(complex):
        values = values[np.abs(values) > radius]
        outside.append(values[np.argsort(-np.abs(values), kind="stable")])
    return OutlierEigenvalues(float(radius), *outside)


def with_changes_of_rank(W0, W1, ranks) -> Iterator[Array]:
    """W0 plus the best approximation of W1 - W0 of each rank (its leading singular terms)."""
    W0, W1 = pair_of(W0, W1, ("rows", "columns"))
    left, s, right = np.linalg.svd(W1 - W0, full_matrices=False)
    for rank in ranks:
        k = check_integer("rank", rank, 0, min(W0.shape))
        yield W0 + (left[:, :k] * s[:k]) @ right[:k]


def accuracy_by_rank(params0, params1, score: Callable[[Params], float], ranks=None) -> RankCurve:
    """How many directions of the recurrent change does the task need?

    The trained network is scored with its recurrent weights set to W0 plus the rank-k part of the
    change; all its other parameters are as trained.

    ``score`` is a function of Params, see `tau_rnn.measures.accuracy_on`: one simulation for each
    rank, by default 0-10, 12, 15, 20, 30, 50, ... and N.

    >>> from tau_rnn import init_params
    >>> before = init_params(4, 1, 1, 1.0, np.random.default_rng(0))
    >>> after = before._replace(W=before.W + np.diag([4.0, 3.0, 2.0, 1.0]))
    >>> def score(params):  # in place of an accuracy: is the second direction there?
    ...     return float(params.W[1, 1] - before.W[1, 1] > 2.9)
    >>> accuracy_by_rank(before, after, score).needed
    2.0
    """
    params0, params1 = params_pair("params0", params0, "params1", params1)
    N = len(params0.b)
    if ranks is None:
        coarse = (m * 10**e for e in range(1, 9) for m in (1.2, 1.5, 2, 3, 5, 7, 10))
        ranks = [k for k in (*range(11), *map(int, coarse)) if k < N]
    ranks = np.asarray(ranks) if np.size(ranks) else np.empty(0, int)
    ranks = np.unique(np.append(ranks, N))
    if ranks.dtype.kind not in "iu" or ranks[0] < 0 or ranks[-1] > N:
        raise ValueError(f"ranks: must be integers from 0 to N = {N}, got {ranks}")
    cut = with_changes_of_rank(params0.W, params1.W, ranks)
    accuracy = np.array([score(params1._replace(W=W)) for W in cut], dtype=float)
    enough = accuracy >= _ENOUGH * accuracy[-1]
    # From the end backwards: the length of the unbroken run of ranks that suffice.
    run = np.argmin(np.append(enough[::-1], False))
    return RankCurve(ranks, accuracy, float(ranks[-run]) if run else np.nan)
