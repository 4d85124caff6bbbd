"""Online convex games: a loss for each step, and the best fixed point in hindsight."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn import datasets
from threadpoolctl import threadpool_limits

from benchmarks.online.config import RegretConfig

RADIUS = 1.0
"""The box is [-RADIUS, RADIUS] in each coordinate."""
DIAMETER = 2 * RADIUS


class Game(NamedTuple):
    """A sequence of convex losses for each seed.

    Attributes:
      title: What it is, for plots.
      loss: The loss of parameters at one element of the data.
      data: Arrays with leading axes (seeds, steps).
      shape: That of the parameters.
      gradient_bound: G, which no element of a gradient exceeds, anywhere in the box.
      best: Takes one seed's data up to some step, and where to start a search. Returns
        the best fixed point of the box, the sum of its losses, and by how much at most
        that sum misses the true minimum.
    """

    title: str
    loss: Callable[[jax.Array, Any], jax.Array]
    data: Any
    shape: tuple[int, ...]
    gradient_bound: float
    best: Callable[[Any, np.ndarray], tuple[np.ndarray, float, float]]


def linear(config: RegretConfig) -> Game:
    """Losses c·θ whose noise hides a drift, at scales from 1 down to 1/100.

    In each coordinate c is scale * (noise ± 0.1), the noise uniform on [-1, 1], the
    sign drawn once.
    """
    size = 8
    scales = np.logspace(0, -2, size)
    costs = []
    for rng in _generators(config):
        drift = 0.1 * rng.choice([-1.0, 1.0], size)
        noise = rng.uniform(-1, 1, (config.steps, size))
        costs.append(scales * (noise + drift))

    def best(cost: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float, float]:
        del start
        total = cost.sum(axis=0)
        return -RADIUS * np.sign(total), -RADIUS * float(np.abs(total).sum()), 0.0

    return Game(
        "linear losses, d = 8",
        lambda theta, cost: jnp.sum(cost * theta),
        np.stack(costs),
        (size,),
        1.1,
        best,
    )


def breast_cancer(config: RegretConfig) -> Game:
    """Logistic regression on standardized features: benign or malignant."""
    features, labels = datasets.load_breast_cancer(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    return _classification("breast cancer", features, labels, config)


def digits(config: RegretConfig) -> Game:
    """Logistic regression on 8x8 images of ten digits, pixels in [0, 1]."""
    features, labels = datasets.load_digits(return_X_y=True)
    return _classification("digits", features / 16, labels, config)


def sparse(config: RegretConfig) -> Game:
    """Logistic regression on 200 features of 0 or 1, the k-th present once in k times.

    The labels are drawn from a logistic model with weights of ±1: a rare feature is as
    informative as a frequent one when it occurs.
    """
    size = 200
    examples, labels = [], []
    for rng in _generators(config):
        chance = 1 / np.arange(1, size + 1)
        present = (rng.random((config.steps, size)) < chance).astype(float)
        weights = rng.choice([-1.0, 1.0], size)
        odds = np.exp(-(present @ weights))
        examples.append(present)
        labels.append((rng.random(config.steps) < odds / (1 + odds)).astype(int))
    return _logistic(f"sparse features, d = {size}", np.stack(examples), labels)


def _classification(
    name: str, features: np.ndarray, labels: np.ndarray, config: RegretConfig
) -> Game:
    """Repeat a data set in random order, with a constant feature added."""
    features = np.column_stack([features, np.ones(len(features))])
    order = []
    for rng in _generators(config):
        passes = -(-config.steps // len(labels))
        rows = [rng.permutation(len(labels)) for _ in range(passes)]
        order.append(np.concatenate(rows)[: config.steps])
    index = np.stack(order)
    return _logistic(name, features[index], labels[index])


def _logistic(name: str, features: np.ndarray, labels: Any) -> Game:
    """Return the game of multinomial logistic regression.

    The last class has logit 0, so that for two classes θ is one vector. An element of
    the gradient is a feature times a difference of probabilities, at most that feature.
    """
    labels = np.asarray(labels)
    classes = int(labels.max()) + 1
    shape = (features.shape[-1], classes - 1)

    def loss(theta: jax.Array, example: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, label = example
        logits = jnp.append(x @ theta, jnp.zeros(1, theta.dtype))
        return optax.softmax_cross_entropy_with_integer_labels(logits, label)

    title = name if "d =" in name else f"{name}, d = {shape[0] * shape[1]}"
    bound = float(np.abs(features).max())
    return Game(title, loss, (features, labels), shape, bound, _best_classifier)


def _best_classifier(
    data: tuple[np.ndarray, np.ndarray], start: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Minimize the sum of the losses over the box by L-BFGS-B.

    By convexity no point z of the box lies lower than by ∇·(θ - z), so the largest of
    these is how far the sum can be from its minimum.
    """
    x, labels = data
    rows = np.arange(len(labels))

    def mean_loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        logits = np.column_stack([x @ flat.reshape(start.shape), np.zeros(len(x))])
        log_probabilities = log_softmax(logits, axis=1)
        residual = np.exp(log_probabilities)
        residual[rows, labels] -= 1
        gradient = x.T @ residual[:, :-1] / len(x)
        return -log_probabilities[rows, labels].mean(), gradient.ravel()

    with threadpool_limits(1):  # the products are small: threads cost far more
        result = minimize(
            mean_loss,
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-RADIUS, RADIUS)] * start.size,
            options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-10, "gtol": 1e-7},
        )
    value, gradient = mean_loss(result.x)
    gap = gradient @ result.x + RADIUS * np.abs(gradient).sum()
    return result.x.reshape(start.shape), len(x) * value, float(len(x) * gap)


def _generators(config: RegretConfig) -> list[np.random.Generator]:
    return [np.random.default_rng(config.seed + i) for i in range(config.seeds)]


GAMES: dict[str, Callable[[RegretConfig], Game]] = {
    "linear": linear,
    "breast-cancer": breast_cancer,
    "digits": digits,
    "sparse": sparse,
}
