"""Runs over a grid of settings, divided among workers; the only user of Optuna.

A run is a trial that waits in the storage until a worker takes it. Trials that fail are
not taken up again: every worker puts runs that have no other trial into the queue. Two
may do so at once, for of a run's trials only the first that has not failed counts.
"""

import contextlib
import dataclasses
import fcntl
import functools
import itertools
import json
import math
import os
import re
import socket
import sys
import time
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, Trial, TrialState
from rich.console import Console
from rich.table import Table

from benchmarks import data, models, optimizers, outcomes, records, train
from benchmarks.config import CIRCUMSTANCES, SweepConfig, TrainConfig, UsageError
from benchmarks.parallel import Parallel
from benchmarks.preemption import PreemptedError, Preemption

Value = float | int | bool | str

# Fields of TrainConfig that are no single number or name, or have an option already.
_NOT_IN_GRID = ("optimizers", "recipe", "milestones", "seed", "seeds", *CIRCUMSTANCES)
_SECONDS_BETWEEN_LOOKS = 0.2


class Run(NamedTuple):
    """One run of the sweep.

    Attributes:
      optimizer: Its optimizer.
      point: The settings of the grid that it has, by name.
      config: All it needs but its folder.
    """

    optimizer: str
    point: Mapping[str, Value]
    config: TrainConfig

    @property
    def name(self) -> str:
        """What its folder is called."""
        parts = [f"{name}{_write(value)}" for name, value in self.point.items()]
        text = "-".join([self.optimizer, *parts, f"seed{self.config.seed}"])
        return re.sub(r"[^\w.+-]", "_", text)


class _Grid(optuna.samplers.GridSampler):
    """The grid, all of whose points wait in the queue from the beginning."""

    def after_trial(self, *arguments: Any) -> None:
        # The queue says when the sweep is over. Optuna's sampler looks for the mark of
        # a point it has drawn, which those from a queue do not have.
        pass


def run(config: SweepConfig) -> int:
    """Take part in a sweep until all its runs are done, print and write the results.

    A run whose loss is not finite ends there; the others go on.

    Returns:
      The exit status: 0; 1 if a run diverged; 143 if SIGTERM ended the program.

    Raises:
      UsageError: If the grid, the storage or a run of the sweep is not possible.
    """
    grid = read_grid(config)
    runs = plan(config.train, grid)
    mode = train.start(config.train)
    _check(runs, mode)
    folder = records.create_folder(config.train.out, config.study)
    with _storage_errors(config), Preemption() as preemption:
        worker = Worker(config, grid, runs, folder, mode, preemption)
        worker.write_settings()
        print(
            f"sweep of {len(runs)} runs in {folder}; who starts the same command with "
            f"--out {folder} --resume takes part."
        )
        try:
            worker.work()
        except PreemptedError:
            print(
                "stopped by SIGTERM and saved; the same command with "
                f"--out {folder} --resume goes on.",
                file=sys.stderr,
            )
            return 143
        finally:
            results = worker.write_results()
    Console().print(_table(results, grid, config))
    print(f"runs: {folder / 'sweep.jsonl'}")
    stopped = [result for result in results if result["state"] == "stopped"]
    for result in stopped:
        print(f"{result['run']} ended early: {result['stopped']}.", file=sys.stderr)
    return 1 if stopped else 0


def read_grid(config: SweepConfig) -> dict[str, tuple[Value, ...]]:
    """Read the values of each setting of the grid.

    Args:
      config: What the user asked for.

    Returns:
      The values by the setting's name, in the order given.

    Raises:
      UsageError: If a setting does not exist, or a value is not possible or not new.
    """
    if not config.grid:
        raise UsageError("--grid is missing: give settings as p=0.25,0.125.")
    fixed = {setting.partition("=")[0] for setting in config.train.recipe}
    grid: dict[str, tuple[Value, ...]] = {}
    for setting in config.grid:
        name, equals, texts = setting.partition("=")
        if not (name and equals and all(texts.split(","))) or name in grid:
            raise UsageError(
                f"--grid takes settings like p=0.25,0.125, each once, got {setting!r}."
            )
        if name in fixed:
            raise UsageError(f"--grid and --recipe both set {name}; leave one out.")
        read = _find_reader(name, config.train)
        values = []
        for text in texts.split(","):
            value = read(text)
            if value is None:
                raise UsageError(f"--grid {name} cannot be {text!r}.")
            values.append(value)
        if len(set(values)) < len(values):
            raise UsageError(f"--grid takes each value once, got {setting!r}.")
        grid[name] = tuple(values)
    return grid


def _find_reader(name: str, config: TrainConfig) -> Callable[[str], Value | None]:
    """Return what makes a value of a text, or None of one that is not possible."""
    fields = typing.get_type_hints(TrainConfig)
    if name in fields and name not in _NOT_IN_GRID:
        return lambda text: _read_as(fields[name], text)
    kinds = set()
    for optimizer in config.optimizers:
        recipe = optimizers.lookup(optimizer).recipe
        if name not in recipe:
            known = [field for field in fields if field not in _NOT_IN_GRID]
            raise UsageError(
                f"--grid {name}: {optimizer} has no such setting; it has "
                f"{', '.join(recipe)}; every run has {', '.join(known)}."
            )
        kinds.add(str if isinstance(recipe[name], str) else float)
    return lambda text: _read_as(str if str in kinds else float, text)


def _read_as(kind: Any, text: str) -> Value | None:
    parts = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return text if text in parts else None
    if parts:  # X | None
        kind = parts[0]
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower())
    try:
        value = kind(text)
    except ValueError:
        return None
    return value if kind is str or math.isfinite(value) else None


def _write(value: Value) -> str:
    """Write a value as short as it is exact."""
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


def plan(config: TrainConfig, grid: Mapping[str, Sequence[Value]]) -> dict[str, Run]:
    """List the runs of a sweep: those with other seeds only beside each other.

    Args:
      config: What they have in common.
      grid: The values of each setting.

    Returns:
      The runs by name.

    Raises:
      UsageError: If a combination of settings is not possible.
    """
    runs = []
    for optimizer in config.optimizers:
        for values in itertools.product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            fields = {
                k: v for k, v in point.items() if k in TrainConfig.__annotations__
            }
            changes = [f"{k}={v}" for k, v in point.items() if k not in fields]
            for seed in range(config.seed, config.seed + config.seeds):
                own = dataclasses.replace(
                    config,
                    **fields,
                    optimizers=(optimizer,),
                    recipe=(*config.recipe, *changes),
                    seed=seed,
                    seeds=1,
                    out=None,
                    resume=False,
                )
                runs.append(Run(optimizer, point, own))
    return {run.name: run for run in runs}


def _check(runs: Mapping[str, Run], mode: Parallel) -> None:
    """Refuse now what would end a run at its start."""
    find = functools.cache(data.find)
    for run in runs.values():
        config = run.config
        recipe = train.find_recipes(config)[run.optimizer]
        sizes = optimizers.Run(steps=1, num_examples=1, seed=0)
        optimizers.build(run.optimizer, recipe, lambda count: 0.1, sizes)
        models.lookup(config.model)
        train.check(config, find(config.dataset, config.data_dir), mode)


class Worker:
    """One of those who carry out a sweep.

    Args:
      config: The sweep.
      grid: The values of each setting.
      runs: The runs by name.
      folder: Where each of them has its folder.
      mode: Where to run.
      preemption: Says when to stop.
    """

    def __init__(
        self,
        config: SweepConfig,
        grid: Mapping[str, Sequence[Value]],
        runs: Mapping[str, Run],
        folder: Path,
        mode: Parallel,
        preemption: Preemption,
    ):
        self.config = config
        self.runs = runs
        self.folder = folder
        self.mode = mode
        self.preemption = preemption
        self.grace = 3 * config.heartbeat
        seeds = range(config.train.seed, config.train.seed + config.train.seeds)
        self.space = {"optimizer": config.train.optimizers, **grid, "seed": list(seeds)}
        with self._lock("storage"):  # Optuna makes tables, and then their indices
            self.study = self._open()
        self._silent: dict[int, float] = {}
        self._trainer: tuple[Any, train.Trainer] | None = None

    def _open(self) -> optuna.Study:
        """Create the study or join it, if it is of the same sweep."""
        storage = _open_storage(_url(self.config, self.folder), self.config.heartbeat)
        study = optuna.create_study(
            storage=storage,
            sampler=_Grid(self.space),
            study_name=self.config.study,
            direction="maximize",
            load_if_exists=True,
        )
        settings = dataclasses.asdict(self.config.train)
        settings = {k: v for k, v in settings.items() if k not in CIRCUMSTANCES}
        settings |= {"grid": self.space}
        settings["recipes"] = train.find_recipes(self.config.train)
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
                "another --out."
            )
        return study

    def write_settings(self) -> None:
        """Write what all runs have in common, unless another worker has done it."""
        with self._lock("settings"):
            if not (self.folder / "header.json").exists():
                common = self.config.train
                settings = {**dataclasses.asdict(common), "grid": self.space}
                records.write_json(self.folder / "config.json", settings)
                header = self._header(common.seed)
                records.write_json(self.folder / "header.json", header)

    def work(self) -> None:
        """Take one run after the other until none is left or under way.

        Raises:
          PreemptedError: When it was told to stop.
        """
        while True:
            self._give_up_the_dead()
            trials = self._find_trials()
            if self.runs.keys() - trials.keys():
                with self._lock("queue"):  # spares Optuna's tables the doubles
                    trials = self._find_trials()
                    for name in self.runs:
                        if name not in trials:
                            self._enqueue(name)
                trials = self._find_trials()
            states = {trial.state for trial in trials.values()}
            if TrialState.WAITING in states:
                self._take_one()
            elif TrialState.RUNNING in states:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            elif len(trials) == len(self.runs):
                return
            if self.preemption.noted():
                raise PreemptedError("between two runs")

    def _find_trials(self) -> dict[str, FrozenTrial]:
        """Return the trial that counts of each run that has one."""
        trials: dict[str, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False):
            name = trial.user_attrs.get("run")
            if name in self.runs and trial.state != TrialState.FAIL:
                trials.setdefault(name, trial)
        return trials

    def _enqueue(self, name: str) -> None:
        run = self.runs[name]
        self.study.enqueue_trial(
            {"optimizer": run.optimizer, **run.point, "seed": run.config.seed},
            user_attrs={"run": name},
        )

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

        def carry_out(trial: Trial) -> float | None:
            nonlocal training
            name = trial.user_attrs.get("run")
            counting = self._find_trials().get(name)
            if counting is None or counting.number != trial.number:
                return None  # a double, or made since the queue was empty: it fails
            for setting, values in self.space.items():
                trial.suggest_categorical(setting, values)
            trial.set_user_attr("worker", f"{socket.gethostname()} {os.getpid()}")
            training = True
            with self._lock(name):
                lines, problem = self._train(name)
            training = False
            trial.set_user_attr("record", lines[-1] if lines else None)
            if problem:
                trial.set_user_attr("stopped", problem)
                raise optuna.TrialPruned
            return lines[-1]["test_accuracy"]

        try:
            self.study.optimize(carry_out, n_trials=1)
        except (ValueError, AssertionError):
            # So Optuna objects if others have given up this worker, after it was
            # suspended, say. Whoever has the run now finds its records.
            if training:
                raise

    def _train(self, name: str) -> tuple[list[dict[str, Any]], str]:
        """Do one run, or what is left of it; return its records, and why it stopped."""
        run, folder = self.runs[name], self.folder / name
        print(name, flush=True)
        config = dataclasses.replace(run.config, out=folder, resume=True)
        row = optimizers.lookup(run.optimizer)
        recipe = train.find_recipes(config)[run.optimizer]
        described = {
            run.optimizer: {"label": row.label, "formula": row.formula, **recipe}
        }
        settings = {**dataclasses.asdict(config), "recipes": described}
        records.open_run(folder, config.dataset, settings, resume=True)
        records.write_header(folder, self._header(config.seed))
        trainer = self._find_trainer(run, config)
        return train.train_one(
            trainer, run.optimizer, config.seed, folder, self.preemption
        )

    def _header(self, seed: int) -> dict[str, Any]:
        header = records.header(self.mode.describe(), seed)
        if self.config.storage:  # may hold a password
            header["command"] = [
                text.replace(self.config.storage, "...") for text in header["command"]
            ]
        return header

    def _find_trainer(self, run: Run, config: TrainConfig) -> train.Trainer:
        """Make a trainer, or take that of the last run if only the seed is another."""
        key = run.optimizer, run.point
        if self._trainer is None or self._trainer[0] != key:
            self._trainer = None  # free its memory first, programs included
            jax.clear_caches()
            source = data.find(config.dataset, config.data_dir)
            self._trainer = key, train.Trainer(config, source, self.mode)
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
                    if self.preemption.noted():
                        raise PreemptedError("before a run") from error
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
            yield

    def write_results(self) -> list[dict[str, Any]]:
        """Write what has come of each run to sweep.jsonl, and return it."""
        trials = self._find_trials()
        results = []
        for name, run in self.runs.items():
            trial = trials.get(name)
            notes = trial.user_attrs if trial else {}
            results.append(
                {
                    "run": name,
                    "optimizer": run.optimizer,
                    "settings": dict(run.point),
                    "seed": run.config.seed,
                    "state": _STATES[trial.state if trial else TrialState.WAITING],
                    "test_accuracy": trial.value if trial else None,
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
        except sqlalchemy.exc.DBAPIError:
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

    @sqlalchemy.event.listens_for(engine, "connect")
    def leave_begin_to_us(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections from before


@contextlib.contextmanager
def _storage_errors(config: SweepConfig) -> Iterator[None]:
    """Tell in one line of a storage that does not answer, without its password."""
    try:
        yield
    except (
        optuna.exceptions.StorageInternalError,
        sqlalchemy.exc.SQLAlchemyError,
    ) as error:
        cause = error.__cause__ or error
        reason = " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        name = "sweep.db in --out"
        if config.storage is not None:
            try:
                url = sqlalchemy.make_url(config.storage)
            except sqlalchemy.exc.ArgumentError:
                raise UsageError(
                    "--storage must be a URL such as postgresql://user@host/name."
                ) from error
            name = f"--storage {url.render_as_string(hide_password=True)}"
        raise UsageError(
            f"{name} cannot be used ({reason}); once it can, the same command with "
            "--out and --resume goes on."
        ) from error


def _table(
    results: Sequence[Mapping[str, Any]],
    grid: Mapping[str, Sequence[Value]],
    config: SweepConfig,
) -> Table:
    """Tabulate the test accuracy after the last epoch, means over the seeds."""
    seeds = config.train.seeds
    spread = f", mean ± deviation of {seeds} seeds" if seeds > 1 else ""
    table = Table(title=f"{config.study}: test accuracy in % at the end{spread}")
    for name in ("optimizer", *grid):
        table.add_column(name, no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    for i in range(0, len(results), seeds):  # other seeds stand beside each other
        same = results[i : i + seeds]
        values = [
            100 * one["test_accuracy"] for one in same if one["state"] == "complete"
        ]
        if len(values) < seeds:
            accuracy = f"{seeds - len(values)} of {seeds} diverged"
        else:
            accuracy = str(outcomes.summarise(values))
        settings = map(_write, same[0]["settings"].values())
        table.add_row(
            optimizers.lookup(same[0]["optimizer"]).label, *settings, accuracy
        )
    return table
