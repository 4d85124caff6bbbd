"""Padam, partially adaptive momentum estimation, for Optax."""

from padam_optax._moments import (
    MovingAverageState,
    RunningMaxState,
    moving_average,
    running_max,
    square,
    squared_deviation,
    yogi_average,
)
from padam_optax._padam import padam, padamw
from padam_optax._partial_adaptive import (
    ScaleByPartialAdaptiveState,
    scale_by_partial_adaptive,
)

__all__ = [
    "MovingAverageState",
    "RunningMaxState",
    "ScaleByPartialAdaptiveState",
    "moving_average",
    "padam",
    "padamw",
    "running_max",
    "scale_by_partial_adaptive",
    "square",
    "squared_deviation",
    "yogi_average",
]
