"""Which units carry the task: accuracy once the slow, the fast or random units are silent.

Kurikawa (2025) predicts a division of labour: slow units encode weakly and hold, fast units
encode strongly and briefly. `lesion_by_tau` measures how much the task needs each, against random
sets of the same size; `tau_rnn.measures.decode_by_tau` measures what each holds over time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tau_rnn.checks import (
    check_array,
    check_callable,
    check_dtype,
    check_generator,
    check_integer,
    check_number,
)
from tau_rnn.discretisation import DEFAULT_METHOD
from tau_rnn.measures._shared import MOST_DRAWS, Array, fast_to_slow
from tau_rnn.model import Params, ParamsLike, check_params, forward
from tau_rnn.nonlinearities import Nonlinearity

__all__ = ["LesionCurve", "accuracy_on", "lesion_by_tau"]


class LesionCurve(NamedTuple):
    """Accuracy after silencing a fraction of the units.

    Attributes
    ----------
    fractions : (F,) fractions asked for
    n_silenced : (F,) units silenced at each
    slowest, fastest : (F,) accuracy without the slowest and without the fastest units, the mean
        over orders where units share a tau; nan where all have the same tau
    random : (n_random, F) accuracy without as many units drawn at random

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> params = init_params(4, 1, 1, [0.1, 0.2, 1.0, 2.0], np.random.default_rng(0))
    >>> heard = lambda params: np.count_nonzero(params.W_out)  # in place of an accuracy
    >>> lesion_by_tau(params, heard, np.random.default_rng(1), fractions=(0, 0.5)).fastest.tolist()
    [4.0, 2.0]
    """

    fractions: Array
    n_silenced: Array
    slowest: Array
    fastest: Array
    random: Array


def accuracy_on(
    task: Any, trials: Any, *, noise: Array | None = None, phi: str | Nonlinearity = "tanh",
    method: str = DEFAULT_METHOD, dtype: DTypeLike | None = None,
) -> Callable[[Params], float]:  # fmt: skip
    """Function of Params: the accuracy of that network on fixed trials with fixed noise.

    Parameters
    ----------
    task : a task of `tau_rnn.tasks`
    trials : that it drew
    noise : (T, B, N) noise current, or None
    phi, method : as for `tau_rnn.model.forward`
    dtype : float32 or float64, the precision of the simulation; None for that of what is given

    Returns
    -------
    function from Params to a float in [0, 1]. A call simulates the trials once (`tau_rnn.forward`)

    Examples
    --------
    >>> from tau_rnn import init_params, make_task
    >>> task, rng = make_task("multi_timescale", dt=0.1), np.random.default_rng(0)
    >>> accuracy = accuracy_on(task, task.trials(20, rng))
    >>> 0 <= accuracy(init_params(10, task.n_in, task.n_out, 1.0, rng)) <= 1
    True
    """
    u = check_array("trials.u", getattr(trials, "u", None))
    if dtype is not None:
        dtype = check_dtype(dtype)
        u, noise = u.astype(dtype), None if noise is None else noise.astype(dtype)

    def accuracy(params: Params) -> float:
        if dtype is not None:
            params = Params(*(np.asarray(p, dtype) for p in params))
        traj = forward(
            params, u, task.dt, phi=phi, method=method, noise=noise,
            checkpoint_every=16,  # of the states none is used, so they stay in the cache
        )  # fmt: skip
        return task.accuracy(traj.y, trials)

    return accuracy


def lesion(params, units) -> Params:
    """Silence units: no unit and no output receives their rates any more.

    Their outgoing weights, columns of W and of W_out, are set to 0, which is the network in which
    their rate is 0 for every phi. Their own states still move.

    Parameters
    ----------
    params : Params
    units : whole numbers from 0 to N - 1, or a boolean (N,) mask

    Returns
    -------
    Params

    Raises
    ------
    ValueError
        If a unit does not exist.

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> params = init_params(3, 1, 1, 1.0, np.random.default_rng(0))
    >>> lesion(params, [1]).W_out[0, 1], bool(params.W_out[0, 1] == 0)
    (np.float64(0.0), False)
    """
    params = check_params(params)
    N = len(params.b)
    units = np.asarray(units)
    if units.size == 0 and units.dtype != bool:
        units = units.astype(int)
    if (
        units.ndim != 1
        or units.dtype.kind not in "iub"
        or (units.dtype == bool and len(units) != N)
    ):
        raise ValueError(
            f"units: must be whole numbers or a boolean ({N},) mask, "
            f"got {units.dtype} of shape {units.shape}"
        )
    if units.dtype != bool and units.size and (units.min() < 0 or units.max() >= N):
        raise ValueError(f"units: must be from 0 to N - 1 = {N - 1}, got {units}")
    W, W_out = params.W.copy(), params.W_out.copy()
    W[:, units] = 0
    W_out[:, units] = 0
    return params._replace(W=W, W_out=W_out)


def lesion_by_tau(
    params: ParamsLike,
    score: Callable[[Params], float],
    rng: np.random.Generator,
    *,
    fractions: ArrayLike = (0, 0.1, 0.2, 0.3, 0.5),
    n_random: int = 10,
    tau: ArrayLike | None = None,
) -> LesionCurve:
    """Accuracy without the slowest, the fastest or any units.

    Parameters
    ----------
    params : Params of the trained network
    score : function of Params, see `accuracy_on`
    rng : numpy.random.Generator, for the random sets and the order of units that share a tau
    fractions : of the units to silence, each from 0 to 1; rounded to whole units
    n_random : number of random sets of each size, and of orders where units share a tau
    tau : (N,) what slow and fast mean, in seconds; params.tau if None

    Returns
    -------
    LesionCurve

    Raises
    ------
    ValueError
        If a fraction is out of range or n_random below 1.

    Notes
    -----
    The cost is (n_random + 2) simulations for each fraction above 0, 3 n_random where units share a
    tau, and n_random where all do. A larger random set contains the smaller ones.

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> params = init_params(4, 1, 1, [0.1, 0.2, 1.0, 2.0], np.random.default_rng(0))
    >>> def score(params):  # in place of an accuracy: how many units are still heard
    ...     return np.count_nonzero(params.W_out)
    >>> curve = lesion_by_tau(params, score, np.random.default_rng(1), fractions=(0, 0.5))
    >>> curve.slowest.tolist(), curve.n_silenced.tolist()
    ([4.0, 2.0], [0, 2])
    """
    params, score = check_params(params), check_callable("score", score)
    N = len(params.b)
    tau = check_array("tau", params.tau if tau is None else tau, (N,))
    fractions = check_array("fractions", fractions, ("F",)).astype(float)
    if (fractions < 0).any() or (fractions > 1).any():
        raise ValueError(f"fractions: must be from 0 to 1, got {fractions}")
    n_random, rng = check_integer("n_random", n_random, 1, MOST_DRAWS), check_generator(rng)
    n_silenced = np.rint(fractions * N).astype(int)

    whole_network = check_number("score", score(params))

    def curve(order):
        return [score(lesion(params, order[:n])) if n else whole_network for n in n_silenced]

    distinct = len(np.unique(tau))
    if distinct == 1:
        slowest = fastest = np.full(len(fractions), np.nan)
    else:
        orders = [fast_to_slow(tau, rng) for _ in range(1 if distinct == N else n_random)]
        fastest = np.mean([curve(order) for order in orders], axis=0)
        slowest = np.mean([curve(order[::-1]) for order in orders], axis=0)
    random = np.array([curve(rng.permutation(N)) for _ in range(n_random)])
    return LesionCurve(fractions, n_silenced, slowest, fastest, random)
