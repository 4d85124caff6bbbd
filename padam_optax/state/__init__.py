"""Read, convert and reset optimizer states; the types of the states."""

from padam_optax._partial_adaptive import ScaleByPartialAdaptiveState
from padam_optax._second_moments import MovingAverageState, RunningMaxState
from padam_optax.state._convert import convert_state, convert_torch_state
from padam_optax.state._lookup import second_moment
from padam_optax.state._reset_max import reset_max, reset_max_at

__all__ = [
    "MovingAverageState",
    "RunningMaxState",
    "ScaleByPartialAdaptiveState",
    "convert_state",
    "convert_torch_state",
    "reset_max",
    "reset_max_at",
    "second_moment",
]
