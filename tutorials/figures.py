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


# Chapter 2


def modes(time, curves):
    """How the patterns of one network fade: name -> states of one unit."""
    looks = (("-", INK, 2), ("--", "#B2182B", 3), (":", INK, 1.5))
    figure, axis = new_figure(figsize=(6.5, 3), layout="constrained")
    for (name, x), (line, color, width) in zip(curves.items(), looks):
        axis.semilogy(time, x, line, color=color, lw=width, label=name)
    axis.set(xlabel="time (s)", ylabel="state of one unit", ylim=(1e-3, 1.5), xlim=(0, 2),
             title="One network, two timescales")  # fmt: skip
    axis.legend(loc="upper right")
    save(figure, "figures/02_modes.svg")


def spectra(grid, clouds):
    """The rates of all modes, and their edge: name -> (rates, left side of Eq. 2.6 on grid)."""
    figure, axes = new_figure(2, 2, figsize=(7, 6), layout="constrained", sharex=True, sharey=True)
    for axis, (name, (rates, inside)) in zip(axes.flat, clouds.items()):
        axis.plot(rates.real, rates.imag, ".", ms=3, color=color_of(name))
        axis.contour(grid.real, grid.imag, inside, levels=[1], colors=INK, linewidths=1)
        axis.axvline(0, color=INK, lw=0.8, ls=":")
        axis.set(title=name, xlim=(-4, 1), ylim=(-2.2, 2.2), aspect="equal")
    for side in (0, 1):
        axes[side, 0].set_ylabel("imaginary part (1/s)")
        axes[1, side].set_xlabel("real part of the rate (1/s)")
    axes[1, 0].annotate("on to -10", (-3.9, -1.9), (-2.9, -1.9), va="center", fontsize=9,
                        arrowprops={"arrowstyle": "->"})  # fmt: skip
    figure.suptitle("Diverse tau: the fast end (left) spreads, the slow end (right) stays",
                    x=0.01, ha="left")  # fmt: skip
    save(figure, "figures/02_spectra.png")


def chaos(time, rates):
    """Rates of six units below and above gain 1: gain -> (T+1, 6)."""
    figure, axes = new_figure(1, 2, figsize=(8, 2.8), layout="constrained", sharey=True)
    for axis, (gain, r) in zip(axes, rates.items()):
        axis.set_prop_cycle(color=[INK, "#B2182B", "#2166AC", "#888888", "#762A83", "#1B7837"])
        axis.plot(time, r, lw=1)
        axis.set(xlabel="time (s)", title=f"gain {gain}: " + ("silence" if gain < 1 else "chaos"))
    axes[0].set_ylabel("rate of six units")
    save(figure, "figures/02_chaos.svg")


def lyapunov(gains, exponents):
    """Lyapunov exponent against gain: name of the distribution -> (gains,)."""
    figure, axis = new_figure(figsize=(5.2, 3.2), layout="constrained")
    for (name, found), marker in zip(exponents.items(), "os^D"):
        axis.plot(gains, found, marker=marker, ms=4, color=color_of(name), label=name)
    axis.axhline(0, color=INK, lw=0.8, ls=":")
    axis.set(xlabel="gain", ylabel="Lyapunov exponent (1/s)",
             title="From silence to chaos, beyond gain 1")  # fmt: skip
    axis.legend(loc="upper left")
    save(figure, "figures/02_lyapunov.svg")
