"""What the report says of each folder of results. Needs no JAX."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks import outcomes, records
from benchmarks.config import UsageError, parse_settings
from benchmarks.drawings import games as game_drawings
from benchmarks.drawings import runs as run_drawings
from benchmarks.drawings import speed as speed_drawings
from benchmarks.drawings import sweeps as sweep_drawings
from benchmarks.drawings.style import write_setting
from benchmarks.experiments import EXPERIMENTS
from benchmarks.outcomes import Outcome, Run
from benchmarks.surfaces import SURFACES, panel


class Section(NamedTuple):
    """What the report says of one folder of results.

    Attributes:
      title: The heading.
      text: Markdown.
      plots: Images that were drawn, in the folder of the report.
    """

    title: str
    text: str
    plots: Sequence[Path]


def describe(folder: Path, plots: Path) -> Section:
    """Describe a folder of results.

    Args:
      folder: As the command left it that wrote it.
      plots: Where to draw.

    Raises:
      UsageError: If it cannot be read, naming it.
    """
    for file, describe_kind in _KINDS.items():
        if any(folder.glob(file)):
            return describe_kind(folder, plots)
    raise UsageError(f"{folder} holds no records that the report knows.")


def _describe_training(folder: Path, plots: Path) -> Section:
    outcome = outcomes.read(folder)
    config = outcome.config
    view = _VIEWS.get(folder.name)
    if view is None:
        view = _view_grid if config.get("grid") else _view_curves
    trained = outcome.title
    text, drawn = view(outcome, trained, plots / f"{folder.name}.png")
    parts = [*_introduce(folder.name), *filter(None, text), _sign(outcome)]
    return Section(f"{folder.name}: {trained}", "\n\n".join(parts), drawn)


# What a view returns: paragraphs of Markdown, and the plots it has drawn.
_Parts = tuple[list[str], list[Path]]


def _view_curves(outcome: Outcome, trained: str, plot: Path) -> _Parts:
    """Accuracy at four points of the training, and the paper's two panels."""
    epochs = outcome.config["epochs"]
    runs = {
        write_key(key): [run.lines for run in same]
        for key, same in outcomes.group(with_baseline(outcome)).items()
    }
    table = run_drawings.table(runs, epochs, trained, outcome.measure)
    run_drawings.draw_curves(runs, plot, trained, outcome.measure)
    for label, cells in _published(outcome.folder.name).items():
        table.add_row(f"{label}, published", "", *cells, "")
    return [f"**{table.title}**", as_markdown(table), _stopped(outcome)], [plot]


def _published(name: str) -> Mapping[str, Sequence[str]]:
    return EXPERIMENTS[name].published if name in EXPERIMENTS else {}


def describe_not_run(name: str) -> Section:
    """Show the published figures of an experiment that has no results here.

    Args:
      name: One of the named experiments that has such figures.
    """
    experiment = EXPERIMENTS[name]
    epochs = experiment.config.epochs
    quarters = [str(math.ceil(epochs * k / 4)) for k in (1, 2, 3, 4)]
    table = Table("optimizer", *(f"epoch {epoch}" for epoch in quarters))
    for label, cells in experiment.published.items():
        table.add_row(label, *["not run"] * len(cells))
        table.add_row(f"{label}, published", *cells)
    parts = [*_introduce(name), as_markdown(table), f"`{command(name)}`"]
    return Section(f"{name}: not run", "\n\n".join(parts), [])


def command(name: str) -> str:
    """Write the command that runs an experiment."""
    kind = "sweep" if EXPERIMENTS[name].grid else "train"
    return f"python -m benchmarks {kind} {name} --data-dir DIR --out OUT/{name}"


def _view_grid(outcome: Outcome, trained: str, plot: Path) -> _Parts:
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
        tuple(point.values()): _figure_at(outcome, runs, 1)
        for point, runs in zip(settings, groups.values(), strict=True)
    }
    sweep_drawings.draw_heat_map(ends, (names[0], names[1]), measure, plot)
    plots = [plot]
    # One plot of curves for each value of the first setting.
    for first in dict.fromkeys(value for value, _ in ends):
        curves = {
            _write_setting(key[2]): [run.lines for run in runs]
            for key, runs in groups.items()
            if key[1][1] == first
        }
        path = plot.with_stem(f"{plot.stem}-{names[0]}-{first:g}")
        title = f"{trained}, {_write_setting((names[0], first))}"
        run_drawings.draw_curves(curves, path, title, measure)
        plots.append(path)
    return parts, plots


def _tabulate(outcome: Outcome, groups: Mapping[outcomes.Key, list[Run]]) -> Table:
    """Tabulate what counts, early and at the end, for each label and settings."""
    names = list(dict.fromkeys(name for key in groups for name, _ in key[1:]))
    table = Table("optimizer", *(name.replace("_", " ") for name in names))
    name = outcome.measure.name
    for heading in (f"{name} after a quarter", f"{name} at the end", "runs"):
        table.add_column(heading, justify="right")
    for (label, *pairs), runs in groups.items():
        point = dict(pairs)
        cells = [write_setting(point[n]) if n in point else "" for n in names]
        figures = (str(_figure_at(outcome, runs, share)) for share in (1 / 4, 1))
        diverged = sum(bool(run.stopped) for run in runs)
        count = f"{len(runs)}" + (f", {diverged} diverged" if diverged else "")
        table.add_row(label, *cells, *figures, count)
    return table


def _figure_at(outcome: Outcome, runs: Iterable[Run], share: float) -> outcomes.Figure:
    lines = outcomes.at(runs, share, outcome.config["epochs"])
    return outcomes.summarise([*map(outcome.measure.of, lines)])


def _view_best_rates(outcome: Outcome, trained: str, plot: Path) -> _Parts:
    """All learning rates in a table, and curves at the best one of each."""
    measure = outcome.measure
    groups = outcomes.group(with_baseline(outcome))
    swept: dict[str, dict[float, list[Run]]] = {}
    for (label, *pairs), runs in groups.items():
        settings = dict(pairs)
        rate = settings.pop("learning_rate")
        name = write_key((label, *settings.items()))
        swept.setdefault(name, {})[rate] = runs
    rates = sorted({rate for runs in swept.values() for rate in runs}, reverse=True)
    table = Table(f"{measure.name} at the end, learning rate =")
    for rate in rates:
        table.add_column(f"{rate:g}", justify="right")
    curves = {}
    for name, runs in swept.items():
        figures = {rate: _figure_at(outcome, same, 1) for rate, same in runs.items()}
        finished = {rate: x.mean for rate, x in figures.items() if x.n}
        table.add_row(name, *(str(figures[x]) if x in figures else "" for x in rates))
        if finished:
            best = (max if measure.more_is_better else min)(finished, key=finished.get)
            label = f"{name}, {_write_setting(('learning_rate', best))}"
            curves[label] = [run.lines for run in runs[best]]
    run_drawings.draw_curves(curves, plot, trained, measure)
    note = "A dash: the loss was no number. Drawn is each one's best learning rate."
    return [as_markdown(table), note], [plot]


def _view_rates(outcome: Outcome, trained: str, plot: Path) -> _Parts:
    """The grid, with the spread of the rates and the way the weights go."""
    curves = plot.with_stem(f"{plot.stem}-curves")
    text, drawn = _view_grid(outcome, trained, curves)
    groups = outcomes.group(with_baseline(outcome))
    table = Table("run")
    headings = ("decades from 5 to 95 %", "after a quarter", "at the end")
    for heading in headings:
        table.add_column(heading, justify="right")
    for key, runs in groups.items():
        early, last = (
            outcomes.at(runs, share, outcome.config["epochs"]) for share in (1 / 4, 1)
        )
        spread = outcomes.summarise([*decades(last)])
        moved = [
            outcomes.summarise([line["distance_from_start"] for line in lines])
            for lines in (early, last)
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


def decades(lines: Iterable[outcomes.Line]) -> Iterable[float]:
    """Yield by how many powers of ten the effective rates of a run are spread."""
    for line in lines:
        quantiles = line.get("effective_learning_rate")
        if quantiles and quantiles[0] and quantiles[-1]:
            yield math.log10(quantiles[-1] / quantiles[0])


def _view_robustness(outcome: Outcome, trained: str, plot: Path) -> _Parts:
    """Accuracy against b0, of AdaGrad-Norm and of SGD with the steps 1/b0."""
    methods = find_robustness(outcome)
    decades = sorted({b0 for points in methods.values() for b0 in points})
    table = Table("test accuracy in %, b0 =", title=trained)
    for b0 in decades:
        table.add_column(f"{b0:g}", justify="right")
    for label, points in methods.items():
        cells = [points[b0][1] if b0 in points else None for b0 in decades]
        table.add_row(label, *("-" if c is None else str(c) for c in cells))
    sweep_drawings.draw_against(methods, "b0", trained, plot)
    text = "A dash: the loss was no number. SGD's steps are 1/b0 and 1/(b0 √k)."
    return [as_markdown(table), text], [plot]


def find_robustness(
    outcome: Outcome,
) -> dict[str, dict[float, tuple[outcomes.Figure, outcomes.Figure]]]:
    """Find the accuracies on the training and the test set by method and b0.

    Args:
      outcome: A sweep of AdaGrad-Norm over b0; that of SGD lies beside it, its name
        with -sgd at the end.
    """
    others = outcome.folder.with_name(f"{outcome.folder.name}-sgd")
    runs = list(outcome.runs)
    if others.exists():
        runs += outcomes.read(others).runs
    methods: dict[str, dict[float, tuple[outcomes.Figure, outcomes.Figure]]] = {}
    for same in outcomes.group(runs).values():
        settings, label = same[0].settings, same[0].label
        if "b0" in settings:
            b0 = settings["b0"]
        else:
            b0 = 1 / settings["learning_rate"]
            rate = "1/b0" if settings["schedule"] == "constant" else "1/(b0 √k)"
            label = f"{label}, {rate}"
        ends = outcomes.at(same, 1, outcome.config["epochs"])
        train, test = (
            outcomes.summarise([100 * line[f"{where}_accuracy"] for line in ends])
            for where in ("train", "test")
        )
        methods.setdefault(label, {})[float(f"{b0:g}")] = train, test
    return {label: dict(sorted(points.items())) for label, points in methods.items()}


def _describe_speed(folder: Path, plots: Path) -> Section:
    config, header = outcomes.read_settings(folder)
    lines = records.read(folder / "speed.jsonl")
    plot = plots / f"{folder.name}.png"
    text = [
        "What a step takes: the update and its application, compiled with donated "
        "buffers, all candidates taking turns in one process. Compared is the ratio to "
        "optax.adam within a turn.",
    ]
    for tree in dict.fromkeys(line["tree"] for line in lines):
        same = [line for line in lines if line["tree"] == tree]
        table = speed_drawings.speed_table(same)
        text += [f"**{table.title}**", as_markdown(table)]
    text.append(_sign(Outcome(folder, config, header, [])))
    if config.get("growth"):
        path = folder / "shares.jsonl"
        shares = records.read(path) if path.exists() else []
        speed_drawings.draw_growth(lines, shares, plot)
        title = "how the cost of a step grows"
    else:
        speed_drawings.draw_speed(lines, plot)
        title = "the speed of a step"
    return Section(f"{folder.name}: {title}", "\n\n".join(text), [plot])


def _describe_regret(folder: Path, plots: Path) -> Section:
    config, header = outcomes.read_settings(folder)
    lines = {
        name: records.read(folder / f"{name}.jsonl")
        for name in config["games"]
        if (folder / f"{name}.jsonl").exists()
    }
    played = [x for name in lines if name not in _EXAMPLES for x in lines[name]]
    parts = [
        "Losses come one at a time, the step is Algorithm 1 with α/√t on a box. The "
        "regret is beside the theorem's bound and the tighter sum of its proof.",
    ]
    drawn = []
    for content, name, tabulate, draw in (
        (played, "regret", game_drawings.regret_table, game_drawings.draw_regret),
        (
            lines.get("counterexample"),
            "counterexample",
            game_drawings.counterexample_table,
            game_drawings.draw_counterexample,
        ),
        (
            lines.get("phase-transition"),
            "phase-transition",
            None,
            game_drawings.draw_phases,
        ),
    ):
        if content:
            if tabulate:
                table = tabulate(content)
                parts += [f"**{table.title}**", as_markdown(table)]
            drawn.append(plots / f"{name}.png")
            draw(content, drawn[-1])
    parts.append(_sign(Outcome(folder, config, header, [])))
    return Section("Regret, and where p decides", "\n\n".join(parts), drawn)


_EXAMPLES = ("counterexample", "phase-transition")


def _describe_landscape(folder: Path, plots: Path) -> Section:
    config, header = outcomes.read_settings(folder)
    lines = {
        name: records.read(folder / f"{name}.jsonl") for name in config["surfaces"]
    }
    table = game_drawings.landscape_table(lines)
    plot = plots / "landscape.png"
    panels = {name: panel(SURFACES[name]) for name in lines}
    game_drawings.draw_landscapes(panels, lines, plot)
    parts = [f"**{table.title}**", as_markdown(table)]
    parts.append(_sign(Outcome(folder, config, header, [])))
    return Section("Trajectories on surfaces", "\n\n".join(parts), [plot])


# Which records tell of which kind of experiment.
_KINDS: dict[str, Callable[[Path, Path], Section]] = {
    "speed.jsonl": _describe_speed,
    "counterexample.jsonl": _describe_regret,
    "rosenbrock.jsonl": _describe_landscape,
    "sweep.jsonl": _describe_training,
    "*-seed*.jsonl": _describe_training,
}

# Experiments whose question needs another picture.
_VIEWS: dict[str, Callable[[Outcome, str, Path], _Parts]] = {
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


def with_baseline(outcome: Outcome) -> list[Run]:
    """Put the runs of other experiments first that these are compared with."""
    name = outcome.folder.name
    baseline = EXPERIMENTS[name].baseline if name in EXPERIMENTS else ()
    found = []
    for entry in baseline:
        experiment, _, chosen = entry.partition("/")
        optimizer, *settings = chosen.split()
        wanted = parse_settings("baseline", settings).items()
        folder = outcome.folder.with_name(experiment)
        if folder.exists():
            found += [
                run._replace(settings={**_fixed(config), **run.settings})
                for _, config, _, runs in [outcomes.read(folder)]
                for run in runs
                if run.optimizer == optimizer and wanted <= run.settings.items()
            ]
    return [*found, *outcome.runs]


def _fixed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a baseline changes in the recipe, but for what all leave out."""
    changes = parse_settings("recipe", config["recipe"])
    return {k: v for k, v in changes.items() if k != "weight_decay"}


def _introduce(name: str) -> list[str]:
    """Say what a named experiment asks, and what was published."""
    if name not in EXPERIMENTS:
        return []
    experiment = EXPERIMENTS[name]
    lines = [
        experiment.shows,
        f"Expected: {experiment.expected}",
        f"What counts: {experiment.better}",
    ]
    if experiment.baseline:
        lines.append(f"Shown beside: {', '.join(experiment.baseline)}.")
    return lines


def _stopped(outcome: Outcome) -> str:
    """Name the runs that ended early."""
    return "\n".join(
        f"* {run.label}, seed {run.seed}, ended early: {run.stopped}."
        for run in outcome.runs
        if run.stopped
    )


def _sign(outcome: Outcome) -> str:
    """Say how the numbers came about."""
    folder, config, header = outcome.folder, outcome.config, outcome.header
    devices, versions = header["devices"], header["versions"]
    cores = ""
    if devices["platform"] == "cpu":
        count = header["cpu_count"]
        cores = f", {count} core{'s' if count > 1 else ''}"
    seeds = config.get("seeds", 1)
    seconds = [line["seconds"] for run in outcome.runs for line in run.lines]
    took = f"{sum(seconds) / 60:.0f} minutes of training; " if seconds else ""
    return (
        f"`python -m benchmarks {' '.join(header['command'])}`; "
        f"{seeds} seed{'s' if seeds > 1 else ''} from {header['seed']}; {took}"
        f"{devices['count']} x {devices['kind']}{cores}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; commit {header['git_revision'][:10]}"
        + (" with changes" if "with changes" in header["git_revision"] else "")
        + f"; {header['started']}. Records: `{folder.name}/`."
    )


def write_key(key: outcomes.Key) -> str:
    """Write a label and settings in one.

    >>> write_key(("Padam", ("p", 0.125), ("learning_rate", 0.1)))
    'Padam, p = 1/8, learning rate = 0.1'
    """
    label, *settings = key
    return ", ".join([label, *map(_write_setting, settings)])


def _write_setting(setting: tuple[str, Any]) -> str:
    name, value = setting
    return f"{name.replace('_', ' ')} = {write_setting(value)}"


def as_markdown(table: Table) -> str:
    """Write a table in Markdown.

    Args:
      table: As it would be printed.

    >>> table = Table("p", "ratio")
    >>> table.add_row("1/8", "1.3")
    >>> print(as_markdown(table))
    | p | ratio |
    |---|---|
    | 1/8 | 1.3 |
    """
    head = [str(column.header).replace("\n", " ") for column in table.columns]
    body = zip(*(map(str, column.cells) for column in table.columns), strict=True)
    aligned = [
        "---:" if column.justify == "right" else "---" for column in table.columns
    ]
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(aligned)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in body)])
