"""From records to tables and plots; the only user of matplotlib. Needs no JAX."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # draw without a display

from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from rich.table import Table

Runs = Mapping[str, Sequence[Mapping[str, Any]]]

# Okabe and Ito's colours, told apart by colour-blind readers, and a dash pattern each
# for those who print in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
_DASHES = ((5, 1.5), (8, 2, 2, 2), (1.5, 1), ())


def table(runs: Runs, epochs: int, title: str) -> Table:
    """Tabulate the runs as the paper does: accuracy at four points of the training.

    Args:
      runs: For each label the records of its epochs, in order.
      epochs: The length of a whole run.
      title: The title.

    Returns:
      A table; where a run ended earlier it has a dash.
    """
    quarters = [math.ceil(epochs * share / 4) for share in (1, 2, 3, 4)]
    result = Table(title=f"{title}: test accuracy in % after an epoch")
    result.add_column("optimizer", no_wrap=True)
    result.add_column("train\nloss", justify="right")
    for epoch in quarters:
        result.add_column(f"epoch\n{epoch}", justify="right")
    result.add_column("s/epoch", justify="right")
    for label, lines in runs.items():
        by_epoch = {line["epoch"]: line for line in lines}
        cells = [
            f"{100 * by_epoch[epoch]['test_accuracy']:.2f}"
            if epoch in by_epoch
            else "-"
            for epoch in quarters
        ]
        loss = f"{lines[-1]['train_loss']:.4f}" if lines else "-"
        mean = sum(line["seconds"] for line in lines) / len(lines) if lines else 0.0
        result.add_row(label, loss, *cells, f"{mean:.2f}" if lines else "-")
    return result


def draw_curves(runs: Runs, path: Path, title: str) -> None:
    """Draw the paper's two panels: train loss and test error against epochs.

    Args:
      runs: For each label the records of its epochs, in order.
      path: The PNG to write.
      title: The title.
    """
    figure, (loss, error) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    settled = [1.0]
    for i, (label, lines) in enumerate(runs.items()):
        style = {
            "label": label,
            "color": COLOURS[i % len(COLOURS)],
            "dashes": _DASHES[i % len(_DASHES)],
            "linewidth": 1.8,
        }
        epochs = [line["epoch"] for line in lines]
        errors = [100 * (1 - line["test_accuracy"]) for line in lines]
        loss.plot(epochs, [line["train_loss"] for line in lines], **style)
        error.plot(epochs, errors, **style)
        settled += errors[len(errors) // 10 :]
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
