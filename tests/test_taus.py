"""Time constants: each distribution against scipy.stats, its moments, pairing, specifications."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from tau_rnn import taus
from tau_rnn.taus import (
    Bimodal,
    Constant,
    Fixed,
    Gamma,
    LogNormal,
    Normal,
    Uniform,
    describe,
    parse_tau,
    sample_tau,
    stratified_quantiles,
)

POSTER = ["vanilla", "normal", "uniform", "bimodal"]
FAMILIES = [*POSTER, "lognormal", "gamma"]
VARIANTS = [
    *FAMILIES,
    "constant:0.61",
    "normal:mean=1,sd=0.3",
    "normal:mean=0.4,sd=0.25",
    "normal:mean=1.4,sd=0.5",
    "normal:sd=18",
    "normal:mean=0.5,sd=0.001",
    "normal:mean=1,sd=0.5,low=1e-06",
    "uniform:low=0.5,high=3",
    "bimodal:low=0.2,high=1.8",
    "lognormal:mean=0.5,cv0=1.2,low=0.05,high=4",
    "gamma:mean=2,shape=1.3,low=0.2,high=8",
    "gamma:shape=50",
]


class Wrong(Uniform):
    def ppf(self, q):
        return np.asarray(q) - 0.5


def test_a_distribution_of_ones_own_that_gives_no_tau_is_refused():
    with pytest.raises(ValueError, match=r"tau: uniform\.ppf must give a finite tau > 0 s"):
        sample_tau(Wrong(), 8, np.random.default_rng(0))


@pytest.mark.parametrize("sd", [1e-6, 1e-4, 0.01])
def test_a_narrow_normal_keeps_its_digits(sd):
    dist = Normal(sd=sd, low=0.4, high=4.0)
    assert dist.cv == pytest.approx(sd, rel=1e-9)
    # E[1/tau] = (1 + cv^2 + 3 cv^4 + 15 cv^6 + ...) / mean
    assert dist.mean_rate == pytest.approx(1 + sd**2 + 3 * sd**4, rel=1e-9)


@pytest.mark.parametrize(
    "spec, mean, cv, mean_rate",
    [
        ("vanilla", 1.00, 0.000, 1.00),
        ("normal", 1.00, 0.200, 1.05),
        ("uniform", 1.00, 0.520, 1.64),
        ("bimodal", 1.00, 0.500, 1.33),
        ("lognormal", 1.00, 0.500, 1.25),
        ("gamma", 1.00, 0.574, 1.45),
    ],
)
def test_the_documented_table(spec, mean, cv, mean_rate):
    """The numbers of the module's docstring, which says the same to these digits."""
    s = describe(spec)
    assert (round(s.mean, 2), round(s.cv, 3), round(s.mean_rate, 2)) == (mean, cv, mean_rate)
    row = [line.split() for line in taus.__doc__.splitlines() if line.split()[:1] == [spec]][-1]
    assert row == [spec, f"{mean:.2f}", f"{cv:.3f}", f"{mean_rate:.2f}"]


def scipy_parent(dist):
    """The untruncated parent of a truncated family, from scipy.stats, for a given median."""
    if isinstance(dist, Normal):
        return lambda m: stats.norm(m, dist.sd)
    if isinstance(dist, LogNormal):
        return lambda m: stats.lognorm(math.sqrt(math.log(1 + dist.cv0**2)), scale=m)
    return lambda m: stats.gamma(dist.shape, scale=m / stats.gamma(dist.shape).median())


TRUNCATED = [s for s in VARIANTS if s.split(":")[0] in ("normal", "lognormal", "gamma")]


@pytest.mark.parametrize("spec", TRUNCATED)
def test_truncated_families_are_their_conditioned_parents(spec):
    """For every tau, F(ppf(q)) = q with F the parent of scipy.stats conditioned on the bounds."""
    dist = parse_tau(spec)
    q = np.linspace(0, 1, 1001)
    tau = dist.ppf(q)
    # The parent's median is not part of the interface, but one quantile identifies it: solve for
    # the parent that has the right conditional probability at tau(1/2).
    def conditional(m, at):
        parent = scipy_parent(dist)(m)
        low, high = parent.cdf(dist.low), parent.cdf(dist.high)
        return (parent.cdf(at) - low) / (high - low)

    from scipy.optimize import brentq

    median = brentq(lambda m: conditional(m, tau[500]) - 0.5, dist.low, dist.high, xtol=1e-15)
    # 1e-7 in the near-uniform case (sd ten times the width), where the parent is hardly
    # identified by one quantile; 1e-9 otherwise.
    tolerance = 1e-7 if spec == "normal:sd=18" else 1e-9
    np.testing.assert_allclose(conditional(median, tau), q, rtol=0, atol=tolerance)
    assert dist.low <= tau[0] and tau[-1] <= dist.high


def test_normal_is_scipys_truncnorm():
    dist = stats.truncnorm((0.1 - 1) / 0.2, (1.9 - 1) / 0.2, loc=1, scale=0.2)
    q = np.linspace(0, 1, 2001)
    np.testing.assert_allclose(Normal().ppf(q), dist.ppf(q), rtol=1e-12)
    assert Normal().cv == pytest.approx(dist.std(), rel=1e-12)


def test_normal_is_never_clipped():
    """A clipped sample would pile up at its bounds; a wide truncated one has distinct values."""
    tau = sample_tau("normal:sd=1.5", 1000, np.random.default_rng(0))
    assert np.unique(tau).size == 1000
    assert 0.1 < tau.min() and tau.max() < 1.9


@pytest.mark.parametrize("spec", VARIANTS)
def test_moments_by_numerical_integration(spec):
    """E[tau^k] = int_0^1 ppf(q)^k dq."""
    dist = parse_tau(spec)

    def moment(k):
        # The integrand may rise steeply at either end: q = sin^2 makes both ends smooth.
        def integrand(a):
            return float(dist.ppf(math.sin(a) ** 2)) ** k * math.sin(2 * a)

        breaks = [math.pi / 4, *(math.asin(math.sqrt(p)) for p in (1e-9, 1e-6, 1e-3, 1 - 1e-3))]
        value, _ = integrate.quad(
            integrand, 0, math.pi / 2, points=sorted(breaks), epsabs=0, epsrel=1e-11, limit=500
        )
        return value

    mean, square, rate = moment(1), moment(2), moment(-1)
    assert dist.mean == pytest.approx(mean, rel=1e-9)
    # The variance is a difference of two integrals with errors of about 1e-11 of the square.
    assert (dist.cv * dist.mean) ** 2 == pytest.approx(square - mean**2, rel=1e-7, abs=1e-10)
    assert dist.mean_rate == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize("spec", VARIANTS)
def test_moments_of_a_large_sample(spec):
    dist = parse_tau(spec)
    n = 200_000
    tau = sample_tau(dist, n, np.random.default_rng(1))
    low, high = dist.support
    assert tau.shape == (n,) and tau.dtype == np.float64
    assert low * (1 - 1e-12) <= tau.min() and tau.max() <= high * (1 + 1e-12)
    # Within each of the n strata a monotone function of q varies in all by its range, so the
    # error of a stratified mean is at most range / n.
    for k, exact in (
        (1, dist.mean),
        (-1, dist.mean_rate),
        (2, (1 + dist.cv**2) * dist.mean**2),
    ):
        bound = abs(high**k - low**k) / n
        assert abs((tau**k).mean() - exact) <= bound + 1e-12


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 300))
def test_quantiles_are_one_per_stratum(seed, n):
    q = stratified_quantiles(n, np.random.default_rng(seed))
    assert q.shape == (n,)
    np.testing.assert_array_equal(np.sort((q * n).astype(int)), np.arange(n))


def test_each_quantile_alone_is_uniform():
    q = np.array([stratified_quantiles(3, np.random.default_rng(s))[1] for s in range(4000)])
    assert stats.kstest(q, "uniform").pvalue > 0.001


def test_a_stratum_that_rounds_up_stays_in_its_half():
    """With u just below 1, stratum + u rounds to the next integer: n/2 - 1 + u to n/2."""

    class LargestUniforms(np.random.Generator):
        def random(self, size):
            return np.full(size, np.nextafter(1.0, 0.0))

    tau = sample_tau("bimodal", 200, LargestUniforms(np.random.PCG64(0)))
    assert (tau == 0.5).sum() == 100


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60))
def test_bimodal_halves(seed, n):
    tau = sample_tau("bimodal", n, np.random.default_rng(seed))
    fast = int((tau == 0.5).sum())
    assert fast + int((tau == 1.5).sum()) == n
    assert fast in ({n // 2} if n % 2 == 0 else {n // 2, n // 2 + 1})


def test_bimodal_of_odd_size_leaves_the_odd_unit_to_the_rng():
    fast = [(sample_tau("bimodal", 5, np.random.default_rng(s)) == 0.5).sum() for s in range(400)]
    # Binomial(400, 1/2): 4 sd = 40.
    assert set(fast) == {2, 3} and abs(fast.count(2) - 200) < 40


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 50))
def test_distributions_are_paired_unit_by_unit(seed, n):
    """The same rng gives unit i the same quantile everywhere and is left in the same state."""
    q = stratified_quantiles(n, np.random.default_rng(seed))
    states = []
    for dist in [*FAMILIES, "constant:0.61", np.linspace(0.5, 1.5, n)]:
        rng = np.random.default_rng(seed)
        tau = sample_tau(dist, n, rng)
        states.append(rng.bit_generator.state)
        if not isinstance(dist, np.ndarray):
            np.testing.assert_array_equal(tau, parse_tau(dist).ppf(q))
    assert all(state == states[0] for state in states)


def test_quantile_functions_increase():
    q = np.sort(np.random.default_rng(0).random(500))
    for spec in FAMILIES:
        assert (np.diff(parse_tau(spec).ppf(q)) >= 0).all(), spec


@pytest.mark.parametrize("spec", [*VARIANTS, "values:0.5,0.1,1e-3", "values:0.30000000000000004"])
def test_text_form_reads_back(spec):
    dist = parse_tau(spec)
    assert parse_tau(str(dist)) == dist
    assert str(parse_tau(str(dist))) == str(dist)


def test_text_form_is_the_shortest():
    assert [str(parse_tau(spec)) for spec in FAMILIES] == FAMILIES
    assert str(parse_tau("normal:mean=1, sd=0.3")) == "normal:sd=0.3"
    assert str(parse_tau(" Normal ")) == "normal"
    assert str(parse_tau("constant:1")) == str(parse_tau("constant:value=1")) == "vanilla"
    assert str(LogNormal(mean=0.1 + 0.2)) == "lognormal:mean=0.30000000000000004"


def test_objects_are_taken_as_they_are():
    for dist in (Constant(0.61), Normal(sd=0.3), Uniform(), Bimodal(), LogNormal(), Gamma(shape=2)):
        assert parse_tau(dist) is dist
        assert parse_tau(str(dist)) == dist
    assert parse_tau("vanilla") == Constant() and parse_tau("gamma:shape=2") == Gamma(shape=2)


def test_given_values_keep_their_order(tmp_path):
    values = np.array([1.5, 0.2, 0.7])
    rng = np.random.default_rng
    np.testing.assert_array_equal(sample_tau(values, 3, rng(0)), values)
    np.testing.assert_array_equal(sample_tau([1, 2, 3], 3, rng(0)), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(sample_tau(str(parse_tau(values)), 3, rng(0)), values)
    np.save(tmp_path / "t.npy", values)
    (tmp_path / "t.txt").write_text("1.5\n0.2, 0.7\n")
    for name in ("t.npy", "t.txt"):
        spec = f"file:{tmp_path / name}"
        np.testing.assert_array_equal(sample_tau(spec, 3, rng(0)), values)
        assert str(parse_tau(spec)) == spec
    s = describe(values)
    assert s.mean == pytest.approx(0.8)
    assert s.cv == pytest.approx(np.std(values) / 0.8)
    assert s.mean_rate == pytest.approx((1 / 1.5 + 1 / 0.2 + 1 / 0.7) / 3)
    assert (s.low, s.high) == (0.2, 1.5)


def test_a_sample_is_the_callers_own():
    dist = Fixed([0.5, 1.0])
    sample_tau(dist, 2, np.random.default_rng(0))[0] = 9
    assert dist.values == (0.5, 1.0)


@pytest.mark.parametrize(
    "spec, message",
    [
        ("nromal", "did you mean 'normal'"),
        ("bimodel:low=1", "did you mean 'bimodal'"),
        ("", "unknown distribution"),
        ("normal:", "nothing follows the colon"),
        ("normal:sdd=0.3", "no parameter 'sdd'; did you mean 'sd'"),
        ("normal:0.3", "expected parameter=number"),
        ("normal:sd=x", "'x' is not a number"),
        ("normal:sd=0.1,sd=0.2", "sd is given twice"),
        ("normal:sd=-1", "sd must be a finite number > 0, got -1"),
        ("normal:sd=nan", "sd must be a finite number > 0, got nan"),
        ("normal:sd=19", "sd must be at most 18 s"),
        ("normal:sd=1e-7", "sd must be at least a millionth of the mean, 1e-06 s"),
        ("lognormal:cv0=1e200", "cv0 must be at most 1e6"),
        ("normal:mean=0.05", "mean must lie in"),
        ("normal:mean=0.15", "mean must lie in"),
        ("normal:mean=1.95", "mean must lie in"),
        ("normal:low=2", "low must be below high"),
        ("uniform:low=2,high=1", "low must be below high, got low=2, high=1"),
        ("uniform:low=1,high=1", "low must be below high"),
        ("uniform:low=0", "low must be a finite number > 0"),
        ("bimodal:high=0.5", "low must be below high"),
        ("lognormal:cv0=0", "cv0 must be a finite number > 0"),
        ("gamma:shape=1", "shape must be > 1, got 1"),
        ("gamma:mean=11", "mean must lie in"),
        ("constant:0", "value must be a finite number > 0, got 0"),
        ("constant:inf", "value must be a finite number > 0, got inf"),
        ("constant:abc", "'abc' is not a number"),
        ("vanilla:2", "vanilla has no parameters"),
        ("values:1,-2,0", "must be finite and > 0 s, got -2 for unit 1 and 1 more"),
        ("values:1,,2", "'' is not a number"),
        ("file:", "nothing follows the colon"),
        ("file: ", "nothing follows the colon"),
        ([1.0, math.nan], "must be finite and > 0 s, got nan for unit 1"),
        ([1.0, math.inf], "must be finite and > 0 s, got inf for unit 1"),
        (np.ones((2, 2)), r"must have the shape \(n_units,\), got \(2, 2\)"),
        ([[1.0], [1.0, 2.0]], "must be real numbers"),
        (["a", "b"], "must be real numbers"),
        ([1j, 2j], "must be real numbers"),
        ([], r"must have the shape \(n_units,\), got \(0,\)"),
        (0.61, "one tau for all units is 'constant:0.61'"),
        (None, "must be a name, a TauDistribution or an array"),
    ],
)
def test_bad_specifications(spec, message):
    with pytest.raises(ValueError, match=message):
        parse_tau(spec)


def test_bad_files(tmp_path):
    (tmp_path / "words.txt").write_text("0.5 fast")
    (tmp_path / "none.txt").write_text("")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "object.npy", np.array([None]), allow_pickle=True)
    np.save(tmp_path / "negative.npy", np.array([1.0, -1.0]))
    for name, message in (
        ("absent.npy", "cannot read"),
        ("absent.txt", "cannot read"),
        ("words.txt", "cannot read.*fast"),
        ("none.txt", "must have the shape"),
        ("cut.npy", "cannot read"),
        ("empty.npy", "cannot read"),
        ("object.npy", "cannot read"),
        ("negative.npy", "negative.npy: must be finite and > 0 s, got -1 for unit 1"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_tau(f"file:{tmp_path / name}")


@pytest.mark.parametrize("n_units", [0, -1, 2.5, "3", None])
def test_bad_n_units(n_units):
    with pytest.raises(ValueError, match="n_units: must be an integer >= 1"):
        sample_tau("normal", n_units, np.random.default_rng(0))


def test_bad_length_and_rng():
    with pytest.raises(ValueError, match="has 2 values, but the network has 3 units"):
        sample_tau([1.0, 2.0], 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"rng: must be a numpy.random.Generator, got int"):
        sample_tau("normal", 3, 0)
    with pytest.raises(ValueError, match="sd must be a finite number > 0"):
        Normal(sd="0.2")
    with pytest.raises(ValueError, match="value must be a finite number > 0"):
        Constant(True)
