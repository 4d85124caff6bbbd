"""The measures by which runs are judged, and their means over seeds."""

import math
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

Line = Mapping[str, Any]
_Key = TypeVar("_Key", bound=Hashable)


class Measure(NamedTuple):
    """A number by which runs are judged.

    Attributes:
      name: Its name and unit.
      error: The name and unit of what a plot shows of it: the less, the better.
      of: Reads it from the record of an epoch.
      of_error: Reads what a plot shows.
      at_chance: What a network that guesses reaches, by the number of classes.
      more_is_better: Whether a larger value is better.
    """

    name: str
    error: str
    of: Callable[[Line], float]
    of_error: Callable[[Line], float]
    at_chance: Callable[[int], float]
    more_is_better: bool

    def best(self, values: Mapping[_Key, float]) -> _Key | None:
        """Return the key of the best value, the first of equal ones, ignoring NaN."""
        known = {key: value for key, value in values.items() if not math.isnan(value)}
        choose = max if self.more_is_better else min
        return choose(known, key=known.__getitem__) if known else None


def _accuracy(split: str) -> Measure:
    return Measure(
        f"{split} accuracy in %",
        f"{split} error (%)",
        lambda line: 100 * line[f"{split}_accuracy"],
        lambda line: 100 * (1 - line[f"{split}_accuracy"]),
        lambda classes: 100 / classes,
        more_is_better=True,
    )


def _perplexity(split: str) -> Measure:
    def read(line: Line) -> float:
        return math.exp(line[f"{split}_loss"])

    title = f"{split} perplexity per character"
    return Measure(title, title, read, read, float, more_is_better=False)


def _plain(
    split: str,
    name: str,
    at_chance: Callable[[int], float] = lambda classes: math.nan,  # unknown
    *,
    more_is_better: bool = False,
) -> Measure:
    """Make the measure of a loss, or of the user's own metric, without conversion."""

    def read(line: Line) -> float:
        return line[f"{split}_{name}"]

    title = f"{split} {name.replace('_', ' ')}"
    return Measure(title, title, read, read, at_chance, more_is_better)


ACCURACY, PERPLEXITY = _accuracy("test"), _perplexity("test")
TRAIN_ACCURACY, TRAIN_LOSS = _accuracy("train"), _plain("train", "loss", math.log)

# The classes, or different characters, of a data set; ten if it is not named.
_CLASSES = {"cifar100": 100, "imagenet2012": 1000, "tiny_shakespeare": 65}


def classes(config: Mapping[str, Any]) -> int:
    """Return the number of classes, or of different characters, of a run's data."""
    known = config.get("data", {}).get("classes")
    return known or _CLASSES.get(config["dataset"], 10)


def measure_for(config: Mapping[str, Any], split: str = "test") -> Measure:
    """Return the measure by which runs with these settings are judged."""
    if config.get("metric"):
        name = config["metric"].rpartition(":")[2].rpartition(".")[2].partition(",")[0]
        return _plain(split, name, more_is_better=not config.get("minimize"))
    about = config.get("data", {})
    if about.get("classes") == 0:
        return _plain(split, "loss")
    is_text = about.get("kind") == "text" or config["dataset"] == "tiny_shakespeare"
    return (_perplexity if is_text and not config.get("loss") else _accuracy)(split)


class Figure(NamedTuple):
    """A mean over seeds.

    Attributes:
      mean: The mean; NaN of nothing.
      deviation: The sample standard deviation; None of a single value.
      n: How many values.
      diverged: How many of them are the chance level, because the run diverged.
    """

    mean: float
    deviation: float | None
    n: int
    diverged: int = 0

    def __str__(self) -> str:
        return self.write()

    def write(self, places: int = 2, between: str = "±") -> str:
        """Write the mean and the deviation, and how many runs diverged."""
        if not self.n:
            return "-"
        if self.diverged == self.n:
            return f"diverged ({self.n} of {self.n})"
        text = f"{self.mean:.{places}f}"
        if self.deviation is not None:
            text += f"{between}{self.deviation:.{places}f}"
        return text + (f" ({self.diverged} of {self.n} diverged)" * bool(self.diverged))


def summarize(values: Sequence[float]) -> Figure:
    """Return the mean and the sample standard deviation.

    >>> print(summarize([1.0, 2.0, 3.0]))
    2.00±1.00
    >>> print(summarize([1.0]), summarize([]))
    1.00 -
    """
    if not values:
        return Figure(math.nan, None, 0)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Figure(statistics.fmean(values), deviation, len(values))
