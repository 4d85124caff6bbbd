"""The sections of the report, one for each folder of results. Needs no JAX."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from benchmarks import run_files
from benchmarks.errors import UsageError
from benchmarks.experiments import EXPERIMENTS
from benchmarks.gan import plan as gan_plan
from benchmarks.landscape.surfaces import SURFACES, panel
from benchmarks.reporting import results as outcomes
from benchmarks.reporting import views
from benchmarks.reporting.plots import gan as gan_plots
from benchmarks.reporting.plots import landscape as landscape_plots
from benchmarks.reporting.plots import regret as regret_plots
from benchmarks.reporting.plots import step_time as speed_drawings
from benchmarks.reporting.plots import theory as theory_plots
from benchmarks.reporting.results import Outcome, Run
from benchmarks.reporting.tables import as_markdown
from benchmarks.reporting.views import Plot, write_plot
from benchmarks.run_files import RunFiles
from benchmarks.theory.plans import PLANS


class Section(NamedTuple):
    """The section of the report about one folder of results, and its plots."""

    name: str
    title: str
    text: str
    plots: Sequence[Plot]
    is_finished: bool = True


def describe(folder: Path, plots: Path) -> Section:
    """Describe a folder of results.

    Raises:
      UsageError: If it cannot be read, naming it.
    """
    files = run_files.load(folder)
    if files.kind not in _KINDS:
        raise UsageError(f"{folder} holds no run that the report knows.")
    try:
        return _KINDS[files.kind](files, plots)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UsageError(
            f"{folder} holds records that the report cannot show: {error!r}."
        ) from error


def _describe_training(files: RunFiles, plots: Path) -> Section:
    outcome, name = outcomes.interpret(files), files.folder.name
    text, drawn = views.show(outcome, plots / f"{name}.png")
    parts = [*_introduce(name), *_count_waiting(outcome), *text]
    parts.append(_sign(files, outcome.runs))
    title, text = f"{name}: {outcome.title}", "\n\n".join(parts)
    return Section(name, title, text, drawn, is_finished=not outcome.waiting)


def _count_waiting(outcome: Outcome) -> list[str]:
    """Say of a sweep that goes on how far it has come."""
    if not outcome.waiting:
        return []
    return [
        f"**Unfinished**: of the runs planned so far {outcome.waiting} have not ended. "
        "Claims are judged when all have."
    ]


def describe_not_run(name: str) -> Section:
    """Show the published figures of an experiment that has no results here."""
    experiment = EXPERIMENTS[name]
    epochs = experiment.config.epochs
    quarters = [outcomes.epoch_at(k / 4, epochs) for k in (1, 2, 3, 4)]
    table = Table("optimizer", *(f"epoch {epoch}" for epoch in quarters))
    for label, cells in experiment.published.items():
        table.add_row(label, *["not run"] * len(cells))
        table.add_row(f"{label}, published", *cells)
    parts = [*_introduce(name), as_markdown(table), f"`{command(name)}`"]
    return Section(name, f"{name}: not run", "\n\n".join(parts), [])


def command(name: str) -> str:
    """Return the command that runs an experiment."""
    kind = "sweep" if EXPERIMENTS[name].grid else "train"
    return f"python -m benchmarks {kind} {name} --data-dir DIR --out OUT/{name}"


def _describe_compilation(files: RunFiles) -> Section:
    name = files.folder.name
    text = [
        "CPU time until the update and its application are traced, lowered and "
        "compiled, all candidates taking turns in one process. Compared is the ratio "
        "to optax.amsgrad within a turn.",
        *_tabulate(files.lines("speed"), speed_drawings.compilation_table),
        _sign(files),
    ]
    return Section(name, f"{name}: the time of compilation", "\n\n".join(text), [])


def _tabulate(lines: list[Any], make_table: Callable[[list[Any]], Table]) -> list[str]:
    """Return title and table of each tree."""
    text = []
    for tree in dict.fromkeys(line["tree"] for line in lines):
        table = make_table([line for line in lines if line["tree"] == tree])
        text += [f"**{table.title}**", as_markdown(table)]
    return text


def _describe_speed(files: RunFiles, plots: Path) -> Section:
    if files.config.get("compilation"):
        return _describe_compilation(files)
    lines, name = files.lines("speed"), files.folder.name
    plot = plots / f"{name}.png"
    text = [
        "What a step takes: the update and its application, compiled with donated "
        "buffers, all candidates taking turns in one process. Compared is the ratio to "
        "optax.adam within a turn.",
    ]
    text.append("<details><summary>All trees and candidates</summary>")
    text += [*_tabulate(lines, speed_drawings.speed_table), "</details>", _sign(files)]
    turns = len(lines[0]["seconds"])
    if files.config.get("growth"):
        speed_drawings.draw_growth(lines, files.lines("shares"), plot)
        title = "how the cost of a step grows"
        caption = (
            f"{title.capitalize()}. Medians of {turns} turns, bands: quartiles; right: "
            "state on each device if it is divided among them."
        )
    else:
        speed_drawings.draw_speed(lines, plot)
        title = "the speed of a step"
        caption = (
            f"{title.capitalize()}, as a ratio to optax.adam in the same turn. Points: "
            f"medians of {turns} turns, lines: quartiles; left of 1 is faster."
        )
    plots_drawn = [Plot(plot, caption)]
    return Section(name, f"{name}: {title}", "\n\n".join(text), plots_drawn)


def _describe_regret(files: RunFiles, plots: Path) -> Section:
    lines = {name: files.lines(name) for name in files.config["games"]}
    parts = [
        "Losses come one at a time, the step is Algorithm 1 with α/√t on a box. The "
        "regret is beside the theorem's bound and the tighter sum of its proof.",
    ]
    drawn = []
    seeds = files.config.get("seeds", 1)
    captions = {name: text.format(seeds) for name, text in _REGRET_CAPTIONS.items()}
    for name, table, draw in regret_plots.pictures(lines):
        if table:
            parts += [f"**{table.title}**", as_markdown(table)]
        own = "" if files.folder.name == "regret" else f"{files.folder.name}-"
        drawn.append(Plot(plots / f"{own}{name}.png", captions[name]))
        draw(drawn[-1].path)
    parts.append(_sign(files))
    title, text = "Regret, and where p decides", "\n\n".join(parts)
    return Section(files.folder.name, title, text, drawn)


def _describe_landscape(files: RunFiles, plots: Path) -> Section:
    lines = {name: files.lines(name) for name in files.config["surfaces"]}
    table = landscape_plots.landscape_table(lines)
    plot = plots / f"{files.folder.name}.png"
    panels = {name: panel(SURFACES[name]) for name in lines}
    landscape_plots.draw_landscapes(panels, lines, plot)
    parts = [f"**{table.title}**", as_markdown(table), _sign(files)]
    caption = (
        "Trajectories on surfaces, each optimizer at the best of its learning rates. "
        f"Above: paths from the square, stars are minima; below: loss above the "
        f"minimum. One run on each surface, on the noisy one the first of "
        f"{files.config.get('seeds', 1)} seeds."
    )
    title, text = "Trajectories on surfaces", "\n\n".join(parts)
    return Section(files.folder.name, title, text, [Plot(plot, caption)])


def _describe_theory(files: RunFiles, plots: Path) -> Section:
    text = describe_studies(files, plots)
    title = "Theorems and formulas on constructed problems"
    return Section(files.folder.name, title, f"{text}\n\n{_sign(files)}", [])


def describe_studies(files: RunFiles, plots: Path) -> str:
    """Describe the question and the result of each theory study; draw the plots."""
    parts = [
        "Problems made for the purpose, on which formulas and theorems of the sources "
        "can be measured. They show that a claim can be met, or missed; they prove no "
        "theorem."
    ]
    for name, plan in PLANS.items():
        lines = files.lines(name)
        if not lines:
            continue
        plot = plots / f"{files.folder.name}-{name}.png"
        theory_plots.DRAWINGS[name](lines, plot)
        table = theory_plots.TABLES[name](lines)
        parts += [
            f"### {plan.title}",
            plan.question,
            f"Setting: {plan.budget}",
            f"What counts: {plan.rule}",
            f"Expected: {plan.expected}",
            f"What it cannot show: {plan.limits}",
            write_plot(Plot(plot, theory_plots.CAPTIONS[name]), plots.parent),
            f"**{table.title}**",
            as_markdown(table),
        ]
    return "\n\n".join(parts)


def _describe_gan(files: RunFiles, plots: Path) -> Section:
    lines, name = files.lines("gan"), files.folder.name
    table = gan_plots.gan_table(lines)
    plot = plots / f"{name}.png"
    gan_plots.draw_gan(lines, plot)
    parts = [
        gan_plan.QUESTION,
        f"Expected: {gan_plan.EXPECTED}",
        f"What counts: {gan_plan.RULE}",
        f"What it cannot show: {gan_plan.LIMITS}",
        f"**{table.title}**",
        as_markdown(table),
        _sign(files),
    ]
    seeds, steps = files.config["seeds"], files.config["steps"]
    caption = (
        f"Fréchet distance of generated images over {steps} steps. Left: means of "
        f"{seeds} seeds at the best learning rate, bands from the lowest to the "
        "highest; right: one run at each learning rate. Crosses: diverged."
    )
    finished = "finished" in files.header
    if not finished:
        parts.insert(0, "**Unfinished**. Claims are judged when all runs have ended.")
    title, text = "Generative adversarial networks on MNIST", "\n\n".join(parts)
    return Section(name, title, text, [Plot(plot, caption)], finished)


_REGRET_CAPTIONS = {
    "regret": (
        "Regret and its bounds. Above: means of {} seeds, dashed the sum in the proof, "
        "dotted the theorem's own bound, which is orders of magnitude away; below: "
        "R_t/√t, bands from the lowest to the highest seed."
    ),
    "counterexample": (
        "Reddi's counterexample, one deterministic game. Solid: with the running "
        "maximum, dashed: without; the best point is -1."
    ),
    "phase-transition": (
        "Where p decides, deterministic descent at a fixed rate. Left: paths; middle "
        "and right: where each p ends, from four starts, with the running maximum and "
        "without."
    ),
}
_KINDS: dict[str, Callable[[RunFiles, Path], Section]] = {
    "train": _describe_training,
    "sweep": _describe_training,
    "speed": _describe_speed,
    "regret": _describe_regret,
    "landscape": _describe_landscape,
    "theory": _describe_theory,
    "gan": _describe_gan,
}


def _introduce(name: str) -> list[str]:
    """Describe the question of a named experiment."""
    if name not in EXPERIMENTS:
        return []
    experiment = EXPERIMENTS[name]
    lines = [
        experiment.shows,
        f"Expected: {experiment.expected}",
        f"What counts: {experiment.better}",
    ]
    if experiment.limits:
        lines.append(f"What it cannot show: {experiment.limits}")
    return lines


def _sign(files: RunFiles, runs: Sequence[Run] = ()) -> str:
    """Describe the provenance of the numbers."""
    folder, config, header = files.folder, files.config, files.header
    devices, versions = header["devices"], header["versions"]
    cores = ""
    if devices["platform"] == "cpu":
        count = header["cpu_count"]
        cores = f", {count} core{'s' if count > 1 else ''}"
    seeds = config.get("seeds", 1)
    draws = ""
    if seeds is not None:
        draws = f"{seeds} seed{'s' if seeds > 1 else ''} from {header['seed']}; "
    seconds = [line["seconds"] for run in runs for line in run.lines]
    minutes = round(sum(seconds) / 60)
    unit = "minute" if minutes == 1 else "minutes"
    took = f"{minutes} {unit} of training; " if seconds else ""
    return (
        f"`python -m benchmarks {shlex.join(header['command'])}`; "
        f"{draws}{took}"
        f"{devices['count']} x {devices['kind']}{cores}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"; commit {_date(header)}"
        + "".join(
            f"; resumed at commit {_date(later)}{_changed(versions, later['versions'])}"
            for later in header.get("resumed", [])
        )
        + f". Records: `{folder.name}/`."
    )


def _date(header: Mapping[str, Any]) -> str:
    """Return the commit and the start time of a program."""
    commit = header["git_revision"]
    changes = " with changes" if "with changes" in commit else ""
    return f"{commit[:10]}{changes}; {header['started']}"


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Return the versions that have changed, in parentheses."""
    new = [f"{name} {v}" for name, v in after.items() if before.get(name) != v]
    return f" ({', '.join(new)})" if new else ""
