"""The least data and network with which a whole run shows what runs do."""

import jax
import numpy as np
from flax import nnx


def images():
    """Return 600 images of noise in ten classes, and 100 to test with."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (700, 4, 4, 1), dtype=np.uint8)
    labels = (np.arange(700) % 10).astype(np.int32)
    return (inputs[:600], labels[:600]), (inputs[600:], labels[600:])


class Network(nnx.Module):
    """A dense layer with BatchNorm, whose statistics belong to the state, and one."""

    def __init__(self, classes: int, *, rngs: nnx.Rngs):
        self.first = nnx.Linear(16, 8, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.last = nnx.Linear(8, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.first(x.reshape(len(x), -1))
        return self.last(nnx.relu(self.norm(x)))


DATA = f"{__name__}:images"
OPTIONS = (
    *("--dataset", DATA),
    *("--model", f"{__name__}:Network"),
    *("--batch-size", "120"),
)
