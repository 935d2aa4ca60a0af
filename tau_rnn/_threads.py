"""Threads: how many BLAS uses, and work beside other work.

It imports no NumPy, for BLAS asks once, when NumPy is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

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


def beside(work: Callable[[], Any]) -> Callable[[], Any]:
    """Start work on a thread of its own; the function returned waits for its result.

    It is worth a second core where work is long calls of NumPy, which other threads need not wait
    for. Python does not wait for it when it ends, so that Ctrl-C does not either. Where no thread
    can be started, as in a browser, the work is done when its result is asked for.

    Examples
    --------
    >>> total = beside(lambda: sum(range(5)))
    >>> total()  # after other work
    10
    """
    from concurrent.futures import Future
    from contextvars import copy_context
    from threading import Thread

    future: Future[Any] = Future()
    context = copy_context()  # NumPy's error state is the caller's there as well

    def run() -> None:
        try:
            future.set_result(context.run(work))
        except BaseException as error:  # raised again where the result is asked for
            future.set_exception(error)

    try:
        Thread(target=run, daemon=True).start()
    except RuntimeError:
        return work
    return future.result
