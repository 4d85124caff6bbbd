"""What becomes of a run's folder when the run is taken up again."""

import errno
import json
import os

import pytest

from benchmarks import run_dir
from benchmarks.errors import UsageError
from benchmarks.training import resume

CONFIG = {"dataset": "digits", "epochs": 3, "workers": 8, "recipes": {"padam": 0.125}}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_keep_drops_what_will_be_written_again(tmp_path):
    path = tmp_path / "padam.jsonl"
    write(path, *({"epoch": epoch, "loss": 0.1 * epoch} for epoch in range(1, 6)))
    first = path.read_text().splitlines(keepends=True)
    run_dir.keep(path, lambda record: record["epoch"] <= 3)
    assert path.read_text() == "".join(first[:3])
    assert [child.name for child in tmp_path.iterdir()] == ["padam.jsonl"]


def test_keep_drops_a_half_written_line(tmp_path):
    path = tmp_path / "padam.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2, "lo')
    run_dir.keep(path, lambda record: True)
    assert path.read_text() == '{"epoch": 1}\n'


def test_keep_of_records_that_are_not_there_does_nothing(tmp_path):
    run_dir.keep(tmp_path / "padam.jsonl", lambda record: True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "value", [0.1, 1e-300, 2.7538265228271483, 0.30000000000000004, 1 / 3]
)
def test_keep_changes_no_number(tmp_path, value):
    path = tmp_path / "padam.jsonl"
    run_dir.append(path, {"epoch": 1, "loss": value, "note": "é"})
    before = path.read_bytes()
    run_dir.keep(path, lambda record: True)
    assert path.read_bytes() == before
    assert lines(path)[0]["loss"] == value


def test_new_folder_gets_the_settings(tmp_path):
    folder = resume.open_run(tmp_path / "a" / "run", "digits", CONFIG, resume=True)
    assert folder == tmp_path / "a" / "run"
    assert json.loads((folder / "config.json").read_text()) == CONFIG


def test_same_settings_go_on_in_the_same_folder(tmp_path):
    folder = resume.open_run(tmp_path / "run", "digits", CONFIG, resume=True)
    (folder / "padam.jsonl").write_text('{"epoch": 1}\n')
    before = (folder / "config.json").read_bytes()
    assert resume.open_run(folder, "digits", CONFIG, resume=True) == folder
    assert (folder / "config.json").read_bytes() == before
    assert (folder / "padam.jsonl").read_text() == '{"epoch": 1}\n'


def test_tuples_and_paths_are_the_same_settings_as_when_they_were_read_back(tmp_path):
    config = {**CONFIG, "milestones": (0.3, 0.6), "extra": tmp_path}
    folder = resume.open_run(tmp_path / "run", "digits", config, resume=True)
    assert resume.open_run(folder, "digits", config, resume=True) == folder


def test_what_changes_no_number_may_differ(tmp_path):
    folder = resume.open_run(tmp_path / "run", "digits", CONFIG, resume=True)
    other = {**CONFIG, "workers": 2, "keep": 5, "parallel": "pmap", "out": "elsewhere"}
    assert resume.open_run(folder, "digits", other, resume=True) == folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 4}, "epochs was 3, is 4"),
        ({"dataset": "mnist"}, "dataset was digits, is mnist"),
        ({"recipes": {"padam": 0.5}}, "recipes was {'padam': 0.125}, is {'padam': 0."),
        ({"new": 1}, "new was None, is 1"),
        ({"epochs": 4, "seed": 1}, "epochs was 3, is 4; seed was 0, is 1"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, changes, message):
    folder = resume.open_run(tmp_path / "run", "digits", CONFIG, resume=True)
    with pytest.raises(UsageError) as caught:
        resume.open_run(folder, "digits", {**CONFIG, **changes}, resume=True)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)
    assert json.loads((folder / "config.json").read_text()) == CONFIG


def test_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "holiday.txt").touch()
    with pytest.raises(UsageError, match=r"holds no run \(there is no config.json\)"):
        resume.open_run(tmp_path, "digits", CONFIG, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]


def test_settings_that_were_cut_short_by_a_kill_are_written_anew(tmp_path):
    (tmp_path / "config.tmp").write_text('{"dataset": "di')
    assert resume.open_run(tmp_path, "digits", CONFIG, resume=True) == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


@pytest.mark.parametrize("content", ['{"dataset": "di', "[]"])
def test_damaged_settings_are_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match="config.json is damaged .* another --out"):
        resume.open_run(tmp_path, "digits", CONFIG, resume=True)


def test_damaged_header_is_named(tmp_path):
    (tmp_path / "header.json").touch()
    with pytest.raises(UsageError, match="header.json is damaged .* another --out"):
        run_dir.write_header(tmp_path, {"started": "now"})


def test_headers_of_later_processes_are_written_beside_the_first(tmp_path):
    for started in ("one", "two", "three"):
        run_dir.write_header(tmp_path, {"started": started, "devices": {"count": 1}})
    header = json.loads((tmp_path / "header.json").read_text())
    assert header["started"] == "one"
    assert [later["started"] for later in header["resumed"]] == ["two", "three"]
    assert header["resumed"][0]["devices"] == {"count": 1}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.EISDIR, "(Is a directory); name a folder that you may write to."),
        (errno.EACCES, "(Permission denied); name a folder that you may write to."),
        (
            errno.ENOSPC,
            "(No space left on device); what was written before is complete: free some "
            "disk space, then resume with --resume.",
        ),
    ],
)
def test_record_that_cannot_be_written_is_one_line(
    tmp_path, monkeypatch, code, message
):
    path = tmp_path / "padam.jsonl"

    def fail(*arguments):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(type(path), "open", fail)
    with pytest.raises(UsageError) as caught:
        run_dir.append(path, {"epoch": 2})
    assert str(caught.value) == f"{path} cannot be written {message}"


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda path: run_dir.keep(path, lambda record: True),
        lambda path: run_dir.write_json(path, {"epoch": 2}),
    ],
    ids=["keep", "write_json"],
)
def test_file_that_cannot_be_replaced_stays(tmp_path, rewrite):
    path = tmp_path / "padam.jsonl"
    write(path, {"epoch": 1})
    (tmp_path / "padam.tmp").mkdir()  # where the new one would be written
    with pytest.raises(UsageError, match="padam.jsonl cannot be written"):
        rewrite(path)
    assert lines(path) == [{"epoch": 1}]
