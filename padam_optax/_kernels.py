"""The element-wise parts of a function as one GPU kernel for each array, by Pallas.

The arithmetic is not written a second time. The function is traced as it stands, and
what the traced program computes of an array element by element is run on blocks of it,
in a kernel that reads and writes every array once. Everything else stays outside: the
scalars that such parts need (schedules, bias corrections) are computed there, once.

Only `_call` knows for which backend of Pallas the kernels are: Triton's, which JAX 0.11
still has but calls deprecated, in favour of Mosaic GPU.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import eval_jaxpr
from jax.extend import core

# Elements of a block, a power of two: eight for each thread of four warps, so that a
# thread reads and writes codes of 8 bits by whole words.
BLOCK = 1024
_WARPS = 4
_MAX_SIZE = 2**31 - BLOCK  # places within a kernel are int32

# What treats each element alone and Pallas can lower for GPUs.
_ELEMENT_WISE = {
    *("abs", "add", "and", "bitcast_convert_type", "broadcast_in_dim", "ceil"),
    *("convert_element_type", "copy", "div", "eq", "exp", "exp2", "expm1", "floor"),
    *("ge", "gt", "integer_pow", "is_finite", "le", "log", "log1p", "lt", "max", "min"),
    *("mul", "ne", "neg", "not", "or", "pow", "pvary", "rsqrt", "select_n"),
    *("shift_left", "shift_right_arithmetic", "shift_right_logical", "sign", "sqrt"),
    *("square", "sub", "tanh", "xor"),
}

# Where calls keep what they call.
_CALLS = {
    "jit": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}

# What a call of `_codes.element_places` is called.
_PLACES = "element_places"

# Tests set this, to run kernels where there is no GPU, in Pallas' interpreter.
_interpreted = False


def run(f: Callable[..., tuple[Any, Any]], carry: Any, *args: Any) -> tuple[Any, Any]:
    """Return ``f(carry, *args)``, computed by kernels where that can be.

    That is on NVIDIA's GPUs, for each array whose elements ask for their places (by
    `_codes.element_places`), if all that becomes of it is element-wise, out of
    arguments of its shape and scalars. The rest is left to XLA, as are derivatives. If
    a scalar is made of the arrays themselves, as a trust ratio is, both compute these.

    Args:
      f: a function that returns a new carry and something else.
      carry: arrays that those of the new carry may replace in memory.
      args: arrays that are only read.
    """
    closed, shapes = jax.make_jaxpr(f, return_shape=True)(carry, *args)
    # What f has closed over is an argument, too, or its derivatives would be lost.
    n = len(closed.consts)
    operands = [*closed.consts, *jax.tree.leaves((carry, args))]
    flat = jax.make_jaxpr(lambda *xs: _inline(closed.jaxpr, xs[:n], xs[n:]))(*operands)
    program = _Program(flat, flat.jaxpr.invars[n : n + len(jax.tree.leaves(carry))])
    if not program.kernels or closed.jaxpr.effects:
        return f(carry, *args)

    def by_xla(*operands: Any) -> list[Any]:
        return eval_jaxpr(closed.jaxpr, operands[:n], *operands[n:])

    @jax.custom_jvp
    def compute(*operands: Any) -> list[Any]:
        if _interpreted:
            return program.run(*operands)
        return jax.lax.platform_dependent(*operands, cuda=program.run, default=by_xla)

    @compute.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return jax.jvp(by_xla, primals, tangents)

    # Outside of jit, a constant comes back as none of JAX's arrays.
    results = [jnp.asarray(x) for x in compute(*operands)]
    return jax.tree.unflatten(jax.tree.structure(shapes), results)


class _Kernel(NamedTuple):
    """A part of a program; its variables are those of the program."""

    equations: list[Any]
    operands: list[Any]  # scalars, and arrays of the outputs' shape
    outputs: list[Any]
    aliases: dict[int, int]  # from operands to the outputs that take their memory


class _Program:
    """A traced function without calls, its kernels, and all the rest.

    Args:
      closed: the function.
      carry: those of its inputs that its first outputs replace.
    """

    def __init__(self, closed: Any, carry: Sequence[Any]):
        self._closed, self._jaxpr = closed, closed.jaxpr
        equations = enumerate(self._jaxpr.eqns)
        self._maker = {v: i for i, eqn in equations for v in eqn.outvars}
        pairs: Any = zip(self._jaxpr.outvars, carry, strict=False)
        self._replaced = {
            new: old
            for new, old in pairs
            if new.aval.dtype == old.aval.dtype and isinstance(new, core.Var)
        }
        made = map(self._kernel, self._outputs_by_array())
        self.kernels = [kernel for kernel in made if kernel is not None]

    def run(self, *inputs: Any) -> list[Any]:
        """Return the outputs, by kernels and, what these do not compute, by XLA."""
        done = {v for kernel in self.kernels for v in kernel.outputs}
        needed = [v for v in _variables(self._jaxpr.outvars) if v not in done]
        needed += [v for kernel in self.kernels for v in kernel.operands]
        equations, _ = self._part(needed, lambda eqn: True)
        outside = self._jaxpr.replace(eqns=equations, outvars=needed)
        results = eval_jaxpr(outside, self._closed.consts, *inputs)
        values = dict(zip(needed, results, strict=True))
        for kernel in self.kernels:
            results = _call(kernel, [values[v] for v in kernel.operands])
            values.update(zip(kernel.outputs, results, strict=True))
        return [_read(v, values) for v in self._jaxpr.outvars]

    def _kernel(self, outputs: list[Any]) -> _Kernel | None:
        """Return the kernel that computes outputs of one shape, if it can be."""
        equations, operands, arrays = self._element_wise_part(outputs)
        wanted = any(map(_asks_for_places, equations))
        scalars = [v for v in operands if not v.aval.shape]
        whole = len(arrays) + len(scalars) == len(operands)
        if not (wanted and whole and set(arrays) <= set(self._jaxpr.invars)):
            return None
        aliases = {
            operands.index(self._replaced[v]): i
            for i, v in enumerate(outputs)
            if self._replaced.get(v) in arrays
        }
        return _Kernel(equations, operands, outputs, aliases)

    def _outputs_by_array(self) -> Iterable[list[Any]]:
        """Return together the outputs that are made of the same arrays."""
        joined: dict[Any, Any] = {}

        def root(v: Any) -> Any:
            while v in joined:
                v = joined[v]
            return v

        first: dict[Any, Any] = {}
        for output in dict.fromkeys(_variables(self._jaxpr.outvars)):
            aval = output.aval
            if aval.shape and aval.size <= _MAX_SIZE and not any(aval.sharding.spec):
                *_, arrays = self._element_wise_part([output])
                for v in arrays:
                    first.setdefault(output, v)
                    if root(v) is not root(arrays[0]):
                        joined[root(v)] = root(arrays[0])
        groups: dict[Any, list[Any]] = {}
        for output, v in first.items():
            groups.setdefault(root(v), []).append(output)
        return groups.values()

    def _element_wise_part(
        self, outputs: list[Any]
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """Return the last equations, as far as they are element-wise, and operands.

        Then those of the operands again that have the outputs' shape.
        """
        shape = outputs[0].aval.shape
        equations, operands = self._part(outputs, lambda e: _is_element_wise(e, shape))
        return equations, operands, [v for v in operands if v.aval.shape == shape]

    def _part(
        self, outputs: list[Any], belongs: Callable[[Any], bool]
    ) -> tuple[list[Any], list[Any]]:
        """Return the equations that lead to the outputs, and what they start from.

        Only those that belong to the part, back to the first that does not.
        """
        found: set[int] = set()
        operands: list[Any] = []
        left = list(dict.fromkeys(outputs))
        seen = set(left)
        while left:
            v = left.pop()
            i = self._maker.get(v)
            if i is None or not belongs(self._jaxpr.eqns[i]):
                operands.append(v)
            elif i not in found:
                found.add(i)
                for x in _variables(self._jaxpr.eqns[i].invars):
                    if x not in seen:
                        seen.add(x)
                        left.append(x)
        return [self._jaxpr.eqns[i] for i in sorted(found)], operands


def _call(kernel: _Kernel, values: list[Any]) -> list[jax.Array]:
    """Run a kernel on all blocks of its arrays."""
    from jax.experimental import pallas as pl  # slow to import, seldom needed
    from jax.experimental.pallas import triton

    shape, size = kernel.outputs[0].aval.shape, kernel.outputs[0].aval.size

    def compressed_step(*refs: Any) -> None:
        places = pl.program_id(0) * BLOCK + jax.lax.iota(jnp.int32, BLOCK)
        inside = places < size
        blocks = {
            v: triton.load(ref, mask=inside) if v.aval.shape else ref[0]
            for v, ref in zip(kernel.operands, refs, strict=False)
        }
        for eqn in kernel.equations:
            blocks[eqn.outvars[0]] = _evaluate(eqn, blocks, places)
        for v, ref in zip(kernel.outputs, refs[len(values) :], strict=True):
            triton.store(ref, blocks[v], mask=inside)

    block = pl.BlockSpec((BLOCK,), lambda i: (i,))
    scalar = pl.BlockSpec((1,), lambda i: (0,))
    results = pl.pallas_call(
        compressed_step,
        grid=(pl.cdiv(size, BLOCK),),
        in_specs=[block if v.aval.shape else scalar for v in kernel.operands],
        out_specs=[block] * len(kernel.outputs),
        out_shape=[
            # Within shard_map, types say along which axes of the mesh values vary.
            jax.ShapeDtypeStruct.like(v.aval).update(shape=(size,), sharding=None)
            for v in kernel.outputs
        ],
        input_output_aliases=kernel.aliases,
        compiler_params=triton.CompilerParams(num_warps=_WARPS),
        interpret=_interpreted,
    )(*map(jnp.ravel, values))
    return [x.reshape(shape) for x in results]


def _evaluate(eqn: Any, blocks: dict[Any, Any], places: jax.Array) -> Any:
    """Return what an element-wise equation makes of blocks."""
    name, dtype = eqn.primitive.name, eqn.outvars[0].aval.dtype
    if _asks_for_places(eqn):
        return places.astype(dtype)
    xs = [_read(v, blocks) for v in eqn.invars]
    if name == "bitcast_convert_type":
        return eqn.primitive.bind(*xs, **eqn.params)
    if name == "broadcast_in_dim":
        return jnp.broadcast_to(jnp.asarray(xs[0], dtype), places.shape)
    if name in ("copy", "pvary"):
        return xs[0]
    # Short floats are computed in float32, as by XLA: not all of Pallas takes them.
    xs = [
        jnp.asarray(x, jnp.float32) if _is_short(v.aval.dtype) else x
        for x, v in zip(xs, eqn.invars, strict=True)
    ]
    result = eqn.primitive.bind(*xs, **eqn.params)
    if name in ("max", "min") and jnp.issubdtype(dtype, jnp.floating):
        # Of a number and NaN, a GPU's own max and min return the number.
        for x in xs:
            if isinstance(x, jax.Array):
                result = jnp.where(x != x, x, result)
    return result.astype(dtype)


def _is_element_wise(eqn: Any, shape: tuple[int, ...]) -> bool:
    """Return whether a kernel can make an array of the shape by this equation."""
    if any(v.aval.shape != shape for v in eqn.outvars):
        return False
    if _asks_for_places(eqn):
        return True
    for v in eqn.invars:
        # Constant arrays, too, would have to be cut to blocks.
        if v.aval.shape not in ((), () if isinstance(v, core.Literal) else shape):
            return False
    return eqn.primitive.name in _ELEMENT_WISE


def _asks_for_places(eqn: Any) -> bool:
    return eqn.params.get("name") == _PLACES and not eqn.invars


def _is_short(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32


def _inline(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """Evaluate a program; the trace of this has no calls, but for places."""
    values = dict(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        inner = eqn.params.get(_CALLS.get(eqn.primitive.name))
        if inner is None or _asks_for_places(eqn):
            # The equation alone, as some primitives cannot simply be bound again.
            needed = list(dict.fromkeys(_variables(eqn.invars)))
            one = jaxpr.replace(
                constvars=[], invars=needed, eqns=[eqn], outvars=eqn.outvars
            )
            results = eval_jaxpr(one, (), *(values[v] for v in needed))
        else:
            xs = [_read(v, values) for v in eqn.invars]
            results = _inline(inner.jaxpr, inner.consts, xs)
        values.update(zip(eqn.outvars, results, strict=True))
    return [_read(v, values) for v in jaxpr.outvars]


def _variables(atoms: Iterable[Any]) -> list[Any]:
    return [v for v in atoms if isinstance(v, core.Var)]


def _read(v: Any, values: dict[Any, Any]) -> Any:
    return v.val if isinstance(v, core.Literal) else values[v]
