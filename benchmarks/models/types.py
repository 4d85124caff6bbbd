"""The table entry of a network."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from flax import nnx


class Model(NamedTuple):
    """A network of the benchmarks.

    Attributes:
      build: Takes the keywords width, input_shape, classes, initializer, dtype,
        axis_name and rngs, explained in `layers.Layers`; initializer=None is the
        published initialization. The shape is (height, width, channels) of an image or
        (length,) of a text; the classes of a text are its tokens. The model maps a
        batch to logits in float32.
      width: The published width: channels of the first convolution, or units of a
        hidden layer. The other layers scale with it.
      smallest_side: The smallest height and width of an image; 0 for any input.
      description: One line.
      takes: "images" (float) or "text" (integers); None for any input.
    """

    build: Callable[..., nnx.Module]
    width: int
    smallest_side: int
    description: str
    takes: Literal["images", "text"] | None = "images"

    def accepts(self, kind: str, input_shape: tuple[int, ...]) -> bool:
        """Whether the network can take inputs of a kind: see `data.Source`."""
        if kind == "arrays" and self.takes == "images":
            return not self.smallest_side or len(input_shape) == 3
        return self.takes in (None, kind)
