"""The conditions of the convergence theorems on the hyperparameters."""

import math
from typing import Any, NamedTuple

import optax

from padam_optax._validation import number


class Condition(NamedTuple):
    """A condition of a theorem; its text is one line with verdict and reason.

    Attributes:
      name: Name of the theorem.
      holds: Whether the condition holds.
      explanation: The condition with its numbers, and what else the theorem assumes.
    """

    name: str
    holds: bool
    explanation: str

    def __str__(self) -> str:
        """Return "holds" or "fails", name and explanation."""
        return f"{'holds' if self.holds else 'fails'}: {self.name}: {self.explanation}"


def check_convergence_conditions(
    b1: float, b2: float, p: optax.ScalarOrSchedule
) -> tuple[Condition, ...]:
    """Return which convergence theorems of Padam the hyperparameters satisfy.

    Advice to read before a run: no optimizer calls it, and no number is refused.
    Training may succeed where a condition fails: weight decay, ``bias_correction`` and
    most schedules are outside every theorem. See also `fraction_of_increased_lrs`.

    Args:
      b1: Decay rate of the first moment.
      b2: Decay rate of the second moment.
      p: The exponent. With a schedule every condition fails: no theorem covers it.

    Returns:
      The condition of the algorithm, then one for each theorem.

    Raises:
      TypeError: If an argument is not a number.

    Examples:
      >>> from padam_optax.diagnostics import check_convergence_conditions
      >>> for condition in check_convergence_conditions(0.9, 0.999, 1 / 8):
      ...     print(condition)  # doctest: +ELLIPSIS
      holds: Algorithm 1: 0 < p <= 1/2 with p = 0.125 and decay rates in [0, 1)...
      holds: Padam, convex (regret): b1 < sqrt(b2): 0.9 < 0.9995...
      holds: Adam-type, nonconvex: b1 < b2^(2p): 0.9 < 0.99975...
      holds: Padam, nonconvex: p <= 1/4, and b1 < b2^(2p): 0.125 <= 0.25...
      >>> for condition in check_convergence_conditions(0.9, 0.7, 1 / 2):
      ...     print(condition.holds, condition.name)
      True Algorithm 1
      False Padam, convex (regret)
      False Adam-type, nonconvex
      False Padam, nonconvex

    References:
      Chen et al., IJCAI 2020 (arXiv 1806.06763). Zhou et al., On the convergence of
      adaptive gradient methods for nonconvex optimization (arXiv 1808.05671).
    """
    is_schedule = callable(p)
    b1, b2 = _number("b1", b1), _number("b2", b2)
    p = math.nan if is_schedule else _number("p", p)
    rates_fit = 0 <= b1 < 1 and 0 <= b2 < 1
    nonconvex_fits = rates_fit and 0 <= p <= 0.5
    root = b2**0.5 if rates_fit else math.nan
    power = b2 ** (2 * p) if nonconvex_fits else math.nan
    conditions = (
        Condition(
            "Algorithm 1",
            rates_fit and 0 < p <= 0.5,
            f"0 < p <= 1/2 with p = {p:g} and decay rates in [0, 1) with b1 = {b1:g}, "
            f"b2 = {b2:g}. p = 1/2 is AMSGrad, p -> 0 SGD with momentum.",
        ),
        Condition(
            "Padam, convex (regret)",
            b1 < root,
            f"b1 < sqrt(b2): {_compared(b1, root)}. Then the regret grows like "
            "sqrt(T). Also assumed: convex losses, bounded gradients, projection onto "
            "a bounded set, a learning rate like 1/sqrt(t), geometric decay of b1.",
        ),
        Condition(
            "Adam-type, nonconvex",
            b1 < power,
            f"b1 < b2^(2p): {_compared(b1, power)}. Also assumed: p in [0, 1/2], a "
            "smooth loss, bounded gradients, a constant learning rate.",
        ),
        Condition(
            "Padam, nonconvex",
            b1 < power and p <= 0.25,
            f"p <= 1/4, and b1 < b2^(2p): {p:g} {'<=' if p <= 0.25 else '>'} 0.25, "
            f"{_compared(b1, power)}. Assumed as in the theorem before, and a learning "
            "rate chosen for the number of steps.",
        ),
    )
    if not is_schedule:
        return conditions
    text = "p must be constant, got a schedule: no theorem covers a varying p."
    return tuple(Condition(name, False, text) for name, _, _ in conditions)


def _number(name: str, value: Any) -> float:
    return number(name, value, "a number", lambda _: True, "Pass the optimizer's.")


def _compared(b1: float, bound: float) -> str:
    if math.isnan(bound):
        return "an argument is out of range"
    return f"{b1:g} {'<' if b1 < bound else 'is not <'} {bound:.6g}"
