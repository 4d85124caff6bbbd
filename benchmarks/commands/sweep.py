"""`python -m benchmarks sweep`."""

import sys

from rich.console import Console

from benchmarks import optimizers, run_dir
from benchmarks.reporting.tables import sweep_table
from benchmarks.sweep import grid as grids
from benchmarks.sweep import tuning, worker
from benchmarks.sweep.config import SweepConfig
from benchmarks.training import setup
from benchmarks.training.preemption import PreemptedError, Preemption


def run(config: SweepConfig) -> int:
    """Take part in a sweep until all its runs are done, print and write the results.

    A run whose loss is not finite ends there; the others continue.

    Returns:
      The exit status: 0; 1 if a run diverged; 143 if SIGTERM ended the program.

    Raises:
      UsageError: If the grid, the storage or a run of the sweep is not possible.
    """
    grid = grids.read_grid(config)
    tuning.check(config, grid)
    runs = tuning.plan(config, grid, {})
    layout = setup.set_up_devices(config.train)
    worker.check(runs, layout)
    folder = run_dir.create_folder(config.train.out, config.study)
    with worker.storage_errors(config), Preemption() as preemption:
        own = worker.Worker(config, grid, folder, layout, preemption)
        own.adopt()
        own.write_settings()
        more = f", then {config.finals} of each with the best value" * bool(config.tune)
        print(
            f"sweep of {len(runs)} runs{more} in {folder}; who starts the same command "
            f"with --out {folder} --resume takes part."
        )
        try:
            own.work()
        except PreemptedError:
            print(
                "stopped by SIGTERM and saved; the same command with "
                f"--out {folder} --resume continues.",
                file=sys.stderr,
            )
            return 143
        finally:
            results = own.write_results()
    labels = {name: optimizers.lookup(name).label for name in config.train.optimizers}
    table = sweep_table(results, config.study, labels, own.judged)
    Console().print(table)
    print(f"runs: {folder / 'sweep.jsonl'}")
    stopped = [result for result in results if result["state"] == "stopped"]
    for result in stopped:
        print(f"{result['run']} ended early: {result['stopped']}.", file=sys.stderr)
    return 1 if stopped else 0
