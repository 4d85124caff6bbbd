"""Every optimizer in Flax's containers, and its state in Flax's and Orbax's files."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

from padam_optax import diagnostics, padam
from padam_optax.contrib import santa
from padam_optax.experimental import (
    dequantize_state,
    pack_small_leaves,
    quantize_state,
)
from padam_optax.projections import l2_ball, projected
from padam_optax.state import convert_state, reset_max, second_moment
from tests.test_invariants import (
    build,
    check_is_as_good,
    every_optimizer,
    make_params,
    take_steps,
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


def check_survives_flax_and_orbax(opt, params, state, folder):
    """Assert that both libraries give the same state back, as good as before."""
    template = opt.init(params)
    as_bytes = serialization.to_bytes(state)
    restored = serialization.from_bytes(template, as_bytes)
    check_is_as_good(opt, params, restored, state)
    as_dict = serialization.to_state_dict(state)
    restored = serialization.from_state_dict(template, as_dict)
    check_is_as_good(opt, params, restored, state)
    ocp.save(folder / "v1", state)
    check_is_as_good(opt, params, ocp.load(folder / "v1", template), state)
    with checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "v0", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(folder / "v0", template)
    check_is_as_good(opt, params, restored, state)


@every_optimizer
def test_state_survives_flax_and_orbax_bit_for_bit(name, tmp_path):
    opt = build(name)
    params = make_params()
    del params["empty"]  # Orbax refuses arrays of size zero
    params, state = take_steps(opt, params)
    check_survives_flax_and_orbax(opt, params, state, tmp_path)


def test_typed_and_raw_keys_of_santa_leave_a_state_that_can_be_saved(tmp_path):
    params = {"w": jnp.arange(4.0)}
    for i, key in enumerate([0, jax.random.key(0), jax.random.PRNGKey(0)]):
        opt = santa(0.01, 10, 6, key)
        params, state = take_steps(opt, params)
        (tmp_path / str(i)).mkdir()
        check_survives_flax_and_orbax(opt, params, state, tmp_path / str(i))


def test_packed_state_survives_flax_and_orbax_bit_for_bit(tmp_path):
    opt = pack_small_leaves(padam(0.1))
    params = {"w": [jnp.arange(4.0) + k for k in range(33)]}
    params, state = take_steps(opt, params)
    check_survives_flax_and_orbax(opt, params, state, tmp_path)


@every_optimizer
def test_frozen_dicts_give_the_same_numbers(name):
    opt, params = build(name), make_params()
    expected, _ = opt.update(params, opt.init(params), params)
    frozen = flax.core.freeze(params)
    u, _ = opt.update(frozen, opt.init(frozen), frozen)
    chex.assert_trees_all_equal(u, flax.core.freeze(expected))


@every_optimizer
def test_nnx_optimizer_trains_a_model(name):
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    before = jax.tree.map(jnp.copy, nnx.state(model, nnx.Param))
    expected_opt = build(name)
    optimizer = nnx.Optimizer(model, build(name), wrt=nnx.Param)
    x = jnp.ones((4, 3))

    @nnx.jit
    def step(model, optimizer):
        gradient = nnx.grad(lambda m: jnp.sum(m(x) ** 2))(model)
        optimizer.update(model, gradient)
        return gradient

    gradient = step(model, optimizer)
    u, _ = expected_opt.update(gradient, expected_opt.init(before), before)
    chex.assert_trees_all_close(
        nnx.to_pure_dict(nnx.state(model, nnx.Param)),
        nnx.to_pure_dict(optax.apply_updates(before, u)),
        rtol=1e-5,
        atol=1e-6,
    )


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


@pytest.mark.parametrize("name", READERS)
def test_states_and_parameters_of_nnx_are_read_as_plain_ones(name):
    opt = optax.chain(diagnostics.keep_initial_params(), padam(0.1, b2=0.5))
    wrapped, plain = wrapped_and_plain(opt)
    actual = READERS[name](*wrapped)
    check_equal_leaves(actual, READERS[name](*plain))
    if name in ("reset_max", "convert_state"):
        chex.assert_trees_all_equal_structs(actual, wrapped[0])


def test_quantized_states_of_nnx_are_dequantized():
    opt = quantize_state(padam(0.1), min_size=0)
    (wrapped, _), (plain, _) = wrapped_and_plain(opt)
    check_equal_leaves(
        second_moment(dequantize_state(wrapped)), second_moment(dequantize_state(plain))
    )


def test_a_projection_of_variables_returns_variables():
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    params = nnx.state(model, nnx.Param)
    opt = projected(padam(0.1), l2_ball(0.1), p=0.125, whole_tree=True)
    u, _ = opt.update(params, opt.init(params), params)
    chex.assert_trees_all_equal_structs(u, params)
    ends = jax.tree.leaves(optax.apply_updates(params, u))
    assert optax.tree.norm(ends) == pytest.approx(0.1, abs=1e-6)


@every_optimizer
def test_linen_train_state_trains_a_model(name):
    model = nn.Dense(2)
    x = jnp.ones((4, 3))
    params = model.init(jax.random.key(0), x)["params"]
    state = train_state.TrainState.create(
        apply_fn=model.apply, params=params, tx=build(name)
    )
    gradient = jax.grad(lambda p: jnp.sum(model.apply({"params": p}, x) ** 2))(params)
    after = state.apply_gradients(grads=gradient)
    opt = build(name)
    u, _ = opt.update(gradient, opt.init(params), params)
    chex.assert_trees_all_close(after.params, optax.apply_updates(params, u))
