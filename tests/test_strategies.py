"""The strategies reach the whole space, and find the slips of a backward that they are given."""

import os
import sys
import textwrap
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from mistakes import MISTAKES, RIGHT
from stored import printed

from tau_rnn.bptt import backward
from tau_rnn.gradcheck import strategies
from tau_rnn.gradcheck.strategies import cases, make_case
from tau_rnn.model import Params

pytestmark = pytest.mark.filterwarnings("ignore:dt = :RuntimeWarning")

REACHES = {
    "dt / tau beyond 30": lambda c, ratio: ratio.max() > 30,
    "tau over three decades": lambda c, ratio: ratio.max() > 1e3 * ratio.min(),
    "alpha of Euler in (1, 2]": lambda c, ratio: c.method == "euler" and 1.5 < ratio.max() <= 2,
    "gain above 2.5": lambda c, ratio: (
        len(ratio) > 5 and c.params.W.std() > 2.5 / len(ratio) ** 0.5
    ),
    "W = 0": lambda c, ratio: not c.params.W.any(),
    "mask of outputs": lambda c, ratio: c.mask.ndim == 3,
    "an empty trial": lambda c, ratio: (c.mask.reshape(*c.u.shape[:2], -1) == 0).all((0, 2)).any(),
    "an empty step": lambda c, ratio: (c.mask.reshape(len(c.u), -1) == 0).all(1).any(),
    "more than 30 units": lambda c, ratio: len(ratio) > 30,
    "one unit": lambda c, ratio: len(ratio) == 1,
    "one trial": lambda c, ratio: c.u.shape[1] == 1,
    "one step": lambda c, ratio: len(c.u) == 1,
    "no noise": lambda c, ratio: c.noise is None,
    "checkpoints": lambda c, ratio: c.checkpoint_every is not None,
    "a loss of the rates": lambda c, ratio: c.dr is not None,
    **{phi: lambda c, ratio, phi=phi: c.phi == phi for phi in strategies.NONLINEARITIES},
}


def test_the_space_is_as_wide_as_promised():
    seen = Counter()

    @settings(max_examples=400, database=None, phases=[Phase.generate])
    @given(cases(checkpoints=True, rates=True))
    def look(case):
        ratio = case.dt / case.params.tau
        assert ratio.max() <= (2 if case.method == "euler" else 80.001)
        assert case.mask.any() and all(p.any() for p in case.params[1:])
        seen.update(what for what, reached in REACHES.items() if reached(case, ratio))

    look()
    assert all(seen[what] >= 4 for what in REACHES), seen


@given(cases(checkpoints=True, rates=True))
def test_ours_is_right_with_checkpoints_and_a_loss_of_the_rates(case):
    traj = case.run()
    errors = case.errors(backward(case.params, traj, case.dy(traj), dr=case.dr))
    assert max(errors.values()) < 1e-10, errors


def test_an_error_is_scaled_by_its_own_field():
    case = make_case(0, N=30, ratios=(1e-6, 1e-5), gain=0.5)  # dtau is small beside the others
    traj = case.run()
    g = backward(case.params, traj, case.dy(traj))
    assert np.abs(g.tau).sum() < 1e-6 * sum(np.abs(e).sum() for e in g)
    errors = case.errors(g._replace(tau=1.01 * g.tau))
    assert 1e-4 < errors.pop("tau") and max(errors.values()) < 1e-10


@pytest.mark.parametrize("rates", [False, True])
def test_the_loss_is_what_its_derivatives_say(rates):
    case = make_case(3, rates=rates, checkpoint_every=2, mask_of_outputs=True, empty_trials=2)
    traj = case.run()
    assert traj.checkpoint_every == 2 and (case.mask.sum((0, 2)) > 0).sum() == 1
    assert np.isreal(case.loss()) and (case.dr is None) != rates
    errors = case.errors(backward(case.params, traj, case.dy(traj), dr=case.dr))
    assert max(errors.values()) < 1e-12
    without = case.errors(backward(case.params, traj, case.dy(traj)))
    assert (max(without.values()) > 1e-3) == rates


def test_a_failing_network_shrinks_to_a_small_one():
    untransposed = MISTAKES["W untransposed"].backward()

    def wrong(case):
        traj = case.run()
        return max(case.errors(untransposed(case.params, traj, case.dy(traj))).values()) > 1e-10

    quick = settings(database=None, suppress_health_check=list(HealthCheck))
    case = find(cases(), wrong, settings=quick)
    assert (len(case.params.b), *case.u.shape[:2]) == (2, 1, 1)


#: Fewer networks, and as long for each as a busy machine takes.
PATIENT = """
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "patient", deadline=None, max_examples=20, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")
"""


@pytest.mark.parametrize(("source", "status"), [(RIGHT, 0), (MISTAKES["wrong sign"].source, 1)])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_example_of_the_docstring_runs(source, status, tmp_path, monkeypatch):
    example = strategies.__doc__.split("::\n")[1].split("\n\nHypothesis draws")[0]
    assert len(textwrap.dedent(example).strip().splitlines()) <= 10
    (tmp_path / "my_bptt.py").write_text(source)
    (tmp_path / "test_mine.py").write_text(textwrap.dedent(example))
    (tmp_path / "conftest.py").write_text(PATIENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "conftest")  # the folder has its own
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:faulthandler"]  # its thread is not copied
    ended, out, _ = printed(pytest.main, [*options, "test_mine.py"])
    assert ended == status, out
    if status:
        assert "'W_in': " in out and "Failing test case" in out


def test_the_gradient_may_be_any_sequence_of_seven():
    case = make_case(0)
    traj = case.run()
    g = backward(case.params, traj, case.dy(traj))
    assert case.errors(list(g)) == case.errors(g)
    assert list(case.errors(g)) == list(Params._fields)
