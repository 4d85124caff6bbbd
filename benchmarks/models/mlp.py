"""Dense layers alone: logistic regression, and networks with hidden layers.

Logistic regression and one hidden layer are in the experiments with AdaGrad-Norm on
MNIST (Ward, Wu and Bottou, ICML 2019), two hidden layers of 1000 in those with Adam,
with dropout and without (Kingma and Ba, ICLR 2015, figure 2).
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
      dropout: The probability that an output of a hidden layer is set to zero.
    """

    def __init__(
        self,
        layers: Layers,
        inputs: int,
        hidden: Sequence[int],
        classes: int,
        dropout: float = 0.0,
    ):
        self.hidden = nnx.List()
        for outputs in hidden:
            self.hidden.append(layers.dense(inputs, outputs))
            inputs = outputs
        self.head = layers.head(inputs, classes)
        self.dropouts = nnx.List([layers.dropout(dropout) for _ in hidden if dropout])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map examples (n, ...) to logits (n, classes)."""
        x = x.reshape(len(x), -1)
        for i, dense in enumerate(self.hidden):
            x = nnx.relu(dense(x))
            if self.dropouts:
                x = self.dropouts[i](x)
        return self.head(x)


def mlp(
    hidden: int,
    width: int,
    input_shape: tuple[int, ...],
    classes: int,
    *,
    dropout: float = 0.0,
    **settings: Any,
) -> MLP:
    """Build a number of hidden layers with PyTorch's default initialization."""
    layers = Layers("torch", "torch", **settings)
    return MLP(layers, math.prod(input_shape), [width] * hidden, classes, dropout)


def logistic(
    width: int, input_shape: tuple[int, ...], classes: int, **settings: Any
) -> MLP:
    """Build multinomial logistic regression, which has no width and ignores it."""
    layers = Layers("torch", "torch", **settings)
    return MLP(layers, math.prod(input_shape), [], classes)
