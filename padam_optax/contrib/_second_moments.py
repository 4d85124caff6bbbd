"""Links of the second moments of AdaBelief and Yogi."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from padam_optax import _second_moments, _tree, _validation


def squared_deviation() -> optax.GradientTransformationExtraArgs:
    """Replace each gradient by its squared distance from the momentum, for AdaBelief.

    The moving average of these squares is the second moment of AdaBelief (Zhuang et
    al., NeurIPS 2020), which is small wherever the momentum predicts the gradient well.

    Returns:
      A stateless transformation whose ``update`` requires ``momentum``, a tree like the
      updates, which `padam_optax.scale_by_partial_adaptive` passes.

    Raises:
      ValueError: If ``momentum`` is missing (in ``update``).

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.contrib import squared_deviation
      >>> deviation = squared_deviation()
      >>> g, m = jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0])
      >>> deviation.update(g, deviation.init(g), momentum=m)[0]
      Array([0., 4.], dtype=float32)

      A partially adaptive AdaBelief:

      >>> import optax
      >>> import padam_optax
      >>> belief = optax.chain(squared_deviation(), padam_optax.moving_average(0.75))
      >>> opt = padam_optax.scale_by_partial_adaptive(p=0.25, second_moment=belief)
      >>> print(*(f"{u:.4f}" for u in opt.update(g, opt.init(g))[0]))
      0.1491 0.2582
    """

    def deviate(updates: optax.Updates, momentum: Any = None, **_: Any) -> Any:
        if momentum is None:
            raise ValueError(
                "momentum must be passed to the update of squared_deviation, got None. "
                "Use it in second_moment of scale_by_partial_adaptive, which passes it."
            )
        return _tree.tree_map_present(
            lambda g, m: _second_moments.abs_square(_second_moments.like(g, m) - m),
            updates,
            momentum,
        )

    return _second_moments.stateless(deviate)


def yogi_average(b2: jax.typing.ArrayLike = 0.999) -> optax.GradientTransformation:
    r"""Replace each value s by Yogi's additive average (Zaheer et al., NeurIPS 2018).

    .. math::
        \nu_t = \nu_{t-1} - (1 - b_2) \, \mathrm{sign}(\nu_{t-1} - s_t) \, s_t,
        \qquad \nu_0 = 0

    After a spike :math:`\nu` decreases only by :math:`(1 - b_2) s_t` per step, whereas
    `padam_optax.moving_average` decreases by a fraction of itself. The state is a
    `padam_optax.state.MovingAverageState`. `optax.yogi` starts at 1e-6.

    Args:
      b2: Decay rate, in [0, 1).

    Raises:
      ValueError: If ``b2`` is outside [0, 1).

    Examples:
      >>> import jax.numpy as jnp
      >>> from padam_optax.contrib import yogi_average
      >>> average = yogi_average(0.75)
      >>> state = average.init(jnp.zeros(2))
      >>> _, state = average.update(jnp.array([4.0, 0.0]), state)
      >>> average.update(jnp.array([0.5, 4.0]), state)[0]
      Array([0.875, 1.   ], dtype=float32)
    """
    rate = 1 - _validation.decay_rate("b2", b2)

    def step(nu: jax.Array, s: jax.Array) -> jax.Array:
        return nu - _tree.as_hyperparam(rate, nu.dtype) * jnp.sign(nu - s) * s

    return _second_moments.accumulate(_second_moments.MovingAverageState, step)
