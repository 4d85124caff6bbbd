"""States moved between optimizers: the next steps are those of the other."""

import functools
import itertools
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import padam_optax
from tests.marks import fast
from tests.optimizers import jitted

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "padam_official.npz")


def make_params(dtype=jnp.float32):
    return {
        "Dense_0": {"kernel": jnp.ones((3, 4), dtype), "bias": jnp.ones(4, dtype)},
        "scale": jnp.ones((), dtype),
        "none": None,
    }


def make_gradients(steps, seed=0):
    """A spike, then calm, so that the maximum binds."""
    rng = np.random.default_rng(seed)
    for size in [1, 100] + [1] * (steps - 2):
        yield jax.tree.map(
            lambda x, size=size: jnp.asarray(size * rng.normal(size=x.shape), x.dtype),
            make_params(),
        )


def follow(opt, state, gradients):
    """Return the updates of each step and the last state."""
    updates, params, update = [], make_params(), jax.jit(opt.update)
    for g in gradients:
        u, state = update(g, state, params)
        updates.append(u)
    return updates, state


# --- From and to Optax -------------------------------------------------------------

OURS = functools.partial(padam_optax.padam, p=0.5)
PAIRS = {
    "corrected": (optax.amsgrad, functools.partial(OURS, bias_correction="before_max")),
    "uncorrected": (
        functools.partial(
            optax.amsgrad, bias_correction_mu=False, bias_correction_nu=False
        ),
        OURS,
    ),
}


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("to_optax", [False, True])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_run_goes_on_under_the_other_optimizer(pair, to_optax):
    rate = optax.linear_schedule(0.1, 0.01, 20)
    first, second = (make(rate) for make in PAIRS[pair])
    if to_optax:
        first, second = second, first
    gradients = list(make_gradients(20))
    _, state = follow(first, first.init(make_params()), gradients[:10])
    expected, last = follow(first, state, gradients[10:])
    converted = padam_optax.state.convert_state(state, second.init(make_params()))
    actual, _ = follow(second, converted, gradients[10:])
    chex.assert_trees_all_close(actual, expected, rtol=1e-5, atol=1e-7)
    # The spike still counts: a fresh state would step otherwise.
    fresh, _ = follow(second, second.init(make_params()), gradients[10:])
    kernels = fresh[-1]["Dense_0"]["kernel"] / expected[-1]["Dense_0"]["kernel"]
    assert np.abs(kernels - 1).max() > 0.5

    there = padam_optax.state.convert_state(last, second.init(make_params()))
    back = padam_optax.state.convert_state(there, first.init(make_params()))
    chex.assert_trees_all_equal(back, last)


@pytest.mark.usefixtures("standard_promotion")  # Optax needs it
def test_counts_of_schedules_go_on_and_the_rest_of_the_chain_stays():
    clip = optax.chain(optax.clip(1.0), optax.trace(0.5))
    make = optax.inject_hyperparams(padam_optax.padam)
    opt = jitted(optax.chain(clip, make(learning_rate=lambda t: 0.1 / (1 + t), p=0.3)))
    template = opt.init(make_params())
    _, state = follow(
        padam_optax.padam(0.1),
        padam_optax.padam(0.1).init(make_params()),
        make_gradients(3),
    )
    converted = padam_optax.state.convert_state(state, template)
    chex.assert_trees_all_equal_structs(converted, template)
    assert jax.tree.map(jax.typeof, converted) == jax.tree.map(jax.typeof, template)
    counts = optax.tree.get_all_with_path(
        converted, "count", lambda _, x: isinstance(x, jax.Array)
    )
    assert len(counts) == 3  # of padam, of inject_hyperparams, of its schedule
    assert all(count == 3 for _, count in counts)
    chex.assert_trees_all_equal(converted[0], template[0])
    _, after = opt.update(make_params(), converted, make_params())
    np.testing.assert_allclose(after[1].hyperparams["learning_rate"], 0.1 / (1 + 3))


def test_groups_are_split_and_joined():
    labels = {"Dense_0": {"kernel": "a", "bias": "b"}, "scale": "a", "none": "b"}
    grouped = optax.multi_transform(
        {"a": padam_optax.padam(0.1), "b": padam_optax.padam(0.1)}, labels
    )
    whole = padam_optax.padam(0.1)
    gradients = list(make_gradients(6))
    for first, second in itertools.permutations([grouped, whole]):
        _, state = follow(first, first.init(make_params()), gradients[:3])
        converted = padam_optax.state.convert_state(state, second.init(make_params()))
        expected, _ = follow(first, state, gradients[3:])
        actual, _ = follow(second, converted, gradients[3:])
        chex.assert_trees_all_close(actual, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.usefixtures("standard_promotion")  # Optax needs it
def test_moments_take_the_dtype_and_place_of_the_template():
    mesh = jax.make_mesh((8,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    params = {"w": jnp.arange(8.0)}
    theirs = optax.amsgrad(0.1)
    _, state = theirs.update(params, theirs.init(params))
    ours = padam_optax.padam(0.1, mu_dtype=jnp.bfloat16)
    template = ours.init(jax.device_put(params, spec))
    converted = padam_optax.state.convert_state(state, template)
    assert optax.tree.get(converted, "mu")["w"].dtype == jnp.bfloat16
    for name in ("mu", "nu", "nu_max"):
        leaf = optax.tree.get(converted, name)["w"]
        assert leaf.sharding == spec
        np.testing.assert_allclose(
            np.float32(leaf), optax.tree.get(state, name)["w"], rtol=1e-2
        )


def test_the_converted_state_has_buffers_of_its_own():
    opt, params = padam_optax.padam(0.1), make_params()
    state = opt.init(params)
    converted = padam_optax.state.convert_state(state, state)

    @functools.partial(jax.jit, donate_argnums=(0,))
    def step(state):
        return opt.update(make_params(), state, make_params())[1]

    step(converted)
    chex.assert_trees_all_equal(opt.init(params), state)  # not deleted


def test_what_does_not_fit_is_named():
    opt = padam_optax.padam(0.1)
    state = opt.init({"a": {"w": jnp.ones(2)}})
    with pytest.raises(ValueError, match=r"must hold count, mu, .*optax\.adam"):
        padam_optax.state.convert_state(optax.adam(0.1).init(jnp.ones(2)), state)
    with pytest.raises(ValueError, match=r"must hold count, mu, nu and nu_max"):
        padam_optax.state.convert_state(state, optax.adam(0.1).init(jnp.ones(2)))
    with pytest.raises(ValueError, match=r"must hold mu of parameter \['a'\]\['b'\]"):
        padam_optax.state.convert_state(state, opt.init({"a": {"b": jnp.ones(2)}}))
    with pytest.raises(
        ValueError,
        match=r"mu of parameter \['a'\]\['w'\] must have .* \(3,\), got \(2,",
    ):
        padam_optax.state.convert_state(state, opt.init({"a": {"w": jnp.ones(3)}}))
    of_complex = opt.init({"a": {"w": jnp.ones(2, complex)}})
    with pytest.raises(ValueError, match=r"mu of .* must be real.* got complex64"):
        padam_optax.state.convert_state(of_complex, state)


# --- From PyTorch ------------------------------------------------------------------


def case_a(x, t):
    """Return the gradient of golden case a, from its description."""
    a = {name: GOLDEN[f"a/in/{name}"] for name in ("A", "b", "c", "w", "noise")}
    x = np.asarray(x["x"])
    wave = a["c"] * a["w"] * np.cos(a["w"] * x)
    return {"x": a["A"] @ (x - a["b"]) + wave + a["noise"][t]}


def case_d(x, t):
    del x
    return {"W": GOLDEN["d/in/gW"][t], "B": GOLDEN["d/in/gB"][t]}


CASES = {"a": (("x",), case_a, 0.999), "d": (("W", "B"), case_d, 0.9)}


def golden_moments(key, case, decay, steps):
    """Return m, v and the maximum of v after so many golden steps, in NumPy.

    The gradients are those at the golden parameters, L2 decay included.
    """
    names, gradient, b2 = CASES[case]
    rows = {name: GOLDEN[f"{key}/{name}"] for name in names}
    moments = {name: [np.zeros_like(rows[name][0])] * 3 for name in names}
    for t in range(steps):
        x = {name: rows[name][t] for name in names}
        for name, g in gradient(x, t).items():
            m, v, v_max = moments[name]
            g = g + decay * x[name]
            m = 0.9 * m + (1 - 0.9) * g
            v = b2 * v + (1 - b2) * g**2
            moments[name] = [m, v, np.maximum(v_max, v)]
    return moments


TORCH_NAMES = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("p", fast([0.5, 0.125, 0.3], 0.5, 0.125))
@pytest.mark.parametrize("decay", fast(["0", "0.0005"], "0.0005"))
@pytest.mark.parametrize("case", CASES)
def test_ten_steps_from_a_state_dict_are_the_golden_ones(case, decay, p):
    key = f"{case}/official/p{p}/wd{decay}"
    names, gradient, b2 = CASES[case]
    finals = golden_moments(key, case, float(decay), 50)
    for name in names:  # the reconstruction is sound
        for torch_name, value in zip(TORCH_NAMES, finals[name], strict=True):
            np.testing.assert_allclose(
                value, GOLDEN[f"{key}/final_{torch_name}_{name}"], rtol=1e-11
            )

    # As PyTorch has it: another order, a matrix transposed, steps as 0-d arrays.
    at_40 = golden_moments(key, case, float(decay), 40)
    index = {name: i for i, name in enumerate(reversed(names))}
    state_dict = {
        "state": {
            index[name]: {
                "step": np.array(40.0, np.float32),
                **{
                    torch_name: value.T
                    for torch_name, value in zip(TORCH_NAMES, at_40[name], strict=True)
                },
            }
            for name in names
        },
        "param_groups": [{"lr": 0.1, "partial": p, "params": list(index.values())}],
    }
    opt = optax.chain(
        optax.clip(1e9),
        padam_optax.padam(
            optax.constant_schedule(0.1),
            0.9,
            b2,
            p=p,
            weight_decay=float(decay),
            bias_correction="official",
        ),
    )
    x = {name: jnp.asarray(GOLDEN[f"{key}/{name}"][40]) for name in names}
    state = padam_optax.state.convert_torch_state(
        state_dict,
        opt.init(x),
        index,
        lambda path, array: array.T if path == "W" else array,
    )
    update = jax.jit(opt.update)
    for t in range(40, 50):
        u, state = update(jax.tree.map(jnp.asarray, gradient(x, t)), state, x)
        x = optax.apply_updates(x, u)
        for name in names:
            np.testing.assert_allclose(
                x[name], GOLDEN[f"{key}/{name}"][t + 1], rtol=0, atol=1e-12
            )


@pytest.mark.usefixtures("x64")
def test_ten_steps_of_pytorchs_amsgrad_are_its_formula():
    gs = np.random.default_rng(0).normal(size=(50, 6)) * 10.0 ** np.arange(-4, 2)
    gs[3] *= 100
    m = v = v_max = np.zeros(6)
    steps, entry = [], {}
    for t, g in enumerate(gs, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        v_max = np.maximum(v_max, v)
        denominator = np.sqrt(v_max) / np.sqrt(1 - 0.999**t) + 1e-8
        steps.append(-0.01 / (1 - 0.9**t) * m / denominator)
        if t == 40:
            entry = dict(zip(TORCH_NAMES, (m, v, v_max), strict=True)) | {"step": 40}
    opt = padam_optax.padam(0.01, p=0.5, bias_correction="consistent")
    state = padam_optax.state.convert_torch_state(
        {"state": {7: entry}}, opt.init(jnp.zeros(6)), 7
    )
    update = jax.jit(opt.update)
    for g, expected in zip(gs[40:], steps[40:], strict=True):
        u, state = update(jnp.asarray(g), state)
        np.testing.assert_allclose(u, expected, rtol=1e-11)


def test_layout_is_told_the_path_of_each_leaf():
    params = {
        "Conv_0": {"kernel": jnp.zeros((3, 2, 4, 5))},
        "Embed_0": jnp.zeros((2, 3)),
    }
    kernel = np.arange(120.0).reshape(5, 4, 3, 2)  # (out, in, height, width)
    table = np.arange(6.0).reshape(2, 3)
    state_dict = {
        "state": {
            i: {"step": 1} | dict.fromkeys(TORCH_NAMES, array)
            for i, array in enumerate([kernel, table])
        }
    }
    paths = set()

    def layout(path, array):
        paths.add(path)
        return array.transpose(2, 3, 1, 0) if path.startswith("Conv") else array

    state = padam_optax.state.convert_torch_state(
        state_dict,
        padam_optax.padam(0.1).init(params),
        {"Conv_0": {"kernel": 0}, "Embed_0": 1},
        layout,
    )
    assert paths == {"Conv_0/kernel", "Embed_0"}
    for name in ("mu", "nu", "nu_max"):
        tree = optax.tree.get(state, name)
        assert tree["Conv_0"]["kernel"][2, 1, 3, 4] == kernel[4, 3, 2, 1]
        np.testing.assert_array_equal(tree["Embed_0"], table)


def test_what_a_state_dict_lacks_is_named():
    opt, params = (
        padam_optax.padam(0.1),
        {"a": {"w": jnp.ones((2, 3))}, "b": jnp.ones(1)},
    )
    template = opt.init(params)

    def entry(shape, step=1, names=TORCH_NAMES):
        return {"step": step} | {name: np.zeros(shape) for name in names}

    keys = {"a": {"w": 0}, "b": 1}

    def convert(entries, keys=keys):
        return padam_optax.state.convert_torch_state({"state": entries}, template, keys)

    good = {0: entry((2, 3)), 1: entry(1)}
    chex.assert_trees_all_equal_shapes_and_dtypes(convert(good), template)
    with pytest.raises(ValueError, match=r"keys must name a key for parameter \['b'\]"):
        convert(good, {"a": {"w": 0}})
    with pytest.raises(ValueError, match=r'\["state"\]\[1\], .* \[\'b\'\], must hold'):
        convert({0: entry((2, 3))})
    with pytest.raises(ValueError, match=r"must hold .*max_exp_avg_sq; .*amsgrad=True"):
        convert({**good, 0: entry((2, 3), names=TORCH_NAMES[:2])})
    with pytest.raises(ValueError, match=r"\(2, 3\), got \(3, 2\)\. .* pass layout"):
        convert({**good, 0: entry((3, 2))})
    with pytest.raises(ValueError, match=r"same number of updates, got \[1, 2\]"):
        convert({**good, 1: entry(1, step=2)})
    without = {name: x for name, x in entry(1).items() if name != "step"}
    with pytest.raises(ValueError, match=r"\[1\], .* must hold step"):
        convert({**good, 1: without})
    with pytest.raises(ValueError, match=r'must have "state" .* got \[0, 1\]'):
        padam_optax.state.convert_torch_state(good, template, keys)


def test_a_step_may_be_an_array_of_size_one():
    opt, entry = padam_optax.padam(0.1), {name: np.ones(2) for name in TORCH_NAMES}
    state = padam_optax.state.convert_torch_state(
        {"state": {0: {"step": np.array([7.0]), **entry}}}, opt.init(jnp.ones(2)), 0
    )
    assert optax.tree.get(state, "count") == 7
