"""Dense layers alone: logistic regression, and networks with hidden layers.

Logistic regression and one hidden layer are in the experiments with AdaGrad-Norm on
MNIST (Ward, Wu and Bottou, ICML 2019), two hidden layers of 1000 in those with Adam,
with dropout and without (Kingma and Ba, ICLR 2015, figure 2).
"""

import math

import jax
from flax import nnx

from benchmarks.models.layers import Layers


class MLP(nnx.Module):
    """Dense layers with ReLU between them, on inputs of any shape.

    `hidden` is the number of layers of this width before the last; `dropout` is the
    probability that one of their outputs is set to zero.
    """

    def __init__(
        self,
        layers: Layers,
        width: int,
        input_shape: tuple[int, ...],
        classes: int,
        *,
        hidden: int,
        dropout: float = 0.0,
    ):
        inputs = math.prod(input_shape)
        self.hidden = nnx.List()
        for _ in range(hidden):
            self.hidden.append(layers.dense(inputs, width))
            inputs = width
        self.head = layers.head(inputs, classes)
        drops = range(hidden if dropout else 0)
        self.dropouts = nnx.List([layers.dropout(dropout) for _ in drops])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map examples (n, ...) to logits (n, classes)."""
        x = x.reshape(len(x), -1)
        for i, dense in enumerate(self.hidden):
            x = nnx.relu(dense(x))
            if self.dropouts:
                x = self.dropouts[i](x)
        return self.head(x)
