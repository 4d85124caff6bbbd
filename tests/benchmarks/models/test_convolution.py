import re

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from benchmarks.models.convolution import conv_general_dilated


@pytest.mark.parametrize("side", [2, 8])
def test_gradients_in_a_loop_keep_the_fast_layout_on_a_cpu(side):
    """The layouts that XLA's fast routine takes, in the compiled loop."""
    x, k = jnp.ones((4, side, side, 3)), jnp.ones((3, 3, 3, 3))

    def descend(carry, _):
        def loss(x, k):
            return jnp.sum(jnp.sin(conv_general_dilated(x, k, (1, 1), "SAME")))

        gradient = jax.grad(loss, (0, 1))(*carry)
        return jax.tree.map(lambda a, b: a - 0.1 * b, carry, gradient), None

    program = jax.jit(lambda c: lax.scan(descend, c, length=3)[0])
    text = program.lower((x, k)).compile().as_text()
    layouts = re.findall(r"convolution\(.*dim_labels=([^,\s]+)", text)
    assert len(layouts) >= 3
    assert set(layouts) == {"b01f_01io->b01f"}
    assert "rhs_reversal" not in text
