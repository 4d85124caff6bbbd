"""Networks for tests, and what is in them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks import models
from benchmarks.models.layers import Layers

TINY = {
    "lenet": 3,
    "mlp": 4,
    "mlp-3": 4,
    "mlp-3-dropout": 4,
    "mlp-5": 4,
    "logistic": 1,
    "lstm-1": 6,
    "lstm-2": 6,
    "lstm-3": 6,
}  # the others are made with a width of two


def tiny_shape(name):
    """The smallest input that a network takes."""
    model = models.lookup(name)
    return (5,) if model.takes == "text" else (max(model.smallest_side, 3),) * 2 + (3,)


def build(name, shape=None, classes=10, *, width=None, seed=0, **settings) -> Any:
    """Build a network, a tiny one unless told otherwise."""
    settings = {
        "initializer": None,
        "dtype": jnp.float32,
        "axis_name": None,
        "rngs": nnx.Rngs(seed),
    } | settings
    shape = tiny_shape(name) if shape is None else shape
    width = TINY.get(name, 2) if width is None else width
    return models.lookup(name).build(width, shape, classes, **settings)


def abstract(name, shape, classes=10) -> Any:
    """The published network, without memory for its weights."""
    width = models.lookup(name).width
    return nnx.eval_shape(lambda: build(name, shape, classes, width=width))


def size(model):
    """Number of parameters."""
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    return sum(math.prod(leaf.shape) for leaf in leaves)


def inputs(name, shape=None, n=4, seed=0):
    """A batch that a network takes."""
    shape = tiny_shape(name) if shape is None else shape
    if models.lookup(name).takes == "text":
        rng = np.random.default_rng(seed)
        return jnp.asarray(rng.integers(0, 10, (n, *shape)), jnp.int32)
    return images(n, *shape, seed=seed)


def images(*shape, seed=0):
    """Noise of the given shape."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def layers(conv="torch", dense="torch", **settings):
    """What makes the layers of a network."""
    settings = {"initializer": None, "dtype": jnp.float32, "axis_name": None} | settings
    return Layers(conv, dense, rngs=nnx.Rngs(0), **settings)


def parameters(model):
    """Pairs of a parameter's path, with dots, and its value."""
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return [(".".join(map(str, path)), value[...]) for path, value in flat]


def filled(make, seed=0):
    """Build a network with drawn numbers in all places, those of BatchNorm included."""
    rng = np.random.default_rng(seed)
    graph, state = nnx.split(nnx.eval_shape(make))

    def draw(path, leaf):
        if path[-1] in ("seed", "calls"):  # of a dropout
            return leaf.replace(jnp.zeros(leaf.shape, leaf.dtype))
        if path[-1] in ("scale", "var"):
            drawn = rng.uniform(0.5, 1.5, leaf.shape)
        else:
            drawn = rng.normal(size=leaf.shape)
        if path[-1] == "kernel":
            drawn /= math.prod(leaf.shape[:-1]) ** 0.5
        return leaf.replace(jnp.asarray(drawn, jnp.float32))

    flat = [(path, draw(path, leaf)) for path, leaf in nnx.to_flat_state(state)]
    return nnx.merge(graph, nnx.from_flat_state(flat))


@nnx.jit
def apply(model, x):
    """Compute the logits and move the running statistics, as one program."""
    return model(x)
