"""The page of a run shows the numbers of that run, and says of them only what is so."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tau_rnn.experiment import RunConfig, run_one
from tau_rnn.plotting import COLORS, color_of, example_trials, plot_run

SMALL = {"dt": 0.1, "batch": 4, "steps": 2, "burn_in": 2.0, "test_trials": 16}


@pytest.fixture(scope="module")
def result():
    return run_one(RunConfig(dist="normal", units=12, **SMALL))


@pytest.fixture
def panels():
    """Draws a result; a function that finds the panel of a title by its first words."""

    def draw(result):
        figure = plot_run(result)
        figure.canvas.draw()
        titles = {axes.get_title(loc="left"): axes for axes in figure.axes}
        return lambda start: next(axes for title, axes in titles.items() if title.startswith(start))

    yield draw
    plt.close("all")


def told(result, **columns):
    """The same result with another beginning and end of its history."""
    history = [dict(row) for row in result.history]
    for name, values in columns.items():
        for row, value in zip((history[0], history[-1]), values, strict=True):
            row[name] = value
    return result._replace(history=history)


def test_the_curves_are_the_history(result, panels):
    panel = panels(told(result, loss=(0.6, 0.3), accuracy=(0.5, 0.8)))
    assert panel("Loss falls ...").lines[0].get_ydata().tolist() == [0.6, 0.3]
    assert panel("... and accuracy rises").lines[0].get_ydata().tolist() == [0.5, 0.8]


def test_a_run_that_learned_nothing_is_not_said_to_have_learned(result, panels):
    panel = panels(told(result, loss=(0.6, 0.7), accuracy=(0.5, 0.4)))
    assert panel("Loss").get_title(loc="left") == "Loss"
    assert panel("Accuracy").get_title(loc="left") == "Accuracy"


def test_units_are_counted_in_whole_numbers(result, panels):
    panel = panels(result)
    for title in ("Time constants", "Decay of", "Trial 1: rates", "Trial 2: rates"):
        assert all(tick == round(tick) for tick in panel(title).get_yticks()), title


def test_a_single_unit_stands_at_its_time_constant(panels):
    points = panels(run_one(RunConfig(dist="vanilla", units=1, **SMALL)))("Change of W")
    assert points.collections[0].get_offsets()[:, 0].tolist() == [1.0]


def test_a_distribution_keeps_its_colour_whatever_its_parameters():
    assert color_of("normal:sd=0.3") == COLORS["normal"] != color_of("uniform:high=1")
    assert len(set(COLORS.values())) == len(COLORS)


def test_the_example_trials_are_of_the_trained_network_with_their_own_targets(result):
    silent = result.initial._replace(W_out=0 * result.initial.W_out)
    task, trials, traj = example_trials(result._replace(initial=silent))
    assert np.ptp(traj.y) > 0
    for b in range(2):
        start, end = trials.epochs.response[b]
        assert (trials.target[start:end, b, 0] == trials.labels.answer[b]).all()
        assert not trials.target[:start, b].any()


def test_panels_are_in_seconds_and_tell_before_from_after(result, panels):
    units = {
        **result.units, "tau_eff_before": np.full(12, 0.2), "tau_eff_after": np.full(12, 2.0),
        "tau_eff_flag_before": np.full(12, ""), "tau_eff_flag_after": np.full(12, ""),
    }  # fmt: skip
    panel = panels(result._replace(units=units))
    task, trials, _ = example_trials(result)
    (image,) = panel("Trial 1: rates").images
    end = trials.epochs.response[0, 1]
    left, right = image.get_extent()[:2]  # a column of the image is a state, the first at 0 s
    assert (left, right) == pytest.approx((-0.5 * task.dt, (end + 0.5) * task.dt))
    assert image.get_array().shape[1] == end + 1
    end = trials.epochs.response[1, 1]  # two panels have this title, and the second one is found
    for line in panel("its output").lines:  # y[t] reads the state after step t
        assert line.get_xdata()[[0, -1]] == pytest.approx([task.dt, end * task.dt])
    (bar,) = (p for p in panel("Decay of").containers[0] if p.get_height() == 12)
    assert bar.get_x() < 0.2 < bar.get_x() + bar.get_width()
