"""AdaGrad-Norm: a single step size, adapted to the norms of the gradients."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.lax import stop_gradient

from padam_optax import _tree, _validation
from padam_optax._shard_map import reduce_over_axis, vary_like


class ScaleByAdagradNormState(NamedTuple):
    """The accumulated norm of the gradients.

    Attributes:
      root_sum_of_squares: b, the root of b0² plus the sum of all squared gradient
        norms: a scalar, or a tree of scalars if per leaf.
    """

    root_sum_of_squares: Any


def scale_by_adagrad_norm(
    b0: float | jax.Array = 0.1, *, per_leaf: bool = False, axis_name: Any = None
) -> optax.GradientTransformation:
    r"""Divide each gradient by the root of the sum of all squared gradient norms.

    .. math::
        b_k^2 = b_{k-1}^2 + \|g_k\|^2, \qquad u_k = g_k / b_k

    with the norm of the whole tree, so all parameters share one b: the direction is
    that of the gradient, and only the length of the step adapts. b grows *before* the
    step, so no update is longer than 1, however small b0 is.

    With learning rate 1 and an L-Lipschitz gradient, b grows to the order of L from any
    b0 > 0 and stays there; gradient descent with steps 1/b0 needs b0 > L/2. With noisy
    gradients b grows like the root of k, which decays the step.

    * ``b0`` is the initial value of b, not of b². `optax.adagrad` keeps a sum for each
      element and adds its initial value to the squares.
    * With b0 = 0 a scaled loss makes the same steps. 0/0 is defined as 0.
    * Huge and tiny gradients count in full: they are divided by their largest element
      before they are squared. Once b is capped at 2^126 (8.5e37), updates may exceed 1.
    * A gradient that contains NaN or infinity leaves b unchanged, for b would never
      recover; finite elements may then exceed 1. Use `optax.apply_if_finite`.

    Under `jax.jit` the norm of sharded parameters is the global one. Under `jax.pmap`
    or `jax.shard_map`, average the gradients of replicated parameters first; parameters
    sharded there need ``axis_name``, or each device has the b of its shards.

    Args:
      b0: b before the first step, in units of the gradient's norm; at least 0. A value
        that is too small costs little, one that is too large takes many small steps.
      per_leaf: Whether each leaf has its own norm and b. Groups of leaves that share
        one are made by `optax.masked` and `optax.multi_transform`.
      axis_name: The mesh axis of `jax.shard_map`, or a tuple of axes, over which
        gradients are sharded. Gradients that do not vary over it count once; with
        ``check_vma=False`` all must be sharded.

    Returns:
      A transformation with state `ScaleByAdagradNormState`; read b as
      ``optax.tree.get(state, "root_sum_of_squares")``, float32, or float64 if a
      parameter has that precision. Updates have the gradients' dtype.

    Raises:
      ValueError: If ``b0`` is negative or not finite.
      TypeError: If ``b0`` is not a number, or a parameter is integer or boolean.

    Examples:
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
        b = jnp.full([], b0, _tree.accumulator_dtype(jnp.float32, *dtypes))
        return vary_like(b, *params, without=axis_name)

    def init(params: optax.Params) -> ScaleByAdagradNormState:
        _tree.check_inexact(params, "params")
        return ScaleByAdagradNormState(
            jax.tree.map(start, params) if per_leaf else start(*jax.tree.leaves(params))
        )

    def update(
        updates: Any, state: Any, params: Any = None
    ) -> tuple[Any, ScaleByAdagradNormState]:
        del params
        _tree.check_inexact(updates, "updates")
        b = state.root_sum_of_squares
        if not per_leaf:
            b = _grow(b, jax.tree.leaves(updates), axis_name)
            scaled = _tree.tree_map_present(lambda g: _divide(g, b), updates)
        else:
            b = _tree.tree_map_with_none(
                lambda g, b: _grow(b, jax.tree.leaves(g), axis_name), updates, b
            )
            scaled = _tree.tree_map_present(_divide, updates, b)
        return scaled, ScaleByAdagradNormState(b)

    return optax.GradientTransformation(init, update)


def adagrad_norm(
    learning_rate: optax.ScalarOrSchedule,
    b0: float | jax.Array = 0.1,
    *,
    per_leaf: bool = False,
    axis_name: Any = None,
) -> optax.GradientTransformation:
    r"""Gradient descent with the learning rate divided by the accumulated norm.

    .. math::
        b_k^2 = b_{k-1}^2 + \|g_k\|^2, \qquad
        \theta_k = \theta_{k-1} - (\eta / b_k) \, g_k

    Equivalent to `scale_by_adagrad_norm`, which explains b and the other arguments,
    followed by `optax.scale_by_learning_rate`. No step is longer than the learning rate
    :math:`\eta`, a number of at least 0 or a schedule.

    Examples:
      On 50 x² + 5 y², where L is 100, constant steps 1/b0 diverge for b0 below 50. Here
      a b0 that is a million times smaller costs nothing, and b stops growing by itself:

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
        scale_by_adagrad_norm(b0, per_leaf=per_leaf, axis_name=axis_name),
        optax.scale_by_learning_rate(learning_rate),
    )


def _grow(b: jax.Array, gradients: list[Any], axis_name: Any) -> jax.Array:
    """Return √(b² + Σ|g|²), or b if a gradient is not finite."""
    parts = [
        jnp.abs(part).astype(b.dtype)
        for g in map(jnp.asarray, gradients)
        for part in ((g.real, g.imag) if jnp.iscomplexobj(g) else (g,))
        if g.size
    ]
    if not parts:
        return b

    def largest(part: jax.Array) -> jax.Array:
        return reduce_over_axis(jax.lax.pmax, jnp.max(stop_gradient(part)), axis_name)

    def sum_of_squares(part: jax.Array) -> jax.Array:
        return reduce_over_axis(jax.lax.psum, jnp.sum(jnp.square(part)), axis_name)

    peak = functools.reduce(jnp.maximum, map(largest, parts))
    # The largest squared element is close to 1: none that counts over- or underflows.
    unit = _tree.clip_to_normal(peak)
    norm = unit * jnp.sqrt(sum(sum_of_squares(part / unit) for part in parts))
    grown = jnp.minimum(jnp.hypot(b, norm), 1 / float(jnp.finfo(b.dtype).tiny))
    return jnp.where(jnp.isfinite(peak), grown, b)


def _divide(g: Any, b: jax.Array) -> jax.Array:
    """Return g/b in g's dtype; b is 0 only while every gradient was 0."""
    g = jnp.asarray(g)
    b = jnp.where(b > 0, b, 1).astype(_tree.accumulator_dtype(g.dtype, b.dtype))
    return _tree.by_parts(lambda x: x.astype(b.dtype) / b, g).astype(g.dtype)
