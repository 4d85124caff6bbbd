"""REPORT.md and README's results, from the records of finished runs.

Needs no JAX.
"""

from collections.abc import Sequence, Set
from pathlib import Path

from rich.table import Table

from benchmarks import run_files
from benchmarks.errors import UsageError
from benchmarks.experiments import EXPERIMENTS, gpu_commands
from benchmarks.gan import plan as gan_plan
from benchmarks.reporting import claims, overview, sections, sources, summary
from benchmarks.reporting.sections import Section
from benchmarks.reporting.tables import as_markdown
from benchmarks.reporting.views import write_plot

# The experiments that are shown within the section of another one, if there is one.
_WITHIN = {name: row.within for name, row in EXPERIMENTS.items() if row.within}


def build(results: Path, plots: Path) -> list[Section]:
    """Describe every folder of results, and draw the plots.

    Named experiments come first, in the order of their list, and speed comes last.
    """
    plots.mkdir(parents=True, exist_ok=True)
    order = [*EXPERIMENTS]
    folders = sorted(
        filter(run_files.is_run, results.iterdir()),
        key=lambda path: (
            run_files.load(path).kind == "speed",
            order.index(path.name) if path.name in order else len(order),
            path.name,
        ),
    )
    names = {folder.name for folder in folders}
    shown = [
        sections.describe(folder, plots)
        for folder in folders
        if _WITHIN.get(folder.name) not in names
    ]
    return shown + [
        sections.describe_not_run(name)
        for name, experiment in EXPERIMENTS.items()
        if experiment.published and name not in names
    ]


def compose(
    described: Sequence[Section],
    judged: Sequence[claims.Verdict],
    out: Path,
    results: Path,
    first: overview.FirstScreen,
) -> str:
    """Assemble the report; links to plots are relative to `out`."""
    titles = {section.name: section.title for section in described}
    # Claims of what is shown within another section lead there.
    within = {name: main for name, main in _WITHIN.items() if name not in titles}
    titles |= {name: titles[main] for name, main in within.items() if main in titles}
    names = (*EXPERIMENTS, "gan")
    done = {name for name in names if run_files.is_run(results / name)}
    begun = {section.name for section in described if not section.is_finished}
    parts = [
        "# Report",
        "Written by `python -m benchmarks report` from the records in "
        "[results](results); no number here is typed by hand.",
        "\n".join(f"* {line}" for line in first.sentences),
        *(write_plot(plot, out) for plot in first.plots),
        "## Claim by claim",
        overview.write_legend(judged),
        *overview.write_grid(judged, titles, out),
    ]
    for section in described:
        parts.append(f"## {section.title}")
        rows = [
            row
            for row in judged
            if within.get(row.experiment, row.experiment) == section.name
        ]
        if table := summary.tabulate(rows):
            parts += ["**What was claimed, and what was found**", table]
        parts.append(section.text)
        parts += [write_plot(plot, out) for plot in section.plots]
    parts += [
        "## How claims are judged",
        *summary.write_rules(judged),
        "## In the seeds, not here",
        sources.write_missing(),
        "## Not run yet",
        _list_not_run(done - begun, begun),
        "## Sources",
        sources.write_sources(),
    ]
    return "\n\n".join(parts) + "\n"


def _list_not_run(done: Set[str], begun: Set[str]) -> str:
    """List the experiments that lack results, with the commands that run them."""
    table = Table("experiment", "budget", "expected", "here", "command")
    for name, experiment in EXPERIMENTS.items():
        if name in done or experiment.within in done:
            continue
        config = experiment.config
        table.add_row(
            name,
            f"{config.model} on {config.dataset}, {experiment.budget}",
            experiment.expected,
            "unfinished" if name in begun else "not run",
            f"`{sections.command(name)}`",
        )
    if "gan" not in done:
        options = "gan --data-dir DIR --out OUT/gan"
        table.add_row(
            "gan",
            f"two networks on MNIST, {gan_plan.BUDGET}",
            gan_plan.EXPECTED,
            "unfinished" if "gan" in begun else "not run",
            f"`python -m benchmarks {options}`",
        )
    gpu = "\n".join(
        f"python -m benchmarks {' '.join(command)}" for command in gpu_commands()
    )
    return "\n\n".join(
        [
            "For one GPU, in this order. A command that is cut off, as by `timeout "
            "600`, goes on from its last checkpoint when it is given again; the first "
            "one decides the claims of the slides' CIFAR-10 table:",
            f"```sh\n{gpu}\n```",
            "`python -m benchmarks report --add OUT/*` puts their records into this "
            "report, beside the published figures. All that lacks results:",
            as_markdown(table),
        ]
    )


_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"


def split_readme(path: Path) -> tuple[str, str]:
    """Return what stands before and after README's results, between two marks.

    Raises:
      UsageError: If there is no such file, or it lacks the marks.
    """
    if not path.is_file():
        raise UsageError(
            f"--readme {path} does not exist; give an existing file, or None."
        )
    text = path.read_text()
    if text.count(_BEGIN) != 1 or text.count(_END) != 1:
        raise UsageError(
            f"--readme {path} must have the lines {_BEGIN} and {_END}, once each; the "
            "results go between them."
        )
    before, _, rest = text.partition(_BEGIN)
    return before, rest.partition(_END)[2]


def write_readme(path: Path, first: overview.FirstScreen) -> None:
    """Replace README's results; see `split_readme`."""
    before, after = split_readme(path)
    _, known, main, scale, _ = first.sentences
    parts = [_BEGIN, "\n".join(f"* {line}" for line in (known, main, scale))]
    for plot in first.plots:
        words = plot.caption.partition(".")[0]
        parts.append(f"![{words}](benchmarks/plots/{plot.path.name})")
    parts.append(_END)
    path.write_text(before + "\n\n".join(parts) + after)
