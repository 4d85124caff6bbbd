"""Padam, partially adaptive momentum estimation, for Optax."""

from padam_optax import contrib, diagnostics, experimental, projections, state
from padam_optax._padam import padam, padamw
from padam_optax._partial_adaptive import (
    ScaleByPartialAdaptiveState,
    scale_by_partial_adaptive,
)
from padam_optax._schedules import (
    cosine_p_schedule,
    learning_rate_for,
    linear_p_schedule,
    piecewise_p_schedule,
)
from padam_optax._second_moments import (
    MovingAverageState,
    RunningMaxState,
    debias,
    moving_average,
    running_max,
    square,
    squared_deviation,
    yogi_average,
)

__version__ = "0.1.0"

__all__ = [
    "MovingAverageState",
    "RunningMaxState",
    "ScaleByPartialAdaptiveState",
    "contrib",
    "cosine_p_schedule",
    "debias",
    "diagnostics",
    "experimental",
    "learning_rate_for",
    "linear_p_schedule",
    "moving_average",
    "padam",
    "padamw",
    "piecewise_p_schedule",
    "projections",
    "running_max",
    "scale_by_partial_adaptive",
    "square",
    "squared_deviation",
    "state",
    "yogi_average",
]
