"""Claims that compare two optimizers seed by seed."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.experiments import EXPERIMENTS, Comparison, Experiment
from benchmarks.reporting import results as outcomes
from benchmarks.reporting.claims.quantities import QUANTITIES, Config, Quantity
from benchmarks.reporting.claims.verdict import Verdict
from benchmarks.reporting.measures import TRAIN_LOSS, summarize
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


def region_of(row: Comparison) -> Region:
    """Return the differences for which a claim is true."""
    margin = QUANTITIES[row.quantity].margin
    if margin is None:
        margin = EXPERIMENTS.get(row.experiment, Experiment).margin
    return region(row.relation, margin)


class Sample(NamedTuple):
    """A quantity of one optimizer, by seed.

    Attributes:
      label: The optimizer and its settings.
      values: By seed.
      diverged: How many are the chance level, because the run diverged.
    """

    label: str
    values: Mapping[int, float]
    diverged: int = 0

    def write(self, quantity: Quantity) -> str:
        """Write the label and the mean over the seeds."""
        shown = [quantity.shown(x) for x in self.values.values()]
        figure = summarize(shown)._replace(diverged=self.diverged)
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
    """Return by how much the first is better, for each common seed."""
    sign = 1 if quantity.more_is_better else -1
    common = sorted(first.values.keys() & second.values.keys())
    return [sign * (first.values[seed] - second.values[seed]) for seed in common]


def judge_comparisons(results: Path, rows: Sequence[Comparison]) -> list[Verdict]:
    """Judge claims about two optimizers, in the given order."""
    measured = [_measure(results, row) for row in rows]
    families: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        # A row alone is a family of one, for which Holm's procedure is the plain rule.
        families.setdefault(row.family or f"row {i}", []).append(i)
    verdicts = [NOT_RUN] * len(rows)
    sizes = [0] * len(rows)
    for members in families.values():
        family = {
            i: (pair(*samples, QUANTITIES[rows[i].quantity]), region_of(rows[i]))
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
    """Read both samples of a claim; None if one was not run."""
    quantity = QUANTITIES[row.quantity]
    by = TRAIN_LOSS if row.by_train_loss else None
    outcome, first = outcomes.find(results, row.first, by)
    other, second = outcomes.find(results, row.second or row.first, by)
    if not first or not second or outcome is None or other is None:
        return None
    if quantity.both is not None:
        return _measure_both(quantity.both, (outcome, first), (other, second))
    a = sample(outcome, first, quantity)
    if not row.second:  # a value that is itself a difference
        return a, Sample("", dict.fromkeys(a.values, 0.0))
    return a, sample(other, second, quantity)


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
    quantity, claimed = QUANTITIES[row.quantity], region_of(row)
    text, ends = "not run", None
    if samples:
        ends = interval(pair(*samples, quantity))
        text = f"{ends.write(quantity.places)}, in {quantity.unit}"
        figures = ", ".join(x.write(quantity) for x in samples if x.label)
        text += f"; {quantity.name}: {figures}"
        if verdict == UNDECIDED and decide(ends, claimed) != UNDECIDED:
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
        quantity.unit,
        row.after_results,
        claimed if samples else None,
    )


def conclude(answers: Sequence[str]) -> str:
    """Combine verdicts on the parts of a claim, which holds if all of them hold.

    >>> conclude([HOLDS, UNDECIDED]), conclude([HOLDS, FAILS, UNDECIDED])
    ('undecided', 'does not hold')
    """
    for verdict in (FAILS, NOT_RUN, UNDECIDED):
        if verdict in answers:
            return verdict
    return HOLDS if answers else NOT_RUN
