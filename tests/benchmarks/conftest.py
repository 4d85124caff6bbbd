"""Programs of the benchmarks are compiled fast: each runs once or twice."""

import os

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def quick_compilation():
    """Compile fast rather than for speed, in this process and those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", False)
