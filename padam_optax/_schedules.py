"""Schedules of p: any `optax.Schedule` works; these check the range of p, too."""

import itertools
from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from padam_optax import _validation


def linear_p_schedule(
    init_value: float,
    end_value: float,
    transition_steps: int,
    transition_begin: int = 0,
) -> optax.Schedule:
    """Return a schedule of p that is linear: `optax.linear_schedule` with checks.

    Args:
      init_value: Initial value of p, in [0, 1/2].
      end_value: Final value of p, in [0, 1/2].
      transition_steps: Number of updates over which p changes, at least 1.
      transition_begin: Number of updates before that, at least 0.

    Raises:
      ValueError: If an argument is out of range.
      TypeError: If one is not a number.

    Examples:
      >>> from padam_optax.schedules import linear_p_schedule
      >>> p = linear_p_schedule(0.5, 0.125, 3, transition_begin=1)
      >>> print(*(f"{p(count):.3f}" for count in range(6)))
      0.500 0.500 0.375 0.250 0.125 0.125
    """
    return optax.linear_schedule(
        *_transition(init_value, end_value, transition_steps, transition_begin)
    )


def cosine_p_schedule(
    init_value: float,
    end_value: float,
    transition_steps: int,
    transition_begin: int = 0,
) -> optax.Schedule:
    """Return a schedule of p along a half-cosine; arguments of `linear_p_schedule`.

    Examples:
      >>> from padam_optax.schedules import cosine_p_schedule
      >>> p = cosine_p_schedule(0.5, 0.1, 4)
      >>> print(*(f"{p(count):.3f}" for count in range(6)))
      0.500 0.441 0.300 0.159 0.100 0.100
    """
    init_value, end_value, steps, begin = _transition(
        init_value, end_value, transition_steps, transition_begin
    )
    fraction_left = optax.cosine_decay_schedule(1.0, steps)

    def schedule(count: Any) -> Any:
        count = jnp.asarray(count, jax.dtypes.canonicalize_dtype(float))
        left = fraction_left(jnp.maximum(count - begin, 0))
        return end_value + (init_value - end_value) * left

    return schedule


def piecewise_p_schedule(
    values: Sequence[float], boundaries: Sequence[int]
) -> optax.Schedule:
    """Return a schedule of constant values of p, one after the other.

    `optax.piecewise_constant_schedule` takes factors; this takes the values themselves.

    Args:
      values: Values of p, in [0, 1/2].
      boundaries: Increasing numbers of updates, at least 1, one fewer than values: the
        update after ``boundaries[i]`` others is the first with ``values[i + 1]``.

    Raises:
      ValueError: If a value is out of range, or the boundaries do not fit.
      TypeError: If an argument is not a list of numbers.

    Examples:
      >>> from padam_optax.schedules import piecewise_p_schedule
      >>> p = piecewise_p_schedule([0.5, 0.25, 0.125], [2, 3])
      >>> print(*(f"{p(count):.3f}" for count in range(5)))
      0.500 0.500 0.250 0.125 0.125
    """
    lists: dict[str, Any] = {"values": values, "boundaries": boundaries}
    for name, given in lists.items():
        if not isinstance(given, Collection) or isinstance(given, str):
            raise TypeError(f"{name} must be a list, got {given!r}. Pass [{given!r}].")
    check = _validation.exponent_or_zero
    values = [check(f"values[{i}]", value) for i, value in enumerate(values)]
    boundaries = [_updates("boundaries", boundary, 1) for boundary in boundaries]
    is_increasing = all(a < b for a, b in itertools.pairwise(boundaries))
    if len(values) != len(boundaries) + 1 or not is_increasing:
        raise ValueError(
            "boundaries must increase and be one fewer than values, got "
            f"{len(values)} values and boundaries {boundaries}. From 1/2 to 1/8 after "
            "1000 updates: piecewise_p_schedule([1/2, 1/8], [1000])."
        )
    constants = [optax.constant_schedule(value) for value in values]
    return optax.join_schedules(constants, boundaries)


def _transition(init: Any, end: Any, steps: Any, begin: Any) -> tuple[Any, ...]:
    """Return the arguments of a transition, checked."""
    init = _validation.exponent_or_zero("init_value", init)
    end = _validation.exponent_or_zero("end_value", end)
    steps = _updates("transition_steps", steps, 1)  # with 0 Optax would stay at init
    return init, end, steps, _updates("transition_begin", begin, 0)


def _updates(name: str, value: Any, at_least: int) -> int:
    remedy = "It counts updates."
    return _validation.whole_number(name, value, remedy, at_least=at_least)
