"""Runs over a grid of settings, divided among workers; the only user of Optuna.

A run is a trial that waits in the storage until a worker takes it. Trials that fail are
not taken up again: every worker puts runs that have no other trial into the queue. Two
may do so at once, for of a run's trials only the first that has not failed counts.
"""

import contextlib
import dataclasses
import fcntl
import json
import math
import os
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import optuna
import sqlalchemy
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import event, exc

from benchmarks import data, optimizers, run_dir, run_files
from benchmarks.errors import UsageError
from benchmarks.settings import file_name
from benchmarks.sweep import tuning
from benchmarks.sweep.config import SweepConfig
from benchmarks.sweep.grid import Grid, Run
from benchmarks.training import loop, resume, setup
from benchmarks.training.config import CIRCUMSTANCES, TrainConfig
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.objective import Objective, find_objective
from benchmarks.training.preemption import PreemptedError, Preemption
from benchmarks.training.resume import RunResult
from benchmarks.training.trainer import Trainer

_SECONDS_BETWEEN_LOOKS = 0.2

_Space = FloatDistribution | IntDistribution | CategoricalDistribution


def check(runs: Mapping[str, Run], layout: DeviceLayout) -> None:
    """Refuse now what would end a run at its start."""
    sources = Sources()
    for run in runs.values():
        config = run.config
        recipe = setup.resolve_hyperparams(config)[run.optimizer]
        sizes = optimizers.Run(steps=1, num_examples=1, seed=0)
        optimizers.build(run.optimizer, recipe, lambda count: 0.1, sizes)
        finals = (False,) if run.stage == "tuning" else ()
        for validate in (config.validate, *finals):
            own = dataclasses.replace(config, validate=validate)
            source = sources.find(own)
            setup.find_parts(own, source)
            setup.validate(own, source, layout)


class Sources:
    """Data sets that were found, each once."""

    def __init__(self) -> None:
        self._found: dict[Any, data.Source] = {}

    def find(self, config: TrainConfig) -> data.Source:
        """Find the data set of a run, as its options select and change it."""
        changes = (config.examples, config.validate, config.side, config.label_noise)
        key = (config.dataset, *changes)
        if key not in self._found:
            self._found[key] = data.find_for(config)
        return self._found[key]


class Worker:
    """One of those who carry out a sweep.

    Args:
      config: The sweep.
      grid: The values of each setting.
      folder: Where each run has its folder.
      layout: Where to run.
      preemption: Says when to stop.
    """

    def __init__(
        self,
        config: SweepConfig,
        grid: Grid,
        folder: Path,
        layout: DeviceLayout,
        preemption: Preemption,
    ):
        self.config = config
        self.grid = grid
        self.folder = folder
        self.layout = layout
        self.preemption = preemption
        self.grace = 3 * config.heartbeat
        with self._lock("storage"):  # Optuna makes tables, and then their indices
            run_files.restore(folder)
            self.study = self._open()
        self.runs = self._plan(self._find_trials())
        self._silent: dict[int, float] = {}
        self._sources = Sources()
        self._trainer: tuple[Any, Trainer] | None = None

    def _open(self) -> optuna.Study:
        """Create the study or join it, if it is of the same sweep."""
        storage = _open_storage(_url(self.config, self.folder), self.config.heartbeat)
        study = optuna.create_study(
            storage=storage,
            sampler=optuna.samplers.RandomSampler(),
            study_name=self.config.study,
            direction="maximize",
            load_if_exists=True,
        )
        settings = dataclasses.asdict(self.config.train)
        settings = {k: v for k, v in settings.items() if k not in CIRCUMSTANCES}
        settings |= self._describe()
        settings["recipes"] = setup.resolve_hyperparams(self.config.train)
        settings = json.loads(json.dumps(settings, default=str))
        # In this order, for another worker may be writing its settings, then trials.
        is_new = not study.get_trials(deepcopy=False)
        former = study.user_attrs.get("settings")
        if former is None and is_new:
            study.set_user_attr("settings", settings)
            return study
        former = former or {}
        different = [
            f"{key} was {former.get(key)}, is {settings.get(key)}"
            for key in sorted({*former, *settings})
            if former.get(key) != settings.get(key)
        ]
        if different:
            raise UsageError(
                f"the study {self.config.study!r} in this storage had other settings: "
                f"{'; '.join(different)}. Give the same ones, or another --study, or "
                "another --out; or remove the storage, to go on with the runs that fit."
            )
        return study

    def _describe(self) -> dict[str, Any]:
        """Describe the grid, and what is tuned."""
        common = self.config.train
        seeds = range(common.seed, common.seed + common.seeds)
        grid = {"optimizer": common.optimizers, **self.grid, "seed": list(seeds)}
        return {"grid": grid, "tune": self.config.tune, "finals": self.config.finals}

    def write_settings(self) -> None:
        """Write what all runs have in common, once for each storage.

        A folder of records that came without a storage keeps its header; how it went on
        stands beside it.
        """
        with self._lock("settings"):
            written = (self.folder / "header.json").exists()
            if written and self.study.user_attrs.get("described"):
                return
            common, first = self.config.train, next(iter(self.runs.values()))
            settings = {
                **dataclasses.asdict(common),
                **self._describe(),
                **setup.describe(common, self._sources.find(first.config)),
            }
            run_dir.write_json(self.folder / "config.json", settings)
            run_dir.write_header(self.folder, self._header(common.seed))
            self.study.set_user_attr("described", True)

    def work(self) -> None:
        """Take one run after the other until none is left or under way.

        Raises:
          PreemptedError: When it was told to stop.
        """
        while True:
            self._give_up_the_dead()
            trials = self.adopt()
            if self.runs.keys() - trials.keys():
                with self._lock("queue"):  # spares Optuna's tables the doubles
                    trials = self._find_trials()
                    for name in self.runs:
                        if name not in trials:
                            self._enqueue(name)
                trials = self._find_trials()
            states = {trials[name].state for name in self.runs if name in trials}
            if TrialState.WAITING in states:
                self._take_one()
                self.write_results()
            elif TrialState.RUNNING in states:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            elif self.runs.keys() <= trials.keys():
                return
            if self.preemption.requested():
                raise PreemptedError("between two runs")

    def adopt(self) -> dict[str, FrozenTrial]:
        """Find all runs that are needed, and add to the study those done elsewhere.

        These are the runs whose folder has the records of every epoch, or the reason
        why they ended early, but no checkpoints: as published records are.

        Returns:
          The trial that counts of each run that has one.

        Raises:
          UsageError: If one of them had other settings.
        """
        while True:
            trials = self._find_trials()
            self.runs = self._plan(trials)
            if not any(
                name not in trials and self._find_finished(name) for name in self.runs
            ):
                return trials
            with self._lock("queue"):
                trials = self._find_trials()
                for name in self.runs:
                    result = self._find_finished(name) if name not in trials else None
                    if result is not None:
                        self._add(name, result)

    def _plan(self, trials: Mapping[str, FrozenTrial]) -> dict[str, Run]:
        """List the runs that are needed after these."""
        scores = {}
        for name, trial in trials.items():
            if trial.state.is_finished() and trial.user_attrs.get("stage") == "tuning":
                scores[name] = self._score(trial)
        return tuning.plan(self.config, self.grid, scores)

    def _score(self, trial: FrozenTrial) -> float:
        """Say how good a finished run that tunes is, the higher the better."""
        about, stopped = trial.user_attrs, trial.state == TrialState.PRUNED
        if self.config.train.metric is not None or not about["classes"]:
            return -math.inf if stopped else float(trial.value or 0.0)
        record = None if stopped else about["record"]
        return tuning.score(record, about["classes"], about["kind"] != "text")

    def _find_finished(self, name: str) -> RunResult | None:
        """Return what has come of a run that is over, None if it is not."""
        run, folder = self.runs[name], self.folder / name
        if (folder / "checkpoints").exists() or not (folder / "config.json").exists():
            return None
        path = folder / f"{file_name(run.optimizer)}-seed{run.config.seed}.jsonl"
        result = resume.read_result(path)
        if result.stopped is None and len(result.records) < run.config.epochs:
            return None
        resume.check_settings(folder / "config.json", self._settings(name))
        return result

    def _add(self, name: str, result: RunResult) -> None:
        """Add a run that was done elsewhere to the study."""
        stopped, kept = result.stopped, result.records
        params = self._params(name)
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.PRUNED if stopped else TrialState.COMPLETE,
                value=None if stopped else self._value(name, kept[-1]),
                params={key: value for key, (value, _) in params.items()},
                distributions={key: space for key, (_, space) in params.items()},
                user_attrs={
                    **self._notes(name),
                    "record": kept[-1] if kept else None,
                    "stopped": stopped,
                },
            )
        )

    def _find_trials(self) -> dict[str, FrozenTrial]:
        """Return the trial that counts of each run that has one."""
        trials: dict[str, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False):
            name: Any = trial.user_attrs.get("run")
            if name is not None and trial.state != TrialState.FAIL:
                trials.setdefault(name, trial)
        return trials

    def _enqueue(self, name: str) -> None:
        params = self._params(name)
        self.study.enqueue_trial(
            {key: value for key, (value, _) in params.items()},
            user_attrs=self._notes(name),
        )

    def _notes(self, name: str) -> dict[str, Any]:
        """Say what a trial is for, and what its value is measured by."""
        run = self.runs[name]
        source = self._sources.find(run.config)
        about = {"classes": source.classes, "kind": source.kind}
        return {"run": name, "stage": run.stage, **about}

    def _value(self, name: str, record: Mapping[str, Any]) -> float:
        run = self.runs[name]
        return self._find_objective(run).read(record, run.config.evaluated)

    def _find_objective(self, run: Run) -> Objective:
        return find_objective(run.config, self._sources.find(run.config))

    def _params(self, name: str) -> dict[str, tuple[Any, _Space]]:
        """Return a run's settings as Optuna shows them: each has one possible value.

        Values may be added while a sweep tunes, and Optuna lets choices not change.
        """
        run = self.runs[name]
        settings = {"optimizer": run.optimizer, **run.point, "seed": run.config.seed}
        choices = {"optimizer": self.config.train.optimizers, **self.grid}
        params: dict[str, tuple[Any, _Space]] = {}
        for key, value in settings.items():
            if isinstance(value, float):
                params[key] = value, FloatDistribution(value, value)
            elif isinstance(value, int) and not isinstance(value, bool):
                params[key] = value, IntDistribution(value, value)
            else:
                params[key] = value, CategoricalDistribution(choices[key])
        return params

    def _give_up_the_dead(self) -> None:
        """Declare the trials failed whose workers give no sign of life."""
        optuna.storages.fail_stale_trials(self.study)
        # Optuna does not find those whose worker died before it gave the first one.
        now = time.monotonic()
        for trial in self.study.get_trials(
            deepcopy=False, states=(TrialState.RUNNING,)
        ):
            since = self._silent.setdefault(trial.number, now)
            if "worker" not in trial.user_attrs and now - since > self.grace:
                with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
                    self.study.tell(
                        trial.number, state=TrialState.FAIL, skip_if_finished=True
                    )

    def _take_one(self) -> None:
        training = False

        def carry_out(trial: Trial) -> Any:  # None fails, which Optuna allows
            nonlocal training
            name: Any = trial.user_attrs.get("run")
            counting = self._find_trials().get(name)
            if counting is None or counting.number != trial.number:
                return None  # a double, or made since the queue was empty: it fails
            for setting, (value, space) in self._params(name).items():
                if isinstance(space, FloatDistribution):
                    trial.suggest_float(setting, value, value)
                elif isinstance(space, IntDistribution):
                    trial.suggest_int(setting, value, value)
                else:
                    trial.suggest_categorical(setting, space.choices)
            trial.set_user_attr("worker", f"{socket.gethostname()} {os.getpid()}")
            training = True
            with self._lock(name):
                result = self._train(name)
            training = False
            trial.set_user_attr(
                "record", result.records[-1] if result.records else None
            )
            if result.stopped is not None:
                trial.set_user_attr("stopped", result.stopped)
                raise optuna.TrialPruned
            return self._value(name, result.records[-1])

        try:
            self.study.optimize(carry_out, n_trials=1)
        except (ValueError, AssertionError):
            # So Optuna objects if others have given up this worker, after it was
            # suspended, say. Whoever has the run now finds its records.
            if training:
                raise

    def _train(self, name: str) -> RunResult:
        """Do one run, or what is left of it."""
        run, folder = self.runs[name], self.folder / name
        print(name, flush=True)
        config = dataclasses.replace(run.config, out=folder, resume=True)
        resume.open_run(folder, config.dataset, self._settings(name), resume=True)
        run_dir.write_header(folder, self._header(config.seed))
        trainer = self._find_trainer(run, config)
        return loop.run_one(
            trainer, run.optimizer, config.seed, folder, self.preemption
        )

    def _settings(self, name: str) -> dict[str, Any]:
        """Return what the config.json of a run says."""
        run, folder = self.runs[name], self.folder / name
        config = dataclasses.replace(run.config, out=folder, resume=True)
        row = optimizers.lookup(run.optimizer)
        recipe = setup.resolve_hyperparams(config)[run.optimizer]
        described = {
            run.optimizer: {"label": row.label, "formula": row.formula, **recipe}
        }
        return {
            **dataclasses.asdict(config),
            "recipes": described,
            **setup.describe(config, self._sources.find(config)),
        }

    def _header(self, seed: int) -> dict[str, Any]:
        header = run_dir.header("sweep", self.layout.describe(), seed)
        if self.config.storage:  # may hold a password
            header["command"] = [
                text.replace(self.config.storage, "...") for text in header["command"]
            ]
        return header

    def _find_trainer(self, run: Run, config: TrainConfig) -> Trainer:
        """Make a trainer, or take that of the last run if only the seed is another."""
        key = run.optimizer, run.point, run.stage
        if self._trainer is None or self._trainer[0] != key:
            self._trainer = None  # free its memory first, programs included
            jax.clear_caches()
            source = self._sources.find(config)
            self._trainer = key, Trainer(config, source, self.layout)
        return self._trainer[1]

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Keep other workers of this disk out, those given up by mistake included."""
        path = self.folder / ".locks" / name
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if self.preemption.requested():
                        raise PreemptedError("before a run") from error
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
            yield

    @property
    def judged(self) -> str:
        """What the runs are judged by, as their records name it."""
        return self._find_objective(next(iter(self.runs.values()))).judged

    def write_results(self) -> list[dict[str, Any]]:
        """Write what has come of each run to sweep.jsonl, and return it."""
        trials = self._find_trials()
        results = []
        for name, run in self.runs.items():
            objective = self._find_objective(run)
            trial = trials.get(name)
            notes = trial.user_attrs if trial else {}
            results.append(
                {
                    "run": name,
                    "optimizer": run.optimizer,
                    "settings": dict(run.point),
                    "seed": run.config.seed,
                    "stage": run.stage,
                    "state": _STATES[trial.state if trial else TrialState.WAITING],
                    f"{run.config.evaluated}_{objective.judged}": (
                        objective.sign * trial.value
                        if trial and trial.value is not None
                        else None
                    ),
                    "stopped": notes.get("stopped"),
                    "record": notes.get("record"),
                    "worker": notes.get("worker"),
                }
            )
        path = self.folder / "sweep.jsonl"
        temporary = path.with_suffix(f".{socket.gethostname()}-{os.getpid()}.tmp")
        temporary.write_text("".join(json.dumps(line) + "\n" for line in results))
        temporary.replace(path)
        return results


_STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "stopped",
}


def _url(config: SweepConfig, folder: Path) -> str:
    return config.storage or f"sqlite:///{folder.absolute() / 'sweep.db'}"


def _open_storage(url: str, heartbeat: int) -> optuna.storages.RDBStorage:
    """Open a database, and make the tables if need be."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    on_sqlite = url.startswith("sqlite")
    options = {"connect_args": {"timeout": 60}} if on_sqlite else {}
    for left in reversed(range(10)):
        try:
            storage = optuna.storages.RDBStorage(
                url, options, heartbeat_interval=heartbeat, grace_period=3 * heartbeat
            )
            break
        except ImportError as error:  # of the database's driver
            raise optuna.exceptions.StorageInternalError(str(error)) from error
        except exc.DBAPIError:
            if not left:
                raise
            time.sleep(0.1)  # another worker may just be making the tables
    if on_sqlite:
        _make_transactions_exclusive(storage.engine)
    return storage


def _make_transactions_exclusive(engine: sqlalchemy.Engine) -> None:
    """Let nobody write between what a transaction reads and what it writes.

    Optuna asks for this with SELECT FOR UPDATE, which SQLite does not have: two workers
    would take the same trial.
    """

    @event.listens_for(engine, "connect")
    def leave_begin_to_us(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections from before


@contextlib.contextmanager
def storage_errors(config: SweepConfig) -> Iterator[None]:
    """Tell in one line of a storage that does not answer, without its password."""
    try:
        yield
    except (
        optuna.exceptions.StorageInternalError,
        exc.SQLAlchemyError,
    ) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        name = "sweep.db in --out"
        if config.storage is not None:
            try:
                url = sqlalchemy.make_url(config.storage)
            except exc.ArgumentError:
                raise UsageError(
                    "--storage must be a URL such as postgresql://user@host/name."
                ) from error
            name = f"--storage {url.render_as_string(hide_password=True)}"
        raise UsageError(
            f"{name} cannot be used ({reason}); once it can, the same command with "
            "--out and --resume goes on."
        ) from error
