"""What every transformation here asks of a leaf: a usable dtype, and room for None."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def check_inexact(tree: optax.Params, what: str) -> None:
    """Raise TypeError, naming path and dtype, if a leaf is not real or complex."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        dtype = jax.dtypes.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"{what}{jax.tree_util.keystr(path)} has dtype {dtype}; only floating "
                "and complex leaves can be optimized. Keep it out of the parameters or "
                "mask it with optax.masked or optax.multi_transform."
            )


def accumulator_dtype(*dtypes: Any) -> Any:
    """Return float64 if a dtype has that precision, else float32.

    Sums of squares leave the range of float16, and in bfloat16 a decay rate of 0.999
    rounds to 1: statistics are never kept in less than float32.
    """
    bits = max(jnp.finfo(dtype).bits for dtype in dtypes)
    return jnp.float64 if bits > 32 else jnp.float32


def compute_dtype(*dtypes: Any) -> Any:
    """Return `accumulator_dtype`, made complex if one of the dtypes is."""
    real = accumulator_dtype(*dtypes)
    if not any(jnp.issubdtype(dtype, jnp.complexfloating) for dtype in dtypes):
        return real
    return jnp.complex128 if real == jnp.float64 else jnp.complex64


def zeros_like(params: optax.Params) -> optax.Updates:
    """Return real zeros for a statistic of each parameter, placed where that lives."""
    check_inexact(params, "params")
    return jax.tree.map(
        lambda p: jnp.zeros_like(p, dtype=accumulator_dtype(jax.dtypes.result_type(p))),
        params,
    )


def tree_map_with_none(
    f: Callable[..., Any], updates: optax.Updates, *rest: Any
) -> Any:
    """Map ``f`` over the leaves, giving it the None of a parameter without gradient."""
    return jax.tree.map(f, updates, *rest, is_leaf=is_none)


def mask_leaves(mask: Any, params: optax.Params, like: Any) -> list[bool]:
    """Return whether a mask selects each leaf of ``like``, where None is a leaf.

    Args:
      mask: A tree of bools like the parameters, a prefix of one, a function from the
        parameters to one, or None, which selects every leaf.
      params: The argument of a mask that is a function.
      like: A tree like the parameters.
    """
    if callable(mask):
        mask = mask(params)
    leaves, structure = jax.tree.flatten(like, is_leaf=is_none)
    numbered = structure.unflatten(range(len(leaves)))  # without None
    return jax.tree.leaves(jax.tree.broadcast(mask is None or mask, numbered))


def is_none(leaf: Any) -> bool:
    """Return whether a leaf is None, that of a parameter without gradient."""
    return leaf is None


def as_hyperparam(value: Any, dtype: Any) -> Any:
    """Return a traced hyperparameter in ``dtype``, a Python number as it is.

    So that neither promotes what it meets, and 1 - 0.999 is taken in double precision.
    """
    return value if isinstance(value, float) else jnp.asarray(value, dtype)
