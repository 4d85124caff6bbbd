"""The distance of the parameters from their initial values."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from padam_optax._shard_map import reduce_over_axis
from padam_optax._tree import check_inexact, compute_dtype
from padam_optax.state._lookup import fields, the_only, unwrap


class KeepInitialParamsState(NamedTuple):
    """The initial parameters.

    Attributes:
      initial_params: A copy of the parameters that ``init`` received.
    """

    initial_params: optax.Params


def keep_initial_params() -> optax.GradientTransformation:
    """Store a copy of the initial parameters for `distance_from_start`.

    The copy shares no buffer with the parameters: both can be donated to a train step.
    Updates pass through; the state is a `KeepInitialParamsState`.

    Raises:
      TypeError: If a leaf is integer or boolean (in ``init``).

    Examples:
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
        return KeepInitialParamsState(jax.tree.map(_copy, params))

    return optax.GradientTransformation(init, optax.identity().update)


def _copy(x: Any) -> jax.Array:
    is_abstract = isinstance(x, jax.ShapeDtypeStruct)
    return jnp.zeros_like(x) if is_abstract else jnp.array(x, copy=True)


def distance_from_start(
    state: optax.OptState,
    params: optax.Params,
    *,
    per_leaf: bool = False,
    axis_name: Any = None,
) -> Any:
    r"""Return :math:`\|\theta_t - \theta_0\|_2`.

    Args:
      state: An optimizer state with one `KeepInitialParamsState`.
      params: The current parameters.
      per_leaf: Whether to return a tree with the distance of each leaf. Leaves that
        `optax.masked` hides from `keep_initial_params` are None there.
      axis_name: As in `tree_quantiles`.

    Returns:
      A scalar, float32, or float64 if a parameter is.

    Raises:
      ValueError: If not one ``initial_params`` is found, or one of another shape.

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.diagnostics import distance_from_start, keep_initial_params
      >>> state = keep_initial_params().init({"a": jnp.zeros(2), "b": jnp.zeros(1)})
      >>> params = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([4.0])}
      >>> print(distance_from_start(state, params, per_leaf=True)["a"])
      3.0
    """
    found = list(fields(state, "initial_params").values())
    remedy = "Add keep_initial_params() to the chain."
    initial_params = the_only(found, "initial_params", remedy)

    def distance(x: jax.Array, x_0: Any) -> jax.Array | None:
        if isinstance(x_0, optax.MaskedNode):
            return None
        x, x_0 = jnp.asarray(x), jnp.asarray(x_0)
        if x.shape != x_0.shape:
            raise ValueError(
                f"params must have the shapes of the initial ones, got {x.shape} for "
                f"{x_0.shape}."
            )
        dtype = compute_dtype(x.dtype, x_0.dtype)
        norm = optax.tree.norm(x.astype(dtype) - x_0.astype(dtype))
        if axis_name is None:
            return norm
        return jnp.sqrt(reduce_over_axis(jax.lax.psum, jnp.square(norm), axis_name))

    distances = jax.tree.map(distance, unwrap(params), initial_params)
    return distances if per_leaf else optax.tree.norm(distances)
