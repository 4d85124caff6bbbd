"""Effective learning rates and the running maximum, read from an optimizer state.

Pure functions of any state with a ``nu``, that of `flax.nnx.Optimizer` included. The
state stores neither the exponent nor the learning rate: both are arguments.

Coordinates whose v̂ is 0 have received no gradient and have not moved. Their effective
learning rate is 0, and quantiles ignore zeros: dead inputs would hide all else.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from padam_optax import _validation
from padam_optax._inverse_power import inverse_power, root
from padam_optax._shard_map import reduce_over_axis
from padam_optax._tree import as_hyperparam
from padam_optax.diagnostics._quantiles import is_zero, reduce_leaves, tree_quantiles
from padam_optax.state._lookup import ONE_GROUP, find_maxima, second_moment, the_only


def effective_learning_rates(
    state: optax.OptState,
    learning_rate: float | jax.Array,
    p: float | jax.Array,
    eps: float | jax.Array = 1e-8,
    *,
    eps_root: float | jax.Array = 0.0,
) -> optax.Updates:
    r"""Return the factor that multiplies the momentum of each coordinate.

    .. math::
        \alpha / (\sqrt{\hat v + \epsilon_{root}} + \epsilon)^{2p}

    and 0 where :math:`\hat v` is 0. Their spread is the paper's "small learning rate
    dilemma": with p = 1/2 the largest forces a rate at which the others hardly move.

    Bias corrections are not included: ``"none"`` has none, and the others approach 1
    within some thousand steps. Before that, with :math:`c_1 = 1 - b_1^t` and
    :math:`c_2 = 1 - b_2^t`, multiply the learning rate by :math:`\sqrt{c_2}/c_1` for
    ``"official"``, by :math:`c_2^p/c_1` for ``"consistent"`` and `optax.adam`, and by
    :math:`1/c_1` for ``"before_max"`` and `optax.amsgrad`.

    Args:
      state: As in `second_moment`.
      learning_rate: The current learning rate, at least 0.
      p: The current exponent, in [0, 1/2]; 1/2 for Adam and AMSGrad.
      eps: The optimizer's ``eps``.
      eps_root: The optimizer's ``eps_root``.

    Returns:
      A tree like the parameters, float32 or float64.

    Raises:
      ValueError: If an argument is out of range, or the state holds no v̂ or several.
      TypeError: If an argument is not a number, for example a schedule.

    Examples:
      Gradients a hundred times larger reduce the factor by 100^(2p):

      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> from padam_optax.diagnostics import effective_learning_rates
      >>> g = jnp.array([1.0, 100.0, 0.0])
      >>> for p in [0.5, 0.25]:
      ...     opt = padam_optax.padam(0.1, b2=0.0, p=p)
      ...     _, state = opt.update(g, opt.init(g))
      ...     rates = effective_learning_rates(state, 0.1, p)
      ...     print([f"{rate:.4f}" for rate in rates])
      ['0.1000', '0.0010', '0.0000']
      ['0.1000', '0.0100', '0.0000']
    """
    learning_rate = _validation.non_negative(
        "learning_rate", learning_rate, "Evaluate a schedule first and pass its value."
    )
    p = _validation.exponent_or_zero("p", p)
    eps, eps_root = _validation.epsilons(eps, eps_root)

    def rate(v: jax.Array) -> jax.Array:
        x = _root(v, eps, eps_root)
        rate = as_hyperparam(learning_rate, v.dtype) * inverse_power(x, 2 * p)
        return jnp.where(is_zero(v), 0, rate)

    return jax.tree.map(rate, second_moment(state))


def median_root_nu(
    state: optax.OptState,
    eps: float | jax.Array = 1e-8,
    *,
    eps_root: float | jax.Array = 0.0,
    axis_name: Any = None,
) -> jax.Array:
    r"""Return the median of :math:`\sqrt{\hat v + \epsilon_{root}} + \epsilon`.

    The learning rate divided by its power 2p is the effective one of the median
    coordinate, which `learning_rate_for` keeps. Measure it where p changes.

    Args:
      state: As in `second_moment`.
      eps: The optimizer's ``eps``.
      eps_root: The optimizer's ``eps_root``.
      axis_name: As in `tree_quantiles`.

    Returns:
      A scalar, float32 or float64, in units of the gradient; NaN before any.

    Raises:
      ValueError: As in `effective_learning_rates`.

    Examples:
      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> from padam_optax.diagnostics import median_root_nu
      >>> g = jnp.array([0.0, 0.0, 0.0, 0.2, -0.3, 50.0])
      >>> opt = padam_optax.padam(0.1, b2=0.0)
      >>> _, state = opt.update(g, opt.init(g))
      >>> print(median_root_nu(state))
      0.3
    """
    eps, eps_root = _validation.epsilons(eps, eps_root)
    # The root is increasing, so it maps the median to the median.
    median = tree_quantiles(second_moment(state), 0.5, axis_name=axis_name)
    return _root(median, eps, eps_root)


def fraction_where_max_active(
    state: optax.OptState,
    b2: float | jax.Array | None = None,
    *,
    per_leaf: bool = False,
    axis_name: Any = None,
) -> Any:
    """Return the fraction of coordinates where nu_max exceeds nu.

    There the maximum makes the step smaller, by the factor (nu/nu_max)^p.

    Args:
      state: A state with one ``count``, ``mu``, ``nu`` and ``nu_max``, dequantized.
      b2: The decay rate if the maximum is taken of nu/(1-b2^t), as with
        ``bias_correction="before_max"`` and `optax.amsgrad`. Then relative differences
        below 1e-4 are attributed to rounding. None if it is taken of nu itself.
      per_leaf: Whether to return a tree with the fraction of each leaf.
      axis_name: As in `tree_quantiles`.

    Returns:
      A float32 scalar in [0, 1], or a tree of them; NaN if a moment is.

    Raises:
      ValueError: If the state does not hold one of each, or b2 is outside [0, 1).

    Examples:
      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> from padam_optax.diagnostics import fraction_where_max_active
      >>> opt = padam_optax.padam(0.1)
      >>> state = opt.init(jnp.zeros(4))
      >>> for g in [jnp.ones(4), jnp.array([0.0, 0.1, 1.0, 10.0])]:
      ...     _, state = opt.update(g, state)
      >>> print(fraction_where_max_active(state))
      0.25
    """
    count, _, nu, nu_max = the_only(find_maxima(state), "nu_max", ONE_GROUP)
    threshold = 1.0
    if b2 is not None:
        # Optax's own function, so that both sides are rounded in the same way.
        count = count.astype(jax.dtypes.canonicalize_dtype(float))
        b2 = as_hyperparam(_validation.decay_rate("b2", b2), count.dtype)
        nu = optax.tree.bias_correction(nu, b2, count)
        threshold = 1 - 1e-4

    def is_active(v: jax.Array, v_max: jax.Array) -> jax.Array:
        return jnp.real(v) < threshold * jnp.real(v_max)

    return _fraction(is_active, nu, nu_max, per_leaf, axis_name)


def fraction_of_increased_lrs(
    before: Any, after: Any, *, per_leaf: bool = False, axis_name: Any = None
) -> Any:
    r"""Return the fraction of coordinates whose effective learning rate has increased.

    The convergence proofs need 0 at every step. The maximum guarantees it as long as p
    is constant and the learning rate, ``bias_correction`` included, does not increase.
    A warm-up, a change of p and `reset_max` violate it.

    Args:
      before: `effective_learning_rates` at one step.
      after: The same at a later step. A train step has both states.
      per_leaf: Whether to return a tree with the fraction of each leaf.
      axis_name: As in `tree_quantiles`.

    Returns:
      A float32 scalar in [0, 1], or a tree of them; NaN if a rate is. Coordinates that
      had received no gradient before do not count as increased, nor do rounding errors.

    Examples:
      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> from padam_optax import diagnostics
      >>> opt, rates = padam_optax.padam(0.1), []
      >>> state = opt.init(jnp.zeros(4))
      >>> for g, rate in [(1.0, 0.1), (0.5, 0.1), (0.0, 0.2)]:
      ...     _, state = opt.update(jnp.full(4, g), state)
      ...     rates.append(diagnostics.effective_learning_rates(state, rate, 1 / 8))
      >>> print(*map(diagnostics.fraction_of_increased_lrs, rates, rates[1:]))
      0.0 1.0
    """

    def has_increased(old: jax.Array, new: jax.Array) -> jax.Array:
        return (old > 0) & (new > old * (1 + 16 * float(jnp.finfo(old.dtype).eps)))

    return _fraction(has_increased, before, after, per_leaf, axis_name)


def _root(v: jax.Array, eps: Any, eps_root: Any) -> jax.Array:
    return root(v + as_hyperparam(eps_root, v.dtype)) + as_hyperparam(eps, v.dtype)


def _fraction(is_true: Any, a: Any, b: Any, per_leaf: bool, axis_name: Any) -> Any:
    """Return the fraction of elements where is_true(a, b); NaN if an element is."""

    def total(count: jax.Array) -> jax.Array:
        return reduce_over_axis(jax.lax.psum, count.astype(jnp.float32), axis_name)

    def count(x: jax.Array, y: jax.Array) -> jax.Array:
        # Each in integers, their sum in floats, so that 2^31 elements do not wrap.
        masks = is_true(x, y), jnp.isnan(x) | jnp.isnan(y)
        true, unknown = (jnp.sum(mask, dtype=jnp.int32) for mask in masks)
        return total(jnp.stack([true, unknown, jnp.full_like(true, x.size)]))

    def fraction(leaves: list[jax.Array]) -> jax.Array:
        true, unknown, size = sum(leaves, jnp.zeros(3, jnp.float32))
        return jnp.where(unknown > 0, jnp.nan, true / jnp.maximum(size, 1))

    return reduce_leaves(fraction, per_leaf, jax.tree.map(count, a, b))
