"""Over-parameterized least squares that SGD generalizes on and Adam does not.

Wilson, Roelofs, Stern, Srebro and Recht, The marginal value of adaptive gradient
methods in machine learning, NeurIPS 2017, section 3.3.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from padam_optax import moving_average, padam, scale_by_partial_adaptive, square

EXPONENTS = tuple(k / 16 for k in range(9))
LEARNING_RATES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
POINTS, STEPS, SEEDS = 100, 6000, 10
SHARE_POSITIVE = 0.6
_OWN = 5
"""Features of its own of a point with label -1; one with +1 has the first of them."""


class Weights(NamedTuple):
    """The weights of the linear model.

    Attributes:
      shared: Those of the label, and of two features that are always 1.
      own: Those of each point's own features, (points, 5).
    """

    shared: jax.Array
    own: jax.Array


def draw_labels(seed: int, points: int = POINTS) -> np.ndarray:
    """Draw labels that are +1 with probability 0.6, else -1."""
    positive = np.random.default_rng(seed).random(points) < SHARE_POSITIVE
    return np.where(positive, 1.0, -1.0)


def predict(weights: Weights, labels: jax.Array) -> jax.Array:
    """Return the model's value at each training point, without the matrix of features.

    A point's features are its label, 1, 1, zeros where other points have theirs, and
    ones where it has its own.
    """
    ones = jnp.ones_like(labels)
    shared = jnp.stack([labels, ones, ones], axis=-1) @ weights.shared
    rest = jnp.where(labels < 0, weights.own[:, 1:].sum(axis=-1), 0.0)
    return shared + weights.own[:, 0] + rest


def test_error(weights: Weights) -> jax.Array:
    """Return the probability that the sign of a new point is wrong.

    The features of its own that a new point has were zero in training, and so are their
    weights: it is classified by the three shared features alone. A value of 0 is wrong.
    """
    label, first, second = weights.shared
    score = first + second
    wrong_positive = (score + label <= 0).astype(score.dtype)
    wrong_negative = (score - label >= 0).astype(score.dtype)
    return SHARE_POSITIVE * wrong_positive + (1 - SHARE_POSITIVE) * wrong_negative


def build(p: Any, learning_rate: Any, maximum: bool) -> optax.GradientTransformation:
    """Build Padam as Algorithm 1, with the maximum or without; SGD if p is None."""
    if p is None:  # the trace is the moving average divided by 1 - 0.9
        return optax.sgd(0.1 * learning_rate, momentum=0.9)
    if maximum:
        return padam(learning_rate, p=p)
    second = optax.chain(square(), moving_average(0.999))
    return optax.chain(
        scale_by_partial_adaptive(p=p, second_moment=second),
        optax.scale_by_learning_rate(learning_rate),
    )


def train(
    optimizer: optax.GradientTransformation, labels: jax.Array, steps: int
) -> Weights:
    """Minimize half the mean squared error from 0, in whole batches."""

    def loss(weights: Weights) -> jax.Array:
        return 0.5 * jnp.mean((predict(weights, labels) - labels) ** 2)

    def step(carry: Any, _: None) -> Any:
        weights, state = carry
        updates, state = optimizer.update(jax.grad(loss)(weights), state, weights)
        return (optax.apply_updates(weights, updates), state), None

    start = Weights(
        jnp.zeros(3, labels.dtype), jnp.zeros((len(labels), _OWN), labels.dtype)
    )
    (weights, _), _ = lax.scan(step, (start, optimizer.init(start)), None, steps)
    return weights


@partial(jax.jit, static_argnames=("maximum", "steps"))
def _train_all(p: Any, rates: jax.Array, labels: jax.Array, maximum: bool, steps: int):
    def one(p: Any, rate: jax.Array) -> tuple[jax.Array, jax.Array]:
        weights = train(build(p, rate, maximum), labels, steps)
        mse = jnp.mean((predict(weights, labels) - labels) ** 2)
        return mse, test_error(weights)

    every_rate = jax.vmap(one, (None, 0))
    if p is None:
        return every_rate(None, rates)
    return jax.vmap(every_rate, (0, None))(p, rates)


def run(seeds: int = SEEDS, points: int = POINTS, steps: int = STEPS) -> Iterator[Any]:
    """Train with every p and learning rate, with and without the maximum.

    Yields:
      For each draw of the labels, p and choice of the maximum a record with lists over
      the learning rates: ``mse`` of training, None where a run diverged, and
      ``test_error``. The two choices are the same at p = 0.
    """
    for seed in range(seeds):
        with jax.enable_x64(True):
            labels = jnp.asarray(draw_labels(seed, points))
            rates = jnp.asarray(LEARNING_RATES)
            plain = jax.device_get(_train_all(None, rates, labels, True, steps))
            p = jnp.asarray(EXPONENTS[1:])
            found = {
                maximum: jax.device_get(_train_all(p, rates, labels, maximum, steps))
                for maximum in (True, False)
            }
        for maximum, (mse, error) in found.items():
            columns = zip([plain[0], *mse], [plain[1], *error], strict=True)
            for p, (mse_of_p, error_of_p) in zip(EXPONENTS, columns, strict=True):
                yield {
                    "seed": seed,
                    "with_maximum": maximum,
                    "p": p,
                    "learning_rates": LEARNING_RATES,
                    "mse": [float(x) if np.isfinite(x) else None for x in mse_of_p],
                    "test_error": [float(x) for x in error_of_p],
                }
