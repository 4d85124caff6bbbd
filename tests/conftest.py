"""Eight CPU devices, strict dtype promotion and x64 on demand, for every test."""

import atexit
import importlib
import os
import shutil
import tempfile

# A program is compiled once, for all processes and modules of this run of the tests.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jax-programs-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(
        shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True
    )

# Before JAX is imported by anything.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest


@pytest.fixture(autouse=True)
def strict_promotion():
    """Any implicit mixing of dtypes is an error unless a test asks for it."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Give compiled programs back: a process may map only so many pieces of memory."""
    yield
    jax.clear_caches()


@pytest.fixture
def quick_compilation():
    """Compile fast rather than for speed, where a program runs once or twice."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


# jax.enable_x64 came with JAX 0.8; the older name is deprecated since.
if hasattr(jax, "enable_x64"):
    enable_x64 = jax.enable_x64
else:
    enable_x64 = importlib.import_module("jax.experimental").enable_x64


@pytest.fixture
def x64():
    """Run the test with 64-bit types switched on."""
    with enable_x64(True):
        yield


@pytest.fixture
def standard_promotion(strict_promotion):
    """JAX's usual promotion, for tests that mix dtypes on purpose."""
    with jax.numpy_dtype_promotion("standard"):
        yield
