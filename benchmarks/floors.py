"""The least that a training step can cost in NumPy, and the code one writes first.

`gemm_floor` does the matrix products of a step and nothing else; `full_floor` does them and one
tanh and nine elementwise passes per time step. Neither computes anything of use: their operands
are buffers that stay in the cache, made before the clock starts. `naive` is a correct training step
without any care for speed: the equations, step by step.
"""

from __future__ import annotations

import numpy as np
from common import DT, N_IN, N_OUT

PASSES = 9


def gemm_floor(N, B, T, dtype, passes=0):
    """The products of one training step: two with W per time step, and the chunked sums."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    W, rates, out = normal(N, N) / N, normal(B, N), normal(B, N)
    W_T = np.ascontiguousarray(W).T
    steps = min(T, max(1, 1024 // B))
    rows, rows2, sums = normal(steps * B, N), normal(steps * B, N), normal(N, N)
    u, dy = normal(steps * B, N_IN + 1), normal(steps * B, N_OUT)
    W_in, W_out, y = normal(N_IN + 1, N), normal(N_OUT, N), normal(steps * B, N_OUT)
    sums_in, sums_out = normal(N, N_IN + 1), normal(N_OUT, N)
    tanh, multiply = np.tanh, np.multiply

    def step():
        for _ in range(0, T, steps):
            np.dot(u, W_in, out=rows2)
            np.dot(rows, W_out.T, out=y)
            np.dot(dy, W_out, out=rows2)
            np.dot(rows2.T, rows, out=sums)
            np.dot(rows2.T, u, out=sums_in)
            np.dot(dy.T, rows, out=sums_out)
        for _ in range(T):
            np.dot(rates, W_T, out=out)
            np.dot(rates, W, out=out)
            if passes:
                tanh(rates, out=out)
                for _ in range(passes):
                    multiply(rates, rates, out=out)

    return step


def full_floor(N, B, T, dtype):
    """`gemm_floor` with one tanh and nine elementwise passes over (B, N) per time step."""
    return gemm_floor(N, B, T, dtype, PASSES)


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
