"""Residual networks: BatchNorm after each convolution, ReLU after each sum.

He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx

from benchmarks.models.layers import ConvNorm, Layers, global_mean


class Block(nnx.Module):
    """Convolutions with ReLU between them, a shortcut around them, ReLU on their sum.

    The shortcut is the identity where that is possible, else a 1x1 convolution. `convs`
    are output channels, side of the window and stride of each convolution.
    """

    def __init__(
        self, layers: Layers, inputs: int, convs: Sequence[tuple[int, int, int]]
    ):
        self.convs, features = nnx.List(), inputs
        for outputs, side, stride in convs:
            conv = ConvNorm(layers, features, outputs, side, stride=stride)
            self.convs.append(conv)
            features = outputs
        self.outputs = features
        stride = math.prod(stride for _, _, stride in convs)
        if inputs == features and stride == 1:
            self.shortcut = None
        else:
            self.shortcut = ConvNorm(layers, inputs, features, 1, stride=stride)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images (n, height, width, inputs) to (n, ..., ..., outputs)."""
        *first, last = self.convs
        y = x
        for conv in first:
            y = nnx.relu(conv(y))
        return nnx.relu(last(y) + (x if self.shortcut is None else self.shortcut(x)))


def basic(layers: Layers, inputs: int, width: int, stride: int) -> Block:
    """Build a block of two 3x3 convolutions, the first with the stride."""
    return Block(layers, inputs, [(width, 3, stride), (width, 3, 1)])


def bottleneck(layers: Layers, inputs: int, width: int, stride: int) -> Block:
    """Build a block of 1x1, 3x3 and 1x1 convolutions, the last four times as wide.

    The stride is that of the 3x3 convolution; the paper has it in the first.
    """
    return Block(layers, inputs, [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)])


class ResNet(nnx.Module):
    """A convolution, stages of blocks, the mean over all pixels, a dense layer.

    Each stage after the first begins with stride 2 and doubles the width. A `large`
    network begins as for ImageNet: 7x7 with stride 2, then a maximum over 3x3 windows
    with stride 2; others with 3x3.
    """

    def __init__(
        self,
        layers: Layers,
        width: int,
        input_shape: tuple[int, int, int],
        classes: int,
        *,
        block: Callable[[Layers, int, int, int], Block],
        depths: Sequence[int],
        large: bool = False,
    ):
        self.large = large
        side, stride = (7, 2) if large else (3, 1)
        self.stem = ConvNorm(layers, input_shape[-1], width, side, stride=stride)
        self.blocks, features = nnx.List(), width
        for stage, depth in enumerate(depths):
            for number in range(depth):
                stride = 2 if stage > 0 and number == 0 else 1
                self.blocks.append(block(layers, features, 2**stage * width, stride))
                features = self.blocks[-1].outputs
        self.head = layers.head(features, classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images (n, height, width, channels) to logits (n, classes)."""
        x = nnx.relu(self.stem(x))
        if self.large:
            padding: Any = ((1, 1), (1, 1))  # Flax declares a string alone
            x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=padding)
        for block in self.blocks:
            x = block(x)
        return self.head(global_mean(x))
