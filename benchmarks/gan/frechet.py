"""The Fréchet distance between sets of images, in the features of a LeNet."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks import models
from benchmarks.models.lenet import LeNet

_EPOCHS, _BATCH = 3, 128
# Of images whose features are computed at once.
_PART = 1000


class Moments(NamedTuple):
    """Mean (d,) and covariance (d, d) of features, in float64."""

    mean: np.ndarray
    covariance: np.ndarray


def moments(features: np.ndarray) -> Moments:
    """Compute the moments of features (n, d)."""
    features = np.asarray(features, float)
    return Moments(features.mean(axis=0), np.cov(features, rowvar=False))


def frechet_distance(a: Moments, b: Moments) -> float:
    r"""Return the squared Fréchet distance of two normal distributions.

    .. math::
        \|μ_a - μ_b\|^2 + \operatorname{tr}(Σ_a + Σ_b - 2 (Σ_a Σ_b)^{1/2})

    >>> one = Moments(np.zeros(2), np.eye(2))
    >>> frechet_distance(one, Moments(np.array([3.0, 4.0]), 4 * np.eye(2)))
    27.0

    References:
      Dowson and Landau, Journal of Multivariate Analysis 1982. Heusel et al., NIPS
      2017, compare images so, in the features of another network.
    """
    # The product of two covariances has the eigenvalues of a covariance.
    eigenvalues = np.linalg.eigvals(a.covariance @ b.covariance).real
    root = np.sqrt(eigenvalues.clip(0)).sum()
    distance = np.sum((a.mean - b.mean) ** 2)
    return float(distance + np.trace(a.covariance + b.covariance) - 2 * root)


def train_lenet(images: jax.Array, labels: jax.Array) -> Any:
    """Train a LeNet for three epochs with Adam, always with the same seed.

    Args:
      images: (n, height, width, 1) in [0, 1].
      labels: Classes (n,).
    """
    network: Any = models.lookup("lenet").build(
        width=models.lookup("lenet").width,
        input_shape=images.shape[1:],
        classes=10,
        initializer=None,
        dtype=jnp.float32,
        axis_name=None,
        rngs=nnx.Rngs(0),
    )
    graph, params = nnx.split(network)
    tx = optax.adam(1e-3)
    steps = len(labels) // _BATCH

    def loss_of(params: Any, index: jax.Array) -> jax.Array:
        logits: Any = nnx.merge(graph, params)(images[index])
        return optax.softmax_cross_entropy_with_integer_labels(
            logits, labels[index]
        ).mean()

    def step(carry: Any, index: jax.Array) -> Any:
        params, state = carry
        updates, state = tx.update(jax.grad(loss_of)(params, index), state, params)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def train(params: Any) -> Any:
        keys = jax.random.split(jax.random.key(0), _EPOCHS)
        order = jnp.concatenate(
            [jax.random.permutation(k, len(labels))[: steps * _BATCH] for k in keys]
        )
        carry = params, tx.init(params)
        return jax.lax.scan(step, carry, order.reshape(-1, _BATCH))[0][0]

    return nnx.merge(graph, train(params))


def make_features(network: LeNet) -> Callable[[Any], np.ndarray]:
    """Return a function from images to the outputs (n, d) of the last hidden layer."""
    graph, params = nnx.split(network)
    compiled = jax.jit(lambda params, x: nnx.merge(graph, params).features(x))

    def features(images: Any) -> np.ndarray:
        parts = range(0, len(images), _PART)
        return np.concatenate(
            [np.asarray(compiled(params, images[i : i + _PART])) for i in parts]
        )

    return features
