"""Trajectories of the optimizers on surfaces of two variables, drawn and animated.

Every optimizer tries the same learning rates on every surface, and shows the one with
the lowest mean logarithm of the loss, see `choose`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks import optimizers
from benchmarks.landscape.config import OPTIMIZERS, LandscapeConfig
from benchmarks.landscape.surfaces import Surface


def find(name: str) -> tuple[str, Callable[[Any], optax.GradientTransformation]]:
    """Return the label of one of OPTIMIZERS, and its builder from a learning rate."""
    row, changes = OPTIMIZERS[name]
    label = f"Padam {name[-3:]}" if "p" in changes else optimizers.lookup(row).label
    return label, lambda rate: optimizers.make(row, rate, **changes)


def descend(
    surface: Surface,
    build: Callable[[Any], optax.GradientTransformation],
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Follow the gradient from the surface's start, with every learning rate and seed.

    The noise of a step depends on the seed and on the step's number only: it is the
    same for all optimizers and learning rates. Computed in float64.

    Returns:
      The points, an array (learning rates, seeds, steps + 1, 2), and the losses there,
      without noise. Where a trajectory diverges they are not finite.
    """

    def loss(point: jax.Array) -> jax.Array:
        return surface.function(point[0], point[1])

    def one(learning_rate: jax.Array, seed: jax.Array) -> tuple[jax.Array, jax.Array]:
        optimizer = build(learning_rate)
        key = jax.random.key(seed)

        def step(carry: Any, number: jax.Array) -> Any:
            point, state = carry
            value, g = jax.value_and_grad(loss)(point)
            if surface.noise:
                draw = jax.random.normal(
                    jax.random.fold_in(key, number), g.shape, g.dtype
                )
                g = g + surface.noise * draw
            updates, state = optimizer.update(g, state, point)
            return (point + updates, state), (point, value)

        start = jnp.asarray(surface.start, float)
        carry = (start, optimizer.init(start))
        return lax.scan(step, carry, jnp.arange(steps + 1))[1]

    every_seed = jax.vmap(one, (None, 0))
    everything = jax.jit(jax.vmap(every_seed, (0, None)))
    with jax.enable_x64(True):
        rates, keys = jnp.asarray(learning_rates), jnp.asarray(seeds, jnp.uint32)
        return jax.device_get(everything(rates, keys))


def compare(
    name: str, surface: Surface, config: LandscapeConfig
) -> Iterator[dict[str, Any]]:
    """Run every optimizer with every learning rate on a surface.

    Yields:
      A record for each optimizer and learning rate. ``final_losses``, above the minimum
      and over the last tenth of the steps, is a list over the ``seeds``, None where a
      trajectory diverged. If it is ``chosen`` it has also the first seed's ``path`` and
      the mean of the seeds' ``losses``, above the minimum, at each step.
    """
    count = config.seeds if surface.noise else 1
    seeds = list(range(config.seed, config.seed + count))
    for optimizer in config.optimizers:
        label, build = find(optimizer)
        paths, losses = descend(
            surface, build, config.learning_rates, seeds, config.steps
        )
        losses = losses - surface.lowest
        best = choose(losses)
        for i, learning_rate in enumerate(config.learning_rates):
            yield {
                "surface": name,
                "optimizer": optimizer,
                "label": label,
                "learning_rate": learning_rate,
                "seeds": seeds,
                "final_losses": [
                    float(tail.mean()) if np.isfinite(tail).all() else None
                    for tail in losses[i, :, -(config.steps // 10) :]
                ],
                "chosen": i == best,
                "path": paths[i, 0].tolist() if i == best else None,
                "losses": losses[i].mean(axis=0).tolist() if i == best else None,
            }


def choose(losses: np.ndarray) -> int | None:
    """Return the learning rate whose loss is lowest in the mean of its logarithm.

    The loss is relative to the minimum and to that at the start, and clipped below at
    1e-6; with gradient noise it is first averaged over the seeds. Unlike the final
    loss, this rewards speed, and does not depend on one lucky step.

    Args:
      losses: An array (learning rates, seeds, steps), above the minimum.

    Returns:
      The index of the learning rate; None if all diverge.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # some diverge
        means = losses.mean(axis=1)
        scores = np.log10(means / means[:, :1] + 1e-6).mean(axis=1)
    scores = np.where(np.isfinite(scores), scores, np.inf)
    return int(scores.argmin()) if scores.min() < np.inf else None
