"""Schedules by name, beside their formulas."""

import numpy as np
import optax
import pytest

from benchmarks.training import schedules

# Optax's functions mix dtypes.
pytestmark = pytest.mark.usefixtures("standard_promotion")


def test_the_rate_is_divided_by_ten_at_each_milestone():
    schedule = schedules.make("multi-stage", 0.1, 200, (0.25, 0.5, 0.75))
    steps = [0, 49, 50, 99, 100, 149, 150, 199]
    expected = [0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4]
    np.testing.assert_allclose([schedule(k) for k in steps], expected, rtol=1e-6)


def test_milestones_that_fall_on_one_step_all_count():
    schedule = schedules.multi_stage(1.0, 3, (0.3, 0.35, 0.9))
    np.testing.assert_allclose([schedule(k) for k in (0, 1, 3)], [1, 0.01, 0.001], 1e-6)


FORMULAS = {
    "cosine": lambda k: 0.1 * (0.2 + 0.8 * (1 + np.cos(np.pi * k / 50)) / 2),
    "linear": lambda k: 0.1 + (0.02 - 0.1) * k / 50,
    "exponential": lambda k: 0.1 * 0.2 ** (k / 50),
    # 0.1 / (1 + c 50) = 0.02 where c = 4/50.
    "inverse-time": lambda k: 0.1 / (1 + 4 * k / 50),
    "inverse-sqrt": lambda k: 0.1 / np.sqrt(k + 1),
    "constant": lambda k: 0.1 + 0 * k,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_rate_follows_its_formula(name):
    schedule = schedules.make(name, 0.1, 50, final_share=0.2)
    steps = np.arange(0, 51, 5)
    rates = [float(schedule(k)) for k in steps]
    np.testing.assert_allclose(rates, FORMULAS[name](steps), rtol=1e-6)


def test_a_linear_rate_may_reach_its_end_early():
    schedule = schedules.make("linear", 1.0, 100, milestones=(0.4,), final_share=0.01)
    rates = [float(schedule(k)) for k in (0, 20, 40, 99)]
    np.testing.assert_allclose(rates, [1, 0.505, 0.01, 0.01], rtol=1e-6)


@pytest.mark.parametrize("final_share", [0.0, 0.2])
def test_a_cosine_after_a_warmup_is_that_of_optax(final_share):
    schedule = schedules.make("cosine", 0.1, 50, final_share=final_share, warmup=0.2)
    expected = optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 50, 0.1 * final_share)
    for k in (0, 5, 9, 10, 11, 30, 49, 50):
        np.testing.assert_allclose(schedule(k), expected(k), rtol=1e-6)


def test_milestones_stay_where_they_are_after_a_warmup():
    schedule = schedules.make("multi-stage", 0.1, 200, (0.25, 0.5), warmup=0.1)
    steps = [0, 10, 20, 49, 50, 99, 100]
    expected = [0, 0.05, 0.1, 0.1, 0.01, 0.01, 1e-3]
    np.testing.assert_allclose([schedule(k) for k in steps], expected, rtol=1e-6)
