"""Time constants: each distribution against scipy.stats, its moments, pairing, specifications."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from tau_rnn.cli.options import build_parser
from tau_rnn.taus import (
    DISTRIBUTIONS,
    Fixed,
    parse_tau,
    sample_tau,
    stratified_quantiles,
    truncate,
)

POSTER = ["vanilla", "normal", "uniform", "bimodal"]
FAMILIES = [*POSTER, "lognormal", "gamma"]
#: What is truncated, by text: the parent of scipy.stats and the bounds.
TRUNCATED = {
    "normal": (stats.norm(1, 0.2), 0.1, 1.9),
    "normal:mean=1,sd=0.3": (stats.norm(1, 0.3), 0.1, 1.9),
    "normal:mean=0.05": (stats.norm(0.05, 0.2), 0.1, 1.9),
    "normal:mean=1.4,sd=0.5": (stats.norm(1.4, 0.5), 0.1, 1.9),
    "normal:sd=1000": (stats.norm(1, 1000), 0.1, 1.9),
    "normal:mean=0.5,sd=0.001": (stats.norm(0.5, 0.001), 0.1, 1.9),
    "normal:mean=1,sd=0.5,low=1e-06": (stats.norm(1, 0.5), 1e-6, 1.9),
    "normal:low=1.8,high=3": (stats.norm(1, 0.2), 1.8, 3),
    "uniform": (stats.uniform(0.1, 1.8), 0.1, 1.9),
    "uniform:low=0.5,high=3": (stats.uniform(0.5, 2.5), 0.5, 3),
    "lognormal": (stats.lognorm(math.sqrt(math.log(1.25)), scale=1 / math.sqrt(1.25)), 0.1, 10),
    "lognormal:mean=0.5,cv0=2,low=0.05,high=4": (
        stats.lognorm(math.sqrt(math.log(5)), scale=0.5 / math.sqrt(5)), 0.05, 4,
    ),
    "gamma": (stats.gamma(3, scale=1 / 3), 0.1, 10),
    "gamma:mean=2,shape=0.7,low=0.2,high=8": (stats.gamma(0.7, scale=2 / 0.7), 0.2, 8),
    "gamma:shape=50": (stats.gamma(50, scale=0.02), 0.1, 10),
    "scipy:weibull_min:c=2,low=0.1,high=5": (stats.weibull_min(2), 0.1, 5),
}  # fmt: skip
VARIANTS = [*TRUNCATED, "vanilla", "bimodal", "constant:0.61", "bimodal:low=0.2,high=1.8"]
#: Frozen distributions of scipy.stats that give tau > 0 only, with their texts.
FROZEN = {
    "scipy:gamma:a=3,scale=0.33": stats.gamma(3, scale=0.33),
    "scipy:lognorm:s=0.5": stats.lognorm(s=0.5),
    "scipy:invgamma:a=4": stats.invgamma(4),
    "scipy:beta:a=2,b=3,loc=0.1,scale=2": stats.beta(2, 3, 0.1, 2),
    "scipy:truncnorm:a=-2,b=2,loc=1,scale=0.4": stats.truncnorm(-2, 2, 1, scale=0.4),
    "scipy:loguniform:a=0.05,b=5": stats.loguniform(0.05, 5),
    "scipy:expon": stats.expon,
}


@pytest.mark.parametrize("sd", [1e-5, 1e-4, 0.01])
def test_a_narrow_normal_keeps_its_digits(sd):
    dist = parse_tau(f"normal:sd={sd},low=0.4,high=4")
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
        ("gamma", 1.003, 0.574, 1.45),
    ],
)
def test_what_the_named_distributions_are(spec, mean, cv, mean_rate):
    dist = parse_tau(spec)
    assert (round(dist.mean, 3), round(dist.cv, 3), round(dist.mean_rate, 2)) == (
        mean, cv, mean_rate,
    )  # fmt: skip
    low, high = dist.support
    assert str(dist) == (
        f"{spec}: mean {dist.mean:.3f} s, CV {dist.cv:.3f}, E[1/tau] {dist.mean_rate:.3f} per s, "
        f"within [{low:g}, {high:g}] s"
    )


@pytest.mark.parametrize("spec", TRUNCATED)
def test_truncated_families_are_their_conditioned_parents(spec):
    """For every tau, (F(tau) - F(low)) / (F(high) - F(low)) = q with F of scipy.stats."""
    parent, low, high = TRUNCATED[spec]
    q = np.linspace(0, 1, 1001)
    tau = parse_tau(spec).ppf(q)
    below, above = parent.cdf([low, high])
    # F is rounded to 1e-16, and the least share of a parent here is that of normal:low=1.8, 3e-5.
    np.testing.assert_allclose((parent.cdf(tau) - below) / (above - below), q, rtol=0, atol=1e-10)
    assert low <= tau[0] and tau[-1] <= high


@pytest.mark.parametrize("spec", TRUNCATED)
def test_moments_of_the_conditioned_parents(spec):
    """Against integrals over tau of the parent's density, split where it has its mass."""
    parent, low, high = TRUNCATED[spec]
    dist = parse_tau(spec)
    cuts = dist.ppf([0, 1e-12, 1e-6, 0.01, 0.5, 0.99, 1 - 1e-6, 1])

    def integral(g):
        parts = [
            integrate.quad(lambda tau: g(tau) * parent.pdf(tau), a, b, epsabs=0, epsrel=1e-11)[0]
            for a, b in itertools.pairwise(cuts)
        ]
        return sum(parts)

    share = integral(lambda tau: 1)
    mean = integral(lambda tau: tau) / share
    assert dist.mean == pytest.approx(mean, rel=1e-9)
    variance = integral(lambda tau: (tau - mean) ** 2) / share
    assert (dist.cv * dist.mean) ** 2 == pytest.approx(variance, rel=1e-7)
    assert dist.mean_rate == pytest.approx(integral(lambda tau: 1 / tau) / share, rel=1e-8)


@pytest.mark.parametrize("spec", FROZEN)
def test_any_frozen_distribution_of_scipy(spec):
    frozen, n = FROZEN[spec], 500
    dist = parse_tau(frozen)
    assert dist.text == spec == parse_tau(spec).text
    tau = sample_tau(frozen, n, np.random.default_rng(3))
    np.testing.assert_array_equal(np.sort((frozen.cdf(tau) * n).astype(int)), np.arange(n))
    np.testing.assert_array_equal(tau, sample_tau(spec, n, np.random.default_rng(3)))
    assert dist.mean == pytest.approx(frozen.mean()) and dist.support == frozen.support()
    assert dist.cv == pytest.approx(frozen.std() / frozen.mean())
    if spec != "scipy:expon":
        assert dist.mean_rate == pytest.approx(frozen.expect(lambda tau: 1 / tau), rel=1e-7)


@pytest.mark.parametrize(
    "frozen, rate",
    [(stats.expon(), math.inf), (stats.gamma(0.8), math.inf), (stats.halfnorm(), math.inf),
     (stats.uniform(0, 2), math.inf), (stats.gamma(1.05), 20.0), (stats.gamma(3), 0.5),
     (stats.lognorm(1), math.exp(0.5)), (stats.weibull_min(2), math.sqrt(math.pi))],
)  # fmt: skip
def test_a_mean_rate_that_is_infinite_is_said_to_be(frozen, rate):
    assert parse_tau(frozen).mean_rate == pytest.approx(rate, rel=1e-6)


def test_heavy_tails_have_infinite_moments():
    assert parse_tau(stats.pareto(0.8)).mean == math.inf
    assert parse_tau(stats.pareto(1.5)).cv == parse_tau(stats.pareto(0.8)).cv == math.inf
    assert parse_tau(stats.pareto(1.5)).mean == pytest.approx(3)


def test_truncate():
    dist = truncate(stats.norm(1, 0.5), 0.2, 3)
    assert dist.text == "scipy:norm:loc=1,scale=0.5,low=0.2,high=3"
    q = np.linspace(0.01, 0.99, 99)
    np.testing.assert_allclose(dist.ppf(q), stats.truncnorm(-1.6, 4, 1, 0.5).ppf(q), rtol=1e-12)
    np.testing.assert_array_equal(dist.ppf(q), parse_tau(dist.text).ppf(q))
    assert truncate(stats.expon(), low=0.1).support == (0.1, math.inf)
    assert truncate(stats.uniform(0.3, 1), 0.1, 5).support == (0.3, 1.3)


def test_a_distribution_without_a_text():
    """A histogram, and one of one's own: they are sampled, and have no text to be stored."""

    class Triangle(stats.rv_continuous):
        def _pdf(self, x):
            return 2 * x

    histogram = stats.rv_histogram(np.histogram([0.3, 0.5, 0.6, 1.4], bins=[0.2, 0.6, 1, 1.4]))
    named = Triangle(a=0, b=1, name="uniform")()  # its name is that of another
    assert parse_tau(named).text is None
    for dist, mean in ((histogram, 0.7), (Triangle(a=0, b=1)(), 2 / 3)):
        assert parse_tau(dist).text is None
        tau = sample_tau(dist, 400, np.random.default_rng(0))
        assert tau.mean() == pytest.approx(mean, abs=2 / 400)
        assert parse_tau(dist).mean == pytest.approx(mean, rel=1e-9)


class Newer:
    """A distribution of SciPy's newer kind: it has icdf, and no ppf."""

    icdf = None

    def __repr__(self):
        return "stats.Normal(mu=1, sigma=0.05)"


@pytest.mark.parametrize(
    "dist, message",
    [
        (stats.norm(1, 0.2), r"tau: norm: must give tau > 0 s only, but can give -inf; .*truncate"),
        (stats.uniform(-0.5, 2), "can give -0.5"),
        (stats.gamma, r"must be a continuous distribution .* as stats.gamma\(3\), got"),
        (stats.norm(1, 0), "its parameters give no distribution, its median is nan"),
        (Newer(), "must be a continuous distribution .* got stats.Normal"),
        (stats.gamma(-1), "its parameters give no distribution, its median is nan"),
        (stats.gamma([1, 2]), "must be one distribution, got an array"),
        (stats.poisson(3), "must be a continuous distribution"),
        (stats.multivariate_normal([1, 2]), "must be a name, an array"),
        (stats.norm(1, 1e-8), "can give -inf"),
        (stats.uniform(1, 1e-8), "is too narrow, 1 to 1.00000001 s; take constant:1"),
        ("normal:sd=1e-8", "is too narrow"),
        ("normal:mean=100", "only 0 of it lie within"),
        ("lognormal:cv0=1e-300", "cv0: must be a finite number >= 1e-09"),
        ("lognormal:cv0=1e-9", "is too narrow|gives no distribution"),
        ("lognormal:cv0=1e200", "cv0: must be a finite number"),
        ("gamma:shape=1e-9", "only 4.6e-09 of it"),
        ("scipy:norm:loc=1,scale=0.01,low=1.2,high=2", "only 0 of it lie within"),
        ("scipy:norm:loc=1,low=2,high=1", "norm: low must be below high, got low=2, high=1"),
        (stats.norm, r"norm \(not frozen; freeze it: scipy.stats.norm\(1, 0.3\)\): must give tau"),
        (stats.rv_histogram(([1, 2], [-1, 0, 1])), "^tau: [A-Za-z]*: must give tau > 0 s only"),
        ("scipy:norm:loc=1", "can give -inf"),
        ("scipy:gamma:scale=2", "gamma also needs a"),
        ("scipy:gamma:a=x", "a: must be a finite number, got 'x'"),
        ("scipy:gamma:b=3", "no parameter 'b'"),
        ("scipy:gama:a=3", "'gama' is not a continuous distribution of scipy.stats"),
        ("scipy:os", "'os' is not a continuous distribution"),
        ("scipy:gamma:a=3,low=-1", "low: must be a finite number"),
        ("scipy", "nothing follows"),
    ],
)
def test_what_gives_no_tau_is_refused_in_words(dist, message):
    with pytest.raises(ValueError, match=message):
        parse_tau(dist)


def test_a_tail_beyond_a_millionth_is_refused():
    parent = stats.norm(1, 0.1)
    for share in (3e-6, 5e-7):
        low = parent.isf(share)
        if share > 1e-6:
            assert truncate(parent, low, 5).mean > low
            continue
        with pytest.raises(ValueError, match=r"norm: only 5e-07 of it lie within"):
            truncate(parent, low, 5)
    with pytest.raises(ValueError, match="norm: low must be below high, got low=2, high=1"):
        truncate(parent, 2, 1)
    with pytest.raises(ValueError, match="norm: only"):  # between two levels of F
        truncate(parent, 1, 1 + 1e-8)


#: A number of any size, as a text.
NUMBERS = st.floats(-12, 12).map(lambda power: f"{10**power:.17g}")


@given(
    name=st.sampled_from([name for name in DISTRIBUTIONS if DISTRIBUTIONS[name].parameters]),
    data=st.data(),
)
def test_wild_parameters_give_tau_or_a_message(name, data):
    known = st.sampled_from(list(DISTRIBUTIONS[name].parameters))
    given_parameters = data.draw(st.dictionaries(known, NUMBERS))
    spec = name + ":" * bool(given_parameters)
    spec += ",".join(f"{key}={value}" for key, value in given_parameters.items())
    n = 200
    try:
        dist = parse_tau(spec)
    except ValueError:
        return
    tau, (low, high) = sample_tau(dist, n, np.random.default_rng(0)), dist.support
    assert low * (1 - 1e-9) <= tau.min() and tau.max() <= high * (1 + 1e-9)
    # A stratified mean of a monotone function is off by its range / n at most.
    assert abs(tau.mean() - dist.mean) <= (high - low) / n * (1 + 1e-9) + 1e-9 * high
    assert abs((1 / tau).mean() - dist.mean_rate) <= (1 / low - 1 / high) / n + 1e-9 / low


def test_names_and_defaults_need_no_scipy_stats():
    code = (
        "import sys, numpy as np\n"
        "from tau_rnn.cli.options import build_parser\n"
        "from tau_rnn.taus import parse_tau, sample_tau\n"
        "rng = np.random.default_rng(0)\n"
        "[parse_tau(name) for name in ('vanilla', 'normal', 'uniform', 'bimodal', 'gamma')]\n"
        "sample_tau('bimodal', 4, rng), sample_tau([1.0, 2.0], 2, rng)\n"
        "sample_tau('normal', 4, rng)\n"
        "build_parser().format_help()\n"
        "print('scipy.stats' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_a_new_distribution_is_one_entry(monkeypatch):
    from tau_rnn.taus import Family

    triangle = Family("a triangle on [low, high]", {"low": 0.5, "high": 1.5},
                      lambda low, high: stats.triang(0.5, low, high - low))  # fmt: skip
    monkeypatch.setitem(DISTRIBUTIONS, "triangle", triangle)
    assert "  triangle         a triangle on [low, high]\n" in build_parser().format_help()
    dist = parse_tau("triangle:high=2.5")
    assert dist.text == "triangle:high=2.5" and dist.mean == pytest.approx(1.5)
    tau = sample_tau("triangle", 1000, np.random.default_rng(0))
    assert tau.mean() == pytest.approx(1, abs=1e-3)


def test_normal_is_scipys_truncnorm():
    dist = stats.truncnorm((0.1 - 1) / 0.2, (1.9 - 1) / 0.2, loc=1, scale=0.2)
    q = np.linspace(0, 1, 2001)
    np.testing.assert_allclose(parse_tau("normal").ppf(q), dist.ppf(q), rtol=1e-12)
    assert parse_tau("normal").cv == pytest.approx(dist.std(), rel=1e-12)


def test_normal_is_never_clipped():
    """A clipped sample would pile up at its bounds; a wide truncated one has distinct values."""
    tau = sample_tau("normal:sd=1.5", 1000, np.random.default_rng(0))
    assert np.unique(tau).size == 1000
    assert 0.1 < tau.min() and tau.max() < 1.9


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
    dist, q = parse_tau(spec), np.linspace(0, 1, 101)
    again = parse_tau(dist.text)
    assert again.text == dist.text
    np.testing.assert_array_equal(again.ppf(q), dist.ppf(q))


def test_text_form_is_the_shortest():
    assert [parse_tau(spec).text for spec in FAMILIES] == FAMILIES
    assert parse_tau("normal:mean=1, sd=0.3").text == "normal:sd=0.3"
    assert parse_tau(" Normal ").text == "normal"
    for spec in ("constant", "constant:1", "constant:value=1", "vanilla"):
        assert parse_tau(spec).text == "vanilla"
    assert parse_tau(f"lognormal:mean={0.1 + 0.2!r}").text == "lognormal:mean=0.30000000000000004"
    assert parse_tau(parse_tau("gamma")) is parse_tau("gamma")


def test_given_values_keep_their_order(tmp_path):
    values = np.array([1.5, 0.2, 0.7])
    rng = np.random.default_rng
    np.testing.assert_array_equal(sample_tau(values, 3, rng(0)), values)
    np.testing.assert_array_equal(sample_tau([1, 2, 3], 3, rng(0)), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(sample_tau(parse_tau(values).text, 3, rng(0)), values)
    np.save(tmp_path / "t.npy", values)
    (tmp_path / "t.txt").write_text("1.5\n0.2, 0.7\n")
    for name in ("t.npy", "t.txt"):
        spec = f"file:{tmp_path / name}"
        np.testing.assert_array_equal(sample_tau(spec, 3, rng(0)), values)
        assert parse_tau(spec).text == "values:1.5,0.2,0.7"  # the file may change
        assert parse_tau(tmp_path / name).text == parse_tau(spec).text
    s = parse_tau(values)
    assert s.mean == pytest.approx(0.8)
    assert s.cv == pytest.approx(np.std(values) / 0.8)
    assert s.mean_rate == pytest.approx((1 / 1.5 + 1 / 0.2 + 1 / 0.7) / 3)
    assert s.support == (0.2, 1.5)


def test_equal_values_are_not_diverse():
    assert np.std([0.1] * 7) > 0  # by rounding
    assert parse_tau([0.1] * 7).cv == 0


def test_a_sample_is_the_callers_own():
    dist = Fixed([0.5, 1.0])
    sample_tau(dist, 2, np.random.default_rng(0))[0] = 9
    assert dist.values == (0.5, 1.0)


@pytest.mark.parametrize(
    "spec, message",
    [
        ("nromal", "did you mean 'normal'"),
        ("bimodel:low=1", "did you mean 'bimodal'"),
        ("", "unknown distribution ''"),
        ("normal:", "nothing follows the colon"),
        ("normal:sdd=0.3", "no parameter 'sdd'; did you mean 'sd'"),
        ("normal:0.3", "expected parameter=value"),
        ("normal:sd=x", "normal: sd: must be a finite number .*, got 'x'"),
        ("normal:sd=0.1,sd=0.2", "sd is given twice"),
        ("normal:sd=-1", "normal: sd: must be a finite number .*, got '-1'"),
        ("normal:sd=nan", "sd: must be a finite number .*, got 'nan'"),
        ("normal:low=2", "low must be below high"),
        ("uniform:low=2,high=1", "low must be below high, got low=2, high=1"),
        ("uniform:low=1,high=1", "low must be below high"),
        ("uniform:low=0", "low: must be a finite number"),
        ("bimodal:high=0.5", "low must be below high"),
        ("lognormal:cv0=0", "cv0: must be a finite number"),
        ("constant:0", "value: must be a finite number .*, got '0'"),
        ("constant:inf", "value: must be a finite number .*, got 'inf'"),
        ("constant:abc", "value: must be a finite number .*, got 'abc'"),
        ("vanilla:2", "expected parameter=value"),
        ("vanilla:value=2", "no parameter 'value'; it has none"),
        ("values:1,-2,0", "tau of unit 1: must be a finite number .*, got -2"),
        ("values:1,,2", "must be a finite number, got ''"),
        ("file:", "nothing follows the colon"),
        ("file: ", "nothing follows the colon"),
        ([1.0, math.nan], "tau of unit 1: must be a finite number .*, got nan"),
        ([1.0, math.inf], "tau of unit 1: must be a finite number .*, got inf"),
        ([1.0, 1e200], "tau of unit 1: must be a finite number .*, got 1e\\+200"),
        (np.ones((2, 2)), r"must have shape \(n_units,\), got \(2, 2\)"),
        ([[1.0], [1.0, 2.0]], "ragged"),
        (["a", "b"], "must hold numbers"),
        ([1j, 2j], "must hold real numbers"),
        ([], r"must have shape \(n_units,\), got \(0,\)"),
        (0.61, "one tau for all units is 'constant:0.61'"),
        (None, "must be a name, an array"),
    ],
)
def test_bad_specifications(spec, message):
    with pytest.raises(ValueError, match=message):
        parse_tau(spec)


def test_bad_files(tmp_path):
    (tmp_path / "words.txt").write_text("0.5 fast")
    (tmp_path / "none.txt").write_text("")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "bytes.npz").write_bytes(b"PK\xaf")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "object.npy", np.array([None]), allow_pickle=True)
    np.save(tmp_path / "negative.npy", np.array([1.0, -1.0]))
    for name, message in (
        ("absent.npy", "cannot read"),
        ("absent.txt", "cannot read"),
        ("words.txt", "cannot read.*fast"),
        ("none.txt", "must have shape"),
        ("cut.npy", "cannot read"),
        ("bytes.npz", "must be a .npy file or a text"),
        ("empty.npy", "cannot read"),
        ("object.npy", "cannot read"),
        ("negative.npy", "negative.npy of unit 1: must be a finite number .*, got -1"),
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
