"""Padam, partially adaptive momentum estimation, for Optax."""

from padam_optax import (
    contrib as contrib,
    diagnostics as diagnostics,
    experimental as experimental,
    projections as projections,
    schedules as schedules,
    state as state,
)
from padam_optax._padam import padam as padam, padamw as padamw
from padam_optax._partial_adaptive import (
    scale_by_partial_adaptive as scale_by_partial_adaptive,
)
from padam_optax._second_moments import (
    debias as debias,
    moving_average as moving_average,
    running_max as running_max,
    square as square,
    squared_deviation as squared_deviation,
    yogi_average as yogi_average,
)

__version__ = "0.2.0"
