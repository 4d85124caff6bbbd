"""What an optimizer of the benchmarks is."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax


class Run(NamedTuple):
    """What an optimizer may need to know of the run it is made for.

    Attributes:
      steps: Steps of the whole run.
      num_examples: Size of the training set.
      seed: Seed of the run.
    """

    steps: int
    num_examples: int
    seed: int


class Optimizer(NamedTuple):
    """One row of the table.

    Attributes:
      label: The name in tables and plots.
      formula: What a step does, in a line; g is the gradient, decay * θ added, if the
        recipe has decay.
      source: Who writes it so.
      recipe: The settings of a run on CIFAR: the builder's arguments by name.
      build: Takes the recipe, with a schedule in place of the learning rate if it has
        one, and, as `run`, the Run if needs_run is set.
      needs_run: Whether it does.
      corrects_before_max: Whether its running maximum is that of v/(1-b2^t).
      takes_schedule: Whether its learning rate may vary; otherwise it gets a number.
    """

    label: str
    formula: str
    source: str
    recipe: Mapping[str, Any]
    build: Callable[..., optax.GradientTransformation]
    needs_run: bool = False
    corrects_before_max: bool = False
    takes_schedule: bool = True
