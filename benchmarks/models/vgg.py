"""VGG: stages of 3x3 convolutions, each followed by BatchNorm and ReLU.

Simonyan and Zisserman, ICLR 2015; BatchNorm came later.
"""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from benchmarks.models.layers import ConvNorm, Layers, global_mean, max_pool


class VGG(nnx.Module):
    """Stages of blocks with 2x2 max-pooling after each, then dense layers.

    Args:
      layers: What the layers agree on.
      stages: For each stage the output channels of its blocks.
      input_shape: Height, width and channels of the images.
      classes: Number of classes.
      hidden: Sizes of dense layers before the last. If empty, the last layer takes the
        mean over all pixels, else the first dense layer takes every pixel.
    """

    def __init__(
        self,
        layers: Layers,
        stages: Sequence[Sequence[int]],
        input_shape: tuple[int, int, int],
        classes: int,
        *,
        hidden: Sequence[int] = (),
    ):
        height, width, features = input_shape
        self.stages = nnx.List()
        for outputs in stages:
            blocks = nnx.List()
            for channels in outputs:
                blocks.append(ConvNorm(layers, features, channels, 3, bias=True))
                features = channels
            self.stages.append(blocks)
        if hidden:
            features *= (height >> len(stages)) * (width >> len(stages))
        self.hidden = nnx.List()
        for outputs in hidden:
            self.hidden.append(layers.dense(features, outputs))
            features = outputs
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


def vgg_small(
    width: int, input_shape: tuple[int, int, int], classes: int, **settings: Any
) -> VGG:
    """Build a VGG of six convolutions: two each of width, 2 * width and 4 * width."""
    layers = Layers("he-normal", "lecun-normal", **settings)
    stages = [[scale * width] * 2 for scale in (1, 2, 4)]
    return VGG(layers, stages, input_shape, classes)


def vgg16(
    width: int, input_shape: tuple[int, int, int], classes: int, **settings: Any
) -> VGG:
    """Build the VGG-16 of Padam's experiments: thirteen convolutions, one dense layer.

    On 32x32 images the five poolings leave one pixel. With PyTorch's default
    initialization, and BatchNorm scales of one (PyTorch up to 1.1 drew them from
    U(0, 1)).
    """
    layers = Layers("torch", "torch", **settings)
    return VGG(layers, _sixteen(width), input_shape, classes)


def vgg16_imagenet(
    width: int, input_shape: tuple[int, int, int], classes: int, **settings: Any
) -> VGG:
    """Build torchvision's vgg16_bn: thirteen convolutions, three dense layers.

    With torchvision's initialization, but without its dropout, which would be the only
    randomness in a step.
    """
    layers = Layers("he-normal-fan-out", "gaussian", **settings)
    hidden = [64 * width] * 2
    return VGG(layers, _sixteen(width), input_shape, classes, hidden=hidden)


def _sixteen(width: int) -> list[list[int]]:
    """Return the channels of VGG-16's convolutions (configuration D)."""
    depths = zip((1, 2, 4, 8, 8), (2, 2, 3, 3, 3), strict=True)
    return [[scale * width] * depth for scale, depth in depths]
