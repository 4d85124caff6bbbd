"""Turn examples into the inputs of a network, on the device."""

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Draws(NamedTuple):
    """The random choices for a batch of images, each of shape (n,), or None if unused.

    Attributes:
      top: First row of the window in the padded image, in [0, 2 * padding].
      left: First column of the window.
      mirrored: Whether to flip the image horizontally.
    """

    top: jax.Array | None = None
    left: jax.Array | None = None
    mirrored: jax.Array | None = None


@dataclass(frozen=True)
class Pixels:
    """Images shifted and flipped at random, then normalized.

    Attributes:
      mean: The mean of each channel over the training set, for pixels from 0 to 1.
      std: The standard deviation of each channel, likewise.
      padding: Black pixels added on each side before cropping; 0 for none.
      flip: Whether to flip half of the images.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    padding: int
    flip: bool

    def without_augmentation(self) -> "Pixels":
        """Return a copy that only normalizes."""
        return dataclasses.replace(self, padding=0, flip=False)

    def draw(self, key: jax.Array, shape: tuple[int, ...]) -> Draws:
        """Draw a shift for each image, and whether it is flipped, if that is needed."""
        top_key, left_key, mirrored_key = jax.random.split(key, 3)
        top = left = mirrored = None
        if self.padding:
            ends = (0, 2 * self.padding + 1)
            top = jax.random.randint(top_key, shape, *ends)
            left = jax.random.randint(left_key, shape, *ends)
        if self.flip:
            mirrored = jax.random.bernoulli(mirrored_key, 0.5, shape)
        return Draws(top, left, mirrored)

    def train(self, inputs: jax.Array, draws: Draws) -> jax.Array:
        """Crop each padded image to the original size, and normalize."""
        if not (self.padding or self.flip):
            return self.test(inputs)
        sides = ((0, 0), (self.padding,) * 2, (self.padding,) * 2, (0, 0))
        padded = jnp.pad(inputs, sides)
        top = left = jnp.zeros(len(inputs), jnp.int32)
        if draws.top is not None and draws.left is not None:
            top, left = draws.top, draws.left
        # One slice selects both the flip and the window: a gather by pixel, as XLA
        # compiles it for the CPU, is five times as slow.
        views, view = padded[:, None], jnp.zeros_like(top)
        if draws.mirrored is not None:
            views = jnp.stack([padded, padded[:, :, ::-1]], axis=1)
            view = draws.mirrored.astype(top.dtype)
            left = jnp.where(draws.mirrored, 2 * self.padding - left, left)

        def window(views, *start):
            start = (*start, jnp.zeros_like(start[0]))
            return jax.lax.dynamic_slice(views, start, (1, *inputs.shape[1:]))[0]

        return self.test(jax.vmap(window)(views, view, top, left))

    def test(self, inputs: jax.Array) -> jax.Array:
        """Normalize 8-bit images to mean 0 and standard deviation 1 in each channel."""
        scale = jnp.asarray([1 / (255 * s) for s in self.std], jnp.float32)
        offset = [-m / s for m, s in zip(self.mean, self.std, strict=True)]
        return inputs.astype(jnp.float32) * scale + jnp.asarray(offset, jnp.float32)


@dataclass(frozen=True)
class Values:
    """Arrays that reach the network unchanged."""

    def without_augmentation(self) -> "Values":
        """Return itself."""
        return self

    def draw(self, key: jax.Array, shape: tuple[int, ...]) -> Draws:
        """Draw nothing."""
        del key, shape
        return Draws()

    def train(self, inputs: jax.Array, draws: Draws) -> jax.Array:
        """Return the inputs: nothing is augmented."""
        del draws
        return self.test(inputs)

    def test(self, inputs: jax.Array) -> jax.Array:
        """Return the inputs."""
        return inputs


@dataclass(frozen=True)
class Tokens(Values):
    """Characters, which are not augmented."""

    def test(self, inputs: jax.Array) -> jax.Array:
        """Return the character ids as int32."""
        return inputs.astype(jnp.int32)


Preprocessing = Pixels | Values
