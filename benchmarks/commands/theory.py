"""Run the studies, write their records, print their tables, draw their plots."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

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


class Study(NamedTuple):
    """How a study is run.

    Attributes:
      run: Takes the number of seeds and yields records.
      seeds: That number, if the user asks for no other.
    """

    run: Callable[[int], Iterator[dict[str, Any]]]
    seeds: int


STUDIES = {
    "least-squares": Study(least_squares.run, least_squares.SEEDS),
    "condition-number": Study(condition_number.run, condition_number.SEEDS),
    "adagrad-norm": Study(adagrad_norm.run, adagrad_norm.SEEDS),
    "nonconvex": Study(nonconvex.run, nonconvex.SEEDS),
    "step-size": Study(step_size.run, 1),
}


def run(config: TheoryConfig) -> int:
    """Run the studies that the settings name.

    Returns:
      The exit status, 0.
    """
    devices = DeviceLayout(count=1).describe()
    folder = run_dir.begin(config.out, "theory", asdict(config), devices, 0)
    console = Console()
    for name in config.studies:
        study, begun = STUDIES[name], time.perf_counter()
        path = folder / f"{name}.jsonl"
        for record in tqdm(
            study.run(config.seeds or study.seeds), name, unit=" records", disable=None
        ):
            run_dir.append(path, record)
        lines = run_dir.read(path)
        console.print(drawings.TABLES[name](lines))
        drawings.DRAWINGS[name](lines, folder / f"{name}.png")
        console.print(f"{name}: {time.perf_counter() - begun:.0f} s")
    run_dir.finish(folder)
    console.print(f"records and plots: {folder}")
    return 0
