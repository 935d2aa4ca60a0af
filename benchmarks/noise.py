"""What private noise costs, and how good it is: five sources of normal numbers side by side.

    python benchmarks/noise.py [--quick]

Each source fills the same (T, B, N) array in chunks that stay in the cache. The statistics are
those of the numbers it drew: their first moments, the Kolmogorov-Smirnov distance in units of
1/sqrt(n) (above 1.36 it would be significant at the 5 % level), and the correlation of successive
numbers in units of its standard error.
"""

from __future__ import annotations

import argparse
import time

import common  # before numpy: it sets the number of threads
import numpy as np
from step import ours

from tau_rnn.noise import CHUNK, normal_table, private_noise

T, B, N = 100, 64, 100


def chunks(out):
    """The array as flat pieces that stay in the cache."""
    flat = out.reshape(-1)
    return [flat[i : i + CHUNK] for i in range(0, flat.size, CHUNK)]


def ziggurat(rng, out):
    """``rng.standard_normal``: the ziggurat method of Marsaglia & Tsang."""
    for part in chunks(out):
        rng.standard_normal(out=part, dtype=out.dtype)


def box_muller(rng, out):
    """Pairs sqrt(-2 log u) (cos, sin)(2 pi v) from 32-bit uniform numbers, in vector code."""
    for part in chunks(out):
        half = -(-part.size // 2)
        bits = rng.integers(2**64, size=half, dtype=np.uint64).view(np.uint32).astype(out.dtype)
        radius, angle = bits[:half], bits[half:]
        radius += out.dtype.type(0.5)
        radius *= out.dtype.type(2.0**-32)
        np.log(radius, out=radius)
        radius *= -2
        np.sqrt(radius, out=radius)
        angle *= out.dtype.type(2 * np.pi * 2.0**-32)
        np.multiply(np.cos(angle), radius, out=part[:half])
        np.multiply(np.sin(angle), radius, out=bits[:half])
        part[half:] = bits[: part.size - half]


def table(rng, out):
    """`tau_rnn.noise`: 16 random bits look up one of 65536 normal values."""
    values = normal_table(out.dtype.type)
    for part in chunks(out):
        bits = rng.integers(2**64, size=-(-part.size // 4), dtype=np.uint64).view(np.uint16)
        np.take(values, bits[: part.size], out=part, mode="clip")


def sources(dtype):
    """{name: (fill, array)}; each source has a generator and an array of its own."""
    pcg, sfc = np.random.PCG64, np.random.SFC64
    pairs = {
        "ziggurat, PCG64": (ziggurat, pcg),
        "ziggurat, SFC64": (ziggurat, sfc),
        "Box-Muller, PCG64": (box_muller, pcg),
        "table, SFC64": (table, sfc),
        "table, PCG64 (ours)": (table, pcg),
    }
    result = {}
    for name, (fill, bits) in pairs.items():
        rng, out = np.random.Generator(bits(0)), np.empty((T, B, N), dtype)
        result[name] = (lambda fill=fill, rng=rng, out=out: fill(rng, out)), out
    return result


def statistics(fill, out, repeats):
    """Moments, distance and correlation of repeats * T * B * N numbers."""
    from scipy.special import ndtr

    numbers = []
    for _ in range(repeats):
        fill()
        numbers.append(out.reshape(-1).copy())
    z = np.concatenate(numbers).astype(np.float64)
    lag = np.mean(z[1:] * z[:-1]) * np.sqrt(z.size)
    moments = [np.mean(z), np.mean(z**2) - 1, np.mean(z**3), np.mean(z**4) - 3]
    errors = np.sqrt(np.array([1, 2, 15, 96]) / z.size)
    z.sort()
    steps = np.arange(z.size + 1) / z.size
    cdf = ndtr(z)
    distance = max(np.max(steps[1:] - cdf), np.max(cdf - steps[:-1])) * np.sqrt(z.size)
    return [f"{m / e:+.1f}" for m, e in zip(moments, errors)] + [
        f"{distance:.2f}", f"{lag:+.1f}", f"{np.abs(z[[0, -1]]).max():.2f}",
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and numbers")
    args = parser.parse_args()
    rounds, repeats = (3, 2) if args.quick else (11, 16)
    for dtype in (np.float32, np.float64):
        contenders = sources(dtype)
        calls = {name: fill for name, (fill, _) in contenders.items()}
        times = common.interleaved(calls, rounds, clock=time.process_time)
        rows = []
        for name, (fill, out) in contenders.items():
            ns = np.median(times[name]) / out.size * 1e9
            step = np.median(times[name]) / T * 1e6
            gain = common.ratio(times, "ziggurat, PCG64", name)
            quality = statistics(fill, out, repeats)
            rows.append([name, f"{ns:.2f}", f"{step:.1f}", f"{gain:.1f}", *quality])
        print(f"\n{np.dtype(dtype)}, {repeats * T * B * N:.1e} numbers of each source")
        head = ["source", "ns", "us per (64, 100)", "times faster", "mean", "variance", "third"]
        print(common.table([*head, "fourth", "KS", "lag 1", "largest"], rows))

    rows = []
    for dtype in (np.float32, np.float64):
        problem = common.problem(N, B, 250, dtype)
        params, noise = problem[0], np.empty((250, B, N), dtype)
        rng = np.random.default_rng(0)
        calls = {
            "silent": ours(*problem),
            "noisy": ours(*problem, noise=0.1),
            "draw": lambda p=params, o=noise, r=rng: private_noise(p, 0.01, 0.1, 250, B, r, out=o),
        }
        times = common.interleaved(calls, rounds, clock=time.process_time)
        ms = [f"{np.median(t) * 1e3:.1f}" for t in times.values()]
        rows.append([np.dtype(dtype), *ms, f"{common.ratio(times, 'noisy', 'silent'):.2f}"])
    print("\nA whole training step at N, B, T = 100, 64, 250 (CPU time, ms)")
    print(common.table(["dtype", "without noise", "with noise", "of it drawing", "ratio"], rows))
    print(f"\n{common.machine()}; one thread, CPU time. Moments and lag 1 in standard errors.")


if __name__ == "__main__":
    main()
