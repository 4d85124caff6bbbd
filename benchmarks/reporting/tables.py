"""Tables of runs."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.reporting.results import summarise
from benchmarks.settings import format_value


def sweep_table(
    results: Sequence[Mapping[str, Any]],
    name: str,
    labels: Mapping[str, str],
    judged: str = "accuracy",
) -> Table:
    """Tabulate what counts after the last epoch of a sweep, means over the seeds.

    Args:
      results: The lines of sweep.jsonl.
      name: The sweep's.
      labels: Of the optimizers, by name.
      judged: What counts, as the lines name it after test or validation.
    """
    unit, scale, places = (" in %", 100, 2) if judged == "accuracy" else ("", 1, 4)
    table = Table(title=f"{name}: {judged}{unit} at the end, mean ± deviation")
    settings = list(results[0]["settings"])
    for heading in ("optimizer", *settings, "measured on", "seeds"):
        table.add_column(heading, no_wrap=True)
    table.add_column(judged, justify="right", no_wrap=True)

    def kind(result: Mapping[str, Any]) -> tuple[Any, ...]:
        on = "validation" if f"validation_{judged}" in result else "test"
        return (result["optimizer"], *result["settings"].values(), on)

    # Those with other seeds stand beside each other.
    for (optimizer, *values, on), group in itertools.groupby(results, kind):
        same = list(group)
        found = [r[f"{on}_{judged}"] for r in same if r["state"] == "complete"]
        if len(found) < len(same):
            accuracy = f"{len(same) - len(found)} of {len(same)} diverged"
        else:
            accuracy = summarise([scale * x for x in found]).write(places)
        label = labels[optimizer]
        written = map(format_value, values)
        table.add_row(label, *written, on, str(len(same)), accuracy)
    return table
