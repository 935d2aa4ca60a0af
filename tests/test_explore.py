"""The explorer shows what the package computes, and its window and its page show the same."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy.linalg import solve_discrete_lyapunov

from tau_rnn import forward, init_params, private_noise, sample_tau
from tau_rnn.discretisation import alpha
from tau_rnn.explore import Sliders, explore
from tau_rnn.explore.__main__ import main
from tau_rnn.explore.view import RANGES, frame
from tau_rnn.explore.window import Window

DISTS = ("normal", "uniform", "bimodal", "lognormal")


def positions(least, most, step):
    """Where a slider can stand."""
    return st.integers(0, round((most - least) / step)).map(lambda k: round(least + k * step, 2))


SETTINGS = st.builds(
    Sliders,
    dist=st.sampled_from(DISTS),
    dynamics=st.sampled_from(("discrete", "continuous")),
    n_units=st.integers(3, 12),
    seed=st.integers(0, 99),
    **{name: positions(*slider) for name, slider in RANGES.items()},
)


def network(s):
    """The network that the settings promise."""
    rng = np.random.default_rng(s.seed)
    tau = np.sort(sample_tau(s.tau, s.n_units, rng))
    return init_params(s.n_units, 1, 1, tau, rng, gain=s.gain)


def trial(s, view, params):
    """The trial of a view, simulated, and the rate at which the loss changes with y."""
    start, stop = (round(t / s.dt) for t in view.stimulus)
    ask, end = (round(t / s.dt) for t in view.report)
    u, dy = np.zeros((end, 1, 1)), np.zeros((end, 1, 1))
    u[start:stop], dy[ask:] = 1, 1 / (end - ask)
    return forward(params, u, s.dt), dy


def one_step(s, params):
    a = alpha(params.tau, s.dt)
    return np.diag(1 - a) + a[:, np.newaxis] * params.W


@pytest.mark.parametrize("width", [0.0, 0.02, 0.2, 0.35, 0.5])
@pytest.mark.parametrize("dist", DISTS)
def test_time_constants_are_those_of_the_distribution(dist, width):
    s = Sliders(dist=dist, width=width, n_units=51, seed=3)
    # SciPy's quantiles of the normal distribution and Python's differ by some 1e-16.
    np.testing.assert_allclose(explore(s).tau, network(s).tau, rtol=1e-12)


@given(SETTINGS)
def test_rates_are_those_of_the_trial(s):
    view = explore(s)
    traj, _ = trial(s, view, network(s))
    np.testing.assert_allclose(view.rates, traj.r[:, 0], rtol=1e-9, atol=1e-12)
    assert view.time.shape == (len(view.rates),)
    np.testing.assert_allclose(np.diff(view.time), s.dt)


@given(SETTINGS)
def test_epochs_last_as_long_as_they_are_set_to(s):
    view = explore(s)
    durations = {"stimulus": 0.5, "report": 0.5}
    for name, wanted in durations.items():
        start, end = getattr(view, name)
        assert abs(end - start - wanted) <= s.dt / 2 + 1e-12 and end > start
    assert abs(view.report[0] - view.stimulus[1] - s.delay) <= s.dt / 2 + 1e-12
    assert view.report[1] == pytest.approx(view.time[-1])


@given(SETTINGS)
def test_the_adjoint_follows_its_recursion(s):
    view, params = explore(s), network(s)
    traj, dy = trial(s, view, params)
    a, slope = alpha(params.tau, s.dt), 1 - traj.r[:, 0] ** 2
    dx = np.zeros((len(traj.x) + 1, s.n_units))
    for t in reversed(range(len(traj.x))):  # Eqs. 3.4 and 3.5
        dr = params.W.T @ (a * dx[t + 1])
        if t > 0:
            dr += params.W_out[0] * dy[t - 1, 0, 0]
        dx[t] = (1 - a) * dx[t + 1] + slope[t] * dr
    thirds = np.array_split(dx[:-1], 3, axis=1)
    size = np.stack([np.sqrt((part**2).mean(axis=1)) for part in thirds], axis=1)
    np.testing.assert_allclose(view.adjoint, size, rtol=1e-8, atol=1e-12 * size.max())


@given(SETTINGS)
def test_eigenvalues_are_those_of_the_linearised_dynamics(s):
    view, params = explore(s), network(s)
    A = one_step(s, params)
    if s.dynamics == "continuous":
        A = (params.W - np.eye(s.n_units)) / params.tau[:, np.newaxis]
    # Sums of powers do not depend on the order, in which LAPACK is free.
    for power in (1, 2, 3):
        found = (view.eigenvalues**power).sum()
        exact = np.trace(np.linalg.matrix_power(A, power))
        assert abs(found - exact) < 1e-9 * (np.abs(view.eigenvalues) ** power).sum()


def test_the_slowest_mode_is_the_one_that_decays_last():
    s = Sliders(gain=0.0, width=0.5, dist="bimodal")  # modes are units, of 0.5 s and 1.5 s
    assert explore(s).slowest == pytest.approx(1.5)
    continuous = Sliders(gain=0.0, width=0.5, dist="bimodal", dynamics="continuous")
    assert explore(continuous).slowest == pytest.approx(1.5)
    for dynamics in ("discrete", "continuous"):
        assert explore(Sliders(gain=1.4, dynamics=dynamics)).slowest < 0


@given(SETTINGS)
def test_the_autocorrelation_is_that_of_the_linear_network(s):
    view, params = explore(s), network(s)
    M, a = one_step(s, params), alpha(params.tau, s.dt)
    if np.abs(np.linalg.eigvals(M)).max() >= 1:
        assert np.isnan(view.autocorrelation).all() and np.isnan(view.effective).all()
        return
    P = solve_discrete_lyapunov(M, np.diag(a * (2 - a)))
    for k in range(0, len(view.lags), 40):
        steps = round(view.lags[k] / s.dt)
        acf = np.diag(np.linalg.matrix_power(M, steps) @ P) / np.diag(P)
        thirds = [part.mean() for part in np.array_split(acf, 3)]
        # Eigenvectors are not orthogonal: on draws like these, errors reached 1e-10.
        np.testing.assert_allclose(view.autocorrelation[k], thirds, atol=1e-7)


def test_the_noise_is_private_noise():
    """Of a simulation: 400 trials tell the autocorrelation to some 1 %."""
    s = Sliders(n_units=6, gain=0.7, dt=0.1, seed=1)
    view, params, rng = explore(s), network(s), np.random.default_rng(0)
    noise = private_noise(params, s.dt, 0.01, 400, 400, rng)
    x = forward(params, np.zeros((400, 400, 1)), s.dt, noise=noise, phi="linear").x[200:]
    for k in (5, 10, 20):  # lags
        steps = round(view.lags[k] / s.dt)
        acf = (x[steps:] * x[: len(x) - steps]).mean(axis=(0, 1)) / (x**2).mean(axis=(0, 1))
        thirds = acf.reshape(3, 2).mean(axis=1)
        np.testing.assert_allclose(view.autocorrelation[k], thirds, atol=0.05)


@pytest.mark.parametrize("dt", [0.02, 0.05, 0.13, 0.2])
def test_the_effective_timescale_of_a_unit_alone_is_its_tau(dt):
    view = explore(Sliders(gain=0.0, dt=dt))
    np.testing.assert_allclose(view.effective, view.tau, rtol=1e-9)


def test_the_effective_timescale_is_where_the_autocorrelation_is_1_over_e():
    view = explore(Sliders(n_units=3, gain=0.9, seed=5))  # each third is one unit
    for unit in range(3):
        at = np.interp(view.effective[unit], view.lags, view.autocorrelation[:, unit])
        assert at == pytest.approx(np.exp(-1), abs=1e-3)  # read off a line between two lags


def test_what_takes_longer_than_the_last_lag_is_counted():
    view = explore(Sliders(gain=0.9, n_units=20, seed=3))
    beyond = np.isnan(view.effective)
    assert 0 < beyond.sum() < 20
    assert view.panels["effective"].note == f"{beyond.sum()} of 20 units: beyond 10 s"


def test_a_growing_mode_is_said():
    panels = explore(Sliders(gain=1.4)).panels
    assert "grows by a factor e in" in panels["eigenvalues"].note
    assert panels["autocorrelation"].note == panels["effective"].note
    assert panels["effective"].note.startswith("none: a mode grows")


@given(SETTINGS)
def test_everything_lies_within_the_limits_of_its_panel(s):
    view = explore(s)
    (re, im), back = view.panels["eigenvalues"][4:6], view.panels["adjoint"].ylim
    assert re[0] < view.eigenvalues.real.min() and view.eigenvalues.real.max() < re[1]
    assert np.abs(view.eigenvalues.imag).max() < im[1] == -im[0]
    assert re[1] - re[0] == pytest.approx(im[1] - im[0])
    assert back[0] <= view.adjoint.max() <= back[1]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"width": 0.6}, "width: must be a finite number >= 0 and <= 0.5, got 0.6"),
        ({"gain": -1}, "gain: must be"),
        ({"delay": float("nan")}, "delay: must be"),
        ({"dt": 0}, "dt: must be"),
        ({"dist": "gama"}, "dist: unknown 'gama'"),
        ({"dynamics": "continous"}, "did you mean 'continuous'?"),
        ({"n_units": 2}, "n_units: must be an integer >= 3"),
        ({"seed": -1}, "seed: must be"),
        ({"gian": 1.0}, "did you mean 'gain'?"),
    ],
)
def test_wrong_settings_are_named(wrong, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        frame(**wrong)


# --- window and page -----------------------------------------------------------------------------


@pytest.fixture
def window(monkeypatch):
    """A window that is not painted, which takes long and is tested once below."""
    monkeypatch.setattr(FigureCanvasAgg, "draw", lambda canvas: None)
    yield Window()
    plt.close("all")


def assert_shows(window, view):
    """Everything that the window draws is the view's, number by number."""
    drawn = window.drawn
    np.testing.assert_array_equal(drawn["rates"].get_array(), view.rates.T)
    for k in range(3):
        np.testing.assert_array_equal(drawn["adjoint"][k].get_xdata(), view.time)
        np.testing.assert_array_equal(drawn["adjoint"][k].get_ydata(), view.adjoint[:, k])
        np.testing.assert_array_equal(drawn["autocorrelation"][k].get_xdata(), view.lags)
        np.testing.assert_array_equal(
            drawn["autocorrelation"][k].get_ydata(), view.autocorrelation[:, k]
        )
        np.testing.assert_array_equal(drawn["effective"][k].get_xdata(), view.tau[view.third == k])
        np.testing.assert_array_equal(
            drawn["effective"][k].get_ydata(), view.effective[view.third == k]
        )
        assert drawn["legend"][k].get_text() == view.thirds[k]
    eigenvalues = drawn["eigenvalues"]
    np.testing.assert_array_equal(eigenvalues.get_xdata(), view.eigenvalues.real)
    np.testing.assert_array_equal(eigenvalues.get_ydata(), view.eigenvalues.imag)
    for name, panel in view.panels.items():
        axis = window.axes[name]
        assert axis.get_title(loc="left") == f"{panel.title}\n{panel.note}"
        assert (axis.get_xlabel(), axis.get_ylabel()) == (panel.x, panel.y)
        assert axis.get_xlim() == panel.xlim and axis.get_ylim() == panel.ylim


def test_the_window_shows_the_view(window):
    assert_shows(window, explore(Sliders()))


@pytest.mark.parametrize(
    ("name", "value"), [("width", 0.2), ("gain", 0.3), ("delay", 2.5), ("dt", 0.1)]
)
def test_a_slider_moves_everything(window, name, value):
    before = window.drawn["adjoint"][0].get_ydata().copy()
    window.sliders[name].set_val(value)
    after = window.drawn["adjoint"][0].get_ydata()
    assert len(before) != len(after) or not np.allclose(before, after)
    assert_shows(window, explore(Sliders(**{name: value})))


@pytest.mark.parametrize(("name", "value"), [("dist", "bimodal"), ("dynamics", "continuous")])
def test_a_choice_moves_what_depends_on_it(window, name, value):
    labels = [label.get_text() for label in window.choices[name].labels]
    before = window.drawn["eigenvalues"].get_xdata().copy()
    window.choices[name].set_active(labels.index(value))
    assert not np.allclose(before, window.drawn["eigenvalues"].get_xdata())
    assert_shows(window, explore(Sliders(**{name: value})))


def test_a_window_starts_where_it_is_told_to(window):
    window = Window(Sliders(dist="uniform", gain=0.4))
    assert window.sliders["gain"].val == 0.4
    assert window.choices["dist"].value_selected == "uniform"
    assert_shows(window, explore(Sliders(dist="uniform", gain=0.4)))


def test_the_window_can_be_painted():
    figure = Window(Sliders(n_units=5)).figure
    figure.canvas.draw()
    assert np.ptp(np.asarray(figure.canvas.buffer_rgba())) == 255
    plt.close(figure)


def test_the_page_gets_the_view():
    given = {"dist": "uniform", "width": 0.3, "gain": 0.5, "delay": 0.7, "dt": 0.02}
    page, view = frame(**given), explore(Sliders(**given))
    pairs = page.pop("eigenvalues")
    np.testing.assert_array_equal(pairs @ [1, 1j], view.eigenvalues)
    panels = page.pop("panels")
    assert panels == {name: panel._asdict() for name, panel in view.panels.items()}
    assert page.keys() == set(view._fields) - {"eigenvalues", "panels"}
    for name, value in page.items():
        np.testing.assert_array_equal(value, getattr(view, name))


def test_the_sliders_of_the_page_are_those_of_the_window():
    page = Path(__file__).parent.parent / "docs" / "explore" / "index.md"
    if not page.exists():
        pytest.skip("the page is not part of this distribution")
    text, start = page.read_text(encoding="utf-8"), Sliders()
    for name, slider in RANGES.items():
        (tag,) = re.findall(rf'<input type="range" name="{name}"[^>]*>', text)
        given = [float(re.search(f' {k}="([^"]*)"', tag)[1]) for k in ("min", "max", "step")]
        assert tuple(given) == slider
        assert float(re.search(' value="([^"]*)"', tag)[1]) == getattr(start, name)
    for field in fields(Sliders)[:1] + fields(Sliders)[5:6]:
        (choice,) = re.findall(rf'<select name="{field.name}">(.*?)</select>', text)
        assert tuple(re.findall("<option[^>]*>([a-z]+)", choice)) == field.metadata["allowed"]
        assert re.findall("<option selected>([a-z]+)", choice) == [field.default]


def test_without_a_display_it_says_so(window, capsys):
    assert main([]) == 1
    assert "no display" in capsys.readouterr().err


def test_the_numbers_need_numpy_alone():
    code = (
        "import sys\nfor name in ('scipy', 'matplotlib'): sys.modules[name] = None\n"
        "from tau_rnn.explore.view import frame\n"
        "for dist in ('normal', 'uniform', 'bimodal', 'lognormal'): frame(dist=dist)\n"
        "print(len(frame()['tau']))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "50"
