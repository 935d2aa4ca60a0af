"""The least that a training step can cost in NumPy, and the code one writes first.

`gemm_floor` does the matrix products of a step and nothing else, each in the memory layout that is
fastest here. `full_floor` adds one tanh and nine elementwise passes per time step. Their operands
are buffers that stay in the cache, made before the clock starts. `streamed_floor` does the same,
but x and r are those of a whole run, written once going forward and read once going back, which no
step can do without. None of the three computes anything of use. `naive` is a correct training step
without any care for speed: the equations, step by step.
"""

from __future__ import annotations

import itertools
import time
from functools import partial

import numpy as np
from common import DT, N_IN, N_OUT

FORWARD_PASSES, BACKWARD_PASSES = 3, 6


def fastest_product(a, b):
    """A call that multiplies a and b, in the fastest of eight layouts: each array by rows or by
    columns, and so is the result."""
    layouts = []
    for order_a, order_b, order in itertools.product("CF", repeat=3):
        left, right = np.asarray(a, order=order_a), np.asarray(b, order=order_b)
        out = np.empty((len(a), b.shape[1]), a.dtype)
        if order == "F":  # np.dot writes by rows: the transposed result is the same by columns
            left, right, out = right.T, left.T, np.empty(out.shape[::-1], out.dtype)
        layouts.append(partial(np.dot, left, right, out=out))
    best = np.full(len(layouts), np.inf)
    for _ in range(9):
        for k, call in enumerate(layouts):
            start = time.perf_counter()
            for _ in range(20):
                call()
            best[k] = min(best[k], time.perf_counter() - start)
    return layouts[best.argmin()]


def gemm_floor(N, B, T, dtype, passes=False, streamed=False):
    """The products of one training step: two with W per time step, and the chunked sums."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    W, rates, out = normal(N, N) / N, normal(B, N), normal(B, N)
    steps = min(T, max(1, 1024 // B))
    rows, u, dy = normal(steps * B, N), normal(steps * B, N_IN + 1), normal(steps * B, N_OUT)
    through_W = fastest_product(rates, W)
    of_a_chunk = [
        fastest_product(a, b)
        for a, b in (
            (u, normal(N_IN + 1, N)), (rows, normal(N, N_OUT)), (dy, normal(N_OUT, N)),
            (rows.T, rows), (rows.T, u), (dy.T, rows),
        )
    ]  # fmt: skip
    x, r = (normal(T if streamed else 1, B, N) for _ in range(2))
    time_slices = [(x[t % len(x)], r[t % len(r)]) for t in range(T)]
    tanh, multiply = np.tanh, np.multiply

    def step():
        for _ in range(0, T, steps):
            for product in of_a_chunk:
                product()
        for x_t, r_t in time_slices:
            through_W()
            if passes:
                for _ in range(FORWARD_PASSES - 1):
                    multiply(rates, rates, out=out)
                multiply(rates, rates, out=x_t)
                tanh(rates, out=r_t)
        for x_t, r_t in reversed(time_slices):
            through_W()
            if passes:
                for _ in range(BACKWARD_PASSES - 1):
                    multiply(rates, rates, out=out)
                multiply(x_t, r_t, out=out)

    return step


def full_floor(N, B, T, dtype):
    """`gemm_floor` with one tanh and nine elementwise passes over (B, N) per time step."""
    return gemm_floor(N, B, T, dtype, passes=True)


def streamed_floor(N, B, T, dtype):
    """`full_floor` with the states and rates of a whole run, written once and read once."""
    return gemm_floor(N, B, T, dtype, passes=True, streamed=True)


def naive(params, u, target, mask):
    """A training step as one writes it first: lists of states, sums of outer products, Adam."""
    params = {name: p.copy() for name, p in params._asdict().items()}
    moments = {name: (np.zeros_like(p), np.zeros_like(p)) for name, p in params.items()}
    count = 0
    T, B = mask.shape

    def step():
        nonlocal count
        W, W_in, b, W_out, b_out, x0, tau = params.values()
        alpha = (DT / tau).astype(W.dtype)
        x, r, y, c = [np.tile(x0, (B, 1))], [np.tanh(np.tile(x0, (B, 1)))], [], []
        for t in range(T):
            c.append(r[t] @ W.T + u[t] @ W_in.T + b)
            x.append(x[t] + alpha * (c[t] - x[t]))
            r.append(np.tanh(x[t + 1]))
            y.append(r[t + 1] @ W_out.T + b_out)
        error = (np.array(y) - target) * mask[..., np.newaxis]
        dy = 2 * error / mask.sum()
        grads = {name: np.zeros_like(p) for name, p in params.items()}
        dx = np.zeros((B, len(b)), W.dtype)
        for t in reversed(range(T)):
            grads["W_out"] += dy[t].T @ r[t + 1]
            grads["b_out"] += dy[t].sum(axis=0)
            dx = dx + (1 - r[t + 1] ** 2) * (dy[t] @ W_out)
            dc = alpha * dx
            grads["W"] += dc.T @ r[t]
            grads["W_in"] += dc.T @ u[t]
            grads["b"] += dc.sum(axis=0)
            grads["tau"] -= (dx * (c[t] - x[t])).sum(axis=0) * alpha / tau
            dx = (1 - alpha) * dx + (1 - r[t] ** 2) * (dc @ W)
        grads["x0"] = dx.sum(axis=0)
        count += 1
        for name, p in params.items():
            m, v = moments[name]
            m[...] = 0.9 * m + 0.1 * grads[name]
            v[...] = 0.999 * v + 0.001 * grads[name] ** 2
            p -= 1e-4 * (m / (1 - 0.9**count)) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8)

    return step
