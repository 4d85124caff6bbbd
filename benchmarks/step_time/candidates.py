"""The measured optimizers, and the trees of parameters that they update."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks import models
from benchmarks.errors import UsageError
from benchmarks.optimizers import make
from padam_optax.experimental import pack_small_leaves
from padam_optax.schedules import linear_p_schedule


def _naive_power() -> optax.GradientTransformation:
    """Write Padam as its formula reads, as most ports do."""

    def rescale(m: jax.Array, v: jax.Array) -> jax.Array:
        return m / jnp.power(jnp.sqrt(v) + 1e-8, 0.25)

    def init(params):
        zeros = optax.tree.zeros_like(params)
        return zeros, zeros, zeros

    def update(g, state, params=None):
        mu, nu, nu_max = state
        mu = optax.tree.update_moment(g, mu, 0.9, 1)
        nu = optax.tree.update_moment(g, nu, 0.999, 2)
        nu_max = jax.tree.map(jnp.maximum, nu_max, nu)
        return jax.tree.map(rescale, mu, nu_max), (mu, nu, nu_max)

    return optax.chain(
        optax.GradientTransformation(init, update), optax.scale_by_learning_rate(0.1)
    )


def _copy() -> optax.GradientTransformation:
    """Read and write the parameters, and nothing else: two streams of memory."""
    return optax.GradientTransformation(
        lambda params: optax.EmptyState(),
        lambda g, state, params=None: (jax.tree.map(jnp.ones_like, params), state),
    )


def _padam(**changes: Any) -> optax.GradientTransformation:
    return make("padam-uncorrected", 0.1, **changes)


def _quantized(format: str) -> optax.GradientTransformation:
    return make("padam-compressed", 0.1, bias_correction="none", format=format)


# All that is compared, in the order of the table.
CANDIDATES: dict[str, Callable[[], optax.GradientTransformation]] = {
    "copy": _copy,
    "sgd": lambda: make("momentum", 0.1),
    "adam": lambda: make("adam", 1e-3, b2=0.999),
    "amsgrad": lambda: make("amsgrad", 1e-3, b2=0.999),
    "padam p=1/4": lambda: _padam(p=0.25),
    "padam p=1/8": _padam,
    "padam p=1/16": lambda: _padam(p=0.0625),
    "padam p=0.3": lambda: _padam(p=0.3),
    "padam, p scheduled": lambda: _padam(p=linear_p_schedule(0.5, 0.125, 1000)),
    "padam, power as printed": _naive_power,
    "padam, m in bfloat16": lambda: _padam(mu_dtype=jnp.bfloat16),
    "padam, packed": lambda: pack_small_leaves(_padam()),
    "padam, 16 bits": lambda: _quantized("16-bit"),
    "padam, 8 bits": lambda: _quantized("8-bit"),
}


def find_shapes(tree: str) -> list[tuple[int, ...]]:
    """Return the shapes of the leaves of a tree: see `SpeedConfig.trees`."""
    if match := re.fullmatch(r"leaf-([1-9]\d*)", tree):
        return [(int(match[1]),)]
    if match := re.fullmatch(r"leaves-([1-9]\d*)", tree):
        return [(64,)] * int(match[1])
    if tree == "transformer":
        return _transformer(layers=12, width=512, vocabulary=32_000)
    if tree not in models.MODELS:
        known = ", ".join(("leaf-N", "leaves-N", "transformer", *models.MODELS))
        raise UsageError(f"--trees {tree!r} does not exist; choose from {known}.")
    model = models.lookup(tree)
    side = 224 if tree.endswith("imagenet") else 32
    shape = (side, side, 3) if model.takes == "images" else (128,)
    classes = 1000 if tree.endswith("imagenet") else 10
    network = nnx.eval_shape(
        lambda: model.build(
            model.width,
            shape,
            classes,
            initializer=None,
            dtype=jnp.dtype("float32"),
            axis_name=None,
            rngs=nnx.Rngs(0),
        )
    )
    return [x.shape for x in jax.tree.leaves(nnx.state(network, nnx.Param))]


def _transformer(layers: int, width: int, vocabulary: int) -> list[tuple[int, ...]]:
    """List the leaves of a decoder in the style of GPT-2, its embedding tied."""
    block: list[tuple[int, ...]] = [(width,)] * 4  # two norms
    for inputs, outputs in ((1, 3), (1, 1), (1, 4), (4, 1)):
        block += [(inputs * width, outputs * width), (outputs * width,)]
    return [(vocabulary, width), (1024, width), *block * layers, (width,), (width,)]
