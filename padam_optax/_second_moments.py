r"""Second-moment transforms, to be chained.

Padam's :math:`\hat v` is ``chain(square(), moving_average(b2), running_max())``.
Without the last link it is Adam's; `padam_optax.contrib` has AdaBelief's and Yogi's.

All values are real, non-negative and at least float32, whatever the gradients' dtype.
Where a gradient is None, the result is None and the state keeps its value.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike, DTypeLike

from padam_optax import _tree, _validation


def square() -> optax.GradientTransformation:
    """Replace each gradient by the square of its absolute value.

    A square that would overflow becomes the largest finite number: an infinity would
    stay in the moving average forever and freeze its coordinate. NaN stays NaN.

    Examples:
      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> squared = padam_optax.square()
      >>> g = jnp.array([-3.0, 3.0, 1e30])
      >>> squared.update(g, squared.init(g))[0]
      Array([9.0000000e+00, 9.0000000e+00, 3.4028235e+38], dtype=float32)
    """
    return optax.stateless(lambda updates, _: jax.tree.map(abs_square, updates))


class MovingAverageState(NamedTuple):
    """State of `moving_average` and `padam_optax.contrib.yogi_average`.

    Attributes:
      nu: The average for each parameter, real, at least float32.
    """

    nu: optax.Updates


def moving_average(b2: ArrayLike = 0.999) -> optax.GradientTransformation:
    r"""Replace each value s by its exponential moving average.

    .. math::
        \nu_t = b_2 \nu_{t-1} + (1 - b_2) s_t, \qquad \nu_0 = 0

    For bias correction, chain `debias` after it. The state is a `MovingAverageState`.

    Args:
      b2: Decay rate, in [0, 1).

    Raises:
      ValueError: If ``b2`` is outside [0, 1).

    Examples:
      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> average = padam_optax.moving_average(0.75)
      >>> state = average.init(jnp.zeros(2))
      >>> _, state = average.update(jnp.array([4.0, 0.0]), state)
      >>> average.update(jnp.array([0.0, 4.0]), state)[0]
      Array([0.75, 1.  ], dtype=float32)
    """
    rate = 1 - _validation.decay_rate("b2", b2)

    def step(nu: jax.Array, s: jax.Array) -> jax.Array:
        # Stays between nu and s despite rounding: it overflows only if they do.
        return nu + _tree.as_hyperparam(rate, nu.dtype) * (s - nu)

    return accumulate(MovingAverageState, step)


def debias(b2: ArrayLike = 0.999) -> optax.GradientTransformationExtraArgs:
    r"""Divide each value by :math:`1 - b_2^t`, the bias correction of a moving average.

    Args:
      b2: Decay rate of the average, in [0, 1).

    Returns:
      A stateless transformation whose ``update`` requires the extra argument ``count``,
      the number t of updates including this one. `scale_by_partial_adaptive` passes its
      own, so that the whole optimizer has one step count.

    Raises:
      ValueError: If ``b2`` is outside [0, 1), or (in ``update``) ``count`` is missing.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> import padam_optax
      >>> average = padam_optax.moving_average(0.75)
      >>> corrected = optax.chain(average, padam_optax.debias(0.75))
      >>> state = corrected.init(jnp.zeros(1))
      >>> for t in [1, 2]:
      ...     s, state = corrected.update(jnp.array([4.0]), state, count=t)
      ...     print(s, state[0].nu)
      [4.] [1.]
      [4.] [1.75]
    """
    b2 = _validation.decay_rate("b2", b2)

    def divide(updates: optax.Updates, count: Any = None, **_: Any) -> Any:
        if count is None:
            raise ValueError(
                "count must be passed to the update of debias, got None. Pass the "
                "number of updates, this one included; scale_by_partial_adaptive does."
            )
        # Rounded as in optax.tree.bias_correction.
        dtype = jax.dtypes.canonicalize_dtype(float)
        c2 = 1 - _tree.as_hyperparam(b2, dtype) ** jnp.asarray(count, dtype)
        return jax.tree.map(lambda s: saturate(s / like(c2, s)), updates)

    return stateless(divide)


class RunningMaxState(NamedTuple):
    """State of `running_max`.

    Attributes:
      nu_max: The largest value so far for each parameter, real, at least float32.
    """

    nu_max: optax.Updates


def running_max() -> optax.GradientTransformation:
    r"""Replace each value by the largest value so far, element by element.

    .. math::
        \hat v_t = \max(\hat v_{t-1}, v_t), \qquad \hat v_0 = 0

    This is the maximum of AMSGrad (Reddi et al., ICLR 2018) and Padam. It keeps the
    effective learning rate :math:`\alpha / \hat v^p` from growing, on which their
    convergence proofs rest. A NaN or infinite gradient permanently poisons its own
    coordinate: NaN stays in the maximum, and infinity in the first moment. Prevent it
    with `optax.apply_if_finite`, recover with an earlier checkpoint or
    `padam_optax.state.reset_max`. The state is a `RunningMaxState`.

    Examples:
      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> largest = padam_optax.running_max()
      >>> state = largest.init(jnp.zeros(2))
      >>> _, state = largest.update(jnp.array([4.0, 1.0]), state)
      >>> largest.update(jnp.array([2.0, 3.0]), state)[0]
      Array([4., 3.], dtype=float32)
    """
    # The 0 changes no value; XLA:CPU takes twice as long to compile a lone maximum.
    return accumulate(RunningMaxState, lambda a, b: jnp.maximum(a, jnp.maximum(b, 0)))


def stateless(f: Callable[..., Any]) -> optax.GradientTransformationExtraArgs:
    """Return `optax.stateless` of a function of the updates and the extra arguments."""

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        del params
        return f(updates, **extra_args), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def accumulate(
    state_type: Callable[[optax.Updates], Any],
    step: Callable[[jax.Array, jax.Array], jax.Array],
) -> optax.GradientTransformation:
    """Return the transformation that stores and returns step(stored value, value)."""

    def init(params: optax.Params) -> Any:
        return state_type(_tree.zeros_like(params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        (old,) = state
        new = _tree.tree_map_with_none(
            lambda s, x: x if s is None else step(x, like(s, x)), updates, old
        )
        values = _tree.tree_map_present(lambda _, x: x, updates, new)
        return values, state_type(new)

    return optax.GradientTransformation(init, update)


def abs_square(x: ArrayLike) -> jax.Array:
    """Return the square of the absolute value, finite, in at least float32."""
    x = jnp.asarray(x)
    if jnp.iscomplexobj(x):
        return saturate(jnp.square(x.real) + jnp.square(x.imag))
    return saturate(jnp.square(x.astype(_tree.accumulator_dtype(x.dtype))))


def saturate(x: jax.Array) -> jax.Array:
    """Replace infinity by the largest finite number; NaN stays NaN."""
    return jnp.minimum(x, jnp.finfo(x.dtype).max)


def like(x: ArrayLike, y: ArrayLike) -> jax.Array:
    """Return x as an array in the dtype of y."""
    return jnp.asarray(x, jnp.result_type(y))


def one_minus_power(b: ArrayLike, count: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Return 1 - b^count, count >= 1, by expm1, which loses no digits as b nears 1."""
    if isinstance(b, float):  # its logarithm in double precision
        log_b = jnp.asarray(math.log(b) if b > 0 else -math.inf, dtype)
    else:
        b = jnp.asarray(b, dtype)
        log_b = jnp.where(b > 0, jnp.log(jnp.where(b > 0, b, 1)), -jnp.inf)
    return -jnp.expm1(count.astype(dtype) * log_b)
