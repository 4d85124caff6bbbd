"""Tables and plots of online games."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from rich.table import Column, Table

from benchmarks.reporting.measures import summarize
from benchmarks.reporting.plots.style import (
    PALETTE,
    color_of_p,
    explain,
    save,
    styles,
    tidy,
)
from benchmarks.reporting.results import write_setting
from benchmarks.reporting.tables import right

Records = Sequence[Mapping[str, Any]]

# The dashes of the proof's bound and of the theorem's.
_BOUNDS: Any = ((0, (6, 2)), (0, (1, 1.5)))
_NAMES = {"sgd": "SGD", "adagrad": "AdaGrad", "adam": "Adam (no maximum)"}


def pictures(
    lines: Mapping[str, Records],
) -> Iterator[tuple[str, Table | None, Callable[[Path], None]]]:
    """Yield the name, the table and the drawing function for each plot of `regret`."""
    examples = {
        "counterexample": (counterexample_table, draw_counterexample),
        "phase-transition": (None, draw_phases),
    }
    played = [line for name in lines if name not in examples for line in lines[name]]
    if played:
        yield "regret", regret_table(played), partial(draw_regret, played)
    for name, (tabulate, draw) in examples.items():
        if content := lines.get(name):
            table = tabulate(content) if tabulate else None
            yield name, table, partial(draw, content)


def regret_table(lines: Records) -> Table:
    """Tabulate the final regret of each game, mean ± deviation over the seeds."""
    table = Table(
        Column("optimizer", no_wrap=True),
        *right("α", "R_T", "R_T/√T", "proof/√T", "bound/√T"),
        title="regret after T losses, at the best learning rate",
    )
    previous = None
    for (title, label), group in _players(lines).items():
        if title != previous:
            table.add_section()
            table.add_row(f"[bold]{title}[/bold]")
            previous = title
        last = {
            key: np.array([line[key][-1] for line in group if line[key]])
            for key in ("regret", "tight_bound", "bound")
        }
        root = group[0]["t"][-1] ** 0.5
        table.add_row(
            label,
            f"{group[0]['learning_rate']:g}",
            summarize(last["regret"].tolist()).write(1, " ± "),
            f"{last['regret'].mean() / root:.3f}",
            *(
                f"{last[key].mean() / root:.3g}" if len(last[key]) else "-"
                for key in ("tight_bound", "bound")
            ),
        )
    return table


def draw_regret(lines: Records, path: Path) -> None:
    """Draw R_t with its bounds, and R_t/√t, for each game."""
    players = _players(lines)
    titles = list(dict.fromkeys(title for title, _ in players))
    labels = list(dict.fromkeys(label for _, label in players))
    looks = styles(labels, marked=True)
    figure, panels = plt.subplots(
        2,
        len(titles),
        figsize=(2.5 + 3.4 * len(titles), 8),
        layout="constrained",
        squeeze=False,
        sharex="col",
    )
    for (title, label), group in players.items():
        above, below = panels[:, titles.index(title)]
        style = looks[label]
        t = np.array(group[0]["t"])
        regret = np.array([line["regret"] for line in group])
        above.plot(t, regret.mean(axis=0), **style)
        for key, dashes in zip(("tight_bound", "bound"), _BOUNDS, strict=True):
            if group[0][key]:
                bound = np.mean([line[key] for line in group], axis=0)
                above.plot(t, bound, color=style["color"], linestyle=dashes, lw=1.3)
        rate = regret / np.sqrt(t)
        below.plot(t, rate.mean(axis=0), **style)
        low, high = rate.min(axis=0), rate.max(axis=0)
        below.fill_between(t, low, high, color=style["color"], alpha=0.1, lw=0)
    for title, (above, below) in zip(titles, panels.T, strict=True):
        above.set(title=title, xscale="log", yscale="log")
        below.set(xlabel="losses so far, t")
        below.set_ylim(bottom=0)
    tidy(*panels.flat)
    panels[0, 0].set_ylabel("regret $R_t$ and its bounds")
    panels[1, 0].set_ylabel(r"$R_t/\sqrt{t}$, mean and range over the seeds")
    bounds: Any = zip(("the proof's own sum", "the theorem"), _BOUNDS, strict=True)
    for of, dashes in bounds:
        looks[f"bound: {of}"] = {"color": "grey", "linestyle": dashes, "lw": 1.3}
    explain(figure, looks)
    figure.suptitle("Online convex learning: regret and the bound of Padam's theorem")
    save(figure, path)


def counterexample_table(lines: Records) -> Table:
    """Tabulate the final x of each exponent, with and without the maximum."""
    title = "Reddi's counterexample: x in the end, best at -1"
    table = Table(*right("p", "with maximum", "without"), title=title)
    ends = {(line["p"], line["with_maximum"]): line["x"][-1] for line in lines}
    for p in dict.fromkeys(line["p"] for line in lines):
        table.add_row(
            write_setting(p), *(f"{ends[p, has]:+.3f}" for has in (True, False))
        )
    return table


def draw_counterexample(lines: Records, path: Path) -> None:
    """Draw the path of each exponent in Reddi's game."""
    figure, axes = plt.subplots(figsize=(8.5, 4.5), layout="constrained")
    ps = list(dict.fromkeys(line["p"] for line in lines))
    for line in lines:
        axes.plot(
            line["t"],
            line["x"],
            color=color_of_p(line["p"]),
            linestyle="solid" if line["with_maximum"] else "dashed",
            linewidth=1.8,
        )
    axes.axhline(-1, color="grey", lw=0.8)
    beside_axis = axes.get_yaxis_transform()
    axes.text(0.01, -0.99, "best point", transform=beside_axis, va="bottom")
    axes.set(
        title="Reddi's counterexample: loss 1010x once in 101 times, else -10x",
        xlabel="losses so far, t",
        xscale="log",
        ylabel="x, mean over a period",
        ylim=(-1.08, 1.08),
    )
    tidy(axes)
    looks = {f"p = {write_setting(p)}": {"color": color_of_p(p)} for p in ps}
    looks["with maximum"] = {"color": "grey"}
    looks["without"] = {"color": "grey", "linestyle": "dashed"}
    explain(figure, looks)
    save(figure, path)


def draw_phases(lines: Records, path: Path) -> None:
    """Draw some paths with the maximum, and the end of every p with and without it."""
    figure, panels = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
    shown = [line for line in lines if line["with_maximum"] and line["start"] == 0.5]
    shown = [line for line in shown if line["p"] in (0.1, 0.2, 0.25, 0.3, 0.4)]
    for line in shown:
        style = {"color": color_of_p(line["p"]), "linewidth": 1.6}
        panels[0].plot(line["t"], line["path"], label=f"p = {line['p']:g}", **style)
    panels[0].set(
        title="from $r_p/2$, with maximum",
        xlabel="step",
        xscale="log",
        ylabel=r"$|x_t|\,/\,r_p$",
    )
    panels[0].legend(frameon=False, loc="center right")
    starts = list(dict.fromkeys(line["start"] for line in lines))
    for axes, with_maximum in zip(panels[1:], (True, False), strict=True):
        for i, start in enumerate(starts):
            chosen = [
                line
                for line in lines
                if line["start"] == start and line["with_maximum"] == with_maximum
            ]
            axes.plot(
                [line["p"] for line in chosen],
                [line["path"][-1] for line in chosen],
                # The starts lie on top of each other: open marks of falling size.
                color=PALETTE[i % len(PALETTE)],
                marker="osv^"[i % 4],
                linestyle="",
                markersize=10 - 2.5 * i,
                fillstyle="none",
                label=rf"from ${start:g}\,r_p$",
            )
        axes.axvline(0.25, color="grey", lw=0.8)
        axes.set(
            title=f"all p, {'with' if with_maximum else 'without'} maximum",
            xlabel="p",
            ylabel=r"$|x|\,/\,r_p$ in the end",
            ylim=(-0.1, 2.0),
        )
    panels[2].legend(frameon=False, loc="lower left", ncols=2)
    tidy(*panels)
    figure.suptitle(
        "Phase transition at p = 1/4: a parabola, fixed learning rate, no momentum"
    )
    save(figure, path)


def _players(lines: Records) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """Group the chosen records of all seeds by game and player."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for line in lines:
        if line["chosen"]:
            label = (
                _NAMES.get(line["optimizer"])
                or f"Padam, p = {write_setting(line['p'])}"
            )
            if line["optimizer"] == "padam" and line["p"] == 0.5:
                label = "AMSGrad, p = 1/2"
            groups.setdefault((line["title"], label), []).append(line)
    return groups
