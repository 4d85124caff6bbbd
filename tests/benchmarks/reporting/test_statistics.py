"""The rule for claims: its verdicts, its false rates, and Holm's procedure."""

import itertools
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from benchmarks.reporting.statistics import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Interval,
    best_of,
    critical_level,
    decide,
    decide_family,
    interval,
    region,
    simulate,
)


def test_the_interval_is_students():
    # By hand: mean 2, standard error 1/√3, and 4.302653 is the 97.5 % quantile of
    # Student's t with two degrees of freedom.
    found = interval([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)
    assert found == pytest.approx((2.0, 2 - half, 2 + half, 3), rel=1e-6)


@pytest.mark.parametrize(
    ("relation", "holds", "undecided", "fails"),
    [
        ("better", (0.1, 0.3), (-0.1, 0.2), (-0.3, -0.1)),
        ("worse", (-0.3, -0.1), (-0.1, 0.2), (0.1, 0.3)),
        ("at least as good", (-0.4, 3.0), (-0.6, 0.7), (-2.0, -0.6)),
        ("alike", (-0.4, 0.4), (-0.4, 0.6), (0.6, 0.9)),
        ("alike", (-0.4, 0.4), (-0.9, 0.9), (-0.9, -0.6)),
    ],
)
def test_an_interval_decides_by_where_all_of_it_lies(relation, holds, undecided, fails):
    claimed = region(relation, 0.5)
    for ends, verdict in ((holds, HOLDS), (undecided, UNDECIDED), (fails, FAILS)):
        assert decide(Interval(statistics.fmean(ends), *ends, 3), claimed) == verdict


@pytest.mark.parametrize("values", [[], [5.0]])
def test_fewer_than_two_seeds_decide_nothing(values):
    found = interval(values)
    assert decide(found, region("better", 0.5)) == UNDECIDED
    assert critical_level(values, region("better", 0.5)) == 1


@pytest.mark.parametrize("relation", ["better", "worse", "at least as good", "alike"])
def test_the_critical_level_is_where_the_verdict_turns(relation):
    rng = np.random.default_rng(1)
    claimed = region(relation, 0.5)
    for _ in range(50):
        values = list(rng.normal(rng.normal(0, 0.5), 0.3, 4))
        level = critical_level(values, claimed)
        if 1e-6 < level < 0.9:
            assert decide(interval(values, level * 1.01), claimed) != UNDECIDED
        assert decide(interval(values, level * 0.99), claimed) == UNDECIDED


@pytest.mark.parametrize("n", [2, 3, 5, 8])
@pytest.mark.parametrize("difference", [0.0, 0.5, 1.0, 2.0])
def test_the_rule_errs_as_often_as_theory_says(n, difference):
    draws = 20_000
    found = simulate(n, difference, draws=draws, seed=3)
    # The t statistic has the noncentral distribution with √n times the difference.
    quantile = stats.t.ppf(0.975, n - 1)
    shift = difference * math.sqrt(n)
    exact = {
        "better": stats.nct.sf(quantile, n - 1, shift),
        "worse": stats.nct.cdf(-quantile, n - 1, shift),
    }
    for verdict, p in exact.items():
        error = math.sqrt(p * (1 - p) / draws)
        assert found[verdict] == pytest.approx(p, abs=4.5 * error + 1 / draws)
    if not difference:
        error = math.sqrt(0.05 * 0.95 / draws)
        assert sum(found.values()) == pytest.approx(0.05, abs=4.5 * error)


def test_the_simulated_rule_is_the_one_that_judges():
    rng = np.random.default_rng(5)
    pairs = rng.normal(0.5, 1.0, (400, 3))
    verdicts = [decide(interval(list(x)), region("better", 0.5)) for x in pairs]
    simulated = simulate(3, 0.5, draws=400, seed=5)
    assert verdicts.count(HOLDS) / 400 == simulated["better"]
    assert verdicts.count(FAILS) / 400 == simulated["worse"]


def test_more_seeds_find_a_difference_more_often():
    found = [simulate(n, 0.5, draws=20_000)["better"] for n in (2, 3, 5, 8)]
    assert all(a < b for a, b in itertools.pairwise(found))


def test_holm_decides_in_the_order_of_the_evidence():
    # By hand: with levels 0.05/3, 0.05/2 and 0.05 the p-values 0.01, 0.02 and 0.06
    # decide the first two; with 0.03 in the middle only the first.
    def values(p):
        """Make two values whose mean is positive with this two-sided p-value."""
        t = stats.t.ppf(1 - p / 2, 1)
        return [t - 1, t + 1]

    better = region("better", 0.0)
    for middle, verdict in ((0.02, HOLDS), (0.03, UNDECIDED)):
        family = {
            "c": (values(0.06), better),
            "a": (values(0.01), better),
            "b": (values(middle), better),
        }
        assert decide_family(family) == {"a": HOLDS, "b": verdict, "c": UNDECIDED}
    # One that the first stops is not decided, whatever its own interval says.
    family = {str(i): (values(0.03), better) for i in range(3)}
    assert set(decide_family(family).values()) == {UNDECIDED}
    assert decide(interval(values(0.03)), better) == HOLDS


def test_holm_keeps_the_false_rate_of_a_family():
    rng = np.random.default_rng(0)
    draws = 2_000
    wrong = 0
    for pairs in rng.normal(0.0, 1.0, (draws, 4, 3)):
        family = {i: (list(x), region("better", 0.0)) for i, x in enumerate(pairs)}
        wrong += set(decide_family(family).values()) != {UNDECIDED}
    error = math.sqrt(0.05 * 0.95 / draws)
    # Four claims that are all on the border: 1 - (1 - 0.05/4)^4 is 4.9 %.
    assert wrong / draws == pytest.approx(0.0491, abs=4 * error)


def test_the_best_of_k_is_the_mean_over_all_subsets():
    results = [0.3, 0.9, 0.5, 0.7, 0.1]
    for k in range(1, 6):
        subsets = itertools.combinations(results, k)
        assert best_of(results, k) == pytest.approx(statistics.fmean(map(max, subsets)))


@pytest.mark.parametrize("k", [0, 4])
def test_no_more_results_are_drawn_than_there_are(k):
    with pytest.raises(ValueError, match=f"k must be from 1 to 3.*{k}"):
        best_of([1.0, 2.0, 3.0], k)
