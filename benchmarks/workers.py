"""Many seeds on the cores of one machine: processes against the threads of BLAS.

    python benchmarks/workers.py [--quick]

The runs of a sweep are independent, so each core can have one of them to itself. The alternative
is one process whose matrix products BLAS spreads over the cores. Each way runs in a fresh process
(the number of threads is read when BLAS is loaded), in turn with the others. The time of a run is
counted from the first results to the last: starting the processes is not in it, but in "whole".
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

# name: (worker processes, or 0 for this process; threads of BLAS)
WAYS = {
    "one process, one thread": (0, 1),
    "one process, a thread a core": (0, os.cpu_count()),
    "one worker": (1, 1),
    "a worker a core": (os.cpu_count(), 1),
}


def sweep_seconds(workers: int, runs: int) -> tuple[float, float]:
    """Seconds of a run without what starting costs, and of the whole sweep."""
    from tau_rnn.experiment import RunConfig, sweep
    from tau_rnn.experiment.executors import process_engine

    ends = []
    engine = process_engine(workers) if workers else None
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as store:
        sweep(
            [RunConfig(dist="uniform", seed=seed) for seed in range(runs)],
            engine,
            store=store,
            progress=lambda event: ends.append(time.perf_counter()),
        )
    first = max(workers, 1)  # as many runs begin together, and end together
    return (ends[-1] - ends[first - 1]) / (runs - first), ends[-1] - start


def measure(workers: int, threads: int, runs: int) -> tuple[float, float]:
    """`sweep_seconds` in a fresh process."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads))}
    command = [sys.executable, __file__, "--inside", str(workers), str(runs)]
    return tuple(map(float, subprocess.check_output(command, env=environment, text=True).split()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="6 runs, once")
    parser.add_argument("--inside", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        print(*sweep_seconds(*args.inside))
        return
    runs, rounds = (6, 1) if args.quick else (12, 5)
    times = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, (workers, threads) in WAYS.items():
            times[name].append(measure(workers, threads, runs))
    base = np.array(times["one process, one thread"])[:, 0]
    print(f"{os.cpu_count()} cores; a sweep of {runs} runs; medians of {rounds} rounds\n")
    print(f"{'':30s} {'s a run':>8s} {'times faster':>13s} {'whole, s':>9s}")
    for name, pairs in times.items():
        each, whole = np.array(pairs).T
        gain = np.median(base / each)
        print(f"{name:30s} {np.median(each):8.2f} {gain:13.2f} {np.median(whole):9.1f}")


if __name__ == "__main__":
    main()
