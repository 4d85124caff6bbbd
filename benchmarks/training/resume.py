"""Resume a run from its latest checkpoint, if its settings are the same."""

import dataclasses
import json
import os
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import run_dir
from benchmarks.errors import UsageError
from benchmarks.training.checkpoints import Checkpoints
from benchmarks.training.config import CIRCUMSTANCES, TrainConfig


@dataclass(frozen=True)
class RunResult:
    """The records of a run's epochs, and why it ended early, if it did."""

    records: list[dict[str, Any]]
    stopped: str | None = None


def read_result(path: Path) -> RunResult:
    """Read the records of a run; there are none if it has not started."""
    try:
        lines = run_dir.read(path) if path.exists() else []
    except ValueError as error:
        raise UsageError(f"{error} Correct it, or give another --out.") from error
    if lines and "stopped" in lines[-1]:
        return RunResult(lines[:-1], lines[-1]["stopped"])
    return RunResult(lines)


def find_progress(
    path: Path, checkpoints: Checkpoints, epochs: int, steps_per_epoch: int
) -> tuple[RunResult, bool]:
    """Find a run's records up to its latest checkpoint, and whether it is finished.

    Raises:
      UsageError: If the records do not lead to the checkpoint, or are damaged.
    """
    result, latest = read_result(path), checkpoints.latest or 0
    # Published records have no checkpoints.
    ended = checkpoints.is_new or latest == epochs * steps_per_epoch
    if result.stopped is not None or (ended and len(result.records) == epochs):
        return result, True
    done = latest // steps_per_epoch
    lines = [line for line in result.records if line["epoch"] <= done]
    if [line["epoch"] for line in lines] != list(range(1, done + 1)):
        raise UsageError(
            f"{path} lacks records of the {done} epochs that lead to the checkpoint "
            f"{checkpoints.folder / str(latest)}; remove {checkpoints.folder} to do "
            "this run again, or give another --out."
        )
    return RunResult(lines), False


def open_run(
    out: Path | None, name: str, config: Mapping[str, Any], resume: bool
) -> Path:
    """Create the folder of a run, or open it to resume, and write its settings.

    Args:
      out: The folder the user asked for, or None for a new one under runs/.
      name: What the new folder's name begins with.
      config: The settings, and what follows from them.
      resume: Whether the folder may hold a run with the same settings already.

    Raises:
      UsageError: If the folder cannot be created, or holds something else.
    """
    kept = None if out is None else out / "config.json"
    if resume and kept is not None and kept.exists():
        check_settings(kept, config)
        return kept.parent
    # A process that was killed at once may have left the beginning of the settings.
    begun = {"config.tmp"}
    if resume and out is not None and out.is_dir() and {*os.listdir(out)} - begun:
        raise UsageError(
            f"--resume: {out} holds no run (there is no config.json); give the folder "
            "that the run printed, or a new one."
        )
    folder = run_dir.create_folder(out, name)
    run_dir.write_json(folder / "config.json", config)
    return folder


def check_settings(kept: Path, config: Mapping[str, Any]) -> None:
    """Raise an error if the run to resume had other settings, naming each.

    Settings that did not exist when the run was made had their defaults. The
    descriptions of optimizers do not matter.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    former, wanted = (
        _without_descriptions({**defaults, **settings})
        for settings in (run_dir.read_json(kept), config)
    )
    if different := list_differences(former, wanted, {*CIRCUMSTANCES, "data"}):
        raise UsageError(
            f"--resume: the run in {kept.parent} had other settings: {different}. Give "
            "the same ones, or another --out."
        )


def list_differences(
    former: Mapping[str, Any],
    wanted: Mapping[str, Any],
    without: Set[str] = frozenset(),
) -> str:
    """Name each setting that differs, with both values; "" if none does.

    >>> list_differences({"epochs": 1, "seed": 0}, {"epochs": 2, "seed": 0})
    'epochs was 1, is 2'
    """
    return "; ".join(
        f"{key} was {former.get(key)}, is {wanted.get(key)}"
        for key in sorted({*former, *wanted} - without)
        if former.get(key) != wanted.get(key)
    )


def _without_descriptions(settings: Mapping[str, Any]) -> dict[str, Any]:
    plain = json.loads(json.dumps(settings, default=str))
    for recipe in plain.get("recipes", {}).values():
        if isinstance(recipe, dict):
            recipe.pop("label", None)
            recipe.pop("formula", None)
    return plain
