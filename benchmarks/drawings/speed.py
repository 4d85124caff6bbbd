"""Table and bars of what a step takes."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from rich import box
from rich.table import Table

from benchmarks.drawings import COLOURS


def ratios_to_adam(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Divide the times of each turn by Adam's in the same turn.

    Args:
      lines: The records of one tree from benchmarks/speed.py.

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
      lines: The records of the tree from benchmarks/speed.py.

    Returns:
      A table: median time, and its ratio to Adam's with the quartiles; float32 numbers
      that the compiled program reads and writes for each of the tree's; kernels; bytes
      of state; time of compilation.
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
        "streams",
        "kernels",
        "state\nB/number",
        "compile\ns",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    ratios = ratios_to_adam(lines)
    for line in lines:
        low, middle, high = statistics.quantiles(ratios[line["optimizer"]], n=4)
        compiled = "kernels" in line
        table.add_row(
            line["optimizer"],
            f"{1e3 * statistics.median(line['seconds']):.3g}",
            f"{middle:.2f}",
            f"{low:.2f}-{high:.2f}",
            f"{line['bytes_per_number'] / 4:.1f}" if compiled else "-",
            str(line["kernels"]) if compiled else "-",
            f"{line['state_bytes_per_number']:.2f}",
            f"{line['compile_seconds']:.2f}" if compiled else "-",
        )
    return table


def draw_speed(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the step time of each optimizer, as a ratio to Adam's, for each tree.

    Args:
      lines: The records of benchmarks/speed.py. A bar is the median over the turns, the
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
                color=COLOURS[i % len(COLOURS)],
                hatch="//" if i >= len(COLOURS) else None,
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
