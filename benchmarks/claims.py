"""What the sources claim, and what the records of finished runs say of it.

Each claim is judged by the rules in experiments.py, from the records alone.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import outcomes, records
from benchmarks.outcomes import Figure, Outcome, Run

HOLDS, FAILS, OPEN = "holds", "does not hold", "open"


class Verdict(NamedTuple):
    """A row of the summary.

    Attributes:
      claim: What is claimed.
      source: By whom.
      found: The figures here.
      verdict: HOLDS, FAILS or OPEN.
    """

    claim: str
    source: str
    found: str
    verdict: str


def judge(results: Path) -> list[Verdict]:
    """Judge every claim.

    Args:
      results: A folder with a folder for each experiment.

    Returns:
      The rows; those of experiments without results are open.
    """
    return [verdict for find in _CLAIMS for verdict in find(results)]


def compare(a: Figure, b: Figure, *, more_is_better: bool = True) -> str:
    """Say whether one figure is better than another, by the rule for spreads.

    Returns:
      "better", "worse" or "alike"; "" where one of them has fewer than two seeds.

    >>> compare(Figure(90.0, 1.0, 3), Figure(88.5, 0.2, 3))
    'better'
    >>> compare(Figure(90.0, 1.0, 3), Figure(89.5, 0.2, 3))
    'alike'
    >>> compare(Figure(90.0, 1.0, 3), Figure(88.5, None, 1))
    ''
    """
    if a.deviation is None or b.deviation is None:
        return ""
    difference = a.mean - b.mean if more_is_better else b.mean - a.mean
    if abs(difference) <= max(a.deviation, b.deviation):
        return "alike"
    return "better" if difference > 0 else "worse"


def _open(results: Path, name: str) -> Outcome | None:
    folder = results / name
    return outcomes.read(folder) if folder.exists() else None


def _figures(
    outcome: Outcome, runs: Iterable[Run] | None = None, share: float = 1
) -> dict[tuple[str, ...], Figure]:
    """Summarise what counts after a share of the epochs, by label and settings."""
    return {
        key: outcomes.figure_at(outcome, same, share)
        for key, same in outcomes.group(outcome.runs if runs is None else runs).items()
    }


def _rule(answers: Iterable[str], wanted: Iterable[str]) -> str:
    """Turn comparisons into a verdict: all must be among the wanted ones."""
    answers, wanted = list(answers), set(wanted)
    if not answers or "" in answers:
        return OPEN
    return HOLDS if set(answers) <= wanted else FAILS


_PADAM, _SGD = ("Padam",), ("SGD + momentum",)
_ADAPTIVE = (("Adam",), ("AMSGrad",))


def _the_table(results: Path) -> Iterator[Verdict]:
    """Judge the three claims of the paper's tables, on each that was run."""
    for name in ("small-cifar10", "digits", "slides-cifar10", "slides-cifar100"):
        outcome = _open(results, name)
        where, source = f" ({name})", "Gu's slides; Chen et al. 2020"
        claims = (
            "Padam ends at least as good as SGD with momentum",
            "Padam ends better than Adam and AMSGrad",
            "Padam is ahead of SGD with momentum after a quarter of the training",
            "Adam and AMSGrad end worse than SGD with momentum",
        )
        if outcome is None:
            yield Verdict(f"All of these{where}", source, "not run", OPEN)
            continue
        last, early = _figures(outcome), _figures(outcome, share=1 / 4)
        unknown = Figure(float("nan"), None, 0)
        padam, sgd = (last.get(key, unknown) for key in (_PADAM, _SGD))
        others = {key[0]: last.get(key, unknown) for key in _ADAPTIVE}
        listed = ", ".join(f"{label} {figure}" for label, figure in others.items())
        soon = [early.get(key, unknown) for key in (_PADAM, _SGD)]
        for claim, found, verdict in zip(
            (claim + where for claim in claims),
            (
                f"Padam {padam}, SGD {sgd}",
                f"Padam {padam}, {listed}",
                f"Padam {soon[0]}, SGD {soon[1]}",
                f"SGD {sgd}, {listed}",
            ),
            (
                _rule([compare(padam, sgd)], ("better", "alike")),
                _rule((compare(padam, x) for x in others.values()), ("better",)),
                _rule([compare(*soon)], ("better",)),
                _rule((compare(x, sgd) for x in others.values()), ("worse",)),
            ),
            strict=True,
        ):
            yield Verdict(claim, source, f"{found} % (n = {padam.n})", verdict)


def _p_and_rate(results: Path) -> Iterator[Verdict]:
    claim = "The larger p, the smaller the best learning rate"
    source = "Southampton's report, figures 2 and 3"
    outcome = _open(results, "p-and-learning-rate")
    if outcome is None:
        yield Verdict(claim, source, "not run", OPEN)
        return
    figures = _figures(outcome)
    best: dict[float, tuple[float, Figure]] = {}
    for (_, (_, p), (_, rate)), figure in figures.items():
        if figure.n and (p not in best or figure.mean > best[p][1].mean):
            best[float(p)] = float(rate), figure
    found = "; ".join(
        f"{outcomes.write_pair(('p', p))}: {rate:g} ({figure} %)"
        for p, (rate, figure) in sorted(best.items())
    )
    rates = [rate for _, (rate, _) in sorted(best.items())]
    falling = all(a >= b for a, b in itertools.pairwise(rates))
    verdict = HOLDS if falling and rates[0] > rates[-1] else FAILS
    # The learning rates are a factor of ten apart: what a single seed could turn
    # is the best one where two are as good as each other.
    if any(figure.n < 2 for _, figure in best.values()):
        verdict = OPEN
    yield Verdict(claim, source, found, verdict)


def _dilemma(results: Path) -> Iterator[Verdict]:
    claims = (
        "The larger p, the wider the effective learning rates are spread",
        "p = 1/2 needs a small learning rate: 0.1 is worse than 0.001",
        "p = 1/8 bears a large one: 0.1 is better than 0.001",
    )
    source = "Gu's slides, the small-learning-rate dilemma"
    outcome, other = _open(results, "dilemma"), _open(results, "dilemma-small-rate")
    if outcome is None or other is None:
        for claim in claims:
            yield Verdict(claim, source, "not run", OPEN)
        return
    spreads = {
        key[1][1]: outcomes.summarise(
            [*outcomes.decades(outcomes.at(runs, 1, outcome.config["epochs"]))]
        )
        for key, runs in outcomes.group(outcome.runs).items()
    }
    spreads = dict(sorted(spreads.items()))
    found = "; ".join(
        f"p = {outcomes.write_setting(p)}: {figure} decades"
        for p, figure in spreads.items()
    )
    pairs = itertools.pairwise(spreads.values())
    answers = [compare(b, a) for a, b in pairs]
    yield Verdict(claims[0], source, found, _rule(answers, ("better",)))
    large, small = _figures(outcome), _figures(other)
    for claim, p, wanted in ((claims[1], 0.5, "worse"), (claims[2], 0.125, "better")):
        a, b = (figures["Padam", ("p", p)] for figures in (large, small))
        # A run that diverged is worse than any that did not.
        answer = compare(a, b) if a.n else "worse"
        found = f"0.1: {a if a.n else 'diverged'} %; 0.001: {b} %"
        yield Verdict(claim, source, found, _rule([answer], (wanted,)))


def _beside(
    name: str, claim: str, source: str, wanted: tuple[str, ...]
) -> Callable[[Path], Iterator[Verdict]]:
    """Judge an experiment whose runs are compared with the best of its baseline."""

    def find(results: Path) -> Iterator[Verdict]:
        outcome = _open(results, name)
        if outcome is None:
            yield Verdict(f"{claim} ({name})", source, "not run", OPEN)
            return
        own = _figures(outcome)
        everything = _figures(outcome, outcomes.with_baseline(outcome))
        baseline = {k: x for k, x in everything.items() if k not in own and x.n}
        better = outcome.measure.more_is_better
        found = ", ".join(
            f"{outcomes.write_key(key)} {figure}" for key, figure in everything.items()
        )
        if not baseline:
            yield Verdict(f"{claim} ({name})", source, found, OPEN)
            return
        best = max(baseline.values(), key=lambda x: x.mean if better else -x.mean)
        answers = [compare(x, best, more_is_better=better) for x in own.values()]
        yield Verdict(f"{claim} ({name})", source, found, _rule(answers, wanted))

    return find


def _robustness(results: Path) -> Iterator[Verdict]:
    for name in (
        "b0-logistic-batch",
        "b0-logistic",
        "b0-mlp-batch",
        "b0-mlp",
        "b0-lenet",
    ):
        claim = f"AdaGrad-Norm is robust to b0, SGD is not ({name})"
        source = "Oxford's slides; Ward, Wu and Bottou 2019"
        outcome = _open(results, name)
        if outcome is None:
            yield Verdict(claim, source, "not run", OPEN)
            continue
        methods = outcomes.find_robustness(outcome)
        top = max(
            test.mean
            for points in methods.values()
            for _, test in points.values()
            if test.n
        )
        # How many decades of b0 come close to the best that any method reaches.
        near = {
            label: sum(
                test.n > 0 and test.mean > top - 5 for _, test in points.values()
            )
            for label, points in methods.items()
        }
        found = ", ".join(f"{label}: {count}" for label, count in near.items())
        own = near.pop("AdaGrad-Norm", 0)
        verdict = HOLDS if near and own > max(near.values()) else FAILS
        if len({run.seed for run in outcome.runs}) < 2:
            verdict = OPEN
        total = max(map(len, methods.values()))
        found += f" of {total} values of b0 within 5 points of the best ({top:.1f} %)"
        yield Verdict(claim, source, found, verdict if near else OPEN)


def _theory(results: Path) -> Iterator[Verdict]:
    folder = results / "regret"
    bounded = "Padam's regret stays below the bound of its theorem, which grows as √T"
    maximum = "Adam's rule goes the wrong way in Reddi's game; the maximum mends it"
    phases = "At a fixed rate p ≤ 1/4 ends in a cycle, p > 1/4 converges"
    if not folder.exists():
        for claim in (bounded, maximum, phases):
            yield Verdict(claim, "theory", "not run", OPEN)
        return
    games = [
        line
        for path in sorted(folder.glob("*.jsonl"))
        for line in records.read(path)
        if line.get("optimizer") == "padam" and line["chosen"]
    ]
    shares = [
        regret / bound
        for line in games
        for regret, bound in zip(line["regret"], line["tight_bound"], strict=True)
    ]
    yield Verdict(
        bounded,
        "Gu's slides; Chen et al. 2020, convex case",
        f"R_t is at most {max(shares):.2g} of the proof's sum, over "
        f"{len({line['title'] for line in games})} games, "
        f"{len({line['p'] for line in games})} p and "
        f"{len({line['seed'] for line in games})} seeds, at all t recorded",
        HOLDS if max(shares) <= 1 else FAILS,
    )
    ends = {
        (line["p"], line["with_maximum"]): line["x"][-1]
        for line in records.read(folder / "counterexample.jsonl")
    }
    with_maximum = [x for (_, has), x in ends.items() if has]
    without = [x for (_, has), x in ends.items() if not has]
    yield Verdict(
        maximum,
        "Reddi, Kale and Kumar 2018; Gu's slides",
        f"x ends between {min(with_maximum):.2f} and {max(with_maximum):.2f} with it, "
        f"{min(without):.2f} and {max(without):.2f} without; best is -1",
        HOLDS if max(with_maximum) < 0 < min(without) else FAILS,
    )
    cycle: dict[bool, list[float]] = {True: [], False: []}
    for line in records.read(folder / "phase-transition.jsonl"):
        if line["with_maximum"] and line["start"] < 1:
            cycle[line["p"] <= 0.25].append(line["path"][-1])
    yield Verdict(
        phases,
        "derived for this package",
        f"|x|/r ends at {min(cycle[True]):.3f} to {max(cycle[True]):.3f} for p ≤ 1/4, "
        f"at most {max(cycle[False]):.3f} above",
        HOLDS if min(cycle[True]) > 0.9 and max(cycle[False]) < 0.1 else FAILS,
    )


def _beyond_cnns(results: Path) -> Iterator[Verdict]:
    claim = (
        "Padam at p = 0.4, the authors' for LSTMs, ends at least as good as all others"
    )
    source = "asked for by Southampton's report"
    outcome = _open(results, "shakespeare")
    if outcome is None:
        yield Verdict(claim, source, "not run", OPEN)
        return
    runs = list(outcome.runs)
    swept = _open(results, "shakespeare-p")
    if swept is not None:
        runs += swept.runs
    best: dict[str, tuple[str, Figure]] = {}
    for name, by_rate in outcomes.group_by_rate(runs).items():
        for rate, same in by_rate.items():
            figure = outcomes.figure_at(outcome, same, 1)
            if figure.n and (name not in best or figure.mean < best[name][1].mean):
                best[name] = f"{rate:g}", figure
    largest = f"{max(run.settings['learning_rate'] for run in runs):g}"
    found = "; ".join(
        f"{name} {x} at {rate}" + (" (the largest tried)" if rate == largest else "")
        for name, (rate, x) in best.items()
    )
    others = [x for name, (_, x) in best.items() if not name.startswith("Padam")]
    if "Padam, p = 0.4" not in best or not others:
        yield Verdict(claim, source, found, OPEN)
        return
    # One p, chosen before the runs: the others had no more learning rates to try.
    padam, rest = best["Padam, p = 0.4"][1], min(others, key=lambda x: x.mean)
    answer = compare(padam, rest, more_is_better=False)
    yield Verdict(claim, source, found, _rule([answer], ("better", "alike")))


_CLAIMS: tuple[Callable[[Path], Iterable[Verdict]], ...] = (
    _the_table,
    _p_and_rate,
    _dilemma,
    _beside(
        "falling-p",
        "A p that falls while the rate rises is better than the best constant p",
        "proposed in Southampton's report",
        ("better",),
    ),
    _beyond_cnns,
    _robustness,
    _theory,
    _beside(
        "correction",
        "The warm-up hidden in the authors' correction does not matter at p = 1/8",
        "asked for by this package",
        ("alike",),
    ),
    _beside(
        "few-bits-cifar10",
        "Moments in 8 bits end within the seeds' spread of float32",
        "claimed by this package",
        ("better", "alike"),
    ),
    _beside(
        "few-bits-digits",
        "Moments in 8 and 16 bits end within the seeds' spread of float32",
        "claimed by this package",
        ("better", "alike"),
    ),
)
