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
from functools import cache, partial

import numpy as np
from common import DT, N_IN, N_OUT

FORWARD_PASSES, BACKWARD_PASSES = 3, 6


def product(m, k, n, dtype, orders):
    """A call that multiplies (m, k) by (k, n); each of the two, and the result, is stored by rows
    ("C") or by columns ("F")."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in ((m, k), (k, n)))
    a, b = np.asarray(a, order=orders[0]), np.asarray(b, order=orders[1])
    if orders[2] == "C":
        return partial(a.dot, b, out=np.empty((m, n), dtype))
    # dot writes by rows: the transposed result by rows is the result by columns.
    return partial(b.T.dot, a.T, out=np.empty((n, m), dtype))


@cache
def fastest_product(m, k, n, dtype):
    """`product` in the fastest of the eight layouts, the same one for all floors."""
    calls = [product(m, k, n, dtype, orders) for orders in itertools.product("CF", repeat=3)]
    best = np.full(len(calls), np.inf)
    for _ in range(15):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            for _ in range(10):
                call()
            best[i] = min(best[i], time.perf_counter() - start)
    return calls[best.argmin()]


def gemm_floor(N, B, T, dtype, passes=False, streamed=False):
    """The products of one training step: two with W per time step, and the chunked sums."""
    rng = np.random.default_rng(0)
    steps = max(1, 1024 // B)  # of a chunk
    through_W = fastest_product(B, N, N, dtype)
    sums = [
        fastest_product(*shape, dtype)
        for rows in (min(steps, T - start) * B for start in range(0, T, steps))
        for shape in (
            (rows, N_IN + 1, N), (rows, N, N_OUT), (rows, N_OUT, N),  # inputs, outputs, dy W_out
            (N, rows, N), (N, rows, N_IN + 1), (N_OUT, rows, N),  # dW, dW_in and db, dW_out
        )
    ]  # fmt: skip
    rates, out = rng.standard_normal((2, B, N)).astype(dtype)
    x, r = rng.standard_normal((2, T if streamed else 1, B, N)).astype(dtype)
    time_slices = [(x[t % len(x)], r[t % len(r)]) for t in range(T)]
    tanh, multiply = np.tanh, np.multiply

    def step():
        for call in sums:
            call()
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
