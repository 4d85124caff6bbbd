"""The network of Adam's paper: its layers in NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.models.adam_cnn import max_pool_3x3
from tests.helpers import layers_reference as reference
from tests.helpers.building import abstract, build, filled, images


def pool(x):
    """The maximum over 3x3 windows around every second pixel."""
    n, height, width, channels = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    y = np.zeros((n, (height + 1) // 2, (width + 1) // 2, channels))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            window = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            y[:, i, j] = window.max(axis=(1, 2))
    return y


@pytest.mark.slow
@pytest.mark.parametrize("side", [4, 7])
def test_pooling_takes_the_maximum_of_overlapping_windows(side):
    x = images(2, side, side + 1, 3)
    np.testing.assert_array_equal(max_pool_3x3(x), pool(np.asarray(x)))
    assert max_pool_3x3(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_it_computes_what_its_layers_say():
    model, x = (
        filled(lambda: build("adam-cnn", (12, 9, 3), width=4)),
        images(2, 12, 9, 3),
    )
    y = np.asarray(x)
    for conv in model.convs:
        y = pool(reference.relu(reference.conv(y, conv, padding=2)))
    y = reference.relu(reference.dense(y.reshape(2, -1), model.hidden))
    expected = reference.dense(y, model.head)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)


def test_the_published_width_is_that_of_its_name():
    model = abstract("adam-cnn", (32, 32, 3))
    layers = (*model.convs, model.hidden)
    assert [layer.kernel.shape[-1] for layer in layers] == [64, 64, 128, 1000]
