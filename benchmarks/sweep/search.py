"""Search spaces for Optuna's samplers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from benchmarks import optimizers
from benchmarks.errors import UsageError
from benchmarks.settings import file_name
from benchmarks.sweep import grid as grids
from benchmarks.sweep.config import SweepConfig
from benchmarks.sweep.grid import Relative, Run, Value
from benchmarks.training.config import TrainConfig

_FORMS = "name=low:high, name=low:high:log, name=low:high:int or name=one,another"


class Range(NamedTuple):
    """A closed interval, and how to sample from it."""

    low: Value | Relative
    high: Value | Relative
    log: bool
    integer: bool


Space = Mapping[str, Range | tuple[Value, ...]]


def read_space(config: SweepConfig) -> dict[str, Range | tuple[Value, ...]]:
    """Parse --search: the range or the choices of each setting.

    Raises:
      UsageError: If a setting does not exist, or a range is invalid.
    """
    fixed = grids.fixed_settings(config.train)
    space: dict[str, Range | tuple[Value, ...]] = {}
    for given in config.search:
        name, equals, text = given.partition("=")
        if not (name and equals and text):
            raise UsageError(f"--search must be {_FORMS}, got {given!r}.")
        if name in space:
            raise UsageError(f"--search takes each setting once, got {name} twice.")
        if name in fixed:
            raise UsageError(f"--search and --recipe both set {name}; leave one out.")
        read = grids.find_reader("--search", name, config.train)

        def value(part: str, read: Any = read, given: str = given) -> Any:
            return read(part, f"--search {given}: it")

        low, *rest = text.split(":")
        if rest:
            space[name] = _read_range(given, value(low), value(rest[0]), rest[1:])
        else:
            space[name] = tuple(value(part) for part in text.split(","))
            _check_choices(given, space[name])
    for optimizer in config.train.optimizers if space else ():
        distributions(optimizer, space)
    return space


def _read_range(
    given: str, low: Value | Relative, high: Value | Relative, flags: list[str]
) -> Range:
    if len({*flags}) < len(flags) or not {*flags} <= {"log", "int"}:
        raise UsageError(
            f"--search must be {_FORMS}, got {given!r}: after the ends of a range "
            "come :log and :int."
        )
    if not all(
        isinstance(x, int | float | Relative) and not isinstance(x, bool)
        for x in (low, high)
    ):
        raise UsageError(f"--search {given}: it is not a number; list its values.")
    integer = "int" in flags or (isinstance(low, int) and isinstance(high, int))
    if integer:
        low, high = _as_whole(given, low), _as_whole(given, high)
    return Range(low, high, "log" in flags, integer)


def _as_whole(given: str, end: Value | Relative) -> int:
    if isinstance(end, Relative | str) or end != int(end):
        raise UsageError(f"--search {given}: {end} is not a whole number.")
    return int(end)


def _check_choices(given: str, choices: tuple[Any, ...]) -> None:
    if len(choices) < 2 or len(set(choices)) < len(choices):
        raise UsageError(
            f"--search {given}: give a range, as 1e-4:1:log, or two or more values, "
            "each once."
        )
    if any(isinstance(choice, Relative) for choice in choices):
        raise UsageError(
            f"--search {given}: multiples of a recipe's value make a range, as "
            "*0.1:*10:log."
        )


def distributions(optimizer: str, space: Space) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions for the settings of a search space.

    Relative ends refer to the recipe of the optimizer.

    Raises:
      UsageError: If an interval is empty, or a logarithmic one not positive.
    """
    recipe = optimizers.lookup(optimizer).recipe
    found: dict[str, BaseDistribution] = {}
    for name, values in space.items():
        if not isinstance(values, Range):
            found[name] = CategoricalDistribution(values)
            continue
        low, high = (
            end.resolve(float(recipe[name])) if isinstance(end, Relative) else end
            for end in (values.low, values.high)
        )
        ends: Any = low, high
        if not ends[0] < ends[1]:
            raise UsageError(
                f"--search {name}: the lower end must be below the upper one, got "
                f"{low}:{high} for {optimizer}."
            )
        if values.log and ends[0] <= 0:
            raise UsageError(
                f"--search {name}: a logarithmic range must be positive, got "
                f"{low}:{high} for {optimizer}; leave :log out."
            )
        kind = IntDistribution if values.integer else FloatDistribution
        found[name] = kind(*ends, log=values.log)
    return found


def pin(
    settings: Mapping[str, Any], choices: Mapping[str, Any]
) -> dict[str, BaseDistribution]:
    """Return distributions for the settings of a grid, whose numbers are fixed.

    Optuna does not allow the choices of a study to change.
    """
    found: dict[str, BaseDistribution] = {}
    for name, value in settings.items():
        if isinstance(value, float):
            found[name] = FloatDistribution(value, value)
        elif isinstance(value, int) and not isinstance(value, bool):
            found[name] = IntDistribution(value, value)
        else:
            found[name] = CategoricalDistribution(choices[name])
    return found


def suggest(trial: Trial, space: Mapping[str, BaseDistribution]) -> dict[str, Value]:
    """Sample the settings of a trial; one that is retried keeps its own."""
    values: dict[str, Value] = {}
    for name, of in space.items():
        match of:
            case FloatDistribution():
                values[name] = trial.suggest_float(name, of.low, of.high, log=of.log)
            case IntDistribution():
                values[name] = trial.suggest_int(name, of.low, of.high, log=of.log)
            case CategoricalDistribution():
                values[name] = trial.suggest_categorical(name, of.choices)  # type: ignore
            case _:
                raise TypeError(of)
    return values


def make_sampler(name: str, seed: int, trial: int = 0) -> optuna.samplers.BaseSampler:
    """Make the sampler named by --sampler, seeded for one trial.

    The number of the trial makes workers sample different points, and one worker the
    same points again.
    """
    own = (seed + 7919 * trial) % 2**32
    free = optuna.samplers.RandomSampler(seed=own)
    match name:
        case "tpe":
            # constant_liar: other workers' trials in progress count as bad.
            return optuna.samplers.TPESampler(seed=own, constant_liar=True)
        case "qmc":  # one sequence, from which each trial takes the next point
            return optuna.samplers.QMCSampler(
                seed=seed,
                scramble=True,
                independent_sampler=free,
                warn_independent_sampling=False,
            )
        case _:
            return free


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """Make the pruner named by --pruner."""
    match name:
        case "median":
            return optuna.pruners.MedianPruner()
        case "asha":
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=1)
        case _:
            return optuna.pruners.NopPruner()


def plan(
    config: SweepConfig, space: Space, drawn: Mapping[str, Mapping[str, Value]]
) -> dict[str, Run]:
    """List the runs of one optimizer's search by name.

    A run has no settings until a worker takes it and draws them.
    """
    (optimizer,) = config.train.optimizers
    runs: dict[str, Run] = {}
    for number in range(config.trials):
        name = f"{file_name(optimizer)}-trial{number}"
        point = {k: v for k, v in drawn.get(name, {}).items() if k in space}
        run = grids.make_run(optimizer, point, config.train.seed, config.train)
        runs[name] = run._replace(folder=name)
    return runs


def corners(train: TrainConfig, space: Space) -> dict[str, Run]:
    """Return runs at the ends of all ranges, to check them before the sweep starts."""
    runs: dict[str, Run] = {}
    for optimizer in train.optimizers if space else ():
        found: dict[str, Any] = distributions(optimizer, space)
        ends = {
            name: of.choices if hasattr(of, "choices") else (of.low, of.high)
            for name, of in found.items()
        }
        for i in range(max(map(len, ends.values()))):
            point = {name: values[i % len(values)] for name, values in ends.items()}
            run = grids.make_run(optimizer, point, train.seed, train)
            runs[run.name] = run
    return runs
