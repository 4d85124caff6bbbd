"""The settings of a run: frozen dataclasses, checked before any work starts."""

import itertools
from dataclasses import dataclass, fields
from typing import Literal

from benchmarks.errors import (
    UsageError,
    check_at_least,
    check_each_once,
    check_out,
    check_seed,
)
from benchmarks.settings import file_name, parse_settings, recipe_of, split_recipe
from benchmarks.training.options import (
    CheckpointOptions,
    DataOptions,
    DeviceOptions,
    ModelOptions,
    OptimizationOptions,
)

_LEAST = {"epochs": 1, "batch_size": 1, "accumulate": 1, "seeds": 1, "timeout": 1}
_LEAST |= {"width": 1, "examples": 1, "side": 1, "workers": 0, "keep": 0}


@dataclass(frozen=True)
class TrainConfig(
    CheckpointOptions, DeviceOptions, OptimizationOptions, ModelOptions, DataOptions
):
    """Train one network with several optimizers and compare them.

    Every optimizer gets its published recipe, the same initial weights and the same
    batches in the same order. The name of an experiment, as `python -m benchmarks
    list` shows them, sets what the options do not. Without one this trains on
    scikit-learn's digits, which need no download, in about a minute on two processor
    cores.
    """

    def __post_init__(self) -> None:
        """Raise an error for settings that no data set and no device supports."""
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None:
                check_at_least(f"--{name.replace('_', '-')}", value, least)
        for name in ("label_noise", "final_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} must be in [0, 1], got {value}.")
        check_seed(self.seed, self.seeds)
        check_each_once("--optimizers", self.optimizers)
        if len(set(map(file_name, self.optimizers))) < len(self.optimizers):
            raise UsageError(
                f"--optimizers {' '.join(self.optimizers)}: two of them would write "
                "to the same file; give one of your own another name."
            )
        for name in self.optimizers:
            parse_settings("--recipe", recipe_of(name, self.recipe))
        for setting in self.recipe:
            name, _ = split_recipe(setting)
            if name and name not in self.optimizers:
                raise UsageError(
                    f"--recipe {setting}: {name} is not among --optimizers "
                    f"{' '.join(self.optimizers)}; add it, or leave this out."
                )
        bounds = (0.0, *self.milestones, 1.0)
        if not all(a < b for a, b in itertools.pairwise(bounds)):
            given = " ".join(str(m) for m in self.milestones)
            raise UsageError(
                f"--milestones must rise strictly between 0 and 1, got {given}."
            )
        if not 0 <= self.warmup < 1:
            raise UsageError(f"--warmup must be in [0, 1), got {self.warmup}.")
        first = min(self.milestones, default=1.0)
        if self.schedule == "multi-stage" and first <= self.warmup:
            raise UsageError(
                f"--warmup must be less than the first of --milestones, {first}, "
                f"got {self.warmup}."
            )
        if self.minimize and self.metric is None:
            raise UsageError("--minimize is about --metric; give that, too.")
        if self.schedule in ("exponential", "inverse-time") and not self.final_share:
            raise UsageError(
                f"--schedule {self.schedule} never reaches 0: give --final-share, "
                "such as 0.01."
            )
        if not self.checkpoint_seconds >= 0:
            raise UsageError(
                "--checkpoint-seconds must be 0 or more, got "
                f"{self.checkpoint_seconds}."
            )
        self._check_processes()
        if self.data_dir is not None and not self.data_dir.is_dir():
            raise UsageError(
                f"--data-dir {self.data_dir} is not a folder; give the one that holds "
                "the data sets' own folders, such as cifar10/."
            )
        if not self.resume:
            check_out(self.out)
        elif self.out is None:
            raise UsageError("--resume needs --out, the folder of the run to resume.")

    @property
    def evaluated(self) -> Literal["validation", "test"]:
        """What the runs are evaluated on, as the records name it."""
        return "validation" if self.validate else "test"

    def _check_processes(self) -> None:
        if self.devices is not None:
            check_at_least("--devices", self.devices, 1)
            if self.coordinator is not None:
                raise UsageError(
                    "--devices is for one process; with --coordinator each process "
                    "uses all of its devices."
                )
        if self.shard_optimizer and self.parallel == "pmap":
            raise UsageError("--shard-optimizer needs --parallel jit.")
        given = self.num_processes, self.process_id
        if self.coordinator in (None, "auto"):
            if given != (None, None):
                raise UsageError(
                    "--num-processes and --process-id need --coordinator host:port."
                )
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise UsageError(
                f"--coordinator must be host:port or auto, got {self.coordinator}."
            )
        if self.num_processes is None or self.process_id is None:
            raise UsageError(
                "--coordinator host:port needs --num-processes and --process-id."
            )
        if not 0 <= self.process_id < self.num_processes:
            raise UsageError(
                f"--process-id must be in [0, {self.num_processes}), got "
                f"{self.process_id}."
            )


def find_fields(without: str) -> tuple[str, ...]:
    """Return the names of the settings whose metadata deny a property."""
    return tuple(
        x.name for x in fields(TrainConfig) if not x.metadata.get(without, True)
    )


# What may differ when a run is taken up again: it does not change a number.
CIRCUMSTANCES = find_fields(without="affects_results")
