"""Run the studies, write their records, print their tables, draw their plots."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from tqdm import tqdm

from benchmarks import run_dir
from benchmarks.reporting.plots import theory as drawings
from benchmarks.theory import (
    adagrad_norm,
    condition_number,
    least_squares,
    nonconvex,
    step_size,
)
from benchmarks.theory.config import TheoryConfig
from benchmarks.training.devices import DeviceLayout

# Each takes the number of seeds, for which it has a default, and yields records.
STUDIES: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "least-squares": least_squares.run,
    "condition-number": condition_number.run,
    "adagrad-norm": adagrad_norm.run,
    "nonconvex": nonconvex.run,
    "step-size": step_size.run,
}


def run(config: TheoryConfig) -> int:
    """Run the studies that the settings name."""
    devices = DeviceLayout(count=1).describe()
    folder = run_dir.begin(config.out, "theory", asdict(config), devices, 0)
    console = Console()
    for name in config.studies:
        begun = time.perf_counter()
        found = STUDIES[name](**({"seeds": config.seeds} if config.seeds else {}))
        progress = tqdm(found, name, unit=" records", disable=None)
        lines = run_dir.record(folder / f"{name}.jsonl", progress)
        console.print(drawings.TABLES[name](lines))
        drawings.DRAWINGS[name](lines, folder / f"{name}.png")
        console.print(f"{name}: {time.perf_counter() - begun:.0f} s")
    run_dir.finish(folder)
    console.print(f"records and plots: {folder}")
    return 0
