"""What is read from a state: against NumPy, against the steps taken, at the edges."""

import functools
import itertools
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import padam_optax
from tests.marks import fast
from tests.meshes import set_mesh
from tests.optimizers import jitted

SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def gradients(steps=40, seed=0):
    """A spike, a calm, a spike, of coordinates of different size, one without any."""
    g = np.random.default_rng(seed).normal(size=(steps, 4, 8))
    g *= 10.0 ** np.linspace(-4, 2, 8)
    g[2, 1:] *= 100
    g[steps // 2 :] *= 1e-2
    g[-1, 3] *= 1e5
    g[:, 0, 0] = 0
    return g


def as_tree(g):
    return {"kernel": jnp.asarray(g[:3]), "none": None, "bias": jnp.asarray(g[3])}


def final_state(opt, gs):
    params = as_tree(np.zeros_like(gs, shape=gs.shape[1:]))
    init, update = jitted(opt)
    state = init(params)
    for g in gs:
        _, state = update(as_tree(g), state, params)
    return state


def moments(gs, b1=0.9, b2=0.999):
    """Return m, v and the maximum of v, in NumPy."""
    m = v = v_max = np.zeros_like(gs[0])
    for g in gs:
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        v_max = np.maximum(v_max, v)
    return m, v, v_max


def ravel(tree):
    """Return all elements, in the order of the leaves."""
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])


# --- Finding the second moment -----------------------------------------------------


@pytest.mark.usefixtures("x64", "standard_promotion")
@pytest.mark.parametrize(
    ("opt", "with_max"),
    [
        (padam_optax.padam(0.1), True),
        (optax.amsgrad(0.1, bias_correction_nu=False), True),
        (optax.adam(0.1), False),
        (optax.rmsprop(0.1, decay=0.999), False),
        (optax.inject_hyperparams(padam_optax.padam)(0.1), True),
        (
            optax.chain(optax.clip(1e9), optax.masked(padam_optax.padam(0.1), True)),
            True,
        ),
        (optax.apply_if_finite(padam_optax.padamw(0.1, weight_decay=0.0), 3), True),
    ],
)
def test_second_moment_is_found_by_name(opt, with_max):
    gs = gradients()
    _, v, v_max = moments(gs)
    found = padam_optax.state.second_moment(final_state(opt, gs))
    chex.assert_trees_all_close(
        found, as_tree(v_max if with_max else v), rtol=1e-12, atol=0
    )
    assert (v < v_max).any()


def test_parameters_may_be_called_as_the_moments_are():
    params = {"nu": jnp.ones(2), "mu": jnp.ones(1), "nu_max": jnp.ones(3)}
    opt = jitted(padam_optax.padam(0.1, b2=0.0))
    _, state = opt.update(params, opt.init(params))
    chex.assert_trees_all_close(padam_optax.state.second_moment(state), params)


def test_second_moment_is_real_and_at_least_float32():
    params = {"z": jnp.ones(2, jnp.complex64), "h": jnp.ones(2, jnp.bfloat16)}
    for opt in (padam_optax.padam(0.1), optax.adam(0.1)):
        tree = padam_optax.state.second_moment(opt.init(params))
        chex.assert_type(jax.tree.leaves(tree), jnp.float32)


def test_a_state_without_second_moment_or_with_several_is_refused():
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    sgd = optax.sgd(0.1, momentum=0.9).init(params)
    with pytest.raises(ValueError, match=r"one nu_max \(or else one nu\).* got 0"):
        padam_optax.state.second_moment(sgd)
    opt = optax.multi_transform(
        {"x": padam_optax.padam(0.1), "y": optax.adam(0.1)}, {"a": "x", "b": "y"}
    )
    both = opt.init(params)
    assert padam_optax.state.second_moment(both)["a"].shape == (
        2,
    )  # Adam has no maximum
    opt = optax.multi_transform(
        {"x": padam_optax.padam(0.1), "y": padam_optax.padam(1.0)},
        {"a": "x", "b": "y"},
    )
    state = opt.init(params)
    with pytest.raises(ValueError, match=r" got 2\. .*state\.inner_states\[label\]"):
        padam_optax.state.second_moment(state)
    assert padam_optax.state.second_moment(state.inner_states["y"])["b"].shape == (3,)
    with pytest.raises(ValueError, match="one nu_max, got 2"):
        padam_optax.diagnostics.fraction_where_max_active(state)


# --- Effective learning rates ------------------------------------------------------


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("p", fast([0.5, 0.25, 0.3, 0.0], 0.5, 0.3))
@pytest.mark.parametrize("epsilons", [(1e-8, 0.0), (1e-2, 1e-4), (0.0, 0.0)])
def test_effective_learning_rates_equal_their_formula(p, epsilons):
    eps, eps_root = epsilons
    gs = gradients()
    *_, v_max = moments(gs)
    with np.errstate(divide="ignore"):
        expected = 0.1 / (np.sqrt(v_max + eps_root) + eps) ** (2 * p)
    expected[0, 0] = 0  # no gradient so far
    actual = padam_optax.diagnostics.effective_learning_rates(
        final_state(padam_optax.padam(0.1), gs), 0.1, p, eps, eps_root=eps_root
    )
    chex.assert_trees_all_close(actual, as_tree(expected), rtol=1e-12, atol=0)


@pytest.mark.usefixtures("x64", "standard_promotion")
@pytest.mark.parametrize("steps", fast([1, 2, 40], 2))
@pytest.mark.parametrize(
    ("opt", "p", "eps", "correction"),
    [
        (padam_optax.padam(0.1, p=0.2), 0.2, 1e-8, lambda c1, c2: 1),
        (
            padam_optax.padam(0.1, p=0.2, bias_correction="official"),
            0.2,
            1e-8,
            lambda c1, c2: np.sqrt(c2) / c1,
        ),
        (
            padam_optax.padam(0.1, eps=0.0, p=0.2, bias_correction="consistent"),
            0.2,
            0.0,
            lambda c1, c2: c2**0.2 / c1,
        ),
        (
            padam_optax.padam(0.1, p=0.2, bias_correction="before_max"),
            0.2,
            1e-8,
            lambda c1, c2: 1 / c1,
        ),
        (optax.amsgrad(0.1), 0.5, 1e-8, lambda c1, c2: 1 / c1),
        (optax.adam(0.1, eps=0.0), 0.5, 0.0, lambda c1, c2: c2**0.5 / c1),
    ],
)
def test_corrected_rates_are_the_steps_over_the_momentum(
    opt, p, eps, correction, steps
):
    gs = gradients()[:steps]
    before = final_state(opt, gs[:-1])
    u, after = jax.jit(opt.update)(as_tree(gs[-1]), before)
    mu = ravel(optax.tree.get(after, "mu"))
    expected = np.divide(-ravel(u), mu, out=np.zeros_like(mu), where=mu != 0)
    alpha = 0.1 * correction(1 - 0.9**steps, 1 - 0.999**steps)
    actual = padam_optax.diagnostics.effective_learning_rates(after, alpha, p, eps)
    np.testing.assert_allclose(ravel(actual), expected, rtol=1e-9)


def test_rates_can_be_traced_and_cost_one_trace():
    state = final_state(padam_optax.padam(0.1), np.float32(gradients(3)))

    @jax.jit
    @functools.partial(chex.assert_max_traces, n=1)
    def median(state, learning_rate, p):
        rates = padam_optax.diagnostics.effective_learning_rates(
            state, learning_rate, p
        )
        return padam_optax.diagnostics.tree_quantiles(rates, 0.5)

    chex.clear_trace_counter()
    for learning_rate, p in [(0.1, 0.5), (0.2, 0.125)]:
        rates = padam_optax.diagnostics.effective_learning_rates(
            state, learning_rate, p
        )
        np.testing.assert_allclose(
            median(state, learning_rate, p),
            padam_optax.diagnostics.tree_quantiles(rates, 0.5),
            rtol=1e-5,
        )


def test_rates_notice_a_schedule_of_p_that_leaves_its_range():
    def p(count):
        return 0.4 + 0.1 * jnp.float32(count)

    opt = padam_optax.padam(0.1, p=p)
    state = opt.init(jnp.ones(2))
    for step in range(3):
        _, state = opt.update(jnp.ones(2), state)  # which runs with any p
        if step < 2:
            padam_optax.diagnostics.effective_learning_rates(state, 0.1, p(step))
    with pytest.raises(ValueError, match=r"p must be in \[0, 1/2\], got 0.6"):
        padam_optax.diagnostics.effective_learning_rates(state, 0.1, p(step))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"p": 0.7}, ValueError, r"p must be in \[0, 1/2\], got 0\.7"),
        ({"p": lambda count: 0.1}, TypeError, "p must be .* got <function"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be a finite number"),
        (
            {"learning_rate": lambda count: 0.1},
            TypeError,
            "learning_rate must be .* got <function",
        ),
        ({"eps": -1.0}, ValueError, "eps must be a finite number >= 0, got -1"),
        ({"eps_root": np.nan}, ValueError, "eps_root must be a finite number >= 0"),
    ],
)
def test_bad_values_are_named_with_range_and_remedy(kwargs, error, message):
    state = padam_optax.padam(0.1).init(jnp.ones(2))
    with pytest.raises(error, match=message):
        padam_optax.diagnostics.effective_learning_rates(
            state, **{"learning_rate": 0.1, "p": 0.1, **kwargs}
        )


# --- Quantiles ---------------------------------------------------------------------


def numpys(x, q):
    x = np.ravel(x)
    return np.quantile(x[x > 0], q, method="inverted_cdf")


quantiles = jax.jit(padam_optax.diagnostics.tree_quantiles, static_argnums=1)


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float32, 24, elements=st.floats(0, width=32, allow_subnormal=False))
)
def test_quantiles_are_numpys_of_the_positive_elements(x):
    actual = quantiles([x[:7], x[7:].reshape(1, 17)], SHARES)
    expected = numpys(x, SHARES) if (x > 0).any() else np.full(len(SHARES), np.nan)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [np.float32, np.float64, jnp.bfloat16])
@pytest.mark.parametrize("n", fast([1, 2, 10, 1000, 100_003], 1, 1000))
def test_quantiles_are_elements_at_every_size_and_precision(dtype, n):
    x = np.random.default_rng(n).lognormal(sigma=8, size=n).astype(dtype)
    actual = quantiles(x, SHARES)
    wide = np.float64 if dtype == np.float64 else np.float32
    np.testing.assert_array_equal(actual, numpys(x.astype(wide), SHARES))
    assert actual.dtype == wide


def test_quantiles_of_numpy_arrays_and_floats_are_those_of_jaxs():
    x = np.logspace(-3, 3, 7)
    found = padam_optax.diagnostics.tree_quantiles([x, 1e4], [0.5, 1.0])
    np.testing.assert_allclose(found, [1.0, 1e4], rtol=1e-6)
    with jax.numpy_rank_promotion("raise"):
        spread = padam_optax.diagnostics.spread_in_decades(x, 0.0, 1.0)
    np.testing.assert_allclose(spread, 6.0, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "complex64"])
def test_quantiles_of_what_is_not_floating_are_refused_by_name(dtype):
    with pytest.raises(TypeError, match=rf"tree\['n'\] has dtype {dtype}"):
        padam_optax.diagnostics.tree_quantiles({"n": jnp.ones(3, dtype)})


@pytest.mark.parametrize("q", ["0.5", None, [0.5, None], 1j])
def test_fractions_that_are_no_numbers_are_refused_by_name(q):
    with pytest.raises(TypeError, match=r"q must be in \[0, 1\], got"):
        padam_optax.diagnostics.tree_quantiles(jnp.ones(3), q)


def test_quantiles_have_the_shape_of_the_shares():
    x = jnp.arange(5.0)
    assert padam_optax.diagnostics.tree_quantiles(x, 0.5).shape == ()
    assert padam_optax.diagnostics.tree_quantiles(x, np.full((2, 3), 0.5)).shape == (
        2,
        3,
    )
    assert padam_optax.diagnostics.tree_quantiles(x).tolist() == [1, 1, 2, 3, 4]


def test_quantiles_skip_what_is_absent_and_show_nan():
    tree = {
        "none": None,
        "masked": optax.MaskedNode(),
        "empty": jnp.zeros((0, 3)),
        "zero": jnp.zeros(5),
        "subnormal": jnp.float32([1e-40]),
        "x": jnp.array([[3.0, jnp.inf]]),
        "scalar": jnp.float32(2),
    }
    assert quantiles(tree, (0, 0.5, 1)).tolist() == [2, 3, np.inf]
    apart = jax.jit(
        lambda x: padam_optax.diagnostics.tree_quantiles(x, 0.5, per_leaf=True)
    )(tree)
    assert apart["x"] == 3
    assert apart["scalar"] == 2
    for name in ("empty", "zero", "subnormal"):
        assert np.isnan(apart[name])
    assert np.isnan(quantiles([jnp.array([1.0, jnp.nan])], SHARES)).all()
    assert np.isnan(padam_optax.diagnostics.tree_quantiles({}, 0.5))


@pytest.mark.parametrize("q", [-0.1, 1.1, np.nan, (0.5, 2.0)])
def test_shares_outside_their_range_are_refused(q):
    with pytest.raises(ValueError, match=r"q must be in \[0, 1\], got"):
        padam_optax.diagnostics.tree_quantiles(jnp.ones(3), q)


@pytest.mark.parametrize(
    "kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit]
)
def test_quantiles_of_sharded_leaves_exchange_counts_only(kind):
    mesh = jax.make_mesh((8,), ("x",), axis_types=(kind,))
    x = np.random.default_rng(0).lognormal(size=(4, 800)).astype(np.float32)
    with set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, P(None, "x")))
        actual = quantiles(sharded, SHARES)
        np.testing.assert_array_equal(actual, numpys(x, SHARES))
        program = quantiles.lower(sharded, SHARES).compile().as_text() or ""
    assert "all-reduce" in program
    for collective in ("all-gather", "all-to-all", "collective-permute"):
        assert collective not in program


def test_spread_is_in_decades_and_p_times_that_of_the_second_moment():
    x = jnp.logspace(-3, 7, 101)
    np.testing.assert_allclose(
        padam_optax.diagnostics.spread_in_decades(x), 8, rtol=1e-5
    )
    np.testing.assert_allclose(
        padam_optax.diagnostics.spread_in_decades(x, 0, 1), 10, rtol=1e-5
    )
    apart = padam_optax.diagnostics.spread_in_decades(
        {"a": x, "b": x[:1]}, per_leaf=True
    )
    np.testing.assert_allclose([apart["a"], apart["b"]], [8, 0], rtol=1e-5)

    state = final_state(padam_optax.padam(0.1), np.float32(gradients()))
    of_v = padam_optax.diagnostics.spread_in_decades(
        padam_optax.state.second_moment(state), 0, 1
    )
    for p in (0.5, 0.125):
        rates = padam_optax.diagnostics.effective_learning_rates(state, 0.1, p, 0.0)
        np.testing.assert_allclose(
            padam_optax.diagnostics.spread_in_decades(rates, 0, 1), p * of_v, rtol=1e-4
        )
    assert of_v > 4


def test_spread_does_not_overflow():
    x = jnp.float32([1e-37, 1e37])
    np.testing.assert_allclose(
        padam_optax.diagnostics.spread_in_decades(x, 0, 1), 74, rtol=1e-6
    )


@pytest.mark.usefixtures("x64")
def test_median_root_nu_is_the_median_of_what_has_seen_a_gradient():
    gs = gradients()
    gs[:, 1:3] = 0
    *_, v_max = moments(gs)
    state = final_state(padam_optax.padam(0.1), gs)
    for eps, eps_root in [(1e-8, 0.0), (0.1, 0.01)]:
        roots = np.sqrt(v_max[v_max > 0] + eps_root) + eps
        expected = np.quantile(roots, 0.5, method="inverted_cdf")
        actual = padam_optax.diagnostics.median_root_nu(state, eps, eps_root=eps_root)
        np.testing.assert_allclose(actual, expected, rtol=1e-12)
    fresh = padam_optax.padam(0.1).init(jnp.ones(3))
    assert np.isnan(padam_optax.diagnostics.median_root_nu(fresh))
    with pytest.raises(ValueError, match="eps must be"):
        padam_optax.diagnostics.median_root_nu(fresh, -1.0)


# --- Where the maximum binds, and whether rates grow -------------------------------


@pytest.mark.parametrize("steps", fast([1, 2, 3, 20, 40], 1, 20))
def test_share_where_the_maximum_binds_is_that_of_the_formula(steps):
    gs = np.asarray(gradients(), np.float32)[:steps]
    _, v, v_max = moments(np.float64(gs), b2=0.9)
    expected = np.mean(v < v_max)
    state = final_state(padam_optax.padam(0.1, b2=0.9), gs)
    np.testing.assert_allclose(
        padam_optax.diagnostics.fraction_where_max_active(state), expected
    )
    apart = padam_optax.diagnostics.fraction_where_max_active(state, per_leaf=True)
    np.testing.assert_allclose(apart["bias"], np.mean(v[3] < v_max[3]))
    assert apart["none"] is None
    assert 0 < expected < 1 or steps == 1


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("steps", fast([1, 2, 3, 20, 40], 1, 20))
@pytest.mark.parametrize("b2", fast([0.9, 0.999], 0.9))
@pytest.mark.parametrize(
    "make",
    [
        functools.partial(optax.amsgrad, 0.1, 0.9),
        functools.partial(padam_optax.padam, 0.1, 0.9, bias_correction="before_max"),
    ],
)
def test_share_of_a_corrected_maximum_compares_corrected_moments(make, b2, steps):
    gs = np.asarray(gradients(), np.float32)[:steps]
    v = v_max = np.zeros(gs[0].shape)
    for t, g in enumerate(np.float64(gs), start=1):
        v = b2 * v + (1 - b2) * g**2
        v_max = np.maximum(v_max, v / (1 - b2**t))
    expected = np.mean(v / (1 - b2**steps) < v_max)
    state = final_state(make(b2), gs)
    share = jax.jit(padam_optax.diagnostics.fraction_where_max_active)
    np.testing.assert_allclose(share(state, b2), expected)
    np.testing.assert_allclose(
        padam_optax.diagnostics.fraction_where_max_active(state, b2), expected
    )


def test_states_without_a_maximum_or_rates_out_of_range_are_refused():
    adam = optax.adam(0.1).init(jnp.ones(2))
    with pytest.raises(ValueError, match="must hold count, mu, nu and nu_max"):
        padam_optax.diagnostics.fraction_where_max_active(adam)
    state = padam_optax.padam(0.1).init(jnp.ones(2))
    with pytest.raises(ValueError, match=r"b2 must be in \[0, 1\), got 1"):
        padam_optax.diagnostics.fraction_where_max_active(state, 1.0)


def grown_shares(opt, rate, p, gs):
    """Return the share of grown rates after each step but the first."""

    def at(t, value):
        return value(t) if callable(value) else value

    state, update = opt.init(as_tree(np.zeros_like(gs[0]))), jax.jit(opt.update)
    rates = []
    for t, g in enumerate(gs):
        _, state = update(as_tree(g), state)
        rates.append(
            padam_optax.diagnostics.effective_learning_rates(
                state, at(t, rate), at(t, p)
            )
        )
    return [
        float(padam_optax.diagnostics.fraction_of_increased_lrs(*pair))
        for pair in itertools.pairwise(rates)
    ]


@pytest.mark.usefixtures("standard_promotion")  # Optax needs it
def test_rates_never_grow_with_the_maximum_and_do_without():
    gs = np.asarray(gradients(), np.float32)
    assert not any(grown_shares(padam_optax.padam(0.1), 0.1, 1 / 8, gs))
    assert not any(grown_shares(padam_optax.padam(0.1), lambda t: 1 / (1 + t), 0.3, gs))

    shares = grown_shares(optax.adam(0.1), 0.1, 1 / 2, gs)
    v = np.zeros(gs[0].shape)
    expected = []
    for g in gs.astype(float):
        v, old = 0.999 * v + 0.001 * g**2, v
        expected.append(np.mean((old > 0) & (v < old * (1 - 1e-5))))
    np.testing.assert_allclose(shares, expected[1:], atol=1 / 32)
    assert max(shares) > 0.9


def test_rates_grow_in_a_warm_up_when_p_changes_and_under_the_official_correction():
    gs = np.asarray(gradients(6), np.float32)
    gs[2:] = gs[1]  # v̂ hardly moves
    opt = padam_optax.padam(0.1)
    moving = 31 / 32  # one coordinate has no gradient

    grown = grown_shares(opt, lambda t: 0.1 * (1 + t), 1 / 8, gs)
    np.testing.assert_allclose(grown[2:], moving)
    grown = grown_shares(opt, 0.1, lambda t: 1 / 2 if t < 3 else 1 / 8, gs)
    large = np.mean(moments(gs[:4])[2] > 1)
    np.testing.assert_allclose(grown[2], large, atol=1 / 32)
    assert 0 < large < moving

    def official(t):
        return 0.1 * np.sqrt(1 - 0.999 ** (t + 1)) / (1 - 0.9 ** (t + 1))

    # √c2 grows as v̂^{1/2} does, which v̂^{1/8} does not make up for.
    grown = grown_shares(opt, official, 1 / 8, np.ones((60, 4, 8), np.float32))
    assert grown[-1] == 1


def test_fraction_of_increased_lrs_per_leaf_ignores_rounding_and_the_unseen():
    before = {"a": jnp.float32([1, 1, 0, 2]), "none": None, "b": jnp.float32([4])}
    after = {
        "a": jnp.float32([1 + 1e-6, 1.1, 5, 1]),
        "none": None,
        "b": jnp.float32([5]),
    }
    np.testing.assert_allclose(
        padam_optax.diagnostics.fraction_of_increased_lrs(before, after), 2 / 5
    )
    apart = padam_optax.diagnostics.fraction_of_increased_lrs(
        before, after, per_leaf=True
    )
    assert apart == {"a": 0.25, "none": None, "b": 1.0}
    assert padam_optax.diagnostics.fraction_of_increased_lrs({}, {}) == 0


@pytest.mark.parametrize("at", [0, 1])
def test_one_nan_makes_a_fraction_nan(at):
    rates = [{"a": jnp.ones(2), "b": jnp.ones(2)} for _ in range(2)]
    rates[at]["a"] = jnp.array([1.0, jnp.nan])
    find = padam_optax.diagnostics.fraction_of_increased_lrs
    assert jnp.isnan(find(*rates))
    apart = find(*rates, per_leaf=True)
    assert jnp.isnan(apart["a"])
    assert apart["b"] == 0

    opt, state = padam_optax.padam(0.1), padam_optax.padam(0.1).init(jnp.ones(3))
    _, state = opt.update(jnp.array([1.0, jnp.nan, 1.0]), state)
    assert jnp.isnan(padam_optax.diagnostics.fraction_where_max_active(state))


# --- The distance from the start ---------------------------------------------------


def make_params():
    rng = np.random.default_rng(0)
    return {
        "w": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32),
        "h": jnp.asarray(rng.normal(size=3), jnp.bfloat16),
        "z": jnp.asarray(rng.normal(size=2) + 1j * rng.normal(size=2), jnp.complex64),
        "none": None,
        "empty": jnp.zeros((0, 2)),
    }


def test_distance_is_the_norm_of_the_difference():
    opt, params = padam_optax.diagnostics.keep_initial_params(), make_params()
    state = opt.init(params)
    moved = jax.tree.map(lambda x: (x * 3).astype(x.dtype), params)
    parts = {
        name: np.linalg.norm(
            (np.asarray(moved[name]) - np.asarray(params[name])).ravel()
        )
        for name in ("w", "z", "empty")
    }
    parts["h"] = np.linalg.norm(
        np.asarray(moved["h"], float) - np.asarray(params["h"], float)
    )
    total = np.sqrt(sum(part**2 for part in parts.values()))
    distance = jax.jit(padam_optax.diagnostics.distance_from_start)
    np.testing.assert_allclose(distance(state, moved), total, rtol=1e-5)
    apart = padam_optax.diagnostics.distance_from_start(state, moved, per_leaf=True)
    for name, part in parts.items():
        np.testing.assert_allclose(apart[name], part, rtol=1e-5)
    assert padam_optax.diagnostics.distance_from_start(state, params) == 0


@pytest.mark.parametrize("jit_init", [False, True])
def test_the_copy_is_its_own_so_that_all_can_be_donated(jit_init):
    params = make_params()
    opt = optax.chain(padam_optax.diagnostics.keep_initial_params(), optax.sgd(1.0))
    state = jax.jit(opt.init)(params) if jit_init else opt.init(params)
    copy = optax.tree.get(state, "initial_params")["w"]
    assert copy.unsafe_buffer_pointer() != params["w"].unsafe_buffer_pointer()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        u, state = opt.update(jax.tree.map(jnp.ones_like, params), state, params)
        return optax.apply_updates(params, u), state

    for _ in range(3):
        params, state = step(params, state)
    # 3 from the start in each of 12 + 3 + 2 elements.
    expected = 3 * np.sqrt(17)
    np.testing.assert_allclose(
        padam_optax.diagnostics.distance_from_start(state, params), expected, rtol=1e-2
    )


def test_updates_pass_and_the_state_stays():
    opt, params = padam_optax.diagnostics.keep_initial_params(), make_params()
    state = opt.init(params)
    chex.assert_trees_all_equal(state.initial_params, params)
    chex.assert_trees_all_equal_dtypes(state.initial_params, params)
    updates = {**params, "w": None}
    u, after = jax.jit(opt.update)(updates, state)
    chex.assert_trees_all_equal(u, updates)
    chex.assert_trees_all_equal(after, state)
    carry, _ = jax.lax.scan(
        lambda s, _: (opt.update(params, s)[1], None), state, length=2
    )
    chex.assert_trees_all_equal(carry, state)
    chex.assert_trees_all_equal(pickle.loads(pickle.dumps(state)), state)
    marked = optax.tree.map_params(opt, lambda _: 1, state)
    assert jax.tree.leaves(marked) == [1] * 4


def test_masked_leaves_do_not_count_towards_the_distance():
    params = {"a": jnp.ones(4), "b": jnp.ones(2)}
    opt = optax.masked(
        padam_optax.diagnostics.keep_initial_params(), {"a": True, "b": False}
    )
    state = opt.init(params)
    moved = jax.tree.map(lambda x: x + 1, params)
    assert padam_optax.diagnostics.distance_from_start(state, moved) == 2
    apart = padam_optax.diagnostics.distance_from_start(state, moved, per_leaf=True)
    assert apart == {"a": 2, "b": None}


def test_a_distance_to_another_shape_is_refused():
    state = padam_optax.diagnostics.keep_initial_params().init(jnp.ones(2))
    with pytest.raises(ValueError, match=r"shapes of the initial ones.*\(2, 1\)"):
        padam_optax.diagnostics.distance_from_start(state, jnp.ones((2, 1)))


def test_python_floats_have_a_distance():
    state = padam_optax.diagnostics.keep_initial_params().init(3.0)
    assert padam_optax.diagnostics.distance_from_start(state, 5.0) == 2.0


def test_a_distance_without_a_start_is_refused():
    params = {"n": jnp.ones(2)}
    with pytest.raises(ValueError, match=r"got 0\. Add keep_initial_params\(\)"):
        padam_optax.diagnostics.distance_from_start(optax.sgd(0.1).init(params), params)
    twice = optax.chain(*[padam_optax.diagnostics.keep_initial_params()] * 2)
    with pytest.raises(ValueError, match=r"one initial_params, got 2\."):
        padam_optax.diagnostics.distance_from_start(twice.init(params), params)
    with pytest.raises(TypeError, match=r"params\['n'\] has dtype int32"):
        padam_optax.diagnostics.keep_initial_params().init({"n": jnp.arange(2)})
