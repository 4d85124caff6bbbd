"""The look of the figures that pages draw: the report's colors, text that scales."""

import logging
from typing import Any

import matplotlib.pyplot as plt
from matplotlib_inline.backend_inline import set_matplotlib_formats

from benchmarks.reporting.plots.style import color as color
from benchmarks.reporting.plots.style import color_of_p

# From adaptive to plain momentum, dark to light; readable without color by order.
P_COLORS = {p: color_of_p(p) for p in (1 / 2, 1 / 4, 1 / 8, 1 / 16)}
P_NAMES = {1 / 2: "p = 1/2", 1 / 4: "p = 1/4", 1 / 8: "p = 1/8", 1 / 16: "p = 1/16"}

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
set_matplotlib_formats("svg")
plt.rcParams.update(
    {
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.constrained_layout.use": True,
        "figure.facecolor": "white",
        "font.size": 10,
        "grid.alpha": 0.3,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "svg.hashsalt": "padam_optax",
    }
)


def panels(count: int = 1, height: float = 3.0, **options: Any) -> tuple[Any, Any]:
    """Return a figure as wide as the text, with panels side by side."""
    figure, axes = plt.subplots(1, count, figsize=(7.2, height), **options)
    plt.close(figure)  # shown where a cell ends with it, and not a second time
    return figure, axes
