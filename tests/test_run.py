"""The command line: what it shows, stores and refuses, and that it survives being killed."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from stored import (
    contents,
    fork,
    measured_briefly,
    printed,
    read_arrays,
    status_of,
    write_arrays,
)

from tau_rnn import run, training
from tau_rnn.cli import progress
from tau_rnn.experiment import RunConfig, load_run, outcome, run_one, store
from tau_rnn.experiment import run as experiment_run
from tau_rnn.experiment.conditions import CONTROLS
from tau_rnn.experiment.unfinished import Work
from tau_rnn.measures import run as measures_run
from tau_rnn.measures.run import PARTS
from tau_rnn.model import Params

SMALL = ["--units", "8", "--dt", "0.1", "--batch", "4", "--steps", "30"]
CONFIG = RunConfig(units=8, dt=0.1, batch=4, steps=30)
NAME = "multi_timescale-normal-seed0"
SLOW = pytest.mark.slow
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
PATIENCE = 300  # s that a command may take on a busy machine before it counts as hanging

Outcome = namedtuple("Outcome", "status out err")


COMMAND = [sys.executable, "-m", "tau_rnn.run"]


def command(*args, cwd):
    """Run the command as a user would."""
    done = subprocess.run(
        [*COMMAND, *args], cwd=cwd, capture_output=True, text=True, timeout=PATIENCE
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@contextmanager
def cheaply():
    """Runs of which little is measured."""
    with measured_briefly(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(outcome, "FULL_MEASURES", outcome.BASIC_MEASURES)
        yield


@pytest.fixture(autouse=True)
def cheap(request):
    """All is measured in the run `first` alone, and where it is compared with another."""
    with nullcontext() if "first" in request.fixturenames else cheaply():
        yield


@pytest.mark.parametrize("given", [{}, {"OPENBLAS_NUM_THREADS": "3"}])
def test_the_command_uses_one_blas_thread_unless_told_otherwise(given):
    code = (
        "import os, sys; from tau_rnn import run; assert 'numpy' not in sys.modules\n"
        "try: run.main(['--version'])\n"
        "finally: print(os.environ.get('OPENBLAS_NUM_THREADS'), os.environ.get('OMP_NUM_THREADS'))"
    )
    here = {k: v for k, v in os.environ.items() if not k.endswith("_THREADS")} | given
    shown = subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, text=True)
    assert shown.stdout.splitlines()[-1] == ("3 None" if given else "1 1")


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Run the command in this process, in an empty folder: faster than to start another."""
    monkeypatch.chdir(tmp_path)

    def call(*args):
        capsys.readouterr()
        try:
            status = run.main([*map(str, args)])
        except SystemExit as ended:
            status = ended.code
        return Outcome(status, *capsys.readouterr())

    return call


def timeless(folder):
    """The numbers of a stored run that must not depend on when it was computed."""
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["seconds"], metrics["files"]
    arrays = {
        name: read_arrays(folder / name) for name in ("initial.npz", "final.npz", "units.npz")
    }
    bits = {(k, f): a.tobytes() for k, v in arrays.items() for f, a in v.items()}
    return metrics, bits, (folder / "history.csv").read_bytes()


# --- a run ---------------------------------------------------------------------------------------

First = namedtuple("First", "outcome folder")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The first command of a newcomer, smaller: with all measures, in a process of its own."""
    cwd, arguments = tmp_path_factory.mktemp("first"), ("--dist", "normal", *SMALL)

    def newcomer():
        os.chdir(cwd)
        return run.main(arguments)

    done = printed(newcomer) if hasattr(os, "fork") else command(*arguments, cwd=cwd)
    return First(Outcome(*done), cwd / "runs" / NAME)


def test_a_run_says_what_it_will_do_then_how_it_goes_then_what_came_of_it(first):
    status, out, err = first.outcome
    assert (status, err) == (0, "")
    lines = out.splitlines()
    tau = load_run(first.folder).initial.tau
    assert "8 units" in lines[0] and "multi_timescale" in lines[0] and "30 steps" in lines[0]
    assert f"mean {tau.mean():.2f} s, range {tau.min():.2f} to {tau.max():.2f} s" in lines[1]
    assert f"CV {tau.std() / tau.mean():.2f}, mean of 1/tau {np.mean(1 / tau):.2f}" in lines[1]
    assert NAME in lines[1]
    # Plain lines every 25 steps where the output is not a terminal.
    steps = [line.split()[1] for line in lines if line.startswith("step ")]
    assert steps == ["0/30", "25/30", "30/30"]
    assert "\r" not in out
    # What follows the steps is named as well.
    then = next(line for line in lines if line.startswith("then: "))
    assert then.removeprefix("then: ").split(", ") == [
        "shuffled tau", "effective timescales", "weights", "rank", "lesions", "fixed points",
        "decoding and alignment", "figure.png", "measures.png",
    ]  # fmt: skip
    step = next(line for line in lines if line.startswith("step 25/30"))
    assert all(word in step for word in ("loss", "accuracy", "steps/s", "s left"))
    table = {line[2:44].strip(): line[44:].split() for line in lines if line.startswith("  ")}
    metrics = load_run(first.folder).metrics
    before, after = metrics["accuracy_initial"], metrics["accuracy"]
    assert table["accuracy"][-2:] == [f"{before:.3f}", f"{after:.3f}"]
    assert str(Path("runs") / NAME) in lines[-1]


ENDS = ("_low", "", "_high")


def test_the_files_of_a_run(first):
    assert sorted(contents(first.folder)) == [
        "config.json", "figure.png", "final.npz", "history.csv", "initial.npz", "measures.png",
        "metrics.json", "state.npz", "units.npz",
    ]  # fmt: skip
    assert [p.name for p in first.folder.parent.iterdir()] == [NAME]
    config = json.loads((first.folder / "config.json").read_text())
    assert config["settings"] == CONFIG.to_json()
    assert {"tau_rnn", "numpy", "scipy", "python"} <= config["versions"].keys()
    metrics = json.loads((first.folder / "metrics.json").read_text())
    required = {"accuracy", "loss", "steps_to_criterion", "weight_change", "seconds"}
    assert required <= metrics.keys()
    for when in ("before", "after"):  # the same timescales, with intervals over the units
        for what in ("correlation", "cv", "sd_log", "quantile_range"):
            low, value, high = (metrics[f"tau_eff_{what}_{when}{end}"] for end in ENDS)
            assert low <= high and value > (-1 if what == "correlation" else 0)
    for name in ("initial.npz", "final.npz"):
        assert list(read_arrays(first.folder / name)) == list(Params._fields)
    history = (first.folder / "history.csv").read_text().splitlines()
    assert history[0].startswith("step,train_loss,loss,accuracy,conflict_accuracy")
    assert [row.split(",")[0] for row in history[1:]] == ["0", "20", "30"]
    for name in ("figure.png", "measures.png"):
        figure = (first.folder / name).read_bytes()
        assert figure.startswith(b"\x89PNG\r\n\x1a\n") and len(figure) > 50_000


def test_what_is_stored_is_what_the_library_computes(first):
    stored, computed = load_run(first.folder), run_one(CONFIG)
    assert stored.config == CONFIG
    for a, b in zip((*stored.initial, *stored.final), (*computed.initial, *computed.final)):
        assert a.tobytes() == b.tobytes() and a.dtype == np.float32
    assert repr(stored.history) == repr(computed.history)
    for name, value in computed.metrics.items():
        assert name == "seconds" or stored.metrics[name] == value, name
    change = stored.final.W.astype(float) - stored.initial.W
    norm = np.linalg.norm(stored.initial.W.astype(float))
    assert stored.metrics["weight_change"] == pytest.approx(np.linalg.norm(change) / norm)


def test_help_explains_itself_without_loading_what_it_does_not_need():
    code = (
        "import sys; from tau_rnn import run\n"
        "try: run.main(['--help'])\n"
        "except SystemExit as e: assert e.code == 0\n"
        "heavy = {'matplotlib', 'scipy.stats', 'scipy.optimize'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    for word in ("vanilla", "normal", "uniform", "bimodal", "seconds", "--checkpoint-seconds",
                 *CONTROLS):  # fmt: skip
        assert word in shown.stdout
    assert "python -m tau_rnn.run --dist normal\n" in shown.stdout
    words = " ".join(shown.stdout.split())
    assert "--match NAME rescale tau (harmonic: to harmonic mean 1 s" in words
    assert "these, separated by commas: W, W_in, b, W_out, b_out, x0, tau, default" in words


# --- stored results ------------------------------------------------------------------------------

RUN = [*SMALL[:-1], "3", "--no-figure"]
QUICK = [*RUN, "--measures", "weights"]  # in a process of its own, where `cheap` does not reach
SHORT = CONFIG.replace(steps=3)


def test_the_same_command_again_shows_the_stored_result(call, tmp_path):
    first = call(*RUN)
    assert first.status == 0 and "figure" not in first.out
    before = contents(tmp_path)
    assert not any("figure" in name for name in before)
    second = call(*RUN)
    assert (second.status, second.err) == (0, "")
    assert "This is the stored result of" in second.out and "--force" in second.out
    assert contents(tmp_path) == before
    rows = [line for line in first.out.splitlines() if line.startswith("  ")]
    assert rows and rows == [line for line in second.out.splitlines() if line.startswith("  ")]
    # With --resume as well: there is nothing left to do.
    assert "This is the stored result of" in call(*RUN, "--resume").out


def test_other_settings_go_to_their_name_and_key_and_say_what_differs(call, tmp_path):
    assert call(*RUN).status == 0
    before = contents(tmp_path)
    other = call(*RUN, "--steps", 4, "--gain", 1.1)
    assert (other.status, other.err) == (0, "")
    keyed = store.places("runs", SHORT.replace(steps=4, gain=1.1))[1]
    note = next(line for line in other.out.splitlines() if "holds a run with other" in line)
    assert "steps 3 there, 4 here" in note and "gain 0.8 there, 1.1 here" in note
    assert "units" not in note and note.endswith(f"this one goes to {keyed}.")
    assert other.out.splitlines()[-1] == f"Results: {keyed}"
    assert load_run(keyed).config.gain == 1.1
    assert {name: contents(tmp_path)[name] for name in before} == before
    # It is found there, also by a sweep.
    assert f"This is the stored result of {keyed}" in call(*RUN, "--steps", 4, "--gain", 1.1).out
    found = call(*RUN, "--steps", 4, "--gain", 1.1, "--seeds", 2, "--workers", 1)
    assert "1 runs computed, 1 were stored already" in found.out


def test_force_takes_the_place_of_other_settings(call, tmp_path):
    assert call(*RUN).status == 0
    assert call(*RUN, "--steps", 4, "--out", "elsewhere").status == 0
    forced = call(*RUN, "--steps", 4, "--force", "--quiet")
    assert forced.status == 0 and forced.out.startswith("\nmulti_timescale, tau ~ normal, seed 0")
    assert load_run(tmp_path / "runs" / NAME).config.steps == 4
    assert timeless(tmp_path / "runs" / NAME) == timeless(tmp_path / "elsewhere" / NAME)
    assert [p.name for p in (tmp_path / "runs").iterdir()] == [NAME]


def test_a_name_that_is_taken_meanwhile(call, tmp_path, monkeypatch):
    from tau_rnn.cli import single

    def published_meanwhile(*args):
        target = find_place(*args)
        if not store.runs:
            store.runs = True
            assert run.main([*RUN, "--gain", "1.1", "--quiet"]) == 0
        return target

    find_place = single.find_place
    monkeypatch.setattr(store, "runs", False, raising=False)
    monkeypatch.setattr(single, "find_place", published_meanwhile)
    done = call(*RUN)
    plain, keyed = store.places("runs", SHORT)
    assert done.status == 0 and load_run(plain).config.gain == 1.1 and load_run(keyed)
    assert done.out.splitlines()[-2:] == [
        f"{plain} has meanwhile been taken by a run with other settings.", f"Results: {keyed}",
    ]  # fmt: skip


def test_options_reach_the_run(call, tmp_path):
    done = call(
        *RUN, "--dtype", "float64", "--train", "+tau", "--lr", "0.05", "--dist", "bimodal",
        "--task", "integrate_and_remember", "--seed", 7, "--phi", "softplus", "--method", "euler",
        "--optimizer", "sgd", "--lr-scale", "inverse-tau", "--rescale-tau", "harmonic", "--quiet",
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    result = load_run(tmp_path / "runs" / "integrate_and_remember-bimodal-seed7")
    assert result.config == RunConfig(
        task="integrate_and_remember", dist="bimodal", rescale_tau="harmonic", units=8, steps=3,
        batch=4, dt=0.1, lr=0.05, seed=7, train="+tau", optimizer="sgd", lr_scale="inverse-tau",
        phi="softplus", method="euler", dtype="float64",
    )  # fmt: skip
    assert all(p.dtype == np.float64 for p in (*result.initial, *result.final))
    assert not np.array_equal(result.initial.tau, result.final.tau)
    np.testing.assert_allclose(np.mean(1 / result.initial.tau), 1, rtol=1e-12)


def test_one_seed_of_a_quick_sweep_is_one(call, tmp_path):
    done = call(*RUN, "--quick", "--seeds", 1)
    assert done.status == 0 and done.out.startswith("1 run, computed in this process")
    assert len([p for p in (tmp_path / "runs").iterdir() if p.is_dir()]) == 1


@pytest.mark.parametrize(
    ("options", "cores", "where"),
    [
        ([], 3, "3 processes"),  # one a core
        ([], 8, "4 processes"),  # and no more than there are runs
        ([], 1, "this process"),
        (["--workers", 1], 3, "this process"),
        (["--workers", 2], 3, "2 processes"),
    ],
)
def test_a_sweep_takes_a_process_a_core_unless_told(call, monkeypatch, options, cores, where):
    from tau_rnn.experiment import executors

    started = []

    def here(workers):
        started.append(workers)  # computed in this process, whatever is said
        return nullcontext(executors._Here())

    monkeypatch.setattr(executors, "usable_cores", lambda: cores)
    monkeypatch.setattr(executors, "_processes", here)
    done = call(*RUN, "--dist", "vanilla", "uniform", "--seeds", 2, *options)
    assert done.status == 0 and f"4 runs, computed in {where};" in done.out
    assert started == [int(n) for n in where[:1] if n.isdigit()]


def test_usable_cores_are_those_of_this_process():
    from tau_rnn.experiment.executors import usable_cores

    expected = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable_cores() == expected >= 1


def test_what_is_matched_is_compared_with_vanilla(call, tmp_path):
    done = call(
        *RUN, "--rescale-tau", "harmonic", "--dist", "vanilla", "uniform", "--seeds", 2, "--quiet",
        "--workers", 1,
    )
    assert done.status == 0
    with open(tmp_path / "runs" / "effects.csv", newline="") as file:
        compared = {(row["condition"], row["reference"]) for row in csv.DictReader(file)}
    assert ("uniform, rescale_tau=harmonic", "vanilla") in compared


def test_a_stored_result_without_figures_says_how_to_get_them(call):
    assert call(*RUN).status == 0
    assert "(--force computes it again)." in call(*RUN).out
    assert "(--force computes it again, with figures)." in call(*RUN[:-1]).out  # figures asked for


@pytest.mark.skipif(os.name != "posix", reason="closes a file descriptor in a shell")
@pytest.mark.parametrize(
    "more",
    [pytest.param(k, marks=SLOW) for k in ("--quiet", "--seeds 2", "--seeds 2 --workers 1")],
)
def test_a_closed_standard_output_is_no_error(more, tmp_path):
    line = f"{subprocess.list2cmdline(COMMAND)} {' '.join(QUICK)} {more} >&-"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "runs").rglob("final.npz"))


@needs_fork
@pytest.mark.parametrize("more", [["--quiet"], ["--seeds", "2", "--workers", "1"]])
def test_a_command_without_standard_output_is_no_error(call, tmp_path, more):
    def without():
        os.close(1)
        sys.stdout = None  # as Python starts where it is closed
        return run.main([*RUN, *more])

    assert printed(without) == (0, "", "")
    assert len(list(Path("runs").rglob("final.npz"))) == (2 if "--seeds" in more else 1)


@needs_fork
@pytest.mark.parametrize("more", [[], ["--seeds", "2", "--workers", "1"]], ids=["run", "sweep"])
def test_a_run_whose_reader_is_gone_goes_on(call, tmp_path, more):
    """As in ``... | head -1``: the output is lost, and nothing else."""
    ours, theirs = os.pipe()
    os.close(ours)

    def child():
        os.dup2(theirs, 1)
        os.dup2(theirs, 2)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1) for n in (1, 2))
        status = run.main([*RUN, *more])
        print("lost as well")
        return status

    assert status_of(fork(child)) == 0
    os.close(theirs)
    assert f"This is the stored result of {Path('runs', NAME)}" in call(*RUN).out or more
    assert len(list(Path("runs").rglob("final.npz"))) == (2 if more else 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_output_that_cannot_be_written_is_said_and_loses_no_work(call, tmp_path):
    status, _, err = printed(run.main, RUN, stdout="/dev/full")
    assert status == 1 and err.count("\n") == 1
    assert "No space left on device" in err and "what was computed is stored" in err
    assert load_run(tmp_path / "runs" / NAME)


INTERRUPTED_IMPORT = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[-1]:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
runpy.run_module("tau_rnn.run", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["tau_rnn.cli.single", "numpy", "tau_rnn.experiment.run"])
def test_ctrl_c_while_the_program_is_loaded_is_one_line(tmp_path, module):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT, *RUN, "--dist", "vanilla", module],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 130 and "Traceback" not in done.stderr
    assert done.stderr.strip().count("\n") == 0 and "interrupted" in done.stderr
    assert not list(tmp_path.iterdir())


@needs_fork
def test_a_name_that_the_terminal_cannot_show_is_no_error(call, tmp_path):
    status, out, err = printed(run.main, [*RUN, "--out", "größe"], encoding="ascii")
    assert (status, err) == (0, "")
    assert "gr\\xf6\\xdfe" in out and list((tmp_path / "größe").iterdir())


def test_each_line_of_output_can_be_read_at_once(monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO())  # as Python opens it where it is no terminal
    monkeypatch.setattr(sys, "stdout", stdout)
    with pytest.raises(SystemExit):
        run.main(["--version"])
    assert stdout.line_buffering


@pytest.mark.filterwarnings("default::RuntimeWarning")
def test_a_warning_is_one_line_and_said_once(call):
    done = call(*RUN, "--dist", "constant:0.15", "--method", "euler", "--quiet")
    assert done.status == 0
    assert done.err.startswith("tau_rnn.run: warning: dt = 0.1 s is more than half")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("damaged", ["final.npz", "history.csv", "metrics.json", "units.npz"])
def test_a_damaged_result_is_named_and_left_alone(call, first, tmp_path, damaged):
    folder = tmp_path / "runs" / NAME
    folder.mkdir(parents=True)
    for name, content in contents(first.folder).items():
        (folder / name).write_bytes(content[: len(content) // 2] if name == damaged else content)
    before = contents(tmp_path)
    refused = call(*SMALL)
    assert refused.status == 2 and refused.err.count("\n") == 1 and damaged in refused.err
    assert contents(tmp_path) == before


# --- bad arguments -------------------------------------------------------------------------------

BAD = [
    (["--dist", "nromal"], "did you mean 'normal'"),
    (["--dist", "normal:sdd=1"], "did you mean 'sd'"),
    (["--dist", "normal:sd=-1"], "sd"),
    (["--dist", "constant:0"], "constant"),
    (["--dist", "file:none.npy"], "none.npy"),
    (["--dist", "values:0.5,1"], "has 2 values, but the network has 8 units"),
    (["--dist", "normal", "unifrom"], "did you mean 'uniform'"),
    (["--dist"], "--dist"),
    (["--task", "multi_timescales"], "did you mean 'multi_timescale'"),
    (["--task", "bth"], "did you mean 'both'"),
    (["--phi", "tahn"], "did you mean 'tanh'"),
    (["--method", "eular"], "did you mean 'euler'"),
    (["--train", "Wout"], "did you mean 'W_out'"),
    (["--train", ""], "train"),
    (["--optimizer", "adma"], "did you mean 'adam'"),
    (["--rescale-tau", "harmnic"], "did you mean 'harmonic'"),
    (["--lr-scale", "inverse_tau"], "did you mean 'inverse-tau'"),
    (["--dtype", "float16"], "Allowed: float32, float64"),
    (["--units", "0"], "units: must be an integer >= 1, got 0"),
    (["--units", "-3"], "units"),
    (["--units", "2.5"], "--units"),
    (["--units", "many"], "--units"),
    (["--units", "1000000", "--dist", "vanilla"], "not enough memory"),
    (["--steps", "0"], "steps"),
    (["--batch", "-1"], "batch"),
    (["--seed", "-1"], "seed"),
    (["--lr", "0"], "lr: must be a finite number > 0, got 0"),
    (["--lr", "-0.1"], "lr"),
    (["--lr", "nan"], "lr"),
    (["--lr", "fast"], "--lr"),
    (["--gain", "-1"], "gain"),
    (["--gain", "inf"], "gain"),
    (["--dt", "0"], "dt"),
    (["--dt", "-0.1"], "dt"),
    (["--dt", "nan"], "dt"),
    (["--dt", "0.03"], "dt = 0.03"),
    (["--dt", "0.3"], "dt"),
    (["--dist", "constant:0.04", "--method", "euler"], "unstable for tau = 0.04 s"),
    (["--dist", "constant:0.05", "--train", "+tau"], "between dt = 0.1 s and 10 s"),
    (["--checkpoint-seconds", "-1"], "--checkpoint-seconds: must be >= 0"),
    (["--checkpoint-seconds", "nan"], "--checkpoint-seconds"),
    (["--seeds", "0"], "--seeds"),
    (["--workers", "0"], "--workers"),
    (["--workers", "2"], "a single run cannot be divided"),
    (["--seeds", "2", "--workers", "2", "--scheduler", "tcp://x:1"], "of this machine"),
    (["--steps"], "--steps"),
    (["--stepz", "3"], "--stepz"),
    (["--unit", "3"], "--unit"),
    (["normal"], "normal"),
]


@pytest.mark.parametrize("arguments, message", BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_arguments_are_refused_in_one_line(call, tmp_path, arguments, message):
    refused = call(*RUN, *arguments)
    assert refused.status == 2
    assert refused.err.startswith("tau_rnn.run: ") and refused.err.count("\n") == 1
    assert message in refused.err
    assert refused.out == "" and contents(tmp_path) == {} and not list(tmp_path.iterdir())


def test_bad_arguments_have_exit_status_2(tmp_path):
    refused = command("--dist", "bimodla", cwd=tmp_path)
    assert refused.status == 2 and refused.out == "" and refused.err.count("\n") == 1
    assert "did you mean 'bimodal'" in refused.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["a file", "a file/below", "/proc/none", "no\0name"])
def test_a_place_that_cannot_be_written_to_is_refused(call, tmp_path, out):
    if out.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("there is no /proc")
    (tmp_path / "a file").write_text("not a folder")
    refused = call(*RUN, "--out", out)
    assert refused.status == 2
    assert refused.err.startswith("tau_rnn.run: ") and refused.err.count("\n") == 1
    assert contents(tmp_path) == {"a file": b"not a folder"}


def test_a_folder_that_holds_something_else_is_refused(call, tmp_path):
    folder = tmp_path / "runs" / NAME
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    for options in ([], ["--force"], ["--resume"]):
        refused = call(*RUN, *options)
        assert refused.status == 2 and "no run is stored here" in refused.err
        assert contents(tmp_path) == {f"runs/{NAME}/thesis.txt": b"years of work"}
    (folder / "thesis.txt").unlink()
    for content in (b'{"format": "tau_rnn ru', b'{"name": "a package"}', b""):
        (folder / "config.json").write_bytes(content)
        refused = call(*RUN)
        assert refused.status == 2 and "config.json" in refused.err
        assert contents(folder) == {"config.json": content}


def test_a_loss_that_is_not_finite_is_a_failed_run(call, tmp_path):
    failed = call(*RUN, "--lr", "1e39")
    assert failed.status == 1 and failed.err.count("\n") == 1
    assert "step 1: the update is not finite" in failed.err and "last_good.npz" in failed.err
    work = Path("runs", ".unfinished", SHORT.replace(lr=1e39).key)
    assert [p.name for p in Path("runs").iterdir()] == [".unfinished"]
    assert sorted(contents(work)) == ["error.json", "last_good.npz"]
    kept = Params(**read_arrays(work / "last_good.npz"))
    assert all(np.isfinite(field).all() for field in kept)
    assert call(*RUN).status == 0  # the corrected command
    assert [p.name for p in Path("runs").glob("[!.]*")] == [NAME]


# --- interrupted and resumed ---------------------------------------------------------------------

#: Settings in which much can go wrong: tau and the learning rates change, evaluations lie between.
LONG = [
    "--units", "8", "--dt", "0.1", "--batch", "4", "--steps", "70", "--train", "+tau",
    "--lr-scale", "tau", "--lr", "0.02", "--no-figure",
]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("uninterrupted")
    with cheaply():
        assert run.main([*LONG, "--out", str(cwd), "--quiet"]) == 0
    return timeless(cwd / NAME)


#: The configuration of LONG.
CHECKED = RunConfig(units=8, dt=0.1, batch=4, steps=70, train="+tau", lr_scale="tau", lr=0.02)


def checkpoint(config, out="runs") -> Path:
    return Path(out) / ".unfinished" / config.key / "checkpoint.npz"


def checkpoint_step(config, out="runs") -> int:
    """The step of the checkpoint of a run, -1 if there is none."""
    try:
        return json.loads(str(read_arrays(checkpoint(config, out), ["meta"])["meta"]))["step"]
    except FileNotFoundError:
        return -1


def dies(module, name, last, *command):
    """Run the command in a child that is killed when it calls a function for the n-th time."""
    function, calls = getattr(module, name), []

    def wrapper(*args, **kwargs):
        calls.append(1)
        if len(calls) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    def child():
        setattr(module, name, wrapper)
        return run.main(command)

    assert status_of(fork(child)) == -signal.SIGKILL


@needs_fork
def test_a_run_that_is_killed_again_and_again_gives_the_same_bits(call, tmp_path, uninterrupted):
    moments = [  # where it is killed, at which call, and the checkpoint that is there then
        (os, "replace", 1, -1),  # the first checkpoint is written and has not its name yet
        (training, "update", 9, 8),  # in the middle of step 9
        (os, "replace", 4, 10),  # after the checkpoints of steps 8, 9 and 10
        (outcome, "unit_table", 1, 70),  # all steps are made, and nothing is stored
        (os, "replace", 5, 70),  # some of the result's files are there
        (os, "rename", 1, 70),  # all of them
    ]
    for module, name, last, step in moments:
        dies(module, name, last, *LONG, "--resume", "--checkpoint-seconds", "0")
        assert store.find("runs", CHECKED) is None and checkpoint_step(CHECKED) == step
    assert any("run-" in name for name in contents("runs"))
    last = call(*LONG, "--resume")
    assert (last.status, last.err) == (0, "") and "Continuing from step 70." in last.out
    assert timeless(tmp_path / "runs" / NAME) == uninterrupted
    assert [p.name for p in Path("runs").iterdir()] == [NAME]


@needs_fork
def test_ctrl_c_saves_and_says_how_to_go_on(call, tmp_path):
    endless = [*SMALL[:-1], "1000000", "--no-figure"]
    ours, theirs = os.pipe()

    def child():
        for number, file in enumerate((theirs, os.open("err", os.O_WRONLY | os.O_CREAT)), start=1):
            os.dup2(file, number)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w", buffering=1)
        return run.main(endless)

    process = fork(child)
    os.close(theirs)
    with open(ours) as stdout:
        lines = [stdout.readline() for _ in range(3)]
        os.kill(process, signal.SIGINT)
        stdout.read()
    assert lines[2].startswith("step ") and status_of(process) == 130
    err = Path("err").read_text()
    Path("err").unlink()
    config = CONFIG.replace(steps=1000000)
    step = checkpoint_step(config)
    assert f"after step {step} of 1000000" in err and "--resume" in err
    assert err.count("\n") == 1 and "Traceback" not in err
    before = contents(tmp_path)
    refused = call(*endless)
    assert refused.status == 2 and refused.err.count("\n") == 1
    assert f"interrupted at step {step} of 1000000" in refused.err and "--resume" in refused.err
    assert contents(tmp_path) == before


@pytest.fixture
def interrupts():
    """The interrupts of a terminal, whatever started the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def raise_in_update(monkeypatch, at, times=1):
    """Let Ctrl-C come in the middle of a step: after the trials are drawn, before theta moves."""
    calls, update = [], training.update

    def interrupted_update(*args):
        calls.append(1)
        if len(calls) == at:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        update(*args)

    monkeypatch.setattr(training, "update", interrupted_update)


def test_ctrl_c_in_the_middle_of_a_step_waits_for_its_end(
    call, tmp_path, uninterrupted, interrupts, monkeypatch
):
    raise_in_update(monkeypatch, at=5)
    stopped = call(*LONG)
    assert stopped.status == 130 and "after step 5 of 70, which is saved" in stopped.err
    assert checkpoint_step(CHECKED) == 5
    assert call(*LONG, "--resume").status == 0
    assert timeless(tmp_path / "runs" / NAME) == uninterrupted


def test_a_second_ctrl_c_does_not_wait_and_spoils_nothing(call, tmp_path, interrupts, monkeypatch):
    raise_in_update(monkeypatch, at=5, times=2)
    stopped = call(*LONG, "--checkpoint-seconds", 0)
    assert stopped.status == 130 and "interrupted" in stopped.err
    assert checkpoint_step(CHECKED) == 4 and not (tmp_path / "runs" / NAME).exists()


@pytest.mark.parametrize("phase", ["shuffled tau", "effective timescales", "alignment",
                                   "figure.png", "measures.png"])  # fmt: skip
def test_ctrl_c_in_any_phase_after_the_steps_keeps_them(
    call, tmp_path, interrupts, monkeypatch, phase
):
    named = progress.Progress.phase

    def interrupt(self, name):
        named(self, name)
        if name == phase:
            signal.raise_signal(signal.SIGINT)

    run_with_figures = RUN[:-1]
    with monkeypatch.context() as patched:
        patched.setattr(progress.Progress, "phase", interrupt)
        stopped = call(*run_with_figures)
    assert stopped.status == 130 and stopped.err.count("\n") == 1
    assert "the last checkpoint is kept" in stopped.err and stopped.out.endswith(f"{phase}\n")
    assert checkpoint_step(SHORT) == 3 and store.find("runs", SHORT) is None
    done = call(*RUN, "--resume")
    assert done.status == 0 and [p.name for p in Path("runs").iterdir()] == [NAME]


def test_a_run_draws_its_network_once(call, monkeypatch):
    drawn, init_params = [], experiment_run.init_params

    def counted(*args, **options):
        drawn.append(args)
        return init_params(*args, **options)

    monkeypatch.setattr(experiment_run, "init_params", counted)
    assert call(*RUN).status == 0 and len(drawn) == 1


def test_measures_that_would_take_too_long_are_left_out_and_named(call, monkeypatch):
    monkeypatch.setattr(measures_run, "MOST_UNITS", {"alignment": 7, "weights": 8})
    done = call(*RUN)
    assert done.status == 0
    assert "Not measured in a network of 8 units: alignment." in done.out
    metrics = load_run(Path("runs", NAME)).metrics
    assert "weight_change_W_in" in metrics and "kernel_alignment" not in metrics
    again = call(*RUN)  # the table of a stored run lacks them as well
    assert again.status == 0 and "kernel" not in again.out
    swept = call(*RUN, "--seeds", 2, "--workers", 1)
    assert "Not measured in networks of 8 units: alignment." in swept.out and swept.status == 0


def test_the_bound_of_measures_depends_on_the_network_alone():
    assert measures_run.within_bounds(500) == (PARTS, ())
    parts, left_out = measures_run.within_bounds(501)
    assert set(parts) | set(left_out) == set(PARTS) and left_out == ("alignment", "fixed_points")
    assert set(measures_run.MOST_UNITS) < set(PARTS) and "weights" not in measures_run.MOST_UNITS


def test_what_fails_after_the_first_step_is_status_1(call, tmp_path, monkeypatch):
    """A full disk, a folder that is deleted, too little memory to measure."""
    def full(work, state):
        raise OSError(28, "No space left on device")

    def deleted(work, state):
        shutil.rmtree("runs")
        save(work, state)

    save = Work.save
    for fail in (full, deleted):
        with monkeypatch.context() as patched:
            patched.setattr(Work, "save", fail)
            failed = call(*RUN)
        assert failed.status == 1 and failed.err.count("\n") == 1
        assert failed.err.startswith("tau_rnn.run: ") and not Path("runs").exists()
    with monkeypatch.context() as patched:
        patched.setattr(outcome, "unit_table", lambda *args: np.empty(2**48))
        failed = call(*RUN)
    assert failed.status == 1 and failed.err.count("\n") == 1
    assert "memory" in failed.err and "the last checkpoint is kept" in failed.err
    assert call(*RUN, "--resume").status == 0


BAD_STARTS = [
    (["--gain", "1e300"], "gain: 1e+300 is too large for weights of float32"),
    (["--dt", "1e-9"], "not enough memory"),
    (["--out", "x" * 300], "File name too long"),
    (["--seed", "9" * 400], "seed"),
    (["--dist", "lognormal:cv0=1e-300"], "cv0"),
]


@pytest.mark.parametrize("arguments, message", BAD_STARTS, ids=lambda a: str(a)[:40])
def test_a_failed_start_leaves_nothing_that_blocks_the_corrected_command(
    call, tmp_path, arguments, message
):
    refused = call(*RUN, *arguments)
    assert refused.status == 2 and refused.err.count("\n") == 1 and message in refused.err
    assert not list(tmp_path.iterdir())


def test_checkpoints_are_as_frequent_as_asked(call, tmp_path, interrupts, monkeypatch):
    saved = []
    monkeypatch.setattr(Work, "save", lambda work, state: saved.append(state.training.step))
    assert call(*RUN, "--quiet", "--checkpoint-seconds", 0).status == 0
    assert saved == [0, 1, 2, 3, 3]  # and once more when all steps are made
    saved.clear()
    assert call(*RUN, "--quiet", "--checkpoint-seconds", 1e6, "--force").status == 0
    assert saved == [3]


@pytest.fixture
def stopped(call, tmp_path, interrupts, monkeypatch):
    """The checkpoint of a run that was interrupted after its second step."""
    with monkeypatch.context() as patched:
        raise_in_update(patched, at=2)
        assert call(*RUN).status == 130
    return checkpoint(SHORT)


@pytest.mark.parametrize("options", [[], ["--resume"]], ids=["again", "resume"])
def test_a_damaged_or_foreign_checkpoint_is_refused_by_name(call, stopped, options):
    path = stopped
    whole = path.read_bytes()
    write_arrays(path, {"W": np.zeros(3)})
    foreign = path.read_bytes()
    for content in (whole[:1000], whole[:-1], b"", b"a letter to my aunt", foreign):
        path.write_bytes(content)
        before = contents("runs")
        refused = call(*RUN, *options)
        assert refused.status == 2 and refused.err.count("\n") == 1
        assert str(path) in refused.err
        assert contents("runs") == before
    path.write_bytes(whole)
    assert call(*RUN, "--resume").status == 0


def test_force_starts_an_interrupted_run_again(call, stopped):
    forced = call(*RUN, "--force")
    assert forced.status == 0 and "step 0/3" in forced.out
    assert not stopped.parent.parent.exists()


def test_other_settings_do_not_resume_a_run(call, stopped):
    before = stopped.read_bytes()
    other = call(*RUN, "--steps", 9, "--resume")
    assert other.status == 0 and "there is no checkpoint yet" in other.out
    assert stopped.read_bytes() == before


def test_resume_without_a_checkpoint_starts(call):
    done = call(*RUN, "--resume")
    assert done.status == 0 and "there is no checkpoint yet" in done.out


@pytest.mark.parametrize("steps", [30, 40])  # 20 is a multiple of 30's last evaluation, not of it
def test_a_finished_run_goes_on_from_its_end(call, tmp_path, steps, uninterrupted):
    assert call(*LONG, "--steps", 20).status == 0
    assert call(*LONG, "--steps", steps, "--resume").status == 0
    done = call(*LONG, "--resume")
    short = CHECKED.replace(steps=steps)
    ended = store.places("runs", short)[1]
    assert f"Continuing from step {steps}, where {ended} ended." in done.out
    folder = store.find("runs", CHECKED)
    assert timeless(folder) == uninterrupted
    assert len(list(Path("runs").iterdir())) == 3  # the shorter ones are kept


def test_a_finished_run_of_a_long_name_goes_on_as_well(call):
    values = "values:" + ",".join(f"0.{k}7531" for k in range(2, 10))  # its name holds its key
    assert call(*RUN, "--dist", values).status == 0
    assert "Continuing from step 3" in call(*RUN, "--dist", values, "--steps", 4, "--resume").out


def test_a_run_of_a_sweep_keeps_no_state_to_go_on_from(call):
    assert call(*RUN, "--seeds", 2, "--workers", 1).status == 0
    done = call(*RUN, "--steps", 4, "--resume")
    assert done.status == 0 and "Starting at step 0: " in done.out and "in a sweep" in done.out


def test_a_damaged_state_is_refused_by_name(call):
    assert call(*RUN).status == 0
    path = Path("runs", NAME, "state.npz")
    path.write_bytes(b"nothing")
    refused = call(*RUN, "--steps", 4, "--resume")
    assert refused.status == 2 and refused.err.count("\n") == 1 and str(path) in refused.err


def test_a_run_that_another_process_computes(call):
    Path("runs").mkdir()
    with Work("runs", SHORT):
        busy = call(*RUN)
        assert busy.status == 1 and busy.out == "" and busy.err.count("\n") == 1
        assert f"is being computed by process {os.getpid()}" in busy.err
        assert call(*RUN, "--gain", 1.1).status == 0  # another run leaves it alone
    assert call(*RUN).status == 0


# --- sweeps --------------------------------------------------------------------------------------


def test_all_may_stand_beside_other_distributions(call, tmp_path):
    done = call(*RUN, "--dist", "all", "constant:0.61", "vanilla", "--quiet", "--workers", 1)
    assert done.status == 0
    with open(tmp_path / "runs" / "summary.csv", newline="") as file:
        dists = [row["dist"] for row in csv.DictReader(file)]
    assert dists == ["vanilla", "normal", "uniform", "bimodal", "constant:0.61"]


@pytest.mark.parametrize(
    "names, conditions",
    [
        ((), ["vanilla", "uniform", "constant:0.61", "uniform, rescale_tau=harmonic",
              "uniform, lr~tau", "vanilla, gain=1", "uniform, gain=1"]),
        (("matched", "train-tau"),
         ["vanilla", "uniform", "constant:0.61", "vanilla, train=+tau", "uniform, train=+tau"]),
    ],
)  # fmt: skip
def test_controls_are_the_usual_ones_or_those_named(call, tmp_path, names, conditions):
    done = call(*RUN, "--workers", 1, "--dist", "uniform", "--controls", *names)
    assert done.status == 0
    with open(tmp_path / "runs" / "summary.csv", newline="") as file:
        assert [row["condition"] for row in csv.DictReader(file)] == conditions


def test_an_unknown_control(call, tmp_path):
    done = call("--dist", "all", "--controls", "matchd")
    assert (done.status, list(tmp_path.iterdir())) == (2, [])
    assert "unknown 'matchd'; did you mean 'matched'" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("more", [[], ["--seeds", "2", "--workers", "1"]], ids=["run", "sweep"])
def test_measures_are_those_asked_for(call, more):
    done = call(*RUN, *more, "--measures", "rank", "fixed_points", "--no-figure")
    assert done.status == 0
    for folder in Path("runs").glob("*seed*"):
        metrics = load_run(folder).metrics
        assert {"rank_needed", "fixed_points_after"} <= metrics.keys()
        assert not {"effective_rank", "kernel_alignment"} & metrics.keys()
    wrong = call(*RUN, *more, "--seed", "5", "--measures", "ranks", "--no-figure")
    assert wrong.status == 2 and "--measures: invalid choice: 'ranks'" in wrong.err
    assert not list(Path("runs").glob("*seed5*"))
