"""The networks, by the names they have on the command line."""

from collections.abc import Callable
from typing import NamedTuple

from flax import nnx

from benchmarks.config import check_name
from benchmarks.models.vgg import vgg_small


class Model(NamedTuple):
    """One row of the table.

    Attributes:
      build: Takes width, channels and classes, and by name axis_name and rngs.
      smallest_side: The fewest pixels an image may have along a side.
    """

    build: Callable[..., nnx.Module]
    smallest_side: int


MODELS: dict[str, Model] = {"vgg-small": Model(vgg_small, smallest_side=8)}


def lookup(name: str) -> Model:
    """Find a network by its name on the command line."""
    check_name("--model", name, MODELS)
    return MODELS[name]
