"""Padam, partially adaptive momentum estimation, and its relatives, for Optax."""

from padam_optax._adagrad_norm import (
    ScaleByAdagradNormState,
    adagrad_norm,
    scale_by_adagrad_norm,
)
from padam_optax._convert import convert_state, convert_torch_state
from padam_optax._diagnostics import (
    effective_learning_rates,
    share_of_grown_rates,
    share_where_max_binds,
    spread_in_decades,
    tree_quantiles,
    typical_root,
)
from padam_optax._fields import second_moment
from padam_optax._initial_params import (
    KeepInitialParamsState,
    distance_from_start,
    keep_initial_params,
)
from padam_optax._low_precision import (
    CompressedState,
    compress_state,
    decompress_state,
)
from padam_optax._moments import (
    MovingAverageState,
    RunningMaxState,
    moving_average,
    running_max,
    square,
    squared_deviation,
    yogi_average,
)
from padam_optax._packing import PackedLeaves, pack_small_leaves
from padam_optax._padam import padam, padamw
from padam_optax._partial_adaptive import (
    ScaleByPartialAdaptiveState,
    scale_by_partial_adaptive,
)
from padam_optax._projection import (
    affine,
    box,
    halfspace,
    hyperplane,
    l1_ball,
    l2_ball,
    non_negative,
    projected,
    simplex,
)
from padam_optax._reset_max import reset_max, reset_max_at
from padam_optax._santa import SantaState, santa
from padam_optax._schedules import (
    cosine_p_schedule,
    learning_rate_for,
    linear_p_schedule,
    piecewise_p_schedule,
)
from padam_optax._theory import Condition, check_convergence_conditions

__all__ = [
    "CompressedState",
    "Condition",
    "KeepInitialParamsState",
    "MovingAverageState",
    "PackedLeaves",
    "RunningMaxState",
    "SantaState",
    "ScaleByAdagradNormState",
    "ScaleByPartialAdaptiveState",
    "adagrad_norm",
    "affine",
    "box",
    "check_convergence_conditions",
    "compress_state",
    "convert_state",
    "convert_torch_state",
    "cosine_p_schedule",
    "decompress_state",
    "distance_from_start",
    "effective_learning_rates",
    "halfspace",
    "hyperplane",
    "keep_initial_params",
    "l1_ball",
    "l2_ball",
    "learning_rate_for",
    "linear_p_schedule",
    "moving_average",
    "non_negative",
    "pack_small_leaves",
    "padam",
    "padamw",
    "piecewise_p_schedule",
    "projected",
    "reset_max",
    "reset_max_at",
    "running_max",
    "santa",
    "scale_by_adagrad_norm",
    "scale_by_partial_adaptive",
    "second_moment",
    "share_of_grown_rates",
    "share_where_max_binds",
    "simplex",
    "spread_in_decades",
    "square",
    "squared_deviation",
    "tree_quantiles",
    "typical_root",
    "yogi_average",
]
