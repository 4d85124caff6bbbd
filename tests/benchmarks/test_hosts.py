"""The roll call: everyone is there, or everyone hears in one line what is wrong."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import jax
import pytest

from benchmarks import hosts
from benchmarks.config import TrainConfig, UsageError


@pytest.fixture
def joined(monkeypatch):
    """What jax.distributed would have been told, by whom."""
    calls = []
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda *given, **_: calls.append(given)
    )
    return calls


@pytest.fixture
def port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def config(port, process, processes=2, timeout=20, host="127.0.0.1", **settings):
    return TrainConfig(
        coordinator=f"{host}:{port}",
        num_processes=processes,
        process_id=process,
        timeout=timeout,
        **settings,
    )


def start(*configs):
    """Let each join in a thread; return the threads and what each has heard."""
    heard = {}

    def join(key, config):
        try:
            hosts.join(config)
            heard[key] = "joined"
        except UsageError as error:
            heard[key] = str(error)

    threads = [
        threading.Thread(target=join, args=arguments, daemon=True)
        for arguments in enumerate(configs)
    ]
    for thread in threads:
        thread.start()
    return threads, heard


def all_join(*configs):
    threads, heard = start(*configs)
    for thread in threads:
        thread.join(30)
    assert len(heard) == len(configs), "somebody still waits"
    return [heard[key] for key in range(len(configs))]


def call(port):
    """Connect to the first process as soon as it listens."""
    for _ in range(500):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise AssertionError("nobody listens")


def test_all_join_whoever_comes_first(port, joined):
    order = (2, 0, 1)
    heard = all_join(*(config(port, process, 3) for process in order))
    assert heard == ["joined"] * 3
    expected = [(f"127.0.0.1:{port}", 3, process) for process in range(3)]
    assert sorted(joined, key=lambda given: given[2]) == expected


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_the_address_may_be_one_of_ipv6(port, joined):
    pair = (config(port, process, host="[::1]") for process in range(2))
    assert all_join(*pair) == ["joined"] * 2


def test_a_process_alone_waits_for_nobody(port, joined):
    assert all_join(config(port, 0, 1)) == ["joined"]


def test_nothing_happens_without_a_coordinator(joined):
    hosts.join(TrainConfig())
    assert not joined


def test_an_unreachable_coordinator_is_named_after_the_timeout(port, joined):
    began = time.monotonic()
    (heard,) = all_join(config(port, 1, timeout=1))
    assert 1 <= time.monotonic() - began < 5
    assert f"127.0.0.1:{port} did not answer within 1 seconds" in heard
    assert "--process-id 0" in heard
    assert not joined


def test_a_coordinator_that_does_not_exist_is_an_error_at_once(port):
    with pytest.raises(UsageError, match="host is unknown"):
        hosts.join(config(port, 1, host="no.such.host.invalid"))


def test_whoever_has_come_hears_who_is_missing(port, joined):
    heard = all_join(config(port, 0, 4, timeout=2), config(port, 2, 4))
    for message in heard:
        assert "after 2 seconds these of the 4 processes have not come" in message
        assert message.endswith("[1, 3].")
    assert not joined


def test_two_processes_with_one_number_are_refused(port, joined):
    heard = all_join(*(config(port, process, 3) for process in (0, 1, 1)))
    assert all("two processes have --process-id 1" in message for message in heard)


def test_two_first_processes_are_refused(port, joined):
    threads, heard = start(config(port, 0, timeout=2))
    call(port).close()
    with pytest.raises(UsageError, match=f"port {port} cannot be opened.*--process-id"):
        hosts.join(config(port, 0))
    threads[0].join(10)
    assert "have not come: [1]" in heard[0]


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


def test_strangers_are_sent_away_and_disturb_nobody(port, joined):
    threads, heard = start(config(port, 0))
    for rubbish in RUBBISH:
        with call(port) as stranger:
            try:
                stranger.sendall(rubbish)
                stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(10) == b""
            except ConnectionError:
                pass  # sent away while it spoke
    assert all_join(config(port, 1)) == ["joined"]
    threads[0].join(10)
    assert heard == {0: "joined"}


def test_a_silent_stranger_does_not_keep_the_others_waiting(port, joined):
    threads, heard = start(config(port, 0))
    with call(port):
        assert all_join(config(port, 1)) == ["joined"]
    threads[0].join(10)
    assert heard == {0: "joined"}


def test_a_message_may_come_in_pieces(port, joined):
    threads, heard = start(config(port, 0))
    second = config(port, 1)
    message = {"process_id": 1, "settings": hosts._shared_settings(second)}
    line = json.dumps(message).encode() + b"\n"
    with call(port) as slow:
        for byte in range(0, len(line), 100):
            slow.sendall(line[byte : byte + 100])
        assert json.loads(slow.makefile().readline()) == ""
    threads[0].join(10)
    assert heard == {0: "joined"}


def test_a_process_that_was_started_again_takes_its_place(port, joined):
    threads, heard = start(config(port, 0, 3))
    message = {"process_id": 1, "settings": hosts._shared_settings(config(port, 1, 3))}
    with call(port) as former:
        former.sendall(json.dumps(message).encode() + b"\n")
    assert all_join(config(port, 1, 3), config(port, 2, 3)) == ["joined"] * 2
    threads[0].join(10)
    assert heard == {0: "joined"}


def test_a_process_waits_for_a_coordinator_that_is_started_again(port, joined):
    with socket.create_server(("127.0.0.1", port)) as former:
        threads, heard = start(config(port, 1))
        former.accept()[0].close()
    hosts.join(config(port, 0))
    threads[0].join(10)
    assert heard == {0: "joined"}


def program(*arguments, **environment):
    """Start a program that joins and says what JAX knows then."""
    code = (
        "import sys, jax\n"
        "from benchmarks import hosts\n"
        "from benchmarks.config import TrainConfig, UsageError\n"
        "try: hosts.join(TrainConfig(coordinator='auto', timeout=5))\n"
        "except UsageError as error: sys.exit(f'error: {error}')\n"
        "print(jax.process_index(), jax.process_count())\n"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "OMPI"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_auto_needs_a_cluster():
    result = program()
    assert result.returncode == 1
    assert result.stderr.startswith("error: --coordinator auto found no cluster")
    assert len(result.stderr.splitlines()) == 1


def test_auto_finds_what_slurm_says(port):
    result = program(
        SLURM_JOB_ID="77",
        SLURM_NTASKS="1",
        SLURM_PROCID="0",
        SLURM_LOCALID="0",
        SLURM_STEP_NODELIST="localhost",
        JAX_COORDINATOR_PORT=str(port),
    )
    assert result.stdout.split() == ["0", "1"], result.stderr
