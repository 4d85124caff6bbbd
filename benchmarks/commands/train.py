"""`python -m benchmarks train`."""

import sys

from rich.console import Console

from benchmarks.reporting import measures
from benchmarks.reporting.plots import curves
from benchmarks.training.config import TrainConfig
from benchmarks.training.driver import train_all


def run(config: TrainConfig) -> int:
    """Train with each optimizer and seed, print the table, draw the curves.

    Returns:
      The exit status: 0; 1 if a run diverged; 143 if SIGTERM ended the program.
    """
    if config.profile:
        from benchmarks.training.profiling import profile

        return profile(config)
    trained = train_all(config)
    folder = trained.folder
    if trained.is_primary and trained.preempted is not None:
        print(
            f"stopped by SIGTERM and saved: {trained.preempted}. The same command with "
            f"--out {folder} --resume continues.",
            file=sys.stderr,
        )
    elif trained.is_primary:
        title = f"{config.dataset}, {config.model}, {config.epochs} epochs"
        measure = measures.measure_for(trained.settings, config.evaluated)
        Console().print(curves.table(trained.runs, config.epochs, title, measure))
        curves.draw_curves(trained.runs, folder / "curves.png", title, measure)
        print(f"records: {folder}\nplot:    {folder / 'curves.png'}")
        for line in trained.diverged:
            print(line, file=sys.stderr)
    if trained.preempted is not None:
        return 143
    return 1 if trained.diverged else 0
