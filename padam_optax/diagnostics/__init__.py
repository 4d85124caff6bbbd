"""Diagnostics computed from an optimizer state, and the convergence conditions."""

from padam_optax.diagnostics._conditions import Condition, check_convergence_conditions
from padam_optax.diagnostics._distance import (
    KeepInitialParamsState,
    distance_from_start,
    keep_initial_params,
)
from padam_optax.diagnostics._learning_rates import (
    effective_learning_rates,
    fraction_of_increased_lrs,
    fraction_where_max_active,
    median_root_nu,
)
from padam_optax.diagnostics._quantiles import spread_in_decades, tree_quantiles

__all__ = [
    "Condition",
    "KeepInitialParamsState",
    "check_convergence_conditions",
    "distance_from_start",
    "effective_learning_rates",
    "fraction_of_increased_lrs",
    "fraction_where_max_active",
    "keep_initial_params",
    "median_root_nu",
    "spread_in_decades",
    "tree_quantiles",
]
