"""Compressed state: the codes, what is lost, and that nothing else changes."""

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
from hypothesis.extra import numpy as npst
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import padam_optax
from padam_optax.experimental import _codecs
from tests.marks import fast
from tests.optimizers import types

ONE = jnp.float32(1)

FORMATS = {
    "16-bit": (_codecs.encode_16, _codecs.decode_16),
    "8-bit": (_codecs.encode_8, _codecs.decode_8),
}
every_format = pytest.mark.parametrize("format", FORMATS)
BYTES = {"16-bit": 6, "8-bit": 3}


def noise(shape, count=0):
    return _codecs.random_bits(shape, jnp.int32(count), 0)


@functools.cache
def round_trip(format):
    """Return what compiles to decode(encode(moments)), with noise of a count."""
    encode, decode = FORMATS[format]

    @jax.jit
    def run(mu, nu, nu_max, count):
        bits = noise(mu.shape, count)
        return decode(encode(_codecs.Row(mu, nu, nu_max), ONE, bits), ONE)

    return run


def spread(n, seed=0):
    """Return moments over many decades, with nu ≤ nu_max and |mu| ≤ 20 √nu_max."""
    rng = np.random.default_rng(seed)
    nu_max = 10.0 ** rng.uniform(-15, 15, n)
    nu = nu_max * rng.uniform(0, 1, n) ** 3
    mu = np.sqrt(nu_max) * rng.normal(size=n) * 10.0 ** rng.uniform(-4, 0.5, n)
    return [jnp.asarray(x, jnp.float32) for x in (mu, nu, nu_max)]


def compressed(rate=0.1, format="8-bit", min_size=0, **settings):
    inner = padam_optax.padam(rate, **settings)
    return padam_optax.experimental.quantize_state(
        inner, format, min_size=min_size, check_momentum=False
    )


def v_hat(state):
    return padam_optax.state.second_moment(
        padam_optax.experimental.dequantize_state(state)
    )


# --- The maximum -------------------------------------------------------------------


def rounded_up(v, significant_bits):
    """The next number with that many significant bits, by NumPy in float64."""
    mantissa, exponent = np.frexp(np.asarray(v, np.float64))
    grid = 2.0**significant_bits
    return np.ldexp(np.ceil(mantissa * grid) / grid, exponent)


@pytest.mark.parametrize(("format", "bits"), [("16-bit", 8), ("8-bit", 4)])
def test_maximum_is_rounded_up_to_a_short_float(format, bits):
    mu, nu, nu_max = spread(100_000)
    actual = round_trip(format)(mu, nu, nu_max, 0).nu_max
    np.testing.assert_array_equal(actual, rounded_up(nu_max, bits))


@every_format
@settings(deadline=None, max_examples=25)
@given(
    v=npst.arrays(np.float32, 16, elements=st.floats(0, 2.0**62, width=32)),
    w=npst.arrays(np.float32, 16, elements=st.floats(0, 2.0**62, width=32)),
)
def test_maximum_never_falls_is_monotone_and_stays_where_it_is(format, v, w):
    def run(x):
        return np.asarray(round_trip(format)(np.zeros_like(x), x, x, 0).nu_max)

    v[0] = 0
    low, high = np.minimum(v, w), np.maximum(v, w)
    once = run(v)
    assert (once >= v).all()
    assert ((once == 0) == (v == 0)).all()
    np.testing.assert_array_equal(run(once), once)
    assert (run(low) <= run(high)).all()
    normal = v > 2.0**-64
    assert (
        once[normal] <= v[normal] * (9 / 8 if format == "8-bit" else 129 / 128)
    ).all()


def test_range_of_8_bits_ends_where_it_says():
    v = jnp.asarray([1e-38, 2.0**-64, 1e19, 1e30, np.inf], jnp.float32)
    actual = round_trip("8-bit")(jnp.zeros(5), v, v, 0).nu_max
    largest = 1.625 * 2.0**63  # the last of 1022 codes, 8 to the binade
    expected = [2.0**-64, 2.0**-64, 1.125 * 2.0**63, largest, largest]
    np.testing.assert_array_equal(actual, np.float32(expected))


# --- What is rounded at random -----------------------------------------------------


def mu_grid(nu_max):
    """The 255 values of mu in 8 bits for one nu_max."""
    k = np.arange(128)
    size = 2.0 ** (k // 8 - 10) * (1 + (k % 8) / 8) - 2.0**-10
    root = 2.0 ** np.ceil((np.frexp(nu_max)[1] - 1) / 2)
    return root * np.concatenate([-size[:0:-1], size])


def share_grid():
    x = np.arange(64) / 63
    return (3 * x - x**2) / 2


def bfloat16_grid(x):
    exponent = np.frexp(np.abs(x))[1]
    return np.ldexp(np.arange(-257, 257), exponent - 8)


def nu_grid(x):
    return np.ldexp(np.arange(512.0), np.frexp(x)[1] - 9)


SCHEMES = {
    # name: (format, with a maximum, moment, grid of one element's mu, nu and v̂)
    "mu, 8-bit": ("8-bit", True, 0, lambda m, v, w: mu_grid(w)),
    "nu/nu_max, 8-bit": ("8-bit", True, 1, lambda m, v, w: share_grid() * w),
    "nu, 8-bit": ("8-bit", False, 1, lambda m, v, w: nu_grid(v)),
    "mu, 16-bit": ("16-bit", True, 0, lambda m, v, w: bfloat16_grid(m)),
    "nu/nu_max, 16-bit": (
        "16-bit",
        True,
        1,
        lambda m, v, w: np.arange(2.0**16) / 65535 * w,
    ),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_random_rounding_takes_both_neighbours_and_is_right_on_average(scheme):
    format, with_maximum, index, grid_of = SCHEMES[scheme]
    encode, decode = FORMATS[format]
    moments = mu, nu, nu_max = spread(100)
    moments = _codecs.Row(mu, nu, nu_max if with_maximum else None)
    x = np.asarray(moments[index], np.float64)

    @jax.jit
    def run(bits):  # each of the 65536 halves of a word once: a mean without chance
        bits = jnp.full(mu.shape, bits * np.uint32(0x10001))
        return decode(encode(moments, ONE, bits), ONE)[index]

    actual = np.float64(jax.lax.map(run, jnp.arange(2**16, dtype=jnp.uint32)))
    nu_max = rounded_up(nu_max, 8 if format == "16-bit" else 4)
    low, high = np.empty_like(x), np.empty_like(x)
    for i in range(x.size):
        grid = grid_of(mu[i], nu[i], nu_max[i])
        above = np.searchsorted(grid, x[i], side="right")
        low[i], high[i] = grid[above - 1], grid[above]
    # A share times 65535 has 7 bits after the point in float32: 1/256 is its rounding.
    rounding = 0.005 if scheme == "nu/nu_max, 16-bit" else 2e-4
    up = (x - low) / (high - low)
    inside = (up > rounding) & (up < 1 - rounding)
    assert inside.mean() > 0.9
    is_low, is_high = (np.isclose(actual, y, rtol=1e-6, atol=0) for y in (low, high))
    assert (is_low | is_high)[:, inside].all()
    error = (actual.mean(axis=0) - x) / (high - low)
    assert np.abs(error).max() < rounding


def test_zeros_stay_zero_without_chance():
    zeros = jnp.zeros(10_000)
    for format in FORMATS:
        for nu_max in (zeros, zeros + 1, None):
            moments = round_trip(format)(zeros, zeros, nu_max, 0)
            assert not moments.mu.any()
            assert not moments.nu.any()


def test_noise_is_even_and_independent():
    bits = np.stack([noise((300, 70), t) for t in range(20)]).astype(np.uint32)
    low, high = (bits & 0xFFFF) / 65536 - 0.5, (bits >> 16) / 65536 - 0.5
    n = bits.size
    variance = 1 / 12
    for u in (low, high):
        assert abs(u.mean()) < 4 * (variance / n) ** 0.5
        assert abs(u.var() / variance - 1) < 0.01
        for axis in range(3):  # from step to step, from row to row, from column to …
            a, b = np.moveaxis(u, axis, 0)[1:], np.moveaxis(u, axis, 0)[:-1]
            assert abs((a * b).mean()) < 4 * variance / n**0.5
    assert abs((low * high).mean()) < 4 * variance / n**0.5
    assert len(np.unique(bits)) > 0.999 * n - n**2 / 2**33


def halfway(shape, count, salt):
    """Noise that makes of random rounding that to the nearest."""
    del count, salt
    return jnp.full(shape, 0x80008000, jnp.uint32)


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("inner", fast(["padam", "adam"], "padam"))
@pytest.mark.parametrize("random", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_an_average_of_999_parts_in_1000_does_not_stall(inner, random, monkeypatch):
    if not random:
        monkeypatch.setattr(_codecs, "random_bits", halfway)
    optimizer = {
        "padam": padam_optax.scale_by_partial_adaptive(b1=0.999),
        "adam": optax.scale_by_adam(b1=0.999),
    }[inner]
    opt = padam_optax.experimental.quantize_state(optimizer, min_size=0)
    x = jnp.ones(1000)

    def step(state, g):
        return opt.update(g * x, state)[1], None

    @jax.jit
    def run():
        state = opt.init(x)
        state, _ = jax.lax.scan(step, state, jnp.full(8000, 1.0))
        return jax.lax.scan(step, state, jnp.full(1000, 0.5))[0]

    state = padam_optax.experimental.dequantize_state(run())
    decay = 0.999**1000
    mu, nu = (optax.tree.get(state, name).mean() for name in ("mu", "nu"))
    errors = abs(mu / (0.5 + 0.5 * decay) - 1), abs(nu / (0.25 + 0.75 * decay) - 1)
    # Both would stay at 1, or never get there, 0.5 and 0.9 off: the control.
    assert max(errors) < 0.01 if random else max(errors) > 0.1


def test_momentum_of_any_gradients_is_within_range():
    # The largest |m|/√v at the default rates: g rising by b1/b2 a step.
    g = (0.9 / 0.999) ** -np.arange(200.0)
    m = v = 0.0
    for x in g / g[-1]:
        m, v = 0.9 * m + 0.1 * x, 0.999 * v + 0.001 * x**2
    assert 7.2 < m / v**0.5 < 7.3
    actual = round_trip("8-bit")(
        *(jnp.full(4000, x, jnp.float32) for x in (m, v, v)), 0
    )
    np.testing.assert_allclose(actual.mu.mean(), m, rtol=5e-3)


# --- Real gradients ----------------------------------------------------------------

STEPS = 10_000


@functools.cache
def followed_on_digits():
    """Train on digits in float32 and let compressed states see the same gradients.

    Returns for each format and step √v̂ over float32's, its extremes and its mean over
    the elements, how often v̂ fell, how often one of the two was 0 alone, and how far
    the update was from float32's, relatively.
    """
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    images, labels = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)
    keys = jax.random.split(jax.random.key(0))
    params = {
        "w1": jax.random.normal(keys[0], (64, 24)) / 8,
        "b1": jnp.zeros(24),
        "w2": jax.random.normal(keys[1], (24, 10)) / 5,
    }

    def loss(params, x, y):
        logits = jax.nn.relu(x @ params["w1"] + params["b1"]) @ params["w2"]
        return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    padam = padam_optax.padam(0.1)
    others = [
        padam_optax.experimental.quantize_state(padam, f, min_size=0) for f in FORMATS
    ]

    def flat(state):
        return jnp.concatenate([v.ravel() for v in jax.tree.leaves(v_hat(state))])

    def step(carry, t):
        params, state, states = carry
        i = jax.random.randint(jax.random.fold_in(keys[0], t), (16,), 0, len(labels))
        g = jax.grad(loss)(params, images[i], labels[i])
        u, state = padam.update(g, state)
        v = flat(state)
        after, facts = [], []
        for opt, old in zip(others, states, strict=True):
            u_codes, new = opt.update(g, old)
            after.append(new)
            w = flat(new)
            ratio = jnp.where(v > 1e-18, jnp.sqrt(w / jnp.where(v > 0, v, 1)), 1)
            facts.append(
                (
                    ratio.min(),
                    ratio.max(),
                    ratio.mean(),
                    jnp.sum(w < flat(old)),
                    jnp.sum((w == 0) != (v == 0)),
                    optax.tree.norm(optax.tree.sub(u_codes, u)) / optax.tree.norm(u),
                )
            )
        return (optax.apply_updates(params, u), state, after), facts

    @jax.jit
    def run():
        carry = (params, padam.init(params), [opt.init(params) for opt in others])
        (trained, *_), facts = jax.lax.scan(step, carry, jnp.arange(STEPS))
        return loss(trained, images, labels), facts

    final_loss, facts = run()
    assert final_loss < 0.02  # the gradients are those of a training that succeeds
    return dict(zip(FORMATS, jax.tree.map(np.asarray, facts), strict=True))


@pytest.mark.slow
@every_format
def test_maximum_never_falls_in_training(format):
    _, _, _, falls, zeros, _ = followed_on_digits()[format]
    assert not falls.any()
    assert not zeros.any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "p", "smaller", "larger", "mean"),
    [
        ("8-bit", 0.125, 0.05, 0.03, 0.01),
        ("8-bit", 0.5, 0.15, 0.10, 0.04),
        ("16-bit", 0.125, 0.002, 0.001, 0.001),
        ("16-bit", 0.5, 0.008, 0.004, 0.003),
    ],
)
def test_effective_steps_stay_near_those_of_float32(format, p, smaller, larger, mean):
    low, high, average, *_ = followed_on_digits()[format]
    assert high.max() ** (2 * p) < 1 / (1 - smaller)
    assert low.min() ** (2 * p) > 1 / (1 + larger)
    assert 1 <= average[-1] ** (2 * p) < 1 + mean


@pytest.mark.slow
@pytest.mark.parametrize(("format", "error"), [("8-bit", 0.1), ("16-bit", 0.01)])
def test_noise_of_the_updates_is_small(format, error):
    *_, errors = followed_on_digits()[format]
    assert errors.mean() < error


# --- The wrapper -------------------------------------------------------------------


def vgg16_shapes():
    channels = [3, 64, 64, 128, 128, *3 * [256], *6 * [512]]
    shapes = {}
    for i, (a, b) in enumerate(itertools.pairwise(channels)):
        shapes[f"conv{i}"] = [(3, 3, a, b), (b,), (b,), (b,)]
    return {**shapes, "dense": [(512, 10), (10,)]}


def resnet18_shapes():
    shapes, a = {"stem": [(3, 3, 3, 64), (64,), (64,)]}, 64
    for stage, b in enumerate([64, 128, 256, 512]):
        block = [(3, 3, a, b), *3 * [(3, 3, b, b)], *10 * [(b,)]]
        shapes[f"stage{stage}"] = block if a == b else [*block, (1, 1, a, b)]
        a = b
    return {**shapes, "dense": [(512, 10), (10,)]}


@pytest.mark.parametrize("shapes", [vgg16_shapes(), resnet18_shapes()])
@every_format
def test_bytes_per_parameter(format, shapes):
    params = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )
    size = sum(x.size for x in jax.tree.leaves(params))
    assert size > 11e6
    for inner, expected in [
        (padam_optax.padam(0.1), BYTES[format]),
        (optax.adam(0.1), {"8-bit": 3, "16-bit": 4}[format]),
    ]:
        opt = padam_optax.experimental.quantize_state(
            inner, format, check_momentum=False
        )
        state = jax.eval_shape(opt.init, params)
        stored = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
        assert expected <= stored / size < expected + 0.05


def make_params():
    rng = np.random.default_rng(0)
    return {
        "w": jnp.asarray(rng.normal(size=(16, 24)), jnp.float32),
        "small": jnp.asarray(rng.normal(size=5), jnp.float32),
    }


@functools.cache
def jitted(opt):
    return jax.jit(opt.init), jax.jit(opt.update)


def take_steps(opt, params, steps, state=None, start=0):
    init, update = jitted(opt)
    state = init(params) if state is None else state
    for t in range(start, start + steps):
        g = jax.tree.map(lambda x, t=t: jnp.sin(x * (t + 1)), params)
        u, state = update(g, state, params)
        params = optax.apply_updates(params, u)
    return params, state


def test_resume_is_bit_for_bit():
    opt, params = compressed(), make_params()
    expected = take_steps(opt, params, 6)
    middle, state = take_steps(opt, params, 3)
    state = pickle.loads(pickle.dumps(jax.tree.map(np.asarray, state)))
    actual = take_steps(opt, middle, 3, state, start=3)
    chex.assert_trees_all_equal(actual, expected)


@pytest.mark.parametrize("format", fast(FORMATS, "8-bit"))
def test_seed_decides_the_bits(format):
    def run(seed):
        opt = padam_optax.experimental.quantize_state(
            padam_optax.padam(0.1), format, min_size=0, seed=seed, check_momentum=False
        )
        return take_steps(opt, make_params(), 3)[0]

    chex.assert_trees_all_equal(run(1), run(1))
    assert (run(1)["w"] != run(2)["w"]).any()


def test_shards_have_the_numbers_of_the_whole():
    opt, params = compressed(), make_params()
    mesh = jax.make_mesh(
        (4, 2), ("x", "y"), axis_types=2 * (jax.sharding.AxisType.Auto,)
    )
    sharded = {
        "w": jax.device_put(params["w"], NamedSharding(mesh, P("x", "y"))),
        "small": jax.device_put(params["small"], NamedSharding(mesh, P())),
    }
    actual = take_steps(opt, sharded, 3)
    assert actual[1].inner_state[1][0].mu["w"].sharding.spec == P("x", "y")
    expected = take_steps(opt, params, 3)
    chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-6)


close = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-7)


@every_format
def test_small_arrays_stay_as_they_are(format):
    opt, params = compressed(format=format, min_size=6), make_params()
    actual, state = take_steps(opt, params, 5)
    expected, plain = take_steps(padam_optax.padam(0.1), params, 5)
    close(actual["small"], expected["small"])  # codes would be off by 1e-3
    inside = padam_optax.experimental.dequantize_state(state)
    chex.assert_trees_all_equal_structs(inside, plain)
    for name in ("mu", "nu", "nu_max"):
        small, whole = (optax.tree.get(s, name) for s in (inside, plain))
        close(small["small"], whole["small"])
        assert optax.tree.get(state.inner_state[1], name)["w"].dtype.itemsize < 4


@pytest.mark.parametrize(
    ("inner", "settings"),
    [
        pytest.param(padam_optax.padam(0.01), {}, marks=pytest.mark.slow),
        (optax.adabelief(0.01), {"format": "16-bit"}),
        (optax.chain(optax.clip(1.0), optax.amsgrad(0.01)), {"debias_b2": 0.999}),
        pytest.param(
            optax.inject_hyperparams(padam_optax.padam)(0.01),
            {},
            marks=pytest.mark.slow,
        ),
        (optax.masked(optax.adam(0.01), {"w": True, "small": False}), {}),
        pytest.param(
            optax.multi_transform(
                {"a": padam_optax.padam(0.01), "b": optax.adam(0.01)},
                {"w": "a", "small": "b"},
            ),
            {},
            marks=pytest.mark.slow,
        ),
        (optax.MultiSteps(padam_optax.padam(0.01), 2).gradient_transformation(), {}),
    ],
)
@pytest.mark.usefixtures("standard_promotion")
def test_inner_optimizers_move_as_they_do_without(inner, settings):
    params = make_params()
    opt = padam_optax.experimental.quantize_state(
        inner, min_size=6, check_momentum=False, **settings
    )
    actual, state = take_steps(opt, params, 30)
    assert any(x.dtype in (jnp.uint8, jnp.uint16) for x in jax.tree.leaves(state))
    expected, plain = take_steps(inner, params, 30)
    chex.assert_trees_all_equal_shapes_and_dtypes(
        padam_optax.experimental.dequantize_state(state), plain
    )
    moved = optax.tree.norm(optax.tree.sub(expected, params))
    assert optax.tree.norm(optax.tree.sub(actual, expected)) < 0.1 * moved


# Optax's optimizers with mu and nu, a learning rate and what they are wrapped with.
OPTAX = {
    "adam": (optax.adam, {}),
    "adamw": (optax.adamw, {}),
    "nadam": (optax.nadam, {}),
    "radam": (optax.radam, {}),
    "lamb": (optax.lamb, {}),
    "yogi": (optax.yogi, {}),
    "novograd": (optax.novograd, {}),
    "optimistic_adam_v2": (optax.optimistic_adam_v2, {}),
    "amsgrad": (optax.amsgrad, {"debias_b2": 0.999}),
    "sm3": (optax.sm3, {}),
    "adamax": (optax.adamax, {"format": "16-bit"}),
    "adabelief": (optax.adabelief, {"format": "16-bit"}),
    "adopt": (optax.contrib.adopt, {"format": "16-bit"}),
    "acprop": (optax.contrib.acprop, {"format": "16-bit"}),
    "padam": (padam_optax.padam, {}),
    "padam, 16-bit": (padam_optax.padam, {"format": "16-bit"}),
}
FAST = "adam", "amsgrad", "adamax", "adopt", "padam", "padam, 16-bit"
ONLY_16_BIT = [
    name
    for name, (_, s) in OPTAX.items()
    if name in ("adamax", "adabelief", "adopt", "acprop")
]


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize(
    "name",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in OPTAX
    ],
)
def test_gradients_of_any_scale_are_descended_as_in_float32(name):
    """A noisy quadratic whose loss is multiplied by 1e-8 to 1e8, all at once."""
    make, settings = OPTAX[name]
    plain = make(0.01)
    quantized = padam_optax.experimental.quantize_state(
        plain, min_size=0, check_momentum=False, **settings
    )
    curvature = jnp.logspace(-1, 1, 256)
    scales = jnp.logspace(-8, 8, 5)

    def final_loss(opt, scale):
        def step(carry, key):
            x, state = carry
            g = curvature * x + 0.1 * jax.random.normal(key, x.shape)
            u, state = opt.update(scale * g, state, x)
            return (optax.apply_updates(x, unit * u), state), None

        # Padam's update scales with c^(1-2p), the others' not at all.
        unit = scale**-0.75 if make is padam_optax.padam else 1.0
        x = jnp.ones(256)
        keys = jax.random.split(jax.random.key(0), 100)
        (x, _), _ = jax.lax.scan(step, (x, opt.init(x)), keys)
        return jnp.sum(curvature * x**2)

    actual, expected = (
        jax.jit(jax.vmap(functools.partial(final_loss, opt)))(scales)
        for opt in (quantized, plain)
    )
    np.testing.assert_allclose(actual, expected, rtol=0.1)


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("name", fast(ONLY_16_BIT, "adamax"))
def test_8_bits_are_refused_where_nu_does_not_bound_mu(name):
    opt = padam_optax.experimental.quantize_state(OPTAX[name][0](0.01))
    params = {"w": jnp.ones((64, 64)), "small": jnp.ones(5)}
    with pytest.raises(ValueError, match="'8-bit'.*'16-bit'"):
        opt.init(params)
    with pytest.raises(ValueError, match="'8-bit'.*'16-bit'"):
        jax.eval_shape(opt.init, params)
    opt.init({"small": params["small"]})  # which has no codes


@pytest.mark.slow
def test_8_bits_are_refused_for_a_deviation_under_a_maximum():
    deviation = optax.chain(
        padam_optax.contrib.squared_deviation(),
        padam_optax.moving_average(),
        padam_optax.running_max(),
    )
    inner = padam_optax.scale_by_partial_adaptive(second_moment=deviation)
    params = jnp.ones(10)
    with pytest.raises(ValueError, match="'8-bit'.*'16-bit'"):
        padam_optax.experimental.quantize_state(inner, min_size=0).init(params)
    padam_optax.experimental.quantize_state(
        inner, min_size=0, check_momentum=False
    ).init(params)


@pytest.mark.usefixtures("standard_promotion")
def test_8_bits_are_refused_where_the_check_cannot_run():
    inner = optax.chain(optax.scale_by_polyak(), optax.scale_by_adam())
    quantize = functools.partial(padam_optax.experimental.quantize_state, min_size=0)
    with pytest.raises(ValueError, match="'8-bit'.*check_momentum=False"):
        quantize(inner).init(jnp.ones(3))
    quantize(inner, check_momentum=False).init(jnp.ones(3))


@every_format
@pytest.mark.parametrize("bias_correction", [True, False])
def test_a_variance_as_a_difference_is_refused(format, bias_correction):
    inner = optax.scale_by_stddev(bias_correction=bias_correction)
    opt = padam_optax.experimental.quantize_state(inner, format, min_size=0)
    with pytest.raises(ValueError, match="format must not be .*centered"):
        opt.init(jnp.ones(3))


@pytest.mark.slow
def test_debiased_maximum_needs_its_rate_in_8_bits():
    params = {"w": jnp.ones(1000)}
    inner = padam_optax.padam(0.0, bias_correction="before_max")

    def overshoot(**settings):
        opt = padam_optax.experimental.quantize_state(
            inner, min_size=0, check_momentum=False, **settings
        )

        def step(states, key):
            g, (s, exact) = {"w": jax.random.normal(key, 1000)}, states
            return [opt.update(g, s)[1], inner.update(g, exact)[1]], None

        keys = jax.random.split(jax.random.key(0), 50)
        states = [opt.init(params), inner.init(params)]
        states = jax.jit(lambda: jax.lax.scan(step, states, keys)[0])()
        ratio = np.divide(*(v_hat(state)["w"] for state in states))
        return ratio.mean(), ratio.max()

    mean, largest = overshoot(debias_b2=0.999)
    assert 1 < mean < 1.1
    assert largest < 1.6
    assert overshoot()[0] > 3
    assert overshoot(format="16-bit")[1] < 1.05


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("format", fast(FORMATS, "8-bit"))
@pytest.mark.parametrize(
    "inner",
    [pytest.param(padam_optax.padam(0.1), marks=pytest.mark.slow), optax.adam(0.1)],
)
def test_bfloat16_parameters_are_compressed_and_keep_their_dtype(format, inner):
    params = optax.tree.cast(make_params(), jnp.bfloat16)
    opt = padam_optax.experimental.quantize_state(
        inner, format, min_size=6, check_momentum=False
    )
    after, state = take_steps(opt, params, 3)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, params)
    assert types(state) == types(jitted(opt)[0](params))
    codes = jax.tree.leaves(optax.tree.map_params(opt, lambda x: x, state))
    assert all(x.dtype.itemsize <= 2 for x in codes if x.shape == (16, 24))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("dtype", [jnp.complex64, jnp.float64])
def test_complex_and_64_bit_arrays_stay_as_they_are(dtype):
    params = {"w": jnp.linspace(0.1, 1, 8).astype(dtype)}
    actual = take_steps(compressed(), params, 3)
    expected = take_steps(padam_optax.padam(0.1), params, 3)
    close(actual[0], expected[0])
    close(actual[1].inner_state, expected[1])


@pytest.mark.parametrize("format", fast(FORMATS, "8-bit"))
def test_nan_stays_in_its_element_for_good(format):
    opt = compressed(format=format)
    state = jitted(opt)[0](jnp.zeros(3))
    for g in ([1.0, np.nan, 1.0], [1.0, 1.0, 1.0]):
        u, state = jax.jit(opt.update)(jnp.asarray(g), state)
    np.testing.assert_array_equal(np.isnan(u), [False, True, False])
    inside = padam_optax.experimental.dequantize_state(state)
    for name in ("mu", "nu", "nu_max"):
        values = np.isnan(optax.tree.get(inside, name))
        np.testing.assert_array_equal(values, [False, True, False])


@pytest.mark.parametrize("format", fast(FORMATS, "8-bit"))
def test_huge_gradients_leave_finite_moments(format):
    opt = compressed(format=format)
    g = jnp.asarray([1e30, 1e-30, np.inf])
    _, state = jax.jit(opt.update)(g, jitted(opt)[0](jnp.zeros(3)))
    inside = padam_optax.experimental.dequantize_state(state)
    assert np.isfinite(v_hat(state)).all()
    assert np.isfinite(optax.tree.get(inside, "nu")).all()


def test_missing_gradients_leave_the_codes():
    opt, params = compressed(), {"a": jnp.ones(9), "b": jnp.ones(9)}
    init, update = jitted(opt)
    _, state = update(params, init(params))
    u, after = jax.jit(opt.update)({"a": None, "b": params["b"]}, state)
    assert u["a"] is None
    old, new = (padam_optax.experimental.dequantize_state(s)[1] for s in (state, after))
    for name in ("mu", "nu_max"):
        np.testing.assert_array_equal(
            optax.tree.get(old, name)["a"], optax.tree.get(new, name)["a"]
        )


def test_decompressing_finds_states_anywhere_and_leaves_others_alone():
    params = make_params()
    opt = optax.chain(optax.clip(1.0), compressed(format="16-bit"), optax.scale(1.0))
    state = jax.jit(opt.init)(params)
    inside = padam_optax.experimental.dequantize_state(state)
    plain = optax.chain(optax.clip(1.0), padam_optax.padam(0.1), optax.scale(1.0))
    chex.assert_trees_all_equal_shapes_and_dtypes(inside, plain.init(params))
    chex.assert_trees_all_equal(
        padam_optax.experimental.dequantize_state(inside), inside
    )


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"format": "4-bit"}, ValueError, "format must be .* got '4-bit'"),
        (
            {"min_size": -1},
            ValueError,
            r"min_size must be a whole number in \[0, .*, got -1",
        ),
        ({"min_size": 2.5}, ValueError, "min_size must be a whole number"),
        ({"min_size": None}, TypeError, "min_size must be a whole number"),
        ({"seed": "a"}, TypeError, "seed must be a whole number"),
        ({"debias_b2": 1.0}, ValueError, "debias_b2 must be in"),
    ],
)
def test_bad_arguments_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        padam_optax.experimental.quantize_state(padam_optax.padam(0.1), **settings)


def test_states_without_moments_are_refused():
    for inner in (optax.sgd(0.1, momentum=0.9), optax.lion(0.1), optax.rmsprop(0.1)):
        with pytest.raises(ValueError, match="must hold mu and nu"):
            padam_optax.experimental.quantize_state(inner).init(make_params())


def test_amsgrad_asks_for_its_rate():
    amsgrad = optax.amsgrad(0.1)
    for inner in (
        amsgrad,
        optax.chain(optax.clip(1.0), amsgrad),
        optax.MultiSteps(amsgrad, 8),
    ):
        for check_momentum in (True, False):
            opt = padam_optax.experimental.quantize_state(
                inner, check_momentum=check_momentum
            )
            with pytest.raises(ValueError, match="debias_b2 must be the b2"):
                opt.init(make_params())


def test_a_maximum_of_debiased_values_asks_for_their_rate():
    quantize = padam_optax.experimental.quantize_state
    params = {"w": jnp.ones((64, 64)), "b": jnp.ones(64)}
    before_max = padam_optax.padam(0.1, bias_correction="before_max")
    with pytest.raises(ValueError, match="debias_b2 must be the b2"):
        quantize(before_max).init(params)
    quantize(before_max, debias_b2=0.999).init(params)
    quantize(before_max, "16-bit").init(params)
    for convention in ("none", "official", "consistent"):
        quantize(padam_optax.padam(0.1, bias_correction=convention)).init(params)


def test_a_rate_for_a_maximum_that_is_not_debiased_is_refused():
    quantize = functools.partial(
        padam_optax.experimental.quantize_state, min_size=1, debias_b2=0.999
    )
    params = jnp.ones(3)
    consistent = padam_optax.padam(0.1, bias_correction="consistent")
    with pytest.raises(ValueError, match="debias_b2 must be .* does not, got 0.999"):
        quantize(consistent).init(params)
    quantize(optax.adam(0.1)).init(params)  # without a maximum it has no effect
    # In the steps of the check the moments are still 0: nothing is known.
    quantize(optax.MultiSteps(optax.amsgrad(0.1), 8)).init(params)


@pytest.mark.parametrize(
    "read",
    [
        padam_optax.state.second_moment,
        padam_optax.state.reset_max,
        padam_optax.diagnostics.fraction_where_max_active,
    ],
)
def test_codes_are_not_taken_for_numbers(read):
    params = {"w": jnp.ones((64, 64))}
    state = jitted(compressed())[0](params)
    with pytest.raises(ValueError, match=r"Pass dequantize_state\(state\)"):
        read(state)
    jax.jit(lambda x: read(padam_optax.experimental.dequantize_state(x)))(state)
