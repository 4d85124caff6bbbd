"""Checks of what 8-bit codes rely on, by running an optimizer on a few numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from padam_optax._tree import compute_dtype
from padam_optax.experimental import _moments
from padam_optax.state._lookup import Moments, map_moments

_STEPS = 3
# Gradients of very different scale, and last a momentum that already equals the
# gradient, which a second moment of the deviation from the momentum does not see.
_SCALES = (2.0**-40, 1.0, 2.0**40, 1.0)
_IS_SETTLED = (False, False, False, True)
# After one step |mu|/√nu is at most 1/√(1-b2) if nu averages squared gradients. If nu
# is |g| itself, it grows with √|g|; if mu has no unit, with 1/|g|.
_LARGEST_RATIO = 1e4


def check_moments(
    inner: optax.GradientTransformationExtraArgs, params: optax.Params
) -> list[tuple[bool, bool | None]]:
    """Return for each row of moments whether it is bounded, and whether debiased.

    Bounded: nu, or nu_max if there is one, bounds the momentum. Debiased: nu_max is a
    maximum of nu/(1-b2^t) instead of nu. Runs the optimizer eagerly on parameters of
    one element each, even under `jax.jit`.
    """
    # In standard promotion, for Optax's optimizers mix dtypes.
    with jax.ensure_compile_time_eval(), jax.numpy_dtype_promotion("standard"):
        tiny = jax.tree.map(_zero, jax.tree.map(jax.typeof, params))

        def run(scale: jax.Array, is_settled: jax.Array) -> list[Any]:
            momentum = jnp.where(is_settled, scale, 0)

            def settle(moments: Moments) -> Moments:
                mu = jax.tree.map(lambda m: m + momentum.astype(m.dtype), moments.mu)
                return moments._replace(mu=mu)

            gradients = jax.tree.map(lambda x: jnp.full_like(x, scale), tiny)
            state = map_moments(settle, inner.init(tiny))
            for _ in range(_STEPS):
                _, state = inner.update(gradients, state, tiny)
            return [
                (row.mu, row.nu, row.nu if row.nu_max is None else row.nu_max)
                for row in _moments.rows(state)
            ]

        runs = jax.jit(jax.vmap(run))(jnp.asarray(_SCALES), jnp.asarray(_IS_SETTLED))
        return [
            (_is_bounded(mu, largest), _is_debiased(nu, largest))
            for mu, nu, largest in runs
        ]


def _zero(x: Any) -> jax.Array:
    """Return one element for an array; in float32, in which all scales are finite."""
    inexact = jnp.issubdtype(x.dtype, jnp.inexact)
    dtype = compute_dtype(x.dtype) if inexact else x.dtype
    return jnp.zeros((1,) * len(x.shape), dtype)


def _is_bounded(mu: jax.Array, nu: jax.Array) -> bool:
    """Return whether |mu|/√nu is moderate in all runs; if nu stays 0, yes."""
    m, v = (np.abs(np.asarray(x, np.complex128)).reshape(4, -1) for x in (mu, nu))
    return bool(np.all(m**2 <= _LARGEST_RATIO**2 * v, where=v[1] > 0))


def _is_debiased(nu: jax.Array, nu_max: jax.Array) -> bool | None:
    """Return whether the maximum is far above a rising nu; None if nu is still 0."""
    v, largest = (np.real(np.asarray(x)).reshape(4, -1) for x in (nu, nu_max))
    return bool(np.any(largest > 2 * v, where=v > 0)) if v.any() else None
