"""The program as a user runs it: what it prints, what it leaves, how it refuses."""

import json

import pytest

from benchmarks import data, optimizers, records
from benchmarks.__main__ import main
from tests.benchmarks import tiny_images

pytestmark = pytest.mark.usefixtures("standard_promotion")


def test_a_run_ends_with_table_plot_and_records(tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--epochs", "2", "--width", "2", "--batch-size", "256"]
    status = main(["train", "--out", str(out), *options, "--seed", "3"])
    printed = capsys.readouterr().out
    assert status == 0
    for label in ("SGD", "Adam", "AMSGrad", "Padam", "curves.png"):
        assert label in printed
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    config = json.loads((out / "config.json").read_text())
    assert (config["epochs"], config["seed"]) == (2, 3)
    assert config["recipes"]["padam"]["p"] == 0.125
    header = json.loads((out / "header.json").read_text())
    assert header["seed"] == 3
    for name in ("momentum", "adam", "amsgrad", "padam"):
        lines = records.read(out / f"{name}.jsonl")
        assert [line["epoch"] for line in lines] == [1, 2]


def test_the_same_seed_gives_the_same_records(tmp_path):
    lines = []
    for name in ("a", "b"):
        out = tmp_path / name
        options = ["--epochs", "2", "--width", "2", "--optimizers", "padam"]
        assert main(["train", "--out", str(out), *options]) == 0
        run = records.read(out / "padam.jsonl")
        lines.append([{**line, "seconds": None} for line in run])
    assert lines[0] == lines[1]


def test_a_diverged_run_keeps_its_records_and_the_others_go_on(
    tmp_path, capsys, monkeypatch
):
    row = optimizers.OPTIMIZERS["momentum"]
    bad = row._replace(recipe={**row.recipe, "learning_rate": 1e30})
    monkeypatch.setitem(optimizers.OPTIMIZERS, "momentum", bad)
    out = tmp_path / "run"
    options = ["--epochs", "2", "--width", "2", "--optimizers", "momentum", "adam"]
    assert main(["train", "--out", str(out), *options]) == 1
    assert "momentum ended early: the training loss is" in capsys.readouterr().err
    assert "stopped" in records.read(out / "momentum.jsonl")[-1]
    assert len(records.read(out / "adam.jsonl")) == 2


def test_a_set_prepared_by_tfds_is_trained_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data, "RUNS", tmp_path / "runs")
    tiny_images.prepare(tmp_path / "tfds")
    options = ["--dataset", "tiny_images", "--data-dir", str(tmp_path / "tfds")]
    more = ["--epochs", "1", "--width", "2", "--batch-size", "8"]
    out = tmp_path / "run"
    status = main(
        ["train", *options, *more, "--optimizers", "padam", "--out", str(out)]
    )
    assert status == 0
    assert records.read(out / "padam.jsonl")[0]["step"] == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizers", "padm"], "--optimizers 'padm' does not exist (did you mean"),
        (["--model", "vgg"], "--model 'vgg' does not exist"),
        (["--epochs", "0"], "--epochs must be at least 1, got 0"),
        (["--batch-size", "2000"], "--batch-size must be at most 1437"),
        (
            ["--parallel", "pmap", "--batch-size", "100"],
            "--batch-size must be a multiple of the 8 devices",
        ),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, capsys, options, message):
    out = tmp_path / "run"
    assert main(["train", "--out", str(out), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not out.exists()


def test_the_catalogue_names_every_optimizer_with_formula_and_source(capsys):
    assert main(["list", "optimizers"]) == 0
    printed = capsys.readouterr().out.replace("\n", "")
    for name, row in optimizers.OPTIMIZERS.items():
        assert name in printed
        assert row.formula.split(";")[0] in printed
        assert row.source in printed
