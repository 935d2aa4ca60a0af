"""How the cost of a training step grows with the steps T, the trials B and the units N.

    python benchmarks/scaling.py [--quick] [--figure FILE]

Prints the times and the slopes of log time against log size, and draws them. The cost is linear in
T: the slope is 1.00 +- 0.03 from T = 200 on; below, the 0.6 ms show that a step takes whatever its
T. It is at most linear in B (products of few rows are less efficient), and at most quadratic in N,
approached from below: the products cost N^2, all else costs N.
"""

from __future__ import annotations

import argparse
import time

import common  # before numpy: it sets the number of threads
import numpy as np
from step import ours

N, B, T = 100, 32, 250
GRIDS = {
    "T": [200, 400, 800, 1600, 3200, 6400],
    "B": [16, 32, 64, 128, 256, 512],
    "N": [32, 64, 128, 256, 512, 1024],
}
UNITS = {"T": "time steps T", "B": "trials B", "N": "units N"}
DTYPES = (np.float32, np.float64)


def measure(axis, dtype, rounds):
    """Medians over the rounds of the seconds of a step, for each size on one axis."""
    calls = {}
    for value in GRIDS[axis]:
        sizes = {"N": N, "B": B, "T": T if axis != "N" else 50} | {axis: value}
        calls[value] = ours(*common.problem(sizes["N"], sizes["B"], sizes["T"], dtype))
    times = common.interleaved(calls, rounds, clock=time.process_time)
    return np.array([np.median(times[value]) for value in GRIDS[axis]])


def slope(axis, seconds):
    """Slope of the regression line of log time on log size, and the largest local slope."""
    log_size, log_time = np.log(GRIDS[axis]), np.log(seconds)
    return np.polyfit(log_size, log_time, 1)[0], (np.diff(log_time) / np.diff(log_size)).max()


def draw(results, path):
    """Three panels, time against size, with the reference slopes dashed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.2), layout="constrained", sharey=True)
    styles = {np.float32: ("#0072B2", "o"), np.float64: ("#D55E00", "s")}
    for ax, axis in zip(axes, GRIDS):
        size = np.array(GRIDS[axis])
        for dtype in DTYPES:
            seconds = results[axis, dtype]
            color, marker = styles[dtype]
            label = f"{np.dtype(dtype)}: slope {slope(axis, seconds)[0]:.2f}"
            ax.loglog(size, seconds * 1e3, color=color, marker=marker, ms=4, label=label)
        power = 2 if axis == "N" else 1
        last = results[axis, np.float32][-1] * 1e3
        guide = last * (size / size[-1]) ** power / 1.6
        ax.loglog(size, guide, "--", color="#777777", lw=1, label=f"slope {power}")
        fixed = {"N": N, "B": B, "T": T if axis != "N" else 50}
        held = ", ".join(f"{k} = {v}" for k, v in fixed.items() if k != axis)
        ax.set(xlabel=UNITS[axis], title=f"at {held}")
        ax.set_xticks(size, [str(s) for s in size])
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8)
    axes[0].set_ylabel("one training step (ms)")
    figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 9")
    parser.add_argument("--figure", help="file to draw the figure into")
    args = parser.parse_args()
    results, rows = {}, []
    for axis in GRIDS:
        for dtype in DTYPES:
            seconds = results[axis, dtype] = measure(axis, dtype, 3 if args.quick else 9)
            fitted, steepest = slope(axis, seconds)
            ms = ", ".join(f"{s * 1e3:.1f}" for s in seconds)
            rows.append([axis, np.dtype(dtype), ms, f"{fitted:.3f}", f"{steepest:.2f}"])
            print(*rows[-1], sep="  ", flush=True)
    print(f"\n{common.machine()}; one thread, CPU time.\n")
    for axis, sizes in GRIDS.items():
        print(f"{axis}: {', '.join(map(str, sizes))}")
    head = ["axis", "dtype", "ms of a step", "slope", "steepest"]
    print("\n" + common.table(head, rows))
    if args.figure:
        draw(results, args.figure)


if __name__ == "__main__":
    main()
