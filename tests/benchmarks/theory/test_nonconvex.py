"""The nonconvex descent against Algorithm 1 in NumPy, without noise and with it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.theory import nonconvex


def test_the_gradient_is_that_of_the_loss(x64):
    x = np.linspace(-2, 2, 9)
    h = 1e-6
    difference = ((x + h) ** 2 / (1 + (x + h) ** 2)) - (
        (x - h) ** 2 / (1 + (x - h) ** 2)
    )
    found = nonconvex.gradient(jnp.asarray(x))
    np.testing.assert_allclose(found, difference / (2 * h), atol=1e-9)


@pytest.mark.parametrize("dimension", [10, 10_000])
def test_the_loss_at_the_start_is_one(dimension):
    x = np.asarray(nonconvex.draw_start(jax.random.key(0), dimension), float)
    assert np.sum(x**2 / (1 + x**2)) == pytest.approx(1, rel=1e-5)


def reference(p, rate, steps, dimension):
    x = np.full(dimension, 1 / math.sqrt(dimension - 1))
    m = v = largest = squares = np.zeros(dimension)
    total = 0.0
    for _ in range(steps):
        g = 2 * x / (1 + x**2) ** 2
        total, squares = total + g @ g, squares + g**2
        if p is None:
            x = x - rate * g
            continue
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        largest = np.maximum(largest, v)
        x = x - rate * m / (np.sqrt(largest) + 1e-8) ** (2 * p)
    return total / steps, np.sqrt(squares).sum()


@pytest.mark.parametrize(
    ("method", "p"), [("SGD", None), ("p = 1/8", 0.125), ("p = 1/2", 0.5)]
)
def test_without_noise_each_method_is_its_formula(method, p):
    """Signs of the start do not matter: the loss is even in every coordinate."""
    factors = jnp.array([0.1, 0.5])
    means, sums = nonconvex.descend(jnp.float32(0), factors, jnp.uint32(4), 5, 30)
    for i, factor in enumerate((0.1, 0.5)):
        mean, total = reference(p, factor / math.sqrt(30), 30, 5)
        assert means[method][i] == pytest.approx(mean, rel=1e-4)
        assert sums[method][i] == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_noise_falls_on_the_share_of_the_coordinates(share):
    """Nearly at rest, Σ‖g‖ is that of the noise: d times the root of its count."""
    means, sums = nonconvex.descend(
        jnp.float32(share), jnp.array([1e-6]), jnp.uint32(0), 1000, 400
    )
    x = 1 / math.sqrt(999)
    own = (2 * x / (1 + x**2) ** 2) ** 2
    expected = 1000 * math.sqrt(400 * (share + own))
    assert float(sums["SGD"][0]) == pytest.approx(expected, rel=0.02)
    # The gradient that is measured has none.
    assert float(means["SGD"][0]) == pytest.approx(1000 * own, rel=1e-3)


def test_runs_are_those_within_the_budget(monkeypatch):
    monkeypatch.setattr(nonconvex, "SHARES", (0.1,))
    monkeypatch.setattr(nonconvex, "STEPS", (20, 50))
    lines = list(nonconvex.run(2, most=500))
    assert [(x["dimension"], x["steps"], x["seed"]) for x in lines[::4]] == [
        (10, 20, 0),
        (10, 20, 1),
        (10, 50, 0),
        (10, 50, 1),
    ]
    assert {x["method"] for x in lines} == {*nonconvex.METHODS}
    assert all(len(x["squared_gradient"]) == 5 for x in lines)
