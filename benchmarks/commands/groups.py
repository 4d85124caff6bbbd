"""The settings of `train` and `sweep` as --help shows them: in groups."""

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any

from benchmarks.sweep.config import SweepConfig
from benchmarks.training.config import TrainConfig
from benchmarks.training.options import (
    CheckpointOptions,
    DataOptions,
    DeviceOptions,
    ModelOptions,
    OptimizationOptions,
)


@dataclass(frozen=True)
class Grouped:
    """The options of a run."""

    data: DataOptions
    model: ModelOptions
    optimization: OptimizationOptions
    devices: DeviceOptions
    checkpoints: CheckpointOptions

    @classmethod
    def split(cls, config: TrainConfig) -> "Grouped":
        """Split the settings of a run into groups."""

        def take(kind: Any) -> Any:
            names = [field.name for field in dataclasses.fields(kind)]
            return kind(**{name: getattr(config, name) for name in names})

        return cls(*map(take, typing.get_type_hints(cls).values()))

    def merge(self) -> TrainConfig:
        """Bring the groups together, and check them."""
        groups = vars(self).values()
        return TrainConfig(**{k: v for group in groups for k, v in vars(group).items()})


@dataclass(frozen=True)
class GroupedSweep(SweepConfig):
    """The options of a sweep."""

    train: Grouped  # pyright: ignore[reportIncompatibleVariableOverride]

    def __post_init__(self) -> None:
        """Leave the checks to `merge`."""

    @classmethod
    def split(cls, config: SweepConfig) -> "GroupedSweep":
        """Split the settings of a sweep's runs into groups."""
        return cls(**{**vars(config), "train": Grouped.split(config.train)})

    def merge(self) -> SweepConfig:
        """Bring the groups together, and check them."""
        return SweepConfig(**{**vars(self), "train": self.train.merge()})
