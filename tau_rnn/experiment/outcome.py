"""What a run gave: its metrics, its history, and the network before and after training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.run import (
    RunState,
    evaluate,
    iterate,
    make_held_out,
    streams,
)
from tau_rnn.measures import (
    PARTS,
    TrainingMeasures,
    compare_effective,
    measure_run,
    spontaneous_rates,
    summarise,
)
from tau_rnn.model import Array, Params

SHUFFLES = 3  # permutations of tau over which the accuracy with shuffled tau is averaged
ACTIVITY_TRIALS, ACTIVITY_SECONDS = 40, 20.0
BASIC_MEASURES = ("weights", "alignment")  # what costs little, for every run of a sweep
FULL_MEASURES = PARTS
#: Units beyond which a part is left out: it would take minutes, growing with their cube.
MOST_UNITS = {
    "alignment": 500, "fixed_points": 500, "rank": 1000, "lesions": 1000, "decoding": 1000,
}  # fmt: skip
LONGEST_TIMESCALE = ACTIVITY_SECONDS / 3  # s; a longer one cannot be told from trials this long


class RunResult(NamedTuple):
    """What a run gave.

    Attributes
    ----------
    config : RunConfig
    metrics : name -> number, see `summarise_run`
    history : one dict for each evaluation: step, train_loss (mean since the one before), loss and
        the task's scores on the test set, accuracy first, grad_norm, weight_change
    initial, final : Params before and after training
    units : per-unit arrays (N,), see `unit_table`
    measures : what `tau_rnn.measures.measure_run` found; None in a run read from a store, which
        keeps its numbers among the metrics
    """

    config: RunConfig
    metrics: dict[str, Any]
    history: list[dict[str, float]]
    initial: Params
    final: Params
    units: dict[str, Array]
    measures: TrainingMeasures | None = None


def run_one(config: RunConfig, parts=BASIC_MEASURES) -> RunResult:
    """Run a configuration from start to end. Same configuration, same bits (but for seconds).

    Parameters
    ----------
    config : RunConfig
    parts : what is measured of the change, see `tau_rnn.measures.measure_run`

    Returns
    -------
    RunResult

    Raises
    ------
    NonFiniteLoss
        If the loss, its gradient or an update is not finite.
    ValueError
        If the drawn tau do not suit dt or the training.
    """
    for state in iterate(config):
        last = state
    return summarise_run(config, last, parts)


def within_bounds(config: RunConfig, parts=FULL_MEASURES) -> tuple[tuple[str, ...], ...]:
    """The parts that are measured of a run, and those left out since its network is too large.

    It depends on the configuration alone, not on the speed of the machine: a run has the same
    metrics everywhere.
    """
    left_out = tuple(p for p in parts if config.units > MOST_UNITS.get(p, config.units))
    return tuple(p for p in parts if p not in left_out), left_out


def summarise_run(
    config: RunConfig,
    state: RunState,
    parts=BASIC_MEASURES,
    tell: Callable[[str], object] | None = None,
) -> RunResult:
    """The result of a run that has made all its steps.

    ``tell`` is called with the name of each phase when it begins: some take seconds.

    The metrics are

    accuracy, loss, and the task's other scores
        on the test set after the last step
    accuracy_last5, loss_last5
        means over the last five evaluations
    steps_to_criterion
        step of the first evaluation with accuracy >= the task's criterion (0.9); None if there
        was none. Of a task without a criterion or an accuracy, what needs them is left out
    log_mean_loss
        ln of the mean of the test loss over the steps (trapezoidal rule)
    weight_change
        ||W - W0||_F / ||W0||_F
    accuracy_initial, loss_initial
        before training
    accuracy_shuffled_tau
        accuracy after tau was permuted over the units (mean of 3 permutations): does it matter
        which unit has which tau?
    tau_eff_median_*, tau_eff_sd_log_*, tau_eff_correlation_*
        effective timescales before and after training (`unit_table`): median (s), sd of ln, and
        Spearman correlation with the intrinsic tau (None where all are equal). A timescale too
        long for the trials counts as `LONGEST_TIMESCALE`, 6.7 s
    tau_eff_too_long_*, tau_eff_unfitted_*
        how many units these are, and how many have no estimate at all
    the numbers of `tau_rnn.measures.summarise`
        of the parts asked for
    steps, seconds
        updates made, and the time they and the evaluations took
    """
    from scipy.integrate import trapezoid
    from scipy.stats import spearmanr

    tell = tell or (lambda name: None)
    training, initial, history, _, seconds = state
    task, final = config.make_task(), Params(*(p.copy() for p in training.params))
    first, last = history[0], history[-1]
    steps = [row["step"] for row in history]
    area = trapezoid([row["loss"] for row in history], steps) / (steps[-1] - steps[0])
    scores = {k: v for k, v in last.items() if k not in ("step", "train_loss", "grad_norm")}
    metrics: dict[str, Any] = {
        **scores,
        "loss_last5": float(np.mean([row["loss"] for row in history[-5:]])),
        "log_mean_loss": float(np.log(area)),
        "loss_initial": first["loss"],
    }
    if "accuracy" in scores:
        tell("shuffled tau")
        metrics |= {
            "accuracy_last5": float(np.mean([row["accuracy"] for row in history[-5:]])),
            "accuracy_initial": first["accuracy"],
            "accuracy_shuffled_tau": shuffled_accuracy(config, final),
        }
        if task.criterion is not None:
            reached = [row["step"] for row in history if row["accuracy"] >= task.criterion]
            metrics["steps_to_criterion"] = reached[0] if reached else None
    tell("effective timescales")
    units = unit_table(config, initial, final)
    for when, tau in (("before", initial.tau), ("after", final.tau)):
        tau_eff, too_long = measurable(units[f"tau_eff_{when}"], units[f"tau_eff_flag_{when}"])
        fitted = np.isfinite(tau_eff)
        log_tau, several = np.log(tau_eff[fitted]), fitted.sum() > 2
        ranked = several and np.ptp(tau[fitted]) > 0 and np.ptp(log_tau) > 0
        metrics |= {
            f"tau_eff_median_{when}": float(np.exp(np.median(log_tau))) if several else None,
            f"tau_eff_sd_log_{when}": float(log_tau.std(ddof=1)) if several else None,
            f"tau_eff_correlation_{when}": (
                float(spearmanr(tau[fitted], log_tau).statistic) if ranked else None
            ),
            f"tau_eff_too_long_{when}": int(too_long.sum()),
            f"tau_eff_unfitted_{when}": int((~fitted).sum()),
        }
    measures = measures_of(config, initial, final, units, parts, tell)
    metrics |= summarise(measures)
    metrics |= {"steps": training.step, "seconds": seconds}
    return RunResult(config, metrics, list(history), initial, final, units, measures)


def measures_of(
    config: RunConfig, initial: Params, final: Params, units, parts, tell=None
) -> TrainingMeasures:
    """What training changed: `tau_rnn.measures.measure_run` with the run's own random stream.

    Its "effective" part is of the timescales in ``units``, see `unit_table`.
    """
    parts = (parts,) if isinstance(parts, str) else tuple(parts)
    task = config.make_task()
    measures = measure_run(
        initial, final, task, rng=streams(config.seed)["measures"],
        phi=config.phi, method=config.method, parts=[part for part in parts if part != "effective"],
        progress=tell,
    )  # fmt: skip
    if "effective" not in parts:
        return measures
    if not task.noise:
        return measures._replace(left_out={**measures.left_out, "effective": "noise"})
    intrinsic, tau_eff, flags = (
        [units[f"{name}_{when}"] for when in ("before", "after")]
        for name in ("tau", "tau_eff", "tau_eff_flag")
    )
    taus = [measurable(tau, flag)[0] for tau, flag in zip(tau_eff, flags)]
    seed = streams(config.seed)["analysis"].integers(2**63)
    return measures._replace(effective=compare_effective(intrinsic, taus, flags, seed))


def shuffled_accuracy(config: RunConfig, params: Params) -> float:
    """Accuracy on the test set with tau permuted over the units, a mean of 3 permutations."""
    test, rng = make_held_out(config, params), streams(config.seed)["analysis"]
    shuffled = [params._replace(tau=rng.permutation(params.tau)) for _ in range(SHUFFLES)]
    return float(np.mean([evaluate(config, p, test)["accuracy"] for p in shuffled]))


def measurable(tau_eff, flag) -> tuple[Array, Array]:
    """Timescales (N,) in s, too long ones set to `LONGEST_TIMESCALE`; and which these were."""
    exceeds = np.char.find(np.asarray(flag, str), "exceeds_trial") >= 0
    too_long = exceeds | (np.nan_to_num(tau_eff) > LONGEST_TIMESCALE)
    return np.where(too_long, LONGEST_TIMESCALE, tau_eff), too_long


def unit_table(config: RunConfig, initial: Params, final: Params) -> dict[str, Array]:
    """Per-unit arrays (N,).

    tau_before, tau_after : intrinsic time constants (s)
    tau_eff_before, tau_eff_after : effective timescales (s) of the spontaneous rates
    tau_eff_flag_before, tau_eff_flag_after : what is to be said of them, "" where all is well
    weight_change : ||dW_i||, the norm of the change of each unit's incoming recurrent weights

    The rates are those of 40 trials of 20 s without input, driven by private noise, the same before
    and after training, after a burn-in: a network that still drifts from its start towards where
    it settles would seem slower than it is. Their effective timescales are those of
    `tau_rnn.timescales.fit_timescales` with ``center="trial"`` for every unit and network: a
    trained network may settle in another state in each trial, and its timescale shall be that of
    its fluctuations there.
    """
    from tau_rnn.timescales import fit_timescales

    table = {"weight_change": np.linalg.norm(final.W.astype(float) - initial.W, axis=1)}
    for when, params in (("before", initial), ("after", final)):
        rates = spontaneous_rates(
            params, config.dt, streams(config.seed)["analysis"], sigma=config.make_task().noise,
            n_trials=ACTIVITY_TRIALS, duration=ACTIVITY_SECONDS, burn_in=config.burn_in,
            phi=config.phi, method=config.method,
        )  # fmt: skip
        fit = fit_timescales(rates, config.dt, center="trial", ci=None)
        table[f"tau_{when}"] = np.asarray(params.tau, float)
        table[f"tau_eff_{when}"] = fit.tau
        table[f"tau_eff_flag_{when}"] = np.asarray(fit.flag, str)
    return table
