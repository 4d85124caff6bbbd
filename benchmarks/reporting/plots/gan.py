"""Table and plot of the generative adversarial networks."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from rich import box
from rich.table import Column, Table

from benchmarks.gan.plan import final_distance
from benchmarks.reporting.measures import summarize
from benchmarks.reporting.plots.style import explain, mark_diverged, save, styles, tidy
from benchmarks.reporting.tables import right

Records = Sequence[Mapping[str, Any]]


def by_label(lines: Records, stage: str) -> dict[str, list[Mapping[str, Any]]]:
    """Group the records of the tuning runs or of the finals by optimizer."""
    grouped = defaultdict(list)
    for line in lines:
        if line["stage"] == stage:
            grouped[line["label"]].append(line)
    return dict(grouped)


def gan_table(lines: Records) -> Table:
    """Tabulate the distances of the finals, mean ± deviation over the seeds."""
    table = Table(
        Column("optimizer", no_wrap=True),
        *right("learning rate", "tried", "before", "after", "n"),
        title="Fréchet distance to the test images",
        box=box.SIMPLE_HEAD,
    )
    tuning = by_label(lines, "tuning")
    for label, finals in by_label(lines, "final").items():
        diverged = sum(bool(line["stopped"]) for line in finals)
        after = summarize([final_distance(line) for line in finals])
        table.add_row(
            label,
            f"{finals[0]['learning_rate']:g}",
            str(len(tuning.get(label, ()))),
            summarize([line["distance"][0] for line in finals]).write(1),
            after._replace(diverged=diverged).write(1),
            str(len(finals)),
        )
    return table


def draw_gan(lines: Records, path: Path) -> None:
    """Draw the distances of the finals over the steps, and of the tuning runs.

    Bands reach from the lowest to the highest seed.
    """
    figure, (steps, rates) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    looks = styles(dict.fromkeys(line["label"] for line in lines))
    for label, finals in by_label(lines, "final").items():
        whole = [line for line in finals if not line["stopped"]]
        if not whole:
            continue
        distances = np.array([line["distance"] for line in whole])
        steps.plot(whole[0]["step"], distances.mean(axis=0), **looks[label])
        if len(whole) > 1:
            steps.fill_between(
                whole[0]["step"],
                distances.min(axis=0),
                distances.max(axis=0),
                color=looks[label]["color"],
                alpha=0.15,
                linewidth=0,
            )
    for label, tuning in by_label(lines, "tuning").items():
        ordered = sorted(tuning, key=lambda line: line["learning_rate"])
        whole = [line for line in ordered if not line["stopped"]]
        rates.plot(
            [line["learning_rate"] for line in whole],
            [final_distance(line) for line in whole],
            marker="o",
            markersize=4,
            **looks[label],
        )
        failed = [line["learning_rate"] for line in ordered if line["stopped"]]
        mark_diverged(rates, failed, looks[label]["color"])
    steps.set(xlabel="steps of each network", yscale="log", title="finals, test images")
    rates.set(
        xlabel="learning rate",
        xscale="log",
        yscale="log",
        title="tuning runs, validation images",
    )
    steps.set_ylabel("Fréchet distance")
    tidy(steps, rates)
    explain(figure, looks)
    save(figure, path)
