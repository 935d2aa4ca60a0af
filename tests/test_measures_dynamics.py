"""Jacobian, fixed points and slow points against systems whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from tau_rnn.measures import dynamics, fixed_points
from tau_rnn.measures.dynamics import jacobian
from tau_rnn.model import NONLINEARITIES, Params, forward, init_params, velocity

seeds = st.integers(0, 2**32 - 1)


def network(W, tau, *, b=0.0, W_in=None) -> Params:
    W = np.atleast_2d(np.asarray(W, float))
    N = len(W)
    W_in = np.zeros((N, 1)) if W_in is None else np.asarray(W_in, float)
    b = np.broadcast_to(np.asarray(b, float), (N,))
    return Params(W, W_in, b, np.ones((1, N)), np.zeros(1), np.zeros(N), np.asarray(tau, float))


@given(seeds, st.integers(1, 6), st.sampled_from(list(NONLINEARITIES)))
def test_jacobian_is_the_complex_step_derivative_of_the_velocity(seed, N, phi):
    rng = np.random.default_rng(seed)
    params = init_params(N, 2, 1, rng.uniform(0.1, 2, N), rng, gain=1.5)
    x, u = rng.standard_normal((3, N)), rng.standard_normal(2)
    found = jacobian(params, x, phi=phi)
    for k in range(3):
        for j in range(N):
            step = x[k].astype(complex)
            step[j] += 1e-30j
            column = velocity(params, step, u, phi=phi).imag / 1e-30
            np.testing.assert_allclose(found[k, :, j], column, rtol=1e-12, atol=1e-12)


def test_jacobian_is_how_a_step_of_the_simulation_spreads():
    """One Euler step multiplies a small difference of states by 1 + dt J."""
    rng = np.random.default_rng(0)
    tau, dt = np.array([0.5, 1.0, 2.0]), 0.05
    params = init_params(3, 1, 1, tau, rng)._replace(x0=rng.standard_normal(3))
    u = np.zeros((1, 1, 1))
    for j in range(3):
        h = np.zeros(3, complex)
        h[j] = 1e-30j
        x = forward(params._replace(x0=params.x0 + h), u, dt, method="euler").x
        moved = x[1, 0].imag / 1e-30
        expected = np.eye(3)[j] + dt * jacobian(params, params.x0)[:, j]
        np.testing.assert_allclose(moved, expected, rtol=1e-12)


@given(seeds, st.integers(1, 8))
def test_a_linear_network_has_one_fixed_point_and_the_eigenvalues_of_its_ode(seed, N):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((N, N)) * 0.5 / np.sqrt(N)
    tau, W_in, u = rng.uniform(0.1, 2, N), rng.standard_normal((N, 2)), rng.standard_normal(2)
    b = rng.standard_normal(N)
    found = fixed_points(
        network(W, tau, b=b, W_in=W_in), u, rng.standard_normal((3, N)), phi="linear"
    )
    assert len(found.x) == 1 and found.n_starts.tolist() == [3]
    assert found.reached.tolist() == [0, 0, 0]
    exact = np.linalg.solve(np.eye(N) - W, W_in @ u + b)
    np.testing.assert_allclose(found.x[0], exact, rtol=1e-9, atol=1e-9)  # the search's tolerance
    eigenvalues = np.linalg.eigvals((W - np.eye(N)) / tau[:, None])
    np.testing.assert_allclose(
        np.sort_complex(found.eigenvalues[0]), np.sort_complex(eigenvalues + 0j), atol=1e-9
    )
    assert (np.diff(found.eigenvalues[0].real) <= 0).all()
    np.testing.assert_allclose(found.timescales[0], -1 / found.eigenvalues[0].real)
    assert found.kind[0] == ("attractor" if eigenvalues.real.max() < 0 else "saddle") or N == 1


def test_two_bistable_units_have_nine_points_of_three_kinds():
    """Uncoupled, w = 2: each unit rests at 0 (unstable) or at +-x*, x* = 2 tanh x*."""
    x_star = brentq(lambda x: 2 * np.tanh(x) - x, 1, 3, xtol=1e-14)
    tau = np.array([0.3, 1.5])
    grid = np.array([[a, b] for a in (-1.9, 0.01, 1.9) for b in (-1.9, 0.01, 1.9)])
    found = fixed_points(network(2 * np.eye(2), tau), [0.0], grid)
    assert len(found.x) == 9 and (found.n_starts == 1).all() and (found.speed < 1e-9).all()
    # What each start reached is the point next to it.
    expected = np.where(np.abs(grid) < 1, 0, np.sign(grid) * x_star)
    np.testing.assert_allclose(found.x[found.reached], expected, atol=1e-8)  # F is 0 to 1e-9
    unstable = (np.abs(found.x) < 1).sum(axis=1)
    np.testing.assert_array_equal(
        found.kind, np.array(["attractor", "saddle", "repeller"])[unstable]
    )
    # At 0: lambda = (2 - 1)/tau; at x*: lambda = (2 (1 - tanh^2 x*) - 1)/tau.
    at_rest = (1 - 2 * (1 - np.tanh(x_star) ** 2)) / tau
    for x, timescales in zip(found.x, found.timescales):
        exact = np.where(np.abs(x) < 1, -tau, 1 / at_rest)
        np.testing.assert_allclose(np.sort(timescales), np.sort(exact), rtol=1e-6)


@given(seeds, st.integers(2, 6))
def test_a_line_attractor_is_seen_as_points_with_one_slow_mode(seed, N):
    """W = v v^T with |v| = 1, linear: every point along v rests, the other modes decay with tau.

    The eigenvalue of the line is 0 but for rounding, which must not make it a very slow one.
    """
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(N)
    v /= np.linalg.norm(v)
    tau = np.full(N, 0.7)
    starts = 3 * np.arange(1, 5)[:, None] * v + 0.5 * rng.standard_normal((4, N))
    found = fixed_points(network(np.outer(v, v), tau), [0.0], starts, phi="linear")
    # Along the line the starts lie 3 apart, up to an error of 0.5: no two of them meet but by
    # chance, and each is projected onto the line.
    np.testing.assert_allclose(found.x[found.reached], np.outer(starts @ v, v), atol=0.02)
    assert len(found.x) >= 2 and (found.kind == "marginal").all()
    assert (found.n_slow == 1).all() and np.isinf(found.timescales[:, 0]).all()
    np.testing.assert_allclose(found.timescales[:, 1:], 0.7, rtol=1e-9)
    leaky = fixed_points(network(0.99 * np.outer(v, v), tau), [0.0], starts, phi="linear")
    assert leaky.kind.tolist() == ["attractor"] and leaky.n_slow.tolist() == [1]
    assert leaky.timescales[0, 0] == pytest.approx(70)
    brisk = fixed_points(
        network(0.99 * np.outer(v, v), tau), [0.0], starts, phi="linear", slow=71
    )
    assert brisk.n_slow.tolist() == [0]


def test_the_ghost_of_two_fixed_points_is_a_slow_point():
    """dx/dt = -x + 2 tanh x + b: a saddle-node where 2 (1 - tanh^2 x) = 1, and b just past it."""
    x_ghost = -np.arctanh(np.sqrt(0.5))
    critical = x_ghost - 2 * np.tanh(x_ghost)
    tau = 0.5
    params = network([[2.0]], [tau], b=critical + 0.004)
    found = fixed_points(params, [0.0], [[-1.5], [3.0]])
    assert sorted(found.kind) == ["attractor", "slow"]
    ghost = found.reached[0]
    assert found.kind[ghost] == "slow"
    # A minimum of a square is found to the square root of the search's tolerance 1e-13 at best.
    assert found.x[ghost, 0] == pytest.approx(x_ghost, abs=1e-3)
    assert found.speed[ghost] == pytest.approx(0.004 / tau, rel=1e-3)
    assert found.n_slow[ghost] == 1
    strict = fixed_points(params, [0.0], [[-1.5], [3.0]], max_speed=0)
    assert strict.kind.tolist() == ["attractor"] and strict.reached.tolist() == [-1, 0]


def test_attractors_are_where_the_ode_ends_and_timescales_how_it_gets_there():
    rng = np.random.default_rng(4)
    params = init_params(8, 1, 1, rng.uniform(0.2, 1, 8), rng, gain=1.0)
    u = np.array([0.7])
    found = fixed_points(params, u, rng.standard_normal((4, 8)))
    (point,) = found.x[found.kind == "attractor"]
    ode = solve_ivp(
        lambda _, x: velocity(params, x, u), (0, 60), point + 0.5, method="LSODA",
        rtol=1e-12, atol=1e-14, t_eval=[15, 20, 60],
    )  # fmt: skip
    np.testing.assert_allclose(ode.y[:, -1], point, atol=1e-8)  # the tolerance of solve_ivp
    first, second = np.linalg.norm(ode.y[:, :2] - point[:, None], axis=0)
    slowest = found.eigenvalues[0, 0]
    if slowest.imag == 0:  # a complex pair would decay while turning
        # After 15 s all but the slowest mode have decayed to 1e-4 of it.
        assert np.log(first / second) / 5 == pytest.approx(-slowest.real, rel=1e-3)


def test_no_point_gives_empty_arrays():
    """relu, w = 1, b = 1: dx/dt = 1 for every x >= 0, and no point is slow."""
    found = fixed_points(network([[1.0]], [1.0], b=1.0), [0.0], [[2.0], [5.0]], phi="relu")
    assert found.x.shape == (0, 1) and found.timescales.shape == (0, 1)
    assert found.reached.tolist() == [-1, -1] and len(found.kind) == len(found.n_slow) == 0


def test_points_come_in_the_order_of_how_many_starts_reached_them():
    found = fixed_points(network([[2.0]], [1.0]), [0.0], [[-2.0], [2.1], [1.9], [0.001], [2.2]])
    assert found.n_starts.tolist() == [3, 1, 1]
    np.testing.assert_allclose(np.sign(found.x[found.reached, 0].round(6)), [-1, 1, 1, 0, 1])


@given(seeds, st.integers(2, 12), st.sampled_from(["tanh", "sigmoid", "softplus"]))
def test_every_search_ends_in_a_zero_or_a_minimum_of_the_speed(seed, N, phi):
    rng = np.random.default_rng(seed)
    params = init_params(N, 1, 1, rng.uniform(0.1, 2, N), rng, gain=2.0)
    starts = 2 * rng.standard_normal((4, N))
    found = fixed_points(params, [0.3], starts, phi=phi, max_speed=1e3, distinct=1e-6)
    assert (found.reached >= 0).all()
    for x, kind in zip(found.x, found.kind):
        F = velocity(params, x, [0.3], phi=phi) * params.tau
        slope = (jacobian(params, x, phi=phi) * params.tau[:, None]).T @ F
        # Where the search stops F^2 may still fall by 1e-13 of itself: its slope is a root of that.
        assert np.abs(slope).max() <= 1e-5 * np.linalg.norm(F) or kind != "slow"


def test_starts_that_nearly_coincide_share_one_search(monkeypatch):
    searches, descend = [], dynamics._descend

    def counted(params, u, start, phi):
        searches.append(float(start[0]))
        return descend(params, u, start, phi)

    monkeypatch.setattr(dynamics, "_descend", counted)
    starts = [[-2.0], [2.1], [-2.0005], [2.102], [2.1009]]
    found = fixed_points(network([[2.0]], [1.0]), [0.0], starts)
    assert searches == [-2.0, 2.1, 2.102]  # 0.001 and less apart
    assert found.n_starts.tolist() == [3, 2] and found.reached.tolist() == [1, 0, 1, 0, 0]


def test_bad_arguments_are_refused():
    params = network(np.eye(2), [1.0, 1.0])
    x = np.zeros((1, 2))
    for call, words in [
        (lambda: jacobian(params, np.zeros(3)), "x: .*N = 2"),
        (lambda: jacobian(params, [0, np.nan]), "x: .*nan"),
        (lambda: jacobian(params._replace(tau=np.array([1.0, 0])), x), "tau"),
        (lambda: jacobian(params, x, phi="tan"), "tanh"),
        (lambda: fixed_points(params, [0.0, 0.0], x), r"u: .*\(1,\)"),
        (lambda: fixed_points(params, [0.0], np.zeros(2)), r"starts.*\(starts, N\)"),
        (lambda: fixed_points(params, [0.0], np.zeros((0, 2))), "starts"),
        (lambda: fixed_points(params, [0.0], x, slow=0), "slow.*0"),
        (lambda: fixed_points(params, [0.0], x, tol=-1), "tol.*-1"),
        (lambda: fixed_points(params, [0.0], x, distinct=np.nan), "distinct.*nan"),
        (lambda: fixed_points(params, [0.0], x, max_speed=-1), "max_speed.*-1"),
        (lambda: fixed_points(params, [0.0], x, max_speed=None), "max_speed.*number.*None"),
        (lambda: fixed_points(params, [0.0], x, slow="long"), "slow.*number.*long"),
        (lambda: fixed_points(params, [0.0], x, tol=None), "tol.*number.*None"),
        (lambda: fixed_points(params._replace(W=np.eye(2) + 0j), [0.0], x), "params.W.*real"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
