"""Padam, partially adaptive momentum estimation, for Optax.

* `padam` and `padamw`; `scale_by_partial_adaptive` without learning rate and decay.
* Links of a second moment: `square`, `moving_average`, `debias` (bias correction),
  `running_max`.
* `schedules`: p over time.
* `projections`: `projected`, and the sets `box`, `simplex`, `l1_ball` and others.
* `diagnostics`: effective learning rates and their spread, where the maximum is active,
  the distance from the start, `check_convergence_conditions`; `learning_rate_for`
  carries a learning rate to another p.
* `state`: read moments, `reset_max`, `convert_state` (as from `optax.amsgrad`).
* `contrib`: `adagrad_norm`, `santa`; `squared_deviation` (AdaBelief's) and
  `yogi_average` (Yogi's), links of a second moment.
* `experimental`: `quantize_state` (8 or 16 bits), `pack_small_leaves`.
"""

from typing import TYPE_CHECKING

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
)

__version__ = "0.2.0"

if not TYPE_CHECKING:  # which would then accept any name

    def __getattr__(name: str) -> object:
        """Say where a name is that was looked for here."""
        spaces = contrib, diagnostics, experimental, projections, schedules, state
        for space in spaces:
            if not name.startswith("_") and hasattr(space, name):
                raise AttributeError(
                    f"padam_optax has no {name!r}: use {space.__name__}.{name}."
                )
        raise AttributeError(f"module 'padam_optax' has no attribute {name!r}")


del TYPE_CHECKING
