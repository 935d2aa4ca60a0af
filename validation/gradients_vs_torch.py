"""Are our gradients, and a whole training run, those of automatic differentiation?

    python validation/gradients_vs_torch.py            about a minute, draws the figure
    python validation/gradients_vs_torch.py --quick    smaller networks, no figure

The network is written anew as a torch module and differentiated by autograd in float64; nothing
of it is taken from the package but the nonlinearities' names. Needs torch.
"""

from __future__ import annotations

from itertools import islice, product

import numpy as np
from _report import FIGURES, Report, is_quick

try:
    import torch
except ImportError:
    torch = None

from tau_rnn.bptt import backward
from tau_rnn.losses import mse
from tau_rnn.model import METHODS, NONLINEARITIES, Params, forward, init_params, private_noise
from tau_rnn.parametrization import TAU_MAX
from tau_rnn.tasks import make_task
from tau_rnn.taus import sample_tau
from tau_rnn.training import TrainConfig, start, training_steps

FIELDS = Params._fields
SIZES = (1, 2, 3, 5, 10, 20, 50, 100, 200)


def torch_outputs(p, u, dt, phi, method, noise):
    """Simulate the network in torch; p holds tensors by field name. Returns y (T, B, n_out)."""
    phi_of = {
        "tanh": torch.tanh,
        "relu": torch.relu,
        # torch's own softplus is replaced by x above a threshold, an error of 2e-9.
        "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        "sigmoid": torch.sigmoid,
        "linear": lambda x: x,
    }[phi]
    alpha = dt / p["tau"] if method == "euler" else 1 - torch.exp(-dt / p["tau"])
    x = p["x0"].expand(u.shape[1], -1)
    y = []
    for t in range(len(u)):
        current = phi_of(x) @ p["W"].T + u[t] @ p["W_in"].T + p["b"]
        if noise is not None:
            current = current + noise[t]
        x = x + alpha * (current - x)
        y.append(phi_of(x) @ p["W_out"].T + p["b_out"])
    return torch.stack(y)


def torch_loss(y, target, mask):
    weights = mask[..., None].expand_as(y) if mask.ndim == 2 else mask
    return (weights * (y - target) ** 2).sum() / weights.sum()


def draw(rng, N, T, phi, method, noisy):
    """A random network and its trials, nothing in it zero. Spectral radius below 1: no chaos."""
    n_in, n_out, B = (int(rng.integers(1, most)) for most in (5, 4, 5))
    dt = float(rng.choice([0.001, 0.02, 0.1]))
    params = init_params(N, n_in, n_out, dt / rng.uniform(0.02, 0.5, N), rng, gain=0.9)
    params = params._replace(
        **{f: 0.5 * rng.standard_normal(getattr(params, f).shape) for f in ("b", "b_out", "x0")}
    )
    noise = private_noise(params, dt, 0.3, T, B, rng, method=method) if noisy else None
    u, target = rng.standard_normal((T, B, n_in)), rng.standard_normal((T, B, n_out))
    return params, u, dt, noise, target, rng.uniform(0, 1, (T, B))


def compare_gradients(report, rng, repeats, longest):
    """Relative errors of every gradient over random networks, for each phi and method."""
    sizes = iter(rng.permutation(np.repeat(SIZES, 99)))
    for phi, method in product(NONLINEARITIES, METHODS):
        worst, largest = 0.0, [0, 0]
        for k in range(2 * repeats):
            # The first of each kind is the largest; the others are of any size and length.
            N = SIZES[-1] if k == 0 and longest >= 500 else int(next(sizes))
            T = longest if k == 0 else int(np.exp(rng.uniform(0, np.log(longest))))
            largest = max(largest[0], N), max(largest[1], T)
            params, u, dt, noise, target, mask = draw(rng, N, T, phi, method, noisy=k % 2 == 0)
            traj = forward(params, u, dt, phi=phi, method=method, noise=noise)
            loss, dy = mse(traj.y, target, mask)
            ours = backward(params, traj, dy)
            p = {f: torch.tensor(v, requires_grad=True) for f, v in params._asdict().items()}
            eta = None if noise is None else torch.tensor(noise)
            y = torch_outputs(p, torch.tensor(u), dt, phi, method, eta)
            theirs = torch_loss(y, torch.tensor(target), torch.tensor(mask))
            theirs.backward()
            worst = max(worst, abs(loss / float(theirs.detach()) - 1))
            for f, g in ours._asdict().items():
                exact = p[f].grad.numpy()
                difference, scale = np.abs(g - exact).sum(), np.abs(exact).sum()
                worst = max(worst, difference / scale if difference else 0.0)
        what = f"7 gradients, {phi}, {method}, {2 * repeats} networks"
        report.at_most(f"{what} (N <= {largest[0]}, T <= {largest[1]})", worst, 1e-10)


def torch_training(params, task, settings, steps, rngs):
    """The training run in torch: the loss of each step, and the parameters after it."""
    trials_rng, noise_rng = rngs
    dt = task.dt
    low, high = np.log(dt), np.log(TAU_MAX)
    centre, half = (low + high) / 2, (high - low) / 2
    p = {f: torch.tensor(v.copy()) for f, v in params._asdict().items()}
    s = half * torch.arctanh((torch.log(p["tau"]) - centre) / half)
    leaves = [p[f].requires_grad_() for f in FIELDS if f != "tau"] + [s.requires_grad_()]
    adam = torch.optim.Adam(leaves, settings.lr, (settings.beta1, settings.beta2), settings.eps)
    for _ in range(steps):
        p["tau"] = torch.exp(centre + half * torch.tanh(s / half))
        trials = task.trials(settings.batch, trials_rng)
        T, B = trials.u.shape[:2]
        now = Params(*(p[f].detach().numpy() for f in FIELDS))
        noise = private_noise(now, dt, task.noise, T, B, noise_rng, method=settings.method)
        # Its size depends on tau (Eq. 1.9), which autograd is to see.
        a = 1 - torch.exp(-dt / p["tau"])
        scale = torch.sqrt((2 - a) / a)
        noise = torch.tensor(noise) / scale.detach() * scale
        y = torch_outputs(p, torch.tensor(trials.u), dt, settings.phi, settings.method, noise)
        loss = torch_loss(y, torch.tensor(trials.target), torch.tensor(trials.mask))
        adam.zero_grad()
        loss.backward()
        # By hand, since clip_grad_norm_ divides by norm + 1e-6: a relative difference of up to
        # 1e-6 per step, which is torch's guard against 0/0 and no part of the mathematics.
        norm = torch.sqrt(sum((leaf.grad**2).sum() for leaf in leaves))
        if norm > settings.clip:
            for leaf in leaves:
                leaf.grad *= settings.clip / norm
        adam.step()
        p["tau"] = torch.exp(centre + half * torch.tanh(s / half))
        yield float(loss.detach()), Params(*(p[f].detach().numpy().copy() for f in FIELDS))


def compare_training(report, steps, figure):
    """Train one network twice, here and in torch, from one start and on the same trials."""
    task = make_task("multi_timescale", dt=0.1)
    rng = np.random.default_rng(12)
    tau = sample_tau("normal", 40, rng)
    params = init_params(40, task.n_in, task.n_out, tau, rng)
    settings = TrainConfig(batch=64, lr=0.01, train=FIELDS)

    def rngs():
        return [np.random.default_rng([12, k]) for k in (1, 2)]

    losses, theirs, apart = [], [], []
    ours = training_steps(start(params, settings, task.dt, *rngs()), task, settings)
    for state, (loss, other) in zip(
        islice(ours, steps), torch_training(params, task, settings, steps, rngs())
    ):
        losses.append(state.loss)
        theirs.append(loss)
        apart.append(max(np.abs(a - b).max() for a, b in zip(state.params, other)))
    what = f"{steps} Adam steps, all fields trained, clipping"
    report.at_most(f"{what}: largest parameter difference", max(apart), 1e-9)
    report.at_most(f"{what}: largest loss difference", np.abs(np.subtract(losses, theirs)).max(),
                   1e-9)  # fmt: skip
    moved = np.abs(state.params.W - params.W).max()
    report.all_of("these steps changed W by more than 0.1: agreement is not for want of training",
                  int(moved > 0.1), 1)  # fmt: skip
    if figure:
        draw_training(losses, theirs, apart)


def draw_training(losses, theirs, apart):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(6.4, 5.2), sharex=True, layout="constrained", height_ratios=(3, 2)
    )
    steps = np.arange(1, len(losses) + 1)
    top.plot(steps, theirs, color="#E69F00", lw=4, label="torch: autograd and torch.optim.Adam")
    top.plot(steps, losses, color="#0072B2", lw=1.2, label="tau_rnn: gradients derived by hand")
    top.set(ylabel="loss (masked mean squared error)", ylim=(0, None))
    top.set_title("One training run, computed twice", loc="left")
    top.legend(frameon=False)
    bottom.semilogy(steps, apart, color="#444444")
    bottom.axhline(1e-9, color="#D55E00", ls="--", lw=1)
    bottom.text(1, 1.3e-9, "bar of the validation", color="#D55E00", va="bottom")
    bottom.set(xlabel="training step", ylabel="largest difference\nof any parameter")
    bottom.set_ylim(top=2e-8)
    for axis in (top, bottom):
        axis.spines[["top", "right"]].set_visible(False)
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / "training_vs_torch.png", dpi=100, metadata={"Software": None})
    plt.close(figure)


def main(argv=None) -> int:
    """Run every check; 0 if all passed, or torch is missing, else 1."""
    quick = is_quick(__doc__, argv)
    if torch is None:
        print('SKIPPED: torch is not installed (pip install "tau_rnn[torch]")')
        return 0
    torch.set_default_dtype(torch.float64)
    report = Report("Gradients and training against torch, float64", "torch")
    rng = np.random.default_rng(2)
    compare_gradients(report, rng, 1 if quick else 3, 50 if quick else 500)
    compare_training(report, 60 if quick else 200, not quick)
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
