"""LeNet: its layers in NumPy, and images smaller than 32x32."""

import numpy as np
import pytest

from tests.helpers import layers_reference as reference
from tests.helpers.building import abstract, apply, build, filled, images


@pytest.mark.parametrize("shape", [(28, 28, 1), (31, 8, 1), (32, 36, 3)])
def test_lenet_computes_what_its_layers_say(shape):
    model, x = filled(lambda: build("lenet", shape)), images(2, *shape)
    y = np.zeros((2, 32, max(32, shape[1]), shape[2]))
    top, left = ((a - b) // 2 for a, b in zip(y.shape[1:3], shape[:2], strict=True))
    y[:, top : top + shape[0], left : left + shape[1]] = x
    for conv in model.convs:
        y = reference.max_pool(reference.relu(reference.conv(y, conv)))
    assert y.shape == (2, 5, 5 if shape[1] <= 32 else 6, 8)
    y = y.reshape(2, -1)
    for dense in model.hidden:
        y = reference.relu(reference.dense(y, dense))
    expected = reference.dense(y, model.head)
    np.testing.assert_allclose(apply(model, x), expected, rtol=1e-4, atol=1e-5)


def test_the_published_width_is_that_of_lenet_5():
    model = abstract("lenet", (32, 32, 1))
    layers = (*model.convs, *model.hidden, model.head)
    shapes = [layer.kernel.shape for layer in layers]
    assert shapes == [(5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 10)]
