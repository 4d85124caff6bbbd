"""The settings of `python -m benchmarks gan`."""

import math
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import (
    UsageError,
    check_at_least,
    check_each_once,
    check_names,
    check_seed,
)

# Rows of the table of optimizers, one for each exponent.
OPTIMIZERS = ("momentum", "adam", "padam-p0.5", "padam-p0.25", "padam-p0.125")


@dataclass(frozen=True)
class GanConfig:
    """Train a generative adversarial network on MNIST with each optimizer.

    Generator and discriminator have an optimizer of the same kind and learning rate.
    The learning rate of each optimizer is tuned on validation images, beyond the grid
    while the best is at its edge; finals with other seeds are compared with the test
    images. The measure is the Fréchet distance between the features of generated and
    of real images, those of a LeNet that is trained first. Lower is better.
    """

    data_dir: Path | None = None
    """Where TFDS finds MNIST; see `python -m benchmarks prepare mnist`."""
    optimizers: tuple[str, ...] = OPTIMIZERS
    """The optimizers to compare."""
    factors: tuple[float, ...] = (0.1, 0.316, 1.0, 3.16)
    """The learning rates to start with, as multiples of that in the recipe."""
    momentum: float = 0.5
    """Decay rate of the first moment of all, in [0, 1). Radford et al. 2016 found 0.9
    unstable."""
    steps: int = 3000
    """Steps of each of the two networks."""
    batch_size: int = 64
    """Images of each step, real ones and generated ones."""
    evaluations: int = 10
    """How often the distance is measured, evenly over the steps."""
    examples: int = 10_000
    """Images that a distance compares, as many generated as real ones."""
    seeds: int = 3
    """Finals of each optimizer, with the seeds 0, 1, ..."""
    seed: int = 100
    """The seed that tunes; larger than those of the finals."""
    out: Path | None = None
    """Folder for the records and the plot. By default a new one under runs/, named gan
    and the time."""
    resume: bool = False
    """Continue in --out. Runs that have ended are not repeated; the one that was under
    way starts again."""

    def __post_init__(self) -> None:
        """Raise an error for settings that are not possible."""
        check_names("--optimizers", self.optimizers, OPTIMIZERS)
        check_each_once("--factors", self.factors)
        if len(self.factors) < 2 or not all(0 < x < math.inf for x in self.factors):
            given = " ".join(map(str, self.factors))
            raise UsageError(f"--factors takes two or more positive ones, got {given}.")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"--momentum must be in [0, 1), got {self.momentum}.")
        check_at_least("--batch-size", self.batch_size, 1)
        check_at_least("--evaluations", self.evaluations, 1)
        check_at_least("--steps", self.steps, self.evaluations)
        check_at_least("--examples", self.examples, 100)
        check_at_least("--seeds", self.seeds, 1)
        check_seed(self.seed)
        if self.steps % self.evaluations:
            raise UsageError(
                f"--steps must be a multiple of --evaluations, {self.evaluations}, got "
                f"{self.steps}."
            )
        if self.seed < self.seeds:
            raise UsageError(
                f"--seed must be at least {self.seeds}, the number of --seeds, which "
                f"begin at 0, got {self.seed}: tuning needs another seed."
            )
