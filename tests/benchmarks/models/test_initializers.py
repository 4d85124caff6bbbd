"""Every initializer has the distribution that its line states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from benchmarks.errors import UsageError
from benchmarks.models.initializers import INITIALIZERS, lookup, sparse

# A kernel of 3x3 from 16 to 64 channels has fan-in 144 and fan-out 576.
SHAPE = (3, 3, 16, 64)


def draw(name, shape=SHAPE):
    return np.asarray(lookup(name).kernel(random.key(0), shape, jnp.float32))


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("xavier-uniform", (6 / (144 + 576)) ** 0.5),
        ("he-uniform", (6 / 144) ** 0.5),
        ("torch", 1 / 12),
    ],
)
def test_uniform_weights_fill_their_interval(name, bound):
    kernel = draw(name)
    assert bound * 0.999 < kernel.max() <= bound * 1.000001
    assert -bound * 1.000001 <= kernel.min() < -bound * 0.999
    assert kernel.std() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert abs(kernel.mean()) < 0.02 * bound


@pytest.mark.parametrize(
    ("name", "deviation", "cut"),
    [
        ("xavier-normal", (2 / (144 + 576)) ** 0.5, True),
        ("he-normal", (2 / 144) ** 0.5, True),
        ("lecun-normal", 1 / 12, True),
        ("he-normal-fan-out", (2 / 576) ** 0.5, False),
        ("gaussian", 0.01, False),
    ],
)
def test_normal_weights_have_their_deviation(name, deviation, cut):
    kernel = draw(name)
    assert kernel.std() == pytest.approx(deviation, rel=0.02)
    assert abs(kernel.mean()) < 0.02 * deviation
    # Two deviations of the normal distribution before it was cut, or some four.
    assert (np.abs(kernel).max() < 2.3 * deviation) == cut


@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (3, 3, 2, 6), (1, 1, 3, 8)])
def test_orthogonal_kernels_have_orthonormal_rows_or_columns(shape):
    matrix = draw("orthogonal", shape).reshape(-1, shape[-1])
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    identity = np.eye(matrix.shape[1])
    np.testing.assert_allclose(matrix.T @ matrix, identity, atol=1e-6)


def test_orthogonal_kernels_of_16_bits_are_those_of_32_rounded():
    key, init = random.key(0), lookup("orthogonal").kernel
    drawn = init(key, (4, 4), jnp.bfloat16)
    expected = init(key, (4, 4), jnp.float32).astype(jnp.bfloat16)
    np.testing.assert_array_equal(drawn, expected)
    # No other step has 16 bits: not all versions of JAX factorize such matrices.
    program = jax.make_jaxpr(lambda: init(key, (4, 4), jnp.bfloat16))()
    *drawing, rounding = program.jaxpr.eqns
    assert rounding.primitive.name == "convert_element_type"
    assert "bf16" not in "".join(map(str, drawing))


def test_sparse_units_have_fifteen_weights_each():
    kernel = draw("sparse", (5, 5, 4, 400)).reshape(100, 400)
    np.testing.assert_array_equal(np.count_nonzero(kernel, axis=0), 15)
    assert kernel[kernel != 0].std() == pytest.approx(1, rel=0.03)
    # Every input is as likely as another: 60 of 400 units, within five deviations.
    used = np.count_nonzero(kernel, axis=1)
    assert (abs(used - 60) < 5 * (400 * 0.15 * 0.85) ** 0.5).all()


def test_sparse_units_with_few_inputs_have_a_weight_for_each():
    kernel = sparse(4)(random.key(0), (3, 8), jnp.float32)
    assert jnp.count_nonzero(kernel) == 24


@pytest.mark.parametrize("name", INITIALIZERS)
def test_biases_begin_at_zero_but_for_pytorchs(name):
    bias = lookup(name).bias(144)(random.key(0), (4000,), jnp.float32)
    bound = 1 / 12 if name == "torch" else 0.0
    assert bound * 0.999 <= jnp.abs(bias).max() <= bound * 1.000001


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializers_keep_to_shape_and_dtype(name):
    init = lookup(name)
    for initializer, shape in ((init.kernel, (4, 8)), (init.bias(4), (8,))):
        drawn = jax.eval_shape(
            lambda f=initializer, s=shape: f(random.key(0), s, jnp.bfloat16)
        )
        assert (drawn.shape, drawn.dtype) == (shape, jnp.bfloat16)


def test_an_unknown_initializer_lists_what_exists():
    with pytest.raises(UsageError, match="--initializer 'he' does not.*xavier-uni"):
        lookup("he")
