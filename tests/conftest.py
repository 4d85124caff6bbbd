"""Eight CPU devices, strict dtype promotion and x64 on demand, for every test."""

import atexit
import gc
import importlib
import os
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

# A program is compiled once, for all processes and modules of this run of the tests.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jax-programs-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(
        shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True
    )

os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8"]
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest


def pytest_addoption(parser: pytest.Parser):
    """Let `make test` trade the speed of programs for that of their compilation."""
    parser.addoption(
        "--fast-compile",
        action="store_true",
        help="Compile without optimizations, since most tests run a program once or "
        "twice. By default programs are compiled as users compile them.",
    )


def pytest_configure(config: pytest.Config):
    """Set XLA's options before its first use, also for processes that tests start."""
    if not config.getoption("--fast-compile"):
        return
    flags = ["--xla_backend_optimization_level=0"]
    flags.append("--xla_llvm_disable_expensive_passes=true")
    # From JAX 0.11 on there are no other emitters, and 0.12 refuses the flag.
    if metadata.version("jaxlib").startswith(("0.6", "0.7", "0.8", "0.9", "0.10")):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join([os.environ["XLA_FLAGS"], *flags])


@pytest.fixture(autouse=True)
def strict_promotion():
    """Any implicit mixing of dtypes is an error unless a test asks for it."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def pytest_collection_finish():
    """Let the garbage collector leave out what stays until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Give compiled programs back before they are too many pieces of memory to map."""
    yield
    maps = Path("/proc/self/maps")  # of Linux, which allows 65,530
    if maps.exists() and maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()


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
