"""Runs from any folders in one table and one figure, without verdicts."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import run_files
from benchmarks.errors import UsageError
from benchmarks.reporting import results as outcomes
from benchmarks.reporting.measures import Line, Measure, measure_for


class Together(NamedTuple):
    """The runs of several folders, and what their table and figure need.

    Attributes:
      runs: For each label its runs; each with the records of its epochs.
      epochs: The length of the longest.
      title: What was trained.
      measure: What they are judged by.
      stopped: A sentence for each run that ended early.
    """

    runs: dict[str, list[Sequence[Line]]]
    epochs: int
    title: str
    measure: Measure
    stopped: list[str]


def gather(folders: Sequence[Path]) -> Together:
    """Read the runs of several folders; of a sweep that tunes, its finals.

    A label that is in several of them is followed by the folder.

    Raises:
      UsageError: If a folder holds no runs, or they are not judged by the same measure.
    """
    read = [_read(folder) for folder in folders]
    measures = [
        measure_for(
            outcome.config, "validation" if outcome.config.get("validate") else "test"
        )
        for outcome in read
    ]
    for outcome, measure in zip(read, measures, strict=True):
        if measure.name != measures[0].name:
            raise UsageError(
                f"{read[0].folder} is judged by {measures[0].name}, {outcome.folder} "
                f"by {measure.name}; compare runs that are judged alike."
            )
    groups = [
        outcomes.group_by_label(run for run in outcome.runs if run.stage != "tuning")
        for outcome in read
    ]
    counts = Counter(label for group in groups for label in group)
    runs: dict[str, list[Sequence[Line]]] = {}
    for outcome, group in zip(read, groups, strict=True):
        for label, same in group.items():
            if counts[label] > 1:
                label = f"{label} ({outcome.folder.resolve().name})"
            runs.setdefault(label, []).extend(run.lines for run in same)
    titles = list(dict.fromkeys(outcome.title for outcome in read))
    return Together(
        runs,
        max(outcome.config["epochs"] for outcome in read),
        titles[0] if len(titles) == 1 else f"{len(titles)} settings",
        measures[0],
        [
            f"{run.label}, seed {run.seed}, ended early: {run.stopped}."
            for outcome in read
            for run in outcome.runs
            if run.stopped
        ],
    )


def _read(folder: Path) -> outcomes.Outcome:
    files = run_files.load(folder)
    if files.kind not in ("train", "sweep"):
        raise UsageError(
            f"{folder} is a run of {files.kind or 'no command'}; compare those of "
            "train and sweep."
        )
    outcome = outcomes.interpret(files)
    if not outcome.runs:
        raise UsageError(f"{folder} has no run with records yet; let it continue.")
    return outcome
