"""The rows of the studies in the report's table of claims. Needs no JAX."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import run_files
from benchmarks.experiments.types import SEEDS, THEOREM
from benchmarks.reporting.claims.verdict import Verdict
from benchmarks.reporting.theory_findings import JUDGES
from benchmarks.theory.plans import PLANS


def judge_studies(results: Path) -> Iterator[Verdict]:
    """Judge every study by its rule in `plans.py`; one without records is not run."""
    files = run_files.find(results, "theory")
    for name, judge in JUDGES.items():
        lines = files.lines(name) if files else []
        if not lines:
            title = f"{PLANS[name].title} ({name})"
            yield Verdict(title, "theory", experiment="theory")
            continue
        for *row, is_theorem in judge(lines):
            rule = THEOREM if is_theorem else SEEDS
            values: Any = (*row, rule, "theory")
            yield Verdict(*values)
