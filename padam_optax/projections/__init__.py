"""Projections onto convex sets in the metric of the step, and the wrapper for them."""

from padam_optax.projections._projected import projected
from padam_optax.projections._sets import (
    affine,
    box,
    halfspace,
    hyperplane,
    l1_ball,
    l2_ball,
    non_negative,
    simplex,
)

__all__ = [
    "affine",
    "box",
    "halfspace",
    "hyperplane",
    "l1_ball",
    "l2_ball",
    "non_negative",
    "projected",
    "simplex",
]
