"""A run's folder: config, header and one JSON line per epoch. Standard library only."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.errors import FULL, UsageError
from benchmarks.paths import ROOT, RUNS

_VERSIONED = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "padam-optax",
    "numpy",
)


def create_folder(out: Path | None, name: str) -> Path:
    """Create the folder that the user asked for, or a new one under runs/."""
    stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    for attempt in range(1000):
        folder = out or RUNS / (stem if attempt == 0 else f"{stem}-{attempt}")
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
            return folder
        except FileExistsError:  # two runs started within the same second
            continue
        except OSError as error:
            raise UsageError(
                f"--out {folder} cannot be created ({error.strerror}); name a folder "
                "that you may write to."
            ) from error
    raise UsageError(f"{RUNS} holds a thousand runs of this second; give --out.")


def begin(
    out: Path | None,
    kind: str,
    config: Mapping[str, Any],
    devices: Mapping[str, Any],
    seed: int,
) -> Path:
    """Create the folder of a run that is not resumed, with its settings and header."""
    folder = create_folder(out, kind)
    write_json(folder / "config.json", config)
    write_json(folder / "header.json", header(kind, devices, seed))
    return folder


def finish(folder: Path) -> None:
    """Mark the records of a run as complete in its header."""
    path = folder / "header.json"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(path, {**read_json(path), "finished": now})


def write_header(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the header of a run; a resumed run adds to the existing one."""
    path = folder / "header.json"
    if path.exists():
        first = read_json(path)
        first.setdefault("resumed", []).append(dict(content))
        content = first
    write_json(path, content)


def header(kind: str, devices: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Collect the provenance of a run's numbers, for header.json.

    Args:
      kind: The command, as "train".
      devices: Platform, kind and count of the devices.
      seed: The seed of the run.
    """
    return {
        "kind": kind,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv[1:],
        "seed": seed,
        "git_revision": _git_revision(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_count": _count_cores(),
        "devices": dict(devices),
        "versions": {name: _version(name) for name in _VERSIONED},
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    _replace(path, json.dumps(content, indent=2, default=str) + "\n")


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Append a record as one JSON line, replacing a half-written one if there is any.

    Raises:
      ValueError: If a number is not finite: JSON has no such numbers.
      UsageError: If it cannot be written, to a full disk say.
    """
    line = json.dumps(record, allow_nan=False) + "\n"
    with _writing(path), path.open("ab+") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(line.encode())


def record(path: Path, records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Append records as they come; return all of them as `read` does."""
    for one in records:
        append(path, one)
    return read(path)


def keep(path: Path, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
    """Delete the records that a resumed run will write again, if there are any."""
    if path.exists():
        write_lines(path, (record for record in read(path) if wanted(record)))


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of JSON lines whole or not at all."""
    _replace(path, "".join(json.dumps(line) + "\n" for line in lines))


def read(path: Path) -> list[dict[str, Any]]:
    """Read the records of a file; an incomplete last line is ignored.

    Raises:
      ValueError: If a finished line is not JSON.
    """
    finished, _, _ = path.read_text().rpartition("\n")
    records = []
    for number, line in enumerate(finished.splitlines(), start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number} is not JSON: {error}.") from error
    return records


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file, or raise an error that names it."""
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError(f"it is no object but a {type(content).__name__}")
    except ValueError as error:
        raise UsageError(f"{path} is damaged ({error}); give another --out.") from error
    return content


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with _writing(path):
        temporary.write_text(text)
        temporary.replace(path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "name a folder that you may write to."
        if error.errno in FULL:
            remedy = (
                "what was written before is complete: free some disk space, then "
                "resume with --resume."
            )
        raise UsageError(
            f"{path} cannot be written ({error.strerror}); {remedy}"
        ) from error


def _count_cores() -> int | None:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def _git_revision() -> str:
    """Return the commit, marked if the files differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            capture_output=True,
            check=True,
            text=True,
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
