"""A worker of a sweep, which takes one run after another from a queue.

A run is a trial of Optuna that waits in the storage until a worker takes it. Optuna's
heartbeat finds workers that died; their trials are queued again.
"""

import contextlib
import dataclasses
import json
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import exc

from benchmarks import run_dir, run_files
from benchmarks.settings import file_name
from benchmarks.sweep import grid as grids
from benchmarks.sweep import search, study, tuning
from benchmarks.sweep.config import SweepConfig
from benchmarks.sweep.grid import Run
from benchmarks.sweep.runs import SECONDS_BETWEEN_LOOKS, Runner
from benchmarks.sweep.storage import Storage, find_url, lost_connection, open_storage
from benchmarks.training import setup
from benchmarks.training.log import StoppedError, Watch
from benchmarks.training.objective import Objective
from benchmarks.training.preemption import PreemptedError
from benchmarks.training.resume import RunResult

_PRUNED = "pruned"

_retry = optuna.storages.RetryHeartbeatStaleTrialCallback


def make_workers(config: SweepConfig, runner: Runner) -> "list[Worker]":
    """Join the studies of a sweep: one of a grid, or one of each optimizer's search."""
    with runner.lock("storage"):  # Optuna makes tables, and then their indices
        run_files.restore(runner.folder)
        url = find_url(config, runner.folder)
        storage = open_storage(url, config.heartbeat)
        names = config.train.optimizers
        if not config.search or len(names) == 1:
            return [Worker(config, runner, storage)]
        workers: list[Worker] = []
        for name in names:
            own = dataclasses.replace(
                config.train, optimizers=(name,), out=None, resume=False
            )
            title = f"{config.study}-{file_name(name)}"
            one = dataclasses.replace(config, train=own, study=title)
            workers.append(Worker(one, runner, storage))
        return workers


def work(workers: "Sequence[Worker]", folder: Path) -> None:
    """Take runs until all are done; wait for other workers only at the end.

    Raises:
      PreemptedError: If it was told to stop.
    """
    for wait in (False, True):
        for worker in workers:
            worker.work(wait, lambda: write_results(workers, folder))


def write_results(workers: "Sequence[Worker]", folder: Path) -> list[dict[str, Any]]:
    """Write the state and result of each run to sweep.jsonl, and return them."""
    results = [line for worker in workers for line in worker.results()]
    path = folder / "sweep.jsonl"
    temporary = path.with_suffix(f".{socket.gethostname()}-{os.getpid()}.tmp")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in results))
    temporary.replace(path)
    return results


def write_settings(
    config: SweepConfig, workers: "Sequence[Worker]", runner: Runner
) -> None:
    """Write the common settings, once for each storage and folder.

    Published records keep their header; that of the resumed sweep is added to it.
    """
    folder, attributes = runner.folder, workers[0].study.user_attrs
    with runner.lock("settings"):
        written = (folder / "header.json").exists()
        if written and attributes.get("described"):
            return
        common = config.train
        first = next(iter(workers[0].runs.values()))
        settings = {
            **dataclasses.asdict(common),
            **study.describe(config),
            **({"trials": config.trials} if config.search else {}),
            **setup.describe(common, runner.sources.find(first.config)),
        }
        run_dir.write_json(folder / "config.json", settings)
        run_dir.write_header(folder, runner.header(common.seed))
        workers[0].study.set_user_attr("described", True)


class Worker:
    """A worker on one study; a search has one optimizer."""

    def __init__(self, config: SweepConfig, runner: Runner, storage: Storage):
        self.config = config
        self.runner = runner
        self.storage = storage
        self.grace = 3 * config.heartbeat
        self.grid = grids.read_grid(config)
        self.space = search.read_space(config)
        self.study = study.open_study(config, storage, self._make_sampler())
        self.runs = self._plan(self._find_trials())
        self._silent: dict[int, float] = {}
        self._whole: set[str] = set()  # names of runs with all records on this disk

    def _make_sampler(self, trial: int = 0) -> optuna.samplers.BaseSampler:
        name = self.config.sampler if self.config.search else "random"
        return search.make_sampler(name, self.config.train.seed, trial)

    def work(self, wait: bool = True, after_run: Callable[[], Any] = list) -> None:
        """Take one run after another until none is left; call a function after each.

        With `wait`, wait for runs that other workers have in progress.

        Raises:
          PreemptedError: If it was told to stop.
        """
        while True:
            try:
                self._give_up_the_dead()
                trials = self.fill_queue()
                states = {trials[name].state for name in self.runs}
                if TrialState.WAITING in states:
                    self._take_one()
                    after_run()
                elif TrialState.RUNNING in states and wait:
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                else:
                    return
            except (optuna.exceptions.StorageInternalError, exc.SQLAlchemyError) as e:
                if not lost_connection(e):
                    raise
                time.sleep(SECONDS_BETWEEN_LOOKS)  # then wait for the server
            if self.runner.preemption.requested():
                raise PreemptedError("between two runs")

    def fill_queue(self) -> dict[str, FrozenTrial]:
        """Queue all planned runs, and add finished ones to the study.

        Published records are finished runs: their folder has all records and no
        checkpoints.

        Returns:
          The trial of each run.

        Raises:
          UsageError: If one of them had other settings.
        """
        while True:
            trials = self._find_trials()
            self.runs = self._plan(trials)
            if self.runs.keys() <= trials.keys():
                return trials
            with self.storage.lock():
                trials = self._find_trials()
                failed = self._find_trials((TrialState.FAIL,))
                for name in self.runs:
                    if name not in trials:
                        self._queue(name, failed.get(name))

    def _queue(self, name: str, failed: FrozenTrial | None) -> None:
        run = self.runs[name]
        done = None if self.config.search else self.runner.find_finished(run)
        if done is not None:
            self._add(name, done)
        elif failed is not None:
            _retry()(self.study, failed)
        else:
            fixed = {} if self.config.search else _settings(run)
            self.study.enqueue_trial(fixed, user_attrs=self._notes(name))

    def _add(self, name: str, result: RunResult) -> None:
        """Add a finished run to the study."""
        run, stopped = self.runs[name], result.stopped
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.PRUNED if stopped else TrialState.COMPLETE,
                value=None if stopped else self._value(run, result.records[-1]),
                params=_settings(run),
                distributions=self._spaces(name),
                user_attrs={
                    **self._notes(name),
                    **study.store(result, self.runner.read_header(run)),
                },
            )
        )

    def _plan(self, trials: Mapping[str, FrozenTrial]) -> dict[str, Run]:
        """List the planned runs, given the trials so far."""
        if self.config.search:
            drawn = {name: trial.params for name, trial in trials.items()}
            return search.plan(self.config, self.space, drawn)
        scores = {}
        for name, trial in trials.items():
            if trial.state.is_finished() and trial.user_attrs.get("stage") == "tuning":
                scores[name] = self._score(trial)
        return tuning.plan(self.config, self.grid, scores)

    def _score(self, trial: FrozenTrial) -> float:
        """Return the score of a finished tuning run; higher is better."""
        about, stopped = trial.user_attrs, trial.state == TrialState.PRUNED
        if self.config.train.metric is not None or not about["classes"]:
            return -math.inf if stopped else float(trial.value or 0.0)
        record = None if stopped else about["record"]
        return tuning.score(record, about["classes"], about["kind"] != "text")

    def _find_trials(
        self,
        states: tuple[TrialState, ...] = (
            TrialState.WAITING,
            TrialState.RUNNING,
            TrialState.COMPLETE,
            TrialState.PRUNED,
        ),
    ) -> dict[str, FrozenTrial]:
        """Return the latest trial of each run in the given states."""
        trials: dict[str, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False, states=states):
            name: Any = trial.user_attrs.get("run")
            if name is not None:
                trials[name] = trial
        return trials

    def _notes(self, name: str) -> dict[str, Any]:
        """Return the attributes by which a trial is found and scored."""
        run = self.runs[name]
        source = self.runner.sources.find(run.config)
        about = {"classes": source.classes, "kind": source.kind}
        return {"run": name, "stage": run.stage, **about}

    def _value(self, run: Run, record: Mapping[str, Any]) -> float:
        return self.runner.objective(run).read(record, run.config.evaluated)

    def _spaces(self, name: str) -> dict[str, BaseDistribution]:
        """Return the distributions of a run's settings."""
        run = self.runs[name]
        if self.config.search:
            return search.distributions(run.optimizer, self.space)
        choices = {"optimizer": self.config.train.optimizers, **self.grid}
        return search.pin(_settings(run), choices)

    def _give_up_the_dead(self) -> None:
        """Mark the trials of dead workers as failed."""
        optuna.storages.fail_stale_trials(self.study)
        # Optuna does not find a worker that died before its first heartbeat.
        now = time.monotonic()
        for trial in self.study.get_trials(
            deepcopy=False, states=(TrialState.RUNNING,)
        ):
            since = self._silent.setdefault(trial.number, now)
            begun = trial.user_attrs.get("begun") == trial.number
            if not begun and now - since > self.grace:
                with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
                    self.study.tell(
                        trial.number, state=TrialState.FAIL, skip_if_finished=True
                    )

    def _take_one(self) -> None:
        trained = False

        def carry_out(trial: Trial) -> Any:  # None fails, which Optuna allows
            nonlocal trained
            name: Any = trial.user_attrs.get("run")
            if name not in self.runs:  # another worker may have planned it
                self.runs = self._plan(self._find_trials())
            if name not in self.runs:
                return None  # the queue was empty, or the run is not planned any more
            trial.set_user_attr("worker", f"{socket.gethostname()} {os.getpid()}")
            trial.set_user_attr("begun", trial.number)
            self.study.sampler = self._make_sampler(trial.number)
            drawn = search.suggest(trial, self._spaces(name))
            run = self.runs[name]
            if self.config.search:
                run = search.plan(self.config, self.space, {name: drawn})[name]
            with self.runner.lock(name):
                result = self.runner.train(run, self._report(trial, run))
            trained = True
            for key, value in study.store(result, self.runner.read_header(run)).items():
                trial.set_user_attr(key, value)
            if result.stopped is not None:
                raise optuna.TrialPruned
            return self._value(run, result.records[-1])

        try:
            self.study.optimize(carry_out, n_trials=1)
        except (ValueError, AssertionError):
            # Optuna raises these if another worker marked the trial as failed, for
            # example while this one was suspended. The next one finds the records.
            if not trained:
                raise

    def _report(self, trial: Trial, run: Run) -> Watch:
        """Return a function that reports epochs to Optuna, and may prune the run."""

        def watch(record: Mapping[str, Any]) -> None:
            epoch = record["epoch"]
            prune = False
            with _forgiving():
                trial.report(self._value(run, record), epoch)
                prune = epoch < run.config.epochs and trial.should_prune()
            if prune:
                raise StoppedError(f"{_PRUNED} after epoch {epoch}")

        return watch

    @property
    def objective(self) -> Objective:
        """The loss and metric of the runs."""
        return self.runner.objective(next(iter(self.runs.values())))

    def results(self) -> Iterator[dict[str, Any]]:
        """Yield the result of each run; copy the records of other disks."""
        trials = self._find_trials()
        for name, run in self.runs.items():
            trial = trials.get(name)
            notes = trial.user_attrs if trial else {}
            state = trial.state if trial else TrialState.WAITING
            if state.is_finished() and name not in self._whole:
                self.runner.write_copy(
                    run, study.restore(notes), notes.get("header", {})
                )
                self._whole.add(name)
            stopped = notes.get("stopped")
            pruned = stopped is not None and stopped.startswith(_PRUNED)
            objective = self.runner.objective(run)
            yield {
                "run": name,
                "optimizer": run.optimizer,
                "settings": dict(run.point),
                "seed": run.config.seed,
                "stage": run.stage,
                "state": _PRUNED if pruned else _STATES[state],
                f"{run.config.evaluated}_{objective.judged}": (
                    objective.sign * trial.value
                    if trial
                    and state == TrialState.COMPLETE
                    and trial.value is not None
                    else None
                ),
                "stopped": stopped,
                "record": notes.get("record"),
                "worker": notes.get("worker"),
            }


_STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
}


@contextlib.contextmanager
def _forgiving() -> Iterator[None]:
    """Ignore a failed report; only the final result counts."""
    try:
        yield
    except optuna.exceptions.UpdateFinishedTrialError:
        pass  # another worker marked the trial as failed
    except (optuna.exceptions.StorageInternalError, exc.SQLAlchemyError) as error:
        if not lost_connection(error):
            raise


def _settings(run: Run) -> dict[str, Any]:
    """Return a run's settings as Optuna stores them."""
    return {"optimizer": run.optimizer, **run.point, "seed": run.config.seed}
