"""Training in several processes: a roll call, then `jax.distributed`."""

import asyncio
import contextlib
import json
import socket
from dataclasses import asdict
from typing import Any

import jax

from benchmarks.errors import UsageError
from benchmarks.training.config import TrainConfig, find_fields

# What may differ between processes that train together.
_OWN = find_fields(without="same_in_all_processes")
_ARE_YOU_THERE = "are you there?"
_SECONDS_BETWEEN_TRIES = 0.1
# How long the others wait at the end for the first process, which draws the plots.
_SECONDS_TO_END = 60


def join(config: TrainConfig) -> None:
    """Connect this process to the others, before JAX is used for anything.

    `jax.distributed` aborts every process, with a stack trace, if one is missing,
    restarts or has the index of another. So process 0 first calls the roll on the same
    port: it waits until all others are connected at the same time. A process that
    restarts takes its former place. With "auto" JAX finds out the processes from SLURM,
    Open MPI or the TPU pod, without a roll call.

    Raises:
      UsageError: If not all processes connect within the timeout.
    """
    if config.coordinator is None:
        return
    common: dict[str, Any] = {
        "initialization_timeout": config.timeout,
        "shutdown_timeout_seconds": _SECONDS_TO_END,
    }
    if config.coordinator == "auto":
        try:
            jax.distributed.initialize(**common)
        except (ValueError, RuntimeError) as error:
            raise UsageError(
                f"--coordinator auto found no cluster ({error}); give host:port."
            ) from error
        return
    meet = _call_roll if config.process_id == 0 else _answer
    if problem := asyncio.run(meet(config)):
        raise UsageError(f"--coordinator {config.coordinator}: {problem}.")
    jax.distributed.initialize(
        config.coordinator, config.num_processes, config.process_id, **common
    )


async def _call_roll(config: TrainConfig) -> str:
    """Wait for all others; send them, and return, the problem, "" if there is none."""
    expected = set(range(1, config.num_processes or 0))
    present: dict[int, asyncio.StreamWriter] = {}
    there: set[int] = set()  # those of them that have answered the last question
    outcome = asyncio.get_running_loop().create_future()

    def decide(problem: str) -> None:
        if not outcome.done():
            outcome.set_result(problem)

    async def listen(reader: asyncio.StreamReader, peer: asyncio.StreamWriter) -> None:
        match await _receive(reader):
            case {"process_id": int(number), "settings": dict(settings)}:
                pass
            case _:  # not one of ours
                peer.close()
                return
        if former := present.pop(number, None):
            _send(former, f"another process has come with --process-id {number}")
        present[number] = peer
        if difference := _find_difference(number, settings, config):
            decide(difference)
        if expected <= present.keys():
            there.clear()
            for each in present.values():
                _send(each, _ARE_YOU_THERE)
        while await _receive(reader) == _ARE_YOU_THERE and present.get(number) is peer:
            there.add(number)
            if expected <= there:
                decide("")
        if present.get(number) is peer:  # it has gone
            del present[number]
            there.discard(number)

    calls: list[tuple[asyncio.Task[None], asyncio.StreamWriter]] = []

    def receive_call(reader: asyncio.StreamReader, peer: asyncio.StreamWriter) -> None:
        calls.append((asyncio.create_task(listen(reader, peer)), peer))

    port = _address(config)[1]
    try:
        server = await asyncio.start_server(receive_call, port=port)
    except OSError as error:
        return (
            f"port {port} cannot be opened ({error.strerror}); choose a free one, and "
            "see that no other process has --process-id 0"
        )
    if not expected:
        decide("")
    try:
        problem = await asyncio.wait_for(outcome, config.timeout)
    except TimeoutError:
        problem = (
            f"after {config.timeout} seconds these of the {config.num_processes} "
            f"processes have not come: {sorted(expected - present.keys())}"
        )
    server.close()
    for peer in present.values():
        _send(peer, problem)
    while calls:
        listening, peer = calls.pop()
        listening.cancel()
        await asyncio.wait([listening])
        await _close(peer)
    return problem


async def _answer(config: TrainConfig) -> str:
    """Report to process 0; return the problem it sends, "" if there is none."""
    hello = {"process_id": config.process_id, "settings": _shared_settings(config)}
    now = asyncio.get_running_loop().time
    end = now() + config.timeout
    try:
        async with asyncio.timeout_at(end) as patience:
            while True:
                try:
                    reader, peer = await asyncio.open_connection(*_address(config))
                except socket.gaierror as error:
                    return f"the host is unknown ({error})"
                except OSError:  # it is not there yet
                    await asyncio.sleep(_SECONDS_BETWEEN_TRIES)
                    continue
                # Process 0 has begun to wait before, so it gives up before.
                patience.reschedule(now() + 2 * config.timeout)
                try:
                    _send(peer, hello)
                    while (said := await _receive(reader)) == _ARE_YOU_THERE:
                        _send(peer, said)
                finally:
                    await _close(peer)
                if isinstance(said, str):
                    return said
                patience.reschedule(end)  # it may be started again
                await asyncio.sleep(_SECONDS_BETWEEN_TRIES)
    except TimeoutError:
        return (
            f"no answer within {config.timeout} seconds; start the process with "
            "--process-id 0 there, or see whether a firewall closes the port. "
            "--timeout sets how long to wait"
        )


def _address(config: TrainConfig) -> tuple[str, int]:
    host, _, port = str(config.coordinator).rpartition(":")
    return host.strip("[]"), int(port)  # IPv6 addresses are in brackets


def _shared_settings(config: TrainConfig) -> dict[str, Any]:
    settings = {k: v for k, v in asdict(config).items() if k not in _OWN}
    return json.loads(json.dumps(settings, default=str))


def _find_difference(number: int, settings: dict[str, Any], config: TrainConfig) -> str:
    for name, value in _shared_settings(config).items():
        if settings.get(name) != value:
            option = "--" + name.replace("_", "-")
            return (
                f"process {number} has {option} {settings.get(name)}, process 0 has "
                f"{value}"
            )
    return ""


def _send(peer: asyncio.StreamWriter, message: Any) -> None:
    peer.write(json.dumps(message).encode() + b"\n")


async def _close(peer: asyncio.StreamWriter) -> None:
    """Flush and close a socket."""
    peer.close()
    with contextlib.suppress(OSError):  # the other side has gone
        await peer.wait_closed()


async def _receive(reader: asyncio.StreamReader) -> Any:
    """Read a line of JSON; return None if it is anything else or the peer is gone."""
    try:
        return json.loads(await reader.readline())
    except (OSError, ValueError, RecursionError):
        return None
