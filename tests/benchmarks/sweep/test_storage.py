"""Storages: which URLs there are, one line for what cannot be used, no passwords."""

import sqlite3
import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.commands import sweep as command
from benchmarks.errors import UsageError
from benchmarks.sweep import storage as module
from tests.helpers.sweeps import make_config


@pytest.fixture
def storage(tmp_path):
    url = module.find_url(make_config(tmp_path), tmp_path)
    return module.open_storage(url, heartbeat=1)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, "sqlite:////folder/sweep.db"),
        ("sqlite:///x.db", "sqlite:///x.db"),
        ("postgresql://a@h/x", "postgresql+psycopg://a@h/x"),
        ("postgresql+pg8000://a@h/x", "postgresql+pg8000://a@h/x"),
        ("mysql://a@h/x", "mysql+pymysql://a@h/x"),
        ("mariadb://a@h/x", "mysql+pymysql://a@h/x"),
        ("mariadb+mysqldb://a@h/x", "mysql+mysqldb://a@h/x"),
        ("env:SWEEP_URL", "postgresql+psycopg://a:b@h/x"),
    ],
)
def test_urls(given, meant, tmp_path, monkeypatch):
    monkeypatch.setenv("SWEEP_URL", "postgresql://a:b@h/x")
    url = module.find_url(make_config(tmp_path, storage=given), Path("/folder"))
    assert url.render_as_string(hide_password=False) == meant


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "--storage must be a URL such as postgresql://user@host/name, or"),
        ("mysql://me:secret@h:x/n", "--storage must be a URL such as"),
        ("postgres://me:secret@h/x", r"postgres://me:\*\*\*@h/x: .* postgresql:// ins"),
        ("redis://me:secret@h/x", r"redis://me:\*\*\*@h/x: SQLAlchemy knows no data"),
        (
            "postgresql+pg8000://me:secret@h/x",
            "driver pg8000 is missing; pip .*'pg8000",
        ),
        ("oracle://me:secret@nowhere/x", "driver oracledb is missing; install it"),
        ("env:NO_SUCH_NAME", "--storage env:NO_SUCH_NAME: there is no environment var"),
        ("sqlite://", "--storage sqlite://: workers cannot share a database in memory"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        (
            "postgresql://me:secret@/x?host=/no/such/folder",
            r"--storage postgresql\+psycopg://me:\*\*\*@/x.* cannot be used \(connec",
        ),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_in_one_line(tmp_path, url, message):
    with pytest.raises(UsageError, match=message) as caught:
        command.run(make_config(tmp_path / "sweep", storage=url))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reason_has_no_password(tmp_path):
    config = make_config(tmp_path, storage="postgresql://me:secret@h/x")
    with (
        pytest.raises(UsageError, match=r"cannot be used \(of me and \*\*\*\)"),
        module.storage_errors(config),
    ):
        raise optuna.exceptions.StorageInternalError("of me and secret")


def test_the_queue_is_one_worker_s_at_a_time(storage):
    order = []

    def other():
        with storage.lock():
            order.append("other")

    with storage.lock():
        thread = threading.Thread(target=other)
        thread.start()
        # Optuna's own tables can be used meanwhile.
        optuna.create_study(storage=storage, study_name="x").add_trial(
            optuna.trial.create_trial(value=1.0)
        )
        order.append("first")
    thread.join()
    assert order == ["first", "other"]


def test_a_lost_sign_of_life_ends_nothing(storage, monkeypatch):
    def fail(self, trial_id):
        raise optuna.exceptions.StorageInternalError

    monkeypatch.setattr(optuna.storages.RDBStorage, "record_heartbeat", fail)
    storage.record_heartbeat(0)


@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")  # to be as here
def test_after_an_outage_nobody_is_given_up_for_a_while(storage, monkeypatch, capfd):
    """A SQLite file stands for a server that is away for three attempts."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    study = optuna.create_study(storage=storage, study_name="x")
    trial = study.ask()
    storage.record_heartbeat(trial._trial_id)
    with sqlite3.connect(storage.engine.url.database) as connection:
        connection.execute("UPDATE trial_heartbeats SET heartbeat = '2020-01-01'")

    storage._wait_for_the_server()
    connect, failures = storage.engine.dialect.connect, iter(range(3))

    def be_away(*args, **options):
        if next(failures, None) is not None:
            raise sqlite3.OperationalError
        return connect(*args, **options)

    monkeypatch.setattr(storage.engine.dialect, "connect", be_away)
    storage.engine.dispose()
    now[0] = 2000.0
    optuna.storages.fail_stale_trials(study)
    assert study.trials[0].state == TrialState.RUNNING
    assert capfd.readouterr().err.count("does not answer; waiting for it") == 1
    now[0] += 2.9  # three times the heartbeat
    optuna.storages.fail_stale_trials(study)
    assert study.trials[0].state == TrialState.RUNNING
    now[0] += 0.2
    optuna.storages.fail_stale_trials(study)
    assert study.trials[0].state == TrialState.FAIL


def test_a_server_that_stays_away_is_an_error(storage, monkeypatch):
    now = iter(range(0, 10**6, 100))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    storage._wait_for_the_server()

    def be_away(*args, **options):
        raise sqlite3.OperationalError

    monkeypatch.setattr(storage.engine.dialect, "connect", be_away)
    storage.engine.dispose()
    with pytest.raises(optuna.exceptions.StorageInternalError):
        storage.get_all_studies()
