"""Quantiles of the elements of a pytree."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from padam_optax._tree import accumulator_dtype


def tree_quantiles(
    tree: Any,
    q: float | Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    *,
    per_leaf: bool = False,
) -> Any:
    """Return quantiles of all positive elements of a tree together.

    A quantile is an element: the smallest that at least a share q does not exceed
    (``numpy.quantile`` with ``method="inverted_cdf"``). Zeros do not count. One NaN
    makes the result NaN.

    The elements are neither concatenated nor sorted: 31 times (63 in float64) they are
    counted against a bound. It takes no memory; leaves sharded over devices stay where
    they are and only counts are exchanged; and it is faster than sorting. Still it
    reads the tree 31 times: once an epoch, rather than at each step.

    Args:
      tree: non-negative real arrays, for example those of `effective_learning_rates` or
        `second_moment`.
      q: shares in [0, 1].
      per_leaf: whether to return a tree with the quantiles of each leaf.

    Returns:
      An array of the shape of ``q``, float32 or float64; NaN without positive elements.

    Raises:
      ValueError: a share is outside [0, 1].

    >>> import jax.numpy as jnp
    >>> from padam_optax.diagnostics import tree_quantiles
    >>> tree = {"a": jnp.array([4.0, 0.0, 1.0]), "b": jnp.array([[2.0, 3.0]])}
    >>> print(tree_quantiles(tree, [0.0, 0.5, 1.0]))
    [1. 2. 4.]
    >>> print(tree_quantiles(tree, 0.5, per_leaf=True)["a"])
    1.0
    """
    shares = np.asarray(q, np.float64)
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"q must be in [0, 1], got {q}. The median is 0.5.")
    return reduce_leaves(lambda leaves: _quantiles(leaves, shares), per_leaf, tree)


def spread_in_decades(
    tree: Any, low: float = 0.1, high: float = 0.9, *, per_leaf: bool = False
) -> Any:
    """Return the decimal logarithm of the ratio of two quantiles, 4 for ten thousand.

    That of the effective learning rates is p times that of v̂: Padam narrows the spread
    that Adam has by 2p.

    Args:
      tree: as `tree_quantiles` takes it.
      low: share of elements below the smaller quantile.
      high: share of elements below the larger one.
      per_leaf: whether to return a tree with the spread of each leaf.

    Returns:
      A scalar, float32 or float64; NaN without positive elements.

    Raises:
      ValueError: a share is outside [0, 1].

    >>> import jax.numpy as jnp
    >>> from padam_optax.diagnostics import spread_in_decades
    >>> print(spread_in_decades(jnp.logspace(-6, 4, 11)))
    8.0
    """

    def spread(quantiles: jax.Array) -> jax.Array:
        return jnp.log10(quantiles[1]) - jnp.log10(quantiles[0])

    return jax.tree.map(spread, tree_quantiles(tree, (low, high), per_leaf=per_leaf))


def is_zero(x: jax.Array) -> jax.Array:
    """Return where x is 0 or, as for `root` and `inverse_power`, subnormal."""
    return x < jnp.finfo(x.dtype).tiny


def reduce_leaves(
    f: Callable[[list[jax.Array]], Any], per_leaf: bool, tree: Any
) -> Any:
    """Return f of all leaves together, or of each."""
    if per_leaf:
        return jax.tree.map(lambda x: f([x]), tree)
    return f(jax.tree.leaves(tree))


def _quantiles(leaves: list[jax.Array], q: np.ndarray) -> jax.Array:
    """Return the inverse of the distribution of positive elements, bit by bit.

    Read as integers, positive floats keep their order. So the quantile is the largest
    integer with fewer elements below it than a share q, found from its highest bit on.
    """
    dtype = accumulator_dtype(jnp.float32, *(x.dtype for x in leaves))
    integer = jnp.int32 if dtype == jnp.float32 else jnp.int64
    largest = jnp.iinfo(integer).max  # stands for what does not count, above infinity
    leaves = [jnp.asarray(x, dtype) for x in leaves]
    bits = [
        jnp.where(is_zero(x), largest, jax.lax.bitcast_convert_type(x, integer))
        for x in leaves
    ]

    def below(bound: jax.Array) -> jax.Array:
        counts = (
            jnp.sum(b[..., None] < bound, axis=range(b.ndim), dtype=jnp.int32)
            for b in bits
        )
        return jnp.asarray(sum(n.astype(dtype) for n in counts), dtype)

    rank = jnp.maximum(jnp.asarray(q.ravel(), dtype) * below(jnp.full(1, largest)), 1)
    top = jnp.iinfo(integer).bits - 2

    def set_bit(i: Any, low: jax.Array) -> jax.Array:
        high = low | (jnp.ones_like(low) << (top - i).astype(integer))
        return jnp.where(below(high) < rank, high, low)

    found = jax.lax.fori_loop(0, top + 1, set_bit, jnp.zeros(rank.shape, integer))
    # Without any element all bits are set, which is a NaN.
    values = jax.lax.bitcast_convert_type(found, dtype).reshape(q.shape)
    is_nan = sum(jnp.sum(jnp.isnan(x)) for x in leaves) > 0
    return jnp.where(is_nan, math.nan, values)
