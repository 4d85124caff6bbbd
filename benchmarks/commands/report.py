"""`python -m benchmarks report`."""

from benchmarks import run_dir
from benchmarks.reporting import claims, report
from benchmarks.reporting.config import ReportConfig


def run(config: ReportConfig) -> int:
    """Write the report.

    Returns:
      The exit status, 0.

    Raises:
      UsageError: If a folder of results cannot be read, naming it.
    """
    for folder in config.add:
        print(f"records: {run_dir.publish(folder, config.results)}")
    described = report.build(config.results, config.out / "plots")
    judged = claims.judge(config.results)
    text = report.compose(described, judged, config.out)
    (config.out / "REPORT.md").write_text(text)
    (config.out / "report.html").write_text(report.as_page(text, config.out))
    print(f"report: {config.out / 'REPORT.md'} and report.html")
    if config.readme is not None:
        report.write_readme(config.readme, config.results, judged)
        print(f"readme: {config.readme}")
    return 0
