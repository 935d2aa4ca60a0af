"""The figures of the book, one function each: a chapter computes, and hands over what is drawn.

A function draws one figure from arrays and saves it under its name in ``figures/``. What a figure
shows is computed in the chapter, where you can read it; how it is drawn stands here.
"""

from __future__ import annotations

import numpy as np

from tau_rnn.plotting import color_of, new_figure, save

#: Greys for what is not a distribution of tau.
INK, GREY, PALE = "#222222", "#777777", "#eeeeee"


# Chapter 0


def network(time, u, r, tau):
    """Rates of all units, each relative to its own peak, fast ones on top."""
    order = np.argsort(tau, kind="stable")
    relative = (r / np.abs(r).max(axis=0))[:, order]
    figure, (top, bottom) = new_figure(
        2, 1, figsize=(6.5, 3.8), layout="constrained", sharex=True, height_ratios=[1, 5]
    )
    top.plot(time[:-1], u, color=INK, drawstyle="steps-post")
    top.set(ylabel="input", yticks=[0, 1], title="A pulse, and what 60 units make of it")
    image = bottom.imshow(
        relative.T, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1,
        extent=(0, time[-1], 60, 0), interpolation="nearest",
    )  # fmt: skip
    bottom.axhline(30, color=INK, lw=1, ls=":")
    bottom.set(xlabel="time (s)", ylabel="unit", yticks=[15, 45])
    bottom.set_yticklabels(["fast\n0.5 s", "slow\n1.5 s"])
    figure.colorbar(image, ax=bottom, label="rate / its peak", pad=0.02)
    save(figure, "figures/00_network.png")


def memory(time, sizes):
    """Root mean square rate of networks with four distributions of tau: name -> (T+1,)."""
    figure, axis = new_figure(figsize=(6, 3), layout="constrained")
    for (name, size), line in zip(sizes.items(), ("-", "--", "-.", ":")):
        axis.plot(time, size, line, color=color_of(name), lw=1.8, label=name)
    axis.axvspan(0.5, 1, color=PALE, lw=0)
    axis.set(xlabel="time (s)", ylabel="root mean square rate", xlim=(0, 6),
             title="Four distributions of tau, nearly the same memory")  # fmt: skip
    axis.legend()
    save(figure, "figures/00_memory.svg")


# Chapter 1

#: A line and a grey for each of three time constants.
THREE = (("-", INK), ("--", GREY), (":", INK))


def pulse(time, states):
    """The states of three neurons during and after a pulse: tau -> (T+1,)."""
    figure, axis = new_figure(figsize=(7, 2.8), layout="constrained")
    axis.axvspan(0.5, 1.0, color=PALE, lw=0)
    axis.text(0.75, 1.06, "current on", ha="center", fontsize=8, color="#555555")
    for (tau, x), (line, color) in zip(states.items(), THREE):
        axis.plot(time, x, line, color=color, lw=1.8, label=f"tau = {tau:g} s")
    axis.set(xlabel="time (s)", ylabel="state x", xlim=(0, 3), ylim=(0, 1.15),
             title="Small tau follows, large tau remembers")  # fmt: skip
    axis.legend(loc="upper right")
    save(figure, "figures/01_pulse.svg")


def gain(frequencies, measured, theory):
    """Amplitude of the state against frequency: tau -> measured points, and the equation."""
    smooth = np.geomspace(0.04, 6, 100)
    figure, axis = new_figure(figsize=(5, 3), layout="constrained")
    for (tau, points), (line, color) in zip(measured.items(), THREE):
        label = f"Eq. 1.4, tau = {tau:g} s"
        axis.loglog(smooth, theory(smooth, tau), line, color=color, label=label)
        axis.loglog(frequencies, points, "o", color=color, ms=4)
    axis.set(xlabel="frequency of the current (Hz)", ylabel="amplitude of the state",
             title="A leaky neuron lets slow signals through")  # fmt: skip
    axis.legend(loc="lower left")
    save(figure, "figures/01_gain.svg")


def stability(decays):
    """Decay in Euler steps of four sizes: alpha -> states."""
    looks = (("o-", INK), ("s-", GREY), ("^--", "#2166AC"), ("v:", "#B2182B"))
    figure, axis = new_figure(figsize=(7, 2.8), layout="constrained")
    for (a, states), (look, color) in zip(decays.items(), looks):
        axis.plot(np.arange(13), states, look, color=color, ms=4, lw=1.2, label=f"alpha = {a:g}")
    axis.axhline(0, color="#bbbbbb", lw=0.8)
    axis.set(xlabel="Euler step", ylabel="state, starting from 1",
             title="Euler steps: accurate, coarse, swinging, unstable")  # fmt: skip
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, "figures/01_stability.svg")


def error(ratios, errors):
    """The largest error of both methods against dt / tau."""
    figure, axis = new_figure(figsize=(4.8, 3), layout="constrained")
    axis.loglog(ratios, errors["euler"], "o-", color=INK, label="Euler")
    axis.loglog(ratios, errors["exponential"], "s--", color="#B2182B", label="exponential Euler")
    axis.set(xlabel="dt / tau", ylabel="largest error of x", title="Half the step, half the error")
    axis.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
    axis.minorticks_off()
    axis.set_yticks([0.01, 0.02, 0.05, 0.1], ["0.01", "0.02", "0.05", "0.1"])
    axis.legend(loc="upper left")
    save(figure, "figures/01_error.svg")
