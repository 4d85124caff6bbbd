"""Epochs of a data set: one scan if it is on the devices, else step by step."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import data
from benchmarks.training.config import TrainConfig
from benchmarks.training.monitoring import Progress
from benchmarks.training.step import Metrics, Programs, TrainState

# Number of steps between possible saves of a streamed epoch.
PAUSE = 50

# Takes a state, which it consumes, and a part of an epoch; returns the state after it
# and the metrics of its steps, without waiting for them.
Train = Callable[[TrainState, Any], tuple[TrainState, Metrics]]


class DivergedError(Exception):
    """A loss that is not finite; the message says in which step."""


class TrainingMetrics:
    """The metrics of an epoch's steps, each fetched after the next was dispatched.

    Args:
      epoch: Its number, from 1.
      progress: The progress bar.
      batch_size: Examples per step.
      begun: The metrics of earlier steps, if the run was resumed within the epoch.

    Attributes:
      values: The metrics of each step that have been fetched, by name.
    """

    def __init__(
        self,
        epoch: int,
        progress: Progress,
        batch_size: int,
        begun: Mapping[str, Sequence[float]],
    ):
        self.epoch = epoch
        self.values = {name: list(begun.get(name, ())) for name in Metrics._fields}
        self._progress = progress
        self._batch_size = batch_size
        self._waiting: Metrics | None = None

    def add(self, metrics: Metrics) -> None:
        """Add the metrics of a part, and fetch those of the previous one."""
        self.fetch()
        self._waiting = metrics

    def fetch(self) -> None:
        """Wait for the metrics that were added last.

        Raises:
          DivergedError: If a loss is not finite.
        """
        if self._waiting is None:
            return
        fetched = jax.tree.map(np.atleast_1d, jax.device_get(self._waiting))
        self._waiting = None
        before = len(self.values["loss"])
        for name, found in fetched._asdict().items():
            self.values[name] += found.tolist()
        wrong = np.flatnonzero(~np.isfinite(fetched.loss))
        if wrong.size:
            raise DivergedError(
                f"the training loss is {fetched.loss[wrong[0]]} in step "
                f"{before + wrong[0] + 1} of epoch {self.epoch}"
            )
        self._progress.advance(len(fetched.loss) * self._batch_size, fetched)

    def average(self) -> Metrics:
        """Wait for all of them, and average over the steps, exactly."""
        self.fetch()
        means: Any = map(np.mean, self.values.values())
        return Metrics(*means)


class ScannedEpochs:
    """A data set that every device holds: an epoch needs nothing from the host.

    Attributes:
      batch_size: Examples per batch, over all devices.
      steps: Batches per epoch.
      stride: Batches per part of an epoch: all.
      save_every: Batches between possible saves: all.
    """

    def __init__(self, config: TrainConfig, dataset: data.Dataset, programs: Programs):
        self.layout = programs.layout
        self.programs = programs
        self.splits = {
            "train": self.layout.replicate(dataset.train),
            "test": self.layout.replicate(dataset.test),
        }
        self.batch_size = config.batch_size // config.accumulate
        self.steps = len(dataset.train.labels) // config.batch_size * config.accumulate
        self.stride = self.save_every = self.steps

    def parts(self, seed: int, step: int) -> Iterator[Any]:
        """Yield what `train` takes, one by one, from a step to the epoch's end."""
        del step  # the state has it
        yield self.layout.replicate(jnp.uint32(seed))

    def compile_train(
        self, tx: optax.GradientTransformation, state: TrainState
    ) -> Train:
        """Compile an epoch with an optimizer."""
        program = self.layout.compile(
            lambda state, split, seed: self.programs.train_epoch(
                tx, state, split, seed, (self.steps, self.batch_size)
            ),
            *(state, self.splits["train"], self.layout.replicate(jnp.uint32(0))),
            donate=True,
        )

        return lambda state, seed: program(state, self.splits["train"], seed)

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
    """A data set of which each process reads its part, while the devices work.

    The attributes are those of `ScannedEpochs`: a part of an epoch is one batch.
    """

    stride = 1

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
        self.save_every = PAUSE * config.accumulate

    def batches(self, seed: int, first: int) -> Iterator[list[data.Split]]:
        """Yield batches from a step of the optimizer on, each in its parts."""
        size = self.batch_size * self.accumulate
        for batch in self.stream.train_batches(
            size, seed, first, self.layout.process_shard
        ):
            inputs, labels = (np.split(x, self.accumulate) for x in batch)
            yield list(map(data.Split, inputs, labels))

    def parts(self, seed: int, step: int) -> Iterator[Any]:
        """Yield what `train` takes, one by one, from a step to the epoch's end."""
        batches = self.batches(seed, step // self.accumulate)
        left = self.steps - step % self.steps
        parts = itertools.islice(itertools.chain.from_iterable(batches), left)
        return map(self.layout.shard_batch, parts)

    def compile_train(
        self, tx: optax.GradientTransformation, state: TrainState
    ) -> Train:
        """Compile a step with an optimizer."""
        return self.layout.compile(
            lambda state, batch: self.programs.train_on_batch(tx, state, batch),
            *(state, next(self.parts(0, 0))),
            donate=True,
            batch=1,
        )

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


def make_epoch_runner(
    config: TrainConfig,
    source: data.Source,
    contents: data.Dataset | data.Stream,
    programs: Programs,
) -> ScannedEpochs | StreamedEpochs:
    """Return the feed for a data set in memory, or for a stream."""
    if isinstance(contents, data.Stream):
        return StreamedEpochs(config, source, contents, programs)
    return ScannedEpochs(config, contents, programs)
