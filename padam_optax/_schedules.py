"""Schedules of p, and of p and the learning rate together.

A number passed as p is the constant schedule, and the fastest. Any other function of
the number of earlier updates serves as well, Optax's included; those here say what p
they pass through, and refuse to leave [0, 1/2].
"""

import itertools
from collections.abc import Sequence
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
    """Change p in a straight line, as `optax.linear_schedule` with checks.

    Args:
      init_value: p at first, in [0, 1/2].
      end_value: p at last, in [0, 1/2].
      transition_steps: number of updates that the change takes, at least 1.
      transition_begin: number of updates before it, at least 0.

    Returns:
      A schedule for the ``p`` of `padam`.

    Raises:
      ValueError: an argument is out of range.
      TypeError: an argument is no number.

    >>> import padam_optax
    >>> p = padam_optax.linear_p_schedule(0.5, 0.125, 3, transition_begin=1)
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
    """Change p along half a wave of the cosine: gently at first and at last.

    p = end + (init - end)·(1 + cos(π·s))/2, with s from 0 to 1.

    Args:
      init_value: p at first, in [0, 1/2].
      end_value: p at last, in [0, 1/2]; above ``init_value`` if p is to rise.
      transition_steps: number of updates that the change takes, at least 1.
      transition_begin: number of updates before it, at least 0.

    Returns:
      A schedule for the ``p`` of `padam`.

    Raises:
      ValueError: an argument is out of range.
      TypeError: an argument is no number.

    >>> import padam_optax
    >>> p = padam_optax.cosine_p_schedule(0.5, 0.1, 4)
    >>> print(*(f"{p(count):.3f}" for count in range(6)))
    0.500 0.441 0.300 0.159 0.100 0.100
    """
    init_value, end_value, steps, begin = _transition(
        init_value, end_value, transition_steps, transition_begin
    )
    share = optax.cosine_decay_schedule(1.0, steps)

    def schedule(count: Any) -> Any:
        count = jnp.asarray(count, jax.dtypes.canonicalize_dtype(float))
        return end_value + (init_value - end_value) * share(
            jnp.maximum(count - begin, 0)
        )

    return schedule


def piecewise_p_schedule(
    values: Sequence[float], boundaries: Sequence[int]
) -> optax.Schedule:
    """Let p jump from value to value.

    `optax.piecewise_constant_schedule` takes factors; this takes the values of p.

    Args:
      values: each p, in [0, 1/2].
      boundaries: numbers of updates, increasing, one less than values: the update after
        ``boundaries[i]`` others is the first with ``values[i + 1]``.

    Returns:
      A schedule for the ``p`` of `padam`.

    Raises:
      ValueError: a value is out of range, or the boundaries do not fit.
      TypeError: a value is no number.

    >>> import padam_optax
    >>> p = padam_optax.piecewise_p_schedule([0.5, 0.25, 0.125], [2, 3])
    >>> print(*(f"{p(count):.3f}" for count in range(5)))
    0.500 0.500 0.250 0.125 0.125
    """
    values = [
        _validation.exponent_or_zero(f"values[{i}]", value)
        for i, value in enumerate(values)
    ]
    boundaries = [_updates("boundaries", boundary, 1) for boundary in boundaries]
    is_increasing = all(a < b for a, b in itertools.pairwise(boundaries))
    if len(values) != len(boundaries) + 1 or not is_increasing:
        raise ValueError(
            "boundaries must increase and be one less than values, got "
            f"{len(values)} values and boundaries {boundaries}. From 1/2 to 1/8 after "
            "1000 updates: piecewise_p_schedule([1/2, 1/8], [1000])."
        )
    return optax.join_schedules(
        [optax.constant_schedule(value) for value in values], boundaries
    )


def learning_rate_for(
    p: optax.ScalarOrSchedule,
    p_ref: float | jax.Array,
    learning_rate_ref: optax.ScalarOrSchedule,
    median_root_nu: float | jax.Array,
) -> Any:
    r"""Return the learning rate that keeps the median step when p is not ``p_ref``.

    .. math::
        \alpha = \alpha_{ref} \, x^{2 (p - p_{ref})},
        \qquad x = \mathrm{median}(\sqrt{\hat v} + \epsilon)

    so that α/x^{2p}, the effective learning rate of the median coordinate, is that of
    the reference. Others do change: from p = 1/2 down, those with large gradients go
    faster and those with small ones slower, which is the purpose.

    With a schedule of p it is the joint schedule: a large p with a small learning rate
    at first, then p down and the rate up (x is below 1 as a rule), without a jump of
    the median step. It is as good as x: if √v̂ is r times x when p changes by Δ, the
    median step changes by r^{2|Δ|}. So measure x where p changes, in a run like this
    one; or, exactly, when it gets there, and go on with an optimizer made anew: states
    do not depend on p, nor on the learning rate but for the count of a schedule, and
    `convert_state` puts one into the other.

    No theorem covers a p that varies: whatever the learning rate, as p falls the rates
    of all coordinates above the median grow (`fraction_of_increased_lrs` is about 1/2).

    Args:
      p: the exponent to go to, in [0, 1/2], or a schedule.
      p_ref: the exponent for which ``learning_rate_ref`` is right, in [0, 1/2].
      learning_rate_ref: at least 0, or a schedule.
      median_root_nu: x, positive: `diagnostics.median_root_nu` of the state of a run,
        whatever its p.

    Returns:
      A number; a schedule if ``p`` or ``learning_rate_ref`` is one.

    Raises:
      ValueError: an argument is out of range.
      TypeError: an argument is no number.

    Where gradients are about 0.01, AMSGrad's 0.001 becomes

    >>> import padam_optax
    >>> for p in [1 / 2, 1 / 4, 1 / 8, 1 / 16]:
    ...     print(f"{p:<6}  {padam_optax.learning_rate_for(p, 1 / 2, 0.001, 0.01):.4f}")
    0.5     0.0010
    0.25    0.0100
    0.125   0.0316
    0.0625  0.0562

    AMSGrad for a thousand steps, then p down to 1/8 and the learning rate up:

    >>> p = padam_optax.linear_p_schedule(1 / 2, 1 / 8, 1000, transition_begin=1000)
    >>> learning_rate = padam_optax.learning_rate_for(p, 1 / 2, 0.001, 0.01)
    >>> optimizer = padam_optax.padam(learning_rate, p=p)
    >>> print(*(f"{learning_rate(count):.4f}" for count in [0, 1000, 1500, 2000]))
    0.0010 0.0010 0.0056 0.0316

    Each group of layers with a p of its own, and a learning rate that fits it:

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import optax
    >>> params = {
    ...     "Embed_0": {"embedding": jnp.ones((9, 4))},
    ...     "Conv_0": {"kernel": jnp.ones((3, 4, 4)), "bias": jnp.ones(4)},
    ...     "LayerNorm_0": {"scale": jnp.ones(4), "bias": jnp.ones(4)},
    ... }
    >>> def group(path, leaf):
    ...     layer = path[0].key
    ...     return "half" if layer.startswith(("Embed", "LayerNorm")) else "eighth"
    >>> optimizer = optax.multi_transform(
    ...     {
    ...         "half": padam_optax.padam(0.001, p=1 / 2),
    ...         "eighth": padam_optax.padam(
    ...             padam_optax.learning_rate_for(1 / 8, 1 / 2, 0.001, 0.01), p=1 / 8
    ...         ),
    ...     },
    ...     jax.tree_util.tree_map_with_path(group, params),
    ... )
    >>> grads = jax.tree.map(lambda x: 0.01 * x, params)
    >>> updates, _ = optimizer.update(grads, optimizer.init(params), params)
    >>> for layer, leaves in updates.items():
    ...     print(f"{layer:<12}  {jax.tree.leaves(leaves)[0].ravel()[0]:.6f}")
    Conv_0        -0.000237
    Embed_0       -0.003162
    LayerNorm_0   -0.003162

    (In the first step v̂ is 0.001·g², not yet the typical one.)
    """
    p = p if callable(p) else _validation.exponent_or_zero("p", p)
    p_ref = _validation.exponent_or_zero("p_ref", p_ref)
    learning_rate_ref = _validation.learning_rate(learning_rate_ref)
    median_root_nu = _validation.positive(
        "median_root_nu",
        median_root_nu,
        "Measure it with diagnostics.median_root_nu(state) after some steps.",
    )

    def rate(p: Any, learning_rate: Any) -> Any:
        return learning_rate * median_root_nu ** (2 * (p - p_ref))

    if not callable(p) and not callable(learning_rate_ref):
        return rate(p, learning_rate_ref)

    def schedule(count: Any) -> Any:
        return rate(
            p(count) if callable(p) else p,
            learning_rate_ref(count)
            if callable(learning_rate_ref)
            else learning_rate_ref,
        )

    return schedule


def _transition(
    init_value: float, end_value: float, steps: int, begin: int
) -> tuple[Any, Any, int, int]:
    """Return the arguments of a transition, checked."""
    return (
        _validation.exponent_or_zero("init_value", init_value),
        _validation.exponent_or_zero("end_value", end_value),
        # With 0 Optax would stay at init_value for ever.
        _updates("transition_steps", steps, 1),
        _updates("transition_begin", begin, 0),
    )


def _updates(name: str, value: Any, at_least: int) -> int:
    remedy = "It counts updates."
    return _validation.whole_number(name, value, remedy, at_least=at_least)
