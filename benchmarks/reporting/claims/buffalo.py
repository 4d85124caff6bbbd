"""Claims of Buffalo's slides that combine several comparisons."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.experiments.types import BUFFALO
from benchmarks.reporting import results as outcomes
from benchmarks.reporting.claims import quantities
from benchmarks.reporting.claims.paired import conclude, pair, sample
from benchmarks.reporting.claims.quantities import Quantity
from benchmarks.reporting.claims.verdict import Verdict
from benchmarks.reporting.measures import ACCURACY, TRAIN_LOSS, Measure, summarize
from benchmarks.reporting.results import Outcome, Run
from benchmarks.reporting.statistics import (
    FAILS,
    HOLDS,
    NOT_RUN,
    UNDECIDED,
    Region,
    decide,
    interval,
    region,
)

_NETWORKS = {"logistic": "logistic regression", "mlp": "two layers"}


def judge_lbfgs(results: Path) -> Iterator[Verdict]:
    """Judge L-BFGS in full batches and in mini-batches.

    In whole batches its train loss must be below that of AdaGrad-Norm at its best b0
    and of SGD at its best rate and schedule, on both networks. In mini-batches it is
    bad if its test accuracy is lower than SGD's best, after as many epochs, by more
    than the margin on both networks. Best is what is best by the quantity compared.
    """
    rates = "learning_rate=best schedule=best"
    loss, bad = region("better", 0.0), Region(-math.inf, -0.5)
    yield _judge_all(
        results,
        "L-BFGS works very well in full batch: a lower train loss after 60 steps than "
        "AdaGrad-Norm and SGD at their best",
        "lbfgs-full-batch",
        [
            (name, f"b0-{name}-batch{entry}", quantities.LAST_LOSS, TRAIN_LOSS, loss)
            for name in _NETWORKS
            for entry in ("/adagrad-norm b0=best", f"-sgd/sgd {rates}")
        ],
    )
    yield _judge_all(
        results,
        "L-BFGS gives bad results in mini-batches: a test accuracy more than 0.5 "
        "points below SGD's best",
        "lbfgs-mini-batch",
        [
            (name, f"b0-{name}-sgd/sgd {rates}", quantities.END, ACCURACY, bad)
            for name in _NETWORKS
        ],
    )


def _judge_all(
    results: Path,
    claim: str,
    experiment: str,
    parts: Sequence[tuple[str, str, Quantity, Measure, Region]],
) -> Verdict:
    """Judge a claim that holds if all of its parts hold."""
    texts, answers = [], []
    for network, other, quantity, by, claimed in parts:
        own = f"{experiment}/lbfgs model={network}"
        outcome, first = outcomes.find(results, own)
        second = _until(results, other, outcome, by)
        if outcome is None or not first or second is None:
            answers.append(NOT_RUN)
            continue
        a, b = sample(outcome, first, quantity), sample(*second, quantity)
        ends = interval(pair(a, b, quantity))
        answers.append(decide(ends, claimed))
        texts.append(
            f"{_NETWORKS[network]}: {ends.write(quantity.places)}, in {quantity.unit} "
            f"({quantity.name}: {a.write(quantity)}, {b.write(quantity)})"
        )
    verdict = conclude(answers)
    if NOT_RUN in answers:  # a part that fails decides alone, missing ones do not
        verdict = FAILS if FAILS in answers else NOT_RUN
    return Verdict(
        claim,
        BUFFALO,
        "; ".join(texts) or "not run",
        verdict,
        experiment=experiment,
        scale="MNIST",
    )


def _until(
    results: Path, entry: str, outcome: Outcome | None, by: Measure
) -> tuple[Outcome, list[Run]] | None:
    """Find the best runs of another experiment, after as many epochs as this has."""
    if outcome is None:
        return None
    epochs = outcome.config["epochs"]
    other, runs = outcomes.find(results, entry, by, epochs)
    if other is None or not runs:
        return None
    return other._replace(config={**other.config, "epochs": epochs}), runs


_BAD, _GOOD = 0.2, 0.9


def judge_initializers(results: Path) -> Iterator[Verdict]:
    """Judge whether the initial weights decide if training converges.

    It holds if at one of the learning rates an initializer stays below 20 % test
    accuracy in all seeds where another is above 90 % in all seeds.
    """
    claim = "The initial weights decide whether training converges at all"
    outcome, runs = outcomes.find(results, "initializers/momentum")
    if outcome is None or not runs:
        yield Verdict(claim, BUFFALO, experiment="initializers", scale="MNIST")
        return
    accuracies: dict[float, dict[str, list[float]]] = {}
    for same in outcomes.group(runs).values():
        settings = same[0].settings
        values = sample(outcome, same, quantities.END).values.values()
        by_name = accuracies.setdefault(settings["learning_rate"], {})
        by_name[settings["initializer"]] = list(values)
    enough = min(len(x) for by_name in accuracies.values() for x in by_name.values())
    decided = any(
        _some(by_name, lambda x: x < 100 * _BAD)
        and _some(by_name, lambda x: x > 100 * _GOOD)
        for by_name in accuracies.values()
    )
    yield Verdict(
        claim,
        BUFFALO,
        "; ".join(
            f"learning rate {rate:g}: "
            + ", ".join(f"{x} {summarize(v)}" for x, v in by_name.items())
            for rate, by_name in sorted(accuracies.items())
        )
        + ", in % of the test images",
        UNDECIDED if enough < 2 else HOLDS if decided else FAILS,
        experiment="initializers",
        scale="MNIST",
    )


def _some(accuracies: dict[str, list[float]], is_so: Callable[[float], bool]) -> bool:
    """Return whether one of the initializers meets a condition in all seeds."""
    return any(all(map(is_so, values)) for values in accuracies.values())
