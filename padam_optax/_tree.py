"""Pytree helpers: checks and dtypes of leaves, None for absent gradients, masks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

_MASK_IT = "Keep it out, or mask it with optax.masked or optax.multi_transform."


def check_inexact(
    tree: optax.Params, what: str, remedy: str = _MASK_IT, *, real: bool = False
) -> None:
    """Raise TypeError, naming path and dtype, if a leaf is not real or complex."""
    kind = jnp.floating if real else jnp.inexact
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        try:
            dtype = jax.dtypes.result_type(leaf)
        except TypeError as error:
            raise TypeError(
                f"{what}{jax.tree_util.keystr(path)} must be an array, got "
                f"{type(leaf).__name__}. Keep it out, as equinox.filter does."
            ) from error
        if not jnp.issubdtype(dtype, kind):
            raise TypeError(
                f"{what}{jax.tree_util.keystr(path)} has dtype {dtype}; it must be "
                f"floating{'' if real else ' or complex'}. {remedy}"
            )


def accumulator_dtype(*dtypes: jax.typing.DTypeLike) -> jax.typing.DTypeLike:
    """Return float64 if a dtype has that precision, else float32.

    Squares overflow float16, and in bfloat16 a decay rate of 0.999 rounds to 1.
    """
    is_double = any(jnp.finfo(dtype).bits > 32 for dtype in dtypes)
    return jnp.float64 if is_double else jnp.float32


def compute_dtype(*dtypes: jax.typing.DTypeLike) -> jax.typing.DTypeLike:
    """Return `accumulator_dtype`, made complex if one of the dtypes is."""
    real = accumulator_dtype(*dtypes)
    if not any(map(is_complex, dtypes)):
        return real
    return jnp.complex128 if real == jnp.float64 else jnp.complex64


def is_complex(dtype: jax.typing.DTypeLike) -> bool:
    """Return whether a dtype is complex."""
    return jnp.issubdtype(dtype, jnp.complexfloating)


def as_hyperparam(value: jax.typing.ArrayLike, dtype: jax.typing.DTypeLike) -> Any:
    """Return a Python float as it is and an array in ``dtype``: neither promotes."""
    return value if isinstance(value, float) else jnp.asarray(value, dtype)


def clip_to_normal(x: jax.Array) -> jax.Array:
    """Return x where it and its reciprocal are normal numbers, else the nearest such.

    XLA divides by a scalar by multiplying with its reciprocal.
    """
    tiny = float(jnp.finfo(x.dtype).tiny)
    return jnp.clip(x, tiny, 1 / tiny)


def by_parts(f: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Return f(x), for complex x by parts: there infinity times 1 would be NaN."""
    return jax.lax.complex(f(x.real), f(x.imag)) if jnp.iscomplexobj(x) else f(x)


def zeros_like(params: optax.Params) -> optax.Updates:
    """Return real zeros for a moment of each parameter, with its sharding."""
    check_inexact(params, "params")
    return jax.tree.map(
        lambda x: jnp.zeros_like(x, accumulator_dtype(jax.dtypes.result_type(x))),
        params,
    )


def is_none(leaf: Any) -> bool:
    """Return whether a leaf is None, as of a parameter without gradient."""
    return leaf is None


def tree_map_with_none(f: Callable[..., Any], updates: Any, *rest: Any) -> Any:
    """Map ``f`` over the leaves of the updates, None among them."""
    return jax.tree.map(f, updates, *rest, is_leaf=is_none)


def tree_map_present(f: Callable[..., Any], updates: Any, *rest: Any) -> Any:
    """Map ``f`` over the leaves of the updates that are not None; None stays None."""
    return tree_map_with_none(
        lambda g, *others: None if g is None else f(g, *others), updates, *rest
    )


def cast_like(tree: Any, like: Any) -> Any:
    """Return a tree in the dtypes of another, with the leaves of that for None."""
    return tree_map_with_none(
        lambda x, y: y if x is None else jnp.asarray(x, jax.dtypes.result_type(y)),
        tree,
        like,
    )
