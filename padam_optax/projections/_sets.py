"""Convex sets and the projections onto them in a weighted norm.

A constraint is a function ``constraint(y, d)`` of an array and of positive weights of
its shape that returns

    argmin over x in the set of Σ d_i (x_i - y_i)².

Only the ratios of d matter, up to 10^20. With equal weights these are the projections
of `optax.projections`, and named like them (`box` for ``projection_box``). They can be
traced, differentiated and batched: ``jax.vmap(simplex())`` has one simplex per row. A
NaN in y stays visible. Custom constraints are functions of the same form.
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
from numpy.typing import ArrayLike

from padam_optax import _validation
from padam_optax._shard_map import vary_like
from padam_optax._tree import clip_to_normal

Constraint = Callable[[jax.Array, jax.Array], jax.Array]


def box(lower: ArrayLike, upper: ArrayLike) -> Constraint:
    """Constrain to lower ≤ x ≤ upper, for any weights by clipping.

    Args:
      lower: A number, or an array that broadcasts to the leaf; -inf for no bound.
      upper: The same; inf for no bound.

    Raises:
      ValueError: If a bound is NaN or the box is empty.

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.projections import box
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
    """Constrain to x ≥ 0: `box` from 0 to infinity.

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.projections import non_negative
      >>> non_negative()(jnp.array([-1.0, 2.0]), jnp.ones(2))
      Array([0., 2.], dtype=float32)
    """
    return box(0.0, np.inf)


def halfspace(a: ArrayLike, b: float | jax.Array) -> Constraint:
    """Constrain to Σ a_i x_i ≤ b: x = y - D⁻¹a · max(0, a·y - b) / (aᵀD⁻¹a).

    Args:
      a: The outward normal, a finite array that broadcasts to the leaf, not all 0.
      b: A finite scalar.

    Raises:
      ValueError: If ``a`` is 0 or not finite, or ``b`` is not finite.

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.projections import halfspace
      >>> halfspace([1, 1], 1)(jnp.array([1.0, 1.0]), jnp.array([1.0, 3.0]))
      Array([0.25, 0.75], dtype=float32)
    """
    return _along_normal(a, b, lambda excess: jnp.maximum(excess, 0))


def hyperplane(a: ArrayLike, b: float | jax.Array) -> Constraint:
    """Constrain to Σ a_i x_i = b, with arguments as in `halfspace`.

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.projections import hyperplane
      >>> hyperplane([1, 1], 1)(jnp.array([0.0, 0.0]), jnp.array([1.0, 3.0]))
      Array([0.75, 0.25], dtype=float32)
    """
    return _along_normal(a, b, lambda excess: excess)


def affine(A: ArrayLike, b: ArrayLike) -> Constraint:
    """Constrain to A x = b: x = y - D⁻¹Aᵀ(A D⁻¹Aᵀ)⁻¹(A y - b).

    Rows of A may be dependent if b is consistent up to the rounding of the dtypes.

    Args:
      A: A concrete (m, n) matrix; n is the size of the leaf in row-major order.
      b: A concrete (m,) vector.

    Raises:
      ValueError: If A x = b has no solution, A is 0, or a shape does not match.

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.projections import affine
      >>> constraint = affine([[1, 1, 0], [2, 2, 0]], [1, 2])
      >>> x = constraint(jnp.zeros(3), jnp.array([1, 3, 1.0]))
      >>> print(*(f"{value:.4f}" for value in x))
      0.7500 0.2500 0.0000
    """
    rows, rhs = _independent_rows(A, b)

    def project(y: jax.Array, d: jax.Array) -> jax.Array:
        # Cholesky factors of A D⁻¹Aᵀ are NaN in float32 once the weights span eight
        # decades. A QR decomposition of D^(-1/2)Aᵀ, smallest weights first, is accurate
        # to rounding for any weights.
        if y.size != rows.shape[1]:
            raise ValueError(
                f"A must have a column for each of the {y.size} elements of the leaf, "
                f"got {rows.shape[1]}. Leaves of other sizes are left out by the mask "
                "of projected; whole_tree=True makes one vector of all leaves."
            )
        order = jnp.argsort(d.ravel())
        free = jnp.sqrt(1 / _relative(d)).ravel()[order]
        matrix = jnp.asarray(rows, y.dtype)[:, order]
        q, r = jnp.linalg.qr((matrix * free).T)
        x = y.ravel()[order]

        def step(x: jax.Array) -> jax.Array:
            excess = matrix @ x - jnp.asarray(rhs, y.dtype)
            z = jax.scipy.linalg.solve_triangular(r, excess, trans=1)
            return x - free * (q @ z)

        with jax.default_matmul_precision("highest"):
            x = _twice(step, vary_like(x, free))
        return jnp.zeros_like(x).at[order].set(x).reshape(y.shape)

    return on_auto_axes(project)


def simplex(total: float | jax.Array = 1.0) -> Constraint:
    """Constrain to x ≥ 0, Σ x_i = total: x = max(y - τ/d, 0).

    Found exactly, by about ten Newton steps and without a sort.

    Args:
      total: A finite scalar, at least 0.

    Raises:
      ValueError: If ``total`` is negative or not finite.

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.projections import simplex
      >>> x = simplex()(jnp.array([0.9, 0.9]), jnp.array([1.0, 3.0]))
      >>> print(f"{x[0]:.4f}, {x[1]:.4f}")
      0.3000, 0.7000

    References:
      Brucker, An O(n) algorithm for quadratic knapsack problems, 1984. Duchi et al.,
      ICML 2008. Condat, Fast projection onto the simplex and the ℓ1 ball, 2016.
    """
    total = _validation.non_negative(
        "total", total, "The simplex is empty for a negative total."
    )
    return on_auto_axes(lambda y, d: _onto_simplex(y, d, jnp.asarray(total, y.dtype)))


def l1_ball(radius: float | jax.Array) -> Constraint:
    """Constrain to ``Σ |x_i| ≤ radius``.

    A point outside is mapped by `simplex` of ``|y|``, with the signs of y.

    Args:
      radius: A finite scalar, at least 0.

    Raises:
      ValueError: If ``radius`` is negative or not finite.

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.projections import l1_ball
      >>> x = l1_ball(1)(jnp.array([0.9, -0.9]), jnp.array([1.0, 3.0]))
      >>> print(f"{x[0]:.4f}, {x[1]:.4f}")
      0.3000, -0.7000
    """
    radius = _validation.non_negative("radius", radius, "0 leaves only the origin.")

    def project(y: jax.Array, d: jax.Array) -> jax.Array:
        r = jnp.asarray(radius, y.dtype)
        x = jnp.sign(y) * _onto_simplex(jnp.abs(y), d, r)
        return jnp.where(jnp.sum(jnp.abs(y)) <= r, y, x)

    return on_auto_axes(project)


def l2_ball(radius: float | jax.Array) -> Constraint:
    """Constrain to Σ x_i² ≤ radius².

    Outside of the ball x = d·y/(d + λ), with λ such that x has norm ``radius``. This
    rescales y only if the weights are equal. The argument is that of `l1_ball`.

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.projections import l2_ball
      >>> x = l2_ball(1)(jnp.array([2.4, 2.0]), jnp.array([1.0, 2.0]))
      >>> print(f"{x[0]:.4f}, {x[1]:.4f}")
      0.6000, 0.8000
    """
    radius = _validation.non_negative("radius", radius, "0 leaves only the origin.")

    def project(y: jax.Array, d: jax.Array) -> jax.Array:
        r = jnp.asarray(radius, y.dtype)
        is_inside = optax.tree.norm(y) <= r
        d = _relative(d)
        # The branch not taken gets a point outside, to keep its derivative finite.
        outside = jnp.where(is_inside, 2 * r + 1, y)
        # The unit vector below depends on y/r alone; 1/y must not be subnormal.
        scale = jnp.where(jnp.max(jnp.abs(outside)) > 2.0**64, 2.0**-64, 1.0)
        outside, s = outside * scale, r * scale

        # Solving for μ = λs avoids overflow, also for s = 0.
        def unit(mu: jax.Array) -> jax.Array:
            return _divide(d * outside, d * s + mu)

        def newton(f: Any, mu: jax.Array) -> jax.Array:
            # Of 1/‖unit(μ)‖ = 1, which is concave in μ: iterates stay below the root.
            def step(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
                mu, _ = carry
                excess, slope = jax.jvp(f, (mu,), (jnp.ones_like(mu),))
                return mu - excess * (1 + excess) / slope, excess

            rounding = 4 * float(jnp.finfo(y.dtype).eps)
            start = (mu, jnp.full_like(mu, jnp.inf))
            return jax.lax.while_loop(lambda carry: carry[1] > rounding, step, start)[0]

        # A lower bound of the root, because no single coordinate exceeds the radius.
        below = jnp.maximum(jnp.max(d * (jnp.abs(outside) - s)), 0)
        mu = jax.lax.custom_root(
            lambda mu: optax.tree.norm(unit(mu)) - 1,
            below,
            newton,
            lambda g, t: t / g(jnp.ones_like(t)),
        )
        return jnp.where(is_inside, y, r * unit(mu))

    return project


@jax.custom_jvp
def _divide(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return a/b. The square of b, in JAX's own derivative, may over- or underflow."""
    return a / b


@_divide.defjvp
def _divide_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (a, b), (da, db) = primals, tangents
    return a / b, (da - a / b * db) / b


def on_auto_axes(project: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Let XLA choose the shardings inside of a projection of sharded arrays.

    On a mesh with explicit axes JAX would otherwise ask for the sharding of each
    result, of a sort or a reshape for example. Arrays may be trees.
    """

    def run(y: Any, d: Any) -> Any:
        shardings = jax.tree.map(lambda x: jax.typeof(x).sharding, y)
        specs = [sharding.spec for sharding in jax.tree.leaves(shardings)]
        is_sharded = any(axis is not None for spec in specs for axis in spec)
        if not is_sharded or not hasattr(jax.sharding, "auto_axes"):  # before JAX 0.7
            return project(y, d)
        inside: Any = jax.sharding.auto_axes(project, out_sharding=shardings)
        return inside(y, d)

    return run


@jax.custom_jvp
@jax.jit
def _onto_simplex(y: jax.Array, d: jax.Array, total: jax.Array) -> jax.Array:
    """Return max(y - τ/d, 0) with sum ``total``.

    Measured from one coordinate k, y - τ/d is z + c·e with e = d_k/d, z = y - y_k·e and
    c the new value of k. No digits are lost, however large y is, if k is positive in
    the result and y_k·e is small. Which k are positive is found first.
    """
    d = _relative(d)

    # The support: where x is positive, up to rounding.
    k = jnp.argmax(d * (y - total))  # no coordinate is below ``total`` while k is above
    e = d.ravel()[k] / d
    z = total + ((y - total) - (y.ravel()[k] - total) * e)
    x = _fill(jnp.minimum(z, total), e, total, 0 * total)
    # Negated so that NaN is in the support and stays visible.
    support = ~(x < -4 * float(jnp.finfo(y.dtype).eps) * total)

    # The solution, measured from the k in the support with the smallest y·d.
    k = jnp.argmin(jnp.where(support, jnp.abs(y * d), jnp.inf))
    e = jnp.where(support, d.ravel()[k] / d, 0)
    z = jnp.where(support, y - y.ravel()[k] * e, -1)
    x = _fill(z, e, total, total)

    # Again from there: rounding of a huge y may have broken the sum.
    x = _fill(jnp.clip(x, -total, total), e, total, 2 * total)
    return jnp.maximum(x, 0)


def _fill(z: jax.Array, e: jax.Array, total: jax.Array, c: jax.Array) -> jax.Array:
    """Return z + c·e whose positive part has sum ``total``, from a c too large."""

    def descend(carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        c, x, _ = carry
        # A Newton step. Fewer and fewer are positive as c decreases, so it ends.
        sum_z, sum_e = (jnp.sum(jnp.where(x >= 0, a, 0)) for a in (z, e))
        lower = jnp.minimum((total - sum_z) / sum_e, c)
        return lower, z + lower * e, lower < c

    c = vary_like(c, z, e, total)
    start = (c, z + c * e, jnp.full_like(c, True, bool))
    return jax.lax.while_loop(lambda carry: carry[2], descend, start)[1]


@_onto_simplex.defjvp
def _onto_simplex_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """Differentiate x = y - τ/d where x is positive, and Σ x = total."""
    y, d, _ = primals
    dy, dd, dtotal = tangents
    x = _onto_simplex(*primals)
    e = jnp.where(x > 0, jnp.min(d) / d, 0)
    dx = jnp.where(x > 0, dy + (y - x) / d * dd, 0)
    sum_e = jnp.sum(e)
    return x, dx + e * (dtotal - jnp.sum(dx)) / jnp.where(sum_e > 0, sum_e, 1)


def _along_normal(a: ArrayLike, b: Any, part: Callable[[Any], Any]) -> Constraint:
    a = _array("a", a, finite=True)
    b = _validation.number(
        "b", b, "a finite number", math.isfinite, "For several equations use affine."
    )
    if isinstance(a, np.ndarray) and not a.any():
        raise ValueError(
            f"a must be nonzero somewhere, got {a}. It is the normal of the set."
        )

    def project(y: jax.Array, d: jax.Array) -> jax.Array:
        normal = _like(a, y)
        scale = jnp.max(jnp.abs(normal))  # its size must not matter
        normal, offset = normal / scale, jnp.asarray(b, y.dtype) / scale
        direction = normal / _relative(d)
        direction /= jnp.sum(normal * direction)
        x = vary_like(y, direction, offset)
        return _twice(lambda x: x - direction * part(jnp.sum(normal * x) - offset), x)

    return project


def _twice(step: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Take a step, and a second one that removes the rounding error of a large x.

    In a loop, for the second has to see the very x that it corrects: XLA would compute
    it once for the residual and once for the result, rounded in different ways.
    """
    return jax.lax.fori_loop(0, 2, lambda _, x: step(x), x)


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
        raise ValueError(f"{name} must be {kind}, got {array}.")
    return array


def _like(value: Any, y: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(value, y.dtype), y.shape)


def _relative(d: jax.Array) -> jax.Array:
    """Return the weights over their largest: the projection is the same."""
    return jnp.maximum(d / stop_gradient(clip_to_normal(jnp.max(d))), 1e-20)
