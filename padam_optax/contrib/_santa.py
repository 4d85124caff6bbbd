"""Santa: a sampler at falling temperature that ends as momentum with adaptive decay."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from padam_optax import _validation
from padam_optax._tree import as_hyperparam, check_inexact, zeros_like


class SantaState(NamedTuple):
    """Momentum, friction and squared gradients of each element, and the random key."""

    count: jax.Array  # int32 scalar, the number of updates
    rng_key: jax.Array  # of the noise to come
    momentum: optax.Updates  # u, at least float32; in equilibrium of variance η/β
    thermostat: optax.Updates  # A, the share of u lost in a step; fixed after burn-in
    nu: Any  # v, of the mean gradient; None without preconditioner


def _root_of_step(count: Any) -> jax.Array:
    return jnp.sqrt(1 + jnp.asarray(count, jnp.float32))


def santa(
    learning_rate: optax.ScalarOrSchedule,
    num_examples: float | jax.Array,
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
    r"""Explore by sampling at falling temperature, then refine without noise.

    Santa (stochastic annealing thermostats) treats the loss as an energy. For
    ``burn_in`` steps it is a sampler at inverse temperature β_t: noise shakes the
    momentum u, and a thermostat, the friction A of each element, grows where u² exceeds
    η/β_t and shrinks where it falls short. Then the noise is switched off and A stays:
    momentum descent in which every element keeps the decay it has learnt. With the mean
    gradient ḡ and f̃ = N ḡ, the gradient of the summed loss, each step begins with

    .. math::
        v_t = b_2 v_{t-1} + (1-b_2)\, \bar g_t^2, \qquad
        q_t = (\epsilon + \sqrt{v_t})^{-1/2}, \qquad
        k_t = -\eta\, q_t \tilde f_t
            + \sqrt{2 \eta^{e} q_{t-1} / \beta_t}\; \zeta_t,
        \quad \zeta_t \sim N(0, I)

    and ends, for Santa-E (``integrator="euler"``), with

    .. math::
        A_t = A_{t-1} + u_{t-1}^2 - \eta/\beta_t, \quad
        u_t = (1 - A_t)\, u_{t-1} + k_t, \quad
        \theta_t = \theta_{t-1} + q_t u_t

    and for Santa-SSS (``"sss"``, symmetric splitting) with

    .. math::
        A' = A_{t-1} + (u_{t-1}^2 - \eta/\beta_t)/2, \quad
        u_t = e^{-A'/2} (e^{-A'/2} u_{t-1} + k_t), \quad
        A_t = A' + (u_t^2 - \eta/\beta_t)/2, \quad
        \theta_t = \theta_{t-1} + q_t (u_{t-1} + u_t)/2 .

    In refinement A_t = A_{t-1} and k_t has no ζ. The start is u_0 ~ √η N(0, I),
    A_0 = ``friction``, v_0 = 0. SSS samples more exactly, and no large A upsets it;
    Santa-E diverges once A > 2. On θ²/2 at η = 0.01 and β = 1 the variance of θ is 0.1%
    off with SSS and 4% with Santa-E, which at η = 0.1 diverges.

    What is easily got wrong:

    * η is the learning rate for the gradient of the *sum* over the data set, the square
      of a time step. Pass gradients of the mean loss, as to any optimizer, and divide
      the learning rate that you know by N: without preconditioner, refinement by
      Santa-E is heavy ball with learning rate ηN and momentum 1-A; with it, ηN/A stands
      where `optax.rmsprop` has its learning rate.
    * The result *is* the update, learning rate and sign included. The loss must be the
      whole negative log posterior over N: `optax.add_decayed_weights`, a Gaussian
      prior, stands before this transformation, not after it.
    * In the paper λ is ``eps``, σ is ``b2``, g is q, and A_0 = √η C. q is the root of
      RMSprop's factor: u gets one and θ the other.
    * f̃_t is the gradient at θ_{t-1}, the parameters that you hold, in both schemes: in
      SSS, too, θ first moves by q_t u_{t-1}/2, and q_t needs f̃_t.
    * Exploration is the ``burn_in`` calls with count 0, ..., burn_in - 1; the listing
      has one less, t < burn-in from t = 1.
    * The noise exponent e is 3/2, which u = h p and η = h² imply and the authors'
      programs have; the printed listing has 1. That is noise of twice the variance that
      u shall have (without preconditioner): SSS then settles at A = 0.88, Santa-E
      cannot settle and diverges. With e = 3/2, √η q must stay well below 1.
    * A varies by √(η/β_t) about its mean, which is √η q plus what the noise of the
      gradients adds. So β must be well above 1 when burn-in ends: an element left with
      A < 0 grows without bound in refinement.
    * A NaN in a gradient stays in its element's u, A and v: skip such steps with
      `optax.apply_if_finite`.

    Randomness: each update splits ``rng_key`` into the next key and a noise key, and
    leaf i draws from ``jax.random.fold_in(noise key, i)``. The noise depends on the key
    and the step alone. Replicas under pmap, whose states hold the same key, stay equal;
    of a parameter sharded under jit every device draws a part of its own. In shard_map,
    where the parts are split by hand, fold the device's index into the key.

    Args:
      learning_rate: η, at least 0, as said above; or a schedule, called with 0 at the
        first step and in ``init``.
      num_examples: N, the size of the data set; at least 1.
      burn_in: number of exploration steps, then refinement; at least 0.
      key: PRNG key, typed or raw, or an int as its seed.
      integrator: "sss" or "euler".
      inverse_temperature: β > 0, or a schedule, called with 0 at the first step;
        √t, with t from 1, if left out. It matters only during exploration.
      friction: A_0, the share of u lost in a step at first; at least 0.
      b2: share of the old v that is kept, in [0, 1).
      eps: added to √v, > 0; bounds q by 1/√eps, which it is at first.
      precondition: whether to use q and v at all; q = 1 otherwise.
      noise_exponent: e, at least 0.
      derivative_term: whether exploration adds (η/β_t)(1 - q_{t-1}/q_t)/u_{t-1} to k_t,
        the correction for a q that varies with θ, which the authors' programs leave
        out. It explodes where u is small: here ``|u|`` counts as at least a tenth of
        its equilibrium value √(η/β_t), and the term is 0 where u is.

    Returns:
      A transformation with state `SantaState`, whose fields others may read:
      ``optax.tree.get(state, "thermostat")`` is A. Updates have the gradients' dtype;
      where a gradient is None, the update is None and the state stays.

    Raises:
      ValueError: a number is outside its range or ``integrator`` is unknown.
      TypeError: a hyperparameter is no number, ``key`` is neither key nor int, or a
        leaf is complex, integer or bool.

    A thousand elements, N = 100, each with mean loss (θ-3)²/200, so that the energy is
    (θ-3)²/2. While Santa explores at β_t = √t, the variances follow the temperature:
    βu² goes to η, β(θ-3)² to 1. When the noise stops, θ settles in the minimum.

    >>> import jax, jax.numpy as jnp
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
    step  100: βu²/η 0.4, β(θ-3)² 0.4
    step 1000: βu²/η 1.0, β(θ-3)² 0.9
    step 4000: βu²/η 1.0, β(θ-3)² 1.0
    step 4500: βu²/η 0.0, β(θ-3)² 0.0

    References:
      Chen, Carlson, Gan, Li and Carin, Bridging the gap between stochastic gradient
      MCMC and stochastic optimization, AISTATS 2016 (arXiv 1512.07962).
    """
    learning_rate = _validation.learning_rate(learning_rate)
    num_examples = _validation.number(
        "num_examples",
        num_examples,
        "a finite number >= 1",
        lambda n: 1 <= n < float("inf"),
        "It is the size of the data set: the mean gradient times it is the gradient of "
        "the summed loss, with which Santa works.",
    )
    burn_in = _validation.whole_number(
        "burn_in", burn_in, "It is the number of exploration steps; 0 only refines."
    )
    if not callable(inverse_temperature):
        inverse_temperature = _validation.positive(
            "inverse_temperature",
            inverse_temperature,
            "1 samples the posterior; larger is colder. Use burn_in=0 for no noise.",
        )
    friction = _validation.non_negative("friction", friction, "A usual value is 0.1.")
    b2 = _validation.decay_rate("b2", b2)
    eps = _validation.positive("eps", eps, "A usual value is 1e-5.")
    noise_exponent = _validation.non_negative(
        "noise_exponent", noise_exponent, "Use 1.5, or 1 for the printed listing."
    )
    if integrator not in ("sss", "euler"):
        raise ValueError(
            f"integrator must be 'sss' or 'euler', got {integrator!r}. The first is "
            "Santa-SSS, the second Santa-E."
        )
    _check_key(key)

    def init(params: optax.Params) -> SantaState:
        _check_real(params)
        count = jnp.zeros([], jnp.int32)
        rng_key, momentum_key = jax.random.split(_as_key(key))
        eta = learning_rate(count) if callable(learning_rate) else learning_rate
        nothing = zeros_like(params)
        return SantaState(
            count=count,
            rng_key=rng_key,
            # Added to zeros, u lies where the parameters lie.
            momentum=jax.tree.map(
                lambda zero, zeta: zero + jnp.sqrt(jnp.asarray(eta, zero.dtype)) * zeta,
                nothing,
                _standard_normal(momentum_key, nothing),
            ),
            thermostat=jax.tree.map(
                lambda x: x + as_hyperparam(friction, x.dtype), nothing
            ),
            nu=nothing if precondition else None,
        )

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
    ) -> tuple[optax.Updates, SantaState]:
        del params
        check_inexact(updates, "updates")
        eta_t, beta_t = (
            h(state.count) if callable(h) else h
            for h in (learning_rate, inverse_temperature)
        )
        rng_key, noise_key = jax.random.split(state.rng_key)

        def move(g: Any, u: jax.Array, a: jax.Array, v: Any, zeta: Any) -> Any:
            """Return a leaf's update, u, A and v; refine if there is no noise ζ."""
            if g is None:
                return None, u, a, v
            eta, beta, n, small, exponent = (
                jnp.asarray(h, u.dtype)
                for h in (eta_t, beta_t, num_examples, eps, noise_exponent)
            )
            mean = jnp.asarray(g, u.dtype)
            q_old = q = jnp.ones([], u.dtype)
            if precondition:
                decay = as_hyperparam(b2, u.dtype)
                q_old = jax.lax.rsqrt(small + jnp.sqrt(v))
                v = decay * v + (1 - decay) * jnp.square(mean)
                q = jax.lax.rsqrt(small + jnp.sqrt(v))

            kick = -(eta * n) * q * mean
            if zeta is not None:
                kick += jnp.sqrt(2 * eta**exponent / beta * q_old) * zeta
                if derivative_term:
                    least = 0.1 * jnp.sqrt(eta / beta) + jnp.finfo(u.dtype).tiny
                    inverse = jnp.sign(u) / jnp.maximum(jnp.abs(u), least)
                    kick += eta / beta * (1 - q_old / q) * inverse

            def heated(a: jax.Array, u: jax.Array, share: float) -> jax.Array:
                return a if zeta is None else a + share * (jnp.square(u) - eta / beta)

            if integrator == "euler":
                a = heated(a, u, 1.0)
                u = (1 - a) * u + kick
                step = q * u
            else:
                a = heated(a, u, 0.5)
                half = jnp.exp(-a / 2)
                u_old, u = u, half * (half * u + kick)
                a = heated(a, u, 0.5)
                step = q * (u_old + u) / 2
            return step.astype(jax.dtypes.result_type(g)), u, a, v

        def move_all(noise: Any) -> Any:
            gradients, structure = jax.tree.flatten(updates, lambda x: x is None)
            absent = [None] * len(gradients)
            columns = [
                absent if tree is None else structure.flatten_up_to(tree)
                for tree in (state.momentum, state.thermostat, state.nu, noise)
            ]
            moved = [move(*row) for row in zip(gradients, *columns, strict=True)]
            return [structure.unflatten(row[i] for row in moved) for i in range(4)]

        new_updates, momentum, thermostat, nu = jax.lax.cond(
            state.count < jnp.asarray(burn_in, jnp.int32),
            lambda: move_all(_standard_normal(noise_key, state.momentum)),
            lambda: move_all(None),
        )
        count: Any = optax.safe_increment(state.count)
        return new_updates, SantaState(
            count, rng_key, momentum, thermostat, nu if precondition else None
        )

    return optax.GradientTransformation(init, update)


def _check_key(key: Any) -> None:
    if not isinstance(key, int | np.integer | np.ndarray | jax.Array):
        raise TypeError(
            f"key must be a PRNG key or an int, got {key!r}. Pass e.g. key=0."
        )


def _check_real(params: optax.Params) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if jnp.iscomplexobj(leaf):
            raise TypeError(
                f"params{jax.tree_util.keystr(path)} is complex; Santa's thermostat is "
                "defined for real parameters. Wrap santa in "
                "optax.contrib.split_real_and_imaginary."
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
