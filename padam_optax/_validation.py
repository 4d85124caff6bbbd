"""Checks of hyperparameters: concrete values only, one clear error each."""

import math
import numbers
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

    A Python float takes the dtype of the array it meets; ``np.float64`` would turn
    float32 into float64. ``allowed`` is the range in words, ``is_allowed`` tests it and
    must be False for NaN, ``remedy`` is a sentence. Raises TypeError and ValueError.
    """
    if isinstance(value, Tracer):
        return value
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        kinds = jnp.floating, jnp.integer
        is_real = any(jnp.issubdtype(value.dtype, kind) for kind in kinds)
        if is_real and value.ndim > 0:
            is_real, remedy = False, "Pass a scalar, as value.item() returns."
    else:
        is_real = not isinstance(value, bool) and isinstance(value, numbers.Real)
    if not is_real:
        got = f"{value!r} of type {type(value).__name__}"
        raise TypeError(f"{name} must be {allowed}, got {got}. {remedy}")
    result = float(value)
    if not is_allowed(result):
        raise ValueError(f"{name} must be {allowed}, got {value!s}. {remedy}")
    return result


def transformation(name: str, value: Any) -> optax.GradientTransformationExtraArgs:
    """Return a transformation with support for extra arguments."""
    if not (hasattr(value, "init") and hasattr(value, "update")):
        raise TypeError(
            f"{name} must be a transformation, as padam(0.1) is, got {value!r}. Call "
            "what makes one: padam(0.1) instead of padam, square() instead of square."
        )
    return optax.with_extra_args_support(value)


def non_negative(name: str, value: Any, remedy: str) -> Any:
    """Return ``value`` as `number` does, if it is finite and at least 0."""
    allowed = "a finite number >= 0"
    return number(name, value, allowed, lambda x: 0 <= x < math.inf, remedy)


def positive(name: str, value: Any, remedy: str) -> Any:
    """Return ``value`` as `number` does, if it is finite and above 0."""
    allowed = "a finite number > 0"
    return number(name, value, allowed, lambda x: 0 < x < math.inf, remedy)


def whole_number(name: str, value: Any, remedy: str, *, at_least: int = 0) -> Any:
    """Return a concrete number as an int and a traced one as it is, if it is whole."""

    def is_allowed(x: float) -> bool:
        return at_least <= x < 2**31 and x == int(x)

    allowed = f"a whole number in [{at_least}, 2**31)"
    result = number(name, value, allowed, is_allowed, remedy)
    return int(result) if isinstance(result, float) else result


def epsilons(eps: Any, eps_root: Any) -> tuple[Any, Any]:
    """Return both as `non_negative` does."""
    eps = non_negative("eps", eps, "The usual value is 1e-8.")
    return eps, non_negative("eps_root", eps_root, "The usual value is 0.")


def decay_rate(name: str, value: Any) -> Any:
    """Return ``value`` as `number` does, if it is in [0, 1)."""
    remedy = (
        "Usual values are 0.9 and 0.999. If optax.inject_hyperparams rounds it to 1 in "
        "bfloat16, pass hyperparam_dtype=jnp.float32."
    )
    return number(name, value, "in [0, 1)", lambda x: 0 <= x < 1, remedy)


def inexact_dtype(name: str, value: Any) -> jax.typing.DTypeLike | None:
    """Return a floating or complex dtype as JAX canonicalizes it, or None."""
    if value is None:
        return None
    allowed = f"{name} must be a floating or complex dtype or None"
    remedy = "None keeps the parameters' own; for inject_hyperparams pass its name."
    try:
        dtype = jax.dtypes.canonicalize_dtype(value)
    except TypeError as error:
        raise TypeError(f"{allowed}, got {value!r}. {remedy}") from error
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise ValueError(f"{allowed}, got {dtype}. {remedy}")
    return dtype


def learning_rate(value: Any, name: str = "learning_rate") -> Any:
    """Return a schedule as it is and a number as `number` does, if it is >= 0."""
    remedy = "Updates already point downhill: pass a step size or a schedule of it."
    return value if callable(value) else non_negative(name, value, remedy)


def exponent(value: Any) -> Any:
    """Return p: a schedule as it is, a number as `number` does, if in [1e-5, 1/2]."""
    if callable(value):
        return value
    # Below, it is an eps_root passed by position, as to optax.adamw; but
    # optax.inject_hyperparams passes the values of a schedule as arrays.
    smallest = 0 if isinstance(value, jax.Array) else 1e-5
    remedy = "p is the exponent of v_hat itself; the paper's values are 1/8, 1/4, 1/16."
    if isinstance(value, int | float) and 0.5 < value <= 1 and value is not True:
        remedy = f"If you mean the exponent 2p of v_hat's root, pass p={value / 2:g}."
    elif isinstance(value, int | float) and 0 <= value < smallest:
        remedy = (
            "For SGD with momentum use optax.sgd(learning_rate * (1 - b1), "
            "momentum=b1). A schedule of p may reach 0. To pass eps_root, name it: the "
            "fifth argument is p."
        )
    return number("p", value, "in [1e-5, 1/2]", lambda x: smallest <= x <= 0.5, remedy)


def exponent_or_zero(name: str, value: Any, remedy: str = "") -> Any:
    """Return ``value`` as `number` does, if it is in [0, 1/2]; 0 is momentum SGD."""
    if callable(value):
        remedy = "Evaluate the schedule and pass its value."
    remedy = remedy or "p is the exponent of v_hat itself, 1/2 for Adam and AMSGrad."
    return number(name, value, "in [0, 1/2]", lambda x: 0 <= x <= 0.5, remedy)
