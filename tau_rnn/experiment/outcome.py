"""What a run gave: its metrics, its history, and the network before and after training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.metrics import numbers_of, table_html, table_rows, table_text
from tau_rnn.experiment.run import RunState, Setup, evaluate, iterate, set_up
from tau_rnn.measures import TrainingMeasures, measure_run, spontaneous_rates, summarise
from tau_rnn.measures.effective_tau import compare_effective
from tau_rnn.measures.run import PARTS, measurable
from tau_rnn.model import Array, Params

__all__ = ["RunResult", "run_one", "summarise_run"]

SHUFFLES = 3  # permutations of tau over which the accuracy with shuffled tau is averaged
ACTIVITY_TRIALS, ACTIVITY_SECONDS = 40, 20.0
BASIC_MEASURES = ("weights", "alignment")  # what costs little, for every run of a sweep
FULL_MEASURES = PARTS
#: Units beyond which a part is left out: it would take minutes, growing with their cube.
MOST_UNITS = {
    "alignment": 500, "fixed_points": 500, "rank": 1000, "lesions": 1000, "decoding": 1000,
}  # fmt: skip


class RunResult(NamedTuple):
    """What a run gave.

    Attributes
    ----------
    config : RunConfig
    metrics : name -> number, see `tau_rnn.experiment.metrics.METRICS`
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

    @property
    def title(self) -> str:
        """The run in a few words."""
        config = self.config
        return f"{config.task_label}, tau ~ {config.dist_label}, seed {config.seed}"

    @property
    def table(self) -> str:
        """The main numbers before and after training, as text."""
        return table_text(table_rows(self.metrics, self.history))

    def __repr__(self) -> str:
        score = "accuracy" if "accuracy" in self.metrics else "loss"
        return (
            f"RunResult({self.title}: {score} {self.metrics[score]:.3f} after "
            f"{self.metrics['steps']} steps, {len(self.metrics)} metrics)"
        )

    def _repr_html_(self) -> str:
        return table_html(self.title, table_rows(self.metrics, self.history))


class Outcome(NamedTuple):
    """A run that has made all its steps, for the functions of `metrics.METRICS`."""

    setup: Setup
    history: list[dict[str, float]]
    final: Params
    units: dict[str, Array]
    step: int
    seconds: float
    shuffled: float | None  # accuracy with tau shuffled; None of a task without an accuracy

    def too_long(self, when: str) -> Array:
        """Which units (N,) have a timescale that is too long for the trials."""
        return measurable(self.units[f"tau_eff_{when}"], self.units[f"tau_eff_flag_{when}"])[1]

    def fitted(self, when: str) -> Array:
        """Which units (N,) have an effective timescale."""
        return np.isfinite(self.units[f"tau_eff_{when}"]) | self.too_long(when)

    def log_tau(self, when: str) -> Array:
        """ln of the effective timescales of the units that have one, too long ones cut."""
        names = f"tau_eff_{when}", f"tau_eff_flag_{when}"
        return np.log(measurable(*map(self.units.get, names))[0][self.fitted(when)])


def shuffled_accuracy(setup: Setup, params: Params) -> float:
    """Accuracy on the held-out trials with tau permuted over the units, mean of 3 permutations."""
    rng = setup.rng("analysis")
    shuffled = [params._replace(tau=rng.permutation(params.tau)) for _ in range(SHUFFLES)]
    return float(np.mean([evaluate(setup, p)["accuracy"] for p in shuffled]))


def run_one(config: RunConfig, parts=BASIC_MEASURES) -> RunResult:
    """Run a configuration from start to end.

    The same configuration gives the same bits, but for the seconds, where `tau_rnn.experiment` says
    so: on one machine.

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
    """The result of a run that has made all its steps; parts as for `run_one`.

    ``tell`` is called with the name of each phase when it begins: some take seconds.
    """
    tell = tell or (lambda name: None)
    setup = state.setup or set_up(config)._replace(initial=state.initial)
    initial, final = state.initial, Params(*(p.copy() for p in state.training.params))
    shuffled = None
    if "accuracy" in state.history[-1]:
        tell("shuffled tau")
        shuffled = shuffled_accuracy(setup, final)
    tell("effective timescales")
    units = unit_table(setup, final)
    measures = _measures(setup, final, units, parts, tell)
    steps, seconds = state.training.step, state.seconds
    run = Outcome(setup, state.history, final, units, steps, seconds, shuffled)
    metrics = numbers_of(run, summarise(measures))
    return RunResult(config, metrics, list(state.history), initial, final, units, measures)


def _measures(setup: Setup, final: Params, units, parts, tell) -> TrainingMeasures:
    """What training changed; its "effective" part is of the timescales in ``units``."""
    config, parts = setup.config, (parts,) if isinstance(parts, str) else tuple(parts)
    measures = measure_run(
        setup.initial, final, setup.task, rng=setup.rng("measures"), phi=config.phi,
        method=config.method, parts=[part for part in parts if part != "effective"],
        progress=tell,
    )  # fmt: skip
    if "effective" not in parts:
        return measures
    if not setup.task.noise:
        return measures._replace(left_out={**measures.left_out, "effective": "noise"})
    intrinsic, tau_eff, flags = (
        [units[f"{name}_{when}"] for when in ("before", "after")]
        for name in ("tau", "tau_eff", "tau_eff_flag")
    )
    taus = [measurable(tau, flag)[0] for tau, flag in zip(tau_eff, flags)]
    seed = setup.rng("analysis").integers(2**63)
    return measures._replace(effective=compare_effective(intrinsic, taus, flags, seed))


def unit_table(setup: Setup, final: Params) -> dict[str, Array]:
    """Per-unit arrays (N,).

    tau_before, tau_after : intrinsic time constants (s)
    tau_eff_before, tau_eff_after : effective timescales (s) of the spontaneous rates
    tau_eff_flag_before, tau_eff_flag_after : warning flags, "" where all is well
    weight_change : ||dW_i||, the norm of the change of each unit's incoming recurrent weights

    The rates are those of 40 trials of 20 s without input, driven by private noise, the same before
    and after training, after a burn-in: a network that still drifts from its start towards where
    it settles would seem slower than it is. Their effective timescales are those of
    `tau_rnn.timescales.fit_timescales` with ``center="trial"`` for every unit and network: a
    trained network may settle in another state in each trial, and its timescale shall be that of
    its fluctuations there.
    """
    from tau_rnn.timescales import fit_timescales

    config, initial = setup.config, setup.initial
    table = {"weight_change": np.linalg.norm(final.W.astype(float) - initial.W, axis=1)}
    for when, params in (("before", initial), ("after", final)):
        rates = spontaneous_rates(
            params, config.dt, setup.rng("analysis"), sigma=setup.task.noise,
            n_trials=ACTIVITY_TRIALS, duration=ACTIVITY_SECONDS, burn_in=config.burn_in,
            phi=config.phi, method=config.method,
        )  # fmt: skip
        fit = fit_timescales(rates, config.dt, center="trial", ci=None)
        table[f"tau_{when}"] = np.asarray(params.tau, float)
        table[f"tau_eff_{when}"] = fit.tau
        table[f"tau_eff_flag_{when}"] = np.asarray(fit.flag, str)
    return table
