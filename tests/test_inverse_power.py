"""The power against float64, over the whole range of exponents, and at its limits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from padam_optax._inverse_power import inverse_power, root, split_exponent
from tests.marks import fast

EXPONENTS = [1.0, 0.5, 0.25, 0.125, 0.0625, 0.6, 0.2, 0.8, 1 / 3, 0.99, 0.01, 1e-6]

every_exponent = pytest.mark.parametrize(
    "q", fast(EXPONENTS, 1.0, 0.25, 0.6, 1 / 3, 1e-6)
)


@pytest.fixture(scope="module")
def normal_floats():
    """A million positive normal float32 numbers, every binade alike, and the edges."""
    bits = np.random.default_rng(0).integers(0x00800000, 0x7F800000, 1_000_000)
    edges = [0x00800000, 0x7F7FFFFF, 0x3F800000, 0x3F3504F3, 0x3F3504F2]
    return np.concatenate([bits, edges]).astype(np.uint32).view(np.float32)


def jit_as_users_do(function):
    """Compile with XLA's own options: those of the tests round differently."""
    options = {
        "xla_backend_optimization_level": 3,
        "xla_llvm_disable_expensive_passes": False,
    }
    return jax.jit(function, compiler_options=options)


def in_pieces(power, x, size=1000):
    """Apply a function to arrays so small that another form of the power is used."""
    pieces = x[: len(x) // size * size].reshape(-1, size)
    return np.concatenate([power(piece) for piece in pieces[:50]])


def ulps(actual, exact):
    normal = exact >= np.finfo(np.float32).tiny  # below, devices may flush to 0
    spacing = np.spacing(exact[normal].astype(np.float32))
    return np.max(np.abs(actual[normal] - exact[normal]) / spacing)


@every_exponent
def test_float32_is_within_a_few_ulp_of_float64(normal_floats, q):
    actual = np.asarray(jit_as_users_do(lambda x: inverse_power(x, q))(normal_floats))
    by_roots = q in (1.0, 0.5, 0.25, 0.125, 0.0625)
    bound = 2 if by_roots else 3.5
    assert ulps(actual, normal_floats.astype(np.float64) ** -q) < bound


@pytest.mark.parametrize("traced", [False, True])
@every_exponent
def test_small_arrays_are_at_least_as_exact(normal_floats, q, traced):
    q32 = np.float64(np.float32(q)) if traced else q
    power = jit_as_users_do(lambda x, q: inverse_power(x, q if traced else float(q32)))
    actual = in_pieces(lambda x: power(x, jnp.float32(q)), normal_floats)
    exact = normal_floats[: len(actual)].astype(np.float64) ** -q32
    assert ulps(actual, exact) < 2


@pytest.mark.parametrize("q", [0.0, 0.3, 0.25])
@pytest.mark.parametrize("size", [5, 5000])
def test_a_split_exponent_gives_the_same_numbers(q, size):
    x = jnp.asarray(np.geomspace(1e-30, 1e30, size), jnp.float32).at[0].set(0)
    for exponent in (q, jnp.float32(q)):
        np.testing.assert_array_equal(
            inverse_power(x, split_exponent(exponent)), inverse_power(x, exponent)
        )


@pytest.mark.usefixtures("x64", "standard_promotion")
@pytest.mark.parametrize("size", [5, 5000])
def test_a_numpy_exponent_is_a_number(size):
    x = jnp.asarray(np.geomspace(1e-30, 1e30, size), jnp.float32)
    actual = inverse_power(x, np.float64(0.3))
    assert actual.dtype == jnp.float32
    np.testing.assert_array_equal(actual, inverse_power(x, 0.3))


@every_exponent
def test_a_traced_exponent_is_within_a_few_ulp_of_float64(normal_floats, q):
    actual = np.asarray(jax.jit(inverse_power)(normal_floats, jnp.float32(q)))
    exact = normal_floats.astype(np.float64) ** -np.float64(np.float32(q))
    assert ulps(actual, exact) < 3.5


@pytest.mark.parametrize("q", [1.0, 0.999, 0.99])
@pytest.mark.parametrize("size", [1000, 20_000])
def test_powers_below_the_normal_numbers_are_subnormal_or_zero(q, size):
    x = np.geomspace(2.0**125, 2.0**127.99, size).astype(np.float32)
    actual = np.asarray(jax.jit(inverse_power)(x, jnp.float32(q)))
    exact = x.astype(np.float64) ** -np.float64(np.float32(q))
    tiny = np.finfo(np.float32).tiny
    np.testing.assert_allclose(actual[exact >= tiny], exact[exact >= tiny], rtol=4e-7)
    below = actual[exact < tiny]
    assert np.all((below >= 0) & (below <= tiny))


@pytest.mark.usefixtures("x64")
@every_exponent
def test_float64_is_within_rounding(q):
    x = np.logspace(-300, 300, 10_001)
    for exponent in (q, jnp.float64(q)):
        actual = np.asarray(inverse_power(jnp.asarray(x), exponent))
        np.testing.assert_allclose(actual, x**-q, rtol=3e-13)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("copies", fast([1, 2000], 2000))
def test_limits_are_exact(traced, copies):
    @functools.partial(jax.jit, static_argnums=() if traced else 1)
    def copied(x, q):
        return inverse_power(jnp.tile(x, (copies, 1)), q)

    def power(x, q):
        y = copied(np.float32(x), np.float32(q) if traced else q)
        np.testing.assert_array_equal(y, jnp.broadcast_to(y[0], y.shape))
        return y[0]

    x = np.float32([1e-30, 0.3, 1.0, 7.0, 1e30])
    np.testing.assert_array_equal(power(x, 0.0), np.ones(5))
    np.testing.assert_array_equal(power([0.0], 0.0), [1.0])  # m / 0^0 is m
    np.testing.assert_array_equal(power([0.0, 1e-45], 0.25), [0.0, 0.0])
    np.testing.assert_array_equal(power([0.0], 0.3), [0.0])
    np.testing.assert_array_equal(power([1.0], 0.3), [1.0])
    assert np.isnan(power([np.nan], 0.3)).all()
    assert np.isnan(power([np.nan], 0.25)).all()


@pytest.mark.parametrize("q", [0.25, 0.6])
@pytest.mark.parametrize("size", [1000, 20_000])
def test_a_positive_minimum_changes_no_power(normal_floats, q, size):
    x = np.append(normal_floats[:size], np.float32(np.nan))
    power = jit_as_users_do(lambda x: inverse_power(x, q, minimum=2.0**-126))
    actual = np.asarray(power(x))
    assert ulps(actual[:-1], x[:-1].astype(np.float64) ** -q) < 3.5
    assert np.isnan(actual[-1])


@pytest.mark.parametrize("minimum", [0.0, 1e-45, np.float32(0)])
def test_without_a_positive_minimum_the_power_of_zero_is_zero(minimum):
    x = jnp.float32([0.0, 1e-45])
    np.testing.assert_array_equal(inverse_power(x, 0.25, minimum), [0.0, 0.0])
    np.testing.assert_array_equal(inverse_power(x, 0.0, minimum), [1.0, 1.0])


def test_exponent_one_is_the_correctly_rounded_reciprocal():
    x = np.float32([3.0, 7.0, 1e-20, 1e20])
    np.testing.assert_array_equal(inverse_power(jnp.asarray(x), 1.0), 1 / x)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", fast([jnp.float32, jnp.float64], jnp.float32))
@pytest.mark.parametrize("q", [0.25, 0.6])
@pytest.mark.parametrize("size", [3, pytest.param(3000, marks=pytest.mark.slow)])
def test_derivatives_are_the_closed_forms(dtype, q, size):
    x = jnp.asarray(np.geomspace(0.7, 20.0, size), dtype)
    exact = np.asarray(x, np.float64)

    def derivative(f):
        return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]

    first = derivative(lambda x: inverse_power(x, q))(x)
    second = derivative(derivative(lambda x: inverse_power(x, q)))(x)
    by_q = derivative(lambda q: inverse_power(x, q))(jnp.asarray(q, dtype))
    rtol = 1e-6 if dtype == jnp.float32 else 1e-13
    np.testing.assert_allclose(first, -q * exact ** (-q - 1), rtol=rtol)
    np.testing.assert_allclose(second, q * (q + 1) * exact ** (-q - 2), rtol=rtol)
    np.testing.assert_allclose(by_q, -(exact**-q) * np.log(exact), rtol=rtol)


@pytest.mark.parametrize("q", [1.0, 0.5, 0.6])
def test_derivatives_at_zero_are_finite(q):
    def f(v):
        return inverse_power(root(v), q)

    assert jax.grad(f)(jnp.float32(0)) == 0
    assert jax.grad(lambda v: root(v))(jnp.float32(0)) == 0
    assert jax.grad(jax.grad(lambda v: root(v)))(jnp.float32(0)) == 0


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_derivatives_of_the_root_are_the_closed_forms(dtype):
    x = np.geomspace(1e-6, 20.0, 7)
    first, second = jax.grad(root), jax.grad(jax.grad(root))
    rtol = 1e-6 if dtype == jnp.float32 else 1e-13
    y = jnp.asarray(x, dtype)
    np.testing.assert_allclose(jax.vmap(first)(y), x**-0.5 / 2, rtol=rtol)
    np.testing.assert_allclose(jax.vmap(second)(y), -(x**-1.5) / 4, rtol=rtol)


def test_root_is_the_square_root():
    x = np.float32([0, 1e-45, 1e-30, 2, 1e38, np.nan])
    expected = np.sqrt(np.float32([0, 0, 1e-30, 2, 1e38, np.nan]))
    np.testing.assert_allclose(root(jnp.asarray(x)), expected, rtol=2e-7)
