"""The Fréchet distance against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from benchmarks.gan.frechet import (
    Moments,
    frechet_distance,
    make_features,
    moments,
    train_lenet,
)


def draw(seed, size=4):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size))
    return Moments(rng.normal(size=size), root @ root.T)


def test_moments_are_those_of_numpy():
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    found = moments(x)
    np.testing.assert_allclose(found.mean, x.astype(float).mean(0))
    np.testing.assert_allclose(found.covariance, np.cov(x.astype(float).T))


def test_diagonal_covariances_have_a_closed_form():
    a, b = np.array([1.0, 4.0, 0.0]), np.array([9.0, 0.25, 2.0])
    mean = np.array([1.0, -2.0, 0.5])
    found = frechet_distance(
        Moments(np.zeros(3), np.diag(a)), Moments(mean, np.diag(b))
    )
    expected = np.sum(mean**2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert found == pytest.approx(expected)


def test_it_is_the_formula_with_matrix_roots():
    a, b = draw(1), draw(2)
    root = scipy.linalg.sqrtm(a.covariance)
    cross = scipy.linalg.sqrtm(root @ b.covariance @ root)
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(
        a.covariance + b.covariance - 2 * cross
    )
    assert frechet_distance(a, b) == pytest.approx(expected.real)
    assert frechet_distance(b, a) == pytest.approx(expected.real)


def test_equal_moments_have_distance_zero_even_if_features_never_vary():
    one = draw(0)
    one.covariance[0] = one.covariance[:, 0] = 0  # a unit that is always silent
    scale = np.trace(one.covariance)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6 * scale)


@pytest.mark.slow
def test_lenet_tells_bars_apart_and_its_features_are_84_numbers():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 640)
    images = rng.uniform(0, 0.1, (640, 28, 28, 1)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label + 3 : 2 * label + 6] = 1
    with jax.numpy_dtype_promotion("standard"):
        network = train_lenet(jnp.asarray(images), jnp.asarray(labels))
        found = make_features(network)(images[:30])
        logits = np.asarray(network(jnp.asarray(images[:30])))
    assert found.shape == (30, 84)
    assert found.min() == 0
    # Its last layer makes the logits of them.
    head = network.head
    kernel, bias = np.asarray(head.kernel[...]), np.asarray(head.bias[...])
    np.testing.assert_allclose(found @ kernel + bias, logits, rtol=1e-4, atol=1e-5)
    assert np.mean(logits.argmax(1) == labels[:30]) > 0.5
