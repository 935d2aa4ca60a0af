"""Unfinished runs: one process works on a run, and it appears whole or not at all."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from stored import TINY, contents, fork, killed_at, read_json, runs_in, same, status_of

from tau_rnn import run
from tau_rnn.experiment import (
    RunConfig,
    files,
    iterate,
    load_run,
    outcome,
    run_one,
    save_run,
    store,
    sweep,
    unfinished,
)
from tau_rnn.experiment.files import Held, Lock, StoreError
from tau_rnn.experiment.unfinished import Work, entry, set_aside, take_away

pytestmark = pytest.mark.usefixtures("few_measures")

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
OTHER = TINY.replace(lr=0.5)


@pytest.fixture(scope="module")
def results():
    return {config: run_one(config, parts=()) for config in (TINY, OTHER)}


def publish(work, result, *places, old=None):
    made = work.new_run()
    store.write_run(made, result)
    return work.publish(made, places, old)


# --- locks ---------------------------------------------------------------------------------------


def test_one_process_works_on_a_run_and_says_so(tmp_path):
    with Work(tmp_path, TINY) as work:
        assert work.folder == tmp_path / ".unfinished" / TINY.key
        with pytest.raises(Held, match=f"process {os.getpid()}"):
            Work(tmp_path, TINY)
        Work(tmp_path, OTHER).close()  # another run is free
    assert not list(tmp_path.iterdir())  # nothing was done
    Work(tmp_path, TINY).close()


@forks
def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path):
    def hold():
        Work(tmp_path, TINY)
        os.kill(os.getpid(), signal.SIGKILL)

    assert status_of(fork(hold)) == -signal.SIGKILL
    assert (tmp_path / ".unfinished" / TINY.key / "lock").exists()
    Work(tmp_path, TINY).close()
    assert not list(tmp_path.iterdir())


@forks
def test_a_forked_worker_does_not_hold_the_lock_of_its_parent(tmp_path):
    ready, done = os.pipe()

    def parent():
        Work(tmp_path, TINY)
        fork(lambda: time.sleep(60))  # and lives on
        os.write(done, b"x")
        os.kill(os.getpid(), signal.SIGKILL)

    pid = fork(parent)
    assert os.read(ready, 1) == b"x" and status_of(pid) == -signal.SIGKILL
    Work(tmp_path, TINY).close()


def test_a_lock_is_held_by_one_of_many(tmp_path):
    """Also while others remove the file, and its folder, under the hands of those who open it."""
    inside, most, taken = [], [], []

    def worker():
        while len(taken) < 50:
            try:
                with Work(tmp_path, TINY):
                    inside.append(1)
                    time.sleep(0)
                    most.append(len(inside))
                    taken.append(1)
                    inside.pop()
            except Held:
                pass

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) >= 50 and max(most) == 1
    assert not list(tmp_path.iterdir())


def test_without_locks_all_else_works(tmp_path, monkeypatch, results):
    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(files, "msvcrt", None)
    plain, keyed = store.places(tmp_path, TINY)
    with Work(tmp_path, TINY) as one, Work(tmp_path, TINY) as two:
        for work in (one, two):  # the second finds what the first has published
            assert publish(work, results[TINY], plain, keyed) == plain
            (tmp_path / ".unfinished" / TINY.key).mkdir(parents=True, exist_ok=True)
    assert runs_in(tmp_path) == [plain] and same(load_run(plain), results[TINY])


def test_a_file_system_without_locks_is_no_error(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(95, "Operation not supported")

    if files.fcntl is not None:
        monkeypatch.setattr(files.fcntl, "flock", refuse)
    Work(tmp_path, TINY).close()


def test_a_system_that_lacks_locks_signals_threads_and_fsync(tmp_path):
    script = Path(__file__).with_name("bare_system.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Continuing from step 3" in done.stdout
    assert len(runs_in(tmp_path)) == len(list(tmp_path.iterdir())) == 4


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        Work(tmp_path / "gone", TINY)
    assert not list(tmp_path.iterdir())


def test_the_lock_of_windows(tmp_path, monkeypatch):
    calls = []

    class Msvcrt:
        LK_NBLCK = 2

        @staticmethod
        def locking(descriptor, mode, n):
            calls.append((os.lseek(descriptor, 0, os.SEEK_CUR) >= 2**30, mode, n))
            if len(calls) == 2:
                raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(files, "msvcrt", Msvcrt)
    lock = Lock(tmp_path, Path("a", "lock"))
    with pytest.raises(Held, match=f"process {os.getpid()}"):
        Lock(tmp_path, Path("a", "lock"))
    lock.release()
    assert calls == [(True, 2, 1)] * 2 and not (tmp_path / "a" / "lock").exists()


# --- publishing ----------------------------------------------------------------------------------


def test_a_run_takes_its_plain_name_or_if_that_is_taken_its_name_and_key(tmp_path, results):
    plain, keyed = store.places(tmp_path, OTHER)
    with Work(tmp_path, TINY) as first, Work(tmp_path, OTHER) as second:
        assert publish(first, results[TINY], *store.places(tmp_path, TINY)) == plain
        assert publish(second, results[OTHER], plain, keyed) == keyed
    assert [load_run(f).config for f in (plain, keyed)] == [TINY, OTHER]
    assert sorted(p.name for p in tmp_path.iterdir()) == [plain.name, keyed.name]


def test_a_run_for_which_there_is_no_place_says_so(tmp_path, results):
    for place in store.places(tmp_path, TINY):
        place.mkdir()
        (place / "thesis.txt").write_text("years of work")
    before = contents(tmp_path)
    with Work(tmp_path, TINY) as work, pytest.raises(StoreError, match="something else is in"):
        publish(work, results[TINY], *store.places(tmp_path, TINY))
    Work(tmp_path, TINY).close()
    assert contents(tmp_path) == before


def test_an_empty_folder_is_in_nobodys_way(tmp_path, results):
    plain, keyed = store.places(tmp_path, TINY)
    plain.mkdir()
    with Work(tmp_path, TINY) as work:
        place = publish(work, results[TINY], plain, keyed)
    assert place == (plain if os.name == "posix" else keyed)


def test_what_is_replaced_is_what_was_there_and_nothing_else(tmp_path, results):
    plain, keyed = store.places(tmp_path, TINY)
    save_run(plain, results[OTHER])
    old = entry(plain)
    shutil.rmtree(plain)
    save_run(plain, results[OTHER]._replace(config=OTHER))  # another process puts its own there
    newer = contents(plain)
    with Work(tmp_path, TINY) as work:
        old = old._replace(identity=(-1, *old.identity[1:]))  # its number may be used again
        assert publish(work, results[TINY], plain, keyed, old=old) == keyed
    assert contents(plain) == newer
    with Work(tmp_path, TINY) as work:
        shutil.rmtree(keyed)
        assert publish(work, results[TINY], plain, keyed, old=entry(plain)) == plain
    assert runs_in(tmp_path) == [plain] and load_run(plain).config == TINY


def test_an_entry_that_is_gone_is_not_taken_away(tmp_path):
    (tmp_path / "a").mkdir()
    old = entry(tmp_path / "a")
    (tmp_path / "a").rmdir()
    assert not take_away(old, tmp_path / "b") and set_aside(old) is None
    assert not list(tmp_path.iterdir())


def test_a_rename_that_fails_puts_the_old_run_back(tmp_path, results, monkeypatch):
    plain, _ = store.places(tmp_path, TINY)
    save_run(plain, results[TINY])
    before, rename = contents(plain), os.rename

    def fail(a, b):
        if Path(a).name.startswith("run-") and not Path(b).exists():
            raise OSError(28, "No space left on device")
        rename(a, b)

    with Work(tmp_path, TINY) as work:
        monkeypatch.setattr(unfinished.os, "rename", fail)
        with pytest.raises(OSError, match="No space left"):
            publish(work, results[TINY], plain, old=entry(plain))
    assert contents(plain) == before


def test_windows_tries_again_while_a_file_is_open_elsewhere(tmp_path, results, monkeypatch):
    plain, _ = store.places(tmp_path, TINY)
    attempts, rename = [], os.rename

    def busy(a, b):
        attempts.append(b)
        if len(attempts) < 3:
            raise PermissionError(13, "Access is denied")
        rename(a, b)

    with Work(tmp_path, TINY) as work:
        made = work.new_run()
        store.write_run(made, results[TINY])
        with monkeypatch.context() as patched:
            patched.setattr(unfinished, "WAITS", (0, 0, 0))
            patched.setattr(unfinished.os, "rename", busy)
            with pytest.raises(PermissionError):  # elsewhere it is final
                unfinished._renamed(made, plain)
            patched.setattr(unfinished.os, "name", "nt")
            assert unfinished._renamed(made, plain)
    assert len(attempts) == 3 and load_run(plain).config == TINY


def test_the_next_that_takes_the_lock_cleans_up_and_no_one_else(tmp_path, results):
    plain, keyed = store.places(tmp_path, TINY)
    save_run(tmp_path / "somewhere", results[TINY])
    work = tmp_path / ".unfinished" / TINY.key
    (work / "run-1").mkdir(parents=True)
    (work / "run-1" / "final.npz").write_bytes(b"half")
    (work / ".checkpoint.npz.x1.part").write_bytes(b"half")
    (work / "checkpoint.npz").write_bytes(b"of a step")
    (tmp_path / "somewhere").rename(work / f"old-{plain.name}")
    left = contents(work)
    with Work(tmp_path, OTHER):
        assert contents(work) == left
    with Work(tmp_path, TINY):
        assert sorted(contents(work)) == ["checkpoint.npz", "lock"]
    assert same(load_run(plain), results[TINY])  # what was to be replaced is back
    assert contents(work) == {"checkpoint.npz": b"of a step"}
    # Where the new run is in its place, the old one goes.
    shutil.copytree(plain, work / f"old-{plain.name}")
    Work(tmp_path, TINY).close()
    assert sorted(contents(work)) == ["checkpoint.npz"] and runs_in(tmp_path) == [plain]


def test_a_failure_is_recorded_beside_the_work_and_a_success_removes_it(tmp_path, results):
    plain, keyed = store.places(tmp_path, TINY)
    with Work(tmp_path, TINY) as work:
        *_, state = iterate(TINY)
        work.save(state)
        work.fail("out of memory", results[TINY].initial)
    assert sorted(contents(work.folder)) == ["error.json", "last_good.npz"]
    assert read_json(work.folder / "error.json") == {"key": TINY.key, "error": "out of memory"}
    assert store.find(tmp_path, TINY) is None
    with Work(tmp_path, TINY) as work:
        publish(work, results[TINY], plain, keyed)
    assert [p.name for p in tmp_path.iterdir()] == [plain.name]


def test_save_run_replaces_a_run_and_nothing_else(tmp_path, results):
    folder = tmp_path / "deep" / "run"
    save_run(folder, results[TINY])
    save_run(str(folder), results[OTHER])
    assert load_run(folder).config == OTHER
    assert [p.name for p in folder.parent.iterdir()] == ["run"]
    (tmp_path / "file").write_text("text")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    before = contents(tmp_path)
    for path in (tmp_path / "file", tmp_path / "other", tmp_path / "file" / "below"):
        with pytest.raises(StoreError):
            save_run(path, results[TINY])
    assert contents(tmp_path) == before


# --- killed --------------------------------------------------------------------------------------

SMALL = ["--units", "4", "--steps", "4", "--batch", "2", "--dt", "0.1", "--no-figure", "--quiet"]
CONFIG = RunConfig(units=4, steps=4, batch=2, dt=0.1)
NAME = "multi_timescale-normal-seed0"
#: Numbers of kills: by default, and in the slow test.
KILLS = [
    pytest.param(range(3)),
    pytest.param(range(100, 140), marks=pytest.mark.slow),
]


def moments(seeds, last):
    """At which change of the file system each of the victims is killed."""
    return [int(np.random.default_rng(seed).integers(1, last)) for seed in seeds]


@pytest.fixture
def cheap(monkeypatch):
    """Measures that take no time: they are not what is tested here."""
    monkeypatch.setattr(outcome, "FULL_MEASURES", outcome.BASIC_MEASURES)


@pytest.fixture
def whole(tmp_path_factory, cheap):
    """What the command gives when nothing interrupts it."""
    out = tmp_path_factory.mktemp("whole")
    assert run.main([*SMALL, "--out", str(out)]) == 0
    return load_run(out / NAME)


@forks
@pytest.mark.parametrize("seeds", KILLS)
def test_runs_that_are_killed_go_on_bit_for_bit(tmp_path, whole, seeds):
    killed = 0
    for k, moment in enumerate(moments(seeds, 57)):
        out = tmp_path / str(k)
        command = [*SMALL, "--out", str(out), "--checkpoint-seconds", "0", "--resume"]
        status = killed_at(moment, run.main, command)
        killed += status == -signal.SIGKILL
        assert status in (0, -signal.SIGKILL)
        for folder in runs_in(out):  # what is there is whole
            assert same(load_run(folder), whole)
        assert status_of(fork(run.main, command)) == 0
        assert [p.name for p in out.iterdir()] == [NAME] and same(load_run(out / NAME), whole)
    assert killed >= len(seeds) / 2


@forks
@pytest.mark.parametrize("seeds", KILLS)
def test_a_writer_that_is_killed_while_it_replaces_a_run_loses_none(
    tmp_path, whole, results, seeds
):
    killed = 0
    for k, moment in enumerate(moments(seeds, 47)):
        out = tmp_path / str(k)
        save_run(out / NAME, results[TINY])
        save_run(out / "another", results[OTHER])
        another = contents(out / "another")
        command = [*SMALL, "--out", str(out), "--force"]
        status = killed_at(moment, run.main, command)
        killed += status == -signal.SIGKILL
        for folder in runs_in(out):
            assert any(same(load_run(folder), r) for r in (whole, *results.values()))
        old = list(out.glob(f".unfinished/*/old-{NAME}"))
        assert (out / NAME).exists() or same(load_run(old[0]), results[TINY])
        assert status_of(fork(run.main, command)) == 0
        assert sorted(p.name for p in out.iterdir()) == ["another", NAME]
        assert same(load_run(out / NAME), whole) and contents(out / "another") == another
    assert killed >= len(seeds) / 2


@forks
@pytest.mark.parametrize("seeds", KILLS)
def test_sweeps_that_are_killed_go_on_bit_for_bit(tmp_path, results, seeds):
    killed, configs = 0, list(results)
    for k, moment in enumerate(moments(seeds, 59)):
        out = tmp_path / str(k)
        status = killed_at(moment, lambda out=out: sweep(configs, store=out) and 0)
        killed += status == -signal.SIGKILL
        before = {folder: contents(folder) for folder in runs_in(out)}
        done = sweep(configs, store=out)
        assert (done.reused, done.set_aside, done.failures) == (len(before), (), {})
        assert all(contents(folder) == data for folder, data in before.items())
        assert sorted(out.iterdir()) == sorted(done.folders.values())
        for result in done.load():
            expected = results[result.config]
            assert all(np.array_equal(a, b) for a, b in zip(result.final, expected.final))
    assert killed >= len(seeds) / 2


# --- at once -------------------------------------------------------------------------------------


@forks
@pytest.mark.parametrize("pairs", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_pairs_of_different_runs_at_once_in_one_folder(tmp_path, pairs, cheap):
    rates = [("0.1", "0.2")] * pairs
    for k, pair in enumerate(rates):
        out = tmp_path / str(k)
        running = [fork(run.main, [*SMALL, "--lr", lr, "--out", str(out)]) for lr in pair]
        assert [status_of(pid) for pid in running] == [0, 0]
        found = {result.config.lr: result for result in map(load_run, runs_in(out))}
        assert sorted(found) == [0.1, 0.2] and not (out / ".unfinished").exists()
        assert NAME in {folder.name for folder in runs_in(out)}
