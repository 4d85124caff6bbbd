"""AdaGrad-Norm: steps to a small gradient beside both bounds, and the growth of b.

Ward, Wu and Bottou, AdaGrad stepsizes: sharp convergence over nonconvex landscapes,
ICML 2019, as Oxford's slides state them.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from padam_optax.contrib import adagrad_norm

B0S = tuple(float(b0) for b0 in np.logspace(-3, 3, 25))
LARGEST_CURVATURES = (0.5, 4.0, 20.0)
CURVATURES = (1.0, 0.3, 0.05, 0.001)
SEEDS = 5
POINTS, DIMENSION, BATCH, STEPS = 256, 8, 16, 10_000


def bound(b0: float, largest: float, loss: float, epsilon: float) -> int:
    """Return the steps within which the theorem promises ‖∇‖² ≤ ε, for η = 1.

    Args:
      b0: The initial b.
      largest: L, the gradient's Lipschitz constant.
      loss: The loss at the start, above the minimum.
      epsilon: ε.

    >>> bound(4.0, 4.0, loss=1.0, epsilon=0.5)
    25
    >>> bound(1.0, 2.0, loss=1.0, epsilon=0.5)
    128
    """
    if b0 >= largest:
        return 1 + math.ceil(2 / epsilon * loss * (b0 + 2 * loss))
    reached = loss + (3 / 4 + math.log(largest / b0)) * largest
    return 1 + math.ceil((largest**2 - b0**2 + 4 * reached**2) / epsilon)


@jax.jit
def count_steps(
    curvature: jax.Array, start: jax.Array, b0s: jax.Array, epsilon: Any, limits: Any
) -> jax.Array:
    """Count the steps of AdaGrad-Norm until ‖∇‖² ≤ ε on Σ λ x²/2.

    Args:
      curvature: λ, one for each coordinate.
      start: The starting point.
      b0s: Values of b0.
      epsilon: ε.
      limits: For each b0 the steps after which to give up.

    Returns:
      For each b0 the number of steps; its limit if it was not reached before.
    """

    def from_b0(b0: jax.Array, limit: jax.Array) -> jax.Array:
        optimizer = adagrad_norm(1.0, b0)

        def unfinished(carry: Any) -> jax.Array:
            x, _, steps = carry
            return (jnp.sum((curvature * x) ** 2) > epsilon) & (steps < limit)

        def step(carry: Any) -> Any:
            x, state, steps = carry
            updates, state = optimizer.update(curvature * x, state)
            return optax.apply_updates(x, updates), state, steps + 1

        carry = (start, optimizer.init(start), jnp.zeros_like(limit))
        return lax.while_loop(unfinished, step, carry)[2]

    return jax.vmap(from_b0)(b0s, limits)


def compare_with_bounds(seeds: int) -> Iterator[dict[str, Any]]:
    """Yield for each L, start and b0 the steps needed and the bound."""
    for largest in LARGEST_CURVATURES:
        curvature = largest * np.array(CURVATURES)
        epsilon = largest**2 / 1000
        for seed in range(seeds):
            start = np.random.default_rng(seed).normal(size=len(curvature))
            loss = float(np.sum(curvature * start**2) / 2)
            bounds = [bound(b0, largest, loss, epsilon) for b0 in B0S]
            with jax.enable_x64(True):
                arrays = map(jnp.asarray, (curvature, start, B0S, epsilon, bounds))
                counts = jax.device_get(count_steps(*arrays))
            yield {
                "kind": "bound",
                "lipschitz": largest,
                "epsilon": epsilon,
                "seed": seed,
                "b0": B0S,
                "steps": counts.tolist(),
                "bound": bounds,
            }


def regression(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the features and the noisy labels of a least-squares problem."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(POINTS, DIMENSION))
    labels = features @ rng.normal(size=DIMENSION) + rng.normal(size=POINTS)
    return features, labels


@partial(jax.jit, static_argnames=("batch", "steps"))
def follow_b(
    features: jax.Array, labels: jax.Array, seed: Any, batch: int | None, steps: int
) -> jax.Array:
    """Return b after each step of AdaGrad-Norm on half the mean squared error.

    Args:
      features: (points, dimension).
      labels: (points,).
      seed: Of the mini-batches, which are drawn with replacement.
      batch: Points of a mini-batch; None for all of them in each step.
      steps: Number of steps.
    """
    optimizer = adagrad_norm(1.0, 0.1)

    def step(carry: Any, number: jax.Array) -> Any:
        theta, state = carry
        x, y = features, labels
        if batch is not None:
            key = jax.random.fold_in(jax.random.key(seed), number)
            index = jax.random.randint(key, (batch,), 0, len(labels))
            x, y = features[index], labels[index]
        g = x.T @ (x @ theta - y) / len(y)
        updates, state = optimizer.update(g, state)
        b = optax.tree.get(state, "root_sum_of_squares")
        return (optax.apply_updates(theta, updates), state), b

    theta = jnp.zeros(features.shape[1], features.dtype)
    return lax.scan(step, (theta, optimizer.init(theta)), jnp.arange(steps))[1]


def noise_at_minimum(features: np.ndarray, labels: np.ndarray, batch: int) -> float:
    """Return the root mean square of a mini-batch's gradient at the minimum."""
    theta, *_ = np.linalg.lstsq(features, labels)
    gradients = features * (features @ theta - labels)[:, None]
    return math.sqrt(np.sum(np.mean(gradients**2, axis=0)) / batch)


def fit_slope(b: np.ndarray) -> float:
    """Return the slope of log b_k against log k over the last decade of the steps."""
    k = np.arange(1, len(b) + 1)
    last = k >= len(b) / 10
    return float(np.polyfit(np.log(k[last]), np.log(b[last]), 1)[0])


def follow_growth(seeds: int, steps: int = STEPS) -> Iterator[dict[str, Any]]:
    """Yield b at some steps, and its slope, in whole batches and in mini-batches."""
    shown = np.unique(np.logspace(0, math.log10(steps), 60).astype(int))
    for seed in range(seeds):
        features, labels = regression(seed)
        for batch in (None, BATCH):
            with jax.enable_x64(True):
                arrays = map(jnp.asarray, (features, labels))
                b = np.asarray(follow_b(*arrays, jnp.uint32(seed), batch, steps))
            c = noise_at_minimum(features, labels, BATCH)
            yield {
                "kind": "growth",
                "batch": batch,
                "seed": seed,
                "k": shown.tolist(),
                "b": b[shown - 1].tolist(),
                "slope": fit_slope(b),
                "noise": c,
                "b_over_root": float(b[-1] / (c * math.sqrt(steps))),
            }


def run(seeds: int = SEEDS) -> Iterator[dict[str, Any]]:
    """Yield records of ``kind`` "bound", then "growth"."""
    yield from compare_with_bounds(seeds)
    yield from follow_growth(seeds)
