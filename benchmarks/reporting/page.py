"""report.html: the report as one self-contained page that fits a phone."""

import base64
import html
import re
from pathlib import Path

from benchmarks.reporting.overview import anchor
from benchmarks.reporting.plots.style import VECTORS
from benchmarks.reporting.statistics import FAILS, HOLDS, UNDECIDED
from benchmarks.reporting.tables import as_html

_CLASSES = {HOLDS: "holds", "checked": "holds", FAILS: "fails", "violated": "fails"}
_CLASSES |= {UNDECIDED: "undecided", "not run": "missing"}


def write(text: str, out: Path) -> str:
    """Render the report's Markdown as a page that needs no other file."""
    body = as_html(text)
    body = re.sub(r'src="([^":]+)"', lambda found: _embed(out / found[1]), body)
    body = re.sub(r"<h([23])>(.*?)</h\1>", _add_anchor, body)
    body = body.replace("<table>", '<div class="wide"><table>')
    body = body.replace("</table>", "</table></div>")
    words = "|".join(_CLASSES)
    # The verdict alone in its cell, or behind its mark in the tables of claims.
    body = re.sub(rf"<td>({words})</td>", _color_cell, body)
    body = re.sub(rf">([✓✗?] (?:{words}))</a>", _color_link, body)
    return _PAGE.replace("BODY", body)


def _embed(path: Path) -> str:
    """Embed an image in the page, as SVG if there is one."""
    kind, vector = "png", path.parent / VECTORS / f"{path.stem}.svg"
    if vector.exists():
        kind, path = "svg+xml", vector
    content = base64.b64encode(path.read_bytes()).decode()
    return f'src="data:image/{kind};base64,{content}"'


def _add_anchor(found: re.Match[str]) -> str:
    level, title = found.groups()
    return f'<h{level} id="{anchor(html.unescape(title))}">{title}</h{level}>'


def _color_cell(found: re.Match[str]) -> str:
    return f'<td class="{_CLASSES[found[1]]}">{found[1]}</td>'


def _color_link(found: re.Match[str]) -> str:
    return f' class="{_CLASSES[found[1][2:]]}">{found[1]}</a>'


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>padam_optax: report</title>
<style>
:root { color-scheme: light dark; --line: #ddd; --code: #f4f4f4; --holds: #1a7f37;
  --fails: #b3261e; --undecided: #8a6100; --missing: #767676; --link: #0550ae; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; background: #fff; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; min-width: 4rem; }
td:first-child { min-width: 12rem; }
img { max-width: 100%; background: #fff; }
@media (max-width: 40rem) {  /* the words in a plot stay readable */
  p:has(> img) { overflow-x: auto; }
  img { width: 44rem; max-width: none; }
  ul { padding-left: 1.2rem; }
}
pre { overflow-x: auto; }
code { background: var(--code); padding: 0 .2rem; overflow-wrap: anywhere; }
a { color: var(--link); }
.holds { color: var(--holds); }
.fails { color: var(--fails); }
.undecided { color: var(--undecided); }
.missing { color: var(--missing); }
@media (prefers-color-scheme: dark) {
  :root { --line: #444; --code: #2a2a2a; --holds: #56d364; --fails: #ff8f87;
    --undecided: #e3b341; --missing: #9a9a9a; --link: #79b8ff; }
  body { color: #ddd; background: #161616; }
}
</style>
BODY
</html>
"""
