"""The small VGG: shapes, parameters, statistics."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks import models
from benchmarks.config import UsageError
from benchmarks.models.vgg import max_pool, vgg_small


def small(width=4, channels=3, seed=0):
    return vgg_small(width, channels, 10, axis_name=None, rngs=nnx.Rngs(seed))


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3), (9, 12, 3)])
def test_images_of_any_size_give_one_logit_per_class(shape):
    logits = small(channels=shape[-1])(jnp.zeros((2, *shape)))
    assert logits.shape == (2, 10)
    assert jnp.isfinite(logits).all()


def test_running_statistics_move_by_a_tenth():
    model = small()
    first = model.stages[0][0]
    x = jnp.asarray(np.random.default_rng(0).normal(3.0, 2.0, (64, 8, 8, 3)))
    convolved = first.conv(x.astype(jnp.float32))
    first(x.astype(jnp.float32))
    np.testing.assert_allclose(
        first.norm.mean[...], 0.1 * convolved.mean((0, 1, 2)), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        first.norm.var[...], 0.9 + 0.1 * convolved.var((0, 1, 2)), rtol=1e-4
    )


def test_kernels_start_with_the_deviation_of_he():
    kernel = small(width=32).stages[2][1].conv.kernel[...]
    assert kernel.shape == (3, 3, 128, 128)
    deviation = float(jnp.std(kernel))
    assert deviation == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


def test_seed_determines_the_weights():
    same = jax.tree.map(jnp.array_equal, nnx.state(small()), nnx.state(small()))
    assert all(jax.tree.leaves(same))
    a, b = (small(seed=seed).head.kernel[...] for seed in (0, 1))
    assert not jnp.array_equal(a, b)


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
