"""The settings of `python -m benchmarks sweep`."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.errors import UsageError, check_at_least
from benchmarks.training.config import TrainConfig


@dataclass(frozen=True)
class SweepConfig:
    """Train with every combination of some settings, or search them with Optuna.

    The name of an experiment, as `python -m benchmarks list` shows them, sets what the
    options do not.

    Each optimizer, point of the grid and seed is a run of its own, in a folder of its
    own below --out. Anyone who starts the same command with the same --out and --resume
    takes part: no run is done twice, and those of a worker that was killed go on from
    their checkpoints.
    """

    train: TrainConfig
    """The settings of the runs, except those in the grid."""
    grid: tuple[str, ...] = ()
    """Settings and their values, as p=0.25,0.125 learning_rate=0.1,0.01: of the
    optimizers' recipes, or of a run, as batch_size or model; *0.1 is a tenth of what
    an optimizer's recipe says. Without any, the runs of the optimizers and seeds."""
    tune: str | None = None
    """A setting of --grid to choose for each optimizer, and for each point of the rest
    of the grid, by itself: the best value on the validation set (see --validate), by
    the mean over the seeds. --grid names the values to start with; while the smallest
    or the largest is the best, the next one is tried, too, up to four of them."""
    finals: int = 0
    """With --tune: so many runs, with the seeds 0, 1, 2, ..., of each optimizer with
    the chosen value, measured on the test set; --seed and --seeds are those that
    tune."""
    search: tuple[str, ...] = ()
    """In place of --grid: ranges from which a sampler of Optuna draws, as
    learning_rate=1e-4:1:log, batch_size=32:256:int or schedule=constant,cosine; *0.1
    is a tenth of what an optimizer's recipe says. Each optimizer has a search, and a
    study, of its own. --validate keeps the test set out of it."""
    trials: int = 20
    """With --search: how many runs each optimizer gets; with --resume it may grow."""
    sampler: Literal["tpe", "random", "qmc"] = "tpe"
    """With --search: Optuna's tree-structured Parzen estimator, random points, or
    those of a Sobol sequence."""
    pruner: Literal["none", "median", "asha"] = "none"
    """With --search: which runs end early. median: those worse than the median of the
    others at the same epoch; asha: successive halving."""
    storage: str | None = None
    """URL of the database by which the workers divide the runs, as
    postgresql://user@host/name or mysql://user@host/name; env:NAME takes it from an
    environment variable, so that no list of processes shows its password. By default
    the SQLite file sweep.db in --out, for workers that share this disk."""
    study: str = "sweep"
    """Name of this sweep in the database."""
    heartbeat: int = 20
    """Seconds between a worker's signs of life; after three times as long without one
    another takes up its run."""

    def __post_init__(self) -> None:
        """Raise an error for settings that cannot be divided among workers."""
        if not self.study:
            raise UsageError(
                "--study must not be empty; name the sweep, or leave it out."
            )
        check_at_least("--heartbeat", self.heartbeat, 1)
        check_at_least("--finals", self.finals, 0)
        check_at_least("--trials", self.trials, 1)
        self._check_search()
        if self.train.coordinator is not None:
            raise UsageError(
                "--coordinator does not suit a sweep, whose workers take runs of their "
                "own; start each without it."
            )
        if self.train.profile:
            raise UsageError("--profile does not suit a sweep, which trains.")

    def _check_search(self) -> None:
        if not self.search:
            if self.pruner != "none":
                raise UsageError(
                    f"--pruner {self.pruner} needs --search: every run of a grid is "
                    "asked for; leave it out."
                )
            return
        for option, given in (("--grid", self.grid), ("--tune", self.tune)):
            if given:
                raise UsageError(
                    f"--search and {option} both say what to try; leave one out. A "
                    "list is searched, too, as --search schedule=constant,cosine."
                )
        if self.train.seeds > 1:
            raise UsageError(
                f"--seeds must be 1 with --search, got {self.train.seeds}: each trial "
                "is one run; train the best settings with more seeds afterwards."
            )
