"""Sweeps: nothing is lost, nothing is computed twice, and a failure stops nothing else."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from stored import contents, fork, measured_briefly, runs_in, same, status_of

from tau_rnn.cli.sweep import run_sweep
from tau_rnn.experiment import RunConfig, jobs, load_run, run_one, sweeps
from tau_rnn.experiment import store as stores
from tau_rnn.experiment.conditions import sweep_configs
from tau_rnn.experiment.config import EXPERIMENT_VERSION
from tau_rnn.experiment.executors import (
    _UNGUARDED,
    Engine,
    dask_engine,
    make_engine,
    process_engine,
    was_unguarded,
)
from tau_rnn.experiment.files import StoreError
from tau_rnn.experiment.jobs import SweepStopped
from tau_rnn.experiment.report import report_text, write_tables
from tau_rnn.experiment.sweeps import sweep, work
from tau_rnn.experiment.unfinished import Work, save_run

BASE = RunConfig(units=8, steps=6, batch=4, test_trials=16, dt=0.1, eval_every=2)
DIVERGES = BASE.replace(lr=1e30, seed=9)


@pytest.fixture(autouse=True)
def cheap(request):
    """Little is measured, but where it is compared with what other processes have measured."""
    with nullcontext() if "swept" in request.fixturenames else measured_briefly():
        yield


def some_configs(n=3):
    return [BASE.replace(dist=d, seed=s) for s in range(n) for d in ("vanilla", "uniform")][:n]


# --- what is stored is not computed again --------------------------------------------------------


def test_a_sweep_stores_what_run_one_gives(tmp_path):
    configs, events = some_configs(), []
    done = sweep(configs + configs[:1], store=tmp_path, progress=events.append)
    assert done.configs == tuple(configs)  # a repeated run counts once
    assert (done.computed, done.reused, done.failures) == (3, 0, {})
    assert [(e.kind, e.done, e.total) for e in events] == [("done", k, 3) for k in (1, 2, 3)]
    assert events[-1].seconds_left == 0
    for config, result in zip(configs, done.load()):
        assert same(result, run_one(config))


def test_a_second_sweep_computes_only_what_is_missing(tmp_path):
    configs = some_configs(4)
    sweep(configs[:2], store=tmp_path)
    before = contents(tmp_path)
    done = sweep(configs, store=tmp_path)
    assert (done.computed, done.reused) == (2, 2)
    after = contents(tmp_path)
    assert all(after[name] == data for name, data in before.items())


def test_force_computes_again(tmp_path):
    configs = some_configs(1)
    folder = sweep(configs, store=tmp_path).folders[configs[0]]
    seconds = load_run(folder).metrics["seconds"]
    assert sweep(configs, store=tmp_path).computed == 0
    again = sweep(configs, store=tmp_path, force=True)
    assert again.computed == 1 and again.folders == {configs[0]: folder}
    assert load_run(folder).metrics["seconds"] != seconds
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    "name, damage",
    [
        ("metrics.json", lambda data: data[: len(data) // 2]),
        ("metrics.json", lambda data: data.replace(b'"loss": ', b'"loss": "x", "was": ')),
        ("config.json", lambda data: data[: len(data) // 2]),
        ("config.json", lambda data: data.replace(b'"gain": 0.8', b'"gain": 0.9')),
        ("final.npz", lambda data: data[:-40]),
        ("initial.npz", lambda data: b"nothing"),
        ("units.npz", lambda data: data[:10]),
        ("history.csv", lambda data: data[: data.rindex(b"\n", 0, -1) + 1]),
        ("history.csv", lambda data: b""),
        ("final.npz", None),
    ],
)
def test_a_damaged_entry_is_named_set_aside_and_redone(tmp_path, name, damage):
    (config,), notes = some_configs(1), []
    folder = sweep([config], store=tmp_path).folders[config]
    good = load_run(folder)
    path = folder / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    done = sweep([config], store=tmp_path, progress=lambda e: notes.append((e.kind, e.text)))
    assert done.computed == 1
    assert done.set_aside == (folder.with_name(folder.name + ".damaged-1"),)
    assert done.set_aside[0].is_dir()
    assert notes[0][0] == "note" and name in notes[0][1] and done.set_aside[0].name in notes[0][1]
    assert same(load_run(done.folders[config]), good)


@pytest.mark.parametrize("wrong", [BASE, [BASE.to_json()], [BASE, "uniform"], 3, "normal"])
def test_what_is_swept_are_configurations(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"configs: must be a list of RunConfigs, got (?!'n')"):
        sweep(wrong, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_file_in_the_place_of_a_run_is_set_aside(tmp_path):
    (config,) = some_configs(1)
    stores.places(tmp_path, config)[1].write_text("not a folder")
    done = sweep([config], store=tmp_path)
    assert done.computed == 1
    assert [p.read_text() for p in done.set_aside] == ["not a folder"]


def test_a_folder_of_other_settings_is_left_alone(tmp_path):
    config = RunConfig(units=8, steps=2, test_trials=16, dt=0.1)
    plain = tmp_path / stores.run_name(config)
    save_run(plain, run_one(config))
    other = config.replace(steps=3)
    done = sweep([other, config], store=tmp_path)
    assert (done.computed, done.reused, done.set_aside) == (1, 1, ())
    assert done.folders[config] == plain != done.folders[other]


# --- failures ------------------------------------------------------------------------------------


PARTS = ("weights", "lesions", "alignment")


@pytest.fixture(scope="module", params=[None, np.int64(2)], ids=["here", "two processes"])
def swept(request, tmp_path_factory):
    """Configurations of which one fails, what came of them, and the store."""
    # None needs scipy.stats, which each process would load.
    store, configs = tmp_path_factory.mktemp("store"), (DIVERGES, BASE, BASE.replace(seed=1))
    return configs, sweep(configs, request.param, store=store, parts=PARTS), store


def test_a_failed_run_is_recorded_and_stops_nothing(swept):
    configs, done, store = swept
    assert done.computed == 2
    assert list(done.failures) == [DIVERGES]
    assert "NonFiniteLoss: step 2" in done.failures[DIVERGES]
    folder = store / ".unfinished" / DIVERGES.key
    assert "NonFiniteLoss" in json.loads((folder / "error.json").read_text())["error"]
    assert stores.find(store, DIVERGES) is None
    again = sweep(configs, store=store)
    assert (again.computed, again.reused, len(again.failures)) == (0, 2, 1)


def test_a_run_that_succeeds_later_loses_its_error(tmp_path):
    (config,) = some_configs(1)
    with Work(tmp_path, config) as held:
        held.fail("out of memory")
    assert list(tmp_path.rglob("error.json"))
    folder = sweep([config], store=tmp_path).folders[config]
    assert list(tmp_path.iterdir()) == [folder] and not (folder / "error.json").exists()


def test_a_failing_sweep_leaves_the_result_of_another_alone(tmp_path, monkeypatch):
    """Another process stores the run between the moment it is begun and the moment it fails."""
    (config,), others = some_configs(1), tmp_path / "others"
    save_run(others, run_one(config))
    whole, place = contents(others), stores.places(tmp_path, config)[1]

    def fail(config, parts):
        others.rename(place)
        raise ZeroDivisionError

    monkeypatch.setattr(sweeps, "run_one", fail)
    done = sweep([config], store=tmp_path)
    assert "ZeroDivisionError" in done.failures[config]
    assert contents(place) == whole and stores.find(tmp_path, config) == place


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    configs, write = some_configs(3), stores.write_run

    def full(folder, result):
        if result.config == configs[2]:
            raise OSError(28, "No space left on device")
        write(folder, result)

    monkeypatch.setattr(stores, "write_run", full)
    with pytest.raises(SweepStopped) as error:
        sweep(configs, store=tmp_path)
    assert "No space left on device" in str(error.value) and "2 of 3 runs" in str(error.value)
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    done = sweep(configs, store=tmp_path)
    assert (done.computed, done.reused) == (1, 2)


def test_a_store_that_is_removed_is_not_made_again(tmp_path):
    store = tmp_path / "store"
    with pytest.raises(SweepStopped, match="No such file"):
        sweep(some_configs(3), store=store, progress=lambda event: shutil.rmtree(store))
    assert not store.exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes anywhere")
def test_a_store_that_cannot_be_written_to(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot hold results"):
        sweep(some_configs(1), store=tmp_path)


def test_a_run_that_another_process_computes_is_taken_when_it_is_there(tmp_path, monkeypatch):
    configs, looks = some_configs(3), []
    others = [Work(tmp_path, config) for config in configs[:2]]

    def other_process(seconds):
        """The first is published by its process; that of the second dies."""
        looks.append(seconds)
        if len(looks) == 2:
            made = others[0].new_run()
            stores.write_run(made, run_one(configs[0]))
            others[0].publish(made, stores.places(tmp_path, configs[0]))
            others[0].close()
        if len(looks) == 3:
            others[1].close()

    notes = []
    clock = SimpleNamespace(sleep=other_process, monotonic=time.monotonic)
    monkeypatch.setattr(jobs, "time", clock)
    done = sweep(configs, store=tmp_path, progress=notes.append)
    assert (done.computed, done.reused, len(done.load())) == (2, 1, 3)
    assert repr(done) == "Sweep(3 runs: 2 computed, 1 stored already, 0 failed)"
    said = [event.text for event in notes if event.kind == "note"]
    assert said == [f"is being computed by process {os.getpid()}; waiting for its result"] * 2


def test_a_store_that_is_a_file(tmp_path):
    path = tmp_path / "runs"
    path.write_text("something else")
    with pytest.raises(StoreError, match="cannot hold results"):
        sweep(some_configs(1), store=path)
    assert path.read_text() == "something else"


# --- executors -----------------------------------------------------------------------------------


class Breaking(Executor):
    """Computes in this process, and breaks when it is given a run of certain seeds."""

    def __init__(self, seeds):
        self.seeds, self.broken = seeds, False

    def submit(self, fn, /, *args):
        future = Future()
        if args[1]["seed"] in self.seeds:
            self.broken = True
        if self.broken:
            future.set_exception(BrokenExecutor("a worker was killed"))
        else:
            future.set_result(fn(*args))
        return future

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


def test_a_broken_executor_is_opened_again_for_what_is_missing(tmp_path):
    configs = [BASE.replace(seed=s) for s in range(4)]
    opened = []

    def open_one():
        opened.append(Breaking({1} if not opened else set()))
        return opened[-1]

    notes = []
    done = sweep(configs, Engine(open_one, 2, "the pool"), store=tmp_path,
                 progress=lambda e: notes.append(e.text))  # fmt: skip
    assert (done.computed, done.failures, len(opened)) == (4, {}, 2)
    assert any("the pool broke" in note for note in notes)


def test_a_run_that_kills_its_worker_twice_fails_alone(tmp_path):
    configs = [BASE.replace(seed=s) for s in range(4)]
    done = sweep(configs, Engine(lambda: Breaking({2}), 1, "the pool"), store=tmp_path)
    assert done.computed == 3
    assert list(done.failures) == [configs[2]]
    assert "twice" in done.failures[configs[2]]


class Losing(Breaking):
    """Loses a run once, without breaking: its future raises something of the executor's own."""

    def submit(self, fn, /, *args):
        if args[1]["seed"] in self.seeds:
            self.seeds.remove(args[1]["seed"])
            future = Future()
            future.set_exception(ValueError("too many values to unpack"))
            return future
        return super().submit(fn, *args)


@pytest.mark.parametrize("lost, failed", [([1, 2], []), ([1, 1, 2], [1])])
def test_a_run_that_its_executor_lost_is_tried_once_more(tmp_path, lost, failed):
    configs = [BASE.replace(seed=s) for s in range(4)]
    done = sweep(configs, Losing(list(lost)), store=tmp_path)
    assert [c.seed for c in done.failures] == failed
    assert done.computed == 4 - len(failed)
    assert all("too many values" in text and "twice" in text for text in done.failures.values())


def test_a_worker_of_another_version_says_so():
    text = work(EXPERIMENT_VERSION + 1, BASE.to_json(), parts=())
    assert f"version {EXPERIMENT_VERSION} of the experiment, not {EXPERIMENT_VERSION + 1}" in text


def test_an_executor_that_always_breaks_is_given_up(tmp_path):
    configs, opened = [BASE.replace(seed=s) for s in range(20)], []

    def open_one():
        opened.append(Breaking(range(20)))
        return opened[-1]

    done = sweep(configs, Engine(open_one, 1, "the pool"), store=tmp_path)
    assert (done.computed, len(done.failures), len(opened)) == (0, 20, 3)


def test_an_executor_that_breaks_again_and_again_goes_on_while_it_gives_results(tmp_path):
    class OnceEach(Breaking):
        def submit(self, fn, /, *args):
            if self.broken:
                raise BrokenExecutor
            future = super().submit(fn, *args)
            self.broken = True
            return future

    configs = [BASE.replace(seed=s) for s in range(5)]
    done = sweep(configs, Engine(lambda: OnceEach(set()), 1, "the pool"), store=tmp_path)
    assert (done.computed, done.failures) == (5, {})


def test_a_failure_is_told_when_it_happens(tmp_path):
    events = []
    sweep([DIVERGES, BASE], store=tmp_path, progress=events.append)
    assert [(e.kind, e.config) for e in events] == [("failed", DIVERGES), ("done", BASE)]
    # Of the parameters that training keeps nothing is said: a sweep does not store them.
    assert events[0].text == (
        "NonFiniteLoss: step 2: the gradient is not finite (a smaller learning rate may help)"
    )


def test_the_time_left_is_that_of_the_runs_that_are_computed(tmp_path, monkeypatch):
    configs = [BASE.replace(seed=s) for s in range(6)]
    sweep(configs[:3], store=tmp_path)
    clock, events = iter(range(0, 1000, 10)), []  # 10 s from each look at it to the next
    monkeypatch.setattr(jobs, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    sweep(configs, store=tmp_path, progress=events.append)
    # Three runs were stored and took no time: the others take 10 s each.
    assert [e.seconds_left for e in events if e.kind == "done"] == [20, 10, 0]


def test_processes_equal_one_process(swept):
    configs, done, _ = swept
    assert all(same(r, run_one(c, PARTS)) for c, r in zip(configs[1:], done.load(), strict=True))


def test_processes_have_one_blas_thread(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    with process_engine(2).open() as pool:
        threads = pool.submit(os.getenv, "OPENBLAS_NUM_THREADS").result()
    assert threads == "1"


def test_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with process_engine(1).open():
        assert os.environ["OPENBLAS_NUM_THREADS"] == os.environ["OMP_NUM_THREADS"] == "1"
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.slow
def test_a_killed_worker_is_replaced(tmp_path):
    import multiprocessing

    configs, killed = [BASE.replace(seed=s) for s in range(6)], []

    def kill_one(event):
        workers = multiprocessing.active_children()
        if event.kind == "done" and not killed and workers:
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)

    done = sweep(configs, process_engine(2), store=tmp_path, progress=kill_one)
    assert killed
    assert (done.computed, done.failures) == (6, {})


def test_a_number_is_a_number_of_processes():
    for number in (2, np.int64(2)):
        engine = make_engine(number)
        assert (engine.name, engine.slots, engine.local) == ("2 processes", 2, False)


class Client:
    """What a sweep uses of a Dask client."""

    asynchronous = False

    def get_executor(self):
        return Breaking(())


def test_a_dask_client_is_taken_as_well_as_its_executor(tmp_path):
    done = sweep(some_configs(2), Client(), store=tmp_path)
    assert (done.computed, done.failures) == (2, {})
    client = Client()
    client.asynchronous = True
    with pytest.raises(ValueError, match="executor: the Dask client is asynchronous"):
        make_engine(client)


WRONG_EXECUTORS = [
    ("two", "this str has no method submit"), (object(), "this object has no method submit"),
    (SimpleNamespace(map=map), "this SimpleNamespace has no method submit"),
    (0, "executor: must be an integer >= 1, got 0"), (2.5, "got 2.5"), (True, "got True"),
    (10**400, "executor"), (1j, "executor"),
]  # fmt: skip


@pytest.mark.parametrize("wrong, message", WRONG_EXECUTORS, ids=[m for _, m in WRONG_EXECUTORS])
def test_what_is_no_executor_is_refused_by_what_it_lacks(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message) as error:
        sweep(some_configs(1), wrong, store=tmp_path / "store")
    assert str(error.value).startswith("executor: ") and not (tmp_path / "store").exists()


def test_futures_of_another_kind_are_refused(tmp_path):
    pool = SimpleNamespace(submit=lambda *args: "a promise")
    with pytest.raises(ValueError, match=r"executor: .*must return a concurrent.*got str"):
        sweep(some_configs(1), pool, store=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_an_engine_that_cannot_be_opened_leaves_nothing(tmp_path):
    def refuse():
        raise ValueError("scheduler: cannot reach 'nowhere'")

    with pytest.raises(ValueError, match="cannot reach") as error:
        sweep(some_configs(1), Engine(refuse, 1, "the pool"), store=tmp_path / "a" / "store")
    assert not isinstance(error.value, StoreError) and not list(tmp_path.iterdir())


def test_an_engine_that_cannot_be_opened_again_stops_a_sweep_that_had_begun(tmp_path):
    configs, opened = [BASE.replace(seed=s) for s in range(3)], []

    def open_once():
        opened.append(Breaking({1}))
        if len(opened) == 2:
            raise ValueError("scheduler: cannot reach 'nowhere'")
        return opened[-1]

    with pytest.raises(SweepStopped, match=r"cannot reach .*; 1 of 3 runs are stored and stay"):
        sweep(configs, Engine(open_once, 1, "the pool"), store=tmp_path)
    assert sweep(configs, store=tmp_path).reused == 1


def test_a_silence_is_explained_and_ends_after_a_stated_time(tmp_path, monkeypatch):
    class Silent(Breaking):
        def submit(self, fn, /, *args):
            return Future()

    minutes, notes, whys = iter(range(0, 100)), [], ["", "", *["it has no workers"] * 20]
    monkeypatch.setattr(sweeps, "wait", lambda flying, **options: (set(), flying))
    monkeypatch.setattr(sweeps, "time", SimpleNamespace(monotonic=lambda: 60 * next(minutes)))
    engine = Engine(lambda: Silent(()), 1, "the pool", why_idle=lambda executor: whys.pop(0))
    with pytest.raises(SweepStopped, match="nothing was computed for 5 minutes: it has no workers"):
        sweep([BASE], engine, store=tmp_path, progress=lambda event: notes.append(event.text))
    assert notes == [
        "nothing is being computed: it has no workers; waiting for up to 5 minutes"
    ]
    assert 14 <= len(whys) <= 16  # from then on it was looked at every minute, for five


UNGUARDED = """
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tau_rnn import RunConfig, sweep
base = RunConfig(units=8, steps=6, batch=4, test_trials=16, dt=0.1)
own = ProcessPoolExecutor(2, mp_context=get_context("spawn")) if sys.argv[2] == "own" else 2
sweep([base.replace(seed=s) for s in range(3)], own, store=sys.argv[1])
"""


@pytest.mark.parametrize("executor", ["number", "own"])
def test_a_script_without_a_guard_is_told_what_it_needs(tmp_path, executor):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    command = [sys.executable, str(script), str(tmp_path / "store"), executor]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count('put the call under `if __name__ == "__main__":`') == 1
    assert done.stderr.count("Traceback") == 1 and "broke" not in done.stderr + done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["script.py"]


def test_an_exit_status_that_is_written_down_late_is_waited_for():
    class Late:  # the pool's thread has taken the status already: join returns at once
        def __init__(self, *statuses):
            self.statuses = [*statuses]

        def join(self, timeout):
            pass

        @property
        def exitcode(self):
            return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    for statuses, told in (((None, None, None, _UNGUARDED), True), ((None, None, None, 1), False)):
        assert was_unguarded(SimpleNamespace(_processes={1: Late(*statuses)})) is told


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "two", None, np.inf])
def test_workers_must_be_a_number_of_processes(wrong):
    with pytest.raises(ValueError, match="workers: must be an integer"):
        process_engine(wrong)


def test_dask_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"Dask is not installed; pip install"):
        sweep(some_configs(1), dask_engine("tcp://127.0.0.1:1"), store=tmp_path)


# --- killed and interrupted ----------------------------------------------------------------------

# SIGINT counts in it even where a shell started the tests in its background, which ignores it.
SCRIPT = """
import signal
import sys
from tau_rnn.experiment import RunConfig
from tau_rnn.experiment.executors import process_engine
from tau_rnn.experiment.sweeps import sweep

def show(event):
    print(event.kind, event.done, flush=True)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    base = RunConfig(units=8, steps=40, batch=4, test_trials=16, dt=0.1)
    workers, runs, long = map(int, sys.argv[2:])
    engine = process_engine(workers) if workers > 1 else None
    configs = [base.replace(seed=s, steps=10**7 if s and long else 40) for s in range(runs)]
    sweep(configs, engine, store=sys.argv[1], progress=show)
"""


def start_script(tmp_path, *arguments, **options):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def wait_for(process, line):
    for text in process.stdout:
        if text.strip() == line:
            return
    pytest.fail(f"the sweep ended before {line!r}")


def children_of(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(k) for k in path.read_text().split()] if path.exists() else []


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL and SIGINT as POSIX has them")
@pytest.mark.parametrize(
    "workers, how",
    [
        pytest.param(1, "SIGKILL", marks=pytest.mark.slow),  # quicker in test_unfinished.py
        (2, "SIGKILL"),
        pytest.param(2, "SIGINT", marks=pytest.mark.slow),
    ],
)
def test_a_sweep_that_was_stopped_goes_on(tmp_path, workers, how):
    store = tmp_path / "store"
    process = start_script(tmp_path, store, workers, 400, 0, stderr=subprocess.DEVNULL)
    wait_for(process, "done 3")
    workers_there = children_of(process.pid)
    process.send_signal(getattr(signal, how))
    process.wait(timeout=60)
    process.stdout.close()
    deadline = time.monotonic() + 30
    while any(map(alive, workers_there)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers_there)), "a worker outlived its sweep"
    complete = runs_in(store)
    assert len(complete) >= 3
    before = {p: contents(p) for p in complete}
    seeds = sorted(stores.stored_config(p).seed for p in complete)
    base = RunConfig(units=8, steps=40, batch=4, test_trials=16, dt=0.1)
    n = max(seeds) + 2
    done = sweep([base.replace(seed=s) for s in range(n)], store=store)
    assert done.reused == len([s for s in seeds if s < n])
    assert (done.computed, done.failures, done.set_aside) == (n - done.reused, {}, ())
    assert all(contents(p) == data for p, data in before.items())
    assert not list(store.rglob("*.part")) or how == "SIGKILL"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGINT as POSIX has it")
def test_an_interrupted_sweep_does_not_wait_for_its_runs(tmp_path):
    # All but the first run would take hours.
    process = start_script(tmp_path, tmp_path / "store", 2, 3, 1, stderr=subprocess.DEVNULL)
    wait_for(process, "done 1")
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=60)
    finally:
        process.kill()
        process.stdout.close()
    assert process.returncode not in (0, -signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_sweeps_on_one_store(tmp_path):
    store, long = tmp_path / "store", BASE.replace(steps=40, eval_every=20)
    configs = [long.replace(seed=s) for s in range(4)]
    running = [fork(lambda: sweep(configs, store=store) and 0) for _ in range(2)]
    assert [status_of(pid) for pid in running] == [0, 0]
    folders = list(store.iterdir())
    assert len(folders) == 4
    results = [load_run(p) for p in folders]
    assert sorted(r.config.seed for r in results) == list(range(4))
    assert same(results[0], run_one(results[0].config))


# --- the command ---------------------------------------------------------------------------------


def test_run_sweep_writes_its_report(tmp_path, capsys):
    configs = [*sweep_configs(BASE, ["vanilla", "uniform"], range(3), ["multi_timescale"],
                              ["matched"]), DIVERGES]  # fmt: skip
    lines = []
    status = run_sweep(configs, out=tmp_path, progress=lines.append, figures=False)
    assert status == 1  # one of them failed
    said = capsys.readouterr()
    assert "1 failed" in said.out and "NonFiniteLoss" in said.err
    assert lines[0].startswith("10 runs")
    with open(tmp_path / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["ok"] * 9 + ["failed"]
    results = {c.key: load_run(stores.find(tmp_path, c)) for c in configs[:-1]}
    for row in rows[:-1]:
        assert float(row["accuracy"]) == results[row["key"]].metrics["accuracy"]
        assert row["steps_to_criterion"] == ""  # six steps of training reach nothing
    assert "NonFiniteLoss" in rows[-1]["error"]
    with open(tmp_path / "effects.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert {r["condition"] for r in table} == {"vanilla", "uniform", "constant:0.61"}
    # Nothing is compared with the run that failed, and its own setting is another one.
    tested = [r for r in table if r["p_holm"]]
    assert all(float(r["p_holm"]) >= float(r["p"]) for r in tested)
    report = (tmp_path / "report.md").read_text()
    assert "9 of 10 runs are complete, 1 failed" in report
    assert "constant:0.61 has the mean leak rate of uniform: 1 / E[1/tau] = 1 / 1.6358" in report
    assert "units without an effective timescale, after" in report
    for words in ("shown once* something *is held*", "*shown in part*", "*not shown*", "`lr~tau`"):
        assert words in report


def test_runs_that_failed_are_missing_in_the_table_of_effects(tmp_path):
    configs = [BASE.replace(dist=d, seed=s) for s in range(3) for d in ("vanilla", "uniform")]
    done = sweep(configs, store=tmp_path)
    lost = configs[1]  # uniform, seed 0
    folders = {c: folder for c, folder in done.folders.items() if c != lost}
    done = done._replace(folders=folders, failures={lost: "its worker died"})
    write_tables(tmp_path, done, done.load())
    with open(tmp_path / "effects.csv", newline="") as file:
        missing = {(r["condition"], r["reference"]): r["missing"] for r in csv.DictReader(file)
                   if r["metric"] in ("weight_change", "tau_eff_spread")}  # fmt: skip
    assert missing == {("vanilla", "itself"): "0", ("uniform", "itself"): "1",
                       ("uniform", "vanilla"): "1"}  # fmt: skip
    assert "1 missing" in report_text(done, done.load())


def test_run_sweep_draws_and_is_silent_when_asked(tmp_path, capsys):
    configs = sweep_configs(BASE, ["vanilla", "uniform"], range(2),
                            ["multi_timescale", "integrate_and_remember"])  # fmt: skip
    assert run_sweep(configs, out=tmp_path, progress=None) == 0
    names = sorted(p.name for p in (tmp_path / "figures").iterdir())
    assert names == ["effects.png", "learning.png", "steps_to_criterion.png", "timescales.png",
                     "weight_change.png"]  # fmt: skip
    assert all(f"figures/{name}" in (tmp_path / "report.md").read_text() for name in names)
    assert capsys.readouterr().err == ""


def test_a_sweep_of_which_every_run_failed(tmp_path):
    """It leaves no effects of an earlier sweep in the store as if they were its own."""
    assert run_sweep([BASE], out=tmp_path, progress=None, figures=False) == 0
    before = (tmp_path / "effects.csv").read_text().splitlines()
    assert len(before) > 1
    assert run_sweep([DIVERGES], out=tmp_path, progress=None, figures=False) == 1
    assert (tmp_path / "effects.csv").read_text().splitlines() == before[:1]


def test_a_sweep_that_stops_after_it_had_begun_has_status_1(tmp_path, monkeypatch, capsys):
    write, configs = stores.write_run, some_configs(3)

    def full(folder, result):
        if result.config == configs[1]:
            raise OSError(28, "No space left on device")
        write(folder, result)

    def deleted(folder, result):
        shutil.rmtree(tmp_path / "deleted")
        write(folder, result)

    for name, fail in (("full", full), ("deleted", deleted)):
        with monkeypatch.context() as patched:
            patched.setattr(stores, "write_run", fail)
            assert run_sweep(configs, out=tmp_path / name, progress=None) == 1
            said = capsys.readouterr().err
            stored = 1 if name == "full" else 0
            assert said.count("\n") == 1 and f"{stored} of 3 runs are stored" in said


def test_a_report_that_cannot_be_written_has_status_1(tmp_path, monkeypatch, capsys):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tau_rnn.cli.sweep.write_tables", full)
    assert run_sweep(some_configs(1), out=tmp_path, progress=None, figures=False) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "No space left" in said and "runs are stored" in said
    assert len(runs_in(tmp_path)) == 1


def test_run_sweep_of_nothing(tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        run_sweep([], out=tmp_path)


# --- what is measured ----------------------------------------------------------------------------


def test_a_sweep_measures_what_it_is_asked_for(swept, tmp_path):
    config, result = swept[0][1], swept[1].load()[0]
    assert {"effective_rank", "lesion_slowest_0.5", "kernel_alignment"} <= set(result.metrics)
    assert not any(name.startswith("decode_") for name in result.metrics)
    shutil.copytree(swept[2], tmp_path, dirs_exist_ok=True)
    assert sweep([config], store=tmp_path, parts="rank").reused == 1  # it is taken as it is
    (again,) = sweep([config], store=tmp_path, parts="rank", force=True).load()
    assert "rank_needed" in again.metrics and "effective_rank" not in again.metrics


def test_a_part_that_does_not_exist_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="parts: unknown 'lesion'; did you mean 'lesions'"):
        sweep(some_configs(1), store=tmp_path / "store", parts=("lesion",))
    assert not (tmp_path / "store").exists()
