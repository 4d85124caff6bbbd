"""`python -m benchmarks report`."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import run_files
from benchmarks.reporting import claims, overview, page, report, sections
from benchmarks.reporting.config import ReportConfig
from benchmarks.reporting.plots import style


def run(config: ReportConfig) -> int:
    """Write the report."""
    if config.readme is not None:
        report.split_readme(config.readme)
    with TemporaryDirectory() as scratch:  # all are looked at before one is written
        for folder in config.add:
            run_files.find_finished(run_files.load(folder))
            sections.describe(folder, Path(scratch))
    for folder in config.add:
        print(f"records: {run_files.publish(folder, config.results)}")
    plots = config.out / "plots"
    vectors = plots / style.VECTORS
    vectors.mkdir(parents=True, exist_ok=True)
    try:
        described = report.build(config.results, plots)
        judged = claims.judge(config.results)
        first = overview.FirstScreen(
            overview.summarize(judged, config.results),
            overview.draw(judged, overview.DOCUMENTS[0], plots),
        )
        text = report.compose(described, judged, config.out, config.results, first)
        html = page.write(text, config.out)
    finally:
        shutil.rmtree(vectors)
    (config.out / "REPORT.md").write_text(text)
    (config.out / "report.html").write_text(html)
    print(f"report: {config.out / 'REPORT.md'} and report.html")
    if config.readme is not None:
        report.write_readme(config.readme, first)
        print(f"readme: {config.readme}")
    return 0
