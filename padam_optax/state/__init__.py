"""Read, convert and reset optimizer states."""

from padam_optax.state._convert import convert_state, convert_torch_state
from padam_optax.state._lookup import second_moment
from padam_optax.state._reset_max import reset_max, reset_max_at

__all__ = [
    "convert_state",
    "convert_torch_state",
    "reset_max",
    "reset_max_at",
    "second_moment",
]
