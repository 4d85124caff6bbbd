"""What there is to choose from, printed."""

from rich.console import Console

from benchmarks import data, models
from benchmarks.optimizers import OPTIMIZERS


def show(what: str) -> None:
    """Print the names of a kind, and of optimizers also what they compute.

    Args:
      what: "optimizers", "models" or "datasets".
    """
    console = Console(highlight=False)
    if what == "optimizers":
        for name, row in OPTIMIZERS.items():
            recipe = ", ".join(f"{key} {value:g}" for key, value in row.recipe.items())
            console.print(f"[bold]{name}[/bold]  ({row.source})")
            console.print(f"    {row.formula}\n    {recipe}", markup=False)
    else:
        names = models.MODELS if what == "models" else data.NAMES
        console.print("\n".join(names))
