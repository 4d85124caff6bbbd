"""Residual networks: the blocks against NumPy, strides, shortcuts, initial weights."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks.models.resnet import ResNet, basic, bottleneck
from tests.helpers import layers_reference as reference
from tests.helpers.building import abstract, apply, filled, images, layers


def block_in_numpy(x, block, strides):
    """ReLU between the convolutions and after the sum, nowhere else."""
    y = x
    for i, (conv, stride) in enumerate(zip(block.convs, strides, strict=True)):
        y = reference.conv_norm(reference.relu(y) if i else y, conv, stride)
    if block.shortcut is None:
        return reference.relu(y + reference.array(x))
    return reference.relu(y + reference.conv_norm(x, block.shortcut, max(strides)))


@pytest.mark.parametrize(
    ("build_block", "inputs", "width", "strides", "projects"),
    [
        (basic, 4, 4, (1, 1), False),
        (basic, 4, 4, (2, 1), True),
        (bottleneck, 2, 2, (1, 1, 1), True),
        (bottleneck, 8, 2, (1, 2, 1), True),
    ],
)
def test_blocks_compute_what_the_paper_draws(
    build_block, inputs, width, strides, projects
):
    block = filled(lambda: build_block(layers(), inputs, width, max(strides)))
    assert (block.shortcut is not None) == projects
    x = images(3, 5, 6, inputs)
    expected = block_in_numpy(x, block, strides)
    assert expected.shape[-1] == (width if build_block is basic else 4 * width)
    np.testing.assert_allclose(apply(block, x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("large", [False, True])
def test_a_resnet_is_stem_blocks_mean_and_dense_layer(large):
    depths = (1, 1) if large else (1,)
    options = {"block": basic, "depths": depths, "large": large}
    model = filled(lambda: ResNet(layers(), 2, (13, 16, 3), 5, **options))
    x = images(2, 13, 16, 3)
    y = reference.relu(reference.conv_norm(x, model.stem, 2 if large else 1))
    if large:
        y = reference.max_pool(y, side=3, padding=1)
        assert y.shape == (2, 4, 4, 2)
    for block, strides in zip(model.blocks, [(1, 1), (2, 1)], strict=large):
        y = block_in_numpy(y, block, strides)
    expected = reference.dense(y.mean((1, 2)), model.head)
    np.testing.assert_allclose(apply(model, x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "side", "sides", "channels", "projections"),
    [
        (
            "resnet18",
            32,
            [32, 32, 32, 16, 16, 8, 8, 4, 4],
            [64, 64, 64, 128, 128, 256, 256, 512, 512],
            [2, 4, 6],
        ),
        (
            "wrn16-4",
            32,
            [32, 32, 32, 16, 16, 8, 8],
            [64, 64, 64, 128, 128, 256, 256],
            [2, 4],
        ),
        (
            "resnet18-imagenet",
            224,
            [112, 56, 56, 28, 28, 14, 14, 7, 7],
            [64, 64, 64, 128, 128, 256, 256, 512, 512],
            [2, 4, 6],
        ),
        pytest.param(
            "resnet50-imagenet",
            224,
            [112, *[56] * 3, *[28] * 4, *[14] * 6, *[7] * 3],
            [64, *[256] * 3, *[512] * 4, *[1024] * 6, *[2048] * 3],
            [0, 3, 7, 13],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_sides_channels_and_shortcuts_are_those_of_the_papers_table(
    name, side, sides, channels, projections
):
    model = abstract(name, (side, side, 3))
    seen = []

    def forward(model, x):
        x = model.stem(x)
        seen.append(x.shape)
        if model.large:
            x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for block in model.blocks:
            x = block(x)
            seen.append(x.shape)

    nnx.eval_shape(forward, model, jnp.zeros((1, side, side, 3)))
    assert seen == [(1, s, s, c) for s, c in zip(sides, channels, strict=True)]
    found = [i for i, block in enumerate(model.blocks) if block.shortcut is not None]
    assert found == projections
