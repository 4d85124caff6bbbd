"""The table of optimizers and wrappers, and what tests of their properties share."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from padam_optax import (
    moving_average,
    padam,
    padamw,
    running_max,
    scale_by_partial_adaptive,
)
from padam_optax.contrib import adagrad_norm, santa, squared_deviation
from padam_optax.diagnostics import keep_initial_params
from padam_optax.experimental import pack_small_leaves, quantize_state
from padam_optax.projections import box, projected
from padam_optax.state import reset_max_at
from tests.marks import fast


class Row(NamedTuple):
    """An optimizer and its properties.

    Attributes:
      make: A function that builds it with a learning rate.
      copies: How many trees like the parameters are in its state.
      lacks: The properties that it does not have, as words in tests' names.
      biases: How many biases its parameters have.
    """

    make: Callable[[Any], optax.GradientTransformation]
    copies: int
    lacks: frozenset[str] = frozenset()
    biases: int = 1


def schedule(count: Any) -> Any:
    return jnp.maximum(0.1 - 0.02 * count, 0.01).astype(jnp.float32)


TABLE = {
    "padam": Row(padam, 3),
    "padam, scheduled": Row(
        lambda rate: padam(
            lambda count: 10 * rate * schedule(count),
            p=schedule,
            weight_decay=schedule,
            bias_correction="consistent",
            nesterov=True,
            mu_dtype=jnp.bfloat16,
        ),
        3,
    ),
    "padam, before_max": Row(
        functools.partial(padam, bias_correction="before_max", p=0.5), 3
    ),
    "padamw, official": Row(
        functools.partial(padamw, p=0.3, weight_decay=0.01, bias_correction="official"),
        3,
    ),
    "adabelief-like": Row(
        lambda rate: optax.chain(
            scale_by_partial_adaptive(
                second_moment=optax.chain(
                    squared_deviation(), moving_average(), running_max()
                )
            ),
            optax.scale_by_learning_rate(rate),
        ),
        3,
    ),
    # Its norm is that of all leaves and shards.
    "adagrad_norm": Row(
        lambda rate: adagrad_norm(20 * rate), 0, frozenset({"sharded", "extra"})
    ),
    "adagrad_norm, per leaf": Row(
        lambda rate: adagrad_norm(20 * rate, per_leaf=True),
        1,
        frozenset({"sharded", "extra"}),
    ),
    # The noise of a leaf depends on its place in the tree.
    "santa": Row(
        lambda rate: santa(rate / 5, 10, 2, 0),
        3,
        frozenset({"complex", "extra", "parabola"}),
    ),
    "projected": Row(
        lambda rate: projected(padam(rate), box(-0.5, 0.5), p=0.125),
        3,
        frozenset({"complex", "parabola"}),
    ),
    "reset_max_at": Row(lambda rate: reset_max_at(padam(rate), {1}), 3),
    "keep_initial_params": Row(
        lambda rate: optax.chain(keep_initial_params(), padam(rate)), 4
    ),
    # Another rounding of a moment may give its neighbor's code.
    "8-bit": Row(
        lambda rate: quantize_state(padam(rate), min_size=0, check_momentum=False),
        3,
        frozenset({"float32", "eager", "loop"}),
    ),
    "packed": Row(lambda rate: pack_small_leaves(padam(rate)), 3, biases=32),
}


def with_property(word: str) -> pytest.MarkDecorator:
    """Run a test for each optimizer that has the property."""
    names = [name for name, row in TABLE.items() if word not in row.lacks]
    return pytest.mark.parametrize("name", fast(names, *FAST))


# The fast tests try these; the other rows wrap or vary them.
FAST = ("padam", "padam, scheduled", "adagrad_norm", "projected", "8-bit")
every_optimizer = pytest.mark.parametrize("name", fast(TABLE, *FAST))


def build(name: str, learning_rate: Any = 0.05) -> optax.GradientTransformation:
    return TABLE[name].make(learning_rate)


def jitted(opt: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Return the transformation as two programs, instead of one for each operation."""
    init, update = jax.jit(opt.init), jax.jit(opt.update)
    return optax.GradientTransformationExtraArgs(init, update)


def make_params(name: str = "padam", dtype: Any = jnp.float32) -> Any:
    """Return a nested tree with a matrix, vectors, a scalar and an empty leaf."""
    values = np.random.default_rng(0).normal(size=(4, 8))
    biases = [jnp.asarray(values[0] + k, dtype) for k in range(TABLE[name].biases)]
    return {
        "layer": {"kernel": jnp.asarray(values, dtype), "bias": biases},
        "scale": jnp.asarray(values[1, 0], dtype),
        "empty": jnp.zeros((0, 3), dtype),
    }


def make_small_params(name: str, factor: float = 1.0) -> Any:
    """Return a tree of one vector, or of enough of them to be packed."""
    leaf = jnp.linspace(-1.0, 1.0, 4) * factor
    return [leaf + k for k in range(TABLE[name].biases)]


def make_gradients(params: Any, t: Any) -> Any:
    return jax.tree.map(lambda x: (jnp.cos(x * (t + 1)) + 0.3).astype(x.dtype), params)


def step(opt: Any, params: Any, state: Any, t: Any) -> Any:
    u, state = opt.update(make_gradients(params, t), state, params)
    return optax.apply_updates(params, u), state


class Run(NamedTuple):
    """Four steps in a loop, each of which gives its buffers to the next."""

    params: Any
    state: Any
    traces: int


@functools.cache
def run(name: str, factor: float = 1.0) -> Run:
    """Return the end of a run from parameters multiplied by a factor, as NumPy."""
    opt, traces = build(name), []

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def donating_step(params: Any, state: Any, t: Any) -> Any:
        traces.append(t)
        return step(opt, params, state, t)

    params = make_small_params(name, factor)
    state = jax.jit(opt.init)(params)
    for t in range(4):
        params, state = donating_step(params, state, jnp.float32(t))
    return Run(*jax.tree.map(np.array, (params, state)), len(traces))


def types(tree: Any) -> Any:
    """Return shapes, dtypes and weak types."""
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)
