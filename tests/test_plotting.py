"""The page of a run shows the numbers of that run, and says of them only what is so."""

import matplotlib.pyplot as plt
import pytest

from tau_rnn.experiment import RunConfig, run_one
from tau_rnn.plotting import plot_run

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
