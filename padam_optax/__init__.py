"""Padam, partially adaptive momentum estimation, for Optax."""

from padam_optax._adagrad_norm import (
    ScaleByAdagradNormState,
    adagrad_norm,
    scale_by_adagrad_norm,
)
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
from padam_optax._santa import SantaState, santa

__all__ = [
    "MovingAverageState",
    "RunningMaxState",
    "SantaState",
    "ScaleByAdagradNormState",
    "ScaleByPartialAdaptiveState",
    "adagrad_norm",
    "moving_average",
    "padam",
    "padamw",
    "running_max",
    "santa",
    "scale_by_adagrad_norm",
    "scale_by_partial_adaptive",
    "square",
    "squared_deviation",
    "yogi_average",
]
