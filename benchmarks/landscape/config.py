"""The settings of `python -m benchmarks landscape`."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import (
    check_at_least,
    check_each_once,
    check_names,
    check_out,
    check_rates,
    check_seed,
)
from benchmarks.landscape.surfaces import SURFACES

# Rows of the table of optimizers, with Optax's defaults where recipes differ.
OPTIMIZERS: dict[str, tuple[str, dict[str, float]]] = {
    "sgd": ("sgd", {}),
    "momentum": ("momentum", {}),
    "nesterov": ("nesterov", {}),
    "adagrad": ("adagrad", {"eps": 0.0}),
    "rmsprop": ("rmsprop", {}),
    "adadelta": ("adadelta", {}),
    "adam": ("adam", {"b2": 0.999}),
    "amsgrad": ("amsgrad", {"b2": 0.999}),
    "padam-1/4": ("padam-uncorrected", {"p": 1 / 4}),
    "padam-1/8": ("padam-uncorrected", {"p": 1 / 8}),
}


@dataclass(frozen=True)
class LandscapeConfig:
    """Draw the optimizers' trajectories on five surfaces, as PNG and animated GIF.

    Beale's and Rosenbrock's valleys, a saddle, a ravine of condition number 100 and a
    valley with gradient noise. Each optimizer tries every learning rate on every
    surface; all are recorded, and the one with the lowest mean logarithm of the loss is
    drawn.
    """

    surfaces: tuple[str, ...] = tuple(SURFACES)
    """The surfaces to draw."""
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)
    """The optimizers to compare."""
    learning_rates: tuple[float, ...] = (
        1e-4,
        3e-4,
        1e-3,
        3e-3,
        1e-2,
        3e-2,
        0.1,
        0.3,
        1.0,
        3.0,
        10.0,
    )
    """The learning rates that each optimizer tries."""
    steps: int = 300
    """Steps of each trajectory."""
    seeds: int = 20
    """Draws of the noise, the same for all optimizers; the first is drawn."""
    seed: int = 0
    """The first of the seeds."""
    gif: bool = True
    """Also write the animation."""
    out: Path | None = None
    """Folder for the records and the plots; must not hold anything yet. By default
    a new one under runs/, named landscape and the time."""

    def __post_init__(self) -> None:
        """Raise an error for settings that cannot be drawn."""
        check_names("--surfaces", self.surfaces, SURFACES)
        check_names("--optimizers", self.optimizers, OPTIMIZERS)
        check_each_once("--learning-rates", self.learning_rates)
        check_rates(self.learning_rates)
        check_at_least("--steps", self.steps, 10)
        check_at_least("--seeds", self.seeds, 1)
        check_seed(self.seed, self.seeds)
        check_out(self.out)
