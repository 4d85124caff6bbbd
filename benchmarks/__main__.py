"""The commands: python -m benchmarks COMMAND --help."""

import errno
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from benchmarks.config import (
    LandscapeConfig,
    RegretConfig,
    ReportConfig,
    SpeedConfig,
    SweepConfig,
    TrainConfig,
    UsageError,
    check_name,
)
from benchmarks.theory.config import TheoryConfig


@dataclass(frozen=True)
class ListConfig:
    """Print what there is to choose from."""

    what: tyro.conf.Positional[
        Literal[
            "experiments", "gpu", "optimizers", "models", "initializers", "datasets"
        ]
    ] = "experiments"
    """experiments: what each shows, what to expect, its cost; gpu: commands for one
    GPU, which resume when they were cut off; optimizers: formula, source and recipe of
    each; models; initializers; datasets."""


@dataclass(frozen=True)
class PrepareConfig:
    """Download data sets and write them as TFDS does, without TensorFlow.

    An interrupted download is continued by the next call; archives that are there
    already are not fetched again.
    """

    names: tyro.conf.Positional[tuple[str, ...]]
    """Which: cifar10, cifar100, mnist, fashion_mnist, svhn_cropped."""
    data_dir: Path | None = None
    """Where the prepared sets go; by default where TFDS_DATA_DIR points, else
    ~/tensorflow_datasets."""
    download_dir: Path | None = None
    """Where the archives go; by default downloads/ in that folder."""


# Imports stand inside, so that --help and mistakes answer without waiting for JAX.
def _train(config: TrainConfig) -> int:
    if config.profile:
        from benchmarks.profiling import profile

        return profile(config)
    from benchmarks.train import compare

    return compare(config)


def _sweep(config: SweepConfig) -> int:
    from benchmarks import sweep

    return sweep.run(config)


def _prepare(config: PrepareConfig) -> int:
    from benchmarks.data.prepare import NAMES, prepare

    if not config.names:
        raise UsageError(f"name what to prepare: one or more of {', '.join(NAMES)}.")
    for name in config.names:
        prepare(name, config.data_dir, config.download_dir)
    return 0


def _list(config: ListConfig) -> int:
    from benchmarks import catalogue

    catalogue.show(config.what)
    return 0


def _speed(config: SpeedConfig) -> int:
    from benchmarks import speed

    return speed.run(config)


def _report(config: ReportConfig) -> int:
    from benchmarks import report

    return report.run(config)


def _landscape(config: LandscapeConfig) -> int:
    from benchmarks import landscape

    return landscape.run(config)


def _regret(config: RegretConfig) -> int:
    from benchmarks import regret

    return regret.run(config)


def _theory(config: TheoryConfig) -> int:
    from benchmarks.theory import command

    return command.run(config)


COMMANDS = {
    "train": (TrainConfig, _train),
    "sweep": (SweepConfig, _sweep),
    "prepare": (PrepareConfig, _prepare),
    "speed": (SpeedConfig, _speed),
    "report": (ReportConfig, _report),
    "landscape": (LandscapeConfig, _landscape),
    "regret": (RegretConfig, _regret),
    "theory": (TheoryConfig, _theory),
    "list": (ListConfig, _list),
}
# Those that take the name of an experiment as their first argument.
_OF_EXPERIMENTS = ("train", "sweep")


def _parse(arguments: list[str]) -> Any:
    """Make the settings of the command that the arguments name."""
    command, *rest = arguments or [""]
    if command not in COMMANDS:  # the overview, or a mistake and what would be right
        return tyro.extras.subcommand_cli_from_dict(
            {name: kind for name, (kind, _) in COMMANDS.items()},
            prog="python -m benchmarks",
            description="Train and measure with padam_optax.",
            args=arguments,
        )
    kind, _ = COMMANDS[command]
    program, default = f"python -m benchmarks {command}", None
    if command in _OF_EXPERIMENTS:
        from benchmarks.experiments import EXPERIMENTS

        name = "digits"
        if rest and not rest[0].startswith("-"):
            name = rest.pop(0)
            check_name("experiment", name, EXPERIMENTS)
            program = f"{program} {name}"
        else:
            program = f"{program} [EXPERIMENT]"
        default = EXPERIMENTS[name].config
        if kind is SweepConfig:
            row = EXPERIMENTS[name]
            default = SweepConfig(default, row.grid, row.tune, row.finals, study=name)
            rest = _gather("--grid", rest)
    # The settings of a sweep's runs are options beside its own.
    options = (tyro.conf.OmitArgPrefixes,)
    return tyro.cli(kind, prog=program, default=default, args=rest, config=options)


def _gather(option: str, arguments: list[str]) -> list[str]:
    """Let an option with several values be given several times."""
    values: list[str] = []
    others: list[str] = []
    taken = others
    for argument in arguments:
        if argument.startswith("-"):
            taken = values if argument == option else others
        if argument != option:
            taken.append(argument)
    return [*others, option, *values] if values else others


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
      arguments: Those of the command line, without the program's name; by default
        those that the program was started with.

    Returns:
      The exit status: 0 if all went well, 1 if a run diverged or the disk is full, 2
      for a request that cannot be met, 143 if SIGTERM ended a run.
    """
    try:
        config = _parse(list(sys.argv[1:] if arguments is None else arguments))
        run = dict(COMMANDS.values())[type(config)]
        return run(config)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        print(
            f"error: {error.strerror}: {error.filename}. What was written before is "
            "whole; make room, then go on with --resume.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was written so far is kept.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
