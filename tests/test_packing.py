"""Packed leaves: what is packed, and that the numbers are those of the inner."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from padam_optax import padam, padamw
from padam_optax.contrib import adagrad_norm
from padam_optax.experimental import PackedLeaves, pack_small_leaves
from tests.marks import fast
from tests.meshes import set_mesh


def decays(params):
    return jax.tree.map(lambda x: x.ndim > 1, params)


INNERS = {
    "padamw": lambda: padamw(0.1, weight_decay=0.1, mask=decays),
    "momentum": lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adagrad_norm": lambda: adagrad_norm(0.1),
}
every_inner = pytest.mark.parametrize("name", INNERS)


def numbers(*shape, seed=0, dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def mixed_tree():
    """Two full buffers and a rest, other shapes and dtypes, and all that stays."""
    return {
        "biases": [numbers(3, seed=k) for k in range(70)],
        "half": [numbers(3, seed=k, dtype=jnp.bfloat16) for k in range(33)],
        "kernel": numbers(50, 2),
        "kernels": {f"k{k}": numbers(3, 2, seed=k) for k in range(32)},
        "scalars": tuple(numbers(seed=k) for k in range(32)),
        "complex": [numbers(3, seed=k, dtype=jnp.complex64) for k in range(32)],
        "empty": [jnp.zeros((0, 3))] * 40,
        "none": None,
    }


def gradients(params, t):
    return jax.tree.map(lambda x: (jnp.cos(x * (t + 1)) + 0.3).astype(x.dtype), params)


def train(opt, params, steps=2, state=None):
    """Return the parameters, the last updates and the state."""

    @jax.jit
    def step(params, state, t):
        u, state = opt.update(gradients(params, t), state, params)
        return optax.apply_updates(params, u), u, state

    state = opt.init(params) if state is None else state
    u = None
    for t in range(steps):
        params, u, state = step(params, state, t)
    return params, u, state


def biases(n=32):
    return [numbers(4, seed=k) for k in range(n)]


def check_equal_to_plain(opt, plain, params):
    for actual, expected in zip(
        train(opt, params)[:2], train(plain, params)[:2], strict=True
    ):
        chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
        chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-6)


# --- What it computes --------------------------------------------------------------


@pytest.mark.slow
@every_inner
@pytest.mark.usefixtures("standard_promotion")  # Optax's own need it
def test_steps_are_those_of_the_wrapped_transformation(name):
    params = {"b": biases(33), "k": [numbers(2, 2, seed=k) for k in range(32)]}
    params["large"], params["none"] = numbers(100, 50), None
    check_equal_to_plain(pack_small_leaves(INNERS[name]()), INNERS[name](), params)


def test_one_update_is_equal_bit_for_bit():
    mixed = mixed_tree()
    params = {key: mixed[key] for key in ("biases", "half", "kernel")}
    # At p = 1/2 all operations are rounded correctly, in arrays of every size.
    opt = padam(0.1, p=0.5)
    packed = pack_small_leaves(opt)
    actual, _ = packed.update(params, packed.init(params), params)
    expected, _ = opt.update(params, opt.init(params), params)
    chex.assert_trees_all_equal(actual, expected)


def test_buffers_hold_whole_groups_of_one_shape_and_dtype():
    def buffers(max_size, mask=None):
        tree = mixed_tree()
        opt = pack_small_leaves(padam(0.1), max_size, mask)
        mu = optax.tree.get(jax.eval_shape(opt.init, tree), "mu")
        if not isinstance(mu, PackedLeaves):
            chex.assert_trees_all_equal_structs(mu, tree)
            return []
        return [(x.dtype.name, x.shape) for x in mu.buffers]

    bias, scalar = ("float32", (96,)), ("float32", (32,))
    half, imaginary = ("bfloat16", (96,)), ("complex64", (96,))
    kernel = ("float32", (96, 2))
    assert sorted(buffers(6)) == sorted([bias, bias, half, imaginary, kernel, scalar])
    assert sorted(buffers(5)) == sorted([bias, bias, half, imaginary, scalar])
    assert buffers(2) == [scalar]
    assert buffers(6, False) == []
    only_halves = {key: key == "half" for key in mixed_tree()}
    assert buffers(6, only_halves) == [half]
    assert buffers(6, lambda tree: {key: key == "half" for key in tree}) == [half]


def test_leaves_that_cannot_be_differentiated_stay():
    params = {"steps": [jnp.arange(3)] * 32, "w": biases()}
    opt = pack_small_leaves(optax.trace(2))
    u, state = opt.update(params, opt.init(params))
    chex.assert_trees_all_equal(u, params)
    assert len(optax.tree.get(state, "trace").kept) == 32


def test_parameters_name_the_groups_where_gradients_have_other_dtypes():
    params = {"a": biases(40), "b": optax.tree.cast(biases(40), jnp.bfloat16)}
    g = optax.tree.cast(params, jnp.bfloat16)
    opt = padam(0.1, p=0.5)
    packed = pack_small_leaves(opt)
    state = packed.init(params)
    u, after = packed.update(g, state, params)
    chex.assert_trees_all_equal(u, opt.update(g, opt.init(params), params)[0])
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)


def test_gradients_of_one_buffer_may_have_different_dtypes():
    params, opt = biases(40), padam(0.1, p=0.5)
    g = [x.astype(jnp.bfloat16 if i % 2 else x.dtype) for i, x in enumerate(params)]
    packed = pack_small_leaves(opt)
    state = packed.init(params)
    u, after = packed.update(g, state, params)
    chex.assert_trees_all_equal(u, opt.update(g, opt.init(params), params)[0])
    chex.assert_trees_all_equal_shapes_and_dtypes(u, g)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)


def test_gradients_suffice_without_parameters():
    params, opt = biases(), pack_small_leaves(padam(0.1))
    u, _ = opt.update(params, opt.init(params))
    chex.assert_trees_all_equal(u, opt.update(params, opt.init(params), params)[0])


@pytest.mark.parametrize("params", [{}, None, (), {"a": None}, jnp.ones(3), 2.0])
def test_trees_with_nothing_to_pack_are_passed_through(params):
    opt, plain = pack_small_leaves(padam(0.1)), padam(0.1)
    chex.assert_trees_all_equal(opt.init(params), plain.init(params))
    u, _ = opt.update(params, opt.init(params), params)
    chex.assert_trees_all_equal(u, plain.update(params, plain.init(params))[0])


def test_extra_arguments_reach_the_wrapped_transformation():
    opt = pack_small_leaves(optax.scale_by_polyak())
    params = biases()
    u, _ = opt.update(params, opt.init(params), params, value=jnp.float32(2))
    norm = sum(float(jnp.sum(x**2)) for x in params)
    np.testing.assert_allclose(u[5], params[5] * 2 / norm, rtol=1e-5)


# --- Its errors --------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1.5, math.inf, math.nan])
def test_only_whole_sizes_of_at_least_one_are_accepted(size):
    with pytest.raises(ValueError, match="max_size must be a whole number .* got"):
        pack_small_leaves(padam(0.1), size)


def test_a_packed_leaf_needs_a_gradient():
    params, opt = {"w": biases()}, pack_small_leaves(padam(0.1))
    g = {"w": [*params["w"][:-1], None]}
    with pytest.raises(
        ValueError, match=r"updates\['w'\]\[31\] must be an array.*mask"
    ):
        opt.update(g, opt.init(params), params)


# --- With the wrappers of Optax ----------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
def test_other_wrappers_may_be_inside():
    params = {"a": biases(32), "b": biases(2), "k": numbers(4, 4)}
    for inner in (
        optax.masked(padam(0.1), decays),
        optax.inject_hyperparams(optax.sgd)(0.1),
        optax.MultiSteps(padam(0.1), 2).gradient_transformation(),
    ):
        check_equal_to_plain(pack_small_leaves(inner), inner, params)


def test_map_params_finds_kept_and_packed():
    opt = pack_small_leaves(padam(0.1))
    state = opt.init({"w": biases(33)})
    marked = optax.tree.map_params(opt, lambda x: x.shape, state)
    mu = optax.tree.get(marked, "mu")
    assert mu == PackedLeaves(kept=((4,),), buffers=((128,),))


def test_shardings_of_a_packed_state_are_those_of_one_from_placed_parameters():
    mesh = jax.make_mesh((8,), ("x",), axis_types=(AxisType.Auto,))
    placed = {
        "w": jax.device_put(biases(32), NamedSharding(mesh, P())),
        "large": jax.device_put(numbers(800, 10), NamedSharding(mesh, P("x"))),
    }
    opt = pack_small_leaves(padam(0.1))
    state = opt.init(placed)
    shardings = jax.tree.map(lambda x: x.sharding, state)
    mu = optax.tree.get(shardings, "mu")
    assert mu.kept[0].spec == P("x")
    assert mu.buffers[0].is_fully_replicated
    restored = jax.device_put(jax.device_get(state), shardings)
    assert jax.tree.map(lambda x: x.sharding, restored) == shardings
    specs = jax.tree.map(lambda x: x.sharding.spec, placed)
    with pytest.raises(ValueError):  # of Optax: the state is no tree like params
        optax.tree_map_params(opt, lambda x, spec: spec, state, specs)


# --- Its state ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
def test_weakly_typed_leaves_share_a_buffer_with_others_step_after_step():
    params = [jnp.asarray(1.0)] * 16 + [jnp.float32(1.0)] * 16
    opt = pack_small_leaves(optax.adam(0.1))
    assert len(optax.tree.get(opt.init(params), "mu").buffers) == 1
    check_equal_to_plain(opt, optax.adam(0.1), params)


# --- On eight devices --------------------------------------------------------------


def compiled(opt, params, state):
    program = jax.jit(opt.update).lower(params, state, params).compile()
    return program.as_text() or ""


def has_collective(program):
    names = ("all-reduce", "all-gather", "all-to-all", "collective-permute")
    return any(name in program for name in names)


@pytest.mark.parametrize(
    "kind", fast([AxisType.Auto, AxisType.Explicit], AxisType.Explicit)
)
def test_sharded_large_and_packed_small_leaves_need_no_communication(kind):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(kind,))
    params = {"w": biases(32), "k": [numbers(8, 4) for _ in range(32)]}
    places = {"w": NamedSharding(mesh, P()), "k": NamedSharding(mesh, P("x"))}
    placed = {key: jax.device_put(params[key], places[key]) for key in params}
    opt = pack_small_leaves(padam(0.1), max_size=16)
    with set_mesh(mesh):
        state = opt.init(placed)
        u, _ = jax.jit(opt.update)(placed, state, placed)
        assert not has_collective(compiled(opt, placed, state))
    assert len(optax.tree.get(state, "mu").buffers) == 1
    assert all(x.sharding.is_equivalent_to(places["k"], 2) for x in u["k"])
    expected, _ = opt.update(params, opt.init(params), params)
    chex.assert_trees_all_close(jax.device_get(u), jax.device_get(expected), rtol=1e-5)


@pytest.mark.slow
def test_small_sharded_leaves_stay_or_are_to_be_left_out():
    leaves = [numbers(8, seed=k) for k in range(64)]

    def place(kind):
        mesh = jax.make_mesh((8,), ("x",), axis_types=(kind,))
        sharded = jax.device_put(leaves[:32], NamedSharding(mesh, P("x")))
        return mesh, sharded + jax.device_put(leaves[32:], NamedSharding(mesh, P()))

    mesh, params = place(AxisType.Auto)
    opt = pack_small_leaves(padam(0.1))
    with pytest.raises(ValueError, match=r"params\[0\] must not be sharded.*mask="):
        opt.init(params)
    mask = jax.tree.map(lambda x: x.sharding.is_fully_replicated, params)
    masked = pack_small_leaves(padam(0.1), mask=mask)
    state = jax.jit(masked.init)(params)
    assert not has_collective(compiled(masked, params, state))
    assert len(optax.tree.get(state, "mu").kept) == 32

    mesh, params = place(AxisType.Explicit)
    with set_mesh(mesh):
        state = opt.init(params)
        assert not has_collective(compiled(opt, params, state))
    assert len(optax.tree.get(state, "mu").kept) == 32


# --- What it is for ----------------------------------------------------------------


def test_kernels_of_many_leaves_are_few():
    params, opt = [jnp.ones(64)] * 320, pack_small_leaves(padam(0.1))
    program = compiled(opt, params, opt.init(params))
    wide = [line for line in program.splitlines() if "concatenate(" in line]
    assert all(line.count("f32[64]") <= 33 for line in wide)
    assert program.count("rsqrt(") <= 2 * 320 // 32
