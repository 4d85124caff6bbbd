"""The convolutional network of Adam's paper, c64-c64-c128-1000.

Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015, figure 3: three
stages of 5x5 convolutions and 3x3 max-pooling with stride 2, and a dense layer of 1000
units. Their dropout is on the input and on the dense layer.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.models.layers import Layers


class AdamCNN(nnx.Module):
    """Three convolutions with ReLU and pooling, and two dense layers.

    `width` is the number of channels of the first two convolutions, 64 as published;
    the others and the dense layer are in proportion. `dropout` is the probability that
    a pixel's channel or a dense unit is set to zero.
    """

    def __init__(
        self,
        layers: Layers,
        width: int,
        input_shape: tuple[int, int, int],
        classes: int,
        *,
        dropout: float = 0.0,
    ):
        height, breadth, channels = input_shape
        self.convs = nnx.List()
        for outputs in (width, width, 2 * width):
            self.convs.append(layers.conv(channels, outputs, 5))
            channels = outputs
            height, breadth = (height + 1) // 2, (breadth + 1) // 2
        units = max(1, width * 1000 // 64)
        self.hidden = layers.dense(height * breadth * channels, units)
        self.head = layers.head(units, classes)
        self.dropouts = nnx.List([layers.dropout(dropout) for _ in "io" if dropout])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images (n, height, width, channels) to logits (n, classes)."""
        if self.dropouts:
            x = self.dropouts[0](x)
        for conv in self.convs:
            x = max_pool_3x3(nnx.relu(conv(x)))
        x = nnx.relu(self.hidden(x.reshape(len(x), -1)))
        if self.dropouts:
            x = self.dropouts[1](x)
        return self.head(x)


def max_pool_3x3(x: jax.Array) -> jax.Array:
    """Apply 3x3 max-pooling with stride 2 and padding 1.

    This is a maximum over shifted rows, then over shifted columns: its gradient is a
    comparison, as in `layers.max_pool`.
    """
    for axis in (1, 2):
        length = x.shape[axis]
        border = [(0, 0)] * x.ndim
        border[axis] = (1, 1)
        padded = jnp.pad(x, border, constant_values=-jnp.inf)
        shifted = [
            jax.lax.slice_in_dim(padded, i, i + length, 2, axis) for i in range(3)
        ]
        x = jnp.stack(shifted).max(axis=0)
    return x
