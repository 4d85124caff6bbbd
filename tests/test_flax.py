"""Every optimizer in Flax's containers, and its state in Flax's and Orbax's files."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

from padam_optax import padam
from padam_optax.experimental import pack_small_leaves
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
ocp = pytest.importorskip(
    "orbax.checkpoint", reason="the library does not need Orbax"
).v1


def check_survives_flax_and_orbax(opt, params, state, folder):
    """Assert that both libraries give the same state back, as good as before."""
    as_bytes = serialization.to_bytes(state)
    restored = serialization.from_bytes(opt.init(params), as_bytes)
    check_is_as_good(opt, params, restored, state)
    ocp.save(folder / "state", state)
    check_is_as_good(opt, params, ocp.load(folder / "state", opt.init(params)), state)


@every_optimizer
def test_state_survives_flax_and_orbax_bit_for_bit(name, tmp_path):
    opt = build(name)
    params = make_params()
    del params["empty"]  # Orbax refuses arrays of size zero
    params, state = take_steps(opt, params)
    check_survives_flax_and_orbax(opt, params, state, tmp_path)


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
