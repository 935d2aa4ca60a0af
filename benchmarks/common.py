"""One thread, one core, and contenders called in turn: what all benchmarks share.

Import this module before NumPy, since BLAS reads its number of threads when it is loaded.
"""

from __future__ import annotations

import os
import sys
import time

THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
for variable in THREADS:
    os.environ.setdefault(variable, "1")
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if hasattr(os, "sched_setaffinity"):
    # One core for the whole process, so that no contender's thread pool finds a second one.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402

DT = 0.01  # seconds
N_IN, N_OUT = 3, 1


def problem(N, B, T, dtype):
    """Parameters, inputs, target and mask of one training step: tau from 50 ms to 1 s."""
    from tau_rnn.model import init_params

    rng = np.random.default_rng(0)
    params = init_params(N, N_IN, N_OUT, rng.uniform(0.05, 1.0, N), rng, gain=1.0, dtype=dtype)
    u = rng.standard_normal((T, B, N_IN)).astype(dtype)
    target = rng.standard_normal((T, B, N_OUT)).astype(dtype)
    mask = np.ones((T, B), dtype)
    mask[: T // 4] = 0
    return params, u, target, mask


def interleaved(contenders, rounds, budget=None, clock=time.perf_counter, turn=0.05):
    """Call the contenders in turn, `rounds` times; seconds of one call, {name: (rounds,)}.

    In each turn a contender is called until `turn` seconds have passed, as a training loop would
    call it, so that the caches hold what they hold in training. It is called once before the
    first round, for what is compiled or allocated once. Other processes slow all contenders of a
    round alike, so ratios within a round are steadier than times. ``clock=time.process_time``
    leaves out the time that other processes had the core. With a budget in seconds, it stops
    after the round that exceeds it (never before 3).
    """
    times = {name: [] for name in contenders}
    calls = {}
    for name, call in contenders.items():
        call()
        start = clock()
        call()
        calls[name] = max(1, round(turn / max(clock() - start, 1e-9)))
    begin = time.perf_counter()
    for i in range(rounds):
        for name, call in contenders.items():
            start = clock()
            for _ in range(calls[name]):
                call()
            times[name].append((clock() - start) / calls[name])
        if budget is not None and i >= 2 and time.perf_counter() - begin > budget:
            break
    return {name: np.array(t) for name, t in times.items()}


def ratio(times, above, below):
    """Median over the rounds of the ratio of two contenders' times."""
    return float(np.median(times[above] / times[below]))


def table(head, rows):
    """A Markdown table, aligned so that it also reads well in a terminal."""
    rows = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["| " + " | ".join(c.rjust(w) for c, w in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 1) + ":" for w in widths) + "|")
    return "\n".join(lines)


def machine():
    """The machine in one line: cores, architecture, and the versions that matter."""
    import platform

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    versions = [f"Python {platform.python_version()}", f"NumPy {np.__version__}"]
    versions.append(f"{blas.get('name', 'blas')} {blas.get('version', '')}".strip())
    peers = [name for name in ("torch", "jax") if name in sys.modules]
    versions += [f"{name} {sys.modules[name].__version__}" for name in peers]
    return f"{os.cpu_count()} cores, {platform.machine()}; " + ", ".join(versions)
