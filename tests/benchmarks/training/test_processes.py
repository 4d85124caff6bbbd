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
from benchmarks.paths import ROOT
from benchmarks.training.preemption import Preemption
from tests.helpers import quick_training
from tests.helpers.processes import environment, finish, reserve_port, wait_until

pytestmark = pytest.mark.usefixtures("standard_promotion")

# Five steps an epoch at one rate; a network of dense layers, for it compiles fast.
SETTINGS = [*quick_training.OPTIONS, "--model", "mlp", "--width", "8", "--milestones"]
MEASURED = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


def arguments(out, *options):
    return ["train", *SETTINGS, "--out", str(out), *options]


@pytest.fixture(scope="module")
def start_pair():
    """Start a command twice, as two processes; whatever happens, end them."""
    started = []

    def start(port, *command):
        words = [sys.executable, *command]
        pair = [
            subprocess.Popen(
                [*words, f"127.0.0.1:{port}", str(process)],
                env=environment(devices=4),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for process in range(2)
        ]
        started.extend(pair)
        return pair

    with reserve_port() as port:
        yield lambda *command: start(port, *command)
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def start(start_pair):
    """Start the program as two processes."""
    program = """
import sys
from benchmarks.__main__ import main

*arguments, address, process = sys.argv[1:]
several = ["--coordinator", address, "--num-processes", "2", "--process-id", process]
sys.exit(main([*arguments, *several]))
"""
    return lambda out, *options: start_pair("-c", program, *arguments(out, *options))


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


# Writes how many devices there are, and which rows of Adam's moments each device here
# keeps, before and after a step.
SHARES = """
import json, sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np, optax
from benchmarks.training import setup
from benchmarks.training.config import TrainConfig

folder, address, process = sys.argv[1:]
layout = setup.set_up_devices(
    TrainConfig(
        coordinator=address, num_processes=2, process_id=int(process),
        shard_optimizer=True,
    )
)
tx = optax.adam(0.1)
params = layout.replicate(jnp.zeros((64, 3)))
state = layout.init_opt_state(tx.init, params)

def rows(x):
    return [[*s.index[0].indices(64)[:2], s.data.nbytes] for s in x.addressable_shards]

before = rows(state[0].mu)
signs = jnp.where(jnp.arange(64)[:, None] % 2, 1.0, -1.0)
grads = layout.replicate(signs * jnp.ones(3))

def step(pair, grads):
    params, state = pair
    updates, state = tx.update(layout.scatter(grads), state, layout.scatter(params))
    params = layout.gather(optax.apply_updates(params, updates))
    return (params, state), jnp.zeros(())

(params, state), _ = layout.compile(step, (params, state), grads, donate=True)(
    (params, state), grads
)
values = np.asarray(params.addressable_shards[0].data)
found = [jax.device_count(), before, rows(state[0].nu), values.tolist()]
Path(folder, f"{process}.json").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_each_process_keeps_its_half_of_the_state(start_pair, tmp_path):
    finish_both(start_pair("-c", SHARES, str(tmp_path)))
    heard = [json.loads((tmp_path / f"{i}.json").read_text()) for i in range(2)]
    bytes_of_8_rows = 8 * 3 * 4
    for devices, *moments, values in heard:
        assert devices == 8
        for shares in moments:
            assert len(shares) == 4
            assert all(size == bytes_of_8_rows for *_, size in shares)
        # Adam's first step is the rate times the sign of the gradient.
        np.testing.assert_allclose(values[1::2], -0.1, rtol=1e-5)
        np.testing.assert_allclose(values[::2], 0.1, rtol=1e-5)
    for i in (1, 2):  # together they have each row once
        rows = sorted((low, high) for found in heard for low, high, _ in found[i])
        assert rows == [(x, x + 8) for x in range(0, 64, 8)]


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
