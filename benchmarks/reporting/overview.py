"""The first page of the report: a summary, and the tables of claims."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from benchmarks import run_files
from benchmarks.reporting import claims
from benchmarks.reporting import results as outcomes
from benchmarks.reporting.claims import Verdict
from benchmarks.reporting.plots.forest import draw_forest
from benchmarks.reporting.statistics import FAILS, HOLDS, NOT_RUN, UNDECIDED
from benchmarks.reporting.tables import as_markdown
from benchmarks.reporting.views import Plot, write_plot

DOCUMENTS = (
    "Gu's slides",
    "Southampton's report",
    "Oxford's slides",
    "Buffalo's slides",
)
MARKS = {HOLDS: "✓", FAILS: "✗", UNDECIDED: "?", NOT_RUN: "–"}
_THEOREM_WORDS = {HOLDS: "checked", FAILS: "violated"}
_CONSTRUCTED = "constructed"
# How the units of the intervals are written in a cell; points are not.
_UNITS = {"points": "", "% (100 ln of the ratio)": " %"}
_WORDS = {
    "subset": "5,000 images of CIFAR-10",
    "small images": "CIFAR-10 at 16x16 pixels",
    "small": "CIFAR-10 in 6 to 8 epochs",
    "digits": "scikit-learn's digits",
    "full, CIFAR-10": "the published CIFAR-10 table",
    "full, CIFAR-100": "the published CIFAR-100 table",
}
_SCALES = {
    "subset": "5,000 CIFAR-10 images of 16x16 pixels, 100 epochs, tuned",
    "small images": "CIFAR-10 at 16x16 pixels, 50 epochs",
    "small": "CIFAR-10, or a text, for 3 to 8 epochs",
    "digits": "scikit-learn's digits, 100 epochs",
    "full, CIFAR-10": "the published table",
    "full, CIFAR-100": "the published table",
    "tuned": "a text, tuned on validation",
    _CONSTRUCTED: "games, surfaces and problems made for the purpose",
}


class FirstScreen(NamedTuple):
    """The summary and the plots at the top of the report, quoted in README."""

    sentences: Sequence[str]
    plots: Sequence[Plot]


def anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    kept = (c for c in title.lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def summarize(judged: Sequence[Verdict], results: Path) -> list[str]:
    """Summarize the question, the findings, their scale, and what is unknown."""
    sources = [row for row in judged if row.kind == claims.SEEDS]
    count = Counter(row.verdict for row in sources)
    others = Counter(row.kind for row in judged)
    run = len(sources) - count[NOT_RUN]
    return [
        f"**Asked**: whether {len({row.claim for row in sources})} claims of four "
        "documents hold (Gu's slides on Padam, a report from Southampton that "
        "reproduced it, lectures of Oxford and of Buffalo), beside "
        f"{others[claims.THEOREM]} theorems and formulas that are checked in code and "
        f"{others[claims.PACKAGE]} claims and questions of this package.",
        f"**Known**: of the {len(sources)} rows about the sources' claims, one for "
        f"each claim and scale, {run} were run; {count[HOLDS]} hold, {count[FAILS]} "
        f"do not, {count[UNDECIDED]} are undecided by their 95 % intervals.",
        f"**The main claim**: {_say_main(judged)}.",
        f"**Scale**: {_say_scale(results)}.",
        f"**Not known**: {_say_unknown(sources)}.",
    ]


def _say_main(judged: Sequence[Verdict]) -> str:
    claim = "Padam ends at least as good as SGD with momentum"
    rows = [row for row in judged if row.claim == claim]
    said = [
        f"{words} on "
        + _join([_word(row) + _bracket(row) for row in rows if row.verdict == verdict])
        for verdict, words in _SAID.items()
        if any(row.verdict == verdict for row in rows)
    ]
    text = f"that {claim} " + "; it ".join(said)
    # What else the records say of the two that differ.
    quarter = _find(judged, "Padam with p = 1/4 ends at least as good")
    if quarter is not None:
        text += f". With p = 1/4 it {_SAID[quarter.verdict]} on {_word(quarter)}"
        text += _bracket(quarter)
    uncorrected = _find(judged, "At p = 1/8 the correction 'none' ends like")
    if uncorrected is not None:
        text += (
            ". Without the authors' bias correction, which is a hidden warm-up, the "
            f"accuracy of Padam ends higher by{_bracket(uncorrected, '')} on "
            f"{_word(uncorrected)}"
        )
    return text


def _find(judged: Sequence[Verdict], start: str) -> Verdict | None:
    found = (row for row in judged if row.interval and row.claim.startswith(start))
    return next(found, None)


_SAID = {
    HOLDS: "holds",
    FAILS: "does not hold",
    UNDECIDED: "is undecided",
    NOT_RUN: "was not run",
}


def _word(row: Verdict) -> str:
    return _WORDS.get(_scale(row), _scale(row))


def _bracket(row: Verdict, brackets: str = "()") -> str:
    if row.interval is None:
        return ""
    return f" {brackets[:1]}{row.interval.write()}{brackets[1:]}"


def _join(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _say_scale(results: Path) -> str:
    runs, seconds, models, longest, full = 0, 0.0, [], 0, False
    kinds: set[str] = set()
    for folder in sorted(filter(run_files.is_run, results.iterdir())):
        files = run_files.load(folder)
        if files.kind not in ("train", "sweep"):
            continue
        outcome = outcomes.interpret(files)
        kinds.add(outcome.header["devices"]["kind"].replace("cpu", "a CPU"))
        runs += len(outcome.runs)
        seconds += sum(line["seconds"] for run in outcome.runs for line in run.lines)
        models.append(outcome.config["model"])
        if outcome.config["dataset"] != "digits":
            longest = max(longest, outcome.config["epochs"])
        full = full or folder.name.startswith("slides-")
    if not runs:
        return "nothing was trained"
    text = (
        f"{runs} training runs of {len(models)} experiments took {seconds / 3600:.1f} "
        f"hours on {_join(sorted(kinds))}, with the networks "
        f"{_join(sorted(set(models)))}, {longest} epochs at most on anything but "
        "scikit-learn's digits"
    )
    return text if full else f"{text}; none has the size of the published tables"


def _say_unknown(sources: Sequence[Verdict]) -> str:
    missing = [row for row in sources if row.verdict == NOT_RUN]
    run = {_word(row) for row in sources if row.verdict != NOT_RUN}
    scales = [s for s in _WORDS.values() if s not in run]
    text = f"{len(missing)} rows were not run"
    if missing and scales:
        text += f", among them all on {_join(scales)}"
    return (
        f"{text}; larger networks, ImageNet, the best dependence on the "
        "dimension and a theory of generalization are "
        "[in the documents, not here](#in-the-seeds-not-here)"
    )


def draw(judged: Sequence[Verdict], document: str, plots: Path) -> list[Plot]:
    """Draw the intervals of one document's claims, or of one kind, if there are any."""
    path = plots / f"claims-{anchor(document).removeprefix('claims-of-')}.png"
    if not draw_forest(_rows_of(judged, document), path):
        return []
    name = "This package" if document == claims.PACKAGE else document
    caption = f"{name}: paired differences, one line per claim. {_HOW_DRAWN}"
    return [Plot(path, caption)]


_HOW_DRAWN = (
    "Points: means over the common seeds, lines: 95 % t-intervals, arrows: beyond the "
    "panel. A claim is true in the green region, whose edge is 0 or the margin: it "
    "holds if the whole interval lies in it, and does not if none of it does; claims "
    "that are decided together need more."
)


def _rows_of(judged: Sequence[Verdict], document: str) -> list[Verdict]:
    """Return the claims of a document, or all of a kind."""
    return [
        row
        for row in judged
        if row.kind == document
        or (row.kind == claims.SEEDS and row.source.startswith(document))
    ]


def write_grid(
    judged: Sequence[Verdict], titles: Mapping[str, str], out: Path
) -> list[str]:
    """Write tables of the claims by document, one row per claim, one column per scale.

    Verdicts link to the sections of their experiments, whose titles are given.
    """
    parts = []
    for document in (*DOCUMENTS, claims.THEOREM, claims.PACKAGE):
        rows = _rows_of(judged, document)
        if not rows:
            continue
        words = _THEOREM_WORDS if document == claims.THEOREM else {}
        parts.append(f"### {document[0].upper()}{document[1:]}")
        parts += [as_markdown(table) for table in _tables(rows, titles, words)]
        # The plot of the first document stands above all tables.
        if document not in (DOCUMENTS[0], claims.THEOREM):
            drawn = draw(judged, document, out / "plots")
            parts += [write_plot(plot, out) for plot in drawn]
    return parts


def _tables(
    rows: Sequence[Verdict], titles: Mapping[str, str], words: Mapping[str, str]
) -> Iterator[Table]:
    """Make a table for each set of scales that share claims, and one for the rest."""
    groups: list[set[str]] = []
    for claim in dict.fromkeys(row.claim for row in rows):
        scales = {_scale(row) for row in rows if row.claim == claim}
        shared = [group for group in groups if group & scales]
        groups = [group for group in groups if not group & scales]
        groups.append(scales.union(*shared))
    for group in sorted(groups, key=lambda group: -len(group)):
        same = [row for row in rows if _scale(row) in group]
        if len(group) > 1:
            yield _grid(same, titles, words)
    table = Table("claim", "scale", "found")
    for row in rows:
        if {_scale(row)} in groups:
            mark = " †" * row.after_results
            cell = _cell(row, titles, words)
            table.add_row(_escape(row.claim) + mark, _scale(row), cell)
    if table.row_count:
        yield table


def write_legend(judged: Sequence[Verdict]) -> str:
    """Explain how to read the tables of claims."""
    scales = dict.fromkeys(_scale(row) for row in judged)
    known = "; ".join(f"*{s}*: {_SCALES[s]}" for s in scales if s in _SCALES)
    return (
        "✓ holds, ✗ does not hold, ? undecided, – not run; empty where it is not "
        "asked. Behind it the mean paired difference and its 95 % interval, in points "
        "of accuracy if there is no unit, positive if what the claim names first is "
        "better. Each leads to its section, which has the figures. † written when the "
        f"records already existed. {known}."
    )


def _scale(row: Verdict) -> str:
    return row.scale or _CONSTRUCTED


def _grid(
    rows: Sequence[Verdict],
    titles: Mapping[str, str],
    words: Mapping[str, str],
) -> Table:
    scales = list(dict.fromkeys(_scale(row) for row in rows))
    table = Table("claim", *scales)
    for claim in dict.fromkeys(row.claim for row in rows):
        same = [row for row in rows if row.claim == claim]
        mark = " †" * any(row.after_results for row in same)
        cells = (
            ", ".join(_cell(row, titles, words) for row in same if _scale(row) == s)
            for s in scales
        )
        table.add_row(_escape(claim) + mark, *cells)
    return table


def _escape(text: str) -> str:
    """Escape brackets, which Rich takes for markup."""
    return re.sub(r"\[", r"\\[", text)


def _cell(row: Verdict, titles: Mapping[str, str], words: Mapping[str, str]) -> str:
    if row.verdict == NOT_RUN:
        return MARKS[NOT_RUN]
    text = f"{MARKS[row.verdict]} {words.get(row.verdict, row.verdict)}"
    if row.experiment in titles:
        text = f"\\[{text}](#{anchor(titles[row.experiment])})"
    ends = row.interval
    if ends is None:
        return text
    unit = _UNITS.get(row.unit, f" {row.unit}")
    places = 3 if row.unit == "nats" else 2
    written = re.sub(r", n = \d+$", "", ends.write(places))
    return f"{text} {_escape(written)}{unit}"
