"""The tables of sweeps, and tables as Markdown."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from rich.table import Column, Table
from rich.text import Text

from benchmarks.reporting.measures import summarize
from benchmarks.settings import format_value


def sweep_table(
    results: Sequence[Mapping[str, Any]],
    name: str,
    labels: Mapping[str, str],
    judged: str = "accuracy",
) -> Table:
    """Tabulate the final results of a sweep, means over the seeds.

    Args:
      results: The lines of sweep.jsonl.
      name: The name of the sweep.
      labels: The optimizers' labels, by name.
      judged: What counts, by the name behind test_ or validation_ in the lines.
    """
    unit, scale, places = _unit(judged)
    headings = ("optimizer", *results[0]["settings"], "measured on", "seeds")
    table = Table(
        *(Column(heading, no_wrap=True) for heading in headings),
        *right(judged, no_wrap=True),
        title=f"{name}: {judged}{unit} at the end, mean ± deviation",
    )

    def kind(result: Mapping[str, Any]) -> tuple[Any, ...]:
        on = "validation" if f"validation_{judged}" in result else "test"
        return (result["optimizer"], *result["settings"].values(), on)

    # Those with other seeds are side by side.
    for (optimizer, *values, on), group in itertools.groupby(results, kind):
        same = list(group)
        found = [r[f"{on}_{judged}"] for r in same if r["state"] == "complete"]
        if len(found) < len(same):
            accuracy = f"{len(same) - len(found)} of {len(same)} diverged"
        else:
            accuracy = summarize([scale * x for x in found]).write(places)
        label = labels[optimizer]
        written = map(format_value, values)
        table.add_row(label, *written, on, str(len(same)), accuracy)
    return table


def search_table(
    results: Sequence[Mapping[str, Any]], name: str, judged: str, sign: int
) -> Table:
    """Tabulate the runs of a search, each optimizer's best first; see `sweep_table`.

    More of what counts is better if the sign is 1, less if it is -1.
    """
    on = "validation" if f"validation_{judged}" in results[0] else "test"
    unit, scale, places = _unit(judged)
    settings = list(dict.fromkeys(key for x in results for key in x["settings"]))
    table = Table(
        *(Column(heading, no_wrap=True) for heading in ("run", *settings)),
        *right(judged, no_wrap=True),
        title=f"{name}: {judged}{unit} at the end, on the {on} set",
    )
    optimizers = list(dict.fromkeys(result["optimizer"] for result in results))

    def order(result: Mapping[str, Any]) -> tuple[int, bool, float]:
        value = result[f"{on}_{judged}"]
        place = optimizers.index(result["optimizer"])
        return place, value is None, -sign * (value or 0.0)

    for result in sorted(results, key=order):
        value = result[f"{on}_{judged}"]
        ended = {"pruned": result["stopped"], "stopped": "diverged"}
        state = ended.get(result["state"], result["state"])
        values = [result["settings"].get(key, "") for key in settings]
        table.add_row(
            result["run"],
            *(f"{x:.4g}" if isinstance(x, float) else str(x) for x in values),
            state if value is None else f"{scale * value:.{places}f}",
        )
    return table


def _unit(judged: str) -> tuple[str, int, int]:
    """Return the unit, the factor and the decimals with which a value is shown."""
    return (" in %", 100, 2) if judged == "accuracy" else ("", 1, 4)


def right(*headings: str, no_wrap: bool = False) -> list[Column]:
    """Make right-aligned columns."""
    return [Column(head, justify="right", no_wrap=no_wrap) for head in headings]


def as_markdown(table: Table) -> str:
    r"""Convert a table to Markdown.

    Args:
      table: As it would be printed.

    >>> table = Table("p", "ratio")
    >>> table.add_row("[bold]1/8[/bold]", "|x| = 1.3")
    >>> print(as_markdown(table))
    | p | ratio |
    |---|---|
    | **1/8** | \|x\| = 1.3 |
    """
    head = [str(column.header).replace("\n", " ") for column in table.columns]
    body = zip(*(map(_as_cell, column.cells) for column in table.columns), strict=True)
    aligned = [
        "---:" if column.justify == "right" else "---" for column in table.columns
    ]
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(aligned)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in body)])


def as_html(markdown: str) -> str:
    """Render Markdown with tables.

    >>> print(as_html("**bold**"))
    <p><strong>bold</strong></p>
    """
    return MarkdownIt("commonmark").enable("table").render(markdown)


def _as_cell(content: object) -> str:
    """Convert Rich's markup to Markdown, and escape what would end a cell."""
    text = str(content).replace("[bold]", "**").replace("[/bold]", "**")
    text = Text.from_markup(text).plain
    return text.replace("\n", ", ").replace("|", "\\|")
