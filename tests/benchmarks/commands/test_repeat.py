"""The settings of an earlier run, taken up by --from; help in groups."""

import dataclasses
import json
import re

import pytest

from benchmarks import run_dir, run_files
from benchmarks.__main__ import COMMANDS, main
from benchmarks.__main__ import _parse as parse
from benchmarks.commands.groups import Grouped, GroupedSweep
from benchmarks.experiments import EXPERIMENTS
from benchmarks.paths import ROOT
from benchmarks.sweep.config import SweepConfig
from benchmarks.training.config import TrainConfig


def write(folder, kind, config):
    folder.mkdir()
    run_dir.write_json(folder / "config.json", config)
    run_dir.write_json(folder / "header.json", {"kind": kind})
    return folder


def test_a_run_is_repeated_with_the_options_given(tmp_path):
    config = TrainConfig(
        model="mlp", epochs=3, milestones=(0.5,), recipe=("p=0.25",), data_dir=tmp_path
    )
    run = write(tmp_path / "run", "train", dataclasses.asdict(config))
    assert parse(["train", "--from", str(run)]) == config
    path = str(run / "config.json")
    changed = parse(["train", f"--from={path}", "--epochs", "5"])
    assert changed == dataclasses.replace(config, epochs=5)


def test_a_published_sweep_is_repeated():
    folder = ROOT / "benchmarks" / "results" / "p-and-learning-rate"
    found = parse(["sweep", "--from", str(folder)])
    written = run_files.load(folder).config
    assert found.train.optimizers == tuple(written["optimizers"])
    names = [setting.partition("=")[0] for setting in found.grid]
    assert ["optimizer", *names, "seed"] == list(written["grid"])


def test_a_search_and_one_of_its_runs_are_repeated(tmp_path):
    train = TrainConfig(model="mlp", optimizers=("adam",))
    given = ("learning_rate=1e-4:1:log", "batch_size=32:64")
    config = SweepConfig(train, search=given, trials=7, sampler="qmc", pruner="asha")
    about = {"grid": {"optimizer": ["adam"], "seed": [0]}}
    searched = {"search": given, "trials": 7, "sampler": "qmc", "pruner": "asha"}
    written = {**dataclasses.asdict(train), **about, **searched}
    folder = write(tmp_path / "sweep", "sweep", written)
    found = parse(["sweep", "--from", str(folder), "--study", "sweep"])
    assert dataclasses.replace(found, study="sweep") == config
    run = write(tmp_path / "adam-trial0", "sweep", dataclasses.asdict(train))
    assert parse(["train", "--from", str(run)]) == train


def test_a_search_replaces_the_grid_of_an_experiment():
    assert parse(["sweep", "choice-of-p"]).grid
    options = ["--search", "p=0.1:0.5", "--search", "learning_rate=0.01:1:log"]
    found = parse(["sweep", "choice-of-p", *options])
    assert found.search == ("p=0.1:0.5", "learning_rate=0.01:1:log")
    assert (found.grid, found.tune, found.study) == ((), None, "choice-of-p")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep", "--from", "run"], "is a run of train, not of sweep"),
        (["train", "digits", "--from", "run"], "both set the options"),
        (["train", "--from"], "--from needs the folder of a run"),
        (["train", "--from", "nowhere"], "nowhere holds no run"),
    ],
)
def test_what_cannot_be_repeated_is_refused(
    tmp_path, monkeypatch, capsys, arguments, message
):
    write(tmp_path / "run", "train", dataclasses.asdict(TrainConfig()))
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("setting", [{"epochs": "3"}, {"optimizers": 3}])
def test_settings_of_the_wrong_type_are_refused(tmp_path, capsys, setting):
    run = write(tmp_path / "run", "train", setting)
    assert main(["train", "--from", str(run)]) == 2
    error = capsys.readouterr().err
    assert re.match("error: --(epochs must be an int|from: config.json has a s)", error)


def test_a_file_that_has_changed_is_told(tmp_path, capsys):
    own = {"math:hypot": {"file": "math.py", "sha256": "of another"}}
    config = json.loads(json.dumps(dataclasses.asdict(TrainConfig()), default=str))
    run = write(tmp_path / "run", "train", {**config, "own": own})
    parse(["train", "--from", str(run)])
    assert "math.py of math:hypot has changed since" in capsys.readouterr().err


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_groups_hold_all_options(name):
    config = EXPERIMENTS[name].config
    assert Grouped.split(config).merge() == config
    sweep = SweepConfig(config, finals=0)
    assert GroupedSweep.split(sweep).merge() == sweep


def test_a_sweep_is_called_after_its_experiment_or_what_it_trains():
    assert parse(["sweep", "correction"]).study == "correction"
    own = ["sweep", "--data", "sets/x.npz", "--model", "my.net:Net", "--finals", "0"]
    assert parse(own).study == "x.npz-my.net_Net"
    assert parse([*own, "--study", "mine"]).study == "mine"


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_help_has_groups(capsys, command):
    with pytest.raises(SystemExit):
        parse([command, "--help"])
    printed = capsys.readouterr().out
    for group in ("data", "model", "optimization", "devices", "checkpoints"):
        assert f"{group} options" in printed
    assert "--from RUN" in printed


def test_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("padam-optax ")
    assert "compare" in COMMANDS
