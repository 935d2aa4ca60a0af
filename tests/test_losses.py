"""Losses: the value by hand, the derivative by complex step, masks, and wrong input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau_rnn.losses import mse, rate_penalty
from tau_rnn.model import forward, init_params


@st.composite
def outputs(draw):
    """y, target and a mask of either form, with steps of weight zero."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    T, B, n_out = (draw(st.integers(1, most)) for most in (6, 4, 3))
    y, target = rng.standard_normal((2, T, B, n_out))
    mask = rng.uniform(0, 2, (T, B) if draw(st.booleans()) else (T, B, n_out))
    mask[rng.random(mask.shape) < draw(st.floats(0, 0.9))] = 0
    return y, target, mask


@given(outputs())
def test_mse_is_the_weighted_mean_of_squares(case):
    y, target, mask = case
    total = weight = 0.0
    for index in np.ndindex(y.shape):
        w = mask[index[: mask.ndim]]
        total += w * (y[index] - target[index]) ** 2
        weight += w
    loss, dy = mse(y, target, mask)
    assert abs(loss - (total / weight if weight else 0)) <= 1e-13 * abs(loss)
    assert dy.shape == y.shape
    assert isinstance(loss, float)


@given(outputs())
def test_derivative_of_mse(case):
    y, target, mask = case
    _, dy = mse(y, target, mask)
    v = np.random.default_rng(0).standard_normal(y.shape)
    exact = np.imag(mse(y + 1e-20j * v, target, mask)[0]) / 1e-20
    assert abs((dy * v).sum() - exact) <= 1e-13 * np.abs(dy * v).sum()


@given(outputs(), st.floats(0.01, 100))
def test_scale_of_the_weights_does_not_matter(case, scale):
    y, target, mask = case
    (loss, dy), (other, dother) = mse(y, target, mask), mse(y, target, scale * mask)
    assert abs(loss - other) <= 1e-12 * loss
    assert np.abs(dy - dother).max() <= 1e-12 * max(np.abs(dy).max(), 1e-300)


@given(outputs())
def test_what_has_no_weight_does_not_enter(case):
    y, target, mask = case
    expected = mse(y, target, mask)
    full = np.broadcast_to(mask if mask.ndim == 3 else mask[..., None], y.shape)
    for odd in (np.nan, np.inf, 1e300):
        loss, dy = mse(y, np.where(full > 0, target, odd), mask)
        assert loss == expected[0]
        assert np.array_equal(dy, expected[1])
    assert not expected[1][full == 0].any()


def test_no_mask_is_equal_weights():
    y, target = np.random.default_rng(0).standard_normal((2, 4, 3, 2))
    loss, dy = mse(y, target)
    assert abs(loss - np.mean((y - target) ** 2)) < 1e-14
    assert np.allclose(dy, 2 * (y - target) / y.size, rtol=1e-14)


def test_a_mask_of_zeros_gives_zero():
    y, target = np.random.default_rng(0).standard_normal((2, 4, 3, 2))
    loss, dy = mse(y, target, np.zeros((4, 3)))
    assert loss == 0
    assert not dy.any()
    assert dy.shape == y.shape


def test_single_precision_is_kept_and_summed_in_double():
    rng = np.random.default_rng(0)
    y, target = rng.standard_normal((2, 500, 64, 2)).astype(np.float32)
    loss, dy = mse(y, target, np.ones((500, 64)))
    assert dy.dtype == np.float32
    double, ddouble = mse(y.astype(float), target.astype(float))
    assert abs(loss - double) < 1e-6 * double  # each of the squares is rounded to 6e-8
    assert np.abs(dy - ddouble).max() < 1e-6 * np.abs(ddouble).max()


def test_mse_leaves_its_arguments_alone():
    y, target = np.random.default_rng(0).standard_normal((2, 4, 3, 2))
    mask = np.ones((4, 3))
    before = y.copy(), target.copy(), mask.copy()
    mse(y, target, mask)
    assert all(map(np.array_equal, before, (y, target, mask)))


@given(st.integers(0, 2**32 - 1), st.just(0) | st.floats(1e-3, 10))
def test_rate_penalty(seed, weight):
    r, v = np.random.default_rng(seed).standard_normal((2, 5, 3, 4))
    loss, dr = rate_penalty(r, weight)
    assert abs(loss - weight * np.mean(r[1:] ** 2)) <= 1e-13 * loss
    assert not dr[0].any()
    exact = np.imag(rate_penalty(r + 1e-20j * v, weight)[0]) / 1e-20
    assert abs((dr * v).sum() - exact) <= 1e-13 * np.abs(dr * v).sum()


def test_weights_of_a_sum_of_one_and_the_shortest_run_count():
    two = np.full((1, 1, 1), 2.0)
    assert mse(two, 0 * two)[0] == 4  # a sum of weights of 1 is not one of 0
    r = np.array([[[5.0]], [[3.0]]])
    loss, dr = rate_penalty(r)  # of weight 1
    assert loss == 9 and dr.tolist() == [[[0.0]], [[6.0]]]


def test_a_loss_that_overflows_is_infinite_whatever_stands_where_nothing_counts():
    y, target = np.full((2, 1, 1), 1e200), np.array([[[0.0]], [[np.nan]]])
    assert mse(y, target, np.array([[1.0], [0.0]]))[0] == np.inf
    with pytest.raises(ValueError, match="target: every value must be finite"):
        mse(y, target, np.ones((2, 1)))


def test_rates_that_overflow_give_a_loss_to_look_at():
    assert rate_penalty([[[1.0]], [[np.inf]]])[0] == np.inf  # training names the step


@pytest.mark.parametrize("which", ["y", "target", "both"])
def test_what_is_masked_has_weight_zero(which):
    rng = np.random.default_rng(1)
    y, target = rng.standard_normal((2, 5, 3, 2))
    mask = rng.uniform(0.1, 1, (5, 3))
    hidden = rng.uniform(size=(2, *y.shape)) < 0.3
    hidden[0 if which == "target" else 1] &= which == "both"
    weights = np.where(hidden.any(axis=0), 0, mask[..., np.newaxis])
    loss, dy = mse(y, target, weights)
    y, target = y.copy(), target.copy()
    y[hidden[0]] = target[hidden[1]] = np.nan  # what a mask hides may be anything
    masked = [np.ma.masked_array(y, hidden[0]), np.ma.masked_array(target, hidden[1])]
    loss_of_masked, dy_of_masked = mse(*masked, mask)
    assert loss_of_masked == pytest.approx(loss, rel=1e-14)
    np.testing.assert_allclose(dy_of_masked, dy, rtol=1e-14)
    assert type(dy_of_masked) is np.ndarray
    assert mse(np.ma.masked_all((4, 3, 2)), np.full((4, 3, 2), 99.0))[0] == 0


def test_a_complex_y_has_a_complex_loss():
    rng = np.random.default_rng(2)
    y, v, target = rng.standard_normal((3, 5, 3, 2))
    loss, dy = mse(y, target)
    complex_loss, complex_dy = mse(y + 1e-20j * v, target)
    assert complex_loss.imag / 1e-20 == pytest.approx((dy * v).sum(), rel=1e-13)
    assert complex_loss.real == pytest.approx(loss, rel=1e-14)
    np.testing.assert_allclose(complex_dy.real, dy, rtol=1e-14)


def checkpointed():
    params = init_params(4, 2, 1, 1.0, np.random.default_rng(0))
    return forward(params, np.ones((6, 3, 2)), 0.1, checkpoint_every=2)


Y = np.zeros((4, 3, 2))


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (r"y: must be \(T, B, n_out\), got shape \(4, 3\)", lambda: mse(Y[..., 0], Y[..., 0])),
        (r"target: must have the shape of y, \(4, 3, 2\), got \(4, 3, 1\)",
         lambda: mse(Y, Y[..., :1])),
        (r"mask: must be \(T, B\) = \(4, 3\) or \(T, B, n_out\) = \(4, 3, 2\), got \(4,\)",
         lambda: mse(Y, Y, np.ones(4))),
        ("target: every value must be finite, got nan at index",
         lambda: mse(Y, np.full(Y.shape, np.nan))),
        ("target: every value must be finite, got inf at index",
         lambda: mse(Y, np.full(Y.shape, np.inf))),
        ("mask: every weight must be finite and >= 0", lambda: mse(Y, Y, -np.ones((4, 3)))),
        ("mask: every weight must be finite", lambda: mse(Y, Y, np.full((4, 3), np.nan))),
        ("mask: every weight must be finite", lambda: mse(Y, Y, np.full((4, 3), np.inf))),
        (r"r: must be \(T\+1, B, N\) with T >= 1, got shape \(4, 3\)",
         lambda: rate_penalty(np.ones((4, 3)))),
        (r"r: must be .* got shape \(1, 3, 2\)", lambda: rate_penalty(np.ones((1, 3, 2)))),
        (r"r: must be .* got shape \(4, 0, 2\)", lambda: rate_penalty(np.ones((4, 0, 2)))),
        ("target: must hold real numbers, got an array of dtype complex128",
         lambda: mse(Y, 1j * np.ones(Y.shape))),
        ("mask: must hold real numbers", lambda: mse(Y, Y, 1j * np.ones((4, 3)))),
        ("mask: must not be a masked array", lambda: mse(Y, Y, np.ma.ones((4, 3)))),
        ("y: must be an array of numbers, got a ragged list", lambda: mse([[1], [2, 3]], Y)),
        ("target: must be an array of numbers, got a ragged list", lambda: mse(Y, [[1], [2, 3]])),
        ("target: must hold numbers, got an array of dtype object",
         lambda: mse(Y[:1, :1, :1], [[[10**400]]])),
        ("r: must not be a masked array", lambda: rate_penalty(np.ma.ones((4, 3, 2)))),
        ("r: must hold every time step, got those of checkpoints alone",
         lambda: rate_penalty(checkpointed().r)),
        ("weight: must be a finite number >= 0, got -1", lambda: rate_penalty(Y, -1)),
        ("weight: must be a finite number", lambda: rate_penalty(Y, np.nan)),
        ("weight: must be a finite number .*got 'much'", lambda: rate_penalty(Y, "much")),
    ],
)  # fmt: skip
def test_wrong_input_is_named(message, call):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("dtype", [int, np.int8])
def test_whole_numbers_are_taken_for_real_ones(dtype):
    loss, dy = mse(np.array([[[1]], [[2]]], dtype), [[[0]], [[0]]])
    assert (loss, dy.dtype) == (2.5, np.float64)
    np.testing.assert_array_equal(dy, [[[1]], [[2]]])


def test_half_precision_neither_vanishes_nor_overflows():
    for size in (1e-4, 300):
        y = np.full((4, 64, 1), size, np.float16)
        loss, dy = mse(y, np.zeros_like(y))
        assert loss == pytest.approx(float(y[0, 0, 0]) ** 2, rel=1e-6)  # sums of single precision
        assert dy.dtype == np.float32
