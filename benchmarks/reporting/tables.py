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
    unit, scale, places = _unit(judged)
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


def search_table(
    results: Sequence[Mapping[str, Any]], name: str, judged: str, sign: int
) -> Table:
    """Tabulate the runs of a search, each optimizer's best first.

    Args:
      results: The lines of sweep.jsonl.
      name: The sweep's.
      judged: What counts, as the lines name it after test or validation.
      sign: 1 if more of it is better, -1 if less is.
    """
    on = "validation" if f"validation_{judged}" in results[0] else "test"
    unit, scale, places = _unit(judged)
    table = Table(title=f"{name}: {judged}{unit} at the end, on the {on} set")
    settings = list({key: None for result in results for key in result["settings"]})
    for heading in ("run", *settings):
        table.add_column(heading, no_wrap=True)
    table.add_column(judged, justify="right", no_wrap=True)
    optimizers = list({result["optimizer"]: None for result in results})

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
    """Return how a value is shown: its unit, what it is multiplied by, its places."""
    return (" in %", 100, 2) if judged == "accuracy" else ("", 1, 4)
