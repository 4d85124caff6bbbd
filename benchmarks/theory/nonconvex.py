"""How the gradient shrinks with the steps and grows with the dimension, nonconvex.

Theorem 3 and Corollary 4 of Gu's slides; Zhou et al., arXiv 1808.05671.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from padam_optax import padam

SHARES = (0.01, 0.1, 1.0)
DIMENSIONS = (10, 100, 1000, 10_000)
STEPS = (100, 1000, 10_000, 100_000)
MOST = 10**7
"""Dimension times steps of the longest runs."""
FACTORS = (0.004, 0.02, 0.1, 0.5, 2.5)
"""The learning rate is one of these over √T."""
SEEDS = 5

METHODS: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "SGD": optax.sgd,
    "p = 1/8": partial(padam, p=1 / 8),
    "p = 1/4": partial(padam, p=1 / 4),
    "p = 1/2": partial(padam, p=1 / 2),
}


def gradient(x: jax.Array) -> jax.Array:
    """Return the gradient of Σ x²/(1+x²)."""
    return 2 * x / (1 + x**2) ** 2


def draw_start(key: jax.Array, dimension: int) -> jax.Array:
    """Draw a point with f = 1: every coordinate is the same distance from 0."""
    return jax.random.rademacher(key, (dimension,), float) / math.sqrt(dimension - 1)


@partial(jax.jit, static_argnames=("dimension", "steps"))
def descend(
    share: jax.Array, factors: jax.Array, seed: jax.Array, dimension: int, steps: int
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Run every method with every learning rate on the same noise.

    Args:
      share: The probability that a coordinate's gradient has noise in a step.
      factors: Learning rates times √T.
      seed: Of the start and the noise.
      dimension: d.
      steps: T.

    Returns:
      For each method two arrays over the learning rates: the mean of ‖∇f‖² over the T
      points at which a gradient was taken, and Σ‖g_{1:T,i}‖ of the gradients with
      noise.
    """
    start_key, noise_key = jax.random.split(jax.random.key(seed))
    start = draw_start(start_key, dimension)
    rates = factors / math.sqrt(steps)

    def begin(build: Callable[[Any], optax.GradientTransformation]) -> Any:
        def one(rate: jax.Array) -> Any:
            zero = jnp.zeros([], start.dtype)
            return start, build(rate).init(start), zero, jnp.zeros_like(start)

        return jax.vmap(one)(rates)

    def step(carry: Any, number: jax.Array) -> Any:
        sign_key, place_key = jax.random.split(jax.random.fold_in(noise_key, number))
        signs = jax.random.rademacher(sign_key, start.shape, start.dtype)
        noise = jnp.where(jax.random.uniform(place_key, start.shape) < share, signs, 0)

        def advance(build: Any, rate: jax.Array, carry: Any) -> Any:
            x, state, total, squares = carry
            exact = gradient(x)
            g = exact + noise
            updates, state = build(rate).update(g, state, x)
            x = optax.apply_updates(x, updates)
            return x, state, total + jnp.sum(exact**2), squares + g**2

        carry = {
            name: jax.vmap(partial(advance, build))(rates, carry[name])
            for name, build in METHODS.items()
        }
        return carry, None

    carry = {name: begin(build) for name, build in METHODS.items()}
    carry, _ = lax.scan(step, carry, jnp.arange(steps))
    means = {name: total / steps for name, (_, _, total, _) in carry.items()}
    sums = {
        name: jnp.sqrt(squares).sum(axis=-1)
        for name, (_, _, _, squares) in carry.items()
    }
    return means, sums


def run(seeds: int = SEEDS, most: int = MOST) -> Iterator[dict[str, Any]]:
    """Run every method in every dimension, for every number of steps and share.

    Yields:
      A record for each share, dimension, number of steps, seed and method, with lists
      over the learning rates: ``squared_gradient``, None where a run diverged, and
      ``sum_over_root``, Σ‖g_{1:T,i}‖/√(dT), which the corollary assumes to be small.
    """
    grid = [(d, t) for d in DIMENSIONS for t in STEPS if d * t <= most]
    for dimension, steps in grid:
        for share in SHARES:
            for seed in range(seeds):
                means, sums = jax.device_get(
                    descend(
                        jnp.float32(share),
                        jnp.asarray(FACTORS, jnp.float32),
                        jnp.uint32(seed),
                        dimension,
                        steps,
                    )
                )
                for method, mean in means.items():
                    root = math.sqrt(dimension * steps)
                    yield {
                        "dimension": dimension,
                        "steps": steps,
                        "share": share,
                        "seed": seed,
                        "method": method,
                        "factors": FACTORS,
                        "squared_gradient": _finite(mean),
                        "sum_over_root": _finite(sums[method] / root),
                    }


def _finite(values: np.ndarray) -> list[float | None]:
    return [float(x) if np.isfinite(x) else None for x in values]
