"""Linear rates of gradient descent, Polyak's and Nesterov's momentum on quadratics."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

CONDITION_NUMBERS = (10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4)
DIMENSION, SEEDS = 10, 5
_EFOLDS = 100
"""Powers of e by which the formula's rate shrinks the distance within a run."""


class Method(NamedTuple):
    """A method with the constants that are optimal for curvatures from 1 to κ.

    Attributes:
      label: Its name in tables and plots.
      formula: The rate that the slides state, as text.
      rate: The same, a function of κ.
      build: Takes κ and returns the optimizer.
    """

    label: str
    formula: str
    rate: Callable[[float], float]
    build: Callable[[float], optax.GradientTransformation]


def _polyak(kappa: float) -> optax.GradientTransformation:
    root = math.sqrt(kappa)
    momentum = ((root - 1) / (root + 1)) ** 2
    return optax.sgd(4 / (root + 1) ** 2, momentum=momentum)


def _nesterov(kappa: float) -> optax.GradientTransformation:
    root = math.sqrt(kappa)
    return optax.sgd(1 / kappa, momentum=(root - 1) / (root + 1), nesterov=True)


METHODS: dict[str, Method] = {
    "gradient-descent": Method(
        "gradient descent",
        "(κ-1)/(κ+1)",
        lambda kappa: (kappa - 1) / (kappa + 1),
        lambda kappa: optax.sgd(2 / (1 + kappa)),
    ),
    "polyak": Method(
        "Polyak",
        "(√κ-1)/(√κ+1)",
        lambda kappa: (kappa**0.5 - 1) / (kappa**0.5 + 1),
        _polyak,
    ),
    "nesterov": Method(
        "Nesterov",
        "√((√κ-1)/√κ)",
        lambda kappa: (1 - kappa**-0.5) ** 0.5,
        _nesterov,
    ),
}


@partial(jax.jit, static_argnames=("name", "kappa", "half"))
def _distances(name: str, kappa: float, starts: jax.Array, half: int) -> jax.Array:
    """Return the distances from the minimum after half of the steps and after all."""
    optimizer = METHODS[name].build(kappa)
    curvature = jnp.logspace(0, math.log10(kappa), starts.shape[-1])

    def step(carry: Any, _: None) -> Any:
        x, state = carry
        updates, state = optimizer.update(curvature * x, state, x)
        return (optax.apply_updates(x, updates), state), None

    def from_start(x: jax.Array) -> jax.Array:
        carry, _ = lax.scan(step, (x, optimizer.init(x)), None, half)
        middle = jnp.linalg.norm(carry[0])
        carry, _ = lax.scan(step, carry, None, half)
        return jnp.stack([middle, jnp.linalg.norm(carry[0])])

    return jax.vmap(from_start)(starts)


def measure(name: str, kappa: float, starts: np.ndarray) -> tuple[int, np.ndarray]:
    """Measure the factor by which a step shrinks the distance to the minimum.

    Returns:
      The steps of a run, and the factor of each draw over their second half.
    """
    half = math.ceil(_EFOLDS / -math.log(METHODS[name].rate(kappa)) / 2)
    with jax.enable_x64(True):
        found = jax.device_get(_distances(name, kappa, jnp.asarray(starts), half))
    return 2 * half, (found[:, 1] / found[:, 0]) ** (1 / half)


def run(seeds: int = SEEDS) -> Iterator[Any]:
    """Yield the ``measured`` and the ``claimed`` rate of each method, κ and start."""
    starts = np.stack(
        [np.random.default_rng(seed).normal(size=DIMENSION) for seed in range(seeds)]
    )
    for name, method in METHODS.items():
        for kappa in CONDITION_NUMBERS:
            steps, rates = measure(name, kappa, starts)
            for seed, rate in enumerate(rates):
                yield {
                    "method": name,
                    "label": method.label,
                    "formula": method.formula,
                    "kappa": kappa,
                    "seed": seed,
                    "steps": steps,
                    "claimed": method.rate(kappa),
                    "measured": float(rate),
                }
