"""Sweeps by way of a database server, by workers that share no disk."""

import signal
import subprocess
import sys

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from benchmarks import run_dir, run_files
from benchmarks.errors import UsageError
from benchmarks.paths import ROOT
from benchmarks.sweep import storage as storages
from benchmarks.sweep import study
from benchmarks.training.resume import RunResult
from tests.helpers import databases
from tests.helpers.processes import PATIENCE, environment, wait_until
from tests.helpers.quick_training import DATA
from tests.helpers.sweeps import make_config

pytestmark = [pytest.mark.slow, pytest.mark.database]

# A worker; it waits after the first epoch that it records, if nobody has before.
WORKER = """
import sys
from pathlib import Path
from benchmarks import run_dir
from benchmarks.__main__ import main
from tests.helpers.processes import announce, wait_until

waits, append = Path(sys.argv[1]), run_dir.append

def append_and_wait(path, record):
    append(path, record)
    if not waits.exists():
        announce(waits, path.parent.name)
        wait_until(Path(f"{waits}-go").exists)

run_dir.append = append_and_wait
sys.argv[:2] = ["benchmarks"]
sys.exit(main())
"""
RATES = ("0.5", "0.1", "0.02")
OPTIONS = [
    *("sweep", "--study", "shared"),
    *("--dataset", DATA, "--model", "logistic", "--epochs", "3"),
    *("--optimizers", "sgd", "--grid", f"learning_rate={','.join(RATES)}"),
    *("--checkpoint-seconds", "0", "--heartbeat", "2", "--resume"),
    *("--storage", "env:SWEEP_STORAGE"),
]


@pytest.fixture(scope="module", params=[databases.Postgres, databases.MariaDB])
def server(request):
    with databases.serve(request.param) as server:
        yield server


def start(out, url):
    """Start a worker that has a folder of its own."""
    own = {"PYTHONPATH": str(ROOT), "SWEEP_STORAGE": url}
    waits = out.with_suffix(".waits")
    with out.with_suffix(".stdout").open("a") as output:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, str(waits), *OPTIONS, "--out", str(out)],
            env=environment() | own,
            stdout=output,
            stderr=out.with_suffix(".stderr").open("a"),
        )


def load_study(out, url):
    found = storages.find_url(make_config(out, storage=url), out)
    return optuna.load_study(
        study_name="shared",
        storage=found.render_as_string(hide_password=False),
    )


def read_records(out):
    """The records of each run, but for their times."""
    return {
        path.parent.name: [{**line, "seconds": 0} for line in run_dir.read(path)]
        for path in out.glob("*/sgd-seed0.jsonl")
    }


def test_workers_on_two_disks_survive_a_kill_and_a_restart_of_the_server(
    server, tmp_path
):
    lost, other = tmp_path / "lost", tmp_path / "other"
    waits = {out: out.with_suffix(".waits") for out in (lost, other)}
    processes = []
    try:
        processes += [start(lost, server.url), start(other, server.url)]
        for out, process in zip(waits, processes, strict=True):
            wait_until(lambda out=out: waits[out].exists(), process)
        processes[0].kill()  # in the middle of a run
        assert processes[0].wait() == -signal.SIGKILL

        server.stop()  # in the middle of the other's
        other.with_suffix(".waits-go").touch()
        errors = other.with_suffix(".stderr")
        wait_until(lambda: "does not answer" in errors.read_text(), processes[1])
        server.start()
        assert processes[1].wait(PATIENCE) == 0, errors.read_text()

        processes.append(start(lost, server.url))  # the lost one comes back, too late
        assert processes[2].wait(PATIENCE) == 0, lost.with_suffix(".stderr").read_text()
    finally:
        for process in processes:
            process.kill()

    trials = load_study(lost, server.url).trials
    names = {f"sgd-learning_rate{rate}-seed0" for rate in RATES}
    done = [t.user_attrs["run"] for t in trials if t.state == TrialState.COMPLETE]
    assert sorted(done) == sorted(names)
    failed = [t.user_attrs["run"] for t in trials if t.state == TrialState.FAIL]
    assert failed == [waits[lost].read_text()]
    assert len(trials) == len(RATES) + 1

    # Each has all records, its own and the others', and can be published.
    assert read_records(lost) == read_records(other)
    assert {name: len(lines) for name, lines in read_records(lost).items()} == (
        dict.fromkeys(names, 3)
    )
    for out in (lost, other):
        lines = run_dir.read(out / "sweep.jsonl")
        assert {line["run"] for line in lines} == names
        assert {line["state"] for line in lines} == {"complete"}
        published = run_files.load(run_files.publish(out, tmp_path / "results"))
        for name in names:
            assert len(published.inner(name).lines("sgd-seed0")) == 3
            assert published.inner(name).header["devices"]["platform"] == "cpu"

    # Nobody sees a traceback, and nothing has the password.
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20
    for path in written:
        content = path.read_bytes()
        assert databases.PASSWORD.encode() not in content, path
        assert b"Traceback" not in content, content.decode()


@pytest.mark.parametrize("wrong", [{"password": "wr0ng"}, {"database": "n0where"}])
def test_what_the_server_refuses_is_one_line(server, tmp_path, wrong):
    url = sqlalchemy.make_url(server.url).set(**wrong).render_as_string(False)
    config = make_config(tmp_path, storage=url)
    with (
        pytest.raises(UsageError, match="--storage .* cannot be used") as caught,
        storages.storage_errors(config),
    ):
        storages.open_storage(storages.find_url(config, tmp_path), heartbeat=20)
    assert databases.PASSWORD not in str(caught.value)
    assert "wr0ng" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_long_run_fits_into_the_tables(server, tmp_path):
    """The records of 400 epochs, which are more than MariaDB's TEXT holds."""
    config = make_config(tmp_path, storage=server.url)
    storage = storages.open_storage(storages.find_url(config, tmp_path), heartbeat=20)
    lines = [{"epoch": i, "text": '"é' * 80} for i in range(400)]
    result = RunResult(lines, "the loss is nan")
    made = optuna.create_study(storage=storage, study_name="long")
    attributes = study.store(result, {"python": "3"})
    made.add_trial(optuna.trial.create_trial(value=1.0, user_attrs=attributes))
    assert study.restore(made.trials[0].user_attrs) == result
