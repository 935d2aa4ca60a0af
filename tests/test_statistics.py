"""Paired statistics against hand-computed values, scipy.stats, and simulated truth."""

import itertools
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tau_rnn.experiment.claims import (
    CLAIMS,
    GAIN,
    LEAK,
    MEASURE,
    RATE,
    Control,
    Finding,
    verdict,
    word,
    word_for,
)
from tau_rnn.experiment.effects import size
from tau_rnn.experiment.report import _verdict_table, brief, claims_in_brief, claims_table, reading
from tau_rnn.experiment.statistics import (
    Effect,
    at_matched_loss,
    censored_ln_ratio,
    change_at_loss,
    holm,
    ln_ratio,
    mean_band,
    median,
    median_interval,
    paired_t,
    signed_rank,
    steps_effect,
)

SEEDS = st.integers(0, 2**32 - 1)


# --- the t interval ------------------------------------------------------------------------------


def test_paired_t_by_hand():
    # d = 1, 2, 3, 4, 5: mean 3, sd sqrt(2.5), standard error sqrt(0.5), t = 3 sqrt(2),
    # t_{0.975, 4} = 2.7764 from a printed table.
    effect = paired_t([1, 2, 3, 4, 5])
    assert effect.estimate == 3
    half = 2.7764 * math.sqrt(0.5)
    # The printed table has five digits.
    assert effect.low == pytest.approx(3 - half, abs=1e-4)
    assert effect.high == pytest.approx(3 + half, abs=1e-4)
    assert (effect.n, effect.missing) == (5, 0)


@given(SEEDS, st.integers(2, 30))
def test_paired_t_is_scipys(seed, n):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0.3, 1, n), rng.normal(0, 2, n)
    effect, oracle = paired_t(a - b), stats.ttest_rel(a, b)
    assert effect.p == pytest.approx(oracle.pvalue, rel=1e-9)
    interval = oracle.confidence_interval(0.95)
    np.testing.assert_allclose([effect.low, effect.high], [interval.low, interval.high], rtol=1e-9)


def test_paired_t_counts_what_is_missing():
    effect = paired_t([0.5, None, math.nan, 1.5, math.inf])
    assert (effect.estimate, effect.n, effect.missing) == (1.0, 2, 3)
    alone, none = paired_t([0.25, None]), paired_t([])
    assert (alone.estimate, alone.n, alone.missing) == (0.25, 1, 1)
    assert all(math.isnan(v) for v in (alone.low, alone.high, alone.p, none.estimate, none.p))


@pytest.mark.parametrize("value, p", [(0.0, 1.0), (0.125, 0.0)])
def test_paired_t_without_spread(value, p):
    assert paired_t([value] * 6) == Effect(value, value, value, p, 6)


def test_the_t_interval_covers_and_the_test_keeps_its_level():
    rng, truth, n = np.random.default_rng(1), 0.3, 12
    effects = [paired_t(rng.normal(truth, 0.7, n)) for _ in range(1500)]
    covered = sum(e.low <= truth <= e.high for e in effects)
    null = [paired_t(rng.normal(0, 0.7, n)).p for _ in range(1500)]
    # The exact probability is 0.95 (0.05): the count is binomial, and within 4 of its sd.
    sd = math.sqrt(1500 * 0.05 * 0.95)
    assert abs(covered - 1500 * 0.95) < 4 * sd
    assert abs(sum(p < 0.05 for p in null) - 1500 * 0.05) < 4 * sd


def test_mean_band():
    mean, low, high = mean_band([[1.0, 5.0], [3.0, 5.0]])
    np.testing.assert_array_equal(mean, [2, 5])
    half = stats.t.ppf(0.975, 1)  # standard error of 1, 3 is 1
    np.testing.assert_allclose(low, [2 - half, 5])
    np.testing.assert_allclose(high, [2 + half, 5])


def test_ln_ratio():
    assert ln_ratio(2.0, 1.0) == pytest.approx(math.log(2), rel=1e-15)
    assert all(math.isnan(ln_ratio(a, b)) for a, b in [(None, 1), (1, None), (0, 1), (1, -1)])


# --- steps to criterion, censored ----------------------------------------------------------------


def test_censored_ln_ratio():
    assert censored_ln_ratio(100, 200) == pytest.approx(-math.log(2), rel=1e-15)
    assert censored_ln_ratio(None, 200) == math.inf
    assert censored_ln_ratio(200, None) == -math.inf
    assert censored_ln_ratio(None, None) == 0
    # A network that is there before training.
    assert (censored_ln_ratio(0, 20), censored_ln_ratio(None, 0)) == (-math.inf, math.inf)
    assert censored_ln_ratio(0, 0) == 0


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 20))
def test_censored_ln_ratio_is_odd_and_knows_equal_ratios(a, b, k):
    # To the last bit: 20 against 140 steps ties with 140 against 20 in the ranks.
    assert censored_ln_ratio(a, b) == -censored_ln_ratio(b, a)
    assert censored_ln_ratio(k * a, k * b) == censored_ln_ratio(a, b)


@given(st.lists(st.tuples(*2 * [st.sampled_from([20, 40, 60, 140, 280, None])]), min_size=1,
                max_size=9))  # fmt: skip
def test_steps_effect_is_the_permutation_test_on_exact_ranks(pairs):
    def rank_of(a, b):  # a whole number in the order of |ln(a / b)|, with its sign
        if a is None or b is None or a == b:
            return 10**9 * ((a is None) - (b is None))
        return int(1000 * Fraction(max(a, b), min(a, b))) * (1 if a > b else -1)

    assert steps_effect(*zip(*pairs)).p == pytest.approx(
        brute_force([rank_of(*pair) for pair in pairs]), rel=1e-12
    )


def brute_force(d):
    """Two-sided p of the signed-rank sum, over all 2^n signs; zeros are ranked, then left out."""
    d = np.asarray(d, float)
    ranks = stats.rankdata(np.abs(d))
    ranks, signs = ranks[d != 0], np.sign(d[d != 0])
    observed = abs((ranks * signs).sum())
    sums = [abs(np.dot(ranks, s)) for s in itertools.product((-1, 1), repeat=ranks.size)]
    return np.mean([s >= observed - 1e-9 for s in sums])  # sums of half ranks, up to rounding


@given(st.lists(st.sampled_from([-math.inf, -2, -1, -0.5, 0, 0.5, 1, 2, math.inf]), min_size=1,
                max_size=9))  # fmt: skip
def test_signed_rank_is_the_permutation_test(d):
    assert signed_rank(np.array(d)) == pytest.approx(brute_force(d), rel=1e-12)


@given(SEEDS, st.integers(4, 25))
def test_signed_rank_is_wilcoxons_without_ties(seed, n):
    d = np.random.default_rng(seed).normal(0.2, 1, n)
    assert signed_rank(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-9)


def test_signed_rank_of_nothing():
    assert math.isnan(signed_rank(np.array([])))
    assert signed_rank(np.zeros(5)) == 1


def test_signed_rank_keeps_its_level_where_runs_are_censored():
    rng, n, limit = np.random.default_rng(2), 15, 400
    rejected, runs = 0, 1200
    for _ in range(runs):
        # Both members of a pair from one law, rounded to evaluations every 20 steps, and about 30 %
        # of them later than the last step.
        steps = np.ceil(rng.lognormal(5.6, 0.5, (n, 2)) / 20) * 20
        pairs = [[None if s > limit else s for s in pair] for pair in steps]
        rejected += steps_effect(*zip(*pairs)).p < 0.05
    # A discrete test is conservative: at most the level, and within 4 sd of the binomial count.
    assert rejected < runs * 0.05 + 4 * math.sqrt(runs * 0.05 * 0.95)
    assert rejected > runs * 0.02


def test_censored_runs_are_not_dropped():
    # Where both reached it, the condition is faster; but it failed in the seven other pairs.
    steps = [100] * 3 + [None] * 7
    reference = [120] * 3 + [300] * 7
    effect = steps_effect(steps, reference)
    assert effect.estimate == math.inf
    assert (effect.n, effect.never, effect.never_reference) == (10, 7, 0)
    swapped = steps_effect(reference, steps)
    assert (swapped.estimate, swapped.never_reference) == (-math.inf, 7)
    assert swapped.p == effect.p < 0.1


def test_steps_effect_by_hand():
    effect = steps_effect([100, 200, 400], [200, 200, 200])
    assert effect.estimate == 0  # ln ratios -ln 2, 0, ln 2
    assert effect.p == 1
    assert (effect.low, effect.high) == (-math.inf, math.inf)  # three pairs bound no median


@given(SEEDS, st.integers(1, 9))
def test_median_of_finite_values_is_that_of_numpy(seed, n):
    d = np.random.default_rng(seed).standard_normal(n)
    assert abs(median(d) - np.median(d)) <= 1e-15


@pytest.mark.parametrize("n, k", [(6, 1), (8, 1), (9, 2), (10, 2), (15, 4), (20, 6)])
def test_median_interval_is_that_of_the_tables(n, k):
    # Order statistics k and n + 1 - k of the sign test's 95 % interval, as tables of it give them.
    assert median_interval(np.arange(1.0, n + 1)) == (k, n + 1 - k)


def test_median_interval_covers():
    rng, n, runs = np.random.default_rng(3), 20, 1500
    covered = 0
    for _ in range(runs):
        low, high = median_interval(rng.exponential(1, n))
        covered += low <= math.log(2) <= high
    exact = 1 - 2 * stats.binom.cdf(5, n, 0.5)
    assert exact >= 0.95
    # Within 4 sd of the binomial count.
    assert abs(covered - runs * exact) < 4 * math.sqrt(runs * exact * (1 - exact))


# --- matched loss --------------------------------------------------------------------------------


def history(losses, changes):
    return [{"step": 20 * k, "loss": x, "weight_change": w}
            for k, (x, w) in enumerate(zip(losses, changes))]  # fmt: skip


def test_matched_loss_by_hand():
    fast = history([1.0, 0.5, 0.1], [0.0, 0.4, 0.6])
    slow = history([1.0, 0.8, 0.3, 0.35], [0.0, 0.2, 0.5, 0.7])
    a, b, level = at_matched_loss(fast, slow)
    assert level == 0.3  # the slow one's lowest
    assert a == pytest.approx(0.4 + 0.2 * (0.5 - 0.3) / (0.5 - 0.1), rel=1e-14)
    assert b == 0.5
    assert at_matched_loss(slow, fast) == (b, a, level)


def test_matched_loss_at_the_start_and_out_of_reach():
    rows = history([0.4, 0.6, 0.2], [0.0, 0.3, 0.5])
    assert change_at_loss(0.5, rows) == 0
    assert math.isnan(change_at_loss(0.1, rows))
    # A rise before the crossing: interpolated from the evaluation just before it.
    assert change_at_loss(0.3, rows) == pytest.approx(0.45, rel=1e-14)


def test_matched_loss_undoes_a_difference_of_speed():
    # Two runs on one curve of change against loss, one twice as fast: the same at matched loss.
    def run(speed):
        t = speed * np.arange(0, 21) / 20
        return history(1 - 0.4 * t, 0.8 * t)

    a, b, _ = at_matched_loss(run(2.0), run(1.0))
    assert a == pytest.approx(b, rel=1e-12)


# --- Holm ----------------------------------------------------------------------------------------


def test_holm_by_hand():
    # Holm (1979): 0.01 * 4, then max(0.04, 0.02 * 3), ... in the order of p.
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])


def test_holm_keeps_missing_tests_in_the_family():
    adjusted = holm([0.01, math.nan, 0.02])
    assert adjusted[0] == pytest.approx(0.03)
    assert math.isnan(adjusted[1])
    assert adjusted[2] == pytest.approx(0.04)


@given(SEEDS, st.integers(1, 12))
def test_holm_is_the_sequential_procedure(seed, n):
    p = np.random.default_rng(seed).random(n) ** 3
    for level in (0.05, 0.2):
        rejected = np.zeros(n, bool)
        for k, i in enumerate(np.argsort(p)):
            if p[i] > level / (n - k):
                break
            rejected[i] = True
        np.testing.assert_array_equal(holm(p) <= level, rejected)


def test_holm_bounds_the_family_wise_error():
    rng, runs = np.random.default_rng(4), 2000
    any_rejected = sum(holm(rng.random(28)).min() < 0.05 for _ in range(runs))
    # P = 1 - (1 - 0.05/28)^28 = 0.0488 for independent tests; within 4 sd of the binomial count.
    assert abs(any_rejected - 0.0488 * runs) < 4 * math.sqrt(runs * 0.05 * 0.95)


# --- verdicts ------------------------------------------------------------------------------------

DOWN, UP, NULL = Effect(-1, -2, -0.5, 0, 9), Effect(1, 0.5, 2, 0, 9), Effect(0, -1, 1, 0.9, 9)


def control(explains, survives):
    return Control("a control", explains, NULL, survives)


@pytest.mark.parametrize(
    "effect, p, controls, expected",
    [
        (DOWN, math.nan, [], "too few pairs"),
        (DOWN, 0.05, [], "not shown"),
        (UP, 0.01, [control(LEAK, True)], "the opposite"),
        (DOWN, 0.01, [], "shown, controls not run"),
        (DOWN, 0.01, [control(LEAK, True), control(LEAK, True), control(RATE, True)], "shown"),
        (DOWN, 0.01, [control(LEAK, False), control(LEAK, False), control(RATE, True)],
         f"not shown once {LEAK} is held"),
        (DOWN, 0.01, [control(LEAK, True), control(LEAK, True), control(RATE, False)],
         f"not shown once {RATE} is held"),
        (DOWN, 0.01, [control(LEAK, False), control(LEAK, False), control(RATE, False)],
         f"not shown once {LEAK} or {RATE} is held"),
        (DOWN, 0.01, [control(LEAK, True), control(LEAK, False), control(RATE, True)],
         f"shown in part: the controls of {LEAK} disagree"),
        (DOWN, 0.01, [control(GAIN, False), control(MEASURE, True)], "not shown with a control"),
        (DOWN, 0.01, [control(GAIN, True), control(MEASURE, False), control(MEASURE, True)],
         "not shown with a control"),
        (DOWN, 0.01, [control(GAIN, True), control(MEASURE, True)], "shown"),
    ],
)  # fmt: skip
def test_verdict(effect, p, controls, expected):
    assert verdict(-1, effect, p, controls) == expected
    assert word(expected) in ("shown", "uncontrolled", "open", "opposite", "unknown", "confounded",
                              "partly", "conditional")  # fmt: skip


def test_the_family_is_that_of_the_protocol():
    counts = [len(c.metrics) * len(c.dists) * 2 for c in CLAIMS]
    assert counts == [6, 6, 8, 8]


def finding(number, metric, task, said, estimate=-0.1):
    claim = CLAIMS[number - 1]
    effect = Effect(estimate, estimate - 0.1, estimate + 0.05, 0.01, 20)
    return Finding(claim, metric, "uniform", task, effect, 0.01, (control(LEAK, True),), said)


def test_the_reading_says_what_depends_on_what():
    a, b = "multi_timescale", "integrate_and_remember"
    text = reading([
        finding(1, "log_mean_loss", a, "shown"),
        finding(1, "log_mean_loss", b, "not shown"),
        finding(3, "weight_change", a, "not shown"),
        finding(3, "weight_change", b, "not shown"),
        finding(3, "weight_change_at_matched_loss", a, "shown"),
        finding(3, "weight_change_at_matched_loss", b, "shown"),
    ])  # fmt: skip
    assert "- uniform: **depends on the task: multi_timescale: shown; " in text
    assert "- uniform, by the change of W, same loss: **shown**" in text
    assert "- uniform, all in all: **depends on the measure**" in text
    # exp(-0.1) - 1 and so on: -9.5 %, -18.1 %, -4.9 %.
    assert "mean loss over training against vanilla: -9.5 % (-18.1 to -4.9)" in text


def test_a_claim_in_brief_is_one_word_and_one_sentence():
    a, b = "multi_timescale", "integrate_and_remember"
    tests = [
        finding(1, "log_mean_loss", a, "shown"),
        finding(3, "weight_change", a, "not shown"),
        finding(3, "weight_change_at_matched_loss", a, "shown"),
        finding(1, "log_mean_loss", b, "not shown", estimate=-0.02),
    ]
    said = claims_in_brief(tests)
    assert [(c.number, task, word) for c, task, word, _ in said] == [
        (1, a, "shown"), (1, b, "open"), (3, a, "mixed"),
    ]  # fmt: skip
    assert said[0][3] == "Uniform -9.5 % (-18.1 to -4.9): shown."
    assert said[2][3] == (
        "Uniform, last step -9.5 % (-18.1 to -4.9): not shown; same loss -9.5 % (-18.1 to -4.9): "
        "shown."
    )
    more = [tests[0]._replace(dist=d, verdict=v) for d, v in (
        ("vanilla", "not shown"), ("bimodal", "shown"), ("normal", "not shown"))]  # fmt: skip
    sizes = "Vanilla -9.5 % (-18.1 to -4.9): not shown"
    assert brief([tests[0], *more]) == f"{sizes}; normal likewise; uniform and bimodal: shown."
    said = ("shown", "not shown")
    both = [t._replace(dist="bimodal", verdict=v) for t, v in zip(tests[1:3], said)]
    assert brief([*tests[1:3], *both]).endswith("; bimodal: last step, shown; same loss, open.")
    assert word_for(tests[:1]) == "shown" and word_for(tests[:2]) == "mixed"


def test_a_task_of_a_file_has_its_name_in_the_tables_of_claims():
    tests = [finding(1, "log_mean_loss", "my_task.py:MyTask:delay=3#ad7ca1aa5a3d", "shown"),
             finding(1, "log_mean_loss", "multi_timescale", "not shown")]  # fmt: skip
    for text in (claims_table(tests), reading(tests), _verdict_table(tests)):
        assert "MyTask:delay=3" in text and "#ad7" not in text and "my_task.py" not in text


def test_sizes_in_words():
    effect = Effect(0.0123, -0.004, 0.02, 0.2, 20)
    assert size("accuracy_last5", effect) == "+1.2 percentage points (-0.4 to +2.0)"
    assert size("tau_eff_spread", effect) == "+0.012 in sd of ln tau_eff (-0.004 to +0.020)"


def test_a_median_between_minus_and_plus_infinity_is_not_told_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        effect = steps_effect([None, 60], [60, None])
    assert np.isnan(effect.estimate) and effect.n == 2
    assert median(np.array([np.inf, np.inf, -np.inf, np.inf])) == np.inf
