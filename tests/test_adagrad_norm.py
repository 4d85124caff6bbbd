"""AdaGrad-Norm against its formula, its bounds, and what Optax asks of a state."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from padam_optax.contrib._adagrad_norm import adagrad_norm, scale_by_adagrad_norm

B0S = np.logspace(-3, 3, 13)


def reference(gradient, theta, b0, learning_rate, steps):
    """The formula, in NumPy: all points and all b, the initial ones included."""
    thetas, bs = [theta], [b0]
    for _ in range(steps):
        g = gradient(thetas[-1])
        b_squared = bs[-1] ** 2
        for part in g:
            for element in np.ravel(part):
                b_squared += abs(element) ** 2
        bs.append(math.sqrt(b_squared))
        thetas.append(
            [t - learning_rate / bs[-1] * x for t, x in zip(thetas[-1], g, strict=True)]
        )
    return thetas, bs


def quadratic(largest):
    """A loss with minimum 0 and largest curvature L: its values, and its gradient."""
    curvature = largest * np.array([1.0, 0.3, 0.05, 0.001])
    return (lambda x: np.sum(curvature * x**2, axis=-1) / 2), curvature


@functools.partial(jax.jit, static_argnames="steps")
def run_on_quadratic(curvature, theta, b0, steps):
    """Iterates before each step and b after it, for every b0 at once."""

    def from_b0(b0):
        opt = adagrad_norm(1.0, b0)

        def step(carry, _):
            theta, state = carry
            updates, state = opt.update(curvature * theta, state)
            b = optax.tree.get(state, "root_sum_of_squares")
            return (optax.apply_updates(theta, updates), state), (theta, b)

        return jax.lax.scan(step, (theta, opt.init(theta)), None, steps)[1]

    return jax.vmap(from_b0)(b0)


@functools.cache
def batch_runs(largest, epsilon):
    """For every b0: its bound on the steps, and the run as NumPy arrays."""
    loss, curvature = quadratic(largest)
    theta = np.array([1.0, -2.0, 0.5, 3.0])
    start = loss(theta)
    bounds = [
        1 + math.ceil(2 / epsilon * start * (b0 + 2 * start))
        if b0 >= largest
        else 1
        + math.ceil(
            (
                largest**2
                - b0**2
                + 4 * (start + (3 / 4 + math.log(largest / b0)) * largest) ** 2
            )
            / epsilon
        )
        for b0 in B0S
    ]
    thetas, bs = map(
        np.asarray,
        run_on_quadratic(
            jnp.asarray(curvature), jnp.asarray(theta), jnp.asarray(B0S), max(bounds)
        ),
    )
    return loss, curvature, bounds, thetas, bs


@pytest.mark.parametrize("per_leaf", [False, True])
def test_agrees_with_the_formula(x64, per_leaf):
    rng = np.random.default_rng(0)
    theta = [rng.normal(size=(3, 2)), rng.normal(size=()), rng.normal(size=4)]
    matrices = [rng.normal(size=np.shape(t)) * 10 ** rng.uniform(-2, 2) for t in theta]

    def gradient(theta):
        return [m * np.sin(t) for m, t in zip(matrices, theta, strict=True)]

    if per_leaf:  # each leaf then is a problem of its own
        runs = [
            reference(lambda t, m=m: [m * np.sin(t[0])], [t], 0.3, 0.2, 30)
            for m, t in zip(matrices, theta, strict=True)
        ]
        expected = [thetas[-1][0] for thetas, _ in runs]
        expected_b = [bs[-1] for _, bs in runs]
    else:
        thetas, bs = reference(gradient, theta, 0.3, 0.2, 30)
        expected, expected_b = thetas[-1], bs[-1]

    opt = adagrad_norm(0.2, 0.3, per_leaf=per_leaf)
    params = [jnp.asarray(t) for t in theta]
    state = opt.init(params)
    update = jax.jit(opt.update)
    for _ in range(30):
        grads = [jnp.asarray(g) for g in gradient([np.asarray(p) for p in params])]
        updates, state = update(grads, state)
        params = optax.apply_updates(params, updates)
    b = optax.tree.get(state, "root_sum_of_squares")
    for got, want in zip(params, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
    np.testing.assert_allclose(np.stack(b) if per_leaf else b, expected_b, rtol=1e-13)


@pytest.mark.parametrize(
    "largest", [0.5, *(pytest.param(x, marks=pytest.mark.slow) for x in (4.0, 20.0))]
)
def test_batch_iterations_stay_within_both_bounds(x64, largest):
    epsilon = 0.2 if largest > 10 else 0.02
    _, curvature, bounds, thetas, _ = batch_runs(largest, epsilon)
    squared_norms = np.sum((curvature * thetas) ** 2, axis=-1)
    for b0, bound, squares in zip(B0S, bounds, squared_norms, strict=True):
        # k = 1, ..., T-1 in the bound; squares[0] is that of the starting point.
        assert squares[0] > epsilon, "the start must not be the answer already"
        assert squares[1:bound].min() <= epsilon, f"b0={b0}"


@pytest.mark.slow
@pytest.mark.parametrize("largest", [4.0, 20.0])
def test_b_passes_the_lipschitz_constant_in_time_and_then_stays_bounded(x64, largest):
    epsilon = 0.02
    loss, curvature, _, thetas, bs = batch_runs(largest, 0.2)
    squared_norms = np.sum((curvature * thetas) ** 2, axis=-1)
    losses = loss(thetas)
    from_below = 0
    for b0, b, squares, loss_before in zip(B0S, bs, squared_norms, losses, strict=True):
        b_from_0 = np.concatenate([[b0], b])
        assert np.all(np.diff(b_from_0) >= 0)
        steps = math.ceil((largest**2 - b0**2) / epsilon) + 1
        if 0 < steps <= len(b):
            assert squares[:steps].min() <= epsilon or b_from_0[steps] >= largest
        if b_from_0[-1] < largest:
            continue
        # k0 = 0 when b starts above L; the bound then starts from b_0 and L(θ_0).
        k0 = int(np.argmax(b_from_0 >= largest))
        before = max(k0 - 1, 0)
        from_below += k0 > 0
        assert b_from_0[-1] <= b_from_0[before] + 2 * loss_before[before]
        # Not diverged by then: what a step can add while b < L.
        limit = losses[0, 0] + largest / 2 * (1 + 2 * np.log(b_from_0[before] / b0))
        assert loss_before[before] <= limit
    assert from_below >= 5


def test_constant_step_diverges_where_adagrad_norm_converges(x64):
    _, curvature, _, thetas, _ = batch_runs(0.5, 0.02)
    theta = thetas[0, 0]
    for _ in range(200):
        theta = theta - curvature * theta / 0.2  # b < L/2
    assert np.abs(theta).max() > 1e9
    assert np.abs(thetas[:, -1, 0]).max() < 1e-3


def test_b_grows_like_the_root_of_the_steps_under_noise():
    """With noise of variance s² in d dimensions c² = s²d, a χ² with dk degrees."""
    d, s, steps = 8, 0.5, 4000
    c = s * math.sqrt(d)
    opt = adagrad_norm(1.0, 1e-3)

    def step(carry, key):
        theta, state = carry
        g = 0.2 * theta + s * jax.random.normal(key, (d,))
        updates, state = opt.update(g, state)
        b = optax.tree.get(state, "root_sum_of_squares")
        return (optax.apply_updates(theta, updates), state), (b, jnp.sum(theta**2))

    theta = jnp.full(d, 0.3)
    keys = jax.random.split(jax.random.key(1), steps)
    _, (b, distance) = jax.lax.scan(step, (theta, opt.init(theta)), keys)
    k = np.arange(1, steps + 1)
    ratio = np.asarray(b) / (c * np.sqrt(k))
    # b² sums the noise's squares and, in the mean, those of the true gradients.
    own = np.cumsum(0.04 * np.asarray(distance)) / (c**2 * k)
    for k in [250, 1000, 4000]:
        standard_error = math.sqrt(2 / (d * k))
        cross = 2 * math.sqrt(own[k - 1] / (d * k))  # noise times true gradient
        expected = 1 + own[k - 1]
        assert abs(ratio[k - 1] ** 2 - expected) < 4 * (standard_error + cross)
    assert own[-1] < 0.05  # c is the noise's, not the loss's


def test_without_b0_the_scale_of_the_loss_does_not_matter():
    gradients = jax.random.normal(jax.random.key(0), (10, 5))
    opt = scale_by_adagrad_norm(b0=0.0)

    def updates_of(gradients):
        state, updates = opt.init(gradients[0]), []
        for g in gradients:
            u, state = opt.update(g, state)
            updates.append(u)
        return np.stack(updates)

    expected = updates_of(gradients)
    np.testing.assert_allclose(np.linalg.norm(expected[0]), 1, rtol=1e-6)
    for scale in [1e-36, 1e-25, 1e-3, 1e25, 1e37]:
        np.testing.assert_allclose(updates_of(scale * gradients), expected, rtol=2e-6)


def test_updates_are_never_longer_than_one():
    gradients = jax.random.normal(jax.random.key(0), (20, 7)) * 10.0 ** jnp.arange(7.0)
    for b0 in [0.0, 1e-30, 1.0, 1e30]:
        opt = scale_by_adagrad_norm(b0)
        state = opt.init(gradients[0])
        for g in gradients:
            u, state = opt.update(g, state)
            assert jnp.linalg.norm(u) <= 1 + 1e-6


def test_b_neither_overflows_nor_forgets_what_is_tiny():
    opt = scale_by_adagrad_norm(b0=0.0)
    g = {"a": jnp.array([3e30]), "b": jnp.array([-4e30])}
    updates, state = opt.update(g, opt.init(g))
    np.testing.assert_allclose(state.root_sum_of_squares, 5e30, rtol=1e-6)
    np.testing.assert_allclose([updates["a"][0], updates["b"][0]], [0.6, -0.8], 1e-6)

    g = {"a": jnp.array([3e-30]), "b": jnp.array([-4e-30])}
    _, state = opt.update(g, opt.init(g))
    np.testing.assert_allclose(state.root_sum_of_squares, 5e-30, rtol=1e-6)

    g = {"a": jnp.full(100, np.finfo(np.float32).max), "b": jnp.array([1.0])}
    for _ in range(2):  # whose norm no float32 can hold
        updates, state = opt.update(g, state)
        assert state.root_sum_of_squares == 2.0**126
        np.testing.assert_allclose(updates["a"], 4.0, rtol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_shows_but_does_not_stay(bad):
    opt = scale_by_adagrad_norm(b0=2.0)
    g = {"a": jnp.array([1.0, bad]), "b": jnp.ones(3)}
    updates, state = opt.update(g, opt.init(g))
    assert not np.isfinite(updates["a"][1])
    assert state.root_sum_of_squares == 2.0


def test_nothing_over_nothing_is_nothing():
    opt = scale_by_adagrad_norm(b0=0.0)
    g = jnp.zeros(3)
    updates, state = opt.update(g, opt.init(g))
    np.testing.assert_array_equal(updates, 0)
    updates, _ = opt.update(jnp.array([0.0, 3.0, 4.0]), state)
    np.testing.assert_allclose(updates, [0, 0.6, 0.8], rtol=1e-6)


def test_complex_gradients_count_with_their_absolute_value():
    opt = scale_by_adagrad_norm(b0=0.0)
    g = {"z": jnp.array([3.0 + 4.0j, 0.0], jnp.complex64), "x": jnp.array(12.0)}
    updates, state = opt.update(g, opt.init(g))
    assert state.root_sum_of_squares.dtype == jnp.float32
    np.testing.assert_allclose(state.root_sum_of_squares, 13, rtol=1e-6)
    np.testing.assert_allclose(updates["z"], [(3 + 4j) / 13, 0], rtol=1e-6)
    assert updates["z"].dtype == jnp.complex64


@pytest.mark.parametrize("per_leaf", [False, True])
def test_missing_empty_and_narrow_leaves(per_leaf):
    params = {
        "half": jnp.ones(3, jnp.bfloat16),
        "scalar": jnp.array(1.0),
        "no size": jnp.ones((0, 2)),
        "frozen": jnp.ones(2),
        "empty": {},
        "absent": None,
    }
    opt = scale_by_adagrad_norm(0.0, per_leaf=per_leaf)
    state = opt.init(params)
    gradients = {**params, "half": jnp.full(3, 2.0, jnp.bfloat16), "frozen": None}
    updates, new_state = opt.update(gradients, state)
    assert updates["frozen"] is None
    assert updates["absent"] is None
    assert updates["no size"].shape == (0, 2)
    assert updates["half"].dtype == jnp.bfloat16
    norms = {"half": math.sqrt(12), "scalar": 1.0}
    for name, norm in norms.items():
        norm = norm if per_leaf else math.sqrt(13)
        expected = np.asarray(gradients[name], np.float32) / norm
        np.testing.assert_allclose(
            np.asarray(updates[name], np.float32), expected, rtol=4e-3
        )
    # The same structure, shapes, dtypes and weak types, all at least float32.
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, new_state)
    assert {str(b.dtype) for b in jax.tree.leaves(new_state)} == {"float32"}
    assert opt.update({}, opt.init({}))[0] == {}


def test_float64_parameters_have_a_float64_b(x64):
    params = {"a": jnp.ones(2, jnp.float32), "b": jnp.ones(2, jnp.float64)}
    opt = adagrad_norm(np.float64(0.1), np.float64(0.5))
    state = opt.init(params)
    assert optax.tree.get(state, "root_sum_of_squares").dtype == jnp.float64
    updates, _ = opt.update(params, state)
    assert jax.tree.map(lambda u: u.dtype, updates) == jax.tree.map(
        lambda p: p.dtype, params
    )
    state = opt.init(params["a"])
    assert optax.tree.get(state, "root_sum_of_squares").dtype == jnp.float32
    assert opt.update(params["a"], state)[0].dtype == jnp.float32


def test_learning_rate_schedule_counts_from_zero():
    opt = adagrad_norm(lambda count: jnp.where(count == 0, 1.0, 0.5), b0=0.0)
    g = jnp.array([3.0, 4.0])
    state = opt.init(g)
    first, state = opt.update(g, state)
    second, _ = opt.update(g, state)
    np.testing.assert_allclose(first, [-0.6, -0.8], rtol=1e-6)
    np.testing.assert_allclose(second, np.array([-0.6, -0.8]) / 2 / math.sqrt(2), 1e-6)


@pytest.mark.parametrize("per_leaf", [False, True])
def test_hyperparameters_may_be_injected_and_masked_leaves_do_not_count(per_leaf):
    # Gradients equal to the parameters, so that the norms are 5, 12 and 13.
    params = {"w": jnp.array([3.0, 4.0]), "b": jnp.array(12.0)}
    w = np.array([3, 4]) / (5 if per_leaf else 13)

    injected = optax.inject_hyperparams(adagrad_norm)(0.5, 0.0, per_leaf=per_leaf)
    updates, _ = jax.jit(injected.update)(params, jax.jit(injected.init)(params))
    np.testing.assert_allclose(updates["w"], -0.5 * w, rtol=1e-6)

    opt = adagrad_norm(0.5, 0.0, per_leaf=per_leaf)
    masked = optax.masked(opt, {"w": True, "b": False})
    updates, _ = masked.update(params, masked.init(params))
    np.testing.assert_allclose(updates["w"], [-0.3, -0.4], rtol=1e-6)
    assert updates["b"] == 12.0


@pytest.mark.parametrize("per_leaf", [False, True])
def test_devices_share_one_norm(per_leaf):
    """Whole on one device, averaged under pmap, and sharded under jit."""
    rng = np.random.default_rng(3)
    params = {"w": jnp.asarray(rng.normal(size=(16, 3)), jnp.float32), "b": jnp.ones(8)}
    local = jax.tree.map(
        lambda p: jnp.asarray(rng.normal(size=(8, *p.shape)), jnp.float32), params
    )
    mean = jax.tree.map(lambda g: g.mean(0), local)
    opt = adagrad_norm(0.5, 0.1, per_leaf=per_leaf)

    def two_steps(params, grads):
        state = opt.init(params)
        for _ in range(2):
            updates, state = opt.update(grads, state)
            params = optax.apply_updates(params, updates)
        return params, state

    expected = jax.jit(two_steps)(params, mean)

    averaged = jax.pmap(
        lambda params, grads: two_steps(params, jax.lax.pmean(grads, "i")),
        axis_name="i",
        in_axes=(None, 0),
    )(params, local)
    for replicas, want in zip(
        jax.tree.leaves(averaged), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_array_equal(replicas, np.stack([replicas[0]] * 8))
        np.testing.assert_allclose(replicas[0], want, rtol=1e-5)

    mesh = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("d"))
    sharded = jax.jit(two_steps)(*jax.device_put((params, mean), split))
    assert not sharded[0]["w"].sharding.is_fully_replicated
    for got, want in zip(
        jax.tree.leaves(sharded), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("b0", [-1.0, math.nan, math.inf, np.float32(-0.1)])
def test_refuses_a_bad_b0(b0):
    with pytest.raises(ValueError, match=r"b0 must be a finite number >= 0, got"):
        scale_by_adagrad_norm(b0)
    with pytest.raises(ValueError, match="b0"):
        adagrad_norm(0.1, b0)


def test_refuses_a_bad_learning_rate_and_integer_parameters():
    for bad in [None, -0.1, math.nan]:
        with pytest.raises((ValueError, TypeError), match="learning_rate must be"):
            adagrad_norm(bad)
    with pytest.raises(TypeError, match=r"params\['n'\] has dtype int32"):
        adagrad_norm(0.1).init({"n": jnp.arange(3)})
