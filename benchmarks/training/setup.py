"""Before a run: its devices, its optimizers' settings, and what cannot work."""

from typing import Any

import jax

from benchmarks import data, models, optimizers
from benchmarks.errors import UsageError
from benchmarks.settings import parse_settings, recipe_of
from benchmarks.training import distributed
from benchmarks.training.config import TrainConfig
from benchmarks.training.devices import DeviceLayout


def validate(config: TrainConfig, source: data.Source, layout: DeviceLayout) -> None:
    """Refuse what this data set, this network or these devices cannot do.

    Raises:
      UsageError: Saying what does not fit, and what would.
    """
    if config.batch_size > source.train_size:
        raise UsageError(
            f"--batch-size must be at most {source.train_size}, the training examples "
            f"of {source.name}, got {config.batch_size}."
        )
    parts = layout.devices * config.accumulate
    if config.batch_size % parts:
        divided = f" and {config.accumulate} parts" if config.accumulate > 1 else ""
        raise UsageError(
            f"--batch-size must be a multiple of {parts} for {layout.devices} "
            f"devices{divided}, got {config.batch_size}."
        )
    model = models.lookup(config.model)
    if model.takes != source.kind:
        raise UsageError(
            f"--model {config.model} takes {model.takes}, --dataset {source.name} "
            f"holds {source.kind}; `python -m benchmarks list models` tells."
        )
    if source.kind == "images" and min(source.input_shape[:2]) < model.smallest_side:
        height, width, _ = source.input_shape
        smallest = model.smallest_side
        raise UsageError(
            f"--model {config.model} needs images of at least {smallest}x{smallest} "
            f"pixels, those of {source.name} have {height}x{width}."
        )
    if config.accumulate > 1 and "lbfgs" in config.optimizers:
        raise UsageError(
            "--accumulate does not suit lbfgs, whose line search needs the whole batch."
        )


def resolve_hyperparams(config: TrainConfig) -> dict[str, dict[str, Any]]:
    """Return the settings of each optimizer, as the command line changed them."""
    return {
        name: optimizers.recipe(
            name, parse_settings("--recipe", recipe_of(name, config.recipe))
        )
        for name in config.optimizers
    }


def set_up_devices(config: TrainConfig) -> DeviceLayout:
    """Join the other processes, and find the devices to run on.

    Raises:
      UsageError: If there are not as many.
    """
    distributed.join(config)
    if config.devices is not None and config.devices > jax.device_count():
        raise UsageError(
            f"--devices must be at most {jax.device_count()}, the devices that there "
            f"are, got {config.devices}."
        )
    return DeviceLayout(config.parallel, config.shard_optimizer, config.devices)
