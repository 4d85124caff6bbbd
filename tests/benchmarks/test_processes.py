"""Two real processes with four devices each give the numbers of one device."""

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks.preemption import Preemption

pytestmark = pytest.mark.usefixtures("standard_promotion")

# Twenty steps at one rate; a network of dense layers, for it compiles fast.
SETTINGS = {
    "--model": "mlp",
    "--width": "8",
    "--epochs": "4",
    "--batch-size": "256",
    "--milestones": "",
}
OPTIMIZERS = ("padam", "amsgrad", "momentum", "lbfgs")
MEASURED = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
PATIENCE = 120
# The pieces of Gloo's only message, which come out one by one.
GLOO = (
    r"\[Gloo\]|Rank|is connected to|peer ranks\.|"
    r"Expected number of connected peer ranks is|:|\d+"
)


def arguments(out, *options):
    settings = [word for pair in SETTINGS.items() for word in pair if word]
    return ["train", *settings, "--out", str(out), *options]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Start two processes; whatever happens, end them."""
    started = []
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }

    def start(out, *options):
        with socket.create_server(("", 0)) as server:
            port = server.getsockname()[1]
        command = [sys.executable, "-m", "benchmarks", *arguments(out, *options)]
        command += ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2"]
        pair = [
            subprocess.Popen(
                [*command, "--process-id", str(process)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for process in range(2)
        ]
        started.extend(pair)
        return pair

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(pair, status=0):
    """Wait for both; return what each has written to stdout and stderr."""
    try:
        written = [process.communicate(timeout=PATIENCE) for process in pair]
    finally:
        for process in pair:
            process.kill()  # does nothing to one that has ended
    assert [process.returncode for process in pair] == [status] * 2, written
    return written


def run_here(out, *options, status=0):
    """Run the program in this process, which has eight devices."""
    assert program.main(arguments(out, *options)) == status


def read(folder, name):
    lines = (folder / f"{name}-seed0.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def assert_close(folder, expected, names=OPTIMIZERS, epochs=4):
    for name in names:
        found, wanted = read(folder, name), read(expected, name)
        assert [line["epoch"] for line in found] == list(range(1, epochs + 1))
        for key in MEASURED:
            np.testing.assert_allclose(
                [line[key] for line in found],
                [line[key] for line in wanted],
                rtol=1e-5,
                atol=1e-5,
                err_msg=f"{name}, {key}",
            )


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """The same runs on one device of this process."""
    folder = tmp_path_factory.mktemp("one") / "run"
    with jax.numpy_dtype_promotion("standard"):
        run_here(folder, "--devices", "1", "--optimizers", *OPTIMIZERS)
    for name in OPTIMIZERS:
        losses = [line["train_loss"] for line in read(folder, name)]
        assert len(losses) == 4
        assert losses[-1] < losses[0]
    return folder


@pytest.mark.parametrize(
    "options", [(), ("--shard-optimizer",), ("--parallel", "pmap")], ids=" ".join
)
def test_two_processes_give_the_numbers_of_one_device(
    start, one_device, tmp_path, options
):
    out = tmp_path / "run"
    (first, _), (second, _) = finish(start(out, "--optimizers", *OPTIMIZERS, *options))
    assert_close(out, one_device)
    devices = json.loads((out / "header.json").read_text())["devices"]
    assert (devices["count"], devices["processes"]) == (8, 2)
    assert f"records: {out}" in first
    # The second says nothing but for what the library of the collectives says, whose
    # threads write into each other's lines.
    assert re.sub(GLOO, "", second).split() == []


def test_a_run_moves_from_one_device_to_two_processes_and_on_to_two_devices(
    start, tmp_path, monkeypatch
):
    out, records = tmp_path / "run", tmp_path / "run" / "padam-seed0.jsonl"
    options = "--optimizers", "padam", "--epochs", "4000"

    def run_here_until(epoch, folder, *more):
        """Have the run stop as if SIGTERM had come in this epoch."""
        done = len(read(folder, "padam")) if folder.exists() else 0
        epochs = itertools.count(done + 1)
        with monkeypatch.context() as patch:
            patch.setattr(Preemption, "noted", lambda _: next(epochs) >= epoch)
            run_here(folder, *options, *more, status=143)

    run_here_until(2, out, "--devices", "1")
    assert len(read(out, "padam")) == 2
    pair = start(out, *options, "--shard-optimizer", "--resume")
    deadline = time.monotonic() + PATIENCE
    while len(records.read_text().splitlines()) < 4:
        assert all(process.poll() is None for process in pair), finish(pair)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Whichever of the two hears it, both save and end.
    pair[1].send_signal(signal.SIGTERM)
    began = time.monotonic()
    (_, heard), _ = finish(pair, status=143)
    assert time.monotonic() - began < 30
    assert "stopped by SIGTERM and saved" in heard
    done = len(read(out, "padam"))
    assert done >= 4
    run_here_until(done + 1, out, "--devices", "2", "--resume")
    run_here_until(done + 1, tmp_path / "one", "--devices", "1")
    assert_close(out, tmp_path / "one", ["padam"], done + 1)
