"""The learning rate for another p, from a measured second moment."""

from typing import Any

import jax
import optax

from padam_optax import _validation


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
      >>> from padam_optax.diagnostics import learning_rate_for
      >>> from padam_optax.schedules import linear_p_schedule
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
