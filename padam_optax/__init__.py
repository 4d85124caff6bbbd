"""Padam, partially adaptive momentum estimation, for Optax."""

from padam_optax import (
    contrib,
    diagnostics,
    experimental,
    projections,
    schedules,
    state,
)
from padam_optax._padam import padam, padamw
from padam_optax._partial_adaptive import scale_by_partial_adaptive
from padam_optax._second_moments import (
    debias,
    moving_average,
    running_max,
    square,
    squared_deviation,
    yogi_average,
)

__version__ = "0.2.0"

__all__ = [
    "contrib",
    "debias",
    "diagnostics",
    "experimental",
    "moving_average",
    "padam",
    "padamw",
    "projections",
    "running_max",
    "scale_by_partial_adaptive",
    "schedules",
    "square",
    "squared_deviation",
    "state",
    "yogi_average",
]
