"""The conditions of the theorems, against their inequalities and known cases."""

import math

import numpy as np
import pytest

import padam_optax

NAMES = [
    "Algorithm 1",
    "Padam, convex (regret)",
    "Adam-type, nonconvex",
    "Padam, nonconvex",
]


def holding(b1, b2, p):
    conditions = padam_optax.diagnostics.check_convergence_conditions(b1, b2, p)
    assert [condition.name for condition in conditions] == NAMES
    return [condition.holds for condition in conditions]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((0.9, 0.999, 1 / 8), [True, True, True, True]),  # the paper's
        ((0.9, 0.999, 1 / 2), [True, True, True, False]),  # AMSGrad: p > 1/4
        ((0.9, 0.999, 1 / 4), [True, True, True, True]),
        ((0.9, 0.9, 1 / 2), [True, True, False, False]),  # b1 = b2^(2p)
        ((0.9, 0.81, 1 / 4), [True, False, False, False]),  # b1 = sqrt(b2) = b2^(2p)
        ((0.9, 0.81, 1 / 8), [True, False, True, True]),  # 0.81^(1/4) = 0.949
        ((0.0, 0.0, 1 / 8), [True, False, False, False]),  # 0 is not below 0
        ((0.9, 0.999, 0.0), [False, True, True, True]),  # SGD with momentum
        ((0.9, 0.999, 0.7), [False, True, False, False]),
        ((1.0, 0.999, 1 / 8), [False, False, False, False]),
        ((0.9, -1.0, 1 / 8), [False, False, False, False]),
        ((0.9, 0.0, -1.0), [False, False, False, False]),
        ((math.nan, 0.999, 1 / 8), [False, False, False, False]),
        ((0.9, 0.999, math.nan), [False, True, False, False]),
        ((0.9, math.inf, math.inf), [False, False, False, False]),
    ],
)
def test_each_condition_is_its_inequality(settings, expected):
    assert holding(*settings) == expected


def test_any_number_will_do():
    assert holding(np.float32(0.9), np.array(0.999), np.float64(0.125)) == [True] * 4


def test_what_is_no_number_is_refused_by_name():
    for arguments, name in [((None, 0.9, 0.1), "b1"), ((0.9, "0.9", 0.1), "b2")]:
        with pytest.raises(TypeError, match=f"{name} must be a number, got"):
            padam_optax.diagnostics.check_convergence_conditions(*arguments)


def test_no_theorem_covers_a_schedule_of_p():
    conditions = padam_optax.diagnostics.check_convergence_conditions(
        0.9, 0.999, padam_optax.schedules.linear_p_schedule(0.5, 0.125, 10)
    )
    assert [condition.name for condition in conditions] == NAMES
    assert not any(condition.holds for condition in conditions)
    assert all("no theorem covers" in condition.explanation for condition in conditions)


def test_text_has_verdict_name_and_both_sides_of_the_inequality():
    *_, nonconvex, _ = padam_optax.diagnostics.check_convergence_conditions(
        0.9, 0.7, 0.5
    )
    text = "fails: Adam-type, nonconvex: b1 < b2^(2p): 0.9 is not < 0.7. Also assumed"
    assert str(nonconvex).startswith(text)
    _, convex, *_ = padam_optax.diagnostics.check_convergence_conditions(0.9, 0.99, 0.5)
    text = f"holds: Padam, convex (regret): b1 < sqrt(b2): 0.9 < {0.99**0.5:.6g}."
    assert str(convex).startswith(text)
    _, *out_of_range = padam_optax.diagnostics.check_convergence_conditions(0.9, 1, 0.5)
    for condition in out_of_range:
        assert "an argument is out of range" in str(condition)
