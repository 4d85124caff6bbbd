"""Forgetting the maximum: once, on time, and where NaN got in."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import padam_optax

STEPS = 12


def gradients(steps=STEPS):
    """A spike, then calm; the last coordinate grows, where the maximum is idle."""
    g = np.random.default_rng(0).normal(size=(steps, 5))
    g[1] *= 100
    g[:, 4] = np.arange(1, steps + 1)
    return g


def make_params():
    return {"w": jnp.zeros(5), "none": None}


def as_tree(g):
    return {"w": jnp.asarray(g), "none": None}


def steps_with_resets(gs, resets, b1=0.9, b2=0.9, p=0.125, corrected=False):
    """Return Padam's steps in NumPy; before those in resets the maximum is dropped."""
    m = v = v_max = np.zeros(gs.shape[1])
    steps = []
    for t, g in enumerate(gs):
        if t in resets:
            v_max = v
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        c1, c2 = (1 - b1 ** (t + 1), 1 - b2 ** (t + 1)) if corrected else (1, 1)
        v_max = np.maximum(v_max, v / c2)
        steps.append(-0.1 * (m / c1) / (np.sqrt(v_max) + 1e-8) ** (2 * p))
    return np.stack(steps)


def follow(opt, gs, state=None):
    params = make_params()
    state = opt.init(params) if state is None else state
    update, steps = jax.jit(opt.update), []
    for g in gs:
        u, state = update(as_tree(g), state, params)
        steps.append(u["w"])
    return np.stack(steps), state


PADAM = padam_optax.padam(0.1, b2=0.9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "at", [{5}, {0, 5, 9}, [5, 9, 40], (), lambda count: count % 4 == 3]
)
def test_resets_come_before_the_updates_that_are_named(at):
    gs = gradients()
    resets = {t for t in range(STEPS) if (at(t) if callable(at) else t in at)}
    actual, _ = follow(padam_optax.state.reset_max_at(PADAM, at), gs)
    np.testing.assert_allclose(actual, steps_with_resets(gs, resets), rtol=1e-12)
    plain = steps_with_resets(gs, ())
    is_same = np.asarray(np.isclose(actual, plain, rtol=1e-9).all(axis=0))
    assert is_same[4]  # nothing to forget where v has only grown
    assert is_same.all() == (not resets - {0})


@pytest.mark.usefixtures("x64", "standard_promotion")
@pytest.mark.parametrize(
    "opt",
    [
        padam_optax.padam(0.1, b2=0.9, p=0.5, bias_correction="before_max"),
        optax.amsgrad(0.1, b2=0.9),
    ],
)
def test_resets_of_a_corrected_maximum_are_those_of_the_formula(opt):
    gs = gradients()
    actual, _ = follow(padam_optax.state.reset_max_at(opt, {6}), gs)
    expected = steps_with_resets(gs, {6}, p=0.5, corrected=True)
    np.testing.assert_allclose(actual, expected, rtol=1e-11)


def test_a_reset_state_has_v_for_its_maximum_and_is_otherwise_the_same():
    _, state = follow(PADAM, np.float32(gradients(6)))
    after = padam_optax.state.reset_max(state)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    nu, nu_max = (optax.tree.get(after, name) for name in ("nu", "nu_max"))
    chex.assert_trees_all_equal(nu, nu_max, optax.tree.get(state, "nu"))
    old_max = optax.tree.get(state, "nu_max")
    chex.assert_trees_all_equal(
        optax.tree.set(after, nu_max=old_max), optax.tree.set(state, nu_max=old_max)
    )
    assert (old_max["w"][:4] > nu_max["w"][:4]).all()


@pytest.mark.usefixtures("standard_promotion")  # Optax needs it
def test_the_reset_of_a_learning_rate_drop_is_at_its_boundary():
    gs = np.asarray(gradients(), np.float32)
    drop = {6: 0.1}
    rate = optax.piecewise_constant_schedule(0.1, drop)
    opt = padam_optax.state.reset_max_at(padam_optax.padam(rate, b2=0.9), drop)
    actual, _ = follow(opt, gs)
    expected = steps_with_resets(gs, drop)
    expected[6:] *= 0.1
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


# --- Poison ------------------------------------------------------------------------


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_poisoned_element_begins_again_from_zero(poison):
    gs = np.asarray(gradients(), np.float32)
    gs[3, 0] = poison
    _, state = follow(PADAM, gs[:6])
    if np.isnan(poison):
        assert np.isnan(padam_optax.state.second_moment(state)["w"][0])
    mended = padam_optax.state.reset_max(state)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(mended))
    steps, _ = follow(PADAM, gs[6:], mended)
    # Its next steps are those of a run that starts here; those of others go on.
    fresh = steps_with_resets(gs[6:, :1], ())
    np.testing.assert_allclose(steps[:, :1], fresh, rtol=1e-5)
    others = steps_with_resets(gs[:, 1:], {6})[6:]
    np.testing.assert_allclose(steps[:, 1:], others, rtol=1e-5)


@pytest.mark.parametrize("name", ["mu", "nu", "nu_max"])
def test_poison_in_any_moment_restarts_all_three(name):
    _, state = follow(PADAM, np.float32(gradients(4)))
    clean = optax.tree.get(state, name)
    bad = {**clean, "w": clean["w"].at[2].set(jnp.inf)}
    mended = padam_optax.state.reset_max(optax.tree.set(state, **{name: bad}))
    for moment in ("mu", "nu", "nu_max"):
        value = optax.tree.get(mended, moment)["w"]
        assert value[2] == 0
        assert (value[np.array([0, 1, 3, 4])] != 0).all()


def test_poison_waits_for_the_reset_that_is_due():
    gs = np.asarray(gradients(), np.float32)
    gs[3, 0] = np.nan
    opt = padam_optax.state.reset_max_at(PADAM, {8})
    before, expected = (follow(each, gs[:8])[1] for each in (opt, PADAM))
    chex.assert_trees_all_close(before, expected, rtol=1e-5)
    actual, _ = follow(opt, gs)
    np.testing.assert_array_equal(np.isnan(actual[:, 0]), [0, 0, 0] + [1] * 5 + [0] * 4)
    assert np.isfinite(actual[:, 1:]).all()


# --- As a wrapper ------------------------------------------------------------------


def test_the_state_is_the_optimizers_own_and_keeps_its_types():
    opt = padam_optax.state.reset_max_at(PADAM, {2})
    params = make_params()
    state = opt.init(params)
    chex.assert_trees_all_equal(state, PADAM.init(params))

    def step(carry, g):
        params, state = carry
        u, state = opt.update(as_tree(g), state, params)
        return (optax.apply_updates(params, u), state), u["w"]

    gs = np.asarray(gradients(), np.float32)
    (_, after), scanned = jax.lax.scan(step, (params, state), gs)
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, state)
    np.testing.assert_allclose(scanned, follow(opt, gs)[0], rtol=1e-5)
    marked = optax.tree.map_params(opt, lambda _: 1, state)
    assert jax.tree.leaves(marked).count(1) == 3


def test_params_and_state_can_be_donated_together():
    opt = padam_optax.state.reset_max_at(PADAM, {1})

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, g):
        u, state = opt.update(g, state, params)
        return optax.apply_updates(params, u), state

    params = make_params()
    state = opt.init(params)
    gs = np.asarray(gradients(4), np.float32)
    for g in gs:
        params, state = step(params, state, as_tree(g))
    expected = np.sum(steps_with_resets(gs, {1}), axis=0)
    np.testing.assert_allclose(params["w"], expected, rtol=1e-5)
    state = jax.jit(padam_optax.state.reset_max, donate_argnums=0)(state)
    step(params, state, as_tree(gs[0]))


def test_each_group_is_reset_by_its_own_count():
    labels = {"a": "x", "b": "y"}
    make = padam_optax.state.reset_max_at
    grouped = optax.multi_transform({"x": PADAM, "y": PADAM}, labels)
    params = {"a": jnp.zeros(5), "b": jnp.zeros(5)}
    opt = make(optax.chain(optax.clip(1e9), grouped), {3})
    gs = np.asarray(gradients(6), np.float32)
    state = opt.init(params)
    for t, g in enumerate(gs):
        u, state = opt.update({"a": jnp.asarray(g), "b": jnp.asarray(g)}, state, params)
        for name in ("a", "b"):
            np.testing.assert_allclose(
                u[name], steps_with_resets(gs, {3})[t], rtol=1e-5
            )


def test_absent_gradients_and_extra_arguments_pass():
    opt = padam_optax.state.reset_max_at(PADAM, {0})
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    u, _ = opt.update({"a": jnp.ones(2), "b": None}, opt.init(params), value=1.0)
    assert u["b"] is None

    def init(params):
        return PADAM.init(params)

    def update(updates, state, params=None, *, value, **extra_args):
        del extra_args
        return jax.tree.map(lambda g: g * value, updates), state

    needs_value = optax.GradientTransformationExtraArgs(init, update)
    opt = padam_optax.state.reset_max_at(needs_value, {0})
    u, _ = opt.update(params, opt.init(params), params, value=3.0)
    np.testing.assert_array_equal(u["a"], [3, 3])


@pytest.mark.usefixtures("standard_promotion")
def test_hyperparameters_can_be_injected_inside_and_outside():
    gs = np.asarray(gradients(), np.float32)
    expected = steps_with_resets(gs, {5})

    def build(learning_rate):
        return padam_optax.state.reset_max_at(
            padam_optax.padam(learning_rate, b2=0.9), {5}
        )

    for opt in (
        optax.inject_hyperparams(build)(learning_rate=0.1),
        padam_optax.state.reset_max_at(
            optax.inject_hyperparams(padam_optax.padam)(learning_rate=0.1, b2=0.9), {5}
        ),
    ):
        np.testing.assert_allclose(follow(opt, gs)[0], expected, rtol=1e-4)


def test_what_cannot_be_reset_is_refused():
    with pytest.raises(ValueError, match=r"must hold count, mu, .*optax\.adam"):
        padam_optax.state.reset_max(optax.adam(0.1).init(jnp.ones(2)))
    opt = padam_optax.state.reset_max_at(optax.adam(0.1), {3})
    with pytest.raises(ValueError, match="must hold count, mu, nu and nu_max"):
        opt.init(jnp.ones(2))
    quantized = padam_optax.experimental.quantize_state(PADAM, min_size=0)
    with pytest.raises(ValueError, match="quantize outside"):
        padam_optax.state.reset_max_at(quantized, {3}).init(jnp.ones(2))
    for bad in ({-1}, {2.5}, {np.nan}, {np.inf}):
        with pytest.raises(ValueError, match="at must be .* got"):
            padam_optax.state.reset_max_at(PADAM, bad)
    for bad in ({"3"}, 3, None):
        with pytest.raises(TypeError, match="at must be .* got"):
            padam_optax.state.reset_max_at(PADAM, bad)
