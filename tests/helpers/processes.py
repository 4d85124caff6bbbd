"""What tests of several processes share."""

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

# Seconds; nothing waits as long unless something hangs.
PATIENCE = int(os.environ.get("TEST_PATIENCE", "1800"))


@contextlib.contextmanager
def reserve_port() -> Iterator[int]:
    """Keep a port from everyone who asks for any, but not from who asks for this one.

    The socket is bound without SO_REUSEADDR, so no other has the port, and does not
    listen; with the option set afterwards a server may bind the same port.
    """
    with socket.socket() as held:
        held.bind(("", 0))
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield held.getsockname()[1]


def environment(devices: int = 1) -> dict[str, str]:
    """Return the environment of a process that is started with CPU devices of its own.

    It compiles as the tests do (tests/conftest.py).
    """
    count = f"device_count={devices}"
    flags = re.sub(r"device_count=\d+", count, os.environ["XLA_FLAGS"])
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def wait_until(condition: Callable[[], Any], *processes: Popen) -> Any:
    """Wait for something to happen while processes run; return what was found."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        for process in processes:
            assert process.poll() is None, f"it has ended: {process.communicate()}"
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)
    return found


def announce(path: Path, text: str) -> None:
    """Write a file that others wait for: once it exists, it is whole."""
    begun = path.with_name(f"{path.name}.begun")
    begun.write_text(text)
    begun.replace(path)


def finish(process: Popen) -> tuple[int, str, str]:
    """Wait for a process; return its status and what it wrote to stdout and stderr."""
    try:
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()  # does nothing to one that has ended
    return process.returncode, output, errors
