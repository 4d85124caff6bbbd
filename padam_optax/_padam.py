"""Padam and its sibling with decoupled weight decay, ready to use."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from padam_optax import _validation
from padam_optax._partial_adaptive import BiasCorrection, scale_by_partial_adaptive

Mask = Any | Callable[[optax.Params], Any]


def padam(
    learning_rate: optax.ScalarOrSchedule,
    b1: float | jax.Array = 0.9,
    b2: float | jax.Array = 0.999,
    eps: float | jax.Array = 1e-8,
    p: optax.ScalarOrSchedule = 0.125,
    weight_decay: optax.ScalarOrSchedule = 0.0,
    mask: Mask | None = None,
    *,
    eps_root: float | jax.Array = 0.0,
    bias_correction: BiasCorrection = "none",
    nesterov: bool = False,
    mu_dtype: Any | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Step along the momentum divided by a power of the second moment (Padam).

    .. math::
        \theta_{t+1} = \theta_t - \alpha_t m_t / (\sqrt{\hat v_t} + \epsilon)^{2p},
        \qquad g_t \leftarrow g_t + \lambda \theta_t

    It is ``optax.chain(optax.add_decayed_weights(weight_decay, mask),
    scale_by_partial_adaptive(...), optax.scale_by_learning_rate(learning_rate))``; see
    `scale_by_partial_adaptive` for the moments, for what ``bias_correction`` means and
    for the limits. For a projection onto a constraint set, the last part of the
    paper's step, wrap it in `projected`.

    The learning rate of Adam does not fit: from p = 1/2 towards p = 0 it grows from
    about 0.001 to that of SGD, 0.1 at the paper's p = 1/8. Under
    `optax.inject_hyperparams` a ``mask`` that is a function must be named in
    ``static_args``, and for parameters below float32 ``hyperparam_dtype=jnp.float32``
    is needed (in bfloat16, 0.999 is 1).

    Args:
      learning_rate: α, at least 0; a number, or a schedule called with the number of
        updates before this one.
      b1: decay rate of the momentum, in [0, 1).
      b2: decay rate of the second moment, in [0, 1).
      eps: ε, added to the root, inside the power; at least 0.
      p: exponent of v̂, in (0, 1/2]; a number or a schedule. 1/2 is AMSGrad.
      weight_decay: λ, at least 0; a number or a schedule. This is L2 regularization: it
        passes through both moments. The decoupled form is `padamw`.
      mask: which parameters decay: a tree of bools like (a prefix of) the parameters,
        or a function from them to one.
      eps_root: added to v̂ inside the root; at least 0.
      bias_correction: "none" (Algorithm 1), "official" (the authors' program, behind
        all published numbers), "consistent" or "before_max".
      nesterov: whether to look ahead along the momentum.
      mu_dtype: dtype in which the momentum is stored; the parameters' if None.

    Returns:
      A transformation whose updates, in the gradients' dtype, are to be added to the
      parameters. Its state holds ``mu``, ``nu`` and ``nu_max``.

    Raises:
      ValueError: an argument is outside its range, or decay without parameters.
      TypeError: a hyperparameter is no number, or a leaf is integer or bool.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> import optax
    >>> import padam_optax
    >>> def loss(x):
    ...     return jnp.sum(jnp.array([100.0, 1.0]) * x**2)
    >>> x = jnp.array([1.0, 1.0])
    >>> opt = padam_optax.padam(learning_rate=0.02)
    >>> state = opt.init(x)
    >>> for step in range(61):
    ...     if step % 20 == 0:
    ...         print(f"{step:2}  {loss(x):.4f}")
    ...     u, state = opt.update(jax.grad(loss)(x), state)
    ...     x = optax.apply_updates(x, u)
     0  101.0000
    20  10.0914
    40  1.2457
    60  0.1598

    References:
      Chen, Zhou, Tang, Yang, Cao and Gu, Closing the generalization gap of adaptive
      gradient methods in training deep neural networks, IJCAI 2020 (arXiv 1806.06763),
      Algorithm 1.
    """
    learning_rate = _validation.learning_rate(learning_rate)
    return _in_gradient_dtype(
        optax.chain(
            _decay(weight_decay, mask),
            scale_by_partial_adaptive(
                b1,
                b2,
                eps,
                _validation.exponent(p, learning_rate, b1),
                eps_root=eps_root,
                bias_correction=bias_correction,
                nesterov=nesterov,
                mu_dtype=mu_dtype,
            ),
            optax.scale_by_learning_rate(learning_rate),
        )
    )


def padamw(
    learning_rate: optax.ScalarOrSchedule,
    b1: float | jax.Array = 0.9,
    b2: float | jax.Array = 0.999,
    eps: float | jax.Array = 1e-8,
    p: optax.ScalarOrSchedule = 0.125,
    weight_decay: optax.ScalarOrSchedule = 5e-4,
    mask: Mask | None = None,
    *,
    eps_root: float | jax.Array = 0.0,
    bias_correction: BiasCorrection = "none",
    nesterov: bool = False,
    mu_dtype: Any | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Step as `padam` and shrink the parameters beside it (decoupled weight decay).

    .. math::
        \theta_{t+1} = \theta_t
        - \alpha_t (m_t / (\sqrt{\hat v_t} + \epsilon)^{2p} + \lambda \theta_t)

    The decay does not pass through the moments and is scaled by the learning rate, as
    in `optax.adamw`. No theorem of the paper covers it. At p = 1/8 the learning rate is
    about a hundred times that of AdamW, so λ should be about a hundredth.

    Args:
      learning_rate: as in `padam`.
      b1: as in `padam`.
      b2: as in `padam`.
      eps: as in `padam`.
      p: as in `padam`.
      weight_decay: λ, at least 0; a number or a schedule.
      mask: as in `padam`.
      eps_root: as in `padam`.
      bias_correction: as in `padam`.
      nesterov: as in `padam`.
      mu_dtype: as in `padam`.

    Returns:
      A transformation like that of `padam`.

    Raises:
      ValueError: as in `padam`.
      TypeError: as in `padam`.

    Where the gradient is 0, only the decay is left, 0.1 · 0.5 · 2:

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> x, g = jnp.array([2.0, 2.0]), jnp.array([0.0, 1.0])
    >>> opt = padam_optax.padamw(0.1, weight_decay=0.5)
    >>> u, _ = opt.update(g, opt.init(x), x)
    >>> print(f"{u[0]:.4f} {u[1]:.4f}")
    -0.1000 -0.1237

    References:
      Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    """
    learning_rate = _validation.learning_rate(learning_rate)
    return _in_gradient_dtype(
        optax.chain(
            scale_by_partial_adaptive(
                b1,
                b2,
                eps,
                _validation.exponent(p, learning_rate, b1),
                eps_root=eps_root,
                bias_correction=bias_correction,
                nesterov=nesterov,
                mu_dtype=mu_dtype,
            ),
            _decay(weight_decay, mask),
            optax.scale_by_learning_rate(learning_rate),
        )
    )


def _decay(
    weight_decay: optax.ScalarOrSchedule, mask: Mask | None
) -> optax.GradientTransformation:
    """Return `optax.add_decayed_weights` after checks; 0 reads no parameters."""
    if not callable(weight_decay):
        weight_decay = _validation.non_negative(
            "weight_decay", weight_decay, "Decay is towards 0; 0 switches it off."
        )
    if mask is not None and not callable(mask):
        leaves = jax.tree.leaves(mask)
        if not all(isinstance(leaf, bool | np.bool_) for leaf in leaves):
            raise ValueError(
                "mask must be a tree of bools like the parameters, or a function from "
                f"them to one, got {mask!r}. To decay all but biases: "
                "lambda params: jax.tree.map(lambda x: x.ndim > 1, params)."
            )
    decay = optax.add_decayed_weights(weight_decay)
    if isinstance(weight_decay, float) and not weight_decay:
        # Asks for no parameters, and has the same state: under inject_hyperparams the
        # value may change.
        decay = optax.identity()
    return decay if mask is None else optax.masked(decay, mask)


def _in_gradient_dtype(
    inner: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Return ``inner`` with its updates cast to the dtypes of what it was given.

    Decay of float32 parameters under bfloat16 gradients, and traced hyperparameters in
    `optax.scale`, promote.
    """

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        new_updates, state = inner.update(updates, state, params, **extra_args)
        new_updates = jax.tree.map(
            lambda u, g: jnp.asarray(u, jax.dtypes.result_type(g)), new_updates, updates
        )
        return new_updates, state

    return optax.GradientTransformationExtraArgs(inner.init, update)
