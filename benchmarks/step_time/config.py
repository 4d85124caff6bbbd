"""The settings of `python -m benchmarks speed`."""

import math
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import (
    UsageError,
    check_at_least,
    check_each_once,
    check_out,
    check_seed,
)


@dataclass(frozen=True)
class SpeedConfig:
    """Measure the time and memory of a step of each optimizer.

    All candidates for a tree of parameters are compiled in the same way, with donated
    buffers, and alternate in one process; a measurement covers several steps. Results
    are ratios within a turn.
    """

    trees: tuple[str, ...] = (
        "leaf-11000000",
        "resnet18",
        "vgg16",
        "wrn16-4",
        "transformer",
        "leaves-1000",
    )
    """Trees of parameters: leaf-N is one of N numbers, leaves-N are N of 64; or a
    network: resnet18, vgg16, wrn16-4, resnet50-imagenet, ...; or transformer."""
    optimizers: tuple[str, ...] = ()
    """Which to compare with adam, by their names in the table; by default all."""
    growth: bool = False
    """Measure instead how the cost grows: steps of adam, amsgrad and padam on a leaf of
    1e4 to 1e8 numbers and on 1 to 3000 leaves of 64; and the state on each of 1, 2, 4,
    8 devices that share it, as many as there are."""
    compilation: bool = False
    """Measure instead how long a step takes to compile: CPU time of tracing and
    lowering and of XLA, in turns, compared with amsgrad's."""
    turns: int = 15
    """Measurements of each candidate."""
    seconds: float = 0.1
    """How long one measurement takes at least."""
    seed: int = 0
    """Determines parameters and gradients."""
    out: Path | None = None
    """Folder for the records and the plot; must not hold anything yet. By default
    a new one under runs/, named speed and the time."""

    def __post_init__(self) -> None:
        """Raise an error for settings that cannot be measured."""
        check_each_once("--trees", self.trees)
        if self.optimizers:
            check_each_once("--optimizers", self.optimizers)
        check_at_least("--turns", self.turns, 2)
        if self.growth and self.compilation:
            raise UsageError(
                "--growth and --compilation measure different things; choose one."
            )
        if not 0 < self.seconds < math.inf:
            raise UsageError(f"--seconds must be positive, got {self.seconds}.")
        check_seed(self.seed)
        check_out(self.out)
