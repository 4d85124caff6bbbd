"""REPORT.md, report.html and README's results, from the records of finished runs.

Needs no JAX.
"""

import base64
from collections.abc import Sequence, Set
from pathlib import Path

from markdown_it import MarkdownIt
from rich.table import Table

from benchmarks import run_files
from benchmarks.errors import UsageError
from benchmarks.experiments import EXPERIMENTS, gpu_commands
from benchmarks.reporting import claims, sections, summary
from benchmarks.reporting import results as outcomes
from benchmarks.reporting.plots import curves as run_drawings
from benchmarks.reporting.sections import Section
from benchmarks.reporting.views import as_markdown


def build(results: Path, plots: Path) -> list[Section]:
    """Describe every folder of results, those of named experiments first.

    Args:
      results: A folder with a folder for each experiment.
      plots: Where plots are drawn.

    Returns:
      The sections, in the order of the list of experiments.
    """
    plots.mkdir(parents=True, exist_ok=True)
    order = [*EXPERIMENTS]
    folders = sorted(
        filter(run_files.is_run, results.iterdir()),
        key=lambda path: (
            order.index(path.name) if path.name in order else len(order),
            path.name,
        ),
    )
    # Those of SGD are shown with the experiment that they are compared with.
    names = {folder.name for folder in folders}
    shown = [
        sections.describe(folder, plots)
        for folder in folders
        if not (folder.name.endswith("-sgd") and folder.name[:-4] in names)
    ]
    return shown + [
        sections.describe_not_run(name)
        for name, experiment in EXPERIMENTS.items()
        if experiment.published and name not in names
    ]


def compose(
    described: Sequence[Section], judged: Sequence[claims.Verdict], out: Path
) -> str:
    """Put the sections together.

    Args:
      described: One for each folder of results.
      judged: The verdicts.
      out: The folder of the report, to which links to plots are relative.
    """
    titles = ["Claim by claim", *(s.title for s in described), "Not run yet"]
    contents = [f"* [{title}](#{_anchor(title)})" for title in titles]
    parts = [
        "# Report",
        "Written by `python -m benchmarks report` from the records in "
        "[results](results); nothing here is typed by hand.",
        "\n".join(contents),
        f"## {titles[0]}",
        *summary.write_claims(judged),
    ]
    for section in described:
        parts += [f"## {section.title}", section.text]
        parts += [f"![{p.stem}]({p.relative_to(out)})" for p in section.plots]
    done = {title.split(":")[0] for title in titles if not title.endswith("not run")}
    parts += [f"## {titles[-1]}", _list_not_run(done)]
    return "\n\n".join(parts) + "\n"


def _list_not_run(done: Set[str]) -> str:
    """List the experiments without results, and how to run them."""
    table = Table("experiment", "budget", "expected", "here", "command")
    for name, experiment in EXPERIMENTS.items():
        if name in done or (name.endswith("-sgd") and name[:-4] in done):
            continue
        config = experiment.config
        table.add_row(
            name,
            f"{config.model} on {config.dataset}, {experiment.budget}",
            experiment.expected,
            "not run",
            f"`{sections.command(name)}`",
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
            "report, beside the published figures. All that has no results:",
            as_markdown(table),
        ]
    )


_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"


def write_readme(path: Path, results: Path, judged: Sequence[claims.Verdict]) -> None:
    """Put the verdicts and the main table and figure between two marks."""
    text = path.read_text()
    if text.count(_BEGIN) != 1 or text.count(_END) != 1:
        raise UsageError(
            f"--readme {path} must have the lines {_BEGIN} and {_END}, once each; the "
            "results go between them."
        )
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    name = next(
        (
            n
            for n in ("slides-cifar10", "small-cifar10", "digits")
            if (results / n).exists()
        ),
        None,
    )
    parts = [_BEGIN, *summary.count(judged)]
    if name is not None:
        outcome = outcomes.read(results / name)
        runs = {
            label: [run.lines for run in same]
            for (label, *_), same in outcomes.group(outcome.runs).items()
        }
        title, epochs = outcome.title, outcome.config["epochs"]
        table = run_drawings.table(runs, epochs, title, outcome.measure)
        parts += [
            f"{table.title}:",
            as_markdown(table),
            *filter(None, [EXPERIMENTS[name].limits]),
            f"![Train loss and test error: {title}](benchmarks/plots/{name}.png)",
        ]
    parts.append(_END)
    path.write_text(before + "\n\n".join(parts) + after)


def _anchor(title: str) -> str:
    """Make the anchor that GitHub gives a heading."""
    kept = (c for c in title.lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def as_page(text: str, out: Path) -> str:
    """Make one page of it that needs no other file."""
    markdown = MarkdownIt("commonmark").enable("table")
    body = markdown.render(text)
    for plot in sorted((out / "plots").glob("*.png")):
        data = base64.b64encode(plot.read_bytes()).decode()
        body = body.replace(
            f'src="{plot.relative_to(out)}"', f'src="data:image/png;base64,{data}"'
        )
    for line in text.splitlines():
        if line.startswith("## "):
            title = line.removeprefix("## ")
            body = body.replace(
                f"<h2>{title}</h2>", f'<h2 id="{_anchor(title)}">{title}</h2>'
            )
    return _PAGE.replace("BODY", body)


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>padam_optax: report</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: left; }
img { max-width: 100%; }
code { background: #f4f4f4; padding: 0 .2rem; }
</style>
BODY
</html>
"""
