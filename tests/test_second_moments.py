"""Each statistic alone: values, dtypes, saturation, absent gradients."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import padam_optax


def run(statistic, gradients, **extra):
    statistic = optax.with_extra_args_support(statistic)
    state = statistic.init(jax.tree.map(jnp.zeros_like, gradients[0]))
    outputs = []
    for t, g in enumerate(gradients, start=1):
        output, state = statistic.update(g, state, count=t, **extra)
        outputs.append(output)
    return outputs, state


def test_square_is_the_squared_absolute_value():
    g = {"real": jnp.float32([-3, 0, 2]), "complex": jnp.complex64([3 + 4j, -2j])}
    (output,), _ = run(padam_optax.square(), [g])
    np.testing.assert_array_equal(output["real"], [9, 0, 4])
    np.testing.assert_array_equal(output["complex"], [25, 4])
    assert output["complex"].dtype == jnp.float32


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_statistics_are_float32_for_smaller_gradients(dtype):
    # 300² overflows float16 and 1e-4² underflows it.
    g = jnp.asarray([300.0, 1e-4], dtype)
    chain = optax.chain(
        padam_optax.square(),
        padam_optax.moving_average(0.0),
        padam_optax.running_max(),
    )
    (output,), state = run(chain, [g])
    chex.assert_type(jax.tree.leaves((output, state[1].nu, state[2])), jnp.float32)
    np.testing.assert_allclose(output, np.asarray(g, np.float64) ** 2, rtol=1e-6)


def test_square_saturates_and_keeps_nan():
    largest = np.finfo(np.float32).max
    (output,), _ = run(
        padam_optax.square(), [jnp.float32([1e30, -1e30, np.nan, 1e-30])]
    )
    np.testing.assert_array_equal(output, np.float32([largest, largest, np.nan, 0]))


def test_moving_average_matches_its_sum():
    s = [np.float32([4.0]), np.float32([1.0]), np.float32([2.0])]
    outputs, state = run(padam_optax.moving_average(0.75), s)
    # 0.25 · Σ 0.75^(t-k) s_k, written out.
    expected = 0.25 * np.array([4.0, 0.75 * 4 + 1, 0.75**2 * 4 + 0.75 * 1 + 2])
    np.testing.assert_allclose(np.ravel(outputs), expected, rtol=1e-7)
    assert state._fields == ("nu",)  # and no count


def test_debiased_average_of_a_constant_is_the_constant():
    s = [jnp.float32([5.0, 1e-30])] * 3
    average, debias = padam_optax.moving_average(0.999), padam_optax.debias(0.999)
    outputs, state = run(optax.chain(average, debias), s)
    for output in outputs:
        # 1 - 0.999^t as Optax rounds it is off by 1e-5.
        np.testing.assert_allclose(output, [5.0, 1e-30], rtol=3e-5)
    stored = (1 - 0.999**3) * np.array([5, 1e-30])
    np.testing.assert_allclose(state[0].nu, stored, rtol=1e-6)


@pytest.mark.usefixtures("standard_promotion")  # Optax needs it
def test_debias_rounds_like_optax():
    s = {"a": jnp.float32([1.0, 3.0]), "none": None}
    debias = padam_optax.debias(0.999)

    @jax.jit  # one program: two may compute the power differently
    def both(count):
        actual, _ = debias.update(s, optax.EmptyState(), count=count)
        return actual, optax.tree.bias_correction(s, jnp.float32(0.999), count)

    for t in (1, 2, 3, 1000, 10**6):
        chex.assert_trees_all_equal(*both(jnp.int32(t)))


def test_debias_needs_the_count():
    with pytest.raises(ValueError, match="count must be passed"):
        padam_optax.debias(0.9).update(jnp.ones(2), optax.EmptyState())


def test_moving_average_never_overflows():
    largest = jnp.float32([np.finfo(np.float32).max])
    for b2 in (0.5, 0.7, 0.9, 0.99, 0.999):
        average = padam_optax.moving_average(b2)
        for statistic in (average, optax.chain(average, padam_optax.debias(b2))):
            outputs, _ = run(statistic, [largest] * 50)
            assert np.isfinite(outputs).all()


@pytest.mark.slow
def test_moving_average_does_not_drift_in_30000_steps():
    rng = np.random.default_rng(0)
    s = rng.exponential(size=(30_000, 4)).astype(np.float32)
    statistic = padam_optax.moving_average(0.999)

    def step(state, s):
        output, state = statistic.update(s, state)
        return state, output

    _, outputs = jax.lax.scan(step, statistic.init(jnp.zeros(4)), s)
    exact = np.zeros(4)
    for row in s:
        exact = 0.999 * exact + (1 - 0.999) * row.astype(np.float64)
    np.testing.assert_allclose(outputs[-1], exact, rtol=3e-6)


def test_yogi_average_adds_and_takes_a_share_of_the_new_statistic():
    outputs, _ = run(
        padam_optax.contrib.yogi_average(0.75),
        [np.float32([s]) for s in (4, 0.5, 0.875)],
    )
    # Up by a quarter of 4, down by a quarter of 0.5, and level where s equals ν.
    np.testing.assert_allclose(np.ravel(outputs), [1.0, 0.875, 0.875])


def test_squared_deviation_is_the_distance_from_the_momentum():
    g = jnp.complex64([1 + 2j, 3])
    (output,), _ = run(
        padam_optax.contrib.squared_deviation(),
        [g],
        momentum=jnp.complex64([1 - 1j, 1]),
    )
    np.testing.assert_allclose(output, [9, 4])


def test_squared_deviation_asks_for_the_momentum():
    with pytest.raises(ValueError, match="momentum must be passed"):
        run(padam_optax.contrib.squared_deviation(), [jnp.ones(2)])


def test_running_max_remembers_a_spike():
    outputs, state = run(
        padam_optax.running_max(), [np.float32([s, 1]) for s in (1, 9, 4, 10)]
    )
    np.testing.assert_array_equal(outputs, [[1, 1], [9, 1], [9, 1], [10, 1]])
    np.testing.assert_array_equal(state.nu_max, [10, 1])


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="XLA's kernels for CPUs")
def test_maximum_is_in_place_and_shares_its_kernel():
    """XLA takes twice as long to compile a kernel that is only a maximum."""
    opt, x = padam_optax.padam(0.1), jnp.ones((64, 64))
    step = jax.jit(opt.update, donate_argnums=(0, 1)).lower(x, opt.init(x), x).compile()
    program = step.as_text() or ""
    assert " copy(" not in program
    with_maximum = [text for text in program.split("\n\n") if " maximum(" in text]
    assert with_maximum
    for text in with_maximum:
        assert not text.startswith("ENTRY")  # where it would be alone
        assert text.count(" = ") - text.count(" parameter(") > 1


def test_nan_marks_its_own_element_only():
    outputs, _ = run(
        padam_optax.running_max(), [np.float32(s) for s in ([1, np.nan], [2, 3])]
    )
    np.testing.assert_array_equal(outputs[-1], [2, np.nan])


@pytest.mark.parametrize(
    "statistic",
    [
        padam_optax.moving_average(0.5),
        padam_optax.contrib.yogi_average(0.5),
        padam_optax.running_max(),
    ],
)
def test_no_gradient_leaves_the_statistic_alone(statistic):
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    _, before = statistic.update(params, statistic.init(params))
    output, after = statistic.update({"a": jnp.full(2, 4.0), "b": None}, before)
    assert output["b"] is None
    chex.assert_trees_all_equal_shapes_and_dtypes(before, after)
    old, new = jax.tree.leaves(before)[-2:], jax.tree.leaves(after)[-2:]
    np.testing.assert_array_equal(old[1], new[1])  # of b
    assert (np.asarray(old[0]) != np.asarray(new[0])).all()  # of a


@pytest.mark.parametrize("b2", [1.0, -0.1, np.nan])
def test_decay_rate_outside_its_range_is_refused(b2):
    for factory in (
        padam_optax.moving_average,
        padam_optax.contrib.yogi_average,
        padam_optax.debias,
    ):
        with pytest.raises(ValueError, match=r"b2 must be in \[0, 1\), got"):
            factory(b2)


def test_integer_leaves_are_refused_with_path_and_dtype():
    for statistic in (padam_optax.moving_average(), padam_optax.running_max()):
        with pytest.raises(TypeError, match=r"params\['n'\] has dtype int32"):
            statistic.init({"n": jnp.arange(3)})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (padam_optax.square, 9.0),
        (padam_optax.contrib.squared_deviation, 4.0),
        (lambda: padam_optax.moving_average(0.5), 1.5),
        (lambda: padam_optax.contrib.yogi_average(0.5), 1.5),
        (lambda: padam_optax.debias(0.5), 4.0),  # t = 2: 3/(1 - 1/4)
        (padam_optax.running_max, 3.0),
    ],
)
def test_python_floats_are_leaves(make, expected):
    """As of optax.ema and optax.scale_by_belief."""
    opt = optax.with_extra_args_support(make())
    found, _ = opt.update(3.0, opt.init(1.0), momentum=1.0, count=2)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("wrong", [padam_optax.square, "yogi"])
def test_what_is_no_transformation_is_refused_by_name(wrong):
    with pytest.raises(TypeError, match=r"second_moment must be .*square\(\)"):
        padam_optax.scale_by_partial_adaptive(second_moment=wrong)


def test_an_exponent_is_a_scalar():
    opt = padam_optax.scale_by_partial_adaptive(p=lambda _: jnp.array([0.125]))
    with pytest.raises(ValueError, match=r"p must be a schedule of scalars.*\(1,\)"):
        opt.update(jnp.ones(3), opt.init(jnp.ones(3)))
