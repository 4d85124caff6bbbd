"""Dense layers alone: logistic regression, and a network with a hidden layer.

As in the experiments with AdaGrad-Norm on MNIST: Ward, Wu and Bottou, ICML 2019.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx

from benchmarks.models.layers import Layers


class MLP(nnx.Module):
    """Dense layers with ReLU between them, on inputs of any shape.

    Args:
      layers: What the layers agree on.
      inputs: Numbers in an example.
      hidden: Sizes of all layers but the last.
      classes: Number of classes.
    """

    def __init__(
        self, layers: Layers, inputs: int, hidden: Sequence[int], classes: int
    ):
        self.hidden = nnx.List()
        for outputs in hidden:
            self.hidden.append(layers.dense(inputs, outputs))
            inputs = outputs
        self.head = layers.head(inputs, classes)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map examples (n, ...) to logits (n, classes)."""
        x = x.reshape(len(x), -1)
        for dense in self.hidden:
            x = nnx.relu(dense(x))
        return self.head(x)


def mlp(width: int, input_shape: tuple[int, ...], classes: int, **settings: Any) -> MLP:
    """Build two fully connected layers; the weights begin as PyTorch's by default."""
    layers = Layers("torch", "torch", **settings)
    return MLP(layers, math.prod(input_shape), [width], classes)


def logistic(
    width: int, input_shape: tuple[int, ...], classes: int, **settings: Any
) -> MLP:
    """Build multinomial logistic regression, which has no width and ignores it."""
    layers = Layers("torch", "torch", **settings)
    return MLP(layers, math.prod(input_shape), [], classes)
