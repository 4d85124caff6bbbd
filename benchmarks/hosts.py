"""Several processes as one: a roll call, then jax.distributed."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import jax

from benchmarks.config import TrainConfig, UsageError

# What may differ between processes that train together.
_OWN = ("coordinator", "process_id", "timeout", "data_dir", "workers", "out")
# A process that has come speaks at once; whoever says nothing is none of ours.
_SECONDS_TO_SPEAK = 2.0
_LONGEST_MESSAGE = 2**16
# How long the others wait for a process at the end: the first draws the curves.
_SECONDS_TO_END = 60


def join(config: TrainConfig) -> None:
    """Connect this process to the others, before JAX is used for anything.

    jax.distributed ends a process that waits in vain with a stack trace. So the
    processes first call the roll on the same port, which tells what is wrong: nobody
    listens, somebody is missing, two have the same number or other settings.

    Args:
      config: Its coordinator, num_processes, process_id and timeout, and all that the
        processes must agree on. With "auto" JAX finds out the first three from SLURM,
        Open MPI or the TPU pod, without a roll call.

    Raises:
      UsageError: If not all have come together within the timeout.
    """
    if config.coordinator is None:
        return
    if config.coordinator == "auto":
        try:
            jax.distributed.initialize(
                initialization_timeout=config.timeout,
                shutdown_timeout_seconds=_SECONDS_TO_END,
            )
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                f"--coordinator auto found no cluster ({error}); give host:port."
            ) from error
        return
    deadline = time.monotonic() + config.timeout
    if config.process_id == 0:
        _call_roll(deadline, config)
    else:
        _answer(deadline, config)
    jax.distributed.initialize(
        config.coordinator,
        config.num_processes,
        config.process_id,
        initialization_timeout=config.timeout,
        shutdown_timeout_seconds=_SECONDS_TO_END,
    )


def _address(config: TrainConfig) -> tuple[str, int]:
    host, _, port = str(config.coordinator).rpartition(":")
    return host.strip("[]"), int(port)  # an IPv6 address stands in brackets


def _shared_settings(config: TrainConfig) -> dict[str, Any]:
    settings = {k: v for k, v in asdict(config).items() if k not in _OWN}
    return json.loads(json.dumps(settings, default=str))


def _call_roll(deadline: float, config: TrainConfig) -> None:
    """Wait for every other process, and tell each what came of it."""
    port = _address(config)[1]
    both = socket.has_dualstack_ipv6()
    try:
        server = socket.create_server(
            ("", port),
            family=socket.AF_INET6 if both else socket.AF_INET,
            dualstack_ipv6=both,
        )
    except OSError as error:
        raise UsageError(
            f"--coordinator {config.coordinator}: port {port} cannot be opened "
            f"({error.strerror}); choose a free one, and see that no other process has "
            "--process-id 0."
        ) from error
    expected = set(range(1, config.num_processes or 0))
    present: dict[int, socket.socket] = {}
    problem, refused = "", None
    with server:
        while expected - set(present) and not problem:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                caller, _ = server.accept()
            except TimeoutError:
                problem = (
                    f"after {config.timeout} seconds these of the "
                    f"{config.num_processes} processes have not come: "
                    f"{sorted(expected - set(present))}"
                )
                break
            match _receive(caller, time.monotonic() + _SECONDS_TO_SPEAK):
                case {"process_id": int(number), "settings": dict(settings)}:
                    problem = _find_difference(number, settings, config)
                    former = present.get(number)
                    if not problem and former is not None and not _has_gone(former):
                        problem = f"two processes have --process-id {number}"
                    if problem:
                        refused = caller
                    else:
                        present[number] = caller
                case _:  # not one of ours
                    caller.close()
        for caller in (*present.values(), *([refused] if refused else [])):
            _send(caller, problem)
            caller.close()
    if problem:
        raise UsageError(f"--coordinator {config.coordinator}: {problem}.")


def _find_difference(number: int, settings: dict[str, Any], config: TrainConfig) -> str:
    for name, value in _shared_settings(config).items():
        if settings.get(name) != value:
            option = "--" + name.replace("_", "-")
            return (
                f"process {number} has {option} {settings.get(name)}, process 0 has "
                f"{value}"
            )
    return ""


def _answer(deadline: float, config: TrainConfig) -> None:
    """Report to the first process and wait for its word."""
    message = {"process_id": config.process_id, "settings": _shared_settings(config)}
    for remaining in _seconds_left(deadline):
        try:
            server = socket.create_connection(_address(config), timeout=remaining)
        except socket.gaierror as error:
            raise UsageError(
                f"--coordinator {config.coordinator}: the host is unknown ({error})."
            ) from error
        except OSError:  # not there yet
            continue
        with server:
            _send(server, message)
            # The first process waits until its own deadline, which may be later.
            problem = _receive(server, deadline + config.timeout)
        if problem == "":
            return
        if isinstance(problem, str):
            raise UsageError(f"--coordinator {config.coordinator}: {problem}.")
    raise UsageError(
        f"--coordinator {config.coordinator} did not answer within {config.timeout} "
        "seconds; start the process with --process-id 0 there, or see whether a "
        "firewall closes the port. --timeout sets how long to wait."
    )


def _seconds_left(deadline: float) -> Iterator[float]:
    """Yield how much time is left, again after each pause, until there is none."""
    while (remaining := deadline - time.monotonic()) > 0:
        yield remaining
        time.sleep(0.1)


def _send(peer: socket.socket, message: object) -> None:
    with contextlib.suppress(OSError):  # it has gone; whoever needs it will miss it
        peer.sendall(json.dumps(message).encode() + b"\n")


def _receive(peer: socket.socket, deadline: float) -> Any:
    """Return the line of JSON that somebody sends, None if it is none or too late."""
    received = b""
    try:
        while not received.endswith(b"\n"):
            peer.settimeout(max(0.01, deadline - time.monotonic()))
            part = peer.recv(_LONGEST_MESSAGE)
            received += part
            late = time.monotonic() > deadline
            if not part or late or len(received) > _LONGEST_MESSAGE:
                return None
        return json.loads(received)
    except (OSError, ValueError, RecursionError):
        return None


def _has_gone(peer: socket.socket) -> bool:
    """Whether a process that waits for our word has closed its connection."""
    peer.setblocking(False)
    try:
        return not peer.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        peer.setblocking(True)
