"""The surfaces, the descents and the choice, against loops and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageSequence

from benchmarks import run_dir
from benchmarks.commands import landscape as command
from benchmarks.errors import UsageError
from benchmarks.landscape import descend, surfaces
from benchmarks.landscape.config import LandscapeConfig
from benchmarks.landscape.surfaces import SURFACES
from tests import reference

SMALL = LandscapeConfig(
    surfaces=("saddle", "noisy"),
    optimizers=("sgd", "padam-1/8"),
    learning_rates=(0.01, 0.1, 1e3),
    steps=20,
    seeds=2,
)


def _slope(surface, x, y, h=1e-5):
    f = surface.function
    return np.array([f(x + h, y) - f(x - h, y), f(x, y + h) - f(x, y - h)]) / (2 * h)


def _curvatures(surface, x, y, h=1e-4):
    columns = [
        (_slope(surface, x + dx, y + dy) - _slope(surface, x - dx, y - dy)) / (2 * h)
        for dx, dy in ((h, 0), (0, h))
    ]
    return np.linalg.eigvalsh(np.stack(columns))


@pytest.mark.parametrize("name", SURFACES)
def test_minima_are_flat_curved_upwards_and_the_lowest_of_the_window(name):
    surface = SURFACES[name]
    panel = surfaces.panel(surface)
    assert panel.heights.min() >= 0
    assert panel.heights.shape == (len(panel.y), len(panel.x))
    for point in surface.minima:
        assert surface.function(*point) == pytest.approx(surface.lowest, abs=1e-12)
        np.testing.assert_allclose(_slope(surface, *point), 0, atol=1e-7)
        assert _curvatures(surface, *point).min() > 0
        left, right, bottom, top = surface.window
        assert left < point[0] < right
        assert bottom < point[1] < top


def test_surfaces_have_the_values_known_of_them():
    assert SURFACES["beale"].function(0.0, 0.0) == pytest.approx(14.203125)
    assert SURFACES["rosenbrock"].function(-1.2, 1.0) == pytest.approx(24.2)


def test_ravine_has_condition_number_100_and_the_saddle_a_falling_direction():
    low, high = _curvatures(SURFACES["ravine"], 0.3, 0.1)
    assert high / low == pytest.approx(100, rel=1e-4)
    np.testing.assert_allclose(
        _curvatures(SURFACES["saddle"], 0.0, 0.0), [-1, 1], rtol=1e-4
    )


def test_gradient_descent_in_the_ravine_is_its_geometric_sequence():
    rates = (0.003, 0.015)
    paths, losses = descend.descend(
        SURFACES["ravine"], descend.find("sgd")[1], rates, [0], 30
    )
    assert paths.shape == (2, 1, 31, 2)
    k = np.arange(31)
    for i, rate in enumerate(rates):
        x, y = -2.0 * (1 - rate) ** k, 0.4 * (1 - 100 * rate) ** k
        np.testing.assert_allclose(paths[i, 0, :, 0], x, rtol=1e-12)
        np.testing.assert_allclose(paths[i, 0, :, 1], y, rtol=1e-12)
        np.testing.assert_allclose(losses[i, 0], (x**2 + 100 * y**2) / 2, rtol=1e-12)


@pytest.mark.parametrize(("name", "p"), [("padam-1/4", 0.25), ("padam-1/8", 0.125)])
def test_padam_in_the_ravine_is_algorithm_1_in_a_loop(name, p):
    paths, _ = descend.descend(
        SURFACES["ravine"], descend.find(name)[1], [0.1], [0], 15
    )
    expected = reference.descend(
        reference.padam,
        lambda x, t: np.array([1.0, 100.0]) * x,
        np.array([-2.0, 0.4]),
        15,
        learning_rate=0.1,
        p=p,
    )
    np.testing.assert_allclose(paths[0, 0], expected, rtol=1e-10)


# After one step from the gradient (-2, 40), with the builders' defaults.
@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("sgd", [2.0, -40.0]),
        ("momentum", [2.0, -40.0]),
        ("nesterov", [1.9 * 2, 1.9 * -40]),  # g + 0.9 m
        ("adagrad", [1.0, -1.0]),
        ("rmsprop", [10**0.5, -(10**0.5)]),  # √(1-0.9) is what it divides by
        # √ε g / √(0.1 g² + ε): a thousandth of RMSProp's at the first step.
        ("adadelta", [1e-3 * 10**0.5, -1e-3 * 10**0.5]),
        ("adam", [1.0, -1.0]),
        ("amsgrad", [1.0, -1.0]),
        ("padam-1/4", [0.1 * 2**0.5 / 1e-3**0.25, -0.1 * 40**0.5 / 1e-3**0.25]),
        ("padam-1/8", [0.1 * 2**0.75 / 1e-3**0.125, -0.1 * 40**0.75 / 1e-3**0.125]),
    ],
)
def test_each_name_takes_the_first_step_of_its_optimizer(
    name, step, standard_promotion
):
    paths, _ = descend.descend(
        SURFACES["ravine"], descend.find(name)[1], [1e-3], [0], 1
    )
    np.testing.assert_allclose(
        paths[0, 0, 1] - paths[0, 0, 0], 1e-3 * np.array(step), rtol=1e-5
    )


def test_noise_is_standard_normal_and_the_same_for_every_optimizer_but_not_seed():
    surface = SURFACES["noisy"]

    def noise(name, rate):
        paths, _ = descend.descend(
            surface, descend.find(name)[1], [rate], range(50), 40
        )
        x, y = np.moveaxis(paths[0], -1, 0)
        gradient = np.stack([x / 10, 4 * y], axis=-1)
        steps = -np.diff(paths[0], axis=1) / rate
        if name == "momentum":  # its step is g + 0.9 of the step before
            steps[:, 1:] -= 0.9 * steps[:, :-1].copy()
        return steps - gradient[:, :-1]

    draws = noise("sgd", 0.01)
    np.testing.assert_allclose(noise("sgd", 0.1), draws, atol=1e-10)
    np.testing.assert_allclose(noise("momentum", 0.01), draws, atol=1e-10)
    assert abs(draws.mean()) < 0.06  # four deviations of 4000 draws' mean
    assert abs(draws.std() - 1) < 0.045
    flat = draws.reshape(-1)
    assert len(np.unique(flat)) == len(flat)


def test_choice_rewards_speed_and_excludes_what_diverges():
    fast = [1.0, 1e-3, 1e-3, 1e-3]
    slow = [1.0, 0.9, 0.8, 1e-4]  # lowest in the end
    lost = [1.0, 1e-9, 1e-9, np.inf]
    assert descend.choose(np.array([[slow], [fast], [lost]])) == 1
    assert descend.choose(np.array([[lost], [lost]])) is None
    # Over the seeds the mean counts: one that fails undoes one that is perfect.
    mixed = [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]
    assert descend.choose(np.array([mixed, [fast, fast]])) == 1


def test_below_a_millionth_of_the_first_loss_the_smaller_rate_is_as_good():
    losses = np.array([[[10.0, 1e-30, 0.0]], [[10.0, 0.0, 0.0]]])
    assert descend.choose(losses) == 0


def test_records_hold_every_rate_and_the_path_of_the_chosen():
    lines = list(descend.compare("noisy", SURFACES["noisy"], SMALL))
    assert len(lines) == 2 * 3
    for line in lines:
        assert len(line["final_losses"]) == 2
        if line["learning_rate"] == 1e3 and line["optimizer"] == "sgd":
            assert not line["chosen"]
    chosen = [line for line in lines if line["chosen"]]
    assert [line["optimizer"] for line in chosen] == ["sgd", "padam-1/8"]
    for line in chosen:
        assert line["path"][0] == [-4.0, 1.0]
        assert len(line["path"]) == len(line["losses"]) == 21
        first_loss = 16 / 20 + 2
        assert line["losses"][0] == pytest.approx(first_loss)
        # The last tenth of 20 steps: two points.
        mean = np.mean(line["losses"][-2:])
        assert np.mean(line["final_losses"]) == pytest.approx(mean)


def test_without_noise_one_seed_is_enough():
    line = next(descend.compare("saddle", SURFACES["saddle"], SMALL))
    assert line["seeds"] == [0]


def test_a_run_leaves_records_a_plot_and_a_moving_picture(tmp_path):
    out = tmp_path / "run"
    assert command.run(replace(SMALL, out=out)) == 0
    assert len(run_dir.read(out / "saddle.jsonl")) == 6
    with Image.open(out / "landscape.png") as image:
        assert min(image.size) > 300
    with Image.open(out / "landscape.gif") as image:
        assert len(list(ImageSequence.Iterator(image))) > 10


def test_a_run_that_diverges_everywhere_is_still_drawn(tmp_path):
    out = tmp_path / "run"
    config = replace(SMALL, surfaces=("saddle",), learning_rates=(1e3,), gif=False)
    config = replace(config, optimizers=("sgd",), out=out)
    assert command.run(config) == 0
    assert (out / "landscape.png").exists()
    assert not (out / "landscape.gif").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"surfaces": ()}, "--surfaces takes one or more values"),
        ({"optimizers": ("sgd", "sgd")}, "each once, got sgd sgd"),
        ({"learning_rates": (-1.0,)}, "--learning-rates must be positive, got -1.0"),
        ({"steps": 9}, "--steps must be at least 10, got 9"),
        ({"seeds": 0}, "--seeds must be at least 1, got 0"),
        ({"seed": 2**32}, "--seed must be in"),
        ({"surfaces": ("beal",)}, "--surfaces 'beal'.*did you mean beale"),
        ({"optimizers": ("adams",)}, "--optimizers 'adams'.*did you mean adam"),
    ],
)
def test_settings_that_cannot_be_drawn_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        LandscapeConfig(**wrong)


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "records").touch()
    with pytest.raises(UsageError, match="is not empty"):
        LandscapeConfig(out=tmp_path)
