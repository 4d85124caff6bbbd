"""The convolution that is fast in loops on a CPU is the convolution."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from benchmarks.models.convolution import conv_general_dilated
from tests.marks import fast


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "dtype"),
    [
        (2, 3, 1, jnp.float32),
        (8, 3, 1, jnp.float32),
        (8, 3, 2, jnp.bfloat16),
        (8, 1, 2, jnp.float32),
        (16, 7, 2, jnp.float32),
    ],
)
def test_gradients_in_a_loop_keep_the_fast_layout_on_a_cpu(side, kernel, stride, dtype):
    """The layouts that XLA's fast routine takes, in the compiled loop."""
    x, k = jnp.ones((4, side, side, 3), dtype), jnp.ones((kernel, kernel, 3, 3), dtype)
    strides, padding = (stride, stride), ((kernel // 2, kernel // 2),) * 2

    def descend(carry, _):
        def loss(x, k):
            return jnp.sum(jnp.sin(conv_general_dilated(x, k, strides, padding)))

        gradient = jax.grad(loss, (0, 1))(*carry)
        return jax.tree.map(lambda a, b: a - 0.5 * b, carry, gradient), None

    program = jax.jit(lambda c: lax.scan(descend, c, length=3)[0])
    text = program.lower((x, k)).compile().as_text() or ""
    layouts = re.findall(r"convolution\(.*dim_labels=([^,\s]+)", text)
    assert len(layouts) >= 3
    assert set(layouts) == {"b01f_01io->b01f"}
    assert "rhs_reversal" not in text


@pytest.mark.parametrize("side", fast([1, 2, 5, 8], 5))
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


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_first_convolution_for_imagenet_has_jaxs_gradients(dtype):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 18, 19, 3)), dtype)
    w = jnp.asarray(rng.normal(size=(7, 7, 3, 4)), dtype)
    window = (2, 2), ((3, 3), (3, 3))

    def theirs(x, w):
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, w, *window, dimension_numbers=layout)

    for f in (theirs, lambda x, w: conv_general_dilated(x, w, *window)):
        y, pullback = jax.vjp(f, x, w)
        found = [np.asarray(a, np.float32) for a in (y, *pullback(jnp.cos(y)))]
        if f is theirs:
            expected = found
    tolerance = 1e-4 if dtype == jnp.float32 else 2**-7
    for a, b in zip(found, expected, strict=True):
        assert np.linalg.norm(a - b) < tolerance * np.linalg.norm(b)


def test_the_convolution_refuses_what_it_does_not_do():
    x, w = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 1, 2))
    with pytest.raises(ValueError, match="feature groups"):
        conv_general_dilated(x, w, (1, 1), "SAME", feature_group_count=2)
