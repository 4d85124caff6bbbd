"""Read the runs in folders of results, and group them. Needs no JAX."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import run_files
from benchmarks.errors import UsageError
from benchmarks.experiments import EXPERIMENTS
from benchmarks.reporting.measures import (
    TRAIN_ACCURACY,
    Figure,
    Line,
    Measure,
    classes,
    measure_for,
    summarize,
)
from benchmarks.run_files import RunFiles
from benchmarks.settings import file_name, parse_settings

# A label, and pairs of setting and value.
Key = tuple[Any, ...]


class Run(NamedTuple):
    """One run of one optimizer.

    Attributes:
      optimizer: Its name.
      label: Its name in tables and plots.
      recipe: Its settings.
      settings: Those that the grid of a sweep gave it.
      seed: Its seed.
      lines: The records of its epochs.
      stopped: Why it ended early, else "".
      stage: "tuning" or "final" in a sweep that tunes, else "".
    """

    optimizer: str
    label: str
    recipe: Mapping[str, Any]
    settings: Mapping[str, Any]
    seed: int
    lines: Sequence[Line]
    stopped: str
    stage: str = ""

    @property
    def key(self) -> Key:
        """The label and the settings, the same for all seeds."""
        return (self.label, *self.settings.items())


class Outcome(NamedTuple):
    """The runs of a folder.

    Attributes:
      folder: The folder.
      config: The settings of its runs.
      header: Their provenance; see `run_dir.header`.
      runs: The runs; in a sweep, those that have ended. The finals count once no run is
        waiting: chance decides which of them end first.
      waiting: How many of the runs that a sweep has planned so far have not ended.
    """

    folder: Path
    config: Mapping[str, Any]
    header: Mapping[str, Any]
    runs: Sequence[Run]
    waiting: int = 0

    @property
    def title(self) -> str:
        """The network, the data set and the number of epochs."""
        config = self.config
        model, dataset, epochs = (
            " and ".join(map(str, config.get("grid", {}).get(name, [config[name]])))
            for name in ("model", "dataset", "epochs")
        )
        title = f"{model} on {dataset}, {epochs} epoch{'s' * (epochs != '1')}"
        plain = config.get("dtype", "float32") == "float32"
        return title if plain else f"{title}, {config['dtype']}"

    @property
    def measure(self) -> Measure:
        """The measure by which its runs are judged."""
        return measure_for(self.config)


def read(folder: Path) -> Outcome:
    """Read the runs of `train` or of `sweep` from their folder."""
    return interpret(run_files.load(folder))


def interpret(files: RunFiles) -> Outcome:
    """Find the runs in the files of `train` or of `sweep`.

    Raises:
      UsageError: If a file is missing, naming the folder.
    """
    config, waiting = files.config, 0
    try:
        if files.kind == "sweep":
            states = [line["state"] for line in files.lines("sweep")]
            waiting = states.count("waiting") + states.count("running")
            runs = [
                _find_run(files.inner(line["run"]), line["optimizer"], line)
                for line in files.lines("sweep")
                if line["state"] in ("complete", "stopped")
                if not (waiting and line.get("stage") == "final")
            ]
        else:
            seeds = range(config["seed"], config["seed"] + config["seeds"])
            runs = [
                _find_run(files, name, {"seed": seed, "settings": {}})
                for name in config["recipes"]
                for seed in seeds
                if files.lines(f"{file_name(name)}-seed{seed}")
            ]
    except KeyError as error:
        raise UsageError(
            f"{files.folder} cannot be read: there is no {error}."
        ) from error
    return Outcome(files.folder, config, files.header, runs, waiting)


def _find_run(files: RunFiles, optimizer: str, about: Mapping[str, Any]) -> Run:
    path = f"{file_name(optimizer)}-seed{about['seed']}.jsonl"
    lines: list[Line] = list(files.files[path])
    stopped = lines.pop()["stopped"] if lines and "stopped" in lines[-1] else ""
    recipe = files.config["recipes"][optimizer]
    label = recipe.get("label", optimizer)
    settings, seed = about["settings"], about["seed"]
    stage = about.get("stage") or ""
    return Run(optimizer, label, recipe, settings, seed, lines, stopped, stage)


def settings_of(run: Run) -> dict[str, Any]:
    """Return all settings of a run, from its recipe and the grid."""
    return {**run.recipe, **run.settings}


def group(runs: Iterable[Run]) -> dict[Key, list[Run]]:
    """Group runs that differ only in their seed, in order of appearance."""
    groups: dict[Key, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.key, []).append(run)
    return groups


def group_by_label(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Group runs that differ only in their seed, by label and settings in words."""
    return {write_key(key): same for key, same in group(runs).items()}


def group_by(runs: Iterable[Run], setting: str) -> dict[str, dict[Any, list[Run]]]:
    """Group runs by label and all settings but one, in words, then by that one."""
    groups: dict[str, dict[Any, list[Run]]] = {}
    for (label, *pairs), same in group(runs).items():
        settings = dict(pairs)
        value = settings.pop(setting)
        groups.setdefault(write_key((label, *settings.items())), {})[value] = same
    return groups


def group_by_b0(outcome: Outcome) -> dict[str, dict[float, list[Run]]]:
    """Group a sweep of AdaGrad-Norm and its baseline, SGD, by method and b0.

    The rates of SGD are 1/b0.
    """
    runs = with_baseline(outcome)
    runs = [*outcome.runs, *runs[: -len(outcome.runs)]]
    methods: dict[str, dict[float, list[Run]]] = {}
    for same in group(runs).values():
        settings, label = same[0].settings, same[0].label
        if "b0" in settings:
            b0 = settings["b0"]
        else:
            b0 = 1 / settings["learning_rate"]
            rate = "1/b0" if settings["schedule"] == "constant" else "1/(b0 √k)"
            label = f"{label}, {rate}"
        methods.setdefault(label, {})[float(f"{b0:g}")] = same
    return {label: dict(sorted(points.items())) for label, points in methods.items()}


def epoch_at(share: float, epochs: int) -> int:
    """Return the last epoch that ends within a share of the training, at least 1.

    >>> epoch_at(1 / 4, 8), epoch_at(1 / 4, 6), epoch_at(1 / 4, 50)
    (2, 1, 12)
    """
    return max(1, math.floor(share * epochs + 1e-9))


def line_at(run: Run, epoch: int) -> Line | None:
    """Return a run's record of an epoch, if it got that far."""
    return next((line for line in run.lines if line["epoch"] == epoch), None)


def lines_at(runs: Iterable[Run], epoch: int) -> list[Line]:
    """Return the records of an epoch of all runs that got that far."""
    found = (line_at(run, epoch) for run in runs)
    return [line for line in found if line is not None]


def figure_at(
    outcome: Outcome, runs: Iterable[Run], share: float, by: Measure | None = None
) -> Figure:
    """Summarize a measure, by default the outcome's, after a share of the epochs.

    A run that diverged before counts as the chance level; one that was cut off is left
    out.
    """
    runs, measure = list(runs), by or outcome.measure
    epoch = epoch_at(share, outcome.config["epochs"])
    values = [measure.of(line) for line in lines_at(runs, epoch)]
    diverged = sum(bool(run.stopped) and line_at(run, epoch) is None for run in runs)
    chance = measure.at_chance(classes(outcome.config))
    return summarize(values + diverged * [chance])._replace(diverged=diverged)


def train_accuracy(line: Line) -> float:
    """Return the train accuracy in % at the end of a run.

    That of the final weights on the training set without augmentation if it was
    measured, else that of the last epoch while training.
    """
    return 100 * line.get("final_train_accuracy", line["train_accuracy"])


def decades(lines: Iterable[Line]) -> Iterator[float]:
    """Yield the spread of the effective learning rates in powers of ten."""
    for line in lines:
        quantiles = line.get("effective_learning_rate")
        if quantiles and quantiles[0] and quantiles[-1]:
            yield math.log10(quantiles[-1] / quantiles[0])


def read_ended(folder: Path) -> Outcome | None:
    """Read an experiment on which claims can be judged, or return None.

    None is returned for a sweep that goes on, too: what it chooses, and which seeds
    there are, may still change.
    """
    outcome = read(folder) if run_files.is_run(folder) else None
    return None if outcome is None or outcome.waiting else outcome


def find(
    results: Path, entry: str, by: Measure | None = None, epochs: int | None = None
) -> tuple[Outcome | None, list[Run]]:
    """Find the runs of one optimizer.

    Args:
      results: A folder with a folder for each experiment.
      entry: Experiment, optimizer and settings: dilemma/padam p=0.5. An optimizer of
        that name with a p of its own, such as padam-p0.5, is meant, too. A setting
        that is "best" is chosen: on the validation set where the sweep has
        tuned on one, else by the mean at the end. AMSGrad, p = 1/2, is not chosen.
      by: What decides which is best; None: what the runs are judged by.
      epochs: After how many epochs it decides; None: at the end.

    Returns:
      What `read_ended` gives for the experiment, and the runs with these settings; of
      a sweep with finals, those.
    """
    experiment, _, chosen = entry.partition("/")
    optimizer, *settings = chosen.split()
    outcome = read_ended(results / experiment)
    if outcome is None:
        return None, []
    wanted = parse_settings("baseline", settings)
    free = sorted(name for name, value in wanted.items() if value == "best")
    given = {name: value for name, value in wanted.items() if name not in free}
    runs = [
        run
        for run in outcome.runs
        if (run.optimizer == optimizer or run.optimizer.startswith(f"{optimizer}-p0"))
        and given.items() <= settings_of(run).items()
    ]
    if free:
        candidates = [run for run in runs if settings_of(run).get("p") != 0.5]
        ended = outcome
        if epochs is not None:
            ended = outcome._replace(config={**outcome.config, "epochs": epochs})
        runs = _choose(ended, candidates, free, by or outcome.measure)
    return outcome, [run for run in runs if run.stage != "tuning"]


def _choose(
    outcome: Outcome, runs: Sequence[Run], free: Sequence[str], by: Measure
) -> list[Run]:
    """Keep the runs with the best values of some settings."""
    by_value: dict[Key, list[Run]] = {}
    for run in runs:
        values = tuple(settings_of(run).get(name) for name in free)
        by_value.setdefault(values, []).append(run)
    if any(run.stage == "final" for run in runs):  # these have what the sweep chose
        by_value = {
            values: same
            for values, same in by_value.items()
            if any(run.stage == "final" for run in same)
        }
    means = {values: tuned_mean(outcome, same, by) for values, same in by_value.items()}
    best = by.best(means)
    return by_value[best] if best is not None else []


def tuned_mean(
    outcome: Outcome, runs: Sequence[Run], by: Measure | None = None
) -> float:
    """Return the mean by which settings are chosen, NaN without a finished run.

    It is that of the tuning runs on the validation set where there are any, at the best
    of the values that they try, else that of the runs at the end, by the measure.
    """
    tuning = [run for run in runs if run.stage == "tuning"]
    if not tuning:
        return figure_at(outcome, runs, 1, by).mean
    groups = group(tuning).items()
    means = {key: _on_validation_set(outcome, same).mean for key, same in groups}
    best = outcome.measure.best(means)
    return means[best] if best is not None else math.nan


def _on_validation_set(outcome: Outcome, tuning: Sequence[Run]) -> Figure:
    return figure_at(outcome, tuning, 1, measure_for(outcome.config, "validation"))


def find_tried(outcome: Outcome) -> dict[str, dict[float, Figure]]:
    """Summarize the validation results for each value of the tuned setting.

    Returns:
      By label and other settings, in words, the figure of each value, rising. A run
      that diverged counts as the chance level; values without a finished run are left
      out.
    """
    tuning = [run for run in outcome.runs if run.stage == "tuning"]
    tried: dict[str, dict[float, Figure]] = {}
    for label, by_value in group_by(tuning, outcome.config["tune"]).items():
        for value, same in sorted(by_value.items()):
            figure = _on_validation_set(outcome, same)
            if figure.n:
                tried.setdefault(label, {})[value] = figure
    return tried


def find_robustness(
    outcome: Outcome,
) -> dict[str, dict[float, tuple[Figure, Figure]]]:
    """Return train and test accuracy by method and b0; see `group_by_b0`."""
    return {
        label: {
            b0: (
                figure_at(outcome, runs, 1, TRAIN_ACCURACY),
                figure_at(outcome, runs, 1),
            )
            for b0, runs in points.items()
        }
        for label, points in group_by_b0(outcome).items()
    }


def with_baseline(outcome: Outcome) -> list[Run]:
    """Return the baseline's runs from other experiments, followed by its own."""
    name = outcome.folder.name
    baseline = EXPERIMENTS[name].baseline if name in EXPERIMENTS else ()
    found = []
    for entry in baseline:
        other, runs = find(outcome.folder.parent, entry)
        if other is not None:
            same = fixed(other.config)
            found += [run._replace(settings={**same, **run.settings}) for run in runs]
    return [*found, *outcome.runs]


def fixed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe changes of an experiment, except weight decay."""
    changes = parse_settings("recipe", config["recipe"])
    # What one optimizer has of its own, as adam:b2, is in the recipe of its runs.
    return {k: v for k, v in changes.items() if k != "weight_decay" and ":" not in k}


def write_key(key: Key) -> str:
    """Write a label and its settings.

    >>> write_key(("Padam", ("p", 0.125), ("learning_rate", 0.1)))
    'Padam, p = 1/8, learning rate = 0.1'
    """
    label, *settings = key
    return ", ".join([label, *map(write_pair, settings)])


def write_pair(setting: tuple[str, Any]) -> str:
    """Write a setting with its name."""
    name, value = setting
    return f"{name.replace('_', ' ')} = {write_setting(value)}"


def write_setting(value: Any) -> str:
    """Write the value of a setting, simple fractions as such.

    >>> write_setting(0.125), write_setting(0.01), write_setting("none")
    ('1/8', '0.01', 'none')
    """
    if not isinstance(value, float):
        return str(value)
    simple = Fraction(value).limit_denominator(16)
    is_simple = simple.numerator == 1 and simple.denominator in (2, 4, 8, 16)
    return str(simple) if is_simple and float(simple) == value else f"{value:g}"
