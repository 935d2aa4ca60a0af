"""The public names as a strictly typed script of a user calls them: for ``mypy --strict``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import tau_rnn

Array = npt.NDArray[np.float64]


def simulate(seed: int) -> tuple[tau_rnn.Params, tau_rnn.Trajectory]:
    """A network and its run."""
    rng = np.random.default_rng(seed)
    tau: Array = tau_rnn.sample_tau("normal:sd=0.4", 20, rng)
    params: tau_rnn.Params = tau_rnn.init_params(20, 2, 1, tau, rng, gain=0.9)
    noise = tau_rnn.private_noise(params, 0.1, 0.2, 30, 4, rng)
    u = rng.standard_normal((30, 4, 2))
    return params, tau_rnn.forward(params, u, 0.1, noise=noise)


def gradient(params: tau_rnn.Params, traj: tau_rnn.Trajectory) -> tau_rnn.Params:
    """Of a mean squared error, checked along one direction."""
    target = np.zeros_like(traj.y)
    loss, dy = tau_rnn.mse(traj.y, target)
    size: float = 1.0 + loss
    g: tau_rnn.Params = tau_rnn.backward(params, traj, dy)
    v = tau_rnn.gradcheck.random_direction(params, np.random.default_rng(1))
    along: Array = tau_rnn.tangent(params, traj, v)
    error: float = tau_rnn.gradcheck.relative_error(g, v, float(np.sum(dy * along)))
    assert error < 1e-10 and size > 0
    return g


def trained(rng: np.random.Generator) -> float:
    """A few steps of training, and the loss of the last."""
    task = tau_rnn.make_task("multi_timescale", dt=0.1)
    before = tau_rnn.init_params(10, task.n_in, task.n_out, 1.0, rng)
    after, history = tau_rnn.train(before, task, 3, rng=rng, lr=0.01)
    changed: float = tau_rnn.measures.weight_change(before.W, after.W).relative
    assert changed > 0
    last: float = history[-1]["loss"]
    return last


def timescales(rates: Array) -> Array:
    """Of each unit, with its interval."""
    fit = tau_rnn.fit_timescales(rates, 0.1)
    tau: Array = fit.tau
    interval: Array = fit.tau_ci
    return np.vstack([tau, interval.T])


def experiment(store: Path) -> dict[str, float]:
    """Two runs, stored and read back."""
    config = tau_rnn.RunConfig(units=4, steps=2, batch=2, dt=0.1, test_trials=4, seed=1)
    done = tau_rnn.sweep([config, config.replace(dist="uniform")], store=store)
    one = tau_rnn.load_run(done.folders[config])
    assert one.config == config and len(done.load()) == 2
    return {"accuracy": one.metrics["accuracy"], "loss": tau_rnn.run_one(config).metrics["loss"]}


def main(argv: list[str]) -> int:
    """Everything once."""
    params, traj = simulate(0)
    g = gradient(params, traj)
    report = tau_rnn.check_backward(tau_rnn.backward)
    rates = np.swapaxes(np.random.default_rng(0).standard_normal((100, 5, 2)), 0, 1)
    found = timescales(rates)
    loss = trained(np.random.default_rng(0))
    results = experiment(Path(argv[0]))
    print(report.ok, g.tau.shape, found.shape, loss > 0, sorted(results))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
