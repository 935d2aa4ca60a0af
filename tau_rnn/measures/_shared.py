"""What several measures share: networks in double precision, ratios, and the order of units."""

from __future__ import annotations

import numpy as np

from tau_rnn.checks import check_array, check_shapes, shown
from tau_rnn.model import Params, check_params

__all__: list[str] = []

Array = np.ndarray

#: Bounds on how often something is drawn, so that a typing mistake does not run forever.
MOST_DRAWS, MOST_BOOTSTRAPS = 10_000, 100_000


def pair_of(W0, W1, shape=None) -> tuple[Array, Array]:
    """Two float64 arrays of one shape: weights before training and after it."""
    W0, W1 = check_array("W0", W0, shape), check_array("W1", W1)
    if W0.shape != W1.shape:
        raise ValueError(f"W1: must have the shape of W0, {W0.shape}, got {W1.shape}")
    return W0.astype(np.float64), W1.astype(np.float64)


def double_params(name: str, params) -> Params:
    """params in float64, or a ValueError: the measures take no derivative by complex step."""
    params = check_params(params, name)
    for field, value in zip(Params._fields, params):
        if np.iscomplexobj(value):
            raise ValueError(f"{name}.{field}: must be real, got dtype {value.dtype}")
    if not (params.tau > 0).all():
        raise ValueError(f"{name}.tau: must be positive (s), got {shown(params.tau)}")
    return Params(*(p.astype(np.float64) for p in params))


def params_pair(name0: str, params0, name1: str, params1) -> tuple[Params, Params]:
    """Two networks of the same sizes, in float64."""
    params0, params1 = double_params(name0, params0), double_params(name1, params1)
    check_shapes(f"{name1}.", params1, f"{name0}.", params0)
    return params0, params1


def ratio(a, b) -> Array:
    """a / b with nan, and no warning, where b is 0."""
    a, b = np.broadcast_arrays(np.asarray(a, float), np.asarray(b, float))
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0)


def ranks(a: Array) -> Array:
    """Ranks from 1 along the last axis, their mean for equal values.

    It is ``scipy.stats.rankdata``, without the quarter of a second that its import takes.
    """
    values, codes = np.unique(a, return_inverse=True)
    codes = codes.reshape(-1, np.shape(a)[-1])
    places = codes + len(values) * np.arange(len(codes))[:, np.newaxis]
    counts = np.bincount(places.ravel(), minlength=len(codes) * len(values))
    counts = counts.reshape(len(codes), -1)
    below_and_equal = counts.cumsum(axis=1)
    mean_ranks = below_and_equal - (counts - 1) / 2
    return np.take_along_axis(mean_ranks, codes, axis=1).reshape(np.shape(a))


def fast_to_slow(tau: Array, rng: np.random.Generator) -> Array:
    """The units from fast to slow, (N,) indices; units of equal tau come in a random order."""
    return np.lexsort((rng.random(len(tau)), tau))


def weights_of_outputs(mask, target) -> tuple[Array, Array]:
    """Weights (T, B, n_out) of a mask, and the target, 0 where it has none."""
    mask = check_array("mask", mask)
    if mask.shape not in (target.shape, target.shape[:2]):
        raise ValueError(f"mask: must be (T, B) or {target.shape}, got shape {mask.shape}")
    if (mask < 0).any():
        raise ValueError("mask: every weight must be >= 0")
    mask = mask if mask.ndim == 3 else mask[..., np.newaxis]
    weights = np.broadcast_to(mask, target.shape).astype(float)
    return weights, check_array("target", np.where(weights > 0, target, 0))
