"""What makes a step fast must not change what it computes: buffers, chunks, checkpoints, noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tau_rnn.bptt as bptt
from tau_rnn import _layout
from tau_rnn._layout import by_rows, product_with
from tau_rnn.bptt import backward
from tau_rnn.gradcheck.strategies import cases, make_case
from tau_rnn.model import Params, forward, init_params
from tau_rnn.noise import CHUNK, normal_table, private_noise, standard_noise

# Cases reach up to dt = tau, where forward warns that Euler steps are inaccurate.
pytestmark = pytest.mark.filterwarnings("ignore:dt = :RuntimeWarning")



def poisoned(arrays):
    """Copies of arrays full of nan: what is not written again shows."""
    return [np.full_like(a, np.nan) for a in arrays]


def gradient(case, traj, **options):
    return backward(case.params, traj, case.dy(traj), **options)


def close(a: Params, b: Params, tolerance=1e-12):
    """Equal to rounding: the largest difference of a field over its largest value."""
    for name, x, y in zip(Params._fields, a, b):
        assert np.abs(x - y).max(initial=0) <= tolerance * np.abs(y).max(initial=1e-300), name


# --- how W lies in memory -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype, N, gap", [("f4", 512, 64), ("f8", 256, 64), ("c16", 128, 64), ("f4", 513, 0)]
)
def test_rows_half_a_page_apart_get_a_gap_and_keep_their_numbers(dtype, N, gap):
    rng = np.random.default_rng(0)
    W, r = rng.standard_normal((N, N)).astype(dtype), rng.standard_normal((2, N)).astype(dtype)
    columns = by_rows(W.T)
    assert columns.strides == (N * W.itemsize + gap, W.itemsize)
    np.testing.assert_array_equal(columns, W.T)
    out = np.full_like(r, np.nan)
    product_with(columns)(r, columns, out=out)
    # 512 products of size 1 add up: their rounding is some 1e-6 in single precision.
    np.testing.assert_allclose(out, r @ W.T, rtol=1e-4, atol=1e-4 if dtype == "f4" else 1e-12)


def test_a_run_is_the_same_with_and_without_gaps(monkeypatch):
    rng = np.random.default_rng(0)
    params = init_params(256, 2, 1, rng.uniform(0.1, 1, 256), rng)  # rows of 2048 bytes
    u = rng.standard_normal((5, 3, 2))

    def run():
        traj = forward(params, u, 0.05)
        return traj.x, backward(params, traj, traj.y)

    x, grads = run()
    monkeypatch.setattr(_layout, "HALF_PAGE", 10**9)
    x_without, grads_without = run()
    np.testing.assert_allclose(x, x_without, rtol=1e-12, atol=1e-12)
    close(grads, grads_without)


# --- buffers used again -------------------------------------------------------------------------


@given(cases())
def test_buffers_used_again_give_the_same_bits(case):
    traj = case.run()
    grads = gradient(case, traj)
    x, r, y = poisoned(traj[:3])
    again = forward(case.params, case.u, case.dt, **case.options, out=traj._replace(x=x, r=r, y=y))
    assert again.x is x and again.r is r and again.y is y
    for a, b in zip(again[:3], traj[:3]):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(gradient(case, again), grads):
        np.testing.assert_array_equal(a, b)


@given(cases(), st.integers(1, 10))
def test_checkpoint_buffers_used_again_give_the_same_bits(case, every):
    first = forward(case.params, case.u, case.dt, **case.options, checkpoint_every=every)
    x, r, y = poisoned(first[:3])
    again = forward(
        case.params, case.u, case.dt, **case.options, checkpoint_every=every,
        out=first._replace(x=x, r=r, y=y),
    )  # fmt: skip
    for a, b in zip(again[:3], first[:3]):
        np.testing.assert_array_equal(a, b)


def test_without_out_what_is_returned_is_the_callers_own():
    case = make_case(0)
    a, b = case.run(), case.run()
    grads_a, grads_b = gradient(case, a), gradient(case, b)
    for one in (*a[:3], *grads_a):
        for other in (*b[:3], *grads_b, *case.params, case.u, case.noise):
            assert not np.shares_memory(one, other)


@pytest.mark.parametrize("field", ["x", "r", "y"])
@pytest.mark.parametrize("spoil", ["shape", "dtype", "order"])
def test_a_trajectory_that_does_not_fit_is_refused_before_it_is_written(field, spoil):
    case = make_case(0, T=5, B=3)
    traj = case.run()
    given_ = getattr(traj, field)
    wrong = {
        "shape": np.zeros((*given_.shape[:2], given_.shape[2] + 1)),
        "dtype": given_.astype(np.float32),
        "order": np.asfortranarray(given_),
    }[spoil]
    out = traj._replace(**{field: wrong})
    before = [a.copy() for a in out[:3]]
    with pytest.raises(ValueError, match=f"out: {field} must be"):
        forward(case.params, case.u, case.dt, **case.options, out=out)
    for a, b in zip(out[:3], before):
        np.testing.assert_array_equal(a, b)


# --- chunks and checkpoints ---------------------------------------------------------------------


@given(case=cases(max_steps=12), rows=st.integers(1, 40))
def test_the_size_of_a_chunk_does_not_matter(case, rows):
    traj = case.run()
    expected = gradient(case, traj)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bptt, "CHUNK_ROWS", rows)
        close(gradient(case, traj), expected)


@given(
    case=cases(max_steps=12),
    every=st.integers(1, 15),
    rates=st.booleans(),
    rows=st.sampled_from([bptt.CHUNK_ROWS, 1, 5]),
)
def test_checkpoints_give_the_same_outputs_and_gradient(case, every, rates, rows):
    whole = case.run()
    kept = forward(case.params, case.u, case.dt, **case.options, checkpoint_every=every)
    T = len(case.u)
    assert len(kept.x) == len(kept.r) == -(-T // every)
    # One stretch or many, a state is the same sum; BLAS may round it differently.
    np.testing.assert_allclose(kept.x, whole.x[:-1:every], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(kept.y, whole.y, rtol=1e-12, atol=1e-12)
    dr = case.rng().standard_normal(whole.r.shape) if rates else None
    expected = gradient(case, whole, dr=dr)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bptt, "CHUNK_ROWS", rows)  # a stretch of several chunks, or of one
        close(gradient(case, kept, dr=dr), expected)


def test_a_stretch_longer_than_the_run_takes_no_more_memory_than_the_run():
    case = make_case(3, T=9)
    kept = forward(case.params, case.u, case.dt, **case.options, checkpoint_every=10**15)
    assert len(kept.x) == 1
    close(gradient(case, kept), gradient(case, case.run()))


@pytest.mark.parametrize("mixed", ["params", "u", "noise", "dy"])
@pytest.mark.parametrize("every", [None, 4])
def test_single_precision_among_double_is_promoted(mixed, every):
    case = make_case(3, T=9, B=2)
    params, u, noise = case.params, case.u, case.noise
    single = {
        "params": lambda: params._replace(W=params.W.astype(np.float32)),
        "u": lambda: u.astype(np.float32),
        "noise": lambda: noise.astype(np.float32),
    }
    values = {"params": params, "u": u, "noise": noise}
    if mixed in single:
        values[mixed] = single[mixed]()
    traj = forward(
        values["params"], values["u"], case.dt, noise=values["noise"], checkpoint_every=every
    )
    dy = case.dy(traj)
    grads = backward(values["params"], traj, dy.astype(np.float32) if mixed == "dy" else dy)
    assert traj.x.dtype == traj.y.dtype == np.float64
    assert all(g.dtype == np.float64 for g in grads)
    reference = forward(params, u, case.dt, noise=noise)
    # What was given in single precision is known to 6e-8 of its size only.
    np.testing.assert_allclose(traj.y, reference.y, atol=1e-5)
    close(grads, backward(params, reference, case.dy(reference)), 1e-5)


def test_all_but_one_argument_in_single_precision():
    """float64 noise alone must not leave a float32 product with nowhere to go."""
    case = make_case(4, T=7, B=2)
    params = Params(*(p.astype(np.float32) for p in case.params))
    u, dy = case.u.astype(np.float32), np.ones((7, 2, 2), np.float32)
    traj = forward(params, u, case.dt, noise=case.noise)
    grads = backward(params, traj, dy)
    assert traj.x.dtype == np.float64 and grads.W.dtype == np.float64
    wide = Params(*(p.astype(np.float64) for p in params))
    same = forward(wide, u.astype(np.float64), case.dt, noise=case.noise)
    # alpha is computed from a tau of single precision: 6e-8, some steps long.
    np.testing.assert_allclose(traj.x, same.x, atol=1e-5)


def test_a_run_of_several_blocks_is_that_of_its_parts():
    rng = np.random.default_rng(0)
    params, u = init_params(5, 2, 1, 0.5, rng), rng.standard_normal((60, 40, 2))
    params = params._replace(b_out=np.ones(1))
    whole = forward(params, u, 0.1)  # a block has 12 steps of 40 trials
    for start in range(0, 60, 10):
        part = forward(params, u[start : start + 10], 0.1, x0=whole.x[start])
        np.testing.assert_allclose(whole.x[start : start + 11], part.x, atol=1e-14)
        np.testing.assert_allclose(whole.y[start : start + 10], part.y, atol=1e-14)


# --- private noise ------------------------------------------------------------------------------


def network(tau, dtype=np.float64):
    N = len(tau)
    shapes = (N, N), (N, 1), (N,), (1, N), (1,), (N,)
    return Params(*(np.zeros(s, dtype) for s in shapes), np.asarray(tau, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_table_is_the_normal_distribution(dtype):
    """Its docstring in numbers: moments, symmetry, range, and distance of distributions."""
    from scipy.special import ndtr

    table = normal_table(dtype)
    z = table.astype(np.float64)
    K = len(z)
    assert table.dtype == dtype and K == 2**16 and not table.flags.writeable
    assert (np.diff(z) > 0).all()
    np.testing.assert_array_equal(z, -z[::-1])
    # float32 rounds each value by 6e-8 at most, and the mean of the squares far less.
    assert abs(np.mean(z**2) - 1) < (1e-8 if dtype == np.float32 else 1e-14)
    assert -1.8e-4 < np.mean(z**4) - 3 < -1.6e-4
    assert 4.38 < z[-1] < 4.39
    steps = np.arange(K + 1) / K
    distance = max(np.max(steps[1:] - ndtr(z)), np.max(ndtr(z) - steps[:-1]))
    assert distance < 9.6e-6


def test_each_value_of_the_table_is_the_mean_of_its_slice():
    from scipy.integrate import quad
    from scipy.special import ndtri

    table, K = normal_table(), 2**16
    for k in (0, 1, 1000, K // 2, K - 1):
        low, high = np.clip(ndtri([k / K, (k + 1) / K]), -12, 12)
        mean = K * quad(lambda z: z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi), low, high)[0]
        # The common factor is 1 + 7.4e-7; quad's absolute error of 1e-13 is multiplied by K.
        assert table[k] == pytest.approx(mean * (1 + 7.4e-7), rel=1e-7, abs=1e-7)


@given(
    seed=st.integers(0, 2**32 - 1),
    T=st.integers(0, 20),
    B=st.integers(0, 4),
    N=st.integers(1, 9),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_the_generator_alone_decides_the_noise(seed, T, B, N, dtype):
    params = network(np.linspace(0.05, 1, N), dtype)
    draw = [np.random.default_rng(seed) for _ in range(2)]
    a = private_noise(params, 0.01, 0.5, T, B, draw[0])
    out = np.full((T, B, N), np.nan, dtype)
    assert private_noise(params, 0.01, 0.5, T, B, draw[1], out=out) is out
    assert a.shape == (T, B, N) and a.dtype == dtype
    np.testing.assert_array_equal(a, out)
    assert draw[0].bit_generator.state == draw[1].bit_generator.state
    if a.size:
        assert not np.array_equal(a, private_noise(params, 0.01, 0.5, T, B, draw[0]))


def test_the_noise_of_a_double_is_that_of_a_single():
    tau = np.full(7, 0.1)
    a = private_noise(network(tau), 0.01, 1, 50, 3, np.random.default_rng(0))
    b = private_noise(network(tau, np.float32), 0.01, 1, 50, 3, np.random.default_rng(0))
    np.testing.assert_allclose(a, b, rtol=1e-6)  # float32 holds 7 digits


def test_noise_is_white_normal_and_scaled_to_each_tau():
    """Moments, distribution and correlations, each within 4 standard errors, over many chunks."""
    from scipy.special import ndtr

    T, B, tau, dt, sigma = 4000, 10, np.array([0.02, 0.1, 0.5, 2.0]), 0.01, 0.3
    assert T * B * len(tau) > 2 * CHUNK
    noise = private_noise(
        network(tau), dt, sigma, T, B, np.random.default_rng(1), method="euler"
    )
    a = dt / tau
    xi = noise / (sigma * np.sqrt((2 - a) / a))
    n = T * B
    flat = xi.reshape(n, len(tau))
    # Standard errors of normal samples: mean 1, variance 2, third moment 15, fourth 96, over n.
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = np.mean(flat**power, axis=0) - expected
        assert (np.abs(error) < 4 * np.sqrt(variance / n)).all(), power
    order = np.sort(flat.ravel())
    steps = np.arange(order.size + 1) / order.size
    distance = max(np.max(steps[1:] - ndtr(order)), np.max(ndtr(order) - steps[:-1]))
    assert distance < 1.95 / np.sqrt(order.size)  # Kolmogorov-Smirnov, p = 0.001
    for lag in (1, 2, 3, 10):
        products = xi[lag:] * xi[:-lag]
        assert abs(products.mean()) < 4 / np.sqrt(products.size), lag
    correlation = np.corrcoef(flat.T)[np.triu_indices(len(tau), 1)]
    assert np.abs(correlation).max() < 4 / np.sqrt(n)
    between_trials = np.corrcoef(xi.transpose(1, 0, 2).reshape(B, -1))[np.triu_indices(B, 1)]
    assert np.abs(between_trials).max() < 4 / np.sqrt(T * len(tau))


@pytest.mark.parametrize(
    ("N", "B"), [(30001, 3), (3, 30001), (CHUNK, 1), (CHUNK + 1, 1), (5, CHUNK)]
)
def test_a_step_of_more_numbers_than_a_chunk_is_drawn_whole(N, B):
    """Against the definition: each step takes its 16-bit indices from 64-bit numbers of its own."""
    T, sigma, a = 2, 0.5, 0.25
    assert N * B >= CHUNK
    params = network(np.ones(1))._replace(tau=np.full(N, 0.04))
    noise = private_noise(
        params, 0.01, sigma, T, B, np.random.default_rng(5), method="euler"
    )
    rng, table = np.random.default_rng(5), normal_table()
    for t in range(T):
        bits = rng.integers(2**64, size=-(-N * B // 4), dtype=np.uint64).view(np.uint16)
        expected = sigma * np.sqrt((2 - a) / a) * table[bits[: N * B]].reshape(B, N)
        np.testing.assert_allclose(noise[t], expected, rtol=1e-14)


def test_the_size_of_a_chunk_is_part_of_what_a_seed_gives():
    # A chunk takes whole 64-bit numbers, so its size decides which of their bits are left over.
    first = 21845  # steps of 3 numbers in 2^16
    xi = standard_noise((first + 5, 1, 3), np.dtype(float), np.random.default_rng(5))
    rng, table = np.random.default_rng(5), normal_table("float64")
    for some in (slice(0, first), slice(first, first + 5)):
        drawn = xi[some].ravel()
        bits = rng.integers(2**64, size=-(-drawn.size // 4), dtype=np.uint64).view(np.uint16)
        np.testing.assert_array_equal(drawn, table[bits[: drawn.size]])


def test_complex_tau_give_the_noise_of_their_real_part():
    params = network(np.ones(1))._replace(tau=np.array([0.1, 0.5]))
    noise, other = (
        private_noise(params._replace(tau=tau), 0.01, 0.2, 3, 2, np.random.default_rng(5))
        for tau in (params.tau, params.tau + 1e-20j)
    )
    assert other.dtype == float
    np.testing.assert_allclose(other, noise, rtol=1e-13)  # another expm1


def test_bits_of_one_number_give_independent_draws():
    """Four draws share a 64-bit number; the four places in it must not be related."""
    params = network(np.ones(4))
    xi = private_noise(params, 0.01, 1, 50_000, 1, np.random.default_rng(2))[:, 0]
    for power in (1, 2):
        correlation = np.corrcoef((xi**power).T)[np.triu_indices(4, 1)]
        assert np.abs(correlation).max() < 4 / np.sqrt(len(xi))


@pytest.mark.parametrize(
    "out",
    [np.zeros((4, 3, 2)), np.zeros((3, 3, 5), np.float64), np.zeros((4, 3, 5), np.float32),
     np.asfortranarray(np.zeros((4, 3, 5)))],
)  # fmt: skip
def test_a_noise_buffer_that_does_not_fit_is_refused(out):
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    with pytest.raises(ValueError, match="out: must be a contiguous float64 array"):
        private_noise(network(np.ones(5)), 0.01, 1, 4, 3, rng, out=out)
    assert not out.any() and rng.bit_generator.state == before
