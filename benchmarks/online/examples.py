"""Two examples where p decides: Reddi's counterexample, the phase transition at 1/4."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks.online.config import RegretConfig
from benchmarks.online.play import METHODS, Setting
from padam_optax import moving_average, running_max, scale_by_partial_adaptive, square

PERIOD, LARGE, SMALL = 101, 1010.0, -10.0


def counterexample(p: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    """Play Reddi's game, in which the moving average forgets rare large gradients.

    The loss is 1010 x once in 101 steps and -10 x otherwise, on [-1, 1]: over a period
    10 x, so -1 is best. Without the maximum v̂ shrinks between two large gradients, and
    the many small steps up outweigh the large one down, for p = 1/2 (Adam) as for every
    p above 0.02. β1 = 0.9 and β2 = 0.99 as in the reference, α_t = α/√t with α = 10 ·
    1010^(2p-1), which is α = 10 for gradients of at most 1.

    Yields:
      A record for each exponent, with the maximum and without: over the periods that
      end at the steps ``t``, the mean of x; and the ``regret`` so far.

    References:
      Reddi, Kale and Kumar, On the convergence of Adam and beyond, ICLR 2018.
    """
    periods = 2000
    b1, b2 = 0.9, 0.99

    def one(p: jax.Array, method: str) -> jax.Array:
        learning_rate = 10 * LARGE ** (2 * p - 1)

        def step(carry: Any, t: jax.Array) -> Any:
            x, state = carry
            g = jnp.where(t % PERIOD == 1, LARGE, SMALL)
            optimizer = METHODS[method](Setting(t, learning_rate, p, b1, b2))
            updates, state = optimizer.update(g, state, x)
            return (x + updates, state), x

        x, first = jnp.zeros([]), Setting(1.0, learning_rate, p, b1, b2)
        times = jnp.arange(1, periods * PERIOD + 1, dtype=x.dtype)
        return lax.scan(step, (x, METHODS[method](first).init(x)), times)[1]

    end = np.unique(np.geomspace(1, periods, 60).round().astype(int))
    slopes = np.where(np.arange(1, periods * PERIOD + 1) % PERIOD == 1, LARGE, SMALL)
    for method in ("padam", "adam"):
        with jax.enable_x64(True):
            run = jax.jit(jax.vmap(partial(one, method=method)))
            paths = np.asarray(run(jnp.asarray(p, float)))
        regret = np.cumsum(slopes * (paths + 1), axis=1)
        means = paths.reshape(len(p), periods, PERIOD).mean(axis=2)
        for i, exponent in enumerate(p):
            t = end * PERIOD
            yield {
                "game": "counterexample",
                "p": exponent,
                "with_maximum": method == "padam",
                "learning_rate": 10 * LARGE ** (2 * exponent - 1),
                "t": t.tolist(),
                "x": means[i, end - 1].tolist(),
                "regret": regret[i, t - 1].tolist(),
            }


def phase_transition() -> Iterator[dict[str, Any]]:
    """Minimize a parabola with a fixed learning rate, for many p: p = 1/4 divides them.

    On f = λx²/2 with β1 = β2 = 0, x and -x form a cycle at r = (αλ^(1-2p)/2)^(1/(2p)).
    With the maximum and p ≤ 1/4, a start below r approaches r from below and stays
    there. Above 1/4 the first steps overshoot r, the maximum remembers that, and from
    then on the steps are short enough to converge. A start beyond r converges. Without
    the maximum the cycle attracts every start, for every p < 1/2.

    Yields:
      A record for each p and each ``start``, with the maximum and without: the
      ``path`` of |x_t| at the steps ``t``, from 1, like the start in units of r.
    """
    steps, curvature, learning_rate = 10_000, 3.0, 0.5
    ps = np.round(np.arange(0.05, 0.505, 0.01), 2)
    starts = np.array([0.1, 0.5, 0.9, 1.1])
    t = np.unique(np.geomspace(1, steps, 40).round().astype(int))
    cycle = (learning_rate * curvature ** (1 - 2 * ps) / 2) ** (1 / (2 * ps))

    def one(p: jax.Array, x: jax.Array, with_maximum: bool) -> jax.Array:
        statistic = [square(), moving_average(0.0)]
        if with_maximum:
            statistic.append(running_max())
        optimizer = optax.chain(
            scale_by_partial_adaptive(
                0.0, 0.0, 0.0, p, second_moment=optax.chain(*statistic)
            ),
            optax.scale_by_learning_rate(learning_rate),
        )

        def step(carry: Any, _: None) -> Any:
            x, state = carry
            updates, state = optimizer.update(curvature * x, state)
            return (x + updates, state), jnp.abs(x)

        return lax.scan(step, (x, optimizer.init(x)), length=steps)[1]

    for with_maximum in (True, False):
        with jax.enable_x64(True):
            run = jax.vmap(partial(one, with_maximum=with_maximum), (None, 0))
            run = jax.jit(jax.vmap(run))
            paths = np.asarray(
                run(jnp.asarray(ps), jnp.asarray(np.outer(cycle, starts)))
            )
        for i, p in enumerate(ps):
            for j, start in enumerate(starts):
                yield {
                    "game": "phase-transition",
                    "p": float(p),
                    "with_maximum": with_maximum,
                    "start": float(start),
                    "t": t.tolist(),
                    "path": (paths[i, j, t - 1] / cycle[i]).tolist(),
                }


EXAMPLES: dict[str, Callable[[RegretConfig], Iterator[dict[str, Any]]]] = {
    "counterexample": lambda config: counterexample(config.p),
    "phase-transition": lambda config: phase_transition(),
}
