"""The commands: python -m benchmarks COMMAND --help."""

import errno
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import tyro

from benchmarks.commands.config import ListConfig, PrepareConfig
from benchmarks.errors import UsageError, check_name
from benchmarks.landscape.config import LandscapeConfig
from benchmarks.online.config import RegretConfig
from benchmarks.reporting.config import ReportConfig
from benchmarks.step_time.config import SpeedConfig
from benchmarks.sweep.config import SweepConfig
from benchmarks.theory.config import TheoryConfig
from benchmarks.training.config import TrainConfig

# The settings of each; benchmarks/commands has a file of the same name that runs it.
COMMANDS = {
    "train": TrainConfig,
    "sweep": SweepConfig,
    "prepare": PrepareConfig,
    "speed": SpeedConfig,
    "report": ReportConfig,
    "landscape": LandscapeConfig,
    "regret": RegretConfig,
    "theory": TheoryConfig,
    "list": ListConfig,
}
# Those that take the name of an experiment as their first argument.
_OF_EXPERIMENTS = ("train", "sweep")


def _parse(arguments: list[str]) -> Any:
    """Make the settings of the command that the arguments name."""
    command, *rest = arguments or [""]
    if command not in COMMANDS:  # the overview, or a mistake and what would be right
        return tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="python -m benchmarks",
            description="Train and measure with padam_optax.",
            args=arguments,
        )
    kind = COMMANDS[command]
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
        arguments = list(sys.argv[1:] if arguments is None else arguments)
        config = _parse(arguments)
        # Only now, so that --help and mistakes answer without waiting for JAX.
        command = importlib.import_module(f"benchmarks.commands.{arguments[0]}")
        return command.run(config)
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
