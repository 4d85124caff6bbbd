"""Weight initializers by name: the choices of `--initializer`, and the defaults.

The fan-in of a kernel is the number of inputs that each output sums over, including the
height and width of a convolution's window; its fan-out is the number of outputs that
each input contributes to. Biases are zero unless a line says otherwise. The normal
distributions of xavier, he and lecun are truncated at two standard deviations and
rescaled to the stated variance.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import initializers

from benchmarks.errors import check_name


class Initializer(NamedTuple):
    """The initial kernel and bias of a layer.

    Attributes:
      kernel: Takes a key, a shape (..., inputs, outputs) and a dtype.
      description: Formula and source, in one line.
      bias: Takes the fan-in of the kernel and returns the initializer of the bias.
    """

    kernel: initializers.Initializer
    description: str
    bias: Callable[[int], initializers.Initializer] = lambda _: initializers.zeros


def uniform_bias(fan_in: int) -> Callable[..., jax.Array]:
    """Draw biases from U(±1/√fan-in)."""
    bound = fan_in**-0.5

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def sparse(nonzero: int = 15) -> Callable[..., jax.Array]:
    """Draw that many of each unit's incoming weights from N(0, 1); others are 0.

    A unit with fewer inputs gets a weight for each.
    """

    def init(key, shape, dtype=jnp.float32):
        place_key, value_key = jax.random.split(key)
        places = jnp.arange(math.prod(shape[:-1]))[:, None] < nonzero
        places = jnp.broadcast_to(places, (len(places), shape[-1]))
        places = jax.random.permutation(place_key, places, axis=0, independent=True)
        values = jax.random.normal(value_key, shape, dtype)
        return jnp.where(places.reshape(shape), values, jnp.zeros((), dtype))

    return init


def orthogonal() -> Callable[..., jax.Array]:
    """Draw orthonormal rows or columns, whichever are fewer, in float32; then cast.

    Some versions of JAX cannot factorize 16-bit matrices.
    """

    def init(key, shape, dtype=jnp.float32):
        return initializers.orthogonal()(key, shape, jnp.float32).astype(dtype)

    return init


INITIALIZERS: dict[str, Initializer] = {
    "xavier-uniform": Initializer(
        initializers.glorot_uniform(),
        "U(±√(6/(fan-in + fan-out))); Glorot and Bengio, AISTATS 2010",
    ),
    "xavier-normal": Initializer(
        initializers.glorot_normal(),
        "N(0, 2/(fan-in + fan-out)); Glorot and Bengio, AISTATS 2010",
    ),
    "he-uniform": Initializer(
        initializers.he_uniform(),
        "U(±√(6/fan-in)), for ReLU; He et al., ICCV 2015",
    ),
    "he-normal": Initializer(
        initializers.he_normal(),
        "N(0, 2/fan-in), for ReLU; He et al., ICCV 2015",
    ),
    "he-normal-fan-out": Initializer(
        initializers.variance_scaling(2.0, "fan_out", "normal"),
        "N(0, 2/fan-out), not truncated; He et al., ICCV 2015, as torchvision has it",
    ),
    "lecun-normal": Initializer(
        initializers.lecun_normal(),
        "N(0, 1/fan-in), Flax's default; LeCun et al., Efficient BackProp, 1998",
    ),
    "gaussian": Initializer(
        initializers.normal(0.01),
        "N(0, 0.01²); Krizhevsky et al., NIPS 2012",
    ),
    "orthogonal": Initializer(
        orthogonal(),
        "orthonormal rows or columns, whichever are fewer; Saxe et al., ICLR 2014",
    ),
    "sparse": Initializer(
        sparse(15),
        "15 weights from N(0, 1) into each unit, the others 0; Martens, ICML 2010",
    ),
    "torch": Initializer(
        initializers.variance_scaling(1 / 3, "fan_in", "uniform"),
        "U(±1/√fan-in), biases too; PyTorch's default, kaiming_uniform with a = √5",
        uniform_bias,
    ),
}


def lookup(name: str) -> Initializer:
    """Find an initializer by its name on the command line."""
    check_name("--initializer", name, INITIALIZERS)
    return INITIALIZERS[name]
