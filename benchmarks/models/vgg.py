"""VGG: stages of 3x3 convolutions, each followed by BatchNorm and ReLU.

Simonyan and Zisserman, ICLR 2015; BatchNorm came later, with scales of one (PyTorch up
to 1.1 drew them from U(0, 1)).
"""

from collections.abc import Sequence

import jax
from flax import nnx

from benchmarks.models.layers import ConvNorm, Layers, global_mean, max_pool


class VGG(nnx.Module):
    """Stages of blocks with 2x2 max-pooling after each, then dense layers.

    Args:
      layers: See `Layers`.
      width: The unit of the two options below.
      input_shape: Height, width and channels of the images.
      classes: Number of classes.
      stages: For each stage the output channels of its blocks.
      hidden: Sizes of dense layers before the last. If empty, the last layer takes the
        mean over all pixels, else the first dense layer takes every pixel.
    """

    def __init__(
        self,
        layers: Layers,
        width: int,
        input_shape: tuple[int, int, int],
        classes: int,
        *,
        stages: Sequence[Sequence[int]],
        hidden: Sequence[int] = (),
    ):
        height, breadth, features = input_shape
        self.stages = nnx.List()
        for scales in stages:
            blocks = nnx.List()
            for scale in scales:
                blocks.append(ConvNorm(layers, features, scale * width, 3, bias=True))
                features = scale * width
            self.stages.append(blocks)
        if hidden:
            features *= (height >> len(stages)) * (breadth >> len(stages))
        self.hidden = nnx.List()
        for scale in hidden:
            self.hidden.append(layers.dense(features, scale * width))
            features = scale * width
        self.head = layers.head(features, classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images (n, height, width, channels) to logits (n, classes)."""
        for stage in self.stages:
            for block in stage:
                x = nnx.relu(block(x))
            x = max_pool(x)
        x = x.reshape(len(x), -1) if self.hidden else global_mean(x)
        for dense in self.hidden:
            x = nnx.relu(dense(x))
        return self.head(x)
