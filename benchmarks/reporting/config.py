"""The settings of `python -m benchmarks report`."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import UsageError
from benchmarks.paths import ROOT


@dataclass(frozen=True)
class ReportConfig:
    """Write REPORT.md, report.html and README's results from finished runs' records."""

    add: tuple[Path, ...] = ()
    """Folders of runs whose records are first written into --results, each into one
    file, records.jsonl, in a folder of the run's name; checkpoints stay. Of a sweep
    those runs that have ended."""
    results: Path = ROOT / "benchmarks" / "results"
    """Folder with a folder of records for each experiment, of --add or of a run."""
    out: Path = ROOT / "benchmarks"
    """Where the report and its plots go, over those that are there."""
    readme: Path | None = ROOT / "README.md"
    """The file whose results, between two marks, are replaced; or None."""

    def __post_init__(self) -> None:
        """Raise an error for folders that do not exist."""
        for argument, folder in (("--results", self.results), ("--out", self.out)):
            if not folder.is_dir():
                raise UsageError(
                    f"{argument} {folder} is not a folder; create it, or leave "
                    f"{argument} out for the project's own."
                )
