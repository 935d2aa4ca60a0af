"""How many threads BLAS uses. It imports nothing, for BLAS asks once, when NumPy is loaded."""

from __future__ import annotations

import os

__all__: list[str] = []

#: What tells the usual BLAS libraries how many threads to use.
THREAD_VARIABLES = (
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip


def one_blas_thread() -> None:
    """One thread, unless the environment says how many. Call it before NumPy is loaded.

    A network of some hundred units gains nothing from a second thread, which waits in a loop and
    takes several times as long where another program wants the core. And sums of one thread are
    the same bits as those of a sweep, whose processes use one each.
    """
    if not any(name in os.environ for name in THREAD_VARIABLES):
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
