"""Does the simulation converge to the differential equation, and its gradient to the adjoint's?

    python validation/ode_vs_solve_ivp.py            some seconds, draws the figure
    python validation/ode_vs_solve_ivp.py --quick    coarser steps, no figure

The reference is scipy.integrate.solve_ivp (DOP853, relative tolerance 1e-10), for the states and
for the adjoint equation that runs backward in time. Orders of convergence are slopes of log error
against log dt.
"""

from __future__ import annotations

import numpy as np
from _report import FIGURES, Report, is_quick
from scipy.integrate import solve_ivp

from tau_rnn.bptt import backward
from tau_rnn.model import METHODS, NONLINEARITIES, Params, forward, velocity

DURATION = 2.0  # s
TOLERANCE = {"method": "DOP853", "rtol": 1e-10, "atol": 1e-12}
SMOOTH = ("tanh", "softplus", "sigmoid", "linear")


def network(rng, N=8, n_in=2, n_out=2) -> Params:
    return Params(
        W=rng.standard_normal((N, N)) * 1.2 / np.sqrt(N),
        W_in=rng.standard_normal((N, n_in)),
        b=0.3 * rng.standard_normal(N),
        W_out=rng.standard_normal((n_out, N)) / np.sqrt(N),
        b_out=rng.standard_normal(n_out),
        x0=rng.standard_normal(N),
        tau=rng.uniform(0.2, 1.5, N),
    )


def inputs(t):
    """A smooth input of two channels, (..., 2) at the times t in s."""
    t = np.asarray(t)
    return np.stack([np.sin(2 * np.pi * t), np.cos(3 * t) * np.exp(-t)], axis=-1)


def solve_states(params, phi):
    return solve_ivp(
        lambda t, x: velocity(params, x, inputs(t), phi=phi),
        (0, DURATION), params.x0, dense_output=True, **TOLERANCE,
    ).sol  # fmt: skip


def simulate(params, dt, phi, method):
    steps = round(DURATION / dt)
    u = inputs(dt * np.arange(steps))[:, np.newaxis]
    return forward(params, u, dt, phi=phi, method=method)


def order(dts, errors):
    return np.polyfit(np.log(dts), np.log(errors), 1)[0]


def state_errors(params, exact, dts, phi, method):
    """Largest error of any unit at any time, for each dt."""
    errors = []
    for dt in dts:
        traj = simulate(params, dt, phi, method)
        t = dt * np.arange(len(traj.x))
        errors.append(np.abs(traj.x[:, 0].T - exact(t)).max())
    return np.array(errors)


# The loss, for the adjoint: L = integral of c(t) . y(t) dt + q . y(DURATION)
Q = np.array([0.7, -1.1])


def c(t):
    t = np.asarray(t)
    return np.stack([np.cos(4 * t), 0.5 + 0 * t], axis=-1)


def continuous_gradient(params, x_of, phi) -> Params:
    """Gradient of the loss by the adjoint equation of the differential equation (Eq. 3.14),

        -dl_j/dt = -l_j / tau_j + phi'(x_j) (sum_i l_i W_ij / tau_i + sum_k c_k W_out_kj)

    with l = dL/dx, from l(DURATION) = phi' W_out^T q backward to 0 (the tutorial measures it in
    units of tau); the gradients are integrals over time, integrated along with it.
    """
    W, W_in, b, W_out, _, _, tau = params
    f, derivative = NONLINEARITIES[phi].function, NONLINEARITIES[phi].derivative
    N, n_in, n_out = len(b), W_in.shape[1], len(Q)
    shapes = [(N,), (N, N), (N, n_in), (N,), (n_out, N), (n_out,), (N,)]
    cuts = np.cumsum([np.prod(shape) for shape in shapes])[:-1]

    def unpack(z):
        return [part.reshape(shape) for part, shape in zip(np.split(z, cuts), shapes)]

    def backward_in_time(s, z):
        t, l = DURATION - s, z[:N]
        x = x_of(t)
        r = f(x)
        dldt = -l / tau + derivative(r) * (W.T @ (l / tau) + W_out.T @ c(t))
        dxdt = velocity(params, x, inputs(t), phi=phi)
        parts = (
            dldt,
            np.outer(l / tau, r),
            np.outer(l / tau, inputs(t)),
            l / tau,
            np.outer(c(t), r),
            c(t),
            -l * dxdt / tau,
        )
        return np.concatenate([np.ravel(part) for part in parts])

    r_end = f(x_of(DURATION))
    start = np.zeros(sum(np.prod(shape) for shape in shapes))
    start[:N] = derivative(r_end) * (W_out.T @ Q)
    z = solve_ivp(backward_in_time, (0, DURATION), start, **TOLERANCE).y[:, -1]
    l, dW, dW_in, db, dW_out, db_out, dtau = unpack(z)
    return Params(dW, dW_in, db, dW_out + np.outer(Q, r_end), db_out + Q, l, dtau)


def gradient_errors(params, exact, dts, phi, method):
    """Relative error of each gradient, (7, number of dts)."""
    errors = []
    for dt in dts:
        traj = simulate(params, dt, phi, method)
        t = dt * np.arange(1, len(traj.x))  # y[t] reads the state after the step
        dy = dt * c(t)[:, np.newaxis]
        dy[-1] += Q
        g = backward(params, traj, dy)
        errors.append([np.abs(a - e).sum() / np.abs(e).sum() for a, e in zip(g, exact)])
    return np.array(errors).T


def check_isolated_units(report, rng):
    """Without recurrence and for input constant in each step, exponential Euler makes no error."""
    params = network(rng)
    params = params._replace(W=0 * params.W)
    worst, worst_ivp = 0.0, 0.0
    for dt in (0.01, 0.3, 4.0):
        u = np.broadcast_to(rng.standard_normal(2), (10, 1, 2))
        x = forward(params, u, dt, method="exponential").x[:, 0]
        t = dt * np.arange(11)[:, np.newaxis]
        end = params.W_in @ u[0, 0] + params.b
        exact = end + (params.x0 - end) * np.exp(-t / params.tau)
        worst = max(worst, np.abs(x - exact).max() / np.abs(exact).max())
        ivp = solve_ivp(lambda t, x, u=u[0, 0]: velocity(params, x, u), (0, 10 * dt), params.x0,
                        t_eval=t[:, 0], **TOLERANCE).y.T  # fmt: skip
        worst_ivp = max(worst_ivp, np.abs(x - ivp).max() / np.abs(ivp).max())
    report.at_most("W = 0, exponential Euler against exp(-t/tau), dt up to 20 tau", worst, 1e-12)
    report.at_most("W = 0, exponential Euler against solve_ivp", worst_ivp, 1e-8)


def main(argv=None) -> int:
    """Run every check; 0 if all passed, else 1."""
    quick = is_quick(__doc__, argv)
    report = Report("The simulation and its gradient against the differential equation")
    rng = np.random.default_rng(3)
    dts = DURATION / (50 * 2 ** np.arange(5 if quick else 7))
    fine = dts[2:]  # where the error is the leading term of its expansion
    curves = {}
    for phi in SMOOTH:
        params = network(rng)
        exact = solve_states(params, phi)
        adjoint = continuous_gradient(params, exact, phi)
        for method in METHODS:
            errors = state_errors(params, exact, dts, phi, method)
            report.near(f"order of convergence of x, {phi}, {method}", order(fine, errors[2:]),
                        1, 0.05)  # fmt: skip
            of_gradient = gradient_errors(params, adjoint, dts, phi, method)
            orders = {f: order(fine, e[2:]) for f, e in zip(Params._fields, of_gradient)}
            worst = max(orders, key=lambda f: abs(orders[f] - 1))
            report.near(f"order of the 7 gradients, the farthest off is d{worst}, {phi}, {method}",
                        orders[worst], 1, 0.05)  # fmt: skip
            curves[phi, method] = errors, of_gradient
    check_isolated_units(report, rng)
    if not quick:
        draw(dts, curves)
    return report.finish()


def draw(dts, curves):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.6), layout="constrained", sharex=True)
    colors = {"euler": "#0072B2", "exponential": "#D55E00"}
    names = {"euler": "Euler", "exponential": "exponential Euler"}
    for method, color in colors.items():
        errors, of_gradient = curves["tanh", method]
        axes[0].loglog(dts, errors, "o-", color=color, label=names[method])
        axes[1].loglog(dts, of_gradient.max(axis=0), "o-", color=color, label=names[method])
    for axis, title, label in (
        (axes[0], "States against solve_ivp", "largest error of x"),
        (axes[1], "Gradients against the adjoint equation", "largest relative error of a gradient"),
    ):
        low = axis.get_ylim()[0]
        axis.loglog(dts, low * 1.5 * dts / dts[-1], color="#666666", ls=":", label="slope 1")
        axis.set(xlabel="dt (s)", ylabel=label)
        axis.set_title(title, loc="left", fontsize=10)
        axis.legend(frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / "ode_convergence.png", dpi=100, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
