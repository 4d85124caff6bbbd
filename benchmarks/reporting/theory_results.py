"""The results of the theory studies, computed from their records. Needs no JAX."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Records = Sequence[Mapping[str, Any]]

FITTED = 1e-4
"""The mean squared error in training below which a run of least-squares counts."""


def fitted_errors(lines: Records, maximum: bool) -> dict[float, list[list[Any]]]:
    """Collect the test errors of least squares, with or without the maximum.

    Returns:
      For each p a list over the draws of lists over the learning rates; None where the
      run does not fit the training set.
    """
    errors = defaultdict(list)
    for line in lines:
        if line["with_maximum"] == maximum:
            pairs = zip(line["mse"], line["test_error"], strict=True)
            errors[line["p"]].append(
                [e if mse is not None and mse < FITTED else None for mse, e in pairs]
            )
    return dict(errors)


class Cell(NamedTuple):
    """The results of a method of `nonconvex` at the best learning rate.

    Attributes:
      values: ‖∇f‖² of each draw, the mean over the iterates.
      factor: c, the learning rate times √T.
      at_edge: Whether it is the smallest or the largest that was tried.
      sum_over_root: Σ‖g_{1:T,i}‖/√(dT), the mean over the draws.
    """

    values: np.ndarray
    factor: float
    at_edge: bool
    sum_over_root: float


def best_cells(lines: Records) -> dict[tuple[str, float, int, int], Cell]:
    """Choose the best c for each method, share, dimension and number of steps."""
    grouped = defaultdict(list)
    for line in lines:
        key = line["method"], line["share"], line["dimension"], line["steps"]
        grouped[key].append(line)
    cells = {}
    for key, same in grouped.items():
        values = _as_array([line["squared_gradient"] for line in same])
        best = int(values.mean(axis=0).argmin())
        sums = _as_array([line["sum_over_root"] for line in same])
        factors = same[0]["factors"]
        edge = best in (0, len(factors) - 1)
        cells[key] = Cell(
            values[:, best], factors[best], edge, float(sums[:, best].mean())
        )
    return cells


def _as_array(rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    return np.array([[math.inf if x is None else x for x in row] for row in rows])


def slopes_in_steps(cells: Mapping[Any, Cell]) -> dict[tuple[str, float, int], Any]:
    """Return the slopes in T for each method, share, and the dimensions 10 and 100."""
    return _fit_slopes(cells, [key for key in cells if key[2] <= 100], 3)


def slopes_in_dimension(cells: Mapping[Any, Cell]) -> dict[tuple[str, float], Any]:
    """Return the slopes in d at T = 1,000 for each method and share."""
    return _fit_slopes(cells, [key for key in cells if key[3] == 1000], 2)


def _fit_slopes(
    cells: Mapping[Any, Cell], keys: Sequence[Any], at: int
) -> dict[Any, np.ndarray]:
    """Fit log ‖∇f‖² of each draw against the logarithm of one element of the keys.

    A group has the same elements before it.
    """
    groups, slopes = defaultdict(list), {}
    for key in sorted(keys):
        groups[key[:at]].append(key)
    for group, same in groups.items():
        x = np.log([key[at] for key in same])
        y = np.log(np.stack([cells[key].values for key in same]))
        slopes[group] = np.polyfit(x, y, 1)[0]
    return slopes
