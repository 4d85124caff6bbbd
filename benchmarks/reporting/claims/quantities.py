"""The quantities that claims compare, read from the records of a run."""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.reporting import results as outcomes
from benchmarks.reporting.measures import Line, classes
from benchmarks.reporting.results import Run

Config = Mapping[str, Any]
Read = Callable[[Run, Config], float | None]


class Quantity(NamedTuple):
    """A quantity that claims compare.

    Attributes:
      name: What it is.
      unit: Of the differences.
      of: Reads it from a run that came far enough; None if it did not. A run that
        diverged counts as the chance level, where there is one.
      more_is_better: Whether a larger value is better.
      margin: The largest difference that does not matter; None: that of the experiment.
      shown: Turns the compared value into the one to show.
      both: Reads it from two runs with the same seed, if it depends on both.
      places: Decimals to show.
    """

    name: str
    unit: str
    of: Read = lambda run, config: None
    more_is_better: bool = True
    margin: float | None = None
    shown: Callable[[float], float] = float
    both: Callable[[Run, Run, Config], tuple[float, float] | None] | None = None
    places: int = 2


def _read(
    name: str,
    run: Run,
    epochs: Iterable[int],
    chance: float | None,
) -> float | None:
    """Average a value over epochs; chance if the run diverged before their end."""
    lines = [outcomes.line_at(run, epoch) for epoch in epochs]
    if all(lines):
        return statistics.fmean(line[name] for line in lines if line)
    return chance if run.stopped else None


def _accuracy(share: float, window: int) -> Read:
    def of(run: Run, config: Config) -> float | None:
        last = outcomes.epoch_at(share, config["epochs"])
        epochs = range(max(1, last - window + 1), last + 1)
        value = _read("test_accuracy", run, epochs, 1 / classes(config))
        return None if value is None else 100 * value

    return of


def _loss(name: str, share: float, change: Callable[[float], float] = float) -> Read:
    def of(run: Run, config: Config) -> float | None:
        epoch = outcomes.epoch_at(share, config["epochs"])
        value = _read(name, run, [epoch], math.log(classes(config)))
        return None if value is None else change(value)

    return of


def _log(value: float | None) -> float | None:
    return 100 * math.log(value) if value else None


def _last(run: Run, config: Config) -> Mapping[str, Any]:
    """Return the record of the last epoch; empty if the run ended before."""
    return outcomes.line_at(run, config["epochs"]) or {}


def _rise_since(first: Line | None, last: Line) -> float | None:
    if first is None or not last:
        return None
    return 100 * (last["test_accuracy"] - first["test_accuracy"])


def _gain(run: Run, config: Config) -> float | None:
    before = outcomes.epoch_at(config["milestones"][0], config["epochs"])
    return _rise_since(outcomes.line_at(run, before), _last(run, config))


def _fall_after_0(run: Run, config: Config) -> float | None:
    first = next((x for x in run.lines if x["train_accuracy"] == 1), None)
    return _rise_since(first, _last(run, config))


def _fitted(run: Run, config: Config) -> float | None:
    reached = _last(run, config).get("final_train_accuracy", 0) > 0.99
    return LAST_FIVE.of(run, config) if reached else None


def _spread(run: Run, config: Config) -> float | None:
    return next(iter(outcomes.decades([_last(run, config)])), None)


def _accuracy_at_equal_loss(
    first: Run, second: Run, config: Config
) -> tuple[float, float] | None:
    """Interpolate both accuracies at the lowest train loss that both runs reach."""
    del config
    curves = []
    for run in (first, second):
        # Train loss falls, except for noise: its running minimum is what was reached.
        losses = list(itertools.accumulate((x["train_loss"] for x in run.lines), min))
        curves.append(
            (losses[::-1], [100 * x["test_accuracy"] for x in run.lines][::-1])
        )
    if not all(losses for losses, _ in curves):
        return None
    common = max(losses[0] for losses, _ in curves)
    a, b = (float(np.interp(common, *curve)) for curve in curves)
    return a, b


def _epochs_to_90(
    first: Run, second: Run, config: Config
) -> tuple[float, float] | None:
    """Count epochs to 90 % of the second run's accuracy before its first decay."""
    decay = outcomes.line_at(
        second, outcomes.epoch_at(config["milestones"][0], config["epochs"])
    )
    if decay is None:
        return None
    wanted = 0.9 * decay["test_accuracy"]
    a, b = (
        next(
            (x["epoch"] for x in run.lines if x["test_accuracy"] >= wanted),
            config["epochs"],
        )
        for run in (first, second)
    )
    return float(a), float(b)


_RATIO = "% (100 ln of the ratio)"


def _exp(value: float) -> float:
    return math.exp(value / 100)


END = Quantity("test accuracy at the end", "points", _accuracy(1, 1))
LAST_FIVE = Quantity("test accuracy, last five epochs", "points", _accuracy(1, 5))
QUARTER = Quantity("test accuracy after a quarter", "points", _accuracy(1 / 4, 1))
QUARTER_FIVE = Quantity(
    "test accuracy, five epochs up to a quarter", "points", _accuracy(1 / 4, 5)
)
# Loss is the logarithm of perplexity: its margin is that of 1 % of perplexity.
EARLY_LOSS = Quantity(
    "train loss after a quarter",
    "nats",
    _loss("train_loss", 1 / 4),
    more_is_better=False,
    margin=0.01,
    places=3,
)
LAST_LOSS = EARLY_LOSS._replace(name="train loss at the end", of=_loss("train_loss", 1))
PERPLEXITY = Quantity(
    "test perplexity at the end",
    _RATIO,
    _loss("test_loss", 1, lambda loss: 100 * loss),
    more_is_better=False,
    shown=_exp,
)
LOG_LOSS = Quantity(
    "train loss of the last epoch",
    _RATIO,
    lambda run, config: _log(LAST_LOSS.of(run, config)),
    more_is_better=False,
    shown=_exp,
    places=3,
)
DISTANCE = Quantity(
    "distance from the initial weights",
    _RATIO,
    lambda run, config: _log(_last(run, config).get("distance_from_start")),
    margin=10.0,
    shown=_exp,
)
GAIN = Quantity("accuracy gained after the first decay", "points", _gain)
FITTED = Quantity("test accuracy, last five epochs", "points", _fitted)
FALL_AFTER_0 = Quantity("fall of the test error", "points", _fall_after_0)
EQUAL_LOSS = Quantity(
    "test accuracy at equal train loss", "points", both=_accuracy_at_equal_loss
)
EPOCHS_TO_90 = Quantity("epochs", "epochs", more_is_better=False, both=_epochs_to_90)
SPREAD = Quantity("spread of the effective learning rates", "decades", _spread)
# By their names in lower case, as claims name them.
QUANTITIES = {
    name.lower(): value
    for name, value in tuple(globals().items())
    if isinstance(value, Quantity)
}
