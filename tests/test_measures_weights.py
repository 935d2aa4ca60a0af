"""Change of the weights: closed forms, brute force, invariances, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau_rnn.measures import outlier_eigenvalues, spectrum_of_change, weight_change
from tau_rnn.measures.weights import (
    accuracy_by_rank,
    input_output_overlap,
    weight_change_by_group,
    with_changes_of_rank,
)
from tau_rnn.model import Params, init_params

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 12)


def orthogonal(rng, n):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


@given(seeds, sizes, sizes)
def test_weight_change_is_what_loops_say(seed, rows, columns):
    rng = np.random.default_rng(seed)
    W0, W1 = rng.standard_normal((2, rows, columns))
    change = weight_change(W0, W1)
    per_row = [sum((b - a) ** 2 for a, b in zip(r0, r1)) for r0, r1 in zip(W0, W1)]
    norm_of_row = [sum(a**2 for a in r0) for r0 in W0]
    assert change.absolute == pytest.approx(sum(per_row) ** 0.5, rel=1e-12)
    assert change.relative == pytest.approx((sum(per_row) / sum(norm_of_row)) ** 0.5, rel=1e-12)
    np.testing.assert_allclose(change.absolute_per_row, np.sqrt(per_row), rtol=1e-12)
    expected = np.sqrt(np.divide(per_row, norm_of_row))
    np.testing.assert_allclose(change.relative_per_row, expected, rtol=1e-12)


def test_weight_change_of_a_vector_has_one_row_an_entry():
    change = weight_change([3.0, 0.0], [3.0, 4.0])
    assert change.absolute == 4 and change.relative == pytest.approx(4 / 3)
    np.testing.assert_array_equal(change.absolute_per_row, [0, 4])
    np.testing.assert_array_equal(change.relative_per_row, [0, np.nan])


def test_no_change_is_zero_and_a_change_from_zero_has_no_relative_size():
    W = np.ones((3, 3))
    assert weight_change(W, W).absolute == 0 and weight_change(W, W).relative == 0
    from_zero = weight_change(0 * W, W)
    assert from_zero.absolute == 3 and np.isnan(from_zero.relative)


def test_change_by_group_has_every_field_under_its_name():
    rng = np.random.default_rng(0)
    p0 = init_params(5, 2, 3, 1.0, rng)
    p1 = Params(*(p + k for k, p in enumerate(p0)))
    changes = weight_change_by_group(p0, p1)
    assert list(changes) == list(Params._fields)
    for k, (name, p) in enumerate(zip(Params._fields, p0)):
        assert changes[name].absolute == pytest.approx(k * p.size**0.5)


@given(seeds, st.integers(2, 10), st.data())
def test_spectrum_of_a_change_with_known_singular_values(seed, n, data):
    rng = np.random.default_rng(seed)
    rank = data.draw(st.integers(1, n))
    s = np.sort(rng.uniform(0.5, 2, rank))[::-1]
    u, v = orthogonal(rng, n)[:, :rank], orthogonal(rng, n)[:, :rank]
    W0 = rng.standard_normal((n, n))
    spectrum = spectrum_of_change(W0, W0 + (u * s) @ v.T)
    # W0 + dW is rounded before dW is taken back, hence absolute errors of some 1e-16 times n.
    np.testing.assert_allclose(spectrum.singular_values[:rank], s, atol=1e-12)
    np.testing.assert_allclose(spectrum.singular_values[rank:], 0, atol=1e-12)
    assert spectrum.effective_rank == pytest.approx((s**2).sum() ** 2 / (s**4).sum(), rel=1e-10)
    rebuilt = (spectrum.left * spectrum.singular_values) @ spectrum.right
    np.testing.assert_allclose(rebuilt, (u * s) @ v.T, atol=1e-12)


@given(seeds, st.integers(1, 8), st.sampled_from([1e-150, 1.0, 1e150]))
def test_effective_rank_counts_equal_directions_at_any_scale(seed, rank, scale):
    rng = np.random.default_rng(seed)
    dW = scale * orthogonal(rng, 8)[:, :rank] @ orthogonal(rng, 8)[:, :rank].T
    assert spectrum_of_change(0 * dW, dW).effective_rank == pytest.approx(rank, rel=1e-10)


def test_no_change_has_no_directions():
    W = np.ones((3, 3))
    spectrum = spectrum_of_change(W, W)
    assert np.isnan(spectrum.effective_rank) and np.isnan(spectrum.left).all()
    overlap = input_output_overlap(spectrum, W[:, :1], W[:1], k=2)
    assert np.isnan(overlap.left_in).all() and np.isnan(overlap.right_out).all()


@given(seeds, st.integers(3, 10), st.floats(0, np.pi / 2))
def test_overlap_is_the_squared_cosine_with_the_input_and_output_space(seed, n, angle):
    rng = np.random.default_rng(seed)
    basis = orthogonal(rng, n)
    along, across = basis[:, :1], basis[:, 1:2]
    u = np.cos(angle) * along + np.sin(angle) * across
    spectrum = spectrum_of_change(np.zeros((n, n)), 3 * u @ across.T)
    overlap = input_output_overlap(spectrum, 0.1 * along, 5 * across.T, k=1)
    np.testing.assert_allclose(overlap.left_in, np.cos(angle) ** 2, atol=1e-12)
    np.testing.assert_allclose(overlap.left_out, np.sin(angle) ** 2, atol=1e-12)
    np.testing.assert_allclose(overlap.right_in, 0, atol=1e-12)
    np.testing.assert_allclose(overlap.right_out, 1, atol=1e-12)
    # Two copies of one direction, and a channel of zeros, span one dimension.
    twice = input_output_overlap(
        spectrum, np.hstack([along, along, 0 * along]), np.vstack([across.T] * 2), k=1
    )
    assert twice.chance_in == twice.chance_out == pytest.approx(1 / n)
    np.testing.assert_allclose(twice.left_in, np.cos(angle) ** 2, atol=1e-12)


def test_random_directions_overlap_at_chance():
    rng, n, values = np.random.default_rng(3), 40, []
    W_in, W_out = rng.standard_normal((n, 4)), rng.standard_normal((2, n))
    for _ in range(60):
        spectrum = spectrum_of_change(np.zeros((n, n)), rng.standard_normal((n, n)))
        overlap = input_output_overlap(spectrum, W_in, W_out, k=n)
        values.append([overlap.left_in[0], overlap.right_out[0]])
        # All directions together hold the whole space.
        assert overlap.left_in.sum() == pytest.approx(4)
        assert overlap.right_out.sum() == pytest.approx(2)
    mean, error = np.mean(values, 0), np.std(values, 0) / np.sqrt(60)
    assert (np.abs(mean - [overlap.chance_in, overlap.chance_out]) < 4 * error).all()


def test_a_rank_one_term_adds_one_outlier_at_its_eigenvalue():
    rng = np.random.default_rng(1)
    W0 = rng.standard_normal((200, 200)) * 0.8 / np.sqrt(200)
    m = rng.standard_normal((200, 1))
    W1 = W0 + 3 * m @ m.T / (m.T @ m)
    found = outlier_eigenvalues(W0, W1)
    assert found.radius == pytest.approx(1.15 * np.linalg.norm(W0) / np.sqrt(200))
    assert len(found.before) == 0 and len(found.after) == 1
    # The outlier of W0 + m n^T lies at n^T m = 3 up to fluctuations of order g / sqrt(N) = 0.06.
    assert found.after[0] == pytest.approx(3, abs=0.25)
    assert np.abs(np.linalg.eigvals(W1) - found.after[0]).min() < 1e-12


def test_outliers_come_by_size_and_a_larger_margin_leaves_fewer():
    found = outlier_eigenvalues(np.eye(4), np.diag([-9.0, 2, 5, 0]), margin=0.5)
    np.testing.assert_array_equal(found.after, [-9, 5, 2])
    few = outlier_eigenvalues(np.eye(4), np.diag([-9.0, 2, 5, 0]), margin=4.5)
    np.testing.assert_array_equal(few.after, [-9])


@given(seeds, st.integers(2, 8), st.data())
def test_part_of_rank_k_is_the_closest_one(seed, n, data):
    rng = np.random.default_rng(seed)
    k = data.draw(st.integers(0, n))
    W0, W1 = rng.standard_normal((2, n, n))
    part = next(with_changes_of_rank(W0, W1, [k])) - W0
    assert np.linalg.matrix_rank(part, tol=1e-9) <= k
    left_over = np.linalg.norm(W1 - W0 - part)
    s = np.linalg.svd(W1 - W0, compute_uv=False)
    assert left_over == pytest.approx(np.sqrt((s[k:] ** 2).sum()), abs=1e-10)  # Eckart and Young


def test_accuracy_by_rank_finds_the_rank_that_the_score_needs():
    rng = np.random.default_rng(2)
    p0 = init_params(12, 2, 1, 1.0, rng)
    u, v = orthogonal(rng, 12), orthogonal(rng, 12)
    s = np.array([5.0, 4, 3, 2] + [0.1] * 8)
    p1 = p0._replace(W=p0.W + (u * s) @ v.T, b=p0.b + 1)

    def score(params):  # right where the third direction is there; wants the trained b as well
        there = u[:, 2] @ (params.W - p0.W) @ v[:, 2]
        return 0.97 if there > 2.9 and params.b[0] == 1 else 0.5

    curve = accuracy_by_rank(p0, p1, score)
    assert curve.needed == 3
    np.testing.assert_array_equal(curve.ranks, [*range(11), 12])
    np.testing.assert_array_equal(curve.accuracy, [0.5] * 3 + [0.97] * 9)
    assert accuracy_by_rank(p0, p1, score, ranks=[1, 6]).needed == 6
    # A rank that does well by chance, below one that does not, is not enough.
    lucky = iter([0.97, 0.5, 0.97])
    assert accuracy_by_rank(p0, p1, lambda _: next(lucky), ranks=[0, 1]).needed == 12
    assert np.isnan(accuracy_by_rank(p0, p1, lambda _: np.nan, ranks=[0]).needed)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: weight_change(np.ones((2, 2)), np.ones((2, 3))), "W1"),
        (lambda: weight_change(np.ones(2), [1, np.nan]), "W1.*nan.*index"),
        (lambda: weight_change(np.ones(0), np.ones(0)), "W0.*at least one"),
        (lambda: weight_change(np.ones(2) + 1j, np.ones(2)), "W0.*real"),
        (lambda: weight_change(3.0, 4.0), "W0"),
        (lambda: spectrum_of_change(np.ones(2), np.ones(2)), r"W0.*\(rows, columns\)"),
        (lambda: outlier_eigenvalues(np.ones((2, 3)), np.ones((2, 3))), "square"),
        (lambda: outlier_eigenvalues(np.eye(2), np.eye(2), margin=-1), "margin.*-1"),
        (lambda: next(with_changes_of_rank(np.eye(2), np.eye(2), [3])), "rank.*3"),
        *[
            (lambda k=k: next(with_changes_of_rank(np.eye(2), np.eye(2), [k])), f"rank: .*{k}")
            for k in (0.5, np.nan, None, -1)
        ],
        (lambda: outlier_eigenvalues(np.eye(2), np.eye(2), margin="wide"), "margin.*number.*wide"),
    ],
)
def test_bad_weights_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_bad_arguments_of_ranks_and_overlaps_are_refused():
    p = init_params(4, 2, 1, 1.0, np.random.default_rng(0))
    larger = init_params(5, 2, 1, 1.0, np.random.default_rng(0))
    spectrum = spectrum_of_change(p.W, p.W + 1)
    with pytest.raises(ValueError, match=r"params1\.W"):
        weight_change_by_group(p, larger)
    with pytest.raises(ValueError, match=r"ranks.*N = 4"):
        accuracy_by_rank(p, p, lambda _: 1.0, ranks=[5])
    with pytest.raises(ValueError, match=r"W_in: .*\(4, n_in\)"):
        input_output_overlap(spectrum, larger.W_in, p.W_out, k=1)
    with pytest.raises(ValueError, match=r"k: .*<= 4, got 5"):
        input_output_overlap(spectrum, p.W_in, p.W_out, k=5)


def test_whole_numbers_may_be_floats_and_no_ranks_means_the_full_one():
    p, q = (init_params(4, 2, 1, 1.0, np.random.default_rng(k)) for k in (0, 1))
    expected, W = with_changes_of_rank(p.W, q.W, [2, 2.0])
    np.testing.assert_array_equal(W, expected)
    spectrum = spectrum_of_change(p.W, q.W)
    a, b = (input_output_overlap(spectrum, p.W_in, p.W_out, k=k) for k in (2.0, 2))
    np.testing.assert_array_equal(a.left_in, b.left_in)
    assert accuracy_by_rank(p, q, lambda _: 1.0, ranks=[]).ranks.tolist() == [4]
