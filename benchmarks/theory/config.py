"""The settings of `python -m benchmarks theory`."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import check_at_least, check_names, check_out
from benchmarks.theory.plans import STUDIES


@dataclass(frozen=True)
class TheoryConfig:
    """Measure the sources' theorems and formulas on constructed problems.

    Each study writes its records to a file of its own and draws a plot. All of them
    together take about five minutes on one processor core.
    """

    studies: tuple[str, ...] = STUDIES
    """Which to run; by default all."""
    seeds: int | None = None
    """Draws of each problem, from seed 0; by default ten of least-squares, five of the
    others. Surfaces are not drawn at random."""
    out: Path | None = None
    """Folder for the records and the plots; must not hold anything yet. By default
    a new one under runs/, named theory and the time."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        check_names("--studies", self.studies, STUDIES)
        if self.seeds is not None:
            check_at_least("--seeds", self.seeds, 1)
        check_out(self.out)
