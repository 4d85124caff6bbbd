"""The workers' database: its URL, driver, locks and outages."""

import contextlib
import fcntl
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from sqlalchemy import event, exc

from benchmarks.errors import UsageError
from benchmarks.sweep.config import SweepConfig

# Seconds that a worker waits for a server that has stopped answering.
PATIENCE = 600
_SECONDS_BETWEEN_TRIES = 1

# The package of each driver. A URL without a driver gets the one in _DRIVERS, whatever
# the version of SQLAlchemy would choose.
_PACKAGES = {
    "postgresql+psycopg": "psycopg[binary]",
    "postgresql+psycopg2": "psycopg2-binary",
    "postgresql+pg8000": "pg8000",
    "mysql+pymysql": "pymysql",
    "mysql+mysqldb": "mysqlclient",
    "mysql+mysqlconnector": "mysql-connector-python",
    "mysql+mariadbconnector": "mariadb",
}
_DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql"}


def find_url(config: SweepConfig, folder: Path) -> sqlalchemy.URL:
    """Return the URL of the database, by default that of a SQLite file in the folder.

    Raises:
      UsageError: If it is not the URL of a database. The message has no password.
    """
    given = config.storage
    if given is None:
        return sqlalchemy.URL.create(
            "sqlite", database=str(folder.absolute() / "sweep.db")
        )
    if given.startswith("env:"):
        name = given.removeprefix("env:")
        given = os.environ.get(name)
        if not given:
            raise UsageError(
                f"--storage env:{name}: there is no environment variable {name}; set "
                "it to the URL of the database."
            )
    try:
        url = sqlalchemy.make_url(given)
    except (exc.ArgumentError, ValueError):  # the port is not a number
        raise UsageError(
            "--storage must be a URL such as postgresql://user@host/name, or env:NAME "
            "with the name of an environment variable that holds it."
        ) from None
    database, _, driver = url.drivername.partition("+")
    if database == "postgres":
        raise UsageError(
            f"--storage {hide_password(url)}: SQLAlchemy calls this database "
            "postgresql; write postgresql:// instead of postgres://."
        )
    if database == "sqlite" and url.database in (None, "", ":memory:"):
        raise UsageError(
            f"--storage {given}: workers cannot share a database in memory; name a "
            "file, as sqlite:////folder/sweep.db, or leave --storage out."
        )
    if database == "mariadb":  # Optuna knows it by the name of its protocol
        database = "mysql"
    driver = driver or _DRIVERS.get(database, "")
    return url.set(drivername=f"{database}+{driver}" if driver else database)


def hide_password(url: sqlalchemy.URL) -> str:
    """Format a URL without its password."""
    return url.render_as_string(hide_password=True)


class Storage(optuna.storages.RDBStorage):
    """Optuna's storage, which survives a restart of the server."""

    def __init__(self, url: sqlalchemy.URL, heartbeat: int):
        on_sqlite = url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_pre_ping": True}
        if on_sqlite:
            options = {"connect_args": {"timeout": 60}}
        self._trust_again = 0.0
        super().__init__(
            _as_template(url.render_as_string(hide_password=False)),
            options,
            heartbeat_interval=heartbeat,
            grace_period=3 * heartbeat,
        )
        self._lock_path = f"{url.database}.lock" if on_sqlite else None
        if on_sqlite:
            _make_transactions_exclusive(self.engine)
        else:
            self._wait_for_the_server()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the queue, which only one worker at a time may change."""
        if self._lock_path is None:
            with self.engine.begin() as connection:
                # A row that never changes, and that Optuna does not lock.
                held = "SELECT version_info_id FROM version_info FOR UPDATE"
                connection.exec_driver_sql(held).all()
                yield
        else:
            with open(self._lock_path, "w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a heartbeat; a failure is ignored, since others follow."""
        with contextlib.suppress(
            optuna.exceptions.StorageInternalError, exc.SQLAlchemyError
        ):
            super().record_heartbeat(trial_id)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        """Return the trials without a recent heartbeat; none right after an outage.

        During the outage no worker could record one. Optuna calls this method.
        """
        found = super()._get_stale_trial_ids(study_id)  # which may wait for the server
        return found if time.monotonic() >= self._trust_again else []

    def _wait_for_the_server(self) -> None:
        """Retry to connect until the server answers again."""

        @event.listens_for(self.engine, "do_connect")
        def connect(dialect: Any, record: Any, args: Any, options: Any) -> Any:
            del record
            end = time.monotonic() + PATIENCE
            told = False
            while True:
                try:
                    connection = dialect.connect(*args, **options)
                    break
                except dialect.loaded_dbapi.Error:
                    if time.monotonic() > end:
                        raise
                if not told:
                    told = True
                    print(
                        f"the database does not answer; waiting for it, {PATIENCE} "
                        "seconds at most.",
                        file=sys.stderr,
                        flush=True,
                    )
                time.sleep(_SECONDS_BETWEEN_TRIES)
            if told:
                assert self.grace_period is not None
                self._trust_again = time.monotonic() + self.grace_period
            return connection


def open_storage(url: sqlalchemy.URL, heartbeat: int) -> Storage:
    """Open a database, and create the tables if they are missing.

    Raises:
      UsageError: If the kind of database is unknown, or its driver is missing.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    shown = hide_password(url)
    for left in reversed(range(10)):
        try:
            return Storage(url, heartbeat)
        except exc.NoSuchModuleError as error:
            raise UsageError(
                f"--storage {shown}: SQLAlchemy knows no database {url.drivername}; "
                "give postgresql://, mysql:// or sqlite:///."
            ) from error
        except ImportError as error:
            package = _PACKAGES.get(url.drivername)
            advice = f"pip install '{package}'" if package else "install it"
            raise UsageError(
                f"--storage {shown}: the driver {url.get_driver_name()} is missing; "
                f"{advice}."
            ) from error
        except exc.DBAPIError:
            if not left:
                raise
            time.sleep(0.1)  # another worker may be creating the tables
    raise AssertionError


def lost_connection(error: BaseException) -> bool:
    """Return whether the connection to the server broke."""
    cause = error.__cause__ if error.__cause__ is not None else error
    return isinstance(cause, exc.DBAPIError) and cause.connection_invalidated


def _as_template(url: str) -> str:
    """Escape braces, since Optuna formats the URL."""
    return url.replace("{", "{{").replace("}", "}}")


def _make_transactions_exclusive(engine: sqlalchemy.Engine) -> None:
    """Let no other worker write between a transaction's reads and its writes.

    Optuna asks for this with SELECT FOR UPDATE, which SQLite does not have: two workers
    would take the same trial.
    """

    @event.listens_for(engine, "connect")
    def leave_begin_to_us(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections from before


@contextlib.contextmanager
def storage_errors(config: SweepConfig) -> Iterator[None]:
    """Turn errors of the database into one line without the password."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, exc.SQLAlchemyError) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        name = "sweep.db in --out"
        if config.storage is not None:
            url = find_url(config, Path())
            name = f"--storage {hide_password(url)}"
            if url.password:
                reason = reason.replace(str(url.password), "***")
        raise UsageError(
            f"{name} cannot be used ({reason}); once it can, the same command with "
            "--out and --resume continues."
        ) from None
