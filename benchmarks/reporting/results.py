"""What finished runs have left in their folders, read back. Needs no JAX."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import run_files
from benchmarks.errors import UsageError
from benchmarks.experiments import EXPERIMENTS
from benchmarks.run_files import RunFiles
from benchmarks.settings import file_name, parse_settings

Line = Mapping[str, Any]
# A label, and pairs of setting and value.
Key = tuple[Any, ...]


class Run(NamedTuple):
    """One run of one optimizer.

    Attributes:
      optimizer: Its name.
      label: The name it has in tables and plots.
      recipe: The settings that it had.
      settings: Those of them that the grid gave it, of a sweep; otherwise none.
      seed: Its seed.
      lines: The records of its epochs.
      stopped: Why it ended early, else "".
      stage: "tuning" or "final" of a sweep that tunes, else "".
    """

    optimizer: str
    label: str
    recipe: Mapping[str, Any]
    settings: Mapping[str, Any]
    seed: int
    lines: Sequence[Line]
    stopped: str
    stage: str = ""


class Outcome(NamedTuple):
    """What a folder holds.

    Attributes:
      folder: The folder.
      config: The settings of its runs.
      header: How they came about; see `run_dir.header`.
      runs: The runs; of a sweep all that are finished.
    """

    folder: Path
    config: Mapping[str, Any]
    header: Mapping[str, Any]
    runs: Sequence[Run]

    @property
    def title(self) -> str:
        """What was trained."""
        config = self.config
        model, dataset, epochs = (
            " and ".join(map(str, config.get("grid", {}).get(name, [config[name]])))
            for name in ("model", "dataset", "epochs")
        )
        title = f"{model} on {dataset}, {epochs} epoch{'s' * (epochs != '1')}"
        plain = config.get("dtype", "float32") == "float32"
        return title if plain else f"{title}, {config['dtype']}"

    @property
    def measure(self) -> "Measure":
        """What its runs are judged by."""
        return measure_for(self.config)


class Measure(NamedTuple):
    """What runs are judged by.

    Attributes:
      name: With its unit.
      error: What a plot shows of it, with its unit: the less the better.
      of: Reads it from the record of an epoch.
      of_error: Reads what the plot shows.
      at_chance: What a network that guesses reaches, by the number of classes.
      more_is_better: Whether a larger value is a better one.
    """

    name: str
    error: str
    of: Callable[[Line], float]
    of_error: Callable[[Line], float]
    at_chance: Callable[[int], float]
    more_is_better: bool


def _perplexity(line: Line) -> float:
    return math.exp(line["test_loss"])


ACCURACY = Measure(
    "test accuracy in %",
    "test error (%)",
    lambda line: 100 * line["test_accuracy"],
    lambda line: 100 * (1 - line["test_accuracy"]),
    lambda classes: 100 / classes,
    more_is_better=True,
)
PERPLEXITY = Measure(
    "test perplexity per character",
    "test perplexity per character",
    _perplexity,
    _perplexity,
    float,
    more_is_better=False,
)

TRAIN_LOSS = Measure(
    "train loss",
    "train loss",
    lambda line: line["train_loss"],
    lambda line: line["train_loss"],
    math.log,
    more_is_better=False,
)


# The classes, or different characters, of a data set; ten if it is not named.
_CLASSES = {"cifar100": 100, "imagenet2012": 1000, "tiny_shakespeare": 65}


def classes(config: Mapping[str, Any]) -> int:
    """Return between how many classes a network chooses.

    Args:
      config: The settings of the run.
    """
    known = config.get("data", {}).get("classes")
    return known or _CLASSES.get(config["dataset"], 10)


def measure_for(config: Mapping[str, Any], evaluated: str = "test") -> Measure:
    """Return what the runs with these settings are judged by.

    Args:
      config: The settings, as config.json has them.
      evaluated: The part of the data set that counts, as the records name it: test or
        validation.
    """
    if config.get("metric"):
        name = config["metric"].rpartition(":")[2].rpartition(".")[2].partition(",")[0]
        return _plain(evaluated, name, more_is_better=not config.get("minimize"))
    kind = config.get("data", {}).get("kind")
    if config.get("data", {}).get("classes") == 0:
        return _plain(evaluated, "loss", more_is_better=False)
    is_text = kind == "text" or config["dataset"] == "tiny_shakespeare"
    measure = PERPLEXITY if is_text and not config.get("loss") else ACCURACY
    if evaluated == "test":
        return measure

    def read_as_test(read: Callable[[Line], float]) -> Callable[[Line], float]:
        parts = ("loss", "accuracy")
        return lambda line: read({f"test_{x}": line[f"{evaluated}_{x}"] for x in parts})

    return measure._replace(
        name=measure.name.replace("test", evaluated),
        error=measure.error.replace("test", evaluated),
        of=read_as_test(measure.of),
        of_error=read_as_test(measure.of_error),
    )


def _plain(evaluated: str, name: str, *, more_is_better: bool) -> Measure:
    """Make the measure of a loss or of the user's own metric, shown as it is."""
    title = f"{evaluated} {name.replace('_', ' ')}"

    def read(line: Line) -> float:
        return line[f"{evaluated}_{name}"]

    def at_chance(classes: int) -> float:
        return math.nan  # unknown

    return Measure(title, title, read, read, at_chance, more_is_better)


def read(folder: Path) -> Outcome:
    """Read the records of `train` or of `sweep`.

    Args:
      folder: As the command or `run_files.publish` left it; checkpoints are not needed.

    Raises:
      UsageError: If a file is missing or damaged, naming the folder.
    """
    return interpret(run_files.load(folder))


def interpret(files: RunFiles) -> Outcome:
    """Find the runs in the files of `train` or of `sweep`.

    Args:
      files: Those of the folder.

    Raises:
      UsageError: If a file is missing, naming the folder.
    """
    config = files.config
    try:
        if files.kind == "sweep":
            runs = [
                _find_run(files.inner(line["run"]), line["optimizer"], line)
                for line in files.lines("sweep")
                if line["state"] in ("complete", "stopped")
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
    return Outcome(files.folder, config, files.header, runs)


def _find_run(files: RunFiles, optimizer: str, about: Mapping[str, Any]) -> Run:
    path = f"{file_name(optimizer)}-seed{about['seed']}.jsonl"
    lines: list[Line] = list(files.files[path])
    stopped = lines.pop()["stopped"] if lines and "stopped" in lines[-1] else ""
    recipe = files.config["recipes"][optimizer]
    label = recipe.get("label", optimizer)
    settings, seed = about["settings"], about["seed"]
    stage = about.get("stage") or ""
    return Run(optimizer, label, recipe, settings, seed, lines, stopped, stage)


def group(runs: Iterable[Run]) -> dict[Key, list[Run]]:
    """Bring the seeds together.

    Returns:
      The runs by label and pairs of setting and value, in the order of the first ones.
    """
    groups: dict[Key, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.label, *run.settings.items()), []).append(run)
    return groups


def group_by_rate(runs: Iterable[Run]) -> dict[str, dict[float, list[Run]]]:
    """Bring those together that differ in learning rate and seed alone.

    Returns:
      By label and other settings, written, the runs of each learning rate.
    """
    swept: dict[str, dict[float, list[Run]]] = {}
    for (label, *pairs), same in group(runs).items():
        settings = dict(pairs)
        rate = settings.pop("learning_rate")
        swept.setdefault(write_key((label, *settings.items())), {})[rate] = same
    return swept


class Figure(NamedTuple):
    """A mean over seeds.

    Attributes:
      mean: The mean; NaN of nothing.
      deviation: The sample standard deviation; None of a single value.
      n: How many values.
      diverged: How many of them are the chance level, because the run diverged.
    """

    mean: float
    deviation: float | None
    n: int
    diverged: int = 0

    def __str__(self) -> str:
        return self.write()

    def write(self, places: int = 2) -> str:
        """Write the mean and the deviation, and how many runs diverged."""
        if not self.n:
            return "-"
        if self.diverged == self.n:
            return f"diverged ({self.n} of {self.n})"
        text = f"{self.mean:.{places}f}"
        if self.deviation is not None:
            text += f"±{self.deviation:.{places}f}"
        return text + (f" ({self.diverged} of {self.n} diverged)" * bool(self.diverged))


def summarise(values: Sequence[float]) -> Figure:
    """Take the mean and the sample deviation.

    >>> print(summarise([1.0, 2.0, 3.0]))
    2.00±1.00
    >>> print(summarise([1.0]), summarise([]))
    1.00 -
    """
    if not values:
        return Figure(math.nan, None, 0)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Figure(statistics.fmean(values), deviation, len(values))


def epoch_at(share: float, epochs: int) -> int:
    """Return the last epoch that ends within a share of the training, at least 1.

    >>> epoch_at(1 / 4, 8), epoch_at(1 / 4, 6), epoch_at(1 / 4, 50)
    (2, 1, 12)
    """
    return max(1, math.floor(share * epochs + 1e-9))


def line_at(run: Run, epoch: int) -> Line | None:
    """Return a run's record of an epoch, if it came that far."""
    return next((line for line in run.lines if line["epoch"] == epoch), None)


def at(runs: Iterable[Run], share: float, epochs: int) -> list[Line]:
    """Return each run's record after a share of the epochs, if it came that far.

    Args:
      runs: The runs.
      share: In (0, 1].
      epochs: The length of a whole run.
    """
    found = (line_at(run, epoch_at(share, epochs)) for run in runs)
    return [line for line in found if line is not None]


def figure_at(
    outcome: Outcome, runs: Iterable[Run], share: float, by: Measure | None = None
) -> Figure:
    """Summarise what counts after a share of the epochs.

    Args:
      outcome: What the runs are of.
      runs: Those to summarise. One that diverged before counts as the chance level;
        one that was cut off is left out.
      share: In (0, 1].
      by: What counts; None: what the runs are judged by.
    """
    runs, measure = list(runs), by or outcome.measure
    values = [measure.of(x) for x in at(runs, share, outcome.config["epochs"])]
    epoch = epoch_at(share, outcome.config["epochs"])
    diverged = sum(bool(run.stopped) and line_at(run, epoch) is None for run in runs)
    chance = measure.at_chance(classes(outcome.config))
    return summarise(values + diverged * [chance])._replace(diverged=diverged)


def train_accuracy(line: Line) -> float:
    """Return the train accuracy in % at the end of a run.

    That of the final weights on the training set without augmentation if it was
    measured, else that of the last epoch while training.
    """
    return 100 * line.get("final_train_accuracy", line["train_accuracy"])


def decades(lines: Iterable[Line]) -> Iterable[float]:
    """Yield by how many powers of ten the effective rates of a run are spread."""
    for line in lines:
        quantiles = line.get("effective_learning_rate")
        if quantiles and quantiles[0] and quantiles[-1]:
            yield math.log10(quantiles[-1] / quantiles[0])


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
      What the experiment's folder holds, None if there is none, and the runs with
      these settings; of a sweep with finals, those.
    """
    experiment, _, chosen = entry.partition("/")
    optimizer, *settings = chosen.split()
    if not run_files.is_run(results / experiment):
        return None, []
    outcome = read(results / experiment)
    wanted = parse_settings("baseline", settings)
    free = {name for name, value in wanted.items() if value == "best"}
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
    finals = [run for run in runs if run.stage != "tuning"]
    return outcome, finals


def settings_of(run: Run) -> dict[str, Any]:
    """Return the settings of a run, whether its recipe or the grid gave them."""
    return {**run.recipe, **run.settings}


def _choose(
    outcome: Outcome, runs: Sequence[Run], free: Set[str], by: Measure
) -> list[Run]:
    """Keep the runs with the best values of some settings."""
    names = sorted(free)
    by_value: dict[Key, list[Run]] = {}
    for run in runs:
        values = tuple(settings_of(run).get(name) for name in names)
        by_value.setdefault(values, []).append(run)
    if any(run.stage == "final" for run in runs):  # these have what the sweep chose
        by_value = {
            values: same
            for values, same in by_value.items()
            if any(run.stage == "final" for run in same)
        }
    means = {values: tuned_mean(outcome, same, by) for values, same in by_value.items()}
    means = {values: mean for values, mean in means.items() if not math.isnan(mean)}
    if not means:
        return []
    best = max if by.more_is_better else min
    return by_value[best(means, key=means.__getitem__)]


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
    means = [_on_validation_set(outcome, x).mean for x in group(tuning).values()]
    known = [mean for mean in means if not math.isnan(mean)]
    best = max if outcome.measure.more_is_better else min
    return best(known, default=math.nan)


def _on_validation_set(outcome: Outcome, tuning: Sequence[Run]) -> Figure:
    config, last = outcome.config, outcome.config["epochs"]
    measure = measure_for(config, "validation")
    lines = [line_at(run, last) for run in tuning if not run.stopped]
    values = [measure.of(line) for line in lines if line is not None]
    diverged = sum(bool(run.stopped) for run in tuning)
    chance = measure.at_chance(classes(config))
    return summarise([*values, *diverged * [chance]])._replace(diverged=diverged)


def group_tried(
    outcome: Outcome, tuning: Iterable[Run]
) -> dict[str, dict[float, Figure]]:
    """Summarise what counts on the validation set by what was tuned.

    Args:
      outcome: A sweep that tunes a setting.
      tuning: Its runs that tune.

    Returns:
      By label and other settings, written, the figure of each value, rising. A run that
      diverged counts as the chance level; values without a finished run are left out.
    """
    name = outcome.config["tune"]
    tried: dict[str, dict[float, Figure]] = {}
    for (label, *pairs), runs in group(tuning).items():
        settings = dict(pairs)
        value = settings.pop(name)
        figure = _on_validation_set(outcome, runs)
        if figure.n:
            key = write_key((label, *settings.items()))
            tried.setdefault(key, {})[value] = figure
    return {key: dict(sorted(figures.items())) for key, figures in tried.items()}


def best_tried(outcome: Outcome, figures: Mapping[float, Figure]) -> float:
    """Return the value with the best mean; of equally good ones the smallest."""
    sign = 1 if outcome.measure.more_is_better else -1
    return max(sorted(figures), key=lambda value: sign * figures[value].mean)


def with_baseline(outcome: Outcome) -> list[Run]:
    """Put the runs of other experiments first that these are compared with."""
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
    """Return what an experiment changes in the recipe, except what all leave out."""
    changes = parse_settings("recipe", config["recipe"])
    # What one optimizer has of its own, as adam:b2, is in the recipe of its runs.
    return {k: v for k, v in changes.items() if k != "weight_decay" and ":" not in k}


def group_by_b0(outcome: Outcome) -> dict[str, dict[float, list[Run]]]:
    """Group the runs of AdaGrad-Norm and of SGD with the steps 1/b0 by method and b0.

    Args:
      outcome: A sweep of AdaGrad-Norm over b0; that of SGD is its baseline.
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


def find_robustness(
    outcome: Outcome,
) -> dict[str, dict[float, tuple[Figure, Figure]]]:
    """Find the accuracies on the training and the test set by method and b0.

    Args:
      outcome: See `group_by_b0`.
    """

    def figures(runs: Sequence[Run]) -> tuple[Figure, Figure]:
        test = figure_at(outcome, runs, 1)
        ends = at(runs, 1, outcome.config["epochs"])
        train = [100 * line["train_accuracy"] for line in ends]
        chance = 100 / classes(outcome.config)
        train += test.diverged * [chance]
        return summarise(train)._replace(diverged=test.diverged), test

    return {
        label: {b0: figures(runs) for b0, runs in points.items()}
        for label, points in group_by_b0(outcome).items()
    }


def write_key(key: Key) -> str:
    """Write a label and settings in one.

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
    """Write the value of a setting, a simple fraction as such.

    >>> write_setting(0.125), write_setting(0.01), write_setting("none")
    ('1/8', '0.01', 'none')
    """
    if not isinstance(value, float):
        return str(value)
    simple = Fraction(value).limit_denominator(16)
    is_simple = simple.numerator == 1 and simple.denominator in (2, 4, 8, 16)
    return str(simple) if is_simple and float(simple) == value else f"{value:g}"
