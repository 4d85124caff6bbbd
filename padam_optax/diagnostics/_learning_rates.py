"""What a run is doing, read from the state of its optimizer.

Pure functions, to be traced or not, that change nothing; their cost is a few passes
over the state. They read any optimizer whose state has a ``nu``, `optax.adam` and
`optax.amsgrad` included. The exponent and the learning rate are not in the state: pass
those of the moment, of a schedule its value.

Coordinates whose v̂ is 0 have seen no gradient and have not moved. They have an
effective learning rate of 0 here, and quantiles leave zeros out; otherwise the dead
inputs of a network would hide the others.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from padam_optax import _validation
from padam_optax._inverse_power import inverse_power, root
from padam_optax._tree import as_hyperparam
from padam_optax.diagnostics._quantiles import is_zero, reduce_leaves, tree_quantiles
from padam_optax.state._lookup import find_maxima, second_moment


def effective_learning_rates(
    state: optax.OptState,
    learning_rate: float | jax.Array,
    p: float | jax.Array,
    eps: float | jax.Array = 1e-8,
    *,
    eps_root: float | jax.Array = 0.0,
) -> optax.Updates:
    r"""Return what each coordinate's momentum is multiplied by.

    .. math::
        \alpha / (\sqrt{\hat v + \epsilon_{root}} + \epsilon)^{2p}

    and 0 where v̂ is 0. Their spread is what the small learning rate dilemma of the
    paper is about: with p = 1/2 it is so wide that the largest dictates a small α, with
    which the others hardly move.

    Bias corrections are left out: ``"none"`` has none, others come to 1 in some
    thousand steps. Before that, multiply α by √c2/c1 for ``"official"``, by c2^p/c1 for
    ``"consistent"`` and `optax.adam`, by 1/c1 for ``"before_max"`` and `optax.amsgrad`,
    with c1 = 1-b1^t and c2 = 1-b2^t.

    Args:
      state: as `second_moment` takes it.
      learning_rate: α of the moment, at least 0.
      p: the exponent of the moment, in [0, 1/2]; 1/2 for Adam and AMSGrad.
      eps: the optimizer's.
      eps_root: the optimizer's.

    Returns:
      A tree like the parameters, float32 or float64.

    Raises:
      ValueError: an argument is out of range, or the state holds no v̂ or several.
      TypeError: an argument is no number, for example a schedule.

    Gradients a hundred times larger give a rate 100^(2p) times smaller:

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> from padam_optax.diagnostics import effective_learning_rates
    >>> g = jnp.array([1.0, 100.0, 0.0])
    >>> for p in [0.5, 0.25]:
    ...     opt = padam_optax.padam(0.1, b2=0.0, p=p)
    ...     _, state = opt.update(g, opt.init(g))
    ...     print(effective_learning_rates(state, 0.1, p))
    [0.1   0.001 0.   ]
    [0.1  0.01 0.  ]
    """
    learning_rate = _validation.non_negative(
        "learning_rate", learning_rate, "Evaluate a schedule and pass its value."
    )
    p = _validation.exponent_or_zero("p", p)
    eps, eps_root = _validation.epsilons(eps, eps_root)

    def rate(v: jax.Array) -> jax.Array:
        x = _root(v, eps, eps_root)
        rate = as_hyperparam(learning_rate, v.dtype) * inverse_power(x, 2 * p)
        return jnp.where(is_zero(v), 0, rate)

    return jax.tree.map(rate, second_moment(state))


def median_root_nu(
    state: optax.OptState,
    eps: float | jax.Array = 1e-8,
    *,
    eps_root: float | jax.Array = 0.0,
) -> jax.Array:
    """Return the median of √v̂+ε, of what is raised to the power 2p.

    α divided by its 2p-th power is the effective learning rate of the median
    coordinate: this number is all that `learning_rate_for` needs to know of a run. It
    grows over the first 1/(1-b2) steps, without a bias correction like √(1-b2^t):
    measure it where p changes, not in the first steps.

    Args:
      state: as `second_moment` takes it.
      eps: the optimizer's.
      eps_root: the optimizer's.

    Returns:
      A scalar, float32 or float64, in units of the gradient; NaN if no coordinate has
      seen a gradient.

    Raises:
      ValueError: as `effective_learning_rates`.

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> from padam_optax.diagnostics import median_root_nu
    >>> g = jnp.array([0.0, 0.0, 0.0, 0.2, -0.3, 50.0])
    >>> opt = padam_optax.padam(0.1, b2=0.0)
    >>> _, state = opt.update(g, opt.init(g))
    >>> print(median_root_nu(state))
    0.3
    """
    # The root is increasing: that of the median is the median of the roots.
    eps, eps_root = _validation.epsilons(eps, eps_root)
    return _root(tree_quantiles(second_moment(state), 0.5), eps, eps_root)


def fraction_where_max_active(
    state: optax.OptState,
    b2: float | jax.Array | None = None,
    *,
    per_leaf: bool = False,
) -> Any:
    """Return the share of coordinates that v̂ = max(v̂, v) remembers more of than v.

    At 0 the maximum is idle and the method is the one without it; at 1 no step grows
    any more, whatever the gradients do. See `reset_max` for the remedy.

    Args:
      state: holds one ``nu`` and one ``nu_max``.
      b2: None where v̂ is the maximum of v itself. Where it is that of v/(1-b2^t), in
        ``bias_correction="before_max"`` and `optax.amsgrad`, the decay rate: v is
        stored without the correction. Then a difference below one in ten thousand,
        which rounding can make, does not count.
      per_leaf: whether to return a tree with the share of each leaf.

    Returns:
      A float32 scalar in [0, 1].

    Raises:
      ValueError: the state does not hold one of each, or b2 is outside [0, 1).

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> from padam_optax.diagnostics import fraction_where_max_active
    >>> opt = padam_optax.padam(0.1)
    >>> state = opt.init(jnp.zeros(4))
    >>> for g in [jnp.ones(4), jnp.array([0.0, 0.1, 1.0, 10.0])]:
    ...     _, state = opt.update(g, state)
    >>> print(fraction_where_max_active(state))
    0.25
    """
    found = find_maxima(state)
    if len(found) != 1:
        raise ValueError(
            f"The state must hold one nu_max, got {len(found)}. Of "
            "optax.multi_transform pass the state of one group, "
            "state.inner_states[label]."
        )
    ((count, _, nu, nu_max),) = found
    share_that_counts = 1.0
    if b2 is not None:
        # Optax's own function, so that both sides have the same rounding.
        count = count.astype(jax.dtypes.canonicalize_dtype(float))
        b2 = as_hyperparam(_validation.decay_rate("b2", b2), count.dtype)
        nu = optax.tree.bias_correction(nu, b2, count)
        share_that_counts = 1 - 1e-4

    def binds(v: jax.Array, v_max: jax.Array) -> jax.Array:
        return jnp.real(v) < share_that_counts * jnp.real(v_max)

    return reduce_leaves(_share, per_leaf, jax.tree.map(binds, nu, nu_max))


def fraction_of_increased_lrs(
    before: Any, after: Any, *, per_leaf: bool = False
) -> Any:
    """Return the share of coordinates whose effective learning rate has grown.

    That α_t/v̂_t^p never grows is the key property behind the convergence proofs: 0 at
    every step is what they ask. The maximum sees to it as long as p and the learning
    rate are constant, or the latter falls. A warm-up, a change of p (at any learning
    rate, for it turns the spread of the rates), `reset_max` and the corrections of
    ``bias_correction`` (include them in the learning rate) break it.

    Args:
      before: `effective_learning_rates` at one step.
      after: the same at a later one. In a train step both states are at hand.
      per_leaf: whether to return a tree with the share of each leaf.

    Returns:
      A float32 scalar in [0, 1]. Coordinates that had seen no gradient before do not
      count as grown, nor does a rounding error.

    >>> import jax.numpy as jnp
    >>> import padam_optax
    >>> from padam_optax import diagnostics
    >>> opt, rates = padam_optax.padam(0.1), []
    >>> state = opt.init(jnp.zeros(4))
    >>> for g, rate in [(1.0, 0.1), (0.5, 0.1), (0.0, 0.2)]:
    ...     _, state = opt.update(jnp.full(4, g), state)
    ...     rates.append(diagnostics.effective_learning_rates(state, rate, 1 / 8))
    >>> print(diagnostics.fraction_of_increased_lrs(rates[0], rates[1]))
    0.0
    >>> print(diagnostics.fraction_of_increased_lrs(rates[1], rates[2]))
    1.0
    """

    def grew(old: jax.Array, new: jax.Array) -> jax.Array:
        return (old > 0) & (new > old * (1 + 16 * jnp.finfo(old.dtype).eps))

    return reduce_leaves(_share, per_leaf, jax.tree.map(grew, before, after))


def _root(v: jax.Array, eps: Any, eps_root: Any) -> jax.Array:
    return root(v + as_hyperparam(eps_root, v.dtype)) + as_hyperparam(eps, v.dtype)


def _share(leaves: list[jax.Array]) -> jax.Array:
    """Return the share of elements that are true."""
    # Leaf by leaf in integers, then in floats: a sum over 2^31 elements does not wrap.
    true = sum(jnp.sum(x, dtype=jnp.int32).astype(jnp.float32) for x in leaves)
    return jnp.asarray(true, jnp.float32) / max(1, sum(x.size for x in leaves))
