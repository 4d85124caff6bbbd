"""Play online convex games: regret and its bounds.

The setting is that of the paper's theorem: losses arrive one at a time, the step is
that of Algorithm 1 with α_t = α/√t and β1_t = β1 λ^(t-1), without bias correction or ε,
projected onto a box in the metric v̂^p. Regret is the sum of the losses met less that of
the best fixed point of the box. Everything is computed in float64.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks.online.config import RegretConfig
from benchmarks.online.games import DIAMETER, RADIUS, Game
from benchmarks.optimizers import make
from padam_optax.projections import box, projected


class Setting(NamedTuple):
    """The hyperparameters at step t, from 1; all except b2 are traced."""

    t: Any
    learning_rate: Any
    p: Any
    b1: Any
    b2: float

    @property
    def decayed(self) -> Any:
        """α_t = α/√t."""
        return self.learning_rate / jnp.sqrt(self.t)


# Onto a box the projection is the same in every metric, so those without v̂ have p=0.
_BOX = box(-RADIUS, RADIUS)

# Rebuilt at each step with that step's hyperparameters: states do not depend on them.
METHODS: dict[str, Callable[[Setting], optax.GradientTransformation]] = {
    "sgd": lambda now: projected(make("sgd", now.decayed), _BOX, p=0.0),
    "adagrad": lambda now: projected(
        make("adagrad", now.learning_rate, eps=0.0), _BOX, p=0.0
    ),
    "adam": lambda now: _project("adam-uncorrected", now),
    "padam": lambda now: _project("padam-uncorrected", now),
}


def _project(name: str, now: Setting) -> optax.GradientTransformation:
    settings = {"b1": now.b1, "b2": now.b2, "eps": 0.0, "p": now.p}
    return projected(make(name, now.decayed, **settings), _BOX, p=now.p, eps=0.0)


class Sums(NamedTuple):
    """The terms of the bounds, up to a step.

    Attributes:
      squares: Σ g² of each coordinate.
      weight: v̂^p/(2α_t(1-β1_t)) of each coordinate at the last step.
      tight: The proof's sums so far.
    """

    squares: jax.Array
    weight: jax.Array
    tight: jax.Array


def _accumulate(
    sums: Sums, now: Setting, g: jax.Array, m_before: jax.Array, m: jax.Array, v: Any
) -> tuple[Sums, tuple[jax.Array, jax.Array, jax.Array]]:
    """Add a step to the sums; return also Σ v̂^p, Σ‖g_{1:t}‖ and the tight bound.

    The proof starts from the nonexpansive projection, which gives for the distance δ
    to any point of the box, in each coordinate and summed over them,

        g_t δ_t ≤ a_t (δ_t² - δ_{t+1}²) + β1_t a_t δ_t²
                  + α_t (m_t² + β1_t m_{t-1}²) / (2 (1-β1_t) v̂_t^p),

    with a_t = v̂_t^p/(2α_t(1-β1_t)). The tight bound is the sum of the right-hand side
    with δ² ≤ D²; the theorem estimates it further, by constants.
    """
    power = v**now.p
    squares = sums.squares + g**2
    weight = power / (2 * now.decayed * (1 - now.b1))
    rise = jnp.maximum(weight - sums.weight, 0)
    moments = m**2 + now.b1 * m_before**2
    quotient = jnp.where(v > 0, moments / jnp.where(v > 0, power, 1), 0)
    tight = (
        sums.tight
        + DIAMETER**2 * jnp.sum(rise + now.b1 * weight)
        + now.decayed / (2 * (1 - now.b1)) * jnp.sum(quotient)
    )
    observed = (jnp.sum(power), jnp.sum(jnp.sqrt(squares)), tight)
    return Sums(squares, weight, tight), observed


def play(
    game: Game, method: str, p: tuple[float, ...], config: RegretConfig
) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
    """Play a game from θ = 0 with every exponent, every learning rate and every seed.

    Returns:
      The loss met at each step, an array (exponents, learning rates, seeds, steps), and
      where the method keeps the running maximum, three more like it: Σ v̂^p, Σ‖g_{1:t}‖
      and the tight bound.
    """

    def one(p: jax.Array, learning_rate: jax.Array, data: Any) -> Any:
        def setting(t: Any) -> Setting:
            b1 = config.b1 * config.b1_decay ** (t - 1)
            return Setting(t, learning_rate, p, b1, config.b2)

        def step(carry: Any, inputs: Any) -> Any:
            theta, state, sums = carry
            t, datum = inputs
            now = setting(t)
            loss, g = jax.value_and_grad(game.loss)(theta, datum)
            updates, new_state = METHODS[method](now).update(g, state, theta)
            observed = None
            if (v := optax.tree.get(new_state, "nu_max")) is not None:
                m_before, m = (optax.tree.get(s, "mu") for s in (state, new_state))
                sums, observed = _accumulate(sums, now, g, m_before, m, v)
            return (theta + updates, new_state, sums), (loss, observed)

        theta = jnp.zeros(game.shape)
        times = jnp.arange(1, config.steps + 1, dtype=theta.dtype)
        sums = Sums(theta, theta, jnp.zeros([]))
        carry = (theta, METHODS[method](setting(times[0])).init(theta), sums)
        return lax.scan(step, carry, (times, data))[1]

    with jax.enable_x64(True):
        for axes in ((None, None, 0), (None, 0, None), (0, None, None)):
            one = jax.vmap(one, axes)
        rates = jnp.asarray(config.learning_rates, float)
        return jax.device_get(jax.jit(one)(jnp.asarray(p, float), rates, game.data))


def regret_bound(
    t: np.ndarray,
    sum_of_powers: np.ndarray,
    sum_of_norms: np.ndarray,
    *,
    dimension: int,
    gradient_bound: float,
    learning_rate: float,
    p: float,
    b1: float,
    b2: float,
    b1_decay: float,
) -> np.ndarray:
    r"""Return the theorem's bound on the regret of Padam, with its constants.

    .. math::
        R_T \le \frac{D^2 \sqrt T}{2 α (1-β_1)} \sum_i \hat v_{T,i}^p
        + \frac{D^2 G^{2p} d β_1}{2 α (1-β_1)(1-λ)^2}
        + \frac{α G^{1-2p} \sqrt{1 + \log T}}{(1-β_1)^2 (1-γ) \sqrt{1-β_2}}
          \sum_i \|g_{1:T,i}\|_2, \qquad γ = β_1/\sqrt{β_2} < 1

    Args:
      t: T, the number of losses.
      sum_of_powers: Σ v̂^p over coordinates, after T steps.
      sum_of_norms: Σ ‖g_{1:T,i}‖₂ over coordinates.
      dimension: d.
      gradient_bound: G, the largest element a gradient can have.
      learning_rate: α, in α_t = α/√t.
      p: The exponent of v̂.
      b1: β1, in β1_t = β1 λ^(t-1).
      b2: β2.
      b1_decay: λ.

    Returns:
      The bound, an array like t.

    At d = 1, G = 1, β1 = 0, α = 1, after one gradient of 1: D²/2 · v̂^p + 1/√(1-β2).

    >>> float(regret_bound(1, 0.5, 1.0, dimension=1, gradient_bound=1.0, p=0.5,
    ...     learning_rate=1.0, b1=0.0, b2=0.75, b1_decay=0.5))
    3.0

    References:
      Chen, Zhou, Tang, Yang, Cao and Gu, IJCAI 2020 (arXiv 1806.06763). Reddi, Kale and
      Kumar, ICLR 2018, for p = 1/2.
    """
    D, G = DIAMETER, gradient_bound
    of_distance = D**2 * np.sqrt(t) / (2 * learning_rate * (1 - b1)) * sum_of_powers
    of_momentum = (
        D**2 * G ** (2 * p) * dimension * b1
        / (2 * learning_rate * (1 - b1) * (1 - b1_decay) ** 2)
    )  # fmt: skip
    of_gradients = (
        learning_rate * G ** (1 - 2 * p) * np.sqrt(1 + np.log(t)) * sum_of_norms
        / ((1 - b1) ** 2 * (1 - b1 / np.sqrt(b2)) * np.sqrt(1 - b2))
    )  # fmt: skip
    return of_distance + of_momentum + of_gradients


def checkpoints(steps: int) -> np.ndarray:
    """Return the steps at which regret is taken, evenly spread on a log scale."""
    return np.unique(np.geomspace(10, steps, 8).round().astype(int))


def _until(data: Any, seed: int, steps: int) -> Any:
    """Return the first steps of one seed's data."""
    return jax.tree.map(lambda x: x[seed, :steps], data)


def compare(name: str, game: Game, config: RegretConfig) -> Iterator[dict[str, Any]]:
    """Play a game with each optimizer, and compute its regret and the bounds.

    Yields:
      A record for each optimizer, exponent, learning rate and seed. ``regret``,
      ``bound`` and ``tight_bound`` are lists over the steps ``t``; the bounds are None
      if no theorem gives one. The regret may be larger by up to ``gap``, because the
      best fixed point is found numerically. ``chosen`` marks the learning rate with the
      smallest mean final regret.
    """
    t = checkpoints(config.steps)
    best = np.zeros((config.seeds, len(t)))
    gap = np.zeros_like(best)
    for seed in range(config.seeds):
        point = np.zeros(game.shape)
        for i, steps in enumerate(t):
            seen = _until(game.data, seed, steps)
            point, best[seed, i], gap[seed, i] = game.best(seen, point)

    for method in config.optimizers:
        ps = config.p if method == "padam" else (0.5,) if method == "adam" else (0.0,)
        losses, observed = play(game, method, ps, config)
        regret = losses.cumsum(axis=-1)[..., t - 1] - best
        for i, p in enumerate(ps):
            # NaN would win an argmin; no step can leave the box, so there is none.
            chosen = regret[i, :, :, -1].mean(axis=-1).argmin()
            for j, learning_rate in enumerate(config.learning_rates):
                for seed in range(config.seeds):
                    bound = tight = None
                    if observed is not None:
                        powers, norms, tight = (
                            values[i, j, seed, t - 1] for values in observed
                        )
                        bound = regret_bound(
                            t,
                            powers,
                            norms,
                            dimension=int(np.prod(game.shape)),
                            gradient_bound=game.gradient_bound,
                            learning_rate=learning_rate,
                            p=p,
                            b1=config.b1,
                            b2=config.b2,
                            b1_decay=config.b1_decay,
                        ).tolist()
                        tight = tight.tolist()
                    yield {
                        "game": name,
                        "title": game.title,
                        "optimizer": method,
                        "p": p,
                        "learning_rate": learning_rate,
                        "chosen": bool(j == chosen),
                        "seed": config.seed + seed,
                        "t": t.tolist(),
                        "regret": regret[i, j, seed].tolist(),
                        "gap": gap[seed].tolist(),
                        "bound": bound,
                        "tight_bound": tight,
                    }
