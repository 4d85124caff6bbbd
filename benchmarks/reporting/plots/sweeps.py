"""Plots of sweeps: heat map, curves, spread of the learning rates."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt

from benchmarks.reporting.measures import Figure, Line, Measure
from benchmarks.reporting.plots.style import (
    mark_diverged,
    place_legend,
    save,
    styles,
    tidy,
)
from benchmarks.reporting.results import Run, write_setting
from benchmarks.reporting.statistics import best_of

# By seed the records of its epochs.
Seeds = Sequence[Run]


def draw_heat_map(
    figures: Mapping[tuple[Any, Any], Figure],
    names: tuple[str, str],
    measure: Measure,
    path: Path,
) -> None:
    """Draw the results for two settings as a heat map with numbers, rows first."""
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
                str(cell).replace(
                    " (", "\n("
                ),  # how many diverged, in a line of its own
                ha="center",
                va="center",
                color="black" if bright or not cell.n else "white",
            )
    axes.set_xticks(range(len(columns)), [write_setting(x) for x in columns])
    axes.set_yticks(range(len(rows)), [write_setting(x) for x in rows])
    axes.set(xlabel=names[1].replace("_", " "), ylabel=names[0].replace("_", " "))
    figure.colorbar(image, label=measure.name)
    save(figure, path)


def draw_rates(groups: Mapping[str, Seeds], path: Path) -> None:
    """Draw how far effective learning rates spread, and how far the weights move.

    The band reaches from the rates' 5 % to their 95 % quantile, divided by the median;
    lines are means over the seeds.
    """
    figure, (rates, distance) = plt.subplots(
        1, 2, figsize=(11, 4.5), layout="constrained"
    )
    looks = styles(groups)
    for label, runs in groups.items():
        style = {**looks[label], "label": label}
        lines = _by_epoch(runs)
        quantiles = {
            epoch: [line["effective_learning_rate"] for line in same]
            for epoch, same in lines.items()
            if all("effective_learning_rate" in line for line in same)
        }
        # Without a second moment every weight has the same rate.
        low, high = ([1.0] * len(lines), [1.0] * len(lines))
        if quantiles:
            low, high = (
                [
                    statistics.fmean(q[k] / q[2] for q in same)
                    for same in quantiles.values()
                ]
                for k in (0, 4)
            )
        for edge in (low, high):
            rates.plot(list(lines), edge, **{**style, "label": "_"})
        rates.fill_between(list(lines), low, high, color=style["color"], alpha=0.12)
        moved = [
            statistics.fmean(line["distance_from_start"] for line in same)
            for same in lines.values()
        ]
        distance.plot(list(lines), moved, **style)
    rates.set(yscale="log", ylabel="effective learning rate over its median")
    rates.set_title("Spread over the weights, 5 to 95 %")
    distance.set_title("How far the weights have moved")
    distance.set(ylabel="distance from the initial weights")
    for axes in (rates, distance):
        axes.set(xlabel="epoch")
        tidy(axes)
    place_legend(figure, distance)
    save(figure, path)


def draw_against(
    methods: Mapping[str, Mapping[float, tuple[Figure, Figure]]],
    name: str,
    title: str,
    path: Path,
) -> None:
    """Draw train and test accuracy against a setting that ranges over decades.

    A cross marks where seeds diverged: on the lower edge if all of them did.
    """
    figure, panels = plt.subplots(
        1, 2, figsize=(11, 4.2), layout="constrained", sharey=True
    )
    looks = styles(methods, marked=True)
    for label, points in methods.items():
        look = looks[label]
        for k, axes in enumerate(panels):
            figures = {x: points[x][k] for x in sorted(points)}
            lost = [x for x, f in figures.items() if f.diverged == f.n]
            # A line that is broken where all seeds diverged.
            means = [math.nan if x in lost else f.mean for x, f in figures.items()]
            spread = [f.deviation or 0.0 for f in figures.values()]
            axes.errorbar([*figures], means, spread, label=label, capsize=2, **look)
            mark_diverged(axes, lost, look["color"])
            partly = [x for x, f in figures.items() if 0 < f.diverged < f.n]
            own = [figures[x].mean for x in partly]
            axes.plot(partly, own, "x", color=look["color"], markersize=10, mew=2)
    for axes, where in zip(panels, ("train", "test"), strict=True):
        axes.set(xscale="log", xlabel=name, ylabel=f"{where} accuracy (%)")
        tidy(axes)
    panels[0].legend(frameon=False, fontsize="small")
    figure.suptitle(title)
    save(figure, path)


def draw_tuning(
    tried: Mapping[str, Mapping[float, Figure]],
    name: str,
    measure: Measure,
    path: Path,
) -> None:
    """Draw the measure against the tuned setting, one line per optimizer.

    A value at which all seeds diverged is a cross on the ground.
    """
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    looks = styles(tried, marked=True)
    for label, figures in tried.items():
        known = {v: x.mean for v, x in figures.items() if x.diverged < x.n}
        axes.plot([*known], [*known.values()], label=label, **looks[label])
        lost = [value for value in figures if value not in known]
        mark_diverged(axes, lost, looks[label]["color"])
    axes.set(xscale="log", xlabel=name.replace("_", " "), ylabel=measure.name)
    tidy(axes)
    place_legend(figure, axes)
    save(figure, path)


def draw_budget(
    results: Mapping[str, Sequence[float]], measure: Measure, path: Path
) -> None:
    """Draw the expected best of k tried values, for k from 1 to 5."""
    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    sign = 1 if measure.more_is_better else -1
    looks = styles(results, marked=True)
    for label, values in results.items():
        budgets = range(1, min(5, len(values)) + 1)
        best = [sign * best_of([sign * x for x in values], k) for k in budgets]
        axes.plot(list(budgets), best, label=label, **looks[label])
    axes.set(
        xlabel="learning rates that one can afford to try",
        ylabel=f"expected best {measure.name}",
        xticks=range(1, 6),
    )
    tidy(axes)
    place_legend(figure, axes)
    save(figure, path)


def _by_epoch(runs: Seeds) -> dict[int, list[Line]]:
    epochs: dict[int, list[Line]] = {}
    for run in runs:
        for line in run.lines:
            epochs.setdefault(line["epoch"], []).append(line)
    return dict(sorted(epochs.items()))
