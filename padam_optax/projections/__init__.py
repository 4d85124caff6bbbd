"""Projections onto convex sets in the metric of the step, and the wrapper for them."""

from padam_optax.projections._projected import projected as projected
from padam_optax.projections._sets import (
    affine as affine,
    box as box,
    halfspace as halfspace,
    hyperplane as hyperplane,
    l1_ball as l1_ball,
    l2_ball as l2_ball,
    non_negative as non_negative,
    simplex as simplex,
)
