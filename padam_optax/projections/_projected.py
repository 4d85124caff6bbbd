"""The projection of Algorithm 1: after each step, the nearest point of a convex set."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jax.lax import stop_gradient

from padam_optax import _tree, _validation
from padam_optax._inverse_power import inverse_power, root
from padam_optax.projections import _sets
from padam_optax.projections._sets import Constraint, on_auto_axes
from padam_optax.state._lookup import (
    find_moments,
    find_second_moment,
    mask_leaves,
    rewrap,
    the_only,
    unwrap,
)


def projected(
    optimizer: optax.GradientTransformation,
    constraint: Constraint,
    *,
    p: optax.ScalarOrSchedule,
    eps: float | jax.Array = 1e-8,
    eps_root: float | jax.Array = 0.0,
    whole_tree: bool = False,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Replace each step by one to the nearest point of a convex set (Algorithm 1).

    .. math::
        \begin{aligned}
        u &\leftarrow \Pi(\theta + u) - \theta \\
        \Pi(y) &= \arg\min_{x \in X} \sum_i d_i (x_i - y_i)^2 \\
        d &= (\sqrt{\hat v + \epsilon_{root}} + \epsilon)^{2p}
        \end{aligned}

    The step is preconditioned by 1/d, so the projection must be weighted by the same d:
    on the unit simplex the Euclidean one can be wrong by as much as 1. Here
    :math:`\hat v` is ``nu_max`` of the updated state or, if missing, ``nu``. **Pass the
    p, eps and eps_root of the optimizer**: p is 1/2 for `optax.amsgrad` and
    `optax.adam`, and 0 for SGD, which needs no second moment. Bias correction only
    rescales d (up to ``eps``) and can be ignored.

    Wrap the whole optimizer, so that nothing changes the step afterwards. An update
    that stays inside the set is returned unchanged. After `optax.apply_updates` in
    float32 or float64 a `box` holds exactly (with its bounds rounded to that dtype),
    other sets to a few units in the last place.

    Leaves that are None, empty, masked out or hidden by an inner `optax.masked` keep
    their update and do not count. For several sets, nest calls with disjoint masks.
    With `optax.multi_transform`, wrap each group's optimizer with its own p.

    Under `jax.jit` sharded leaves are projected as a whole; inside `jax.shard_map` each
    device projects its own shards, the same only for `box` and `non_negative`.

    Args:
      optimizer: The transformation whose step is projected, with learning rate.
      constraint: The set, e.g. ``simplex()``, or a function of an array y and its
        weights d, both in the shape of the leaf and at least float32, that returns x.
      p: Exponent of the second moment, in [0, 1/2]: a number or a schedule, called like
        the optimizer's own with the number of previous updates.
      eps: The optimizer's ``eps``. Where d is 0, it is replaced by a tiny number.
      eps_root: The optimizer's ``eps_root``.
      whole_tree: Whether all leaves, raveled and concatenated in the order of
        `jax.tree.leaves`, form one vector in the set; otherwise each leaf is one.
      mask: The leaves that are constrained, as in `padam`. All if None.

    Returns:
      A transformation with the optimizer's own state, so checkpoints stay valid when it
      is added or removed. ``update`` needs ``params``.

    Raises:
      TypeError: If the constraint is not a function, or a constrained leaf not real.
      ValueError: If a number is out of range, the constraint is from Optax, params is
        missing in ``update``, or the state holds no second moment or several.

    Examples:
      The first gradient is a hundred times the second, so moving the first coordinate
      back costs a hundred times as much at p = 1/2 and ten times as much at p = 1/4.

      >>> import jax.numpy as jnp
      >>> import optax
      >>> import padam_optax
      >>> from padam_optax.projections import projected, simplex
      >>> params, grads = jnp.array([0.5, 0.5]), jnp.array([-1.0, -0.01])
      >>> for p in [0.5, 0.25]:
      ...     opt = padam_optax.padam(0.01, p=p)
      ...     opt = projected(opt, simplex(), p=p)
      ...     u, _ = opt.update(grads, opt.init(params), params)
      ...     x = optax.apply_updates(params, u)
      ...     print(f"{x[0]:.5f} {x[1]:.5f}")
      0.53100 0.46900
      0.50506 0.49494
    """
    eps, eps_root = _validation.epsilons(eps, eps_root)
    if not callable(p):
        remedy = "Pass the optimizer's: 1/2 for AMSGrad and Adam, 0 for SGD."
        p = _validation.exponent_or_zero("p", p, remedy)
    is_weighted = callable(p) or isinstance(p, Tracer) or p > 0
    _check_constraint(constraint)
    inner = _validation.transformation("optimizer", optimizer)

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        if params is None:
            raise ValueError(
                "params must be passed to the update of projected, got None. A "
                "projection needs the point: opt.update(grads, state, params)."
            )
        power: Any = 2 * (p(_count(state)) if callable(p) else p)
        updates, state = inner.update(updates, state, params, **extra_args)
        steps, structure = jax.tree.flatten(unwrap(updates), is_leaf=_tree.is_none)
        points = structure.flatten_up_to(unwrap(params))
        vs: list[Any] = [None] * len(steps)
        if is_weighted:
            vs = structure.flatten_up_to(_second_moment(state))
        index = [
            i
            for i, is_chosen in enumerate(mask_leaves(mask, params, like=updates))
            if is_chosen and steps[i] is not None and jnp.size(steps[i]) > 0
            if not isinstance(vs[i], optax.MaskedNode)
        ]
        chosen = {i: points[i] for i in index}
        tree = structure.unflatten(map(chosen.get, range(len(points))))
        _tree.check_inexact(tree, "params", "Exclude it with mask.", real=True)
        ys = [_end_of_step(points[i], steps[i]) for i in index]
        ds = [
            _weights(vs[i], power, eps, eps_root, y)
            for i, y in zip(index, ys, strict=True)
        ]
        xs = _project(constraint, whole_tree, ys, ds)
        for i, y, x in zip(index, ys, xs, strict=True):
            steps[i] = _step(jnp.asarray(points[i]), jnp.asarray(steps[i]), y, x)
        return rewrap(structure.unflatten(steps), like=updates), state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def _check_constraint(constraint: Any) -> None:
    """Raise an error for what is not a function of an array and its weights."""
    is_uncalled = any(constraint is x for x in vars(_sets).values())  # as simplex
    if is_uncalled or not callable(constraint):
        raise TypeError(
            "constraint must be a function of an array and its weights, got "
            f"{getattr(constraint, '__name__', type(constraint).__name__)}. The order "
            "is projected(optimizer, constraint); a set is made by a call: simplex()."
        )
    if str(getattr(constraint, "__module__", "")).startswith("optax."):
        raise ValueError(
            "constraint must take weights as its second argument, got optax's "
            f"{constraint.__name__}, which takes something else there. Use its "
            "counterpart here, as simplex() for projection_simplex."
        )


def _end_of_step(theta: Any, u: Any) -> jax.Array:
    """Return theta + u, at least in float32."""
    wide = _tree.accumulator_dtype(jax.dtypes.result_type(theta))
    return jnp.asarray(theta, wide) + jnp.asarray(u, wide)


def _weights(v: Any, power: Any, eps: Any, eps_root: Any, y: jax.Array) -> jax.Array:
    """Return d in the shape and dtype of y; 1 without v."""
    if v is None:
        return jnp.ones_like(y)
    x = root(v.astype(y.dtype) + _tree.as_hyperparam(eps_root, y.dtype))
    tiny = float(jnp.finfo(y.dtype).tiny)
    x = jnp.maximum(x + _tree.as_hyperparam(eps, y.dtype), tiny)
    return jnp.broadcast_to(1 / inverse_power(x, power, minimum=tiny), y.shape)


def _project(
    constraint: Constraint, whole_tree: bool, ys: list[jax.Array], ds: list[jax.Array]
) -> list[jax.Array]:
    """Return the projections of all arrays, or the parts of that of all together."""

    def project_together(ys: list[jax.Array], ds: list[jax.Array]) -> list[jax.Array]:
        wide = _tree.accumulator_dtype(*(y.dtype for y in ys))
        (y, unravel), (d, _) = (
            ravel_pytree([z.astype(wide) for z in zs]) for zs in (ys, ds)
        )
        return _tree.cast_like(unravel(constraint(y, d)), ys)

    if whole_tree and ys:
        return on_auto_axes(project_together)(ys, ds)
    return list(map(on_auto_axes(constraint), ys, ds))


def _step(theta: jax.Array, u: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Return x - theta, rounded so that theta plus it does not pass x on y's side."""
    smooth = (x - theta.astype(x.dtype)).astype(u.dtype)
    # Rounding has no derivative; below, all values are constants.
    theta, u, y, x = stop_gradient((theta, u, y, x))
    target = x.astype(theta.dtype)
    step = target.astype(u.dtype) - theta.astype(u.dtype)
    sum_dtype = jnp.promote_types(theta.dtype, u.dtype)
    end = (theta.astype(sum_dtype) + step.astype(sum_dtype)).astype(theta.dtype)
    is_too_far = jnp.where(y > x, end > target, (y < x) & (end < target))
    inwards = jnp.where(y > x, -jnp.inf, jnp.inf).astype(u.dtype)
    step = jnp.where(is_too_far, jnp.nextafter(step, inwards), step)
    return jnp.where(x == y, u, step) + (smooth - stop_gradient(smooth))


def _second_moment(state: optax.OptState) -> Any:
    return find_second_moment(
        state,
        "The weights of a projection need it; for SGD pass p=0.",
        "Wrap the optimizer of each group of optax.multi_transform in projected.",
    )


def _count(state: optax.OptState) -> jax.Array:
    """Return the number of updates, stored beside the first moment."""
    counts = [m.count for m in find_moments(state) if m.count is not None]
    return the_only(counts, "count beside mu, for a schedule of p", "Pass a number.")
