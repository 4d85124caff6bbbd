"""Verdicts on the claims of the sources, from the records of finished runs.

Each claim is judged by the rule of `benchmarks.statistics`, from the records alone.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.experiments import find_claims
from benchmarks.experiments.types import PACKAGE, SEEDS, THEOREM
from benchmarks.reporting.claims import buffalo
from benchmarks.reporting.claims.gan import judge_gan
from benchmarks.reporting.claims.paired import judge_comparisons
from benchmarks.reporting.claims.studies import judge_studies
from benchmarks.reporting.claims.sweeps import judge_p_and_rate, judge_robustness
from benchmarks.reporting.claims.theory import judge_surfaces, judge_theory
from benchmarks.reporting.claims.verdict import Verdict

__all__ = ["KINDS", "PACKAGE", "SEEDS", "THEOREM", "Verdict", "judge"]

KINDS = (SEEDS, THEOREM, PACKAGE)

_JUDGES: tuple[Callable[[Path], Iterable[Verdict]], ...] = (
    lambda results: judge_comparisons(results, find_claims()),
    judge_p_and_rate,
    judge_robustness,
    buffalo.judge_lbfgs,
    buffalo.judge_initializers,
    judge_theory,
    judge_surfaces,
    judge_studies,
    judge_gan,
)


def judge(results: Path) -> list[Verdict]:
    """Judge every claim; sort the rows by kind."""
    rows = [row for judge_some in _JUDGES for row in judge_some(results)]
    return sorted(rows, key=lambda row: KINDS.index(row.kind))
