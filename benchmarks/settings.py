"""Settings as a user writes them, name=value."""

from collections.abc import Iterable

from benchmarks.errors import UsageError


def recipe_of(optimizer: str, settings: Iterable[str]) -> tuple[str, ...]:
    """Return the settings that are for an optimizer, without its name.

    >>> recipe_of("adam", ["weight_decay=0", "adam:b2=0.9", "padam:p=0.25"])
    ('weight_decay=0', 'b2=0.9')
    """
    split = (
        (setting, *setting.partition("=")[0].partition(":")) for setting in settings
    )
    return tuple(
        setting.removeprefix(f"{optimizer}:")
        for setting, name, colon, _ in split
        if not colon or name == optimizer
    )


def parse_settings(argument: str, settings: Iterable[str]) -> dict[str, float | str]:
    """Read settings written as name=value.

    Args:
      argument: The option they were given to, for the message.
      settings: What the user wrote.

    Returns:
      The values by name; numbers where they are.

    Raises:
      UsageError: If one is not of this form, or is given twice.
    """
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
    """Write a value as short as it is exact."""
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)
