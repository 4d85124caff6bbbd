"""Claims about the effect of a setting that was swept."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.experiments.types import OXFORD, SOUTHAMPTON
from benchmarks.reporting import results as outcomes
from benchmarks.reporting.claims.verdict import Verdict
from benchmarks.reporting.measures import classes
from benchmarks.reporting.results import Outcome, Run
from benchmarks.reporting.statistics import (
    FAILS,
    HOLDS,
    UNDECIDED,
    decide_family,
    falls,
    interval,
    region,
)

_RATE = "The larger p, the smaller the best learning rate"


def judge_p_and_rate(results: Path) -> Iterator[Verdict]:
    """Judge whether the best learning rate falls as p rises.

    In each seed by itself the best rate of no larger p may be larger, and that of the
    largest p must be smaller than that of the smallest; the claim holds if this is so
    in all of at least two seeds, does not hold if it is so in none, and is undecided
    otherwise, or if all best rates are at the edge of the grid.
    """
    for name, scale in (("subset", "subset"), ("p-and-learning-rate", "small")):
        outcome, runs = outcomes.find(results, f"{name}/padam")
        if outcome is not None:
            tuning = [run for run in outcome.runs if run.stage == "tuning"]
            runs = [run for run in tuning if "p" in outcomes.settings_of(run)] or runs
        if outcome is None or not runs:
            yield Verdict(_RATE, SOUTHAMPTON, experiment=name, scale=scale)
            continue
        rates = {outcomes.settings_of(run)["learning_rate"] for run in runs}
        best = {
            seed: _best_rates(outcome, [run for run in runs if run.seed == seed])
            for seed in sorted({run.seed for run in runs})
        }
        written = "; ".join(
            f"seed {seed}: "
            + ", ".join(
                f"{outcomes.write_pair(('p', p))} at {rate:g}"
                for p, rate in by_p.items()
            )
            for seed, by_p in best.items()
        )
        answers = [falls([*by_p.values()]) for by_p in best.values()]
        at_edge = all(
            rate in (min(rates), max(rates))
            for by_p in best.values()
            for rate in by_p.values()
        )
        verdict = UNDECIDED
        if len(best) > 1 and not at_edge and len(set(answers)) == 1:
            verdict = HOLDS if answers[0] else FAILS
        note = "; all at the edge of the grid" if at_edge else ""
        yield Verdict(
            _RATE, SOUTHAMPTON, written + note, verdict, experiment=name, scale=scale
        )


def _best_rates(outcome: Outcome, runs: Sequence[Run]) -> dict[float, float]:
    """Return the best learning rate for each p, in ascending order."""
    means: dict[float, dict[float, float]] = {}
    for same in outcomes.group(runs).values():
        point = outcomes.settings_of(same[0])
        mean = outcomes.tuned_mean(outcome, same)
        means.setdefault(point["p"], {})[point["learning_rate"]] = mean
    best = {p: outcome.measure.best(by_rate) for p, by_rate in sorted(means.items())}
    return {p: rate for p, rate in best.items() if rate is not None}


# How much of what can be learned a run must learn to count.
_LEARNED = (1 / 4, 1 / 2, 3 / 4)
_B0 = ("logistic-batch", "mlp-batch", "logistic", "mlp", "lenet", "resnet18")


def judge_robustness(results: Path) -> Iterator[Verdict]:
    """Judge for how many values of b0 a method trains, by the final train loss.

    A run trains if its train loss has come at least half of the way from that of
    guessing, the logarithm of the number of classes, to the lowest that any run of any
    method reaches with the same seed; one that diverged has not. Counted are values of
    b0. How the count depends on the half is shown.
    """
    for name in _B0:
        folder = results / f"b0-{name}"
        outcome = outcomes.read_ended(folder)
        methods = outcomes.group_by_b0(outcome) if outcome is not None else {}
        own = methods.pop("AdaGrad-Norm", {})
        others = ("Sgd, 1/b0", "Sgd, 1/(b0 √k)") if not methods else tuple(methods)
        for label, step in zip(others, ("1/b0", "1/(b0 √k)"), strict=False):
            claim = f"AdaGrad-Norm trains over more decades of b0 than SGD with {step}"
            if outcome is None or not own or label not in methods:
                yield Verdict(claim, OXFORD, experiment=folder.name, scale=name)
                continue
            yield _judge_b0(outcome, claim, own, methods[label], methods, name)


Points = dict[float, list[Run]]


def _judge_b0(
    outcome: Outcome,
    claim: str,
    own: Points,
    other: Points,
    methods: dict[str, Points],
    name: str,
) -> Verdict:
    everything = [own, *methods.values()]
    # Pairs need seeds that every method has run: one may have more than another yet.
    seeds = sorted(set.intersection(*map(_seeds, everything)))
    counts = {
        share: [
            tuple(_count(outcome, seed, share, x, everything) for x in (own, other))
            for seed in seeds
        ]
        for share in _LEARNED
    }
    differences = {
        share: [float(a - b) for a, b in pairs] for share, pairs in counts.items()
    }
    ends = interval(differences[1 / 2])
    claimed = region("better", 0.0)
    verdict = decide_family({claim: (differences[1 / 2], claimed)})[claim]
    means = "; ".join(
        f"{share:.0%} learned: "
        + " and ".join(f"{sum(x) / len(x):.3g}" for x in zip(*pairs, strict=True))
        for share, pairs in counts.items()
    )
    worst = " and ".join(_worst(outcome, points) for points in (own, other))
    return Verdict(
        claim,
        OXFORD,
        f"{ends.write()}, in values of b0 of {len(own)}; {means}; "
        f"worst train loss {worst}",
        verdict,
        experiment=outcome.folder.name,
        scale=name,
        interval=ends,
        unit="values of b0",
        after_results=True,
    )


def _seeds(points: Points) -> set[int]:
    return {run.seed for runs in points.values() for run in runs}


def _losses(outcome: Outcome, points: Points, seed: int | None = None) -> list[float]:
    """Return the final train losses, infinite for runs that diverged."""
    last = outcome.config["epochs"]
    losses = []
    for runs in points.values():
        for run in runs:
            if seed is None or run.seed == seed:
                line = outcomes.line_at(run, last)
                losses.append(line["train_loss"] if line else math.inf)
    return losses


def _count(
    outcome: Outcome, seed: int, share: float, own: Points, everything: Sequence[Points]
) -> int:
    guess = math.log(classes(outcome.config))
    best = min(min(_losses(outcome, points, seed)) for points in everything)
    most = guess - share * (guess - best)
    return sum(loss <= most for loss in _losses(outcome, own, seed))


def _worst(outcome: Outcome, points: Points) -> str:
    losses = _losses(outcome, points)
    diverged = sum(map(math.isinf, losses))
    worst = max((x for x in losses if math.isfinite(x)), default=math.nan)
    return f"{worst:.3g}" + (
        f" ({diverged} of {len(losses)} diverged)" if diverged else ""
    )
