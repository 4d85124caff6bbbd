"""Tables in Markdown and plots of what was trained, as an experiment asks."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from benchmarks.experiments import EXPERIMENTS
from benchmarks.reporting import results as outcomes
from benchmarks.reporting.plots import curves as run_drawings
from benchmarks.reporting.plots import sweeps as sweep_drawings
from benchmarks.reporting.results import (
    Outcome,
    Run,
    figure_at,
    with_baseline,
    write_key,
)

# What a view returns: paragraphs of Markdown, and the plots it has drawn.
Parts = tuple[list[str], list[Path]]


def _view_curves(outcome: Outcome, trained: str, plot: Path) -> Parts:
    """Accuracy at four points of the training, and the paper's two panels."""
    epochs = outcome.config["epochs"]
    runs = {
        write_key(key): [run.lines for run in same]
        for key, same in outcomes.group(with_baseline(outcome)).items()
    }
    table = run_drawings.table(runs, epochs, trained, outcome.measure)
    run_drawings.draw_curves(runs, plot, trained, outcome.measure)
    for label, cells in published(outcome.folder.name).items():
        table.add_row(f"{label}, published", "", *cells, "")
    return [f"**{table.title}**", as_markdown(table), _stopped(outcome)], [plot]


def _view_grid(outcome: Outcome, trained: str, plot: Path) -> Parts:
    """Results at every point of the grid; of two settings a heat map and curves."""
    measure = outcome.measure
    groups = outcomes.group(with_baseline(outcome))
    parts = [as_markdown(_tabulate(outcome, groups)), _stopped(outcome)]
    settings = [dict(key[1:]) for key in groups]
    names = list(settings[0])
    if len(names) != 2 or any(list(point) != names for point in settings):
        curves = {write_key(key): [r.lines for r in v] for key, v in groups.items()}
        run_drawings.draw_curves(curves, plot, trained, measure)
        return parts, [plot]
    ends = {
        tuple(point.values()): figure_at(outcome, runs, 1)
        for point, runs in zip(settings, groups.values(), strict=True)
    }
    sweep_drawings.draw_heat_map(ends, (names[0], names[1]), measure, plot)
    plots = [plot]
    # One plot of curves for each value of the first setting.
    for first in dict.fromkeys(value for value, _ in ends):
        curves = {
            outcomes.write_pair(key[2]): [run.lines for run in runs]
            for key, runs in groups.items()
            if key[1][1] == first
        }
        path = plot.with_stem(f"{plot.stem}-{names[0]}-{first:g}")
        title = f"{trained}, {outcomes.write_pair((names[0], first))}"
        run_drawings.draw_curves(curves, path, title, measure)
        plots.append(path)
    return parts, plots


def _view_tuned(outcome: Outcome, trained: str, plot: Path) -> Parts:
    """The finals on the test set, and what the sweep tuned on the validation set."""
    tuning = [run for run in outcome.runs if run.stage == "tuning"]
    finals = [run for run in with_baseline(outcome) if run.stage != "tuning"]
    parts, plots = [], []
    if finals:
        groups = outcomes.group(finals)
        curves = {write_key(key): [r.lines for r in v] for key, v in groups.items()}
        run_drawings.draw_curves(curves, plot, trained, outcome.measure)
        table = _tabulate(outcome, groups)
        parts += ["**Finals, on the test set**", as_markdown(table)]
        plots.append(plot)
    tried = outcomes.group_tried(outcome, tuning)
    measure = outcomes.measure_for(outcome.config["dataset"], "validation")
    seeds = len({run.seed for run in tuning})
    drawn = plot.with_stem(f"{plot.stem}-tuning")
    sweep_drawings.draw_tuning(tried, outcome.config["tune"], measure, drawn)
    parts += [
        f"**Tuning, {measure.name} at the end, mean ± deviation of {seeds} seeds**; "
        "the best of each in bold",
        as_markdown(_tabulate_tried(outcome, tried)),
        _stopped(outcome),
    ]
    return parts, [*plots, drawn]


def _tabulate_tried(
    outcome: Outcome, tried: Mapping[str, Mapping[float, outcomes.Figure]]
) -> Table:
    """Tabulate what each value of the tuned setting led to."""
    name = outcome.config["tune"].replace("_", " ")
    table = Table("optimizer", f"{name}: result")
    for label, figures in tried.items():
        best = outcomes.best_tried(outcome, figures)
        cells = [
            f"[bold]{value:g}: {x}[/bold]" if value == best else f"{value:g}: {x}"
            for value, x in figures.items()
        ]
        table.add_row(label, "; ".join(cells))
    return table


def _tabulate(outcome: Outcome, groups: Mapping[outcomes.Key, list[Run]]) -> Table:
    """Tabulate what counts, early and at the end, for each label and settings."""
    names = list(dict.fromkeys(name for key in groups for name, _ in key[1:]))
    table = Table("optimizer", *(name.replace("_", " ") for name in names))
    name = outcome.measure.name
    epochs = outcome.config["epochs"]
    early = outcomes.epoch_at(1 / 4, epochs)
    headings = (f"{name} after epoch {early} of {epochs}", "at the end", "runs")
    for heading in headings:
        table.add_column(heading, justify="right")
    for (label, *pairs), runs in groups.items():
        point = dict(pairs)
        cells = [outcomes.write_setting(point[n]) if n in point else "" for n in names]
        figures = (str(figure_at(outcome, runs, share)) for share in (1 / 4, 1))
        diverged = sum(bool(run.stopped) for run in runs)
        count = f"{len(runs)}" + (f", {diverged} diverged" if diverged else "")
        table.add_row(label, *cells, *figures, count)
    return table


def _view_best_rates(outcome: Outcome, trained: str, plot: Path) -> Parts:
    """All learning rates in a table, and curves at the best one of each."""
    measure = outcome.measure
    swept = outcomes.group_by_rate(with_baseline(outcome))
    rates = sorted({rate for runs in swept.values() for rate in runs}, reverse=True)
    table = Table(f"{measure.name} at the end, learning rate =")
    for rate in rates:
        table.add_column(f"{rate:g}", justify="right")
    curves = {}
    for name, runs in swept.items():
        figures = {rate: figure_at(outcome, same, 1) for rate, same in runs.items()}
        finished = {rate: x.mean for rate, x in figures.items() if x.n}
        table.add_row(name, *(str(figures[x]) if x in figures else "" for x in rates))
        if finished:
            best = (max if measure.more_is_better else min)(
                finished, key=finished.__getitem__
            )
            label = f"{name}, {outcomes.write_pair(('learning_rate', best))}"
            curves[label] = [run.lines for run in runs[best]]
    run_drawings.draw_curves(curves, plot, trained, measure)
    note = "A run that diverged counts as guessing. Drawn is each one's best rate."
    return [as_markdown(table), note], [plot]


def _view_rates(outcome: Outcome, trained: str, plot: Path) -> Parts:
    """The grid, with the spread of the rates and the way the weights go."""
    curves = plot.with_stem(f"{plot.stem}-curves")
    text, drawn = _view_grid(outcome, trained, curves)
    groups = outcomes.group(with_baseline(outcome))
    table = Table("run")
    epochs = outcome.config["epochs"]
    early = outcomes.epoch_at(1 / 4, epochs)
    headings = (
        "decades from 5 to 95 % at the end",
        f"distance after epoch {early} of {epochs}",
        "at the end",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for key, runs in groups.items():
        first, last = (outcomes.at(runs, share, epochs) for share in (1 / 4, 1))
        spread = outcomes.summarise([*outcomes.decades(last)])
        moved = [
            outcomes.summarise([line["distance_from_start"] for line in lines])
            for lines in (first, last)
        ]
        table.add_row(write_key(key), str(spread), *map(str, moved))
    sweep_drawings.draw_rates(
        {write_key(key): runs for key, runs in groups.items()}, plot
    )
    text += [
        "Spread of the effective learning rates α/(√v̂+ε)^2p over the weights at the "
        "end, and distance of the weights from where they began:",
        as_markdown(table),
    ]
    return text, [plot, *drawn]


def _view_robustness(outcome: Outcome, trained: str, plot: Path) -> Parts:
    """Accuracy against b0, of AdaGrad-Norm and of SGD with the steps 1/b0."""
    methods = outcomes.find_robustness(outcome)
    decades = sorted({b0 for points in methods.values() for b0 in points})
    table = Table("test accuracy in %, b0 =", title=trained)
    for b0 in decades:
        table.add_column(f"{b0:g}", justify="right")
    for label, points in methods.items():
        cells = [points[b0][1] if b0 in points else None for b0 in decades]
        table.add_row(label, *("-" if c is None else str(c) for c in cells))
    sweep_drawings.draw_against(methods, "b0", trained, plot)
    text = (
        "SGD's steps are 1/b0 and 1/(b0 √k). A run that diverged counts as guessing, "
        "10 %."
    )
    return [as_markdown(table), text], [plot]


def published(name: str) -> Mapping[str, Sequence[str]]:
    """Return the source's figures of an experiment, if it is a named one."""
    return EXPERIMENTS[name].published if name in EXPERIMENTS else {}


def _stopped(outcome: Outcome) -> str:
    """Name the runs that ended early."""
    return "\n".join(
        f"* {run.label}, seed {run.seed}, ended early: {run.stopped}."
        for run in outcome.runs
        if run.stopped
    )


# Experiments whose question needs another picture.
_VIEWS: dict[str, Callable[[Outcome, str, Path], Parts]] = {
    "dilemma": _view_rates,
    "shakespeare": _view_best_rates,
    "shakespeare-p": _view_best_rates,
    "b0-logistic": _view_robustness,
    "b0-logistic-batch": _view_robustness,
    "b0-mlp": _view_robustness,
    "b0-mlp-batch": _view_robustness,
    "b0-lenet": _view_robustness,
    "b0-resnet18": _view_robustness,
}


def show(outcome: Outcome, plot: Path) -> Parts:
    """Show what was trained as its experiment asks.

    Args:
      outcome: The runs.
      plot: The PNG to draw; others begin with the same name.

    Returns:
      Paragraphs of Markdown, and the plots.
    """
    view = _VIEWS.get(outcome.folder.name)
    if any(run.stage for run in outcome.runs):
        view = _view_tuned
    elif view is None:
        view = _view_grid if outcome.config.get("grid") else _view_curves
    text, drawn = view(outcome, outcome.title, plot)
    return [part for part in text if part], drawn


def as_markdown(table: Table) -> str:
    r"""Write a table in Markdown.

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


def _as_cell(content: object) -> str:
    """Write Rich's markup as Markdown's, and what would end a cell otherwise."""
    text = str(content).replace("[bold]", "**").replace("[/bold]", "**")
    text = Text.from_markup(text).plain
    return text.replace("\n", ", ").replace("|", "\\|")
