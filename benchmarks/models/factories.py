"""The user's own networks: a class or function that builds a `flax.nnx.Module`."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx

from benchmarks import own
from benchmarks.errors import UsageError
from benchmarks.models.types import Model

# The keywords that a factory may accept.
PASSED = (
    "width",
    "input_shape",
    "classes",
    "initializer",
    "dtype",
    "axis_name",
    "rngs",
)


def describe(name: str) -> Model:
    """Return the table entry of module:factory, which builds a network.

    The name may have settings after commas. The factory accepts any of PASSED, and
    other parameters that have defaults.

    Raises:
      UsageError: If there is no such factory, or a required argument is missing.
    """
    found = own.find("--model", name)
    settings = {key: own.as_number(value) for key, value in found.settings.items()}
    return from_factory(name, found.value, settings)


def from_factory(
    name: str, factory: Any, settings: dict[str, Any] | None = None
) -> Model:
    """Return the table entry of a network, given its factory; or itself, to copy."""
    if isinstance(factory, nnx.Module):
        return Model(lambda **offered: factory, 0, 0, "the user's own", None)
    settings = settings or {}
    own.choose("--model", name, factory, dict.fromkeys(PASSED), settings)
    known = own.parameters("--model", name, factory)

    def build(**offered: Any) -> nnx.Module:
        changed = {
            "width": bool(offered["width"]),
            "initializer": offered["initializer"] is not None,
            "dtype": offered["dtype"] != jnp.float32,
        }
        for option, is_given in changed.items():
            if is_given and option not in known:
                raise UsageError(
                    f"--{option} does not suit --model {name}, which has no parameter "
                    f"{option}; leave it out or add one."
                )
        for option in ("width", "initializer"):
            if not changed[option]:  # the factory's default
                del offered[option]
        return _build(name, factory, offered, settings)

    return Model(build, 0, 0, "the user's own", None)


def _build(
    name: str, factory: Callable[..., Any], offered: Any, settings: Any
) -> nnx.Module:
    arguments = own.choose("--model", name, factory, offered, settings)
    try:
        network = factory(**arguments)
    except UsageError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise UsageError(
            f"--model {name} cannot be built ({type(error).__name__}: {error}); it was "
            f"given {', '.join(arguments)}."
        ) from error
    if not isinstance(network, nnx.Module):
        raise UsageError(
            f"--model {name} must make a flax.nnx.Module, got {type(network).__name__}."
        )
    return network
