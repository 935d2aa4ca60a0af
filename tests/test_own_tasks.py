"""Tasks of one's own: how they are named and found again, what they must give, what is left out."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tau_rnn.experiment import RunConfig, load_run, run_one, save_run, sweep
from tau_rnn.experiment.conditions import label
from tau_rnn.model import init_params
from tau_rnn.tasks import TASKS, MultiTimescaleMemory, Trials, check_task, make_task
from tau_rnn.tasks.own import OwnTask
from tau_rnn.tasks.spec import is_resolved, parse_task
from tau_rnn.training import train

pytestmark = pytest.mark.usefixtures("few_measures")

#: The least that a task needs: the output is the input of five steps ago.
MINIMAL = '''
import numpy as np
from tau_rnn.tasks import Trials

class Echo:
    def __init__(self, dt=0.1, delay=5):
        self.dt, self.delay = dt, delay

    def trials(self, batch_size, rng, dtype=np.float64):
        u = rng.standard_normal((30, batch_size, 1)).cumsum(axis=0) / 5
        return Trials(u, np.roll(u, self.delay, axis=0), np.ones((30, batch_size)))

class Other(Echo):
    pass

number = 3
'''


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file with a minimal task in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my_task.py"
    path.write_text(MINIMAL)
    return path


class Echo:
    """The same, importable."""

    def __init__(self, dt=0.1, delay=5):
        self.dt, self.delay = dt, delay

    def trials(self, batch_size, rng, dtype=np.float64):
        u = rng.standard_normal((30, batch_size, 1)).cumsum(axis=0) / 5
        return Trials(u, np.roll(u, self.delay, axis=0), np.ones((30, batch_size)))


# --- texts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec, text",
    [
        ("multi_timescale", "multi_timescale"),
        ("multi_timescale:delay_max=3", "multi_timescale:delay_max=3"),
        (" multi_timescale:delay_max=3.0,delay_min=1 ", "multi_timescale:delay_max=3"),
        ("multi_timescale:delay_max=2", "multi_timescale"),
        ("multi_timescale:noise=0.1,coherences=0.2,0.4,n_pulses=3",
         "multi_timescale:noise=0.1,n_pulses=3,coherences=0.2,0.4"),
        ("multi_timescale:coherences=0.5", "multi_timescale:coherences=0.5"),
        (MultiTimescaleMemory, "multi_timescale"),
        (MultiTimescaleMemory(delay_max=4, dt=0.1), "multi_timescale:delay_max=4"),
    ],
)  # fmt: skip
def test_tasks_of_the_package(spec, text):
    found = parse_task(spec)
    assert found.text == found.label == text and is_resolved(text)
    again = parse_task(found.text)
    assert again == found
    assert again.build(0.1) == found.build(0.1) and found.build(0.1).dt == 0.1
    if text == "multi_timescale:delay_max=3":
        assert found.build(0.05) == make_task("multi_timescale", delay_max=3)


def test_a_task_in_a_file(file):
    found = parse_task("my_task.py:Echo")
    assert found.text.startswith("my_task.py:Echo#") and is_resolved(found.text)
    assert not is_resolved("my_task.py:Echo") and not is_resolved("package.module:Echo")
    assert found.label == "Echo" and parse_task("./my_task.py:Echo") == found
    task = found.build(0.05)
    assert isinstance(task, OwnTask) and (task.name, task.dt, task.delay) == ("Echo", 0.05, 5)
    assert parse_task(f"{file}:Echo").build(0.1).task.__class__.__name__ == "Echo"
    longer = parse_task("my_task.py:Echo:delay=7")
    assert longer.label == "Echo:delay=7" and longer.build(0.1).delay == 7
    assert parse_task(longer.text) == longer
    assert parse_task(longer.text).build(0.1).delay == 7


def test_a_text_with_its_hash_is_read_without_the_file(file):
    text = parse_task("my_task.py:Echo:delay=7").text
    file.unlink()
    found = parse_task(text)
    assert found.text == text and found.label == "Echo:delay=7" and found.parameters == {"delay": 7}
    with pytest.raises(ValueError, match=r"there is no file 'my_task.py'"):
        found.build(0.1)


def test_a_file_that_has_changed_is_another_task(file, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = parse_task("my_task.py:Echo")
    written = file.stat()
    file.write_text(MINIMAL.replace("delay=5", "delay=6"))
    os.utime(file, ns=(written.st_atime_ns, written.st_mtime_ns))  # byte code would look valid
    after = parse_task("my_task.py:Echo")
    assert before.text != after.text
    assert after.build(0.1).delay == 6  # the file is read anew
    with pytest.raises(ValueError, match=r"my_task\.py:Echo has changed: its file has"):
        before.build(0.1)


def test_a_class_and_an_instance(file):
    module = Path(__file__).stem
    found = parse_task(Echo)
    place, digest = found.text.split("#")
    assert place.endswith(f"{module}:Echo") or place.endswith(f"{module}.py:Echo")
    assert len(digest) == 12 and found.build(0.05).dt == 0.05
    assert isinstance(found.build(0.05).task, Echo)
    instance = parse_task(Echo(dt=0.1, delay=3), dt=0.1)
    assert instance.label == "Echo:delay=3" and instance.build(0.1).delay == 3
    assert parse_task(instance.text) == instance
    with pytest.raises(ValueError, match=r"task: Echo has dt = 0.1 s, and the run has dt = 0.05 s"):
        parse_task(Echo(), dt=0.05)
    for weights in ("strong", True, (1, 2.5), 0.1 + 0.2):
        assert parse_task(parse_task(Wide(weights)).text).build(0.1).weights == weights


def test_a_script_that_runs_finds_its_own_task(file):
    """Its class is taken as it is: the script is not run once more."""
    script = file.with_name("script.py")
    script.write_text(
        MINIMAL + "print('runs')\n"
        "from tau_rnn.tasks.spec import parse_task\n"
        "found = parse_task(Echo)\n"
        "print(found.text.split('#')[0], type(found.build(0.1).task) is Echo)\n"
    )
    shown = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=True
    ).stdout
    assert shown.split() == ["runs", "script.py:Echo", "True"]


def test_a_file_may_import_what_lies_beside_it(file):
    file.with_name("beside_it.py").write_text("DELAY = 4\n")
    file.write_text("from beside_it import DELAY\n" + MINIMAL.replace("delay=5", "delay=DELAY"))
    before = list(sys.path)
    assert parse_task("my_task.py:Echo").build(0.1).delay == 4
    assert sys.path == before


class Hidden(Echo):
    def __init__(self, delay=5):
        self.dt, self.steps = 0.1, delay

    def trials(self, batch_size, rng, dtype=np.float64):
        u = rng.standard_normal((30, batch_size, 1))
        return Trials(u, np.roll(u, self.steps, axis=0), np.ones((30, batch_size)))


class Changed(Echo):
    pass


class Wide(Echo):
    def __init__(self, weights=None):
        super().__init__()
        self.weights = weights


def local():
    class Local(Echo):
        pass

    return Local


changed = Changed()
changed.trials = lambda n, rng, dtype=float: Trials(
    rng.random((9, n, 1)), np.zeros((9, n, 1)), np.ones((9, n))
)


@pytest.mark.parametrize(
    "spec, message",
    [
        ("multi_timscale", "unknown task 'multi_timscale'; did you mean 'multi_timescale'"),
        ("multi_timescale:delay=3", "no parameter 'delay'; did you mean 'delay_m"),
        ("multi_timescale:dt=0.1", "no parameter 'dt'"),
        ("multi_timescale:delay_max", "expected parameter=value"),
        ("multi_timescale:delay_max=x", "delay_max: must be a finite number >= 0, got 'x'"),
        ("multi_timescale:n_pulses=2.5", "n_pulses: must be an integer >= 1, got 2.5"),
        ("", "unknown task ''"),
        ("nowhere.py:Echo", "there is no file 'nowhere.py'"),
        ("no_such_module:Echo", "cannot import 'no_such_module'"),
        ("my_task.py", "unknown task 'my_task.py'.* my_task.py:MyTask"),
        ("my_task.py:Eco", "there is no 'Eco' in my_task.py; did you mean 'Echo'"),
        ("my_task.py:number", "number of my_task.py is not a class, but 3"),
        ("my_task.py:Echo:dely=3", "no parameter 'dely'; did you mean 'delay'"),
        ("my_task.py:Echo:dt=3", "no parameter 'dt'"),
        (Hidden(3), "delay of Hidden cannot be recovered"),
        (Wide(np.ones(3)), "weights of Wide cannot be recovered"),
        (Wide("3"), "weights of Wide cannot be recovered"),  # it would come back as a number
        (Wide("a=1"), "weights of Wide cannot be recovered"),
        (changed, "makes its task again, as Changed, which draws other trials"),
        (local(), "Local is not at the top level of a module or file"),
        (local()(), "Local is not at the top level of a module or file"),
        (3, "int has no method trials"),
        (None, "NoneType has no method trials"),
    ],
)
def test_what_is_no_task_is_refused_in_words(file, spec, message):
    with pytest.raises(ValueError, match=message):
        parse_task(spec)


def test_what_a_class_must_be_given(file):
    file.write_text(MINIMAL.replace("dt=0.1, delay=5", "delay, dt=0.1"))
    with pytest.raises(ValueError, match=r"missing a required argument: 'delay'; .*NAME=VALUE"):
        parse_task("my_task.py:Echo").build(0.1)
    assert parse_task("my_task.py:Echo:delay=2").build(0.1).delay == 2


def test_a_new_task_is_one_class(monkeypatch):
    """A class among the tasks is all: its name, its fields and its scores are found there."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Easier(MultiTimescaleMemory):
        extra: float = 1.0
        name = "easier"

    monkeypatch.setitem(TASKS, "easier", Easier)
    found = parse_task("easier:extra=2,delay_max=1")
    assert found.text == "easier:delay_max=1,extra=2"
    assert found.build(0.1) == Easier(dt=0.1, delay_max=1, extra=2) == make_task(
        "easier", dt=0.1, delay_max=1, extra=2
    )


# --- what a task gives ---------------------------------------------------------------------------


def task_of(trials, **attributes):
    """An instance of a class Mine with this method of trials."""
    return type("Mine", (), {"dt": 0.1, "trials": trials, **attributes})()


def good(self, batch_size, rng, dtype=np.float64):
    u = rng.standard_normal((20, batch_size, 2))
    return Trials(u, u[:, :, :1], np.ones((20, batch_size)))


def test_what_is_optional_is_filled_in():
    task = check_task(task_of(good))
    assert (task.name, task.dt, task.noise, task.criterion) == ("Mine", 0.1, 0, None)
    assert (task.n_in, task.n_out) == (2, 1)
    assert (task.inputs, task.outputs) == (("input 0", "input 1"), ("output",))
    assert task.remembered == () and not hasattr(task, "accuracy")
    trials = task.trials(4, np.random.default_rng(0))
    assert isinstance(trials, Trials) and trials.labels is None and trials.epochs is None
    assert task.scores(trials.target, trials) == {}
    named = check_task(task_of(good, inputs=("a", "b"), outputs="out", noise=0.2, name="mine"), 0.1)
    assert (named.inputs, named.outputs) == (("a", "b"), ("out",))
    assert (named.name, named.noise) == ("mine", 0.2)
    assert check_task(named) is named


def test_tasks_of_the_package_are_taken_as_they_are():
    task = make_task("multi_timescale", dt=0.1)
    assert check_task(task) is task and check_task(task, 0.1) is task
    with pytest.raises(ValueError, match=r"has dt = 0.1 s, and the run has dt = 0.2 s"):
        check_task(task, 0.2)


def test_trials_are_cast_to_the_dtype_that_is_trained():
    task = check_task(task_of(good))
    for dtype in (np.float32, np.float64):
        trials = task.trials(4, np.random.default_rng(0), dtype=dtype)
        assert {a.dtype for a in trials[:3]} == {np.dtype(dtype)}


class Given(NamedTuple):
    """Trials of one's own kind, with more in them."""

    u: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    choice: np.ndarray


def test_scores_are_given_the_trials_that_the_task_gave():
    def trials(self, batch_size, rng, dtype=np.float64):
        choice = rng.integers(2, size=batch_size)
        u = np.ones((5, batch_size, 1)) * choice[:, np.newaxis]
        return Given(u, u, np.ones((5, batch_size)), choice)

    def accuracy(self, y, trials):
        return np.mean((y[-1, :, 0] > 0.5) == trials.choice)

    task = check_task(task_of(trials, accuracy=accuracy, criterion=0.8))
    drawn = task.trials(50, np.random.default_rng(0), dtype=np.float32)
    assert task.accuracy(drawn.target, drawn) == 1.0 and task.criterion == 0.8
    assert task.scores(drawn.target, drawn) == {"accuracy": 1.0}
    assert task.accuracy(np.zeros_like(drawn.target), drawn) == np.mean(drawn.given.choice == 0)
    detailed = check_task(
        task_of(trials, scores=lambda self, y, t: {"accuracy": np.float32(0.5), "rmse": 2})
    )
    assert detailed.accuracy(drawn.target, drawn) == 0.5
    assert detailed.scores(drawn.target, drawn) == {"accuracy": 0.5, "rmse": 2.0}
    without = check_task(task_of(trials, scores=lambda self, y, t: {"rmse": 2}))
    assert not hasattr(without, "accuracy") and without.scores(drawn.target, drawn) == {"rmse": 2}


def giving(change):
    def trials(self, batch_size, rng, dtype=np.float64):
        return change(*good(self, batch_size, rng)[:3])

    return task_of(trials)


def nan_at_the_end(u):
    return np.concatenate([u[:-1], np.full_like(u[-1:], np.nan)])


@pytest.mark.parametrize(
    "task, message",
    [
        (Echo, r"task: Echo is a class; give an instance of it, Echo\(\)"),
        ("mine", r"str has no method trials.*; make_task\('mine', dt=...\) makes one"),
        (type("Mine", (), {"trials": good})(), "task: Mine has no dt, its time step in s"),
        (type("Mine", (), {"dt": 0.1})(), r"has no method trials\(batch_size, rng, dtype=...\)"),
        (task_of(good, dt=0), "task: dt of Mine: must be a finite number > 0, got 0"),
        (task_of(good, noise=-1), "task: noise of Mine: must be a finite number >= 0"),
        (task_of(good, criterion="high"), "criterion of Mine: must be a finite number"),
        (task_of(lambda self, n, rng: None), "Mine.trials must take the keyword dtype: def trials"),
        (task_of(good, n_in=3), "Mine has n_in = 3, and its trials have 2 inputs"),
        (task_of(good, outputs=("a", "b")), r"Mine has len\(outputs\) = 2, and its trials have 1"),
        (task_of(good, accuracy=lambda self, y, t: "good"), "accuracy of Mine: must be a number"),
        (giving(lambda u, t, m: (u, t, m)), r"must return tau_rnn.tasks.Trials\(u, target, "
         r"mask\), .* got a tuple of 3"),
        (giving(lambda u, t, m: None), "with these three, got None"),
        (giving(lambda u, t, m: type("X", (), {"u": u, "target": t})()), "without mask"),
        (giving(lambda u, t, m: Trials(u[:, :, 0], t, m)), r"u: must have shape \(T, B, n_in\)"),
        (giving(lambda u, t, m: Trials(u.swapaxes(0, 1), t, m)), r"u: must be \(time, trials, "
         r"inputs\) = \(T, 3, n_in\), got \(3, 20, 2\); swap the first two axes"),
        (giving(lambda u, t, m: Trials(u, t[:5], m)), r"target: must be \(T, B, n_out\) = \(20"),
        (giving(lambda u, t, m: Trials(u, t[:, :, 0], m)), "target: must have shape"),
        (giving(lambda u, t, m: Trials(u, t, m[:, 0])), r"mask: must be \(T, B\) = \(20, 3\)"),
        (giving(lambda u, t, m: Trials(u, t, 0 * m)), "mask: must be >= 0, and not 0 everywhere"),
        (giving(lambda u, t, m: Trials(u, t, -m)), "mask: must be >= 0"),
        (giving(lambda u, t, m: Trials(nan_at_the_end(u), t, m)), "u: every value must be finite"),
        (giving(lambda u, t, m: Trials(u, nan_at_the_end(t), m)), "target: every value must be"),
        (giving(lambda u, t, m: Trials(u.astype(str), t, m)), "u: must hold"),
        (task_of(lambda self, n, rng, dtype: Trials(
            np.random.random((5, n, 1)), np.ones((5, n, 1)), np.ones((5, n)))),  # noqa: NPY002
         "Mine.trials must draw from its rng alone"),
        (task_of(lambda self, n, rng, dtype: {}["coherence"]),
         r"Mine\.trials failed with KeyError: 'coherence' \(.*test_own_tasks\.py, line \d+\)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_task_is_said_in_words(task, message):
    with pytest.raises(ValueError, match=message):
        check_task(task)


def test_targets_without_weight_may_be_anything():
    def change(u, t, m):
        t = nan_at_the_end(t)
        return Trials(u, t, np.where(np.isfinite(t[:, :, 0]), m, 0))

    assert check_task(giving(change)).n_out == 1


# --- runs ----------------------------------------------------------------------------------------

SMALL = {"units": 8, "steps": 8, "batch": 4, "dt": 0.1, "test_trials": 40, "eval_every": 4,
         "burn_in": 2.0}  # fmt: skip


def test_a_run_stores_the_text_of_its_task(file):
    config = RunConfig(task="my_task.py:Echo:delay=3", **SMALL)
    assert config.task == parse_task("my_task.py:Echo:delay=3").text
    assert config.task_label == "Echo:delay=3"
    assert RunConfig(task="my_task.py:Echo", **SMALL).key != config.key
    assert RunConfig(task="multi_timescale:delay_max=3", **SMALL).key not in (
        config.key, RunConfig(**SMALL).key,
    )  # fmt: skip
    assert RunConfig(task="multi_timescale:delay_max=2", **SMALL).key == RunConfig(**SMALL).key
    file.write_text(file.read_text() + "\n")
    assert RunConfig(task="my_task.py:Echo:delay=3", **SMALL).key != config.key
    with pytest.raises(ValueError, match=r"my_task\.py:Echo has changed"):
        run_one(config)


def test_a_stored_run_is_read_without_importing_or_opening_anything(file, monkeypatch):
    config = RunConfig(task="my_task.py:Echo", **SMALL)
    save_run("stored", run_one(config))
    evil = "raise SystemExit('imported')\n"
    file.write_text(evil)
    again = load_run("stored")
    assert again.config == config and again.config.key == config.key
    for change in ({"task": "my_task.py:Echo"}, {"task": "evil:Echo"}, {"dist": "file:my_task.py"}):
        with pytest.raises(ValueError, match=r"must (be the text of a stored|hold its values)"):
            RunConfig.from_json({**config.to_json(), **change})


def test_an_instance_must_have_the_time_step_of_the_run(file):
    with pytest.raises(ValueError, match="n_pulses must be odd"):
        RunConfig(task="multi_timescale:n_pulses=4", **SMALL)
    config = RunConfig(task=Echo(delay=3, dt=0.1), **SMALL)
    assert config.task_label == "Echo:delay=3" and config.make_task().delay == 3
    with pytest.raises(ValueError, match=r"Echo has dt = 0\.2 s, and the run has dt = 0\.1 s"):
        RunConfig(task=Echo(dt=0.2), **SMALL)
    file.write_text(MINIMAL.replace("dt=0.1, ", "").replace("= dt, ", "= 0.1, "))
    assert RunConfig(task="my_task.py:Echo", **SMALL).make_task().dt == 0.1
    with pytest.raises(ValueError, match=r"Echo has dt = 0\.1 s, and the run has dt = 0\.05 s"):
        RunConfig(task="my_task.py:Echo", **{**SMALL, "dt": 0.05})


def test_a_task_that_needs_another_time_step_than_the_default_has_a_name(tmp_path):
    """What is the default is looked up, not tried with this task: 0.05 s does not divide 1.02 s."""
    config = RunConfig(task="multi_timescale:delay_max=1.02", **{**SMALL, "dt": 0.02})
    assert label(config) == "normal" and label(config.replace(gain=1)) == "normal, gain=1"
    assert set(config.changed) == {"task", *SMALL}
    save_run(tmp_path / "run", run_one(config.replace(steps=1)))
    done = sweep([config.replace(steps=1)], store=tmp_path / "store")
    assert not done.failures and len(done.folders) == 1


def test_a_mistake_is_told_before_a_run_begins(file):
    file.write_text(MINIMAL.replace("np.ones((30, batch_size))", "np.ones((29, batch_size))"))
    with pytest.raises(ValueError, match=r"Echo.trials: mask: must be \(T, B\) = \(30, 3\)"):
        RunConfig(task="my_task.py:Echo", **SMALL)


def test_training_checks_the_first_batch_and_no_more():
    rng = np.random.default_rng(0)
    params = init_params(6, 2, 1, 1.0, rng, dtype=np.float32)
    after, history = train(params, task_of(good), 3, rng=rng)
    assert after.W.dtype == np.float32 and len(history) == 3
    calls = []

    def counted(self, batch_size, rng, dtype=np.float64):
        calls.append(batch_size)
        return good(self, batch_size, rng)

    train(params, task_of(counted), 3, rng=rng, batch=5)
    assert calls == [5, 5, 5]
    for wrong, message in (
        (Echo, "task: Echo is a class"),
        (giving(lambda u, t, m: (u, t, m)), "got a tuple of 3"),
        (giving(lambda u, t, m: Trials(u, t, m[:, 0])), r"mask: must be \(T, B\)"),
    ):
        with pytest.raises(ValueError, match=message):
            train(params, wrong, 3, rng=rng)


def test_a_minimal_task_from_the_command_line_to_the_figures(file, capsys):
    """What needs an accuracy, labels, epochs or noise is left out; everything else is there."""
    from tau_rnn.plotting.run import plot_run
    from tau_rnn.run import main

    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    assert main(["--task", "my_task.py:Echo", "--out", "out", "--quiet", *options]) == 0
    shown = capsys.readouterr().out
    assert "\nEcho, tau ~ normal, seed 0\n" in shown and "loss" in shown
    assert "The task has no accuracy" in shown and "accuracy, mean" not in shown
    for part, what in (("rank", "accuracy"), ("decoding", "remembered"), ("effective", "noise")):
        assert f"Left out: {part}, which needs `{what}`, see tau_rnn.tasks.own." in shown
    (folder,) = Path("out").iterdir()
    assert folder.name.startswith("Echo-normal-seed0")
    for figure in ("figure.png", "measures.png"):
        assert (folder / figure).stat().st_size > 10_000
    result = load_run(folder)
    assert {"loss", "log_mean_loss", "loss_last5", "weight_change"} <= result.metrics.keys()
    assert not [name for name in result.metrics if "accuracy" in name or "criterion" in name]
    assert list(result.history[0]) == ["step", "train_loss", "loss", "grad_norm", "weight_change"]
    # Without noise there are no effective timescales: no rows, no numbers, no panel.
    assert "effective timescale" not in shown and "tau_eff" not in str(result.metrics)
    assert list(result.units) == ["weight_change", "tau_before", "tau_after"]
    labels = [axes.get_ylabel() for axes in plot_run(result).axes]
    assert len(labels) == 8 and not any("timescale" in label for label in labels)
    assert main(["--task", "my_task.py:Echo", "--out", "out", "--quiet", *options]) == 0
    assert "This is the stored result" in capsys.readouterr().out


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sweep_of_a_minimal_task(file, capsys, workers):
    from tau_rnn.experiment.effects import effects
    from tau_rnn.plotting.effects import plot_forest
    from tau_rnn.plotting.sweep import plot_learning
    from tau_rnn.run import main

    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    command = ["--task", "my_task.py:Echo", "--dist", "vanilla", "uniform", "--seeds=3",
               f"--workers={workers}", "--out", "sweep", "--quiet", *options]  # fmt: skip
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "6 runs computed" in shown
    report = Path("sweep/report.md").read_text()
    assert "## Echo" in report and "accuracy" not in Path("sweep/effects.csv").read_text()
    figures = sorted(path.name for path in Path("sweep").rglob("*.png"))
    assert any("learning" in name for name in figures)
    # It has no steps to criterion that were "never" reached.
    said = "The task has no accuracy, so there are no scores and no steps to a criterion."
    assert "never" not in shown and "never |" not in report
    assert "ffective timescales of" not in report and "timescales.png" not in report
    assert shown.count(said) == 1 and report.count(f"\n{said}\n") == 1
    # Figures and tables name the task in words, without its path and hash.
    results = [load_run(path.parent) for path in Path("sweep").glob("*/metrics.json")]
    assert len(results) == 6 and "Echo: means over seeds" in shown
    titles = {axes.get_title(loc="left") for axes in plot_learning(results).axes}
    assert "Echo" in titles and not any("sha" in title or "my_task" in title for title in titles)
    forest = plot_forest(effects(results))
    assert "Echo" in {axes.get_ylabel() for axes in forest.axes}


def test_scores_of_ones_own_are_compared_in_a_sweep(file):
    file.write_text(MINIMAL.replace("class Other", '''
    noise, criterion = 0.1, 0.2

    def scores(self, y, trials):
        error = float(np.mean((y - trials.target) ** 2))
        return {"accuracy": float(np.exp(-error)), "rmse": error**0.5}

class Other'''))  # fmt: skip
    config = RunConfig(task="my_task.py:Echo", **SMALL)
    result = run_one(config)
    assert {"accuracy", "rmse", "accuracy_last5", "accuracy_shuffled_tau"} <= result.metrics.keys()
    assert result.metrics["steps_to_criterion"] in (0, 4, 8)
    assert result.metrics["rmse"] == result.history[-1]["rmse"]
