"""The style of all plots: one color for each optimizer and each p."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.lines import Line2D

# For what is no optimizer: Okabe and Ito's colors, told apart by color-blind readers.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")

# From adaptive, p = 1/2, to plain momentum, p = 1/16, dark to light, even in log p; the
# same as on the site.
_OF_P = LinearSegmentedColormap.from_list(
    "p", ("#440154", "#31688e", "#35b779", "#d8b01c")
)
_SGDM = "#000000"
# By how a label begins; the longer one counts.
_OF_OPTIMIZER = {
    "sgd": "#8c8c8c",
    "sgd + momentum": _SGDM,
    "momentum": _SGDM,
    "gradient descent": "#8c8c8c",
    "polyak": _SGDM,
    "nesterov": "#800026",
    "adagrad": "#cc79a7",
    "rmsprop": "#56b4e9",
    "adadelta": "#b5bd00",
    "adam": "#d55e00",
    "adamw": "#e69f00",
    "yogi": "#f0a3c0",
    "adabelief": "#a65628",
    "lion": "#c51b7d",
    "muon": "#4d9221",
    "schedule-free sgd": "#555555",
    "l-bfgs": "#0072b2",
    "santa-e": "#0072b2",
    "santa-sss": "#7570b3",
    "torch": "#e69f00",
    "pytorch_optimizer": "#a65628",
    "copy": "#bbbbbb",
}
_DASHES: tuple[Any, ...] = (
    (),
    (5, 1.5),
    (1.5, 1),
    (8, 2, 2, 2),
    (4, 1, 1, 1, 1, 1),
    (1, 3),
)
_MARKS = "osv^DP*X"


def color_of_p(p: float) -> str:
    """Return the color of an exponent; that of SGD with momentum for p = 0.

    >>> color_of_p(1 / 2), color_of_p(1 / 8), color_of_p(0)
    ('#440154', '#35b779', '#000000')
    """
    if p <= 0:
        return _SGDM
    # Equal steps from 1/2 over 1/4 and 1/8 to 1/16.
    return str(to_hex(_OF_P(min(1.0, max(0.0, -math.log2(2 * p) / 3)))))


def color(label: str) -> str:
    """Return the color of an optimizer, the same in every plot of the project.

    AMSGrad has that of p = 1/2, which it is, and Padam that of the p in its label, else
    of 1/8, its default.

    >>> color("Padam, p = 1/4") == color("Padam 1/4") == color_of_p(1 / 4)
    True
    >>> color("AMSGrad") == color_of_p(1 / 2), color("Padam") == color_of_p(1 / 8)
    (True, True)
    """
    text = label.lower()
    found = re.search(r"(?:\bp ?= ?|^padam )(\d+)/(\d+)", text)
    if found:
        return color_of_p(int(found[1]) / int(found[2]))
    if found := re.search(r"\bp ?= ?(0?\.\d+)", text):
        return color_of_p(float(found[1]))
    if text.startswith("amsgrad"):
        return color_of_p(1 / 2)
    if text.startswith("padam"):
        return color_of_p(1 / 8)
    starts = [name for name in _OF_OPTIMIZER if text.startswith(name)]
    if not starts:
        return PALETTE[sum(map(ord, label)) % len(PALETTE)]
    return _OF_OPTIMIZER[max(starts, key=len)]


def styles(labels: Iterable[str], *, marked: bool = False) -> dict[str, dict[str, Any]]:
    """Return the look of each line of a plot: the color tells the optimizer.

    Lines of one color differ in dashes and marks. If one optimizer has more than three
    lines and no other has any, they have colors of their own.
    """
    looks: dict[str, dict[str, Any]] = {}
    count: dict[str, int] = {}
    labels = list(labels)
    alone = len(labels) > 3 and len(set(map(color, labels))) == 1
    for i, label in enumerate(labels):
        own = PALETTE[i % len(PALETTE)] if alone else color(label)
        k = count[own] = count.get(own, -1) + 1
        looks[label] = {"color": own, "dashes": _DASHES[k % len(_DASHES)], "lw": 1.8}
        if marked:
            mark = _MARKS[len(looks) % len(_MARKS) - 1]
            looks[label] |= {"marker": mark, "markersize": 4.5}
    return looks


def tidy(*panels: Any) -> None:
    """Remove chart junk."""
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)


def mark_milestones(axes: Any, epochs: Iterable[float]) -> None:
    """Mark where the learning rate is divided."""
    for epoch in epochs:
        axes.axvline(epoch, color="0.35", linewidth=1.0, linestyle=":", zorder=0)


def mark_diverged(axes: Any, x: Iterable[float], color: str) -> None:
    """Mark each value at which a run diverged with a cross on the lower edge."""
    x = list(x)
    if not x:
        return
    edge = {"transform": axes.get_xaxis_transform(), "clip_on": False, "zorder": 5}
    (crosses,) = axes.plot(x, [0.0] * len(x), "x", color=color, mew=2, **edge)
    crosses.set_in_layout(False)


def place_legend(figure: Any, axes: Any) -> None:
    """Add a legend to a panel, or beside all of them if it is long."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 4:
        figure.legend(handles, labels, loc="outside right center", frameon=False)
    else:
        axes.legend(frameon=False)


def explain(
    figure: Any,
    looks: Mapping[str, Mapping[str, Any]],
    loc: str = "outside right center",
    **options: Any,
) -> None:
    """Add a legend beside all panels, given the look of each entry."""
    keys = [Line2D([], [], label=label, **look) for label, look in looks.items()]
    figure.legend(handles=keys, loc=loc, frameon=False, **options)


VECTORS = "vectors"


def save(figure: Any, path: Path, dpi: int = 150) -> None:
    """Save and close a figure; also as SVG while report.html is being made."""
    figure.savefig(path, dpi=dpi)
    vectors = path.parent / VECTORS
    if vectors.is_dir():
        # The same figure gives the same file.
        with matplotlib.rc_context({"svg.hashsalt": "padam"}):
            vector = (vectors / path.name).with_suffix(".svg")
            figure.savefig(vector, metadata={"Date": None})
    plt.close(figure)
