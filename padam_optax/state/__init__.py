"""Read, convert and reset optimizer states; the types of the states."""

from padam_optax._partial_adaptive import (
    ScaleByPartialAdaptiveState as ScaleByPartialAdaptiveState,
)
from padam_optax._second_moments import (
    MovingAverageState as MovingAverageState,
    RunningMaxState as RunningMaxState,
)
from padam_optax.state._convert import (
    convert_state as convert_state,
    convert_torch_state as convert_torch_state,
)
from padam_optax.state._lookup import second_moment as second_moment
from padam_optax.state._reset_max import (
    reset_max as reset_max,
    reset_max_at as reset_max_at,
)
