"""Checks of hyperparameters: concrete numbers only, one clear error each."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer


def number(
    name: str,
    value: Any,
    allowed: str,
    is_allowed: Callable[[float], bool],
    remedy: str,
) -> Any:
    """Return a concrete scalar as a Python float and a traced one as it is.

    A Python float takes the dtype of the array it meets; a NumPy or JAX scalar would
    impose its own (``np.float64`` turns float32 into float64 under x64).

    Args:
      name: the argument's name, for the message.
      value: a Python number, a 0-d NumPy or JAX array, or a traced value.
      allowed: the allowed range in words.
      is_allowed: whether a float lies in that range; NaN must give False.
      remedy: what to do instead, a sentence.

    Raises:
      TypeError: ``value`` is not a real number.
      ValueError: it is one outside the allowed range.
    """
    if isinstance(value, Tracer):
        return value
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        is_real = value.ndim == 0 and any(
            jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer)
        )
    else:
        is_real = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_real:
        raise TypeError(
            f"{name} must be {allowed}, got {value!r} of type "
            f"{type(value).__name__}. {remedy}"
        )
    result = float(value)
    if not is_allowed(result):
        raise ValueError(f"{name} must be {allowed}, got {value!s}. {remedy}")
    return result


def non_negative(name: str, value: Any, remedy: str) -> Any:
    """Return ``value`` as `number` does, if it is finite and at least 0."""
    return number(
        name, value, "a finite number >= 0", lambda x: 0 <= x < math.inf, remedy
    )


def positive(name: str, value: Any, remedy: str) -> Any:
    """Return ``value`` as `number` does, if it is finite and above 0."""
    return number(
        name, value, "a finite number > 0", lambda x: 0 < x < math.inf, remedy
    )


def whole_number(name: str, value: Any, remedy: str, *, at_least: int = 0) -> Any:
    """Return a concrete number as an int and a traced one as it is, if it is whole."""
    result = number(
        name,
        value,
        f"a whole number in [{at_least}, 2**31)",
        lambda x: at_least <= x < 2**31 and x == int(x),
        remedy,
    )
    return int(result) if isinstance(result, float) else result


def epsilons(eps: Any, eps_root: Any) -> tuple[Any, Any]:
    """Return both as `number` does, if they are finite and at least 0."""
    return (
        non_negative("eps", eps, "The usual value is 1e-8."),
        non_negative("eps_root", eps_root, "The usual value is 0."),
    )


def decay_rate(name: str, value: Any) -> Any:
    """Return ``value`` as `number` does, if it is in [0, 1)."""
    return number(
        name,
        value,
        "in [0, 1)",
        lambda x: 0 <= x < 1,
        "It is the share of the old average that is kept, e.g. 0.9. If "
        "optax.inject_hyperparams rounded it to 1 (bfloat16 parameters), pass "
        "hyperparam_dtype=jnp.float32 there.",
    )


def learning_rate(value: Any) -> Any:
    """Return a schedule as it is, a number as `number` does, if it is usable."""
    if callable(value):
        return value
    if value is None:
        raise ValueError(
            "learning_rate must be a number >= 0 or a schedule, got None. With None "
            "optax.scale_by_learning_rate drops the minus sign and the parameters "
            "would climb. Pass a number, e.g. 0.1."
        )
    return non_negative(
        "learning_rate",
        value,
        "Updates already point downhill: pass the size of the step, e.g. 0.1.",
    )


def exponent(
    value: Any, rate: optax.ScalarOrSchedule | None = None, b1: Any = None
) -> Any:
    """Return p: a schedule as it is, a number as `number` does, if in (0, 1/2].

    Args:
      value: the exponent.
      rate: the learning rate, where there is one: for the advice at p = 0.
      b1: the decay rate of the momentum, likewise.
    """
    if callable(value):
        return value
    remedy = "p is the exponent of v_hat itself; the paper's values are 1/8, 1/4, 1/16."
    if isinstance(value, int | float) and 0.5 < value <= 1:
        remedy = (
            "p is the exponent of v_hat itself: if you mean the exponent 2p of its "
            f"root, pass p={value / 2:g}."
        )
    elif isinstance(value, int | float) and value == 0:
        same = "learning_rate * (1 - b1)"
        if isinstance(rate, float) and isinstance(b1, float):
            same = f"{rate * (1 - b1):g}"
        remedy = (
            "p = 0 is SGD with momentum: use optax.sgd("
            f"{same}, momentum={b1 if isinstance(b1, float) else 'b1'}), whose trace "
            "is the moving average divided by 1 - b1. A schedule of p may reach 0."
        )
    return number("p", value, "in (0, 1/2]", lambda x: 0 < x <= 0.5, remedy)


def exponent_or_zero(name: str, value: Any, remedy: str = "") -> Any:
    """Return ``value`` as `number` does, if it is in [0, 1/2].

    0 is SGD with momentum, the limit that a schedule of p may reach.
    """
    if callable(value):
        remedy = "Evaluate the schedule and pass its value."
    elif not remedy:
        remedy = "p is the exponent of v_hat itself, 1/2 for Adam and AMSGrad."
    return number(name, value, "in [0, 1/2]", lambda x: 0 <= x <= 0.5, remedy)
