"""The simulation against scalar loops, exact solutions and its own promises."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from tau_rnn.bptt import backward
from tau_rnn.gradcheck.strategies import cases, make_case
from tau_rnn.model import (
    METHODS,
    NONLINEARITIES,
    Nonlinearity,
    Params,
    alpha,
    forward,
    init_params,
    nonlinearity,
    private_noise,
    velocity,
)
from tau_rnn.noise import noise_scale
from tau_rnn.parametrization import unconstrain

# The whole space includes coarse Euler steps, of which `alpha` warns.
coarse = pytest.mark.filterwarnings("ignore:dt = :RuntimeWarning")


def relative(got, expected):
    return np.abs(got - expected).max() / max(np.abs(expected).max(), 1e-300)


# Forward


@coarse
@given(cases(max_units=4, max_steps=5, max_trials=3))
def test_forward_is_the_equation(case):
    traj = case.run()
    x, _, y = reference.forward(case.params, case.u, case.dt, **case.options)
    assert relative(traj.x, x) < 1e-12
    assert relative(traj.y, y) < 1e-12
    f = np.vectorize(reference.PHI[case.phi][0])
    assert relative(traj.r, f(x)) < 1e-12


@coarse
@given(cases())
def test_a_step_is_a_step_along_the_velocity(case):
    # x[t+1] - x[t] = alpha tau dx/dt for both methods; alpha tau = dt for Euler.
    traj = case.run()
    a = alpha(case.params.tau, case.dt, case.method)
    dxdt = velocity(case.params, traj.x[:-1], case.u, phi=case.phi, noise=case.noise)
    expected = traj.x[:-1] + a * case.params.tau * dxdt
    assert relative(traj.x[1:], expected) < 1e-12


def test_what_a_trajectory_holds():
    case = make_case(0)
    traj = case.run()
    assert traj.x.shape == traj.r.shape == (7, 3, 4)
    assert traj.y.shape == (6, 3, 2)
    assert (traj.x[0] == case.params.x0).all()
    assert (traj.dt, traj.phi, traj.method) == (case.dt, case.phi, case.method)
    assert traj.u is case.u
    assert traj.noise is case.noise
    assert traj.checkpoint_every is None


@coarse
@given(cases(), st.integers(0, 7))
def test_the_future_does_not_matter(case, t):
    t = min(t, len(case.u) - 1)
    noise = None if case.noise is None else case.noise[: t + 1]
    short = case._replace(u=case.u[: t + 1], noise=noise).run()
    assert relative(short.x, case.run().x[: t + 2]) < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_an_isolated_unit_relaxes_to_its_input(method):
    # W = 0 and constant input c: x[t] = c + (x0 - c) (1 - alpha)^t.
    case = make_case(1, method=method, noisy=False, T=20)
    params = case.params._replace(W=np.zeros((4, 4)))
    u = np.broadcast_to(case.u[:1], case.u.shape)
    traj = forward(params, u, case.dt, method=method)
    c = u[0] @ params.W_in.T + params.b
    t = np.arange(21)[:, np.newaxis, np.newaxis]
    decay = np.exp(-case.dt / params.tau) if method == "exponential" else 1 - case.dt / params.tau
    assert relative(traj.x, c + (params.x0 - c) * decay**t) < 1e-12


@pytest.mark.parametrize("phi", NONLINEARITIES)
def test_nonlinearities_and_their_slopes(phi):
    x = np.concatenate([np.linspace(-6, 6, 241), [-700, -40, 40, 700.0]])
    f, slope = reference.PHI[phi]
    r = NONLINEARITIES[phi].function(x)
    if phi == "softplus":
        f = lambda z: max(z, 0) + np.log1p(np.exp(-abs(z)))  # noqa: E731  no overflow at 700
    if phi == "sigmoid":
        f = lambda z: np.exp(min(z, 0)) / (1 + np.exp(-abs(z)))  # noqa: E731
    assert np.allclose(r, [f(z) for z in x], rtol=1e-14, atol=1e-15)
    derivative = NONLINEARITIES[phi].derivative
    inner = np.abs(x) < 7
    assert np.allclose(derivative(r)[inner], [slope(z) for z in x[inner]], rtol=1e-10, atol=1e-15)
    if phi != "relu":  # whose kink lies in this range
        exact = NONLINEARITIES[phi].function(x[inner] + 1e-20j).imag / 1e-20
        assert np.allclose(derivative(r[inner]), exact, rtol=1e-10)
    for function, argument in ((NONLINEARITIES[phi].function, x), (derivative, r)):
        out = np.full_like(x, np.nan)
        kept = argument.copy()
        assert function(argument, out=out) is out
        assert np.array_equal(out, function(argument))
        assert np.array_equal(argument, kept)


def test_a_nonlinearity_of_ones_own():
    cubic = Nonlinearity("cubic", lambda x, out=None: np.power(x, 3, out=out), None)
    assert nonlinearity(cubic) is cubic
    case = make_case(2)
    traj = forward(case.params, case.u, case.dt, phi=cubic)
    assert np.array_equal(traj.r, traj.x**3)


def test_a_nonlinearity_may_have_parameters_of_each_unit():
    case = make_case(2)
    threshold = np.arange(len(case.params.b)) / 10
    phi = Nonlinearity(
        "shifted", lambda x, out=None: np.tanh(x - threshold, out=out),
        NONLINEARITIES["tanh"].derivative,
    )  # fmt: skip
    traj = forward(case.params, case.u, case.dt, phi=phi)
    np.testing.assert_array_equal(traj.r, np.tanh(traj.x - threshold))
    with pytest.raises(ValueError, match="phi: the derivative of 'shifted' must write"):
        forward(case.params, case.u, case.dt, phi=phi._replace(derivative=lambda r, out=None: r))


@pytest.mark.parametrize(
    ("phi", "message"),
    [
        (Nonlinearity("sin", lambda x, out=None: np.sin(x), np.positive),
         "phi: the function of 'sin' must write its result into out"),
        (Nonlinearity("sin", np.sin, lambda r, out=None: 1 - r * r),
         "phi: the derivative of 'sin' must write its result into out"),
        (Nonlinearity("tanh", lambda x: np.tanh(x), np.positive),
         "phi: the function of 'tanh' must take out="),
    ],
)  # fmt: skip
def test_a_nonlinearity_that_ignores_out_is_refused(phi, message):
    # Its rates would be what happens to be in memory.
    case = make_case(2)
    with pytest.raises(ValueError, match=message):
        forward(case.params, case.u, case.dt, phi=phi)


def own(function=np.tanh, derivative=lambda r, out=None: np.subtract(1, r * r, out=out)):
    return Nonlinearity("mine", function, derivative)


def keeps_float64(x, out=None):
    result = np.tanh(np.asarray(x, np.float64))
    return result if out is None else np.copyto(out, result)


def changes_its_argument(x, out=None):
    x[...] = np.tanh(x)
    return np.positive(x, out=out)


@pytest.mark.parametrize(
    ("phi", "message"),
    [
        # At the first state, -2.73, 1 - tanh(x)^2 is 0.01687.
        (own(derivative=lambda x, out=None: np.subtract(1, np.tanh(x) ** 2, out=out)),
         r"the derivative of 'mine' must be that of its function, as a function of the rate .*"
         r"; yours is right as one of x: at x = -2.73, r = -0.9915 it must be 0.01687, got 0.4254"),
        (own(derivative=lambda r, out=None: np.add(1, r * r, out=out)),
         r"as a function of the rate \(1 - r\*\*2 for tanh\): at x = -2.73, .* got 1.983"),
        (own(np.sin, lambda r, out=None: np.sqrt(1 - r * r, out=out)),  # right up to pi / 2
         r"at x = -2.73, r = -0.4001 it must be -0.9165, got 0.9165"),
        (own(keeps_float64), "the function of 'mine' must keep shape and dtype, .* got .* float64"),
        (own(lambda x, out=None: np.sum(x, axis=-1)),
         r"the function of 'mine' must keep shape and dtype, \(11, 4\) and float32, got \(11,\)"),
        (own(derivative=lambda r, out=None: r > 0), "derivative of 'mine' must keep .* bool"),
        (own(changes_its_argument), "the function of 'mine' must leave its argument unchanged"),
        (own(lambda x, out=None: np.tanh(x) if out is None else np.sin(x, out=out)),
         "the function of 'mine' must write its result into out"),
        (own("tanh"), "the function of 'mine' must be a function, got 'tanh'"),
        (own(derivative="1 - r^2"), "the derivative of 'mine' must be a function, got '1 - r"),
        (own(np.hypot), "'mine' cannot be computed: hypot"),
    ],
)  # fmt: skip
def test_the_contract_of_a_nonlinearity_is_checked_when_it_is_first_used(phi, message):
    case = make_case(2)
    params = Params(*(p.astype(np.float32) for p in case.params))
    for _ in range(2):  # what is wrong stays wrong
        with pytest.raises(ValueError, match="phi: .*" + message):
            forward(params, case.u.astype(np.float32), case.dt, phi=phi)


@pytest.mark.parametrize(
    "phi",
    [
        own(lambda x, out=None: np.exp(2 * x, out=out), lambda r, out=None: np.add(r, r, out=out)),
        own(np.sqrt, lambda r, out=None: np.divide(0.5, r, out=out)),
    ],
    ids=["steep", "not a number below 0"],
)
def test_a_steep_nonlinearity_and_one_of_positive_states_are_right(phi):
    assert nonlinearity(phi, 1) is phi


def test_a_derivative_wrong_at_one_state_is_told_there():
    phi = own(np.positive, lambda r, out=None: np.add(np.ones_like(r), r > 6.5, out=out))
    with pytest.raises(ValueError, match=r"at x = 6.73, r = 6.73 it must be 1, got 2"):
        nonlinearity(phi, 1)


def test_a_nonlinearity_that_loses_the_imaginary_part_is_refused_in_a_complex_step():
    case = make_case(2)
    phi = Nonlinearity("size", lambda x, out=None: np.abs(x, out=out), None)
    forward(case.params, case.u, case.dt, phi=phi)
    with pytest.raises(ValueError, match=r"phi: the function of 'size' must keep .* complex128"):
        forward(case.params._replace(W=case.params.W + 0j), case.u, case.dt, phi=phi)


def test_a_right_nonlinearity_is_checked_once_for_each_number_of_units_and_dtype():
    calls = []

    def function(x, out=None):
        calls.append(x.shape)
        return np.tanh(x, out=out)

    phi, case = own(function), make_case(2)
    for _ in range(3):
        before = len(calls)
        forward(case.params, case.u, case.dt, phi=phi)
    assert len(calls) - before == len(case.u) + 1  # a call for each state
    traj = forward(case.params, case.u, case.dt, phi=phi)
    plain = forward(case.params, case.u, case.dt, phi="tanh")
    np.testing.assert_allclose(traj.y, plain.y, rtol=1e-12)
    dy = np.ones_like(traj.y)
    for a, b in zip(backward(case.params, traj, dy), backward(case.params, plain, dy)):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_a_function_given_for_a_nonlinearity_is_told_how_to_make_one():
    case = make_case(2)
    with pytest.raises(ValueError, match=r"did you mean 'tanh'.*or a Nonlinearity\(name, fun"):
        forward(case.params, case.u, case.dt, phi=np.tanh)


def test_small_rates_of_sigmoid_keep_their_accuracy():
    sigmoid = NONLINEARITIES["sigmoid"]
    x = np.array([-80.0, -50.0, -20.0, -5.0, -1e-3])
    exact = np.exp(x) / (1 + np.exp(x))
    np.testing.assert_allclose(sigmoid.function(x), exact, rtol=1e-14)
    np.testing.assert_allclose(
        sigmoid.function(x.astype(np.float32)), exact, rtol=3e-6  # exp(-80 (1 + 6e-8))
    )
    np.testing.assert_allclose(sigmoid.derivative(sigmoid.function(x)), exact * (1 - exact),
                               rtol=1e-13)  # fmt: skip
    z = sigmoid.function(x + 1e-20j)
    np.testing.assert_allclose(z.imag / 1e-20, exact * (1 - exact), rtol=1e-13)
    with np.errstate(over="raise", invalid="raise"):
        ends = sigmoid.function(np.array([-1e4, 1e4]))
    np.testing.assert_array_equal(ends, [0, 1])


# The seven fields


def test_params_may_be_a_mapping_or_a_sequence(tmp_path):
    case = make_case(3)
    expected = case.run()
    file = tmp_path / "final.npz"
    np.savez(file, **case.params._asdict(), steps=400)  # others are left alone
    with np.load(file) as stored:
        mappings = [stored, dict(stored)]
        for params in (*mappings, list(case.params), tuple(case.params)):
            traj = forward(params, case.u, case.dt, **case.options)
            np.testing.assert_array_equal(traj.y, expected.y)
            g = backward(params, traj, np.ones_like(traj.y))
            assert isinstance(g, Params)
            velocity(params, traj.x[0], case.u[0])
        draws = [
            private_noise(params, 0.1, 0.2, 3, 2, np.random.default_rng(0))
            for params in (case.params, *mappings)
        ]
        np.testing.assert_array_equal(draws[1:], [draws[0]] * 2)


FIELDS = "W, W_in, b, W_out, b_out, x0, tau"
HUGE = 10**400


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("params: must have the fields W, .* got a mapping with the keys weights, tau",
         lambda p: {"weights": p.W, "tau": p.tau}),
        ("params: must have the fields .* with the keys none", lambda p: {}),
        (f"params: must be a Params with {FIELDS}, got list of length 6", lambda p: list(p)[:6]),
        (f"params: must be a Params with {FIELDS}, got int", lambda p: 3),
        (f"params: must be a Params with {FIELDS}, got NoneType", lambda p: None),
        ("W: must be an array of numbers, got a ragged list",
         lambda p: p._replace(W=[[1.0], [1.0, 2.0]])),
        ("b: must hold numbers, got an array of dtype object",
         lambda p: p._replace(b=[HUGE] * 4)),
        ("tau: must not be a masked array, whose mask would be lost",
         lambda p: p._replace(tau=np.ma.masked_array(p.tau, [True, False, False, False]))),
        ("W_in: must hold numbers, got an array of dtype <U4",
         lambda p: p._replace(W_in=np.full(p.W_in.shape, "loud"))),
    ],
)  # fmt: skip
def test_what_is_no_params_is_refused_by_name(message, change):
    case = make_case(3)
    traj = case.run()
    params = change(case.params)
    for call in (
        lambda: forward(params, case.u, case.dt),
        lambda: backward(params, traj, np.ones_like(traj.y)),
        lambda: velocity(params, traj.x[0], case.u[0]),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_time_constants_that_are_masked_or_ragged_are_refused_by_name():
    masked, ragged = np.ma.masked_array([1.0, 2.0], [True, False]), [[1.0], [1.0, 2.0]]
    for tau, message in ((masked, "must not be a masked array"), (ragged, "must be an array")):
        for call in (
            lambda tau=tau: alpha(tau, 0.1),
            lambda tau=tau: noise_scale(tau, 0.1),
            lambda tau=tau: unconstrain(tau, 0.1),
            lambda tau=tau: init_params(2, 1, 1, tau, np.random.default_rng(0)),
        ):
            with pytest.raises(ValueError, match=f"^tau: {message}"):
                call()


@pytest.mark.parametrize("name", ["u", "noise", "x0"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (np.ma.masked_array, "must not be a masked array"),
        (lambda a: [[1.0], [1.0, 2.0]], "must be an array of numbers, got a ragged list"),
        (lambda a: np.full(a.shape, HUGE, object), "must hold numbers, got .* dtype object"),
        (lambda a: np.full_like(a, np.nan), "every value must be finite, got nan at index"),
        (lambda a: a[..., :1], "must "),
    ],
)
def test_what_drives_a_network_is_refused_by_name(name, spoil, message):
    case = make_case(3)
    given = {"u": case.u, "noise": case.noise, "x0": np.ones((case.u.shape[1], 4))}
    given[name] = spoil(given[name])
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        forward(case.params, dt=case.dt, **given)


def test_checkpoints_are_not_taken_for_the_states_of_every_step():
    case = make_case(3)
    few = forward(case.params, case.u, case.dt, checkpoint_every=2)
    with pytest.raises(ValueError, match="x0: must hold every time step, got those of checkpoints"):
        forward(case.params, case.u, case.dt, x0=few.x[-1])
    again = forward(case.params, case.u, case.dt, x0=np.asarray(few.x[0]))
    np.testing.assert_array_equal(again.y, case._replace(noise=None, method="exponential").run().y)


# Dtype


@pytest.mark.parametrize("field", [*Params._fields, "u", "noise"])
@pytest.mark.parametrize(
    ("most", "one", "result"),
    [
        (np.float32, np.float32, np.float32),
        (np.float32, np.float64, np.float64),
        (np.float64, np.float32, np.float64),
        (np.float64, np.complex128, np.complex128),
        (np.float32, np.complex64, np.complex64),
    ],
)
def test_forward_and_backward_keep_the_promoted_dtype(field, most, one, result):
    case = make_case(3)
    arrays = {**case.params._asdict(), "u": case.u, "noise": case.noise}
    arrays = {name: a.astype(one if name == field else most) for name, a in arrays.items()}
    params = Params(*(arrays[name] for name in Params._fields))
    traj = forward(params, arrays["u"], case.dt, method=case.method, noise=arrays["noise"])
    assert traj.x.dtype == traj.r.dtype == traj.y.dtype == result
    g = backward(params, traj, np.ones_like(traj.y))
    assert {e.dtype for e in g} == {np.dtype(result)}
    # Every array was rounded at most to single precision, 6e-8; a few steps add up.
    assert relative(traj.y, case.run().y) < 1e-5


def test_whole_numbers_become_float64():
    params = Params(*(np.ones(p.shape, int) for p in make_case(0).params))
    traj = forward(params, np.ones((2, 3, 2), int), 0.1)
    assert traj.x.dtype == np.float64
    same = forward(Params(*(p.astype(float) for p in params)), np.ones((2, 3, 2)), 0.1)
    assert np.array_equal(traj.y, same.y)


def test_lists_are_taken_for_arrays():
    case = make_case(0)
    params = Params(*(p.tolist() for p in case.params))
    traj = forward(params, case.u.tolist(), case.dt, method=case.method, noise=case.noise.tolist())
    assert np.array_equal(traj.y, case.run().y)


# Buffers and checkpoints


def test_what_a_caller_gets_is_his_own():
    case = make_case(0)
    first, second = case.run(), case.run()
    kept = first.x.copy()
    second.x[...] = np.nan
    assert np.array_equal(first.x, kept)
    assert not any(np.shares_memory(a, b) for a in first[:3] for b in second[:3])


@coarse
@given(cases())
def test_out_is_filled_with_the_same(case):
    expected = case.run()
    out = expected._replace(**{k: np.full_like(getattr(expected, k), np.nan) for k in "xry"})
    traj = forward(case.params, case.u, case.dt, **case.options, out=out)
    for name in "xry":
        assert getattr(traj, name) is getattr(out, name)
        assert np.array_equal(getattr(traj, name), getattr(expected, name))


@coarse
@given(cases(max_steps=20), st.integers(1, 25))
def test_checkpoints_keep_every_kth_state_and_all_outputs(case, k):
    full = case.run()
    traj = forward(case.params, case.u, case.dt, **case.options, checkpoint_every=k)
    assert len(traj.x) == -(-len(case.u) // k)
    assert relative(traj.x, full.x[:-1:k]) < 1e-12
    assert relative(traj.r, full.r[:-1:k]) < 1e-12
    assert relative(traj.y, full.y) < 1e-12


# Current form and rate form


def rate_form(params, r, u, dt):
    """tau dr/dt = -r + phi(W r + W_in u + b) by Euler steps; (T, B, N) after each step."""
    states = []
    for u_t in u:
        drive = np.tanh(r @ params.W.T + u_t @ params.W_in.T + params.b)
        r = r + dt / params.tau * (drive - r)
        states.append(r)
    return np.array(states)


@pytest.mark.parametrize("equal", [True, False])
def test_rate_form_is_the_same_system_only_if_all_tau_are_equal(equal):
    # With x = W r + W_in u + b for constant u: tau dx/dt = W (tau dr/dt) = -x + W phi(x) + ...,
    # but W commutes with the time constants only if they are equal.
    case = make_case(4, noisy=False, T=30)
    params = case.params
    if equal:
        params = params._replace(tau=np.full(4, 0.3))
    u = np.broadcast_to(case.u[:1], (30, 3, 2))
    r0 = np.tile(params.x0, (3, 1))
    rates = rate_form(params, r0, u, case.dt)
    drive = u[0] @ params.W_in.T + params.b
    x = []
    for trial in range(3):
        start = params.W @ r0[trial] + drive[trial]
        one = slice(trial, trial + 1)
        states = forward(params._replace(x0=start), u[:, one], case.dt, method="euler").x
        x.append(states[1:, 0])
    x = np.stack(x, axis=1)
    difference = relative(rates @ params.W.T + drive, x)
    assert difference < 1e-12 if equal else difference > 0.01


# Step sizes


@given(st.floats(1e-3, 1e3), st.floats(1e-4, 0.5))
def test_alpha(tau, ratio):
    dt = ratio * tau
    assert alpha(tau, dt, "euler") == dt / tau
    assert abs(alpha(tau, dt) - (1 - np.exp(-dt / tau))) < 1e-15
    # The two agree to first order, and the exponential one is always a contraction.
    assert 0 < alpha(tau, dt, "euler") - alpha(tau, dt) < (dt / tau) ** 2
    assert alpha(tau, 100 * tau) <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("method", METHODS)
def test_alpha_keeps_the_dtype(dtype, method):
    assert alpha(np.ones(3, dtype), 0.1, method).dtype == dtype


def test_coarse_euler_steps_warn_once_for_each_place():
    code = (
        "import numpy as np; from tau_rnn.model import Params, forward\n"
        "p = Params(*map(np.ones, [(1, 1), (1, 1), 1, (1, 1), 1, 1, 1]))\n"
        "for k in range(5):\n    forward(p, np.ones((9, 2, 1)), 0.6, method='euler')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.count("RuntimeWarning") == 1
    assert done.stderr.startswith("<string>:4:")  # the line that asked for such steps, not ours
    assert "dt = 0.6 s is more than half of the shortest tau = 1 s" in done.stderr


@coarse
def test_the_limit_of_euler_steps_is_twice_tau():
    assert alpha(np.array([1.0, 3.0]), 2.0, "euler")[0] == 2
    with pytest.raises(ValueError, match=r"dt: an Euler step of 2.001 s is unstable for tau = 1 s"):
        alpha(np.array([1.0, 3.0]), 2.001, "euler")


@pytest.mark.parametrize("dt", [0.501, 1.0])
def test_the_warning_starts_at_half_of_tau(dt):
    with pytest.warns(RuntimeWarning, match="more than half of the shortest tau = 1 s"):
        alpha(np.array([1.0, 3.0]), dt, "euler")


def test_the_warning_points_at_the_call_of_forward():
    params = init_params(1, 1, 1, 1.0, np.random.default_rng(0))
    with pytest.warns(RuntimeWarning, match="more than half") as met:
        forward(params, np.ones((1, 1, 1)), 0.6, method="euler")
    assert met[0].filename == __file__


@pytest.mark.parametrize(("dt", "method"), [(0.5, "euler"), (5.0, "exponential")])
def test_no_warning_where_steps_are_fine(dt, method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alpha(np.array([1.0, 2.0]), dt, method)


# Noise


@pytest.mark.parametrize("method", METHODS)
def test_private_noise_gives_every_unit_the_same_sd(method):
    tau = np.array([0.15, 0.5, 1.0, 3.0])
    params = init_params(4, 1, 1, tau, np.random.default_rng(0), gain=0)
    dt, sigma, T, B = 0.05, 0.2, 400, 300
    noise = private_noise(params, dt, sigma, T, B, np.random.default_rng(1), method=method)
    assert noise.shape == (T, B, 4)
    a = alpha(tau, dt, method)
    scale = sigma * np.sqrt((2 - a) / a)
    # Standard error of an sd from n draws: sd / sqrt(2 n); the bar is 5 of them.
    n = T * B
    assert np.abs(noise.std(axis=(0, 1)) / scale - 1).max() < 5 / np.sqrt(2 * n)
    assert np.abs(noise.mean(axis=(0, 1)) / scale).max() < 5 / np.sqrt(n)
    flat = noise.reshape(n, 4) / scale
    assert np.abs(np.corrcoef(flat.T) - np.eye(4)).max() < 5 / np.sqrt(n)
    assert np.abs((flat[:-B] * flat[B:]).mean(axis=0)).max() < 5 / np.sqrt(n)  # white in time

    # Start each trial in the stationary distribution, the end is then stationary as well.
    start = sigma * np.random.default_rng(2).standard_normal((B, 4))
    x = start
    ends = []
    for eta in noise:
        x = (1 - a) * x + a * eta
        ends.append(x)
    spread = np.concatenate([ends[k] for k in (133, 266, 399)]).std(axis=0)
    # Three snapshots of 300 trials, correlated for the slow units: at least 300 free draws.
    assert np.abs(spread / sigma - 1).max() < 5 / np.sqrt(2 * B)
    traj = forward(params, np.zeros((T, B, 1)), dt, method=method, noise=noise)
    late = traj.x[-1].std(axis=0) / sigma
    # From x0 = 0 the variance has reached 1 - exp(-2 T dt / tau) > 0.999 of its end.
    assert np.abs(late - 1).max() < 5 / np.sqrt(2 * B)


@pytest.mark.filterwarnings("ignore:dt = :RuntimeWarning")
@given(
    steps=st.floats(0.001, 1.999),  # dt / tau
    dt=st.floats(1e-4, 10),
    method=st.sampled_from(METHODS),
)
def test_the_stationary_variance_of_an_isolated_unit_is_one(steps, dt, method):
    """By the recursion of the variance itself, which no rounding of a simulation blurs."""
    tau = np.array([dt / steps])
    s, a = noise_scale(tau, dt, method)[0], alpha(tau, dt, method)[0]
    assert (1 - a) ** 2 + (a * s) ** 2 == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_long_simulations_of_isolated_units_have_the_standard_deviation_sigma(method):
    """Steps so coarse that sigma sqrt(2 / alpha) would be 1.4 sigma; every time is stationary."""
    tau, dt, sigma, T, B = np.array([0.06, 0.1, 0.4]), 0.1, 0.3, 4000, 50
    params = init_params(3, 1, 1, tau, np.random.default_rng(0), gain=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # Euler with dt > tau / 2, on purpose
        noise = private_noise(params, dt, sigma, T, B, np.random.default_rng(3), method=method)
        x = forward(params, np.zeros((T, B, 1)), dt, method=method, noise=noise).x[100:]
        a = alpha(tau, dt, method)
    # Successive squares correlate by (1 - a)^2: that many samples count as n (1 - q) / (1 + q).
    q = (1 - a) ** 2
    free = x[..., 0].size * (1 - q) / (1 + q)
    assert (np.abs(x.std(axis=(0, 1)) / sigma - 1) < 5 / np.sqrt(2 * free)).all()


def test_private_noise_is_reproducible_and_takes_a_buffer():
    params = make_case(0).params
    draws = [private_noise(params, 0.01, 0.3, 5, 2, np.random.default_rng(7)) for _ in range(2)]
    assert np.array_equal(*draws)
    out = np.empty_like(draws[0])
    assert private_noise(params, 0.01, 0.3, 5, 2, np.random.default_rng(7), out=out) is out
    assert np.array_equal(out, draws[0])
    assert not private_noise(params, 0.01, 0, 5, 2, np.random.default_rng(7)).any()


def test_private_noise_in_single_precision():
    params = Params(*(p.astype(np.float32) for p in make_case(0).params))
    # A sigma that is a NumPy number, from a table or a file, must not make it double.
    noise = private_noise(params, 0.01, np.float64(0.3), 50, 20, np.random.default_rng(7))
    assert noise.dtype == np.float32


# Initial parameters


def test_init_params_statistics():
    N, n_in, n_out = 200, 50, 20
    p = init_params(N, n_in, n_out, 0.7, np.random.default_rng(0), gain=1.3)
    expected = {"W": 1.3 / np.sqrt(N), "W_in": 1.0, "W_out": 0.5 / np.sqrt(N)}
    for name, sd in expected.items():
        w = getattr(p, name)
        assert abs(w.std() / sd - 1) < 5 / np.sqrt(2 * w.size), name  # 5 standard errors
        assert abs(w.mean() / sd) < 5 / np.sqrt(w.size), name
    assert not any(getattr(p, name).any() for name in ("b", "b_out", "x0"))
    assert (p.tau == 0.7).all()
    assert p.W.shape == (N, N)
    # Circular law: the spectral radius is the gain, up to a few percent at this size.
    assert abs(np.abs(np.linalg.eigvals(p.W)).max() / 1.3 - 1) < 0.1


def test_an_untrained_network_is_below_chaos_by_default():
    # Evidence and tutorials are of this gain: the chosen one is not a matter of taste.
    given = init_params(5, 2, 1, 1.0, np.random.default_rng(3))
    again = init_params(5, 2, 1, 1.0, np.random.default_rng(3), gain=0.8)
    assert all(np.array_equal(a, b) for a, b in zip(given, again))


def test_one_seed_gives_paired_networks():
    a = init_params(5, 2, 1, np.full(5, 1.0), np.random.default_rng(3), gain=0.5)
    b = init_params(5, 2, 1, np.linspace(0.1, 2, 5), np.random.default_rng(3), gain=1.5)
    assert np.allclose(3 * a.W, b.W, rtol=1e-14)
    assert np.array_equal(a.W_in, b.W_in)
    assert np.array_equal(a.W_out, b.W_out)
    assert not np.array_equal(a.tau, b.tau)


def test_init_params_copies_tau_and_sets_the_dtype():
    tau = np.ones(3)
    p = init_params(3, 1, 1, tau, np.random.default_rng(0), dtype=np.float32)
    assert {q.dtype for q in p} == {np.dtype(np.float32)}
    double = init_params(3, 1, 1, tau, np.random.default_rng(0))
    double.tau[0] = 5
    assert tau[0] == 1
    assert not any(np.shares_memory(double.b, other) for other in (double.x0, double.b_out))


# Velocity


def test_velocity_takes_a_complex_step():
    case = make_case(3, phi="tanh")
    (W, _, _, _, _, x, tau), u = case.params, case.u[0, 0]
    v = np.linspace(1, 2, len(x))
    found = np.imag(velocity(case.params, x + 1e-20j * v, u)) / 1e-20
    np.testing.assert_allclose(found, (W @ ((1 - np.tanh(x) ** 2) * v) - v) / tau, rtol=1e-12)


def test_velocity_has_the_shape_of_x_and_a_fixed_point():
    case = make_case(5)
    W, W_in, b, _, _, x0, tau = case.params
    for shape in ((4,), (3, 4), (2, 3, 4)):
        x = np.broadcast_to(x0, shape)
        u = np.ones((*shape[:-1], 2))
        v = velocity(case.params, x, u)
        assert v.shape == shape
        assert relative(v, (-x + np.tanh(x) @ W.T + u @ W_in.T + b) / tau) < 1e-14
    # b chosen so that x0 is a fixed point.
    still = case.params._replace(b=x0 - W @ np.tanh(x0))
    assert np.abs(velocity(still, x0, np.zeros(2))).max() < 1e-13 / tau.min()


# Wrong input


CASE = make_case(8)
P, U = CASE.params, CASE.u
RNG = np.random.default_rng(0)


def spoiled(a, value, index=0):
    a = np.array(a, float)
    a.flat[index] = value
    return a


def run(u=U, dt=0.05, params=P, **options):
    return forward(params, u, dt, **options)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (r"W: must be square \(N, N\) with N >= 1, got shape \(4, 3\)",
         lambda: run(params=P._replace(W=np.ones((4, 3))))),
        (r"W: must be square .* got shape \(0, 0\)",
         lambda: run(params=P._replace(W=np.ones((0, 0))))),
        (r"W_in: must be \(N, n_in\) = \(4, n_in\), got shape \(4,\)",
         lambda: run(params=P._replace(W_in=np.ones(4)))),
        (r"W_in: must have shape \(4, 2\) for N = 4, got \(3, 2\)",
         lambda: run(params=P._replace(W_in=np.ones((3, 2))))),
        (r"W_out: must be \(n_out, N\) = \(n_out, 4\)",
         lambda: run(params=P._replace(W_out=np.ones(4)))),
        (r"W_out: must have shape \(2, 4\)", lambda: run(params=P._replace(W_out=np.ones((2, 3))))),
        (r"b: must have shape \(4,\) for N = 4, got \(5,\)",
         lambda: run(params=P._replace(b=np.ones(5)))),
        (r"b_out: must have shape \(2,\)", lambda: run(params=P._replace(b_out=np.ones(3)))),
        (r"x0: must have shape \(4,\)", lambda: run(params=P._replace(x0=np.ones((1, 4))))),
        (r"tau: must have shape \(4,\)", lambda: run(params=P._replace(tau=1.0))),
        (r"W: every value must be finite, got nan at index \(1, 2\)",
         lambda: run(params=P._replace(W=spoiled(P.W, np.nan, 6)))),
        (r"b: every value must be finite, got inf at index \(0,\)",
         lambda: run(params=P._replace(b=spoiled(P.b, np.inf)))),
        ("tau: every time constant must be positive",
         lambda: run(params=P._replace(tau=spoiled(P.tau, 0)))),
        ("tau: every time constant must be positive",
         lambda: run(params=P._replace(tau=spoiled(P.tau, -1)))),
        ("tau: every value must be finite", lambda: run(params=P._replace(tau=P.tau * np.nan))),
        (r"u: must be \(T, B, n_in\) .* n_in = 2, got shape \(6, 3, 3\)",
         lambda: run(np.ones((6, 3, 3)))),
        (r"u: must be \(T, B, n_in\)", lambda: run(np.ones((6, 2)))),
        (r"u: must be .* T >= 1", lambda: run(np.ones((0, 3, 2)))),
        (r"u: must be .* B >= 1", lambda: run(np.ones((6, 0, 2)))),
        (r"u: every value must be finite, got -inf at index \(0, 0, 0\)",
         lambda: run(spoiled(U, -np.inf))),
        (r"u: every value must be finite, got inf at index \(0, 0, 0\)",
         lambda: run(spoiled(spoiled(U, -np.inf, 1), np.inf))),
        (r"noise: must be \(T, B, N\) = \(6, 3, 4\) or None, got shape \(6, 3, 2\)",
         lambda: run(noise=U)),
        ("noise: every value must be finite", lambda: run(noise=spoiled(CASE.noise, np.nan))),
        ("dt: must be a finite number > 0, got 0", lambda: run(dt=0)),
        ("dt: must be a finite number > 0, got -0.1", lambda: run(dt=-0.1)),
        ("dt: must be a finite number > 0, got nan", lambda: run(dt=np.nan)),
        ("dt: must be a finite number > 0, got inf", lambda: run(dt=np.inf)),
        ("dt: must be a finite number > 0, got None", lambda: run(dt=None)),
        (r"dt: an Euler step of 100 s is unstable .* use dt <= min\(tau\)/2 or method='expon",
         lambda: run(dt=100, method="euler")),
        ("phi: unknown nonlinearity 'tahn'; did you mean 'tanh'", lambda: run(phi="tahn")),
        ("phi: unknown nonlinearity None", lambda: run(phi=None)),
        ("method: unknown method 'eular'; did you mean 'euler'", lambda: run(method="eular")),
        ("checkpoint_every: must be an integer >= 1, got 0", lambda: run(checkpoint_every=0)),
        *[(f"checkpoint_every: must be .* got {k!r}", lambda k=k: run(checkpoint_every=k))
          for k in (1.5, np.nan, np.inf, True, "ten")],
        (r"out: x must be a contiguous float64 array of shape \(7, 3, 4\)",
         lambda: run(out=run(U[:-1]))),
        ("out: x must be .* float64 .* got float32",
         lambda: run(out=run()._replace(x=np.ones((7, 3, 4), np.float32)))),
        ("n_units: must be an integer >= 1, got 0", lambda: init_params(0, 1, 1, 1, RNG)),
        ("n_in: must be an integer >= 1, got 1.5", lambda: init_params(1, 1.5, 1, 1, RNG)),
        ("n_out: must be an integer >= 1, got -1", lambda: init_params(1, 1, -1, 1, RNG)),
        ("gain: must be a finite number >= 0, got -1",
         lambda: init_params(1, 1, 1, 1, RNG, gain=-1)),
        ("gain: must be a finite number", lambda: init_params(1, 1, 1, 1, RNG, gain=np.nan)),
        (r"tau: must be a number or have shape \(3,\), got \(2,\)",
         lambda: init_params(3, 1, 1, [1, 2], RNG)),
        ("tau: every time constant must be positive", lambda: init_params(2, 1, 1, [1, 0], RNG)),
        ("tau: every value must be finite, got nan", lambda: init_params(1, 1, 1, np.nan, RNG)),
        (r"tau: must be numbers; sample_tau\('slow', 3, rng\) draws them",
         lambda: init_params(3, 1, 1, "slow", RNG)),
        ("tau: must hold numbers, got an array of dtype <U4",
         lambda: init_params(1, 1, 1, ["slow"], RNG)),
        ("n_units: must be an integer >= 1, got 'many'",
         lambda: init_params("many", 1, 1, 1, RNG)),
        ("gain: must be a finite number .*got 'high'",
         lambda: init_params(1, 1, 1, 1, RNG, gain="high")),
        ("rng: must be a numpy.random.Generator, got int", lambda: init_params(1, 1, 1, 1, 0)),
        ("dtype: must be a floating or complex dtype, got <class 'int'>",
         lambda: init_params(1, 1, 1, 1, RNG, dtype=int)),
        ("params: must be a Params with W, W_in, .* got NoneType",
         lambda: forward(None, U, 0.05)),
        ("params: must be a Params with .* got tuple", lambda: forward(tuple(P)[:6], U, 0.05)),
        ("b: must hold numbers, got an array of dtype",
         lambda: forward(P._replace(b=np.array(["1"] * 4)), U, 0.05)),
        ("tau: every time constant must be positive and finite", lambda: alpha([1, -1], 0.1)),
        (r"tau: every time constant must be positive and finite .*, got \[ 1. inf\]",
         lambda: alpha([1, np.inf], 0.1)),
        ("sigma: must be a finite number >= 0, got -1",
         lambda: private_noise(P, 0.05, -1, 1, 1, RNG)),
        ("sigma: must be a finite number .*got 'loud'",
         lambda: private_noise(P, 0.05, "loud", 1, 1, RNG)),
        ("T: must be an integer >= 0, got 'long'",
         lambda: private_noise(P, 0.05, 1, "long", 1, RNG)),
        ("rng: must be a numpy.random.Generator, got int",
         lambda: private_noise(P, 0.05, 1, 1, 1, 0)),
        ("T: must be an integer >= 0, got 1.5",
         lambda: private_noise(P, 0.05, 1, 1.5, 1, RNG)),
        ("B: must be an integer >= 0, got -1", lambda: private_noise(P, 0.05, 1, 1, -1, RNG)),
        (r"out: must be a contiguous float64 array of shape \(1, 2, 4\)",
         lambda: private_noise(P, 0.05, 1, 1, 2, RNG, out=np.ones((1, 2, 3)))),
        ("dtype: must be a floating or complex dtype, got 'float46'",
         lambda: init_params(3, 1, 1, 1, RNG, dtype="float46")),
        (r"x, u, noise: all axes but the last must fit, got shapes \(4, 4\), \(3, 2\) and \(4,\)",
         lambda: velocity(CASE.params, np.zeros((4, 4)), np.zeros((3, 2)))),
        (r"x: must be \(..., N\) with N = 4, got shape \(3,\)",
         lambda: velocity(P, np.ones(3), np.ones(2))),
        (r"u: must be \(..., n_in\) with n_in = 2, got shape \(3,\)",
         lambda: velocity(P, np.ones(4), np.ones(3))),
        ("x: every value must be finite, got nan",
         lambda: velocity(P, np.full(4, np.nan), np.ones(2))),
        ("u: every value must be finite, got inf",
         lambda: velocity(P, np.ones(4), np.full(2, np.inf))),
        (r"noise: must be \(..., N\) with N = 4, got shape \(3,\)",
         lambda: velocity(P, np.ones(4), np.ones(2), noise=np.ones(3))),
        ("noise: every value must be finite",
         lambda: velocity(P, np.ones(4), np.ones(2), noise=np.full(4, np.inf))),
        ("tau: every time constant must be positive",
         lambda: velocity(P._replace(tau=-P.tau), np.ones(4), np.ones(2))),
        ("tau: every time constant must be positive",
         lambda: velocity(P._replace(tau=0 * P.tau), np.ones(4), np.ones(2))),
    ],
)  # fmt: skip
def test_wrong_input_is_named(message, call):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # an error is reported once, as an error
        with pytest.raises(ValueError, match=message):
            call()


def test_a_jacobian_of_a_nonlinearity_without_a_derivative_says_what_is_missing():
    from tau_rnn.measures.dynamics import jacobian

    cubic = Nonlinearity("cubic", lambda x, out=None: np.power(x, 3, out=out), None)
    with pytest.raises(ValueError, match="phi: 'cubic' has no derivative, which a gradient needs"):
        jacobian(P, np.zeros(4), phi=cubic)
