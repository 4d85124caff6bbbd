"""The settings of `python -m benchmarks theory`."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import UsageError, check_name
from benchmarks.theory.plans import STUDIES


@dataclass(frozen=True)
class TheoryConfig:
    """Measure the sources' theorems and formulas on constructed problems.

    Each study writes its records to a file of its own and draws a plot. All of them
    together take about five minutes on one processor core.
    """

    studies: tuple[str, ...] = STUDIES
    """Which to run, from: least-squares, condition-number, adagrad-norm, nonconvex,
    step-size."""
    seeds: int | None = None
    """Draws of each problem, from seed 0; by default ten of least-squares, five of the
    others. Surfaces are not drawn at random."""
    out: Path | None = None
    """Folder for the records and the plots; must not hold anything yet. By default
    a new one under runs/, named theory and the time."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        for name in self.studies:
            check_name("--studies", name, STUDIES)
        if not self.studies or len(set(self.studies)) < len(self.studies):
            given = " ".join(self.studies) or "nothing"
            raise UsageError(
                f"--studies takes one or more values, each once, got {given}."
            )
        if self.seeds is not None and self.seeds < 1:
            raise UsageError(f"--seeds must be at least 1, got {self.seeds}.")
        if self.out is not None and self.out.exists():
            if not self.out.is_dir():
                raise UsageError(f"--out {self.out} is a file; name a new folder.")
            if any(self.out.iterdir()):
                raise UsageError(f"--out {self.out} is not empty; name a new folder.")
