"""`python -m benchmarks landscape`."""

from dataclasses import asdict

from rich.console import Console
from tqdm import tqdm

from benchmarks import run_dir
from benchmarks.landscape.config import LandscapeConfig
from benchmarks.landscape.descend import compare
from benchmarks.landscape.surfaces import SURFACES, panel
from benchmarks.reporting.plots import landscape as landscape_plots
from benchmarks.training.devices import DeviceLayout


def run(config: LandscapeConfig) -> int:
    """Run the optimizers, write the records, print the table, draw the plots."""
    devices = DeviceLayout(count=1).describe()
    folder = run_dir.begin(
        config.out, "landscape", asdict(config), devices, config.seed
    )

    lines = {
        name: run_dir.record(
            folder / f"{name}.jsonl", compare(name, SURFACES[name], config)
        )
        for name in tqdm(config.surfaces, unit="surface", disable=None)
    }
    run_dir.finish(folder)
    Console().print(landscape_plots.landscape_table(lines))
    panels = {name: panel(SURFACES[name]) for name in config.surfaces}
    landscape_plots.draw_landscapes(panels, lines, folder / "landscape.png")
    print(f"records: {folder}\nplot:    {folder / 'landscape.png'}")
    if config.gif:
        landscape_plots.animate_landscapes(panels, lines, folder / "landscape.gif")
        print(f"         {folder / 'landscape.gif'}")
    return 0
