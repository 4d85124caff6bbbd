"""Elementwise 8- and 16-bit codecs for optimizer moments.

There are no block scales: v̂ is stored as a short float, v as a fraction of v̂, and m in
units of the root of v̂. So arrays of codes have the shape and sharding of their
parameter, and decoding, step and encoding are one loop over the elements.

Zeros stay zeros. v̂ is rounded up. m and v are rounded stochastically to one of the
neighbors x₀ ≤ x ≤ x₁ on the grid, up with probability (x-x₀)/(x₁-x₀), so they are
unbiased on any grid. For short floats this adds random bits below the last bit kept.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from padam_optax.experimental._moments import Row


def linear_index(shape: tuple[int, ...]) -> jax.Array:
    """Return the row-major index of each element, modulo 2^32.

    Computed per axis, which XLA shards like the array that the indices are for.
    """
    x, stride = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        index = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        x = x + index * np.uint32(stride % 2**32)
        stride *= shape[axis]
    return x


@functools.partial(jax.jit, static_argnums=0)
def random_bits(shape: tuple[int, ...], count: jax.Array, salt: np.uint32) -> jax.Array:
    """Return uint32 noise, a function of element, count and salt alone.

    A hash of the counter, because `jax.random.bits` takes longer than the rest of the
    step. Its low and high halves are independent. Arrays differ by their uint32 salt.
    """
    x = count.astype(jnp.uint32) * np.uint32(0x9E3779B1) + salt
    x = x + linear_index(shape)
    # Wellons' lowbias32: every bit of x changes every bit of the result equally often.
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)


@jax.jit
def encode_8(x: Row, bound: jax.Array, noise: jax.Array) -> Row:
    """Return mu in 8 bits and nu_max in 10 and nu in 6, or nu alone in 16.

    The moments are float32, nu ≤ bound·nu_max, bound in (0, 1], noise of `random_bits`.
    """
    if x.nu_max is None:
        nu = _nu_to_16(x.nu, noise)
        return Row(_mu_to_8(x.mu, nu >> 8, noise), nu.astype(jnp.uint16), None)
    code = _nu_max_to_10(x.nu_max)
    fraction = _fraction(x.nu, _nu_max_from_10(code), bound)
    mu = _mu_to_8(x.mu, (code + _BELOW_10) >> 3, noise)
    # The word's 16 bits in two bytes, so that each moment is an array of its own.
    low = ((code & 3) << 6) | _fraction_to_6(fraction, noise)
    return Row(mu, low.astype(jnp.uint8), (code >> 2).astype(jnp.uint8))


@jax.jit
def decode_8(codes: Row, bound: jax.Array) -> Row:
    """Return the rounded moments that `encode_8` has encoded."""
    nu = codes.nu.astype(jnp.int32)
    if codes.nu_max is None:
        return Row(_mu_from_8(codes.mu, nu >> 8), _nu_from_16(nu), None)
    code = (codes.nu_max.astype(jnp.int32) << 2) | (nu >> 6)
    nu_max = _nu_max_from_10(code)
    return Row(
        _mu_from_8(codes.mu, (code + _BELOW_10) >> 3),
        _fraction_from_6((nu & 63).astype(jnp.float32)) * bound * nu_max,
        nu_max,
    )


@jax.jit
def encode_16(x: Row, bound: jax.Array, noise: jax.Array) -> Row:
    """Return mu and nu_max in bfloat16 and nu in 16 bits; arguments as `encode_8`."""
    mu = _mu_to_bfloat16(x.mu, noise)
    if x.nu_max is None:
        return Row(mu, _nu_to_16(x.nu, noise).astype(jnp.uint16), None)
    nu_max = _nu_max_to_bfloat16(x.nu_max)
    fraction = _fraction(x.nu, nu_max.astype(jnp.float32), bound)
    nu = _int(jnp.floor(fraction * 65535 + _uniform(noise)))
    return Row(mu, nu.astype(jnp.uint16), nu_max)


@jax.jit
def decode_16(codes: Row, bound: jax.Array) -> Row:
    """Return the rounded moments that `encode_16` has encoded."""
    mu, nu = codes.mu.astype(jnp.float32), codes.nu.astype(jnp.int32)
    if codes.nu_max is None:
        return Row(mu, _nu_from_16(nu), None)
    nu_max = codes.nu_max.astype(jnp.float32)
    return Row(mu, nu.astype(jnp.float32) * (bound / 65535) * nu_max, nu_max)


# --- v̂ in 10 bits: 7 of exponent, 3 of mantissa, rounded up -------------------------
#
# Code 1 is 2^-64, and each code is the next float with 4 significant bits. The grid is
# fixed, so encoding a decoded value returns the same code.

_BELOW_10 = (127 - 64) * 8 - 1  # the leading 11 bits of a float32 just below 2^-64
_MAX_10 = 1022
_NAN_10 = 1023


def _nu_max_to_10(v: jax.Array) -> jax.Array:
    up = (_bits(v) + (2**20 - 1)) >> 20
    code = jnp.where(up > 0, jnp.clip(up - _BELOW_10, 1, _MAX_10), 0)
    return jnp.where(jnp.isnan(v), _NAN_10, code)


def _nu_max_from_10(code: jax.Array) -> jax.Array:
    v = _float((code + _BELOW_10) << 20)
    return jnp.where(code == 0, 0, jnp.where(code == _NAN_10, jnp.nan, v))


# --- v as a fraction of v̂ in 6 bits: fraction = (3x - x²)/2, x = code/63 -------------
#
# An average over 1/(1-b2) steps with stochastic rounding in each has an error of about
# √(spacing·fraction/2), and v̂ takes the maximum of that. So the grid is finest near 1,
# with half the spacing of an even one. The error is 0.06 to 0.07 above one half.


def _fraction(nu: jax.Array, nu_max: jax.Array, bound: jax.Array) -> jax.Array:
    unit = jnp.maximum(nu_max * bound, jnp.finfo(jnp.float32).tiny)  # 0/0 is 0
    return jnp.minimum(nu / unit, 1)


def _fraction_to_6(fraction: jax.Array, noise: jax.Array) -> jax.Array:
    below = jnp.floor(63 * (1.5 - jnp.sqrt(2.25 - 2 * fraction)))
    low, high = _fraction_from_6(below), _fraction_from_6(below + 1)
    up = jnp.where(_uniform(noise) * (high - low) < fraction - low, 1.0, 0.0)
    return _int(jnp.minimum(below + up, 63))


def _fraction_from_6(code: jax.Array) -> jax.Array:
    return code * (1.5 / 63 - 0.5 / 63**2 * code)


# --- v alone in 16 bits: 8 of exponent, 8 of mantissa, stochastic ---------------------

_NAN_16 = 0xFFFF
_MAX_16 = 0xFEFF


def _nu_to_16(v: jax.Array, noise: jax.Array) -> jax.Array:
    # Clip before the sum: the carry of the largest float32 would reach the sign.
    bits = jnp.minimum(_bits(v), _MAX_16 << 15)
    code = (bits + (noise >> 17).astype(jnp.int32)) >> 15
    return jnp.where(jnp.isnan(v), _NAN_16, code)


def _nu_from_16(code: jax.Array) -> jax.Array:
    return _float(code << 15)  # _NAN_16 decodes to a NaN


# --- m in 8 bits: sign, and |m|/root + 2^-10 with 3 bits of mantissa, stochastic ------
#
# The root of a float with exponent e is 2^⌈e/2⌉ here, so scaling is exact. The grid is
# even up to 2^-10 roots of v̂, and that of a float from there to 2^6.

_OFFSET = np.float32(2.0**-10)
_BITS_OF_OFFSET = (127 - 10) << 23
_LARGEST = 60  # that of code 127
_NAN_8 = -128


def _mu_to_8(m: jax.Array, exponent: jax.Array, noise: jax.Array) -> jax.Array:
    size = jnp.abs(m) * _float((254 << 23) - _bits_of_root(exponent)) + _OFFSET
    random = ((noise & 0xFFFF) << 4).astype(jnp.int32) + 8
    code = (_bits(jnp.minimum(size, _LARGEST)) - _BITS_OF_OFFSET + random) >> 20
    code = jnp.where(m < 0, -code, code)
    return jnp.where(jnp.isnan(m), _NAN_8, code).astype(jnp.int8)


def _mu_from_8(code: jax.Array, exponent: jax.Array) -> jax.Array:
    code = code.astype(jnp.int32)
    size = _float((jnp.abs(code) << 20) + _BITS_OF_OFFSET) - _OFFSET
    m = jnp.where(code < 0, -size, size) * _float(_bits_of_root(exponent))
    return jnp.where(code == _NAN_8, jnp.nan, m)


def _bits_of_root(exponent: jax.Array) -> jax.Array:
    """Return the bits of 2^⌈e/2⌉ for e + 127, the bits of a float's exponent."""
    return ((exponent + 128) >> 1) << 23


# --- bfloat16 ------------------------------------------------------------------------

_BITS_OF_MAX_BFLOAT16 = 0x7F7F0000


def _mu_to_bfloat16(m: jax.Array, noise: jax.Array) -> jax.Array:
    bits = _bits(m) + (noise & 0xFFFF).astype(jnp.int32)
    # Infinity, NaN, and values that would round to them stay unchanged.
    is_safe = jnp.abs(m) < float(jnp.finfo(jnp.bfloat16).max)
    return _bfloat16(jnp.where(is_safe, bits, _bits(m)))


def _nu_max_to_bfloat16(v: jax.Array) -> jax.Array:
    up = jnp.minimum(_bits(v) + (2**16 - 1), _BITS_OF_MAX_BFLOAT16)
    return _bfloat16(jnp.where(jnp.isnan(v), _bits(v), up))


def _bfloat16(bits: jax.Array) -> jax.Array:
    """Return the leading 16 bits; a cast would round."""
    first = (bits >> 16).astype(jnp.uint16)
    return jax.lax.bitcast_convert_type(first, jnp.bfloat16)


def _uniform(noise: jax.Array) -> jax.Array:
    """Return the high half of the noise as a number in (0, 1)."""
    return (noise >> 16).astype(jnp.int32).astype(jnp.float32) / 65536 + 2.0**-17


def _int(x: jax.Array) -> jax.Array:
    """Return a whole number in [0, 2^23) by its bits; a cast is slower on CPUs."""
    return _bits(x + 2.0**23) & (2**23 - 1)


def _bits(x: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(x, jnp.int32)


def _float(bits: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
