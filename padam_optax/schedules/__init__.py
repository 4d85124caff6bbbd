"""Schedules of p, and of p and the learning rate together.

A constant p is fastest. Any `optax.Schedule` works; these check the range of p, too.
"""

import itertools
from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from padam_optax import _validation

__all__ = [
    "cosine_p_schedule",
    "learning_rate_for",
    "linear_p_schedule",
    "piecewise_p_schedule",
]


def __dir__() -> list[str]:
    return __all__  # without the imports


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
    schedules = [optax.constant_schedule(value) for value in values]
    return optax.join_schedules(schedules, boundaries)


def learning_rate_for(
    p: optax.ScalarOrSchedule,
    p_ref: jax.typing.ArrayLike,
    learning_rate_ref: optax.ScalarOrSchedule,
    median_root_nu: jax.typing.ArrayLike,
) -> Any:
    r"""Return the learning rate that keeps the median step when p is not ``p_ref``.

    .. math::
        \alpha = \alpha_{ref} \, x^{2 (p - p_{ref})},
        \qquad x = \mathrm{median}(\sqrt{\hat v} + \epsilon)

    Then the median coordinate keeps its effective learning rate, :math:`\alpha /
    x^{2p}`. As p decreases, coordinates with large gradients take larger steps and
    others smaller ones, which is the purpose, but no theorem covers a p that varies.

    With a schedule of p this is the joint schedule: p decreases and the learning rate
    increases (x is usually below 1) without a jump of the median step. Measure x where
    p changes, in a comparable run or by pausing there and rebuilding the optimizer with
    `padam_optax.state.convert_state`: if :math:`\sqrt{\hat v}` has drifted by a factor
    r, a change of p by :math:`\Delta` changes the median step by :math:`r^{2|\Delta|}`.

    Args:
      p: The new exponent, in [0, 1/2], or a schedule.
      p_ref: The exponent for which ``learning_rate_ref`` was tuned, in [0, 1/2].
      learning_rate_ref: :math:`\alpha_{ref}`, at least 0, or a schedule.
      median_root_nu: x > 0, as `padam_optax.diagnostics.median_root_nu` returns it.

    Returns:
      A number; a schedule if ``p`` or ``learning_rate_ref`` is one.

    Raises:
      ValueError: If an argument is out of range.
      TypeError: If one is not a number.

    Examples:
      AMSGrad for a thousand steps, then p decreases to 1/8, where gradients are 0.01:

      >>> import padam_optax
      >>> from padam_optax.schedules import learning_rate_for, linear_p_schedule
      >>> p = linear_p_schedule(1 / 2, 1 / 8, 1000, transition_begin=1000)
      >>> learning_rate = learning_rate_for(p, 1 / 2, 0.001, 0.01)
      >>> optimizer = padam_optax.padam(learning_rate, p=p)
      >>> print(*(f"{learning_rate(count):.4f}" for count in [0, 1000, 1500, 2000]))
      0.0010 0.0010 0.0056 0.0316
    """
    p = p if callable(p) else _validation.exponent_or_zero("p", p)
    p_ref = _validation.exponent_or_zero("p_ref", p_ref)
    rate_ref = _validation.learning_rate(learning_rate_ref, "learning_rate_ref")
    remedy = "Measure it with diagnostics.median_root_nu(state) after some steps."
    median_root_nu = _validation.positive("median_root_nu", median_root_nu, remedy)

    def at(count: Any) -> Any:
        p_t: Any = p(count) if callable(p) else p
        rate: Any = rate_ref(count) if callable(rate_ref) else rate_ref
        return rate * median_root_nu ** (2 * (p_t - p_ref))

    return at if callable(p) or callable(rate_ref) else at(0)


def _transition(init: Any, end: Any, steps: Any, begin: Any) -> tuple[Any, ...]:
    """Return the arguments of a transition, checked."""
    return (
        _validation.exponent_or_zero("init_value", init),
        _validation.exponent_or_zero("end_value", end),
        _updates("transition_steps", steps, 1),  # with 0 Optax would stay at init_value
        _updates("transition_begin", begin, 0),
    )


def _updates(name: str, value: Any, at_least: int) -> int:
    remedy = "It counts updates."
    return _validation.whole_number(name, value, remedy, at_least=at_least)
