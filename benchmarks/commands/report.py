"""`python -m benchmarks report`."""

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import run_files
from benchmarks.reporting import claims, overview, page, report, sections
from benchmarks.reporting.config import ReportConfig


def run(config: ReportConfig) -> int:
    """Write the report.

    Returns:
      The exit status, 0.

    Raises:
      UsageError: If a folder of results cannot be read, naming it.
    """
    for folder in config.add:
        with TemporaryDirectory() as plots:
            sections.describe(folder, Path(plots))  # refuses what cannot be shown
        print(f"records: {run_files.publish(folder, config.results)}")
    described = report.build(config.results, config.out / "plots")
    judged = claims.judge(config.results)
    plots = config.out / "plots"
    first = overview.FirstScreen(
        overview.summarize(judged, config.results),
        overview.draw(judged, overview.DOCUMENTS[0], plots),
    )
    text = report.compose(described, judged, config.out, config.results, first)
    (config.out / "REPORT.md").write_text(text)
    (config.out / "report.html").write_text(page.write(text, config.out))
    print(f"report: {config.out / 'REPORT.md'} and report.html")
    if config.readme is not None:
        report.write_readme(config.readme, first)
        print(f"readme: {config.readme}")
    return 0
