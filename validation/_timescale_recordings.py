"""The second page of timescale_recovery.py: recordings, and what others make of them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from _timescale_baselines import ar1_psth, kalman, mr_estimator, murray, murray_from_peak, ou

from tau_rnn.timescales import bin_spikes, fit_timescales

UNITS = 200  # in a cell
#: What is compared. Safe: neither noise nor offsets between trials ruin it in themselves.
PEERS = {"Murray": murray, "Murray, peak": murray_from_peak, "AR(1) PSTH": ar1_psth}
SAFE = ("Murray", "Murray, peak", "mrestimator")
#: Peers that take a second or a tenth of one for a unit, and how many units they get.
SLOW_PEERS = {"Kalman": (kalman, 20), "mrestimator": (mr_estimator, 100)}
STORED = Path(__file__).parent / "timescale_peers.csv"  # what these found
FINE = 0.002  # s, step in which rates of spikes are simulated


def firing_rate(rng, n_units, hertz, tau, T, n_trials, gain=0.0):
    """Rates that wander by half of their mean; `gain` is the sd of the log gain of trials."""
    rate = hertz * np.maximum(1 + 0.5 * ou(rng, n_units, tau, T, FINE, n_trials), 0)
    return rate * np.exp(gain * rng.standard_normal((n_trials, 1, n_units)))


def poisson(rng, n_units, hertz, gain=0.0, dt=0.05, tau=0.3):
    """Counts of 100 trials of 2.5 s."""
    rate = firing_rate(rng, n_units, hertz, tau, 2.5, 100, gain)
    mean = rate.reshape(100, -1, round(dt / FINE), n_units).mean(axis=2)
    return rng.poisson(mean * dt) / dt, dt, tau


def renewals(rng, n_units, order, dt):
    """20 Hz gamma renewal spikes, counted; tau = 0.3 s."""
    area = np.cumsum(firing_rate(rng, n_units, 20, 0.3, 2.5, 100), axis=1) * FINE * order
    times = []
    for trial in area:
        events = np.cumsum(rng.exponential(size=(int(2 * trial[-1].max()) + 60, n_units)), axis=0)
        units = []
        for a, e in zip(trial.T, events.T):
            e = e[rng.integers(order) :: order]
            e = e[e < a[-1]]
            at = np.searchsorted(a, e)
            units.append((at + rng.random(len(at))) * FINE)
        times.append(units)
    return bin_spikes(times, dt, (0.0, 2.5)), dt, 0.3


def few(rng, n_units, n_trials, tau=1.0, offset=0.0):
    """Trials of 5 s in steps of 50 ms."""
    x = ou(rng, n_units, tau, 5, 0.05, n_trials)
    return x + offset * rng.standard_normal((n_trials, 1, n_units)), 0.05, tau


def line(rng, n_units, n_trials=40, tau=0.3):
    x, dt, tau = few(rng, n_units, n_trials, tau)
    slopes = rng.standard_normal((n_trials, 1, n_units))
    return x + slopes * np.linspace(-1, 1, 100)[:, None], dt, tau


def evoked(rng, n_units, gain=0.2):
    """A mean that changes within trials, larger in some than in others."""
    x, dt, tau = few(rng, n_units, 40, 0.3)
    mean = 5 + 4 * np.sin(0.4 * np.pi * dt * np.arange(100)[:, None])
    return x + mean * np.exp(gain * rng.standard_normal((40, 1, n_units))), dt, tau


def noisy(rng, n_units, tau):
    x, dt, tau = few(rng, n_units, 40, tau)
    return x + rng.standard_normal(x.shape), dt, tau


def unequal(rng, n_units, offset=0.0):
    x, dt, tau = few(rng, n_units, 40, 0.3, offset)
    x[::2, 60:] = np.nan
    return x, dt, tau


def scattered(rng, n_units):
    x, dt, tau = few(rng, n_units, 40, 0.3)
    x[rng.random(x.shape[:2]) < 0.1] = np.nan
    return x, dt, tau


CELLS = {
    "clean, 40 trials": lambda rng, n: few(rng, n, 40, 0.3),
    "clean, 100 trials, tau = T/5": lambda rng, n: few(rng, n, 100),
    **{f"counts {h} Hz": lambda rng, n, h=h: poisson(rng, n, h) for h in (1, 2, 5, 10, 20)},
    "counts 5 Hz, gain 0.3": lambda rng, n: poisson(rng, n, 5, 0.3),
    "counts 10 Hz, gain 0.3": lambda rng, n: poisson(rng, n, 10, 0.3),
    "gamma-5 spikes, 10 ms": lambda rng, n: renewals(rng, n, 5, 0.01),
    "gamma-2 spikes, 20 ms": lambda rng, n: renewals(rng, n, 2, 0.02),
    "a slope in every trial": line,
    "trials of 3 and 5 s": unequal,
    "trials of 3 and 5 s, offsets": lambda rng, n: unequal(rng, n, 1.0),
    "a tenth missing": scattered,
    **{f"{m} trials, tau = T/5": lambda rng, n, m=m: few(rng, n, m) for m in (2, 5, 10, 20)},
    **{
        f"{m} trials, offsets": lambda rng, n, m=m: few(rng, n, m, 0.3, 1.0)
        for m in (2, 5, 10, 20)
    },
    "20 conditions of two trials": lambda rng, n: few(rng, n, 40, 0.3),
    "one trial of 200 s": lambda rng, n: (ou(rng, n, 0.3, 200, 0.05, 1), 0.05, 0.3),
    "counts 1 Hz, 4 ms bins": lambda rng, n: poisson(rng, n, 1, dt=0.004),
    "counts 20 Hz, gain 0.6": lambda rng, n: poisson(rng, n, 20, 0.6),
    "gamma-2 spikes, 50 ms": lambda rng, n: renewals(rng, n, 2, 0.05),
    "4 trials, a slope in each": lambda rng, n: line(rng, n, 4),
    "slopes, tau = T/5": lambda rng, n: line(rng, n, tau=1.0),
    "white noise, tau = 0.4 dt": lambda rng, n: noisy(rng, n, 0.02),
    "counts 200 Hz, bins of tau": lambda rng, n: poisson(rng, n, 200, dt=0.1, tau=0.1),
    "gain 0.2 on a mean that waves": evoked,
}  # fmt: skip


def errors(found, tau):
    """Bias and RMS error in percent, of the estimates that exist."""
    error = 100 * (found[np.isfinite(found)] / tau - 1)
    return (error.mean(), np.sqrt(np.mean(error**2))) if len(error) else (np.nan, np.nan)


def cells(rng, n_units):
    """Name, rates, dt, true tau and labels of each cell."""
    for (name, simulate), stream in zip(CELLS.items(), rng.spawn(len(CELLS))):
        rates, dt, tau = simulate(stream, n_units)
        yield name, rates, dt, tau, np.arange(len(rates)) // 2 if "conditions" in name else None


def digest(rates):
    """A number by which stored estimates know the data they were made from."""
    return f"{np.nanmean(rates):.6e}"


def run_slow_peers(rng):
    """Estimates of the slow peers that are not stored yet, added to the file one by one."""
    have = stored()
    for name, rates, dt, _, labels in cells(rng, UNITS):
        for peer, (estimate, n_units) in SLOW_PEERS.items():
            if (name, peer, digest(rates)) not in have:
                found = estimate(for_peers(rates, labels)[:, :, :n_units], dt)
                with STORED.open("a", newline="", encoding="utf-8") as file:
                    text = " ".join(f"{tau:.4g}" for tau in found)
                    csv.writer(file).writerow([name, peer, digest(rates), text])


def stored():
    """(cell, peer, digest) -> estimates (units,) of the file."""
    if not STORED.exists():
        return {}
    with STORED.open(newline="", encoding="utf-8") as file:
        return {(*key,): np.array(text.split(), float) for *key, text in csv.reader(file)}


def for_peers(rates, labels):
    """Trials of one condition, which is what peers take."""
    if labels is not None:
        return rates - np.stack([rates[labels == label].mean(axis=0) for label in labels])
    return rates.reshape(40, -1, rates.shape[2]) if len(rates) == 1 else rates  # stretches of 5 s


def others(name, rates, dt, labels, slow, have):
    """Estimates of each peer, of the first units or all of them; empty where it has none."""
    for peer, estimate in PEERS.items():
        yield peer, estimate(for_peers(rates, labels), dt)
    for peer in slow:
        found = have.get((name, peer, digest(rates)), np.empty(0))
        yield peer, found if np.isfinite(rates).all() or peer == "Kalman" else np.empty(0)


def recordings(report, rng, n_units):
    """Print the page: for each cell ours and its peers, then the bars."""
    report.section(f"Recordings: bias / RMS error in %, {n_units} units a cell; ours with "
                   "intervals that hold, no estimate, warned (%)")  # fmt: skip
    missed, ratio, beside, have = {}, {}, {}, stored()
    slow = [peer for peer in SLOW_PEERS if n_units == UNITS and any(peer in key for key in have)]
    print(f"  {'':30}{'ours':>13}  holds  NaN warn"
          + "".join(f"{name:>15}" for name in [*PEERS, *slow]))  # fmt: skip
    for name, rates, dt, tau, labels in cells(rng, n_units):
        ours = fit_timescales(rates, dt, conditions=labels)
        low, high = ours.tau_ci.T
        missed[name] = np.sum((low > tau) | (high < tau))
        bias, rms = errors(ours.tau, tau)
        told = np.isfinite(ours.tau)
        warned = [set(flag.split(",")) - {"", "nugget"} != set() for flag in ours.flag]
        shares = np.mean([(low <= tau) & (tau <= high), ~told, warned], axis=1)
        row = f"{bias:+6.0f} /{rms:5.0f}  " + "{:5.0f}{:5.0f}{:5.0f}".format(*100 * shares)
        best, by = 0.0, ""
        for peer, found in others(name, rates, dt, labels, slow, have):
            same = told[: len(found)] & np.isfinite(found)  # units that both have an estimate of
            if same.sum() <= 0.5 * len(found):
                fails = np.isfinite(found).sum() <= 0.5 * len(found)
                row += f"{'n/a' if len(found) == 0 else 'fails' if fails else 'ours none':>15}"
                continue
            theirs = errors(found[same], tau)
            row += f" {theirs[0]:+7.0f} /{theirs[1]:5.0f}"
            times = errors(ours.tau[: len(found)][same], tau)[1] / theirs[1]
            beside.setdefault(peer, []).append((1 / times, name))
            if peer in SAFE and times > best:
                best, by = times, peer
        if by:
            ratio[name] = best, by
        print(f"  {name:30s}{row}", flush=True)
    first = "".join(f", of {peer} the first {SLOW_PEERS[peer][1]}" for peer in slow)
    print(f"  Peers: the units that ours has an estimate of too{first};\n"
          "  n/a: not run, or takes no gaps; fails: no estimate of most units; ours none: ours\n"
          "  has no estimate of most, and says so.\n"
          "  RMS error over that of ours on the same units, over cells:")  # fmt: skip
    for peer, shares in beside.items():
        least, where = min(shares)
        middle = np.median([share for share, _ in shares])
        print(f"    {peer:13} median {middle:.1f}, least {least:.2f} ({where})")
    bar = 0.1 * n_units + 2.33 * np.sqrt(0.09 * n_units)  # 1 in 100 by chance where 10 % miss
    worst = max(missed, key=missed.get)
    report.check("intervals that exclude the truth, worst cell",
                 f"{100 * missed[worst] / n_units:.0f} % ({worst})",
                 f"10 %, {100 * bar / n_units:.0f} % with the binomial error of {n_units} units",
                 missed[worst] <= bar)  # fmt: skip
    worse = {name: v for name, v in ratio.items() if v[0] > 1.1}
    for name, (times, by) in worse.items():
        print(f"  RMS error {times:.2f} times that of {by}: {name}")
    report.check("RMS error no more than 1.1 times the best safe peer's",
                 f"{len(ratio) - len(worse)} of {len(ratio)} cells", "9 of 10",
                 len(worse) <= 0.1 * len(ratio))  # fmt: skip


def honesty(report, rng, n_units):
    """False alarms of flags and of p_fit, and what a slope and a sine raise."""
    report.section(f"Flags and goodness of fit, {n_units} units")
    clean = [fit_timescales(few(rng, n_units, m, t)[0], 0.05, ci=None)
             for m, t in ((40, 0.3), (100, 0.3), (10, 0.3), (40, 1.0))]  # fmt: skip
    alarms = {word: 100 * max(np.mean(np.char.find(c.flag, word) >= 0) for c in clean)
              for word in ("dc_drift", "trend", "misfit")}  # fmt: skip
    print("  false alarms, worst of four cells: "
          + ", ".join(f"{word} {share:.1f} %" for word, share in alarms.items()))  # fmt: skip
    margin = 233 * np.sqrt(0.05 * 0.95 / n_units)
    report.check("false alarms of each", f"{max(alarms.values()):.1f} %", f"7 % + {margin:.1f}",
                 max(alarms.values()) <= 7 + margin)  # fmt: skip
    p = np.concatenate([c.p_fit for c in clean])
    small = [100 * np.mean(p < level) for level in (0.01, 0.05, 0.5)]
    report.check("p_fit below 1, 5 and 50 %", " / ".join(f"{s:.1f} %" for s in small),
                 "3, 8, 60 %", small[0] <= 3 and small[1] <= 8 and small[2] <= 60)  # fmt: skip
    sloped = fit_timescales(line(rng, n_units)[0], 0.05, ci=None, detrend="constant")
    found = 100 * np.mean(np.char.find(sloped.flag, "trend") >= 0)
    report.check("a slope of sd 1 is flagged", f"{found:.0f} %", "95 %", found >= 95)
    t = 0.05 * np.arange(100)[:, np.newaxis] + rng.random((40, 1, n_units))
    x = few(rng, n_units, 40, 0.1)[0]
    slow = few(rng, n_units, 40, 2.0)[0]
    of = {"a sine": x + 0.7 * np.sin(2 * np.pi * t), "a second timescale": x + slow,
          "a slope": line(rng, n_units)[0]}  # fmt: skip
    for name, rates in of.items():
        p = fit_timescales(rates, 0.05, ci=None, detrend="constant").p_fit
        told = 100 * np.mean(p < 0.01)
        report.check(f"{name}: p_fit < 0.01", f"{told:.0f} %", "90 %", told >= 90)
    waves = [fit_timescales(evoked(rng, n_units, gain)[0], 0.05, ci=None) for gain in (0.2, 0.0)]
    found, none = (100 * np.mean(np.char.find(w.flag, "gain") >= 0) for w in waves)
    report.check("a gain of sd 0.2 is flagged", f"{found:.0f} %", "95 %", found >= 95)
    report.check("flagged where the mean is the same in every trial", f"{none:.0f} %",
                 f"7 % + {margin:.1f}", none <= 7 + margin)  # fmt: skip
