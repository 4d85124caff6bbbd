"""A row of the table of claims."""

from typing import NamedTuple

from benchmarks.experiments.types import SEEDS
from benchmarks.reporting.statistics import NOT_RUN, Interval, Region


class Verdict(NamedTuple):
    """The verdict on a claim: a row of the table of claims.

    Attributes:
      claim: What is claimed.
      source: By whom.
      found: The interval, and the figures here.
      verdict: HOLDS, FAILS, UNDECIDED or NOT_RUN of benchmarks.reporting.statistics.
      kind: SEEDS, THEOREM or PACKAGE.
      experiment: The folder of the results that decide it.
      scale: The column of the table, "" where a claim has but one row.
      interval: That of the paired differences; positive if the claim's first is better.
      unit: What the interval is in.
      after_results: Whether the row was written when its records already existed.
      region: The differences for which the claim is true, of a claim about two runs.
    """

    claim: str
    source: str
    found: str = "not run"
    verdict: str = NOT_RUN
    kind: str = SEEDS
    experiment: str = ""
    scale: str = ""
    interval: Interval | None = None
    unit: str = ""
    after_results: bool = False
    region: Region | None = None
