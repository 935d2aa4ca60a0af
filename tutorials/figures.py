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
    figure, axis = new_figure(figsize=(8.8, 4.6), layout="constrained")
    black = {"arrowstyle": "-|>", "color": "#9a9a9a", "lw": 1.1}
    red = {**black, "color": BACKWARD, "lw": 0.9, "ls": (0, (4, 3))}
    small = {"fontsize": 9, "color": "#444444", "ha": "center", "va": "center"}
    for t in range(4):
        for j in (0, 1):
            axis.text(t, -j + 0.06, f"{x[t][j]:.3f}", color=FORWARD, ha="center", fontsize=11)
            axis.text(t, -j - 0.13, f"{dx[t][j]:.3f}", color=BACKWARD, ha="center", fontsize=11)
            for i in (0, 1) if t < 3 else ():
                if i != j and W[i][j] == 0:
                    continue
                shrink = {"shrinkA": 27 if i == j else 36, "shrinkB": 27 if i == j else 36}
                axis.annotate("", (t + 1, -i + 0.04), (t, -j + 0.04), arrowprops=black | shrink)
                axis.annotate("", (t, -j - 0.07), (t + 1, -i - 0.07), arrowprops=red | shrink)
                if i != j:  # the weight stands on its link, near the sender
                    axis.text(t + 0.33, -j - 0.33 * (i - j) + 0.04, f"φ, {W[i][j]:g}", **small,
                              bbox={"fc": "white", "ec": "none", "pad": 1})  # fmt: skip
    for start, end, style, rise in ((3, 4.15, black, 0.04), (4.15, 3, red, -0.07)):
        ends = {"shrinkA": 27, "shrinkB": 42} if start == 3 else {"shrinkA": 42, "shrinkB": 27}
        axis.annotate("", (end, -1 + rise), (start, -1 + rise), arrowprops=style | ends)
    axis.text(3.5, -0.87, f"φ, {W_out[1]:g}", **small)
    axis.text(4.15, -0.94, f"y = {y:.3f}", color=FORWARD, ha="center", fontsize=11)
    axis.text(4.15, -1.13, f"dy = {dy:.3f}", color=BACKWARD, ha="center", fontsize=11)
    axis.text(4.15, 0.06, f"loss {loss:.3f}", color=FORWARD, ha="center", fontsize=11)
    axis.annotate("", (4.15, 0.03), (4.15, -0.85), arrowprops=black)
    axis.text(1.5, -1.36, "across: φ, then the weight, times alpha of the receiver.   "
              "In a row: the leak, 1 - alpha, and the unit's own weight.", **small)  # fmt: skip
    axis.set_yticks([0, -1], ["unit 0\n(fast, 0.2 s)", "unit 1\n(slow, 1 s)"], fontsize=10)
    axis.set_xticks(range(4), [f"t = {t}" for t in range(4)], fontsize=10)
    axis.set(xlim=(-0.4, 4.6), ylim=(-1.45, 0.2))
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


# Chapter 4

#: The right gradient, and two wrong ones.
VERDICTS = ({"color": INK}, {"color": "#B2182B", "ls": "--"}, {"color": GREY, "ls": ":"})


def both_learn(losses):
    """Loss against training step for three gradients: name -> (300,)."""
    figure, axis = new_figure(figsize=(6, 3.2), layout="constrained")
    for (name, loss), look in zip(losses.items(), VERDICTS):
        smooth = loss.reshape(-1, 10).mean(axis=1)
        axis.plot(np.arange(5, len(loss), 10), smooth, lw=2, label=name, **look)
    axis.axvline(120, color=GREY, lw=0.8)
    axis.text(123, 0.47, "step 120", fontsize=9, color="#555555")
    axis.set(xlabel="training step", ylabel="loss, mean of 10 steps", ylim=(0, None),
             title="The loss falls for all three; one of them learns")  # fmt: skip
    axis.legend(loc="lower left")
    save(figure, "figures/04_both_learn.svg")


def u_curve(steps, central, imaginary):
    """Error of a central difference and of a complex step against the step size."""
    figure, axis = new_figure(figsize=(6, 3.6), layout="constrained")
    looks = (central, "o-", INK, "central difference"), (imaginary, "s-", "#B2182B", "complex step")
    for error, look, color, label in looks:
        axis.loglog(steps, np.maximum(error, 1e-17), look, color=color, ms=4, label=label)
    big, small = np.array([1e-5, 1e-1]), np.array([1e-16, 1e-7])
    axis.loglog(big, 1e3 * big**2, ls=":", color=GREY)
    axis.loglog(small, 3e-18 / small, ls="--", color=GREY)
    axis.annotate("slope 2: Taylor", (5e-4, 1e-3), ha="right", color="#555555")
    axis.annotate("slope −1:\nrounding", (2e-14, 3e-7), ha="right", color="#555555")
    axis.set(xlabel="step h", ylabel="relative error of the derivative", ylim=(2e-18, 300),
             title="A difference is best in the middle, a complex step is exact")  # fmt: skip
    axis.legend(loc="lower left", bbox_to_anchor=(0.02, 0.12))
    save(figure, "figures/04_u_curve.svg")


def shrink(attempts):
    """The networks that a search tried, in order: (size, did it pass)."""
    number, size = np.arange(1, len(attempts) + 1), np.array([size for size, _ in attempts])
    ok = np.array([ok for _, ok in attempts])
    figure, axis = new_figure(figsize=(6, 3.2), layout="constrained")
    axis.semilogy(number[ok], size[ok], "o", mfc="white", mec=GREY, label="passes")
    axis.semilogy(number[~ok], size[~ok], "o", color="#B2182B", label="fails")
    axis.set(xlabel="network tried, in order", ylabel="size: units × steps × trials",
             title="From the first network that fails to the smallest one")  # fmt: skip
    axis.legend()
    save(figure, "figures/04_shrink.svg")


# Chapter 5


def trials(shown):
    """A trial of each task: (task, trials, number of the trial); inputs above, targets below."""
    figure, axes = new_figure(2, 2, figsize=(9, 4.6), sharex="col", layout="constrained",
                              height_ratios=[1.5, 1])  # fmt: skip
    shades = INK, "#888888", "#B2182B", "#5E3C99"
    for column, (task, batch, k) in enumerate(shown):
        t = np.arange(task.n_steps) * task.dt
        now = t < batch.epochs.response[k, 1] * task.dt
        top, bottom = axes[:, column]
        for channel, label in enumerate(task.inputs):
            lift, shade = 5 * (task.n_in - 1 - channel), shades[channel]
            top.step(t[now], batch.u[now, k, channel] + lift, where="post", color=shade, lw=1.2)
            top.text(-0.1, lift, label, color=shade, ha="right", va="center")
        top.plot([t[now][-1] + 0.1] * 2, [1.7, 3.7], color=INK, lw=2)  # a bar, 2 units high
        top.text(t[now][-1] + 0.2, 2.7, "2", va="center")
        top.set(yticks=[], title=f"{task.name}: {('report the cued one', 'report both')[column]}")
        top.spines["left"].set_visible(False)
        bottom.fill_between(t[now], batch.mask[now, k] / batch.mask[:, k].max(), step="post",
                            color="#dddddd", label="weight in the loss")  # fmt: skip
        for output, label in enumerate(task.outputs):
            bottom.step(t[now], batch.target[now, k, output], ("-", "--")[output], where="post",
                        color=INK, label=f"target: {label}")  # fmt: skip
        bottom.set(xlabel="time (s)", ylim=(-1.3, 1.3), ylabel="target, relative weight")
        bottom.legend(loc="lower left")
    save(figure, "figures/05_trials.svg")


def leaky(taus, curves):
    """Fraction correct of one leaky neuron: (memory, sd of the private noise) -> (taus,)."""
    figure, axis = new_figure(figsize=(6.4, 3.6), layout="constrained")
    for (name, sigma), values in curves.items():
        color = {"pattern": INK, "evidence": "#B2182B"}[name]
        label = f"{name}, private noise {sigma:g}" if sigma else f"{name}, no private noise"
        axis.semilogx(taus, values, "o-" if sigma else "o--", color=color, ms=3, label=label)
    axis.axhline(0.5, color=GREY, lw=0.8, ls=":")
    axis.set(xlabel="time constant of the neuron (s)", ylabel="fraction correct", ylim=(0.45, 1.03),
             title="With noise there is a best time constant, and it is long")  # fmt: skip
    axis.set_xticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, "figures/05_leaky.svg")


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


# Chapter 7


def bias(lags, true, computed, expected, found):
    """What subtracting a trial's mean does to an autocovariance; estimates by name: (units,)."""
    figure, (left, right) = new_figure(1, 2, figsize=(9, 3.4), layout="constrained")
    left.plot(lags, true, "--", color=INK, label="true")
    left.plot(lags[::6], computed[::6], "o", ms=4, color="#888888", label="computed, 20 units")
    left.plot(lags, expected, color="#B2182B", label="expected, Eq. 7.7")
    left.axhline(0, color="#cccccc", lw=0.8, zorder=0)
    left.set(xlabel="lag (s)", ylabel="autocovariance",
             title="Subtracting a trial's mean bends the curve")  # fmt: skip
    left.legend(loc="upper right")
    for row, (name, tau_hat) in enumerate(found.items()):
        color = "#B2182B" if name == "fit_timescales" else "#555555"
        jitter = np.linspace(-0.22, 0.22, len(tau_hat))
        right.plot(tau_hat, row + jitter, "o", ms=3.5, alpha=0.8, mew=0, color=color)
    right.axvline(1, color=INK, ls="--")
    right.set_yticks(range(len(found)), list(found))
    right.invert_yaxis()
    right.set(xlabel="estimated timescale (s); dashed: true", xlim=(0, 1.75),
              title="Seven estimates of the same 20 units")  # fmt: skip
    save(figure, "figures/07_bias.svg")


def intrinsic(tau, exact, fitted, interval):
    """Effective against intrinsic timescale of each unit of a linear network."""
    figure, axis = new_figure(figsize=(5.4, 3.6), layout="constrained")
    axis.errorbar(tau, fitted, abs(interval.T - fitted), fmt="o", color="#B2182B", ms=4, lw=1,
                  label="fitted, 95 % interval")  # fmt: skip
    axis.plot(tau, exact, "o", mfc="none", mec=INK, ms=8, label="exact, Eq. 7.9")
    axis.plot([0, 0.5], [0, 0.5], ":", color=INK, label="effective = intrinsic")
    axis.set(xlabel="intrinsic time constant (s)", ylabel="effective timescale (s)",
             xlim=(0, 0.53), ylim=(0, None), title="What a unit shows is not what it has")
    axis.legend(loc="upper left")
    save(figure, "figures/07_intrinsic.svg")


# Chapter 8


def pairs(area):
    """ln mean loss of the seeds in three conditions, and paired differences: name -> (seeds,)."""
    from scipy.stats import t as student

    from tau_rnn.experiment.statistics import paired_t

    figure, (left, right) = new_figure(1, 2, figsize=(8.6, 3.4), layout="constrained",
                                       width_ratios=[1, 1.25])  # fmt: skip
    names, n = list(area), len(area["vanilla"])
    left.plot(range(3), np.array(list(area.values())), color="#bbbbbb", lw=1, zorder=1)
    for k, name in enumerate(names):
        left.plot([k] * n, area[name], "o", color=color_of(name), ms=5)
    left.set_xticks(range(3), ["vanilla", "uniform", "constant\n0.61 s"])
    left.set(ylabel="ln of the mean loss", title="A lucky seed is lucky in most conditions",
             xlim=(-0.3, 2.3))  # fmt: skip
    differences = (names[1], names[0]), (names[2], names[0]), (names[1], names[2])
    for k, (one, other) in enumerate(differences):
        d, color = area[one] - area[other], color_of(one)
        apart = area[one].var(ddof=1) + area[other].var(ddof=1)
        half, effect = student.ppf(0.975, 2 * n - 2) * np.sqrt(apart / n), paired_t(d)
        right.plot(d, [k] * n, "|", color="#888888", ms=9)
        right.plot([effect.low, effect.high], [k + 0.2] * 2, color=color, lw=2.5)
        right.plot(effect.estimate, k + 0.2, "o", color=color)
        right.plot([d.mean() - half, d.mean() + half], [k + 0.36] * 2, color=color, lw=1, ls="--")
    right.axvline(0, color=INK, lw=0.8)
    right.set_yticks(range(3), [f"{one}\n- {other}" for one, other in differences])
    right.set(xlabel="difference of ln mean loss", ylim=(2.6, -0.4),
              title="Solid: paired 95 % interval. Dashed: unpaired")  # fmt: skip
    save(figure, "figures/08_pairs.svg")


# Chapter 9


def rank(singular_values, curves):
    """Singular values of the change of W, and accuracy with the change cut to a rank."""
    figure, (left, right) = new_figure(1, 2, figsize=(9, 3.2), layout="constrained")
    for (name, values), style in zip(singular_values.items(), ("o-", "s--")):
        look = {"color": color_of("uniform"), "label": name}
        left.plot(np.arange(1, len(values) + 1), values, style, ms=3, lw=1, **look)
        right.plot(curves[name].ranks, curves[name].accuracy, style, ms=4, lw=1.2, **look)
    left.set(xlabel="number k", ylabel="singular value of the change of W", ylim=(0, None),
             title="The change has few strong directions ...")  # fmt: skip
    right.set(xlabel="rank to which the change is cut", ylabel="accuracy", ylim=(0, 1.03),
              xlim=(-0.5, 20.5), xticks=range(0, 21, 4),
              title="... and a dozen or fewer do the task")  # fmt: skip
    right.legend(loc="lower right")
    save(figure, "figures/09_rank.svg")


def lesions(curves):
    """Accuracy without the slowest, the fastest and random units: name of the task -> curve."""
    figure, axes = new_figure(1, 2, figsize=(9, 3.3), layout="constrained", sharey=True)
    for axis, (name, curve) in zip(axes, curves.items()):
        percent, some = 100 * curve.fractions, curve.random
        axis.fill_between(percent, some.min(axis=0), some.max(axis=0), color="#dddddd",
                          label="ten random sets: range")  # fmt: skip
        axis.plot(percent, np.median(some, axis=0), ":", color="#555555", label="their median")
        axis.plot(percent, curve.slowest, "s-", color=color_of("uniform"), lw=2.4, label="slowest")
        axis.plot(percent, curve.fastest, "^--", color=INK, lw=1.2, label="fastest")
        axis.set(xlabel="units silenced (%)", title=name, ylim=(0, 1.03))
    axes[0].set_ylabel("accuracy")
    axes[0].legend(loc="lower left")
    figure.suptitle("Units silenced: two networks, two answers", x=0.01, ha="left")
    save(figure, "figures/09_lesions.svg")


def decoding(found):
    """R^2 of linear readouts over time, and the lead of the slower half over the faster one."""
    panels = [(name, d, q) for name, d in found.items() for q in range(len(d.quantities))]
    figure, axes = new_figure(2, 4, figsize=(11, 4.6), layout="constrained", sharex=True,
                              sharey="row", height_ratios=[1.4, 1])  # fmt: skip
    for (top, bottom), (name, d, q) in zip(axes.T, panels):
        slow, fast = d.after.slow[:, q], d.after.fast[:, q]
        top.plot(d.time, (slow + fast) / 2, color=color_of("uniform"), lw=2, label="trained")
        top.plot(d.time, d.before.random[:, :, q].mean(axis=0), ":", color=INK, label="untrained")
        top.set(ylim=(-0.05, 1.03), title=f"{name}:\n{d.quantities[q].replace('_', ' ')}")
        bottom.plot(d.time, slow - fast, color=color_of("uniform"))
        bottom.axhline(0, color=INK, lw=0.8)
        bottom.set(xlabel="time from the stimulus (s)", ylim=(-0.16, 0.16))
        for axis in (top, bottom):
            axis.axvline(d.stimulus, color="#bbbbbb", lw=0.8)
    axes[0, 0].set_ylabel("$R^2$, mean of halves")
    axes[1, 0].set_ylabel("$R^2$: slower half\nminus faster half")
    axes[0, 0].legend(loc="lower right")
    save(figure, "figures/09_decoding.svg")


def effective(before, after, fitted):
    """Effective against intrinsic timescales: (burn-in, when) -> (N,)."""
    figure, axes = new_figure(1, 2, figsize=(8.4, 3.6), layout="constrained", sharey=True)
    for axis, burn_in in zip(axes, (5, 20)):
        axis.loglog(before, fitted[burn_in, "before"], "o", mfc="none", color=GREY, ms=4,
                    label="before training")  # fmt: skip
        axis.loglog(after, fitted[burn_in, "after"], "o", color=color_of("uniform"), ms=5,
                    label="after")  # fmt: skip
        axis.loglog([0.1, 1.9], [0.1, 1.9], ":", color=INK, label="effective = intrinsic")
        axis.set_yticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
        axis.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
        axis.minorticks_off()
        axis.set(xlabel="intrinsic time constant (s)", title=f"burn-in {burn_in} s")
    axes[0].set_ylabel("effective timescale (s)")
    axes[1].legend(loc="lower right")
    figure.suptitle("After training a third of the units are slower than can be measured",
                    x=0.01, ha="left")  # fmt: skip
    save(figure, "figures/09_effective.svg")


def delay(paths):
    """Drawn-out delays in a plane: task -> (paths, what is remembered, its name, points)."""
    from matplotlib import cm, colors

    fills = {"attractor": INK, "saddle": "white", "slow": "#bbbbbb"}
    figure, axes = new_figure(1, 2, figsize=(7.8, 3.3), layout="constrained")
    for axis, (name, (path, value, what, points)) in zip(axes, paths.items()):
        largest = np.abs(value).max()
        scale = cm.ScalarMappable(colors.Normalize(-largest, largest), "coolwarm")
        for b, v in enumerate(value):
            axis.plot(*path[:, b].T, color=scale.to_rgba(v), lw=0.9)
        axis.plot(*path[0].T, ".", color="#555555", ms=4, label="start of the delay")
        for kind, at in sorted(points, key=lambda point: point[0]):
            label = "point of rest (attractor)" if kind == "attractor" else f"{kind} point"
            axis.plot(*at, "o", ms=8, mec=INK, mfc=fills[kind], label=label)
        figure.colorbar(scale, ax=axis, label=f"{what} to be remembered")
        axis.set(xlabel="first principal component", ylabel="second principal component",
                 title=name)  # fmt: skip
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle("30 s without input: all memories run to the same state", x=0.01, ha="left")
    save(figure, "figures/09_delay.png")


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


# Chapter 14


def unit(spikes, result):
    """Spikes of one neuron, fifteen trials, and the fit of its timescale."""
    from tau_rnn.plotting import plot_timescales

    figure, (left, right) = new_figure(1, 2, figsize=(9, 3.3), layout="constrained")
    for row, trial in enumerate(spikes[:15]):
        at = trial[0][trial[0] < (2.4 if row % 3 == 0 else 4.0)]
        ticks = np.tile([row - 0.35, row + 0.35, np.nan], len(at))  # one line with gaps
        left.plot(np.repeat(at, 3), ticks, color=INK, lw=0.8)
    left.set(xlabel="time (s)", ylabel="trial", xlim=(0, 4), yticks=[0, 5, 10],
             title="Spikes, fifteen of sixty trials")  # fmt: skip
    left.invert_yaxis()
    plot_timescales(result, 0, right)
    save(figure, "figures/14_unit.svg")


def window(lags, mixed, windows, taus):
    """Exponentials fitted to a mixture over windows of several lengths."""
    figure, (left, right) = new_figure(1, 2, figsize=(8.6, 3.2), layout="constrained")
    left.semilogy(lags, mixed, color=INK, lw=2, label="half 0.1 s, half 1 s")
    for w, tau, style in zip(windows[[1, 2, 4]], taus[[1, 2, 4]], (":", "--", "-.")):
        line, weight = np.exp(-lags / tau), np.arange(len(lags), 0, -1) * (lags <= w * tau)
        line *= np.sum(weight * mixed * line) / np.sum(weight * line**2)  # the best amplitude
        left.semilogy(lags[lags <= w * tau], line[lags <= w * tau], style, color="#B2182B", lw=2,
                      label=f"window {w:g}: {tau:.2f} s")  # fmt: skip
    left.set(xlabel="lag (s)", ylabel="autocovariance", xlim=(0, 3.2), ylim=(0.02, 1.1),
             title="Each window sees another line")  # fmt: skip
    left.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    left.minorticks_off()
    left.legend(loc="upper right")
    right.plot(windows, taus, "o-", color="#B2182B")
    for value, name in ((0.1, "fast part"), (1.0, "slow part")):
        right.axhline(value, color=INK, lw=0.8, ls="--")
        right.text(4, value + 0.02, name, ha="right", va="bottom")
    right.set(xlabel="window (lags up to this many tau)", ylabel="fitted timescale (s)",
              ylim=(0, 1.15), title="The window defines the timescale")  # fmt: skip
    save(figure, "figures/14_window.svg")


# Chapter 15


def degree(h, against):
    """Loss over training against h, relative to h = 0: (task, leak rate held) -> (h, 3) in %."""
    figure, axes = new_figure(1, 2, figsize=(8, 3.2), layout="constrained", sharey=True)
    tasks = list(dict.fromkeys(task for task, _ in against))
    for axis, task in zip(axes, tasks):
        for held, look in (False, "o-"), (True, "o--"):
            middle, low, high = against[task, held].T
            axis.errorbar(h + 0.01 * held, middle, [middle - low, high - middle], fmt=look,
                          color=color_of("uniform"), mfc="white" if held else None,
                          label="mean leak rate held" if held else "as it is")  # fmt: skip
        axis.axhline(0, color=INK, lw=0.8)
        axis.set(xlabel="degree of diversity h", title=task, xticks=[0, *h], xlim=(-0.03, 0.97))
    axes[0].set_ylabel("loss over training,\nagainst h = 0 (%)")
    axes[0].legend(loc="lower left")
    save(figure, "figures/15_degree.svg")


def homogeneous(levels, dists):
    """ln mean loss against tau of homogeneous networks, and of diverse ones: (task, name)."""
    figure, axes = new_figure(1, 2, figsize=(8, 3.3), layout="constrained")
    for axis, task in zip(axes, dict.fromkeys(task for task, _ in levels)):
        found = {name: value for (of, name), value in levels.items() if of == task}
        tau = sorted(float(name) for name in found if name not in dists)
        middle, low, high = np.array([found[f"{t:g}"] for t in tau]).T
        axis.errorbar(tau, middle, [middle - low, high - middle], fmt="o-", color=INK, ms=4,
                      label="homogeneous")  # fmt: skip
        for name, line in zip(dists, ("--", "-.", ":")):
            axis.axhline(found[name][0], color=color_of(name), ls=line, lw=2, label=name)
        axis.set(xlabel="time constant of the homogeneous network (s)", title=task, xlim=(0.3, 2.3),
                 xticks=[0.4, 0.8, 1.2, 1.6, 2.0])  # fmt: skip
    axes[0].set_ylabel("ln of the mean loss over training")
    axes[1].legend(loc="upper center")
    save(figure, "figures/15_homogeneous.svg")
