"""Forgetting: v̂ dropped to v, and poisoned elements begun again."""

from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from padam_optax import _validation
from padam_optax.state._lookup import Moments, fields, get, moments, replace


def reset_max(state: optax.OptState) -> optax.OptState:
    """Return the state with v̂ dropped to v, and poisoned elements begun again.

    The running maximum never decreases, so in a long run step sizes stay limited by the
    largest gradients seen early in training (`diagnostics.fraction_where_max_active`
    measures it), and a NaN or an infinity stays in it for good. Where mu, nu or nu_max
    is not finite, all three start again from 0: their next values are those of a first
    step, without the bias correction that a first step would have, since the count is
    that of all.

    What the NaN reached beside the state you must mend yourself: a parameter that has
    become NaN stays so. To keep such gradients out, see `optax.apply_if_finite`.

    After a reset the effective learning rates may grow, which the convergence proofs
    exclude; with finitely many resets they hold from the last one on.

    Args:
      state: of `padam`, `optax.amsgrad` or anything around them, several groups of
        `optax.multi_transform` included. Where v̂ is the maximum of v/(1-b2^t)
        (``"before_max"``, `optax.amsgrad`), v as stored, without the division, stands
        in until the next update.

    Returns:
      A state of the same structure, shapes and dtypes.

    Raises:
      ValueError: the state holds no mu, nu and nu_max.

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
    for group in moments(state):
        state = _reset(state, group, True)
    return state


def reset_max_at(
    optimizer: optax.GradientTransformation,
    at: Collection[int] | Callable[[jax.Array], Any],
) -> optax.GradientTransformationExtraArgs:
    """Apply `reset_max` to the optimizer's state before chosen updates.

    Counted as in schedules, by the number of updates before: with the ``at`` that are
    boundaries of `optax.piecewise_constant_schedule`, the first step at the new
    learning rate is the first with the new maximum. The count is the one beside ``nu``.

    Args:
      optimizer: `padam`, `optax.amsgrad` or anything around them.
      at: numbers of updates, or a function from that number, an int32 scalar, to
        whether to reset, which may be traced.

    Returns:
      A transformation with the optimizer's own state, so that checkpoints stay valid
      when it is added or removed.

    Raises:
      ValueError: a number of updates is negative; in ``init``, the optimizer's state
        holds no mu, nu and nu_max.
      TypeError: one is no number.

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
    inner = optax.with_extra_args_support(optimizer)

    def init(params: optax.Params) -> optax.OptState:
        state = inner.init(params)
        moments(state)  # for the error
        return state

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        for group in moments(state):
            counts = fields(state, "count")
            (count,) = (n for path, n in counts.items() if path[:-1] == group.nu[:-1])
            state = _reset(state, group, at(count))
        return inner.update(updates, state, params, **extra_args)

    return optax.GradientTransformationExtraArgs(init, update)


def _one_of(counts: Collection[int]) -> Callable[[jax.Array], jax.Array]:
    chosen = [
        _validation.whole_number("at", count, "It counts the updates before the reset.")
        for count in counts
    ]
    known = np.asarray(chosen, np.int32)
    return lambda count: jnp.any(count == known)


def _reset(state: optax.OptState, group: Moments, when: Any) -> optax.OptState:
    """Return the state with the moments of one group reset, where ``when`` is true."""
    mu, nu, nu_max = (get(state, path) for path in group)
    sound = jax.tree.map(
        lambda *x: jnp.isfinite(x[0]) & jnp.isfinite(x[1]) & jnp.isfinite(x[2]),
        mu,
        nu,
        nu_max,
    )

    def restart(keep: jax.Array, x: jax.Array) -> jax.Array:
        # A `where` instead of a branch: it fuses with the update that follows.
        return jnp.where(jnp.logical_not(when) | keep, x, jnp.zeros_like(x))

    def drop(keep: jax.Array, v: jax.Array, v_max: jax.Array) -> jax.Array:
        return jnp.where(when, restart(keep, v), v_max)

    return replace(
        state,
        {
            group.mu: jax.tree.map(restart, sound, mu),
            group.nu: jax.tree.map(restart, sound, nu),
            group.nu_max: jax.tree.map(drop, sound, nu, nu_max),
        },
    )
