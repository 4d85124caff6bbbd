"""Wilson's least squares against NumPy's least norm, and the lemma on signs."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.theory import least_squares
from benchmarks.theory.least_squares import Weights

LABELS = np.array([1.0, -1, 1, 1, -1, 1, 1, -1, 1, 1])


def features(labels):
    """The matrix as the paper defines it: three shared columns, five for each point."""
    matrix = np.zeros((len(labels), 3 + 5 * len(labels)))
    matrix[:, 0], matrix[:, 1:3] = labels, 1
    for i, label in enumerate(labels):
        matrix[i, 3 + 5 * i : 3 + 5 * i + (1 if label > 0 else 5)] = 1
    return matrix


def flat(weights):
    return np.concatenate([weights.shared, np.ravel(weights.own)])


def train(p, rate, steps, maximum=True):
    optimizer = least_squares.build(p, rate, maximum)
    return least_squares.train(optimizer, jnp.asarray(LABELS), steps)


def test_predictions_are_those_of_the_whole_matrix(x64):
    rng = np.random.default_rng(0)
    weights = Weights(rng.normal(size=3), rng.normal(size=(len(LABELS), 5)))
    predicted = least_squares.predict(
        Weights(*map(jnp.asarray, weights)), jnp.asarray(LABELS)
    )
    np.testing.assert_allclose(predicted, features(LABELS) @ flat(weights), rtol=1e-12)


def test_momentum_finds_the_solution_of_least_norm(x64):
    expected, *_ = np.linalg.lstsq(features(LABELS), LABELS)
    np.testing.assert_allclose(flat(train(None, 3.0, 3000)), expected, atol=1e-9)


@pytest.mark.parametrize("maximum", [True, False])
def test_p_of_one_half_moves_along_the_sign_of_the_correlations(x64, maximum):
    """Lemma 3.1 of Wilson et al.: the iterates are multiples of sign(Xᵀy)."""
    weights = flat(train(0.5, 0.01, 40, maximum))
    signs = np.sign(features(LABELS).T @ LABELS)
    np.testing.assert_allclose(weights, weights[0] * signs, rtol=1e-5)
    assert weights[0] > 0.1


@pytest.mark.parametrize("maximum", [True, False])
def test_p_in_between_is_algorithm_1(x64, maximum):
    matrix = features(LABELS)
    weights = m = v = largest = np.zeros(matrix.shape[1])
    for _ in range(60):
        g = matrix.T @ (matrix @ weights - LABELS) / len(LABELS)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        largest = np.maximum(largest, v) if maximum else v
        weights = weights - 0.05 * m / (np.sqrt(largest) + 1e-8) ** 0.5
    np.testing.assert_allclose(flat(train(0.25, 0.05, 60, maximum)), weights, rtol=1e-6)
    if maximum:
        assert not np.array_equal(largest, v), "the maximum binds"


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        ([1.0, 0.2, 0.3], 0.0),  # both signs right
        ([0.2, 0.3, 0.3], 0.4),  # negative points end positive
        ([1.0, -0.6, -0.6], 0.6),  # positive points end negative
        ([-1.0, 0.3, 0.3], 1.0),
        ([0.0, 0.0, 0.0], 1.0),
    ],
)
def test_new_points_are_classified_by_the_shared_features(shared, expected):
    weights = Weights(jnp.array(shared), jnp.ones((4, 5)))
    assert least_squares.test_error(weights) == pytest.approx(expected)


def test_records_hold_every_p_and_rate():
    lines = list(least_squares.run(1, points=10, steps=200))
    assert [line["p"] for line in lines] == [k / 16 for k in range(9)] * 2
    assert [line["with_maximum"] for line in lines] == [True] * 9 + [False] * 9
    of_sgd = [line for line in lines if line["p"] == 0]
    assert of_sgd[0]["mse"] == of_sgd[1]["mse"]
    with_maximum, without = (line["mse"] for line in lines if line["p"] == 0.5)
    assert not np.allclose(with_maximum, without, rtol=1e-4)
    labels = least_squares.draw_labels(0, 10)
    weights = np.zeros(53)
    momentum = np.zeros(53)
    for _ in range(200):  # p = 0 at learning rate 1, in NumPy
        residual = features(labels) @ weights - labels
        momentum = 0.9 * momentum + 0.1 * features(labels).T @ residual / 10
        weights = weights - momentum
    mse = np.mean((features(labels) @ weights - labels) ** 2)
    assert of_sgd[0]["mse"][2] == pytest.approx(mse, rel=1e-6)
