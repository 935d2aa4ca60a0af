"""Training: the optimizers against scalar loops, tau through s, what is trained, resuming."""

import copy
import math
import pickle
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau_rnn import checks, training
from tau_rnn.gradcheck import complex_step, random_direction
from tau_rnn.losses import mse
from tau_rnn.model import Params, forward, init_params, private_noise
from tau_rnn.noise import noise_scale
from tau_rnn.optimizers import clip_to, norm_of, update
from tau_rnn.parametrization import (
    DEFAULT_FIELDS,
    FIELD_GROUPS,
    TAU_MAX,
    constrain,
    flatten,
    parse_fields,
    unconstrain,
    unflatten,
)
from tau_rnn.tasks import make_task
from tau_rnn.training import (
    NonFiniteLoss,
    TrainConfig,
    learning_rates,
    loss_and_gradient,
    start,
    train,
    training_steps,
)

TASK = make_task("multi_timescale", dt=0.1)
UNITS = 5
subsets = st.sets(st.sampled_from(Params._fields), min_size=1).map(tuple)


def network(seed=0, dtype=np.float64, n_units=UNITS):
    """A network in which no field is zero and no two tau are equal."""
    rng = np.random.default_rng(seed)
    params = init_params(
        n_units, TASK.n_in, TASK.n_out, rng.uniform(0.2, 2, n_units), rng, dtype=dtype
    )
    names = ("b", "b_out", "x0")
    drawn = {f: 0.3 * rng.standard_normal(getattr(params, f).shape) for f in names}
    return params._replace(**{f: v.astype(dtype) for f, v in drawn.items()})


def begin(settings, seed=0, dtype=np.float64, params=None):
    rngs = [np.random.default_rng([seed, k]) for k in (1, 2)]
    params = network(seed, dtype) if params is None else params
    return start(params, settings, TASK.dt, *rngs)


def frozen(state):
    """A copy that later steps leave alone, and without views into theta, as if from a file."""
    return copy.deepcopy(state._replace(params=Params(*(p.copy() for p in state.params))))


def bits(state):
    """Every number of a state, as bytes."""
    arrays = [*state.params, state.theta, state.moments]
    rngs = [repr(rng.bit_generator.state) for rng in (state.trials_rng, state.noise_rng)]
    return [a.tobytes() for a in arrays], rngs, state[0], repr(state[6:])


def first_batch(state, settings):
    """Trials and noise of the step that follows, without taking anything from the state."""
    trials_rng, noise_rng = copy.deepcopy(state[4:6])
    trials = TASK.trials(settings.batch, trials_rng, dtype=state.theta.dtype)
    T, B = trials.u.shape[:2]
    args = (TASK.dt, TASK.noise, T, B, noise_rng)
    return trials, private_noise(state.params, *args, method=settings.method)


# --- the optimizers ------------------------------------------------------------------------------


def adam_by_hand(theta, gradients, lr, beta1, beta2, eps):
    """Adam as its authors write it, one number at a time."""
    theta = list(theta)
    m, v = [0.0] * len(theta), [0.0] * len(theta)
    for k, g in enumerate(gradients, start=1):
        for i in range(len(theta)):
            m[i] = beta1 * m[i] + (1 - beta1) * g[i]
            v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2
            m_hat = m[i] / (1 - beta1**k)
            v_hat = v[i] / (1 - beta2**k)
            theta[i] -= lr[i] * m_hat / (math.sqrt(v_hat) + eps)
    return theta


def sgd_by_hand(theta, gradients, lr, momentum):
    """Gradient descent with momentum, one number at a time."""
    theta, velocity = list(theta), [0.0] * len(theta)
    for g in gradients:
        for i in range(len(theta)):
            velocity[i] = momentum * velocity[i] + g[i]
            theta[i] -= lr[i] * velocity[i]
    return theta


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 5),
    steps=st.integers(1, 12),
    betas=st.tuples(st.floats(0, 0.99), st.floats(0, 0.9999)),
    eps=st.sampled_from([1e-8, 1e-3, 1.0]),
    each=st.booleans(),
)
def test_adam_is_the_equations(seed, n, steps, betas, eps, each):
    rng = np.random.default_rng(seed)
    theta, gradients = rng.standard_normal(n), rng.standard_normal((steps, n))
    rates = rng.uniform(0.001, 0.1, n) if each else 0.02
    settings = TrainConfig(beta1=betas[0], beta2=betas[1], eps=eps)
    expected = adam_by_hand(theta, gradients, np.broadcast_to(rates, n), *betas, eps)
    moments = np.zeros((2, n))
    for k, g in enumerate(gradients, start=1):
        update(theta, g, moments, k, rates, settings)
    np.testing.assert_allclose(theta, expected, rtol=1e-12, atol=1e-12)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 5),
    steps=st.integers(1, 12),
    momentum=st.floats(0, 0.99),
    each=st.booleans(),
)
def test_sgd_is_the_equations(seed, n, steps, momentum, each):
    rng = np.random.default_rng(seed)
    theta, gradients = rng.standard_normal(n), rng.standard_normal((steps, n))
    rates = rng.uniform(0.001, 0.1, n) if each else 0.02
    settings = TrainConfig(optimizer="sgd", momentum=momentum)
    expected = sgd_by_hand(theta, gradients, np.broadcast_to(rates, n), momentum)
    moments = np.zeros((2, n))
    for k, g in enumerate(gradients, start=1):
        update(theta, g, moments, k, rates, settings)
    np.testing.assert_allclose(theta, expected, rtol=1e-12, atol=1e-12)


def test_the_first_step_of_adam_has_the_size_of_the_learning_rate():
    # m_hat = g and v_hat = g^2 whatever the betas: the bias correction is what makes it so.
    theta, g = np.zeros(3), np.array([1e-3, -2.0, 50.0])
    update(theta, g, np.zeros((2, 3)), 1, 0.003, TrainConfig(eps=1e-300))
    np.testing.assert_allclose(theta, -0.003 * np.sign(g), rtol=1e-12)


# --- one step ------------------------------------------------------------------------------------


def one_sgd_step(settings, seed=0, params=None):
    """Theta before and after a step without momentum, its loss and gradient, and the new state."""
    state = begin(settings, seed, params=params)
    before = frozen(state)
    trials, noise = first_batch(state, settings)
    loss, grads, _ = loss_and_gradient(state.params, trials, noise, TASK.dt, settings)
    grads = Params(*(g.copy() for g in grads))
    return before, grads, loss, next(training_steps(state, TASK, settings))


@given(fields=subsets, seed=st.integers(0, 999), clip=st.sampled_from([1e-3, 0.05, 1e6]))
def test_a_step_goes_down_the_clipped_gradient_of_the_chosen_fields(fields, seed, clip):
    settings = TrainConfig(
        batch=2, optimizer="sgd", momentum=0, lr=0.1, clip=clip, train=fields, rate_penalty=0.01
    )
    before, grads, loss, after = one_sgd_step(settings, seed)
    if "tau" in settings.train:
        s = unconstrain(before.params.tau, TASK.dt)
        grads = grads._replace(tau=grads.tau * constrain(s, TASK.dt)[1])
    g = flatten(grads, settings.train)
    norm = math.sqrt(sum(x * x for x in g))
    # Rounding alone: unconstrain loses some digits to the cancellation in tau -> s -> tau.
    np.testing.assert_allclose(after.grad_norm, norm, rtol=1e-9)
    assert after.loss == loss and after.step == 1
    step = -0.1 * g * min(1, clip / norm)
    np.testing.assert_allclose(
        after.theta - before.theta, step, rtol=1e-9, atol=1e-12 * max(1, abs(step).max())
    )
    assert np.linalg.norm(after.theta - before.theta) <= 0.1 * clip * (1 + 1e-9)
    for f in Params._fields:
        moved = not np.array_equal(getattr(before.params, f), getattr(after.params, f))
        assert moved == (f in settings.train), f


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(np.float32, 1e-37), (np.float32, 1.0), (np.float32, 1e37), (np.float64, 1e-300),
     (np.float64, 1e300)],
)  # fmt: skip
def test_a_gradient_is_clipped_whatever_its_size(dtype, size):
    """Squares of float32 overflow from 1.8e19 on, and vanish below 1e-23."""
    vector = np.array([3, -4] * 50, dtype) * dtype(size)
    assert norm_of(vector) == pytest.approx(np.sqrt(1250) * size, rel=1e-6)
    for longest in (0.5 * norm_of(vector), 1e-3):  # 1e-3 / norm is subnormal in single precision
        clipped = vector.copy()
        clip_to(clipped, norm_of(vector), longest)
        expected = vector.astype(np.longdouble) * (longest / norm_of(vector))
        np.testing.assert_allclose(clipped, expected.astype(dtype), rtol=1e-6)  # float32


def test_a_finite_gradient_in_single_precision_whose_squares_overflow_is_clipped():
    class FarTarget(type(TASK)):
        def trials(self, *args, **kwargs):
            trials = super().trials(*args, **kwargs)
            return trials._replace(target=np.full_like(trials.target, -1e24))

    settings = TrainConfig(batch=2, optimizer="sgd", momentum=0, lr=0.01)
    state = begin(settings, dtype=np.float32)
    theta = state.theta.copy()
    after = next(training_steps(state, FarTarget(dt=TASK.dt), settings))
    assert after.grad_norm > 1e22 and after.theta.dtype == np.float32
    # Steps of 0.001 are taken from numbers of order 1 in single precision.
    assert np.linalg.norm(after.theta - theta) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("vector", "norm"),
    [([0, 0], 0), ([1, np.nan], np.nan), ([np.inf, 1], np.inf), ([-np.inf, 1], np.inf)],
)
def test_norms_at_the_edge(vector, norm):
    np.testing.assert_equal(norm_of(np.array(vector, float)), norm)


def test_the_parameters_given_are_left_alone():
    params = network()
    kept = Params(*(p.copy() for p in params))
    settings = TrainConfig(train=("all",))
    for _ in islice(training_steps(begin(settings, params=params), TASK, settings), 3):
        pass
    for given_field, field in zip(params, kept):
        np.testing.assert_array_equal(given_field, field)
    state = begin(TrainConfig(train=("W",)), params=params)
    for given_field in params:
        given_field += 1
    for field, original in zip(state.params, kept):
        np.testing.assert_array_equal(field, original)


@pytest.mark.parametrize(
    ("started", "trained"), [(("b",), ("x0",)), (("W_out",), ("W",)), (("tau",), ("b",))]
)
def test_a_state_that_trains_other_fields_is_refused(started, trained):
    drawn = init_params(UNITS, TASK.n_in, TASK.n_out, 1.0, np.random.default_rng(0))
    for params in (None, drawn):  # in the second, b and x0 are both zero, and all tau 1 s
        state = begin(TrainConfig(train=started), params=params)
        with pytest.raises(ValueError, match=f"the state does not train {trained[0]}; give"):
            next(training_steps(state, TASK, TrainConfig(train=trained)))


def test_a_state_of_a_processor_that_rounds_otherwise_is_taken():
    settings = TrainConfig(train=("+tau",))
    state = frozen(begin(settings))
    tau = np.nextafter(state.params.tau, np.inf)
    state = state._replace(params=state.params._replace(tau=tau))
    assert np.isfinite(next(training_steps(state, TASK, settings)).loss)


@pytest.mark.parametrize(("field", "factor"), [("W", 1 + 1e-12), ("b_out", 2), ("tau", 1.001)])
def test_a_state_whose_parameters_are_not_those_of_theta_is_refused(field, factor):
    settings = TrainConfig(train=("+tau",))
    state = frozen(begin(settings, params=network()._replace(b_out=np.ones(TASK.n_out))))
    changed = {field: factor * getattr(state.params, field)}
    state = state._replace(params=state.params._replace(**changed))
    with pytest.raises(ValueError, match="the state does not train"):
        next(training_steps(state, TASK, settings))


def test_train_makes_the_steps_that_two_seeds_of_its_generator_give():
    config = TrainConfig(batch=4)
    after, history = train(network(), TASK, 2, rng=np.random.default_rng(3), batch=4)
    seeds = np.random.default_rng(3).integers(2**63, size=2)
    state = start(network(), config, TASK.dt, *map(np.random.default_rng, seeds))
    states = [frozen(s) for s in islice(training_steps(state, TASK, config), 2)]
    assert history == [{"step": s.step, "loss": s.loss, "grad_norm": s.grad_norm} for s in states]
    assert all(map(np.array_equal, after, states[-1].params))
    same, nothing = train(network(), TASK, 0, rng=np.random.default_rng(3))
    assert nothing == [] and all(map(np.array_equal, same, network()))


def test_a_step_uses_the_arrays_of_the_one_before(monkeypatch):
    used = []

    def spied(*arguments, out):
        given_ = loss_and_gradient(*arguments, out=out)
        used.append((out, arguments[2], given_[2]))
        return given_

    monkeypatch.setattr(training, "loss_and_gradient", spied)
    list(islice(training_steps(begin(TrainConfig(batch=2)), TASK, TrainConfig(batch=2)), 2))
    (_, noise, first), (out, again, second) = used
    assert out is first and second.x is first.x and again is noise


class Shrinking:
    """A task whose batches get shorter and smaller."""

    dt, noise = TASK.dt, TASK.noise

    def trials(self, batch_size, rng, *, dtype):
        trials = TASK.trials(batch_size, rng, dtype=dtype)
        self.cut = getattr(self, "cut", 0) + 1
        u, target, mask = (a[: -self.cut, : -self.cut] for a in trials[:3])
        return trials._replace(u=np.ascontiguousarray(u), target=target, mask=mask)


@pytest.mark.parametrize("lr_scale", ["none", "tau"])
def test_batches_may_differ_in_length_and_size(lr_scale):
    settings = TrainConfig(batch=6, train=("all",), lr_scale=lr_scale)
    task, other = Shrinking(), Shrinking()
    states = training_steps(begin(settings), task, settings)
    state = frozen(begin(settings))
    for _ in range(3):  # each step as if it were the first one, with buffers of its own
        state = frozen(next(training_steps(state, other, settings)))
        assert bits(next(states)) == bits(state)


@pytest.mark.parametrize(("field", "dtype"), [("tau", np.float64), ("x0", int)])
def test_mixed_precisions_are_promoted(field, dtype):
    params = network(dtype=np.float32)
    params = params._replace(**{field: np.ones(UNITS, dtype)})
    settings = TrainConfig(batch=3)
    state = begin(settings, params=params)
    expected = np.result_type(*params)
    assert {p.dtype for p in state.params} == {expected}
    assert next(training_steps(state, TASK, settings)).theta.dtype == expected


@pytest.mark.parametrize("phi, method", [("relu", "euler"), ("sigmoid", "exponential")])
def test_a_batch_is_simulated_with_the_phi_and_method_of_the_settings(phi, method):
    settings = TrainConfig(batch=2, phi=phi, method=method)
    state = begin(settings)
    trials, noise = first_batch(state, settings)
    traj = loss_and_gradient(state.params, trials, noise, TASK.dt, settings)[2]
    expected = forward(state.params, trials.u, TASK.dt, phi=phi, method=method, noise=noise)
    np.testing.assert_array_equal(traj.x, expected.x)
    np.testing.assert_array_equal(traj.y, expected.y)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_loss_is_the_squared_error_and_the_weighted_rate_penalty(weight):
    settings = TrainConfig(batch=2, rate_penalty=weight)
    state = begin(settings)
    trials, noise = first_batch(state, settings)
    loss, _, traj = loss_and_gradient(state.params, trials, noise, TASK.dt, settings)
    error = (trials.mask[..., np.newaxis] * (traj.y - trials.target) ** 2).sum()
    penalty = weight * np.mean(traj.r[1:] ** 2)
    np.testing.assert_allclose(loss, error / trials.mask.sum() + penalty, rtol=1e-12)
    assert next(training_steps(state, TASK, settings)).loss == loss


@pytest.mark.parametrize("how", ["tau", "inverse-tau"])
def test_learning_rates_scaled_by_tau_scale_the_rows_of_what_a_unit_receives(how):
    base = dict(batch=2, optimizer="sgd", momentum=0, lr=0.01, clip=1e6, train=("all",))
    tau = network().tau
    plain, scaled = (one_sgd_step(TrainConfig(**base, lr_scale=s)) for s in ("none", how))
    factor = tau if how == "tau" else 1 / tau
    for f in Params._fields:
        (step, scaled_step) = (
            unflatten(after.theta - before.theta, after.params, after_fields(base))
            for before, _, _, after in (plain, scaled)
        )
        rows = factor if f in ("W", "W_in", "b") else np.ones(UNITS)
        mine, theirs = getattr(scaled_step, f), getattr(step, f)
        expected = (theirs.T * rows).T if f in ("W", "W_in", "b") else theirs
        # Differences of theta, which is of order 1, near steps of order 0.001.
        np.testing.assert_allclose(mine, expected, rtol=1e-9, atol=1e-14)


def after_fields(options):
    return parse_fields(options["train"])


def test_learning_rates_follow_a_tau_that_is_trained():
    settings = TrainConfig(batch=2, lr=0.05, train=("all",), lr_scale="tau")
    states = training_steps(begin(settings), TASK, settings)
    fifth = frozen(next(islice(states, 4, None)))
    rates = unflatten(learning_rates(fifth.params, settings), fifth.params, settings.train)
    np.testing.assert_array_equal(rates.b, 0.05 * fifth.params.tau)
    assert not np.allclose(fifth.params.tau, network().tau, rtol=0.01)
    sixth = next(states)
    m, v = sixth.moments
    m_hat, v_hat = m / (1 - 0.9**6), v / (1 - 0.999**6)
    step = flattened_rates(rates, settings) * m_hat / (np.sqrt(v_hat) + 1e-8)
    np.testing.assert_allclose(sixth.theta, fifth.theta - step, rtol=1e-12, atol=1e-12)


def flattened_rates(rates, settings):
    return flatten(rates, settings.train)


# --- which fields --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "train_names, expected",
    [
        ("default", DEFAULT_FIELDS),
        ("W,b", ("W", "b")),
        ("b, W", ("W", "b")),
        ("+tau", (*DEFAULT_FIELDS, "tau")),
        ("+tau,+x0", (*DEFAULT_FIELDS, "x0", "tau")),
        ("tau", ("tau",)),
        ("recurrent", ("W",)),
        ("readout", ("W_out", "b_out")),
        ("recurrent,readout", ("W", "W_out", "b_out")),
        ("all", Params._fields),
        (["W_in", "tau"], ("W_in", "tau")),
    ],
)
def test_names_of_what_is_trained(train_names, expected):
    assert parse_fields(train_names) == expected
    assert TrainConfig(train=train_names).train == expected


@given(subsets)
def test_fields_come_in_the_order_of_params(fields):
    assert parse_fields(fields) == tuple(f for f in Params._fields if f in fields)
    assert parse_fields(",".join(fields)) == parse_fields(fields)


@pytest.mark.parametrize(
    "train_names, near",
    [
        ("W_ni", "W_in"),
        ("W,taus", "tau"),
        ("+tua", "tau"),
        ("readuot", "readout"),
        ("w_out", "W_out"),
        ("TAU", "tau"),
        ("rec", "recurrent"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(train_names, near):
    with pytest.raises(ValueError, match=f"train: unknown parameter .*did you mean '{near}'"):
        parse_fields(train_names)


@pytest.mark.parametrize("nothing", ["", [], "+", "W,,b"])
def test_no_name_is_refused(nothing):
    with pytest.raises(ValueError, match="train"):
        parse_fields(nothing)


def test_groups_are_made_of_fields():
    assert all(set(group) <= set(Params._fields) for group in FIELD_GROUPS.values())


@given(subsets, st.integers(0, 99))
def test_unflatten_undoes_flatten(fields, seed):
    params, other = network(seed), network(seed + 1000)
    vector = flatten(params, fields)
    assert vector.size == sum(getattr(params, f).size for f in fields)
    back = unflatten(vector, other, fields)
    for f in Params._fields:
        source = params if f in fields else other
        np.testing.assert_array_equal(getattr(back, f), getattr(source, f))
    vector += 1  # the fields are views
    assert all((getattr(back, f) == getattr(params, f) + 1).all() for f in fields)


# --- tau through s -------------------------------------------------------------------------------

inside = st.floats(0.001, 0.999)  # how far between log dt and log 10 s
time_steps = st.sampled_from([0.001, 0.05, 0.1, 1.0])


@given(st.lists(inside, min_size=1, max_size=6), time_steps)
def test_unconstrain_and_constrain_undo_each_other(where, dt):
    tau = dt * (TAU_MAX / dt) ** np.array(where)
    # Near a bound arctanh amplifies the rounding of log tau by 1 / (1 - z^2), up to 250 here.
    np.testing.assert_allclose(constrain(unconstrain(tau, dt), dt)[0], tau, rtol=1e-11)
    s = unconstrain(tau, dt)
    np.testing.assert_allclose(unconstrain(constrain(s, dt)[0], dt), s, rtol=1e-9, atol=1e-9)


def test_log_tau_is_a_tanh_between_those_of_dt_and_ten_seconds():
    dt, s = 0.02, np.array([-1e3, -2, 0, 1, 1e3])
    centre, half = np.log(dt * 10) / 2, np.log(10 / dt) / 2
    tau, slope = constrain(s, dt)
    np.testing.assert_allclose(tau, np.exp(centre + half * np.tanh(s / half)), rtol=1e-13)
    np.testing.assert_allclose(tau[[0, -1]], [dt, 10], rtol=1e-13)
    np.testing.assert_allclose(slope[1:4], tau[1:4] / np.cosh(s[1:4] / half) ** 2, rtol=1e-13)


@given(st.floats(-300, 300), time_steps, st.sampled_from([np.float32, np.float64]))
def test_tau_stays_between_dt_and_ten_seconds_and_its_slope_does_not_die(s, dt, dtype):
    tau, slope = constrain(np.array([s], dtype), dt)
    assert tau.dtype == dtype and dt < tau[0] < TAU_MAX
    if abs(s) < (10 if dtype == np.float64 else 5):
        assert slope[0] > 0
    # It can be trained again, from where it is: near a bound s is known to few digits, tau is not.
    again = unconstrain(tau, dt)
    assert np.isfinite(again).all()
    tolerance = 1e-11 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(constrain(again, dt)[0], tau, rtol=tolerance)
    assert constrain(np.array([s + 0.1], dtype), dt)[0][0] >= tau[0]


def test_s_is_log_tau_in_the_middle_of_the_range():
    tau, slope = constrain(np.zeros(1), 0.1)
    np.testing.assert_allclose(tau, [1.0], rtol=1e-14)  # sqrt(0.1 * 10)
    np.testing.assert_allclose(slope, tau, rtol=1e-14)  # dtau/ds = tau


@given(st.floats(-8, 8), time_steps)
def test_the_slope_of_tau_by_complex_step(s, dt):
    h = 1e-30
    slope = constrain(np.array([s]), dt)[1]
    # 1 - tanh^2 loses digits where tanh is near 1: 1e-16 of tau.
    tau = constrain(np.array([s + 1j * h]), dt)[0]
    np.testing.assert_allclose(slope, tau.imag / h, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("tau", [0.05, 0.01, 10.0, 11.0, np.nan])
def test_a_tau_that_cannot_be_trained_is_refused(tau):
    with pytest.raises(ValueError, match=r"tau: to be trained, .* between dt = 0.05 s and 10 s"):
        unconstrain(np.array([1.0, tau]), 0.05)
    with pytest.raises(ValueError, match="tau"):
        params = network()._replace(tau=np.full(UNITS, tau))
        start(params, TrainConfig(train=("tau",)), 0.05, None, None)


@given(seed=st.integers(0, 999), method=st.sampled_from(["euler", "exponential"]))
def test_the_gradient_of_a_step_in_s_by_central_difference(seed, method):
    settings = TrainConfig(
        batch=3, optimizer="sgd", momentum=0, lr=1.0, clip=1e9, train=("tau",), method=method,
        rate_penalty=0.1,
    )  # fmt: skip
    state = begin(settings, seed)
    s = state.theta.copy()
    trials, noise = first_batch(state, settings)
    xi = noise / noise_scale(state.params.tau, TASK.dt, method)
    v = np.random.default_rng([seed, 9]).standard_normal(UNITS)
    after = next(training_steps(state, TASK, settings))
    gradient = s - after.theta

    def loss(h):
        params = network(seed)._replace(tau=constrain(s + h * v, TASK.dt)[0])
        noise = noise_scale(params.tau, TASK.dt, method) * xi
        return loss_and_gradient(params, trials, noise, TASK.dt, settings)[0]

    h = 1e-5
    slope = (loss(h) - loss(-h)) / (2 * h)
    # h^2 times a third derivative of order 1, and the rounding 1e-16 of the loss over h: 1e-10 of
    # gradients of order 0.01, and the sum over units may cancel.
    assert abs(gradient @ v - slope) < 1e-6 * np.sum(np.abs(gradient * v))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tau_trained_to_its_bounds_is_trained_again(dtype):
    settings = TrainConfig(batch=2, optimizer="sgd", lr=1e6, train=("tau",))
    params = next(training_steps(begin(settings, dtype=dtype), TASK, settings)).params
    assert params.tau.min() < 1.01 * TASK.dt and params.tau.max() > 0.99 * TAU_MAX
    rngs = np.random.default_rng(0).spawn(2)
    again = start(params, settings, TASK.dt, *rngs)
    np.testing.assert_allclose(again.params.tau, params.tau, rtol=1e-5)
    assert np.isfinite(next(training_steps(again, TASK, settings)).loss)


@pytest.mark.parametrize("method", ["euler", "exponential"])
@pytest.mark.parametrize("fields", [("tau",), ("W",)])
def test_the_gradient_of_a_step_follows_the_size_of_the_noise_where_tau_is_trained(
    fields, method
):
    settings = TrainConfig(batch=3, train=fields, method=method)
    state = begin(settings)
    trials, noise = first_batch(state, settings)
    xi = noise / noise_scale(state.params.tau, TASK.dt, method)
    grads = loss_and_gradient(state.params, trials, noise, TASK.dt, settings)[1]

    def loss(p):
        tau = p.tau if "tau" in fields else state.params.tau
        eta = noise_scale(tau, TASK.dt, method) * xi
        return mse(
            forward(p, trials.u, TASK.dt, method=method, noise=eta).y, trials.target, trials.mask
        )[0]

    v = random_direction(state.params, np.random.default_rng(1), ["tau"])
    slope = complex_step(loss, state.params, v)
    assert abs(grads.tau @ v.tau - slope) < 1e-10 * np.sum(np.abs(grads.tau * v.tau))


def test_training_tau_keeps_it_in_bounds_and_moves_it():
    settings = TrainConfig(batch=2, lr=3.0, train=("tau",))
    states = islice(training_steps(begin(settings), TASK, settings), 20)
    for state in states:
        tau = state.params.tau
        assert (tau >= TASK.dt * (1 - 1e-14)).all() and (tau <= TAU_MAX * (1 + 1e-14)).all()
        assert np.isfinite(state.loss)
    assert not np.allclose(tau, network().tau, rtol=0.1)


# --- what is not finite --------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_last_good_parameters():
    # Linear units of a huge gain: the loss is finite for a while, then it is not.
    settings = TrainConfig(
        batch=2, phi="linear", optimizer="sgd", momentum=0, lr=1e8, clip=1e300, rate_penalty=1.0
    )
    good = []
    with pytest.raises(NonFiniteLoss) as caught:
        for state in training_steps(begin(settings), TASK, settings):
            good.append(frozen(state))
    error = caught.value
    assert (error.step, error.what) == (len(good) + 1, "loss")
    assert f"step {error.step}: the loss is not finite" in str(error)
    assert all(np.isfinite(state.loss) for state in good)
    assert all(np.isfinite(field).all() for field in error.params)
    # The parameters kept are those of which the last finite loss is, before the update that broke.
    kept = network() if error.kept == 0 else good[error.kept - 1].params
    assert error.kept == max(len(good) - 1, 0)
    for mine, theirs in zip(error.params, kept):
        np.testing.assert_array_equal(mine, theirs)


def test_parameters_that_are_not_finite_are_never_handed_over():
    settings = TrainConfig(batch=2, lr=1e39)
    with pytest.raises(NonFiniteLoss, match=r"step 1: the update .* after 0 steps are kept") as e:
        next(training_steps(begin(settings, dtype=np.float32), TASK, settings))
    for mine, theirs in zip(e.value.params, network(dtype=np.float32)):
        np.testing.assert_array_equal(mine, theirs)


def test_the_error_survives_the_way_from_another_process():
    error = pickle.loads(pickle.dumps(NonFiniteLoss(7, "gradient", network(), 5)))
    assert (error.step, error.what, error.kept) == (7, "gradient", 5)
    assert str(error) == str(NonFiniteLoss(7, "gradient", network(), 5))
    np.testing.assert_array_equal(error.params.W, network().W)


# --- resuming ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "sgd"},
        {"train": ("all",), "lr_scale": "tau", "lr": 0.05},
        {"train": ("+tau",), "lr_scale": "inverse-tau", "phi": "relu", "rate_penalty": 0.1},
        {"train": ("readout",), "method": "euler", "clip": 1e-3},
    ],
    ids=["adam", "sgd", "all by tau", "tau by 1/tau", "readout"],
)
def test_training_goes_on_from_any_step_bit_for_bit(options, dtype):
    settings, steps = TrainConfig(batch=3, **options), 6
    state = begin(settings, dtype=dtype)
    snapshots = [frozen(state)]
    snapshots += [frozen(s) for s in islice(training_steps(state, TASK, settings), steps)]
    end = bits(snapshots[-1])
    for a, b in pairwise(snapshots):
        assert bits(a)[0] != bits(b)[0] and a.theta.dtype == dtype
    for k, snapshot in enumerate(snapshots[:-1]):
        assert snapshot.step == k
        resumed = list(
            islice(map(frozen, training_steps(frozen(snapshot), TASK, settings)), steps - k)
        )
        assert bits(resumed[-1]) == end, f"resumed at step {k}"


def test_training_is_a_pure_function_of_its_state():
    settings = TrainConfig(batch=2)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, two = (
        [frozen(s) for s in islice(training_steps(begin(settings), TASK, settings), 3)]
        for _ in range(2)
    )
    assert [bits(s) for s in one] == [bits(s) for s in two]
    assert bits(one[-1]) != bits(
        next(islice(training_steps(begin(settings, 1), TASK, settings), 2, None))
    )
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch": 0}, "batch: .* got 0"),
        ({"batch": "many"}, "batch: .* got 'many'"),
        ({"batch": math.inf}, "batch: .* got inf"),
        ({"lr": "fast"}, "lr: must be a finite number .*got 'fast'"),
        ({"train": 3}, "train: must be names of parameters, got 3"),
        ({"train": [3]}, "train: must be names of parameters"),
        ({"batch": 2.5}, "batch: .* got 2.5"),
        ({"lr": 0}, "lr: .*> 0, got 0"),
        ({"lr": -0.1}, "lr: .* got -0.1"),
        ({"lr": math.nan}, "lr: must be a finite number"),
        ({"eps": 0}, "eps: "),
        ({"clip": 0}, "clip: "),
        ({"clip": math.inf}, "clip: must be a finite number"),
        ({"beta1": 1}, "beta1: .*< 1, got 1"),
        ({"beta2": -0.1}, "beta2: "),
        ({"momentum": 1.5}, "momentum: "),
        ({"rate_penalty": -1}, "rate_penalty: "),
        ({"optimizer": "adma"}, "optimizer: unknown 'adma'; did you mean 'adam'"),
        ({"lr_scale": "inverse_tau"}, "lr_scale: unknown .* did you mean 'inverse-tau'"),
        ({"phi": "tahn"}, "phi: unknown nonlinearity 'tahn'; did you mean 'tanh'"),
        ({"method": "eular"}, "method: unknown 'eular'; did you mean 'euler'"),
        ({"train": "Wout"}, "train: unknown parameter 'Wout'; did you mean 'W_out'"),
    ],
)
def test_bad_settings_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)


def test_numbers_given_as_text_are_numbers():
    settings = TrainConfig(lr="0.01", beta1="0.5", clip="2", rate_penalty="0.1")
    assert settings == TrainConfig(lr=0.01, beta1=0.5, clip=2, rate_penalty=0.1)
    assert all(isinstance(v, float) for v in (settings.lr, settings.beta1, settings.clip))
    assert np.isfinite(next(training_steps(begin(settings), TASK, settings)).loss)


def test_a_step_checks_what_is_new_to_it_and_no_more(monkeypatch):
    seen = []
    check = checks.check_finite
    monkeypatch.setattr(
        checks, "check_finite", lambda name, *args: seen.append(name) or check(name, *args)
    )
    states = training_steps(begin(TrainConfig(train="+tau")), TASK, TrainConfig(train="+tau"))
    next(states)
    seen.clear()
    list(islice(states, 3))
    assert seen == ["u"] * 3  # of the batch; the parameters are those of the step before


def test_the_defaults_are_those_that_the_evidence_was_computed_with():
    config = TrainConfig()
    assert (config.batch, config.lr, config.clip, config.optimizer) == (32, 0.003, 1, "adam")
    assert (config.beta1, config.beta2, config.eps, config.momentum) == (0.9, 0.999, 1e-8, 0.9)


def test_settings_are_given_by_name():
    with pytest.raises(TypeError, match="positional"):
        TrainConfig(32)


def test_a_batch_may_be_one_trial():
    assert TrainConfig(batch=1).batch == 1
    with pytest.raises(ValueError, match="batch: must be an integer >= 1, got 0"):
        TrainConfig(batch=0)
