"""The overhead of an epoch beyond its steps, and JAX's profile."""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import optax
from jax import lax
from rich import box
from rich.console import Console
from rich.table import Column, Table

from benchmarks import data, run_dir
from benchmarks.training import epochs, setup
from benchmarks.training.checkpoints import Checkpoints
from benchmarks.training.config import TrainConfig
from benchmarks.training.monitoring import Progress
from benchmarks.training.step import TrainState
from benchmarks.training.trainer import Trainer

# Steps to measure if an epoch has more.
_STREAMED_STEPS = 50
_TRACED_STEPS = 10


def profile(config: TrainConfig) -> int:
    """Measure the parts of an epoch with the first of the optimizers.

    The parts alternate in one process; each waits for its results. The result is the
    median over the rounds. `bare` is as many steps on one batch that is already on the
    devices; `epoch` selects, augments and normalizes the batches and fetches the
    metrics; `record` writes the line of an epoch. `evaluation` and the synchronous part
    of a checkpoint are not counted as overhead, since not every epoch has them.
    """
    layout = setup.set_up_devices(config)
    source = data.find_for(config)
    setup.validate(config, source, layout)
    name = config.optimizers[0]
    # Only one optimizer is built.
    config = dataclasses.replace(config, optimizers=(name,))
    trainer = Trainer(config, source, layout)
    feed = trainer.feed
    if isinstance(feed, epochs.StreamedEpochs):
        feed.steps_per_epoch = min(feed.steps_per_epoch, _STREAMED_STEPS)
        feed.steps = feed.steps_per_epoch * config.accumulate
    tx = trainer.find_optimizer(name, config.seed)
    state = trainer.initial_state(name, config.seed)
    bare = _compile_bare(feed, tx, state)
    seconds, state = _measure_parts(trainer, name, bare, state)

    folder = run_dir.create_folder(config.out, "profile")
    median = {part: statistics.median(values) for part, values in seconds.items()}
    overhead = (median["epoch"] + median["record"]) / median["bare"] - 1
    result = {
        "model": config.model,
        "dataset": config.dataset,
        "run": name,
        "steps": feed.steps,
        "batch_size": feed.batch_size,
        "overhead": overhead,
        "seconds": seconds,
    }
    run_dir.write_header(
        folder, run_dir.header("profile", layout.describe(), config.seed)
    )
    run_dir.append(folder / "profile.jsonl", result)
    _trace(feed, tx, state, folder / "trace")
    Console().print(_table(result, median))
    print(
        f"data and bookkeeping add {overhead:.1%} to the bare steps.\n"
        f"profile: {folder / 'trace'} (for TensorBoard, XProf or Perfetto)"
    )
    return 0


def _measure_parts(
    trainer: Trainer, name: str, bare: Callable[[TrainState], TrainState], state: Any
) -> tuple[dict[str, list[float]], Any]:
    """Return the seconds of each part of an epoch by round, and the last state."""
    config, feed, evaluate = trainer.config, trainer.feed, trainer.evaluate
    weights = trainer.initial_weights(config.seed)
    schedule = trainer.make_schedule(name)
    train = feed.compile_train(trainer.find_optimizer(name, config.seed), state)
    progress = Progress(name, 0, schedule, config.batch_size, shown=False)

    def train_epoch(state):
        metrics = epochs.TrainingMetrics(1, progress, feed.batch_size, {})
        for part in feed.parts(config.seed, int(state.step)):
            state, found = train(state, part)
            metrics.add(found)
        metrics.fetch()
        return state

    with tempfile.TemporaryDirectory() as scratch:
        lines = Path(scratch) / "lines.jsonl"
        checkpoints = Checkpoints(Path(scratch) / "checkpoints", trainer.layout, 1, 0.0)

        def record(state):
            line = {"run": name, "rate": float(schedule(int(state.step)))}
            run_dir.append(lines, line | dict.fromkeys("abcdefgh", 1 / 3))
            return state

        def test(state):
            jax.block_until_ready(evaluate(weights))
            return state

        def save(state):
            checkpoints.save(int(state.step), state, 0.0, {})
            return state

        seconds: dict[str, list[float]] = {}
        rounds = 3
        while len(seconds.get("bare", ())) < rounds:
            for part, work in (
                ("bare", bare),
                ("epoch", train_epoch),
                ("record", record),
                ("evaluation", test),
                ("checkpoint", save),
            ):
                took, state = _time(work, state)
                seconds.setdefault(part, []).append(took)
            if sum(seconds["bare"]) < 10:
                rounds = 10
        checkpoints.close()
    return seconds, state


def _time(work: Callable[[Any], Any], state: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    state = jax.block_until_ready(work(state))
    return time.perf_counter() - started, state


def _compile_bare(
    feed: epochs.ScannedEpochs | epochs.StreamedEpochs,
    tx: optax.GradientTransformation,
    state: TrainState,
) -> Callable[[TrainState], TrainState]:
    """Compile the steps of an epoch, all on the same batch."""
    layout, programs = feed.layout, feed.programs
    if isinstance(feed, epochs.StreamedEpochs):
        placed, step = next(feed.parts(0, 0)), feed.compile_train(tx, state)

        def bare(state):
            for _ in range(feed.steps):
                state, _ = step(state, placed)
            return state

        return bare
    inputs, labels = (x[: feed.batch_size] for x in feed.splits["train"])
    placed = layout.replicate((programs.preprocessing.test(inputs), labels))

    def steps(state, batch):
        def body(state, _):
            return programs.train_step(tx, state, *layout.local_shard(batch))

        return lax.scan(body, state, length=feed.steps)

    program = layout.compile(steps, state, placed, donate=True)
    return lambda state: program(state, placed)[0]


def _trace(
    feed: epochs.ScannedEpochs | epochs.StreamedEpochs,
    tx: optax.GradientTransformation,
    state: TrainState,
    folder: Path,
) -> None:
    """Write JAX's profile of a few steps."""
    feed.steps = min(feed.steps, _TRACED_STEPS)
    bare = _compile_bare(feed, tx, state)
    with jax.profiler.trace(folder):
        jax.block_until_ready(bare(state))


def _table(result: dict[str, Any], median: dict[str, float]) -> Table:
    examples = result["steps"] * result["batch_size"]
    headings = ("seconds", "lowest", "highest", "examples/s")
    table = Table(
        "part",
        *(Column(heading, justify="right") for heading in headings),
        title=f"{result['model']} on {result['dataset']}, {result['run']}: "
        f"{result['steps']} steps of {result['batch_size']}, median of "
        f"{len(result['seconds']['bare'])}",
        box=box.SIMPLE_HEAD,
    )
    for part, values in result["seconds"].items():
        rate = examples / median[part] if part in ("bare", "epoch") else None
        table.add_row(
            part,
            *(f"{x:.4g}" for x in (median[part], min(values), max(values))),
            f"{rate:,.0f}" if rate else "",
        )
    return table
