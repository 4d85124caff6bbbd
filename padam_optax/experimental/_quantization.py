"""Smaller state: the moments of any optimizer of the Adam family in 16 or 8 bits.

The state is kept in codes between the steps; the step itself is computed in float32.
What the codes are is in `_codecs`.
"""

import itertools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from padam_optax import _validation
from padam_optax._second_moments import one_minus_power
from padam_optax._tree import tree_map_with_none
from padam_optax.experimental import _codecs
from padam_optax.state._lookup import Moments, find_moments, map_moments

Format = Literal["16-bit", "8-bit"]
_ENCODERS = {"16-bit": _codecs.encode_16, "8-bit": _codecs.encode_8}


class QuantizedState(NamedTuple):
    """The optimizer's state with codes for its moments; see `dequantize_state`."""

    count: jax.Array  # int32 scalar, the number of updates
    bound: jax.Array  # float32 scalar, against which nu/nu_max is stored
    inner_state: optax.OptState


def quantize_state(
    inner: optax.GradientTransformation,
    format: Format = "8-bit",
    *,
    min_size: int = 4096,
    debias_b2: float | jax.Array | None = None,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Keep the moments of an optimizer in fewer bits between its steps.

    .. math::
        s_t = E(\mathrm{inner}(g_t, D(s_{t-1}))), \qquad
        \hat v \le D(E(\hat v)), \qquad E(D(E(\hat v))) = E(\hat v), \qquad
        \mathbb E\, D(E(m)) = m, \qquad \mathbb E\, D(E(v)) = v

    with D for decoding, E for encoding. The maximum v̂ is rounded up to a grid that
    never moves, so it never falls, and it rises only when it must. m and v are rounded
    up or down at random, such that they are right on average: rounded to the nearest,
    an average that moves by a thousandth a step would stand still.

    ======== ========================== ========================== ===================
    format   mu                         nu                         nu_max
    ======== ========================== ========================== ===================
    "16-bit" bfloat16                   nu/nu_max in 65536 even    bfloat16, up
                                        steps
    "8-bit"  sign and a 7-bit float,    nu/nu_max in 64 steps,     10-bit float, up:
             in units of √nu_max        narrower towards 1         1/8 between steps
    ======== ========================== ========================== ===================

    Padam's 12 bytes per parameter become 6 and 3. Without ``nu_max`` (`optax.adam`, 8
    bytes) nu is a float with 8 bits of mantissa and takes its place as the unit of mu:
    4 and 3 bytes. The parameters are not touched.

    What is lost: v̂ is too large by up to 1/128 in 16 bits and 1/8 in 8 bits, which
    makes the step smaller by up to 0.1 % and 1.5 % at p = 1/8, 0.4 % and 5.7 % at
    p = 1/2. In 8 bits v wanders besides, by about 0.07 v̂ at b2 = 0.999, and v̂ takes
    the maximum of that: over 10 000 steps on handwritten digits the steps stayed
    within 5 % of float32's at p = 1/8 and 15 % at p = 1/2, 0.7 % and 3 % too small in
    the mean. The momentum carries noise of zero mean, about 9 % of its size.

    Every element is encoded for itself, without scales of blocks: codes have the shape
    of their parameter and may be sharded, donated and checkpointed like it, whatever
    its layout. 8 bits cover v̂ from 2^-64 (less counts as that, an eps of 2e-10) to
    2^63, and mu up to 60 √v̂, where ``|m| ≤ 7.3 √v`` holds at the default rates; what is
    beyond is cut. An average whose size the second moment does not bound, as AdaBelief
    without maximum, needs 16 bits.

    A step moves fewer bytes and computes six times as much as `padam`: this is meant
    for accelerators, where bytes are what a step costs. On a CPU, where XLA makes a
    loop of each array of codes, it takes three to four times as long.

    The random bits are a hash of seed, step, parameter and place in it, so a resumed
    run is the uninterrupted one bit for bit. (Within `jax.shard_map` the place is that
    in the shard, and under `jax.vmap` all share their bits.)

    Args:
      inner: `padam`, `optax.adam`, `optax.amsgrad` or anything with ``mu`` and ``nu``,
        and perhaps ``nu_max``, for each parameter; chains, `optax.masked`,
        `optax.multi_transform` and `optax.inject_hyperparams` of them included. It may
        itself be a part of those.
      format: "16-bit" or "8-bit".
      min_size: arrays with fewer elements keep the dtypes that ``inner`` gives them;
        biases and scales weigh little and matter much. So do complex and 64-bit ones.
      debias_b2: b2 of ``nu`` where the maximum is taken of nu/(1-b2^t), as by
        `optax.amsgrad` and ``bias_correction="before_max"``, whose first nu/nu_max are
        next to 0: the ratio is then stored in units of 1-b2^t. In 8 bits it is needed,
        or else nu_max grows to a multiple of what it should be.
      seed: of the random bits; a whole number.

    Returns:
      A transformation with state `QuantizedState`, whose moments `dequantize_state`
      returns. Updates have the gradients' dtypes.

    Raises:
      ValueError: an argument is outside its range; in ``init``, the inner state holds
        no mu and nu, or is that of `optax.amsgrad` without ``debias_b2``.
      TypeError: an argument is no number.

    1.21 is rounded up, to the next float with four significant bits, and stays:

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> from padam_optax.state import second_moment
    >>> from padam_optax.experimental import dequantize_state, quantize_state
    >>> padam = padam_optax.padam(0.1, b2=0.0)
    >>> opt = quantize_state(padam, min_size=0)
    >>> state = opt.init(jnp.zeros(3))
    >>> for g in [[1.0, 1.1, 0.0], [-1.0, 0.1, 0.0]]:
    ...     _, state = opt.update(jnp.array(g), state)
    ...     print(second_moment(dequantize_state(state)))
    [1.   1.25 0.  ]
    [1.   1.25 0.  ]
    >>> opt = quantize_state(padam)
    >>> state = opt.init(jnp.zeros((512, 512)))
    >>> sum(x.nbytes for x in jax.tree.leaves(state)) / 512**2
    3.0000457763671875

    References:
      Dettmers, Lewis, Shleifer and Zettlemoyer, 8-bit optimizers via block-wise
      quantization, ICLR 2022. Gupta, Agrawal, Gopalakrishnan and Narayanan, Deep
      learning with limited numerical precision, ICML 2015, for rounding at random.
      Rouhani et al., Microscaling data formats for deep learning, 2023
      (arXiv 2310.10537), for short floats in units of a power of two.
    """
    inner = optax.with_extra_args_support(inner)
    if format not in _ENCODERS:
        raise ValueError(
            f"format must be '16-bit' or '8-bit', got {format!r}. Of the momentum "
            "alone in bfloat16, mu_dtype of the optimizer takes care."
        )
    fixed = "It is fixed when the optimizer is built."
    min_size = _validation.whole_number("min_size", min_size, fixed)
    seed = _validation.whole_number("seed", seed, fixed)
    if debias_b2 is not None:
        debias_b2 = _validation.decay_rate("debias_b2", debias_b2)

    def encode(state: optax.OptState, count: jax.Array) -> QuantizedState:
        bound = jnp.ones([], jnp.float32)
        if debias_b2 is not None:
            bound = one_minus_power(debias_b2, jnp.maximum(count, 1), jnp.float32)

        def encode_leaf(number: int, mu: Any, nu: Any, nu_max: Any = None) -> Any:
            moments = _codecs.Moments(mu, nu, nu_max)
            if not _is_compressible(moments, min_size):
                return moments
            salt = 0x27D4EB2F * number + 0x165667B1 * seed
            noise = _codecs.random_bits(mu.shape, count, salt)
            moments = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), moments)
            return _ENCODERS[format](moments, bound, noise)

        return QuantizedState(count, bound, _map_leaves(encode_leaf, state))

    def init(params: optax.Params) -> QuantizedState:
        state = inner.init(params)
        if not find_moments(state):
            raise ValueError(
                "The state of the inner optimizer must hold mu and nu, as those of "
                f"padam and optax.adam do; got {type(state).__name__} without them."
            )
        if format == "8-bit" and debias_b2 is None and _has_amsgrad(state):
            raise ValueError(
                "debias_b2 must be the b2 of optax.amsgrad, which takes the maximum of "
                "nu / (1 - b2^t), got None. Pass e.g. debias_b2=0.999, or 0 if "
                "amsgrad's bias_correction_nu is off."
            )
        return encode(state, jnp.zeros([], jnp.int32))

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, QuantizedState]:
        new_updates, inner_state = inner.update(
            updates, dequantize_state(state), params, **extra_args
        )
        new_updates = tree_map_with_none(
            lambda g, u: u if g is None else u.astype(jax.dtypes.result_type(g)),
            updates,
            new_updates,
        )
        count: Any = optax.safe_increment(state.count)
        return new_updates, encode(inner_state, count)

    return optax.GradientTransformationExtraArgs(init, update)


def dequantize_state(state: optax.OptState) -> optax.OptState:
    """Return the state with every `QuantizedState` replaced by the optimizer's own.

    For everything that reads moments, such as `second_moment`, `reset_max` and
    `effective_learning_rates`, and to go on without `quantize_state`.

    Args:
      state: of `quantize_state` or of anything around it.

    Returns:
      The state that the inner optimizer gets at the next step. Moments that were
      encoded are float32, those of smaller arrays as they are.

    >>> import jax.numpy as jnp
    >>> import optax
    >>> from padam_optax.experimental import dequantize_state, quantize_state
    >>> opt = quantize_state(optax.adam(0.1, b1=0.5), "16-bit", min_size=0)
    >>> _, state = opt.update(jnp.array([3.0, 0.0]), opt.init(jnp.zeros(2)))
    >>> optax.tree.get(dequantize_state(state), "mu")
    Array([1.5, 0. ], dtype=float32)
    """

    def is_compressed(node: Any) -> bool:
        return isinstance(node, QuantizedState)

    def decompress(node: Any) -> Any:
        if not is_compressed(node):
            return node

        def decode_leaf(number: int, mu: Any, nu: Any, nu_max: Any = None) -> Any:
            del number
            if not jnp.issubdtype(nu.dtype, jnp.unsignedinteger):
                return mu, nu, nu_max
            codes = jax.tree.map(jnp.asarray, _codecs.Codes(mu, nu, nu_max))
            decode = _codecs.decode_8 if mu.dtype == jnp.int8 else _codecs.decode_16
            return decode(codes, node.bound)

        return _map_leaves(decode_leaf, node.inner_state)

    return jax.tree.map(decompress, state, is_leaf=is_compressed)


def _has_amsgrad(state: optax.OptState) -> bool:
    def is_amsgrad(node: Any) -> bool:
        return isinstance(node, optax.ScaleByAmsgradState)

    return any(map(is_amsgrad, jax.tree.leaves(state, is_leaf=is_amsgrad)))


def _map_leaves(f: Any, state: optax.OptState) -> optax.OptState:
    """Replace the moments of each parameter by ``f`` of a number of its own and them.

    ``f`` gets and returns mu, nu and nu_max, which is None if there is none.
    """
    numbers = itertools.count()

    def replace(moments: Moments) -> Moments:
        _, *trees = moments
        if trees[2] is None:
            trees.pop()
        structure, *others = map(jax.tree.structure, trees)
        if any(other != structure for other in others):
            return moments  # a second moment of whole layers, say
        rows = zip(*map(jax.tree.leaves, trees), strict=True)
        results = [f(number, *row) for row, number in zip(rows, numbers, strict=False)]
        columns = zip(*(row[: len(trees)] for row in results), strict=True)
        new = [structure.unflatten(column) for column in columns] if results else trees
        return Moments(moments.count, *new, *[None] * (3 - len(new)))

    return map_moments(replace, state)


def _is_compressible(moments: _codecs.Moments, min_size: int) -> bool:
    arrays = [x for x in moments if x is not None]
    return (
        len({x.shape for x in arrays}) == 1
        and arrays[0].size >= max(min_size, 1)
        and all(
            jnp.issubdtype(x.dtype, jnp.floating) and jnp.finfo(x.dtype).bits <= 32
            for x in arrays
        )
    )
