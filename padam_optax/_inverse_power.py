"""The power that Padam divides by, x^(-q): fast, exact at its limits, differentiable.

On a CPU ``jnp.power`` takes several times as long as the rest of a step. So

* q = 2^-k, a Python float, is k roots, at most 2 ulp off. Otherwise
* an array of at most 1024 elements takes ``jnp.power``: a model may have thousands of
  them, and one operation compiles faster than a hundred;
* a larger float32 array reads the binary exponent of x from its bits and leaves the
  rest to two short polynomials: within 3.5 ulp (exp(-q·log x) is off by over 100);
* a larger float64 array takes exp and log.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from padam_optax._tree import as_hyperparam

_SMALL = 1024  # elements


class Exponent(NamedTuple):
    """The exponent -q and its two float32 parts, computed once for many arrays."""

    negative_q: Any  # a Python float, which selects the fastest form, or an array
    high: Any  # -q cut to 12 significant bits: its product with an exponent is exact
    low: Any  # the rest of -q, in float32


def split_exponent(q: jax.typing.ArrayLike) -> Exponent:
    """Return q as an `Exponent`."""
    high_bits = np.uint32(0xFFFFF000)
    if isinstance(q, float):  # high + low is -q to within 2^-36 of it
        q = float(q)  # np.float64 is a float, too, but would promote float32
        high = (np.float32(-q).view(np.uint32) & high_bits).view(np.float32)
        return Exponent(-q, high, np.float32(-q - float(high)))
    q = jnp.asarray(q)
    if q.ndim:
        raise ValueError(f"p must be a schedule of scalars, got the shape {q.shape}.")
    q32 = q.astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(-q32, jnp.uint32)
    high = jax.lax.bitcast_convert_type(bits & high_bits, jnp.float32)
    return Exponent(-q, high, -q32 - high)


@jax.custom_jvp
def root(x: jax.Array) -> jax.Array:
    """Return the square root, with derivative 0 instead of infinity at 0.

    A subnormal number counts as 0, as it does on devices that flush them. NaN stays.
    """
    is_zero = x < jnp.finfo(x.dtype).tiny
    # jnp.where is a call, which XLA would have to inline for each parameter.
    return jnp.sqrt(jax.lax.select(is_zero, jnp.zeros_like(x), x))


@root.defjvp
def _root_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    y = root(*primals)
    return y, 0.5 / jnp.where(y == 0, jnp.inf, y) * tangents[0]


def inverse_power(
    x: jax.Array, q: jax.typing.ArrayLike | Exponent, minimum: Any = 0.0
) -> jax.Array:
    """Return x^(-q), and 0 where x is 0 and q is not.

    Returning 0 at x = 0 turns the 0/0 of a coordinate that has never seen a gradient
    into a zero step. At q = 0 the result is 1 everywhere, as the limit requires. x is
    float32 or float64, non-negative and finite; a subnormal number counts as 0. q is in
    [0, 1]; for many arrays pass the result of `split_exponent`. No x is below
    ``minimum``: a positive Python float there saves the search for zeros.
    """
    exponent = q if isinstance(q, Exponent) else split_exponent(q)
    tiny = jnp.finfo(x.dtype).tiny
    if isinstance(minimum, float) and minimum >= tiny:
        return _power_of_positive(x, exponent)
    is_zero = x < tiny
    # Replacing 0 also keeps infinities out of the derivative.
    y = _power_of_positive(jnp.where(is_zero, 1, x), exponent)
    return jnp.where(is_zero, jnp.asarray(exponent.negative_q == 0, x.dtype), y)


def _power_of_positive(x: jax.Array, exponent: Exponent) -> jax.Array:
    negative_q = as_hyperparam(exponent.negative_q, x.dtype)
    if (roots := _number_of_roots(negative_q)) is not None:
        return _by_roots(x, roots)
    if x.size <= _SMALL:
        y = jnp.power(x, negative_q)
        if isinstance(negative_q, float) and x.dtype == jnp.float32:
            # Rounding q to float32 changes the power by up to 36 ulp.
            y = y * (1 + (negative_q - float(np.float32(negative_q))) * jnp.log(x))
        return y
    if x.dtype == jnp.float64:
        return jnp.exp(negative_q * jnp.log(x))
    return _by_bits(x, negative_q, exponent.high, exponent.low)


def _number_of_roots(negative_q: Any) -> int | None:
    """Return k if q is the Python float 2^-k and k roots are cheaper than the rest."""
    is_float = isinstance(negative_q, float)
    mantissa, exponent = math.frexp(negative_q) if is_float else (0.0, 0)
    return 1 - exponent if mantissa == -0.5 and -4 <= exponent <= 1 else None


def _by_roots(x: jax.Array, roots: int) -> jax.Array:
    if roots == 0:
        return 1 / x
    # The reciprocal root first: it is the least exact, and a root halves errors.
    x = jax.lax.rsqrt(x)
    for _ in range(roots - 1):
        x = jnp.sqrt(x)
    return x


# P with log2(1+t) ≈ t·P(t) for 1+t in [√½, √2), and 2^r for |r| ≤ ½: minimax
# polynomials, lowest order first. The errors, 5e-8 in the logarithm and 1.1e-7 in 2^r,
# are of the size of float32's rounding; with one term less either would show.
_LOG2 = (
    1.4426947832107544,
    -0.7213571667671204,
    0.4809394478797913,
    -0.36008724570274353,
    0.2867075502872467,
    -0.25006890296936035,
    0.23688960075378418,
    -0.1457439512014389,
)
_EXP2 = (
    1.0,
    0.6931470036506653,
    0.24022242426872253,
    0.05550733581185341,
    0.009671512059867382,
    0.0013264745939522982,
)
_BITS_OF_SQRT_HALF = 0x3F3504F3
# Added to an integer below 2^22 in size, it leaves that plus 127, a biased exponent, in
# the lowest bits. A conversion to int32 would make XLA add code for NaN and infinity.
_BIAS = np.float32(1.5 * 2**23 + 127)


@jax.custom_jvp
@jax.jit  # traced once for all arrays of a shape
def _by_bits(x: jax.Array, negative_q: Any, high: Any, low: Any) -> jax.Array:
    """Return x^(-q) for normal positive float32 x; -q is high + low, in [-1, 0]."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    e = (bits - _BITS_OF_SQRT_HALF) >> 23  # x = 2^e · (1+t)
    t = jax.lax.bitcast_convert_type(bits - (e << 23), jnp.float32) - 1
    e = e.astype(jnp.float32)
    # Pairs of terms rather than Horner's scheme: a CPU waits for a chain of operations.
    c, t2 = _LOG2, t * t
    tail = (c[1] + c[2] * t) + (c[3] + c[4] * t) * t2
    tail += ((c[5] + c[6] * t) + c[7] * t2) * (t2 * t2)
    # -q·log2(x) = n + r. The large part, high·e, is exact, and so is its distance
    # from the integer n: the error is that of r, at most one half.
    u = negative_q * t
    large = high * e + (x - x)  # NaN for NaN
    small = (low * e + u * c[0]) + u * t * tail
    n = jax.lax.round(large + small, jax.lax.RoundingMethod.TO_NEAREST_EVEN)
    r, y = (large - n) + small, _EXP2[-1]
    for coefficient in reversed(_EXP2[:-1]):
        y = y * r + coefficient
    # 2^n from its biased exponent, which is 0 where the result would be subnormal.
    bits = jax.lax.bitcast_convert_type(n + _BIAS, jnp.int32)
    bits = jnp.maximum(bits, 0x4B400000) << 23  # 0x4B400000 is 1.5·2^23
    return y * jax.lax.bitcast_convert_type(bits, jnp.float32)


@_by_bits.defjvp
def _by_bits_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    x, negative_q, high, low = primals
    dx, dnegative_q, _, _ = tangents
    y = _by_bits(x, negative_q, high, low)
    return y, y * (negative_q / x * dx + jnp.log(x) * dnegative_q)
