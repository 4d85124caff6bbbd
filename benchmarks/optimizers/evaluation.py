"""The weights to evaluate, if they differ from those that are trained.

The type of the state decides: that of Optax's schedule-free methods, or one with a
field `eval_params`, a tree like the weights.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class EvalParamsState(NamedTuple):
    """The state of another transformation, and the weights to evaluate."""

    inner: Any
    eval_params: Any


def find_eval_params(opt_state: Any) -> Callable[[Any, Any], Any] | None:
    """Return a function from a state and the trained weights to those to evaluate.

    The state may be abstract. None if the trained weights are to be evaluated.
    """
    if optax.tree.get_all_with_path(opt_state, "ScheduleFreeState"):

        def average(state: Any, params: Any) -> Any:
            inner = optax.tree.get(state, "ScheduleFreeState")
            return optax.contrib.schedule_free_eval_params(inner, params)

        return average
    if optax.tree.get_all_with_path(opt_state, "eval_params"):
        return lambda state, params: optax.tree.get(state, "eval_params")
    return None


def with_ema(
    transformation: optax.GradientTransformation, decay: float
) -> optax.GradientTransformationExtraArgs:
    """Evaluate an exponential moving average of the weights.

    It starts at the initial weights. The updates are those of the transformation.

    Args:
      transformation: Any transformation.
      decay: Decay rate of the average, in [0, 1).

    Raises:
      ValueError: If the decay is out of range.

    Examples:
      >>> import jax.numpy as jnp, optax
      >>> from benchmarks.optimizers.evaluation import with_ema
      >>> tx = with_ema(optax.sgd(1.0), decay=0.75)
      >>> state = tx.init(jnp.array([2.0]))
      >>> _, state = tx.update(jnp.array([1.0]), state, jnp.array([2.0]))
      >>> state.eval_params.tolist()  # 0.75 · 2 + 0.25 · 1
      [1.75]
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay must be in [0, 1), got {decay}.")
    inner = optax.with_extra_args_support(transformation)

    def init(params: Any) -> EvalParamsState:
        return EvalParamsState(inner.init(params), jax.tree.map(jnp.copy, params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        updates, after = inner.update(updates, state.inner, params, **extra)
        moved = optax.apply_updates(params, updates)
        average = optax.tree.update_moment(moved, state.eval_params, decay, 1)
        return updates, EvalParamsState(after, average)

    return optax.GradientTransformationExtraArgs(init, update)


def keep_slow_weights(
    transformation: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """Let `optax.lookahead` train plain weights, with its slow ones in the state.

    A transformation without lookahead stays what it is.
    """
    inner = optax.with_extra_args_support(transformation)

    def init(params: Any) -> Any:
        pair = optax.LookaheadParams.init_synced(params)
        try:
            like = jax.eval_shape(inner.init, pair)
        except Exception:  # not lookahead, which alone takes pairs
            return inner.init(params)
        if not _has_lookahead(like):
            return inner.init(params)
        return EvalParamsState(inner.init(pair), jax.tree.map(jnp.copy, params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        if not _has_lookahead(state):
            return inner.update(updates, state, params, **extra)
        pair = optax.LookaheadParams(fast=params, slow=state.eval_params)
        both, after = inner.update(updates, state.inner, pair, **extra)
        slow = optax.apply_updates(state.eval_params, both.slow)
        return both.fast, EvalParamsState(after, slow)

    return optax.GradientTransformationExtraArgs(init, update)


def _has_lookahead(state: Any) -> bool:
    return bool(optax.tree.get_all_with_path(state, "LookaheadState"))
