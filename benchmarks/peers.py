"""The same training step in torch and JAX, each in several forms; the best of them counts."""

from __future__ import annotations

import numpy as np
from common import DT

RATE = 1e-4


def torch_steps(params, u, target, mask):
    """{name: call} for torch: the obvious loop, a tuned one, and that one as TorchScript."""
    import torch

    torch.set_num_threads(1)
    inputs, goal = torch.from_numpy(u), torch.from_numpy(target)
    weight = torch.from_numpy(mask)[..., None]
    total = weight.sum()

    def plain(W, W_in, b, W_out, b_out, x0, tau, u):
        alpha = DT / tau
        x = x0.expand(u.shape[1], -1)
        y = []
        for t in range(len(u)):
            x = x + alpha * (-x + torch.tanh(x) @ W.T + u[t] @ W_in.T + b)
            y.append(torch.tanh(x) @ W_out.T + b_out)
        return torch.stack(y)

    def tuned(W, W_in, b, W_out, b_out, x0, tau, u):
        alpha = DT / tau
        aW_T = (alpha[:, None] * W).T
        leak = 1 - alpha
        drive = alpha * (u @ W_in.T + b)
        x = x0.expand(u.shape[1], -1)
        r = torch.tanh(x)
        rates = []
        for drive_t in drive.unbind(0):
            x = torch.addmm(torch.addcmul(drive_t, leak, x), r, aW_T)
            r = torch.tanh(x)
            rates.append(r)
        return torch.stack(rates) @ W_out.T + b_out

    @torch.jit.script
    def loop(x0, leak, aW_T, drive):
        x = x0
        r = torch.tanh(x)
        rates: list[torch.Tensor] = []
        for drive_t in drive.unbind(0):
            x = torch.addmm(torch.addcmul(drive_t, leak, x), r, aW_T)
            r = torch.tanh(x)
            rates.append(r)
        return torch.stack(rates)

    def scripted(W, W_in, b, W_out, b_out, x0, tau, u):
        alpha = DT / tau
        x0 = x0.expand(u.shape[1], -1)
        drive = alpha * (u @ W_in.T + b)
        return loop(x0, 1 - alpha, (alpha[:, None] * W).T, drive) @ W_out.T + b_out

    def training_step(network):
        leaves = [torch.tensor(p, requires_grad=True) for p in params]
        adam = torch.optim.Adam(leaves, lr=RATE, foreach=True)

        def step():
            adam.zero_grad()
            loss = (weight * (network(*leaves, inputs) - goal) ** 2).sum() / total
            loss.backward()
            adam.step()
            return loss.item()

        return step

    networks = {"torch eager": plain, "torch tuned": tuned, "torch script": scripted}
    return {name: training_step(network) for name, network in networks.items()}


def jax_steps(params, u, target, mask):
    """{name: call} for JAX: scan under jit, inputs projected within it, before it, or unrolled."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", u.dtype == np.float64)
    weight = jnp.asarray(mask)[..., None]
    inputs, goal = jnp.asarray(u), jnp.asarray(target)

    def inside(params, u, unroll):
        W, W_in, b, W_out, b_out, x0, tau = params
        alpha = DT / tau

        def cell(x, u_t):
            x = x + alpha * (-x + jnp.tanh(x) @ W.T + u_t @ W_in.T + b)
            return x, jnp.tanh(x) @ W_out.T + b_out

        x = jnp.broadcast_to(x0, (u.shape[1], len(x0)))
        return jax.lax.scan(cell, x, u, unroll=unroll)[1]

    def before(params, u, unroll):
        W, W_in, b, W_out, b_out, x0, tau = params
        alpha = DT / tau
        aW_T, leak, drive = (alpha[:, None] * W).T, 1 - alpha, alpha * (u @ W_in.T + b)

        def cell(carry, drive_t):
            x, r = carry
            x = leak * x + r @ aW_T + drive_t
            r = jnp.tanh(x)
            return (x, r), r

        x = jnp.broadcast_to(x0, (u.shape[1], len(x0)))
        rates = jax.lax.scan(cell, (x, jnp.tanh(x)), drive, unroll=unroll)[1]
        return rates @ W_out.T + b_out

    def training_step(network, unroll):
        def loss(params):
            error = network(params, inputs, unroll) - goal
            return (weight * error**2).sum() / weight.sum()

        @jax.jit
        def update(params, m, v, count):
            value, grads = jax.value_and_grad(loss)(params)
            m = [0.9 * m_i + 0.1 * g for m_i, g in zip(m, grads)]
            v = [0.999 * v_i + 0.001 * g**2 for v_i, g in zip(v, grads)]
            params = [
                p - RATE * (m_i / (1 - 0.9**count)) / (jnp.sqrt(v_i / (1 - 0.999**count)) + 1e-8)
                for p, m_i, v_i in zip(params, m, v)
            ]
            return value, params, m, v

        leaves = [jnp.asarray(p) for p in params]
        zeros = [jnp.zeros_like(p) for p in leaves]
        state = [leaves, zeros, zeros, 0]

        def step():
            leaves, m, v, count = state
            value, *state[:3] = update(leaves, m, v, jnp.asarray(count + 1, u.dtype))
            state[3] = count + 1
            return float(value)

        return step

    return {
        "jax plain": training_step(inside, 1),
        "jax hoisted": training_step(before, 1),
        "jax unroll 4": training_step(before, 4),
    }
