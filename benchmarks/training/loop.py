"""One run, from its latest checkpoint to its end."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.settings import file_name
from benchmarks.training import monitoring
from benchmarks.training.checkpoints import Checkpoints, open_checkpoints
from benchmarks.training.epochs import DivergedError, TrainingMetrics
from benchmarks.training.log import RunLog, StoppedError, Watch
from benchmarks.training.preemption import PreemptedError, Preemption
from benchmarks.training.resume import RunResult, find_progress
from benchmarks.training.step import Metrics, TrainState
from benchmarks.training.trainer import Prepared, Trainer

# The goodness of a state within an epoch, which is not evaluated.
_NEVER_BEST = -1e300


class Job(NamedTuple):
    """A run in progress: an optimizer and a seed, and what it writes."""

    trainer: Trainer
    name: str
    seed: int
    checkpoints: Checkpoints
    preemption: Preemption
    log: RunLog


class Epoch(NamedTuple):
    """An epoch of training, which the devices may not have finished yet.

    Attributes:
      number: Its number, from 1.
      training: The metrics of its steps.
      measured: The metrics after it, by split.
      learning_rate: The learning rate of its last step; NaN if there is none.
      shown: Diagnostics of the optimizer, for the records.
    """

    number: int
    training: TrainingMetrics
    measured: dict[str, Metrics]
    learning_rate: Any
    shown: dict[str, jax.Array]


def run_one(
    trainer: Trainer,
    name: str,
    seed: int,
    folder: Path,
    preemption: Preemption,
    watch: Watch = lambda record: None,
) -> RunResult:
    """Do or resume one run, and write its records and checkpoints to the folder.

    `watch` is called with the record of each epoch, including those before the latest
    checkpoint; it may raise StoppedError to end the run.

    Raises:
      PreemptedError: If it was told to stop, after saving.
      UsageError: If an existing record or checkpoint of the run is damaged.
    """
    config, layout, feed = trainer.config, trainer.layout, trainer.feed
    run = f"{file_name(name)}-seed{seed}"
    path, saved = folder / f"{run}.jsonl", folder / "checkpoints" / run
    with open_checkpoints(saved, layout, config) as checkpoints:
        former, is_over = find_progress(path, checkpoints, config.epochs, feed.steps)
        if layout.broadcast(is_over):
            checkpoints.delete_outdated()
            return former
        prepared = trainer.prepare(name)
        label = f"{trainer.parts.optimizers[name].label:14}"
        label += f" seed {seed}" * (config.seeds > 1)
        schedule, records = prepared.schedule, former.records
        with RunLog(trainer, label, path, records, schedule, watch) as log:
            job = Job(trainer, name, seed, checkpoints, preemption, log)
            try:
                _train(job, prepared)
            except (DivergedError, StoppedError) as error:
                log.write_stop(name, seed, str(error))
            return log.result


def _train(job: Job, prepared: Prepared) -> None:
    """Restore, then for each epoch train, evaluate, record and save."""
    trainer, checkpoints, feed = job.trainer, job.checkpoints, job.trainer.feed
    start = trainer.initial_weights(job.seed)[0]
    state, begun = trainer.initial_state(job.name, job.seed), {}
    if checkpoints.latest is not None:
        state, begun = checkpoints.restore(state)  # and losses of an epoch it is within
    step, epochs = int(state.step), trainer.config.epochs
    job.log.begin_at(step)
    former = None
    for number in range(step // feed.steps + 1, epochs + 1):
        training = TrainingMetrics(number, job.log.progress, feed.batch_size, begun)
        state = _train_epoch(job, prepared, state, step, training)
        step, begun = number * feed.steps, {}
        measured = trainer.measure(prepared.weights(state), last=number == epochs)
        rate = prepared.schedule(number * trainer.steps_per_epoch - 1)
        shown = prepared.show(start, state, rate)
        epoch = Epoch(number, training, measured, rate, shown)

        # Results are fetched while the devices compute the next epoch, so that these do
        # not wait for the host; but at once if a checkpoint may come before that, since
        # a checkpoint must not be saved before the records that lead to it.
        if former is not None:
            _record(job, former)
        stop = job.preemption.requested()
        save = stop or number == epochs or checkpoints.should_save()
        if not save and feed.save_every >= feed.steps:
            former = epoch
            continue
        former, goodness = None, _record(job, epoch)
        if save:
            checkpoints.save(step, state, goodness, {})
        if stop and number < epochs:
            raise PreemptedError(f"{job.name}, seed {job.seed}, after epoch {number}")


def _train_epoch(
    job: Job,
    prepared: Prepared,
    state: TrainState,
    step: int,
    training: TrainingMetrics,
) -> TrainState:
    """Train to the end of an epoch, and save within it if it takes long.

    The state, which has taken `step` steps, is donated.

    Raises:
      PreemptedError: When the run was told to stop, after saving.
    """
    feed = job.trainer.feed
    for part in feed.parts(job.seed, step):
        state, metrics = prepared.train(state, part)
        step += feed.stride
        training.add(metrics)
        if step % feed.steps and step % feed.steps % feed.save_every == 0:
            training.fetch()
            stop = job.preemption.requested()
            if stop or job.checkpoints.should_save():
                job.checkpoints.save(step, state, _NEVER_BEST, training.values)
            if stop:
                where = f"within epoch {training.epoch}"
                raise PreemptedError(f"{job.name}, seed {job.seed}, {where}")
    return state


def _record(job: Job, epoch: Epoch) -> float:
    """Wait for the results of an epoch, write them, and return the goodness."""
    trainer, number = job.trainer, epoch.number
    objective = trainer.parts.objective
    found = objective.record("train", epoch.training.average())
    measured = jax.device_get(epoch.measured)
    for split, metrics in measured.items():
        if not math.isfinite(metrics.loss):
            name = split.replace("_", " ")
            raise DivergedError(
                f"the {name} loss is {metrics.loss} after epoch {number}"
            )
        found |= objective.record(split, metrics)
    rate = float(epoch.learning_rate)
    record: dict[str, Any] = {
        "run": job.name,
        "seed": job.seed,
        "epoch": number,
        "step": number * trainer.steps_per_epoch,
        "learning_rate": None if math.isnan(rate) else rate,
        **found,
        "seconds": job.log.seconds_since_last(),
        **monitoring.to_record(epoch.shown),
    }
    judged = measured[trainer.config.evaluated]
    job.log.write(record, judged)
    return objective.goodness(judged)
