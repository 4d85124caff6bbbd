import re

import pytest
from matplotlib import pyplot as plt
from rich.console import Console

from benchmarks.reporting import measures
from benchmarks.reporting.plots import curves as drawings


def lines(count, accuracy=lambda epoch: epoch / 100):
    return [
        {
            "epoch": epoch,
            "train_loss": 2.0 / epoch,
            "test_accuracy": accuracy(epoch),
            "seconds": 0.5,
        }
        for epoch in range(1, count + 1)
    ]


def rows(runs, epochs):
    console = Console(width=80)
    with console.capture() as capture:
        console.print(drawings.table(runs, epochs, "a title"))
    _, body = re.split("─+", capture.get())
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    return [re.split(" {2,}", line) for line in lines]


def test_table_shows_accuracy_at_each_quarter():
    assert rows({"SGD + momentum": [lines(40)]}, epochs=40) == [
        ["SGD + momentum", "0.0500", "10.00", "20.00", "30.00", "40.00", "0.50"]
    ]


def test_a_quarter_is_the_last_epoch_that_ends_within_it():
    [[_, _, *accuracies, _]] = rows({"Padam": [lines(6)]}, epochs=6)
    assert accuracies == ["1.00", "3.00", "4.00", "6.00"]


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_each_epoch_has_one_column(epochs):
    [[_, _, *accuracies, _]] = rows({"Padam": [lines(epochs)]}, epochs)
    assert accuracies == [f"{epoch}.00" for epoch in range(1, epochs + 1)]


def test_run_that_ended_early_has_dashes():
    assert rows({"Padam": [lines(2)], "Adam": [[]]}, epochs=4) == [
        ["Padam", "1.0000", "1.00", "2.00", "-", "-", "0.50"],
        ["Adam", "-", "-", "-", "-", "-", "-"],
    ]


def test_several_seeds_are_shown_as_mean_and_deviation():
    runs = {"Padam": [lines(4), lines(4, lambda epoch: (epoch + 2) / 100)]}
    [[_, loss, *accuracies, _]] = rows(runs, epochs=4)
    # Two values that differ by 2: the sample deviation is √2.
    assert accuracies == ["2.00±1.41", "3.00±1.41", "4.00±1.41", "5.00±1.41"]
    assert loss == "0.5000"


def test_where_one_seed_ended_early_there_is_no_mean():
    runs = {"Padam": [lines(4), lines(2)]}
    [[_, _, *accuracies, _]] = rows(runs, epochs=4)
    assert accuracies == ["1.00±0.00", "2.00±0.00", "-", "-"]


def test_lines_of_several_seeds_are_means_with_a_band(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    runs = {"Padam": [lines(3), lines(3, lambda epoch: (epoch + 4) / 100)]}
    drawings.draw_curves(runs, tmp_path / "curves.png", "a title")
    _, error = figures[0].axes
    assert list(error.lines[0].get_ydata()) == pytest.approx([97, 96, 95])
    ends = error.collections[0].get_paths()[0].get_extents()
    assert (ends.ymin, ends.ymax) == pytest.approx((93, 99))


def test_panels_show_train_loss_and_test_error(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    path = tmp_path / "curves.png"
    runs = {"Padam": [lines(3)], "Adam": [lines(3)]}
    drawings.draw_curves(runs, path, "a title")
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    loss, error = figures[0].axes
    assert loss.get_xlabel() == error.get_xlabel() == "epoch"
    assert [line.get_label() for line in loss.lines] == ["Padam", "Adam"]
    assert list(loss.lines[0].get_xdata()) == [1, 2, 3]
    assert list(loss.lines[0].get_ydata()) == pytest.approx([2, 1, 2 / 3])
    assert list(error.lines[0].get_ydata()) == pytest.approx([99, 98, 97])
    assert len({line.get_color() for line in error.lines}) == 2


def test_a_line_ends_where_a_run_has_diverged(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    runs = {"Padam": [lines(5), lines(5)], "Adam": [lines(5), lines(2)]}
    drawings.draw_curves(runs, tmp_path / "curves.png", "a title")
    loss, _ = figures[0].axes
    padam, adam, cross = loss.lines
    assert list(padam.get_xdata()) == [1, 2, 3, 4, 5]
    assert list(adam.get_xdata()) == [1, 2]
    assert (cross.get_marker(), cross.get_color()) == ("x", adam.get_color())
    assert list(cross.get_xdata()) == [3]


def test_milestones_are_marked(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    path, accuracy = tmp_path / "curves.png", measures.ACCURACY
    drawings.draw_curves({"Padam": [lines(5)]}, path, "", accuracy, [1.5, 4.0])
    for axes in figures[0].axes:
        assert [line.get_xdata()[0] for line in axes.lines[1:]] == [1.5, 4.0]


def test_runs_without_an_epoch_still_make_a_plot(tmp_path):
    drawings.draw_curves({"Padam": [[]]}, tmp_path / "curves.png", "a title")
    assert (tmp_path / "curves.png").stat().st_size > 0
