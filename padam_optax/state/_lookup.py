"""Find and replace the moments in an optimizer state by the names Optax gives them.

Inside any wrapper (a chain, `optax.masked`, `optax.inject_hyperparams`), an optimizer
of the Adam family keeps fields ``mu``, ``nu`` and perhaps ``nu_max``, each a tree like
the parameters, and a ``count`` beside ``mu``.
"""

import itertools
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from padam_optax._tree import accumulator_dtype, is_none

Path = tuple[Any, ...]


class Moments(NamedTuple):
    """The number of updates and the moments of one optimizer.

    ``count`` is None if there is none beside ``mu``, and ``nu_max`` is None if the
    optimizer keeps no maximum.
    """

    count: Any
    mu: Any
    nu: Any
    nu_max: Any


MOMENTS = ("mu", "nu", "nu_max")  # trees, whose own fields are parameters


def fields(state: optax.OptState, name: str) -> dict[Path, Any]:
    """Return path and value of each field of that name, parameters excluded."""

    def is_field(path: Path, _: Any) -> bool:
        *above, key = (getattr(key, "name", None) for key in path if _is_field(key))
        return _is_field(path[-1]) and key == name and not set(above) & set(MOMENTS)

    return dict(optax.tree.get_all_with_path(unwrap(state), name, is_field))


def _is_field(key: Any) -> bool:
    return isinstance(key, optax.tree_utils.NamedTupleKey)


def find_moments(state: optax.OptState) -> list[Moments]:
    """Return the moments of each optimizer in the state.

    There are several under `optax.multi_transform`. A ``nu`` or ``nu_max`` belongs to
    the ``mu`` with which it shares most of its path.
    """
    counts = fields(state, "count")
    owners: dict[Path, Moments] = {}
    for path, mu in fields(state, "mu").items():
        beside = [count for at, count in counts.items() if at[:-1] == path[:-1]]
        owners[path] = Moments(beside[0] if beside else None, mu, [], [])
    for name in ("nu", "nu_max"):
        for path, tree in fields(state, name).items() if owners else ():
            owner = max(owners, key=lambda mu: _shared_length(mu, path))
            getattr(owners[owner], name).append(tree)
    return [
        Moments(count, mu, nu[0], nu_max[0] if nu_max else None)
        for count, mu, nu, nu_max in owners.values()
        if len(nu) == 1 and len(nu_max) <= 1
    ]


def _has_maximum(moments: Moments) -> bool:
    """Return whether the optimizer keeps a maximum, and a count beside it."""
    return moments.count is not None and moments.nu_max is not None


def find_maxima(state: optax.OptState) -> list[Moments]:
    """Return the moments of each optimizer that has a maximum; raise if none has."""
    found = [moments for moments in find_moments(state) if _has_maximum(moments)]
    if not found:
        raise ValueError(
            "The state must hold count, mu, nu and nu_max, as those of padam and "
            f"optax.amsgrad do; got {type(state).__name__} without them. Optimizers "
            "like optax.adam keep no maximum."
        )
    for moments in found:
        check_numbers(moments.nu_max)
    return found


def map_moments(f: Callable[[Moments], Moments], state: optax.OptState) -> Any:
    """Return the state with the moments of each optimizer replaced by ``f`` of them."""
    return _map_parts(f, state, find_moments)


def map_maxima(f: Callable[[Moments], Moments], state: optax.OptState) -> Any:
    """Do `map_moments` where there is a maximum; raise as `find_maxima`."""
    find_maxima(state)
    return map_moments(lambda x: f(x) if _has_maximum(x) else x, state)


def map_fields(f: Callable[[Any], Any], state: optax.OptState, name: str) -> Any:
    """Return the state with each field of that name replaced by ``f`` of it."""
    return _map_parts(f, state, lambda state: fields(state, name).values())


def _map_parts(f: Any, state: Any, find: Callable[[Any], Iterable[Any]]) -> Any:
    """Return the state with each part that ``find`` returns replaced by ``f`` of it."""
    leaves, structure = jax.tree.flatten(state)
    # The same state with the position of each leaf in place of the leaf.
    numbered = structure.unflatten(range(len(leaves)))
    for places in find(numbered):
        new = f(jax.tree.map(leaves.__getitem__, places))
        pairs = zip(jax.tree.leaves(places), jax.tree.leaves(new), strict=True)
        for place, leaf in pairs:
            leaves[place] = leaf
    return structure.unflatten(leaves)


def second_moment(state: optax.OptState) -> optax.Updates:
    r"""Return :math:`\hat v`: ``nu_max`` of the state or, if there is none, ``nu``.

    Args:
      state: State of `padam_optax.padam`, `optax.amsgrad`, `optax.adam`,
        `optax.rmsprop` or any other optimizer with these names (`optax.adamax` uses
        ``nu`` for a maximum of \|g\|, no square). Of `optax.multi_transform`, pass the
        state of one group, ``state.inner_states[label]``.

    Returns:
      A tree like the parameters, real, as stored.

    Raises:
      ValueError: If there is none, there are several, or it is quantized.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> import padam_optax
      >>> opt, params = padam_optax.padam(0.1, b2=0.75), {"w": jnp.zeros(2)}
      >>> state = opt.init(params)
      >>> for g in [jnp.array([4.0, 0.0]), jnp.array([0.0, 4.0])]:
      ...     _, state = opt.update({"w": g}, state)
      >>> padam_optax.state.second_moment(state)
      {'w': Array([4., 4.], dtype=float32)}
      >>> optax.tree.get(state, "nu")
      {'w': Array([3., 4.], dtype=float32)}
    """
    remedy = "Pass that of an optimizer like padam or optax.adam."
    return find_second_moment(state, remedy, ONE_GROUP)


def find_second_moment(state: optax.OptState, if_none: str, if_several: str) -> Any:
    """Do the same as `second_moment`, with the remedies of the caller."""
    found = list((fields(state, "nu_max") or fields(state, "nu")).values())
    what = "nu_max (or else one nu), the second moment"
    tree = the_only(found, what, if_several if found else if_none)
    check_numbers(tree)

    def read(v: Any) -> jax.Array:
        # Optax keeps the second moment of complex parameters complex.
        return jnp.real(v).astype(accumulator_dtype(v.dtype))

    return jax.tree.map(read, tree)


ONE_GROUP = "Of optax.multi_transform pass one group, state.inner_states[label]."


def the_only(found: list[Any], what: str, remedy: str) -> Any:
    """Return the only element of what was found in a state."""
    if len(found) != 1:
        raise ValueError(f"The state must hold one {what}, got {len(found)}. {remedy}")
    return found[0]


def check_numbers(tree: Any) -> None:
    """Raise ValueError if a moment is quantized."""
    for leaf in jax.tree.leaves(tree):
        if jnp.issubdtype(jax.dtypes.result_type(leaf), jnp.integer):
            raise ValueError(
                "The state holds quantized moments. Pass dequantize_state(state); "
                "around projected or reset_max_at, quantize outside: "
                "quantize_state(projected(...))."
            )


def unwrap(tree: Any) -> Any:
    """Return a tree with arrays in place of the variables of `flax.nnx`.

    `flax.nnx.Optimizer` stores each array of its state as a variable, and
    `flax.nnx.state` returns parameters as variables of another type.
    """
    nnx: Any = sys.modules.get("flax.nnx")  # without it there are no variables
    if nnx is None:
        return tree

    def is_variable(node: Any) -> bool:
        return isinstance(node, nnx.Variable)

    def read(x: Any) -> Any:
        if not is_variable(x):
            return x
        return x.get_value() if hasattr(x, "get_value") else x.value  # Flax 0.11

    return jax.tree.map(read, tree, is_leaf=is_variable)


def rewrap(tree: Any, like: Any) -> Any:
    """Return an unwrapped tree with the variables that ``like`` has."""
    return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(tree))


def _shared_length(a: Path, b: Path) -> int:
    """Return the number of keys that two paths share from the start."""
    same = (x == y for x, y in zip(a, b, strict=False))
    return sum(itertools.takewhile(bool, same))


def mask_leaves(mask: Any, params: optax.Params, like: Any) -> list[bool]:
    """Return whether a mask selects each leaf of ``like``, where None is a leaf.

    A mask is a tree of bools like the parameters, a prefix of one, a function from the
    parameters to one, or None, which selects every leaf.
    """
    mask = mask(params) if callable(mask) else mask
    leaves, structure = jax.tree.flatten(like, is_leaf=is_none)
    numbered = structure.unflatten(range(len(leaves)))  # without None
    return jax.tree.leaves(jax.tree.broadcast(mask is None or mask, numbered))
