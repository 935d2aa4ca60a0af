"""Recurrent networks with diverse intrinsic timescales, every gradient derived by hand.

    tau_i dx_i/dt = -x_i + sum_j W_ij phi(x_j) + sum_k W_in_ik u_k + b_i

Start with ``python -m tau_rnn.run --dist normal``, or with the tutorials.
"""

from tau_rnn.bptt import backward, tangent
from tau_rnn.losses import mse
from tau_rnn.model import Params, Trajectory, forward, init_params, private_noise, velocity
from tau_rnn.tasks import make_task
from tau_rnn.taus import sample_tau
from tau_rnn.timescales import fit_timescales

__version__ = "0.2.0"

__all__ = [
    "Params",
    "Trajectory",
    "backward",
    "fit_timescales",
    "forward",
    "init_params",
    "make_task",
    "mse",
    "private_noise",
    "sample_tau",
    "tangent",
    "velocity",
]
