"""The first screen says what the verdicts say."""

import math

import pytest
from matplotlib import pyplot as plt

from benchmarks.reporting import claims, overview, page, sources, summary
from benchmarks.reporting.claims import Verdict
from benchmarks.reporting.measures import ACCURACY, PERPLEXITY, Figure
from benchmarks.reporting.plots import sweeps
from benchmarks.reporting.plots.forest import draw_forest
from benchmarks.reporting.statistics import (
    FAILS,
    HOLDS,
    NOT_RUN,
    UNDECIDED,
    Interval,
    Region,
)

MAIN = "Padam ends at least as good as SGD with momentum"
BETTER = Region(0.0, math.inf)


def row(claim=MAIN, verdict=NOT_RUN, scale="small", ends=None, **changes):
    """Make a row of the table of claims; ends: mean, lower and upper end."""
    interval = None if ends is None else Interval(*ends, 3)
    unit = "points" if ends else ""
    made = Verdict(claim, "Gu's slides", "found", verdict, scale=scale)
    made = made._replace(experiment="small-cifar10", unit=unit, interval=interval)
    return made._replace(region=BETTER if ends else None, **changes)


ROWS = [
    row(verdict=FAILS, ends=(-5.0, -7.0, -3.0)),
    row(verdict=UNDECIDED, scale="digits", ends=(-0.4, -1.0, 0.2)),
    row(scale="full, CIFAR-10"),
    row("Adam ends worse", HOLDS, ends=(-8.0, -9.0, -7.0), after_results=True),
    row("R_T falls", HOLDS, "", kind=claims.THEOREM),
    row("few bits", UNDECIDED, kind=claims.PACKAGE),
]


def test_sentences_count_and_name_the_verdicts(tmp_path):
    asked, known, main, scale, unknown = overview.summarize(ROWS, tmp_path)
    assert "whether 2 claims" in asked
    assert "beside 1 theorems" in asked
    assert "of the 4 rows" in known
    assert "3 were run; 1 hold, 1 do not, 1 are undecided" in known
    assert "does not hold on CIFAR-10 in 6 to 8 epochs (-5.00 [-7.00, -3.00]" in main
    assert "is undecided on scikit-learn's digits (-0.40 [-1.00, +0.20]" in main
    assert "was not run on the published CIFAR-10 table" in main
    assert scale == "**Scale**: nothing was trained."
    assert "1 rows were not run" in unknown
    assert "all on 5,000 images of CIFAR-10" in unknown
    assert "digits" not in unknown  # it was run


def cells(text, first):
    (line,) = [x for x in text.splitlines() if x.startswith(f"| {first} ")]
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_a_claim_is_one_row_and_scales_are_columns(tmp_path):
    titles = {"small-cifar10": "small-cifar10: a net, 8 epochs"}
    text = "\n".join(overview.write_grid(ROWS, titles, tmp_path))
    link = "(#small-cifar10-a-net-8-epochs)"
    assert cells(text, "Padam ends") == [
        MAIN,
        f"[✗ does not hold]{link} -5.00 [-7.00, -3.00]",
        f"[? undecided]{link} -0.40 [-1.00, +0.20]",
        "–",
    ]
    # Not asked at the other scales.
    assert cells(text, "Adam ends")[0] == "Adam ends worse †"
    assert cells(text, "Adam ends")[2:] == ["", ""]
    # What shares no scale with others has its scale in a column.
    assert cells(text, "R_T falls")[1:] == ["constructed", f"[✓ checked]{link}"]
    heads = [line for line in text.splitlines() if line.startswith("### ")]
    assert [head[4:10] for head in heads] == ["Gu's s", "Theore", "Claims"]


def test_scales_without_a_common_claim_are_tables_of_their_own(tmp_path):
    rows = [
        row(claim, scale=scale)
        for claim, scales in (("one", "ab"), ("two", "bc"), ("three", "de"))
        for scale in scales
    ]
    text = "\n".join(overview.write_grid([*rows, row("four", scale="f")], {}, tmp_path))
    heads = [line for line in text.splitlines() if line.startswith("| claim")]
    assert heads == [
        "| claim | a | b | c |",
        "| claim | d | e |",
        "| claim | scale | found |",
    ]
    assert cells(text, "two") == ["two", "", "–", "–"]
    assert cells(text, "four") == ["four", "f", "–"]


def test_sections_have_the_rows_that_were_run():
    text = summary.tabulate(ROWS)
    assert cells(text, "R_T falls")[-1] == "checked"
    assert "not run" not in text
    assert summary.tabulate([row()]) == ""


def test_the_forest_has_a_line_for_each_claim(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    far = row("A third", HOLDS, ends=(38.0, 29.0, 47.0))
    draw_forest([*ROWS, far], tmp_path / "claims.png")
    (axes,) = figures[0].axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [MAIN, "Adam ends worse", "A third"]
    drawn = {
        tuple(line.get_xdata()): line.get_marker()
        for line in axes.lines
        if len(line.get_xdata()) < 2 or len(set(line.get_ydata())) == 1
    }
    # Two scales of the main claim, and an arrow for what lies beyond the panel.
    assert {(-7.0, -3.0), (-5.0,), (-1.0, 0.2), (-0.4,), (-9.0, -7.0)} <= set(drawn)
    assert drawn[12.0,] == ">"


def test_without_intervals_there_is_no_forest(tmp_path):
    assert overview.draw([row()], "Gu's slides", tmp_path) == []


def test_the_page_colors_verdicts_and_embeds_images(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    text = "## A: B & C\n\n![x](a.png)\n\n| a | verdict |\n|---|---|\n"
    text += "| b | holds |\n| c | [✗ does not hold](#a-b--c) |\n"
    html = page.write(text, tmp_path)
    assert '<h2 id="a-b--c">' in html
    assert 'src="data:image/png;base64,iVBORw=="' in html
    assert '<td class="holds">holds</td>' in html
    assert 'href="#a-b--c" class="fails">✗ does not hold</a>' in html
    assert '<div class="wide"><table>' in html
    assert 'name="viewport"' in html


def test_every_document_is_among_the_sources():
    text = sources.write_sources()
    missing = sources.write_missing()
    for document in overview.DOCUMENTS:
        assert f"| {document} |" in text
        assert f"| {document} |" in missing


@pytest.mark.parametrize(
    ("measure", "best"),
    [(ACCURACY, [2.0, 8 / 3, 3.0]), (PERPLEXITY, [2.0, 4 / 3, 1.0])],
)
def test_the_budget_is_drawn_as_the_expected_best_of_k(
    tmp_path, monkeypatch, measure, best
):
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    sweeps.draw_budget({"Adam": [3.0, 1.0, 2.0]}, measure, tmp_path / "budget.png")
    (line,) = figures[0].axes[0].lines
    assert list(line.get_xdata()) == [1, 2, 3]
    assert list(line.get_ydata()) == pytest.approx(best)


def test_b0_at_which_all_seeds_diverged_is_a_cross_and_no_point(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    well, lost = Figure(90.0, 1.0, 2), Figure(10.0, 0.0, 2, 2)
    partly = Figure(50.0, 40.0, 2, 1)
    points = {0.1: (lost, lost), 1.0: (well, well), 10.0: (partly, partly)}
    sweeps.draw_against({"SGD": points}, "b0", "", tmp_path / "b0.png")
    line, *_, edge, inner = figures[0].axes[0].lines
    assert math.isnan(line.get_ydata()[0])
    assert list(line.get_ydata()[1:]) == [90.0, 50.0]
    assert (list(edge.get_xdata()), edge.get_marker()) == ([0.1], "x")
    assert (list(inner.get_xdata()), list(inner.get_ydata())) == ([10.0], [50.0])
