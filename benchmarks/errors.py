"""Checks of user input, with one-sentence errors that say what would work."""

import difflib
import errno
import math
from collections.abc import Collection, Iterable
from pathlib import Path


class UsageError(Exception):
    """An invalid user request; its one line says what would work."""


# A disk or a quota that is full.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_name(argument: str, name: str, known: Iterable[str]) -> None:
    """Raise an error for an unknown name of an option, and list the known ones."""
    known = list(known)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UsageError(
            f"{argument} {name!r} does not exist{hint}; choose from {', '.join(known)}."
        )


def check_at_least(argument: str, value: int, least: int) -> None:
    """Raise an error for a number that is too small, or not an int."""
    _check_int(argument, value)
    if value < least:
        raise UsageError(f"{argument} must be at least {least}, got {value}.")


def _check_int(argument: str, value: object) -> None:
    """Raise an error for what only Python code or a changed config.json can give."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(
            f"{argument} must be an int, got {value!r} of type {type(value).__name__}."
        )


def check_seed(seed: int, seeds: int = 1) -> None:
    """Raise an error for seeds that are not 32-bit integers."""
    _check_int("--seed", seed)
    if not 0 <= seed <= 2**32 - seeds:
        raise UsageError(f"--seed must be in [0, 2^32 - {seeds}], got {seed}.")


def check_each_once(argument: str, values: Collection[object]) -> None:
    """Raise an error for an empty list and for duplicates."""
    if not values or len(set(values)) < len(values):
        given = " ".join(str(value) for value in values) or "nothing"
        raise UsageError(
            f"{argument} takes one or more values, each once, got {given}."
        )


def check_names(argument: str, values: Collection[str], known: Iterable[str]) -> None:
    """Raise an error for an empty list, for duplicates and for unknown names."""
    check_each_once(argument, values)
    known = list(known)
    for name in values:
        check_name(argument, name, known)


def check_rates(rates: Iterable[float]) -> None:
    """Raise an error for learning rates that are not positive and finite."""
    for rate in rates:
        if not 0 < rate < math.inf:
            raise UsageError(f"--learning-rates must be positive, got {rate}.")


def check_out(out: Path | None) -> None:
    """Raise an error for a folder that is not empty."""
    if out is None or not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a new folder.")
    if any(out.iterdir()):
        raise UsageError(
            f"--out {out} is not empty; name a new folder, so that no earlier run is "
            "overwritten."
        )
