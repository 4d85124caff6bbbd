"""Santa: stochastic gradient MCMC with simulated annealing, then momentum descent."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from padam_optax import _validation
from padam_optax._tree import as_hyperparam, check_inexact, is_none, zeros_like


class SantaState(NamedTuple):
    """Momentum, friction and squared gradients of each parameter.

    Attributes:
      count: Number of updates, an int32 scalar.
      momentum: u, at least float32; its variance is η/β in equilibrium.
      thermostat: A, the fraction of u that a step removes; constant after burn-in.
      nu: v, the second moment of the mean gradient; None without preconditioner.
    """

    count: jax.Array
    momentum: optax.Updates
    thermostat: optax.Updates
    nu: Any


def _root_of_step(count: Any) -> jax.Array:
    return jnp.sqrt(1 + jnp.asarray(count, jnp.float32))


def santa(
    learning_rate: optax.ScalarOrSchedule,
    num_examples: int | jax.Array,
    burn_in: int | jax.Array,
    key: jax.Array | int,
    *,
    integrator: Literal["sss", "euler"] = "sss",
    inverse_temperature: optax.ScalarOrSchedule = _root_of_step,
    friction: float | jax.Array = 0.1,
    b2: float | jax.Array = 0.99,
    eps: float | jax.Array = 1e-5,
    precondition: bool = True,
    noise_exponent: float | jax.Array = 1.5,
    derivative_term: bool = False,
) -> optax.GradientTransformation:
    r"""Explore by sampling at a decreasing temperature, then refine without noise.

    Santa (stochastic annealing thermostats) treats the loss as an energy. For
    ``burn_in`` steps it samples at inverse temperature :math:`\beta_t`: noise drives
    the momentum u, and a thermostat, the friction A of each element, increases where
    :math:`u^2` exceeds :math:`\eta/\beta_t` and decreases where it falls short. Then
    the noise stops and A is frozen: momentum descent in which every element keeps the
    decay rate it has learned. With the mean gradient :math:`\bar g`, a step starts with

    .. math::
        \begin{aligned}
        v_t &= b_2 v_{t-1} + (1-b_2)\, \bar g_t^2 \\
        q_t &= (\epsilon + \sqrt{v_t})^{-1/2} \\
        k_t &= -\eta N q_t \bar g_t + \sqrt{2 \eta^{e} q_{t-1} / \beta_t}\; \zeta_t,
            \quad \zeta_t \sim N(0, I)
        \end{aligned}

    and continues, for Santa-E (``integrator="euler"``), with

    .. math::
        \begin{aligned}
        A_t &= A_{t-1} + u_{t-1}^2 - \eta/\beta_t \\
        u_t &= (1 - A_t)\, u_{t-1} + k_t \\
        \theta_t &= \theta_{t-1} + q_t u_t
        \end{aligned}

    and for Santa-SSS (``"sss"``, symmetric splitting) with

    .. math::
        \begin{aligned}
        A' &= A_{t-1} + (u_{t-1}^2 - \eta/\beta_t)/2 \\
        u_t &= e^{-A'/2} (e^{-A'/2} u_{t-1} + k_t) \\
        A_t &= A' + (u_t^2 - \eta/\beta_t)/2 \\
        \theta_t &= \theta_{t-1} + q_t (u_{t-1} + u_t)/2
        \end{aligned}

    In refinement A is constant and :math:`k_t` has no noise. At first :math:`u_0 \sim
    \sqrt\eta\, N(0, I)`, :math:`A_0` = ``friction`` and :math:`v_0 = 0`. SSS samples
    more accurately and is stable for any A; Santa-E diverges once A exceeds 2.

    * :math:`\eta` is the learning rate for the gradient of the *sum* over the data set,
      and the square of a time step. Pass gradients of the mean loss, as to any
      optimizer, and divide a known learning rate by N: without preconditioner,
      refinement by Santa-E is heavy ball with learning rate :math:`\eta N` and momentum
      1 - A; with it, :math:`\eta N/A` is like a learning rate of `optax.rmsprop`.
    * The result *is* the update, including learning rate and sign. The loss must be the
      whole negative log posterior divided by N, so `optax.add_decayed_weights`, a
      Gaussian prior, goes before this transformation in a chain, not after it.
    * In the paper, ``eps`` is :math:`\lambda`, ``b2`` is :math:`\sigma`, q is g, and
      :math:`A_0 = \sqrt\eta\, C`. q is the root of RMSProp's factor.
    * The gradient is taken at :math:`\theta_{t-1}`, the current parameters, in both
      schemes, although SSS first moves :math:`\theta` by :math:`q_t u_{t-1}/2`.
    * The noise exponent e is 3/2, as in the authors' programs. With the printed 1, and
      no preconditioner, u has twice its variance: SSS settles at A = 0.88, and Santa-E
      diverges. With e = 3/2, :math:`\sqrt\eta\, q` must stay well below 1.
    * A fluctuates by :math:`\sqrt{\eta/\beta_t}` around its mean, which is
      :math:`\sqrt\eta\, q` plus a term from gradient noise. So :math:`\beta` must be
      well above 1 when burn-in ends: an element with A < 0 diverges in refinement.
    * A NaN gradient poisons its own element for good: use `optax.apply_if_finite`.

    The noise depends only on the key, the step and the leaf: resume with the same key.
    Replicas under `jax.pmap` draw the same noise. Inside `jax.shard_map`, fold the
    device's index into the key of a sharded parameter.

    Args:
      learning_rate: :math:`\eta`, at least 0, as explained above; or a schedule, called
        with 0 in ``init`` and in the first step.
      num_examples: N, the size of the data set; at least 1.
      burn_in: Exploration steps, at least 0; the paper's listing has one less.
      key: PRNG key, typed or raw, or an integer seed.
      integrator: "sss" or "euler".
      inverse_temperature: :math:`\beta` > 0, or a schedule, called with 0 in the first
        step. The default is :math:`\sqrt t` with t from 1. Used only in exploration.
      friction: :math:`A_0`, the initial fraction of u that a step removes; at least 0.
      b2: Exponential decay rate of v, in [0, 1).
      eps: Added to the root of v, > 0. It bounds q by 1/√eps, its initial value.
      precondition: Whether to use q and v; without them q = 1.
      noise_exponent: e, at least 0.
      derivative_term: Whether exploration adds
        :math:`(\eta/\beta_t)(1 - q_{t-1}/q_t)/u_{t-1}` to :math:`k_t`, a correction for
        the dependence of q on :math:`\theta` that the authors' programs omit. The size
        of u counts as at least a tenth of :math:`\sqrt{\eta/\beta_t}`, its equilibrium
        value, so that the term is bounded; at u = 0 it is 0.

    Returns:
      A transformation with state `SantaState`. Updates have the gradients' dtype. Where
      a gradient is None, so is the update, and the state does not change.

    Raises:
      ValueError: If a number is outside its range or ``integrator`` is unknown.
      TypeError: If a hyperparameter is not a number, ``key`` is neither a key nor an
        integer, or a leaf is complex, integer or boolean.

    Examples:
      A thousand elements with mean loss (θ-3)²/200 and N = 100: the energy is (θ-3)²/2.
      While Santa explores at β = √t, βu² goes to η and β(θ-3)² to 1; then both to 0.

      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from padam_optax.contrib import santa
      >>> opt = santa(0.01, 100, burn_in=4000, key=0, precondition=False)
      >>> def step(carry, _):
      ...     x, state = carry
      ...     updates, state = opt.update((x - 3) / 100, state)
      ...     x = optax.apply_updates(x, updates)
      ...     return (x, state), ((x - 3) ** 2, state.momentum**2 / 0.01)
      >>> x = jnp.zeros(1000)
      >>> _, squares = jax.lax.scan(step, (x, opt.init(x)), length=4500)
      >>> for t in [100, 1000, 4000, 4500]:
      ...     theta, u = (t**0.5 * square[t - 1].mean() for square in squares)
      ...     print(f"step {t:4}: βu²/η {u:.1f}, β(θ-3)² {theta:.1f}")
      step  100: βu²/η 0.4, β(θ-3)² 0.5
      step 1000: βu²/η 0.9, β(θ-3)² 0.9
      step 4000: βu²/η 1.0, β(θ-3)² 1.0
      step 4500: βu²/η 0.0, β(θ-3)² 0.0

    References:
      Chen, Carlson, Gan, Li and Carin, Bridging the gap between stochastic gradient
      MCMC and stochastic optimization, AISTATS 2016 (arXiv 1512.07962).
    """
    _check_key(key)
    learning_rate = _validation.learning_rate(learning_rate)
    remedy = "1 samples the posterior; larger is colder. Use burn_in=0 for no noise."
    if not callable(inverse_temperature):
        inverse_temperature = _validation.positive(
            "inverse_temperature", inverse_temperature, remedy
        )
    friction = _validation.non_negative("friction", friction, "A usual value is 0.1.")
    burn_in = _validation.whole_number(
        "burn_in", burn_in, "It is the number of exploration steps; 0 only refines."
    )
    if integrator not in _INTEGRATORS:
        raise ValueError(
            f"integrator must be 'sss' or 'euler', got {integrator!r}. The first is "
            "Santa-SSS, the second Santa-E."
        )
    hyperparams = _Hyperparams(
        num_examples=_validation.whole_number(
            "num_examples", num_examples, "It is the size of the data set.", at_least=1
        ),
        b2=_validation.decay_rate("b2", b2),
        eps=_validation.positive("eps", eps, "A usual value is 1e-5."),
        noise_exponent=_validation.non_negative(
            "noise_exponent", noise_exponent, "Use 1.5, or 1 for the printed listing."
        ),
        integrate=_INTEGRATORS[integrator],
        derivative_term=derivative_term,
    )

    def init(params: optax.Params) -> SantaState:
        remedy = "For complex ones use optax.contrib.split_real_and_imaginary."
        check_inexact(params, "params", remedy, real=True)
        count = jnp.zeros([], jnp.int32)
        eta = learning_rate(count) if callable(learning_rate) else learning_rate
        return _initial_state(params, count, eta, key, friction, precondition)

    # The same functions in every step, so that one outside of `jax.jit` compiles once.
    explore = functools.partial(_step, hyperparams, key)
    refine = functools.partial(_step, hyperparams, None)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, SantaState]:
        del params
        check_inexact(updates, "updates")
        eta, beta = (
            h(state.count) if callable(h) else h
            for h in (learning_rate, inverse_temperature)
        )
        # The branches get everything as operands: NumPy arrays (a restored state) in a
        # closure are constants, which XLA may round differently.
        is_exploration = state.count < jnp.asarray(burn_in, jnp.int32)
        new_updates, *statistics = jax.lax.cond(
            is_exploration, explore, refine, eta, beta, updates, state
        )
        count: Any = optax.safe_increment(state.count)
        return new_updates, SantaState(count, *statistics)

    return optax.GradientTransformation(init, update)


def _initial_state(
    params: Any, count: jax.Array, eta: Any, key: Any, friction: Any, precondition: bool
) -> SantaState:
    init_key, _ = jax.random.split(_as_key(key))
    # Adding to zeros_like(params) gives u and A the sharding of the parameters.
    nothing = zeros_like(params)
    momentum = jax.tree.map(
        lambda zero, zeta: zero + jnp.sqrt(jnp.asarray(eta, zero.dtype)) * zeta,
        nothing,
        _standard_normal(init_key, nothing),
    )
    thermostat = jax.tree.map(lambda x: x + as_hyperparam(friction, x.dtype), nothing)
    return SantaState(count, momentum, thermostat, nothing if precondition else None)


class _Hyperparams(NamedTuple):
    """The hyperparameters of a step; `_move` casts them to a leaf's dtype."""

    num_examples: Any
    b2: Any
    eps: Any
    noise_exponent: Any
    integrate: Callable[..., tuple[jax.Array, ...]]
    derivative_term: bool
    eta: Any = None  # of the current step, like beta
    beta: Any = None


def _step(
    hyperparams: _Hyperparams, key: Any, eta: Any, beta: Any, updates: Any, state: Any
) -> tuple[Any, ...]:
    """Return updates, u, A and v of all leaves; refine without a key."""
    leaves, structure = jax.tree.flatten(updates, is_leaf=is_none)
    noise = None
    if key is not None:
        _, noise_key = jax.random.split(_as_key(key))
        step_key = jax.random.fold_in(noise_key, state.count)
        noise = _standard_normal(step_key, state.momentum)
    columns = [
        [None] * len(leaves) if tree is None else structure.flatten_up_to(tree)
        for tree in (state.momentum, state.thermostat, state.nu, noise)
    ]
    move = functools.partial(_move, hyperparams._replace(eta=eta, beta=beta))
    rows = list(map(move, leaves, *columns))
    updates, u, a, v = (structure.unflatten(row[i] for row in rows) for i in range(4))
    return updates, u, a, None if state.nu is None else v


def _move(
    h: _Hyperparams, g: Any, u: jax.Array, a: jax.Array, v: Any, zeta: Any
) -> tuple[Any, ...]:
    """Return update, u, A and v of one leaf."""
    if g is None:
        return None, u, a, v
    eta, beta, n, small, exponent = (
        jnp.asarray(x, u.dtype)
        for x in (h.eta, h.beta, h.num_examples, h.eps, h.noise_exponent)
    )
    mean = jnp.asarray(g, u.dtype)
    q_old = q = jnp.ones([], u.dtype)
    if v is not None:
        decay = as_hyperparam(h.b2, u.dtype)
        q_old = jax.lax.rsqrt(small + jnp.sqrt(v))
        v = decay * v + (1 - decay) * jnp.square(mean)
        q = jax.lax.rsqrt(small + jnp.sqrt(v))

    kick = -(eta * n) * q * mean
    temperature = None
    if zeta is not None:
        temperature = eta / beta  # the variance that u should have
        kick += jnp.sqrt(2 * eta**exponent / beta * q_old) * zeta
        if h.derivative_term:
            least = 0.1 * jnp.sqrt(temperature) + jnp.finfo(u.dtype).tiny
            inverse = jnp.sign(u) / jnp.maximum(jnp.abs(u), least)
            kick += temperature * (1 - q_old / q) * inverse
    velocity, u, a = h.integrate(u, a, kick, temperature)
    return (q * velocity).astype(jax.dtypes.result_type(g)), u, a, v


def _euler_step(
    u: jax.Array, a: jax.Array, kick: jax.Array, temperature: jax.Array | None
) -> tuple[jax.Array, ...]:
    a = _adapt(a, u, temperature, 1.0)
    u = (1 - a) * u + kick
    return u, u, a


def _sss_step(
    u: jax.Array, a: jax.Array, kick: jax.Array, temperature: jax.Array | None
) -> tuple[jax.Array, ...]:
    a = _adapt(a, u, temperature, 0.5)
    half = jnp.exp(-a / 2)
    u_old, u = u, half * (half * u + kick)
    return (u_old + u) / 2, u, _adapt(a, u, temperature, 0.5)


_INTEGRATORS = {"sss": _sss_step, "euler": _euler_step}


def _adapt(
    a: jax.Array, u: jax.Array, temperature: jax.Array | None, fraction: float
) -> jax.Array:
    """Return A after a fraction of a time step; constant without a temperature."""
    return a if temperature is None else a + fraction * (jnp.square(u) - temperature)


def _check_key(key: Any) -> None:
    if not isinstance(key, int | np.integer | np.ndarray | jax.Array):
        raise TypeError(
            f"key must be a PRNG key or an int, got {key!r}. Pass e.g. key=0."
        )


def _as_key(key: Any) -> jax.Array:
    """Return a key, typed or raw, as it is, and the typed key of a seed."""
    is_typed = isinstance(key, jax.Array) and jnp.issubdtype(
        key.dtype, jax.dtypes.prng_key
    )
    return key if is_typed or jnp.ndim(key) else jax.random.key(key)


def _standard_normal(key: jax.Array, tree: optax.Updates) -> optax.Updates:
    """Return independent N(0, 1) in the shapes and dtypes of the tree."""
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten(
        jax.random.normal(jax.random.fold_in(key, i), x.shape, x.dtype)
        for i, x in enumerate(leaves)
    )
