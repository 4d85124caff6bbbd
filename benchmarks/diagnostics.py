"""What a run is doing, for its records, read once an epoch."""

import math
from collections.abc import Callable
from typing import Any

import jax
import optax

import padam_optax

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def make(
    opt_state: Any, p: float | None, corrected_b2: float | None
) -> Callable[..., dict[str, jax.Array]]:
    """Make the function that reads what an optimizer of this kind has to show.

    Args:
      opt_state: A state of the optimizer.
      p: The exponent with which it divides by its second moment, if it has one; None
        if that varies.
      corrected_b2: The decay rate of v where the maximum is that of v/(1-b2^t).

    Returns:
      A function from initial and present weights, optimizer's state and learning rate
      to arrays: distance_from_start; with a second moment and p the quantiles of the
      effective learning rates; with a maximum the fraction of coordinates where it is
      active; with AdaGrad-Norm its b.
    """
    try:
        padam_optax.state.second_moment(
            padam_optax.experimental.dequantize_state(opt_state)
        )
        has_rates = p is not None
    except ValueError:
        has_rates = False
    has_max = bool(optax.tree.get_all_with_path(opt_state, "nu_max"))
    has_norm = bool(optax.tree.get_all_with_path(opt_state, "root_sum_of_squares"))

    def read(start, params, opt_state, learning_rate):
        opt_state = padam_optax.experimental.dequantize_state(opt_state)
        result = {"distance_from_start": optax.tree.norm(optax.tree.sub(params, start))}
        if has_rates:
            rates = padam_optax.diagnostics.effective_learning_rates(
                opt_state, learning_rate, p
            )
            quantiles = padam_optax.diagnostics.tree_quantiles(rates, QUANTILES)
            result["effective_learning_rate"] = quantiles
        if has_max:
            result["share_where_max_binds"] = (
                padam_optax.diagnostics.fraction_where_max_active(
                    opt_state, corrected_b2
                )
            )
        if has_norm:
            result["b"] = optax.tree.get(opt_state, "root_sum_of_squares")
        return result

    return read


def to_record(measured: dict[str, jax.Array]) -> dict[str, Any]:
    """Return numbers and lists of them; JSON has no NaN, so None stands for it."""

    def convert(x: Any) -> Any:
        values = [v if math.isfinite(v) else None for v in x.ravel().tolist()]
        return values if x.ndim else values[0]

    return jax.tree.map(convert, jax.device_get(measured))
