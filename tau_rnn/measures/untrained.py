"""What an untrained network already has, and how far it is from a solution.

**A readout of what is there** [1]_. The best linear readout of the rates, by ridge regression on
some trials and judged on the others: the loss that is left if only W_out and b_out are trained.

**Slow modes.** The modes around the network's resting point that outlast the delay.

**The distance to a solution**, to first order: see `tau_rnn.measures.distance`.

References
----------
.. [1] Jaeger, H. (2001). The "echo state" approach to analysing and training recurrent neural
   networks. GMD Report 148.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import check_array, check_generator, check_integer, check_number
from tau_rnn.discretisation import DEFAULT_METHOD
from tau_rnn.losses import mse
from tau_rnn.measures._shared import MOST_DRAWS, Array, double_params, ratio, weights_of_outputs
from tau_rnn.measures.decoding import PENALTIES, check_penalties
from tau_rnn.measures.distance import LinearDistance, linear_distance
from tau_rnn.measures.dynamics import fixed_points
from tau_rnn.model import ParamsLike, forward
from tau_rnn.noise import private_noise
from tau_rnn.nonlinearities import Nonlinearity
from tau_rnn.tasks import check_task

__all__ = ["Untrained", "measure_untrained"]

class _RidgeReadout(NamedTuple):
    """How well a linear readout of the rates does the task, on trials it was not fitted to.

    Attributes
    ----------
    loss : weighted mean squared error, as of `tau_rnn.losses.mse`
    r2 : (n_out,) 1 - squared error over that of the best constant output; nan where the target is
        constant
    y : (T, B, n_out) outputs of the readout, each trial's from a fit without it
    """

    loss: float
    r2: Array
    y: Array


class _SlowModes(NamedTuple):
    """Modes of the network at rest that last longer than a delay.

    Attributes
    ----------
    number : how many
    timescales : (number,) their time constants in seconds, the longest first; negative where a mode
        grows, inf where it does neither
    kind : of the point at rest, see `tau_rnn.measures.FixedPoints`; "none" if none was found
    """

    number: int
    timescales: Array
    kind: str


class Untrained(NamedTuple):
    """What `measure_untrained` returns.

    Attributes
    ----------
    readout : how well a linear readout does the task: ``loss``, ``r2`` (n_out,), ``y``
    modes : modes at rest that outlast the longest delay: their ``number``, ``timescales`` (s), and
        the ``kind`` of point; None in a task without a delay
    distance : the least change of W that leaves some ``fractions`` of the squared error:
        ``relative``, ``absolute``, ``reach``, ``loss``, ``change``

    Examples
    --------
    >>> from tau_rnn import init_params, make_task
    >>> task, rng = make_task("multi_timescale", dt=0.1), np.random.default_rng(0)
    >>> params = init_params(5, task.n_in, task.n_out, 1.0, rng)
    >>> found = measure_untrained(params, task, rng=rng, n_trials=20, n_near=1)
    >>> found._fields, found.readout.y.shape[-1]
    (('readout', 'modes', 'distance'), 1)
    """

    readout: _RidgeReadout
    modes: _SlowModes | None
    distance: LinearDistance


def ridge_readout(rates, target, mask, rng, *, n_folds=5, penalties=PENALTIES) -> _RidgeReadout:
    r"""Cross-validated loss of the best ridge readout of the rates.

    .. math:: \min_{w, b} \sum_{tb} m_{tb}\, (w^\top r[t, b] + b - y^*[t, b])^2 + \lambda \|w\|^2

    for each output, with the rates (T, B, N) that y[t] reads, ``traj.r[1:]``, and weights m >= 0,
    (T, B) or (T, B, n_out). Whole trials are left out; lambda, relative to the weighted mean square
    of the rates, is chosen by cross-validation within the trials that are not.
    """
    rates = check_array("rates", rates, ("T", "B", "N")).astype(float)
    T, B, _ = rates.shape
    target = check_array("target", target, (T, B, "n_out"), finite=False).astype(float)
    weights, target = weights_of_outputs(mask, target)
    n_folds = check_integer("n_folds", n_folds, 3, B)
    penalties = check_penalties(penalties)
    fold_of = check_generator(rng).permutation(B) % n_folds
    folds = [np.flatnonzero(fold_of == fold) for fold in range(n_folds)]
    if any((weights[:, trials].sum(axis=(0, 1)) == 0).any() for trials in folds):
        raise ValueError("mask: must have weights above 0 for every output in every fold")
    with_one = np.concatenate([rates, np.ones((T, B, 1))], axis=2)
    y = np.empty(target.shape)
    for k in range(target.shape[2]):
        y[..., k] = _cross_validated(with_one, target[..., k], weights[..., k], folds, penalties)
    middle = (weights * target).sum(axis=(0, 1)) / weights.sum(axis=(0, 1))
    wrong, total = ((weights * (target - v) ** 2).sum(axis=(0, 1)) for v in (y, middle))
    constant = np.ptp(np.where(weights > 0, target, middle), axis=(0, 1)) <= 1e-12 * np.abs(middle)
    r2 = 1 - ratio(wrong, np.where(constant, 0, total))
    return _RidgeReadout(mse(y, target, weights)[0], r2, y)


def _cross_validated(X, target, weights, folds, penalties) -> Array:
    """Predictions (T, B) for one output from X (T, B, N + 1), whose last column is 1."""
    n = X.shape[2]
    grams, sides = np.zeros((len(folds), n, n)), np.zeros((len(folds), n))
    for fold, trials in enumerate(folds):  # what each fold adds to the normal equations
        Z = (X[:, trials] * weights[:, trials, np.newaxis]).reshape(-1, n)
        grams[fold] = Z.T @ X[:, trials].reshape(-1, n)
        sides[fold] = Z.T @ target[:, trials].ravel()

    def fits(*left_out) -> Array:  # (P, N + 1) to all folds but these
        kept = np.setdiff1d(np.arange(len(folds)), left_out)
        gram, side = grams[kept].sum(axis=0), sides[kept].sum(axis=0)
        scale = np.trace(gram[:-1, :-1]) / (n - 1) or 1.0  # the 1 is not penalised
        ridge = penalties[:, np.newaxis, np.newaxis] * np.diag([scale] * (n - 1) + [0])
        return np.linalg.solve(gram + ridge, side[:, np.newaxis])[..., 0]

    y = np.empty(target.shape)
    for fold, trials in enumerate(folds):
        error = np.zeros(len(penalties))
        for other, inner in enumerate(folds):
            if other != fold:
                missed = X[:, inner] @ fits(fold, other).T - target[:, inner, np.newaxis]
                error += np.einsum("tb,tbp->p", weights[:, inner], missed**2)
        y[:, trials] = X[:, trials] @ fits(fold)[error.argmin()]
    return y


def slow_modes(params, delay, *, phi: str | Nonlinearity = "tanh") -> _SlowModes:
    """Modes that outlast a delay, around the point at which the network rests without input.

    That point is sought from x0, by `tau_rnn.measures.fixed_points`; delay is in seconds.

    >>> from tau_rnn import init_params
    >>> params = init_params(4, 1, 1, [0.5, 1, 2, 4], np.random.default_rng(0), gain=0)
    >>> number, timescales, kind = slow_modes(params, 1.5)
    >>> number, timescales.tolist(), str(kind)
    (2, [4.0, 2.0], 'attractor')
    """
    params = double_params("params", params)
    delay = check_number("delay", delay, above=0)
    at_rest = np.zeros(params.W_in.shape[1])
    points = fixed_points(params, at_rest, params.x0[np.newaxis], phi=phi, slow=delay)
    if len(points.x) == 0:
        return _SlowModes(0, np.empty(0), "none")
    slow = points.timescales[0][np.abs(points.timescales[0]) > delay]
    slow = slow[np.argsort(-np.abs(slow), kind="stable")]
    return _SlowModes(len(slow), slow, str(points.kind[0]))


def measure_untrained(
    params: ParamsLike, task: Any, *, rng: np.random.Generator, phi: str | Nonlinearity = "tanh",
    method: str = DEFAULT_METHOD, n_trials: int = 256, n_near: int = 16,
    fractions: ArrayLike = (0.1, 0.3),
) -> Untrained:  # fmt: skip
    """How much of what a task needs is there before training: readout, slow modes, distance.

    Parameters
    ----------
    params : Params of the untrained network
    task : a task of `tau_rnn.tasks`, or one of your own
    rng : numpy.random.Generator
    phi, method : as for `tau_rnn.model.forward`
    n_trials : trials of the readout, with the task's noise; every step that has a weight counts
    n_near : trials of the distance, without noise
    fractions : see `linear_distance`

    Returns
    -------
    Untrained; modes are None for a task without a longest delay

    Raises
    ------
    ValueError
        As `ridge_readout` and `linear_distance`.

    Examples
    --------
    >>> from tau_rnn import init_params, make_task
    >>> task, rng = make_task("multi_timescale", dt=0.1), np.random.default_rng(0)
    >>> params = init_params(10, task.n_in, task.n_out, 1.0, rng)
    >>> found = measure_untrained(params, task, rng=rng, n_trials=30, n_near=2)
    >>> bool(found.readout.r2[0] < 0.5), bool(found.distance.relative[0] > 0.1)
    (True, True)
    """
    params, rng = double_params("params", params), check_generator(rng)
    n_trials = check_integer("n_trials", n_trials, 3, MOST_DRAWS)
    n_near, task = check_integer("n_near", n_near, 1, MOST_DRAWS), check_task(task)
    check_array("params.W_in", params.W_in, (len(params.b), task.n_in))
    trials, near = task.trials(n_trials, rng), task.trials(n_near, rng)
    sigma, noise = getattr(task, "noise", 0.0), None
    if sigma:
        T, B = trials.u.shape[:2]
        noise = private_noise(params, task.dt, sigma, T, B, rng, method=method)
    traj = forward(params, trials.u, task.dt, phi=phi, method=method, noise=noise)
    readout = ridge_readout(traj.r[1:], trials.target, trials.mask, rng)
    delay = getattr(task, "delay_max", None)
    modes = None if delay is None else slow_modes(params, delay, phi=phi)
    distance = linear_distance(
        params, near.u, near.target, near.mask, task.dt, fractions=fractions, phi=phi, method=method
    )
    return Untrained(readout, modes, distance)
