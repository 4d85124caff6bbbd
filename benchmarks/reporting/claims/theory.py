"""Claims about regret, Adam's counterexample and paths on surfaces."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import run_files
from benchmarks.experiments.types import BUFFALO, GU, PACKAGE, SEEDS, THEOREM
from benchmarks.reporting.claims.paired import conclude
from benchmarks.reporting.claims.verdict import Verdict
from benchmarks.reporting.statistics import (
    FAILS,
    HOLDS,
    NOT_RUN,
    decide,
    interval,
    region,
)
from benchmarks.run_files import RunFiles

Line = Mapping[str, Any]
# Says what was found and whether the claim holds; None without records.
Find = Callable[[RunFiles], tuple[str, str] | None]
_GAMES = ("linear", "sparse", "breast-cancer", "digits")


def judge_theory(results: Path) -> Iterator[Verdict]:
    """Judge the claims about the games of the `regret` command."""
    files = run_files.find(results, "regret")
    rows: tuple[tuple[str, str, str, bool, Find], ...] = (
        (
            "Padam's regret stays below the sum in its theorem's proof, at every rate",
            f"{GU}, theorem 1",
            THEOREM,
            True,
            _bound,
        ),
        (
            "R_T/T falls to 0: the slope of log R_t is below 1",
            f"{GU}, corollary 2",
            THEOREM,
            True,
            _slopes,
        ),
        (
            "Without the maximum, Adam's rule converges to the worst point of Reddi's "
            "game; with it, to the best",
            "Reddi, Kale and Kumar 2018",
            THEOREM,
            False,
            _counterexample,
        ),
        (
            "At a fixed rate p ≤ 1/4 ends in a cycle, p > 1/4 converges",
            "derived for this package",
            PACKAGE,
            False,
            _phases,
        ),
    )
    for claim, source, kind, late, find in rows:
        found, verdict = (files and find(files)) or ("not run", NOT_RUN)
        yield Verdict(claim, source, found, verdict, kind, "regret", after_results=late)
    for game in ("sparse", "linear"):
        yield from _against_descent(files, game)


def _padam(files: RunFiles, *, chosen: bool) -> list[Line]:
    """Read the games' records of Padam, at all learning rates or the chosen ones."""
    return [
        line
        for game in _GAMES
        for line in files.lines(game)
        if line["optimizer"] == "padam" and (line["chosen"] or not chosen)
    ]


def _bound(files: RunFiles) -> tuple[str, str] | None:
    lines = _padam(files, chosen=False)
    if not lines:
        return None
    shares = [
        regret / bound
        for line in lines
        for regret, bound in zip(line["regret"], line["tight_bound"], strict=True)
    ]

    def count(name: str) -> int:
        return len({line[name] for line in lines})

    found = (
        f"R_t is at most {max(shares):.2g} of it, over {count('title')} games, "
        f"{count('p')} p, {count('learning_rate')} rates and {count('seed')} seeds, at "
        "all t recorded"
    )
    return found, HOLDS if max(shares) <= 1 else FAILS


def _slopes(files: RunFiles) -> tuple[str, str] | None:
    slopes = []
    for line in _padam(files, chosen=True):
        first = next(i for i, t in enumerate(line["t"]) if 10 * t >= line["t"][-1])
        (t, regret), (end, last) = (
            (line["t"][i], line["regret"][i]) for i in (first, -1)
        )
        slopes.append(math.log(last / regret) / math.log(end / t))
    if not slopes:
        return None
    found = (
        f"slopes over the last decade of t, at the best rate of each p: "
        f"{min(slopes):.2f} to {max(slopes):.2f}"
    )
    return found, HOLDS if max(slopes) < 1 else FAILS


def _counterexample(files: RunFiles) -> tuple[str, str] | None:
    ends = {
        (line["p"], line["with_maximum"]): line["x"][-1]
        for line in files.lines("counterexample")
    }
    with_maximum = [x for (_, has), x in ends.items() if has]
    without = [x for (_, has), x in ends.items() if not has]
    if not ends:
        return None
    found = (
        f"x ends between {min(with_maximum):.2f} and {max(with_maximum):.2f} with it, "
        f"{min(without):.2f} and {max(without):.2f} without; best is -1, worst 1"
    )
    return found, HOLDS if max(with_maximum) < 0 < min(without) else FAILS


def _phases(files: RunFiles) -> tuple[str, str] | None:
    cycle: dict[bool, list[float]] = {True: [], False: []}
    for line in files.lines("phase-transition"):
        if line["with_maximum"] and line["start"] < 1:
            cycle[line["p"] <= 0.25].append(line["path"][-1])
    low, high = cycle[True], cycle[False]
    if not low or not high:
        return None
    found = (
        f"|x|/r ends at {min(low):.3f} to {max(low):.3f} for p ≤ 1/4, at most "
        f"{max(high):.3f} above"
    )
    return found, HOLDS if min(low) > 0.9 and max(high) < 0.1 else FAILS


def _against_descent(files: RunFiles | None, game: str) -> Iterator[Verdict]:
    """Compare the regret of Padam with online gradient descent's, seed by seed."""
    lines = [x for x in files.lines(game) if x["chosen"]] if files else []
    regret = {
        (line["optimizer"], line["p"], line["seed"]): line["regret"][-1]
        for line in lines
    }
    unit = "% (100 ln of the ratio)"
    for p, say in ((0.125, "1/8"), (0.5, "1/2")):
        claim = (
            f"Padam's regret (p = {say}) is below online gradient descent's on {game} "
            "losses"
        )
        seeds = [seed for name, q, seed in regret if name == "padam" and q == p]
        pairs = [
            (regret["padam", p, seed], regret["sgd", 0.0, seed])
            for seed in seeds
            if ("sgd", 0.0, seed) in regret
        ]
        if not pairs:
            yield Verdict(claim, GU, experiment="regret", unit=unit)
            continue
        ends = interval([100 * math.log(sgd / padam) for padam, sgd in pairs])
        means = [sum(x) / len(x) for x in zip(*pairs, strict=True)]
        yield Verdict(
            claim,
            GU,
            f"{ends.write()}, in {unit}; Padam {means[0]:.0f}, SGD {means[1]:.0f}",
            decide(ends, region("better", 0)),
            SEEDS,
            "regret",
            interval=ends,
            unit=unit,
            after_results=True,
            region=region("better", 0),
        )


# Below this both have arrived.
_ZERO = 1e-9


def judge_surfaces(results: Path) -> Iterator[Verdict]:
    """Judge Nesterov's momentum against momentum, each at its best learning rate.

    "Consistently" means on every surface: on those without noise the loss at the end
    is lower, or both are 0 to within 1e-9; on the noisy one the interval over the
    seeds decides.
    """
    claim = "Nesterov's momentum works consistently better than momentum"
    files = run_files.find(results, "landscape")
    names = sorted(files.config["surfaces"]) if files else ()
    answers, texts = [], []
    for name, lines in ((name, files.lines(name)) for name in names if files):
        losses = {x["optimizer"]: x["final_losses"] for x in lines if x["chosen"]}
        if not {"momentum", "nesterov"} <= losses.keys():
            continue
        answer, text = _nesterov(losses["momentum"], losses["nesterov"])
        answers.append(answer)
        texts.append(f"{name} {text}")
    found = "loss at the end with momentum, with Nesterov's: " + "; ".join(texts)
    yield Verdict(
        claim,
        BUFFALO,
        found if texts else "not run",
        conclude(answers),
        experiment="landscape",
        after_results=True,
    )


def _nesterov(plain: Sequence[float], nesterov: Sequence[float]) -> tuple[str, str]:
    if len(plain) > 1:
        ends = interval([a - b for a, b in zip(plain, nesterov, strict=True)])
        text = f"lower by {ends.write(4)}"
        return decide(ends, region("better", 0)), text
    (a,), (b,) = plain, nesterov
    text = f"{_write(a)}, {_write(b)}"
    return HOLDS if b < a or max(a, b) < _ZERO else FAILS, text


def _write(loss: float) -> str:
    return "0" if loss < _ZERO else f"{loss:.2g}"
