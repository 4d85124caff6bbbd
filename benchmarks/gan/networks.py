"""Generator and discriminator, and their losses.

A convolutional network in the style of Radford, Metz and Chintala, Unsupervised
Representation Learning with Deep Convolutional Generative Adversarial Networks, ICLR
2016, with two convolutions each, resampling instead of strides, and no BatchNorm.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

LATENT = 64
"""Numbers that a generator makes an image of."""


class Generator(nnx.Module):
    """Map normal numbers (n, LATENT) to images (n, 28, 28, 1) in (0, 1)."""

    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Linear(LATENT, 7 * 7 * 32, rngs=rngs)
        self.middle = nnx.Conv(32, 16, (3, 3), rngs=rngs)
        self.last = nnx.Conv(16, 1, (3, 3), rngs=rngs)

    def __call__(self, z: jax.Array) -> jax.Array:
        """Generate images."""
        x = nnx.relu(self.first(z)).reshape(-1, 7, 7, 32)
        x = nnx.relu(self.middle(_enlarge(x)))
        return nnx.sigmoid(self.last(_enlarge(x)))


class Discriminator(nnx.Module):
    """Map images (n, 28, 28, 1) in [0, 1] to logits (n,): positive means real."""

    def __init__(self, rngs: nnx.Rngs):
        self.first = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.middle = nnx.Conv(16, 32, (3, 3), rngs=rngs)
        self.last = nnx.Linear(7 * 7 * 32, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Judge images."""
        x = 2 * x - 1
        for conv in (self.first, self.middle):
            x = _halve(nnx.leaky_relu(conv(x), 0.2))
        return self.last(x.reshape(len(x), -1))[:, 0]


def _enlarge(x: jax.Array) -> jax.Array:
    """Double height and width. A transposed convolution would be slow on CPUs."""
    n, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (n, height, 2, width, 2, channels))
    return x.reshape(n, 2 * height, 2 * width, channels)


def _halve(x: jax.Array) -> jax.Array:
    """Average over 2x2 pixels."""
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def discriminator_loss(real: jax.Array, generated: jax.Array) -> jax.Array:
    """Return the cross-entropy of the logits of real and of generated images.

    >>> float(discriminator_loss(jnp.zeros(2), jnp.zeros(2)) / jnp.log(2))
    2.0
    """
    entropy = optax.sigmoid_binary_cross_entropy
    return (
        entropy(real, jnp.ones_like(real)).mean()
        + entropy(generated, jnp.zeros_like(generated)).mean()
    )


def generator_loss(generated: jax.Array) -> jax.Array:
    """Return the loss of Goodfellow et al. 2014 whose gradient does not vanish.

    >>> float(generator_loss(jnp.zeros(2)) / jnp.log(2))
    1.0
    """
    ones = jnp.ones_like(generated)
    return optax.sigmoid_binary_cross_entropy(generated, ones).mean()
