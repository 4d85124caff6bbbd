"""Claims about generative adversarial networks."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import run_files
from benchmarks.experiments.types import PACKAGE, SOUTHAMPTON
from benchmarks.gan.plan import MARGIN, final_distance, gain
from benchmarks.reporting.claims.verdict import Verdict
from benchmarks.reporting.statistics import decide_family, interval, region

_UNIT = "% of the distance (100 ln of the ratio)"
_P = {"padam-p0.5": "1/2", "padam-p0.25": "1/4", "padam-p0.125": "1/8"}
_OTHERS = {"momentum": "SGD", "adam": "Adam"}
_ROWS = [(p, other) for p in _P for other in _OTHERS]


def judge_gan(results: Path) -> Iterator[Verdict]:
    """Judge Padam against SGD and Adam, seed by seed; a family of six rows."""
    files = run_files.find(results, "gan")
    finals: dict[str, dict[int, Mapping[str, Any]]] = {}
    whole = files is not None and "finished" in files.header
    for line in files.lines("gan") if files and whole else ():
        if line["stage"] == "final":
            finals.setdefault(line["optimizer"], {})[line["seed"]] = line
    claimed = region("at least as good", MARGIN)
    pairs = {row: _pair(*(finals.get(name, {}) for name in row)) for row in _ROWS}
    gains = {row: [gain(a, b) for a, b in found] for row, found in pairs.items()}
    decided = decide_family({row: (x, claimed) for row, x in gains.items() if x})
    for row in _ROWS:
        claim = (
            f"Padam (p = {_P[row[0]]}) trains a small GAN at least as well as "
            f"{_OTHERS[row[1]]}"
        )
        source = f"open in {SOUTHAMPTON}"
        if not gains[row]:
            yield Verdict(
                claim, source, kind=PACKAGE, experiment="gan", scale="MNIST", unit=_UNIT
            )
            continue
        ends = interval(gains[row])
        ours, theirs = (
            sum(map(final_distance, runs)) / len(runs)
            for runs in zip(*pairs[row], strict=True)
        )
        yield Verdict(
            claim,
            source,
            f"{ends.write(1)}, in {_UNIT}; distances {ours:.1f} and {theirs:.1f}",
            decided[row],
            PACKAGE,
            "gan",
            "MNIST",
            interval=ends,
            unit=_UNIT,
            region=claimed,
        )


def _pair(
    first: Mapping[int, Mapping[str, Any]], second: Mapping[int, Mapping[str, Any]]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    return [(first[seed], second[seed]) for seed in first if seed in second]
