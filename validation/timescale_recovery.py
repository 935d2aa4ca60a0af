"""Does `fit_timescales` recover timescales that are known exactly, where other estimators do not?

    python validation/timescale_recovery.py            a few minutes, writes the figure
    python validation/timescale_recovery.py --quick    under a minute, fewer units, no figure

Every process is simulated exactly (no Euler error): Ornstein-Uhlenbeck units by their
autoregression, linear networks by the matrix exponential and the Lyapunov covariance. All
estimators see the same data. Each check prints what was compared, the worst error, the bar and
PASS or FAIL; the exit status is 1 if any failed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.linalg import expm, solve_continuous_lyapunov
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.signal import lfilter

from tau_rnn.timescales import (
    autocovariance,
    expected_acf,
    fit_timescales,
    linear_network_acf,
    timescale_of_acf,
    timescale_of_decay,
)

FIGURE = Path(__file__).parent / "figures" / "timescale_recovery.png"
GRID = [(T, dt, tau) for T, dt in ((2.5, 0.01), (5, 0.02), (20, 0.05))
        for tau in (0.05, 0.2, 0.5, 1.0, 2.0)]  # fmt: skip
N_TRIALS = 100


class Report:
    """Prints checks and remembers whether all passed."""

    def __init__(self):
        self.failed = 0

    def section(self, title):
        print(f"\n{title}")

    def check(self, compared, worst, bar, passed):
        self.failed += not passed
        print(f"  {'PASS' if passed else 'FAIL'}  {compared}: {worst}  (bar: {bar})", flush=True)


# --- what is simulated --------------------------------------------------------------------------


def ou(rng, n_units, tau, T, dt, n_trials=N_TRIALS):
    """Stationary Ornstein-Uhlenbeck units of variance 1, exactly sampled (trials, time, units)."""
    n, phi = round(T / dt), np.exp(-dt / tau)
    e = rng.standard_normal((n_trials, n, n_units))
    e[:, 1:] *= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], e, axis=1)


def damped_cosine(rng, n_units, tau, frequency, T, dt, n_trials=N_TRIALS):
    """Units with autocovariance exp(-t/tau) cos(2 pi f t): real part of a complex OU process."""
    n, pole = round(T / dt), np.exp((-1 / tau + 2j * np.pi * frequency) * dt)
    e = rng.standard_normal((2, n_trials, n, n_units))
    e = e[0] + 1j * e[1]
    e[:, 1:] *= np.sqrt(1 - abs(pole) ** 2)
    return lfilter([1.0], [1.0, -pole], e, axis=1).real


def linear_network(rng, A, Q, T, dt, n_trials=N_TRIALS):
    """Stationary trials of dx = A x dt + dw, cov(dw) = Q dt, exactly sampled."""
    P = solve_continuous_lyapunov(A, -Q)
    F = expm(A * dt)
    step = np.linalg.cholesky(P - F @ P @ F.T)
    x = np.empty((n_trials, round(T / dt), len(A)))
    x[:, 0] = rng.standard_normal((n_trials, len(A))) @ np.linalg.cholesky(P).T
    for t in range(1, x.shape[1]):
        x[:, t] = x[:, t - 1] @ F.T + rng.standard_normal((n_trials, len(A))) @ step.T
    return x


# --- baselines ----------------------------------------------------------------------------------


def murray(x, dt):
    """Exponential with offset fitted to the across-trial autocovariance (Murray et al. 2014)."""
    acf = autocovariance(x, center="psth")
    n = len(acf)
    t = dt * np.arange(1, n // 2)
    taus = np.full(x.shape[2], np.nan)
    for i, c in enumerate((acf / acf[0]).T):
        try:
            p, _ = curve_fit(
                lambda t, a, tau, b: a * (np.exp(-t / tau) + b),
                t, c[1 : n // 2], p0=[1, 0.1 * n * dt, 0],
                bounds=([0, 0.1 * dt, -10], [10, 10 * n * dt, 10]),
            )  # fmt: skip
            taus[i] = p[1]
        except (RuntimeError, OptimizeWarning):
            pass
    return taus


def per_trial(x, dt):
    """Plain exponential fitted to each trial's own autocorrelation, then averaged over trials."""
    n = x.shape[1]
    k = np.arange(n // 2)
    grid = np.geomspace(0.3 * dt, 10 * n * dt, 200)
    F = np.exp(-k * dt / grid[:, None])
    taus = []
    for trial in x:
        c = autocovariance(trial[None])[: n // 2].T
        taus.append(grid[(np.maximum(c @ F.T, 0) ** 2 / np.sum(F**2, axis=1)).argmax(axis=1)])
    return np.mean(taus, axis=0)


def first_1e(x, dt):
    """First 1/e crossing of the pooled autocorrelation, trial means subtracted."""
    acf = autocovariance(x)
    return (acf < acf[0] / np.e).argmax(axis=0) * dt


def ar1(x, dt):
    """-dt / ln of the lag-1 autocorrelation, trial means subtracted."""
    acf = autocovariance(x)
    return timescale_of_decay(np.clip(acf[1] / acf[0], 1e-9, 1 - 1e-9), dt)


ESTIMATORS = {
    "ours": lambda x, dt: fit_timescales(x, dt, ci=None).tau,
    "ours, trial": lambda x, dt: fit_timescales(x, dt, ci=None, center="trial").tau,
    "ours, psth": lambda x, dt: fit_timescales(x, dt, ci=None, center="psth").tau,
    "Murray": murray,
    "per trial": per_trial,
    "1/e": first_1e,
    "AR(1)": ar1,
}


def bias_rms(tau_hat, tau):
    """Mean and root mean square of the relative error, in percent, of the estimates that exist."""
    error = 100 * (tau_hat / tau - 1)
    error = error[np.isfinite(error)]
    return (error.mean(), np.sqrt(np.mean(error**2))) if len(error) else (np.nan, np.nan)


# --- checks -------------------------------------------------------------------------------------


def closed_form(report, rng):
    report.section("Expected autocovariance against brute force, diagonals of H R H")
    worst = 0.0
    for n in (2, 3, 10, 57, 200):
        spectrum = rng.exponential(size=n)  # a random positive-definite sequence
        waves = np.cos(np.outer(np.arange(n), rng.uniform(0, np.pi, n)))
        for gamma in (np.exp(-np.arange(n) / 7), waves @ spectrum / spectrum.sum()):
            R = gamma[np.abs(np.subtract.outer(np.arange(n), np.arange(n)))]
            H = np.eye(n) - 1 / n
            brute = [np.diagonal(H @ R @ H, k).mean() for k in range(n)]
            worst = max(worst, np.abs(expected_acf(gamma, n) - brute).max())
    report.check("every lag, n = 2 to 200", f"{worst:.1e}", "1e-12", worst <= 1e-12)


def grid(report, rng, n_units):
    report.section(f"OU units: bias / RMS error in %, {N_TRIALS} trials, {n_units} units a cell")
    print("  " + " " * 16 + "".join(f"{name:>16}" for name in ESTIMATORS) + "   NaN")
    table = {}
    for T, dt, tau in GRID:
        x = ou(rng, n_units, tau, T, dt)
        found = {name: estimate(x, dt) for name, estimate in ESTIMATORS.items()}
        table[T, tau] = {name: bias_rms(tau_hat, tau) for name, tau_hat in found.items()}
        missing = {name: np.isnan(t).sum() for name, t in found.items() if np.isnan(t).any()}
        row = "".join(f"{b:+9.1f} /{r:5.0f}" for b, r in table[T, tau].values())
        print(f"  T={T:4g} tau={tau:4g}  {row}   {missing or ''}", flush=True)
    bias = max((abs(cell["ours"][0]), key) for key, cell in table.items() if key[1] <= key[0] / 5)
    report.check(
        "|bias| of ours where tau <= T/5",
        f"{bias[0]:.1f} % at T={bias[1][0]:g}, tau={bias[1][1]:g}", "5 %", bias[0] <= 5,
    )  # fmt: skip
    ratio = {key: cell["ours"][1] / cell["Murray"][1] for key, cell in table.items()}
    top = max(ratio, key=ratio.get)
    report.check(
        "RMS error, ours / Murray, worst cell",
        f"{ratio[top]:.2f} at T={top[0]:g}, tau={top[1]:g}", "1", ratio[top] <= 1,
    )  # fmt: skip
    median = np.median(list(ratio.values()))
    report.check("RMS error, ours / Murray, median cell", f"{median:.2f}", "0.7", median <= 0.7)
    return table


def nuisances(rng, x, T, dt):
    """The same fluctuations under what recordings add to them: (name, rates, labels)."""
    n_trials, n, n_units = x.shape
    t = np.arange(n) * dt
    drive = 2 * np.sin(2 * np.pi * t / T + rng.uniform(0, 2 * np.pi, (n_units, 1))).T
    offsets = rng.standard_normal((n_trials, 1, n_units))
    noise = np.sqrt(0.3) * rng.standard_normal(x.shape)
    labels = np.arange(n_trials) % 4
    means = rng.standard_normal((4, 1, n_units)) * (1 + np.sin(2 * np.pi * t / T)[:, None])
    yield "common drive", x + drive, None
    yield "trial offsets, sd 1", x + offsets, None
    yield "observation noise, variance 0.3", x + noise, None
    yield "four conditions of different mean", x + means[labels], labels
    yield "all of these at once", x + drive + offsets + noise + means[labels], labels


def robustness(report, rng, n_units):
    report.section("Nuisances: bias in % of ours, default settings, T = 5 s, dt = 0.02 s")
    worst = {}
    for tau in (0.2, 0.5, 1.0):
        x = ou(rng, n_units, tau, 5, 0.02)
        for name, rates, labels in nuisances(rng, x, 5, 0.02):
            bias, rms = bias_rms(fit_timescales(rates, 0.02, conditions=labels, ci=None).tau, tau)
            plain = bias_rms(murray(rates[:, :, :20], 0.02), tau)[0]
            print(f"  tau={tau:3g}  {name:34s} {bias:+6.1f}  (RMS {rms:4.1f}; Murray {plain:+.0f})")
            worst[name] = max(worst.get(name, (0.0, 0)), (abs(bias), tau))
    for name, (bias, tau) in worst.items():
        report.check(f"|bias|, {name}", f"{bias:.1f} % at tau={tau:g}", "5 %", bias <= 5)


def switch(report, rng, n_units):
    report.section('The automatic choice: share of "psth" (% of units), and bias in %')
    sizes = (0.0, 0.1, 0.3, 1.0)
    print("  offset sd       " + "".join(f"{size:>16g}" for size in sizes))
    kept = {size: [] for size in sizes}
    for T, dt, tau in GRID:
        if tau > T / 5:
            continue
        x = ou(rng, n_units, tau, T, dt)
        row = ""
        for size in sizes:
            rates = x + size * rng.standard_normal((N_TRIALS, 1, n_units))
            result = fit_timescales(rates, dt, ci=None)
            share = 100 * np.mean(result.center_used == "psth")
            kept[size].append(share)
            row += f"{share:9.0f} {bias_rms(result.tau, tau)[0]:+6.1f}"
        print(f"  T={T:4g} tau={tau:4g} {row}", flush=True)
    alarm, miss = 100 - np.mean(kept[0.0]), np.mean(kept[1.0])
    report.check("false alarms, no offsets", f"{alarm:.1f} %", "10 %", alarm <= 10)
    report.check("misses, offset sd 1", f"{miss:.1f} %", "5 %", miss <= 5)


def networks(report, rng, n_repeats):
    report.section("Linear networks, N = 16, T = 5 s, dt = 0.02 s, against their exact autocovariance")
    N, T, dt = 16, 5.0, 0.02
    tau = rng.uniform(0.1, 0.4, N)
    symmetric = rng.standard_normal((N, N))
    symmetric = symmetric + symmetric.T
    symmetric *= 0.6 / np.abs(np.linalg.eigvalsh(symmetric)).max()
    forward = np.triu(rng.standard_normal((N, N)), 1) / np.sqrt(N)
    for name, W in (("symmetric", symmetric), ("non-normal", forward)):
        A, Q = (W - np.eye(N)) / tau[:, None], np.diag(2 / tau)
        exact = linear_network_acf(A, Q, dt * np.arange(round(T / dt)))
        aim = timescale_of_acf(exact, dt)
        expected = expected_acf(exact.T, len(exact), N_TRIALS).T
        found, z = [], []
        for _ in range(n_repeats):
            x = linear_network(rng, A, Q, T, dt)
            single = np.stack([autocovariance(trial[None]) for trial in x])
            error = single.std(axis=0, ddof=1) / np.sqrt(N_TRIALS)
            found.append(fit_timescales(x, dt, ci=None).tau)
            z.append(((autocovariance(x) - expected) / error)[: len(exact) // 2])
        bias, rms = bias_rms(np.array(found), aim)
        by_unit = np.abs(np.nanmean(found, axis=0) / aim - 1).max() * 100
        print(
            f"  {name:11s} effective tau {aim.min():.2f} to {aim.max():.2f} s, intrinsic "
            f"{tau.min():.2f} to {tau.max():.2f} s; RMS {rms:.1f} %, worst unit {by_unit:.1f} %, "
            f"{np.isnan(found).sum()} NaN"
        )
        report.check(f"{name}: |bias| of tau", f"{abs(bias):.1f} %", "5 %", abs(bias) <= 5)
        spread = np.sqrt(np.mean(np.square(z)))
        report.check(
            f"{name}: autocovariance less exact expectation, RMS in standard errors",
            f"{spread:.2f}", "0.8 to 1.2", 0.8 <= spread <= 1.2,
        )  # fmt: skip


def euler_trap(report, rng, n_units):
    report.section("A leaky unit stepped by Euler, tau = 0.2 s, dt = 0.05 s")
    alpha = 0.05 / 0.2
    e = rng.standard_normal((N_TRIALS, 500, n_units))
    x = lfilter([alpha], [1.0, alpha - 1], e, axis=1)[:, 100:]
    aim = timescale_of_decay(1 - alpha, 0.05)
    found = fit_timescales(x, 0.05, ci=None).tau.mean()
    off = 100 * abs(found / aim - 1)
    report.check(f"found {found:.4f} s, -dt/ln(1-alpha) = {aim:.4f} s", f"{off:.1f} %", "2 %",
                 off <= 2)  # fmt: skip


def mixtures(report, rng, n_units):
    report.section("Two timescales: half 0.1 s, half 1 s, T = 5 s, dt = 0.02 s; BIC chooses")
    x = np.sqrt(0.5) * (ou(rng, n_units, 0.1, 5, 0.02) + ou(rng, n_units, 1.0, 5, 0.02))
    for model in ("two_exp", "auto"):
        result = fit_timescales(x, 0.02, model=model, ci=None)
        slow, fast = bias_rms(result.tau, 1.0), bias_rms(result.tau_fast, 0.1)
        print(f"  {model:8s} slow {slow[0]:+.1f} / {slow[1]:.1f}, fast {fast[0]:+.1f} / "
              f"{fast[1]:.1f} % (bias / RMS), share of slow {np.nanmean(result.fraction_slow):.2f}")
        report.check(f"{model}: |bias| of the slow one", f"{abs(slow[0]):.1f} %", "20 %",
                     abs(slow[0]) <= 20)  # fmt: skip
        report.check(f"{model}: |bias| of the fast one", f"{abs(fast[0]):.1f} %", "20 %",
                     abs(fast[0]) <= 20)  # fmt: skip
    two = 100 * np.mean(result.model_used == "two_exp")
    report.check("two chosen for mixtures", f"{two:.1f} %", "95 %", two >= 95)
    single = [
        fit_timescales(ou(rng, n_units, tau, T, dt), dt, model="auto", ci=None).model_used
        for T, dt, tau in GRID
        if tau <= T / 3
    ]
    one = 100 * np.mean(np.concatenate(single) == "exp")
    report.check("one chosen for single OU units", f"{one:.1f} %", "95 %", one >= 95)


def oscillations(report, rng, n_units):
    report.section("Damped cosines, T = 5 s, dt = 0.02 s")
    for tau, frequency in ((0.5, 1.0), (0.5, 4.0), (0.2, 2.0)):
        x = damped_cosine(rng, n_units, tau, frequency, 5, 0.02)
        result = fit_timescales(x, 0.02, model="cos", ci=None)
        off = max(abs(bias_rms(result.tau, tau)[0]), abs(bias_rms(result.frequency, frequency)[0]))
        report.check(f"tau={tau:g} s, f={frequency:g} Hz: |bias| of either", f"{off:.1f} %", "5 %",
                     off <= 5)  # fmt: skip
        flagged = 100 * np.mean(fit_timescales(x, 0.02, ci=None).flag == "oscillatory")
        report.check('  one exponential asked for: flagged "oscillatory"', f"{flagged:.0f} %",
                     "95 %", flagged >= 95)  # fmt: skip


def coverage(report, rng, n_units):
    report.section(f"95 % intervals: how often they hold the truth, {n_units} units a cell")
    covered, curve = [], []
    for T, dt, tau in GRID:
        if tau > T / 3:
            continue
        x = ou(rng, n_units, tau, T, dt)
        low, high = fit_timescales(x, dt).tau_ci.T
        covered.append(100 * np.mean((low <= tau) & (tau <= high)))
        acf, n = autocovariance(x, center="psth"), round(T / dt)
        t = dt * np.arange(n // 2)
        for c in (acf / acf[0])[: n // 2].T[:20]:
            p, cov = curve_fit(lambda t, a, s: a * np.exp(-t / s), t, c, p0=[1, 0.1 * T])
            curve.append(abs(p[1] - tau) <= 1.96 * np.sqrt(cov[1, 1]))
        print(f"  T={T:4g} tau={tau:4g}  missed below {100 * np.mean(high < tau):4.1f} %, "
              f"above {100 * np.mean(low > tau):4.1f} %, covered {covered[-1]:5.1f} %", flush=True)
    print(f"  covariance of curve_fit, for comparison: covered {100 * np.mean(curve):.0f} %")
    mean, worst = np.mean(covered), min(covered)
    report.check("coverage over all cells", f"{mean:.1f} %", "90 to 98 %", 90 <= mean <= 98)
    # A cell of n units has a binomial error of its own; three of its standard errors are allowed.
    slack = 300 * np.sqrt(0.95 * 0.05 / n_units)
    inside = 90 - slack <= worst and max(covered) <= 98 + slack
    report.check("coverage, every cell", f"{worst:.1f} to {max(covered):.1f} %",
                 f"90 to 98 %, give or take {slack:.1f}", inside)  # fmt: skip


def invariances(report, rng, n_units):
    report.section("Invariances")
    x = ou(rng, n_units, 0.5, 5, 0.02)
    acf, tau = autocovariance(x), fit_timescales(x, 0.02, ci=None).tau
    shifted = x + 3 * rng.standard_normal((N_TRIALS, 1, n_units))
    shifted = shifted + 3 * rng.standard_normal((1, x.shape[1], n_units))
    worst = np.abs(autocovariance(shifted) / acf[0] - acf / acf[0]).max()
    report.check("autocovariance, trial constants and a common time course added", f"{worst:.1e}",
                 "1e-12 of the variance", worst <= 1e-12)  # fmt: skip
    same = {
        "scaled by 1e-6": x * 1e-6,
        "scaled by 1e6": x * 1e6,
        "trials permuted": x[rng.permutation(N_TRIALS)],
        "time reversed": x[:, ::-1],
    }
    for name, rates in same.items():
        worst = np.abs(fit_timescales(rates, 0.02, ci=None).tau / tau - 1).max()
        # tau is polished to 1e-6 of the grid step, which rounding moves by less than that
        report.check(f"tau, {name}", f"{worst:.1e}", "1e-8", worst <= 1e-8)


def draw(table):
    """Bias and RMS error against tau / T for every estimator."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    styles = {
        "ours": ("#000000", "o", "-"), "ours, trial": ("#0072B2", "s", "-"),
        "ours, psth": ("#56B4E9", "D", "-"), "Murray": ("#E69F00", "v", "--"),
        "per trial": ("#D55E00", "^", "--"), "1/e": ("#CC79A7", "<", "--"),
        "AR(1)": ("#009E73", ">", "--"),
    }  # fmt: skip
    figure, axes = plt.subplots(2, 3, figsize=(9.5, 5.6), sharex="col", layout="constrained")
    for column, T in enumerate((2.5, 5, 20)):
        cells = {key: cell for key, cell in table.items() if key[0] == T}
        x = [tau / T for _, tau in cells]
        for name, (color, marker, line) in styles.items():
            bias, rms = np.array([cell[name] for cell in cells.values()]).T
            label = {"ours": "ours (auto)", "Murray": "exp. + offset (Murray)"}.get(name, name)
            style = {"color": color, "marker": marker, "ls": line, "ms": 4, "lw": 1.3}
            axes[0, column].plot(x, bias, label=label, **style)
            axes[1, column].plot(x, rms, **style)
        axes[0, column].axhspan(-5, 5, color="0.9", zorder=0)
        axes[0, column].set(title=f"T = {T:g} s", ylim=(-80, 40))
        axes[1, column].set(xscale="log", yscale="log", xlabel="tau / T", ylim=(1, 200))
        axes[1, column].axvline(1 / 5, color="0.6", lw=0.8, ls=":")
        axes[0, column].axvline(1 / 5, color="0.6", lw=0.8, ls=":")
    axes[0, 0].set_ylabel("bias (% of tau)")
    axes[1, 0].set_ylabel("RMS error (% of tau)")
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    FIGURE.parent.mkdir(exist_ok=True)
    figure.savefig(FIGURE, dpi=100)
    plt.close(figure)


def main(argv=None) -> int:
    """Run every check; 0 if all passed, else 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer units, no figure")
    quick = parser.parse_args(argv).quick
    report = Report()
    streams = iter(np.random.default_rng(20).spawn(9))
    closed_form(report, next(streams))
    table = grid(report, next(streams), 20 if quick else 100)
    robustness(report, next(streams), 100 if quick else 300)
    switch(report, next(streams), 20 if quick else 100)
    networks(report, next(streams), 3 if quick else 10)
    euler_trap(report, next(streams), 10)
    mixtures(report, next(streams), 20 if quick else 100)
    oscillations(report, next(streams), 10 if quick else 40)
    coverage(report, next(streams), 40 if quick else 300)
    invariances(report, np.random.default_rng(21), 10)
    if not quick:
        draw(table)
        print(f"\nfigure: {FIGURE.name}")
    print(f"\n{'PASS' if not report.failed else f'FAIL ({report.failed} checks)'}")
    return int(report.failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
