"""The log of a run while it trains: records, event file, progress bar."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optax

from benchmarks import run_dir
from benchmarks.training.monitoring import Events, Progress
from benchmarks.training.resume import RunResult
from benchmarks.training.step import Metrics
from benchmarks.training.trainer import Trainer

Watch = Callable[[Mapping[str, Any]], None]


class StoppedError(Exception):
    """Raised by `watch` to end a run; the message is the reason."""


class RunLog:
    """The records of a run, which the first process writes and shows.

    Records after the checkpoint from which the run resumes are deleted. `watch` is
    called with each record once it is written; it may raise StoppedError.
    """

    def __init__(
        self,
        trainer: Trainer,
        label: str,
        path: Path,
        records: list[dict[str, Any]],
        schedule: optax.Schedule,
        watch: Watch,
    ):
        config, feed = trainer.config, trainer.feed
        self._writes = trainer.layout.is_primary
        self._batch_size = feed.batch_size
        self._path = path
        self._watch = watch
        self.result = RunResult(list(records))
        done = len(records)
        if self._writes:
            run_dir.keep(path, lambda line: line["epoch"] <= done)
        self.progress = Progress(
            label,
            config.epochs * feed.steps * feed.batch_size,
            schedule,
            config.batch_size,
            shown=self._writes,
            name=trainer.parts.objective.name,
        )
        events = path.parent / "tensorboard" / path.stem
        self._events = Events(
            events if self._writes and config.tensorboard else None,
            done * trainer.steps_per_epoch + 1,
        )

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.close()
        self._events.close()

    def begin_at(self, step: int) -> None:
        """Set the number of previous steps, and start the clock."""
        for record in self.result.records:
            self._watch(record)
        self.progress.begin_at(step * self._batch_size)
        self._last = time.perf_counter()

    def seconds_since_last(self) -> float:
        """Return the time since the previous call, or since the beginning."""
        last, self._last = self._last, time.perf_counter()
        return self._last - last

    def write(self, record: dict[str, Any], judged: Metrics) -> None:
        """Write the record of an epoch, and show its metric."""
        self.result.records.append(record)
        if self._writes:
            run_dir.append(self._path, record)
        self._events.write(record)
        self.progress.tested(judged)
        self._watch(record)

    def write_stop(self, name: str, seed: int, reason: str) -> None:
        """Write why the run ended early."""
        self.result = RunResult(self.result.records, reason)
        if self._writes:
            run_dir.append(self._path, {"run": name, "seed": seed, "stopped": reason})
