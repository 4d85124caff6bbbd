"""Tables and plots of trajectories on surfaces."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.animation import PillowWriter
from rich.table import Table

from benchmarks.landscape.surfaces import Panel
from benchmarks.reporting.plots.style import explain, save, styles, tidy
from benchmarks.reporting.tables import right

Records = Sequence[Mapping[str, Any]]

_POINTS = {
    "start": {"color": "black", "marker": "s", "linestyle": ""},
    "minimum": {"color": "black", "marker": "*", "linestyle": ""},
}
_HEAD = {"marker": "o", "markersize": 6.5, "markeredgecolor": "white"}


def landscape_table(lines: Mapping[str, Records]) -> Table:
    """Tabulate the mean final losses, and the learning rates that led there."""
    title = "final loss above the minimum, and the learning rate"
    table = Table("optimizer", *right(*lines), title=title)
    cells: dict[str, list[str]] = {}
    for found in lines.values():
        for label in dict.fromkeys(line["label"] for line in found):
            cells.setdefault(label, [])
        chosen = {line["label"]: line for line in _chosen(found)}
        for label in cells:
            cell = "diverged"
            if label in chosen:
                loss = _write_loss(float(np.mean(chosen[label]["final_losses"])))
                cell = f"{loss}\n[dim]α {chosen[label]['learning_rate']:g}[/dim]"
            cells[label].append(cell)
    for label, row in cells.items():
        table.add_row(label, *row)
    return table


def _write_loss(loss: float) -> str:
    return "0" if loss == 0 else "< 1e-16" if loss < 1e-16 else f"{loss:.2g}"


def draw_landscapes(
    panels: Mapping[str, Panel], lines: Mapping[str, Records], path: Path
) -> None:
    """Draw each surface with its trajectories, and the losses below."""
    figure, grid = plt.subplots(
        2,
        len(panels),
        figsize=(2 + 3.3 * len(panels), 7),
        layout="constrained",
        squeeze=False,
    )
    looks = _find_looks(lines)
    for (name, panel), (above, below) in zip(panels.items(), grid.T, strict=True):
        _draw_surface(above, panel)
        for line in _chosen(lines[name]):
            style = looks[line["label"]]
            points = np.array(line["path"])
            above.plot(*points.T, **{**style, "lw": 1.2})
            above.plot(*points[-1], **{**style, **_HEAD})
            below.plot(line["losses"], **style)
        below.set(xlabel="step", yscale="log")
        if drawn := [line["losses"] for line in _chosen(lines[name])]:
            lowest = max(min(map(min, drawn)), 1e-10)
            below.set_ylim(lowest / 2, 10 * drawn[0][0])
        tidy(below)
    grid[1, 0].set_ylabel("loss above the minimum")
    explain(figure, {**looks, **_POINTS}, "outside lower center", ncols=6)
    save(figure, path, dpi=130)


def animate_landscapes(
    panels: Mapping[str, Panel], lines: Mapping[str, Records], path: Path
) -> None:
    """Animate the trajectories, as a GIF."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(3.5 * columns, 2.9 * rows + 0.8),
        layout="constrained",
        squeeze=False,
    )
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    looks = _find_looks(lines)
    moving = []
    for (name, panel), axes in zip(panels.items(), grid.flat, strict=False):
        _draw_surface(axes, panel)
        for line in _chosen(lines[name]):
            style = looks[line["label"]]
            (trail,) = axes.plot([], [], **{**style, "lw": 1.2})
            (head,) = axes.plot([], [], **{**style, **_HEAD})
            moving.append((np.array(line["path"]), trail, head))
    explain(figure, {**looks, **_POINTS}, "outside lower center", ncols=6)
    last = max(len(points) for points, _, _ in moving) - 1
    # The beginning is where they differ most: frames are dense there.
    frames = np.unique((last * np.linspace(0, 1, 45) ** 2).round().astype(int))
    writer = PillowWriter(fps=10)
    title = figure.suptitle("step 0")
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # once is enough, and takes half the time
    with writer.saving(figure, path, dpi=72):
        for frame in [*frames, *[last] * 10]:
            for points, trail, head in moving:
                trail.set_data(*points[: frame + 1].T)
                head.set_data(*points[frame : frame + 1].T)
            title.set_text(f"step {frame}")
            writer.grab_frame()
    plt.close(figure)


def _draw_surface(axes: Any, panel: Panel) -> None:
    """Draw the levels, darker where lower, the start and the minima."""
    highest = panel.heights.max()
    levels = np.geomspace(highest / 1e4, highest, 13)
    axes.imshow(  # an image: contours are slow to draw, and an animation does it often
        np.searchsorted(levels, panel.heights),
        extent=(panel.x[0], panel.x[-1], panel.y[0], panel.y[-1]),
        origin="lower",
        aspect="auto",
        cmap="Greys_r",
        vmin=-0.8 * len(levels),
    )
    axes.plot(*panel.start, marker="s", color="black", markersize=6, zorder=3)
    for point in panel.minima:
        axes.plot(*point, marker="*", color="black", markersize=12, zorder=3)
    axes.set(
        title=panel.title,
        xlim=(panel.x[0], panel.x[-1]),
        ylim=(panel.y[0], panel.y[-1]),
    )


def _find_looks(lines: Mapping[str, Records]) -> dict[str, dict[str, Any]]:
    return styles(dict.fromkeys(x["label"] for found in lines.values() for x in found))


def _chosen(lines: Records) -> list[Mapping[str, Any]]:
    return [line for line in lines if line["chosen"]]
