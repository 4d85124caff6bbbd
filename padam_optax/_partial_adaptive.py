"""Momentum divided by a power of the second moment: no learning rate, no minus sign."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike, DTypeLike

from padam_optax import _tree, _validation
from padam_optax._inverse_power import inverse_power, root, split_exponent
from padam_optax._second_moments import (
    debias,
    moving_average,
    one_minus_power,
    running_max,
    saturate,
    square,
)

BiasCorrection = Literal["none", "official", "consistent", "before_max"]


class ScaleByPartialAdaptiveState(NamedTuple):
    """Step count and first moment of `scale_by_partial_adaptive`.

    Attributes:
      count: Number of updates so far, an int32 scalar.
      mu: First moment of the gradient of each parameter, in ``mu_dtype``.
    """

    count: jax.Array
    mu: optax.Updates


def scale_by_partial_adaptive(
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    p: optax.ScalarOrSchedule = 0.125,
    *,
    eps_root: ArrayLike = 0.0,
    bias_correction: BiasCorrection = "none",
    nesterov: bool = False,
    mu_dtype: DTypeLike | None = None,
    second_moment: optax.GradientTransformation | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Divide the momentum of the gradient by a power of its second moment.

    .. math::
        m_t &= b_1 m_{t-1} + (1-b_1) g_t \\
        v_t &= b_2 v_{t-1} + (1-b_2) |g_t|^2 \\
        \hat v_t &= \max(\hat v_{t-1}, v_t) \\
        u_t &= m_t / (\sqrt{\hat v_t + \epsilon_{root}} + \epsilon)^{2p}

    with all moments starting at 0. p = 1/2 is AMSGrad. As p goes to 0, the update
    becomes the moving average of the gradients, ``optax.ema(b1, debias=False)``; at
    b1 = 0.9 that is a tenth of `optax.trace`. Scaling all gradients by c scales the
    update by :math:`c^{1-2p}`, so a good learning rate depends on p.

    ``bias_correction`` selects the convention. With :math:`c_1 = 1-b_1^t` and
    :math:`c_2 = 1-b_2^t`:

    * ``"none"`` is Algorithm 1 of the paper (arXiv 1806.06763), as above.
    * ``"official"`` multiplies the update by :math:`\sqrt{c_2}/c_1`, as in the authors'
      program and all published results. This is ``"consistent"`` times
      :math:`c_2^{1/2-p}`, a warm-up.
    * ``"consistent"`` uses :math:`m_t/c_1` and :math:`\hat v_t/c_2`, as Adam does.
    * ``"before_max"`` uses :math:`m_t/c_1` and takes the maximum of :math:`v_t/c_2`. At
      p = 1/2 this is `optax.scale_by_amsgrad`. In a custom ``second_moment`` put
      ``debias(b2)`` before the maximum: nothing else divides by :math:`c_2`.

    Even with ``eps=0``, a coordinate without any gradient so far gets a zero update.
    A squared gradient that would overflow counts as the largest finite number. A NaN or
    infinite gradient permanently poisons its own coordinate (remedies: `running_max`).

    Args:
      b1: Exponential decay rate of the first moment, in [0, 1).
      b2: Exponential decay rate of the second moment, in [0, 1). With a custom
        ``second_moment`` it is used only for the :math:`c_2` of the corrections.
      eps: Added to the root, inside the power; at least 0.
      p: Exponent of :math:`\hat v` (2p is that of its root): a number in [1e-5, 1/2],
        powers of two being fastest, or a schedule with values in [0, 1/2], called with
        the number of previous updates.
      eps_root: Added to :math:`\hat v`, inside the root; at least 0.
      bias_correction: ``"none"``, ``"official"``, ``"consistent"`` or ``"before_max"``.
      nesterov: Whether to use Nesterov momentum, as in `optax.scale_by_adam`.
      mu_dtype: Dtype of the stored first moment, real for real parameters or complex
        for complex ones. Parameters of the other kind keep their own; with None all do.
      second_moment: A transformation from gradients to the real, non-negative
        :math:`\hat v` to divide by, as in the example of
        `padam_optax.contrib.squared_deviation`. If None, ``chain(square(),
        moving_average(b2), running_max())``, for ``"before_max"`` with ``debias(b2)``
        before the maximum. Its update receives the new first moment as ``momentum`` and
        the number of updates, this one included, as ``count``.

    Returns:
      A transformation whose state is a pair, `ScaleByPartialAdaptiveState` and that of
      ``second_moment``. `optax.tree.get` and `optax.tree.set` find ``count``, ``mu``,
      ``nu`` and ``nu_max``. Updates have the gradients' dtype.

    Raises:
      ValueError: If a number is out of range or ``bias_correction`` is unknown.
      TypeError: If a hyperparameter is not a number, ``second_moment`` is not a
        transformation, or a leaf is integer or boolean.

    Examples:
      A ratio of 10,000 between two gradients becomes :math:`10000^{1-2p}`:

      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> g = jnp.array([10.0, 1e-3])
      >>> for p in [0.125, 0.25, 0.5]:
      ...     opt = padam_optax.scale_by_partial_adaptive(p=p)
      ...     u, _ = opt.update(g, opt.init(g))
      ...     print(f"{p}  {u[0]:.4f}  {u[1]:.2e}  {u[0] / u[1]:.0f}")
      0.125  1.3335  1.33e-03  1000
      0.25  1.7783  1.78e-02  100
      0.5  3.1623  3.16e+00  1
    """
    b1 = _validation.decay_rate("b1", b1)
    b2 = _validation.decay_rate("b2", b2)
    eps, eps_root = _validation.epsilons(eps, eps_root)
    p = _validation.exponent(p)
    mu_dtype = _validation.inexact_dtype("mu_dtype", mu_dtype)
    if bias_correction not in _CONVENTIONS:
        raise ValueError(
            f"bias_correction must be one of {', '.join(_CONVENTIONS)}, got "
            f"{bias_correction!r}. Algorithm 1 of the paper is 'none', the authors' "
            "program 'official'."
        )
    correct = _CONVENTIONS[bias_correction]
    if second_moment is None:
        links = [debias(b2)] if bias_correction == "before_max" else []
        second_moment = optax.chain(square(), moving_average(b2), *links, running_max())
    second = _validation.transformation("second_moment", second_moment)

    def init(params: optax.Params) -> tuple[ScaleByPartialAdaptiveState, Any]:
        _tree.check_inexact(params, "params")
        mu = jax.tree.map(
            lambda x: jnp.zeros_like(x, _stored_dtype(x, mu_dtype)), params
        )
        first_state = ScaleByPartialAdaptiveState(jnp.zeros([], jnp.int32), mu)
        return first_state, second.init(params)

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        _tree.check_inexact(updates, "updates")
        first_state, second_state = state
        count: Any = optax.safe_increment(first_state.count)

        # Both moments, in at least float32.
        mu = _tree.tree_map_present(
            lambda g, m: _average(g, m, b1), updates, first_state.mu
        )
        extra_args |= {"momentum": mu, "count": count}
        nu, second_state = second.update(updates, second_state, params, **extra_args)

        # The scalars of this step.
        dtype = _tree.accumulator_dtype(*(m.dtype for m in jax.tree.leaves(mu)))
        c1, c2 = (one_minus_power(b, count, dtype) for b in (b1, b2))
        mu_factor, nu_divisor = correct(c1, c2)
        g_factor = None
        if nesterov:  # as in Optax: mu corrected for the next step, g for this one
            next_count: Any = optax.safe_increment(count)
            next_c1 = one_minus_power(b1, next_count, dtype)
            decay = _tree.as_hyperparam(b1, dtype)
            g_factor = (1 - decay) * mu_factor
            mu_factor = decay * correct(next_c1, c2)[0]
        # As in Optax, a schedule gets the number of previous updates.
        p_t: Any = p(first_state.count) if callable(p) else p
        exponent = split_exponent(2 * p_t)

        def direction(g: Any, m: jax.Array, v: jax.Array) -> jax.Array:
            v = _divide(v.astype(_tree.accumulator_dtype(m.dtype)), nu_divisor)
            x = root(v + _tree.as_hyperparam(eps_root, v.dtype))
            x += _tree.as_hyperparam(eps, x.dtype)
            m_hat = _times(m, mu_factor)
            if g_factor is not None:
                m_hat += _times(jnp.asarray(g, m.dtype), g_factor)
            # No x is below eps: a positive one rules out zeros.
            return _times(m_hat, inverse_power(x, exponent, minimum=eps))

        new_updates = _tree.tree_map_present(direction, updates, mu, nu)
        # Where the gradient is None, so is mu, and the state keeps its own.
        stored = ScaleByPartialAdaptiveState(count, _tree.cast_like(mu, first_state.mu))
        return _tree.cast_like(new_updates, updates), (stored, second_state)

    return optax.GradientTransformationExtraArgs(init, update)


# The conventions: the factor that multiplies mu, and the divisor of the second moment.
def _uncorrected(_c1: jax.Array, _c2: jax.Array) -> tuple[Any, Any]:
    return 1.0, 1.0


def _official(c1: jax.Array, c2: jax.Array) -> tuple[Any, Any]:
    return jnp.sqrt(c2) * (1 / c1), 1.0


def _consistent(c1: jax.Array, c2: jax.Array) -> tuple[Any, Any]:
    return 1 / c1, c2


def _before_max(c1: jax.Array, _c2: jax.Array) -> tuple[Any, Any]:
    return 1 / c1, 1.0  # `debias` has already divided by c2


_CONVENTIONS = {
    "none": _uncorrected,
    "official": _official,
    "consistent": _consistent,
    "before_max": _before_max,
}


def _stored_dtype(x: ArrayLike, mu_dtype: DTypeLike | None) -> DTypeLike:
    """Return the dtype of the stored first moment of a parameter."""
    own = jax.dtypes.result_type(x)
    if mu_dtype is None or _tree.is_complex(own) != _tree.is_complex(mu_dtype):
        return own
    return mu_dtype


def _average(g: ArrayLike, m: jax.Array, b1: ArrayLike) -> jax.Array:
    """Return the new first moment, in at least float32."""
    dtype = _tree.compute_dtype(jax.dtypes.result_type(g), m.dtype)
    b = _tree.as_hyperparam(b1, _tree.accumulator_dtype(dtype))
    return _times(m.astype(dtype), b) + _times(jnp.asarray(g, dtype), 1 - b)


def _times(x: jax.Array, factor: Any) -> jax.Array:
    """Return x, real or complex, times a real factor; no operation for 1.0."""
    if isinstance(factor, float) and factor == 1.0:
        return x
    return _tree.by_parts(lambda y: y * _tree.as_hyperparam(factor, y.dtype), x)


def _divide(v: jax.Array, divisor: Any) -> jax.Array:
    """Return v over a divisor in (0, 1], finite; no operation for 1.0."""
    if isinstance(divisor, float) and divisor == 1.0:
        return v
    return saturate(v / _tree.as_hyperparam(divisor, v.dtype))
