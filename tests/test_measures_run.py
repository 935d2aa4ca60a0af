"""All measures of a run, and their one row of numbers."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import spearmanr

from tau_rnn._threads import beside
from tau_rnn.bptt import backward
from tau_rnn.experiment.outcome import summarise
from tau_rnn.losses import mse
from tau_rnn.measures import (
    decoding,
    dynamics,
    fixed_points,
    kernel_alignment,
    measure_run,
    representation_alignment,
    spectrum_of_change,
)
from tau_rnn.measures import run as training_measures
from tau_rnn.measures.dynamics import FixedPoints
from tau_rnn.measures.run import LONGEST, PARTS, TrainingMeasures
from tau_rnn.measures.weights import input_output_overlap
from tau_rnn.model import Params, forward, init_params
from tau_rnn.noise import noise_scale
from tau_rnn.plotting.measures import plot_measures
from tau_rnn.tasks import TASKS, make_task

SMALL = {"n_trials": 6, "n_test": 20, "method": "exponential"}


def trained(name, n_units=12, steps=30, tau=None):
    """A task and the network before and after a few steps of plain gradient descent."""
    task = make_task(name, dt=0.1)
    rng = np.random.default_rng(0)
    tau = rng.uniform(0.2, 2, n_units) if tau is None else tau
    initial = init_params(n_units, task.n_in, task.n_out, tau, rng)
    params = initial
    for _ in range(steps):
        trials = task.trials(8, rng)
        traj = forward(params, trials.u, task.dt, method="exponential")
        grads = backward(params, traj, mse(traj.y, trials.target, trials.mask)[1])
        moved = Params(*(p - 0.3 * g for p, g in zip(params, grads)))
        params = moved._replace(x0=params.x0, tau=params.tau)
    return task, initial, params


@pytest.fixture(scope="module", params=list(TASKS))
def run(request):
    task, initial, final = trained(request.param)
    return task, initial, final, measure_run(initial, final, task, rng=7, **SMALL)


def test_every_part_is_there_and_says_what_its_own_function_says(run):
    task, initial, final, m = run
    assert all(value is not None for value in m)
    change = np.linalg.norm(final.W - initial.W)
    assert m.weights["W"].absolute == pytest.approx(change, rel=1e-12)
    assert m.weights["tau"].absolute == 0
    assert (m.spectrum.singular_values**2).sum() == pytest.approx(change**2, rel=1e-12)
    assert m.rank.ranks[-1] == 12 and 0 <= m.rank.needed <= 12
    assert m.lesions.random.shape == (10, 5)
    n = len(m.decoding.time)
    assert m.decoding.time[-1] == pytest.approx(task.stimulus + task.delay_min)
    assert m.decoding.go_time[-1] == pytest.approx(task.response)
    assert m.decoding.after.slow.shape == (n, 2)
    assert m.effective.before.shape == (12,) and len(m.effective.flag_after) == 12
    assert len(m.fixed_points_after.reached) == 12  # 6 trials at the end of the delay, and later


def test_the_same_seed_gives_the_same_numbers_and_parts_do_not_disturb_each_other(run):
    task, initial, final, m = run
    everything = summarise(m)
    assert summarise(measure_run(initial, final, task, rng=7, **SMALL)) == everything
    for part in PARTS:
        alone = summarise(measure_run(initial, final, task, rng=7, parts=part, **SMALL))
        assert alone and alone.items() <= everything.items()


def test_alignments_are_at_the_decision_without_noise(run):
    """One trial at a time: what the decision reads is W_out times the mean rate of its window."""
    task, initial, final, m = run
    probe_seed = np.random.default_rng(7).integers(2**63, size=len(PARTS) + 3)[len(PARTS)]
    trials = task.trials(6, np.random.default_rng(probe_seed))
    H = []
    for params in (initial, final):
        traj = forward(params, trials.u, task.dt, method="exponential")
        steps = round(task.decision_window / task.dt)
        end = trials.epochs.response[:, 1]
        H.append(
            np.array([traj.r[end[b] - steps + 1 : end[b] + 1, b].mean(0) for b in range(6)])
        )
        decision = task.decision(traj.y, trials)
        np.testing.assert_allclose(H[-1] @ params.W_out.T + params.b_out, decision, atol=1e-12)
    assert m.representation_alignment == pytest.approx(representation_alignment(*H), rel=1e-12)
    times = np.array(
        [np.linspace(s, e - 1, 8) for s, e in zip(trials.epochs.stimulus[:, 0], end)]
    ).T
    found = kernel_alignment(
        initial, final, trials.u, task.dt, method="exponential", times=np.rint(times).astype(int)
    )
    # A time half way between two steps may be rounded to either.
    assert m.kernel_alignment == pytest.approx(found, abs=0.01)
    last = kernel_alignment(
        initial, final, trials.u, task.dt, method="exponential", times=end[np.newaxis] - 1
    )
    alone = measure_run(
        initial, final, task, rng=7, parts="alignment", n_times=1, **SMALL
    ).kernel_alignment
    assert alone == pytest.approx(last, rel=1e-12)


def test_the_late_starts_of_the_fixed_points_have_come_to_rest(run):
    task, _, final, m = run
    points = m.fixed_points_after
    late = points.reached[6:]
    assert (late >= 0).all()
    # Continuing the delay from there, the network stays where it is: these are where it ends.
    again = fixed_points(final, np.zeros(task.n_in), points.x[np.unique(late)], slow=points.slow)
    np.testing.assert_allclose(again.x[again.reached], points.x[np.unique(late)], atol=1e-8)
    assert points.slow == task.delay_max


def test_the_summary_is_plain_numbers_that_json_holds(run):
    *_, m = run
    row = summarise(m)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert all(type(value) in (int, float, type(None)) for value in row.values())
    assert row["weight_change"] == m.weights["W"].relative
    assert row["weight_change_b"] == m.weights["b"].absolute
    assert row["lesion_slowest_0.3"] == m.lesions.slowest[3]
    assert m.lesions.fastest[0] == m.rank.accuracy[-1] and "lesion_fastest_0" not in row
    assert m.lesions.random[:, 0] == pytest.approx(m.rank.accuracy[-1], rel=1e-12)
    name = m.decoding.quantities[1]
    assert row[f"decode_slow_{name}_delay"] == m.decoding.after.slow[-1, 1]
    assert row[f"decode_fast_{name}_response"] == m.decoding.go_after.fast[-1, 1]
    at_end = np.flatnonzero(np.isclose(m.decoding.time, m.decoding.stimulus))
    assert row[f"decode_every_{name}_stimulus"] == m.decoding.after.every[at_end[0], 1]
    low, middle, high = (row[f"tau_eff_sd_log_change{end}"] for end in ("_low", "", "_high"))
    assert low <= middle <= high


def test_nothing_changed_and_all_tau_equal():
    """What is not defined is None, no warning is raised, and everything else is there."""
    task, initial, _ = trained("multi_timescale", n_units=6, steps=0, tau=1.0)
    m = measure_run(initial, initial, task, rng=0, **SMALL)
    row = summarise(m)
    assert row["weight_change"] == 0 and row["effective_rank"] is None
    assert row["overlap_in"] is None and row["rank_needed"] == 0
    assert row["representation_alignment"] == pytest.approx(1)
    assert row["kernel_alignment"] == pytest.approx(1)
    assert row["lesion_slowest_0.5"] is None and row["lesion_random_0.5"] is not None
    assert row["decode_slow_integral_delay"] is None
    assert row["decode_random_integral_delay"] is not None
    assert np.isnan(m.effective.spread_after.rank_correlation.value)
    assert row["tau_eff_sd_log_change"] == 0


def spy(monkeypatch, name, module=training_measures):
    """Record what a function that `measure_run` calls is given; it works as before."""
    calls, function = [], getattr(module, name)

    def recorded(*args, **kwargs):
        calls.append((args, kwargs))
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, recorded)
    return calls


def test_a_network_whose_tau_was_trained_hears_the_same_noise_scaled_to_its_tau(monkeypatch):
    task, initial, final = trained("integrate_and_remember", n_units=6, steps=3)
    final = final._replace(tau=2 * final.tau)
    scores, decoded = spy(monkeypatch, "accuracy_on"), spy(monkeypatch, "forward", decoding)
    m = measure_run(initial, final, task, rng=0, **SMALL)
    assert m.weights["tau"].relative == pytest.approx(1)
    np.testing.assert_allclose(m.tau_after, 2 * m.tau_before)
    noise = {id(args[0].tau): kwargs["noise"] for args, kwargs in decoded if "noise" in kwargs}
    before, after = noise.values()
    scale = [noise_scale(p.tau, task.dt, "exponential") for p in (initial, final)]
    np.testing.assert_allclose(before / scale[0], after / scale[1], rtol=1e-12)
    ((_, options),) = scores
    np.testing.assert_array_equal(options["noise"], after)


def test_decoding_is_from_the_rates_at_the_times_it_says(monkeypatch):
    """dt = 0.05 s, so that every other step counts: rates at the end of a step, each trial's go."""
    task = make_task("multi_timescale", dt=0.05)
    rng = np.random.default_rng(0)
    params = init_params(4, task.n_in, task.n_out, rng.uniform(0.2, 2, 4), rng)
    runs, calls = (spy(monkeypatch, name, decoding) for name in ("forward", "decode_by_tau"))
    m = measure_run(params, params, task, rng=0, parts="decoding", **SMALL)
    (args, kwargs), _ = runs
    x = forward(*args, **kwargs).x
    # The cue, which begins with the response, says when the go was.
    cue_on = args[1][:, :, 2:].any(axis=2)
    go = cue_on.argmax(axis=0)
    start = round(task.fixation / task.dt)
    assert len(calls) == 4 and len(set(go)) > 5
    for (given, _), time, starts in zip(
        calls, (m.decoding.time, m.decoding.go_time) * 2, (np.full(20, start), go) * 2
    ):
        assert len(given[0]) == len(time)
        for rates, t in zip(given[0], time):
            steps = starts + round(t / task.dt)
            np.testing.assert_allclose(rates, np.tanh(x[steps, np.arange(20)]), atol=1e-14)
    np.testing.assert_allclose(np.diff(m.decoding.time), 0.1)


def test_fixed_points_are_sought_where_the_delay_ends_and_where_it_would_lead(monkeypatch):
    task, _, params = trained("multi_timescale", n_units=6, steps=10)
    calls = spy(monkeypatch, "fixed_points", dynamics)
    measure_run(params, params, task, rng=0, parts="fixed_points", **SMALL)
    ((_, zeros, starts), _), _ = calls
    assert not np.any(zeros) and starts.shape == (12, 6)
    probe_seed = np.random.default_rng(0).integers(2**63, size=len(PARTS) + 3)[len(PARTS)]
    trials = task.trials(6, np.random.default_rng(probe_seed))
    x = forward(params, trials.u, task.dt, method="exponential").x
    for b, go in enumerate(trials.epochs.response[:, 0]):
        np.testing.assert_allclose(starts[b], x[go, b], rtol=1e-12)
        silence = np.zeros((task.n_steps - go + round(30 / task.dt), 1, task.n_in))
        later = forward(params._replace(x0=x[go, b]), silence, task.dt, method="exponential").x
        np.testing.assert_allclose(starts[6 + b], later[-1, 0], rtol=1e-9, atol=1e-12)


def test_timescales_too_long_for_the_runs_count_as_the_longest(monkeypatch):
    class Fit:
        tau = np.array([0.5, 100.0, np.nan, np.nan, 1.0])
        flag = np.array(["", "nugget", "exceeds_trial,nugget", "constant", "exceeds_trial"])

    monkeypatch.setattr(training_measures, "effective_tau", lambda *_, **__: Fit)
    task, initial, final = trained("multi_timescale", n_units=5, steps=1)
    m = measure_run(initial, final, task, rng=0, parts="effective", **SMALL)
    expected = [0.5, LONGEST, LONGEST, np.nan, LONGEST]
    np.testing.assert_array_equal(m.effective.after, expected)
    assert m.effective.spread_after.n_left_out == 1


def test_each_part_is_of_the_networks_that_it_says(monkeypatch):
    task, initial, final = trained("integrate_and_remember", n_units=6, steps=3)
    rng = np.random.default_rng(5)
    final = final._replace(  # so that no field is the same before and after
        tau=2 * rng.permutation(final.tau), W_in=final.W_in + rng.standard_normal((6, task.n_in))
    )
    timescales = spy(monkeypatch, "effective_tau")
    points = spy(monkeypatch, "fixed_points", dynamics)
    decoded, decode = [], decoding.decode_by_tau

    def recorded(rates, targets, tau, rng):
        decoded.append((tau, repr(rng.bit_generator.state)))
        return decode(rates, targets, tau, rng)

    monkeypatch.setattr(decoding, "decode_by_tau", recorded)
    m = measure_run(initial, final, task, rng=0, **SMALL, phi="relu")
    row = summarise(m)

    change = spectrum_of_change(initial.W, final.W)
    overlap = input_output_overlap(change, initial.W_in, final.W_out, k=5)
    np.testing.assert_array_equal(m.overlap.left_in, overlap.left_in)
    assert (row["overlap_in"], row["overlap_out"]) == (overlap.left_in[0], overlap.right_out[0])
    assert row["overlap_in_chance"] == pytest.approx(3 / 6)  # three inputs, two outputs, six units
    assert row["overlap_out_chance"] == pytest.approx(2 / 6)

    e = m.effective
    correlation = spearmanr(final.tau, e.after).statistic
    assert e.spread_after.rank_correlation.value == pytest.approx(correlation)
    grown = np.std(np.log(e.after)) / np.std(np.log(e.before))
    assert e.change.value == pytest.approx(np.log(grown))
    for when, spread in (("before", e.spread_before), ("after", e.spread_after)):
        assert row[f"tau_eff_cv_{when}"] == spread.cv.value
    assert [options["sigma"] for _, options in timescales] == [task.noise] * 2
    assert {options["phi"] for _, options in (*timescales, *points)} == {"relu"}
    for ((params, *_), _), network in zip(points, (initial, final), strict=True):
        np.testing.assert_array_equal(params.W, network.W)
    # Before and after are decoded with the same folds.
    assert len(decoded) == 4 and len({state for _, state in decoded}) == 1


def test_the_summary_tells_kinds_of_fixed_points_apart():
    timescales = np.array([[-5.0, 1.0], [90.0, 1.0], [3.0, 1.0]])
    kinds = np.array(["saddle", "slow", "attractor"])
    before = FixedPoints(
        np.zeros((3, 2)), np.zeros(3), -1 / timescales + 0j, timescales, kinds,
        np.array([0, 1, 1]), np.ones(3, int), np.arange(3), 2.0,
    )  # fmt: skip
    after = before._replace(kind=np.array(["attractor"] * 3))
    none = np.ones(2)
    row = summarise(
        TrainingMeasures(none, none, fixed_points_before=before, fixed_points_after=after)
    )
    names = ("fixed_points", "attractors", "slow_points", "slowest")
    assert [row[f"{name}_before"] for name in names] == [2, 1, 1, 3.0]
    assert [row[f"{name}_after"] for name in names] == [3, 3, 0, 90.0]


def test_single_precision_is_measured_in_double():
    task, initial, final = trained("multi_timescale", n_units=6, steps=3)
    single = [Params(*(p.astype(np.float32) for p in params)) for params in (initial, final)]
    double = [Params(*(p.astype(np.float64) for p in params)) for params in single]
    options = {"rng": 3, "parts": ("weights", "alignment", "rank"), **SMALL}
    rows = [summarise(measure_run(*pair, task, **options)) for pair in (single, double)]
    assert rows[0] == rows[1]


def test_the_figure_draws_what_was_measured(run):
    task, initial, final, m = run
    figure = plot_measures(m, title="a title")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert len(titles) == len(set(titles)) >= 8 and all(titles)
    for axes in figure.axes:
        assert axes.get_xlabel() or axes.get_xticklabels()
    some = plot_measures(measure_run(initial, final, task, rng=7, parts=("weights",), **SMALL))
    assert 0 < len(some.axes) < len(figure.axes)


def without(task, *names):
    """A task of one's own: that of the package without some of what is optional."""

    class Own:
        dt, noise = task.dt, task.noise

        def trials(self, batch_size, rng, dtype=np.float64):
            trials = task.trials(batch_size, rng, dtype=dtype)
            return trials._replace(**{name: None for name in ("labels", "epochs") if name in names})

        def accuracy(self, y, trials):
            return task.accuracy(y, trials)

    for name in ("remembered", "stimulus", "delay_min", "delay_max", "response", "decision_window"):
        if name not in names:
            setattr(Own, name, getattr(task, name))
    for name in names:
        if name == "accuracy":
            del Own.accuracy
        if name == "noise":
            del Own.noise
    return Own()


def test_a_task_of_ones_own_with_everything_is_measured_like_ours():
    task, initial, final = trained("multi_timescale", n_units=6, steps=1)
    parts = ("weights", "alignment", "decoding", "lesions")
    ours, own = (measure_run(initial, final, t, rng=0, parts=parts, **SMALL)
                 for t in (task, without(task)))  # fmt: skip
    assert own.left_out == {} and summarise(own) == summarise(ours)


@pytest.mark.parametrize(
    "absent, left_out",
    [
        ((), {}),
        (("accuracy",), {"rank": "accuracy", "lesions": "accuracy"}),
        (("noise",), {"effective": "noise"}),
        (("remembered",), {"decoding": "remembered"}),
        (("decision_window",), {"alignment": "decision_window"}),
        (("labels", "accuracy"), {"decoding": "labels", "rank": "accuracy", "lesions": "accuracy"}),
        (("epochs", "accuracy"), {
            "alignment": "epochs.stimulus", "decoding": "epochs.stimulus",
            "fixed_points": "epochs.delay", "rank": "accuracy", "lesions": "accuracy",
        }),
    ],
)  # fmt: skip
def test_what_a_task_of_ones_own_does_not_have_is_left_out_and_named(absent, left_out):
    task, initial, final = trained("multi_timescale", n_units=6, steps=1)
    m = measure_run(initial, final, without(task, *absent), rng=0, **SMALL)
    assert m.left_out == left_out
    measured = {
        "weights": m.weights, "alignment": m.kernel_alignment, "rank": m.rank,
        "lesions": m.lesions, "decoding": m.decoding, "effective": m.effective,
        "fixed_points": m.fixed_points_after,
    }  # fmt: skip
    assert {part for part, value in measured.items() if value is None} == set(left_out)


def test_a_quantity_that_is_no_label_is_named():
    task, initial, final = trained("multi_timescale", n_units=6, steps=1)
    own = without(task)
    type(own).remembered = ("pulse_sum", "sum_of_pulses")
    m = measure_run(initial, final, own, rng=0, parts="decoding", **SMALL)
    assert m.left_out == {"decoding": "labels.sum_of_pulses"}


def test_work_beside_other_work_has_its_error_state_and_hands_on_what_it_raises():
    with np.errstate(over="raise"):
        result = beside(lambda: np.float64(1e300) * 1e300)
    with pytest.raises(FloatingPointError):  # also where this thread no longer raises
        result()


def test_the_end_of_python_waits_for_no_work_beside():
    forever = "from threading import Event; from tau_rnn._threads import beside; "
    command = [sys.executable, "-c", forever + "beside(Event().wait)"]
    subprocess.run(command, check=True, timeout=60)


def test_progress_is_told_in_words():
    task, initial, final = trained("multi_timescale", n_units=4, steps=1)
    told = []
    measure_run(initial, final, task, rng=0, progress=told.append, **SMALL)
    assert told == [
        "weights", "rank", "lesions", "effective", "fixed points", "decoding and alignment",
    ]  # fmt: skip
    told.clear()
    measure_run(initial, final, task, rng=0, progress=told.append, parts=["decoding"], **SMALL)
    assert told == ["decoding"]


def test_a_large_network_is_measured_on_fewer_trials_and_this_is_said(monkeypatch):
    task, initial, final = trained("multi_timescale", n_units=6, steps=1)
    kernels = spy(monkeypatch, "kernel_alignment")
    decoded = spy(monkeypatch, "decode_by_tau", decoding)
    points = spy(monkeypatch, "fixed_points", dynamics)

    def sizes():
        (_, _, u, _), options = kernels[-1]
        return u.shape[1], len(options["times"]), decoded[-1][0][0].shape[1], len(points[-1][0][2])

    parts = ("alignment", "decoding", "fixed_points")
    assert measure_run(initial, final, task, rng=0, parts=parts).note == ""
    assert sizes() == (64, 8, 256, 32)
    monkeypatch.setattr(training_measures, "LARGE", 5)
    m = measure_run(initial, final, task, rng=0, parts=parts)
    assert sizes() == (16, 4, 64, 8)
    assert m.note == (
        "more than 5 units: n_trials 16 instead of 64, n_test 64 instead of 256, n_times 4 instead "
        "of 8, n_starts 4 instead of 16"
    )
    m = measure_run(initial, final, task, rng=0, parts=parts, n_test=100, n_trials=20)
    assert sizes() == (20, 4, 100, 8)
    assert m.note == "more than 5 units: n_times 4 instead of 8, n_starts 4 instead of 16"


def test_the_change_of_a_row_stands_at_the_tau_that_its_unit_had():
    task, initial, final = trained("multi_timescale", n_units=5, steps=2)
    final = final._replace(tau=2 * final.tau)
    m = measure_run(initial, final, task, rng=0, parts="weights", **SMALL)
    points = plot_measures(m).axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], initial.tau)  # as on the page of the run


def test_modes_that_grow_are_hollow_and_nothing_measured_is_said():
    timescales = np.array([[9.0, -6.65, 3.0]])
    points = FixedPoints(
        np.zeros((1, 3)), np.zeros(1), -1 / timescales + 0j, timescales, np.array(["saddle"]),
        np.array([1]), np.ones(1, int), np.arange(1), 2.0,
    )  # fmt: skip
    none = points._replace(x=np.zeros((0, 3)))
    tau = np.ones(3)
    m = TrainingMeasures(tau, tau, fixed_points_before=none, fixed_points_after=points)
    (axis,) = plot_measures(m, title="What training changed: a long title " * 3).axes
    hollow = [line for line in axis.lines if line.get_markerfacecolor() == "white"]
    assert [tuple(map(float, line.get_xydata()[0])) for line in hollow] == [(2.0, 6.65)]
    with pytest.raises(ValueError, match="measures: None; a stored run"):
        plot_measures(None)


def test_bad_arguments_are_refused():
    task, initial, final = trained("multi_timescale", n_units=4, steps=1)
    other = make_task("integrate_and_remember", dt=0.1)
    for call, words in [
        (lambda: measure_run(initial, final, other, rng=0), "initial.*do not fit.*integrate"),
        (lambda: measure_run(initial, final, task, rng=0, parts=["weight"]), "'weights'"),
        (lambda: measure_run(initial, final, task, rng=0, n_trials=0), "n_trials.*0"),
        (lambda: measure_run(initial, final, task, rng=0, n_test=10), "n_test.*10"),
        (lambda: measure_run(initial, final, task, rng=0, n_times=0), "n_times.*0"),
        (lambda: measure_run(
            initial, final._replace(b=np.full(4, np.nan)), task, rng=0
        ), "b: .*nan"),
        (lambda: plot_measures(measure_run(initial, final, task, rng=0, parts=())), "measures"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=words):
            call()
