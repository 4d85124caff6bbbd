"""The networks of the VGG kind: their layers, and images of other sizes."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks.models.vgg import VGG
from tests.helpers import layers_reference as reference
from tests.helpers.building import (
    abstract,
    apply,
    build,
    filled,
    images,
    layers,
    size,
)


@pytest.mark.parametrize("hidden", [[], [5, 4]])
def test_a_vgg_computes_what_its_layers_say(hidden):
    stages, shape = [[2, 3], [4]], (9, 12, 2)
    model = filled(lambda: VGG(layers(), 1, shape, 5, stages=stages, hidden=hidden))
    x = images(3, *shape)
    y = x
    for stage in model.stages:
        for block in stage:
            y = reference.relu(reference.conv_norm(y, block))
        y = reference.max_pool(y)
    assert y.shape == (3, 2, 3, 4)
    y = y.reshape(3, -1) if hidden else y.mean((1, 2))
    for dense in model.hidden:
        y = reference.relu(reference.dense(y, dense))
    expected = reference.dense(y, model.head)
    np.testing.assert_allclose(apply(model, x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (9, 12, 3)])
def test_images_of_any_size_give_one_logit_per_class(shape):
    model = nnx.eval_shape(lambda: build("vgg-small", shape))
    logits = nnx.eval_shape(lambda m, x: m(x), model, jnp.zeros((2, *shape)))
    assert logits.shape == (2, 10)


def test_vgg_small_has_the_parameters_that_its_description_gives():
    layers = [(3, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)]
    expected = sum(9 * a * b + b + 2 * b for a, b in layers) + 64 * 10 + 10
    assert size(abstract("vgg-small", (32, 32, 3))) == expected


@pytest.mark.parametrize("name", ["vgg16", "vgg16-imagenet"])
def test_vgg_16_has_the_convolutions_of_configuration_d(name):
    model = abstract(name, (64, 64, 3))
    channels = [[b.conv.kernel.shape[-1] for b in s] for s in model.stages]
    assert channels == [
        [64, 64],
        [128, 128],
        [256, 256, 256],
        [512, 512, 512],
        [512, 512, 512],
    ]
    assert all(b.conv.bias is not None for s in model.stages for b in s)
    # Five poolings leave 2x2 of 64x64 pixels, which only the dense layers see apart.
    sizes = [dense.kernel.shape for dense in (*model.hidden, model.head)]
    dense = [(4 * 512, 4096), (4096, 4096), (4096, 10)]
    assert sizes == (dense if name == "vgg16-imagenet" else [(512, 10)])
