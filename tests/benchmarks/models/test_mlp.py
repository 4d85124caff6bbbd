"""Dense networks in NumPy."""

import jax
import numpy as np

from tests.helpers import layers_reference as reference
from tests.helpers.building import build, inputs, parameters


def test_two_layers_have_a_relu_between_them():
    model, x = build("mlp", (4, 3, 2)), inputs("mlp", (4, 3, 2))
    (hidden,) = model.hidden
    y = reference.relu(reference.dense(x.reshape(len(x), 24), hidden))
    expected = reference.dense(y, model.head)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)


def test_logistic_regression_is_affine_and_has_no_width():
    model, x = build("logistic", (4, 3, 2), width=1), inputs("logistic", (4, 3, 2))
    expected = reference.dense(x.reshape(len(x), 24), model.head)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    other = build("logistic", (4, 3, 2), width=50)
    jax.tree.map(np.testing.assert_array_equal, parameters(model), parameters(other))


def test_dense_networks_take_examples_of_any_shape():
    assert build("mlp", (5,))(inputs("mlp", (5,))).shape == (4, 10)
