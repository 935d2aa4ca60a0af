"""Peak memory of a gradient, in bytes per element of (T, B, N); what checkpoints cost and spare.

    python benchmarks/memory.py [--quick]

Each case runs in a fresh process. It makes its parameters and trials, notes the peak of its
resident memory, computes one gradient, and notes the peak again. x and r alone are 8 bytes per
element in float32. The long sequence has T = 20,000, N = 256 and B = 32: its trajectory would be
1.2 GiB. Last, the time of a gradient with ``checkpoint_every=k`` against one that keeps all states.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import time

import common  # before numpy: it sets the number of threads
import numpy as np

SIZES = {"small": (100, 64, 1000), "large": (256, 64, 1000), "long": (256, 32, 20_000)}
STRETCHES = (16, 32, 64, 125, 250)
GIB = 2**30


def peak():
    """Largest resident memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def ours(params, u, target, mask, checkpoint_every=None):
    from tau_rnn.bptt import backward
    from tau_rnn.losses import mse
    from tau_rnn.model import forward

    traj = forward(params, u, common.DT, checkpoint_every=checkpoint_every)
    return backward(params, traj, mse(traj.y, target, mask)[1])


def peer(which):
    """One training step of the leanest form of a peer."""

    def call(*problem):
        import peers

        steps = peers.torch_steps(*problem) if which == "torch" else peers.jax_steps(*problem)
        steps["torch tuned" if which == "torch" else "jax plain"]()

    return call


def case(name, size, dtype, checkpoint_every):
    """Bytes before and after; run in a process of its own. A tiny case first loads the code."""
    call = ours if name == "ours" else peer(name)
    extra = [checkpoint_every] if checkpoint_every else []
    call(*common.problem(4, 2, 5, dtype), *extra)
    problem = common.problem(*SIZES[size], dtype)
    before = peak()
    call(*problem, *extra)
    return before, peak()


def measure(name, size, dtype="float32", checkpoint_every=0):
    code = (
        f"from memory import case; print(*case({name!r}, {size!r}, {dtype!r}, {checkpoint_every}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=sys.path[0]
    )
    before, after = map(int, done.stdout.split())
    return before, after, (after - before) / np.prod(SIZES[size])


def gradient_again(params, u, target, mask, checkpoint_every):
    """A call that computes a gradient, in the trajectory of the call before."""
    from tau_rnn.bptt import backward
    from tau_rnn.losses import mse
    from tau_rnn.model import forward

    traj = None

    def call():
        nonlocal traj
        traj = forward(params, u, common.DT, checkpoint_every=checkpoint_every, out=traj)
        backward(params, traj, mse(traj.y, target, mask)[1])

    return call


def checkpoint_times(size):
    """More time with a checkpoint every k steps, in percent: a row of the table."""
    problem = common.problem(*SIZES[size], np.float32)
    calls = {k: gradient_again(*problem, k) for k in (None, *STRETCHES)}
    times = common.interleaved(calls, 9, 60, time.process_time)
    return [f"{100 * (common.ratio(times, k, None) - 1):+.1f} %" for k in STRETCHES]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="without the long sequence")
    args = parser.parse_args()
    names = ["ours"] + [n for n in ("torch", "jax") if importlib.util.find_spec(n)]
    rows = []
    for size in ("small", "large"):
        for name in names:
            for dtype in ("float32", "float64") if name == "ours" else ("float32",):
                before, after, bytes_each = measure(name, size, dtype)
                megabytes = f"{(after - before) / 1e6:.0f}"
                rows.append([name, str(SIZES[size])[1:-1], dtype, megabytes, f"{bytes_each:.1f}"])
    if not args.quick:
        for every in (141, 1000):
            before, after, bytes_each = measure("ours", "long", "float32", every)
            label = f"ours, checkpoint_every={every}"
            megabytes = f"{(after - before) / 1e6:.0f}"
            rows.append([label, "256, 32, 20000", "float32", megabytes, f"{bytes_each:.2f}"])
            verdict = "met" if after < GIB else "MISSED"
            print(f"{label}: peak of the whole process {after / GIB:.2f} GiB, bar 1: {verdict}")
    print(common.table(["", "N, B, T", "dtype", "MB", "bytes per element"], rows))
    rows = [[str(SIZES[s])[1:-1], *checkpoint_times(s)] for s in ("small", "large")]
    print("\n" + common.table(["N, B, T", *(f"k = {k}" for k in STRETCHES)], rows))
    print(f"\n{common.machine()}")


if __name__ == "__main__":
    main()
