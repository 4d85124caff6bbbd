"""Surfaces of two variables to descend. Needs no JAX."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Surface(NamedTuple):
    """A function of two variables, and how to draw it.

    Attributes:
      title: Its name and its formula.
      function: Takes x and y, arrays of JAX or of NumPy.
      start: The start of every trajectory.
      minima: The points of the lowest value.
      window: (left, right, bottom, top) of the drawing.
      noise: Standard deviation of the noise added to each element of the gradient.
    """

    title: str
    function: Callable[[Any, Any], Any]
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    window: tuple[float, float, float, float]
    noise: float = 0.0

    @property
    def lowest(self) -> float:
        """The value at the minima."""
        return float(self.function(*self.minima[0]))


class Panel(NamedTuple):
    """What a drawing shows beside the trajectories; heights are above the lowest."""

    title: str
    x: np.ndarray
    y: np.ndarray
    heights: np.ndarray
    start: tuple[float, float]
    minima: Sequence[tuple[float, float]]


SURFACES: dict[str, Surface] = {
    "beale": Surface(
        "Beale",
        lambda x, y: (
            (1.5 - x + x * y) ** 2
            + (2.25 - x + x * y**2) ** 2
            + (2.625 - x + x * y**3) ** 2
        ),
        (1.0, 1.5),
        ((3.0, 0.5),),
        (-0.5, 4.5, -1.5, 2.0),
    ),
    "rosenbrock": Surface(
        "Rosenbrock, $(1-x)^2 + 100(y-x^2)^2$",
        lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
        (-1.2, 1.0),
        ((1.0, 1.0),),
        (-2.0, 2.0, -0.8, 2.5),
    ),
    # Bounded below, so that the lowest loss is not that of the largest step.
    "saddle": Surface(
        "saddle, $x^2/2 - y^2/2 + y^4/4$",
        lambda x, y: x**2 / 2 - y**2 / 2 + y**4 / 4,
        (1.0, 0.001),
        ((0.0, 1.0), (0.0, -1.0)),
        (-1.2, 1.4, -1.4, 1.4),
    ),
    "ravine": Surface(
        "ravine, $(x^2 + 100y^2)/2$",
        lambda x, y: (x**2 + 100 * y**2) / 2,
        (-2.0, 0.4),
        ((0.0, 0.0),),
        (-2.3, 1.0, -0.8, 0.8),
    ),
    "noisy": Surface(
        r"valley, $x^2/20 + 2y^2$, noise $\mathcal{N}(0, 1)$",
        lambda x, y: x**2 / 20 + 2 * y**2,
        (-4.0, 1.0),
        ((0.0, 0.0),),
        (-4.6, 2.0, -1.6, 1.6),
        noise=1.0,
    ),
}


def panel(surface: Surface) -> Panel:
    """Return what a drawing shows of a surface: its values above the minimum."""
    left, right, bottom, top = surface.window
    x, y = np.linspace(left, right, 401), np.linspace(bottom, top, 401)
    heights = surface.function(*np.meshgrid(x, y)) - surface.lowest
    return Panel(surface.title, x, y, heights, surface.start, surface.minima)
