"""The page of a run: two trials, learning, tau, activity, and where the weights changed."""

from __future__ import annotations

import numpy as np

from tau_rnn.experiment import RunResult
from tau_rnn.experiment.outcome import LONGEST_TIMESCALE, measurable
from tau_rnn.experiment.run import streams
from tau_rnn.model import forward, private_noise
from tau_rnn.plotting.style import color_of, new_figure, styled


@styled
def plot_run(result: RunResult):
    """One page on a run: two trials, learning, tau, activity, and where the weights changed.

    Parameters
    ----------
    result : RunResult

    Returns
    -------
    matplotlib Figure
    """
    color = color_of(result.config.dist)
    figure, axes = new_figure(4, 3, figsize=(13, 11.5), layout="constrained")
    config, metrics = result.config, result.metrics
    grid = axes[0, 0].get_gridspec()
    trial_axes = []
    for row in (0, 1):
        for column in (0, 1):
            axes[row, column].remove()
    for column in (0, 1):
        inner = grid[0:2, column].subgridspec(2, 1, height_ratios=[1.1, 1])
        trial_axes.append([figure.add_subplot(inner[k]) for k in (0, 1)])

    task, trials, traj = example_trials(result)
    for k, pair in enumerate(trial_axes):
        _plot_trial(pair, task, trials, traj, k, color)
    _plot_learning(axes[0, 2], axes[1, 2], result, color)
    _plot_tau(axes[2, 0], result, color)
    _plot_timescales(axes[2, 1], result, color)
    _plot_weight_change(axes[2, 2], result, color)
    for k in (0, 1, 2):
        axes[3, k].remove()
    inner = grid[3, :].subgridspec(1, 2)
    for k in (0, 1):
        _plot_rates(figure, figure.add_subplot(inner[k]), task, trials, traj, result, k)
    figure.suptitle(
        f"{config.task}, tau ~ {config.dist_label}, {config.units} units, seed {config.seed}: "
        f"accuracy {metrics['accuracy']:.3f} after {metrics['steps']} steps",
        x=0.01, ha="left", fontsize=12, fontweight="bold",
    )  # fmt: skip
    return figure


def example_trials(result: RunResult, n: int = 2):
    """The task, n fresh trials of it, and what the trained network does on them, noise on."""
    config, params = result.config, result.final
    task, rng = config.make_task(), streams(config.seed)["analysis"]
    # Trials that ask for different things, so that the two panels are not the same picture twice.
    trials = task.trials(16 * n, rng, dtype=params.W.dtype)
    label = getattr(trials.labels, "cue", trials.target[trials.epochs.response[0, 1] - 1, :, 0])
    order = np.argsort(label, kind="stable")
    chosen = order[np.linspace(0, order.size - 1, n).astype(int)]
    trials = trials._replace(
        u=np.ascontiguousarray(trials.u[:, chosen]),
        target=trials.target[:, chosen],
        mask=trials.mask[:, chosen],
        labels=type(trials.labels)(*(a[chosen] for a in trials.labels)),
        epochs=type(trials.epochs)(*(a[chosen] for a in trials.epochs)),
    )
    T = len(trials.u)
    noise = private_noise(params, task.dt, task.noise, T, n, rng, method=config.method)
    traj = forward(params, trials.u, task.dt, phi=config.phi, method=config.method, noise=noise)
    return task, trials, traj


# Inputs and outputs are told apart by line style and place; the colour stands for the distribution.
_INPUT_COLORS = ("#333333", "#999999", "#D55E00", "#0072B2", "#E69F00")


def _plot_trial(pair, task, trials, traj, k, color):
    t = np.arange(len(trials.u)) * task.dt
    top, bottom = pair
    end = trials.epochs.response[k, 1]
    for channel, name in enumerate(task.inputs):
        u = trials.u[:end, k, channel]
        lift = 5.0 * (len(task.inputs) - 1 - channel)
        top.plot(t[:end], u + lift, color=_INPUT_COLORS[channel], lw=1.2, drawstyle="steps-post")
        top.annotate(
            name, (0, lift), xytext=(-4, 0), textcoords="offset points", ha="right", va="center",
            color=_INPUT_COLORS[channel], fontsize=8,
        )  # fmt: skip
    # What the heights mean: a bar of two input units, in the empty end of the panel.
    right = len(trials.u) * task.dt
    top.plot([right, right], [1.5, 3.5], color="black", lw=2, clip_on=False)
    top.annotate("2", (right, 2.5), xytext=(4, 0), textcoords="offset points", va="center")
    top.set_yticks([])
    top.spines["left"].set_visible(False)
    top.tick_params(labelbottom=False)
    top.set_title(f"Trial {k + 1}: inputs")
    for output, name in enumerate(task.outputs):
        style = ("-", "--")[output % 2]
        label = name if task.n_out > 1 else "output"
        after = t[:end] + task.dt  # y[t] reads the state after the step
        bottom.plot(after, traj.y[:end, k, output], color=color, ls=style, label=label)
        bottom.plot(after, trials.target[:end, k, output], color="black", lw=0.8, ls=style,
                    label="target" if output == 0 else None)  # fmt: skip
    for axis in pair:
        response = trials.epochs.response[k] * task.dt
        axis.axvspan(*response, color="#DDDDDD", alpha=0.5, lw=0)
        stimulus = trials.epochs.stimulus[k] * task.dt
        axis.axvspan(*stimulus, color="#F0F0F0", alpha=0.7, lw=0)
        axis.set_xlim(0, len(trials.u) * task.dt)
    bottom.set_ylim(-1.7, 1.7)
    bottom.set_title("its output (shaded: stimulus, response)")
    bottom.set_xlabel("time (s)")
    bottom.set_ylabel("output")
    bottom.legend(loc="lower left", labelspacing=0.2)


def _plot_learning(top, bottom, result, color):
    steps = [row["step"] for row in result.history]
    top.plot(steps, [row["loss"] for row in result.history], color=color, label="held-out trials")
    batches = [row["train_loss"] for row in result.history]
    mark = "." if np.isfinite(batches).sum() == 1 else None  # one point is no line
    top.plot(steps, batches, color="#777777", ls=":", marker=mark, label="training batches")
    top.set_yscale("log")
    top.set_ylabel("mean squared error")
    first, last = result.history[0], result.history[-1]
    learned = last["loss"] < first["loss"] and last["accuracy"] > first["accuracy"]
    top.set_title("Loss falls ..." if learned else "Loss")
    top.legend()
    names = {"accuracy": "-", "conflict_accuracy": "--", "evidence_accuracy": "--",
             "value_accuracy": ":"}  # fmt: skip
    shown = [n for n in names if n in result.history[0]]
    if "conflict_accuracy" in shown:
        shown = ["accuracy", "conflict_accuracy"]
    for name in shown:
        values = [row[name] for row in result.history]
        bottom.plot(steps, values, color=color, ls=names[name], label=name.replace("_", " "))
    criterion = result.config.make_task().criterion
    bottom.axhline(criterion, color="black", lw=0.7, ls=(0, (1, 3)))
    bottom.annotate("criterion", (0, criterion), va="bottom", fontsize=8, xytext=(2, 1),
                    textcoords="offset points")  # fmt: skip
    bottom.set_ylim(0, 1.03)
    bottom.set_xlabel("training step")
    bottom.set_ylabel("accuracy, held-out trials")
    bottom.set_title("... and accuracy rises" if learned else "Accuracy")
    bottom.legend(loc="lower right")


def _whole_numbers(axis):
    axis.yaxis.get_major_locator().set_params(integer=True)


def _plot_tau(axis, result, color):
    tau = result.units["tau_before"]
    bins = np.linspace(0, max(2.0, 1.02 * tau.max()), 41)
    axis.hist(tau, bins, color=color, alpha=0.85, label="initial")
    if not np.array_equal(tau, result.units["tau_after"]):
        axis.hist(result.units["tau_after"], bins, histtype="step", color="black", label="trained")
        axis.legend()
    axis.set_xlabel("intrinsic time constant tau (s)")
    axis.set_ylabel("units")
    _whole_numbers(axis)
    axis.set_title(f"Time constants: mean {tau.mean():.2f} s, CV {tau.std() / tau.mean():.2f}")


def _plot_timescales(axis, result, color):
    shown = {}
    for when in ("before", "after"):
        tau_eff, too_long = measurable(
            result.units[f"tau_eff_{when}"], result.units[f"tau_eff_flag_{when}"]
        )
        shown[when] = tau_eff[np.isfinite(tau_eff)]
    values = np.concatenate([*shown.values(), [LONGEST_TIMESCALE]])
    bins = np.geomspace(values.min() / 1.05, LONGEST_TIMESCALE * 1.02, 25)
    axis.hist(shown["before"], bins, color="#AAAAAA", label="before training")
    axis.hist(shown["after"], bins, color=color, histtype="step", lw=1.8, label="after")
    axis.set_xscale("log")
    ticks = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5) if t >= bins[0]]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.minorticks_off()
    axis.set_xlabel(f"effective timescale (s); last bar: {LONGEST_TIMESCALE:.1f} s or more")
    axis.set_ylabel("units")
    _whole_numbers(axis)
    axis.set_title("Decay of the autocorrelation of rates" + _spread(result.metrics))
    axis.legend()


def _spread(metrics) -> str:
    before, after = (metrics[f"tau_eff_sd_log_{when}"] for when in ("before", "after"))
    if before is None or after is None:
        return ""
    return f"\nsd of ln timescale {before:.2f} → {after:.2f}"


def _plot_weight_change(axis, result, color):
    tau = result.units["tau_before"]
    if tau.size > 1 and np.ptp(tau) == 0:  # or the points of equal units hide one another
        tau = tau * np.linspace(0.97, 1.03, tau.size)
    axis.scatter(tau, result.units["weight_change"], s=14, color=color, alpha=0.8, lw=0)
    axis.set_xlim(0, max(2.0, 1.05 * tau.max()))
    axis.set_ylim(bottom=0)
    axis.set_xlabel("intrinsic time constant tau (s)")
    axis.set_ylabel("norm of the change of\nincoming recurrent weights")
    axis.set_title(f"Change of W: {result.metrics['weight_change']:.2f} of its norm")


def _plot_rates(figure, axis, task, trials, traj, result, k):
    order = np.argsort(result.units["tau_after"], kind="stable")
    end = trials.epochs.response[k, 1]
    rates = traj.r[: end + 1, k, order].T
    limit = max(1e-9, np.abs(rates).max())
    image = axis.imshow(
        rates, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest",
        extent=(-0.5 * task.dt, (end + 0.5) * task.dt, rates.shape[0], 0),  # r[0] at 0 s
    )  # fmt: skip
    for edge in (*trials.epochs.stimulus[k], trials.epochs.response[k, 0]):
        axis.axvline(edge * task.dt, color="black", lw=0.8, ls=":")
    axis.set_xlabel("time (s)")
    axis.set_ylabel("unit, fast (top) to slow")
    _whole_numbers(axis)
    axis.set_title(f"Trial {k + 1}: rates; dotted: stimulus on, off, response")
    figure.colorbar(image, ax=axis, label="rate", pad=0.01)
