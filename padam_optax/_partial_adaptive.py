"""Momentum over a power of the second moment, without learning rate or sign."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from padam_optax import _validation
from padam_optax._inverse_power import inverse_power, root
from padam_optax._second_moments import (
    moving_average,
    one_minus_power,
    running_max,
    saturate,
    square,
)
from padam_optax._tree import (
    accumulator_dtype,
    as_hyperparam,
    check_inexact,
    compute_dtype,
    tree_map_with_none,
)

BiasCorrection = Literal["none", "official", "consistent", "before_max"]
_BIAS_CORRECTIONS = ("none", "official", "consistent", "before_max")


class ScaleByPartialAdaptiveState(NamedTuple):
    """Momentum and second moment of each parameter."""

    # int32 scalar, the number of updates; Optax's name, which shadows tuple.count.
    count: jax.Array  # pyright: ignore[reportIncompatibleMethodOverride]
    mu: optax.Updates  # the momentum, in mu_dtype
    second_moment: optax.OptState  # holds nu and nu_max, real, at least float32


def scale_by_partial_adaptive(
    b1: float | jax.Array = 0.9,
    b2: float | jax.Array = 0.999,
    eps: float | jax.Array = 1e-8,
    p: optax.ScalarOrSchedule = 0.125,
    *,
    eps_root: float | jax.Array = 0.0,
    bias_correction: BiasCorrection = "none",
    nesterov: bool = False,
    mu_dtype: Any | None = None,
    second_moment: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Divide the gradient's momentum by a power of its second moment.

    .. math::
        m_t = b_1 m_{t-1} + (1-b_1) g_t, \quad
        v_t = b_2 v_{t-1} + (1-b_2) |g_t|^2, \quad
        \hat v_t = \max(\hat v_{t-1}, v_t), \quad
        u_t = m_t / (\sqrt{\hat v_t + \epsilon_{root}} + \epsilon)^{2p}

    with every average starting at 0. p = 1/2 is AMSGrad; towards p = 0 it becomes
    momentum as a moving average (`optax.ema`), a tenth of what `optax.trace` gives at
    b1 = 0.9. Scaling all gradients by c scales the update by c^(1-2p), so a good
    learning rate depends on p.

    ``bias_correction`` names the convention, with c1 = 1-b1^t and c2 = 1-b2^t:

    ============== =============================== ====================================
    name           update                          whose
    ============== =============================== ====================================
    "none"         m / (√v̂+ε)^{2p}                 Algorithm 1 of the paper
    "official"     √c2/c1 · m / (√v̂+ε)^{2p}        the authors' program: all published
                                                   numbers; for p < 1/2 a warm-up hides
                                                   in it, a factor c2^{1/2-p}
    "consistent"   (m/c1) / (√(v̂/c2)+ε)^{2p}       both moments unbiased, as in Adam
    "before_max"   the same with v̂ = max(v̂, v/c2)  `optax.scale_by_amsgrad`, which it is
                   and no other division by c2     at p = 1/2, Optax's rounding of c2
                                                   included
    ============== =============================== ====================================

    Where nothing has been seen yet and ε is 0, the quotient 0/0 is 0. A squared
    gradient that would overflow counts as the largest finite number. A NaN stays in its
    own element, for good: see `running_max` for how to guard and recover.

    Args:
      b1: share of the old momentum that is kept, in [0, 1).
      b2: share of the old second moment that is kept, in [0, 1). With a custom
        ``second_moment`` it only enters c2.
      eps: added to the root, inside the power (ensmallen adds it to v̂ instead: that is
        ``eps_root``). At least 0.
      p: exponent of v̂, in (0, 1/2]: 2p is that of its root. A number, or a schedule
        called with the number of updates before this one. A number that is a power of
        two is fastest.
      eps_root: added to v̂ inside the root. At least 0.
      bias_correction: "none", "official", "consistent" or "before_max".
      nesterov: whether to look ahead along the momentum, as in `optax.scale_by_adam`.
      mu_dtype: dtype in which the momentum of real parameters is stored; theirs if
        None.
      second_moment: a transformation from gradients to the statistic to divide by, real
        and non-negative. ``optax.chain(square(), moving_average(b2), running_max())``
        if None, with ``debias=True`` for "before_max"; a custom one must debias itself
        where that is wanted. Its update receives the new momentum as ``momentum``.

    Returns:
      A transformation with state `ScaleByPartialAdaptiveState`; find the moments with
      ``optax.tree.get(state, "mu")``, ``"nu"`` and ``"nu_max"``, named as in
      `optax.scale_by_amsgrad`. Updates have the gradients' dtype.

    Raises:
      ValueError: a number is outside its range or ``bias_correction`` is unknown.
      TypeError: a hyperparameter is no number, or a leaf is integer or bool.

    Two coordinates, one with gradients ten thousand times the other's: p decides how
    much of that spread is left, 10 000^(1-2p).

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> g = jnp.array([10.0, 1e-3])
    >>> for p in [0.125, 0.25, 0.5]:
    ...     opt = padam_optax.scale_by_partial_adaptive(p=p)
    ...     u, _ = opt.update(g, opt.init(g))
    ...     print(f"{p:5}  {u[0]:.4f}  {u[1]:.2e}  {u[0] / u[1]:.0f}")
    0.125  1.3335  1.33e-03  1000
    0.25  1.7783  1.78e-02  100
    0.5  3.1623  3.16e+00  1

    Without the maximum, a partially adaptive Adam:

    >>> import optax
    >>> adam_like = optax.chain(padam_optax.square(), padam_optax.moving_average(0.999))
    >>> opt = padam_optax.scale_by_partial_adaptive(
    ...     p=0.5, second_moment=adam_like, bias_correction="consistent"
    ... )
    >>> opt.update(g, opt.init(g))[0].round(5)
    Array([1.     , 0.99999], dtype=float32)

    References:
      Chen, Zhou, Tang, Yang, Cao and Gu, Closing the generalization gap of adaptive
      gradient methods in training deep neural networks, IJCAI 2020 (arXiv 1806.06763),
      Algorithm 1.
    """
    b1 = _validation.decay_rate("b1", b1)
    b2 = _validation.decay_rate("b2", b2)
    eps, eps_root = _validation.epsilons(eps, eps_root)
    p = _validation.exponent(p)
    if bias_correction not in _BIAS_CORRECTIONS:
        raise ValueError(
            f"bias_correction must be one of {', '.join(_BIAS_CORRECTIONS)}, got "
            f"{bias_correction!r}. Algorithm 1 of the paper is 'none', the authors' "
            "program 'official'."
        )
    if mu_dtype is not None:
        mu_dtype = jax.dtypes.canonicalize_dtype(mu_dtype)
        if not jnp.issubdtype(mu_dtype, jnp.floating):
            raise ValueError(
                f"mu_dtype must be a floating dtype or None, got {mu_dtype}. Complex "
                "parameters keep their own."
            )
    if second_moment is None:
        debias = bias_correction == "before_max"
        second_moment = optax.chain(
            square(), moving_average(b2, debias=debias), running_max()
        )
    second = optax.with_extra_args_support(second_moment)

    def init(params: optax.Params) -> ScaleByPartialAdaptiveState:
        check_inexact(params, "params")

        def zero_momentum(x: Any) -> jax.Array:
            dtype = jax.dtypes.result_type(x)
            keep = mu_dtype is None or jnp.issubdtype(dtype, jnp.complexfloating)
            return jnp.zeros_like(x, dtype=dtype if keep else mu_dtype)

        return ScaleByPartialAdaptiveState(
            count=jnp.zeros([], jnp.int32),
            mu=jax.tree.map(zero_momentum, params),
            second_moment=second.init(params),
        )

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, ScaleByPartialAdaptiveState]:
        check_inexact(updates, "updates")
        count: Any = optax.safe_increment(state.count)
        p_t: Any = p(state.count) if callable(p) else p

        def average(g: Any, m: jax.Array) -> jax.Array | None:
            if g is None:
                return None
            dtype = compute_dtype(jax.dtypes.result_type(g), m.dtype)
            b = as_hyperparam(b1, accumulator_dtype(dtype))
            return _times(m.astype(dtype), b) + _times(jnp.asarray(g, dtype), 1 - b)

        def direction(g: Any, m: jax.Array, v: jax.Array) -> jax.Array | None:
            if g is None:
                return None
            dtype = accumulator_dtype(m.dtype)
            v = v.astype(dtype)
            if bias_correction == "consistent":
                v = saturate(v / one_minus_power(b2, count, dtype))
            x = root(v + as_hyperparam(eps_root, dtype)) + as_hyperparam(eps, dtype)
            for_m, for_g = _factors(b1, b2, count, bias_correction, nesterov, dtype)
            m = m if for_m is None else _times(m, for_m)
            m = m if for_g is None else m + _times(jnp.asarray(g, m.dtype), for_g)
            return jnp.asarray(
                _times(m, inverse_power(x, 2 * p_t)), jax.dtypes.result_type(g)
            )

        mu = tree_map_with_none(average, updates, state.mu)
        statistics, second_state = second.update(
            updates, state.second_moment, params, momentum=mu, **extra_args
        )
        new_updates = tree_map_with_none(direction, updates, mu, statistics)
        stored_mu = tree_map_with_none(
            lambda m, old: old if m is None else m.astype(old.dtype), mu, state.mu
        )
        return new_updates, ScaleByPartialAdaptiveState(count, stored_mu, second_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _factors(
    b1: Any, b2: Any, count: Any, bias_correction: str, nesterov: bool, dtype: Any
) -> tuple[Any, Any]:
    """Return what m and g are multiplied by before they are added (None: left out)."""
    b = as_hyperparam(b1, dtype)
    if bias_correction == "none":
        return (b, 1 - b) if nesterov else (None, None)
    factor = 1 / one_minus_power(b1, count, dtype)
    ahead = 1 / one_minus_power(b1, optax.safe_increment(count), dtype)
    if bias_correction == "official":
        root_c2 = jnp.sqrt(one_minus_power(b2, count, dtype))
        factor, ahead = root_c2 * factor, root_c2 * ahead
    return (b * ahead, (1 - b) * factor) if nesterov else (factor, None)


def _times(x: jax.Array, factor: Any) -> jax.Array:
    """Return x, real or complex, times a real factor."""
    if jnp.iscomplexobj(x):
        return jax.lax.complex(jnp.real(x) * factor, jnp.imag(x) * factor)
    return x * factor
