"""One run of the experiment, many of them, and what they say::

    RunConfig -> iterate(config) -> RunState, RunState, ...  -> summarise_run -> RunResult
    RunConfig -> run_one(config) -> RunResult                (the same without looking)

A run is a pure function of its configuration. On one machine, with one NumPy, one BLAS and one
number of its threads, the same configuration gives the same bits, interrupted or not. Elsewhere
sums are rounded in another order, and training magnifies that: with another kernel of the same
BLAS, a run of 400 steps ended with a loss of 0.045 instead of 0.044, and the same accuracy, 0.986.

A run's seed spawns independent streams for tau, weights, training trials, private noise, and the
test set, so that two runs which differ in the distribution of tau alone share everything else:
their quantiles of tau, their weights, their trials and their noise. Comparisons are paired.
"""

from typing import TYPE_CHECKING

from tau_rnn._lazy import lazy_names

if TYPE_CHECKING:
    from tau_rnn.experiment.claims import load_claims
    from tau_rnn.experiment.config import RunConfig
    from tau_rnn.experiment.outcome import RunResult, run_one, summarise_run
    from tau_rnn.experiment.report import table_of_runs
    from tau_rnn.experiment.run import RunState, iterate
    from tau_rnn.experiment.store import load_run
    from tau_rnn.experiment.sweeps import Sweep, sweep
    from tau_rnn.experiment.unfinished import save_run

__all__ = [
    "RunConfig",
    "RunResult",
    "RunState",
    "Sweep",
    "iterate",
    "load_claims",
    "load_run",
    "run_one",
    "save_run",
    "summarise_run",
    "sweep",
    "table_of_runs",
]

__getattr__, __dir__ = lazy_names(__name__)
