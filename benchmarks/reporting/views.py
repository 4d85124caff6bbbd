"""How the report shows what was trained, as the experiment asks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from benchmarks.experiments import EXPERIMENTS
from benchmarks.reporting import results as outcomes
from benchmarks.reporting.measures import (
    TRAIN_LOSS,
    Figure,
    Measure,
    measure_for,
    summarize,
)
from benchmarks.reporting.plots import curves as run_drawings
from benchmarks.reporting.plots import sweeps as sweep_drawings
from benchmarks.reporting.results import Outcome, Run, figure_at, with_baseline
from benchmarks.reporting.tables import as_markdown, right


class Plot(NamedTuple):
    """An image of the report, with a caption that explains lines and bands."""

    path: Path
    caption: str


# What a view returns: paragraphs of Markdown, and the plots it has drawn.
Parts = tuple[list[str], list[Plot]]


def write_plot(plot: Plot, out: Path) -> str:
    """Write an image with its caption; the link is relative to the report's folder."""
    words = plot.caption.partition(".")[0]
    return f"![{words}]({plot.path.relative_to(out)})\n\n*{plot.caption}*"


def _count_seeds(groups: Iterable[Sequence[object]]) -> str:
    """Write the number of runs behind each line."""
    counts = sorted({len(runs) for runs in groups})
    if not counts:
        return "no seed"
    n = "–".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return "one seed" if n == "1" else f"{n} seeds"


def _draw_curves(
    outcome: Outcome,
    groups: Mapping[str, Sequence[Run]],
    plot: Path,
) -> Plot:
    """Draw train loss and test error, with a caption."""
    config, measure = outcome.config, outcome.measure
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


def _view_curves(outcome: Outcome, plot: Path) -> Parts:
    """Accuracy at four points of the training, and the paper's two panels."""
    groups = outcomes.group_by_label(with_baseline(outcome))
    runs = {label: [run.lines for run in same] for label, same in groups.items()}
    table = run_drawings.table(
        runs, outcome.config["epochs"], outcome.title, outcome.measure, timed=False
    )
    if experiment := EXPERIMENTS.get(outcome.folder.name):
        for label, cells in experiment.published.items():
            table.add_row(f"{label}, published", "", *cells, "")
    drawn = _draw_curves(outcome, groups, plot)
    return [f"**{table.title}**", as_markdown(table), _stopped(outcome)], [drawn]


def _view_grid(outcome: Outcome, plot: Path) -> Parts:
    """Results on the grid: a heat map for two settings, else curves."""
    runs = with_baseline(outcome)
    groups = outcomes.group(runs)
    parts = [as_markdown(_tabulate(outcome, groups)), _stopped(outcome)]
    settings = [dict(key[1:]) for key in groups]
    names = list(settings[0])
    if len(names) != 2 or any(list(point) != names for point in settings):
        return parts, [_draw_curves(outcome, outcomes.group_by_label(runs), plot)]
    ends = {
        tuple(point.values()): figure_at(outcome, same, 1)
        for point, same in zip(settings, groups.values(), strict=True)
    }
    measure = outcome.measure
    sweep_drawings.draw_heat_map(ends, (names[0], names[1]), measure, plot)
    seeds = _count_seeds(groups.values())
    shown = "" if seeds == "one seed" else ", means ± deviations"
    caption = f"{outcome.title}: {measure.name} at the end, {seeds}{shown}."
    return parts, [Plot(plot, caption)]


def _view_tuned(outcome: Outcome, plot: Path) -> Parts:
    """The finals on the test set, and the tuning on the validation set."""
    finals = [run for run in with_baseline(outcome) if run.stage != "tuning"]
    parts: list[str] = []
    plots: list[Plot] = []
    if finals:
        table = _tabulate(outcome, outcomes.group(finals))
        parts += ["**Finals, on the test set**", as_markdown(table)]
        plots.append(_draw_curves(outcome, outcomes.group_by_label(finals), plot))
    tried = outcomes.find_tried(outcome)
    measure = measure_for(outcome.config, "validation")
    seeds = len({run.seed for run in outcome.runs if run.stage == "tuning"})
    drawn = plot.with_stem(f"{plot.stem}-tuning")
    sweep_drawings.draw_tuning(tried, outcome.config["tune"], measure, drawn)
    name = outcome.config["tune"].replace("_", " ")
    caption = f"Tuning: {measure.name} over the {name}. Points: means of {seeds} seeds"
    plots.append(Plot(drawn, caption + "; × below: all diverged."))
    if outcome.folder.name == "subset":
        plots.append(_draw_budget(tried, measure, seeds, plot))
    table = Table("optimizer", f"{name}: result")
    for label, figures in tried.items():
        table.add_row(label, _write_figures(figures, _find_best(figures, measure)))
    parts += [
        f"**Tuning, {measure.name} at the end, mean ± deviation of {seeds} seeds**; "
        "the best of each in bold",
        as_markdown(table),
        _stopped(outcome),
    ]
    return parts, plots


def _draw_budget(
    tried: Mapping[str, Mapping[float, Figure]],
    measure: Measure,
    seeds: int,
    plot: Path,
) -> Plot:
    """Draw how the comparison depends on the number of rates tried."""
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


def _find_best(figures: Mapping[float, Figure], measure: Measure) -> float | None:
    return measure.best({value: figure.mean for value, figure in figures.items()})


def _write_figures(figures: Mapping[float, Figure], best: float | None) -> str:
    """Write the result for each value of a setting, the best in bold."""
    cells = (
        f"[bold]{value:g}: {figure}[/bold]" if value == best else f"{value:g}: {figure}"
        for value, figure in figures.items()
    )
    return "; ".join(cells)


def _tabulate(outcome: Outcome, groups: Mapping[outcomes.Key, list[Run]]) -> Table:
    """Tabulate the measure, early and at the end, for each label and settings."""
    names = list(dict.fromkeys(name for key in groups for name, _ in key[1:]))
    epochs = outcome.config["epochs"]
    table = Table(
        "optimizer",
        *(name.replace("_", " ") for name in names),
        *right(
            f"{outcome.measure.name} {_write_early(epochs)}",
            "at the end",
            "train accuracy",
            "runs",
        ),
    )
    for (label, *pairs), runs in groups.items():
        # What the grid does not set is in the recipe.
        point = {**runs[0].recipe, **dict(pairs)}
        cells = [outcomes.write_setting(point[n]) if n in point else "" for n in names]
        figures = (str(figure_at(outcome, runs, share)) for share in (1 / 4, 1))
        diverged = sum(bool(run.stopped) for run in runs)
        count = f"{len(runs)}" + (f", {diverged} diverged" if diverged else "")
        ends = outcomes.lines_at(runs, epochs)
        train = summarize([outcomes.train_accuracy(line) for line in ends])
        table.add_row(label, *cells, *figures, str(train), count)
    return table


def _write_early(epochs: int) -> str:
    return f"after epoch {outcomes.epoch_at(1 / 4, epochs)} of {epochs}"


def _view_best_rates(
    outcome: Outcome, plot: Path, measure: Measure | None = None
) -> Parts:
    """A measure at all learning rates, and curves at each one's best."""
    measure = measure or outcome.measure
    name = outcome.measure.name
    table = Table(
        "optimizer",
        f"learning rate: {measure.name} at the end",
        *right(f"{name} at the best"),
    )
    curves = {}
    swept = outcomes.group_by(with_baseline(outcome), "learning_rate")
    for label, runs in swept.items():
        figures = {
            rate: figure_at(outcome, same, 1, measure)
            for rate, same in sorted(runs.items(), reverse=True)
        }
        best, shown = _find_best(figures, measure), "-"
        if best is not None:
            shown = str(figure_at(outcome, runs[best], 1))
            written = outcomes.write_pair(("learning_rate", best))
            curves[f"{label}, {written}"] = runs[best]
        table.add_row(label, _write_figures(figures, best), shown)
    drawn = _draw_curves(outcome, curves, plot)
    note = "A run that diverged counts as guessing. Drawn is each one's best rate."
    return [as_markdown(table), note], [drawn]


def _view_rates(outcome: Outcome, plot: Path) -> Parts:
    """The grid, the spread of the learning rates and the distance of the weights."""
    text, drawn = _view_grid(outcome, plot.with_stem(f"{plot.stem}-curves"))
    groups = outcomes.group_by_label(with_baseline(outcome))
    epochs = outcome.config["epochs"]
    table = Table(
        "run",
        *right(
            "decades from 5 to 95 % at the end",
            f"distance {_write_early(epochs)}",
            "at the end",
        ),
    )
    for label, runs in groups.items():
        first, last = (
            outcomes.lines_at(runs, epoch)
            for epoch in (outcomes.epoch_at(1 / 4, epochs), epochs)
        )
        figures = (
            [*outcomes.decades(last)],
            *([line["distance_from_start"] for line in x] for x in (first, last)),
        )
        table.add_row(label, *(str(summarize(values)) for values in figures))
    sweep_drawings.draw_rates(groups, plot)
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


def _view_robustness(outcome: Outcome, plot: Path) -> Parts:
    """Accuracy against b0, of AdaGrad-Norm and of SGD with the steps 1/b0."""
    methods = outcomes.find_robustness(outcome)
    decades = sorted({b0 for points in methods.values() for b0 in points})
    table = Table("test accuracy in %, b0 =", *right(*(f"{b0:g}" for b0 in decades)))
    for label, points in methods.items():
        cells = [points[b0][1] if b0 in points else None for b0 in decades]
        table.add_row(label, *("-" if c is None else str(c) for c in cells))
    sweep_drawings.draw_against(methods, "b0", outcome.title, plot)
    text = (
        "SGD's steps are 1/b0 and 1/(b0 √k). A run that diverged counts as guessing, "
        "10 %."
    )
    runs = [r for m in outcomes.group_by_b0(outcome).values() for r in m.values()]
    caption = (
        f"Accuracy over b0: {outcome.title}. Points: means of {_count_seeds(runs)}, "
        "bars: deviations; ×: some seeds diverged, on the lower edge all of them."
    )
    return [as_markdown(table), text], [Plot(plot, caption)]


def _stopped(outcome: Outcome) -> str:
    """List the runs that ended early."""
    return "\n".join(
        f"* {outcomes.write_key(run.key)}, seed {run.seed}, ended early: {run.stopped}."
        for run in outcome.runs
        if run.stopped
    )


# By the names that experiments give them.
VIEWS: dict[str, Callable[[Outcome, Path], Parts]] = {
    "rates": _view_rates,
    "best rates": _view_best_rates,
    "lowest losses": partial(_view_best_rates, measure=TRAIN_LOSS),
    "robustness": _view_robustness,
}


def show(outcome: Outcome, plot: Path) -> Parts:
    """Show the results of an experiment in the view it asks for.

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
    text, drawn = view(outcome, plot)
    return [part for part in text if part], drawn
