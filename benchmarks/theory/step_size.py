"""Whether ½ ε² gᵀHg > ε gᵀg tells that a gradient step increases the loss."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks.landscape.surfaces import SURFACES

NAMES = ("ravine", "beale", "rosenbrock")
LEARNING_RATES = tuple(float(1e-4 * 1.25**k) for k in range(40))
STEPS = 300
_LARGEST_LOSS, _LEAST_CHANGE = 1e6, 1e-9


@partial(jax.jit, static_argnames=("name", "steps"))
def follow(name: str, rates: jax.Array, steps: int) -> tuple[jax.Array, ...]:
    """Descend from a surface's start with every learning rate ε.

    Returns:
      Arrays (rates, steps): the loss before each step and after it, and the change that
      the quadratic model predicts, ½ ε² gᵀHg - ε gᵀg.
    """
    surface = SURFACES[name]

    def loss(x: jax.Array) -> jax.Array:
        return surface.function(x[0], x[1])

    def with_rate(rate: jax.Array) -> Any:
        optimizer = optax.sgd(rate)

        def step(carry: Any, _: None) -> Any:
            x, state = carry
            before, g = jax.value_and_grad(loss)(x)
            curvature = g @ jax.hessian(loss)(x) @ g
            updates, state = optimizer.update(g, state)
            x = optax.apply_updates(x, updates)
            predicted = rate**2 * curvature / 2 - rate * (g @ g)
            return (x, state), (before, loss(x), predicted)

        x = jnp.asarray(surface.start, float)
        return lax.scan(step, (x, optimizer.init(x)), None, steps)[1]

    return jax.vmap(with_rate)(rates)


def compare_signs(before: Any, after: Any, predicted: Any) -> dict[str, Any]:
    """Count the steps whose loss rises, of one learning rate, and how many are told.

    Returns:
      ``steps`` that count: all until the loss is too large, but those whose change
      rounding may decide; of them ``rises``, and ``right`` predictions of the sign; and
      whether the run ``ends_higher`` than it began.
    """
    before, after = np.asarray(before), np.asarray(after)
    with np.errstate(invalid="ignore", over="ignore"):
        change = after - before
        counts = (np.abs(after) < _LARGEST_LOSS) & (before < _LARGEST_LOSS)
        counts &= np.abs(change) > _LEAST_CHANGE * np.abs(before)
        rises = change > 0
        right = rises == (np.asarray(predicted) > 0)
        higher = not after[-1] < before[0]
    return {
        "steps": int(counts.sum()),
        "rises": int((counts & rises).sum()),
        "right": int((counts & right).sum()),
        "ends_higher": higher,
    }


def run(seeds: int = 1) -> Iterator[dict[str, Any]]:
    """Follow every learning rate on every surface; nothing is drawn at random."""
    del seeds
    for name in NAMES:
        with jax.enable_x64(True):
            found = follow(name, jnp.asarray(LEARNING_RATES), STEPS)
            before, after, predicted = jax.device_get(found)
        for i, rate in enumerate(LEARNING_RATES):
            yield {
                "surface": name,
                "learning_rate": rate,
                **compare_signs(before[i], after[i], predicted[i]),
            }
