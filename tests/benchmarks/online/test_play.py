"""The games, the players and the bound, against loops, closed forms and scipy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks import run_dir
from benchmarks.commands import regret as command
from benchmarks.errors import UsageError
from benchmarks.online import config as names
from benchmarks.online import examples, games, play
from benchmarks.online.config import RegretConfig
from tests.marks import fast

EXPONENTS = (0.5, 0.25, 0.125, 0.0625, 0.3)
SMALL = RegretConfig(steps=200, seeds=2, p=EXPONENTS, learning_rates=(0.03, 0.3, 3.0))
UNPROJECTED_STEPS = {  # θ_{t+1} - θ_t before projection, from the history of gradients
    "sgd": lambda g, a, p, config: -a / np.sqrt(len(g)) * g[-1],
    "adagrad": lambda g, a, p, config: -a * g[-1] / np.sqrt(np.sum(g**2, axis=0)),
    "adam": lambda g, a, p, config: _moment_step(g, a, p, config, with_max=False),
    "padam": lambda g, a, p, config: _moment_step(g, a, p, config, with_max=True),
}


def _moments(gradients, config, with_max):
    m = v = v_hat = np.zeros_like(gradients[0])
    for t, g in enumerate(gradients, start=1):
        b1 = config.b1 * config.b1_decay ** (t - 1)
        m = b1 * m + (1 - b1) * g
        v = config.b2 * v + (1 - config.b2) * g**2
        v_hat = np.maximum(v_hat, v) if with_max else v
    return m, v_hat


def _moment_step(gradients, learning_rate, p, config, with_max):
    m, v_hat = _moments(gradients, config, with_max)
    return -learning_rate / np.sqrt(len(gradients)) * m / v_hat**p


@pytest.mark.parametrize("method", UNPROJECTED_STEPS)
def test_players_follow_algorithm_1_with_the_rates_of_the_theorem(method):
    config = replace(SMALL, steps=40, seeds=1, learning_rates=(3.0,))
    game = games.linear(config)
    exponents = (0.5, 0.125) if method == "padam" else (0.5,)
    losses, _ = play.play(game, method, exponents, config)
    costs = game.data[0]
    for i, p in enumerate(exponents):
        theta, expected, largest = np.zeros(8), [], 0.0
        for t in range(1, 41):
            expected.append(costs[t - 1] @ theta)
            step = UNPROJECTED_STEPS[method](costs[:t], 3.0, p, config)
            largest = max(largest, np.abs(theta + step).max())
            theta = np.clip(theta + step, -1, 1)
        assert largest > 1  # the box was met
        np.testing.assert_allclose(losses[i, 0, 0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("p", [0.5, 0.125])
def test_what_the_bounds_are_made_of_equals_the_proofs_sums_in_a_loop(p):
    config = replace(SMALL, steps=30, seeds=1, learning_rates=(0.3,))
    game = games.linear(config)
    sums: Any = play.play(game, "padam", (p,), config)[1]
    powers, norms, tight = sums
    costs, expected, previous = game.data[0], 0.0, 0.0
    for t in range(1, 31):
        m_before, _ = _moments(costs[: t - 1], config, True) if t > 1 else (0.0, 0.0)
        m, v_hat = _moments(costs[:t], config, True)
        alpha, b1 = 0.3 / np.sqrt(t), config.b1 * config.b1_decay ** (t - 1)
        a = v_hat**p / (2 * alpha * (1 - b1))
        expected += 4 * np.sum(np.maximum(a - previous, 0))  # D = 2
        expected += 4 * b1 * np.sum(a)
        expected += (
            alpha / (2 * (1 - b1)) * np.sum((m**2 + b1 * m_before**2) / v_hat**p)
        )
        previous = a
        roots = np.linalg.norm(costs[:t], axis=0)
        assert powers[0, 0, 0, t - 1] == pytest.approx(np.sum(v_hat**p), rel=1e-9)
        assert norms[0, 0, 0, t - 1] == pytest.approx(np.sum(roots), rel=1e-9)
        assert tight[0, 0, 0, t - 1] == pytest.approx(expected, rel=1e-9)


def test_bound_has_the_three_terms_of_the_theorem():
    # D = 2, √b2 = 4/5, γ = 1/2, √(1-b2) = 3/5, G^(2p) = G^(1-2p) = 4: by hand, at
    # T = 1 and at T = e³, where √(1+log T) = 2.
    t = np.array([1.0, np.exp(3.0)])
    bound = play.regret_bound(
        t,
        6.0,
        9.0,
        dimension=3,
        gradient_bound=16.0,
        learning_rate=2.0,
        p=0.25,
        b1=0.4,
        b2=0.64,
        b1_decay=0.5,
    )
    np.testing.assert_allclose(
        bound, [10 + 32 + 2000 / 3, 10 * np.exp(1.5) + 32 + 4000 / 3], rtol=1e-12
    )


@pytest.mark.parametrize("b1", [pytest.param(0.0, marks=pytest.mark.slow), 0.9])
@pytest.mark.parametrize(
    ("name", "steps"),
    fast(
        [("linear", 1000), ("breast-cancer", 200), ("sparse", 200), ("digits", 60)],
        ("linear", 1000),
        ("sparse", 200),
    ),
)
def test_regret_is_below_both_bounds_for_every_exponent_and_learning_rate(
    name, steps, b1
):
    config = replace(SMALL, steps=steps, b1=b1, optimizers=("padam",))
    lines = list(play.compare(name, games.GAMES[name](config), config))
    assert len(lines) == len(EXPONENTS) * 3 * 2
    for line in lines:
        largest = np.add(line["regret"], line["gap"])
        assert np.all(largest <= line["tight_bound"]), line
        assert np.all(np.less_equal(line["tight_bound"], line["bound"])), line


@pytest.mark.slow
def test_no_element_of_a_gradient_exceeds_the_bound_on_gradients(x64):
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(0)
    for name, build in games.GAMES.items():
        game = build(replace(SMALL, steps=50, seeds=1))
        data = jax.tree.map(lambda x: x[0], game.data)
        gradient = jax.vmap(jax.grad(game.loss), (None, 0))
        largest = max(
            np.abs(gradient(rng.uniform(-1, 1, game.shape), data)).max()
            for _ in range(20)
        )
        assert 0 < largest <= game.gradient_bound, name


def test_best_point_of_linear_losses_is_the_best_corner():
    game = games.linear(SMALL)
    total = game.data[1].sum(axis=0)
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 8), axis=-1).reshape(-1, 8)
    point, value, gap = game.best(game.data[1], np.zeros(8))
    assert value == pytest.approx((corners @ total).min(), rel=1e-12)
    assert point @ total == pytest.approx(value, rel=1e-12)
    assert gap == 0


def test_best_classifier_cannot_be_improved_by_projected_gradient_descent():
    game = games.breast_cancer(replace(SMALL, steps=100))
    x, labels = (array[0] for array in game.data)
    signs = np.where(labels == 0, 1.0, -1.0)  # class 1 has logit 0

    def total_loss(theta):
        return np.logaddexp(0, -signs * (x @ theta)).sum()

    theta = np.zeros(x.shape[1])
    step = 4 / np.linalg.norm(x, 2) ** 2
    for _ in range(20_000):
        residual = -signs / (1 + np.exp(signs * (x @ theta)))
        theta = np.clip(theta - step * x.T @ residual, -1, 1)
    point, value, gap = game.best((x, labels), np.zeros(game.shape))
    assert value == pytest.approx(total_loss(point[:, 0]), rel=1e-12)
    assert np.abs(point).max() == 1  # the box was met
    assert 0 <= gap < 0.05
    assert value - gap <= total_loss(theta) <= value + 1e-3


def test_chosen_learning_rate_has_the_smallest_mean_regret():
    config = replace(SMALL, optimizers=("sgd", "padam"), p=(0.25,))
    lines = list(play.compare("linear", games.linear(config), config))
    for method in config.optimizers:
        ends = {
            rate: np.mean(
                [
                    line["regret"][-1]
                    for line in lines
                    if (line["optimizer"], line["learning_rate"]) == (method, rate)
                ]
            )
            for rate in config.learning_rates
        }
        chosen = {
            line["learning_rate"]
            for line in lines
            if line["optimizer"] == method and line["chosen"]
        }
        assert chosen == {min(ends, key=ends.get)}


def test_seeds_draw_other_games_and_the_same_seed_the_same():
    first, second = games.linear(SMALL), games.linear(replace(SMALL, seed=1))
    np.testing.assert_array_equal(first.data[1], second.data[0])
    assert not np.array_equal(first.data[0], first.data[1])


def test_counterexample_ends_at_the_best_point_only_with_the_maximum():
    lines = list(examples.counterexample(EXPONENTS))
    assert len(lines) == 2 * len(EXPONENTS)
    for line in lines:
        end = line["x"][-1]
        assert end < -0.9 if line["with_maximum"] else end > 0.9, line


def test_without_the_maximum_the_sign_is_that_of_the_drift_over_a_period():
    # In the steady state v decays from its value after the large gradient by the
    # factor β2 a step, and the drift of a period is -Σ g/v^p.
    exponents = (0.01, 0.05, 0.5)
    v, drift = 0.0, {}
    slopes = [1010.0] + [-10.0] * 100
    for _ in range(50):
        steps = []
        for g in slopes:
            v = 0.99 * v + 0.01 * g**2
            steps.append([-g / v**p for p in exponents])
        drift = dict(zip(exponents, np.sum(steps, axis=0), strict=True))
    assert drift[0.01] < 0 < min(drift[0.05], drift[0.5])
    for line in examples.counterexample(exponents):
        if not line["with_maximum"]:
            moved = line["x"][-10] - line["x"][-20]
            assert np.sign(moved) == np.sign(drift[line["p"]]), line


@pytest.mark.parametrize("p", [0.5, 0.125])
def test_first_periods_of_the_counterexample_are_those_of_a_loop(p):
    for line in examples.counterexample((p,)):
        x = m = v = v_hat = total = 0.0
        path = []
        for t in range(1, 3 * 101 + 1):
            g = 1010.0 if t % 101 == 1 else -10.0
            path.append(x)
            total += g * x + g  # against -1
            m = 0.9 * m + 0.1 * g
            v = 0.99 * v + 0.01 * g**2
            v_hat = max(v_hat, v) if line["with_maximum"] else v
            alpha = 10 * 1010 ** (2 * p - 1) / np.sqrt(t)
            x = np.clip(x - alpha * m / v_hat**p, -1, 1)
        assert line["t"][2] == 3 * 101
        assert line["x"][2] == pytest.approx(np.mean(path[-101:]), rel=1e-8)
        assert line["regret"][2] == pytest.approx(total, rel=1e-8)


def test_phase_transition_has_two_sides_at_a_quarter():
    for line in examples.phase_transition():
        end, p, start = line["path"][-1], line["p"], line["start"]
        assert line["path"][0] == pytest.approx(start, rel=1e-12)
        if line["with_maximum"] and (p > 0.25 or start > 1):
            assert end < 1e-2, line
        elif line["with_maximum"] or p < 0.49:
            assert end == pytest.approx(1, abs=1e-3), line


@pytest.mark.parametrize("with_maximum", [True, False])
def test_paths_of_the_phase_transition_are_those_of_the_map_in_units_of_r(with_maximum):
    # x ← x (1 - 2 v̂^-p), with v̂ = max x² in units of r².
    for line in examples.phase_transition():
        if line["with_maximum"] != with_maximum or line["p"] not in (0.1, 0.3, 0.45):
            continue
        x, largest, path = line["start"], 0.0, []
        for _ in range(50):
            path.append(abs(x))
            largest = max(largest, abs(x)) if with_maximum else abs(x)
            x *= 1 - 2 * largest ** (-2 * line["p"])
        early = [t for t in line["t"] if t <= 50]
        expected = [path[t - 1] for t in early]
        np.testing.assert_allclose(line["path"][: len(early)], expected, rtol=1e-8)


def test_a_run_leaves_records_and_plots(tmp_path):
    out = tmp_path / "run"
    config = replace(
        SMALL,
        games=("linear", "counterexample", "phase-transition"),
        steps=50,
        p=(0.5, 0.125),
        out=out,
    )
    assert command.run(config) == 0
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "header.json",
        "linear.jsonl",
        "counterexample.jsonl",
        "phase-transition.jsonl",
        "regret.png",
        "counterexample.png",
        "phase-transition.png",
    }
    lines = run_dir.read(out / "linear.jsonl")
    # Three without exponents of their own and two exponents of Padam, 3 rates, 2 seeds.
    assert len(lines) == 5 * 3 * 2
    assert sum(line["chosen"] for line in lines) == 5 * 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"p": (0.7,)}, r"--p must be in \(0, 1/2\], got 0.7"),
        ({"p": ()}, "--p takes one or more values, each once, got nothing"),
        ({"optimizers": ("sgd", "sgd")}, "each once, got sgd sgd"),
        ({"learning_rates": (0.0,)}, "--learning-rates must be positive"),
        ({"b2": 1.0}, r"--b2 must be in \(0, 1\), got 1.0"),
        ({"b1": 0.9, "b2": 0.81}, "less than the root of --b2, 0.9, got 0.9"),
        ({"b1_decay": 1.0}, r"--b1-decay must be in \(0, 1\)"),
        ({"steps": 9}, "--steps must be at least 10"),
        ({"seeds": 0}, "--seeds must be at least 1"),
        ({"seed": -1}, "--seed must be in"),
    ],
)
def test_settings_outside_the_theorem_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        RegretConfig(**wrong)


def test_the_names_on_the_command_line_are_those_of_the_tables():
    assert tuple(games.GAMES) == names.GAMES
    assert tuple(examples.EXAMPLES) == names.EXAMPLES
    assert tuple(play.METHODS) == names.METHODS


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "records").touch()
    with pytest.raises(UsageError, match="is not empty"):
        RegretConfig(out=tmp_path)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [({"games": ("digit",)}, "digits"), ({"optimizers": ("padan",)}, "padam")],
)
def test_an_unknown_name_is_refused_with_a_suggestion(wrong, hint, tmp_path):
    with pytest.raises(UsageError, match=f"did you mean {hint}"):
        command.run(RegretConfig(**wrong, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
