"""Algorithm 1's projection: after each step, the nearest point of a convex set.

The step is preconditioned by 1/d, so the projection must be taken in the norm weighted
by the same d.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.lax import stop_gradient

from padam_optax import _validation
from padam_optax._inverse_power import inverse_power, root
from padam_optax._tree import accumulator_dtype, as_hyperparam, is_none, mask_leaves
from padam_optax.projections._sets import Constraint
from padam_optax.state._lookup import find_moments, second_moment


def projected(
    optimizer: optax.GradientTransformation,
    constraint: Constraint,
    *,
    p: optax.ScalarOrSchedule,
    eps: float | jax.Array = 1e-8,
    eps_root: float | jax.Array = 0.0,
    whole_tree: bool = False,
    mask: Any | Callable[[optax.Params], Any] | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Replace each step by one that ends at the nearest point of a convex set.

    .. math::
        u \leftarrow \Pi(\theta + u) - \theta, \quad
        \Pi(y) = \arg\min_{x \in X} \sum_i d_i (x_i - y_i)^2, \quad
        d = (\sqrt{\hat v + \epsilon_{root}} + \epsilon)^{2p}

    with v̂ as the optimizer's update left it: ``nu_max`` in its state or, where there is
    none, ``nu``. **Give p, eps and eps_root as you gave them to the optimizer**: 1/2
    for `optax.amsgrad` and `optax.adam`, 0 for SGD, which divides by nothing and needs
    no v̂. The unweighted projection is no stand-in: on the unit simplex it is off by up
    to 1. A bias correction multiplies d by one number (but for ``eps``): no difference.

    Wrap the whole optimizer: nothing may change the step afterwards. An update the set
    does not touch is returned as it is. Others are rounded inwards, so that after
    `optax.apply_updates` in float32 or float64 `box` holds exactly (with its bounds
    rounded to that dtype); other sets hold to a few units in the last place.

    Leaves that are None, empty, masked out, or left out by an `optax.masked` inside
    keep their update and do not count. For several sets, nest calls with disjoint
    masks. With `optax.multi_transform`, wrap each group's optimizer with its own p.

    Args:
      optimizer: the transformation whose step is projected, learning rate included.
      constraint: the set, e.g. ``simplex()``, or any function as described above; it
        gets each leaf in its shape, in float32 at least.
      p: exponent of v̂ in [0, 1/2]: a number, traced or not, or a schedule called with
        the number of updates before this one, as the optimizer calls its own.
      eps: the optimizer's ``eps``. Where d is 0, a tiny number takes its place.
      eps_root: the optimizer's ``eps_root``.
      whole_tree: whether all leaves, raveled and concatenated in the order of
        ``jax.tree.leaves``, are one vector in the set, or each leaf is one.
      mask: which leaves are constrained: a tree of bools like the parameters, a prefix
        of one, or a function from the parameters to one. All if None.

    Returns:
      A transformation with the optimizer's own state, so that checkpoints stay valid
      when it is added or removed. ``update`` needs ``params``.

    Raises:
      TypeError: a constrained leaf is not real floating point (in ``update``).
      ValueError: p, eps or eps_root is out of range; in ``update``: params is missing,
        or the state holds no v̂, or several.

    The first coordinate has gradients a hundred times the second's, so bringing it back
    costs a hundred times as much (p = 1/2), or ten times (p = 1/4). Unweighted, both
    would end where they began: at p = 1/2 their steps are equal.

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

    References:
      Chen, Zhou, Tang, Yang, Cao and Gu, IJCAI 2020 (arXiv 1806.06763), Algorithm 1.
    """
    eps, eps_root = _validation.epsilons(eps, eps_root)
    number: Any = p
    if not callable(p):
        remedy = (
            "Give the exponent with which the optimizer divides: 1/2 for AMSGrad and "
            "Adam, 0 for SGD."
        )
        number = _validation.exponent_or_zero("p", p, remedy)
    weighted = callable(p) or isinstance(number, Tracer) or number > 0
    inner = optax.with_extra_args_support(optimizer)

    def weights(v: Any, q: Any, like: jax.Array) -> jax.Array:
        if not weighted:
            return jnp.ones_like(like)
        x = root(v.astype(like.dtype) + as_hyperparam(eps_root, like.dtype))
        x = jnp.maximum(x + as_hyperparam(eps, like.dtype), jnp.finfo(like.dtype).tiny)
        return jnp.broadcast_to(1 / inverse_power(x, q), like.shape)

    def update(
        updates: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        if params is None:
            raise ValueError(
                "params must be given to the update of projected, got None. A "
                "projection needs the point: opt.update(grads, state, params)."
            )
        q = 2 * (p(_count(state)) if callable(p) else number)
        updates, state = inner.update(updates, state, params, **extra_args)
        steps, tree = jax.tree.flatten(updates, is_leaf=is_none)
        thetas = tree.flatten_up_to(params)
        vs = tree.flatten_up_to(_second_moment(state)) if weighted else steps
        chosen = mask_leaves(mask, params, like=updates)
        index = [
            i
            for i, (u, v) in enumerate(zip(steps, vs, strict=True))
            if chosen[i] and u is not None and not isinstance(v, optax.MaskedNode)
            if jnp.size(u) > 0
        ]
        ys = [_end_of_step(thetas[i], steps[i]) for i in index]
        ds = [weights(vs[i], q, y) for i, y in zip(index, ys, strict=True)]
        if whole_tree and index:
            xs = _as_one_vector(constraint, ys, ds)
        else:
            xs = [constraint(y, d) for y, d in zip(ys, ds, strict=True)]
        for i, y, x in zip(index, ys, xs, strict=True):
            steps[i] = _step(jnp.asarray(thetas[i]), jnp.asarray(steps[i]), y, x)
        return tree.unflatten(steps), state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def _end_of_step(theta: Any, u: Any) -> jax.Array:
    """Return theta + u in float32 at least."""
    dtype = jax.dtypes.result_type(theta)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"Parameters must be real and floating to be projected, got {dtype}. Leave "
            "them out with mask."
        )
    return jnp.asarray(theta, accumulator_dtype(dtype)) + jnp.asarray(
        u, accumulator_dtype(dtype)
    )


def _as_one_vector(
    constraint: Constraint, ys: list[jax.Array], ds: list[jax.Array]
) -> list[jax.Array]:
    """Apply the constraint to the concatenation of all arrays."""
    wide = accumulator_dtype(*(y.dtype for y in ys))
    y, d = (jnp.concatenate([z.ravel().astype(wide) for z in zs]) for zs in (ys, ds))
    ends = np.cumsum([y.size for y in ys])
    pieces = jnp.split(constraint(y, d), ends[:-1])
    return [x.reshape(y.shape).astype(y.dtype) for x, y in zip(pieces, ys, strict=True)]


def _step(theta: jax.Array, u: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """Return x - theta, so rounded that theta plus it does not pass x on y's side."""
    smooth = (x - theta.astype(x.dtype)).astype(u.dtype)
    # Rounding has no derivative; below, all values are constants.
    theta, u, y, x = stop_gradient((theta, u, y, x))
    target = x.astype(theta.dtype)
    step = target.astype(u.dtype) - theta.astype(u.dtype)
    sum_dtype = jnp.promote_types(theta.dtype, u.dtype)
    landed = (theta.astype(sum_dtype) + step.astype(sum_dtype)).astype(theta.dtype)
    too_far = jnp.where(y > x, landed > target, (y < x) & (landed < target))
    bound = jnp.where(y > x, -jnp.inf, jnp.inf).astype(u.dtype)
    step = jnp.where(too_far, jnp.nextafter(step, bound), step)
    return jnp.where(x == y, u, step) + (smooth - stop_gradient(smooth))


def _second_moment(state: optax.OptState) -> Any:
    try:
        return second_moment(state)
    except ValueError as error:
        raise ValueError(
            "The weights of a projection come from one nu_max (or else one nu) in the "
            "optimizer's state. If it has none, pass p=0; if it has several "
            "(optax.multi_transform), wrap each group's optimizer in projected."
        ) from error


def _count(state: optax.OptState) -> jax.Array:
    """Return the number of updates, as kept beside the momentum."""
    counts = [m.count for m in find_moments(state) if m.count is not None]
    if len(counts) != 1:
        raise ValueError(
            "p may be a schedule only if the optimizer's state holds one count beside "
            f"its mu, got {len(counts)}. Pass a number."
        )
    return counts[0]
