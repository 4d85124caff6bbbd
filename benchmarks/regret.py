"""Online convex learning: regret beside its bound, and two examples where p decides.

The setting is that of the paper's theorem: losses arrive one at a time, the step is
that of Algorithm 1 with α_t = α/√t and β1_t = β1 λ^(t-1), without bias correction or ε,
projected onto a box in the metric v̂^p. Regret is the sum of the losses met less that of
the best fixed point of the box. Everything is computed in float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from rich.console import Console
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn import datasets
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks import records
from benchmarks.config import RegretConfig, check_name
from benchmarks.drawings import games
from benchmarks.parallel import Parallel
from padam_optax import (
    moving_average,
    padam,
    running_max,
    scale_by_partial_adaptive,
    square,
)
from padam_optax.projections import box, projected

RADIUS = 1.0
"""The box is [-RADIUS, RADIUS] in each coordinate."""
DIAMETER = 2 * RADIUS


class Game(NamedTuple):
    """A sequence of convex losses for each seed.

    Attributes:
      title: What it is, for plots.
      loss: The loss of parameters at one element of the data.
      data: Arrays with leading axes (seeds, steps).
      shape: That of the parameters.
      gradient_bound: G, which no element of a gradient exceeds, anywhere in the box.
      best: Takes one seed's data up to some step, and where to start a search. Returns
        the best fixed point of the box, the sum of its losses, and by how much at most
        that sum misses the true minimum.
    """

    title: str
    loss: Callable[[jax.Array, Any], jax.Array]
    data: Any
    shape: tuple[int, ...]
    gradient_bound: float
    best: Callable[[Any, np.ndarray], tuple[np.ndarray, float, float]]


def linear(config: RegretConfig) -> Game:
    """Losses c·θ whose noise hides a drift, at scales from 1 down to 1/100.

    In each coordinate c is scale * (noise ± 0.1), the noise uniform on [-1, 1], the
    sign drawn once.
    """
    size = 8
    scales = np.logspace(0, -2, size)
    costs = []
    for rng in _generators(config):
        drift = 0.1 * rng.choice([-1.0, 1.0], size)
        noise = rng.uniform(-1, 1, (config.steps, size))
        costs.append(scales * (noise + drift))

    def best(cost: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float, float]:
        del start
        total = cost.sum(axis=0)
        return -RADIUS * np.sign(total), -RADIUS * float(np.abs(total).sum()), 0.0

    return Game(
        "linear losses, d = 8",
        lambda theta, cost: jnp.sum(cost * theta),
        np.stack(costs),
        (size,),
        1.1,
        best,
    )


def breast_cancer(config: RegretConfig) -> Game:
    """Logistic regression on standardized features: benign or malignant."""
    features, labels = datasets.load_breast_cancer(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    return _classification("breast cancer", features, labels, config)


def digits(config: RegretConfig) -> Game:
    """Logistic regression on 8x8 images of ten digits, pixels in [0, 1]."""
    features, labels = datasets.load_digits(return_X_y=True)
    return _classification("digits", features / 16, labels, config)


def sparse(config: RegretConfig) -> Game:
    """Logistic regression on 200 features of 0 or 1, the k-th present once in k times.

    The labels are drawn from a logistic model with weights of ±1: the rare features
    tell as much as the frequent ones, when they occur.
    """
    size = 200
    examples, labels = [], []
    for rng in _generators(config):
        present = rng.random((config.steps, size)) < 1 / np.arange(1, size + 1)
        weights = rng.choice([-1.0, 1.0], size)
        odds = np.exp(-(present @ weights))
        examples.append(present.astype(float))
        labels.append((rng.random(config.steps) < odds / (1 + odds)).astype(int))
    return _logistic(f"sparse features, d = {size}", np.stack(examples), labels)


def _classification(
    name: str, features: np.ndarray, labels: np.ndarray, config: RegretConfig
) -> Game:
    """Present a data set in random order, over and over, a constant feature added."""
    features = np.column_stack([features, np.ones(len(features))])
    order = []
    for rng in _generators(config):
        passes = -(-config.steps // len(labels))
        rows = [rng.permutation(len(labels)) for _ in range(passes)]
        order.append(np.concatenate(rows)[: config.steps])
    index = np.stack(order)
    return _logistic(name, features[index], labels[index])


def _logistic(name: str, features: np.ndarray, labels: Any) -> Game:
    """Return the game of multinomial logistic regression.

    The last class has logit 0, so that for two classes θ is one vector. An element of
    the gradient is a feature times a difference of probabilities, at most that feature.
    """
    labels = np.asarray(labels)
    classes = int(labels.max()) + 1
    shape = (features.shape[-1], classes - 1)

    def loss(theta: jax.Array, example: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, label = example
        logits = jnp.append(x @ theta, jnp.zeros(1, theta.dtype))
        return optax.softmax_cross_entropy_with_integer_labels(logits, label)

    title = name if "d =" in name else f"{name}, d = {shape[0] * shape[1]}"
    bound = float(np.abs(features).max())
    return Game(title, loss, (features, labels), shape, bound, _best_classifier)


def _best_classifier(
    data: tuple[np.ndarray, np.ndarray], start: np.ndarray
) -> tuple[np.ndarray, float, float]:
    """Minimize the sum of the losses over the box by L-BFGS-B.

    By convexity no point z of the box lies lower than by ∇·(θ - z), so the largest of
    these is how far the sum can be from its minimum.
    """
    x, labels = data
    rows = np.arange(len(labels))

    def mean_loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        logits = np.column_stack([x @ flat.reshape(start.shape), np.zeros(len(x))])
        log_probabilities = log_softmax(logits, axis=1)
        residual = np.exp(log_probabilities)
        residual[rows, labels] -= 1
        gradient = x.T @ residual[:, :-1] / len(x)
        return -log_probabilities[rows, labels].mean(), gradient.ravel()

    with threadpool_limits(1):  # the products are small: sharing them costs far more
        result = minimize(
            mean_loss,
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-RADIUS, RADIUS)] * start.size,
            options={"maxiter": 2000, "maxfun": 4000, "ftol": 1e-10, "gtol": 1e-7},
        )
    value, gradient = mean_loss(result.x)
    gap = gradient @ result.x + RADIUS * np.abs(gradient).sum()
    return result.x.reshape(start.shape), len(x) * value, float(len(x) * gap)


def _generators(config: RegretConfig) -> list[np.random.Generator]:
    return [np.random.default_rng(config.seed + i) for i in range(config.seeds)]


class Setting(NamedTuple):
    """What an optimizer is told at step t; all but b2 are traced.

    Attributes:
      t: The step, from 1, a float.
      learning_rate: α.
      p: The exponent of v̂.
      b1: β1_t.
      b2: β2.
    """

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

# Built anew at each step, with that step's rates: a state does not depend on them.
METHODS: dict[str, Callable[[Setting], optax.GradientTransformation]] = {
    "sgd": lambda now: projected(optax.sgd(now.decayed), _BOX, p=0.0),
    "adagrad": lambda now: projected(
        optax.adagrad(now.learning_rate, 0.0, 0.0), _BOX, p=0.0
    ),
    "adam": lambda now: projected(
        optax.chain(
            scale_by_partial_adaptive(
                now.b1,
                now.b2,
                0.0,
                now.p,
                second_moment=optax.chain(square(), moving_average(now.b2)),
            ),
            optax.scale_by_learning_rate(now.decayed),
        ),
        _BOX,
        p=now.p,
        eps=0.0,
    ),
    "padam": lambda now: projected(
        padam(now.decayed, now.b1, now.b2, 0.0, now.p), _BOX, p=now.p, eps=0.0
    ),
}


class Sums(NamedTuple):
    """What the bounds are made of, up to a step.

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

    Args:
      game: The game.
      method: A key of METHODS.
      p: The exponents.
      config: The settings.

    Returns:
      The loss met at each step, an array (exponents, learning rates, seeds, steps), and
      where the method keeps the running maximum, three more like it: Σ v̂^p,
      Σ‖g_{1:t}‖ and the tight bound.
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
    """Play a game with each optimizer and set its regret beside the bounds.

    Args:
      name: The game's name, for the records.
      game: The game.
      config: The settings.

    Yields:
      A record for each optimizer, exponent, learning rate and seed. ``regret``,
      ``bound`` and ``tight_bound`` are lists over the steps ``t``; the bounds are None
      where no theorem gives one. ``gap`` is by how much the regret can be larger, the
      best fixed point being found by a search. ``chosen`` marks the learning rate with
      the smallest mean regret at the end.
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


PERIOD, LARGE, SMALL = 101, 1010.0, -10.0


def counterexample(p: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    """Play Reddi's game, in which an average of squares forgets what matters.

    The loss is 1010 x once in 101 steps and -10 x otherwise, on [-1, 1]: over a period
    10 x, so -1 is best. Without the maximum v̂ shrinks between two large gradients, and
    the many small steps up outdo the large one down, for p = 1/2 (Adam) as for every p
    above 0.02. Rates: β1 = 0.9, β2 = 0.99 as in the reference, α_t = α/√t with
    α = 10 · 1010^(2p-1), which is α = 10 for gradients of at most 1.

    Args:
      p: The exponents.

    Yields:
      A record for each exponent, with the maximum and without: over the periods that
      end at the steps ``t``, the mean of x; and the ``regret`` so far.

    References:
      Reddi, Kale and Kumar, On the convergence of Adam and beyond, ICLR 2018.
    """
    periods = 2000
    b1, b2 = 0.9, 0.99

    def one(p: jax.Array, method: str) -> jax.Array:
        learning_rate = 10 * LARGE ** (2 * p - 1)

        def step(carry: Any, t: jax.Array) -> Any:
            x, state = carry
            g = jnp.where(t % PERIOD == 1, LARGE, SMALL)
            optimizer = METHODS[method](Setting(t, learning_rate, p, b1, b2))
            updates, state = optimizer.update(g, state, x)
            return (x + updates, state), x

        x, first = jnp.zeros([]), Setting(1.0, learning_rate, p, b1, b2)
        times = jnp.arange(1, periods * PERIOD + 1, dtype=x.dtype)
        return lax.scan(step, (x, METHODS[method](first).init(x)), times)[1]

    end = np.unique(np.geomspace(1, periods, 60).round().astype(int))
    slopes = np.where(np.arange(1, periods * PERIOD + 1) % PERIOD == 1, LARGE, SMALL)
    for method in ("padam", "adam"):
        with jax.enable_x64(True):
            run = jax.jit(jax.vmap(partial(one, method=method)))
            paths = np.asarray(run(jnp.asarray(p, float)))
        regret = np.cumsum(slopes * (paths + 1), axis=1)
        means = paths.reshape(len(p), periods, PERIOD).mean(axis=2)
        for i, exponent in enumerate(p):
            t = end * PERIOD
            yield {
                "game": "counterexample",
                "p": exponent,
                "with_maximum": method == "padam",
                "learning_rate": 10 * LARGE ** (2 * exponent - 1),
                "t": t.tolist(),
                "x": means[i, end - 1].tolist(),
                "regret": regret[i, t - 1].tolist(),
            }


def phase_transition() -> Iterator[dict[str, Any]]:
    """Minimize a parabola with a fixed learning rate, for many p: p = 1/4 divides them.

    On f = λx²/2 with β1 = β2 = 0, x and -x form a cycle at r = (αλ^(1-2p)/2)^(1/(2p)).
    With the maximum, whoever starts within r approaches it from below if p ≤ 1/4 and
    stays there; above 1/4 the first steps lead beyond r, the maximum keeps that, and
    the steps are short enough to converge ever after. Whoever starts beyond r
    converges. Without the maximum the cycle attracts for every p < 1/2, from anywhere.

    Yields:
      A record for each p and each ``start``, with the maximum and without: the
      ``path`` of |x_t| at the steps ``t``, from 1, like the start in units of r.
    """
    steps, curvature, learning_rate = 10_000, 3.0, 0.5
    ps = np.round(np.arange(0.05, 0.505, 0.01), 2)
    starts = np.array([0.1, 0.5, 0.9, 1.1])
    t = np.unique(np.geomspace(1, steps, 40).round().astype(int))
    cycle = (learning_rate * curvature ** (1 - 2 * ps) / 2) ** (1 / (2 * ps))

    def one(p: jax.Array, x: jax.Array, with_maximum: bool) -> jax.Array:
        statistic = [square(), moving_average(0.0)]
        if with_maximum:
            statistic.append(running_max())
        optimizer = optax.chain(
            scale_by_partial_adaptive(
                0.0, 0.0, 0.0, p, second_moment=optax.chain(*statistic)
            ),
            optax.scale_by_learning_rate(learning_rate),
        )

        def step(carry: Any, _: None) -> Any:
            x, state = carry
            updates, state = optimizer.update(curvature * x, state)
            return (x + updates, state), jnp.abs(x)

        return lax.scan(step, (x, optimizer.init(x)), length=steps)[1]

    for with_maximum in (True, False):
        with jax.enable_x64(True):
            run = jax.vmap(partial(one, with_maximum=with_maximum), (None, 0))
            run = jax.jit(jax.vmap(run))
            paths = np.asarray(
                run(jnp.asarray(ps), jnp.asarray(np.outer(cycle, starts)))
            )
        for i, p in enumerate(ps):
            for j, start in enumerate(starts):
                yield {
                    "game": "phase-transition",
                    "p": float(p),
                    "with_maximum": with_maximum,
                    "start": float(start),
                    "t": t.tolist(),
                    "path": (paths[i, j, t - 1] / cycle[i]).tolist(),
                }


GAMES: dict[str, Callable[[RegretConfig], Game]] = {
    "linear": linear,
    "breast-cancer": breast_cancer,
    "digits": digits,
    "sparse": sparse,
}
EXAMPLES: dict[str, Callable[[RegretConfig], Iterator[dict[str, Any]]]] = {
    "counterexample": lambda config: counterexample(config.p),
    "phase-transition": lambda config: phase_transition(),
}


def run(config: RegretConfig) -> int:
    """Play the games, write the records, print the table, draw the plots.

    Returns:
      The exit status, 0.
    """
    for name in config.games:
        check_name("--games", name, (*GAMES, *EXAMPLES))
    for name in config.optimizers:
        check_name("--optimizers", name, METHODS)
    devices = Parallel(count=1).describe()
    folder = records.begin(config.out, "regret", asdict(config), devices, config.seed)

    lines: dict[str, list[dict[str, Any]]] = {}
    for name in tqdm(config.games, unit="game", disable=None):
        lines[name] = []
        if name in GAMES:
            found = compare(name, GAMES[name](config), config)
        else:
            found = EXAMPLES[name](config)
        for record in found:
            records.append(folder / f"{name}.jsonl", record)
            lines[name].append(record)

    console = Console()
    print(f"records: {folder}")
    for name, table, draw in games.pictures(lines):
        if table:
            console.print(table)
        draw(folder / f"{name}.png")
        print(f"plot:    {folder / name}.png")
    return 0
