"""Database servers that tests start for themselves."""

import contextlib
import getpass
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import sqlalchemy
from sqlalchemy import exc

from tests.helpers.processes import PATIENCE, wait_until

PASSWORD = "s3cret-word"


class Server(Protocol):
    """A server that listens on a socket in a folder of its own."""

    url: str

    def start(self) -> None:
        """Start it, and wait until it answers."""

    def stop(self) -> None:
        """Stop it, as an administrator does: open connections are cut."""


def _find(name: str, *folders: str) -> str:
    """Find a program; skip the test where it is missing."""
    where = [found for pattern in folders for found in sorted(glob.glob(pattern))]
    path = shutil.which(name, path=os.pathsep.join([*where, os.environ["PATH"]]))
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def _run_as(user: str) -> dict[str, Any]:
    """Name the user that a server runs as, for it refuses root."""
    if os.geteuid() != 0:
        return {}
    try:
        pwd.getpwnam(user)
    except KeyError:
        pytest.skip(f"there is no user {user} that the server could run as")
    return {"user": user, "extra_groups": []}


class Postgres:
    """PostgreSQL, from initdb and postgres."""

    def __init__(self, folder: Path) -> None:
        binaries = ("/usr/lib/postgresql/*/bin",)
        self._initdb = _find("initdb", *binaries)
        self._postgres = _find("postgres", *binaries)
        self._folder = folder
        self._as = _run_as("postgres")
        self._process: subprocess.Popen[Any] | None = None
        self.url = f"postgresql://postgres:{PASSWORD}@/postgres?host={folder}"
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if self._as:
            shutil.chown(folder, "postgres")
            shutil.chown(secret, "postgres")
        subprocess.run(
            [
                *(self._initdb, "--no-sync", "--auth=scram-sha-256", "-U", "postgres"),
                *("--pwfile", secret, "-D", folder / "data"),
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **self._as,
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [self._postgres, "-D", self._folder / "data", "-F"]
        self._process = _start(
            [*command, "-k", self._folder, "-c", "listen_addresses="],
            self._folder,
            self._as,
        )
        _wait(self.url.replace("postgresql:", "postgresql+psycopg:"), self._process)

    def stop(self) -> None:
        """Stop it, as an administrator does: open connections are cut."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # what it calls fast
            _finish(self._process)
            self._process = None


class MariaDB:
    """MariaDB, from mariadb-install-db and mariadbd."""

    def __init__(self, folder: Path) -> None:
        install = _find("mariadb-install-db")
        self._server = _find("mariadbd", "/usr/sbin", "/usr/libexec")
        self._folder = folder
        self._as = _run_as("mysql")
        self._process: subprocess.Popen[Any] | None = None
        user = "mysql" if self._as else getpass.getuser()
        if self._as:
            shutil.chown(folder, "mysql")
        self._socket = folder / "socket"
        self.url = (
            f"mariadb://sweeper:{PASSWORD}@localhost/sweeps?unix_socket={self._socket}"
        )
        self._setup = folder / "setup.sql"
        self._setup.write_text(
            "CREATE DATABASE IF NOT EXISTS sweeps;\n"
            f"CREATE USER IF NOT EXISTS sweeper@localhost IDENTIFIED BY '{PASSWORD}';\n"
            "GRANT ALL ON sweeps.* TO sweeper@localhost;\n"
        )
        subprocess.run(
            [
                *(install, "--no-defaults", f"--user={user}"),
                *(f"--datadir={folder / 'data'}", "--skip-test-db"),
                "--auth-root-authentication-method=normal",
            ],
            check=True,
            capture_output=True,
            cwd=folder,
            **self._as,
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = _start(
            [
                *(self._server, "--no-defaults", "--skip-networking"),
                *(f"--datadir={self._folder / 'data'}", f"--socket={self._socket}"),
                *(f"--init-file={self._setup}", f"--pid-file={self._folder / 'pid'}"),
            ],
            self._folder,
            self._as,
        )
        _wait(self.url.replace("mariadb:", "mysql+pymysql:"), self._process)

    def stop(self) -> None:
        """Stop it, as an administrator does: open connections are cut."""
        if self._process is not None:
            self._process.terminate()
            _finish(self._process)
            self._process = None


def _start(
    command: list[Any], folder: Path, run_as: dict[str, Any]
) -> subprocess.Popen[Any]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **run_as)


def _finish(process: subprocess.Popen[Any]) -> None:
    try:
        process.wait(PATIENCE)
    finally:
        process.kill()  # does nothing to one that has ended


def _wait(url: str, process: subprocess.Popen[Any]) -> None:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)

    def answers() -> bool:
        try:
            engine.connect().close()
        except exc.OperationalError:
            return False
        return True

    wait_until(answers, process)


@contextlib.contextmanager
def serve(kind: type[Postgres] | type[MariaDB]) -> Iterator[Server]:
    """Run a server while the context lasts; skip the test where it is missing."""
    # Not below pytest's folder: the path of a socket is short, and the server may run
    # as another user.
    with tempfile.TemporaryDirectory(prefix="db-", dir="/tmp") as folder:
        server = kind(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
