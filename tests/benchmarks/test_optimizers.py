"""Every baseline equals the formula that the lectures print, in float64 to 1e-12."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import optimizers
from benchmarks.errors import UsageError
from benchmarks.optimizers import OPTIMIZERS, Run
from benchmarks.optimizers.evaluation import find_eval_params
from tests import reference
from tests.marks import fast

GRADIENTS = np.random.default_rng(0).normal(size=(40, 5)) * [1e-3, 0.1, 1, 10, 100]
# Optax's own functions mix dtypes.
pytestmark = pytest.mark.usefixtures("standard_promotion")


def updates_of(optimizer, gradients=GRADIENTS):
    x = jnp.zeros(gradients[0].shape)

    def step(state, g):
        u, state = optimizer.update(g, state, x)
        return state, u

    return np.asarray(jax.lax.scan(step, optimizer.init(x), jnp.asarray(gradients))[1])


def constant(value):
    return lambda count: value


# name -> (settings beside a learning rate of 0.1, the expected updates)
RULES = {
    "sgd": ({}, lambda g: reference.sgd(g, 0.1)),
    "momentum": ({"momentum": 0.9}, lambda g: reference.momentum(g, 0.1, 0.9)),
    "polyak": (
        {"momentum": 0.9},
        lambda g: reference.polyak(g, lambda k: 0.1, 0.9),
    ),
    "adagrad": ({"eps": 1e-3}, lambda g: reference.adagrad(g, 0.1, 1e-3)),
    "adagrad-mean": ({}, lambda g: reference.adagrad_mean(g, 0.1)),
    "rmsprop": (
        {"decay": 0.9, "eps": 1e-3},
        lambda g: reference.rmsprop(g, 0.1, 0.9, 1e-3),
    ),
    "adadelta": (
        {"rho": 0.9, "eps": 1e-3},
        lambda g: [0.1 * u for u in reference.adadelta(g, 0.9, 1e-3)],
    ),
    "adam": (
        {"b1": 0.9, "b2": 0.99},
        lambda g: reference.adam(g, 0.1, 0.9, 0.99, 1e-8),
    ),
    "adam-uncorrected": (
        {"b1": 0.9, "b2": 0.99, "eps": 0.0},
        lambda g: reference.padam(g, 0.1, 0.9, 0.99, 0.0, 0.5, with_max=False),
    ),
    "amsgrad": (
        {"b1": 0.9, "b2": 0.99},
        lambda g: reference.padam(
            g, 0.1, 0.9, 0.99, 1e-8, 0.5, bias_correction="before_max"
        ),
    ),
    "amsgrad-uncorrected": (
        {"b1": 0.9, "b2": 0.99, "eps": 0.0},
        lambda g: reference.padam(g, 0.1, 0.9, 0.99, 0.0, 0.5),
    ),
    "adamw": (
        {"b1": 0.9, "b2": 0.99},
        lambda g: reference.adam(g, 0.1, 0.9, 0.99, 1e-8),
    ),
    "yogi": (
        {"b1": 0.9, "b2": 0.99, "eps": 1e-3},
        lambda g: reference.yogi(g, 0.1, 0.9, 0.99, 1e-3, 1e-6),
    ),
    "adabelief": (
        {"b1": 0.9, "b2": 0.99, "eps": 1e-3, "eps_root": 1e-6},
        lambda g: reference.adabelief(g, 0.1, 0.9, 0.99, 1e-3, 1e-6),
    ),
    "padam": (
        {"b1": 0.9, "b2": 0.99, "p": 0.125, "bias_correction": "official"},
        lambda g: reference.padam(g, 0.1, 0.9, 0.99, bias_correction="official"),
    ),
    "padamw": (
        {"b1": 0.9, "b2": 0.99, "p": 0.25, "bias_correction": "official"},
        lambda g: reference.padam(
            g, 0.1, 0.9, 0.99, p=0.25, bias_correction="official"
        ),
    ),
    "adagrad-norm": (
        {"b0": 0.5},
        lambda g: (
            -0.1
            * g
            / np.sqrt(0.25 + np.cumsum(np.sum(g**2, axis=1, keepdims=True), axis=0))
        ),
    ),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", RULES)
def test_updates_equal_the_formula(name):
    settings, rule = RULES[name]
    row = OPTIMIZERS[name]
    assert set(settings) <= set(row.recipe)
    decay = {"weight_decay": 0.0} if "weight_decay" in row.recipe else {}
    built = row.build(learning_rate=constant(0.1), **decay, **settings)
    np.testing.assert_allclose(updates_of(built), np.stack(rule(GRADIENTS)), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_polyak_keeps_old_steps_when_the_rate_falls():
    def rate(k):
        return 0.1 * 0.8 ** jnp.asarray(k, jnp.float64)

    built = OPTIMIZERS["polyak"].build(
        learning_rate=rate, momentum=0.9, weight_decay=0.0
    )
    expected = reference.polyak(GRADIENTS, lambda k: 0.1 * 0.8**k, 0.9)
    np.testing.assert_allclose(updates_of(built), np.stack(expected), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_nesterov_holds_the_look_ahead_points():
    curvature = np.array([1.0, 10.0])

    def gradient(x):
        return curvature * x + np.cos(x)

    built = OPTIMIZERS["nesterov"].build(
        learning_rate=constant(0.02), momentum=0.9, weight_decay=0.0
    )
    x = jnp.ones(2)
    state, points = built.init(x), [x]
    for _ in range(30):
        u, state = built.update(jnp.asarray(gradient(np.asarray(x))), state, x)
        x = optax.apply_updates(x, u)
        points.append(x)
    expected = reference.nesterov(gradient, np.ones(2), 30, 0.02, 0.9)
    np.testing.assert_allclose(np.stack(points), expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_lbfgs_with_enough_memory_is_dense_bfgs():
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))
    matrix = rotation @ np.diag([0.5, 0.7, 0.9, 1.1]) @ rotation.T

    def gradient(x):
        return matrix @ x + 0.1 * x**3

    lbfgs = optax.chain(
        optax.scale_by_lbfgs(memory_size=10, scale_init_precond=False),
        optax.scale(-1.0),
    )
    x = jnp.ones(4)
    state = lbfgs.init(x)
    expected = reference.bfgs(gradient, np.ones(4), 8)
    for row in expected[1:]:
        u, state = lbfgs.update(jnp.asarray(gradient(np.asarray(x))), state, x)
        x = optax.apply_updates(x, u)
        np.testing.assert_allclose(x, row, rtol=1e-10, atol=1e-13)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", [n for n in RULES if n not in ("adamw", "padamw")])
def test_decay_is_added_to_the_gradient(name):
    row = OPTIMIZERS[name]
    settings, rule = RULES[name]
    built = row.build(learning_rate=constant(0.1), weight_decay=0.3, **settings)
    x = jnp.full(5, 2.0)
    u, _ = built.update(jnp.asarray(GRADIENTS[0]), built.init(x), x)
    expected = rule((GRADIENTS[0] + 0.3 * 2)[None])[0]
    np.testing.assert_allclose(u, expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["adamw", "padamw"])
def test_decoupled_decay_shrinks_what_has_no_gradient(name):
    built = OPTIMIZERS[name].build(
        **{**OPTIMIZERS[name].recipe, "learning_rate": constant(0.1)}
    )
    x = jnp.full(2, 3.0)
    u, _ = built.update(jnp.zeros(2), built.init(x), x)
    decay = float(OPTIMIZERS[name].recipe["weight_decay"])
    np.testing.assert_allclose(u, -0.1 * decay * 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("momentum", {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4}),
        (
            "adam",
            {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.99, "weight_decay": 1e-4},
        ),
        (
            "amsgrad",
            {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.99, "weight_decay": 1e-4},
        ),
        (
            "padam",
            {
                "learning_rate": 0.1,
                "b1": 0.9,
                "b2": 0.999,
                "p": 0.125,
                "bias_correction": "official",
                "weight_decay": 5e-4,
            },
        ),
    ],
)
def test_the_papers_recipes_are_the_papers(name, recipe):
    assert OPTIMIZERS[name].recipe == recipe


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_recipe_builds_and_steps(name):
    settings = optimizers.recipe(name, {})
    schedule = optax.constant_schedule(settings["learning_rate"])
    built = optimizers.build(name, settings, schedule, Run(100, 50, 0))
    x = jnp.ones(3)
    u, _ = optax.with_extra_args_support(built).update(
        x, built.init(x), x, value=1.5, grad=x, value_fn=lambda x: jnp.sum(x**2) / 2
    )
    assert np.isfinite(u).all()
    # Santa begins with noise.
    if not name.startswith("santa"):
        assert (np.asarray(u) < 0).all()


def test_santa_receives_the_summed_gradient():
    run = Run(steps=10, num_examples=50, seed=0)
    settings = optimizers.recipe("santa-e", {})
    schedule = optax.constant_schedule(settings["learning_rate"])
    built = optimizers.build("santa-e", settings, schedule, run)
    x = jnp.ones(1000)
    state = built.init(x)
    for _ in range(5):  # exploration
        _, state = built.update(x, state)
    u, after = built.update(x, state)
    # Refinement: u' = (1-A) u - η N q ḡ with η N the recipe's rate.
    q = 1 / np.sqrt(1e-5 + np.sqrt(np.asarray(after.nu)))
    momentum = (1 - np.asarray(state.thermostat)) * np.asarray(state.momentum)
    rate = float(OPTIMIZERS["santa-e"].recipe["learning_rate"])
    expected = q * (momentum - rate * q)
    np.testing.assert_allclose(u, expected, rtol=1e-3)


def test_p_falls_from_amsgrad_to_padam():
    run = Run(steps=40, num_examples=50, seed=0)
    settings = optimizers.recipe("padam-falling", {"until": 0.2, "weight_decay": 0.0})
    built = optimizers.build("padam-falling", settings, constant(0.1), run)
    x = jnp.ones(3)
    state, steps = built.init(x), []
    for _ in range(12):
        u, state = built.update(x, state, x)
        steps.append(-np.asarray(u))
    # Under a constant gradient of 1 the step is α c2^(1/2-p): AMSGrad's 0.001 at first,
    # Padam's after 0.2 of the 40 steps; halfway p is 5/16, and the rate their mean.
    np.testing.assert_allclose(steps[0], 0.001, rtol=1e-5)
    middle = (0.1 * 0.001) ** 0.5 * (1 - 0.999**5) ** (3 / 16)
    np.testing.assert_allclose(steps[4], middle, rtol=1e-5)
    last = 0.1 * (1 - 0.999**12) ** (3 / 8)
    np.testing.assert_allclose(steps[11], last, rtol=1e-5)


@pytest.mark.parametrize(
    ("format", "size", "apart"),
    fast([("8-bit", 3, 0.3), ("16-bit", 6, 0.01)], ("16-bit", 6, 0.01)),
)
def test_padam_with_few_bits_is_padam_in_less_memory(format, size, apart):
    x = jnp.linspace(0.5, 1.5, 4096)
    updates = {}
    for name, changes in (("padam", {}), ("padam-compressed", {"format": format})):
        settings = optimizers.recipe(name, changes)
        built = optimizers.build(name, settings, constant(0.1), Run(1, 1, 0))
        state = built.init(x)
        for _ in range(3):
            updates[name], state = built.update(x, state, x)
    np.testing.assert_allclose(*updates.values(), rtol=apart)
    means = [np.mean(u) for u in updates.values()]
    np.testing.assert_allclose(*means, rtol=apart / 10)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(state)) <= size * 4096 + 32


def test_settings_are_replaced_and_unknown_ones_refused():
    changed = optimizers.recipe("padam", {"p": 0.25, "bias_correction": "none"})
    assert changed == {
        **OPTIMIZERS["padam"].recipe,
        "p": 0.25,
        "bias_correction": "none",
    }
    assert OPTIMIZERS["padam"].recipe["p"] == 0.125
    assert optimizers.recipe("lbfgs", {"memory_size": 5.0})["memory_size"] == 5
    with pytest.raises(UsageError, match="momentum has no such setting; it has learn"):
        optimizers.recipe("momentum", {"p": 0.25})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("padam", {"p": "abc"}, "p of padam must be a number, got 'abc'"),
        ("lbfgs", {"memory_size": "x"}, "memory_size of lbfgs must be a number"),
        ("adam", {"learning_rate": "x"}, "learning_rate of adam must be a number"),
        ("adam", {"learning_rate": -1.0}, "learning_rate of adam .*>= 0, got -1.0"),
        ("adam", {"learning_rate": np.nan}, "learning_rate of adam .*>= 0, got nan"),
        ("adam", {"learning_rate": np.inf}, "learning_rate of adam .*>= 0, got inf"),
        ("optax:adam", {"nesterov": "yes"}, "must be true or false, got 'yes'"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused(name, changes, message):
    with pytest.raises(UsageError, match=f"--recipe .*{message}"):
        optimizers.recipe(name, changes)


def test_a_setting_behind_the_name_of_ones_own_optimizer_is_checked():
    with pytest.raises(UsageError, match="optax:lion,b1=zz: b1 must be a number.*'zz'"):
        optimizers.lookup("optax:lion,b1=zz")


def test_a_setting_that_an_optimizer_refuses_is_reported_in_its_words():
    settings = optimizers.recipe("padam", {"p": 0.7})
    with pytest.raises(UsageError, match=r"padam: p must be in .*0.7"):
        optimizers.build("padam", settings, constant(0.1), Run(1, 1, 0))


def test_an_unknown_optimizer_lists_what_exists():
    with pytest.raises(UsageError, match="'padan' does not exist.*padam"):
        optimizers.lookup("padan")


def test_a_stepped_p_takes_its_rate_along():
    settings = optimizers.recipe(
        "padam-stepped",
        {"b1": 0.0, "b2": 0.0, "weight_decay": 0.0, "typical_root": 0.01},
    )
    settings["bias_correction"] = "none"
    tx = optimizers.build(
        "padam-stepped", settings, lambda count: 0.1, optimizers.Run(10, 100, 0)
    )
    g = jnp.array([1e-3, 0.5])
    state, found = tx.init(g), []
    for _ in range(10):
        update, state = tx.update(g, state, g)
        found.append(update)
    # Without memory v̂ = g²: the step is α g / |g|^2p with α = 0.1 · 0.01^(2p - 1/4).
    for step, p in ((0, 1 / 2), (2, 1 / 2), (3, 1 / 4), (6, 1 / 8), (9, 1 / 16)):
        rate = 0.1 * 0.01 ** (2 * p - 1 / 4)
        expected = -rate * np.asarray(g, np.float64) ** (1 - 2 * p)
        np.testing.assert_allclose(found[step], expected, rtol=1e-4)


def test_schedule_free_is_evaluated_at_the_mean_of_its_steps():
    changes = {"weight_decay": 0.0, "learning_rate": 0.5}
    settings = optimizers.recipe("schedule-free", changes)
    run = optimizers.Run(10, 100, 0)
    # The schedule falls, but the rate stays.
    tx = optimizers.build("schedule-free", settings, lambda k: 0.5 / (k + 1), run)
    y = jnp.array([1.0, -2.0])
    state = tx.init(y)
    x = z = np.array([1.0, -2.0])
    scale = np.array([1.0, 0.2])
    for k in range(1, 5):
        update, state = tx.update(scale * y, state, y)
        y = optax.apply_updates(y, update)
        z = z - 0.5 * scale * (0.1 * z + 0.9 * x)
        x = (1 - 1 / k) * x + z / k
        np.testing.assert_allclose(y, 0.1 * z + 0.9 * x, rtol=1e-5)
    averages = find_eval_params(state)
    assert averages is not None
    np.testing.assert_allclose(averages(state, y), x, rtol=1e-5)


def test_muon_takes_a_convolution_as_a_matrix():
    settings = optimizers.recipe("muon", {"weight_decay": 0.0})
    tx = optimizers.build("muon", settings, lambda k: 1.0, optimizers.Run(10, 100, 0))
    rng = np.random.default_rng(0)
    g = {"kernel": jnp.asarray(rng.normal(size=(3, 3, 4, 8)), jnp.float32)}
    update, _ = tx.update(g, tx.init(g), g)
    values = np.linalg.svd(np.reshape(update["kernel"], (36, 8)), compute_uv=False)
    # 0.2 √36 times singular values near 1, as five steps of Newton and Schulz leave.
    np.testing.assert_allclose(values, 0.2 * 6, rtol=0.35)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("sgd", [-0.1, -0.1]),
        ("momentum", [-0.1, -0.19]),
        ("adam", [-0.1, -0.1]),  # the corrected moments of equal gradients are equal
        # m = 0.1 and v = 0.001 of the first one, then 0.19 and 0.001999.
        ("padam-uncorrected", [-0.1 * 0.1 / 0.001**0.125, -0.019 / 0.001999**0.125]),
    ],
)
def test_what_is_made_outside_of_training_has_no_decay(name, steps):
    tx = optimizers.make(name, 0.1)
    params, g = jnp.array([5.0]), jnp.array([1.0])
    state = tx.init(params)
    for step in steps:
        updates, state = tx.update(g, state, params)
        np.testing.assert_allclose(updates, [step], rtol=1e-5)
        params = optax.apply_updates(params, updates)
