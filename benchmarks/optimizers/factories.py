"""The user's own optimizers: a factory whose signature is the recipe."""

import inspect
from collections.abc import Mapping
from typing import Any

import optax

from benchmarks import own
from benchmarks.errors import UsageError
from benchmarks.optimizers.evaluation import keep_slow_weights
from benchmarks.optimizers.types import Optimizer

# For a factory without a default, as most of Optax's.
LEARNING_RATE = 1e-3


def describe(name: str) -> Optimizer:
    """Return the table entry of module:factory, which returns a transformation.

    The name may have settings after commas, and may be that of a transformation. The
    recipe has the learning rate and the parameters of the factory whose defaults are
    numbers, strings, booleans or None.

    Raises:
      UsageError: If there is no such factory, or a required argument is missing.

    >>> describe("optax:lion,b1=0.95").recipe["b1"]
    0.95
    """
    found = own.find("--optimizers", name)
    if _is_transformation(found.value):
        return from_transformation(name, found.value)
    known = own.parameters("--optimizers", name, found.value)
    offered = {
        "learning_rate": LEARNING_RATE,
        "run": None,  # the Run
    }
    own.choose("--optimizers", name, found.value, offered, found.settings)
    recipe = {
        key: parameter.default
        for key, parameter in known.items()
        if isinstance(parameter.default, (int, float, str, bool, type(None)))
    }
    recipe.pop("run", None)
    if "learning_rate" in known:
        recipe.setdefault("learning_rate", LEARNING_RATE)
    for key, value in found.settings.items():
        argument = f"--optimizers {name}: {key}"
        recipe[key] = own.convert(argument, value, recipe.get(key))
    return Optimizer(
        name,
        f"what {name.partition(',')[0]} returns",
        "the user's own",
        recipe,
        lambda **settings: _call(name, found.value, settings),
        needs_run="run" in known,
        takes_schedule=_may_vary(known),
    )


def from_transformation(name: str, transformation: Any) -> Optimizer:
    """Return the table entry of a transformation, which has no recipe."""
    return Optimizer(
        name,
        f"as {name} is defined",
        "the user's own",
        {},
        lambda: keep_slow_weights(transformation),
        takes_schedule=False,
    )


def _may_vary(known: Mapping[str, inspect.Parameter]) -> bool:
    """Whether a factory takes a schedule: it does not say that the rate is a number."""
    if "learning_rate" not in known:
        return False
    annotation = known["learning_rate"].annotation
    text = annotation if isinstance(annotation, str) else str(annotation)
    is_open = annotation in (inspect.Parameter.empty, Any)
    return is_open or "Schedule" in text or "Callable" in text


def _call(name: str, factory: Any, settings: Mapping[str, Any]) -> Any:
    """Build the transformation, and check that it is one."""
    try:
        made = factory(**settings)
    except Exception as error:  # the user's function may raise anything
        hint = ""
        if callable(settings.get("learning_rate")) and "function" in str(error):
            hint = (
                "; learning_rate is a schedule, write `learning_rate: float` in its "
                "signature to get a number"
            )
        raise ValueError(f"{type(error).__name__}: {error}{hint}.") from error
    if not _is_transformation(made):
        raise UsageError(
            f"--optimizers {name} must return an optax.GradientTransformation, got "
            f"{type(made).__name__}; return one, as optax.sgd(learning_rate) does."
        )
    return keep_slow_weights(made)


def _is_transformation(value: Any) -> bool:
    return isinstance(value, optax.GradientTransformation)
