"""Tables and plots of step times."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from rich import box
from rich.table import Column, Table

from benchmarks.reporting.plots.style import explain, save, styles, tidy
from benchmarks.reporting.tables import right

# What is drawn, where it was measured; the tables have all.
_SHOWN = (
    "sgd",
    "amsgrad",
    "padam p=1/4",
    "padam p=1/8",
    "padam p=0.3",
    "padam, packed",
    "padam, 8 bits",
    "torch amsgrad, fused",
)


def ratios_to_adam(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Divide the times of each turn by Adam's in the same turn, on one tree."""
    return _ratios({line["optimizer"]: line["seconds"] for line in lines}, "adam")


def _ratios(seconds: Mapping[str, Any], base: str) -> dict[str, list[float]]:
    return {
        name: [own / other for own, other in zip(times, seconds[base], strict=True)]
        for name, times in seconds.items()
    }


def compilation_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Tabulate CPU seconds of compilation on one tree and their ratios to AMSGrad's."""
    ratio = ("/ amsgrad", "quartiles")
    table = _table(lines[0], "XLA\ns", *ratio, "with tracing\ns", *ratio)
    whole = {line["optimizer"]: line["seconds"] for line in lines}
    xla = {
        line["optimizer"]: [
            both - lower
            for both, lower in zip(line["seconds"], line["lower_seconds"], strict=True)
        ]
        for line in lines
    }
    for name in whole:
        row = [name]
        for seconds in (xla, whole):
            low, middle, high = statistics.quantiles(
                _ratios(seconds, "amsgrad")[name], n=4
            )
            row.append(f"{statistics.median(seconds[name]):.2f}")
            row.extend((f"{middle:.2f}", f"{low:.2f}-{high:.2f}"))
        table.add_row(*row)
    return table


def _table(first: Mapping[str, Any], *headings: str) -> Table:
    """Begin a table of the optimizers on the tree of a record."""
    return Table(
        Column("optimizer", no_wrap=True),
        *right(*headings, no_wrap=True),
        title=f"{first['tree']}: {first['numbers']:,} numbers in {first['leaves']:,} "
        f"leaves, median of {len(first['seconds'])} turns",
        box=box.SIMPLE_HEAD,
    )


def speed_table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Tabulate the cost of a step on one tree.

    The floor is the time in which the bytes that a step cannot do without move once, at
    the rate of the copy in the same turn. Streams are the float32 numbers that the
    compiled program reads and writes for each of the tree's.
    """
    headings = ("ms", "/ adam", "quartiles", "/ floor", "streams", "kernels")
    table = _table(lines[0], *headings, "state\nB/number", "compile\ns")
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
    """Divide by the time of the unavoidable memory traffic."""
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
    """Draw step times relative to Adam's for each tree.

    A point is the median over the turns, a line reaches from the lower to the upper
    quartile.
    """
    trees = list(dict.fromkeys(line["tree"] for line in lines))
    measured = {line["optimizer"] for line in lines}
    names = [name for name in _SHOWN if name in measured]
    names = names or sorted(measured - {"adam", "copy"})
    figure, axes = plt.subplots(
        figsize=(9, 1.6 + 0.75 * len(trees)), layout="constrained"
    )
    looks = styles(names, marked=True)
    for j, tree in enumerate(trees):
        ratios = ratios_to_adam([line for line in lines if line["tree"] == tree])
        for i, name in enumerate(names):
            if name not in ratios:
                continue
            low, middle, high = statistics.quantiles(ratios[name], n=4)
            y = j + 0.7 * ((i + 0.5) / len(names) - 0.5)
            look = {k: v for k, v in looks[name].items() if k != "dashes"}
            axes.errorbar(middle, y, xerr=[[middle - low], [high - middle]], **look)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set(
        yticks=range(len(trees)),
        yticklabels=trees,
        xscale="log",
        xlabel="time of a step, optax.adam = 1",
    )
    ticks = [0.25, 0.5, 1, 2, 4, 8]
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axes.minorticks_off()
    axes.invert_yaxis()
    tidy(axes)
    points = {
        name: {"linestyle": "", "marker": look["marker"], "color": look["color"]}
        for name, look in looks.items()
    }
    explain(figure, points)
    save(figure, path)


def draw_growth(
    lines: Sequence[Mapping[str, Any]], shares: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """Draw how step time and state grow with numbers, leaves and devices."""
    figure, (numbers, leaves, devices) = plt.subplots(
        1, 3, figsize=(15, 4.2), layout="constrained"
    )
    names = list(dict.fromkeys(line["optimizer"] for line in (*lines, *shares)))
    looks = styles(names, marked=True)
    for name in names:
        style = {**looks[name], "label": name}
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
    save(figure, path)
