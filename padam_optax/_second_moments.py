"""Statistics of a gradient, each a transformation, to be chained as one likes.

Padam's v̂ is ``optax.chain(square(), moving_average(b2), running_max())``. Leave the
last link out and it is Adam's v; begin with `squared_deviation` and it is AdaBelief's;
average with `yogi_average` and it is Yogi's. `scale_by_partial_adaptive` divides by a
power of whatever such a chain returns.

Statistics are real, non-negative and at least float32, whatever the gradients' dtype;
where a gradient is None, the statistic is None and what was stored stays.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from padam_optax import _validation
from padam_optax._tree import (
    accumulator_dtype,
    as_hyperparam,
    check_inexact,
    tree_map_with_none,
    zeros_like,
)


def square() -> optax.GradientTransformation:
    """Replace each gradient by the square of its absolute value.

    A square that would overflow becomes the largest finite number: an average that
    infinity has entered never forgets it, so a single huge but finite gradient would
    stop its coordinate for ever. NaN stays NaN.

    Returns:
      A stateless transformation; its updates are ``|g|²``, real, at least float32.

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> statistic = padam_optax.square()
    >>> g = jnp.array([-3.0, 3.0, 1e30])
    >>> statistic.update(g, statistic.init(g))[0]
    Array([9.0000000e+00, 9.0000000e+00, 3.4028235e+38], dtype=float32)
    """

    def update(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        check_inexact(updates, "updates")
        return tree_map_with_none(
            lambda g: None if g is None else _abs_square(g), updates
        )

    return optax.stateless(update)


def squared_deviation() -> optax.GradientTransformationExtraArgs:
    """Replace each gradient by the square of its distance from the momentum.

    Its average is the second moment of AdaBelief (Zhuang et al., NeurIPS 2020): small
    where the gradient is what the momentum foretold, whatever its size.

    Returns:
      A stateless transformation whose ``update`` needs ``momentum``, a tree like the
      updates; `scale_by_partial_adaptive` passes its own. Its updates are ``|g-m|²``.

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> statistic = padam_optax.squared_deviation()
    >>> g = jnp.array([1.0, 3.0])
    >>> statistic.update(g, statistic.init(g), momentum=jnp.array([1.0, 1.0]))[0]
    Array([0., 4.], dtype=float32)
    """

    def init(params: optax.Params) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        *,
        momentum: optax.Updates | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        del params, extra_args
        if momentum is None:
            raise ValueError(
                "momentum must be passed to the update of squared_deviation, got None. "
                "Use it as second_moment of scale_by_partial_adaptive, which does."
            )
        check_inexact(updates, "updates")
        return tree_map_with_none(
            lambda g, m: None if g is None else _abs_square(g.astype(m.dtype) - m),
            updates,
            momentum,
        ), state

    return optax.GradientTransformationExtraArgs(init, update)


class MovingAverageState(NamedTuple):
    """The average so far."""

    # int32 scalar, the number of updates; Optax's name, which shadows tuple.count.
    count: jax.Array  # pyright: ignore[reportIncompatibleMethodOverride]
    nu: optax.Updates  # real, at least float32


def moving_average(
    b2: float | jax.Array = 0.999, *, debias: bool = False
) -> optax.GradientTransformation:
    """Replace each statistic by its exponential moving average.

    ν_t = b2·ν_{t-1} + (1-b2)·s_t from ν_0 = 0, divided by 1-b2^t if ``debias``. Unlike
    `optax.ema` it keeps at least float32.

    Args:
      b2: share of the old average that is kept, in [0, 1); may be traced.
      debias: whether to return (never to store) the average divided by 1-b2^t, rounded
        as in `optax.tree.bias_correction`.

    Returns:
      A transformation with state `MovingAverageState`; ``nu`` is not debiased.

    Raises:
      ValueError: ``b2`` is a number outside [0, 1).

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> statistic = padam_optax.moving_average(0.75)
    >>> state = statistic.init(jnp.zeros(2))
    >>> _, state = statistic.update(jnp.array([4.0, 0.0]), state)
    >>> statistic.update(jnp.array([0.0, 4.0]), state)[0]
    Array([0.75, 1.  ], dtype=float32)
    """
    b2 = _validation.decay_rate("b2", b2)

    def step(nu: jax.Array, s: jax.Array) -> jax.Array:
        # Between nu and s whatever the rounding, so it cannot overflow if they do not.
        return nu + (1 - as_hyperparam(b2, nu.dtype)) * (s - nu)

    return _average(step, b2 if debias else None)


def yogi_average(
    b2: float | jax.Array = 0.999, *, debias: bool = False
) -> optax.GradientTransformation:
    """Replace each statistic by Yogi's additive average.

    ν_t = ν_{t-1} - (1-b2)·sign(ν_{t-1} - s_t)·s_t from ν_0 = 0 (Zaheer et al., NeurIPS
    2018): after a spike it falls by at most (1-b2)·s_t a step, where the moving average
    falls by a share of itself. `optax.yogi` starts at 1e-6 instead of 0.

    Args:
      b2: one minus the share of s_t that a step adds or takes, in [0, 1); may be
        traced.
      debias: whether to return (never to store) the average divided by 1-b2^t.

    Returns:
      A transformation with state `MovingAverageState`.

    Raises:
      ValueError: ``b2`` is a number outside [0, 1).

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> statistic = padam_optax.yogi_average(0.75)
    >>> state = statistic.init(jnp.zeros(2))
    >>> _, state = statistic.update(jnp.array([4.0, 0.0]), state)
    >>> statistic.update(jnp.array([0.5, 4.0]), state)[0]
    Array([0.875, 1.   ], dtype=float32)
    """
    b2 = _validation.decay_rate("b2", b2)

    def step(nu: jax.Array, s: jax.Array) -> jax.Array:
        return nu - (1 - as_hyperparam(b2, nu.dtype)) * jnp.sign(nu - s) * s

    return _average(step, b2 if debias else None)


class RunningMaxState(NamedTuple):
    """The largest statistic so far."""

    nu_max: optax.Updates  # real, at least float32


def running_max() -> optax.GradientTransformation:
    """Replace each statistic by the largest value it has had, element by element.

    v̂_t = max(v̂_{t-1}, v_t) from v̂_0 = 0: the max-tracking of AMSGrad and Padam. It
    keeps the step α/v̂^p from growing, on which their convergence proofs rest.

    max(NaN, x) is NaN: one NaN gradient marks its element for good. Keep such gradients
    out with `optax.apply_if_finite`; to recover, restore an earlier state or replace
    the marked elements of ``nu_max``.

    Returns:
      A transformation with state `RunningMaxState`.

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> statistic = padam_optax.running_max()
    >>> state = statistic.init(jnp.zeros(2))
    >>> _, state = statistic.update(jnp.array([4.0, 1.0]), state)
    >>> statistic.update(jnp.array([2.0, 3.0]), state)[0]
    Array([4., 3.], dtype=float32)

    References:
      Reddi, Kale and Kumar, On the convergence of Adam and beyond, ICLR 2018.
    """

    def init(params: optax.Params) -> RunningMaxState:
        return RunningMaxState(nu_max=zeros_like(params))

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, RunningMaxState]:
        del params
        nu_max = tree_map_with_none(
            lambda s, v: v if s is None else jnp.maximum(v, s.astype(v.dtype)),
            updates,
            state.nu_max,
        )
        statistics = tree_map_with_none(
            lambda s, v: None if s is None else v, updates, nu_max
        )
        return statistics, RunningMaxState(nu_max=nu_max)

    return optax.GradientTransformation(init, update)


def one_minus_power(b: Any, count: Any, dtype: Any) -> jax.Array:
    """Return 1 - b^count without cancellation, the divisor of a bias correction.

    In float32, 1 - 0.999^t is off by 1e-5 in the first steps; expm1 keeps all digits.

    Args:
      b: decay rate in [0, 1), a Python float or traced.
      count: int32 scalar, at least 1.
      dtype: float32 or float64, that of the result.
    """
    if isinstance(b, float):  # its logarithm in double precision
        log_b = jnp.asarray(math.log(b) if b > 0 else -math.inf, dtype)
    else:
        b = as_hyperparam(b, dtype)
        log_b = jnp.where(b > 0, jnp.log(jnp.where(b > 0, b, 1)), -jnp.inf)
    return -jnp.expm1(count.astype(dtype) * log_b)


def saturate(x: jax.Array) -> jax.Array:
    """Return x, or the largest finite number if that is smaller; NaN stays NaN."""
    return jnp.minimum(x, jnp.finfo(x.dtype).max)


def _abs_square(x: jax.Array) -> jax.Array:
    dtype = accumulator_dtype(jax.dtypes.result_type(x))
    if jnp.iscomplexobj(x):
        return saturate(jnp.square(jnp.real(x)) + jnp.square(jnp.imag(x)))
    return saturate(jnp.square(jnp.asarray(x, dtype)))


def _average(step: Any, debiasing_rate: Any | None) -> optax.GradientTransformation:
    """Return the transformation that stores ν = step(ν, s)."""

    def init(params: optax.Params) -> MovingAverageState:
        return MovingAverageState(count=jnp.zeros([], jnp.int32), nu=zeros_like(params))

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, MovingAverageState]:
        del params
        count: Any = optax.safe_increment(state.count)

        def accumulate(s: jax.Array | None, v: jax.Array) -> jax.Array:
            return v if s is None else step(v, s.astype(v.dtype))

        def read(s: jax.Array | None, v: jax.Array) -> jax.Array | None:
            if s is None or debiasing_rate is None:
                return None if s is None else v
            # As optax.tree.bias_correction rounds it, so that AMSGrad is Optax's.
            dtype = jax.dtypes.canonicalize_dtype(float)
            c2 = 1 - as_hyperparam(debiasing_rate, dtype) ** count.astype(dtype)
            return saturate(v / c2.astype(v.dtype))

        nu = tree_map_with_none(accumulate, updates, state.nu)
        return tree_map_with_none(read, updates, nu), MovingAverageState(count, nu)

    return optax.GradientTransformation(init, update)
