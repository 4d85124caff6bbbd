"""Which runs tune, and what they choose: decided by finished runs alone."""

import math

import pytest

from benchmarks.errors import UsageError
from benchmarks.sweep import grid as grids
from benchmarks.sweep import tuning
from benchmarks.sweep.config import SweepConfig
from benchmarks.sweep.tuning import Tried
from benchmarks.training.config import TrainConfig


def make_config(grid=("learning_rate=0.1,1",), tune="learning_rate", **settings):
    finals = settings.pop("finals", 2)
    settings = {"optimizers": ("sgd",), "seed": 100, "seeds": 2, **settings}
    return SweepConfig(TrainConfig(**settings), grid, tune, finals)


def follow(config, good):
    """Carry all runs out, `good` telling the score of each; return them by stage."""
    grid = grids.read_grid(config)
    tuning.check(config, grid)
    scores = {}
    for _ in range(20):
        runs = tuning.plan(config, grid, scores)
        new = {n: good(r) for n, r in runs.items() if r.stage == "tuning"}
        if new == scores:
            break
        scores = new
    return runs


@pytest.mark.parametrize(
    ("best", "values", "chosen"),
    [
        (0.3, (0.1, 0.3, 0.9), 0.3),
        (3.0, (0.1, 0.3, 0.9, 2.7, 8.1), 2.7),
        (0.03, (0.0111, 0.0333, 0.1, 0.3, 0.9), 0.0333),
        (1e6, (0.1, 0.3, 0.9, 2.7, 8.1, 24.3, 72.9), 72.9),
    ],
)
def test_values_are_added_while_the_best_is_at_an_edge(best, values, chosen):
    def good(value):
        return -abs(math.log(value / best))

    tried = tuning.try_values([0.1, 0.3, 0.9], good)
    assert tried == Tried(values, chosen)


def test_nothing_is_chosen_before_every_score_is_known():
    known = {0.1: 1.0, 1.0: 2.0}
    assert tuning.try_values([1.0, 0.1], known.get) == Tried((0.1, 1.0, 10.0), None)
    known[10.0] = 2.0  # as good: the smaller one is the best
    assert tuning.try_values([1.0, 0.1], known.get) == Tried((0.1, 1.0, 10.0), 1.0)


def test_each_optimizer_and_point_is_tuned_by_itself_and_then_tested():
    config = make_config(
        ("learning_rate=*0.1,*1,*10", "batch_size=64,128"),
        optimizers=("sgd", "adam"),
    )
    best = {("sgd", 64): 0.1, ("sgd", 128): 1.0, ("adam", 64): 1e-3, ("adam", 128): 0.1}

    def good(run):
        wanted = best[run.optimizer, run.point["batch_size"]]
        return -abs(math.log(run.point["learning_rate"] / wanted)) + run.config.seed

    runs = follow(config, good)
    finals = [run for run in runs.values() if run.stage == "final"]
    tuned = [run for run in runs.values() if run.stage == "tuning"]
    found = {
        (r.optimizer, r.point["batch_size"]): r.point["learning_rate"] for r in finals
    }
    assert found == best
    assert [r.config.seed for r in finals] == [0, 1] * 4
    assert {r.config.evaluated for r in finals} == {"test"}
    assert {r.config.seed for r in tuned} == {100, 101}
    assert {r.config.evaluated for r in tuned} == {"validation"}
    tried = [r.point["learning_rate"] for r in tuned if r.optimizer == "adam"]
    # The recipe's 0.001 in the middle; at batch size 128 two more above 0.01.
    assert sorted({*tried}) == [1e-4, 1e-3, 0.01, 0.1, 1.0]
    assert runs["adam-learning_rate0.1-batch_size128-seed1"].stage == "final"


def test_a_mean_over_the_seeds_decides():
    scores = {(0.1, 100): 0.9, (0.1, 101): 0.1, (1, 100): 0.6, (1, 101): 0.6}

    def good(run):
        return scores.get((run.point["learning_rate"], run.config.seed), 0.0)

    runs = follow(make_config(), good)
    assert {r.point["learning_rate"] for r in runs.values() if r.stage == "final"} == {
        1
    }


def test_a_diverged_run_counts_as_chance():
    record = {"validation_accuracy": 0.3, "validation_loss": 2.0}
    assert tuning.score(record, 10, by_accuracy=True) == 0.3
    assert tuning.score(None, 10, by_accuracy=True) == 0.1
    assert tuning.score(record, 65, by_accuracy=False) == -2.0
    assert tuning.score(None, 65, by_accuracy=False) == pytest.approx(-math.log(65))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tune": None}, "--finals 2 needs --tune"),
        ({"tune": "momentum"}, "--tune momentum needs two or more .*got nothing"),
        ({"grid": ("learning_rate=1",)}, "--tune learning_rate .* for sgd it got 1"),
        ({"grid": ("learning_rate=0,1",)}, "--tune learning_rate .*positive"),
        ({"validate": True}, "--validate does not go with --tune"),
        ({"seed": 1}, "--seed must be at least 2, .*--finals.* got 1"),
        ({"finals": -1}, "--finals must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_tuned_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        follow(make_config(**settings), lambda run: 0.0)
