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


# Chapter 3

FORWARD, BACKWARD = INK, "#B2182B"


def graph(x, dx, W, W_out, y, dy, loss):
    """Two units over three steps: states in black, adjoints in red, weights on the links."""
    figure, axis = new_figure(figsize=(8.6, 4.4), layout="constrained")
    grey = {"arrowstyle": "-|>", "color": "#9a9a9a", "lw": 1.1}
    red = {**grey, "color": BACKWARD, "lw": 0.9, "ls": (0, (4, 3))}
    for t in range(3):
        for j in (0, 1):
            for i in (0, 1):
                if i != j and W[i][j] == 0:
                    continue
                shrink = {"shrinkA": 26 if i == j else 36, "shrinkB": 26 if i == j else 36}
                axis.annotate("", (t + 1, -i + 0.03), (t, -j + 0.03), arrowprops=grey | shrink)
                axis.annotate("", (t, -j - 0.06), (t + 1, -i - 0.06), arrowprops=red | shrink)
                if i != j:  # the weight stands on its link, near the sender
                    axis.text(t + 0.36, -j - 0.36 * (i - j) + 0.05, f"{W[i][j]:g}", fontsize=9,
                              ha="center", color="#555555")  # fmt: skip
    for t in range(4):
        for j in (0, 1):
            axis.text(t, -j + 0.06, f"{x[t][j]:.3f}", color=FORWARD, ha="center", fontsize=11)
            axis.text(t, -j - 0.13, f"{dx[t][j]:.3f}", color=BACKWARD, ha="center", fontsize=11)
    for start, end, style, dy_line in ((3, 4, grey, 0.03), (4, 3, red, -0.06)):
        ends = {"shrinkA": 26, "shrinkB": 26}
        axis.annotate("", (end, -1 + dy_line), (start, -1 + dy_line), arrowprops=style | ends)
    axis.text(3.5, -0.92, f"phi, {W_out[1]:g}", ha="center", fontsize=9, color="#555555")
    axis.text(4.05, -0.94, f"y = {y:.3f}", color=FORWARD, ha="center", fontsize=11)
    axis.text(4.05, -1.13, f"dy = {dy:.3f}", color=BACKWARD, ha="center", fontsize=11)
    axis.text(4.05, 0.06, f"loss {loss:.3f}", color=FORWARD, ha="center", fontsize=11)
    axis.annotate("", (4.05, 0.03), (4.05, -0.85), arrowprops=grey)
    links = "in a row: the leak, 1 - alpha, and phi with the unit's own weight\n"
    links += "across: phi, then alpha of the receiver times the weight that is shown"
    axis.text(0, 0.17, links, fontsize=9, color="#555555", ha="left")
    axis.set_yticks([0, -1], ["unit 0\n(fast, 0.2 s)", "unit 1\n(slow, 1 s)"], fontsize=10)
    axis.set_xticks(range(4), [f"t = {t}" for t in range(4)], fontsize=10)
    axis.set(xlim=(-0.4, 4.5), ylim=(-1.4, 0.4))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title("States go forward (black); their effect on the loss comes back (red)")
    save(figure, "figures/03_graph.svg")


def adjoint(time, alone, coupled):
    """Adjoints of a fast and a slow unit, back from an error at 4 s: (T+1, 2) each."""
    figure, axes = new_figure(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
    titles = ("Alone, each adjoint fades with its own tau",
              "Coupled, the fast unit fades with the slow one")  # fmt: skip
    for axis, dx, title in zip(axes, (alone, coupled), titles):
        axis.semilogy(time, dx[:, 0], "--", color=BACKWARD, label="fast unit, tau = 0.2 s")
        axis.semilogy(time, dx[:, 1], "-", color=BACKWARD, label="slow unit, tau = 1 s")
        axis.set(xlabel="time (s); the error is at 4 s", title=title, ylim=(1e-3, 1.5))
    axes[0].set_ylabel("adjoint dx(t), relative to 4 s")
    axes[0].legend(loc="upper left")
    save(figure, "figures/03_adjoint.svg")


def limit(steps, errors):
    """BPTT against the continuous adjoint at smaller and smaller steps."""
    figure, axis = new_figure(figsize=(4.6, 3), layout="constrained")
    axis.loglog(steps, errors, "o-", color=BACKWARD, label="BPTT against Eqs. 3.14, 3.15")
    axis.loglog(steps, errors[-1] * steps / steps[-1], ":", color=GREY, label="proportional to dt")
    axis.set(xlabel="time step dt (s)", ylabel="relative error of dW and dtau",
             title="BPTT tends to the continuous adjoint")  # fmt: skip
    axis.legend(loc="upper left")
    save(figure, "figures/03_limit.svg")


# Chapter 6


def learning(losses):
    """Loss against training step, means of ten steps: name of the optimiser -> (300,)."""
    figure, axis = new_figure(figsize=(6, 3.3), layout="constrained")
    middle = np.arange(5, 300, 10)
    for (name, loss), style in zip(losses.items(), ("-", "--")):
        axis.plot(middle, loss.reshape(-1, 10).mean(axis=1), style, color=color_of("uniform"),
                  label=name)  # fmt: skip
    axis.axhline(0.487, color=GREY, lw=0.8, ls=":")
    axis.annotate("silence", (300, 0.487), ha="right", va="bottom", color="#555555")
    axis.set(xlabel="training step", ylabel="loss, mean of 10 steps", ylim=(0, 0.55),
             title="Uniform tau: both stay on a plateau; here Adam leaves it sooner")  # fmt: skip
    axis.legend(loc="lower left")
    save(figure, "figures/06_learning.svg")


def sensitivity(time, columns, groups, plain):
    """How strongly the final state depends on earlier ones: what -> (k, N), units by group."""
    figure, axis = new_figure(figsize=(6.6, 3.8), layout="constrained")
    for name, units in groups.items():
        for what, values in columns.items():
            axis.semilogy(time, values[:, units].mean(axis=1), color=color_of("uniform"),
                          lw={"slow": 2.6, "fast": 1.1}[name],
                          ls="-" if what == "weights" else "--",
                          label=f"{name} neurons, {what}")  # fmt: skip
    axis.semilogy(time, plain, color="black", ls=":", label="no leak (plain RNN)")
    axis.set(xlabel="time before the end (s)", ylabel="sensitivity of the final state",
             xlim=(0, 6), ylim=(1e-4, 2), title="Fast neurons are heard late through slow ones")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, "figures/06_sensitivity.svg")


def tau(before, after):
    """Sorted time constants before and after training: name of the distribution -> (N,)."""
    figure, axis = new_figure(figsize=(6, 3.4), layout="constrained")
    for name, start in before.items():
        rank, look = np.arange(1, len(start) + 1), {"color": color_of(name), "ls": ""}
        axis.plot(rank, np.sort(start), **look, marker="o", mfc="white", ms=4,
                  label=f"{name}, before")  # fmt: skip
        axis.plot(rank, np.sort(after[name]), **look, marker="o", ms=5, label=f"{name}, learned")
    axis.set(xlabel="neuron, sorted by tau", ylabel="time constant (s)", ylim=(0, None),
             title="120 steps: time constants get longer and spread out")  # fmt: skip
    axis.legend()
    save(figure, "figures/06_tau.svg")


# Chapter 10


def rows(networks):
    """Norm of each row of dW against alpha of its unit: a list of (alpha, norms)."""
    figure, axis = new_figure(figsize=(6, 3.4), layout="constrained")
    for k, (a, norm) in enumerate(networks):
        axis.loglog(a, norm / np.exp(np.log(norm).mean()), ".", color=color_of("uniform"),
                    alpha=0.6, label="unit of an untrained network" if k == 0 else None)
    line = np.array([0.05, 0.65])
    axis.loglog(line, line / 0.15, "--", color="black", label="a learning rate: slope 1")
    axis.loglog(line, line**0, ":", color="black", label="slope 0")
    axis.set(xlabel="alpha of the unit: slow (left) to fast",
             ylabel="row norm of dW, relative to mean",
             title="Fast neurons do not have larger gradients than slow ones")  # fmt: skip
    axis.set_xticks([0.05, 0.1, 0.2, 0.5], ["0.05", "0.1", "0.2", "0.5"])
    axis.minorticks_off()
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, "figures/10_rows.svg")


# Chapters 11 to 13


def own(curves):
    """Loss on a task of one's own: where tau comes from -> losses."""
    figure, axis = new_figure(figsize=(6, 3), layout="constrained")
    for (name, loss), (line, color) in zip(curves.items(), THREE):
        smooth = loss.reshape(-1, 5).mean(axis=1)
        axis.plot(np.arange(3, len(loss) + 1, 5), smooth, line, color=color, label=name)
    axis.set(xlabel="training step", ylabel="loss, mean of 5 steps", ylim=(0, None),
             title="A delayed comparison, with time constants of three kinds")  # fmt: skip
    axis.legend()
    save(figure, "figures/11_own.svg")


def fails(steps, curve, rates, gains):
    """A plateau, three learning rates and three gains."""
    figure, (left, middle, right) = new_figure(1, 3, figsize=(9, 2.9), layout="constrained")
    left.plot(steps, curve[:, 0], "o-", color=INK, ms=3, label="all trials")
    left.plot(steps, curve[:, 1], "s--", color="#B2182B", ms=3, label="labels in conflict")
    left.set(xlabel="training step", ylabel="accuracy", ylim=(0.3, 1.02), title="A plateau")
    left.legend(loc="lower right")
    for axis, found, what in ((middle, rates, "learning rate"), (right, gains, "gain")):
        for (value, loss), (line, color) in zip(found.items(), THREE):
            smooth = loss.reshape(-1, 8).mean(axis=1)
            axis.plot(np.arange(4, len(loss), 8), smooth, line, color=color, label=f"{value:g}")
        axis.set(xlabel="training step", ylabel="loss", ylim=(0, None), title=f"Three {what}s")
        axis.legend(title=what)
    save(figure, "figures/12_fails.svg")


def neurogym(losses):
    """Loss on a task of another package."""
    figure, axis = new_figure(figsize=(5, 2.8), layout="constrained")
    axis.plot(np.arange(1, len(losses) + 1), losses, color=INK)
    axis.set(xlabel="training step", ylabel="loss", ylim=(0, None),
             title="A task of neurogym, trained here")  # fmt: skip
    save(figure, "figures/13_neurogym.svg")
