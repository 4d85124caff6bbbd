"""The command as a user runs it, and what the report makes of its records."""

import json

import pytest

from benchmarks import run_dir, run_files
from benchmarks.__main__ import main
from benchmarks.commands import theory
from benchmarks.errors import UsageError
from benchmarks.reporting import sections
from benchmarks.reporting.claims import SEEDS, THEOREM, studies
from benchmarks.reporting.plots import theory as drawings
from benchmarks.theory.config import TheoryConfig
from benchmarks.theory.plans import PLANS


def test_every_study_has_a_plan_a_judge_a_table_and_a_plot():
    for parts in (theory.STUDIES, studies.JUDGES, drawings.TABLES, drawings.DRAWINGS):
        assert [*parts] == [*PLANS]


def test_a_study_leaves_records_a_table_and_a_plot(tmp_path, capsys):
    out = tmp_path / "theory"
    assert main(["theory", "--studies", "step-size", "--out", str(out)]) == 0
    assert "ravine" in capsys.readouterr().out
    lines = run_dir.read(out / "step-size.jsonl")
    assert [line["surface"] for line in lines[::40]] == [
        "ravine",
        "beale",
        "rosenbrock",
    ]
    assert (out / "step-size.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "header.json").read_text())["seed"] == 0

    plots = tmp_path / "plots"
    plots.mkdir()
    text = sections.describe_studies(run_files.load(out), plots)
    assert "](plots/theory-step-size.png)" in text
    assert (plots / "theory-step-size.png").exists()
    assert "Least squares" not in text
    rows = [*studies.judge_studies(tmp_path)]
    assert [row.verdict for row in rows] == ["not run"] * 4 + ["holds"] * 2
    # Exact on a quadratic; elsewhere a claim that runs may or may not support.
    assert [row.kind for row in rows[-2:]] == [THEOREM, SEEDS]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"studies": ("least-square",)}, "least-squares"),
        ({"studies": ()}, "--studies .* nothing"),
        ({"studies": ("nonconvex",) * 2}, "--studies .* nonconvex nonconvex"),
        ({"seeds": 0}, "--seeds .* 0"),
    ],
)
def test_settings_that_cannot_be_run_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        TheoryConfig(**wrong)


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "kept").touch()
    for out in (tmp_path, tmp_path / "kept"):
        with pytest.raises(UsageError, match="--out"):
            TheoryConfig(out=out)
