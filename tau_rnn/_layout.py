"""How a matrix lies in memory: what makes its products fast, and changes no number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__: list[str] = []

#: Bytes. What lies a multiple of a page (4096) apart shares one set of a processor's first cache,
#: which holds 8 to 12 such lines; half a page apart, two sets.
HALF_PAGE = 2048
LINE = 64  # bytes of a line of the cache


def by_rows(matrix: np.ndarray) -> np.ndarray:
    """The matrix by rows, with a gap behind each row that keeps equal columns from colliding.

    Where a row is a multiple of half a page, as for 512 or 1024 units in float32, the entries of a
    column lie in one or two sets of the cache, and a block of the matrix does not fit. A gap of one
    line spreads them over all sets.
    """
    if matrix.shape[1] * matrix.itemsize % HALF_PAGE:
        return np.ascontiguousarray(matrix)
    gap = LINE // matrix.itemsize
    spread = np.empty((len(matrix), matrix.shape[1] + gap), matrix.dtype)[:, :-gap]
    spread[...] = matrix
    return spread


def product_with(matrix: np.ndarray) -> Callable[..., Any]:
    """np.dot, or np.matmul for a matrix with gaps, which np.dot would copy at each call."""
    return np.dot if matrix.flags.c_contiguous else np.matmul
