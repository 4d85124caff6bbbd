"""Decide which runs tune a setting, and which value wins, from results alone.

Each optimizer, at each point of the rest of the grid, is tuned by itself: its runs with
the tuning seeds are measured on the validation set, the best value is the one with the
best mean over the seeds, and while that is the smallest or the largest of those tried,
the next one beyond it is tried as well. The finals then train with the best value and
other seeds, and are measured on the test set. Nothing but finished runs decides, so
every worker, and a sweep that goes on elsewhere, comes to the same decisions.
"""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.errors import UsageError
from benchmarks.sweep import grid as grids
from benchmarks.sweep.config import SweepConfig
from benchmarks.sweep.grid import Grid, Run, Value

# How many values are added at most to those that an optimizer starts with.
MOST_ADDED = 4


class Tried(NamedTuple):
    """The values tried so far, ascending, and the best if every score is known."""

    values: tuple[float, ...]
    best: float | None


def check(config: SweepConfig, grid: Grid) -> None:
    """Raise an error for a setting that cannot be tuned."""
    name, values = config.tune, grid.get(config.tune or "", ())
    if name is None:
        if config.finals:
            raise UsageError(
                f"--finals {config.finals} needs --tune, the setting to choose for "
                "them, as --tune learning_rate."
            )
        return
    for optimizer in config.train.optimizers:
        numbers = [point[name] for point in grids.points(optimizer, {name: values})]
        if len(set(numbers)) < 2 or not all(
            isinstance(x, float) and x > 0 for x in numbers
        ):
            given = ",".join(map(str, values)) or "nothing"
            raise UsageError(
                f"--tune {name} needs two or more positive numbers to start with, as "
                f"--grid {name}=0.01,0.1,1; for {optimizer} it got {given}."
            )
    if config.train.validate:
        raise UsageError(
            "--validate does not go with --tune, which validates by itself and tests "
            "the finals; leave it out."
        )
    if config.train.seed < config.finals:
        raise UsageError(
            f"--seed must be at least {config.finals}, the number of --finals, whose "
            f"seeds begin at 0, got {config.train.seed}: tuning needs other seeds."
        )


def plan(
    config: SweepConfig, grid: Grid, scores: Mapping[str, float]
) -> dict[str, Run]:
    """List all runs known to be needed.

    Args:
      config: The sweep.
      grid: The values of each setting, those to start with of the tuned one.
      scores: How good each finished tuning run is; higher is better.

    Returns:
      The runs by name; those of one optimizer and point beside each other, first the
      ones that tune.
    """
    train, name = config.train, config.tune
    if name is None:
        return grids.plan(train, grid)
    validating = dataclasses.replace(train, validate=True, out=None, resume=False)
    seeds = range(train.seed, train.seed + train.seeds)
    runs: list[Run] = []
    for optimizer in train.optimizers:
        for point in grids.points(optimizer, {**grid, name: grid[name][:1]}):

            def make(
                value: float, optimizer: str = optimizer, point: dict[str, Any] = point
            ) -> list[Run]:
                at = {**point, name: value}
                made = [grids.make_run(optimizer, at, s, validating) for s in seeds]
                return [run._replace(stage="tuning") for run in made]

            start = [p[name] for p in grids.points(optimizer, {name: grid[name]})]
            tried = try_values(start, lambda value: _mean(make(value), scores))
            runs += itertools.chain.from_iterable(map(make, tried.values))
            if tried.best is not None:
                at = {**point, name: tried.best}
                made = [
                    grids.make_run(optimizer, at, seed, train)
                    for seed in range(config.finals)
                ]
                runs += [run._replace(stage="final") for run in made]
    return {run.name: run for run in runs}


def _mean(runs: Sequence[Run], scores: Mapping[str, float]) -> float | None:
    found = [scores[run.name] for run in runs if run.name in scores]
    return statistics.fmean(found) if len(found) == len(runs) else None


def try_values(start: Sequence[Value], score: Callable[[float], float | None]) -> Tried:
    """Return which values to try, and which of them is the best.

    The values that are added continue the row at the mean ratio of those it starts
    with, rounded to three digits; at most MOST_ADDED are. Of equally good values the
    smallest is the best.

    Args:
      start: Two or more positive numbers.
      score: How good a value is, the higher the better; None if not known yet.

    >>> try_values([0.1, 1.0], lambda value: -abs(value - 10))
    Tried(values=(0.1, 1.0, 10.0, 100.0), best=10.0)
    """
    values = sorted(map(float, start))
    low, high = values[0], values[-1]
    ratio = (high / low) ** (1 / (len(values) - 1))
    below = above = 0
    while True:
        scores = [score(value) for value in values]
        known = [s for s in scores if s is not None]
        if len(known) < len(values):
            return Tried(tuple(values), None)
        best = values[scores.index(max(known))]
        if below + above == MOST_ADDED or values[0] < best < values[-1]:
            return Tried(tuple(values), best)
        if best == values[0]:
            below += 1
            values.insert(0, grids.round_value(low / ratio**below))
        else:
            above += 1
            values.append(grids.round_value(high * ratio**above))


def score(record: Mapping[str, Any] | None, classes: int, by_accuracy: bool) -> float:
    """Return the score of a tuning run from its last record; higher is better.

    A diverged run, which has none, counts as chance among the classes or characters.
    The accuracy counts, or else the loss, as of text.
    """
    if by_accuracy:
        return record["validation_accuracy"] if record else 1 / classes
    return -record["validation_loss"] if record else -math.log(classes)
