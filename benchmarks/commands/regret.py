"""`python -m benchmarks regret`."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from tqdm import tqdm

from benchmarks import run_dir
from benchmarks.errors import check_name
from benchmarks.online.config import RegretConfig
from benchmarks.online.examples import EXAMPLES
from benchmarks.online.games import GAMES
from benchmarks.online.play import METHODS, compare
from benchmarks.reporting.plots import regret as regret_plots
from benchmarks.training.devices import DeviceLayout


def run(config: RegretConfig) -> int:
    """Play the games, write the records, print the table, draw the plots.

    Returns:
      The exit status, 0.
    """
    for name in config.games:
        check_name("--games", name, (*GAMES, *EXAMPLES))
    for name in config.optimizers:
        check_name("--optimizers", name, METHODS)
    devices = DeviceLayout(count=1).describe()
    folder = run_dir.begin(config.out, "regret", asdict(config), devices, config.seed)

    lines: dict[str, list[dict[str, Any]]] = {}
    for name in tqdm(config.games, unit="game", disable=None):
        lines[name] = []
        if name in GAMES:
            found = compare(name, GAMES[name](config), config)
        else:
            found = EXAMPLES[name](config)
        for record in found:
            run_dir.append(folder / f"{name}.jsonl", record)
            lines[name].append(record)

    run_dir.finish(folder)
    console = Console()
    print(f"records: {folder}")
    for name, table, draw in regret_plots.pictures(lines):
        if table:
            console.print(table)
        draw(folder / f"{name}.png")
        print(f"plot:    {folder / name}.png")
    return 0
