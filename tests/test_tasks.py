"""Tasks: timing of every epoch, labels recomputed from the inputs, weights, baselines, errors."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import ndtr

from tau_rnn.losses import mse
from tau_rnn.tasks import TASKS, IntegrateAndRemember, MultiTimescaleMemory, Trials, make_task

NAMES = list(TASKS)
DTS = [0.1, 0.05, 0.025, 0.02, 0.01]

tasks_and_seeds = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(DTS[:4]),
    st.integers(1, 9),
    st.integers(0, 2**32 - 1),
)


def draw(name, dt, batch_size, seed):
    task = make_task(name, dt=dt)
    return task, task.trials(batch_size, np.random.default_rng(seed))


def leaves(value):
    """All arrays of a (nested) NamedTuple."""
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def test_the_tasks_by_name():
    assert {
        "multi_timescale": MultiTimescaleMemory,
        "integrate_and_remember": IntegrateAndRemember,
    } == TASKS


@pytest.mark.parametrize(
    "name, expected",
    [
        (
            "multi_timescale",
            dict(
                dt=0.05, fixation=0.2, stimulus=2.0, delay_min=1.0, delay_max=2.0, response=1.0,
                grace=0.3, decision_window=0.4, pre_weight=0.2, evidence_sd=0.5, evidence_time=0.1,
                noise=0.2, slot=0.2, pulse=0.1, n_pulses=5, pulse_amplitude=2.0,
                coherences=(0.2, 0.4, 0.8), cue=0.2,
            ),
        ),
        (
            "integrate_and_remember",
            dict(
                dt=0.05, fixation=0.2, stimulus=2.0, delay_min=1.0, delay_max=3.0, response=1.0,
                grace=0.3, decision_window=0.4, pre_weight=0.2, evidence_sd=0.5, evidence_time=0.1,
                noise=0.1, sample=0.2, sample_gain=2.0, tolerance=0.2,
            ),
        ),
    ],
)
def test_defaults(name, expected):
    assert dataclasses.asdict(make_task(name)) == expected


@pytest.mark.parametrize("dt", DTS)
def test_number_of_steps(dt):
    a, b = MultiTimescaleMemory(dt=dt), IntegrateAndRemember(dt=dt)
    assert (a.n_steps, a.n_in, a.n_out) == (round(5.2 / dt), 4, 1)
    assert (b.n_steps, b.n_in, b.n_out) == (round(6.2 / dt), 3, 2)


@given(tasks_and_seeds)
def test_shapes_and_types(drawn):
    name, _, B, _ = drawn
    task, trials = draw(*drawn)
    T = task.n_steps
    assert isinstance(trials, Trials)
    assert trials.u.shape == (T, B, task.n_in)
    assert trials.target.shape == (T, B, task.n_out)
    assert trials.mask.shape == (T, B)
    assert all(a.dtype == np.float64 and np.isfinite(a).all() for a in trials[:3])
    assert all(label.shape == (B,) for label in trials.labels)
    assert all(epoch.shape == (B, 2) for epoch in trials.epochs)
    assert len(task.inputs) == task.n_in and len(task.outputs) == task.n_out
    assert task.name == name


@given(tasks_and_seeds)
def test_the_same_rng_gives_the_same_trials(drawn):
    _, first = draw(*drawn)
    _, second = draw(*drawn)
    for a, b in zip(leaves(first), leaves(second)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_gives_other_trials_and_the_global_state_is_untouched(name):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    a, b = (make_task(name).trials(8, np.random.default_rng(s)) for s in (0, 1))
    assert not np.array_equal(a.u, b.u)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_the_float64_rounded(name):
    task = make_task(name)
    exact = task.trials(16, np.random.default_rng(0))
    single = task.trials(16, np.random.default_rng(0), dtype=np.float32)
    for a, b in zip(exact[:3], single[:3]):
        assert b.dtype == np.float32
        np.testing.assert_array_equal(a.astype(np.float32), b)
    for a, b in zip(leaves(exact[3:]), leaves(single[3:])):
        np.testing.assert_array_equal(a, b)


@given(tasks_and_seeds)
def test_timing_of_every_epoch(drawn):
    task, trials = draw(*drawn)
    e, dt = trials.epochs, task.dt
    seconds = {name: np.diff(epoch, axis=1)[:, 0] * dt for name, epoch in e._asdict().items()}
    brief = task.cue if task.name == "multi_timescale" else task.response
    for name, expected in (("fixation", 0.2), ("stimulus", 2.0), ("response", 1.0), ("cue", brief)):
        np.testing.assert_allclose(seconds[name], expected, rtol=1e-12)
    assert (seconds["delay"] >= task.delay_min - 1e-9).all()
    assert (seconds["delay"] <= task.delay_max + 1e-9).all()
    assert (e.fixation[:, 0] == 0).all()
    for one, next_one in (("fixation", "stimulus"), ("stimulus", "delay"), ("delay", "response")):
        np.testing.assert_array_equal(getattr(e, one)[:, 1], getattr(e, next_one)[:, 0])
    np.testing.assert_array_equal(e.cue[:, 0], e.response[:, 0])
    assert e.response.max() <= task.n_steps

    # What the arrays hold in each epoch, one trial at a time.
    evidence = task.inputs.index("evidence")
    for b in range(trials.u.shape[1]):
        u, target, weight = trials.u[:, b], trials.target[:, b], trials.mask[:, b]
        (s0, s1), (g0, g1) = e.stimulus[b], e.response[b]
        for t in range(task.n_steps):
            if t < s0 or s1 <= t < g0 or t >= g1:
                assert (u[t] == 0).all(), "no input in fixation, delay and after the end"
            if not g0 <= t < g1:
                assert (target[t] == 0).all()
        assert (u[s0:s1, evidence] != 0).all()
        assert (target[g0:g1] == target[g0]).all() and (target[g0] != 0).all()
        before = weight[:g0]
        grace = weight[g0 : g0 + round(0.3 / dt)]
        answer = weight[g0 + round(0.3 / dt) : g1]
        assert (before == before[0]).all() and (answer == answer[0]).all()
        assert (grace == 0).all() and (weight[g1:] == 0).all()
        assert len(answer) == round(0.7 / dt)
        assert before[0] / answer[0] == pytest.approx(0.2)
        assert weight.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dt", [0.1, 0.05])
def test_the_delay_is_uniform_on_the_steps_of_its_range(name, dt):
    task, trials = draw(name, dt, 20_000, 0)
    delay = np.diff(trials.epochs.delay, axis=1)[:, 0]
    values, counts = np.unique(delay, return_counts=True)
    np.testing.assert_array_equal(
        values, np.arange(round(task.delay_min / dt), round(task.delay_max / dt) + 1)
    )
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_delay_fills_the_array(name):
    task = make_task(name, delay_min=1.0, delay_max=1.0)
    trials = task.trials(3, np.random.default_rng(0))
    assert (trials.epochs.response[:, 1] == task.n_steps).all()
    assert task.n_steps == round(4.2 / task.dt)


@pytest.mark.parametrize("name", NAMES)
def test_every_trial_weighs_the_same_in_the_loss(name):
    """An error of 1 throughout one trial costs 1/B, whatever its delay."""
    _, trials = draw(name, 0.05, 12, 3)
    assert np.unique(trials.epochs.delay[:, 1]).size > 3
    for b in range(12):
        y = trials.target.copy()
        y[:, b] += 1
        assert mse(y, trials.target, trials.mask)[0] == pytest.approx(1 / 12, rel=1e-12)


@given(st.sampled_from(DTS[:4]), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_memory_labels_follow_from_the_inputs(dt, B, seed):
    task, trials = draw("multi_timescale", dt, B, seed)
    labels, e = trials.labels, trials.epochs
    n_pulse, n_slot = round(0.1 / dt), round(0.2 / dt)
    for b in range(B):
        s0, s1 = e.stimulus[b]
        pulses = trials.u[s0:s1, b, 0].reshape(-1, n_slot)
        assert pulses.shape[0] == task.n_slots == 10
        # Five distinct slots hold one pulse each, 0.1 s from the slot's start, of +2 or -2.
        assert (pulses != 0).any(axis=1).sum() == 5
        assert (pulses[:, n_pulse:] == 0).all()
        assert (pulses[:, :n_pulse] == pulses[:, :1]).all()
        assert set(np.unique(pulses)) <= {-2.0, 0.0, 2.0}
        total = pulses[:, 0].sum()
        integral = trials.u[s0:s1, b, 1].sum() * dt
        assert labels.pulse_sum[b] == total and labels.pattern[b] == np.sign(total)
        assert labels.integral[b] == pytest.approx(integral, rel=1e-12, abs=1e-12)
        assert labels.evidence[b] == np.sign(integral)
        assert abs(labels.coherence[b]) in task.coherences
        # The cue: 1 on one of two channels for 0.2 s from the start of the response.
        g0 = e.response[b, 0]
        expected = np.zeros((task.n_steps, 2))
        expected[g0 : g0 + round(0.2 / dt), labels.cue[b]] = 1
        np.testing.assert_array_equal(trials.u[:, b, 2:], expected)
        answer = (labels.pattern, labels.evidence)[labels.cue[b]][b]
        assert labels.answer[b] == answer == trials.target[g0, b, 0]
        assert labels.conflict[b] == (labels.pattern[b] != labels.evidence[b])


@given(st.sampled_from(DTS[:4]), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_integrate_labels_follow_from_the_inputs(dt, B, seed):
    task, trials = draw("integrate_and_remember", dt, B, seed)
    labels, e = trials.labels, trials.epochs
    for b in range(B):
        (s0, s1), (g0, g1) = e.stimulus[b], e.response[b]
        assert labels.evidence[b] == pytest.approx(trials.u[s0:s1, b, 0].mean(), abs=1e-12)
        on = np.flatnonzero(trials.u[:, b, 1])
        start = labels.sample_start[b]
        np.testing.assert_array_equal(on, np.arange(start, start + round(0.2 / dt)))
        assert s0 <= on[0] and on[-1] < s1
        np.testing.assert_array_equal(trials.u[on, b, 1], 2 * labels.value[b])
        go = np.zeros(task.n_steps)
        go[g0:g1] = 1
        np.testing.assert_array_equal(trials.u[:, b, 2], go)
        np.testing.assert_array_equal(trials.target[g0, b], [labels.evidence[b], labels.value[b]])


def test_what_is_drawn_is_distributed_as_documented():
    n = 20_000
    _, memory = draw("multi_timescale", 0.05, n, 5)
    task, integrating = draw("integrate_and_remember", 0.05, n, 5)
    labels = memory.labels
    for counts in (
        np.unique(labels.cue, return_counts=True)[1],
        np.unique(labels.pattern, return_counts=True)[1],
        np.unique(labels.coherence, return_counts=True)[1],  # +-0.2, +-0.4, +-0.8
        (memory.u[4:44:4, :, 0] != 0).sum(axis=1),  # each of the ten slots
        np.unique(integrating.labels.sample_start, return_counts=True)[1],
    ):
        assert stats.chisquare(counts).pvalue > 1e-3
    # Five of ten slots; 37 places for a 4-step sample in the 40 steps of the stimulus.
    assert np.unique(integrating.labels.sample_start).tolist() == list(range(4, 41))
    for uniform in (integrating.labels.value, integrating.labels.coherence):
        assert stats.kstest(uniform, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    noise = integrating.labels.evidence - integrating.labels.coherence
    expected = stats.norm(0, 0.5 * math.sqrt(0.1 / task.stimulus))
    assert stats.kstest(noise, expected.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dt", DTS)
def test_evidence_is_as_noisy_for_every_dt(name, dt):
    """The noise in the mean over 0.1 s has sd 0.5, that over 2 s sd 0.5 sqrt(0.1 / 2)."""
    n = 4000
    task, trials = draw(name, dt, n, 7)
    start, end = trials.epochs.stimulus[0]
    evidence = trials.u[start:end, :, task.inputs.index("evidence")] - trials.labels.coherence
    means = evidence.reshape(20, -1, n).mean(axis=1)
    # The sd of m independent normal draws has relative error 1/sqrt(2m): 4 of those.
    assert means.std() == pytest.approx(0.5, rel=4 / math.sqrt(2 * 20 * n))
    assert evidence.mean(axis=0).std() == pytest.approx(
        0.5 * math.sqrt(0.1 / 2), rel=4 / math.sqrt(2 * n)
    )
    # White: neighbouring steps are not correlated (sd of the estimate 1/sqrt(number of pairs)).
    pairs = evidence[:-1].size
    assert abs((evidence[:-1] * evidence[1:]).mean() / evidence.var()) < 4 / math.sqrt(pairs)


@pytest.mark.parametrize("name", NAMES)
def test_trials_of_a_batch_are_independent(name):
    """No label of a trial tells anything of its neighbour's."""
    n = 20_000
    _, trials = draw(name, 0.1, n, 11)
    delays = trials.epochs.delay[:, 1]
    for label in [*trials.labels, delays]:
        label = label.astype(float) - label.mean()
        assert abs((label[1:] * label[:-1]).mean() / label.var()) < 4 / math.sqrt(n)
    if name == "multi_timescale":
        independent = ("pattern", "evidence", "cue")
    else:
        independent = ("coherence", "value", "sample_start")
    drawn = [getattr(trials.labels, key).astype(float) for key in independent]
    off_diagonal = np.corrcoef([*drawn, delays]) - np.eye(4)
    assert np.abs(off_diagonal).max() < 4 / math.sqrt(n)


@pytest.mark.parametrize("name", NAMES)
def test_each_trial_is_scored_by_itself(name):
    """Decisions of a batch are those of its trials taken one at a time."""
    task, trials = draw(name, 0.05, 6, 2)
    y = np.random.default_rng(0).standard_normal(trials.target.shape)
    decision = task.decision(y, trials)
    for b in range(6):
        end = trials.epochs.response[b, 1]
        np.testing.assert_allclose(decision[b], y[end - 8 : end, b].mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_decision_window_counts(name):
    task, trials = draw(name, 0.05, 20, 2)
    y = np.full_like(trials.target, 100.0)
    for b, end in enumerate(trials.epochs.response[:, 1]):
        y[end - 8 : end, b] = trials.target[end - 8 : end, b]
    assert task.accuracy(y, trials) == 1
    first_of_window = trials.epochs.response[:, 1] - 8
    y[first_of_window, np.arange(20)] = -1e3 * trials.target[first_of_window, np.arange(20)]
    assert task.accuracy(y, trials) == 0


@given(tasks_and_seeds)
def test_the_oracle_is_always_right(drawn):
    task, trials = draw(*drawn)
    scores = task.scores(trials.target, trials)
    assert task.accuracy(trials.target, trials) == scores["accuracy"] == 1
    for name, score in scores.items():
        assert score < 1e-12 if name.endswith("rmse") else score == 1 or math.isnan(score)
    assert mse(trials.target, trials.target, trials.mask)[0] == 0


def throughout(*values):
    """Outputs (T, B, n_out) that hold one value per trial all the time."""
    return np.stack(values, axis=-1)[np.newaxis].astype(float)


def test_baselines_of_the_memory_task():
    n = 40_000
    task, trials = draw("multi_timescale", 0.1, n, 4)
    labels = trials.labels
    T = task.n_steps
    four_sd = 4 * 0.5 / math.sqrt(n)

    def scores(value):
        return task.scores(np.broadcast_to(throughout(value), (T, n, 1)), trials)

    assert abs(labels.conflict.mean() - 0.5) < four_sd
    for remembered in (labels.pattern, labels.evidence):
        blind = scores(remembered)
        assert abs(blind["accuracy"] - 0.75) < four_sd
        assert abs(blind["conflict_accuracy"] - 0.5) < four_sd * math.sqrt(2)
        assert {blind["pattern_accuracy"], blind["evidence_accuracy"]} & {1.0}
    both = scores(labels.pattern + 0.5 * labels.evidence)
    assert abs(both["accuracy"] - 0.75) < four_sd
    constant = scores(np.ones(n))
    guess = scores(np.random.default_rng(0).choice([-1, 1], n))
    for chance in (constant, guess):
        assert abs(chance["accuracy"] - 0.5) < four_sd
    assert scores(np.zeros(n))["accuracy"] == 0
    assert scores(-labels.answer)["accuracy"] == 0
    assert task.criterion == 0.9


def test_baselines_of_the_integration_task():
    n = 40_000
    task, trials = draw("integrate_and_remember", 0.1, n, 4)
    labels = trials.labels
    zero = np.zeros(n)

    def scores(evidence, value):
        y = np.broadcast_to(throughout(evidence, value), trials.target.shape)
        return task.scores(y, trials)

    chance = scores(zero, zero)
    for key, p in (("accuracy", 0.04), ("evidence_accuracy", 0.2), ("value_accuracy", 0.2)):
        assert abs(chance[key] - p) < 4 * math.sqrt(p * (1 - p) / n)
    assert chance["value_rmse"] == pytest.approx(1 / math.sqrt(3), rel=0.02)  # sd of U(-1, 1)
    # One of the two alone is right by chance in a fifth of the trials.
    assert abs(scores(labels.evidence, zero)["accuracy"] - 0.2) < 4 * 0.4 / math.sqrt(n)
    assert scores(labels.evidence, zero)["evidence_accuracy"] == 1
    assert abs(scores(zero, labels.value)["accuracy"] - 0.2) < 4 * 0.4 / math.sqrt(n)
    assert scores(labels.evidence + 0.199, labels.value - 0.199)["accuracy"] == 1
    assert scores(labels.evidence + 0.201, labels.value)["accuracy"] == 0


@pytest.mark.parametrize(
    "options",
    [{}, {"tolerance": 0.5}, {"tolerance": 1.2}, {"evidence_sd": 3.0}, {"evidence_sd": 0}],
)
def test_chance_of_the_integration_task(options):
    """The closed form against the integral, and 0 against every other constant output."""
    task = IntegrateAndRemember(**options)
    d = task.tolerance
    sd = max(task.evidence_sd * math.sqrt(task.evidence_time / task.stimulus), 1e-6)
    phi = ndtr  # stats.norm.cdf takes many times as long

    def within(a):
        value, _ = integrate.quad(
            lambda c: (phi((a + d - c) / sd) - phi((a - d - c) / sd)) / 2,
            -1, 1, points=[max(a - d, -1), min(a + d, 1)], epsabs=1e-12, limit=200,
        )
        return value

    # Without noise the integral is taken with an sd of 1e-6, which errs by as much.
    tolerance = 1e-9 if task.evidence_sd else 1e-6
    assert task.chance == pytest.approx(within(0) * min(d, 1), rel=0, abs=tolerance)
    others = [within(a) for a in np.linspace(0.01, 1, 30)]
    assert max(others) <= within(0) + 1e-9
    if not options:
        assert round(task.chance, 4) == 0.04


def test_a_realised_integral_of_zero_counts_as_positive():
    """Coherences that cancel in float64 cannot be had: the rule is tested where it is stated."""
    from tau_rnn.tasks.multi_timescale import _sign

    np.testing.assert_array_equal(_sign(np.array([-1e-300, -0.0, 0.0, 2.0])), [-1, 1, 1, 1])


def test_scores_of_absent_kinds_of_trials_are_nan():
    task = MultiTimescaleMemory()
    for seed in range(20):
        trials = task.trials(1, np.random.default_rng(seed))
        scores = task.scores(trials.target, trials)
        cued = "pattern_accuracy" if trials.labels.cue[0] == 0 else "evidence_accuracy"
        other = "evidence_accuracy" if cued == "pattern_accuracy" else "pattern_accuracy"
        assert scores[cued] == 1 and math.isnan(scores[other])
        assert math.isnan(scores["conflict_accuracy"]) == (not trials.labels.conflict[0])


def test_outputs_that_are_not_finite_are_wrong():
    for name in NAMES:
        task, trials = draw(name, 0.1, 4, 0)
        assert task.accuracy(np.full_like(trials.target, np.nan), trials) == 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoCues(MultiTimescaleMemory):
    """A task of a user's own, in a file whose annotations are no strings."""

    n_cues: int = 2


def test_whole_numbers_of_a_task_of_ones_own_stay_whole():
    assert type(TwoCues().n_cues) is int and type(TwoCues(n_cues=3).n_cues) is int
    with pytest.raises(ValueError, match=r"n_cues: must be an integer >= 1, got 2\.5"):
        TwoCues(n_cues=2.5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [int, "float46", complex])
def test_trials_of_no_floating_dtype_are_refused(name, dtype):
    with pytest.raises(ValueError, match="dtype: must be a floating dtype, got "):
        make_task(name).trials(2, np.random.default_rng(0), dtype=dtype)


def test_undivided_durations_are_all_named():
    with pytest.raises(ValueError) as error:
        make_task("multi_timescale", dt=0.04)
    message = str(error.value)
    for named in ("dt = 0.04", "grace = 0.3", "pulse = 0.1"):
        assert named in message
    for divided in ("fixation", "stimulus", "delay_min", "response =", "slot =", "cue ="):
        assert divided not in message
    with pytest.raises(ValueError, match=r"sample = 0\.15"):
        IntegrateAndRemember(dt=0.1, sample=0.15)


@pytest.mark.parametrize("name", ["pulse", "response", "decision_window"])
def test_a_duration_far_below_dt_is_no_duration(name):
    with pytest.raises(ValueError, match=f"does not divide .*{name} = 1e-12"):
        make_task("multi_timescale", dt=0.1, **{name: 1e-12})


def test_any_dt_that_divides_is_taken():
    for dt in (0.1, 0.1 / 3, 0.1 / 7, 0.001):
        assert make_task("multi_timescale", dt=dt).n_steps == round(5.2 / dt)
    assert make_task("multi_timescale", dt=0.05 * (1 + 1e-12)).n_steps == 104
    with pytest.raises(ValueError, match="must divide"):
        make_task("multi_timescale", dt=0.05 * (1 + 1e-7))


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("multi_timscale", {}, "unknown task 'multi_timscale'; did you mean 'multi_timescale'"),
        ("multi_timescale:delaymax=3", {}, "no parameter 'delaymax'; did you mean 'delay_max'"),
        (None, {}, "unknown task None; Allowed"),
        (["multi_timescale"], {}, "unknown task .*did you mean 'multi_timescale'"),
        ("xyz", {}, "Allowed: multi_timescale, integrate_and_remember"),
        ("multi_timescale", {"pulses": 3}, "no parameter 'pulses'; did you mean 'pulse'"),
        ("multi_timescale", {"dt": 0}, "dt: must be a finite number > 0, got 0"),
        ("multi_timescale", {"dt": -0.1}, "dt: must be a finite number > 0, got -0.1"),
        ("multi_timescale", {"dt": math.nan}, "dt: must be a finite number > 0, got nan"),
        ("multi_timescale", {"dt": "fast"}, "dt: must be a finite number > 0, got 'fast'"),
        ("multi_timescale", {"stimulus": 0}, "stimulus: must be a finite number > 0"),
        ("multi_timescale", {"noise": -1}, "noise: must be a finite number >= 0, got -1"),
        ("multi_timescale", {"delay_min": 3.0}, "delay_min must not exceed delay_max, got 3 > 2"),
        ("multi_timescale", {"grace": 1.0}, "grace must be below response = 1, got 1"),
        ("multi_timescale", {"decision_window": 1.1}, "decision_window must not exceed response"),
        ("multi_timescale", {"n_pulses": 4}, "n_pulses must be odd"),
        ("multi_timescale", {"n_pulses": 11}, "at most the number of slots, 10; got 11"),
        ("multi_timescale", {"n_pulses": 2.5}, "n_pulses: must be an integer >= 1, got 2.5"),
        ("multi_timescale", {"n_pulses": 0}, "n_pulses: must be an integer >= 1, got 0"),
        ("multi_timescale", {"pulse": 0.3}, "pulse must not exceed slot = 0.2, got 0.3"),
        ("multi_timescale", {"cue": 1.2}, "cue must not exceed response = 1, got 1.2"),
        ("multi_timescale", {"slot": 0.15}, "slot must divide stimulus = 2, got 0.15"),
        ("multi_timescale", {"coherences": ()}, r"coherences: must have shape \(n,\)"),
        ("multi_timescale", {"coherences": (0.0, 1.0)}, "coherences: must be a finite number > 0"),
        ("multi_timescale", {"coherences": "high"}, "coherences: must hold numbers"),
        ("integrate_and_remember", {"sample": 2.5}, "sample must not exceed stimulus = 2, got 2.5"),
        ("integrate_and_remember", {"tolerance": 0}, "tolerance: must be a finite number > 0"),
    ],
)
def test_bad_tasks(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_task(name, **options)


def test_tasks_are_frozen_and_read_back_from_plain_values():
    for name in NAMES:
        task = make_task(name, dt=0.1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            task.dt = 0.05
        assert make_task(name, **dataclasses.asdict(task)) == task
    text = "multi_timescale:delay_max=3,delay_min=2"
    assert make_task(text, dt=0.1) == make_task("multi_timescale", dt=0.1, delay_max=3, delay_min=2)
    assert make_task("multi_timescale", coherences=[0.2, 0.4, 0.8]) == MultiTimescaleMemory()


def test_there_may_be_a_pulse_in_every_slot():
    task = make_task("multi_timescale", n_pulses=5, stimulus=1.0, slot=0.2)
    trials = task.trials(8, np.random.default_rng(0))
    assert task.n_slots == 5 and np.isfinite(trials.u).all()


@pytest.mark.parametrize("name", NAMES)
def test_bad_calls(name):
    task = make_task(name)
    rng = np.random.default_rng(0)
    for batch_size in (0, -3, 2.5, "8"):
        with pytest.raises(ValueError, match="batch_size: must be an integer >= 1"):
            task.trials(batch_size, rng)
    with pytest.raises(ValueError, match=r"rng: must be a numpy.random.Generator, got int"):
        task.trials(4, 0)
    trials = task.trials(4, rng)
    with pytest.raises(ValueError, match="y: must have the shape"):
        task.accuracy(trials.target[:-1], trials)
