r"""Paired statistics over seeds.

Two networks of one seed share their weights, quantiles of tau, trials and noise, so what is
compared is the difference within a pair. An effect is the mean of these differences (of logarithms
where the quantity is a ratio: 0.1 is then about 10 %), with the t interval

.. math:: \bar d \pm t_{0.975, n-1} \, s_d / \sqrt n

and the p value of the paired t test. Steps to criterion are another matter: a run that never
reached it has no number, and leaving it out would favour the condition that failed. They are
compared by ranks, which need to know only that it would have taken longer (`signed_rank`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tau_rnn.model import Array

__all__ = [
    "Effect",
    "at_matched_loss",
    "holm",
    "ln_ratio",
    "paired_t",
    "signed_rank",
    "steps_effect",
]

_CONFIDENCE = 0.95


class Effect(NamedTuple):
    """A paired comparison.

    Attributes
    ----------
    estimate, low, high : mean difference and its 95 % t interval; of steps to criterion, the median
        of the paired ln ratios and its 95 % order-statistic interval. nan where n is too small
    p : two-sided p value: paired t test; for steps to criterion, the signed-rank test
    n : pairs compared
    missing : pairs that lack a value
    never, never_reference : runs that never reached the criterion (steps to criterion alone)

    Examples
    --------
    >>> effect = paired_t([0.1, 0.3, 0.2])
    >>> round(effect.estimate, 3), effect.low < 0 < effect.high, effect.n
    (0.2, True, 3)
    """

    estimate: float
    low: float
    high: float
    p: float
    n: int
    missing: int = 0
    never: int = 0
    never_reference: int = 0


def paired_t(differences: Iterable[float | None]) -> Effect:
    """Mean of paired differences, its t interval and the p value of the paired t test.

    Parameters
    ----------
    differences : one for each pair; None, or one that is not finite, counts as missing

    Returns
    -------
    Effect

    Examples
    --------
    >>> effect = paired_t([0.1, 0.3, None, 0.2])
    >>> round(effect.estimate, 3), round(effect.low, 3), effect.n, effect.missing
    (0.2, -0.048, 3, 1)
    """
    from scipy.stats import t as student

    given = [np.nan if d is None else float(d) for d in differences]
    d = np.array([x for x in given if math.isfinite(x)])
    n, missing = d.size, len(given) - d.size
    if n < 2:
        return Effect(float(d[0]) if n else np.nan, np.nan, np.nan, np.nan, n, missing)
    mean, error = float(d.mean()), float(d.std(ddof=1)) / math.sqrt(n)
    half = float(student.ppf((1 + _CONFIDENCE) / 2, n - 1)) * error
    if error == 0:  # all pairs differ by the same: there is no spread to test against
        p = 1.0 if mean == 0 else 0.0
    else:
        p = float(2 * student.sf(abs(mean) / error, n - 1))
    return Effect(mean, mean - half, mean + half, p, n, missing)


def ln_ratio(a: float | None, b: float | None) -> float:
    """ln(a / b), or nan where one of them is missing, not positive or not finite.

    Parameters
    ----------
    a, b : numbers, or None where one is missing

    Returns
    -------
    float

    Examples
    --------
    >>> round(ln_ratio(220, 200), 3), ln_ratio(220, None)
    (0.095, nan)
    """
    if a is None or b is None or not (0 < a < math.inf and 0 < b < math.inf):
        return math.nan
    return math.log(a / b)


def censored_ln_ratio(a: float | None, b: float | None) -> float:
    """ln(a / b) of steps to criterion; None is a run that never reached it.

    It is inf or -inf where one of them did not (or had before training), and 0 where neither did:
    which would have been first is unknown, and the pair counts for neither. Equal ratios
    give equal bits, and the inverse ratio the same with the other sign: they tie in the ranks.
    """
    a, b = (math.inf if steps is None else steps for steps in (a, b))
    if a == b:
        return 0.0
    if a > b:
        return -censored_ln_ratio(b, a)
    return math.log(a / b) if a > 0 and b < math.inf else -math.inf


def steps_effect(steps: Sequence[float | None], reference: Sequence[float | None]) -> Effect:
    """Steps to criterion, paired, with the runs that never reached it kept.

    The estimate is the median of the ln ratios, with the distribution-free interval between two
    order statistics; it is infinite where most pairs have one run that never reached it. The p
    value is that of `signed_rank`.

    Parameters
    ----------
    steps, reference : (n,) steps to criterion of the runs and of their pairs, None where a run
        never reached it

    Returns
    -------
    Effect

    Examples
    --------
    >>> effect = steps_effect([100, 120, None], [200, 200, 300])
    >>> round(effect.estimate, 3), effect.n, effect.never
    (-0.511, 3, 1)
    """
    d = np.array([censored_ln_ratio(a, b) for a, b in zip(steps, reference)])
    low, high = median_interval(d)
    never, never_reference = (sum(s is None for s in run) for run in (steps, reference))
    estimate = median(d) if d.size else math.nan
    return Effect(
        estimate, low, high, signed_rank(d), d.size, never=never, never_reference=never_reference
    )


def median(d: Array) -> float:
    """The median of values, some of which may be infinite; nan between -inf and inf."""
    with np.errstate(invalid="ignore"):
        return float(np.median(d))


def median_interval(d: Array) -> tuple[float, float]:
    """Interval between two order statistics that holds the median with at least 95 % probability.

    -inf and inf where there are too few values (five or fewer), nan for none; values may be
    infinite.

    >>> median_interval([3, 1, 2, 6, 5, 4])
    (1.0, 6.0)
    """
    from scipy.stats import binom

    n = len(d)
    if n == 0:
        return math.nan, math.nan
    # The smallest k with P(Binomial(n, 1/2) <= k) >= 2.5 %, so that P(... <= k - 1) < 2.5 %.
    k = int(binom.ppf((1 - _CONFIDENCE) / 2, n, 0.5))
    ranked = np.sort(d)
    return (float(ranked[k - 1]), float(ranked[n - k])) if k >= 1 else (-math.inf, math.inf)


def signed_rank(d: Array) -> float:
    r"""Two-sided p value of Wilcoxon's signed-rank test, exact, with ties, zeros and infinities.

    Each difference counts with the rank of its size, infinite ones as the largest and equal ones
    with their mean rank; zeros are ranked, then left out (Pratt 1959). Under the null hypothesis
    the two runs of a pair may be exchanged, which turns d into -d, so each sign is a fair coin and
    the sum of the positive ranks has the generating function

    .. math:: \prod_i (1 + z^{r_i}) / 2.

    This holds for any ranks that do not depend on the signs, so the test keeps its level however
    many runs are censored. `scipy.stats.wilcoxon` is exact only without ties.

    Parameters
    ----------
    d : (n,) differences, which may be infinite

    Returns
    -------
    p value; nan without differences, or where one is nan

    Examples
    --------
    Of the 2^5 patterns of signs, two are as extreme as five of one sign:

    >>> signed_rank([1, 2, 3, 4, np.inf]) == 2 / 2**5
    True
    """
    from scipy.stats import rankdata

    d = np.asarray(d, float)
    if d.size == 0 or np.isnan(d).any():
        return math.nan
    doubled = np.rint(2 * rankdata(np.abs(d))).astype(int)  # mean ranks are multiples of 1/2
    ranks, positive = doubled[d != 0], (d > 0)[d != 0]
    probability = np.ones(1)
    for rank in ranks:
        probability = np.convolve(probability, np.r_[0.5, np.zeros(rank - 1), 0.5])
    centre = ranks.sum() / 2
    distance = abs(ranks[positive].sum() - centre)
    sums = np.arange(probability.size)
    return min(1.0, float(probability[np.abs(sums - centre) >= distance].sum()))


def at_matched_loss(
    history: Sequence[Mapping[str, float]], reference: Sequence[Mapping[str, float]]
) -> tuple[float, float, float]:
    """The change of W of two runs at the same held-out loss, and that loss.

    The level is the lowest loss that both runs reach, which is the larger of their two minima. Each
    change is taken where its run first reaches this level, interpolated linearly in the loss
    between that evaluation and the previous one.

    Parameters
    ----------
    history, reference : the histories of the two runs

    Returns
    -------
    change of the run, change of the reference, loss level

    Examples
    --------
    >>> run = [{"loss": 1.0, "weight_change": 0.0}, {"loss": 0.2, "weight_change": 0.8}]
    >>> reference = [{"loss": 1.0, "weight_change": 0.0}, {"loss": 0.6, "weight_change": 0.1}]
    >>> [round(v, 9) for v in at_matched_loss(run, reference)]
    [0.4, 0.1, 0.6]
    """
    level = max(min(row["loss"] for row in rows) for rows in (history, reference))
    return change_at_loss(level, history), change_at_loss(level, reference), level


def change_at_loss(level: float, history) -> float:
    """The change of W where the loss first reaches a level; nan if it never does."""
    before = None
    for row in history:
        if row["loss"] <= level:
            if before is None:
                return float(row["weight_change"])
            fraction = (before["loss"] - level) / (before["loss"] - row["loss"])
            more = fraction * (row["weight_change"] - before["weight_change"])
            return float(before["weight_change"] + more)
        before = row
    return math.nan


def holm(p_values: Sequence[float]) -> Array:
    """Holm's adjusted p values: the family-wise error is at most alpha if those below it count.

    Parameters
    ----------
    p_values : (n,) of one family; a nan stays nan, and is a member of the family all the same

    Returns
    -------
    (n,) adjusted p values, in the given order

    Examples
    --------
    >>> holm([0.04, 0.01, 0.03])
    array([0.06, 0.03, 0.06])
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)  # nan last
    adjusted = np.maximum.accumulate(np.arange(p.size, 0, -1) * p[order])
    out = np.empty(p.size)
    out[order] = np.minimum(adjusted, 1.0)
    return out


def mean_band(rows: Sequence[Sequence[float]]) -> tuple[Array, Array, Array]:
    """Mean over runs and its 95 % t interval at each point; rows has one run in each row."""
    values = np.asarray(rows, float)
    effects = [paired_t(column) for column in values.T]
    return tuple(np.array([getattr(e, f) for e in effects]) for f in ("estimate", "low", "high"))  # type: ignore[return-value]

