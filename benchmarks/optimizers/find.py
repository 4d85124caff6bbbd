"""Look up an optimizer by name: its entry, its recipe, the transformation."""

import math
from collections.abc import Mapping
from typing import Any

import optax

from benchmarks import own
from benchmarks.errors import UsageError, check_name
from benchmarks.optimizers.factories import describe
from benchmarks.optimizers.table import OPTIMIZERS
from benchmarks.optimizers.types import Optimizer, Run


def lookup(name: str) -> Optimizer:
    """Find an optimizer by its name on the command line, or module:factory."""
    if own.is_own(name):
        return describe(name)
    if name not in OPTIMIZERS and hasattr(optax, name.partition(",")[0]):
        raise UsageError(
            f"--optimizers {name!r} does not exist here; write optax:{name} for "
            "Optax's."
        )
    check_name("--optimizers", name, OPTIMIZERS)
    return OPTIMIZERS[name]


def recipe(
    name: str, changes: Mapping[str, float | str], row: Optimizer | None = None
) -> dict[str, Any]:
    """Return the recipe of an optimizer with some of its settings replaced.

    Raises:
      UsageError: If the optimizer has no such setting, or not with such a value.
    """
    row = lookup(name) if row is None else row
    settings = dict(row.recipe)
    for setting, value in changes.items():
        if setting not in row.recipe:
            raise UsageError(
                f"--recipe {setting}: {name} has no such setting; it has "
                f"{', '.join(row.recipe) or 'none'}."
            )
        argument = f"--recipe {setting} of {name}"
        settings[setting] = own.convert(argument, value, row.recipe[setting])
    # A schedule hides the number from the optimizer's own check.
    rate = settings.get("learning_rate")
    if isinstance(rate, int | float) and not 0 <= rate < math.inf:
        raise UsageError(
            f"--recipe learning_rate of {name} must be a finite number >= 0, got "
            f"{rate}."
        )
    return settings


def build(
    name: str,
    settings: Mapping[str, Any],
    schedule: optax.Schedule,
    run: Run,
    row: Optimizer | None = None,
) -> optax.GradientTransformation:
    """Build an optimizer for a run, given its recipe.

    The schedule replaces the recipe's learning rate, if that may vary.

    Raises:
      UsageError: If the optimizer rejects a setting, with its message.
    """
    row = lookup(name) if row is None else row
    arguments = dict(settings)
    if row.takes_schedule and "learning_rate" in settings:
        arguments["learning_rate"] = schedule
    if row.needs_run:
        arguments["run"] = run
    try:
        return row.build(**arguments)
    except (ValueError, TypeError) as error:
        raise UsageError(f"--recipe does not suit {name}: {error}") from error


def make(name: str, learning_rate: Any, **changes: Any) -> optax.GradientTransformation:
    """Build an optimizer of the table for anything but training a network.

    It has no weight decay. The learning rate is a number, which may be traced, or a
    schedule; changes replace settings of the recipe.

    >>> import jax.numpy as jnp
    >>> tx = make("momentum", 0.5, momentum=0.0)
    >>> tx.update(jnp.array([2.0]), tx.init(jnp.array([0.0])))[0].tolist()
    [-1.0]
    """
    row = OPTIMIZERS[name]
    settings = {**row.recipe, "learning_rate": learning_rate, **changes}
    if "weight_decay" in settings:
        settings["weight_decay"] = None
    return row.build(**settings)
