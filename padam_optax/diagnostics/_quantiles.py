"""Quantiles of the elements of a pytree."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from padam_optax._shard_map import reduce_over_axis, vary_like
from padam_optax._tree import accumulator_dtype, check_inexact
from padam_optax._validation import number
from padam_optax.state._lookup import unwrap


def tree_quantiles(
    tree: Any,
    q: float | Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    *,
    per_leaf: bool = False,
    axis_name: Any = None,
) -> Any:
    """Return quantiles of all positive elements of a tree.

    A quantile is an element: the smallest that at least a fraction q does not exceed,
    NumPy's ``method="inverted_cdf"``. Zeros are ignored; a NaN makes the result NaN.

    Takes 31 counting passes (63 in float64) instead of a sort: without extra memory,
    and sharded leaves exchange only counts. Call it once per epoch, say.

    Args:
      tree: Non-negative real arrays, such as `effective_learning_rates`.
      q: Fractions in [0, 1].
      per_leaf: Whether to return a tree with the quantiles of each leaf.
      axis_name: The mesh axis of `jax.shard_map`, or a tuple of axes, over which the
        leaves are sharded; without it each device counts its own shards. Leaves that do
        not vary over it count once; with ``check_vma=False`` all must be sharded.

    Returns:
      An array of the shape of ``q``, float32 or float64; NaN without positive elements.

    Raises:
      ValueError: If a fraction is outside [0, 1].
      TypeError: If a leaf is not real and floating, or a fraction not a number.

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.diagnostics import tree_quantiles
      >>> tree = {"a": jnp.array([4.0, 0.0, 1.0]), "b": jnp.array([[2.0, 3.0]])}
      >>> print(tree_quantiles(tree, [0.0, 0.5, 1.0]))
      [1. 2. 4.]
      >>> print(tree_quantiles(tree, 0.5, per_leaf=True)["a"])
      1.0
    """
    tree = unwrap(tree)
    check_inexact(tree, "tree", "Pass jnp.abs of it, or a float.", real=True)
    remedy = "The median is 0.5."
    for fraction in np.ravel(q):
        number("q", fraction, "in [0, 1]", lambda x: 0 <= x <= 1, remedy)
    fractions = np.asarray(q, np.float64)
    return reduce_leaves(
        lambda leaves: _quantiles(leaves, fractions, axis_name), per_leaf, tree
    )


def spread_in_decades(
    tree: Any,
    low: float = 0.1,
    high: float = 0.9,
    *,
    per_leaf: bool = False,
    axis_name: Any = None,
) -> Any:
    """Return the decimal logarithm of the ratio of two quantiles.

    The spread of the effective learning rates is p times that of v̂, so Padam reduces
    the spread of Adam by a factor of 2p.

    Args:
      tree: As in `tree_quantiles`.
      low: Fraction of elements below the smaller quantile.
      high: Fraction of elements below the larger quantile.
      per_leaf: Whether to return a tree with the spread of each leaf.
      axis_name: As in `tree_quantiles`.

    Returns:
      A scalar, float32 or float64; NaN without positive elements.

    Raises:
      ValueError: If a fraction is outside [0, 1].

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.diagnostics import spread_in_decades
      >>> print(f"{spread_in_decades(jnp.logspace(-6, 4, 11)):.1f}")
      8.0
    """
    found = tree_quantiles(tree, (low, high), per_leaf=per_leaf, axis_name=axis_name)
    return jax.tree.map(lambda x: jnp.log10(x[1]) - jnp.log10(x[0]), found)


def is_zero(x: jax.Array) -> jax.Array:
    """Return where x is 0 or, as for `root` and `inverse_power`, subnormal."""
    return x < jnp.finfo(x.dtype).tiny


def reduce_leaves(f: Callable[..., Any], per_leaf: bool, tree: Any) -> Any:
    """Return f of all leaves together, or of each."""
    if per_leaf:
        return jax.tree.map(lambda x: f([x]), tree)
    return f(jax.tree.leaves(tree))


def _quantiles(leaves: list[jax.Array], q: np.ndarray, axis_name: Any) -> jax.Array:
    """Return the inverse of the distribution of positive elements, bit by bit.

    Read as integers, positive floats keep their order. A quantile is the largest
    integer with less than a fraction q of the elements below it, found from the top.
    """
    dtypes = [jax.dtypes.result_type(x) for x in leaves]
    dtype = accumulator_dtype(jnp.float32, *dtypes)
    integer = jnp.int32 if dtype == jnp.float32 else jnp.int64
    largest = jnp.iinfo(integer).max  # above infinity, for elements that do not count
    leaves = [jnp.asarray(x, dtype) for x in leaves]
    bits = [
        jnp.where(is_zero(x), largest, jax.lax.bitcast_convert_type(x, integer))
        for x in leaves
    ]

    def total(count: jax.Array) -> jax.Array:
        return reduce_over_axis(jax.lax.psum, count.astype(dtype), axis_name)

    def below(bound: jax.Array) -> jax.Array:
        counts = (
            jnp.sum(
                b[..., None] < bound.reshape((1,) * b.ndim + bound.shape),
                axis=range(b.ndim),
                dtype=jnp.int32,
            )
            for b in bits
        )
        return jnp.asarray(sum(map(total, counts)), dtype)

    rank = jnp.maximum(jnp.asarray(q.ravel(), dtype) * below(jnp.full(1, largest)), 1)
    top = jnp.iinfo(integer).bits - 2

    def set_bit(i: Any, low: jax.Array) -> jax.Array:
        high = low | (jnp.ones_like(low) << (top - i).astype(integer))
        return jnp.where(below(high) < rank, high, low)

    zeros = vary_like(jnp.zeros(rank.shape, integer), rank)
    found = jax.lax.fori_loop(0, top + 1, set_bit, zeros)
    # Without any element all bits are set, which is a NaN.
    values = jax.lax.bitcast_convert_type(found, dtype).reshape(q.shape)
    is_nan = jnp.asarray(sum(total(jnp.sum(jnp.isnan(x))) for x in leaves), dtype) > 0
    return jnp.where(is_nan, math.nan, values)
