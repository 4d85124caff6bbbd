"""Runs that are killed, stopped or starved go on as if nothing had happened."""

import functools
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from benchmarks import data, run_dir
from benchmarks.__main__ import main
from benchmarks.data.preprocessing import Pixels
from benchmarks.paths import ROOT
from benchmarks.reporting.plots import curves as drawings
from benchmarks.training import epochs as epoch_runners
from tests.helpers import processes, quick_training

pytestmark = [
    pytest.mark.usefixtures("standard_promotion"),
    pytest.mark.filterwarnings("ignore:Sharding info not provided"),
]

EPOCHS = 14
# Padam's state has a maximum, Santa's a counter of random numbers, the network running
# statistics.
SETTINGS = [*quick_training.OPTIONS, "--epochs", str(EPOCHS)]
SETTINGS += ["--optimizers", "padam", "santa-sss"]
KEPT = ("nu_max", "thermostat", "count", "mean")
SMALL = ["--model", "logistic", "--batch-size", "256", "--epochs", "4"]
SMALL += ["--optimizers", "padam"]
NEVER = ["--checkpoint-seconds", "1e6"]
ALWAYS = ["--checkpoint-seconds", "0"]


def command(out, *options):
    return ["train", *options, "--out", str(out), "--resume"]


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Leave out what takes longer than the training."""
    monkeypatch.setattr(drawings, "draw_curves", lambda *_: None)


def start(out, cache, *options):
    """Start the program; what it compiles is taken from the cache if it is there."""
    return popen(
        [sys.executable, "-m", "benchmarks", *command(out, *options)],
        processes.environment()
        | {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
    )


def popen(words, environment=None):
    return subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Return its exit status and what it wrote to stderr."""
    status, _, errors = processes.finish(process)
    return status, errors


def wait_until(process, condition):
    processes.wait_until(condition, process)


def kill(process):
    process.kill()
    assert finish(process)[0] == -signal.SIGKILL


def size(out):
    """Count the lines of all records."""
    return sum(path.read_bytes().count(b"\n") for path in out.glob("*.jsonl"))


def records(out):
    """Read all records, but for what no two runs share."""
    return {
        path.name: [
            {**json.loads(line), "seconds": None}
            for line in path.read_text().splitlines()
        ]
        for path in out.glob("*.jsonl")
    }


def checkpoints(out):
    """List the checkpoints of each run by their steps."""
    return {
        folder.name: sorted(int(path.name) for path in folder.iterdir())
        for folder in (out / "checkpoints").iterdir()
    }


def under_way(out):
    """Return the file to which the next record would be appended."""
    first, second = (out / f"{name}-seed0.jsonl" for name in ("padam", "santa-sss"))
    return second if first.read_bytes().count(b"\n") == EPOCHS else first


def saving(out):
    return list(out.glob("checkpoints/*/*.orbax-checkpoint-tmp"))


def last_arrays(out):
    """Read the last checkpoint of each run as bytes, without the code under test."""
    found = {}
    for run, steps in checkpoints(out).items():
        tree = ocp.load(out / "checkpoints" / run / str(steps[-1]))
        for path, x in jax.tree.leaves_with_path(tree):
            if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key):
                x = jax.random.key_data(x)
            x = np.asarray(x)
            name = jax.tree_util.keystr(path)
            found[run, steps[-1], name] = (str(x.dtype), x.shape, x.tobytes())
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, cache):
    """The folder of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert finish(start(out, cache, *SETTINGS, *ALWAYS)) == (0, "")
    assert [len(lines) for lines in records(out).values()] == [EPOCHS, EPOCHS]
    return out


def assert_same(out, whole):
    assert records(out) == records(whole)
    assert checkpoints(out) == checkpoints(whole)
    arrays = last_arrays(whole)
    names = [name for *_, name in arrays]
    assert all(any(f"'{part}'" in name for name in names) for part in KEPT)
    assert last_arrays(out) == arrays


@pytest.mark.slow
def test_without_checkpoints_a_run_begins_anew_and_finished_ones_stay(tmp_path):
    options = [*SMALL, "sgd", "--keep", "0", "--devices", "1"]
    assert main(command(tmp_path, *options)) == 0
    whole = records(tmp_path)
    assert not (tmp_path / "checkpoints").exists()
    finished, cut = (tmp_path / f"{name}-seed0.jsonl" for name in ("padam", "sgd"))
    before = finished.read_text()
    cut.write_text("".join(cut.read_text().splitlines(keepends=True)[:2]))
    assert main(command(tmp_path, *options)) == 0
    assert records(tmp_path) == whole
    assert finished.read_text() == before


@pytest.mark.slow
def test_run_killed_again_and_again_is_the_run_that_was_not(tmp_path, cache, whole):
    moments = ["record"] * 6 + ["record, half written"] * 2 + ["save"] * 2
    rng = random.Random(0)
    rng.shuffle(moments)
    moments = ["folder", "start", *moments]
    lines = [line for path in whole.glob("*.jsonl") for line in path.open()]
    epoch = statistics.median(json.loads(line)["seconds"] for line in lines)
    out = tmp_path / "run"
    sizes = []
    for moment in moments:
        process = start(out, cache, *SETTINGS, *ALWAYS)
        before = size(out)
        if moment == "folder":
            wait_until(process, out.exists)
        elif moment == "start":
            time.sleep(rng.uniform(0.5, 2))
        elif moment == "save":
            seen = False
            wait_until(process, lambda before=before: size(out) > before)
            while not seen:
                wait_until(process, lambda: saving(out))
                process.send_signal(signal.SIGSTOP)
                os.waitpid(process.pid, os.WUNTRACED)
                seen = bool(saving(out))  # and nothing can end it any more
                if not seen:
                    process.send_signal(signal.SIGCONT)
        else:
            wait_until(process, lambda before=before: size(out) > before)
            # Anywhere in an epoch; but if epochs are faster now than those timed above,
            # two of them at most, or the run would end before the last kill.
            end = time.monotonic() + rng.uniform(0, 1.5 * epoch)
            while time.monotonic() < end and size(out) < before + 3:
                time.sleep(0.005)
        kill(process)
        if moment == "save":
            assert saving(out)
        if moment == "record, half written":
            with under_way(out).open("a") as file:
                file.write('{"run": "pad')
        sizes.append(size(out))
    assert len(moments) == 12
    assert 0 < sizes[2] < sizes[-1] < 2 * EPOCHS  # every kill fell into the run
    assert finish(start(out, cache, *SETTINGS, *ALWAYS)) == (0, "")
    assert_same(out, whole)


@pytest.mark.slow
def test_sigterm_saves_and_exits_and_the_run_goes_on(tmp_path, cache, whole):
    out = tmp_path / "run"
    process = start(out, cache, *SETTINGS, *NEVER)
    wait_until(process, lambda: size(out) >= EPOCHS + 2)
    process.terminate()
    status, errors = finish(process)
    assert status == 143
    epoch = size(out) - EPOCHS
    assert errors == (
        f"stopped by SIGTERM and saved: santa-sss, seed 0, after epoch {epoch}. The "
        f"same command with --out {out} --resume continues.\n"
    )
    steps = records(out)["santa-sss-seed0.jsonl"][-1]["step"]
    assert checkpoints(out)["santa-sss-seed0"] == [steps]
    written = (out / "santa-sss-seed0.jsonl").read_text()
    assert finish(start(out, cache, *SETTINGS, *NEVER)) == (0, "")
    assert (out / "santa-sss-seed0.jsonl").read_text().startswith(written)
    assert records(out) == records(whole)
    assert last_arrays(out) == last_arrays(whole)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_full_disk_ends_the_run_and_leaves_the_last_checkpoint(tmp_path, cache, whole):
    out = tmp_path / "run"
    process = start(out, cache, *SETTINGS, *ALWAYS)
    wait_until(process, lambda: size(out) >= 3)
    # Records are smaller, checkpoints greater.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
    status, errors = finish(process)
    assert status == 2
    assert errors.startswith(f"error: a checkpoint cannot be written to {out}")
    assert "free some disk space, then resume with --resume" in errors
    assert errors.count("\n") == 1
    assert size(out) < EPOCHS
    assert checkpoints_that_can_be_read(out)
    assert finish(start(out, cache, *SETTINGS, *ALWAYS)) == (0, "")
    assert_same(out, whole)


def checkpoints_that_can_be_read(out):
    """Read all that is not marked as unfinished."""
    folders = [path for path in out.glob("checkpoints/*/*") if path.name.isdecimal()]
    return [ocp.load(path) for path in folders]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_records_that_do_not_fit_the_disk_end_the_run(tmp_path, cache, whole):
    out = tmp_path / "run"
    process = start(out, cache, *SETTINGS, *NEVER)
    wait_until(process, lambda: size(out) >= 2)
    path = out / "padam-seed0.jsonl"
    limit = path.stat().st_size + 10
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    status, errors = finish(process)
    assert status == 2
    assert errors.startswith(f"error: {path} cannot be written (File too large)")
    assert errors.count("\n") == 1
    written = path.read_text().splitlines()[:2]
    expected = records(whole)[path.name][:2]
    assert [{**json.loads(line), "seconds": None} for line in written] == expected


# A run that kills itself: before the third record, within it, or within a save.
SUICIDE = """
import os, signal, sys
from benchmarks import run_dir
from benchmarks.__main__ import main
from benchmarks.training.checkpoints import Checkpoints

moment = sys.argv.pop(1)
append, save, calls = run_dir.append, Checkpoints.save, []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dying_append(path, record):
    calls.append(path)
    if moment == "record" and len(calls) == 3:
        die()
    append(path, record)
    if moment == "half a record" and len(calls) == 2:
        with path.open("a") as file:
            file.write('{"run": "pad')
        die()

def dying_save(*arguments):
    save(*arguments)
    if moment == "save" and len(calls) == 2:
        die()

run_dir.append, Checkpoints.save = dying_append, dying_save
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["save", "record", "half a record"])
def test_killed_run_is_the_run_that_was_not(tmp_path, finished, moment):
    out = tmp_path / "run"
    words = [sys.executable, "-c", SUICIDE, moment, *command(out, *SMALL, *ALWAYS)]
    assert finish(popen(words))[0] == -signal.SIGKILL
    assert size(out) == 2
    assert main(command(out, *SMALL, *ALWAYS)) == 0
    assert records(out) == records(finished)
    last = last_arrays(out)
    assert last == {key: last_arrays(finished)[key] for key in last}


@pytest.mark.slow
def test_finished_run_deletes_the_checkpoint_that_a_kill_left(tmp_path, finished):
    out = shutil.copytree(finished, tmp_path / "run")
    assert checkpoints(out) == {"padam-seed0": [20]}
    folder = out / "checkpoints" / "padam-seed0"
    for step in ("10", "15"):
        shutil.copytree(folder / "20", folder / step)
        (folder / step / "metrics" / "metrics").write_text('{"accuracy": 0.0}')
    assert main(command(out, *SMALL)) == 0
    assert checkpoints(out) == {"padam-seed0": [15, 20]}


def stop_after(monkeypatch, count):
    """Send SIGTERM once this many records are written."""
    append, calls = run_dir.append, []

    def append_and_stop(path, record):
        append(path, record)
        calls.append(path)
        if len(calls) == count:
            terminate()

    monkeypatch.setattr(run_dir, "append", append_and_stop)


def test_sigterm_saves_between_epochs(tmp_path, finished, monkeypatch, capsys):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert main(command(out, *SMALL, *NEVER)) == 143
    error = capsys.readouterr().err
    assert f"--out {out} --resume" in error
    assert error.count("\n") == 1
    # The next epoch was under way, and is the last of which there is a record.
    assert size(out) == 3
    steps = records(out)["padam-seed0.jsonl"][-1]["step"]
    assert checkpoints(out) == {"padam-seed0": [steps]}
    assert main(command(out, *SMALL, *NEVER)) == 0
    assert records(out) == records(finished)
    assert last_arrays(out) == last_arrays(finished)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that is whole, and one that was stopped; both on one device."""
    folder = tmp_path_factory.mktemp("devices")
    whole, stopped = folder / "whole", folder / "stopped"
    one = [*SMALL, "--devices", "1"]
    with jax.numpy_dtype_promotion("standard"), pytest.MonkeyPatch.context() as patch:
        assert main(command(whole, *one)) == 0
        stop_after(patch, 1)
        assert main(command(stopped, *one, *NEVER)) == 143
    assert 1 <= size(stopped) < 4
    return whole, stopped


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [
        pytest.param([], marks=pytest.mark.slow),
        ["--shard-optimizer"],
        pytest.param(["--parallel", "pmap"], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_run_goes_on_on_other_devices(tmp_path, stopped, where):
    whole, part = stopped
    out = tmp_path / "run"
    shutil.copytree(part, out)
    assert jax.device_count() == 8
    assert main(command(out, *SMALL, *where)) == 0
    before = (part / "padam-seed0.jsonl").read_text()
    assert (out / "padam-seed0.jsonl").read_text().startswith(before)
    expected = records(whole)["padam-seed0.jsonl"]
    for found, wanted in zip(records(out)["padam-seed0.jsonl"], expected, strict=True):
        assert found["step"] == wanted["step"]
        for name in ("train_loss", "test_loss"):
            assert found[name] == pytest.approx(wanted[name], rel=1e-4)


IMAGES = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
LABELS = np.arange(60, dtype=np.int32) % 3


@dataclass(frozen=True)
class Stream(data.Stream):
    """Forty images in an order that step and seed determine; then something happens."""

    threads: int = 0
    last: int = -1
    happens: object = None

    def train_batches(self, batch_size, seed, first_step, shard):
        step = first_step
        while True:
            if step == self.last:
                self.happens()
            rows = np.random.default_rng([seed, step]).permutation(40)[:batch_size]
            yield data.Split(IMAGES[rows], LABELS[rows])
            step += 1

    def test_batches(self, batch_size, shard):
        rows = np.arange(40, 64).reshape(-1, batch_size)
        for row in rows:
            index = np.minimum(row, 59)
            yield data.Split(IMAGES[index], LABELS[index]), row < 60


def interrupt():
    raise KeyboardInterrupt


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def train_on_stream(out, options, last=-1, happens=None):
    """Train on a stream of five steps an epoch; after 2 and 4 it may be saved."""
    made = Stream(Pixels((0.5,), (0.25,), 0, False), last=last, happens=happens)
    source = data.Source(
        "fake", 40, 20, (4, 4, 1), 3, "images", lambda: made, resident=False
    )
    settings = ["--batch-size", "8", "--epochs", "3", "--model", "logistic"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epoch_runners, "PAUSE", 2)
        patch.setattr("benchmarks.data.selection.find", lambda *_: source)
        status = main(command(out, *settings, "--optimizers", "padam", *options))
    return status, out


@pytest.fixture
def stream(tmp_path):
    return functools.partial(train_on_stream, tmp_path / "run")


@pytest.fixture(scope="module")
def whole_stream(tmp_path_factory):
    out = tmp_path_factory.mktemp("stream") / "run"
    with jax.numpy_dtype_promotion("standard"):
        assert train_on_stream(out, NEVER) == (0, out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    "last",
    [
        4,
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(8, marks=pytest.mark.slow),
    ],
)
def test_stream_cut_off_within_an_epoch_goes_on_exactly(stream, whole_stream, last):
    status, out = stream(ALWAYS, last, interrupt)
    assert status == 130
    status, out = stream(ALWAYS)
    assert status == 0
    assert records(out) == records(whole_stream)
    assert last_arrays(out) == last_arrays(whole_stream)


@pytest.mark.parametrize(
    ("last", "saved", "epochs"),
    [pytest.param(3, 4, 0, marks=pytest.mark.slow), (6, 7, 1)],
)
def test_stream_is_saved_within_an_epoch_on_sigterm(
    stream, whole_stream, capsys, last, saved, epochs
):
    status, out = stream(NEVER, last, terminate)
    assert status == 143
    assert "stopped by SIGTERM and saved: padam, seed 0" in capsys.readouterr().err
    assert checkpoints(out) == {"padam-seed0": [saved]}
    assert size(out) == epochs  # all that have ended
    status, out = stream(NEVER)
    assert status == 0
    assert records(out) == records(whole_stream)
    assert last_arrays(out) == last_arrays(whole_stream)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("finished") / "run"
    with jax.numpy_dtype_promotion("standard"):
        assert main(command(out, *SMALL)) == 0
    return out


def contents(out):
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name not in ("header.json", "curves.png")
    }


def test_finished_run_is_left_as_it_is_and_shown_again(finished, capsys):
    before = contents(finished)
    assert main(command(finished, *SMALL)) == 0
    printed = capsys.readouterr().out
    assert "Padam" in printed
    assert f"records: {finished}" in printed
    assert contents(finished) == before
    header = json.loads((finished / "header.json").read_text())
    assert header["resumed"][-1]["seed"] == header["seed"] == 0


def test_other_settings_are_refused_and_each_is_named(finished, capsys):
    before = contents(finished)
    other = [*SMALL[:-4], "--epochs", "5", "--optimizers", "adam", "--seed", "2"]
    assert main(command(finished, *other)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(f"error: --resume: the run in {finished} had other settin")
    for difference in ("epochs was 4, is 5", "seed was 0, is 2", "optimizers was ['pa"):
        assert difference in error
    assert contents(finished) == before


def test_folder_without_a_run_is_refused(tmp_path, capsys):
    (tmp_path / "holiday.txt").write_text("sea")
    assert main(command(tmp_path, *SMALL)) == 2
    assert f"error: --resume: {tmp_path} holds no run" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


@pytest.mark.parametrize(
    "left",
    [("config.tmp",), pytest.param((), marks=pytest.mark.slow)],
    ids=["begun", "empty"],
)
def test_folder_of_a_run_that_had_hardly_begun_is_begun_anew(tmp_path, finished, left):
    for name in left:
        (tmp_path / name).write_text('{"dataset": "dig')
    assert main(command(tmp_path, *SMALL)) == 0
    assert records(tmp_path) == records(finished)


def test_records_beyond_the_last_checkpoint_are_written_again(tmp_path, finished):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for path in (out / "checkpoints").iterdir():
        shutil.rmtree(path)
    assert main(command(out, *SMALL)) == 0
    assert records(out) == records(finished)


def test_records_that_lack_what_the_checkpoint_has_passed_are_refused(
    tmp_path, finished, capsys
):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    path = out / "padam-seed0.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert main(command(out, *SMALL)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path} lacks records of the 4 epochs")
    shutil.rmtree(out / "checkpoints" / "padam-seed0")  # as it says
    assert main(command(out, *SMALL)) == 0
    assert records(out) == records(finished)


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", ["cut", pytest.param("empty", marks=pytest.mark.slow)]
)
def test_damaged_checkpoint_is_named_and_the_one_before_will_do(
    tmp_path, capsys, damage
):
    all_of_them = [*ALWAYS, "--keep", "4"]
    out = tmp_path / "run"
    assert main(command(out, *SMALL, *all_of_them)) == 0
    expected = records(out)
    folder = out / "checkpoints" / "padam-seed0"
    *_, last, whole = (folder / str(step) for step in checkpoints(out)[folder.name])
    shutil.rmtree(whole)  # so that something is left to do
    if damage == "cut":
        for path in last.glob("state/d/*"):
            path.write_bytes(path.read_bytes()[:-100])
    else:
        shutil.rmtree(last)
        last.mkdir()
    capsys.readouterr()
    assert main(command(out, *SMALL, *all_of_them)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: the checkpoint {last} is damaged")
    assert "remove it to resume from the previous one" in error
    assert error.count("\n") == 1
    shutil.rmtree(last)
    assert main(command(out, *SMALL, *all_of_them)) == 0
    assert records(out) == expected
    header = json.loads((out / "header.json").read_text())
    assert len(header["resumed"]) == 2
