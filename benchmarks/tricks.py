"""What each trick is worth: a training step without it, against the one that has them all.

    python benchmarks/tricks.py [--quick]

Each variant is a copy of the package in which one trick is undone by replacing the lines below.
All variants are called in turn in one process. The gain is the median of the ratio without / with.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import common  # before numpy: it sets the number of threads
import numpy as np

import tau_rnn

# name: [(file, lines as they are, lines without the trick)]
UNDO = {
    "rows of W scaled by alpha once": [
        ("model.py", "aW_T = by_rows(by_rows(a[:, np.newaxis] * params.W).T)",
         "aW_T, a_rows = by_rows(by_rows(params.W).T), np.full((B, N), a)"),
        ("model.py", "x_next += dot(r[t], aW_T, out=current)",
         "x_next += np.multiply(a_rows, dot(r[t], aW_T, out=current), out=current)"),
        ("bptt.py", "aW, leak = by_rows(a[:, np.newaxis] * params.W),",
         "aW, leak = by_rows(params.W),"),
        ("bptt.py", "    for dx_t, slope_t in", "    a_rows = 1 - leak\n    for dx_t, slope_t in"),
        ("bptt.py", "dot(dx_t, aW, out=through_W)", "dot(dx_t * a_rows, aW, out=through_W)"),
    ],
    "inputs and outputs by blocks, not the whole run": [
        ("model.py", "steps = max(1, 512 // B)", "steps = T"),
    ],
    "inputs and outputs by blocks, not step by step": [
        ("model.py", "steps = max(1, 512 // B)", "steps = 1"),
    ],
    "weight gradients in chunks, not one product a step": [
        ("bptt.py", "CHUNK_ROWS = 1024", "CHUNK_ROWS = 1"),
    ],
    "weight gradients in chunks, not one product at the end": [
        ("bptt.py", "CHUNK_ROWS = 1024", "CHUNK_ROWS = 2**40"),
    ],
    "dtau from the sums of dW, dW_in and db": [
        ("bptt.py", "        _add_sums(", "        _add_sums.params = params\n        _add_sums("),
        ("bptt.py", 'raw_x += np.einsum("ti,ti->i", dx_next, _rows(x))',
         "W, W_in, b = _add_sums.params[:3]\n"
         "    c = _rows(r[:-1]) @ W.T + _rows(inputs) @ np.column_stack([W_in, b]).T\n"
         '    raw_x += np.einsum("ti,ti->i", dx_next, _rows(x) - c)'),
        ("bptt.py", "(raw * W).sum(axis=1) + (raw_in * W_in).sum(axis=1) + raw_b * b + raw_noise",
         "raw_noise"),
    ],
    "sum of dx x by einsum, not three passes": [
        ("bptt.py", 'raw_x += np.einsum("ti,ti->i", dx_next, _rows(x))',
         "raw_x += (dx_next * _rows(x)).sum(axis=0)"),
    ],
    "np.dot, not np.matmul": [
        ("_layout.py", "return np.dot if matrix.flags.c_contiguous else np.matmul",
         "return np.matmul"),
        ("model.py", "np.dot(", "np.matmul("),
        ("bptt.py", "np.dot(", "np.matmul("),
    ],
    "a gap behind rows half a page apart": [
        ("_layout.py", "HALF_PAGE = 2048", "HALF_PAGE = 2**40"),
    ],
    "one block of memory for dx and slope": [
        ("bptt.py", "dx, slope = np.empty((2, C, B, N), dtype)",
         "dx, slope = np.empty((C, B, N), dtype), np.empty((C, B, N), dtype)"),
    ],
    "trajectory buffers used again": [
        ("training.py", "noise, dt, settings, out=traj", "noise, dt, settings, out=None"),
    ],
    "leak as (B, N)": [
        ("model.py", "leak, gain = np.full((B, N), 1 - a), np.full((B, N), a)",
         "leak, gain = 1 - a, a"),
        ("bptt.py", "np.full((B, N), 1 - a)", "1 - a"),
    ],
}  # fmt: skip
NOISY = {
    "normal numbers from a table": [
        ("noise.py", 'np.take(xi, bits[: part.size].reshape(part.shape), out=part, mode="clip")',
         "rng.standard_normal(out=part, dtype=dtype)"),
    ],
}  # fmt: skip
SIZES = [(100, 32, 100), (100, 64, 250), (256, 64, 250), (512, 64, 250)]


def variant(folder, number, edits):
    """Copy the package under another name with the edits made, and import its training loop."""
    name = f"tau_rnn_variant_{number}"
    copy = Path(folder) / name
    shutil.copytree(Path(tau_rnn.__file__).parent, copy)
    for path in copy.rglob("*.py"):
        path.write_text(path.read_text().replace("tau_rnn", name))
    for file, old, new in edits:
        text = (copy / file).read_text()
        if old not in text:
            raise SystemExit(f"{file}: the line {old!r} is no longer there; mend this benchmark")
        (copy / file).write_text(text.replace(old, new))
    return importlib.import_module(f"{name}.training"), importlib.import_module(f"{name}.model")


def step(modules, params, u, target, mask, noise):
    """A call that makes one training step of a variant; all seven fields are trained."""
    training, model = modules
    settings = training.TrainConfig(batch=mask.shape[1], train=("all",), method="euler", lr=1e-4)
    trials = SimpleNamespace(u=u, target=target, mask=mask)
    task = SimpleNamespace(noise=noise, dt=common.DT, trials=lambda *_, dtype: trials)
    rngs = np.random.default_rng(0).spawn(2)
    states = training.training_steps(
        training.start(model.Params(*params), settings, task.dt, *rngs), task, settings
    )
    return lambda: next(states)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the two smallest sizes, 5 rounds")
    args = parser.parse_args()
    sizes, rounds = (SIZES[:2], 5) if args.quick else (SIZES, 15)
    rows = {name: [name] for name in [*UNDO, *NOISY]}
    head = ["trick"]
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)
        edits = {"all": [], **UNDO, **NOISY}
        modules = {name: variant(folder, i, e) for i, (name, e) in enumerate(edits.items())}
        for dtype in (np.float32, np.float64):
            for size in sizes if dtype == np.float32 else sizes[:3]:
                head.append(f"{np.dtype(dtype)}: {str(size)[1:-1]}")
                problem = common.problem(*size, dtype)
                for group, noise in (([*UNDO], 0.0), ([*NOISY], 0.1)):
                    calls = {n: step(modules[n], *problem, noise) for n in ["all", *group]}
                    times = common.interleaved(calls, rounds, 60, time.process_time, turn=0.02)
                    for name in group:
                        rows[name].append(f"{100 * (common.ratio(times, name, 'all') - 1):+.1f} %")
                print(head[-1], *(f"{n}: {r[-1]}" for n, r in rows.items()), sep="\n  ", flush=True)
    print("\n" + common.table(head, list(rows.values())))
    print(f"\n{common.machine()}; one thread, CPU time. More time without the trick.")


if __name__ == "__main__":
    main()
