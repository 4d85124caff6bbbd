"""Transformations and diagnostics in shard_map, on explicit meshes and with x64."""

import contextlib
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from padam_optax import diagnostics, padam
from padam_optax.contrib import adagrad_norm, santa
from padam_optax.experimental import pack_small_leaves, quantize_state
from padam_optax.projections import affine, box, l1_ball, l2_ball, projected, simplex
from padam_optax.state import reset_max_at, second_moment
from tests.conftest import enable_x64
from tests.marks import fast
from tests.meshes import set_mesh


def onto(constraint, **settings):
    return projected(padam(0.1), constraint, p=0.125, **settings)


OPTIMIZERS = {
    "padam": padam(0.1),
    "adagrad_norm": adagrad_norm(0.1),
    "adagrad_norm per leaf": adagrad_norm(0.1, per_leaf=True),
    "santa": santa(0.01, 10, 1, 0),
    "box": onto(box(-0.1, 0.1)),
    "simplex": onto(simplex()),
    "simplex, whole tree": onto(simplex(), whole_tree=True),
    "l1_ball": onto(l1_ball(1.0)),
    "l2_ball, whole tree": onto(l2_ball(1.0), whole_tree=True),
    "8-bit": quantize_state(padam(0.1), min_size=0),
    "16-bit": quantize_state(padam(0.1), "16-bit", min_size=0),
    "packed": pack_small_leaves(padam(0.1)),
    "reset": reset_max_at(padam(0.1), [1]),
    "distance": optax.chain(diagnostics.keep_initial_params(), padam(0.1)),
}
every_optimizer = pytest.mark.parametrize(
    # One that has a norm, and one that has a constraint.
    "name",
    fast(OPTIMIZERS, "adagrad_norm", "simplex"),
)
zeros_have_types = pytest.mark.skipif(
    jax.__version_info__ < (0, 7),
    reason="zeros_like of JAX 0.6 drops varying axes and shardings, in any state",
)
MESHES = {"x": ((4,), P("x")), "x and y": ((4, 2), P("x", "y"))}
every_mesh = pytest.mark.parametrize("mesh", fast(MESHES, "x and y"))


def make_mesh(name, kind=AxisType.Auto):
    shape, spec = MESHES[name]
    axes = ("x", "y")[: len(shape)]
    return jax.make_mesh(shape, axes, axis_types=(kind,) * len(shape)), spec


def make_params(*shape):
    values = np.random.default_rng(0).normal(size=(*shape, 2)).astype(np.float32)
    return {"a": jnp.asarray(values[..., 0]), "b": jnp.asarray(values[..., 1])}


def gradients(params):
    return jax.tree.map(lambda x: jnp.cos(5 * x), params)


def train(opt, params):
    """Two steps in a scan, from an init in the same place."""

    def step(carry, _):
        params, state = carry
        u, state = opt.update(gradients(params), state, params)
        return (optax.apply_updates(params, u), state), None

    return jax.lax.scan(step, (params, opt.init(params)), length=2)[0][0]


def map_shards(f, tree, mesh):
    """Return f of each device's shards alone, put together again."""
    rows, columns = (4, 2) if mesh == "x and y" else (4, 1)

    def shard(x, i, j):
        return np.split(np.split(np.asarray(x), rows)[i], columns, axis=1)[j]

    parts = [
        [
            f(jax.tree.map(lambda x, i=i, j=j: shard(x, i, j), tree))
            for j in range(columns)
        ]
        for i in range(rows)
    ]

    def join(*pieces):
        return np.block(
            [list(pieces[i : i + columns]) for i in range(0, len(pieces), columns)]
        )

    return jax.tree.map(join, *[part for row in parts for part in row])


close = functools.partial(chex.assert_trees_all_close, rtol=1e-4, atol=1e-6)

# --- Inside of shard_map, with its check of varying axes ----------------------------


def check_shard_map(name, mesh):
    """Steps of a sharded tree and, in the same program, of a replicated one."""
    run = functools.partial(train, OPTIMIZERS[name])
    params = make_params(8, 6)
    devices, spec = make_mesh(mesh)
    columns = 3 if mesh == "x and y" else 6
    shard = jax.tree.map(lambda x: x[:2, :columns], params)
    both = jax.shard_map(
        lambda sharded, replicated: (run(sharded), run(replicated)),
        mesh=devices,
        in_specs=(spec, P()),
        out_specs=(spec, P()),
    )
    sharded, replicated = jax.jit(both)(params, shard)
    alone = jax.jit(run)
    close(sharded, map_shards(alone, params, mesh))
    close(replicated, alone(shard))


@zeros_have_types
@every_optimizer
def test_shard_map_steps_in_each_shard_as_if_it_were_alone(name):
    check_shard_map(name, "x and y")


@zeros_have_types
@pytest.mark.parametrize(
    "name", fast(["adagrad_norm", "simplex", "8-bit"], "adagrad_norm")
)
def test_shard_map_over_one_axis_does_so_too(name):
    check_shard_map(name, "x")


@every_mesh
@pytest.mark.parametrize("per_leaf", [False, True])
def test_a_norm_may_span_the_devices(mesh, per_leaf):
    """Of a sharded and a replicated leaf, with the numbers of the whole."""
    devices, spec = make_mesh(mesh)
    axes = devices.axis_names
    params = make_params(8, 6)
    opt = adagrad_norm(0.1, per_leaf=per_leaf, axis_name=axes)
    specs = {"a": spec, "b": P()}
    run = functools.partial(train, opt)
    sharded = jax.shard_map(run, mesh=devices, in_specs=(specs,), out_specs=specs)
    plain = adagrad_norm(0.1, per_leaf=per_leaf)
    expected = jax.jit(functools.partial(train, plain))(params)
    close(jax.jit(sharded)(params), expected)
    unchecked = jax.shard_map(
        run, mesh=devices, in_specs=(spec,), out_specs=spec, check_vma=False
    )
    close(jax.jit(unchecked)(params), expected)


def diagnose(params, axis_name=None):
    """All diagnostics after two steps, as one tree of scalars and vectors."""
    opt = optax.chain(diagnostics.keep_initial_params(), padam(0.1, b2=0.5))
    state, states = opt.init(params), []
    for _ in range(3):
        u, state = opt.update(gradients(params), state, params)
        params = optax.apply_updates(params, u)
        states.append(state)
    rates = [
        diagnostics.effective_learning_rates(s, rate, 0.125)
        for s, rate in zip(states[:2], [0.1, 0.11], strict=True)
    ]
    v = second_moment(state)
    kwargs = {"axis_name": axis_name}
    return [
        diagnostics.tree_quantiles(v, **kwargs),
        diagnostics.spread_in_decades(v, **kwargs),
        diagnostics.median_root_nu(state, **kwargs),
        diagnostics.fraction_where_max_active(state, **kwargs),
        diagnostics.fraction_of_increased_lrs(*rates, **kwargs),
        diagnostics.distance_from_start(state, params, **kwargs),
        *jax.tree.leaves(diagnostics.tree_quantiles(v, per_leaf=True, **kwargs)),
        *jax.tree.leaves(
            diagnostics.distance_from_start(state, params, per_leaf=True, **kwargs)
        ),
    ]


@zeros_have_types
@every_mesh
def test_diagnostics_may_span_the_devices(mesh):
    devices, spec = make_mesh(mesh)
    params, axes = make_params(8, 6), devices.axis_names
    expected = jax.jit(diagnose)(params)
    run = functools.partial(diagnose, axis_name=axes)
    mixed = {"a": spec, "b": P()}
    sharded = jax.shard_map(run, mesh=devices, in_specs=(mixed,), out_specs=P())
    close(jax.jit(sharded)(params), expected)
    unchecked = jax.shard_map(
        run, mesh=devices, in_specs=(spec,), out_specs=P(), check_vma=False
    )
    close(jax.jit(unchecked)(params), expected)


@pytest.mark.slow
@zeros_have_types
@every_mesh
def test_diagnostics_without_an_axis_see_the_shard(mesh):
    devices, spec = make_mesh(mesh)
    params = make_params(8, 6)

    def run(params):
        return [jnp.reshape(x, (1, -1)) for x in diagnose(params)]

    sharded = jax.shard_map(run, mesh=devices, in_specs=spec, out_specs=spec)
    close(jax.jit(sharded)(params), map_shards(jax.jit(run), params, mesh))


# --- On a mesh with explicit axes ---------------------------------------------------


EXPLICIT = {
    **OPTIMIZERS,
    "affine": onto(affine(np.eye(2, 48), [0.1, 0.2]), mask={"a": True, "b": False}),
    "l1_ball, whole tree": onto(l1_ball(1.0), whole_tree=True),
    "own constraint": onto(lambda y, d: jnp.sort(y.ravel()).reshape(y.shape)),
}


def written_types(tree):
    """Return the types with their shardings, as in float32[8@x,6@y]."""
    return jax.tree.map(lambda x: str(jax.typeof(x)), tree)


def check_explicit_mesh(name, in_context):
    opt = EXPLICIT[name]
    mesh, spec = make_mesh("x and y", AxisType.Explicit)
    params = {**make_params(8, 6), "b": make_params(8)["b"]}
    places = {"a": NamedSharding(mesh, spec), "b": NamedSharding(mesh, P("x"))}
    placed = jax.device_put(params, places)

    @jax.jit
    def step(params):
        state = opt.init(params)
        u, after = opt.update(gradients(params), state, params)
        if in_context:  # else JAX 0.12 gives zeros no sharding, in Optax's states, too
            assert written_types(state) == written_types(after)
        return u

    with set_mesh(mesh) if in_context else contextlib.nullcontext():
        actual = step(placed)
    close(jax.device_get(actual), jax.device_get(step(params)))
    assert all(actual[key].sharding == places[key] for key in places)


@zeros_have_types
@pytest.mark.parametrize("name", fast(EXPLICIT, "padam", "simplex"))
def test_an_explicit_mesh_has_the_numbers_of_one_device(name):
    check_explicit_mesh(name, in_context=True)


@zeros_have_types
@pytest.mark.parametrize("name", fast(["simplex", "packed"], "packed"))
def test_an_explicit_mesh_need_not_be_the_context(name):
    check_explicit_mesh(name, in_context=False)


@pytest.mark.slow
@zeros_have_types
def test_diagnostics_on_an_explicit_mesh_have_the_numbers_of_one_device():
    mesh, spec = make_mesh("x and y", AxisType.Explicit)
    params = {**make_params(8, 6), "b": make_params(8)["b"]}
    places = {"a": NamedSharding(mesh, spec), "b": NamedSharding(mesh, P("x"))}
    actual = jax.jit(diagnose)(jax.device_put(params, places))
    close(jax.device_get(actual), jax.device_get(jax.jit(diagnose)(params)))


# --- In 64-bit mode -----------------------------------------------------------------


@every_optimizer
def test_64_bit_mode_keeps_every_dtype_and_the_numbers_of_narrow_leaves(name):
    opt = OPTIMIZERS[name]
    whole = "whole tree" in name or name == "adagrad_norm"

    @jax.jit
    def run(params):
        state = opt.init(params)
        u, after = opt.update(params, state, params)
        assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, after)
        chex.assert_trees_all_equal_shapes_and_dtypes(u, params)
        return u

    values = make_params(4, 3)["a"]
    narrow = {"f": values, "h": values.astype(jnp.bfloat16)}
    expected = run(narrow)
    with enable_x64(True):
        wide = {} if whole else {"w": jnp.asarray(values, jnp.float64)}
        actual = run({**narrow, **wide})
        jax.eval_shape(run, {**narrow, "w": jnp.asarray(values, jnp.float64)})
    if name != "santa":  # whose noise depends on the precision
        close({key: actual[key] for key in narrow}, expected)
