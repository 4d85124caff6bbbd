"""The roll call: everyone is there, or everyone hears in one line what is wrong."""

import asyncio
import json
import os
import queue
import socket
import subprocess
import sys
import threading

import jax
import pytest

from benchmarks.errors import UsageError
from benchmarks.training import distributed
from benchmarks.training.config import TrainConfig
from tests.helpers.processes import PATIENCE, reserve_port, wait_until


@pytest.fixture
def joined(monkeypatch):
    """The arguments with which jax.distributed was called."""
    calls = []
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda *given, **_: calls.append(given)
    )
    return calls


@pytest.fixture
def port():
    with reserve_port() as port:
        yield port


@pytest.fixture
def arrivals(monkeypatch):
    """The numbers of processes, as process 0 hears of them."""
    heard, find = queue.Queue(), distributed._find_difference

    def find_difference(number, *others):
        heard.put(number)
        return find(number, *others)

    monkeypatch.setattr(distributed, "_find_difference", find_difference)
    return heard


def next_of(arrivals):
    """Wait for the next process that process 0 hears of, and return its number."""
    try:
        return arrivals.get(timeout=PATIENCE)
    except queue.Empty:
        pytest.fail("process 0 heard of no other process")


def config(port, process, processes=2, timeout=PATIENCE, host="127.0.0.1", **settings):
    return TrainConfig(
        coordinator=f"{host}:{port}",
        num_processes=processes,
        process_id=process,
        timeout=timeout,
        **settings,
    )


def start(config):
    """Let a process join in a thread; return a function that waits for the result."""
    heard = []

    def join():
        try:
            distributed.join(config)
            heard.append("joined")
        except UsageError as error:
            heard.append(str(error))

    thread = threading.Thread(target=join, daemon=True)
    thread.start()

    def result():
        thread.join(PATIENCE)
        assert heard, "it still waits"
        return heard[0]

    return result


def all_join(*configs):
    return [result() for result in [start(config) for config in configs]]


def call(port):
    """Connect to process 0 as soon as it listens."""

    def connect():
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        except ConnectionRefusedError:
            return None

    return wait_until(connect)


def say_hello(port, process, processes):
    """Report as a process does; return the connection."""
    settings = distributed._shared_settings(config(port, process, processes))
    message = {"process_id": process, "settings": settings}
    connection = call(port)
    connection.sendall(json.dumps(message).encode() + b"\n")
    return connection


def hear(connection):
    with connection.makefile() as lines:
        return json.loads(lines.readline())


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_processes_join_in_any_order(port, joined, order):
    heard = all_join(*(config(port, process, 3) for process in order))
    assert heard == ["joined"] * 3
    expected = [(f"127.0.0.1:{port}", 3, process) for process in range(3)]
    assert sorted(joined, key=lambda given: given[2]) == expected


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_ipv6_address(port, joined):
    pair = (config(port, process, host="[::1]") for process in range(2))
    assert all_join(*pair) == ["joined"] * 2


def test_one_process_does_not_wait(port, joined):
    assert all_join(config(port, 0, 1)) == ["joined"]


def test_nothing_happens_without_a_coordinator(joined):
    distributed.join(TrainConfig())
    assert not joined


def test_unreachable_coordinator_is_named(port, joined):
    (heard,) = all_join(config(port, 1, timeout=1))
    assert f"127.0.0.1:{port}" in heard
    assert "--process-id 0" in heard
    assert not joined


def test_unknown_host_is_named(port):
    with pytest.raises(UsageError, match="no.such.host.invalid.*unknown"):
        distributed.join(config(port, 1, host="no.such.host.invalid"))


def test_all_hear_which_processes_are_missing(port, joined, arrivals, monkeypatch):
    time_is_up = threading.Event()

    async def wait_for(outcome, timeout):
        while not time_is_up.is_set():
            await asyncio.sleep(0.01)
        raise TimeoutError

    monkeypatch.setattr(asyncio, "wait_for", wait_for)
    results = [start(config(port, process, 4)) for process in (0, 2)]
    assert next_of(arrivals) == 2
    time_is_up.set()
    for result in results:
        assert result().endswith("have not come: [1, 3].")
    assert not joined


def test_two_processes_with_one_number(port, joined):
    first = start(config(port, 0, 3))
    with say_hello(port, 1, 3) as former:
        second = start(config(port, 1, 3))
        assert "--process-id 1" in hear(former)
    assert all_join(config(port, 2, 3)) == ["joined"]
    assert (first(), second()) == ("joined", "joined")


def test_two_first_processes(port, joined):
    first = start(config(port, 0))
    call(port).close()
    with pytest.raises(UsageError, match=f"port {port} .*--process-id 0"):
        distributed.join(config(port, 0))
    assert all_join(config(port, 1)) == ["joined"]
    assert first() == "joined"


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"processes": 2}, {"processes": 3}, "--num-processes 3, process 0 has 2"),
        ({"epochs": 4}, {"epochs": 5}, "--epochs 5, process 0 has 4"),
        ({}, {"shard_optimizer": True}, "--shard-optimizer True, process 0 has False"),
    ],
)
def test_different_settings_are_refused(port, joined, first, second, message):
    heard = all_join(config(port, 0, **first), config(port, 1, **second))
    assert all(f"process 1 has {message}" in line for line in heard)


def test_each_process_may_have_its_own_folders(port, joined, tmp_path):
    pair = config(port, 0), config(port, 1, data_dir=tmp_path, out=tmp_path / "o")
    assert all_join(*pair) == ["joined"] * 2


RUBBISH = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\n",
    b"\xff\xfe\n",
    b"5\n",
    b"null\n",
    b"[1, 2]\n",
    b'{"process_id": "1", "settings": {}}\n',
    b'{"process_id": 1, "settings": []}\n',
    b'{"process_id": 1}\n',
    b"[" * 60_000 + b"\n",
    b"x" * 200_000,
    b"half of a line",
]


def test_strangers_are_sent_away(port, joined):
    first = start(config(port, 0))
    for rubbish in RUBBISH:
        with call(port) as stranger:
            try:
                stranger.sendall(rubbish)
                stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(10) == b""
            except TimeoutError:
                raise
            except OSError:
                pass  # sent away while it spoke, or before it said that it had ended
    assert all_join(config(port, 1)) == ["joined"]
    assert first() == "joined"


def test_silent_stranger_does_not_keep_the_others_waiting(port, joined, caplog):
    first = start(config(port, 0))
    with call(port):
        assert all_join(config(port, 1)) == ["joined"]
        assert first() == "joined"
    assert not caplog.records


# "x1" is a process 1 that dies after it has reported.
@pytest.mark.parametrize("order", ["x1 2 1", "x1 1 2", "2 x1 1", "x2 x1 x2 1 2"])
def test_process_that_restarts_joins_in_any_order(port, joined, arrivals, order):
    results = [start(config(port, 0, 3))]
    for process in order.split():
        number = int(process[-1])
        if process[0] == "x":
            say_hello(port, number, 3).close()
        else:
            results.append(start(config(port, number, 3)))
        assert next_of(arrivals) == number
    assert [result() for result in results] == ["joined"] * 3


def test_process_waits_for_a_coordinator_that_restarts(port, joined):
    with socket.create_server(("127.0.0.1", port)) as former:
        second = start(config(port, 1))
        former.accept()[0].close()
    distributed.join(config(port, 0))
    assert second() == "joined"


def test_auto_reports_that_there_is_no_cluster(monkeypatch):
    def initialize(**_):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(UsageError, match="--coordinator auto .*coordinator_address"):
        distributed.join(TrainConfig(coordinator="auto"))


AUTO = """
import sys, jax
from benchmarks.training import distributed
from benchmarks.errors import UsageError
from benchmarks.training.config import TrainConfig
try: distributed.join(TrainConfig(coordinator="auto", timeout=60))
except UsageError as error: sys.exit(f"error: {error}")
print(jax.process_index(), jax.process_count())
"""


@pytest.mark.slow
@pytest.mark.parametrize("cluster", ["none", "slurm"])
def test_auto_finds_what_slurm_says(port, cluster):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "OMPI"))}
    environment = {**kept, "JAX_PLATFORMS": "cpu"}
    if cluster == "slurm":
        job = {"JOB_ID": "77", "NTASKS": "1", "PROCID": "0", "LOCALID": "0"}
        environment |= {f"SLURM_{name}": value for name, value in job.items()}
        environment |= {"SLURM_STEP_NODELIST": "localhost"}
        environment |= {"JAX_COORDINATOR_PORT": str(port)}
    done = subprocess.run(
        [sys.executable, "-c", AUTO], env=environment, capture_output=True, text=True
    )
    if cluster == "slurm":
        assert done.stdout.split() == ["0", "1"], done.stderr
    else:
        assert done.returncode == 1
        assert done.stderr.startswith("error: --coordinator auto")
        assert len(done.stderr.splitlines()) == 1
