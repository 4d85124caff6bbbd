"""What a run is doing, read from the state of its optimizer.

Pure functions, to be traced or not, that change nothing; their cost is a few passes
over the state. They read any optimizer whose state has a ``nu``, `optax.adam` and
`optax.amsgrad` included. The exponent and the learning rate are not in the state: pass
those of the moment, of a schedule its value.

Coordinates whose v̂ is 0 have seen no gradient and have not moved. They have an
effective learning rate of 0 here, and quantiles leave zeros out; otherwise the dead
inputs of a network would hide the others.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from padam_optax import _checks
from padam_optax._fields import check_numbers, fields, second_moment
from padam_optax._inverse_power import inverse_power, root
from padam_optax._leaves import real_dtype, scalar


def effective_learning_rates(
    state: optax.OptState,
    learning_rate: float | jax.Array,
    p: float | jax.Array,
    eps: float | jax.Array = 1e-8,
    *,
    eps_root: float | jax.Array = 0.0,
) -> optax.Updates:
    r"""Return what each coordinate's momentum is multiplied by.

    .. math::
        \alpha / (\sqrt{\hat v + \epsilon_{root}} + \epsilon)^{2p}

    and 0 where v̂ is 0. Their spread is what the small learning rate dilemma of the
    paper is about: with p = 1/2 it is so wide that the largest dictates a small α, with
    which the others hardly move.

    Bias corrections are left out: ``"none"`` has none, others come to 1 in some
    thousand steps. Before that, multiply α by √c2/c1 for ``"official"``, by c2^p/c1 for
    ``"consistent"`` and `optax.adam`, by 1/c1 for ``"before_max"`` and `optax.amsgrad`,
    with c1 = 1-b1^t and c2 = 1-b2^t.

    Args:
      state: as `second_moment` takes it.
      learning_rate: α of the moment, at least 0.
      p: the exponent of the moment, in [0, 1/2]; 1/2 for Adam and AMSGrad.
      eps: the optimizer's.
      eps_root: the optimizer's.

    Returns:
      A tree like the parameters, float32 or float64.

    Raises:
      ValueError: an argument is out of range, or the state holds no v̂ or several.
      TypeError: an argument is no number, for example a schedule.

    Gradients a hundred times larger give a rate 100^(2p) times smaller:

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> g = jnp.array([1.0, 100.0, 0.0])
    >>> for p in [0.5, 0.25]:
    ...     opt = padam_optax.padam(0.1, b2=0.0, p=p)
    ...     _, state = opt.update(g, opt.init(g))
    ...     print(padam_optax.effective_learning_rates(state, 0.1, p))
    [0.1   0.001 0.   ]
    [0.1  0.01 0.  ]
    """
    learning_rate = _checks.non_negative(
        "learning_rate", learning_rate, "Of a schedule, pass the value."
    )
    p = _checks.exponent_or_zero("p", p)
    eps, eps_root = _epsilons(eps, eps_root)

    def rate(v: jax.Array) -> jax.Array:
        x = _root(v, eps, eps_root)
        rate = scalar(learning_rate, v.dtype) * inverse_power(x, 2 * p)
        return jnp.where(_is_zero(v), 0, rate)

    return jax.tree.map(rate, second_moment(state))


def typical_root(
    state: optax.OptState,
    eps: float | jax.Array = 1e-8,
    *,
    eps_root: float | jax.Array = 0.0,
) -> jax.Array:
    """Return the median of √v̂+ε, of what is raised to the power 2p.

    α divided by its 2p-th power is the effective learning rate of the median
    coordinate: this number is all that `learning_rate_for` needs to know of a run. It
    grows over the first 1/(1-b2) steps, without a bias correction like √(1-b2^t):
    measure it where p changes, not in the first steps.

    Args:
      state: as `second_moment` takes it.
      eps: the optimizer's.
      eps_root: the optimizer's.

    Returns:
      A scalar, float32 or float64, in units of the gradient; NaN if no coordinate has
      seen a gradient.

    Raises:
      ValueError: as `effective_learning_rates`.

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> g = jnp.array([0.0, 0.0, 0.0, 0.2, -0.3, 50.0])
    >>> opt = padam_optax.padam(0.1, b2=0.0)
    >>> _, state = opt.update(g, opt.init(g))
    >>> print(padam_optax.typical_root(state))
    0.3
    """
    # The root is increasing: that of the median is the median of the roots.
    return _root(tree_quantiles(second_moment(state), 0.5), *_epsilons(eps, eps_root))


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
    >>> import padam_optax
    >>> tree = {"a": jnp.array([4.0, 0.0, 1.0]), "b": jnp.array([[2.0, 3.0]])}
    >>> print(padam_optax.tree_quantiles(tree, [0.0, 0.5, 1.0]))
    [1. 2. 4.]
    >>> print(padam_optax.tree_quantiles(tree, 0.5, per_leaf=True)["a"])
    1.0
    """
    shares = np.asarray(q, np.float64)
    if not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"q must be in [0, 1], got {q}. The median is 0.5.")
    return _reduce(lambda leaves: _quantiles(leaves, shares), per_leaf, tree)


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
    >>> import padam_optax
    >>> print(padam_optax.spread_in_decades(jnp.logspace(-6, 4, 11)))
    8.0
    """

    def spread(quantiles: jax.Array) -> jax.Array:
        return jnp.log10(quantiles[1]) - jnp.log10(quantiles[0])

    return jax.tree.map(spread, tree_quantiles(tree, (low, high), per_leaf=per_leaf))


def share_where_max_binds(
    state: optax.OptState,
    b2: float | jax.Array | None = None,
    *,
    per_leaf: bool = False,
) -> Any:
    """Return the share of coordinates that v̂ = max(v̂, v) remembers more of than v.

    At 0 the maximum is idle and the method is the one without it; at 1 no step grows
    any more, whatever the gradients do. See `reset_max` for the remedy.

    Args:
      state: holds one ``nu`` and one ``nu_max``.
      b2: None where v̂ is the maximum of v itself. Where it is that of v/(1-b2^t), in
        ``bias_correction="before_max"`` and `optax.amsgrad`, the decay rate: v is
        stored without the correction. Then a difference below one in ten thousand,
        which rounding can make, does not count.
      per_leaf: whether to return a tree with the share of each leaf.

    Returns:
      A float32 scalar in [0, 1].

    Raises:
      ValueError: the state does not hold one of each, or b2 is outside [0, 1).

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> opt = padam_optax.padam(0.1)
    >>> state = opt.init(jnp.zeros(4))
    >>> for g in [jnp.ones(4), jnp.array([0.0, 0.1, 1.0, 10.0])]:
    ...     _, state = opt.update(g, state)
    >>> print(padam_optax.share_where_max_binds(state))
    0.25
    """
    found, maxima = fields(state, "nu"), fields(state, "nu_max")
    if not len(found) == len(maxima) == 1:
        raise ValueError(
            "The state must hold one nu and one nu_max, got "
            f"{len(found)} and {len(maxima)}. optax.adam keeps no maximum; of "
            "optax.multi_transform pass the state of one group, "
            "state.inner_states[label]."
        )
    for tree in (*found.values(), *maxima.values()):
        check_numbers(tree)
    ((path, nu),) = found.items()
    (nu_max,) = maxima.values()
    share_that_counts = 1.0
    if b2 is not None:
        # Optax's own function, so that both sides have the same rounding.
        (count,) = (
            n for at, n in fields(state, "count").items() if at[:-1] == path[:-1]
        )
        count = count.astype(jax.dtypes.canonicalize_dtype(float))
        b2 = scalar(_checks.decay_rate("b2", b2), count.dtype)
        nu = optax.tree.bias_correction(nu, b2, count)
        share_that_counts = 1 - 1e-4

    def binds(v: jax.Array, v_max: jax.Array) -> jax.Array:
        return jnp.real(v) < share_that_counts * jnp.real(v_max)

    return _reduce(_share, per_leaf, jax.tree.map(binds, nu, nu_max))


def share_of_grown_rates(before: Any, after: Any, *, per_leaf: bool = False) -> Any:
    """Return the share of coordinates whose effective learning rate has grown.

    That α_t/v̂_t^p never grows is the key property behind the convergence proofs: 0 at
    every step is what they ask. The maximum sees to it as long as p and the learning
    rate are constant, or the latter falls. A warm-up, a change of p (at any learning
    rate, for it turns the spread of the rates), `reset_max` and the corrections of
    ``bias_correction`` (include them in the learning rate) break it.

    Args:
      before: `effective_learning_rates` at one step.
      after: the same at a later one. In a train step both states are at hand.
      per_leaf: whether to return a tree with the share of each leaf.

    Returns:
      A float32 scalar in [0, 1]. Coordinates that had seen no gradient before do not
      count as grown, nor does a rounding error.

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> opt, rates = padam_optax.padam(0.1), []
    >>> state = opt.init(jnp.zeros(4))
    >>> for g, rate in [(1.0, 0.1), (0.5, 0.1), (0.0, 0.2)]:
    ...     _, state = opt.update(jnp.full(4, g), state)
    ...     rates.append(padam_optax.effective_learning_rates(state, rate, 1 / 8))
    >>> print(padam_optax.share_of_grown_rates(rates[0], rates[1]))
    0.0
    >>> print(padam_optax.share_of_grown_rates(rates[1], rates[2]))
    1.0
    """

    def grew(old: jax.Array, new: jax.Array) -> jax.Array:
        return (old > 0) & (new > old * (1 + 16 * jnp.finfo(old.dtype).eps))

    return _reduce(_share, per_leaf, jax.tree.map(grew, before, after))


def _epsilons(eps: Any, eps_root: Any) -> tuple[Any, Any]:
    return (
        _checks.non_negative("eps", eps, "The usual value is 1e-8."),
        _checks.non_negative("eps_root", eps_root, "The usual value is 0."),
    )


def _root(v: jax.Array, eps: Any, eps_root: Any) -> jax.Array:
    return root(v + scalar(eps_root, v.dtype)) + scalar(eps, v.dtype)


def _is_zero(x: jax.Array) -> jax.Array:
    """Return where x is 0 or, as for `root` and `inverse_power`, subnormal."""
    return x < jnp.finfo(x.dtype).tiny


def _reduce(f: Callable[[list[jax.Array]], Any], per_leaf: bool, tree: Any) -> Any:
    """Return f of all leaves together, or of each."""
    if per_leaf:
        return jax.tree.map(lambda x: f([x]), tree)
    return f(jax.tree.leaves(tree))


def _share(leaves: list[jax.Array]) -> jax.Array:
    """Return the share of elements that are true."""
    # Leaf by leaf in integers, then in floats: a sum over 2^31 elements does not wrap.
    true = sum(jnp.sum(x, dtype=jnp.int32).astype(jnp.float32) for x in leaves)
    return jnp.asarray(true, jnp.float32) / max(1, sum(x.size for x in leaves))


def _quantiles(leaves: list[jax.Array], q: np.ndarray) -> jax.Array:
    """Return the inverse of the distribution of positive elements, bit by bit.

    Read as integers, positive floats keep their order. So the quantile is the largest
    integer with fewer elements below it than a share q, found from its highest bit on.
    """
    dtype = real_dtype(jnp.float32, *(x.dtype for x in leaves))
    integer = jnp.int32 if dtype == jnp.float32 else jnp.int64
    largest = jnp.iinfo(integer).max  # stands for what does not count, above infinity
    leaves = [jnp.asarray(x, dtype) for x in leaves]
    bits = [
        jnp.where(_is_zero(x), largest, jax.lax.bitcast_convert_type(x, integer))
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
