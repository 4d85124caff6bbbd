"""`python -m benchmarks speed`."""

import dataclasses

from rich.console import Console

from benchmarks import run_dir
from benchmarks.errors import check_name
from benchmarks.reporting.plots import step_time as step_time_plots
from benchmarks.step_time.candidates import CANDIDATES, find_shapes
from benchmarks.step_time.compilation import measure_compilation
from benchmarks.step_time.config import SpeedConfig
from benchmarks.step_time.measure import measure, measure_shares
from benchmarks.training.devices import DeviceLayout

# What is measured as the work grows.
_GROWING_TREES = (
    *(f"leaf-{10**k}" for k in range(4, 9)),
    *(f"leaves-{n}" for n in (1, 10, 100, 300, 1000, 3000)),
)
_GROWING = ("adam", "amsgrad", "padam p=1/8", "padam p=0.3", "padam, packed")


def run(config: SpeedConfig) -> int:
    """Measure, write the records, print the table, draw the bars."""
    trees = _GROWING_TREES if config.growth else config.trees
    names = config.optimizers or (_GROWING if config.growth else tuple(CANDIDATES))
    for name in names:
        check_name("--optimizers", name, CANDIDATES)
    always = ("amsgrad",) if config.compilation else ("copy", "adam")
    names = tuple(dict.fromkeys((*always, *names)))
    for tree in trees:
        find_shapes(tree)
    devices, settings = DeviceLayout().describe(), dataclasses.asdict(config)
    folder = run_dir.begin(config.out, "speed", settings, devices, config.seed)
    path, lines = folder / "speed.jsonl", []
    console = Console(width=max(110, Console().width))  # no column is cut
    measurement, table = measure, step_time_plots.speed_table
    if config.compilation:
        measurement, table = measure_compilation, step_time_plots.compilation_table
    for tree in trees:
        lines = run_dir.record(path, measurement(tree, names, config))
        console.print(table([line for line in lines if line["tree"] == tree]))
    if config.compilation:
        run_dir.finish(folder)
        print(f"records: {path}")
        return 0
    plot = folder / "speed.png"
    if config.growth:
        shares = run_dir.record(folder / "shares.jsonl", measure_shares("resnet18"))
        step_time_plots.draw_growth(lines, shares, plot)
    else:
        step_time_plots.draw_speed(lines, plot)
    run_dir.finish(folder)
    print(f"records: {path}\nplot:    {plot}")
    return 0
