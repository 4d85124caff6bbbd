"""Reset the running maximum to the second moment, and non-finite entries to 0."""

from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from padam_optax import _validation
from padam_optax.state._lookup import Moments, find_maxima, map_maxima


def reset_max(state: optax.OptState) -> optax.OptState:
    r"""Reset the running maximum ``nu_max`` to the current average ``nu``.

    In a long run the largest gradients of early training limit the steps for good
    (`diagnostics.fraction_where_max_active` measures how much), and a NaN or an
    infinity never leaves the maximum. Where ``mu``, ``nu`` or ``nu_max`` is not finite,
    all three are reset to 0. The count, shared by all coordinates, stays.

    Parameters that are already NaN must be restored separately;
    `optax.apply_if_finite` prevents them. A reset lets effective learning rates
    increase: the convergence proofs hold from the last reset on.

    Args:
      state: State of `padam`, `optax.amsgrad` or any wrapper of them, including several
        groups of `optax.multi_transform`. A maximum of :math:`v/(1-b_2^t)`, as of
        ``"before_max"`` and `optax.amsgrad`, is reset to v without the division.

    Returns:
      A state with the same structure, shapes and dtypes.

    Raises:
      ValueError: If the state lacks count, mu, nu or nu_max, or is quantized.

    Examples:
      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> from padam_optax.state import reset_max, second_moment
      >>> opt = padam_optax.padam(0.1, b2=0.5)
      >>> state = opt.init(jnp.zeros(2))
      >>> for g in [[4.0, jnp.nan], [0.0, 1.0]]:
      ...     _, state = opt.update(jnp.array(g), state)
      >>> print(second_moment(state))
      [ 8. nan]
      >>> state = reset_max(state)
      >>> print(second_moment(state))
      [4. 0.]
      >>> _, state = opt.update(jnp.array([0.0, 2.0]), state)
      >>> print(second_moment(state))
      [4. 2.]
    """
    return _reset(state, lambda _: True)


def reset_max_at(
    optimizer: optax.GradientTransformation,
    at: Collection[int] | Callable[[jax.Array], Any],
) -> optax.GradientTransformationExtraArgs:
    """Apply `reset_max` to the optimizer's state before chosen updates.

    Updates are counted as in schedules, by the number of previous ones: with the
    boundaries of `optax.piecewise_constant_schedule` as ``at``, the first step at the
    new learning rate is the first with the new maximum.

    Args:
      optimizer: `padam`, `optax.amsgrad` or a wrapper of them.
      at: Numbers of previous updates, at least 0; or a function of that number, an
        int32 scalar, that returns whether to reset. The result may be traced.

    Returns:
      A transformation with the optimizer's own state: checkpoints fit without it, too.

    Raises:
      ValueError: If a number of updates is negative or not whole; in ``init``, if the
        optimizer's state holds no ``mu``, ``nu`` and ``nu_max``.
      TypeError: If one is not a number.

    Examples:
      The third update forgets the spike of the first:

      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> from padam_optax.state import reset_max_at, second_moment
      >>> opt = reset_max_at(padam_optax.padam(0.1, b2=0.5), at={2})
      >>> state = opt.init(jnp.zeros(1))
      >>> for g in [8.0, 0.0, 0.0, 0.0]:
      ...     _, state = opt.update(jnp.array([g]), state)
      ...     print(second_moment(state))
      [32.]
      [32.]
      [16.]
      [16.]
    """
    if not callable(at):
        at = _one_of(at)
    inner = _validation.transformation("optimizer", optimizer)

    def init(params: optax.Params) -> optax.OptState:
        state = inner.init(params)
        find_maxima(state)  # for the error
        return state

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        return inner.update(updates, _reset(state, at), params, **extra_args)

    return optax.GradientTransformationExtraArgs(init, update)


def _one_of(counts: Any) -> Callable[[jax.Array], jax.Array]:
    remedy = "It counts the updates before the reset."
    if not isinstance(counts, Collection):
        raise TypeError(
            "at must be a collection of whole numbers or a function, got "
            f"{counts!r} of type {type(counts).__name__}. For one reset: at={{1000}}."
        )
    known = [_validation.whole_number("at", count, remedy) for count in counts]
    return lambda count: jnp.any(count == np.asarray(known, np.int32))


def _reset(state: optax.OptState, at: Callable[[Any], Any]) -> optax.OptState:
    """Return the state with the moments reset where ``at`` of their count is true."""

    def reset(moments: Moments) -> Moments:
        count, mu, nu, nu_max = moments
        when = at(count)

        def is_kept(m: jax.Array, v: jax.Array, v_max: jax.Array) -> jax.Array:
            is_finite = jnp.isfinite(m) & jnp.isfinite(v) & jnp.isfinite(v_max)
            return jnp.logical_not(when) | is_finite

        # A `where` instead of a branch: it fuses with the update that follows.
        keep = jax.tree.map(is_kept, mu, nu, nu_max)
        mu = jax.tree.map(lambda keep, m: jnp.where(keep, m, 0), keep, mu)
        nu = jax.tree.map(lambda keep, v: jnp.where(keep, v, 0), keep, nu)
        nu_max = jax.tree.map(lambda v, v_max: jnp.where(when, v, v_max), nu, nu_max)
        return Moments(count, mu, nu, nu_max)

    return map_maxima(reset, state)
