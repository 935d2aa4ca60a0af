r"""What the rates say about a remembered quantity, moment by moment, in slow and in fast units.

At each time a linear decoder is fitted by ridge regression to the rates of some trials and tested
on the others (cross-validation). With centred rates X = U S V^T and targets y of n trials,

.. math:: \hat y = \bar y + X_{new} V \frac{S}{S^2 + \lambda} U^\top (y - \bar y)

and lambda is the value on a grid with the smallest leave-one-out error over the training trials,
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
from numpy.typing import ArrayLike

from tau_rnn.checks import check_array, check_generator, check_integer, check_number
from tau_rnn.measures._shared import MOST_DRAWS, Array, fast_to_slow, ratio
from tau_rnn.model import forward

__all__ = ["DecodingByTau", "decode", "decode_by_tau"]

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

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rates = rng.standard_normal((3, 60, 4))
    >>> found = decode_by_tau(rates, rates[0, :, 3], [0.1, 0.2, 1.0, 2.0], rng, n_random=5)
    >>> found.slow.shape, found.random.shape, found.n_units
    ((3, 1), (5, 3, 1), 2)
    """

    slow: Array
    fast: Array
    random: Array
    every: Array
    n_units: int


def decode(
    rates: ArrayLike, targets: ArrayLike, rng: np.random.Generator, *, n_folds: int = 5,
    penalties: ArrayLike = PENALTIES,
) -> Array:  # fmt: skip
    r"""Cross-validated R^2 of a linear decoder at each time (see this module's head).

    .. math:: R^2 = 1 - \frac{\sum_i (y_i - \hat y_i)^2}{\sum_i (y_i - \bar y)^2}

    with each trial predicted by a decoder that was not fitted to it: 1 at best, about 0 or a
    little below where the rates say nothing.

    Parameters
    ----------
    rates : (time, trials, units)
    targets : (trials,) or (trials, Q) quantities to decode
    rng : numpy.random.Generator, which assigns the trials to folds
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
    The cost is that of the eigenvalues of n_folds matrices for each time, (units, units) or
    (trials, trials), whichever are smaller.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rates = rng.standard_normal((2, 100, 5))  # (time, trials, units)
    >>> remembered = rates[1, :, 3]  # it is there at the second time alone
    >>> r2 = decode(rates, remembered, rng)
    >>> bool(r2[0] < 0.1), bool(r2[1] > 0.999)
    (True, True)
    """
    rates, y = _checked(rates, targets)
    penalties = check_penalties(penalties)
    everyone = np.arange(rates.shape[2])
    (score,) = _scores(rates, y, [everyone], check_generator(rng), n_folds, penalties)
    return score[:, 0] if np.ndim(targets) == 1 else score


def check_penalties(penalties) -> Array:
    """The penalties (P,) of a ridge regression; a ValueError unless all are positive."""
    penalties = check_array("penalties", penalties, ("P",)).astype(float)
    if (penalties <= 0).any():
        raise ValueError(f"penalties: must be > 0, got {penalties}")
    return penalties


def _checked(rates, targets) -> tuple[Array, Array]:
    """Rates (T, B, units) and targets (B, Q) in double precision."""
    rates = check_array("rates", rates, ("time", "trials", "units")).astype(float)
    y = check_array("targets", targets)
    B = rates.shape[1]
    if y.ndim not in (1, 2) or len(y) != B or y.size == 0:
        raise ValueError(
            f"targets: must be (trials,) or (trials, Q) with {B} trials, got {y.shape}"
        )
    return rates, y.reshape(B, -1).astype(float)


def _scores(rates, y, groups, rng, n_folds, penalties) -> list[Array]:
    """Cross-validated R^2 (T, Q) from each group of units, all in the same folds."""
    n_folds = check_integer("n_folds", n_folds, 2)
    if 2 * n_folds > len(y):
        raise ValueError(f"n_folds: must be at most trials / 2 = {len(y) / 2:g}, got {n_folds}")
    fold_of = rng.permutation(len(y)) % n_folds
    predicted = [np.empty((len(rates), *y.shape)) for _ in groups]
    for fold in range(n_folds):
        train, test = fold_of != fold, fold_of == fold
        X, y_train, y_mean = rates[:, train], y[train], y[train].mean(axis=0)
        X_mean = X.mean(axis=1, keepdims=True)
        X, X_new = X - X_mean, rates[:, test] - X_mean
        for units, y_new in zip(groups, predicted):
            w = _ridge(X[:, :, units], y_train - y_mean, penalties)
            y_new[:, test] = y_mean + X_new[:, :, units] @ w
    varies = (y != y[0]).any(axis=0)
    total = np.where(varies, ((y - y.mean(axis=0)) ** 2).sum(axis=0), 0)
    scores = [1 - ratio(((y - each) ** 2).sum(axis=1), total) for each in predicted]
    for units, score in zip(groups, scores):
        score[(rates[:, :, units] == rates[:, :1, units]).all(axis=(1, 2))] = np.nan
    return scores


def _ridge(X, y, penalties) -> Array:
    """Weights (T, units, Q) for centred X (T, trials, units) and y (trials, Q).

    Those of the penalty of least leave-one-out error, for each time and quantity.
    """
    s2, V = _modes(X)
    Z = X @ V  # (T, trials, k), U S of the head of this module
    (T, n, k), Q = Z.shape, y.shape[1]
    lam = penalties * s2.mean(axis=1)[:, np.newaxis]  # (T, P)
    filters = np.nan_to_num(ratio(1, s2[:, :, np.newaxis] + lam[:, np.newaxis]))  # (T, k, P)
    along = np.swapaxes(Z, 1, 2) @ y  # (T, k, Q)
    fits = filters[..., np.newaxis] * along[:, :, np.newaxis]  # (T, k, P, Q)
    loo = (Z @ fits.reshape(T, k, -1)).reshape(T, n, -1, Q)
    loo -= y[:, np.newaxis]
    left = 1 - 1 / n - Z**2 @ filters  # 1 - leverage, (T, trials, P)
    loo /= np.maximum(left, 1e-9)[..., np.newaxis]
    error = np.square(loo, out=loo).sum(axis=1)  # (T, P, Q)
    # A leverage of 1 leaves no residual; such a fit predicts nothing and must not win.
    error[(left < 1e-9).any(axis=1)] = np.inf
    best = error.argmin(axis=1)  # (T, Q)
    return V @ np.take_along_axis(fits, best[:, np.newaxis, np.newaxis], axis=2)[:, :, 0]


def _modes(X) -> tuple[Array, Array]:
    """Squared singular values (T, k) and right singular vectors (T, units, k) of X.

    They are the eigenvalues and eigenvectors of the smaller of the Gram matrices X^T X and X X^T.
    That squares the condition number, which no penalty >= 1e-6 of the mean can tell: values below
    1e-16 of the largest are lost.
    """
    Xt = np.swapaxes(X, 1, 2)
    if X.shape[2] <= X.shape[1]:
        return np.linalg.eigh(Xt @ X)
    s2, U = np.linalg.eigh(X @ Xt)
    s2 = np.maximum(s2, 0)
    return s2, (Xt @ U) * np.nan_to_num(ratio(1, np.sqrt(s2)))[:, np.newaxis]


def decode_by_tau(
    rates: ArrayLike, targets: ArrayLike, tau: ArrayLike, rng: np.random.Generator, *,
    fraction: float = 0.5, n_random: int = 3, n_folds: int = 5,
) -> DecodingByTau:  # fmt: skip
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

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rates, tau = rng.standard_normal((1, 100, 4)), [0.1, 0.2, 1.0, 2.0]
    >>> found = decode_by_tau(rates, rates[0, :, 3], tau, rng)  # what the slowest unit says
    >>> bool(found.slow[0, 0] > 0.999), bool(found.fast[0, 0] < 0.1), found.n_units
    (True, True, 2)
    """
    rates, y = _checked(rates, targets)
    N = rates.shape[2]
    tau = check_array("tau", tau, (N,))
    n = max(1, round(check_number("fraction", fraction, above=0, most=1) * N))
    n_random = check_integer("n_random", n_random, 1, MOST_DRAWS)
    rng = check_generator(rng)
    fold_rng = np.random.default_rng(int(rng.integers(2**63)))
    order = fast_to_slow(tau, rng)
    groups = [rng.permutation(N)[:n] for _ in range(n_random)] + [np.arange(N)]
    differ = (tau != tau[0]).any()
    if differ:
        groups += [order[N - n :], order[:n]]
    scores = _scores(rates, y, groups, fold_rng, n_folds, np.array(PENALTIES))
    every = scores[n_random]
    slow, fast = scores[n_random + 1 :] if differ else (np.full(every.shape, np.nan),) * 2
    return DecodingByTau(slow, fast, np.array(scores[:n_random]), every, n)


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

    Examples
    --------
    >>> values = np.arange(10).reshape(5, 2)  # two trials of five steps
    >>> aligned(values, [0, 3], 2)
    array([[0, 7],
           [2, 9]])
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


class Decoding(NamedTuple):
    """Cross-validated R^2 of the remembered quantities over time, before and after training.

    Attributes
    ----------
    quantities : (Q,) names
    stimulus : duration of the stimulus in seconds: later times are memory
    time : (n,) seconds from the start of the stimulus to the end of the shortest delay
    before, after : on that time axis
    go_time : (m,) seconds from the go to the end of the response
    go_before, go_after : on that time axis, each trial aligned to its own go
    """

    quantities: tuple[str, ...]
    stimulus: float
    time: Array
    before: DecodingByTau
    after: DecodingByTau
    go_time: Array
    go_before: DecodingByTau
    go_after: DecodingByTau


def decode_epochs(params, task, trials, noise, seed, run) -> list[tuple[Array, DecodingByTau]]:
    """Times and decoding of what a network remembers: from the stimulus on, and from the go on."""
    r = forward(params, trials.u, task.dt, noise=noise, **run).r[1:]
    targets = np.stack([getattr(trials.labels, name) for name in task.remembered], axis=1)
    stride, found = max(1, round(0.1 / task.dt)), []
    for start, duration in (
        (trials.epochs.stimulus[:, 0], task.stimulus + task.delay_min),
        (trials.epochs.response[:, 0], task.response),
    ):
        length = round(duration / task.dt)
        rates, rng = aligned(r, start, length)[stride - 1 :: stride], np.random.default_rng(seed)
        # r[1:][t] is the rate at the end of step t, hence at (t + 1) dt.
        time = np.arange(stride, length + 1, stride) * task.dt
        found.append((time, decode_by_tau(rates, targets, params.tau, rng)))
    return found


def both_networks(task, before, after) -> Decoding:
    """What `decode_epochs` found before and after training."""
    (_, from_stimulus), (_, from_go) = before
    (time, later), (go_time, go_later) = after
    return Decoding(
        task.remembered, task.stimulus, time, from_stimulus, later, go_time, from_go, go_later
    )
