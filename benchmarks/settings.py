"""Settings in the form name=value."""

import re
from collections.abc import Iterable

from benchmarks.errors import UsageError


def split_recipe(setting: str) -> tuple[str, str]:
    """Split a setting of one optimizer into its name and name=value.

    >>> split_recipe("adam:b2=0.9"), split_recipe("optax:lion:b1=0.95")
    (('adam', 'b2=0.9'), ('optax:lion', 'b1=0.95'))
    >>> split_recipe("b2=0.9")
    ('', 'b2=0.9')
    """
    before, equals, value = setting.rpartition("=")
    name, _, key = before.rpartition(":")
    return name, f"{key}{equals}{value}"


def recipe_of(optimizer: str, settings: Iterable[str]) -> tuple[str, ...]:
    """Return the settings that are for an optimizer, without its name.

    >>> recipe_of("adam", ["weight_decay=0", "adam:b2=0.9", "padam:p=0.25"])
    ('weight_decay=0', 'b2=0.9')
    """
    split = map(split_recipe, settings)
    return tuple(setting for name, setting in split if name in ("", optimizer))


def file_name(name: str) -> str:
    """Turn a name, which may be that of an object, into a file name.

    >>> file_name("optax:lion,b1=0.95")
    'optax_lion_b1_0.95'
    """
    return re.sub(r"[^\w.+-]", "_", name)


def parse_settings(argument: str, settings: Iterable[str]) -> dict[str, float | str]:
    """Read settings written as name=value; what looks like a number is one."""
    result: dict[str, float | str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not (name and equals and value) or name in result:
            raise UsageError(
                f"{argument} takes settings like p=0.25, each once, got {setting!r}."
            )
        try:
            result[name] = float(value)
        except ValueError:
            result[name] = value
    return result


def format_value(value: float | int | bool | str) -> str:
    """Write a value in its shortest exact form."""
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)
