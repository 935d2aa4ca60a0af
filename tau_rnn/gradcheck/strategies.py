"""Hypothesis draws the structure of a network and of its trials; a seeded rng fills the arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from tau_rnn.losses import mse
from tau_rnn.model import METHODS, NONLINEARITIES, Params, Trajectory, forward


class Case(NamedTuple):
    """A network, what drives it, and the loss it is judged by."""

    params: Params
    u: np.ndarray
    dt: float
    phi: str
    method: str
    noise: np.ndarray | None
    target: np.ndarray
    mask: np.ndarray
    seed: int

    @property
    def options(self):
        return {"phi": self.phi, "method": self.method, "noise": self.noise}

    def run(self, params: Params | None = None) -> Trajectory:
        return forward(self.params if params is None else params, self.u, self.dt, **self.options)

    def loss(self, params: Params | None = None):
        return mse(self.run(params).y, self.target, self.mask)[0]

    def dy(self, traj: Trajectory) -> np.ndarray:
        return mse(traj.y, self.target, self.mask)[1]

    def rng(self, stream: int = 1) -> np.random.Generator:
        """A generator for what a test draws itself, independent of what made the case."""
        return np.random.default_rng([self.seed, stream])


def make_case(
    seed, *, N=4, n_in=2, n_out=2, T=6, B=3, gain=1.0, dt=0.05, ratios=(0.05, 0.5),
    phi="tanh", method="euler", noisy=True, empty=0,
) -> Case:  # fmt: skip
    """Fill a case from default_rng(seed). Every field is nonzero, so that no term drops out.

    ratios : range of dt / tau, drawn log-uniformly
    empty : number of time steps whose mask is zero, if at least one step is left
    """
    rng = np.random.default_rng(seed)
    tau = dt / np.exp(rng.uniform(*np.log(ratios), N))
    params = Params(
        W=rng.standard_normal((N, N)) * gain / np.sqrt(N),
        W_in=rng.standard_normal((N, n_in)) / np.sqrt(max(n_in, 1)),
        b=0.3 * rng.standard_normal(N),
        W_out=rng.standard_normal((n_out, N)) / np.sqrt(N),
        b_out=0.3 * rng.standard_normal(n_out),
        x0=rng.standard_normal(N),
        tau=tau,
    )
    u = rng.standard_normal((T, B, n_in))
    noise = rng.standard_normal((T, B, N)) if noisy else None
    target = rng.standard_normal((T, B, n_out))
    mask = rng.uniform(0.1, 1, (T, B))
    mask[rng.permutation(T)[: min(empty, T - 1)]] = 0
    return Case(params, u, dt, phi, method, noise, target, mask, seed)


@st.composite
def cases(draw, max_units=6, max_steps=8, max_trials=4, phis=tuple(NONLINEARITIES)) -> Case:
    """Networks from one unit, one step and one trial up, over the whole space of settings."""
    smallest = draw(st.floats(0.01, 1))
    return make_case(
        draw(st.integers(0, 2**32 - 1)),
        N=draw(st.integers(1, max_units)),
        n_in=draw(st.integers(1, 3)),
        n_out=draw(st.integers(1, 3)),
        T=draw(st.integers(1, max_steps)),
        B=draw(st.integers(1, max_trials)),
        # Zero, or large enough: a gradient of 1e-295 times a complex step of 1e-20 underflows.
        gain=draw(st.just(0.0) | st.floats(1e-3, 1.5)),
        dt=draw(st.sampled_from([0.001, 0.05, 1.0, 20.0])),
        ratios=(smallest, draw(st.floats(smallest, 1))),
        phi=draw(st.sampled_from(phis)),
        method=draw(st.sampled_from(METHODS)),
        noisy=draw(st.booleans()),
        empty=draw(st.integers(0, 3)),
    )
