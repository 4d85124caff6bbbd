"""AdaGrad-Norm: one step size for all parameters, found from the gradients' norms."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from padam_optax import _validation
from padam_optax._tree import (
    accumulator_dtype,
    check_inexact,
    compute_dtype,
    tree_map_with_none,
)


class ScaleByAdagradNormState(NamedTuple):
    """The root of b0² plus the sum of all squared gradient norms so far."""

    root_sum_of_squares: Any  # b_k, a scalar, or a tree of scalars if per leaf


def scale_by_adagrad_norm(
    b0: float | jax.Array = 0.1, *, per_leaf: bool = False
) -> optax.GradientTransformation:
    r"""Divide each gradient by the root of the sum of all squared gradient norms.

    .. math::
        b_k^2 = b_{k-1}^2 + \|g_k\|^2, \qquad u_k = g_k / b_k

    with the norm ‖g‖ over the whole tree, so all parameters share one b: directions are
    those of the gradient, and only the length of the step adapts. b grows *before* the
    step, hence ‖u‖ ≤ 1 always, however small b0 is.

    For a loss with L-Lipschitz gradient and minimum 0, and a learning rate of 1, the
    iterates converge from any b0 > 0: b grows to the order of L and stays there, where
    gradient descent with the constant step 1/b0 needs b0 > L/2. With noisy gradients b
    grows like √k, a decaying step.

    What is easily got wrong:

    * b0 is not squared here: it stands where b stands. `optax.adagrad` has a sum for
      each element, and adds its initial value to the squares.
    * b0 = 0 is allowed, though the theory has log(L/b0): the first step is g/‖g‖, and
      multiplying the loss by a constant changes no step. 0/0 is 0.
    * Huge and tiny gradients count in full: they are divided by their largest element
      before they are squared. b itself stops at 2^126 (8.5e37; in float64 at 2^1022).
    * A gradient with NaN or infinity in it leaves b as it was, for b would never
      recover, but the update shows it: skip such steps with `optax.apply_if_finite`.
    * The norm is that of the gradient passed in. Under jit with sharded parameters that
      is the global one. Under pmap or shard_map, average the gradients over the devices
      first; each device then has the same b. If the *parameters* are split by hand in
      shard_map, each device would only see the norm of its part: use jit.

    Args:
      b0: b before the first step, in units of the gradient's norm; at least 0. Small
        costs little, large makes many small steps.
      per_leaf: whether each leaf has its own norm and b. `optax.masked` and
        `optax.multi_transform` make groups of leaves that share one.

    Returns:
      A transformation with state `ScaleByAdagradNormState`; others may read b_k as
      ``optax.tree.get(state, "root_sum_of_squares")``, float32, or float64 where a
      parameter has that precision. Updates have the gradients' dtype.

    Raises:
      ValueError: ``b0`` is negative or not finite.
      TypeError: ``b0`` is no number, or a parameter is integer or bool.

    Gradients (3, 4) and then (0, 12), of norms 5 and 12, make b 5 and then 13:

    >>> import jax.numpy as jnp
    >>> from padam_optax.contrib import scale_by_adagrad_norm
    >>> opt = scale_by_adagrad_norm(b0=0.0)
    >>> state = opt.init({"x": jnp.zeros([]), "y": jnp.zeros([])})
    >>> for x, y in [(3.0, 4.0), (0.0, 12.0)]:
    ...     u, state = opt.update({"x": jnp.array(x), "y": jnp.array(y)}, state)
    ...     print(f"{u['x']:.3f} {u['y']:.3f} b={state.root_sum_of_squares:.3f}")
    0.600 0.800 b=5.000
    0.000 0.923 b=13.000

    References:
      Ward, Wu and Bottou, AdaGrad stepsizes: sharp convergence over nonconvex
      landscapes, ICML 2019 (arXiv 1806.01811).
    """
    b0 = _validation.non_negative("b0", b0, "A small value is safe, e.g. 0.1.")

    def start(*params: Any) -> jax.Array:
        dtypes = [jax.dtypes.result_type(p) for p in params]
        return jnp.full([], b0, accumulator_dtype(jnp.float32, *dtypes))

    def init(params: optax.Params) -> ScaleByAdagradNormState:
        check_inexact(params, "params")
        return ScaleByAdagradNormState(
            jax.tree.map(start, params) if per_leaf else start(*jax.tree.leaves(params))
        )

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, ScaleByAdagradNormState]:
        del params
        check_inexact(updates, "updates")
        b = state.root_sum_of_squares
        if not per_leaf:
            b = _grow(b, jax.tree.leaves(updates))
            scaled = tree_map_with_none(lambda g: _divide(g, b), updates)
        else:
            b = tree_map_with_none(
                lambda g, b: _grow(b, jax.tree.leaves(g)), updates, b
            )
            scaled = tree_map_with_none(_divide, updates, b)
        return scaled, ScaleByAdagradNormState(b)

    return optax.GradientTransformation(init, update)


def adagrad_norm(
    learning_rate: optax.ScalarOrSchedule,
    b0: float | jax.Array = 0.1,
    *,
    per_leaf: bool = False,
) -> optax.GradientTransformation:
    r"""Step against the gradient, by the learning rate over the accumulated norm.

    .. math::
        b_k^2 = b_{k-1}^2 + \|g_k\|^2, \qquad
        \theta_k = \theta_{k-1} - (\eta / b_k) \, g_k

    `scale_by_adagrad_norm`, where everything about b is said, and then minus the
    learning rate. No step is longer than η: a learning rate far below the distance to
    the minimum makes many steps whatever b0 is.

    Args:
      learning_rate: η, in units of the parameters, at least 0; or a schedule, called
        with 0 at the first step.
      b0: b before the first step, at least 0.
      per_leaf: whether each leaf has its own norm and b.

    Returns:
      A transformation; ``optax.tree.get(state, "root_sum_of_squares")`` is b.

    Raises:
      ValueError: ``learning_rate`` is None or negative, or ``b0`` is.
      TypeError: one of them is no number.

    On 50 x² + 5 y², whose gradient has L = 100, constant steps 1/b0 diverge for b0
    below 50. Here a b0 that is a million times smaller costs nothing, and b stops of
    its own accord:

    >>> import jax.numpy as jnp
    >>> import optax
    >>> from padam_optax.contrib import adagrad_norm
    >>> for b0 in [1e-6, 1.0, 100.0]:
    ...     opt = adagrad_norm(1.0, b0)
    ...     x = jnp.ones(2)
    ...     state = opt.init(x)
    ...     steps = 0
    ...     while jnp.abs(x).max() > 1e-3:
    ...         u, state = opt.update(jnp.array([100.0, 10.0]) * x, state)
    ...         x = optax.apply_updates(x, u)
    ...         steps += 1
    ...     b = optax.tree.get(state, "root_sum_of_squares")
    ...     print(f"b0={b0:<5g} steps={steps} b={b:.1f}")
    b0=1e-06 steps=68 b=102.6
    b0=1     steps=68 b=102.6
    b0=100   steps=99 b=147.4
    """
    learning_rate = _validation.learning_rate(learning_rate)
    return optax.chain(
        scale_by_adagrad_norm(b0, per_leaf=per_leaf),
        optax.scale_by_learning_rate(learning_rate),
    )


def _grow(b: jax.Array, gradients: list[Any]) -> jax.Array:
    """Return √(b² + Σ|g|²), or b if a gradient is not finite."""
    parts = [
        jnp.abs(part).astype(b.dtype)
        for g in map(jnp.asarray, gradients)
        for part in ((g.real, g.imag) if jnp.iscomplexobj(g) else (g,))
        if g.size
    ]
    if not parts:
        return b
    peak = functools.reduce(jnp.maximum, [jnp.max(part) for part in parts])
    # What is squared is then near 1 at most, so that no square which counts overflows
    # or underflows. Between these limits a number and its reciprocal, by which XLA
    # multiplies instead of dividing, are both normal.
    smallest = jnp.finfo(b.dtype).tiny
    unit = jnp.clip(peak, smallest, 1 / smallest)
    norm = unit * jnp.sqrt(sum(jnp.sum(jnp.square(part / unit)) for part in parts))
    grown = jnp.minimum(jnp.hypot(b, norm), 1 / smallest)
    return jnp.where(jnp.isfinite(peak), grown, b)


def _divide(g: Any, b: jax.Array) -> jax.Array | None:
    """Return g/b in g's dtype; b is 0 only while every gradient was 0."""
    if g is None:
        return None
    g = jnp.asarray(g)
    dtype = compute_dtype(g.dtype, b.dtype)
    b = jnp.where(b > 0, b, 1).astype(accumulator_dtype(dtype))
    if jnp.iscomplexobj(g):
        quotient = jax.lax.complex(
            g.real.astype(b.dtype) / b, g.imag.astype(b.dtype) / b
        )
    else:
        quotient = g.astype(b.dtype) / b
    return quotient.astype(g.dtype)
