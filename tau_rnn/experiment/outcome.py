"""The result of a run: its metrics, its history, and the network before and after training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.experiment.config import RunConfig
from tau_rnn.experiment.files import plain
from tau_rnn.experiment.metrics import METRICS, NO_SCORES, TABLE, WHEN, Metric, metric, scores_of
from tau_rnn.experiment.run import RunState, Setup, evaluate, iterate, set_up
from tau_rnn.measures import TrainingMeasures, effective_tau
from tau_rnn.measures.effective_tau import compare_effective
from tau_rnn.measures.run import PARTS, RUN, begin_measures, check_parts, measurable
from tau_rnn.model import Array, Params

__all__ = ["RunResult", "run_one", "summarise_run"]

_SHUFFLES = 3  # permutations of tau over which the accuracy with shuffled tau is averaged
ACTIVITY_TRIALS, ACTIVITY_SECONDS = 40, RUN
BASIC_MEASURES = ("weights", "alignment")  # cheap, for every run of a sweep
FULL_MEASURES = PARTS
NO_ACCURACY = "The task has no accuracy, so there are no scores and no steps to a criterion."


class RunResult(NamedTuple):
    """The result of a run.

    Attributes
    ----------
    config : RunConfig
    metrics : name -> number, see `tau_rnn.experiment.metrics.METRICS`
    history : one dict for each evaluation: step, train_loss (mean since the previous one), loss and
        the task's scores on the test set, accuracy first, grad_norm, weight_change
    initial, final : Params before and after training
    units : per-unit arrays (N,): tau_before and tau_after (s), intrinsic; tau_eff_before and
        tau_eff_after (s) of the spontaneous rates, and their warning flags tau_eff_flag_before and
        tau_eff_flag_after ("" where all is well); weight_change, ||dW_i|| of a unit's incoming
        recurrent weights
    measures : what `tau_rnn.measures.measure_run` found; None in a run read from a store, which
        keeps its numbers among the metrics

    Examples
    --------
    >>> from tau_rnn import run_one
    >>> config = RunConfig(units=4, steps=2, dt=0.1, batch=2, test_trials=4)
    >>> result = run_one(config, parts=())
    >>> result.final.W.shape, [row["step"] for row in result.history]
    ((4, 4), [0, 2])
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
        return _table_text(table_rows(self.metrics, self.history))

    def __repr__(self) -> str:
        score = "accuracy" if "accuracy" in self.metrics else "loss"
        return (
            f"RunResult({self.title}: {score} {self.metrics[score]:.3f} after "
            f"{self.metrics['steps']} steps, {len(self.metrics)} metrics)"
        )

    def _repr_html_(self) -> str:
        return _table_html(self.title, table_rows(self.metrics, self.history))


def remark(results: Iterable[RunResult]) -> str:
    """What to say of runs of a task that has no accuracy; else an empty text."""
    return "" if any("accuracy" in result.metrics for result in results) else NO_ACCURACY


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


def _shuffled_accuracy(setup: Setup, params: Params) -> float:
    """Accuracy on the held-out trials with tau permuted over the units, mean of 3 permutations."""
    rng = setup.rng("analysis")
    shuffled = [params._replace(tau=rng.permutation(params.tau)) for _ in range(_SHUFFLES)]
    return float(np.mean([evaluate(setup, p)["accuracy"] for p in shuffled]))


def run_one(config: RunConfig, parts: Sequence[str] = BASIC_MEASURES) -> RunResult:
    """Run a configuration from start to end.

    On one machine the same configuration gives the same bits, apart from the seconds: see
    `tau_rnn.experiment`.

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

    Examples
    --------
    >>> result = run_one(RunConfig(units=5, steps=2, dt=0.1, batch=2, test_trials=4), parts=())
    >>> [row["step"] for row in result.history]
    [0, 2]
    """
    parts = check_parts(parts)
    for state in iterate(config):
        last = state
    return summarise_run(config, last, parts)


def summarise_run(
    config: RunConfig,
    state: RunState,
    parts: Sequence[str] = BASIC_MEASURES,
    tell: Callable[[str], object] | None = None,
    begun: Callable[[Params], Callable[[], TrainingMeasures]] | None = None,
) -> RunResult:
    """The result of a run that has made all its steps.

    Parameters
    ----------
    config : RunConfig
    state : RunState after the last step
    parts : of `tau_rnn.measures`, as for `run_one`
    tell : called with the name of each phase when it begins, since some take seconds; or None
    begun : what `begin` returned for these parts before training; or None

    Returns
    -------
    RunResult

    Examples
    --------
    >>> from tau_rnn.experiment.run import iterate
    >>> config = RunConfig(units=4, steps=1, dt=0.1, batch=2, test_trials=4)
    >>> *_, last = iterate(config)
    >>> summarise_run(config, last, parts=()).history[-1]["step"]
    1
    """
    parts, tell = check_parts(parts), tell or (lambda name: None)
    setup = state.setup or set_up(config)._replace(initial=state.initial)
    initial, final = state.initial, Params(*(p.copy() for p in state.training.params))
    measured = (begun or begin(setup, parts, tell))(final)
    shuffled = None
    if "accuracy" in state.history[-1]:
        tell("shuffled tau")
        shuffled = _shuffled_accuracy(setup, final)
    if setup.task.noise:
        tell("effective timescales")
    units = unit_table(setup, final)
    measures = measured()
    if "effective" in parts:
        measures = _with_effective(measures, setup, units)
    steps, seconds = state.training.step, state.seconds
    run = Outcome(setup, state.history, final, units, steps, seconds, shuffled)
    metrics = _numbers_of(run, measures)
    return RunResult(config, metrics, list(state.history), initial, final, units, measures)


def begin(setup: Setup, parts, tell=None) -> Callable[[Params], Callable[[], TrainingMeasures]]:
    """Begin to measure a run, before its training if you like: see `begin_measures`."""
    config, parts = setup.config, [part for part in parts if part != "effective"]
    return begin_measures(
        setup.initial, setup.task, rng=setup.rng("measures"), phi=config.phi,
        method=config.method, parts=parts, progress=tell,
    )  # fmt: skip


def _with_effective(measures: TrainingMeasures, setup: Setup, units) -> TrainingMeasures:
    """The measures with their part "effective", which is of the timescales in ``units``."""
    if not setup.task.noise:
        return measures._replace(left_out={**measures.left_out, "effective": "noise"})
    intrinsic, tau_eff, flags = (
        [units[f"{name}_{when}"] for when in ("before", "after")]
        for name in ("tau", "tau_eff", "tau_eff_flag")
    )
    taus = [measurable(tau, flag)[0] for tau, flag in zip(tau_eff, flags)]
    seed = int(setup.rng("analysis").integers(2**63))
    return measures._replace(effective=compare_effective(intrinsic, taus, flags, seed))


def unit_table(setup: Setup, final: Params) -> dict[str, Array]:
    """Per-unit arrays (N,), as `RunResult` has them.

    The rates are those of 40 trials of 20 s without input, driven by private noise, the same before
    and after training, after a burn-in: a network that still drifts from its start towards where
    it settles would seem slower than it is. See `tau_rnn.measures.effective_tau`. A task without
    noise has no effective timescales: they are left out.
    """
    config, initial = setup.config, setup.initial
    table = {"weight_change": np.linalg.norm(final.W.astype(float) - initial.W, axis=1)}
    for when, params in (("before", initial), ("after", final)):
        table[f"tau_{when}"] = np.asarray(params.tau, float)
        if not setup.task.noise:
            continue
        fit = effective_tau(
            params, config.dt, setup.rng("analysis"), sigma=setup.task.noise,
            n_trials=ACTIVITY_TRIALS, duration=ACTIVITY_SECONDS, burn_in=config.burn_in,
            phi=config.phi, method=config.method,
        )  # fmt: skip
        table[f"tau_eff_{when}"] = fit.tau
        table[f"tau_eff_flag_{when}"] = np.asarray(fit.flag, str)
    return table


# --- its numbers, and their table ----------------------------------------------------------------


def _numbers_of(run, measures: TrainingMeasures) -> dict[str, Any]:
    """All metrics of a run that is complete: of an `Outcome`, and of what training changed."""
    last = run.history[-1]
    found = {name: value for name, value in last.items() if name not in NO_SCORES}
    task = run.setup.task
    there = {*last, *(["criterion"] if task.criterion is not None else [])}
    there |= {"noise"} if task.noise else set()
    for row in METRICS:
        if row.value is None or not there.issuperset(row.needs):
            continue
        whens = [(when,) for when in WHEN] if "<when>" in row.key else [()]
        found |= {key: row.value(run, *when) for key, when in zip(row.keys, whens)}
    return {**summarise(measures), **found}


def summarise(measures: TrainingMeasures) -> dict[str, float | int | None]:
    """The numbers of the measures, as `METRICS` declares them, in one flat dict.

    None stands for a number that is not defined (nan). Parts that were not measured are left out.

    >>> from tau_rnn import init_params, make_task
    >>> from tau_rnn.measures import measure_run
    >>> task, rng = make_task("multi_timescale", dt=0.1), np.random.default_rng(0)
    >>> before = init_params(6, task.n_in, task.n_out, 1.0, rng)
    >>> after = before._replace(b=before.b + 0.5)
    >>> row = summarise(measure_run(before, after, task, rng=0, parts="weights"))
    >>> round(row["weight_change_b"], 3)  # sqrt(6) / 2
    1.225
    """
    found: dict[str, Any] = {}
    for row in METRICS:
        if row.measured is None:
            continue
        part, value = row.measured
        for key, when in zip(row.keys, WHEN):
            measure = getattr(measures, part.replace("<when>", when))
            if measure is not None:
                of_when = key != row.key and "<when>" not in part
                number = value(measure, when) if of_when else value(measure)
                found |= number if isinstance(number, dict) else {key: number}
    return plain(found)


def table_rows(
    metrics: Mapping[str, Any], history: Sequence[Mapping[str, float]]
) -> Iterator[tuple[Metric, Any, Any]]:
    """The rows of the table of a run: metric, number before training, number after."""
    scores = scores_of(history)
    declared = [row for row in METRICS if row.key in TABLE]
    own = [metric(name) for name in scores if metric(name).key not in TABLE]
    for row in (*own, *declared):
        before, after = row.keys[0], row.keys[-1]
        if row.key in scores:
            yield row, history[0][row.key], metrics[row.key]
        elif after in metrics:
            yield row, metrics[before] if before != after else None, metrics[after]


def _number_text(row: Metric, value: float | None) -> str:
    """A number as the table of a run shows it."""
    return "-" if value is None or value != value else f"{value:.{row.decimals}f}"


def _table_text(rows: Iterable[tuple[Metric, Any, Any]]) -> str:
    """The rows of `table_rows` as plain text."""
    cells = [("", "before", "after")]
    cells += [(m.label, _number_text(m, a), _number_text(m, b)) for m, a, b in rows]
    width = max(len(row[0]) for row in cells)
    return "\n".join(f"  {name:<{width}}  {a:>8}  {b:>8}" for name, a, b in cells)


def _table_html(title: str, rows: Iterable[tuple[Metric, Any, Any]]) -> str:
    """The rows of `table_rows` as a table for notebooks."""
    body = "".join(
        f"<tr><th title='{escape(m.text)}'>{escape(m.label)}</th>"
        f"<td>{_number_text(m, before)}</td><td>{_number_text(m, after)}</td></tr>"
        for m, before, after in rows
    )
    head = "<tr><th></th><th>before</th><th>after</th></tr>"
    return f"<table><caption>{escape(title)}</caption>{head}{body}</table>"
