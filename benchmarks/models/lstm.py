"""A character-level language model: embedding, LSTM layers, a dense layer.

Hochreiter and Schmidhuber, 1997, with the forget gate of Gers et al., 2000.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from benchmarks.models.layers import Layers


class LSTM(nnx.Module):
    """One LSTM layer, with initial state h = c = 0.

    i, f, o = σ(x W + h U + b) and g = tanh(x W + h U + b), each with its own W, U, b; c
    = f c + i g and h = o tanh(c). PyTorch has two biases, of which only the sum
    matters. The matrices of each gate are initialized separately; c is float32.
    """

    def __init__(self, layers: Layers, inputs: int, outputs: int):
        self.input = layers.dense(inputs, 4 * outputs, blocks=4)
        self.recurrent = layers.dense(outputs, 4 * outputs, bias=False, blocks=4)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x (n, length, inputs) to h (n, length, outputs)."""
        gates = self.input(x)  # of all steps at once, outside the loop
        u = self.recurrent.kernel[...].astype(gates.dtype)

        def step(carry, gates):
            c, h = carry
            gates = (gates + h @ u).astype(jnp.float32)
            i, f, g, o = jnp.split(gates, 4, axis=-1)
            c = nnx.sigmoid(f) * c + nnx.sigmoid(i) * jnp.tanh(g)
            h = (nnx.sigmoid(o) * jnp.tanh(c)).astype(h.dtype)
            return (c, h), h

        shape = (len(x), len(u))
        start = jnp.zeros(shape, jnp.float32), jnp.zeros(shape, gates.dtype)
        _, h = lax.scan(step, start, gates.swapaxes(0, 1))
        return h.swapaxes(0, 1)


class LanguageModel(nnx.Module):
    """Predict the next token at every position of a text of any length.

    The embedding and each of the LSTM layers, so many as `depth`, have this width.
    """

    def __init__(
        self,
        layers: Layers,
        width: int,
        input_shape: tuple[int],
        classes: int,
        *,
        depth: int,
    ):
        del input_shape
        self.embedding = nnx.Embed(
            classes,
            width,
            dtype=layers.dtype,
            embedding_init=nnx.initializers.normal(1.0),
            rngs=layers.rngs,
        )
        self.lstms = nnx.List([LSTM(layers, width, width) for _ in range(depth)])
        self.head = layers.head(width, classes)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Map tokens (n, length), any integers, to logits (n, length, classes)."""
        x = self.embedding(tokens)
        for lstm in self.lstms:
            x = lstm(x)
        return self.head(x)
