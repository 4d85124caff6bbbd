"""Every optimizer in Flax's containers, and its state in Flax's and Orbax's files."""

import functools

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

from padam_optax import diagnostics, padam
from padam_optax.contrib import santa
from padam_optax.experimental import dequantize_state, quantize_state
from padam_optax.projections import l2_ball, projected
from padam_optax.state import convert_state, reset_max, second_moment
from tests.marks import fast
from tests.optimizers import (
    FAST,
    TABLE,
    build,
    every_optimizer,
    jitted,
    make_params,
    run,
)

flax = pytest.importorskip("flax", reason="the library does not need Flax")
nn = pytest.importorskip("flax.linen")
nnx = pytest.importorskip("flax.nnx")
serialization = pytest.importorskip("flax.serialization")
train_state = pytest.importorskip("flax.training.train_state")
checkpoint = pytest.importorskip(
    "orbax.checkpoint", reason="the library does not need Orbax"
)
ocp = checkpoint.v1

pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.mark.parametrize("names", fast([list(FAST), list(TABLE)], list(FAST)), ids=len)
def test_states_survive_flax_and_orbax_bit_for_bit(tmp_path, names):
    """Of optimizers at once, and of Santa with keys of both kinds."""
    states = {name: jax.tree.map(jnp.asarray, run(name).state) for name in names}
    for i, key in enumerate([jax.random.key(0), jax.random.PRNGKey(0)]):
        states[f"santa {i}"] = santa(0.01, 10, 6, key).init({"w": jnp.arange(4.0)})
    template = jax.tree.map(jnp.zeros_like, states)

    def check(restored):
        chex.assert_trees_all_equal_structs(restored, states)
        chex.assert_trees_all_equal(restored, states)

    check(serialization.from_bytes(template, serialization.to_bytes(states)))
    as_dict = serialization.to_state_dict(states)
    check(serialization.from_state_dict(template, as_dict))
    ocp.save(tmp_path / "v1", states)
    check(ocp.load(tmp_path / "v1", template))
    with checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "v0", states)
        checkpointer.wait_until_finished()
        check(checkpointer.restore(tmp_path / "v0", template))


@every_optimizer
def test_frozen_dicts_are_accepted(name):
    opt, params = build(name), flax.core.freeze(make_params(name))
    state = jax.eval_shape(opt.init, params)
    u, after = jax.eval_shape(opt.update, params, state, params)
    chex.assert_trees_all_equal_structs(u, params)
    chex.assert_trees_all_equal_structs(state, after)


# One optimizer alone, and wrappers that read parameters, moments and trees.
trained = pytest.mark.parametrize(
    "name", fast(["padam", "projected", "8-bit"], "projected")
)


@trained
def test_nnx_optimizer_trains_a_model(name):
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    before = jax.tree.map(jnp.copy, nnx.state(model, nnx.Param))
    opt = build(name)
    optimizer = nnx.Optimizer(model, build(name), wrt=nnx.Param)
    x = jnp.ones((4, 3))

    @nnx.jit
    def step(model, optimizer):
        gradient = nnx.grad(lambda m: jnp.sum(m(x) ** 2))(model)
        optimizer.update(model, gradient)
        return gradient

    gradient = step(model, optimizer)
    u, _ = jax.jit(opt.update)(gradient, opt.init(before), before)
    chex.assert_trees_all_close(
        nnx.to_pure_dict(nnx.state(model, nnx.Param)),
        nnx.to_pure_dict(optax.apply_updates(before, u)),
        rtol=1e-5,
        atol=1e-6,
    )


@functools.cache
def wrapped_and_plain(opt):
    """The state and parameters of an nnx.Optimizer, and those of Optax alone."""
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    optimizer = nnx.Optimizer(model, opt, wrt=nnx.Param)
    state = opt.init(params)
    for t in range(2):
        grads = jax.tree.map(lambda x, t=t: jnp.cos(x + t), params)
        variables = jax.tree.unflatten(
            jax.tree.structure(nnx.state(model, nnx.Param)), jax.tree.leaves(grads)
        )
        optimizer.update(model, variables)
        u, state = opt.update(grads, state, params)
        params = optax.apply_updates(params, u)
    return (optimizer.opt_state, nnx.state(model, nnx.Param)), (state, params)


def check_equal_leaves(actual, expected):
    chex.assert_trees_all_close(
        jax.tree.leaves(actual), jax.tree.leaves(expected), rtol=1e-6
    )


READERS = {
    "second_moment": lambda s, x: second_moment(s),
    "effective_learning_rates": lambda s, x: diagnostics.effective_learning_rates(
        s, 0.1, 0.125
    ),
    "median_root_nu": lambda s, x: diagnostics.median_root_nu(s),
    "tree_quantiles": lambda s, x: diagnostics.tree_quantiles(x),
    "spread_in_decades": lambda s, x: diagnostics.spread_in_decades(x),
    "fraction_where_max_active": lambda s, x: diagnostics.fraction_where_max_active(s),
    "fraction_of_increased_lrs": lambda s, x: diagnostics.fraction_of_increased_lrs(
        x, x
    ),
    "distance": lambda s, x: diagnostics.distance_from_start(s, x),
    "distance per leaf": lambda s, x: diagnostics.distance_from_start(
        s, x, per_leaf=True
    ),
    "reset_max": lambda s, x: reset_max(s),
    "convert_state": lambda s, x: convert_state(s, jax.tree.map(jnp.zeros_like, s)),
}


DISTANT = jitted(optax.chain(diagnostics.keep_initial_params(), padam(0.1, b2=0.5)))


@pytest.mark.parametrize(
    "name", fast(READERS, "second_moment", "tree_quantiles", "distance", "reset_max")
)
def test_states_and_parameters_of_nnx_are_read_as_plain_ones(name):
    wrapped, plain = wrapped_and_plain(DISTANT)
    actual = READERS[name](*wrapped)
    check_equal_leaves(actual, READERS[name](*plain))
    if name in ("reset_max", "convert_state"):
        chex.assert_trees_all_equal_structs(actual, wrapped[0])


@pytest.mark.slow
def test_quantized_states_of_nnx_are_dequantized():
    opt = jitted(quantize_state(padam(0.1), min_size=0))
    (wrapped, _), (plain, _) = wrapped_and_plain(opt)
    check_equal_leaves(
        second_moment(dequantize_state(wrapped)), second_moment(dequantize_state(plain))
    )


def test_a_projection_of_variables_returns_variables():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    params = nnx.state(model, nnx.Param)
    opt = jitted(projected(padam(0.1), l2_ball(0.1), p=0.125, whole_tree=True))
    u, _ = opt.update(params, opt.init(params), params)
    chex.assert_trees_all_equal_structs(u, params)
    ends = jax.tree.leaves(optax.apply_updates(params, u))
    assert optax.tree.norm(ends) == pytest.approx(0.1, abs=1e-6)


@trained
def test_linen_train_state_trains_a_model(name):
    model, x, opt = nn.Dense(2), jnp.ones((4, 3)), build(name)
    params = model.init(jax.random.key(0), x)["params"]
    state = train_state.TrainState.create(
        apply_fn=model.apply, params=params, tx=build(name)
    )
    gradient = jax.grad(lambda p: jnp.sum(model.apply({"params": p}, x) ** 2))(params)
    after = jax.jit(lambda state, g: state.apply_gradients(grads=g))(state, gradient)
    u, _ = jax.jit(opt.update)(gradient, opt.init(params), params)
    chex.assert_trees_all_close(
        after.params, optax.apply_updates(params, u), rtol=1e-5, atol=1e-6
    )
