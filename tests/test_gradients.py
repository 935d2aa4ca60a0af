"""The gradient is right: independent checks over the whole space of networks.

`pytest tests/test_gradients.py --hypothesis-profile=thorough` draws thousands of networks.
"""

import numpy as np
import pytest
import reference
from hypothesis import assume, given
from hypothesis import strategies as st

from tau_rnn.bptt import backward, plain_backward, tangent
from tau_rnn.gradcheck import (
    central_difference,
    complex_step,
    numerical_gradient,
    random_direction,
    relative_error,
)
from tau_rnn.gradcheck.derivatives import inner
from tau_rnn.gradcheck.recipe import RECIPE, run_of
from tau_rnn.gradcheck.strategies import cases, make_case
from tau_rnn.losses import mse, rate_penalty
from tau_rnn.model import NONLINEARITIES, Nonlinearity, Params, alpha, forward
from tau_rnn.noise import noise_scale

# The whole space includes coarse Euler steps, of which `alpha` warns.
pytestmark = pytest.mark.filterwarnings("ignore:dt = :RuntimeWarning")

FIELDS = Params._fields


def size(g: Params) -> float:
    return sum(np.abs(e).sum() for e in g)


def distance(g: Params, h: Params) -> float:
    """Largest difference, relative to the whole gradient and, a hundredfold less, to its field.

    An error in a small field would be lost in the whole. But a field may be one number whose terms
    cancel, and its own size is then no scale of its rounding: hence the hundredfold.
    """
    differences = [np.abs(a - b).max(initial=0) for a, b in zip(g, h)]
    scales = [np.abs(b).sum() for b in h]
    own = max(d / s if s else d for d, s in zip(differences, scales))
    return max(own / 100, max(differences) / (size(h) or 1))


def gradient(case, params=None):
    params = case.params if params is None else params
    traj = case.run(params)
    return backward(params, traj, case.dy(traj))


# Four independent ways to the derivative


@pytest.mark.parametrize("phi", NONLINEARITIES)
def test_complex_step_where_every_state_is_zero(phi):
    # x0 = 0 is where every network begins, and where relu has its kink (phi' = 0 there).
    case = make_case(2, N=5, phi=phi)  # v has both signs
    case = case._replace(params=case.params._replace(x0=np.zeros(5)))
    g = gradient(case)
    for name in ("x0", "W", "b"):
        v = random_direction(case.params, case.rng(), [name])
        assert relative_error(g, v, complex_step(case.loss, case.params, v)) < 1e-10, name


@given(cases())
def test_complex_step_every_parameter(case):
    g = gradient(case)
    for name in FIELDS:
        v = random_direction(case.params, case.rng(), [name])
        assert relative_error(g, v, complex_step(case.loss, case.params, v)) < 1e-10, name


@given(cases(max_units=3, max_steps=4, max_trials=2))
def test_complex_step_every_number(case):
    assert distance(gradient(case), numerical_gradient(case.loss, case.params)) < 1e-12


@given(cases(max_units=12, max_steps=30))
def test_dot_product_identity(case):
    traj = case.run()
    dy = case.rng(2).standard_normal(traj.y.shape)
    v = random_direction(case.params, case.rng())
    reverse, scale = inner(backward(case.params, traj, dy), v)
    forward_mode = np.sum(dy * tangent(case.params, traj, v))
    assert abs(reverse - forward_mode) < 1e-12 * scale


@given(cases())
def test_central_difference(case):
    # A difference across the kink of relu is not a derivative.
    assume(case.phi != "relu" or np.abs(case.run().x).min() > 1e-3)
    v = random_direction(case.params, case.rng())
    # 1e-6: what a central difference can reach, see the "U" of step_sweep.
    assert relative_error(gradient(case), v, central_difference(case.loss, case.params, v)) < 1e-6


@given(cases(max_units=4, max_steps=5, max_trials=3))
def test_scalar_loops(case):
    traj = case.run()
    dy = case.dy(traj)
    expected = reference.backward(case.params, case.u, case.dt, dy, **case.options)
    assert distance(backward(case.params, traj, dy), expected) < 1e-12


@given(cases())
def test_tangent_is_the_derivative_of_the_outputs(case):
    v = random_direction(case.params, case.rng())
    h = 1e-20
    z = Params(*(p + 1j * h * e for p, e in zip(case.params, v)))
    exact = case.run(z).y.imag / h
    got = tangent(case.params, case.run(), v)
    assert np.abs(got - exact).max() <= 1e-12 * np.abs(exact).max()


@given(cases())
def test_tangent_with_a_direction_of_the_inputs(case):
    h, du = 1e-20, case.rng().standard_normal(case.u.shape)
    exact = forward(case.params, case.u + 1j * h * du, case.dt, **case.options).y.imag / h
    zero = Params(*map(np.zeros_like, case.params))
    got = tangent(case.params, case.run(), zero, du=du)
    assert np.abs(got - exact).max() <= 1e-12 * np.abs(exact).max()


@given(cases(), st.booleans())
def test_the_noise_that_follows_tau_by_complex_step_through_its_scale(case, follows):
    """dtau with the scale of Eq. 1.9 held fixed, and with its change (Eq. 6.10)."""
    xi = case.rng(3).standard_normal((*case.u.shape[:2], len(case.params.b)))

    def loss(p):
        scale = noise_scale(p.tau if follows else case.params.tau, case.dt, case.method)
        return case._replace(noise=0.7 * scale * xi).loss(p)

    scale = noise_scale(case.params.tau, case.dt, case.method)
    case = case._replace(noise=0.7 * scale * xi)
    traj = case.run()
    g = backward(case.params, traj, case.dy(traj), noise_follows_tau=follows)
    for name in FIELDS:  # the others are as they were
        v = random_direction(case.params, case.rng(), [name])
        assert relative_error(g, v, complex_step(loss, case.params, v)) < 1e-10, name


@given(cases())
def test_rate_penalty_and_loss_together(case):
    def loss(p):
        traj = case.run(p)
        return mse(traj.y, case.target, case.mask)[0] + rate_penalty(traj.r, 0.7)[0]

    traj = case.run()
    g = backward(case.params, traj, case.dy(traj), dr=rate_penalty(traj.r, 0.7)[1])
    for name in FIELDS:
        v = random_direction(case.params, case.rng(), [name])
        assert relative_error(g, v, complex_step(loss, case.params, v)) < 1e-10, name


@given(cases())
def test_derivative_with_respect_to_rates_at_every_time(case):
    dr = case.rng(3).standard_normal((len(case.u) + 1, case.u.shape[1], len(case.params.b)))
    traj = case.run()
    g = backward(case.params, traj, np.zeros_like(traj.y), dr=dr)
    v = random_direction(case.params, case.rng())
    exact = complex_step(lambda p: (dr * case.run(p).r).sum(), case.params, v)
    assert relative_error(g, v, exact) < 1e-10


@given(cases(max_units=4, max_steps=5, phis=("tanh", "softplus", "sigmoid")))
def test_second_derivative_is_symmetric(case):
    # A complex step through backward is a Hessian-vector product: u.Hv = v.Hu.
    def hessian_times(v):
        z = Params(*(p + 1e-20j * e for p, e in zip(case.params, v)))
        return Params(*(e.imag / 1e-20 for e in gradient(case, z)))

    v, w = (random_direction(case.params, case.rng(k)) for k in (1, 2))
    (wHv, scale), (vHw, other) = inner(hessian_times(v), w), inner(hessian_times(w), v)
    assert abs(wHv - vHw) < 1e-11 * (scale + other)


# What any gradient of this network must obey


@given(cases())
def test_linear_in_dy(case):
    traj = case.run()
    dy1, dy2 = case.rng().standard_normal((2, *traj.y.shape))
    g1, g2, g = (backward(case.params, traj, dy) for dy in (dy1, dy2, 2.5 * dy1 - dy2))
    assert distance(g, Params(*(2.5 * a - b for a, b in zip(g1, g2)))) < 1e-12


@given(cases())
def test_batch_is_the_sum_of_its_trials(case):
    traj = case.run()
    dy = case.dy(traj)
    singles = []
    for k in range(case.u.shape[1]):
        one = slice(k, k + 1)
        noise = None if case.noise is None else case.noise[:, one]
        alone = case._replace(u=case.u[:, one], noise=noise).run()
        singles.append(backward(case.params, alone, dy[:, one]))
    assert distance(Params(*map(sum, zip(*singles))), backward(case.params, traj, dy)) < 1e-12


@given(cases())
def test_order_of_trials_does_not_matter(case):
    order = case.rng().permutation(case.u.shape[1])
    noise = None if case.noise is None else case.noise[:, order]
    shuffled = case._replace(
        u=case.u[:, order], noise=noise, target=case.target[:, order], mask=case.mask[:, order]
    )
    assert distance(gradient(shuffled), gradient(case)) < 1e-12


@given(cases())
def test_names_of_units_do_not_matter(case):
    p = case.rng().permutation(len(case.params.b))

    def rename(q):
        return Params(q.W[p][:, p], q.W_in[p], q.b[p], q.W_out[:, p], q.b_out, q.x0[p], q.tau[p])

    noise = None if case.noise is None else case.noise[..., p]
    renamed = case._replace(params=rename(case.params), noise=noise)
    assert distance(gradient(renamed), rename(gradient(case))) < 1e-12


@given(cases())
def test_equal_taus_are_the_network_of_one_tau(case):
    tau, N = case.params.tau[0], len(case.params.b)
    case = case._replace(params=case.params._replace(tau=np.full(N, tau)))
    W, W_in, b, W_out, b_out, x, _ = case.params
    noise = np.zeros((len(case.u), 1, N)) if case.noise is None else case.noise
    f = reference.PHI[case.phi][0]
    a = float(alpha(tau, case.dt, case.method))
    y = []
    for u, eta in zip(case.u, noise):
        x = (1 - a) * x + a * (np.vectorize(f)(x) @ W.T + u @ W_in.T + b + eta)
        y.append(np.vectorize(f)(x) @ W_out.T + b_out)
    got = case.run().y
    assert np.abs(got - np.array(y)).max() < 1e-12 * np.abs(got).max()

    # The derivative in the one tau is the sum of those in the tau of each unit.
    h = 1e-20 * tau
    one = case.loss(case.params._replace(tau=np.full(N, tau + 1j * h))).imag / h
    dtau = gradient(case).tau
    assert abs(dtau.sum() - one) <= 1e-10 * np.abs(dtau).sum()


@given(cases())
def test_mask_of_zeros_gives_a_gradient_of_zeros(case):
    g = gradient(case._replace(mask=np.zeros_like(case.mask)))
    assert size(g) == 0


@given(cases(), st.integers(1, 8))
def test_what_comes_after_the_last_weighted_step_does_not_matter(case, extra):
    T, B, n_in = case.u.shape
    rng = case.rng()
    u = np.concatenate([case.u, rng.standard_normal((extra, B, n_in))])
    noise = case.noise
    if noise is not None:
        noise = np.concatenate([noise, rng.standard_normal((extra, *noise.shape[1:]))])
    dy = np.zeros((T + extra, B, len(case.params.b_out)))
    dy[:T] = rng.standard_normal(dy[:T].shape)
    short, long = case.run(), case._replace(u=u, noise=noise).run()
    expected = backward(case.params, short, dy[:T])
    assert distance(backward(case.params, long, dy), expected) < 1e-12


@given(cases(phis=("tanh", "sigmoid")), st.integers(0, 12), st.integers(0, 5))
def test_stationary_input_leaves_only_the_lag(case, s, k):
    """At a fixed point only the time between cause and effect counts, never the clock."""
    # Row sums below 1 make the fixed point one that iteration reaches.
    W = case.params.W
    W = 0.8 * W / max(np.abs(W).sum(axis=1).max(), 1)
    params = case.params._replace(W=W)
    T, current = s + k + 3, case.u[:1, :1]
    x = params.x0
    f = {"tanh": np.tanh, "sigmoid": lambda z: (1 + np.tanh(z / 2)) / 2}[case.phi]
    for _ in range(300):
        x = W @ f(x) + params.W_in @ current[0, 0] + params.b
    params = params._replace(x0=x)
    u = np.repeat(current, T, axis=0)
    traj = forward(params, u, case.dt, phi=case.phi, method=case.method)
    q = case.rng().standard_normal(len(params.b_out))

    # A pulse of input k steps later moves the outputs in the same way, k steps later.
    du, zero = np.zeros((2, *u.shape)), Params(*map(np.zeros_like, params))
    du[0, 0], du[1, k] = 1, 1
    now, later = (tangent(params, traj, zero, du=pulse) for pulse in du)
    assert np.abs(later[k:] - now[: T - k]).max() <= 1e-12 * max(np.abs(now).max(), 1e-300)

    # The gradient of one output is a geometric series of the Jacobian J over the lags,
    # db = alpha * sum_l (J^T)^l (phi' W_out^T q), wherever the run ends.
    dy = np.zeros_like(traj.y)
    dy[s, 0] = q
    a = alpha(params.tau, case.dt, case.method)
    slope = reference.PHI[case.phi][1]
    slope = np.array([slope(z) for z in x])
    J = np.diag(1 - a) + a[:, None] * W * slope
    term, total = slope * (params.W_out.T @ q), np.zeros(len(x))
    for _ in range(s + 1):
        total += term
        term = J.T @ term
    g = backward(params, traj, dy)
    scale = 1e-12 * np.abs(slope * (params.W_out.T @ q)).sum() * (s + 1)
    assert np.abs(g.b - a * total).max() <= scale
    assert np.abs(g.x0 - term).max() <= scale


@given(cases(phis=("tanh", "softplus", "sigmoid", "linear")))
def test_single_precision(case):
    def single(a):
        return None if a is None else np.asarray(a, np.float32)

    traj = case.run()
    dy = case.dy(traj)
    terms = run_of(case.params, traj, dy)
    # Single precision has no digits left where all units saturate, and none to spare at 1e3.
    assume((terms.phi.derivative(terms.r).max(axis=(1, 2)) > 0.1).all() and abs(traj.x).max() < 1e3)
    small = case._replace(
        params=Params(*map(single, case.params)), u=single(case.u), noise=single(case.noise)
    )
    g = backward(small.params, small.run(), single(dy))
    assert {e.dtype for e in g} == {np.dtype(np.float32)}
    # The size of what is rounded: the terms of each sum over time and trials, which may cancel,
    # and for dtau those of the current c as well; tau * dtau, since a change of tau is relative.
    scales = {name: np.abs(RECIPE[name](terms)).sum() for name in FIELDS}
    parts = np.abs(traj.r[:-1]) @ np.abs(terms.W.T) + np.abs(case.u) @ np.abs(terms.W_in.T)
    parts = parts + np.abs(terms.b) + np.abs(terms.noise) + np.abs(traj.x[:-1])
    scales["tau"] = (np.abs(terms.dx[1:-2]) * parts * np.abs(terms.alpha_slope) * terms.tau).sum()
    exact = backward(case.params, traj, dy)
    for name, a, b in zip(FIELDS, g, exact):
        error = np.abs((a - b) * (terms.tau if name == "tau" else 1)).max(initial=0)
        # 2e-5: float32 resolves 6e-8, a slope of 0.1 costs a digit, and what a few steps and units
        # add up reached 5e-6 in the worst of 3000 networks.
        assert error <= 2e-5 * scales[name], name


@given(cases(max_steps=25), st.integers(1, 30))
def test_checkpoints_give_the_same_gradient(case, every):
    traj = case.run()
    dy = case.dy(traj)
    few = forward(case.params, case.u, case.dt, **case.options, checkpoint_every=every)
    assert few.x.shape == traj.x[:-1:every].shape
    assert np.abs(few.x - traj.x[:-1:every]).max() <= 1e-12 * np.abs(traj.x).max()
    assert np.abs(few.y - traj.y).max() <= 1e-12 * np.abs(traj.y).max()
    assert distance(backward(case.params, few, dy), backward(case.params, traj, dy)) < 1e-12


def test_a_network_without_outputs_has_the_gradient_of_its_rates():
    case = make_case(3, n_out=0)
    traj = case.run()
    loss, dr = rate_penalty(traj.r)
    g = backward(case.params, traj, np.zeros((len(case.u), *traj.y.shape[1:])), dr=dr)

    def penalty(params):
        return rate_penalty(case.run(params).r)[0]

    v = random_direction(case.params, case.rng())
    assert relative_error(g, v, complex_step(penalty, case.params, v)) < 1e-10


def test_lists_and_complex_derivatives_keep_what_they_hold():
    traj, dr = CASE.run(), 1j * CASE.rng().standard_normal(TRAJ.r.shape)
    a, b = backward(CASE.params, traj, DY.tolist()), backward(CASE.params, traj, DY)
    assert all(np.array_equal(x, y) for x, y in zip(a, b))
    # backward is linear in dr: the imaginary part is the gradient of a loss of its own.
    g, own = (backward(CASE.params, traj, s * DY, dr=d) for s, d in ((1, dr), (0, dr.imag)))
    assert distance(Params(*(e.imag for e in g)), own) < 1e-12
    along = 1j * CASE.rng().standard_normal(CASE.u.shape)
    still = Params(*(0 * p for p in CASE.params))
    y, own = (tangent(CASE.params, traj, still, du=d) for d in (along, along.imag))
    assert np.abs(y.imag - own).max() <= 1e-12 * np.abs(own).max() > 0
    v = Params(*(CASE.rng().standard_normal(p.shape) for p in CASE.params))
    y, own = (tangent(CASE.params, traj, Params(*(s * e for e in v))) for s in (1j, 1))
    assert np.abs(y.imag - own).max() <= 1e-12 * np.abs(own).max() > 0


@pytest.mark.parametrize("phi", reference.PHI)
@pytest.mark.parametrize("method", ["euler", "exponential"])
def test_long_run_in_many_chunks(phi, method):
    # 700 steps of 3 trials exceed one chunk of the sums over time, and leave a shorter last one.
    case = make_case(5, N=7, T=700, gain=0.8, phi=phi, method=method)
    g = gradient(case)
    for name in FIELDS:
        v = random_direction(case.params, case.rng(), [name])
        assert relative_error(g, v, complex_step(case.loss, case.params, v)) < 1e-10, name


def test_network_without_inputs():
    case = make_case(3, n_in=0)
    g = gradient(case)
    assert g.W_in.shape == (4, 0)
    v = random_direction(case.params, case.rng())
    assert relative_error(g, v, complex_step(case.loss, case.params, v)) < 1e-10


def test_gradient_does_not_change_its_arguments():
    case = make_case(4)
    traj = case.run()
    dy = case.dy(traj)
    before = [np.copy(a) for a in (*case.params, traj.x, traj.r, traj.y, traj.u, traj.noise, dy)]
    backward(case.params, traj, dy)
    tangent(case.params, traj, random_direction(case.params, case.rng()))
    after = (*case.params, traj.x, traj.r, traj.y, traj.u, traj.noise, dy)
    assert all(map(np.array_equal, before, after))


# Segments of a sequence


@given(cases(max_steps=12), st.integers(1, 11), st.integers(1, 5), st.booleans())
def test_segments_chained_through_their_states_give_the_gradient_of_the_whole(
    case, cut, every, few
):
    T = len(case.u)
    assume(cut < T)
    how = {"phi": case.phi, "method": case.method}
    keep = {"checkpoint_every": every if few else None}
    whole = case.run()
    dy = case.dy(whole)
    dr = case.rng(4).standard_normal(whole.r.shape)
    expected, dx0 = backward(case.params, whole, dy, dr=dr, return_dx0=True)
    first, second = slice(None, cut), slice(cut, None)
    noise = [None if case.noise is None else case.noise[part] for part in (first, second)]
    # Where a segment ends, from a run that keeps every state.
    ends = forward(case.params, case.u[first], case.dt, **how, noise=noise[0]).x[-1]
    segments = [
        forward(case.params, case.u[first], case.dt, **how, noise=noise[0], **keep),
        forward(case.params, case.u[second], case.dt, **how, noise=noise[1], x0=ends, **keep),
    ]
    np.testing.assert_array_equal(segments[1].y.shape, whole.y[second].shape)
    assert np.abs(segments[1].y - whole.y[second]).max() <= 1e-12 * np.abs(whole.y).max()
    # The rates at the cut belong to both; their dr is counted once.
    dr_first, dr_second = dr[: cut + 1].copy(), dr[cut:]
    dr_first[-1] = 0
    later, dx_end = backward(
        case.params, segments[1], dy[second], dr=dr_second, return_dx0=True
    )
    assert not later.x0.any()
    sooner, dx_start = backward(
        case.params, segments[0], dy[first], dr=dr_first, dx_end=dx_end, return_dx0=True
    )
    chained = Params(*(a + b for a, b in zip(sooner, later)))
    assert distance(chained, expected) < 1e-12
    assert np.abs(dx_start - dx0).max() <= 1e-12 * max(np.abs(dx0).max(), size(expected))
    np.testing.assert_allclose(dx0.sum(axis=0), expected.x0, rtol=1e-12, atol=1e-300)


@given(cases())
def test_the_gradient_of_states_of_each_trial_by_complex_step(case):
    x0 = case.rng(5).standard_normal((case.u.shape[1], len(case.params.b)))
    v = case.rng(6).standard_normal(x0.shape)

    def loss(states):
        traj = forward(case.params, case.u, case.dt, **case.options, x0=states)
        return mse(traj.y, case.target, case.mask)[0]

    traj = forward(case.params, case.u, case.dt, **case.options, x0=x0)
    np.testing.assert_array_equal(traj.x[0], x0)
    g, dx0 = backward(case.params, traj, case.dy(traj), return_dx0=True)
    exact = loss(x0 + 1e-20j * v).imag / 1e-20
    assert abs(np.sum(dx0 * v) - exact) <= 1e-10 * np.sum(np.abs(dx0 * v))
    assert not g.x0.any()  # the trials did not start from params.x0
    direction = random_direction(case.params, case.rng())
    dy = case.rng(2).standard_normal(traj.y.shape)
    reverse, scale = inner(backward(case.params, traj, dy), direction)
    assert abs(reverse - np.sum(dy * tangent(case.params, traj, direction))) < 1e-12 * scale


@given(cases(max_units=8))
def test_the_plain_backward_is_the_fast_one(case):
    traj = case.run()
    dy = case.rng(2).standard_normal(traj.y.shape)
    g, h = backward(case.params, traj, dy), plain_backward(case.params, traj, dy)
    assert distance(g, h) < 1e-12


# Wrong input


CASE = make_case(8)
CUBIC = Nonlinearity("cubic", lambda x, out=None: np.power(x, 3, out=out), None)
TRAJ = CASE.run()
DY = CASE.dy(TRAJ)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (r"dy: must have shape \(6, 3, 2\)", lambda: backward(CASE.params, TRAJ, DY[:-1])),
        (r"dy: .* finite, got nan at index \(2, 1, 0\)", lambda: backward(CASE.params, TRAJ, BAD)),
        (
            r"dr: must have shape \(7, 3, 4\)",
            lambda: backward(CASE.params, TRAJ, DY, dr=TRAJ.r[1:]),
        ),
        (
            "traj: .* give the params that forward was called with",
            lambda: backward(make_case(8, N=5).params, TRAJ, DY),
        ),
        (
            r"W: must be square",
            lambda: backward(CASE.params._replace(W=np.zeros((4, 3))), TRAJ, DY),
        ),
        (
            r"dparams.tau: must have the shape of tau, \(4,\)",
            lambda: tangent(CASE.params, TRAJ, CASE.params._replace(tau=np.ones(3))),
        ),
        (
            "dparams.b: every value must be finite, got nan",
            lambda: tangent(CASE.params, TRAJ, CASE.params._replace(b=np.full(4, np.nan))),
        ),
        (
            "dparams: must be a Params with W, W_in, .*, got tuple",
            lambda: tangent(CASE.params, TRAJ, tuple(CASE.params[:5])),
        ),
        *[
            (
                rf"du: must have shape \(6, 3, 2\), got \({shape}\)",
                lambda du=du: tangent(CASE.params, TRAJ, CASE.params, du=du),
            )
            for shape, du in [("6, 2", CASE.u[:, 0]), ("5, 3, 2", CASE.u[:-1])]
        ],
        (
            "du: every value must be finite, got nan",
            lambda: tangent(CASE.params, TRAJ, CASE.params, du=np.nan * CASE.u),
        ),
        (
            "traj: tangent needs every state",
            lambda: tangent(
                CASE.params,
                forward(CASE.params, CASE.u, CASE.dt, checkpoint_every=2),
                CASE.params,
            ),
        ),
        (
            r"dx_end: must have shape \(3, 4\), got \(4,\)",
            lambda: backward(CASE.params, TRAJ, DY, dx_end=np.zeros(4)),
        ),
        *[
            (
                f"traj: must be the Trajectory that forward returned, got {name}",
                lambda call=call, traj=traj: call(CASE.params, traj),
            )
            for name, traj in [("ndarray", TRAJ.x), ("tuple", tuple(TRAJ)), ("NoneType", None)]
            for call in (lambda p, t: backward(p, t, DY), lambda p, t: tangent(p, t, p))
        ],
        *[
            (
                "traj.checkpoint_every: must be an integer >= 1, got",
                lambda call=call, k=k: call(CASE.params, TRAJ._replace(checkpoint_every=k)),
            )
            for k in (0, -1, "two")
            for call in (lambda p, t: backward(p, t, DY), lambda p, t: tangent(p, t, p))
        ],
        (
            r"traj: noise must have shape \(6, 3, 4\)",
            lambda: backward(CASE.params, TRAJ._replace(noise=np.zeros(4)), DY),
        ),
        (
            "phi: 'cubic' has no derivative, which a gradient needs; give one",
            lambda: backward(CASE.params, TRAJ._replace(phi=CUBIC), DY),
        ),
        (
            "phi: 'cubic' has no derivative",
            lambda: tangent(CASE.params, TRAJ._replace(phi=CUBIC), CASE.params),
        ),
        (
            "dy: must not be a masked array",
            lambda: backward(CASE.params, TRAJ, np.ma.masked_array(DY)),
        ),
    ],
)
def test_wrong_input(message, call):
    with pytest.raises(ValueError, match=message):
        call()


BAD = DY.copy()
BAD[2, 1, 0] = np.nan
