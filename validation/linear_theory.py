"""Linear networks, of which everything is known: matrix exponential, eigenvalues, stability.

    python validation/linear_theory.py            a few seconds, draws the figure
    python validation/linear_theory.py --quick    fewer networks, no figure

With phi(x) = x the network is dx/dt = A x + constant, A = diag(1/tau) (W - 1), and one step of the
simulation is x -> M x + constant, M = 1 - diag(alpha) (1 - W).
"""

from __future__ import annotations

import warnings

import numpy as np
from _report import FIGURES, Report, is_quick
from scipy.linalg import eig, expm, expm_frechet

from tau_rnn.bptt import backward
from tau_rnn.model import METHODS, Params, alpha, forward


def network(rng, N=6, equal=False, W=None) -> Params:
    return Params(
        W=rng.standard_normal((N, N)) * 0.9 / np.sqrt(N) if W is None else W,
        W_in=rng.standard_normal((N, 1)),
        b=rng.standard_normal(N),
        W_out=rng.standard_normal((1, N)),
        b_out=rng.standard_normal(1),
        x0=rng.standard_normal(N),
        tau=np.full(N, 0.7) if equal else rng.uniform(0.2, 1.5, N),
    )


def simulate(params, dt, steps, method="euler"):
    """Without input, so that only b drives the network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # coarse steps are the point here
        return forward(params, np.zeros((steps, 1, 1)), dt, phi="linear", method=method)


def step_matrix(params, dt, method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        a = alpha(params.tau, dt, method)
    return np.eye(len(a)) - a[:, np.newaxis] * (np.eye(len(a)) - params.W)


def relative(got, expected):
    return np.abs(got - expected).max() / np.abs(expected).max()


def check_discrete(report, rng, n):
    """x[t] = x* + M^t (x0 - x*), with x* = (1 - W)^-1 b, and the gradient in x0."""
    worst, worst_gradient = 0.0, 0.0
    for method in METHODS:
        for _ in range(n):
            params = network(rng)
            traj = simulate(params, 0.05, 60, method)
            M = step_matrix(params, 0.05, method)
            end = np.linalg.solve(np.eye(6) - params.W, params.b)
            for t in (1, 7, 60):
                exact = end + np.linalg.matrix_power(M, t) @ (params.x0 - end)
                worst = max(worst, relative(traj.x[t, 0], exact))
            dy = np.zeros_like(traj.y)
            dy[-1] = 1
            exact = np.linalg.matrix_power(M.T, 60) @ params.W_out[0]
            worst_gradient = max(worst_gradient, relative(backward(params, traj, dy).x0, exact))
    report.at_most(f"x[t] against powers of M, both methods, {2 * n} networks", worst, 1e-12)
    report.at_most("dx0 of the last output against powers of M^T", worst_gradient, 1e-12)


def check_continuous(report, rng, n):
    """x(t) = expm(A t) x0, and its derivative in W along a direction, by expm_frechet."""
    T, dts = 1.5, 1.5 / (200 * 2 ** np.arange(5))
    orders, gradient_orders = [], []
    for method in METHODS:
        for _ in range(n):
            params = network(rng)._replace(b=np.zeros(6))  # x* = 0
            inverse = np.diag(1 / params.tau)
            A, E = inverse @ (params.W - np.eye(6)), rng.standard_normal((6, 6))
            propagator, along_E = expm_frechet(A * T, inverse @ E * T)
            exact, exact_slope = propagator @ params.x0, params.W_out[0] @ along_E @ params.x0
            errors, slope_errors = [], []
            for dt in dts:
                traj = simulate(params, dt, round(T / dt), method)
                dy = np.zeros_like(traj.y)
                dy[-1] = 1
                slope = (backward(params, traj, dy).W * E).sum()
                errors.append(np.abs(traj.x[-1, 0] - exact).max())
                slope_errors.append(abs(slope - exact_slope))
            for found, e in ((orders, errors), (gradient_orders, slope_errors)):
                found.append(np.polyfit(np.log(dts), np.log(e), 1)[0])
    for what, found in (("x", orders), ("dW against expm_frechet", gradient_orders)):
        report.near(f"order of convergence to expm, {what}, {2 * n} networks: the median",
                    np.median(found), 1, 0.02)  # fmt: skip


def check_eigenmodes(report, rng, n):
    """With equal tau an eigenmode of W with eigenvalue l decays by 1 - alpha (1 - l) per step."""
    worst, worst_rate = 0.0, 0.0
    for method in METHODS:
        for _ in range(n):
            params = network(rng, equal=True)._replace(b=np.zeros(6))
            values, left, _ = eig(params.W, left=True)
            modes = simulate(params, 0.05, 40, method).x[:, 0] @ left.conj()
            a = alpha(params.tau, 0.05, method)[0]
            factor = 1 - a * (1 - values)
            exact = modes[0] * factor ** np.arange(41)[:, np.newaxis]
            worst = max(worst, relative(modes, exact))
            # For small steps the factor is exp(-dt (1 - l) / tau): time constant tau / (1 - l).
            a = alpha(params.tau, 1e-6, method)[0]
            rate = -np.log(1 - a * (1 - values)) / 1e-6
            worst_rate = max(worst_rate, relative(rate, (1 - values) / params.tau[0]))
    report.at_most("eigenmodes decay by 1 - alpha (1 - l) per step", worst, 1e-12)
    # 1e-5: the rates differ by dt (1 - l)^2 / (2 tau^2), of order 1e-6.
    report.at_most("their rate is (1 - l) / tau at dt = 1e-6 s", worst_rate, 1e-5)


def grows(params, dt, method, steps=4000):
    """Whether a small state has grown at the end, and the mean growth per step over the last half.

    States are normalised now and then, so that nothing overflows and the fastest mode wins.
    """
    growth, block = [], 100
    for _ in range(steps // block):
        x = simulate(params, dt, block, method).x[:, 0]
        size = np.linalg.norm(x[-1])
        growth.append(np.log(size / np.linalg.norm(x[0])) / block)
        params = params._replace(x0=x[-1] / size)
    rate = np.mean(growth[len(growth) // 2 :])
    return rate > 0, rate


def check_stability(report, rng, n):
    """A step is unstable where abs(1 - alpha (1 - l)) > 1 for an eigenvalue l, or M has one > 1."""
    good, worst, of = 0, 0.0, 0
    for method in METHODS:
        for k in range(n):
            # Half of the networks are inhibitory enough to be unstable at coarse steps only.
            W = rng.standard_normal((5, 5)) * 0.8 / np.sqrt(5) - (k % 2) * 2.5 * np.eye(5)
            params = network(rng, N=5, W=W)._replace(b=np.zeros(5))
            for ratio in (0.3, 0.9, 1.7):
                dt = ratio * params.tau.min()
                radius = np.abs(np.linalg.eigvals(step_matrix(params, dt, method))).max()
                unstable, rate = grows(params, dt, method)
                good += unstable == (radius > 1)
                worst = max(worst, abs(rate - np.log(radius)))
                of += 1
    report.all_of("networks grow or decay as the spectral radius of M says", good, of)
    # 1e-2: of a rotating mode the norm oscillates, by a factor of some units over 2000 steps.
    report.at_most("growth per step against log of that radius", worst, 1e-2)

    good, of = 0, 0
    for _ in range(n):
        W = rng.standard_normal((5, 5)) * 0.8 / np.sqrt(5) - 2 * np.eye(5)
        params = network(rng, N=5, equal=True, W=W)._replace(b=np.zeros(5))
        values, tau = np.linalg.eigvals(W), params.tau[0]
        # abs(1 - alpha z)^2 = 1 at alpha = 2 Re z / abs(z)^2, z = 1 - l.
        z = 1 - values
        limit = (2 * z.real / np.abs(z) ** 2).min()
        for alpha_, expected in ((0.98 * limit, False), (1.02 * limit, True)):
            good += grows(params, alpha_ * tau, "euler")[0] == expected
            # An exponential step has alpha = 1 - exp(-dt/tau) < 1, and no limit if limit >= 1.
            if alpha_ < 1:
                good += grows(params, -tau * np.log1p(-alpha_), "exponential")[0] == expected
                of += 1
            of += 1
    report.all_of("the limit alpha = 2 Re(1-l) / |1-l|^2: stable 2 % below, unstable above", good,
                  of)  # fmt: skip


def draw():
    """Growth per step of one unit with a weight onto itself, and where theory puts the limit."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(0)
    figure, axis = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    colors = ("#0072B2", "#009E73", "#D55E00")
    alphas = np.linspace(0.05, 1.95, 39)
    for l, color in zip((0.5, -1.0, -3.0), colors):
        params = network(rng, N=1, W=np.array([[l]]), equal=True)._replace(b=np.zeros(1))
        found = []
        for a in alphas:
            x = simulate(params, a * params.tau[0], 20).x[:, 0, 0]
            found.append(np.abs(x[-1] / x[0]) ** (1 / 20))
        axis.plot(alphas, np.abs(1 - alphas * (1 - l)), color=color, lw=1)
        axis.plot(alphas, found, "o", ms=4, color=color, label=f"l = {l:g}")
        if 2 / (1 - l) < 1.95:
            axis.axvline(2 / (1 - l), color=color, ls=":", lw=1)
    axis.axhline(1, color="#666666", lw=0.8)
    axis.text(0.03, 1.06, "unstable above", color="#666666", fontsize=9)
    axis.set(
        xlabel="step size alpha = dt / tau",
        ylabel="growth per step",
        ylim=(0, 3),
        xlim=(0, 2),
    )
    axis.set_title(
        "Euler steps of a linear mode with eigenvalue l\n"
        "points: simulation; lines: |1 - alpha (1 - l)|; dotted: the limit 2 / (1 - l)",
        loc="left", fontsize=10,
    )  # fmt: skip
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.02, 0.95))
    axis.spines[["top", "right"]].set_visible(False)
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / "linear_stability.png", dpi=100, metadata={"Software": None})
    plt.close(figure)


def check_expm_of_isolated_steps(report, rng):
    """Exponential Euler with W = 0 is expm itself, step by step, for any dt."""
    worst = 0.0
    for dt in (0.01, 0.5, 5.0):
        params = network(rng, W=np.zeros((6, 6)))._replace(b=np.zeros(6))
        traj = simulate(params, dt, 5, "exponential")
        exact = expm(-np.diag(dt / params.tau)) @ traj.x[:-1, 0].T
        worst = max(worst, np.abs(traj.x[1:, 0].T - exact).max() / np.abs(exact).max())
    report.at_most("W = 0: a step of exponential Euler is expm(-dt/tau)", worst, 1e-12)


def main(argv=None) -> int:
    """Run every check; 0 if all passed, else 1."""
    quick = is_quick(__doc__, argv)
    report = Report("Linear networks against theory")
    rng, n = np.random.default_rng(4), 2 if quick else 8
    check_discrete(report, rng, n)
    check_continuous(report, rng, n)
    check_eigenmodes(report, rng, n)
    check_expm_of_isolated_steps(report, rng)
    check_stability(report, rng, n)
    if not quick:
        draw()
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
