"""The numbers of a run, each declared once: its name, its meaning, how it is shown and computed.

The table of a run, the report of a sweep, its figures, its effects, the claims and ``--help`` read
`METRICS`; a new metric is one row of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.experiment.statistics import ln_ratio

__all__: list[str] = []

WHEN = ("before", "after")  # what <when> stands for in a key
#: What other words stand for, as a pattern, where it is not any text.
_WORDS = {
    "when": "|".join(WHEN), "bound": "low|high", "side": "in|out",
    "which": "slowest|fastest|random", "group": "slow|fast|random|every",
    "moment": "stimulus|delay|response",
}  # fmt: skip
#: Columns of the history that are not scores of the network.
NO_SCORES = ("step", "train_loss", "grad_norm")
#: Fields of Params that are 0 at the start, so that no relative change is defined.
_ZERO_AT_START = ("b", "b_out", "x0")
_LAST = 5  # evaluations whose mean is the end of training


class Metric(NamedTuple):
    """A number of a run, or of a comparison.

    Attributes
    ----------
    key : its name in metrics.json and summary.csv; ``<when>`` stands for before and after, any
        other ``<name>`` for a word
    label, text : what tables, figures and sentences call it, and what it is
    unit : of the number
    decimals : to show
    scale : how two are compared: by their "difference", their "ratio" (by logarithms, shown in per
        cent) or in percentage "points"
    better : +1 if more is better, -1 if less is, 0 if neither
    value : computes it from a run that is complete, see `tau_rnn.experiment.outcome.Outcome`, and
        the word for ``<when>``; None for columns of the history and for what is only ``measured``
    measured : a field of `tau_rnn.measures.TrainingMeasures`, and what computes the number from it
        (and from the word for ``<when>``), or a dict of numbers by key where there are other words
    needs : columns of the history, "criterion" or "noise"; it is left out where one is not there
    compared : whether conditions are compared in it
    change : the keys of two metrics, after and before, whose difference or ratio it is
    """

    key: str
    label: str
    text: str
    unit: str = ""
    decimals: int = 3
    scale: str = "difference"
    better: int = 0
    value: Callable[..., float | int | None] | None = None
    measured: tuple[str, Callable[..., Any]] | None = None
    needs: tuple[str, ...] = ()
    compared: bool = False
    change: tuple[str, str] | None = None

    @property
    def logarithmic(self) -> bool:
        """Whether the number itself is a logarithm already."""
        return self.key.startswith("log_")

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that ``<when>`` makes of it."""
        whens = WHEN if "<when>" in self.key else ("",)
        return tuple(self.key.replace("<when>", when) for when in whens)

    @property
    def heading(self) -> str:
        """The label of a column: of a logarithm, and of before or after training."""
        when = self.key.rpartition("_")[2]
        name = f"ln {self.label}" if self.logarithmic else self.label
        return f"{name}, {when}" if when in WHEN else name

    @property
    def title(self) -> str:
        """The label with the scale of its effects, for figures."""
        scale = "ln" if self.scale == "ratio" else self.unit.removeprefix("in ")
        return f"{self.label} ({scale})" if scale else self.label

    @property
    def mean_decimals(self) -> int:
        """The decimals of a mean over runs; of steps to criterion it is the median."""
        return self.decimals if self.decimals or self.key == "steps_to_criterion" else 2

    def difference(self, a: float | None, b: float | None) -> float:
        """a - b, or ln(a / b) of a ratio; nan where one is missing or has no logarithm."""
        if self.scale == "ratio" and not self.logarithmic:
            return ln_ratio(a, b)
        return math.nan if a is None or b is None else a - b

    def shown(self, difference: float) -> float:
        """A difference as sentences and figures show it: in per cent, in points, or as it is."""
        if self.scale == "ratio":
            return 100 * math.expm1(difference)
        return 100 * difference if self.scale == "points" else difference

    @property
    def shown_unit(self) -> str:
        """The unit of `shown`."""
        return {"ratio": "%", "points": "percentage points"}.get(self.scale, self.unit)


# --- how they are computed -----------------------------------------------------------------------


def _mean_of_last(name: str):
    return lambda run: float(np.mean([row[name] for row in run.history[-_LAST:]]))


def _log_mean_loss(run) -> float:
    steps = [row["step"] for row in run.history]
    area = np.trapezoid([row["loss"] for row in run.history], steps)
    return float(np.log(area / (steps[-1] - steps[0])))


def _steps_to_criterion(run) -> int | None:
    reached = (r["step"] for r in run.history if r["accuracy"] >= run.setup.task.criterion)
    return next(reached, None)


def _median(run, when: str) -> float | None:
    log_tau = run.log_tau(when)
    return float(np.exp(np.median(log_tau))) if len(log_tau) > 2 else None


def _sd(run, when: str) -> float | None:
    log_tau = run.log_tau(when)
    return float(log_tau.std(ddof=1)) if len(log_tau) > 2 else None


def _correlation(run, when: str) -> float | None:
    from tau_rnn.measures._shared import ranks

    log_tau, intrinsic = run.log_tau(when), run.units[f"tau_{when}"][run.fitted(when)]
    if len(log_tau) < 3 or np.ptp(intrinsic) == 0 or np.ptp(log_tau) == 0:
        return None
    both = np.column_stack([ranks(intrinsic), ranks(log_tau)])
    return float(np.corrcoef(both, rowvar=False)[1, 0])


# --- how they are computed from what was measured ------------------------------------------------


def _changes(weights) -> dict[str, float]:
    return {
        f"weight_change_{name}": change.absolute if name in _ZERO_AT_START else change.relative
        for name, change in weights.items()
        if name != "W"
    }


def _lesions(lesions) -> dict[str, float]:
    random = lesions.random.mean(axis=0)
    curves = {"slowest": lesions.slowest, "fastest": lesions.fastest, "random": random}
    return {
        f"lesion_{which}_{fraction:g}": curve[k]
        for k, fraction in enumerate(lesions.fractions) if fraction > 0
        for which, curve in curves.items()
    }


def _decoding(d) -> dict[str, float]:
    # The last time that is not later than the end of the stimulus, but for rounding.
    stimulus = int(np.searchsorted(d.time, d.stimulus * (1 + 1e-9), side="right")) - 1
    ends = {"stimulus": (d.after, stimulus), "delay": (d.after, -1), "response": (d.go_after, -1)}
    return {
        f"decode_{group}_{quantity}_{moment}": over_time[k, q]
        for moment, (r2, k) in ends.items()
        for group, over_time in (
            ("slow", r2.slow), ("fast", r2.fast), ("random", r2.random.mean(0)), ("every", r2.every)
        )
        for q, quantity in enumerate(d.quantities)
    }  # fmt: skip


#: What the spread of effective timescales holds, by the name it has in keys.
_SPREAD = {
    "correlation": "rank_correlation", "cv": "cv", "sd_log": "sd_log",
    "quantile_range": "quantile_range",
}  # fmt: skip


def _of_spread(name: str):
    return "effective", lambda e, when: getattr(getattr(e, f"spread_{when}"), _SPREAD[name]).value


def _bounds(effective) -> dict[str, float]:
    estimates = {
        f"{name}_{when}": getattr(getattr(effective, f"spread_{when}"), field)
        for when in WHEN
        for name, field in _SPREAD.items()
    } | {"sd_log_change": effective.change}
    return {
        f"tau_eff_{name}_{bound}": getattr(estimate, bound)
        for name, estimate in estimates.items()
        for bound in ("low", "high")
    }


def _slowest_attractor(points) -> float:
    slowest = points.timescales[points.kind == "attractor", 0]
    return slowest.max() if len(slowest) else math.nan


#: Every number of a run, and of comparisons.
METRICS = (
    Metric("loss", "held-out loss", "loss on the held-out trials after the last step",
           scale="ratio", better=-1),
    Metric("accuracy", "accuracy", "accuracy after the last step", scale="points", better=1,
           compared=True),
    Metric("conflict_accuracy", "accuracy, labels differ",
           "accuracy on trials whose two labels differ", scale="points", better=1, compared=True),
    Metric("pattern_accuracy", "accuracy, fast pattern",
           "accuracy on trials that ask for the fast pattern", scale="points", better=1,
           compared=True),
    Metric("evidence_accuracy", "accuracy, evidence", "accuracy of the slow evidence",
           scale="points", better=1, compared=True),
    Metric("value_accuracy", "accuracy, value", "accuracy of the remembered value",
           scale="points", better=1, compared=True),
    Metric("evidence_rmse", "error, evidence", "root mean squared error of the evidence",
           scale="ratio", better=-1, compared=True),
    Metric("value_rmse", "error, value", "root mean squared error of the remembered value",
           scale="ratio", better=-1, compared=True),
    Metric("log_mean_loss", "mean loss over training",
           "ln of the mean held-out loss over training (trapezoidal rule)", scale="ratio",
           better=-1, value=_log_mean_loss, compared=True),
    Metric("steps_to_criterion", "steps to criterion",
           "step of the first evaluation with accuracy >= the task's criterion (0.9), if there is "
           "one; comparisons are by median and ranks, and keep runs that never reach it",
           decimals=0, scale="ratio", better=-1, value=_steps_to_criterion,
           needs=("accuracy", "criterion"), compared=True),
    Metric("loss_last5", "loss at the end", "held-out loss, mean of the last five evaluations",
           scale="ratio", better=-1, value=_mean_of_last("loss"), compared=True),
    Metric("accuracy_last5", "accuracy at the end", "accuracy, mean of the last five evaluations",
           scale="points", better=1, value=_mean_of_last("accuracy"), needs=("accuracy",),
           compared=True),
    Metric("loss_initial", "loss before training", "held-out loss before training",
           scale="ratio", value=lambda run: run.history[0]["loss"]),
    Metric("accuracy_initial", "accuracy before training", "accuracy before training",
           scale="points", value=lambda run: run.history[0]["accuracy"], needs=("accuracy",)),
    Metric("accuracy_shuffled_tau", "accuracy with tau shuffled",
           "accuracy after tau was permuted over the units, mean of 3 permutations: does it "
           "matter which unit has which tau?", scale="points",
           value=lambda run: run.shuffled, needs=("accuracy",)),
    Metric("weight_change", "change of W, last step",
           "norm of the change of W after the last step, relative to that of W before",
           scale="ratio", measured=("weights", lambda w: w["W"].relative), compared=True),
    Metric("weight_change_at_matched_loss", "change of W, same loss",
           "norm of the change of W at the lowest loss that both runs of a pair reach",
           scale="ratio", compared=True),
    Metric("effective_rank", "effective rank of the change of W",
           "effective rank of the change of W", scale="ratio",
           measured=("spectrum", lambda change: change.effective_rank), compared=True),
    Metric("rank_needed", "rank that suffices for the change of W",
           "the smallest at which the accuracy holds (`tau_rnn.measures.weights.RankCurve`)",
           decimals=0, measured=("rank", lambda r: r.needed)),
    Metric("representation_alignment", "representation alignment",
           "alignment of the representation with that before training",
           measured=("representation_alignment", float), compared=True),
    Metric("kernel_alignment", "kernel alignment",
           "alignment of the tangent kernel with that before training",
           measured=("kernel_alignment", float), compared=True),
    Metric("tau_eff_median_<when>", "effective timescale, median (s)",
           "median over units of the effective timescale; one too long for the trials counts as a "
           "third of a trial", unit="s", scale="ratio", value=_median, needs=("noise",)),
    Metric("tau_eff_sd_log_<when>", "effective timescale, sd of ln",
           "sd of ln effective timescale <when> training", value=_sd,
           compared=True, needs=("noise",)),
    Metric("tau_eff_correlation_<when>", "effective timescale, correlation with tau",
           "Spearman correlation of effective and intrinsic timescale; none where all tau are "
           "equal", value=_correlation, needs=("noise",)),
    Metric("tau_eff_too_long_<when>", "units beyond a third of the trial",
           "units whose effective timescale is longer than a third of the trials", decimals=0,
           value=lambda run, when: int(run.too_long(when).sum()), needs=("noise",)),
    Metric("tau_eff_unfitted_<when>", "units without an effective timescale",
           "units whose effective timescale could not be estimated", decimals=0,
           value=lambda run, when: int((~run.fitted(when)).sum()), needs=("noise",)),
    Metric("tau_eff_spread", "spread of the effective timescales",
           "sd of ln effective timescale, after minus before training",
           unit="in sd of ln tau_eff",
           change=("tau_eff_sd_log_after", "tau_eff_sd_log_before")),
    Metric("tau_eff_spread_of_short", "the same, longest timescales left out",
           "sd of ln effective timescale, after minus before, of the units not beyond a third of "
           "the trial", unit="in sd of ln tau_eff"),
    Metric("tau_eff_lengthening", "lengthening of the effective timescales",
           "median effective timescale, after against before training", scale="ratio",
           change=("tau_eff_median_after", "tau_eff_median_before")),
    Metric("tau_eff_correlation_gain", "gain of correlation with tau",
           "Spearman correlation of effective and intrinsic timescale, after minus before",
           change=("tau_eff_correlation_after", "tau_eff_correlation_before")),
    Metric("shuffling_tau", "effect of shuffling tau",
           "accuracy with tau shuffled over the units, minus accuracy", scale="points",
           change=("accuracy_shuffled_tau", "accuracy")),
    Metric("weight_change_<field>", "change of <field>",
           "norm of the change of a field of Params relative to that before; of b, b_out and x0, "
           "which start at 0, the norm itself", measured=("weights", _changes)),
    Metric("overlap_<side>", "overlap of the change of W with the <side>put",
           "of its leading directions: with the inputs before, with the readout after training",
           measured=("overlap", lambda overlap: {
               "overlap_in": overlap.left_in[0], "overlap_out": overlap.right_out[0]})),
    Metric("overlap_<side>_chance", "overlap by chance, <side>put", "of random directions",
           measured=("overlap", lambda overlap: {
               "overlap_in_chance": overlap.chance_in,
               "overlap_out_chance": overlap.chance_out})),
    Metric("outliers_<when>", "outlier eigenvalues of W", "eigenvalues beyond the bulk of W",
           decimals=0, measured=("outliers", lambda outliers, when: len(getattr(outliers, when)))),
    Metric("lesion_<which>_<fraction>", "accuracy without <fraction> of the units, <which>",
           "accuracy without the slowest, fastest or random units", scale="points",
           measured=("lesions", _lesions)),
    Metric("decode_<group>_<quantity>_<moment>", "R^2 of <quantity>, <group> units, <moment>",
           "cross-validated R^2 after training from the slow, fast, random units or every unit, at "
           "the end of the stimulus, the shortest delay or the response",
           measured=("decoding", _decoding)),
    Metric("tau_eff_cv_<when>", "effective timescale, CV", "over units", measured=_of_spread("cv")),
    Metric("tau_eff_quantile_range_<when>", "effective timescale, 10 to 90 %", "over units",
           unit="s", measured=_of_spread("quantile_range")),
    Metric("tau_eff_sd_log_change", "effective timescale, ln ratio of sd of ln",
           "after against before training", measured=("effective", lambda e: e.change.value)),
    Metric("tau_eff_<statistic>_<bound>", "bound of an interval",
           "95 % interval over units, its low and high end", measured=("effective", _bounds)),
    Metric("fixed_points_<when>", "fixed points", "fixed points found", decimals=0,
           measured=("fixed_points_<when>", lambda p: (p.kind != "slow").sum())),
    Metric("attractors_<when>", "attractors", "attractors among the fixed points", decimals=0,
           measured=("fixed_points_<when>", lambda p: (p.kind == "attractor").sum())),
    Metric("slow_points_<when>", "slow points", "slow points found", decimals=0,
           measured=("fixed_points_<when>", lambda p: (p.kind == "slow").sum())),
    Metric("slowest_<when>", "slowest attractor", "longest timescale of an attractor", unit="s",
           measured=("fixed_points_<when>", _slowest_attractor)),
    Metric("steps", "steps", "updates made", decimals=0, value=lambda run: run.step),
    Metric("seconds", "seconds", "time that the steps and evaluations took", unit="s", decimals=1,
           value=lambda run: run.seconds),
)  # fmt: skip
#: The rows of the table of a run.
TABLE = (
    "loss", "accuracy", "conflict_accuracy", "pattern_accuracy", "evidence_accuracy",
    "value_accuracy", "evidence_rmse", "value_rmse", "accuracy_last5", "accuracy_shuffled_tau",
    "steps_to_criterion", "weight_change",
    "tau_eff_median_<when>", "tau_eff_sd_log_<when>", "tau_eff_too_long_<when>",
    "tau_eff_unfitted_<when>", "rank_needed", "representation_alignment", "kernel_alignment",
)  # fmt: skip


def metric(key: str) -> Metric:
    """The declaration of a metric, its words filled in; for a score without one, a plain one.

    >>> metric("tau_eff_sd_log_after").text
    'sd of ln effective timescale after training'
    >>> metric("hits").label
    'hits'
    """
    for row in METRICS:
        words = _words(row.key, key)
        if words is not None:
            label, text = (_filled(part, words) for part in (row.label, row.text))
            return row._replace(key=key, label=label, text=text)
    name = key.replace("_", " ")
    points = key.endswith("accuracy")
    return Metric(key, name, f"{name}, a score of the task", compared=True,
                  scale="points" if points else "difference", better=int(points))  # fmt: skip


def _words(pattern: str, key: str) -> dict[str, str] | None:
    """The words that stand for ``<name>`` in a key, or None if it is another key."""
    if "<" not in pattern:
        return {} if pattern == key else None
    regex = re.sub(r"<(\w+)>", lambda m: f"(?P<{m[1]}>{_WORDS.get(m[1], '.+')})", pattern)
    found = re.fullmatch(regex, key)
    return found.groupdict() if found else None


def _filled(text: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        text = text.replace(f"<{name}>", word)
    return text


def scores_of(history: Sequence[Mapping[str, float]]) -> list[str]:
    """The columns of a history that are scores of the network."""
    return [name for name in history[0] if name not in (*NO_SCORES, "weight_change")]
