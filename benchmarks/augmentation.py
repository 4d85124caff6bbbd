"""Images on the device: shifted and mirrored at random, then normalised."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Draws(NamedTuple):
    """The random choices for a batch of images, each of shape (n,).

    Attributes:
      top: First row of the window in the padded image, in [0, 2 * padding].
      left: First column of the window.
      mirrored: Whether left and right change places.
    """

    top: jax.Array
    left: jax.Array
    mirrored: jax.Array


def draw(key: jax.Array, shape: tuple[int, ...], padding: int, flip: bool) -> Draws:
    """Draw a shift for each image, and whether it is mirrored if `flip` is set.

    Args:
      key: A random key.
      shape: The shape of each of the results.
      padding: Pixels added on each side, at least 0.
      flip: Whether half of the images are mirrored.

    Returns:
      The draws.
    """
    top, left, mirrored = jax.random.split(key, 3)
    ends = (0, 2 * padding + 1)
    return Draws(
        jax.random.randint(top, shape, *ends),
        jax.random.randint(left, shape, *ends),
        jax.random.bernoulli(mirrored, 0.5, shape) & flip,
    )


def augment(images: jax.Array, draws: Draws, padding: int) -> jax.Array:
    """Cut a window of the original size out of each image padded with black.

    Args:
      images: Shape (n, height, width, channels).
      draws: One draw for each image, made with the same padding.
      padding: Pixels added on each side.

    Returns:
      Images of the same shape and dtype.
    """
    sides = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(images, sides)

    def window(image, top, left):
        start = (top, left, jnp.zeros_like(top))
        return jax.lax.dynamic_slice(image, start, images.shape[1:])

    cut = jax.vmap(window)(padded, draws.top, draws.left)
    return jnp.where(draws.mirrored[:, None, None, None], cut[:, :, ::-1], cut)


def normalise(
    images: jax.Array, mean: tuple[float, ...], std: tuple[float, ...]
) -> jax.Array:
    """Bring uint8 images to mean 0 and deviation 1 in each channel.

    Args:
      images: Shape (n, height, width, channels), uint8.
      mean: Of each channel over the training set, on the scale from 0 to 1.
      std: The standard deviation, likewise.

    Returns:
      Images of the same shape, float32.
    """
    scaled = images.astype(jnp.float32) / 255.0
    return (scaled - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)
