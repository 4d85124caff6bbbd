"""Tables and curves of training runs."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from rich import box
from rich.table import Table

from benchmarks.reporting import results as outcomes
from benchmarks.reporting.plots.style import (
    mark_diverged,
    mark_milestones,
    place_legend,
    save,
    styles,
    tidy,
)

# For each label its runs, one for each seed; each with the records of its epochs.
Runs = Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]


def table(
    runs: Runs,
    epochs: int,
    title: str,
    measure: outcomes.Measure = outcomes.ACCURACY,
    *,
    timed: bool = True,
) -> Table:
    """Tabulate the runs as the paper does: what counts at four points of the training.

    Args:
      runs: For each label its runs.
      epochs: The length of a whole run.
      title: The title.
      measure: What counts.
      timed: Whether the last column is the time of an epoch, else the train accuracy.

    Returns:
      A table of means over the seeds and, of several, sample deviations, after the
      last epochs that end within each quarter; where a run ended earlier it has a dash.
    """
    # In a short run, quarters share an epoch.
    quarters = sorted({outcomes.epoch_at(share / 4, epochs) for share in (1, 2, 3, 4)})
    seeds = max(map(len, runs.values()))
    spread = f", mean ± deviation of {seeds} seeds" if seeds > 1 else ""
    result = Table(
        title=f"{title}: {measure.name} after an epoch{spread}",
        box=box.SIMPLE_HEAD,
    )
    result.add_column("optimizer", overflow="fold")
    result.add_column("train\nloss", justify="right", no_wrap=True)
    for epoch in quarters:
        result.add_column(f"epoch\n{epoch}", justify="right", no_wrap=True)
    last = "s/epoch" if timed else "train\naccuracy"
    result.add_column(last, justify="right", no_wrap=True)
    for label, seeds in runs.items():
        losses = [lines[-1]["train_loss"] for lines in seeds if lines]
        seconds = [line["seconds"] for lines in seeds for line in lines]
        values = [[measure.of(line) for line in _at(seeds, e)] for e in quarters]
        complete = len(seeds)
        ends = [] if timed else _at(seeds, epochs)
        train = [outcomes.train_accuracy(line) for line in ends]
        result.add_row(
            label,
            f"{statistics.fmean(losses):.4f}" if losses else "-",
            *(_mean(figures, complete) for figures in values),
            _mean(train, complete) if not timed else _write_seconds(seconds),
        )
    return result


def _at(
    seeds: Sequence[Sequence[Mapping[str, Any]]], epoch: int
) -> list[Mapping[str, Any]]:
    return [line for lines in seeds for line in lines if line["epoch"] == epoch]


def _write_seconds(seconds: Sequence[float]) -> str:
    return f"{statistics.fmean(seconds):.2f}" if seconds else "-"


def _mean(values: Sequence[float], wanted: int) -> str:
    return str(outcomes.summarise(values)) if len(values) == wanted else "-"


def draw_curves(
    runs: Runs,
    path: Path,
    title: str,
    measure: outcomes.Measure = outcomes.ACCURACY,
    milestones: Sequence[float] = (),
) -> None:
    """Draw the paper's two panels to a file: see `make_figure`.

    Args:
      runs: For each label its runs.
      path: The file to write.
      title: The title.
      measure: What the second panel shows the error of.
      milestones: The epochs at which the learning rate is divided.
    """
    save(make_figure(runs, title, measure, milestones), path)


def make_figure(
    runs: Runs,
    title: str,
    measure: outcomes.Measure = outcomes.ACCURACY,
    milestones: Sequence[float] = (),
) -> Figure:
    """Draw the paper's two panels: train loss and test error against epochs.

    Args:
      runs: For each label its runs. The line is the mean over the seeds, the band
        around it reaches from the smallest to the largest. Both end where a run has
        diverged, with a cross below.
      title: The title.
      measure: What the second panel shows the error of.
      milestones: The epochs at which the learning rate is divided.

    Returns:
      The figure, which pyplot does not hold any more.
    """
    figure, (loss, error) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    looks = styles(runs)
    longest = max((len(lines) for seeds in runs.values() for lines in seeds), default=0)
    settled: list[float] = []
    for label, seeds in runs.items():
        # Where a run has ended early, the mean of the others would jump.
        shortest = min(map(len, seeds))
        epochs = [line["epoch"] for line in seeds[0][:shortest]]
        for axes, value in (
            (loss, lambda line: line["train_loss"]),
            (error, measure.of_error),
        ):
            values = [[value(line) for line in _at(seeds, epoch)] for epoch in epochs]
            means = list(map(statistics.fmean, values))
            axes.plot(epochs, means, label=label, **looks[label])
            if len(seeds) > 1:
                lowest, highest = list(map(min, values)), list(map(max, values))
                band = {"color": looks[label]["color"], "alpha": 0.15}
                axes.fill_between(epochs, lowest, highest, **band)
            if shortest < longest:
                mark_diverged(axes, [shortest + 1], looks[label]["color"])
        # `values` are those of the errors now.
        settled += [x for v in values[len(values) // 10 :] for x in (min(v), max(v))]
    loss.set(xlabel="epoch", ylabel="train loss (mean over the epoch)", yscale="log")
    _label_losses(loss)
    error.set(xlabel="epoch", ylabel=measure.error)
    if settled:
        error.set_ylim(_limits(settled))
    for axes in (loss, error):
        tidy(axes)
        mark_milestones(axes, milestones)
        axes.xaxis.get_major_locator().set_params(integer=True)
    place_legend(figure, loss)
    figure.suptitle(title)
    plt.close(figure)
    return figure


def _label_losses(axes: Any) -> None:
    """Label a logarithmic axis with plain numbers, enough of them."""
    low, high = axes.get_ylim()
    few = high < 10 * low
    subs = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0) if few else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _limits(settled: Sequence[float]) -> tuple[float, float]:
    """Return the limits of the errors after the first epochs, which squash the rest."""
    low, high = min(settled), max(settled)
    if 0 <= low < 0.3 * high:
        return -0.02 * high, 1.05 * high
    space = 0.08 * (high - low) or 1.0
    return low - space, high + space
