"""REPORT.md and report.html, from the records of finished runs. Needs no JAX."""

import base64
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from rich.table import Table

from benchmarks import records
from benchmarks.config import ReportConfig, UsageError
from benchmarks.drawings import runs as run_drawings
from benchmarks.drawings import speed as speed_drawings
from benchmarks.experiments import EXPERIMENTS


class Section(NamedTuple):
    """What the report says of one folder of results.

    Attributes:
      title: The heading.
      text: Markdown.
      plots: Images that were drawn, in the folder of the report.
    """

    title: str
    text: str
    plots: Sequence[Path]


def run(config: ReportConfig) -> int:
    """Write the report.

    Returns:
      The exit status, 0.

    Raises:
      UsageError: If a folder of results cannot be read, naming it.
    """
    sections = build(config.results, config.out / "plots")
    text = _compose(sections, config.out)
    (config.out / "REPORT.md").write_text(text)
    (config.out / "report.html").write_text(_as_page(text, config.out))
    print(f"report: {config.out / 'REPORT.md'} and report.html")
    return 0


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
        (path for path in results.iterdir() if (path / "header.json").exists()),
        key=lambda path: (
            order.index(path.name) if path.name in order else len(order),
            path.name,
        ),
    )
    sections = []
    for folder in folders:
        for file, describe in _KINDS.items():
            if any(folder.glob(file)):
                sections.append(describe(folder, plots / f"{folder.name}.png"))
                break
        else:
            raise UsageError(f"{folder} holds no records that the report knows.")
    return sections


def _describe_runs(folder: Path, plot: Path) -> Section:
    config, header = _read(folder)
    runs: dict[str, list[list[dict[str, Any]]]] = {}
    for name, recipe in config["recipes"].items():
        paths = sorted(folder.glob(f"{name}-seed*.jsonl"))
        runs[recipe.get("label", name)] = [
            [line for line in records.read(path) if "stopped" not in line]
            for path in paths
        ]
    title = f"{config['model']} on {config['dataset']}, {config['epochs']} epochs"
    table = run_drawings.table(runs, config["epochs"], title)
    run_drawings.draw_curves(runs, plot, title)
    text = [*_introduce(folder.name), as_markdown(table), _sign(folder, config, header)]
    return Section(f"{folder.name}: {title}", "\n\n".join(text), [plot])


def _describe_speed(folder: Path, plot: Path) -> Section:
    config, header = _read(folder)
    lines = records.read(folder / "speed.jsonl")
    text = [
        "What a step takes: the update and its application, compiled with donated "
        "buffers, all candidates taking turns in one process. Compared is the ratio to "
        "optax.adam within a turn.",
    ]
    for tree in dict.fromkeys(line["tree"] for line in lines):
        same = [line for line in lines if line["tree"] == tree]
        table = speed_drawings.speed_table(same)
        text += [f"**{table.title}**", as_markdown(table)]
    text.append(_sign(folder, config, header))
    if config.get("growth"):
        path = folder / "shares.jsonl"
        shares = records.read(path) if path.exists() else []
        speed_drawings.draw_growth(lines, shares, plot)
        title = "How the cost of a step grows"
    else:
        speed_drawings.draw_speed(lines, plot)
        title = "The speed of a step"
    return Section(title, "\n\n".join(text), [plot])


def _describe_sweep(folder: Path, plot: Path) -> Section:
    config, header = _read(folder)
    lines = records.read(folder / "sweep.jsonl")
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        point = {"optimizer": line["optimizer"], **line["settings"]}
        groups.setdefault(json.dumps(point), []).append(line)
    table = Table(*json.loads(next(iter(groups))), "test accuracy, %", "runs")
    for point, same in groups.items():
        accuracies = [
            100 * line["test_accuracy"]
            for line in same
            if line["test_accuracy"] is not None
        ]
        stopped = len(same) - len(accuracies)
        shown = f"{statistics.fmean(accuracies):.2f}" if accuracies else "-"
        if len(accuracies) > 1:
            shown += f"±{statistics.stdev(accuracies):.2f}"
        note = f"{len(same)}" + (f", {stopped} diverged" if stopped else "")
        table.add_row(*map(str, json.loads(point).values()), shown, note)
    text = [*_introduce(folder.name), as_markdown(table), _sign(folder, config, header)]
    return Section(f"{folder.name}: a sweep", "\n\n".join(text), [])


# Which records tell of which kind of experiment.
_KINDS: dict[str, Callable[[Path, Path], Section]] = {
    "speed.jsonl": _describe_speed,
    "sweep.jsonl": _describe_sweep,
    "*-seed*.jsonl": _describe_runs,
}


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        return tuple(
            json.loads((folder / name).read_text())
            for name in ("config.json", "header.json")
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} cannot be read: {error}.") from error


def _introduce(name: str) -> list[str]:
    """Say what a named experiment asks, and what was published."""
    if name not in EXPERIMENTS:
        return []
    experiment = EXPERIMENTS[name]
    return [experiment.shows, f"Expected: {experiment.expected}"]


def _sign(folder: Path, config: Mapping[str, Any], header: Mapping[str, Any]) -> str:
    """Say how the numbers came about."""
    devices, versions = header["devices"], header["versions"]
    cores = f", {header['cpu_count']} cores" if devices["platform"] == "cpu" else ""
    seeds = config.get("seeds", 1)
    return (
        f"`python -m benchmarks {' '.join(header['command'])}`; "
        f"{seeds} seed{'s' if seeds > 1 else ''} from {header['seed']}; "
        f"{devices['count']} x {devices['kind']}{cores}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; commit {header['git_revision'][:10]}"
        + (" with changes" if "with changes" in header["git_revision"] else "")
        + f"; {header['started']}. Records: `{folder.name}/`."
    )


def as_markdown(table: Table) -> str:
    """Write a table in Markdown.

    Args:
      table: As it would be printed.

    >>> table = Table("p", "ratio")
    >>> table.add_row("1/8", "1.3")
    >>> print(as_markdown(table))
    | p | ratio |
    |---|---|
    | 1/8 | 1.3 |
    """
    head = [str(column.header).replace("\n", " ") for column in table.columns]
    body = zip(*(map(str, column.cells) for column in table.columns), strict=True)
    aligned = [
        "---:" if column.justify == "right" else "---" for column in table.columns
    ]
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(aligned)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in body)])


def _compose(sections: Sequence[Section], out: Path) -> str:
    contents = [f"* [{s.title}](#{_anchor(s.title)})" for s in sections]
    parts = [
        "# Report",
        "Written by `python -m benchmarks report` from the records in "
        "[results](results); nothing here is typed by hand.",
        "\n".join(contents),
    ]
    for section in sections:
        parts += [f"## {section.title}", section.text]
        parts += [f"![{p.stem}]({p.relative_to(out)})" for p in section.plots]
    return "\n\n".join(parts) + "\n"


def _anchor(title: str) -> str:
    """Make the anchor that GitHub gives a heading."""
    kept = (c for c in title.lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def _as_page(text: str, out: Path) -> str:
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
