"""The networks, and the convolution that is fast in loops on a CPU."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from benchmarks import models
from benchmarks.config import UsageError
from benchmarks.models.convolution import conv_general_dilated
from benchmarks.models.vgg import max_pool


@pytest.mark.parametrize("side", [1, 2, 5, 8])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 2), (0, 1))])
def test_the_convolution_and_its_gradients_are_jaxs(side, kernel, strides, padding):
    least = {"SAME": 1, "VALID": kernel}.get(padding, kernel - 1)
    if side < least:
        return  # no output
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(4, side, side, 3)), jnp.float32)
    w = jnp.asarray(rng.normal(size=(kernel, kernel, 3, 5)), jnp.float32)

    def theirs(x, w):
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, w, strides, padding, dimension_numbers=layout
        )

    def value_and_gradients(f):
        y, pullback = jax.vjp(f, x, w)
        return y, *pullback(jnp.cos(y))

    actual = jax.jit(
        lambda: value_and_gradients(
            lambda x, w: conv_general_dilated(x, w, strides, padding)
        )
    )()
    for ours, expected in zip(actual, value_and_gradients(theirs), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_the_convolution_refuses_what_it_does_not_do():
    x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 1, 2))
    with pytest.raises(ValueError, match="feature groups"):
        conv_general_dilated(x, w, (1, 1), "SAME", feature_group_count=2)


def test_pooling_takes_the_largest_of_four_and_cuts_the_odd_row():
    x = jnp.arange(30.0).reshape(1, 5, 6, 1)
    np.testing.assert_array_equal(max_pool(x)[0, :, :, 0], [[7, 9, 11], [19, 21, 23]])


def test_vgg_small_has_the_parameters_that_its_description_gives():
    model = models.lookup("vgg-small").build(
        16, 3, 10, axis_name=None, rngs=nnx.Rngs(0)
    )
    params = jax.tree.leaves(nnx.state(model, nnx.Param))
    widths = [3, 16, 16, 32, 32, 64, 64]
    convolutions = sum(9 * a * b + b for a, b in itertools.pairwise(widths))
    norms = 2 * sum(widths[1:])
    assert sum(x.size for x in params) == convolutions + norms + 64 * 10 + 10
    assert model(jnp.ones((2, 32, 32, 3))).shape == (2, 10)


def test_an_unknown_network_lists_what_exists():
    with pytest.raises(UsageError, match="--model 'vgg' does not exist.*vgg-small"):
        models.lookup("vgg")
