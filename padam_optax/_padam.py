"""The `padam` and `padamw` optimizers."""

from typing import Any

import jax
import numpy as np
import optax

from padam_optax import _tree, _validation
from padam_optax._partial_adaptive import BiasCorrection, scale_by_partial_adaptive


def padam(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    p: optax.ScalarOrSchedule = 0.125,
    weight_decay: optax.ScalarOrSchedule | None = None,
    mask: Any = None,
    *,
    eps_root: jax.typing.ArrayLike = 0.0,
    bias_correction: BiasCorrection = "none",
    nesterov: bool = False,
    mu_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Padam: partially adaptive momentum estimation.

    .. math::
        g_t &\leftarrow g_t + \lambda \theta_t \\
        \theta_{t+1} &= \theta_t - \alpha_t m_t / (\sqrt{\hat v_t} + \epsilon)^{2p}

    This is ``optax.chain(optax.add_decayed_weights(weight_decay, mask),
    scale_by_partial_adaptive(...), optax.scale_by_learning_rate(learning_rate))``; see
    `scale_by_partial_adaptive` for the moments and ``bias_correction``. For the
    projection of Algorithm 1, wrap it in `padam_optax.projections.projected`.

    Learning rates tuned for Adam do not transfer. The best value grows from about 1e-3
    at p = 1/2 to SGD-like values as p goes to 0; the paper uses 0.1 at p = 1/8.

    Under `optax.inject_hyperparams`, name a ``mask`` that is a function in
    ``static_args``, or it is called as a schedule; with bfloat16 parameters, pass
    ``hyperparam_dtype=jnp.float32``.

    Args:
      learning_rate: :math:`\alpha`, at least 0; a number or a schedule.
      b1: Exponential decay rate of the first moment, in [0, 1).
      b2: Exponential decay rate of the second moment, in [0, 1).
      eps: :math:`\epsilon`, added to the root, inside the power; at least 0.
      p: Exponent of :math:`\hat v`, in [1e-5, 1/2]; or a schedule, in [0, 1/2].
      weight_decay: :math:`\lambda`, at least 0; a number or a schedule. This is L2
        regularization, which passes through both moments, unlike `padamw`'s. None for
        no decay, which needs no ``params`` in ``update``.
      mask: Which parameters to decay: a tree of bools like the parameters or a prefix
        of one, or a function from the parameters to one. All if None.
      eps_root: Added to :math:`\hat v`, inside the root; at least 0.
      bias_correction: ``"none"`` (Algorithm 1), ``"official"`` (the authors' program,
        behind all published numbers), ``"consistent"`` or ``"before_max"``.
      nesterov: Whether to use Nesterov momentum.
      mu_dtype: Dtype of the stored first moment; that of the parameters if None.

    Returns:
      An `optax.GradientTransformationExtraArgs` whose updates have the gradients'
      dtype. Its state holds ``count``, ``mu``, ``nu`` and ``nu_max``.

    Raises:
      ValueError: If an argument is out of range, or weight decay gets no ``params``.
      TypeError: If a hyperparameter is not a number, or a leaf is integer or boolean.

    Examples:
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
      ...     updates, state = opt.update(jax.grad(loss)(x), state)
      ...     x = optax.apply_updates(x, updates)
       0  101.0000
      20  10.0914
      40  1.2457
      60  0.1598

    References:
      Chen et al., Closing the generalization gap of adaptive gradient methods in
      training deep neural networks, IJCAI 2020 (arXiv 1806.06763), Algorithm 1.
    """
    rescale = scale_by_partial_adaptive(
        b1,
        b2,
        eps,
        p,
        eps_root=eps_root,
        bias_correction=bias_correction,
        nesterov=nesterov,
        mu_dtype=mu_dtype,
    )
    return _chain(learning_rate, _decay(weight_decay, mask), rescale)


def padamw(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    p: optax.ScalarOrSchedule = 0.125,
    weight_decay: optax.ScalarOrSchedule | None = 5e-4,
    mask: Any = None,
    *,
    eps_root: jax.typing.ArrayLike = 0.0,
    bias_correction: BiasCorrection = "none",
    nesterov: bool = False,
    mu_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Padam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019).

    .. math::
        \theta_{t+1} = \theta_t
        - \alpha_t (m_t / (\sqrt{\hat v_t} + \epsilon)^{2p} + \lambda \theta_t)

    The decay does not pass through the moments and is multiplied by the learning rate,
    as in `optax.adamw`. At p = 1/8 learning rates are about a hundred times those of
    AdamW, so divide its :math:`\lambda` by a hundred. State and errors are `padam`'s.

    Args:
      learning_rate: :math:`\alpha`, at least 0; a number or a schedule.
      b1: Exponential decay rate of the first moment, in [0, 1).
      b2: Exponential decay rate of the second moment, in [0, 1).
      eps: Added to the root, inside the power; at least 0.
      p: Exponent of :math:`\hat v`, as for `padam`.
      weight_decay: :math:`\lambda`, at least 0; a number or a schedule, or None.
      mask: Which parameters to decay, as for `padam`.
      eps_root: Added to :math:`\hat v`, inside the root; at least 0.
      bias_correction: ``"none"``, ``"official"``, ``"consistent"`` or ``"before_max"``.
      nesterov: Whether to use Nesterov momentum.
      mu_dtype: Dtype of the stored first moment; that of the parameters if None.

    Examples:
      Where the gradient is 0, only the decay is left, 0.1 times 0.5 times 2:

      >>> import jax.numpy as jnp
      >>> import padam_optax
      >>> x, g = jnp.array([2.0, 2.0]), jnp.array([0.0, 1.0])
      >>> opt = padam_optax.padamw(0.1, weight_decay=0.5)
      >>> updates, _ = opt.update(g, opt.init(x), x)
      >>> print(f"{updates[0]:.4f} {updates[1]:.4f}")
      -0.1000 -0.1237
    """
    rescale = scale_by_partial_adaptive(
        b1,
        b2,
        eps,
        p,
        eps_root=eps_root,
        bias_correction=bias_correction,
        nesterov=nesterov,
        mu_dtype=mu_dtype,
    )
    return _chain(learning_rate, rescale, _decay(weight_decay, mask))


def _decay(weight_decay: Any, mask: Any) -> optax.GradientTransformation:
    """Return `optax.add_decayed_weights` after checks; 0 reads no parameters."""
    remedy = "Use 0 or None to disable weight decay."
    rate: Any = 0.0 if weight_decay is None else weight_decay
    if not callable(weight_decay):
        rate = _validation.non_negative("weight_decay", rate, remedy)
    leaves = [] if mask is None or callable(mask) else jax.tree.leaves(mask)
    if not all(isinstance(leaf, bool | np.bool_) for leaf in leaves):
        raise ValueError(
            "mask must be a tree of bools like the parameters, or a function from them "
            f"to one, got {mask!r}. To decay all but biases: lambda params: "
            "jax.tree.map(lambda x: x.ndim > 1, params)."
        )
    decay = optax.add_decayed_weights(rate)
    if isinstance(rate, float) and rate == 0.0:
        decay = optax.identity()  # its state is the same
    return decay if mask is None else optax.masked(decay, mask)


def _chain(
    learning_rate: optax.ScalarOrSchedule, *links: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    """Chain the links and the learning rate; cast to the gradients' dtypes."""
    learning_rate = _validation.learning_rate(learning_rate)
    chain = optax.chain(*links, optax.scale_by_learning_rate(learning_rate))

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        new_updates, state = chain.update(updates, state, params, **extra_args)
        # Decay of float32 parameters and a traced learning rate promote bfloat16.
        return _tree.cast_like(new_updates, updates), state

    return optax.GradientTransformationExtraArgs(chain.init, update)
