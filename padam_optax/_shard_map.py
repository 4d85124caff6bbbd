"""Loops and reductions inside `jax.shard_map`, with its check of varying axes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def vary_like(x: jax.Array, *others: Any, without: Any = None) -> jax.Array:
    """Return x, marked as varying over the mesh axes that the others vary over.

    Inside `jax.shard_map` the carry of a loop must vary from the start over every axis
    over which its next value varies. Axes named in ``without`` are left out.
    """
    for other in others:
        zero = jnp.zeros_like(other, x.dtype, shape=())  # varies like the other
        known = [axis for axis in axis_names(without) if axis in varying_axes(zero)]
        x = x + (jax.lax.psum(zero, tuple(known)) if known else zero)
    return x


def reduce_over_axis(
    reduce: Callable[[jax.Array, Any], jax.Array], x: jax.Array, axis_name: Any
) -> jax.Array:
    """Apply `jax.lax.psum` or `jax.lax.pmax` over the named axes that x varies over.

    Where JAX does not track that (`jax.pmap`, `jax.shard_map` with
    ``check_vma=False``), every array counts as varying.
    """
    axes = [
        axis
        for axis in axis_names(axis_name)
        if axis in varying_axes(x) or axis not in varying_axes(jax.lax.axis_index(axis))
    ]
    return reduce(x, tuple(axes)) if axes else x


def varying_axes(x: Any) -> frozenset[Any]:
    """Return the mesh axes of `jax.shard_map` over which x varies, as far as known."""
    kind: Any = jax.typeof(x)
    if hasattr(kind, "manual_axis_type"):  # its name since JAX 0.10
        return kind.manual_axis_type.varying
    return kind.vma


def axis_names(axis_name: Any) -> tuple[Any, ...]:
    """Return the names in an ``axis_name`` argument: None, a name or a tuple."""
    if axis_name is None:
        return ()
    return axis_name if isinstance(axis_name, tuple) else (axis_name,)
