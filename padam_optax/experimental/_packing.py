"""Update many small leaves as a few larger ones."""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer

from padam_optax import _validation
from padam_optax._tree import is_none
from padam_optax.state._lookup import mask_leaves

# XLA compiles equal kernels once, and equal buffers have equal kernels. Cutting every
# leaf out of one large buffer would need a kernel each, a minute of compilation. Fewer
# leaves than these are not worth a kernel.
_IN_ONE_BUFFER = 32


class PackedLeaves(NamedTuple):
    """The tree that the wrapped transformation receives.

    Attributes:
      kept: Leaves that are not packed, in the tree's order. They are not a tree with
        holes, which a jitted step would take as long to flatten as packing saves.
      buffers: Leaves of one shape and dtype, joined along axis 0.
    """

    kept: tuple[Any, ...]
    buffers: tuple[Any, ...]


def pack_small_leaves(
    inner: optax.GradientTransformation,
    max_size: int = 4096,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Join small leaves of equal shape, so a thousand cost little more than a few.

    Every leaf has a fixed cost, whatever its size. Each group of 32 leaves of one shape
    and dtype, of at most ``max_size`` elements each, becomes one buffer; leaves that do
    not fill a group stay unpacked. Moments stay in the buffers; gradients are packed in
    each step and updates unpacked. This helps under `jax.jit`, with hundreds of leaves.

    What reads a state by parameter, as `convert_state` does, sees the buffers.

    **Only for transformations that treat each element alone**, such as `padam`,
    `optax.adam` and `optax.adamw`, or the tree as a whole
    (`optax.clip_by_global_norm`, `adagrad_norm`). Transformations that use per-leaf
    statistics (`optax.lars`, `optax.lamb`, `optax.clip_by_block_rms`, factored moments,
    `projected`, which does not work outside either) would silently see the buffer.
    Trees among extra arguments are not packed.

    A mask function inside receives a `PackedLeaves`. Those of ``ndim`` (no decay if
    below 2) work unchanged: a buffer has the number of dimensions of its leaves, and 1
    for scalars. A mask by name, or a tree of bools, belongs outside:
    ``optax.chain(optax.add_decayed_weights(1e-4, mask), pack_small_leaves(...))``.

    Joining sharded leaves would gather them. On meshes with explicit axes they stay
    unpacked; elsewhere exclude them with ``mask``: ``init`` raises if it receives one,
    which it cannot see under `jax.jit`. To restore or shard the state, use the
    shardings of one made from placed parameters, ``opt.init(params)``.

    Args:
      inner: The transformation.
      max_size: Most elements of a packed leaf, at least 1. Large leaves gain nothing.
      mask: The leaves that may be packed, as in `padam`. All if None. Leaves that are
        None, empty, or neither real nor complex are never packed.

    Returns:
      A transformation whose state is that of ``inner`` for a `PackedLeaves`, or for the
      parameters themselves if there is nothing to join. A checkpoint needs the same
      ``max_size`` and ``mask``. Gradients of other dtypes need ``params``.

    Raises:
      TypeError: If ``max_size`` is not a number.
      ValueError: If ``max_size`` is below 1, or a leaf to be packed is sharded (in
        ``init``) or has None as its gradient (in ``update``).

    Examples:
      Of forty biases 32 share a buffer. The updates are those of `padam`:

      >>> import jax.numpy as jnp
      >>> import optax
      >>> import padam_optax
      >>> from padam_optax.experimental import pack_small_leaves
      >>> grads = {
      ...     "biases": [jnp.array([1.0, k]) for k in range(40)],
      ...     "kernel": jnp.ones((80, 80)),
      ... }
      >>> params = optax.tree.zeros_like(grads)
      >>> plain = padam_optax.padam(1.0)
      >>> packed = pack_small_leaves(plain)
      >>> u, state = packed.update(grads, packed.init(params))
      >>> mu = optax.tree.get(state, "mu")
      >>> len(mu.kept), mu.buffers[0].shape, int(mu.buffers[0].sum() * 10 + 0.5)
      (9, (64,), 528)
      >>> v, _ = plain.update(grads, plain.init(params))
      >>> for tree in [u, v]:
      ...     print(*(f"{tree['biases'][k][1]:.4f}" for k in [1, 31, 32]))
      -0.2371 -3.1155 -3.1905
      -0.2371 -3.1155 -3.1905
    """
    max_size = _validation.whole_number(
        "max_size", max_size, "The default is 4096.", at_least=1
    )
    inner = _validation.transformation("inner", inner)

    def groups_of(tree: Any) -> list[list[int]]:
        """Return the positions of the leaves of each buffer."""
        leaves = jax.tree.leaves(tree, is_leaf=is_none)
        allowed = mask_leaves(mask, tree, like=tree)
        alike: dict[Any, list[int]] = {}
        for i, (leaf, may) in enumerate(zip(leaves, allowed, strict=True)):
            if may and leaf is not None:
                x: Any = jax.typeof(leaf)
                inexact = jnp.issubdtype(x.dtype, jnp.inexact)
                sharded = any(axis is not None for axis in x.sharding.spec)
                if inexact and not sharded and 0 < x.size <= max_size:
                    alike.setdefault((x.shape, x.dtype), []).append(i)
        return [
            members[end - _IN_ONE_BUFFER : end]
            for members in alike.values()
            for end in range(_IN_ONE_BUFFER, len(members) + 1, _IN_ONE_BUFFER)
        ]

    def init(params: optax.Params) -> optax.OptState:
        groups = groups_of(params)
        _check_placement(params, groups)
        return inner.init(_pack(params, groups))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        groups = groups_of(updates if params is None else params)
        packed = None if params is None else _pack(params, groups)
        new, state = inner.update(_pack(updates, groups), state, packed, **extra_args)
        return _unpack(new, updates, groups), state

    return optax.GradientTransformationExtraArgs(init, update)


def _pack(tree: Any, groups: list[list[int]]) -> Any:
    if not groups:
        return tree
    paths = jax.tree.leaves_with_path(tree, is_leaf=is_none)
    leaves = dict(enumerate(leaf for _, leaf in paths))
    buffers: list[Any] = []
    for group in groups:
        for i in group:
            if leaves[i] is None:
                raise ValueError(
                    f"updates{jax.tree_util.keystr(paths[i][0])} must be an array, as "
                    "it is packed with others, got None. Leave it out with mask."
                )
        members = [leaves.pop(i) for i in group]
        abstract = any(isinstance(x, jax.ShapeDtypeStruct) for x in members)
        buffers.append(jax.eval_shape(_join, members) if abstract else _join(members))
    return PackedLeaves(tuple(leaves.values()), tuple(buffers))


def _unpack(packed: Any, like: Any, groups: list[list[int]]) -> Any:
    if not groups:
        return packed
    leaves, structure = jax.tree.flatten(like, is_leaf=is_none)
    new: dict[int, Any] = {}
    for group, buffer in zip(groups, packed.buffers, strict=True):
        joined = _joined_dtype([leaves[i] for i in group])
        for i, piece in zip(group, jnp.split(buffer, len(group)), strict=True):
            x: Any = jax.typeof(leaves[i])
            # A leaf of its own keeps the dtype that inner gives it.
            dtype = buffer.dtype if x.dtype == joined else x.dtype
            new[i] = piece.reshape(x.shape).astype(dtype)
    others = iter(packed.kept)
    return structure.unflatten(
        [new[i] if i in new else next(others) for i in range(len(leaves))]
    )


def _join(leaves: list[Any]) -> jax.Array:
    dtype = _joined_dtype(leaves)
    # jnp.concatenate joins sixteen at a time: more copies, more kernels.
    return jax.lax.concatenate([jnp.atleast_1d(x).astype(dtype) for x in leaves], 0)


def _joined_dtype(leaves: list[Any]) -> jax.typing.DTypeLike:
    """Return the dtype that holds all leaves; gradients may differ from parameters."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*map(jax.dtypes.result_type, leaves))


def _check_placement(params: optax.Params, groups: list[list[int]]) -> None:
    paths = jax.tree.leaves_with_path(params, is_leaf=is_none)
    for i in itertools.chain.from_iterable(groups):
        path, leaf = paths[i]
        sharding = None if isinstance(leaf, Tracer) else getattr(leaf, "sharding", None)
        if sharding is not None and not sharding.is_fully_replicated:
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} must not be sharded if it is to "
                f"be packed, got {sharding}. Leave such leaves out: mask="
                "jax.tree.map(lambda x: x.sharding.is_fully_replicated, params)."
            )
