"""What fitting timescales costs: 100 units, 100 trials of 500 samples, one thread, one core.

    python benchmarks/timescales.py [--quick] [--rounds 7] [--cpu-time]

The bar is 5 ms per unit without intervals. The baselines are those of the validation of the same
subject: what they cost beside what they are worth (validation/timescale_recovery.py).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import common  # before NumPy: it sets the number of threads
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "validation"))

from _timescale_baselines import ar1, first_1e, murray, ou, per_trial

from tau_rnn.timescales import autocovariance, fit_timescales

N_TRIALS, N_SAMPLES, DT, TAU, BAR = 100, 500, 0.01, 0.5, 5.0


def contenders(x, slow):
    """Name of each call and the call."""
    calls = {
        "autocovariance alone": lambda: autocovariance(x),
        "ours, no intervals": lambda: fit_timescales(x, DT, ci=None),
        "ours, with intervals": lambda: fit_timescales(x, DT),
        "ours, 200 bootstraps": lambda: fit_timescales(x, DT, ci="bootstrap"),
        "ours, one or two by BIC": lambda: fit_timescales(x, DT, model="auto", ci=None),
        "1/e crossing": lambda: first_1e(x, DT),
        "AR(1)": lambda: ar1(x, DT),
        "Murray (curve_fit)": lambda: murray(x, DT),
    }
    if slow:
        calls["ours, damped cosine"] = lambda: fit_timescales(x, DT, model="cos", ci=None)
        calls["per-trial exponential"] = lambda: per_trial(x, DT)
    return calls


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="20 units, without the slow ones")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that is not quiet")
    args = parser.parse_args()
    n_units = 20 if args.quick else 100
    x = ou(np.random.default_rng(0), n_units, TAU, N_SAMPLES * DT, DT, N_TRIALS)
    clock = time.process_time if args.cpu_time else time.perf_counter
    times = common.interleaved(contenders(x, not args.quick), args.rounds, 300, clock)
    rows = [
        [name, f"{1e3 * np.median(t) / n_units:.2f}", f"{1e3 * np.min(t) / n_units:.2f}"]
        for name, t in times.items()
    ]
    kind = "CPU time" if args.cpu_time else "wall time"
    print(f"{common.machine()}; one thread. {kind} per unit in ms.\n")
    print(common.table(["estimator", "median", "least"], rows))
    found = 1e3 * np.median(times["ours, no intervals"]) / n_units
    verdict = "met" if found <= BAR else "MISSED"
    print(f"\nbar: {BAR:g} ms without intervals: {found:.2f}, {verdict}")


if __name__ == "__main__":
    main()
