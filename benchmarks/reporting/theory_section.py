"""What the report says of the studies of theory. Needs no JAX."""

from pathlib import Path

from benchmarks.reporting.plots import theory as drawings
from benchmarks.reporting.tables import as_markdown
from benchmarks.reporting.views import Plot, write_plot
from benchmarks.run_files import RunFiles
from benchmarks.theory.plans import PLANS


def describe(files: RunFiles, plots: Path) -> str:
    """Write what each study asks, found and looks like; draw the plots."""
    parts = [
        "Problems made for the purpose, on which formulas and theorems of the sources "
        "can be measured. They show that a claim can be met, or missed; they prove no "
        "theorem."
    ]
    for name, plan in PLANS.items():
        lines = files.lines(name)
        if not lines:
            continue
        plot = plots / f"{files.folder.name}-{name}.png"
        drawings.DRAWINGS[name](lines, plot)
        table = drawings.TABLES[name](lines)
        parts += [
            f"### {plan.title}",
            plan.question,
            f"Setting: {plan.budget}",
            f"What counts: {plan.rule}",
            f"Expected: {plan.expected}",
            f"What it cannot show: {plan.limits}",
            write_plot(Plot(plot, drawings.CAPTIONS[name]), plots.parent),
            f"**{table.title}**",
            as_markdown(table),
        ]
    return "\n\n".join(parts)
