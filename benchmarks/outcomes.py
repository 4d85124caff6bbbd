"""What finished runs have left in their folders, read back. Needs no JAX."""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import records
from benchmarks.config import UsageError

Line = Mapping[str, Any]
# A label, and pairs of setting and value.
Key = tuple[Any, ...]


class Run(NamedTuple):
    """One run of one optimizer.

    Attributes:
      optimizer: Its name.
      label: The name it has in tables and plots.
      settings: The point of the grid, of a sweep; otherwise empty.
      seed: Its seed.
      lines: The records of its epochs.
      stopped: Why it ended early, else "".
    """

    optimizer: str
    label: str
    settings: Mapping[str, Any]
    seed: int
    lines: Sequence[Line]
    stopped: str


class Outcome(NamedTuple):
    """What a folder holds.

    Attributes:
      folder: The folder.
      config: The settings of its runs.
      header: How they came about; see `records.header`.
      runs: The runs; of a sweep all that are finished.
    """

    folder: Path
    config: Mapping[str, Any]
    header: Mapping[str, Any]
    runs: Sequence[Run]

    @property
    def title(self) -> str:
        """What was trained."""
        config = self.config
        title = f"{config['model']} on {config['dataset']}, {config['epochs']} epochs"
        plain = config.get("dtype", "float32") == "float32"
        return title if plain else f"{title}, {config['dtype']}"

    @property
    def measure(self) -> "Measure":
        """What its runs are judged by."""
        return measure_for(self.config["dataset"])


class Measure(NamedTuple):
    """What runs are judged by.

    Attributes:
      name: With its unit.
      error: What a plot shows of it, with its unit: the less the better.
      of: Reads it from the record of an epoch.
      of_error: Reads what the plot shows.
      more_is_better: Whether a larger value is a better one.
    """

    name: str
    error: str
    of: Callable[[Line], float]
    of_error: Callable[[Line], float]
    more_is_better: bool


def _perplexity(line: Line) -> float:
    return math.exp(line["test_loss"])


ACCURACY = Measure(
    "test accuracy in %",
    "test error (%)",
    lambda line: 100 * line["test_accuracy"],
    lambda line: 100 * (1 - line["test_accuracy"]),
    more_is_better=True,
)
PERPLEXITY = Measure(
    "test perplexity per character",
    "test perplexity per character",
    _perplexity,
    _perplexity,
    more_is_better=False,
)


def measure_for(dataset: str) -> Measure:
    """Return what networks are judged by on a data set."""
    return PERPLEXITY if dataset == "tiny_shakespeare" else ACCURACY


def read(folder: Path) -> Outcome:
    """Read the records of `train` or of `sweep`.

    Args:
      folder: As the command left it; checkpoints are not needed.

    Raises:
      UsageError: If a file is missing or damaged, naming the folder.
    """
    config, header = read_settings(folder)
    try:
        if (folder / "sweep.jsonl").exists():
            runs = [
                _read_run(folder / line["run"], line["optimizer"], line)
                for line in records.read(folder / "sweep.jsonl")
                if line["state"] in ("complete", "stopped")
            ]
        else:
            seeds = range(config["seed"], config["seed"] + config["seeds"])
            runs = [
                _read_run(folder, name, {"seed": seed, "settings": {}})
                for name in config["recipes"]
                for seed in seeds
                if (folder / f"{name}-seed{seed}.jsonl").exists()
            ]
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{folder} cannot be read: {error}.") from error
    return Outcome(folder, config, header, runs)


def read_settings(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read config.json and header.json of a folder.

    Raises:
      UsageError: If they are missing or damaged, naming the folder.
    """
    try:
        config, header = (
            json.loads((folder / name).read_text())
            for name in ("config.json", "header.json")
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} cannot be read: {error}.") from error
    return config, header


def _read_run(folder: Path, optimizer: str, about: Mapping[str, Any]) -> Run:
    config = json.loads((folder / "config.json").read_text())
    lines = records.read(folder / f"{optimizer}-seed{about['seed']}.jsonl")
    stopped = lines.pop()["stopped"] if lines and "stopped" in lines[-1] else ""
    label = config["recipes"][optimizer].get("label", optimizer)
    return Run(optimizer, label, about["settings"], about["seed"], lines, stopped)


def group(runs: Iterable[Run]) -> dict[Key, list[Run]]:
    """Bring the seeds together.

    Returns:
      The runs by label and pairs of setting and value, in the order of the first ones.
    """
    groups: dict[Key, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.label, *run.settings.items()), []).append(run)
    return groups


class Figure(NamedTuple):
    """A mean over seeds.

    Attributes:
      mean: The mean; NaN of nothing.
      deviation: The sample deviation; None of a single value.
      n: How many values.
    """

    mean: float
    deviation: float | None
    n: int

    def __str__(self) -> str:
        if not self.n:
            return "-"
        if self.deviation is None:
            return f"{self.mean:.2f}"
        return f"{self.mean:.2f}±{self.deviation:.2f}"


def summarise(values: Sequence[float]) -> Figure:
    """Take the mean and the sample deviation.

    >>> print(summarise([1.0, 2.0, 3.0]))
    2.00±1.00
    >>> print(summarise([1.0]), summarise([]))
    1.00 -
    """
    if not values:
        return Figure(math.nan, None, 0)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Figure(statistics.fmean(values), deviation, len(values))


def at(runs: Iterable[Run], share: float, epochs: int) -> list[Line]:
    """Return each run's record after a share of the epochs, if it came that far.

    Args:
      runs: The runs.
      share: In (0, 1].
      epochs: The length of a whole run.
    """
    epoch = math.ceil(share * epochs)
    return [line for run in runs for line in run.lines if line["epoch"] == epoch]
