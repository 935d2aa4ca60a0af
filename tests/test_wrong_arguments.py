"""Wrong arguments: every public function names the one that is wrong, or gives a right result.

For each public function there is a call that works. One or two of its arguments, or parts of them
(a field of Params, the dtype or the shape of an array), are replaced by values from a list of bad
ones. Only a ValueError or TypeError that names such an argument may come of it, or finite numbers:
no other exception, no NumPy warning, no endless loop, no gigabytes. ``--slow`` tries every bad
value in every place.
"""

import contextlib
import importlib
import inspect
import os
import re
import signal
import warnings
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from stored import TINY

from tau_rnn import bptt, model, tasks, timescales
from tau_rnn.measures.distance import linear_distance
from tau_rnn.measures.untrained import ridge_readout, slow_modes

resource = pytest.importorskip("resource", reason="bounds on memory need POSIX")

T, B, N, DT = 6, 4, 5, 0.1
SECONDS = 5  # of processor time for a call: only to end one that hangs; each takes milliseconds
MEMORY = 3 * 2**30  # bytes that a call may ask for

ROOMS = (
    "bptt", "discretisation", "gradcheck", "losses", "measures", "model", "noise",
    "nonlinearities", "optimizers", "parametrization", "tasks", "taus", "timescales", "training",
    "experiment",
)  # fmt: skip

#: Functions that take what another one of ours made, such as a state of training; `plain_backward`,
#: which says that it checks nothing; and those of a stored run, whose messages name the file.
ELSEWHERE = {
    "alpha_slope", "constrain", "flatten", "iterate", "load_claims", "load_run", "plain_backward",
    "save_run", "start", "summarise_run", "table_of_runs", "training_steps", "unconstrain",
    "unflatten", "update",
}  # fmt: skip
#: What a message calls an argument that is a distribution or a task.
ALSO = {"dist": "tau", "spec": "tau", "name": "task", "W_in": "n_in", "sigma": "noise"}
#: Functions whose result must be finite; in others nan may stand for "could not be told".
FINITE = {
    "alpha", "autocovariance", "backward", "init_params", "noise_scale", "private_noise",
    "sample_tau", "tangent", "velocity",
}  # fmt: skip


def random():
    return np.random.default_rng(0)


@cache
def world():
    """What the calls share."""
    task = tasks.make_task("multi_timescale", dt=DT)
    params = model.init_params(N, task.n_in, task.n_out, 0.5, random())
    trials = task.trials(B, random())
    return task, params, trials, model.forward(params, trials.u, DT)


def score(params):
    return float(np.abs(params.W).mean())


def cubes(params):
    return np.sum(params.tau**3) + np.sum(params.W**2)


@cache
def calls():
    """Name of a function -> the arguments of a call that works."""
    task, p, trials, traj = world()
    tau = np.linspace(0.2, 2, N)
    later = p._replace(W=p.W + 0.1 * random().normal(size=p.W.shape))
    rates = random().normal(size=(T, 30, N))
    recording = random().normal(size=(6, 200, 2))
    dy = np.ones_like(traj.y)
    pair = {"params0": p, "params1": later}
    W = {"W0": p.W, "W1": later.W}
    acov = timescales.autocovariance(recording, n_lags=50)
    return {
        "alpha": {"tau": tau, "dt": DT},
        "velocity": {"params": p, "x": traj.x[0], "u": traj.u[0]},
        "init_params": {"n_units": N, "n_in": 2, "n_out": 1, "tau": tau, "rng": random()},
        "forward": {"params": p, "u": trials.u, "dt": DT},
        "backward": {"params": p, "traj": traj, "dy": dy},
        "tangent": {"params": p, "traj": traj, "dparams": p},
        "mse": {"y": traj.y, "target": trials.target, "mask": trials.mask},
        "rate_penalty": {"r": traj.r, "weight": 0.1},
        "private_noise": {"params": p, "dt": DT, "sigma": 0.1, "T": T, "B": B, "rng": random()},
        "noise_scale": {"tau": tau, "dt": DT},
        "nonlinearity": {"phi": "tanh"},
        "train": {"params": p, "task": task, "steps": 2, "rng": random()},
        "TrainConfig": {},
        "RunConfig": {},
        "run_one": {"config": TINY, "parts": ()},
        "sweep": {"configs": [], "store": "results", "progress": print},
        "sample_tau": {"dist": "normal", "n_units": N, "rng": random()},
        "parse_tau": {"spec": "normal"},
        "truncate": {"dist": stats.gamma(3), "low": 0.1, "high": 5.0},
        "make_task": {"name": "multi_timescale"},
        "check_task": {"task": task},
        "MultiTimescaleMemory": {"dt": DT},
        "IntegrateAndRemember": {"dt": DT},
        "autocovariance": {"rates": recording},
        "bin_spikes": {"times": [[[0.05, 0.12], [0.31]]], "dt": DT, "windows": (0.0, 0.5)},
        "expected_acf": {"acov": acov[:, 0], "n": 50, "n_trials": 6},
        "linear_network_acf": {"A": np.diag([-0.5, -0.8]), "Q": np.eye(2), "lags": [0.0, 0.5]},
        "fit_timescales": {"rates": recording, "dt": DT},
        "timescale_of_acf": {"acov": acov, "dt": DT},
        "timescale_of_decay": {"decay": tau / 4, "dt": DT},
        "complex_step": {"f": cubes, "params": p, "direction": p},
        "central_difference": {"f": cubes, "params": p, "direction": p},
        "step_sweep": {"f": cubes, "params": p, "direction": p, "steps": [1e-8, 1e-4]},
        "numerical_gradient": {"f": cubes, "params": p},
        "random_direction": {"params": p, "rng": random()},
        "relative_error": {"g": p, "v": p, "derivative": 1.0},
        "check_backward": {"backward": bptt.backward},
        "accuracy_on": {"task": task, "trials": trials},
        "decode": {"rates": rates, "targets": random().normal(size=(30, 2)), "rng": random()},
        "decode_by_tau": {
            "rates": rates, "targets": random().normal(size=(30, 2)), "tau": tau, "rng": random(),
            "n_random": 2,
        },
        "effective_tau": {
            "params": p, "dt": DT, "rng": random(), "n_trials": 2, "duration": 4.0, "burn_in": 1.0,
        },
        "fixed_points": {"params": p, "u": np.zeros(task.n_in), "starts": traj.x[-1]},
        "kernel_alignment": {**pair, "u": trials.u, "dt": DT, "times": [1, 3]},
        "lesion_by_tau": {"params": p, "score": score, "rng": random(), "n_random": 2},
        "linear_distance": {
            "params": p, "u": trials.u, "target": trials.target, "mask": trials.mask, "dt": DT,
        },
        "measure_run": {
            "initial": p, "final": later, "task": task, "rng": random(), "n_trials": 6,
            "n_test": 20, "parts": ("weights", "alignment"),
        },
        "measure_untrained": {
            "params": p, "task": task, "rng": random(), "n_trials": 6, "n_near": 3,
        },
        "outlier_eigenvalues": W,
        "representation_alignment": {"H0": rates[0], "H1": rates[1]},
        "ridge_readout": {
            "rates": rates, "target": rates[..., :1], "mask": np.ones((T, 30)), "rng": random(),
        },
        "slow_modes": {"params": p, "delay": 1.0},
        "spectrum_of_change": W,
        "spontaneous_rates": {
            "params": p, "dt": DT, "rng": random(), "n_trials": 2, "duration": 1.0, "burn_in": 0.5,
        },
        "tau_spread": {"intrinsic": tau, "effective": 2 * tau, "rng": random(), "n_boot": 20},
        "weight_change": W,
    }  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory):
    """A folder to work in: a wrong path may be one that can be made."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("wrong"))
    yield
    os.chdir(before)


BAD = (
    None, "", "x", float("nan"), float("inf"), -1, 0, 1e20, 10**12, 10**400, 1e300, 1e-300, True,
    1j, b"x", [], {}, [[1.0, 2.0], [3.0]], [None], ["a", "b"], np.array([1, "x", None], object),
    np.ma.masked_array([1.0, 2.0], [True, False]), np.zeros((2, 3, 4, 5)), np.zeros(0),
    np.array(2.5), np.array([np.nan] * N), object(), lambda *given: given[0],
)  # fmt: skip


def wrong_versions(value):
    """Bad values, and what goes wrong with this one: (which part of it, value)."""
    yield from (("", bad) for bad in BAD)
    if isinstance(value, (model.Params, tasks.Trials)):
        for field in value._fields:
            part = getattr(value, field)
            for bad in (*BAD, *(v for _, v in wrong_arrays(part))):
                yield field, value._replace(**{field: bad})
    yield from wrong_arrays(value)


def wrong_arrays(value):
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        return
    spoilt = value.astype(float)
    spoilt.flat[-1] = np.nan
    changed = [
        spoilt, value + 1j, value.astype(str), value.astype(object), value[..., np.newaxis],
        value[:0], value[..., :0], -value, value * 1e200, np.zeros_like(value), value > 0,
        np.ma.masked_array(value, value > np.median(value)), value.tolist(), value[:1],
    ]  # fmt: skip
    for bad in changed:
        yield "", bad


@contextlib.contextmanager
def bounded():
    """End what runs or grows without end."""

    def too_long(*_):
        raise AssertionError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGVTALRM, too_long)
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_DATA, limits)
        signal.signal(signal.SIGVTALRM, before)


def numbers_in(result):
    if isinstance(result, (float, complex, np.ndarray, np.generic)):
        yield np.asarray(result)
    elif isinstance(result, dict):
        yield from (n for value in result.values() for n in numbers_in(value))
    elif isinstance(result, (tuple, list)):
        yield from (n for value in result for n in numbers_in(value))


def fields_in(arguments):
    return {f for value in arguments.values() for f in getattr(value, "_fields", ())}


def check_call(name, wrong):
    """The call gives a right result or names one of the wrong arguments."""
    arguments = {**calls()[name], **{argument: value for argument, _, value in wrong}}
    names = {part for fault in wrong for part in fault[:2] if part}
    names |= {ALSO[n] for n in names if n in ALSO}
    try:
        with warnings.catch_warnings(), bounded():
            warnings.simplefilter("error")
            result = PUBLIC[name](**arguments)
    except (ValueError, TypeError) as error:
        said = str(error)
        named = any(re.search(rf"(?<!\w){re.escape(n)}(?!\w)", said) for n in names)
        first = re.match(r"(\w+)[.:\[]", said)  # of two that do not fit together it may be either
        named = named or (first and first[1] in {*arguments, *fields_in(arguments)})
        assert named, f"{type(error).__name__} without {names}: {said}"
        return
    if name in FINITE:
        for values in numbers_in(result):
            assert values.dtype.kind not in "fc" or np.isfinite(values).all(), (
                f"not finite: {values}"
            )


def public():
    """Every public function and configuration: name -> the object."""
    found = {}
    for room in ROOMS:
        module = importlib.import_module(f"tau_rnn.{room}")
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            made = inspect.isclass(thing) and not name.endswith(("Config", "Memory", "Remember"))
            if callable(thing) and not made:
                found.setdefault(name, thing)
    return found


#: What `measure_untrained` is made of checks what it is given as well.
PARTS = (linear_distance, ridge_readout, slow_modes)
PUBLIC = public() | {part.__name__: part for part in PARTS}
NAMES = sorted(set(PUBLIC) & set(calls()))


@cache
def faults(name):
    """Everything that is tried on a function: (argument, part of it, value).

    A flag, whose default is True or False, takes whatever is true or false.
    """
    usual, tried = calls()[name], []
    for p in inspect.signature(PUBLIC[name]).parameters.values():
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and not isinstance(p.default, bool):
            versions = wrong_versions(usual.get(p.name, p.default))
            tried += [(p.name, part, bad) for part, bad in versions]
    return tried


def test_every_public_function_is_tried():
    assert set(PUBLIC) - set(calls()) == ELSEWHERE
    assert not set(calls()) - set(PUBLIC)


@pytest.mark.parametrize("name", NAMES)
def test_the_right_arguments_work(name):
    PUBLIC[name](**calls()[name])


@pytest.mark.parametrize("name", [n for n in NAMES if n != "check_backward"])  # 50 ms a call
@settings(max_examples=12)
@given(data=st.data())
def test_wrong_arguments_are_named(name, data):
    wrong = data.draw(st.lists(st.sampled_from(faults(name)), min_size=1, max_size=2))
    check_call(name, wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_wrong_argument_is_named(name):
    missed = []
    for fault in faults(name):
        try:
            check_call(name, [fault])
        except BaseException as error:  # all of them at once say more than the first
            missed.append(f"{fault!r:.200}: {type(error).__name__}: {error!s:.200}")
    assert not missed, "\n".join(missed)
