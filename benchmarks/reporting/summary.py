"""The rules by which claims are judged, and the verdicts of each section."""

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from benchmarks.experiments import CHANGES
from benchmarks.reporting import claims, statistics
from benchmarks.reporting.claims import Verdict
from benchmarks.reporting.statistics import FAILS, HOLDS, NOT_RUN, UNDECIDED
from benchmarks.reporting.tables import as_markdown, right

_RULE = (
    "Two optimizers are compared seed by seed: runs with the same seed have the same "
    "initial weights and batches. Shown is the mean paired difference with its 95 % "
    "t-interval, positive if the one that the claim names first is better. A claim "
    "*holds* if the whole interval lies where the claim is true, *does not hold* if it "
    "lies where the claim is false, and is *undecided* otherwise or with one seed. "
    "At least as good and alike have a margin: 0.5 points of accuracy, 1 % of "
    "perplexity, 0.01 nats of loss. Claims that share a question in one experiment are "
    "decided together (Holm, 5 %). A run that diverged counts as guessing. "
    "Rows marked † were written when their records already existed. Theorems are "
    "proved; that they hold here shows that the code is right, not that Padam is good, "
    "so they are *checked* or *violated*, and counted apart. Train accuracy in the "
    "tables is that of the final weights on the training set without augmentation, or, "
    "of runs that did not measure it, that of the last epoch while training. The "
    "rules, and the margin of each experiment, are in [experiments](experiments)."
)
_WORDS = {HOLDS: "checked", FAILS: "violated"}
_PLURAL = {HOLDS: "hold", FAILS: "do not hold", UNDECIDED: "are undecided"}
_OF_THEOREMS = _PLURAL | {HOLDS: "are checked", FAILS: "are violated"}


def count(judged: Sequence[Verdict]) -> list[str]:
    """Count the verdicts of each kind of claim; those not run separately."""
    lines = []
    for kind in claims.KINDS:
        counts = Counter(row.verdict for row in judged if row.kind == kind)
        words = _OF_THEOREMS if kind == claims.THEOREM else _PLURAL
        known = ", ".join(
            f"{counts[verdict]} {word}" for verdict, word in words.items()
        )
        lines.append(f"{kind.capitalize()}: {known}; {counts[NOT_RUN]} were not run.")
    return ["\n".join(f"* {line}" for line in lines)]


def tabulate(rows: Sequence[Verdict]) -> str:
    """Tabulate the verdicts of an experiment; "" if it was not run."""
    run = [row for row in rows if row.verdict != NOT_RUN]
    if not run:
        return ""
    table = Table("claim", "scale", "source", "found here", "verdict")
    for row in run:
        verdict = row.verdict
        if row.kind == claims.THEOREM:
            verdict = _WORDS.get(verdict, verdict)
        cells = (row.claim + " †" * row.after_results, row.scale, row.source, row.found)
        table.add_row(*(cell.replace("[", "\\[") for cell in cells), verdict)
    return as_markdown(table)


def write_rules(judged: Sequence[Verdict]) -> list[str]:
    """Write the rules, the counts, the error rates of the rules, and the changes."""
    return [
        _RULE,
        *count(judged),
        "How often the rule says that one of two optimizers is better or worse, "
        "simulated for normal differences; the true difference is in standard "
        "deviations of the paired differences. With a true difference of 0 every such "
        "verdict is wrong, otherwise the few that name the wrong one:",
        as_markdown(_rates()),
        "Changed after the first results:",
        "\n".join(f"* {change}" for change in CHANGES),
    ]


def _rates() -> Table:
    differences = (0.0, 0.5, 1.0, 2.0)
    heads = (f"{difference:g} apart" for difference in differences[1:])
    table = Table("seeds", *right("equal", *heads))
    for n in (2, 3, 5, 8):
        cells = []
        for difference in differences:
            rates = statistics.simulate(n, difference)
            cells.append(f"{rates['better'] + rates['worse']:.0%}")
        table.add_row(str(n), *cells)
    return table
