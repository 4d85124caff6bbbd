"""Santa against its listing, its laws, and what Optax asks of a state."""

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from padam_optax.contrib._santa import santa
from tests.marks import fast
from tests.optimizers import jitted

SCHEMES = ["euler", "sss"]


def santa_e_listing(
    gradient, theta, u, zetas, eta, beta, burn_in, A, *, sigma, lam, N, e, derivative
):
    """Santa-E line by line for one array; lam is None without preconditioner.

    ``gradient`` is that of the summed loss, ``eta`` and ``beta`` are functions of t,
    counted from 1. Returns θ after every step and the last u, A and v.
    """
    v, g_old = np.zeros_like(theta), 1 if lam is None else 1 / np.sqrt(lam)
    A, thetas = np.full_like(theta, A), []
    for t, zeta in enumerate(zetas, start=1):
        f = gradient(theta)
        v = sigma * v + (1 - sigma) / N**2 * f * f
        g = 1 if lam is None else 1 / np.sqrt(lam + np.sqrt(v))
        if t <= burn_in:
            A = A + u * u - eta(t) / beta(t)
            u_new = np.sqrt(2 * eta(t) ** e / beta(t) * g_old) * zeta
            if derivative:
                assert np.all(np.abs(u) > 0.1 * np.sqrt(eta(t) / beta(t)))
                u_new = u_new + eta(t) / beta(t) * (1 - g_old / g) / u
        else:
            u_new = 0
        u = u_new + (1 - A) * u - eta(t) * g * f
        theta = theta + g * u
        thetas.append(theta)
        g_old = g
    return np.array(thetas), u, A, v


def santa_sss_listing(
    gradient, theta, u, zetas, eta, beta, burn_in, A, *, sigma, lam, N, e, derivative
):
    """Santa-SSS, likewise."""
    v, g_old = np.zeros_like(theta), 1 if lam is None else 1 / np.sqrt(lam)
    A, thetas = np.full_like(theta, A), []
    for t, zeta in enumerate(zetas, start=1):
        f = gradient(theta)
        v = sigma * v + (1 - sigma) / N**2 * f * f
        g = 1 if lam is None else 1 / np.sqrt(lam + np.sqrt(v))
        theta = theta + g * u / 2
        if t <= burn_in:
            A = A + (u * u - eta(t) / beta(t)) / 2
            u_new = np.exp(-A / 2) * u
            u_new = u_new - eta(t) * g * f
            u_new = u_new + np.sqrt(2 * eta(t) ** e / beta(t) * g_old) * zeta
            if derivative:
                assert np.all(np.abs(u) > 0.1 * np.sqrt(eta(t) / beta(t)))
                u_new = u_new + eta(t) / beta(t) * (1 - g_old / g) / u
            u = np.exp(-A / 2) * u_new
            A = A + (u * u - eta(t) / beta(t)) / 2
        else:
            u = np.exp(-A / 2) * u
            u = u - eta(t) * g * f
            u = np.exp(-A / 2) * u
        theta = theta + g * u / 2
        thetas.append(theta)
        g_old = g
    return np.array(thetas), u, A, v


LISTINGS = {"euler": santa_e_listing, "sss": santa_sss_listing}


def documented_noise(key, shapes, steps):
    """For each leaf the noise of every step, from the key as the docstring says."""
    noise = [[] for _ in shapes]
    _, noise_key = jax.random.split(key)
    for count in range(steps):
        for i, shape in enumerate(shapes):
            leaf_key = jax.random.fold_in(jax.random.fold_in(noise_key, count), i)
            noise[i].append(np.asarray(jax.random.normal(leaf_key, shape)))
    return noise


def run(opt, gradient, params, steps):
    """Parameters and states after every step, stacked."""

    def step(carry, _):
        params, state = carry
        updates, state = opt.update(gradient(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state)

    carry = (params, opt.init(params))
    return jax.jit(lambda carry: jax.lax.scan(step, carry, length=steps)[1])(carry)


def quadratic_run(elements, burn_in, steps, start=3.0, **options):
    """Many copies of the energy (θ-3)²/2, N = 100."""
    options = {"learning_rate": 0.01, "key": 0, "precondition": False} | options
    opt = santa(num_examples=100, burn_in=burn_in, **options)
    return run(opt, lambda x: (x - 3) / 100, jnp.full(elements, start), steps)


@pytest.mark.parametrize("integrator", SCHEMES)
@pytest.mark.parametrize(
    ("lam", "exponent", "derivative_term"),
    fast([(None, 1.0, False), (1e-2, 1.5, True)], (1e-2, 1.5, True)),
)
def test_agrees_with_the_listing(x64, integrator, lam, exponent, derivative_term):
    """Exploration, then refinement, with schedules of η and β; two leaves."""
    N, burn_in, steps, sigma, C = 50, 4, 10, 0.9, 2.0
    shapes = [(3,), (2, 2)]
    rates = np.linspace(0.004, 0.001, steps)
    rng = np.random.default_rng(6)
    thetas = [rng.normal(size=shape) for shape in shapes]
    curvatures = [rng.uniform(1, 30, size=shape) for shape in shapes]
    # Large enough to stay away from 0, where the term with 1/u is not as printed.
    momenta = [rng.choice([-0.4, 0.4], size=shape) for shape in shapes]

    opt = santa(
        lambda count: jnp.asarray(rates)[count],
        N,
        burn_in,
        8,
        integrator=integrator,
        inverse_temperature=lambda count: jnp.sqrt((count + 1).astype(jnp.float64)),
        friction=C * math.sqrt(rates[0]),
        b2=sigma,
        eps=1.0 if lam is None else lam,
        precondition=lam is not None,
        noise_exponent=exponent,
        derivative_term=derivative_term,
    )
    params = [jnp.asarray(theta) for theta in thetas]
    state = jax.jit(opt.init)(params)._replace(
        momentum=[jnp.asarray(u) for u in momenta]
    )
    noise = documented_noise(jax.random.key(8), shapes, steps)
    update, found = jax.jit(opt.update), []
    for _ in range(steps):
        mean_gradients = [
            jnp.asarray(c) * jnp.sin(x) / N
            for c, x in zip(curvatures, params, strict=True)
        ]
        updates, state = update(mean_gradients, state)
        params = optax.apply_updates(params, updates)
        found.append(params)

    for i in range(2):
        expected, u, A, v = LISTINGS[integrator](
            lambda x, i=i: curvatures[i] * np.sin(x),
            thetas[i],
            momenta[i],
            noise[i],
            lambda t: rates[t - 1],
            lambda t: math.sqrt(t),
            burn_in,
            C * math.sqrt(rates[0]),
            sigma=sigma,
            lam=lam,
            N=N,
            e=exponent,
            derivative=derivative_term,
        )
        close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-13)
        close([x[i] for x in found], expected)
        close(state.momentum[i], u)
        close(state.thermostat[i], A)
        nu: Any = state.nu
        if lam is None:
            assert nu is None
        else:
            close(nu[i], v)


def test_starts_as_the_listing_says():
    eta, n = 0.04, 20_000
    opt = santa(eta, 10, 5, 0, friction=0.3)
    state = opt.init({"a": jnp.ones(n), "b": jnp.ones(n)})
    u = np.stack([state.momentum["a"], state.momentum["b"]]) / math.sqrt(eta)
    assert np.all(np.abs(u.mean(1)) < 4 / math.sqrt(n))
    assert np.all(np.abs(u.var(1) - 1) < 4 * math.sqrt(2 / n))
    assert abs(np.mean(u[0] * u[1])) < 4 / math.sqrt(n)  # leaves are independent
    np.testing.assert_array_equal(state.thermostat["a"], np.float32(0.3))
    np.testing.assert_array_equal(state.nu["a"], 0)
    assert state.count == 0


@pytest.mark.parametrize(
    ("exponent", "lam"), fast([(1.0, None), (1.5, 1e-2)], (1.5, 1e-2))
)
def test_noise_is_normal_with_the_variance_of_the_formula(exponent, lam):
    """Its moments in one step without gradient: not |N(0, 1)|, as one port has it."""
    eta, beta, n = 0.01, 4.0, 100_000
    opt = santa(
        eta,
        10,
        1,
        3,
        integrator="euler",
        inverse_temperature=beta,
        eps=lam or 1.0,
        precondition=lam is not None,
        noise_exponent=exponent,
    )
    zeros = {"a": jnp.zeros(n), "b": jnp.zeros(n)}
    start = opt.init(zeros)
    _, state = jax.jit(opt.update)(zeros, start)
    q = 1 if lam is None else lam**-0.5
    scale = math.sqrt(2 * eta**exponent / beta * q)
    zeta = {
        k: np.asarray(
            (state.momentum[k] - (1 - state.thermostat[k]) * start.momentum[k]) / scale
        )
        for k in zeros
    }
    for z in zeta.values():
        assert abs(z.mean()) < 4 / math.sqrt(n)
        assert abs(z.var() - 1) < 4 * math.sqrt(2 / n)
        assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / n)
    assert abs(np.mean(zeta["a"] * zeta["b"])) < 4 / math.sqrt(n)
    assert abs(np.mean(zeta["a"] * start.momentum["a"])) < 4 * math.sqrt(eta / n)


@pytest.mark.slow
@pytest.mark.parametrize("integrator", SCHEMES)
@pytest.mark.parametrize("beta", [1.0, pytest.param(9.0, marks=pytest.mark.slow)])
def test_samples_a_quadratic_at_its_temperature(integrator, beta):
    """The mean of u² goes to η/β, that of (θ-3)² to 1/β."""
    eta, elements, steps = 0.0025, 1000, 3000
    thetas, states = quadratic_run(
        elements,
        steps,
        steps,
        learning_rate=eta,
        integrator=integrator,
        inverse_temperature=beta,
        friction=0.05,
    )
    late = slice(1000, None)
    u, theta = states.momentum[late], thetas[late] - 3
    # θ and u forget within about 2/A = 40 steps.
    independent = elements * (steps - 1000) / 40
    tolerance = 4 * math.sqrt(2 / independent)
    assert abs(np.mean(u**2) * beta / eta - 1) < tolerance
    # The schemes' own errors, of order η and √η, measured as 0.0004 and 0.02.
    tolerance += eta if integrator == "sss" else math.sqrt(eta)
    assert abs(np.mean(theta**2) * beta - 1) < tolerance
    assert abs(np.mean(theta)) < 4 / math.sqrt(beta * independent)


@pytest.mark.slow
def test_temperature_may_fall_by_a_schedule():
    thetas, states = quadratic_run(2000, 3000, 3000)
    for t in [1500, 3000]:
        beta = math.sqrt(t)
        for mean_square in [
            np.mean(states.momentum[t - 1] ** 2) * beta / 0.01,
            np.mean((thetas[t - 1] - 3) ** 2) * beta,
        ]:
            assert abs(mean_square - 1) < 4 * math.sqrt(2 / 2000) + 0.03


@pytest.mark.parametrize("integrator", SCHEMES)
def test_thermostat_is_fixed_after_burn_in_and_noise_is_gone(integrator):
    burn_in, steps = 300, 900
    thetas, states = quadratic_run(
        50, burn_in, steps, integrator=integrator, inverse_temperature=50.0
    )
    A = np.asarray(states.thermostat)
    assert np.all(np.diff(A[:burn_in], axis=0) != 0)
    np.testing.assert_array_equal(
        A[burn_in:], A[burn_in - 1 : burn_in] + 0 * A[burn_in:]
    )
    distance = np.abs(np.asarray(thetas) - 3).max(1)
    assert distance[burn_in - 1] > 0.1
    assert distance[-1] < 1e-3


@pytest.mark.slow
def test_exploration_leaves_a_poor_minimum_and_refinement_stays_there():
    """A double well whose left, poor minimum is where all elements start."""

    def gradient(x):  # of 4(x²-1)² - 2x over N = 100; the barrier is 2 high
        return (16 * x * (x**2 - 1) - 2) / 100

    def ends(burn_in):
        opt = santa(
            0.002,
            100,
            burn_in,
            0,
            precondition=False,
            inverse_temperature=optax.linear_schedule(0.3, 10, 3000),
        )
        return run(opt, gradient, jnp.full(200, -0.9), 3300)[0][-1]

    assert np.all(ends(0) < 0)
    assert np.mean(ends(3000) > 0) > 0.9


def test_refinement_of_santa_e_is_heavy_ball(x64):
    """Without preconditioner and with A = 1-μ: learning rate ηN, momentum μ."""
    eta, N, mu, steps = 0.002, 50, 0.8, 30
    curvature = np.array([1.0, 3.0, 0.1])
    theta = np.array([1.0, -2.0, 0.5])
    C = (1 - mu) / math.sqrt(eta)
    opt = santa(
        eta,
        N,
        0,
        0,
        integrator="euler",
        friction=math.sqrt(eta) * C,
        precondition=False,
    )
    thetas, _ = run(opt, lambda x: curvature * x, jnp.asarray(theta), steps)
    velocity = np.asarray(opt.init(jnp.asarray(theta)).momentum)
    expected = []
    for _ in range(steps):
        velocity = mu * velocity - eta * N * curvature * theta
        theta = theta + velocity
        expected.append(theta)
    np.testing.assert_allclose(thetas, expected, rtol=1e-12, atol=1e-14)


def test_one_step_of_the_schemes_differs_by_order_eta(x64):
    """With A = √η C and u = √η ξ by η·g (C ξ + g f)/2 to first order, g fixed."""
    N, C = 20, 1.5
    gradient = jnp.array([0.3, -0.7, 1.1])

    @jax.jit
    def scaled_difference(eta):
        steps = []
        for integrator in SCHEMES:
            opt = santa(
                eta,
                N,
                0,
                0,
                integrator=integrator,
                friction=C * jnp.sqrt(eta),
                precondition=False,
            )
            state = opt.init(gradient)
            steps.append(opt.update(gradient, state)[0])
        return (steps[1] - steps[0]) / eta, state.momentum / jnp.sqrt(eta)

    scaled, xi = zip(
        *map(scaled_difference, [1e-4, 1e-5, 1e-6, 1e-7]),
        strict=True,
    )
    expected = (C * xi[0] + N * gradient) / 2
    np.testing.assert_allclose(scaled[-1], expected, rtol=1e-2, atol=1e-2)
    errors = [np.abs(s - expected).max() for s in scaled]
    for coarse, fine in itertools.pairwise(errors):
        assert 2.5 < coarse / fine < 4  # the next order is √η smaller: √10


def test_derivative_term_is_bounded_where_the_momentum_vanishes():
    def first_kick(derivative_term, u):
        opt = santa(
            0.01, 10, 1, 0, derivative_term=derivative_term, inverse_temperature=4.0
        )
        g = jnp.full(3, 0.2)
        state = opt.init(g)._replace(momentum=u)
        return opt.update(g, state)[1].momentum

    u = jnp.array([0.0, 1e-30, -1e-30])
    added = first_kick(True, u) - first_kick(False, u)
    g = 0.2
    q_old, q = 1e-5**-0.5, (1e-5 + math.sqrt(0.01 * g**2)) ** -0.5
    bound = 0.01 / 4 * (q_old / q - 1) / (0.1 * math.sqrt(0.01 / 4))
    # SSS: A' = A + (u² - η/β)/2, and u is multiplied by e^(-A'/2).
    bound *= math.exp(-(0.1 - 0.01 / 4 / 2) / 2)
    np.testing.assert_allclose(added, [0, -bound, bound], rtol=1e-4, atol=1e-7)


def test_same_key_same_noise_and_seeds_are_keys():
    def draws(key):
        opt = santa(0.01, 10, 5, key)
        state = opt.init(jnp.zeros(50))
        updates, _ = opt.update(jnp.zeros(50), state)
        return np.stack([state.momentum, updates])

    expected = draws(5)
    for key in [5, np.int32(5), jax.random.key(5), jax.random.PRNGKey(5)]:
        np.testing.assert_allclose(draws(key), expected, rtol=1e-6, atol=1e-7)
    assert np.all(np.abs(draws(6) - expected) > 1e-6)


@pytest.mark.slow
def test_sam_around_it_keeps_the_types_of_its_state(standard_promotion):
    """SAM computes cond * new + (1 - cond) * old over the whole state."""
    opt = santa(0.01, 10, 5, 0)
    sam = optax.contrib.sam(opt, optax.contrib.normalize(), sync_period=2)
    params = {"w": jnp.array([3.0, 4.0])}
    state = sam.init(params)
    for _ in range(2):
        updates, new = jax.jit(sam.update)(params, state, params)
        assert jax.tree.map(jax.typeof, new) == jax.tree.map(jax.typeof, state)
        state = new
    assert state.opt_state.count == 1
    expected, _ = jax.jit(opt.update)(params, opt.init(params))
    # The parameters did not follow the adversary, so there is nothing to undo.
    np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-5)


@pytest.mark.slow
def test_noise_of_a_leaf_does_not_depend_on_which_gradients_are_missing():
    opt = jitted(santa(0.01, 10, 5, 0))
    params = {"a": jnp.ones(3), "b": jnp.ones(3), "c": jnp.ones(3)}
    state = opt.init(params)
    full, _ = opt.update(params, state)
    part, new_state = opt.update({**params, "a": None}, state)
    assert part["a"] is None
    for leaf in "bc":
        np.testing.assert_allclose(part[leaf], full[leaf], rtol=1e-6, atol=1e-7)
    for field in ["momentum", "thermostat", "nu"]:
        np.testing.assert_array_equal(
            getattr(new_state, field)["a"], getattr(state, field)["a"]
        )
    assert np.all(np.abs(full["b"] - full["c"]) > 1e-5)


@pytest.mark.slow
def test_replicas_draw_the_same_noise_and_shards_different_noise():
    opt = santa(0.01, 10, 100, 0)
    params = {"w": jnp.zeros((8, 4))}

    def three_steps(params, shift):
        gradient = functools.partial(jax.tree.map, lambda p: p + shift)
        params, state = run(opt, gradient, params, 3)
        return params, state

    expected = jax.jit(three_steps)(params, 0.5)

    def averaged(params, shift):
        return three_steps(params, jax.lax.pmean(shift, "i"))

    replicated = jax.pmap(averaged, axis_name="i", in_axes=(None, 0))(
        params, jnp.linspace(0, 1, 8)
    )
    for replicas, want in zip(
        jax.tree.leaves(replicated), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_array_equal(replicas, np.stack([replicas[0]] * 8))
        np.testing.assert_allclose(replicas[0], want, rtol=1e-4, atol=1e-6)

    mesh = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("d"))
    sharded = jax.jit(three_steps)(jax.device_put(params, split), 0.5)
    assert not sharded[0]["w"].sharding.is_fully_replicated
    for got, want in zip(
        jax.tree.leaves(sharded), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    shards = [np.asarray(shard.data) for shard in sharded[0]["w"].addressable_shards]
    assert len(np.unique(np.stack(shards)[:, -1])) == 32  # no two devices drew the same
    # Initialised eagerly, all of the state lies where the parameters lie.
    state = opt.init(jax.device_put(params, split))
    for tree in [state.momentum, state.thermostat, state.nu]:
        assert tree["w"].sharding == split


@pytest.mark.parametrize(
    ("integrator", "precondition"), [("euler", True), ("sss", False)]
)
def test_state_keeps_its_form_and_leaves_of_all_kinds_pass(integrator, precondition):
    params = {
        "half": jnp.ones(3, jnp.bfloat16),
        "scalar": jnp.array(1.0),
        "no size": jnp.ones((0, 2)),
        "frozen": jnp.ones(2),
        "empty": {},
        "absent": None,
    }
    opt = santa(
        np.float64(0.01), 10, 1, 0, integrator=integrator, precondition=precondition
    )
    state = opt.init(params)
    gradients = {**params, "frozen": None}
    update = jax.jit(opt.update)
    for _ in range(2):  # of exploration, and of refinement
        updates, new_state = update(gradients, state)
        assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, new_state)
        state = new_state
    assert state.momentum["half"].dtype == jnp.float32
    assert updates["half"].dtype == jnp.bfloat16
    assert updates["frozen"] is None
    assert updates["absent"] is None
    assert updates["no size"].shape == (0, 2)
    assert np.isfinite(float(updates["scalar"]))
    assert opt.update({}, opt.init({}))[0] == {}
    assert state.count == 2
    largest = jnp.array(2**31 - 1, jnp.int32)
    assert update(gradients, state._replace(count=largest))[1].count == largest


@pytest.mark.parametrize(
    "rate", fast([np.float64(0.01), lambda count: np.float64(0.01)], 0.01)
)
def test_numbers_of_numpy_do_not_widen_the_updates(x64, rate):
    opt = santa(
        rate,
        np.int64(10),
        np.int64(1),
        0,
        inverse_temperature=np.float64(2),
        friction=np.float64(0.1),
        b2=np.float64(0.9),
        eps=np.float64(1e-5),
        noise_exponent=np.float64(1.5),
        derivative_term=True,
    )
    for dtype in [jnp.float32, jnp.float64]:
        params = jnp.ones(3, dtype)
        state = opt.init(params)
        for _ in range(2):
            updates, state = jax.jit(opt.update)(params, state)
            assert updates.dtype == state.momentum.dtype == state.nu.dtype == dtype


def test_hyperparameters_may_be_injected():
    """Traced hyperparameters, a schedule among them, and a typed key."""
    params = {"w": jnp.array([3.0, 4.0])}
    opt = santa(0.01, 10, 5, 0, inverse_temperature=2.0)
    injected = optax.inject_hyperparams(santa)(
        lambda count: jnp.where(count == 0, 0.01, 0.0),
        10,
        5,
        jax.random.key(0),
        inverse_temperature=2.0,
    )
    state, update = injected.init(params), jax.jit(injected.update)
    updates, state = update(params, state, params)
    expected, _ = jax.jit(opt.update)(params, opt.init(params))
    np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-5)
    _, state = update(params, state, params)
    assert state.hyperparams["learning_rate"] == 0


@pytest.mark.slow
def test_many_seeds_run_at_once_under_vmap():
    def one(seed):
        return quadratic_run(4, 3, 6, key=seed)[0][-1]

    together, alone = jax.vmap(one)(jnp.arange(3)), jax.jit(one)
    for seed in range(3):
        np.testing.assert_allclose(together[seed], alone(seed), rtol=1e-5)


def test_complex_parameters_through_their_parts(standard_promotion):
    opt = jitted(optax.contrib.split_real_and_imaginary(santa(0.01, 10, 5, 0)))
    z = jnp.array([1.0 + 2.0j], jnp.complex64)
    updates, _ = opt.update(z, opt.init(z))
    assert updates.dtype == jnp.complex64


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", -0.1),
        ("num_examples", 0),
        ("num_examples", math.nan),
        ("num_examples", math.inf),
        ("burn_in", -1),
        ("burn_in", 2.5),
        ("burn_in", 2**31),
        ("inverse_temperature", 0.0),
        ("inverse_temperature", math.nan),
        ("friction", -0.1),
        ("b2", 1.0),
        ("eps", 0.0),
        ("noise_exponent", -1.0),
        ("integrator", "leapfrog"),
    ],
)
def test_refuses_a_bad_value(name, value):
    arguments = {"learning_rate": 0.1, "num_examples": 10, "burn_in": 5, "key": 0}
    with pytest.raises(ValueError, match=rf"{name} must be .* got {value!r}\. .+\."):
        santa(**{**arguments, name: value})


def test_refuses_a_bad_key_and_bad_parameters():
    for bad in [None, 0.5, "0"]:
        with pytest.raises(TypeError, match="key must be a PRNG key or an int, got"):
            santa(0.1, 10, 5, bad)
    opt = santa(0.1, 10, 5, 0)
    with pytest.raises(TypeError, match=r"params\['n'\] has dtype int32"):
        opt.init({"n": jnp.arange(3)})
    with pytest.raises(
        TypeError, match=r"params\['z'\] has dtype complex64.*split_real"
    ):
        opt.init({"z": jnp.ones(3, jnp.complex64)})
