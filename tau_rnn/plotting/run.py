"""The page of a run, what to look at first: two trials, learning, and the timescales of units."""

from __future__ import annotations

from typing import Any

import numpy as np

from tau_rnn.experiment import RunResult
from tau_rnn.experiment.metrics import metric
from tau_rnn.experiment.run import streams
from tau_rnn.measures.run import LONGEST, measurable
from tau_rnn.model import forward
from tau_rnn.noise import private_noise
from tau_rnn.plotting.style import check_kind, color_of, plain_log_ticks, styled

__all__ = ["plot_run"]

# Inputs have their places and names; their colours only help to follow them.
_INPUT_COLORS = ("#333333", "#777777", "#D55E00", "#0072B2", "#CC79A7")
_LIFT = 5.0  # from one input to the next, in units of the inputs
# Solid is the whole score; the task's other scores follow in this order.
_SCORES = {"accuracy": "-", "conflict_accuracy": "--", "evidence_accuracy": "--",
           "value_accuracy": ":"}  # fmt: skip
_TAU_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


@styled
def plot_run(result: RunResult) -> Any:
    """One page on a run: two trials with different answers, learning, and the units' timescales.

    What else training changed is on the page of `tau_rnn.plotting.plot_measures`.

    Parameters
    ----------
    result : RunResult

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        If result is no RunResult.

    Examples
    --------
    >>> from tau_rnn import RunConfig, run_one
    >>> config = RunConfig(units=4, steps=1, dt=0.1, batch=2, test_trials=4)
    >>> figure = plot_run(run_one(config, parts=()))
    """
    import matplotlib.pyplot as plt

    config, color = check_kind("result", result, RunResult).config, color_of(result.config.dist)
    # Positions are fixed: a layout engine would take longer than the drawing itself.
    figure: Any = plt.figure(figsize=(12, 8.2))
    trial_axes = figure.add_gridspec(
        3, 2, left=0.093, right=0.655, top=0.915, bottom=0.065, hspace=0.22, wspace=0.06,
        height_ratios=[1.15, 1, 1.5],
    ).subplots(sharex=True, sharey="row")  # fmt: skip
    right = {"left": 0.765, "right": 0.985}
    learning_axes = figure.add_gridspec(2, 1, top=0.915, bottom=0.49, hspace=0.2, **right)
    loss_axis, accuracy_axis = learning_axes.subplots(sharex=True)
    timescale_axis = figure.add_gridspec(1, 1, top=0.39, bottom=0.065, **right).subplots()

    task, trials, traj = example_trials(result)
    for k, (inputs, outputs, rates) in enumerate(trial_axes.T):
        _inputs(inputs, task, trials, k)
        _outputs(outputs, task, trials, traj, k, color)
        image = _rates(rates, task, trials, traj, k, result.units["tau_after"])
    left, bottom, width, height = trial_axes[2, 1].get_position().bounds
    bar = figure.add_axes((left + width + 0.008, bottom, 0.008, height))
    figure.colorbar(image, cax=bar, ticks=[-0.5, 0, 0.5] if config.phi == "tanh" else None)
    bar.set_title("rate", fontsize=9)
    _loss(loss_axis, result.history, color)
    if "accuracy" in result.history[0]:
        _accuracy(accuracy_axis, result.history, task.criterion, color)
    else:
        accuracy_axis.remove()
        loss_axis.tick_params(labelbottom=True)
        loss_axis.set_xlabel("training step; the task has no accuracy")
    if "tau_eff_after" in result.units:
        _timescales(timescale_axis, result, color)
    else:  # the task has no noise
        timescale_axis.remove()

    tau, last = result.units["tau_before"], result.history[-1]
    score = next(name for name in ("accuracy", "loss") if name in last)
    figure.suptitle(
        f"{config.task_label}, tau ~ {config.dist_label} (mean {tau.mean():.2f} s, "
        f"CV {tau.std() / tau.mean():.2f}), {config.units} units, seed {config.seed}: "
        f"{score} {last[score]:.3f} after {last['step']} steps",
        x=0.01, y=0.985, ha="left", fontsize=12, fontweight="bold",
    )  # fmt: skip
    return figure


def example_trials(result: RunResult, n: int = 2):
    """The task, n fresh trials of it, and what the trained network does on them, noise on.

    The trials ask for different answers, from the lowest to the highest of 16 n trials, and, among
    equal answers, for different things.

    Returns
    -------
    task, Trials of n trials, Trajectory
    """
    config, params = result.config, result.final
    task, rng = config.make_task(), streams(config.seed)["analysis"]
    trials = task.trials(16 * n, rng, dtype=params.W.dtype)
    answer = trials.target[_ends(trials) - 1, np.arange(16 * n), 0]
    cue = getattr(trials.labels, "cue", np.zeros(16 * n))
    order = np.lexsort((cue, answer))
    chosen = order[np.linspace(0, order.size - 1, n).astype(int)]
    trials = trials._replace(
        u=np.ascontiguousarray(trials.u[:, chosen]),
        target=trials.target[:, chosen],
        mask=trials.mask[:, chosen],
        labels=_some(trials.labels, chosen),
        epochs=_some(trials.epochs, chosen),
    )
    T = len(trials.u)
    noise = private_noise(params, task.dt, task.noise, T, n, rng, method=config.method)
    traj = forward(params, trials.u, task.dt, phi=config.phi, method=config.method, noise=noise)
    return task, trials, traj


def _some(arrays, chosen):
    """Labels or epochs of the chosen trials; None where a task of your own has no such arrays."""
    return type(arrays)(*(a[chosen] for a in arrays)) if hasattr(arrays, "_fields") else None


def _ends(trials):
    """(B,) steps at which the trials end: one past the last that counts."""
    counts = trials.mask.reshape(*trials.u.shape[:2], -1).any(axis=2)
    return len(counts) - counts[::-1].argmax(axis=0)


def _epochs(trials, k) -> list:
    """The steps (start, end) of the stimulus and the response, of those that the task has."""
    epochs = (getattr(trials.epochs, name, None) for name in ("stimulus", "response"))
    return [None if steps is None else steps[k] for steps in epochs]


def _shade(axis, task, trials, k) -> None:
    for steps, color in zip(_epochs(trials, k), ("#F0F0F0", "#DDDDDD")):
        if steps is not None:
            axis.axvspan(*(steps * task.dt), color=color, lw=0)


def _inputs(axis, task, trials, k):
    end = _ends(trials)[k]
    lift = max(_LIFT, 1.2 * np.abs(trials.u).max())
    t, lifts = np.arange(end) * task.dt, lift * np.arange(task.n_in)[::-1]
    _shade(axis, task, trials, k)
    for channel, lift in enumerate(lifts):
        u = trials.u[:end, k, channel]
        color = _INPUT_COLORS[channel % len(_INPUT_COLORS)]
        axis.plot(t, u + lift, color=color, lw=1.2, drawstyle="steps-post")
    # What the heights mean: a bar of two units of the inputs, at the left edge.
    axis.plot([0.03, 0.03], [1.5, 3.5], color="black", lw=2)
    axis.annotate("2", (0.03, 2.5), xytext=(4, 0), textcoords="offset points", va="center")
    axis.set_yticks(lifts, task.inputs)
    axis.tick_params(left=False)
    axis.spines["left"].set_visible(False)
    axis.set_xlim(0, (_ends(trials).max() + 1) * task.dt)
    answer = trials.target[end - 1, k]
    shown = ", ".join(f"{a:+.2g}" for a in answer).replace("-", "\N{MINUS SIGN}")
    axis.set_title(f"Trial {k + 1}: inputs; the answer is {shown}")


def _outputs(axis, task, trials, traj, k, color):
    end = _ends(trials)[k]
    after = (np.arange(end) + 1) * task.dt  # y[t] reads the state after the step
    _shade(axis, task, trials, k)
    for output, name in enumerate(task.outputs):
        style = ("-", "--")[output % 2]
        label = name if task.n_out > 1 else "output"
        axis.plot(after, traj.y[:end, k, output], color=color, ls=style, label=label)
        axis.plot(after, trials.target[:end, k, output], color="black", lw=0.8, ls=style,
                  label="target" if output == 0 else None)  # fmt: skip
    limit = max(1.7, 1.2 * np.abs(trials.target).max())
    axis.set_ylim(-limit, limit)
    shaded = all(steps is not None for steps in _epochs(trials, k))
    axis.set_title("Output (shaded: stimulus, response)" if shaded else "Output")
    if k == 0:
        axis.set_ylabel("output")
        axis.legend(loc="lower left", labelspacing=0.2)


def _rates(axis, task, trials, traj, k, tau):
    order, end = np.argsort(tau, kind="stable"), _ends(trials)[k]
    rates = traj.r[: end + 1, k, order].T
    limit = max(1e-9, np.abs(traj.r).max())  # one for both trials
    image = axis.imshow(
        rates, aspect="auto", cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest",
        extent=(-0.5 * task.dt, (end + 0.5) * task.dt, rates.shape[0], 0),  # r[0] at 0 s
    )  # fmt: skip
    stimulus, response = _epochs(trials, k)
    edges = (*(stimulus if stimulus is not None else ()),
             *(response[:1] if response is not None else ()))  # fmt: skip
    for edge in edges:
        axis.axvline(edge * task.dt, color="black", lw=0.8, ls=":")
    axis.set_xlabel("time (s)")
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_title("Rates (dotted: stimulus on, off, response)" if len(edges) == 3 else "Rates")
    if k == 0:
        axis.set_ylabel("unit, from fast (top) to slow")
    return image


def _loss(axis, history, color):
    steps = [row["step"] for row in history]
    axis.plot(steps, [row["loss"] for row in history], color=color, label="held-out trials")
    batches = [row["train_loss"] for row in history]
    mark = "." if np.isfinite(batches).sum() == 1 else None  # one point makes no line
    axis.plot(steps, batches, color="#666666", ls=":", marker=mark, label="training batches")
    axis.set_yscale("log")
    plain_log_ticks(axis, "y")
    axis.tick_params(labelbottom=False)
    axis.set_ylabel("mean squared error")
    follows = " ..." if "accuracy" in history[0] else ""
    axis.set_title(f"Loss falls{follows}" if _learned(history) else "Loss")
    axis.legend()


def _accuracy(axis, history, criterion, color):
    steps = [row["step"] for row in history]
    shown = [name for name in _SCORES if name in history[0]]
    if "conflict_accuracy" in shown:
        shown = ["accuracy", "conflict_accuracy"]
    for name in shown:
        values = [row[name] for row in history]
        axis.plot(steps, values, color=color, ls=_SCORES[name], label=metric(name).label)
    if criterion is not None:
        axis.axhline(criterion, color="black", lw=0.7, ls=(0, (1, 3)))
        axis.annotate("criterion", (0, criterion), va="bottom", fontsize=8, xytext=(2, 1),
                      textcoords="offset points")  # fmt: skip
    axis.set_ylim(0, 1.03)
    axis.set_xlabel("training step")
    axis.set_ylabel("accuracy, held-out trials")
    axis.set_title("... and accuracy rises" if _learned(history) else "Accuracy")
    axis.legend(loc="lower right")


def _learned(history) -> bool:
    first, last = history[0], history[-1]
    return last["loss"] < first["loss"] and last.get("accuracy", 1) > first.get("accuracy", 0)


def _timescales(axis, result, color):
    units, metrics = result.units, result.metrics
    before, after = (
        measurable(units[f"tau_eff_{when}"], units[f"tau_eff_flag_{when}"])[0]
        for when in ("before", "after")
    )
    tau0, tau1 = units["tau_before"], units["tau_after"]
    if len(np.unique(tau1)) < len(tau1) / 2:  # columns of points: before next to after
        tau0, tau1 = tau0 / 1.06, tau1 * 1.06
    axis.plot(tau0, before, "o", mfc="none", color="#888888", ms=4, label="before training")
    axis.plot(tau1, after, "o", color=color, ms=4, alpha=0.8, mew=0, label="after training")
    both = np.concatenate([tau0, tau1])
    low, high = min(both.min() / 1.3, 0.4), max(both.max() * 1.3, 2.2)
    axis.plot([low, high], [low, high], color="black", lw=0.8, ls=":", label="equal")
    shown = np.concatenate([before, after, [low]])
    axis.set(xscale="log", yscale="log", xlim=(low, high))
    axis.set_ylim(np.nanmin(shown) / 1.2, LONGEST * 1.15)
    plain_log_ticks(axis, "x", _TAU_TICKS)
    plain_log_ticks(axis, "y", _TAU_TICKS)
    axis.set_xlabel("intrinsic time constant tau (s)")
    axis.set_ylabel(f"effective timescale (s; top: {LONGEST:.1f} s or more)")
    spreads = metrics["tau_eff_sd_log_before"], metrics["tau_eff_sd_log_after"]
    spread = "" if None in spreads else ": sd of ln {:.2f} → {:.2f}".format(*spreads)
    some = np.isfinite(np.concatenate([before, after])).any()
    axis.set_title("Timescales" + spread if some else "Timescales: no unit has one")
    axis.legend(loc="lower right", labelspacing=0.2)
