r"""What the rates say about a remembered quantity, moment by moment, in slow and in fast units.

At each time a linear decoder is fitted by ridge regression to the rates of some trials and asked
about the others (cross-validation). With centred rates X = U S V^T and targets y of n trials,

.. math:: \hat y = \bar y + X_{new} V \frac{S}{S^2 + \lambda} U^\top (y - \bar y)

and lambda is the one, of a grid, with the smallest leave-one-out error of the training trials,
which needs no further fit [1]_:

.. math:: e^{loo}_i = \frac{y_i - \hat y_i}{1 - h_i}, \qquad
          h_i = \frac1n + \sum_k U_{ik}^2 \frac{s_k^2}{s_k^2 + \lambda}

References
----------
.. [1] Allen, D. M. (1974). The relationship between variable selection and data augmentation and a
   method for prediction. Technometrics 16, 125-127.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tau_rnn.checks import check_generator, check_integer
from tau_rnn.measures.checking import (
    Array,
    fast_to_slow,
    fraction_of,
    ratio,
    real_array,
)

#: Ridge penalties, relative to the mean of the squared singular values of the rates.
PENALTIES = tuple(10.0**e for e in range(-6, 3))


class DecodingByTau(NamedTuple):
    """Cross-validated R^2 of the quantities over time, from groups of equally many units.

    Attributes
    ----------
    slow, fast : (time, Q) from the slowest and the fastest units; nan where all share one tau
    random : (n_random, time, Q) from as many units drawn at random
    every : (time, Q) from all units
    n_units : units in each of the groups slow, fast and random
    """

    slow: Array
    fast: Array
    random: Array
    every: Array
    n_units: int


def decode(rates, targets, rng, *, n_folds=5, penalties=PENALTIES) -> Array:
    r"""Cross-validated R^2 of a linear decoder at each time (see this module's head).

    .. math:: R^2 = 1 - \frac{\sum_i (y_i - \hat y_i)^2}{\sum_i (y_i - \bar y)^2}

    with each trial predicted by a decoder that was not fitted to it: 1 at best, about 0 or a
    little below where the rates say nothing.

    Parameters
    ----------
    rates : (time, trials, units)
    targets : (trials,) or (trials, Q) quantities to decode
    rng : numpy.random.Generator, which deals the trials into folds
    n_folds : number of folds, from 2 to trials / 2
    penalties : ridge penalties to choose from, > 0, relative to the mean squared singular value

    Returns
    -------
    (time,) or (time, Q) R^2; nan where a target is the same in all trials, and at times at which
    no rate differs between trials (as at the start of a trial)

    Raises
    ------
    ValueError
        If a shape does not fit, a value is not finite or not real, or an option is out of range.

    Notes
    -----
    The cost is n_folds singular value decompositions (trials, units) for each time.
    """
    rates = real_array("rates", rates, ndim=3)
    T, B, n = rates.shape
    targets = real_array("targets", targets)
    if targets.ndim > 2 or len(targets) != B:
        raise ValueError(
            f"targets: must be (trials,) or (trials, Q) with {B} trials, got {targets.shape}"
        )
    n_folds = check_integer("n_folds", n_folds, 2)
    if 2 * n_folds > B:
        raise ValueError(f"n_folds: must be at most trials / 2 = {B / 2:g}, got {n_folds}")
    penalties = real_array("penalties", penalties, ndim=1)
    if (penalties <= 0).any():
        raise ValueError(f"penalties: must be > 0, got {penalties}")
    y = targets.reshape(B, -1)
    predicted = np.empty((T, *y.shape))
    fold_of = check_generator(rng).permutation(B) % n_folds
    for fold in range(n_folds):
        train, test = fold_of != fold, fold_of == fold
        predicted[:, test] = _ridge(rates[:, train], y[train], rates[:, test], penalties)
    error = ((y - predicted) ** 2).sum(axis=1)
    varies = (y != y[0]).any(axis=0)
    total = np.where(varies, ((y - y.mean(axis=0)) ** 2).sum(axis=0), 0)
    score = 1 - ratio(error, total)
    score[(rates == rates[:, :1]).all(axis=(1, 2))] = np.nan
    return score[:, 0] if targets.ndim == 1 else score


def _ridge(X, y, X_new, penalties) -> Array:
    """Predictions (T, new trials, Q) from X (T, trials, units) and y (trials, Q)."""
    X_mean, y_mean = X.mean(axis=1, keepdims=True), y.mean(axis=0)
    U, s, Vt = np.linalg.svd(X - X_mean, full_matrices=False)
    along = np.swapaxes(U, 1, 2) @ (y - y_mean)  # (T, k, Q)
    best = np.full((len(X), 1, y.shape[1]), np.inf)
    weights = np.zeros_like(along)
    for penalty in penalties:
        lam = penalty * (s**2).mean(axis=1, keepdims=True)
        shrink = np.nan_to_num(ratio(s**2, s**2 + lam))[:, :, np.newaxis]  # (T, k, 1)
        leverage = 1 / len(y) + U**2 @ shrink
        residual = y - y_mean - U @ (shrink * along)
        # A leverage of 1 leaves no residual; such a fit predicts nothing and must not win.
        loo = np.where(leverage < 1 - 1e-9, residual / np.maximum(1 - leverage, 1e-9), np.inf)
        loo = (loo**2).mean(axis=1, keepdims=True)
        better = loo < best
        best = np.where(better, loo, best)
        weights = np.where(better, np.nan_to_num(ratio(1, s))[:, :, None] * shrink * along, weights)
    return y_mean + ((X_new - X_mean) @ np.swapaxes(Vt, 1, 2)) @ weights


def decode_by_tau(
    rates, targets, tau, rng, *, fraction=0.5, n_random=3, n_folds=5
) -> DecodingByTau:
    """`decode` from the slowest units, the fastest, random ones, and all.

    Groups have equally many units, since more units decode better whatever their tau.

    Parameters
    ----------
    rates : (time, trials, units)
    targets : (trials, Q) or (trials,) quantities to decode
    tau : (units,) what slow and fast mean, in seconds
    rng : numpy.random.Generator, for folds (the same for all groups), random groups, and the
        order of units that share a tau
    fraction : of the units in each group, in (0, 1]
    n_random : number of random groups
    n_folds : see `decode`

    Returns
    -------
    DecodingByTau

    Raises
    ------
    ValueError
        As `decode`, and if tau does not fit or fraction or n_random is out of range.
    """
    rates, targets = real_array("rates", rates, ndim=3), real_array("targets", targets)
    tau = real_array("tau", tau, ndim=1)
    N = rates.shape[2]
    if len(tau) != N:
        raise ValueError(f"tau: must be (units,) = ({N},), got shape {tau.shape}")
    n = max(1, round(fraction_of("fraction", fraction) * N))
    n_random, rng = check_integer("n_random", n_random, 1), check_generator(rng)
    y = targets.reshape(len(targets), -1)
    fold_seed = int(rng.integers(2**63))

    def r2(units):
        return decode(rates[:, :, units], y, np.random.default_rng(fold_seed), n_folds=n_folds)

    order = fast_to_slow(tau, rng)
    random = np.array([r2(rng.permutation(N)[:n]) for _ in range(n_random)])
    every = r2(np.arange(N))
    if (tau == tau[0]).all():
        slow = fast = np.full(every.shape, np.nan)
    else:
        slow, fast = r2(order[N - n :]), r2(order[:n])
    return DecodingByTau(slow, fast, random, every, n)


def aligned(values, starts, length) -> Array:
    """Cut a stretch out of each trial: values[starts[b] + k, b] for k = 0 .. length - 1.

    Parameters
    ----------
    values : (time, trials, ...)
    starts : (trials,) whole numbers, the step at which each trial's stretch begins
    length : number of steps

    Returns
    -------
    (length, trials, ...)

    Raises
    ------
    ValueError
        If a stretch leaves the array.
    """
    values, starts = np.asarray(values), np.asarray(starts)
    length = check_integer("length", length, 1)
    if values.ndim < 2 or starts.shape != values.shape[1:2] or starts.dtype.kind not in "iu":
        raise ValueError(
            f"starts: must be whole numbers, one for each trial of values {values.shape}, "
            f"got {starts.dtype} of shape {starts.shape}"
        )
    if starts.min() < 0 or starts.max() + length > len(values):
        raise ValueError(
            f"starts: steps {starts.min()} to {starts.max() + length - 1} are needed, "
            f"and values has {len(values)}"
        )
    return values[starts + np.arange(length)[:, np.newaxis], np.arange(len(starts))]
