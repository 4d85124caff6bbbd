"""Schedules of p, and learning rates that fit a p, on networks of Flax."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import padam_optax
from tests import reference

nn = pytest.importorskip("flax.linen", reason="the library does not need Flax")
datasets = pytest.importorskip(
    "sklearn.datasets", reason="the library does not need scikit-learn"
)


class CNN(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (3, 3))(x))
        x = nn.relu(nn.Conv(16, (3, 3), strides=2)(x))
        return nn.Dense(10)(x.reshape(x.shape[0], -1))


# Training it shows at length what test_schedules.py does in numbers.
trains = pytest.mark.slow
STEPS, SWITCH = 170, 150


@functools.cache
def digits():
    data = datasets.load_digits()
    return jnp.float32(data.images[..., None] / 16), jnp.asarray(data.target, jnp.int32)


@jax.jit
def run(rates, ps, seed):
    """Return of each step the loss, the median update and the typical root.

    Both hyperparameters are arrays, one element for a step, so that it is compiled
    once; with them the state at the switch.
    """
    images, labels = digits()
    opt = padam_optax.padam(lambda count: rates[count], p=lambda count: ps[count])

    def loss(params, batch):
        logits = CNN().apply(params, images[batch])
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, labels[batch]
        ).mean()

    def step(carry, key):
        params, state, _ = carry
        batch = jax.random.randint(key, (64,), 0, len(labels))
        value, grads = jax.value_and_grad(loss)(params, batch)
        u, after = opt.update(grads, state, params)
        median = padam_optax.diagnostics.tree_quantiles(jax.tree.map(jnp.abs, u), 0.5)
        root = padam_optax.diagnostics.median_root_nu(after)
        return (optax.apply_updates(params, u), after, state), (value, median, root)

    keys = jax.random.split(jax.random.fold_in(jax.random.key(1), seed), STEPS)
    params = CNN().init(jax.random.key(seed), images[:1])
    state = opt.init(params)
    carry, first = jax.lax.scan(step, (params, state, state), keys[:SWITCH])
    _, second = jax.lax.scan(step, carry, keys[SWITCH:])
    return *map(lambda *x: jnp.concatenate(x), first, second), carry[1]


def train(learning_rate, p, seed=0):
    def table(value):
        schedule = value if callable(value) else optax.constant_schedule(value)
        return jnp.float32([schedule(t) for t in range(STEPS)])

    losses, medians, roots, state = run(table(learning_rate), table(p), seed)
    return *(np.asarray(x) for x in (losses, medians, roots)), state


@functools.cache
def train_amsgrad(seed=0):
    return train(0.001, 1 / 2, seed)


DOWN = padam_optax.schedules.piecewise_p_schedule([1 / 2, 1 / 8], [SWITCH])


def jumps(learning_rate):
    """Return by what the median rate and the median step change as p does."""
    _, medians, roots, _ = train(learning_rate, DOWN)
    rates = [
        float(learning_rate(t)) / float(roots[t]) ** (2 * p)
        for t, p in [(SWITCH - 1, 1 / 2), (SWITCH, 1 / 8)]
    ]
    steps = [np.mean(medians[SWITCH - 5 : SWITCH]), np.mean(medians[SWITCH:][:5])]
    return rates[1] / rates[0], steps[1] / steps[0]


@trains
@pytest.mark.parametrize(("seed", "tolerance"), [(0, 0.01), (7, 0.15)])
def test_the_median_step_is_continuous_where_p_jumps(seed, tolerance):
    # x is measured when the change is due, in this run or in one with other numbers.
    x = padam_optax.diagnostics.median_root_nu(train_amsgrad(seed)[-1])
    rate, step = jumps(padam_optax.diagnostics.learning_rate_for(DOWN, 1 / 2, 0.001, x))
    np.testing.assert_allclose(rate, 1, atol=tolerance)
    # The steps have the momentum in them, too, so theirs is only near.
    np.testing.assert_allclose(step, 1, atol=0.3)


@trains
def test_without_the_rule_the_median_step_jumps():
    rate, step = jumps(optax.constant_schedule(0.001))
    assert rate < 0.05
    assert step < 0.05


@trains
@pytest.mark.parametrize("p", [1 / 4, 1 / 8, 1 / 16])
def test_a_learning_rate_carried_over_to_another_p_trains_nearly_as_fast(p):
    losses, medians, roots, state = train_amsgrad()
    x = padam_optax.diagnostics.median_root_nu(state)
    np.testing.assert_allclose(x, roots[SWITCH - 1], rtol=1e-6)

    carried, carried_medians, carried_roots, _ = train(
        padam_optax.diagnostics.learning_rate_for(p, 1 / 2, 0.001, x), p
    )
    # As good as x: this run's own gradients are not those of the other.
    at = SWITCH - 1
    actual = 0.001 * float(x) ** (2 * p - 1) / carried_roots[at] ** (2 * p)
    np.testing.assert_allclose(actual, 0.001 / roots[at], rtol=0.2)
    late = slice(SWITCH - 20, SWITCH)
    ratio = np.mean(carried_medians[late]) / np.mean(medians[late])
    np.testing.assert_allclose(ratio, 1, atol=0.5)
    assert np.mean(carried[late]) < 1.5 * np.mean(losses[late])

    same, same_medians, *_ = train(0.001, p)
    assert np.mean(same_medians[late]) < 0.3 * np.mean(medians[late])
    assert np.mean(same[late]) > 10 * np.mean(losses[late])


@trains
def test_a_run_goes_on_from_its_state_with_another_p():
    *_, state = train_amsgrad()
    rate = padam_optax.diagnostics.learning_rate_for(
        1 / 8, 1 / 2, 0.001, padam_optax.diagnostics.median_root_nu(state)
    )
    opt = padam_optax.padam(rate, p=1 / 8)
    params = jax.tree.map(jnp.zeros_like, optax.tree.get(state, "mu"))
    state = padam_optax.state.convert_state(state, opt.init(params))
    assert optax.tree.get(state, "count") == SWITCH
    u, _ = jax.jit(opt.update)(params, state, params)
    assert any(x.any() for x in jax.tree.leaves(u))  # of the momentum

    rates = jax.jit(
        padam_optax.diagnostics.effective_learning_rates, static_argnums=(1, 2)
    )
    before, after = rates(state, 0.001, 1 / 2), rates(state, rate, 1 / 8)
    elements = [
        np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])
        for tree in (before, after)
    ]
    moving = elements[0] > 0
    medians = [np.median(x[moving]) for x in elements]
    np.testing.assert_allclose(medians[1], medians[0], rtol=1e-3)
    # Those whose gradients are above the median speed up: half of what moves.
    grown = padam_optax.diagnostics.fraction_of_increased_lrs(before, after)
    np.testing.assert_allclose(grown, np.mean(moving) / 2, atol=1e-3)


class TextModel(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(11, 6)(tokens)
        x = nn.relu(nn.Conv(8, (3,))(x))
        x = nn.LayerNorm()(x)
        return nn.Dense(2)(x.mean(axis=1))


def group(path, _):
    """Return the name of the group of a parameter: half of embeddings and norms."""
    is_half = path[1].key.startswith(("Embed", "LayerNorm"))
    return "half" if is_half else "eighth"


@pytest.mark.slow
def test_embeddings_and_norms_can_have_another_exponent_than_convolutions():
    tokens = jax.random.randint(jax.random.key(0), (16, 9), 0, 11)
    labels = jnp.sum(tokens, axis=1) % 2
    params = jax.jit(TextModel().init)(jax.random.key(1), tokens)

    def loss(params):
        logits = TextModel().apply(params, tokens)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    settings = {"half": (0.001, 1 / 2), "eighth": (0.02, 1 / 8)}
    opt = optax.multi_transform(
        {name: padam_optax.padam(rate, p=p) for name, (rate, p) in settings.items()},
        jax.tree_util.tree_map_with_path(group, params),
    )

    @jax.jit
    def step(params, state):
        grads = jax.grad(loss)(params)
        updates, state = opt.update(grads, state, params)
        return optax.apply_updates(params, updates), state, grads, updates

    state, history = jax.jit(opt.init)(params), []
    for _ in range(3):
        params, state, grads, updates = step(params, state)
        history.append(grads)

    groups = set()
    for path, u in jax.tree_util.tree_leaves_with_path(updates):
        gradients = [
            np.asarray(optax.tree.get(g["params"][path[1].key], path[2].key), float)
            for g in history
        ]
        rate, p = settings[group(path, None)]
        expected = reference.padam(gradients, rate, p=p)[-1]
        np.testing.assert_allclose(u, expected, rtol=1e-4, atol=1e-9)
        groups.add((path[1].key, p))
    assert groups == {
        ("Embed_0", 1 / 2),
        ("LayerNorm_0", 1 / 2),
        ("Conv_0", 1 / 8),
        ("Dense_0", 1 / 8),
    }
