"""Quote tables and figures of benchmarks/REPORT.md at build time.

No result is typed into a page: ``{evidence}`` shows a table of a section of the report,
``{result}`` one cell. Either fails the build when the report no longer holds it. The
page "evidence" gets the whole report.
"""

import re
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

REPORT = Path(__file__).parents[2] / "benchmarks" / "REPORT.md"
_FOLDER = "https://github.com/padam-optax/padam-optax/blob/main/benchmarks/"


class Table(NamedTuple):
    """A table of the report: its bold caption, header and rows."""

    caption: str
    header: list[str]
    rows: list[list[str]]


def section(report: str, name: str) -> str:
    """Return the text of the section whose heading is, or begins with, ``name``."""
    parts = re.split(r"^## ", report, flags=re.MULTILINE)[1:]
    for part in parts:
        title = part.partition("\n")[0].strip()
        if title == name or title.startswith(name + ":"):
            return part
    raise ValueError(f"REPORT.md has no section {name!r}.")


def tables(text: str) -> list[Table]:
    """Return the Markdown tables of a text."""
    found, caption, block = [], "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append([x.strip() for x in re.split(r"(?<!\\)\|", line)[1:-1]])
            continue
        if block:
            header, _, *rows = block
            found.append(Table(caption, header, rows))
            caption, block = "", []
        if match := re.fullmatch(r"\*\*(.+)\*\*", line.strip()):
            caption = match[1]
    return found


def claims(report: str) -> Table:
    """Return what all sections say of claims as one table; "claims" is its name."""
    found = [table for table in tables(report) if "found here" in table.header]
    if not found:
        raise ValueError("REPORT.md has no tables of claims.")
    rows = [row for table in found for row in table.rows]
    return Table("", found[0].header, rows)


def find(
    report: str, name: str, columns: list[str], rows: str = "", caption: str = ""
) -> Table:
    """Return the first table of a section with these columns, cut down to them.

    Rows that were not run are left out.

    Args:
      report: the whole report.
      name: the section; "claims" for the claims of all sections together.
      columns: columns in the order wanted, each a regular expression for its name and
        perhaps "-> TITLE" to show; all if empty.
      rows: a regular expression that the first cell, or with it the first two, must
        match in full; all if empty.
      caption: a regular expression that the table's caption must begin with.
    """
    wanted = [c.partition("->") for c in columns]
    candidates = [claims(report)] if name == "claims" else tables(section(report, name))
    for table in candidates:
        index = _positions([w[0].strip() for w in wanted], table.header)
        if index is None or not re.match(caption, table.caption):
            continue
        kept = [
            [row[i] for i in index]
            for row in table.rows
            if row[-1] != "not run"
            and (
                not rows
                or re.fullmatch(rows, row[0])
                or re.fullmatch(rows, " ".join(row[:2]))
            )
        ]
        if kept:
            header = [table.header[i] for i in index]
            titles = [w[2].strip() for w in wanted] or [""] * len(header)
            header = [t or h for t, h in zip(titles, header, strict=True)]
            return Table(table.caption, header, kept)
    raise ValueError(
        f"Section {name!r} of REPORT.md has no table with columns {columns} and rows "
        f"{rows!r}."
    )


def _positions(columns: list[str], header: list[str]) -> list[int] | None:
    """Return where the columns are, or None if one is missing."""
    if not columns:
        return list(range(len(header)))
    found = [
        [i for i, name in enumerate(header) if re.fullmatch(column, name)]
        for column in columns
    ]
    return [matches[0] for matches in found] if all(found) else None


def provenance(text: str) -> str:
    """Return command, seeds and cost of a section's runs, as the report states them."""
    match = re.search(r"^(`python -m benchmarks [^`]+`; .+?); jax ", text, re.MULTILINE)
    return match[1] if match else ""


def columns_of(text: str) -> list[str]:
    """Return names separated by semicolons or line ends."""
    return [x.strip() for x in re.split(r"[;\n]", text) if x.strip()]


class Evidence(SphinxDirective):
    """Show a table of the report, and where its figures come from."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar = {
        "columns": columns_of,
        "rows": directives.unchanged,
        "caption": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Return the table as nodes."""
        self.env.note_dependency(str(REPORT))
        report = REPORT.read_text("utf-8")
        name = self.arguments[0]
        try:
            table = find(
                report,
                name,
                self.options.get("columns", []),
                self.options.get("rows", ""),
                self.options.get("caption", ""),
            )
        except ValueError as error:
            raise self.error(str(error)) from None
        lines = [
            f"| {' | '.join(row)} |"
            for row in (table.header, ["---"] * len(table.header), *table.rows)
        ]
        source = "" if name == "claims" else provenance(section(report, name))
        note = f"*{table.caption}.* " if table.caption else ""
        note += f"{source}. " if source else ""
        where = "its claims" if name == "claims" else f"section “{name}”"
        text = "\n".join(lines) + f"\n\n{note}From the report, {where}.\n"
        parsed = self.parse_text_to_nodes(text)
        for node in parsed:
            if isinstance(node, nodes.table):
                node["classes"].append("evidence")
            elif isinstance(node, nodes.paragraph):
                node["classes"].append("provenance")
        return parsed


class Result(SphinxRole):
    """Show one cell of the report: ``section; row; column``."""

    def run(self) -> tuple[list[nodes.Node], list[Any]]:
        """Return the cell as text."""
        self.env.note_dependency(str(REPORT))
        name, row, column = (x.strip() for x in self.text.split(";"))
        try:
            table = find(REPORT.read_text("utf-8"), name, [column], row)
        except ValueError as error:
            return [], [self.inliner.reporter.error(str(error), line=self.lineno)]
        return [nodes.inline("", table.rows[0][0], classes=["result"])], []


def as_page(report: str) -> str:
    """Return the report without its title, with links that work from docs/."""
    body = report.partition("\n")[2]
    body = re.sub(r"(!\[[^\]]*\]\()(plots/)", r"\1../benchmarks/\2", body)
    return re.sub(r"(?<!!)(\[[^\]]*\]\()(?![a-z]+:|#|\.\./)", rf"\1{_FOLDER}", body)


def insert_report(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the report in the place of its mark."""
    if docname == "evidence":
        app.env.note_dependency(str(REPORT), docname=docname)
        page = as_page(REPORT.read_text("utf-8"))
        source[0] = source[0].replace("<!-- report -->", page)


def mark_claims(app: Sphinx, doctree: nodes.document) -> None:
    """Let tables of claims, the report's own too, have a wide first column."""
    del app
    for table in doctree.findall(nodes.table):
        first = next(iter(table.findall(nodes.entry)), None)
        if first is not None and first.astext() == "claim":
            table["classes"].append("claims")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive, the role and the page."""
    app.connect("source-read", insert_report)
    app.connect("doctree-read", mark_claims)
    app.add_directive("evidence", Evidence)
    app.add_role("result", Result())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
