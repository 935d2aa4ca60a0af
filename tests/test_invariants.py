"""What must hold of every network, whatever its numbers: symmetries, and gradients by other means.

`test_gradients.py` compares the gradient with derivatives; here nothing is differentiated. Each
property is one of the equations, so that it fails for other slips than those do.
"""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from tau_rnn.bptt import backward
from tau_rnn.gradcheck.strategies import cases
from tau_rnn.model import Params, alpha, forward

# The whole space includes coarse Euler steps, of which `alpha` warns.
pytestmark = pytest.mark.filterwarnings("ignore:dt = :RuntimeWarning")

ODD = ("tanh", "linear")
HOMOGENEOUS = ("relu", "linear")


def gradient(case) -> Params:
    traj = case.run()
    return backward(case.params, traj, case.dy(traj))


def assert_same(g: Params, h: Params, bar: float = 1e-12) -> None:
    """Equal to rounding, relative to all and, a hundredfold less, to each field.

    A field may be one number whose terms cancel, and its own size is then no scale of its rounding.
    """
    size = sum(np.abs(e).sum() for e in h)
    for name, a, b in zip(Params._fields, g, h):
        assert a.shape == b.shape, name
        difference = np.abs(a - b).max(initial=0)
        assert difference <= bar * size and difference <= 100 * bar * np.abs(b).sum(), name


def with_signs(p: Params, s) -> Params:
    """Each unit's state counted with a sign of its own."""
    return Params(
        s[:, np.newaxis] * p.W * s,
        s[:, np.newaxis] * p.W_in,
        s * p.b,
        p.W_out * s,
        p.b_out,
        s * p.x0,
        p.tau,
    )


@given(cases(), st.floats(0.01, 100))
def test_a_network_does_not_know_the_unit_of_time(case, c):
    slower = case._replace(params=case.params._replace(tau=c * case.params.tau), dt=c * case.dt)
    x, y = case.run().x, slower.run().x
    assert np.abs(x - y).max() <= 1e-12 * np.abs(x).max()
    g = gradient(case)
    assert_same(gradient(slower), g._replace(tau=g.tau / c), 1e-11)


@given(cases(phis=ODD))
def test_the_sign_of_a_unit_is_a_matter_of_convention(case):
    s = case.rng().choice([-1.0, 1.0], len(case.params.b))
    noise = None if case.noise is None else s * case.noise
    mirrored = case._replace(params=with_signs(case.params, s), noise=noise)
    assert np.array_equal(mirrored.run().x, s * case.run().x)
    assert_same(gradient(mirrored), with_signs(gradient(case), s))


@given(cases(phis=HOMOGENEOUS), st.floats(0.1, 10))
def test_states_have_no_unit_where_phi_is_homogeneous(case, c):
    def rescaled(p, c):
        return p._replace(W_in=c * p.W_in, b=c * p.b, x0=c * p.x0, W_out=p.W_out / c)

    noise = None if case.noise is None else c * case.noise
    scaled = case._replace(params=rescaled(case.params, c), noise=noise)
    x, y = case.run().x, scaled.run().x
    assert np.abs(y - c * x).max() <= 1e-12 * np.abs(y).max()
    assert_same(gradient(scaled), rescaled(gradient(case), 1 / c), 1e-11)

    # Euler's identity: the derivative of that in c, which is 0.
    case = case._replace(noise=None)
    p, g = case.params, gradient(case)
    into = [(p.W_in * g.W_in), (p.b * g.b), (p.x0 * g.x0)]
    size = sum(np.abs(e).sum() for e in into) + np.abs(p.W_out * g.W_out).sum()
    assert abs(sum(e.sum() for e in into) - (p.W_out * g.W_out).sum()) <= 1e-12 * size


@given(cases(max_units=12), st.floats(-2, 3))
def test_a_unit_may_be_split_in_two(case, share):
    k = int(case.rng().integers(len(case.params.b)))  # its copy is the last unit
    p = case.params

    def split(w):  # what the unit sends is shared between the two
        return np.concatenate([w, (1 - share) * w[:, [k]]], axis=1) * np.where(
            np.arange(w.shape[1] + 1) == k, share, 1
        )

    def copied(w):  # what it receives both receive
        return np.concatenate([w, w[[k]]])

    params = Params(
        split(copied(p.W)), copied(p.W_in), copied(p.b), split(p.W_out), p.b_out, copied(p.x0),
        copied(p.tau),
    )  # fmt: skip
    noise = None
    if case.noise is not None:
        noise = np.concatenate([case.noise, case.noise[..., [k]]], axis=2)
    twins = case._replace(params=params, noise=noise)
    y = case.run().y
    assert np.abs(twins.run().y - y).max() <= 1e-11 * np.abs(y).max()

    def merged(w):  # both receive the same, and change it together
        w, last = w[:-1].copy(), w[-1]
        w[k] += last
        return w

    g, h = gradient(case), gradient(twins)
    for sent in (merged(h.W), h.W_out):  # a weight from either has the gradient of the one
        assert np.abs(sent[:, k] - sent[:, -1]).max(initial=0) <= 1e-11 * np.abs(sent).sum()
    assert_same(
        Params(merged(h.W)[:, :-1], merged(h.W_in), merged(h.b), h.W_out[:, :-1], h.b_out,
               merged(h.x0), merged(h.tau)), g, 1e-11,
    )  # fmt: skip


@given(cases(phis=("linear",)))
def test_the_adjoint_of_a_linear_network_is_a_network_run_backwards_in_time(case):
    p, traj = case.params, case.run()
    dy, T = case.dy(traj), len(case.u)
    a = alpha(p.tau, case.dt, case.method)
    # a_i W'_ij = W_ji a_j, and what the outputs put in enters without alpha.
    mirror = p._replace(
        W=p.W.T * a / a[:, np.newaxis], W_in=p.W_out.T / a[:, np.newaxis], b=0 * p.b, x0=0 * p.x0
    )
    u = np.concatenate([dy[::-1], 0 * dy[:1]])  # there is no output at time 0
    dx = forward(mirror, u, case.dt, phi="linear", method=case.method).x[::-1]
    dx, dx0 = dx[1:-1], dx[0]  # dx[t+1] for t = 0 .. T-1, and dx[0]
    assert len(dx) == T
    c = traj.r[:-1] @ p.W.T + case.u @ p.W_in.T + p.b
    c = c if case.noise is None else c + case.noise
    slope = np.array(reference.step_sizes(p.tau, case.dt, case.method)[1])
    expected = Params(
        np.einsum("tbi,tbj->ij", a * dx, traj.r[:-1]),
        np.einsum("tbi,tbj->ij", a * dx, case.u),
        (a * dx).sum((0, 1)),
        np.einsum("tbi,tbj->ij", dy, traj.r[1:]),
        dy.sum((0, 1)),
        dx0.sum(0),
        (dx * (c - traj.x[:-1])).sum((0, 1)) * slope,
    )
    assert_same(backward(p, traj, dy), expected, 1e-11)


@given(cases())
def test_without_recurrent_weights_each_unit_is_a_sum_of_exponentials(case):
    case = case._replace(params=case.params._replace(W=0 * case.params.W))
    p, T = case.params, len(case.u)
    a = alpha(p.tau, case.dt, case.method)
    drive = case.u @ p.W_in.T + p.b
    drive = drive if case.noise is None else drive + case.noise
    lag = np.arange(T + 1)[:, np.newaxis] - np.arange(T + 1)
    decay = np.where(lag[..., np.newaxis] >= 0, (1 - a) ** np.maximum(lag, 0)[..., np.newaxis], 0)
    # x[t] = (1 - a)^t x0 + sum_s (1 - a)^(t-1-s) a drive[s]
    x = decay[:, 0][:, np.newaxis] * p.x0
    x = x + np.einsum("tsi,sbi->tbi", decay[:, 1:], a * drive)
    traj = case.run()
    assert np.abs(traj.x - x).max() <= 1e-12 * np.abs(x).max()
    # dx[t] = sum_s (1 - a)^(s-t) phi'(x[s]) W_out^T dy[s-1]
    dy = case.dy(traj)
    slope = np.vectorize(reference.PHI[case.phi][1])(traj.x[1:])
    dx = np.einsum("sti,sbi->tbi", decay[1:], slope * (dy @ p.W_out))
    g = backward(p, traj, dy)
    assert_same(
        g,
        Params(
            np.einsum("tbi,tbj->ij", a * dx[1:], traj.r[:-1]),
            np.einsum("tbi,tbj->ij", a * dx[1:], case.u),
            (a * dx[1:]).sum((0, 1)),
            np.einsum("tbi,tbj->ij", dy, traj.r[1:]),
            dy.sum((0, 1)),
            dx[0].sum(0),
            (dx[1:] * (drive - traj.x[:-1])).sum((0, 1))
            * np.array(reference.step_sizes(p.tau, case.dt, case.method)[1]),
        ),
        1e-11,
    )
