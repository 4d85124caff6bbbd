"""Moments and counts in a state are found and set by the names that Optax uses."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import padam_optax
from padam_optax import contrib, experimental, projections, state
from padam_optax.state import _lookup
from tests.optimizers import jitted

PARAMS = {"w": jnp.arange(1.0, 5.0), "b": jnp.ones(2)}


def after_steps(opt, params=PARAMS, steps=3):
    init, update = jitted(opt)
    opt_state = init(params)
    for t in range(steps):
        g = jax.tree.map(lambda x, t=t: x / (1 + t), params)
        _, opt_state = update(g, opt_state, params)
    return opt_state


OPTIMIZERS = {
    "optax.amsgrad": optax.amsgrad(0.1),
    "padam": padam_optax.padam(0.1, weight_decay=0.1, p=lambda count: 0.3),
    "official": padam_optax.padam(0.1, bias_correction="official"),
    "consistent": padam_optax.padam(0.1, bias_correction="consistent"),
    "before_max": padam_optax.padam(0.1, bias_correction="before_max"),
    "padamw": padam_optax.padamw(0.1),
    "scale_by_partial_adaptive": padam_optax.scale_by_partial_adaptive(),
    "in a chain, masked": optax.masked(
        optax.chain(optax.clip(1.0), padam_optax.padam(0.1)), {"w": True, "b": False}
    ),
    "projected": projections.projected(
        padam_optax.padam(0.1), projections.box(-1, 1), p=0.125
    ),
    "reset_max_at": state.reset_max_at(padam_optax.padam(0.1), {3}),
    "packed": experimental.pack_small_leaves(padam_optax.padam(0.1)),
}


@pytest.mark.usefixtures("standard_promotion")  # Optax needs it
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_count_and_moments_are_found_and_set_in_one_call(name):
    opt_state = after_steps(OPTIMIZERS[name])
    assert optax.tree.get(opt_state, "count") == 3
    moments = {key: optax.tree.get(opt_state, key) for key in ("mu", "nu", "nu_max")}
    assert all(x.any() for x in jax.tree.leaves(moments))
    new = {key: jax.tree.map(lambda x: x + 1, tree) for key, tree in moments.items()}
    new["count"] = jnp.int32(7)
    changed = optax.tree.set(opt_state, **new)
    chex.assert_trees_all_equal({key: optax.tree.get(changed, key) for key in new}, new)
    chex.assert_trees_all_equal_structs(changed, opt_state)
    old_leaves, new_leaves = jax.tree.leaves(opt_state), jax.tree.leaves(changed)
    assert all((a != b).all() for a, b in zip(old_leaves, new_leaves, strict=True))


@pytest.mark.parametrize(
    "opt",
    [
        contrib.santa(0.01, 10, 5, key=0),
        experimental.quantize_state(padam_optax.padam(0.1), min_size=0),
    ],
)
def test_the_count_beside_other_moments_is_found_and_set(opt):
    opt_state = after_steps(opt)
    assert optax.tree.get(opt_state, "count") == 3
    assert optax.tree.get(optax.tree.set(opt_state, count=7), "count") == 7


def test_the_count_that_is_set_is_the_one_that_is_used():
    opt = padam_optax.padam(0.1, bias_correction="before_max", eps=0.0)
    g = {"w": jnp.full(4, 2.0), "b": jnp.full(2, 2.0)}
    opt_state = optax.tree.set(opt.init(PARAMS), count=jnp.int32(10**6))
    u, _ = opt.update(g, opt_state)
    # Corrections are 1 then: -0.1 · (0.1 · 2) / (0.001 · 4)^(1/8), at the first step.
    chex.assert_trees_all_close(
        u, jax.tree.map(lambda x: jnp.full_like(x, -0.02 / 0.004**0.125), g), rtol=1e-6
    )


class Encoder(NamedTuple):
    """Parameters with the names of moments."""

    mu: jax.Array
    nu: jax.Array


def test_parameters_with_the_names_of_moments_are_not_taken_for_them():
    params = Encoder(mu=jnp.ones(3), nu=jnp.ones(2))
    opt = padam_optax.padam(0.1)
    opt_state = after_steps(opt, params)
    (moments,) = _lookup.find_moments(opt_state)
    assert type(moments.mu) is type(moments.nu) is type(moments.nu_max) is Encoder
    assert isinstance(state.second_moment(opt_state), Encoder)
    converted = state.convert_state(opt_state, opt.init(params))
    chex.assert_trees_all_equal(converted, opt_state)


def test_each_group_has_its_own_moments():
    opt = optax.multi_transform(
        {"x": padam_optax.padam(0.1), "y": optax.adam(0.1), "z": optax.sgd(0.1)},
        {"w": "x", "b": "y", "c": "z"},
    )
    params = {**PARAMS, "c": jnp.ones(5)}
    of_w, of_b = _lookup.find_moments(opt.init(params))
    assert [x.shape for x in jax.tree.leaves(of_w)] == [(), (4,), (4,), (4,)]
    assert [x.shape for x in jax.tree.leaves(of_b)] == [(), (2,), (2,)]
    assert of_b.nu_max is None


@pytest.mark.usefixtures("standard_promotion")  # Optax needs it
def test_map_moments_changes_the_moments_alone():
    opt = optax.chain(optax.trace(0.9), padam_optax.padam(0.1), optax.adam(0.1))
    opt_state = after_steps(opt)

    def negate(moments):
        return jax.tree.map(lambda x: -x, moments)

    changed = _lookup.map_moments(negate, opt_state)
    chex.assert_trees_all_equal(changed[0], opt_state[0])
    for name in ("count", "mu", "nu", "nu_max"):
        for path, tree in _lookup.fields(opt_state, name).items():
            chex.assert_trees_all_equal(
                jax.tree.map(lambda x: -x, tree), _lookup.fields(changed, name)[path]
            )
