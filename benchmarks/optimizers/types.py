"""The table entry of an optimizer."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax


class Run(NamedTuple):
    """What an optimizer may need to know about its run."""

    steps: int
    num_examples: int
    seed: int


class Optimizer(NamedTuple):
    """An optimizer of the benchmarks.

    Attributes:
      label: The name in tables and plots.
      formula: The update in one line; g is the gradient, plus decay * θ if the recipe
        has decay.
      source: The source of the formula.
      recipe: The settings of a run on CIFAR: the builder's arguments by name.
      build: Takes the recipe as keywords, with a schedule for the learning rate if
        there is one, and the Run as ``run`` if needs_run is set.
      needs_run: Whether ``build`` takes the Run.
      corrects_before_max: Whether its running maximum is that of v/(1-b2^t).
      takes_schedule: Whether its learning rate may vary; otherwise it is a number.
    """

    label: str
    formula: str
    source: str
    recipe: Mapping[str, Any]
    build: Callable[..., optax.GradientTransformation]
    needs_run: bool = False
    corrects_before_max: bool = False
    takes_schedule: bool = True
