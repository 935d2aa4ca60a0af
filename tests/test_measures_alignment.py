"""Alignments against explicit matrices: the Jacobian by forward mode, column for column."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau_rnn.bptt import backward, tangent
from tau_rnn.gradcheck.strategies import cases, make_case
from tau_rnn.measures import alignment, kernel_alignment, representation_alignment
from tau_rnn.measures.alignment import output_gradients
from tau_rnn.model import Params, forward

# The whole space of networks includes coarse Euler steps, of which `alpha` warns.
pytestmark = pytest.mark.filterwarnings("ignore:dt = :RuntimeWarning")

seeds = st.integers(0, 2**32 - 1)


def jacobian_by_tangent(params, traj):
    """(T, B, n_out, N, N) derivative of every output by every W[i, j], one tangent each."""
    N = len(params.b)
    J = np.empty((*traj.y.shape, N, N))
    for i in range(N):
        for j in range(N):
            direction = Params(*(np.zeros_like(p) for p in params))
            direction.W[i, j] = 1
            J[..., i, j] = tangent(params, traj, direction)
    return J


def alignment_of(K0, K1):
    return (K0 * K1).sum() / np.sqrt((K0 * K0).sum() * (K1 * K1).sum())


def retrained(case):
    """The network of a case after an arbitrary change of every parameter but tau."""
    rng = case.rng()
    moved = Params(*(p + 0.3 * rng.standard_normal(p.shape) for p in case.params))
    return moved._replace(tau=case.params.tau)


@given(cases(max_units=12))
def test_output_gradients_are_the_rows_of_the_jacobian(case):
    traj = case.run()
    J = jacobian_by_tangent(case.params, traj)
    outputs = np.argwhere(np.ones(traj.y.shape, bool))[:, [1, 0, 2]]  # (trial, t, k)
    outputs = outputs[case.rng().permutation(len(outputs))]
    found = output_gradients(case.params, traj, outputs)
    expected = J[outputs[:, 1], outputs[:, 0], outputs[:, 2]]
    # Both are sums of up to T N^2 products of either sign: errors relative to the largest term.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * max(1, np.abs(J).max()))


def test_output_gradients_weighted_by_dy_add_up_to_backward():
    case = make_case(3, N=6, T=9, B=4, phi="softplus", method="exponential")
    traj = case.run()
    dy = case.dy(traj)
    outputs = np.argwhere(np.ones(dy.shape, bool))[:, [1, 0, 2]]
    weights = dy[outputs[:, 1], outputs[:, 0], outputs[:, 2]]
    total = np.tensordot(weights, output_gradients(case.params, traj, outputs), axes=1)
    np.testing.assert_allclose(total, backward(case.params, traj, dy).W, atol=1e-13)


@given(cases(max_units=5, max_steps=6), st.sampled_from(["all", "steps", "by trial"]))
def test_kernel_alignment_is_that_of_the_explicit_kernels(case, kind):
    after = retrained(case)
    T, B, _ = case.u.shape
    times = {
        "all": None,
        "steps": np.unique(case.rng(2).integers(T, size=3)),
        "by trial": case.rng(2).integers(T, size=(2, B)),
    }[kind]
    kernels = []
    for params in (case.params, after):
        J = jacobian_by_tangent(params, case.run(params))
        if kind == "by trial":
            J = J[times, np.arange(B)]
        elif kind == "steps":
            J = J[times]
        J = J.reshape(-1, len(params.b) ** 2)
        kernels.append(J @ J.T)
    found = kernel_alignment(case.params, after, case.u, case.dt, times=times, **case.options)
    if not all(K.any() for K in kernels):
        assert np.isnan(found)
    else:
        # Where nearly all gradients cancel, the kernel keeps fewer digits than its terms.
        assert found == pytest.approx(alignment_of(*kernels), rel=1e-8)


def test_an_alignment_is_never_above_one():
    for seed in range(200):
        H = np.random.default_rng(seed).standard_normal((7, 3))
        assert 1 - 1e-12 < representation_alignment(H, 3 * H) <= 1


def test_blocks_change_nothing(monkeypatch):
    case = make_case(5, N=5, T=4, B=3)
    arguments = case.params, retrained(case), case.u, case.dt
    whole = kernel_alignment(*arguments, **case.options)
    for n_outputs in (1, 5, 17):  # of 24: blocks that end within a trial as well
        monkeypatch.setattr(alignment, "BLOCK_BYTES", 8 * 5 * 5 * n_outputs)
        blocked = kernel_alignment(*arguments, **case.options)
        assert blocked == pytest.approx(whole, rel=1e-13)


def test_a_block_of_the_kernel_is_bounded_as_well(monkeypatch):
    # Small networks with many outputs: their gradients are few numbers, their kernel is not.
    sizes = []

    def recorded(params, traj, outputs):
        sizes.append(len(outputs))
        return output_gradients(params, traj, outputs)

    case = make_case(5, N=2, T=3, B=8)
    arguments = case.params, retrained(case), case.u, case.dt
    whole = kernel_alignment(*arguments, **case.options)
    monkeypatch.setattr(alignment, "output_gradients", recorded)
    monkeypatch.setattr(alignment, "BLOCK_BYTES", 8 * 10**2)
    assert kernel_alignment(*arguments, **case.options) == pytest.approx(whole, rel=1e-13)
    assert max(sizes) == 10


def test_kernel_of_one_step_in_closed_form():
    """y[0] = w phi(x1), x1 = (1 - a) x0 + a W r0: df/dW = (a w phi'(x1)) r0^T, so K = p.p r0.r0."""
    case = make_case(7, N=6, T=1, B=5, n_out=1, noisy=False)
    a = case.dt / case.params.tau
    r0 = np.tanh(case.params.x0)
    kernels = []
    for W_out in (case.params.W_out, case.params.W_out[:, ::-1]):
        params = case.params._replace(W_out=W_out)
        x1 = forward(params, case.u, case.dt, method="euler").x[1]
        p = a * W_out * (1 - np.tanh(x1) ** 2)
        kernels.append((p @ p.T) * (r0 @ r0))
    other = case.params._replace(W_out=case.params.W_out[:, ::-1])
    found = kernel_alignment(case.params, other, case.u, case.dt, method="euler")
    assert found == pytest.approx(alignment_of(*kernels), rel=1e-12)
    assert found < 0.999  # else the two kernels would not tell right from wrong


def test_kernel_alignment_is_one_when_only_the_scale_of_the_readout_changed():
    case = make_case(1, N=5, T=6, B=3)
    louder = case.params._replace(W_out=7 * case.params.W_out, b_out=0 * case.params.b_out)
    assert kernel_alignment(case.params, louder, case.u, case.dt) == pytest.approx(1, abs=1e-12)
    silent = case.params._replace(W_out=0 * case.params.W_out)
    assert np.isnan(kernel_alignment(case.params, silent, case.u, case.dt))


@given(seeds, st.integers(2, 9), st.integers(1, 9), st.integers(1, 9))
def test_representation_alignment_is_what_loops_over_pairs_of_trials_say(seed, B, n0, n1):
    rng = np.random.default_rng(seed)
    H0, H1 = rng.standard_normal((B, n0)), rng.standard_normal((B, n1))
    pairs = [(a, b) for a in range(B) for b in range(B)]
    R0, R1 = (np.array([sum(H[a] * H[b]) for a, b in pairs]) for H in (H0, H1))
    assert representation_alignment(H0, H1) == pytest.approx(alignment_of(R0, R1), rel=1e-10)


@given(seeds, st.integers(2, 9), st.integers(1, 9), st.floats(1e-6, 1e6))
def test_representation_alignment_ignores_rotation_scale_and_order_of_trials(seed, B, n, scale):
    rng = np.random.default_rng(seed)
    H0, H1 = rng.standard_normal((2, B, n))
    rotation, order = np.linalg.qr(rng.standard_normal((n, n)))[0], rng.permutation(B)
    value = representation_alignment(H0, H1)
    assert 0 <= value <= 1 + 1e-12
    assert representation_alignment(H0, scale * H0 @ rotation) == pytest.approx(1, abs=1e-12)
    assert representation_alignment(H1, H0) == pytest.approx(value, rel=1e-12)
    moved = representation_alignment(H0[order], scale * H1[order] @ rotation)
    assert moved == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_representations_of_different_trials_are_not_aligned():
    H0, H1 = np.zeros((2, 4, 3))
    H0[0, 0], H0[1, 1] = 1, 2
    H1[2, 0], H1[3, 2] = 3, 1
    assert representation_alignment(H0, H1) == 0


def test_the_scale_of_a_representation_is_nothing_to_its_alignment():
    H0, H1 = np.random.default_rng(0).standard_normal((2, 6, 3))
    value = representation_alignment(H0, H1)
    for exponent in (-900, -300, 300, 900):  # whose fourth power no float holds
        assert representation_alignment(np.ldexp(H0, exponent), H1) == value
        assert representation_alignment(H0, np.ldexp(H1, exponent)) == value


def test_a_constant_representation_gives_nan():
    H = np.random.default_rng(0).standard_normal((4, 3))
    for constant in (np.zeros((4, 3)), np.tile(H[0], (4, 1))):
        assert np.isnan(representation_alignment(H, constant))
        assert np.isnan(representation_alignment(constant, H))


def test_bad_arguments_are_refused():
    H = np.ones((3, 2))
    case = make_case(0, N=3, T=4, B=2)
    smaller = make_case(0, N=2).params
    traj = case.run()
    arguments = case.params, case.params, case.u, case.dt
    for call, words in [
        (lambda: representation_alignment(H, np.ones((4, 2))), "H1.*3.*4"),
        (lambda: representation_alignment(np.ones((0, 2)), H), "H0"),
        (lambda: representation_alignment(H, [[1, np.inf]] * 3), "H1.*inf"),
        (lambda: representation_alignment(np.ones(3), H), r"H0.*\(trials, units\)"),
        (lambda: kernel_alignment(case.params, smaller, case.u, case.dt), "params1.W"),
        (lambda: kernel_alignment(*arguments, times=[4]), "times.*T - 1 = 3"),
        (lambda: kernel_alignment(*arguments, times=[-1]), "times.*-1"),
        (lambda: kernel_alignment(*arguments, times=[]), "times"),
        (lambda: kernel_alignment(*arguments, times=[0.5]), "times.*integers"),
        (lambda: kernel_alignment(*arguments, times=np.zeros((1, 3), int)), "B = 2"),
        (lambda: output_gradients(case.params, traj, [[0, 4, 0]]), "outputs.*below"),
        (lambda: output_gradients(case.params, traj, [[0, 0]]), "outputs.*A, 3"),
        (lambda: output_gradients(
            case.params, forward(case.params, case.u, case.dt, checkpoint_every=2), [[0, 0, 0]]
        ), "all states"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=words):
            call()
