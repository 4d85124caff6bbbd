"""The projection of Algorithm 1: after a step, the nearest point of a convex set.

A step that divides by d moves far where d is small, and what is near is to be measured
with the same d. A constraint is a function ``constraint(y, d)`` of an array and of
positive weights of its shape that returns

    argmin over x in the set of Σ d_i (x_i - y_i)².

Only the ratios of d count, up to 10^20. With equal weights the constraints here are the
projections of `optax.projections`, and named like them (`box` for ``projection_box``).
They can be traced, differentiated in y and d wherever the projection can, and batched:
``jax.vmap(simplex())`` is a constraint too, each row in a simplex of its own. A NaN
stays visible. Write your own the same way.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.lax import stop_gradient
from jax.typing import ArrayLike

from padam_optax import _checks
from padam_optax._fields import fields, second_moment
from padam_optax._inverse_power import inverse_power, root
from padam_optax._leaves import real_dtype, scalar

Constraint = Callable[[jax.Array, jax.Array], jax.Array]


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
    >>> params, grads = jnp.array([0.5, 0.5]), jnp.array([-1.0, -0.01])
    >>> for p in [0.5, 0.25]:
    ...     opt = padam_optax.padam(0.01, p=p)
    ...     opt = padam_optax.projected(opt, padam_optax.simplex(), p=p)
    ...     u, _ = opt.update(grads, opt.init(params), params)
    ...     x = optax.apply_updates(params, u)
    ...     print(f"{x[0]:.5f} {x[1]:.5f}")
    0.53100 0.46900
    0.50506 0.49494

    References:
      Chen, Zhou, Tang, Yang, Cao and Gu, IJCAI 2020 (arXiv 1806.06763), Algorithm 1.
    """
    eps = _checks.non_negative("eps", eps, "The usual value is 1e-8.")
    eps_root = _checks.non_negative("eps_root", eps_root, "The usual value is 0.")
    number: Any = p
    if not callable(p):
        remedy = (
            "Give the exponent with which the optimizer divides: 1/2 for AMSGrad and "
            "Adam, 0 for SGD."
        )
        number = _checks.number("p", p, "in [0, 1/2]", lambda x: 0 <= x <= 0.5, remedy)
    weighted = callable(p) or isinstance(number, Tracer) or number > 0
    inner = optax.with_extra_args_support(optimizer)

    def weights(v: Any, q: Any, like: jax.Array) -> jax.Array:
        if not weighted:
            return jnp.ones_like(like)
        x = root(v.astype(like.dtype) + scalar(eps_root, like.dtype))
        x = jnp.maximum(x + scalar(eps, like.dtype), jnp.finfo(like.dtype).tiny)
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
        steps, tree = jax.tree.flatten(updates, is_leaf=_is_none)
        thetas = tree.flatten_up_to(params)
        vs = tree.flatten_up_to(_second_moment(state)) if weighted else steps
        chosen = mask(params) if callable(mask) else True if mask is None else mask
        chosen = jax.tree.leaves(
            jax.tree.broadcast(chosen, tree.unflatten(range(len(steps))))
        )
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


def box(lower: ArrayLike, upper: ArrayLike) -> Constraint:
    """Constrain to lower ≤ x ≤ upper: clip, whatever the weights.

    Args:
      lower: a number, or an array that broadcasts to the leaf; -inf for no bound.
      upper: likewise; inf for no bound.

    Raises:
      ValueError: a bound is NaN, or the box is empty.

    >>> box(-1, [0.5, 2])(jnp.array([1.0, 1.0]), jnp.array([1.0, 3.0]))
    Array([0.5, 1. ], dtype=float32)
    """
    low, high = _array("lower", lower), _array("upper", upper)
    is_known = isinstance(low, np.ndarray) and isinstance(high, np.ndarray)
    if is_known and np.any((low > high) | (low == np.inf) | (high == -np.inf)):
        raise ValueError(
            f"lower must be at most upper everywhere, got {low} and {high}: the box is "
            "empty. Swap them, or use -inf and inf for no bound."
        )

    def project(y: jax.Array, d: jax.Array) -> jax.Array:
        del d
        return jnp.clip(y, _like(low, y), _like(high, y))

    return project


def non_negative() -> Constraint:
    """Constrain to x ≥ 0, whatever the weights; `box` from 0 to infinity.

    >>> non_negative()(jnp.array([-1.0, 2.0]), jnp.ones(2))
    Array([0., 2.], dtype=float32)
    """
    return box(0.0, np.inf)


def halfspace(a: ArrayLike, b: float | jax.Array) -> Constraint:
    """Constrain to Σ a_i x_i ≤ b: x = y - D⁻¹a · max(0, a·y - b) / (aᵀD⁻¹a).

    Args:
      a: the outward normal, an array that broadcasts to the leaf, not 0 everywhere.
      b: finite scalar.

    Raises:
      ValueError: ``a`` is 0 or not finite, or ``b`` not finite.

    >>> halfspace([1, 1], 1)(jnp.array([1.0, 1.0]), jnp.array([1.0, 3.0]))
    Array([0.25, 0.75], dtype=float32)
    """
    return _along_normal(a, b, lambda excess: jnp.maximum(excess, 0))


def hyperplane(a: ArrayLike, b: float | jax.Array) -> Constraint:
    """Constrain to Σ a_i x_i = b: as `halfspace`, from both sides.

    >>> hyperplane([1, 1], 1)(jnp.array([0.0, 0.0]), jnp.array([1.0, 3.0]))
    Array([0.75, 0.25], dtype=float32)
    """
    return _along_normal(a, b, lambda excess: excess)


def affine(A: ArrayLike, b: ArrayLike) -> Constraint:
    """Constrain to A x = b: x = y - D⁻¹Aᵀ(A D⁻¹Aᵀ)⁻¹(A y - b).

    Rows of A may depend on each other if b agrees: they are reduced to independent ones
    here, in double precision, up to the rounding of the dtypes given.

    Args:
      A: (m, n) matrix, concrete; n is the size of the leaf, taken in row-major order.
      b: (m,) vector, concrete.

    Raises:
      ValueError: A x = b has no solution, A is 0, or the shapes do not fit.

    >>> constraint = affine([[1, 1, 0], [2, 2, 0]], [1, 2])
    >>> print(*(f"{x:.4f}" for x in constraint(jnp.zeros(3), jnp.array([1, 3, 1.0]))))
    0.7500 0.2500 0.0000
    """
    rows, rhs = _independent_rows(A, b)

    def project(y: jax.Array, d: jax.Array) -> jax.Array:
        # Cholesky factors of A D⁻¹Aᵀ are NaN in float32 once the weights span eight
        # decades. A QR decomposition of D^(-1/2)Aᵀ, cheapest rows first, is accurate to
        # rounding for any weights; the second round removes what the first has left.
        order = jnp.argsort(d.ravel())
        free = jnp.sqrt(1 / _relative(d)).ravel()[order]
        matrix = jnp.asarray(rows, y.dtype)[:, order]
        q, r = jnp.linalg.qr((matrix * free).T)
        x = y.ravel()[order]
        with jax.default_matmul_precision("highest"):
            for _ in range(2):
                excess = matrix @ x - jnp.asarray(rhs, y.dtype)
                z = jax.scipy.linalg.solve_triangular(r, excess, trans=1)
                x = x - free * (q @ z)
        return jnp.zeros_like(x).at[order].set(x).reshape(y.shape)

    return project


def simplex(total: float | jax.Array = 1.0) -> Constraint:
    """Constrain to x ≥ 0, Σ x_i = total: x = max(y - τ/d, 0).

    Newton's method finds τ: Σ x is convex and piecewise linear in it. From below that
    ends, after about ten rounds, at the exact solution, without a sort.

    Args:
      total: finite scalar, at least 0.

    Raises:
      ValueError: ``total`` is negative or not finite.

    >>> simplex()(jnp.array([0.9, 0.9]), jnp.array([1.0, 3.0]))
    Array([0.3, 0.7], dtype=float32)

    References:
      Brucker, An O(n) algorithm for quadratic knapsack problems, 1984. Duchi,
      Shalev-Shwartz, Singer and Chandra, ICML 2008. Condat, Fast projection onto the
      simplex and the ℓ1 ball, 2016.
    """
    total = _checks.non_negative("total", total, "A sum of numbers >= 0 is no less.")
    return lambda y, d: _onto_simplex(y, d, jnp.asarray(total, y.dtype))


def l1_ball(radius: float | jax.Array) -> Constraint:
    """Constrain to Σ |x_i| ≤ radius: outside, `simplex` of |y| with the signs of y.

    Args:
      radius: finite scalar, at least 0.

    Raises:
      ValueError: ``radius`` is negative or not finite.

    >>> l1_ball(1)(jnp.array([0.9, -0.9]), jnp.array([1.0, 3.0]))
    Array([ 0.3, -0.7], dtype=float32)
    """
    radius = _checks.non_negative("radius", radius, "0 leaves only the origin.")

    def project(y: jax.Array, d: jax.Array) -> jax.Array:
        r = jnp.asarray(radius, y.dtype)
        x = jnp.sign(y) * _onto_simplex(jnp.abs(y), d, r)
        return jnp.where(jnp.sum(jnp.abs(y)) <= r, y, x)

    return project


def l2_ball(radius: float | jax.Array) -> Constraint:
    """Constrain to Σ x_i² ≤ radius²: outside, x = d·y/(d + λ) with λ so that ‖x‖ = r.

    Unless the weights are equal this is no rescaling of y: cheap coordinates give way.

    Args:
      radius: finite scalar, at least 0.

    Raises:
      ValueError: ``radius`` is negative or not finite.

    >>> l2_ball(1)(jnp.array([2.4, 2.0]), jnp.array([1.0, 2.0]))
    Array([0.6, 0.8], dtype=float32)
    """
    radius = _checks.non_negative("radius", radius, "0 leaves only the origin.")

    def project(y: jax.Array, d: jax.Array) -> jax.Array:
        r = jnp.asarray(radius, y.dtype)
        is_inside = _norm(y) <= r
        d = _relative(d)
        # The branch not taken gets a point outside, to keep its derivative finite.
        outside = jnp.where(is_inside, 2 * r + 1, y)

        # In μ = λr nothing overflows, and r = 0 is no exception.
        def unit(mu: jax.Array) -> jax.Array:
            return d * outside / (d * r + mu)

        def newton(f: Any, mu: jax.Array) -> jax.Array:
            # On 1/‖unit(μ)‖ = 1, which is concave in μ: from below it stays below.
            def step(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
                mu, _ = carry
                excess, slope = jax.jvp(f, (mu,), (jnp.ones_like(mu),))
                return mu - excess * (1 + excess) / slope, excess

            rounding = 4 * jnp.finfo(y.dtype).eps
            start = (mu, jnp.full_like(mu, jnp.inf))
            return jax.lax.while_loop(lambda carry: carry[1] > rounding, step, start)[0]

        # No coordinate alone may exceed the radius: at this μ the norm is at most √n.
        below = jnp.maximum(jnp.max(d * (jnp.abs(outside) - r)), 0)
        mu = jax.lax.custom_root(
            lambda mu: _norm(unit(mu)) - 1,
            below,
            newton,
            lambda g, t: t / g(jnp.ones_like(t)),
        )
        return jnp.where(is_inside, y, r * unit(mu))

    return project


@jax.custom_jvp
def _onto_simplex(y: jax.Array, d: jax.Array, total: jax.Array) -> jax.Array:
    """Return max(y - τ/d, 0) with sum ``total``.

    Measured from one coordinate k, y - τ/d is z + c·e with e = d_k/d, z = y - y_k·e and
    c the new value of k: no digits are lost, however large y is, if k is positive in
    the end and |y_k·e| is small. A first round finds out which k are positive.
    """
    d = _relative(d)
    k = jnp.argmax(d * (y - total))  # no coordinate is below ``total`` while k is above
    e = d.ravel()[k] / d
    z = total + ((y - total) - (y.ravel()[k] - total) * e)
    x = _fill(jnp.minimum(z, total), e, total, 0 * total)
    near = ~(x < -4 * jnp.finfo(y.dtype).eps * total)  # NaN is near, to be seen

    k = jnp.argmin(jnp.where(near, jnp.abs(y * d), jnp.inf))
    e = jnp.where(near, d.ravel()[k] / d, 0)
    z = jnp.where(near, y - y.ravel()[k] * e, -1)
    x = _fill(z, e, total, total)

    # From y so huge that its rounding has taken x out of the set, one more round ends
    # inside; for any other it changes nothing.
    x = _fill(jnp.clip(x, -total, total), e, total, 2 * total)
    return jnp.maximum(x, 0)


def _fill(z: jax.Array, e: jax.Array, total: jax.Array, c: jax.Array) -> jax.Array:
    """Return z + c·e whose positive part has sum ``total``, from a c too large."""

    def descend(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        c, x, _ = carry
        # Newton's step. Fewer and fewer are positive as c falls, so it ends.
        sum_z, sum_e = (jnp.sum(jnp.where(x >= 0, a, 0)) for a in (z, e))
        lower = jnp.minimum((total - sum_z) / sum_e, c)
        return lower, z + lower * e, lower < c

    start = (c, z + c * e, jnp.full_like(c, True, bool))
    return jax.lax.while_loop(lambda carry: carry[2], descend, start)[1]


@_onto_simplex.defjvp
def _onto_simplex_jvp(
    primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    """Differentiate x = y - τ/d where x is positive, and Σ x = total."""
    y, d, _ = primals
    dy, dd, dtotal = tangents
    x = _onto_simplex(*primals)
    e = jnp.where(x > 0, jnp.min(d) / d, 0)
    dx = jnp.where(x > 0, dy + (y - x) / d * dd, 0)
    sum_e = jnp.sum(e)
    return x, dx + e * (dtotal - jnp.sum(dx)) / jnp.where(sum_e > 0, sum_e, 1)


def _along_normal(
    a: ArrayLike, b: Any, part: Callable[[jax.Array], jax.Array]
) -> Constraint:
    a = _array("a", a, finite=True)
    b = _checks.number(
        "b", b, "a finite number", math.isfinite, "For several equations use affine."
    )
    if isinstance(a, np.ndarray) and not a.any():
        raise ValueError(
            f"a must be nonzero somewhere, got {a}. It is the normal of the set."
        )

    def project(y: jax.Array, d: jax.Array) -> jax.Array:
        normal = _like(a, y)
        scale = jnp.max(jnp.abs(normal))  # neither tiny nor huge normals lose digits
        normal, offset = normal / scale, jnp.asarray(b, y.dtype) / scale
        direction = normal / _relative(d)
        direction /= jnp.sum(normal * direction)
        x = y
        for _ in range(2):  # the second round removes what rounding a large y has left
            x = x - direction * part(jnp.sum(normal * x) - offset)
        return x

    return project


def _independent_rows(A: Any, b: Any) -> tuple[Any, Any]:
    """Return orthonormal rows and a right-hand side with the solutions of A x = b."""
    given = np.asarray(A), np.asarray(b)
    types = [x.dtype for x in given if jnp.issubdtype(x.dtype, jnp.floating)]
    eps = max([2.0**-52] + [float(jnp.finfo(dtype).eps) for dtype in types])
    rows, rhs = _array("A", given[0], finite=True), _array("b", given[1], finite=True)
    if rows.ndim != 2 or rhs.shape != rows.shape[:1]:
        raise ValueError(
            f"A and b must have shapes (m, n) and (m,), got {rows.shape} and "
            f"{rhs.shape}. An equation is a row: A[None]; or use hyperplane."
        )
    if not rows.any():
        raise ValueError(f"A must be nonzero somewhere, got {A}. Its rows are normals.")
    norms = np.linalg.norm(rows, axis=1)
    norms[norms == 0] = 1
    left, s, right = np.linalg.svd(rows / norms[:, None], full_matrices=False)
    tolerance = 10 * max(rows.shape) * eps
    rank = int(np.sum(s > tolerance * s[0]))
    left, rhs = left[:, :rank], rhs / norms
    residual = np.abs(rhs - left @ (left.T @ rhs))
    if residual.max() > tolerance * max(1, np.abs(rhs).max()):
        raise ValueError(
            f"A x = b must have a solution, got b = {b}: equation {residual.argmax()} "
            "contradicts the others. Correct it or leave it out."
        )
    return right[:rank], (left.T @ rhs) / s[:rank]


def _array(name: str, value: Any, finite: bool = False) -> Any:
    """Return a concrete array in double precision, a traced one as it is."""
    if isinstance(value, Tracer):
        return value
    array = np.asarray(value, np.float64)
    if np.isnan(array).any() or (finite and np.isinf(array).any()):
        kind = "finite" if finite else "free of NaN"
        raise ValueError(f"{name} must be {kind}, got {array}. Check where it is made.")
    return array


def _like(value: Any, y: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(value, y.dtype), y.shape)


def _relative(d: jax.Array) -> jax.Array:
    """Return the weights over their largest: the projection is the same."""
    return jnp.maximum(d / stop_gradient(jnp.max(d)), 1e-20)


def _norm(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(x)))


def _is_none(leaf: Any) -> bool:
    return leaf is None


def _end_of_step(theta: Any, u: Any) -> jax.Array:
    """Return theta + u in float32 at least."""
    dtype = jax.dtypes.result_type(theta)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"Parameters must be real and floating to be projected, got {dtype}. Leave "
            "them out with mask."
        )
    return jnp.asarray(theta, real_dtype(dtype)) + jnp.asarray(u, real_dtype(dtype))


def _as_one_vector(
    constraint: Constraint, ys: list[jax.Array], ds: list[jax.Array]
) -> list[jax.Array]:
    """Apply the constraint to the concatenation of all arrays."""
    wide = real_dtype(*(y.dtype for y in ys))
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
    owners = [path[:-1] for path in fields(state, "mu")]
    counts = [n for path, n in fields(state, "count").items() if path[:-1] in owners]
    if len(counts) != 1:
        raise ValueError(
            "p may be a schedule only if the optimizer's state holds one count beside "
            f"its mu, got {len(counts)}. Pass a number."
        )
    return counts[0]
