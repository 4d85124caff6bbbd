"""Kernels: they compute what XLA does, lower for GPUs, and are nowhere in the way."""

import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend import core
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh
from jax.sharding import PartitionSpec as P

import padam_optax
from padam_optax import _codes, _kernels
from tests import test_invariants

SCHEDULE = optax.linear_schedule(0.1, 0.01, 5)
OPTIMIZERS = {
    # name: (inner optimizer, settings of compress_state)
    "padam": (padam_optax.padam(0.1), {}),
    "padam, any p, 16 bits": (
        padam_optax.padam(SCHEDULE, p=0.3),
        {"format": "16-bit", "seed": 7},
    ),
    "padamw, scheduled": (
        padam_optax.padamw(
            SCHEDULE,
            p=SCHEDULE,
            weight_decay=SCHEDULE,
            # Of all dimensions, blocks have one.
            mask=lambda params: jax.tree.map(lambda x: x.ndim > 1, params),
        ),
        {},
    ),
    "padam, injected": (optax.inject_hyperparams(padam_optax.padam)(0.1), {}),
    "adam": (optax.adam(0.01), {}),
    "amsgrad": (optax.amsgrad(0.01), {"debias_b2": 0.999}),
    "adamw, 16 bits": (optax.adamw(0.01), {"format": "16-bit"}),
    "global norm inside": (
        optax.chain(optax.clip_by_global_norm(1.0), padam_optax.padam(0.1)),
        {},
    ),
    "trust ratios": (optax.lamb(0.01), {}),
}
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
# Of two blocks and a part, and of two whole ones.
SHAPES = {"matrix": (40, 60), "kernel": (2, 2, 16, 32)}


@pytest.fixture
def interpreted(monkeypatch):
    monkeypatch.setattr(_kernels, "_interpreted", True)


def build(name, implementation="pallas"):
    inner, settings = OPTIMIZERS[name]
    return padam_optax.compress_state(
        inner, min_size=6, implementation=implementation, **settings
    )


def compressed(rate=0.1, **settings):
    inner = padam_optax.padam(rate)
    return padam_optax.compress_state(
        inner, min_size=0, implementation="pallas", **settings
    )


def make_params(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    shapes = {**SHAPES, "small": (5,)}
    return {k: jnp.asarray(rng.normal(size=s), dtype) for k, s in shapes.items()}


def take_steps(opt, params, steps=3, **jit_options):
    update = jax.jit(opt.update, **jit_options)
    state, seen = jax.jit(opt.init)(params), []
    for t in range(steps):
        g = jax.tree.map(lambda x, t=t: jnp.sin(x * (t + 1)), params)
        updates, state = update(g, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(updates)
    return seen, state


def find_kernels(jaxpr):
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "pallas_call":
            yield eqn.params["jaxpr"]
        else:
            for inner in core.jaxprs_in_params(eqn.params):
                yield from find_kernels(inner)


def trace_kernels(opt, params):
    args = params, jax.eval_shape(opt.init, params), params
    return list(find_kernels(jax.make_jaxpr(opt.update)(*args).jaxpr))


def lower(opt, params, platform="cuda"):
    # What newer versions of JAX want to know of the device, there being none.
    device = AbstractDevice("NVIDIA H200", 132, "gpu")
    state = jax.eval_shape(opt.init, params)
    with use_abstract_mesh(AbstractMesh((), (), abstract_device=device)):
        traced = jax.jit(opt.update).trace(params, state, params)
        return traced.lower(lowering_platforms=(platform,)).as_text()


# --- The same numbers ----------------------------------------------------------------


def assert_same(actual, expected):
    """Check that nearly all elements are equal but for rounding.

    Kernels and XLA do the same operations in the same order, but the compiler fuses
    other pairs of them to multiply-adds, and a number next to a threshold is then
    rounded to another code.
    """
    chex.assert_trees_all_equal_shapes_and_dtypes(actual, expected)
    for x, y in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        x, y = np.float64(x), np.float64(y)
        np.testing.assert_array_less(0.997, np.isclose(x, y, rtol=1e-6, atol=0).mean())


@every_optimizer
@pytest.mark.usefixtures("interpreted", "quick_compilation", "standard_promotion")
def test_kernels_compute_what_xla_does(name):
    params = make_params()
    assert len(trace_kernels(build(name), params)) == len(SHAPES)
    actual = take_steps(build(name), params)
    assert_same(actual, take_steps(build(name, "xla"), params))


@pytest.mark.usefixtures("interpreted", "quick_compilation", "standard_promotion")
def test_bfloat16_parameters_move_as_they_do_by_xla():
    name = "padamw, scheduled"
    params = make_params(jnp.bfloat16)
    assert len(trace_kernels(build(name), params)) == len(SHAPES)
    actual = take_steps(build(name), params)
    assert_same(actual, take_steps(build(name, "xla"), params))


@pytest.mark.usefixtures("interpreted", "quick_compilation")
@pytest.mark.parametrize("size", [1, _kernels.BLOCK + 100])
def test_last_block_may_be_any_part_of_one(size):
    params = {"w": jnp.linspace(-1, 1, size)}
    settings = {"min_size": 0, "implementation": "xla"}
    by_xla = padam_optax.compress_state(padam_optax.padam(0.1), **settings)
    actual = take_steps(compressed(), params, 2)
    assert_same(actual, take_steps(by_xla, params, 2))


def test_nothing_is_read_or_written_beyond_an_array():
    # The interpreter would not notice, as it pads arrays to whole blocks.
    (kernel,) = trace_kernels(compressed(), {"w": jnp.ones(_kernels.BLOCK + 1)})
    accesses = [
        eqn
        for eqn in kernel.eqns
        if eqn.primitive.name in ("get", "swap", "masked_load", "masked_swap")
        and eqn.invars[0].aval.shape == (_kernels.BLOCK,)
    ]
    assert len(accesses) == 8  # the gradient and three codes; the update and these
    for eqn in accesses:
        assert any(v.aval.dtype == bool for v in eqn.invars)


@pytest.mark.usefixtures("interpreted", "quick_compilation")
def test_missing_gradients_leave_the_maximum():
    params = {"a": jnp.ones(9), "b": jnp.ones(9)}
    opt = compressed()
    update = jax.jit(opt.update)
    _, state = update(params, jax.jit(opt.init)(params))
    updates, after = update({"a": None, "b": params["b"]}, state)
    assert updates["a"] is None
    v, w = (
        padam_optax.second_moment(padam_optax.decompress_state(s))
        for s in (state, after)
    )
    np.testing.assert_array_equal(v["a"], w["a"])


def test_places_number_the_elements_row_by_row():
    expected = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    np.testing.assert_array_equal(_codes.element_places((3, 4, 5)), expected)


@pytest.mark.parametrize("op", [jnp.maximum, jnp.minimum])
def test_nan_is_kept_where_a_gpu_would_drop_it(op):
    nan, x, y = jnp.nan, jnp.array([1.0, 2.0, jnp.nan]), jnp.array([2.0, jnp.nan, 1.0])
    (eqn,) = jax.make_jaxpr(op)(x, y).eqns
    of_gpu = {"max": jnp.fmax, "min": jnp.fmin}[eqn.primitive.name]
    np.testing.assert_array_equal(np.isnan(of_gpu(x, y)), False)
    like_gpu = types.SimpleNamespace(name=eqn.primitive.name, bind=of_gpu)
    blocks = dict(zip(eqn.invars, (x, y), strict=True))
    eqn = eqn.replace(primitive=like_gpu)
    actual = _kernels._evaluate(eqn, blocks, jnp.arange(3))
    np.testing.assert_array_equal(actual, [float(op(1, 2)), nan, nan])


# --- On GPUs -------------------------------------------------------------------------


@every_optimizer
@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_kernels_lower_for_gpus_and_write_codes_in_place(name, dtype):
    if name == "padam, injected" and dtype == jnp.bfloat16:
        pytest.skip("0.999 is 1 in bfloat16, and padam says so")
    opt, params = build(name), make_params(dtype)
    text = lower(opt, params)
    calls = [line for line in text.splitlines() if "@__gpu$xla.gpu.triton" in line]
    assert len(calls) == len(SHAPES)
    state = jax.tree.leaves(jax.eval_shape(opt.init, params))
    codes = sum(x.shape == SHAPES["matrix"] for x in state)
    assert codes in (2, 3)
    for call in calls:
        assert call.count("output_operand_alias<") == codes


@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize(
    "inner",
    [
        optax.chain(optax.centralize(), padam_optax.padam(0.1)),
        optax.chain(
            optax.stateless(lambda g, params: jax.tree.map(jnp.flip, g)),
            padam_optax.padam(0.1),
        ),
        optax.MultiSteps(padam_optax.padam(0.1), 2).gradient_transformation(),
    ],
)
def test_what_is_not_element_wise_is_left_to_xla(inner):
    opt = padam_optax.compress_state(inner, min_size=6, implementation="pallas")
    params = {"w": jnp.ones((40, 60))}
    assert not trace_kernels(opt, params)
    chex.assert_tree_all_finite(take_steps(opt, params, 1))


# --- Elsewhere -----------------------------------------------------------------------


@pytest.mark.usefixtures("quick_compilation")
def test_without_a_gpu_it_is_the_xla_path():
    params = make_params()
    opt = build("padam")
    assert "triton" not in lower(opt, params, platform="cpu")
    actual = take_steps(opt, params, donate_argnums=1)
    chex.assert_trees_all_equal(actual, take_steps(build("padam", "xla"), params))


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("is_interpreted", [True, False])
def test_derivatives_are_those_of_xla(is_interpreted, monkeypatch):
    monkeypatch.setattr(_kernels, "_interpreted", is_interpreted)
    x = jnp.linspace(0.1, 1, 8)

    def slope(opt):
        state = opt.init(x)
        return jax.jit(jax.grad(lambda g: jnp.sum(opt.update(g, state, g**2)[0])))(x)

    inner = padam_optax.padamw(0.1, p=0.3)
    actual, expected = (
        slope(padam_optax.compress_state(inner, min_size=0, implementation=i))
        for i in ("pallas", "xla")
    )
    assert (actual != 0).all()
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.usefixtures("quick_compilation")
def test_types_are_those_of_xla_on_an_explicit_mesh():
    mesh = test_invariants.make_mesh(jax.sharding.AxisType.Explicit)
    with jax.set_mesh(mesh):
        sharded = jnp.zeros((8, 4), out_sharding=P("x", None))
        params = {"sharded": sharded, "whole": jnp.zeros(9)}
        opt = compressed()
        state = jax.jit(opt.init)(params)
        _, after = opt.update(params, state)  # not jitted: constants are another matter
        assert test_invariants.types(after) == test_invariants.types(state)
        assert len(trace_kernels(opt, params)) == 1


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("is_interpreted", [True, False])
def test_each_shard_has_a_kernel_within_shard_map(is_interpreted, monkeypatch):
    monkeypatch.setattr(_kernels, "_interpreted", is_interpreted)
    mesh = test_invariants.make_mesh()
    params = {"w": jnp.sin(jnp.arange(64.0)).reshape(8, 8)}

    def step(opt):
        state = jax.jit(opt.init)(params)
        specs = jax.tree.map(lambda x: P("x") if x.ndim else P(), state)
        update = jax.shard_map(
            opt.update,
            mesh=mesh,
            in_specs=(P("x"), specs, P("x")),
            out_specs=(P("x"), specs),
            check_vma=not is_interpreted,  # the interpreter does not know of it
        )
        return update, (params, state, params)

    update, args = step(compressed())
    assert len(list(find_kernels(jax.make_jaxpr(update)(*args).jaxpr))) == 1
    by_xla = padam_optax.compress_state(padam_optax.padam(0.1), min_size=0)
    expected_update, _ = step(by_xla)
    assert_same(jax.jit(update)(*args), jax.jit(expected_update)(*args))


def test_implementation_is_named_if_unknown():
    with pytest.raises(ValueError, match="implementation must be .* got 'triton'"):
        padam_optax.compress_state(padam_optax.padam(0.1), implementation="triton")
