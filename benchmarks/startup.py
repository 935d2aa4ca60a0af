"""What a reader waits for before anything happens: imports, and the help of the command line.

    python benchmarks/startup.py [--quick]

Each command runs in a fresh process, in turn with the others. Bars: ``import tau_rnn`` takes at
most 40 ms more than ``import numpy``, and ``python -m tau_rnn.run --help`` at most 0.25 s.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

import numpy as np

COMMANDS = {
    "python": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import tau_rnn": ["-c", "import tau_rnn"],
    "tau_rnn.run --help": ["-m", "tau_rnn.run", "--help"],
}
LAZY = ("matplotlib", "scipy.stats", "scipy.optimize", "scipy.special", "torch", "jax", "dask")


def run(arguments):
    """Wall and CPU seconds of one fresh process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 21")
    args = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # threads of BLAS are started at import
    times = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        run(command)  # compiles what is not yet compiled, and fills the cache of the disk
    for _ in range(5 if args.quick else 21):
        for name, command in COMMANDS.items():
            times[name].append(run(command))
    medians = {name: 1e3 * np.median(t, axis=0) for name, t in times.items()}
    for name, (wall, cpu) in medians.items():
        fastest = 1e3 * np.min(times[name], axis=0)
        print(f"{name:20s} {wall:6.0f} ms wall, {cpu:6.0f} ms CPU (fastest {fastest[0]:.0f} ms)")
    pairs = np.array(times["import tau_rnn"]) - np.array(times["import numpy"])
    extra = 1e3 * np.median(pairs, axis=0)
    print(
        f"import tau_rnn - import numpy: {extra[0]:.0f} ms wall, {extra[1]:.0f} ms CPU; bar 40 ms"
    )
    print(f"tau_rnn.run --help: {medians['tau_rnn.run --help'][0]:.0f} ms wall; bar 250 ms")
    loaded = f"import sys, tau_rnn; print(*(m for m in {LAZY} if m in sys.modules))"
    names = subprocess.check_output([sys.executable, "-c", loaded], text=True).strip()
    print(f"heavy modules that import tau_rnn loads: {names or 'none'}")


if __name__ == "__main__":
    main()
