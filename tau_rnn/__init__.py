"""Recurrent networks with diverse intrinsic timescales, every gradient derived by hand::

    tau_i dx_i/dt = -x_i + sum_j W_ij phi(x_j) + sum_k W_in_ik u_k + b_i

Start with ``python -m tau_rnn.run --dist normal``, or with the tutorials. What is offered here, and
every submodule (``tau_rnn.timescales``), is loaded when it is first used.
"""

from typing import TYPE_CHECKING

from tau_rnn._lazy import lazy_names

if TYPE_CHECKING:
    from tau_rnn.bptt import backward, tangent
    from tau_rnn.experiment.config import RunConfig
    from tau_rnn.experiment.outcome import run_one
    from tau_rnn.experiment.store import load_run
    from tau_rnn.experiment.sweeps import sweep
    from tau_rnn.gradcheck import check_backward
    from tau_rnn.losses import mse
    from tau_rnn.model import Params, Trajectory, forward, init_params
    from tau_rnn.noise import private_noise
    from tau_rnn.tasks import make_task
    from tau_rnn.taus import sample_tau
    from tau_rnn.timescales import fit_timescales
    from tau_rnn.training import train

__version__ = "0.2.0"

__all__ = [
    "Params",
    "RunConfig",
    "Trajectory",
    "backward",
    "check_backward",
    "fit_timescales",
    "forward",
    "init_params",
    "load_run",
    "make_task",
    "mse",
    "private_noise",
    "run_one",
    "sample_tau",
    "sweep",
    "tangent",
    "train",
]

__getattr__, __dir__ = lazy_names(__name__)
