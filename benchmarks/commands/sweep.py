"""`python -m benchmarks sweep`."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import optimizers, run_dir
from benchmarks.reporting.tables import search_table, sweep_table
from benchmarks.sweep import grid as grids
from benchmarks.sweep import runs, search, storage, tuning, worker
from benchmarks.sweep.config import SweepConfig
from benchmarks.training import setup
from benchmarks.training.objective import Objective
from benchmarks.training.preemption import PreemptedError, Preemption


def run(config: SweepConfig) -> int:
    """Take part in a sweep until all its runs are done, print and write the results.

    A run whose loss is not finite ends there; the others continue.

    Returns:
      The exit status: 0; 1 if a run diverged; 143 if SIGTERM ended the program.

    Raises:
      UsageError: If the grid, the search, the storage or a run is not possible.
    """
    grid, space = grids.read_grid(config), search.read_space(config)
    tuning.check(config, grid)
    planned = search.corners(config.train, space) or tuning.plan(config, grid, {})
    storage.find_url(config, Path())
    layout = setup.set_up_devices(config.train)
    runs.check(planned, layout)
    runs.check_folder(config.train.out)
    folder = run_dir.create_folder(config.train.out, config.study)
    with storage.storage_errors(config), Preemption() as preemption:
        runner = runs.Runner(config, folder, layout, preemption)
        workers = worker.make_workers(config, runner)
        for own in workers:
            own.fill_queue()
        worker.write_settings(config, workers, runner)
        count = sum(len(own.runs) for own in workers)
        more = f", then {config.finals} of each with the best value" * bool(config.tune)
        print(
            f"sweep of {count} runs{more} in {folder}; who starts the same command "
            f"with --out {folder} --resume takes part."
        )
        try:
            worker.work(workers, folder)
        except PreemptedError:
            print(
                "stopped by SIGTERM and saved; the same command with "
                f"--out {folder} --resume continues.",
                file=sys.stderr,
            )
            return 143
        finally:
            results = worker.write_results(workers, folder)
        objective = workers[0].objective
    _show(results, config, objective)
    print(f"runs: {folder / 'sweep.jsonl'}")
    diverged = [result for result in results if result["state"] == "stopped"]
    for result in diverged:
        print(f"{result['run']} ended early: {result['stopped']}.", file=sys.stderr)
    return 1 if diverged else 0


def _show(
    results: Sequence[Mapping[str, Any]], config: SweepConfig, objective: Objective
) -> None:
    if config.search:
        table = search_table(results, config.study, objective.judged, objective.sign)
    else:
        labels = {x: optimizers.lookup(x).label for x in config.train.optimizers}
        table = sweep_table(results, config.study, labels, objective.judged)
    Console().print(table)
