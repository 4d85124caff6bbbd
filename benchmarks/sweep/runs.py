"""Train the runs of a sweep, each in its own folder."""

import contextlib
import dataclasses
import fcntl
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from benchmarks import data, optimizers, run_dir, run_files
from benchmarks.errors import UsageError
from benchmarks.settings import file_name
from benchmarks.sweep.config import SweepConfig
from benchmarks.sweep.grid import Run
from benchmarks.training import loop, resume, setup
from benchmarks.training.config import TrainConfig
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.log import Watch
from benchmarks.training.objective import Objective, find_objective
from benchmarks.training.preemption import PreemptedError, Preemption
from benchmarks.training.resume import RunResult
from benchmarks.training.trainer import Trainer

SECONDS_BETWEEN_LOOKS = 0.2
# The folder of the locks, the first thing that a sweep writes.
LOCKS = ".locks"


class Sources:
    """A cache of the data sets that were looked up."""

    def __init__(self) -> None:
        self._found: dict[Any, data.Source] = {}

    def find(self, config: TrainConfig) -> data.Source:
        """Return the data set of a run, with its options applied."""
        changes = (config.examples, config.validate, config.side, config.label_noise)
        key = (config.dataset, *changes)
        if key not in self._found:
            self._found[key] = data.find_for(config)
        return self._found[key]


def check_folder(out: Path | None) -> None:
    """Raise an error for a folder that holds anything but a sweep.

    A sweep that was killed at once left its locks.
    """
    if out is None or not out.is_dir() or not any(out.iterdir()):
        return
    if run_files.is_run(out):
        kind = run_files.read_kind(out)
        if kind != "sweep":
            raise UsageError(
                f"--resume: {out} holds a run of {kind or 'no command'}, not a sweep; "
                "give the folder that the sweep printed, or a new one."
            )
    elif not any((out / name).exists() for name in (LOCKS, "sweep.db")):
        raise UsageError(
            f"--resume: {out} holds no sweep; give the folder that the sweep printed, "
            "or a new one."
        )


def check(runs: Mapping[str, Run], layout: DeviceLayout) -> None:
    """Raise an error for invalid runs before any is started."""
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


class Runner:
    """Trains the runs of a sweep, each in its folder below the sweep's."""

    def __init__(
        self,
        config: SweepConfig,
        folder: Path,
        layout: DeviceLayout,
        preemption: Preemption,
    ):
        self.folder = folder
        self.layout = layout
        self.preemption = preemption
        self.sources = Sources()
        self._storage = config.storage
        self._trainer: tuple[Any, Trainer] | None = None

    def train(self, run: Run, watch: Watch) -> RunResult:
        """Do or resume a run; see `loop.run_one`."""
        folder = self.folder / run.name
        print(run.name, flush=True)
        config = dataclasses.replace(run.config, out=folder, resume=True)
        resume.open_run(folder, config.dataset, self.settings(run), resume=True)
        run_dir.write_header(folder, self.header(config.seed))
        trainer = self._find_trainer(run, config)
        return loop.run_one(
            trainer, run.optimizer, config.seed, folder, self.preemption, watch
        )

    def find_finished(self, run: Run) -> RunResult | None:
        """Return the result of a finished run in its folder, or None."""
        folder = self.folder / run.name
        if (folder / "checkpoints").exists() or not (folder / "config.json").exists():
            return None
        result = resume.read_result(self._records(run))
        if result.stopped is None and len(result.records) < run.config.epochs:
            return None
        resume.check_settings(folder / "config.json", self.settings(run))
        return result

    def write_copy(
        self, run: Run, result: RunResult, header: Mapping[str, Any]
    ) -> None:
        """Write the records of another worker's run, if this disk has fewer."""
        here = resume.read_result(self._records(run))
        if here.stopped is not None or len(here.records) >= len(result.records):
            return
        folder = self.folder / run.name
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # of an earlier state
        folder.mkdir(exist_ok=True)
        run_dir.write_json(folder / "config.json", self.settings(run))
        run_dir.write_json(folder / "header.json", header)
        stop = {
            "run": run.optimizer,
            "seed": run.config.seed,
            "stopped": result.stopped,
        }
        lines = [*result.records, *([stop] if result.stopped is not None else [])]
        run_dir.write_lines(self._records(run), lines)

    def _records(self, run: Run) -> Path:
        name = f"{file_name(run.optimizer)}-seed{run.config.seed}.jsonl"
        return self.folder / run.name / name

    def objective(self, run: Run) -> Objective:
        """Return the loss and metric of a run."""
        return find_objective(run.config, self.sources.find(run.config))

    def settings(self, run: Run) -> dict[str, Any]:
        """Return the contents of a run's config.json."""
        folder = self.folder / run.name
        config = dataclasses.replace(run.config, out=folder, resume=True)
        return {
            **dataclasses.asdict(config),
            "recipes": setup.describe_recipes(config),
            **setup.describe(config, self.sources.find(config)),
        }

    def header(self, seed: int) -> dict[str, Any]:
        """Return the contents of a run's header.json."""
        header = run_dir.header("sweep", self.layout.describe(), seed)
        if self._storage:  # may hold a password
            header["command"] = [
                text.replace(self._storage, "...") for text in header["command"]
            ]
        return header

    def read_header(self, run: Run) -> dict[str, Any]:
        """Read the header.json of a run; {} if there is none."""
        path = self.folder / run.name / "header.json"
        return run_dir.read_json(path) if path.exists() else {}

    def _find_trainer(self, run: Run, config: TrainConfig) -> Trainer:
        """Build a trainer, or reuse that of the last run if only the seed differs."""
        key = run.optimizer, run.point, run.stage
        if self._trainer is None or self._trainer[0] != key:
            self._trainer = None  # free its memory first, programs included
            jax.clear_caches()
            source = self.sources.find(config)
            self._trainer = key, Trainer(config, source, self.layout)
        return self._trainer[1]

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Lock a run against other workers on this disk.

        Raises:
          PreemptedError: If it was told to stop while waiting.
        """
        path = self.folder / LOCKS / name
        path.parent.mkdir(exist_ok=True)
        with path.open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if self.preemption.requested():
                        raise PreemptedError("before a run") from error
                    time.sleep(SECONDS_BETWEEN_LOOKS)
            yield
