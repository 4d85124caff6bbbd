"""Loss and metric of a run: cross-entropy and accuracy, or the user's own."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks import data, own
from benchmarks.errors import UsageError
from benchmarks.training.options import ModelOptions
from benchmarks.training.step import Measure, Metrics, measure


class Objective(NamedTuple):
    """Loss and metric of a run.

    Attributes:
      measure: A function of a batch's outputs and labels that returns both for each
        example.
      name: The metric's name in the records; "" if there is only the loss.
      sign: 1 if a higher metric is better, -1 if a lower one is, as of the loss.
      is_own: Whether one of them is the user's own.
    """

    measure: Measure = measure
    name: str = "accuracy"
    sign: int = 1
    is_own: bool = False

    def record(self, split: str, metrics: Metrics) -> dict[str, float]:
        """Return the metrics of a split under their names in the records."""
        found = {f"{split}_loss": float(metrics.loss)}
        if self.name:
            found[f"{split}_{self.name}"] = float(metrics.accuracy)
        return found

    def goodness(self, metrics: Metrics) -> float:
        """Return the value that selects the best state: higher is better."""
        return self.sign * float(metrics.accuracy if self.name else metrics.loss)

    @property
    def judged(self) -> str:
        """The metric that runs are judged by, named in the records after the split."""
        return self.name or "loss"

    def read(self, record: Mapping[str, Any], split: str) -> float:
        """Return `goodness` of the record of an epoch: higher is better."""
        return self.sign * record[f"{split}_{self.judged}"]


def find_objective(options: ModelOptions, source: data.Source) -> Objective:
    """Find the loss and the metric that the settings name."""
    loss = _find("--loss", options.loss)
    metric = _find("--metric", options.metric)
    named = (options.metric or "").rpartition(":")[2].rpartition(".")[2]
    return make_objective(
        loss, metric, source, named.partition(",")[0], options.minimize
    )


def make_objective(
    loss: Callable[..., Any] | None,
    metric: Callable[..., Any] | None,
    source: data.Source,
    name: str = "",
    minimize: bool = False,
) -> Objective:
    """Combine a loss and a metric.

    Args:
      loss: A function of a batch's outputs and labels that returns a loss for each
        example, or for each of its parts, which are averaged; None for cross-entropy.
      metric: Likewise; None for the accuracy, if there are classes.
      source: The data set.
      name: The metric's name in the records.
      minimize: Whether a lower metric is better.
    """
    if loss is None and not source.classes:
        raise UsageError(
            f"--dataset {source.name} holds targets, not classes; give --loss, "
            "as --loss optax:squared_error, or from Python loss=optax.squared_error."
        )
    if metric is not None:
        sign = -1 if minimize else 1
    else:
        name, sign = ("accuracy", 1) if source.classes else ("", -1)
    if loss is None and metric is None and name:
        return Objective(measure, name, sign)

    def measure_both(outputs: jax.Array, labels: jax.Array) -> Metrics:
        found: dict[str, jax.Array] = {}
        for key, function in (("loss", loss), ("metric", metric)):
            if function is not None:
                found[key] = _per_example(f"--{key}", function, outputs, labels)
        if len(found) < 2 and (loss is None or name):
            usual = measure(outputs, labels)
            found = {"loss": usual.loss, "metric": usual.accuracy} | found
        return Metrics(found["loss"], found.get("metric", found["loss"]))

    return Objective(measure_both, name, sign, is_own=True)


def _per_example(
    argument: str, function: Callable[..., Any], outputs: jax.Array, labels: jax.Array
) -> jax.Array:
    """Call the user's own function, and check what it returns."""
    try:
        values = jnp.asarray(function(outputs, labels))
    except Exception as error:  # whatever the user's code raises
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{argument} cannot take outputs of the shape {outputs.shape} and labels "
            f"of {labels.shape} ({type(error).__name__}: {reason})."
        ) from error
    if values.ndim == 0 or len(values) != len(labels):
        raise UsageError(
            f"{argument} must return a number for each of the {len(labels)} examples "
            f"of a batch, got the shape {values.shape}; do not average."
        )
    return values.astype(jnp.float32).reshape(len(values), -1).mean(axis=1)


def _find(argument: str, name: str | None) -> Callable[..., Any] | None:
    if name is None:
        return None
    if not own.is_own(name):
        raise UsageError(
            f"{argument} {name} must be module:function, as optax:squared_error."
        )
    found = own.find(argument, name)
    if not callable(found.value):
        raise UsageError(f"{argument} {name} must be a function of outputs and labels.")
    if not found.settings:
        return found.value
    settings = {key: own.as_number(value) for key, value in found.settings.items()}
    return lambda outputs, labels: found.value(outputs, labels, **settings)
