"""What a step of each optimizer takes: time, compilation, memory traffic, state."""

import dataclasses
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
from flax import nnx
from rich.console import Console

import padam_optax
from benchmarks import models, records
from benchmarks.config import SpeedConfig, UsageError, check_name
from benchmarks.drawings import speed as drawings
from benchmarks.parallel import Parallel


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


# All that is compared, in the order of the table.
CANDIDATES: dict[str, Callable[[], optax.GradientTransformation]] = {
    "copy": _copy,
    "sgd": lambda: optax.sgd(0.1, momentum=0.9),
    "adam": lambda: optax.adam(1e-3),
    "amsgrad": lambda: optax.amsgrad(1e-3),
    "padam p=1/4": lambda: padam_optax.padam(0.1, p=0.25),
    "padam p=1/8": lambda: padam_optax.padam(0.1),
    "padam p=1/16": lambda: padam_optax.padam(0.1, p=0.0625),
    "padam p=0.3": lambda: padam_optax.padam(0.1, p=0.3),
    "padam, p scheduled": lambda: padam_optax.padam(
        0.1, p=padam_optax.linear_p_schedule(0.5, 0.125, 1000)
    ),
    "padam, power as printed": _naive_power,
    "padam, m in bfloat16": lambda: padam_optax.padam(0.1, mu_dtype=jnp.bfloat16),
    "padam, packed": lambda: padam_optax.experimental.pack_small_leaves(
        padam_optax.padam(0.1)
    ),
    "padam, 16 bits": lambda: padam_optax.experimental.quantize_state(
        padam_optax.padam(0.1), "16-bit"
    ),
    "padam, 8 bits": lambda: padam_optax.experimental.quantize_state(
        padam_optax.padam(0.1)
    ),
}

# What is measured as the work grows.
_GROWING_TREES = (
    *(f"leaf-{10**k}" for k in range(4, 9)),
    *(f"leaves-{n}" for n in (1, 10, 100, 300, 1000, 3000)),
)
_GROWING = ("adam", "amsgrad", "padam p=1/8", "padam p=0.3", "padam, packed")
_DEVICES = (1, 2, 4, 8)


def run(config: SpeedConfig) -> int:
    """Measure, write the records, print the table, draw the bars.

    Returns:
      The exit status, 0.
    """
    trees = _GROWING_TREES if config.growth else config.trees
    names = config.optimizers or (_GROWING if config.growth else tuple(CANDIDATES))
    for name in names:
        check_name("--optimizers", name, CANDIDATES)
    names = tuple(dict.fromkeys(("copy", "adam", *names)))
    for tree in trees:
        find_shapes(tree)
    devices, settings = Parallel().describe(), dataclasses.asdict(config)
    folder = records.begin(config.out, "speed", settings, devices, config.seed)
    path, lines = folder / "speed.jsonl", []
    console = Console(width=max(100, Console().width))  # no column is cut
    for tree in trees:
        measured = list(measure(tree, names, config))
        for line in measured:
            records.append(path, line)
        lines += measured
        console.print(drawings.speed_table(measured))
    plot = folder / "speed.png"
    if config.growth:
        shares = list(measure_shares("resnet18"))
        for line in shares:
            records.append(folder / "shares.jsonl", line)
        drawings.draw_growth(lines, shares, plot)
    else:
        drawings.draw_speed(lines, plot)
    print(f"records: {path}\nplot:    {plot}")
    return 0


def measure_shares(tree: str) -> Iterator[dict[str, Any]]:
    """Measure the state on each device when the optimizer is sharded.

    Args:
      tree: The name of a tree.

    Yields:
      For each number of devices, as far as there are so many, bytes per number of the
      tree on the device that holds most.
    """
    for devices in _DEVICES:
        if devices > jax.device_count():
            return
        mode = Parallel(shard_optimizer=True, count=devices)
        params = mode.place([np.ones(s, np.float32) for s in find_shapes(tree)])
        numbers = sum(x.size for x in params)
        for name in ("adam", "padam p=1/8", "padam, 8 bits"):
            state = mode.initialise(CANDIDATES[name]().init, params)
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


def find_shapes(tree: str) -> list[tuple[int, ...]]:
    """Return the shapes of the leaves of a tree.

    Args:
      tree: leaf-N, leaves-N, transformer, or the name of a network.

    Raises:
      UsageError: If there is no such tree.
    """
    if match := re.fullmatch(r"leaf-(\d+)", tree):
        return [(int(match[1]),)]
    if match := re.fullmatch(r"leaves-(\d+)", tree):
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


class Candidate:
    """An optimizer compiled for a tree, with a state of its own.

    Args:
      tx: The optimizer.
      params: The tree; it is copied.
      gradients: What every step is given.
    """

    def __init__(self, tx: Any, params: Any, gradients: Any):
        def step(params, state, gradients):
            updates, state = tx.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        params = jax.tree.map(jnp.copy, params)
        # Eagerly made zeros may share a buffer, which could not be donated twice.
        state = jax.tree.map(jnp.copy, tx.init(params))
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, gradients)
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
        """Return what the compiled program says of itself."""
        cost = self.compiled.cost_analysis() or {}
        return {
            "compile_seconds": self.compile_seconds,
            "state_bytes_per_number": self.state_bytes / numbers,
            "bytes_per_number": cost.get("bytes accessed", 0.0) / numbers,
            "kernels": count_kernels(self.compiled.as_text()),
        }


def count_kernels(text: str) -> int:
    """Count the instructions of a compiled program that do work.

    Args:
      text: The program, as XLA prints it.

    Returns:
      Fusions, library calls and the like of the entry computation.
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
    """Let the candidates take turns on a tree.

    Args:
      tree: Its name.
      names: The candidates.
      config: How long and how often.

    Yields:
      The record of each candidate.
    """
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
    """An optimizer of PyTorch, where it is installed.

    Args:
      make: Takes a list of tensors.
      params: Arrays to copy.
      gradients: What every step is given.
    """

    def __init__(self, make: Callable[[Any], Any], params: Any, gradients: Any):
        import torch

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
        import torch
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
        from pytorch_optimizer import PAdam
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
