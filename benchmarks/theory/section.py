"""What the report says of the studies of theory. Needs no JAX."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks import records
from benchmarks.drawings import theory as drawings
from benchmarks.theory.findings import JUDGES, Finding
from benchmarks.theory.plans import PLANS
from benchmarks.views import as_markdown


def describe(folder: Path, plots: Path) -> str:
    """Write what each study asks, found and looks like; draw the plots.

    Args:
      folder: As the command left it.
      plots: Where to draw; a folder beside the report.

    Returns:
      Markdown, with links to the plots.
    """
    parts = [
        "Problems made for the purpose, on which formulas and theorems of the sources "
        "can be measured. They show that a claim can be met, or missed; they prove no "
        "theorem."
    ]
    for name, plan in PLANS.items():
        path = folder / f"{name}.jsonl"
        if not path.exists():
            continue
        lines = records.read(path)
        plot = plots / f"theory-{name}.png"
        drawings.DRAWINGS[name](lines, plot)
        table = drawings.TABLES[name](lines)
        parts += [
            f"### {plan.title}",
            plan.question,
            f"Setting: {plan.budget}",
            f"What counts: {plan.rule}",
            f"Expected: {plan.expected}",
            "\n".join(
                f"* {found.claim}: **{found.verdict}**. {found.found}."
                for found in JUDGES[name](lines)
            ),
            f"What it cannot show: {plan.limits}",
            f"![{plan.title}]({plots.name}/{plot.name})",
            f"**{table.title}**",
            as_markdown(table),
        ]
    return "\n\n".join(parts)


def judge(folder: Path) -> Iterator[tuple[str, Finding]]:
    """Judge every study that has records, by the rules in `plans.py`.

    Args:
      folder: As the command left it, or none.

    Yields:
      The study's name and a finding of it.
    """
    for name, judge_study in JUDGES.items():
        path = folder / f"{name}.jsonl"
        if path.exists():
            for finding in judge_study(records.read(path)):
                yield name, finding
