"""Train generator and discriminator against each other."""

import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import nnx

from benchmarks.gan.config import GanConfig
from benchmarks.gan.networks import (
    LATENT,
    Discriminator,
    Generator,
    discriminator_loss,
    generator_loss,
)
from benchmarks.optimizers import OPTIMIZERS, make


class Player(NamedTuple):
    """One of the two networks: its parameters and the state of its optimizer."""

    params: Any
    opt_state: Any


class Losses(NamedTuple):
    """Means over the steps since the last evaluation."""

    generator: float
    discriminator: float


def make_optimizer(name: str, learning_rate: Any, momentum: float) -> Any:
    """Make an optimizer with this decay rate of the first moment.

    The learning rate may be traced.
    """
    key = "momentum" if "momentum" in OPTIMIZERS[name].recipe else "b1"
    return make(name, learning_rate, **{key: momentum})


class Duel:
    """The compiled functions of all runs with one optimizer."""

    def __init__(self, name: str, images: jax.Array, config: GanConfig):
        self.config = config
        self.images = images  # (n, 28, 28, 1) in [0, 1]
        self.generated_at_once = min(config.examples, 1000)
        self.optimizer = functools.partial(
            make_optimizer, name, momentum=config.momentum
        )
        self.graphs = [nnx.split(make(nnx.Rngs(0)))[0] for make in _NETWORKS]
        self._compiled_step = jax.jit(self._step, donate_argnums=0)
        self.generate = jax.jit(self._generate)

    def start(self, seed: int) -> tuple[Player, Player]:
        """Return generator and discriminator before the first step."""
        tx = self.optimizer(1.0)  # the state does not depend on the learning rate
        found = []
        for i, network in enumerate(_NETWORKS):
            params = nnx.split(network(nnx.Rngs(2 * seed + i)))[1]
            found.append(Player(params, tx.init(params)))
        return found[0], found[1]

    def step(
        self, players: tuple[Player, Player], learning_rate: Any, key: jax.Array
    ) -> tuple[tuple[Player, Player], tuple[jax.Array, jax.Array]]:
        """Move the discriminator, then the generator; return the losses before.

        The players are donated.
        """
        return self._compiled_step(players, self.images, learning_rate, key)

    def _step(
        self,
        players: tuple[Player, Player],
        images: jax.Array,
        learning_rate: Any,
        key: jax.Array,
    ) -> tuple[tuple[Player, Player], tuple[jax.Array, jax.Array]]:
        tx = self.optimizer(learning_rate)
        merge_g, merge_d = (functools.partial(nnx.merge, g) for g in self.graphs)
        size = self.config.batch_size
        generator, discriminator = players
        real_key, *keys = jax.random.split(key, 3)
        real = images[jax.random.randint(real_key, (size,), 0, len(images))]
        first, second = (jax.random.normal(k, (size, LATENT)) for k in keys)
        generated = merge_g(generator.params)(first)

        def of_discriminator(params: Any) -> jax.Array:
            judge = merge_d(params)
            return discriminator_loss(judge(real), judge(generated))

        def of_generator(params: Any) -> jax.Array:
            return generator_loss(judge(merge_g(params)(second)))

        def move(player: Player, loss: Callable[[Any], jax.Array]) -> Any:
            value, gradient = jax.value_and_grad(loss)(player.params)
            updates, state = tx.update(gradient, player.opt_state, player.params)
            return Player(optax.apply_updates(player.params, updates), state), value

        discriminator, d_loss = move(discriminator, of_discriminator)
        judge = merge_d(discriminator.params)
        generator, g_loss = move(generator, of_generator)
        return (generator, discriminator), (g_loss, d_loss)

    def _generate(self, params: Any, key: jax.Array) -> jax.Array:
        z = jax.random.normal(key, (self.generated_at_once, LATENT))
        return nnx.merge(self.graphs[0], params)(z)

    def generate_images(self, generator: Player, seed: int) -> np.ndarray:
        """Generate as many images as a distance compares, from the same numbers."""
        keys = jax.random.split(
            jax.random.key(seed),
            math.ceil(self.config.examples / self.generated_at_once),
        )
        parts = [np.asarray(self.generate(generator.params, key)) for key in keys]
        return np.concatenate(parts)[: self.config.examples]

    def run(
        self, learning_rate: float, seed: int, measure: Callable[[Any], float]
    ) -> dict[str, Any]:
        """Train with one learning rate and one seed.

        Args:
          learning_rate: That of both networks.
          seed: Determines initial weights, real images and noise.
          measure: Takes generated images and returns their distance.

        Returns:
          Lists over the evaluations, the first before the first step: ``step``,
          ``distance``, and the mean losses since the last one, ``generator_loss`` and
          ``discriminator_loss``. A run ends at a loss that is not finite; ``stopped``
          says so, else it is None.
        """
        began = time.perf_counter()
        found: dict[str, list[float]] = {
            key: []
            for key in ("step", "distance", "generator_loss", "discriminator_loss")
        }
        stopped = None
        for step, generator, losses in self._evaluate_often(learning_rate, seed):
            if not all(map(math.isfinite, losses or ())):
                stopped = f"a loss is not finite before step {step}"
                break
            distance = measure(self.generate_images(generator, seed))
            if not math.isfinite(distance):
                stopped = f"the images are not finite after step {step}"
                break
            found["step"].append(step)
            found["distance"].append(distance)
            if losses is not None:
                found["generator_loss"].append(losses.generator)
                found["discriminator_loss"].append(losses.discriminator)
        seconds = time.perf_counter() - began
        return {**found, "stopped": stopped, "seconds": seconds}

    def _evaluate_often(
        self, learning_rate: float, seed: int
    ) -> Iterator[tuple[int, Player, Losses | None]]:
        players = self.start(seed)
        yield 0, players[0], None
        keys = jax.random.split(jax.random.key(seed), self.config.steps)
        losses = []
        # A loop, not a scan: XLA's convolutions are ten times as slow in one so small.
        for i, key in enumerate(keys, start=1):
            players, found = self.step(players, learning_rate, key)
            losses.append(found)
            if i % (self.config.steps // self.config.evaluations) == 0:
                means = np.mean(jax.device_get(losses), axis=0)
                losses.clear()
                yield i, players[0], Losses(*means.tolist())


_NETWORKS = (Generator, Discriminator)
