"""Table and bars of what a step takes."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from rich import box
from rich.table import Table

from benchmarks.reporting.plots.style import COLOURS, line_style, tidy

# Bars have the colours on which a hatch can be seen: all but black.
_PLAIN = len(COLOURS) - 1
_HATCHES = (None, "//", "xx")


def ratios_to_adam(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Divide the times of each turn by Adam's in the same turn.

    Args:
      lines: The records of one tree from `speed`.

    Returns:
      The ratios of each optimizer, a number for each turn.
    """
    seconds = {line["optimizer"]: line["seconds"] for line in lines}
    return {
        name: [own / adam for own, adam in zip(times, seconds["adam"], strict=True)]
        for name, times in seconds.items()
    }


def speed_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Tabulate what a step takes on one tree.

    Args:
      lines: The records of the tree from `speed`.

    Returns:
      A table: median time; its ratio to Adam's with the quartiles; its ratio to the
      floor, the time in which the bytes that a step cannot do without move once, at the
      rate of the copy in the same turn; float32 numbers that the compiled program reads
      and writes for each of the tree's; kernels; bytes of state; time of compilation.
    """
    first = lines[0]
    table = Table(
        title=f"{first['tree']}: {first['numbers']:,} numbers in {first['leaves']:,} "
        f"leaves, median of {len(first['seconds'])} turns",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("optimizer", no_wrap=True)
    for heading in (
        "ms",
        "/ adam",
        "quartiles",
        "/ floor",
        "streams",
        "kernels",
        "state\nB/number",
        "compile\ns",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    ratios, floors = ratios_to_adam(lines), _ratios_to_floor(lines)
    for line in lines:
        low, middle, high = statistics.quantiles(ratios[line["optimizer"]], n=4)
        compiled = "kernels" in line
        table.add_row(
            line["optimizer"],
            f"{1e3 * statistics.median(line['seconds']):.3g}",
            f"{middle:.2f}",
            f"{low:.2f}-{high:.2f}",
            f"{floors[line['optimizer']]:.2f}" if floors else "-",
            f"{line['bytes_per_number'] / 4:.1f}" if compiled else "-",
            str(line["kernels"]) if compiled else "-",
            f"{line['state_bytes_per_number']:.2f}",
            f"{line['compile_seconds']:.2f}" if compiled else "-",
        )
    return table


def _ratios_to_floor(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Divide by the time to read gradient, weight and state and write the last two."""
    copies = [line["seconds"] for line in lines if line["optimizer"] == "copy"]
    ratios = {}
    for line in lines if copies else ():
        # A copy moves 8 bytes of each number.
        share = (12 + 2 * line["state_bytes_per_number"]) / 8
        if line["optimizer"] == "copy":
            share = 1.0
        turns = zip(line["seconds"], copies[0], strict=True)
        ratios[line["optimizer"]] = statistics.median(a / (b * share) for a, b in turns)
    return ratios


def draw_speed(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the step time of each optimizer, as a ratio to Adam's, for each tree.

    Args:
      lines: The records of `speed`. A bar is the median over the turns, the
        line on it reaches from the lower to the upper quartile.
      path: The PNG to write.
    """
    trees = list(dict.fromkeys(line["tree"] for line in lines))
    names = [
        name
        for name in dict.fromkeys(line["optimizer"] for line in lines)
        if name not in ("copy", "adam")
    ]
    figure, axes = plt.subplots(
        figsize=(11, 1.2 + 0.16 * len(trees) * max(1, len(names))), layout="constrained"
    )
    height = 0.8 / max(1, len(names))
    for i, name in enumerate(names):
        for j, tree in enumerate(trees):
            same = [line for line in lines if line["tree"] == tree]
            ratios = ratios_to_adam(same).get(name)
            if ratios is None:
                continue
            low, middle, high = statistics.quantiles(ratios, n=4)
            axes.barh(
                j + (i - (len(names) - 1) / 2) * height,
                middle,
                height,
                xerr=[[middle - low], [high - middle]],
                color=COLOURS[i % _PLAIN],
                hatch=_HATCHES[i // _PLAIN % len(_HATCHES)],
                label=name if j == 0 else None,
                error_kw={"linewidth": 0.8},
            )
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set(
        yticks=range(len(trees)),
        yticklabels=trees,
        xlabel="time of a step, optax.adam = 1",
        xlim=(0, None),
    )
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, bbox_to_anchor=(1, 1), loc="upper left")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_growth(
    lines: Sequence[Mapping[str, Any]], shares: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """Draw how time and state grow with numbers, leaves and devices.

    Args:
      lines: The records of trees leaf-N and leaves-N from `speed`.
      shares: Those of the state on 1 to 8 devices.
      path: The PNG to write.
    """
    figure, (numbers, leaves, devices) = plt.subplots(
        1, 3, figsize=(15, 4.2), layout="constrained"
    )
    names = list(dict.fromkeys(line["optimizer"] for line in (*lines, *shares)))
    for i, name in enumerate(names):
        style = {**line_style(i), "label": name, "marker": "o", "markersize": 4}
        for axes, kind, size in (
            (numbers, "leaf-", "numbers"),
            (leaves, "leaves-", "leaves"),
        ):
            own = [
                line
                for line in lines
                if line["optimizer"] == name and line["tree"].startswith(kind)
            ]
            quartiles = [statistics.quantiles(x["seconds"], n=4) for x in own]
            sizes = [line[size] for line in own]
            axes.plot(sizes, [q[1] for q in quartiles], **style)
            low, high = [q[0] for q in quartiles], [q[2] for q in quartiles]
            axes.fill_between(sizes, low, high, color=style["color"], alpha=0.15)
        own = [line for line in shares if line["optimizer"] == name]
        if own:
            counts = [line["devices"] for line in own]
            devices.plot(counts, [x["bytes_per_number"] for x in own], **style)
    numbers.set(xlabel="numbers in one leaf", ylabel="seconds for a step")
    leaves.set(xlabel="leaves of 64 numbers", ylabel="seconds for a step")
    devices.set(xlabel="devices", ylabel="bytes of state per number, on each")
    for axes in (numbers, leaves, devices):
        axes.set(xscale="log", yscale="log")
        tidy(axes)
    if shares:
        counts = sorted({line["devices"] for line in shares})
        devices.set_xticks(counts, [str(count) for count in counts])
        devices.minorticks_off()
    # All have a line in one of the panels at least.
    keys = {
        line.get_label(): line
        for axes in (numbers, leaves, devices)
        for line in axes.get_lines()
    }
    figure.legend(handles=keys.values(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
