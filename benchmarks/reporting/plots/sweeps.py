"""Plots of runs that differ in a setting: heat map, curves, spread of the rates."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from benchmarks.reporting.plots.style import line_style, place_legend, tidy
from benchmarks.reporting.results import Figure, Line, Measure, Run, write_setting

# By seed the records of its epochs.
Seeds = Sequence[Run]

_MARKS = "osD^vP"


def draw_heat_map(
    figures: Mapping[tuple[Any, Any], Figure],
    names: tuple[str, str],
    measure: Measure,
    path: Path,
) -> None:
    """Draw what two settings lead to, with the numbers in the cells.

    Args:
      figures: By the values of the two settings; of runs that diverged n is 0.
      names: Of the two settings, rows first.
      measure: What the figures are.
      path: The PNG to write.
    """
    rows, columns = (list(dict.fromkeys(key[i] for key in figures)) for i in (0, 1))
    empty = Figure(math.nan, None, 0)
    cells = [[figures.get((row, column), empty) for column in columns] for row in rows]
    values = np.array([[cell.mean for cell in line] for line in cells])
    size = (2.2 + 1.5 * len(columns), 1.6 + 0.8 * len(rows))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    image = axes.imshow(
        values,
        cmap="cividis" if measure.more_is_better else "cividis_r",
        aspect="auto",
    )
    low, high = np.nanmin(values), np.nanmax(values)
    for i, line in enumerate(cells):
        for j, cell in enumerate(line):
            share = (cell.mean - low) / (high - low) if high > low else 1.0
            bright = share > 0.5 if measure.more_is_better else share < 0.5
            axes.text(
                j,
                i,
                str(cell) if cell.n else "diverged",
                ha="center",
                va="center",
                color="black" if bright or not cell.n else "white",
            )
    axes.set_xticks(range(len(columns)), [write_setting(x) for x in columns])
    axes.set_yticks(range(len(rows)), [write_setting(x) for x in rows])
    axes.set(xlabel=names[1].replace("_", " "), ylabel=names[0].replace("_", " "))
    figure.colorbar(image, label=measure.name)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_rates(groups: Mapping[str, Seeds], path: Path) -> None:
    """Draw how far effective learning rates spread, and how far the weights move.

    The rates are those by which an average of the gradients is multiplied.

    Args:
      groups: Runs by label, with the diagnostics in their records. The line is the mean
        over the seeds; the band reaches from the rates' 5 % to their 95 % quantile.
      path: The PNG to write.
    """
    figure, (rates, distance) = plt.subplots(
        1, 2, figsize=(11, 4.5), layout="constrained"
    )
    for i, (label, runs) in enumerate(groups.items()):
        style = {**line_style(i), "label": label}
        lines = _by_epoch(runs)
        quantiles = {
            epoch: [line["effective_learning_rate"] for line in same]
            for epoch, same in lines.items()
            if all("effective_learning_rate" in line for line in same)
        }
        if quantiles:
            low, middle, high = (
                [statistics.fmean(q[k] for q in same) for same in quantiles.values()]
                for k in (0, 2, 4)
            )
            rates.plot(list(quantiles), middle, **style)
            rates.fill_between(
                list(quantiles), low, high, color=style["color"], alpha=0.12
            )
        else:  # without a second moment every weight has the same rate
            # SGD's momentum is a sum, 1/(1-β) times the average that Padam's is.
            gain = 1 / (1 - runs[0].recipe.get("momentum", 0.0))
            same_rate = [
                gain * statistics.fmean(line["learning_rate"] for line in same)
                for same in lines.values()
            ]
            rates.plot(list(lines), same_rate, **style)
        moved = [
            statistics.fmean(line["distance_from_start"] for line in same)
            for same in lines.values()
        ]
        distance.plot(list(lines), moved, **style)
    rates.set(yscale="log", ylabel="effective learning rate: median, 5 to 95 %")
    distance.set(ylabel="distance from the initial weights")
    for axes in (rates, distance):
        axes.set(xlabel="epoch")
        tidy(axes)
    place_legend(figure, distance)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_against(
    methods: Mapping[str, Mapping[float, tuple[Figure, Figure]]],
    name: str,
    title: str,
    path: Path,
) -> None:
    """Draw train and test accuracy against a setting that ranges over decades.

    Args:
      methods: For each label, by the setting's value, the accuracies in % after
        training on the training set and on the test set; n is 0 where runs diverged.
      name: What the setting is called.
      title: The title.
      path: The PNG to write.
    """
    figure, panels = plt.subplots(
        1, 2, figsize=(11, 4.2), layout="constrained", sharey=True
    )
    for i, (label, points) in enumerate(methods.items()):
        for k, axes in enumerate(panels):
            x = sorted(points)
            # A run that diverged has learnt nothing: the line goes to the ground.
            y = [points[value][k].mean if points[value][k].n else 0.0 for value in x]
            axes.plot(
                x, y, label=label, marker=_MARKS[i % len(_MARKS)], **line_style(i)
            )
    for axes, where in zip(panels, ("train", "test"), strict=True):
        axes.set(xscale="log", xlabel=name, ylabel=f"{where} accuracy (%)")
        tidy(axes)
    panels[0].legend(frameon=False, fontsize="small")
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_tuning(
    tried: Mapping[str, Mapping[float, Figure]],
    name: str,
    measure: Measure,
    path: Path,
) -> None:
    """Draw what counts against a setting that was tuned, one line per optimizer.

    Args:
      tried: For each label, by the setting's value, what it led to: means over the
        seeds. A value at which all seeds diverged is a cross on the ground.
      name: The setting.
      measure: What the figures are.
      path: The PNG to write.
    """
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for i, (label, figures) in enumerate(tried.items()):
        style = line_style(i)
        known = {v: x.mean for v, x in figures.items() if x.diverged < x.n}
        mark = _MARKS[i % len(_MARKS)]
        axes.plot([*known], [*known.values()], label=label, marker=mark, **style)
        lost = [value for value in figures if value not in known]
        ground = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(lost, [0.0] * len(lost), "x", color=style["color"], **ground)
    axes.set(xscale="log", xlabel=name.replace("_", " "), ylabel=measure.name)
    tidy(axes)
    place_legend(figure, axes)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _by_epoch(runs: Seeds) -> dict[int, list[Line]]:
    epochs: dict[int, list[Line]] = {}
    for run in runs:
        for line in run.lines:
            epochs.setdefault(line["epoch"], []).append(line)
    return dict(sorted(epochs.items()))
