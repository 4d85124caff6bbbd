"""The ready-made optimizers: learning rate, decay, schedules, and bad arguments."""

import os
import subprocess
import sys
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import padam_optax
from padam_optax import padam, padamw, scale_by_partial_adaptive
from tests import reference

GRADIENTS = np.random.default_rng(0).normal(size=(20, 4))


def trajectory(opt, x, gradients=GRADIENTS):
    state, xs = opt.init(x), [x]
    for g in gradients:
        u, state = opt.update(jnp.asarray(g, x.dtype), state, x)
        x = optax.apply_updates(x, u)
        xs.append(x)
    return np.stack(xs)


# --- Learning rate and decay -------------------------------------------------------


@pytest.mark.usefixtures("x64")
def test_decay_of_padam_passes_through_the_moments():
    actual = trajectory(padam(0.1, weight_decay=0.3, p=0.2), jnp.ones(4))
    expected = reference.descend(
        reference.padam, lambda x, t: GRADIENTS[t], np.ones(4), 20, 0.3, p=0.2
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_decay_of_padamw_does_not():
    actual = trajectory(padamw(0.1, weight_decay=0.3, p=0.2), jnp.ones(4))
    x = np.ones(4)
    for t, u in enumerate(reference.padam(GRADIENTS, 0.1, p=0.2)):
        x = x + u - 0.1 * 0.3 * x
        np.testing.assert_allclose(actual[t + 1], x, rtol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("make", [padam, padamw])
def test_mask_keeps_decay_from_what_it_names(make):
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}

    def first_step(**kwargs):
        opt = make(0.1, **kwargs)
        u, _ = opt.update(params, opt.init(params), params)
        return u

    plain, full = first_step(weight_decay=0.0), first_step(weight_decay=0.5)
    for mask in (
        {"kernel": True, "bias": False},
        lambda params: jax.tree.map(lambda x: x.ndim > 1, params),
    ):
        u = first_step(weight_decay=0.5, mask=mask)
        np.testing.assert_array_equal(u["kernel"], full["kernel"])
        np.testing.assert_array_equal(u["bias"], plain["bias"])
    assert (full["bias"] != plain["bias"]).all()


@pytest.mark.usefixtures("x64")
def test_schedules_start_at_count_zero():
    def halving(start):
        return lambda count: start * 0.5 ** jnp.asarray(count, jnp.float64)

    opt = padam(halving(0.1), p=halving(0.5), weight_decay=halving(0.3))
    x, actual = np.ones(4), trajectory(opt, jnp.ones(4))
    gradients = []
    for t in range(20):
        gradients.append(GRADIENTS[t] + 0.3 * 0.5**t * x)
        x = (
            x
            + reference.padam(
                gradients, lambda s: 0.1 * 0.5**s, p=lambda s: 0.5 * 0.5**s
            )[-1]
        )
        np.testing.assert_allclose(actual[t + 1], x, rtol=1e-12)


@pytest.mark.usefixtures("x64", "standard_promotion")
def test_injected_hyperparameters_can_be_changed_and_scheduled():
    opt = optax.inject_hyperparams(padam)(
        learning_rate=0.1,
        p=lambda count: 0.5 - 0.025 * count.astype(jnp.float64),
        weight_decay=0.0,
    )
    x = jnp.ones(4)
    state = opt.init(x)
    gradients, position = [], np.ones(4)
    rates = [0.1] * 5 + [0.02] * 5
    decays = [0.0] * 5 + [0.3] * 5
    for t in range(10):
        state.hyperparams["learning_rate"] = jnp.asarray(rates[t])
        state.hyperparams["weight_decay"] = jnp.asarray(decays[t])
        u, state = jax.jit(opt.update)(GRADIENTS[t], state, x)
        x = optax.apply_updates(x, u)
        gradients.append(GRADIENTS[t] + decays[t] * position)
        position = (
            position
            + reference.padam(
                gradients, lambda s: rates[s], p=lambda s: 0.5 - 0.025 * s
            )[-1]
        )
        np.testing.assert_allclose(x, position, rtol=1e-12)


@pytest.mark.parametrize("jit", [False, True])
def test_an_injected_schedule_of_p_may_reach_zero(jit):
    opt = optax.inject_hyperparams(padam)(
        0.1, p=padam_optax.schedules.linear_p_schedule(0.5, 0.0, 2)
    )
    update = jax.jit(opt.update) if jit else opt.update
    g = jnp.array([1e-3, 10.0])
    state = opt.init(g)
    for _ in range(3):
        u, state = update(g, state)
    np.testing.assert_allclose(u, -0.1 * (1 - 0.9**3) * g, rtol=1e-6)


@pytest.mark.usefixtures("standard_promotion")
def test_injected_bfloat16_hyperparameters_need_a_wider_dtype():
    params = jnp.ones(2, jnp.bfloat16)
    with pytest.raises(ValueError, match=r"hyperparam_dtype=jnp\.float32"):
        optax.inject_hyperparams(padam)(0.1).init(params)
    opt = optax.inject_hyperparams(padam, hyperparam_dtype=jnp.float32)(0.1)
    u, _ = opt.update(params, opt.init(params), params)
    assert u.dtype == jnp.bfloat16
    np.testing.assert_allclose(float(u[0]), reference.padam([1.0], 0.1)[0], rtol=1e-2)


def test_decay_without_parameters_names_them():
    opt = padam(0.1, weight_decay=0.1)
    g = jnp.ones(2)
    with pytest.raises(ValueError, match="params"):
        opt.update(g, opt.init(g))
    no_decay = padam(0.1)
    no_decay.update(g, no_decay.init(g))


@pytest.mark.parametrize("make", [padam, padamw])
def test_no_decay_needs_no_parameters(make):
    g = jnp.array([1.0, -2.0])
    expected = reference.padam([np.array([1.0, -2.0])], 0.1)[0]
    for weight_decay in (None, 0, 0.0):
        opt = make(0.1, weight_decay=weight_decay)
        u, _ = jax.jit(opt.update)(g, opt.init(g))
        np.testing.assert_allclose(u, expected, rtol=1e-6)


def test_injected_hyperparameters_without_decay_need_no_parameters():
    opt = optax.inject_hyperparams(padam)(learning_rate=0.1)
    g = jnp.array([1.0, -2.0])
    u, _ = jax.jit(opt.update)(g, opt.init(g))
    expected = reference.padam([np.array([1.0, -2.0])], 0.1)[0]
    np.testing.assert_allclose(u, expected, rtol=1e-5)


def test_fractions_are_numbers():
    opt = padam(Fraction(1, 10), Fraction(9, 10), p=Fraction(1, 8))
    expected = trajectory(padam(0.1, 0.9, p=0.125), jnp.ones(4))
    np.testing.assert_array_equal(trajectory(opt, jnp.ones(4)), expected)


def test_clipping_composes():
    opt = optax.chain(optax.clip_by_global_norm(1.0), padam(0.1))
    g = jnp.array([30.0, 40.0])
    u, _ = opt.update(g, opt.init(g))
    expected = reference.padam([np.array([0.6, 0.8])], 0.1)[0]
    np.testing.assert_allclose(u, expected, rtol=1e-6)


def test_groups_can_have_their_own_exponent():
    params = {"embedding": jnp.ones(2), "kernel": jnp.ones(2)}
    opt = optax.multi_transform(
        {"half": padam(0.001, p=0.5), "eighth": padam(0.1, p=0.125)},
        {"embedding": "half", "kernel": "eighth"},
    )
    g = {"embedding": jnp.full(2, 3.0), "kernel": jnp.full(2, 3.0)}
    u, _ = opt.update(g, opt.init(params), params)
    for name, rate, p in [("embedding", 0.001, 0.5), ("kernel", 0.1, 0.125)]:
        expected = reference.padam([np.full(2, 3.0)], rate, p=p)[0]
        np.testing.assert_allclose(u[name], expected, rtol=1e-6)


# --- Bad arguments -----------------------------------------------------------------


@pytest.mark.parametrize("make", [padam, padamw])
@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"p": 0.7}, r"p must be in \[1e-5, 1/2\], got 0\.7\. .*2p.*pass p=0\.35"),
        ({"p": 1.5}, r"p must be in \[1e-5, 1/2\], got 1\.5"),
        ({"p": -0.1}, r"p must be in \[1e-5, 1/2\], got -0\.1"),
        ({"p": np.nan}, r"p must be in \[1e-5, 1/2\], got nan"),
        ({"p": np.float64(0)}, r"p must be in \[1e-5, 1/2\], got 0\.0"),
        ({"p": 0}, r"got 0\. .*optax\.sgd\(.*\* \(1 - b1\), momentum=b1\)"),
        ({"p": jnp.float32(0.7)}, r"p must be in \[1e-5, 1/2\], got 0\.7"),
        ({"b1": 1.0}, r"b1 must be in \[0, 1\), got 1\.0"),
        ({"b1": -0.1}, r"b1 must be in \[0, 1\), got -0\.1"),
        ({"b2": np.float32(2)}, r"b2 must be in \[0, 1\), got 2\.0"),
        ({"eps": -1e-8}, r"eps must be a finite number >= 0, got -1e-08"),
        ({"eps": np.nan}, "eps must be a finite number >= 0, got nan"),
        ({"eps_root": -1.0}, "eps_root must be a finite number >= 0, got"),
        ({"learning_rate": -0.1}, r"learning_rate must be .* >= 0, got -0\.1"),
        ({"learning_rate": np.nan}, "learning_rate must be .*, got nan"),
        ({"weight_decay": -1.0}, r"weight_decay must be .* >= 0, got -1\.0"),
        ({"bias_correction": "both"}, "bias_correction must be one of none, .*'both'"),
        ({"mask": "kernel"}, "mask must be a tree of bools .*, got 'kernel'"),
        ({"mask": {"a": 1}}, "mask must be a tree of bools .*, got {'a': 1}"),
        ({"mu_dtype": jnp.int32}, "mu_dtype must be .*, got int32"),
    ],
)
def test_bad_values_are_named_with_range_and_remedy(make, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**{"learning_rate": 0.1, **kwargs})


@pytest.mark.parametrize("name", ["learning_rate", "p", "b1", "b2", "eps", "eps_root"])
@pytest.mark.parametrize("value", ["0.1", None, True, 0.1j, np.array([0.1])])
def test_what_is_no_number_is_a_type_error(name, value):
    with pytest.raises(TypeError, match=f"{name} must be"):
        padam(**{"learning_rate": 0.1, name: value})


@pytest.mark.parametrize("value", ["real", 3, 0.5])
def test_what_is_no_dtype_is_a_type_error(value):
    with pytest.raises(TypeError, match=f"mu_dtype must be .*, got {value!r}"):
        padam(0.1, mu_dtype=value)


@pytest.mark.parametrize("name", ["learning_rate", "p", "b1", "weight_decay"])
def test_arrays_of_size_one_are_refused_with_the_remedy(name):
    with pytest.raises(TypeError, match=rf"{name} must be .*value\.item\(\)"):
        padam(**{"learning_rate": 0.1, name: jnp.array([0.1])})


@pytest.mark.parametrize("eps_root", [0.0, 1e-15, 1e-8, 1e-6])
@pytest.mark.parametrize("make", [padam, padamw])
def test_eps_root_by_position_is_told_that_it_is_a_keyword(make, eps_root):
    with pytest.raises(ValueError, match="p must be .*eps_root, name it: the fifth"):
        make(1e-3, 0.9, 0.999, 1e-8, eps_root)  # as optax.adamw takes them


def test_a_leaf_that_is_no_array_is_named():
    """As of a network whose activations were not filtered out."""
    with pytest.raises(TypeError, match=r"params\['act'\] must be an array.*PjitFunc"):
        padam(0.1).init({"w": jnp.ones(2), "act": jax.jit(abs)})


def test_a_dtype_that_was_made_an_array_is_told_to_be_a_name():
    make = optax.inject_hyperparams(padam)
    with pytest.raises(
        (TypeError, ValueError), match="for inject_hyperparams pass its name"
    ):
        make(0.1, mu_dtype=jnp.bfloat16).init(jnp.ones(2))
    state = make(0.1, mu_dtype="bfloat16").init(jnp.ones(2))
    assert optax.tree.get(state, "mu").dtype == jnp.bfloat16


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay"])
def test_strings_are_a_type_error(name):
    with pytest.raises(TypeError, match=f"{name} must be"):
        padam(**{"learning_rate": 0.1, name: "0.1"})


@pytest.mark.parametrize("name", ["b1", "b2", "eps"])
def test_functions_are_refused_where_no_schedule_is_possible(name):
    with pytest.raises(TypeError, match=f"{name} must be"):
        scale_by_partial_adaptive(**{name: lambda count: 0.5})


def test_the_sgd_that_the_message_names_is_the_limit():
    ours = padam(0.1, p=lambda count: jnp.zeros([]))
    expected = trajectory(optax.sgd(0.01, momentum=0.9), jnp.ones(4))
    np.testing.assert_allclose(trajectory(ours, jnp.ones(4)), expected, rtol=1e-5)


def test_traced_values_pass_unchecked():
    def step(p, rate):
        opt = padam(rate, p=p, weight_decay=rate)
        x = jnp.ones(2)
        return opt.update(x, opt.init(x), x)[0]

    assert jax.jit(step)(0.7, -1.0).shape == (2,)


# --- Import ------------------------------------------------------------------------


def test_import_and_construction_need_no_backend_and_no_other_package():
    program = """
import jax, optax, numpy, padam_optax, sys
for name in ("flax", "chex", "tensorflow", "orbax", "matplotlib", "benchmarks"):
    assert name not in sys.modules, name
optax.chain(
    optax.clip_by_global_norm(1.0),
    padam_optax.padam(
        optax.cosine_decay_schedule(0.1, 10), p=0.3, weight_decay=1e-4,
        mask=lambda params: True, mu_dtype="bfloat16",
    ),
    padam_optax.padamw(0.1, bias_correction="before_max"),
)
P = padam_optax.projections
P.box(0, 1), P.halfspace([1, 2], 3), P.affine([[1, 2]], [3]), P.simplex(), P.l2_ball(2)
try:
    jax.devices()
except RuntimeError:
    print("no backend can start here")
"""
    # A platform that does not exist: whatever starts a backend fails.
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "JAX_PLATFORMS": "nonexistent"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "no backend can start here\n"


def test_public_names_are_all_there_is():
    namespaces = "contrib diagnostics experimental projections schedules state"
    optimizers = "padam padamw scale_by_partial_adaptive"
    moments = "square moving_average debias running_max"
    expected = f"{namespaces} {optimizers} {moments}".split()
    public = {name for name in dir(padam_optax) if not name.startswith("_")}
    assert public == set(expected)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("adagrad_norm", "contrib"),
        ("reset_max", "state"),
        ("quantize_state", "experimental"),
        ("projected", "projections"),
        ("check_convergence_conditions", "diagnostics"),
        ("learning_rate_for", "diagnostics"),
        ("yogi_average", "contrib"),
        ("linear_p_schedule", "schedules"),
    ],
)
def test_a_name_looked_for_at_the_top_is_told_its_place(name, place):
    assert not hasattr(padam_optax, name)
    assert hasattr(getattr(padam_optax, place), name)
    with pytest.raises(AttributeError, match=rf"use padam_optax\.{place}\.{name}\."):
        getattr(padam_optax, name)


def test_a_name_that_is_nowhere_is_missing_as_usual():
    with pytest.raises(AttributeError, match="has no attribute 'scale_by_padam'"):
        getattr(padam_optax, "scale_by_padam")  # noqa: B009
    assert not hasattr(padam_optax, "__wrapped__")
