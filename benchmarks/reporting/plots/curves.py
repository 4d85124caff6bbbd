"""Tables and curves of training runs."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from rich import box
from rich.table import Column, Table

from benchmarks.reporting import results as outcomes
from benchmarks.reporting.measures import ACCURACY, Line, Measure, summarize
from benchmarks.reporting.plots.style import (
    mark_diverged,
    mark_milestones,
    place_legend,
    save,
    styles,
    tidy,
)
from benchmarks.reporting.tables import right

# For each label its runs, one for each seed; each with the records of its epochs.
Runs = Mapping[str, Sequence[Sequence[Line]]]


def table(
    runs: Runs,
    epochs: int,
    title: str,
    measure: Measure = ACCURACY,
    *,
    timed: bool = True,
) -> Table:
    """Tabulate runs as the paper does: the measure at four points of the training.

    The points are the last epochs that end within each quarter; where a run ended
    earlier there is a dash. The last column is the time of an epoch if `timed`, else
    the train accuracy.
    """
    # In a short run, quarters share an epoch.
    quarters = sorted({outcomes.epoch_at(share / 4, epochs) for share in (1, 2, 3, 4)})
    seeds = max(map(len, runs.values()))
    spread = f", mean ± deviation of {seeds} seeds" if seeds > 1 else ""
    headings = ("train\nloss", *(f"epoch\n{epoch}" for epoch in quarters))
    last = "s/epoch" if timed else "train\naccuracy"
    result = Table(
        Column("optimizer", overflow="fold"),
        *right(*headings, last, no_wrap=True),
        title=f"{title}: {measure.name} after an epoch{spread}",
        box=box.SIMPLE_HEAD,
    )
    for label, seeds in runs.items():
        losses = [lines[-1]["train_loss"] for lines in seeds if lines]
        figures = [_mean(seeds, epoch, measure.of) for epoch in quarters]
        if timed:
            seconds = [line["seconds"] for lines in seeds for line in lines]
            end = f"{statistics.fmean(seconds):.2f}" if seconds else "-"
        else:
            end = _mean(seeds, epochs, outcomes.train_accuracy)
        loss = f"{statistics.fmean(losses):.4f}" if losses else "-"
        result.add_row(label, loss, *figures, end)
    return result


def _at(seeds: Sequence[Sequence[Line]], epoch: int) -> list[Line]:
    return [line for lines in seeds for line in lines if line["epoch"] == epoch]


def _mean(
    seeds: Sequence[Sequence[Line]], epoch: int, of: Callable[[Line], float]
) -> str:
    """Write the mean after an epoch, if all seeds reached it."""
    values = [of(line) for line in _at(seeds, epoch)]
    return str(summarize(values)) if len(values) == len(seeds) else "-"


def draw_curves(
    runs: Runs,
    path: Path,
    title: str,
    measure: Measure = ACCURACY,
    milestones: Sequence[float] = (),
) -> None:
    """Write the paper's two panels to a file; see `make_figure`."""
    save(make_figure(runs, title, measure, milestones), path)


def make_figure(
    runs: Runs,
    title: str,
    measure: Measure = ACCURACY,
    milestones: Sequence[float] = (),
) -> Figure:
    """Draw the paper's two panels: train loss and test error against epochs.

    Lines are means over the seeds, bands reach from the smallest to the largest. Both
    end where a run has diverged, with a cross below. Milestones are the epochs at which
    the learning rate is divided. Pyplot does not hold the figure any more.
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
    tidy(loss, error)
    for axes in (loss, error):
        mark_milestones(axes, milestones)
        axes.xaxis.get_major_locator().set_params(integer=True)
    place_legend(figure, loss)
    figure.suptitle(title)
    plt.close(figure)
    return figure


def _label_losses(axes: Any) -> None:
    """Label a logarithmic axis with enough plain numbers."""
    low, high = axes.get_ylim()
    few = high < 10 * low
    subs = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0) if few else (1.0, 2.0, 5.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _limits(settled: Sequence[float]) -> tuple[float, float]:
    """Return axis limits without the first epochs, which would squash the rest."""
    low, high = min(settled), max(settled)
    if 0 <= low < 0.3 * high:
        return -0.02 * high, 1.05 * high
    space = 0.08 * (high - low) or 1.0
    return low - space, high + space
