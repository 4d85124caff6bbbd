"""The loop around the steps: epochs, records, checkpoints, for each run in turn."""

import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks import data, optimizers, run_dir
from benchmarks.errors import UsageError
from benchmarks.optimizers.evaluation import find_eval_params
from benchmarks.settings import file_name
from benchmarks.training import epochs, monitoring, schedules
from benchmarks.training.checkpoints import Checkpoints, NoCheckpoints
from benchmarks.training.config import TrainConfig
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.epochs import DivergedError
from benchmarks.training.monitoring import Events, Progress
from benchmarks.training.preemption import PreemptedError, Preemption
from benchmarks.training.setup import (
    Parts,
    check_outputs,
    find_parts,
    resolve_hyperparams,
)
from benchmarks.training.step import Metrics, Programs, TrainState


class Prepared(NamedTuple):
    """What the runs with one optimizer share.

    Attributes:
      schedule: Its learning rate.
      train: The compiled epoch.
      show: Reads what a run is doing, for its records.
      weights: Takes a state, and returns the parameters and statistics to evaluate.
    """

    schedule: optax.Schedule
    train: epochs.TrainEpoch
    show: Callable[..., Any]
    weights: Callable[[TrainState], tuple[Any, Any]]


class Trainer:
    """What the runs to be compared share: data, initial weights, compiled programs.

    Args:
      config: The settings, checked.
      source: The data set.
      layout: Where to run.
      parts: What the settings name; by default it is looked up.
    """

    def __init__(
        self,
        config: TrainConfig,
        source: data.Source,
        layout: DeviceLayout,
        parts: Parts | None = None,
    ):
        self.config = config
        self.parts = parts = parts or find_parts(config, source)
        self.source = source
        self.layout = layout
        self.steps_per_epoch = source.train_size // config.batch_size
        self.recipes = resolve_hyperparams(config, parts.optimizers)
        self._prepared: dict[str, Prepared] = {}
        self._weights: dict[int, tuple[Any, Any]] = {}  # of the last seed
        contents = source.read()
        preprocessing = contents.preprocessing
        if not config.augment:
            preprocessing = preprocessing.without_augmentation()
        graph, weights = self._build(config.seed)
        objective = parts.objective
        if parts.model.takes is None or objective.is_own:
            check_outputs(
                config.model,
                (graph, weights),
                contents,
                0 if objective.is_own else source.classes,
                objective.measure,
            )
        programs = Programs(graph, preprocessing, layout, objective.measure)
        self.feed = epochs.make_epoch_runner(config, source, contents, programs)

    def _build(self, seed: int) -> tuple[Any, Any]:
        config, model = self.config, self.parts.model
        network = model.build(
            width=config.width or model.width,
            input_shape=self.source.input_shape,
            classes=self.source.classes,
            initializer=config.initializer,
            dtype=jnp.dtype(config.dtype),
            axis_name=self.layout.axis_name,
            rngs=nnx.Rngs(seed),
        )
        graph, *weights = nnx.split(network, nnx.Param, ...)
        return graph, tuple(weights)

    def initial_weights(self, seed: int) -> tuple[Any, Any]:
        """Make the parameters and statistics that all runs with a seed begin with."""
        if seed not in self._weights:
            self._weights = {seed: self.layout.replicate(self._build(seed)[1])}
        return self._weights[seed]

    def initial_state(self, name: str, seed: int) -> TrainState:
        """Copy the common initial weights and initialize an optimizer for them."""
        start = (jnp.int32(0), *self.initial_weights(seed))
        step, params, stats = self.layout.replicate(start)
        tx, _ = self.build_optimizer(name, seed)
        opt_state = self.layout.init_opt_state(tx.init, params)
        return TrainState(step, params, stats, opt_state)

    def build_optimizer(
        self, name: str, seed: int
    ) -> tuple[optax.GradientTransformation, optax.Schedule]:
        """Build an optimizer for a run, and the schedule of its learning rate."""
        config, settings = self.config, self.recipes[name]
        row = self.parts.optimizers[name]
        steps = config.epochs * self.steps_per_epoch
        rate = settings.get("learning_rate", math.nan)  # nobody knows that
        varies = row.takes_schedule and not math.isnan(rate)
        schedule = schedules.make(
            config.schedule if varies else "constant",
            rate,
            steps,
            config.milestones,
            config.final_share,
            config.warmup if varies else 0.0,
        )
        run = optimizers.Run(steps, self.source.train_size, seed)
        tx = optimizers.build(name, settings, schedule, run, row)
        if config.accumulate > 1:
            tx = optax.MultiSteps(tx, config.accumulate).gradient_transformation()
        return tx, schedule

    def prepare(self, name: str) -> Prepared:
        """Build an optimizer and compile what its runs need.

        Runs with other seeds use it too: a seed enters an optimizer by its initial
        state alone.
        """
        if name not in self._prepared:
            tx, schedule = self.build_optimizer(name, self.config.seed)
            state = self.initial_state(name, self.config.seed)
            train = self.feed.compile_train(tx, state)
            show = self._prepare_to_show(name, state)
            weights = self._prepare_weights(state)
            self._prepared[name] = Prepared(schedule, train, show, weights)
        return self._prepared[name]

    @functools.cached_property
    def evaluate(self) -> Callable[[Any], Any]:
        """Measure parameters and statistics on the test or validation split."""
        return self.feed.compile_evaluate(self.initial_weights(self.config.seed))

    @functools.cached_property
    def evaluate_training_set(self) -> Callable[[Any], Any]:
        """Measure them on the training set, without augmentation and dropout."""
        feed: Any = self.feed  # not a stream, which cannot be read twice
        return feed.compile_evaluate(self.initial_weights(self.config.seed), "train")

    def _prepare_weights(
        self, state: TrainState
    ) -> Callable[[TrainState], tuple[Any, Any]]:
        averages = find_eval_params(state.opt_state)
        if averages is None:
            return lambda state: (state.params, state.stats)
        compiled = self.layout.compile(
            lambda opt_state, params: self.layout.gather(averages(opt_state, params)),
            *(state.opt_state, state.params),
        )
        return lambda state: (compiled(state.opt_state, state.params), state.stats)

    def _prepare_to_show(self, name: str, state: TrainState) -> Callable[..., Any]:
        if not self.config.diagnostics:
            return lambda start, state, learning_rate: {}
        settings, row = self.recipes[name], self.parts.optimizers[name]
        b2 = settings["b2"] if row.corrects_before_max else None
        p = None if "p_start" in settings else settings.get("p", 0.5)
        read = monitoring.make_diagnostics(state.opt_state, p, b2)
        rate = self.layout.replicate(jnp.float32(0))
        compiled = self.layout.compile(
            read, state.params, state.params, state.opt_state, rate
        )

        def show(start, state, learning_rate):
            rate = self.layout.replicate(jnp.float32(learning_rate))
            return compiled(start, state.params, state.opt_state, rate)

        return show

    def run(
        self,
        name: str,
        seed: int,
        checkpoints: Checkpoints,
        preemption: Preemption,
        progress: Progress,
    ) -> Iterator[dict[str, Any]]:
        """Train with one optimizer from where its latest checkpoint stands.

        The results of an epoch are fetched after the next one is dispatched, so that
        the device does not wait for the host, unless the epoch is saved: no checkpoint
        is written before the records that lead to it.

        Args:
          name: One of the optimizers.
          seed: The seed of the run.
          checkpoints: Where it is saved.
          preemption: Says when to stop.
          progress: Shows what is reached.

        Yields:
          The record of each epoch: the metrics of its steps, of the test or validation
          set after it, and after the last epoch those of the whole training set in
          evaluation mode, if it is in memory.

        Raises:
          DivergedError: After the last epoch whose losses were finite.
          PreemptedError: When it was told to stop, after saving.
        """
        prepared, evaluate = self.prepare(name), self.evaluate
        objective = self.parts.objective
        evaluated = self.config.evaluated
        start = self.initial_weights(seed)[0]
        state, notes = self.initial_state(name, seed), {}
        if checkpoints.latest is not None:
            state, notes = checkpoints.restore(state)
        progress.begin_at(int(state.step) * self.feed.batch_size)
        done = int(state.step) // self.feed.steps
        started = time.perf_counter()

        def pause(state, notes):
            step = int(state.step)
            stop = preemption.requested()
            if stop or checkpoints.should_save():
                checkpoints.save(step, state, _NEVER_BEST, notes)
            if stop:
                raise PreemptedError(f"{name}, seed {seed}, within epoch {epoch}")

        def fetch(epoch, training, measured, shown):
            nonlocal started
            try:
                training, measured = training(), jax.device_get(measured)
            except DivergedError as error:
                raise DivergedError(f"{error} {epoch}") from error
            found = {}
            for split, metrics in measured.items():
                if not math.isfinite(metrics.loss):
                    raise DivergedError(
                        f"the {split.replace('_', ' ')} loss is {metrics.loss} after "
                        f"epoch {epoch}"
                    )
                found |= objective.record(split, metrics)
            step = epoch * self.steps_per_epoch
            rate = float(prepared.schedule(step - 1))
            now = time.perf_counter()
            record = {
                "run": name,
                "seed": seed,
                "epoch": epoch,
                "step": step,
                "learning_rate": None if math.isnan(rate) else rate,
                **objective.record("train", _mean(training)),
                **found,
                "seconds": now - started,
                **monitoring.to_record(shown),
            }
            started = now
            goodness = objective.goodness(measured[evaluated])
            progress.tested(measured[evaluated])
            return record, goodness

        waiting = None
        for epoch in range(done + 1, self.config.epochs + 1):
            state, training = prepared.train(state, seed, notes, pause, progress)
            weights = prepared.weights(state)
            measured = {evaluated: evaluate(weights)}
            if epoch == self.config.epochs and self.source.resident:
                measured["final_train"] = self.evaluate_training_set(weights)
            rate = prepared.schedule(epoch * self.steps_per_epoch - 1)
            shown = prepared.show(start, state, rate)
            if waiting:
                yield fetch(*waiting)[0]
            waiting, notes = (epoch, training, measured, shown), {}

            step, last = epoch * self.feed.steps, epoch == self.config.epochs
            stop = preemption.requested()
            save = stop or last or checkpoints.should_save()
            if save or self.feed.pauses:  # within the next one, even
                record, goodness = fetch(*waiting)
                yield record
                waiting = None
            if save:
                checkpoints.save(step, state, goodness, {})
            if stop and not last:
                raise PreemptedError(f"{name}, seed {seed}, after epoch {epoch}")


# How good a state within an epoch is, which nobody has measured.
_NEVER_BEST = -1e300


def _mean(training: Metrics) -> Metrics:
    """Average over the steps of an epoch, exactly."""
    means: Any = [np.mean(x, dtype=np.float64) for x in training]
    return Metrics(*means)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read what a run has written, nothing if it has not begun.

    Raises:
      UsageError: If it is damaged, naming it.
    """
    try:
        return run_dir.read(path) if path.exists() else []
    except ValueError as error:
        raise UsageError(f"{error} Correct it, or give another --out.") from error


def train_one(
    trainer: Trainer, name: str, seed: int, folder: Path, preemption: Preemption
) -> tuple[list[dict[str, Any]], str]:
    """Do one run, or what is left of it, and write its records and checkpoints.

    Args:
      trainer: What it shares with other runs.
      name: The optimizer.
      seed: The seed.
      folder: Where records are written, and in a folder below it checkpoints.
      preemption: Says when to stop.

    Returns:
      The records, and the reason if the run diverged, else "".

    Raises:
      PreemptedError: When it was told to stop, after saving.
      UsageError: If what the run has written before is damaged, naming it.
    """
    config, layout = trainer.config, trainer.layout
    run = f"{file_name(name)}-seed{seed}"
    path = folder / f"{run}.jsonl"
    lines = read_lines(path)
    saved = folder / "checkpoints" / run
    was_saved = saved.exists()  # published records have no checkpoints
    with (
        Checkpoints(saved, layout, config.keep, config.checkpoint_seconds)
        if config.keep
        else NoCheckpoints()
    ) as checkpoints:
        whole = config.epochs * trainer.feed.steps
        stopped = bool(lines) and "stopped" in lines[-1]
        complete = len(lines) == config.epochs
        if config.keep and was_saved:
            complete &= checkpoints.latest == whole
        if layout.broadcast(stopped or complete):
            return (lines[:-1], lines[-1]["stopped"]) if stopped else (lines, "")

        done = (checkpoints.latest or 0) // trainer.feed.steps
        lines = [line for line in lines if line["epoch"] <= done]
        if [line["epoch"] for line in lines] != list(range(1, done + 1)):
            raise UsageError(
                f"{path} lacks records of the {done} epochs that lead to the "
                f"checkpoint {checkpoints.folder / str(checkpoints.latest)}; remove "
                f"{checkpoints.folder} to do this run again, or give another --out."
            )
        first = layout.is_primary
        if first:
            run_dir.keep(path, lambda line: line["epoch"] <= done)
        progress = Progress(
            f"{trainer.parts.optimizers[name].label:14}"
            + (f" seed {seed}" if config.seeds > 1 else ""),
            whole * trainer.feed.batch_size,
            trainer.prepare(name).schedule,
            config.batch_size,
            shown=first,
            name=trainer.parts.objective.name,
        )
        events = Events(
            folder / "tensorboard" / run if first and config.tensorboard else None,
            done * trainer.steps_per_epoch + 1,
        )
        try:
            for record in trainer.run(name, seed, checkpoints, preemption, progress):
                lines.append(record)
                if first:
                    run_dir.append(path, record)
                events.write(record)
        except DivergedError as error:
            if first:
                stop = {"run": name, "seed": seed, "stopped": str(error)}
                run_dir.append(path, stop)
            return lines, str(error)
        finally:
            progress.close()
            events.close()
    return lines, ""
