"""Schedules of p, and learning rates that fit a p."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import padam_optax
from tests import reference

# --- Schedules of p ----------------------------------------------------------------


def values(schedule, steps=12):
    """Return the first values, called as an optimizer calls it: traced, in int32."""
    return jax.vmap(schedule)(jnp.arange(steps, dtype=jnp.int32))


def test_linear_schedule_is_a_line_between_its_ends():
    actual = values(
        padam_optax.schedules.linear_p_schedule(0.5, 0.1, 4, transition_begin=3)
    )
    expected = np.interp(np.arange(12), [3, 7], [0.5, 0.1])
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize(("first", "last"), [(0.5, 0.125), (0.0, 0.5), (0.3, 0.3)])
def test_cosine_schedule_is_half_a_wave_up_or_down(first, last):
    actual = values(
        padam_optax.schedules.cosine_p_schedule(first, last, 4, transition_begin=3)
    )
    s = np.clip((np.arange(12) - 3) / 4, 0, 1)
    expected = last + (first - last) * (1 + np.cos(np.pi * s)) / 2
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


def test_piecewise_schedule_takes_each_value_from_its_boundary_on():
    schedule = padam_optax.schedules.piecewise_p_schedule([0.5, 0.0, 0.125], [2, 5])
    expected = np.float32([0.5] * 2 + [0.0] * 3 + [0.125] * 7)
    np.testing.assert_array_equal(values(schedule), expected)


def test_one_value_without_boundaries_is_constant():
    schedule = padam_optax.schedules.piecewise_p_schedule([0.3], [])
    assert schedule(jnp.int32(5)) == 0.3


@pytest.mark.parametrize(
    "schedule",
    [
        padam_optax.schedules.linear_p_schedule(0.5, 0.0, 6, 2),
        padam_optax.schedules.cosine_p_schedule(0.5, 0.0, 6, 2),
        padam_optax.schedules.piecewise_p_schedule([0.5, 0.0], [5]),
    ],
)
@pytest.mark.usefixtures("x64")
def test_padam_follows_a_schedule(schedule):
    gradients = np.random.default_rng(0).normal(size=(10, 4))
    opt = padam_optax.padam(0.1, p=schedule)

    def step(state, g):
        u, state = opt.update(g, state)
        return state, u

    _, actual = jax.lax.scan(step, opt.init(jnp.zeros(4)), jnp.asarray(gradients))
    expected = reference.padam(
        gradients, 0.1, p=lambda t: float(schedule(jnp.int32(t)))
    )
    # Optax's schedules are float32.
    np.testing.assert_allclose(actual, np.stack(expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: padam_optax.schedules.linear_p_schedule(0.7, 0.1, 5),
            r"init_value must be in \[0, 1/2\], got 0\.7",
        ),
        (
            lambda: padam_optax.schedules.linear_p_schedule(0.5, -0.1, 5),
            r"end_value must be in \[0, 1/2\], got -0\.1",
        ),
        (
            lambda: padam_optax.schedules.linear_p_schedule(0.5, 0.1, 0),
            r"transition_steps must be a whole number in \[1, .*, got 0\.",
        ),
        (
            lambda: padam_optax.schedules.cosine_p_schedule(0.5, 0.1, 2.5),
            r"transition_steps must be a whole number in \[1, .*, got 2\.5",
        ),
        (
            lambda: padam_optax.schedules.cosine_p_schedule(np.nan, 0.1, 2),
            r"init_value must be in \[0, 1/2\], got nan",
        ),
        (
            lambda: padam_optax.schedules.cosine_p_schedule(0.5, 0.1, 2, -1),
            r"transition_begin must be a whole number in \[0, .*, got -1",
        ),
        (
            lambda: padam_optax.schedules.linear_p_schedule(0.5, 0.1, np.inf),
            r"transition_steps must be a whole number in \[1, .*, got inf",
        ),
        (
            lambda: padam_optax.schedules.piecewise_p_schedule([0.5, 0.6], [3]),
            r"values\[1\] must be in \[0, 1/2\], got 0\.6",
        ),
        (
            lambda: padam_optax.schedules.piecewise_p_schedule([0.5, 0.1], []),
            r"boundaries must increase .*, got 2 values",
        ),
        (
            lambda: padam_optax.schedules.piecewise_p_schedule([0.5, 0.2, 0.1], [3, 3]),
            r"boundaries must increase .* boundaries \[3, 3\]",
        ),
        (
            lambda: padam_optax.diagnostics.learning_rate_for(0.6, 0.5, 0.1, 1.0),
            r"p must be in \[0, 1/2\], got 0\.6",
        ),
        (
            lambda: padam_optax.diagnostics.learning_rate_for(0.1, 0.6, 0.1, 1.0),
            r"p_ref must be in \[0, 1/2\], got 0\.6",
        ),
        (
            lambda: padam_optax.diagnostics.learning_rate_for(0.1, 0.5, -0.1, 1.0),
            r"learning_rate_ref must be a finite number >= 0, got -0\.1",
        ),
        (
            lambda: padam_optax.diagnostics.learning_rate_for(0.1, 0.5, 0.1, 0.0),
            r"median_root_nu must be a finite number > 0, got 0\.0",
        ),
        (
            lambda: padam_optax.diagnostics.learning_rate_for(0.1, 0.5, 0.1, jnp.nan),
            r"median_root_nu must be a finite number > 0, got nan",
        ),
    ],
)
def test_bad_values_are_named_with_range_and_remedy(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("values", "boundaries", "name"),
    [(0.5, [], "values"), ([0.5, 0.1], 3, "boundaries")],
)
def test_a_number_in_place_of_a_list_is_a_type_error(values, boundaries, name):
    with pytest.raises(TypeError, match=f"{name} must be a list, got"):
        padam_optax.schedules.piecewise_p_schedule(values, boundaries)


def test_a_schedule_where_a_number_is_needed_is_a_type_error():
    with pytest.raises(TypeError, match="p_ref must be .* got <function"):
        padam_optax.diagnostics.learning_rate_for(0.1, lambda count: 0.5, 0.1, 1.0)


# --- Learning rates that fit -------------------------------------------------------


def test_learning_rate_keeps_the_rate_of_the_typical_coordinate():
    for p in (0.0, 0.0625, 0.125, 0.3, 0.5):
        rate = padam_optax.diagnostics.learning_rate_for(p, 0.25, 0.02, 0.003)
        assert isinstance(rate, float)
        np.testing.assert_allclose(rate / 0.003 ** (2 * p), 0.02 / 0.003**0.5, 1e-12)


def test_learning_rate_of_schedules_is_the_rule_at_every_step():
    p = padam_optax.schedules.linear_p_schedule(0.5, 0.0, 8)
    learning_rate = optax.exponential_decay(0.01, 4, 0.5)
    actual = values(
        padam_optax.diagnostics.learning_rate_for(p, 0.25, learning_rate, 1e-3)
    )
    t = np.arange(12)
    p_t = 0.5 * np.clip(1 - t / 8, 0, 1)
    np.testing.assert_allclose(
        actual, 0.01 * 0.5 ** (t / 4) * 1e-3 ** (2 * (p_t - 0.25)), rtol=1e-5
    )
    only_p = values(padam_optax.diagnostics.learning_rate_for(p, 0.25, 0.01, 1e-3))
    np.testing.assert_allclose(only_p, 0.01 * 1e-3 ** (2 * (p_t - 0.25)), rtol=1e-5)
    only_rate = values(
        padam_optax.diagnostics.learning_rate_for(0.5, 0.25, learning_rate, 1e-3)
    )
    np.testing.assert_allclose(only_rate, 0.01 * 0.5 ** (t / 4) * 1e-3**0.5, rtol=1e-5)


def test_the_rule_can_be_traced():
    @jax.jit
    def rate(p, median_root_nu):
        return padam_optax.diagnostics.learning_rate_for(p, 0.5, 0.001, median_root_nu)

    np.testing.assert_allclose(rate(0.125, 0.01), 0.001 * 0.01**-0.75, rtol=1e-5)
