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
