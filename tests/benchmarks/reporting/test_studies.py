"""Verdicts from made-up records, by the rules as they are written."""

import numpy as np
import pytest

from benchmarks.reporting import theory_results
from benchmarks.reporting.claims import studies
from benchmarks.reporting.statistics import FAILS, HOLDS, UNDECIDED


def draws_of_least_squares(**changes):
    """Records of two draws and two rates in which the claim holds, but for changes."""
    lines = []
    for seed in (0, 1):
        for maximum in (True, False):
            for p in (0.0, 0.125, 0.25, 0.375, 0.5):
                error = 0.4 if p == 0.5 else 0.0
                line = {"seed": seed, "with_maximum": maximum, "p": p}
                line |= {"mse": [1e-6, 1e-9], "test_error": [error, error]}
                if maximum and (seed, p) == (1, changes.get("p")):
                    line |= changes
                lines.append(line)
    return lines


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, HOLDS),
        ({"p": 0.375, "test_error": [0.4, 0.4]}, HOLDS),  # not asked about
        ({"p": 0.25, "test_error": [0.0, 0.4]}, FAILS),
        ({"p": 0.5, "test_error": [0.4, 0.2]}, FAILS),
        ({"p": 0.25, "test_error": [0.0, 0.4], "mse": [1e-6, 0.1]}, HOLDS),
        ({"p": 0.5, "mse": [None, 0.1]}, UNDECIDED),
    ],
)
def test_every_run_that_fits_must_be_as_claimed(changes, verdict):
    changed, other = studies.judge_least_squares(draws_of_least_squares(**changes))
    assert (changed.verdict, other.verdict) == (verdict, HOLDS)
    assert "constructed problem" in changed.found


@pytest.mark.parametrize(
    ("measured", "verdict", "text"),
    [(0.9, HOLDS, "tight"), (0.8, HOLDS, "upper bound"), (0.92, FAILS, "tight")],
)
def test_a_rate_holds_if_it_is_no_slower(measured, verdict, text):
    """0.92 is 0.79 of the formula's logarithm, 0.8 twice as much."""
    line = {"label": "x", "formula": "f", "kappa": 10.0, "claimed": 0.9}
    lines = [line | {"measured": 0.9}, line | {"measured": measured}]
    (found,) = studies.judge_condition_number(lines)
    assert found.verdict == verdict
    assert text in found.found


def growth(batch, slope):
    return {"kind": "growth", "batch": batch, "slope": slope, "b_over_root": 1.0}


@pytest.mark.parametrize(
    ("steps", "slopes", "verdicts"),
    [
        (9, (0.01, 0.46), [HOLDS, HOLDS]),
        (10, (0.01, 0.54), [FAILS, HOLDS]),
        (9, (0.03, 0.5), [HOLDS, FAILS]),
        (9, (0.0, 0.44), [HOLDS, FAILS]),
    ],
)
def test_bounds_and_growth_are_judged_apart(steps, slopes, verdicts):
    lines = [
        {"kind": "bound", "steps": [1, steps], "bound": [5, 10]},
        growth(None, slopes[0]),
        growth(16, slopes[1]),
    ]
    found = list(studies.judge_adagrad_norm(lines))
    assert [x.verdict for x in found] == verdicts


def nonconvex(in_steps, in_dimension):
    """Records whose best c, the second of three, follows powers of T and d."""
    rng = np.random.default_rng(0)
    lines = []
    for method, exponent in in_dimension.items():
        for d in (10, 100, 1000):
            for t in (100, 1000, 10_000):
                for seed in range(4):
                    best = d ** (exponent + 0.01 * rng.normal()) * t**in_steps
                    line = {"method": method, "share": 0.1, "dimension": d, "steps": t}
                    line |= {"seed": seed, "factors": [1, 2, 3]}
                    line["squared_gradient"] = [None, best, 3 * best]
                    lines.append(line | {"sum_over_root": [1.0, 2.0, 3.0]})
    return lines


ORDERED = {"SGD": 0.5, "p = 1/8": 0.25, "p = 1/4": 0.25, "p = 1/2": 0.5}


@pytest.mark.parametrize(
    ("in_steps", "in_dimension", "verdicts"),
    [
        (-0.5, ORDERED, [HOLDS, HOLDS]),
        (-0.3, ORDERED, [FAILS, HOLDS]),
        (-0.5, ORDERED | {"p = 1/4": 0.5}, [HOLDS, FAILS]),
        (-0.5, ORDERED | {"SGD": 0.2}, [HOLDS, FAILS]),
        (-0.5, ORDERED | {"SGD": 0.26, "p = 1/2": 0.26}, [HOLDS, FAILS]),
    ],
)
def test_slopes_are_those_of_the_best_rate(in_steps, in_dimension, verdicts):
    lines = nonconvex(in_steps, in_dimension)
    found = list(studies.judge_nonconvex(lines))
    assert [x.verdict for x in found] == verdicts
    slopes = theory_results.slopes_in_dimension(theory_results.best_cells(lines))
    for method, exponent in in_dimension.items():
        assert slopes[method, 0.1].mean() == pytest.approx(exponent, abs=0.02)
    assert "edge" not in found[0].found
    cell = theory_results.best_cells(lines)["SGD", 0.1, 10, 100]
    assert (cell.factor, cell.at_edge, cell.sum_over_root) == (2, False, 2.0)


@pytest.mark.parametrize(
    ("rights", "verdicts"),
    [
        ((10, 95, 100), [HOLDS, HOLDS]),
        ((9, 95, 95), [FAILS, HOLDS]),
        ((10, 94, 100), [HOLDS, FAILS]),
    ],
)
def test_the_criterion_is_exact_on_the_quadratic_alone(rights, verdicts):
    lines = [
        {"surface": name, "steps": steps, "rises": 3, "right": right}
        for name, steps, right in zip(
            ("ravine", "beale", "rosenbrock"), (10, 100, 100), rights, strict=True
        )
    ]
    assert [x.verdict for x in studies.judge_step_size(lines)] == verdicts
