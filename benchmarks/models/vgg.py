"""Networks in the style of VGG: 3x3 convolutions, BatchNorm, ReLU and max-pooling."""

from collections.abc import Sequence

import jax
from flax import nnx

from benchmarks.models.convolution import conv_general_dilated


class Block(nnx.Module):
    """Convolve 3x3 with a bias, normalise over the batch, and apply ReLU."""

    def __init__(
        self, inputs: int, outputs: int, *, axis_name: str | None, rngs: nnx.Rngs
    ):
        self.conv = nnx.Conv(
            inputs,
            outputs,
            (3, 3),
            kernel_init=nnx.initializers.he_normal(),
            conv_general_dilated=conv_general_dilated,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(outputs, momentum=0.9, axis_name=axis_name, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images (n, height, width, inputs) to (n, height, width, outputs)."""
        return nnx.relu(self.norm(self.conv(x)))


class VGG(nnx.Module):
    """Stages of blocks, the image halved after each, then a mean and a dense layer.

    Args:
      stages: For each stage the output channels of its blocks.
      channels: Channels of the images.
      classes: Number of classes.
      axis_name: The mapped axis over which BatchNorm averages its statistics, if any.
      rngs: The source of the initial weights.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[int]],
        channels: int,
        classes: int,
        *,
        axis_name: str | None,
        rngs: nnx.Rngs,
    ):
        self.stages = nnx.List()
        for outputs in stages:
            blocks = nnx.List()
            for features in outputs:
                blocks.append(Block(channels, features, axis_name=axis_name, rngs=rngs))
                channels = features
            self.stages.append(blocks)
        self.head = nnx.Linear(channels, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images (n, height, width, channels) to logits (n, classes)."""
        for stage in self.stages:
            for block in stage:
                x = block(x)
            x = max_pool(x)
        return self.head(x.mean(axis=(1, 2)))


def max_pool(x: jax.Array) -> jax.Array:
    """Halve images by the maximum over 2x2 windows; an odd last row or column is cut.

    A maximum over two axes of a reshaped array: its gradient is a comparison, which
    XLA fuses, where that of a window reduction is a scatter. This makes an epoch on a
    CPU a quarter shorter.
    """
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    windows = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return windows.max(axis=(2, 4))


def vgg_small(
    width: int, channels: int, classes: int, *, axis_name: str | None, rngs: nnx.Rngs
) -> VGG:
    """Build a VGG of six convolutions: two each of width, 2 * width and 4 * width."""
    stages = [[scale * width] * 2 for scale in (1, 2, 4)]
    return VGG(stages, channels, classes, axis_name=axis_name, rngs=rngs)
