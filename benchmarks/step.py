"""Time of one whole training step: forward, loss, backward, Adam. All contenders in one run.

    python benchmarks/step.py            every size and dtype, about 15 minutes
    python benchmarks/step.py --quick    the two smallest sizes, about a minute

torch and jax take part where they are installed (pip install "tau_rnn[bench]"). Everything runs on
one thread of one core. The contenders are called in turn, round after round; times are medians over
the rounds, and ratios are medians of the ratios within a round, so that another process on the
machine, which slows a whole round, changes the ratios little.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from types import SimpleNamespace

import common  # before numpy: it sets the number of threads
import numpy as np
from floors import full_floor, gemm_floor, naive, streamed_floor

from tau_rnn.training import TrainConfig, start, training_steps

# (N, B, T, dtype): bars of step / GEMM floor, JAX / step, torch autograd / step, torch eager / step
BARS = {
    (100, 32, 100, "float32"): (1.8, 1.15, 2.0, 4.0),
    (100, 64, 250, "float32"): (1.75, 1.35, 2.2, 3.0),
    (128, 64, 500, "float32"): (1.6, 1.65, 1.8, 2.4),
    (256, 64, 250, "float32"): (1.35, 1.5, 1.4, 1.6),
    (512, 64, 250, "float32"): (1.2, 1.4, 1.25, 1.25),
    (1024, 32, 100, "float32"): (1.15, 1.4, 1.2, 1.3),
    (100, 32, 100, "float64"): (1.95, None, None, None),
    (100, 64, 250, "float64"): (1.85, None, None, None),
    (256, 64, 250, "float64"): (1.4, None, None, None),
}

FLOORS = ("GEMM floor", "full floor", "streamed floor")


class FixedTrials:
    """A task that hands out the same trials at every step, so that only the step is timed."""

    def __init__(self, u, target, mask, noise=0.0):
        self.batch, self.noise, self.dt = (
            SimpleNamespace(u=u, target=target, mask=mask),
            noise,
            common.DT,
        )

    def trials(self, batch_size, rng, *, dtype):
        return self.batch


def ours(params, u, target, mask, noise=0.0):
    """A call that makes one training step; all seven fields are trained."""
    settings = TrainConfig(batch=mask.shape[1], train=("all",), method="euler", lr=1e-4)
    task = FixedTrials(u, target, mask, noise)
    rngs = np.random.default_rng(0).spawn(2)
    states = training_steps(start(params, settings, task.dt, *rngs), task, settings)
    return lambda: next(states)


def contenders(N, B, T, dtype, peers=True):
    """{name: call} of everything that is timed at one size."""
    problem = common.problem(N, B, T, dtype)
    calls = {
        "naive": naive(*problem),  # first, since a thread of JAX may still be busy
        "GEMM floor": gemm_floor(N, B, T, dtype),
        "full floor": full_floor(N, B, T, dtype),
        "streamed floor": streamed_floor(N, B, T, dtype),
        "ours": ours(*problem),
        "ours, noise": ours(*problem, noise=0.1),
    }
    if peers and importlib.util.find_spec("torch"):
        from peers import torch_steps

        calls |= torch_steps(*problem)
    if peers and importlib.util.find_spec("jax"):
        from peers import jax_steps

        calls |= jax_steps(*problem)
    return calls


def fastest(times, prefix, but=()):
    """The name of the contender with the smallest median among those with this prefix."""
    names = [n for n in times if n.startswith(prefix) and n not in but]
    return min(names, key=lambda n: np.median(times[n])) if names else None


def compare(times, bars):
    """Ratios of a size: (what, ratio, bar, met) for each bar that can be checked."""
    best_jax, best_torch = fastest(times, "jax"), fastest(times, "torch")
    eager = "torch eager" if "torch eager" in times else None
    step = common.ratio(times, "ours", "GEMM floor")
    yield "step / GEMM floor", step, bars[0], step <= bars[0]
    for floor in ("full floor", "streamed floor"):
        yield f"step / {floor}", common.ratio(times, "ours", floor), None, None
    for name, bar in zip((best_jax, best_torch, eager), bars[1:]):
        if name is not None:
            gain = common.ratio(times, name, "ours")
            yield f"{name} / step", gain, bar, None if bar is None else gain >= bar


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the two smallest sizes only")
    parser.add_argument("--rounds", type=int, default=15, help="rounds at each size")
    parser.add_argument("--budget", type=float, default=120, help="seconds at each size, at most")
    parser.add_argument("--no-peers", action="store_true", help="without torch and jax")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="CPU time of the process, for a machine that is not quiet",
    )
    parser.add_argument("--sizes", type=int, nargs="*", help="rows of the table, counted from 0")
    args = parser.parse_args()
    sizes = list(BARS)[:2] if args.quick else list(BARS)
    if args.sizes:
        sizes = [list(BARS)[i] for i in args.sizes]

    rows, checks = [], []
    for N, B, T, dtype in sizes:
        calls = contenders(N, B, T, np.dtype(dtype).type, not args.no_peers)
        clock = time.process_time if args.cpu_time else time.perf_counter
        times = common.interleaved(calls, args.rounds, args.budget, clock)
        label = f"{dtype}: {N}, {B}, {T}"
        ms = {name: f"{np.median(t) * 1e3:.1f}" for name, t in times.items()}
        print(label, *(f"{name} {value}" for name, value in ms.items()), sep="; ", flush=True)
        best_torch, best_jax = fastest(times, "torch"), fastest(times, "jax")
        columns = (*FLOORS, "ours", "ours, noise", "naive", "torch eager")
        rows.append([label, *(ms.get(c, "-") for c in (*columns, best_torch, best_jax))])
        for what, value, bar, met in compare(times, BARS[N, B, T, dtype]):
            verdict = "" if met is None else "met" if met else "MISSED"
            checks.append([label, what, f"{value:.2f}", bar or "-", verdict])

    kind = "CPU time" if args.cpu_time else "wall time"
    print(f"\n{common.machine()}; one thread. Medians of {kind} in ms.\n")
    head = ["N, B, T", *FLOORS, "ours", "ours, noise", "naive"]
    print(common.table([*head, "torch eager", "torch best", "JAX best"], rows), end="\n\n")
    print(common.table(["N, B, T", "ratio", "median", "bar", ""], checks))


if __name__ == "__main__":
    main()
