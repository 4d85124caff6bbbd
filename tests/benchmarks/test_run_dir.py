import dataclasses
import json
import re
import subprocess
import sys

import jax
import pytest

from benchmarks import run_dir
from benchmarks.errors import UsageError
from benchmarks.paths import ROOT
from benchmarks.training import resume
from benchmarks.training.config import TrainConfig


def test_records_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "padam.jsonl"
    written = [{"epoch": 1, "loss": 0.1, "note": "é\n"}, {"epoch": 2, "loss": None}]
    for record in written:
        run_dir.append(path, record)
    assert run_dir.read(path) == written
    assert [json.loads(line) for line in path.read_text().splitlines()] == written


@pytest.mark.parametrize("tail", ['{"epoch": 3}', '{"epoch": 3, "lo', "{"])
def test_line_without_its_end_is_not_read(tmp_path, tail):
    path = tmp_path / "padam.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2}\n' + tail)
    assert run_dir.read(path) == [{"epoch": 1}, {"epoch": 2}]


def test_appending_replaces_a_half_written_line(tmp_path):
    path = tmp_path / "padam.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2, "lo')
    run_dir.append(path, {"epoch": 2, "loss": 0.5})
    assert path.read_text() == '{"epoch": 1}\n{"epoch": 2, "loss": 0.5}\n'


def test_file_of_only_half_a_line_is_empty(tmp_path):
    path = tmp_path / "padam.jsonl"
    path.write_text('{"epo')
    assert run_dir.read(path) == []
    run_dir.append(path, {"epoch": 1})
    assert run_dir.read(path) == [{"epoch": 1}]


def test_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "padam.jsonl"
    path.write_text('{"epoch": 1}\n{"epo\n{"epoch": 3}\n')
    with pytest.raises(ValueError, match=r"padam.jsonl, line 2 is not JSON"):
        run_dir.read(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_number_that_json_lacks_is_refused_and_leaves_no_trace(tmp_path, value):
    path = tmp_path / "padam.jsonl"
    with pytest.raises(ValueError):
        run_dir.append(path, {"loss": value})
    assert not path.exists()


def test_two_runs_of_one_second_get_two_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(run_dir, "RUNS", tmp_path)
    folders = {run_dir.create_folder(None, "digits") for _ in range(5)}
    assert len(folders) == 5
    assert all(folder.is_dir() and folder.parent == tmp_path for folder in folders)


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file/run cannot be created"):
        run_dir.create_folder(tmp_path / "file" / "run", "digits")


def test_header_says_what_a_number_depends_on():
    header = run_dir.header(
        "train", {"platform": "cpu", "kind": "cpu", "count": 1}, seed=7
    )
    assert header["versions"]["jax"] == jax.__version__
    assert set(header["versions"]) >= {"jaxlib", "flax", "optax", "padam-optax"}
    assert "unknown" not in header["versions"].values()
    assert header["python"] == ".".join(map(str, sys.version_info[:3]))
    assert header["seed"] == 7
    assert header["devices"] == {"platform": "cpu", "kind": "cpu", "count": 1}
    json.dumps(header)


def test_header_names_the_commit():
    head = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    if not head:
        pytest.skip("not a git checkout")
    revision = run_dir.header("train", {}, seed=0)["git_revision"]
    assert re.fullmatch(f"{head}( with changes)?", revision)


def test_header_without_git_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert run_dir.header("train", {}, seed=0)["git_revision"] == "unknown"


def test_records_and_reports_need_no_jax():
    program = (
        "import sys, benchmarks.run_dir, benchmarks.reporting.plots.curves;"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_what_did_not_exist_when_a_run_was_made_had_its_default(tmp_path):
    kept = tmp_path / "config.json"
    recipe = {"label": "Padam", "p": 0.125}
    kept.write_text(json.dumps({"epochs": 3, "recipes": {"padam": recipe}}))
    renamed = {"padam": {"label": "Padam (p = 1/8)", "p": 0.125}}
    config = {**dataclasses.asdict(TrainConfig(epochs=3)), "recipes": renamed}
    resume.check_settings(kept, config)
    resume.check_settings(kept, {**config, "diagnostics": True})  # changes no number
    for name, value in (("examples", 100), ("validate", True), ("label_noise", 0.1)):
        with pytest.raises(UsageError, match=f"{name} was .*, is {value}"):
            resume.check_settings(kept, {**config, name: value})
    with pytest.raises(UsageError, match="recipes was"):
        resume.check_settings(kept, {**config, "recipes": {"padam": {"p": 0.25}}})
