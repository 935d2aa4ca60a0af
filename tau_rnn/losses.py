"""Losses: each returns its value and its derivative with respect to the outputs or rates."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tau_rnn.checks import check_array, check_finite, check_number

__all__ = ["mse", "rate_penalty"]


def mse(y: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> tuple[float, np.ndarray]:
    r"""Masked, weighted mean squared error.

    .. math:: L = \frac{\sum_{tbk} m_{tbk}\,(y_{tbk} - y^*_{tbk})^2}{\sum_{tbk} m_{tbk}},
              \qquad \frac{\partial L}{\partial y_{tbk}} =
              \frac{2\, m_{tbk}\,(y_{tbk} - y^*_{tbk})}{\sum m}

    Parameters
    ----------
    y : (T, B, n_out) outputs
    target : (T, B, n_out) targets y*
    mask : (T, B) or (T, B, n_out) weights >= 0, or None for equal weights. What has weight 0 does
        not enter the loss, whatever the target is there. Where y or target is masked (numpy.ma),
        the weight is 0.

    Returns
    -------
    loss : float
    dy : (T, B, n_out) dLoss/dy, in the dtype of y (float64 for whole numbers, float32 for float16).
        A mask of zeros gives loss 0 and dy 0. Complex y, as of complex params in a complex step,
        give a complex loss.

    Raises
    ------
    ValueError
        If a shape does not fit, a weight is negative or not finite, a target that has a weight is
        not finite, or target or mask are complex.

    Examples
    --------
    Two steps of one trial, of which the second has no weight:

    >>> loss, dy = mse([[[3.0]], [[9.0]]], [[[1.0]], [[0.0]]], mask=[[1], [0]])
    >>> loss, dy.ravel().tolist()
    (4.0, [4.0, 0.0])
    """
    masks = [np.ma.getmask(values) for values in (y, target) if np.ma.isMaskedArray(values)]
    y, target = (v.data if np.ma.isMaskedArray(v) else v for v in (y, target))
    y = check_array("y", y, may_be_complex=True, finite=False)
    target = check_array("target", target, finite=False)
    kind = np.float64 if y.dtype.kind in "biu" else np.result_type(y, np.float32)
    y = y.astype(kind, copy=False)
    if y.ndim != 3:
        raise ValueError(f"y: must be (T, B, n_out), got shape {y.shape}")
    if target.shape != y.shape:
        raise ValueError(f"target: must have the shape of y, {y.shape}, got {target.shape}")
    if mask is None:
        mask = np.ones(y.shape[:2], np.real(y).dtype)
    mask = check_array("mask", mask, finite=False)
    if mask.shape == y.shape[:2]:
        mask = mask[..., np.newaxis]
    elif mask.shape != y.shape:
        raise ValueError(
            f"mask: must be (T, B) = {y.shape[:2]} or (T, B, n_out) = {y.shape}, got {mask.shape}"
        )
    weights = mask
    for hidden in masks:
        weights = np.where(hidden, 0, weights)
    total = weights.sum(dtype=np.float64) * (y.size // max(1, weights.size))
    if not np.isfinite(total) or mask.min(initial=0) < 0:
        raise ValueError("mask: every weight must be finite and >= 0")
    if total == 0:
        return 0.0, np.zeros_like(y)
    with np.errstate(over="ignore", invalid="ignore"):  # of what overflows, training sees the loss
        error = np.where(weights > 0, y - target, 0)
        dy = (weights * error).astype(y.dtype, copy=False)
        loss = np.multiply(dy, error, dtype=np.result_type(y, np.float64)).sum() / total
        dy *= 2 / total
    if not np.isfinite(loss):  # outputs may overflow, and training checks this
        check_finite("target", np.where(weights > 0, target, 0))
    return (loss if np.iscomplexobj(loss) else float(loss)), dy


def rate_penalty(r: ArrayLike, weight: float = 1.0) -> tuple[float, np.ndarray]:
    r"""Mean squared rate, ``weight * mean(r^2)``: a metabolic cost that keeps rates low.

    .. math:: L_r = \frac{\lambda}{T B N} \sum_{t=1}^{T} \sum_{bi} r_i[t]^2, \qquad
              \frac{\partial L_r}{\partial r_i[t]} = \frac{2 \lambda}{T B N}\, r_i[t]

    The rates at time 0 do not count: x0 gives them, not the activity.

    Parameters
    ----------
    r : (T+1, B, N) rates of a `Trajectory`
    weight : lambda, >= 0

    Returns
    -------
    loss : float
    dr : (T+1, B, N) dLoss/dr, to be handed to ``backward(..., dr=dr)``

    Raises
    ------
    ValueError
        If r is not (T+1, B, N) with T >= 1, r is that of a trajectory that keeps only checkpoints,
        or weight is negative or not finite.

    Examples
    --------
    >>> loss, dr = rate_penalty([[[0.5]], [[1.0]], [[2.0]]], weight=0.1)
    >>> loss, dr.ravel().tolist()
    (0.25, [0.0, 0.1, 0.2])
    """
    r = check_array("r", r, may_be_complex=True, finite=False)
    if r.ndim != 3 or len(r) < 2 or r.size == 0:
        raise ValueError(f"r: must be (T+1, B, N) with T >= 1, got shape {r.shape}")
    weight = check_number("weight", weight, least=0)
    with np.errstate(over="ignore", invalid="ignore"):
        dr = r * (2 * weight / r[1:].size)
        dr[0] = 0
        loss = 0.5 * (dr * r).sum(dtype=np.result_type(r.dtype, np.float64))
    return (loss if np.iscomplexobj(loss) else float(loss)), dr
