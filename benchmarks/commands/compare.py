"""`python -m benchmarks compare`."""

from rich.console import Console

from benchmarks.commands.config import CompareConfig
from benchmarks.reporting import together
from benchmarks.reporting.plots import curves


def run(config: CompareConfig) -> int:
    """Print the table of several runs, and draw their curves."""
    found = together.gather(config.runs)
    runs, measure = found.runs, found.measure
    Console().print(curves.table(runs, found.epochs, found.title, measure))
    for line in found.stopped:
        print(line)
    curves.draw_curves(runs, config.out, found.title, measure)
    print(f"plot: {config.out}")
    return 0
