"""Trajectories of the optimizers on surfaces of two variables, drawn and animated.

Every optimizer tries the same learning rates on every surface, and shows the one with
the lowest mean logarithm of the loss, see `choose`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks.landscape.config import LandscapeConfig
from benchmarks.landscape.surfaces import Surface
from padam_optax import padam


class Optimizer(NamedTuple):
    """A name for plots, and the builder from a learning rate; the rest is Optax's."""

    label: str
    build: Callable[[Any], optax.GradientTransformation]


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer("SGD", optax.sgd),
    "momentum": Optimizer("momentum", lambda a: optax.sgd(a, momentum=0.9)),
    "nesterov": Optimizer(
        "Nesterov", lambda a: optax.sgd(a, momentum=0.9, nesterov=True)
    ),
    "adagrad": Optimizer("AdaGrad", lambda a: optax.adagrad(a, 0.0, 0.0)),
    "rmsprop": Optimizer("RMSProp", lambda a: optax.rmsprop(a)),
    "adadelta": Optimizer("AdaDelta", lambda a: optax.adadelta(a)),
    "adam": Optimizer("Adam", lambda a: optax.adam(a)),
    "amsgrad": Optimizer("AMSGrad", lambda a: optax.amsgrad(a)),
    "padam-1/4": Optimizer("Padam 1/4", lambda a: padam(a, p=0.25)),
    "padam-1/8": Optimizer("Padam 1/8", lambda a: padam(a, p=0.125)),
}


def descend(
    surface: Surface,
    build: Callable[[Any], optax.GradientTransformation],
    learning_rates: Sequence[float],
    seeds: Sequence[int],
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Follow the gradient from the surface's start.

    The noise of a step depends on the seed and on the step's number only: it is the
    same for all optimizers and learning rates. Computed in float64.

    Args:
      surface: The surface.
      build: Takes a learning rate, traced, and returns the optimizer.
      learning_rates: One trajectory each, for each seed.
      seeds: Seeds of the noise.
      steps: Steps of a trajectory.

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

    Args:
      name: The surface's name, for the records.
      surface: The surface.
      config: The settings.

    Yields:
      A record for each optimizer and learning rate. ``final_losses``, above the minimum
      and over the last tenth of the steps, is a list over the ``seeds``, None where a
      trajectory diverged. If it is ``chosen`` it has also the first seed's ``path``
      and the mean of the seeds' ``losses``, above the minimum, at each step.
    """
    count = config.seeds if surface.noise else 1
    seeds = list(range(config.seed, config.seed + count))
    for optimizer in config.optimizers:
        label, build = OPTIMIZERS[optimizer]
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

    The loss is taken above the minimum, over that at the start, and no better than a
    millionth; where the gradient is noisy it is first averaged over the seeds. Unlike
    the loss at the end this rewards speed, and cannot be won by chance.

    Args:
      losses: An array (learning rates, seeds, steps), above the minimum.

    Returns:
      The index of the learning rate; None if all diverge.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # some do diverge
        means = losses.mean(axis=1)
        scores = np.log10(means / means[:, :1] + 1e-6).mean(axis=1)
    scores = np.where(np.isfinite(scores), scores, np.inf)
    return int(scores.argmin()) if scores.min() < np.inf else None
