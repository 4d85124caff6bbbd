"""The cost of an optimizer's step: time, compilation, memory traffic, state."""

import gc
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.step_time.candidates import CANDIDATES, find_shapes
from benchmarks.step_time.config import SpeedConfig
from benchmarks.training.devices import DeviceLayout

_DEVICES = (1, 2, 4, 8)


def measure_shares(tree: str) -> Iterator[dict[str, Any]]:
    """Measure the state on each device when the optimizer is sharded.

    Yields:
      For each number of devices, as far as there are so many, bytes per number of the
      tree on the device that holds most.
    """
    for devices in _DEVICES:
        if devices > jax.device_count():
            return
        layout = DeviceLayout(shard_optimizer=True, count=devices)
        params = layout.replicate([np.ones(s, np.float32) for s in find_shapes(tree)])
        numbers = sum(x.size for x in params)
        for name in ("adam", "padam p=1/8", "padam, 8 bits"):
            state = layout.init_opt_state(CANDIDATES[name]().init, params)
            held: Counter[Any] = Counter()
            for leaf in jax.tree.leaves(state):
                for shard in leaf.addressable_shards:
                    held[shard.device] += shard.data.nbytes
            yield {
                "tree": tree,
                "optimizer": name,
                "devices": devices,
                "bytes_per_number": max(held.values()) / numbers,
            }


def make_step(tx: Any) -> Callable[..., Any]:
    """Return the update of a transformation and its application."""

    def step(params, state, gradients):
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return step


class Candidate:
    """An optimizer compiled for a copy of a tree, with its own state."""

    def __init__(self, tx: Any, params: Any, gradients: Any):
        params = jax.tree.map(jnp.copy, params)
        # Eagerly made zeros may share a buffer, which could not be donated twice.
        state = jax.tree.map(jnp.copy, tx.init(params))
        step = jax.jit(make_step(tx), donate_argnums=(0, 1))
        lowered = step.lower(params, state, gradients)
        started = time.perf_counter()
        self.compiled = lowered.compile()
        self.compile_seconds = time.perf_counter() - started
        self.state_bytes = sum(x.nbytes for x in jax.tree.leaves(state))
        self._values = params, state
        self._gradients = gradients

    def take(self, steps: int) -> float:
        """Take steps; return the seconds for each."""
        jax.block_until_ready(self._values)
        started = time.perf_counter()
        for _ in range(steps):
            self._values = self.compiled(*self._values, self._gradients)
        jax.block_until_ready(self._values)
        return (time.perf_counter() - started) / steps

    def describe(self, numbers: int) -> dict[str, Any]:
        """Return XLA's cost analysis of the compiled program."""
        cost = self.compiled.cost_analysis() or {}
        return {
            "compile_seconds": self.compile_seconds,
            "state_bytes_per_number": self.state_bytes / numbers,
            "bytes_per_number": cost.get("bytes accessed", 0.0) / numbers,
            "kernels": count_kernels(self.compiled.as_text() or ""),
        }


def count_kernels(text: str) -> int:
    """Count the instructions that do work in the text of a compiled program.

    These are fusions, library calls and the like of the entry computation.
    """
    entry = text[text.index("ENTRY") :]
    found = Counter(
        re.findall(r"^\s+(?:ROOT )?\S+ = .*? ([a-z][a-z-]*)\(", entry, re.M)
    )
    idle = ("parameter", "tuple", "get-tuple-element", "constant", "bitcast")
    return sum(found.values()) - sum(found[name] for name in idle)


def measure(
    tree: str, names: Sequence[str], config: SpeedConfig
) -> Iterator[dict[str, Any]]:
    """Measure the candidates on a tree, alternating; yield the record of each."""
    rng = np.random.default_rng(config.seed)
    shapes = find_shapes(tree)
    params, gradients = (
        [jnp.asarray(rng.standard_normal(s, np.float32)) for s in shapes]
        for _ in range(2)
    )
    numbers = sum(x.size for x in params)
    candidates: dict[str, Any] = {
        name: Candidate(CANDIDATES[name](), params, gradients) for name in names
    }
    candidates |= _torch_candidates(params, gradients)
    steps = {}
    for name, candidate in candidates.items():
        candidate.take(2)  # the first steps touch new memory
        steps[name] = max(1, round(config.seconds / candidate.take(2)))
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(config.turns):
        order = list(candidates)
        for name in order if turn % 2 else reversed(order):
            seconds[name].append(candidates[name].take(steps[name]))
    for name, candidate in candidates.items():
        yield {
            "tree": tree,
            "leaves": len(shapes),
            "numbers": numbers,
            "optimizer": name,
            "steps": steps[name],
            "seconds": seconds[name],
            **candidate.describe(numbers),
        }
    del candidates
    gc.collect()


class TorchCandidate:
    """An optimizer of PyTorch for a copy of a tree, where PyTorch is installed."""

    def __init__(self, make: Callable[[Any], Any], params: Any, gradients: Any):
        import torch  # pyright: ignore[reportMissingImports]

        self._torch = torch
        device = "cuda" if torch.cuda.is_available() else "cpu"
        tensors = []
        for p, g in zip(params, gradients, strict=True):
            tensor = torch.tensor(np.asarray(p), device=device, requires_grad=True)
            tensor.grad = torch.tensor(np.asarray(g), device=device)
            tensors.append(tensor)
        self._optimizer = make(tensors)

    def take(self, steps: int) -> float:
        """Take steps; return the seconds for each."""
        self._wait()
        started = time.perf_counter()
        for _ in range(steps):
            self._optimizer.step()
        self._wait()
        return (time.perf_counter() - started) / steps

    def _wait(self) -> None:
        if self._torch.cuda.is_available():
            self._torch.cuda.synchronize()

    def describe(self, numbers: int) -> dict[str, Any]:
        """Return the size of the state; PyTorch compiles nothing."""
        held = [
            value
            for state in self._optimizer.state.values()
            for value in state.values()
            if self._torch.is_tensor(value)
        ]
        size = sum(x.numel() * x.element_size() for x in held)
        return {"state_bytes_per_number": size / numbers}


def _torch_candidates(params: Any, gradients: Any) -> dict[str, TorchCandidate]:
    """Make those that PyTorch and pytorch_optimizer offer, if they are installed."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    on_gpu = jax.default_backend() == "gpu"
    if on_gpu != torch.cuda.is_available():
        return {}  # on another device than JAX there is nothing to compare
    makers: Mapping[str, Any] = {
        "torch amsgrad, fused": lambda tensors: torch.optim.Adam(
            tensors, lr=1e-3, amsgrad=True, fused=True
        )
    }
    try:
        from pytorch_optimizer import (  # pyright: ignore[reportMissingImports]
            PAdam,
        )
    except ImportError:
        pass
    else:
        makers = {
            **makers,
            "pytorch_optimizer PAdam": lambda tensors: PAdam(tensors, lr=0.1),
        }
    return {
        name: TorchCandidate(make, params, gradients) for name, make in makers.items()
    }
