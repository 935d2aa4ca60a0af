"""The figures of a sweep draw the numbers that its tables hold, each in its place."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tau_rnn.experiment import RunConfig, run_one
from tau_rnn.experiment.effects import ITSELF, MATCHED, VANILLA, Row, levels
from tau_rnn.experiment.statistics import Effect
from tau_rnn.plotting import color_of
from tau_rnn.plotting import sweep as plotting_sweep
from tau_rnn.plotting.effects import FOREST, plot_forest

UNIFORM = RunConfig(dist="uniform", units=12, dt=0.1, batch=4, steps=4, burn_in=2.0, test_trials=16)


@pytest.fixture(scope="module")
def template(few_measures):
    return run_one(UNIFORM, parts=())


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def made(template, seed, steps=2, *, scale=1.0, **changes):
    """A run that reaches the criterion at `steps`, whose loss ends at 0.25 times the scale."""
    config = template.config.replace(seed=seed, **changes)
    curve = ((0, 1.0, 0.0), (2, 0.5, 0.2 * scale), (4, 0.25 * scale, 0.3 * scale))
    history = [
        dict(template.history[0], step=step, loss=loss, weight_change=change)
        for step, loss, change in curve
    ]
    units = {
        **template.units, "tau_eff_before": np.full(12, 0.2), "tau_eff_after": np.full(12, 2.0),
        "tau_eff_flag_before": np.full(12, ""), "tau_eff_flag_after": np.full(12, ""),
    }  # fmt: skip
    metrics = {**template.metrics, "steps_to_criterion": steps}
    return template._replace(config=config, history=history, units=units, metrics=metrics)


def bars(axis):
    """Heights of the black bars of a panel of medians, left to right."""
    lines = [line for line in axis.lines if line.get_color() == "black"]
    return [line.get_ydata()[0] for line in sorted(lines, key=lambda line: line.get_xdata()[0])]


# --- steps to criterion --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps, never",
    [((0, 1, 2, None, None), False), ((1, 2, None, None), True), ((1, None, None), True)],
)
def test_the_bar_is_the_median_of_the_table(template, steps, never):
    runs = [made(template, seed, s) for seed, s in enumerate(steps)]
    (level,) = levels(runs, ["steps_to_criterion"])
    axis = plotting_sweep.plot_steps(runs).axes[0]
    never_at = axis.get_yticks()[-1]
    assert axis.get_yticklabels()[-1].get_text() == "never"
    assert np.isinf(level.effect.estimate) == never
    assert bars(axis) == [never_at if never else level.effect.estimate]
    marks = [line.get_ydata()[0] for line in axis.lines if line.get_marker() in ("o", "^")]
    assert sorted(marks) == sorted(never_at if s is None else s for s in steps)


def test_each_condition_has_its_own_bar_and_colour(template):
    runs = [made(template, s, k, dist=d) for d, k in (("vanilla", 4), ("uniform", 2))
            for s in range(3)]  # fmt: skip
    axis = plotting_sweep.plot_steps(runs).axes[0]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["vanilla", "uniform"]
    assert bars(axis) == [4, 2]
    marks = {(round(line.get_xdata()[0]), line.get_color()) for line in axis.lines
             if line.get_marker() == "o"}  # fmt: skip
    assert marks == {(0, color_of("vanilla")), (1, color_of("uniform"))}


# --- curves --------------------------------------------------------------------------------------


def test_curves_are_means_over_seeds(template):
    runs = [made(template, 0), made(template, 1, scale=1.2)]
    top, bottom = plotting_sweep.plot_weight_change(runs).axes[:2]
    np.testing.assert_allclose(top.lines[0].get_ydata(), [0, 0.22, 0.33])
    loss, change = bottom.lines[0].get_data()
    # Down to 0.3, the lowest loss that both reach; at 0.5 the changes are 0.2 and 0.24.
    assert (loss.max(), loss.min()) == pytest.approx((1.0, 0.3))
    assert np.interp(-0.5, -loss, change) == pytest.approx(0.22, rel=1e-2)  # between 40 levels
    assert plotting_sweep.change_against_loss(runs, [0.5])[1] == pytest.approx([0.22])
    loss_panel = plotting_sweep.plot_learning(runs).axes[0]
    np.testing.assert_allclose(loss_panel.lines[0].get_ydata(), [1, 0.5, 0.275])


def test_all_conditions_share_the_levels_of_loss(template):
    runs = [made(template, s, dist=d, scale=k) for d, k in (("vanilla", 1.6), ("uniform", 1))
            for s in range(2)]  # fmt: skip
    bottom = plotting_sweep.plot_weight_change(runs).axes[1]
    ends = [line.get_xdata().min() for line in bottom.lines]
    assert ends == pytest.approx([0.4, 0.4])  # uniform goes on to 0.25, and is not shown there


def test_no_two_conditions_look_the_same():
    dists = ("normal", "normal:sd=0.3", "normal:sd=0.1", "constant:0.9", "constant:0.8",
             "constant:0.7", "constant:0.6")  # fmt: skip
    conditions = [RunConfig(dist=dist) for dist in dists]
    conditions += [RunConfig(dist=d, rescale_tau="harmonic") for d in ("normal", "normal:sd=0.3")]
    conditions += [RunConfig(dist="normal", lr_scale=scale) for scale in ("tau", "inverse-tau")]
    styles = plotting_sweep._styles([(group, {}) for group in conditions])
    looks = {(style["color"], str(style["ls"])) for style in styles.values()}
    assert len(looks) == len(conditions) == 11
    assert {color for color, _ in looks} == {color_of("normal"), color_of("constant:1")}
    assert styles[conditions[0]]["ls"] == "-"
    # The first two dashes could be taken for matplotlib's "--" and ":".
    likes = {str(dash) for dash in plotting_sweep.DASHES[:2]}
    assert not likes & {str(styles[group]["ls"]) for group in conditions[1:3]}


def test_units_before_training_are_grey_and_those_after_it_are_outlined(template):
    axis = plotting_sweep.plot_timescales([made(template, 0)]).axes[0]
    (bar,) = (patch for patch in axis.containers[0] if patch.get_height() > 0)
    assert bar.get_x() <= 0.2 * (1 + 1e-9) and bar.get_x() + bar.get_width() > 0.2
    assert bar.get_height() == 12
    outline = axis.patches[-1].get_path().vertices
    assert outline[outline[:, 1] > 0, 0].max() > 2.0 * (1 - 1e-9)


@pytest.mark.parametrize("train", ["default", "+tau"])
def test_the_figures_are_of_one_setting(template, tmp_path, monkeypatch, train):
    shown = []

    def steps(results):
        shown.extend(results)
        return plt.figure()

    for name in ("plot_learning", "plot_weight_change", "plot_timescales", "plot_forest"):
        monkeypatch.setattr(plotting_sweep, name, lambda results: plt.figure())
    monkeypatch.setattr(plotting_sweep, "plot_steps", steps)
    runs = [made(template, s, gain=gain, train=train) for gain in (0.8, 1.0) for s in range(2)]
    runs += [made(template, s, lr_scale="tau", train=train) for s in range(2)]
    plotting_sweep.plot_sweep(runs, tmp_path)
    assert [run.config.gain for run in shown] == [0.8] * 4
    assert [run.config.lr_scale for run in shown] == ["none", "none", "tau", "tau"]


# --- effects -------------------------------------------------------------------------------------


def row(condition, metric, kind, estimate, low, high, dist="uniform"):
    effect = Effect(estimate, low, high, 0.1, 5)
    reference = {VANILLA: "vanilla", MATCHED: "constant:0.61", ITSELF: ITSELF}[kind]
    group = RunConfig(dist=dist)
    return Row("multi_timescale", condition, reference, kind, metric, "", effect, group)


def test_an_effect_stands_in_its_row_with_its_interval():
    rows = [
        row("a", "accuracy_last5", VANILLA, 0.5, 0.4, 0.7),
        row("b", "weight_change", VANILLA, 0.3, 0.2, 0.5),
        row("a", "weight_change", VANILLA, -0.2, -0.3, 0.0),
    ]
    axes = plot_forest(rows).axes
    axis = axes[list(FOREST).index("weight_change")]
    names = [text.get_text() for text in axes[0].get_yticklabels()]  # shared by the row of panels
    points = {line.get_ydata()[0]: line.get_xdata()[0] for line in axis.lines
              if line.get_marker() == "o"}  # fmt: skip
    assert points == {names.index("a"): -0.2, names.index("b"): 0.3}
    ends = {line.get_ydata()[0]: tuple(line.get_xdata()) for line in axis.lines
            if len(line.get_xdata()) == 2 and line.get_color() == color_of("uniform")}  # fmt: skip
    assert ends == {names.index("a"): (-0.3, 0.0), names.index("b"): (0.2, 0.5)}


def test_marks_tell_the_references_apart_and_arrows_point_to_infinity():
    rows = [
        row("a", "tau_eff_spread", ITSELF, 0.1, 0.0, 0.2),
        row("a", "steps_to_criterion", VANILLA, 0.1, -np.inf, 0.2),
        row("a", "steps_to_criterion", MATCHED, 0.2, 0.1, np.inf),
        row("b", "steps_to_criterion", VANILLA, np.inf, 0.1, np.inf),  # an arrow, and no point
    ]
    axes = plot_forest(rows).axes
    steps = axes[list(FOREST).index("steps_to_criterion")]
    faces = {line.get_marker(): [] for line in steps.lines}
    for line in steps.lines:
        faces[line.get_marker()].append(line.get_markerfacecolor())
    assert faces["o"] == [color_of("uniform"), "white"]
    arrows = [(line.get_marker(), line.get_ydata()[0]) for line in steps.lines
              if line.get_marker() in "<>"]  # fmt: skip
    assert arrows == [("<", 0), (">", 1), (">", 2)]
    ends = [line.get_xdata()[0] for line in steps.lines if line.get_marker() in "<>"]
    assert ends[0] < -0.2 and min(ends[1:]) > 0.2
    spread = axes[list(FOREST).index("tau_eff_spread")]
    assert [line.get_marker() for line in spread.lines if line.get_marker() != "None"] == ["D"]
