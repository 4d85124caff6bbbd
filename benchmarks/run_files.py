"""The files of a finished run: in its folder, or packed into records.jsonl.

The packed form is published: each line is a record, with the name of its file. Settings
and headers are lines as well; those of a sweep's runs hold only what differs from the
sweep's. Standard library only.
"""

import functools
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import run_dir
from benchmarks.errors import UsageError

PACKED = "records.jsonl"
# What each command writes, and which setting lists its files; see `_check`.
_LISTED = {"regret": "games", "landscape": "surfaces", "theory": "studies"}
KINDS = ("train", "sweep", "speed", "gan", *_LISTED)


class RunFiles(NamedTuple):
    """The settings, header and records of a run.

    Attributes:
      folder: The folder of the run.
      files: By path in the folder, the content of each JSON file and the records of
        each JSONL file.
    """

    folder: Path
    files: Mapping[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The settings."""
        return self.files["config.json"]

    @property
    def header(self) -> dict[str, Any]:
        """The provenance of the records; see `run_dir.header`."""
        return self.files["header.json"]

    @property
    def kind(self) -> str:
        """The command that wrote them."""
        command = self.header.get("command") or [""]
        return self.header.get("kind", command[0])

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the records of a JSONL file, by its name without the ending."""
        return self.files.get(f"{name}.jsonl", [])

    def inner(self, name: str) -> "RunFiles":
        """Return the files of one of a sweep's runs."""
        start = f"{name}/"
        files = {
            path.removeprefix(start): content
            for path, content in self.files.items()
            if path.startswith(start)
        }
        return RunFiles(self.folder / name, files)


def is_run(folder: Path) -> bool:
    """Return whether a folder has the files of a run, in either form."""
    return any((folder / name).exists() for name in (PACKED, "header.json"))


def read_kind(folder: Path) -> str:
    """Return the command that wrote a run, without reading its records."""
    header = folder / "header.json"
    if (folder / PACKED).exists():
        return load(folder).kind
    return RunFiles(folder, {"header.json": run_dir.read_json(header)}).kind


def load(folder: Path) -> RunFiles:
    """Read the files of a run, in its folder or published, without its checkpoints.

    Raises:
      UsageError: If the folder holds no run or a damaged file.
    """
    packed = folder / PACKED
    try:
        if packed.exists():
            changed = packed.stat().st_mtime_ns
            files: Mapping[str, Any] = _load_packed(packed, changed)
        else:
            files = {
                str(path.relative_to(folder)): _read(path)
                for path in sorted(folder.rglob("*.json*"))
                if "checkpoints" not in path.relative_to(folder).parts
            }
    except (OSError, ValueError) as error:
        reason = str(error).removesuffix(".")
        raise UsageError(f"{folder} cannot be read: {reason}.") from error
    for name in ("header.json", "config.json"):
        if name not in files:
            raise UsageError(f"{folder} holds no run: there is no {name}.")
        if not isinstance(files[name], dict):
            raise UsageError(f"{folder} holds no run: {name} is not that of a run.")
    return RunFiles(folder, files)


def find(results: Path, name: str) -> RunFiles | None:
    """Read the files of an experiment of this name; None if it was not run."""
    folder = results / name
    return load(folder) if is_run(folder) else None


def _read(path: Path) -> Any:
    if path.suffix == ".jsonl":
        return run_dir.read(path)
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from error


@functools.lru_cache(maxsize=64)
def _load_packed(path: Path, changed: int) -> Mapping[str, Any]:
    del changed  # read again if the file has changed
    try:
        return unpack(run_dir.read(path))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} has a line that is no record") from error


def pack(files: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the lines of records.jsonl."""
    for path in sorted(files, key=lambda path: (path.count("/"), path)):
        folder, _, name = path.rpartition("/")
        content = files[path]
        if name.endswith(".jsonl"):
            yield from ({"file": path, **record} for record in content)
        elif folder and name in files:
            whole = files[name]
            own = {k: v for k, v in content.items() if whole.get(k, files) != v}
            without = [key for key in whole if key not in content]
            yield {"file": path, "changes": own, "without": without}
        else:
            yield {"file": path, "content": content}


def unpack(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the files that `pack` was given.

    >>> files = {"config.json": {"epochs": 1}, "adam-seed0.jsonl": [{"epoch": 1}]}
    >>> unpack(list(pack(files))) == files
    True
    """
    files: dict[str, Any] = {}
    for line in lines:
        path = line["file"]
        if path.endswith(".jsonl"):
            record = {key: value for key, value in line.items() if key != "file"}
            files.setdefault(path, []).append(record)
        elif "content" in line:
            files[path] = line["content"]
        else:
            whole = files[path.rpartition("/")[2]]
            same = {k: v for k, v in whole.items() if k not in line["without"]}
            files[path] = {**same, **line["changes"]}
    return files


def restore(folder: Path) -> None:
    """Unpack the files of a published run, so that it can be resumed."""
    packed = folder / PACKED
    if not packed.exists():
        return
    for name, content in load(folder).files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".jsonl":
            run_dir.write_lines(path, content)
        else:
            run_dir.write_json(path, content)
    packed.unlink()


def publish(run: Path, results: Path) -> Path:
    """Pack the records of a run into one file, without what is specific to a machine.

    Checkpoints, folders and workers' names are left out. Only finished runs are copied,
    so an unfinished sweep can be published: with --out and --resume, a copy of its
    records can be continued anywhere.

    Returns:
      The new folder, of the same name, in place of an existing one.

    Raises:
      UsageError: If there is nothing to publish; then nothing is changed.
    """
    loaded = load(run)
    files = {name: _anonymous(name, x) for name, x in find_finished(loaded).items()}
    target = results / run.resolve().name
    is_new = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    try:
        run_dir.write_lines(target / PACKED, pack(files))
    except BaseException:
        if is_new:
            shutil.rmtree(target)
        raise
    for path in target.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != PACKED:
            path.unlink()
    return target


def find_finished(run: RunFiles) -> dict[str, Any]:
    """Return the files of a run that are complete: what is published of it.

    Raises:
      UsageError: If there are none.
    """
    folder, kind = run.folder, run.kind
    if kind not in KINDS:
        raise UsageError(
            f"{folder} holds no run that the report knows: its header.json says that "
            f"{kind or 'no command'!r} wrote it, not one of {', '.join(KINDS)}."
        )
    if kind in ("train", "sweep"):
        ended = _ended(run)
        if not ended:
            raise UsageError(f"{folder} has no finished run yet; let it continue.")
        return ended
    wanted = run.config.get(_LISTED.get(kind, ""), [kind])
    missing = [name for name in wanted if not run.lines(name)]
    # Each record of gan is a whole run; it can be continued from them.
    begun = kind != "gan" and "kind" in run.header and "finished" not in run.header
    if missing or begun:
        what = f"no records of {', '.join(missing)}" if missing else "no end"
        raise UsageError(f"{folder} is unfinished, it has {what}; run it again.")
    return {path: content for path, content in run.files.items() if "/" not in path}


def _ended(run: RunFiles) -> dict[str, Any]:
    """Return the files of the finished runs; {} if there are none."""
    common = {x: run.files[x] for x in ("config.json", "header.json")}
    if run.kind == "sweep":
        states = ("complete", "stopped")
        names = {line["run"] for line in run.lines("sweep") if line["state"] in states}
        inside = {
            path: content
            for path, content in run.files.items()
            if path.partition("/")[0] in names
        }
        return {**common, "sweep.jsonl": run.lines("sweep"), **inside} if names else {}
    trained = {
        path: lines
        for path, lines in run.files.items()
        if "-seed" in path and "/" not in path and lines
        if "stopped" in lines[-1]
        or lines[-1].get("epoch") == run.config.get("epochs", 0)
    }
    return {**common, **trained} if trained else {}


def _anonymous(path: str, content: Any) -> Any:
    """Remove folders and names of workers."""
    name = path.rpartition("/")[2]
    if name == "config.json":
        hidden = [key for key in ("out", "data_dir") if key in content]
        return {**content, **dict.fromkeys(hidden)}
    if name == "header.json":
        own = {**content, "command": _without_folders(content["command"])}
        if "resumed" in content:
            own["resumed"] = [_anonymous(name, one) for one in content["resumed"]]
        return own
    return [{k: v for k, v in line.items() if k != "worker"} for line in content]


def _without_folders(command: list[str]) -> list[str]:
    """Remove from a command the folders it read and wrote."""
    kept, skip = [], False
    for word in command:
        option, equals, _ = word.partition("=")
        if option in ("--out", "--data-dir"):
            skip = not equals
        elif word != "--resume" and not skip:
            kept.append(word)
        else:
            skip = False
    return kept
