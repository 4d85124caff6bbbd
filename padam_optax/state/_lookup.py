"""Moments in the state of an optimizer, found by the names that Optax gives them.

Whatever stands around it (a chain, `optax.masked`, `optax.inject_hyperparams`), an
optimizer of the Adam family keeps fields ``mu``, ``nu`` and perhaps ``nu_max``, each a
tree like the parameters, and a ``count``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from padam_optax._tree import accumulator_dtype

Path = tuple[Any, ...]


class Moments(NamedTuple):
    """Where one optimizer with a running maximum keeps its moments."""

    mu: Path
    nu: Path
    nu_max: Path


def fields(state: optax.OptState, name: str) -> dict[Path, Any]:
    """Return path and value of each field, not parameter, of that name."""
    return dict(
        optax.tree.get_all_with_path(
            state,
            name,
            lambda path, _: isinstance(path[-1], optax.tree_utils.NamedTupleKey),
        )
    )


def moments(state: optax.OptState) -> list[Moments]:
    """Return where each optimizer within keeps mu, nu and nu_max, at least one.

    Several stand side by side under `optax.multi_transform`.

    Raises:
      ValueError: there is none, or it is compressed.
    """
    found = [
        Moments(mu, nu, nu_max)
        for mu in fields(state, "mu")
        for nu in fields(state, "nu")
        for nu_max in fields(state, "nu_max")
        if nu[: len(mu) - 1] == nu_max[: len(mu) - 1] == mu[:-1]
    ]
    if not found:
        raise ValueError(
            "The state must hold mu, nu and nu_max, as those of padam and "
            f"optax.amsgrad do; got {type(state).__name__} without them. Optimizers "
            "like optax.adam keep no maximum."
        )
    for moment in found:
        check_numbers(get(state, moment.nu_max))
    return found


def second_moment(state: optax.OptState) -> optax.Updates:
    """Return v̂ as stored: ``nu_max`` of the state or, where there is none, ``nu``.

    Args:
      state: of `padam`, `optax.amsgrad`, `optax.adam`, `optax.rmsprop` or any other
        that names them so. Of `optax.multi_transform`, that of one group:
        ``state.inner_states[label]``.

    Returns:
      A tree like the parameters, real.

    Raises:
      ValueError: there is none, there are several, or it is compressed.

    >>> import jax.numpy as jnp
    >>> import optax
    >>> import padam_optax
    >>> from padam_optax.state import second_moment
    >>> opt, params = padam_optax.padam(0.1, b2=0.75), {"w": jnp.zeros(2)}
    >>> state = opt.init(params)
    >>> for g in [jnp.array([4.0, 0.0]), jnp.array([0.0, 4.0])]:
    ...     _, state = opt.update({"w": g}, state)
    >>> second_moment(state)
    {'w': Array([4., 4.], dtype=float32)}
    >>> optax.tree.get(state, "nu")
    {'w': Array([3., 4.], dtype=float32)}
    """
    found = fields(state, "nu_max") or fields(state, "nu")
    if len(found) != 1:
        raise ValueError(
            "The state must hold one nu_max (or else one nu), the second moment; got "
            f"{len(found)}. Of optax.multi_transform pass the state of one group, "
            "state.inner_states[label]."
        )
    (tree,) = found.values()
    check_numbers(tree)

    def read(v: Any) -> jax.Array:
        # Optax keeps the second moment of complex parameters complex.
        return jnp.real(v).astype(accumulator_dtype(v.dtype))

    return jax.tree.map(read, tree)


def check_numbers(tree: Any) -> None:
    """Raise ValueError if a moment holds codes instead of numbers."""
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(jax.dtypes.result_type(leaf), jnp.integer):
            raise ValueError(
                "The state holds its moments as codes, those of quantize_state. Pass "
                "dequantize_state(state)."
            )


def get(state: optax.OptState, path: Path) -> Any:
    """Return the value at a path that `fields` or `moments` has given."""
    return fields(state, path[-1].name)[path]


def replace(state: optax.OptState, values: dict[Path, Any]) -> optax.OptState:
    """Return the state with other values at paths that `fields` has given.

    `optax.tree.set` does not find a field within a sibling of one of that name, as the
    count of `moving_average` is.
    """
    for path, value in values.items():
        state = _with(state, path, value)
    return state


def _with(node: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    children, tree = jax.tree_util.tree_flatten_with_path(
        node, is_leaf=lambda child: child is not node
    )
    return tree.unflatten(
        _with(child, path[1:], value) if _same_key(key, path[0]) else child
        for (key,), child in children
    )


def _same_key(key: Any, optaxs: Any) -> bool:
    """Return whether JAX's key is Optax's, which names the NamedTuple besides."""
    if isinstance(optaxs, optax.tree_utils.NamedTupleKey):
        return key == jax.tree_util.GetAttrKey(optaxs.name)
    return key == optaxs
