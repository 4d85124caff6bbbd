"""How long a step takes to trace, lower and compile."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.step_time.candidates import CANDIDATES, find_shapes
from benchmarks.step_time.config import SpeedConfig
from benchmarks.step_time.measure import make_step

# CPU time, since XLA compiles in several threads.
_now = time.process_time


def measure_compilation(
    tree: str, names: Sequence[str], config: SpeedConfig
) -> Iterator[dict[str, Any]]:
    """Compile the step of each candidate once in each turn; yield its record.

    Yields:
      CPU seconds of each turn: ``lower_seconds`` for tracing and lowering in Python,
      ``seconds`` for these and XLA.
    """
    params = [jax.ShapeDtypeStruct(s, jnp.float32) for s in find_shapes(tree)]
    transformations = {name: CANDIDATES[name]() for name in names}
    states = {
        name: jax.eval_shape(transformations[name].init, params) for name in names
    }
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(-1, config.turns):  # the first one fills caches of all
        for name in names if turn % 2 else reversed(names):
            seconds = _compile(transformations[name], params, states[name])
            if turn >= 0:
                turns[name].append(seconds)
    for name, times in turns.items():
        lower, total = zip(*times, strict=True)
        yield {
            "tree": tree,
            "leaves": len(params),
            "numbers": sum(x.size for x in params),
            "optimizer": name,
            "lower_seconds": lower,
            "seconds": total,
        }


def _compile(tx: Any, params: Any, state: Any) -> tuple[float, float]:
    """Return the CPU seconds until lowered, and until compiled."""
    jax.clear_caches()
    started = _now()
    lowered = jax.jit(make_step(tx), donate_argnums=(0, 1)).lower(params, state, params)
    middle = _now()
    lowered.compile()
    return middle - started, _now() - started
