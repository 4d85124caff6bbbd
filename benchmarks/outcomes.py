"""What finished runs have left in their folders, read back. Needs no JAX."""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import records
from benchmarks.config import UsageError, parse_settings
from benchmarks.experiments import EXPERIMENTS

Line = Mapping[str, Any]
# A label, and pairs of setting and value.
Key = tuple[Any, ...]


class Run(NamedTuple):
    """One run of one optimizer.

    Attributes:
      optimizer: Its name.
      label: The name it has in tables and plots.
      recipe: The settings that it had.
      settings: Those of them that the grid gave it, of a sweep; otherwise none.
      seed: Its seed.
      lines: The records of its epochs.
      stopped: Why it ended early, else "".
    """

    optimizer: str
    label: str
    recipe: Mapping[str, Any]
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
    recipe = config["recipes"][optimizer]
    label = recipe.get("label", optimizer)
    settings, seed = about["settings"], about["seed"]
    return Run(optimizer, label, recipe, settings, seed, lines, stopped)


def group(runs: Iterable[Run]) -> dict[Key, list[Run]]:
    """Bring the seeds together.

    Returns:
      The runs by label and pairs of setting and value, in the order of the first ones.
    """
    groups: dict[Key, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.label, *run.settings.items()), []).append(run)
    return groups


def group_by_rate(runs: Iterable[Run]) -> dict[str, dict[float, list[Run]]]:
    """Bring those together that differ in learning rate and seed alone.

    Returns:
      By label and other settings, written, the runs of each learning rate.
    """
    swept: dict[str, dict[float, list[Run]]] = {}
    for (label, *pairs), same in group(runs).items():
        settings = dict(pairs)
        rate = settings.pop("learning_rate")
        swept.setdefault(write_key((label, *settings.items())), {})[rate] = same
    return swept


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


def figure_at(outcome: Outcome, runs: Iterable[Run], share: float) -> Figure:
    """Summarise what counts after a share of the epochs.

    Args:
      outcome: What the runs are of.
      runs: Those to summarise; the ones that ended before are left out.
      share: In (0, 1].
    """
    lines = at(runs, share, outcome.config["epochs"])
    return summarise([*map(outcome.measure.of, lines)])


def decades(lines: Iterable[Line]) -> Iterable[float]:
    """Yield by how many powers of ten the effective rates of a run are spread."""
    for line in lines:
        quantiles = line.get("effective_learning_rate")
        if quantiles and quantiles[0] and quantiles[-1]:
            yield math.log10(quantiles[-1] / quantiles[0])


def with_baseline(outcome: Outcome) -> list[Run]:
    """Put the runs of other experiments first that these are compared with."""
    name = outcome.folder.name
    baseline = EXPERIMENTS[name].baseline if name in EXPERIMENTS else ()
    found = []
    for entry in baseline:
        experiment, _, chosen = entry.partition("/")
        optimizer, *settings = chosen.split()
        wanted = parse_settings("baseline", settings).items()
        folder = outcome.folder.with_name(experiment)
        if folder.exists():
            found += [
                run._replace(settings={**_fixed(config), **run.settings})
                for _, config, _, runs in [read(folder)]
                for run in runs
                if run.optimizer == optimizer and wanted <= run.settings.items()
            ]
    return [*found, *outcome.runs]


def _fixed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a baseline changes in the recipe, but for what all leave out."""
    changes = parse_settings("recipe", config["recipe"])
    return {k: v for k, v in changes.items() if k != "weight_decay"}


def find_robustness(
    outcome: Outcome,
) -> dict[str, dict[float, tuple[Figure, Figure]]]:
    """Find the accuracies on the training and the test set by method and b0.

    Args:
      outcome: A sweep of AdaGrad-Norm over b0; that of SGD lies beside it, its name
        with -sgd at the end.
    """
    others = outcome.folder.with_name(f"{outcome.folder.name}-sgd")
    runs = list(outcome.runs)
    if others.exists():
        runs += read(others).runs
    methods: dict[str, dict[float, tuple[Figure, Figure]]] = {}
    for same in group(runs).values():
        settings, label = same[0].settings, same[0].label
        if "b0" in settings:
            b0 = settings["b0"]
        else:
            b0 = 1 / settings["learning_rate"]
            rate = "1/b0" if settings["schedule"] == "constant" else "1/(b0 √k)"
            label = f"{label}, {rate}"
        ends = at(same, 1, outcome.config["epochs"])
        train, test = (
            summarise([100 * line[f"{where}_accuracy"] for line in ends])
            for where in ("train", "test")
        )
        methods.setdefault(label, {})[float(f"{b0:g}")] = train, test
    return {label: dict(sorted(points.items())) for label, points in methods.items()}


def write_key(key: Key) -> str:
    """Write a label and settings in one.

    >>> write_key(("Padam", ("p", 0.125), ("learning_rate", 0.1)))
    'Padam, p = 1/8, learning rate = 0.1'
    """
    label, *settings = key
    return ", ".join([label, *map(write_pair, settings)])


def write_pair(setting: tuple[str, Any]) -> str:
    """Write a setting with its name."""
    name, value = setting
    return f"{name.replace('_', ' ')} = {write_setting(value)}"


def write_setting(value: Any) -> str:
    """Write the value of a setting, a simple fraction as such.

    >>> write_setting(0.125), write_setting(0.01), write_setting("none")
    ('1/8', '0.01', 'none')
    """
    if not isinstance(value, float):
        return str(value)
    simple = Fraction(value).limit_denominator(16)
    is_simple = simple.numerator == 1 and simple.denominator in (2, 4, 8, 16)
    return str(simple) if is_simple and float(simple) == value else f"{value:g}"
