"""Sweeps on a Dask cluster: real worker processes, one of them killed."""

import contextlib
import gc
import os
import signal
import socket
import threading

import numpy as np
import pytest

from tau_rnn.cli.sweep import run_sweep
from tau_rnn.experiment import RunConfig, executors
from tau_rnn.experiment.executors import dask_engine
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


def same(a, b):
    drop = {"seconds": None}
    return (
        a.config == b.config
        and {**a.metrics, **drop} == {**b.metrics, **drop}
        and all(np.array_equal(x, y) for x, y in zip(a.final, b.final))
    )


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


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1:1"])
def test_a_client_that_did_not_connect_is_gone(address, tmp_path, monkeypatch):
    # A scheduler may answer the first question and be gone when the client comes.
    monkeypatch.setattr(executors, "_no_scheduler", lambda address: "")
    gc.collect()
    gc.disable()  # what is left then is left to a collection at any later time
    try:
        with pytest.raises(ValueError):
            sweep([BASE], dask_engine(address), store=tmp_path)
        left = [o for o in gc.get_objects() if type(o) is distributed.Client]
        assert not [client for client in left if client.status != "closed"]
    finally:
        gc.enable()


def test_what_is_stored_needs_no_scheduler(tmp_path):
    sweep([BASE], store=tmp_path)
    done = sweep([BASE], dask_engine("tcp://127.0.0.1:1"), store=tmp_path)
    assert done.reused == 1


def test_a_scheduler_that_dies_loses_nothing(tmp_path):
    configs = [BASE.replace(seed=s, steps=60) for s in range(30)]
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    )

    def stop(event):
        if event.kind == "done" and event.done == 2:
            cluster.close()

    with pytest.raises(ValueError, match="scheduler: cannot reach"):
        sweep(configs, dask_engine(cluster.scheduler_address), store=tmp_path, progress=stop)
    done = sweep(configs[:4], store=tmp_path)
    assert done.reused >= 2
    assert len(done.folders) == 4
