"""A run's files are the same loose and packed, and only whole runs are published."""

import json
import shutil

import pytest

from benchmarks import run_dir, run_files
from benchmarks.__main__ import main
from benchmarks.errors import UsageError
from tests.benchmarks.reporting.test_report import (
    CONFIG,
    HEADER,
    run_lines,
    write,
    write_sweep,
)

RUNS = [
    ("padam", {"p": 0.25}, 7, run_lines(0.1, 0.2, 0.3, 0.5)),
    ("padam", {"p": 0.125}, 7, [{"stopped": "the loss is nan"}]),
]


def contents(folder):
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "elsewhere" / "choice-of-p"
    write_sweep(folder, CONFIG, RUNS)
    return folder


def test_a_published_run_is_one_file_and_comes_back(sweep, tmp_path):
    before = contents(sweep)
    published = run_files.publish(sweep, tmp_path / "results")
    assert published == tmp_path / "results" / "choice-of-p"
    assert [path.name for path in published.iterdir()] == ["records.jsonl"]
    assert run_files.load(published).files == run_files.load(sweep).files
    run_files.restore(published)
    restored = contents(published)
    assert restored.keys() == before.keys()
    for name, content in before.items():
        if name.endswith(".jsonl"):
            assert restored[name] == content
        else:
            assert json.loads(restored[name]) == json.loads(content)


def test_settings_of_a_sweeps_runs_are_stored_as_differences(sweep, tmp_path):
    published = run_files.publish(sweep, tmp_path / "results")
    lines = [
        json.loads(x) for x in (published / "records.jsonl").read_text().splitlines()
    ]
    (first,) = [line for line in lines if line["file"] == "run0/config.json"]
    assert first["changes"] == {"recipes": {"padam": {"label": "Padam"}}}
    assert first["without"] == ["grid"]
    (epoch, *_) = [x for x in lines if x["file"] == "run0/padam-seed7.jsonl"]
    assert epoch == {"file": "run0/padam-seed7.jsonl", **RUNS[0][3][0]}


def test_a_run_is_published_without_what_is_of_the_machine(tmp_path):
    run, results = tmp_path / "elsewhere" / "small-cifar10", tmp_path / "results"
    config = {**CONFIG, "out": "/home/me/run", "data_dir": "/data"}
    write_sweep(run, config, RUNS)
    lines = run_dir.read(run / "sweep.jsonl")
    lines[0]["worker"] = "my-host 1"
    run_dir.write_lines(run / "sweep.jsonl", lines)
    header = {
        **HEADER,
        "kind": "sweep",
        "command": ["sweep", "--data-dir", "/data", "--out=/x", "--resume"],
    }
    run_dir.write_json(run / "header.json", {**header, "resumed": [header]})
    (run / "checkpoints" / "1").mkdir(parents=True)
    (run / "checkpoints" / "1" / "tree.json").write_text("{}")
    stale = results / "small-cifar10" / "run9" / "adam-seed0.jsonl"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}\n")  # of a run that this one replaces
    published = run_files.publish(run, results)
    assert [path.name for path in published.iterdir()] == ["records.jsonl"]
    found = run_files.load(published)
    assert found.config["out"] is found.config["data_dir"] is None
    assert found.header["command"] == ["sweep"]
    assert found.header["resumed"][0]["command"] == ["sweep"]
    text = (published / "records.jsonl").read_text()
    assert not any(word in text for word in ("my-host", "/home", "/data", "/x"))


def test_runs_that_have_not_ended_are_left_out(sweep, tmp_path):
    lines = run_dir.read(sweep / "sweep.jsonl")
    lines[1]["state"] = "running"
    run_dir.write_lines(sweep / "sweep.jsonl", lines)
    found = run_files.load(run_files.publish(sweep, tmp_path / "results"))
    assert {path.split("/")[0] for path in found.files if "/" in path} == {"run0"}
    assert len(found.lines("sweep")) == 2
    run = tmp_path / "digits"
    recipes = {"padam": {}, "sgd": {}}
    half = {"padam-seed7": run_lines(0.5, 0.6, 0.7, 0.8), "sgd-seed7": run_lines(0.5)}
    write(run, {**CONFIG, "recipes": recipes}, **half)
    found = run_files.load(run_files.publish(run, tmp_path / "results"))
    assert found.lines("padam-seed7") == half["padam-seed7"]
    assert not found.lines("sgd-seed7")


def half_train(folder):
    write(folder, CONFIG, **{"padam-seed7": run_lines(0.5)})


def half_regret(folder):
    write(folder, {"games": ["linear", "sparse"]}, kind="regret", linear=[{"t": [1]}])


def cut_off(folder):
    write(folder, {"games": ["linear"]}, kind="regret", linear=[{"t": [1]}])


def damaged(folder):
    half_train(folder)
    (folder / "padam-seed7.jsonl").write_text("{\n")


def foreign(folder):
    write(folder, {"a": 1}, kind="holiday", diary=[{"day": 1}])


def not_json(folder):
    folder.mkdir(parents=True)
    (folder / "header.json").write_text("{")


def no_object(folder):
    half_train(folder)
    (folder / "header.json").write_text("[]")


def no_settings(folder):
    write(folder, {"x": 1}, **{"padam-seed7": run_lines(0.5)})


def no_records(folder):
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_text("[1]\n")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_object, "holds no run: header.json is not that of a run"),
        (no_settings, "has no finished run yet"),
        (no_records, "records.jsonl has a line that is no record"),
        (half_train, "has no finished run yet"),
        (half_regret, "is unfinished, it has no records of sparse"),
        (cut_off, "is unfinished, it has no end"),
        (damaged, "cannot be read: .*line 1 is not JSON"),
        (foreign, "'holiday' wrote it, not one of train, sweep"),
        (not_json, "cannot be read: header.json is not JSON"),
        (lambda folder: folder.mkdir(parents=True), "holds no run"),
        (lambda folder: None, "holds no run"),
    ],
)
def test_what_is_half_or_foreign_leaves_nothing_behind(tmp_path, make, message):
    run, results = tmp_path / "elsewhere" / "run", tmp_path / "results"
    results.mkdir()
    make(run)
    with pytest.raises(UsageError, match=message) as caught:
        run_files.publish(run, results)
    assert str(run) in str(caught.value)
    assert not list(results.iterdir())


def test_a_refused_run_leaves_the_one_of_its_name(sweep, tmp_path):
    results = tmp_path / "results"
    before = contents(run_files.publish(sweep, results))
    shutil.rmtree(sweep)
    half_train(sweep)
    with pytest.raises(UsageError):
        run_files.publish(sweep, results)
    assert contents(results / "choice-of-p") == before


def test_a_full_disk_leaves_nothing_behind(sweep, tmp_path, monkeypatch):
    def fail(path, lines):
        path.with_suffix(".tmp").write_text("{")
        raise UsageError(f"{path} cannot be written.")

    monkeypatch.setattr(run_dir, "write_lines", fail)
    with pytest.raises(UsageError, match="cannot be written"):
        run_files.publish(sweep, tmp_path / "results")
    assert not (tmp_path / "results" / "choice-of-p").exists()


def test_records_that_cannot_be_shown_are_not_added(sweep, tmp_path, capsys):
    """They are whole, but not what the command writes; nor is what is named before."""
    results, run = tmp_path / "results", tmp_path / "odd"
    results.mkdir()
    write(run, {}, kind="speed", speed=[{"made": "elsewhere"}])
    header = {**HEADER, "kind": "speed", "finished": "2026-01-02"}
    run_dir.write_json(run / "header.json", header)
    options = ["--results", str(results), "--out", str(tmp_path), "--readme", "None"]
    assert main(["report", *options, "--add", str(sweep), str(run)]) == 2
    error = capsys.readouterr().err
    assert f"{run} holds records that the report cannot show" in error
    assert not list(results.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
@pytest.mark.parametrize("name", ["regret", "landscape"])
def test_a_part_of_a_command_can_be_reported(tmp_path, name):
    """One game or one surface, through the commands as a user gives them."""
    results, run = tmp_path / "results", tmp_path / "run" / name
    results.mkdir()
    chosen = {
        "regret": ["--games", "linear", "--steps", "30", "--seeds", "2"],
        "landscape": ["--surfaces", "beale", "--steps", "20"],
    }
    assert main([name, *chosen[name], "--out", str(run)]) == 0
    options = ["--results", str(results), "--out", str(tmp_path), "--readme", "None"]
    assert main(["report", *options, "--add", str(run)]) == 0
    text = (tmp_path / "REPORT.md").read_text()
    assert {"regret": "Regret", "landscape": "Trajectories"}[name] in text
