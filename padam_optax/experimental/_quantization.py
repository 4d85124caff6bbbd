"""Optimizers of the Adam family with moments in 16 or 8 bits, encoded by `_codecs`."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from padam_optax import _validation
from padam_optax._second_moments import one_minus_power
from padam_optax._tree import cast_like
from padam_optax.experimental import _codecs
from padam_optax.experimental._moments import Row, map_rows, rows
from padam_optax.experimental._momentum_check import check_moments
from padam_optax.state._lookup import find_moments, unwrap

Format = Literal["16-bit", "8-bit"]
_ENCODERS = {"16-bit": _codecs.encode_16, "8-bit": _codecs.encode_8}


class QuantizedState(NamedTuple):
    """The state of the inner optimizer with codes for its moments.

    Attributes:
      step: Number of updates, an int32 scalar, from which the random bits follow. The
        ``count`` that `optax.tree.get` finds is the optimizer's own.
      bound: Unit in which nu/nu_max is stored, a float32 scalar.
      inner_state: The optimizer's state; see `dequantize_state`.
    """

    step: jax.Array
    bound: jax.Array
    inner_state: optax.OptState


def quantize_state(
    inner: optax.GradientTransformation,
    format: Format = "8-bit",
    *,
    min_size: int = 4096,
    debias_b2: float | jax.Array | None = None,
    seed: int = 0,
    check_momentum: bool = True,
) -> optax.GradientTransformationExtraArgs:
    r"""Store the moments of an optimizer in 8 or 16 bits between its steps.

    .. math::
        s_t = E(\mathrm{inner}(g_t, D(s_{t-1})))

    with the encoder E and the decoder D. The maximum is rounded up to a fixed grid, so
    it never decreases. The first and the second moment are rounded stochastically, so
    they are unbiased: rounded to nearest, an average with b2 = 0.999 would not move.

    ======== ========================== ========================== ===================
    format   mu                         nu                         nu_max
    ======== ========================== ========================== ===================
    "16-bit" bfloat16                   nu/nu_max in 65536 even    bfloat16, up
                                        steps
    "8-bit"  sign and a 7-bit float,    nu/nu_max in 64 steps,     10-bit float, up:
             in units of √nu_max        finer towards 1            1/8 between steps
    ======== ========================== ========================== ===================

    Padam's 12 bytes per parameter become 6 and 3. Without ``nu_max``, nu is a float
    with 8 bits of mantissa and the unit of mu: the 8 of `optax.adam` become 4 and 3.

    nu_max is too large by at most 1/128 in 16 bits and 1/8 in 8 bits, which shrinks the
    step by at most 0.1 % and 1.5 % at p = 1/8, and 0.4 % and 5.7 % at p = 1/2. In 8
    bits nu fluctuates by about 7 % of nu_max at b2 = 0.999, and mu by about 9 %.

    Every element has its own code, so codes have the shape of their parameter and are
    sharded, donated and checkpointed like it. 8 bits represent nu_max from 2^-64 to
    2^63 and mu up to 60 √nu_max (\|mu\| ≤ 7.3 √nu at the default rates); what is beyond
    is clipped. So they need a second moment that bounds the momentum, which
    `optax.adamax`, `optax.contrib.adopt` and `optax.adabelief` lack: use 16 bits.

    A step takes two to three times as long on CPUs. The random bits are a hash of seed,
    step, parameter and element (in `jax.shard_map` of the shard): resuming is exact.

    Args:
      inner: `padam`, `optax.adam`, `optax.amsgrad` or any transformation with ``mu``
        and ``nu``, and perhaps ``nu_max``, for each parameter. Chains, `optax.masked`,
        `optax.multi_transform` and `optax.inject_hyperparams` may be inside or outside.
      format: "16-bit" or "8-bit".
      min_size: Arrays with fewer elements are not quantized: biases and scales need
        little memory and matter much. Neither are complex and 64-bit arrays.
      debias_b2: The b2 of ``nu`` if the maximum is taken of nu/(1-b2^t), as in
        `optax.amsgrad` and ``bias_correction="before_max"``, otherwise None. In 8 bits
        a wrong one makes the moments wrong by a multiple.
      seed: Seed of the stochastic rounding, a whole number.
      check_momentum: Whether ``init`` makes three steps on leaves of one element, to
        check for "8-bit" that ``nu`` bounds ``mu`` and whether ``debias_b2`` is needed.

    Returns:
      A transformation with state `QuantizedState`; `dequantize_state` returns its
      moments. Updates have the gradients' dtypes.

    Raises:
      ValueError: If an argument is outside its range; in ``init``, if the inner state
        holds no mu and nu, if its maximum is taken of nu/(1-b2^t) and
        ``debias_b2`` is missing, or if the format cannot represent its moments.
      TypeError: If an argument is not a number.

    Examples:
      1.21 is rounded up to the next float with four significant bits and stays there:

      >>> import jax
      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> from padam_optax.experimental import dequantize_state, quantize_state
      >>> from padam_optax.state import second_moment
      >>> padam = padam_optax.padam(0.1, b2=0.0)
      >>> opt = quantize_state(padam, min_size=0)
      >>> state = opt.init(jnp.zeros(3))
      >>> for g in [[1.0, 1.1, 0.0], [-1.0, 0.1, 0.0]]:
      ...     _, state = opt.update(jnp.array(g), state)
      ...     print(second_moment(dequantize_state(state)))
      [1.   1.25 0.  ]
      [1.   1.25 0.  ]

      Three bytes per parameter:

      >>> state = quantize_state(padam).init(jnp.zeros((512, 512)))
      >>> sum(x.nbytes for x in jax.tree.leaves(state)) / 512**2
      3.0000457763671875

    References:
      Dettmers et al., 8-bit optimizers via block-wise quantization, ICLR 2022. Gupta et
      al., Deep learning with limited numerical precision, ICML 2015.
    """
    inner = _validation.transformation("inner", inner)
    if format not in _ENCODERS:
        raise ValueError(
            f"format must be '16-bit' or '8-bit', got {format!r}. To store only the "
            "momentum in bfloat16, pass mu_dtype to the optimizer instead."
        )
    remedy = "It is fixed when the optimizer is built."
    min_size = _validation.whole_number("min_size", min_size, remedy)
    seed = _validation.whole_number("seed", seed, remedy)
    if debias_b2 is not None:
        debias_b2 = _validation.decay_rate("debias_b2", debias_b2)

    def encode(state: optax.OptState, step: jax.Array) -> QuantizedState:
        bound = jnp.ones([], jnp.float32)
        if debias_b2 is not None:
            bound = one_minus_power(debias_b2, jnp.maximum(step, 1), jnp.float32)

        def encode_row(index: int, row: Row) -> Row:
            if not _is_quantizable(row, min_size):
                return row
            x = jax.tree.map(lambda m: jnp.asarray(m, jnp.float32), row)
            salt = np.uint32((0x27D4EB2F * index + 0x165667B1 * seed) % 2**32)
            bits = _codecs.random_bits(x.mu.shape, step, salt)
            return _ENCODERS[format](x, bound, bits)

        return QuantizedState(step, bound, map_rows(encode_row, state))

    def init(params: optax.Params) -> QuantizedState:
        state = inner.init(params)
        _check_state(state, format, debias_b2)
        if format == "8-bit" and check_momentum:
            _check_moments(inner, params, state, min_size, debias_b2)
        return encode(state, jnp.zeros([], jnp.int32))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        inner_state = dequantize_state(state)
        new, inner_state = inner.update(updates, inner_state, params, **extra_args)
        step: Any = optax.safe_increment(state.step)
        return cast_like(new, updates), encode(inner_state, step)

    return optax.GradientTransformationExtraArgs(init, update)


def dequantize_state(state: optax.OptState) -> optax.OptState:
    """Return the state with every `QuantizedState` replaced by the optimizer's own.

    Everything that reads moments needs it, such as `second_moment` and `reset_max`, and
    a run that continues without `quantize_state`.

    Args:
      state: The state of `quantize_state` or of anything around it.

    Returns:
      The state that the inner optimizer receives next, float32 where it was encoded.

    Examples:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from padam_optax.experimental import dequantize_state, quantize_state
      >>> opt = quantize_state(optax.adam(0.1, b1=0.5), "16-bit", min_size=0)
      >>> _, state = opt.update(jnp.array([3.0, 0.0]), opt.init(jnp.zeros(2)))
      >>> optax.tree.get(dequantize_state(state), "mu")
      Array([1.5, 0. ], dtype=float32)
    """

    def is_quantized(node: Any) -> bool:
        return isinstance(node, QuantizedState)

    def dequantize(node: Any) -> Any:
        if not is_quantized(node):
            return node

        def decode_row(index: int, row: Row) -> Row:
            del index
            if not jnp.issubdtype(row.nu.dtype, jnp.unsignedinteger):
                return row
            codes = jax.tree.map(jnp.asarray, row)
            is_8_bit = codes.mu.dtype == jnp.int8
            decode = _codecs.decode_8 if is_8_bit else _codecs.decode_16
            return decode(codes, unwrap(node.bound))

        return map_rows(decode_row, node.inner_state)

    return jax.tree.map(dequantize, state, is_leaf=is_quantized)


def _check_state(state: optax.OptState, format: Format, debias_b2: Any) -> None:
    """Raise ValueError if the moments are missing or the format cannot hold them."""
    if not find_moments(state):
        raise ValueError(
            "The state of the inner optimizer must hold mu and nu, as those of padam "
            f"and optax.adam do; got {type(state).__name__} without them."
        )
    centered = optax.scale_by_stddev(), optax.scale_by_stddev(bias_correction=True)
    if _holds(state, *centered):
        raise ValueError(
            f"format must not be {format!r} for centered RMSProp, which takes the root "
            "of nu - mu^2: after rounding to '8-bit' or '16-bit' it may be negative. "
            "Use it without quantize_state."
        )

    # By type too: inside optax.MultiSteps the steps of `check_moments` show nothing.
    needs_debias = format == "8-bit" and debias_b2 is None
    if needs_debias and _holds(state, optax.scale_by_amsgrad()):
        raise ValueError(_DEBIAS.format("does", None))


_DEBIAS = (
    "debias_b2 must be the b2 of an optimizer that takes the maximum of nu / (1 - "
    "b2^t), e.g. 0.999, and None (or 0) for any other; this one {}, got {}."
)


def _holds(state: Any, *transformations: optax.GradientTransformation) -> bool:
    """Return whether the state of one of the transformations is within."""
    types = tuple(type(opt.init(())) for opt in transformations)
    nodes = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, types))
    return any(isinstance(node, types) for node in nodes)


def _check_moments(
    inner: Any, params: Any, state: Any, min_size: int, debias_b2: Any
) -> None:
    """Raise ValueError if a moment may exceed the range of its 8-bit code."""
    remedy = "Use '16-bit', or pass check_momentum=False if it does."
    try:
        found = check_moments(inner, params)
    except Exception as error:
        raise ValueError(
            "format must not be '8-bit' unless nu bounds mu, and inner fails on leaves "
            f"of one element, which is how init checks that ({error}). {remedy}"
        ) from error
    for row, (is_bounded, is_debiased) in zip(rows(state), found, strict=True):
        if not _is_quantizable(row, min_size):
            continue
        # Below 0.8 three steps do not tell a debiased maximum from another.
        is_large = isinstance(debias_b2, float) and debias_b2 > 0.8
        is_needless = is_large and row.nu_max is not None and is_debiased is False
        if is_needless or (is_debiased and debias_b2 is None):
            raise ValueError(
                _DEBIAS.format("does" if is_debiased else "does not", debias_b2)
            )
        if not is_bounded:
            raise ValueError(
                "format must not be '8-bit' unless nu bounds mu, as an average of "
                f"squared gradients does; here it does not. {remedy}"
            )


def _is_quantizable(row: Row, min_size: int) -> bool:
    arrays = jax.tree.leaves(row)
    return (
        len({x.shape for x in arrays}) == 1
        and row.mu.size >= max(min_size, 1)
        and all(
            jnp.issubdtype(x.dtype, jnp.floating) and jnp.finfo(x.dtype).bits <= 32
            for x in arrays
        )
    )
