"""The layers that networks share: padding, BatchNorm, pooling, initial weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks.models.layers import ConvNorm, global_mean, in_blocks, max_pool
from tests.helpers import layers_reference as reference
from tests.helpers.building import filled, images, layers


@pytest.mark.parametrize(
    ("side", "stride", "pixels"), [(1, 2, 8), (3, 2, 8), (3, 2, 9), (7, 2, 8)]
)
def test_convolutions_are_padded_alike_on_all_sides(side, stride, pixels):
    x = images(2, pixels, pixels, 3)
    conv = filled(lambda: layers().conv(3, 4, side, stride=stride))
    expected = reference.conv(x, conv, stride, padding=side // 2)
    assert expected.shape[1] == -(-pixels // stride)
    np.testing.assert_allclose(conv(x), expected, rtol=1e-4, atol=1e-5)


def test_kernel_and_bias_of_pytorchs_kind_have_the_bound_of_their_fan_in():
    conv: Any = layers().conv(16, 2000, 3)
    dense: Any = layers().dense(100, 4000)
    for layer, bound in ((conv, 1 / 12), (dense, 1 / 10)):
        for value in (layer.kernel[...], layer.bias[...]):
            assert 0.995 * bound < jnp.abs(value).max() <= bound * 1.000001


def test_running_statistics_move_by_a_tenth():
    block = ConvNorm(layers(), 3, 4, 3)
    x = 3 + 2 * images(16, 8, 8, 3)
    convolved = block.conv(x)
    block(x)
    np.testing.assert_allclose(
        block.norm.mean[...], 0.1 * convolved.mean((0, 1, 2)), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        block.norm.var[...], 0.9 + 0.1 * convolved.var((0, 1, 2)), rtol=1e-4
    )


def test_an_evaluation_uses_the_running_statistics_and_leaves_them():
    block = filled(lambda: ConvNorm(layers(), 3, 4, 3))
    x = images(2, 4, 4, 3)
    block(x)
    block.eval()
    before = nnx.state(block, nnx.BatchStat)
    mean, var = (np.array(before["norm"][key][...]) for key in ("mean", "var"))
    scale, bias = block.norm.scale[...], block.norm.bias[...]
    expected = (block.conv(x) - mean) / np.sqrt(var + 1e-5) * scale + bias
    np.testing.assert_allclose(block(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(block.norm.mean[...], mean)
    np.testing.assert_array_equal(block.norm.var[...], var)


def test_bfloat16_reaches_statistics_only_through_the_convolution():
    """A mean over many pixels of bfloat16 would be wrong in its third digit."""
    block = ConvNorm(layers(dtype=jnp.bfloat16), 3, 4, 3)
    x = 1 + images(16, 16, 16, 3)
    convolved = block.conv(x)
    y = block(x)
    assert (convolved.dtype, y.dtype) == (jnp.bfloat16, jnp.bfloat16)
    exact = np.asarray(convolved, np.float64)
    assert block.norm.mean[...].dtype == jnp.float32
    np.testing.assert_allclose(
        block.norm.mean[...], 0.1 * exact.mean((0, 1, 2)), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        block.norm.var[...], 0.9 + 0.1 * exact.var((0, 1, 2)), rtol=1e-4
    )


def test_statistics_under_pmap_are_those_of_the_whole_batch():
    devices = jax.local_device_count()
    assert devices > 1
    x = images(4 * devices, 4, 4, 3)
    # Shares that differ, so that no share's statistics are those of the batch.
    x += jnp.arange(len(x), dtype=x.dtype)[:, None, None, None]
    whole = filled(lambda: ConvNorm(layers(), 3, 4, 3))
    shared = filled(lambda: ConvNorm(layers(axis_name="data"), 3, 4, 3))
    graph, state = nnx.split(shared)

    def forward(state, x):
        block = nnx.merge(graph, state)
        return block(x), nnx.state(block)

    forward = jax.pmap(forward, axis_name="data", in_axes=(None, 0), out_axes=(0, None))
    y, state = forward(state, x.reshape(devices, 4, 4, 4, 3))
    np.testing.assert_allclose(y.reshape(-1, 4, 4, 4), whole(x), rtol=1e-4, atol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        state,
        nnx.state(whole),
    )


def test_blocks_of_a_kernel_are_initialised_apart():
    init = in_blocks(nnx.initializers.orthogonal(), 3)
    kernel = init(jax.random.key(0), (5, 15), jnp.float32)
    blocks = jnp.split(kernel, 3, axis=1)
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(5), atol=1e-6)
    assert not jnp.allclose(blocks[0], blocks[1], atol=0.1)


def test_pooling_takes_the_largest_of_four_and_cuts_the_odd_row():
    x = jnp.arange(30.0).reshape(1, 5, 6, 1)
    np.testing.assert_array_equal(max_pool(x)[0, :, :, 0], [[7, 9, 11], [19, 21, 23]])


def test_the_mean_over_pixels_is_computed_in_float32():
    x = (1 + images(1, 8, 8, 2)).astype(jnp.bfloat16)
    mean = global_mean(x)
    assert mean.dtype == jnp.float32
    np.testing.assert_allclose(mean, np.asarray(x, np.float64).mean((1, 2)), rtol=1e-6)
