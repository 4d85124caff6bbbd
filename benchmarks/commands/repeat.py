"""The settings of an earlier run, as --from takes them."""

import dataclasses
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import run_files
from benchmarks.errors import UsageError
from benchmarks.settings import format_value
from benchmarks.sweep.config import SweepConfig
from benchmarks.training.config import TrainConfig

_OF_SEARCHES = ("trials", "sampler", "pruner")


def read(command: str, kind: Any, path: Path) -> Any:
    """Read the settings of a run, to repeat it, except folders and --resume.

    Args:
      command: The command to run.
      kind: The class of its settings.
      path: The folder of the run, or config.json in it.

    Raises:
      UsageError: If it is not a run of this command.
    """
    folder = path.parent if path.name == "config.json" else path
    files = run_files.load(folder)
    # One of a sweep's runs is as one of train.
    made_by = files.kind if files.kind != "sweep" or "grid" in files.config else "train"
    if made_by != command:
        raise UsageError(
            f"--from {path} is a run of {made_by or 'no command'}, not of "
            f"{command}; choose another folder or command."
        )
    if kind is not SweepConfig:
        config = _fill(kind, files.config)
        _tell_changes(config, files.config)
        return config
    grid = {
        name: ",".join(map(_write, values))
        for name, values in files.config["grid"].items()
        if name not in ("optimizer", "seed")
    }
    return SweepConfig(
        _fill(TrainConfig, files.config),
        tuple(f"{name}={values}" for name, values in grid.items()),
        files.config.get("tune"),
        files.config.get("finals", 0),
        tuple(files.config.get("search", ())),
        **{k: files.config[k] for k in _OF_SEARCHES if k in files.config},
    )


def _write(value: Any) -> str:
    if isinstance(value, Mapping):  # a multiple of what each recipe says
        return f"*{format_value(value['factor'])}"
    return format_value(value)


def _fill(kind: Any, content: Mapping[str, Any]) -> Any:
    """Make settings from config.json; missing ones keep their defaults."""
    hints = typing.get_type_hints(kind)
    known = [field.name for field in dataclasses.fields(kind)]
    values: dict[str, Any] = {}
    for name in known:
        if name not in content or name in ("out", "resume", "profile"):
            continue
        value, hint = content[name], hints[name]
        if isinstance(value, list):
            value = tuple(value)
        elif isinstance(value, str) and Path in (hint, *typing.get_args(hint)):
            value = Path(value)
        values[name] = value
    try:
        return kind(**values)
    except (TypeError, AttributeError) as error:
        raise UsageError(
            f"--from: config.json has a setting of the wrong type ({error}); correct "
            "it, or choose another folder."
        ) from error


def _tell_changes(config: Any, content: Mapping[str, Any]) -> None:
    """Print which of the user's files have changed since the run."""
    if not content.get("own"):
        return
    from benchmarks import own

    now = own.fingerprints(content["own"])
    for name, former in content["own"].items():
        if now.get(name) != former:
            print(
                f"note: {former['file']} of {name} has changed since that run.",
                file=sys.stderr,
            )
