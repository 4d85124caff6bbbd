"""`python -m benchmarks list`: what there is to choose from."""

from rich.console import Console

from benchmarks import data
from benchmarks.commands.config import ListConfig
from benchmarks.experiments import EXPERIMENTS, gpu_commands
from benchmarks.models import MODELS
from benchmarks.models.initializers import INITIALIZERS
from benchmarks.optimizers import OPTIMIZERS


def run(config: ListConfig) -> int:
    """Print the names of a kind, and what each is."""
    what = config.what
    console = Console(highlight=False)

    def entry(name: str, *lines: str) -> None:
        console.print(f"[bold]{name}[/bold]")
        for line in lines:
            console.print(f"    {line}", markup=False, soft_wrap=True)

    if what == "experiments":
        for name, row in EXPERIMENTS.items():
            of = row.config
            run = f"{of.model} on {of.dataset}: {', '.join(of.optimizers)}"
            grid = f"; sweep over {' '.join(row.grid)}" if row.grid else ""
            entry(
                name,
                run + grid,
                f"shows: {row.shows}",
                f"expected: {row.expected}",
                f"what counts: {row.better}",
                f"cost: {row.budget}",
            )
    elif what == "gpu":
        for command in gpu_commands():
            console.print("python -m benchmarks", *command, soft_wrap=True)
    elif what == "optimizers":
        for name, row in OPTIMIZERS.items():
            recipe = ", ".join(
                f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
                for key, value in row.recipe.items()
            )
            entry(f"{name}[/bold]  ({row.source})[bold]", row.formula, recipe)
    elif what == "models":
        for name, row in MODELS.items():
            entry(name, f"{row.description}; width {row.width}, takes {row.takes}")
    elif what == "initializers":
        for name, row in INITIALIZERS.items():
            entry(name, row.description)
    else:
        console.print("\n".join(data.NAMES))
    return 0
