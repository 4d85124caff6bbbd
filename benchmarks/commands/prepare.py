"""`python -m benchmarks prepare`."""

from benchmarks.commands.config import PrepareConfig
from benchmarks.data.prepare import NAMES, prepare
from benchmarks.errors import UsageError


def run(config: PrepareConfig) -> int:
    """Download and write the data sets."""
    if not config.names:
        raise UsageError(f"name what to prepare: one or more of {', '.join(NAMES)}.")
    for name in config.names:
        prepare(name, config.data_dir, config.download_dir)
    return 0
