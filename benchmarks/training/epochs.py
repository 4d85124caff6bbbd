"""Epochs of a data set: one scan where it is on the devices, else step by step."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import data
from benchmarks.training.config import TrainConfig
from benchmarks.training.monitoring import Progress
from benchmarks.training.step import Metrics, Programs, TrainState

# How often, in steps, a streamed epoch may be saved.
PAUSE = 50

# Takes a state, the seed of its run, what was noted when it was saved within an epoch,
# what to call between steps with a state and notes, and where to show what is reached;
# consumes the state and returns that after the epoch, and a function that waits for the
# metrics of the epoch's steps.
TrainEpoch = Callable[
    [TrainState, int, dict[str, Any], Callable[..., None], Progress],
    tuple[TrainState, Callable[[], Metrics]],
]


class DivergedError(Exception):
    """A loss that is not finite; the message says since when."""


class ScannedEpochs:
    """A data set that every device holds: an epoch needs nothing from the host.

    Args:
      config: The settings.
      dataset: The data set.
      programs: What to compile.

    Attributes:
      batch_size: Examples that are computed at a time, over all devices.
      steps: How many such batches an epoch has.
      pauses: Whether it may be saved within an epoch.
    """

    pauses = False

    def __init__(self, config: TrainConfig, dataset: data.Dataset, programs: Programs):
        self.layout = programs.layout
        self.programs = programs
        self.splits = {
            "train": self.layout.replicate(dataset.train),
            "test": self.layout.replicate(dataset.test),
        }
        self.batch_size = config.batch_size // config.accumulate
        self.steps = len(dataset.train.labels) // config.batch_size * config.accumulate

    def compile_train(
        self, tx: optax.GradientTransformation, state: TrainState
    ) -> TrainEpoch:
        """Compile an epoch with an optimizer."""
        program = self.layout.compile(
            lambda state, split, seed: self.programs.train_epoch(
                tx, state, split, seed, (self.steps, self.batch_size)
            ),
            *(state, self.splits["train"], self.layout.replicate(jnp.uint32(0))),
            donate=True,
        )

        def train(state, seed, notes, pause, progress):
            del notes, pause  # there is nothing to see before the end
            seed = self.layout.replicate(jnp.uint32(seed))
            state, metrics = program(state, self.splits["train"], seed)

            def fetch():
                fetched = jax.device_get(metrics)
                _check_finite(fetched.loss)
                progress.advance(self.steps * self.batch_size, fetched)
                return fetched

            return state, fetch

        return train

    def compile_evaluate(
        self, weights: Any, split: Literal["train", "test"] = "test"
    ) -> Callable[[Any], Metrics]:
        """Compile the evaluation of weights on a split, never augmented."""
        program = self.layout.compile(
            lambda weights, examples: self.programs.evaluate(
                weights, examples, self.batch_size
            ),
            *(weights, self.splits[split]),
        )
        return lambda weights: program(weights, self.splits[split])


class StreamedEpochs:
    """A data set of which each process reads its share, while the devices work.

    Args:
      config: The settings.
      source: Where the stream is from.
      stream: The data set.
      programs: What to compile.

    Attributes:
      batch_size: Examples that are computed at a time, over all devices.
      steps: How many such batches an epoch has.
      pauses: Whether it may be saved within an epoch.
    """

    pauses = True

    def __init__(
        self,
        config: TrainConfig,
        source: data.Source,
        stream: data.Stream,
        programs: Programs,
    ):
        self.layout = programs.layout
        self.programs = programs
        self.stream = dataclasses.replace(stream, threads=config.workers)
        self.test_size = source.test_size
        self.accumulate = config.accumulate
        self.batch_size = config.batch_size // config.accumulate
        self.steps_per_epoch = source.train_size // config.batch_size
        self.steps = self.steps_per_epoch * config.accumulate

    def batches(self, seed: int, first: int) -> Iterator[list[data.Split]]:
        """Yield batches from a step of the optimizer on, each in its parts."""
        size = self.batch_size * self.accumulate
        for batch in self.stream.train_batches(
            size, seed, first, self.layout.process_shard
        ):
            inputs, labels = (np.split(x, self.accumulate) for x in batch)
            yield list(map(data.Split, inputs, labels))

    def compile_train(
        self, tx: optax.GradientTransformation, state: TrainState
    ) -> TrainEpoch:
        """Compile a step with an optimizer."""
        parts = next(self.batches(0, 0))
        program = self.layout.compile(
            lambda state, batch: self.programs.train_on_batch(tx, state, batch),
            *(state, self.layout.shard_batch(parts[0])),
            donate=True,
            batch=1,
        )

        def train(state, seed, notes, pause, progress):
            found = {name: list(notes.get(name, ())) for name in Metrics._fields}
            first = int(state.step) // self.accumulate
            batches = self.batches(seed, first)

            def read(metrics):
                fetched = jax.device_get(metrics)
                _check_finite(fetched.loss, len(found["loss"]))
                for name, value in fetched._asdict().items():
                    found[name].append(float(value))
                progress.advance(self.batch_size, fetched)

            waiting = None
            for step in range(first % self.steps_per_epoch, self.steps_per_epoch):
                for part in next(batches):
                    state, metrics = program(state, self.layout.shard_batch(part))
                    if waiting is not None:
                        read(waiting)  # while the device takes the next step
                    waiting = metrics
                if (step + 1) % PAUSE == 0 and step + 1 < self.steps_per_epoch:
                    read(waiting)
                    waiting = None
                    pause(state, found)
            if waiting is not None:
                read(waiting)
            arrays: Any = [np.array(values) for values in found.values()]
            return state, lambda: Metrics(*arrays)

        return train

    def compile_evaluate(self, weights: Any) -> Callable[[Any], Metrics]:
        """Compile the evaluation of weights on a batch of the test split."""

        def batches():
            batches = self.stream.test_batches(
                self.batch_size, self.layout.process_shard
            )
            return map(self.layout.shard_batch, batches)

        program = self.layout.compile(
            self.programs.evaluate_batch, weights, next(batches()), batch=1
        )

        def evaluate(weights):
            found = [program(weights, batch) for batch in batches()]
            sums = jax.tree.map(lambda *parts: sum(parts), *jax.device_get(found))
            return jax.tree.map(lambda total: total / self.test_size, sums)

        return evaluate


def _check_finite(losses: Any, before: int = 0) -> None:
    wrong = np.flatnonzero(~np.isfinite(np.atleast_1d(losses)))
    if wrong.size:
        loss = np.atleast_1d(losses)[wrong[0]]
        raise DivergedError(
            f"the training loss is {loss} in step {before + wrong[0] + 1} of the epoch"
        )


def make_epoch_runner(
    config: TrainConfig,
    source: data.Source,
    contents: data.Dataset | data.Stream,
    programs: Programs,
) -> ScannedEpochs | StreamedEpochs:
    """Make the feed that suits a data set."""
    if isinstance(contents, data.Stream):
        return StreamedEpochs(config, source, contents, programs)
    return ScannedEpochs(config, contents, programs)
