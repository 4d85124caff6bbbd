"""Two real processes with four devices each give the numbers of one device."""

import itertools
import json
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks import run_dir
from benchmarks.training.preemption import Preemption
from tests.helpers.processes import environment, finish, reserve_port, wait_until

pytestmark = pytest.mark.usefixtures("standard_promotion")

# Five steps an epoch at one rate; a network of dense layers, for it compiles fast.
SETTINGS = ["--model", "mlp", "--width", "8", "--batch-size", "256", "--milestones"]
MEASURED = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


def arguments(out, *options):
    return ["train", *SETTINGS, "--out", str(out), *options]


@pytest.fixture(scope="module")
def start():
    """Start two processes; whatever happens, end them."""
    started = []

    def start(port, out, *options):
        command = [sys.executable, "-m", "benchmarks", *arguments(out, *options)]
        command += ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2"]
        pair = [
            subprocess.Popen(
                [*command, "--process-id", str(process)],
                env=environment(devices=4),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for process in range(2)
        ]
        started.extend(pair)
        return pair

    with reserve_port() as port:
        yield lambda *options: start(port, *options)
    for process in started:
        process.kill()
        process.communicate()


def finish_both(pair, status=0):
    """Wait for both; return what each has written to stdout and stderr."""
    ended = [finish(process) for process in pair]
    assert [found for found, *_ in ended] == [status] * 2, ended
    return [written for _, *written in ended]


def run_here(out, *options, status=0):
    """Run the program in this process, which has eight devices."""
    assert program.main(arguments(out, *options)) == status


def read(folder, name):
    return run_dir.read(folder / f"{name}-seed0.jsonl")


def assert_close(folder, expected, name, epochs):
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
    """Make the same run on one device of this process."""
    made = {}

    def run(name, epochs):
        if (name, epochs) not in made:
            folder = made[name, epochs] = tmp_path_factory.mktemp("one") / "run"
            one = "--devices", "1", "--epochs", str(epochs), "--optimizers", name
            with jax.numpy_dtype_promotion("standard"):
                run_here(folder, *one)
            losses = [line["train_loss"] for line in read(folder, name)]
            assert losses[-1] < losses[0]
        return made[name, epochs]

    return run


ALL = ("padam", "amsgrad", "momentum", "lbfgs")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "optimizers", "epochs"),
    [
        ("--shard-optimizer", ALL, 4),
        ("", ALL, 4),
        ("--parallel pmap", ALL, 4),
    ],
)
def test_two_processes_give_the_numbers_of_one_device(
    start, one_device, tmp_path, options, optimizers, epochs
):
    out = tmp_path / "run"
    more = *options.split(), "--epochs", str(epochs), "--optimizers", *optimizers
    (first, _), (second, _) = finish_both(start(out, *more))
    for name in optimizers:
        assert_close(out, one_device(name, epochs), name, epochs)
    devices = json.loads((out / "header.json").read_text())["devices"]
    assert (devices["count"], devices["processes"]) == (8, 2)
    assert f"records: {out}" in first
    assert "records:" not in second


@pytest.mark.slow
def test_a_run_moves_from_one_device_to_two_processes_and_on_to_two_devices(
    start, tmp_path, monkeypatch
):
    out, path = tmp_path / "run", tmp_path / "run" / "padam-seed0.jsonl"
    options = "--optimizers", "padam", "--epochs", "4000"

    def run_here_until(epoch, folder, *more):
        """Have the run stop as if SIGTERM had come in this epoch."""
        done = len(read(folder, "padam")) if folder.exists() else 0
        epochs = itertools.count(done + 1)
        with monkeypatch.context() as patch:
            patch.setattr(Preemption, "requested", lambda _: next(epochs) >= epoch)
            run_here(folder, *options, *more, status=143)

    run_here_until(2, out, "--devices", "1")
    assert len(read(out, "padam")) == 2
    pair = start(out, *options, "--shard-optimizer", "--resume")
    wait_until(lambda: len(run_dir.read(path)) >= 4, *pair)
    # Whichever of the two hears it, both save and end.
    pair[1].send_signal(signal.SIGTERM)
    (_, heard), _ = finish_both(pair, status=143)
    assert "stopped by SIGTERM and saved" in heard
    done = len(read(out, "padam"))
    assert done >= 4
    run_here_until(done + 1, out, "--devices", "2", "--resume")
    run_here_until(done + 1, tmp_path / "one", "--devices", "1")
    assert_close(out, tmp_path / "one", "padam", done + 1)
