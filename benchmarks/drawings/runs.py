"""Tables and curves of training runs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from rich import box
from rich.table import Table

from benchmarks.drawings import COLOURS

# For each label its runs, one for each seed; each with the records of its epochs.
Runs = Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]

# One for each colour, for those who print in grey.
_DASHES = ((5, 1.5), (8, 2, 2, 2), (1.5, 1), ())


def table(runs: Runs, epochs: int, title: str) -> Table:
    """Tabulate the runs as the paper does: accuracy at four points of the training.

    Args:
      runs: For each label its runs.
      epochs: The length of a whole run.
      title: The title.

    Returns:
      A table of means over the seeds and, of several, sample deviations; where a run
      ended earlier it has a dash.
    """
    quarters = [math.ceil(epochs * share / 4) for share in (1, 2, 3, 4)]
    seeds = max(map(len, runs.values()))
    spread = f", mean ± deviation of {seeds} seeds" if seeds > 1 else ""
    result = Table(
        title=f"{title}: test accuracy in % after an epoch{spread}",
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
        accuracies = [
            [100 * line["test_accuracy"] for line in _at(seeds, epoch)]
            for epoch in quarters
        ]
        complete = len(seeds)
        result.add_row(
            label,
            f"{statistics.fmean(losses):.4f}" if losses else "-",
            *(_mean(values, 2, complete) for values in accuracies),
            f"{statistics.fmean(seconds):.2f}" if seconds else "-",
        )
    return result


def _at(
    seeds: Sequence[Sequence[Mapping[str, Any]]], epoch: int
) -> list[Mapping[str, Any]]:
    return [line for lines in seeds for line in lines if line["epoch"] == epoch]


def _mean(values: Sequence[float], digits: int, wanted: int) -> str:
    if not values or len(values) < wanted:
        return "-"
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if wanted == 1 else f"{mean}±{statistics.stdev(values):.{digits}f}"


def draw_curves(runs: Runs, path: Path, title: str) -> None:
    """Draw the paper's two panels: train loss and test error against epochs.

    Args:
      runs: For each label its runs. The line is the mean over the seeds, the band
        around it reaches from the smallest to the largest.
      path: The PNG to write.
      title: The title.
    """
    figure, (loss, error) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    settled = [1.0]
    for i, (label, seeds) in enumerate(runs.items()):
        colour = COLOURS[i % len(COLOURS)]
        style = {
            "label": label,
            "color": colour,
            "dashes": _DASHES[i % len(_DASHES)],
            "linewidth": 1.8,
        }
        epochs = sorted({line["epoch"] for lines in seeds for line in lines})
        for axes, value in (
            (loss, lambda line: line["train_loss"]),
            (error, lambda line: 100 * (1 - line["test_accuracy"])),
        ):
            values = [[value(line) for line in _at(seeds, epoch)] for epoch in epochs]
            axes.plot(epochs, list(map(statistics.fmean, values)), **style)
            if len(seeds) > 1:
                lowest, highest = list(map(min, values)), list(map(max, values))
                axes.fill_between(epochs, lowest, highest, color=colour, alpha=0.15)
        # `values` are those of the errors now. The first epochs' would press all others
        # to the ground.
        settled += [max(v) for v in values[len(values) // 10 :]] if epochs else []
    loss.set(xlabel="epoch", ylabel="train loss (mean over the epoch)", yscale="log")
    loss.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    loss.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    loss.yaxis.set_minor_formatter(NullFormatter())
    # The first epochs' errors would press all others to the ground.
    top = 1.05 * max(settled)
    error.set(xlabel="epoch", ylabel="test error (%)", ylim=(-0.02 * top, top))
    for axes in (loss, error):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    loss.legend(frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
    plt.close(figure)
