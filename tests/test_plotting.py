"""The page of a run shows the numbers of that run, and says of them only what is so."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

from tau_rnn.experiment import RunConfig, run_one
from tau_rnn.experiment.claims import findings, load_claims
from tau_rnn.experiment.metrics import metric
from tau_rnn.measures.run import LONGEST, PARTS
from tau_rnn.plotting import (
    color_of,
    new_figure,
    plot_claims,
    plot_measures,
    plot_run,
    plot_sweep,
    save,
)
from tau_rnn.plotting.run import example_trials
from tau_rnn.plotting.style import COLORS
from tau_rnn.tasks import TASKS

pytestmark = pytest.mark.usefixtures("few_measures")

SMALL = {"dt": 0.1, "batch": 4, "steps": 2, "burn_in": 2.0, "test_trials": 16}


@pytest.fixture(scope="module")
def result():
    return run_one(RunConfig(dist="normal", units=12, **SMALL))


@pytest.fixture
def panels():
    """Draws a result; a function that finds the panel of a title by its first words."""

    def draw(result):
        figure = plot_run(result)
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
    ticks = panels(result)("Rates").get_yticks()
    assert len(ticks) > 2 and all(tick == round(tick) for tick in ticks)


def test_a_single_unit_stands_beside_its_time_constant(panels):
    axis = panels(run_one(RunConfig(dist="vanilla", units=1, **SMALL)))("Timescales")
    low, high = axis.get_xlim()
    assert low < 1 < high


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


@pytest.mark.parametrize("task", TASKS)
def test_the_two_trials_have_different_answers(task, panels):
    for seed in range(3):
        result = run_one(RunConfig(task=task, units=4, seed=seed, **SMALL), parts=())
        _, trials, _ = example_trials(result)
        ends = trials.epochs.response[:, 1]
        low, high = trials.target[ends - 1, [0, 1], 0]
        assert low < -0.5 and high > 0.5
    panel = panels(result)
    for k, title in enumerate(("Trial 1: inputs; the answer is", "Trial 2: inputs; the answer is")):
        shown = panel(title).get_title(loc="left").removeprefix(title)
        numbers = [float(x) for x in shown.replace("\N{MINUS SIGN}", "-").split(",")]
        np.testing.assert_allclose(numbers, trials.target[ends[k] - 1, k], atol=0.01)


def test_no_panel_is_on_both_pages(result, panels):
    run = {axes.get_title(loc="left").split(":")[0] for axes in plot_run(result).axes}
    page = plot_measures(run_one(result.config, PARTS).measures)
    measures = {axes.get_title(loc="left").split(":")[0] for axes in page.axes}
    assert "" not in measures and not run & measures


def test_panels_are_in_seconds_and_tell_before_from_after(result, panels):
    long = np.where(np.arange(12) == 3, "exceeds_trial", "")
    units = {
        **result.units, "tau_eff_before": np.full(12, 0.2), "tau_eff_after": np.full(12, 2.0),
        "tau_eff_flag_before": np.full(12, ""), "tau_eff_flag_after": long,
        "tau_after": 2 * result.units["tau_before"],
    }  # fmt: skip
    panel = panels(result._replace(units=units))
    task, trials, _ = example_trials(result)
    (image,) = panel("Rates").images
    end = trials.epochs.response[0, 1]
    left, right = image.get_extent()[:2]  # a column of the image is a state, the first at 0 s
    assert (left, right) == pytest.approx((-0.5 * task.dt, (end + 0.5) * task.dt))
    assert image.get_array().shape[1] == end + 1
    for line in panel("Output").lines:  # y[t] reads the state after step t
        assert line.get_xdata()[[0, -1]] == pytest.approx([task.dt, end * task.dt])
    lines = {line.get_label(): line for line in panel("Timescales").lines}
    np.testing.assert_array_equal(lines["before training"].get_xdata(), units["tau_before"])
    np.testing.assert_array_equal(lines["after training"].get_xdata(), units["tau_after"])
    np.testing.assert_array_equal(lines["before training"].get_ydata(), 0.2)
    expected = np.where(long == "", 2.0, LONGEST)
    np.testing.assert_array_equal(lines["after training"].get_ydata(), expected)


def test_scores_have_the_names_of_the_table(result):
    (axis,) = (a for a in plot_run(result).axes if a.get_ylabel() == "accuracy, held-out trials")
    names = [text.get_text() for text in axis.get_legend().get_texts()]
    assert names == [metric(key).label for key in ("accuracy", "conflict_accuracy")]


@pytest.mark.parametrize("dist", ["vanilla", "bimodal"])
def test_columns_of_points_stand_beside_each_other(dist, panels):
    result = run_one(RunConfig(dist=dist, units=12, **SMALL), parts=())
    lines = {line.get_label(): line for line in panels(result)("Timescales").lines}
    before, after = (lines[f"{when} training"].get_xdata() for when in ("before", "after"))
    assert (before < after).all() and np.allclose(before * after, result.units["tau_before"] ** 2)


def letters(figure):
    """Every text that shows, with its place on the page in pixels."""
    figure.draw_without_rendering()
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not low <= tick.get_loc() <= high:
                    hidden |= {tick.label1, tick.label2}
    texts = figure.findobj(lambda a: isinstance(a, Text) and a.get_visible() and a not in hidden)
    return [(t, t.get_window_extent()) for t in texts if t.get_text().strip()]


def test_letters_have_eight_points_and_stand_apart(result):
    """What a reader sees at 100 %: no text below 8 pt, none outside the page, none on another."""
    measures = run_one(result.config, PARTS).measures
    measures = measures._replace(note="a note of a large network", left_out={"effective": "noise"})
    title = "What training changed: multi_timescale, tau ~ normal, seed 0"
    for figure in (plot_run(result), plot_measures(measures, title=title)):
        found, page = letters(figure), figure.bbox
        assert len(found) > 50
        for text, box in found:
            assert text.get_fontsize() >= 8, text
            inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0
            assert inside and box.y1 <= page.y1, f"{text} leaves the page"
        for k, (text, box) in enumerate(found):
            for other, its in found[:k]:
                apart = (box.x1 <= its.x0 + 1 or its.x1 <= box.x0 + 1
                         or box.y1 <= its.y0 + 1 or its.y1 <= box.y0 + 1)  # fmt: skip
                assert apart, f"{text} overlaps {other}"


def test_what_cannot_be_drawn_is_named(result, tmp_path):
    figure, tests = new_figure()[0], findings(load_claims()["claims"])[:1]
    for name, call in (
        ("result", lambda: plot_run(None)),
        ("measures", lambda: plot_measures(result)),
        ("results", lambda: plot_sweep([], tmp_path / "new")),
        ("results", lambda: plot_sweep([result, None], tmp_path / "new")),
        ("results", lambda: plot_sweep(None, tmp_path / "new")),
        ("folder", lambda: plot_sweep([result], None)),
        ("tests", lambda: plot_claims([])),
        ("tests", lambda: plot_claims([result])),
        ("metrics", lambda: plot_claims(tests, ["accuracy"])),
        ("figure", lambda: save(None, tmp_path / "new.png")),
        ("path", lambda: save(figure, None)),
    ):
        with pytest.raises(ValueError, match=f"^{name}: "):
            call()
    assert not list(tmp_path.iterdir())
