"""The measures of a run as one flat row of numbers, for JSON and tables."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tau_rnn.measures.effective_tau import EffectiveTau, Estimate
from tau_rnn.measures.run import Decoding, TrainingMeasures

__all__ = ["summarise"]

#: Fields of Params that are 0 at the start, so that no relative change is defined.
ZERO_AT_START = ("b", "b_out", "x0")


def summarise(measures: TrainingMeasures) -> dict[str, float | int | None]:
    """The numbers of the measures as one flat dict.

    None stands for a number that is not defined (nan). Parts that were not measured are left out.

    ==================================  ========================================================
    weight_change, weight_change_<field>
                                        of W and of each other field, relative to the initial norm;
                                        of b, b_out and x0, which start at 0, absolute
    effective_rank                      of the recurrent change
    overlap_in, overlap_out             of u_1 with the inputs and of v_1 with the readout;
                                        overlap_in_chance, overlap_out_chance
    outliers_before, outliers_after     number of outlier eigenvalues of W
    representation_alignment            from 0 to 1
    kernel_alignment                    from 0 to 1
    rank_needed                         see `RankCurve`
    lesion_<which>_<fraction>           accuracy without the slowest, fastest, random units
    decode_<group>_<quantity>_<when>    R^2 after training from the slow, fast, random units or
                                        every unit, at the end of the stimulus, of the (shortest)
                                        delay, of the response
    tau_eff_<what>_<when>               correlation with tau, cv, sd_log, quantile_range (s), before
                                        and after, with _low and _high: 95 % over units
    tau_eff_unfitted_<when>             units without an estimate
    tau_eff_too_long_<when>             units whose estimate is beyond a third of the runs
    tau_eff_sd_log_change               ln ratio of sd_log, with _low and _high
    fixed_points_<when>                 number of fixed points found
    attractors_<when>                   number of attractors among them
    slow_points_<when>                  number of slow points found
    slowest_<when>                      longest timescale of an attractor (s)
    ==================================  ========================================================

    Examples
    --------
    >>> from tau_rnn import init_params, make_task
    >>> from tau_rnn.measures import measure_run
    >>> task, rng = make_task("multi_timescale", dt=0.1), np.random.default_rng(0)
    >>> before = init_params(6, task.n_in, task.n_out, 1.0, rng)
    >>> after = before._replace(b=before.b + 0.5)
    >>> row = summarise(measure_run(before, after, task, rng=0, parts="weights"))
    >>> round(row["weight_change_b"], 3)  # sqrt(6) / 2
    1.225
    """
    return {key: _plain(value) for key, value in _numbers(measures)}


def _numbers(m: TrainingMeasures) -> Iterator[tuple[str, float]]:
    if m.weights is not None:
        for name, change in m.weights.items():
            size = change.absolute if name in ZERO_AT_START else change.relative
            yield "weight_change" if name == "W" else f"weight_change_{name}", size
    if m.spectrum is not None:
        yield "effective_rank", m.spectrum.effective_rank
    if m.overlap is not None:
        yield "overlap_in", m.overlap.left_in[0]
        yield "overlap_in_chance", m.overlap.chance_in
        yield "overlap_out", m.overlap.right_out[0]
        yield "overlap_out_chance", m.overlap.chance_out
    if m.outliers is not None:
        yield "outliers_before", len(m.outliers.before)
        yield "outliers_after", len(m.outliers.after)
    if m.representation_alignment is not None:
        yield "representation_alignment", m.representation_alignment
    if m.kernel_alignment is not None:
        yield "kernel_alignment", m.kernel_alignment
    if m.rank is not None:
        yield "rank_needed", m.rank.needed
    if m.lesions is not None:
        random = m.lesions.random.mean(axis=0)
        for k, fraction in enumerate(m.lesions.fractions):
            yield f"lesion_slowest_{fraction:g}", m.lesions.slowest[k]
            yield f"lesion_fastest_{fraction:g}", m.lesions.fastest[k]
            yield f"lesion_random_{fraction:g}", random[k]
    if m.decoding is not None:
        yield from _decoding(m.decoding)
    if m.effective is not None:
        yield from _effective(m.effective)
    for when, points in (("before", m.fixed_points_before), ("after", m.fixed_points_after)):
        if points is not None:
            attractors = points.kind == "attractor"
            slowest = points.timescales[attractors, 0]
            yield f"fixed_points_{when}", (points.kind != "slow").sum()
            yield f"attractors_{when}", attractors.sum()
            yield f"slow_points_{when}", (points.kind == "slow").sum()
            yield f"slowest_{when}", slowest.max() if len(slowest) else math.nan


def _decoding(d: Decoding) -> Iterator[tuple[str, float]]:
    # The last time that is not later than the end of the stimulus, but for rounding.
    stimulus = int(np.searchsorted(d.time, d.stimulus * (1 + 1e-9), side="right")) - 1
    moments = {
        "stimulus": (d.after, stimulus),
        "delay": (d.after, -1),
        "response": (d.go_after, -1),
    }
    for when, (r2, k) in moments.items():
        groups = {"slow": r2.slow, "fast": r2.fast, "random": r2.random.mean(0), "every": r2.every}
        for group, over_time in groups.items():
            for q, quantity in enumerate(d.quantities):
                yield f"decode_{group}_{quantity}_{when}", over_time[k, q]


def _effective(effective: EffectiveTau) -> Iterator[tuple[str, float]]:
    for when, spread in (("before", effective.spread_before), ("after", effective.spread_after)):
        yield from _interval(f"tau_eff_correlation_{when}", spread.rank_correlation)
        for what in ("cv", "sd_log", "quantile_range"):
            yield from _interval(f"tau_eff_{what}_{when}", getattr(spread, what))
        yield f"tau_eff_unfitted_{when}", spread.n_left_out
        flags = getattr(effective, f"flag_{when}")
        yield f"tau_eff_too_long_{when}", sum("exceeds_trial" in flag for flag in flags)
    yield from _interval("tau_eff_sd_log_change", effective.change)


def _interval(name: str, estimate: Estimate) -> Iterator[tuple[str, float]]:
    yield name, estimate.value
    yield f"{name}_low", estimate.low
    yield f"{name}_high", estimate.high


def _plain(value) -> float | int | None:
    """A Python number, for JSON has no nan, no inf and no NumPy scalars."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    return float(value) if math.isfinite(value) else None
