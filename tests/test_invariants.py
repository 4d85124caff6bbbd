"""Every optimizer of the package against every property that Optax asks of its own."""

import functools
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
from tests.meshes import set_mesh

SCHEDULE = optax.linear_schedule(0.1, 0.01, 5)

# name -> (a function that builds it with a learning rate, its state's copies of the
# parameters[, the tests of properties that it does not have])
OPTIMIZERS = {
    "padam": (padam_optax.padam, 3),
    "padam official": (
        functools.partial(padam_optax.padam, bias_correction="official"),
        3,
    ),
    "padam consistent, nesterov": (
        functools.partial(
            padam_optax.padam, bias_correction="consistent", nesterov=True
        ),
        3,
    ),
    "padam before_max": (
        functools.partial(padam_optax.padam, bias_correction="before_max", p=0.5),
        3,
    ),
    "padam any p": (functools.partial(padam_optax.padam, p=0.3), 3),
    "padam scheduled": (
        lambda _: padam_optax.padam(SCHEDULE, p=SCHEDULE, weight_decay=SCHEDULE),
        3,
    ),
    "padam bfloat16 momentum": (
        functools.partial(padam_optax.padam, mu_dtype=jnp.bfloat16),
        3,
    ),
    "padamw": (functools.partial(padam_optax.padamw, weight_decay=0.01), 3),
    "yogi-like": (
        lambda rate: optax.chain(
            padam_optax.scale_by_partial_adaptive(
                second_moment=optax.chain(
                    padam_optax.square(), padam_optax.yogi_average()
                )
            ),
            optax.scale_by_learning_rate(rate),
        ),
        2,
    ),
    "adabelief-like with maximum": (
        lambda rate: optax.chain(
            padam_optax.scale_by_partial_adaptive(
                second_moment=optax.chain(
                    padam_optax.squared_deviation(),
                    padam_optax.moving_average(),
                    padam_optax.running_max(),
                )
            ),
            optax.scale_by_learning_rate(rate),
        ),
        3,
    ),
    "adagrad_norm": (
        lambda rate: padam_optax.contrib.adagrad_norm(20 * rate),
        0,
        # Its norm is that of all leaves and shards.
        {
            "test_moments_live_where_their_parameter_does_and_need_no_communication",
            "test_shard_map_updates_each_shard_as_a_whole",
            "test_masked_passes_the_rest_through",
            "test_multi_transform_treats_each_group_as_if_alone",
            "test_extra_arguments_are_ignored",
        },
    ),
    "adagrad_norm per leaf": (
        lambda rate: padam_optax.contrib.adagrad_norm(20 * rate, per_leaf=True),
        1,
        {
            "test_moments_live_where_their_parameter_does_and_need_no_communication",
            "test_shard_map_updates_each_shard_as_a_whole",
            "test_extra_arguments_are_ignored",
        },
    ),
    "santa": (
        lambda rate: padam_optax.contrib.santa(rate / 5, 10, 2, 0),
        3,
        {
            # It has no complex parameters.
            "test_state_keeps_its_types_and_updates_follow_the_gradients",
            "test_a_parabola_is_descended",
            # The noise of a leaf depends on its shape and its place in the tree.
            "test_shard_map_updates_each_shard_as_a_whole",
            "test_masked_passes_the_rest_through",
            "test_multi_transform_treats_each_group_as_if_alone",
            "test_extra_arguments_are_ignored",
        },
    ),
    "projected": (
        lambda rate: padam_optax.projections.projected(
            padam_optax.padam(rate), padam_optax.projections.box(-0.5, 0.5), p=0.125
        ),
        3,
        {
            # It has no complex parameters.
            "test_state_keeps_its_types_and_updates_follow_the_gradients",
            "test_a_parabola_is_descended",
        },
    ),
    "reset_max_at": (
        lambda rate: padam_optax.state.reset_max_at(padam_optax.padam(rate), {1}),
        3,
    ),
    "keep_initial_params": (
        lambda rate: optax.chain(
            padam_optax.diagnostics.keep_initial_params(), padam_optax.padam(rate)
        ),
        4,
        # The copy has the parameters' dtype, and padam's moments have theirs.
        {"test_moments_live_where_their_parameter_does_and_need_no_communication"},
    ),
    "8-bit": (
        lambda rate: padam_optax.experimental.quantize_state(
            padam_optax.padam(rate), min_size=0
        ),
        3,
        {
            "test_state_has_no_leaf_below_float32_but_the_momentum",
            # Another rounding of a moment may give its neighbor's code.
            "test_numbers_do_not_depend_on_how_it_is_run",
            "test_vmap_is_a_loop_over_models",
            # Elements are numbered within a shard.
            "test_shard_map_updates_each_shard_as_a_whole",
        },
    ),
}
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def applies(name, test):
    return not any(test in exceptions for exceptions in OPTIMIZERS[name][2:])


@pytest.fixture(autouse=True)
def only_properties_it_has(request):
    call = getattr(request.node, "callspec", None)
    name = call.params.get("name") if call else None
    if name is not None and not applies(name, request.node.originalname):
        pytest.skip(f"{name} does not have this property")


def build(name, learning_rate=0.05):
    return OPTIMIZERS[name][0](learning_rate)


def make_params(dtype=jnp.float32):
    """A nested tree with a matrix, a vector, a scalar and an empty leaf."""
    values = np.random.default_rng(0).normal(size=(4, 8))
    return {
        "layer": {
            "kernel": jnp.asarray(values, dtype),
            "bias": jnp.asarray(values[0], dtype),
        },
        "scale": jnp.asarray(values[1, 0], dtype),
        "empty": jnp.zeros((0, 3), dtype),
    }


def make_gradients(params, t):
    return jax.tree.map(lambda x: (jnp.cos(x * (t + 1)) + 0.3).astype(x.dtype), params)


def take_steps(opt, params, steps=4, state=None, update=None):
    update = opt.update if update is None else update
    state = opt.init(params) if state is None else state
    for t in range(steps):
        u, state = update(make_gradients(params, t), state, params)
        params = optax.apply_updates(params, u)
    return params, state


def check_is_as_good(opt, params, restored, state):
    """Assert that a restored state is the same and goes on in the same way."""
    chex.assert_trees_all_equal_structs(restored, state)
    chex.assert_trees_all_equal(restored, state)
    chex.assert_trees_all_equal(
        take_steps(opt, params, state=restored), take_steps(opt, params, state=state)
    )


def types(tree):
    return jax.tree.map(jax.typeof, tree)


# --- The state ---------------------------------------------------------------------


@every_optimizer
@pytest.mark.usefixtures("standard_promotion")  # a scheduled decay needs it
@pytest.mark.parametrize(
    "dtype", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.complex64]
)
def test_state_keeps_its_types_and_updates_follow_the_gradients(name, dtype):
    opt, params = build(name), make_params(dtype)
    state = opt.init(params)
    u, after = jax.jit(opt.update)(make_gradients(params, 0), state, params)
    chex.assert_trees_all_equal_structs(state, after)
    assert types(state) == types(after)  # shapes, dtypes, weak types
    chex.assert_trees_all_equal_shapes_and_dtypes(u, params)


@every_optimizer
def test_state_has_no_leaf_below_float32_but_the_momentum(name):
    state = build(name).init(make_params(jnp.bfloat16))
    for key in ("nu", "nu_max"):
        for _, tree in optax.tree.get_all_with_path(state, key):
            chex.assert_type(jax.tree.leaves(tree), jnp.float32)


@every_optimizer
def test_map_params_finds_every_copy_of_the_parameters(name):
    opt, params = build(name), make_params()
    marked = optax.tree.map_params(opt, lambda _: "param", opt.init(params))
    copies = jax.tree.leaves(marked).count("param") / len(jax.tree.leaves(params))
    assert copies == OPTIMIZERS[name][1]


@every_optimizer
def test_state_survives_pickle_bit_for_bit(name):
    opt = build(name)
    params, state = take_steps(opt, make_params())
    check_is_as_good(opt, params, pickle.loads(pickle.dumps(state)), state)


@every_optimizer
def test_init_accepts_abstract_parameters(name):
    opt, params = build(name), make_params()
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    chex.assert_trees_all_equal_shapes_and_dtypes(opt.init(shapes), opt.init(params))
    chex.assert_trees_all_equal_shapes_and_dtypes(
        jax.eval_shape(opt.init, params), opt.init(params)
    )


# --- Under the transformations of JAX ----------------------------------------------


class Variants(chex.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_device=True)
    def test_numbers_do_not_depend_on_how_it_is_run(self):
        for name in OPTIMIZERS:
            if not applies(name, "test_numbers_do_not_depend_on_how_it_is_run"):
                continue
            with self.subTest(name):
                opt, params = build(name), make_params()
                actual, _ = take_steps(opt, params, update=self.variant(opt.update))
                expected, _ = take_steps(opt, params, update=jax.jit(opt.update))
                chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-6)


@every_optimizer
def test_one_trace_serves_all_steps(name):
    opt, params = build(name), make_params()
    chex.clear_trace_counter()
    update = jax.jit(chex.assert_max_traces(opt.update, n=1))
    take_steps(opt, params, 4, update=update)


@every_optimizer
def test_scan_is_the_loop(name):
    opt, params = build(name), make_params()

    def step(carry, t):
        params, state = carry
        u, state = opt.update(make_gradients(params, t), state, params)
        return (optax.apply_updates(params, u), state), None

    carry = (params, opt.init(params))
    actual, _ = jax.lax.scan(step, carry, jnp.arange(4.0))
    chex.assert_trees_all_close(actual, take_steps(opt, params), rtol=1e-5, atol=1e-6)


@every_optimizer
def test_cond_accepts_both_branches(name):
    opt, params = build(name), make_params()

    @jax.jit
    def step(flag, state):
        return jax.lax.cond(
            flag,
            lambda: opt.update(params, state, params),
            lambda: (optax.tree.zeros_like(params), state),
        )

    state = opt.init(params)
    chex.assert_trees_all_equal(step(False, state)[1], state)
    chex.assert_trees_all_close(
        step(True, state)[0], opt.update(params, state, params)[0], rtol=1e-5
    )


@every_optimizer
def test_vmap_is_a_loop_over_models(name):
    opt = build(name)
    models = [jax.tree.map(lambda x, k=k: x * k, make_params()) for k in (1.0, 2.0)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *models)
    batched, _ = jax.vmap(lambda params: take_steps(opt, params))(stacked)
    for k, model in enumerate(models):
        expected, _ = take_steps(opt, model)
        actual = jax.tree.map(lambda x, k=k: x[k], batched)
        chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-6)


@every_optimizer
def test_params_and_state_can_be_donated_together(name):
    opt, params = build(name), make_params()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, t):
        u, state = opt.update(make_gradients(params, t), state, params)
        return optax.apply_updates(params, u), state

    expected = take_steps(opt, params)
    carry = (params, opt.init(params))
    for t in range(4):
        carry = step(*carry, t)
    chex.assert_trees_all_close(carry, expected, rtol=1e-5, atol=1e-6)


@every_optimizer
def test_reverse_mode_through_a_step_is_finite(name):
    opt, params = build(name), make_params()

    def loss(params):
        after, _ = take_steps(opt, params, 2)
        return optax.tree.norm(after, squared=True)

    gradient = jax.grad(loss)(params)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


# --- On eight devices --------------------------------------------------------------


@every_optimizer
def test_pmap_gives_every_replica_the_numbers_of_one_device(name):
    opt, params = build(name), make_params()
    del params["empty"]  # of size zero, a pmean crashes the compiler of jax 0.11

    def step(params, state, shift):
        g = jax.tree.map(lambda x: jnp.cos(x) + shift.astype(x.dtype), params)
        g = jax.lax.pmean(g, "devices")
        u, state = opt.update(g, state, params)
        return optax.apply_updates(params, u), state

    shifts = jnp.arange(8.0)
    replicated, _ = jax.pmap(step, "devices", in_axes=(None, None, 0))(
        params, opt.init(params), shifts
    )
    g = jax.tree.map(lambda x: jnp.cos(x) + 3.5, params)
    u, _ = opt.update(g, opt.init(params), params)
    expected = optax.apply_updates(params, u)
    for device in range(8):
        actual = jax.tree.map(lambda x, d=device: x[d], replicated)
        chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-6)


def make_mesh(kind=jax.sharding.AxisType.Auto):
    return jax.make_mesh((8,), ("x",), axis_types=(kind,))


@every_optimizer
def test_moments_live_where_their_parameter_does_and_need_no_communication(name):
    opt, mesh = build(name), make_mesh()
    sharding = NamedSharding(mesh, P(None, "x"))
    params = {"w": jax.device_put(np.arange(32.0, dtype="f").reshape(4, 8), sharding)}
    state = opt.init(params)

    def check(state):
        for leaf in jax.tree.leaves(state):
            if leaf.shape == (4, 8):
                assert leaf.sharding.is_equivalent_to(sharding, 2)

    check(state)
    update = jax.jit(opt.update)
    u, after = update(params, state, params)
    check(after)
    check(u)
    program = update.lower(params, state, params).compile().as_text() or ""
    for collective in ("all-reduce", "all-gather", "all-to-all", "collective-permute"):
        assert collective not in program
    alone = {"w": jnp.asarray(np.asarray(params["w"]))}
    expected, _ = opt.update(alone, opt.init(alone), alone)
    chex.assert_trees_all_close(u, expected, rtol=1e-5, atol=1e-6)


@every_optimizer
@pytest.mark.usefixtures("standard_promotion")  # a scheduled decay needs it
def test_types_carry_their_sharding_on_an_explicit_mesh(name):
    opt, mesh = build(name), make_mesh(jax.sharding.AxisType.Explicit)
    with set_mesh(mesh):
        sharding = NamedSharding(mesh, P(None, "x", None))
        params = jnp.zeros((2, 8, 4), jnp.float16, device=sharding)
        state = opt.init(params)
        _, after = opt.update(params, state, params)
        _, after_jit = jax.jit(opt.update)(params, state, params)
        typeof = functools.partial(jax.tree.map, jax.typeof)
        assert typeof(state) == typeof(jax.jit(opt.init)(params))
        assert typeof(state) == typeof(after) == typeof(after_jit)


@every_optimizer
def test_shard_map_updates_each_shard_as_a_whole(name):
    opt, mesh = build(name), make_mesh()
    params = {"w": jnp.arange(32.0).reshape(8, 4)}
    state = opt.init(params)
    specs = jax.tree.map(lambda x: P("x") if x.ndim else P(), state)

    def step(g, state, params):
        return opt.update(g, state, params)

    sharded = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(P("x"), specs, P("x")),
        out_specs=(P("x"), specs),
    )
    actual = jax.jit(sharded)(params, state, params)
    expected = opt.update(params, state, params)
    chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-6)


# --- With the wrappers of Optax ----------------------------------------------------


@every_optimizer
@pytest.mark.usefixtures("standard_promotion")
def test_multi_steps_of_equal_gradients_is_one_step(name):
    opt, params = build(name), make_params()
    multi = optax.MultiSteps(opt, every_k_schedule=4)
    g = make_gradients(params, 0)
    state = multi.init(params)
    update = jax.jit(multi.update)
    for k in range(4):
        u, state = update(g, state, params)
        if k < 3:
            chex.assert_trees_all_equal(u, optax.tree.zeros_like(params))
    expected, _ = opt.update(g, opt.init(params), params)
    chex.assert_trees_all_close(u, expected, rtol=1e-4, atol=1e-6)


@every_optimizer
def test_masked_passes_the_rest_through(name):
    opt, params = build(name), make_params()
    mask = jax.tree.map(lambda x: x.ndim == 2, params)
    masked = optax.masked(opt, mask)
    g = make_gradients(params, 0)
    u, _ = masked.update(g, masked.init(params), params)
    expected, _ = opt.update(g, opt.init(params), params)
    chex.assert_trees_all_close(u["layer"]["kernel"], expected["layer"]["kernel"])
    chex.assert_trees_all_equal(u["layer"]["bias"], g["layer"]["bias"])


@every_optimizer
def test_multi_transform_treats_each_group_as_if_alone(name):
    opt, params = build(name), make_params()
    labels = jax.tree.map(lambda x: "a" if x.ndim == 2 else "b", params)
    grouped = optax.multi_transform({"a": opt, "b": optax.sgd(1.0)}, labels)
    g = make_gradients(params, 0)
    u, _ = grouped.update(g, grouped.init(params), params)
    expected, _ = opt.update(g, opt.init(params), params)
    chex.assert_trees_all_close(u["layer"]["kernel"], expected["layer"]["kernel"])
    chex.assert_trees_all_close(u["layer"]["bias"], -g["layer"]["bias"])


@every_optimizer
def test_apply_if_finite_skips_a_bad_step(name):
    opt, params = build(name), make_params()
    guarded = optax.apply_if_finite(opt, 3)
    state = guarded.init(params)
    bad = jax.tree.map(lambda x: x * np.nan, params)
    u, skipped = guarded.update(bad, state, params)
    chex.assert_trees_all_equal(u, optax.tree.zeros_like(params))
    chex.assert_trees_all_equal(skipped.inner_state, state.inner_state)


@every_optimizer
def test_extra_arguments_are_ignored(name):
    opt, params = build(name), make_params()
    state = opt.init(params)
    actual = opt.update(params, state, params, value=1.0, unheard_of="x")
    chex.assert_trees_all_equal(actual, opt.update(params, state, params))


@pytest.mark.parametrize("make", [padam_optax.padam, padam_optax.padamw])
@pytest.mark.usefixtures("standard_promotion")
def test_inject_hyperparams_gives_the_same_numbers(make):
    params = make_params()
    plain, injected = make(0.05), optax.inject_hyperparams(make)(0.05)
    actual, state = take_steps(injected, params, update=jax.jit(injected.update))
    expected, _ = take_steps(plain, params)
    # b2 = 0.999 is rounded to float32 before 1 - b2 is taken: off by 1e-5.
    chex.assert_trees_all_close(actual, expected, rtol=1e-4, atol=1e-5)
    assert {"learning_rate", "b1", "b2", "eps", "p"} <= set(state.hyperparams)


# --- On trees of other kinds -------------------------------------------------------


@every_optimizer
def test_kinds_of_trees_give_the_same_numbers(name):
    opt, params = build(name), make_params()
    expected, _ = opt.update(params, opt.init(params), params)
    for wrap in (lambda x: (x, None), lambda x: [x]):
        tree = wrap(params)
        u, _ = opt.update(tree, opt.init(tree), tree)
        chex.assert_trees_all_equal(u, wrap(expected))


# --- And they optimize -------------------------------------------------------------


def descend(opt, loss, x, steps):
    def step(carry, _):
        x, state = carry
        # Conjugated: JAX's gradient of a complex variable points the other way.
        u, state = opt.update(jnp.conj(jax.grad(loss)(x)), state, x)
        return (optax.apply_updates(x, u), state), None

    return jax.lax.scan(step, (x, opt.init(x)), length=steps)[0][0]


@every_optimizer
@pytest.mark.usefixtures("standard_promotion")  # a scheduled decay needs it
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
def test_a_parabola_is_descended(name, dtype):
    target = jnp.asarray([1.0, -1.0, 1.0], dtype)

    def loss(x):
        return jnp.sum(jnp.real((x - target) * jnp.conj(x - target)))

    x = descend(build(name), loss, jnp.asarray([-1.0, 10.0, 1.0], dtype), 3000)
    np.testing.assert_allclose(x, target, rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize(("p", "learning_rate"), [(0.5, 0.05), (0.125, 2e-3)])
def test_the_valley_of_rosenbrock_is_followed_to_its_end(p, learning_rate):
    def loss(x):
        return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2

    x = descend(padam_optax.padam(learning_rate, p=p), loss, jnp.zeros(2), 30_000)
    np.testing.assert_allclose(x, [1, 1], rtol=3e-2)
