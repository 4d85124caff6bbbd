"""A forest plot of paired differences, one line per claim."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.reporting.claims import Verdict
from benchmarks.reporting.plots.style import PALETTE, save, tidy

# Units are drawn apart: what a panel shows, and how far its axis reaches.
PANELS: Mapping[str, tuple[str, float]] = {
    "points": ("points of accuracy", 12.0),
    "nats": ("train loss, nats", 0.15),
    "% (100 ln of the ratio)": ("100 ln of the ratio, %", 40.0),
}
Looks = Mapping[str, Any]
_MARKS = "osD^vP*X"


def _group(judged: Sequence[Verdict]) -> dict[str, dict[str, list[Verdict]]]:
    """Collect the rows to draw, those with an interval, by unit and claim."""
    drawn: dict[str, dict[str, list[Verdict]]] = {}
    for unit in PANELS:
        for row in judged:
            ends = row.interval
            if row.unit == unit and row.region and ends and ends.n > 1:
                drawn.setdefault(unit, {}).setdefault(row.claim, []).append(row)
    return drawn


def draw_forest(judged: Sequence[Verdict], path: Path) -> bool:
    """Draw the intervals and return True; do nothing if no claim has one."""
    drawn = _group(judged)
    if not drawn:
        return False
    rows = [
        row for claims in drawn.values() for same in claims.values() for row in same
    ]
    scales = list(dict.fromkeys(row.scale or "constructed" for row in rows))
    counts = [len(claims) for claims in drawn.values()]
    figure, panels = plt.subplots(
        len(drawn),
        1,
        figsize=(12, 1.5 + 0.9 * len(drawn) + 0.27 * sum(counts)),
        height_ratios=counts,
        layout="constrained",
        squeeze=False,
    )
    looks: Looks = {
        scale: {"color": PALETTE[i % len(PALETTE)], "marker": _MARKS[i % len(_MARKS)]}
        for i, scale in enumerate(scales)
    }
    for axes, (unit, claims) in zip(panels[:, 0], drawn.items(), strict=True):
        _draw_panel(axes, claims, looks, unit)
    keys: list[Any] = [
        Line2D([], [], label=scale, **look) for scale, look in looks.items()
    ]
    keys.append(Patch(color="#2ca25f", alpha=0.16, label="where the claim is true"))
    figure.legend(handles=keys, loc="outside upper center", ncols=5, frameon=False)
    save(figure, path, dpi=110)
    return True


def _draw_panel(
    axes: Any, claims: Mapping[str, Sequence[Verdict]], looks: Looks, unit: str
) -> None:
    label, reach = PANELS[unit]
    for y, rows in enumerate(claims.values()):
        region = rows[0].region
        if region is not None:
            low, high = max(region.low, -reach), min(region.high, reach)
            axes.fill_betweenx(
                [y - 0.42, y + 0.42], low, high, color="#2ca25f", alpha=0.16, lw=0
            )
            # The margin, or 0: where the claim turns from false to true.
            for end in filter(math.isfinite, region):
                axes.plot([end, end], [y - 0.42, y + 0.42], color="#2ca25f", lw=1.5)
        for k, row in enumerate(rows):
            height = y + 0.6 * ((k + 0.5) / len(rows) - 0.5)
            look = looks[row.scale or "constructed"]
            _draw_interval(axes, row.interval, height, look, reach)
    axes.axvline(0, color="black", linewidth=0.8, zorder=0)
    axes.set(
        xlim=(-1.04 * reach, 1.04 * reach),
        ylim=(len(claims) - 0.4, -0.6),
        xlabel=f"{label}; positive: what the claim names first is better",
    )
    axes.set_yticks(range(len(claims)), list(claims), fontsize=8.5)
    tidy(axes)
    axes.grid(visible=False, axis="y")


def _draw_interval(axes: Any, ends: Any, y: float, look: Any, reach: float) -> None:
    """Draw one interval, with an arrow where it leaves the panel."""
    low, high = max(ends.low, -reach), min(ends.high, reach)
    look, marker = {"color": look["color"], "clip_on": False}, look["marker"]
    if low <= high:
        axes.plot([low, high], [y, y], lw=1.6, **look)
    if -reach <= ends.mean <= reach:
        axes.plot(ends.mean, y, marker=marker, markersize=5, **look)
    for beyond, x, arrow in (
        (ends.low < -reach, -reach, "<"),
        (ends.high > reach, reach, ">"),
    ):
        if beyond:
            axes.plot(x, y, marker=arrow, markersize=5, **look)
