"""LeNet-5, with ReLU and max-pooling.

LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998. Their
network has saturating units, pools by weighted averages, and does not connect all
channels in the second convolution.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.models.layers import Layers, max_pool


class LeNet(nnx.Module):
    """Two 5x5 convolutions without padding, each with a pooling; three dense layers.

    `width` is the number of channels of the first convolution, six in LeNet-5.
    """

    def __init__(
        self,
        layers: Layers,
        width: int,
        input_shape: tuple[int, int, int],
        classes: int,
    ):
        *sides, channels = input_shape
        features = [width, width * 16 // 6]
        self.convs = nnx.List(
            [
                layers.conv(channels, features[0], 5, padding=0),
                layers.conv(features[0], features[1], 5, padding=0),
            ]
        )
        height, breadth = (((max(side, 32) - 4) // 2 - 4) // 2 for side in sides)
        self.hidden = nnx.List(
            [
                layers.dense(height * breadth * features[1], 20 * width),
                layers.dense(20 * width, 14 * width),
            ]
        )
        self.head = layers.head(14 * width, classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images (n, height, width, channels) to logits (n, classes)."""
        return self.head(self.features(x))

    def features(self, x: jax.Array) -> jax.Array:
        """Map images to the outputs (n, 14 * width) of the last hidden layer.

        Smaller images are centered in 32x32 zeros, as LeCun did with MNIST.
        """
        missing = [max(32 - side, 0) for side in x.shape[1:3]]
        border = [(pixels // 2, pixels - pixels // 2) for pixels in missing]
        x = jnp.pad(x, ((0, 0), *border, (0, 0)))
        for conv in self.convs:
            x = max_pool(nnx.relu(conv(x)))
        x = x.reshape(len(x), -1)
        for dense in self.hidden:
            x = nnx.relu(dense(x))
        return x
