"""Figures leave matplotlib's settings as they were, and can be read in any style of the user's."""

import io
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from tau_rnn.experiment import RunConfig, run_one
from tau_rnn.experiment.effects import VANILLA, Row
from tau_rnn.experiment.statistics import Effect
from tau_rnn.plotting import (
    in_style,
    new_figure,
    plot_measures,
    plot_run,
    plot_sweep,
    plot_timescales,
    save,
)
from tau_rnn.plotting import sweep as sweep_figures
from tau_rnn.plotting.effects import plot_forest
from tau_rnn.plotting.style import styled
from tau_rnn.timescales import fit_timescales

pytestmark = pytest.mark.usefixtures("few_measures")

CONFIG = RunConfig(dist="uniform", units=12, dt=0.1, batch=4, steps=4, burn_in=2.0, test_trials=16)


@pytest.fixture(scope="module")
def result():
    return run_one(CONFIG)


@pytest.fixture(params=["default", "dark_background"])
def users(request):
    """The user's own settings: a style, and large letters. Checks that they are still theirs."""
    with plt.style.context(["default", request.param, {"font.size": 16}]):
        before = dict(mpl.rcParams)
        yield request.param
        assert dict(mpl.rcParams) == before
    plt.close("all")


def forest(result):
    effect = Effect(0.1, -0.2, 0.4, 0.1, 5)
    names = ("multi_timescale", "uniform", "vanilla", VANILLA, "accuracy_last5", "")
    return plot_forest([Row(*names, effect, CONFIG)])


FIGURES = {
    "run": plot_run,
    "measures": lambda result: plot_measures(result.measures, title="A title"),
    "forest": forest,
    "learning": lambda result: sweep_figures.plot_learning([result]),
    "steps": lambda result: sweep_figures.plot_steps([result]),
    "weight change": lambda result: sweep_figures.plot_weight_change([result]),
    "timescales": lambda result: sweep_figures.plot_timescales([result]),
}


def luminance(color):
    """Relative luminance (WCAG 2.1): 0 for black, 1 for white."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(text: Text) -> float:
    """Of a text with what is behind it, from 1 (equal) to 21 (black on white)."""
    axes, figure = text.axes, text.get_figure()
    behind = (axes if axes is not None and axes.get_frame_on() else figure).get_facecolor()
    high, low = sorted((luminance(text.get_color()), luminance(behind)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def letters(figure) -> list[Text]:
    """Every text of a figure that shows once it is drawn."""
    figure.draw_without_rendering()
    found = figure.findobj(lambda a: isinstance(a, Text) and a.get_visible())
    return [text for text in found if text.get_text().strip()]


@pytest.mark.parametrize(
    "users", ["dark_background", pytest.param("default", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_every_text_of_a_figure_contrasts_with_its_background(users, result, draw):
    figure = draw(result)
    texts = letters(figure)  # drawn in the user's style, as a notebook does
    assert len(texts) > 10
    # 4.5 is what WCAG asks of small text.
    faint = {t.get_text(): round(contrast(t), 1) for t in texts if contrast(t) < 4.5}
    assert not faint
    assert max(t.get_fontsize() for t in texts) < 14  # of our style, not of the user's


def test_a_figure_of_the_users_is_in_the_users_colours(users):
    figure, (left, right) = new_figure(1, 2, layout="constrained")
    left.plot([0, 1], label="a line")
    left.legend()
    right.set(title="A title", xlabel="time (s)")
    right.annotate("a note", (0.5, 0.5))
    texts = letters(figure)
    assert {"a line", "A title", "time (s)", "a note"} <= {t.get_text() for t in texts}
    assert min(map(contrast, texts)) > 4.5
    dark = luminance(figure.get_facecolor()) < 0.5
    assert dark == (users == "dark_background")


def test_a_timescale_drawn_on_the_users_axes_contrasts_with_them(users):
    walk = np.cumsum(np.random.default_rng(0).standard_normal((20, 100, 1)), axis=1)
    figure, axis = plt.subplots()
    plot_timescales(fit_timescales(walk, 0.1), 0, axis)
    texts = letters(figure)
    assert "computed" in {t.get_text() for t in texts}
    assert min(map(contrast, texts)) > 4.5
    behind, zero = luminance(axis.get_facecolor()), axis.lines[0]
    for line in set(axis.lines) - {zero}:
        dots = line.get_linestyle() == "None"
        color = line.get_markeredgecolor() if dots else line.get_color()
        high, low = sorted((luminance(color), behind), reverse=True)
        assert (high + 0.05) / (low + 0.05) > 3  # what WCAG asks of lines


def test_a_file_does_not_depend_on_the_users_style(result, tmp_path):
    files = []
    own = {"font.size": 16, "savefig.transparent": True, "savefig.bbox": "tight"}
    for name, style in (("a", ["default"]), ("b", ["dark_background", own])):
        with plt.style.context(style):
            before = dict(mpl.rcParams)
            files.append(save(forest(result), tmp_path / f"{name}.png"))
            assert dict(mpl.rcParams) == before
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "users", ["default", pytest.param("dark_background", marks=pytest.mark.slow)], indirect=True
)
def test_sweeps_leave_the_settings_alone_too(users, result, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep_figures, "save", lambda figure, path: path)  # tested above
    assert len(plot_sweep([result], tmp_path)) == 5  # the fixture compares the settings


def test_settings_are_restored_after_an_error(users, result, tmp_path):
    @styled
    def broken():
        assert mpl.rcParams["font.size"] == 9
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        broken()
    with pytest.raises(ValueError, match="measures: None"):
        plot_measures(None)
    with pytest.raises(AttributeError):
        plot_run(result._replace(history=None, final=None))
    with pytest.raises((TypeError, ValueError)):
        new_figure(1, 1, figsize="wide")
    with pytest.raises(OSError):
        save(new_figure()[0], tmp_path / "nowhere" / "figure.png")
    with pytest.raises(ArithmeticError), in_style():
        raise ArithmeticError


def test_saving_takes_the_background_of_the_figure(users, tmp_path):
    from PIL import Image

    path = save(new_figure()[0], tmp_path / "figure.png")
    corner = Image.open(io.BytesIO(path.read_bytes())).convert("RGB").getpixel((0, 0))
    assert corner == ((0, 0, 0) if users == "dark_background" else (255, 255, 255))


def test_a_new_figure_loads_no_experiment():
    code = (
        "import sys; from tau_rnn.plotting import new_figure, color_of, save; new_figure(); "
        "print(*(m for m in sys.modules if m.startswith('tau_rnn.')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms = {name.removeprefix("tau_rnn.") for name in shown.stdout.split()}
    assert rooms == {"_lazy", "plotting", "plotting.style", "experiment", "experiment.files"}
