"""Networks for property-based tests, drawn by hypothesis: test your own backward on all of them.

This file tests a backward of yours on some hundred networks, from one unit, one step and one trial
up, and shows the smallest network on which it fails::

    from hypothesis import given
    from my_bptt import backward
    from tau_rnn.gradcheck.strategies import cases

    @given(cases())
    def test_my_backward(case):
        traj = case.run()
        errors = case.errors(backward(case.params, traj, case.dy(traj)))
        assert max(errors.values()) < 1e-10, errors

Hypothesis draws the structure (sizes, dt / tau, nonlinearity, method, gain, noise, masks), and a
seeded generator fills the arrays, so that a failing case shrinks to a small network whose numbers
are those of ``make_case(seed, ...)``. Needs hypothesis: ``pip install "tau_rnn[test]"``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from tau_rnn.discretisation import DEFAULT_METHOD, METHODS
from tau_rnn.gradcheck.derivatives import complex_step, random_direction, relative_error
from tau_rnn.losses import mse
from tau_rnn.model import Array, Params, Trajectory, forward
from tau_rnn.nonlinearities import NONLINEARITIES, nonlinearity

__all__ = ["cases"]

class Case(NamedTuple):
    """A network, what drives it, and the loss it is judged by.

    Attributes
    ----------
    params : Params
    u : (T, B, n_in) inputs
    dt, phi, method : as `forward` takes them
    noise : (T, B, N) noise current, or None
    target : (T, B, n_out) targets of `mse`
    mask : (T, B) or (T, B, n_out) weights of `mse`
    seed : what the arrays were drawn from
    checkpoint_every : None, or k where `run` keeps every k-th state only
    dr : (T+1, B, N) derivative of the loss with respect to the rates, or None: the loss is then
        the `mse` plus ``sum(dr * r)``

    Examples
    --------
    >>> from tau_rnn import init_params
    >>> params = init_params(3, 1, 1, 1.0, np.random.default_rng(0))
    >>> u, target, mask = np.ones((4, 2, 1)), np.zeros((4, 2, 1)), np.ones((4, 2))
    >>> case = Case(params, u, 0.1, "tanh", "euler", None, target, mask, seed=0)
    >>> case.run().y.shape
    (4, 2, 1)
    """

    params: Params
    u: Array
    dt: float
    phi: str
    method: str
    noise: Array | None
    target: Array
    mask: Array
    seed: int
    checkpoint_every: int | None = None
    dr: Array | None = None

    @property
    def options(self) -> dict:
        """What `forward` takes by keyword: phi, method and noise."""
        return {"phi": self.phi, "method": self.method, "noise": self.noise}

    def run(self, params: Params | None = None, checkpoint_every: int | None = None) -> Trajectory:
        """Simulate the network, or the same with other parameters."""
        params = self.params if params is None else params
        every = self.checkpoint_every if checkpoint_every is None else checkpoint_every
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # coarse Euler steps, on purpose
            return forward(params, self.u, self.dt, **self.options, checkpoint_every=every)

    def loss(self, params: Params | None = None) -> Any:
        """The loss as a function of the parameters, real or complex."""
        traj = self._replace(checkpoint_every=None).run(params)
        loss = mse(traj.y, self.target, self.mask)[0]
        return loss if self.dr is None else loss + (self.dr * traj.r).sum()

    def dy(self, traj: Trajectory) -> Array:
        """Its derivative with respect to the outputs, (T, B, n_out)."""
        return mse(traj.y, self.target, self.mask)[1]

    def rng(self, stream: int = 1) -> np.random.Generator:
        """A generator for what a test draws itself, independent of what made the case."""
        return np.random.default_rng([self.seed, stream])

    def errors(self, gradient: Sequence) -> dict[str, float]:
        """Relative error of each of the seven gradients, against complex steps of the loss.

        Each is taken along a random direction v of its own field and scaled by ``sum |g v|`` of
        that field alone (Eq. 4.2), so that an error in a small gradient is not hidden by large
        ones. A right gradient in double precision stays below 1e-10.

        Parameters
        ----------
        gradient : Params, or the seven arrays in the order of its fields
        """
        found = {}
        for k, name in enumerate(Params._fields):
            v = random_direction(self.params, self.rng(k), name)
            exact = complex_step(self.loss, self.params, v)
            found[name] = relative_error(Params(*gradient), v, exact)
        return found


def make_case(
    seed, *, N=4, n_in=2, n_out=2, T=6, B=3, gain=1.0, dt=0.05, ratios=(0.05, 0.5),
    phi="tanh", method=DEFAULT_METHOD, noisy=True, empty=0, empty_trials=0, mask_of_outputs=False,
    checkpoint_every=None, rates=False,
) -> Case:  # fmt: skip
    """Fill a case from default_rng(seed). Every field is nonzero, so that no term drops out.

    Parameters
    ----------
    seed : int
    N, n_in, n_out, T, B : numbers of units, inputs, outputs, steps and trials
    gain : W is normal with sd gain / sqrt(N)
    ratios : least and largest dt / tau. The first unit has the least, the second the largest,
        the others are drawn log-uniformly between the two.
    noisy : whether there is a noise current
    empty, empty_trials : number of steps, and of trials, whose mask is zero; one of each is left
    mask_of_outputs : whether the mask is (T, B, n_out) instead of (T, B)
    checkpoint_every : for `forward`
    rates : whether the loss has a term in the rates as well

    Examples
    --------
    >>> case = make_case(0, N=2, T=3)
    >>> case.dt / case.params.tau
    array([0.05, 0.5 ])
    """
    rng = np.random.default_rng(seed)
    slowest, fastest = ratios
    ratio = np.exp(rng.uniform(np.log(slowest), np.log(fastest), N))
    ratio[:2] = [slowest, fastest][:N]
    params = Params(
        W=rng.standard_normal((N, N)) * gain / np.sqrt(N),
        W_in=rng.standard_normal((N, n_in)) / np.sqrt(max(n_in, 1)),
        b=0.3 * rng.standard_normal(N),
        W_out=rng.standard_normal((n_out, N)) / np.sqrt(N),
        b_out=0.3 * rng.standard_normal(n_out),
        x0=rng.standard_normal(N),
        tau=dt / ratio,
    )
    u = rng.standard_normal((T, B, n_in))
    noise = rng.standard_normal((T, B, N)) if noisy else None
    target = rng.standard_normal((T, B, n_out))
    mask = rng.uniform(0.1, 1, (T, B, n_out) if mask_of_outputs else (T, B))
    mask[rng.permutation(T)[: min(empty, T - 1)]] = 0
    mask[:, rng.permutation(B)[: min(empty_trials, B - 1)]] = 0
    dr = rng.standard_normal((T + 1, B, N)) / (T * B * N) if rates else None
    return Case(params, u, dt, phi, method, noise, target, mask, seed, checkpoint_every, dr)


@st.composite
def cases(
    draw,
    max_units: int = 40,
    max_steps: int = 8,
    max_trials: int = 4,
    *,
    phis: Sequence[str] = tuple(NONLINEARITIES),
    methods: Sequence[str] = METHODS,
    checkpoints: bool = False,
    rates: bool = False,
) -> Case:
    """Networks from one unit, one step and one trial up, over the whole space of settings.

    dt / tau reaches 80 with the exponential method and 1.99 with Euler's, where alpha > 2 diverges;
    tau spans up to four decades; the gain is 0 or up to 3; masks are of steps or of outputs, with
    steps and trials left out. Where y - target, 1 - r^2 or 1 - alpha have few digits left, a right
    gradient is inaccurate too: some output is off its target by 0.1 of the largest output or more,
    at each step some unit has phi' > 1e-3, and the slowest unit has dt / tau <= 3 and a distance
    of 0.05 or more between alpha and 1.

    Parameters
    ----------
    max_units, max_steps, max_trials : largest N, T and B
    phis, methods : nonlinearities and methods to draw from
    checkpoints : whether ``checkpoint_every`` of a `Case` may be a number
    rates : whether its ``dr`` may be an array; give it to a backward that takes it

    Returns
    -------
    hypothesis strategy of `Case`

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(max_examples=3, database=None)
    ... @given(case=cases(max_units=3))
    ... def test_rates_are_finite(case):
    ...     assert np.isfinite(case.run().r).all()
    >>> test_rates_are_finite()
    """
    method = draw(st.sampled_from(methods))
    N = draw(st.integers(1, max_units))
    phi = draw(st.sampled_from(phis))
    top = 1.99 if method == "euler" else 3.0 if N == 1 or phi == "relu" else 80.0
    fastest = draw(st.floats(0.01, 1) | st.floats(1, top))
    slowest = min(fastest / 10 ** draw(st.floats(0, 4)), 3.0)
    if method == "euler" and abs(1 - slowest) < 0.05:
        slowest = 0.95
    T, B = draw(st.integers(1, max_steps)), draw(st.integers(1, max_trials))
    case = make_case(
        draw(st.integers(0, 2**32 - 1)),
        N=N,
        n_in=draw(st.integers(1, 3)),
        n_out=draw(st.integers(1, 3)),
        T=T,
        B=B,
        # Zero, or large enough: a gradient of 1e-295 times a complex step of 1e-20 underflows.
        gain=draw(st.just(0.0) | st.floats(1e-3, 3)),
        dt=draw(st.sampled_from([0.001, 0.05, 1.0, 20.0])),
        ratios=(slowest, fastest),
        phi=phi,
        method=method,
        noisy=draw(st.booleans()),
        empty=draw(st.integers(0, 3)),
        empty_trials=draw(st.integers(0, 2)),
        mask_of_outputs=draw(st.booleans()),
        checkpoint_every=draw(st.none() | st.integers(1, T + 1)) if checkpoints else None,
        rates=draw(st.booleans()) if rates else False,
    )
    traj = case._replace(checkpoint_every=None).run()
    slope = nonlinearity(case.phi).derivative(traj.r)
    assume((slope.max(axis=(1, 2)) > 1e-3).all())
    error, mask = np.abs(traj.y - case.target), case.mask.reshape(T, B, -1)
    assume((error * (mask > 0)).max() > 0.1 * np.abs(traj.y).max())
    return case
