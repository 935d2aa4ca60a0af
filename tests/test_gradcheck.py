"""The checks can fail: every mistake of the catalogue is caught three ways, and named."""

import os
import re
import subprocess
import sys

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
    first_nonfinite,
    inner,
    numerical_gradient,
    random_direction,
    relative_error,
    step_sweep,
)
from tau_rnn.gradcheck import known_errors as slips
from tau_rnn.gradcheck.check import main
from tau_rnn.gradcheck.derivatives import StepSweep
from tau_rnn.gradcheck.strategies import make_case
from tau_rnn.losses import mse
from tau_rnn.model import NONLINEARITIES, Nonlinearity, Params

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


@pytest.mark.parametrize("name", MISTAKES)
def test_the_marker_names_every_mistake(name):
    mistake = MISTAKES[name]
    says = "|".join(map(re.escape, mistake.says.split("|")))
    backward = mistake.backward()
    for k, phi in enumerate(mistake.phis):
        report = check_backward(backward, phi=phi, method=mistake.methods[k % len(mistake.methods)])
        assert not report.ok
        assert set(report.diagnosis) == set(mistake.wrong), phi
        assert all(re.search(says, sentence) for sentence in report.diagnosis.values()), phi
        assert all((report.errors[f] > 1e-6) == (f in mistake.wrong) for f in FIELDS)
        if phi == "relu" and mistake.departure is not None:
            # Where no unit is below threshold at the end, a slip in phi' shows further back.
            assert report.departure >= mistake.departure
        else:
            assert report.departure == mistake.departure, phi
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
    assert len({m.source for m in MISTAKES.values()}) == len(MISTAKES) >= 12


@pytest.mark.parametrize("seed", range(3))
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
        ([("dc = alpha * dx", "dc = alpha * dx_next")], None),
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
    assert check_backward(compiled(source)).departure == departure


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
    assert report.departure == 1
    assert "wrong sign" in report.diagnosis["W_in"]


@pytest.mark.parametrize("steps", [3, 9, 30])
def test_truncation_is_measured(steps):
    source = MISTAKES["truncated after twelve steps"].source.replace("T - 12", f"T - {steps}")
    report = check_backward(compiled(source))
    assert report.departure == steps
    for name in mistakes.ADJOINT:
        assert f"last {steps} steps is right" in report.diagnosis[name]


def test_truncation_after_one_step_is_said_in_words():
    # Each dx[t] is of its own output alone; dx0 alone gets what dx[1] passes back.
    source = RIGHT.replace("dx = dx_next + slope", "dx = slope")
    report = check_backward(compiled(source))
    assert "nothing is passed back" in report.diagnosis["W"]
    assert "what comes from the last step is right" in report.diagnosis["x0"]


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
    assert report.departure is None
    assert "adjoint is" not in str(report)
    # Here it is wrong, and both show the same.
    report = check_backward(compiled(RIGHT.replace("slope[t + 1] * (dy", "0.37 * (dy")))
    assert set(report.diagnosis) == set(mistakes.ADJOINT)
    assert report.departure == 0


@pytest.mark.parametrize("phi", NONLINEARITIES)
@pytest.mark.parametrize("method", METHODS)
def test_ours_is_right(phi, method):
    report = check_backward(bptt.backward, phi=phi, method=method)
    assert report.ok
    assert report.diagnosis == {}
    assert report.departure is None
    assert max(report.errors.values()) < 1e-11
    assert "all 7 gradients are right" in str(report)


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
    recipe = slips.gradient(case.params, traj, dy)
    assert recipe.keys() == expected.keys()
    for name, g in recipe.items():
        assert np.abs(g - expected[name]).max() <= 1e-12 * np.abs(expected[name]).max()


def test_no_two_slips_are_one():
    # Otherwise a diagnosis would depend on their order.
    case = make_case(2, N=5, n_in=3, T=7, method="exponential")
    traj = case.run()
    dy = case.dy(traj)
    seen = {}
    alone = [((slip,), "any") for slip in slips.SHARED]
    alone += [((slip,), name) for name, own in slips.OWN.items() for slip in own]
    for combination, where in [((), "any"), *alone]:
        g = slips.gradient(case.params, traj, dy, combination)
        flat = np.concatenate([e.ravel() for e in g.values()])
        key = round(float(flat @ np.sin(np.arange(len(flat)))), 9)
        assert key not in seen, (combination, seen.get(key))
        seen[key] = combination, where


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


@pytest.mark.parametrize("backward", [as_dict, as_list, in_place])
def test_forms_of_a_right_answer(backward):
    assert check_backward(backward).ok


def test_what_a_function_does_to_its_arguments_does_not_spoil_its_diagnosis():
    wrong = compiled(RIGHT.replace("dtau += ", "dtau -= "))
    report = check_backward(lambda *args: in_place(*args, backward=wrong))
    assert list(report.diagnosis) == ["tau"]
    assert "wrong sign" in report.diagnosis["tau"]


def returning(**changes):
    """A backward that is right but for some fields, each a function of the right gradient."""

    def backward(params, traj, dy):
        g = right(params, traj, dy)._asdict()
        return {name: changes[name](g[name]) if name in changes else g[name] for name in g}

    return backward


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda g: None, "not returned: it is None"),
        (lambda g: "W", "not an array of real numbers"),
        (lambda g: g + 1j, "not an array of real numbers"),
        (lambda g: [[1, 2], [3]], "not an array of real numbers"),
        (lambda g: g[:-1], "has shape"),
        (lambda g: g.T, "its transpose is right"),
        (lambda g: g.sum(), "it is the sum of the right one over its entries"),
        (lambda g: np.stack([0.25 * g, 0.75 * g]), "summed over its leading axes"),
        (lambda g: g.astype(np.float32), "single precision"),
        (lambda g: g * np.nan, "not finite (inf or nan), first in what comes from the last step"),
        (lambda g: 3.7 * g, "no known slip gives it"),
    ],
)
def test_one_bad_field_is_described_and_the_others_are_judged(change, says):
    report = check_backward(returning(W_in=change))
    assert list(report.diagnosis) == ["W_in"]
    assert says in report.diagnosis["W_in"]
    assert report.errors["W_in"] > 1e-10
    assert max(error for name, error in report.errors.items() if name != "W_in") < 1e-10


def test_a_missing_field_is_reported():
    def backward(params, traj, dy):
        return {k: v for k, v in right(params, traj, dy)._asdict().items() if k != "tau"}

    assert list(check_backward(backward).diagnosis) == ["tau"]


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
        ({"rtol": 0}, "rtol: must be a positive number, got 0"),
        ({"rtol": np.nan}, "rtol: must be a positive number"),
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


# The command line


def test_command_line_on_a_right_and_a_wrong_file(tmp_path, capsys):
    file = tmp_path / "my_bptt.py"
    file.write_text(RIGHT)
    assert main([str(file)]) == 0
    assert "all 7 gradients are right" in capsys.readouterr().out
    file.write_text(MISTAKES["W untransposed"].source)
    assert main([str(file), "--phi", "softplus", "--method", "exponential", "--seed", "3"]) == 1
    out = capsys.readouterr().out
    assert "5 of 7 gradients wrong  (phi = softplus, method = exponential)" in out
    assert "W is not transposed" in out
    assert "is right at dx[T] and leaves the right one at dx[T-1]" in out


def test_command_line_as_a_process(tmp_path):
    (tmp_path / "helper.py").write_text("sign = -1\n")
    file = tmp_path / "my_bptt.py"
    file.write_text("from helper import sign\n" + RIGHT.replace("db += dc", "db += sign * dc"))
    command = [sys.executable, "-m", "tau_rnn.gradcheck", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "in db itself, it has the wrong sign" in done.stdout
    assert done.stderr == ""


def test_command_line_with_a_name_that_the_terminal_cannot_show(tmp_path):
    file = tmp_path / "größe.py"
    file.write_text(RIGHT)
    done = subprocess.run(
        [sys.executable, "-m", "tau_rnn.gradcheck", str(file)], capture_output=True, text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6\\xdfe.py: all 7 gradients are right" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="pipes that end early are a matter of POSIX")
def test_command_line_into_a_pipe_that_is_closed(tmp_path):
    file = tmp_path / "my_bptt.py"
    file.write_text(RIGHT.replace("db += dc", "db -= dc"))
    end, pipe = os.pipe()
    os.close(end)
    command = [sys.executable, "-m", "tau_rnn.gradcheck", str(file)]
    done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True)
    os.close(pipe)
    assert (done.returncode, done.stderr) == (1, "")


def test_command_line_reads_the_file_as_it_is_now(tmp_path, capsys, monkeypatch):
    # Bytecode is cached by size and by second: an edit of one sign would pass for no edit.
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "my_bptt.py"
    for sign, status in (("+", 0), ("-", 1)):
        file.write_text(RIGHT.replace("db += dc", f"db {sign}= dc"))
        os.utime(file, (1e9, 1e9))
        assert main([str(file)]) == status
    assert list(tmp_path.iterdir()) == [file]


def test_command_line_gives_the_file_its_name(tmp_path, capsys):
    file = tmp_path / "my_bptt.py"
    file.write_text("from pathlib import Path\nassert Path(__file__).exists()\n" + RIGHT)
    assert main([str(file)]) == 0


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        (None, [], "there is no such file"),
        ("def backward(:\n", [], "cannot be imported: SyntaxError"),
        ("import no_such_module\n", [], "cannot be imported: ModuleNotFoundError"),
        ("import sys\nsys.exit(0)\n", [], "cannot be imported: SystemExit: 0"),
        ("def backwards(): pass\n", [], "defines no function 'backward' (see --function)"),
        (RIGHT, ["--function", "back"], "defines no function 'back'"),
        (RIGHT, ["--phi", "tahn"], "did you mean 'tanh'"),
        (RIGHT, ["--rtol", "-1"], "rtol: must be a positive number"),
        (RIGHT, ["--seed", "-1"], "rng: must be a numpy.random.Generator or a seed >= 0, got -1"),
    ],
)
def test_command_line_on_unusable_input(source, options, says, tmp_path, capsys):
    file = tmp_path / "my_bptt.py"
    if source is not None:
        file.write_text(source)
    assert main([str(file), *options]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.out == ""


def test_command_line_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "usage: python -m tau_rnn.gradcheck" in capsys.readouterr().err
