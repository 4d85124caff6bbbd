"""What claims compare: accuracies, losses and more, read from a run."""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.reporting import results as outcomes
from benchmarks.reporting.results import Run

Config = Mapping[str, Any]


class Quantity(NamedTuple):
    """What is compared.

    Attributes:
      name: What it is.
      unit: Of the differences.
      of: Reads it from a run that came far enough; None if it did not. A run that
        diverged counts as the chance level, where there is one.
      both: Reads it from two runs with the same seed, if it depends on both.
      more_is_better: Whether a larger value is a better one.
      margin: The largest difference that does not matter; None: that of the experiment.
      shown: Turns the compared value into the one to show.
      places: Decimals to show.
    """

    name: str
    unit: str
    of: Callable[[Run, Config], float | None] = lambda run, config: None
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


def _chance(config: Config) -> int:
    return outcomes.classes(config)


def _accuracy(share: float, window: int) -> Callable[[Run, Config], float | None]:
    def of(run: Run, config: Config) -> float | None:
        last = outcomes.epoch_at(share, config["epochs"])
        epochs = range(max(1, last - window + 1), last + 1)
        value = _read("test_accuracy", run, epochs, 1 / _chance(config))
        return None if value is None else 100 * value

    return of


def _log_perplexity(run: Run, config: Config) -> float | None:
    value = _read("test_loss", run, [config["epochs"]], math.log(_chance(config)))
    return None if value is None else 100 * value


def _early_loss(run: Run, config: Config) -> float | None:
    early = outcomes.epoch_at(1 / 4, config["epochs"])
    return _read("train_loss", run, [early], math.log(_chance(config)))


def _gain(run: Run, config: Config) -> float | None:
    before = outcomes.epoch_at(config["milestones"][0], config["epochs"])
    first, last = (outcomes.line_at(run, x) for x in (before, config["epochs"]))
    if first is None or last is None:
        return None
    return 100 * (last["test_accuracy"] - first["test_accuracy"])


def _fitted(run: Run, config: Config) -> float | None:
    last = outcomes.line_at(run, config["epochs"])
    reached = last is not None and last.get("final_train_accuracy", 0) > 0.99
    return LAST_FIVE.of(run, config) if reached else None


def _last_loss(run: Run, config: Config) -> float | None:
    last = config["epochs"]
    return _read("train_loss", run, [last], math.log(_chance(config)))


def _log_loss(run: Run, config: Config) -> float | None:
    loss = _last_loss(run, config)
    return 100 * math.log(loss) if loss else None


def _log_distance(run: Run, config: Config) -> float | None:
    last = outcomes.line_at(run, config["epochs"])
    distance = last.get("distance_from_start") if last else None
    return 100 * math.log(distance) if distance else None


def _fall_after_0(run: Run, config: Config) -> float | None:
    last = outcomes.line_at(run, config["epochs"])
    first = next((x for x in run.lines if x["train_accuracy"] == 1), None)
    if first is None or last is None:
        return None
    return 100 * (last["test_accuracy"] - first["test_accuracy"])


def _accuracy_at_equal_loss(
    first: Run, second: Run, config: Config
) -> tuple[float, float] | None:
    """Interpolate both at the lowest train loss that both reach."""
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
    """Count the epochs to 90 % of what the second has before its first decay."""
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


def _spread(run: Run, config: Config) -> float | None:
    last = outcomes.line_at(run, config["epochs"])
    return next(iter(outcomes.decades([last])), None) if last else None


END = Quantity("test accuracy at the end", "points", _accuracy(1, 1))
LAST_FIVE = Quantity("test accuracy, last five epochs", "points", _accuracy(1, 5))
QUARTER = Quantity("test accuracy after a quarter", "points", _accuracy(1 / 4, 1))
QUARTER_FIVE = Quantity(
    "test accuracy, five epochs up to a quarter", "points", _accuracy(1 / 4, 5)
)
# Loss is the logarithm of perplexity: its margin is that of 1 % of perplexity.
EARLY_LOSS = Quantity(
    "train loss after a quarter", "nats", _early_loss, False, margin=0.01, places=3
)
PERPLEXITY = Quantity(
    "test perplexity at the end",
    "% (100 ln of the ratio)",
    _log_perplexity,
    False,
    shown=lambda x: math.exp(x / 100),
)
LOG_LOSS = Quantity(
    "train loss of the last epoch",
    "% (100 ln of the ratio)",
    _log_loss,
    False,
    shown=lambda x: math.exp(x / 100),
    places=3,
)
GAIN = Quantity("accuracy gained after the first decay", "points", _gain)
FITTED = Quantity("test accuracy, last five epochs", "points", _fitted)
LAST_LOSS = Quantity(
    "train loss at the end", "nats", _last_loss, False, margin=0.01, places=3
)
DISTANCE = Quantity(
    "distance from the initial weights",
    "% (100 ln of the ratio)",
    _log_distance,
    margin=10.0,
    shown=lambda x: math.exp(x / 100),
)
FALL_AFTER_0 = Quantity("fall of the test error", "points", _fall_after_0)
EQUAL_LOSS = Quantity(
    "test accuracy at equal train loss", "points", both=_accuracy_at_equal_loss
)
EPOCHS_TO_90 = Quantity("epochs", "epochs", more_is_better=False, both=_epochs_to_90)
SPREAD = Quantity("spread of the effective learning rates", "decades", _spread)
# By their names in small letters, as claims name them.
QUANTITIES = {
    name.lower(): value
    for name, value in tuple(globals().items())
    if isinstance(value, Quantity)
}
