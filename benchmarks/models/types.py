"""What a network of the benchmarks is."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from flax import nnx


class Model(NamedTuple):
    """One row of the table.

    Attributes:
      build: Takes by name width, input_shape, classes, initializer, dtype, axis_name
        and rngs, all of which layers.Layers explains; with initializer=None
        the weights begin as published. The shape is (height, width, channels) of an
        image or (length,) of a text, and classes of a text are its different tokens.
        The model maps a batch to logits in float32.
      width: The width as published: channels of the first convolution, or units of a
        hidden layer. The other layers grow with it.
      smallest_side: The fewest pixels an image may have along a side; 0 for any input.
      takes: Images (float), or text (integers); None for whatever comes.
      description: One line.
    """

    build: Callable[..., nnx.Module]
    width: int
    smallest_side: int
    takes: Literal["images", "text"] | None
    description: str

    def accepts(self, kind: str, input_shape: tuple[int, ...]) -> bool:
        """Whether the network can take inputs of a kind: see `data.Source`."""
        if kind == "arrays" and self.takes == "images":
            return not self.smallest_side or len(input_shape) == 3
        return self.takes in (None, kind)
