"""Set-up of a run: devices, settings of the optimizers, and checks."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx

from benchmarks import data, models, optimizers, own
from benchmarks.errors import UsageError
from benchmarks.models import initializers
from benchmarks.settings import parse_settings, recipe_of
from benchmarks.training import distributed
from benchmarks.training.config import TrainConfig
from benchmarks.training.devices import DeviceLayout
from benchmarks.training.objective import Objective, find_objective
from benchmarks.training.step import Measure


class Parts(NamedTuple):
    """What the settings of a run refer to, except its data."""

    model: models.Model
    optimizers: Mapping[str, optimizers.Optimizer]
    objective: Objective


def find_parts(config: TrainConfig, source: data.Source) -> Parts:
    """Look up all names in the settings of a run except that of the data set."""
    if config.initializer is not None:
        initializers.lookup(config.initializer)
    return Parts(
        models.lookup(config.model),
        {name: optimizers.lookup(name) for name in config.optimizers},
        find_objective(config, source),
    )


def describe(config: TrainConfig, source: data.Source) -> dict[str, Any]:
    """Describe the data set and the user's own objects, for config.json.

    Own objects are described by the name and the hash of their source file.
    """
    names = (
        config.dataset,
        config.model,
        *config.optimizers,
        *filter(None, (config.loss, config.metric)),
    )
    own_things = own.fingerprints(names)
    return {"data": describe_data(source)} | ({"own": own_things} if own_things else {})


def describe_recipes(
    config: TrainConfig, rows: Mapping[str, optimizers.Optimizer] | None = None
) -> dict[str, dict[str, Any]]:
    """Describe the optimizers, for config.json; see `resolve_hyperparams`."""
    rows = rows or {name: optimizers.lookup(name) for name in config.optimizers}
    return {
        name: {"label": rows[name].label, "formula": rows[name].formula, **recipe}
        for name, recipe in resolve_hyperparams(config, rows).items()
    }


def describe_data(source: data.Source) -> dict[str, Any]:
    """Describe a data set, for config.json."""
    return {
        "kind": source.kind,
        "train_size": source.train_size,
        "evaluated_size": source.test_size,
        "input_shape": list(source.input_shape),
        "classes": source.classes,
    }


def validate(
    config: TrainConfig,
    source: data.Source,
    layout: DeviceLayout,
    model: models.Model | None = None,
) -> None:
    """Raise an error for settings that the data, network or devices do not support."""
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
    model = model or models.lookup(config.model)
    if not model.accepts(source.kind, source.input_shape):
        raise UsageError(
            f"--model {config.model} takes {model.takes}, --dataset {source.name} "
            f"holds {source.kind}; `python -m benchmarks list models` tells."
        )
    if model.smallest_side and min(source.input_shape[:2]) < model.smallest_side:
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


def check_outputs(
    name: str, network: tuple[Any, Any], contents: Any, classes: int, measure: Measure
) -> None:
    """Raise an error for a network, loss or metric that does not fit the data set.

    Args:
      name: The name of the network.
      network: Its static part and the others.
      contents: A `data.Dataset`, or a stream, which is not looked at.
      classes: How many there are; 0 if a loss of the user's own takes anything.
      measure: The loss and the metric.
    """
    if not isinstance(contents, data.Dataset):
        return
    graph, weights = network
    inputs, labels = (x[:2] for x in contents.train)

    def call(inputs: jax.Array) -> jax.Array:
        model = nnx.merge(graph, *weights, copy=True)
        model.train()
        return model(contents.preprocessing.test(inputs))

    shape = f"({', '.join(map(str, inputs.shape[1:]))})"
    try:
        outputs = jax.eval_shape(call, inputs)
    except Exception as error:  # whatever the user's code raises
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"--model {name} cannot take inputs of the shape {shape} "
            f"({type(error).__name__}: {reason}); fix its __call__."
        ) from error
    wanted = (*labels.shape, classes)
    if classes and outputs.shape != wanted:
        raise UsageError(
            f"--model {name} maps two examples to the shape {outputs.shape}; it must "
            f"be {wanted}, a logit for each of {classes} classes."
        )
    jax.eval_shape(measure, outputs, labels)


def resolve_hyperparams(
    config: TrainConfig, rows: Mapping[str, optimizers.Optimizer] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the settings of each optimizer, as the command line changed them."""
    rows = rows or {name: optimizers.lookup(name) for name in config.optimizers}
    return {
        name: optimizers.recipe(
            name, parse_settings("--recipe", recipe_of(name, config.recipe)), row
        )
        for name, row in rows.items()
    }


def set_up_devices(config: TrainConfig) -> DeviceLayout:
    """Connect to the other processes, and find the devices to run on."""
    distributed.join(config)
    if config.devices is not None and config.devices > jax.device_count():
        raise UsageError(
            f"--devices must be at most {jax.device_count()}, the devices that there "
            f"are, got {config.devices}."
        )
    return DeviceLayout(config.parallel, config.shard_optimizer, config.devices)
