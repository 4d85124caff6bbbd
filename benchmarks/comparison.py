"""Compare optimizers from Python, on the user's own network and arrays."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optax
from rich.console import Console
from rich.table import Table

from benchmarks import data as data_sets
from benchmarks import models
from benchmarks.data import own_arrays
from benchmarks.errors import UsageError
from benchmarks.models.factories import from_factory
from benchmarks.optimizers.factories import from_transformation
from benchmarks.reporting import measures
from benchmarks.reporting.plots import curves
from benchmarks.reporting.tables import as_html, as_markdown
from benchmarks.training import setup
from benchmarks.training.config import TrainConfig
from benchmarks.training.driver import Trained, train_parts
from benchmarks.training.objective import make_objective


@dataclass(frozen=True)
class Comparison:
    """The records of all runs of a comparison; a notebook shows its table."""

    trained: Trained

    @property
    def runs(self) -> dict[str, list[list[dict[str, Any]]]]:
        """By optimizer, the records of all epochs for each seed."""
        return self.trained.runs

    @property
    def diverged(self) -> list[str]:
        """One sentence for each run that ended early."""
        return self.trained.diverged

    @cached_property
    def table(self) -> Table:
        """The metric at four points of the training, by optimizer."""
        return curves.table(self.runs, self._settings["epochs"], *self._drawn)

    @cached_property
    def figure(self) -> Any:
        """Training loss and metric over the epochs, a Matplotlib figure."""
        return curves.make_figure(self.runs, *self._drawn)

    @property
    def _settings(self) -> dict[str, Any]:
        return self.trained.settings

    @property
    def _drawn(self) -> tuple[str, measures.Measure]:
        settings = self._settings
        title = f"{settings['model']}, {settings['epochs']} epochs"
        return title, measures.measure_for(settings)

    def __str__(self) -> str:
        console = Console(width=100, color_system=None)
        with console.capture() as printed:
            console.print(self.table)
        return printed.get()

    def _repr_html_(self) -> str:
        return as_html(f"{self.table.title}\n\n{as_markdown(self.table)}")


def compare(
    model: Any,
    data: Any,
    optimizers: Mapping[str, optax.GradientTransformation],
    epochs: int,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    seeds: int = 1,
    loss: Callable[..., Any] | None = None,
    metric: Callable[..., Any] | None = None,
    minimize: bool = False,
    augment: bool = False,
    devices: int | None = 1,
    out: str | Path | None = None,
) -> Comparison:
    """Train a network with several optimizers, from the same weights on the same data.

    Optimizers with separate evaluation weights (schedule-free ones, `optax.lookahead`
    and `benchmarks.with_ema`) are evaluated at those.

    Args:
      model: A class or function that builds a `flax.nnx.Module` and accepts any of the
        keywords input_shape, classes, rngs, dtype and axis_name; or a module; or the
        name of one of the networks.
      data: NumPy arrays ((inputs, labels), (inputs, labels)) for training and test.
        8-bit images (n, height, width, channels) are normalized, everything else
        reaches the network unchanged. Labels are classes (n,) or targets (n, ...). Or
        the name of a data set.
      optimizers: Transformations by name.
      epochs: Passes over the training set, at least 1.
      batch_size: Examples per step; by default 128, or all if there are fewer.
      seed: Determines the initial weights and the batches.
      seeds: Runs of each optimizer, with this and the following seeds.
      loss: A function of a batch's outputs and labels that returns one loss for each
        example; by default the cross-entropy.
      metric: Likewise, the metric to report instead of the accuracy.
      minimize: Whether a lower metric is better.
      augment: Whether to shift 8-bit images at random.
      devices: Number of devices to use; None for all.
      out: A new folder for records and checkpoints; None to keep nothing.

    Returns:
      The records, with a table and a figure.

    Raises:
      UsageError: If the arguments do not fit together.

    Examples:
      >>> import numpy as np, optax
      >>> from flax import nnx
      >>> from benchmarks import compare
      >>> from padam_optax import padam
      >>> def linear(input_shape, classes, rngs):
      ...     return nnx.Linear(input_shape[0], classes, rngs=rngs)
      >>> rng = np.random.default_rng(0)
      >>> labels = rng.integers(0, 2, 64)
      >>> inputs = rng.normal(size=(64, 3)) + 4 * labels[:, None]
      >>> both = (inputs, labels), (inputs, labels)
      >>> candidates = {"lion": optax.lion(3e-2), "padam": padam(0.1)}
      >>> found = compare(linear, both, candidates, epochs=3, batch_size=16)
      >>> found.runs["padam"][0][-1]["test_accuracy"] > 0.8
      True
    """
    if not isinstance(optimizers, Mapping):
        raise UsageError(
            "optimizers must be a dict from names to transformations, got "
            f"{type(optimizers).__name__}; give each a name, as {{'lion': ...}}."
        )
    if not optimizers:
        raise UsageError("optimizers must name at least one transformation, got none.")
    for name, one in optimizers.items():
        if not isinstance(name, str):
            raise UsageError(f"optimizers must have names that are str, got {name!r}.")
        if not isinstance(one, optax.GradientTransformation):
            raise UsageError(
                f"optimizers[{name!r}] must be an optax.GradientTransformation, got "
                f"{type(one).__name__}; call its factory, as optax.lion(3e-4)."
            )
    named = isinstance(data, str)
    source = None if named else own_arrays.from_arrays("data", data)
    if batch_size is None:
        batch_size = 128 if source is None else min(128, source.train_size)
    with tempfile.TemporaryDirectory() as scratch:
        config = TrainConfig(
            dataset=data if named else "data",
            model=model if isinstance(model, str) else _name(model),
            optimizers=tuple(optimizers),
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            seeds=seeds,
            loss=loss and _name(loss),
            metric=metric and _name(metric),
            minimize=minimize,
            augment=augment,
            devices=devices,
            keep=0 if out is None else 2,
            out=Path(scratch if out is None else out),
        )
        source = source or data_sets.find_for(config)
        layout = setup.set_up_devices(config)
        parts = setup.Parts(
            models.lookup(model)
            if isinstance(model, str)
            else from_factory(config.model, model),
            {k: from_transformation(k, tx) for k, tx in optimizers.items()},
            make_objective(
                loss, metric, source, _name(metric) if metric else "", minimize
            ),
        )
        setup.validate(config, source, layout, parts.model)
        about = {"data": setup.describe_data(source)}
        return Comparison(train_parts(config, source, layout, parts, about))


def _name(value: Any) -> str:
    return getattr(value, "__name__", type(value).__name__)
