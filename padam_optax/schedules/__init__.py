"""Schedules of p. Any `optax.Schedule` works; these check the range of p, too.

A constant p is fastest. For the learning rate that goes with a p that varies, see
`padam_optax.diagnostics.learning_rate_for`.
"""

from padam_optax._schedules import (
    cosine_p_schedule as cosine_p_schedule,
    linear_p_schedule as linear_p_schedule,
    piecewise_p_schedule as piecewise_p_schedule,
)
