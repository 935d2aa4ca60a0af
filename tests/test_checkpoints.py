"""Checkpoints: a run goes on from each, bit for bit, and a foreign one is refused by name."""

import json

import numpy as np
import pytest
from stored import TINY, bits, read_arrays, same

from tau_rnn.experiment import iterate, summarise_run
from tau_rnn.experiment.files import StoreError, array_bytes, write_bytes
from tau_rnn.experiment.unfinished import load_state, state_bytes

RESUMED = TINY.replace(steps=6, train="+tau", lr_scale="tau", lr=0.05)


@pytest.mark.parametrize("changes", [{}, {"dtype": "float64", "optimizer": "sgd"}])
def test_a_run_goes_on_from_any_checkpoint_bit_for_bit(tmp_path, changes, few_measures):
    config = RESUMED.replace(**changes)
    whole = None
    for state in iterate(config):
        write_bytes(tmp_path / f"{state.training.step}.npz", state_bytes(config, state))
        whole = state
    expected = summarise_run(config, whole, parts=())
    for step in range(config.steps + 1):
        saved = load_state(tmp_path / f"{step}.npz", config)
        assert saved.training.step == step
        *_, last = [saved, *iterate(config, saved)]
        assert last.training.step == config.steps
        assert bits(last.training.params) == bits(whole.training.params), f"from step {step}"
        assert repr(last.history) == repr(whole.history), f"from step {step}"
        assert bits(last.training[2:4]) == bits(whole.training[2:4])
    assert same(summarise_run(config, last, parts=()), expected)


@pytest.mark.parametrize("eval_every", [2, 4, 5])
def test_a_finished_run_goes_on_as_if_it_had_been_longer(tmp_path, eval_every):
    # 4 is not a divisor of 6 nor of 10: the last evaluation of the short run is not the long one's.
    short = RESUMED.replace(eval_every=eval_every, steps=6)
    *_, state = iterate(short)
    write_bytes(tmp_path / "state.npz", state_bytes(short, state))
    long = short.replace(steps=10)
    *_, whole = iterate(long)
    *_, last = iterate(long, load_state(tmp_path / "state.npz", short))
    assert bits(last.training.params) == bits(whole.training.params)
    assert repr(last.history) == repr(whole.history)


def test_the_seconds_of_a_resumed_run_add_up():
    *_, state = iterate(RESUMED.replace(steps=2))
    state = state._replace(seconds=1000.0)
    *_, last = iterate(RESUMED.replace(steps=3), state)
    assert 1000 < last.seconds < 1060


@pytest.fixture
def interrupted(tmp_path):
    states = iterate(RESUMED)
    for _ in range(3):
        state = next(states)
    path = tmp_path / "checkpoint.npz"
    write_bytes(path, state_bytes(RESUMED, state))
    return path


def refused(path, message):
    before = path.read_bytes()
    with pytest.raises(StoreError, match=message) as caught:
        load_state(path, RESUMED)
    assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == before


def test_a_truncated_checkpoint_is_refused_by_name(interrupted):
    whole = interrupted.read_bytes()
    for part in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        interrupted.write_bytes(whole[:part])
        refused(interrupted, "damaged")


def test_the_checkpoint_of_other_settings_is_refused(interrupted):
    with pytest.raises(StoreError, match=r"checkpoint\.npz: the checkpoint of another run"):
        load_state(interrupted, RESUMED.replace(seed=1))


SAID = [
    ({"format": "another program's"}, "not a checkpoint of this version"),
    ({"format_version": 99}, "not a checkpoint of this version"),
    ({"noise_rng": {"bit_generator": "SFC65"}}, "unknown random generator"),
    ({"trials_rng": {"bit_generator": "SFC64", "state": {"state": [1]}}}, "random generator"),
    ({"trials_rng": None}, "random generator"),
    ({"step": 7}, "step: must be an integer >= 0 and <= 6"),
    ({"step": "3"}, "step"),
    ({"step": [3]}, "step"),
    ({"history": 3}, "not a checkpoint"),
    ({"history": [3]}, "not a checkpoint"),
    ({"history": [{"step": None}]}, "history"),
    ({"losses": ["high"]}, "losses"),
    ({"losses": None}, "not a checkpoint"),
    ({"seconds": None}, "seconds"),
    ({"loss": None}, "not a checkpoint"),
    ({"grad_norm": "steep"}, "not a checkpoint"),
]


@pytest.mark.parametrize("change, message", SAID, ids=[str(change)[:40] for change, _ in SAID])
def test_what_a_checkpoint_says_is_checked(interrupted, change, message):
    arrays = read_arrays(interrupted)
    meta = {**json.loads(str(arrays["meta"])), **change}
    write_bytes(interrupted, array_bytes({**arrays, "meta": np.array(json.dumps(meta))}))
    refused(interrupted, message)


def test_foreign_files_are_refused_as_checkpoints(interrupted):
    arrays = read_arrays(interrupted)
    write_bytes(interrupted, array_bytes({"W": np.zeros(3)}))
    refused(interrupted, "lacks meta")
    for text in ("{", "[" * 100_000, "3", "null", '{"format": "tau_rnn checkpoint"}'):
        write_bytes(interrupted, array_bytes({**arrays, "meta": np.array(text)}))
        refused(interrupted, "not a checkpoint")
    for key in ("step", "history", "key"):
        meta = json.loads(str(arrays["meta"]))
        del meta[key]
        write_bytes(interrupted, array_bytes({**arrays, "meta": np.array(json.dumps(meta))}))
        refused(interrupted, "not a checkpoint|another run")


ARRAYS = ["theta", "moments", "params_W", "params_tau", "initial_W", "initial_b_out", "params_x0"]


@pytest.mark.parametrize("name", ARRAYS)
def test_the_arrays_of_a_checkpoint_are_checked(interrupted, name):
    arrays = read_arrays(interrupted)
    good = arrays[name]
    wrong = (
        good.astype(str), good.astype(float), good[..., :-1], good[np.newaxis], good * np.nan,
        np.zeros(0, good.dtype), np.array(3, good.dtype), good.astype(complex), good > 0,
    )  # fmt: skip
    for values in wrong:
        write_bytes(interrupted, array_bytes({**arrays, name: values}))
        with pytest.raises(StoreError, match=name.removeprefix("params_").removeprefix("initial_")):
            load_state(interrupted, RESUMED)


def test_no_checkpoint_is_said(tmp_path):
    with pytest.raises(StoreError, match="there is no checkpoint to resume from"):
        load_state(tmp_path / "checkpoint.npz", RESUMED)

