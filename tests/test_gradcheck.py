"""The checks can fail: every mistake of the catalogue is caught three ways, and named."""

import re
import sys
from typing import NamedTuple

import mistakes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import METHODS, MISTAKES, RIGHT, compiled

from tau_rnn import bptt
from tau_rnn.gradcheck import (
    central_difference,
    check_backward,
    complex_step,
    numerical_gradient,
    random_direction,
    recipe,
    relative_error,
    step_sweep,
)
from tau_rnn.gradcheck.check import first_nonfinite
from tau_rnn.gradcheck.derivatives import StepSweep, inner
from tau_rnn.gradcheck.known_errors import OWN, PLACES, SHARED, edits_of
from tau_rnn.gradcheck.strategies import make_case
from tau_rnn.losses import mse
from tau_rnn.model import NONLINEARITIES, Nonlinearity, Params

pytestmark = pytest.mark.usefixtures("networks_once")
FIELDS = Params._fields
right = compiled(RIGHT)


@pytest.fixture(scope="module")
def long_cases():
    """Twenty steps, so that truncation after twelve matters; derivatives are computed once."""
    cases = {}
    for phi in NONLINEARITIES:
        for method in METHODS:
            case = make_case(1, N=5, n_out=3, T=20, phi=phi, method=method)
            traj = case.run()
            checks = []
            for k, name in enumerate(FIELDS):
                v = random_direction(case.params, case.rng(k), [name])
                along_v = {
                    "complex step": complex_step(case.loss, case.params, v),
                    "dot product": np.sum(case.dy(traj) * bptt.tangent(case.params, traj, v)),
                    "central difference": central_difference(case.loss, case.params, v),
                }
                checks.append((name, v, along_v))
            cases[phi, method] = case.params, traj, case.dy(traj), checks
    return cases


BARS = {"complex step": 1e-10, "dot product": 1e-12, "central difference": 1e-6}


@pytest.mark.parametrize("phi", NONLINEARITIES)
@pytest.mark.parametrize("method", METHODS)
def test_the_right_source_passes_every_check(phi, method, long_cases):
    params, traj, dy, checks = long_cases[phi, method]
    for backward in (right, bptt.backward):
        g = backward(params, traj, dy)
        for name, v, along_v in checks:
            for check, derivative in along_v.items():
                assert relative_error(g, v, derivative) < BARS[check], (name, check)


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_caught_three_ways(name, long_cases):
    mistake = MISTAKES[name]
    backward = mistake.backward()
    for method in mistake.methods:
        for phi in mistake.phis:
            params, traj, dy, checks = long_cases[phi, method]
            g = backward(params, traj, dy)
            for field, v, along_v in checks:
                for check, derivative in along_v.items():
                    caught = relative_error(g, v, derivative) > BARS[check]
                    assert caught == (field in mistake.wrong), (phi, method, field, check)


MARKED = []  # with two nonlinearities each, not the same for all; the others are slow
for k, (name, mistake) in enumerate(MISTAKES.items()):
    phis = [mistake.phis[(k + i) % len(mistake.phis)] for i in range(len(mistake.phis))]
    MARKED.append(pytest.param(name, phis[:2], id=name))
    if phis[2:]:
        others = f"{name}, others"
        MARKED.append(pytest.param(name, phis[2:], id=others, marks=pytest.mark.slow))


@pytest.mark.parametrize(("name", "phis"), MARKED)
def test_the_marker_names_every_mistake(name, phis):
    mistake = MISTAKES[name]
    says = "|".join(map(re.escape, mistake.says.split("|")))
    backward = mistake.backward()
    for phi in phis:
        k = mistake.phis.index(phi)
        report = check_backward(backward, phi=phi, method=mistake.methods[k % len(mistake.methods)])
        assert not report.ok
        assert set(report.diagnosis) == set(mistake.wrong), phi
        assert all(re.search(says, sentence) for sentence in report.diagnosis.values()), phi
        assert all((report.errors[f] > 1e-6) == (f in mistake.wrong) for f in FIELDS)
        if phi == "relu" and mistake.departure is not None:
            # Where no unit is below threshold at the end, a slip in phi' shows further back.
            assert report.first_wrong_step >= mistake.departure
        else:
            assert report.first_wrong_step == mistake.departure, phi
        assert re.search(says, " ".join(str(report).split()))


@pytest.mark.parametrize(
    ("name", "phi", "method"),
    [
        (name, phi, method)
        for name, mistake in MISTAKES.items()
        for phi, method in [("linear", "euler"), ("tanh", "euler")]
        if phi not in mistake.phis or method not in mistake.methods
    ],
)
def test_no_alarm_where_a_slip_does_not_matter(name, phi, method):
    assert check_backward(MISTAKES[name].backward(), phi=phi, method=method).ok


def test_the_catalogue_is_as_large_as_promised():
    assert len({m.source for m in MISTAKES.values()}) == len(MISTAKES) >= 30


@pytest.mark.parametrize("seed", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in (1, 2))])
def test_two_mistakes_at_once_are_both_named(seed):
    source = RIGHT.replace("(dc @ W)", "(dc @ W.T)").replace(
        "db += dc.sum(axis=0)", "db += dc.sum()"
    )
    report = check_backward(compiled(source), rng=seed)
    assert all("not transposed" in sentence for sentence in report.diagnosis.values())
    assert "summed over units" in report.diagnosis["b"]
    assert "summed over units" not in report.diagnosis["W"]
    assert set(report.diagnosis) == set(mistakes.ADJOINT)

    source = RIGHT.replace("(1 - alpha) * dx + ", "").replace(
        "slope[t] * (dc", "slope[t + 1] * (dc"
    )
    report = check_backward(compiled(source), rng=seed)
    for sentence in report.diagnosis.values():
        assert "leak term (1 - alpha) dx[t+1] is missing" in sentence
        assert "t+1 instead of t" in sentence


def test_a_slip_in_the_adjoint_is_not_told_of_gradients_without_one():
    source = MISTAKES["readout of the old rates"].source.replace("(dc @ W)", "(dc @ W.T)")
    report = check_backward(compiled(source.replace("db_out += dy[t].sum", "db_out += dy[t].mean")))
    assert set(report.diagnosis) == {*mistakes.ADJOINT, "W_out", "b_out"}
    for name, sentence in report.diagnosis.items():
        assert ("in the adjoint" in sentence) == (name in mistakes.ADJOINT), name


@pytest.mark.parametrize(
    ("edits", "departure"),
    [
        # One slip in the adjoint from dx[T-1] on, and one that has no part in it.
        ([("(dc @ W)", "(dc @ W.T)"), ("reversed(range(T))", "reversed(range(1, T))")], 1),
        ([("(1 - alpha) * dx + slope", "slope"), ("dtau += (dx", "dtau -= (dx")], 1),
        ([("dy[t] @ W_out", "dy[t - 1] @ W_out"), ("dW_in += dc", "dW_in -= dc")], 0),
        # dx[T] is right in these, dW_in and db are wrong at once: they tell nothing of the adjoint.
        ([("dc = alpha * dx", "dc = alpha.mean() * dx")], None),
        ([("dc = alpha * dx", "dc = alpha * dx * slope[t]")], None),
        ([("dc = alpha * dx", "dc = alpha * dx_next")], 1),  # a known slip: it can be told
        # All are means over time and trials, of the right adjoint, and dx0 stops early.
        (
            [
                ("dx0 = dx_next", "dx0 = dx"),
                ("return Params(dW", "return Params(*(g / T / B for g in (dW"),
                ("dx0, dtau)", "dx0, dtau)))"),
            ],
            None,
        ),
    ],
)
def test_the_departure_is_that_of_the_adjoint_alone(edits, departure):
    source = RIGHT
    for old, new in edits:
        assert source.count(old) == 1
        source = source.replace(old, new)
    assert check_backward(compiled(source)).first_wrong_step == departure


def test_alpha_missing_everywhere_is_told_apart():
    # dc = dx drops alpha in the adjoint and in three gradients, but not in those of tau and x0.
    report = check_backward(compiled(RIGHT.replace("dc = alpha * dx", "dc = dx")))
    assert all("in the recurrent term" in sentence for sentence in report.diagnosis.values())
    for field in ("W", "W_in", "b"):
        assert f"in d{field} itself, the factor alpha is missing" in report.diagnosis[field]
    assert "itself" not in report.diagnosis["tau"] + report.diagnosis["x0"]


def test_departure_is_found_when_the_input_gradient_has_a_slip_of_its_own():
    source = RIGHT.replace("(dc @ W)", "(dc @ W.T)").replace("dW_in += dc.T", "dW_in -= dc.T")
    report = check_backward(compiled(source))
    assert report.first_wrong_step == 1
    assert "wrong sign" in report.diagnosis["W_in"]


@pytest.mark.parametrize("steps", [3, 9, 30])
def test_truncation_is_measured(steps):
    source = MISTAKES["truncated after twelve steps"].source.replace("T - 12", f"T - {steps}")
    report = check_backward(compiled(source))
    assert report.first_wrong_step == steps
    for name in mistakes.ADJOINT:
        assert f"last {steps} steps is right" in report.diagnosis[name]


def test_truncation_after_one_step_is_said_in_words():
    # Each dx[t] is of its own output alone; dx0 alone gets what dx[1] passes back.
    source = RIGHT.replace("dx = dx_next + slope", "dx = slope")
    report = check_backward(compiled(source))
    assert "nothing is passed back" in report.diagnosis["W"]
    assert "the right step back from dx[1], but this dx[1] is wrong" in report.diagnosis["x0"]


def test_an_unknown_slip_is_narrowed_down():
    # alpha averaged over units: no entry of the catalogue of slips, but equal tau hide it.
    source = RIGHT.replace("dc = alpha * dx", "dc = alpha.mean() * dx")
    report = check_backward(compiled(source))
    for name in ("W", "W_in", "b"):
        assert "no known slip" in report.diagnosis[name]
        assert "equal time constants" in report.diagnosis[name]
        assert "a symmetric W" not in report.diagnosis[name]


def test_no_departure_is_claimed_where_the_gradients_tell_of_different_adjoints():
    # dx[T] is right here, and each gradient that could show it has a factor of its own.
    source = RIGHT.replace("dW_in += dc.T", "dW_in += 1.1 * dc.T").replace(
        "db += dc", "db += 0.7 * dc"
    )
    report = check_backward(compiled(source))
    assert set(report.diagnosis) == {"W_in", "b"}
    assert report.first_wrong_step is None
    assert "adjoint is" not in str(report)
    # Here it is wrong, and both show the same.
    report = check_backward(compiled(RIGHT.replace("slope[t + 1] * (dy", "0.37 * (dy")))
    assert set(report.diagnosis) == set(mistakes.ADJOINT)
    assert report.first_wrong_step == 0


@pytest.mark.parametrize("phi", NONLINEARITIES)
@pytest.mark.parametrize("method", METHODS)
def test_ours_is_right(phi, method):
    report = check_backward(bptt.backward, phi=phi, method=method)
    assert report.ok
    assert report.diagnosis == {}
    assert report.first_wrong_step is None
    assert max(report.errors.values()) < 1e-11
    assert report.verdict == "all 7 gradients are right" and report.verdict in str(report)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from(list(NONLINEARITIES)), st.sampled_from(METHODS))
def test_no_false_alarm_whatever_the_seed(seed, phi, method):
    assert check_backward(bptt.backward, phi=phi, method=method, rng=seed).ok


@pytest.mark.parametrize("phi", NONLINEARITIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noisy", [True, False])
def test_the_recipe_of_the_marker_is_right(phi, method, noisy):
    case = make_case(9, phi=phi, method=method, noisy=noisy)
    traj = case.run()
    dy = case.dy(traj)
    expected = bptt.backward(case.params, traj, dy)._asdict()
    got = recipe.gradient(case.params, traj, dy)
    assert got.keys() == expected.keys()
    for name, g in got.items():
        assert np.abs(g - expected[name]).max() <= 1e-12 * np.abs(expected[name]).max()


def test_no_two_slips_are_one():
    # Otherwise a diagnosis would depend on their order.
    case = make_case(2, N=5, n_in=3, T=7)
    traj = case.run()
    dy = case.dy(traj)

    def key(slips):
        g = recipe.gradient(case.params, traj, dy, edits_of(slips))
        flat = np.concatenate([e.ravel() for e in g.values()])
        return round(float(flat @ np.sin(np.arange(len(flat)))), 9)

    slips = [*SHARED, *(slip for own in OWN.values() for slip in own)]
    harmless = [slip.name for slip in slips if key([slip]) == key([])]
    assert set(harmless) == {f"phi' of tanh {place}" for place in PLACES} | {
        "exponential",
        "right step",
    }
    seen = {}
    for slip in slips:
        if slip.name not in harmless:
            assert seen.setdefault(key([slip]), slip.name) == slip.name, slip


def test_a_slip_has_one_row_and_one_name():
    assert len({slip.name for slip in SHARED}) == len(SHARED) >= 40
    for field, own in OWN.items():
        assert len({slip.name for slip in own}) == len(own), field
        for slip in (*own, *SHARED):
            assert slip.edits.keys() <= recipe.RECIPE.keys(), slip
            assert slip.equation in ("", *recipe.EQUATIONS)
    assert recipe.EQUATION_OF.keys() == set(FIELDS) == OWN.keys()


# What a reader's function may return or do


def as_dict(params, traj, dy):
    return {f"d{name}": g for name, g in right(params, traj, dy)._asdict().items()}


def as_list(params, traj, dy):
    return list(right(params, traj, dy))


def in_place(params, traj, dy, backward=right):
    g = backward(params, traj, dy)
    for array in (*params, traj.x, traj.r, traj.y, traj.u, traj.noise, dy):
        if array is not None:
            array[...] = 0
    return g


class Mine(NamedTuple):
    """A reader's own, in another order."""

    dtau: np.ndarray
    db: np.ndarray
    dx0: np.ndarray
    dW: np.ndarray
    dW_in: np.ndarray
    db_out: np.ndarray
    dW_out: np.ndarray


def test_a_list_in_another_order_is_told_by_its_shapes():
    def backward(*args):
        W, W_in, *others = as_list(*args)
        return [W_in, W, *others]

    said = check_backward(backward).diagnosis
    assert list(said) == ["W", "W_in"]
    assert "has shape (5, 2), must be (5, 5); it is the gradient of W_in: mind" in said["W"]


@pytest.mark.parametrize("backward", [as_dict, as_list, lambda *args: Mine(**as_dict(*args))])
def test_forms_of_a_right_answer(backward):
    assert check_backward(backward).ok


# What a function does besides


def test_a_function_that_changes_its_arguments_is_not_right():
    def halves(params, traj, dy):
        g = right(params, traj, dy)
        params.W[...] *= 0.5
        return g

    report = check_backward(halves)
    assert not report.ok and max(report.errors.values()) < 1e-10
    assert list(report.diagnosis) == ["backward"]
    assert "it changes its arguments: params.W." in report.diagnosis["backward"]
    assert "right, but it changes its arguments" in str(report)
    assert "all 7" not in str(report)
    everything = check_backward(in_place).diagnosis["backward"]
    for name in ("params.tau", "traj.x", "traj.r", "traj.y", "traj.u", "traj.noise", "dy"):
        assert name in everything


def test_what_a_function_does_to_its_arguments_does_not_spoil_its_diagnosis():
    wrong = compiled(RIGHT.replace("dtau += ", "dtau -= "))
    report = check_backward(lambda *args: in_place(*args, backward=wrong))
    assert set(report.diagnosis) == {"tau", "backward"}
    assert "wrong sign" in report.diagnosis["tau"]


def test_a_function_that_remembers_its_last_call_is_not_right():
    total = {}

    def adds_up(params, traj, dy):  # as a gradient in an array outside the function does
        g = right(params, traj, dy)
        total[len(g.b), len(dy)] = total.get((len(g.b), len(dy)), 0) + g.b
        return g._replace(b=total[len(g.b), len(dy)])

    report = check_backward(adds_up)
    assert list(report.diagnosis) == ["b"]
    assert "two calls with the same arguments give different gradients" in report.diagnosis["b"]
    rng = np.random.default_rng(0)
    noisy = check_backward(returning(W=lambda g: g * (1 + 1e-3 * rng.standard_normal())))
    assert "two calls" in noisy.diagnosis["W"]

    def once(params, traj, dy, left=[1, 1, 1]):  # noqa: B006
        left.pop()
        return right(params, traj, dy)

    assert "two calls" in check_backward(once).diagnosis["W"]


def test_a_wrong_derivative_of_phi_is_not_put_down_to_backward():
    def sine(x, out=None):
        return np.sin(x, out=out)

    wrong = Nonlinearity("sine", sine, lambda r, out=None: np.cos(r, out=out))
    with pytest.raises(ValueError, match=r"phi: the derivative of 'sine' must be that of its"):
        check_backward(right, phi=wrong)

    def capped(x, out=None):
        return np.clip(x, 0, 6, out=out)

    # Wrong at states beyond 6 alone.
    beyond = Nonlinearity("relu6", capped, lambda r, out=None: np.multiply(r > 0, 1.0, out=out))
    with pytest.raises(ValueError, match="phi: the derivative of 'relu6'"):
        check_backward(right, phi=beyond)


def returning(**changes):
    """A backward that is right but for some fields, each a function of the right gradient."""

    def backward(params, traj, dy):
        g = right(params, traj, dy)._asdict()
        return {name: changes[name](g[name]) if name in changes else g[name] for name in g}

    return backward


class Tensor:
    """What torch returns where a gradient is still wanted, or which lies elsewhere."""

    def __init__(self, values, requires_grad):
        self.values, self.requires_grad = values, requires_grad

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("it is on a GPU")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda g: None, "not returned: it is None"),
        (lambda g: Tensor(g, True), "a Tensor that still requires grad: return dW_in.detach()"),
        (lambda g: Tensor(g, False), "a Tensor that can't be made an array: it is on a GPU"),
        (lambda g: "W", "not an array of real numbers"),
        (lambda g: g + 1j, "not an array of real numbers"),
        (lambda g: [[1, 2], [3]], "not an array of real numbers"),
        (lambda g: g[:-1], "has shape"),
        (lambda g: g.T, "its transpose is right"),
        (lambda g: g.sum(), "it is the sum of the right one over its entries"),
        (lambda g: np.stack([0.25 * g, 0.75 * g]), "summed over its leading axes"),
        (lambda g: g.astype(np.float32), "single precision"),
        (lambda g: g * np.nan, "not finite (inf or nan), first in what comes from the last step"),
        (lambda g: 3.7 * g, "no known slip produces it"),
    ],
)
def test_one_bad_field_is_described_and_the_others_are_judged(change, says):
    report = check_backward(returning(W_in=change))
    assert list(report.diagnosis) == ["W_in"]
    assert says in report.diagnosis["W_in"]
    assert report.errors["W_in"] > 1e-10
    assert max(error for name, error in report.errors.items() if name != "W_in") < 1e-10


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, {"tau": "there is no key 'dtau'"}),
        ({"dWin": "W_in"}, {"W_in": "there is no key 'dW_in'; is it 'dWin'? Call it 'dW_in'"}),
        ({"x_0": "x0"}, {"x0": "is it 'x_0'? Call it 'dx0'"}),
        ({"Wout": "W_out", "bout": "b_out"},
         {"W_out": "is it 'Wout'? Call it 'dW_out'", "b_out": "is it 'bout'? Call it 'db_out'"}),
    ],
)  # fmt: skip
def test_a_missing_key_is_reported_and_the_nearest_suggested(keys, says):
    def backward(params, traj, dy):
        g = right(params, traj, dy)._asdict()
        kept = {name: value for name, value in g.items() if name not in says}
        return kept | {key: g[name] for key, name in keys.items()}

    report = check_backward(backward)
    assert list(report.diagnosis) == [name for name in FIELDS if name in says]
    for name, words in says.items():
        assert words in report.diagnosis[name]
    assert report.usable
    if not keys:
        assert "is it" not in report.diagnosis["tau"]


def raises(params, traj, dy):
    raise IndexError("off the end")


def leaves(params, traj, dy):
    sys.exit(0)


@pytest.mark.parametrize(
    ("backward", "says"),
    [
        (lambda params, traj, dy: None, "not returned: backward gave NoneType"),
        (lambda params, traj, dy: (1, 2), "not returned: backward gave tuple of 2"),
        (lambda params, traj, dy: 3.0, "not returned: backward gave float"),
        (lambda params: params, "raised TypeError"),
        (raises, "raised IndexError: off the end (line "),
        (leaves, "raised SystemExit: 0 (line "),
    ],
)
def test_a_function_that_returns_nothing_usable(backward, says):
    report = check_backward(backward)
    assert set(report.diagnosis) == set(FIELDS)
    assert all(says in sentence for sentence in report.diagnosis.values())
    assert all(error == np.inf for error in report.errors.values())
    assert says in str(report)


def test_a_function_that_fails_on_some_networks_is_still_judged_on_the_others():
    def backward(params, traj, dy):
        if traj.noise is None:
            raise KeyError("noise")
        return returning(b=lambda g: -g)(params, traj, dy)

    report = check_backward(backward)
    assert "raised KeyError: 'noise'" in report.diagnosis["W"]
    assert "no noise" in report.diagnosis["W"]
    assert "wrong sign" in report.diagnosis["b"]


def test_where_a_gradient_first_ceases_to_be_finite():
    source = RIGHT.replace("dW += dc.T @ r[t]", "dW += dc.T @ r[t] * (np.nan if t == T - 4 else 1)")
    report = check_backward(compiled(source))
    assert list(report.diagnosis) == ["W"]
    assert "first in what comes from 3 steps before the last" in report.diagnosis["W"]


def test_where_the_loss_first_ceases_to_be_finite():
    def cube(x, out=None):
        with np.errstate(all="ignore"):
            return np.multiply(x, 1e80 * x**2, out=out)

    def slope(r, out=None):
        return np.multiply(3e80, np.cbrt(r / 1e80) ** 2, out=out)

    explosive = Nonlinearity("cube", cube, slope)
    with np.errstate(all="ignore"):
        report = check_backward(bptt.backward, phi=explosive)
    assert not report.ok
    assert all(
        "the loss is not finite: x is first so at t = " in s for s in report.diagnosis.values()
    )


def test_first_nonfinite():
    x = np.ones((5, 2, 3))
    assert first_nonfinite(x) is None
    x[3, 1, 0] = np.inf
    x[4] = np.nan
    assert first_nonfinite(x) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"phi": "tahn"}, "did you mean 'tanh'"),
        ({"method": "eulr"}, "did you mean 'euler'"),
        ({"rng": "a"}, "rng: must be a numpy.random.Generator or a seed >= 0, got 'a'"),
        ({"rtol": 0}, r"rtol: must be a finite number > 0, got 0"),
        ({"rtol": np.nan}, "rtol: must be a finite number > 0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        check_backward(right, **arguments)
    with pytest.raises(ValueError, match="backward: must be a function"):
        check_backward(None)


# The numerical derivatives


def test_step_sweep_draws_a_u_and_a_flat_line():
    case = make_case(0)
    v = random_direction(case.params, case.rng())
    traj = case.run()
    exact, _ = inner(bptt.backward(case.params, traj, case.dy(traj)), v)
    sweep = step_sweep(case.loss, case.params, v, exact=exact)
    assert isinstance(sweep, StepSweep)
    best = sweep.h[sweep.central.argmin()]
    assert 1e-7 < best < 1e-3
    assert sweep.central.min() < 1e-7
    assert sweep.central[0] > 0.9  # at h = 1e-20 both values of the loss are the same number
    rising = (sweep.h > 1e-3) & (sweep.h < 1e-1)
    order = np.polyfit(np.log(sweep.h[rising]), np.log(sweep.central[rising]), 1)[0]
    assert abs(order - 2) < 0.1  # O(h^2)
    assert sweep.complex[sweep.h < 1e-8].max() < 1e-12
    with pytest.raises(ValueError, match=r"exact: .* got 0"):
        step_sweep(case.loss, case.params, v, exact=0)


def test_derivatives_of_a_function_that_needs_no_network():
    case = make_case(0)
    p = case.params

    def f(q):
        return np.sum(q.W**3) + np.sum(np.exp(q.b)) * np.prod(q.tau)

    g = Params(*map(np.zeros_like, p))
    product = np.prod(p.tau)
    g = g._replace(W=3 * p.W**2, b=np.exp(p.b) * product, tau=np.exp(p.b).sum() * product / p.tau)
    numeric = numerical_gradient(f, p)
    for a, b in zip(numeric, g):
        assert np.abs(a - b).max() <= 1e-14 * np.abs(b).max()
    v = random_direction(p, case.rng())
    assert relative_error(g, v, complex_step(f, p, v)) < 1e-14
    assert relative_error(g, v, central_difference(f, p, v)) < 1e-8


Y = 0.5 * np.ones((6, 3, 2))
CASE = make_case(0)


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (lambda p: np.linalg.norm(CASE.run(p).y - 1), "analytic, got the real number"),
        (lambda p: float(np.real(CASE.loss(p))), "analytic, got the real number"),
        (lambda p: np.abs(CASE.run(p).y - Y).sum(), "analytic, got the real number"),
        (lambda p: np.vdot(CASE.run(p).y, CASE.run(p).y), "analytic, got a complex number without"),
        (lambda p: (CASE.run(p).y * CASE.run(p).y.conj()).sum(), "analytic, got a complex number"),
        (lambda p: mse(CASE.run(p).y, Y), r"got a tuple of 2 \(mse returns the loss and"),
        (lambda p: CASE.run(p).y, r"one number, got an array of shape \(6, 3, 2\)"),
        (lambda p: None, "one number, got a NoneType"),
    ],
)
def test_the_complex_step_refuses_a_function_that_breaks_its_premise(f, says):
    v = random_direction(CASE.params, CASE.rng())
    with pytest.raises(ValueError, match=f"f: must .*{says}"):
        complex_step(f, CASE.params, v)
    with pytest.raises(ValueError, match=f"f: must .*{says}"):
        numerical_gradient(f, CASE.params)
    if "analytic" in says:
        with pytest.raises(ValueError, match="use central_difference"):
            complex_step(f, CASE.params, v)
        assert abs(central_difference(f, CASE.params, v)) > 0.01


def test_central_difference_refuses_what_is_no_real_number():
    v = random_direction(CASE.params, CASE.rng())
    for value, says in ((1j, "one real number, got a complex"), ((1.0, 2.0), "got a tuple of 2")):
        with pytest.raises(ValueError, match=says):
            central_difference(lambda p, value=value: value, CASE.params, v)


@pytest.mark.parametrize(
    "f",
    [
        lambda p: 3.0,
        lambda p: 2 + 0j,
        lambda p: np.abs(p.W).sum(),  # real, but flat along b
        lambda p: mse(CASE.run(p).y, Y, np.zeros((6, 3)))[0],
        lambda p: CASE.run(p).y.sum() * 0,
    ],
)
def test_what_does_not_depend_on_the_direction_has_the_derivative_zero(f):
    v = random_direction(CASE.params, CASE.rng(), "b")
    assert complex_step(f, CASE.params, v) == 0.0


def test_random_direction_moves_the_named_fields_alone():
    p = make_case(0).params
    v = random_direction(p, np.random.default_rng(0), ["b", "tau"])
    assert [name for name in FIELDS if getattr(v, name).any()] == ["b", "tau"]
    one = random_direction(p, np.random.default_rng(0), "tau")
    assert [name for name in FIELDS if getattr(one, name).any()] == ["tau"]
    with pytest.raises(ValueError, match=r"fields: .*'bias'"):
        random_direction(p, np.random.default_rng(0), ["bias"])


def test_relative_error_is_not_hidden_by_a_sum_that_cancels():
    zeros = Params(*(np.zeros(2) for _ in FIELDS))
    g = zeros._replace(b=np.array([1.0, -1.0]))
    v = zeros._replace(b=np.array([1.0, 1.0]))
    assert inner(g, v) == (0, 2)
    assert relative_error(g, v, 0.0) == 0
    assert relative_error(g, v, 1e-3) == 5e-4
    assert relative_error(zeros, v, 0.0) == 0
    assert relative_error(zeros, v, 1e-3) == np.inf
