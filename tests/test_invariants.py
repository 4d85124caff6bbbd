"""Every optimizer and wrapper against every property that Optax asks of its own."""

import functools
import io
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import padam_optax
from tests.marks import fast
from tests.optimizers import (
    TABLE,
    build,
    every_optimizer,
    make_gradients,
    make_params,
    make_small_params,
    run,
    step,
    types,
    with_property,
)

# Where the decay is scheduled, Optax mixes dtypes.
pytestmark = pytest.mark.usefixtures("standard_promotion")

close = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-6)

# --- The state ---------------------------------------------------------------------


@every_optimizer
@pytest.mark.parametrize(
    "dtype", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.complex64]
)
def test_state_keeps_its_types_and_updates_follow_the_gradients(name, dtype):
    if dtype == jnp.complex64 and "complex" in TABLE[name].lacks:
        pytest.skip("it has no complex parameters")
    opt, params = build(name), make_params(name, dtype)
    state = jax.eval_shape(opt.init, params)
    u, after = jax.eval_shape(opt.update, params, state, params)
    chex.assert_trees_all_equal_structs(state, after)
    assert types(state) == types(after)
    chex.assert_trees_all_equal_shapes_and_dtypes(u, params)


@with_property("float32")
def test_second_moments_are_at_least_float32(name):
    state = jax.eval_shape(build(name).init, make_params(name, jnp.bfloat16))
    for key in ("nu", "nu_max"):
        for _, tree in optax.tree.get_all_with_path(state, key):
            assert {x.dtype for x in jax.tree.leaves(tree)} == {jnp.dtype("float32")}


@every_optimizer
def test_map_params_finds_every_copy_of_the_parameters(name):
    opt, params = build(name), make_params(name)
    state = jax.eval_shape(opt.init, params)
    sizes = optax.tree.map_params(
        opt, lambda x: x.size, state, transform_non_params=lambda _: 0
    )
    numbers = 1 if name == "adagrad_norm, per leaf" else None  # a scalar for a leaf
    expected = sum(numbers or x.size for x in jax.tree.leaves(params))
    assert sum(jax.tree.leaves(sizes)) == TABLE[name].copies * expected


@every_optimizer
def test_state_survives_pickle_and_numpys_files_bit_for_bit(name):
    state = run(name).state
    restored = pickle.loads(pickle.dumps(jax.tree.map(jnp.asarray, state)))
    chex.assert_trees_all_equal_structs(restored, state)
    chex.assert_trees_all_equal(restored, state)
    leaves = [x for x in jax.tree.leaves(state) if x.dtype != jnp.bfloat16]
    file = io.BytesIO()
    np.savez(file, *leaves)
    file.seek(0)
    for old, new in zip(leaves, np.load(file).values(), strict=True):
        np.testing.assert_array_equal(old, new)


@every_optimizer
def test_init_accepts_abstract_parameters(name):
    opt, params = build(name), make_params(name)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    expected = jax.eval_shape(opt.init, params)
    actual = jax.jit(lambda: opt.init(shapes))()
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)


@every_optimizer
def test_trees_of_any_kind_are_accepted(name):
    opt, params = build(name), make_params(name)
    for tree in ((params, None), [params]):
        state = jax.eval_shape(opt.init, tree)
        u, after = jax.eval_shape(opt.update, tree, state, tree)
        chex.assert_trees_all_equal_structs(u, tree)
        chex.assert_trees_all_equal_structs(state, after)


# --- Under the transformations of JAX ----------------------------------------------


@every_optimizer
def test_one_trace_serves_all_steps(name):
    assert run(name).traces == 1


@with_property("eager")
def test_jit_changes_no_number(name):
    opt, params = build(name), make_small_params(name)
    params, state = step(opt, params, opt.init(params), 0.0)
    actual = jax.jit(functools.partial(step, opt))(params, state, 1.0)
    close(actual, step(opt, params, state, 1.0))


@with_property("loop")
def test_scan_and_vmap_give_the_numbers_of_a_loop_that_donates(name):
    opt = build(name)

    def scan(params):
        carry = (params, opt.init(params))
        return jax.lax.scan(
            lambda carry, t: (step(opt, *carry, t), None), carry, jnp.arange(4.0)
        )[0]

    models = [make_small_params(name, factor) for factor in (1.0, 2.0)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *models)
    batched = jax.tree.map(np.asarray, jax.jit(jax.vmap(scan))(stacked))
    for i, factor in enumerate((1.0, 2.0)):
        actual = jax.tree.map(lambda x, i=i: x[i], batched)
        close(actual, tuple(run(name, factor)[:2]))


@every_optimizer
def test_reverse_mode_through_steps_is_finite(name):
    opt = build(name)

    @jax.jit
    @jax.grad
    def slope(params):
        after, _ = step(opt, *step(opt, params, opt.init(params), 0.0), 1.0)
        return optax.tree.norm(after, squared=True)

    assert all(
        np.isfinite(x).all() for x in jax.tree.leaves(slope(make_small_params(name)))
    )


# --- On eight devices --------------------------------------------------------------


def test_pmap_gives_every_replica_the_numbers_of_one_device():
    params = {"w": jnp.linspace(-1.0, 1.0, 8)}  # for all optimizers in one program
    opts = {name: build(name) for name in TABLE}

    def update(params, states, shift):
        g = jax.tree.map(lambda x: jnp.cos(x) + shift, params)
        g = jax.lax.pmean(g, "devices") if shift.ndim == 0 else g
        return {name: opts[name].update(g, states[name], params)[0] for name in opts}

    states = {name: jax.jit(opt.init)(params) for name, opt in opts.items()}
    replicated = jax.pmap(update, "devices", in_axes=(None, None, 0))(
        params, states, jnp.arange(8.0)
    )
    expected = jax.jit(update)(params, states, jnp.full(8, 3.5))
    for device in range(8):
        close(jax.tree.map(lambda x, d=device: x[d], replicated), expected)


@with_property("sharded")
def test_sharded_moments_stay_with_their_parameter_and_need_no_communication(name):
    opt = build(name)
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = NamedSharding(mesh, P(None, "x"))
    whole = {"w": np.arange(32.0, dtype=np.float32).reshape(4, 8)}
    params = jax.device_put(whole, sharding)
    state = opt.init(params)
    compiled = jax.jit(opt.update).lower(params, state, params).compile()
    u, after = compiled(params, state, params)
    for leaf in jax.tree.leaves((state, u, after)):
        assert leaf.ndim == 0 or leaf.sharding.is_equivalent_to(sharding, 2)
    program = compiled.as_text() or ""
    for collective in ("all-reduce", "all-gather", "all-to-all", "collective-permute"):
        assert collective not in program
    alone = jax.device_put(whole)
    expected, _ = jax.jit(opt.update)(alone, jax.jit(opt.init)(alone), alone)
    close(jax.device_get(u), jax.device_get(expected))


# --- With the wrappers of Optax ----------------------------------------------------


@every_optimizer
def test_wrappers_of_optax_find_each_group_as_if_alone_and_skip_bad_steps(name):
    opt, params = build(name), make_params(name)
    labels = jax.tree.map(lambda x: "a" if x.ndim == 2 and x.size else "b", params)
    groups = optax.multi_transform({"a": opt, "b": optax.sgd(1.0)}, labels)
    averaged = optax.MultiSteps(groups, 2).gradient_transformation()
    wrapped = optax.apply_if_finite(averaged, 3)
    g = make_gradients(params, 0)
    bad = jax.tree.map(lambda x: x * np.nan, g)
    update = jax.jit(wrapped.update)
    state = jax.jit(wrapped.init)(params)
    for gradient in (bad, g, bad):
        u, state = update(gradient, state, params)
        chex.assert_trees_all_equal(u, optax.tree.zeros_like(params))
    u, _ = update(g, state, params)
    chex.assert_trees_all_close(
        u["layer"]["bias"], optax.tree.scale(-1, g["layer"]["bias"])
    )
    alone, g_alone = ({"layer": {"kernel": x["layer"]["kernel"]}} for x in (params, g))
    expected, _ = jax.jit(opt.update)(g_alone, jax.jit(opt.init)(alone), alone)
    chex.assert_trees_all_close(
        u["layer"]["kernel"], expected["layer"]["kernel"], rtol=1e-4, atol=1e-6
    )


@with_property("extra")
def test_extra_arguments_are_ignored(name):
    opt, params = build(name), make_params(name)

    def update(g, state, params):
        return opt.update(g, state, params, value=1.0, unheard_of="x")

    jax.eval_shape(update, params, jax.eval_shape(opt.init, params), params)


@every_optimizer
def test_the_learning_rate_can_be_injected(name):
    injected = optax.inject_hyperparams(TABLE[name].make)(0.05)
    params = make_params(name)
    state = jax.eval_shape(injected.init, params)
    u, after = jax.eval_shape(injected.update, params, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(u, params)
    assert types(state) == types(after)


@pytest.mark.parametrize(
    "make", fast([padam_optax.padam, padam_optax.padamw], padam_optax.padamw)
)
def test_injected_hyperparameters_give_the_same_numbers(make):
    params = {"w": jnp.linspace(-1.0, 1.0, 8)}
    plain, injected = make(0.05), optax.inject_hyperparams(make)(0.05)
    state = injected.init(params)
    actual, _ = jax.jit(injected.update)(params, state, params)
    expected, _ = jax.jit(plain.update)(params, plain.init(params), params)
    # b2 = 0.999 is rounded to float32 before 1 - b2 is taken: off by 1e-5.
    chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-5)
    assert {"learning_rate", "b1", "b2", "eps", "p"} <= set(state.hyperparams)


# --- And they optimize -------------------------------------------------------------


def descend(opt, loss, x, steps):
    def body(carry, _):
        x, state = carry
        # Conjugated: JAX's gradient of a complex variable points the other way.
        u, state = opt.update(jnp.conj(jax.grad(loss)(x)), state, x)
        return (optax.apply_updates(x, u), state), None

    return jax.jit(lambda x: jax.lax.scan(body, (x, opt.init(x)), length=steps)[0][0])(
        x
    )


def check_descends_a_parabola(name, dtype):
    target = jnp.asarray([1.0, -1.0, 1.0], dtype)

    def loss(x):
        return jnp.sum(jnp.real((x - target) * jnp.conj(x - target)))

    x = descend(build(name), loss, jnp.asarray([-1.0, 10.0, 1.0], dtype), 3000)
    np.testing.assert_allclose(x, target, rtol=3e-2, atol=3e-2)


@with_property("parabola")
def test_a_parabola_is_descended(name):
    check_descends_a_parabola(name, jnp.float32)


@pytest.mark.parametrize(
    "name", fast(["padam", "padamw, official", "adagrad_norm"], "padam")
)
def test_a_parabola_of_complex_variables_is_descended(name):
    check_descends_a_parabola(name, jnp.complex64)


@pytest.mark.slow
@pytest.mark.parametrize(("p", "learning_rate"), [(0.5, 0.05), (0.125, 2e-3)])
def test_the_valley_of_rosenbrock_is_followed_to_its_end(p, learning_rate):
    def loss(x):
        return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2

    x = descend(padam_optax.padam(learning_rate, p=p), loss, jnp.zeros(2), 30_000)
    np.testing.assert_allclose(x, [1, 1], rtol=3e-2)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda f: padam_optax.scale_by_partial_adaptive(second_moment=f),
        lambda f: padam_optax.projections.projected(f, lambda y, d: y, p=0.5),
        lambda f: padam_optax.state.reset_max_at(f, {1}),
        padam_optax.experimental.quantize_state,
        padam_optax.experimental.pack_small_leaves,
    ],
)
def test_wrappers_refuse_what_is_no_transformation(wrap):
    for bad in (padam_optax.square, 0.1):
        with pytest.raises(TypeError, match=r"must be a transformation.* got .*Call"):
            wrap(bad)
