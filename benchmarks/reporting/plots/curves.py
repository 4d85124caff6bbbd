"""Tables and curves of training runs."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from rich import box
from rich.table import Table

from benchmarks.reporting import results as outcomes
from benchmarks.reporting.plots.style import line_style, place_legend, tidy

# For each label its runs, one for each seed; each with the records of its epochs.
Runs = Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]


def table(
    runs: Runs,
    epochs: int,
    title: str,
    measure: outcomes.Measure = outcomes.ACCURACY,
) -> Table:
    """Tabulate the runs as the paper does: what counts at four points of the training.

    Args:
      runs: For each label its runs.
      epochs: The length of a whole run.
      title: The title.
      measure: What counts.

    Returns:
      A table of means over the seeds and, of several, sample deviations, after the
      last epochs that end within each quarter; where a run ended earlier it has a dash.
    """
    quarters = [outcomes.epoch_at(share / 4, epochs) for share in (1, 2, 3, 4)]
    seeds = max(map(len, runs.values()))
    spread = f", mean ± deviation of {seeds} seeds" if seeds > 1 else ""
    result = Table(
        title=f"{title}: {measure.name} after an epoch{spread}",
        box=box.SIMPLE_HEAD,
    )
    result.add_column("optimizer", no_wrap=True)
    result.add_column("train\nloss", justify="right", no_wrap=True)
    for epoch in quarters:
        result.add_column(f"epoch\n{epoch}", justify="right", no_wrap=True)
    result.add_column("s/epoch", justify="right", no_wrap=True)
    for label, seeds in runs.items():
        losses = [lines[-1]["train_loss"] for lines in seeds if lines]
        seconds = [line["seconds"] for lines in seeds for line in lines]
        values = [[measure.of(line) for line in _at(seeds, e)] for e in quarters]
        complete = len(seeds)
        result.add_row(
            label,
            f"{statistics.fmean(losses):.4f}" if losses else "-",
            *(_mean(figures, complete) for figures in values),
            f"{statistics.fmean(seconds):.2f}" if seconds else "-",
        )
    return result


def _at(
    seeds: Sequence[Sequence[Mapping[str, Any]]], epoch: int
) -> list[Mapping[str, Any]]:
    return [line for lines in seeds for line in lines if line["epoch"] == epoch]


def _mean(values: Sequence[float], wanted: int) -> str:
    return str(outcomes.summarise(values)) if len(values) == wanted else "-"


def draw_curves(
    runs: Runs,
    path: Path,
    title: str,
    measure: outcomes.Measure = outcomes.ACCURACY,
) -> None:
    """Draw the paper's two panels: train loss and test error against epochs.

    Args:
      runs: For each label its runs. The line is the mean over the seeds, the band
        around it reaches from the smallest to the largest.
      path: The PNG to write.
      title: The title.
      measure: What the second panel shows the error of.
    """
    figure, (loss, error) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    settled = [1.0]
    for i, (label, seeds) in enumerate(runs.items()):
        style = line_style(i)
        epochs = sorted({line["epoch"] for lines in seeds for line in lines})
        for axes, value in (
            (loss, lambda line: line["train_loss"]),
            (error, measure.of_error),
        ):
            values = [[value(line) for line in _at(seeds, epoch)] for epoch in epochs]
            means = list(map(statistics.fmean, values))
            axes.plot(epochs, means, label=label, **style)
            if len(seeds) > 1:
                lowest, highest = list(map(min, values)), list(map(max, values))
                band = {"color": style["color"], "alpha": 0.15}
                axes.fill_between(epochs, lowest, highest, **band)
        # `values` are those of the errors now. The first epochs' would press all others
        # to the ground.
        settled += [max(v) for v in values[len(values) // 10 :]] if epochs else []
    loss.set(xlabel="epoch", ylabel="train loss (mean over the epoch)", yscale="log")
    low, high = loss.get_ylim()
    few = high < 10 * low
    subs = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0) if few else (1.0, 2.0, 5.0)
    loss.yaxis.set_major_locator(LogLocator(subs=subs))
    loss.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    loss.yaxis.set_minor_formatter(NullFormatter())
    # The first epochs' errors would press all others to the ground.
    top = 1.05 * max(settled)
    # No perplexity is near 0, as errors can be.
    bottom = -0.02 * top if measure.more_is_better else None
    error.set(xlabel="epoch", ylabel=measure.error, ylim=(bottom, top))
    for axes in (loss, error):
        tidy(axes)
        axes.xaxis.get_major_locator().set_params(integer=True)
    place_legend(figure, loss)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
    plt.close(figure)
