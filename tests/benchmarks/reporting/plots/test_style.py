"""A color means the same in every plot."""

import pytest
from matplotlib.colors import rgb_to_hsv, to_rgb

from benchmarks.optimizers import OPTIMIZERS
from benchmarks.reporting.plots import style


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SGD + momentum", "momentum"),
        ("Adam, learning rate = 0.01", "Adam"),
        ("AMSGrad", "Padam, p = 1/2"),
        ("AMSGrad, p = 1/2", "p = 1/2"),
        ("Padam", "Padam, learning rate = 0.001, p = 1/8"),
        ("Padam 1/4", "padam p=1/4"),
        ("Padam, p = 0.25", "Padam, p = 1/4"),
        ("SGD, 1/b0", "sgd"),
    ],
)
def test_the_same_optimizer_has_one_color(one, other):
    assert style.color(one) == style.color(other)


def test_the_compared_optimizers_have_colors_of_their_own():
    names = ("sgd", "momentum", "nesterov", "adam", "amsgrad", "padam", "adamw")
    names += ("yogi", "adabelief", "lion", "muon", "rmsprop", "adagrad", "adadelta")
    names += ("padam-p0.25", "padam-p0.0625")
    colors = {style.color(OPTIMIZERS[name].label) for name in names}
    assert len(colors) == len(names)


def test_colors_of_p_are_ordered():
    colors = [style.color_of_p(p) for p in (0.5, 0.4, 0.3, 0.25, 0.2, 0.125, 0.0625)]
    hues = [rgb_to_hsv(to_rgb(color))[0] for color in colors]
    brightness = [
        sum(w * x for w, x in zip((0.2, 0.7, 0.1), to_rgb(c), strict=True))
        for c in colors
    ]
    assert hues == sorted(hues, reverse=True)
    assert brightness == sorted(brightness)


def test_lines_of_one_color_differ_in_their_dashes():
    labels = ("Padam", "Padam, bias correction = none", "Padam, p = 1/8", "Adam")
    looks = style.styles(labels)
    assert len({look["color"] for look in looks.values()}) == 2
    dashes = [look["dashes"] for look in looks.values()]
    assert len(set(dashes[:3])) == 3
    assert dashes[3] == dashes[0]


def test_many_lines_of_a_single_optimizer_differ_in_color():
    labels = [f"SGD + momentum, schedule = {x}" for x in "abcdef"]
    looks = style.styles(labels)
    assert len({look["color"] for look in looks.values()}) == 6
