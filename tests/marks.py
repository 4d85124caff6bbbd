"""Which parameters of a test run in the fast suite."""

from collections.abc import Iterable
from typing import Any

import pytest


def fast(values: Iterable[Any], *chosen: Any) -> list[Any]:
    """Return the values as parameters of a test; all but the chosen are slow.

    A tuple holds the values of several parameters.
    """
    slow = pytest.mark.slow
    return [
        x
        if x in chosen
        else pytest.param(*(x if isinstance(x, tuple) else [x]), marks=slow)
        for x in values
    ]
