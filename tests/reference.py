"""The oracle: simulation and gradient in scalar loops that look like the equations.

Slow on purpose, and written from the equations (Eqs. 3.1 to 3.12), not from the code of the
package.
"""

import math

import numpy as np

from tau_rnn.model import Params

PHI = {
    "tanh": (math.tanh, lambda x: 1 - math.tanh(x) ** 2),
    "relu": (lambda x: max(x, 0.0), lambda x: 1.0 if x > 0 else 0.0),
    "softplus": (lambda x: math.log(1 + math.exp(x)), lambda x: 1 / (1 + math.exp(-x))),
    "sigmoid": (
        lambda x: 1 / (1 + math.exp(-x)),
        lambda x: math.exp(-x) / (1 + math.exp(-x)) ** 2,
    ),
    "linear": (lambda x: x, lambda x: 1.0),
}


def step_sizes(tau, dt, method):
    """alpha_i and its derivative with respect to tau_i."""
    if method == "euler":
        return [dt / t for t in tau], [-dt / t**2 for t in tau]
    return [1 - math.exp(-dt / t) for t in tau], [-math.exp(-dt / t) * dt / t**2 for t in tau]


def forward(params, u, dt, phi="tanh", method="euler", noise=None):
    """x (T+1, B, N), c (T, B, N) the current that each unit receives, y (T, B, n_out)."""
    W, W_in, b, W_out, b_out, x0, tau = params
    T, B, n_in = u.shape
    N, n_out = len(b), len(b_out)
    f, _ = PHI[phi]
    alpha, _ = step_sizes(tau, dt, method)
    x, c, y = np.zeros((T + 1, B, N)), np.zeros((T, B, N)), np.zeros((T, B, n_out))
    for k in range(B):
        x[0, k] = x0
        for t in range(T):
            for i in range(N):
                c[t, k, i] = b[i]
                for j in range(N):
                    c[t, k, i] += W[i, j] * f(x[t, k, j])
                for m in range(n_in):
                    c[t, k, i] += W_in[i, m] * u[t, k, m]
                if noise is not None:
                    c[t, k, i] += noise[t, k, i]
                x[t + 1, k, i] = (1 - alpha[i]) * x[t, k, i] + alpha[i] * c[t, k, i]
            for o in range(n_out):
                y[t, k, o] = b_out[o] + sum(W_out[o, j] * f(x[t + 1, k, j]) for j in range(N))
    return x, c, y


def backward(params, u, dt, dy, phi="tanh", method="euler", noise=None):
    """dLoss/dparams by the chain rule, one scalar at a time."""
    W, W_in, b, W_out, b_out, x0, tau = params
    T, B, n_in = u.shape
    N, n_out = len(b), len(b_out)
    f, slope = PHI[phi]
    alpha, dalpha_dtau = step_sizes(tau, dt, method)
    x, c, _ = forward(params, u, dt, phi, method, noise)
    g = Params(*(np.zeros(np.shape(p)) for p in params))
    for k in range(B):
        dx_next = np.zeros(N)  # dLoss/dx[t+1], without what y[t] passes on
        for t in reversed(range(T)):
            for o in range(n_out):
                g.b_out[o] += dy[t, k, o]
                for j in range(N):
                    g.W_out[o, j] += dy[t, k, o] * f(x[t + 1, k, j])
                    dx_next[j] += dy[t, k, o] * W_out[o, j] * slope(x[t + 1, k, j])
            dx = np.zeros(N)
            for i in range(N):
                dx[i] += dx_next[i] * (1 - alpha[i])
                g.b[i] += dx_next[i] * alpha[i]
                g.tau[i] += dx_next[i] * (c[t, k, i] - x[t, k, i]) * dalpha_dtau[i]
                for m in range(n_in):
                    g.W_in[i, m] += dx_next[i] * alpha[i] * u[t, k, m]
                for j in range(N):
                    g.W[i, j] += dx_next[i] * alpha[i] * f(x[t, k, j])
                    dx[j] += dx_next[i] * alpha[i] * W[i, j] * slope(x[t, k, j])
            dx_next = dx
        g.x0[:] += dx_next
    return g
