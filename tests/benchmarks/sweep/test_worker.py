"""Sweeps: every run done once, whatever happens to the workers."""

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from benchmarks import run_dir, run_files
from benchmarks.commands import sweep as command
from benchmarks.errors import UsageError
from benchmarks.sweep import grid as grids
from benchmarks.sweep import runs, search, worker
from benchmarks.sweep.config import SweepConfig
from benchmarks.training.config import TrainConfig
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.preemption import PreemptedError
from benchmarks.training.resume import RunResult
from tests.helpers.processes import PATIENCE, environment, wait_until
from tests.helpers.sweeps import GRID, make_config
from tests.marks import fast

pytestmark = pytest.mark.usefixtures("standard_promotion")
ROOT = Path(__file__).resolve().parents[2]


class Told:
    """Stands for Preemption where there are no signals."""

    stop = False

    def requested(self):
        return self.stop


def make_worker(config):
    config.train.out.mkdir(exist_ok=True)
    runner = runs.Runner(config, config.train.out, DeviceLayout(), Told())
    (own,) = worker.make_workers(config, runner)
    return own


def pretend_to_train(monkeypatch, work):
    """Let `work` stand for the training of the run that it is told."""

    def train(self, run, watch):
        work(run.name)
        return RunResult([{"epoch": 2, "test_accuracy": 0.5}])

    monkeypatch.setattr(runs.Runner, "train", train)


def find_trials(out):
    """The trials by state, as Optuna itself finds them."""
    study = optuna.load_study(study_name="sweep", storage=f"sqlite:///{out}/sweep.db")
    return {
        state: [t for t in study.trials if t.state == state] for state in TrialState
    }


def read_records(out):
    """The records of each run, but for their times."""
    return {
        path.parent.name: [{**line, "seconds": 0} for line in run_dir.read(path)]
        for path in out.glob("*/*-seed*.jsonl")
    }


# A worker; the second argument, if given, is the epoch at the start of whose record it
# falls silent, in the second of its runs.
WORKER = """
import itertools, sys, time
from pathlib import Path
from benchmarks import run_dir
from benchmarks.commands.sweep import run
from tests.helpers.processes import announce
from tests.helpers.quick_training import DATA
from tests.helpers.sweeps import make_config

out, hang_at = Path(sys.argv[1]), int(sys.argv[2])
append, files = run_dir.append, []

def hang(path, record):
    files.append(path) if path not in files else None
    if len(files) == 2 and record["epoch"] == hang_at:
        announce(out / "hangs", path.parent.name)
        time.sleep(1000)
    append(path, record)

run_dir.append = hang
settings = {"dataset": DATA, "epochs": 4, "seeds": 2, "checkpoint_seconds": 0}
sys.exit(run(make_config(out, heartbeat=2, **settings)))
"""


@pytest.mark.slow
def test_two_workers_share_a_sweep_and_one_takes_up_what_the_killed_one_left(tmp_path):
    processes = []

    def start(out, hang_at=0):
        command = [sys.executable, "-c", WORKER, str(out), str(hang_at)]
        processes.append(
            subprocess.Popen(command, env=environment() | {"PYTHONPATH": str(ROOT)})
        )
        return processes[-1]

    out, calm = tmp_path / "shared", tmp_path / "calm"
    left = out / "hangs"
    try:
        alone = start(calm)
        victim = start(out, hang_at=3)
        wait_until(left.exists, victim)
        other = start(out)
        # The other one has nothing to do any more but to wait.
        wait_until(lambda: len(find_trials(out)[TrialState.COMPLETE]) == 3, other)
        victim.kill()
        assert other.wait(PATIENCE) == 0
        assert alone.wait(PATIENCE) == 0
    finally:
        for process in processes:
            process.kill()
    assert victim.wait() == -signal.SIGKILL

    trials = find_trials(out)
    names = [trial.user_attrs["run"] for trial in trials[TrialState.COMPLETE]]
    expected = {
        f"sgd-learning_rate{x}-seed{s}" for x in ("0.1", "0.01") for s in (0, 1)
    }
    assert sorted(names) == sorted(expected)
    assert [t.user_attrs["run"] for t in trials[TrialState.FAIL]] == [left.read_text()]
    assert not trials[TrialState.WAITING] + trials[TrialState.RUNNING]
    workers = {t.user_attrs["worker"] for t in trials[TrialState.COMPLETE]}
    assert len(workers) == 2
    # Only the run that was cut off was begun twice.
    for name in names:
        header = json.loads((out / name / "header.json").read_text())
        assert len(header.get("resumed", [])) == (name == left.read_text())
    # One of the workers has said what the sweep is and how it came about.
    assert "worker" not in json.loads((out / "header.json").read_text())
    grid = json.loads((out / "config.json").read_text())["grid"]
    assert grid["learning_rate"] == [0.1, 0.01]
    assert read_records(out) == read_records(calm)
    assert {len(lines) for lines in read_records(out).values()} == {4}


@pytest.mark.slow
def test_a_diverged_run_ends_and_the_others_go_on(tmp_path, capsys, monkeypatch):
    out = tmp_path / "sweep"
    storage = f"sqlite:///{tmp_path}/elsewhere.db"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--storage", storage])
    grid = ("learning_rate=1e30,0.1", "epochs=2")
    assert command.run(make_config(out, grid, storage=storage)) == 1
    printed = capsys.readouterr()
    bad, good = (
        "sgd-learning_rate1e+30-epochs2-seed0",
        "sgd-learning_rate0.1-epochs2-seed0",
    )
    assert f"{bad} ended early: the t" in printed.err
    assert "1 of 1 diverged" in printed.out
    lines = {line["run"]: line for line in run_dir.read(out / "sweep.jsonl")}
    assert list(lines) == [bad, good]
    assert lines[bad]["state"] == "stopped"
    assert lines[bad]["test_accuracy"] is None
    assert "loss is" in lines[bad]["stopped"]
    last = run_dir.read(out / good / "sgd-seed0.jsonl")[-1]
    assert lines[good]["state"] == "complete"
    assert lines[good]["record"] == last
    assert lines[good]["test_accuracy"] == last["test_accuracy"]
    assert lines[good]["settings"] == {"learning_rate": 0.1, "epochs": 2}
    assert f"{100 * last['test_accuracy']:.2f}" in printed.out
    # The storage's URL may hold a password.
    assert "elsewhere" not in (out / good / "header.json").read_text()
    # A late worker finds nothing left to do.
    pretend_to_train(monkeypatch, lambda name: pytest.fail(name))
    assert command.run(make_config(out, grid, storage=storage)) == 1


def test_workers_that_begin_together_do_each_run_once(tmp_path, monkeypatch):
    done = []
    pretend_to_train(monkeypatch, done.append)
    config = make_config(tmp_path / "sweep", ("learning_rate=0.1,0.2",), seeds=4)
    gate = threading.Barrier(4)

    def work(_):
        gate.wait()
        worker = make_worker(config)
        worker.work()
        return sorted(worker.runs)

    with ThreadPoolExecutor() as pool:
        names, *_ = pool.map(work, range(4))
    assert sorted(done) == names
    assert len(find_trials(config.train.out)[TrialState.COMPLETE]) == 8


@pytest.mark.slow
def test_optimizers_names_and_switches_are_combined(tmp_path, monkeypatch):
    done = []
    pretend_to_train(monkeypatch, done.append)
    grid = ("schedule=constant,cosine", "augment=true,false", "batch_size=64")
    out = tmp_path / "sweep"
    assert command.run(make_config(out, grid, optimizers=("sgd", "adam"))) == 0
    assert done == [
        f"{name}-schedule{schedule}-augment{augment}-batch_size64-seed0"
        for name in ("sgd", "adam")
        for schedule in ("constant", "cosine")
        for augment in (True, False)
    ]
    trials = find_trials(out)
    assert len(trials[TrialState.COMPLETE]) == 8
    assert not trials[TrialState.FAIL]
    params = {tuple(t.params.items()) for t in trials[TrialState.COMPLETE]}
    assert len(params) == 8


def test_an_error_before_a_run_is_no_endless_loop(tmp_path, monkeypatch):
    pretend_to_train(monkeypatch, lambda name: None)

    def fail(*_):
        raise ValueError("no such value")

    monkeypatch.setattr(search, "suggest", fail)
    with pytest.raises(ValueError, match="no such value"):
        command.run(make_config(tmp_path / "sweep"))


@pytest.mark.parametrize(
    ("error", "status"),
    fast([(PreemptedError, 143), (KeyboardInterrupt, None)], (PreemptedError, 143)),
)
def test_what_a_stopped_worker_leaves_is_taken_up(
    tmp_path, monkeypatch, capsys, error, status
):
    done = []

    def stop(name):
        done.append(name)
        if len(done) == 1:
            raise error

    pretend_to_train(monkeypatch, stop)
    config = make_config(tmp_path / "sweep")
    with pytest.raises(error) if status is None else contextlib.nullcontext():
        assert command.run(config) == status
    lines = run_dir.read(tmp_path / "sweep" / "sweep.jsonl")
    assert [line["state"] for line in lines] == ["waiting", "waiting"]
    assert command.run(config) == 0
    lines = run_dir.read(tmp_path / "sweep" / "sweep.jsonl")
    assert [line["state"] for line in lines] == ["complete", "complete"]
    assert sorted(done[1:]) == sorted(line["run"] for line in lines)


def test_sigterm_between_runs_stops_the_worker(tmp_path, monkeypatch, capsys):
    done = []

    def stop(name):
        done.append(name)
        os.kill(os.getpid(), signal.SIGTERM)

    pretend_to_train(monkeypatch, stop)
    assert command.run(make_config(tmp_path / "sweep")) == 143
    assert len(done) == 1
    assert "--resume continues" in capsys.readouterr().err


def test_a_worker_that_died_before_its_first_sign_of_life_is_found(
    tmp_path, monkeypatch
):
    done = []
    pretend_to_train(monkeypatch, done.append)
    worker: Any = make_worker(make_config(tmp_path / "sweep"))
    worker.fill_queue()
    url = f"sqlite:///{tmp_path}/sweep/sweep.db"
    optuna.load_study(study_name="sweep", storage=url).ask()  # and nothing after it
    worker.grace = 0.1
    worker.work()
    assert sorted(done) == sorted(worker.runs)


def test_a_worker_given_up_by_mistake_shares_no_folder_with_its_successor(
    tmp_path, monkeypatch
):
    config = make_config(tmp_path / "sweep", ("learning_rate=0.1",))
    inside, most, entered, go_on = [], [], threading.Event(), threading.Event()

    def work(name):
        inside.append(name)
        most.append(len(inside))
        entered.set()
        go_on.wait(PATIENCE)
        inside.remove(name)

    pretend_to_train(monkeypatch, work)
    workers = [make_worker(config) for _ in range(2)]
    pool = ThreadPoolExecutor()
    first = pool.submit(workers[0].work)
    assert entered.wait(PATIENCE)
    number = find_trials(config.train.out)[TrialState.RUNNING][0].number
    workers[1].study.tell(number, state=TrialState.FAIL)
    second = pool.submit(workers[1].work)
    wait_until(
        lambda: any(
            trial.user_attrs.get("begun") == trial.number
            for trial in find_trials(config.train.out)[TrialState.RUNNING]
        )
    )
    go_on.set()
    first.result(PATIENCE)
    second.result(PATIENCE)
    assert most == [1, 1]
    assert len(find_trials(config.train.out)[TrialState.COMPLETE]) == 1


def test_another_sweep_in_the_same_study_is_refused(tmp_path, monkeypatch):
    pretend_to_train(monkeypatch, lambda name: None)
    out = tmp_path / "sweep"
    assert command.run(make_config(out)) == 0
    with pytest.raises(UsageError, match="epochs was 2, is 3"):
        command.run(make_config(out, epochs=3))
    with pytest.raises(UsageError, match=r"grid was .*\[0.1, 0.01\].* is .*\[0.1\]"):
        command.run(make_config(out, ("learning_rate=0.1",)))
    assert command.run(make_config(out, epochs=3, study="longer")) == 0
    # What does not change a number may differ.
    assert command.run(make_config(out, keep=5)) == 0


@pytest.mark.parametrize(
    ("grid", "settings", "message"),
    [
        (("p",), {}, "--grid takes settings like p=0.25,0.125, each once, got 'p'"),
        (("p=0.1,",), {}, "got 'p=0.1,'"),
        (("epochs=1", "epochs=2"), {}, "each once, got 'epochs=2'"),
        (("epochs=1,1",), {}, "each value once"),
        (("p=0.25",), {}, "--grid p: sgd has no such setting; it has learning_rate, w"),
        (("seed=1,2",), {}, "--grid seed: sgd has no such setting.* batch_size"),
        (("out=a,b",), {}, "--grid out: sgd has no such setting"),
        (
            ("learning_rate=fast",),
            {},
            "--grid learning_rate cannot be 'fast'; it must be a finite number, or",
        ),
        (("learning_rate=nan",), {}, "--grid learning_rate cannot be 'nan'"),
        (
            ("epochs=1.5",),
            {},
            "--grid epochs cannot be '1.5'; it must be a whole number",
        ),
        (
            ("schedule=sine",),
            {},
            "--grid schedule cannot be 'sine'; it must be one of multi-stage, cosine",
        ),
        (
            ("augment=maybe",),
            {},
            "--grid augment cannot be 'maybe'; it must be true or false",
        ),
        (("p=0.7,0.1",), {"optimizers": ("padam",)}, "p must be in"),
        (("model=logistic,vgg",), {}, "--model 'vgg' does not exist"),
        (("batch_size=256,2000",), {}, "--batch-size must be at most"),
        (GRID, {"recipe": ("learning_rate=1",)}, "--grid and --recipe both set"),
        (GRID, {"recipe": ("sgd:learning_rate=1",)}, "--grid and --recipe both set"),
        (("learning_rate=*0",), {}, r"--grid learning_rate cannot be '\*0'"),
        (("epochs=*2",), {}, r"--grid epochs cannot be '\*2'"),
    ],
)
def test_what_the_grid_cannot_be_is_refused_before_any_work(
    tmp_path, grid, settings, message
):
    out = tmp_path / "sweep"
    with pytest.raises(UsageError, match=message):
        command.run(make_config(out, grid, **settings))
    assert not out.exists()


def test_a_sweep_does_not_write_into_a_folder_of_something_else(tmp_path):
    foreign, trained = tmp_path / "foreign", tmp_path / "trained"
    for folder in (foreign, trained):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    (trained / "header.json").write_text('{"kind": "train"}')
    for folder, message in (
        (foreign, f"--resume: {foreign} holds no sweep"),
        (trained, f"--resume: {trained} holds a run of train, not a sweep"),
    ):
        before = sorted(folder.iterdir())
        with pytest.raises(UsageError, match=message):
            command.run(make_config(folder))
        assert sorted(folder.iterdir()) == before
        assert (folder / "config.json").read_text() == "{}"


def test_a_grid_sets_recipes_and_fields(tmp_path):
    grid = ("p=0.25,0.0625", "width=2", "augment=true,false", "dtype=bfloat16")
    config = make_config(
        tmp_path, grid, optimizers=("padam", "padamw"), seeds=2, seed=7
    )
    planned = grids.plan(config.train, grids.read_grid(config))
    assert len(planned) == 16
    assert list(itertools.islice(planned, 2)) == [
        "padam-p0.25-width2-augmentTrue-dtypebfloat16-seed7",
        "padam-p0.25-width2-augmentTrue-dtypebfloat16-seed8",
    ]
    last = list(planned.values())[-1].config
    assert (last.optimizers, last.recipe) == (("padamw",), ("p=0.0625",))
    assert (last.seed, last.seeds, last.width, last.augment) == (8, 1, 2, False)
    assert last.dtype == "bfloat16"


def tune(out, rates="0.01,0.1,1", **settings):
    """A sweep that tunes and then tests twice."""
    config = make_config(
        out, (f"learning_rate={rates}",), seed=100, keep=0, augment=False, **settings
    )
    return dataclasses.replace(config, tune="learning_rate", finals=2)


# 1 is the best rate of those to start with, so that 10 is tried as well.
STAGES = [
    ("sgd-learning_rate0.01-seed100", "tuning"),
    ("sgd-learning_rate0.1-seed100", "tuning"),
    ("sgd-learning_rate1-seed100", "tuning"),
    ("sgd-learning_rate10-seed100", "tuning"),
    ("sgd-learning_rate1-seed0", "final"),
    ("sgd-learning_rate1-seed1", "final"),
]


def pretend_to_tune(monkeypatch, work=lambda name: None):
    """Let the accuracy be the better the nearer the rate is to 1; let 10 diverge."""

    def train(self, run, watch):
        work(run.name)
        rate = run.point["learning_rate"]
        on = run.config.evaluated
        record = {"epoch": 2, f"{on}_accuracy": 0.1 + 0.5 * rate, f"{on}_loss": 1.0}
        return RunResult([record], "the loss is nan" if rate == 10 else None)

    monkeypatch.setattr(runs.Runner, "train", train)


def test_a_sweep_tunes_extends_the_grid_and_tests_the_best(
    tmp_path, monkeypatch, capsys
):
    done = []
    pretend_to_tune(monkeypatch, done.append)
    # Without --resume, too, whose folder must be empty at the start only.
    assert command.run(tune(tmp_path / "sweep", resume=False)) == 1  # a run diverged
    assert done == [name for name, _ in STAGES]
    lines = run_dir.read(tmp_path / "sweep" / "sweep.jsonl")
    assert [(line["run"], line["stage"]) for line in lines] == STAGES
    assert lines[0]["validation_accuracy"] == pytest.approx(0.105)
    assert "test_accuracy" not in lines[0]
    assert lines[-1]["test_accuracy"] == pytest.approx(0.6)
    assert lines[3]["state"] == "stopped"
    assert "1 of 1 diverged" in capsys.readouterr().out


@pytest.mark.parametrize("killed", fast([1, 3, 4], 3))
def test_a_tuning_sweep_goes_on_wherever_it_was_stopped(tmp_path, monkeypatch, killed):
    done = []

    def stop(name):
        done.append(name)
        if len(done) == killed:
            raise KeyboardInterrupt

    pretend_to_tune(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        command.run(tune(tmp_path / "sweep"))
    assert command.run(tune(tmp_path / "sweep")) == 1
    assert sorted(done) == sorted([*(name for name, _ in STAGES), done[killed - 1]])


@pytest.mark.slow
def test_two_workers_tune_together(tmp_path, monkeypatch):
    done = []
    pretend_to_tune(monkeypatch, done.append)
    config = tune(tmp_path / "sweep")
    gate = threading.Barrier(2)

    def work(_):
        gate.wait()
        make_worker(config).work()

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, range(2)))
    assert sorted(done) == sorted(name for name, _ in STAGES)


@pytest.mark.slow
def test_published_records_are_enough_to_go_on(tmp_path, monkeypatch):
    """A part of a sweep is done here; the rest elsewhere, without its database."""
    first, results = tmp_path / "here" / "sweep", tmp_path / "results"
    first.parent.mkdir()
    settings = {"examples": 200, "side": 4, "batch_size": 64, "rates": "100,1000"}
    work = runs.Runner.train
    started = []

    def stop(self, run, watch):
        started.append(run.name)
        if len(started) == 4:
            raise PreemptedError
        return work(self, run, watch)

    monkeypatch.setattr(runs.Runner, "train", stop)
    assert command.run(tune(first, **settings)) == 143
    begun = first / started[3]
    begun.mkdir()
    (begun / "header.json").write_text("{}")
    published = run_files.publish(first, results)
    shutil.rmtree(begun)
    # What the sweep does first where it goes on.
    shutil.copytree(published, elsewhere := tmp_path / "there" / "sweep")
    shutil.copytree(published, packed := tmp_path / "packed" / "sweep")
    run_files.restore(elsewhere)
    published = elsewhere
    names = [line["run"] for line in run_dir.read(published / "sweep.jsonl")][:3]
    assert sorted(p.name for p in published.iterdir() if p.is_dir()) == sorted(names)
    before = {path: path.read_bytes() for path in published.glob("*/*")}
    assert all(
        "validation_loss" in path.read_text() for path in published.glob("*/*.jsonl")
    )
    assert not any("test_" in path.read_text() for path in published.glob("*/*.jsonl"))

    # Elsewhere the runs that are there are neither done again nor changed.
    status = command.run(tune(published, **settings))
    assert status in (0, 1)
    assert not {*started[4:]} & {*names}
    assert {path: path.read_bytes() for path in before} == before
    del started[4:]
    assert command.run(tune(packed, **settings)) == status
    assert not {*started[4:]} & {*names}
    assert read_records(packed) == read_records(published)
    header = json.loads((published / "header.json").read_text())
    assert len(header["resumed"]) == 1
    # As if nothing had happened.
    assert command.run(tune(first, **settings)) == status
    assert read_records(published) == read_records(first)
    finals = [
        x for x in run_dir.read(published / "sweep.jsonl") if x["stage"] == "final"
    ]
    assert len(finals) == 2
    assert all("final_train_loss" in line["record"] for line in finals)

    # More seeds are added to what is there; other settings are refused.
    (published / "sweep.db").unlink()
    more = dataclasses.replace(tune(published, **settings), finals=3)
    del started[:]
    assert command.run(more) == status
    (name,) = started
    assert name.endswith("seed2")
    (published / "sweep.db").unlink()
    with pytest.raises(UsageError, match="epochs was 2, is 3"):
        command.run(tune(published, epochs=3, **settings))


def test_a_sweep_without_a_grid_runs_optimizers_and_seeds(tmp_path):
    config = make_config(tmp_path, (), optimizers=("sgd", "adam"), seeds=2)
    planned = grids.plan(config.train, grids.read_grid(config))
    assert list(planned) == ["sgd-seed0", "sgd-seed1", "adam-seed0", "adam-seed1"]


def test_a_relative_value_multiplies_the_recipe(tmp_path):
    recipe = ("adam:b2=0.9", "weight_decay=0")
    config = make_config(
        tmp_path,
        ("learning_rate=*1,*3.16",),
        optimizers=("sgd", "adam"),
        recipe=recipe,
    )
    planned = grids.plan(config.train, grids.read_grid(config))
    assert list(planned) == [
        "sgd-learning_rate0.1-seed0",
        "sgd-learning_rate0.316-seed0",
        "adam-learning_rate0.001-seed0",
        "adam-learning_rate0.00316-seed0",
    ]
    sgd, _, adam, _ = (run.config.recipe for run in planned.values())
    assert sgd == ("weight_decay=0", "learning_rate=0.1")
    assert adam == ("b2=0.9", "weight_decay=0", "learning_rate=0.001")


def test_a_sweep_takes_no_coordinator():
    train = TrainConfig(coordinator="auto")
    with pytest.raises(UsageError, match="--coordinator does not suit a sweep"):
        SweepConfig(train, GRID)
