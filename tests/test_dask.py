"""Sweeps on a Dask cluster: real worker processes, one of them killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from stored import runs_in, same

from tau_rnn.cli.sweep import run_sweep
from tau_rnn.experiment import RunConfig, executors, sweeps
from tau_rnn.experiment.executors import dask_engine
from tau_rnn.experiment.jobs import SweepStopped
from tau_rnn.experiment.sweeps import sweep

distributed = pytest.importorskip("distributed")

BASE = RunConfig(units=8, steps=6, batch=4, test_trials=16, dt=0.1)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def test_a_cluster_gives_the_same_and_a_killed_worker_costs_nothing(cluster, tmp_path):
    configs = [
        BASE.replace(seed=s, dist=d, steps=20) for s in range(5) for d in ("vanilla", "uniform")
    ]
    with distributed.Client(cluster, set_as_default=False) as client:
        workers = client.run(os.getpid)
    killed, lost = [], []

    def kill_one(event):
        lost.extend([event.text] if event.kind in ("failed", "note") else [])
        if event.done == 3 and not killed:
            killed.append(next(iter(workers.values())))
            os.kill(killed[0], signal.SIGKILL)

    engine = dask_engine(cluster.scheduler_address)
    done = sweep(configs, engine, store=tmp_path / "there", progress=kill_one)
    assert killed
    assert (done.computed, done.failures, lost) == (10, {}, [])
    here = sweep(configs, store=tmp_path / "here")
    assert all(same(a, b) for a, b in zip(done.load(), here.load()))
    # It died mid-sweep: the scheduler has seen another worker process since.
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        assert killed[0] not in client.run(os.getpid).values()


def test_a_failed_run_comes_back_from_a_cluster(cluster, tmp_path):
    configs = [BASE.replace(lr=1e30), BASE.replace(seed=1)]
    done = sweep(configs, dask_engine(cluster.scheduler_address), store=tmp_path)
    assert done.computed == 1
    assert "NonFiniteLoss: step 2" in done.failures[configs[0]]


def test_the_command_takes_a_scheduler(cluster, tmp_path, capsys):
    configs = [BASE.replace(seed=s) for s in range(2)]
    status = run_sweep(configs, out=tmp_path, scheduler=cluster.scheduler_address, figures=False)
    assert status == 0
    assert "2 runs computed" in capsys.readouterr().out


def closed_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# 192.0.2.1 is kept for documentation (RFC 5737): packets to it get no answer at all.
@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "no-such-host.invalid"])
def test_a_scheduler_that_is_not_there(host, tmp_path):
    address = f"tcp://{host}:{closed_port()}"
    with pytest.raises(ValueError) as error:
        sweep([BASE], dask_engine(address), store=tmp_path)
    assert address in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("address", ["nonsense", "tcp://", "http://a:b:c", "ftp://127.0.0.1:1"])
def test_an_address_that_is_none(address, tmp_path):
    with pytest.raises(ValueError) as error:
        sweep([BASE], dask_engine(address), store=tmp_path)
    assert repr(address) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100), None])
def test_what_answers_is_no_scheduler(says, tmp_path, monkeypatch):
    """A server that is silent, that speaks another language, and one that hangs up."""
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 1.0)
    open_ones = []

    def serve():
        with contextlib.suppress(OSError):  # closed at the end of the test
            while True:
                there, _ = server.accept()
                if says is None:
                    there.close()
                    continue
                there.sendall(says)
                open_ones.append(there)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ValueError) as error:
            sweep([BASE], dask_engine(address), store=tmp_path)
    for there in open_ones:
        there.close()
    assert address in str(error.value) and "\n" not in str(error.value)
    assert "no Dask scheduler" in str(error.value) or says is None  # the words are Dask's then


def test_what_is_stored_needs_no_scheduler(tmp_path):
    sweep([BASE], store=tmp_path)
    done = sweep([BASE], dask_engine("tcp://127.0.0.1:1"), store=tmp_path)
    assert done.reused == 1


def test_a_client_is_taken_as_well_as_its_executor(cluster, tmp_path):
    configs = [BASE.replace(seed=s) for s in range(2)]
    with distributed.Client(cluster, set_as_default=False) as client:
        done = sweep(configs, client, store=tmp_path / "client")
        again = sweep(configs, client.get_executor(), store=tmp_path / "executor")
        assert client.status == "running"  # one that is given open stays open
    assert (done.computed, again.computed) == (2, 2)
    assert all(same(a, b) for a, b in zip(done.load(), again.load()))


# --- a scheduler in a process of its own ---------------------------------------------------------


def start(module, *arguments):
    command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments, "--no-dashboard"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def scheduler():
    """A scheduler's process and its address."""
    port = closed_port()
    address = f"tcp://127.0.0.1:{port}"
    process = start("dask_scheduler", "--host", "127.0.0.1", "--port", str(port))
    deadline = time.monotonic() + 60
    while executors._no_scheduler(address) and time.monotonic() < deadline:
        time.sleep(0.2)
    yield process, address
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


@pytest.fixture
def worker(scheduler):
    process = start("dask_worker", scheduler[1], "--no-nanny", "--nthreads", "1")
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(executors, "CONNECT_SECONDS", 2.0)
    monkeypatch.setattr(sweeps, "IDLE_LOOK", 1.0)
    monkeypatch.setattr(sweeps, "IDLE_LIMIT", 3.0)


MANY = [BASE.replace(seed=s, steps=60) for s in range(200)]


@pytest.mark.parametrize(
    "how, why",
    [("SIGKILL", "scheduler: cannot reach"), ("SIGSTOP", "the Dask scheduler has not answered")],
)
def test_a_scheduler_that_is_killed_or_stopped(
    scheduler, worker, impatient, tmp_path, capfd, how, why
):
    process, address = scheduler
    lines = []

    def strike(line):
        lines.append(line)
        if line.startswith("run "):
            process.send_signal(getattr(signal, how))

    status = run_sweep(MANY, out=tmp_path, scheduler=address, progress=strike, figures=False)
    said = capfd.readouterr()
    assert status == 1 and said.out == ""
    stored = len(runs_in(tmp_path))
    assert stored >= 1 and said.err.count("\n") == 1 and "Traceback" not in said.err
    assert why in said.err and f"{stored} of 200 runs are stored and stay" in said.err
    if how == "SIGSTOP":
        assert f"nothing is being computed: {why} for 2 s; waiting for up to 0.05 minutes" in lines
    assert sweep(MANY[:stored], store=tmp_path).reused >= 1


def test_a_scheduler_without_workers(scheduler, impatient, tmp_path):
    notes = []
    with pytest.raises(SweepStopped, match="the Dask scheduler has no workers; 0 of 200 runs"):
        sweep(MANY, dask_engine(scheduler[1]), store=tmp_path,
              progress=lambda event: notes.append(event.text))  # fmt: skip
    assert notes[0].startswith("nothing is being computed: the Dask scheduler has no workers")
    assert not list(tmp_path.iterdir())
