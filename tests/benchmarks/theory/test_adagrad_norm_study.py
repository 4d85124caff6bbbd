"""Steps, bounds and b against NumPy loops."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.theory import adagrad_norm


def test_steps_are_those_of_a_loop(x64):
    curvature, start = np.array([4.0, 1.2, 0.2]), np.array([1.0, -2.0, 0.5])
    b0s, limits, expected = [0.01, 1.0, 100.0], [500, 500, 30], []
    for b0, limit in zip(b0s, limits, strict=True):
        theta, b, steps = start, b0, 0
        while np.sum((curvature * theta) ** 2) > 0.02 and steps < limit:
            g = curvature * theta
            b = math.sqrt(b**2 + g @ g)
            theta = theta - g / b
            steps += 1
        expected.append(steps)
    assert expected[0] < 500
    assert expected[2] == 30  # gave up
    arrays = map(jnp.asarray, (curvature, start, b0s, 0.02, limits))
    assert adagrad_norm.count_steps(*arrays).tolist() == expected


def test_no_run_needs_its_bound(monkeypatch):
    monkeypatch.setattr(adagrad_norm, "LARGEST_CURVATURES", (4.0,))
    (line,) = adagrad_norm.compare_with_bounds(1)
    assert line["epsilon"] == pytest.approx(0.016)
    start = np.random.default_rng(0).normal(size=4)
    loss = sum(c * x**2 / 2 for c, x in zip((4, 1.2, 0.2, 0.004), start, strict=True))
    at = line["b0"].index(1000.0)
    expected = 1 + math.ceil(2 / 0.016 * loss * (1000 + 2 * loss))
    assert line["bound"][at] == pytest.approx(expected, abs=1)
    assert all(s < b for s, b in zip(line["steps"], line["bound"], strict=True))


def test_b_in_whole_batches_is_that_of_a_loop(x64):
    features, labels = adagrad_norm.regression(3)
    theta, b, expected = np.zeros(8), 0.1, []
    for _ in range(20):
        g = features.T @ (features @ theta - labels) / len(labels)
        b = math.sqrt(b**2 + g @ g)
        theta = theta - g / b
        expected.append(b)
    arrays = map(jnp.asarray, (features, labels))
    found = adagrad_norm.follow_b(*arrays, jnp.uint32(0), None, 20)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_noise_is_that_of_drawn_batches():
    features, labels = adagrad_norm.regression(0)
    theta = np.linalg.solve(features.T @ features, features.T @ labels)
    rng = np.random.default_rng(5)
    index = rng.integers(len(labels), size=(20_000, 16))
    residual = np.einsum("nbi,i->nb", features[index], theta) - labels[index]
    gradients = np.einsum("nbi,nb->ni", features[index], residual) / 16
    expected = math.sqrt(np.mean(np.sum(gradients**2, axis=1)))
    found = adagrad_norm.noise_at_minimum(features, labels, 16)
    assert found == pytest.approx(expected, rel=0.02)


def test_slopes_are_those_of_powers():
    k = np.arange(1.0, 2001)
    assert adagrad_norm.fit_slope(3 * k**0.5) == pytest.approx(0.5)
    # The first decade does not count.
    assert adagrad_norm.fit_slope(np.where(k < 200, k, 7.0)) == pytest.approx(0)
