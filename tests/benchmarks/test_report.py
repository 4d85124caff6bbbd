"""The report says what the records say, and says how they came about."""

import json
import re
import subprocess
import sys

import pytest

from benchmarks import records, report
from benchmarks.__main__ import main
from benchmarks.config import ROOT

HEADER = {
    "started": "2026-01-02T03:04:05+00:00",
    "command": ["train", "digits"],
    "seed": 7,
    "git_revision": "0123456789abcdef with changes",
    "cpu_count": 2,
    "devices": {"platform": "cpu", "kind": "cpu", "count": 1, "processes": 1},
    "versions": {"jax": "0.1.2"},
}


def write(folder, config, **files):
    folder.mkdir(parents=True)
    records.write_json(folder / "config.json", config)
    records.write_json(folder / "header.json", HEADER)
    for name, lines in files.items():
        for line in lines:
            records.append(folder / f"{name}.jsonl", line)


def run_lines(*accuracies):
    return [
        {"epoch": i, "train_loss": 1 / i, "test_accuracy": a, "seconds": 1.0}
        for i, a in enumerate(accuracies, start=1)
    ]


@pytest.fixture
def results(tmp_path):
    results = tmp_path / "results"
    config = {"model": "vgg-small", "dataset": "digits", "epochs": 4, "seeds": 2}
    recipes = {"padam": {"label": "Padam"}, "sgd": {"label": "SGD"}}
    write(
        results / "digits",
        {**config, "recipes": recipes},
        **{
            "padam-seed7": run_lines(0.5, 0.6, 0.7, 0.8),
            "padam-seed8": run_lines(0.7, 0.8, 0.9, 1.0),
            "sgd-seed7": run_lines(0.25),
            "sgd-seed8": [*run_lines(0.5), {"stopped": "nan"}],
        },
    )
    write(
        results / "choice-of-p",
        {},
        sweep=[
            {"optimizer": "padam", "settings": {"p": p}, "test_accuracy": accuracy}
            for p, accuracy in ((0.25, 0.5), (0.25, 0.7), (0.125, 0.9), (0.125, None))
        ],
    )
    times = {"tree": "leaf-8", "leaves": 1, "numbers": 8, "state_bytes_per_number": 8.0}
    write(
        results / "speed",
        {},
        speed=[
            {**times, "optimizer": "adam", "seconds": [0.001, 0.002, 0.004]},
            {**times, "optimizer": "padam", "seconds": [0.002, 0.003, 0.004]},
        ],
    )
    return results


def rows(text, first):
    """Find the cells of a table's rows by the first of them."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_tables_show_means_deviations_and_what_diverged(results, tmp_path):
    assert main(["report", "--results", str(results), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "REPORT.md").read_text()
    # Two seeds that differ by 20 points: the sample deviation is 14.14.
    expected = ["60.00±14.14", "70.00±14.14", "80.00±14.14", "90.00±14.14"]
    assert rows(text, "Padam") == [["Padam", "0.2500", *expected, "1.00"]]
    assert rows(text, "SGD") == [
        ["SGD", "1.0000", "37.50±17.68", "-", "-", "-", "1.00"]
    ]
    swept, timed = rows(text, "padam")[:-1], rows(text, "padam")[-1]
    assert swept == [
        ["padam", "0.25", "60.00±14.14", "2"],
        ["padam", "0.125", "90.00", "2, 1 diverged"],
    ]
    assert timed[:3] == ["padam", "3", "1.50"]


def test_every_section_says_how_its_numbers_came_about(results, tmp_path):
    sections = report.build(results, tmp_path / "plots")
    # In the order of the list of experiments; the others come last.
    assert [s.title.split(":")[0] for s in sections] == [
        "digits",
        "choice-of-p",
        "The speed of a step",
    ]
    for section in sections:
        assert "`python -m benchmarks train digits`" in section.text
        assert "1 x cpu, 2 cores; jax 0.1.2" in section.text
        assert "commit 0123456789 with changes; 2026-01-02" in section.text
    assert "2 seeds from 7" in sections[0].text
    assert "Which p?" in sections[1].text  # the question of the experiment


def test_contents_lead_to_the_sections(results, tmp_path):
    assert main(["report", "--results", str(results), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "REPORT.md").read_text()
    page = (tmp_path / "report.html").read_text()
    anchors = re.findall(r"^\* \[.*\]\(#(.*)\)$", text, re.MULTILINE)
    assert anchors[0] == "digits-vgg-small-on-digits-4-epochs"
    assert len(anchors) == 3
    for anchor in anchors:
        assert f'id="{anchor}"' in page


def test_the_page_needs_no_other_file(results, tmp_path):
    assert main(["report", "--results", str(results), "--out", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 2
    assert all(source.startswith("data:image/png;base64,iVBOR") for source in sources)


def test_records_that_cannot_be_read_are_named(results, tmp_path, capsys):
    (results / "speed" / "config.json").write_text("{")
    options = ["--results", str(results), "--out", str(tmp_path)]
    assert main(["report", *options]) == 2
    assert re.search(r"error: .*speed cannot be read", capsys.readouterr().err)


def test_it_is_written_without_jax(results, tmp_path):
    program = (
        "import sys; from pathlib import Path; from benchmarks.report import build;"
        f"build(Path({str(results)!r}), Path({str(tmp_path / 'plots')!r}));"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_committed_report_is_that_of_the_committed_results(tmp_path):
    folder = ROOT / "benchmarks"
    options = ["--results", str(folder / "results"), "--out", str(tmp_path)]
    assert main(["report", *options]) == 0
    assert (tmp_path / "REPORT.md").read_text() == (folder / "REPORT.md").read_text()
    for path in folder.glob("results/*/config.json"):
        assert "/tmp" not in path.read_text()
        json.loads(path.read_text())
