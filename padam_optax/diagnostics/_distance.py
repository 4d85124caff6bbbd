"""How far the parameters have come from where they began."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from padam_optax._tree import check_inexact, compute_dtype
from padam_optax.state._lookup import fields


class KeepInitialParamsState(NamedTuple):
    """The parameters that ``init`` was given."""

    initial_params: optax.Params  # a copy


def keep_initial_params() -> optax.GradientTransformation:
    """Remember θ_0 and leave the updates as they are.

    The copy shares no buffer with the parameters, so both can be donated to the train
    step. It costs as much memory as they do and is never written again.

    Returns:
      A transformation with state `KeepInitialParamsState`, for `distance_from_start`.

    Raises:
      TypeError: a leaf is integer or bool (in ``init``).

    >>> import jax.numpy as jnp
    >>> import optax
    >>> from padam_optax.diagnostics import distance_from_start, keep_initial_params
    >>> opt = optax.chain(keep_initial_params(), optax.sgd(1.0))
    >>> params = {"w": jnp.array([1.0, 2.0])}
    >>> state = opt.init(params)
    >>> updates, state = opt.update({"w": jnp.array([3.0, -4.0])}, state)
    >>> params = optax.apply_updates(params, updates)
    >>> print(distance_from_start(state, params))
    5.0
    """

    def init(params: optax.Params) -> KeepInitialParamsState:
        check_inexact(params, "params")
        return KeepInitialParamsState(
            jax.tree.map(lambda x: jnp.array(x, copy=True), params)
        )

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None
    ) -> tuple[optax.Updates, KeepInitialParamsState]:
        del params
        return updates, state

    return optax.GradientTransformation(init, update)


def distance_from_start(
    state: optax.OptState, params: optax.Params, *, per_leaf: bool = False
) -> Any:
    r"""Return :math:`\|\theta_t - \theta_0\|_2`.

    Args:
      state: holds one `KeepInitialParamsState`.
      params: θ_t.
      per_leaf: whether to return a tree with the distance of each leaf. Leaves that
        `optax.masked` has kept from `keep_initial_params` are None there.

    Returns:
      A scalar, float32, or float64 if a parameter is.

    Raises:
      ValueError: the state holds no initial parameters, or several.
    """
    found = list(fields(state, "initial_params").values())
    if len(found) != 1:
        raise ValueError(
            f"The state must hold one initial_params, got {len(found)}. Add "
            "keep_initial_params() to the chain."
        )

    def distance(x: jax.Array, x_0: Any) -> jax.Array | None:
        if isinstance(x_0, optax.MaskedNode):
            return None
        dtype = compute_dtype(x.dtype, x_0.dtype)
        return optax.tree.norm(x.astype(dtype) - x_0.astype(dtype))

    distances = jax.tree.map(distance, params, found[0])
    return distances if per_leaf else optax.tree.norm(distances)
