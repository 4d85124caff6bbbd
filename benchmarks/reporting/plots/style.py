"""What all plots have in common."""

from typing import Any

# Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
# One for each colour, for those who print in grey; another when colours come again.
_DASHES = ((5, 1.5), (8, 2, 2, 2), (1.5, 1), (), (4, 1, 1, 1, 1, 1), (3, 3), (1, 3))

_STYLES = ("solid", "dashed", "dashdot", "dotted")


def line_style(i: int) -> dict[str, Any]:
    """Return the look of the i-th line of a plot."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "dashes": _DASHES[(i + i // len(COLOURS)) % len(_DASHES)],
        "linewidth": 1.8,
    }


def marked_style(i: int, *, marked: bool = True) -> dict[str, Any]:
    """Return the look of the i-th line: past the last colour the dashes tell."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": _STYLES[i // len(COLOURS) % len(_STYLES)],
        "linewidth": 1.6,
        "marker": "osv^Dx+"[i % 7] if marked else None,
        "markersize": 4,
    }


def tidy(axes: Any) -> None:
    """Take away what a plot does not need."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def place_legend(figure: Any, axes: Any) -> None:
    """Explain the lines of one of the panels, beside them all if they are many."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 4:
        figure.legend(handles, labels, loc="outside right center", frameon=False)
    else:
        axes.legend(frameon=False)
