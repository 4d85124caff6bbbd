"""`python -m benchmarks regret`."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from tqdm import tqdm

from benchmarks import run_dir
from benchmarks.online.config import RegretConfig
from benchmarks.online.examples import EXAMPLES
from benchmarks.online.games import GAMES
from benchmarks.online.play import compare
from benchmarks.reporting.plots import regret as regret_plots
from benchmarks.training.devices import DeviceLayout


def run(config: RegretConfig) -> int:
    """Play the games, write the records, print the table, draw the plots."""
    devices = DeviceLayout(count=1).describe()
    folder = run_dir.begin(config.out, "regret", asdict(config), devices, config.seed)

    def play(name: str) -> Iterator[dict[str, Any]]:
        if name in EXAMPLES:
            return EXAMPLES[name](config)
        return compare(name, GAMES[name](config), config)

    lines = {
        name: run_dir.record(folder / f"{name}.jsonl", play(name))
        for name in tqdm(config.games, unit="game", disable=None)
    }
    run_dir.finish(folder)
    console = Console()
    print(f"records: {folder}")
    for name, table, draw in regret_plots.pictures(lines):
        if table:
            console.print(table)
        draw(folder / f"{name}.png")
        print(f"plot:    {folder / name}.png")
    return 0
