"""The grid of a sweep, and the runs it consists of."""

import dataclasses
import itertools
import math
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from benchmarks import optimizers
from benchmarks.errors import UsageError
from benchmarks.settings import file_name, format_value, recipe_of, split_recipe
from benchmarks.sweep.config import SweepConfig
from benchmarks.training.config import CIRCUMSTANCES, TrainConfig, find_fields


@dataclass(frozen=True)
class Relative:
    """A multiple of the value in each optimizer's recipe, written as *0.1."""

    factor: float

    def __str__(self) -> str:
        return f"*{format_value(self.factor)}"

    def resolve(self, value: float) -> float:
        """Multiply the value of a recipe; see `round_value`."""
        return round_value(self.factor * value)


Value = float | int | bool | str
Grid = Mapping[str, Sequence[Value | Relative]]

# Fields of TrainConfig that are no single number or name, or have an option already.
_NOT_IN_GRID = {*CIRCUMSTANCES, *find_fields(without="in_grid")}


def round_value(value: float) -> float:
    """Round to three digits, so that computed values have short names.

    >>> round_value(0.1 * 10**0.5)
    0.316
    """
    return float(f"{value:.3g}")


class Run(NamedTuple):
    """One run of a sweep.

    Attributes:
      optimizer: Its optimizer.
      point: The settings of the grid that it has, by name.
      config: All it needs but its folder.
      stage: "tuning" if it helps to choose a setting, "final" if it has the chosen one;
        None in a sweep that tunes nothing.
      folder: The name of its folder; by default it is made of all that it has.
    """

    optimizer: str
    point: Mapping[str, Value]
    config: TrainConfig
    stage: Literal["tuning", "final"] | None = None
    folder: str = ""

    @property
    def name(self) -> str:
        """The name of its folder."""
        if self.folder:
            return self.folder
        parts = [f"{name}{format_value(value)}" for name, value in self.point.items()]
        text = "-".join([self.optimizer, *parts, f"seed{self.config.seed}"])
        return file_name(text)


def read_grid(config: SweepConfig) -> dict[str, tuple[Value | Relative, ...]]:
    """Parse --grid: the values of each setting, in the given order.

    There are none if the runs differ in optimizer and seed alone.

    Raises:
      UsageError: If a setting does not exist, or a value is not possible or not new.
    """
    fixed = fixed_settings(config.train)
    grid: dict[str, tuple[Value | Relative, ...]] = {}
    for setting in config.grid:
        name, equals, texts = setting.partition("=")
        if not (name and equals and all(texts.split(","))) or name in grid:
            raise UsageError(
                f"--grid takes settings like p=0.25,0.125, each once, got {setting!r}."
            )
        if name in fixed:
            raise UsageError(f"--grid and --recipe both set {name}; leave one out.")
        read = find_reader("--grid", name, config.train)
        values = []
        for text in texts.split(","):
            values.append(read(text, f"--grid {name}"))
        if len(set(values)) < len(values):
            raise UsageError(f"--grid takes each value once, got {setting!r}.")
        grid[name] = tuple(values)
    return grid


def fixed_settings(config: TrainConfig) -> set[str]:
    """Return the names of the settings that --recipe fixes."""
    return {split_recipe(setting)[1].partition("=")[0] for setting in config.recipe}


def find_reader(
    argument: str, name: str, config: TrainConfig
) -> Callable[[str, str], Any]:
    """Return a parser of a setting's values: of a text, and what an error names.

    It raises a UsageError for an invalid one.

    Args:
      argument: The option that names the setting, for the message.
      name: The setting, of a run or of all its optimizers' recipes.
      config: The runs.
    """
    fields = typing.get_type_hints(TrainConfig)
    if name in fields and name not in _NOT_IN_GRID:
        return _reader(fields[name])
    kinds = set()
    for optimizer in config.optimizers:
        recipe = optimizers.lookup(optimizer).recipe
        if name not in recipe:
            known = [field for field in fields if field not in _NOT_IN_GRID]
            raise UsageError(
                f"{argument} {name}: {optimizer} has no such setting; it has "
                f"{', '.join(recipe)}; every run has {', '.join(known)}."
            )
        kinds.add(type(recipe[name]))
    return _reader(next((kind for kind in (str, bool) if kind in kinds), Relative))


def _reader(kind: Any) -> Callable[[str, str], Any]:
    """Return a parser of a type of TrainConfig, or of a number or a `Relative`."""
    parts = typing.get_args(kind)
    is_list = typing.get_origin(kind) is Literal
    if parts and not is_list:  # X | None
        kind = parts[0]
    allowed = {
        bool: "true or false",
        int: "a whole number",
        float: "a finite number",
        Relative: "a finite number, or *0.1 as a tenth of what the recipe says",
    }

    def read(text: str, asked: str) -> Any:
        value = _read_as(parts if is_list else kind, text)
        if value is None:
            takes = f"one of {', '.join(parts)}" if is_list else allowed.get(kind, kind)
            raise UsageError(f"{asked} cannot be {text!r}; it must be {takes}.")
        return value

    return read


def _read_as(kind: Any, text: str) -> Value | Relative | None:
    """Parse a text as one of a tuple of names or as a type; None if it is invalid."""
    if isinstance(kind, tuple):
        return text if text in kind else None
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower())
    if kind is Relative:  # or a number
        number = _read_as(float, text.removeprefix("*"))
        if number is None or not text.startswith("*"):
            return number
        return Relative(float(number)) if number else None  # type: ignore[arg-type]
    try:
        value = kind(text)
    except ValueError:
        return None
    return value if kind is str or math.isfinite(value) else None


def points(optimizer: str, grid: Grid) -> Iterator[dict[str, Value]]:
    """Yield every combination of the grid's values for an optimizer.

    Relative values refer to the recipe of the optimizer.
    """
    recipe = optimizers.lookup(optimizer).recipe
    own = [
        [
            value.resolve(float(recipe[name])) if isinstance(value, Relative) else value
            for value in values
        ]
        for name, values in grid.items()
    ]
    for chosen in itertools.product(*own):
        yield dict(zip(grid, chosen, strict=True))


def make_run(
    optimizer: str, point: Mapping[str, Value], seed: int, config: TrainConfig
) -> Run:
    """Make the run of an optimizer at a point of the grid."""
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    fields = {k: v for k, v in point.items() if k in known}
    changes = [f"{k}={v}" for k, v in point.items() if k not in fields]
    own = dataclasses.replace(
        config,
        **fields,
        optimizers=(optimizer,),
        recipe=(*recipe_of(optimizer, config.recipe), *changes),
        seed=seed,
        seeds=1,
        out=None,
        resume=False,
    )
    return Run(optimizer, point, own)


def plan(config: TrainConfig, grid: Grid) -> dict[str, Run]:
    """List the runs of a grid by name, the seeds of each point together."""
    runs = [
        make_run(optimizer, point, seed, config)
        for optimizer in config.optimizers
        for point in points(optimizer, grid)
        for seed in range(config.seed, config.seed + config.seeds)
    ]
    return {run.name: run for run in runs}
