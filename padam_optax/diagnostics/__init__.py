"""Diagnostics computed from an optimizer state; settings that fit what they measure."""

from padam_optax.diagnostics._conditions import (
    Condition as Condition,
    check_convergence_conditions as check_convergence_conditions,
)
from padam_optax.diagnostics._distance import (
    KeepInitialParamsState as KeepInitialParamsState,
    distance_from_start as distance_from_start,
    keep_initial_params as keep_initial_params,
)
from padam_optax.diagnostics._learning_rate_for import (
    learning_rate_for as learning_rate_for,
)
from padam_optax.diagnostics._learning_rates import (
    effective_learning_rates as effective_learning_rates,
    fraction_of_increased_lrs as fraction_of_increased_lrs,
    fraction_where_max_active as fraction_where_max_active,
    median_root_nu as median_root_nu,
)
from padam_optax.diagnostics._quantiles import (
    spread_in_decades as spread_in_decades,
    tree_quantiles as tree_quantiles,
)
