"""Claims that compare two optimizers seed by seed."""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.experiments import EXPERIMENTS, Experiment
from benchmarks.reporting import results as outcomes
from benchmarks.reporting.claims.verdict import SEEDS, Verdict
from benchmarks.reporting.results import Outcome, Run
from benchmarks.reporting.statistics import (
    FAILS,
    HOLDS,
    NOT_RUN,
    UNDECIDED,
    Region,
    decide,
    decide_family,
    interval,
    region,
)

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
    return outcomes.classes(config["dataset"])


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
        # Train loss falls but for noise: its running minimum is what was reached.
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


@dataclass(frozen=True)
class Comparison:
    """A claim about two optimizers.

    Attributes:
      claim: What is claimed.
      source: By whom.
      first: Whose runs: experiment, optimizer and settings, as `find` takes.
      second: With whose runs they are compared.
      relation: What `statistics.region` knows.
      quantity: What is compared.
      scale: The column of the table.
      family: Rows of the same family are decided together, by Holm's procedure.
      kind: What kind of claim it is.
      after_results: Whether the row was written when its records already existed.
    """

    claim: str
    source: str
    first: str
    second: str
    relation: str
    quantity: Quantity = END
    scale: str = ""
    family: str = ""
    kind: str = SEEDS
    after_results: bool = False

    @property
    def experiment(self) -> str:
        """Where its runs are."""
        return self.first.split("/")[0]

    @property
    def margin(self) -> float:
        """The largest difference that does not matter."""
        if self.quantity.margin is not None:
            return self.quantity.margin
        return EXPERIMENTS.get(self.experiment, Experiment).margin

    @property
    def region(self) -> Region:
        """The differences for which the claim is true."""
        return region(self.relation, self.margin)


class Sample(NamedTuple):
    """A quantity of one optimizer, by seed.

    Attributes:
      label: Whose.
      values: By seed.
      diverged: How many are the chance level, because the run diverged.
    """

    label: str
    values: Mapping[int, float]
    diverged: int = 0

    def write(self, quantity: Quantity) -> str:
        """Write the label and the mean over the seeds."""
        shown = [quantity.shown(x) for x in self.values.values()]
        figure = outcomes.summarise(shown)._replace(diverged=self.diverged)
        return f"{self.label} {figure.write(quantity.places)}"


def sample(outcome: Outcome, runs: Sequence[Run], quantity: Quantity) -> Sample:
    """Read a quantity from the runs of one optimizer."""
    read = {run.seed: quantity.of(run, outcome.config) for run in runs}
    values = {seed: value for seed, value in read.items() if value is not None}
    diverged = sum(bool(run.stopped) and run.seed in values for run in runs)
    return Sample(_label(outcome, runs), values, diverged)


def _label(outcome: Outcome, runs: Sequence[Run]) -> str:
    settings = {**outcomes.fixed(outcome.config), **runs[0].settings}
    return outcomes.write_key((runs[0].label, *settings.items()))


def pair(first: Sample, second: Sample, quantity: Quantity) -> list[float]:
    """Return by how much the first is better, for each seed that both have."""
    sign = 1 if quantity.more_is_better else -1
    common = sorted(first.values.keys() & second.values.keys())
    return [sign * (first.values[seed] - second.values[seed]) for seed in common]


def judge_comparisons(results: Path, rows: Sequence[Comparison]) -> list[Verdict]:
    """Judge claims about two optimizers.

    Args:
      results: A folder with a folder for each experiment.
      rows: The claims.

    Returns:
      The verdicts, in the order of the rows.
    """
    measured = [_measure(results, row) for row in rows]
    families: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        # A row alone is a family of one, for which Holm's procedure is the plain rule.
        families.setdefault(row.family or f"row {i}", []).append(i)
    verdicts = [NOT_RUN] * len(rows)
    sizes = [0] * len(rows)
    for members in families.values():
        family = {
            i: (pair(*samples, rows[i].quantity), rows[i].region)
            for i in members
            if (samples := measured[i])
        }
        for i, verdict in decide_family(family).items():
            verdicts[i], sizes[i] = verdict, len(family)
    return [
        _write(row, samples, verdict, size)
        for row, samples, verdict, size in zip(
            rows, measured, verdicts, sizes, strict=True
        )
    ]


def _measure(results: Path, row: Comparison) -> tuple[Sample, Sample] | None:
    """Read what a row compares, if it was run."""
    outcome, first = outcomes.find(results, row.first)
    other, second = outcomes.find(results, row.second or row.first)
    if not first or not second or outcome is None or other is None:
        return None
    if row.quantity.both is not None:
        return _measure_both(row.quantity.both, (outcome, first), (other, second))
    a = sample(outcome, first, row.quantity)
    if not row.second:  # a value that is itself a difference
        return a, Sample("", dict.fromkeys(a.values, 0.0))
    return a, sample(other, second, row.quantity)


def _measure_both(
    both: Callable[[Run, Run, Config], tuple[float, float] | None],
    *sides: tuple[Outcome, Sequence[Run]],
) -> tuple[Sample, Sample]:
    (outcome, first), (_, second) = sides
    others = {run.seed: run for run in second}
    found = {
        run.seed: both(run, others[run.seed], outcome.config)
        for run in first
        if run.seed in others
    }
    values = {seed: pair for seed, pair in found.items() if pair is not None}
    a, b = (
        Sample(_label(*side), {seed: pair[k] for seed, pair in values.items()})
        for k, side in enumerate(sides)
    )
    return a, b


def _write(
    row: Comparison, samples: tuple[Sample, Sample] | None, verdict: str, size: int
) -> Verdict:
    text, ends = "not run", None
    if samples:
        ends = interval(pair(*samples, row.quantity))
        text = f"{ends.write(row.quantity.places)}, in {row.quantity.unit}"
        figures = ", ".join(x.write(row.quantity) for x in samples if x.label)
        text += f"; {row.quantity.name}: {figures}"
        if verdict == UNDECIDED and decide(ends, row.region) != UNDECIDED:
            text += f"; decided alone, but not as one of {size} (Holm)"
    return Verdict(
        row.claim,
        row.source,
        text,
        verdict,
        row.kind,
        row.experiment,
        row.scale,
        ends,
        row.quantity.unit,
        row.after_results,
    )


def conclude(answers: Sequence[str]) -> str:
    """Join verdicts on the parts of one claim: it holds if all of them hold.

    >>> conclude([HOLDS, UNDECIDED]), conclude([HOLDS, FAILS, UNDECIDED])
    ('undecided', 'does not hold')
    """
    for verdict in (FAILS, NOT_RUN, UNDECIDED):
        if verdict in answers:
            return verdict
    return HOLDS if answers else NOT_RUN
