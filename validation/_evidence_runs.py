"""The runs of the protocol, part by part, and the rows that they give."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from tau_rnn.discretisation import alpha
from tau_rnn.experiment import RunConfig, load_run, run_one, save_run
from tau_rnn.experiment.conditions import (
    DEFAULT_CONTROLS,
    POSTER,
    sweep_configs,
)
from tau_rnn.experiment.metrics import metric

TASKS = ("multi_timescale", "integrate_and_remember")
DEGREES = (0.0, 0.3, 0.6, 0.9)
HOMOGENEOUS = (0.4, 0.61, 0.8, 1.0, 1.3, 1.64, 2.2)  # s
#: The harder version of part D of the protocol.
HARDER = "multi_timescale:delay_min=3,delay_max=6,n_pulses=9,evidence_sd=1,noise=0.3"


class Plan(NamedTuple):
    """What the parts are made of: settings that all runs share, and seeds."""

    base: RunConfig
    old_seeds: range
    new_seeds: range
    few_seeds: range
    looks: tuple[int, ...]  # steps after which long runs are looked at


FULL = Plan(  # all else is the default of RunConfig
    RunConfig(burn_in=5.0),
    range(2000, 2020), range(3000, 3020), range(3000, 3010), (400, 800, 1600),
)  # fmt: skip
TINY = Plan(
    RunConfig(units=8, steps=20, eval_every=5, batch=8, dt=0.1, test_trials=32, burn_in=5.0),
    range(4), range(4), range(2), (20, 40),
)  # fmt: skip


def spread_around_1(h: float) -> str:
    """The text of the uniform distribution on 1 - h to 1 + h seconds."""
    text = "vanilla" if h == 0 else f"uniform:low={1 - h:g},high={1 + h:g}"
    return RunConfig(dist=text).dist  # as a run names it: 0.1 to 1.9 is just "uniform"


def constant(tau: float) -> str:
    """The text of the homogeneous distribution."""
    return "vanilla" if tau == 1 else f"constant:{tau:g}"


def crossed(base: RunConfig, seeds, tasks, conditions: Iterable[dict]) -> list[RunConfig]:
    """Every condition in every task, seed by seed, so that an unfinished part has whole pairs."""
    return [
        base.replace(task=task, seed=seed, **condition)
        for seed in seeds
        for task in tasks
        for condition in conditions
    ]


def degree(plan: Plan) -> list[RunConfig]:
    kinds: list[dict] = [{"dist": "vanilla"}]
    for h in DEGREES[1:]:
        kinds += [{"dist": spread_around_1(h), "rescale_tau": r} for r in ("none", "harmonic")]
    return crossed(plan.base, plan.new_seeds, TASKS, kinds)


def homogeneous(plan: Plan) -> list[RunConfig]:
    kinds = [{"dist": dist} for dist in (*map(constant, HOMOGENEOUS), *POSTER[1:])]
    return crossed(plan.base, plan.new_seeds, TASKS, kinds)


def three(base: RunConfig, seeds, tasks) -> list[RunConfig]:
    """Vanilla, uniform, and uniform with the leak rate held."""
    kinds = ({"dist": "vanilla"}, {"dist": "uniform"},
             {"dist": "uniform", "rescale_tau": "harmonic"})  # fmt: skip
    return crossed(base, seeds, tasks, kinds)


def one_changed(**settings) -> Callable[[Plan], list[RunConfig]]:
    """A part in which one thing is not as in the others."""
    return lambda plan: three(plan.base.replace(**settings), plan.few_seeds, TASKS)


#: name -> its runs, in the order in which they are made.
PARTS: dict[str, Callable[[Plan], list[RunConfig]]] = {
    "confirmation": lambda p: sweep_configs(p.base, POSTER, p.old_seeds, TASKS, DEFAULT_CONTROLS),
    "degree": degree,
    "homogeneous": homogeneous,
    "lasting": lambda p: three(p.base.replace(steps=p.looks[-1]), p.few_seeds, TASKS),
    "tau-trained": one_changed(train="+tau"),
    "dt-0.1": one_changed(dt=0.1),
    "harder": lambda p: three(p.base, p.few_seeds, [HARDER]),
    "lr-0.001": one_changed(lr=0.001),
    "lr-0.009": one_changed(lr=0.009),
    "gain-1.0": one_changed(gain=1.0),
    "gain-1.2": one_changed(gain=1.2),
    "units-50": one_changed(units=50),
    "units-200": one_changed(units=200),
}


# --- computing -----------------------------------------------------------------------------------


def is_complete(folder: Path) -> bool:
    """Whether a run was stored: its numbers are written last."""
    return (folder / "metrics.json").is_file()


def place(store, config: RunConfig) -> Path:
    """The folder of a run: its key alone, which every setting is part of."""
    return Path(store) / config.key


def processes(workers: int) -> ProcessPoolExecutor:
    """New processes with one BLAS thread each."""
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[name] = "1"
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def whole_seeds(configs: Sequence[RunConfig], store) -> list[RunConfig]:
    """The runs of those seeds of which the store holds every run."""
    lacking = {c.seed for c in configs if not is_complete(place(store, c))}
    return [c for c in configs if c.seed not in lacking]


def compute(settings: dict, store: str) -> str:
    """Make a run and store it, in a worker; returns its error, or an empty text."""
    config = RunConfig.from_json(settings)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # training checks, and says where
            save_run(place(store, config), run_one(config, parts=("weights",)))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def fill(configs: Iterable[RunConfig], store, workers: int, say=print) -> dict[RunConfig, str]:
    """Compute what the store does not hold; returns the errors of the runs that failed."""
    todo = [c for c in dict.fromkeys(configs) if not is_complete(place(store, c))]
    if not todo:
        return {}
    errors, began = {}, time.monotonic()
    with processes(workers) as pool:
        flying = {pool.submit(compute, c.to_json(), str(store)): c for c in todo}
        for k, future in enumerate(as_completed(flying), start=1):
            if future.result():
                errors[flying[future]] = future.result()
                say(f"failed: {flying[future]}: {future.result()}", file=sys.stderr)
            if k % 20 == 0 or k == len(todo):
                left = (time.monotonic() - began) / k * (len(todo) - k)
                say(f"{k} of {len(todo)} runs, {left / 60:.0f} min left", flush=True)
    return errors


# --- rows ----------------------------------------------------------------------------------------


class Done(NamedTuple):
    """A stored run, and what it had reached after some of its steps."""

    config: RunConfig
    steps: int
    metrics: dict[str, Any]
    history: list[dict[str, float]]


def load(configs: Iterable[RunConfig], store, looks: Sequence[int]) -> list[Done]:
    """The stored runs of a part; one for each look at a long run."""
    found = []
    for config in configs:
        result = load_run(place(store, config))
        for steps in looks if config.steps == looks[-1] else (config.steps,):
            rows = [row for row in result.history if row["step"] <= steps]
            values = reached(rows, config.make_task().criterion)
            if steps == config.steps:
                values |= {k: v for k, v in result.metrics.items() if k in AT_THE_END}
                values["seconds"] = round(values["seconds"], 2)
                values |= leak_rates(config, result.initial.tau)
                if "tau" in config.train:
                    values |= trained_tau(result.initial.tau, result.final.tau)
            found.append(Done(config, steps, values, rows))
    return found


#: Metrics of a run that its history gives, up to any step.
AT_ANY_STEP = ("log_mean_loss", "loss_last5", "accuracy_last5", "steps_to_criterion")
#: Metrics of a run that are known only after its last step.
AT_THE_END = (
    "conflict_accuracy", "pattern_accuracy", "evidence_accuracy", "value_accuracy", "accuracy",
    "accuracy_shuffled_tau", "effective_rank", "seconds",
)  # fmt: skip


def reached(history, criterion: float) -> dict[str, Any]:
    """What a run had reached by the end of a history."""
    task = SimpleNamespace(criterion=criterion)
    run = SimpleNamespace(history=history, setup=SimpleNamespace(task=task))
    found = {row.key: row.value(run) for row in map(metric, AT_ANY_STEP) if row.value}
    return {**found, "weight_change": history[-1]["weight_change"]}


def leak_rates(config: RunConfig, tau) -> dict[str, float]:
    """Mean leak rate (1/s) of the equation, and of what a step of dt takes away of a state."""
    step = alpha(np.asarray(tau, float), config.dt, config.method)
    steps = float(step.mean() / config.dt)
    return {"leak_rate": float(np.mean(1 / tau)), "leak_rate_of_steps": steps}


def trained_tau(before, after) -> dict[str, float]:
    """What trained time constants look like (s)."""
    from scipy.stats import spearmanr

    several = np.ptp(before) > 0
    return {
        "tau_mean": float(np.mean(after)),
        "tau_sd": float(np.std(after, ddof=1)),
        "tau_low": float(np.min(after)),
        "tau_high": float(np.max(after)),
        "tau_harmonic": float(1 / np.mean(1 / after)),
        "tau_rank_correlation": float(spearmanr(before, after).statistic) if several else math.nan,
    }


SETTINGS = (
    "task", "dist", "rescale_tau", "lr_scale", "gain", "units", "dt", "lr", "train", "seed",
)  # fmt: skip


def run_row(part: str, done: Done) -> dict[str, Any]:
    """A run as a row of runs.csv."""
    config = {**done.config.to_json(), "train": "+".join(done.config.train)}
    row = {"part": part, "key": done.config.key, **{k: config[k] for k in SETTINGS}}
    return {**row, "steps": done.steps, **done.metrics}
