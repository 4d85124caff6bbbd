"""Weighted projections, and the wrapper that applies one after a step."""

import itertools
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

import padam_optax
from padam_optax import padam
from padam_optax.projections import (
    affine,
    box,
    halfspace,
    hyperplane,
    l1_ball,
    l2_ball,
    non_negative,
    projected,
    simplex,
)
from tests.marks import fast

N = 5
NORMAL = np.array([1.0, -2.0, 0.5, 3.0, -1.0])
MATRIX = np.array([[1.0, 2.0, 0.0, -1.0, 0.5], [0.0, 1.0, -1.0, 1.0, 2.0]])
RIGHT = np.array([0.3, -0.7])
LOWER, UPPER = np.full(N, -0.5), np.linspace(0.1, 1.0, N)
SETS = {
    "box": box(LOWER, UPPER),
    "non_negative": non_negative(),
    "halfspace": halfspace(NORMAL, -0.4),
    "hyperplane": hyperplane(NORMAL, 0.6),
    "affine": affine(MATRIX, RIGHT),
    "simplex": simplex(1.5),
    "l1_ball": l1_ball(1.5),
    "l2_ball": l2_ball(1.5),
}
PROJECT = {name: jax.jit(constraint) for name, constraint in SETS.items()}
WEIGHTED = [name for name in SETS if name not in ("box", "non_negative")]

# The same sets as inequalities G x ≤ h and equations E x = f, written out once more.
IDENTITY = np.eye(N)
SIGNS = np.array(list(itertools.product([-1.0, 1.0], repeat=N)))
NONE = np.zeros((0, N)), np.zeros(0)
POLYHEDRA = {
    "box": (np.vstack([IDENTITY, -IDENTITY]), np.concatenate([UPPER, -LOWER]), *NONE),
    "non_negative": (-IDENTITY, np.zeros(N), *NONE),
    "halfspace": (NORMAL[None], np.array([-0.4]), *NONE),
    "hyperplane": (*NONE, NORMAL[None], np.array([0.6])),
    "affine": (*NONE, MATRIX, RIGHT),
    "simplex": (-IDENTITY, np.zeros(N), np.ones((1, N)), np.array([1.5])),
    "l1_ball": (SIGNS, np.full(len(SIGNS), 1.5), *NONE),
}

# Points of each set, not made by projecting.
FEASIBLE = {
    "box": lambda rng: rng.uniform(LOWER, UPPER),
    "non_negative": lambda rng: rng.exponential(size=N),
    "halfspace": lambda rng: _on_plane(rng, -0.4 - rng.exponential()),
    "hyperplane": lambda rng: _on_plane(rng, 0.6),
    "affine": lambda rng: (
        np.linalg.lstsq(MATRIX, RIGHT, rcond=None)[0]
        + scipy.linalg.null_space(MATRIX) @ rng.normal(size=N - 2)
    ),
    "simplex": lambda rng: 1.5 * rng.dirichlet(np.full(N, 0.5)),
    "l1_ball": lambda rng: 1.5 * _in_l1_ball(rng),
    "l2_ball": lambda rng: _in_l2_ball(rng, 1.5),
}


def _on_plane(rng, b):
    z = rng.normal(size=N)
    return z + NORMAL * (b - NORMAL @ z) / (NORMAL @ NORMAL)


def _in_l1_ball(rng):
    return rng.dirichlet(np.ones(N + 1))[:N] * rng.choice([-1, 1], size=N)


def _in_l2_ball(rng, radius):
    z = rng.normal(size=N)
    return radius * rng.uniform() ** (1 / N) * z / np.linalg.norm(z)


def _problem(seed, dtype=np.float64, decades=10, n=N, size=1.0):
    rng = np.random.default_rng(seed)
    y = rng.normal(scale=size, size=n).astype(dtype)
    d = (10 ** rng.uniform(-decades / 2, decades / 2, size=n)).astype(dtype)
    return y, d


def _is_in(name, x, tolerance):
    if name == "l2_ball":
        return np.linalg.norm(x) <= 1.5 * (1 + tolerance)
    G, h, E, f = POLYHEDRA[name]
    return np.all(G @ x <= h + tolerance) and np.all(np.abs(E @ x - f) <= tolerance)


def _variation(x, y, d, z):
    """Σ d (x-y)(z-x), at least 0 at the projection, and what rounding adds to it."""
    rounding = 1e-15 * (np.abs(x) + np.abs(y) + 1)
    return np.sum(d * (x - y) * (z - x)), np.sum(d * rounding * np.abs(z - x))


# ---- The sets: is it the projection? -------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_solves_the_variational_inequality_with_weights_over_ten_decades(name, x64):
    project = PROJECT[name]
    for seed in range(40):
        y, d = _problem(seed, size=[0.3, 3.0][seed % 2])
        x = np.asarray(project(jnp.asarray(y), jnp.asarray(d)))
        assert _is_in(name, x, 1e-14 * max(1, np.abs(y).max()))
        rng = np.random.default_rng(seed)
        for _ in range(50):
            variation, rounding = _variation(x, y, d, FEASIBLE[name](rng))
            assert variation >= -rounding


@pytest.mark.parametrize("name", WEIGHTED)
def test_the_unweighted_projection_violates_the_inequality(name, x64):
    violations = 0
    for seed in range(20):
        y, d = _problem(seed, size=3.0)
        x = np.asarray(PROJECT[name](jnp.asarray(y), jnp.ones(N)))
        rng = np.random.default_rng(seed)
        pairs = [_variation(x, y, d, FEASIBLE[name](rng)) for _ in range(20)]
        violations += any(variation < -1e6 * rounding for variation, rounding in pairs)
    assert violations >= 5


@pytest.mark.parametrize("name", POLYHEDRA)
def test_agrees_with_a_quadratic_programming_solver(name, x64):
    G, h, E, f = POLYHEDRA[name]
    for seed in range(15):
        # The solver itself loses digits where weights are further apart.
        y, d = _problem(seed, decades=6, size=[0.3, 3.0][seed % 2])
        x = np.asarray(PROJECT[name](jnp.asarray(y), jnp.asarray(d)))
        # In s = √d (x - y) the objective is a sphere, which SLSQP's first quadratic
        # model is too: its first step is the solution.
        scale = 1 / np.sqrt(d)
        constraints = [
            {
                "type": kind,
                "fun": lambda s, M=M, c=c: c - M @ s,
                "jac": lambda s, M=M: -M,
            }
            for kind, M, c in (
                ("ineq", G * scale, h - G @ y),
                ("eq", E * scale, f - E @ y),
            )
            if len(c)
        ]
        found = scipy.optimize.minimize(
            lambda s: 0.5 * s @ s,
            np.zeros(N),
            jac=lambda s: s,
            method="SLSQP",
            constraints=constraints,
            options={"ftol": 1e-20},
        )
        np.testing.assert_allclose(x, y + scale * found.x, rtol=0, atol=1e-8)


def test_l2_ball_agrees_with_a_root_finder(x64):
    project = PROJECT["l2_ball"]
    for seed in range(40):
        y, d = _problem(seed, size=3.0)
        x = np.asarray(project(jnp.asarray(y), jnp.asarray(d)))
        np.testing.assert_allclose(x, _l2_reference(y, d, 1.5), rtol=0, atol=1e-12)


def _l2_reference(y, d, radius):
    y, d = np.float64(y), np.float64(d)
    if np.linalg.norm(y) <= radius:
        return y
    gap = np.linalg.norm(y) / radius - 1
    log_multiplier = scipy.optimize.brentq(
        lambda t: np.linalg.norm(d * y / (d + np.exp(t))) - radius,
        np.log(d.min() * gap) - 1,
        np.log(d.max() * gap) + 1,
        xtol=1e-15,
        rtol=1e-15,
    )
    return d * y / (d + np.exp(log_multiplier))


def _simplex_reference(y, d, total):
    """By sorting (Brucker; Duchi et al.), in exact arithmetic."""
    y, d = [Fraction(float(v)) for v in y], [Fraction(float(v)) for v in d]
    sum_y, sum_1_d, tau = -Fraction(total), Fraction(0), Fraction(0)
    for i in sorted(range(len(y)), key=lambda i: -y[i] * d[i]):
        if sum_1_d and y[i] * d[i] <= tau:
            break
        sum_y, sum_1_d = sum_y + y[i], sum_1_d + 1 / d[i]
        tau = sum_y / sum_1_d
    return np.array([float(max(v - tau / w, 0)) for v, w in zip(y, d, strict=True)])


def _affine_reference(A, b, y, d):
    """By Gauss-Jordan elimination of the normal equations, in exact arithmetic."""
    exact = np.vectorize(lambda v: Fraction(float(v)), otypes=[object])
    A, b, y, d = exact(A), exact(b), exact(y), exact(d)
    rows = np.column_stack([(A / d) @ A.T, A @ y - b])
    for i in range(len(rows)):
        rows[i] = rows[i] / rows[i, i]
        for j in range(len(rows)):
            if j != i:
                rows[j] = rows[j] - rows[i] * rows[j, i]
    return (y - (A.T @ rows[:, -1]) / d).astype(np.float64)


@pytest.mark.parametrize("decades", [0, 10, 16])
def test_simplex_and_balls_keep_float32_precision_for_any_weights(decades):
    project, ball, norm_ball = map(jax.jit, (simplex(), l1_ball(1.0), l2_ball(1.0)))
    for seed in range(40):
        y, d = _problem(seed, np.float32, decades, 7, [0.03, 1.0, 1e4][seed % 3])
        args = jnp.asarray(y), jnp.asarray(d)
        sized = {"rtol": 0, "atol": 3e-7 * max(1, np.abs(y).max())}
        x = np.asarray(project(*args))
        np.testing.assert_allclose(x, _simplex_reference(y, d, 1), **sized)
        assert abs(x.astype(np.float64).sum() - 1) < 5e-7
        if np.abs(y).sum() > 1:
            x = np.asarray(ball(*args))
            expected = np.sign(y) * _simplex_reference(np.abs(y), d, 1)
            np.testing.assert_allclose(x, expected, **sized)
        x = np.asarray(norm_ball(*args))
        np.testing.assert_allclose(x, _l2_reference(y, d, 1.0), rtol=0, atol=5e-7)
        assert np.linalg.norm(x.astype(np.float64)) < 1 + 3e-7


@pytest.mark.parametrize(
    ("y", "d"),
    [
        ([1e19, 1e19], [1.0, 1.0]),  # squares overflow
        ([-5.0, -5.0], [1e38, 1e38]),  # reciprocals underflow
        ([0.84, 0.57], [1.0, 3e-20]),  # squares of weights underflow
        ([3e30, -2.0], [1e-9, 1.0]),
        ([3e38, -1e38], [1.0, 2.0]),  # the reciprocal of y underflows
    ],
)
def test_l2_ball_of_extreme_points_and_weights(y, d):
    x = jax.jit(l2_ball(1.0))(jnp.array(y), jnp.array(d))
    np.testing.assert_allclose(x, _l2_reference(y, d, 1.0), rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("cheap", fast([1, 2, 4], 2))
def test_affine_keeps_float32_precision_for_any_weights(cheap):
    # Fewer cheap coordinates than equations: Cholesky factors of A D⁻¹Aᵀ are NaN here.
    for seed in range(10):
        rng = np.random.default_rng(seed)
        A, b = rng.normal(size=(4, 7)).astype(np.float32), np.float32([1, 0, -1, 2])
        y, d = rng.normal(size=7).astype(np.float32), np.full(7, 1e5, np.float32)
        d[rng.permutation(7)[:cheap]] = 1e-5
        x = np.asarray(affine(A, b)(jnp.asarray(y), jnp.asarray(d)))
        expected = _affine_reference(A, b, y, d)
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-5 * np.abs(x).max())


def test_equal_weights_give_the_projections_of_optax(standard_promotion):
    theirs = optax.projections
    pairs = [
        (box(-0.5, 0.5), lambda y: theirs.projection_box(y, -0.5, 0.5)),
        (non_negative(), theirs.projection_non_negative),
        (
            halfspace(NORMAL, 0.6),
            lambda y: theirs.projection_halfspace(y, NORMAL.astype(np.float32), 0.6),
        ),
        (
            hyperplane(NORMAL, 0.6),
            lambda y: theirs.projection_hyperplane(y, NORMAL.astype(np.float32), 0.6),
        ),
        (simplex(1.5), lambda y: theirs.projection_simplex(y, 1.5)),
        (l1_ball(1.5), lambda y: theirs.projection_l1_ball(y, 1.5)),
        (l2_ball(1.5), lambda y: theirs.projection_l2_ball(y, 1.5)),
    ]
    ys = [_problem(s, np.float32, size=[0.1, 2.0][s % 2])[0] for s in range(10)]
    ys = jnp.asarray(np.stack(ys))

    @jax.jit
    @jax.vmap
    def both(y):
        weights = jnp.full_like(y, 7.0)
        return [(ours(y, weights), reference(y)) for ours, reference in pairs]

    for x, expected in both(ys):
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-6)


def _rounding_of_planes(A, x, d):
    """Bound the float32 rounding of projecting a point x of A x = b once more.

    A residual of orthonormal rows is rounded by e = 2 (N+1) u √m ‖x‖ at most, for m
    rows, an x by u ‖x‖. Four residuals are taken from y to the second projection, and
    P = D⁻¹Aᵀ(A D⁻¹Aᵀ)⁻¹A turns the errors into steps.
    """
    m, u = len(A), float(np.finfo(np.float32).eps) / 2
    A, x, d = A.astype(np.float64), x.astype(np.float64), d.astype(np.float64)
    P = (A.T / d[:, None]) @ np.linalg.solve((A / d) @ A.T, A)
    steps = np.linalg.norm(P, axis=1) * np.linalg.norm(x) * np.sqrt(m)
    return u * ((8 * (N + 1) + 2) * steps + 2 * np.abs(x))


@pytest.mark.parametrize("name", SETS)
def test_projecting_twice_changes_nothing(name):
    project = PROJECT[name]
    for seed in range(20):
        y, d = _problem(seed, np.float32, size=3.0)
        x = np.asarray(project(jnp.asarray(y), jnp.asarray(d)))
        again = np.asarray(project(jnp.asarray(x), jnp.asarray(d)))
        bound = 4e-7 * max(1.0, np.abs(y).max())
        if name in ("halfspace", "hyperplane", "affine"):  # x may be longer than y
            bound = _rounding_of_planes(
                MATRIX if name == "affine" else NORMAL[None], x, d
            )
        assert np.all(np.abs(again - x) <= bound)


@pytest.mark.parametrize("name", ["box", "halfspace", "l1_ball", "l2_ball"])
def test_a_point_inside_is_returned_bit_for_bit(name):
    for seed in range(20):
        y = FEASIBLE[name](np.random.default_rng(seed)).astype(np.float32)
        y = jnp.asarray(y) * jnp.float32(0.999 if name != "halfspace" else 1.001)
        d = jnp.asarray(_problem(seed, np.float32)[1])
        np.testing.assert_array_equal(PROJECT[name](y, d), y)


@pytest.mark.parametrize("name", SETS)
def test_the_size_of_the_weights_does_not_matter_only_their_ratios(name):
    y, d = (jnp.asarray(a) for a in _problem(3, np.float32, size=3.0))
    for factor in (2.0**-80, 2.0**80):
        np.testing.assert_array_equal(PROJECT[name](y, d * factor), PROJECT[name](y, d))


# ---- The sets: traced, batched, differentiated, at the extremes ----------------------


def _slopes(f, z, step=1e-6):
    """The Jacobian of f by central differences."""
    columns = [(f(z + step * e) - f(z - step * e)) / (2 * step) for e in np.eye(z.size)]
    return np.stack(columns, axis=-1)


def check_derivatives(project, derivative, tolerance):
    for size in (0.05, 3.0):
        z = jnp.asarray(np.concatenate(_problem(1, decades=2, size=size)))
        slopes = _slopes(project, z)
        np.testing.assert_allclose(
            derivative(z), slopes, rtol=tolerance, atol=tolerance / 100
        )


@pytest.mark.parametrize("name", fast(SETS, "halfspace", "simplex", "l2_ball"))
def test_derivatives_are_those_of_finite_differences(name, x64):
    project = jax.jit(lambda z: SETS[name](z[:N], z[N:]))
    check_derivatives(project, jax.jit(jax.jacrev(project)), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_second_derivatives_are_those_of_finite_differences(name, x64):
    reverse = jax.jit(jax.jacrev(lambda z: SETS[name](z[:N], z[N:])))
    check_derivatives(reverse, jax.jit(jax.jacfwd(reverse)), 1e-4)


@pytest.mark.parametrize("make", fast([simplex, l1_ball, l2_ball], simplex, l2_ball))
def test_the_size_of_a_set_may_be_traced_and_differentiated(make, x64):
    y, d = (jnp.asarray(a) for a in _problem(1, decades=2, size=3.0))
    project = jax.jit(lambda r: make(r[0])(y, d))
    r = jnp.array([1.5])
    expected = jax.jit(make(1.5))(y, d)
    np.testing.assert_allclose(project(r), expected, rtol=1e-14, atol=1e-15)
    slopes = jax.jit(jax.jacrev(project))(r)
    np.testing.assert_allclose(slopes, _slopes(project, r), rtol=1e-6, atol=1e-8)


def test_bounds_and_normals_may_be_traced():
    y, d = (jnp.asarray(a) for a in _problem(1, np.float32, size=3.0))
    a = jnp.asarray(NORMAL, jnp.float32)

    @jax.jit
    def project(a, b):
        return box(-b, b)(y, d), halfspace(a, b)(y, d), hyperplane(a, b)(y, d)

    for x, make in zip(project(a, 0.5), (None, halfspace, hyperplane), strict=True):
        expected = (make(a, 0.5) if make else box(-0.5, 0.5))(y, d)
        np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", fast(SETS, "affine", "simplex"))
def test_vmap_projects_each_row(name):
    problems = [_problem(seed, np.float32, size=3.0) for seed in range(6)]
    y, d = (jnp.asarray(np.stack(a)) for a in zip(*problems, strict=True))
    rows = [PROJECT[name](*row) for row in zip(y, d, strict=True)]
    batched = jax.jit(jax.vmap(SETS[name]))(y, d)
    np.testing.assert_allclose(batched, rows, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", fast(WEIGHTED, "simplex"))
def test_the_shape_of_a_leaf_is_kept(name):
    y, d = (jnp.asarray(a) for a in _problem(2, np.float32, n=6, size=3.0))
    matrix = np.arange(12.0).reshape(2, 6) % 5
    constraint = {
        "halfspace": halfspace(1.0, -1.0),  # a number broadcasts
        "hyperplane": hyperplane(1.0, -1.0),
        "affine": affine(matrix, [1.0, 2.0]),
    }.get(name, SETS[name])
    constraint = jax.jit(constraint)
    x = constraint(y.reshape(2, 3), d.reshape(2, 3))
    np.testing.assert_allclose(x, constraint(y, d).reshape(2, 3), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SETS)
def test_a_nan_stays_visible(name):
    y, d = jnp.array([0.1, np.nan, 5.0, -3.0, 1.0]), jnp.ones(N)
    x = PROJECT[name](y, d)
    assert jnp.isnan(x[1])
    if name in WEIGHTED:  # they tie the coordinates together
        assert jnp.all(jnp.isnan(x))
        assert jnp.all(jnp.isnan(PROJECT[name](jnp.ones(N), y)))


@pytest.mark.parametrize("make", fast([simplex, l1_ball, l2_ball], l1_ball, l2_ball))
def test_size_zero_leaves_the_origin(make):
    project = jax.jit(make(0))
    slopes = jax.jit(jax.jacfwd(project))
    for seed in range(5):
        y, d = (jnp.asarray(a) for a in _problem(seed, np.float32))
        np.testing.assert_array_equal(project(y, d), np.zeros(N))
        np.testing.assert_array_equal(project(0 * y, d), np.zeros(N))
        assert np.all(np.isfinite(slopes(y, d)))


@pytest.mark.parametrize("name", ["simplex", "l1_ball", "l2_ball"])
@pytest.mark.parametrize("size", [1e8, 1e15])
def test_a_huge_step_ends_in_the_set(name, size):
    for seed in range(20):
        y, d = _problem(seed, np.float32, decades=[0, 6][seed % 2], size=size)
        if seed > 15:
            y = np.float32(size) / d  # all of y·d equal, up to rounding
        x = np.asarray(PROJECT[name](jnp.asarray(y), jnp.asarray(d)), np.float64)
        assert _is_in(name, x, 1e-6)
        assert np.abs(x).max() > 0.1


def test_hyperplanes_hold_after_a_huge_step():
    for name, seed in itertools.product(
        ["halfspace", "hyperplane", "affine"], range(9)
    ):
        y, d = _problem(seed, np.float32, decades=0, size=1.0)
        y[0], d[0] = 1e7, 1e-9  # the cheap coordinate comes back, the others stay
        x = np.asarray(PROJECT[name](jnp.asarray(y), jnp.asarray(d)), np.float64)
        if name != "affine":
            assert _is_in(name, x, 1e-5)
        else:
            assert np.abs(MATRIX[1] @ x - RIGHT[1]) < 1e-5
            assert np.abs(x).max() < 20


@pytest.mark.parametrize("name", ["simplex", "l1_ball"])
def test_even_where_rounding_leaves_nothing_of_a_step_it_ends_in_the_set(name):
    # Multiples of 1/d do not move the projection, but cost y all its digits.
    for seed, size in itertools.product(range(20), [1e2, -1e5, 1e8, -1e15]):
        _, d = _problem(seed, np.float32)
        y = FEASIBLE["simplex"](np.random.default_rng(seed)) + size / d
        x = np.asarray(PROJECT[name](jnp.asarray(y, jnp.float32), jnp.asarray(d)))
        assert _is_in(name, x.astype(np.float64), 1e-6)


def test_many_small_coordinates_beside_a_large_one_sum_to_the_total():
    y = np.random.default_rng(0).dirichlet(np.ones(100_000)).astype(np.float32)
    y[0] = 0.5
    x = np.asarray(jax.jit(simplex())(jnp.asarray(y), jnp.ones(y.size)), np.float64)
    assert abs(x.sum() - 1) < 5e-7
    # Each of them loses 5e-6 at most: a float32 of size 1 would not resolve that well.
    z = y.astype(np.float64)
    tau: Any = scipy.optimize.brentq(lambda t: np.maximum(z - t, 0).sum() - 1, 0, 1)
    np.testing.assert_allclose(x[1:], np.maximum(z - tau, 0)[1:], rtol=0, atol=1e-9)


def test_redundant_equations_are_reduced():
    y, d = (jnp.asarray(a) for a in _problem(0, np.float32, n=3))
    once = affine([[1, 2, 3], [0, 1, 1]], [1, 2])
    again = affine([[1, 2, 3], [0, 1e9, 1e9], [1, 3, 4], [0, 0, 0]], [1, 2e9, 3, 0])
    np.testing.assert_allclose(again(y, d), once(y, d), rtol=1e-5, atol=1e-6)
    third = np.float32(1) / np.float32(3)  # dependent up to float32's rounding
    rows = np.array([[1, 2, 3], [third, 2 * third, 1]], np.float32)
    b = rows @ np.array([0.1, 0.7, -0.3], np.float32)
    x = affine(rows, b)(y, d)
    np.testing.assert_allclose(x, hyperplane(rows[0], b[0])(y, d), atol=1e-5)
    # Independent, however different in size.
    x = affine([[1e20, 0, 0], [0, 1, 1]], [3e20, 2])(y, d)
    np.testing.assert_allclose([x[0], x[1] + x[2]], [3, 2], rtol=1e-6)
    x = affine([[1, 1, 0], [1, 1, 1e-6]], [1, 1 + 2e-6])(y, d)
    np.testing.assert_allclose([x[0] + x[1], x[2]], [1, 2], rtol=1e-5)


@pytest.mark.parametrize("make", [halfspace, hyperplane])
@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_the_size_of_a_normal_does_not_matter(make, size):
    y, d = (jnp.asarray(a) for a in _problem(0, np.float32, size=3.0))
    x = jax.jit(make(NORMAL * size, -0.4 * size))(y, d)
    np.testing.assert_allclose(x, jax.jit(make(NORMAL, -0.4))(y, d), rtol=1e-5)


@pytest.mark.parametrize("name", ["l1_ball", "l2_ball"])
def test_the_derivative_at_the_origin_is_the_identity(name):
    slopes = jax.jit(jax.jacrev(PROJECT[name]))(jnp.zeros(N), jnp.ones(N))
    np.testing.assert_array_equal(slopes, np.eye(N))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: box(1, 0), "lower must be at most upper"),
        (lambda: box([0, 1], [1, 0.5]), "lower must be at most upper"),
        (lambda: box(np.inf, np.inf), "lower must be at most upper"),
        (lambda: box(np.nan, 1), "lower must be free of NaN"),
        (lambda: halfspace([0, 0], 1), "a must be nonzero"),
        (lambda: hyperplane([1, np.inf], 1), "a must be finite"),
        (lambda: hyperplane([1, 2], np.nan), "b must be a finite number"),
        (lambda: affine([[1, 1], [2, 2]], [1, 3]), "A x = b must have a solution"),
        (lambda: affine([[1, 1], [0, 0]], [1, 1]), "A x = b must have a solution"),
        (lambda: affine([[0, 0]], [0]), "A must be nonzero"),
        (lambda: affine([1, 1], [1]), "A and b must have shapes"),
        (lambda: affine([[1, 1]], 1), "A and b must have shapes"),
        (lambda: affine([[1, np.nan]], [1]), "A must be finite"),
        (lambda: simplex(-1), "total must be a finite number >= 0, got -1"),
        (lambda: l1_ball(-0.5), "radius must be a finite number >= 0, got -0.5"),
        (lambda: l2_ball(-1), "radius must be a finite number >= 0, got -1"),
        (lambda: l2_ball(np.inf), "radius must be a finite number >= 0"),
        (lambda: projected(optax.sgd(1), simplex(), p=0.7), r"p must be in \[0, 1/2\]"),
        (lambda: projected(optax.sgd(1), simplex(), p=-0.1), "p must be in"),
        (lambda: projected(optax.sgd(1), simplex(), p=0.5, eps=-1), "eps must be"),
    ],
)
def test_empty_sets_and_bad_arguments_raise_when_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("size", [2, 4])
def test_a_matrix_must_fit_the_leaf(size):
    constraint = affine([[1.0, 1.0, 1.0]], [1.0])
    with pytest.raises(ValueError, match=f"column for each of the {size} elem.*got 3"):
        constraint(jnp.zeros(size), jnp.ones(size))
    opt = projected(padam(0.1), constraint, p=0.125)
    params = {"a": jnp.zeros(3), "b": jnp.zeros(size)}
    with pytest.raises(ValueError, match="mask of projected"):
        opt.update(params, opt.init(params), params)


@pytest.mark.parametrize(
    "name", ["projection_simplex", "projection_l2_ball", "projection_box"]
)
def test_projections_without_weights_are_refused(name):
    with pytest.raises(ValueError, match=f"constraint must take weights.*{name}"):
        projected(padam(0.1), getattr(optax.projections, name), p=0.125)


def test_swapped_arguments_are_told_their_order():
    opt: Any = padam(0.1)
    with pytest.raises(TypeError, match=r"constraint.*projected\(optimizer, constr"):
        projected(simplex(), opt, p=0.125)


@pytest.mark.parametrize("uncalled", [simplex, box])
def test_a_set_must_have_been_made_by_a_call(uncalled):
    with pytest.raises(TypeError, match=f"got {uncalled.__name__}.*made by a call"):
        projected(padam(0.1), uncalled, p=0.125)


def test_arrays_that_do_not_fit_the_leaf_raise():
    for constraint in (box(np.zeros(4), 1), halfspace(np.ones(4), 1)):
        with pytest.raises(ValueError, match="broadcast"):
            constraint(jnp.zeros(3), jnp.ones(3))


# ---- The wrapper ---------------------------------------------------------------------

ALPHA = 0.2


def _algorithm_1(kind, theta, gradients, project):
    """Algorithm 1 of the paper, and what AMSGrad and Adam make of it, in NumPy."""
    p = {"padam": 0.125, "padam_quarter": 0.25}.get(kind, 0.5)
    m, v, v_max = (np.zeros_like(theta) for _ in range(3))
    for t, g in enumerate(gradients, start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        v_max = np.maximum(v_max, v)
        numerator, second = m, v_max
        if kind == "adam":
            numerator, second = m / (1 - 0.9**t), v / (1 - 0.999**t)
        d = (np.sqrt(second) + 1e-8) ** (2 * p)
        theta = project(theta - ALPHA * numerator / d, d)
        yield theta


OPTIMIZERS = {
    "padam": (padam(ALPHA), 0.125),
    "padam_quarter": (padam(ALPHA, p=0.25), 0.25),
    "amsgrad": (
        optax.amsgrad(ALPHA, bias_correction_mu=False, bias_correction_nu=False),
        0.5,
    ),
    "adam": (optax.adam(ALPHA), 0.5),
}


def _gradients(count, shape=(N,), seed=0):
    """Coordinates with gradients of very different size; in some a spike, then calm."""
    rng = np.random.default_rng(seed)
    scale = np.logspace(1, -3, int(np.prod(shape))).reshape(shape)
    g = rng.normal(size=(count, *shape)) * scale
    g[2:3, ::2] *= 20
    return g


def _run(optimizer, params, gradients):
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for g in gradients:
        updates, state = update(g, state, params)
        params = optax.apply_updates(params, updates)
        yield params


def _first_step(optimizer, gradients, params):
    """Return the first update and the state after it, by one program."""

    def step(gradients, params):
        return optimizer.update(gradients, optimizer.init(params), params)

    return jax.jit(step)(gradients, params)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_steps_are_those_of_algorithm_1_written_out(kind, x64, standard_promotion):
    optimizer, p = OPTIMIZERS[kind]
    start, gradients = np.full(N, 1 / N), _gradients(12)
    expected = _algorithm_1(
        kind, start, gradients, lambda y, d: _simplex_reference(y, d, 1)
    )
    wrapped = projected(optimizer, simplex(), p=p)
    touched = False
    ours = _run(wrapped, jnp.asarray(start), jnp.asarray(gradients))
    for x, reference in zip(ours, expected, strict=True):
        # Adam's eps is weighed against √v̂ before its bias is corrected: 1e-8 of 1e-3.
        tolerance = 1e-4 if kind == "adam" else 1e-12
        np.testing.assert_allclose(x, reference, rtol=0, atol=tolerance)
        assert abs(x.sum() - 1) < 1e-14
        assert x.min() >= 0
        touched |= bool(x.min() == 0)
    assert touched


def test_the_exponent_and_the_weights_matter():
    start, gradients = jnp.full(N, 1 / N), jnp.asarray(_gradients(1), jnp.float32)
    ends = [
        next(_run(projected(padam(0.1), simplex(), p=p), start, gradients))
        for p in (0, 0.125, 0.25)
    ]
    for x, y in itertools.combinations(ends, 2):
        assert jnp.abs(x - y).max() > 1e-3


def test_exponent_zero_needs_no_second_moment_and_is_unweighted(standard_promotion):
    start, gradients = jnp.full(N, 1 / N), jnp.asarray(_gradients(5), jnp.float32)
    x = start
    for g, ours in zip(
        gradients,
        _run(projected(optax.sgd(0.1), simplex(), p=0), start, gradients),
        strict=True,
    ):
        x = optax.projections.projection_simplex(x - 0.1 * g)
        np.testing.assert_allclose(ours, x, atol=1e-6)


def test_eps_and_eps_root_are_part_of_the_weights(x64):
    g = jnp.array([1e-3, 1.0])
    optimizer = padam(0.1, eps=0.5, eps_root=0.25, p=0.25)
    wrapped = projected(optimizer, hyperplane(1.0, 0.0), p=0.25, eps=0.5, eps_root=0.25)
    x = next(_run(wrapped, jnp.zeros(2), [g]))
    d = np.sqrt(np.sqrt(0.001 * np.asarray(g) ** 2 + 0.25) + 0.5)
    y = -0.1 * 0.1 * np.asarray(g) / d
    np.testing.assert_allclose(x, y - (1 / d) * y.sum() / (1 / d).sum(), atol=1e-15)


def test_coordinates_that_never_saw_a_gradient_are_the_first_to_give_way():
    wrapped = projected(padam(0.1, eps=0.0), simplex(), p=0.125, eps=0.0)
    g = jnp.array([-1.0, 0.0, 0.0])
    x = next(_run(wrapped, jnp.array([0.4, 0.3, 0.3]), [g]))
    moved = 0.1 * 0.1 / (np.sqrt(1e-3)) ** 0.25
    np.testing.assert_allclose(x, [0.4 + moved, *[0.3 - moved / 2] * 2], atol=1e-6)
    calm = next(_run(wrapped, jnp.array([0.4, 0.3, 0.3]), [jnp.zeros(3)]))
    np.testing.assert_allclose(calm, [0.4, 0.3, 0.3], atol=1e-7)


def _tree():
    """A tree with matrices, a scalar, an empty leaf and a None."""
    params = {
        "a": jnp.array([[0.9, -0.8], [0.7, 0.3]]),
        "b": (jnp.array(0.5), jnp.zeros((0, 3))),
        "frozen": jnp.array([4.0, 4.0]),
    }
    grads = {
        "a": jnp.array([[-9.0, 0.1], [-0.01, 2.0]]),
        "b": (jnp.array(-3.0), jnp.zeros((0, 3))),
        "frozen": None,
    }
    return params, grads


def test_whole_tree_is_one_vector():
    params, grads = _tree()
    wrapped = projected(padam(0.1), l1_ball(1.5), p=0.125, whole_tree=True)
    state = wrapped.init(params)
    updates, _ = jax.jit(wrapped.update)(grads, state, params)
    assert updates["frozen"] is None
    assert updates["b"][1].shape == (0, 3)
    flat = jnp.array([0.9, -0.8, 0.7, 0.3, 0.5])
    flat_grads = jnp.array([-9.0, 0.1, -0.01, 2.0, -3.0])
    one = projected(padam(0.1), l1_ball(1.5), p=0.125)
    expected, _ = _first_step(one, flat_grads, flat)
    np.testing.assert_allclose(
        jnp.append(updates["a"].ravel(), updates["b"][0]), expected, atol=1e-7
    )
    assert abs(np.abs(flat + expected).sum() - 1.5) < 1e-6


def test_leaves_of_two_precisions_are_one_vector(x64):
    params = {"a": jnp.array([0.5], jnp.float32), "b": jnp.array([0.5], jnp.float64)}
    grads = jax.tree.map(lambda x, g: jnp.full_like(x, g), params, {"a": -1, "b": 1})
    sgd = projected(optax.sgd(0.25), simplex(0.5), p=0, whole_tree=True)
    updates, _ = _first_step(sgd, grads, params)
    # From (0.75, 0.25) the nearest point with sum 1/2 is (0.5, 0).
    assert updates == {"a": jnp.zeros(1, jnp.float32), "b": jnp.full(1, -0.5)}
    assert (updates["a"].dtype, updates["b"].dtype) == (jnp.float32, jnp.float64)


def test_each_leaf_is_in_its_own_set_otherwise():
    params, grads = _tree()
    wrapped = projected(padam(0.1), l1_ball(1.5), p=0.125)
    updates, _ = _first_step(wrapped, grads, params)
    assert updates["frozen"] is None
    assert jnp.abs(params["a"] + updates["a"]).sum() == pytest.approx(1.5, abs=1e-6)
    plain = padam(0.1)
    unconstrained, _ = _first_step(plain, grads, params)
    np.testing.assert_allclose(updates["b"][0], unconstrained["b"][0], rtol=2e-7)


@pytest.mark.parametrize(
    "mask",
    [
        {"a": {"x": True, "y": True}, "b": False},
        {"a": True, "b": False},
        lambda params: {
            "a": jax.tree.map(lambda p: p.ndim == 1, params["a"]),
            "b": False,
        },
    ],
)
@pytest.mark.parametrize("whole_tree", [False, True])
def test_masked_leaves_keep_their_update(mask, whole_tree):
    params = {"a": {"x": jnp.full(3, 0.3), "y": jnp.ones(2)}, "b": jnp.full(2, 9.0)}
    grads = jax.tree.map(lambda p: -p, params)
    wrapped = projected(
        padam(0.1), simplex(), p=0.125, mask=mask, whole_tree=whole_tree
    )
    updates, _ = _first_step(wrapped, grads, params)
    plain, _ = _first_step(padam(0.1), grads, params)
    np.testing.assert_allclose(updates["b"], plain["b"], rtol=1e-6)
    new = optax.apply_updates(params, updates)
    sums = [float(new["a"][key].sum()) for key in "xy"]
    if whole_tree:
        assert sum(sums) == pytest.approx(1, abs=1e-6)
    else:
        assert sums == pytest.approx([1, 1], abs=1e-6)


def test_disjoint_masks_nest():
    params = {"a": jnp.full(3, 0.3), "b": jnp.full(2, 0.9)}
    grads = {"a": jnp.array([-1.0, 0.0, 2.0]), "b": jnp.array([-1.0, 1e-3])}
    first = projected(padam(0.1), simplex(), p=0.125, mask={"a": True, "b": False})
    both = projected(first, l2_ball(1.0), p=0.125, mask={"a": False, "b": True})
    updates, state = _first_step(both, grads, params)
    new = optax.apply_updates(params, updates)
    assert new["a"].sum() == pytest.approx(1, abs=1e-6)
    assert jnp.linalg.norm(new["b"]) == pytest.approx(1, abs=1e-6)
    assert jax.tree.structure(state) == jax.tree.structure(padam(0.1).init(params))


def test_composes_with_masked_and_multi_transform():
    params = {"a": jnp.full(3, 0.3), "b": jnp.full(2, 9.0)}
    grads = {"a": jnp.array([-1.0, 0.0, 2.0]), "b": jnp.ones(2)}
    only_a = {"a": True, "b": False}
    alone = projected(padam(0.1), simplex(), p=0.125)
    expected, _ = _first_step(alone, grads["a"], params["a"])
    wrapped = [
        projected(optax.masked(padam(0.1), only_a), simplex(), p=0.125),
        optax.masked(projected(padam(0.1), simplex(), p=0.125), only_a),
        optax.multi_transform(
            {1: alone, 2: projected(padam(1.0, p=0.25), non_negative(), p=0.25)},
            {"a": 1, "b": 2},
        ),
    ]
    for optimizer in wrapped:
        updates, _ = _first_step(optimizer, grads, params)
        np.testing.assert_allclose(updates["a"], expected, atol=1e-7)
    groups = optax.multi_transform({1: padam(0.1), 2: padam(0.2)}, {"a": 1, "b": 2})
    outside = projected(groups, simplex(), p=0.125)
    with pytest.raises(ValueError, match="got 2.*each group"):
        outside.update(grads, outside.init(params), params)


def test_parameters_may_be_called_like_fields_of_the_state():
    params = {"nu_max": jnp.full(2, 0.9), "nu": jnp.full(2, 0.9), "mu": jnp.ones(1)}
    wrapped = projected(padam(0.1), l2_ball(1.0), p=optax.constant_schedule(0.125))
    updates, _ = _first_step(wrapped, params, params)
    plain = projected(padam(0.1), l2_ball(1.0), p=0.125)
    expected, _ = _first_step(plain, params["nu"], params["nu"])
    np.testing.assert_allclose(updates["nu_max"], expected, atol=1e-7)


def test_a_scheduled_exponent_is_read_as_the_optimizer_reads_it(x64):
    def schedule(count):
        return 0.25 - 0.05 * jnp.minimum(count, 3).astype(float)

    # A learning rate schedule adds a second count to the state.
    optimizer = padam(optax.constant_schedule(ALPHA), p=schedule)
    wrapped = projected(optimizer, hyperplane(1.0, 1.0), p=schedule)
    params, gradients = jnp.full(N, 1 / N), _gradients(5)
    state, m, v_max, v = wrapped.init(params), 0, 0, 0
    theta = np.full(N, 1 / N)
    for t, g in enumerate(gradients):
        updates, state = jax.jit(wrapped.update)(jnp.asarray(g), state, params)
        params = optax.apply_updates(params, updates)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        v_max = np.maximum(v_max, v)
        d = (np.sqrt(v_max) + 1e-8) ** (2 * (0.25 - 0.05 * min(t, 3)))
        y = theta - ALPHA * m / d
        theta = y - (y.sum() - 1) / d / (1 / d).sum()
        np.testing.assert_allclose(params, theta, rtol=1e-12)


def test_an_injected_exponent_may_be_traced():
    def make(p):
        return projected(padam(0.1, p=p), simplex(), p=p)

    params, g = jnp.full(N, 1 / N), jnp.asarray(_gradients(1)[0], jnp.float32)
    injected, fixed = optax.inject_hyperparams(make)(p=0.125), make(0.125)
    updates, _ = _first_step(injected, g, params)
    expected, _ = _first_step(fixed, g, params)
    np.testing.assert_allclose(updates, expected, atol=1e-6)


def test_a_box_holds_exactly_after_the_update_is_applied():
    rng = np.random.default_rng(0)
    lower, upper = np.float32(-0.3), rng.uniform(1e-3, 1, 20_000).astype(np.float32)
    params = jnp.asarray(rng.uniform(lower, upper), jnp.float32)
    wrapped = projected(optax.sgd(1.0), box(lower, upper), p=0)
    update = jax.jit(wrapped.update)
    for seed in range(3):
        g = jnp.asarray(np.random.default_rng(seed).normal(size=20_000), jnp.float32)
        updates, _ = update(g, wrapped.init(params), params)
        params = optax.apply_updates(params, updates)
        assert np.all((params >= lower) & (params <= upper))
        assert np.mean((params == lower) | (params == upper)) > 0.3
        # Rounding once, to the nearest, is not enough.
    nearest = params + (jnp.asarray(upper) - params)
    assert bool(jnp.any(nearest > upper))


def test_an_update_that_the_set_does_not_touch_is_returned_as_it_is():
    params, g = jnp.array([0.5, 0.25, 0.9]), jnp.array([1.0, -1e-6, -5.0])
    wrapped = projected(padam(1e-3), box(0, 0.9), p=0.125)
    updates, _ = _first_step(wrapped, g, params)
    plain, _ = _first_step(padam(1e-3), g, params)
    # Recomputed from the parameters they would be off by 1e-4.
    np.testing.assert_allclose(updates[:2], plain[:2], rtol=1e-6)
    assert updates[2] == 0


@pytest.mark.parametrize("dtype", fast([jnp.bfloat16, jnp.float16], jnp.bfloat16))
def test_half_precision_parameters_are_projected_in_float32(dtype):
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.dirichlet(np.ones(40)), dtype)
    g = jnp.asarray(rng.normal(size=40), dtype)
    wrapped = projected(padam(0.1), simplex(), p=0.125)
    updates, state = _first_step(wrapped, g, params)
    assert updates.dtype == dtype
    plain, _ = _first_step(padam(0.1), g, params)
    v = np.asarray(optax.tree.get(state, "nu_max"), np.float64)
    y = np.float64(params) + np.float64(plain)
    expected = _simplex_reference(y, (np.sqrt(v) + 1e-8) ** 0.25, 1)
    got = np.float64(optax.apply_updates(params, updates))
    np.testing.assert_allclose(got, expected, rtol=0, atol=float(jnp.finfo(dtype).eps))


def test_one_trace_serves_all_steps_and_scan():
    traces = []

    def constraint(y, d):
        traces.append(None)
        return simplex()(y, d)

    wrapped = projected(padam(0.05), constraint, p=optax.constant_schedule(0.125))
    params, gradients = jnp.full(N, 1 / N), jnp.asarray(_gradients(6), jnp.float32)

    @jax.jit
    def run(params, gradients):
        def step(carry, g):
            updates, state = jax.jit(wrapped.update)(g, carry[1], carry[0])
            params = optax.apply_updates(carry[0], updates)
            return (params, state), params

        return jax.lax.scan(step, (params, wrapped.init(params)), gradients)[1]

    path = run(params, gradients)
    assert len(traces) == 1
    for x, y in zip(path, _run(wrapped, params, gradients), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


@pytest.mark.slow
def test_a_step_is_differentiable_through_the_projection(x64):
    g = np.array([1.0, -2.0, 3.0, -0.5, 0.7])
    z = jnp.asarray(np.concatenate([np.full(N, 0.2), g]))
    for constraint in (simplex(), box(0.15, 0.3), l2_ball(0.3)):
        wrapped = projected(padam(0.5), constraint, p=0.125)

        # From a point of the set, where an update may be returned as it is.
        @jax.jit
        def end(z, wrapped=wrapped):
            updates, _ = wrapped.update(z[N:], wrapped.init(z[:N]), z[:N])
            return z[:N] + updates

        slopes = jax.jit(jax.jacrev(end))(z)
        np.testing.assert_allclose(slopes, _slopes(end, z), rtol=1e-5, atol=1e-7)


def test_state_is_the_optimizers_own_and_extra_arguments_reach_it():
    def update(updates, state, params=None, *, value, **extra):
        return jax.tree.map(lambda g: -value * g, updates), state

    inner = optax.GradientTransformationExtraArgs(lambda params: "mine", update)
    wrapped = projected(inner, non_negative(), p=0)
    params = jnp.array([1.0, 1.0])
    assert wrapped.init(params) == "mine"
    updates, state = wrapped.update(jnp.array([1.0, -1.0]), "mine", params, value=3.0)
    np.testing.assert_array_equal(updates, [-1.0, 3.0])
    assert state == "mine"


def test_what_the_wrapper_cannot_do_it_says():
    params = jnp.full(N, 0.2)
    wrapped = projected(padam(0.1), simplex(), p=0.125)
    with pytest.raises(ValueError, match="params must be passed"):
        jax.jit(wrapped.update)(params, wrapped.init(params))
    sgd = projected(optax.sgd(0.1), simplex(), p=0.125)
    with pytest.raises(ValueError, match="got 0.*pass p=0"):
        sgd.update(params, sgd.init(params), params)
    rms = projected(optax.rmsprop(0.1), simplex(), p=lambda count: 0.5)
    with pytest.raises(ValueError, match=r"for a schedule of p, got 0"):
        rms.update(params, rms.init(params), params)
    with pytest.raises(TypeError, match=r"params\['w'\] .*complex64.*mask"):
        _first_step(wrapped, {"w": params + 1j}, {"w": params + 1j})


def test_a_quantized_state_is_told_to_be_outside():
    inner = padam_optax.experimental.quantize_state(padam(0.1), min_size=0)
    opt, params = projected(inner, non_negative(), p=0.125), jnp.ones(3)
    with pytest.raises(ValueError, match=r"quantize_state\(projected\("):
        opt.update(params, opt.init(params), params)


def test_an_exponent_is_a_scalar():
    opt = projected(padam(0.1), non_negative(), p=lambda _: jnp.array([0.125]))
    with pytest.raises(ValueError, match=r"p must be a schedule of scalars.*\(1,\)"):
        opt.update(jnp.ones(3), opt.init(jnp.ones(3)), jnp.ones(3))
