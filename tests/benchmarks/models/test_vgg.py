import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks.models.vgg import vgg_small


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
