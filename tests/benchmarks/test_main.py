"""The program as a user runs it: what it prints, what it leaves, how it refuses."""

import json
import statistics

import pytest

from benchmarks import optimizers, run_dir
from benchmarks.__main__ import main
from benchmarks.data import cache
from benchmarks.reporting.plots import curves
from tests.helpers import tiny_images

pytestmark = pytest.mark.usefixtures("standard_promotion")

NETWORK = "--model mlp --width 4 --devices 1"
SMALL = f"--epochs 2 --batch-size 256 {NETWORK}"


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave out what takes longer than the training."""
    monkeypatch.setattr(curves, "draw_curves", lambda *_: None)


def test_a_run_ends_with_table_plot_and_records(tmp_path, capsys):
    out = tmp_path / "run"
    options = SMALL.split()
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
        lines = run_dir.read(out / f"{name}-seed3.jsonl")
        assert [line["epoch"] for line in lines] == [1, 2]


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_the_same_seed_gives_the_same_records(tmp_path):
    lines = []
    for name in ("a", "b"):
        out = tmp_path / name
        small = SMALL.split()
        assert main(["train", "--out", str(out), *small, "--optimizers", "padam"]) == 0
        run = run_dir.read(out / "padam-seed0.jsonl")
        lines.append([{**line, "seconds": None} for line in run])
    assert lines[0] == lines[1]


@pytest.mark.usefixtures("no_pictures")
def test_a_diverged_run_keeps_its_records_and_the_others_go_on(
    tmp_path, capsys, monkeypatch
):
    row = optimizers.OPTIMIZERS["momentum"]
    bad = row._replace(recipe={**row.recipe, "learning_rate": 1e30})
    monkeypatch.setitem(optimizers.OPTIMIZERS, "momentum", bad)
    out = tmp_path / "run"
    options = SMALL.split()
    options += ["--optimizers", "momentum", "adam"]
    assert main(["train", "--out", str(out), *options]) == 1
    assert (
        "momentum, seed 0, ended early: the training loss is" in capsys.readouterr().err
    )
    assert "stopped" in run_dir.read(out / "momentum-seed0.jsonl")[-1]
    assert len(run_dir.read(out / "adam-seed0.jsonl")) == 2


@pytest.mark.usefixtures("no_pictures")
def test_a_set_prepared_by_tfds_is_trained_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cache, "RUNS", tmp_path / "runs")
    tiny_images.prepare(tmp_path / "tfds")
    options = ["--dataset", "tiny_images", "--data-dir", str(tmp_path / "tfds")]
    more = ["--epochs", "1", "--model", "mlp", "--width", "4", "--batch-size", "8"]
    out = tmp_path / "run"
    status = main(
        ["train", *options, *more, "--optimizers", "padam", "--out", str(out)]
    )
    assert status == 0
    assert run_dir.read(out / "padam-seed0.jsonl")[0]["step"] == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizers", "padm"], "--optimizers 'padm' does not exist (did you mean"),
        (["--model", "vgg"], "--model 'vgg' does not exist"),
        (["--epochs", "0"], "--epochs must be at least 1, got 0"),
        (["--batch-size", "2000"], "--batch-size must be at most 1437"),
        (
            ["--parallel", "pmap", "--batch-size", "100"],
            "--batch-size must be a multiple of 8 for 8 devices, got 100",
        ),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, capsys, options, message):
    out = tmp_path / "run"
    assert main(["train", *options, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("", "digits"),
        ("optimizers", "padamw"),
        ("models", "resnet18"),
        ("initializers", "he-normal"),
        ("datasets", "tiny_shakespeare"),
    ],
)
def test_list_prints_what_can_be_named(capsys, what, expected):
    assert main(["list", *what.split()]) == 0
    assert expected in capsys.readouterr().out.split()


@pytest.mark.usefixtures("no_pictures")
def test_event_files_are_written_for_tensorboard(tmp_path):
    out = tmp_path / "run"
    options = [*SMALL.split(), "--tensorboard"]
    more = ["--optimizers", "padam", "--out", str(out)]
    assert main(["train", *options, *more]) == 0
    (file,) = (out / "tensorboard" / "padam-seed0").iterdir()
    written = file.read_bytes()
    for name in (b"test_accuracy", b"train_loss", b"learning_rate"):
        assert written.count(bytes([10, len(name)]) + name) == 2  # a field of its own


@pytest.mark.slow
def test_a_profile_says_what_an_epoch_adds_to_its_steps(tmp_path, capsys):
    out = tmp_path / "profile"
    options = [*NETWORK.split(), "--optimizers", "padam", "--profile"]
    assert main(["train", *options, "--batch-size", "512", "--out", str(out)]) == 0
    assert "data and bookkeeping add" in capsys.readouterr().out
    (line,) = run_dir.read(out / "profile.jsonl")
    parts = {part: statistics.median(times) for part, times in line["seconds"].items()}
    expected = (parts["epoch"] + parts["record"]) / parts["bare"] - 1
    assert line["overhead"] == pytest.approx(expected)
    assert line["steps"] == 2
    assert any((out / "trace").rglob("*.xplane.pb"))


def test_nothing_to_prepare_is_a_mistake(capsys):
    assert main(["prepare"]) == 2
    assert "one or more of cifar10, cifar100" in capsys.readouterr().err


@pytest.mark.slow
def test_a_sweep_takes_its_grid_in_parts(tmp_path, capsys):
    grid = ["--grid", "p=0.25,0.125", "--grid", "learning_rate=0.1"]
    options = ["--optimizers", "padam", "--epochs", "1", "--model", "logistic"]
    out = tmp_path / "sweep"
    more = ["--batch-size", "512", "--devices", "1", "--out", str(out)]
    assert main(["sweep", "digits", *grid, *options, *more]) == 0
    lines = run_dir.read(out / "sweep.jsonl")
    assert [line["settings"] for line in lines] == [
        {"p": 0.25, "learning_rate": 0.1},
        {"p": 0.125, "learning_rate": 0.1},
    ]
    printed = capsys.readouterr().out
    assert "0.125" in printed


def test_a_sweep_begins_from_the_grid_of_its_experiment(tmp_path, capsys):
    options = ["--data-dir", str(tmp_path), "--out", str(tmp_path / "sweep")]
    # Its data set is not there, but its grid would be refused first.
    assert main(["sweep", "choice-of-p", *options, "--optimizers", "momentum"]) == 2
    assert "--grid p: momentum has no such setting" in capsys.readouterr().err
    assert main(["sweep", "choice-of-p", *options]) == 2
    assert "cifar10 is not prepared" in capsys.readouterr().err
