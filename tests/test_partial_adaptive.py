"""The rescaling: the authors' trajectories, the formulas, the limits, the edges."""

import itertools
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import padam_optax
from tests import reference
from tests.marks import fast

CONVENTIONS = ["none", "official", "consistent", "before_max"]
GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "padam_official.npz")
EPS32 = np.finfo(np.float32).eps


def updates_of(opt, gradients):
    """Return the update of every step for gradients stacked along their first axis."""
    gradients = jax.tree.map(jnp.asarray, gradients)

    def step(state, g):
        u, state = opt.update(g, state)
        return state, u

    @jax.jit
    def run(gradients):
        state = opt.init(jax.tree.map(lambda g: jnp.zeros_like(g[0]), gradients))
        return jax.lax.scan(step, state, gradients)[1]

    return np.asarray(run(gradients))


def spike_calm_spike(steps=60, shape=(6,), seed=0):
    """Gradients whose running maximum binds most of the time."""
    g = np.random.default_rng(seed).normal(size=(steps, *shape))
    g[3] *= 100
    g[steps // 2 :] *= 1e-2
    g[-5] *= 1000
    return g


# --- The authors' trajectories -----------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("implementation", ["official", "np_paper"])
@pytest.mark.parametrize(
    ("p", "decay"),
    fast(
        itertools.product([0.5, 0.125, 0.3], ["0", "0.0005"]),
        (0.5, "0"),
        (0.125, "0.0005"),
    ),
)
def test_golden_trajectories_are_met(implementation, p, decay):
    official = implementation == "official"
    convention = {
        "eps": 1e-8 if official else 0.0,
        "bias_correction": "official" if official else "none",
    }

    def follow(case, names, gradient, b2):
        key = f"{case}/{implementation}/p{p}/wd{decay}"
        golden = {name: GOLDEN[f"{key}/{name}"] for name in names}
        opt = padam_optax.padam(
            0.1, 0.9, b2, p=p, weight_decay=float(decay), **convention
        )
        x = {name: jnp.asarray(rows[0]) for name, rows in golden.items()}
        state = opt.init(x)
        update = jax.jit(opt.update)
        for t in range(50):
            u, state = update(gradient(x, t), state, x)
            x = optax.apply_updates(x, u)
            for name in names:
                np.testing.assert_allclose(x[name], golden[name][t + 1], 0, 1e-12)
        if official:
            for ours, theirs in [
                ("mu", "exp_avg"),
                ("nu", "exp_avg_sq"),
                ("nu_max", "max_exp_avg_sq"),
            ]:
                for name in names:
                    np.testing.assert_allclose(
                        optax.tree.get(state, ours)[name],
                        GOLDEN[f"{key}/final_{theirs}_{name}"],
                        1e-12,
                    )

    a = {name: GOLDEN[f"a/in/{name}"] for name in ("A", "b", "c", "w", "noise")}

    def gradient_of_a(x, t):
        x = np.asarray(x["x"])
        wave = a["c"] * a["w"] * np.cos(a["w"] * x)
        return {"x": jnp.asarray(a["A"] @ (x - a["b"]) + wave + a["noise"][t])}

    def gradient_of_d(x, t):
        del x
        return {"W": GOLDEN["d/in/gW"][t], "B": GOLDEN["d/in/gB"][t]}

    follow("a", ["x"], gradient_of_a, 0.999)
    follow("d", ["W", "B"], gradient_of_d, 0.9)


# --- The formulas, on random settings ----------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("seed", fast(range(12), *range(6)))
def test_random_settings_equal_the_reference(seed):
    rng = np.random.default_rng(seed)
    settings = {
        "b1": rng.choice([0.0, 0.5, 0.9, rng.uniform(0, 0.99)]),
        "b2": rng.choice([0.0, 0.9, 0.999, rng.uniform(0, 0.9999)]),
        "eps": rng.choice([0.0, 1e-8, 1e-3]),
        "eps_root": rng.choice([0.0, 0.0, 1e-6]),
        "p": rng.choice([0.5, 0.25, 0.125, 0.0625, 0.3, rng.uniform(0.01, 0.5)]),
        "bias_correction": CONVENTIONS[seed % 4],
        "nesterov": bool(rng.integers(2)),
    }
    gradients = spike_calm_spike(seed=seed) * 10 ** rng.uniform(-4, 4, size=6)
    if seed % 3 == 0:
        gradients = gradients + 1j * spike_calm_spike(seed=seed + 1000)
    gradients[:, 0] = 0  # never sees a gradient
    actual = updates_of(padam_optax.scale_by_partial_adaptive(**settings), gradients)
    expected = -np.stack(reference.padam(gradients, 1.0, **settings))
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(
    ("p", "nesterov"), fast([(0.5, False), (0.125, True), (0.3, False)], (0.125, True))
)
def test_float32_is_within_thirty_epsilons(convention, p, nesterov):
    gradients = spike_calm_spike(400).astype(np.float32)
    settings = {"p": p, "bias_correction": convention, "nesterov": nesterov}
    if convention == "before_max":
        # At 0.999 it shares the rounding of Optax's 1 - b2^t, 1e-5, and keeps it.
        settings |= {"b1": 0.5, "b2": 0.5}
    exact = gradients.astype(np.float64)
    expected = -np.stack(reference.padam(exact, 1.0, **settings))
    size = reference.padam(exact, 1.0, **settings, without_cancellation=True)
    actual = updates_of(padam_optax.scale_by_partial_adaptive(**settings), gradients)
    assert np.max(np.abs((actual - expected) / size)) < 30 * EPS32


@pytest.mark.parametrize(
    ("dtype", "ulp", "mu_dtype"),
    [(jnp.float16, 2.0**-10, None), (jnp.bfloat16, 2.0**-7, jnp.float32)],
)
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_half_precision_is_within_ten_ulp(dtype, ulp, convention, mu_dtype):
    # One sign, so that cancellation does not magnify the rounding of the momentum.
    gradients = jnp.asarray(np.abs(spike_calm_spike(300)).clip(0.01, 100), dtype)
    opt = padam_optax.padam(0.1, bias_correction=convention, mu_dtype=mu_dtype)
    exact = np.asarray(gradients, np.float64)
    expected = np.stack(reference.padam(exact, 0.1, bias_correction=convention))
    actual = updates_of(opt, gradients).astype(np.float64)
    assert np.max(np.abs(actual - expected) / np.abs(expected)) < 10 * ulp


@pytest.mark.slow
def test_30000_steps_do_not_drift():
    rng = np.random.default_rng(0)
    gradients = (1 + 0.5 * rng.normal(size=(30_000, 3))).astype(np.float32)
    actual = updates_of(padam_optax.scale_by_partial_adaptive(), gradients)
    expected = -np.stack(reference.padam(gradients.astype(np.float64), 1.0))
    np.testing.assert_allclose(actual[-1000:], expected[-1000:], rtol=30 * EPS32)


# --- Limits and laws ---------------------------------------------------------------


@pytest.mark.usefixtures("standard_promotion")  # Optax needs it
@pytest.mark.parametrize("corrected", [True, False])
def test_half_exponent_is_amsgrad(corrected):
    gradients = spike_calm_spike().astype(np.float32)
    ours = padam_optax.scale_by_partial_adaptive(
        p=0.5, bias_correction="before_max" if corrected else "none"
    )
    optaxs = optax.scale_by_amsgrad(
        bias_correction_mu=corrected, bias_correction_nu=corrected
    )
    actual, expected = updates_of(ours, gradients), updates_of(optaxs, gradients)
    size = np.abs(
        reference.padam(
            gradients.astype(np.float64),
            1.0,
            p=0.5,
            bias_correction="before_max" if corrected else "none",
            without_cancellation=True,
        )
    )
    assert np.max(np.abs(actual - expected) / size) < 20 * EPS32


def test_a_schedule_may_reach_zero_where_it_is_momentum():
    gradients = np.abs(spike_calm_spike()).astype(np.float32)
    gradients[:, 0] = 1e-30  # whose square is 0
    opt = padam_optax.scale_by_partial_adaptive(p=lambda _: jnp.float32(0), eps=0.0)
    expected = updates_of(optax.ema(0.9, debias=False), gradients)
    np.testing.assert_allclose(updates_of(opt, gradients), expected, 1e-6, 1e-35)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("p", fast([0.5, 0.25, 0.1], 0.1))
def test_scaling_gradients_by_c_scales_updates_by_c_to_the_one_minus_2p(p):
    gradients = spike_calm_spike()
    opt = padam_optax.scale_by_partial_adaptive(p=p, eps=0.0)
    np.testing.assert_allclose(
        updates_of(opt, 1e3 * gradients),
        1e3 ** (1 - 2 * p) * updates_of(opt, gradients),
        rtol=1e-12,
    )


@pytest.mark.parametrize("p", fast([0.5, 0.25, 0.125, 0.3], 0.125, 0.3))
def test_forms_of_the_power_agree(p):
    gradients = spike_calm_spike().astype(np.float32)
    number = padam_optax.scale_by_partial_adaptive(p=p)
    schedule = padam_optax.scale_by_partial_adaptive(p=lambda _: jnp.float32(p))
    np.testing.assert_allclose(
        updates_of(number, gradients), updates_of(schedule, gradients), rtol=8 * EPS32
    )


@pytest.mark.usefixtures("x64")
def test_a_scheduled_exponent_starts_at_count_zero():
    def p(count):
        return 0.5 / (1.0 + jnp.asarray(count, jnp.float64))

    gradients = spike_calm_spike(10)
    actual = updates_of(padam_optax.scale_by_partial_adaptive(p=p), gradients)
    expected = -np.stack(reference.padam(gradients, 1.0, p=p))
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_exponents_can_be_batched():
    gradients = spike_calm_spike(10)
    ps = jnp.array([0.5, 0.3, 0.125])

    def run(p):
        opt = padam_optax.scale_by_partial_adaptive(p=p)
        state = opt.init(jnp.zeros(6))
        for g in gradients:
            u, state = opt.update(jnp.asarray(g), state)
        return u

    actual = jax.jit(jax.vmap(run))(ps)
    for row, p in zip(actual, ps, strict=True):
        expected = -reference.padam(gradients, 1.0, p=float(p))[-1]
        np.testing.assert_allclose(row, expected, rtol=1e-12)


# --- Other second moments, by composing --------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("p", fast([0.5, 0.2], 0.2))
@pytest.mark.parametrize(
    ("second_moment", "settings"),
    [
        (("square", "moving_average"), {"with_max": False}),
        (("square", "yogi_average"), {"with_max": False, "average": "yogi"}),
        (
            ("squared_deviation", "moving_average"),
            {"with_max": False, "statistic": "deviation"},
        ),
        (
            ("squared_deviation", "moving_average", "running_max"),
            {"statistic": "deviation"},
        ),
    ],
)
def test_composed_second_moments_equal_the_reference(p, second_moment, settings):
    spaces = vars(padam_optax) | vars(padam_optax.contrib)
    links = [spaces[name] for name in second_moment]
    chain = optax.chain(
        *(link(0.99) if "average" in link.__name__ else link() for link in links)
    )
    gradients = spike_calm_spike()
    opt = padam_optax.scale_by_partial_adaptive(b2=0.99, p=p, second_moment=chain)
    expected = -np.stack(reference.padam(gradients, 1.0, b2=0.99, p=p, **settings))
    np.testing.assert_allclose(updates_of(opt, gradients), expected, rtol=1e-12)


@pytest.mark.usefixtures("x64", "standard_promotion")
@pytest.mark.parametrize("nesterov", [False, True])
def test_without_the_maximum_half_exponent_is_adam(nesterov):
    adam_like = optax.chain(padam_optax.square(), padam_optax.moving_average(0.999))
    ours = padam_optax.scale_by_partial_adaptive(
        p=0.5, second_moment=adam_like, bias_correction="consistent", nesterov=nesterov
    )
    gradients = spike_calm_spike()
    expected = updates_of(optax.scale_by_adam(nesterov=nesterov), gradients)
    np.testing.assert_allclose(updates_of(ours, gradients), expected, rtol=1e-11)


@pytest.mark.usefixtures("x64", "standard_promotion")
@pytest.mark.parametrize(
    ("links", "theirs"),
    [
        (
            (
                padam_optax.contrib.squared_deviation(),
                padam_optax.moving_average(0.999),
            ),
            optax.scale_by_belief(eps=1e-8, eps_root=0.0),
        ),
        (
            (padam_optax.square(), padam_optax.contrib.yogi_average(0.999)),
            optax.scale_by_yogi(eps=1e-8, initial_accumulator_value=0.0),
        ),
    ],
)
def test_half_exponents_of_other_statistics_are_optaxs(links, theirs):
    ours = padam_optax.scale_by_partial_adaptive(
        p=0.5, second_moment=optax.chain(*links), bias_correction="consistent"
    )
    gradients = spike_calm_spike()
    np.testing.assert_allclose(
        updates_of(ours, gradients), updates_of(theirs, gradients), rtol=1e-11
    )


# --- Edges of the numbers ----------------------------------------------------------


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("p", fast([0.5, 0.125, 0.3], 0.3))
def test_no_gradient_so_far_is_a_step_of_zero(convention, p):
    opt = padam_optax.padam(0.1, eps=0.0, p=p, bias_correction=convention)

    @jax.jit
    def run(g):
        def second(g):
            _, state = opt.update(g, opt.init(g))
            return opt.update(g, state)[0]

        return second(g), jax.jacrev(second)(g)

    for g in (jnp.zeros(2), jnp.zeros(2, jnp.float16)):
        u, jacobian = run(g)
        np.testing.assert_array_equal(u, np.zeros(2))
        assert np.isfinite(jacobian).all()


def test_reverse_mode_is_finite_at_zero_with_the_default_eps():
    opt = padam_optax.padam(0.1)
    jacobian = jax.jit(jax.jacrev(lambda g: opt.update(g, opt.init(g))[0]))(
        jnp.zeros(2)
    )
    # d(α·m·ε^-2p)/dg = -0.1 · 0.1 · (1e-8)^-0.25 on the diagonal: v̂ has slope 0 at 0.
    np.testing.assert_allclose(jacobian, -np.eye(2), rtol=1e-5)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("p", fast([0.5, 0.125, 0.3], 0.125))
def test_one_huge_gradient_does_not_stop_its_element(convention, p):
    opt = padam_optax.scale_by_partial_adaptive(p=p, bias_correction=convention)
    gradients = np.ones((401, 2), np.float32)
    gradients[0, 0] = 1e30
    u = updates_of(opt, gradients)
    assert np.isfinite(u).all()
    assert u[-1, 0] > 0  # forward again, if slowly


@pytest.mark.parametrize("p", fast([0.5, 0.125, 0.3], 0.5))
@pytest.mark.parametrize("eps", [0.0, 1e-8])
def test_tiny_gradients_give_finite_steps(p, eps):
    opt = padam_optax.scale_by_partial_adaptive(p=p, eps=eps)
    g = jnp.float32([1e-12, 1e-19, 1e-22, 1e-30, 1e-39, 1e-45])
    assert np.isfinite(updates_of(opt, jnp.stack([g] * 3))).all()


def test_nan_stays_in_its_own_element():
    opt = padam_optax.scale_by_partial_adaptive()
    state = opt.init(jnp.zeros(3))
    _, state = opt.update(jnp.array([1.0, np.nan, 1.0]), state)
    u, _ = opt.update(jnp.ones(3), state)
    np.testing.assert_array_equal(np.isnan(u), [False, True, False])


def test_apply_if_finite_keeps_nan_out():
    opt = optax.apply_if_finite(padam_optax.padam(0.1), 5)
    clean = padam_optax.padam(0.1)
    g = jnp.ones(2)
    state, clean_state = opt.init(g), clean.init(g)
    u, state = opt.update(jnp.array([np.nan, 1.0]), state)
    np.testing.assert_array_equal(u, [0, 0])
    u, _ = opt.update(g, state)
    np.testing.assert_allclose(u, clean.update(g, clean_state)[0], rtol=1e-6)


def test_count_saturates():
    opt = padam_optax.scale_by_partial_adaptive(bias_correction="official")
    state = opt.init(jnp.ones(1))
    largest = jnp.int32(np.iinfo(np.int32).max)
    state = optax.tree.set(state, count=largest)
    u, state = opt.update(jnp.ones(1), state)
    assert optax.tree.get(state, "count") == largest
    assert np.isfinite(u).all()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_count_beyond_ten_million_needs_no_correction(convention):
    opt = padam_optax.scale_by_partial_adaptive(bias_correction=convention)
    none = padam_optax.scale_by_partial_adaptive()
    state = opt.init(jnp.ones(1))
    state = jax.tree.map(
        lambda x: jnp.int32(20_000_000) if x.dtype == jnp.int32 else x, state
    )
    u, _ = opt.update(jnp.ones(1), state)
    expected, _ = none.update(jnp.ones(1), none.init(jnp.ones(1)))
    np.testing.assert_allclose(u, expected, rtol=1e-6)


# --- Derivatives through the optimizer ---------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("convention", fast(CONVENTIONS, "before_max"))
def test_meta_gradients_equal_central_differences(convention):
    start = {
        "learning_rate": 0.1,
        "p": 0.2,
        "b1": 0.9,
        "b2": 0.99,
        "weight_decay": 0.01,
    }

    def loss(x):
        return jnp.sum(jnp.array([1.0, 10.0]) * (x - 1) ** 2)

    @jax.jit
    def final_loss(settings):
        opt = padam_optax.padam(**settings, bias_correction=convention)
        x = jnp.array([0.3, -0.7])

        def step(carry, _):
            x, state = carry
            u, state = opt.update(jax.grad(loss)(x), state, x)
            return (optax.apply_updates(x, u), state), None

        (x, _), _ = jax.lax.scan(step, (x, opt.init(x)), length=10)
        return loss(x)

    slopes = jax.jit(jax.grad(final_loss))(start)
    for name, value in start.items():
        h = 1e-5 * value
        ends = [final_loss({**start, name: value + sign * h}) for sign in (1, -1)]
        difference = (ends[0] - ends[1]) / (2 * h)
        np.testing.assert_allclose(slopes[name], difference, 1e-5, 1e-10)


# --- Trees, dtypes, absent gradients -----------------------------------------------


def test_no_gradient_gives_no_update_and_leaves_the_moments_alone():
    params = {"a": jnp.ones(2), "b": jnp.ones(3), "none": None}
    opt = padam_optax.padam(0.1, weight_decay=0.1)
    update = jax.jit(opt.update)
    _, before = update(params, opt.init(params), params)
    u, after = update({"a": jnp.ones(2), "b": None, "none": None}, before, params)
    assert u["b"] is None
    assert u["none"] is None
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
    for name in ("mu", "nu", "nu_max"):
        old, new = optax.tree.get(before, name), optax.tree.get(after, name)
        np.testing.assert_array_equal(old["b"], new["b"])
        assert (np.asarray(old["a"]) != np.asarray(new["a"])).any() or name == "nu_max"


def test_integer_and_bool_leaves_are_refused_with_path_and_dtype():
    opt = padam_optax.padam(0.1)
    with pytest.raises(TypeError, match=r"params\['a'\]\['n'\] has dtype int32"):
        opt.init({"a": {"n": jnp.arange(3), "x": jnp.ones(1)}})
    x = {"x": jnp.ones(1)}
    with pytest.raises(TypeError, match=r"updates\['x'\] has dtype bool"):
        opt.update({"x": jnp.array([True])}, opt.init(x))


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("params_dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("gradient_dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("make", [padam_optax.padam, padam_optax.padamw])
def test_mixed_dtypes_keep_the_state_and_follow_the_gradients(
    params_dtype, gradient_dtype, make
):
    params, g = jnp.ones(2, params_dtype), jnp.ones(2, gradient_dtype)
    opt = make(0.1, weight_decay=0.1, bias_correction="official")
    before = opt.init(params)
    u, after = jax.eval_shape(opt.update, g, before, params)
    assert u.dtype == gradient_dtype
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
    assert optax.tree.get(after, "mu").dtype == params_dtype
    assert optax.tree.get(after, "nu").dtype == jnp.float32
    assert optax.tree.get(after, "nu_max").dtype == jnp.float32


@pytest.mark.parametrize("mu_dtype", ["bfloat16", jnp.float32, None])
def test_mu_dtype_is_that_of_the_stored_momentum(mu_dtype):
    params = {"x": jnp.ones(2, jnp.float16), "z": jnp.ones(2, jnp.complex64)}
    opt = padam_optax.padam(0.1, mu_dtype=mu_dtype)
    u, state = jax.eval_shape(lambda x: opt.update(x, opt.init(x)), params)
    mu = optax.tree.get(state, "mu")
    assert mu["x"].dtype == jnp.dtype(mu_dtype or jnp.float16)
    assert mu["z"].dtype == jnp.complex64
    chex.assert_trees_all_equal_dtypes(u, params)
    nus = jax.tree.leaves(optax.tree.get(state, "nu"))
    assert all(nu.dtype == jnp.float32 for nu in nus)


@pytest.mark.usefixtures("x64")
def test_a_complex_mu_dtype_is_that_of_complex_parameters():
    params = {"x": jnp.ones(2, jnp.float64), "z": jnp.ones(2, jnp.complex128)}
    opt = padam_optax.padam(0.1, mu_dtype=jnp.complex64)
    u, state = jax.eval_shape(lambda x: opt.update(x, opt.init(x)), params)
    mu = optax.tree.get(state, "mu")
    assert mu["x"].dtype == jnp.float64
    assert mu["z"].dtype == jnp.complex64
    chex.assert_trees_all_equal_dtypes(u, params)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.array, jnp.float64])
def test_scalar_arrays_as_hyperparameters_do_not_promote(kind):
    params = jnp.ones(2, jnp.float32)
    opt = padam_optax.padam(
        kind(0.1),
        kind(0.9),
        kind(0.999),
        kind(1e-8),
        kind(0.3),
        kind(0.01),
        eps_root=kind(0.0),
    )
    u, state = jax.jit(opt.update)(params, opt.init(params), params)
    assert u.dtype == jnp.float32
    floats = [x for x in jax.tree.leaves(state) if x.dtype != jnp.int32]
    chex.assert_type(floats, jnp.float32)
    expected = reference.padam([np.ones(2) * 1.01], 0.1, p=0.3)[0]
    np.testing.assert_allclose(u, expected, rtol=1e-5)


def test_weakly_typed_parameters_give_a_strongly_typed_state():
    params = jnp.asarray(1.0)
    assert params.weak_type
    opt = padam_optax.padam(0.1)
    state = opt.init(params)
    _, after = opt.update(params, state)
    for leaf in jax.tree.leaves((state, after)):
        assert not leaf.weak_type
