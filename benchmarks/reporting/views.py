"""Tables in Markdown and plots of what was trained, as an experiment asks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
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


class Plot(NamedTuple):
    """An image of the report.

    Attributes:
      path: Where it was drawn.
      caption: What it shows: n, what lines and bands are.
    """

    path: Path
    caption: str


# What a view returns: paragraphs of Markdown, and the plots it has drawn.
Parts = tuple[list[str], list[Plot]]


def write_plot(plot: Plot, out: Path) -> str:
    """Write an image with its caption.

    Args:
      plot: The image.
      out: The folder of the report, to which the link is relative.
    """
    words = plot.caption.partition(".")[0]
    return f"![{words}]({plot.path.relative_to(out)})\n\n*{plot.caption}*"


def _count_seeds(groups: Iterable[Sequence[object]]) -> str:
    """Write how many runs a line stands for."""
    counts = sorted({len(runs) for runs in groups})
    if not counts:
        return "no seed"
    n = "–".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return "one seed" if n == "1" else f"{n} seeds"


def _draw_curves(
    outcome: Outcome,
    groups: Mapping[str, Sequence[Run]],
    plot: Path,
    measure: outcomes.Measure | None = None,
) -> Plot:
    """Draw train loss and test error, and say what is drawn."""
    config, measure = outcome.config, measure or outcome.measure
    marks: list[float] = []
    swept = "schedule" in (config.get("grid") or {})
    if not swept and config.get("schedule", "multi-stage") == "multi-stage":
        marks = [share * config["epochs"] for share in config.get("milestones", ())]
    curves = {label: [run.lines for run in runs] for label, runs in groups.items()}
    run_drawings.draw_curves(curves, plot, outcome.title, measure, marks)
    seeds = _count_seeds(groups.values())
    caption = f"Train loss and {measure.error.removesuffix(' (%)')}: {outcome.title}."
    caption += f" Lines: {'means of ' if seeds != 'one seed' else ''}{seeds}"
    caption += "" if seeds == "one seed" else "; bands: lowest to highest"
    caption += "; dotted: the learning rate is divided" * bool(marks)
    if any(run.stopped for runs in groups.values() for run in runs):
        caption += "; ×: a run has diverged, and the line of its kind ends"
    return Plot(plot, caption + ".")


def _view_curves(outcome: Outcome, trained: str, plot: Path) -> Parts:
    """Accuracy at four points of the training, and the paper's two panels."""
    epochs = outcome.config["epochs"]
    groups = {
        write_key(key): same
        for key, same in outcomes.group(with_baseline(outcome)).items()
    }
    runs = {label: [run.lines for run in same] for label, same in groups.items()}
    table = run_drawings.table(runs, epochs, trained, outcome.measure, timed=False)
    for label, cells in published(outcome.folder.name).items():
        table.add_row(f"{label}, published", "", *cells, "")
    drawn = _draw_curves(outcome, groups, plot)
    return [f"**{table.title}**", as_markdown(table), _stopped(outcome)], [drawn]


def _view_grid(outcome: Outcome, trained: str, plot: Path) -> Parts:
    """Results at every point of the grid; of two settings a heat map, else curves."""
    del trained
    groups = outcomes.group(with_baseline(outcome))
    parts = [as_markdown(_tabulate(outcome, groups)), _stopped(outcome)]
    settings = [dict(key[1:]) for key in groups]
    names = list(settings[0])
    if len(names) != 2 or any(list(point) != names for point in settings):
        curves = {write_key(key): runs for key, runs in groups.items()}
        return parts, [_draw_curves(outcome, curves, plot)]
    ends = {
        tuple(point.values()): figure_at(outcome, runs, 1)
        for point, runs in zip(settings, groups.values(), strict=True)
    }
    measure = outcome.measure
    sweep_drawings.draw_heat_map(ends, (names[0], names[1]), measure, plot)
    seeds = _count_seeds(groups.values())
    shown = "" if seeds == "one seed" else ", means ± deviations"
    caption = f"{outcome.title}: {measure.name} at the end, {seeds}{shown}."
    return parts, [Plot(plot, caption)]


def _view_tuned(outcome: Outcome, trained: str, plot: Path) -> Parts:
    """The finals on the test set, and what the sweep tuned on the validation set."""
    del trained
    tuning = [run for run in outcome.runs if run.stage == "tuning"]
    finals = [run for run in with_baseline(outcome) if run.stage != "tuning"]
    parts: list[str] = []
    plots: list[Plot] = []
    if finals:
        groups = outcomes.group(finals)
        curves = {write_key(key): same for key, same in groups.items()}
        table = _tabulate(outcome, groups)
        parts += ["**Finals, on the test set**", as_markdown(table)]
        plots.append(_draw_curves(outcome, curves, plot))
    tried = outcomes.group_tried(outcome, tuning)
    measure = outcomes.measure_for(outcome.config, "validation")
    seeds = len({run.seed for run in tuning})
    drawn = plot.with_stem(f"{plot.stem}-tuning")
    sweep_drawings.draw_tuning(tried, outcome.config["tune"], measure, drawn)
    name = outcome.config["tune"].replace("_", " ")
    caption = f"Tuning: {measure.name} over the {name}. Points: means of {seeds} seeds"
    plots.append(Plot(drawn, caption + "; × below: all diverged."))
    if outcome.folder.name == "subset":
        plots.append(_draw_budget(tried, measure, seeds, plot))
    parts += [
        f"**Tuning, {measure.name} at the end, mean ± deviation of {seeds} seeds**; "
        "the best of each in bold",
        as_markdown(_tabulate_tried(outcome, tried)),
        _stopped(outcome),
    ]
    return parts, plots


def _draw_budget(
    tried: Mapping[str, Mapping[float, outcomes.Figure]],
    measure: outcomes.Measure,
    seeds: int,
    plot: Path,
) -> Plot:
    """Draw how the comparison depends on how many rates were tried."""
    drawn = plot.with_stem(f"{plot.stem}-budget")
    results = {
        label: [figure.mean for figure in figures.values()]
        for label, figures in tried.items()
    }
    sweep_drawings.draw_budget(results, measure, drawn)
    caption = (
        "What the tuning budget decides: the expected best of k of the learning rates "
        f"that were tried, drawn at random, by {measure.name}, mean of {seeds} seeds. "
        "Where lines cross, a comparison depends on the budget."
    )
    return Plot(drawn, caption)


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
    headings = (
        f"{name} after epoch {early} of {epochs}",
        "at the end",
        "train accuracy",
        "runs",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    for (label, *pairs), runs in groups.items():
        # What the grid does not set is in the recipe.
        point = {**runs[0].recipe, **dict(pairs)}
        cells = [outcomes.write_setting(point[n]) if n in point else "" for n in names]
        figures = (str(figure_at(outcome, runs, share)) for share in (1 / 4, 1))
        diverged = sum(bool(run.stopped) for run in runs)
        count = f"{len(runs)}" + (f", {diverged} diverged" if diverged else "")
        ends = outcomes.at(runs, 1, epochs)
        train = outcomes.summarise([outcomes.train_accuracy(line) for line in ends])
        table.add_row(label, *cells, *figures, str(train), count)
    return table


def _view_best_rates(outcome: Outcome, trained: str, plot: Path) -> Parts:
    """What counts at all learning rates, and curves at the best one of each."""
    return _show_best_rates(outcome, plot, outcome.measure)


def _view_lowest_losses(outcome: Outcome, trained: str, plot: Path) -> Parts:
    """The train loss at all learning rates, and curves at each one's lowest."""
    return _show_best_rates(outcome, plot, outcomes.TRAIN_LOSS)


def _show_best_rates(outcome: Outcome, plot: Path, measure: outcomes.Measure) -> Parts:
    swept = outcomes.group_by_rate(with_baseline(outcome))
    name = outcome.measure.name
    table = Table("optimizer", f"learning rate: {measure.name} at the end")
    table.add_column(f"{name} at the best", justify="right")
    curves = {}
    best_of = max if measure.more_is_better else min
    for label, runs in swept.items():
        figures = {
            rate: figure_at(outcome, same, 1, measure)
            for rate, same in sorted(runs.items(), reverse=True)
        }
        means = {rate: x.mean for rate, x in figures.items() if x.n}
        best = best_of(means, key=means.__getitem__) if means else None
        cells = [
            f"[bold]{rate:g}: {x}[/bold]" if rate == best else f"{rate:g}: {x}"
            for rate, x in figures.items()
        ]
        shown = "-"
        if best is not None:
            shown = str(figure_at(outcome, runs[best], 1))
            written = outcomes.write_pair(("learning_rate", best))
            curves[f"{label}, {written}"] = runs[best]
        table.add_row(label, "; ".join(cells), shown)
    drawn = _draw_curves(outcome, curves, plot)
    note = "A run that diverged counts as guessing. Drawn is each one's best rate."
    return [as_markdown(table), note], [drawn]


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
    caption = (
        "Effective learning rates and distances. Left: from the 5 % to the 95 % "
        "quantile of the effective learning rates over the weights, divided by their "
        "median; SGD has one rate for all. Right: distance of the weights from where "
        f"they began. Means of {_count_seeds(groups.values())}."
    )
    return text, [Plot(plot, caption), *drawn]


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
    runs = [r for m in outcomes.group_by_b0(outcome).values() for r in m.values()]
    caption = (
        f"Accuracy over b0: {trained}. Points: means of {_count_seeds(runs)}, bars: "
        "deviations; ×: some seeds diverged, on the lower edge all of them."
    )
    return [as_markdown(table), text], [Plot(plot, caption)]


def published(name: str) -> Mapping[str, Sequence[str]]:
    """Return the source's figures of an experiment, if it is a named one."""
    return EXPERIMENTS[name].published if name in EXPERIMENTS else {}


def _stopped(outcome: Outcome) -> str:
    """Name the runs that ended early."""
    return "\n".join(
        f"* {outcomes.write_key((run.label, *run.settings.items()))}, seed {run.seed}, "
        f"ended early: {run.stopped}."
        for run in outcome.runs
        if run.stopped
    )


# By the names that experiments give them.
VIEWS: dict[str, Callable[[Outcome, str, Path], Parts]] = {
    "rates": _view_rates,
    "best rates": _view_best_rates,
    "lowest losses": _view_lowest_losses,
    "robustness": _view_robustness,
}


def show(outcome: Outcome, plot: Path) -> Parts:
    """Show what was trained as its experiment asks.

    Args:
      outcome: The runs.
      plot: The PNG to draw; others begin with the same name.

    Returns:
      Paragraphs of Markdown, and the plots.
    """
    experiment = EXPERIMENTS.get(outcome.folder.name)
    view = VIEWS.get(experiment.view) if experiment else None
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


def as_html(markdown: str) -> str:
    """Render Markdown with tables.

    >>> print(as_html("**bold**"))
    <p><strong>bold</strong></p>
    """
    return MarkdownIt("commonmark").enable("table").render(markdown)


def _as_cell(content: object) -> str:
    """Write Rich's markup as Markdown's, and what would end a cell otherwise."""
    text = str(content).replace("[bold]", "**").replace("[/bold]", "**")
    text = Text.from_markup(text).plain
    return text.replace("\n", ", ").replace("|", "\\|")
